//! The suite `cache`: hits in the pipeline cache's memory and on disk, misses, writes, and flushes.

use std::collections::HashMap;
use std::fs::{self, File};
use std::hint::black_box;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use fulgurite_pipeline_cache::{CacheOptions, Digest, Durability, Lookup, PipelineCache};

use super::Session;
use crate::entries::{BYTES, entry, open};
use crate::measurement::Amount;
use crate::timing::{by_itself, by_wall};

/// Entries of a flush, and the bytes of each: few, because every flush needs new ones.
const FLUSHED: u32 = 32;
const FLUSHED_BYTES: usize = 2 << 10;

pub(super) fn run(session: &mut Session<'_>) -> anyhow::Result<()> {
    session.each("hit in memory, 64 KiB", in_memory);
    session.each("hit on disk, 64 KiB", on_disk);
    session.each("miss", miss);
    session.each("write, 64 KiB, durable when flushed", write);
    session.each(&format!("flush of {FLUSHED} entries, 2 KiB"), flush);
    Ok(())
}

fn in_memory(session: &mut Session<'_>) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let entry = entry(1, BYTES);
    let cache = PipelineCache::open(CacheOptions::in_folder(folder.path()));
    cache.keep(&entry.identity, Digest::ZERO, entry.payload.clone());
    ensure!(cache.find(&entry.identity).is_ok(), "what was kept is not found");
    let mut ours = by_wall(|| {
        let _ = black_box(cache.find(black_box(&entry.identity)));
        Ok(())
    });
    // The lower bound: a map behind a lock.
    let map = Mutex::new(HashMap::from([(Digest::of(&1u32.to_le_bytes()), Arc::new(entry.payload.clone()))]));
    let key = Digest::of(&1u32.to_le_bytes());
    let mut least = by_wall(|| {
        let map = map.lock().unwrap_or_else(PoisonError::into_inner);
        black_box(map.get(black_box(&key)).cloned());
        Ok(())
    });
    session.time("hit in memory, 64 KiB", Amount::Times(1), &mut ours, Some(("a locked map", &mut least)))?;
    Ok(())
}

fn on_disk(session: &mut Session<'_>) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let (disk, entry) = (open(folder.path())?, entry(1, BYTES));
    disk.write(&entry, Durability::OnFlush)?;
    let found = || matches!(disk.read(black_box(&entry.identity)), Lookup::Hit(_));
    ensure!(found(), "what was written is not found");
    let mut ours = by_wall(|| {
        black_box(found());
        Ok(())
    });
    let path = disk.path_for(&entry.identity);
    let mut least = by_wall(|| {
        black_box(Digest::of(&fs::read(&path)?));
        Ok(())
    });
    session.time("hit on disk, 64 KiB", Amount::Times(1), &mut ours, Some(("read and hash", &mut least)))?;
    Ok(())
}

fn miss(session: &mut Session<'_>) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let (disk, absent) = (open(folder.path())?, entry(2, 10));
    disk.write(&entry(1, BYTES), Durability::OnFlush)?;
    let missed = || !matches!(disk.read(black_box(&absent.identity)), Lookup::Hit(_));
    ensure!(missed(), "what was never written is found");
    let mut ours = by_wall(|| {
        black_box(missed());
        Ok(())
    });
    let path = disk.path_for(&absent.identity);
    let mut least = by_wall(|| {
        let _ = black_box(File::open(&path));
        Ok(())
    });
    session.time("miss", Amount::Times(1), &mut ours, Some(("open", &mut least)))?;
    Ok(())
}

fn write(session: &mut Session<'_>) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let disk = open(folder.path())?;
    // An existing entry is not written again, so each iteration writes a new one.
    let mut ours = 0;
    let mut ours = by_itself(|| {
        ours += 1;
        let entry = entry(ours, BYTES);
        let begun = Instant::now();
        disk.write(&entry, Durability::OnFlush)?;
        Ok(begun.elapsed())
    });
    // As the cache does: write to a temporary name, then rename.
    let plain = tempfile::tempdir()?;
    let payload = entry(0, BYTES).payload;
    let mut number = 0;
    let mut least = by_wall(|| {
        number += 1;
        let at = plain.path().join(number.to_string());
        let new = at.with_extension("new");
        fs::write(&new, &payload)?;
        Ok(fs::rename(&new, &at)?)
    });
    let name = "write, 64 KiB, durable when flushed";
    session.time(name, Amount::Times(1), &mut ours, Some(("write and rename", &mut least)))?;
    ensure!(matches!(disk.read(&entry(1, BYTES).identity), Lookup::Hit(_)), "what was written is not found");
    Ok(())
}

fn flush(session: &mut Session<'_>) -> anyhow::Result<()> {
    // Beside this program, because temporary folders are often in memory.
    let program = std::env::current_exe()?;
    let beside = program.parent().context("this program is in no folder")?;
    let new = || tempfile::tempdir_in(beside).or_else(|_| tempfile::tempdir());
    let (folder, plain) = (new()?, new()?);
    let disk = open(folder.path())?;
    let mut written = 0;
    let mut ours = by_itself(|| {
        for _ in 0..FLUSHED {
            written += 1;
            disk.write(&entry(written, FLUSHED_BYTES), Durability::OnFlush)?;
        }
        timed(|| Ok(disk.flush()?))
    });
    let payload = entry(0, FLUSHED_BYTES).payload;
    let mut number = 0;
    let mut one_by_one = by_itself(|| {
        let mut paths = Vec::new();
        for _ in 0..FLUSHED {
            number += 1;
            paths.push(plain.path().join(number.to_string()));
        }
        paths.iter().try_for_each(|path| fs::write(path, &payload))?;
        timed(|| {
            paths.iter().try_for_each(|path| File::open(path)?.sync_data())?;
            Ok(File::open(plain.path())?.sync_all()?)
        })
    });
    let name = format!("flush of {FLUSHED} entries, 2 KiB");
    let peer = Some(("fsync one by one", &mut one_by_one as _));
    session.time(&name, Amount::Times(1), &mut ours, peer)?;
    let first = entry(1, FLUSHED_BYTES).identity;
    ensure!(matches!(disk.read(&first), Lookup::Hit(_)), "what was flushed is not found");
    Ok(())
}

/// Returns the time that `work` takes.
fn timed(work: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    work()?;
    Ok(begun.elapsed())
}
