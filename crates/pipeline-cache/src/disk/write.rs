//! Putting entries into a disk tier, and making them durable. Nobody is told that an entry is durable before its bytes, its
//! name and the names of all folders above it are, whoever wrote them.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use fulgurite_storage::{Digest, Listed, unique_name};

use super::{DiskPipelineCache, Durability, TEMPORARY, Written};
use crate::entry::{self, Entry, HEADER_BYTES};
use crate::error::{CacheError, lock};
use crate::index::Record;

/// An entry that has got its name: as it is listed, and when it is to be durable.
type Named = (Listed, Durability);

impl DiskPipelineCache {
    /// Writes an entry, in place of the one that may be there. Of one that is there already only the durability is seen
    /// to: who wrote it may not have come to that.
    ///
    /// # Errors
    /// `FG1002` for an entry over [`DiskOptions::max_entry_bytes`](super::DiskOptions::max_entry_bytes); `FG1001` if it
    /// cannot be written, `FG1003` if the tier is switched off, `FG1007` if it cannot be made durable although it is to
    /// be at once.
    pub fn write(&self, entry: &Entry, durability: Durability) -> Result<Written, CacheError> {
        self.check_writable()?;
        let (bytes, most) = ((HEADER_BYTES + entry.payload.len()) as u64, self.options.max_entry_bytes);
        if bytes > most {
            return Err(CacheError::TooLarge { bytes, most });
        }
        let digest = entry.identity.digest();
        let (path, shard) = (self.path_of(&digest), self.shard_of(&digest));
        if self.storage.create_dir(&shard).map_err(|error| CacheError::io("make", &shard, &error))? {
            // Whatever was known of one of that name is not true of this.
            lock(&self.state)?.durable_shards.remove(&shard);
        }
        let encoded = entry::encode(entry);
        // What replaces an entry that may be durable is durable itself before it does.
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

    /// Sees to the durability of an entry that someone wrote. False if it is gone.
    fn adopt(&self, digest: &Digest, durability: Durability) -> Result<bool, CacheError> {
        if durability == Durability::OnFlush {
            lock(&self.state)?.unsynced.insert(*digest);
            return Ok(true);
        }
        let path = self.path_of(digest);
        let listed = match self.storage.info(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            other => other.map_err(|error| CacheError::io("look at", &path, &error))?,
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

    /// Writes a file under a name of its own and gives it the one that it is to have.
    fn write_new(
        &self,
        shard: &Path,
        path: &Path,
        bytes: &[u8],
        durability: Durability,
    ) -> Result<Named, CacheError> {
        let temporary = unique_name(shard, TEMPORARY, "");
        let mut file =
            self.storage.create(&temporary).map_err(|error| CacheError::io("make", &temporary, &error))?;
        let written = file.write_at(0, bytes).map_err(|error| CacheError::io("write", &temporary, &error));
        let written = written.and_then(|()| match durability {
            Durability::Immediate => file.sync().map_err(|error| not_durable(&error)),
            Durability::OnFlush => Ok(()),
        });
        let named = written.and_then(|()| {
            // Without the lock whoever removes what was here may remove this instead: a miss, and nothing worse.
            let _locked = self.lock_shard(shard);
            let mut durability = durability;
            if durability == Durability::OnFlush && self.storage.info(path).is_ok() {
                // Another one came since this was looked for, and may be durable.
                file.sync().map_err(|error| not_durable(&error))?;
                durability = Durability::Immediate;
            }
            self.storage
                .rename(&temporary, path)
                .map_err(|error| CacheError::io("rename", &temporary, &error))?;
            let listed = self.storage.info(path).map_err(|error| CacheError::io("look at", path, &error))?;
            Ok((listed, durability))
        });
        if named.is_err() {
            // Best effort: the evictor collects what is left.
            let _ = self.storage.remove(&temporary);
        }
        named
    }

    /// Makes durable that a file has its name. If that fails the file goes.
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
        // A flush has nothing more to do for it, and so cannot fail to.
        state.unsynced.remove(digest);
        Ok(())
    }

    /// Makes durable which shards there are, and if none is known to be yet, that there is a root.
    fn sync_root(&self, durable_shards: &BTreeSet<PathBuf>) -> io::Result<()> {
        self.storage.sync_dir(&self.root)?;
        if !durable_shards.is_empty() {
            return Ok(());
        }
        for above in self.root.ancestors().skip(1) {
            match self.storage.sync_dir(above) {
                // What this user may not open, or what cannot be synced, no cache has made.
                Err(error) if is_not_ours(error.kind()) => return Ok(()),
                other => other?,
            }
        }
        Ok(())
    }

    /// Makes everything durable that was written and is still there: files first, several at once, then the shards that
    /// name them, each once, and then the root. What cannot be made durable is removed: once a
    /// system has failed to write bytes it may forget that they are to be written. Of several threads that flush at once
    /// the one that meets a failure says so.
    ///
    /// # Errors
    /// `FG1007` if any was removed; the others are durable.
    pub fn flush(&self) -> Result<(), CacheError> {
        // One at a time: another one would find nothing left to do, and say that all is durable while this is at it.
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
        // No name is made durable before all files are.
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

    /// Makes an entry's bytes durable: how it was listed before, or `None` if it is gone. If that fails it goes.
    fn sync_file(&self, digest: &Digest) -> io::Result<Option<Listed>> {
        let path = self.path_of(digest);
        let listed = self.storage.info(&path);
        let synced = self.storage.open(&path).and_then(|mut file| file.sync());
        match (synced, listed) {
            (Ok(()), Ok(listed)) => Ok(Some(listed)),
            // It was removed since.
            (Err(error), _) | (_, Err(error)) if error.kind() == ErrorKind::NotFound => Ok(None),
            (Err(error), Ok(listed)) => {
                self.drop_unsynced(&path, &listed);
                Err(error)
            }
            (_, Err(error)) => Err(error),
        }
    }

    /// What `job` gives for each of `all`, in their order: on as many threads as the storage wants, of which this is one.
    /// `None` where one panicked.
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
                // Nobody else has this place.
                let _ = place.set(job(one));
            }
        };
        std::thread::scope(|scope| {
            let name = || String::from("fulgurite cache sync");
            // Those that do not start are not needed.
            let others: Vec<_> = (1..threads)
                .filter_map(|_| std::thread::Builder::new().name(name()).spawn_scoped(scope, work).ok())
                .collect();
            work();
            // What one that panicked did not do is missing below.
            others.into_iter().for_each(|thread| drop(thread.join()));
        });
        done.into_iter().map(OnceLock::into_inner).collect()
    }

    /// Removes an entry that could not be made durable, unless it was replaced since it was `listed`.
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
    io::Error::other("a thread panicked while it synced")
}

/// Whether a folder that cannot be synced for this reason is none that a cache was made in.
fn is_not_ours(kind: ErrorKind) -> bool {
    use ErrorKind::{InvalidInput, PermissionDenied, ReadOnlyFilesystem, Unsupported};
    matches!(kind, PermissionDenied | ReadOnlyFilesystem | InvalidInput | Unsupported)
}

#[cfg(test)]
mod tests;
