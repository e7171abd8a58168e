//! What a record is found by.

use std::fmt;

use fulgurite_spec::device::{DeviceSnapshot, Matrices};
use fulgurite_storage::{Digest, DigestBuilder};

/// A device as records tell it from others: its name and driver, and what kernels and spaces depend on. Another driver
/// version is another device.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeviceKey {
    /// The backend's id.
    pub backend: String,
    /// The device's name.
    pub device: String,
    /// The driver and its version.
    pub driver: String,
    /// The digest of these, and of what the device can do.
    pub fingerprint: Digest,
}

impl DeviceKey {
    /// The device of a snapshot.
    pub fn of(device: &DeviceSnapshot) -> Self {
        let limits = &device.limits;
        let mut digest = DigestBuilder::new("fulgurite autotune device 1")
            .text(&device.backend)
            .text(&device.device)
            .text(&device.driver)
            .number(limits.max_workgroup_invocations.into())
            .number(limits.max_shared_bytes.into())
            .number(limits.subgroup_size.into());
        for axis in limits.max_workgroup_size {
            digest = digest.number(axis.into());
        }
        let mut capabilities: Vec<_> = device.capabilities.iter().map(|c| c.name()).collect();
        capabilities.sort_unstable();
        digest = digest.text(&capabilities.join(" "));
        digest = match &device.matrices {
            Matrices::Listed(shapes) => {
                let mut shapes: Vec<_> = shapes.iter().map(|shape| shape.to_string()).collect();
                shapes.sort_unstable();
                digest.text(&shapes.join(", "))
            }
            Matrices::Any => digest.text("any"),
            _ => digest.text("none"),
        };
        Self {
            backend: device.backend.clone(),
            device: device.device.clone(),
            driver: device.driver.clone(),
            fingerprint: digest.finish(),
        }
    }
}

impl fmt::Display for DeviceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {}, {}", self.backend, self.device, self.driver)
    }
}

/// What a record is found by.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AutotuneKey {
    /// The device.
    pub device: DeviceKey,
    /// The family's id.
    pub family: String,
    /// The family's version.
    pub version: u32,
    /// The problems: see [`Family::bucket`](crate::Family::bucket).
    pub bucket: String,
    /// How it was measured: see [`MeasurePolicy::key`](crate::MeasurePolicy::key).
    pub policy: String,
}

impl AutotuneKey {
    /// The digest of all of it.
    pub fn digest(&self) -> Digest {
        DigestBuilder::new("fulgurite autotune key 1")
            .digest(&self.device.fingerprint)
            .text(&self.family)
            .number(self.version.into())
            .text(&self.bucket)
            .text(&self.policy)
            .finish()
    }
}

impl fmt::Display for AutotuneKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} (version {}, {})", self.family, self.bucket, self.version, self.device)
    }
}
