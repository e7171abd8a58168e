//! The sum of a vector of f32, in one stage or two.

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

/// The sum of a vector of f32, in an order that the configuration says. Arguments: the vector, and its sum.
///
/// The sum of zeros of either sign is +0, and so is that of no numbers. A NaN, or infinities of both signs, give NaN; other
/// infinities give themselves. Where some order of additions of finite numbers overflows, the sum may be finite, infinite
/// or NaN.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sum;

/// How it is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SumConfig {
    /// 1: one workgroup sums all. 2: several sum a part each, and one the sums of those.
    pub stages: u32,
    /// Workgroups of the first stage.
    pub blocks: u32,
    /// Invocations of a workgroup.
    pub workgroup: u32,
    /// Vectors of four that an invocation loads before it adds them.
    pub items: u32,
}

/// Invocations of the second stage's workgroup, at most.
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
                    // Every workgroup has something to do.
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
        // As many workgroups as have 16 loads for each invocation, but no more than fill a large device.
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
        // Sums of 2^31 random whole numbers this small stay far below 2^24, whatever part is summed first.
        let x = Random::new(seed).floats(problem.0 as usize, numbers, 3);
        let sum: f64 = x.par_iter().copied().map(f64::from).sum();
        let size: f64 = x.par_iter().map(|x| f64::from(x.abs())).sum();
        let arguments = vec![bytes(&x), Vec::new()];
        // Each addition rounds by half a unit of what it gives: an invocation adds a 64th at most, one by one.
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

/// Each of `blocks` workgroups stores the sum of its part of `x`.
fn sum(workgroup: u32, items: u32, blocks: u32) -> Result<Arc<VerifiedKernel>, Error> {
    let built = kernel::<(Read<f32>, Write<f32>)>("sum", ["x", "sums"], [workgroup, 1, 1], |k, (x, sums)| {
        let x4 = x.view::<[f32; 4]>("x4");
        let shared = k.shared_uninit::<f32>("partial", workgroup);
        let t = k.local_index();
        let group = k.workgroup_id().x();
        let zero = k.vec4(0.0f32, 0.0, 0.0, 0.0);
        // A workgroup's vectors for one step lie side by side.
        let begin = group * (workgroup * items) + t;
        let step = blocks * workgroup * items;
        let lanes = k.for_carry(begin, x4.len(), step, zero, |_, at, sum| {
            // Beyond the end, zeros are loaded.
            let loaded: Vec<_> = (0..items).map(|item| x4.load(at + item * workgroup)).collect();
            // In pairs, so that they need not wait for each other.
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
        // What is behind the last whole vector goes to the first workgroup.
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
