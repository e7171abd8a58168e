//! Evaluation of programs by [`fulgurite_spec::eval`] only.

use fulgurite_ir::Combine;
use fulgurite_spec::eval::float::FloatFormat;
use fulgurite_spec::eval::{self, Components};
use fulgurite_spec::{FloatContract, Op, ScalarType, Semantics, Type, TypeSet};

use super::data::Data;
use super::program::{Arm, Column, INVOCATIONS, Node, Output, Program, Var, WHILE_END, table_word};
use crate::suites::ops::Subject;

/// Properties of a device on which the results of a program depend.
#[derive(Clone, Copy, Debug)]
pub(super) struct Device {
    /// Types whose subnormals are kept.
    pub(super) kept: TypeSet,
    /// Lanes of a subgroup.
    pub(super) subgroup_size: u32,
}

/// Returns the columns of a program's outputs, in order.
pub(super) fn evaluate(program: &Program, data: &Data, device: Device) -> Vec<Column> {
    let mut evaluation =
        Evaluation { program, data, device, columns: vec![Column::ZERO; program.types.len()] };
    evaluation.nodes(&program.body, u64::MAX);
    program
        .outputs
        .iter()
        .map(|output| match *output {
            Output::Store(var) => evaluation.columns[var].clone(),
            Output::Atomic(op, var) => {
                let mut column = evaluation.columns[var].clone();
                for value in &mut column.values {
                    let combined = eval::atomic(op, ScalarType::U32, 0, &value[..1]);
                    *value = eval::splat_low(combined.unwrap_or_default());
                }
                column
            }
        })
        .collect()
}

struct Evaluation<'a> {
    program: &'a Program,
    data: &'a Data,
    device: Device,
    columns: Vec<Column>,
}

