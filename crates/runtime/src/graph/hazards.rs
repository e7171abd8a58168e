//! The order between the steps of a graph: finds data hazards and the dependencies that resolve them.

use std::collections::{BTreeMap, HashMap, HashSet};

use fulgurite_hal::{Binding, GraphStep, StepWork};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// The kind of a data hazard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HazardKind {
    /// Read after write.
    ReadAfterWrite,
    /// Write after read.
    WriteAfterRead,
    /// Write after write.
    WriteAfterWrite,
}

/// A data hazard between two steps.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Hazard {
    /// The number of the earlier step.
    pub before: usize,
    /// The number of the step that waits.
    pub step: usize,
    /// The kind.
    pub kind: HazardKind,
    /// The byte range of the buffer that both steps use.
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

/// Finds every hazard that is not implied by others, and the dependencies of each step.
pub(super) fn find(steps: Vec<StepWork>) -> (Vec<Hazard>, Vec<GraphStep>) {
    let mut search = Search::default();
    let waits: Vec<_> =
        steps.iter().enumerate().map(|(step, work)| search.step(step, &accesses(work))).collect();
    let waits_for = waits.into_iter().zip(steps);
    let found = waits_for.map(|(after, work)| GraphStep { work, after }).collect();
    (search.hazards, found)
}

/// The number of steps searched for an indirect dependency. Beyond it a redundant direct dependency is added.
const MOST_BEHIND: usize = 256;

/// Accesses of the steps so far. Its cost is linear in accesses and hazards.
#[derive(Default)]
struct Search {
    /// The accesses of each buffer.
    open: HashMap<*const (), Open>,
    hazards: Vec<Hazard>,
    waits: Vec<Waits>,
    /// The number of accesses and steps examined.
    #[cfg(test)]
    looked_at: usize,
}

/// The accesses to one buffer that later steps may depend on.
#[derive(Default)]
struct Open {
    /// The last write of each byte, keyed by its start: its end and its step. Ranges do not overlap.
    writes: BTreeMap<u64, (u64, usize)>,
    /// Reads of bytes that have not been wholly overwritten since.
    reads: Vec<(Range<u64>, usize)>,
}

/// The dependencies of one step.
struct Waits {
    /// Direct dependencies, ascending, without those implied by others.
    after: Vec<usize>,
    /// The step depends, directly or not, on all steps before this one.
    all_before: usize,
}

impl Search {
    /// Adds the next step and returns its dependencies.
    fn step(&mut self, step: usize, accesses: &[(Binding, bool)]) -> Vec<usize> {
        let mut found = Vec::new();
        for (binding, writes) in accesses {
            let Some(open) = self.open.get(&key(binding)) else { continue };
            let bytes = binding.range();
            if bytes.is_empty() {
                continue;
            }
            let first = found.len();
            let mut wait = |before, kind, bytes| found.push(Hazard { before, step, kind, bytes });
            let last_writes = open.writes_in(&bytes);
            #[cfg(test)]
            {
                self.looked_at += last_writes.clone().count() + if *writes { open.reads.len() } else { 0 };
            }
            for (common, before) in last_writes {
                let kind = if *writes { HazardKind::WriteAfterWrite } else { HazardKind::ReadAfterWrite };
                wait(before, kind, common);
            }
            for (read, before) in open.reads.iter().filter(|_| *writes) {
                let common = common(read, &bytes);
                if !common.is_empty() {
                    wait(*before, HazardKind::WriteAfterRead, common);
                }
            }
            found[first..].sort_by_key(|hazard: &Hazard| (hazard.before, hazard.bytes.start));
        }
        for (binding, writes) in accesses {
            let open = self.open.entry(key(binding)).or_default();
            match (binding.range(), writes) {
                (bytes, _) if bytes.is_empty() => {}
                (bytes, true) => open.write(bytes, step),
                (bytes, false) => open.reads.push((bytes, step)),
            }
        }
        let mut after: Vec<usize> = found.iter().map(|hazard| hazard.before).collect();
        after.sort_unstable();
        after.dedup();
        let all_before = after.iter().map(|earlier| self.waits[*earlier].all_before).max().unwrap_or(0);
        let all_before = after.iter().fold(all_before, |all, earlier| all + usize::from(*earlier == all));
        self.drop_implied(&mut after);
        found.retain(|hazard| after.binary_search(&hazard.before).is_ok());
        self.hazards.extend(found);
        self.waits.push(Waits { after: after.clone(), all_before });
        after
    }

