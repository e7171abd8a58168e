//! The table of workloads that have both a kernel and a peer: plain Rust on all threads of rayon. Submodules own the
//! peers, and the problems whose kernels are in `benches/kernels`.

mod bodies;
mod counts;
mod digests;
mod elementwise;
mod finance;
mod grids;
mod product;

use fulgurite::kernels::family;
use fulgurite::{DeviceSnapshot, Error, autotune, ir};

use super::integers::{scan_lookback, scan_passes};
use super::{Problem, Scale, Step, matmul_f32, saxpy, transpose};
use bodies::{n_body, plain_n_body};
use counts::{
    byte_histogram, compaction, histogram, plain_byte_histogram, plain_compaction, plain_histogram,
    plain_scan_lookback, plain_scan_passes, plain_sum, sum,
};
use digests::{plain_sha3, sha3};
use elementwise::{chain, hash, plain_chain, plain_hash, plain_saxpy};
use finance::{black_scholes, plain_black_scholes};
use grids::{box_blur, heat, mandelbrot, plain_box_blur, plain_heat, plain_mandelbrot, plain_transpose};
use product::plain_matmul;

/// A plain Rust implementation of a problem.
pub trait Plain {
    /// Runs it.
    fn run(&mut self);
    /// Returns the expected contents of the problem's buffers, where those that the problem does not check may be empty.
    fn buffers(&self) -> Vec<Vec<u8>>;
}

/// A problem with a plain Rust implementation.
#[derive(Clone, Copy, Debug)]
pub struct Rival {
    /// Name of the workload.
    pub name: &'static str,
    /// Name of the peer.
    pub peer: &'static str,
    /// The family of the kernel library whose kernel runs instead of the problem's own.
    pub family: Option<&'static str>,
    /// Problem size for each scale.
    sizes: [u32; 4],
    make: fn(u32) -> (Problem, Box<dyn Plain>),
}

impl Rival {
    /// Returns the name with the problem size.
    pub fn name(&self, scale: Scale) -> String {
        format!("{}, {}", self.name, scale.pick(self.sizes))
    }

    /// Returns the problem and its plain Rust implementation.
    pub fn make(&self, scale: Scale) -> (Problem, Box<dyn Plain>) {
        (self.make)(scale.pick(self.sizes))
    }

    /// Has a problem of [`Rival::make`] use the family's kernel, if there is one, in the configuration that the family chooses
    /// for a device.
    ///
    /// # Errors
    /// The family has no configuration for the device.
    pub fn choose(&self, problem: &mut Problem, scale: Scale, device: &DeviceSnapshot) -> Result<(), Error> {
        let Some(family) = self.family.and_then(family) else { return Ok(()) };
        let instance = family.instance(device, &scale.pick(self.sizes).to_string())?;
        let plan = instance.candidates[instance.heuristic].plan()?;
        let step = |step: &autotune::Step| Step {
            name: family.id,
            text: ir::text::print(&step.kernel).into(),
            // The arguments of the family are the buffers of the problem, in order.
            buffers: (0..step.buffers.len()).collect(),
            params: step.params.clone(),
            options: step.options.clone(),
        };
        problem.steps = plan.steps.iter().map(step).collect();
        Ok(())
    }
}

/// Returns all of them.
pub fn rivals() -> [Rival; 18] {
    let rival = |name, peer, sizes, make| Rival { name, peer, family: None, sizes, make };
    let product = |name, sizes| Rival {
        family: Some("matmul_f32"),
        ..rival(name, "matrixmultiply", sizes, |side| with(matmul_f32(side, side, side), plain_matmul))
    };
    [
        rival("saxpy", "rayon", [1000, 1 << 20, 1 << 24, 1 << 26], |count| with(saxpy(count), plain_saxpy)),
        rival("chain", "rayon", [1000, 1 << 18, 1 << 24, 1 << 26], |count| with(chain(count), plain_chain)),
        rival("sum", "rayon", [20_000, 1 << 18, 1 << 24, 1 << 28], |count| with(sum(count), plain_sum)),
        rival("transpose", "rayon", [128, 512, 4096, 16384], |side| {
            with(transpose(side, side), plain_transpose)
        }),
        rival("box blur", "rayon", [32, 512, 2048, 8192], |side| with(box_blur(side), plain_box_blur)),
        rival("heat", "rayon", [40, 512, 2048, 8192], |side| with(heat(side), plain_heat)),
        product("matmul", [128, 128, 512, 2048]),
        product("large matmul", [128, 256, 1024, 4096]),
        rival("histogram", "rayon", [4096, 1 << 18, 1 << 24, 1 << 26], |count| {
            with(histogram(count), plain_histogram)
        }),
        rival("byte histogram", "rayon", [100_000, 1 << 19, 100_000_000, 1_000_000_000], |count| {
            with(byte_histogram(count), plain_byte_histogram)
        }),
        rival("scan in passes", "rayon", [20_480, 1 << 18, 1 << 24, 1 << 28], |count| {
            with(scan_passes(count), plain_scan_passes)
        }),
        rival("scan with look-back", "rayon", [20_480, 1 << 18, 1 << 24, 1 << 28], |count| {
            with(scan_lookback(count), plain_scan_lookback)
        }),
        rival("compaction", "rayon", [10_240, 1 << 18, 1 << 24, 1 << 28], |count| {
            with(compaction(count), plain_compaction)
        }),
        rival("hash", "rayon", [300, 1 << 14, 1 << 20, 1 << 26], |count| with(hash(count), plain_hash)),
        rival("SHA3-256", "keccak", [100, 1 << 10, 1 << 17, 1 << 22], |count| with(sha3(count), plain_sha3)),
        rival("Black-Scholes", "rayon", [1000, 1 << 16, 1 << 22, 1 << 26], |count| {
            with(black_scholes(count), plain_black_scholes)
        }),
        rival("n-body", "rayon", [100, 1024, 4096, 16384], |count| with(n_body(count), plain_n_body)),
        rival("mandelbrot", "rayon", [48, 256, 1024, 4096], |side| with(mandelbrot(side), plain_mandelbrot)),
    ]
}

/// A plain Rust implementation with its state.
struct PlainOn<S> {
    state: S,
    run: fn(&mut S),
    buffers: fn(&S) -> Vec<Vec<u8>>,
}

impl<S> Plain for PlainOn<S> {
    fn run(&mut self) {
        (self.run)(&mut self.state);
    }

    fn buffers(&self) -> Vec<Vec<u8>> {
        (self.buffers)(&self.state)
    }
}

/// Returns a problem, and a plain Rust implementation with the same input.
fn with<S: 'static>(problem: Problem, plain: fn(&Problem) -> PlainOn<S>) -> (Problem, Box<dyn Plain>) {
    let plain = plain(&problem);
    (problem, Box::new(plain))
}

/// Elements per rayon task, enough to outweigh its overhead.
const PART: usize = 1 << 13;
