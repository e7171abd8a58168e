//! Runs of random kernels, on inputs that depend on a seed, and the files with which they run again.

use std::fmt::Write as _;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use fulgurite_backend_reference::{ReferenceDevice, ReferenceOptions};
use fulgurite_hal::{self as hal, CompileOptions, Error, LaunchOptions};
use fulgurite_ir::{BufferDecl, Kernel, ParamDecl, VerifiedKernel, text};
use fulgurite_spec::eval::Components;
use fulgurite_spec::{Code, Literal};

use super::{Numbers, OWN};
use crate::harness::{compile_on, launch_on};

/// The buffers in which matrices are stored.
pub const MATRICES: Range<usize> = 6..9;

/// The buffers, by name, in the order of their declaration.
const BUFFERS: [&str; 10] =
    ["in", "vectors", "out", "sums", "mins", "maxs", "matrices", "floats", "wide", "kept"];
/// The buffer for matrices of floats, which are not converted to words.
const FLOATS: &str = "floats";
/// The buffers that do not begin as zeros.
const INITIALIZED: [&str; 3] = ["in", "vectors", "sums"];
const WORKGROUPS: u32 = 3;
/// Timeout of a launch, which takes milliseconds.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The contents of each buffer after a launch, with one NaN for all, or the code of the error.
pub type Results = Result<Vec<Vec<u8>>, Code>;

