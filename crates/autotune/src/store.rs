//! The store: a folder with one record file per device and family, shared by several processes.
//!
//! Files are read on demand. A save rewrites only files with changes, under a lock, and merges them with the current
//! contents of the disk. A damaged file loses only its damaged parts and causes one diagnostic; those parts, and files
//! of a newer version, remain available for inspection.

mod load;
mod maintain;
mod save;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fulgurite_spec::Diagnostic;
use fulgurite_storage::{DEADLINE, FileSystem, Storage};

use crate::error::{Notices, StoreError};
use crate::key::{AutotuneKey, DeviceKey};
use crate::record::{AutotuneRecord, CandidateRow};
use crate::text::{self, RecordKey};

use load::Loaded;
pub use maintain::{ImportReport, PruneOptions, PruneReport, RecordDifference};

/// Maximum size of a record file in bytes.
pub const MAX_FILE_BYTES: u64 = 64 << 20;
/// Extension of record files.
const EXTENSION: &str = ".toml";
/// Suffix before [`EXTENSION`] of a file written by a process that did not get the lock.
const FRAGMENT: &str = ".part";
/// Suffix before [`EXTENSION`] of a file with invalid records.
const REJECTED: &str = ".rejected";

/// Options of a store.
#[derive(Clone)]
#[non_exhaustive]
pub struct StoreOptions {
    /// Storage of the folder. The default is the file system.
    pub storage: Arc<dyn Storage>,
    /// Whether the store is never written. The default is false.
    pub read_only: bool,
    /// Deadline for locks. The default is 2 s.
    pub lock_deadline: Duration,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self { storage: FileSystem::shared(), read_only: false, lock_deadline: DEADLINE }
    }
}

impl StoreOptions {
    /// Sets the storage.
    #[must_use]
    pub fn storage(mut self, storage: Arc<dyn Storage>) -> Self {
        self.storage = storage;
        self
    }

    /// Makes the store read-only.
    #[must_use]
    pub fn read_only(mut self) -> Self {
        self.read_only = true;
        self
    }

    /// Sets the deadline for locks.
    #[must_use]
    pub fn lock_deadline(mut self, deadline: Duration) -> Self {
        self.lock_deadline = deadline;
        self
    }
}

/// Persistent records of measurements.
pub struct AutotuneStore {
    /// `None` for a store in memory.
    root: Option<PathBuf>,
    options: StoreOptions,
    state: Mutex<State>,
    /// Serializes writers of files.
    turn: Mutex<()>,
    notices: Notices,
}

#[derive(Default)]
struct State {
    files: BTreeMap<FileKey, File>,
    /// Read-only records from packs, by the name of the file they would be in.
    layers: BTreeMap<String, Vec<Loaded>>,
}

/// The device and family of a file.
type FileKey = (DeviceKey, String);

/// The state of a file in this process.
#[derive(Default)]
struct File {
    loaded: Option<Loaded>,
    /// Unsaved changes; in a store in memory, all records.
    dirty: BTreeMap<RecordKey, AutotuneRecord>,
    /// Whether anything changed since the last save, for a store in memory.
    is_changed: bool,
}

impl AutotuneStore {
    /// Opens the store in the folder `root`, which need not exist. Reads nothing.
    pub fn open(root: impl Into<PathBuf>, options: StoreOptions) -> Self {
        Self { root: Some(root.into()), options, ..Self::in_memory() }
    }

    /// Creates a store in memory.
    pub fn in_memory() -> Self {
        Self {
            root: None,
            options: StoreOptions::default(),
            state: Mutex::default(),
            turn: Mutex::default(),
            notices: Notices::default(),
        }
    }

    /// Opens the store in the default cache folder, or creates one in memory if there is none.
    pub fn of_user() -> Self {
        match fulgurite_storage::default_root() {
            Some(root) => Self::open(root.join("autotune"), StoreOptions::default()),
            None => Self::in_memory(),
        }
    }

    /// Returns the folder.
    pub fn root(&self) -> Option<&Path> {
        self.root.as_deref()
    }

    /// Returns the distinct warnings about files so far.
    pub fn notices(&self) -> Vec<Diagnostic> {
        self.notices.all()
    }

