//! Ops in sequence. A driver may compile each op correctly and still miscompile an op that follows another.
//!
//! Covers every pair of exact ops over all types, alone and many to a kernel, with results that are used by a third op,
//! control flow, an address, shared memory or an atomic; graphs of ops that share operands; sequences that drivers are
//! known to fold incorrectly; random expressions; and shapes that compilers handle badly. All programs derive from a
//! seed, and expected results come from [`fulgurite_spec::eval`], so the reference is tested like any other backend. A
//! failure is reduced to a small kernel.

mod data;
mod evaluate;
mod known;
mod pairs;
mod program;
mod random;
mod run;
mod shapes;
mod shrink;
mod write;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::ControlFlow;
use std::sync::Arc;

use fulgurite_hal::Error;
use fulgurite_spec::device::Capability;
use fulgurite_spec::{Code, ScalarType, TypeSet};

use crate::Level;
use crate::harness::Harness;
use crate::suites::ops;
use crate::values::show;

use data::Data;
use evaluate::Device;
use pairs::Pairs;
use program::{INVOCATIONS, Program};
use random::Vocabulary;
use run::{Example, Outcome, Pack, run_all, undecided};
use write::Stores;

/// Ops per walk; each two adjacent ops form a chain.
const WALK: usize = 5;
/// Ops per graph.
const GRAPH: usize = 7;
/// Walks or graphs per kernel.
const WALKS: usize = 128;
/// Chains per kernel that holds several.
const TOGETHER: usize = 40;
/// Programs whose results share a digest.
const SUMMED: usize = 16;
/// Expressions per kernel.
const EXPRESSIONS: usize = 4;

/// Number of kernels without end after which a part is abandoned: each takes the full launch timeout.
const MOST_ENDLESS: u32 = 3;

/// Amount of work for each part.
struct Amount {
    /// Walks of [`WALK`] ops.
    walks: usize,
    /// Graphs of [`GRAPH`] ops.
    graphs: usize,
    /// Chains with each kind of use, whose results go into digests.
    chains: usize,
    /// Chains whose results are stored, forty per kernel.
    stored: usize,
    /// Chains in a kernel of their own.
    alone: usize,
    /// Random expressions.
    expressions: usize,
    /// The deepest nesting and the longest sequence among the shapes.
    shape: usize,
}

impl Amount {
    fn of(level: Level) -> Self {
        match level {
            Level::Smoke => Self {
                walks: 2_560,
                graphs: 3_456,
                chains: 800,
                stored: 80,
                alone: 40,
                expressions: 40,
                shape: 40,
            },
            Level::Full => Self {
                walks: 160_000,
                graphs: 120_000,
                chains: 260_000,
                stored: 40_000,
                alone: 4_000,
                expressions: 100_000,
                shape: 400,
            },
        }
    }
}

/// Number of the part whose programs are walks.
const WALKS_PART: u64 = 1;
/// Number of the part whose programs are graphs.
const GRAPHS_PART: u64 = 8;

/// A program of a pack, with the names under which it is reported.
struct Named {
    program: Program,
    kind: String,
    detail: String,
}

/// One part of the suite: kernels generated from a number.
struct Part<'a> {
    name: &'static str,
    /// Name of its programs in reports.
    programs: &'static str,
    kernels: usize,
    make: &'a (dyn Fn(usize) -> (Vec<Named>, Data, Stores) + Sync),
}

/// Failures of one kind.
#[derive(Default)]
struct Failures {
    programs: u64,
    /// Index of the first failing kernel, and of the program in it.
    first: Option<(usize, usize)>,
}

