//! Taking entries out of a disk tier: damaged ones aside, others for good. A good entry that came in between stays.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use fulgurite_spec::cache::EntryState;
use fulgurite_storage::{Digest, unique_name};

use super::{DiskPipelineCache, Family, Mode, digest_of, is_shard};
use crate::entry::Entry;
use crate::error::CacheError;
use crate::identity::PipelineCacheIdentity;
use crate::index::{Event, Record};

/// Damaged entries that are kept to be looked at.
const MAX_QUARANTINED_FILES: usize = 32;
/// Bytes of them.
const MAX_QUARANTINED_BYTES: u64 = 256 << 20;

/// What invalidating entries did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct InvalidateReport {
    /// Entries that were there and are no more.
    pub removed: usize,
    /// Entries that were not there.
    pub absent: usize,
    /// Entries that were in this process's memory and are no more.
    pub forgotten: usize,
    /// Entries that a read-only layer has, and so may serve again.
    pub layered: usize,
    /// Entries that are still there or may be again after a crash, and why.
    pub failed: Vec<(Digest, CacheError)>,
}

/// What clearing did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClearReport {
    /// Entries that are no more.
    pub removed: usize,
    /// Bytes of them.
    pub bytes: u64,
    /// What is still there, and why.
    pub failed: Vec<CacheError>,
}

impl DiskPipelineCache {
    /// Puts a damaged entry aside, if it is still damaged once its shard is locked. After too many the tier is switched
    /// off: something damages faster than anyone rebuilds.
    pub(super) fn put_aside(&self, identity: &PipelineCacheIdentity, path: &Path) {
        if self.mode() == Mode::ReadOnly {
            return;
        }
        let Some(shard) = path.parent() else { return };
        let locked = self.lock_shard(shard);
        if !locked.is_held() {
            return;
        }
        let is_damaged = |state| matches!(state, EntryState::Corrupt | EntryState::OtherFormat);
        if !self.look(identity, path).is_err_and(is_damaged) {
            return;
        }
        self.move_aside(&identity.digest(), path);
        drop(locked);
        let met = self.quarantined.fetch_add(1, Ordering::Relaxed) + 1;
        if met >= self.options.max_quarantined {
            self.is_off.store(true, Ordering::Relaxed);
            self.notices.say(&CacheError::SwitchedOff);
        }
    }

    /// Moves a file to the quarantine, which is bounded. The shard is locked.
    fn move_aside(&self, digest: &Digest, path: &Path) {
        let folder = self.root.join("quarantine");
        let aside = unique_name(&folder, &format!("{digest}-"), ".bad");
        let moved = self.storage.create_dir(&folder).and_then(|_| self.storage.rename(path, &aside));
        if moved.is_err() {
            // Then it is worth nothing to anyone.
            let _ = self.storage.remove(path);
        }
        self.log(&[Record { event: Event::Quarantine, digest: *digest, identity: None }]);
        self.bound_quarantine(MAX_QUARANTINED_FILES, MAX_QUARANTINED_BYTES);
    }

    /// Removes the oldest of what was put aside.
    pub(super) fn bound_quarantine(&self, files: usize, bytes: u64) {
        let folder = self.root.join("quarantine");
        let Ok(mut all) = self.storage.list(&folder) else { return };
        all.sort_by_key(|file| std::cmp::Reverse(file.modified));
        let mut kept = 0;
        for (place, file) in all.iter().enumerate() {
            kept += file.bytes;
            if place >= files || kept > bytes {
                let _ = self.storage.remove(&folder.join(&file.name));
            }
        }
    }

    /// Puts an entry aside that a driver did not survive, unless it was replaced by other bytes since it was read.
    pub(crate) fn condemn(&self, entry: &Entry) {
        if self.mode() == Mode::ReadOnly {
            return;
        }
        let digest = entry.identity.digest();
        let locked = self.lock_shard(&self.shard_of(&digest));
        let is_it = |there: &Entry| there.payload_digest == entry.payload_digest;
        if locked.is_held() && matches!(self.load(&digest), Ok(Ok(there)) if is_it(&there)) {
            self.condemn_locked(&digest);
        }
    }

    /// Puts an entry aside whatever it is. The shard is locked.
    pub(super) fn condemn_locked(&self, digest: &Digest) {
        let path = self.path_of(digest);
        if self.storage.info(&path).is_ok() {
            self.move_aside(digest, &path);
        }
    }

