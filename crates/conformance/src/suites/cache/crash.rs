//! Crashes of the machine at every operation of a script, processes that die at every operation while the machine goes
//! on, and syncs that fail once: afterwards, durable entries are present, durably removed ones are absent, and no torn
//! entry is served.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use fulgurite_hal::Error;
use fulgurite_pipeline_cache::{
    CacheError, DiskOptions, DiskPipelineCache, Durability, Entry, HEADER_BYTES, Lookup, PayloadKind,
};

use super::simulated::{Fault, SimulatedDisk};
use super::{entry, identity, unexpected, version_of};
use crate::Level;
use crate::suites::checks::{Checks, Part};
use crate::values::Random;

pub(super) const PARTS: &[(&str, Part)] = &[
    ("a machine that stops anywhere", stops),
    ("a process that dies anywhere, and then the machine stops", dies),
    ("a sync that fails once", failing_sync),
];

/// Does not exist when a script begins; its parent folder does.
const ROOT: &str = "/simulated/cache";
const KIND: PayloadKind = PayloadKind::Binary;
/// Entries of a script.
const KEYS: u32 = 6;
/// Versions of each entry: few, so that a version is often written again.
const VERSIONS: u32 = 3;
/// Steps of a script.
const STEPS: usize = 30;
/// Processes that take turns in a script.
const PROCESSES: usize = 2;

/// The states of one entry that are allowed after a crash: a version, or `None` if it is absent.
type Allowed = BTreeSet<Option<u32>>;

/// The expected contents of the disk.
#[derive(Clone, Debug, Default)]
struct Model {
    allowed: BTreeMap<String, Allowed>,
    /// Violations found before the machine stopped.
    problems: Vec<String>,
}

impl Model {
    fn allowed(&mut self, name: &str) -> &mut Allowed {
        self.allowed.entry(name.to_owned()).or_insert_with(|| Allowed::from([None]))
    }

    /// Allows those of `names` that are missing now to be missing after a crash.
    fn note_missing(
        &mut self,
        disk: &SimulatedDisk,
        process: &Process,
        names: impl IntoIterator<Item = String>,
    ) {
        for name in names {
            if process.seen(disk, &name).is_none() {
                self.allowed(&name).insert(None);
            }
        }
    }

    /// Records that the entry is durably in this state.
    fn settle(&mut self, name: &str, state: Option<u32>) {
        *self.allowed(name) = Allowed::from([state]);
    }
}

/// One of the processes of a script.
struct Process {
    cache: DiskPipelineCache,
    /// Entries that it wrote, or found present when it was to write them, and has not flushed.
    unsynced: BTreeSet<String>,
    /// The subset that has been present ever since, which the process's flush makes durable.
    pending: BTreeSet<String>,
}

impl Process {
    fn start(disk: &SimulatedDisk) -> Result<Self, CacheError> {
        let options = DiskOptions::default().storage(Arc::new(disk.clone()));
        let cache = DiskPipelineCache::open(Path::new(ROOT), options)?;
        Ok(Self { cache, unsynced: BTreeSet::new(), pending: BTreeSet::new() })
    }

    /// Abandons the process without running its destructors.
    fn kill(self) {
        std::mem::forget(self.cache);
    }

    /// Returns the version of an entry that readers see.
    fn seen(&self, disk: &SimulatedDisk, name: &str) -> Option<u32> {
        let bytes = disk.seen(&self.cache.path_for(&identity(KIND, name)))?;
        version_of(name, bytes.get(HEADER_BYTES..)?)
    }

    /// Removes entries that are missing now from `pending`: if another process writes them again, that process must
    /// flush them.
    fn forget_removed(&mut self, disk: &SimulatedDisk) {
        let pending = std::mem::take(&mut self.pending);
        self.pending = pending.into_iter().filter(|name| self.seen(disk, name).is_some()).collect();
    }

