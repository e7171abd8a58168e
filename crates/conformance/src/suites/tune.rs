//! The autotuner on a family of artificial candidates: one that is wrong, never ends or crashes its process never wins,
//! however fast it is; measured candidates are not measured again; records that several processes save at once are not
//! lost.
//!
//! A case is one property of one tuning, or one lookup of a record after an operation on its file.

mod clock;
mod damage;
mod planted;
mod writers;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fulgurite_autotune::{
    AutotuneMode, AutotunePolicy, AutotuneStore, CandidateRow, Gate, Instance, MeasurePolicy, ProcessGate,
    Rejection, Source, StoreOptions, TuneOptions, TuneReport, TuneVerdict, Tuner, answer, tune, tune_with,
};
use fulgurite_hal::{CompileOptions, DeviceError, Error, LaunchOptions};
use fulgurite_runtime::{Buffer, Device};
use fulgurite_spec::Code;

use crate::harness::Harness;
use crate::suites::checks::{self, Checks, Part};

use planted::{Kind, Planted, Size};

pub(super) fn run(harness: &mut Harness<'_>, progress: &mut dyn FnMut(usize, usize)) {
    checks::run(harness, &[PARTS, damage::PARTS, writers::PARTS].concat(), progress);
}

const PARTS: &[(&str, Part)] = &[
    ("what a device's own clock says", own_clock),
    ("what must never win", never_wins),
    ("a candidate that takes its process with it", crashing),
    ("what is no fault of a candidate", no_fault),
    ("nothing that is right", nothing_right),
    ("what is remembered", remembered),
    ("what a search finds in a large space", searching),
    ("tuned kernels as a program uses them", in_the_background),
];

/// Timeout of a launch: enough for a kernel of a few steps on a busy machine. NVIDIA's driver ends a kernel that runs
/// for some seconds while other processes use the device, and the device is lost.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Returns a device of the backend whose launches report artificial times.
fn device(checks: &Checks<'_, '_>) -> Device {
    let backend = Arc::new(clock::Clock(Arc::clone(checks.backend())));
    Device::new(backend, CompileOptions::default(), LaunchOptions::default())
}

fn options() -> TuneOptions {
    let measure = MeasurePolicy::default().rounds(5).lasts(Duration::ZERO).warm_up(Duration::ZERO);
    let measure = measure.timeout(TIMEOUT);
    TuneOptions::default().measure(measure)
}

/// Wraps an error of the store or the system that no test expects.
fn unexpected(error: impl std::fmt::Display) -> Error {
    Error::Internal(error.to_string())
}

fn planted(checks: &Checks<'_, '_>, kinds: &[Kind]) -> Result<Instance, Error> {
    Instance::new(Arc::new(Planted::new(kinds)), device(checks).snapshot(), &Size(SIZE))
}

/// Number of elements of the problem.
const SIZE: u32 = 512;

/// Returns the verdict on each candidate.
fn verdicts(report: &TuneReport) -> Vec<Option<TuneVerdict>> {
    report.candidates.iter().map(|candidate| candidate.row.as_ref().map(|row| row.verdict)).collect()
}

fn reason(report: &TuneReport, at: usize) -> String {
    let row = report.candidates[at].row.as_ref();
    row.and_then(|row| row.reason.clone()).unwrap_or_default()
}

/// Checks the device's real clock: more work takes longer. Other load on the machine can only make a launch longer, so
/// the minimum of enough runs is significant. All other parts use artificial times.
fn own_clock(checks: &mut Checks<'_, '_>) -> Result<(), Error> {
    let device = checks.device();
    let (x, y) = (device.zeroed(u64::from(SIZE) * 4)?, device.zeroed(u64::from(SIZE) * 4)?);
    let options = LaunchOptions::invocations([SIZE, 1, 1]);
    let compile = |steps| device.compile(&planted::hash(steps)?, &CompileOptions::default());
    let programs = [compile(16)?, compile(4000)?];
    let mut least = [Duration::MAX; 2];
    for _ in 0..1000 {
        for (program, least) in programs.iter().zip(&mut least) {
            let views = [x.whole(), y.whole()];
            let report = program.launch(&views, &[planted::zero()], &options.clone().timed(true))?;
            let Some(time) = report.device_time else {
                checks.harness.unsupported(checks.group, "a clock");
                return Ok(());
            };
            *least = (*least).min(time);
        }
        if least[0] * 2 < least[1] {
            break;
        }
    }
    checks.holds("250 times the work takes longer", least[0] * 2 < least[1], || format!("{least:?}"));
    checks.holds("every launch takes time", !least[0].is_zero(), || format!("{least:?}"));
    Ok(())
}

