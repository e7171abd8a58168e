//! The cache as a backend uses it: memory, then a folder of its own, then read-only layers; with marks of what may crash a
//! driver. It never fails where it can go on without.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fulgurite_spec::Diagnostic;
use fulgurite_spec::cache::{CacheAudit, CacheTier as Tier, PipelineCacheMissReason};
use fulgurite_storage::Digest;

use crate::audit::{CacheStatistics, Counting};
use crate::disk::{DiskOptions, DiskPipelineCache, Durability, Family, InvalidateReport, Lookup, Mode};
use crate::entry::Entry;
use crate::error::{CacheError, Notices};
use crate::identity::{PayloadKind, PipelineCacheIdentity};
use crate::marks::{Ban, Danger, Marks, Verdict};
use crate::memory::{MemoryTier, Traced};
use crate::pack::TrustedPack;

/// A source of entries that is only read.
#[derive(Clone, Debug)]
pub enum Layer {
    /// A cache's folder. It must belong to this user or the system, and nobody else may write it.
    Folder(PathBuf),
    /// A pack.
    Pack(TrustedPack),
}

/// Options of a cache.
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct CacheOptions {
    /// The folder of its own. Default: none, so that what is compiled lives as long as the process.
    pub root: Option<PathBuf>,
    /// How that folder is used.
    pub disk: DiskOptions,
    /// What else is looked into, in this order.
    pub layers: Vec<Layer>,
}

impl CacheOptions {
    /// Keeps nothing beyond the process.
    pub fn memory_only() -> Self {
        Self::default()
    }

    /// Keeps everything in `root`.
    pub fn in_folder(root: impl Into<PathBuf>) -> Self {
        Self { root: Some(root.into()), ..Self::default() }
    }

    /// Uses the folder as `disk` says.
    #[must_use]
    pub fn disk(mut self, disk: DiskOptions) -> Self {
        self.disk = disk;
        self
    }

    /// Looks into `layer`, too, behind all that were added before.
    #[must_use]
    pub fn layer(mut self, layer: Layer) -> Self {
        self.layers.push(layer);
        self
    }
}

/// What was made for want of an entry.
#[derive(Clone, Debug)]
pub enum Made {
    /// A payload to keep, and the artifact that it was made from.
    Keep {
        /// The artifact; of no meaning for what is one itself.
        artifact: Digest,
        /// What to keep.
        payload: Vec<u8>,
    },
    /// Nothing that can be kept.
    Nothing,
}

enum OpenLayer {
    Folder(Box<DiskPipelineCache>),
    Pack(TrustedPack),
}

