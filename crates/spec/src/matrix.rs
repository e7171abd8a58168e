//! Shapes of cooperative matrices, which all invocations of a subgroup or workgroup hold collectively.

use core::fmt;

use crate::types::{ScalarType, TypeSet};

crate::numbered_words! {
    /// The role of a matrix in `coop.mul_add`, which determines its representation on devices.
    MatrixRole {
        /// Left factor, M × K.
        A 0 "a",
        /// Right factor, K × N.
        B 1 "b",
        /// Addend and result, M × N.
        Acc 2 "acc",
    }
    /// The invocations that hold a matrix.
    MatrixScope {
        /// All invocations of a subgroup.
        Subgroup 0 "subgroup",
        /// All invocations of a workgroup.
        Workgroup 1 "workgroup",
    }
    /// The order of a matrix's components in memory.
    MatrixLayout {
        /// Row by row.
        RowMajor 0 "row_major",
        /// Column by column.
        ColumnMajor 1 "column_major",
    }
}

/// The type of a cooperative matrix, without its component type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MatrixShape {
    /// Rows.
    pub rows: u16,
    /// Columns.
    pub cols: u16,
    /// Role in `coop.mul_add`.
    pub role: MatrixRole,
    /// Scope.
    pub scope: MatrixScope,
}

/// Number of the first shape; lower numbers are component counts.
const FIRST: u8 = 40;
/// Number of possible sides: 2³ to 2⁸.
const SIDES: u8 = 6;

impl MatrixShape {
    /// The possible component types of matrices.
    pub const COMPONENTS: TypeSet = TypeSet::of(ScalarType::I8)
        .union(TypeSet::of(ScalarType::U8))
        .union(TypeSet::INTEGER32)
        .union(TypeSet::FLOAT);

    /// Creates a shape without validation.
    pub const fn new(rows: u16, cols: u16, role: MatrixRole, scope: MatrixScope) -> Self {
        Self { rows, cols, role, scope }
    }

    /// Returns whether the language has this shape: rows and columns are powers of two from
    /// [`MIN_MATRIX_SIDE`](crate::limits::MIN_MATRIX_SIDE) to [`MAX_MATRIX_SIDE`](crate::limits::MAX_MATRIX_SIDE).
    pub fn is_known(self) -> bool {
        self.number() != 0
    }

    /// Returns the number of components.
    pub fn components(self) -> u32 {
        u32::from(self.rows) * u32::from(self.cols)
    }

    /// Returns the number of lines in memory and the components per line. Lines are rows, or columns in column-major
    /// layout.
    pub fn lines(self, layout: MatrixLayout) -> (u32, u32) {
        let (rows, cols) = (u32::from(self.rows), u32::from(self.cols));
        match layout {
            MatrixLayout::RowMajor => (rows, cols),
            MatrixLayout::ColumnMajor => (cols, rows),
        }
    }

    /// Returns the permanent number, which is used in digests, and in the wire format in place of a component count; 0
    /// if the language does not have this shape.
    pub fn number(self) -> u8 {
        let side = |count: u16| {
            let log = count.trailing_zeros() as u8;
            (count.is_power_of_two() && (3..3 + SIDES).contains(&log)).then(|| log - 3)
        };
        match (side(self.rows), side(self.cols)) {
            (Some(rows), Some(cols)) => {
                let kind = 2 * self.role.number() + self.scope.number();
                FIRST + (kind * SIDES + rows) * SIDES + cols
            }
            _ => 0,
        }
    }

    /// Returns the shape with this number.
    pub fn from_number(number: u8) -> Option<Self> {
        let number = number.checked_sub(FIRST)?;
        let (kind, rows, cols) = (number / (SIDES * SIDES), number / SIDES % SIDES, number % SIDES);
        Some(Self {
            rows: 8 << rows,
            cols: 8 << cols,
            role: MatrixRole::from_number(kind / 2)?,
            scope: MatrixScope::from_number(kind % 2)?,
        })
    }
}

/// Prints the shape as in a type name: `16x16, a, subgroup`.
impl fmt::Display for MatrixShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}, {}, {}", self.rows, self.cols, self.role.name(), self.scope.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Type;

    #[test]
    fn shape_numbers_round_trip() {
        let mut seen = 0;
        for number in 0..=u8::MAX {
            let Some(shape) = MatrixShape::from_number(number) else { continue };
            assert_eq!(shape.number(), number);
            assert!(shape.is_known());
            seen += 1;
        }
        assert_eq!(seen, 216);
        assert_eq!(MatrixShape::from_number(4), None);
        let shape = |rows, cols| MatrixShape::new(rows, cols, MatrixRole::A, MatrixScope::Subgroup);
        assert_eq!(shape(8, 8).number(), 40);
        assert_eq!(shape(16, 256).number(), 51);
        for (rows, cols) in [(4, 8), (512, 8), (12, 16), (16, 0), (0, 0)] {
            assert!(!shape(rows, cols).is_known());
        }
    }

    #[test]
    fn matrix_types_round_trip() {
        let shape = MatrixShape::new(16, 32, MatrixRole::Acc, MatrixScope::Workgroup);
        let ty = Type::matrix_of(ScalarType::F32, shape);
        assert_eq!(ty.to_string(), "coopmat<f32, 16x32, acc, workgroup>");
        assert_eq!(Type::parse(&ty.to_string()), Some(ty));
        assert!(!ty.is_scalar() && !ty.is_storable() && ty.size() == 0);
        assert!(Type::all().all(|t| t.matrix.is_none()));
        for bad in ["coopmat<f32>", "coopmat<f32, 16, a, subgroup>", "coopmat<f32, 16x16, c, subgroup>"] {
            assert_eq!(Type::parse(bad), None);
        }
    }
}
