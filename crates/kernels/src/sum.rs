//! The sum of an f32 vector, in one or two stages.

use fulgurite_autotune::{Argument, Family, Mismatch, Numbers, Plan, Slot, Step, Summary, Trial, Work};
use fulgurite_hal::{Error, LaunchOptions};
use fulgurite_ir::VerifiedKernel;
use fulgurite_ir::builder::{Read, Write, kernel};
use fulgurite_spec::device::DeviceSnapshot;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

use crate::build::{fits, fits_grid, verified};
use crate::numbers::{Random, bytes, floats};
use crate::problem::Length;

/// The sum of an f32 vector, in an order that depends on the configuration. Arguments: the vector, and its sum.
///
/// The sum of zeros of either sign is +0, as is the sum of an empty vector. A NaN, or infinities of both signs, give
/// NaN; infinities of one sign give that infinity. If finite numbers overflow in some order of additions, the sum may
/// be finite, infinite or NaN.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sum;

/// Configuration of [`Sum`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SumConfig {
    /// Number of stages. 1: one workgroup computes the sum. 2: several workgroups compute partial sums, and one adds
    /// these.
    pub stages: u32,
    /// Workgroups of the first stage.
    pub blocks: u32,
    /// Invocations per workgroup.
    pub workgroup: u32,
    /// Four-element vectors that an invocation loads before adding them.
    pub items: u32,
}

/// Maximum number of invocations of the second stage's workgroup.
const SECOND: u32 = 256;

impl Family for Sum {
    type Config = SumConfig;
    type Problem = Length;
    type Arguments = (Read<f32>, Write<f32>);

    fn id(&self) -> &'static str {
        "sum"
    }

    fn version(&self) -> u32 {
        1
    }

    fn space(&self, device: &DeviceSnapshot, problem: &Length) -> Vec<SumConfig> {
        let mut all = Vec::new();
        let sizes =
            [64, 128, 256, 512, 1024].into_iter().filter(|size| fits(device, [*size, 1, 1], size * 4));
        for workgroup in sizes {
            for items in [1, 2, 4, 8] {
                all.push(SumConfig { stages: 1, blocks: 1, workgroup, items });
                for blocks in [2, 8, 32, 128, 512, 1024, 2048, 4096] {
                    // Every workgroup must have elements to sum.
                    if problem.0 / 4 >= blocks * workgroup && fits_grid(device, [blocks, 1, 1]) {
                        all.push(SumConfig { stages: 2, blocks, workgroup, items });
                    }
                }
            }
        }
        all
    }

    fn heuristic(&self, device: &DeviceSnapshot, problem: &Length) -> SumConfig {
        let workgroup = if fits(device, [256, 1, 1], 1024) { 256 } else { 64 };
        // 16 loads per invocation, but no more workgroups than fill a large device.
        let blocks = (problem.0 / 4 / workgroup / 16).min(1024);
        match blocks {
            0 | 1 => SumConfig { stages: 1, blocks: 1, workgroup, items: 4 },
            _ => SumConfig { stages: 2, blocks: 1 << blocks.ilog2(), workgroup, items: 4 },
        }
    }

    fn plan(&self, config: &SumConfig, _: &Length) -> Result<Plan, Error> {
        let SumConfig { stages, blocks, workgroup, items } = *config;
        let first = sum(workgroup, items, blocks)?;
        let grid = LaunchOptions::workgroups([blocks, 1, 1]);
        if stages == 1 {
            return Ok(Plan::of(first, Vec::new(), grid));
        }
        let second = sum(SECOND.min(workgroup), 1, 1)?;
        let step = |kernel, buffers: [Slot; 2], options| Step {
            kernel,
            buffers: buffers.to_vec(),
            params: Vec::new(),
            options,
        };
        let steps = vec![
            step(first, [Slot::argument(0), Slot::scratch(0)], grid),
            step(second, [Slot::scratch(0), Slot::argument(1)], LaunchOptions::workgroups([1, 1, 1])),
        ];
        Ok(Plan { scratch: vec![u64::from(blocks) * 4], steps })
    }

    fn summary(&self, config: &SumConfig) -> Summary {
        Summary { unroll: Some(config.items), tile: vec![config.workgroup * config.items * 4] }
    }

    fn arguments(&self, problem: &Length) -> Vec<Argument> {
        vec![Argument::input(u64::from(problem.0) * 4), Argument::output(4)]
    }

    fn trial(&self, problem: &Length, numbers: Numbers, seed: u64) -> Trial {
        // Sums of 2^31 random integers this small stay far below 2^24 in any order.
        let x = Random::new(seed).floats(problem.0 as usize, numbers, 3);
        let sum: f64 = x.par_iter().copied().map(f64::from).sum();
        let size: f64 = x.par_iter().map(|x| f64::from(x.abs())).sum();
        let arguments = vec![bytes(&x), Vec::new()];
        // Each addition rounds by at most half an ulp, and an invocation sums at most 1/64 of the elements
        // sequentially.
        let depth = f64::from(problem.0 / 64 + 64);
        let bound =
            if numbers == Numbers::Exact { 0.0 } else { depth * f64::from(f32::EPSILON) / 2.0 * size };
        let check = move |outputs: &[Vec<u8>]| {
            let got = floats(&outputs[0])[0];
            let right = (f64::from(got) - sum).abs() <= bound;
            if right { Ok(()) } else { Err(Mismatch::at(0, sum, got)) }
        };
        Trial { arguments, check: Box::new(check) }
    }

    fn work(&self, problem: &Length) -> Work {
        Work::Bytes(u64::from(problem.0) * 4)
    }
}

