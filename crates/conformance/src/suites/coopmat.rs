//! Cooperative matrices: every product that a device lists, or a selection if it supports all products.
//!
//! Float products must lie within an error bound around sums in `f64`, and equal the exact value if every partial sum
//! is exact; integer products must equal the exact value. A case is one op on one tile.

mod componentwise;
mod memory;
mod product;

use std::collections::BTreeSet;

use fulgurite_spec::device::{DeviceSnapshot, Matrices, MatrixShapes};
use fulgurite_spec::eval;
use fulgurite_spec::eval::float::FloatFormat;
use fulgurite_spec::{MatrixLayout, MatrixRole, MatrixScope, MatrixShape, ScalarType, Type};

use crate::harness::Harness;
use crate::values::Random;

/// Subgroups per workgroup, for matrices of subgroup scope.
const SUBGROUPS: u32 = 2;
/// Invocations per workgroup, for matrices of workgroup scope.
const WORKGROUP: u32 = 64;

const LAYOUTS: [MatrixLayout; 2] = [MatrixLayout::RowMajor, MatrixLayout::ColumnMajor];

pub(super) fn run(harness: &mut Harness<'_>, progress: &mut dyn FnMut(usize, usize)) {
    let products = products(harness.backend().snapshot());
    let types: Vec<Type> =
        products.iter().flat_map(|p| types(*p)).collect::<BTreeSet<_>>().into_iter().collect();
    let all = 2 * products.len() + 2 * types.len();
    let mut done = 0;
    let mut step = || {
        progress(done, all);
        done += 1;
    };
    for product in &products {
        step();
        product::once(harness, *product);
        step();
        product::carried(harness, *product);
    }
    for ty in &types {
        step();
        memory::run(harness, *ty);
        step();
        componentwise::run(harness, *ty, &types);
    }
    progress(all, all);
}

/// Returns the products that the device lists, or a selection of every kind. On a device without matrices they count as
/// unsupported.
fn products(snapshot: &DeviceSnapshot) -> Vec<MatrixShapes> {
    if let Matrices::Listed(listed) = &snapshot.matrices {
        let mut seen = Vec::new();
        // The language has no product of factors with different component types.
        for product in listed.iter().filter(|p| p.a == p.b) {
            if !seen.contains(product) {
                seen.push(*product);
            }
        }
        return seen;
    }
    use MatrixScope::{Subgroup, Workgroup};
    use ScalarType::{BF16, F16, F32, F64, I8, I32, U8, U32};
    [
        (16, 16, 16, F16, F32, Subgroup),
        (16, 8, 16, F16, F16, Subgroup),
        (8, 32, 16, F16, F32, Subgroup),
        (16, 16, 16, BF16, F32, Subgroup),
        (8, 8, 8, BF16, BF16, Subgroup),
        (8, 16, 8, F32, F32, Subgroup),
        (8, 8, 8, F64, F64, Subgroup),
        (16, 16, 32, I8, I32, Subgroup),
        (16, 16, 16, U8, U32, Subgroup),
        (8, 16, 64, U8, I32, Subgroup),
        (8, 8, 16, I32, I32, Subgroup),
        (64, 32, 16, F16, F32, Workgroup),
        (32, 64, 16, I8, I32, Workgroup),
    ]
    .into_iter()
    .map(|(m, n, k, factor, acc, scope)| MatrixShapes { m, n, k, a: factor, b: factor, acc, scope })
    .collect()
}

/// Returns the types of the two factors and of the sum.
fn types(product: MatrixShapes) -> [Type; 3] {
    let MatrixShapes { m, n, k, a, b, acc, scope } = product;
    [(a, m, k, MatrixRole::A), (b, k, n, MatrixRole::B), (acc, m, n, MatrixRole::Acc)]
        .map(|(scalar, rows, cols, role)| Type::matrix_of(scalar, MatrixShape { rows, cols, role, scope }))
}

/// Returns the shape of a matrix type; all types in this module are matrices.
fn shape(ty: Type) -> MatrixShape {
    let (role, scope) = (MatrixRole::Acc, MatrixScope::Subgroup);
    ty.matrix.unwrap_or(MatrixShape { rows: 8, cols: 8, role, scope })
}

fn components(ty: Type) -> usize {
    shape(ty).components() as usize
}

/// Returns the number of invocations of a workgroup, and of the matrices that it holds at a time.
fn workgroup(harness: &Harness<'_>, scope: MatrixScope) -> (u32, u32) {
    match scope {
        MatrixScope::Subgroup => {
            (harness.backend().snapshot().limits.subgroup_size.max(1) * SUBGROUPS, SUBGROUPS)
        }
        MatrixScope::Workgroup => (WORKGROUP, 1),
    }
}

/// Returns the text that computes as `%t` the number of the tile that an invocation works on.
fn tile_number(scope: MatrixScope) -> String {
    match scope {
        MatrixScope::Subgroup => format!(
            "  %g = workgroup_id.x\n  %gs = mul %g, {SUBGROUPS}u32\n  %s = subgroup_id\n  %t = add %gs, %s\n"
        ),
        MatrixScope::Workgroup => "  %t = workgroup_id.x\n".to_owned(),
    }
}

/// Returns the index of component (`row`, `col`) in densely packed memory.
fn place(ty: Type, layout: MatrixLayout, row: usize, col: usize) -> usize {
    let shape = shape(ty);
    match layout {
        MatrixLayout::RowMajor => row * usize::from(shape.cols) + col,
        MatrixLayout::ColumnMajor => col * usize::from(shape.rows) + row,
    }
}

/// Returns the stride between densely packed lines, in components.
fn line(ty: Type, layout: MatrixLayout) -> u32 {
    shape(ty).lines(layout).1
}

/// Returns a tile, given in row-major order, in the order of `layout`.
fn laid_out(ty: Type, layout: MatrixLayout, tile: &[u64]) -> Vec<u64> {
    let cols = usize::from(shape(ty).cols);
    let mut lies = vec![0; tile.len()];
    for (at, bits) in tile.iter().enumerate() {
        lies[place(ty, layout, at / cols, at % cols)] = *bits;
    }
    lies
}

fn bytes(ty: ScalarType, values: &[u64]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes().into_iter().take(ty.size() as usize)).collect()
}

fn values(ty: ScalarType, bytes: &[u8]) -> Vec<u64> {
    let ty = Type::scalar(ty);
    bytes.chunks_exact(ty.size() as usize).map(|c| eval::read_bytes(c, ty)[0]).collect()
}

/// Returns a component: an integer of arbitrary bits, or a float between 1/16 and 2 in magnitude, so that no product is
/// subnormal and no sum is infinite.
fn component(random: &mut Random, ty: ScalarType) -> u64 {
    let Some(format) = FloatFormat::of(ty) else { return random.next() & ty.mask() };
    let magnitude =
        (1.0 + f64::from(random.word()) / f64::from(u32::MAX)) * (-f64::from(random.below(5))).exp2();
    format.encode(if random.next() & 1 == 0 { magnitude } else { -magnitude })
}

/// Returns a small integer as a component.
fn whole(ty: ScalarType, value: i64) -> u64 {
    match FloatFormat::of(ty) {
        Some(format) => format.encode(value as f64),
        None => value as u64 & ty.mask(),
    }
}

fn show(ty: ScalarType, bits: u64) -> String {
    crate::values::show(&[bits, 0, 0, 0], Type::scalar(ty))
}