impl Evaluation<'_> {
    /// Evaluates `nodes` for every invocation; results of invocations outside `active` are unused.
    fn nodes(&mut self, nodes: &[Node], active: u64) {
        for node in nodes {
            self.node(node, active);
        }
    }

    fn node(&mut self, node: &Node, active: u64) {
        match node {
            Node::Input { to, source } => {
                self.columns[*to] = self.data.column(self.program.types[*to], *source)
            }
            Node::Op { to, op, args } => self.columns[*to] = self.op(*op, *to, args),
            Node::If { condition, arms, to } => self.choose(*condition, arms, to, active),
            Node::For { .. } => self.repeat(node, active),
            Node::While { .. } => self.repeat_while(node, active),
            Node::Local { to, values, index } => self.columns[*to] = self.local(values, *index),
            Node::Table { to, index } => {
                let mut column = self.columns[*index].clone();
                column.values.iter_mut().for_each(|value| *value = eval::splat_low(table_word(value[0])));
                self.columns[*to] = column;
            }
            Node::Exchange { to, value, mask } => self.columns[*to] = permuted(&self.columns[*value], *mask),
            Node::Shuffle { to, value, mask } => {
                // All subgroups are full and the mask is below their size, so the lane exists.
                self.columns[*to] = permuted(&self.columns[*value], *mask as usize);
            }
            Node::Combined { to, op, combine, value } => {
                self.columns[*to] = self.combined(*op, *combine, *value);
            }
        }
    }

    fn op(&self, op: Op, to: Var, args: &[Var]) -> Column {
        let types: Vec<Type> = args.iter().map(|arg| self.program.types[*arg]).collect();
        let result = self.program.types[to];
        let main = fulgurite_ir::main_type(op, &types).unwrap_or(result);
        let mut column = Column::ZERO;
        column.decided = args.iter().fold(u64::MAX, |mask, arg| mask & self.columns[*arg].decided);
        let mut operands = [[0; 4]; 4];
        for invocation in 0..INVOCATIONS {
            for (operand, arg) in operands.iter_mut().zip(args) {
                *operand = self.columns[*arg].values[invocation];
            }
            let operands = &operands[..args.len()];
            let value = eval::eval(op, main, result, operands).unwrap_or_default();
            let application = Application { op, main, result, types: &types, kept: self.device.kept };
            if !application.is_decided(operands, &value) {
                column.decided &= !(1 << invocation);
            }
            column.values[invocation] = value;
        }
        column
    }

    fn choose(&mut self, condition: Var, arms: &[Arm; 2], to: &[Var], active: u64) {
        let chosen = self.columns[condition].clone();
        let first = (0..INVOCATIONS).fold(0, |mask, i| mask | (chosen.values[i][0] & 1) << i);
        for (arm, mask) in arms.iter().zip([first, !first]) {
            self.nodes(&arm.nodes, active & mask);
        }
        for (position, to) in to.iter().enumerate() {
            let [yes, no] = arms.each_ref().map(|arm| &self.columns[arm.yields[position]]);
            let mut column = no.clone();
            for invocation in (0..INVOCATIONS).filter(|i| first >> i & 1 == 1) {
                column.values[invocation] = yes.values[invocation];
            }
            column.decided = (yes.decided & first | no.decided & !first) & chosen.decided;
            self.columns[*to] = column;
        }
    }

    /// Sets the carried values of a loop to the initial ones.
    fn begin_carried(&mut self, carried: &[Var], initial: &[Var]) {
        for (param, value) in carried.iter().zip(initial) {
            self.columns[*param] = self.columns[*value].clone();
        }
    }

    /// Sets the carried values of a loop to the body's yields in the invocations that are `going`.
    fn advance_carried(&mut self, carried: &[Var], yields: &[Var], going: u64) {
        let next: Vec<Column> = yields.iter().map(|value| self.columns[*value].clone()).collect();
        for (param, next) in carried.iter().zip(next) {
            let column = &mut self.columns[*param];
            for invocation in (0..INVOCATIONS).filter(|i| going >> i & 1 == 1) {
                column.values[invocation] = next.values[invocation];
            }
            column.decided = next.decided & going | column.decided & !going;
        }
    }

    /// Sets the results of a loop to the carried values; they are decided only if the number of iterations is.
    fn end_carried(&mut self, carried: &[Var], to: &[Var], decided: u64) {
        for (to, param) in to.iter().zip(carried) {
            let mut column = self.columns[*param].clone();
            column.decided &= decided;
            self.columns[*to] = column;
        }
    }

    fn repeat(&mut self, node: &Node, active: u64) {
        let Node::For { counter, from, end, step, initial, carried, body, to } = node else { return };
        let ty = self.program.types[*from].scalar;
        let (begin, stop) = (self.columns[*from].clone(), self.columns[*end].clone());
        let decided = begin.decided & stop.decided;
        let trips: Vec<u64> = (0..INVOCATIONS)
            .map(|i| {
                let less =
                    eval::scalar(Op::Lt, ty, ScalarType::Bool, &[begin.values[i][0], stop.values[i][0]]);
                if less == Some(1) {
                    (stop.values[i][0].wrapping_sub(begin.values[i][0]) & ty.mask()).div_ceil(*step)
                } else {
                    0
                }
            })
            .collect();
        self.begin_carried(carried, initial);
        for trip in 0.. {
            let going = (0..INVOCATIONS).fold(0, |mask, i| mask | u64::from(trip < trips[i]) << i);
            if going & active & decided == 0 {
                break;
            }
            let mut column = begin.clone();
            for value in &mut column.values {
                value[0] = value[0].wrapping_add(trip * step) & ty.mask();
            }
            self.columns[*counter] = column;
            self.nodes(&body.nodes, active & going);
            self.advance_carried(carried, &body.yields, going);
        }
        self.end_carried(carried, to, decided);
    }

    fn repeat_while(&mut self, node: &Node, active: u64) {
        let Node::While { counter, from, initial, carried, header, body, to } = node else { return };
        self.columns[*counter] = self.columns[*from].clone();
        self.begin_carried(carried, initial);
        // If a condition is undecided, so are the results of the loop.
        let (mut going, mut decided) = (active & self.columns[*from].decided, self.columns[*from].decided);
        loop {
            self.nodes(&header.nodes, going);
            let (condition, count) = (&self.columns[header.yields[0]], &self.columns[*counter]);
            decided &= !going | condition.decided;
            let goes_on = |i: &usize| condition.values[*i][0] & 1 == 1 && count.values[*i][0] < WHILE_END;
            going &= (0..INVOCATIONS).filter(goes_on).fold(0, |mask, i| mask | 1 << i);
            going &= decided;
            if going == 0 {
                break;
            }
            self.nodes(&body.nodes, going);
            self.advance_carried(carried, &body.yields, going);
            for invocation in (0..INVOCATIONS).filter(|i| going >> i & 1 == 1) {
                self.columns[*counter].values[invocation][0] += 1;
            }
        }
        self.end_carried(carried, to, decided);
    }

    fn local(&self, values: &[Var], index: Var) -> Column {
        let index = &self.columns[index];
        let mut column = Column::ZERO;
        column.decided = index.decided;
        for invocation in 0..INVOCATIONS {
            let at = usize::try_from(index.values[invocation][0]).unwrap_or(usize::MAX);
            let Some(value) = values.get(at).map(|value| &self.columns[*value]) else { continue };
            column.values[invocation] = value.values[invocation];
            column.decided &= value.decided | !(1 << invocation);
        }
        column
    }

    fn combined(&self, op: Op, combine: Combine, value: Var) -> Column {
        let ty = self.program.types[value];
        let source = &self.columns[value];
        let mut column = source.clone();
        let size = (self.device.subgroup_size as usize).min(INVOCATIONS);
        let identity = [combine.identity(ty.scalar); 4];
        for first in (0..INVOCATIONS).step_by(size) {
            let whole = (first..first + size).all(|i| source.decided >> i & 1 == 1);
            let mut sum = identity;
            for invocation in first..first + size {
                if op == Op::SubgroupExclusiveScan {
                    column.values[invocation] = sum;
                }
                let next = [sum, source.values[invocation]];
                sum = eval::eval(combine.op(), ty, ty, &next).unwrap_or_default();
                if op == Op::SubgroupInclusiveScan {
                    column.values[invocation] = sum;
                }
            }
            for invocation in first..first + size {
                if op == Op::SubgroupReduce {
                    column.values[invocation] = sum;
                }
                if !whole {
                    column.decided &= !(1 << invocation);
                }
            }
        }
        column
    }
}

