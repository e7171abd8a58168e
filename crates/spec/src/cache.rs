//! Where a compiled kernel came from, and why one that was looked for was not found. Pure data; the store itself is
//! `pipeline-cache`.

use core::fmt;

/// Why a cache did not have what it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum PipelineCacheMissReason {
    /// Its entry is there and damaged: torn, cut, changed, another's, empty or too large.
    Corrupt,
    /// Its entry is there and cannot be read.
    Unreadable,
    /// Its entry was written in another version of the format.
    FormatChanged,
    /// An earlier process ended while the driver had this very binary: it is left out once.
    Suspect,
    /// It was there, and removed to make room or on request.
    Evicted,
    /// Nothing was ever kept.
    EmptyCache,
    /// Nothing was kept of this program.
    ProgramChanged,
    /// The program was kept, lowered by other options.
    DispatchPolicyChanged,
    /// The program was kept with these options, for another device, driver or runtime.
    DeviceOrRuntimeChanged,
    /// Nothing says why.
    KeyAbsent,
}

/// What a cache found in the place of an entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum EntryState {
    /// Nothing.
    #[default]
    Absent,
    /// Something that is not a whole entry of this identity.
    Corrupt,
    /// Something that cannot be read.
    Unreadable,
    /// An entry of another version of the format.
    OtherFormat,
    /// A whole entry that an earlier process may have died of.
    Suspect,
}

/// What is known about a miss. The default is a miss about which nothing is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PipelineCacheMissEvidence {
    /// What is in its place.
    pub entry: EntryState,
    /// Whether it was there and removed.
    pub was_evicted: bool,
    /// Whether nothing of its kind was ever kept.
    pub is_empty: bool,
    /// Whether anything was kept of the program.
    pub knows_program: bool,
    /// Whether anything was kept of the program with these options.
    pub knows_policy: bool,
    /// Whether anything was kept of the program with these options for this device.
    pub knows_device: bool,
}

impl PipelineCacheMissReason {
    /// Each, in the order in which the first that fits is the reason.
    pub const ALL: &'static [Self] = &[
        Self::Corrupt,
        Self::Unreadable,
        Self::FormatChanged,
        Self::Suspect,
        Self::Evicted,
        Self::EmptyCache,
        Self::ProgramChanged,
        Self::DispatchPolicyChanged,
        Self::DeviceOrRuntimeChanged,
        Self::KeyAbsent,
    ];

    /// The first reason that fits.
    pub const fn classify(evidence: &PipelineCacheMissEvidence) -> Self {
        match evidence.entry {
            EntryState::Corrupt => return Self::Corrupt,
            EntryState::Unreadable => return Self::Unreadable,
            EntryState::OtherFormat => return Self::FormatChanged,
            EntryState::Suspect => return Self::Suspect,
            EntryState::Absent => {}
        }
        match evidence {
            e if e.was_evicted => Self::Evicted,
            e if e.is_empty => Self::EmptyCache,
            e if !e.knows_program => Self::ProgramChanged,
            e if !e.knows_policy => Self::DispatchPolicyChanged,
            e if !e.knows_device => Self::DeviceOrRuntimeChanged,
            _ => Self::KeyAbsent,
        }
    }

    /// The stable name in metrics and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Corrupt => "corrupt",
            Self::Unreadable => "unreadable",
            Self::FormatChanged => "format_changed",
            Self::Suspect => "suspect",
            Self::Evicted => "evicted",
            Self::EmptyCache => "empty_cache",
            Self::ProgramChanged => "program_changed",
            Self::DispatchPolicyChanged => "dispatch_policy_changed",
            Self::DeviceOrRuntimeChanged => "device_or_runtime_changed",
            Self::KeyAbsent => "key_absent",
        }
    }

    /// Whether what was looked for had been kept and was lost, or was kept for another device or driver: a warm cache has
    /// next to no such misses. The others are of what was never kept, or of which nothing is known.
    pub const fn is_loss(self) -> bool {
        match self {
            Self::Corrupt
            | Self::Unreadable
            | Self::FormatChanged
            | Self::Suspect
            | Self::Evicted
            | Self::DeviceOrRuntimeChanged => true,
            Self::EmptyCache | Self::ProgramChanged | Self::DispatchPolicyChanged | Self::KeyAbsent => false,
        }
    }

    /// The reason of a [`name`](Self::name).
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|reason| reason.name() == name)
    }

    /// The place in [`ALL`](Self::ALL).
    pub const fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for PipelineCacheMissReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Where a compiled kernel came from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CacheOutcome {
    /// It was compiled; no cache was asked.
    #[default]
    None,
    /// The same device had compiled it before.
    Memory,
    /// The driver's own binary was kept: nothing was compiled.
    Binary,
    /// The lowered form was kept; the driver compiled it.
    Artifact,
    /// A cache was asked and did not have it: all was compiled.
    Missed(PipelineCacheMissReason),
}

