//! The disk tier: one file for each entry below one folder, shared by any number of processes.
//!
//! An entry is read and checked without a lock. It is written under another name and renamed; what is removed is
//! removed under the lock of its shard, which is taken by whoever renames, too. [`write`] puts in and makes durable,
//! [`remove`] takes out, [`family`] finds what was made of one kernel, [`maintain`] looks after the whole folder.

mod family;
mod maintain;
mod remove;
#[cfg(test)]
mod tests;
mod write;

use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use fulgurite_spec::cache::{EntryState, PipelineCacheMissEvidence, PipelineCacheMissReason};
use fulgurite_storage::{
    DEADLINE, Digest, DigestBuilder, FileSystem, Locked, Missing, Storage, enter, lock_within,
};

use crate::entry::{self, BadEntry, Entry, MAX_ENTRY_BYTES};
use crate::error::{CacheError, Notices, lock};
use crate::identity::PipelineCacheIdentity;
use crate::index::{Index, Record};

pub(crate) use family::Family;
pub use maintain::{CacheCount, DiskStats, GcReport, ImportReport, VerifyReport};
pub use remove::{ClearReport, InvalidateReport};

/// What temporary files begin with.
pub(crate) const TEMPORARY: &str = ".tmp-";
/// So many locks without an answer and no more are asked for: each costs the deadline, and a thread that stays behind.
const MAX_UNANSWERED: u32 = 3;
/// How often a file that is used is said to be in use.
const TOUCH_INTERVAL: Duration = Duration::from_secs(3600);

/// When what is written is durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// When writing returns.
    Immediate,
    /// When [`DiskPipelineCache::flush`] returns. Until then a crash of the machine may lose it or tear it, and a torn
    /// entry is a miss.
    #[default]
    OnFlush,
}

/// Whether a folder is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// It is read and written, and looked after.
    #[default]
    ReadWrite,
    /// It is only read: not even the times of its files change.
    ReadOnly,
}

/// Options of a disk tier.
#[derive(Clone)]
#[non_exhaustive]
pub struct DiskOptions {
    /// Whether it is written. Default: yes.
    pub mode: Mode,
    /// Bytes of all entries together, over which the least recently used are removed. Default: 1 GiB.
    pub max_bytes: u64,
    /// Bytes of one entry, header included. Default: 64 MiB.
    pub max_entry_bytes: u64,
    /// Damaged entries that one process meets before it switches the tier off. Default: 5.
    pub max_quarantined: u32,
    /// How long it waits for a lock of another process. Default: 2 s.
    pub lock_deadline: Duration,
    /// Where it is. Default: the file system.
    pub storage: Arc<dyn Storage>,
}

impl Default for DiskOptions {
    fn default() -> Self {
        Self {
            mode: Mode::ReadWrite,
            max_bytes: 1 << 30,
            max_entry_bytes: MAX_ENTRY_BYTES,
            max_quarantined: 5,
            lock_deadline: DEADLINE,
            storage: FileSystem::shared(),
        }
    }
}

impl DiskOptions {
    /// Reads only.
    #[must_use]
    pub fn read_only(mut self) -> Self {
        self.mode = Mode::ReadOnly;
        self
    }

    /// Keeps no more than `bytes`.
    #[must_use]
    pub fn max_bytes(mut self, bytes: u64) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// Keeps no entry of more than `bytes`.
    #[must_use]
    pub fn max_entry_bytes(mut self, bytes: u64) -> Self {
        self.max_entry_bytes = bytes;
        self
    }

    /// Goes on until so many damaged entries were met.
    #[must_use]
    pub fn max_quarantined(mut self, count: u32) -> Self {
        self.max_quarantined = count;
        self
    }

    /// Waits no longer than this for a lock.
    #[must_use]
    pub fn lock_deadline(mut self, deadline: Duration) -> Self {
        self.lock_deadline = deadline;
        self
    }

    /// Keeps everything in `storage`.
    #[must_use]
    pub fn storage(mut self, storage: Arc<dyn Storage>) -> Self {
        self.storage = storage;
        self
    }
}

/// What looking for an entry gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// The entry, checked.
    Hit(Box<Entry>),
    /// Why there is none.
    Miss(PipelineCacheMissReason),
}

/// What writing an entry did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// It was not there, or another one was.
    New,
    /// It was there already.
    Unchanged,
}

