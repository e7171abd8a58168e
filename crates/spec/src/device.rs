//! Facts about a device that compilers, routing and tests read: limits, capabilities, quirks, identity.
//!
//! Pure data. Backends fill it in; nothing here asks a device anything.

use core::fmt;

/// An ability that a device may lack. A kernel that needs one it lacks is refused with
/// [`Capability`] in the error, never run wrongly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Capability {
    /// Subnormal `f32` operands and results are kept, not flushed to zero.
    SubnormalsF32,
    /// Float to nearest-even rounding can be demanded of the compiler (`RoundingModeRTE`).
    RoundingModeF32,
    /// Out-of-bounds descriptor accesses are contained by the device too.
    Robustness2,
}

impl Capability {
    /// The name in reports and errors.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SubnormalsF32 => "subnormals_f32",
            Self::RoundingModeF32 => "rounding_mode_f32",
            Self::Robustness2 => "robustness2",
        }
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Limits of a device. Everything is checked before a pipeline is made or a launch submitted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Most invocations in a workgroup.
    pub max_workgroup_invocations: u32,
    /// Most invocations in a workgroup along x, y and z.
    pub max_workgroup_size: [u32; 3],
    /// Most workgroups in a grid along x, y and z.
    pub max_workgroup_count: [u32; 3],
    /// Bytes of shared memory in a workgroup.
    pub max_shared_bytes: u32,
    /// Bytes that one bound buffer may have.
    pub max_buffer_bytes: u64,
    /// Buffers that one kernel may bind.
    pub max_bound_buffers: u32,
    /// Iterations after which the driver silently ends an invocation's loops, if it has such a quirk.
    pub loop_limit: Option<u32>,
}

impl Limits {
    /// Limits of a machine that has none but the language's own.
    pub const fn unlimited() -> Self {
        Self {
            max_workgroup_invocations: crate::limits::MAX_WORKGROUP_INVOCATIONS,
            max_workgroup_size: [crate::limits::MAX_WORKGROUP_INVOCATIONS; 3],
            max_workgroup_count: [u32::MAX; 3],
            max_shared_bytes: crate::limits::MAX_SHARED_BYTES as u32,
            max_buffer_bytes: 1 << 32,
            max_bound_buffers: crate::limits::MAX_DECLARATIONS as u32,
            loop_limit: None,
        }
    }
}

/// What is known of a device before anything is compiled for it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeviceSnapshot {
    /// The backend's id: `reference`, `cpu`, `vulkan`, or a third party's.
    pub backend: String,
    /// The device's own name.
    pub device: String,
    /// Driver name and version, for people.
    pub driver: String,
    /// What the device can do.
    pub capabilities: Vec<Capability>,
    /// What it cannot exceed.
    pub limits: Limits,
}

impl DeviceSnapshot {
    /// A snapshot with no capabilities and no limits but the language's.
    pub fn new(backend: impl Into<String>, device: impl Into<String>, driver: impl Into<String>) -> Self {
        Self {
            backend: backend.into(),
            device: device.into(),
            driver: driver.into(),
            capabilities: Vec::new(),
            limits: Limits::unlimited(),
        }
    }

    /// Whether the device has `capability`.
    pub fn has(&self, capability: Capability) -> bool {
        self.capabilities.contains(&capability)
    }
}
