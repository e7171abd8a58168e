//! The cache as backends use it: the memory tier, then the cache's own folder, then read-only layers, with crash marks
//! around driver calls. Failures of the cache degrade it instead of being returned, wherever possible.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fulgurite_spec::Diagnostic;
use fulgurite_spec::cache::{CacheAudit, CacheTier as Tier, PipelineCacheMissReason};
use fulgurite_storage::Digest;

use crate::audit::{CacheStatistics, Counting};
use crate::disk::{
    DiskOptions, DiskPipelineCache, Durability, InvalidateReport, KernelEntries, Lookup, Mode,
};
use crate::entry::Entry;
use crate::error::{CacheError, Notices};
use crate::identity::{PayloadKind, PipelineCacheIdentity};
use crate::marks::{Ban, Danger, LoadDecision, Marks};
use crate::memory::{MemoryTier, Traced};
use crate::pack::TrustedPack;

/// A read-only source of entries.
#[derive(Clone, Debug)]
pub enum Layer {
    /// A cache folder, owned by this user or the system and not writable by others.
    Folder(PathBuf),
    /// A trusted pack.
    Pack(TrustedPack),
}

/// Options of a cache.
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct CacheOptions {
    /// The cache's own folder. The default is none: entries last as long as the process.
    pub root: Option<PathBuf>,
    /// Options of that folder.
    pub disk: DiskOptions,
    /// Read-only layers, in lookup order.
    pub layers: Vec<Layer>,
}

impl CacheOptions {
    /// Keeps entries in memory only.
    pub fn memory_only() -> Self {
        Self::default()
    }

    /// Keeps entries in the folder `root`.
    pub fn in_folder(root: impl Into<PathBuf>) -> Self {
        Self { root: Some(root.into()), ..Self::default() }
    }

    /// Sets the options of the folder.
    #[must_use]
    pub fn disk(mut self, disk: DiskOptions) -> Self {
        self.disk = disk;
        self
    }

    /// Adds a read-only layer after those added before.
    #[must_use]
    pub fn layer(mut self, layer: Layer) -> Self {
        self.layers.push(layer);
        self
    }
}

/// The result of creating an entry.
#[derive(Clone, Debug)]
pub enum Made {
    /// A payload to store.
    Keep {
        /// Digest of the artifact that the payload was compiled from; ignored if the payload is an artifact.
        artifact: Digest,
        /// The payload.
        payload: Vec<u8>,
    },
    /// Nothing that can be stored.
    Nothing,
}

enum OpenLayer {
    Folder(Box<DiskPipelineCache>),
    Pack(TrustedPack),
}

/// A cache of compiled kernels, in memory and on disk, shared between threads.
pub struct PipelineCache {
    memory: MemoryTier,
    disk: Option<DiskPipelineCache>,
    layers: Vec<OpenLayer>,
    marks: Option<Marks>,
    counting: Counting,
    not_prefetched: Mutex<HashMap<Digest, PipelineCacheMissReason>>,
    notices: Arc<Notices>,
}

impl PipelineCache {
    /// Opens a cache. Tiers that cannot be opened are omitted, with a warning in [`notices`](Self::notices).
    pub fn open(options: CacheOptions) -> Self {
        let notices = Arc::<Notices>::default();
        let open = |root: &PathBuf, disk: DiskOptions| {
            DiskPipelineCache::open_with_notices(root, disk, Arc::clone(&notices))
                .inspect_err(|error| notices.say(error))
                .ok()
        };
        let disk = options.root.as_ref().and_then(|root| open(root, options.disk.clone()));
        let layers = options.layers.into_iter().filter_map(|layer| match layer {
            Layer::Folder(root) => {
                open(&root, DiskOptions::default().read_only()).map(|disk| OpenLayer::Folder(Box::new(disk)))
            }
            Layer::Pack(pack) => Some(OpenLayer::Pack(pack)),
        });
        let layers = layers.collect();
        let written = disk.as_ref().filter(|disk| disk.mode() == Mode::ReadWrite);
        let marks = written.map(|disk| Marks::open(Arc::clone(disk.storage()), disk.root()));
        let (memory, counting, not_prefetched) = Default::default();
        Self { memory, disk, layers, marks, counting, not_prefetched, notices }
    }

    /// Returns the cache's own folder, if it has one.
    pub fn disk(&self) -> Option<&DiskPipelineCache> {
        self.disk.as_ref()
    }

