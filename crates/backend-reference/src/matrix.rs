//! Semantics of cooperative matrix ops, independent of scheduling. A matrix is stored once for all its holders, as the
//! bits of its components in row-major order.

use std::rc::Rc;

use fulgurite_spec::eval::{self, float::FloatFormat};
use fulgurite_spec::{MatrixLayout, MatrixShape, Op, ScalarType, Type};

/// The components of a matrix in row-major order.
pub(crate) type Matrix = Rc<[u64]>;

/// Applies a scalar op to each component of matrices of type `ty`; `None` if the operands do not fit, which
/// verification rules out.
pub(crate) fn elementwise(op: Op, ty: Type, operands: &[Matrix]) -> Option<Matrix> {
    let first = operands.first()?;
    let component = |i: usize| {
        let args: Vec<u64> = operands.iter().filter_map(|m| m.get(i).copied()).collect();
        eval::scalar(op, ty.scalar, ty.scalar, &args)
    };
    (0..first.len()).map(component).collect()
}

/// Converts the components of a matrix.
pub(crate) fn convert(from: ScalarType, to: ScalarType, matrix: &Matrix) -> Option<Matrix> {
    if from == to {
        return Some(matrix.clone());
    }
    matrix.iter().map(|bits| eval::scalar(Op::Convert, from, to, &[*bits])).collect()
}

/// Computes `a × b + c`. Floats are summed in `f64` and rounded once; integers wrap.
pub(crate) fn mul_add(types: [Type; 3], [a, b, c]: [&Matrix; 3]) -> Option<Matrix> {
    let [left, _, sum] = types;
    let (inner, cols) = (usize::from(left.matrix?.cols), usize::from(sum.matrix?.cols));
    let mut result = Vec::with_capacity(c.len());
    for (position, addend) in c.iter().enumerate() {
        let (row, col) = (position / cols, position % cols);
        let factors = (0..inner).map(|k| (a[row * inner + k], b[k * cols + col]));
        let bits = match (FloatFormat::of(left.scalar), FloatFormat::of(sum.scalar)) {
            (Some(factor), Some(format)) => {
                let products = factors.map(|(a, b)| factor.decode(a) * factor.decode(b));
                format.encode(products.fold(format.decode(*addend), |sum, product| sum + product))
            }
            _ => {
                let widen = |bits| widened(left.scalar, bits);
                let products = factors.map(|(a, b)| widen(a).wrapping_mul(widen(b)));
                products.fold(*addend, u64::wrapping_add) & sum.scalar.mask()
            }
        };
        result.push(bits);
    }
    Some(result.into())
}

/// Sign-extends the bits of an integer, if its type is signed.
fn widened(ty: ScalarType, bits: u64) -> u64 {
    let unused = 64 - ty.bits();
    if ty.is_signed() { ((bits << unused) as i64 >> unused) as u64 } else { bits }
}

/// Returns the row-major position of a component that is at index `along` of a line, where lines are rows or columns.
pub(crate) fn position(shape: MatrixShape, layout: MatrixLayout, line: u32, along: u32) -> usize {
    let cols = usize::from(shape.cols);
    match layout {
        MatrixLayout::RowMajor => line as usize * cols + along as usize,
        MatrixLayout::ColumnMajor => along as usize * cols + line as usize,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fulgurite_spec::{MatrixRole, MatrixScope};

    fn ty(scalar: ScalarType, rows: u16, cols: u16, role: MatrixRole) -> Type {
        Type::matrix_of(scalar, MatrixShape::new(rows, cols, role, MatrixScope::Subgroup))
    }

    #[test]
    fn integers_are_sign_extended_and_wrap() {
        let a = ty(ScalarType::I8, 8, 16, MatrixRole::A);
        let b = ty(ScalarType::I8, 16, 8, MatrixRole::B);
        let c = ty(ScalarType::I32, 8, 8, MatrixRole::Acc);
        let minus: Matrix = vec![0x80; 128].into();
        let one: Matrix = vec![0x7f; 128].into();
        let most: Matrix = vec![0x7fff_ffff; 64].into();
        let result = mul_add([a, b, c], [&minus, &one, &most]).unwrap();
        assert_eq!(result[..], [u64::from((i32::MAX - 128 * 127 * 16) as u32); 64]);
        let result = mul_add([a, b, c], [&minus, &minus, &most]).unwrap();
        assert_eq!(result[..], [u64::from(i32::MAX.wrapping_add(128 * 128 * 16) as u32); 64]);
    }

    #[test]
    fn floats_are_rounded_once() {
        let a = ty(ScalarType::F16, 8, 8, MatrixRole::A);
        let b = ty(ScalarType::F16, 8, 8, MatrixRole::B);
        let c = ty(ScalarType::F32, 8, 8, MatrixRole::Acc);
        let format = FloatFormat::of(ScalarType::F16).unwrap();
        // 2^24 plus eight products of 0.5: added one by one in f32, they would be lost.
        let ones: Matrix = vec![format.encode(1.0); 64].into();
        let small: Matrix = vec![format.encode(0.5); 64].into();
        let large: Matrix = vec![u64::from(16_777_216.0f32.to_bits()); 64].into();
        let result = mul_add([a, b, c], [&ones, &small, &large]).unwrap();
        assert_eq!(result[..], [u64::from(16_777_220.0f32.to_bits()); 64]);
    }

    #[test]
    fn rows_meet_columns() {
        let a = ty(ScalarType::U8, 8, 16, MatrixRole::A);
        let b = ty(ScalarType::U8, 16, 32, MatrixRole::B);
        let c = ty(ScalarType::U32, 8, 32, MatrixRole::Acc);
        let left: Matrix = (0..128).map(|i| u64::from(i == 3 * 16 + 5)).collect();
        let right: Matrix = (0..512).map(|i| (i / 32 * 8 + i % 8) as u64).collect();
        let none: Matrix = vec![0; 256].into();
        let result = mul_add([a, b, c], [&left, &right, &none]).unwrap();
        for (i, bits) in result.iter().enumerate() {
            let wanted = if i / 32 == 3 { right[5 * 32 + i % 32] } else { 0 };
            assert_eq!(*bits, wanted, "component {i}");
        }
        let shape = b.matrix.unwrap();
        assert_eq!(position(shape, MatrixLayout::RowMajor, 5, 7), 5 * 32 + 7);
        assert_eq!(position(shape, MatrixLayout::ColumnMajor, 7, 5), 5 * 32 + 7);
    }
}
