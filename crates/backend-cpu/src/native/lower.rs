//! Lowering of a kernel to a lane program.
//!
//! The program runs a row: invocations whose global ids along x are consecutive and whose other ids are equal. It is a
//! loop over vectors of lanes, of which the kernel's body is compiled twice: once for vectors whose lanes are all
//! active, and once under a mask, for the rest of the row. If the body begins with an `if` on the global id and a bound
//! known before the loop, the first copy runs as long as the condition holds in all lanes, and does not compute it.
//!
//! A kernel with barriers or shared memory is compiled for a workgroup instead: see [`group`].

mod atomic;
mod bits;
mod bytes;
mod compose;
mod control;
mod convert;
mod divide;
mod group;
mod half;
mod local;
mod memory;
mod narrow;
mod order;
pub(super) mod plan;
mod row;
mod rows;
mod scalar;
mod strided;
pub(super) mod subgroup;
mod transcendental;
mod vector;
mod wide;

use std::collections::HashMap;

use fulgurite_ir::analysis::{BoundsMap, RangeMap, UniformityMap, instructions, used_values};
use fulgurite_ir::{
    BlockId, Const, Inst, InstId, InstKind, Memory, PureInst, ValueDef, ValueId, VerifiedKernel,
};
use fulgurite_spec::{IdOp, Op, ScalarType, Type};

use super::program::{
    Area, Class, Input, Kind, Label, MaskOp, Program, Reg, Relation, ScalarOp2, Step, VectorOp2,
};
use super::shape::Scalars;
use super::x64::Target;
use group::{Home, Position};
use local::local_words;
use memory::shared_bytes;
use narrow::{extended, narrow_bits};
use plan::needs_whole_workgroups;
use row::Row;
use strided::{Groups, Strided};

/// The division of a launch into rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rows {
    /// A row may span workgroups, because no value depends on their division along x.
    Grid,
    /// A row belongs to one workgroup.
    Workgroup,
    /// Whole workgroups are run, from barrier to barrier.
    WholeWorkgroups,
}

impl Rows {
    /// Returns the division that `kernel` allows.
    pub(crate) fn of(kernel: &VerifiedKernel) -> Self {
        if needs_whole_workgroups(kernel) {
            return Self::WholeWorkgroups;
        }
        let sees_workgroup = instructions(kernel).any(|id| match kernel.inst(id).kind {
            InstKind::Id { op, component } => match IdOp::of(op) {
                Some(IdOp::LocalId | IdOp::WorkgroupId) => component == 0,
                Some(IdOp::GlobalId | IdOp::NumWorkgroups) => false,
                Some(
                    IdOp::LocalIndex
                    | IdOp::Lane
                    | IdOp::SubgroupId
                    | IdOp::SubgroupSize
                    | IdOp::NumSubgroups
                    | IdOp::LaneMaskLt,
                )
                | None => true,
            },
            InstKind::Scalar { .. }
            | InstKind::VecShuffle { .. }
            | InstKind::Load { .. }
            | InstKind::Store { .. }
            | InstKind::Len { .. }
            | InstKind::Atomic { .. }
            | InstKind::Fence { .. }
            | InstKind::Barrier { .. }
            | InstKind::SubgroupBarrier { .. }
            | InstKind::WorkgroupBroadcast { .. }
            | InstKind::CoopLoad { .. }
            | InstKind::CoopStore { .. }
            | InstKind::CoopFill { .. }
            | InstKind::CoopMulAdd { .. }
            | InstKind::CoopConvert { .. }
            | InstKind::Trap { .. }
            | InstKind::If { .. }
            | InstKind::For { .. }
            | InstKind::Region { .. }
            | InstKind::While { .. } => false,
            // Subgroups do not span workgroups.
            InstKind::Subgroup { .. } => true,
        });
        if sees_workgroup { Self::Workgroup } else { Self::Grid }
    }
}

