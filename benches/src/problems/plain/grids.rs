//! Numbers on grids: transpose, box blur, heat equation, Mandelbrot set.

use std::array::from_fn;

use fulgurite::spec::eval;
use fulgurite::{DeviceSnapshot, LaunchOptions, Literal};
use fulgurite_conformance::special::close;
use rayon::prelude::*;

use super::PlainOn;
use crate::problems::data::{self, Random};
use crate::problems::{Problem, Step, Work, text, u32_param};

/// Rows and columns of a tile. The fastest of 8 to 128 for 4096 × 4096 numbers.
const TILE: usize = 64;

pub(super) fn plain_transpose(problem: &Problem) -> PlainOn<[Vec<u32>; 2]> {
    let state = from_fn(|i| data::to_words(&problem.buffers[i]));
    let run = |[x, y]: &mut [Vec<u32>; 2]| {
        let side = x.len().isqrt();
        y.par_chunks_mut(TILE * side).enumerate().for_each(|(band, y)| {
            for first in (0..side).step_by(TILE) {
                for (column, line) in y.chunks_exact_mut(side).enumerate() {
                    let from = first * side + band * TILE + column;
                    for (row, to) in line[first..first + TILE].iter_mut().enumerate() {
                        *to = x[from + row * side];
                    }
                }
            }
        });
    };
    PlainOn { state, run, buffers: |state| state.iter().map(|v| data::from_words(v)).collect() }
}

/// y = the means over 3 × 3 neighborhoods of a square of random numbers.
pub(super) fn box_blur(side: u32) -> Problem {
    let input = Random::new(10).floats((side * side) as usize, 1.0);
    let bytes = data::from_floats(&input);
    let out = vec![0; bytes.len()];
    let check = move |after: &[Vec<u8>], _: &DeviceSnapshot| {
        let last = side as isize - 1;
        for (i, got) in data::to_floats(&after[1]).into_iter().enumerate() {
            let x = |row: isize, column: isize| {
                input[(row.clamp(0, last) * (last + 1) + column.clamp(0, last)) as usize]
            };
            let (row, column) = (i as isize / (last + 1), i as isize % (last + 1));
            let near = (-1..=1).flat_map(|r| (-1..=1).map(move |c| f64::from(x(row + r, column + c))));
            // Eight sums of magnitudes up to 9, each rounded, and a ninth of it: within 5e-7.
            let wanted = near.sum::<f64>() / 9.0;
            if !close(got, wanted, 1e-6) {
                return Err(format!("element {i} is {got:e}, not {wanted:e}"));
            }
        }
        Ok(())
    };
    Problem {
        name: "box_blur",
        size: format!("{side} × {side} f32"),
        buffers: vec![bytes, out],
        reset: Vec::new(),
        steps: vec![Step {
            name: "box_blur",
            text: text!("/kernels/", "box_blur"),
            buffers: vec![0, 1],
            params: vec![u32_param(side); 2],
            options: LaunchOptions::invocations([side, side, 1]),
        }],
        work: Work::Bytes(u64::from(side) * u64::from(side) * 8),
        check: Box::new(check),
    }
}

/// Returns the mean of the 3 × 3 neighborhood of a number.
fn blurred(x: &[f32], side: usize, row: usize, column: usize) -> f32 {
    let near = |at: usize| [at.saturating_sub(1), at, (at + 1).min(side - 1)];
    let mut sum = 0.0;
    for r in near(row) {
        for c in near(column) {
            sum += x[r * side + c];
        }
    }
    sum * 0.111_111_11
}

pub(super) fn plain_box_blur(problem: &Problem) -> PlainOn<[Vec<f32>; 2]> {
    let state = from_fn(|i| data::to_floats(&problem.buffers[i]));
    let run = |[x, y]: &mut [Vec<f32>; 2]| {
        let side = x.len().isqrt();
        y.par_chunks_mut(side).enumerate().for_each(|(row, y)| {
            let near = [row.saturating_sub(1), row, (row + 1).min(side - 1)];
            let [above, here, below] = near.map(|row| &x[row * side..][..side]);
            for column in [0, side - 1] {
                y[column] = blurred(x, side, row, column);
            }
            for i in 1..side - 1 {
                let over = above[i - 1] + above[i] + above[i + 1];
                let beside = here[i - 1] + here[i] + here[i + 1];
                let under = below[i - 1] + below[i] + below[i + 1];
                y[i] = (over + beside + under) * 0.111_111_11;
            }
        });
    };
    PlainOn { state, run, buffers: |state| state.iter().map(|v| data::from_floats(v)).collect() }
}

/// Share of the difference to its neighbors by which a number changes in a step of the heat equation.
const RATE: f32 = 0.2;

