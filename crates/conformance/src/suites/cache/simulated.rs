//! An in-memory disk that loses non-durable data, with crashes and faults at chosen operations.
//!
//! Changes are visible at once, and durable only after a sync of the file or its folder. A crash keeps a random part of
//! the rest: of unsynced bytes all, none or a torn part, and of unsynced names any subset, in any order.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use fulgurite_pipeline_cache::{Listed, Missing, Storage, StoredFile};

use crate::values::Random;

/// Kind of a directory entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Node {
    File(u64),
    Folder,
}

#[derive(Clone, Debug)]
struct File {
    seen: Vec<u8>,
    durable: Vec<u8>,
    /// Whether the system still has `seen` queued for writing.
    is_dirty: bool,
    modified: SystemTime,
}

/// An injected fault and its time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Fault {
    #[default]
    None,
    /// The machine stops before the operation with this number, counted from 1.
    Crash(u64),
    /// The sync with this number fails; the next one reports success.
    Sync(u64),
    /// From the operation with this number on, every change fails with this error.
    Changes(ErrorKind, u64),
    /// Every read fails with this error.
    Reads(ErrorKind),
}

/// Behavior of locks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Locks {
    #[default]
    Work,
    /// Another holder always has every lock.
    Taken,
    /// A lock request never returns.
    Hang,
    /// Locks are not supported.
    Missing,
}

#[derive(Debug, Default)]
struct State {
    files: HashMap<u64, File>,
    names: BTreeMap<PathBuf, Node>,
    durable: BTreeMap<PathBuf, Node>,
    /// Changes of names that no sync has made durable.
    unsynced: Vec<(PathBuf, Option<Node>)>,
    locked: HashSet<PathBuf>,
    next: u64,
    operations: u64,
    syncs: u64,
    /// Lock requests that wait forever.
    unanswered: u64,
    is_down: bool,
    now: Duration,
}

/// Handle to the disk, shared by all users.
#[derive(Clone)]
pub(super) struct SimulatedDisk {
    state: Arc<Mutex<State>>,
    fault: Fault,
    locks: Locks,
}

/// A lock that is held.
struct Held {
    state: Arc<Mutex<State>>,
    path: PathBuf,
}

impl Drop for Held {
    fn drop(&mut self) {
        lock(&self.state).locked.remove(&self.path);
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SimulatedDisk {
    /// Creates a disk that contains one empty durable folder.
    pub(super) fn new(root: &Path) -> Self {
        let mut state = State { now: Duration::from_secs(1_000_000_000), ..State::default() };
        for folder in root.ancestors() {
            state.names.insert(folder.to_owned(), Node::Folder);
            state.durable.insert(folder.to_owned(), Node::Folder);
        }
        Self { state: Arc::new(Mutex::new(state)), fault: Fault::None, locks: Locks::Work }
    }

    /// Returns a handle to the same disk with a fault.
    pub(super) fn failing(&self, fault: Fault) -> Self {
        Self { fault, ..self.clone() }
    }

    /// Returns a handle to the same disk with another lock behavior.
    pub(super) fn locking(&self, locks: Locks) -> Self {
        Self { locks, ..self.clone() }
    }

    /// Returns an independent disk with the same contents.
    pub(super) fn copy(&self) -> Self {
        let state = lock(&self.state);
        let copied = State {
            files: state.files.clone(),
            names: state.names.clone(),
            durable: state.durable.clone(),
            unsynced: state.unsynced.clone(),
            next: state.next,
            now: state.now,
            ..State::default()
        };
        Self { state: Arc::new(Mutex::new(copied)), ..self.clone() }
    }

    /// Returns the number of operations and of syncs so far.
    pub(super) fn counts(&self) -> (u64, u64) {
        let state = lock(&self.state);
        (state.operations, state.syncs)
    }

    /// Returns the bytes that a reader sees at `path`; does not count as an operation.
    pub(super) fn seen(&self, path: &Path) -> Option<Vec<u8>> {
        let mut state = lock(&self.state);
        state.file(path).ok().map(|(_, file)| file.seen.clone())
    }

    /// Returns whether this handle can no longer change the disk: the machine has stopped, or its fault refuses all
    /// changes.
    pub(super) fn is_dead(&self) -> bool {
        let state = lock(&self.state);
        let refuses = matches!(self.fault, Fault::Changes(_, from) if state.operations >= from);
        state.is_down || refuses
    }

    /// Returns the number of lock requests without an answer.
    pub(super) fn unanswered(&self) -> u64 {
        lock(&self.state).unanswered
    }

    /// Moves the disk's clock back.
    pub(super) fn turn_back(&self, by: Duration) {
        let mut state = lock(&self.state);
        state.now = state.now.saturating_sub(by);
    }

    /// Crashes the disk and returns what remains, as a disk without faults.
    pub(super) fn after_crash(&self, random: &mut Random) -> Self {
        let mut state = lock(&self.state);
        let mut names = state.durable.clone();
        let mut changes = std::mem::take(&mut state.unsynced);
        while !changes.is_empty() {
            let (path, node) = changes.swap_remove(random.below(changes.len() as u32) as usize);
            if random.below(2) == 0 {
                match node {
                    Some(node) => names.insert(path, node),
                    None => names.remove(&path),
                };
            }
        }
        // Remove the contents of missing folders.
        let folders: HashSet<PathBuf> =
            names.iter().filter(|(_, node)| **node == Node::Folder).map(|(path, _)| path.clone()).collect();
        names.retain(|path, _| path.ancestors().skip(1).all(|folder| folders.contains(folder)));
        let mut files = HashMap::new();
        for node in names.values() {
            let Node::File(id) = node else { continue };
            let Some(file) = state.files.get(id) else { continue };
            let mut file = file.clone();
            if file.durable != file.seen {
                file.durable = match random.below(4) {
                    0 => file.durable,
                    1 => file.seen.clone(),
                    2 => file.seen[..random.below(file.seen.len() as u32 + 1) as usize].to_vec(),
                    // The length and a part of the bytes were written.
                    _ => {
                        let mut torn = file.seen.clone();
                        let from = random.below(torn.len() as u32 + 1) as usize;
                        torn[from..].fill(0);
                        torn
                    }
                };
            }
            file.seen.clone_from(&file.durable);
            file.is_dirty = false;
            files.insert(*id, file);
        }
        let next = state.next;
        let now = state.now;
        let durable = names.clone();
        let left = State { files, names, durable, next, now, ..State::default() };
        Self { state: Arc::new(Mutex::new(left)), fault: Fault::None, locks: Locks::Work }
    }

    /// Begins an operation, unless the machine has stopped or stops at this operation.
    fn begin(&self, changes: bool) -> io::Result<MutexGuard<'_, State>> {
        let mut state = lock(&self.state);
        state.operations += 1;
        state.now += Duration::from_millis(1);
        if self.fault == Fault::Crash(state.operations) {
            state.is_down = true;
        }
        match self.fault {
            _ if state.is_down => Err(io::Error::other("the machine has stopped")),
            Fault::Changes(kind, from) if changes && state.operations >= from => Err(kind.into()),
            Fault::Reads(kind) if !changes => Err(kind.into()),
            _ => Ok(state),
        }
    }
}

impl State {
    fn time(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + self.now
    }

