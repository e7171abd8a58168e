//! Crash marks: before a process passes something to a driver, it records this in a file that outlives it. If the
//! process ends before the driver returns, the next process finds the mark and treats the binary or program with
//! caution.
//!
//! Each process has one randomly named file, locked while the process lives, with a slot for each driver call in
//! progress. The lock, never a process id, tells whether the process is alive. Marks found are moved to a log with the
//! history of each digest.
//!
//! A mark left behind shows that a process ended, not why: a driver crash and a signal from outside look the same.
//! Therefore a single death proves nothing, suspected programs are compiled exclusively, a ban takes several deaths in
//! a row and expires, and a process that expects its end clears its marks with [`forget_marks`].

mod ban;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, TryLockError, Weak,
};
use std::time::{Duration, Instant, UNIX_EPOCH};

use fulgurite_storage::{Digest, Locked, Missing, Storage, StoredFile, lock_within, replace, unique_name};

pub use self::ban::Ban;
use self::ban::History;
use crate::entry::TEMPORARY;
use crate::index::next_magic;

/// Size of a slot, and of a record of the log, in bytes.
const SLOT_BYTES: usize = 64;
/// Maximum number of slots in a mark file.
const MAX_SLOTS: u64 = 4096;
/// Only this many bytes at the end of a log are read.
const MAX_LOG_BYTES: u64 = 4 << 20;
/// Size above which a log is compacted when it is read.
const COMPACT_BYTES: u64 = 1 << 20;
/// Maximum time that [`forget_marks`] waits for a thread that is writing a mark.
const FORGET: Duration = Duration::from_millis(200);

const SLOT_MAGIC: [u8; 4] = *b"FGMK";
const RECORD_MAGIC: [u8; 4] = *b"FGCR";

/// Set when this process is ending and must set no more marks.
static ENDING: AtomicBool = AtomicBool::new(false);
/// The mark files of this process.
static LIVE: Mutex<Vec<Weak<Mutex<Own>>>> = Mutex::new(Vec::new());
/// Held shared while compiling, and exclusively while compiling a suspected program.
static TURN: RwLock<()> = RwLock::new(());

/// The driver call that a mark guards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Danger {
    /// Loading a binary.
    Load = 1,
    /// Compiling.
    Compile = 2,
}

/// Decision on a binary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LoadDecision {
    /// Use it.
    Use,
    /// Skip it in this process.
    Skip,
    /// Never use it.
    Condemned,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    Death = 1,
    Skip = 2,
    Survive = 3,
    Condemn = 4,
    Lift = 5,
}

/// The marks of one process below one root.
pub(crate) struct Marks {
    storage: Arc<dyn Storage>,
    root: PathBuf,
    own: Arc<Mutex<Own>>,
    #[cfg(test)]
    frozen: Mutex<Option<(PathBuf, Box<dyn StoredFile>)>>,
    known: Mutex<HashMap<(Danger, Digest), History>>,
}

#[derive(Default)]
struct Own {
    /// The process that opened the file. After a fork, the file still belongs to the parent.
    process: u32,
    /// Created with the first mark.
    file: Option<(PathBuf, Box<dyn StoredFile>)>,
    /// Slots in use.
    slots: Vec<bool>,
    /// Set if marks cannot be written.
    is_broken: bool,
}

/// A mark that is cleared on drop.
pub(crate) struct Mark<'m> {
    marks: &'m Marks,
    slot: Option<usize>,
    what: (Danger, Digest),
    turn: Option<Turn>,
}

