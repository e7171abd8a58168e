//! The engine round a backend, through its public types alone: each contract of buffers, calls, order, options,
//! compiling, counters, threads, graphs, and of launches that trap or never end.
//!
//! A case is one value compared with what plain Rust says, or one refusal compared with its code. Whatever may hang is
//! waited for no longer than [`PATIENCE`].

mod buffers;
mod calls;
mod compiling;
mod counting;
mod ending;
mod graphs;
mod many;
mod order;
mod random_graphs;
mod stated;

use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use fulgurite_hal::{CompileOptions, Error};
use fulgurite_ir::VerifiedKernel;
use fulgurite_runtime::{Device, Program};
use fulgurite_spec::eval::Components;

use crate::harness::Harness;
use crate::suites::checks;
use crate::values::Random;

/// How long anything of this suite may take before it counts as hung. No contract is that slow.
const PATIENCE: Duration = Duration::from_secs(60);

/// `y = y · 31 + x + a`, so that the order of two launches shows.
const STEP: &str = "fulgurite 1
kernel @step workgroup(32, 1, 1) {
  buffer %x: read u32[]
  buffer %y: read_write u32[]
  param %a: u32
  %i = global_id.x
  %v = load %x[%i]
  %o = load %y[%i]
  %m = mul %o, 31u32
  %s = add %m, %v
  %r = add %s, %a
  store %y[%i], %r
}
";

/// `out = x · 3 + a`.
const MAP: &str = "fulgurite 1
kernel @map workgroup(32, 1, 1) {
  buffer %x: read u32[]
  buffer %out: write u32[]
  param %a: u32
  %i = global_id.x
  %v = load %x[%i]
  %m = mul %v, 3u32
  %r = add %m, %a
  store %out[%i], %r
}
";

/// `out = x − y · a`, and `z` is counted up.
const JOIN: &str = "fulgurite 1
kernel @join workgroup(32, 1, 1) {
  buffer %x: read u32[]
  buffer %y: read u32[]
  buffer %out: write u32[]
  buffer %z: read_write u32[]
  param %a: u32
  %i = global_id.x
  %v = load %x[%i]
  %w = load %y[%i]
  %m = mul %w, %a
  %r = sub %v, %m
  store %out[%i], %r
  %c = load %z[%i]
  %d = add %c, 1u32
  store %z[%i], %d
}
";

/// Traps with each word of `x` that is not zero; `out = x + 1` elsewhere.
const TRAP: &str = "fulgurite 1
kernel @trap workgroup(32, 1, 1) {
  buffer %x: read u32[]
  buffer %out: write u32[]
  %i = global_id.x
  %v = load %x[%i]
  %bad = ne %v, 0u32
  if %bad {
    trap %v
  }
  %w = add %v, 1u32
  store %out[%i], %w
}
";

fn step([x, y]: [u32; 2], a: u32) -> u32 {
    y.wrapping_mul(31).wrapping_add(x).wrapping_add(a)
}

fn map(x: u32, a: u32) -> u32 {
    x.wrapping_mul(3).wrapping_add(a)
}

fn join([x, y]: [u32; 2], a: u32) -> u32 {
    x.wrapping_sub(y.wrapping_mul(a))
}

pub(super) fn run(harness: &mut Harness<'_>, progress: &mut dyn FnMut(usize, usize)) {
    let parts = [
        buffers::PARTS,
        calls::PARTS,
        order::PARTS,
        stated::PARTS,
        compiling::PARTS,
        counting::PARTS,
        many::PARTS,
        graphs::PARTS,
        random_graphs::PARTS,
        ending::PARTS,
    ]
    .concat();
    checks::run(harness, &parts, progress);
}

/// A kernel of this suite. Each verifies: a test of this module shows it.
pub(super) fn kernel(text: &str) -> Result<Arc<VerifiedKernel>, Error> {
    Ok(Arc::new(fulgurite_ir::text::parse(text).and_then(fulgurite_ir::verify)?))
}

fn compile(device: &Device, text: &str) -> Result<Program, Error> {
    device.compile(&kernel(text)?, &CompileOptions::default())
}

/// A parameter of type `u32`.
fn word(value: u32) -> Components {
    [u64::from(value), 0, 0, 0]
}

fn random_words(random: &mut Random, count: usize) -> Vec<u32> {
    (0..count).map(|_| random.word()).collect()
}

fn to_words(bytes: &[u8]) -> Vec<u32> {
    bytes.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}

/// What `work` gives, or `None` if it takes longer than [`PATIENCE`]: then its thread is left behind.
fn bounded<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        // Nobody listens to what comes too late.
        let _ = sender.send(work());
    });
    receiver.recv_timeout(PATIENCE).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kernel_verifies() {
        for text in [STEP, MAP, JOIN, TRAP, ending::YEARS] {
            assert!(kernel(text).is_ok(), "{text}{}", kernel(text).unwrap_err());
        }
    }
}
