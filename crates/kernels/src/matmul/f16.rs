//! C = A · B with factors of f16 and sums of f32, by cooperative matrices: each workgroup computes a tile of C in steps along
//! K, each of its subgroups a part of that as matrices of 16 × 16. Tiles of A and B lie in shared memory; those for the next
//! step are loaded while this one is multiplied. Everything moves in 16 bytes.

use fulgurite_autotune::{Argument, Family, Numbers, Plan, Summary, Trial, Work};
use fulgurite_driver_core::{Error, LaunchOptions};
use fulgurite_ir::VerifiedKernel;
use fulgurite_ir::builder::{
    Array, Builder, Matrix, MatrixLayout, MatrixRole, MatrixScope, MatrixShape, Read, ReadAccess, Val, Write,
    WriteAccess, kernel,
};
use fulgurite_spec::ScalarType;
use fulgurite_spec::device::{Capability, DeviceSnapshot, Matrices};
use half::f16;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

use super::side::{Shape, Side};
use super::{arguments, check, most_exact, require_sizes, work};
use crate::build::{fits, fits_grid, params, verified};
use crate::numbers::Random;
use crate::problem::Product;

/// The product of matrices of f16 into one of f32, whose sizes are multiples of 32, on devices with cooperative matrices.
/// Arguments: A, B, and C, all row after row.
#[derive(Clone, Copy, Debug, Default)]
pub struct MatmulF16;

/// How it is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MatmulF16Config {
    /// Rows of C that a workgroup computes.
    pub tile_m: u32,
    /// Columns of C that a workgroup computes.
    pub tile_n: u32,
    /// Numbers along K in one step.
    pub depth: u32,
    /// Rows of C that a subgroup computes.
    pub subgroup_m: u32,
    /// Columns of C that a subgroup computes.
    pub subgroup_n: u32,
    /// Numbers between the rows of tiles in shared memory, so that they lie in different banks: a multiple of 8.
    pub padding: u32,
    /// Tiles in shared memory: 1, or 2 so that one is filled while the other is used.
    pub buffers: u32,
    /// Rows of tiles that workgroups go through together, column by column, so that they find each other's in the cache.
    pub group: u32,
    /// Lanes of a subgroup.
    pub lanes: u32,
}

/// Rows and columns of a cooperative matrix.
const SIDE: u32 = 16;

impl MatmulF16Config {
    fn subgroups(&self) -> u32 {
        (self.tile_m / self.subgroup_m) * (self.tile_n / self.subgroup_n)
    }

    fn workgroup(&self) -> [u32; 3] {
        [self.subgroups() * self.lanes, 1, 1]
    }

    /// Vectors of eight numbers between rows of A's and of B's tile.
    fn lines(&self) -> [u32; 2] {
        [(self.depth + self.padding) / 8, (self.tile_n + self.padding) / 8]
    }

    /// Vectors of one tile of A and of B.
    fn vectors(&self) -> [u32; 2] {
        [self.tile_m * self.lines()[0], self.depth * self.lines()[1]]
    }

    fn shared_bytes(&self) -> u32 {
        // And what C goes through where a part of a matrix is not inside of it.
        (self.vectors()[0] + self.vectors()[1]) * 16 * self.buffers + self.subgroups() * SIDE * SIDE * 4
    }

    fn grid(&self, problem: &Product) -> [u32; 3] {
        [(problem.n / self.tile_n) * (problem.m / self.tile_m), 1, 1]
    }

