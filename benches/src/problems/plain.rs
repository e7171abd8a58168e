//! Various workloads, as kernels and as plain Rust on all threads of rayon.

use std::array::from_fn;

use fulgurite::spec::eval;
use fulgurite::{DeviceSnapshot, LaunchOptions, Literal};
use fulgurite_conformance::special::close;
use rayon::prelude::*;

use super::data::{self, Random};
use super::{Problem, Scale, Step, Work, matmul_f32, saxpy, text, u32_param};

/// A plain Rust implementation of a problem.
pub trait Plain {
    /// Runs it.
    fn run(&mut self);
    /// Returns the expected contents of the problem's buffers.
    fn buffers(&self) -> Vec<Vec<u8>>;
}

/// A problem with a plain Rust implementation.
#[derive(Clone, Copy, Debug)]
pub struct Rival {
    /// Name of the workload.
    pub name: &'static str,
    /// Name of the peer.
    pub peer: &'static str,
    /// Problem size for each scale.
    sizes: [u32; 4],
    make: fn(u32) -> (Problem, Box<dyn Plain>),
}

impl Rival {
    /// Returns the name with the problem size.
    pub fn name(&self, scale: Scale) -> String {
        format!("{}, {}", self.name, scale.pick(self.sizes))
    }

    /// Returns the problem and its plain Rust implementation.
    pub fn make(&self, scale: Scale) -> (Problem, Box<dyn Plain>) {
        (self.make)(scale.pick(self.sizes))
    }
}

/// Returns all of them.
pub fn rivals() -> [Rival; 6] {
    let rival = |name, peer, sizes, make| Rival { name, peer, sizes, make };
    [
        rival("saxpy", "rayon", [1000, 1 << 20, 1 << 24, 1 << 26], |count| with(saxpy(count), plain_saxpy)),
        rival("box blur", "rayon", [32, 512, 2048, 8192], |side| with(box_blur(side), plain_box_blur)),
        rival("matmul", "matrixmultiply", [128, 512, 512, 2048], |side| {
            with(matmul_f32(side, side, side), plain_matmul)
        }),
        rival("histogram", "rayon", [4096, 1 << 20, 1 << 24, 1 << 26], |count| {
            with(histogram(count), plain_histogram)
        }),
        rival("n-body", "rayon", [100, 1024, 4096, 16384], |count| with(n_body(count), plain_n_body)),
        rival("mandelbrot", "rayon", [48, 256, 1024, 4096], |side| with(mandelbrot(side), plain_mandelbrot)),
    ]
}

/// A plain Rust implementation with its state.
struct PlainOn<S> {
    state: S,
    run: fn(&mut S),
    buffers: fn(&S) -> Vec<Vec<u8>>,
}

impl<S> Plain for PlainOn<S> {
    fn run(&mut self) {
        (self.run)(&mut self.state);
    }

    fn buffers(&self) -> Vec<Vec<u8>> {
        (self.buffers)(&self.state)
    }
}

/// Returns a problem, and a plain Rust implementation with the same input.
fn with<S: 'static>(problem: Problem, plain: fn(&Problem) -> PlainOn<S>) -> (Problem, Box<dyn Plain>) {
    let plain = plain(&problem);
    (problem, Box::new(plain))
}

/// Elements per rayon task, enough to outweigh its overhead.
const PART: usize = 1 << 13;

fn plain_saxpy(problem: &Problem) -> PlainOn<[Vec<f32>; 2]> {
    let state = from_fn(|i| data::to_floats(&problem.buffers[i]));
    let run = |[x, y]: &mut [Vec<f32>; 2]| {
        y.par_chunks_mut(PART).zip(x.par_chunks(PART)).for_each(|(y, x)| {
            for (y, x) in y.iter_mut().zip(x) {
                *y += 3.0 * x;
            }
        });
    };
    PlainOn { state, run, buffers: |state| state.iter().map(|v| data::from_floats(v)).collect() }
}

