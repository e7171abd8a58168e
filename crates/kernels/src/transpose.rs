//! The transpose of an f32 matrix in row-major order. Tiles go through shared memory, so that both loads and stores are
//! along rows.

use fulgurite_autotune::{Argument, Family, Mismatch, Numbers, Plan, Summary, Trial, Work};
use fulgurite_hal::{Error, LaunchOptions};
use fulgurite_ir::VerifiedKernel;
use fulgurite_ir::builder::{Builder, Read, Write, kernel};
use fulgurite_spec::device::DeviceSnapshot;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

use crate::build::{fits, fits_grid, params, verified};
use crate::numbers::{Random, bytes, first_of, floats};
use crate::problem::Matrix;

/// The transpose of an f32 matrix; elements are copied bit for bit. Arguments: the matrix, and its transpose, both in
/// row-major order.
#[derive(Clone, Copy, Debug, Default)]
pub struct Transpose;

/// Rows and columns of a block in the comparison.
const BLOCK: usize = 32;

/// Configuration of [`Transpose`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransposeConfig {
    /// Rows and columns of a tile, which one workgroup transposes.
    pub tile: u32,
    /// Padding words after each row of a tile in shared memory, so that the elements of a column lie in different
    /// banks.
    pub padding: u32,
    /// Elements per load and store: 1 or 4.
    pub vector: u32,
    /// Rows of a tile that the workgroup processes at a time.
    pub rows: u32,
}

impl TransposeConfig {
    fn workgroup(&self) -> [u32; 3] {
        [self.tile / self.vector, self.rows, 1]
    }

    fn shared_bytes(&self) -> u32 {
        self.tile * (self.tile + self.padding) * 4
    }

    fn grid(&self, problem: &Matrix) -> [u32; 3] {
        [problem.columns.div_ceil(self.tile), problem.rows.div_ceil(self.tile), 1]
    }

    fn is_valid(&self, device: &DeviceSnapshot, problem: &Matrix) -> bool {
        let whole = problem.rows.is_multiple_of(self.vector) && problem.columns.is_multiple_of(self.vector);
        let invocations = self.tile / self.vector * self.rows;
        whole
            && (32..=1024).contains(&invocations)
            && fits(device, self.workgroup(), self.shared_bytes())
            && fits_grid(device, self.grid(problem))
    }
}

impl Family for Transpose {
    type Config = TransposeConfig;
    type Problem = Matrix;
    type Arguments = (Read<f32>, Write<f32>);