    fn write(&mut self, disk: &SimulatedDisk, entry: &Entry, name: &str, durability: Durability) -> Outcome {
        let written = self.cache.write(entry, durability);
        match (written, durability) {
            (Ok(_), Durability::Immediate) => {
                self.unsynced.remove(name);
                self.pending.remove(name);
                Outcome::Durable
            }
            (Ok(_), Durability::OnFlush) => {
                self.unsynced.insert(name.to_owned());
                self.pending.insert(name.to_owned());
                Outcome::Open
            }
            (Err(_), _) if self.seen(disk, name).is_none() => Outcome::Dropped,
            (Err(_), _) => Outcome::Open,
        }
    }
}

/// Durability of an entry after a write.
enum Outcome {
    /// The written version is durable.
    Durable,
    /// The written version may be present.
    Open,
    /// The write failed and removed the previous version.
    Dropped,
}

/// Runs the script of `seed` from the state in `model`, until the script ends or the machine or the processes stop.
fn script(disk: &SimulatedDisk, seed: u64, mut model: Model) -> Model {
    let mut random = Random::new(seed);
    let mut processes = Vec::new();
    for _ in 0..PROCESSES {
        let Ok(process) = Process::start(disk) else { return model };
        processes.push(process);
    }
    for _ in 0..STEPS {
        let turn = random.below(PROCESSES as u32) as usize;
        step(disk, &mut random, &mut processes[turn], &mut model);
        for process in &mut processes {
            process.forget_removed(disk);
        }
        if random.below(10) == 0 {
            let Ok(next) = Process::start(disk) else { break };
            std::mem::replace(&mut processes[turn], next).kill();
        }
        if disk.is_dead() {
            break;
        }
    }
    // A stopped process flushes nothing more.
    processes.into_iter().for_each(Process::kill);
    model
}

/// Performs one step of a process and updates the model.
fn step(disk: &SimulatedDisk, random: &mut Random, process: &mut Process, model: &mut Model) {
    let name = random.below(KEYS).to_string();
    let version = 1 + random.below(VERSIONS);
    match random.below(20) {
        choice @ 0..11 => {
            let durability = if choice < 4 { Durability::Immediate } else { Durability::OnFlush };
            model.allowed(&name).insert(Some(version));
            let entry = entry(KIND, &name, version, 40 + version as usize * 50);
            match process.write(disk, &entry, &name, durability) {
                Outcome::Durable => model.settle(&name, Some(version)),
                Outcome::Open => {}
                Outcome::Dropped => drop(model.allowed(&name).insert(None)),
            }
        }
        11..15 => {
            let flushed = process.cache.flush();
            for name in std::mem::take(&mut process.pending) {
                match (&flushed, process.seen(disk, &name)) {
                    // A flush that reports an entry as not durable has removed it; all other entries are durable.
                    (Ok(()) | Err(CacheError::NotDurable { .. }), Some(version)) if !disk.is_dead() => {
                        model.settle(&name, Some(version));
                    }
                    (Ok(()), None) if !model.allowed(&name).contains(&None) => {
                        model.problems.push(format!("entry {name} is gone, and the flush succeeded"));
                    }
                    _ => {}
                }
            }
            let unsynced = std::mem::take(&mut process.unsynced);
            if flushed.is_err() {
                // The flush reported an error and removed its unflushed entries, including those that others had
                // rewritten. All other entries must stay.
                model.note_missing(disk, process, unsynced);
            }
        }
        15 | 16 => {
            model.allowed(&name).insert(None);
            let removed = process.cache.invalidate(&[true], &[identity(KIND, &name).digest()]);
            if removed.is_ok_and(|report| report.failed.is_empty()) {
                model.settle(&name, None);
            }
        }
        17 => {
            let _ = process.cache.gc(Some(700));
            model.note_missing(disk, process, (0..KEYS).map(|key| key.to_string()));
        }
        _ => {
            let _ = process.cache.read(&identity(KIND, &name));
        }
    }
}

