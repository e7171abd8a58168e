//! The suite `tune`: a small search of the autotuner, and lookups of its records.

use std::time::Duration;

use anyhow::ensure;
use fulgurite::autotune::{
    AutotunePolicy, AutotuneStore, MeasurePolicy, Source, StoreOptions, TuneOptions, Tuner,
};
use fulgurite::kernels::{Length, Sum};

use super::Session;
use crate::measurement::Amount;
use crate::target::Target;
use crate::timing::{Policy, by_wall};

/// The searched problem, with few candidates and so small that an interpreter finishes soon as well.
const PROBLEM: Length = Length(4096);
const CANDIDATES: usize = 4;

const FROM_A_FILE: &str = "recorded lookup, from a file";
const AGAIN: &str = "recorded lookup, again";

fn options() -> TuneOptions {
    let measure = MeasurePolicy::default().rounds(3).warm_up(Duration::ZERO).lasts(Duration::ZERO);
    TuneOptions::default().max_candidates(CANDIDATES).measure(measure).again()
}

pub(super) fn run(session: &mut Session<'_>, target: &Target) -> anyhow::Result<()> {
    session.each("search of 4 candidates, sum 4096", |session| search(session, target));
    session.each(FROM_A_FILE, |session| lookup(session, target, FROM_A_FILE));
    session.each(AGAIN, |session| lookup(session, target, AGAIN));
    Ok(())
}

fn tuner(target: &Target, root: &std::path::Path) -> Tuner {
    let store = AutotuneStore::open(root, StoreOptions::default());
    Tuner::new(target.device.clone(), store, &AutotunePolicy::default())
}

fn search(session: &mut Session<'_>, target: &Target) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let tuner = tuner(target, folder.path());
    let mut ours = by_wall(|| {
        let report = tuner.tune(Sum, &PROBLEM, &options())?;
        ensure!(report.measured > 0, "no candidate was measured");
        Ok(())
    });
    let turns = if session.options.quick { 3 } else { 11 };
    let policy = Policy { turns: [turns, turns], turn: Duration::ZERO, ..session.policy };
    session.time_by(policy, "search of 4 candidates, sum 4096", Amount::Times(1), &mut ours, None)?;
    Ok(())
}

/// Measures lookups of a record: by a new tuner that reads the file, or by one that already returned it.
fn lookup(session: &mut Session<'_>, target: &Target, name: &str) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let first = tuner(target, folder.path());
    first.tune(Sum, &PROBLEM, &options())?;
    first.store().save()?;
    let looked_up = |tuner: &Tuner| {
        let tuned = tuner.get(Sum, &PROBLEM)?;
        ensure!(tuned.source() == Source::Record, "the record is not used, but {:?}", tuned.source());
        Ok(())
    };
    let again = tuner(target, folder.path());
    let mut ours = by_wall(|| match name {
        AGAIN => looked_up(&again),
        _ => looked_up(&tuner(target, folder.path())),
    });
    session.time(name, Amount::Times(1), &mut ours, None)?;
    Ok(())
}