impl CacheOutcome {
    /// The stable name: of a miss, that of its reason behind `missed_`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Memory => "memory",
            Self::Binary => "binary",
            Self::Artifact => "artifact",
            Self::Missed(reason) => match reason {
                PipelineCacheMissReason::Corrupt => "missed_corrupt",
                PipelineCacheMissReason::Unreadable => "missed_unreadable",
                PipelineCacheMissReason::FormatChanged => "missed_format_changed",
                PipelineCacheMissReason::Suspect => "missed_suspect",
                PipelineCacheMissReason::Evicted => "missed_evicted",
                PipelineCacheMissReason::EmptyCache => "missed_empty_cache",
                PipelineCacheMissReason::ProgramChanged => "missed_program_changed",
                PipelineCacheMissReason::DispatchPolicyChanged => "missed_dispatch_policy_changed",
                PipelineCacheMissReason::DeviceOrRuntimeChanged => "missed_device_or_runtime_changed",
                PipelineCacheMissReason::KeyAbsent => "missed_key_absent",
            },
        }
    }

    /// The outcome of a name.
    pub fn parse(name: &str) -> Option<Self> {
        let plain = [Self::None, Self::Memory, Self::Binary, Self::Artifact];
        let missed = PipelineCacheMissReason::ALL.iter().map(|reason| Self::Missed(*reason));
        plain.into_iter().chain(missed).find(|outcome| outcome.name() == name)
    }
}

impl fmt::Display for CacheOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Where an entry of a cache was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CacheTier {
    /// In memory: this process had made it.
    Memory,
    /// In the cache's own folder.
    Disk,
    /// In a read-only layer: a pack, or the folder of another cache.
    Layer,
}

impl CacheTier {
    /// The stable name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Disk => "disk",
            Self::Layer => "layer",
        }
    }
}

impl fmt::Display for CacheTier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Where a compiled kernel came from, with what is known beyond the [`CacheOutcome`]. Prints both: `binary from disk`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheOrigin {
    /// Where it came from.
    pub outcome: CacheOutcome,
    /// The tier that had what was found: the binary of [`CacheOutcome::Binary`], the lowered form of
    /// [`CacheOutcome::Artifact`]. `None` if nothing was found, or if the backend does not say.
    pub tier: Option<CacheTier>,
    /// Why the driver's binary was not found, if it was looked for.
    pub binary_miss: Option<PipelineCacheMissReason>,
}

impl CacheOrigin {
    /// An origin of which nothing but the outcome is known.
    pub const fn new(outcome: CacheOutcome) -> Self {
        Self { outcome, tier: None, binary_miss: None }
    }

    /// States the tier that had what was found.
    #[must_use]
    pub const fn tier(mut self, tier: Option<CacheTier>) -> Self {
        self.tier = tier;
        self
    }

    /// States why the driver's binary was not found.
    #[must_use]
    pub const fn binary_miss(mut self, reason: Option<PipelineCacheMissReason>) -> Self {
        self.binary_miss = reason;
        self
    }
}

impl fmt::Display for CacheOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.outcome)?;
        if let Some(tier) = self.tier {
            write!(f, " from {tier}")?;
        }
        match self.binary_miss {
            Some(reason) => write!(f, ", binary missed: {reason}"),
            None => Ok(()),
        }
    }
}

/// How well a cache served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheAudit {
    /// Entries found.
    pub hits: u64,
    /// Entries not found, for whatever reason.
    pub misses: u64,
    /// Of those, the ones that had been kept: see [`PipelineCacheMissReason::is_loss`].
    pub lost: u64,
    /// Lookups of which nobody can say; they do not count in the rates.
    pub unknown: u64,
    /// Of 10,000 lookups, how many hit, rounded down; `None` without lookups.
    pub hit_rate_basis_points: Option<u32>,
    /// Of 10,000 lookups of what had been kept, how many hit, rounded down; `None` without any.
    pub kept_rate_basis_points: Option<u32>,
    /// Whether [`kept_rate_basis_points`](Self::kept_rate_basis_points) is below the threshold.
    pub is_alarming: bool,
}

impl CacheAudit {
    /// The threshold where none is stated, in basis points: nine of ten lookups of what had been kept hit.
    pub const DEFAULT_THRESHOLD: u32 = 9_000;

