//! Looking after a whole disk tier: what it holds, whether that is good, trimming it, and moving it elsewhere.

use std::collections::{BTreeMap, HashSet};
use std::io::ErrorKind;
use std::path::Path;
use std::time::{Duration, SystemTime};

use fulgurite_storage::{Digest, Listed, Locked, Missing, unique_name};

use super::{DiskPipelineCache, Durability, TEMPORARY, Written, digest_of, is_shard};
use crate::entry::{self, BadEntry, Entry};
use crate::error::{CacheError, lock};
use crate::identity::PayloadKind;
use crate::index::{COMPACT_BYTES, Event, Record};
use crate::pack::{Pack, PackWriter, TrustedPack};

/// Of 100 bytes that there may be, how many are left after trimming.
const TRIMMED_PERCENT: u64 = 90;
/// How old a temporary file is that nobody can still be writing, where locks do not tell.
const ABANDONED: Duration = Duration::from_secs(24 * 3600);

/// Entries and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheCount {
    /// How many.
    pub entries: u64,
    /// Their bytes, headers included.
    pub bytes: u64,
}

impl CacheCount {
    fn add(&mut self, bytes: u64) {
        self.entries += 1;
        self.bytes += bytes;
    }
}

/// What a disk tier holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DiskStats {
    /// All entries.
    pub all: CacheCount,
    /// Those of each kind, as far as the index knows it.
    pub by_kind: BTreeMap<PayloadKind, CacheCount>,
    /// Those of which the index knows nothing.
    pub unknown: CacheCount,
    /// What was put aside.
    pub quarantined: CacheCount,
    /// Files that are being written, or were when their process ended.
    pub temporary: CacheCount,
    /// Bytes of the index.
    pub index_bytes: u64,
    /// When the entry that was used the longest ago was used.
    pub oldest: Option<SystemTime>,
    /// When the entry that was used last was used.
    pub newest: Option<SystemTime>,
}

/// What reading every entry found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct VerifyReport {
    /// Good entries.
    pub good: CacheCount,
    /// Damaged ones, which were put aside unless the cache is only read.
    pub corrupt: Vec<Digest>,
    /// Those of another version of the format.
    pub other_format: Vec<Digest>,
    /// Those that cannot be read, and why.
    pub unreadable: Vec<(Digest, CacheError)>,
}

/// What trimming did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct GcReport {
    /// What was there.
    pub before: CacheCount,
    /// What was removed.
    pub evicted: CacheCount,
    /// Files of dead processes that were removed.
    pub temporary: u64,
    /// Whether another process was at it, so that nothing was done.
    pub is_busy: bool,
}

/// What importing a pack did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ImportReport {
    /// Entries that are new here.
    pub added: usize,
    /// Entries that were here.
    pub unchanged: usize,
    /// Lowered kernels and driver binaries that were left out, of a pack that nobody vouched for.
    pub untrusted: usize,
    /// Entries that could not be written, and why.
    pub failed: Vec<(Digest, CacheError)>,
}

/// A file of a shard.
pub(super) struct Found {
    pub(super) digest: Digest,
    bytes: u64,
    modified: SystemTime,
}

/// All that a scan of the folder finds.
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
        // Logs that are written anew.
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

    /// What there is. Reads no entry.
    ///
    /// # Errors
    /// `FG1001` if the folder cannot be listed.
    pub fn stats(&self) -> Result<DiskStats, CacheError> {
        let mut stats = DiskStats::default();
        let scan = self.scan()?;
        let mut state = lock(&self.state)?;
        // Without the index the kinds are not known.
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

    /// Reads and checks every entry, and puts damaged ones aside. `progress` is told how many are done, and of how many.
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

    /// The entry in the file of `digest`.
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

    /// Collects what dead processes left, and removes the least recently used entries if there are more bytes than
    /// `max_bytes` (default: the cache's own bound), until a tenth of that is free.
    ///
    /// # Errors
    /// `FG1001` if the folder cannot be listed, or the cache is only read.
    pub fn gc(&self, max_bytes: Option<u64>) -> Result<GcReport, CacheError> {
        self.check_writable()?;
        self.trim(max_bytes.unwrap_or(self.options.max_bytes))
    }

    pub(super) fn trim(&self, max_bytes: u64) -> Result<GcReport, CacheError> {
        // One at a time is enough. Where there are no locks, each process does it.
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
            // A time to come is no later than now.
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

    /// Removes a temporary file that nobody writes any more. Whether it did. `locked` tells whether there are locks here.
    fn collect(&self, path: &Path, file: &Listed, now: SystemTime, locked: &Locked) -> bool {
        let own = match locked.is_held() {
            true => self.storage.try_lock(path, Missing::Refuse),
            false => Err(ErrorKind::Unsupported.into()),
        };
        match own {
            // Held until it is gone: who is about to write it sees one or the other.
            Ok(Some(_held)) => self.storage.remove(path).is_ok(),
            Ok(None) => false,
            Err(_) => {
                let is_old = now.duration_since(file.modified).is_ok_and(|age| age > ABANDONED);
                is_old && self.storage.remove(path).is_ok()
            }
        }
    }

    /// Writes the index anew. What others add meanwhile is lost, which costs a reason of a miss.
    fn compact(&self, entries: &HashSet<Digest>) -> Result<(), CacheError> {
        let path = self.index_path();
        let mut state = lock(&self.state)?;
        match state.index.refresh(&*self.storage, &path) {
            Ok(()) => {}
            // Nobody can read it any more, so nothing is lost with it.
            Err(error) if error.kind() == ErrorKind::FileTooLarge => {
                state.index = crate::index::Index::default();
            }
            Err(_) => return Ok(()),
        }
        let bytes = state.index.compacted(entries, self.storage.now());
        let temporary = unique_name(&self.root, TEMPORARY, "");
        let written = self
            .storage
            .create(&temporary)
            .and_then(|mut file| file.write_at(0, &bytes))
            .and_then(|()| self.storage.rename(&temporary, &path));
        if written.is_err() {
            let _ = self.storage.remove(&temporary);
        }
        state.index = crate::index::Index::default();
        Ok(())
    }

    /// Every good entry that `wanted` takes, as one pack.
    ///
    /// # Errors
    /// `FG1001` if the folder cannot be listed. What cannot be read, or is damaged, is left out.
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

    /// Writes what whoever reads it verifies: kernels and tuning records. Lowered kernels and driver binaries are left out.
    ///
    /// # Errors
    /// `FG1001` if the cache is only read; `FG1007` if not all can be made durable.
    pub fn import(&self, pack: &Pack) -> Result<ImportReport, CacheError> {
        let is_verified = |kind| matches!(kind, PayloadKind::Kernel | PayloadKind::Tuned);
        self.import_kinds(pack, &is_verified)
    }

    /// Writes every entry of a pack.
    ///
    /// # Errors
    /// As [`import`](Self::import).
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
