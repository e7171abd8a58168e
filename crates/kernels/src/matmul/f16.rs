//! C = A · B with f16 factors and f32 sums, by cooperative matrices: each workgroup computes a tile of C in steps along
//! K, each of its subgroups a part of it as 16 × 16 matrices. Tiles of A and B are in shared memory. The tiles of the
//! next step are loaded while this one is multiplied, and stored once every subgroup has loaded the last matrices of
//! this one: half of those are multiplied during the stores, and the rest during the loads of the next step's first
//! matrices. C goes through shared memory, too, so that all accesses are 16 bytes wide.

use fulgurite_autotune::{Argument, Family, Numbers, Plan, Summary, Trial, Work};
use fulgurite_hal::{Error, LaunchOptions};
use fulgurite_ir::VerifiedKernel;
use fulgurite_ir::builder::{
    Array, Builder, Matrix, MatrixLayout, MatrixRole, MatrixScope, MatrixShape, Read, ReadAccess,
    SharedArray, Val, Write, WriteAccess, kernel,
};
use fulgurite_spec::ScalarType;
use fulgurite_spec::device::{Capability, DeviceSnapshot, Matrices};
use half::f16;
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::sync::Arc;

use super::side::{Shape, Side};
use super::{arguments, check, most_exact, require_sizes, work};
use crate::build::{fits, fits_grid, params, verified};
use crate::numbers::Random;
use crate::problem::Product;

/// The product of f16 matrices with f32 sums, with M and N multiples of 32, and K of 16, on devices with cooperative
/// matrices. Arguments: A, B and C, all in row-major order.
#[derive(Clone, Copy, Debug, Default)]
pub struct MatmulF16;

/// Configuration of [`MatmulF16`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MatmulF16Config {
    /// Rows of C per workgroup.
    pub tile_m: u32,
    /// Columns of C per workgroup.
    pub tile_n: u32,
    /// Elements along K per step.
    pub depth: u32,
    /// Rows of C per subgroup.
    pub subgroup_m: u32,
    /// Columns of C per subgroup.
    pub subgroup_n: u32,
    /// Padding elements after each row of tiles in shared memory, to avoid bank conflicts: a multiple of 8.
    pub padding: u32,
    /// Whether the loads of the next tiles are spread over a step, instead of preceding its products.
    pub spread: bool,
    /// Whether C is stored through shared memory, in accesses of 16 bytes, instead of directly from the matrices.
    pub gathered: bool,
    /// Rows of tiles that workgroups traverse together, column by column, so that they share tiles in the cache.
    pub group: u32,
    /// Subgroup size.
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

    /// Returns the tile shapes of A and B, in vectors of eight elements.
    fn shapes(&self) -> [Shape; 2] {
        Shape::of_factors([self.tile_m, self.tile_n, self.depth], 8)
    }

    /// Returns the vectors between consecutive rows of A's and B's tile.
    fn lines(&self) -> [u32; 2] {
        self.shapes().map(|shape| shape.vectors + self.padding / 8)
    }

    /// Returns the vectors of one tile of A and B.
    fn vectors(&self) -> [u32; 2] {
        let ([a, b], [a_line, b_line]) = (self.shapes(), self.lines());
        [a.rows * a_line, b.rows * b_line]
    }

    /// Returns the four-element vectors between consecutive rows of C in shared memory.
    fn out_line(&self) -> u32 {
        self.subgroup_n / 4 + 1
    }

    /// Returns the vectors of shared memory: two tiles, later replaced by at least one row of C's matrices if C is
    /// gathered.
    fn shared_vectors(&self) -> u32 {
        let least = if self.gathered { self.subgroups() * SIDE * self.out_line() } else { 0 };
        self.vectors().iter().sum::<u32>().max(least)
    }

    fn shared_bytes(&self) -> u32 {
        // Plus the staging for partially out-of-bounds matrices.
        let partial = if self.gathered { 0 } else { self.subgroups() * SIDE * SIDE * 4 };
        self.shared_vectors() * 16 + partial
    }

    /// Returns the rows of C that a subgroup stores at a time: as many as fit.
    fn rows_out(&self) -> u32 {
        let fits = |rows: &u32| self.subgroups() * rows * self.out_line() <= self.shared_vectors();
        let mut parts = (0..).map(|halvings| self.subgroup_m >> halvings).take_while(|rows| *rows > SIDE);
        parts.find(fits).unwrap_or(SIDE)
    }

    fn grid(&self, problem: &Product) -> [u32; 3] {
        [(problem.n / self.tile_n) * (problem.m / self.tile_m), 1, 1]
    }

    fn is_valid(&self, device: &DeviceSnapshot, problem: &Product) -> bool {
        let [invocations, ..] = self.workgroup();
        let [a, b] = self.shapes();
        problem.m.is_multiple_of(self.tile_m)
            && problem.n.is_multiple_of(self.tile_n)
            && problem.k.is_multiple_of(self.depth)
            && (problem.m / self.tile_m).is_multiple_of(self.group)
            // A subgroup's part of C takes at most half of the registers: 128 of 255 words of 32 lanes each.
            && self.subgroup_m * self.subgroup_n <= 128 * self.lanes
            && self.subgroup_m <= self.tile_m
            && self.subgroup_n <= self.tile_n
            && a.suits(invocations)
            && b.suits(invocations)
            // All lanes store the same number of vectors of C.
            && (!self.gathered || (SIDE * self.subgroup_n / 4).is_multiple_of(self.lanes))
            && fits(device, self.workgroup(), self.shared_bytes())
            && fits_grid(device, self.grid(problem))
    }
}

