//! Cooperative matrices: the steps on them, executed once for each subgroup of a chunk.
//!
//! A matrix register holds a shared reference for each of the subgroups, so that carrying or selecting a matrix
//! does not copy it. Narrow floats are stored as `f32` and narrow integers as `i32`; each op rounds or wraps to the
//! component type.

mod arithmetic;
mod components;

use std::sync::Arc;

use fulgurite_spec::{ElementwiseOp, MatrixLayout, MatrixScope, ScalarType, Type};

use crate::code::{Index, Place};
use crate::compute::{Register, bits};
use crate::lanes::{LEAST_SUBGROUP, Lanes, Mask, WIDTH, first_lanes};
use crate::memory::View;
pub(crate) use components::Components;

/// The largest number of subgroups in a chunk.
const SUBGROUPS: usize = WIDTH / LEAST_SUBGROUP;

/// A matrix for each subgroup of a chunk; `None` if none was computed.
pub(crate) type Held = [Option<Arc<Components>>; SUBGROUPS];

/// The index of a matrix register.
pub(crate) type MatrixRegister = u32;

/// The place of a matrix in memory.
#[derive(Clone, Copy)]
pub(crate) struct MatrixPlace {
    pub(crate) ty: Type,
    pub(crate) layout: MatrixLayout,
    pub(crate) place: Place,
    pub(crate) offset: Index,
    pub(crate) stride: Register,
}

/// A step on matrices.
#[derive(Clone, Copy)]
pub(crate) enum MatrixStep {
    Load {
        to: MatrixRegister,
        at: MatrixPlace,
    },
    Store {
        from: MatrixRegister,
        at: MatrixPlace,
    },
    Fill {
        to: MatrixRegister,
        ty: Type,
        value: Register,
    },
    MulAdd {
        to: MatrixRegister,
        operands: [MatrixRegister; 3],
        types: [Type; 3],
    },
    Convert {
        to: MatrixRegister,
        from: MatrixRegister,
        types: [ScalarType; 2],
        scope: MatrixScope,
    },
    /// An op on each component; for `neg`, the second operand repeats the first.
    Elementwise {
        to: MatrixRegister,
        op: ElementwiseOp,
        operands: [MatrixRegister; 2],
        ty: Type,
    },
    /// The first operand where the condition holds, else the second.
    Select {
        to: MatrixRegister,
        condition: Register,
        operands: [MatrixRegister; 2],
    },
    /// A copy of the matrices of all subgroups.
    Copy {
        to: MatrixRegister,
        from: MatrixRegister,
    },
    /// A copy of the matrices of active subgroups.
    Blend {
        to: MatrixRegister,
        from: MatrixRegister,
    },
}

impl MatrixStep {
    fn to(&self) -> Option<MatrixRegister> {
        match self {
            Self::Store { .. } => None,
            Self::Load { to, .. }
            | Self::Fill { to, .. }
            | Self::MulAdd { to, .. }
            | Self::Convert { to, .. }
            | Self::Elementwise { to, .. }
            | Self::Select { to, .. }
            | Self::Copy { to, .. }
            | Self::Blend { to, .. } => Some(*to),
        }
    }

    /// Estimates the duration of the step in back edges, for [`Poll::count_many`](crate::poll::Poll::count_many).
    pub(crate) fn work(&self) -> u32 {
        let components = |ty: &Type| ty.matrix.map_or(1, |shape| shape.components());
        let multiplied = match self {
            Self::MulAdd { types: [a, _, c], .. } => {
                components(c).saturating_mul(a.matrix.map_or(1, |shape| shape.cols.into()))
            }
            Self::Load { at, .. } | Self::Store { at, .. } => 8 * components(&at.ty),
            Self::Fill { ty, .. } | Self::Elementwise { ty, .. } => components(ty),
            Self::Convert { .. } | Self::Select { .. } | Self::Copy { .. } | Self::Blend { .. } => 1,
        };
        1 + multiplied / 4096
    }

    /// Returns the scope of the step; a matrix of workgroup scope is the same in all subgroups.
    fn scope(&self) -> MatrixScope {
        let ty = match self {
            Self::Load { at, .. } | Self::Store { at, .. } => at.ty,
            Self::Fill { ty, .. } | Self::Elementwise { ty, .. } => *ty,
            Self::MulAdd { types, .. } => types[2],
            Self::Convert { scope, .. } => return *scope,
            Self::Select { .. } | Self::Copy { .. } | Self::Blend { .. } => return MatrixScope::Subgroup,
        };
        ty.matrix.map_or(MatrixScope::Subgroup, |shape| shape.scope)
    }
}

