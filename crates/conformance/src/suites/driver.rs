//! The engine around a backend, tested through its public types only: contracts of buffers, calls, order, options,
//! compiling, counters, threads, graphs, and of launches that trap or never end.
//!
//! A case compares one value with plain Rust, or one refusal with its code. Operations that may hang are abandoned
//! after [`PATIENCE`].

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

/// Timeout after which an operation counts as hung, far above the duration of any contract.
const PATIENCE: Duration = Duration::from_secs(60);

/// `y = y · 31 + x + a`; the result depends on the order of two launches.
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

/// `out = x − y · a`, and `z` is incremented.
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

/// Traps for each nonzero word of `x`; otherwise `out = x + 1`.
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

/// Parses and verifies a kernel of this suite. A test of this module checks that each verifies.
pub(super) fn kernel(text: &str) -> Result<Arc<VerifiedKernel>, Error> {
    Ok(Arc::new(fulgurite_ir::text::parse(text).and_then(fulgurite_ir::verify)?))
}

fn compile(device: &Device, text: &str) -> Result<Program, Error> {
    device.compile(&kernel(text)?, &CompileOptions::default())
}

/// Returns a parameter of type `u32`.
fn word(value: u32) -> Components {
    [u64::from(value), 0, 0, 0]
}

fn random_words(random: &mut Random, count: usize) -> Vec<u32> {
    (0..count).map(|_| random.word()).collect()
}

fn to_words(bytes: &[u8]) -> Vec<u32> {
    bytes.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}

/// Returns the result of `work`, or `None` if it takes longer than [`PATIENCE`]; its thread is then abandoned.
fn bounded<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        // The receiver is gone if the result is late.
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
