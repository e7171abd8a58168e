//! Dominance and types of the body: each operand is defined before its use and is of the right type.

use fulgurite_spec::{Code, Diagnostic, Location, Op, Type};

use super::typing::scalar_result;
use crate::analysis::uniformity::describe;
use crate::analysis::walk::{Event, Walk, operands};
use crate::kernel::{BlockId, Inst, InstKind, Kernel, Memory, Operands, Terminator, ValueDef, ValueId};

pub(super) fn check(kernel: &Kernel, found: &mut Vec<Diagnostic>) {
    let mut checker =
        Checker { kernel, found, visible: vec![false; kernel.values.len()], scopes: Vec::new() };
    for event in Walk::new(kernel) {
        match event {
            Event::Enter(block) => {
                checker.scopes.push(Vec::new());
                checker.condition(block);
                for param in &kernel.block(block).params {
                    checker.define(*param);
                }
            }
            Event::Inst(id) => {
                let inst = kernel.inst(id);
                operands(&inst.kind).for_each(|v| checker.used(v, inst.location));
                checker.inst(inst);
            }
            Event::Done(id) => {
                let inst = kernel.inst(id);
                inst.results.iter().for_each(|r| checker.define(*r));
            }
            Event::Exit(block) => checker.leave(block),
        }
    }
}

struct Checker<'a> {
    kernel: &'a Kernel,
    found: &'a mut Vec<Diagnostic>,
    /// Whether each value is defined here. Constants and parameters always are.
    visible: Vec<bool>,
    /// What each open block has defined so far.
    scopes: Vec<Vec<ValueId>>,
}

impl Checker<'_> {
    fn report(&mut self, code: Code, location: Location, message: impl Into<String>) {
        self.found.push(Diagnostic::new(code, location, message));
    }

    fn define(&mut self, value: ValueId) {
        self.visible[value.index()] = true;
        if let Some(scope) = self.scopes.last_mut() {
            scope.push(value);
        }
    }

    fn used(&mut self, value: ValueId, location: Location) {
        let everywhere = matches!(self.kernel.value(value).def, ValueDef::Const(_) | ValueDef::Param(_));
        if !everywhere && !self.visible[value.index()] {
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

    fn expect(&mut self, value: ValueId, wanted: Type, location: Location, role: &str) {
        let actual = self.kernel.ty(value);
        if actual != wanted {
            let message = format!("{role} must be {wanted}, {} is {actual}", describe(self.kernel, value));
            self.report(Code::TypeMismatch, location, message);
        }
    }

    fn results(&mut self, inst: &Inst, wanted: &[Type]) {
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

    fn inst(&mut self, inst: &Inst) {
        let at = inst.location;
        match &inst.kind {
            InstKind::Scalar { op, operands } => {
                let types: Vec<Type> = operands.iter().map(|v| self.kernel.ty(*v)).collect();
                let stated = inst.results.first().map(|r| self.kernel.ty(*r));
                match scalar_result(*op, &types, stated) {
                    Ok(result) => self.results(inst, &[result]),
                    Err(error) => self.report(error.code, at, error.to_string()),
                }
            }
            InstKind::Id { op, component } => {
                let scalar = *op == Op::LocalIndex;
                let known =
                    matches!(op, Op::GlobalId | Op::LocalId | Op::WorkgroupId | Op::NumWorkgroups) || scalar;
                if !known || *component > 2 || (scalar && *component != 0) {
                    self.report(Code::Malformed, at, "there is no such id");
                }
                self.results(inst, &[Type::U32]);
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
            InstKind::Len { .. } => self.results(inst, &[Type::U32]),
            InstKind::Atomic { op, memory, index, operands } => {
                self.atomic(inst, *op, *memory, *index, operands)
            }
            InstKind::Barrier { .. } => self.results(inst, &[]),
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

    fn index(&mut self, index: ValueId, at: Location) {
        self.expect(index, Type::U32, at, "an index");
    }

    fn readable(&mut self, memory: Memory, at: Location, op: &str) {
        if let Memory::Buffer(id) = memory
            && !self.kernel.buffers[id.index()].access.can_read()
        {
            let name = self.kernel.memory_name(memory);
            let message =
                format!("`{op}` reads `%{name}`, which is declared `write`; declare it `read_write`");
            self.report(Code::NotReadable, at, message);
        }
    }

    fn writable(&mut self, memory: Memory, at: Location, op: &str) {
        if let Memory::Buffer(id) = memory
            && !self.kernel.buffers[id.index()].access.can_write()
        {
            let name = self.kernel.memory_name(memory);
            let message = match op {
                // Also `atomic.load`, which writes nothing: devices know no such load of read-only buffers.
                _ if op.starts_with("atomic") => {
                    format!("`{op}` needs `%{name}` to be declared `read_write`, not `read`")
                }
                _ => format!("`{op}` writes `%{name}`, which is declared `read`; declare it `read_write`"),
            };
            self.report(Code::NotWritable, at, message);
        }
    }

    fn atomic(&mut self, inst: &Inst, op: Op, memory: Memory, index: ValueId, operands: &Operands) {
        let at = inst.location;
        let element = self.kernel.element(memory);
        self.index(index, at);
        self.readable(memory, at, op.mnemonic());
        self.writable(memory, at, op.mnemonic());
        let (mnemonic, name) = (op.mnemonic(), self.kernel.memory_name(memory));
        if matches!(memory, Memory::Local(_)) {
            let message =
                format!("`{mnemonic}` on `%{name}`, which is local to an invocation: use `load` and `store`");
            self.report(Code::BadAtomic, at, message);
        } else if !element.is_scalar() || !element.scalar.is_integer() {
            let message =
                format!("`{mnemonic}` works on elements of i32 and u32, those of `%{name}` are {element}");
            self.report(Code::BadAtomic, at, message);
        }
        let wanted = match op {
            Op::AtomicLoad => 0,
            Op::AtomicCompareExchange => 2,
            Op::AtomicStore
            | Op::AtomicExchange
            | Op::AtomicAdd
            | Op::AtomicMin
            | Op::AtomicMax
            | Op::AtomicAnd
            | Op::AtomicOr
            | Op::AtomicXor => 1,
            _ => {
                self.report(Code::Malformed, at, format!("`{}` is no atomic op", op.mnemonic()));
                return;
            }
        };
        if operands.len() != wanted {
            let message = format!("`{}` takes {wanted} values, got {}", op.mnemonic(), operands.len());
            self.report(Code::BadOperandCount, at, message);
        }
        for value in operands {
            self.expect(*value, element, at, "the value of an atomic op");
        }
        self.results(inst, if op == Op::AtomicStore { &[] } else { core::slice::from_ref(&element) });
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

    /// Initial values, parameters and results of a loop agree.
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

    /// A block yields values of the types of `results`.
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

    /// What a block ends in, if that is `condition`, is a `bool`.
    fn condition(&mut self, block: BlockId) {
        if let Terminator::Condition(go) = self.kernel.block(block).terminator {
            let location = self.kernel.block(block).location;
            self.expect(go, Type::BOOL, location, "the condition of `while`");
        }
    }
}

/// Types in words, with a verb for one and its plural for more.
fn list(types: &[Type], verb: &str) -> String {
    let verb = if types.len() > 1 { verb.replace("is", "are") } else { verb.to_owned() };
    match types {
        [] => format!("nothing{verb}"),
        _ => types.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ") + &verb,
    }
}
