//! Matrix products C = A · B in row-major order, in several types. This module has their common sizes and reference
//! check.
//!
//! Each element of C is a sum of products that starts with +0, so zeros of either sign add up to +0. Infinities and
//! NaNs in A affect only their row of C, those in B only their column: 0 × ∞ and ∞ − ∞ are NaN.

mod f16;
mod f32;
mod side;

use fulgurite_autotune::{Argument, Check, Mismatch, Numbers, Work};
use fulgurite_ir::builder::{Array, Builder, ReadAccess, Storable, Val, WriteAccess};
use rayon::prelude::*;

use crate::numbers::{Random, first_of, floats};
use crate::problem::Product;

pub use f16::{MatmulF16, MatmulF16Config};
pub use f32::{MatmulF32, MatmulF32Config};

/// Returns the largest integer factor for which all sums of `depth` products are exact in f32, that is, at most 2^24.
fn most_exact(depth: u32) -> u32 {
    // f16 represents all integers up to 2048.
    (f64::from(1 << 24) / f64::from(depth)).sqrt().clamp(1.0, 2048.0) as u32
}

/// Requires that M, N and K are the given multiples, that K is at most 2^20, that A, B and C have matching lengths, and
/// that each has at least `vector` elements, so that it has a last vector.
fn require_sizes<'k, T: Storable>(
    k: &'k Builder,
    [m, n, depth]: [Val<'k, u32>; 3],
    multiples: [u32; 3],
    [a, b]: [Array<'k, T, ReadAccess, u32>; 2],
    c: Array<'k, f32, WriteAccess, u32>,
    vector: u32,
) {
    for (size, multiple) in [m, n, depth].into_iter().zip(multiples) {
        k.require(|_| (size % multiple).eq(0));
    }
    k.require(|_| depth.le(1 << 20));
    k.require(|_| (m * depth).eq(a.len()));
    k.require(|_| (depth * n).eq(b.len()));
    k.require(|_| (m * n).eq(c.len()));
    k.require(|_| a.len().ge(vector));
    k.require(|_| b.len().ge(vector));
    k.require(|_| c.len().ge(vector));
}

/// Returns the arguments A, B and C, with factors of `bytes` bytes and f32 sums.
fn arguments(problem: &Product, bytes: u64) -> Vec<Argument> {
    let [m, n, k] = [problem.m, problem.n, problem.k].map(u64::from);
    vec![Argument::input(m * k * bytes), Argument::input(k * n * bytes), Argument::output(m * n * 4)]
}

fn work(problem: &Product) -> Work {
    Work::Operations(2.0 * f64::from(problem.m) * f64::from(problem.n) * f64::from(problem.k))
}

/// Checks that C = A · B. For integers, the whole of C in time proportional to its size: C · x = A · (B · x) holds for
/// a random x only by chance if C is wrong (R. Freivalds, "Probabilistic machines can use less running time", 1977).
/// Otherwise, some rows and columns, each sum within the rounding error of its additions.
fn check<T: Copy + Into<f32> + Send + Sync + 'static>(
    problem: &Product,
    numbers: Numbers,
    seed: u64,
    a: Vec<T>,
    b: Vec<T>,
) -> Check {
    let (m, n, k) = (problem.m as usize, problem.n as usize, problem.k as usize);
    match numbers {
        Numbers::Exact => {
            let mut random = Random::new(seed ^ 0x5eed);
            let x: Vec<i64> = (0..n).map(|_| i64::from(random.whole(1 << 14))).collect();
            let bx = times(&b, &x, whole);
            let abx = times(&a, &bx, whole);
            Box::new(move |outputs| {
                let c = floats(&outputs[0]);
                let wrong = first_of(m.min(c.len() / n), |row| {
                    let line = &c[row * n..row * n + n];
                    let sum = line.iter().zip(&x).fold(0i64, |sum, (c, x)| {
                        // `all_whole` catches non-integers. Infinities saturate, and go undetected with a probability
                        // below 2^-14.
                        sum.wrapping_add((*c as i64).wrapping_mul(*x))
                    });
                    let all_whole = line.iter().all(|c| *c == c.trunc());
                    let right = sum == abx[row] && all_whole;
                    (!right).then(|| first_difference(&a, &b, line, row, n, k))
                });
                if let Some(wrong) = wrong {
                    return Err(wrong);
                }
                if c.len() == m * n { Ok(()) } else { Err(Mismatch::at(0, m * n, c.len())) }
            })
        }
        Numbers::Random => Box::new(move |outputs| {
            let c = floats(&outputs[0]);
            let rows: Vec<usize> = picked(m).collect();
            let wrong = first_of(rows.len(), |at| {
                picked(n).find_map(|column| {
                    let row = rows[at];
                    let (mut sum, mut size) = (0.0, 0.0);
                    for i in 0..k {
                        let product = real(a[row * k + i]) * real(b[i * n + column]);
                        sum += product;
                        size += product.abs();
                    }
                    let got = f64::from(c[row * n + column]);
                    let right = (got - sum).abs() <= k as f64 * f64::from(f32::EPSILON) * size;
                    (!right).then(|| Mismatch::at((row * n + column) as u64, sum, got))
                })
            });
            wrong.map_or(Ok(()), Err)
        }),
    }
}

