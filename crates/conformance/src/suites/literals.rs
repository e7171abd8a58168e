//! Ops with literal operands: constant folding in a driver's compiler must agree with the oracle.
//!
//! One kernel for each op on each scalar type applies the op with each literal in each position. A case is one such
//! kernel on one value for the other operand, and passes if all its results do.

use fulgurite_hal::LaunchOptions;
use fulgurite_spec::eval::float::FloatFormat;
use fulgurite_spec::eval::{self, Components};
use fulgurite_spec::{Literal, OPS, Op, Operand, Outcome, ScalarType, Semantics, Type};

use crate::compare::Case;
use crate::harness::Harness;
use crate::values::{edges, encode, memory_type, show};

/// An op of two operands on one scalar type.
pub(super) struct Subject {
    op: Op,
    main: Type,
    result: Type,
    other: Type,
}

pub(super) fn subjects() -> Vec<Subject> {
    let mut subjects = Vec::new();
    for row in OPS {
        let Semantics::Scalar { domain, operands: [Operand::Same, second], outcome, .. } = row.semantics
        else {
            continue;
        };
        if outcome == Outcome::Element {
            continue;
        }
        for scalar in domain.iter().filter(|s| *s != ScalarType::Bool) {
            let main = Type::scalar(scalar);
            let other = if *second == Operand::U32Lanes { Type::U32 } else { main };
            if let Some(result) = eval::result_type(outcome, main, None) {
                subjects.push(Subject { op: row.op, main, result, other });
            }
        }
    }
    subjects
}

/// Literals for which compilers have simplification rules.
fn literals(ty: Type) -> Vec<Literal> {
    let scalar = ty.scalar;
    let bits = match FloatFormat::of(scalar) {
        Some(format) => {
            let values = [0.0, -0.0, 1.0, -1.0, 2.0, 0.5, f64::INFINITY, f64::NAN];
            values.map(|v| format.encode(v))
        }
        None => [
            0,
            1,
            2,
            scalar.mask(),
            scalar.mask() / 2 + 1,
            u64::from(scalar.bits()) - 1,
            u64::from(scalar.bits()),
            10,
        ],
    };
    bits.into_iter().map(|b| Literal::new(scalar, b)).collect()
}

impl Subject {
    fn name(&self) -> String {
        format!("{} {} with literals", self.op.mnemonic(), self.main)
    }

    /// Returns the operand pairs of one invocation: `x` with each literal second, and `amount` with each literal first.
    fn pairs(&self, x: u64, amount: u64) -> Vec<[u64; 2]> {
        let second = literals(self.other).into_iter().map(|l| [x, l.bits]);
        let first = literals(self.main).into_iter().map(|l| [l.bits, amount]);
        second.chain(first).collect()
    }

    fn text(&self) -> String {
        let stored = memory_type(self.result);
        let mut text = format!(
            "fulgurite 1\nkernel @literals workgroup(64, 1, 1) {{\n  buffer %x: read {}[]\n  buffer %y: read {}[]\n  \
             buffer %out: write {stored}[]\n  %i = global_id.x\n  %a = load %x[%i]\n  %b = load %y[%i]\n",
            self.main, self.other
        );
        let mnemonic = self.op.mnemonic();
        let mut calls: Vec<String> =
            literals(self.other).iter().map(|l| format!("{mnemonic} %a, {l}")).collect();
        calls.extend(literals(self.main).iter().map(|l| format!("{mnemonic} {l}, %b")));
        let count = calls.len();
        text += &format!("  %base = mul %i, {count}u32\n");
        for (k, call) in calls.iter().enumerate() {
            text += &format!("  %r{k} = {call}\n  %at{k} = add %base, {k}u32\n");
            let value = if stored == self.result {
                format!("%r{k}")
            } else {
                text += &format!("  %w{k} = convert %r{k} -> {stored}\n");
                format!("%w{k}")
            };
            text += &format!("  store %out[%at{k}], {value}\n");
        }
        text + "}\n"
    }
}

pub(super) fn check(harness: &mut Harness<'_>, subject: &Subject) {
    let group = subject.name();
    let Some(executable) = harness.compile(&group, &subject.text()) else { return };
    let mut random = harness.random(&group);
    let mut values = edges(subject.main.scalar);
    let mut amounts = edges(subject.other.scalar);
    let count = values.len().max(amounts.len()) + harness.random_count(100);
    values.resize_with(count, || random.value(subject.main.scalar));
    amounts.resize_with(count, || random.value(subject.other.scalar));
    let bytes = |ty: Type, all: &[u64]| {
        let values: Vec<Components> = all.iter().map(|bits| eval::splat_low(*bits)).collect();
        encode(ty, values.iter())
    };
    let stored = memory_type(subject.result);
    let (each, size) = (subject.pairs(0, 0).len(), stored.size() as usize);
    let contents =
        [bytes(subject.main, &values), bytes(subject.other, &amounts), vec![0xa5; count * each * size]];
    let options = LaunchOptions::invocations([count as u32, 1, 1]);
    let Some(after) = harness.launch(&group, &executable, &contents, &[], &options) else { return };
    let kept = harness.kept_subnormals();
    for (i, results) in after[2].chunks_exact(each * size).enumerate() {
        let pairs = subject.pairs(values[i], amounts[i]);
        let wrong = pairs.iter().zip(results.chunks_exact(size)).find_map(|(pair, word)| {
            let operands: Vec<Components> = pair.iter().map(|bits| eval::splat_low(*bits)).collect();
            let case = Case {
                op: subject.op,
                main: subject.main,
                result: subject.result,
                operands: &operands,
                kept,
            };
            let actual = eval::read_bytes(word, stored);
            (case.is_decided() && !case.judge(&actual).accepted).then(|| {
                let expected = case.expected().map_or_else(String::new, |v| show(&v, subject.result));
                let input = [show(&operands[0], subject.main), show(&operands[1], subject.other)].join(", ");
                [input, expected, show(&actual, subject.result)]
            })
        });
        harness.case(&group, wrong.is_none(), || wrong.unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_subject_verifies() {
        let subjects = subjects();
        assert!(subjects.len() > 40, "{}", subjects.len());
        for subject in &subjects {
            let parsed = fulgurite_ir::text::parse(&subject.text()).and_then(fulgurite_ir::verify);
            assert!(parsed.is_ok(), "{}: {}", subject.name(), parsed.unwrap_err());
        }
    }
}