/// The buffers and parameters of a launch of a random kernel, by name. A reduced kernel may lack some of the declarations.
#[derive(Clone, Debug)]
pub struct Inputs {
    pub(super) workgroups: u32,
    pub(super) buffers: Vec<(&'static str, Vec<u8>)>,
    params: [(&'static str, Components); 2],
}

impl Inputs {
    /// Returns the inputs of a seed for a random kernel as it was generated, of as many invocations in a workgroup, on devices
    /// with subgroups of `lanes`.
    pub fn of(kernel: &Kernel, invocations: u32, lanes: u32, seed: u64) -> Self {
        let mut numbers = Numbers::seeded(seed);
        let out = (WORKGROUPS * invocations * OWN) as usize;
        // A matrix of words and one of floats for each subgroup, and one matrix for each workgroup.
        let own = WORKGROUPS * invocations.div_ceil(lanes) * 64;
        let (own, wide) = (own as usize, WORKGROUPS as usize * 64);
        let kept = out / OWN as usize;
        // Without preconditions, the last vector of the first buffer is incomplete.
        let words = if kernel.requires.is_empty() { 41 } else { 40 };
        let sizes = [words, 32, out, 32, 8, 8, own, own, wide, kept];
        let mut contents = |(name, words): (&'static str, usize)| {
            let data = match INITIALIZED.contains(&name) {
                true => {
                    (0..words).flat_map(|_| (numbers.next_u32() >> numbers.below(32)).to_le_bytes()).collect()
                }
                false => vec![0; words * 4],
            };
            (name, data)
        };
        let buffers = BUFFERS.into_iter().zip(sizes).map(&mut contents).collect();
        let f: Components = [1.5f32, -2.0, 1e30, 0.0].map(|v| u64::from(v.to_bits()));
        let params = [("n", [u64::from(seed as u32 % 100), 0, 0, 0]), ("f", f)];
        Self { workgroups: WORKGROUPS, buffers, params }
    }

    /// Runs `kernel` and returns the contents of its buffers afterwards, with one NaN for all.
    ///
    /// # Errors
    /// The device's error.
    pub fn run(&self, device: &dyn hal::Device, kernel: &Arc<VerifiedKernel>) -> Result<Vec<Vec<u8>>, Error> {
        let contents: Vec<Vec<u8>> = self.contents(kernel).map(|(_, bytes)| bytes.to_vec()).collect();
        let executable = compile_on(device, Arc::clone(kernel), &CompileOptions::default())?;
        let options = LaunchOptions::workgroups([self.workgroups, 1, 1]).timeout(TIMEOUT);
        let params: Vec<Components> = self.params(kernel).map(|(_, value)| value).collect();
        let mut found = launch_on(device, &executable, &contents, &params, &options)?;
        let floats = kernel.buffers.iter().zip(&mut found).filter(|(declared, _)| declared.name == FLOATS);
        for float in floats.flat_map(|(_, bytes)| bytes.chunks_exact_mut(4)) {
            if f32::from_le_bytes([float[0], float[1], float[2], float[3]]).is_nan() {
                float.copy_from_slice(&f32::NAN.to_le_bytes());
            }
        }
        Ok(found)
    }

    /// Returns the buffers that `kernel` declares, with their contents.
    fn contents<'a>(&'a self, kernel: &'a Kernel) -> impl Iterator<Item = (&'a BufferDecl, &'a [u8])> {
        kernel.buffers.iter().filter_map(|declared| {
            let (_, bytes) = self.buffers.iter().find(|(name, _)| *name == declared.name)?;
            Some((declared, bytes.as_slice()))
        })
    }

    /// Returns the parameters that `kernel` declares, with their values.
    fn params<'a>(&'a self, kernel: &'a Kernel) -> impl Iterator<Item = (&'a ParamDecl, Components)> {
        kernel.params.iter().filter_map(|declared| {
            let (_, value) = self.params.iter().find(|(name, _)| *name == declared.name)?;
            Some((declared, *value))
        })
    }

    /// Returns a run file: the text of `kernel`, these inputs, and the results that it should have.
    pub fn run_file(&self, kernel: &Kernel, expected: &Results) -> String {
        let mut text =
            format!("// test: run\n// grid: {} 1 1\n// timeout: {}\n", self.workgroups, TIMEOUT.as_millis());
        for (declared, value) in self.params(kernel) {
            let lanes = &value[..declared.ty.lanes.count() as usize];
            let literals = lanes.iter().map(|bits| Literal::new(declared.ty.scalar, *bits));
            let _ = writeln!(text, "// param %{} = {}", declared.name, list(literals));
        }
        for (declared, bytes) in self.contents(kernel) {
            let _ = writeln!(text, "// buffer %{} = {}", declared.name, list(elements(declared, bytes)));
        }
        match expected {
            Err(code) => {
                let _ = writeln!(text, "// expect error: {code}");
            }
            Ok(buffers) => {
                let written = kernel.buffers.iter().zip(buffers).filter(|(b, _)| b.access.can_write());
                for (declared, bytes) in written {
                    let _ =
                        writeln!(text, "// expect %{} = {}", declared.name, list(elements(declared, bytes)));
                }
            }
        }
        text + &text::print(kernel)
    }
}

/// Returns the components in the bytes of a buffer.
pub(super) fn elements(declared: &BufferDecl, bytes: &[u8]) -> impl Iterator<Item = Literal> {
    let ty = declared.element.scalar;
    bytes.chunks_exact(ty.size() as usize).map(move |part| {
        let mut bits = [0; 8];
        bits[..part.len()].copy_from_slice(part);
        Literal::new(ty, u64::from_le_bytes(bits))
    })
}

/// Writes literals, equal ones in a row with their count.
fn list(literals: impl Iterator<Item = Literal>) -> String {
    let all: Vec<Literal> = literals.collect();
    let parts = all.chunk_by(|a, b| a == b).map(|equal| match equal.len() {
        1 => equal[0].to_string(),
        count => format!("{count} * {}", equal[0]),
    });
    parts.collect::<Vec<_>>().join(" ")
}

/// Returns a reference device with subgroups as large as those of `device`.
pub fn reference_like(device: &dyn hal::Device) -> ReferenceDevice {
    let lanes = device.snapshot().limits.subgroup_size;
    ReferenceDevice::new(ReferenceOptions::default().subgroup_size(lanes))
}

/// Runs `kernel`, of as many invocations in a workgroup, and returns the contents of each buffer afterwards, with one NaN for
/// all.
///
/// # Errors
/// The device's error.
pub fn run(
    device: &dyn hal::Device,
    kernel: &Arc<VerifiedKernel>,
    invocations: u32,
    seed: u64,
) -> Result<Vec<Vec<u8>>, Error> {
    let lanes = device.snapshot().limits.subgroup_size;
    Inputs::of(kernel, invocations, lanes, seed).run(device, kernel)
}
