//! Marks of processes that end in tests.

use fulgurite_storage::{FaultInjectingStorage, FileSystem};

use super::*;

/// Seconds since 1970 of records whose time is of no meaning.
const NOW: u64 = 1_800_000_000;

fn open(root: &Path) -> Marks {
    Marks::open(FileSystem::shared(), root)
}

/// Leaves a mark set.
fn leave(mut mark: Mark<'_>) {
    assert!(mark.slot.is_some());
    // This process lives on, and compiles.
    drop(mark.turn.take());
    std::mem::forget(mark);
}

/// A process that ends while `what` is marked: its file stays, and its lock goes.
fn die_with(root: &Path, danger: Danger, digest: Digest) {
    let marks = open(root);
    leave(marks.set(danger, digest));
    whole(&marks.own).file.take();
}

#[test]
fn the_first_death_skips_once_and_the_second_condemns() {
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
    assert_eq!(open(root).judge(blob), Verdict::Condemned, "until that is long ago");
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
    assert_eq!(open(root).judge(blob), Verdict::Skip, "the first death again");
    die_with(root, Danger::Compile, blob);
    die_with(root, Danger::Compile, blob);
    assert_eq!(open(root).ban(blob), None);
    die_with(root, Danger::Compile, blob);
    assert_eq!(open(root).ban(blob).map(|ban| ban.deaths), Some(3));
    drop(open(root).set(Danger::Compile, blob));
    assert_eq!(open(root).ban(blob), None);
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
    for length in 1..SLOT_BYTES {
        let torn = &encode_record(Event::Death, (Danger::Load, Digest::of(b"other")), NOW)[..length];
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
    let sticky = FaultInjectingStorage::new(|what, _| match what {
        "remove" => Err(std::io::ErrorKind::PermissionDenied.into()),
        _ => Ok(()),
    });
    for _ in 0..4 {
        assert_eq!(Marks::open(Arc::new(sticky.clone()), root).ban(blob), None);
    }
    assert_eq!(open(root).suspects(), (0, 1));
}

#[test]
fn a_long_log_is_written_anew_and_says_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let (root, blob, program) = (folder.path(), Digest::of(b"blob"), Digest::of(b"program"));
    let condemned = Digest::of(b"condemned");
    let now = open(root).now();
    let mut log = Vec::new();
    // More than is ever read at once, of what was survived.
    while (log.len() as u64) < MAX_LOG_BYTES {
        for event in [Event::Death, Event::Survive] {
            log.extend_from_slice(&encode_record(event, (Danger::Load, Digest::of(b"survived")), now));
        }
    }
    for (event, what) in [
        (Event::Death, (Danger::Load, blob)),
        (Event::Death, (Danger::Compile, program)),
        (Event::Death, (Danger::Compile, program)),
        (Event::Death, (Danger::Compile, program)),
        (Event::Condemn, (Danger::Load, condemned)),
    ] {
        log.extend_from_slice(&encode_record(event, what, now));
    }
    std::fs::write(log_path(root), &log).unwrap();
    for _ in 0..2 {
        let marks = open(root);
        assert_eq!(marks.suspects(), (1, 1));
        let deaths = marks.ban(program).map(|ban| ban.deaths);
        assert_eq!((deaths, marks.is_condemned(condemned)), (Some(3), true));
        let length = std::fs::metadata(log_path(root)).unwrap().len();
        assert_eq!(length, 5 * SLOT_BYTES as u64);
    }
    assert_eq!(open(root).judge(blob), Verdict::Skip);
    assert_eq!(open(root).judge(blob), Verdict::Use);
}

const HOUR: Duration = Duration::from_secs(60 * 60);

/// As if `by` had passed since.
fn later(root: &Path, by: Duration) -> Marks {
    Marks::open(Arc::new(FaultInjectingStorage::new(|_, _| Ok(())).later(by)), root)
}

#[test]
fn bans_and_condemnations_end_by_themselves_or_are_lifted() {
    let folder = tempfile::tempdir().unwrap();
    let (root, program, other) = (folder.path(), Digest::of(b"program"), Digest::of(b"other"));
    for (danger, deaths) in [(Danger::Load, 2), (Danger::Compile, 3)] {
        for _ in 0..deaths {
            die_with(root, danger, program);
            open(root);
        }
    }
    assert_eq!(open(root).judge(program), Verdict::Condemned);
    let ban = open(root).ban(program).unwrap();
    assert_eq!((ban.program, &ban.file), (program, &root.join("crashes.log")));
    assert!(ban.left <= HOUR && ban.left > HOUR / 2, "{ban}");
    assert_eq!(open(root).bans(), [ban]);
    assert_eq!(later(root, HOUR).ban(program), None, "it may be tried once more");
    assert_eq!((later(root, HOUR).judge(program), later(root, HOUR).suspects().1), (Verdict::Condemned, 1));
    let long = later(root, 24 * 31 * HOUR);
    assert_eq!((long.judge(program), long.suspects()), (Verdict::Use, (0, 0)));

    assert!(!open(root).lift(other));
    assert!(open(root).ban(program).is_some());
    assert!(open(root).lift(program));
    let lifted = open(root);
    assert_eq!((lifted.ban(program), lifted.judge(program)), (None, Verdict::Use));
    assert!(!lifted.lift(program), "there is nothing left to lift");
}

#[test]
fn processes_that_end_together_are_one_death() {
    let folder = tempfile::tempdir().unwrap();
    let (root, program) = (folder.path(), Digest::of(b"program"));
    // All of them live when the last one starts.
    let together: Vec<Marks> = (0..8).map(|_| open(root)).collect();
    together.iter().for_each(|marks| leave(marks.set(Danger::Compile, program)));
    together.iter().for_each(|marks| drop(whole(&marks.own).file.take()));
    let next = open(root);
    assert_eq!((next.suspects(), next.ban(program)), ((0, 1), None));
    assert_eq!(std::fs::read_dir(root.join("marks")).unwrap().count(), 0);
}

#[test]
fn a_machine_that_went_down_is_no_evidence() {
    let folder = tempfile::tempdir().unwrap();
    let (root, program) = (folder.path(), Digest::of(b"program"));
    for boot in [Some(7), None] {
        die_with(root, Danger::Compile, program);
        let next = Marks::open(Arc::new(FaultInjectingStorage::new(|_, _| Ok(())).boot(boot)), root);
        let counts = FileSystem.boot() == boot;
        assert_eq!(next.suspects(), (0, usize::from(counts)));
    }
}

#[test]
fn what_is_suspected_is_compiled_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (root, suspect, other) = (folder.path(), Digest::of(b"suspect"), Digest::of(b"other"));
    die_with(root, Danger::Compile, suspect);
    let marks = open(root);
    let alone = marks.set(Danger::Compile, suspect);
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            drop(marks.set(Danger::Compile, other));
            sender.send(()).unwrap();
        });
        assert!(receiver.recv_timeout(Duration::from_millis(50)).is_err(), "it waits for its turn");
        drop(alone);
        receiver.recv().unwrap();
    });
    assert!(matches!(marks.set(Danger::Compile, suspect).turn, Some(Turn::Shared(_))), "it was survived");
}