    /// Removes the entries of those `digests` whose place in `mask` is true, and makes that durable. All are tried.
    ///
    /// # Errors
    /// `FG1004` if the two have different lengths; `FG1001` in a cache that is only read. What is wrong with one entry is
    /// in the report.
    pub fn invalidate(&self, mask: &[bool], digests: &[Digest]) -> Result<InvalidateReport, CacheError> {
        if mask.len() != digests.len() {
            return Err(CacheError::Selection { mask: mask.len(), digests: digests.len() });
        }
        self.check_writable()?;
        let mut report = InvalidateReport::default();
        let mut gone: BTreeMap<PathBuf, Vec<(Digest, bool)>> = BTreeMap::new();
        let selected = digests.iter().zip(mask).filter_map(|(digest, wanted)| wanted.then_some(digest));
        for digest in selected {
            match self.remove_entry(digest) {
                Ok(was_there) => gone.entry(self.shard_of(digest)).or_default().push((*digest, was_there)),
                Err(error) => report.failed.push((*digest, error)),
            }
        }
        // What is not there may have been removed by someone who had no need for that to be durable.
        for (shard, all) in gone {
            let synced = match self.storage.sync_dir(&shard) {
                Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            };
            for (digest, was_there) in all {
                match &synced {
                    Ok(()) if was_there => report.removed += 1,
                    Ok(()) => report.absent += 1,
                    Err(error) => {
                        let path = self.path_of(&digest);
                        let error = CacheError::io("make durable the removal of", &path, error);
                        report.failed.push((digest, error));
                    }
                }
            }
        }
        Ok(report)
    }

    /// Removes all that was made of the kernel with the digest `kernel`: see
    /// [`PipelineCache::invalidate_kernel`](crate::PipelineCache::invalidate_kernel).
    ///
    /// # Errors
    /// As [`invalidate`](Self::invalidate), and `FG1001` if the folder cannot be listed.
    pub fn invalidate_kernel(&self, kernel: &Digest) -> Result<InvalidateReport, CacheError> {
        let mut family = Family::of(kernel);
        self.note_family(&mut family)?;
        let members = family.members();
        self.invalidate(&vec![true; members.len()], &members)
    }

    /// Removes an entry; whether it was there.
    fn remove_entry(&self, digest: &Digest) -> Result<bool, CacheError> {
        let path = self.path_of(digest);
        let locked = self.lock_shard(&self.shard_of(digest));
        let removed = self.storage.remove(&path);
        drop(locked);
        match removed {
            Ok(()) => {
                self.log(&[Record { event: Event::Evict, digest: *digest, identity: None }]);
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(CacheError::io("remove", &path, &error)),
        }
    }

    /// Removes an entry that was last used at `modified`, unless it was used or replaced since. Whether it did.
    pub(super) fn evict(&self, digest: &Digest, modified: SystemTime) -> bool {
        let (path, shard) = (self.path_of(digest), self.shard_of(digest));
        let locked = self.lock_shard(&shard);
        let is_unused = self.storage.info(&path).is_ok_and(|info| info.modified == modified);
        locked.is_held() && is_unused && self.storage.remove(&path).is_ok()
    }

    /// Removes every entry, what was put aside, the index, and what processes ended with.
    ///
    /// # Errors
    /// `FG1001` if the folder cannot be listed, or the cache is only read.
    pub fn clear(&self) -> Result<ClearReport, CacheError> {
        self.check_writable()?;
        let mut report = ClearReport::default();
        let all = self.storage.list(&self.root).map_err(|e| CacheError::io("list", &self.root, &e))?;
        for shard in all.iter().filter(|found| is_shard(&found.name)) {
            let folder = self.root.join(&shard.name);
            let files = self.storage.list(&folder).map_err(|e| CacheError::io("list", &folder, &e))?;
            let locked = self.lock_shard(&folder);
            for file in files.iter().filter(|file| digest_of(&file.name).is_some()) {
                let path = folder.join(&file.name);
                match self.storage.remove(&path) {
                    Ok(()) => {
                        report.removed += 1;
                        report.bytes += file.bytes;
                    }
                    Err(error) if error.kind() == ErrorKind::NotFound => {}
                    Err(error) => report.failed.push(CacheError::io("remove", &path, &error)),
                }
            }
            if let Err(error) = self.storage.sync_dir(&folder) {
                report.failed.push(CacheError::io("sync", &folder, &error));
            }
            drop(locked);
        }
        self.bound_quarantine(0, 0);
        // What processes ended with may be tried again.
        for log in [self.index_path(), crate::marks::log_path(&self.root)] {
            match self.storage.remove(&log) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    report.failed.push(CacheError::io("remove", &log, &error));
                }
                _ => {}
            }
        }
        Ok(report)
    }
}
