//! Crash marks: what this process is about to hand to a driver is noted in a file that outlives it. If the process ends
//! before the driver returns, the next one finds the mark and knows what to be careful with.
//!
//! A process has one file with a random name, locked while it lives, and a slot of it for each thing that a driver has at
//! the moment. Whether it lives is told by the lock, never by a process id. What is found is moved to a log, which holds
//! the history of each digest that was ever found.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fulgurite_storage::{Digest, Locked, Missing, Storage, StoredFile, lock_within, unique_name};

use crate::disk::TEMPORARY;
use crate::index::next_magic;

/// Bytes of a slot.
const SLOT_BYTES: usize = 64;
/// Bytes of a record of the log.
const RECORD_BYTES: usize = 48;
/// A mark file has no more slots than this.
const MAX_SLOTS: u64 = 4096;
/// More of a log than its last so many bytes is not read.
const MAX_LOG_BYTES: u64 = 4 << 20;
/// From this size on a log is written anew when it is read.
const COMPACT_BYTES: u64 = 1 << 20;
/// So many crashes are not an accident.
const TOO_MANY: u32 = 2;

const SLOT_MAGIC: [u8; 4] = *b"FGMK";
const RECORD_MAGIC: [u8; 4] = *b"FGCR";

/// What a driver does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Danger {
    /// It is given a binary of its own.
    Load = 1,
    /// It compiles.
    Compile = 2,
}

/// What to do with a binary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Use it.
    Use,
    /// Leave it out this time.
    Skip,
    /// Never use it.
    Condemned,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    Crash = 1,
    Skip = 2,
    Survive = 3,
    Condemn = 4,
}

/// What happened with one digest since a driver last survived it.
#[derive(Clone, Copy, Debug, Default)]
struct History {
    crashes: u32,
    was_skipped: bool,
    /// By this process, which leaves it out as long as it lasts.
    is_skipped_here: bool,
    is_condemned: bool,
}

impl History {
    fn note(&mut self, event: Event) {
        match event {
            Event::Crash => {
                self.crashes += 1;
                self.was_skipped = false;
            }
            Event::Skip => self.was_skipped = true,
            Event::Survive => *self = Self { is_condemned: self.is_condemned, ..Self::default() },
            Event::Condemn => self.is_condemned = true,
        }
    }

    /// Events that come to the same.
    fn events(&self) -> impl Iterator<Item = Event> {
        let crashes = std::iter::repeat_n(Event::Crash, self.crashes.min(TOO_MANY) as usize);
        let skip = self.was_skipped.then_some(Event::Skip);
        crashes.chain(skip).chain(self.is_condemned.then_some(Event::Condemn))
    }
}

/// The marks of one process below one root.
pub(crate) struct Marks {
    storage: Arc<dyn Storage>,
    root: PathBuf,
    own: Mutex<Own>,
    #[cfg(test)]
    frozen: Mutex<Option<(PathBuf, Box<dyn StoredFile>)>>,
    known: Mutex<HashMap<(Danger, Digest), History>>,
}

#[derive(Default)]
struct Own {
    /// Made with the first mark.
    file: Option<(PathBuf, Box<dyn StoredFile>)>,
    /// Which slots are in use.
    slots: Vec<bool>,
    /// Marks cannot be written here.
    is_broken: bool,
}

/// A mark that is set until this is dropped.
pub(crate) struct Mark<'m> {
    marks: &'m Marks,
    slot: Option<usize>,
    what: (Danger, Digest),
}

