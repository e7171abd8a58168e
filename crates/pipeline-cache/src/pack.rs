//! Packs: single files with many entries, shipped with a program. A trusted pack serves as a read-only layer of a
//! cache. `docs/cache-format.md` specifies the format.

use std::borrow::Cow;
use std::path::Path;

use fulgurite_storage::{Digest, FileSystem, Storage};

use crate::entry::{self, Entry};
use crate::error::CacheError;
use crate::identity::PipelineCacheIdentity;

/// The magic number of a pack.
const MAGIC: [u8; 8] = *b"FGPACK\x1a\n";
/// Version of the format.
const FORMAT_VERSION: u32 = 1;
/// Size of the header before the table in bytes.
const HEAD_BYTES: usize = 24;
/// Size of a table row in bytes: digest, offset and length of an entry.
const ROW_BYTES: usize = 48;
/// Maximum size in bytes of a pack read from a file.
const MAX_PACK_BYTES: u64 = 4 << 30;

/// Entries in one file. The table is checked on opening, each entry when it is read.
#[derive(Clone, PartialEq, Eq)]
pub struct Pack {
    bytes: Cow<'static, [u8]>,
    entries: usize,
}

impl Pack {
    /// Opens a pack from bytes, for example `include_bytes!("kernels.fgpack")`.
    ///
    /// # Errors
    /// `FG0703` if the bytes are not a pack of this version, or are truncated or damaged.
    pub fn from_bytes(bytes: impl Into<Cow<'static, [u8]>>) -> Result<Self, CacheError> {
        let bytes = bytes.into();
        let bad = CacheError::BadPack;
        if !bytes.starts_with(&MAGIC) {
            return Err(bad("wrong magic number"));
        }
        let cut = || bad("truncated");
        let version = bytes.get(8..12).and_then(|b| b.try_into().ok()).map(u32::from_le_bytes);
        if version.ok_or_else(cut)? != FORMAT_VERSION {
            return Err(bad("unsupported format version"));
        }
        let count = bytes.get(16..24).and_then(|b| b.try_into().ok()).map(u64::from_le_bytes);
        let entries = usize::try_from(count.ok_or_else(cut)?).map_err(|_| cut())?;
        let table_end =
            entries.checked_mul(ROW_BYTES).and_then(|rows| rows.checked_add(HEAD_BYTES)).ok_or_else(cut)?;
        let sealed = bytes.get(..table_end).ok_or_else(cut)?;
        let seal = bytes.get(table_end..).and_then(|rest| rest.get(..32)).ok_or_else(cut)?;
        if Digest::of(sealed).as_bytes() != seal {
            return Err(bad("table checksum mismatch"));
        }
        let pack = Self { bytes, entries };
        let is_sorted = (1..entries).all(|i| pack.row(i - 1).map(|r| r.0) < pack.row(i).map(|r| r.0));
        if !is_sorted {
            return Err(bad("table is not sorted"));
        }
        // Entries are contiguous, so that reading all of them reads each byte once.
        let mut at = (table_end + 32) as u64;
        for (_, from, length) in (0..entries).filter_map(|i| pack.row(i)) {
            if from != at {
                return Err(bad("entries overlap or leave gaps"));
            }
            at = at.checked_add(length).ok_or_else(cut)?;
        }
        match at.cmp(&(pack.bytes.len() as u64)) {
            std::cmp::Ordering::Equal => Ok(pack),
            std::cmp::Ordering::Less => Err(bad("trailing bytes")),
            std::cmp::Ordering::Greater => Err(cut()),
        }
    }

    /// Opens a pack file that is owned by this user or the system and not writable by others.
    ///
    /// # Errors
    /// `FG1001` if the file cannot be read or is not trusted; otherwise as for [`from_bytes`](Self::from_bytes).
    pub fn open(path: &Path) -> Result<Self, CacheError> {
        let distrust = FileSystem.distrust(path).map_err(|error| CacheError::io("inspect", path, &error))?;
        if let Some(reason) = distrust {
            return Err(CacheError::Refused { path: path.to_owned(), reason });
        }
        let (bytes, _) =
            FileSystem.read(path, 0, MAX_PACK_BYTES).map_err(|error| CacheError::io("read", path, &error))?;
        Self::from_bytes(bytes)
    }

