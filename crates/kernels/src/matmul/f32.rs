//! C = A · B in f32: each workgroup computes a tile of C in steps along K, each invocation some of its rows and columns
//! in registers. Tiles of A, transposed, and of B are in shared memory.

use fulgurite_autotune::{Argument, Family, Numbers, Plan, Summary, Trial, Work};
use fulgurite_hal::{Error, LaunchOptions};
use fulgurite_ir::VerifiedKernel;
use fulgurite_ir::builder::{Array, Builder, Read, ReadAccess, Val, Write, WriteAccess, kernel};
use fulgurite_spec::device::DeviceSnapshot;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

use super::side::{Shape, Side};
use super::{arguments, check, most_exact, require_sizes, work};
use crate::build::{fits, fits_grid, is_host, params, verified};
use crate::numbers::{Random, bytes};
use crate::problem::Product;

/// The product of f32 matrices, with M and N multiples of 16, and K of 8. Arguments: A, B and C, all in row-major
/// order.
#[derive(Clone, Copy, Debug, Default)]
pub struct MatmulF32;

/// Configuration of [`MatmulF32`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MatmulF32Config {
    /// Rows of C per workgroup.
    pub tile_m: u32,
    /// Columns of C per workgroup.
    pub tile_n: u32,
    /// Elements along K per step.
    pub depth: u32,
    /// Rows of C per invocation: a multiple of 4.
    pub rows: u32,
    /// Columns of C per invocation: a multiple of 4.
    pub columns: u32,
    /// Stages of loading. 1: tiles are loaded when needed. 2: the tiles of the next step are loaded while this one is
    /// multiplied.
    pub staging: u32,
    /// Unroll factor of the innermost loop.
    pub unroll: u32,
}

/// Padding words after each row of A's transposed tile in shared memory.
const PADDING: u32 = 4;

impl MatmulF32Config {
    fn workgroup(&self) -> [u32; 3] {
        [self.tile_n / self.columns, self.tile_m / self.rows, 1]
    }

    fn invocations(&self) -> u32 {
        self.workgroup()[0] * self.workgroup()[1]
    }

    fn shared_bytes(&self) -> u32 {
        (self.depth * (self.tile_m + PADDING) + self.depth * self.tile_n) * 4
    }

    fn grid(&self, problem: &Product) -> [u32; 3] {
        [problem.n / self.tile_n, problem.m / self.tile_m, 1]
    }

    /// Returns the tile shapes of A and B.
    fn shapes(&self) -> [Shape; 2] {
        Shape::of_factors([self.tile_m, self.tile_n, self.depth], 4)
    }

    fn is_valid(&self, device: &DeviceSnapshot, problem: &Product) -> bool {
        let [a, b] = self.shapes();
        problem.m.is_multiple_of(self.tile_m)
            && problem.n.is_multiple_of(self.tile_n)
            && problem.k.is_multiple_of(self.depth)
            && self.rows <= self.tile_m
            && self.columns <= self.tile_n
            && self.unroll <= self.depth
            && (16..=1024).contains(&self.invocations())
            && a.suits(self.invocations())
            && b.suits(self.invocations())
            && fits(device, self.workgroup(), self.shared_bytes())
            && fits_grid(device, self.grid(problem))
    }
}

impl Family for MatmulF32 {
    type Config = MatmulF32Config;
    type Problem = Product;
    type Arguments = (Read<f32>, Read<f32>, Write<f32>);

