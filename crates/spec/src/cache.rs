//! The origin of a compiled kernel, and the reason of a cache miss. The cache itself is `pipeline-cache`.

use core::fmt;

/// The reason of a cache miss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum PipelineCacheMissReason {
    /// The entry is damaged: torn, truncated, modified, of another identity, empty or too large.
    Corrupt,
    /// The entry exists but cannot be read.
    Unreadable,
    /// The entry has another format version.
    FormatChanged,
    /// A process ended while the driver loaded this binary, which is therefore skipped once.
    Suspect,
    /// The entry was removed to make room or on request.
    Evicted,
    /// The cache never had an entry of this kind.
    EmptyCache,
    /// The cache never had an entry of this program.
    ProgramChanged,
    /// The cache had the program only with other lowering options.
    DispatchPolicyChanged,
    /// The cache had the program and options only for another device, driver or runtime.
    DeviceOrRuntimeChanged,
    /// Unknown.
    KeyAbsent,
}

/// The state of an entry's file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum EntryState {
    /// Does not exist.
    #[default]
    Absent,
    /// Not a complete entry of this identity.
    Corrupt,
    /// Cannot be read.
    Unreadable,
    /// An entry with another format version.
    OtherFormat,
    /// A complete entry, during whose use an earlier process ended.
    Suspect,
}

/// Evidence about a miss. The default is that nothing is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PipelineCacheMissEvidence {
    /// State of the entry's file.
    pub entry: EntryState,
    /// Whether the entry existed and was removed.
    pub was_evicted: bool,
    /// Whether the cache never had an entry of this kind.
    pub is_empty: bool,
    /// Whether the cache had an entry of the program.
    pub knows_program: bool,
    /// Whether the cache had an entry of the program with these options.
    pub knows_policy: bool,
    /// Whether the cache had an entry of the program with these options for this device.
    pub knows_device: bool,
}

impl PipelineCacheMissReason {
    /// All reasons, in the order of precedence.
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

    /// Returns the first reason that applies.
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

    /// Returns the stable name used in metrics and reports.
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

    /// Returns whether an earlier entry was lost, or exists only for another device or driver. A warm cache has almost
    /// no such misses; all others are for new entries or of unknown cause.
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

    /// Returns the reason with this [`name`](Self::name).
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|reason| reason.name() == name)
    }

    /// Returns the index in [`ALL`](Self::ALL).
    pub const fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for PipelineCacheMissReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The origin of a compiled kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CacheOutcome {
    /// Compiled without asking a cache.
    #[default]
    None,
    /// Compiled earlier by the same device object.
    Memory,
    /// Loaded from the driver's cached binary, without compilation.
    Binary,
    /// Compiled by the driver from the cached lowered form.
    Artifact,
    /// Lowered and compiled after a cache miss.
    Missed(PipelineCacheMissReason),
}

impl CacheOutcome {
    /// Returns the stable name; for a miss, `missed_` and the reason's name.
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

    /// Returns the outcome with this name.
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

/// The tier in which an entry was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CacheTier {
    /// In memory, created by this process.
    Memory,
    /// The cache's own folder.
    Disk,
    /// A read-only layer: a pack, or the folder of another cache.
    Layer,
}

impl CacheTier {
    /// Returns the stable name used in reports.
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

/// The origin of a compiled kernel in detail. Prints as, for example, `binary from disk`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheOrigin {
    /// The outcome.
    pub outcome: CacheOutcome,
    /// The tier of the entry found: the binary for [`CacheOutcome::Binary`], the lowered form for
    /// [`CacheOutcome::Artifact`]. `None` if nothing was found or the backend does not report it.
    pub tier: Option<CacheTier>,
    /// The reason why the driver's binary was not found, if it was looked up.
    pub binary_miss: Option<PipelineCacheMissReason>,
}

impl CacheOrigin {
    /// Creates an origin with only an outcome.
    pub const fn new(outcome: CacheOutcome) -> Self {
        Self { outcome, tier: None, binary_miss: None }
    }

    /// Sets the tier.
    #[must_use]
    pub const fn tier(mut self, tier: Option<CacheTier>) -> Self {
        self.tier = tier;
        self
    }

    /// Sets the reason why the driver's binary was not found.
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

/// Evaluation of a cache's hit rate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheAudit {
    /// Number of hits.
    pub hits: u64,
    /// Number of misses.
    pub misses: u64,
    /// Number of misses of lost entries: see [`PipelineCacheMissReason::is_loss`].
    pub lost: u64,
    /// Number of lookups with unknown outcome, excluded from the rates.
    pub unknown: u64,
    /// Hits per 10,000 lookups, rounded down; `None` without lookups.
    pub hit_rate_basis_points: Option<u32>,
    /// Hits per 10,000 lookups of previously stored entries, rounded down; `None` without any.
    pub kept_rate_basis_points: Option<u32>,
    /// Whether [`kept_rate_basis_points`](Self::kept_rate_basis_points) is below the threshold.
    pub is_alarming: bool,
}

impl CacheAudit {
    /// The default threshold: 90 % of the lookups of previously stored entries must hit.
    pub const DEFAULT_THRESHOLD: u32 = 9_000;

    /// Evaluates lookups. The audit is alarming if fewer than `threshold` of 10,000 lookups of previously stored
    /// entries hit; never if `threshold` is 0 or there are no such lookups. Misses of new entries, as in a first run,
    /// do not count.
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
    fn audit_alarms_for_lost_entries_only() {
        use PipelineCacheMissReason as Reason;
        assert_eq!(CacheAudit::new(0, [], 3, 10_000).kept_rate_basis_points, None);
        for reason in Reason::ALL {
            let audit = CacheAudit::new(1, [(*reason, 2)], 0, 5_000);
            assert_eq!((audit.misses, audit.hit_rate_basis_points), (2, Some(3_333)), "{reason}");
            assert_eq!((audit.lost > 0, audit.is_alarming), (reason.is_loss(), reason.is_loss()), "{reason}");
            assert!(!CacheAudit::new(0, [(*reason, 2)], 0, 0).is_alarming, "0 disables the alarm");
        }
        let audit = CacheAudit::new(2, [(Reason::Evicted, 1)], 0, 6_667);
        assert!(audit.is_alarming && !CacheAudit::new(2, [(Reason::Evicted, 1)], 0, 6_666).is_alarming);
        let most = CacheAudit::new(u64::MAX, [(Reason::Corrupt, u64::MAX), (Reason::Corrupt, 1)], 0, 1);
        assert_eq!((most.lost, most.kept_rate_basis_points), (u64::MAX, Some(5_000)));
    }

    #[test]
    fn origin_prints_known_fields() {
        let origin = CacheOrigin::new(CacheOutcome::Artifact);
        assert_eq!(origin.to_string(), "artifact");
        let reason = PipelineCacheMissReason::DeviceOrRuntimeChanged;
        let origin = origin.tier(Some(CacheTier::Disk)).binary_miss(Some(reason));
        assert_eq!(origin.to_string(), "artifact from disk, binary missed: device_or_runtime_changed");
    }

    #[test]
    fn first_applicable_reason_is_returned() {
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
    fn names_are_distinct_and_round_trip() {
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