/// Returns whether a device multiplies 16 × 16 matrices of f16 with f32 sums.
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
        2
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
                    for (spread, gathered) in [(false, false), (false, true), (true, true)] {
                        all.extend([1, 4, 8, 16].map(|group| MatmulF16Config {
                            tile_m,
                            tile_n,
                            depth,
                            subgroup_m,
                            subgroup_n,
                            padding,
                            spread,
                            gathered,
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

    fn takes(&self) -> &'static str {
        "m and n multiples of 32, and k a multiple of 16, on devices with 16 × 16 × 16 cooperative matrices of f16 with f32 sums"
    }

    fn heuristic(&self, device: &DeviceSnapshot, problem: &Product) -> MatmulF16Config {
        let config = |tile, part, depth, group| MatmulF16Config {
            tile_m: tile,
            tile_n: tile,
            depth,
            subgroup_m: part,
            subgroup_n: part,
            padding: 8,
            spread: true,
            gathered: true,
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

/// A vector of eight f16 elements.
type Vector<'k> = Val<'k, [u32; 4]>;
type Input<'k> = Array<'k, f16, ReadAccess, u32>;
type Sums<'k> = Vec<Matrix<'k, f32>>;
/// The matrices of a part of A, one per row of matrices, and of B, one per column, for 16 elements along K.
type Factors<'k> = (Vec<Matrix<'k, f16>>, Vec<Matrix<'k, f16>>);

/// Builds the kernel of a configuration.
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
    [a, b]: [Input<'k>; 2],
    c: Array<'k, f32, WriteAccess, u32>,
    [n, depth_all]: [Val<'k, u32>; 2],
) {
    let MatmulF16Config { tile_m, tile_n, depth, subgroup_m, subgroup_n, .. } = *config;
    let [invocations, ..] = config.workgroup();
    let [a_shape, b_shape] = config.shapes();
    let [a_line, b_line] = config.lines();
    let [b_begins, _] = config.vectors();
    let (a8, b8) = (a.view::<[u32; 4]>("a8"), b.view::<[u32; 4]>("b8"));
    // A's tile, followed by B's.
    let shared = k.shared_uninit::<[u32; 4]>("tiles", config.shared_vectors());

    let [tile_row, tile_column] = tile(k, config, n);
    let (vectors_k, vectors_n) = (depth_all >> 3, n >> 3);
    let a_side = Side::new(k, a8, a_shape, invocations, [vectors_k, k.val(depth / 8)]);
    let b_side = Side::new(k, b8, b_shape, invocations, [vectors_n, vectors_n * depth]);
    let loads = a_side.loads + b_side.loads;
    type Places<'k> = (Val<'k, u32>, Val<'k, u32>);
    let load = |from: Places<'k>, load: u32| match load.checked_sub(a_side.loads) {
        None => a_side.load(from.0, load),
        Some(load) => b_side.load(from.1, load),
    };
    let lay = |tiles: &[Vector<'k>]| {
        for (load, vector) in (0u32..).zip(tiles) {
            let at = match load.checked_sub(a_side.loads) {
                None => a_side.laid(load, a_line, 1),
                Some(load) => b_side.laid(load, b_line, 1) + b_begins,
            };
            shared.store(at, *vector);
        }
    };

    // The subgroup's part of the tile.
    let across = tile_n / subgroup_n;
    let subgroup = k.subgroup_id() % config.subgroups();
    let (part_row, part_column) = (subgroup / across, subgroup % across);
    let (rows, columns) = (subgroup_m / SIDE, subgroup_n / SIDE);
    let (a_own, b_own) = (part_row * (subgroup_m * a_line), part_column * (subgroup_n / 8) + b_begins);
    let shape = |role| MatrixShape::new(SIDE as u16, SIDE as u16, role, MatrixScope::Subgroup);
    let matrices = |kk: u32| -> Factors<'k> {
        let of_a = |row: u32| {
            let from = a_own + (row * (SIDE * a_line) + kk * (SIDE / 8));
            shared.load_matrix::<f16>(MatrixLayout::RowMajor, from, a_line, shape(MatrixRole::A))
        };
        let of_b = |column: u32| {
            let from = b_own + (kk * (SIDE * b_line) + column * (SIDE / 8));
            shared.load_matrix::<f16>(MatrixLayout::RowMajor, from, b_line, shape(MatrixRole::B))
        };
        ((0..rows).map(of_a).collect(), (0..columns).map(of_b).collect())
    };
    let multiply = |sums: &mut Sums<'k>, (left, right): &Factors<'k>, rows: Range<u32>| {
        for (row, column) in rows.flat_map(|row| (0..columns).map(move |column| (row, column))) {
            let sum = &mut sums[(row * columns + column) as usize];
            *sum = left[row as usize].mul_add(right[column as usize], *sum);
        }
    };

    // One step: the rest of the previous step's products, and all of this one's except for `early..rows` of its last
    // matrices, which are returned. The tiles of the next step start at `next`, if there is one.
    let (steps, early) = (depth / SIDE, rows / 2);
    let step = |sums: &mut Sums<'k>, last: &Factors<'k>, next: Option<Places<'k>>| -> Factors<'k> {
        // The tiles are complete.
        k.barrier_shared();
        let mut tiles = Vec::new();
        let mut load_up_to = |count: u32| {
            if let Some(from) = next {
                tiles.extend((tiles.len() as u32..count).map(|at| load(from, at)));
            }
        };
        let share = |steps_done: u32| if config.spread { loads * steps_done / steps } else { loads };
        load_up_to(share(0));
        let mut now = matrices(0);
        load_up_to(share(1));
        multiply(sums, last, early..rows);
        for kk in 1..steps {
            let following = matrices(kk);
            multiply(sums, &now, 0..rows);
            load_up_to(share(kk + 1));
            now = following;
        }
        if next.is_some() {
            // All subgroups have loaded their matrices of these tiles.
            k.barrier_shared();
            lay(&tiles);
        }
        multiply(sums, &now, 0..early);
        now
    };

    let from = (a_side.begin(tile_row * tile_m * vectors_k), b_side.begin(tile_column * (tile_n / 8)));
    lay(&(0..loads).map(|at| load(from, at)).collect::<Vec<_>>());
    let zero = |role| k.matrix(f16::ZERO, SIDE as u16, SIDE as u16, role, MatrixScope::Subgroup);
    let zeros = (vec![zero(MatrixRole::A); rows as usize], vec![zero(MatrixRole::B); columns as usize]);
    let none = k.matrix(0.0f32, SIDE as u16, SIDE as u16, MatrixRole::Acc, MatrixScope::Subgroup);
    let carried = (vec![none; (rows * columns) as usize], zeros, from);
    // K is a non-zero multiple of the depth.
    let all_but_one = depth_all / depth - 1;
    let (mut sums, last, _) =
        k.for_carry(0u32, all_but_one, 1u32, carried, |_, _, (mut sums, last, from)| {
            let next = (a_side.next(from.0), b_side.next(from.1));
            let last = step(&mut sums, &last, Some(next));
            (sums, last, next)
        });
    let last = step(&mut sums, &last, None);
    multiply(&mut sums, &last, early..rows);

    let row = tile_row * tile_m + part_row * subgroup_m;
    let part = Part { c, n, row, tile_column, part_column, subgroup };
    if config.gathered {
        part.store_through(k, config, shared, &sums);
    } else {
        part.store(config, &sums);
    }
}

/// Returns row and column of the workgroup's tile of C: groups of tile rows in order, and column by column within a group.
fn tile<'k>(k: &'k Builder, config: &MatmulF16Config, n: Val<'k, u32>) -> [Val<'k, u32>; 2] {
    let linear = k.workgroup_id().x();
    let of_group = n / config.tile_n * config.group;
    let within = linear % of_group;
    [linear / of_group * config.group + within % config.group, within / config.group]
}

/// A subgroup's part of C.
struct Part<'k> {
    c: Array<'k, f32, WriteAccess, u32>,
    n: Val<'k, u32>,
    /// First row.
    row: Val<'k, u32>,
    /// Index of the tile in its row of tiles, and of the part within the tile.
    tile_column: Val<'k, u32>,
    part_column: Val<'k, u32>,
    subgroup: Val<'k, u32>,
}

impl<'k> Part<'k> {
    /// Stores the part directly from the matrices.
    fn store(&self, config: &MatmulF16Config, sums: &Sums<'k>) {
        let columns = config.subgroup_n / SIDE;
        let column = self.tile_column * config.tile_n + self.part_column * config.subgroup_n;
        for (i, sum) in (0u32..).zip(sums) {
            let (down, right) = (i / columns * SIDE, i % columns * SIDE);
            let at = (self.row + down) * self.n + column + right;
            self.c.store_matrix(MatrixLayout::RowMajor, at, self.n, *sum);
        }
    }

    /// Stores the part through shared memory, several rows at a time, in accesses of 16 bytes.
    fn store_through(
        &self,
        k: &'k Builder,
        config: &MatmulF16Config,
        shared: SharedArray<'k, [u32; 4]>,
        sums: &Sums<'k>,
    ) {
        let columns = config.subgroup_n / SIDE;
        let c4 = self.c.view::<[u32; 4]>("c4");
        let (rows_out, out_line, quads) = (config.rows_out(), config.out_line(), config.subgroup_n / 4);
        let own = self.subgroup * (rows_out * out_line);
        let column = self.tile_column * (config.tile_n / 4) + self.part_column * quads;
        for top in (0..config.subgroup_m).step_by(rows_out as usize) {
            match top {
                // All subgroups have finished with the tiles.
                0 => k.barrier_shared(),
                _ => k.subgroup_barrier(),
            }
            for (i, sum) in (0u32..).zip(sums) {
                let (down, right) = (i / columns * SIDE, i % columns * SIDE);
                if (top..top + rows_out).contains(&down) {
                    let at = own + ((down - top) * out_line + right / 4);
                    shared.store_matrix(MatrixLayout::RowMajor, at, out_line, *sum);
                }
            }
            k.subgroup_barrier();
            for i in 0..rows_out * quads / config.lanes {
                let at = k.lane() + i * config.lanes;
                let (down, right) = (at / quads, at % quads);
                let to = (self.row + (down + top)) * (self.n >> 2) + column + right;
                // Never beyond the end, because `require_sizes` fixes the length of C; stating it here saves a guard.
                c4.store(to.min(c4.len() - 1), shared.load(own + down * out_line + right));
            }
        }
    }
}