    /// Serializes writers of this store. The state is not locked meanwhile, so that lookups wait neither for the disk
    /// nor for another process.
    fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Consistent after a panic: at worst, saved changes still count as unsaved and are saved again.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the file of a device and family, reading it on first use, and its layers.
    fn file<'s>(&self, state: &'s mut State, key: FileKey) -> (&'s mut File, &'s [Loaded]) {
        let name = file_name(&key.0, &key.1);
        let file = state.files.entry(key).or_default();
        if file.loaded.is_none() {
            file.loaded = Some(self.load(&name));
        }
        (file, state.layers.get(&name).map_or(&[], Vec::as_slice))
    }

    /// Returns the record of `key`, merged from the disk, packs and this process; `None` if there are no rows. A file
    /// is read on first use, and again when it is saved.
    pub fn get(&self, key: &AutotuneKey) -> Option<AutotuneRecord> {
        let mut state = self.state();
        let mut record = self.own(&mut state, key);
        let mut packed = AutotuneRecord::default();
        let (_, layers) = self.file(&mut state, (key.device.clone(), key.family.clone()));
        for layer in layers {
            self.find(layer, &RecordKey::of(key), &mut packed);
        }
        record.complete(&packed);
        (!record.is_empty()).then_some(record)
    }

    /// Returns the record of `key` on disk and in this process, without packs.
    fn own(&self, state: &mut State, key: &AutotuneKey) -> AutotuneRecord {
        let wanted = RecordKey::of(key);
        let (file, _) = self.file(state, (key.device.clone(), key.family.clone()));
        let mut all = AutotuneRecord::default();
        if let Some(loaded) = &file.loaded {
            self.find(loaded, &wanted, &mut all);
        }
        if let Some(own) = file.dirty.get(&wanted) {
            all.merge(own);
        }
        all
    }

    /// Adds rows by executable id, with a generation newer than all known rows of `key`. [`save`](Self::save) makes
    /// them persistent.
    pub fn insert(&self, key: &AutotuneKey, rows: impl IntoIterator<Item = (String, CandidateRow)>) {
        let mut state = self.state();
        let mut all = self.own(&mut state, key);
        let generation = all.next_generation();
        let rows = rows.into_iter().map(|(id, row)| (id, CandidateRow { generation, ..row }));
        all.merge(&AutotuneRecord::new(rows));
        self.replace(&mut state, key, all);
    }

    /// Records that a search of `key` ended without trying the candidates with these executable ids.
    pub fn pass_over(&self, key: &AutotuneKey, ids: impl IntoIterator<Item = String>) {
        let mut state = self.state();
        let all = self.own(&mut state, key);
        let generation = all.next_generation();
        let all = all.with_passed_over(ids.into_iter().map(|id| (id, generation)));
        self.replace(&mut state, key, all);
    }

    /// Forgets the record of `key` permanently, even if another process saves it again. Returns false if there was
    /// none.
    pub fn forget(&self, key: &AutotuneKey) -> bool {
        if self.get(key).is_none() {
            return false;
        }
        let mut state = self.state();
        let mut all = self.own(&mut state, key);
        all.forget();
        self.replace(&mut state, key, all);
        true
    }

    fn replace(&self, state: &mut State, key: &AutotuneKey, record: AutotuneRecord) {
        let (file, _) = self.file(state, (key.device.clone(), key.family.clone()));
        file.is_changed = true;
        file.dirty.insert(RecordKey::of(key), record);
    }

    /// Returns whether there are changes to [`save`](Self::save). In a read-only store, changes stay unsaved.
    pub fn is_dirty(&self) -> bool {
        let state = self.state();
        state.files.values().any(|file| match self.root {
            Some(_) => !file.dirty.is_empty(),
            None => file.is_changed,
        })
    }

    /// Adds the records in the text of a file, such as one from a pack. They are never written, and are used only for
    /// candidates without a row here whose record was not forgotten here.
    ///
    /// # Errors
    /// `FG1103` if the text is of another version or is not a record file.
    pub fn add_layer(&self, text: &[u8]) -> Result<(), StoreError> {
        let from = Path::new("a pack's tuning records");
        let alone = |reason: &str| StoreError::LeftAlone { path: from.to_owned(), reason: reason.to_owned() };
        if text::schema(text) != Some(text::SCHEMA) {
            return Err(alone("unsupported format version"));
        }
        let (device, family) = text::owner(text).ok_or_else(|| alone("no device and family stated"))?;
        let loaded = Loaded::of_layer(text.to_vec());
        self.state().layers.entry(file_name(&device, &family)).or_default().push(loaded);
        Ok(())
    }
}

impl std::fmt::Debug for AutotuneStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AutotuneStore").field("root", &self.root).finish_non_exhaustive()
    }
}

/// Returns the name of the file of a device and family: a readable prefix, made unique by the fingerprint.
pub(crate) fn file_name(device: &DeviceKey, family: &str) -> String {
    let words = |text: &str| -> String {
        let plain =
            text.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' });
        let text: String = plain.take(40).collect();
        text.split('-').filter(|word| !word.is_empty()).collect::<Vec<_>>().join("-")
    };
    let fingerprint = &device.fingerprint.to_string()[..16];
    format!("{}.{}.{}.{fingerprint}{EXTENSION}", words(family), words(&device.backend), words(&device.device))
}

#[cfg(test)]
mod tests;
