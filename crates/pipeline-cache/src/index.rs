//! The index: an advisory log of insertions and removals, read to explain misses. Losing it loses only those
//! explanations.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::Path;
use std::time::SystemTime;

use fulgurite_spec::cache::{EntryState, PipelineCacheMissEvidence};
use fulgurite_storage::{Digest, Storage};

use crate::identity::{PayloadKind, PipelineCacheIdentity};

/// Size of a record in bytes.
pub(crate) const RECORD_BYTES: usize = 160;
/// Maximum size of a log that is read; eviction keeps it far smaller.
const MAX_INDEX_BYTES: u64 = 64 << 20;
/// Size above which eviction compacts the log.
pub(crate) const COMPACT_BYTES: u64 = 8 << 20;

const MAGIC: [u8; 4] = *b"FGIX";

/// The event that a record logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Insert = 1,
    Evict = 2,
    Quarantine = 3,
}

/// A record of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) event: Event,
    pub(crate) digest: Digest,
    /// Kind, program, policy and device; unknown for removals.
    pub(crate) identity: Option<PipelineCacheIdentity>,
}

impl Record {
    pub(crate) fn insert(identity: &PipelineCacheIdentity) -> Self {
        Self { event: Event::Insert, digest: identity.digest(), identity: Some(*identity) }
    }

    pub(crate) fn encode(&self, now: SystemTime) -> [u8; RECORD_BYTES] {
        let mut bytes = [0; RECORD_BYTES];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4] = self.event as u8;
        bytes[8..40].copy_from_slice(self.digest.as_bytes());
        if let Some(identity) = &self.identity {
            bytes[5] = identity.kind() as u8;
            bytes[40..72].copy_from_slice(identity.program().as_bytes());
            bytes[72..104].copy_from_slice(identity.policy().as_bytes());
            bytes[104..136].copy_from_slice(identity.device().as_bytes());
        }
        let seconds = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        bytes[136..144].copy_from_slice(&seconds.to_le_bytes());
        let seal = Digest::of(&bytes[..152]);
        bytes[152..].copy_from_slice(&seal.as_bytes()[..8]);
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let digest = |at: usize| Some(Digest::from_bytes(bytes.get(at..at + 32)?.try_into().ok()?));
        let seal = Digest::of(bytes.get(..152)?);
        if !bytes.starts_with(&MAGIC) || bytes.get(152..RECORD_BYTES)? != &seal.as_bytes()[..8] {
            return None;
        }
        let event = match bytes[4] {
            1 => Event::Insert,
            2 => Event::Evict,
            3 => Event::Quarantine,
            _ => return None,
        };
        let digests = [digest(40)?, digest(72)?, digest(104)?];
        let identity = PayloadKind::from_number(bytes[5].into())
            .map(|kind| PipelineCacheIdentity::of_digests(kind, digests[0], digests[1], digests[2]));
        let digest = digest(8)?;
        match identity {
            Some(identity) if identity.digest() != digest => None,
            identity => Some(Self { event, digest, identity }),
        }
    }
}

/// The contents of the log, as far as it was read.
#[derive(Debug, Default)]
pub(crate) struct Index {
    /// Bytes read so far.
    read: u64,
    /// The last event of each entry, and its identity if known.
    last: HashMap<Digest, (Event, Option<PipelineCacheIdentity>)>,
    kinds: HashSet<PayloadKind>,
    programs: HashSet<(PayloadKind, Digest)>,
    policies: HashSet<(PayloadKind, Digest, Digest)>,
    devices: HashSet<(PayloadKind, Digest, Digest, Digest)>,
}

impl Index {
    /// Reads records appended since the last call.
    pub(crate) fn refresh(&mut self, storage: &dyn Storage, path: &Path) -> io::Result<()> {
        let length = storage.info(path)?.bytes;
        if length < self.read {
            // The log was rewritten.
            *self = Self::default();
        }
        if length == self.read {
            return Ok(());
        }
        let (bytes, _) = storage.read(path, self.read, MAX_INDEX_BYTES)?;
        self.read += self.take(&bytes) as u64;
        Ok(())
    }

