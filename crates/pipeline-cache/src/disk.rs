//! The disk tier: a folder with one file per entry, shared by any number of processes.
//!
//! Entries are read and checked without a lock. They are written to a temporary file and renamed; renaming and removal
//! take the lock of the entry's shard. [`write`] stores entries and makes them durable, [`remove`] removes them,
//! [`kernel_entries`] finds everything derived from a kernel, and [`maintain`] handles the whole folder.

mod kernel_entries;
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

pub(crate) use kernel_entries::KernelEntries;
pub use maintain::{CacheCount, DiskStats, GcReport, ImportReport, VerifyReport};
pub use remove::{ClearReport, InvalidateReport};

/// Number of unanswered lock requests after which no more are made: each costs the deadline and leaks a thread.
const MAX_UNANSWERED: u32 = 3;
/// Minimum interval between updates of a file's last use.
const TOUCH_INTERVAL: Duration = Duration::from_secs(3600);

/// When a written entry is durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// When the write returns.
    Immediate,
    /// When [`DiskPipelineCache::flush`] returns. A system crash before that may lose or tear the entry; a torn entry
    /// is a miss.
    #[default]
    OnFlush,
}

/// Access to the folder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Read, write and maintain the folder.
    #[default]
    ReadWrite,
    /// Only read the folder; not even file times change.
    ReadOnly,
}

/// Options of a disk tier.
#[derive(Clone)]
#[non_exhaustive]
pub struct DiskOptions {
    /// Access to the folder. The default is read-write.
    pub mode: Mode,
    /// Limit on the size of all entries in bytes, above which the least recently used are removed. The default is 1
    /// GiB.
    pub max_bytes: u64,
    /// Limit on the size of one entry in bytes, header included. The default is 64 MiB.
    pub max_entry_bytes: u64,
    /// Number of entries that a process quarantines before it switches the tier off. The default is 5.
    pub max_quarantined: u32,
    /// Deadline for locks. The default is 2 s.
    pub lock_deadline: Duration,
    /// Storage of the folder. The default is the file system.
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
    /// Makes the tier read-only.
    #[must_use]
    pub fn read_only(mut self) -> Self {
        self.mode = Mode::ReadOnly;
        self
    }

    /// Sets the limit on the size of all entries.
    #[must_use]
    pub fn max_bytes(mut self, bytes: u64) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// Sets the limit on the size of one entry.
    #[must_use]
    pub fn max_entry_bytes(mut self, bytes: u64) -> Self {
        self.max_entry_bytes = bytes;
        self
    }

    /// Sets the number of quarantined entries at which the tier is switched off.
    #[must_use]
    pub fn max_quarantined(mut self, count: u32) -> Self {
        self.max_quarantined = count;
        self
    }

    /// Sets the deadline for locks.
    #[must_use]
    pub fn lock_deadline(mut self, deadline: Duration) -> Self {
        self.lock_deadline = deadline;
        self
    }

    /// Sets the storage.
    #[must_use]
    pub fn storage(mut self, storage: Arc<dyn Storage>) -> Self {
        self.storage = storage;
        self
    }
}

/// The result of a lookup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// The checked entry.
    Hit(Box<Entry>),
    /// The reason of the miss.
    Miss(PipelineCacheMissReason),
}

/// The result of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// The entry was absent or different.
    New,
    /// The same entry existed.
    Unchanged,
}

#[derive(Debug, Default)]
struct State {
    /// Entries that this process relies on and has not made durable.
    unsynced: BTreeSet<Digest>,
    /// Shards whose name in the root is known to be durable. A process may have created a shard without syncing the
    /// root.
    durable_shards: BTreeSet<PathBuf>,
    index: Index,
    /// Bytes written by this process since it last trimmed the folder, starting from [`first_count`].
    written: u64,
}

/// Compiled kernels on disk, in a folder shared by any number of processes.
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
    /// Held while unsynced entries are made durable.
    flushing: Mutex<()>,
    /// Damaged entries that this process has quarantined.
    quarantined: AtomicU32,
    /// Lock requests that the file system did not answer.
    unanswered: AtomicU32,
    is_off: AtomicBool,
}

impl DiskPipelineCache {
    /// Opens the cache in the folder `root`, which must be absolute and is created in read-write mode. Reads only the
    /// folder's metadata.
    ///
    /// # Errors
    /// `FG1001` if `root` is not absolute, or the folder cannot be created, or it is not trusted: it is a symbolic link or a
    /// file, is owned by a user other than this one and the system, or is writable by others.
    pub fn open(root: &Path, options: DiskOptions) -> Result<Self, CacheError> {
        Self::open_with_notices(root, options, Arc::default())
    }

