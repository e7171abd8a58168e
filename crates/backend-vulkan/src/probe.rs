//! Quirks that no driver reports, found by running a small kernel on a throw-away device before the real one is
//! planned. Nothing unbounded is ever run.

mod store;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ash::vk;
use fulgurite_driver_core::{Binding, CachePolicy, DeviceBuffer, Error, Executable, Launch, LaunchOptions};
use fulgurite_ir::{VerifiedKernel, text, verify};
use fulgurite_spec::Diagnostics;
use fulgurite_spec::device::Capability;
use fulgurite_spec::eval::Components;
use fulgurite_spirv::Profile;

use crate::device::Device;
use crate::error::unavailable;
use crate::instance::Instance;
use crate::memory::VulkanBuffer;
use crate::options::Options;
use crate::pipeline::compile_for;
use crate::plan::{Verdicts, plan};
use crate::snapshot::PhysicalSnapshot;

/// Counts to `%n` the slow way. lavapipe ends all loops of an invocation after 65,535 iterations, silently.
const LOOP_KERNEL: &str = "fulgurite 1
kernel @loop_probe workgroup(1, 1, 1) {
  buffer %out: write u32[]
  param %n: u32

  %count = while carry(%i = 0u32) {
    %more = lt %i, %n
    condition %more
  } do {
    %next = add %i, 1u32
    yield %next
  }
  store %out[0u32], %count
}
";
/// Arithmetic with zeros that a compiler sees. lavapipe's takes `x + 0` for `x` and `x · 0` for 0.
const ZERO_KERNEL: &str = "fulgurite 1
kernel @zero_probe workgroup(1, 1, 1) {
  buffer %x: read f32[]
  buffer %out: write u32[]

  %nan = load %x[0u32]
  %minus_zero = load %x[1u32]
  %zero = load %x[2u32]
  %a = mul %nan, 0.0f32
  %a1 = is_nan %a
  %a2 = convert %a1 -> u32
  store %out[0u32], %a2
  %b = add %minus_zero, 0.0f32
  %b1 = bitcast %b -> u32
  store %out[1u32], %b1
  %c = sub 0.0f32, %zero
  %c1 = bitcast %c -> u32
  store %out[2u32], %c1
  %d = div 0.0f32, %nan
  %d1 = is_nan %d
  %d2 = convert %d1 -> u32
  store %out[3u32], %d2
}
";
/// What it finds where zeros are treated like any other number.
const ZERO_WORDS: [u32; 4] = [1, 0, 0, 1];
/// Whether lanes are counted along the flattened local index, in each of a few ways to see it.
const LANE_KERNEL: &str = "fulgurite 1
kernel @lane_probe workgroup(8, 5, 3) {
  buffer %out: write u32[]

  %index = local_index
  %lane = lane
  %first = sub %index, %lane
  %from = subgroup.broadcast %index, 0u32
  %a = eq %from, %first
  %other = xor %lane, 1u32
  %neighbor = subgroup.shuffle %index, %other
  %expected = add %first, %other
  %there = lt %expected, 120u32
  %size = subgroup_size
  %within = lt %other, %size
  %both = and %there, %within
  %wanted = select %both, %expected, %index
  %b = eq %neighbor, %wanted
  %sum = subgroup.inclusive_scan[add] 1u32
  %below = add %lane, 1u32
  %c = eq %sum, %below
  %ab = and %a, %b
  %abc = and %ab, %c
  %word = convert %abc -> u32
  store %out[%index], %word
}
";
/// Every invocation adds one to a shared word by ordered compare-exchange, each at its own pace. Whoever fails does so
/// because another succeeded, so 64 tries are enough for all. lavapipe makes those who are still trying wait for those
/// who are not, and loses what they add.
const FENCE_KERNEL: &str = "fulgurite 1
kernel @fence_probe workgroup(64, 1, 1) {
  buffer %out: write u32[]
  shared %sum: u32[1]

  %seen = atomic.load %sum[0u32]
  %done, %last, %count = while carry(%ok = false, %guess = %seen, %tries = 0u32) {
    %again = not %ok
    %few = lt %tries, 64u32
    %go = and %again, %few
    condition %go
  } do {
    %next = add %guess, 1u32
    %old = atomic.compare_exchange[acquire_release, workgroup] %sum[0u32], %guess, %next
    %same = eq %old, %guess
    %tried = add %tries, 1u32
    yield %same, %old, %tried
  }
  barrier[shared]
  %i = local_index
  %all = load %sum[0u32]
  store %out[%i], %all
}
";
/// How far the kernel counts, in turn: a limit is most likely near 2¹⁶.
const COUNTS: [u32; 2] = [100_000, 4_000_000];
const TIMEOUT: Duration = Duration::from_secs(20);

/// The verdicts on `snapshot`'s driver: remembered in `directory`, or probed and then remembered there.
pub(crate) fn verdicts(
    instance: &Arc<Instance>,
    physical: vk::PhysicalDevice,
    snapshot: &PhysicalSnapshot,
    directory: Option<&Path>,
) -> Result<Verdicts, Error> {
    if let Some(known) = directory.and_then(|directory| store::load(directory, snapshot)) {
        return Ok(known);
    }
    let verdicts = probe(instance, physical, snapshot)?;
    if let Some(directory) = directory {
        // A verdict that cannot be kept is found out again next time.
        let _ = store::save(directory, snapshot, verdicts);
    }
    Ok(verdicts)
}

