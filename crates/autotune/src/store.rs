//! The store: files of records in one folder, one for each device and family, that several processes read and write.
//!
//! Nothing is read before it is asked for, and a save writes only the files that have something new, under a lock, merged
//! with what is there by then. Whatever is wrong with a file costs its bad parts and one diagnostic; bad parts and files of a
//! newer version stay where people find them.

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

/// Most bytes of a file of records.
pub const MAX_FILE_BYTES: u64 = 64 << 20;
/// What the files end with.
const EXTENSION: &str = ".toml";
/// What comes before [`EXTENSION`] in a file that one process wrote because it did not get the lock.
const FRAGMENT: &str = ".part";
/// What comes before [`EXTENSION`] in a file of records that were of no use.
const REJECTED: &str = ".rejected";

/// How a store is opened.
#[derive(Clone)]
#[non_exhaustive]
pub struct StoreOptions {
    /// The disk. Default: the file system.
    pub storage: Arc<dyn Storage>,
    /// Whether nothing is ever written. Default: no.
    pub read_only: bool,
    /// How long a lock is waited for. Default: two seconds.
    pub lock_deadline: Duration,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self { storage: FileSystem::shared(), read_only: false, lock_deadline: DEADLINE }
    }
}

impl StoreOptions {
    /// Another disk.
    #[must_use]
    pub fn storage(mut self, storage: Arc<dyn Storage>) -> Self {
        self.storage = storage;
        self
    }

    /// Writes nothing.
    #[must_use]
    pub fn read_only(mut self) -> Self {
        self.read_only = true;
        self
    }

    /// Waits so long for a lock.
    #[must_use]
    pub fn lock_deadline(mut self, deadline: Duration) -> Self {
        self.lock_deadline = deadline;
        self
    }
}

/// Records of what was measured, kept between processes.
pub struct AutotuneStore {
    /// `None`: everything is kept in memory only.
    root: Option<PathBuf>,
    options: StoreOptions,
    state: Mutex<State>,
    /// Whose turn it is to write files.
    turn: Mutex<()>,
    notices: Notices,
}

#[derive(Default)]
struct State {
    files: BTreeMap<FileKey, File>,
    /// Read-only records, of packs: by the names of the files that they would be in.
    layers: BTreeMap<String, Vec<Loaded>>,
}

/// What the records of one file have in common.
type FileKey = (DeviceKey, String);

/// A file as this process knows it.
#[derive(Default)]
struct File {
    loaded: Option<Loaded>,
    /// What this process added or removed, and has not saved; in memory all that there is.
    dirty: BTreeMap<RecordKey, AutotuneRecord>,
    /// Whether any of that was changed since it was saved in memory.
    is_changed: bool,
}

impl AutotuneStore {
    /// The store in the folder `root`, which need not be there. Reads nothing.
    pub fn open(root: impl Into<PathBuf>, options: StoreOptions) -> Self {
        Self { root: Some(root.into()), options, ..Self::in_memory() }
    }

    /// A store that is gone with the process.
    pub fn in_memory() -> Self {
        Self {
            root: None,
            options: StoreOptions::default(),
            state: Mutex::default(),
            turn: Mutex::default(),
            notices: Notices::default(),
        }
    }

    /// The store in the user's folder of all that is kept, or in memory if there is none.
    pub fn of_user() -> Self {
        match fulgurite_storage::default_root() {
            Some(root) => Self::open(root.join("autotune"), StoreOptions::default()),
            None => Self::in_memory(),
        }
    }

    /// The folder.
    pub fn root(&self) -> Option<&Path> {
        self.root.as_deref()
    }

    /// What was wrong with files so far, each once.
    pub fn notices(&self) -> Vec<Diagnostic> {
        self.notices.all()
    }

    /// One writer of this store after the other. The state is not locked meanwhile: nobody who only asks waits for a disk or for
    /// another process.
    fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic leaves it whole: what is saved and still counts as new is saved again.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The file of a device and family, read if it was not.
    fn file<'s>(&self, state: &'s mut State, key: FileKey) -> (&'s mut File, &'s [Loaded]) {
        let name = file_name(&key.0, &key.1);
        let file = state.files.entry(key).or_default();
        if file.loaded.is_none() {
            file.loaded = Some(self.load(&name));
        }
        (file, state.layers.get(&name).map_or(&[], Vec::as_slice))
    }

    /// The record of `key`: what the disk, packs and this process know together. `None` if nobody knows anything. A file is
    /// read when it is first asked of, and again when it is saved.
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

    /// What the disk and this process know of `key`.
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

    /// Adds rows, by the id of what was run, as newer than all that was measured here of `key`. They are kept when they are saved.
    pub fn insert(&self, key: &AutotuneKey, rows: impl IntoIterator<Item = (String, CandidateRow)>) {
        let mut state = self.state();
        let mut all = self.own(&mut state, key);
        let generation = all.next_generation();
        let rows = rows.into_iter().map(|(id, row)| (id, CandidateRow { generation, ..row }));
        all.merge(&AutotuneRecord::new(rows));
        self.replace(&mut state, key, all);
    }

    /// Notes that a search of `key` ended without having tried these, by the ids of what they would have run.
    pub fn pass_over(&self, key: &AutotuneKey, ids: impl IntoIterator<Item = String>) {
        let mut state = self.state();
        let all = self.own(&mut state, key);
        let generation = all.next_generation();
        let all = all.with_passed_over(ids.into_iter().map(|id| (id, generation)));
        self.replace(&mut state, key, all);
    }

    /// Forgets what is known of `key`, also when others save it again; false if nothing was.
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

    /// Whether [`save`](Self::save) has anything to do: something was added or forgotten and is not saved. In a store that is
    /// only read it stays so.
    pub fn is_dirty(&self) -> bool {
        let state = self.state();
        state.files.values().any(|file| match self.root {
            Some(_) => !file.dirty.is_empty(),
            None => file.is_changed,
        })
    }

    /// Adds the records of a file's text, of a pack, say. They are never written, and count only where nothing is known of the
    /// candidate here, and its record was not forgotten here.
    ///
    /// # Errors
    /// `FG1103` for text of another version, or none of records.
    pub fn add_layer(&self, text: &[u8]) -> Result<(), StoreError> {
        let from = Path::new("a pack's tuning records");
        let alone = |reason: &str| StoreError::LeftAlone { path: from.to_owned(), reason: reason.to_owned() };
        if text::schema(text) != Some(text::SCHEMA) {
            return Err(alone("it has another version of the format"));
        }
        let (device, family) = text::owner(text).ok_or_else(|| alone("it does not say whose it is"))?;
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

/// The name of the file of a device and family: people find it by the beginning, and the fingerprint makes it unique.
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