    fn is_valid(&self, device: &DeviceSnapshot, problem: &Product) -> bool {
        let [invocations, ..] = self.workgroup();
        let vectors = |numbers: u32| numbers.is_multiple_of(8 * invocations);
        problem.m.is_multiple_of(self.tile_m)
            && problem.n.is_multiple_of(self.tile_n)
            && problem.k.is_multiple_of(self.depth)
            && (problem.m / self.tile_m).is_multiple_of(self.group)
            // What a subgroup holds of C takes half of the registers at most: 128 of 255 words of 32 lanes each.
            && self.subgroup_m * self.subgroup_n <= 128 * self.lanes
            && self.subgroup_m <= self.tile_m
            && self.subgroup_n <= self.tile_n
            && vectors(self.tile_m * self.depth)
            && vectors(self.tile_n * self.depth)
            && fits(device, self.workgroup(), self.shared_bytes())
            && fits_grid(device, self.grid(problem))
    }
}

/// Whether a device multiplies matrices of 16 × 16 of f16 into f32.
fn has_matrices(device: &DeviceSnapshot) -> bool {
    let shapes = match &device.matrices {
        Matrices::Any => true,
        Matrices::Listed(shapes) => shapes.iter().any(|shape| {
            (shape.m, shape.n, shape.k) == (16, 16, 16)
                && (shape.a, shape.b, shape.acc) == (ScalarType::F16, ScalarType::F16, ScalarType::F32)
                && shape.scope == MatrixScope::Subgroup
        }),
        _ => false,
    };
    shapes && device.has(Capability::CooperativeMatrix) && device.has(Capability::Float16)
}

impl Family for MatmulF16 {
    type Config = MatmulF16Config;
    type Problem = Product;
    type Arguments = (Read<f16>, Read<f16>, Write<f32>);

    fn id(&self) -> &'static str {
        "matmul_f16"
    }

    fn version(&self) -> u32 {
        1
    }

    fn space(&self, device: &DeviceSnapshot, problem: &Product) -> Vec<MatmulF16Config> {
        let mut all = Vec::new();
        if !has_matrices(device) {
            return all;
        }
        let lanes = device.limits.subgroup_size;
        let parts = [
            (32, 32, 16, 16),
            (32, 64, 16, 32),
            (64, 64, 32, 32),
            (64, 128, 32, 64),
            (64, 128, 64, 32),
            (64, 128, 64, 64),
            (128, 128, 64, 32),
            (128, 128, 32, 64),
            (128, 128, 64, 64),
            (128, 256, 64, 64),
            (256, 128, 64, 64),
            (256, 128, 64, 32),
            (256, 256, 64, 64),
        ];
        for (tile_m, tile_n, subgroup_m, subgroup_n) in parts {
            for depth in [16, 32, 64] {
                for padding in [0, 8] {
                    for buffers in [1, 2] {
                        all.extend([1, 4, 8, 16].map(|group| MatmulF16Config {
                            tile_m,
                            tile_n,
                            depth,
                            subgroup_m,
                            subgroup_n,
                            padding,
                            buffers,
                            group,
                            lanes,
                        }));
                    }
                }
            }
        }
        all.retain(|config| config.is_valid(device, problem));
        all
    }

    fn heuristic(&self, device: &DeviceSnapshot, problem: &Product) -> MatmulF16Config {
        let config = |tile, part, depth, group| MatmulF16Config {
            tile_m: tile,
            tile_n: tile,
            depth,
            subgroup_m: part,
            subgroup_n: part,
            padding: 8,
            buffers: 1,
            group,
            lanes: device.limits.subgroup_size,
        };
        let few = |config: &MatmulF16Config| config.tile_m > 64 && config.grid(problem)[0] < 128;
        let wanted =
            [config(128, 64, 64, 4), config(128, 64, 32, 1), config(64, 32, 64, 1), config(32, 16, 16, 1)];
        let valid = wanted.into_iter().find(|config| config.is_valid(device, problem) && !few(config));
        valid.unwrap_or_else(|| self.space(device, problem).first().copied().unwrap_or(config(32, 16, 16, 1)))
    }

    fn plan(&self, config: &MatmulF16Config, problem: &Product) -> Result<Plan, Error> {
        let options = LaunchOptions::workgroups(config.grid(problem));
        Ok(Plan::of(matmul(config)?, params([problem.m, problem.n, problem.k]), options))
    }

    fn summary(&self, config: &MatmulF16Config) -> Summary {
        let tile = vec![config.tile_m, config.tile_n, config.depth];
        Summary { unroll: Some(config.depth / SIDE), tile }
    }

    fn arguments(&self, problem: &Product) -> Vec<Argument> {
        arguments(problem, 2)
    }

    fn trial(&self, problem: &Product, numbers: Numbers, seed: u64) -> Trial {
        let (m, n, k) = (problem.m as usize, problem.n as usize, problem.k as usize);
        let (mut random, most) = (Random::new(seed), most_exact(problem.k));
        let (a, b) = (random.halves(m * k, numbers, most), random.halves(k * n, numbers, most));
        let bytes = |halves: &[f16]| halves.iter().flat_map(|half| half.to_le_bytes()).collect();
        let arguments = vec![bytes(&a), bytes(&b), Vec::new()];
        Trial { arguments, check: check(problem, numbers, seed, a, b) }
    }

    fn work(&self, problem: &Product) -> Work {
        work(problem)
    }
}