#[derive(Debug, Default)]
struct State {
    /// Entries that this process relies on and has not made durable.
    unsynced: BTreeSet<Digest>,
    /// Shards that are surely durable in the root. Any process may have made one, and not have come to sync it.
    durable_shards: BTreeSet<PathBuf>,
    index: Index,
    /// Bytes written since the folder was last looked over, as far as this process counts: see [`first_count`].
    written: u64,
}

/// Compiled kernels on a disk, as files of one folder that any number of processes share.
///
/// ```
/// use fulgurite_pipeline_cache::*;
///
/// # let folder = tempfile::tempdir().unwrap();
/// # let root = folder.path().join("pipelines");
/// let cache = DiskPipelineCache::open(&root, DiskOptions::default())?;
/// let program = Digest::of(b"a kernel");
/// let policy = Digest::of(b"how it is lowered");
/// let identity = PipelineCacheIdentity::new(PayloadKind::Artifact, program, policy, PipelineDeviceFingerprint::ANY);
/// assert_eq!(cache.read(&identity), Lookup::Miss(PipelineCacheMissReason::EmptyCache));
/// cache.write(&Entry::new(identity, Digest::ZERO, b"its words".to_vec()), Durability::OnFlush)?;
/// let Lookup::Hit(entry) = cache.read(&identity) else { unreachable!() };
/// assert_eq!(entry.payload, b"its words");
/// assert!(cache.path_for(&identity).is_file());
/// cache.close()?;
/// # Ok::<(), CacheError>(())
/// ```
pub struct DiskPipelineCache {
    root: PathBuf,
    options: DiskOptions,
    storage: Arc<dyn Storage>,
    notices: Arc<Notices>,
    state: Mutex<State>,
    /// Held while what is unsynced is made durable.
    flushing: Mutex<()>,
    /// Damaged entries met so far.
    quarantined: AtomicU32,
    /// Locks that the file system gave no answer of.
    unanswered: AtomicU32,
    is_off: AtomicBool,
}

impl DiskPipelineCache {
    /// The cache in the folder `root`, which is made if it is to be written. Reads nothing but the folder's own facts.
    ///
    /// # Errors
    /// `FG1001` if the folder cannot be made or be trusted: it is a link or a file, belongs to someone else than this user
    /// or the system's, or others may write it.
    pub fn open(root: &Path, options: DiskOptions) -> Result<Self, CacheError> {
        Self::open_telling(root, options, Arc::default())
    }

    /// As [`open`](Self::open); what nobody asks for is said to `notices`.
    pub(crate) fn open_telling(
        root: &Path,
        options: DiskOptions,
        notices: Arc<Notices>,
    ) -> Result<Self, CacheError> {
        let storage = Arc::clone(&options.storage);
        if !root.is_absolute() {
            let reason = String::from("a cache's folder has an absolute path");
            return Err(CacheError::Refused { path: root.to_owned(), reason });
        }
        if options.mode == Mode::ReadWrite {
            storage.create_dir(root).map_err(|error| CacheError::io("make", root, &error))?;
        }
        let entered = enter(&storage, root).map_err(|error| CacheError::io("look at", root, &error))?;
        let storage = entered.map_err(|reason| CacheError::Refused { path: root.to_owned(), reason })?;
        let state = State { written: first_count(storage.now(), options.max_bytes), ..State::default() };
        Ok(Self {
            root: root.to_owned(),
            options,
            storage,
            notices,
            state: Mutex::new(state),
            flushing: Mutex::default(),
            quarantined: AtomicU32::new(0),
            unanswered: AtomicU32::new(0),
            is_off: AtomicBool::new(false),
        })
    }

