//! The identity of an entry: its kind, program, lowering policy and device.

use std::fmt;

use fulgurite_spec::cache::{PipelineCacheMissEvidence, PipelineCacheMissReason};
use fulgurite_storage::{Digest, DigestBuilder};

/// The kind of an entry's payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u32)]
#[non_exhaustive]
pub enum PayloadKind {
    /// A lowered kernel for all devices with the same profile: SPIR-V, and the part of its layout that does not follow
    /// from the kernel and the profile.
    Artifact = 1,
    /// A driver's binary, compiled from an artifact.
    Binary = 2,
    /// A kernel in the wire format.
    Kernel = 3,
    /// Tuning records, in the text format of the autotuner.
    Tuned = 4,
}

impl PayloadKind {
    /// All kinds.
    pub const ALL: &'static [Self] = &[Self::Artifact, Self::Binary, Self::Kernel, Self::Tuned];

    /// Returns the kind with this number, as stored in a header.
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| *kind as u32 == number)
    }

    /// Returns the name used in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Artifact => "artifact",
            Self::Binary => "binary",
            Self::Kernel => "kernel",
            Self::Tuned => "tuned",
        }
    }
}

impl fmt::Display for PayloadKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The inputs of a device fingerprint: everything that can affect the driver's compilation, or whether the driver
/// accepts an earlier binary.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceParts<'a> {
    /// Backend id.
    pub backend: &'a str,
    /// Vendor id.
    pub vendor: u32,
    /// Device id.
    pub device: u32,
    /// Driver id or name.
    pub driver: &'a str,
    /// Driver version.
    pub driver_version: u32,
    /// The pipeline cache UUID: the driver accepts only binaries with an equal one.
    pub cache_uuid: [u8; 16],
    /// Size of a pointer in bytes.
    pub pointer_bytes: u32,
    /// Names of the enabled features, in a fixed order.
    pub features: &'a [String],
    /// The driver's global pipeline key; empty if the driver has none.
    pub global_key: &'a [u8],
}

/// Digest of a device, its driver and its enabled features.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PipelineDeviceFingerprint(Digest);

impl PipelineDeviceFingerprint {
    /// The fingerprint used for device-independent entries.
    pub const ANY: Self = Self(Digest::ZERO);

    /// Computes the fingerprint of a device.
    pub fn from_parts(parts: &DeviceParts<'_>) -> Self {
        let digest = DigestBuilder::new("fulgurite device fingerprint 1")
            .text(parts.backend)
            .number(parts.vendor.into())
            .number(parts.device.into())
            .text(parts.driver)
            .number(parts.driver_version.into())
            .bytes(&parts.cache_uuid)
            .number(parts.pointer_bytes.into())
            .number(parts.features.len() as u64);
        let digest = parts.features.iter().fold(digest, |digest, feature| digest.text(feature));
        Self(digest.bytes(parts.global_key).finish())
    }

    /// Returns the digest.
    pub const fn digest(&self) -> Digest {
        self.0
    }
}

/// The identity under which an entry is stored and looked up.
///
/// | kind | program | policy | device |
/// |---|---|---|---|
/// | artifact | the kernel's digest | lowering options and profile, versions of the lowering code, and the kernel's names, if any | any |
/// | binary | the [`PipelineCacheKey`](crate::PipelineCacheKey) of the lowered kernel | pipeline flags and required subgroup size | the device's fingerprint |
/// | kernel | the kernel's digest | zeros | any |
/// | tuned | one constant for all records of a pack | zeros | any |
///
/// *Any* is [`PipelineDeviceFingerprint::ANY`]. Tuning records name their device, family and problem in their text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PipelineCacheIdentity {
    kind: PayloadKind,
    program: Digest,
    policy: Digest,
    device: Digest,
    digest: Digest,
}

impl PipelineCacheIdentity {
    /// Creates an identity from its parts.
    pub fn new(
        kind: PayloadKind,
        program: Digest,
        policy: Digest,
        device: PipelineDeviceFingerprint,
    ) -> Self {
        Self::of_digests(kind, program, policy, device.digest())
    }

    pub(crate) fn of_digests(kind: PayloadKind, program: Digest, policy: Digest, device: Digest) -> Self {
        let digest = DigestBuilder::new("fulgurite cache identity 1")
            .number(kind as u64)
            .digest(&program)
            .digest(&policy)
            .digest(&device)
            .finish();
        Self { kind, program, policy, device, digest }
    }

    /// Returns the payload kind.
    pub const fn kind(&self) -> PayloadKind {
        self.kind
    }

    /// Returns the program; for a binary, the key of the driver's input.
    pub const fn program(&self) -> Digest {
        self.program
    }

    /// Returns the policy: how the program is lowered, or compiled by the driver.
    pub const fn policy(&self) -> Digest {
        self.policy
    }

    /// Returns the device.
    pub const fn device(&self) -> Digest {
        self.device
    }

    /// Returns the digest of all parts, which names the entry.
    pub const fn digest(&self) -> Digest {
        self.digest
    }
}

