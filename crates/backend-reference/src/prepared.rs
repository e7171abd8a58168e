//! Preparation of a kernel: the locations of values, and the types at which ops are evaluated.

use std::sync::Arc;

use fulgurite_ir::analysis::{BoundsMap, DivisibilityMap, Event, RangeMap, Walk};
use fulgurite_ir::{ArrayDecl, Const, Inst, InstId, InstKind, ValueDef, ValueId, VerifiedKernel, main_type};
use fulgurite_spec::Type;
use fulgurite_spec::eval::{self, Components};

/// The location of a value.
#[derive(Clone, Copy)]
pub(crate) enum ValueLocation {
    /// A constant.
    Constant(Components),
    /// A parameter of the launch.
    Param(usize),
    /// A register of each invocation.
    Register(usize),
    /// A matrix of each invocation.
    Matrix(usize),
}

/// ArrayLayout of the arrays of one kind of memory.
pub(crate) struct ArrayLayout {
    offsets: Vec<usize>,
    bytes: usize,
}

impl ArrayLayout {
    fn shared(kernel: &VerifiedKernel) -> Self {
        let (offsets, bytes) = kernel.shared_layout();
        Self { offsets: offsets.into_iter().map(|o| o as usize).collect(), bytes: bytes as usize }
    }

    fn local(arrays: &[ArrayDecl]) -> Self {
        let mut bytes = 0;
        let mut offsets = Vec::with_capacity(arrays.len());
        for array in arrays {
            offsets.push(bytes);
            bytes += array.len as usize * array.element.size() as usize;
        }
        Self { offsets, bytes }
    }

    /// Returns the byte offset of an array.
    pub(crate) fn offset(&self, array: usize) -> usize {
        self.offsets[array]
    }

    /// Returns the total size in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

/// A kernel prepared for interpretation.
pub(crate) struct PreparedKernel {
    kernel: Arc<VerifiedKernel>,
    locations: Vec<ValueLocation>,
    mains: Vec<Type>,
    registers: usize,
    matrices: usize,
    matrix_bytes: u64,
    /// Accesses that lowering assumes to be in bounds.
    bounds: BoundsMap,
    /// Divisors that lowering assumes values to have.
    divisors: DivisibilityMap,
    pub(crate) shared: ArrayLayout,
    pub(crate) local: ArrayLayout,
}

impl PreparedKernel {
    pub(crate) fn new(kernel: Arc<VerifiedKernel>) -> Self {
        let mains = kernel
            .insts
            .iter()
            .map(|inst| {
                // Only asked of scalar instructions.
                let InstKind::Scalar { op, operands, .. } = &inst.kind else { return Type::U32 };
                let types: Vec<Type> = operands.iter().map(|v| kernel.ty(*v)).collect();
                main_type(*op, &types).unwrap_or(Type::U32)
            })
            .collect();
        let ValueLocations { locations, registers, matrices, matrix_bytes } = allocate(&kernel);
        let (shared, local) = (ArrayLayout::shared(&kernel), ArrayLayout::local(&kernel.locals));
        let ranges = RangeMap::of(&kernel);
        let (bounds, divisors) = (BoundsMap::of(&kernel, &ranges), DivisibilityMap::of(&kernel, &ranges));
        Self { kernel, locations, mains, registers, matrices, matrix_bytes, bounds, divisors, shared, local }
    }

    pub(crate) fn kernel(&self) -> &Arc<VerifiedKernel> {
        &self.kernel
    }

    /// Returns the location of `value`.
    pub(crate) fn location(&self, value: ValueId) -> ValueLocation {
        self.locations[value.index()]
    }

    /// Returns the main type of a scalar instruction.
    pub(crate) fn main_type(&self, inst: InstId) -> Type {
        self.mains[inst.index()]
    }

    /// Returns the accesses that lowering assumes to be in bounds.
    pub(crate) fn bounds(&self) -> &BoundsMap {
        &self.bounds
    }

    /// Returns the divisors that lowering assumes values to have.
    pub(crate) fn divisors(&self) -> &DivisibilityMap {
        &self.divisors
    }

    /// Returns whether an instruction yields a matrix.
    pub(crate) fn is_matrix(&self, inst: &Inst) -> bool {
        inst.results.first().is_some_and(|r| self.kernel.ty(*r).is_matrix())
    }

    /// Returns the number of matrices of an invocation.
    pub(crate) fn matrices(&self) -> usize {
        self.matrices
    }

    /// Returns the maximum total size in bytes of the matrices of one group of holders.
    pub(crate) fn matrix_bytes(&self) -> u64 {
        self.matrix_bytes
    }

    /// Returns the number of registers of an invocation.
    pub(crate) fn registers(&self) -> usize {
        self.registers
    }
}

/// The locations of a kernel's values.
struct ValueLocations {
    locations: Vec<ValueLocation>,
    registers: usize,
    matrices: usize,
    matrix_bytes: u64,
}

/// Assigns a location to every value. Registers of a finished block are reused.
fn allocate(kernel: &VerifiedKernel) -> ValueLocations {
    let mut locations: Vec<ValueLocation> = kernel
        .values
        .iter()
        .map(|value| match value.def {
            ValueDef::Const(Const(bits)) => ValueLocation::Constant(eval::splat_low(bits)),
            ValueDef::Param(id) => ValueLocation::Param(id.index()),
            ValueDef::Inst(..) | ValueDef::BlockParam(..) => ValueLocation::Register(0),
        })
        .collect();
    // Registers and matrices in use, and the maximum number of registers.
    let (mut next, mut registers) = ((0, 0), 0);
    // Maximum number of components of each matrix.
    let mut sizes: Vec<u32> = Vec::new();
    let mut marks = Vec::new();
    let mut place = |values: &[ValueId], next: &mut (usize, usize)| {
        for value in values {
            locations[value.index()] = if let Some(shape) = kernel.ty(*value).matrix {
                next.1 += 1;
                sizes.resize(sizes.len().max(next.1), 0);
                let size = &mut sizes[next.1 - 1];
                *size = shape.components().max(*size);
                ValueLocation::Matrix(next.1 - 1)
            } else {
                next.0 += 1;
                ValueLocation::Register(next.0 - 1)
            };
        }
        registers = registers.max(next.0);
    };
    for event in Walk::new(kernel) {
        match event {
            Event::Enter(block) => {
                marks.push(next);
                place(&kernel.block(block).params, &mut next);
            }
            Event::Done(inst) => place(&kernel.inst(inst).results, &mut next),
            Event::Exit(_) => next = marks.pop().unwrap_or((0, 0)),
            Event::Inst(_) => {}
        }
    }
    let matrix_bytes = sizes.iter().map(|components| u64::from(*components) * 8).sum();
    ValueLocations { locations, registers, matrices: sizes.len(), matrix_bytes }
}
