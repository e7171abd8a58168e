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

#[cfg(test)]
mod tests {
    use super::*;

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
        }
        for name in ["none", "memory", "binary", "artifact"] {
            assert_eq!(CacheOutcome::parse(name).map(CacheOutcome::name), Some(name));
        }
        assert_eq!(CacheOutcome::parse("missed_"), None);
    }
}
