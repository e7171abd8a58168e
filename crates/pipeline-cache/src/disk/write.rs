//! Writing entries to a disk tier and making them durable. An entry is reported durable only after its bytes, its name
//! and the names of all folders above it are, regardless of which process wrote them.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use fulgurite_storage::{Digest, Listed, unique_name};

use super::{DiskPipelineCache, Durability, Written};
use crate::entry::TEMPORARY;
use crate::entry::{self, Entry, HEADER_BYTES};
use crate::error::{CacheError, lock};
use crate::index::Record;

/// Metadata of a renamed entry, and its effective durability.
type Named = (Listed, Durability);

impl DiskPipelineCache {
    /// Writes an entry, replacing an existing one. If the same entry exists, only its durability is ensured, because
    /// its writer may not have synced it.
    ///
    /// # Errors
    /// `FG1002` if the entry exceeds [`DiskOptions::max_entry_bytes`](super::DiskOptions::max_entry_bytes); `FG1001` if
    /// it cannot be written; `FG1003` if the tier is switched off; `FG1007` if it must be durable immediately and
    /// cannot be synced.
    pub fn write(&self, entry: &Entry, durability: Durability) -> Result<Written, CacheError> {
        self.check_writable()?;
        let (bytes, most) = ((HEADER_BYTES + entry.payload.len()) as u64, self.options.max_entry_bytes);
        if bytes > most {
            return Err(CacheError::TooLarge { bytes, most });
        }
        let digest = entry.identity.digest();
        let (path, shard) = (self.path_of(&digest), self.shard_of(&digest));
        if self.storage.create_dir(&shard).map_err(|error| CacheError::io("create", &shard, &error))? {
            // New shard: forget its recorded durability.
            lock(&self.state)?.durable_shards.remove(&shard);
        }
        let encoded = entry::encode(entry);
        // The replacement of a possibly durable entry must be durable before the rename.
        let durability = match self.storage.read(&path, 0, self.options.max_entry_bytes) {
            Ok((there, _)) if there == encoded => match self.adopt(&digest, durability)? {
                true => return Ok(Written::Unchanged),
                false => durability,
            },
            Err(error) if error.kind() == ErrorKind::NotFound => durability,
            _ => Durability::Immediate,
        };
        let (named, durability) = self.write_new(&shard, &path, &encoded, durability)?;
        match durability {
            Durability::Immediate => self.sync_names(&digest, &named)?,
            Durability::OnFlush => drop(lock(&self.state)?.unsynced.insert(digest)),
        }
        self.log(&[Record::insert(&entry.identity)]);
        self.count_written(encoded.len() as u64)?;
        Ok(Written::New)
    }

