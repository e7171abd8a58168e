//! Problem sizes and their text form.

use std::fmt;
use std::str::FromStr;

/// The length of a vector, such as `1000` or `2^20`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Length(pub u32);

/// The size of a matrix, `rows x columns`, such as `4096x1024`; `4096` is square.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Matrix {
    /// Rows.
    pub rows: u32,
    /// Columns.
    pub columns: u32,
}

/// The sizes of a product of an M × K and a K × N matrix, `MxNxK`, such as `4096x4096x512`; `4096` stands for three
/// equal sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Product {
    /// Rows of the left factor and of the product.
    pub m: u32,
    /// Columns of the right factor and of the product.
    pub n: u32,
    /// Columns of the left factor, rows of the right.
    pub k: u32,
}

fn size(text: &str) -> Result<u32, String> {
    let text = text.trim();
    let value = match text.strip_prefix("2^") {
        Some(power) => power.parse::<u32>().ok().and_then(|power| 1u32.checked_shl(power)),
        None => text.parse::<u32>().ok(),
    };
    value.filter(|value| *value > 0).ok_or_else(|| format!("`{text}` is not a size from 1 to 2^32 - 1"))
}

fn sizes<const N: usize>(text: &str) -> Result<[u32; N], String> {
    let all = text.split(['x', '×']).map(size).collect::<Result<Vec<_>, _>>()?;
    match (all.len(), <[u32; N]>::try_from(all.clone())) {
        (1, _) => Ok([all[0]; N]),
        (_, Ok(all)) => Ok(all),
        (count, Err(_)) => Err(format!("expected 1 or {N} sizes, such as 64 or 64x64, got {count}")),
    }
}

impl FromStr for Length {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        sizes(text).map(|[length]| Self(length))
    }
}

impl FromStr for Matrix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        sizes(text).map(|[rows, columns]| Self { rows, columns })
    }
}

impl FromStr for Product {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        sizes(text).map(|[m, n, k]| Self { m, n, k })
    }
}

impl fmt::Display for Length {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Matrix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.rows, self.columns)
    }
}

impl fmt::Display for Product {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}x{}", self.m, self.n, self.k)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_round_trip() {
        assert_eq!("2^20".parse(), Ok(Length(1 << 20)));
        assert_eq!("12x7".parse(), Ok(Matrix { rows: 12, columns: 7 }));
        assert_eq!("64".parse(), Ok(Matrix { rows: 64, columns: 64 }));
        assert_eq!("1 × 2 x 2^3".parse(), Ok(Product { m: 1, n: 2, k: 8 }));
        let product = Product { m: 3, n: 4, k: 5 };
        assert_eq!(product.to_string().parse(), Ok(product));
        for bad in ["", "0", "x", "1x2", "1x2x3x4", "-1", "2^32", "2^", "1.5"] {
            assert!(bad.parse::<Product>().is_err(), "{bad}");
        }
    }
}