    /// Marks the pack as trusted, so that its lowered kernels and driver binaries are run unverified. Kernels and
    /// tuning records need no trust, because their users verify them.
    ///
    /// # Safety
    /// The pack's author must be trusted as an author of native code is. Lowered kernels access memory without the
    /// checks that verification proved unnecessary, and drivers do not validate their binaries: a binary made for
    /// another kernel, or maliciously, can write anywhere. The checksums detect only accidental damage.
    #[expect(unsafe_code, reason = "the caller vouches for code that cannot be checked")]
    pub unsafe fn trust(self) -> TrustedPack {
        TrustedPack(self)
    }

    /// Returns the number of entries.
    pub fn len(&self) -> usize {
        self.entries
    }

    /// Returns whether the pack has no entries.
    pub fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// Returns the entry of `identity`, or `None` if it is absent or damaged.
    pub fn get(&self, identity: &PipelineCacheIdentity) -> Option<Entry> {
        let digest = identity.digest();
        let (mut from, mut to) = (0, self.entries);
        while from < to {
            let middle = from.midpoint(to);
            match self.row(middle)?.0.cmp(&digest) {
                std::cmp::Ordering::Less => from = middle + 1,
                std::cmp::Ordering::Greater => to = middle,
                std::cmp::Ordering::Equal => {
                    return entry::decode_for(identity, self.stored(middle)?.to_vec()).ok();
                }
            }
        }
        None
    }

    /// Returns whether the pack has an entry with this digest, damaged or not.
    pub(crate) fn contains(&self, digest: &Digest) -> bool {
        (0..self.entries).any(|i| self.row(i).is_some_and(|row| row.0 == *digest))
    }

    /// Iterates over the undamaged entries, by digest.
    pub fn entries(&self) -> impl Iterator<Item = Entry> {
        (0..self.entries).filter_map(|i| {
            let entry = entry::decode(self.stored(i)?.to_vec()).ok()?;
            (entry.identity.digest() == self.row(i)?.0).then_some(entry)
        })
    }

    /// Returns a table row: digest, offset and length.
    fn row(&self, index: usize) -> Option<(Digest, u64, u64)> {
        let row = self.bytes.get(HEAD_BYTES + index * ROW_BYTES..)?.get(..ROW_BYTES)?;
        let number = |at: usize| Some(u64::from_le_bytes(row.get(at..at + 8)?.try_into().ok()?));
        Some((Digest::from_bytes(row.get(..32)?.try_into().ok()?), number(32)?, number(40)?))
    }

    /// Returns the bytes of an entry.
    fn stored(&self, index: usize) -> Option<&[u8]> {
        let (_, from, length) = self.row(index)?;
        self.bytes.get(usize::try_from(from).ok()?..)?.get(..usize::try_from(length).ok()?)
    }
}

impl std::fmt::Debug for Pack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pack({} entries, {} bytes)", self.entries, self.bytes.len())
    }
}

/// A pack marked as trusted by [`Pack::trust`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedPack(Pack);

impl std::ops::Deref for TrustedPack {
    type Target = Pack;

    fn deref(&self) -> &Pack {
        &self.0
    }
}

/// Builds a pack.
#[derive(Debug, Default)]
pub struct PackWriter {
    entries: std::collections::BTreeMap<Digest, Vec<u8>>,
}

impl PackWriter {
    /// Creates a writer without entries.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an entry, replacing one of the same identity.
    pub fn add(&mut self, entry: &Entry) {
        self.entries.insert(entry.identity.digest(), entry::encode(entry));
    }

