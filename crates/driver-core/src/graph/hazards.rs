//! Which steps of a graph must wait for which, and why.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use super::{GraphStep, StepWork};
use crate::binding::Binding;

/// Why a step waits for an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HazardKind {
    /// It reads what the earlier one writes.
    ReadAfterWrite,
    /// It writes what the earlier one reads.
    WriteAfterRead,
    /// Both write.
    WriteAfterWrite,
}

/// That a step waits for an earlier one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Hazard {
    /// The earlier step's number.
    pub before: usize,
    /// The number of the step that waits.
    pub step: usize,
    /// Why.
    pub kind: HazardKind,
    /// The bytes of the buffer that both use.
    pub bytes: Range<u64>,
}

impl fmt::Display for Hazard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (why, Range { start, end }) = (self.kind, &self.bytes);
        let why = match why {
            HazardKind::ReadAfterWrite => "reads",
            HazardKind::WriteAfterRead => "overwrites what it reads:",
            HazardKind::WriteAfterWrite => "overwrites",
        };
        write!(f, "after {}, {why} bytes {start}..{end}", self.before)
    }
}

/// An access of a step.
#[derive(Clone)]
struct Access {
    step: usize,
    bytes: Range<u64>,
    writes: bool,
}

/// Finds every hazard that no others imply, and what each step waits for.
pub(super) fn find(steps: Vec<StepWork>) -> (Vec<Hazard>, Vec<GraphStep>) {
    // By buffer, what later steps may have to wait for.
    let mut open: HashMap<*const (), Vec<Access>> = HashMap::new();
    let (mut hazards, mut found) = (Vec::new(), Vec::with_capacity(steps.len()));
    for (step, work) in steps.into_iter().enumerate() {
        let own = accesses(&work);
        let mut waits = Vec::new();
        for (binding, writes) in &own {
            let before = open.get(&key(binding)).into_iter().flatten();
            for earlier in before.filter(|earlier| *writes || earlier.writes) {
                let bytes = common(&earlier.bytes, &binding.range());
                if !bytes.is_empty() {
                    let kind = match (earlier.writes, writes) {
                        (true, false) => HazardKind::ReadAfterWrite,
                        (false, _) => HazardKind::WriteAfterRead,
                        (true, true) => HazardKind::WriteAfterWrite,
                    };
                    waits.push(Hazard { before: earlier.step, step, kind, bytes });
                }
            }
        }
        for (binding, writes) in own {
            let accesses = open.entry(key(&binding)).or_default();
            let bytes = binding.range();
            if writes {
                // Whoever waits for what was there waits for this write, which does so itself.
                accesses.retain(|a| a.step == step || common(&a.bytes, &bytes) != a.bytes);
            }
            accesses.push(Access { step, bytes, writes });
        }
        let mut after: Vec<usize> = waits.iter().map(|hazard| hazard.before).collect();
        after.sort_unstable();
        after.dedup();
        drop_implied(&mut after, &found);
        hazards.extend(waits.into_iter().filter(|hazard| after.binary_search(&hazard.before).is_ok()));
        found.push(GraphStep { work, after });
    }
    (hazards, found)
}

/// Leaves of `after`, which is sorted, what no other of it waits for already.
fn drop_implied(after: &mut Vec<usize>, found: &[GraphStep]) {
    let [least, _, ..] = after[..] else { return };
    let mut implied = HashSet::new();
    for step in after.iter().rev() {
        let mut behind = vec![*step];
        while let Some(step) = behind.pop() {
            // Earlier ones than all that are asked for lead to none of them.
            let earlier = found[step].after.iter().filter(|earlier| **earlier >= least);
            behind.extend(earlier.filter(|earlier| implied.insert(**earlier)));
        }
    }
    after.retain(|step| !implied.contains(step));
}

/// What a step uses, and whether it writes it. What is written may be read, too: the write decides.
fn accesses(work: &StepWork) -> Vec<(Binding, bool)> {
    match work {
        StepWork::Launch { executable, launch } => {
            let declared = &executable.kernel().buffers;
            launch.buffers().iter().zip(declared).map(|(b, d)| (b.clone(), d.access.can_write())).collect()
        }
        StepWork::Copy { from, to } => vec![(from.clone(), false), (to.clone(), true)],
        StepWork::Fill { to, .. } => vec![(to.clone(), true)],
    }
}

fn key(binding: &Binding) -> *const () {
    Arc::as_ptr(binding.buffer()).cast()
}

fn common(a: &Range<u64>, b: &Range<u64>) -> Range<u64> {
    a.start.max(b.start)..a.end.min(b.end)
}