    /// Like [`open`](Self::open), with warnings reported to `notices`.
    pub(crate) fn open_with_notices(
        root: &Path,
        options: DiskOptions,
        notices: Arc<Notices>,
    ) -> Result<Self, CacheError> {
        let storage = Arc::clone(&options.storage);
        if !root.is_absolute() {
            let reason = String::from("the path is not absolute");
            return Err(CacheError::Refused { path: root.to_owned(), reason });
        }
        if options.mode == Mode::ReadWrite {
            storage.create_dir(root).map_err(|error| CacheError::io("create", root, &error))?;
        }
        let entered = enter(&storage, root).map_err(|error| CacheError::io("inspect", root, &error))?;
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

    /// Returns the default folder of a user's compiled kernels: `pipelines` in the [default cache
    /// folder](crate::default_root).
    pub fn default_root() -> Option<PathBuf> {
        Some(crate::default_root()?.join("pipelines"))
    }

    /// Returns the folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns the path of an entry's file, which need not exist: `<root>/<2 hex digits>/<64 hex digits>.bin`.
    pub fn path_for(&self, identity: &PipelineCacheIdentity) -> PathBuf {
        self.path_of(&identity.digest())
    }

    pub(crate) fn path_of(&self, digest: &Digest) -> PathBuf {
        self.shard_of(digest).join(format!("{digest}.bin"))
    }

    fn shard_of(&self, digest: &Digest) -> PathBuf {
        self.root.join(&digest.to_string()[..2])
    }

    /// Looks up an entry. Any problem with its file is a miss with a reason; damaged entries are quarantined.
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
                reason: String::from("it exists but cannot be read"),
            }),
            _ => {}
        }
        Lookup::Miss(PipelineCacheMissReason::classify(&self.evidence(identity, state)))
    }

    /// Reads the entry at `path` and checks that it is an undamaged one of `identity`.
    fn look(&self, identity: &PipelineCacheIdentity, path: &Path) -> Result<(Entry, SystemTime), EntryState> {
        let (bytes, modified) =
            self.storage.read(path, 0, self.options.max_entry_bytes).map_err(|error| state_of(&error))?;
        match entry::decode_for(identity, bytes) {
            Ok(entry) => Ok((entry, modified)),
            Err(BadEntry::Corrupt) => Err(EntryState::Corrupt),
            Err(BadEntry::OtherFormat) => Err(EntryState::OtherFormat),
        }
    }

    /// Updates a file's last use, at most hourly. A time in the future is replaced.
    fn keep_recent(&self, path: &Path, modified: SystemTime) {
        let now = self.storage.now();
        let is_recent = now.duration_since(modified).is_ok_and(|age| age < TOUCH_INTERVAL);
        if self.options.mode == Mode::ReadWrite && !is_recent {
            // Best effort: failure leads to an early eviction at worst.
            let _ = self.storage.touch(path, now);
        }
    }

    /// Returns the evidence for classifying a miss. Only misses of absent entries read the index.
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
            // Either nothing was ever written, or the log was lost while entries exist.
            Err(error) if error.kind() == ErrorKind::NotFound && !self.has_entries() => {
                PipelineCacheMissEvidence { is_empty: true, ..Default::default() }
            }
            Err(_) => nothing_known,
        }
    }

    /// Returns whether there are any entries.
    fn has_entries(&self) -> bool {
        let list = |folder: &Path| self.storage.list(folder).unwrap_or_default();
        let shards = list(&self.root).into_iter().filter(|found| is_shard(&found.name));
        let mut files = shards.flat_map(|shard| list(&self.root.join(shard.name)));
        files.any(|file| digest_of(&file.name).is_some())
    }

    /// Flushes the cache and returns the error. Dropping a cache also flushes it, but only logs an error.
    ///
    /// # Errors
    /// As for [`flush`](Self::flush).
    pub fn close(self) -> Result<(), CacheError> {
        self.flush()
    }

    /// Returns whether this process has switched the tier off.
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

    /// Locks a shard. Failure is reported as a warning, and the caller decides whether to continue.
    fn lock_shard(&self, shard: &Path) -> Locked {
        let name = format!("shard-{}", shard.file_name().unwrap_or_default().to_string_lossy());
        let locked = self.lock_named(&name, self.options.lock_deadline);
        if let Locked::Late = locked {
            let reason = format!("timed out after {:?}", self.options.lock_deadline);
            self.notices.say(&CacheError::Io { what: "lock", path: self.lock_path(&name), reason });
        }
        locked
    }

    fn lock_path(&self, name: &str) -> PathBuf {
        self.root.join("locks").join(format!("{name}.lock"))
    }

    /// Takes the lock held while compiling an entry, which is shared by all digests with the same first byte.
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

    /// Appends to the index. It is advisory, so failures are ignored.
    fn log(&self, records: &[Record]) {
        let now = self.storage.now();
        let bytes: Vec<u8> = records.iter().flat_map(|record| record.encode(now)).collect();
        let _ = self.storage.append(&self.index_path(), &bytes);
    }

    /// Counts bytes written, and trims the folder each time a sixteenth of its size limit has been written.
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

    /// Returns whether the file of this digest exists.
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
            tracing::warn!(%error, "flush of a dropped pipeline cache failed");
        }
    }
}

/// Returns the number of written bytes after which the folder is trimmed.
fn looked_over_after(max_bytes: u64) -> u64 {
    max_bytes / 16
}

/// Returns the random initial value of a process's count of written bytes. Processes that each write little thus trim
/// the folder as often, in total, as a single process writing all of it.
fn first_count(now: SystemTime, max_bytes: u64) -> u64 {
    let nanos = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos();
    let digest = DigestBuilder::new("fulgurite first count").number(nanos as u64).finish();
    let random = digest.as_bytes().iter().take(8).fold(0, |all, byte| all << 8 | u64::from(*byte));
    random % (looked_over_after(max_bytes) + 1)
}

/// Returns the state of an entry whose reading failed with `error`.
fn state_of(error: &io::Error) -> EntryState {
    match error.kind() {
        ErrorKind::NotFound => EntryState::Absent,
        ErrorKind::FileTooLarge => EntryState::Corrupt,
        _ => EntryState::Unreadable,
    }
}

/// Returns whether a folder of the root is a shard.
fn is_shard(name: &str) -> bool {
    name.len() == 2 && name.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// Returns the digest in the name of an entry's file.
fn digest_of(name: &str) -> Option<Digest> {
    Digest::parse(name.strip_suffix(".bin")?)
}
