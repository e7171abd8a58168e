//! Lifetimes of values: the last event of the walk at which each value is needed.
//!
//! A value from outside a loop that is read inside is needed until the loop ends. So are the loop's own counter and
//! carried values, whose registers its results share.

use fulgurite_ir::analysis::walk::operands;
use fulgurite_ir::analysis::{Event, Walk};
use fulgurite_ir::{Control, Terminator, ValueId, VerifiedKernel};

/// The last event at which each value is needed.
pub(super) struct Lifetimes {
    ends: Vec<u32>,
}

/// An open loop.
struct Open {
    begin: u32,
    /// The outside values that the loop reads, and its own values.
    keeps: Vec<ValueId>,
}

impl Lifetimes {
    pub(super) fn of(kernel: &VerifiedKernel) -> Self {
        let mut ends = vec![0; kernel.values.len()];
        // For each value, the event before which it was defined.
        let mut defined = vec![0u32; kernel.values.len()];
        let mut open: Vec<Open> = Vec::new();
        for (event, now) in Walk::new(kernel).zip(0u32..) {
            let mut used = |value: ValueId, open: &mut Vec<Open>| {
                ends[value.index()] = now;
                let outermost = open.partition_point(|l| l.begin < defined[value.index()]);
                if let Some(outermost) = open.get_mut(outermost) {
                    outermost.keeps.push(value);
                }
            };
            match event {
                Event::Inst(id) => {
                    let inst = kernel.inst(id);
                    operands(&inst.kind).for_each(|value| used(value, &mut open));
                    let own = match inst.kind.control() {
                        Some(Control::For { body, .. }) => Some(&kernel.block(body).params),
                        Some(Control::While { header, .. }) => Some(&kernel.block(header).params),
                        Some(Control::If { .. } | Control::Region { .. }) | None => None,
                    };
                    if let Some(own) = own {
                        let keeps = own.iter().chain(&inst.results).copied().collect();
                        open.push(Open { begin: now, keeps });
                    }
                    for value in inst.results.iter().chain(own.into_iter().flatten()) {
                        // Inside the loop that opens here, its own values count as defined before it.
                        defined[value.index()] = now + u32::from(own.is_some());
                        ends[value.index()] = now;
                    }
                }
                Event::Exit(block) => match &kernel.block(block).terminator {
                    Terminator::Return => {}
                    Terminator::Yield(values) => values.iter().for_each(|v| used(*v, &mut open)),
                    Terminator::Condition(value) => used(*value, &mut open),
                },
                Event::Done(id) => {
                    let inst = kernel.inst(id);
                    match inst.kind.control() {
                        Some(Control::For { .. } | Control::While { .. }) => {
                            for value in open.pop().into_iter().flat_map(|closed| closed.keeps) {
                                ends[value.index()] = now;
                            }
                        }
                        Some(Control::If { .. } | Control::Region { .. }) => {
                            for value in &inst.results {
                                ends[value.index()] = now;
                            }
                        }
                        None => {}
                    }
                }
                Event::Enter(_) => {}
            }
        }
        Self { ends }
    }

    /// Returns the last event that needs `value`.
    pub(super) fn end(&self, value: ValueId) -> u32 {
        self.ends[value.index()]
    }
}
