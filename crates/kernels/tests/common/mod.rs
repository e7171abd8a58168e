//! Devices for the tests of families.
#![allow(dead_code, reason = "each test binary uses some of these")]

use std::sync::Arc;

use fulgurite_backend_vulkan::{Options, VulkanDevice};
use fulgurite_hal::{self as hal, CompileOptions, Error, LaunchOptions};
use fulgurite_runtime::Device;

fn device(backend: Arc<dyn hal::Device>) -> Device {
    Device::new(backend, CompileOptions::default(), LaunchOptions::default())
}

pub(crate) fn cpu() -> Device {
    device(Arc::new(fulgurite_backend_cpu::CpuDevice::new()))
}

pub(crate) fn reference() -> Device {
    device(Arc::new(fulgurite_backend_reference::ReferenceDevice::new(Default::default())))
}

/// Returns the Vulkan device, without stored probe results and kernels, or `None` if there is none. Panics instead if
/// `FULGURITE_REQUIRE_BACKENDS` names it.
pub(crate) fn vulkan() -> Option<Device> {
    let mut options = Options::from_env();
    options.probe_directory = None;
    options.cache_directory = None;
    match VulkanDevice::open(&options) {
        Ok(backend) => Some(device(backend)),
        Err(reason @ Error::Unavailable { .. }) => {
            let required = std::env::var("FULGURITE_REQUIRE_BACKENDS").unwrap_or_default();
            assert!(
                !required.split(',').any(|id| id.trim() == "vulkan"),
                "vulkan is required but unavailable: {reason}"
            );
            eprintln!("vulkan: unavailable ({reason})");
            None
        }
        Err(error) => panic!("vulkan: {error}"),
    }
}