    fn name(&mut self, path: &Path, node: Option<Node>) {
        match node {
            Some(node) => self.names.insert(path.to_owned(), node),
            None => self.names.remove(path),
        };
        self.unsynced.push((path.to_owned(), node));
    }

    fn file(&mut self, path: &Path) -> io::Result<(u64, &mut File)> {
        match self.names.get(path) {
            Some(Node::File(id)) => {
                let id = *id;
                Ok((id, self.files.get_mut(&id).ok_or(ErrorKind::NotFound)?))
            }
            Some(Node::Folder) => Err(ErrorKind::IsADirectory.into()),
            None => Err(ErrorKind::NotFound.into()),
        }
    }

    fn make(&mut self, path: &Path) -> io::Result<u64> {
        let parent = path.parent().and_then(|parent| self.names.get(parent));
        if parent != Some(&Node::Folder) {
            return Err(ErrorKind::NotFound.into());
        }
        self.next += 1;
        let id = self.next;
        let file = File { seen: Vec::new(), durable: Vec::new(), is_dirty: true, modified: self.time() };
        self.files.insert(id, file);
        self.name(path, Some(Node::File(id)));
        Ok(id)
    }

    fn listed(&self, path: &Path, node: Node) -> Listed {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let file = match node {
            Node::File(id) => self.files.get(&id),
            Node::Folder => None,
        };
        Listed {
            name,
            is_file: file.is_some(),
            bytes: file.map_or(0, |file| file.seen.len() as u64),
            modified: file.map_or(SystemTime::UNIX_EPOCH, |file| file.modified),
        }
    }
}

impl Storage for SimulatedDisk {
    fn read(&self, path: &Path, from: u64, most: u64) -> io::Result<(Vec<u8>, SystemTime)> {
        let mut state = self.begin(false)?;
        let (_, file) = state.file(path)?;
        let bytes = file.seen.get(from as usize..).unwrap_or_default();
        if bytes.len() as u64 > most {
            return Err(ErrorKind::FileTooLarge.into());
        }
        Ok((bytes.to_vec(), file.modified))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn StoredFile>> {
        let mut state = self.begin(true)?;
        if state.names.contains_key(path) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        let id = state.make(path)?;
        state.locked.insert(path.to_owned());
        let held = Some(Held { state: Arc::clone(&self.state), path: path.to_owned() });
        Ok(Box::new(OpenFile { disk: self.clone(), id, _held: held }))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn StoredFile>> {
        let mut state = self.begin(false)?;
        let (id, _) = state.file(path)?;
        Ok(Box::new(OpenFile { disk: self.clone(), id, _held: None }))
    }

    fn append(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.begin(true)?;
        if !state.names.contains_key(path) {
            state.make(path)?;
        }
        let time = state.time();
        let (_, file) = state.file(path)?;
        file.seen.extend_from_slice(bytes);
        (file.is_dirty, file.modified) = (true, time);
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.begin(true)?;
        let node = *state.names.get(from).ok_or(ErrorKind::NotFound)?;
        state.name(to, Some(node));
        state.name(from, None);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.begin(true)?;
        state.file(path)?;
        state.name(path, None);
        Ok(())
    }

    fn create_dir(&self, path: &Path) -> io::Result<bool> {
        let mut state = self.begin(true)?;
        match state.names.get(path) {
            Some(Node::Folder) => return Ok(false),
            Some(Node::File(_)) => return Err(ErrorKind::NotADirectory.into()),
            None => {}
        }
        state.name(path, Some(Node::Folder));
        Ok(true)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.begin(true)?;
        state.syncs += 1;
        if self.fault == Fault::Sync(state.syncs) {
            return Err(io::Error::other("the disk did not take it"));
        }
        let (here, others): (Vec<_>, Vec<_>) = std::mem::take(&mut state.unsynced)
            .into_iter()
            .partition(|(changed, _)| changed.parent() == Some(path));
        state.unsynced = others;
        for (changed, node) in here {
            match node {
                Some(node) => state.durable.insert(changed, node),
                None => state.durable.remove(&changed),
            };
        }
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Listed>> {
        let state = self.begin(false)?;
        if state.names.get(path) != Some(&Node::Folder) {
            return Err(ErrorKind::NotFound.into());
        }
        let here = state.names.iter().filter(|(found, _)| found.parent() == Some(path));
        Ok(here.map(|(found, node)| state.listed(found, *node)).collect())
    }

    fn info(&self, path: &Path) -> io::Result<Listed> {
        let state = self.begin(false)?;
        let node = *state.names.get(path).ok_or(ErrorKind::NotFound)?;
        Ok(state.listed(path, node))
    }

    fn touch(&self, path: &Path, time: SystemTime) -> io::Result<()> {
        let mut state = self.begin(true)?;
        state.file(path)?.1.modified = time;
        Ok(())
    }

    fn try_lock(&self, path: &Path, missing: Missing) -> io::Result<Option<Box<dyn Send>>> {
        match self.locks {
            Locks::Work => {}
            Locks::Taken => return Ok(None),
            Locks::Missing => return Err(ErrorKind::Unsupported.into()),
            Locks::Hang => {
                lock(&self.state).unanswered += 1;
                loop {
                    std::thread::park();
                }
            }
        }
        let mut state = self.begin(missing == Missing::Create)?;
        if !state.names.contains_key(path) {
            if missing == Missing::Refuse {
                return Err(ErrorKind::NotFound.into());
            }
            state.make(path)?;
        }
        if !state.locked.insert(path.to_owned()) {
            return Ok(None);
        }
        drop(state);
        Ok(Some(Box::new(Held { state: Arc::clone(&self.state), path: path.to_owned() })))
    }

    fn distrust(&self, _path: &Path) -> io::Result<Option<String>> {
        drop(self.begin(false)?);
        Ok(None)
    }

    fn now(&self) -> SystemTime {
        lock(&self.state).time()
    }
}

/// An open file.
struct OpenFile {
    disk: SimulatedDisk,
    id: u64,
    _held: Option<Held>,
}

impl StoredFile for OpenFile {
    fn write_at(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.disk.begin(true)?;
        let time = state.time();
        let file = state.files.get_mut(&self.id).ok_or(ErrorKind::NotFound)?;
        let (from, to) = (at as usize, at as usize + bytes.len());
        if file.seen.len() < to {
            file.seen.resize(to, 0);
        }
        file.seen[from..to].copy_from_slice(bytes);
        (file.is_dirty, file.modified) = (true, time);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.disk.begin(true)?;
        state.syncs += 1;
        let fails = self.disk.fault == Fault::Sync(state.syncs);
        let file = state.files.get_mut(&self.id).ok_or(ErrorKind::NotFound)?;
        let was_dirty = std::mem::take(&mut file.is_dirty);
        match (fails, was_dirty) {
            // The system discards the data to be written.
            (true, _) => return Err(io::Error::other("the disk did not take it")),
            (false, true) => file.durable.clone_from(&file.seen),
            (false, false) => {}
        }
        Ok(())
    }
}
