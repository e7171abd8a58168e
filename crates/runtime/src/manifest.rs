//! Manifests: the identity of a compiled kernel as data, to store beside results, to compare, and to reproduce them.

use fulgurite_hal::{CompileOptions, Error};
use fulgurite_ir::VerifiedKernel;
use fulgurite_spec::Code;
use fulgurite_spec::cache::{CacheOrigin, CacheOutcome, PipelineCacheMissReason};
use fulgurite_spec::device::DeviceSnapshot;
use serde::{Deserialize, Serialize};

/// The version of the fields of [`Manifest`].
pub const MANIFEST_SCHEMA: u32 = 1;

/// The identity of a compiled kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Manifest {
    /// [`MANIFEST_SCHEMA`].
    pub schema: u32,
    /// The backend.
    pub backend_id: String,
    /// The executable's id. It begins with the backend's id and is unique to the compiled code.
    pub pipeline_id: String,
    /// The kernel's name.
    pub kernel: String,
    /// The kernel's digest in hexadecimal. It depends on what the kernel computes, not on names.
    pub program_digest: String,
    /// The stated compile options, by name.
    pub options: Vec<(String, String)>,
    /// The device's name.
    pub device: String,
    /// The driver and its version.
    pub driver: String,
    /// The [`Executable::artifact_digest`](fulgurite_hal::Executable::artifact_digest) in hexadecimal, from a backend
    /// that lowers kernels: the digest of the lowered code and of how it is compiled. It is equal on every device
    /// that runs the same code, and is not the name of a cache entry.
    pub artifact_digest: Option<String>,
    /// The origin of the program.
    #[serde(with = "outcome")]
    pub cache: CacheOutcome,
    /// The reason why a cache did not provide the driver's binary, if it was asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "reason")]
    pub binary_miss: Option<PipelineCacheMissReason>,
    /// The version of Fulgurite.
    pub fulgurite: String,
}

impl Manifest {
    pub(crate) fn new(
        device: &DeviceSnapshot,
        kernel: &VerifiedKernel,
        pipeline_id: &str,
        options: &CompileOptions,
        origin: CacheOrigin,
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
            cache: origin.outcome,
            binary_miss: origin.binary_miss,
            fulgurite: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

impl Manifest {
    /// The version of the fields: [`MANIFEST_SCHEMA`].
    pub const SCHEMA: u32 = MANIFEST_SCHEMA;

    /// Parses a manifest.
    ///
    /// # Errors
    /// `FG0703` for invalid data or another schema.
    pub fn from_json(json: &str) -> Result<Self, Error> {
        #[derive(Deserialize)]
        struct Head {
            schema: u32,
        }
        let bad = |message: String| Error::invalid(Code::BadFileFormat, message);
        let none = |error: serde_json::Error| bad(format!("this is no manifest: {error}"));
        // Before the fields, which are those of this schema.
        let Head { schema } = serde_json::from_str(json).map_err(none)?;
        if schema != Self::SCHEMA {
            return Err(bad(format!("a manifest of schema {schema}; this version reads {}", Self::SCHEMA)));
        }
        serde_json::from_str(json).map_err(none)
    }

    /// Returns the manifest as JSON: an object of its fields. `schema` is [`SCHEMA`](Self::SCHEMA), `options` a list
    /// of pairs of names and values, and `cache` the [`name`](CacheOutcome::name) of the outcome.
    ///
    /// # Errors
    /// [`Error::Internal`] if it cannot be serialized.
    pub fn to_json(&self) -> Result<String, Error> {
        serde_json::to_string_pretty(self).map_err(|error| Error::Internal(error.to_string()))
    }
}

/// Serializes reasons by name.
mod reason {
    use std::borrow::Cow;

    use fulgurite_spec::cache::PipelineCacheMissReason;
    use serde::{Deserialize as _, Deserializer, Serializer, de};

    #[expect(clippy::ref_option, reason = "serde passes fields by reference")]
    pub(super) fn serialize<S: Serializer>(
        reason: &Option<PipelineCacheMissReason>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match reason {
            Some(reason) => serializer.serialize_some(reason.name()),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<PipelineCacheMissReason>, D::Error> {
        let Some(name) = Option::<Cow<'de, str>>::deserialize(deserializer)? else { return Ok(None) };
        match PipelineCacheMissReason::parse(&name) {
            Some(reason) => Ok(Some(reason)),
            None => Err(de::Error::custom(format!("there is no reason `{name}` of a miss"))),
        }
    }
}

/// Serializes outcomes by name.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(origin: CacheOrigin) -> Manifest {
        let text = "fulgurite 1\nkernel @k workgroup(1, 1, 1) {\n}\n";
        let kernel = fulgurite_ir::text::parse(text).and_then(fulgurite_ir::verify).unwrap();
        let device = DeviceSnapshot::new("test", "a \"device\"", "its driver");
        Manifest::new(&device, &kernel, "test:1", &CompileOptions::default().debug_names(true), origin)
    }

    #[test]
    fn manifests_read_back() {
        let outcomes = [CacheOutcome::None, CacheOutcome::Missed(PipelineCacheMissReason::Evicted)];
        for outcome in outcomes {
            for miss in [None, Some(PipelineCacheMissReason::DeviceOrRuntimeChanged)] {
                let manifest = manifest(CacheOrigin::new(outcome).binary_miss(miss));
                let json = manifest.to_json().unwrap();
                assert_eq!(Manifest::from_json(&json), Ok(manifest), "{json}");
                let value: serde_json::Value = serde_json::from_str(&json).unwrap();
                assert_eq!(value["schema"], Manifest::SCHEMA);
                assert_eq!(value["cache"], outcome.name());
                assert_eq!(value["options"], serde_json::json!([["debug_names", "true"]]));
                assert_eq!(value.get("binary_miss").and_then(|name| name.as_str()), miss.map(|m| m.name()));
            }
        }
    }

    #[test]
    fn what_is_no_manifest_of_this_schema_is_refused() {
        let json = manifest(CacheOrigin::default()).to_json().unwrap();
        let newer = json.replace("\"schema\": 1", "\"schema\": 2");
        let odd = json.replace("\"none\"", "\"odd\"");
        let more = json.replace("\"schema\": 1", "\"schema\": 1, \"more\": 0");
        for (json, part) in [
            (newer.as_str(), "schema 2; this version reads 1"),
            (&odd, "no cache outcome `odd`"),
            (&more, "unknown field `more`"),
            ("[]", "no manifest"),
            ("", "no manifest"),
        ] {
            let error = Manifest::from_json(json).unwrap_err();
            assert_eq!(error.code(), Code::BadFileFormat);
            assert!(error.to_string().contains(part), "{error}");
        }
    }
}
