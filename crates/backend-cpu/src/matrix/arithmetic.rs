//! Products, conversions and componentwise ops.

use fulgurite_spec::{ElementwiseOp, Op, ScalarType, Type, eval};

use super::components::{Components, extended};
use crate::compute::{narrowed, widened};

/// Rows and columns of the sum that are computed at a time: as many as fit into vector registers. Every number of rows
/// is a multiple of `ROWS`, and every number of columns of `COLS`.
const ROWS: usize = 4;
const COLS: usize = 8;

/// Adds the product of `a`, which has `inner` columns, and `b` to `sum`, which has `cols` columns, block by block.
#[inline(always)]
fn product<T: Copy>(
    [a, b]: [&[T]; 2],
    sum: &mut [T],
    inner: usize,
    cols: usize,
    mul_add: impl Fn(T, T, T) -> T,
) {
    for (rows, sum) in a.chunks_exact(inner * ROWS).zip(sum.chunks_exact_mut(cols * ROWS)) {
        for col in (0..cols).step_by(COLS) {
            let mut block: [[T; COLS]; ROWS] =
                core::array::from_fn(|row| core::array::from_fn(|i| sum[row * cols + col + i]));
            for k in 0..inner {
                let right = &b[k * cols + col..][..COLS];
                for (row, block) in block.iter_mut().enumerate() {
                    let left = rows[row * inner + k];
                    for (sum, right) in block.iter_mut().zip(right) {
                        *sum = mul_add(left, *right, *sum);
                    }
                }
            }
            for (row, block) in block.iter().enumerate() {
                sum[row * cols + col..][..COLS].copy_from_slice(block);
            }
        }
    }
}

/// Rounds to the component type.
fn round(ty: ScalarType, all: &mut [f32]) {
    if ty != ScalarType::F32 {
        all.iter_mut().for_each(|value| *value = widened(ty, narrowed(ty, *value)));
    }
}

/// Computes `a × b + c`. Floats are summed in `f32` or `f64`, and rounded at the end.
pub(super) fn mul_add(
    types: [Type; 3],
    a: &Components,
    b: &Components,
    c: &Components,
) -> Option<Components> {
    use Components::{Double, Single, Word};
    let (left, sum) = (types[0].matrix?, types[2].matrix?);
    let (inner, cols) = (usize::from(left.cols), usize::from(sum.cols));
    let ty = types[2].scalar;
    let mut result = c.clone();
    match (a, b, &mut result) {
        (Single(a), Single(b), Single(sum)) => {
            product([a, b], sum, inner, cols, |a, b, c| a * b + c);
            round(ty, sum);
        }
        (Single(a), Single(b), Double(sum)) => {
            let [a, b] = [a, b].map(|all| all.iter().map(|v| f64::from(*v)).collect::<Vec<f64>>());
            product([&a, &b], sum, inner, cols, |a, b, c| a * b + c);
        }
        (Double(a), Double(b), Double(sum)) => product([a, b], sum, inner, cols, |a, b, c| a * b + c),
        (Word(a), Word(b), Word(sum)) => {
            product([a, b], sum, inner, cols, |a, b, c| a.wrapping_mul(b).wrapping_add(c));
            sum.iter_mut().for_each(|value| *value = extended(ty, *value));
        }
        _ => return None,
    }
    Some(result)
}

/// Converts the components of a matrix.
pub(super) fn convert(from: ScalarType, to: ScalarType, matrix: &Components) -> Components {
    if from == to {
        return matrix.clone();
    }
    if let (Components::Single(all), true) = (matrix, to.is_float() && to != ScalarType::F64) {
        let mut all = all.clone();
        round(to, &mut all);
        return Components::Single(all);
    }
    let mut bits = vec![0; matrix.count()];
    matrix.bits(from, 0, 1, &mut bits);
    for bits in &mut bits {
        *bits = eval::scalar(Op::Convert, from, to, &[*bits]).unwrap_or(0);
    }
    let mut result = Components::zeros(to, bits.len());
    result.set_bits(to, 0, 1, &bits);
    result
}