fn whole<T: Into<f32>>(value: T) -> i64 {
    let value: f32 = value.into();
    value as i64
}

fn real<T: Into<f32>>(value: T) -> f64 {
    f64::from(value.into())
}

/// Multiplies a matrix by a vector.
fn times<T: Copy + Sync>(matrix: &[T], x: &[i64], value: impl Fn(T) -> i64 + Sync) -> Vec<i64> {
    let row = |line: &[T]| {
        line.iter().zip(x).fold(0i64, |sum, (a, x)| sum.wrapping_add(value(*a).wrapping_mul(*x)))
    };
    matrix.par_chunks(x.len()).map(row).collect()
}

/// Returns the first wrong element of a row of C.
fn first_difference<T: Copy + Into<f32>>(
    a: &[T],
    b: &[T],
    line: &[f32],
    row: usize,
    n: usize,
    k: usize,
) -> Mismatch {
    let element = |column: usize| (row * n + column) as u64;
    for (column, got) in line.iter().enumerate() {
        let sum: i64 = (0..k).map(|i| whole(a[row * k + i]) * whole(b[i * n + column])).sum();
        if f64::from(*got) != sum as f64 {
            return Mismatch::at(element(column), sum, got);
        }
    }
    Mismatch::at(element(0), "a correct row", "an incorrect one")
}

/// Returns the rows or columns to compare: all of a few, or about 50 of many.
fn picked(count: usize) -> impl Iterator<Item = usize> + Clone {
    (0..count).step_by((count / 48).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn product(m: usize, n: usize, k: usize, a: &[f32], b: &[f32]) -> Vec<f32> {
        let mut c = vec![0.0; m * n];
        for (at, c) in c.iter_mut().enumerate() {
            *c = (0..k).map(|i| a[at / n * k + i] * b[i * n + at % n]).sum();
        }
        c
    }

    #[test]
    fn correct_products_pass_and_each_wrong_element_is_found() {
        let (m, n, k) = (5, 7, 9);
        let problem = Product { m: 5, n: 7, k: 9 };
        for numbers in [Numbers::Exact, Numbers::Random] {
            let mut random = Random::new(3);
            let (a, b) = (random.floats(m * k, numbers, 50), random.floats(k * n, numbers, 50));
            let c = product(m, n, k, &a, &b);
            let check = check(&problem, numbers, 1, a, b);
            let look = |c: &[f32]| check(&[crate::numbers::bytes(c)]);
            assert_eq!(look(&c), Ok(()));
            for at in 0..m * n {
                for wrong in [c[at] + 1.0, -c[at] - 0.5, f32::NAN, f32::INFINITY] {
                    let mut other = c.clone();
                    other[at] = wrong;
                    assert_eq!(look(&other).map_err(|mismatch| mismatch.element), Err(at as u64));
                }
            }
        }
    }

    #[test]
    fn integers_are_exact_at_every_depth() {
        for depth in [1, 16, 4096, 8192, 1 << 20] {
            let most = u64::from(most_exact(depth));
            assert!(most >= 1 && (most * most * u64::from(depth) <= 1 << 24 || most == 1), "{depth}");
            assert!(most <= 2048);
        }
    }
}
