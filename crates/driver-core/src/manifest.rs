//! What identifies a compiled kernel, as data: to keep beside results, to compare, and to run again elsewhere.

use fulgurite_ir::VerifiedKernel;
use fulgurite_spec::cache::CacheOutcome;
use fulgurite_spec::device::DeviceSnapshot;
use serde::{Deserialize, Serialize};

use crate::options::CompileOptions;

/// The version of [`Manifest`]'s fields.
pub const MANIFEST_SCHEMA: u32 = 1;

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
    /// The digest of what it was lowered to, in hexadecimal, from a backend that lowers kernels: equal on every device
    /// that runs the same code.
    pub artifact_digest: Option<String>,
    /// Where it came from.
    #[serde(with = "outcome")]
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
            artifact_digest: None,
            cache,
            fulgurite: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

/// Outcomes by their names.
mod outcome {
    use std::borrow::Cow;

    use fulgurite_spec::cache::CacheOutcome;
    use serde::{Deserialize as _, Deserializer, Serializer, de};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields by reference")]
    pub(super) fn serialize<S: Serializer>(outcome: &CacheOutcome, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(outcome.name())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<CacheOutcome, D::Error> {
        let name = Cow::<'de, str>::deserialize(deserializer)?;
        CacheOutcome::parse(&name)
            .ok_or_else(|| de::Error::custom(format!("there is no cache outcome `{name}`")))
    }
}
