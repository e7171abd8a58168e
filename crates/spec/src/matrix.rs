//! The shape of cooperative matrices: values that all invocations of a subgroup or workgroup hold together.

use core::fmt;

use crate::types::{ScalarType, TypeSet};

crate::numbered_words! {
    /// What a matrix may be in `coop.mul_add`: devices keep each in a way of its own.
    MatrixRole {
        /// The left factor, M × K.
        A 0 "a",
        /// The right factor, K × N.
        B 1 "b",
        /// What is added to, and the result, M × N.
        Acc 2 "acc",
    }
    /// Whose invocations hold a matrix together.
    MatrixScope {
        /// Those of a subgroup.
        Subgroup 0 "subgroup",
        /// Those of a workgroup.
        Workgroup 1 "workgroup",
    }
    /// How the components of a matrix follow one another in memory.
    MatrixLayout {
        /// Row after row.
        RowMajor 0 "row_major",
        /// Column after column.
        ColumnMajor 1 "column_major",
    }
}

/// What a cooperative matrix is besides its component type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MatrixShape {
    /// Rows.
    pub rows: u16,
    /// Columns.
    pub cols: u16,
    /// What it may be in `coop.mul_add`.
    pub role: MatrixRole,
    /// Who holds it.
    pub scope: MatrixScope,
}

/// The number of the first shape; below are numbers of components.
const FIRST: u8 = 40;
/// The numbers of rows or columns that there are: 2³ to 2⁸.
const SIDES: u8 = 6;

impl MatrixShape {
    /// The component types that matrices may have.
    pub const COMPONENTS: TypeSet = TypeSet::of(ScalarType::I8)
        .union(TypeSet::of(ScalarType::U8))
        .union(TypeSet::INTEGER32)
        .union(TypeSet::FLOAT);

    /// A shape; nothing is checked.
    pub const fn new(rows: u16, cols: u16, role: MatrixRole, scope: MatrixScope) -> Self {
        Self { rows, cols, role, scope }
    }

    /// Whether the language has such a shape: rows and columns are powers of two from
    /// [`MIN_MATRIX_SIDE`](crate::limits::MIN_MATRIX_SIDE) to [`MAX_MATRIX_SIDE`](crate::limits::MAX_MATRIX_SIDE).
    pub fn is_known(self) -> bool {
        self.number() != 0
    }

    /// The number of components.
    pub fn components(self) -> u32 {
        u32::from(self.rows) * u32::from(self.cols)
    }

    /// How many lines of how many components it is in memory: rows, or columns if it lies column after column.
    pub fn lines(self, layout: MatrixLayout) -> (u32, u32) {
        let (rows, cols) = (u32::from(self.rows), u32::from(self.cols));
        match layout {
            MatrixLayout::RowMajor => (rows, cols),
            MatrixLayout::ColumnMajor => (cols, rows),
        }
    }

    /// The permanent number, which goes into digests and the wire format, where it stands in place of a number of
    /// components; 0 for a shape that the language does not have.
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

    /// The shape of this number.
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

/// Prints what follows the component type: `16x16, a, subgroup`.
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
    fn numbers_of_shapes_read_back() {
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
    fn matrix_types_print_and_read_back() {
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