/// Applies an op to the components of two matrices with components of type `ty`.
pub(super) fn elementwise(
    op: ElementwiseOp,
    ty: ScalarType,
    a: &Components,
    b: &Components,
) -> Option<Components> {
    use Components::{Double, Single, Word};
    fn each<T: Copy>(a: &[T], b: &[T], op: impl Fn(T, T) -> T) -> Vec<T> {
        a.iter().zip(b).map(|(a, b)| op(*a, *b)).collect()
    }
    Some(match (a, b) {
        (Single(a), Single(b)) => {
            // Rounding to 24 bits and then to 11 or fewer is the same as rounding once.
            let mut all = match op {
                ElementwiseOp::Add => each(a, b, |a, b| a + b),
                ElementwiseOp::Sub => each(a, b, |a, b| a - b),
                ElementwiseOp::Mul => each(a, b, |a, b| a * b),
                ElementwiseOp::Div => each(a, b, |a, b| a / b),
                ElementwiseOp::Neg => each(a, b, |a, _| -a),
                ElementwiseOp::Select => return None,
            };
            round(ty, &mut all);
            Single(all)
        }
        (Double(a), Double(b)) => Double(match op {
            ElementwiseOp::Add => each(a, b, |a, b| a + b),
            ElementwiseOp::Sub => each(a, b, |a, b| a - b),
            ElementwiseOp::Mul => each(a, b, |a, b| a * b),
            ElementwiseOp::Div => each(a, b, |a, b| a / b),
            ElementwiseOp::Neg => each(a, b, |a, _| -a),
            ElementwiseOp::Select => return None,
        }),
        (Word(a), Word(b)) => {
            let mut all = match op {
                ElementwiseOp::Add => each(a, b, i32::wrapping_add),
                ElementwiseOp::Sub => each(a, b, i32::wrapping_sub),
                ElementwiseOp::Mul => each(a, b, i32::wrapping_mul),
                ElementwiseOp::Neg => each(a, b, |a, _| a.wrapping_neg()),
                ElementwiseOp::Div | ElementwiseOp::Select => return None,
            };
            all.iter_mut().for_each(|value| *value = extended(ty, *value));
            Word(all)
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use fulgurite_spec::{MatrixRole, MatrixScope, MatrixShape};

    #[test]
    fn blocks_add_up_to_the_product() {
        let (m, n, k) = (16, 24, 8);
        let value = |i: usize| (i * 7 % 11) as f32 - 5.0;
        let a: Vec<f32> = (0..m * k).map(value).collect();
        let b: Vec<f32> = (0..k * n).map(|i| value(i + 3)).collect();
        let c: Vec<f32> = (0..m * n).map(|i| value(i + 5)).collect();
        let mut found = c.clone();
        product([&a, &b], &mut found, k, n, |a, b, c| a * b + c);
        for (i, found) in found.iter().enumerate() {
            let (row, col) = (i / n, i % n);
            let wanted = c[i] + (0..k).map(|k| a[row * 8 + k] * b[k * n + col]).sum::<f32>();
            assert_eq!(*found, wanted, "component {i}");
        }
    }

    #[test]
    fn narrow_components_are_rounded_and_wrap() {
        let ty = |scalar, role| Type::matrix_of(scalar, MatrixShape::new(8, 8, role, MatrixScope::Subgroup));
        let types =
            |scalar| [ty(scalar, MatrixRole::A), ty(scalar, MatrixRole::B), ty(scalar, MatrixRole::Acc)];
        let ones = Components::Single(vec![1.0; 64]);
        let large = Components::Single(vec![2048.0; 64]);
        // 2048 + 8 is representable as an f16, and 2048 + 1 is not.
        let sum = mul_add(types(ScalarType::F16), &ones, &ones, &large).unwrap();
        assert_eq!(sum, Components::Single(vec![2056.0; 64]));
        let sum = elementwise(ElementwiseOp::Add, ScalarType::F16, &large, &ones).unwrap();
        assert_eq!(sum, large);
        let most = Components::Word(vec![127; 64]);
        let sum = elementwise(ElementwiseOp::Add, ScalarType::I8, &most, &most).unwrap();
        assert_eq!(sum, Components::Word(vec![-2; 64]));
        let sum = elementwise(ElementwiseOp::Mul, ScalarType::U8, &most, &most).unwrap();
        assert_eq!(sum, Components::Word(vec![1; 64]));
        let minus = convert(ScalarType::I8, ScalarType::F64, &Components::Word(vec![-2; 64]));
        assert_eq!(minus, Components::Double(vec![-2.0; 64]));
    }
}