    /// Where a user's compiled kernels are kept: `pipelines` in the [root of all that is kept](crate::default_root).
    pub fn default_root() -> Option<PathBuf> {
        Some(crate::default_root()?.join("pipelines"))
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The file of an entry, whether it is there or not: `<root>/<2 hex digits>/<64 hex digits>.bin`.
    pub fn path_for(&self, identity: &PipelineCacheIdentity) -> PathBuf {
        self.path_of(&identity.digest())
    }

    pub(crate) fn path_of(&self, digest: &Digest) -> PathBuf {
        self.shard_of(digest).join(format!("{digest}.bin"))
    }

    fn shard_of(&self, digest: &Digest) -> PathBuf {
        self.root.join(&digest.to_string()[..2])
    }

    /// Looks for an entry. Whatever is wrong with it is a miss with a reason; a damaged one is put aside.
    pub fn read(&self, identity: &PipelineCacheIdentity) -> Lookup {
        if self.is_off() {
            return Lookup::Miss(PipelineCacheMissReason::KeyAbsent);
        }
        let path = self.path_for(identity);
        let state = match self.look(identity, &path) {
            Ok((entry, modified)) => {
                self.keep_recent(&path, modified);
                return Lookup::Hit(Box::new(entry));
            }
            Err(state) => state,
        };
        match state {
            EntryState::Corrupt | EntryState::OtherFormat => self.put_aside(identity, &path),
            EntryState::Unreadable => self.notices.say(&CacheError::Io {
                what: "read",
                path,
                reason: String::from("it is there, but not a file that can be read"),
            }),
            _ => {}
        }
        Lookup::Miss(PipelineCacheMissReason::classify(&self.evidence(identity, state)))
    }

    /// The entry in the file at `path`, if it is a good one of `identity`.
    fn look(&self, identity: &PipelineCacheIdentity, path: &Path) -> Result<(Entry, SystemTime), EntryState> {
        let (bytes, modified) =
            self.storage.read(path, 0, self.options.max_entry_bytes).map_err(|error| state_of(&error))?;
        match entry::decode_for(identity, bytes) {
            Ok(entry) => Ok((entry, modified)),
            Err(BadEntry::Corrupt) => Err(EntryState::Corrupt),
            Err(BadEntry::OtherFormat) => Err(EntryState::OtherFormat),
        }
    }

    /// Says at most hourly that a file is in use, so that it is not the first to be removed. A time to come is no time.
    fn keep_recent(&self, path: &Path, modified: SystemTime) {
        let now = self.storage.now();
        let is_recent = now.duration_since(modified).is_ok_and(|age| age < TOUCH_INTERVAL);
        if self.options.mode == Mode::ReadWrite && !is_recent {
            // Best effort: it costs an early eviction at worst.
            let _ = self.storage.touch(path, now);
        }
    }

    /// What is known of a miss. The index is read for it, and only then.
    fn evidence(&self, identity: &PipelineCacheIdentity, entry: EntryState) -> PipelineCacheMissEvidence {
        if entry != EntryState::Absent {
            return PipelineCacheMissEvidence { entry, ..Default::default() };
        }
        let nothing_known = PipelineCacheMissEvidence {
            knows_program: true,
            knows_policy: true,
            knows_device: true,
            ..Default::default()
        };
        let Ok(mut state) = lock(&self.state) else { return nothing_known };
        match state.index.refresh(&*self.storage, &self.index_path()) {
            Ok(()) => state.index.evidence(identity),
            // Nothing was ever written, or the log was lost while entries are there.
            Err(error) if error.kind() == ErrorKind::NotFound && !self.has_entries() => {
                PipelineCacheMissEvidence { is_empty: true, ..Default::default() }
            }
            Err(_) => nothing_known,
        }
    }

    /// Whether there is any entry.
    fn has_entries(&self) -> bool {
        let list = |folder: &Path| self.storage.list(folder).unwrap_or_default();
        let shards = list(&self.root).into_iter().filter(|found| is_shard(&found.name));
        let mut files = shards.flat_map(|shard| list(&self.root.join(shard.name)));
        files.any(|file| digest_of(&file.name).is_some())
    }

    /// Flushes, and says what could not be kept. Dropping a cache flushes it, too, and only logs that.
    ///
    /// # Errors
    /// As [`flush`](Self::flush).
    pub fn close(self) -> Result<(), CacheError> {
        self.flush()
    }

    /// Whether this process has switched the tier off.
    pub fn is_off(&self) -> bool {
        self.is_off.load(Ordering::Relaxed)
    }

    fn check_writable(&self) -> Result<(), CacheError> {
        match self.options.mode {
            Mode::ReadOnly => Err(CacheError::ReadOnly),
            Mode::ReadWrite if self.is_off() => Err(CacheError::SwitchedOff),
            Mode::ReadWrite => Ok(()),
        }
    }

    /// Takes a shard's lock. Where none is to be had it is said once, and the caller goes on.
    fn lock_shard(&self, shard: &Path) -> Locked {
        let name = format!("shard-{}", shard.file_name().unwrap_or_default().to_string_lossy());
        let locked = self.lock_named(&name, self.options.lock_deadline);
        if let Locked::Late = locked {
            let reason = format!("it did not come within {:?}", self.options.lock_deadline);
            self.notices.say(&CacheError::Io { what: "lock", path: self.lock_path(&name), reason });
        }
        locked
    }

    fn lock_path(&self, name: &str) -> PathBuf {
        self.root.join("locks").join(format!("{name}.lock"))
    }

    /// Takes the lock that threads and processes hold while they compile what belongs at `digest`.
    pub(crate) fn lock_flight(&self, digest: &Digest) -> Option<Locked> {
        let is_written = self.check_writable().is_ok();
        let name = format!("flight-{}", &digest.to_string()[..2]);
        is_written.then(|| self.lock_named(&name, self.options.lock_deadline))
    }

    fn lock_named(&self, name: &str, deadline: Duration) -> Locked {
        if let Err(error) = self.storage.create_dir(&self.root.join("locks")) {
            return Locked::Unusable(error);
        }
        let path = self.lock_path(name);
        let locked = match self.unanswered.load(Ordering::Relaxed) {
            0..MAX_UNANSWERED => lock_within(&self.storage, &path, deadline, Missing::Create),
            _ => Locked::Unusable(ErrorKind::TimedOut.into()),
        };
        match &locked {
            Locked::Unusable(error) => self.notices.say(&CacheError::io("lock", &path, error)),
            Locked::Unanswered => {
                self.unanswered.fetch_add(1, Ordering::Relaxed);
                self.notices.say(&CacheError::io("lock", &path, &ErrorKind::TimedOut.into()));
            }
            Locked::Held(_) | Locked::Late => {}
        }
        locked
    }

    fn index_path(&self) -> PathBuf {
        self.root.join("index.log")
    }

    /// Adds to the index. It is advisory, so nothing comes of a failure.
    fn log(&self, records: &[Record]) {
        let now = self.storage.now();
        let bytes: Vec<u8> = records.iter().flat_map(|record| record.encode(now)).collect();
        let _ = self.storage.append(&self.index_path(), &bytes);
    }

    /// Counts what was written; every so often, that is when the folder is looked over.
    fn count_written(&self, bytes: u64) -> Result<(), CacheError> {
        let mut state = lock(&self.state)?;
        state.written += bytes;
        let is_due = state.written > looked_over_after(self.options.max_bytes);
        if is_due {
            state.written = 0;
        }
        drop(state);
        if is_due {
            self.trim(self.options.max_bytes)?;
        }
        Ok(())
    }

    /// Whether there is a file of this digest.
    pub(crate) fn has_file(&self, digest: &Digest) -> bool {
        self.storage.info(&self.path_of(digest)).is_ok()
    }

    pub(crate) fn storage(&self) -> &Arc<dyn Storage> {
        &self.storage
    }

    pub(crate) fn mode(&self) -> Mode {
        self.options.mode
    }
}

impl Drop for DiskPipelineCache {
    fn drop(&mut self) {
        if let Err(error) = self.flush() {
            tracing::warn!(%error, "a pipeline cache was dropped before it was durable");
        }
    }
}

/// Bytes that may be written before the folder is looked over.
fn looked_over_after(max_bytes: u64) -> u64 {
    max_bytes / 16
}

/// Where a process begins to count what is written: anywhere below what makes it look the folder over. So processes that
/// write little each do so as often, together, as one that writes all of it.
fn first_count(now: SystemTime, max_bytes: u64) -> u64 {
    let nanos = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos();
    let digest = DigestBuilder::new("fulgurite first count").number(nanos as u64).finish();
    let random = digest.as_bytes().iter().take(8).fold(0, |all, byte| all << 8 | u64::from(*byte));
    random % (looked_over_after(max_bytes) + 1)
}

/// What an entry is that reading gave `error` for.
fn state_of(error: &io::Error) -> EntryState {
    match error.kind() {
        ErrorKind::NotFound => EntryState::Absent,
        ErrorKind::FileTooLarge => EntryState::Corrupt,
        _ => EntryState::Unreadable,
    }
}

/// Whether a folder of the root holds entries.
fn is_shard(name: &str) -> bool {
    name.len() == 2 && name.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// The digest that a file of a shard is named by.
fn digest_of(name: &str) -> Option<Digest> {
    Digest::parse(name.strip_suffix(".bin")?)
}
