//! Handwritten graphs: dependencies between steps, and changes between replays.

use std::ops::Range;

use fulgurite_hal::{Error, LaunchOptions};
use fulgurite_runtime::{Graph, HazardKind, Program, Recorder};
use fulgurite_spec::Code;

use super::{MAP, STEP, compile, map, step, to_words, word};
use crate::suites::bytes;
use crate::suites::checks::{Checks, Part};

pub(super) const PARTS: &[(&str, Part)] = &[
    ("hazards of graphs", hazards),
    ("hazards after rebinding", rebound),
    ("graph replays", replays),
    ("graph refusals", refusals),
    ("graphs and freed buffers", freed),
    ("a graph of many steps", long),
];

/// Steps of the longest graph here: more than a backend puts into one pool or command buffer of usual size.
const MANY: u32 = 5001;

type Found = (usize, usize, HazardKind, Range<u64>);

fn found(graph: &Graph) -> Vec<Found> {
    graph.hazards().iter().map(|h| (h.before, h.step, h.kind, h.bytes.clone())).collect()
}

/// A step on the buffers `a`, `b` and `c`, each with a byte range.
enum Does {
    Map(Place, Place),
    Step(Place, Place),
    Copy(Place, Place),
    Fill(Place),
}

type Place = (usize, Range<u64>);

