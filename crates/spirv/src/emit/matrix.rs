//! Cooperative matrices: `SPV_KHR_cooperative_matrix`.
//!
//! A matrix that is proven to be in bounds is loaded and stored by the native instruction. Otherwise this is tested at
//! run time, and a matrix that is partly out of bounds goes through shared memory of the module, scalar by scalar with
//! a guard each. Ops without a SPIR-V instruction are lowered in the same way, component by component.

use fulgurite_ir::{InstId, Memory, ValueId};
use fulgurite_spec::{ElementwiseOp, FloatOp, IdOp, MatrixLayout, MatrixShape, ScalarType, Type};

use super::Emitter;
use super::objects::{Home, Object};
use crate::assembler::Id;
use crate::spv::{cooperative_matrix_operands, memory_access, op, scope, semantics};

/// Location of a matrix in memory.
#[derive(Clone, Copy)]
pub(super) struct Tile {
    pub(super) layout: MatrixLayout,
    pub(super) memory: Memory,
    pub(super) offset: ValueId,
    pub(super) stride: ValueId,
}

/// A tile with the ids and sizes that its accesses need.
#[derive(Clone, Copy)]
struct Placed {
    object: Object,
    element: Type,
    contended: bool,
    layout: MatrixLayout,
    /// A `u64`.
    offset: Id,
    /// A `u32`.
    stride: Id,
    /// A `u64`.
    len: Id,
    /// Number of rows, or of columns if columns are contiguous.
    lines: u32,
    /// Scalars of the memory's type per line.
    scalars: u32,
    /// Scalars per component; 1 if a scalar holds a component.
    pieces: u32,
}

/// Returns, for a matrix of `ty`, the number of lines, of scalars of `element`'s type per line, and of scalars per
/// component.
fn extent(ty: Type, shape: MatrixShape, layout: MatrixLayout, element: Type) -> (u32, u32, u32) {
    let (lines, components) = shape.lines(layout);
    let (component, scalar) = (ty.scalar.size(), element.scalar.size());
    (lines, components * component / scalar, (component / scalar).max(1))
}

