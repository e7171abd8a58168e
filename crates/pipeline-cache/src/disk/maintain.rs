//! Maintenance of a disk tier: statistics, verification, trimming, export and import.

use std::collections::{BTreeMap, HashSet};
use std::io::ErrorKind;
use std::path::Path;
use std::time::{Duration, SystemTime};

use fulgurite_storage::{Digest, Listed, Locked, Missing, replace, unique_name};

use super::{DiskPipelineCache, Durability, Written, digest_of, is_shard};
use crate::entry::TEMPORARY;
use crate::entry::{self, BadEntry, Entry};
use crate::error::{CacheError, lock};
use crate::identity::PayloadKind;
use crate::index::{COMPACT_BYTES, Event, Record};
use crate::pack::{Pack, PackWriter, TrustedPack};

/// Percentage of the size limit kept after trimming.
const TRIMMED_PERCENT: u64 = 90;
/// Age after which a temporary file counts as stale where locks are unavailable.
const ABANDONED: Duration = Duration::from_secs(24 * 3600);

/// A number of entries and their total size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheCount {
    /// Number of entries.
    pub entries: u64,
    /// Size in bytes, headers included.
    pub bytes: u64,
}

impl CacheCount {
    fn add(&mut self, bytes: u64) {
        self.entries += 1;
        self.bytes += bytes;
    }
}

/// Statistics of a disk tier.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DiskStats {
    /// All entries.
    pub all: CacheCount,
    /// Entries by kind, as far as the index knows it.
    pub by_kind: BTreeMap<PayloadKind, CacheCount>,
    /// Entries whose kind is not in the index.
    pub unknown: CacheCount,
    /// Quarantined entries.
    pub quarantined: CacheCount,
    /// Temporary files, in use or stale.
    pub temporary: CacheCount,
    /// Size of the index in bytes.
    pub index_bytes: u64,
    /// Last use of the least recently used entry, accurate to an hour.
    pub oldest: Option<SystemTime>,
    /// Last use of the most recently used entry, accurate to an hour.
    pub newest: Option<SystemTime>,
}

/// Result of verifying all entries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct VerifyReport {
    /// Undamaged entries.
    pub good: CacheCount,
    /// Damaged entries. They are quarantined unless the cache is read-only.
    pub corrupt: Vec<Digest>,
    /// Entries in another version of the format. They are quarantined likewise.
    pub other_format: Vec<Digest>,
    /// Entries that could not be read, with the error.
    pub unreadable: Vec<(Digest, CacheError)>,
}

/// Result of trimming.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct GcReport {
    /// Entries before trimming.
    pub before: CacheCount,
    /// Entries removed.
    pub evicted: CacheCount,
    /// Number of stale temporary files removed.
    pub temporary: u64,
    /// Whether nothing was done because another process is trimming.
    pub is_busy: bool,
}

/// Result of importing a pack.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ImportReport {
    /// Number of new entries.
    pub added: usize,
    /// Number of entries that existed already.
    pub unchanged: usize,
    /// Number of lowered kernels and driver binaries skipped because the pack is not trusted.
    pub untrusted: usize,
    /// Entries that could not be written, with the error.
    pub failed: Vec<(Digest, CacheError)>,
}

/// An entry's file in a shard.
pub(super) struct Found {
    pub(super) digest: Digest,
    bytes: u64,
    modified: SystemTime,
}

/// Entries and temporary files found by a scan of the folder.
#[derive(Default)]
pub(super) struct Scan {
    pub(super) entries: Vec<Found>,
    temporary: Vec<(std::path::PathBuf, Listed)>,
}

impl DiskPipelineCache {
    pub(super) fn scan(&self) -> Result<Scan, CacheError> {
        let list = |folder: &Path| self.storage.list(folder).map_err(|e| CacheError::io("list", folder, &e));
        let mut scan = Scan::default();
        let all = list(&self.root)?;
        // Temporary files of rewritten logs.
        let temporary = all.iter().filter(|file| file.is_file && file.name.starts_with(TEMPORARY));
        scan.temporary.extend(temporary.map(|file| (self.root.join(&file.name), file.clone())));
        for shard in all.iter().filter(|found| is_shard(&found.name)) {
            let folder = self.root.join(&shard.name);
            for file in list(&folder)?.into_iter().filter(|file| file.is_file) {
                match digest_of(&file.name) {
                    Some(digest) => {
                        scan.entries.push(Found { digest, bytes: file.bytes, modified: file.modified });
                    }
                    None if file.name.starts_with(TEMPORARY) => {
                        scan.temporary.push((folder.join(&file.name), file));
                    }
                    None => {}
                }
            }
        }
        Ok(scan)
    }

