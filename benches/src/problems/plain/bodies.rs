//! Forces between bodies.

use std::array::from_fn;

use fulgurite::{DeviceSnapshot, LaunchOptions};
use fulgurite_conformance::special::close;
use rayon::prelude::*;

use super::PlainOn;
use crate::problems::data::{self, Random};
use crate::problems::{Problem, Step, Work, text};

/// Forces between random bodies.
pub(super) fn n_body(count: u32) -> Problem {
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
            if got[i * 4 + 3] != 0.0 {
                return Err(format!("component 3 of body {i} is {:e}, not 0", got[i * 4 + 3]));
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

pub(super) fn plain_n_body(problem: &Problem) -> PlainOn<[Vec<[f32; 4]>; 2]> {
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