    /// Removes the elements of `after`, which is sorted, that are implied by others.
    fn drop_implied(&mut self, after: &mut Vec<usize>) {
        let all_before = after.iter().map(|step| self.waits[*step].all_before).max().unwrap_or(0);
        after.retain(|step| *step >= all_before);
        let [least, _, ..] = after[..] else { return };
        let mut implied = HashSet::new();
        'search: for step in after.iter().rev() {
            let mut behind = vec![*step];
            while let Some(step) = behind.pop() {
                // Earlier ones than all that are asked for lead to none of them.
                let first = self.waits[step].after.partition_point(|earlier| *earlier < least);
                let earlier = &self.waits[step].after[first..];
                #[cfg(test)]
                {
                    self.looked_at += earlier.len();
                }
                behind.extend(earlier.iter().filter(|earlier| implied.insert(**earlier)));
                if implied.len() > MOST_BEHIND {
                    break 'search;
                }
            }
        }
        after.retain(|step| !implied.contains(step));
    }
}

impl Open {
    /// Returns the last writes that overlap `bytes`.
    fn writes_in(&self, bytes: &Range<u64>) -> impl Iterator<Item = (Range<u64>, usize)> + Clone + use<'_> {
        let bytes = bytes.clone();
        // They are disjoint, so that their ends are in order, too.
        let before_end = self.writes.range(..bytes.end).rev();
        let inside = before_end.take_while(move |(_, (end, _))| *end > bytes.start);
        inside.map(move |(begin, (end, step))| (common(&(*begin..*end), &bytes), *step))
    }

    /// Records that `step` writes `bytes`. Later steps that depend on the replaced accesses depend on this write,
    /// which does so itself.
    fn write(&mut self, bytes: Range<u64>, step: usize) {
        self.reads.retain(|(read, _)| common(read, &bytes) != *read);
        let before: Vec<_> = self.writes_in(&bytes).map(|(common, _)| common.start).collect();
        for start in before {
            let Some((begin, (end, by))) = self.writes.range(..=start).next_back().map(|(b, w)| (*b, *w))
            else {
                continue;
            };
            self.writes.remove(&begin);
            if begin < bytes.start {
                self.writes.insert(begin, (bytes.start, by));
            }
            if end > bytes.end {
                self.writes.insert(bytes.end, (end, by));
            }
        }
        self.writes.insert(bytes.start, (bytes.end, step));
    }
}

/// The bindings of a step, and whether each is written. A written binding may also be read; writing decides.
fn accesses(work: &StepWork) -> Vec<(Binding, bool)> {
    match work {
        StepWork::Launch { executable, launch, .. } => {
            let declared = &executable.kernel().buffers;
            launch.buffers().iter().zip(declared).map(|(b, d)| (b.clone(), d.access.can_write())).collect()
        }
        StepWork::Copy { from, to, .. } => vec![(from.clone(), false), (to.clone(), true)],
        StepWork::Fill { to, .. } => vec![(to.clone(), true)],
    }
}

/// Buffers that are alive have distinct addresses.
fn key(binding: &Binding) -> *const () {
    Arc::as_ptr(binding.buffer()).cast()
}