/// Compiled kernels, in memory and on disk. May be used from several threads at once.
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
    /// A cache. What cannot be opened is done without, and [`notices`](Self::notices) says so.
    pub fn open(options: CacheOptions) -> Self {
        let notices = Arc::<Notices>::default();
        let open = |root: &PathBuf, disk: DiskOptions| {
            DiskPipelineCache::open_telling(root, disk, Arc::clone(&notices))
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

    /// The folder of its own, if it has one.
    pub fn disk(&self) -> Option<&DiskPipelineCache> {
        self.disk.as_ref()
    }

    /// Looks for an entry.
    ///
    /// # Errors
    /// Why there is none.
    pub fn find(&self, identity: &PipelineCacheIdentity) -> Result<Arc<Entry>, PipelineCacheMissReason> {
        self.trace(identity).map(|found| found.entry)
    }

    /// As [`find`](Self::find), with where the entry came from.
    ///
    /// # Errors
    /// Why there is none.
    pub fn trace(&self, identity: &PipelineCacheIdentity) -> Result<Traced, PipelineCacheMissReason> {
        if let Ok(Some(held)) = self.memory.get(&identity.digest()) {
            self.counting.hit(Tier::Memory);
            return Ok(held);
        }
        let found = self.look(identity).inspect_err(|reason| self.counting.miss(*reason))?;
        self.counting.hit(found.tier);
        // A panic of another thread costs a lookup.
        let _ = self.memory.put(&found);
        Ok(found)
    }

    /// Reads an entry into memory, if it is there, so that it is found there later. Is no lookup that counts.
    pub fn prefetch(&self, identity: &PipelineCacheIdentity) {
        match self.look_below(identity) {
            // A panic of another thread costs a read.
            Ok(found) => drop(self.memory.put(&found)),
            Err(reason) => drop(self.not_prefetched().insert(identity.digest(), reason)),
        }
    }

    /// Looks for an entry, and has it made and keeps it if it is not there: once, however many threads ask for it, and by
    /// one process at a time where processes can wait for each other. `make` is told why it is called. The entry is `None`
    /// if it made nothing that can be kept.
    ///
    /// # Errors
    /// What `make` gives. Nothing that happens to the cache is an error.
    pub fn find_or_make<E>(
        &self,
        identity: &PipelineCacheIdentity,
        make: impl FnOnce(PipelineCacheMissReason) -> Result<Made, E>,
    ) -> Result<Option<Arc<Entry>>, E> {
        Ok(self.trace_or_make(identity, make)?.map(|found| found.entry))
    }

    /// As [`find_or_make`](Self::find_or_make), with where the entry came from.
    ///
    /// # Errors
    /// As [`find_or_make`](Self::find_or_make).
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
                    // Counted with its reason.
                    Some(None) => {}
                }
                Ok(entry)
            }
            Err(Failed::Make(error)) => Err(error),
            // A thread panicked in the memory tier: this one goes on without it.
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

    /// Makes what is missing. Whoever is second of two processes finds what the first has made.
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
                // What a driver may not have survived stays, to be tried once more.
                if reason != PipelineCacheMissReason::Suspect {
                    self.write(&made.entry);
                }
                Ok(Some(made))
            }
        }
    }

    /// Keeps an entry in place of what there is.
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

    /// Why entries were not there when they were to be read ahead: a damaged one is put aside then, and whoever looks for it
    /// would not know what it was.
    fn not_prefetched(&self) -> MutexGuard<'_, HashMap<Digest, PipelineCacheMissReason>> {
        // Whole between any two statements.
        self.not_prefetched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks into the folder and the layers for someone who is told why if nothing is there.
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
            Verdict::Use => Ok(Traced::new(found.0, found.1)),
            Verdict::Skip => Err(PipelineCacheMissReason::Suspect),
            Verdict::Condemned => {
                if let Some(disk) = &self.disk {
                    disk.condemn(&found.0);
                }
                Err(PipelineCacheMissReason::Suspect)
            }
        }
    }

    fn judge(&self, entry: &Entry) -> Verdict {
        match (&self.marks, entry.identity.kind()) {
            (Some(marks), PayloadKind::Binary) => marks.judge(entry.payload_digest),
            _ => Verdict::Use,
        }
    }

    /// Hands a binary to its driver, which may end the process: then the next process leaves the binary out.
    pub fn load<T>(&self, entry: &Entry, load: impl FnOnce(&[u8]) -> T) -> T {
        let _mark = self.marks.as_ref().map(|marks| marks.set(Danger::Load, entry.payload_digest));
        load(&entry.payload)
    }

    /// Has a driver compile what `program` is, which may end the process. What a process ended with is compiled while nothing
    /// else is, so `compile` must not come back here.
    ///
    /// # Errors
    /// [`CacheError::Banned`] if several processes ended while they did that.
    pub fn compile<T>(&self, program: Digest, compile: impl FnOnce() -> T) -> Result<T, CacheError> {
        let Some(marks) = &self.marks else { return Ok(compile()) };
        if let Some(ban) = marks.ban(program) {
            return Err(CacheError::Banned(Box::new(ban)));
        }
        let _mark = marks.set(Danger::Compile, program);
        Ok(compile())
    }

    /// Removes entries by the digests of their identities, from memory and from the folder, and makes that durable. All
    /// are tried. What was found before stays with whoever has it.
    ///
    /// # Errors
    /// `FG1001` if the folder is only read, `FG1003` if it was switched off; memory forgets them all the same. What is
    /// wrong with one entry is in the report.
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

    /// Removes all that was made of the kernel with the digest `kernel`: the kernel, what it was lowered to in any way, and
    /// what drivers made of that, for any device. Reads every driver binary of the cache to find the last.
    ///
    /// A binary is found by the artifact that it was made from: if that is nowhere any more, the binary stays, and serves
    /// again once the same artifact is made.
    ///
    /// # Errors
    /// As [`invalidate`](Self::invalidate), and `FG1001` if the folder cannot be listed.
    pub fn invalidate_kernel(&self, kernel: &Digest) -> Result<InvalidateReport, CacheError> {
        let mut family = Family::of(kernel);
        self.memory.all()?.iter().for_each(|entry| family.note(entry));
        if let Some(disk) = &self.disk {
            disk.note_family(&mut family)?;
        }
        for layer in &self.layers {
            match layer {
                OpenLayer::Pack(pack) => pack.entries().for_each(|entry| family.note(&entry)),
                OpenLayer::Folder(disk) => disk.note_family(&mut family)?,
            }
        }
        self.invalidate(&family.members())
    }

    /// Takes an entry out that was found and turned out to be of no use: its driver refused it.
    pub fn refuse(&self, entry: &Entry) {
        let _ = self.memory.forget(&entry.identity.digest());
        self.counting.disappointed(PipelineCacheMissReason::DeviceOrRuntimeChanged);
    }

    /// Counts a lookup of which nobody can say whether it hit.
    pub fn count_unknown(&self) {
        self.counting.unknown();
    }

    /// Says something once, with the cache's own notices.
    pub fn notice(&self, error: &CacheError) {
        self.notices.say(error);
    }

    /// Lookups so far.
    pub fn statistics(&self) -> CacheStatistics {
        self.counting.read()
    }

    /// How well it served so far: see [`CacheAudit::new`].
    pub fn audit(&self, threshold: u32) -> CacheAudit {
        self.statistics().audit(threshold)
    }

    /// What it had to say without being asked, each kind once: what it does without, and why.
    pub fn notices(&self) -> Vec<Diagnostic> {
        self.notices.read()
    }

    /// Binaries and compiles that a process ended with and that no driver has survived since.
    pub fn suspects(&self) -> (usize, usize) {
        self.marks.as_ref().map_or((0, 0), Marks::suspects)
    }

    /// What is not to be compiled now.
    pub fn bans(&self) -> Vec<Ban> {
        self.marks.as_ref().map(Marks::bans).unwrap_or_default()
    }

    /// Forgets the processes that ended while a driver had `digest`: a program of [`compile`](Self::compile), or the payload of
    /// a binary. Whether there were any.
    pub fn lift(&self, digest: Digest) -> bool {
        self.marks.as_ref().is_some_and(|marks| marks.lift(digest))
    }

    /// Makes durable what was kept: see [`DiskPipelineCache::flush`].
    ///
    /// # Errors
    /// As [`DiskPipelineCache::flush`].
    pub fn flush(&self) -> Result<(), CacheError> {
        self.disk.as_ref().map_or(Ok(()), DiskPipelineCache::flush)
    }
}

/// Why nothing was made.
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
