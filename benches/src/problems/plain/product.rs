//! Matrix multiplication by `matrixmultiply`.

use std::array::from_fn;

use rayon::prelude::*;

use super::PlainOn;
use crate::problems::{Problem, data};

pub(super) fn plain_matmul(problem: &Problem) -> PlainOn<[Vec<f32>; 3]> {
    let state = from_fn(|i| data::to_floats(&problem.buffers[i]));
    let run = |[a, b, c]: &mut [Vec<f32>; 3]| {
        let side = c.len().isqrt();
        let rows = side.div_ceil(rayon::current_num_threads()).max(1);
        c.par_chunks_mut(rows * side).zip(a.par_chunks(rows * side)).for_each(|(c, a)| {
            multiply(a, b, c, side);
        });
    };
    PlainOn { state, run, buffers: |state| state.iter().map(|v| data::from_floats(v)).collect() }
}

/// C = A · B, where all rows have `side` numbers, by `matrixmultiply` on one thread.
fn multiply(a: &[f32], b: &[f32], c: &mut [f32], side: usize) {
    let (rows, stride) = (c.len() / side, side as isize);
    assert!(a.len() == c.len() && b.len() == side * side, "the sizes fit");
    // SAFETY: A and C have `rows` rows and B has `side` rows, each of `side` contiguous numbers; C is borrowed
    // exclusively.
    unsafe {
        matrixmultiply::sgemm(
            rows,
            side,
            side,
            1.0,
            a.as_ptr(),
            stride,
            1,
            b.as_ptr(),
            stride,
            1,
            0.0,
            c.as_mut_ptr(),
            stride,
            1,
        );
    }
}