/// Returns the number of words that a component takes in registers.
fn component_words(ty: ScalarType) -> u32 {
    match ty {
        ScalarType::I64 | ScalarType::U64 | ScalarType::F64 => 2,
        ScalarType::Bool
        | ScalarType::I8
        | ScalarType::I16
        | ScalarType::I32
        | ScalarType::U8
        | ScalarType::U16
        | ScalarType::U32
        | ScalarType::F16
        | ScalarType::BF16
        | ScalarType::F32 => 1,
    }
}

/// Returns the number of words that a value or an element takes in registers.
fn element_words(ty: Type) -> u32 {
    ty.lanes.count() * component_words(ty.scalar)
}

/// A word of a component of a value, as a position in [`Lowering::values`]. The low word of two comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Part(usize);

/// The registers of a word of a value. The forms that nothing reads are removed later.
#[derive(Clone, Copy, Debug, Default)]
struct Value {
    /// The value in all lanes.
    scalar: Option<Reg>,
    /// The value of each lane, except of a bool.
    vector: Option<Reg>,
    /// The value of each lane, of a bool.
    mask: Option<Reg>,
    /// The value as a row.
    row: Option<Row>,
    /// The value as an index that is four more than the previous lane's.
    strided: Option<Strided>,
}

/// Compiles `kernel`, which [`supports`](super::supports::supports) accepts, for the vectors of `target`.
///
/// Returns `None` for kernels whose workgroups would take much memory or leave most lanes unused.
pub(crate) fn lower(kernel: &VerifiedKernel, target: Target) -> Option<Program> {
    let lanes = target.lanes();
    let ranges = RangeMap::of(kernel);
    let mut firsts = Vec::with_capacity(kernel.values.len());
    let mut owners = Vec::new();
    for (position, value) in kernel.values.iter().enumerate() {
        firsts.push(owners.len());
        owners.extend((0..element_words(value.ty)).map(|_| ValueId::new(position)));
    }
    let mut lowering = Lowering {
        kernel,
        bounds: BoundsMap::of(kernel, &ranges),
        scalars: Scalars::of(kernel),
        program: Program::default(),
        values: vec![Value::default(); owners.len()],
        firsts,
        owners,
        lanes,
        mask: None,
        x: Reg(0),
        assumed: None,
        versions: 0,
        fallback: None,
        materialized: HashMap::new(),
        uniformity: UniformityMap::of(kernel),
        unzipped: HashMap::new(),
        groups: Groups::of(kernel),
        used: used_values(kernel),
        position: None,
        homes: Vec::new(),
        kept_bytes: 0,
        published: HashMap::new(),
    };
    let vectors = if needs_whole_workgroups(kernel) {
        lowering.homes = vec![None; lowering.values.len()];
        lowering.group()?;
        lowering.group_vectors()
    } else {
        lowering.rows(target.vectors())?;
        1
    };
    let kept = lowering.kept_bytes;
    let mut program = lowering.program;
    for (area, bytes) in [
        (Area::Local, local_words(kernel) * u64::from(lanes) * 4 * vectors),
        (Area::Shared, shared_bytes(kernel, kernel.shared.len())),
        (Area::Kept, kept),
    ] {
        program.areas[area as usize] = usize::try_from(bytes).ok()?;
    }
    program.fold();
    program.remove_dead();
    program.hoist();
    program.common();
    program.coalesce_moves();
    program.remove_dead();
    program.sink();
    program.fold_loads(VectorOp2::takes_memory);
    Some(program)
}

/// A form of a block that takes any indices. A form for rows that are in bounds goes there if one is not.
struct Fallback {
    label: Label,
    /// Bools that are true here, because code has looked at them.
    known: Vec<Reg>,
}

