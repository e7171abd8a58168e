//! Helpers for building kernels.

use std::sync::Arc;

use fulgurite_hal::Error;
use fulgurite_ir::{Kernel, VerifiedKernel};
use fulgurite_spec::device::DeviceSnapshot;
use fulgurite_spec::eval::{self, Components};
use fulgurite_spec::{Diagnostics, Literal};

/// Verifies a built kernel.
pub(crate) fn verified(built: Result<Kernel, Diagnostics>) -> Result<Arc<VerifiedKernel>, Error> {
    let kernel = built.and_then(fulgurite_ir::verify);
    Ok(Arc::new(kernel.map_err(Error::Invalid)?))
}

/// Returns whether kernels run as code of the host's processors, with an invocation in each lane of a vector.
pub(crate) fn is_host(device: &DeviceSnapshot) -> bool {
    device.backend == "cpu"
}

/// Returns whether a workgroup size and its shared memory are within a device's limits.
pub(crate) fn fits(device: &DeviceSnapshot, size: [u32; 3], shared_bytes: u32) -> bool {
    let limits = &device.limits;
    let product = size.iter().map(|axis| u64::from(*axis)).product::<u64>();
    product <= u64::from(limits.max_workgroup_invocations)
        && size.iter().zip(limits.max_workgroup_size).all(|(axis, most)| *axis <= most)
        && shared_bytes <= limits.max_shared_bytes
}

/// Returns whether a number of workgroups is within a device's limits.
pub(crate) fn fits_grid(device: &DeviceSnapshot, grid: [u32; 3]) -> bool {
    grid.iter().zip(device.limits.max_workgroup_count).all(|(axis, most)| *axis <= most)
}

/// Converts sizes to parameters.
pub(crate) fn params<const N: usize>(sizes: [u32; N]) -> Vec<Components> {
    sizes.map(|size| eval::splat_low(Literal::from(size).bits)).to_vec()
}

/// Converts a float to a parameter.
pub(crate) fn float_param(value: f32) -> Components {
    eval::splat_low(Literal::from(value).bits)
}
