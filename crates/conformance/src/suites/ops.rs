//! Every scalar op of the table, on every type of its domain, against `spec::eval`.
//!
//! The kernels are generated from the table, so a new row is tested without further changes.

use std::collections::HashSet;

use fulgurite_hal::LaunchOptions;
use fulgurite_spec::eval::{self, Components};
use fulgurite_spec::{Lanes, OPS, Op, Operand, Outcome, ScalarType, Semantics, Type, TypeSet};

use crate::Level;
use crate::compare::Case;
use crate::harness::Harness;
use crate::suites::{literals, vec_shuffle};
use crate::values::{Random, edges, encode, memory_type, show};

/// Minimum number of cases per op × type, unless there are fewer possible tuples.
const LEAST_CASES: usize = 100;
/// Ops with three or more operands have too large a grid of edge tuples, which is therefore sampled.
const SAMPLED_EDGES: usize = 600;

/// One op on one type.
pub(super) struct Subject {
    pub(super) op: Op,
    pub(super) main: Type,
    pub(super) result: Type,
    pub(super) operands: Vec<Type>,
}

pub(super) fn run(harness: &mut Harness<'_>, progress: &mut dyn FnMut(usize, usize)) {
    let (subjects, folded, shuffled) = (subjects(), literals::subjects(), vec_shuffle::subjects());
    let all = subjects.len() + folded.len() + shuffled.len();
    for (done, subject) in subjects.iter().enumerate() {
        progress(done, all);
        check(harness, subject);
    }
    for (done, subject) in folded.iter().enumerate() {
        progress(subjects.len() + done, all);
        literals::check(harness, subject);
    }
    for (done, ty) in shuffled.iter().enumerate() {
        progress(subjects.len() + folded.len() + done, all);
        vec_shuffle::check(harness, *ty);
    }
    progress(all, all);
}

/// Returns every op on every type of its domain.
pub(super) fn subjects() -> Vec<Subject> {
    let mut subjects = Vec::new();
    for row in OPS {
        let Semantics::Scalar { domain, operands: kinds, outcome, .. } = row.semantics else { continue };
        for scalar in domain.iter() {
            for lanes in eval::lane_counts(row.op) {
                let main = Type::vector(scalar, lanes);
                let operands: Vec<Type> = kinds
                    .iter()
                    .map(|kind| match kind {
                        Operand::Same => main,
                        Operand::U32Lanes => main.with_scalar(ScalarType::U32),
                        Operand::BoolLanes => main.with_scalar(ScalarType::Bool),
                        Operand::U32 => Type::U32,
                        Operand::Element => main.element(),
                    })
                    .collect();
                let stated: Vec<Option<Type>> = match outcome {
                    Outcome::Stated => TypeSet::ALL.iter().map(|s| Some(main.with_scalar(s))).collect(),
                    Outcome::Unpacked => Type::all().map(Some).collect(),
                    _ => vec![None],
                };
                for stated in stated {
                    if let Ok(result) = fulgurite_ir::scalar_result(row.op, &operands, stated) {
                        subjects.push(Subject { op: row.op, main, result, operands: operands.clone() });
                    }
                }
            }
        }
    }
    for scalar in ScalarType::ALL {
        for lanes in Lanes::ALL.into_iter().filter(|l| *l != Lanes::One) {
            let element = Type::scalar(scalar);
            let operands = vec![element; lanes.count() as usize];
            subjects.push(Subject {
                op: Op::Construct,
                main: element,
                result: element.with_lanes(lanes),
                operands,
            });
        }
    }
    subjects
}

impl Subject {
    pub(super) fn name(&self) -> String {
        let Subject { op, main, result, .. } = self;
        match op {
            Op::Convert | Op::Bitcast | Op::Unpack => format!("{} {main} -> {result}", op.mnemonic()),
            Op::Construct => format!("construct {result}"),
            _ => format!("{} {main}", op.mnemonic()),
        }
    }