    /// Returns statistics without reading any entry.
    ///
    /// # Errors
    /// `FG1001` if the folder cannot be listed.
    pub fn stats(&self) -> Result<DiskStats, CacheError> {
        let mut stats = DiskStats::default();
        let scan = self.scan()?;
        let mut state = lock(&self.state)?;
        // Without the index, kinds are unknown.
        let _ = state.index.refresh(&*self.storage, &self.index_path());
        for found in &scan.entries {
            stats.all.add(found.bytes);
            match state.index.identity(&found.digest) {
                Some(identity) => stats.by_kind.entry(identity.kind()).or_default().add(found.bytes),
                None => stats.unknown.add(found.bytes),
            }
        }
        scan.temporary.iter().for_each(|(_, file)| stats.temporary.add(file.bytes));
        for file in self.storage.list(&self.root.join("quarantine")).unwrap_or_default() {
            stats.quarantined.add(file.bytes);
        }
        stats.index_bytes = self.storage.info(&self.index_path()).map_or(0, |info| info.bytes);
        stats.oldest = scan.entries.iter().map(|found| found.modified).min();
        stats.newest = scan.entries.iter().map(|found| found.modified).max();
        Ok(stats)
    }

    /// Reads and checks every entry, and quarantines damaged ones. `progress` receives the number of entries done and
    /// the total.
    ///
    /// # Errors
    /// `FG1001` if the folder cannot be listed.
    pub fn verify(&self, progress: &mut dyn FnMut(usize, usize)) -> Result<VerifyReport, CacheError> {
        let scan = self.scan()?;
        let mut report = VerifyReport::default();
        for (done, found) in scan.entries.iter().enumerate() {
            progress(done, scan.entries.len());
            match self.load(&found.digest) {
                Ok(Ok(_)) => report.good.add(found.bytes),
                Ok(Err(BadEntry::Corrupt)) => report.corrupt.push(found.digest),
                Ok(Err(BadEntry::OtherFormat)) => report.other_format.push(found.digest),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => {
                    let error = CacheError::io("read", &self.path_of(&found.digest), &error);
                    report.unreadable.push((found.digest, error));
                }
            }
        }
        if self.check_writable().is_ok() {
            for digest in report.corrupt.iter().chain(&report.other_format) {
                let shard = self.shard_of(digest);
                let locked = self.lock_shard(&shard);
                if locked.is_held() && matches!(self.load(digest), Ok(Err(_))) {
                    self.condemn_locked(digest);
                }
            }
        }
        progress(scan.entries.len(), scan.entries.len());
        Ok(report)
    }

    /// Reads the entry in the file of `digest`.
    pub(super) fn load(&self, digest: &Digest) -> std::io::Result<Result<Entry, BadEntry>> {
        let bytes = match self.storage.read(&self.path_of(digest), 0, self.options.max_entry_bytes) {
            Ok((bytes, _)) => bytes,
            Err(error) if error.kind() == ErrorKind::FileTooLarge => {
                return Ok(Err(BadEntry::Corrupt));
            }
            Err(error) => return Err(error),
        };
        Ok(entry::decode(bytes).and_then(|entry| match entry.identity.digest() == *digest {
            true => Ok(entry),
            false => Err(BadEntry::Corrupt),
        }))
    }

    /// Removes stale temporary files. If the entries exceed `max_bytes` (by default the cache's own limit), also
    /// removes the least recently used until 90 % of it remain.
    ///
    /// # Errors
    /// `FG1001` if the folder cannot be listed or the cache is read-only; `FG1003` if the tier is switched off.
    pub fn gc(&self, max_bytes: Option<u64>) -> Result<GcReport, CacheError> {
        self.check_writable()?;
        self.trim(max_bytes.unwrap_or(self.options.max_bytes))
    }