/// The right to compile, shared or exclusive.
#[expect(dead_code, reason = "guards are held, not read")]
enum Turn {
    Shared(RwLockReadGuard<'static, ()>),
    Alone(RwLockWriteGuard<'static, ()>),
}

/// Clears all marks of this process and prevents new ones. Intended for a process that is about to end while drivers
/// may be compiling, so that the next process does not suspect their programs.
///
/// Call this when handling an interrupt, on an ordinary thread, or before `exit`. It takes locks, so never call it in a
/// signal handler. It waits at most 200 ms for each cache, and gives up at the first whose marks stay locked.
pub fn forget_marks() {
    ENDING.store(true, SeqCst);
    let live: Vec<_> = whole(&LIVE).iter().filter_map(Weak::upgrade).collect();
    for own in live {
        let until = Instant::now() + FORGET;
        let mut own = loop {
            match own.try_lock() {
                Ok(own) => break own,
                Err(TryLockError::Poisoned(own)) => break own.into_inner(),
                // The holder may be blocked on an unresponsive file system.
                Err(TryLockError::WouldBlock) if Instant::now() >= until => return,
                Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(1)),
            }
        };
        if own.process != std::process::id() {
            continue;
        }
        let used = own.slots.iter().rposition(|used| *used).map_or(0, |last| last + 1);
        if let Some((_, file)) = own.file.as_mut().filter(|_| used > 0) {
            let _ = file.write_at(0, &vec![0; used * SLOT_BYTES]);
        }
    }
}

impl Marks {
    /// Opens the marks below `root` and collects those left by dead processes.
    pub(crate) fn open(storage: Arc<dyn Storage>, root: &Path) -> Self {
        let own = Arc::new(Mutex::new(Own { process: std::process::id(), ..Own::default() }));
        let mut live = whole(&LIVE);
        live.retain(|own| own.strong_count() > 0);
        live.push(Arc::downgrade(&own));
        drop(live);
        let marks = Self {
            storage,
            root: root.to_owned(),
            own,
            #[cfg(test)]
            frozen: Mutex::default(),
            known: Mutex::default(),
        };
        marks.read_log();
        marks.collect();
        marks
    }

    fn folder(&self) -> PathBuf {
        self.root.join("marks")
    }

    /// Returns the seconds since the Unix epoch.
    fn now(&self) -> u64 {
        self.storage.now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
    }

    fn read_log(&self) {
        let path = log_path(&self.root);
        let Ok(length) = self.storage.info(&path).map(|info| info.bytes) else { return };
        let from = length.saturating_sub(MAX_LOG_BYTES);
        // Allow for records appended meanwhile.
        let Ok((bytes, _)) = self.storage.read(&path, from, 2 * MAX_LOG_BYTES) else { return };
        let mut known = whole(&self.known);
        let mut rest = &bytes[..];
        while rest.len() >= SLOT_BYTES {
            let length = match decode_record(rest) {
                Some((event, what, time)) => {
                    known.entry(what).or_default().note(event, time);
                    SLOT_BYTES
                }
                // Torn record: resume at the next magic.
                None => next_magic(rest, RECORD_MAGIC),
            };
            rest = &rest[length..];
        }
        if length > COMPACT_BYTES {
            self.compact(&known);
        }
    }

    /// Rewrites the log. Records that others append meanwhile are lost, so one more death is needed.
    fn compact(&self, known: &HashMap<(Danger, Digest), History>) {
        let now = self.now();
        let records = known
            .iter()
            .flat_map(|(what, history)| history.events(now).map(|(event, time)| (event, *what, time)));
        let bytes: Vec<u8> =
            records.flat_map(|(event, what, time)| encode_record(event, what, time)).collect();
        let temporary = unique_name(&self.root, TEMPORARY, "");
        // If this fails, the log stays long.
        let _ = replace(&*self.storage, &temporary, &log_path(&self.root), &bytes);
    }

    /// Collects the marks of dead processes.
    fn collect(&self) {
        let Ok(files) = self.storage.list(&self.folder()) else { return };
        let boot = self.storage.boot().unwrap_or_default();
        // Processes that end together, such as those of one terminal, count as one death.
        let mut found = HashSet::new();
        for file in files.iter().filter(|file| file.name.ends_with(".mark")) {
            let path = self.folder().join(&file.name);
            // Live processes hold their lock.
            let held = match lock_within(&self.storage, &path, Duration::ZERO, Missing::Refuse) {
                Locked::Held(held) => held,
                Locked::Late | Locked::Unusable(_) => continue,
                // Further requests would not be answered either.
                Locked::Unanswered => break,
            };
            let read = self.storage.read(&path, 0, MAX_SLOTS * SLOT_BYTES as u64);
            // Remove the file before drawing conclusions; a mark found twice would count as two deaths.
            let is_gone = self.storage.remove(&path).is_ok();
            if let (Ok((bytes, _)), true) = (read, is_gone) {
                let slots = bytes.chunks_exact(SLOT_BYTES).filter_map(decode_slot);
                // A reboot ends all processes, so older marks prove nothing.
                found.extend(slots.filter(|(_, when)| *when == boot).map(|(what, _)| what));
            }
            drop(held);
        }
        for what in found {
            self.note(Event::Death, what);
        }
    }

