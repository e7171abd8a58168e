//! Marks of simulated process ends.

use fulgurite_storage::{FaultInjectingStorage, FileSystem};

use super::*;

/// Time of records where it does not matter, in seconds since the Unix epoch.
const NOW: u64 = 1_800_000_000;

fn open(root: &Path) -> Marks {
    Marks::open(FileSystem::shared(), root)
}

/// Leaves a mark set.
fn leave(mut mark: Mark<'_>) {
    assert!(mark.slot.is_some());
    // This process continues, and may compile.
    drop(mark.turn.take());
    std::mem::forget(mark);
}

/// Simulates the end of a process with a mark set: the file stays, and its lock is released.
fn die_with(root: &Path, danger: Danger, digest: Digest) {
    let marks = open(root);
    leave(marks.set(danger, digest));
    whole(&marks.own).file.take();
}

#[test]
fn first_death_skips_once_and_second_condemns() {
    let folder = tempfile::tempdir().unwrap();
    let (root, blob, other) = (folder.path(), Digest::of(b"blob"), Digest::of(b"other"));
    assert_eq!(open(root).judge(blob), LoadDecision::Use);
    die_with(root, Danger::Load, blob);
    let second = open(root);
    assert_eq!((second.judge(blob), second.judge(other)), (LoadDecision::Skip, LoadDecision::Use));
    assert_eq!(second.suspects(), (1, 0));
    drop(second);
    assert_eq!(open(root).judge(blob), LoadDecision::Use, "skipped once already");
    die_with(root, Danger::Load, blob);
    assert_eq!(open(root).judge(blob), LoadDecision::Condemned);
    assert_eq!(open(root).judge(blob), LoadDecision::Condemned, "until it expires");
    assert!(open(root).is_condemned(blob));
}

#[test]
fn survival_clears_the_history() {
    let folder = tempfile::tempdir().unwrap();
    let (root, blob) = (folder.path(), Digest::of(b"blob"));
    die_with(root, Danger::Load, blob);
    assert_eq!(open(root).judge(blob), LoadDecision::Skip);
    drop(open(root).set(Danger::Load, blob));
    die_with(root, Danger::Load, blob);
    assert_eq!(open(root).judge(blob), LoadDecision::Skip, "counts as the first death again");
    die_with(root, Danger::Compile, blob);
    die_with(root, Danger::Compile, blob);
    assert_eq!(open(root).ban(blob), None);
    die_with(root, Danger::Compile, blob);
    assert_eq!(open(root).ban(blob).map(|ban| ban.deaths), Some(3));
    drop(open(root).set(Danger::Compile, blob));
    assert_eq!(open(root).ban(blob), None);
}

#[test]
fn live_processes_are_ignored_and_leave_no_files() {
    let folder = tempfile::tempdir().unwrap();
    let (root, blob) = (folder.path(), Digest::of(b"blob"));
    let living = open(root);
    let marks = [living.set(Danger::Load, blob), living.set(Danger::Compile, blob)];
    assert_eq!(marks.each_ref().map(|mark| mark.slot), [Some(0), Some(1)]);
    assert_eq!(open(root).judge(blob), LoadDecision::Use);
    drop(marks);
    assert_eq!(living.set(Danger::Load, blob).slot, Some(0), "slots are reused");
    drop(living);
    assert_eq!(std::fs::read_dir(root.join("marks")).unwrap().count(), 0);
    assert!(!root.join("crashes.log").exists());
}

#[test]
fn damaged_marks_and_logs_are_ignored() {
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
fn records_after_a_torn_one_are_read() {
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
fn death_counts_once_even_if_its_mark_cannot_be_removed() {
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
fn compacted_log_is_equivalent() {
    let folder = tempfile::tempdir().unwrap();
    let (root, blob, program) = (folder.path(), Digest::of(b"blob"), Digest::of(b"program"));
    let condemned = Digest::of(b"condemned");
    let now = open(root).now();
    let mut log = Vec::new();
    // More survived events than are ever read at once.
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
    assert_eq!(open(root).judge(blob), LoadDecision::Skip);
    assert_eq!(open(root).judge(blob), LoadDecision::Use);
}

const HOUR: Duration = Duration::from_secs(60 * 60);

/// Opens the marks as if `by` had passed.
fn later(root: &Path, by: Duration) -> Marks {
    Marks::open(Arc::new(FaultInjectingStorage::new(|_, _| Ok(())).later(by)), root)
}

#[test]
fn bans_and_condemnations_expire_or_are_lifted() {
    let folder = tempfile::tempdir().unwrap();
    let (root, program, other) = (folder.path(), Digest::of(b"program"), Digest::of(b"other"));
    for (danger, deaths) in [(Danger::Load, 2), (Danger::Compile, 3)] {
        for _ in 0..deaths {
            die_with(root, danger, program);
            open(root);
        }
    }
    assert_eq!(open(root).judge(program), LoadDecision::Condemned);
    let ban = open(root).ban(program).unwrap();
    assert_eq!((ban.program, &ban.file), (program, &root.join("crashes.log")));
    assert!(ban.left <= HOUR && ban.left > HOUR / 2, "{ban}");
    assert_eq!(open(root).bans(), [ban]);
    assert_eq!(later(root, HOUR).ban(program), None, "it may be tried again");
    assert_eq!(
        (later(root, HOUR).judge(program), later(root, HOUR).suspects().1),
        (LoadDecision::Condemned, 1)
    );
    let long = later(root, 24 * 31 * HOUR);
    assert_eq!((long.judge(program), long.suspects()), (LoadDecision::Use, (0, 0)));

    assert!(!open(root).lift(other));
    assert!(open(root).ban(program).is_some());
    assert!(open(root).lift(program));
    let lifted = open(root);
    assert_eq!((lifted.ban(program), lifted.judge(program)), (None, LoadDecision::Use));
    assert!(!lifted.lift(program), "nothing left to lift");
}

#[test]
fn processes_that_end_together_are_one_death() {
    let folder = tempfile::tempdir().unwrap();
    let (root, program) = (folder.path(), Digest::of(b"program"));
    // All of them are alive when the last one starts.
    let together: Vec<Marks> = (0..8).map(|_| open(root)).collect();
    together.iter().for_each(|marks| leave(marks.set(Danger::Compile, program)));
    together.iter().for_each(|marks| drop(whole(&marks.own).file.take()));
    let next = open(root);
    assert_eq!((next.suspects(), next.ban(program)), ((0, 1), None));
    assert_eq!(std::fs::read_dir(root.join("marks")).unwrap().count(), 0);
}

#[test]
fn marks_from_before_a_reboot_are_ignored() {
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
fn suspects_are_compiled_exclusively() {
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
        assert!(
            receiver.recv_timeout(Duration::from_millis(50)).is_err(),
            "the suspect waits for exclusive access"
        );
        drop(alone);
        receiver.recv().unwrap();
    });
    assert!(
        matches!(marks.set(Danger::Compile, suspect).turn, Some(Turn::Shared(_))),
        "the program survived"
    );
}
