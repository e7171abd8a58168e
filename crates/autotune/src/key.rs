//! Keys of records.

use std::fmt;

use fulgurite_spec::device::{DeviceSnapshot, Matrices};
use fulgurite_storage::{Digest, DigestBuilder};

/// Identifies a device in records: its name and driver, and the properties that kernels and configuration spaces depend
/// on. Another driver version is another device.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeviceKey {
    /// Backend id.
    pub backend: String,
    /// Device name.
    pub device: String,
    /// Driver and its version.
    pub driver: String,
    /// Digest of the above and of the device's limits and capabilities.
    pub fingerprint: Digest,
}

impl DeviceKey {
    /// Creates the key of a device.
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

/// The key of a record.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AutotuneKey {
    /// Device.
    pub device: DeviceKey,
    /// Family id.
    pub family: String,
    /// Family version.
    pub version: u32,
    /// Bucket of problems: see [`Family::bucket`](crate::Family::bucket).
    pub bucket: String,
    /// Measurement method: see [`MeasurePolicy::key`](crate::MeasurePolicy::key).
    pub policy: String,
}

impl AutotuneKey {
    /// Returns the digest of all fields.
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