    fn note(&self, event: Event, what: (Danger, Digest)) {
        let now = self.now();
        whole(&self.known).entry(what).or_default().note(event, now);
        // If this fails, as on a read-only disk, the next process does not learn of the event.
        let _ = self.storage.append(&log_path(&self.root), &encode_record(event, what, now));
    }

    fn history(&self, what: (Danger, Digest)) -> History {
        whole(&self.known).get(&what).cloned().unwrap_or_default()
    }

    /// Decides on a binary with this payload. After the first death, one process skips it for its lifetime; a second
    /// death condemns it.
    pub(crate) fn judge(&self, payload: Digest) -> LoadDecision {
        let what = (Danger::Load, payload);
        let (history, now) = (self.history(what), self.now());
        if history.is_condemned(now) {
            return LoadDecision::Condemned;
        }
        match history.recent(now) {
            0 => LoadDecision::Use,
            ban::LOADS.. => {
                self.note(Event::Condemn, what);
                LoadDecision::Condemned
            }
            _ if history.is_skipped_here => LoadDecision::Skip,
            _ if history.was_skipped => LoadDecision::Use,
            _ => {
                self.note(Event::Skip, what);
                whole(&self.known).entry(what).or_default().is_skipped_here = true;
                LoadDecision::Skip
            }
        }
    }

    /// Returns whether binaries with this payload are condemned.
    pub(crate) fn is_condemned(&self, payload: Digest) -> bool {
        self.history((Danger::Load, payload)).is_condemned(self.now())
    }

    /// Returns the active ban of `program`, if enough processes ended while compiling it.
    pub(crate) fn ban(&self, program: Digest) -> Option<Ban> {
        let (history, now) = (self.history((Danger::Compile, program)), self.now());
        Some(self.describe(program, &history, history.banned_until(now)?, now))
    }

    /// Returns all active bans.
    pub(crate) fn bans(&self) -> Vec<Ban> {
        let now = self.now();
        let known = whole(&self.known);
        let compiles = known.iter().filter(|((danger, _), _)| *danger == Danger::Compile);
        compiles
            .filter_map(|((_, program), history)| {
                Some(self.describe(*program, history, history.banned_until(now)?, now))
            })
            .collect()
    }

    fn describe(&self, program: Digest, history: &History, until: u64, now: u64) -> Ban {
        Ban {
            program,
            deaths: history.recent(now),
            left: Duration::from_secs(until.saturating_sub(now)),
            root: self.root.clone(),
            file: log_path(&self.root),
        }
    }

    /// Clears the history of `digest`, as a binary and as a program. Returns whether there was any.
    pub(crate) fn lift(&self, digest: Digest) -> bool {
        let whats = [(Danger::Load, digest), (Danger::Compile, digest)];
        let known = whats.into_iter().filter(|what| self.history(*what).is_of_note()).collect::<Vec<_>>();
        known.iter().for_each(|what| self.note(Event::Lift, *what));
        !known.is_empty()
    }

    /// Returns the number of suspected binaries and programs: processes ended during them recently, and no driver has
    /// survived them since.
    pub(crate) fn suspects(&self) -> (usize, usize) {
        let now = self.now();
        let known = whole(&self.known);
        let count =
            |danger| known.iter().filter(|((d, _), history)| *d == danger && history.recent(now) > 0).count();
        (count(Danger::Load), count(Danger::Compile))
    }

    /// Sets a mark. A suspected program is compiled exclusively, so that no other is suspected if it ends this process,
    /// too.
    pub(crate) fn set(&self, danger: Danger, digest: Digest) -> Mark<'_> {
        let what = (danger, digest);
        let turn = (danger == Danger::Compile).then(|| match self.history(what).recent(self.now()) {
            0 => Turn::Shared(TURN.read().unwrap_or_else(PoisonError::into_inner)),
            _ => Turn::Alone(TURN.write().unwrap_or_else(PoisonError::into_inner)),
        });
        let slot = self.take_slot(&encode_slot(what, self.storage.boot().unwrap_or_default()));
        Mark { marks: self, slot, what, turn }
    }

    /// Keeps the marks as they are, as if the process ended here.
    #[cfg(test)]
    pub(crate) fn freeze(&self) {
        let file = whole(&self.own).file.take();
        // Stays locked until the process counts as dead.
        *whole(&self.frozen) = file;
        whole(&self.own).is_broken = true;
    }

    /// Closes the files, as if the process were dead.
    #[cfg(test)]
    pub(crate) fn abandon(&self) {
        whole(&self.frozen).take();
    }

