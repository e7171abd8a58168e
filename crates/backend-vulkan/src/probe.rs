//! Quirks that no driver reports, found by running small kernels on a temporary device before the real one is planned.
//! All of the kernels are bounded.

mod battery;
mod store;

use std::path::Path;
use std::sync::Arc;
use std::thread::ScopedJoinHandle;
use std::time::Duration;

use ash::vk;
use fulgurite_hal::{Binding, CachePolicy, DeviceBuffer, Error, Executable, Launch, LaunchOptions};
use fulgurite_ir::{VerifiedKernel, text, verify};
use fulgurite_spec::device::Capability;
use fulgurite_spec::eval::Components;
use fulgurite_spec::{Code, Diagnostics};
use fulgurite_spirv::{Profile, Rules};

use battery::{BATTERY, Chain};

use crate::device::Device;
use crate::error::unavailable;
use crate::exit;
use crate::instance::Instance;
use crate::memory::VulkanBuffer;
use crate::options::Options;
use crate::pipeline::compile_for;
use crate::plan::{DriverQuirks, plan};
use crate::snapshot::PhysicalSnapshot;

/// Counts to `%n` one by one. lavapipe silently ends all loops of an invocation after 65,535 iterations.
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
/// Checks in several ways that lanes are numbered along the flattened local index.
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
/// Every invocation adds one to a shared word by ordered compare-exchange, each at its own pace. An exchange fails only
/// because another succeeded, so 64 tries are enough for all. lavapipe makes invocations that are still trying wait for
/// those that are done, and loses their additions.
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
/// Iteration counts of the loop probe, in order; a limit is most likely near 2¹⁶.
const COUNTS: [u32; 2] = [100_000, 4_000_000];
/// The timeout of each probe.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Returns the quirks of `snapshot`'s driver: loaded from `directory`, or probed and then stored there.
pub(crate) fn quirks(
    instance: &Arc<Instance>,
    physical: vk::PhysicalDevice,
    snapshot: &PhysicalSnapshot,
    directory: Option<&Path>,
) -> Result<DriverQuirks, Error> {
    if let Some(known) = directory.and_then(|directory| store::load(directory, snapshot)) {
        return Ok(known);
    }
    let quirks = probe(instance, physical, snapshot)?;
    if let Some(directory) = directory {
        // If the quirks cannot be stored, they are probed again next time.
        let _ = store::save(directory, snapshot, quirks);
    }
    Ok(quirks)
}

fn probe(
    instance: &Arc<Instance>,
    physical: vk::PhysicalDevice,
    snapshot: &PhysicalSnapshot,
) -> Result<DriverQuirks, Error> {
    let plan = plan(snapshot, DriverQuirks::default(), &Options::default())
        .map_err(|reason| unavailable(Code::BackendUnavailable, reason.to_string()))?;
    let device = Device::open(Arc::clone(instance), physical, plan, || None)?;
    let has = |needed: &Capability| device.plan.snapshot.has(*needed);
    // A driver cannot misfold types that its device lacks.
    let battery: Vec<&Chain> = BATTERY.iter().filter(|chain| chain.needs.iter().all(has)).collect();
    let lanes = has(&Capability::Subgroups).then_some(LANE_KERNEL);
    let sources = [LOOP_KERNEL, FENCE_KERNEL].into_iter().chain(lanes);
    let compiled = compile(&device, sources.chain(battery.iter().map(|chain| chain.text)))?;
    let mut compiled = compiled.into_iter();
    let mut next = || compiled.next().ok_or_else(|| Error::Internal("a probe was not compiled".to_owned()));
    Ok(DriverQuirks {
        loop_limit: loop_limit(&device, next()?.as_ref())?,
        waits_at_fences: waits_at_fences(&device, next()?.as_ref())?,
        scrambles_lanes: lanes.is_some() && scrambles_lanes(&device, next()?.as_ref())?,
        misfolds: battery.iter().try_fold(Rules::NONE, |found, chain| {
            let is_right = is_right(&device, chain, next()?.as_ref())?;
            Ok::<_, Error>(if is_right { found } else { found.or(chain.rule) })
        })?,
    })
}

