//! Random graphs: launches, copies and fills on random parts of a few buffers, replayed with different parts and
//! parameters in between. Each must have the same effect as the same calls one by one, and as plain Rust.

use fulgurite_hal::{Error, LaunchOptions};
use fulgurite_runtime::{Buffer, BufferView, Device, Graph, Program, Recorder, Slot, StepId};
use fulgurite_spec::Code;
use fulgurite_spec::eval::Components;

use super::{JOIN, MAP, STEP, compile, join, map, random_words, step, to_words, word};
use crate::suites::bytes;
use crate::suites::checks::{Checks, Part};
use crate::values::Random;

pub(super) const PARTS: &[(&str, Part)] = &[("random graphs", run)];

const BUFFERS: usize = 3;
/// Words per buffer.
const COUNT: usize = 64;

/// A part of a buffer: buffer and offset in words. All parts of a graph have the same length.
type Place = (usize, usize);

#[derive(Clone)]
enum Does {
    Step([usize; 2], u32),
    Map([usize; 2], u32),
    Join([usize; 4], u32),
    Copy([usize; 2]),
    Fill(usize, Vec<u8>),
}

/// A graph in plain Rust: its steps and the parts that they use.
#[derive(Clone)]
struct Plan {
    length: usize,
    places: Vec<Place>,
    steps: Vec<Does>,
}

impl Does {
    fn random(random: &mut Random, slots: usize, length: usize) -> Self {
        let mut slot = |_| random.below(slots as u32) as usize;
        let (four, two) = ([0; 4].map(&mut slot), [0; 2].map(&mut slot));
        let a = random.word();
        match random.below(6) {
            0 | 1 => Self::Step(two, a),
            2 => Self::Map(two, a),
            3 => Self::Join(four, a),
            4 => Self::Copy(two),
            _ => {
                let sizes = [1usize, 2, 4, 8, 12, 16];
                let fitting: Vec<usize> =
                    sizes.into_iter().filter(|size| (4 * length).is_multiple_of(*size)).collect();
                let size = fitting[random.below(fitting.len() as u32) as usize];
                Self::Fill(two[0], (0..size).map(|_| random.word() as u8).collect())
            }
        }
    }

    /// Returns the slots that are only read, and those that are written and possibly also read.
    fn slots(&self) -> (Vec<usize>, Vec<usize>) {
        match self {
            Self::Step([x, y], _) | Self::Map([x, y], _) | Self::Copy([x, y]) => (vec![*x], vec![*y]),
            Self::Join([x, y, out, z], _) => (vec![*x, *y], vec![*out, *z]),
            Self::Fill(to, _) => (vec![], vec![*to]),
        }
    }

    fn set_param(&mut self, value: u32) -> bool {
        match self {
            Self::Step(_, a) | Self::Map(_, a) | Self::Join(_, a) => *a = value,
            Self::Copy(_) | Self::Fill(..) => return false,
        }
        true
    }
}

impl Plan {
    /// Returns whether no slot that a step writes overlaps another slot that it uses.
    fn fits(&self, does: &Does) -> bool {
        let meet = |a: usize, b: usize| {
            let (a, b) = (self.places[a], self.places[b]);
            a.0 == b.0 && a.1.abs_diff(b.1) < self.length
        };
        let (read, written) = does.slots();
        written
            .iter()
            .enumerate()
            .all(|(i, w)| !read.iter().chain(&written[i + 1..]).any(|other| meet(*w, *other)))
    }

    fn apply(&self, does: &Does, words: &mut [Vec<u32>; BUFFERS]) {
        for i in 0..self.length {
            let get = |slot: usize| words[self.places[slot].0][self.places[slot].1 + i];
            let written = match does {
                Does::Step([x, y], a) => vec![(*y, step([get(*x), get(*y)], *a))],
                Does::Map([x, out], a) => vec![(*out, map(get(*x), *a))],
                Does::Join([x, y, out, z], a) => {
                    vec![(*out, join([get(*x), get(*y)], *a)), (*z, get(*z).wrapping_add(1))]
                }
                Does::Copy([from, to]) => vec![(*to, get(*from))],
                Does::Fill(to, pattern) => {
                    let bytes = [0, 1, 2, 3].map(|j| pattern[(4 * i + j) % pattern.len()]);
                    vec![(*to, u32::from_le_bytes(bytes))]
                }
            };
            for (slot, value) in written {
                let (buffer, at) = self.places[slot];
                words[buffer][at + i] = value;
            }
        }
    }
}

/// The device and its compiled programs.
struct Side {
    device: Device,
    step: Program,
    map: Program,
    join: Program,
}

