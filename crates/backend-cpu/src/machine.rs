//! Runs the steps of one chunk of 64 lanes, up to a barrier or the end.

use crate::code::{Code, ForLoop, Position, Step};
use crate::lanes::{Lanes, Mask, WIDTH, blend, lanes_of, mask_of};
use crate::memory::{Atomic, View};
use crate::poll::{Poll, Stopped};

/// Control flow that a chunk is in.
#[derive(Clone, Copy)]
enum Frame {
    /// An `if`: all its lanes, and those of the block that comes second.
    If { outer: Mask, other: Mask },
    /// A `for`: all its lanes, the iteration, and the fewest and most iterations of a lane.
    For { outer: Mask, iteration: u32, least: u32, most: u32 },
    /// A `while`: all its lanes.
    While { outer: Mask },
}

/// Where a chunk stands.
pub(crate) struct Chunk {
    pub(crate) registers: Vec<Lanes>,
    /// By word, then lane.
    pub(crate) local: Vec<Lanes>,
    frames: Vec<Frame>,
    /// The lanes that the kernel began with.
    all: Mask,
    /// Those that are active.
    mask: Mask,
    position: usize,
}

/// Why a chunk does not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pause {
    /// It waits at the barrier before this step.
    Barrier(usize),
    /// Its kernel ended.
    End,
}

impl Chunk {
    pub(crate) fn new(registers: Vec<Lanes>, local: Vec<Lanes>) -> Self {
        Self { registers, local, frames: Vec::new(), all: 0, mask: 0, position: 0 }
    }

    /// Goes to the kernel's begin, with the lanes of `mask`.
    pub(crate) fn begin(&mut self, mask: Mask) {
        self.local.fill(Lanes::splat(0));
        self.frames.clear();
        self.all = mask;
        self.mask = mask;
        self.position = 0;
    }

    /// Runs on.
    pub(crate) fn run(
        &mut self,
        code: &Code,
        buffers: &[&[std::sync::atomic::AtomicU32]],
        shared: &mut [u32],
        poll: &mut Poll<'_>,
    ) -> Result<Pause, Stopped> {
        let mut view = View { buffers, shared, local: &mut self.local };
        let registers = &mut self.registers[..];
        loop {
            let step = &code.steps[self.position];
            self.position += 1;
            match step {
                Step::Compute(apply, args) => apply(registers, args),
                Step::Copy { to, from } => registers[*to as usize] = registers[*from as usize],
                Step::Blend { to, from } => {
                    if let Ok([to, from]) = registers.get_disjoint_mut([*to as usize, *from as usize]) {
                        // Lanes that never ran may be overwritten, which makes most masks full.
                        blend(to, from, self.mask | !self.all);
                    }
                }
                Step::Extract { to, components, count, index } => {
                    let index = registers[*index as usize];
                    let mut value = Lanes::splat(0);
                    for (component, register) in components.iter().enumerate().take(*count as usize) {
                        let from = &registers[*register as usize];
                        for lane in 0..WIDTH {
                            if index.0[lane] == component as u32 {
                                value.0[lane] = from.0[lane];
                            }
                        }
                    }
                    registers[*to as usize] = value;
                }
                Step::Insert { to, from, component, index, value } => {
                    let [index, from, value] = [index, from, value].map(|r| registers[*r as usize]);
                    let to = &mut registers[*to as usize];
                    for lane in 0..WIDTH {
                        let here = index.0[lane] == *component;
                        to.0[lane] = if here { value.0[lane] } else { from.0[lane] };
                    }
                }
                Step::Load { place, index, to } => view.load(registers, *place, *index, *to),
                Step::Store { place, index, from } => view.store(registers, self.mask, *place, *index, *from),
                Step::Atomic { op, is_signed, place, index, operands, to } => {
                    let atomic = Atomic { op: *op, is_signed: *is_signed, place: *place };
                    let operands = operands.map(|r| &registers[r as usize]);
                    let old = view.atomic(&atomic, self.mask, &registers[*index as usize], operands);
                    registers[*to as usize] = old;
                }
                Step::If { condition, otherwise } => {
                    let outer = self.mask;
                    let holds = outer & mask_of(&registers[*condition as usize]);
                    self.frames.push(Frame::If { outer, other: outer & !holds });
                    self.mask = holds;
                    if holds == 0 {
                        self.position = *otherwise as usize;
                    }
                }
                Step::Else { end } => {
                    if let Some(Frame::If { other, .. }) = self.frames.last() {
                        self.mask = *other;
                        if *other == 0 {
                            self.position = *end as usize;
                        }
                    }
                }
                Step::EndIf => {
                    if let Some(Frame::If { outer, .. }) = self.frames.pop() {
                        self.mask = outer;
                    }
                }
                Step::For { looping, next } => {
                    let outer = self.mask;
                    let (least, most) = begin_for(looping, registers, outer);
                    if most == 0 {
                        self.position = behind(*next);
                    } else {
                        self.frames.push(Frame::For { outer, iteration: 0, least, most });
                        if least == 0 {
                            self.mask = outer & still_going(&registers[looping.trips as usize], 0);
                        }
                    }
                }
                Step::ForNext { looping, begin } => {
                    poll.count()?;
                    let Some(Frame::For { outer, iteration, least, most }) = self.frames.last_mut() else {
                        continue;
                    };
                    *iteration += 1;
                    if iteration >= most {
                        self.mask = *outer;
                        self.frames.pop();
                    } else {
                        if iteration >= least {
                            self.mask = *outer & still_going(&registers[looping.trips as usize], *iteration);
                        }
                        for counter in &mut registers[looping.counter as usize].0 {
                            *counter = counter.wrapping_add(looping.step);
                        }
                        self.position = behind(*begin);
                    }
                }
                Step::While => self.frames.push(Frame::While { outer: self.mask }),
                Step::Condition { condition, next } => {
                    self.mask &= mask_of(&registers[*condition as usize]);
                    if self.mask == 0 {
                        if let Some(Frame::While { outer }) = self.frames.pop() {
                            self.mask = outer;
                        }
                        self.position = behind(*next);
                    }
                }
                Step::WhileNext { begin } => {
                    poll.count()?;
                    self.position = behind(*begin);
                }
                Step::Barrier => return Ok(Pause::Barrier(self.position)),
                Step::End => {
                    // To be run once more would be to end once more.
                    self.position -= 1;
                    return Ok(Pause::End);
                }
            }
        }
    }
}

