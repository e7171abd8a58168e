//! Execution of one chunk of 64 lanes, up to a barrier or the end.

use std::sync::atomic::{Ordering, fence};

use fulgurite_ir::AtomicOrder;

use crate::code::{Code, ForLoop, Position, Step};
use crate::compute::{Register, bits, registers_of, set_bits};
use crate::lanes::{Lanes, Mask, Spread, WIDTH, blend, lanes_of, mask_of};
use crate::matrix::{self, Held};
use crate::memory::{Bound, View};
use crate::poll::{Poll, Stopped};
use crate::subgroup::{self, Broadcast};
use crate::trap::Trap;

/// The number of steps of a kernel that count as one back edge each time it is run.
const STEPS_PER_BACK_EDGE: u32 = 64;

/// An open construct of control flow.
#[derive(Clone, Copy)]
enum Frame {
    /// An `if`: all its lanes, and those of the second block.
    If { outer: Mask, other: Mask },
    /// A `for`: all its lanes, the iteration, and the minimum and maximum number of iterations of a lane.
    For { outer: Mask, iteration: u64, least: u64, most: u64 },
    /// A `while`: all its lanes.
    While { outer: Mask },
}

/// The state that all chunks of a launch share.
#[derive(Clone, Copy)]
pub(crate) struct Launched<'a> {
    pub(crate) buffers: &'a [Bound<'a>],
    pub(crate) trap: &'a Trap,
}

/// The state of a chunk.
pub(crate) struct Chunk {
    pub(crate) registers: Vec<Lanes>,
    /// Indexed by word, then by lane.
    pub(crate) local: Vec<Lanes>,
    matrices: Vec<Held>,
    frames: Vec<Frame>,
    /// The mask of the last blend.
    spread: Spread,
    /// The lanes that began the kernel.
    all: Mask,
    /// The active lanes.
    mask: Mask,
    position: usize,
}

/// The reason why a chunk stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pause {
    /// The chunk waits at the barrier before this step.
    Barrier(usize),
    /// The chunk waits for a value of one invocation.
    Broadcast(Broadcast),
    /// The kernel ended.
    End,
}

impl Chunk {
    pub(crate) fn new(registers: Vec<Lanes>, local: Vec<Lanes>, matrices: usize) -> Self {
        let matrices = (0..matrices).map(|_| Held::default()).collect();
        let (frames, spread) = (Vec::new(), Spread::EMPTY);
        Self { registers, local, matrices, frames, spread, all: 0, mask: 0, position: 0 }
    }

    /// Restarts the kernel with the lanes of `mask`.
    pub(crate) fn begin(&mut self, mask: Mask) {
        self.local.fill(Lanes::splat(0));
        self.frames.clear();
        self.all = mask;
        self.mask = mask;
        self.position = 0;
    }