struct Lowering<'k> {
    kernel: &'k VerifiedKernel,
    bounds: BoundsMap,
    scalars: Scalars,
    program: Program,
    /// The registers of the words of the components of all values.
    values: Vec<Value>,
    /// The position of the first word of each value.
    firsts: Vec<usize>,
    /// The value of each word.
    owners: Vec<ValueId>,
    lanes: u32,
    /// The active lanes; `None` if all are.
    mask: Option<Reg>,
    /// The global id along x of lane 0. It exceeds 32 bits only after the last vector.
    x: Reg,
    /// The `if` whose condition is true in all lanes.
    assumed: Option<InstId>,
    /// The number of enclosing blocks in their form for lanes that are all active.
    versions: u32,
    /// The other form of the current block, as long as nothing has happened that cannot be repeated.
    fallback: Option<Fallback>,
    /// Vectors of constants, by their bits.
    materialized: HashMap<u32, Reg>,
    uniformity: UniformityMap,
    /// The consecutive words that the components of loaded elements were taken from.
    unzipped: HashMap<Vec<Reg>, Vec<Reg>>,
    /// Stores that are compiled together.
    groups: Groups,
    /// For each value, whether anything uses it.
    used: Vec<bool>,
    /// The current vector of the workgroup, in kernels that are run by whole workgroups.
    position: Option<Position>,
    /// The places of components between segments; empty in other kernels.
    homes: Vec<Option<Home>>,
    /// Size in bytes of these places.
    kept_bytes: u64,
    /// The places of the words of broadcast values.
    published: HashMap<InstId, Vec<i32>>,
}

