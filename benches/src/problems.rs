//! The kernels of `examples/kernels` on problems of any size: inputs, launches, and what must come out.

mod data;

use std::sync::Arc;

use fulgurite::spec::eval::{self, Components};
use fulgurite::{LaunchOptions, Literal, VerifiedKernel};

use data::Random;

/// One launch of a problem.
pub struct Step {
    /// The kernel's name, which is also that of what it is compared with.
    pub name: &'static str,
    /// Its text.
    pub text: &'static str,
    /// Which of the problem's buffers it binds.
    pub buffers: Vec<usize>,
    /// Its parameters.
    pub params: Vec<Components>,
    /// Its grid.
    pub options: LaunchOptions,
}

/// What a problem's time is put in proportion to.
#[derive(Clone, Copy, Debug)]
pub enum Work {
    /// Bytes that must be read or written.
    Bytes(u64),
    /// Multiplications and additions.
    Operations(f64),
    /// Elements that are moved to their place.
    Elements(u64),
}

/// Whether what the buffers hold afterwards is right.
pub type Check = Box<dyn Fn(&[Vec<u8>]) -> Result<(), String>>;

/// Work for one or more kernels.
pub struct Problem {
    /// Its name.
    pub name: &'static str,
    /// Its size, for people.
    pub size: String,
    /// What the buffers hold before.
    pub buffers: Vec<Vec<u8>>,
    /// Buffers that must hold that again before each run.
    pub reset: Vec<usize>,
    /// What is launched, in order.
    pub steps: Vec<Step>,
    /// What the time is measured by.
    pub work: Work,
    /// Says what is wrong with the buffers afterwards, if anything.
    pub check: Check,
}

/// How large problems are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Small enough for an interpreter.
    Test,
    /// As large as a GPU is measured with.
    Full,
}

/// The problems there are.
pub const NAMES: &[&str] =
    &["transpose", "softmax", "matmul_f32", "scan_lookback", "scan_passes", "radix_pass", "matmul_f16"];

/// A problem by name.
pub fn problem(name: &str, scale: Scale) -> Option<Problem> {
    let full = scale == Scale::Full;
    Some(match name {
        "transpose" if full => transpose(16384, 16384),
        "transpose" => transpose(128, 192),
        "softmax" if full => softmax(16384, 8192),
        "softmax" => softmax(5, 1036),
        "matmul_f32" if full => matmul_f32(4096, 4096, 4096),
        "matmul_f32" => matmul_f32(128, 256, 48),
        "matmul_f16" if full => matmul_f16(8192, 8192, 8192),
        "matmul_f16" => matmul_f16(128, 256, 96),
        "scan_lookback" => scan_lookback(if full { 1 << 28 } else { 5 * 4096 }),
        "scan_passes" => scan_passes(if full { 1 << 28 } else { 5 * 4096 }),
        "radix_pass" => radix_pass(if full { 1 << 26 } else { 4 * 4096 }),
        _ => return None,
    })
}

/// A kernel of `examples/kernels`, parsed and verified.
///
/// # Errors
/// What is wrong with the text.
pub fn kernel(step: &Step) -> Result<Arc<VerifiedKernel>, fulgurite::Error> {
    fulgurite::parse(step.text)
}

macro_rules! text {
    ($name:literal) => {
        include_str!(concat!("../../examples/kernels/", $name, ".fg"))
    };
}

fn u32_param(value: u32) -> Components {
    eval::splat_low(Literal::from(value).bits)
}

/// y = xᵀ, f32.
pub fn transpose(rows: u32, columns: u32) -> Problem {
    let count = rows as usize * columns as usize;
    let input = Random::new(1).words(count);
    let expected = input.clone();
    let check = move |after: &[Vec<u8>]| {
        let out = data::to_words(&after[1]);
        for r in 0..rows as usize {
            for c in 0..columns as usize {
                let (wanted, got) = (expected[r * columns as usize + c], out[c * rows as usize + r]);
                if wanted != got {
                    return Err(format!("element ({c}, {r}) is {got:#x}, not {wanted:#x}"));
                }
            }
        }
        Ok(())
    };
    Problem {
        name: "transpose",
        size: format!("{rows} × {columns} f32"),
        buffers: vec![data::from_words(&input), vec![0; count * 4]],
        reset: Vec::new(),
        steps: vec![Step {
            name: "transpose",
            text: text!("transpose"),
            buffers: vec![0, 1],
            params: vec![u32_param(rows), u32_param(columns)],
            options: LaunchOptions::workgroups([columns / 64, rows / 64, 1]),
        }],
        work: Work::Bytes(count as u64 * 8),
        check: Box::new(check),
    }
}