fn common(a: &Range<u64>, b: &Range<u64>) -> Range<u64> {
    a.start.max(b.start)..a.end.min(b.end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use fulgurite_hal::{DeviceBuffer, Error};

    /// A buffer of a stated size without memory. It is not a zero-sized type, so that no two share an address.
    struct Nowhere(u64);

    impl DeviceBuffer for Nowhere {
        fn bytes(&self) -> u64 {
            self.0
        }
        fn write(&self, _: u64, _: &[u8]) -> Result<(), Error> {
            Ok(())
        }
        fn read(&self, _: u64, _: &mut [u8]) -> Result<(), Error> {
            Ok(())
        }
    }

    fn buffers(count: usize) -> Vec<Binding> {
        (0..count).map(|_| Binding::whole(&(Arc::new(Nowhere(1 << 20)) as Arc<dyn DeviceBuffer>))).collect()
    }

    /// Returns the dependencies of each step, the number of hazards, and the number of accesses examined.
    fn search(steps: &[Vec<(Binding, bool)>]) -> (Vec<Vec<usize>>, usize, usize) {
        let mut search = Search::default();
        let after = steps.iter().enumerate().map(|(step, own)| search.step(step, own)).collect();
        (after, search.hazards.len(), search.looked_at)
    }

    /// Returns the pairs of steps of which the second depends, directly or not, on the first.
    fn closure(after: &[Vec<usize>]) -> Vec<Vec<bool>> {
        let mut all = vec![vec![false; after.len()]; after.len()];
        for step in 0..after.len() {
            for earlier in &after[step] {
                all[step][*earlier] = true;
                let before = all[*earlier].clone();
                all[step].iter_mut().zip(before).for_each(|(waits, also)| *waits |= also);
            }
        }
        all
    }

    #[test]
    fn steps_wait_for_what_they_must_and_for_nothing_twice() {
        let all = buffers(3);
        let mut state = 7u64;
        let mut random = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        for _ in 0..300 {
            // Parts of few places, so that they often have bytes in common; several of a step are of different buffers.
            let steps: Vec<Vec<(Binding, bool)>> = (0..12)
                .map(|_| {
                    let parts = all.iter().filter_map(|buffer| {
                        let (offset, bytes) = (random(6) * 4, random(5) * 4);
                        let (used, writes) = (random(3) > 0, random(2) > 0);
                        used.then(|| (buffer.part(offset, bytes).unwrap(), writes))
                    });
                    parts.collect()
                })
                .collect();
            let must = |step: usize, earlier: usize| {
                let pairs =
                    steps[step].iter().flat_map(|one| steps[earlier].iter().map(move |two| (one, two)));
                let meet =
                    |a: &Binding, b: &Binding| key(a) == key(b) && !common(&a.range(), &b.range()).is_empty();
                pairs.clone().any(|((a, writes), (b, wrote))| (*writes || *wrote) && meet(a, b))
            };
            let (after, ..) = search(&steps);
            let expected: Vec<Vec<usize>> = (0..steps.len())
                .map(|step| (0..step).filter(|earlier| must(step, *earlier)).collect())
                .collect();
            let waits = closure(&after);
            assert_eq!(waits, closure(&expected));
            for (step, earlier) in after.iter().enumerate() {
                let implied = |one: &usize| earlier.iter().any(|other| waits[*other][*one]);
                assert!(!earlier.iter().any(implied), "step {step} after {earlier:?}");
            }
        }
    }

    #[test]
    fn many_steps_take_as_long_as_there_are_hazards() {
        // Many read one buffer, each into its own; then each is copied back into the first.
        let readers_then_writers = |n: usize| {
            let (x, ys) = (buffers(1), buffers(n));
            let read = ys.iter().map(|y| vec![(x[0].clone(), false), (y.clone(), true)]);
            let written = ys.iter().map(|y| vec![(y.clone(), false), (x[0].clone(), true)]);
            read.chain(written).collect::<Vec<_>>()
        };
        // Each writes a part of its own, then each reads two neighbors.
        let parts = |n: usize| {
            let x = buffers(1);
            let part = |i: usize, count: u64| x[0].part(4 * i as u64, 4 * count).unwrap();
            let written = (0..n).map(|i| vec![(part(i, 1), true)]);
            let read = (0..n - 1).map(|i| vec![(part(i, 2), false)]);
            written.chain(read).collect::<Vec<_>>()
        };
        let chain = |n: usize| (0..n).map(|_| vec![(buffers(1)[0].clone(), true)]).collect::<Vec<_>>();
        let one = |n: usize| {
            let x = buffers(1);
            (0..n).map(|_| vec![(x[0].clone(), true)]).collect::<Vec<_>>()
        };
        for (name, steps) in [
            ("readers, then writers", &readers_then_writers as &dyn Fn(usize) -> Vec<Vec<(Binding, bool)>>),
            ("parts", &parts),
            ("apart", &chain),
            ("one after the other", &one),
        ] {
            let count = |n| {
                let (_, hazards, looked_at) = search(&steps(n));
                [hazards, looked_at]
            };
            let [few, many] = [500, 4000].map(count);
            assert!(many[0] <= 10 * few[0] && many[1] <= 10 * few[1], "{name}: {few:?} {many:?}");
        }
    }
}