/// y = the means over 3 × 3 neighborhoods of a square of random numbers.
fn box_blur(side: u32) -> Problem {
    let input = Random::new(10).floats((side * side) as usize, 1.0);
    let bytes = data::from_floats(&input);
    let out = vec![0; bytes.len()];
    let check = move |after: &[Vec<u8>], _: &DeviceSnapshot| {
        for (i, got) in data::to_floats(&after[1]).into_iter().enumerate() {
            let wanted = blurred(&input, side as usize, i / side as usize, i % side as usize);
            if !close(got, f64::from(wanted), 1e-6) {
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

fn plain_box_blur(problem: &Problem) -> PlainOn<[Vec<f32>; 2]> {
    let state = from_fn(|i| data::to_floats(&problem.buffers[i]));
    let run = |[x, y]: &mut [Vec<f32>; 2]| {
        let side = x.len().isqrt();
        y.par_chunks_mut(side).enumerate().for_each(|(row, y)| {
            let rows = [row.saturating_sub(1), row, (row + 1).min(side - 1)].map(|r| &x[r * side..][..side]);
            for column in 0..side {
                y[column] = if column == 0 || column + 1 == side {
                    blurred(x, side, row, column)
                } else {
                    let sums = rows.map(|row| row[column - 1] + row[column] + row[column + 1]);
                    (sums[0] + sums[1] + sums[2]) * 0.111_111_11
                };
            }
        });
    };
    PlainOn { state, run, buffers: |state| state.iter().map(|v| data::from_floats(v)).collect() }
}

fn plain_matmul(problem: &Problem) -> PlainOn<[Vec<f32>; 3]> {
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

/// Number of values of a byte.
const BINS: usize = 256;

/// Frequency of each value of the lowest byte of random keys. The count is a multiple of the tile size, 4,096.
fn histogram(count: u32) -> Problem {
    let keys = Random::new(11).words(count as usize);
    let bytes = data::from_words(&keys);
    let check = move |after: &[Vec<u8>], _: &DeviceSnapshot| {
        let mut wanted = [0; BINS];
        keys.iter().for_each(|key| wanted[(key & 255) as usize] += 1);
        let out = data::to_words(&after[1]);
        match (0..BINS).find(|bin| out[*bin] != wanted[*bin]) {
            None => Ok(()),
            Some(bin) => Err(format!("bin {bin} is {}, not {}", out[bin], wanted[bin])),
        }
    };
    Problem {
        name: "histogram",
        size: format!("{count} u32"),
        buffers: vec![bytes, vec![0; BINS * 4]],
        reset: vec![1],
        steps: vec![Step {
            name: "histogram",
            text: text!("/kernels/", "histogram"),
            buffers: vec![0, 1],
            params: Vec::new(),
            options: LaunchOptions::workgroups([count / 4096, 1, 1]),
        }],
        work: Work::Elements(u64::from(count)),
        check: Box::new(check),
    }
}

fn plain_histogram(problem: &Problem) -> PlainOn<[Vec<u32>; 2]> {
    let state = from_fn(|i| data::to_words(&problem.buffers[i]));
    let run = |[keys, bins]: &mut [Vec<u32>; 2]| {
        let count = |keys: &[u32]| {
            let mut bins = [0u32; BINS];
            keys.iter().for_each(|key| bins[(key & 255) as usize] += 1);
            bins
        };
        let add = |a: [u32; BINS], b: [u32; BINS]| from_fn(|bin| a[bin] + b[bin]);
        let all = keys.par_chunks(1 << 16).map(count).reduce(|| [0; BINS], add);
        bins.copy_from_slice(&all);
    };
    PlainOn { state, run, buffers: |state| state.iter().map(|v| data::from_words(v)).collect() }
}

/// Forces between random bodies.
fn n_body(count: u32) -> Problem {
    let mut bodies = Random::new(12).floats(count as usize * 4, 1.0);
    // Masses are not negative.
    bodies.chunks_exact_mut(4).for_each(|body| body[3] = body[3].abs());
    let bytes = data::from_floats(&bodies);
    let out = vec![0; bytes.len()];
    let check = move |after: &[Vec<u8>], _: &DeviceSnapshot| {
        let got = data::to_floats(&after[1]);
        let count = bodies.len() / 4;
        for i in (0..count).step_by(if count <= 256 { 1 } else { count / 64 }) {
            let (mut sums, mut sizes) = ([0.0; 3], [0.0; 3]);
            for j in 0..count {
                let d: [f64; 3] = from_fn(|k| f64::from(bodies[j * 4 + k]) - f64::from(bodies[i * 4 + k]));
                let squares = d.iter().map(|d| d * d).sum::<f64>() + 0.01;
                let factor = f64::from(bodies[j * 4 + 3]) / (squares * squares.sqrt());
                for k in 0..3 {
                    sums[k] += factor * d[k];
                    sizes[k] += (factor * d[k]).abs();
                }
            }
            for k in 0..3 {
                // The bound is relative to the magnitude of the terms, each of which is rounded.
                if !close(got[i * 4 + k], sums[k], 1e-4 * sizes[k] + 1e-6) {
                    return Err(format!(
                        "component {k} of body {i} is {:e}, not {:e}",
                        got[i * 4 + k],
                        sums[k]
                    ));
                }
            }
        }
        Ok(())
    };
    Problem {
        name: "n_body",
        size: format!("{count} bodies"),
        buffers: vec![bytes, out],
        reset: Vec::new(),
        steps: vec![Step {
            name: "n_body",
            text: text!("/kernels/", "n_body"),
            buffers: vec![0, 1],
            params: Vec::new(),
            options: LaunchOptions::linear(u64::from(count)),
        }],
        // Conventionally counted as twenty operations per pair.
        work: Work::Operations(20.0 * f64::from(count) * f64::from(count)),
        check: Box::new(check),
    }
}

fn plain_n_body(problem: &Problem) -> PlainOn<[Vec<[f32; 4]>; 2]> {
    let fours = |bytes: &Vec<u8>| -> Vec<[f32; 4]> {
        data::to_floats(bytes).chunks_exact(4).map(|v| [v[0], v[1], v[2], v[3]]).collect()
    };
    let state = from_fn(|i| fours(&problem.buffers[i]));
    let run = |[bodies, out]: &mut [Vec<[f32; 4]>; 2]| {
        out.par_iter_mut().zip(bodies.par_iter()).with_min_len(16).for_each(|(out, body)| {
            let mut sum = [0.0f32; 3];
            for other in bodies.iter() {
                let d: [f32; 3] = from_fn(|k| other[k] - body[k]);
                let squares = d[0] * d[0] + d[1] * d[1] + d[2] * d[2] + 0.01;
                let factor = other[3] / (squares * squares.sqrt());
                for k in 0..3 {
                    sum[k] += factor * d[k];
                }
            }
            *out = [sum[0], sum[1], sum[2], 0.0];
        });
    };
    let buffers = |state: &[Vec<[f32; 4]>; 2]| {
        state.iter().map(|fours| data::from_floats(fours.as_flattened())).collect()
    };
    PlainOn { state, run, buffers }
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

/// The Mandelbrot set on a square grid.
fn mandelbrot(side: u32) -> Problem {
    let check = move |after: &[Vec<u8>], _: &DeviceSnapshot| {
        let side = side as usize;
        for (at, got) in data::to_words(&after[0]).into_iter().enumerate() {
            let wanted = escapes(side, at % side, at / side);
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

fn plain_mandelbrot(problem: &Problem) -> PlainOn<Vec<u32>> {
    let state = data::to_words(&problem.buffers[0]);
    let run = |counts: &mut Vec<u32>| {
        let side = counts.len().isqrt();
        counts.par_chunks_mut(side).enumerate().for_each(|(j, row)| {
            row.iter_mut().enumerate().for_each(|(i, count)| *count = escapes(side, i, j));
        });
    };
    PlainOn { state, run, buffers: |state| vec![data::from_words(state)] }
}