/// Classifies a miss of `wanted` in a user-defined cache that has stored exactly `known`, with the same result as
/// [`DiskPipelineCache`](crate::DiskPipelineCache). Entries of other kinds are ignored. Conditions that identities do
/// not show, such as a damaged or removed entry, are left to the caller: see [`PipelineCacheMissEvidence`].
///
/// ```
/// use fulgurite_pipeline_cache::*;
///
/// let of_device = |name: &[u8]| {
///     let parts = DeviceParts { backend: "mine", cache_uuid: [7; 16], global_key: name, ..Default::default() };
///     PipelineDeviceFingerprint::from_parts(&parts)
/// };
/// let (program, policy) = (Digest::of(b"a kernel"), Digest::of(b"flags"));
/// let made = PipelineCacheIdentity::new(PayloadKind::Binary, program, policy, of_device(b"driver 1"));
/// let wanted = PipelineCacheIdentity::new(PayloadKind::Binary, program, policy, of_device(b"driver 2"));
///
/// assert_eq!(classify_identities(&wanted, []), PipelineCacheMissReason::EmptyCache);
/// assert_eq!(classify_identities(&wanted, [&made]), PipelineCacheMissReason::DeviceOrRuntimeChanged);
/// assert_eq!(classify_identities(&made, [&made]), PipelineCacheMissReason::KeyAbsent);
/// ```
pub fn classify_identities<'a>(
    wanted: &PipelineCacheIdentity,
    known: impl IntoIterator<Item = &'a PipelineCacheIdentity>,
) -> PipelineCacheMissReason {
    let mut evidence = PipelineCacheMissEvidence { is_empty: true, ..Default::default() };
    for id in known.into_iter().filter(|id| id.kind == wanted.kind) {
        evidence.is_empty = false;
        if id.program == wanted.program {
            evidence.knows_program = true;
            if id.policy == wanted.policy {
                evidence.knows_policy = true;
                evidence.knows_device |= id.device == wanted.device;
            }
        }
    }
    PipelineCacheMissReason::classify(&evidence)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    fn parts<'a>(driver: &'a str, features: &'a [String]) -> DeviceParts<'a> {
        DeviceParts {
            backend: "vulkan",
            vendor: 0x10de,
            device: 0x2335,
            driver,
            driver_version: 580,
            cache_uuid: [3; 16],
            pointer_bytes: 8,
            features,
            global_key: b"key",
        }
    }

    #[test]
    fn every_part_of_a_device_counts() {
        let features = ["int8".to_owned(), "int16".to_owned()];
        let joined = ["int8int16".to_owned()];
        let swapped = [features[1].clone(), features[0].clone()];
        let base = parts("NVIDIA", &features);
        let all = [
            base.clone(),
            DeviceParts { backend: "other", ..base.clone() },
            DeviceParts { vendor: 1, ..base.clone() },
            DeviceParts { device: 1, ..base.clone() },
            DeviceParts { vendor: base.device, device: base.vendor, ..base.clone() },
            DeviceParts { driver: "NVIDIA2", ..base.clone() },
            DeviceParts { driver_version: 581, ..base.clone() },
            DeviceParts { cache_uuid: [4; 16], ..base.clone() },
            DeviceParts { pointer_bytes: 4, ..base.clone() },
            DeviceParts { features: &features[..1], ..base.clone() },
            DeviceParts { features: &joined, ..base.clone() },
            DeviceParts { features: &swapped, ..base.clone() },
            DeviceParts { features: &[], ..base.clone() },
            DeviceParts { global_key: b"", ..base.clone() },
            DeviceParts { global_key: b"keys", ..base },
        ];
        let distinct: HashSet<_> = all.iter().map(PipelineDeviceFingerprint::from_parts).collect();
        assert_eq!(distinct.len(), all.len());
    }

    #[test]
    fn every_part_of_an_identity_counts() {
        let digest = |text: &str| Digest::of(text.as_bytes());
        let all: Vec<_> = [
            (PayloadKind::Artifact, "a", "b", "c"),
            (PayloadKind::Binary, "a", "b", "c"),
            (PayloadKind::Kernel, "a", "b", "c"),
            (PayloadKind::Tuned, "a", "b", "c"),
            (PayloadKind::Artifact, "b", "a", "c"),
            (PayloadKind::Artifact, "c", "b", "a"),
            (PayloadKind::Artifact, "a", "c", "b"),
            (PayloadKind::Artifact, "a", "b", "d"),
        ]
        .iter()
        .map(|(kind, a, b, c)| PipelineCacheIdentity::of_digests(*kind, digest(a), digest(b), digest(c)))
        .collect();
        let distinct: HashSet<_> = all.iter().map(PipelineCacheIdentity::digest).collect();
        assert_eq!(distinct.len(), all.len());
        for kind in PayloadKind::ALL {
            assert_eq!(PayloadKind::from_number(*kind as u32), Some(*kind));
        }
        assert_eq!(PayloadKind::from_number(0), None);
    }

    proptest! {
        /// Feature and driver names whose concatenations agree give distinct fingerprints.
        #[test]
        fn no_names_collide(
            a in proptest::collection::vec("[a-c,;\\x00]{0,3}", 0..4),
            b in proptest::collection::vec("[a-c,;\\x00]{0,3}", 0..4),
            (c, d) in ("[a-c\\x00]{0,4}", "[a-c\\x00]{0,4}"),
        ) {
            let of = |driver: &str, features: &[String]| {
                PipelineDeviceFingerprint::from_parts(&parts(driver, features))
            };
            prop_assert_eq!(of(&c, &a) == of(&d, &b), c == d && a == b);
        }
    }
}