    fn id(&self) -> &'static str {
        "matmul_f32"
    }

    fn version(&self) -> u32 {
        2
    }

    fn space(&self, device: &DeviceSnapshot, problem: &Product) -> Vec<MatmulF32Config> {
        let mut all = Vec::new();
        let tiles = [(16, 16), (32, 32), (32, 64), (64, 64), (64, 128), (128, 64), (128, 128), (128, 256)];
        for (tile_m, tile_n) in tiles {
            for depth in [8, 16, 32] {
                for (rows, columns) in [(4, 4), (8, 4), (4, 8), (8, 8)] {
                    for staging in [1, 2] {
                        for unroll in [1, 4, 16] {
                            all.push(MatmulF32Config {
                                tile_m,
                                tile_n,
                                depth,
                                rows,
                                columns,
                                staging,
                                unroll,
                            });
                        }
                    }
                }
            }
        }
        all.retain(|config| config.is_valid(device, problem));
        all
    }

    fn takes(&self) -> &'static str {
        "m and n multiples of 16, and k a multiple of 8"
    }

    fn heuristic(&self, device: &DeviceSnapshot, problem: &Product) -> MatmulF32Config {
        let config = |tile, depth, each, unroll| MatmulF32Config {
            tile_m: tile,
            tile_n: tile,
            depth,
            rows: each,
            columns: each,
            staging: 2,
            unroll,
        };
        // Large tiles load the least data, but small matrices have too few of them to occupy a device.
        let few = |config: &MatmulF32Config| {
            let [x, y, _] = config.grid(problem);
            config.tile_m > 64 && x * y < 64
        };
        // On the host, a vector of invocations has a register for each number of one invocation, of which there are few; tiles
        // are in the cache, and nothing loads while something else is multiplied.
        let on_host = |tile, rows| MatmulF32Config {
            tile_m: tile,
            tile_n: tile,
            depth: 32,
            rows,
            columns: 4,
            staging: 1,
            unroll: 1,
        };
        let wanted = if is_host(device) {
            [on_host(128, 8), on_host(64, 4), on_host(32, 4)]
        } else {
            [config(128, 16, 8, 4), config(64, 16, 8, 4), config(32, 16, 4, 4)]
        };
        let valid = wanted.into_iter().find(|config| config.is_valid(device, problem) && !few(config));
        valid.unwrap_or_else(|| self.space(device, problem).first().copied().unwrap_or(config(16, 16, 4, 1)))
    }

    fn plan(&self, config: &MatmulF32Config, problem: &Product) -> Result<Plan, Error> {
        let options = LaunchOptions::workgroups(config.grid(problem));
        Ok(Plan::of(matmul(config)?, params([problem.m, problem.n, problem.k]), options))
    }

    fn summary(&self, config: &MatmulF32Config) -> Summary {
        Summary { unroll: Some(config.unroll), tile: vec![config.tile_m, config.tile_n, config.depth] }
    }

    fn arguments(&self, problem: &Product) -> Vec<Argument> {
        arguments(problem, 4)
    }

    fn trial(&self, problem: &Product, numbers: Numbers, seed: u64) -> Trial {
        let (m, n, k) = (problem.m as usize, problem.n as usize, problem.k as usize);
        let (mut random, most) = (Random::new(seed), most_exact(problem.k));
        let (a, b) = (random.floats(m * k, numbers, most), random.floats(k * n, numbers, most));
        let arguments = vec![bytes(&a), bytes(&b), Vec::new()];
        Trial { arguments, check: check(problem, numbers, seed, a, b) }
    }

    fn work(&self, problem: &Product) -> Work {
        work(problem)
    }
}

type Quad<'k> = Val<'k, [f32; 4]>;
type Factor<'k> = Array<'k, f32, ReadAccess, u32>;

/// Builds the kernel of a configuration.
fn matmul(config: &MatmulF32Config) -> Result<Arc<VerifiedKernel>, Error> {
    let built = kernel::<(Read<f32>, Read<f32>, Write<f32>, u32, u32, u32)>(
        "matmul_f32",
        ["a", "b", "c", "m", "n", "k"],
        config.workgroup(),
        |k, (a, b, c, m, n, depth_all)| {
            let multiples = [config.tile_m, config.tile_n, config.depth];
            require_sizes(k, [m, n, depth_all], multiples, [a, b], c, 4);
            body(k, config, [a, b], c, [n, depth_all]);
        },
    );
    verified(built)
}