impl Side {
    fn program<'d>(&self, does: &'d Does) -> Option<(&Program, &'d [usize], u32)> {
        match does {
            Does::Step(slots, a) => Some((&self.step, slots, *a)),
            Does::Map(slots, a) => Some((&self.map, slots, *a)),
            Does::Join(slots, a) => Some((&self.join, slots, *a)),
            Does::Copy(_) | Does::Fill(..) => None,
        }
    }

    /// Runs one step, or submits it.
    fn call(&self, plan: &Plan, does: &Does, buffers: &[Buffer; BUFFERS], waits: bool) -> Result<(), Error> {
        let view = |slot: usize| view(buffers, plan.places[slot], plan.length);
        if let Some((program, slots, a)) = self.program(does) {
            let views: Vec<BufferView> = slots.iter().map(|slot| view(*slot)).collect::<Result<_, _>>()?;
            let options = LaunchOptions::default();
            if waits {
                program.launch(&views, &[word(a)], &options)?;
            } else {
                drop(program.submit(&views, &[word(a)], &options)?);
            }
        }
        match does {
            Does::Copy([from, to]) => view(*to)?.copy_from(&view(*from)?),
            Does::Fill(to, pattern) => view(*to)?.fill(pattern),
            _ => Ok(()),
        }
    }

    fn record(&self, recorder: &mut Recorder, does: &Does, slots: &[Slot]) -> Result<StepId, Error> {
        if let Some((program, used, a)) = self.program(does) {
            let slots: Vec<Slot> = used.iter().map(|slot| slots[*slot]).collect();
            return recorder.launch(program, &slots, &[word(a)], &LaunchOptions::default());
        }
        match does {
            Does::Fill(to, pattern) => recorder.fill(slots[*to], pattern),
            _ => {
                let (read, written) = does.slots();
                recorder.copy(slots[read[0]], slots[written[0]])
            }
        }
    }
}

fn view(buffers: &[Buffer; BUFFERS], (buffer, at): Place, length: usize) -> Result<BufferView, Error> {
    buffers[buffer].view(4 * at as u64..4 * (at + length) as u64)
}

fn random_place(random: &mut Random, length: usize) -> Place {
    (random.below(BUFFERS as u32) as usize, random.below((COUNT - length + 1) as u32) as usize)
}

fn run(checks: &mut Checks<'_, '_>) -> Result<(), Error> {
    let device = checks.device();
    let [step, map, join] = [STEP, MAP, JOIN].map(|text| compile(&device, text));
    let side = Side { step: step?, map: map?, join: join?, device };
    let mut random = checks.random();
    for _ in 0..checks.harness.random_count(100) {
        one(checks, &side, &mut random)?;
    }
    Ok(())
}

/// Records one graph and replays it a few times.
fn one(checks: &mut Checks<'_, '_>, side: &Side, random: &mut Random) -> Result<(), Error> {
    let mut words = [0; BUFFERS].map(|_| random_words(random, COUNT));
    let upload = |words: &[Vec<u32>; BUFFERS]| -> Result<[Buffer; BUFFERS], Error> {
        let [a, b, c] = [0, 1, 2].map(|i| side.device.upload(&bytes(&words[i])));
        Ok([a?, b?, c?])
    };
    let (replayed, called) = (upload(&words)?, upload(&words)?);
    let length = 1 + random.below(16) as usize;
    let slot_count = 4 + random.below(4) as usize;
    let places = (0..slot_count).map(|_| random_place(random, length)).collect();
    let mut plan = Plan { length, places, steps: Vec::new() };

    let mut recorder = Recorder::new(&side.device);
    let bound: Vec<BufferView> =
        plan.places.iter().map(|place| view(&replayed, *place, length)).collect::<Result<_, _>>()?;
    let slots: Vec<Slot> = bound.into_iter().map(|view| recorder.slot(view)).collect();
    let mut ids = Vec::new();
    for _ in 0..3 + random.below(9) {
        let does = Does::random(random, slot_count, length);
        let result = side.record(&mut recorder, &does, &slots);
        if plan.fits(&does) {
            ids.push(result?);
            plan.steps.push(does);
        } else {
            checks.refused("a step that writes what it uses otherwise", result, Code::BufferOverlap);
        }
    }
    let mut graph = recorder.finish();
    for round in 0..3 {
        if round > 0 {
            change(checks, &mut graph, &mut plan, &replayed, (&slots, &ids), random)?;
        }
        for _ in 0..1 + random.below(2) {
            if random.below(2) == 0 {
                graph.replay()?;
            } else {
                drop(graph.submit()?);
            }
            let waits = random.below(2) == 0;
            for does in &plan.steps {
                plan.apply(does, &mut words);
                side.call(&plan, does, &called, waits)?;
            }
        }
        let what = format!("{graph}");
        for (i, expected) in words.iter().enumerate() {
            let one_by_one = to_words(&called[i].whole().to_vec()?);
            checks.equal(&format!("buffer {i}, one by one:\n{what}"), &one_by_one, expected);
            let replayed = to_words(&replayed[i].whole().to_vec()?);
            checks.equal(&format!("buffer {i}, replayed:\n{what}"), &replayed, expected);
        }
    }
    Ok(())
}

/// Binds other parts and sets other parameters if they are valid; otherwise checks that nothing changes.
fn change(
    checks: &mut Checks<'_, '_>,
    graph: &mut Graph,
    plan: &mut Plan,
    buffers: &[Buffer; BUFFERS],
    (slots, ids): (&[Slot], &[StepId]),
    random: &mut Random,
) -> Result<(), Error> {
    let mut next = plan.clone();
    let mut bind = Vec::new();
    for (slot, place) in slots.iter().zip(&mut next.places) {
        if random.below(3) == 0 {
            *place = random_place(random, plan.length);
            bind.push((*slot, view(buffers, *place, plan.length)?));
        }
    }
    let mut params: Vec<(StepId, Vec<Components>)> = Vec::new();
    for (id, does) in ids.iter().zip(&mut next.steps) {
        let value = random.word();
        if random.below(3) == 0 && does.set_param(value) {
            params.push((*id, vec![word(value)]));
        }
    }
    let result = graph.update(&bind, &params);
    if next.steps.iter().all(|does| next.fits(does)) {
        result?;
        *plan = next;
    } else {
        checks.refused("parts that do not fit", result, Code::BufferOverlap);
    }
    Ok(())
}