    fn take_slot(&self, bytes: &[u8; SLOT_BYTES]) -> Option<usize> {
        let mut own = whole(&self.own);
        if own.is_broken || ENDING.load(SeqCst) {
            return None;
        }
        if own.file.is_none() {
            let path = unique_name(&self.folder(), "", ".mark");
            let made = self.storage.create_dir(&self.folder()).and_then(|_| self.storage.create(&path));
            own.is_broken = made.is_err();
            own.file = made.ok().map(|file| (path, file));
        }
        let free = own.slots.iter().position(|used| !used).unwrap_or(own.slots.len());
        if free as u64 >= MAX_SLOTS {
            return None;
        }
        // Not synced: the mark must outlive the process, not the system.
        own.file.as_mut()?.1.write_at((free * SLOT_BYTES) as u64, bytes).ok()?;
        match own.slots.get_mut(free) {
            Some(used) => *used = true,
            None => own.slots.push(true),
        }
        Some(free)
    }
}

impl Drop for Mark<'_> {
    fn drop(&mut self) {
        #[cfg(test)]
        if whole(&self.marks.frozen).is_some() {
            return;
        }
        if let Some(slot) = self.slot {
            let mut own = whole(&self.marks.own);
            if let Some((_, file)) = own.file.as_mut() {
                let _ = file.write_at((slot * SLOT_BYTES) as u64, &[0; SLOT_BYTES]);
            }
            own.slots[slot] = false;
        }
        // Let waiting threads continue.
        drop(self.turn.take());
        if self.marks.history(self.what).has_deaths() {
            self.marks.note(Event::Survive, self.what);
        }
    }
}

impl Drop for Marks {
    fn drop(&mut self) {
        if let Some((path, file)) = whole(&self.own).file.take() {
            drop(file);
            let _ = self.storage.remove(&path);
        }
    }
}

/// Returns the path of the crash log.
pub(crate) fn log_path(root: &Path) -> PathBuf {
    root.join("crashes.log")
}

/// Locks a mutex whose state is consistent between statements, so poisoning is harmless.
fn whole<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Encodes a slot or a record: magic, danger, a byte specific to records, digest and number.
fn encode(magic: [u8; 4], own: u8, (danger, digest): (Danger, Digest), number: u64) -> [u8; SLOT_BYTES] {
    let mut bytes = [0; SLOT_BYTES];
    bytes[..4].copy_from_slice(&magic);
    bytes[4] = danger as u8;
    bytes[5] = own;
    bytes[8..40].copy_from_slice(digest.as_bytes());
    bytes[40..48].copy_from_slice(&number.to_le_bytes());
    let seal = Digest::of(&bytes[..56]);
    bytes[56..].copy_from_slice(&seal.as_bytes()[..8]);
    bytes
}

fn decode(magic: [u8; 4], bytes: &[u8]) -> Option<(u8, (Danger, Digest), u64)> {
    let is_whole = bytes.starts_with(&magic) && bytes[56..64] == Digest::of(&bytes[..56]).as_bytes()[..8];
    if !is_whole {
        return None;
    }
    let danger = match bytes[4] {
        1 => Danger::Load,
        2 => Danger::Compile,
        _ => return None,
    };
    let digest = Digest::from_bytes(bytes[8..40].try_into().ok()?);
    Some((bytes[5], (danger, digest), u64::from_le_bytes(bytes[40..48].try_into().ok()?)))
}

/// Encodes a slot with the current boot id.
fn encode_slot(what: (Danger, Digest), boot: u64) -> [u8; SLOT_BYTES] {
    encode(SLOT_MAGIC, 0, what, boot)
}

fn decode_slot(bytes: &[u8]) -> Option<((Danger, Digest), u64)> {
    decode(SLOT_MAGIC, bytes).map(|(_, what, boot)| (what, boot))
}

/// Encodes a record with its time in seconds since the Unix epoch.
fn encode_record(event: Event, what: (Danger, Digest), time: u64) -> [u8; SLOT_BYTES] {
    encode(RECORD_MAGIC, event as u8, what, time)
}

fn decode_record(bytes: &[u8]) -> Option<(Event, (Danger, Digest), u64)> {
    let (event, what, time) = decode(RECORD_MAGIC, bytes)?;
    let event = match event {
        1 => Event::Death,
        2 => Event::Skip,
        3 => Event::Survive,
        4 => Event::Condemn,
        5 => Event::Lift,
        _ => return None,
    };
    Some((event, what, time))
}

#[cfg(test)]
mod tests;