/// y = exp(x − max) / Σ exp(x − max) of each row, f32.
pub fn softmax(rows: u32, columns: u32) -> Problem {
    let count = rows as usize * columns as usize;
    let input = Random::new(2).floats(count, 20.0);
    let given = input.clone();
    let check = move |after: &[Vec<u8>]| {
        let out = data::to_floats(&after[1]);
        for (r, (row, got)) in given.chunks(columns as usize).zip(out.chunks(columns as usize)).enumerate() {
            let most = row.iter().fold(f64::NEG_INFINITY, |m, v| m.max(f64::from(*v)));
            let sum: f64 = row.iter().map(|v| (f64::from(*v) - most).exp()).sum();
            for (c, (x, y)) in row.iter().zip(got).enumerate() {
                let wanted = (f64::from(*x) - most).exp() / sum;
                // exp is within 3 + 2·|x| ULP, here of at most 40; the sums add a few hundred at worst.
                if (f64::from(*y) - wanted).abs() > 1e-4 * wanted + 1e-12 {
                    return Err(format!("element ({r}, {c}) is {y:e}, not {wanted:e}"));
                }
            }
        }
        Ok(())
    };
    Problem {
        name: "softmax",
        size: format!("{rows} × {columns} f32"),
        buffers: vec![data::from_floats(&input), vec![0; count * 4]],
        reset: Vec::new(),
        steps: vec![Step {
            name: "softmax",
            text: text!("softmax"),
            buffers: vec![0, 1],
            params: vec![u32_param(columns)],
            options: LaunchOptions::workgroups([1, rows, 1]),
        }],
        work: Work::Bytes(count as u64 * 8),
        check: Box::new(check),
    }
}

/// Rows and columns of a product that are compared with plain Rust: all of small ones.
fn picked(count: usize) -> impl Iterator<Item = usize> + Clone {
    (0..count).step_by((count / 64).max(1))
}

/// C = A · B, f32.
pub fn matmul_f32(m: u32, n: u32, k: u32) -> Problem {
    let mut random = Random::new(3);
    let mut floats = |rows: u32, columns: u32| random.floats(rows as usize * columns as usize, 1.0);
    let (a, b) = (floats(m, k), floats(k, n));
    let buffers = [data::from_floats(&a), data::from_floats(&b)];
    product("matmul_f32", text!("matmul_f32"), [m, n, k], buffers, move |i| a[i].into(), move |i| b[i].into())
}

/// C = A · B of matrices that lie row after row: `buffers` are A (M × K) and B (K × N), `a` and `b` their elements by
/// position; C is f32.
fn product(
    name: &'static str,
    text: &'static str,
    [m, n, k]: [u32; 3],
    [a_bytes, b_bytes]: [Vec<u8>; 2],
    a: impl Fn(usize) -> f64 + Send + Sync + 'static,
    b: impl Fn(usize) -> f64 + Send + Sync + 'static,
) -> Problem {
    let [rows, columns, depth] = [m, n, k].map(|size| size as usize);
    let check = move |after: &[Vec<u8>]| {
        let out = data::to_floats(&after[2]);
        for r in picked(rows) {
            for c in picked(columns) {
                let products = (0..depth).map(|i| a(r * depth + i) * b(i * columns + c));
                let (sum, size) = products.fold((0.0, 0.0), |(sum, size), p| (sum + p, size + p.abs()));
                let got = f64::from(out[r * columns + c]);
                // Each of as many additions rounds once, in whatever order.
                if (got - sum).abs() > depth as f64 * f64::from(f32::EPSILON) * size {
                    return Err(format!("element ({r}, {c}) is {got}, not {sum}"));
                }
            }
        }
        Ok(())
    };
    Problem {
        name,
        size: format!("{m} × {k} · {k} × {n}"),
        buffers: vec![a_bytes, b_bytes, vec![0; rows * columns * 4]],
        reset: Vec::new(),
        steps: vec![Step {
            name,
            text,
            buffers: vec![0, 1, 2],
            params: [m, n, k].map(u32_param).to_vec(),
            options: LaunchOptions::workgroups([n / 128, m / 128, 1]),
        }],
        work: Work::Operations(2.0 * f64::from(m) * f64::from(n) * f64::from(k)),
        check: Box::new(check),
    }
}

/// Checks inclusive sums of `input`, which wrap.
fn check_sums(input: &[u32], out: &[u32]) -> Result<(), String> {
    let mut sum = 0u32;
    for (i, (x, y)) in input.iter().zip(out).enumerate() {
        sum = sum.wrapping_add(*x);
        if sum != *y {
            return Err(format!("element {i} is {y}, not {sum}"));
        }
    }
    Ok(())
}

