//! The kernels of `examples/kernels` on problems of any size: inputs, launches, and expected results. `plain` owns those of
//! `benches/kernels`, and the peers.

mod data;
mod integers;
mod plain;
mod product;
mod special;

use std::borrow::Cow;
use std::sync::Arc;

use fulgurite::spec::eval::{self, Components};
use fulgurite::{DeviceSnapshot, LaunchOptions, Literal, VerifiedKernel};
use fulgurite_conformance::special::{close, is_moved, is_product_and_sum};

use data::Random;
use integers::{radix_pass, scan_lookback, scan_passes};
use product::{matmul_f16, matmul_f32};

pub use plain::{Plain, Rival, rivals};
pub use special::special;

/// One launch of a problem.
pub struct Step {
    /// Name of the kernel, and of the foreign module that it is compared with.
    pub name: &'static str,
    /// Text of the kernel.
    pub text: Cow<'static, str>,
    /// Indices of the problem's buffers that it binds.
    pub buffers: Vec<usize>,
    /// Its parameters.
    pub params: Vec<Components>,
    /// Its grid.
    pub options: LaunchOptions,
}

/// Amount of work that a problem's time is related to.
#[derive(Clone, Copy, Debug)]
pub enum Work {
    /// Bytes that must be read or written.
    Bytes(u64),
    /// Multiplications and additions.
    Operations(f64),
    /// Elements that are moved.
    Elements(u64),
}

/// Compares the buffers' contents after a run with plain Rust. The snapshot tells which types keep their subnormals.
pub type Check = Box<dyn Fn(&[Vec<u8>], &DeviceSnapshot) -> Result<(), String>>;

/// Work for one or more kernels.
pub struct Problem {
    /// Name of the problem.
    pub name: &'static str,
    /// Size, for people.
    pub size: String,
    /// Initial contents of the buffers.
    pub buffers: Vec<Vec<u8>>,
    /// Buffers that must be restored before each run.
    pub reset: Vec<usize>,
    /// The launches, in order.
    pub steps: Vec<Step>,
    /// The work that the time is related to.
    pub work: Work,
    /// Returns a description of the first mismatch in the buffers after a run.
    pub check: Check,
}

/// Scale of problem sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scale {
    /// Small enough for an interpreter.
    Test,
    /// For a quick run on a CPU.
    Quick,
    /// For a full measurement of a CPU.
    Host,
    /// For a full measurement of a GPU.
    Full,
}

impl Scale {
    /// Returns one of four values, given in the order of the scales.
    pub fn pick<T: Copy>(self, [test, quick, host, full]: [T; 4]) -> T {
        match self {
            Self::Test => test,
            Self::Quick => quick,
            Self::Host => host,
            Self::Full => full,
        }
    }

    /// Returns the size in bytes of buffers in copy measurements.
    pub fn copied_bytes(self) -> usize {
        self.pick([1 << 20, 16 << 20, 128 << 20, 512 << 20])
    }
}

/// Names of all problems.
pub const NAMES: &[&str] = &[
    "saxpy",
    "transpose",
    "softmax",
    "matmul_f32",
    "scan_lookback",
    "scan_passes",
    "radix_pass",
    "matmul_f16",
];

/// Returns a problem by name.
pub fn problem(name: &str, scale: Scale) -> Option<Problem> {
    let tiles = |tile: u32, [test, quick, host, full]: [u32; 4]| {
        scale.pick([test * tile, 1 << quick, 1 << host, 1 << full])
    };
    Some(match name {
        "saxpy" => saxpy(scale.pick([1000, 1 << 20, 1 << 24, 1 << 27])),
        "transpose" => {
            let [rows, columns] = scale.pick([[128, 192], [1024; 2], [4096; 2], [16384; 2]]);
            transpose(rows, columns)
        }
        "softmax" => {
            let [rows, columns] = scale.pick([[5, 1036], [256, 2048], [2048, 4096], [16384, 8192]]);
            softmax(rows, columns)
        }
        "matmul_f32" => {
            let [m, n, k] = scale.pick([[128, 256, 48], [256; 3], [1024; 3], [4096; 3]]);
            matmul_f32(m, n, k)
        }
        "matmul_f16" => {
            let [m, n, k] = scale.pick([[128, 256, 96], [256; 3], [1024; 3], [8192; 3]]);
            matmul_f16(m, n, k)
        }
        "scan_lookback" => scan_lookback(tiles(4096, [5, 20, 24, 28])),
        "scan_passes" => scan_passes(tiles(4096, [5, 20, 24, 28])),
        "radix_pass" => radix_pass(tiles(4096, [4, 18, 22, 26])),
        _ => return None,
    })
}

/// Parses and verifies the kernel of a step.
///
/// # Errors
/// The first problem in the text.
pub fn kernel(step: &Step) -> Result<Arc<VerifiedKernel>, fulgurite::Error> {
    fulgurite::parse(&step.text)
}

macro_rules! text {
    ($name:literal) => {
        text!("/../examples/kernels/", $name)
    };
    ($folder:literal, $name:literal) => {
        std::borrow::Cow::Borrowed(include_str!(concat!(env!("CARGO_MANIFEST_DIR"), $folder, $name, ".fg")))
    };
}
use text;

fn u32_param(value: u32) -> Components {
    eval::splat_low(Literal::from(value).bits)
}