impl Marks {
    /// Collects what dead processes left below `root`.
    pub(crate) fn open(storage: Arc<dyn Storage>, root: &Path) -> Self {
        let marks = Self {
            storage,
            root: root.to_owned(),
            own: Mutex::default(),
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

    fn read_log(&self) {
        let path = log_path(&self.root);
        let Ok(length) = self.storage.info(&path).map(|info| info.bytes) else { return };
        let from = length.saturating_sub(MAX_LOG_BYTES);
        // A little more, for what others add meanwhile.
        let Ok((bytes, _)) = self.storage.read(&path, from, 2 * MAX_LOG_BYTES) else { return };
        let mut known = whole(&self.known);
        let mut rest = &bytes[..];
        while rest.len() >= RECORD_BYTES {
            let length = match decode_record(rest) {
                Some((event, what)) => {
                    known.entry(what).or_default().note(event);
                    RECORD_BYTES
                }
                // Torn: the next record begins at the next magic.
                None => next_magic(rest, RECORD_MAGIC),
            };
            rest = &rest[length..];
        }
        if length > COMPACT_BYTES {
            self.compact(&known);
        }
    }

    /// Writes the log anew. What others add meanwhile is lost: it takes one more crash to learn it.
    fn compact(&self, known: &HashMap<(Danger, Digest), History>) {
        let records = known.iter().flat_map(|(what, history)| history.events().map(|event| (event, *what)));
        let bytes: Vec<u8> = records.flat_map(|(event, what)| encode_record(event, what)).collect();
        let temporary = unique_name(&self.root, TEMPORARY, "");
        let written = self
            .storage
            .create(&temporary)
            .and_then(|mut file| file.write_at(0, &bytes))
            .and_then(|()| self.storage.rename(&temporary, &log_path(&self.root)));
        if written.is_err() {
            let _ = self.storage.remove(&temporary);
        }
    }

    /// Looks at the marks of processes that are no more.
    fn collect(&self) {
        let Ok(files) = self.storage.list(&self.folder()) else { return };
        for file in files.iter().filter(|file| file.name.ends_with(".mark")) {
            let path = self.folder().join(&file.name);
            // Whoever lives holds it.
            let held = match lock_within(&self.storage, &path, Duration::ZERO, Missing::Refuse) {
                Locked::Held(held) => held,
                Locked::Late | Locked::Unusable(_) => continue,
                // Nor would the next one.
                Locked::Unanswered => return,
            };
            let read = self.storage.read(&path, 0, MAX_SLOTS * SLOT_BYTES as u64);
            // Gone before anything is concluded from it: what is found twice would count as two crashes.
            let is_gone = self.storage.remove(&path).is_ok();
            if let (Ok((bytes, _)), true) = (read, is_gone) {
                for what in bytes.chunks_exact(SLOT_BYTES).filter_map(decode_slot) {
                    self.note(Event::Crash, what);
                }
            }
            drop(held);
        }
    }

    fn note(&self, event: Event, what: (Danger, Digest)) {
        whole(&self.known).entry(what).or_default().note(event);
        // Without it the next process learns nothing, as on a disk that cannot be written.
        let _ = self.storage.append(&log_path(&self.root), &encode_record(event, what));
    }

    fn history(&self, what: (Danger, Digest)) -> History {
        whole(&self.known).get(&what).copied().unwrap_or_default()
    }

    /// What to do with a binary of these bytes. After the first crash one process leaves it out, as long as it lasts; a
    /// second crash condemns it.
    pub(crate) fn judge(&self, payload: Digest) -> Verdict {
        let what = (Danger::Load, payload);
        let history = self.history(what);
        if history.is_condemned {
            return Verdict::Condemned;
        }
        match history.crashes {
            0 => Verdict::Use,
            TOO_MANY.. => {
                self.note(Event::Condemn, what);
                Verdict::Condemned
            }
            _ if history.is_skipped_here => Verdict::Skip,
            _ if history.was_skipped => Verdict::Use,
            _ => {
                self.note(Event::Skip, what);
                whole(&self.known).entry(what).or_default().is_skipped_here = true;
                Verdict::Skip
            }
        }
    }

    /// Whether a binary of these bytes is never to be used.
    pub(crate) fn is_condemned(&self, payload: Digest) -> bool {
        self.history((Danger::Load, payload)).is_condemned
    }

    /// How often compiling this took its process with it, if that is too often.
    pub(crate) fn too_many_crashes(&self, artifact: Digest) -> Option<u32> {
        let crashes = self.history((Danger::Compile, artifact)).crashes;
        (crashes >= TOO_MANY).then_some(crashes)
    }

    /// Crashes that are known and not yet survived: of binaries, and of compiles.
    pub(crate) fn suspects(&self) -> (usize, usize) {
        let known = whole(&self.known);
        let count =
            |danger| known.iter().filter(|((d, _), history)| *d == danger && history.crashes > 0).count();
        (count(Danger::Load), count(Danger::Compile))
    }

    /// Sets a mark.
    pub(crate) fn set(&self, danger: Danger, digest: Digest) -> Mark<'_> {
        let what = (danger, digest);
        Mark { marks: self, slot: self.take_slot(&encode_slot(what)), what }
    }

    /// Marks that are set stay as they are, whatever happens next: as if the process ended here.
    #[cfg(test)]
    pub(crate) fn freeze(&self) {
        let file = whole(&self.own).file.take();
        // Locked until the process is as good as gone.
        *whole(&self.frozen) = file;
        whole(&self.own).is_broken = true;
    }

    /// The process is gone: its files are closed.
    #[cfg(test)]
    pub(crate) fn abandon(&self) {
        whole(&self.frozen).take();
    }

    fn take_slot(&self, bytes: &[u8; SLOT_BYTES]) -> Option<usize> {
        let mut own = whole(&self.own);
        if own.is_broken {
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
        // Not synced: it is to outlive the process, not the machine.
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
        if self.marks.history(self.what).crashes > 0 {
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

/// The log of what crashed a driver.
pub(crate) fn log_path(root: &Path) -> PathBuf {
    root.join("crashes.log")
}

/// Locks; whole between any two statements.
fn whole<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn encode_slot((danger, digest): (Danger, Digest)) -> [u8; SLOT_BYTES] {
    let mut bytes = [0; SLOT_BYTES];
    bytes[..4].copy_from_slice(&SLOT_MAGIC);
    bytes[4] = danger as u8;
    bytes[8..40].copy_from_slice(digest.as_bytes());
    let seal = Digest::of(&bytes[..56]);
    bytes[56..].copy_from_slice(&seal.as_bytes()[..8]);
    bytes
}

fn decode_slot(bytes: &[u8]) -> Option<(Danger, Digest)> {
    let whole = bytes.starts_with(&SLOT_MAGIC) && bytes[56..64] == Digest::of(&bytes[..56]).as_bytes()[..8];
    whole.then(|| what(bytes[4], &bytes[8..40]))?
}

fn encode_record(event: Event, (danger, digest): (Danger, Digest)) -> [u8; RECORD_BYTES] {
    let mut bytes = [0; RECORD_BYTES];
    bytes[..4].copy_from_slice(&RECORD_MAGIC);
    bytes[4] = danger as u8;
    bytes[5] = event as u8;
    bytes[8..40].copy_from_slice(digest.as_bytes());
    let seal = Digest::of(&bytes[..40]);
    bytes[40..].copy_from_slice(&seal.as_bytes()[..8]);
    bytes
}

fn decode_record(bytes: &[u8]) -> Option<(Event, (Danger, Digest))> {
    let whole = bytes.starts_with(&RECORD_MAGIC) && bytes[40..48] == Digest::of(&bytes[..40]).as_bytes()[..8];
    let event = match bytes[5] {
        1 => Event::Crash,
        2 => Event::Skip,
        3 => Event::Survive,
        4 => Event::Condemn,
        _ => return None,
    };
    Some((event, whole.then(|| what(bytes[4], &bytes[8..40]))??))
}

fn what(danger: u8, digest: &[u8]) -> Option<(Danger, Digest)> {
    let danger = match danger {
        1 => Danger::Load,
        2 => Danger::Compile,
        _ => return None,
    };
    Some((danger, Digest::from_bytes(digest.try_into().ok()?)))
}

#[cfg(test)]
mod tests {
    use fulgurite_storage::{FileSystem, Meddled};

    use super::*;

    fn open(root: &Path) -> Marks {
        Marks::open(Arc::new(FileSystem), root)
    }

    /// A process that ends while `what` is marked: its file stays, and its lock goes.
    fn die_with(root: &Path, danger: Danger, digest: Digest) {
        let marks = open(root);
        let mark = marks.set(danger, digest);
        assert!(mark.slot.is_some());
        std::mem::forget(mark);
        whole(&marks.own).file.take();
    }

    #[test]
    fn the_first_crash_skips_once_and_the_second_condemns() {
        let folder = tempfile::tempdir().unwrap();
        let (root, blob, other) = (folder.path(), Digest::of(b"blob"), Digest::of(b"other"));
        assert_eq!(open(root).judge(blob), Verdict::Use);
        die_with(root, Danger::Load, blob);
        let second = open(root);
        assert_eq!((second.judge(blob), second.judge(other)), (Verdict::Skip, Verdict::Use));
        assert_eq!(second.suspects(), (1, 0));
        drop(second);
        assert_eq!(open(root).judge(blob), Verdict::Use, "it was left out once");
        die_with(root, Danger::Load, blob);
        assert_eq!(open(root).judge(blob), Verdict::Condemned);
        assert_eq!(open(root).judge(blob), Verdict::Condemned, "for ever");
        assert!(open(root).is_condemned(blob));
    }

    #[test]
    fn what_is_survived_is_forgiven() {
        let folder = tempfile::tempdir().unwrap();
        let (root, blob) = (folder.path(), Digest::of(b"blob"));
        die_with(root, Danger::Load, blob);
        assert_eq!(open(root).judge(blob), Verdict::Skip);
        drop(open(root).set(Danger::Load, blob));
        die_with(root, Danger::Load, blob);
        assert_eq!(open(root).judge(blob), Verdict::Skip, "the first crash again");
        die_with(root, Danger::Compile, blob);
        assert_eq!(open(root).too_many_crashes(blob), None);
        die_with(root, Danger::Compile, blob);
        assert_eq!(open(root).too_many_crashes(blob), Some(2));
        drop(open(root).set(Danger::Compile, blob));
        assert_eq!(open(root).too_many_crashes(blob), None);
    }

    #[test]
    fn the_living_are_left_alone_and_leave_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (root, blob) = (folder.path(), Digest::of(b"blob"));
        let living = open(root);
        let marks = [living.set(Danger::Load, blob), living.set(Danger::Compile, blob)];
        assert_eq!(marks.each_ref().map(|mark| mark.slot), [Some(0), Some(1)]);
        assert_eq!(open(root).judge(blob), Verdict::Use);
        drop(marks);
        assert_eq!(living.set(Danger::Load, blob).slot, Some(0), "slots are used again");
        drop(living);
        assert_eq!(std::fs::read_dir(root.join("marks")).unwrap().count(), 0);
        assert!(!root.join("crashes.log").exists());
    }

    #[test]
    fn damaged_marks_and_logs_say_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (root, blob) = (folder.path(), Digest::of(b"blob"));
        die_with(root, Danger::Load, blob);
        let file = std::fs::read_dir(root.join("marks")).unwrap().next().unwrap().unwrap().path();
        let good = std::fs::read(&file).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 2;
            std::fs::write(&file, bad).unwrap();
            assert_eq!(open(root).suspects(), (0, 0), "byte {at}");
        }
        die_with(root, Danger::Load, blob);
        assert_eq!(open(root).suspects(), (1, 0));
        let log = root.join("crashes.log");
        let good = std::fs::read(&log).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 8;
            std::fs::write(&log, bad).unwrap();
            assert_eq!(open(root).suspects(), (0, 0), "byte {at}");
        }
    }

    #[test]
    fn what_a_torn_record_is_followed_by_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let (root, blob) = (folder.path(), Digest::of(b"blob"));
        for length in 1..RECORD_BYTES {
            let torn = &encode_record(Event::Crash, (Danger::Load, Digest::of(b"other")))[..length];
            std::fs::write(log_path(root), torn).unwrap();
            die_with(root, Danger::Load, blob);
            drop(open(root));
            assert_eq!(open(root).suspects(), (1, 0), "torn after {length}");
        }
    }