impl Lowering<'_> {
    fn push(&mut self, step: Step) {
        self.program.steps.push(step);
    }

    fn reg(&mut self, class: Class) -> Reg {
        self.program.reg(class)
    }

    fn label(&mut self) -> Label {
        self.program.label()
    }

    /// Returns the scalar register of an input.
    fn input(&mut self, input: Input) -> Reg {
        self.program.input(Class::Scalar, input)
    }

    /// Returns a vector of copies of a constant.
    fn splat(&mut self, bits: u32) -> Reg {
        if let Some(reg) = self.materialized.get(&bits) {
            return *reg;
        }
        let reg = self.program.input(Class::Vector, Input::Constant(bits));
        self.materialized.insert(bits, reg);
        reg
    }

    /// Adds a step on two vectors, and returns its result.
    fn vector2(&mut self, op: VectorOp2, a: Reg, b: Reg) -> Reg {
        let to = self.reg(Class::Vector);
        self.push(match (op, self.program.constant(b)) {
            (VectorOp2::Shift(op), Some(amount)) => Step::ShiftBy { op, to, a, by: amount % 32 },
            _ => Step::Vector2 { op, to, a, b },
        });
        to
    }

    fn scalar2(&mut self, op: ScalarOp2, a: Reg, b: Reg) -> Reg {
        let to = self.reg(Class::Scalar);
        self.push(Step::Scalar { op, to, a, b });
        to
    }

    fn compare(&mut self, relation: Relation, kind: Kind, a: Reg, b: Reg) -> Reg {
        let to = self.reg(Class::Mask);
        self.push(Step::Compare { relation, kind, to, a, b });
        to
    }

    fn mask2(&mut self, op: MaskOp, a: Reg, b: Reg) -> Reg {
        let to = self.reg(Class::Mask);
        self.push(Step::Mask { op, to, a, b });
        to
    }

    /// Returns the lanes of a mask that are active.
    fn active(&mut self, mask: Reg) -> Reg {
        match self.mask {
            Some(active) => self.mask2(MaskOp::And, active, mask),
            None => mask,
        }
    }

    /// Returns the active lanes as a mask.
    fn all_active(&mut self) -> Reg {
        if let Some(active) = self.mask {
            return active;
        }
        let (to, from) = (self.reg(Class::Mask), self.input(Input::Constant(1)));
        self.push(Step::BroadcastMask { to, from });
        to
    }

    // Values.

    /// Returns the first word of a component of a value.
    fn part(&self, value: ValueId, component: usize) -> Part {
        Part(self.firsts[value.index()] + component * component_words(self.kernel.ty(value).scalar) as usize)
    }

    /// Returns the first word of a value.
    fn first(&self, value: ValueId) -> Part {
        self.part(value, 0)
    }

    /// Returns the number of components of a value.
    fn count(&self, value: ValueId) -> usize {
        self.kernel.ty(value).lanes.count() as usize
    }

    /// Returns the first words of the components of a value.
    fn components(&self, value: ValueId) -> Vec<Part> {
        (0..self.count(value)).map(|component| self.part(value, component)).collect()
    }

    /// Returns the words of the component that begins with a word.
    fn words_of(&self, first: Part) -> impl Iterator<Item = Part> + use<> {
        (0..component_words(self.scalar_type(first)) as usize).map(move |word| Part(first.0 + word))
    }

    /// Returns the words of values, in order.
    fn parts(&self, values: &[ValueId]) -> Vec<Part> {
        let words = |value: &ValueId| element_words(self.kernel.ty(*value)) as usize;
        values.iter().flat_map(|v| (0..words(v)).map(|word| Part(self.firsts[v.index()] + word))).collect()
    }

    /// Returns the type of the component that a word belongs to.
    fn scalar_type(&self, part: Part) -> ScalarType {
        self.kernel.ty(self.owners[part.0]).scalar
    }

    /// Defines a component as a scalar, and its copies in all lanes.
    fn define_scalar(&mut self, part: Part, scalar: Reg) {
        let is_bool = self.scalar_type(part) == ScalarType::Bool;
        let to = self.reg(if is_bool { Class::Mask } else { Class::Vector });
        let mut defined = Value { scalar: Some(scalar), ..Value::default() };
        if is_bool {
            self.push(Step::BroadcastMask { to, from: scalar });
            defined.mask = Some(to);
        } else {
            self.push(Step::Broadcast { to, from: scalar });
            defined.vector = Some(to);
        }
        self.values[part.0] = defined;
    }

    fn define_vector(&mut self, part: Part, vector: Reg) {
        self.values[part.0] = Value { vector: Some(vector), ..Value::default() };
    }

    fn define_mask(&mut self, part: Part, mask: Reg) {
        self.values[part.0] = Value { mask: Some(mask), ..Value::default() };
    }

    /// Defines a component as a row that begins with a scalar.
    fn define_row(&mut self, part: Part, first: Reg) {
        let (firsts, vector) = (self.reg(Class::Vector), self.reg(Class::Vector));
        let numbers = self.program.input(Class::Vector, Input::LaneNumbers);
        self.push(Step::Broadcast { to: firsts, from: first });
        self.push(Step::Vector2 { op: VectorOp2::Add, to: vector, a: firsts, b: numbers });
        self.values[part.0] =
            Value { vector: Some(vector), row: Some(Row { first, when: None }), ..Value::default() };
    }

    /// Defines a component as the register of a mutable variable, of the class of [`Self::variable`].
    fn define(&mut self, part: Part, reg: Reg) {
        match self.program.class(reg) {
            Class::Scalar => self.define_scalar(part, reg),
            Class::Vector => self.define_vector(part, reg),
            Class::Mask => self.define_mask(part, reg),
        }
    }

    /// Returns the class of registers that can hold a component.
    fn class_of(&self, part: Part) -> Class {
        if self.scalars.is_scalar(self.owners[part.0]) {
            Class::Scalar
        } else if self.scalar_type(part) == ScalarType::Bool {
            Class::Mask
        } else {
            Class::Vector
        }
    }

    /// Creates a register that can hold a component.
    fn variable(&mut self, part: Part) -> Reg {
        self.reg(self.class_of(part))
    }

    /// Returns the register of a component in the form of a class.
    fn get(&self, part: Part, class: Class) -> Option<Reg> {
        let value = &self.values[part.0];
        match class {
            Class::Scalar => value.scalar,
            Class::Vector => value.vector,
            Class::Mask => value.mask,
        }
    }

    fn scalar(&self, part: Part) -> Option<Reg> {
        self.get(part, Class::Scalar)
    }

    fn vector(&self, part: Part) -> Option<Reg> {
        self.get(part, Class::Vector)
    }

    fn mask(&self, part: Part) -> Option<Reg> {
        self.get(part, Class::Mask)
    }

    /// Defines constants and parameters, whose registers are inputs.
    fn define_inputs(&mut self) {
        for position in 0..self.values.len() {
            let (part, owner) = (Part(position), self.owners[position]);
            let word = position - self.firsts[owner.index()];
            let words = component_words(self.scalar_type(part)) as usize;
            let input = match self.kernel.value(owner).def {
                ValueDef::Const(Const(bits)) => {
                    let bits = (bits >> (32 * (word % words))) as u32;
                    Input::Constant(extended(self.scalar_type(part), bits))
                }
                ValueDef::Param(id) => {
                    let (component, is_high) = (word / words, word % words == 1);
                    Input::Param { index: id.index(), component, is_high }
                }
                ValueDef::Inst(..) | ValueDef::BlockParam(..) => continue,
            };
            let scalar = self.input(input);
            if self.scalar_type(part) == ScalarType::Bool {
                self.define_scalar(part, scalar);
            } else {
                let vector = self.program.input(Class::Vector, input);
                let is_param = matches!(input, Input::Param { .. });
                let vector = if is_param { self.extend(self.scalar_type(part), vector) } else { vector };
                // Only whole words are scalars.
                let is_word = words == 1 && narrow_bits(self.scalar_type(part)).is_none();
                let scalar = is_word.then_some(scalar);
                self.values[position] = Value { scalar, vector: Some(vector), ..Value::default() };
            }
        }
    }

    /// Returns the pure instruction that defines a value.
    fn definition(&self, value: ValueId) -> Option<PureInst<'_>> {
        match self.kernel.value(value).def {
            ValueDef::Inst(id, _) => self.kernel.inst(id).kind.pure(),
            ValueDef::Const(_) | ValueDef::Param(_) | ValueDef::BlockParam(..) => None,
        }
    }

    /// Returns the binding of a buffer or a view of one. Arrays have none: their length is constant, and their words are
    /// in the frame.
    fn binding(&self, memory: Memory) -> usize {
        match self.kernel.base(memory) {
            Memory::Buffer(id) => id.index(),
            Memory::Shared(_) | Memory::Local(_) | Memory::View(_) => 0,
        }
    }

    /// Returns the number of elements of a memory object.
    fn len(&mut self, memory: Memory) -> Reg {
        let input = self.len_input(memory);
        self.input(input)
    }

    // Instructions.

    fn block(&mut self, block: BlockId) -> Option<()> {
        let kernel = self.kernel;
        for id in kernel.block(block).insts.iter().copied() {
            self.inst(id, kernel.inst(id))?;
        }
        Some(())
    }

    fn inst(&mut self, id: InstId, inst: &Inst) -> Option<()> {
        if let Some(pure) = inst.kind.pure() {
            let result = *inst.results.first()?;
            let first = self.first(result);
            return match pure {
                PureInst::Scalar { op, operands, .. } => self.op(op, operands, result),
                PureInst::Id { op, component } => self.id(op, component.into(), result),
                PureInst::Len { memory } => {
                    let len = self.len(memory);
                    self.define_scalar(first, len);
                    Some(())
                }
                PureInst::VecShuffle { components, vectors } => {
                    self.shuffle(components, vectors, result);
                    Some(())
                }
            };
        }
        if let Some(control) = inst.kind.control() {
            return self.control(id, control, &inst.results);
        }
        // Pure instructions and these may be repeated.
        if !matches!(inst.kind, InstKind::Load { .. } | InstKind::Subgroup { .. }) {
            self.fallback = None;
        }
        match inst.kind {
            InstKind::Load { memory, index } => self.load(id, memory, index, *inst.results.first()?),
            InstKind::Store { .. } => self.ordered_store(id),
            InstKind::Atomic { .. } => self.atomic(id, &inst.kind, &inst.results),
            InstKind::WorkgroupBroadcast { index, .. } => {
                self.workgroup_broadcast(id, index, *inst.results.first()?)
            }
            InstKind::Subgroup { op, combine, ref operands } => {
                self.subgroup(op, combine, operands, *inst.results.first()?)
            }
            // The lanes of a subgroup run together. Stores become visible in order, and loads are executed in order.
            InstKind::SubgroupBarrier { .. } | InstKind::Fence { .. } => Some(()),
            InstKind::Scalar { .. }
            | InstKind::VecShuffle { .. }
            | InstKind::Id { .. }
            | InstKind::Len { .. }
            | InstKind::Barrier { .. }
            | InstKind::CoopLoad { .. }
            | InstKind::CoopStore { .. }
            | InstKind::CoopFill { .. }
            | InstKind::CoopMulAdd { .. }
            | InstKind::CoopConvert { .. }
            | InstKind::Trap { .. }
            | InstKind::If { .. }
            | InstKind::For { .. }
            | InstKind::Region { .. }
            | InstKind::While { .. } => None,
        }
    }

    fn id(&mut self, op: Op, axis: usize, value: ValueId) -> Option<()> {
        let result = self.first(value);
        match IdOp::of(op)? {
            IdOp::GlobalId if axis == 0 => {
                self.define_row(result, self.x);
            }
            IdOp::LocalId if axis == 0 => {
                let row = self.local_x();
                self.define_row(result, row);
            }
            IdOp::LocalIndex => {
                let (x, first) = (self.local_x(), self.row_index());
                let row = self.scalar2(ScalarOp2::Add, x, first);
                self.define_row(result, row);
            }
            IdOp::GlobalId => {
                let mut id = self.input(Input::GlobalId(axis));
                if let Some(Position { local, .. }) = self.position {
                    id = self.scalar2(ScalarOp2::Add, id, local[axis]);
                }
                self.define_scalar(result, id);
            }
            IdOp::LocalId => {
                let id = match self.position {
                    Some(Position { local, .. }) => local[axis],
                    None => self.input(Input::LocalId(axis)),
                };
                self.define_scalar(result, id);
            }
            IdOp::WorkgroupId => {
                let id = self.input(Input::WorkgroupId(axis));
                self.define_scalar(result, id);
            }
            IdOp::NumWorkgroups => {
                let count = self.input(Input::NumWorkgroups(axis));
                self.define_scalar(result, count);
            }
            IdOp::Lane => self.lane(result),
            IdOp::SubgroupId => self.subgroup_id(result),
            IdOp::SubgroupSize => {
                let size = self.input(Input::Constant(self.lanes));
                self.define_scalar(result, size);
            }
            IdOp::NumSubgroups => {
                let count = self.kernel.workgroup_invocations().div_ceil(self.lanes);
                let count = self.input(Input::Constant(count));
                self.define_scalar(result, count);
            }
            IdOp::LaneMaskLt => self.lanes_before(value),
        }
        Some(())
    }

    /// Returns the local index of the first invocation of the row.
    fn row_index(&mut self) -> Reg {
        let Some(Position { local: [_, y, z], .. }) = self.position else {
            return self.input(Input::LocalIndex);
        };
        let [width, height] = [0, 1].map(|axis| self.input(Input::Constant(self.kernel.workgroup[axis])));
        let planes = self.scalar2(ScalarOp2::Mul, z, height);
        let rows = self.scalar2(ScalarOp2::Add, planes, y);
        self.scalar2(ScalarOp2::Mul, rows, width)
    }

    /// Returns the local id along x of lane 0.
    fn local_x(&mut self) -> Reg {
        if let Some(Position { local: [x, ..], .. }) = self.position {
            return x;
        }
        let begin = self.input(Input::GroupBegin);
        self.scalar2(ScalarOp2::Sub, self.x, begin)
    }
}
