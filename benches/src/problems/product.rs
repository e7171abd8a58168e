//! Problems of the products of matrices.

use fulgurite::{DeviceSnapshot, LaunchOptions};
use half::f16;

use super::compare::{close, keeps_f16, keeps_f32};
use super::data::{self, Random};
use super::{Problem, Step, Work, text, u32_param};

/// Rows and columns of a product that are compared with plain Rust: all of small ones.
fn picked(count: usize) -> impl Iterator<Item = usize> + Clone {
    (0..count).step_by(if count <= 256 { 1 } else { count / 64 })
}

/// C = A · B, f32, of random numbers.
pub(super) fn matmul_f32(m: u32, n: u32, k: u32) -> Problem {
    let mut random = Random::new(3);
    let mut floats = |rows: u32, columns: u32| random.floats(rows as usize * columns as usize, 1.0);
    let (a, b) = (floats(m, k), floats(k, n));
    matmul_f32_of([m, n, k], a, b)
}

/// C = A · B, f32.
pub(super) fn matmul_f32_of(sizes: [u32; 3], a: Vec<f32>, b: Vec<f32>) -> Problem {
    let buffers = [data::from_floats(&a), data::from_floats(&b)];
    let factors = Factors { a, b, keeps_subnormals: keeps_f32, least_normal: f64::from(f32::MIN_POSITIVE) };
    product("matmul_f32", text!("matmul_f32"), sizes, buffers, factors)
}

/// C = A · B, factors f16, sums f32, of random numbers.
pub(super) fn matmul_f16(m: u32, n: u32, k: u32) -> Problem {
    let mut random = Random::new(7);
    let mut halves = |rows: u32, columns: u32| -> Vec<f16> {
        let floats = random.floats(rows as usize * columns as usize, 1.0);
        floats.into_iter().map(f16::from_f32).collect()
    };
    let (a, b) = (halves(m, k), halves(k, n));
    matmul_f16_of([m, n, k], a, b)
}

/// C = A · B, factors f16, sums f32.
pub(super) fn matmul_f16_of(sizes: [u32; 3], a: Vec<f16>, b: Vec<f16>) -> Problem {
    let bytes = |values: &[f16]| values.iter().flat_map(|v| v.to_le_bytes()).collect();
    let buffers = [bytes(&a), bytes(&b)];
    let factors = Factors { a, b, keeps_subnormals: keeps_f16, least_normal: f16::MIN_POSITIVE.to_f64() };
    product("matmul_f16", text!("matmul_f16"), sizes, buffers, factors)
}

/// Two matrices, row after row, and their type's subnormals.
struct Factors<T> {
    a: Vec<T>,
    b: Vec<T>,
    /// Returns whether a device keeps the subnormals of `T`.
    keeps_subnormals: fn(&DeviceSnapshot) -> bool,
    least_normal: f64,
}

impl<T: Copy + Into<f64>> Factors<T> {
    /// One element of C, and the sum of the magnitudes that were added. The sum of no products is +0, and so is that of
    /// zeros of either sign.
    fn element(&self, [r, c]: [usize; 2], [columns, depth]: [usize; 2], flush: bool) -> (f64, f64) {
        let read = |value: T| {
            let value: f64 = value.into();
            if flush && value.abs() < self.least_normal { 0.0f64.copysign(value) } else { value }
        };
        let products = (0..depth).map(|i| read(self.a[r * depth + i]) * read(self.b[i * columns + c]));
        products.fold((0.0, 0.0), |(sum, size), p| (sum + p, size + p.abs()))
    }

    /// Returns whether `got` is an element of C as a device may compute it.
    fn allows(&self, got: f32, place: [usize; 2], sizes: [usize; 2], device: &DeviceSnapshot) -> bool {
        let near = |(sum, size): (f64, f64)| {
            // What rounding a result loses below the least normal number, or flushing it.
            let unit = f64::from(f32::MIN_POSITIVE);
            let unit = if keeps_f32(device) { unit * f64::from(f32::EPSILON) } else { unit };
            // Each of as many products and additions rounds once, in whatever order. Only zeros have none to round.
            let bound = if size == 0.0 {
                0.0
            } else {
                sizes[1] as f64 * (f64::from(f32::EPSILON) * size + 2.0 * unit)
            };
            close(got, sum, bound)
        };
        near(self.element(place, sizes, false))
            || (!(self.keeps_subnormals)(device) && near(self.element(place, sizes, true)))
    }
}

/// C = A · B of matrices that lie row after row, whose bytes are `a` and `b`; C is f32.
fn product<T: Copy + Into<f64> + 'static>(
    name: &'static str,
    text: &'static str,
    [m, n, k]: [u32; 3],
    [a, b]: [Vec<u8>; 2],
    factors: Factors<T>,
) -> Problem {
    let [rows, columns, depth] = [m, n, k].map(|size| size as usize);
    let check = move |after: &[Vec<u8>], device: &DeviceSnapshot| {
        let out = data::to_floats(&after[2]);
        for r in picked(rows) {
            for c in picked(columns) {
                let got = out[r * columns + c];
                if !factors.allows(got, [r, c], [columns, depth], device) {
                    let (wanted, _) = factors.element([r, c], [columns, depth], false);
                    return Err(format!("element ({r}, {c}) is {got:e}, not {wanted:e}"));
                }
            }
        }
        Ok(())
    };
    Problem {
        name,
        size: format!("{m} × {k} · {k} × {n}"),
        buffers: vec![a, b, vec![0; rows * columns * 4]],
        reset: Vec::new(),
        steps: vec![Step {
            name,
            text,
            buffers: vec![0, 1, 2],
            params: [m, n, k].map(u32_param).to_vec(),
            options: LaunchOptions::workgroups([n / 128, m / 128, 1]),
        }],
        work: Work::Operations(2.0 * f64::from(m) * f64::from(n) * f64::from(k)),
        check: Box::new(check),
    }
}