    /// Returns a kernel that applies the op to element `i` of each operand's buffer. `bool` is stored as `u32`.
    fn text(&self) -> String {
        let stored =
            |ty: Type| if ty.scalar == ScalarType::Bool { ty.with_scalar(ScalarType::U32) } else { ty };
        let mut text = String::from("fulgurite 1\nkernel @op workgroup(64, 1, 1) {\n");
        for (i, ty) in self.operands.iter().enumerate() {
            text += &format!("  buffer %in{i}: read {}[]\n", stored(*ty));
        }
        text += &format!("  buffer %out: write {}[]\n", stored(self.result));
        text += "  %i = global_id.x\n  %n = len %out\n  %go = lt %i, %n\n  if %go {\n";
        for (i, ty) in self.operands.iter().enumerate() {
            if ty.scalar == ScalarType::Bool {
                text += &format!("    %w{i} = load %in{i}[%i]\n    %a{i} = convert %w{i} -> {ty}\n");
            } else {
                text += &format!("    %a{i} = load %in{i}[%i]\n");
            }
        }
        let args: Vec<String> = (0..self.operands.len()).map(|i| format!("%a{i}")).collect();
        text += &format!("    %r = {} {} -> {}\n", self.op.mnemonic(), args.join(", "), self.result);
        if self.result.scalar == ScalarType::Bool {
            text += &format!("    %s = convert %r -> {}\n    store %out[%i], %s\n", stored(self.result));
        } else {
            text += "    store %out[%i], %r\n";
        }
        text + "  }\n}\n"
    }
}

fn check(harness: &mut Harness<'_>, subject: &Subject) {
    let group = subject.name();
    if !harness.wants(&group) {
        return;
    }
    let kept = harness.kept_subnormals();
    let mut random = harness.random(&group);
    let amount = Amount {
        random: harness.random_count(LEAST_CASES),
        exhaustive_bits: harness.exhaustive_bits(),
        share: if harness.level() == Level::Smoke { Share::Once } else { Share::EveryLane },
    };
    let (tuples, complete) = tuples(subject, &mut random, amount);
    let is_decided = |operands: &[Components]| {
        Case { op: subject.op, main: subject.main, result: subject.result, operands, kept }.is_decided()
    };
    let mut tuples: Vec<Vec<Components>> = tuples.into_iter().filter(|t| is_decided(t)).collect();
    // If the table leaves many inputs undefined, replace them by others.
    let mut tries = 0;
    while !complete && tuples.len() < LEAST_CASES && tries < 100 * LEAST_CASES {
        tries += 1;
        let tuple = random_tuple(subject, &mut random);
        if is_decided(&tuple) && !tuples.contains(&tuple) {
            tuples.push(tuple);
        }
    }
    let Some(executable) = harness.compile(&group, &subject.text()) else { return };
    let mut buffers: Vec<Vec<u8>> = (0..subject.operands.len())
        .map(|i| encode(subject.operands[i], tuples.iter().map(|t| &t[i])))
        .collect();
    // Fill the output with a pattern, so that unwritten elements are detected.
    let out_size = memory_type(subject.result).size() as usize;
    buffers.push(vec![0xa5; out_size * tuples.len()]);
    let Some(after) = harness.launch(&group, &executable, &buffers, &[], &LaunchOptions::default()) else {
        return;
    };
    let Some(out) = after.last() else { return };
    if complete {
        harness.exhausted(&group);
    }
    for (operands, bytes) in tuples.iter().zip(out.chunks_exact(out_size)) {
        let case = Case { op: subject.op, main: subject.main, result: subject.result, operands, kept };
        let actual = eval::read_bytes(bytes, memory_type(subject.result));
        let verdict = case.judge(&actual);
        if let Some(error) = verdict.error {
            harness.accuracy(subject.op, subject.main.scalar, error);
        }
        harness.case(&group, verdict.accepted, || {
            let shown: Vec<String> =
                operands.iter().zip(&subject.operands).map(|(v, t)| show(v, *t)).collect();
            let expected = case.expected().map_or_else(String::new, |v| show(&v, subject.result));
            [shown.join(", "), expected, show(&actual, subject.result)]
        });
    }
}

/// Number of input tuples of a subject.
#[derive(Clone, Copy, Debug)]
struct Amount {
    /// Number of random tuples.
    random: usize,
    /// Ops whose operand scalars have at most this many bits in total are run on every input.
    exhaustive_bits: u32,
    /// Distribution of the grid of edge values.
    share: Share,
}

/// Distribution of the grid of edge values over the lanes of a vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Share {
    /// Each tuple of the grid occurs in one lane of one vector.
    Once,
    /// Each tuple of the grid occurs in every lane.
    EveryLane,
}

