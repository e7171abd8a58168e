//! Dominance and types of the body: each operand is defined before its use and has the right type.

mod memory;

use fulgurite_spec::{Code, Diagnostic, Location, Semantics, Special, Type};

use super::special::{id_type, shuffle_result, subgroup_result};
use crate::analysis::uniformity::describe;
use crate::analysis::walk::{Event, Walk, for_each_operand};
use crate::kernel::{
    AtomicOrder, BlockId, FloatMode, Inst, InstKind, Kernel, Operands, Terminator, ValueDef, ValueId,
};
use crate::typing::{TypingError, is_of_equals, scalar_result};

pub(super) fn check(kernel: &Kernel, found: &mut Vec<Diagnostic>) {
    let visible = kernel.values.iter().map(|value| is_everywhere(value.def)).collect();
    let mut checker = Checker { kernel, found, visible, scopes: Vec::new(), types: Vec::new() };
    Walk::new(kernel).for_each(|event| match event {
        Event::Enter(block) => {
            checker.scopes.push(Vec::new());
            checker.condition(block);
            for param in &kernel.block(block).params {
                checker.define(*param);
            }
        }
        Event::Inst(id) => {
            let inst = kernel.inst(id);
            for_each_operand(&inst.kind, |v| checker.used(v, inst.location));
            checker.inst(inst);
        }
        Event::Done(id) => {
            let inst = kernel.inst(id);
            inst.results.iter().for_each(|r| checker.define(*r));
        }
        Event::Exit(block) => checker.leave(block),
    });
}

/// Returns whether a value with this definition is visible in the whole kernel.
fn is_everywhere(value: ValueDef) -> bool {
    matches!(value, ValueDef::Const(_) | ValueDef::Param(_))
}

pub(super) struct Checker<'a> {
    pub(super) kernel: &'a Kernel,
    found: &'a mut Vec<Diagnostic>,
    /// For each value, true if it is visible at this point. Constants and parameters always are.
    visible: Vec<bool>,
    /// The values defined so far in each open block.
    scopes: Vec<Vec<ValueId>>,
    /// Reused buffer for operand types.
    types: Vec<Type>,
}

