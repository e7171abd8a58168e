//! Disks that are full, locked, read-only or malformed: work goes on, and one diagnostic reports why nothing is kept.

use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use fulgurite_hal::Error;
use fulgurite_pipeline_cache::{
    CacheOptions, Digest, DiskOptions, DiskPipelineCache, Durability, Lookup, Made, PayloadKind,
    PipelineCache, Storage,
};
use fulgurite_spec::Code;

use super::simulated::{Fault, Locks, SimulatedDisk};
use super::{entry, identity, payload, unexpected, version_of};
use crate::suites::checks::{Checks, Part};

pub(super) const PARTS: &[(&str, Part)] = &[
    ("a full disk", full),
    ("a disk that fails", failing),
    ("locks that never come", locks),
    ("a folder that is none", folders),
    ("a clock that goes back", clock),
];

const ROOT: &str = "/simulated/cache";
const KIND: PayloadKind = PayloadKind::Artifact;
/// Entries to look up, twice each.
const ENTRIES: u32 = 40;

/// Looks up entries of `bytes` each and checks that all are correct and made only once.
fn use_it(checks: &mut Checks<'_, '_>, what: &str, cache: &PipelineCache, bytes: usize) -> Result<(), Error> {
    let mut made = 0;
    for turn in 0..2 {
        for name in (0..ENTRIES).map(|i| i.to_string()) {
            let found = cache.find_or_make(&identity(KIND, &name), |_| {
                made += 1;
                Ok::<_, Error>(Made::Keep { artifact: Digest::ZERO, payload: payload(&name, 1, bytes) })
            })?;
            let is_right = found.is_some_and(|entry| version_of(&name, &entry.payload) == Some(1));
            checks.holds(what, is_right, || format!("entry {name} is wrong in turn {turn}"));
        }
    }
    checks.equal(&format!("{what}: entries made"), &made, &ENTRIES);
    let _ = cache.flush();
    Ok(())
}

/// Checks that the cache reported the diagnostic `code` exactly once and no other.
fn said_once(checks: &mut Checks<'_, '_>, what: &str, cache: &PipelineCache, code: Code) {
    let said: Vec<Code> = cache.notices().iter().map(|notice| notice.code).collect();
    checks.equal(&format!("{what}: diagnostics"), &said, &vec![code]);
}

/// A small in-memory file system, unmounted on drop.
struct Tmpfs(tempfile::TempDir);

impl Tmpfs {
    /// Mounts the file system, or returns `None` if this process cannot mount one.
    fn mount(options: &str) -> Option<Self> {
        let folder = tempfile::tempdir().ok()?;
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(folder.path());
        let mounted = command.output().ok()?.status.success();
        mounted.then_some(Self(folder))
    }

    fn remount(&self, options: &str) -> bool {
        let mut command = Command::new("mount");
        command.args(["-o", &format!("remount,{options}")]).arg(self.0.path());
        command.output().is_ok_and(|output| output.status.success())
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).output();
    }
}

fn full(checks: &mut Checks<'_, '_>) -> Result<(), Error> {
    let (mut options, mut how) = (DiskOptions::default(), "a real one of 256 KiB");
    let tmpfs = Tmpfs::mount("size=256k,mode=0700");
    let root = match &tmpfs {
        Some(tmpfs) => tmpfs.0.path().join("cache"),
        None => {
            how = "a simulated one, since none can be mounted here";
            let disk =
                SimulatedDisk::new(Path::new(ROOT)).failing(Fault::Changes(ErrorKind::StorageFull, 60));
            options = options.storage(Arc::new(disk));
            Path::new(ROOT).to_owned()
        }
    };
    let cache = PipelineCache::open(CacheOptions::in_folder(&root).disk(options));
    use_it(checks, "a full disk", &cache, 20_000)?;
    said_once(checks, "a full disk", &cache, Code::CacheDegraded);
    if let Some(tmpfs) = &tmpfs {
        drop(cache);
        let disk = DiskPipelineCache::open(&root, DiskOptions::default()).map_err(unexpected)?;
        let found = disk.verify(&mut |_, _| ()).map_err(unexpected)?;
        checks.equal("damaged entries", &found.corrupt.len(), &0);
        checks.holds("intact entries", found.good.entries > 0, || "there are none".to_owned());
        checks.holds("remounted read-only", tmpfs.remount("ro"), || "not remounted".to_owned());
        drop(disk);
        let cache = PipelineCache::open(CacheOptions::in_folder(&root));
        use_it_again(checks, &cache, found.good.entries)?;
        said_once(checks, "a read-only root", &cache, Code::CacheDegraded);
    }
    checks.harness.note(format!("the full disk is {how}"));
    Ok(())
}