    pub(super) fn trim(&self, max_bytes: u64) -> Result<GcReport, CacheError> {
        // One process at a time is enough. Without locks, each process trims.
        let locked = self.lock_named("evict", Duration::ZERO);
        if let Locked::Late = locked {
            return Ok(GcReport { is_busy: true, ..GcReport::default() });
        }
        let now = self.storage.now();
        let mut scan = self.scan()?;
        let mut report = GcReport::default();
        for (path, file) in &scan.temporary {
            report.temporary += u64::from(self.collect(path, file, now, &locked));
        }
        scan.entries.iter().for_each(|found| report.before.add(found.bytes));
        let mut evicted = HashSet::new();
        if report.before.bytes > max_bytes {
            let target = max_bytes / 100 * TRIMMED_PERCENT;
            // Times in the future count as now.
            scan.entries.sort_by_key(|found| found.modified.min(now));
            for found in &scan.entries {
                if report.before.bytes - report.evicted.bytes <= target {
                    break;
                }
                if self.evict(&found.digest, found.modified) {
                    report.evicted.add(found.bytes);
                    evicted.insert(found.digest);
                }
            }
            let records =
                evicted.iter().map(|digest| Record { event: Event::Evict, digest: *digest, identity: None });
            self.log(&records.collect::<Vec<_>>());
        }
        if self.storage.info(&self.index_path()).is_ok_and(|info| info.bytes > COMPACT_BYTES) {
            let left = scan.entries.iter().map(|f| f.digest).filter(|d| !evicted.contains(d)).collect();
            self.compact(&left)?;
        }
        Ok(report)
    }

    /// Removes a stale temporary file. Returns whether it did. `locked` shows whether locks are available.
    fn collect(&self, path: &Path, file: &Listed, now: SystemTime, locked: &Locked) -> bool {
        let own = match locked.is_held() {
            true => self.storage.try_lock(path, Missing::Refuse),
            false => Err(ErrorKind::Unsupported.into()),
        };
        match own {
            // Hold the lock until the file is gone, so that its creator sees it either locked or removed.
            Ok(Some(_held)) => self.storage.remove(path).is_ok(),
            Ok(None) => false,
            Err(_) => {
                let is_old = now.duration_since(file.modified).is_ok_and(|age| age > ABANDONED);
                is_old && self.storage.remove(path).is_ok()
            }
        }
    }

    /// Rewrites the index. Records that others append meanwhile are lost, at the cost of a miss reason.
    fn compact(&self, entries: &HashSet<Digest>) -> Result<(), CacheError> {
        let path = self.index_path();
        let mut state = lock(&self.state)?;
        match state.index.refresh(&*self.storage, &path) {
            Ok(()) => {}
            // A log too long to read is worthless; replace it.
            Err(error) if error.kind() == ErrorKind::FileTooLarge => {
                state.index = crate::index::Index::default();
            }
            Err(_) => return Ok(()),
        }
        let bytes = state.index.compacted(entries, self.storage.now());
        // If this fails, the log stays long.
        let _ = replace(&*self.storage, &unique_name(&self.root, TEMPORARY, ""), &path, &bytes);
        state.index = crate::index::Index::default();
        Ok(())
    }

    /// Exports all undamaged entries for which `wanted` returns true, as one pack.
    ///
    /// # Errors
    /// `FG1001` if the folder cannot be listed. Unreadable and damaged entries are skipped.
    pub fn export(&self, wanted: &dyn Fn(&Entry) -> bool) -> Result<Vec<u8>, CacheError> {
        let mut pack = PackWriter::new();
        for found in &self.scan()?.entries {
            if let Ok(Ok(entry)) = self.load(&found.digest)
                && wanted(&entry)
            {
                pack.add(&entry);
            }
        }
        Ok(pack.finish())
    }

    /// Imports the entries that their users verify: kernels and tuning records. Lowered kernels and driver binaries are
    /// skipped.
    ///
    /// # Errors
    /// `FG1001` if the cache is read-only; `FG1003` if the tier is switched off; `FG1007` if an entry cannot be made
    /// durable.
    pub fn import(&self, pack: &Pack) -> Result<ImportReport, CacheError> {
        let is_verified = |kind| matches!(kind, PayloadKind::Kernel | PayloadKind::Tuned);
        self.import_kinds(pack, &is_verified)
    }

    /// Imports all entries of a trusted pack.
    ///
    /// # Errors
    /// As for [`import`](Self::import).
    pub fn import_trusted(&self, pack: &TrustedPack) -> Result<ImportReport, CacheError> {
        self.import_kinds(pack, &|_| true)
    }

    fn import_kinds(
        &self,
        pack: &Pack,
        takes: &dyn Fn(PayloadKind) -> bool,
    ) -> Result<ImportReport, CacheError> {
        self.check_writable()?;
        let mut report = ImportReport::default();
        for entry in pack.entries() {
            if !takes(entry.identity.kind()) {
                report.untrusted += 1;
                continue;
            }
            match self.write(&entry, Durability::OnFlush) {
                Ok(Written::New) => report.added += 1,
                Ok(Written::Unchanged) => report.unchanged += 1,
                Err(error) => report.failed.push((entry.identity.digest(), error)),
            }
        }
        self.flush()?;
        Ok(report)
    }
}
