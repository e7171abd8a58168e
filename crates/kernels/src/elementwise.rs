//! z = a·x + y in f32, as the representative of all element-wise kernels. Its time is entirely memory traffic.

use fulgurite_autotune::{Argument, Family, Mismatch, Numbers, Plan, Summary, Trial, Work};
use fulgurite_hal::{Error, LaunchOptions};
use fulgurite_ir::builder::{Builder, Number, Read, Val, Write, kernel};
use fulgurite_spec::device::DeviceSnapshot;
use serde::{Deserialize, Serialize};

use crate::build::{fits, float_param, verified};
use crate::numbers::{Random, bytes, first_wrong, floats};
use crate::problem::Length;

/// z = a·x + y of f32 vectors. Arguments: x, y, z. The factor is fixed in the plan.
#[derive(Clone, Copy, Debug)]
pub struct Elementwise {
    /// The factor a.
    pub factor: f32,
}

impl Default for Elementwise {
    fn default() -> Self {
        Self { factor: 3.0 }
    }
}

/// Configuration of [`Elementwise`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ElementwiseConfig {
    /// Invocations per workgroup.
    pub workgroup: u32,
    /// Elements per load and store: 1, 2 or 4.
    pub vector: u32,
    /// Vectors per invocation.
    pub items: u32,
}

impl Family for Elementwise {
    type Config = ElementwiseConfig;
    type Problem = Length;
    type Arguments = (Read<f32>, Read<f32>, Write<f32>);

    fn id(&self) -> &'static str {
        "elementwise"
    }

    fn version(&self) -> u32 {
        1
    }

    fn space(&self, device: &DeviceSnapshot, _: &Length) -> Vec<ElementwiseConfig> {
        let mut all = Vec::new();
        for workgroup in [64, 128, 256, 512, 1024].into_iter().filter(|size| fits(device, [*size, 1, 1], 0)) {
            for vector in [1, 2, 4] {
                all.extend([1, 2, 4, 8].map(|items| ElementwiseConfig { workgroup, vector, items }));
            }
        }
        all
    }

    fn heuristic(&self, device: &DeviceSnapshot, _: &Length) -> ElementwiseConfig {
        let workgroup = if fits(device, [256, 1, 1], 0) { 256 } else { 64 };
        ElementwiseConfig { workgroup, vector: 4, items: 1 }
    }

    fn plan(&self, config: &ElementwiseConfig, problem: &Length) -> Result<Plan, Error> {
        let ElementwiseConfig { workgroup, vector, items } = *config;
        let built = kernel::<(Read<f32>, Read<f32>, Write<f32>, f32)>(
            "elementwise",
            ["x", "y", "z", "a"],
            [workgroup, 1, 1],
            |k, (x, y, z, a)| {
                let of_group = k.workgroup_id().x() * (workgroup * items);
                let first = of_group + k.local_index();
                match vector {
                    1 => body(first, workgroup, items, |i| x.load(i), |i| y.load(i), a, |i, v| z.store(i, v)),
                    2 => {
                        let (x2, y2) = (x.view::<[f32; 2]>("x2"), y.view::<[f32; 2]>("y2"));
                        let (z2, a2) = (z.view::<[f32; 2]>("z2"), k.vec2(a, a));
                        body(
                            first,
                            workgroup,
                            items,
                            |i| x2.load(i),
                            |i| y2.load(i),
                            a2,
                            |i, v| z2.store(i, v),
                        );
                    }
                    _ => {
                        let (x4, y4) = (x.view::<[f32; 4]>("x4"), y.view::<[f32; 4]>("y4"));
                        let (z4, a4) = (z.view::<[f32; 4]>("z4"), k.vec4(a, a, a, a));
                        body(
                            first,
                            workgroup,
                            items,
                            |i| x4.load(i),
                            |i| y4.load(i),
                            a4,
                            |i, v| z4.store(i, v),
                        );
                    }
                }
                if vector > 1 {
                    rest(k, vector, x.len(), |i| z.store(i, a * x.load(i) + y.load(i)));
                }
            },
        );
        let kernel = verified(built)?;
        // Also at least one invocation for each element outside of whole vectors.
        let invocations = u64::from(problem.0).div_ceil(u64::from(vector * items)).max(u64::from(workgroup));
        let options = LaunchOptions::linear(invocations.next_multiple_of(u64::from(workgroup)));
        Ok(Plan::of(kernel, vec![float_param(self.factor)], options))
    }

    fn summary(&self, config: &ElementwiseConfig) -> Summary {
        let tile = vec![config.workgroup * config.vector * config.items];
        Summary { unroll: Some(config.items), tile }
    }

    fn arguments(&self, problem: &Length) -> Vec<Argument> {
        let bytes = u64::from(problem.0) * 4;
        vec![Argument::input(bytes), Argument::input(bytes), Argument::output(bytes)]
    }

    fn trial(&self, problem: &Length, numbers: Numbers, seed: u64) -> Trial {
        let mut random = Random::new(seed);
        let count = problem.0 as usize;
        let (x, y) = (random.floats(count, numbers, 1000), random.floats(count, numbers, 1000));
        let arguments = vec![bytes(&x), bytes(&y), Vec::new()];
        let factor = self.factor;
        let check = move |outputs: &[Vec<u8>]| {
            let z = floats(&outputs[0]);
            first_wrong(z.len(), |mut part| {
                part.find_map(|i| {
                    let product = f64::from(factor) * f64::from(x[i]);
                    let expected = product + f64::from(y[i]);
                    // The product and the sum each round once, by at most half an ulp.
                    let bound = f64::from(f32::EPSILON) / 2.0 * (product.abs() + expected.abs() * 1.001);
                    let bound = if numbers == Numbers::Exact { 0.0 } else { bound };
                    let right = (f64::from(z[i]) - expected).abs() <= bound;
                    (!right).then(|| Mismatch::at(i as u64, expected, z[i]))
                })
            })
        };
        Trial { arguments, check: Box::new(check) }
    }

    fn work(&self, problem: &Length) -> Work {
        Work::Bytes(u64::from(problem.0) * 12)
    }
}

/// Loads, computes and stores `items` vectors, a workgroup apart. All loads precede the first store.
fn body<'k, T: Number>(
    first: Val<'k, u32>,
    workgroup: u32,
    items: u32,
    x: impl Fn(Val<'k, u32>) -> Val<'k, T>,
    y: impl Fn(Val<'k, u32>) -> Val<'k, T>,
    a: Val<'k, T>,
    store: impl Fn(Val<'k, u32>, Val<'k, T>),
) {
    // Beyond the end, loads return zeros and stores do nothing.
    let at: Vec<_> = (0..items).map(|item| first + item * workgroup).collect();
    let loaded: Vec<_> = at.iter().map(|i| (x(*i), y(*i))).collect();
    for (i, (x, y)) in at.into_iter().zip(loaded) {
        store(i, a * x + y);
    }
}

/// Calls `each` for the elements after the last whole vector.
fn rest<'k>(k: &'k Builder, vector: u32, len: Val<'k, u32>, each: impl Fn(Val<'k, u32>)) {
    let i = k.global_id().x();
    k.if_(i.lt(len % vector), |_| each(len - len % vector + i));
}