fn permuted(column: &Column, mask: usize) -> Column {
    let mut result = Column::ZERO;
    result.decided = 0;
    for invocation in 0..INVOCATIONS {
        let from = invocation ^ mask;
        result.values[invocation] = column.values[from];
        result.decided |= (column.decided >> from & 1) << invocation;
    }
    result
}

/// An op applied to types.
struct Application<'a> {
    op: Op,
    main: Type,
    result: Type,
    types: &'a [Type],
    kept: TypeSet,
}

impl Application<'_> {
    /// Returns whether `value` is the only result that the language allows for decided operands.
    fn is_decided(&self, operands: &[Components], value: &Components) -> bool {
        let flushed = |ty: Type, value: &Components| {
            let Some(format) = FloatFormat::of(ty.scalar) else { return false };
            !self.kept.contains(ty.scalar) && lanes(ty, value).iter().any(|bits| format.is_subnormal(*bits))
        };
        if flushed(self.result, value)
            || self.types.iter().zip(operands).any(|(ty, operand)| flushed(*ty, operand))
        {
            return false;
        }
        let Some(format) = FloatFormat::of(self.main.scalar) else { return self.is_kept_whole(value) };
        let is_nan = |operand: &Components| lanes(self.main, operand).iter().any(|bits| format.is_nan(*bits));
        match self.op {
            // The bits of a NaN are unspecified.
            Op::Bitcast | Op::Pack => !is_nan(&operands[0]),
            Op::Min | Op::Max | Op::Clamp => {
                let zeros = operands.iter().flat_map(|o| lanes(self.main, o)).filter(|b| format.is_zero(**b));
                let mut zeros: Vec<u64> = zeros.copied().collect();
                zeros.dedup();
                zeros.len() < 2 || !lanes(self.result, value).iter().any(|bits| format.is_zero(*bits))
            }
            Op::Add | Op::Sub | Op::Mul | Op::Fract | Op::Dot | Op::Fma | Op::Convert => {
                self.is_rounded_alike(format, operands) && self.is_kept_whole(value)
            }
            _ => true,
        }
    }

    /// Returns whether every evaluation of a sum or product that the language allows gives the same result.
    fn is_rounded_alike(&self, format: FloatFormat, operands: &[Components]) -> bool {
        let ty = self.main.scalar;
        let scalar = |op: Op, args: &[u64]| eval::scalar(op, ty, ty, args).unwrap_or_default();
        // The smallest normal number may be a subnormal that was rounded up, which a device may flush before rounding.
        let least = format.encode(format.min_normal());
        let subnormal = |bits: u64| {
            !self.kept.contains(ty) && (format.is_subnormal(bits) || bits & !format.sign_bit() == least)
        };
        let count = self.main.lanes.count() as usize;
        match self.op {
            Op::Dot => {
                let products: Vec<u64> =
                    (0..count).map(|lane| scalar(Op::Mul, &[operands[0][lane], operands[1][lane]])).collect();
                let mut sum = products[0];
                let mut decided = !subnormal(sum);
                for product in &products[1..] {
                    sum = scalar(Op::Add, &[sum, *product]);
                    decided &= !subnormal(*product) && !subnormal(sum);
                }
                decided
            }
            Op::Fma => (0..count).all(|lane| {
                let [a, b, c] = [0, 1, 2].map(|i| operands[i][lane]);
                let product = scalar(Op::Mul, &[a, b]);
                let (unfused, fused) = (scalar(Op::Add, &[product, c]), scalar(Op::Fma, &[a, b, c]));
                !subnormal(product) && (unfused == fused || format.is_nan(unfused) && format.is_nan(fused))
            }),
            _ => true,
        }
    }

    /// Returns whether no component is so small that a device may flush it before rounding.
    fn is_kept_whole(&self, value: &Components) -> bool {
        let Some(format) = FloatFormat::of(self.result.scalar) else { return true };
        let least = format.encode(format.min_normal());
        self.kept.contains(self.result.scalar)
            || lanes(self.result, value).iter().all(|bits| bits & !format.sign_bit() != least)
    }
}

fn lanes(ty: Type, value: &Components) -> &[u64] {
    &value[..ty.lanes.count() as usize]
}

/// Returns the [exact](is_exact) ones of `subjects` that use only `types` and `bool`.
pub(super) fn exact_subjects(subjects: Vec<Subject>, types: TypeSet) -> Vec<Subject> {
    let has = |ty: &Type| ty.scalar == ScalarType::Bool || types.contains(ty.scalar);
    let wanted =
        |s: &Subject| is_exact(s.op, s.main) && has(&s.main) && has(&s.result) && s.operands.iter().all(has);
    subjects.into_iter().filter(wanted).collect()
}

/// Returns whether the op table determines the result of an op on `main` up to the bits of a NaN, flushed subnormals,
/// the sign of a zero, and fusing.
fn is_exact(op: Op, main: Type) -> bool {
    match op.info().semantics {
        Semantics::Scalar { float, .. } => !main.scalar.is_float() || float != FloatContract::Approximate,
        Semantics::Special(_) => op == Op::Construct,
    }
}