/// Checks that the contents of a disk after a crash are among those that `model` allows.
fn check(checks: &mut Checks<'_, '_>, disk: &SimulatedDisk, model: &Model, when: &str) -> Result<(), Error> {
    checks.equal(when, &model.problems, &Vec::new());
    let options = DiskOptions::default().max_quarantined(u32::MAX).storage(Arc::new(disk.clone()));
    let cache = DiskPipelineCache::open(Path::new(ROOT), options).map_err(unexpected)?;
    for name in (0..KEYS).map(|key| key.to_string()) {
        let allowed = model.allowed.get(&name).cloned().unwrap_or(Allowed::from([None]));
        let found = match cache.read(&identity(KIND, &name)) {
            Lookup::Hit(entry) => match version_of(&name, &entry.payload) {
                Some(version) => Ok(Some(version)),
                None => Err("bytes that no process wrote"),
            },
            Lookup::Miss(_) => Ok(None),
        };
        let holds = found.is_ok_and(|found| allowed.contains(&found));
        checks.holds(when, holds, || format!("entry {name} is {found:?}, of {allowed:?}"));
    }
    Ok(())
}

fn scripts(checks: &Checks<'_, '_>) -> u64 {
    match checks.harness.level() {
        Level::Smoke => 4,
        Level::Full => 40,
    }
}

/// Returns a disk that contains only the parent folder of the root.
fn new_disk() -> SimulatedDisk {
    SimulatedDisk::new(Path::new(ROOT).parent().unwrap_or(Path::new("/")))
}

fn stops(checks: &mut Checks<'_, '_>) -> Result<(), Error> {
    let mut random = checks.random();
    let (mut points, mut outcomes) = (0u64, 0u64);
    for _ in 0..scripts(checks) {
        let seed = random.next();
        let whole = new_disk();
        let model = script(&whole, seed, Model::default());
        let (operations, _) = whole.counts();
        for stop in 1..=operations + 1 {
            let disk = new_disk().failing(Fault::Crash(stop));
            let (model, disk) = match stop > operations {
                true => (model.clone(), whole.clone()),
                false => (script(&disk, seed, Model::default()), disk),
            };
            points += 1;
            for _ in 0..3 {
                let left = disk.copy().after_crash(&mut random);
                outcomes += 1;
                check(checks, &left, &model, &format!("stopped at operation {stop} of {operations}"))?;
            }
        }
    }
    checks
        .harness
        .note(format!("{points} machines stopped, each looked at after {} losses", outcomes / points));
    Ok(())
}

fn dies(checks: &mut Checks<'_, '_>) -> Result<(), Error> {
    let mut random = checks.random();
    let mut deaths = 0u64;
    for _ in 0..scripts(checks) {
        let (first, second) = (random.next(), random.next());
        let whole = new_disk();
        let _ = script(&whole, first, Model::default());
        let (operations, _) = whole.counts();
        for death in 1..=operations {
            let disk = new_disk();
            // Operations of a dead process have no effect.
            let model =
                script(&disk.failing(Fault::Changes(ErrorKind::BrokenPipe, death)), first, Model::default());
            let model = script(&disk, second, model);
            deaths += 1;
            let left = disk.after_crash(&mut random);
            check(checks, &left, &model, &format!("died at operation {death} of {operations}"))?;
        }
    }
    checks.harness.note(format!("{deaths} processes died, and others went on until the machine stopped"));
    Ok(())
}

fn failing_sync(checks: &mut Checks<'_, '_>) -> Result<(), Error> {
    let mut random = checks.random();
    let mut failed = 0;
    for _ in 0..scripts(checks) * 2 {
        let seed = random.next();
        let whole = new_disk();
        let _ = script(&whole, seed, Model::default());
        for sync in 1..=whole.counts().1 {
            let disk = new_disk().failing(Fault::Sync(sync));
            let model = script(&disk, seed, Model::default());
            failed += 1;
            let left = disk.after_crash(&mut random);
            check(checks, &left, &model, &format!("sync {sync} failed, and the machine stopped later"))?;
        }
    }
    checks.harness.note(format!("{failed} syncs failed once"));
    Ok(())
}