    /// Returns the number of entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Encodes the pack. The bytes do not depend on the order in which entries were added.
    pub fn finish(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        bytes.extend_from_slice(&0u32.to_le_bytes());
        bytes.extend_from_slice(&(self.entries.len() as u64).to_le_bytes());
        let mut at = (HEAD_BYTES + self.entries.len() * ROW_BYTES + 32) as u64;
        for (digest, entry) in &self.entries {
            bytes.extend_from_slice(digest.as_bytes());
            bytes.extend_from_slice(&at.to_le_bytes());
            bytes.extend_from_slice(&(entry.len() as u64).to_le_bytes());
            at += entry.len() as u64;
        }
        let seal = Digest::of(&bytes);
        bytes.extend_from_slice(seal.as_bytes());
        self.entries.values().for_each(|entry| bytes.extend_from_slice(entry));
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{PayloadKind, PipelineDeviceFingerprint};

    fn entry(number: u8) -> Entry {
        let program = Digest::of(&[number]);
        let any = PipelineDeviceFingerprint::ANY;
        let identity = PipelineCacheIdentity::new(PayloadKind::Binary, program, Digest::ZERO, any);
        Entry::new(identity, Digest::ZERO, vec![number; usize::from(number)])
    }

    fn pack(numbers: &[u8]) -> Vec<u8> {
        let mut writer = PackWriter::new();
        numbers.iter().for_each(|number| writer.add(&entry(*number)));
        writer.finish()
    }

    #[test]
    fn packs_read_back_in_any_order() {
        let bytes = pack(&[3, 1, 40, 0]);
        assert_eq!(bytes, pack(&[0, 40, 3, 1, 1]));
        let read = Pack::from_bytes(bytes).unwrap();
        assert_eq!((read.len(), read.is_empty()), (4, false));
        for number in [0, 1, 3, 40] {
            assert_eq!(read.get(&entry(number).identity), Some(entry(number)));
        }
        assert_eq!(read.get(&entry(2).identity), None);
        assert_eq!(read.entries().count(), 4);
        assert!(Pack::from_bytes(pack(&[])).unwrap().is_empty());
    }

    #[test]
    fn damage_is_an_error_or_loses_only_the_damaged_entry() {
        let good = pack(&[1, 2, 9]);
        let table = HEAD_BYTES + 3 * ROW_BYTES + 32;
        for at in 0..good.len() {
            let mut changed = good.clone();
            changed[at] ^= 0x10;
            match Pack::from_bytes(changed) {
                // Bytes 12 to 16 are reserved, and covered by the checksum.
                Err(error) => assert!(at < table && matches!(error, CacheError::BadPack(_)), "{at}"),
                Ok(pack) => {
                    assert!(at >= table, "{at}");
                    let found = [1, 2, 9].iter().filter(|n| pack.get(&entry(**n).identity).is_some()).count();
                    assert_eq!((found, pack.entries().count()), (2, 2), "{at}");
                }
            }
            assert!(Pack::from_bytes(good[..at].to_vec()).is_err(), "cut at {at}");
        }
        let longer = [good.as_slice(), &[0]].concat();
        assert!(matches!(Pack::from_bytes(longer), Err(CacheError::BadPack(_))));
        let mut huge = good;
        huge[16..24].copy_from_slice(&u64::MAX.to_le_bytes());
        assert!(Pack::from_bytes(huge).is_err());
    }

    #[test]
    fn overlapping_rows_are_rejected() {
        // Two rows for the same bytes; otherwise, a thousand such rows would read as a thousand entries.
        let good = pack(&[5, 6]);
        let (table, seal) = (HEAD_BYTES + 2 * ROW_BYTES, HEAD_BYTES + 2 * ROW_BYTES + 32);
        let place = |row: usize| HEAD_BYTES + row * ROW_BYTES + 32..HEAD_BYTES + (row + 1) * ROW_BYTES;
        let mut shared = good.clone();
        shared.copy_within(place(0), place(1).start);
        let digest = Digest::of(&shared[..table]);
        shared[table..seal].copy_from_slice(digest.as_bytes());
        let error = Pack::from_bytes(shared).unwrap_err();
        assert_eq!(error, CacheError::BadPack("entries overlap or leave gaps"));
        assert_eq!(Pack::from_bytes(good).unwrap().len(), 2);
    }

    #[test]
    #[cfg(unix)]
    fn a_pack_that_others_can_write_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kernels.fgpack");
        std::fs::write(&path, pack(&[1])).unwrap();
        let allow = |mode| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        allow(0o644);
        assert_eq!(Pack::open(&path).unwrap().len(), 1);
        allow(0o666);
        assert!(matches!(Pack::open(&path), Err(CacheError::Refused { .. })));
        assert!(matches!(Pack::open(&folder.path().join("none")), Err(CacheError::Io { .. })));
    }
}