fn never_wins(checks: &mut Checks<'_, '_>) -> Result<(), Error> {
    let kinds = [
        Kind::Slow,
        Kind::Wrong,
        Kind::Fast,
        Kind::WrongAtTheEnd,
        Kind::Trapping,
        Kind::Endless,
        Kind::TooLarge,
        Kind::Unwritten,
        Kind::Expecting,
    ];
    let instance = planted(checks, &kinds)?;
    let store = AutotuneStore::in_memory();
    let report = tune(&device(checks), &instance, &store, &options())?;
    checks.equal("the selected candidate", &report.best, &2);
    let found = verdicts(&report);
    let is_right = |at: usize| matches!(found[at], Some(TuneVerdict::Measured | TuneVerdict::Eliminated));
    checks.holds("the right ones are timed", is_right(0) && is_right(2), || format!("{found:?}"));
    // A driver that ends long loops reports that instead of a timeout.
    let ends_loops = checks.harness.backend().snapshot().limits.loop_limit.is_some();
    let endless = if ends_loops { TuneVerdict::Invalid } else { TuneVerdict::TimedOut };
    for (at, verdict) in [
        (1, TuneVerdict::Wrong),
        (3, TuneVerdict::Wrong),
        (4, TuneVerdict::Invalid),
        (5, endless),
        (6, TuneVerdict::Invalid),
        (7, TuneVerdict::Wrong),
        (8, TuneVerdict::Wrong),
    ] {
        checks.equal(&format!("the verdict on {:?}", kinds[at]), &found[at], &Some(verdict));
        checks.holds("a rejected candidate has a reason", !reason(&report, at).is_empty(), || {
            "no reason".to_owned()
        });
    }
    let difference = reason(&report, 3);
    let last = format!("element {}", SIZE - 1);
    checks.holds("the first difference is named", difference.contains(&last), || difference.clone());
    let speedup = report.speedup.unwrap_or_default();
    checks.holds("the best is faster than the heuristic's", speedup > 1.0, || format!("{speedup}"));
    // The record must agree.
    let record = store.get(&report.key);
    let best = record.as_ref().and_then(|record| record.best()).map(|(_, row)| row.config.clone());
    checks.equal("the best of the record", &best, &Some(instance.candidates[2].config.clone()));
    Ok(())
}

fn crashing(checks: &mut Checks<'_, '_>) -> Result<(), Error> {
    let Some(worker) = checks.worker() else { return Ok(()) };
    let kinds = [Kind::Slow, Kind::Crashing, Kind::Fast, Kind::Crashing, Kind::Wrong];
    let instance = planted(checks, &kinds)?;
    let names: Vec<_> = kinds.iter().map(|kind| kind.name()).collect();
    // The worker process tries the candidates on the oracle, the only backend it has.
    let start = || worker.command(&["tune-try", &names.join(",")]);
    let mut gate = ProcessGate::new(start, Duration::from_secs(60));
    let store = AutotuneStore::in_memory();
    let report = tune_with(&device(checks), &instance, &store, &options(), &mut gate, &mut |_| ())?;
    checks.equal("the selected candidate", &report.best, &2);
    let found = verdicts(&report);
    for at in [1, 3] {
        checks.equal(
            "the verdict on a candidate that crashes its process",
            &found[at],
            &Some(TuneVerdict::Crashed),
        );
    }
    checks.equal("the verdict on the next candidate", &found[4], &Some(TuneVerdict::Wrong));
    // The candidate must not be tried again, because that would crash this process.
    let again = tune(&device(checks), &instance, &store, &options())?;
    checks.equal("number of repeated measurements", &again.measured, &0);
    Ok(())
}

