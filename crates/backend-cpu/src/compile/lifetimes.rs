//! Until which event of the walk each value is needed.
//!
//! A value from outside a loop that is read in it is needed until the loop ends; so are the loop's own counter and
//! carried values, whose registers the results take over.

use fulgurite_ir::analysis::walk::operands;
use fulgurite_ir::analysis::{Event, Walk};
use fulgurite_ir::{InstKind, Terminator, ValueId, VerifiedKernel};

/// The last event at which each value is needed.
pub(super) struct Lifetimes {
    ends: Vec<u32>,
}

/// A loop that the walk is in.
struct Open {
    begin: u32,
    /// Values from outside that it reads, and its own.
    keeps: Vec<ValueId>,
}

impl Lifetimes {
    pub(super) fn of(kernel: &VerifiedKernel) -> Self {
        let mut ends = vec![0; kernel.values.len()];
        // Before which event each value was defined.
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
                    let own = match inst.kind {
                        InstKind::For { body, .. } => Some(&kernel.block(body).params),
                        InstKind::While { header, .. } => Some(&kernel.block(header).params),
                        _ => None,
                    };
                    if let Some(own) = own {
                        let keeps = own.iter().chain(&inst.results).copied().collect();
                        open.push(Open { begin: now, keeps });
                    }
                    for value in inst.results.iter().chain(own.into_iter().flatten()) {
                        // Inside the loop that is being opened, its own values are older.
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
                    if matches!(inst.kind, InstKind::For { .. } | InstKind::While { .. })
                        && let Some(closed) = open.pop()
                    {
                        for value in closed.keeps {
                            ends[value.index()] = now;
                        }
                    }
                    if let InstKind::If { .. } | InstKind::Region { .. } = inst.kind {
                        for value in &inst.results {
                            ends[value.index()] = now;
                        }
                    }
                }
                Event::Enter(_) => {}
            }
        }
        Self { ends }
    }

    /// The last event that needs `value`.
    pub(super) fn end(&self, value: ValueId) -> u32 {
        self.ends[value.index()]
    }
}