    /// Parses complete records, skipping damaged bytes. Returns the number of bytes consumed.
    fn take(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        while at + RECORD_BYTES <= bytes.len() {
            match Record::decode(&bytes[at..at + RECORD_BYTES]) {
                Some(record) => {
                    self.note(&record);
                    at += RECORD_BYTES;
                }
                // Torn record: resume at the next magic.
                None => at += next_magic(&bytes[at..], MAGIC),
            }
        }
        at
    }

    fn note(&mut self, record: &Record) {
        let known = record.identity.or_else(|| self.last.get(&record.digest).and_then(|(_, id)| *id));
        self.last.insert(record.digest, (record.event, known));
        if let (Event::Insert, Some(id)) = (record.event, &record.identity) {
            self.kinds.insert(id.kind());
            self.programs.insert((id.kind(), id.program()));
            self.policies.insert((id.kind(), id.program(), id.policy()));
            self.devices.insert((id.kind(), id.program(), id.policy(), id.device()));
        }
    }

    /// Returns what the log shows about an absent entry.
    pub(crate) fn evidence(&self, identity: &PipelineCacheIdentity) -> PipelineCacheMissEvidence {
        let (kind, program, policy) = (identity.kind(), identity.program(), identity.policy());
        let last = self.last.get(&identity.digest()).map(|(event, _)| *event);
        PipelineCacheMissEvidence {
            entry: EntryState::Absent,
            was_evicted: last == Some(Event::Evict),
            is_empty: !self.kinds.contains(&kind),
            knows_program: self.programs.contains(&(kind, program)),
            knows_policy: self.policies.contains(&(kind, program, policy)),
            knows_device: self.devices.contains(&(kind, program, policy, identity.device())),
        }
    }

    /// Returns the identity of an entry, if the log has it.
    pub(crate) fn identity(&self, digest: &Digest) -> Option<PipelineCacheIdentity> {
        self.last.get(digest).and_then(|(_, identity)| *identity)
    }

    /// Returns a log with one insertion for each of `entries` whose identity is known, and no other records.
    pub(crate) fn compacted(&self, entries: &HashSet<Digest>, now: SystemTime) -> Vec<u8> {
        let kept = entries.iter().filter_map(|digest| self.identity(digest));
        kept.flat_map(|identity| Record::insert(&identity).encode(now)).collect()
    }
}

/// Returns the offset, at least 1, at which the next record with this `magic` may begin.
pub(crate) fn next_magic(bytes: &[u8], magic: [u8; 4]) -> usize {
    let found = bytes[1..].windows(magic.len()).position(|four| four == magic);
    found.map_or(bytes.len() - (magic.len() - 1), |at| at + 1)
}

#[cfg(test)]
mod tests {
    use fulgurite_spec::cache::PipelineCacheMissReason as Reason;
    use fulgurite_storage::FileSystem;

    use super::*;

    fn identity(kind: PayloadKind, parts: [&str; 3]) -> PipelineCacheIdentity {
        let [program, policy, device] = parts.map(|part| Digest::of(part.as_bytes()));
        PipelineCacheIdentity::of_digests(kind, program, policy, device)
    }

    fn reason(index: &Index, parts: [&str; 3]) -> Reason {
        Reason::classify(&index.evidence(&identity(PayloadKind::Binary, parts)))
    }