impl Emitter<'_> {
    fn placed(&mut self, ty: Type, shape: MatrixShape, tile: Tile) -> Option<Placed> {
        let object = self.objects.get(&tile.memory).copied()?;
        let element = self.kernel.element(tile.memory);
        let (lines, scalars, pieces) = extent(ty, shape, tile.layout, element);
        let (offset_type, len_type) = (self.kernel.ty(tile.offset), self.kernel.len_type(tile.memory));
        let (offset, stride, len) = (self.id(tile.offset), self.id(tile.stride), self.len(tile.memory));
        let (offset, len) =
            (self.convert(offset, offset_type, Type::U64), self.convert(len, len_type, Type::U64));
        let contended = self.is_contended(tile.memory);
        let layout = tile.layout;
        Some(Placed { object, element, contended, layout, offset, stride, len, lines, scalars, pieces })
    }

    /// Returns whether a tile is entirely in bounds.
    fn is_whole(&mut self, tile: &Placed) -> Id {
        let lanes = tile.element.lanes.count();
        let last_line = self.asm.splat(Type::U64, u64::from(tile.lines - 1));
        let width = self.asm.splat(Type::U64, u64::from(tile.scalars.div_ceil(lanes)));
        let stride = self.convert(tile.stride, Type::U32, Type::U64);
        // The product is below 2^40.
        let down = self.make(op::IMul, Type::U64, &[last_line, stride]);
        let extent = self.make(op::IAdd, Type::U64, &[down, width]);
        let left = self.make(op::ISub, Type::U64, &[tile.len, tile.offset]);
        let begins = self.make(op::ULessThan, Type::BOOL, &[tile.offset, tile.len]);
        let fits = self.make(op::ULessThanEqual, Type::BOOL, &[extent, left]);
        self.make(op::LogicalAnd, Type::BOOL, &[begins, fits])
    }

    fn memory_operands(tile: &Placed) -> Vec<u32> {
        let private = if tile.contended { memory_access::NonPrivatePointer } else { 0 };
        match tile.object.home {
            Home::Address(_) => vec![memory_access::Aligned | private, 16],
            _ if tile.contended => vec![private],
            _ => Vec::new(),
        }
    }

    fn tile_pointer(&mut self, tile: &Placed) -> Id {
        let at = match tile.object.home {
            Home::Address(_) => tile.offset,
            _ => self.convert(tile.offset, Type::U64, Type::U32),
        };
        self.piece_pointer(tile.object, at)
    }

    fn load_whole(&mut self, ty: Type, tile: &Placed) -> Id {
        let layout = self.asm.u32(tile.layout as u32);
        let mut operands = vec![self.tile_pointer(tile), layout, tile.stride];
        operands.extend(Self::memory_operands(tile));
        self.make(op::CooperativeMatrixLoadKHR, ty, &operands)
    }

    fn store_whole(&mut self, tile: &Placed, value: Id) {
        let layout = self.asm.u32(tile.layout as u32);
        let mut operands = vec![self.tile_pointer(tile), value, layout, tile.stride];
        operands.extend(Self::memory_operands(tile));
        self.asm.effect(op::CooperativeMatrixStoreKHR, &operands);
    }

    pub(super) fn coop_load(&mut self, access: InstId, ty: Type, tile: Tile) -> Id {
        let matrix = self.asm.ty(ty);
        let nothing = self.asm.null(matrix);
        let Some(placed) = ty.matrix.and_then(|shape| self.placed(ty, shape, tile)) else { return nothing };
        if self.bounds.is_inside(access) {
            return self.load_whole(ty, &placed);
        }
        let whole = self.is_whole(&placed);
        self.either(
            whole,
            ty,
            |e| e.load_whole(ty, &placed),
            |e| {
                let scratch = e.tile_scratch(&placed);
                e.each_scalar(&placed, |e, at, inside, own| {
                    let element = placed.element.element();
                    let value = e.guarded(inside, element, |e| {
                        let pointer = e.scalar_pointer(&placed, at);
                        let mut operands = vec![pointer];
                        operands.extend(Emitter::access(e.scalar_object(&placed), placed.contended));
                        e.load_piece(e.scalar_object(&placed), &operands)
                    });
                    let pointer = e.piece_pointer(scratch.object, own);
                    e.store_piece(scratch.object, pointer, value, true);
                });
                e.tile_barrier();
                let loaded = e.load_whole(ty, &scratch);
                // The next tile may be written there only after all lanes have read this one.
                e.tile_barrier();
                loaded
            },
        )
    }

    pub(super) fn coop_store(&mut self, access: InstId, tile: Tile, value: ValueId) {
        let ty = self.kernel.ty(value);
        let value = self.id(value);
        let Some(placed) = ty.matrix.and_then(|shape| self.placed(ty, shape, tile)) else { return };
        if self.bounds.is_inside(access) {
            return self.store_whole(&placed, value);
        }
        let whole = self.is_whole(&placed);
        self.either(
            whole,
            Type::U32,
            |e| {
                e.store_whole(&placed, value);
                e.asm.u32(0)
            },
            |e| {
                let scratch = e.tile_scratch(&placed);
                e.store_whole(&scratch, value);
                e.tile_barrier();
                e.each_scalar(&placed, |e, at, inside, own| {
                    let mut operands = vec![e.piece_pointer(scratch.object, own)];
                    operands.extend(Emitter::access(scratch.object, true));
                    let value = e.load_piece(scratch.object, &operands);
                    e.where_true(inside, |e| {
                        let pointer = e.scalar_pointer(&placed, at);
                        e.store_piece(e.scalar_object(&placed), pointer, value, placed.contended);
                    });
                });
                e.tile_barrier();
                e.asm.u32(0)
            },
        );
    }

    pub(super) fn coop_fill(&mut self, ty: Type, value: ValueId) -> Id {
        let mut value = self.id(value);
        value = self.truncated(Type::scalar(ty.scalar), value);
        if ty.scalar == ScalarType::BF16 {
            let component = self.asm.bfloat16();
            value = self.asm.value(op::Bitcast, component, &[value]);
        }
        self.make(op::CompositeConstruct, ty, &[value])
    }

    pub(super) fn coop_mul_add(&mut self, ty: Type, factors: [ValueId; 2], sum: ValueId) -> Id {
        let signed = |e: &Self, value: ValueId| e.kernel.ty(value).scalar.is_signed();
        let mut operands = 0;
        for (value, bits) in [
            (factors[0], cooperative_matrix_operands::MatrixASignedComponentsKHR),
            (factors[1], cooperative_matrix_operands::MatrixBSignedComponentsKHR),
            (
                sum,
                cooperative_matrix_operands::MatrixCSignedComponentsKHR
                    | cooperative_matrix_operands::MatrixResultSignedComponentsKHR,
            ),
        ] {
            if signed(self, value) {
                operands |= bits;
            }
        }
        let mut words = vec![self.id(factors[0]), self.id(factors[1]), self.id(sum)];
        if operands != 0 {
            words.push(operands);
        }
        self.make(op::CooperativeMatrixMulAddKHR, ty, &words)
    }

    /// Converts a matrix. SPIR-V converts within a role, without saturation, and does not specify the rounding to
    /// `bf16`; all other conversions are done component by component.
    pub(super) fn coop_convert(&mut self, value: ValueId, to: Type) -> Id {
        let from = self.kernel.ty(value);
        let value = self.id(value);
        let (signed, floats) = (from.scalar.is_signed(), [from, to].map(|t| t.scalar.is_float()));
        let moves = from.matrix.map(|m| m.role) != to.matrix.map(|m| m.role);
        let brain = [from, to].iter().any(|t| t.scalar == ScalarType::BF16);
        match floats {
            _ if from == to => value,
            _ if moves || brain || floats == [true, false] => {
                let [from_scalar, to_scalar] = [from, to].map(|t| Type::scalar(t.scalar));
                self.componentwise(&[value], from, to, |e, args| e.convert(args[0], from_scalar, to_scalar))
            }
            [true, _] => self.make(op::FConvert, to, &[value]),
            [false, true] if signed => self.make(op::ConvertSToF, to, &[value]),
            [false, true] => self.make(op::ConvertUToF, to, &[value]),
            [false, false] if from.scalar.bits() == to.scalar.bits() => self.make(op::Bitcast, to, &[value]),
            [false, false] if signed => self.make(op::SConvert, to, &[value]),
            [false, false] => {
                let unsigned = to.with_scalar(to.scalar.unsigned().unwrap_or(to.scalar));
                let value = self.make(op::UConvert, unsigned, &[value]);
                if unsigned == to { value } else { self.make(op::Bitcast, to, &[value]) }
            }
        }
    }

    /// Applies an op componentwise; a selection chooses a whole matrix.
    pub(super) fn coop_elementwise(&mut self, elementwise: ElementwiseOp, ty: Type, args: &[Id]) -> Id {
        let (float_op, on_floats, on_integers) = match elementwise {
            ElementwiseOp::Add => (FloatOp::Add, op::FAdd, op::IAdd),
            ElementwiseOp::Sub => (FloatOp::Sub, op::FSub, op::ISub),
            ElementwiseOp::Mul => (FloatOp::Mul, op::FMul, op::IMul),
            ElementwiseOp::Neg => (FloatOp::Neg, op::FNegate, op::SNegate),
            // Defined on floats only.
            ElementwiseOp::Div => (FloatOp::Div, op::FDiv, op::FDiv),
            ElementwiseOp::Select => return self.coop_select(ty, args),
        };
        if ty.scalar == ScalarType::BF16 {
            let scalar = Type::scalar(ty.scalar);
            return self.componentwise(args, ty, ty, |e, args| e.brain_float(float_op, scalar, args));
        }
        let opcode = if ty.scalar.is_float() { on_floats } else { on_integers };
        self.arithmetic(opcode, ty, args)
    }

    /// Applies `body` to the components of matrices of type `from` and returns a matrix of type `to`. The components
    /// are distributed over the subgroup's lanes through shared memory.
    fn componentwise(
        &mut self,
        args: &[Id],
        from: Type,
        to: Type,
        body: impl FnOnce(&mut Self, &[Id]) -> Id,
    ) -> Id {
        let (Some(shape), Some(result_shape)) = (from.matrix, to.matrix) else {
            let matrix = self.asm.ty(to);
            return self.asm.null(matrix);
        };
        let mut sources = Vec::with_capacity(args.len());
        for (slot, value) in args.iter().enumerate() {
            let source = self.scratch(from.element(), shape.lines(MatrixLayout::RowMajor), slot);
            self.store_whole(&source, *value);
            sources.push(source);
        }
        // Each lane reads the old contents before it writes.
        let result = self.scratch(to.element(), result_shape.lines(MatrixLayout::RowMajor), 0);
        self.tile_barrier();
        let lane = self.subgroup_id(IdOp::Lane);
        let (count, step) = (self.asm.u32(shape.components()), self.asm.u32(self.profile.subgroup_size));
        self.strided(lane, count, step, |e, at| {
            let place = |e: &mut Self, tile: &Placed| {
                let first = e.convert(tile.offset, Type::U64, Type::U32);
                let own = e.make(op::IAdd, Type::U32, &[first, at]);
                e.piece_pointer(tile.object, own)
            };
            let mut components = Vec::with_capacity(sources.len());
            for source in &sources {
                let mut operands = vec![place(e, source)];
                operands.extend(Emitter::access(source.object, true));
                components.push(e.load_piece(source.object, &operands));
            }
            let value = body(e, &components);
            let pointer = place(e, &result);
            e.store_piece(result.object, pointer, value, true);
        });
        self.tile_barrier();
        let loaded = self.load_whole(to, &result);
        self.tile_barrier();
        loaded
    }

    /// Selects a matrix by a uniform condition, because `OpSelect` does not accept matrices.
    fn coop_select(&mut self, ty: Type, args: &[Id]) -> Id {
        let (yes, no) = (args[1], args[2]);
        self.either(args[0], ty, |_| yes, |_| no)
    }

    /// Returns the result of one of two blocks.
    fn either(
        &mut self,
        condition: Id,
        ty: Type,
        yes: impl FnOnce(&mut Self) -> Id,
        no: impl FnOnce(&mut Self) -> Id,
    ) -> Id {
        let [then_label, else_label, merge] = core::array::from_fn(|_| self.asm.id());
        self.asm.effect(op::SelectionMerge, &[merge, 0]);
        self.asm.effect(op::BranchConditional, &[condition, then_label, else_label]);
        self.begin(then_label);
        let first = (yes(self), self.label);
        self.asm.effect(op::Branch, &[merge]);
        self.begin(else_label);
        let second = (no(self), self.label);
        self.asm.effect(op::Branch, &[merge]);
        self.begin(merge);
        self.make(op::Phi, ty, &[first.0, first.1, second.0, second.1])
    }

    /// Returns the subgroup's part of shared memory for the scalars of a tile, in contiguous lines.
    fn tile_scratch(&mut self, tile: &Placed) -> Placed {
        let scratch = self.scratch(tile.element.element(), (tile.lines, tile.scalars), 0);
        Placed { layout: tile.layout, len: tile.len, pieces: tile.pieces, ..scratch }
    }

    /// Returns the subgroup's part of shared memory for contiguous lines of scalars of type `element`; `slot`
    /// distinguishes parts that are in use at the same time.
    fn scratch(&mut self, element: Type, (lines, scalars): (u32, u32), slot: usize) -> Placed {
        let subgroups = self.kernel.workgroup_invocations().div_ceil(self.profile.subgroup_size);
        let total = lines * scalars;
        let object = match self.tiles.get(&(element, total, slot)) {
            Some(object) => *object,
            None => {
                let object = self.shared_scratch_array(element, total * subgroups);
                self.tiles.insert((element, total, slot), object);
                object
            }
        };
        let subgroup = self.subgroup_id(IdOp::SubgroupId);
        let size = self.asm.u32(total);
        let first = self.make(op::IMul, Type::U32, &[subgroup, size]);
        let offset = self.convert(first, Type::U32, Type::U64);
        let stride = self.asm.u32(scalars);
        let len = self.asm.splat(Type::U64, u64::from(total));
        let layout = MatrixLayout::RowMajor;
        Placed { object, element, contended: true, layout, offset, stride, len, lines, scalars, pieces: 1 }
    }

    fn tile_barrier(&mut self) {
        let ordered = semantics::WorkgroupMemory
            | semantics::AcquireRelease
            | semantics::MakeAvailable
            | semantics::MakeVisible;
        let (subgroup, ordered) = (self.asm.u32(scope::Subgroup), self.asm.u32(ordered));
        self.asm.effect(op::ControlBarrier, &[subgroup, subgroup, ordered]);
    }

    /// Distributes the scalars of a tile over the subgroup's lanes. `body` gets the position of a scalar in memory
    /// (element and component), whether the matrix component that contains it is in bounds, and its position in the
    /// scratch memory.
    fn each_scalar(&mut self, tile: &Placed, body: impl FnOnce(&mut Self, [Id; 2], Id, Id)) {
        let lane = self.subgroup_id(IdOp::Lane);
        let total = tile.lines * tile.scalars;
        let (count, step) = (self.asm.u32(total), self.asm.u32(self.profile.subgroup_size));
        let scratch = self.tile_scratch(tile);
        self.strided(lane, count, step, |e, at| {
            let (per_line, lanes) = (e.asm.u32(tile.scalars), e.asm.u32(tile.element.lanes.count()));
            let line = e.make(op::UDiv, Type::U32, &[at, per_line]);
            let before = e.make(op::IMul, Type::U32, &[line, per_line]);
            let along = e.make(op::ISub, Type::U32, &[at, before]);
            let within = e.make(op::UDiv, Type::U32, &[along, lanes]);
            let skipped = e.make(op::IMul, Type::U32, &[within, lanes]);
            let component = e.make(op::ISub, Type::U32, &[along, skipped]);
            // The last piece of a component decides whether it is in bounds.
            let pieces = e.asm.u32(tile.pieces - 1);
            let last = e.make(op::BitwiseOr, Type::U32, &[along, pieces]);
            let last = e.make(op::UDiv, Type::U32, &[last, lanes]);
            let [line, within, last, stride] =
                [line, within, last, tile.stride].map(|v| e.convert(v, Type::U32, Type::U64));
            let down = e.make(op::IMul, Type::U64, &[line, stride]);
            let begin = e.make(op::IAdd, Type::U64, &[tile.offset, down]);
            let element = e.make(op::IAdd, Type::U64, &[begin, within]);
            let end = e.make(op::IAdd, Type::U64, &[begin, last]);
            // Neither sum wraps unless the offset is itself out of bounds.
            let below = e.make(op::ULessThan, Type::BOOL, &[tile.offset, tile.len]);
            let inside = e.make(op::ULessThan, Type::BOOL, &[end, tile.len]);
            let inside = e.make(op::LogicalAnd, Type::BOOL, &[below, inside]);
            let own = e.convert(scratch.offset, Type::U64, Type::U32);
            let own = e.make(op::IAdd, Type::U32, &[own, at]);
            body(e, [element, component], inside, own);
        });
    }

    /// Returns the object of a tile's memory as single scalars.
    fn scalar_object(&self, tile: &Placed) -> Object {
        Object { stored: tile.element.element(), pieces: 1, ..tile.object }
    }

    /// Returns a pointer to component `at[1]` of element `at[0]`.
    fn scalar_pointer(&mut self, tile: &Placed, at: [Id; 2]) -> Id {
        let lanes = tile.element.lanes.count();
        if let Home::Address(_) = tile.object.home {
            let lanes = self.asm.splat(Type::U64, u64::from(lanes));
            let component = self.convert(at[1], Type::U32, Type::U64);
            let first = self.make(op::IMul, Type::U64, &[at[0], lanes]);
            let index = self.make(op::IAdd, Type::U64, &[first, component]);
            return self.piece_pointer(self.scalar_object(tile), index);
        }
        let element = self.convert(at[0], Type::U64, Type::U32);
        if tile.object.pieces > 1 {
            let lanes = self.asm.u32(lanes);
            let first = self.make(op::IMul, Type::U32, &[element, lanes]);
            let index = self.make(op::IAdd, Type::U32, &[first, at[1]]);
            return self.piece_pointer(tile.object, index);
        }
        if lanes == 1 {
            return self.piece_pointer(tile.object, element);
        }
        self.component_pointer(tile.object, element, at[1])
    }
}