fn probe(
    instance: &Arc<Instance>,
    physical: vk::PhysicalDevice,
    snapshot: &PhysicalSnapshot,
) -> Result<Verdicts, Error> {
    let plan = plan(snapshot, Verdicts::default(), &Options::default())
        .map_err(|reason| unavailable(reason.to_string()))?;
    let device = Device::open(Arc::clone(instance), physical, plan, || None)?;
    let subgroups = device.plan.snapshot.has(Capability::Subgroups);
    Ok(Verdicts {
        loop_limit: loop_limit(&device)?,
        folds_zeros: folds_zeros(&device)?,
        scrambles_lanes: subgroups && scrambles_lanes(&device)?,
        waits_at_fences: waits_at_fences(&device)?,
    })
}

fn compiled(device: &Arc<Device>, source: &str) -> Result<impl Executable + use<>, Error> {
    let kernel = kernel(source).map_err(|d| Error::Internal(format!("the probe's own kernel: {d}")))?;
    let mut profile = Profile::least();
    profile.subgroup_size = device.plan.profile.subgroup_size;
    compile_for(device, Arc::new(kernel), &profile, CachePolicy::Off)
}

fn scrambles_lanes(device: &Arc<Device>) -> Result<bool, Error> {
    let executable = compiled(device, LANE_KERNEL)?;
    let out: Arc<dyn DeviceBuffer> = Arc::new(VulkanBuffer::create(device, 480)?);
    let words = run(device, &executable, &[out], &[])?;
    Ok(words.iter().any(|word| *word != 1))
}

fn waits_at_fences(device: &Arc<Device>) -> Result<bool, Error> {
    let executable = compiled(device, FENCE_KERNEL)?;
    let out: Arc<dyn DeviceBuffer> = Arc::new(VulkanBuffer::create(device, 256)?);
    let words = run(device, &executable, &[out], &[])?;
    Ok(words.iter().any(|word| *word != 64))
}

fn folds_zeros(device: &Arc<Device>) -> Result<bool, Error> {
    let executable = compiled(device, ZERO_KERNEL)?;
    let inputs: Arc<dyn DeviceBuffer> = Arc::new(VulkanBuffer::create(device, 12)?);
    let bytes: Vec<u8> = [f32::NAN, -0.0, 0.0].iter().flat_map(|x| x.to_ne_bytes()).collect();
    inputs.write(0, &bytes)?;
    let out: Arc<dyn DeviceBuffer> = Arc::new(VulkanBuffer::create(device, 16)?);
    let words = run(device, &executable, &[inputs, out], &[])?;
    Ok(words != ZERO_WORDS)
}

fn loop_limit(device: &Arc<Device>) -> Result<Option<u32>, Error> {
    let executable = compiled(device, LOOP_KERNEL)?;
    for count in COUNTS {
        let reached = count_to(device, &executable, count)?;
        if reached == 0 || reached > count {
            let result = format!("a loop of {count} iterations counted {reached}");
            return Err(fulgurite_driver_core::DeviceError::Call { call: "a probe kernel", result }.into());
        }
        if reached < count {
            return Ok(Some(reached));
        }
    }
    Ok(None)
}

fn kernel(source: &str) -> Result<VerifiedKernel, Diagnostics> {
    verify(text::parse(source)?)
}

fn count_to(device: &Arc<Device>, executable: &dyn Executable, count: u32) -> Result<u32, Error> {
    let out: Arc<dyn DeviceBuffer> = Arc::new(VulkanBuffer::create(device, 4)?);
    let words = run(device, executable, &[out], &[[u64::from(count), 0, 0, 0]])?;
    Ok(words.first().copied().unwrap_or_default())
}

/// Runs one workgroup; what is in the last buffer afterwards.
fn run(
    device: &Arc<Device>,
    executable: &dyn Executable,
    buffers: &[Arc<dyn DeviceBuffer>],
    params: &[Components],
) -> Result<Vec<u32>, Error> {
    let options = LaunchOptions::workgroups([1, 1, 1]).timeout(TIMEOUT);
    let limits = &device.plan.snapshot.limits;
    executable.launch(&Launch::check(
        executable.kernel(),
        limits,
        Binding::each(buffers),
        params,
        &options,
    )?)?;
    let Some(out) = buffers.last() else { return Ok(Vec::new()) };
    let mut bytes = vec![0; out.bytes() as usize];
    out.read(0, &mut bytes)?;
    Ok(bytes.chunks_exact(4).map(|b| u32::from_ne_bytes([b[0], b[1], b[2], b[3]])).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_probe_kernels_are_kernels() {
        for (source, declared) in
            [(LOOP_KERNEL, (1, 1)), (ZERO_KERNEL, (2, 0)), (LANE_KERNEL, (1, 0)), (FENCE_KERNEL, (1, 0))]
        {
            let kernel = kernel(source).unwrap();
            assert_eq!((kernel.buffers.len(), kernel.params.len()), declared);
        }
    }
}