    #[test]
    fn one_death_counts_once_even_where_its_mark_stays() {
        let folder = tempfile::tempdir().unwrap();
        let (root, blob) = (folder.path(), Digest::of(b"blob"));
        die_with(root, Danger::Compile, blob);
        let sticky = Meddled::new(|what, _| match what {
            "remove" => Err(std::io::ErrorKind::PermissionDenied.into()),
            _ => Ok(()),
        });
        for _ in 0..3 {
            assert_eq!(Marks::open(Arc::new(sticky.clone()), root).too_many_crashes(blob), None);
        }
        assert_eq!(open(root).suspects(), (0, 1));
    }

    #[test]
    fn a_long_log_is_written_anew_and_says_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let (root, blob, program) = (folder.path(), Digest::of(b"blob"), Digest::of(b"program"));
        let condemned = Digest::of(b"condemned");
        let mut log = Vec::new();
        // More than is ever read at once, of what was survived.
        while (log.len() as u64) < MAX_LOG_BYTES {
            for event in [Event::Crash, Event::Survive] {
                log.extend_from_slice(&encode_record(event, (Danger::Load, Digest::of(b"survived"))));
            }
        }
        for (event, what) in [
            (Event::Crash, (Danger::Load, blob)),
            (Event::Crash, (Danger::Compile, program)),
            (Event::Crash, (Danger::Compile, program)),
            (Event::Condemn, (Danger::Load, condemned)),
        ] {
            log.extend_from_slice(&encode_record(event, what));
        }
        std::fs::write(log_path(root), &log).unwrap();
        for _ in 0..2 {
            let marks = open(root);
            assert_eq!(marks.suspects(), (1, 1));
            assert_eq!((marks.too_many_crashes(program), marks.is_condemned(condemned)), (Some(2), true));
            let length = std::fs::metadata(log_path(root)).unwrap().len();
            assert_eq!(length, 4 * RECORD_BYTES as u64);
        }
        assert_eq!(open(root).judge(blob), Verdict::Skip);
        assert_eq!(open(root).judge(blob), Verdict::Use);
    }
}