    /// Ensures the durability of an existing entry. Returns false if it is gone.
    fn adopt(&self, digest: &Digest, durability: Durability) -> Result<bool, CacheError> {
        if durability == Durability::OnFlush {
            lock(&self.state)?.unsynced.insert(*digest);
            return Ok(true);
        }
        let path = self.path_of(digest);
        let listed = match self.storage.info(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            other => other.map_err(|error| CacheError::io("inspect", &path, &error))?,
        };
        match self.storage.open(&path).and_then(|mut file| file.sync()) {
            Ok(()) => self.sync_names(digest, &listed).map(|()| true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => {
                self.drop_unsynced(&path, &listed);
                Err(not_durable(&error))
            }
        }
    }

    /// Writes a temporary file and renames it to `path`.
    fn write_new(
        &self,
        shard: &Path,
        path: &Path,
        bytes: &[u8],
        durability: Durability,
    ) -> Result<Named, CacheError> {
        let temporary = unique_name(shard, TEMPORARY, "");
        let mut file =
            self.storage.create(&temporary).map_err(|error| CacheError::io("create", &temporary, &error))?;
        let written = file.write_at(0, bytes).map_err(|error| CacheError::io("write", &temporary, &error));
        let written = written.and_then(|()| match durability {
            Durability::Immediate => file.sync().map_err(|error| not_durable(&error)),
            Durability::OnFlush => Ok(()),
        });
        let named = written.and_then(|()| {
            // Without the lock, a concurrent removal of the old entry may hit this one: a miss at worst.
            let _locked = self.lock_shard(shard);
            let mut durability = durability;
            if durability == Durability::OnFlush && self.storage.info(path).is_ok() {
                // An entry was written since the check above, and may be durable.
                file.sync().map_err(|error| not_durable(&error))?;
                durability = Durability::Immediate;
            }
            self.storage
                .rename(&temporary, path)
                .map_err(|error| CacheError::io("rename", &temporary, &error))?;
            let listed = self.storage.info(path).map_err(|error| CacheError::io("inspect", path, &error))?;
            Ok((listed, durability))
        });
        if named.is_err() {
            // Best effort: trimming collects leftovers.
            let _ = self.storage.remove(&temporary);
        }
        named
    }

    /// Makes the name of a file durable. Removes the file on failure.
    fn sync_names(&self, digest: &Digest, listed: &Listed) -> Result<(), CacheError> {
        let (path, shard) = (self.path_of(digest), self.shard_of(digest));
        let durable_shards = lock(&self.state)?.durable_shards.clone();
        let synced = self.storage.sync_dir(&shard).and_then(|()| match durable_shards.contains(&shard) {
            true => Ok(()),
            false => self.sync_root(&durable_shards),
        });
        if let Err(error) = synced {
            self.drop_unsynced(&path, listed);
            return Err(not_durable(&error));
        }
        let mut state = lock(&self.state)?;
        state.durable_shards.insert(shard);
        // A later flush then has nothing left to do for this entry, and cannot fail for it.
        state.unsynced.remove(digest);
        Ok(())
    }

    /// Syncs the root, which makes the names of shards durable, and its ancestors if no shard is known to be durable
    /// yet.
    fn sync_root(&self, durable_shards: &BTreeSet<PathBuf>) -> io::Result<()> {
        self.storage.sync_dir(&self.root)?;
        if !durable_shards.is_empty() {
            return Ok(());
        }
        for above in self.root.ancestors().skip(1) {
            match self.storage.sync_dir(above) {
                // No cache created a folder that this user may not open or that cannot be synced.
                Err(error) if is_not_ours(error.kind()) => return Ok(()),
                other => other?,
            }
        }
        Ok(())
    }

    /// Makes all written entries durable: first files, several at a time, then each of their shards once, then the
    /// root. Entries that cannot be made durable are removed, because a system that failed to write bytes may discard
    /// them. If several threads flush at once, only the one that meets the failure returns it.
    ///
    /// # Errors
    /// `FG1007` if any entry was removed; the others are durable.
    pub fn flush(&self) -> Result<(), CacheError> {
        // One flush at a time: a concurrent one would find nothing to do and report success too early.
        let _turn = lock(&self.flushing)?;
        let (unsynced, durable_shards) = {
            let mut state = lock(&self.state)?;
            (std::mem::take(&mut state.unsynced), state.durable_shards.clone())
        };
        let (mut dropped, mut failed) = (0, Vec::new());
        let mut shards = BTreeSet::new();
        let mut kept = Vec::new();
        let unsynced: Vec<Digest> = unsynced.into_iter().collect();
        for (digest, synced) in
            unsynced.iter().zip(self.for_each(&unsynced, &|digest| self.sync_file(digest)))
        {
            match synced.unwrap_or_else(|| Err(panicked())) {
                Ok(Some(listed)) => {
                    let shard = self.shard_of(digest);
                    shards.insert(shard.clone());
                    kept.push((shard, self.path_of(digest), listed));
                }
                Ok(None) => {}
                Err(error) => {
                    dropped += 1;
                    failed.push(error);
                }
            }
        }
        // Sync all files before any name.
        let mut lost: BTreeSet<&Path> = BTreeSet::new();
        let all: Vec<&PathBuf> = shards.iter().collect();
        for (shard, synced) in all.iter().zip(self.for_each(&all, &|shard| self.storage.sync_dir(shard))) {
            if let Err(error) = synced.unwrap_or_else(|| Err(panicked())) {
                lost.insert(shard);
                failed.push(error);
            }
        }
        let new: Vec<&PathBuf> = shards.difference(&durable_shards).collect();
        if !new.is_empty()
            && let Err(error) = self.sync_root(&durable_shards)
        {
            lost.extend(new.iter().map(|shard| shard.as_path()));
            failed.push(error);
        }
        for (shard, path, listed) in &kept {
            if lost.contains(shard.as_path()) {
                self.drop_unsynced(path, listed);
                dropped += 1;
            }
        }
        let durable = shards.iter().filter(|shard| !lost.contains(shard.as_path())).cloned();
        lock(&self.state)?.durable_shards.extend(durable);
        match failed.first() {
            None => Ok(()),
            Some(first) => Err(CacheError::NotDurable { dropped, first: first.to_string() }),
        }
    }

    /// Syncs an entry's bytes. Returns its metadata from before, or `None` if it is gone. Removes the entry on failure.
    fn sync_file(&self, digest: &Digest) -> io::Result<Option<Listed>> {
        let path = self.path_of(digest);
        let listed = self.storage.info(&path);
        let synced = self.storage.open(&path).and_then(|mut file| file.sync());
        match (synced, listed) {
            (Ok(()), Ok(listed)) => Ok(Some(listed)),
            // Removed since it was written.
            (Err(error), _) | (_, Err(error)) if error.kind() == ErrorKind::NotFound => Ok(None),
            (Err(error), Ok(listed)) => {
                self.drop_unsynced(&path, &listed);
                Err(error)
            }
            (_, Err(error)) => Err(error),
        }
    }

    /// Returns the results of `job` for all elements, in order; `None` where it panicked. Uses as many threads as the
    /// storage suggests, including this one.
    fn for_each<T: Sync, R: Send + Sync>(&self, all: &[T], job: &(dyn Fn(&T) -> R + Sync)) -> Vec<Option<R>> {
        let threads = self.storage.concurrent_syncs().min(all.len());
        if threads < 2 {
            return all.iter().map(|one| Some(job(one))).collect();
        }
        let done: Vec<OnceLock<R>> = all.iter().map(|_| OnceLock::new()).collect();
        let next = AtomicUsize::new(0);
        let work = || {
            while let Some((one, place)) = {
                let at = next.fetch_add(1, Ordering::Relaxed);
                all.get(at).zip(done.get(at))
            } {
                // No other thread has this index.
                let _ = place.set(job(one));
            }
        };
        std::thread::scope(|scope| {
            let name = || String::from("fulgurite cache sync");
            // Continue without threads that fail to start.
            let others: Vec<_> = (1..threads)
                .filter_map(|_| std::thread::Builder::new().name(name()).spawn_scoped(scope, work).ok())
                .collect();
            work();
            // Jobs lost to a panic are `None` below.
            others.into_iter().for_each(|thread| drop(thread.join()));
        });
        done.into_iter().map(OnceLock::into_inner).collect()
    }

    /// Removes an entry that could not be made durable, unless it was replaced since `listed` was taken.
    fn drop_unsynced(&self, path: &Path, listed: &Listed) {
        let _locked = path.parent().map(|shard| self.lock_shard(shard));
        if self.storage.info(path).is_ok_and(|now| now == *listed) {
            let _ = self.storage.remove(path);
        }
    }
}

fn not_durable(error: &io::Error) -> CacheError {
    CacheError::NotDurable { dropped: 1, first: error.to_string() }
}

fn panicked() -> io::Error {
    io::Error::other("a thread panicked during a sync")
}

/// Returns whether a folder whose sync fails with `kind` cannot have been created by a cache.
fn is_not_ours(kind: ErrorKind) -> bool {
    use ErrorKind::{InvalidInput, PermissionDenied, ReadOnlyFilesystem, Unsupported};
    matches!(kind, PermissionDenied | ReadOnlyFilesystem | InvalidInput | Unsupported)
}

#[cfg(test)]
mod tests;