/// A name, the recorded steps, and every expected hazard.
type Subject = (&'static str, Vec<Does>, Vec<Found>);

fn subjects() -> Vec<Subject> {
    use Does::{Copy, Fill, Map, Step};
    use HazardKind::{ReadAfterWrite as Raw, WriteAfterRead as War, WriteAfterWrite as Waw};
    let a = |range: Range<u64>| (0, range);
    let b = |range: Range<u64>| (1, range);
    let c = |range: Range<u64>| (2, range);
    vec![
        ("nothing", vec![], vec![]),
        ("two readers", vec![Map(a(0..40), b(0..40)), Map(a(0..40), c(0..40))], vec![]),
        (
            "disjoint parts of one buffer",
            vec![
                Fill(a(0..40)),
                Fill(a(40..80)),
                Map(a(80..120), a(120..160)),
                Copy(a(160..161), a(161..162)),
            ],
            vec![],
        ),
        ("an empty part", vec![Fill(a(0..40)), Fill(a(20..20)), Map(a(20..20), b(0..40))], vec![]),
        ("a read after a write", vec![Fill(a(0..40)), Map(a(0..40), b(0..40))], vec![(0, 1, Raw, 0..40)]),
        ("a write after a read", vec![Map(a(0..40), b(0..40)), Fill(a(0..40))], vec![(0, 1, War, 0..40)]),
        ("a write after a write", vec![Fill(a(0..40)), Fill(a(0..40))], vec![(0, 1, Waw, 0..40)]),
        (
            "what is read and written",
            vec![Step(a(0..40), b(0..40)), Step(a(0..40), b(0..40)), Step(b(0..40), c(0..40))],
            vec![(0, 1, Waw, 0..40), (1, 2, Raw, 0..40)],
        ),
        (
            "parts that meet",
            vec![Fill(a(0..16)), Fill(a(16..48)), Map(a(8..24), b(0..16)), Fill(a(23..24))],
            vec![(0, 2, Raw, 8..16), (1, 2, Raw, 16..24), (2, 3, War, 23..24)],
        ),
        (
            "the last of two writes",
            vec![Fill(a(0..40)), Fill(a(0..40)), Map(a(0..40), b(0..40))],
            vec![(0, 1, Waw, 0..40), (1, 2, Raw, 0..40)],
        ),
        (
            "both of two writes, one of a part",
            vec![Fill(a(0..40)), Fill(a(20..40)), Map(a(0..40), b(0..40))],
            vec![(0, 1, Waw, 20..40), (1, 2, Raw, 20..40)],
        ),
        (
            "a write, a read, a write",
            vec![Fill(a(0..40)), Map(a(0..40), b(0..40)), Fill(a(0..40))],
            vec![(0, 1, Raw, 0..40), (1, 2, War, 0..40)],
        ),
        (
            "a write after two readers",
            vec![Map(a(0..40), b(0..40)), Copy(a(0..40), c(0..40)), Fill(a(0..40))],
            vec![(0, 2, War, 0..40), (1, 2, War, 0..40)],
        ),
        (
            "two ways to one step",
            vec![Fill(a(0..40)), Copy(a(0..40), b(4..44)), Map(b(4..44), a(0..40))],
            vec![(0, 1, Raw, 0..40), (1, 2, Raw, 4..44), (1, 2, War, 0..40)],
        ),
        (
            "a diamond",
            vec![
                Fill(a(0..40)),
                Map(a(0..40), b(0..40)),
                Map(a(0..40), c(0..40)),
                Step(b(0..40), c(0..40)),
                Fill(a(0..40)),
            ],
            vec![
                (0, 1, Raw, 0..40),
                (0, 2, Raw, 0..40),
                (1, 3, Raw, 0..40),
                (2, 3, Waw, 0..40),
                (1, 4, War, 0..40),
                (2, 4, War, 0..40),
            ],
        ),
    ]
}

/// Creates three buffers and records a graph of steps on them.
fn record(programs: &[Program; 2], does: &[Does]) -> Result<Graph, Error> {
    let device = programs[0].device();
    let buffers = [device.zeroed(240)?, device.zeroed(240)?, device.zeroed(240)?];
    let mut recorder = Recorder::new(device);
    let options = LaunchOptions::default();
    for does in does {
        let mut slot = |place: &Place| -> Result<_, Error> {
            Ok(recorder.slot(buffers[place.0].view(place.1.clone())?))
        };
        match does {
            Does::Map(from, to) | Does::Step(from, to) => {
                let slots = [slot(from)?, slot(to)?];
                let program = &programs[usize::from(matches!(does, Does::Step(..)))];
                recorder.launch(program, &slots, &[word(0)], &options)?;
            }
            Does::Copy(from, to) => {
                let (from, to) = (slot(from)?, slot(to)?);
                recorder.copy(from, to)?;
            }
            Does::Fill(to) => {
                let to = slot(to)?;
                recorder.fill(to, &[1])?;
            }
        }
    }
    Ok(recorder.finish())
}

fn hazards(checks: &mut Checks<'_, '_>) -> Result<(), Error> {
    let device = checks.device();
    let programs = [compile(&device, MAP)?, compile(&device, STEP)?];
    for (what, does, expected) in subjects() {
        let graph = record(&programs, &does)?;
        checks.equal(what, &found(&graph), &expected);
        checks.equal("number of steps", &(graph.len(), graph.is_empty()), &(does.len(), does.is_empty()));
        let launches =
            does.iter().filter(|does| matches!(does, Does::Map(..) | Does::Step(..))).count() as u64;
        let before = device.counters().launches;
        graph.replay()?;
        checks.equal("launches of a replay", &(device.counters().launches - before), &launches);
    }
    Ok(())
}

fn rebound(checks: &mut Checks<'_, '_>) -> Result<(), Error> {
    let device = checks.device();
    let program = compile(&device, MAP)?;
    let (a, b) = (device.zeroed(80)?, device.zeroed(80)?);
    let mut recorder = Recorder::new(&device);
    let (filled, from, to) =
        (recorder.slot(a.view(..40)?), recorder.slot(a.view(..40)?), recorder.slot(b.view(..40)?));
    recorder.fill(filled, &[1])?;
    recorder.launch(&program, &[from, to], &[word(0)], &LaunchOptions::default())?;
    let mut graph = recorder.finish();
    let raw = vec![(0, 1, HazardKind::ReadAfterWrite, 0..40)];
    checks.equal("hazards as recorded", &found(&graph), &raw);
    graph.update(&[(filled, a.view(40..)?)], &[])?;
    checks.equal("hazards of parts that don't meet", &found(&graph), &vec![]);
    graph.update(&[(filled, b.view(20..60)?)], &[])?;
    let waw = vec![(0, 1, HazardKind::WriteAfterWrite, 20..40)];
    checks.equal("hazards of parts that meet again", &found(&graph), &waw);
    graph.update(&[(filled, a.view(..40)?), (filled, a.view(4..44)?)], &[])?;
    let raw = vec![(0, 1, HazardKind::ReadAfterWrite, 4..40)];
    checks.equal("hazards of the last binding", &found(&graph), &raw);
    Ok(())
}

fn replays(checks: &mut Checks<'_, '_>) -> Result<(), Error> {
    let device = checks.device();
    let (maps, steps) = (compile(&device, MAP)?, compile(&device, STEP)?);
    let x: Vec<u32> = (0..60).collect();
    let (held, y, other) = (device.upload(&bytes(&x))?, device.zeroed(240)?, device.zeroed(240)?);
    let mut recorder = Recorder::new(&device);
    let (from, to) = (recorder.slot(&held), recorder.slot(&y));
    let options = LaunchOptions::default();
    let first = recorder.launch(&maps, &[from, to], &[word(1)], &options)?;
    let second = recorder.launch(&steps, &[from, to], &[word(2)], &options)?;
    checks.equal("the numbers of steps", &[first.index(), second.index()], &[0, 1]);
    let mut graph = recorder.finish();
    checks.equal("the buffer after recording", &y.whole().to_vec()?, &vec![0; 240]);
    let after = |[a, b]: [u32; 2]| -> Vec<u32> { x.iter().map(|x| step([*x, map(*x, a)], b)).collect() };
    for _ in 0..3 {
        graph.replay()?;
        checks.equal("the result of a replay", &to_words(&y.whole().to_vec()?), &after([1, 2]));
    }
    // A replay in progress keeps the arguments with which it began.
    let pending = graph.submit()?;
    graph.update(&[(to, (&other).into())], &[(second, vec![word(9)])])?;
    graph.replay()?;
    pending.wait()?;
    checks.equal("memory that was bound before", &to_words(&y.whole().to_vec()?), &after([1, 2]));
    checks.equal("memory that is bound now", &to_words(&other.whole().to_vec()?), &after([1, 9]));
    graph.update(&[], &[(first, vec![word(5)])])?;
    let pending = graph.submit()?;
    // Dropping the graph must not affect its replay.
    drop(graph);
    pending.wait()?;
    checks.equal("new parameters", &to_words(&other.whole().to_vec()?), &after([5, 9]));
    Ok(())
}

fn refusals(checks: &mut Checks<'_, '_>) -> Result<(), Error> {
    let (device, elsewhere) = (checks.device(), checks.device());
    let program = compile(&device, STEP)?;
    let (x, y) = (device.zeroed(80)?, device.zeroed(80)?);
    let options = LaunchOptions::default();
    let mut others = Recorder::new(&device);
    let (other, other_y) = (others.slot(&x), others.slot(&y));
    let other_step = others.launch(&program, &[other, other_y], &[word(1)], &options)?;
    let mut recorder = Recorder::new(&device);
    let (from, to) = (recorder.slot(x.view(..40)?), recorder.slot(&y));
    let part = recorder.slot(x.view(20..60)?);
    let foreign = others.slot(&elsewhere.zeroed(80)?);
    let foreign_target = recorder.slot(&elsewhere.zeroed(80)?);
    let foreign_program = compile(&elsewhere, STEP)?;
    checks.refused(
        "a slot of another graph",
        recorder.launch(&program, &[from, other], &[word(1)], &options),
        Code::BadGraph,
    );
    checks.refused("another graph's slot, filled", recorder.fill(other, &[1]), Code::BadGraph);
    checks.refused("another graph's slot, copied", recorder.copy(other, to), Code::BadGraph);
    checks.refused(
        "another device's program",
        recorder.launch(&foreign_program, &[from, to], &[word(1)], &options),
        Code::ForeignBuffer,
    );
    checks.refused(
        "another device's buffer",
        others.launch(&program, &[foreign, other_y], &[word(1)], &options),
        Code::ForeignBuffer,
    );
    checks.refused(
        "a fill of another device's buffer",
        recorder.fill(foreign_target, &[1]),
        Code::ForeignBuffer,
    );
    checks.refused("a copy to another device", recorder.copy(to, foreign_target), Code::ForeignBuffer);
    checks.refused("a copy from another device", recorder.copy(foreign_target, to), Code::ForeignBuffer);
    checks.refused(
        "too few slots",
        recorder.launch(&program, &[from], &[word(1)], &options),
        Code::WrongArgumentCount,
    );
    checks.refused(
        "too many slots",
        recorder.launch(&program, &[from, to, from], &[word(1)], &options),
        Code::WrongArgumentCount,
    );
    checks.refused(
        "too few parameters",
        recorder.launch(&program, &[from, to], &[], &options),
        Code::WrongArgumentCount,
    );
    checks.refused(
        "a launch on parts that overlap",
        recorder.launch(&program, &[from, part], &[word(1)], &options),
        Code::BufferOverlap,
    );
    checks.refused("a copy of parts that overlap", recorder.copy(from, part), Code::BufferOverlap);
    checks.refused("a copy of other sizes", recorder.copy(from, to), Code::BufferSize);
    checks.refused("a fill of no whole patterns", recorder.fill(to, &[1, 2, 3]), Code::BufferSize);
    checks.refused("a fill of an empty pattern", recorder.fill(to, &[]), Code::BufferSize);
    let launched = recorder.launch(&program, &[from, to], &[word(1)], &options)?;
    checks.equal("the index of the first accepted step", &launched.index(), &0);
    let filled = recorder.fill(from, &[1; 8])?;
    let (source, target) = (recorder.slot(y.view(..40)?), recorder.slot(x.view(40..)?));
    recorder.copy(source, target)?;
    let mut graph = recorder.finish();
    let before = (graph.to_string(), found(&graph));
    let good = vec![word(7)];
    let view = x.view(40..)?;
    for (what, bind, params, code) in [
        ("another graph's slot, bound", (other, view.clone()), (launched, good.clone()), Code::BadGraph),
        ("another graph's step, changed", (from, view.clone()), (other_step, good.clone()), Code::BadGraph),
        ("parameters of a fill", (from, view.clone()), (filled, good.clone()), Code::BadGraph),
        ("parameters too many", (from, view.clone()), (launched, vec![word(1); 2]), Code::WrongArgumentCount),
        ("parameters too few", (from, view.clone()), (launched, vec![]), Code::WrongArgumentCount),
        ("a copy to fewer bytes, bound", (target, x.view(44..)?), (launched, good.clone()), Code::BufferSize),
        ("a copy from more bytes, bound", (source, y.whole()), (launched, good.clone()), Code::BufferSize),
        (
            "a copy onto itself, bound",
            (target, y.view(4..44)?),
            (launched, good.clone()),
            Code::BufferOverlap,
        ),
        (
            "a fill of no whole patterns, bound",
            (from, x.view(..36)?),
            (launched, good.clone()),
            Code::BufferSize,
        ),
        ("an overlap, bound", (from, y.view(..40)?), (launched, good.clone()), Code::BufferOverlap),
        ("parts of elements, bound", (from, x.view(..39)?), (launched, good.clone()), Code::BufferSize),
        (
            "another device's buffer, bound",
            (from, elsewhere.zeroed(40)?.whole()),
            (launched, good),
            Code::ForeignBuffer,
        ),
    ] {
        checks.refused(what, graph.update(&[bind], &[params]), code);
        checks.equal(
            "a graph after an update that was refused",
            &(graph.to_string(), found(&graph)),
            &before,
        );
    }
    graph.replay()?;
    // The former parameter 1, not 7, and the slot that was bound first.
    checks.equal(
        "the result of the graph after refused updates",
        &to_words(&y.whole().to_vec()?),
        &vec![1; 20],
    );
    Ok(())
}

fn freed(checks: &mut Checks<'_, '_>) -> Result<(), Error> {
    let device = checks.device();
    let (one, other) = (device.zeroed(40)?, device.zeroed(40)?);
    let mut recorder = Recorder::new(&device);
    let to = recorder.slot(&one);
    recorder.fill(to, &[1])?;
    let mut graph = recorder.finish();
    let pending = graph.submit()?;
    one.free();
    let ended = pending.wait();
    checks.holds("a replay begun before", ended.is_ok(), || format!("{ended:?}"));
    checks.refused("a replay on a freed buffer", graph.replay(), Code::BufferFreed);
    checks.refused("a submission on a freed buffer", graph.submit(), Code::BufferFreed);
    checks.refused("an update that keeps a freed buffer", graph.update(&[], &[]), Code::BufferFreed);
    graph.update(&[(to, (&other).into())], &[])?;
    graph.replay()?;
    checks.equal("a replay on another", &other.whole().to_vec()?, &vec![1; 40]);
    Ok(())
}

/// A graph of thousands of launches, each of which depends on the one before, and as many fills and copies of parts.
fn long(checks: &mut Checks<'_, '_>) -> Result<(), Error> {
    let device = checks.device();
    let program = compile(&device, STEP)?;
    let (x, y, marks) =
        (device.upload(&bytes(&[3]))?, device.zeroed(4)?, device.zeroed(4 * u64::from(MANY))?);
    let mut recorder = Recorder::new(&device);
    let slots = [recorder.slot(&x), recorder.slot(&y)];
    let mut last = None;
    for i in 0..MANY {
        last = Some(recorder.launch(&program, &slots, &[word(i)], &LaunchOptions::default())?);
        let at = 4 * u64::from(i);
        let mark = recorder.slot(marks.view(at..at + 4)?);
        if i % 2 == 0 {
            recorder.fill(mark, &i.to_le_bytes())?;
        } else {
            recorder.copy(slots[1], mark)?;
        }
    }
    let mut graph = recorder.finish();
    checks.equal("number of steps", &graph.len(), &(2 * MANY as usize));
    let mut now = 0;
    for (replay, add) in [(0, MANY - 1), (1, 9)] {
        // The last launch of the second replay has another parameter.
        if let Some(last) = last.filter(|_| replay == 1) {
            graph.update(&[], &[(last, vec![word(add)])])?;
        }
        graph.replay()?;
        let mut expected = Vec::new();
        for i in 0..MANY {
            now = step([3, now], if i == MANY - 1 { add } else { i });
            expected.push(if i % 2 == 0 { i } else { now });
        }
        checks.equal("the result of many steps", &to_words(&y.whole().to_vec()?), &vec![now]);
        checks.holds("what each left", to_words(&marks.whole().to_vec()?) == expected, || {
            String::from("some step did not run, or not in its turn")
        });
    }
    Ok(())
}