    /// Looks up an entry.
    ///
    /// # Errors
    /// The reason of the miss.
    pub fn find(&self, identity: &PipelineCacheIdentity) -> Result<Arc<Entry>, PipelineCacheMissReason> {
        self.trace(identity).map(|found| found.entry)
    }

    /// Like [`find`](Self::find), and also returns the tier.
    ///
    /// # Errors
    /// The reason of the miss.
    pub fn trace(&self, identity: &PipelineCacheIdentity) -> Result<Traced, PipelineCacheMissReason> {
        if let Ok(Some(held)) = self.memory.get(&identity.digest()) {
            self.counting.hit(Tier::Memory);
            return Ok(held);
        }
        let found = self.look(identity).inspect_err(|reason| self.counting.miss(*reason))?;
        self.counting.hit(found.tier);
        // On failure, after a panic of another thread, the next lookup reads the entry again.
        let _ = self.memory.put(&found);
        Ok(found)
    }

    /// Reads an entry into memory, if it exists. Does not count as a lookup.
    pub fn prefetch(&self, identity: &PipelineCacheIdentity) {
        match self.look_below(identity) {
            // On failure, after a panic of another thread, the entry is read again later.
            Ok(found) => drop(self.memory.put(&found)),
            Err(reason) => drop(self.not_prefetched().insert(identity.digest(), reason)),
        }
    }

    /// Looks up an entry and, on a miss, creates and stores it: once across threads, and by one process at a time where
    /// inter-process locks are available. `make` receives the reason of the miss. Returns `None` if `make` creates
    /// nothing that can be stored.
    ///
    /// # Errors
    /// The error of `make`. Cache failures are not errors.
    pub fn find_or_make<E>(
        &self,
        identity: &PipelineCacheIdentity,
        make: impl FnOnce(PipelineCacheMissReason) -> Result<Made, E>,
    ) -> Result<Option<Arc<Entry>>, E> {
        Ok(self.trace_or_make(identity, make)?.map(|found| found.entry))
    }

    /// Like [`find_or_make`](Self::find_or_make), and also returns the tier.
    ///
    /// # Errors
    /// As for [`find_or_make`](Self::find_or_make).
    pub fn trace_or_make<E>(
        &self,
        identity: &PipelineCacheIdentity,
        make: impl FnOnce(PipelineCacheMissReason) -> Result<Made, E>,
    ) -> Result<Option<Traced>, E> {
        let mut make = Some(make);
        let mut below = None;
        let found = self.memory.get_or_make(identity.digest(), || {
            let (found, tier) = match self.look(identity) {
                Ok(found) => (Some(found.clone()), Some(found.tier)),
                Err(reason) => (self.make(identity, reason, &mut make)?, None),
            };
            below = Some(tier);
            Ok(found)
        });
        match found {
            Ok(entry) => {
                match below {
                    None => self.counting.hit(Tier::Memory),
                    Some(Some(tier)) => self.counting.hit(tier),
                    // Already counted, with its reason.
                    Some(None) => {}
                }
                Ok(entry)
            }
            Err(Failed::Make(error)) => Err(error),
            // The memory tier is poisoned by a panic: continue without it.
            Err(Failed::Cache(error)) => {
                self.notices.say(&error);
                let reason = PipelineCacheMissReason::KeyAbsent;
                match self.make(identity, reason, &mut make) {
                    Ok(entry) => Ok(entry),
                    Err(Failed::Make(error)) => Err(error),
                    Err(Failed::Cache(_)) => Ok(None),
                }
            }
        }
    }

    /// Creates a missing entry, unless another process has created it meanwhile.
    fn make<E>(
        &self,
        identity: &PipelineCacheIdentity,
        reason: PipelineCacheMissReason,
        make: &mut Option<impl FnOnce(PipelineCacheMissReason) -> Result<Made, E>>,
    ) -> Result<Option<Traced>, Failed<E>> {
        let disk = self.disk.as_ref();
        let flight = disk.and_then(|disk| disk.lock_flight(&identity.digest()));
        if reason != PipelineCacheMissReason::Suspect
            && flight.is_some()
            && let Ok(found) = self.look_below(identity)
        {
            self.counting.hit(found.tier);
            return Ok(Some(found));
        }
        self.counting.miss(reason);
        let Some(make) = make.take() else { return Ok(None) };
        match make(reason).map_err(Failed::Make)? {
            Made::Nothing => Ok(None),
            Made::Keep { artifact, payload } => {
                let made = Traced::new(Entry::new(*identity, artifact, payload), Tier::Memory);
                // Keep the stored binary that may have crashed a driver, for one more attempt.
                if reason != PipelineCacheMissReason::Suspect {
                    self.write(&made.entry);
                }
                Ok(Some(made))
            }
        }
    }