/// Compiles the probes on one thread each, because compiling them takes drivers longer than running them.
fn compile(
    device: &Arc<Device>,
    sources: impl Iterator<Item = &'static str>,
) -> Result<Vec<Box<dyn Executable>>, Error> {
    std::thread::scope(|scope| {
        let start = |source| {
            let thread = std::thread::Builder::new();
            // If no more threads can be started, this one does the work.
            thread.spawn_scoped(scope, move || compiled(device, source)).map_err(|_| compiled(device, source))
        };
        let started: Vec<_> = sources.map(start).collect();
        let finished = started.into_iter().map(|begun| match begun.map(ScopedJoinHandle::join) {
            Ok(Ok(compiled)) | Err(compiled) => compiled,
            Ok(Err(panic)) => std::panic::resume_unwind(panic),
        });
        finished.collect()
    })
}

fn compiled(device: &Arc<Device>, source: &str) -> Result<Box<dyn Executable>, Error> {
    let _inside = exit::follow();
    let kernel = kernel(source).map_err(|d| Error::Internal(format!("the probe's own kernel: {d}")))?;
    let mut profile = Profile::least();
    profile.subgroup_size = device.plan.profile.subgroup_size;
    Ok(Box::new(compile_for(device, Arc::new(kernel), &profile, CachePolicy::Off)?))
}

fn scrambles_lanes(device: &Arc<Device>, executable: &dyn Executable) -> Result<bool, Error> {
    let out: Arc<dyn DeviceBuffer> = Arc::new(VulkanBuffer::create(device, 480)?);
    let words = run(device, executable, &[out], &[])?;
    Ok(words.iter().any(|word| *word != 1))
}

fn waits_at_fences(device: &Arc<Device>, executable: &dyn Executable) -> Result<bool, Error> {
    let out: Arc<dyn DeviceBuffer> = Arc::new(VulkanBuffer::create(device, 256)?);
    let words = run(device, executable, &[out], &[])?;
    Ok(words.iter().any(|word| *word != 64))
}

/// Returns whether a chain of ops gives the expected result.
fn is_right(device: &Arc<Device>, chain: &Chain, executable: &dyn Executable) -> Result<bool, Error> {
    let inputs: Arc<dyn DeviceBuffer> = Arc::new(VulkanBuffer::create(device, chain.input.len() as u64 * 4)?);
    let bytes: Vec<u8> = chain.input.iter().flat_map(|word| word.to_ne_bytes()).collect();
    inputs.write(0, &bytes)?;
    let out: Arc<dyn DeviceBuffer> = Arc::new(VulkanBuffer::create(device, chain.expected.len() as u64 * 4)?);
    Ok(run(device, executable, &[inputs, out], &[])? == chain.expected)
}

fn loop_limit(device: &Arc<Device>, executable: &dyn Executable) -> Result<Option<u32>, Error> {
    for count in COUNTS {
        let reached = count_to(device, executable, count)?;
        if reached == 0 || reached > count {
            let result = format!("a loop of {count} iterations counted {reached}");
            return Err(fulgurite_hal::DeviceError::Call { call: "a probe kernel", result }.into());
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

/// Runs one workgroup and returns the contents of the last buffer.
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
        let battery = BATTERY.iter().map(|chain| (chain.text, (2, 0)));
        for (source, declared) in
            [(LOOP_KERNEL, (1, 1)), (LANE_KERNEL, (1, 0)), (FENCE_KERNEL, (1, 0))].into_iter().chain(battery)
        {
            let kernel = kernel(source).unwrap();
            assert_eq!((kernel.buffers.len(), kernel.params.len()), declared);
        }
    }
}