fn body<'k>(
    k: &'k Builder,
    config: &MatmulF32Config,
    [a, b]: [Factor<'k>; 2],
    c: Array<'k, f32, WriteAccess, u32>,
    [n, depth_all]: [Val<'k, u32>; 2],
) {
    let MatmulF32Config { tile_m, tile_n, depth, rows, columns, staging, unroll } = *config;
    let line = tile_m + PADDING;
    let (a4, b4, c4) = (a.view::<[f32; 4]>("a4"), b.view::<[f32; 4]>("b4"), c.view::<[f32; 4]>("c4"));
    let at = k.shared_uninit::<f32>("at", depth * line);
    let bt = k.shared_uninit::<f32>("bt", depth * tile_n);
    let (at4, bt4) = (at.view::<[f32; 4]>("at4"), bt.view::<[f32; 4]>("bt4"));
    let (tx, ty) = (k.local_id().x(), k.local_id().y());
    let (left, top) = (k.workgroup_id().x(), k.workgroup_id().y());
    let (quads_k, quads_n) = (depth_all >> 2, n >> 2);

    let invocations = config.invocations();
    let [a_shape, b_shape] = config.shapes();
    let a_side = Side::new(k, a4, a_shape, invocations, [quads_k, k.val(depth / 4)]);
    let b_side = Side::new(k, b4, b_shape, invocations, [quads_n, quads_n * depth]);
    let lay = |(a, b): &(Vec<Quad<'k>>, Vec<Quad<'k>>)| {
        for (load, vector) in (0..).zip(a) {
            let first = a_side.laid(load, 1, 4 * line);
            (0..4).for_each(|part| at.store(first + part * line, vector.extract(part)));
        }
        for (load, vector) in (0..).zip(b) {
            bt4.store(b_side.laid(load, tile_n / 4, 1), *vector);
        }
    };
    type Places<'k> = (Val<'k, u32>, Val<'k, u32>);
    let load = |from: &Places<'k>| -> (Vec<Quad<'k>>, Vec<Quad<'k>>) {
        let a = (0..a_side.loads).map(|load| a_side.load(from.0, load)).collect();
        (a, (0..b_side.loads).map(|load| b_side.load(from.1, load)).collect())
    };
    let next = |from: &Places<'k>| (a_side.next(from.0), b_side.next(from.1));

    // Rows and columns in groups of four, spread over the tile, so that neighboring invocations read neighboring
    // addresses.
    let (row_groups, column_groups) = (rows / 4, columns / 4);
    let (row_skip, column_skip) = (tile_m / row_groups, tile_n / column_groups);
    let once = |kk: Val<'k, u32>, sums: Vec<Quad<'k>>| -> Vec<Quad<'k>> {
        let of_a = |group| at4.load(kk * (line / 4) + ty + group * (row_skip / 4));
        let of_b = |group| bt4.load(kk * (tile_n / 4) + tx + group * (column_skip / 4));
        let a: Vec<_> = (0..row_groups).map(of_a).collect();
        let b: Vec<_> = (0..column_groups).map(of_b).collect();
        multiply(k, &sums, &a, &b)
    };
    let step = |sums: Vec<Quad<'k>>| match unroll {
        all if all == depth => (0..depth).fold(sums, |sums, kk| once(k.val(kk), sums)),
        several => k.for_carry(0u32, depth, several, sums, |_, kk, sums| {
            (0..several).fold(sums, |sums, part| once(kk + part, sums))
        }),
    };

    let sums = vec![k.vec4(0.0f32, 0.0, 0.0, 0.0); (rows * column_groups) as usize];
    let from = (a_side.begin(top * tile_m * quads_k), b_side.begin(left * (tile_n / 4)));
    let tiles = depth_all / depth;
    let sums = if staging == 2 {
        let carried = (sums, load(&from), from);
        let (sums, ..) = k.for_carry(0u32, tiles, 1u32, carried, |k, _, (sums, ready, from)| {
            lay(&ready);
            k.barrier_shared();
            // The loads of the last iteration are unused.
            let from = next(&from);
            let following = load(&from);
            let sums = step(sums);
            k.barrier_shared();
            (sums, following, from)
        });
        sums
    } else {
        let (sums, _) = k.for_carry(0u32, tiles, 1u32, (sums, from), |k, _, (sums, from)| {
            lay(&load(&from));
            k.barrier_shared();
            let sums = step(sums);
            k.barrier_shared();
            (sums, next(&from))
        });
        sums
    };
    for row in 0..rows {
        let r = top * tile_m + (row / 4) * row_skip + ty * 4 + row % 4;
        for group in 0..column_groups {
            let quad = left * (tile_n / 4) + group * (column_skip / 4) + tx;
            c4.store(r * quads_n + quad, sums[(row * column_groups + group) as usize]);
        }
    }
}

/// Adds the products of part of a column of A and part of a row of B.
fn multiply<'k>(k: &'k Builder, sums: &[Quad<'k>], a: &[Quad<'k>], b: &[Quad<'k>]) -> Vec<Quad<'k>> {
    let one = |(at, sum): (usize, &Quad<'k>)| {
        let (row, group) = (at / b.len(), at % b.len());
        let factor = a[row / 4].extract(row as u32 % 4);
        k.vec4(factor, factor, factor, factor).mul_add(b[group], *sum)
    };
    sums.iter().enumerate().map(one).collect()
}