    /// Runs to the next pause.
    pub(crate) fn run(
        &mut self,
        code: &Code,
        launched: &Launched<'_>,
        shared: &mut [u32],
        poll: &mut Poll<'_>,
    ) -> Result<Pause, Stopped> {
        // A long kernel without loops passes no back edge.
        poll.count_many(code.steps.len() as u32 / STEPS_PER_BACK_EDGE)?;
        let mut view = View { buffers: launched.buffers, shared, local: &mut self.local };
        let registers = &mut self.registers[..];
        let matrices = &mut self.matrices[..];
        loop {
            let step = &code.steps[self.position];
            self.position += 1;
            match step {
                Step::Compute(apply, args) => apply(registers, args),
                Step::Generic(generic, args) => generic.apply(registers, args),
                Step::Copy { to, from } => registers[*to as usize] = registers[*from as usize],
                Step::Blend { to, from } => {
                    if let Ok([to, from]) = registers.get_disjoint_mut([*to as usize, *from as usize]) {
                        // Lanes that never ran may be overwritten, which makes most masks full.
                        blend(to, from, self.mask | !self.all, &mut self.spread);
                    }
                }
                Step::Extract { to, components, count, index } => {
                    let components = &components[..*count as usize];
                    registers[*to as usize] = extract(registers, components, registers[*index as usize]);
                }
                Step::Insert { to, from, component, index, value } => {
                    let operands = [index, from, value].map(|r| registers[*r as usize]);
                    registers[*to as usize] = insert(*component, operands);
                }
                Step::Pack { to, components, count, bits } => {
                    registers[*to as usize] = pack(registers, &components[..*count as usize], *bits);
                }
                Step::Unpack { to, from, shift, mask } => {
                    let from = registers[*from as usize];
                    for (to, from) in registers[*to as usize].0.iter_mut().zip(&from.0) {
                        *to = from >> shift & mask;
                    }
                }
                Step::Load { place, index, to } => view.load(registers, *place, *index, *to),
                Step::Store { place, index, from } => view.store(registers, self.mask, *place, *index, *from),
                Step::Atomic { atomic, index, operands, to } => {
                    view.atomic(registers, self.mask, *atomic, *index, *operands, *to);
                }
                Step::Fence(order) => fence(ordering(*order)),
                Step::Trap { code, ids } => {
                    for lane in lanes_of(self.mask) {
                        let of = |register: Register| registers[register as usize].0[lane];
                        launched.trap.record(of(*code), ids.map(of));
                    }
                }
                Step::Matrix(position) => {
                    let step = &code.matrix_steps[*position as usize];
                    matrix::step(step, matrices, registers, &mut view, self.mask, code.subgroup);
                    poll.count_many(step.work())?;
                }
                Step::Scan(scan) => subgroup::scan(scan, registers, self.all, code.subgroup),
                Step::Shuffle(shuffle) => subgroup::shuffle(shuffle, registers, self.all, code.subgroup),
                Step::Vote(vote) => subgroup::vote(vote, registers, self.all, code.subgroup),
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
                    if !enter_for(looping, registers, &mut self.frames, &mut self.mask) {
                        self.position = behind(*next);
                    }
                }
                Step::ForNext { looping, begin } => {
                    poll.count()?;
                    if next_iteration(looping, registers, &mut self.frames, &mut self.mask) {
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
                Step::Broadcast(broadcast) => return Ok(Pause::Broadcast(*broadcast)),
                Step::End => {
                    // Running the chunk again must end again.
                    self.position -= 1;
                    return Ok(Pause::End);
                }
            }
        }
    }
}

/// Returns the order of a fence.
fn ordering(order: AtomicOrder) -> Ordering {
    match order {
        AtomicOrder::Acquire => Ordering::Acquire,
        AtomicOrder::Release => Ordering::Release,
        AtomicOrder::Relaxed | AtomicOrder::AcquireRelease => Ordering::AcqRel,
    }
}

/// Returns the position after a step.
fn behind(position: Position) -> usize {
    position as usize + 1
}

/// Returns, for each lane, the component that `index` selects; 0 if there is none.
fn extract(registers: &[Lanes], components: &[Register], index: Lanes) -> Lanes {
    let mut value = Lanes::splat(0);
    for (register, component) in components.iter().zip(0u32..) {
        let from = &registers[*register as usize];
        for lane in 0..WIDTH {
            if index.0[lane] == component {
                value.0[lane] = from.0[lane];
            }
        }
    }
    value
}

/// Returns a component of a vector, with `value` in the lanes whose index selects it.
fn insert(component: u32, [index, from, value]: [Lanes; 3]) -> Lanes {
    let mut to = from;
    for lane in 0..WIDTH {
        if index.0[lane] == component {
            to.0[lane] = value.0[lane];
        }
    }
    to
}

/// Returns a word of components of `bits` bits each.
fn pack(registers: &[Lanes], components: &[Register], bits: u32) -> Lanes {
    let mut value = Lanes::splat(0);
    for (register, shift) in components.iter().zip(0u32..) {
        let from = &registers[*register as usize];
        for (value, from) in value.0.iter_mut().zip(&from.0) {
            *value |= from << (shift * bits);
        }
    }
    value
}

/// Enters a `for`. Returns whether a lane runs an iteration; the mask is then that of the first one.
#[inline]
fn enter_for(looping: &ForLoop, registers: &mut [Lanes], frames: &mut Vec<Frame>, mask: &mut Mask) -> bool {
    let outer = *mask;
    let (least, most) = begin_for(looping, registers, outer);
    if most == 0 {
        return false;
    }
    frames.push(Frame::For { outer, iteration: 0, least, most });
    if least == 0 {
        *mask = outer & still_going(looping, registers, 0);
    }
    true
}

/// Ends an iteration of the innermost `for`. Returns whether a lane runs another; the mask is then that of the next one, else
/// that of the code after the loop.
#[inline]
fn next_iteration(
    looping: &ForLoop,
    registers: &mut [Lanes],
    frames: &mut Vec<Frame>,
    mask: &mut Mask,
) -> bool {
    let Some(Frame::For { outer, iteration, least, most }) = frames.last_mut() else { return false };
    *iteration += 1;
    if iteration >= most {
        *mask = *outer;
        frames.pop();
        return false;
    }
    if iteration >= least {
        *mask = *outer & still_going(looping, registers, *iteration);
    }
    advance(looping, registers);
    true
}

/// Sets the counter, computes each lane's number of iterations, and returns their minimum and maximum over `mask`.
fn begin_for(looping: &ForLoop, registers: &mut [Lanes], mask: Mask) -> (u64, u64) {
    for word in 0..registers_of(looping.ty) {
        registers[(looping.counter + word) as usize] = registers[(looping.start + word) as usize];
    }
    let (mut least, mut most) = (u64::MAX, 0);
    if registers_of(looping.ty) == 1 {
        narrow_trips(looping, registers);
        let trips = &registers[looping.trips as usize].0;
        for lane in lanes_of(mask) {
            least = least.min(trips[lane].into());
            most = most.max(trips[lane].into());
        }
    } else {
        for lane in lanes_of(mask) {
            let [start, end] = [looping.start, looping.end].map(|r| bits(registers, r, looping.ty, lane));
            let trips = wide_trips(looping, start, end);
            set_bits(registers, looping.trips, looping.ty, lane, trips);
            least = least.min(trips);
            most = most.max(trips);
        }
    }
    (least, most)
}

/// Computes each lane's number of iterations for a counter of at most 32 bits.
fn narrow_trips(looping: &ForLoop, registers: &mut [Lanes]) {
    let (start, end) = (registers[looping.start as usize], registers[looping.end as usize]);
    let trips = &mut registers[looping.trips as usize].0;
    let is_signed = looping.ty.is_signed();
    // Signed values are sign-extended to whole words.
    let shift = 32 - 8 * looping.ty.size();
    let signed = |bits: u32| ((bits << shift) as i32) >> shift;
    let step = looping.step as u32;
    for (trips, (start, end)) in trips.iter_mut().zip(start.0.iter().zip(&end.0)) {
        let (from, to, before) = if !is_signed {
            (*start, *end, start < end)
        } else {
            let (start, end) = (signed(*start), signed(*end));
            let (from, to) = if signed(step) < 0 { (end, start) } else { (start, end) };
            (from as u32, to as u32, from < to)
        };
        *trips = if before { to.wrapping_sub(from) } else { 0 };
    }
    let stride = if is_signed { signed(step).unsigned_abs() } else { step };
    if stride > 1 {
        for trips in trips.iter_mut() {
            *trips = trips.div_ceil(stride);
        }
    }
}

/// Returns a lane's number of iterations for a 64-bit counter.
fn wide_trips(looping: &ForLoop, start: u64, end: u64) -> u64 {
    let (from, to, before, stride) = if looping.ty.is_signed() {
        let (start, end, step) = (start as i64, end as i64, looping.step as i64);
        let (from, to) = if step < 0 { (end, start) } else { (start, end) };
        (from as u64, to as u64, from < to, step.unsigned_abs())
    } else {
        (start, end, start < end, looping.step)
    };
    if before { to.wrapping_sub(from).div_ceil(stride.max(1)) } else { 0 }
}

/// Adds the step to the counters of all lanes.
fn advance(looping: &ForLoop, registers: &mut [Lanes]) {
    if registers_of(looping.ty) == 1 {
        let (step, mask) = (looping.step as u32, u32::MAX >> (32 - 8 * looping.ty.size()));
        for counter in &mut registers[looping.counter as usize].0 {
            *counter = counter.wrapping_add(step) & mask;
        }
    } else {
        for lane in 0..WIDTH {
            let counter = bits(registers, looping.counter, looping.ty, lane);
            let next = counter.wrapping_add(looping.step);
            set_bits(registers, looping.counter, looping.ty, lane, next);
        }
    }
}

/// Returns the lanes that run the iteration with this number.
fn still_going(looping: &ForLoop, registers: &[Lanes], iteration: u64) -> Mask {
    let mut bools = Lanes::splat(0);
    if registers_of(looping.ty) == 1 {
        let iteration = iteration as u32;
        for (bool, trips) in bools.0.iter_mut().zip(&registers[looping.trips as usize].0) {
            *bool = u32::from(*trips > iteration);
        }
    } else {
        for (lane, bool) in bools.0.iter_mut().enumerate() {
            *bool = u32::from(bits(registers, looping.trips, looping.ty, lane) > iteration);
        }
    }
    mask_of(&bools)
}

#[cfg(test)]
mod tests {
    use super::*;
    use fulgurite_spec::ScalarType;
    use fulgurite_spec::eval::trip_count;

