//! Cache statistics: hits, and misses by reason.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use fulgurite_spec::cache::{CacheAudit, CacheTier as Tier, PipelineCacheMissReason};

/// Number of miss reasons.
const REASONS: usize = PipelineCacheMissReason::ALL.len();

/// Counters of lookups.
#[derive(Debug, Default)]
pub(crate) struct Counting {
    memory_hits: AtomicU64,
    disk_hits: AtomicU64,
    layer_hits: AtomicU64,
    refused: AtomicU64,
    unknown: AtomicU64,
    misses: [AtomicU64; REASONS],
}

impl Counting {
    pub(crate) fn hit(&self, tier: Tier) {
        let counter = match tier {
            Tier::Memory => &self.memory_hits,
            Tier::Disk => &self.disk_hits,
            _ => &self.layer_hits,
        };
        counter.fetch_add(1, Relaxed);
    }

    pub(crate) fn miss(&self, reason: PipelineCacheMissReason) {
        self.misses[reason.index()].fetch_add(1, Relaxed);
    }

    /// Counts that an entry was found but rejected, for `reason`.
    pub(crate) fn rejected(&self, reason: PipelineCacheMissReason) {
        self.refused.fetch_add(1, Relaxed);
        self.miss(reason);
    }

    pub(crate) fn unknown(&self) {
        self.unknown.fetch_add(1, Relaxed);
    }

    pub(crate) fn read(&self) -> CacheStatistics {
        let mut misses = [0; REASONS];
        for (count, counter) in misses.iter_mut().zip(&self.misses) {
            *count = counter.load(Relaxed);
        }
        CacheStatistics {
            memory_hits: self.memory_hits.load(Relaxed),
            disk_hits: self.disk_hits.load(Relaxed),
            layer_hits: self.layer_hits.load(Relaxed),
            refused: self.refused.load(Relaxed),
            unknown: self.unknown.load(Relaxed),
            misses,
        }
    }
}

/// Statistics of a cache's lookups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheStatistics {
    /// Hits in memory.
    pub memory_hits: u64,
    /// Hits in the cache's own folder.
    pub disk_hits: u64,
    /// Hits in read-only layers.
    pub layer_hits: u64,
    /// Entries found but rejected by the driver; these count as misses.
    pub refused: u64,
    /// Lookups with unknown outcome, in drivers that do not report it.
    pub unknown: u64,
    misses: [u64; REASONS],
}

impl CacheStatistics {
    /// Returns the number of hits, without rejected entries.
    pub fn hits(&self) -> u64 {
        let found = self.memory_hits.saturating_add(self.disk_hits).saturating_add(self.layer_hits);
        found.saturating_sub(self.refused)
    }

    /// Returns the number of misses.
    pub fn misses(&self) -> u64 {
        self.misses.iter().fold(0, |all, count| all.saturating_add(*count))
    }

    /// Returns the number of misses for `reason`.
    pub fn missed(&self, reason: PipelineCacheMissReason) -> u64 {
        self.misses[reason.index()]
    }

    /// Iterates over the reasons with their counts.
    pub fn by_reason(&self) -> impl Iterator<Item = (PipelineCacheMissReason, u64)> {
        PipelineCacheMissReason::ALL.iter().map(|reason| (*reason, self.missed(*reason)))
    }

    /// Evaluates the hit rate: see [`CacheAudit::new`].
    pub fn audit(&self, threshold: u32) -> CacheAudit {
        CacheAudit::new(self.hits(), self.by_reason(), self.unknown, threshold)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_round_down_and_exclude_unknown_lookups() {
        let counting = Counting::default();
        assert_eq!(counting.read().audit(10_000).hit_rate_basis_points, None);
        assert!(!counting.read().audit(10_000).is_alarming, "no data never alarms");
        counting.hit(Tier::Memory);
        counting.hit(Tier::Disk);
        counting.miss(PipelineCacheMissReason::Evicted);
        counting.unknown();
        let read = counting.read();
        let audit = read.audit(6_667);
        assert_eq!((audit.hits, audit.misses, audit.unknown), (2, 1, 1));
        assert_eq!(audit.hit_rate_basis_points, Some(6_666));
        assert!(audit.is_alarming);
        assert!(!read.audit(6_666).is_alarming);
        assert_eq!(read.missed(PipelineCacheMissReason::Evicted), 1);
        assert_eq!(read.by_reason().map(|(_, count)| count).sum::<u64>(), 1);

        let none = Counting::default();
        none.hit(Tier::Layer);
        none.rejected(PipelineCacheMissReason::Suspect);
        assert!(!none.read().audit(0).is_alarming, "0 disables the alarm");
        assert!(none.read().audit(1).is_alarming);
    }
}
