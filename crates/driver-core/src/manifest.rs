//! What identifies a compiled kernel, as data: to keep beside results, to compare, and to run again elsewhere.

use fulgurite_ir::VerifiedKernel;
use fulgurite_spec::device::DeviceSnapshot;
use serde::{Deserialize, Serialize};

use crate::options::CompileOptions;

/// The version of [`Manifest`]'s fields.
pub const MANIFEST_SCHEMA: u32 = 1;

/// Where a compiled kernel came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CacheOutcome {
    /// It was compiled.
    None,
    /// The same device had compiled it before.
    Memory,
}

/// What identifies a compiled kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Manifest {
    /// [`MANIFEST_SCHEMA`].
    pub schema: u32,
    /// The backend.
    pub backend_id: String,
    /// The executable's id: begins with the backend's, unique to what was compiled.
    pub pipeline_id: String,
    /// The kernel's name.
    pub kernel: String,
    /// The kernel's digest, in hexadecimal: what it computes, whatever its names.
    pub program_digest: String,
    /// The options that it was compiled with, each by name: those that were stated.
    pub options: Vec<(String, String)>,
    /// The device.
    pub device: String,
    /// Its driver and version.
    pub driver: String,
    /// Where it came from.
    pub cache: CacheOutcome,
    /// The version of Fulgurite.
    pub fulgurite: String,
}

impl Manifest {
    pub(crate) fn new(
        device: &DeviceSnapshot,
        kernel: &VerifiedKernel,
        pipeline_id: &str,
        options: &CompileOptions,
        cache: CacheOutcome,
    ) -> Self {
        Self {
            schema: MANIFEST_SCHEMA,
            backend_id: device.backend.clone(),
            pipeline_id: pipeline_id.to_owned(),
            kernel: kernel.name.clone(),
            program_digest: kernel.digest().to_string(),
            options: options.stated(),
            device: device.device.clone(),
            driver: device.driver.clone(),
            cache,
            fulgurite: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}
