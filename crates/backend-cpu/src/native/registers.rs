//! Register allocation: a linear scan over the intervals of virtual registers.
//!
//! A register whose interval does not fit is kept in the frame for all of its life, and loaded where it is used. Inputs
//! are in the frame anyway, so they are the cheapest to evict. A register's cost is the number of its uses, weighted by the
//! depth of loops, over the length of its interval.

use super::program::{Class, Program, Reg, Step};

/// Factor by which a use in a loop counts more than one outside of it.
const LOOP_WEIGHT: f32 = 8.0;

/// The location of a virtual register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Location {
    /// The register is never used.
    Unused,
    /// A machine register of its class, by position in the list of those that may be allocated.
    Machine(u8),
    /// A slot of the frame, by position in the area of its class.
    Slot(u32),
}

/// The numbers of machine registers that may be allocated.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pools {
    pub(crate) scalars: u8,
    pub(crate) vectors: u8,
    /// The number of mask registers; 0 if masks are held in vector registers.
    pub(crate) masks: u8,
}

/// The locations of all registers.
#[derive(Debug)]
pub(crate) struct Allocation {
    pub(crate) locations: Vec<Location>,
    /// The numbers of slots for scalars, vectors and masks. Slots of inputs come first, in order of the inputs.
    pub(crate) slots: [u32; 3],
}

#[derive(Clone, Copy)]
struct Interval {
    reg: Reg,
    /// Twice the position of the first access, plus 1 if it is a write.
    start: u32,
    end: u32,
    cost: f32,
}

/// Returns the position of a class in lists of all classes.
pub(crate) fn class_index(class: Class) -> usize {
    match class {
        Class::Scalar => 0,
        Class::Vector => 1,
        Class::Mask => 2,
    }
}

/// Allocates the registers of `program`. Constant scalars for which `is_immediate` holds need no register.
pub(crate) fn allocate(program: &Program, pools: Pools, is_immediate: impl Fn(Reg) -> bool) -> Allocation {
    let mut slots = [0; 3];
    let mut locations = vec![Location::Unused; program.classes.len()];
    let mut input_slots = vec![None; program.classes.len()];
    for (reg, _) in &program.inputs {
        let next = &mut slots[class_index(program.class(*reg))];
        input_slots[reg.index()] = Some(*next);
        *next += 1;
    }
    let mut intervals = intervals(program);
    intervals.retain(|interval| !is_immediate(interval.reg));
    intervals.sort_by_key(|interval| (interval.start, interval.reg));

    let pool_of = |class: Class| match class {
        Class::Scalar => 0,
        Class::Mask if pools.masks > 0 => 2,
        Class::Vector | Class::Mask => 1,
    };
    let mut free: [Vec<u8>; 3] =
        [pools.scalars, pools.vectors, pools.masks].map(|count| (0..count).rev().collect());
    let mut active: [Vec<(Interval, u8)>; 3] = Default::default();
    for interval in intervals {
        let pool = pool_of(program.class(interval.reg));
        active[pool].retain(|(other, machine)| {
            let is_live = other.end >= interval.start;
            if !is_live {
                free[pool].push(*machine);
            }
            is_live
        });
        if let Some(machine) = free[pool].pop() {
            locations[interval.reg.index()] = Location::Machine(machine);
            active[pool].push((interval, machine));
            continue;
        }
        let mut evicted = interval.reg;
        let cheapest = active[pool].iter_mut().min_by(|(a, _), (b, _)| a.cost.total_cmp(&b.cost));
        if let Some((other, machine)) = cheapest.filter(|(other, _)| other.cost < interval.cost) {
            evicted = other.reg;
            locations[interval.reg.index()] = Location::Machine(*machine);
            *other = interval;
        }
        let slot = input_slots[evicted.index()].unwrap_or_else(|| {
            let next = &mut slots[class_index(program.class(evicted))];
            *next += 1;
            *next - 1
        });
        locations[evicted.index()] = Location::Slot(slot);
    }
    Allocation { locations, slots }
}

/// Returns the intervals of all registers that are used, extended over the loops that they are live in.
fn intervals(program: &Program) -> Vec<Interval> {
    let mut all: Vec<Option<Interval>> = vec![None; program.classes.len()];
    let touch = |all: &mut Vec<Option<Interval>>, reg: Reg, at: u32, cost: f32| {
        let interval = all[reg.index()].get_or_insert(Interval { reg, start: at, end: at, cost: 0.0 });
        interval.end = interval.end.max(at);
        interval.cost += cost;
    };
    for (reg, _) in &program.inputs {
        touch(&mut all, *reg, 0, 0.0);
    }
    // Registers that each open loop accesses.
    let mut loops: Vec<(u32, Vec<Reg>)> = Vec::new();
    let mut is_cold = false;
    for (at, step) in program.steps.iter().enumerate() {
        let at = at as u32 * 2 + 2;
        match step {
            Step::LoopBegin => loops.push((at, Vec::new())),
            Step::LoopEnd => {
                let Some((begin, accessed)) = loops.pop() else { continue };
                for reg in &accessed {
                    if let Some(interval) = all[reg.index()].as_mut().filter(|i| i.start < begin) {
                        interval.end = interval.end.max(at);
                    }
                }
                if let Some((_, outer)) = loops.last_mut() {
                    outer.extend(accessed);
                }
            }
            Step::Cold => is_cold = true,
            Step::EndCold => is_cold = false,
            _ => {}
        }
        let uses = step.uses();
        let cost = if is_cold { 0.01 } else { LOOP_WEIGHT.powi(loops.len() as i32) };
        let accesses = uses.reads.into_iter().flatten().map(|reg| (reg, at));
        for (reg, at) in accesses.chain(uses.write.map(|reg| (reg, at + 1))) {
            touch(&mut all, reg, at, cost);
            if let Some((_, accessed)) = loops.last_mut() {
                accessed.push(reg);
            }
        }
    }
    let mut intervals: Vec<Interval> = all.into_iter().flatten().collect();
    for interval in &mut intervals {
        // An input that is kept in the frame is not stored there again.
        interval.cost /= (interval.end - interval.start + 1) as f32;
    }
    intervals
}
