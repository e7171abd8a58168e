//! Many processes on one folder, killed at random; and drivers that crash their process.

use std::io::Read as _;
use std::path::Path;
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use fulgurite_hal::Error;
use fulgurite_pipeline_cache::{
    CacheError, CacheOptions, Digest, DiskOptions, DiskPipelineCache, Lookup, PayloadKind, PipelineCache,
};

use super::worker::{CRASHING, OWN, OWN_KIND, own_name};
use super::{identity, unexpected, version_of};
use crate::Level;
use crate::suites::checks::{Checks, Part};

pub(super) const PARTS: &[(&str, Part)] =
    &[("processes killed at random", killed), ("a driver that crashes", crashing)];

/// Upper bound for the run time of a process of the suite.
const DEADLINE: Duration = Duration::from_secs(120);

/// Waits for a process to exit, and kills it at `until`. Returns its status, whether it was killed, and its standard
/// error.
fn wait(child: &mut Child, until: Instant) -> Result<(ExitStatus, bool, String), Error> {
    let mut was_killed = false;
    let status = loop {
        if let Some(status) = child.try_wait().map_err(unexpected)? {
            break status;
        }
        if Instant::now() >= until {
            was_killed = true;
            child.kill().map_err(unexpected)?;
            break child.wait().map_err(unexpected)?;
        }
        std::thread::sleep(Duration::from_millis(1));
    };
    let mut said = String::new();
    if let Some(mut stderr) = child.stderr.take() {
        // The output of a killed process may be truncated anywhere.
        let mut bytes = Vec::new();
        let _ = stderr.read_to_end(&mut bytes);
        said = String::from_utf8_lossy(&bytes).into_owned();
    }
    Ok((status, was_killed, said))
}

fn killed(checks: &mut Checks<'_, '_>) -> Result<(), Error> {
    let Some(worker) = checks.worker() else { return Ok(()) };
    let (rounds, processes, operations) = match checks.harness.level() {
        Level::Smoke => (3, 6, 60),
        Level::Full => (10, 32, 200),
    };
    let folder = tempfile::tempdir().map_err(unexpected)?;
    let (root, journals) = (folder.path().join("cache"), folder.path().join("journals"));
    std::fs::create_dir(&journals).map_err(unexpected)?;
    let mut random = checks.random();
    let (mut kills, mut kept, mut suspects) = (0, 0, (0, 0));
    for round in 0..rounds {
        let mut children = Vec::new();
        for process in 0..processes {
            // Each process has separate entries, the same in all rounds.
            let name = format!("process {process}");
            let journal = journals.join(&name);
            let (root, journal) = (root.display().to_string(), journal.display().to_string());
            let (seed, count) = (random.next().to_string(), operations.to_string());
            let child = worker.start(&["storm", &root, &journal, &name, &seed, &count]);
            // Half of the processes run to the end.
            let until = match random.below(2) {
                0 => {
                    Instant::now()
                        + Duration::from_millis(u64::from(random.below(processes * operations / 6)))
                }
                _ => Instant::now() + DEADLINE,
            };
            children.push((child.map_err(unexpected)?, until));
        }
        // In the order of their deadlines.
        children.sort_by_key(|(_, until)| *until);
        for (child, until) in &mut children {
            let (status, was_killed, said) = wait(child, *until)?;
            kills += u32::from(was_killed);
            let is_well = status.success() || was_killed;
            checks.holds("the exit of a process", is_well, || format!("round {round}: {status}: {said}"));
        }
        let disk = DiskPipelineCache::open(&root, DiskOptions::default()).map_err(unexpected)?;
        for process in 0..processes {
            kept += check(checks, &disk, &journals, &format!("process {process}"))?;
        }
        let found = disk.verify(&mut |_, _| ()).map_err(unexpected)?;
        checks.equal("damaged entries", &found.corrupt.len(), &0);
        disk.gc(None).map_err(unexpected)?;
        let stats = disk.stats().map_err(unexpected)?;
        checks.equal("temporary files of killed processes", &stats.temporary.entries, &0);
        let (loads, compiles) = PipelineCache::open(CacheOptions::in_folder(&root)).suspects();
        suspects = (suspects.0 + loads, suspects.1 + compiles);
    }
    checks.holds("processes were killed", kills > 0, || "none was".to_owned());
    checks.harness.note(format!(
        "{rounds} rounds of {processes} processes x {operations} operations: {kills} killed, {kept} entries made \
         durable and read back; suspected meanwhile: {} binaries, {} compiles",
        suspects.0, suspects.1
    ));
    Ok(())
}