    #[test]
    fn log_explains_misses() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("index.log");
        let add = |event, digest, identity| {
            FileSystem.append(&path, &Record { event, digest, identity }.encode(SystemTime::now())).unwrap();
        };
        let mut index = Index::default();
        assert!(index.refresh(&FileSystem, &path).is_err());
        assert_eq!(reason(&index, ["p", "o", "d"]), Reason::EmptyCache);
        let id = identity(PayloadKind::Binary, ["p", "o", "d"]);
        add(Event::Insert, id.digest(), Some(id));
        index.refresh(&FileSystem, &path).unwrap();
        assert_eq!(reason(&index, ["q", "o", "d"]), Reason::ProgramChanged);
        assert_eq!(reason(&index, ["p", "x", "d"]), Reason::DispatchPolicyChanged);
        assert_eq!(reason(&index, ["p", "o", "x"]), Reason::DeviceOrRuntimeChanged);
        assert_eq!(reason(&index, ["p", "o", "d"]), Reason::KeyAbsent);
        let artifact = index.evidence(&identity(PayloadKind::Artifact, ["p", "o", "d"]));
        assert_eq!(Reason::classify(&artifact), Reason::EmptyCache, "kinds are tracked separately");
        add(Event::Quarantine, id.digest(), None);
        index.refresh(&FileSystem, &path).unwrap();
        assert_eq!(reason(&index, ["p", "o", "d"]), Reason::KeyAbsent);
        add(Event::Evict, id.digest(), None);
        index.refresh(&FileSystem, &path).unwrap();
        assert_eq!(reason(&index, ["p", "o", "d"]), Reason::Evicted);
        assert_eq!(index.identity(&id.digest()), Some(id));
        // A shorter log is a new one.
        std::fs::write(&path, "").unwrap();
        index.refresh(&FileSystem, &path).unwrap();
        assert_eq!(reason(&index, ["p", "o", "d"]), Reason::EmptyCache);
    }

    #[test]
    fn log_and_identities_give_the_same_reason() {
        let names = ["p", "q"];
        let all: Vec<_> = [PayloadKind::Artifact, PayloadKind::Binary]
            .iter()
            .flat_map(|kind| names.iter().map(move |a| (*kind, *a)))
            .flat_map(|(kind, a)| names.iter().map(move |b| (kind, a, *b)))
            .flat_map(|(kind, a, b)| names.map(|c| identity(kind, [a, b, c])))
            .collect();
        // All pairs of known entries, and all entries to look up.
        for known in all.iter().flat_map(|one| all.iter().map(move |two| [one, two])) {
            let mut index = Index::default();
            known.iter().for_each(|id| index.note(&Record::insert(id)));
            for wanted in &all {
                let logged = Reason::classify(&index.evidence(wanted));
                assert_eq!(crate::classify_identities(wanted, known), logged);
            }
        }
        assert_eq!(crate::classify_identities(&all[0], []), Reason::EmptyCache);
    }

    #[test]
    fn damage_loses_only_the_damaged_records() {
        let records: Vec<_> = ["a", "b", "c", "d"]
            .iter()
            .map(|name| Record::insert(&identity(PayloadKind::Artifact, [name, "o", "d"])))
            .collect();
        let whole: Vec<u8> = records.iter().flat_map(|r| r.encode(SystemTime::now())).collect();
        let known = |bytes: &[u8]| {
            let mut index = Index::default();
            index.take(bytes);
            records.iter().filter(|r| index.identity(&r.digest).is_some()).count()
        };
        assert_eq!(known(&whole), 4);
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 0x20;
            assert_eq!(known(&changed), 3, "byte {at} changed");
            let cut = [&whole[..at], &whole[at + 1..]].concat();
            assert_eq!(known(&cut), 3, "byte {at} cut");
            let torn = [&whole[..at], &whole[RECORD_BYTES * 3..]].concat();
            assert_eq!(known(&torn), (at / RECORD_BYTES).min(3) + 1, "torn at {at}");
        }
        assert_eq!(known(&[]), 0);
        assert_eq!(known(b"FGIX"), 0);
    }

    #[test]
    fn compacted_log_keeps_present_entries() {
        let [a, b] = ["a", "b"].map(|name| identity(PayloadKind::Artifact, [name, "o", "d"]));
        let mut index = Index::default();
        [a, b].iter().for_each(|id| index.note(&Record::insert(id)));
        let mut again = Index::default();
        again.take(&index.compacted(&HashSet::from([a.digest()]), SystemTime::now()));
        assert_eq!((again.identity(&a.digest()), again.identity(&b.digest())), (Some(a), None));
    }
}