    /// Stores an entry, replacing an existing one.
    pub fn keep(&self, identity: &PipelineCacheIdentity, artifact: Digest, payload: Vec<u8>) {
        let made = Traced::new(Entry::new(*identity, artifact, payload), Tier::Memory);
        let _ = self.memory.put(&made);
        self.write(&made.entry);
    }

    fn write(&self, entry: &Entry) {
        let Some(disk) = self.disk.as_ref().filter(|disk| disk.mode() == Mode::ReadWrite && !disk.is_off())
        else {
            return;
        };
        let is_binary = entry.identity.kind() == PayloadKind::Binary;
        if is_binary && self.marks.as_ref().is_some_and(|marks| marks.is_condemned(entry.payload_digest)) {
            return;
        }
        if let Err(error) = disk.write(entry, Durability::OnFlush) {
            self.notices.say(&error);
        }
    }

    /// Miss reasons of failed prefetches. Prefetching moves a damaged entry to the quarantine, so the next lookup would
    /// report the wrong reason.
    fn not_prefetched(&self) -> MutexGuard<'_, HashMap<Digest, PipelineCacheMissReason>> {
        // Consistent between statements, so poisoning is harmless.
        self.not_prefetched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks into the folder and the layers, and reports the reason of an earlier failed prefetch.
    fn look(&self, identity: &PipelineCacheIdentity) -> Result<Traced, PipelineCacheMissReason> {
        let before = self.not_prefetched().remove(&identity.digest());
        self.look_below(identity).map_err(|reason| before.unwrap_or(reason))
    }

    /// Looks into the folder and the layers.
    fn look_below(&self, identity: &PipelineCacheIdentity) -> Result<Traced, PipelineCacheMissReason> {
        let mut reason = PipelineCacheMissReason::EmptyCache;
        let mut found = None;
        if let Some(disk) = &self.disk {
            match disk.read(identity) {
                Lookup::Hit(entry) => found = Some((*entry, Tier::Disk)),
                Lookup::Miss(why) => reason = why,
            }
        }
        for layer in &self.layers {
            if found.is_none() {
                let entry = match layer {
                    OpenLayer::Pack(pack) => pack.get(identity),
                    OpenLayer::Folder(disk) => match disk.read(identity) {
                        Lookup::Hit(entry) => Some(*entry),
                        Lookup::Miss(_) => None,
                    },
                };
                found = entry.map(|entry| (entry, Tier::Layer));
            }
        }
        let found = found.ok_or(reason)?;
        match self.judge(&found.0) {
            LoadDecision::Use => Ok(Traced::new(found.0, found.1)),
            LoadDecision::Skip => Err(PipelineCacheMissReason::Suspect),
            LoadDecision::Condemned => {
                if let Some(disk) = &self.disk {
                    disk.condemn(&found.0);
                }
                Err(PipelineCacheMissReason::Suspect)
            }
        }
    }

    fn judge(&self, entry: &Entry) -> LoadDecision {
        match (&self.marks, entry.identity.kind()) {
            (Some(marks), PayloadKind::Binary) => marks.judge(entry.payload_digest),
            _ => LoadDecision::Use,
        }
    }

    /// Passes a binary to its driver under a crash mark: if this ends the process, the next process skips the binary.
    pub fn load<T>(&self, entry: &Entry, load: impl FnOnce(&[u8]) -> T) -> T {
        let _mark = self.marks.as_ref().map(|marks| marks.set(Danger::Load, entry.payload_digest));
        load(&entry.payload)
    }

    /// Compiles `program` with `compile` under a crash mark. A program during whose compilation a process ended is
    /// compiled exclusively, so `compile` must not call this method.
    ///
    /// # Errors
    /// [`CacheError::Banned`] if several processes ended while compiling `program`.
    pub fn compile<T>(&self, program: Digest, compile: impl FnOnce() -> T) -> Result<T, CacheError> {
        let Some(marks) = &self.marks else { return Ok(compile()) };
        if let Some(ban) = marks.ban(program) {
            return Err(CacheError::Banned(Box::new(ban)));
        }
        let _mark = marks.set(Danger::Compile, program);
        Ok(compile())
    }