/// A gate that accepts every candidate except one, for which it returns a device error.
struct Saying {
    at: usize,
    error: DeviceError,
}

impl Gate for Saying {
    fn check(
        &mut self,
        _: &Instance,
        candidates: &[usize],
        done: &mut dyn FnMut(usize, Result<(), Rejection>),
    ) -> Result<(), Error> {
        for at in candidates {
            if *at != self.at {
                done(*at, Ok(()));
                continue;
            }
            let error = Error::Device(self.error.clone());
            done(*at, Err(Rejection::of(&error)));
            if matches!(self.error, DeviceError::Lost(_)) {
                return Err(error);
            }
        }
        Ok(())
    }
}

fn no_fault(checks: &mut Checks<'_, '_>) -> Result<(), Error> {
    let instance = planted(checks, &[Kind::Slow, Kind::Fast, Kind::Middling])?;
    let device = device(checks);
    let run = |store: &AutotuneStore, error| {
        let mut gate = Saying { at: 1, error };
        tune_with(&device, &instance, store, &options(), &mut gate, &mut |_| ())
    };
    // A candidate that runs out of memory is skipped, and measured in a later run.
    let store = AutotuneStore::in_memory();
    let report = run(&store, DeviceError::OutOfMemory { bytes: 1 << 40 })?;
    let found = (report.measured, report.best, verdicts(&report)[1]);
    checks.equal("a candidate that runs out of memory", &found, &(2, 2, Some(TuneVerdict::OutOfMemory)));
    let report = tune(&device, &instance, &store, &options())?;
    checks.equal("number of later measurements, and the best", &(report.measured, report.best), &(1, 1));
    // The candidate that was being tried when the device was lost is blamed; nothing is recorded of the others.
    let store = AutotuneStore::in_memory();
    let lost = run(&store, DeviceError::Lost("a trial"));
    checks.refused("with the device lost", lost.map(drop), Code::DeviceLost);
    let record = store.get(&instance.key(&options().measure.key())).unwrap_or_default();
    let rows: Vec<_> = record.candidates().values().map(|row| (row.config.clone(), row.verdict)).collect();
    let crashed = (instance.candidates[1].config.clone(), TuneVerdict::Crashed);
    checks.equal("the record", &rows, &vec![crashed]);
    let report = tune(&device, &instance, &store, &options())?;
    checks.equal(
        "number of measurements of the others, and the best",
        &(report.measured, report.best),
        &(2, 2),
    );
    Ok(())
}

/// Runs the worker command in `args`, or returns `None` if it belongs to another suite.
pub(super) fn work(args: &[&str]) -> Option<Result<(), String>> {
    match *args {
        ["tune-try", kinds] => Some(try_planted(kinds)),
        ["tune-save", root, journal, name, count] => {
            Some(writers::save(Path::new(root), Path::new(journal), name, count))
        }
        _ => None,
    }
}

fn try_planted(kinds: &str) -> Result<(), String> {
    let kinds: Option<Vec<Kind>> = kinds.split(',').map(Kind::parse).collect();
    let kinds = kinds.ok_or("unknown kind")?;
    let device = planted::reference();
    let instance = Instance::new(Arc::new(Planted::new(&kinds)), device.snapshot(), &Size(SIZE));
    let instance = instance.map_err(|error| error.to_string())?;
    let tester = fulgurite_autotune::Tester::new(&device, &instance, 1, Duration::from_secs(5));
    let tester = tester.map_err(|error| error.to_string())?;
    let check = |index: usize| match kinds[index] {
        Kind::Crashing => std::process::abort(),
        _ => tester.check(&instance.candidates[index]),
    };
    answer(std::io::stdin().lock(), std::io::stdout().lock(), check).map_err(|error| error.to_string())
}