/// Builds a kernel of which each of `blocks` workgroups stores the sum of its part of `x`.
fn sum(workgroup: u32, items: u32, blocks: u32) -> Result<Arc<VerifiedKernel>, Error> {
    let built = kernel::<(Read<f32>, Write<f32>)>("sum", ["x", "sums"], [workgroup, 1, 1], |k, (x, sums)| {
        let x4 = x.view::<[f32; 4]>("x4");
        let shared = k.shared_uninit::<f32>("partial", workgroup);
        let t = k.local_index();
        let group = k.workgroup_id().x();
        let zero = k.vec4(0.0f32, 0.0, 0.0, 0.0);
        // The vectors of a workgroup are contiguous within one step.
        let begin = group * (workgroup * items) + t;
        let step = blocks * workgroup * items;
        let lanes = k.for_carry(begin, x4.len(), step, zero, |_, at, sum| {
            // Loads beyond the end return zeros.
            let loaded: Vec<_> = (0..items).map(|item| x4.load(at + item * workgroup)).collect();
            // Add in pairs to shorten the dependency chain.
            let mut sums = loaded;
            while sums.len() > 1 {
                sums = sums
                    .chunks(2)
                    .map(|pair| pair.iter().copied().reduce(|a, b| a + b))
                    .collect::<Option<_>>()
                    .unwrap_or_default();
            }
            sums.first().map_or(sum, |all| sum + *all)
        });
        let mut own = (lanes.extract(0) + lanes.extract(1)) + (lanes.extract(2) + lanes.extract(3));
        // The first workgroup sums the elements after the last whole vector.
        let rest = x.len() % 4;
        let is_rest = group.eq(0) & t.lt(rest);
        own = own + k.if_else(is_rest, |_| x.load(x.len() - rest + t), |k| k.val(0.0f32));
        shared.store(t, own);
        let mut width = workgroup / 2;
        while width > 0 {
            k.barrier_shared();
            k.if_(t.lt(width), |_| shared.store(t, shared.load(t) + shared.load(t + width)));
            width /= 2;
        }
        k.if_(t.eq(0), |_| sums.store(group, shared.load(0)));
    });
    verified(built)
}