    /// Removes entries from memory and the folder, given the digests of their identities, and syncs the removal. All
    /// are attempted. Entries already returned to callers remain valid.
    ///
    /// # Errors
    /// `FG1001` if the folder is read-only, `FG1003` if the disk tier is switched off; entries are removed from memory
    /// even then. Failures of single entries are in the report.
    pub fn invalidate(&self, digests: &[Digest]) -> Result<InvalidateReport, CacheError> {
        let mut forgotten = 0;
        for digest in digests {
            forgotten += usize::from(self.memory.forget(digest)?);
        }
        let mut report = match &self.disk {
            Some(disk) => disk.invalidate(&vec![true; digests.len()], digests)?,
            None => InvalidateReport { absent: digests.len(), ..Default::default() },
        };
        report.forgotten = forgotten;
        let is_in = |layer: &OpenLayer, digest: &Digest| match layer {
            OpenLayer::Pack(pack) => pack.contains(digest),
            OpenLayer::Folder(disk) => disk.has_file(digest),
        };
        let layered = digests.iter().filter(|digest| self.layers.iter().any(|layer| is_in(layer, digest)));
        report.layered = layered.count();
        Ok(report)
    }

    /// Removes everything derived from the kernel with the digest `kernel`: the kernel, its lowered forms, and driver
    /// binaries of those for all devices. Reads every driver binary of the cache to find the latter.
    ///
    /// Binaries are found by the artifact they were compiled from. If the artifact is no longer in the cache, its
    /// binaries remain, and are used again once the same artifact is created.
    ///
    /// # Errors
    /// As for [`invalidate`](Self::invalidate), and `FG1001` if the folder cannot be listed.
    pub fn invalidate_kernel(&self, kernel: &Digest) -> Result<InvalidateReport, CacheError> {
        let mut entries = KernelEntries::of(kernel);
        self.memory.all()?.iter().for_each(|entry| entries.note(entry));
        if let Some(disk) = &self.disk {
            disk.note_kernel_entries(&mut entries)?;
        }
        for layer in &self.layers {
            match layer {
                OpenLayer::Pack(pack) => pack.entries().for_each(|entry| entries.note(&entry)),
                OpenLayer::Folder(disk) => disk.note_kernel_entries(&mut entries)?,
            }
        }
        self.invalidate(&entries.members())
    }

    /// Removes an entry from memory after its driver rejected it, and counts the lookup as a miss.
    pub fn refuse(&self, entry: &Entry) {
        let _ = self.memory.forget(&entry.identity.digest());
        self.counting.rejected(PipelineCacheMissReason::DeviceOrRuntimeChanged);
    }

    /// Counts a lookup with unknown outcome.
    pub fn count_unknown(&self) {
        self.counting.unknown();
    }

    /// Adds a warning to the cache's notices, unless one with its code exists.
    pub fn notice(&self, error: &CacheError) {
        self.notices.say(error);
    }

    /// Returns the statistics of lookups so far.
    pub fn statistics(&self) -> CacheStatistics {
        self.counting.read()
    }

    /// Evaluates the hit rate so far: see [`CacheAudit::new`].
    pub fn audit(&self, threshold: u32) -> CacheAudit {
        self.statistics().audit(threshold)
    }

    /// Returns the warnings of the cache, at most one per code.
    pub fn notices(&self) -> Vec<Diagnostic> {
        self.notices.read()
    }

    /// Returns how many binaries and compiles are suspected: a process ended during them and no driver has survived
    /// them since.
    pub fn suspects(&self) -> (usize, usize) {
        self.marks.as_ref().map_or((0, 0), Marks::suspects)
    }

    /// Returns the active bans.
    pub fn bans(&self) -> Vec<Ban> {
        self.marks.as_ref().map(Marks::bans).unwrap_or_default()
    }

    /// Clears the crash history of `digest`: a program of [`compile`](Self::compile), or the payload digest of a
    /// binary. Returns whether there was any.
    pub fn lift(&self, digest: Digest) -> bool {
        self.marks.as_ref().is_some_and(|marks| marks.lift(digest))
    }

    /// Makes stored entries durable: see [`DiskPipelineCache::flush`].
    ///
    /// # Errors
    /// As for [`DiskPipelineCache::flush`].
    pub fn flush(&self) -> Result<(), CacheError> {
        self.disk.as_ref().map_or(Ok(()), DiskPipelineCache::flush)
    }
}

/// The reason why creating an entry failed.
enum Failed<E> {
    Make(E),
    Cache(CacheError),
}

impl<E> From<CacheError> for Failed<E> {
    fn from(error: CacheError) -> Self {
        Self::Cache(error)
    }
}

#[cfg(test)]
mod tests;