impl Checker<'_> {
    pub(super) fn report(&mut self, code: Code, location: Location, message: impl Into<String>) {
        self.found.push(Diagnostic::new(code, location, message));
    }

    fn define(&mut self, value: ValueId) {
        self.visible[value.index()] = true;
        if let Some(scope) = self.scopes.last_mut() {
            scope.push(value);
        }
    }

    fn used(&mut self, value: ValueId, location: Location) {
        if !self.visible[value.index()] {
            let message = format!("{} is used where it is not defined", describe(self.kernel, value));
            self.report(Code::NotDominated, location, message);
        }
    }

    fn leave(&mut self, block: BlockId) {
        let data = self.kernel.block(block);
        match &data.terminator {
            Terminator::Yield(values) => values.iter().for_each(|v| self.used(*v, data.location)),
            Terminator::Condition(go) => self.used(*go, data.location),
            Terminator::Return => {}
        }
        for value in self.scopes.pop().unwrap_or_default() {
            self.visible[value.index()] = false;
        }
        let outermost = block == self.kernel.body;
        if outermost != matches!(data.terminator, Terminator::Return) {
            let message = if outermost { "the kernel's own block yields" } else { "a nested block returns" };
            self.report(Code::Malformed, data.location, message);
        }
    }

    pub(super) fn expect(&mut self, value: ValueId, wanted: Type, location: Location, role: &str) {
        let actual = self.kernel.ty(value);
        if actual != wanted {
            let message = format!("{role} must be {wanted}, {} is {actual}", describe(self.kernel, value));
            self.report(Code::TypeMismatch, location, message);
        }
    }

    pub(super) fn results(&mut self, inst: &Inst, wanted: &[Type]) {
        let same = inst.results.len() == wanted.len()
            && inst.results.iter().zip(wanted).all(|(r, t)| self.kernel.ty(*r) == *t);
        if !same {
            self.report(
                Code::BadResultType,
                inst.location,
                "the results are not of the types that the op yields",
            );
        }
    }

    /// Checks that the instruction has one result, of the type that a typing rule gives.
    pub(super) fn typed(&mut self, inst: &Inst, rule: Result<Type, TypingError>) {
        match rule {
            Ok(result) => self.results(inst, &[result]),
            Err(error) => self.report(error.code, inst.location, error.to_string()),
        }
    }

    fn inst(&mut self, inst: &Inst) {
        let at = inst.location;
        match &inst.kind {
            InstKind::Scalar { op, operands, mode } => {
                if let ([result], FloatMode::Default) = (&*inst.results, mode) {
                    let types = operands.iter().map(|operand| self.kernel.ty(*operand));
                    if is_of_equals(*op, types, self.kernel.ty(*result)) {
                        return;
                    }
                }
                let mut types = core::mem::take(&mut self.types);
                types.clear();
                types.extend(operands.iter().map(|v| self.kernel.ty(*v)));
                let stated = inst.results.first().map(|r| self.kernel.ty(*r));
                let result = scalar_result(*op, &types, stated);
                if let Ok(result) = result {
                    self.mode(*op, *mode, types.iter().chain([&result]), at);
                }
                self.types = types;
                self.typed(inst, result);
            }
            InstKind::VecShuffle { components, vectors: [a, b] } => {
                self.typed(inst, shuffle_result(components, self.kernel.ty(*a), self.kernel.ty(*b)));
            }
            InstKind::Id { op, component } => {
                let most = match op.info().semantics {
                    Semantics::Special(Special::Id) => Some(2),
                    Semantics::Special(Special::ScalarId) => Some(0),
                    _ => None,
                };
                if most.is_none_or(|most| *component > most) {
                    self.report(Code::Malformed, at, "there is no such id");
                }
                self.results(inst, &[id_type(*op)]);
            }
            InstKind::Load { memory, index } => {
                self.index(*index, at);
                self.readable(*memory, at, "load");
                self.results(inst, &[self.kernel.element(*memory)]);
            }
            InstKind::Store { memory, index, value } => {
                self.index(*index, at);
                self.writable(*memory, at, "store");
                self.expect(*value, self.kernel.element(*memory), at, "the stored value");
                self.results(inst, &[]);
            }
            InstKind::Len { memory } => self.results(inst, &[self.kernel.len_type(*memory)]),
            InstKind::Atomic { op, order, scope: _, memory, index, operands } => {
                self.order(*op, *order, at);
                self.atomic(inst, *op, *memory, *index, operands)
            }
            InstKind::Fence { order, .. } => {
                if *order == AtomicOrder::Relaxed {
                    self.report(Code::BadOrder, at, "a relaxed `fence` orders nothing");
                }
                self.results(inst, &[]);
            }
            InstKind::Barrier { .. } | InstKind::SubgroupBarrier { .. } => self.results(inst, &[]),
            InstKind::WorkgroupBroadcast { value, index } => {
                self.expect(*index, Type::U32, at, "the local index of `workgroup_broadcast`");
                if self.kernel.ty(*value).is_matrix() {
                    let message = "`workgroup_broadcast` does not work on cooperative matrices";
                    self.report(Code::TypeMismatch, at, message);
                }
                self.results(inst, &[self.kernel.ty(*value)]);
            }
            InstKind::Subgroup { op, combine, operands } => {
                let types: Vec<Type> = operands.iter().map(|v| self.kernel.ty(*v)).collect();
                self.typed(inst, subgroup_result(*op, *combine, &types));
            }
            InstKind::CoopLoad { .. }
            | InstKind::CoopStore { .. }
            | InstKind::CoopFill { .. }
            | InstKind::CoopMulAdd { .. }
            | InstKind::CoopConvert { .. } => {
                if let Some(kind) = inst.kind.matrix() {
                    self.matrix(inst, kind);
                }
            }
            InstKind::Trap { code } => {
                self.expect(*code, Type::U32, at, "the code of `trap`");
                self.results(inst, &[]);
            }
            InstKind::Region { name, body } => {
                if !crate::kernel::is_region_name(name) {
                    let message = "a region's name has at most 128 bytes and no quote, backslash or control";
                    self.report(Code::BadName, at, message);
                }
                if !self.kernel.block(*body).params.is_empty() {
                    self.report(Code::Malformed, at, "the block of a region has parameters");
                }
                self.yields(*body, &inst.results, at);
            }
            InstKind::If { condition, then_block, else_block } => {
                self.expect(*condition, Type::BOOL, at, "the condition of `if`");
                for block in [then_block, else_block] {
                    if !self.kernel.block(*block).params.is_empty() {
                        self.report(Code::Malformed, at, "a block of `if` has parameters");
                    }
                    self.yields(*block, &inst.results, at);
                }
            }
            InstKind::For { start, end, step, initial, body } => {
                self.counted(inst, [*start, *end, *step], initial, *body)
            }
            InstKind::While { initial, header, body } => {
                let params = self.kernel.block(*header).params.clone();
                self.carries(inst, initial, &params);
                if !matches!(self.kernel.block(*header).terminator, Terminator::Condition(_)) {
                    self.report(Code::Malformed, at, "a `while` header does not end in `condition`");
                }
                if !self.kernel.block(*body).params.is_empty() {
                    self.report(Code::Malformed, at, "the body of a `while` has parameters");
                }
                self.yields(*body, &inst.results, at);
            }
        }
    }

    fn counted(&mut self, inst: &Inst, [start, end, step]: [ValueId; 3], initial: &Operands, body: BlockId) {
        let at = inst.location;
        let ty = self.kernel.ty(start);
        if !ty.is_scalar() || !ty.scalar.is_integer() {
            let message = format!("a `for` counts in integers, not in {ty}");
            self.report(Code::TypeMismatch, at, message);
        }
        self.expect(end, ty, at, "the end of a `for`");
        if self.kernel.ty(step) != ty || self.kernel.literal(step).is_none_or(|l| l.bits == 0) {
            let message = format!("the step of a `for` over {ty} must be a non-zero {ty} literal");
            self.report(Code::BadStep, at, message);
        }
        let params = self.kernel.block(body).params.clone();
        match params.split_first() {
            Some((counter, carried)) if self.kernel.ty(*counter) == ty => {
                self.carries(inst, initial, carried)
            }
            _ => self.report(Code::Malformed, at, "the body of a `for` has no counter of the right type"),
        }
        self.yields(body, &inst.results, at);
    }

    /// Checks that a loop's initial values, parameters and results have the same types.
    fn carries(&mut self, inst: &Inst, initial: &[ValueId], params: &[ValueId]) {
        let types = |values: &[ValueId]| values.iter().map(|v| self.kernel.ty(*v)).collect::<Vec<_>>();
        let wanted = types(params);
        if types(initial) != wanted || types(&inst.results) != wanted {
            self.report(
                Code::BadCarry,
                inst.location,
                "the loop's initial values, carried values and results differ in number or type",
            );
        }
    }

    /// Checks that a block yields values of the types of `results`.
    fn yields(&mut self, block: BlockId, results: &[ValueId], at: Location) {
        let data = self.kernel.block(block);
        let Terminator::Yield(values) = &data.terminator else {
            self.report(Code::Malformed, at, "a nested block does not end in `yield`");
            return;
        };
        let place = if data.location == Location::Unknown { at } else { data.location };
        let types = |list: &[ValueId]| list.iter().map(|v| self.kernel.ty(*v)).collect::<Vec<_>>();
        let (given, wanted) = (types(values), types(results));
        if given != wanted {
            self.report(
                Code::BadCarry,
                place,
                format!(
                    "the block yields {}, but {} carried out of it",
                    list(&given, ""),
                    list(&wanted, " is")
                ),
            );
        }
    }

    /// Checks that the operand of a `condition` terminator is a `bool`.
    fn condition(&mut self, block: BlockId) {
        if let Terminator::Condition(go) = self.kernel.block(block).terminator {
            let location = self.kernel.block(block).location;
            self.expect(go, Type::BOOL, location, "the condition of `while`");
        }
    }
}

/// Lists types for a message, with a verb for one type that is made plural for more.
fn list(types: &[Type], verb: &str) -> String {
    let verb = if types.len() > 1 { verb.replace("is", "are") } else { verb.to_owned() };
    match types {
        [] => format!("nothing{verb}"),
        _ => types.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ") + &verb,
    }
}