    fn id(&self) -> &'static str {
        "transpose"
    }

    fn version(&self) -> u32 {
        1
    }

    fn space(&self, device: &DeviceSnapshot, problem: &Matrix) -> Vec<TransposeConfig> {
        let mut all = Vec::new();
        for tile in [16, 32, 64] {
            for vector in [1, 4] {
                for padding in [0, 1, 2, 4] {
                    let rows = [4, 8, 16, 32, 64].into_iter().filter(|rows| *rows <= tile);
                    all.extend(rows.map(|rows| TransposeConfig { tile, padding, vector, rows }));
                }
            }
        }
        all.retain(|config| config.is_valid(device, problem));
        all
    }

    fn heuristic(&self, device: &DeviceSnapshot, problem: &Matrix) -> TransposeConfig {
        let wanted = [
            TransposeConfig { tile: 64, padding: 1, vector: 4, rows: 16 },
            TransposeConfig { tile: 32, padding: 1, vector: 1, rows: 8 },
        ];
        let least = TransposeConfig { tile: 16, padding: 1, vector: 1, rows: 4 };
        wanted.into_iter().find(|config| config.is_valid(device, problem)).unwrap_or(least)
    }

    fn plan(&self, config: &TransposeConfig, problem: &Matrix) -> Result<Plan, Error> {
        let whole = problem.rows.is_multiple_of(config.tile) && problem.columns.is_multiple_of(config.tile);
        let options = LaunchOptions::workgroups(config.grid(problem));
        Ok(Plan::of(transpose(config, whole)?, params([problem.rows, problem.columns]), options))
    }

    fn summary(&self, config: &TransposeConfig) -> Summary {
        Summary { unroll: Some(config.tile / config.rows), tile: vec![config.tile, config.tile] }
    }

    fn arguments(&self, problem: &Matrix) -> Vec<Argument> {
        let bytes = u64::from(problem.rows) * u64::from(problem.columns) * 4;
        vec![Argument::input(bytes), Argument::output(bytes)]
    }

    fn trial(&self, problem: &Matrix, _: Numbers, seed: u64) -> Trial {
        // Nothing is computed, so any numbers are exact.
        let (rows, columns) = (problem.rows as usize, problem.columns as usize);
        let x = Random::new(seed).floats(rows * columns, Numbers::Random, 0);
        let arguments = vec![bytes(&x), Vec::new()];
        let check = move |outputs: &[Vec<u8>]| {
            let y = floats(&outputs[0]);
            // In blocks, for locality: one of the matrices is read across its rows.
            let blocks = columns.div_ceil(BLOCK);
            let wrong = first_of(rows.div_ceil(BLOCK) * blocks, |block| {
                let (top, left) = (block / blocks * BLOCK, block % blocks * BLOCK);
                let places = (left..columns.min(left + BLOCK))
                    .flat_map(|c| (top..rows.min(top + BLOCK)).map(move |r| (r * columns + c, c * rows + r)));
                let mut wrong = places.filter(|(from, to)| x[*from].to_bits() != y[*to].to_bits());
                wrong.next().map(|(from, to)| Mismatch::at(to as u64, x[from], y[to]))
            });
            wrong.map_or(Ok(()), Err)
        };
        Trial { arguments, check: Box::new(check) }
    }

    fn work(&self, problem: &Matrix) -> Work {
        Work::Bytes(u64::from(problem.rows) * u64::from(problem.columns) * 8)
    }
}

/// Builds the kernel of a configuration. `whole` means that the matrix consists of whole tiles.
fn transpose(config: &TransposeConfig, whole: bool) -> Result<Arc<VerifiedKernel>, Error> {
    let TransposeConfig { tile, padding, vector, rows: at_once } = *config;
    let line = tile + padding;
    let built = kernel::<(Read<f32>, Write<f32>, u32, u32)>(
        "transpose",
        ["x", "y", "rows", "columns"],
        config.workgroup(),
        |k, (x, y, rows, columns)| {
            k.require(|_| (rows * columns).eq(x.len()));
            k.require(|_| x.len().eq(y.len()));
            for size in [rows, columns] {
                let step = if whole { tile } else { vector };
                k.require(|_| (size % step).eq(0));
            }
            let (x4, y4) = (x.view::<[f32; 4]>("x4"), y.view::<[f32; 4]>("y4"));
            let shared = k.shared_uninit::<f32>("tile", tile * line);
            let (across, down) = (k.local_id().x(), k.local_id().y());
            let (left, top) = (k.workgroup_id().x() * tile, k.workgroup_id().y() * tile);

            for step in 0..tile / at_once {
                let r = down + step * at_once;
                let (row, column) = (top + r, left + across * vector);
                let lay = |_: &Builder| {
                    let at = r * line + across * vector;
                    if vector == 1 {
                        shared.store(at, x.load(row * columns + column));
                    } else {
                        let loaded = x4.load(row * (columns >> 2) + (column >> 2));
                        (0..4).for_each(|part| shared.store(at + part, loaded.extract(part)));
                    }
                };
                if whole { lay(k) } else { k.if_(row.lt(rows) & column.lt(columns), lay) }
            }
            k.barrier_shared();
            for step in 0..tile / at_once {
                // Columns of the tile become rows.
                let c = down + step * at_once;
                let (column, row) = (left + c, top + across * vector);
                let take = |k: &Builder| {
                    let at = across * (vector * line) + c;
                    if vector == 1 {
                        y.store(column * rows + row, shared.load(at));
                    } else {
                        let [a, b, c, d] = [0, 1, 2, 3].map(|part| shared.load(at + part * line));
                        y4.store(column * (rows >> 2) + (row >> 2), k.vec4(a, b, c, d));
                    }
                };
                if whole { take(k) } else { k.if_(row.lt(rows) & column.lt(columns), take) }
            }
        },
    );
    verified(built)
}
