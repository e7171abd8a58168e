//! Benchmarks: kernels, problems, peers, and the suites of `cargo xtask bench`. The criterion benchmarks use the same
//! code.
//!
//! | module | owns |
//! |---|---|
//! | `problems` | the kernels of `examples/kernels` and `benches/kernels` on problems of any size, and plain Rust for them |
//! | `run` | problems on a backend |
//! | `compile` | compiling, and naga |
//! | `copy` | copies: ours, host memory, raw Vulkan |
//! | `entries` | entries of the pipeline cache |
//! | `raw` | the subset of raw Vulkan that peers need |
//! | `launch` | launches: ours, raw Vulkan, rayon, wgpu |
//! | `start` | processes that start and compute a first result |
//! | `timing` `measurement` | times and spreads; values, units and ratios |
//! | `target` | the measured backend |
//! | `suites` | the measured results |
//!
//! Reports, baselines and command lines belong in `xtask`. Only modules that call Vulkan or `matrixmultiply` contain
//! unsafe code.

pub mod compile;
pub mod copy;
pub mod entries;
pub mod launch;
pub mod measurement;
pub mod problems;
mod raw;
pub mod run;
pub mod start;
pub mod suites;
pub mod target;
pub mod timing;

pub use measurement::{Amount, Measurement, Unit};
pub use suites::{Options, Session, Starter, Suite};
pub use target::Target;

use std::fmt::Write as _;

/// The text of a kernel for y ← a·x + y.
pub const SAXPY: &str = "fulgurite 1
kernel @saxpy workgroup(256, 1, 1) {
  buffer %x: read f32[]
  buffer %y: read_write f32[]
  param %a: f32

  %i = global_id.x
  %n = len %y
  %in = lt %i, %n
  if %in {
    %0 = load %x[%i]
    %1 = load %y[%i]
    %2 = mul %a, %0
    %3 = add %2, %1
    store %y[%i], %3
  }
}
";

/// The text of a kernel with one workgroup of 64 invocations, each of which stores one word.
pub const SMALL: &str = "fulgurite 1
kernel @small workgroup(64, 1, 1) {
  buffer %out: write u32[]

  %i = global_id.x
  store %out[%i], %i
}
";

/// Returns the text of a kernel of `count` additions, each of which depends on the previous one.
pub fn chained_adds(count: usize) -> String {
    let mut text = String::from(
        "fulgurite 1\nkernel @chain workgroup(64, 1, 1) {\n  buffer %x: read_write u32[]\n\n  %i = global_id.x\n  %0 = load %x[%i]\n",
    );
    for n in 0..count {
        let _ = writeln!(text, "  %{} = add %{n}, %i", n + 1);
    }
    let _ = writeln!(text, "  store %x[%i], %{count}\n}}");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_kernels_verify() {
        for text in [SAXPY, SMALL, &chained_adds(0), &chained_adds(1000)] {
            fulgurite::parse(text).unwrap();
        }
        assert_eq!(fulgurite::parse(&chained_adds(1000)).unwrap().insts.len(), 1003);
    }
}
