//! What is worked out once for each kernel: where every value is kept, and the types that ops are evaluated at.

use std::sync::Arc;

use fulgurite_ir::analysis::{BoundsMap, DivisibilityMap, Event, RangeMap, Walk};
use fulgurite_ir::{ArrayDecl, Const, Inst, InstId, InstKind, ValueDef, ValueId, VerifiedKernel, main_type};
use fulgurite_spec::Type;
use fulgurite_spec::eval::{self, Components};

/// Where a value is kept.
#[derive(Clone, Copy)]
pub(crate) enum Source {
    /// In the kernel.
    Constant(Components),
    /// Among the launch's parameters.
    Param(usize),
    /// In each invocation's registers.
    Register(usize),
    /// Among each invocation's matrices.
    Matrix(usize),
}

/// Where the arrays of one kind lie in their memory.
pub(crate) struct Layout {
    offsets: Vec<usize>,
    bytes: usize,
}

impl Layout {
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

    /// The first byte of an array.
    pub(crate) fn offset(&self, array: usize) -> usize {
        self.offsets[array]
    }

    /// All bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

/// A kernel made ready to interpret.
pub(crate) struct Program {
    kernel: Arc<VerifiedKernel>,
    sources: Vec<Source>,
    mains: Vec<Type>,
    registers: usize,
    matrices: usize,
    matrix_bytes: u64,
    /// Which accesses lowering takes to be in bounds.
    bounds: BoundsMap,
    /// What lowering takes values to be multiples of.
    divisors: DivisibilityMap,
    pub(crate) shared: Layout,
    pub(crate) local: Layout,
}

impl Program {
    pub(crate) fn new(kernel: Arc<VerifiedKernel>) -> Self {
        let mains = kernel
            .insts
            .iter()
            .map(|inst| match &inst.kind {
                InstKind::Scalar { op, operands, .. } => {
                    let types: Vec<Type> = operands.iter().map(|v| kernel.ty(*v)).collect();
                    main_type(*op, &types).unwrap_or(Type::U32)
                }
                _ => Type::U32,
            })
            .collect();
        let Places { sources, registers, matrices, matrix_bytes } = allocate(&kernel);
        let (shared, local) = (Layout::shared(&kernel), Layout::local(&kernel.locals));
        let ranges = RangeMap::of(&kernel);
        let (bounds, divisors) = (BoundsMap::of(&kernel, &ranges), DivisibilityMap::of(&kernel, &ranges));
        Self { kernel, sources, mains, registers, matrices, matrix_bytes, bounds, divisors, shared, local }
    }

    pub(crate) fn kernel(&self) -> &Arc<VerifiedKernel> {
        &self.kernel
    }

    /// Where `value` is kept.
    pub(crate) fn source(&self, value: ValueId) -> Source {
        self.sources[value.index()]
    }

    /// The main type of a scalar instruction.
    pub(crate) fn main_type(&self, inst: InstId) -> Type {
        self.mains[inst.index()]
    }

    /// Which accesses lowering takes to be in bounds.
    pub(crate) fn bounds(&self) -> &BoundsMap {
        &self.bounds
    }

    /// What lowering takes values to be multiples of.
    pub(crate) fn divisors(&self) -> &DivisibilityMap {
        &self.divisors
    }

    /// Whether an instruction yields a matrix.
    pub(crate) fn is_matrix(&self, inst: &Inst) -> bool {
        inst.results.first().is_some_and(|r| self.kernel.ty(*r).is_matrix())
    }

    /// Matrices of one invocation.
    pub(crate) fn matrices(&self) -> usize {
        self.matrices
    }

    /// The most bytes that those who hold them together can have in matrices at a time.
    pub(crate) fn matrix_bytes(&self) -> u64 {
        self.matrix_bytes
    }

    /// Registers of one invocation.
    pub(crate) fn registers(&self) -> usize {
        self.registers
    }
}

/// Where the values of a kernel are kept.
struct Places {
    sources: Vec<Source>,
    registers: usize,
    matrices: usize,
    matrix_bytes: u64,
}

/// Gives every value a place. Values of blocks that have ended leave their registers to later ones.
fn allocate(kernel: &VerifiedKernel) -> Places {
    let mut sources: Vec<Source> = kernel
        .values
        .iter()
        .map(|value| match value.def {
            ValueDef::Const(Const(bits)) => Source::Constant(eval::splat_low(bits)),
            ValueDef::Param(id) => Source::Param(id.index()),
            ValueDef::Inst(..) | ValueDef::BlockParam(..) => Source::Register(0),
        })
        .collect();
    // Registers and matrices that are taken, and the most that ever are.
    let (mut next, mut registers) = ((0, 0), 0);
    // The most components that each matrix has.
    let mut sizes: Vec<u32> = Vec::new();
    let mut marks = Vec::new();
    let mut place = |values: &[ValueId], next: &mut (usize, usize)| {
        for value in values {
            sources[value.index()] = if let Some(shape) = kernel.ty(*value).matrix {
                next.1 += 1;
                sizes.resize(sizes.len().max(next.1), 0);
                let size = &mut sizes[next.1 - 1];
                *size = shape.components().max(*size);
                Source::Matrix(next.1 - 1)
            } else {
                next.0 += 1;
                Source::Register(next.0 - 1)
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
    Places { sources, registers, matrices: sizes.len(), matrix_bytes }
}