fn nothing_right(checks: &mut Checks<'_, '_>) -> Result<(), Error> {
    let instance = planted(checks, &[Kind::Wrong, Kind::Trapping])?;
    let store = AutotuneStore::in_memory();
    let result = tune(&device(checks), &instance, &store, &options());
    checks.refused("nothing right", result, Code::NothingRight);
    let record = store.get(&instance.key(&options().measure.key()));
    let rejected = record.map(|record| record.candidates().len());
    checks.equal("rejected candidates in the record", &rejected, &Some(2));
    let none = planted(checks, &[]);
    checks.refused("no configuration", none.map(drop), Code::NoConfiguration);
    let text = Instance::parse(Arc::new(Planted::new(&[Kind::Fast])), device(checks).snapshot(), "many");
    checks.refused("no problem", text.map(drop), Code::BadProblem);
    Ok(())
}

fn remembered(checks: &mut Checks<'_, '_>) -> Result<(), Error> {
    let folder = tempfile::tempdir().map_err(unexpected)?;
    let open = || AutotuneStore::open(folder.path().join("autotune"), StoreOptions::default());
    let device = device(checks);
    let run = |instance: &Instance, options: &TuneOptions| {
        // Open the store again, as another process would.
        let store = open();
        let report = tune(&device, instance, &store, options)?;
        let saved = store.save()?;
        Ok::<_, Error>((report, saved))
    };
    let few = planted(checks, &[Kind::Slow, Kind::Fast, Kind::Wrong])?;
    let (first, saved) = run(&few, &options())?;
    checks.equal(
        "number of first measurements, and whether they are saved",
        &(first.measured, saved),
        &(2, true),
    );
    let (second, saved) = run(&few, &options())?;
    checks.equal(
        "number of measurements of another process, and whether they are saved",
        &(second.measured, saved),
        &(0, false),
    );
    checks.equal("the choice of another process", &second.best, &first.best);

    let more = planted(checks, &[Kind::Slow, Kind::Fast, Kind::Wrong, Kind::Middling])?;
    let (third, _) = run(&more, &options())?;
    let new: Vec<_> = third.candidates.iter().filter(|candidate| candidate.is_new).collect();
    let names: Vec<_> = new.iter().map(|candidate| candidate.name.as_str()).collect();
    checks.equal(
        "the measured candidates after one more was added",
        &names,
        &vec![more.candidates[3].name().as_str()],
    );

    // A changed kernel is a new candidate, even if its configuration has the same name.
    let mut changed = Planted::new(&[Kind::Slow, Kind::Fast, Kind::Wrong, Kind::Middling]);
    changed.edition = 1;
    let changed = Instance::new(Arc::new(changed), device.snapshot(), &Size(SIZE))?;
    let (fourth, _) = run(&changed, &options())?;
    checks.equal("number of measurements of changed kernels", &fourth.measured, &3);

    // With another driver, everything is measured again, and the records of the first driver stay.
    let mut snapshot = device.snapshot().clone();
    snapshot.driver += " with a patch";
    let patched = Instance::new(Arc::new(Planted::new(&[Kind::Slow, Kind::Fast])), &snapshot, &Size(SIZE))?;
    let (fifth, _) = run(&patched, &options())?;
    checks.equal("number of measurements with another driver", &fifth.measured, &2);
    let store = open();
    checks.equal("records of both drivers", &store.len()?, &2);
    checks.holds("the record of the first driver is present", store.get(&first.key).is_some(), || {
        "missing".to_owned()
    });

    let (sixth, _) = run(&few, &options().again())?;
    checks.equal("number of measurements on request", &sixth.measured, &2);
    let store = open();
    store.forget(&first.key);
    store.save()?;
    let (seventh, _) = run(&few, &options().max_candidates(1))?;
    checks.equal("number of measurements with a limit of one", &seventh.measured, &1);

    // Two programs that tried different candidates of one problem independently.
    let both = [(open(), "one"), (open(), "another")];
    for (store, name) in &both {
        let row = CandidateRow::new(toml::Table::new(), TuneVerdict::Measured).timed(1e9, 0.0, 5);
        store.insert(&first.key, [((*name).to_owned(), row)]);
    }
    for (store, _) in &both {
        store.save()?;
    }
    let known = open().get(&first.key).unwrap_or_default();
    for name in both.map(|(_, name)| name) {
        let known = known.candidates().contains_key(name);
        checks.holds("the records of two programs for one problem", known, || format!("{name} is gone"));
    }
    Ok(())
}