/// A step of the heat equation on a square of random numbers.
pub(super) fn heat(side: u32) -> Problem {
    let input = Random::new(14).floats((side * side) as usize, 1.0);
    let bytes = data::from_floats(&input);
    let out = vec![0; bytes.len()];
    let check = move |after: &[Vec<u8>], _: &DeviceSnapshot| {
        let side = side as usize;
        for (i, got) in data::to_floats(&after[1]).into_iter().enumerate() {
            let x = |i: usize| f64::from(input[i]);
            let (row, column) = (i / side, i % side);
            let is_edge = [row, column].iter().any(|at| *at == 0 || at + 1 == side);
            // A number at an edge is moved. Elsewhere six roundings of magnitudes up to 8, of which the rate keeps a
            // fifth, are within 1e-6.
            let (wanted, bound) = if is_edge {
                (x(i), 0.0)
            } else {
                let around = x(i - 1) + x(i + 1) + x(i - side) + x(i + side);
                (x(i) + f64::from(RATE) * (around - 4.0 * x(i)), 1e-6)
            };
            if !close(got, wanted, bound) {
                return Err(format!("element ({row}, {column}) is {got:e}, not {wanted:e}"));
            }
        }
        Ok(())
    };
    Problem {
        name: "heat",
        size: format!("{side} × {side} f32"),
        buffers: vec![bytes, out],
        reset: Vec::new(),
        steps: vec![Step {
            name: "heat",
            text: text!("/kernels/", "heat"),
            buffers: vec![0, 1],
            params: vec![u32_param(side), u32_param(side), eval::splat_low(Literal::from(RATE).bits)],
            options: LaunchOptions::invocations([side, side, 1]),
        }],
        work: Work::Bytes(u64::from(side) * u64::from(side) * 8),
        check: Box::new(check),
    }
}

pub(super) fn plain_heat(problem: &Problem) -> PlainOn<[Vec<f32>; 2]> {
    let state = from_fn(|i| data::to_floats(&problem.buffers[i]));
    let run = |[x, y]: &mut [Vec<f32>; 2]| {
        let side = x.len().isqrt();
        y.par_chunks_mut(side).enumerate().for_each(|(row, y)| {
            let here = &x[row * side..][..side];
            if row == 0 || row + 1 == side {
                return y.copy_from_slice(here);
            }
            let (above, below) = (&x[(row - 1) * side..][..side], &x[(row + 1) * side..][..side]);
            (y[0], y[side - 1]) = (here[0], here[side - 1]);
            for i in 1..side - 1 {
                let around = (here[i - 1] + here[i + 1]) + (above[i] + below[i]);
                y[i] = here[i] + (around - 4.0 * here[i]) * RATE;
            }
        });
    };
    PlainOn { state, run, buffers: |state| state.iter().map(|v| data::from_floats(v)).collect() }
}

/// Number of steps after which a point counts as inside the Mandelbrot set.
const STEPS: u32 = 200;

/// Returns the number of steps until a point's magnitude exceeds 2.
fn escapes(side: usize, i: usize, j: usize) -> u32 {
    let scale = 3.0 / side as f32;
    let re = i as f32 * scale - 2.25;
    let im = (j as f32 - side as f32 * 0.5) * scale;
    let (mut a, mut b, mut n) = (0.0f32, 0.0f32, 0);
    while n < STEPS && a * a + b * b <= 4.0 {
        (a, b, n) = (a * a - b * b + re, a * b * 2.0 + im, n + 1);
    }
    n
}

/// Returns the same number, computed in f64 and rounded after each operation. Sums, differences and products of f32 that
/// are rounded twice in this way are those that are rounded once.
fn exact_steps(side: usize, i: usize, j: usize) -> u32 {
    let rounded = |x: f64| f64::from(x as f32);
    let scale = rounded(3.0 / side as f64);
    let re = rounded(rounded(i as f64 * scale) - 2.25);
    let im = rounded((j as f64 - side as f64 / 2.0) * scale);
    let (mut a, mut b) = (0.0, 0.0);
    for n in 0..STEPS {
        let (aa, bb) = (rounded(a * a), rounded(b * b));
        if rounded(aa + bb) > 4.0 {
            return n;
        }
        (a, b) = (rounded(rounded(aa - bb) + re), rounded(2.0 * rounded(a * b) + im));
    }
    STEPS
}

/// The Mandelbrot set on a square grid.
pub(super) fn mandelbrot(side: u32) -> Problem {
    let check = move |after: &[Vec<u8>], _: &DeviceSnapshot| {
        let side = side as usize;
        for (at, got) in data::to_words(&after[0]).into_iter().enumerate() {
            let wanted = exact_steps(side, at % side, at / side);
            if got != wanted {
                return Err(format!("pixel ({}, {}) takes {got} steps, not {wanted}", at % side, at / side));
            }
        }
        Ok(())
    };
    Problem {
        name: "mandelbrot",
        size: format!("{side} × {side}"),
        buffers: vec![vec![0; (side * side) as usize * 4]],
        reset: Vec::new(),
        steps: vec![Step {
            name: "mandelbrot",
            text: text!("/kernels/", "mandelbrot"),
            buffers: vec![0],
            params: vec![
                u32_param(side),
                u32_param(side),
                u32_param(STEPS),
                eval::splat_low(Literal::from(3.0 / side as f32).bits),
            ],
            options: LaunchOptions::invocations([side, side, 1]),
        }],
        work: Work::Elements(u64::from(side) * u64::from(side)),
        check: Box::new(check),
    }
}

pub(super) fn plain_mandelbrot(problem: &Problem) -> PlainOn<Vec<u32>> {
    let state = data::to_words(&problem.buffers[0]);
    let run = |counts: &mut Vec<u32>| {
        let side = counts.len().isqrt();
        counts.par_chunks_mut(side).enumerate().for_each(|(j, row)| {
            row.iter_mut().enumerate().for_each(|(i, count)| *count = escapes(side, i, j));
        });
    };
    PlainOn { state, run, buffers: |state| vec![data::from_words(state)] }
}
