//! Problems of matrix multiplication.

use std::borrow::Cow;

use fulgurite::{DeviceSnapshot, LaunchOptions, ScalarType};
use fulgurite_conformance::special::{is_sum_of_products, sum_of_products};
use half::f16;

use super::data::{self, Random};
use super::{Problem, Step, Work, text, u32_param};

/// Returns the rows or columns of a product that are compared with plain Rust: all of small products, a sample of large
/// ones.
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
    product("matmul_f32", ScalarType::F32, text!("matmul_f32"), sizes, buffers, [a, b])
}

/// C = A · B with f16 factors and f32 sums, of random numbers.
pub(super) fn matmul_f16(m: u32, n: u32, k: u32) -> Problem {
    let mut random = Random::new(7);
    let mut halves = |rows: u32, columns: u32| -> Vec<f16> {
        let floats = random.floats(rows as usize * columns as usize, 1.0);
        floats.into_iter().map(f16::from_f32).collect()
    };
    let (a, b) = (halves(m, k), halves(k, n));
    matmul_f16_of([m, n, k], a, b)
}

/// C = A · B with f16 factors and f32 sums.
pub(super) fn matmul_f16_of(sizes: [u32; 3], a: Vec<f16>, b: Vec<f16>) -> Problem {
    let bytes = |values: &[f16]| values.iter().flat_map(|v| v.to_le_bytes()).collect();
    let buffers = [bytes(&a), bytes(&b)];
    product("matmul_f16", ScalarType::F16, text!("matmul_f16"), sizes, buffers, [a, b])
}

/// C = A · B of row-major matrices of `ty`, given as bytes and as numbers; C is f32.
fn product<T: Copy + Into<f64> + 'static>(
    name: &'static str,
    ty: ScalarType,
    text: Cow<'static, str>,
    [m, n, k]: [u32; 3],
    [a_bytes, b_bytes]: [Vec<u8>; 2],
    [a, b]: [Vec<T>; 2],
) -> Problem {
    let [rows, columns, depth] = [m, n, k].map(|size| size as usize);
    let check = move |after: &[Vec<u8>], device: &DeviceSnapshot| {
        let out = data::to_floats(&after[2]);
        for r in picked(rows) {
            for c in picked(columns) {
                let got = out[r * columns + c];
                let pairs = (0..depth).map(|i| (a[r * depth + i].into(), b[i * columns + c].into()));
                if !is_sum_of_products(got, pairs.clone(), ty, device) {
                    let wanted = sum_of_products(pairs);
                    return Err(format!("element ({r}, {c}) is {got:e}, not {wanted:e}"));
                }
            }
        }
        Ok(())
    };
    Problem {
        name,
        size: format!("{m} × {k} · {k} × {n}"),
        buffers: vec![a_bytes, b_bytes, vec![0; rows * columns * 4]],
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
