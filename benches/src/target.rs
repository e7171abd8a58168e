//! The measured backend, opened once and shared by all suites.

use std::fmt;
use std::sync::Arc;

use fulgurite::{CompileOptions, LaunchOptions, Registry};
use fulgurite_backend_vulkan::{Options, VulkanDevice};
use fulgurite_hal::{self as hal, Error};
use fulgurite_runtime::Device;

/// An open backend.
pub struct Target {
    /// The backend's id.
    pub id: String,
    /// The backend.
    pub backend: Arc<dyn hal::Device>,
    /// The backend, if it can also run foreign SPIR-V.
    pub vulkan: Option<Arc<VulkanDevice>>,
    /// A device of the backend.
    pub device: Device,
}

impl Target {
    /// Opens the backend `id` of `registry`.
    ///
    /// # Errors
    /// `FG0401`, `FG0402`, and errors of its driver.
    pub fn open(registry: &Registry, id: &str) -> Result<Self, Error> {
        let (backend, vulkan): (Arc<dyn hal::Device>, _) = if id == "vulkan" {
            let vulkan = VulkanDevice::open(&Options::from_env())?;
            (Arc::clone(&vulkan) as Arc<dyn hal::Device>, Some(vulkan))
        } else {
            (registry.open(id)?, None)
        };
        let device = Device::new(Arc::clone(&backend), CompileOptions::default(), LaunchOptions::default());
        Ok(Self { id: id.to_owned(), backend, vulkan, device })
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({} on {})", self.id, self.backend.snapshot().device)
    }
}