    /// The audit of so many lookups. It is alarming if fewer than `threshold` of 10,000 lookups of what had been kept
    /// hit; 0 never is, and no such lookups never are. What was never kept, as on a first run, alarms nobody.
    ///
    /// ```
    /// use fulgurite_spec::cache::{CacheAudit, PipelineCacheMissReason as Reason};
    ///
    /// let audit = CacheAudit::new(2, [(Reason::EmptyCache, 5), (Reason::Corrupt, 1)], 0, 9_000);
    /// assert_eq!((audit.misses, audit.lost), (6, 1));
    /// assert_eq!((audit.hit_rate_basis_points, audit.kept_rate_basis_points), (Some(2_500), Some(6_666)));
    /// assert!(audit.is_alarming);
    /// ```
    pub fn new(
        hits: u64,
        misses: impl IntoIterator<Item = (PipelineCacheMissReason, u64)>,
        unknown: u64,
        threshold: u32,
    ) -> Self {
        let (mut missed, mut lost) = (0u64, 0u64);
        for (reason, count) in misses {
            missed = missed.saturating_add(count);
            if reason.is_loss() {
                lost = lost.saturating_add(count);
            }
        }
        let rate = |missed: u64| {
            let all = u128::from(hits) + u128::from(missed);
            // The quotient is at most 10,000.
            (u128::from(hits) * 10_000).checked_div(all).map(|rate| rate as u32)
        };
        let kept_rate = rate(lost);
        Self {
            hits,
            misses: missed,
            lost,
            unknown,
            hit_rate_basis_points: rate(missed),
            kept_rate_basis_points: kept_rate,
            is_alarming: kept_rate.is_some_and(|rate| rate < threshold),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_audit_alarms_for_what_was_lost_and_not_for_what_is_new() {
        use PipelineCacheMissReason as Reason;
        assert_eq!(CacheAudit::new(0, [], 3, 10_000).kept_rate_basis_points, None);
        for reason in Reason::ALL {
            let audit = CacheAudit::new(1, [(*reason, 2)], 0, 5_000);
            assert_eq!((audit.misses, audit.hit_rate_basis_points), (2, Some(3_333)), "{reason}");
            assert_eq!((audit.lost > 0, audit.is_alarming), (reason.is_loss(), reason.is_loss()), "{reason}");
            assert!(!CacheAudit::new(0, [(*reason, 2)], 0, 0).is_alarming, "0 turns it off");
        }
        let audit = CacheAudit::new(2, [(Reason::Evicted, 1)], 0, 6_667);
        assert!(audit.is_alarming && !CacheAudit::new(2, [(Reason::Evicted, 1)], 0, 6_666).is_alarming);
        let most = CacheAudit::new(u64::MAX, [(Reason::Corrupt, u64::MAX), (Reason::Corrupt, 1)], 0, 1);
        assert_eq!((most.lost, most.kept_rate_basis_points), (u64::MAX, Some(5_000)));
    }

    #[test]
    fn an_origin_prints_what_is_known() {
        let origin = CacheOrigin::new(CacheOutcome::Artifact);
        assert_eq!(origin.to_string(), "artifact");
        let reason = PipelineCacheMissReason::DeviceOrRuntimeChanged;
        let origin = origin.tier(Some(CacheTier::Disk)).binary_miss(Some(reason));
        assert_eq!(origin.to_string(), "artifact from disk, binary missed: device_or_runtime_changed");
    }

    #[test]
    fn the_first_reason_that_fits_is_given() {
        let nothing = PipelineCacheMissEvidence::default();
        let all_known = PipelineCacheMissEvidence {
            knows_program: true,
            knows_policy: true,
            knows_device: true,
            ..nothing
        };
        let of = |evidence| PipelineCacheMissReason::classify(&evidence);
        let entry =
            |entry| PipelineCacheMissEvidence { entry, was_evicted: true, is_empty: true, ..all_known };
        assert_eq!(of(entry(EntryState::Corrupt)), PipelineCacheMissReason::Corrupt);
        assert_eq!(of(entry(EntryState::Unreadable)), PipelineCacheMissReason::Unreadable);
        assert_eq!(of(entry(EntryState::OtherFormat)), PipelineCacheMissReason::FormatChanged);
        assert_eq!(of(entry(EntryState::Suspect)), PipelineCacheMissReason::Suspect);
        assert_eq!(of(entry(EntryState::Absent)), PipelineCacheMissReason::Evicted);
        let empty = PipelineCacheMissEvidence { is_empty: true, ..nothing };
        assert_eq!(of(empty), PipelineCacheMissReason::EmptyCache);
        assert_eq!(of(nothing), PipelineCacheMissReason::ProgramChanged);
        let program = PipelineCacheMissEvidence { knows_program: true, ..nothing };
        assert_eq!(of(program), PipelineCacheMissReason::DispatchPolicyChanged);
        let policy = PipelineCacheMissEvidence { knows_policy: true, ..program };
        assert_eq!(of(policy), PipelineCacheMissReason::DeviceOrRuntimeChanged);
        assert_eq!(of(all_known), PipelineCacheMissReason::KeyAbsent);
    }

    #[test]
    fn names_are_distinct_and_read_back() {
        for (index, reason) in PipelineCacheMissReason::ALL.iter().enumerate() {
            assert_eq!(reason.index(), index);
            let missed = CacheOutcome::Missed(*reason);
            assert_eq!(missed.name(), format!("missed_{reason}"));
            assert_eq!(CacheOutcome::parse(missed.name()), Some(missed));
            assert_eq!(PipelineCacheMissReason::parse(reason.name()), Some(*reason));
        }
        for name in ["none", "memory", "binary", "artifact"] {
            assert_eq!(CacheOutcome::parse(name).map(CacheOutcome::name), Some(name));
        }
        assert_eq!(CacheOutcome::parse("missed_"), None);
    }
}