fn searching(checks: &mut Checks<'_, '_>) -> Result<(), Error> {
    // One of three hundred candidates is fast, three fields away from the heuristic's.
    let device = device(checks);
    let landscape = |has_another| {
        let family = Arc::new(planted::Landscape { has_another });
        Instance::new(family, device.snapshot(), &Size(SIZE))
    };
    let instance = landscape(false)?;
    let options = options().exhaustive_up_to(32);
    let tried = |most| {
        let options = options.clone().max_candidates(most);
        let report = tune(&device, &instance, &AutotuneStore::in_memory(), &options)?;
        let tried = report.candidates.iter().filter(|candidate| candidate.row.is_some());
        let names: Vec<_> = tried.map(|candidate| candidate.name.clone()).collect();
        Ok::<_, Error>((report, names))
    };
    let (first, second) = (tried(24)?.1, tried(24)?.1);
    checks.equal("the first candidates of a seed", &second, &first);
    // Later candidates are on average closer to the best than the random ones at the start.
    let away = |names: &[String]| -> f64 {
        let all: Vec<_> =
            names.iter().filter_map(|name| planted::Landscape::away(name)).map(f64::from).collect();
        all.iter().sum::<f64>() / all.len() as f64
    };
    let mut next = tried(48)?.1;
    next.retain(|name| !first.contains(name));
    let means = [away(&first), away(&next)];
    checks.holds("a search approaches the best", means[1] < means[0], || format!("{means:?}"));
    let (report, names) = tried(72)?;
    checks.holds("only some candidates are tried", (24..=72).contains(&names.len()), || {
        format!("{}", names.len())
    });
    let away = planted::Landscape::away(&report.candidates[report.best].name);
    checks.holds("the found candidate is near the best", away.is_some_and(|away| away <= 3), || {
        format!("{away:?} away")
    });

    let folder = tempfile::tempdir().map_err(unexpected)?;
    let run = |instance: &Instance, options: &TuneOptions| {
        // Open the store again, as another process would.
        let store = AutotuneStore::open(folder.path().join("autotune"), StoreOptions::default());
        let report = tune(&device, instance, &store, options)?;
        store.save()?;
        Ok::<_, Error>(report)
    };
    let known = |report: &TuneReport| report.candidates.iter().filter(|c| c.row.is_some()).count();
    let none = run(&instance, &options.clone().budget(Duration::ZERO))?;
    let out = (none.out_of_budget, none.measured > 0, known(&none) < 24);
    checks.equal("without time, little is tried, and the heuristic's is used", &out, &(true, true, true));
    let first = run(&instance, &options.clone().max_candidates(24))?;
    let second = run(&instance, &options)?;
    checks.holds("a search that was stopped goes on", known(&second) > known(&first), || "no".to_owned());
    let third = run(&instance, &options)?;
    let found = (third.measured, known(&third), third.best);
    checks.equal("measurements after the search has ended", &found, &(0, known(&second), second.best));
    let another = run(&landscape(true)?, &options)?;
    let new = another.candidates.iter().position(|candidate| candidate.is_new);
    let last = another.candidates.len() - 1;
    checks.equal(
        "measurements after one more candidate was added",
        &(another.measured, new),
        &(1, Some(last)),
    );
    let fifth = run(&instance, &options.again())?;
    checks.holds("everything is measured again on request", fifth.measured > 1, || "no".to_owned());
    Ok(())
}