    #[test]
    fn loops_of_every_type_go_as_often_as_the_language_says() {
        let zero = Lanes::splat(0);
        for ty in ScalarType::ALL.into_iter().filter(|ty| ty.is_integer()) {
            let half = ty.mask() / 2;
            let small = [0u64, 1, 2, 3, 7, 8, 100];
            let large = [half - 1, half, half + 1, half + 2, ty.mask() - 1, ty.mask()];
            let edges: Vec<u64> = small.into_iter().chain(large).collect();
            for step in edges.iter().copied().filter(|s| *s != 0) {
                for start in &edges {
                    let looping = ForLoop { start: 0, end: 2, counter: 4, trips: 6, step, ty };
                    let mut registers = [zero; 8];
                    for lane in 0..WIDTH {
                        set_bits(&mut registers, looping.start, ty, lane, *start);
                        set_bits(&mut registers, looping.end, ty, lane, edges[lane % edges.len()]);
                    }
                    let (least, most) = begin_for(&looping, &mut registers, Mask::MAX);
                    let trips = |lane: usize| trip_count(ty, *start, edges[lane % edges.len()], step);
                    for lane in 0..WIDTH {
                        let found = bits(&registers, looping.trips, ty, lane);
                        assert_eq!(found, trips(lane), "{ty} {start} {step}");
                        assert_eq!(bits(&registers, looping.counter, ty, lane), *start);
                    }
                    assert_eq!(Some(least), (0..WIDTH).map(trips).min());
                    assert_eq!(Some(most), (0..WIDTH).map(trips).max());
                    advance(&looping, &mut registers);
                    let next = start.wrapping_add(step) & ty.mask();
                    assert_eq!(bits(&registers, looping.counter, ty, WIDTH - 1), next, "{ty} {start} {step}");
                    for iteration in [0, 1, 2].into_iter().filter(|i| *i < most) {
                        let going = still_going(&looping, &registers, iteration);
                        for lane in 0..WIDTH {
                            assert_eq!(
                                going >> lane & 1 != 0,
                                trips(lane) > iteration,
                                "{ty} {start} {step}"
                            );
                        }
                    }
                }
            }
        }
    }
}