/// The position after that of a step.
fn behind(position: Position) -> usize {
    position as usize + 1
}

/// Sets the counter and works out how often each lane of `mask` iterates: the fewest and the most.
fn begin_for(looping: &ForLoop, registers: &mut [Lanes], mask: Mask) -> (u32, u32) {
    let (start, end) = (registers[looping.start as usize], registers[looping.end as usize]);
    registers[looping.counter as usize] = start;
    let trips = &mut registers[looping.trips as usize].0;
    for (trips, (start, end)) in trips.iter_mut().zip(start.0.iter().zip(&end.0)) {
        *trips = distance(looping, *start, *end);
    }
    let stride = if looping.is_signed { (looping.step as i32).unsigned_abs() } else { looping.step };
    if stride > 1 {
        for trips in trips.iter_mut() {
            *trips = trips.div_ceil(stride);
        }
    }
    let (mut least, mut most) = (u32::MAX, 0);
    for lane in lanes_of(mask) {
        least = least.min(trips[lane]);
        most = most.max(trips[lane]);
    }
    (least, most)
}

/// How far a loop goes, in units of 1; the number of iterations of a step is that over the step, rounded up.
fn distance(looping: &ForLoop, start: u32, end: u32) -> u32 {
    let (from, to, before) = if !looping.is_signed {
        (start, end, start < end)
    } else if (looping.step as i32) < 0 {
        (end, start, (end as i32) < start as i32)
    } else {
        (start, end, (start as i32) < end as i32)
    };
    if before { to.wrapping_sub(from) } else { 0 }
}

/// The lanes with an iteration of this number.
fn still_going(trips: &Lanes, iteration: u32) -> Mask {
    let mut bools = Lanes::splat(0);
    for (bool, trips) in bools.0.iter_mut().zip(&trips.0) {
        *bool = u32::from(*trips > iteration);
    }
    mask_of(&bools)
}

#[cfg(test)]
mod tests {
    use super::*;
    use fulgurite_spec::ScalarType;
    use fulgurite_spec::eval::trip_count;

    #[test]
    fn trip_counts_are_those_of_the_language() {
        let edges =
            [0u32, 1, 2, 3, 7, 8, 100, 0x7fff_ffff, 0x8000_0000, 0x8000_0001, 0xffff_fffe, 0xffff_ffff];
        for (is_signed, ty) in [(false, ScalarType::U32), (true, ScalarType::I32)] {
            for step in edges.into_iter().filter(|s| *s != 0) {
                for start in edges {
                    let looping = ForLoop { start: 0, end: 1, counter: 2, trips: 3, step, is_signed };
                    let ends = Lanes(core::array::from_fn(|lane| edges[lane % edges.len()]));
                    let zero = Lanes::splat(0);
                    let mut registers = [Lanes::splat(start), ends, zero, zero];
                    begin_for(&looping, &mut registers, Mask::MAX);
                    for lane in 0..WIDTH {
                        let end = u64::from(ends.0[lane]);
                        let wanted = trip_count(ty, u64::from(start), end, u64::from(step));
                        assert_eq!(registers[3].0[lane], wanted, "{ty} {start} {end} {step}");
                    }
                }
            }
        }
    }
}