/// y ← a·x + y, f32, of random numbers.
fn saxpy(count: u32) -> Problem {
    let mut random = Random::new(8);
    let x = random.floats(count as usize, 1.0);
    saxpy_of(3.0, x, random.floats(count as usize, 1.0))
}

/// y ← a·x + y, f32: the product and the sum are rounded separately.
fn saxpy_of(a: f32, x: Vec<f32>, y: Vec<f32>) -> Problem {
    let count = x.len();
    let buffers = vec![data::from_floats(&x), data::from_floats(&y)];
    let check = move |after: &[Vec<u8>], device: &DeviceSnapshot| {
        let out = data::to_floats(&after[1]);
        for (i, ((x, y), got)) in x.iter().zip(&y).zip(&out).enumerate() {
            if !is_product_and_sum(*got, [a, *x, *y], device) {
                return Err(format!("element {i} is {got:e}, not {a:e} · {x:e} + {y:e}"));
            }
        }
        Ok(())
    };
    Problem {
        name: "saxpy",
        size: format!("{count} f32, a = {a:e}"),
        buffers,
        reset: Vec::new(),
        steps: vec![Step {
            name: "saxpy",
            text: text!("saxpy"),
            buffers: vec![0, 1],
            params: vec![eval::splat_low(Literal::from(a).bits)],
            options: LaunchOptions::linear(count as u64),
        }],
        work: Work::Bytes(count as u64 * 12),
        check: Box::new(check),
    }
}

/// The problem `saxpy` with a kernel that leaves the bounds of its accesses to the language.
pub fn saxpy_implicit(scale: Scale) -> Option<Problem> {
    let mut problem = problem("saxpy", scale)?;
    problem.name = "saxpy, implicit guards";
    for step in &mut problem.steps {
        (step.name, step.text) = ("saxpy_implicit", text!("/kernels/", "saxpy_implicit"));
    }
    Some(problem)
}

/// y = xᵀ, of random bits.
fn transpose(rows: u32, columns: u32) -> Problem {
    transpose_of(rows, columns, Random::new(1).words(rows as usize * columns as usize))
}

/// y = xᵀ, f32: elements are moved without arithmetic.
fn transpose_of(rows: u32, columns: u32, input: Vec<u32>) -> Problem {
    let bytes = data::from_words(&input);
    let out = vec![0; bytes.len()];
    let check = move |after: &[Vec<u8>], device: &DeviceSnapshot| {
        let out = data::to_words(&after[1]);
        for r in 0..rows as usize {
            for c in 0..columns as usize {
                let (wanted, got) = (input[r * columns as usize + c], out[c * rows as usize + r]);
                if !is_moved(wanted, got, device) {
                    return Err(format!("element ({c}, {r}) is {got:#x}, not {wanted:#x}"));
                }
            }
        }
        Ok(())
    };
    Problem {
        name: "transpose",
        size: format!("{rows} × {columns} f32"),
        buffers: vec![bytes, out],
        reset: Vec::new(),
        steps: vec![Step {
            name: "transpose",
            text: text!("transpose"),
            buffers: vec![0, 1],
            params: vec![u32_param(rows), u32_param(columns)],
            options: LaunchOptions::workgroups([columns / 64, rows / 64, 1]),
        }],
        work: Work::Bytes(u64::from(rows) * u64::from(columns) * 8),
        check: Box::new(check),
    }
}

/// y = exp(x − max) / Σ exp(x − max) of each row, f32, of random numbers.
fn softmax(rows: u32, columns: u32) -> Problem {
    softmax_of(columns, Random::new(2).floats(rows as usize * columns as usize, 20.0))
}

/// y = exp(x − max) / Σ exp(x − max) of each row, f32. All elements of a row are NaN if it contains a NaN or +inf, or
/// if all of its elements are -inf.
fn softmax_of(columns: u32, input: Vec<f32>) -> Problem {
    let bytes = data::from_floats(&input);
    let (out, rows) = (vec![0; bytes.len()], input.len() as u32 / columns);
    let check = move |after: &[Vec<u8>], _: &DeviceSnapshot| {
        let out = data::to_floats(&after[1]);
        for (r, (row, got)) in input.chunks(columns as usize).zip(out.chunks(columns as usize)).enumerate() {
            let most = row.iter().fold(f64::NEG_INFINITY, |m, v| m.max(f64::from(*v)));
            let sum: f64 = row.iter().map(|v| (f64::from(*v) - most).exp()).sum();
            for (c, (x, y)) in row.iter().zip(got).enumerate() {
                let wanted = (f64::from(*x) - most).exp() / sum;
                // exp is accurate to 3 + 2·|x| ULP, here with |x| at most 40; the sums add a few hundred ULP at worst.
                // A masked element is exactly 0.
                let bound = if *x == f32::NEG_INFINITY { 0.0 } else { 1e-4 * wanted + 1e-12 };
                if !close(*y, wanted, bound) {
                    return Err(format!("element ({r}, {c}) is {y:e}, not {wanted:e}"));
                }
            }
        }
        Ok(())
    };
    Problem {
        name: "softmax",
        size: format!("{rows} × {columns} f32"),
        buffers: vec![bytes, out],
        reset: Vec::new(),
        steps: vec![Step {
            name: "softmax",
            text: text!("softmax"),
            buffers: vec![0, 1],
            params: vec![u32_param(columns)],
            options: LaunchOptions::workgroups([1, rows, 1]),
        }],
        work: Work::Bytes(u64::from(rows) * u64::from(columns) * 8),
        check: Box::new(check),
    }
}