/// Looks up the entries that fitted and those that did not, and checks that the former are found.
fn use_it_again(checks: &mut Checks<'_, '_>, cache: &PipelineCache, there: u64) -> Result<(), Error> {
    let mut made = 0;
    for name in (0..ENTRIES).map(|i| i.to_string()) {
        let found = cache.find_or_make(&identity(KIND, &name), |_| {
            made += 1;
            Ok::<_, Error>(Made::Keep { artifact: Digest::ZERO, payload: payload(&name, 1, 20_000) })
        })?;
        let is_right = found.is_some_and(|entry| version_of(&name, &entry.payload) == Some(1));
        checks.holds("a read-only root", is_right, || format!("entry {name} is wrong"));
    }
    checks.equal("entries that were there", &(u64::from(ENTRIES) - made), &there);
    Ok(())
}

fn failing(checks: &mut Checks<'_, '_>) -> Result<(), Error> {
    // Opening takes a few operations, so each fault hits either opening or later use.
    let faults = [
        ("nothing may be written (EACCES)", Fault::Changes(ErrorKind::PermissionDenied, 1)),
        ("writing is refused later", Fault::Changes(ErrorKind::PermissionDenied, 30)),
        ("a disk that turns read-only", Fault::Changes(ErrorKind::ReadOnlyFilesystem, 100)),
        ("nothing can be read", Fault::Reads(ErrorKind::PermissionDenied)),
        ("the disk is gone", Fault::Crash(50)),
    ];
    for (what, fault) in faults {
        let disk = SimulatedDisk::new(Path::new(ROOT)).failing(fault);
        let options = DiskOptions::default().storage(Arc::new(disk));
        let cache = PipelineCache::open(CacheOptions::in_folder(ROOT).disk(options));
        use_it(checks, what, &cache, 100)?;
        said_once(checks, what, &cache, Code::CacheDegraded);
    }
    Ok(())
}

fn locks(checks: &mut Checks<'_, '_>) -> Result<(), Error> {
    for (what, behavior) in [
        ("someone has every lock", Locks::Taken),
        ("asking for a lock never returns", Locks::Hang),
        ("there are no locks", Locks::Missing),
    ] {
        let work = without_locks(behavior);
        // On a thread that can be abandoned, so that an endless wait does not block the suite.
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || sender.send(work()));
        let found =
            receiver.recv_timeout(Duration::from_secs(20)).map_err(|_| format!("{what}: no end in sight"));
        checks.holds("every wait ends", matches!(found, Ok(Some(_))), || format!("{found:?}"));
        let Ok(Some(found)) = found else { continue };
        checks.equal(&format!("{what}: entries that are right"), &found.right, &ENTRIES);
        checks.equal(&format!("{what}: diagnostics"), &found.said, &vec![Code::CacheDegraded]);
        checks.equal(&format!("{what}: entries kept"), &found.kept, &ENTRIES);
        checks.holds("lock requests without an answer are bounded", found.unanswered <= 8, || {
            format!("{} times", found.unanswered)
        });
    }
    Ok(())
}

/// Results of a cache whose locks do not work.
#[derive(Debug)]
struct WithoutLocks {
    /// Entries that were made or found and are correct.
    right: u32,
    /// Codes of the cache's diagnostics.
    said: Vec<Code>,
    /// Entries that another process finds.
    kept: u32,
    /// Number of lock requests without an answer.
    unanswered: u64,
}