fn in_the_background(checks: &mut Checks<'_, '_>) -> Result<(), Error> {
    let folder = tempfile::tempdir().map_err(unexpected)?;
    let root = folder.path().join("autotune");
    let kinds = [Kind::Slow, Kind::Wrong, Kind::Fast];
    // Separate devices, as in separate processes: none shares what another compiled or was given.
    let devices: Vec<_> = (0..9).map(|_| device(checks)).collect();
    let mut devices = devices.into_iter();
    let mut tuner = |mode| {
        let store = AutotuneStore::open(&root, StoreOptions::default());
        let device = devices.next().ok_or_else(|| unexpected("another device"))?;
        Ok::<_, Error>(Tuner::new(device, store, &AutotunePolicy::mode(mode)))
    };
    let use_it = |checks: &mut Checks<'_, '_>, tuner: &Tuner| -> Result<_, Error> {
        // The lock keeps the background tuning from finishing before the initial choice was checked.
        let turn = Arc::new(Mutex::new(()));
        let waits = turn.lock().unwrap_or_else(PoisonError::into_inner);
        let tuned = tuner.get(Planted::new(&kinds).after(&turn), &Size(SIZE))?;
        let first = tuned.source();
        drop(waits);
        let input: Vec<u8> = planted::input(7).iter().flat_map(|x| x.to_le_bytes()).collect();
        let buffers = [tuner.device().upload(&input)?, tuner.device().zeroed(u64::from(SIZE) * 4)?];
        let views = buffers.each_ref().map(Buffer::whole);
        let expected = planted::expected(&planted::input(7));
        // Launch both during background tuning and after its end.
        for _ in 0..3 {
            tuned.launch(&views, &LaunchOptions::default())?;
            let found = views[1].to_vec()?;
            let found: Vec<u32> = found.as_chunks().0.iter().map(|b| u32::from_le_bytes(*b)).collect();
            checks.holds("the result", found == expected, || format!("{:?}", &found[..4]));
            let ended = tuned.wait(Duration::from_secs(60))?;
            checks.holds("tuning ends", ended, || "not ended".to_owned());
        }
        Ok((first, tuned.source(), tuned.config()))
    };
    let names: Vec<String> = planted(checks, &kinds)?.candidates.iter().map(|c| c.name()).collect();
    let off = use_it(checks, &tuner(AutotuneMode::Off)?)?;
    checks.equal("off", &off, &(Source::Heuristic, Source::Heuristic, names[0].clone()));
    let cached = use_it(checks, &tuner(AutotuneMode::Cached)?)?;
    checks.equal("cached, with no record", &cached, &off);
    let on = use_it(checks, &tuner(AutotuneMode::On)?)?;
    checks.equal("on: at once, and then", &on, &(Source::Heuristic, Source::Tuned, names[2].clone()));
    let cached = use_it(checks, &tuner(AutotuneMode::Cached)?)?;
    checks.equal("cached", &cached, &(Source::Record, Source::Record, names[2].clone()));
    let mut changed = Planted::new(&kinds);
    changed.edition = 1;
    let source = tuner(AutotuneMode::Cached)?.get(changed, &Size(SIZE))?.source();
    checks.equal("cached, of kernels that have changed since", &source, &Source::Heuristic);
    // A record in which a former version of the fastest candidate was the fastest: the current version must still win.
    let store = AutotuneStore::open(&root, StoreOptions::default());
    let instance = planted(checks, &kinds)?;
    let row = CandidateRow::new(instance.candidates[2].config.clone(), TuneVerdict::Measured);
    let once = [("another".to_owned(), row.timed(0.5, 0.0, 5))];
    store.insert(&instance.key(&options().measure.key()), once);
    store.save()?;
    let on = use_it(checks, &tuner(AutotuneMode::On)?)?;
    let expected = (Source::Record, Source::Tuned, names[2].clone());
    checks.equal("on, where the fastest has changed since", &on, &expected);
    let off = use_it(checks, &tuner(AutotuneMode::Off)?)?;
    checks.equal("off, with a record", &off.0, &Source::Heuristic);
    let another = tuner(AutotuneMode::Off)?;
    let tuner = tuner(AutotuneMode::Off)?;
    let held = tuner.get(Planted::new(&kinds), &Size(SIZE))?;
    tuner.tune(Planted::new(&kinds), &Size(SIZE), &options())?;
    checks.equal("tuned when it is asked for, whatever the mode", &held.config(), &names[2]);
    another.tune(Planted::new(&kinds), &Size(SIZE), &options())?;
    let then = another.get(Planted::new(&kinds), &Size(SIZE))?;
    checks.equal("the choice after that", &then.config(), &names[2]);
    Ok(())
}
