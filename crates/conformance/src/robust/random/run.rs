//! Runs of random kernels, on inputs that depend on a seed.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use fulgurite_backend_reference::{ReferenceDevice, ReferenceOptions};
use fulgurite_hal::{self as hal, Binding, CompileOptions, DeviceBuffer, Error, Launch, LaunchOptions};
use fulgurite_ir::VerifiedKernel;
use fulgurite_spec::eval::Components;

use super::{Numbers, OWN};
use crate::harness::compile_on;

/// The buffers in which matrices are stored.
pub const MATRICES: Range<usize> = 6..9;
/// The buffer for matrices of floats, which are not converted to words.
const FLOATS: usize = 7;

/// The buffers that do not begin as zeros: `%in`, `%vectors` and `%sums`.
const INITIALIZED: [usize; 3] = [0, 1, 3];
const WORKGROUPS: u32 = 3;
/// Timeout of a launch, which takes milliseconds.
const TIMEOUT: Duration = Duration::from_secs(10);

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
    let mut numbers = Numbers::seeded(seed);
    let out = (WORKGROUPS * invocations * OWN) as usize;
    // A matrix of words and one of floats for each subgroup, and one matrix for each workgroup.
    let own = WORKGROUPS * invocations.div_ceil(device.snapshot().limits.subgroup_size) * 64;
    let (own, wide) = (own as usize, WORKGROUPS as usize * 64);
    let kept = out / OWN as usize;
    // Without preconditions, the last vector of the first buffer is incomplete.
    let words = if kernel.requires.is_empty() { 41 } else { 40 };
    let mut buffers: Vec<Arc<dyn DeviceBuffer>> = Vec::new();
    for (position, words) in [words, 32, out, 32, 8, 8, own, own, wide, kept].into_iter().enumerate() {
        let buffer = device.allocate(words as u64 * 4)?;
        if INITIALIZED.contains(&position) {
            let data: Vec<u8> =
                (0..words).flat_map(|_| (numbers.next_u32() >> numbers.below(32)).to_le_bytes()).collect();
            buffer.write(0, &data)?;
        }
        buffers.push(buffer);
    }
    let f: Components = [1.5f32, -2.0, 1e30, 0.0].map(|v| u64::from(v.to_bits()));
    let params = [[u64::from(seed as u32 % 100), 0, 0, 0], f];
    let executable = compile_on(device, Arc::clone(kernel), &CompileOptions::default())?;
    let options = LaunchOptions::workgroups([WORKGROUPS, 1, 1]).timeout(TIMEOUT);
    let limits = &device.snapshot().limits;
    executable.launch(&Launch::check(kernel, limits, Binding::each(&buffers), &params, &options)?)?;
    let read = |buffer: &Arc<dyn DeviceBuffer>| {
        let mut bytes = vec![0; buffer.bytes() as usize];
        buffer.read(0, &mut bytes).map(|()| bytes)
    };
    let mut found = buffers.iter().map(read).collect::<Result<Vec<_>, Error>>()?;
    for float in found[FLOATS].chunks_exact_mut(4) {
        if f32::from_le_bytes([float[0], float[1], float[2], float[3]]).is_nan() {
            float.copy_from_slice(&f32::NAN.to_le_bytes());
        }
    }
    Ok(found)
}