/// Makes entries while locks behave as given: enough for the cache to scan its folder, in which another process has
/// left a mark.
fn without_locks(behavior: Locks) -> impl FnOnce() -> Option<WithoutLocks> + Send + 'static {
    move || {
        let disk = SimulatedDisk::new(Path::new(ROOT));
        let marks = Path::new(ROOT).join("marks");
        disk.create_dir(&marks).ok()?;
        drop(disk.create(&marks.join("another.mark")).ok()?);
        let disk = disk.locking(behavior);
        let patience = Duration::from_millis(3);
        let options =
            DiskOptions::default().lock_deadline(patience).max_bytes(100_000).storage(Arc::new(disk.clone()));
        let cache = PipelineCache::open(CacheOptions::in_folder(ROOT).disk(options));
        let right = (0..ENTRIES).filter(|name| {
            let name = name.to_string();
            let make =
                |_| Ok::<_, ()>(Made::Keep { artifact: Digest::ZERO, payload: payload(&name, 1, 100) });
            let found = cache.find_or_make(&identity(KIND, &name), make);
            matches!(found, Ok(Some(entry)) if version_of(&name, &entry.payload) == Some(1))
        });
        let right = right.count() as u32;
        let said = cache.notices().iter().map(|notice| notice.code).collect();
        drop(cache);
        // Entries that were written without locks are present.
        let options = DiskOptions::default().storage(Arc::new(disk.locking(Locks::Work)));
        let cache = DiskPipelineCache::open(Path::new(ROOT), options).ok()?;
        let is_there = |name: &u32| matches!(cache.read(&identity(KIND, &name.to_string())), Lookup::Hit(_));
        let kept = (0..ENTRIES).filter(is_there).count() as u32;
        Some(WithoutLocks { right, said, kept, unanswered: disk.unanswered() })
    }
}

fn folders(checks: &mut Checks<'_, '_>) -> Result<(), Error> {
    let folder = tempfile::tempdir().map_err(unexpected)?;
    let root = folder.path().join("cache");
    std::fs::write(&root, "a file").map_err(unexpected)?;
    let cache = PipelineCache::open(CacheOptions::in_folder(&root));
    use_it(checks, "a root that is a file", &cache, 100)?;
    said_once(checks, "a root that is a file", &cache, Code::CacheDegraded);
    std::fs::remove_file(&root).map_err(unexpected)?;

    // A folder that is replaced by a file while it is in use.
    let cache = PipelineCache::open(CacheOptions::in_folder(&root));
    std::fs::remove_dir_all(&root).map_err(unexpected)?;
    std::fs::write(&root, "a file").map_err(unexpected)?;
    use_it(checks, "a root that becomes a file", &cache, 100)?;
    said_once(checks, "a root that becomes a file", &cache, Code::CacheDegraded);
    drop(cache);
    std::fs::remove_file(&root).map_err(unexpected)?;

    #[cfg(unix)]
    {
        let disk = DiskPipelineCache::open(&root, DiskOptions::default()).map_err(unexpected)?;
        let elsewhere = folder.path().join("elsewhere");
        std::fs::write(&elsewhere, "of someone else").map_err(unexpected)?;
        for name in (0..ENTRIES).map(|i| i.to_string()) {
            disk.write(&entry(KIND, &name, 1, 100), Durability::Immediate).map_err(unexpected)?;
            let path = disk.path_for(&identity(KIND, &name));
            std::fs::remove_file(&path).map_err(unexpected)?;
            std::os::unix::fs::symlink(&elsewhere, &path).map_err(unexpected)?;
        }
        drop(disk);
        let cache = PipelineCache::open(CacheOptions::in_folder(&root));
        use_it(checks, "entries that are links", &cache, 100)?;
        said_once(checks, "entries that are links", &cache, Code::CacheDegraded);
        let untouched = std::fs::read_to_string(&elsewhere).map_err(unexpected)?;
        checks.equal("the file behind the links", &untouched, &"of someone else".to_owned());
    }
    Ok(())
}

fn clock(checks: &mut Checks<'_, '_>) -> Result<(), Error> {
    let disk = SimulatedDisk::new(Path::new(ROOT));
    let options = DiskOptions::default().storage(Arc::new(disk.clone()));
    let cache = PipelineCache::open(CacheOptions::in_folder(ROOT).disk(options.clone()));
    use_it(checks, "before the clock goes back", &cache, 100)?;
    drop(cache);
    disk.turn_back(Duration::from_secs(10_000_000));
    let cache = DiskPipelineCache::open(Path::new(ROOT), options).map_err(unexpected)?;
    for name in 0..ENTRIES {
        let is_there = matches!(cache.read(&identity(KIND, &name.to_string())), Lookup::Hit(_));
        checks.holds("an entry of a time to come", is_there, || format!("entry {name} is not there"));
    }
    cache.write(&entry(KIND, "new", 1, 100), Durability::Immediate).map_err(unexpected)?;
    let all = cache.stats().map_err(unexpected)?.all;
    let report = cache.gc(Some(all.bytes / 2)).map_err(unexpected)?;
    checks.holds("eviction with such times", report.evicted.entries > 0, || format!("{report:?}"));
    let left = cache.stats().map_err(unexpected)?.all;
    checks.equal("bytes after eviction", &(left.bytes + report.evicted.bytes), &all.bytes);
    Ok(())
}