/// y = inclusive sums of x, u32, by look-back.
pub fn scan_lookback(count: u32) -> Problem {
    let input = Random::new(4).words(count as usize);
    let tiles = count / 4096;
    let bytes = data::from_words(&input);
    let check = move |after: &[Vec<u8>]| check_sums(&input, &data::to_words(&after[1]));
    Problem {
        name: "scan_lookback",
        size: format!("{count} u32"),
        buffers: vec![bytes, vec![0; count as usize * 4], vec![0; 4], vec![0; tiles as usize * 8]],
        reset: vec![2, 3],
        steps: vec![Step {
            name: "scan_lookback",
            text: text!("scan_lookback"),
            buffers: vec![0, 1, 2, 3],
            params: Vec::new(),
            options: LaunchOptions::workgroups([tiles, 1, 1]),
        }],
        work: Work::Bytes(u64::from(count) * 8),
        check: Box::new(check),
    }
}

/// The three kernels of a scan without look-back: `from` to `to` by way of `sums`.
fn scan_steps(tiles: u32, from: usize, sums: usize, to: usize) -> [Step; 3] {
    let options = LaunchOptions::workgroups([tiles, 1, 1]);
    [
        Step {
            name: "scan_reduce",
            text: text!("scan_reduce"),
            buffers: vec![from, sums],
            params: Vec::new(),
            options: options.clone(),
        },
        Step {
            name: "scan_spine",
            text: text!("scan_spine"),
            buffers: vec![sums],
            params: vec![u32_param(tiles.next_multiple_of(4))],
            options: LaunchOptions::workgroups([1, 1, 1]),
        },
        Step {
            name: "scan_down",
            text: text!("scan_down"),
            buffers: vec![from, sums, to],
            params: Vec::new(),
            options,
        },
    ]
}

/// y = inclusive sums of x, u32, in passes.
pub fn scan_passes(count: u32) -> Problem {
    let input = Random::new(5).words(count as usize);
    let tiles = count / 4096;
    let bytes = data::from_words(&input);
    let check = move |after: &[Vec<u8>]| check_sums(&input, &data::to_words(&after[2]));
    Problem {
        name: "scan_passes",
        size: format!("{count} u32"),
        buffers: vec![bytes, vec![0; tiles.next_multiple_of(4) as usize * 4], vec![0; count as usize * 4]],
        reset: Vec::new(),
        steps: scan_steps(tiles, 0, 1, 2).into(),
        work: Work::Bytes(u64::from(count) * 8),
        check: Box::new(check),
    }
}

/// Keys in the order of their second digit of four bits, equal ones as they were.
pub fn radix_pass(count: u32) -> Problem {
    const SHIFT: u32 = 4;
    let input = Random::new(6).words(count as usize);
    let tiles = count / 2048;
    // Counts are scanned in whole tiles of 4,096; those beyond stay zero.
    let counts = (tiles * 16).next_multiple_of(4096);
    let bytes = data::from_words(&input);
    let check = move |after: &[Vec<u8>]| {
        let mut sorted = input.clone();
        sorted.sort_by_key(|key| key >> SHIFT & 15);
        let out = data::to_words(&after[4]);
        match sorted.iter().zip(&out).position(|(a, b)| a != b) {
            None => Ok(()),
            Some(i) => Err(format!("element {i} is {:#x}, not {:#x}", out[i], sorted[i])),
        }
    };
    let options = LaunchOptions::workgroups([tiles, 1, 1]);
    let mut steps = vec![Step {
        name: "radix_count",
        text: text!("radix_count"),
        buffers: vec![0, 1],
        params: vec![u32_param(SHIFT)],
        options: options.clone(),
    }];
    steps.extend(scan_steps(counts / 4096, 1, 2, 3));
    steps.push(Step {
        name: "radix_scatter",
        text: text!("radix_scatter"),
        buffers: vec![0, 3, 4],
        params: vec![u32_param(SHIFT)],
        options,
    });
    let words = |count: u32| vec![0; count as usize * 4];
    Problem {
        name: "radix_pass",
        size: format!("{count} keys, 4 bits"),
        buffers: vec![
            bytes,
            words(counts),
            words((counts / 4096).next_multiple_of(4)),
            words(counts),
            words(count),
        ],
        reset: Vec::new(),
        steps,
        work: Work::Elements(u64::from(count)),
        check: Box::new(check),
    }
}

/// C = A · B, factors f16, sums f32.
pub fn matmul_f16(m: u32, n: u32, k: u32) -> Problem {
    let mut random = Random::new(7);
    let mut halves = |rows: u32, columns: u32| -> Vec<half::f16> {
        let floats = random.floats(rows as usize * columns as usize, 1.0);
        floats.into_iter().map(half::f16::from_f32).collect()
    };
    let (a, b) = (halves(m, k), halves(k, n));
    let bytes = |values: &[half::f16]| values.iter().flat_map(|v| v.to_le_bytes()).collect();
    let buffers = [bytes(&a), bytes(&b)];
    product("matmul_f16", text!("matmul_f16"), [m, n, k], buffers, move |i| a[i].into(), move |i| b[i].into())
}