pub(super) fn run(harness: &mut Harness<'_>, progress: &mut dyn FnMut(usize, usize)) {
    let types = types(harness);
    let subgroups = harness.backend().snapshot().has(Capability::Subgroups);
    let subgroup_size = harness.backend().snapshot().limits.subgroup_size;
    let device = Device { kept: harness.kept_subnormals(), subgroup_size };
    let amount = Amount::of(harness.level());
    let pairs = Pairs::new(ops::subjects(), types);
    let whole = subgroups && (INVOCATIONS as u32).is_multiple_of(subgroup_size);
    let words = Vocabulary::new(ops::subjects(), types, whole.then_some(subgroup_size));
    let known = known::known(types);
    let shapes = shapes::shapes(amount.shape);
    let [scalars, all] = pairs.counts();
    harness.note(format!("{all} pairs of exact ops, {scalars} of them on scalars"));
    let seed = harness.random("chains").next();
    let random =
        |part: u64, number: usize| crate::values::Random::new(seed ^ (part << 56) ^ (number as u64 * 0x9e37));
    // Another seed starts at another point in the sequence of pairs.
    let start = (seed % 1_000_000_007) as usize;
    let chains = |part: u64, number: usize, count: usize, first: usize, stores: Stores| {
        let mut random = random(part, number);
        let chain = |n: usize, random: &mut crate::values::Random| match part {
            WALKS_PART => pairs.walk(start + first + number * count + n, WALK, random),
            GRAPHS_PART => pairs.graph(start + first + number * count + n, GRAPH, random),
            _ => pairs.chain(start + first + number * count + n, random),
        };
        let programs = (0..count).map(|n| {
            let chain = chain(n, &mut random);
            Named { program: chain.program, kind: chain.kind, detail: chain.detail }
        });
        let mut programs: Vec<Named> = programs.collect();
        let data = Data::new(&mut random);
        if let Stores::Digest(_) = stores {
            // One result that the language leaves to the device makes a whole digest uncheckable, so programs with such
            // results are grouped.
            programs.sort_by_cached_key(|named| undecided(&named.program, &data, device));
        }
        (programs, data, stores)
    };
    let alternating = |number: usize| if number.is_multiple_of(2) { Stores::Early } else { Stores::Late };
    let parts = [
        Part {
            name: "walks",
            programs: "walks of five ops",
            kernels: amount.walks.div_ceil(WALKS),
            make: &|number| chains(WALKS_PART, number, WALKS, 0, Stores::Digest(SUMMED)),
        },
        Part {
            name: "graphs",
            programs: "graphs of seven ops",
            kernels: amount.graphs.div_ceil(WALKS),
            make: &|number| chains(GRAPHS_PART, number, WALKS, amount.walks, Stores::Digest(SUMMED)),
        },
        Part {
            name: "pairs",
            programs: "chains",
            kernels: amount.chains.div_ceil(TOGETHER),
            make: &|number| chains(2, number, TOGETHER, amount.walks, Stores::Digest(SUMMED)),
        },
        Part {
            name: "stored",
            programs: "chains",
            kernels: amount.stored.div_ceil(TOGETHER),
            make: &|number| chains(3, number, TOGETHER, amount.walks + amount.chains, alternating(number)),
        },
        Part {
            name: "alone",
            programs: "chains",
            kernels: amount.alone,
            make: &|number| chains(4, number, 1, number * 7919, Stores::Early),
        },
        Part {
            name: "known",
            programs: "sequences",
            kernels: known.len().div_ceil(TOGETHER),
            make: &|number| {
                let programs = known.iter().skip(number * TOGETHER).take(TOGETHER);
                let named = programs.map(|(kind, program)| Named {
                    program: program.clone(),
                    kind: kind.clone(),
                    detail: String::new(),
                });
                (named.collect(), Data::new(&mut random(7, number)), Stores::Early)
            },
        },
        Part {
            name: "expressions",
            programs: "expressions",
            kernels: amount.expressions.div_ceil(EXPRESSIONS),
            make: &|number| {
                let mut random = random(5, number);
                let programs = (0..EXPRESSIONS).map(|_| {
                    let depth = 2 + random.below(7).min(random.below(7));
                    let program = words.expression(depth, &mut random);
                    Named { program, kind: "expressions".to_owned(), detail: format!("depth {depth}") }
                });
                let programs = programs.collect();
                let stores = if number % 4 == 0 { Stores::Early } else { Stores::Digest(EXPRESSIONS) };
                (programs, Data::new(&mut random), stores)
            },
        },
        Part {
            name: "shapes",
            programs: "shapes",
            kernels: shapes.len(),
            make: &|number| {
                let (name, program) = &shapes[number];
                let named = Named { program: program.clone(), kind: name.clone(), detail: String::new() };
                (vec![named], Data::new(&mut random(6, number)), Stores::Early)
            },
        },
    ];
    let total = parts.iter().map(|part| part.kernels).sum();
    let mut before = 0;
    for part in &parts {
        check(harness, device, part, &mut |done| progress(before + done, total));
        before += part.kernels;
    }
    progress(total, total);
}

