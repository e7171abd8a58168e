//! The same operations on each element: saxpy, a chain of operations, a hash of integers.

use std::array::from_fn;

use fulgurite::{DeviceSnapshot, LaunchOptions};
use rayon::prelude::*;

use super::{PART, PlainOn};
use crate::problems::data::{self, Random};
use crate::problems::{Problem, Step, Work, text};

pub(super) fn plain_saxpy(problem: &Problem) -> PlainOn<[Vec<f32>; 2]> {
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

/// y = max(a · b + c, 0) · 0.5 − a, of random numbers.
pub(super) fn chain(count: u32) -> Problem {
    let mut random = Random::new(13);
    let inputs: [Vec<f32>; 3] = from_fn(|_| random.floats(count as usize, 1.0));
    let mut buffers: Vec<Vec<u8>> = inputs.iter().map(|input| data::from_floats(input)).collect();
    buffers.push(vec![0; count as usize * 4]);
    let check = move |after: &[Vec<u8>], _: &DeviceSnapshot| {
        for (i, got) in data::to_floats(&after[3]).into_iter().enumerate() {
            // In f64 each operation of f32 is exact or rounded far below, so that this rounds once as well. No operand or
            // result is subnormal; either zero equals the other.
            let [a, b, c] = [0, 1, 2].map(|k| f64::from(inputs[k][i]));
            let rounded = |exact: f64| f64::from(exact as f32);
            let positive = rounded(rounded(a * b) + c).max(0.0);
            let wanted = (positive * 0.5 - a) as f32;
            if got != wanted {
                return Err(format!("element {i} is {got:e}, not {wanted:e}"));
            }
        }
        Ok(())
    };
    Problem {
        name: "chain",
        size: format!("{count} f32"),
        buffers,
        reset: Vec::new(),
        steps: vec![Step {
            name: "chain",
            text: text!("/kernels/", "chain"),
            buffers: vec![0, 1, 2, 3],
            params: Vec::new(),
            options: LaunchOptions::linear(u64::from(count)),
        }],
        work: Work::Bytes(u64::from(count) * 16),
        check: Box::new(check),
    }
}

pub(super) fn plain_chain(problem: &Problem) -> PlainOn<[Vec<f32>; 4]> {
    let state = from_fn(|i| data::to_floats(&problem.buffers[i]));
    let run = |[a, b, c, y]: &mut [Vec<f32>; 4]| {
        let inputs = a.par_chunks(PART).zip(b.par_chunks(PART)).zip(c.par_chunks(PART));
        y.par_chunks_mut(PART).zip(inputs).for_each(|(y, ((a, b), c))| {
            for (((y, a), b), c) in y.iter_mut().zip(a).zip(b).zip(c) {
                *y = (a * b + c).max(0.0) * 0.5 - a;
            }
        });
    };
    PlainOn { state, run, buffers: |state| state.iter().map(|v| data::from_floats(v)).collect() }
}

/// Number of rounds of the hash.
const ROUNDS: u32 = 64;

/// 64 rounds of the finalizer of MurmurHash3 of random numbers.
pub(super) fn hash(count: u32) -> Problem {
    let input = Random::new(15).words(count as usize);
    let bytes = data::from_words(&input);
    let check = move |after: &[Vec<u8>], _: &DeviceSnapshot| {
        let low = |wide: u64| wide & u64::from(u32::MAX);
        let hashed = |x: u32| {
            (0..u64::from(ROUNDS)).fold(u64::from(x), |h, round| {
                let h = low(h + round);
                let h = low((h ^ h >> 16) * 0x85eb_ca6b);
                let h = low((h ^ h >> 13) * 0xc2b2_ae35);
                h ^ h >> 16
            })
        };
        let out = data::to_words(&after[1]);
        let wrong = (0..out.len()).into_par_iter().find_first(|i| u64::from(out[*i]) != hashed(input[*i]));
        match wrong {
            None => Ok(()),
            Some(i) => Err(format!("element {i} is {:#x}, not {:#x}", out[i], hashed(input[i]))),
        }
    };
    Problem {
        name: "hash",
        size: format!("{count} u32"),
        buffers: vec![bytes, vec![0; count as usize * 4]],
        reset: Vec::new(),
        steps: vec![Step {
            name: "hash",
            text: text!("/kernels/", "hash"),
            buffers: vec![0, 1],
            params: Vec::new(),
            options: LaunchOptions::linear(u64::from(count)),
        }],
        work: Work::Elements(u64::from(count)),
        check: Box::new(check),
    }
}

/// Numbers hashed at once, each operation on all of them, which the compiler turns into vector instructions: as one number
/// at a time would wait for its own results, this is ten times as fast.
const LANES: usize = 32;

fn mixed(mut h: [u32; LANES]) -> [u32; LANES] {
    for round in 0..ROUNDS {
        for h in &mut h {
            *h = h.wrapping_add(round);
            *h = (*h ^ *h >> 16).wrapping_mul(0x85eb_ca6b);
            *h = (*h ^ *h >> 13).wrapping_mul(0xc2b2_ae35);
            *h ^= *h >> 16;
        }
    }
    h
}

pub(super) fn plain_hash(problem: &Problem) -> PlainOn<[Vec<u32>; 2]> {
    let state = from_fn(|i| data::to_words(&problem.buffers[i]));
    let run = |[x, y]: &mut [Vec<u32>; 2]| {
        y.par_chunks_mut(PART).zip(x.par_chunks(PART)).for_each(|(y, x)| {
            for (y, x) in y.chunks_mut(LANES).zip(x.chunks(LANES)) {
                let mut lanes = [0; LANES];
                lanes[..x.len()].copy_from_slice(x);
                y.copy_from_slice(&mixed(lanes)[..x.len()]);
            }
        });
    };
    PlainOn { state, run, buffers: |state| state.iter().map(|v| data::from_words(v)).collect() }
}
