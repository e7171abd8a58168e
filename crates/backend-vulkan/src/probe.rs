//! Quirks that no driver reports, found by running a small kernel on a throw-away device before the real one is
//! planned. Nothing unbounded is ever run.

mod store;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ash::vk;
use fulgurite_driver_core::{DeviceBuffer, Error, Executable, Launch, LaunchOptions};
use fulgurite_ir::{VerifiedKernel, text, verify};
use fulgurite_spec::Diagnostics;
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
    let device = Device::open(Arc::clone(instance), physical, plan)?;
    let kernel = loop_kernel().map_err(|d| Error::Internal(format!("the probe's own kernel: {d}")))?;
    let executable = compile_for(&device, Arc::new(kernel), &Profile::least())?;
    for count in COUNTS {
        let reached = count_to(&device, &executable, count)?;
        if reached == 0 || reached > count {
            let result = format!("a loop of {count} iterations counted {reached}");
            return Err(fulgurite_driver_core::DeviceError::Call { call: "a probe kernel", result }.into());
        }
        if reached < count {
            return Ok(Verdicts { loop_limit: Some(reached) });
        }
    }
    Ok(Verdicts { loop_limit: None })
}

fn loop_kernel() -> Result<VerifiedKernel, Diagnostics> {
    verify(text::parse(LOOP_KERNEL)?)
}

fn count_to(device: &Arc<Device>, executable: &dyn Executable, count: u32) -> Result<u32, Error> {
    let out: Arc<dyn DeviceBuffer> = Arc::new(VulkanBuffer::create(device, 4)?);
    let buffers = [Arc::clone(&out)];
    let params = [[u64::from(count), 0, 0, 0]];
    let options = LaunchOptions::workgroups([1, 1, 1]).timeout(TIMEOUT);
    let limits = &device.plan.snapshot.limits;
    executable.launch(&Launch::check(executable.kernel(), limits, &buffers, &params, &options)?)?;
    let mut bytes = [0; 4];
    out.read(0, &mut bytes)?;
    Ok(u32::from_ne_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_probe_kernel_is_a_kernel() {
        let kernel = loop_kernel().unwrap();
        assert_eq!((kernel.buffers.len(), kernel.params.len()), (1, 1));
    }
}
