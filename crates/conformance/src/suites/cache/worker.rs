//! A worker process of the suite: works on a cache folder until it ends or is killed.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use fulgurite_pipeline_cache::{
    CacheOptions, Digest, DiskPipelineCache, Durability, Lookup, Made, PayloadKind, PipelineCache,
};

use super::{entry, identity, payload, version_of};
use crate::values::Random;

/// Entries that a process has exclusively, and entries that all processes share.
pub(super) const OWN: u32 = 12;
const SHARED: u32 = 24;

/// Runs the worker command in `args`, or returns `None` if it belongs to another suite.
///
/// # Errors
/// A message that describes the failure or the violated property.
pub(crate) fn work(args: &[&str]) -> Option<Result<(), String>> {
    Some(match *args {
        ["storm", root, journal, name, seed, operations] => {
            let number = |text: &str| text.parse::<u64>().map_err(|error| error.to_string());
            number(seed)
                .and_then(|seed| storm(Path::new(root), Path::new(journal), name, seed, number(operations)?))
        }
        ["load", root] => load(Path::new(root)),
        ["compile", root] => compile(Path::new(root)),
        _ => return None,
    })
}

/// Log of the changes that a process made durable: one line per change, itself durable before the change is relied on.
pub(in crate::suites) struct Journal(File);

impl Journal {
    fn note(&mut self, line: &str) -> Result<(), String> {
        // One unbuffered write per line.
        let written = self.0.write_all(format!("{line}\n").as_bytes()).and_then(|()| self.0.sync_data());
        written.map_err(|error| format!("journal: {error}"))
    }
}

/// Payload kind of exclusive entries: no driver is ever suspected because of it.
pub(super) const OWN_KIND: PayloadKind = PayloadKind::Artifact;

/// Returns the name of an exclusive entry.
pub(super) fn own_name(process: &str, key: u32) -> String {
    format!("{process} {key}")
}

fn storm(root: &Path, journal: &Path, process: &str, seed: u64, operations: u64) -> Result<(), String> {
    let journal = OpenOptions::new().append(true).create(true).open(journal);
    let mut journal = Journal(journal.map_err(|error| format!("journal: {error}"))?);
    let mut random = Random::new(seed);
    let cache = PipelineCache::open(CacheOptions::in_folder(root));
    let Some(disk) = cache.disk() else { return Err(format!("no disk: {:?}", cache.notices())) };
    let mut unflushed: Vec<u32> = Vec::new();
    for _ in 0..operations {
        let own = random.below(OWN);
        let name = own_name(process, own);
        let bytes = random.below(20_000) as usize;
        match random.below(16) {
            0..4 => {
                // From here on either version may be present.
                disk.write(&entry(OWN_KIND, &name, random.below(3), bytes), Durability::OnFlush)
                    .map_err(|error| format!("write: {error}"))?;
                unflushed.push(own);
            }
            4 => {
                disk.write(&entry(OWN_KIND, &name, random.below(3), bytes), Durability::Immediate)
                    .map_err(|error| format!("write: {error}"))?;
                journal.note(&format!("kept {own}"))?;
            }
            5 | 6 => {
                disk.flush().map_err(|error| format!("flush: {error}"))?;
                for own in std::mem::take(&mut unflushed) {
                    journal.note(&format!("kept {own}"))?;
                }
            }
            7 => {
                journal.note(&format!("removed {own}"))?;
                unflushed.retain(|unflushed| *unflushed != own);
                disk.invalidate(&[true], &[identity(OWN_KIND, &name).digest()])
                    .map_err(|error| format!("invalidate: {error}"))?;
            }
            8 => {
                disk.gc(None).map_err(|error| format!("gc: {error}"))?;
            }
            9 => {
                let found = disk.verify(&mut |_, _| ()).map_err(|error| format!("verify: {error}"))?;
                if !found.corrupt.is_empty() {
                    return Err(format!("{} entries are damaged", found.corrupt.len()));
                }
            }
            10 => {
                disk.stats().map_err(|error| format!("stats: {error}"))?;
            }
            11 | 12 => look(disk, &name, OWN_KIND)?,
            _ => shared(&cache, &mut random)?,
        }
    }
    Ok(())
}

fn look(disk: &DiskPipelineCache, name: &str, kind: PayloadKind) -> Result<(), String> {
    match disk.read(&identity(kind, name)) {
        Lookup::Hit(entry) if version_of(name, &entry.payload).is_none() => {
            Err(format!("`{name}` was served wrongly"))
        }
        _ => Ok(()),
    }
}

/// Uses an entry that other processes also use, as a driver would.
fn shared(cache: &PipelineCache, random: &mut Random) -> Result<(), String> {
    let name = format!("shared {}", random.below(SHARED));
    let kind = PayloadKind::Binary;
    let pause = Duration::from_micros(random.below(800).into());
    let id = identity(kind, &name);
    let made = cache.find_or_make(&id, |_| {
        let payload = cache.compile(id.digest(), || {
            std::thread::sleep(pause);
            payload(&name, 1, 3000)
        });
        Ok::<_, String>(match payload {
            Ok(payload) => Made::Keep { artifact: Digest::ZERO, payload },
            // Compiles of it were killed, so it is refused from now on.
            Err(_) => Made::Nothing,
        })
    })?;
    let Some(entry) = made else { return Ok(()) };
    let is_right = cache.load(&entry, |payload| {
        std::thread::sleep(pause);
        version_of(&name, payload) == Some(1)
    });
    if is_right { Ok(()) } else { Err(format!("`{name}` was served wrongly")) }
}

/// The entry that crashes its driver.
pub(super) const CRASHING: &str = "crashing";

/// Loads an entry that crashes the driver, and makes it if it is not available.
fn load(root: &Path) -> Result<(), String> {
    let cache = PipelineCache::open(CacheOptions::in_folder(root));
    let mut was_made = false;
    let entry = cache.find_or_make(&identity(PayloadKind::Binary, CRASHING), |_| {
        was_made = true;
        Ok::<_, String>(Made::Keep { artifact: Digest::ZERO, payload: payload(CRASHING, 1, 100) })
    })?;
    let Some(entry) = entry.filter(|_| !was_made) else { return Ok(()) };
    cache.load(&entry, |_| std::process::abort())
}

/// Runs a compile that crashes the driver.
fn compile(root: &Path) -> Result<(), String> {
    let cache = PipelineCache::open(CacheOptions::in_folder(root));
    cache
        .compile(Digest::of(CRASHING.as_bytes()), || std::process::abort())
        .map_err(|error| error.to_string())
}