/// Eight numbers.
type Vector<'k> = Val<'k, [u32; 4]>;
type Factor<'k> = Array<'k, f16, ReadAccess, u32>;
type Sums<'k> = Vec<Matrix<'k, f32>>;

/// The kernel of a configuration.
fn matmul(config: &MatmulF16Config) -> Result<Arc<VerifiedKernel>, Error> {
    let built = kernel::<(Read<f16>, Read<f16>, Write<f32>, u32, u32, u32)>(
        "matmul_f16",
        ["a", "b", "c", "m", "n", "k"],
        config.workgroup(),
        |k, (a, b, c, m, n, depth_all)| {
            let multiples = [config.tile_m * config.group, config.tile_n, config.depth];
            require_sizes(k, [m, n, depth_all], multiples, [a, b], c, 8);
            body(k, config, [a, b], c, [n, depth_all]);
        },
    );
    verified(built)
}

fn body<'k>(
    k: &'k Builder,
    config: &MatmulF16Config,
    [a, b]: [Factor<'k>; 2],
    c: Array<'k, f32, WriteAccess, u32>,
    [n, depth_all]: [Val<'k, u32>; 2],
) {
    let MatmulF16Config { tile_m, tile_n, depth, subgroup_m, subgroup_n, buffers, group, .. } = *config;
    let [invocations, ..] = config.workgroup();
    let [a_line, b_line] = config.lines();
    let [a_vectors, b_vectors] = config.vectors();
    let (a8, b8) = (a.view::<[u32; 4]>("a8"), b.view::<[u32; 4]>("b8"));
    let at = k.shared_uninit::<[u32; 4]>("at", a_vectors * buffers);
    let bt = k.shared_uninit::<[u32; 4]>("bt", b_vectors * buffers);

    // Which tile of C: groups of rows one below the other, and in each, column by column.
    let linear = k.workgroup_id().x();
    let of_group = n / tile_n * group;
    let within = linear % of_group;
    let tile_row = linear / of_group * group + within % group;
    let tile_column = within / group;

    let (vectors_k, vectors_n) = (depth_all >> 3, n >> 3);
    let a_shape = Shape { rows: tile_m, vectors: depth / 8 };
    let b_shape = Shape { rows: depth, vectors: tile_n / 8 };
    let a_side = Side::new(k, a8, a_shape, invocations, k.val(depth / 8));
    let b_side = Side::new(k, b8, b_shape, invocations, vectors_n * depth);
    // Which of two buffers; `None` where there is one.
    let lay = |(a, b): &(Vec<Vector<'k>>, Vec<Vector<'k>>), second: Option<Val<'k, u32>>| {
        for ((row, part), vector) in a_side.places.iter().zip(a) {
            at.store(moved(*row * a_line + *part, second, a_vectors), *vector);
        }
        for ((row, part), vector) in b_side.places.iter().zip(b) {
            bt.store(moved(*row * b_line + *part, second, b_vectors), *vector);
        }
    };

    // Which part of the tile is this subgroup's.
    let across = tile_n / subgroup_n;
    let subgroup = k.subgroup_id() % config.subgroups();
    let (part_row, part_column) = (subgroup / across, subgroup % across);
    let (rows, columns) = (subgroup_m / SIDE, subgroup_n / SIDE);
    let side = SIDE as u16;
    let multiply = |sums: Sums<'k>, second: Option<Val<'k, u32>>| -> Sums<'k> {
        let a_own = moved(part_row * (subgroup_m * a_line), second, a_vectors);
        let b_own = moved(part_column * (subgroup_n / 8), second, b_vectors);
        let shape = |role| MatrixShape::new(side, side, role, MatrixScope::Subgroup);
        (0..depth / SIDE).fold(sums, |sums, kk| {
            let load_a = |row: u32| {
                let from = a_own + (row * (SIDE * a_line) + kk * (SIDE / 8));
                at.load_matrix::<f16>(MatrixLayout::RowMajor, from, a_line, shape(MatrixRole::A))
            };
            let load_b = |column: u32| {
                let from = b_own + (kk * (SIDE * b_line) + column * (SIDE / 8));
                bt.load_matrix::<f16>(MatrixLayout::RowMajor, from, b_line, shape(MatrixRole::B))
            };
            let left: Vec<_> = (0..rows).map(load_a).collect();
            let right: Vec<_> = (0..columns).map(load_b).collect();
            let one = |(i, sum): (usize, &Matrix<'k, f32>)| {
                left[i / right.len()].mul_add(right[i % right.len()], *sum)
            };
            sums.iter().enumerate().map(one).collect()
        })
    };

    let zero = k.matrix(0.0f32, side, side, MatrixRole::Acc, MatrixScope::Subgroup);
    let sums = vec![zero; (rows * columns) as usize];
    let tiles = depth_all / depth;
    let from = (
        a_side.begin(tile_row * tile_m * vectors_k, vectors_k),
        b_side.begin(tile_column * (tile_n / 8), vectors_n),
    );
    let first = (a_side.load(&from.0), b_side.load(&from.1));
    if buffers == 2 {
        lay(&first, Some(k.val(0)));
    }
    let carried = (sums, first, from);
    let (sums, ..) = k.for_carry(0u32, tiles, 1u32, carried, |k, tile, (sums, ready, from)| {
        let (this, other) = match buffers {
            1 => (None, None),
            _ => (Some(tile & 1), Some((tile + 1) & 1)),
        };
        if buffers == 1 {
            lay(&ready, None);
        }
        // Everyone has filled this buffer, and has done with the other, if there is one.
        k.barrier_shared();
        let from = (a_side.next(&from.0), b_side.next(&from.1));
        // What is loaded last is never used.
        let next = (a_side.load_ahead(&from.0), b_side.load_ahead(&from.1));
        let sums = multiply(sums, this);
        match other {
            None => k.barrier_shared(),
            other => lay(&next, other),
        }
        (sums, next, from)
    });
    let row = tile_row * tile_m + part_row * subgroup_m;
    let column = tile_column * tile_n + part_column * subgroup_n;
    for (i, sum) in (0u32..).zip(sums) {
        let (down, right) = (i / columns * SIDE, i % columns * SIDE);
        c.store_matrix(MatrixLayout::RowMajor, (row + down) * n + column + right, n, sum);
    }
}

/// A place in the second of two buffers of `vectors` vectors, or in the first.
fn moved<'k>(at: Val<'k, u32>, second: Option<Val<'k, u32>>, vectors: u32) -> Val<'k, u32> {
    second.map_or(at, |second| at + second * vectors)
}
