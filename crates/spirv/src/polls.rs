//! Which loops must poll the abort word: those that cannot be shown to end soon.

use fulgurite_ir::analysis::{Event, Walk};
use fulgurite_ir::{InstId, InstKind, Kernel};
use fulgurite_spec::eval;
use fulgurite_spec::limits::{MAX_UNPOLLED_TRIPS, POLL_INTERVAL};

/// For each instruction, whether it is a loop that polls: every `while`, and a `for` that, with the loops
/// around it, cannot be shown to stay under 2³⁰ iterations between two polls.
pub(crate) fn polled_loops(kernel: &Kernel) -> Vec<bool> {
    let mut polled = vec![false; kernel.insts.len()];
    // The open loops, each with the most iterations that its body runs between two polls.
    let mut open: Vec<(InstId, u64)> = Vec::new();
    for event in Walk::new(kernel) {
        match event {
            Event::Inst(id) => {
                let around = open.last().map_or(1, |(_, trips)| *trips);
                let trips = match kernel.inst(id).kind {
                    InstKind::For { .. } => around.saturating_mul(most_trips(kernel, id)),
                    InstKind::While { .. } => u64::MAX,
                    _ => continue,
                };
                polled[id.index()] = trips > MAX_UNPOLLED_TRIPS;
                let between = if polled[id.index()] { u64::from(POLL_INTERVAL) } else { trips };
                open.push((id, between));
            }
            Event::Done(id) => {
                if open.last().is_some_and(|(inner, _)| *inner == id) {
                    open.pop();
                }
            }
            Event::Enter(_) | Event::Exit(_) => {}
        }
    }
    polled
}

/// The most iterations that a `for` can take.
fn most_trips(kernel: &Kernel, id: InstId) -> u64 {
    let InstKind::For { start, end, step, .. } = kernel.inst(id).kind else { return 1 };
    match (kernel.literal(start), kernel.literal(end), kernel.literal(step)) {
        (Some(start), Some(end), Some(step)) => {
            u64::from(eval::trip_count(start.ty, start.bits, end.bits, step.bits))
        }
        _ => u64::from(u32::MAX),
    }
}
