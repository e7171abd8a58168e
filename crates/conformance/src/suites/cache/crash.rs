//! Machines that stop at every operation of a script, and disks that fail to sync once: what was made durable is there
//! afterwards, and nothing torn is served.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use fulgurite_driver_core::Error;
use fulgurite_pipeline_cache::{CacheError, DiskOptions, DiskPipelineCache, Durability, Lookup, PayloadKind};

use super::simulated::{Fault, SimulatedDisk};
use super::{entry, identity, unexpected, version_of};
use crate::Level;
use crate::suites::checks::{Checks, Part};
use crate::values::Random;

pub(super) const PARTS: &[(&str, Part)] =
    &[("a machine that stops anywhere", stops), ("a sync that fails once", failing_sync)];

const ROOT: &str = "/simulated/cache";
const KIND: PayloadKind = PayloadKind::Binary;
/// Entries of a script.
const KEYS: u32 = 6;
/// Steps of a script.
const STEPS: usize = 22;

/// What is known of one entry.
#[derive(Clone, Debug, Default)]
struct Key {
    /// The version that was last made durable for sure.
    durable: Option<u32>,
    /// Versions that were written since, and may be there.
    since: BTreeSet<u32>,
    /// Whether it may be gone.
    may_be_gone: bool,
}

/// What must hold of the disk, whatever happens to it.
#[derive(Clone, Debug, Default)]
struct Model(BTreeMap<String, Key>);

impl Model {
    fn key(&mut self, name: &str) -> &mut Key {
        self.0.entry(name.to_owned()).or_default()
    }

    fn durable(&mut self, name: &str, version: u32) {
        *self.key(name) = Key { durable: Some(version), ..Key::default() };
    }
}

/// Runs the script of `seed`; it ends early once the machine has stopped.
fn script(disk: &SimulatedDisk, seed: u64) -> Model {
    let mut random = Random::new(seed);
    let mut model = Model::default();
    let options = DiskOptions::default().storage(Arc::new(disk.clone()));
    let Ok(cache) = DiskPipelineCache::open(Path::new(ROOT), options) else { return model };
    // Written and not yet flushed, with the version.
    let mut unflushed: BTreeMap<String, u32> = BTreeMap::new();
    for version in 1..=STEPS as u32 {
        let name = random.below(KEYS).to_string();
        let choice = random.below(10);
        match choice {
            0..6 => {
                let durability = if choice < 2 { Durability::Immediate } else { Durability::OnFlush };
                model.key(&name).since.insert(version);
                let written =
                    cache.write(&entry(KIND, &name, version, 40 + choice as usize * 50), durability);
                match (written, durability) {
                    (Ok(_), Durability::Immediate) => {
                        unflushed.remove(&name);
                        model.durable(&name, version);
                    }
                    (Ok(_), Durability::OnFlush) => {
                        unflushed.insert(name, version);
                    }
                    // A failed sync drops what it was for, and what that had replaced.
                    (Err(CacheError::NotDurable { .. }), _) => {
                        unflushed.remove(&name);
                        model.key(&name).may_be_gone = true;
                    }
                    (Err(_), _) => {}
                }
            }
            6 | 7 => match cache.flush() {
                Ok(()) => {
                    for (name, version) in std::mem::take(&mut unflushed) {
                        model.durable(&name, version);
                    }
                }
                // Which of them was dropped is not said.
                Err(_) => {
                    for (name, _) in std::mem::take(&mut unflushed) {
                        model.key(&name).may_be_gone = true;
                    }
                }
            },
            8 => {
                model.key(&name).may_be_gone = true;
                unflushed.remove(&name);
                let _ = cache.invalidate(&[true], &[identity(KIND, &name).digest()]);
            }
            _ => {
                let _ = cache.read(&identity(KIND, &name));
            }
        }
        if disk.is_down() {
            break;
        }
    }
    // A process that is stopped flushes nothing more.
    if !disk.is_down() {
        std::mem::forget(cache);
    }
    model
}

/// Whether what a disk has after a crash is what `model` allows.
fn check(checks: &mut Checks<'_, '_>, disk: &SimulatedDisk, model: &Model, when: &str) -> Result<(), Error> {
    let options = DiskOptions::default().max_quarantined(u32::MAX).storage(Arc::new(disk.clone()));
    let cache = DiskPipelineCache::open(Path::new(ROOT), options).map_err(unexpected)?;
    for name in (0..KEYS).map(|key| key.to_string()) {
        let key = model.0.get(&name).cloned().unwrap_or_default();
        let found = match cache.read(&identity(KIND, &name)) {
            Lookup::Hit(entry) => match version_of(&name, &entry.payload) {
                Some(version) => Ok(Some(version)),
                None => Err("bytes of nobody"),
            },
            Lookup::Miss(_) => Ok(None),
        };
        let holds = match found {
            Err(_) => false,
            Ok(Some(version)) => key.durable == Some(version) || key.since.contains(&version),
            Ok(None) => key.durable.is_none() || key.may_be_gone,
        };
        checks.holds(when, holds, || format!("entry {name} is {found:?}, of which is known {key:?}"));
    }
    Ok(())
}

fn scripts(checks: &Checks<'_, '_>) -> u64 {
    match checks.harness.level() {
        Level::Smoke => 2,
        Level::Full => 12,
    }
}

fn stops(checks: &mut Checks<'_, '_>) -> Result<(), Error> {
    let mut random = checks.random();
    let (mut points, mut outcomes) = (0u64, 0u64);
    for _ in 0..scripts(checks) {
        let seed = random.next();
        let whole = SimulatedDisk::new(Path::new(ROOT));
        let model = script(&whole, seed);
        let (operations, _) = whole.counts();
        for stop in 1..=operations + 1 {
            let disk = SimulatedDisk::new(Path::new(ROOT)).failing(Fault::Crash(stop));
            let (model, disk) =
                if stop > operations { (model.clone(), whole.clone()) } else { (script(&disk, seed), disk) };
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

fn failing_sync(checks: &mut Checks<'_, '_>) -> Result<(), Error> {
    let mut random = checks.random();
    let mut failed = 0;
    for _ in 0..scripts(checks) * 2 {
        let seed = random.next();
        let whole = SimulatedDisk::new(Path::new(ROOT));
        let _ = script(&whole, seed);
        for sync in 1..=whole.counts().1 {
            let disk = SimulatedDisk::new(Path::new(ROOT)).failing(Fault::Sync(sync));
            let model = script(&disk, seed);
            failed += 1;
            let left = disk.after_crash(&mut random);
            check(checks, &left, &model, &format!("sync {sync} failed, and the machine stopped later"))?;
        }
    }
    checks.harness.note(format!("{failed} syncs failed once"));
    Ok(())
}