/// Executes a step for the subgroups of `size` lanes that have lanes in `mask`.
pub(crate) fn step(
    step: &MatrixStep,
    matrices: &mut [Held],
    registers: &[Lanes],
    view: &mut View<'_>,
    mask: Mask,
    size: usize,
) {
    if let MatrixStep::Copy { to, from } = step {
        matrices[*to as usize] = matrices[*from as usize].clone();
        return;
    }
    let mut first: Option<Option<Arc<Components>>> = None;
    for subgroup in 0..WIDTH / size {
        let active = mask >> (subgroup * size) & first_lanes(size);
        if active == 0 {
            continue;
        }
        let lane = subgroup * size + active.trailing_zeros() as usize;
        let result = match &first {
            Some(first) if step.scope() == MatrixScope::Workgroup => first.clone(),
            _ => result(step, matrices, registers, view, subgroup, lane),
        };
        if let Some(to) = step.to() {
            matrices[to as usize][subgroup].clone_from(&result);
        }
        first.get_or_insert(result);
    }
}

/// Returns the result of a step in one subgroup, which contains `lane`.
fn result(
    step: &MatrixStep,
    matrices: &[Held],
    registers: &[Lanes],
    view: &mut View<'_>,
    subgroup: usize,
    lane: usize,
) -> Option<Arc<Components>> {
    let matrix = |register: MatrixRegister| matrices[register as usize][subgroup].as_ref();
    match step {
        MatrixStep::Load { at, .. } => load(at, registers, view, lane).map(Arc::new),
        MatrixStep::Store { from, at } => {
            if let Some(components) = matrix(*from) {
                store(at, components, registers, view, lane);
            }
            None
        }
        MatrixStep::Fill { ty, value, .. } => {
            let value = bits(registers, *value, ty.scalar, lane);
            let mut components = Components::zeros(ty.scalar, ty.matrix?.components() as usize);
            components.fill(ty.scalar, value);
            Some(Arc::new(components))
        }
        MatrixStep::MulAdd { operands, types, .. } => {
            let [a, b, c] = operands.map(matrix);
            arithmetic::mul_add(*types, a?, b?, c?).map(Arc::new)
        }
        MatrixStep::Convert { from, types: [from_type, to_type], .. } => {
            Some(Arc::new(arithmetic::convert(*from_type, *to_type, matrix(*from)?)))
        }
        MatrixStep::Elementwise { op, operands, ty, .. } => {
            let [a, b] = operands.map(matrix);
            arithmetic::elementwise(*op, ty.scalar, a?, b?).map(Arc::new)
        }
        MatrixStep::Select { condition, operands: [yes, no], .. } => {
            let holds = registers[*condition as usize].0[lane] & 1 != 0;
            matrix(if holds { *yes } else { *no }).cloned()
        }
        MatrixStep::Copy { from, .. } | MatrixStep::Blend { from, .. } => matrix(*from).cloned(),
    }
}

/// Returns the byte at which each line of a matrix begins; `None` if it overflows.
fn line_starts(
    at: &MatrixPlace,
    lines: u32,
    registers: &[Lanes],
    lane: usize,
) -> impl Iterator<Item = Option<u64>> + use<> {
    let offset = match at.offset {
        Index::Narrow(register) => bits(registers, register, ScalarType::U32, lane),
        Index::Wide(register) => bits(registers, register, ScalarType::U64, lane),
    };
    let stride = bits(registers, at.stride, ScalarType::U32, lane);
    let size = at.place.layout.stride() as u64;
    (0..u64::from(lines)).map(move |line| offset.checked_add(line * stride)?.checked_mul(size))
}

/// Maximum number of components in a line.
const LINE: usize = fulgurite_spec::limits::MAX_MATRIX_SIDE as usize;

fn load(at: &MatrixPlace, registers: &[Lanes], view: &mut View<'_>, lane: usize) -> Option<Components> {
    let shape = at.ty.matrix?;
    let (lines, along) = shape.lines(at.layout);
    let mut components = Components::zeros(at.ty.scalar, shape.components() as usize);
    let mut buffer = [0; LINE];
    let buffer = buffer.get_mut(..along as usize)?;
    for (line, start) in line_starts(at, lines, registers, lane).enumerate() {
        let Some(start) = start else { continue };
        view.read_line(at.place, start, at.ty.scalar.size(), buffer);
        match at.layout {
            MatrixLayout::RowMajor => {
                components.set_bits(at.ty.scalar, line * usize::from(shape.cols), 1, buffer);
            }
            MatrixLayout::ColumnMajor => {
                components.set_bits(at.ty.scalar, line, usize::from(shape.cols), buffer);
            }
        }
    }
    Some(components)
}

fn store(at: &MatrixPlace, components: &Components, registers: &[Lanes], view: &mut View<'_>, lane: usize) {
    let Some(shape) = at.ty.matrix else { return };
    let (lines, along) = shape.lines(at.layout);
    let mut buffer = [0; LINE];
    let Some(buffer) = buffer.get_mut(..along as usize) else { return };
    for (line, start) in line_starts(at, lines, registers, lane).enumerate() {
        let Some(start) = start else { continue };
        match at.layout {
            MatrixLayout::RowMajor => {
                components.bits(at.ty.scalar, line * usize::from(shape.cols), 1, buffer)
            }
            MatrixLayout::ColumnMajor => components.bits(at.ty.scalar, line, usize::from(shape.cols), buffer),
        }
        view.write_line(at.place, start, at.ty.scalar.size(), buffer);
    }
}