/// Checks that every entry that a process made durable and did not remove is present. Returns their number.
fn check(
    checks: &mut Checks<'_, '_>,
    disk: &DiskPipelineCache,
    journals: &Path,
    process: &str,
) -> Result<u32, Error> {
    let journal = match std::fs::read_to_string(journals.join(process)) {
        Ok(journal) => journal,
        // The process was killed before it began.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(unexpected(error)),
    };
    let mut is_kept = [false; OWN as usize];
    // A truncated line was not yet relied on.
    for line in journal.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
        let (what, key) = line.split_once(' ').unwrap_or_default();
        let key: usize = key.parse().map_err(unexpected)?;
        is_kept[key] = what == "kept";
    }
    let mut kept = 0;
    for (key, is_kept) in (0..).zip(is_kept) {
        let name = own_name(process, key);
        let (is_right, is_there) = match disk.read(&identity(OWN_KIND, &name)) {
            Lookup::Hit(entry) => (version_of(&name, &entry.payload).is_some(), true),
            Lookup::Miss(_) => (true, false),
        };
        checks.holds("a served entry is correct", is_right, || format!("`{name}` is wrong"));
        if is_kept {
            kept += 1;
            checks.holds("a durable entry is present", is_there, || format!("`{name}` is missing"));
        }
    }
    Ok(kept)
}

fn crashing(checks: &mut Checks<'_, '_>) -> Result<(), Error> {
    let Some(worker) = checks.worker() else { return Ok(()) };
    let folder = tempfile::tempdir().map_err(unexpected)?;
    let root = folder.path().display().to_string();
    let run = |what: &str| -> Result<(bool, String), Error> {
        let mut child = worker.start(&[what, &root]).map_err(unexpected)?;
        let (status, was_killed, said) = wait(&mut child, Instant::now() + DEADLINE)?;
        Ok((status.success() && !was_killed, said))
    };
    for (what, ends_well) in [
        ("nothing is cached, and the driver compiles", true),
        ("first start: the driver crashes on the entry", false),
        ("second start: the entry is skipped", true),
        ("third start: the entry is retried, and the driver crashes again", false),
        ("fourth start: the entry is quarantined", true),
        ("fifth start: the same bytes are not stored again", true),
    ] {
        let (ended_well, said) = run("load")?;
        checks.holds(what, ended_well == ends_well, || format!("unexpected exit status: {said}"));
    }
    let disk = DiskPipelineCache::open(folder.path(), DiskOptions::default()).map_err(unexpected)?;
    let is_there = matches!(disk.read(&identity(PayloadKind::Binary, CRASHING)), Lookup::Hit(_));
    checks.equal("the suspected entry is served", &is_there, &false);
    checks.equal("quarantined entries", &disk.stats().map_err(unexpected)?.quarantined.entries, &1);
    for what in ["first crash while compiling", "second crash", "third crash"] {
        checks.equal(what, &run("compile")?.0, &false);
    }
    let compile = || {
        let cache = PipelineCache::open(CacheOptions::in_folder(folder.path()));
        (cache.compile(Digest::of(CRASHING.as_bytes()), || ()), cache.bans())
    };
    let (refused, bans) = compile();
    let expected = bans.first().map(|ban| Err(CacheError::Banned(Box::new(ban.clone()))));
    checks.equal("the fourth compile", &Some(refused), &expected);
    checks.equal(
        "crashes that lead to a ban",
        &bans.iter().map(|ban| ban.deaths).collect::<Vec<_>>(),
        &vec![3],
    );
    for ban in bans {
        let said = CacheError::Banned(Box::new(ban.clone())).diagnostic().to_string();
        let names = said.contains(&ban.file.display().to_string()) && said.contains(&ban.command());
        checks.holds("a ban names its file and the command that lifts it", names, || said);
        PipelineCache::open(CacheOptions::in_folder(folder.path())).lift(ban.program);
    }
    checks.equal("a compile after the ban is lifted", &compile(), &(Ok(()), Vec::new()));
    Ok(())
}