/// Returns the types that the device supports.
fn types(harness: &mut Harness<'_>) -> TypeSet {
    let mut types = TypeSet::EMPTY;
    for ty in ScalarType::ALL {
        match Capability::of_type(ty) {
            Some(needed) if !harness.backend().snapshot().has(needed) => {
                harness
                    .unsupported(&format!("chains on {ty}"), &format!("the device lacks {}", needed.name()));
            }
            _ => types = types.union(TypeSet::of(ty)),
        }
    }
    types
}

fn check(harness: &mut Harness<'_>, device: Device, part: &Part<'_>, progress: &mut dyn FnMut(usize)) {
    let only = harness.options().only.clone();
    let wanted = move |kind: &str| {
        only.as_ref().is_none_or(|only| part.name.contains(only.as_str()) || kind.contains(only.as_str()))
    };
    let made = |number: usize| {
        let (mut programs, data, stores) = (part.make)(number);
        programs.retain(|named| wanted(&named.kind));
        (programs, data, stores)
    };
    let pack = |number: usize| {
        let (programs, data, stores) = made(number);
        Pack { programs: programs.into_iter().map(|named| named.program).collect(), data, stores }
    };
    let backend = Arc::clone(harness.backend());
    let mut backends = vec![Arc::clone(&backend)];
    backends.extend(harness.options().twins.0.iter().cloned());
    let (mut programs, mut failed, mut open, mut done, mut endless) = (0u64, 0u64, 0u64, 0, 0);
    let mut refused: Vec<(usize, Error)> = Vec::new();
    let mut kinds: BTreeMap<String, Failures> = BTreeMap::new();
    run_all(&backends, device, part.kernels, &pack, &mut |number, outcome| {
        done += 1;
        progress(done);
        let named = made(number).0;
        if named.is_empty() {
            return ControlFlow::Continue(());
        }
        match outcome {
            Outcome::Ran(judged) => {
                for (position, (named, judged)) in named.iter().zip(judged).enumerate() {
                    programs += 1;
                    open += judged.open;
                    harness.passed(&named.kind, judged.cases - judged.wrong);
                    if judged.wrong > 0 {
                        failed += 1;
                        let failures = kinds.entry(named.kind.clone()).or_default();
                        failures.programs += 1;
                        let place = (number, position);
                        failures.first = Some(failures.first.map_or(place, |first| first.min(place)));
                        harness.failed(&named.kind, judged.wrong);
                    }
                }
            }
            Outcome::Failed(error) => {
                endless += u32::from(error.code() == Code::Timeout);
                refused.push((number, error));
            }
            Outcome::Invalid(message) => {
                harness.fail(&named[0].kind, &pack(number).text(), "a kernel that is valid", &message);
            }
        }
        if endless < MOST_ENDLESS { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    if endless >= MOST_ENDLESS {
        harness.note(format!("{}: abandoned after {endless} kernels without an end", part.name));
    }
    refused.sort_by_key(|(number, _)| *number);
    for (number, error) in refused {
        count_refused(harness, part.name, number, &made(number).0, &pack(number), device, error);
    }
    if programs == 0 {
        return;
    }
    harness.note(format!(
        "{}: {programs} {} in {} kernels, {failed} wrong; {open} results are the device's choice",
        part.name, part.programs, part.kernels
    ));
    let mut by_count: Vec<(&String, &Failures)> = kinds.iter().collect();
    by_count.sort_by_key(|(kind, failures)| (std::cmp::Reverse(failures.programs), (*kind).clone()));
    for (kind, failures) in by_count {
        harness.note(format!("{} wrong: {kind}", failures.programs));
    }
    let shrunk = harness.options().shrunk_kinds;
    if kinds.len() > shrunk {
        harness.note(format!("of {} kinds of failure, {shrunk} are reduced to a small kernel", kinds.len()));
    }
    for (kind, failures) in kinds.iter().take(shrunk) {
        let Some((number, position)) = failures.first else { continue };
        let detail = made(number).0.swap_remove(position).detail;
        let whole = pack(number);
        let found = shrink::shrink(&whole, position, backend.as_ref(), device);
        let (pack, example) = match found {
            Some((pack, example)) => (pack, Some(example)),
            None => (whole, None),
        };
        report(harness, part.name, kind, &detail, &pack, example.as_ref(), device);
    }
}

/// Counts kernel `number` of a part, which did not run. No loop here is long enough for a driver to end it.
fn count_refused(
    harness: &mut Harness<'_>,
    part: &str,
    number: usize,
    named: &[Named],
    pack: &Pack,
    device: Device,
    error: Error,
) {
    let kind = &named[0].kind;
    if let Error::Unsupported(_) = error {
        harness.error(kind, "", error);
        return;
    }
    // One lost device is many kernels' error, and only one of them is the cause.
    let text =
        format!("// Kernel {number} of {part}: {}\n", error.to_string().lines().next().unwrap_or_default());
    keep(harness, part, &format!("{kind} {number}"), text + &pack.run_file(device));
    harness.fail(kind, &pack.text(), "no error", &error.to_string());
}

/// Reports one failure of a kind with the kernel that reproduces it, and writes the kernel to the folder for failures.
fn report(
    harness: &mut Harness<'_>,
    part: &str,
    kind: &str,
    detail: &str,
    pack: &Pack,
    example: Option<&Example>,
    device: Device,
) {
    let mut text = format!("// {kind} {detail}\n");
    let [expected, actual] = match example {
        Some(example) => {
            let _ = writeln!(text, "// in invocation {}", example.invocation);
            [example.expected, example.actual].map(|value| show(&value, example.ty))
        }
        None => ["the same each time".to_owned(), "not wrong when run again".to_owned()],
    };
    keep(harness, part, kind, text.clone() + &pack.run_file(device));
    text += &pack.text();
    harness.detail(kind, text, expected, actual);
}

/// Writes a run file of a failure to the folder for failures, if there is one.
fn keep(harness: &mut Harness<'_>, part: &str, kind: &str, text: String) {
    let options = harness.options();
    let Some(folder) = &options.failures else { return };
    let snapshot = harness.backend().snapshot();
    let rules = if snapshot.rules.is_empty() { "none".to_owned() } else { snapshot.rules.join(", ") };
    let head = format!(
        "// Found on {}, {}, by the suite `chains`, part `{part}`, with seed {}.\n// Rules of lowering in force: {rules}.\n",
        snapshot.device, snapshot.driver, options.seed
    );
    let plain: Vec<&str> =
        kind.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let name = [&[snapshot.backend.as_str(), part], plain.as_slice()].concat().join("_");
    let file = folder.join(format!("{name}-{}.fg", options.seed));
    let note = match std::fs::write(&file, head + &text) {
        Ok(()) => format!("{kind}: written to {}", file.display()),
        Err(error) => format!("{kind}: cannot write {}: {error}", file.display()),
    };
    harness.note(note);
}
