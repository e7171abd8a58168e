//! Selection of the loops that poll the abort word: those that are not proven to end soon.

use fulgurite_ir::analysis::{Event, RangeMap, Uniformity, Walk};
use fulgurite_ir::{Control, InstId, VerifiedKernel};
use fulgurite_spec::limits::{MAX_UNPOLLED_TRIPS, POLL_INTERVAL};

use crate::contents::Contents;

/// The way a loop polls the abort word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Poll {
    Never,
    /// Each invocation polls on its own.
    Alone,
    /// The workgroup polls together: the loop contains a barrier, or its results may decide who reaches one, so that
    /// its invocations must all leave in the same iteration.
    Together,
}

/// Returns the way each instruction polls. Every `while` polls, and every `for` that is not proven to stay, together
/// with its enclosing loops, under 2³⁰ iterations between two polls.
pub(crate) fn polls(kernel: &VerifiedKernel, ranges: &RangeMap<'_>, contents: &Contents) -> Vec<Poll> {
    let mut polls = vec![Poll::Never; kernel.insts.len()];
    if !contents.loops {
        return polls;
    }
    // The enclosing loops, each with the maximum number of iterations of its body between two polls.
    let mut open: Vec<(InstId, u64)> = Vec::new();
    // The enclosing control instructions that may diverge within a workgroup.
    let mut divergent: Vec<InstId> = Vec::new();
    for event in Walk::new(kernel) {
        match event {
            Event::Inst(id) => {
                let inst = kernel.inst(id);
                let uniformity = kernel.uniformity();
                let decider = uniformity.deciding_value(kernel, inst);
                if decider.is_some_and(|value| uniformity.level(value) > Uniformity::Workgroup) {
                    divergent.push(id);
                }
                let around = open.last().map_or(1, |(_, trips)| *trips);
                let trips = match inst.kind.control() {
                    Some(Control::For { start, end, step, .. }) => {
                        around.saturating_mul(ranges.most_trips(start, end, step))
                    }
                    Some(Control::While { .. }) => u64::MAX,
                    Some(Control::If { .. } | Control::Region { .. }) | None => continue,
                };
                let polled = trips > MAX_UNPOLLED_TRIPS;
                if polled {
                    polls[id.index()] =
                        if contents.meets && divergent.is_empty() { Poll::Together } else { Poll::Alone };
                }
                open.push((id, if polled { u64::from(POLL_INTERVAL) } else { trips }));
            }
            Event::Done(id) => {
                open.pop_if(|(inner, _)| *inner == id);
                divergent.pop_if(|control| *control == id);
            }
            Event::Enter(_) | Event::Exit(_) => {}
        }
    }
    polls
}