/// Returns the input tuples of a subject, and whether they are all possible tuples.
fn tuples(subject: &Subject, random: &mut Random, amount: Amount) -> (Vec<Vec<Components>>, bool) {
    let grids: Vec<Vec<u64>> = subject.operands.iter().map(|t| edges_of(subject, *t)).collect();
    let lanes = subject.main.lanes.count() as usize;
    let whole = grids.iter().map(Vec::len).product::<usize>();
    let boolean = subject.operands.iter().all(|t| t.scalar == ScalarType::Bool);
    let mut all = Vec::new();
    if boolean {
        // All possible tuples: each lane of each operand is one bit.
        let bits: u32 = subject.operands.iter().map(|t| t.lanes.count()).sum();
        if bits <= 10 {
            for pattern in 0..1u32 << bits {
                let mut rest = pattern;
                let tuple = subject.operands.iter().map(|t| {
                    let mut value = [0; 4];
                    for lane in value.iter_mut().take(t.lanes.count() as usize) {
                        *lane = u64::from(rest & 1);
                        rest >>= 1;
                    }
                    value
                });
                all.push(tuple.collect());
            }
            return (all, true);
        }
    }
    let bits: u32 = subject.operands.iter().map(|t| t.scalar.bits()).sum();
    if bits <= amount.exhaustive_bits {
        // All possible tuples of scalars, with a different one in each lane.
        for number in 0..1u64 << bits {
            let mut tuple = vec![[0u64; 4]; grids.len()];
            for lane in 0..lanes as u64 {
                let mut rest = number.wrapping_add(lane * 7);
                for (value, ty) in tuple.iter_mut().zip(&subject.operands) {
                    value[lane as usize] = rest & ty.scalar.mask();
                    rest >>= ty.scalar.bits();
                }
            }
            all.push(tuple);
        }
        return (all, true);
    }
    let sampled = grids.len() > 2;
    let wanted = if sampled { SAMPLED_EDGES.min(whole.max(LEAST_CASES)) } else { whole };
    // `apart` is the distance in the grid from one lane to the next, `stride` from one tuple to the next.
    let (count, stride) = match amount.share {
        Share::Once => (wanted.div_ceil(lanes), lanes),
        Share::EveryLane => (wanted, 1),
    };
    let apart = if stride == 1 { 7 } else { 1 };
    for number in 0..count {
        // Each lane gets a different tuple of the grid, so that mixed-up lanes are detected.
        let mut tuple = vec![[0u64; 4]; grids.len()];
        for lane in 0..lanes {
            let mut rest = if sampled {
                random.next() as usize % whole
            } else {
                (number * stride + lane * apart) % whole
            };
            for (value, grid) in tuple.iter_mut().zip(&grids) {
                value[lane] = grid[rest % grid.len()];
                rest /= grid.len();
            }
        }
        all.push(tuple);
    }
    let is_plenty = amount.share == Share::Once && lanes > 1 && count >= LEAST_CASES;
    let drawn = if is_plenty { amount.random / 4 } else { amount.random };
    all.extend((0..drawn).map(|_| random_tuple(subject, random)));
    for tuple in &mut all {
        for (value, ty) in tuple.iter_mut().zip(&subject.operands) {
            value[ty.lanes.count() as usize..].fill(0);
        }
    }
    // Remove duplicates: a case must not be counted twice.
    let mut seen = HashSet::new();
    all.retain(|tuple| seen.insert(tuple.clone()));
    (all, false)
}

fn random_tuple(subject: &Subject, random: &mut Random) -> Vec<Components> {
    let tuple = subject.operands.iter().map(|t| {
        let mut value = [0; 4];
        for lane in value.iter_mut().take(t.lanes.count() as usize) {
            *lane = random.value(t.scalar);
        }
        value
    });
    tuple.collect()
}

/// Returns the edge values of one operand; component indices are small numbers plus a few large ones.
fn edges_of(subject: &Subject, ty: Type) -> Vec<u64> {
    match subject.op {
        Op::Extract | Op::Insert if ty == Type::U32 && subject.main.element() != Type::U32 => {
            vec![0, 1, 2, 3, 4, 5, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff]
        }
        _ => edges(ty.scalar),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_subject_verifies_and_has_its_cases() {
        let subjects = subjects();
        assert!(subjects.len() > 300, "{}", subjects.len());
        let amount = Amount { random: LEAST_CASES, exhaustive_bits: 8, share: Share::Once };
        for subject in &subjects {
            let parsed = fulgurite_ir::text::parse(&subject.text()).and_then(fulgurite_ir::verify);
            assert!(parsed.is_ok(), "{}: {}", subject.name(), parsed.unwrap_err());
            let (tuples, complete) = tuples(subject, &mut Random::new(1), amount);
            assert!(complete || tuples.len() >= LEAST_CASES, "{}", subject.name());
        }
    }

    #[test]
    fn every_scalar_op_of_the_table_is_a_subject() {
        let subjects = subjects();
        for row in OPS {
            let wanted = matches!(row.semantics, Semantics::Scalar { .. }) || row.op == Op::Construct;
            assert_eq!(wanted, subjects.iter().any(|s| s.op == row.op), "{}", row.mnemonic);
        }
    }
}
