//! The pipeline key: one digest of the shader, its layout and the device features it uses.

use std::ops::BitOr;

use fulgurite_storage::{Digest, DigestBuilder};
use serde::{Deserialize, Serialize};

/// Version of the fields of [`PipelineCacheKey`].
pub const KEY_VERSION: u32 = 1;

/// Device features that a pipeline uses. The bit positions are stable. With `serde` the flags are serialized as their
/// [`bits`](Self::bits); unknown bits are an error when deserialized.
///
/// ```
/// use fulgurite_pipeline_cache::PipelineFeatureFlags as Flags;
///
/// let flags = Flags::SUBGROUP | Flags::F16;
/// assert_eq!(Flags::from_bits(flags.bits()), Ok(flags));
/// assert_eq!(Flags::from_bits(1 << 40 | 1).unwrap_err().bits, 1 << 40);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct PipelineFeatureFlags(u64);

macro_rules! flags {
    ($($(#[doc = $doc:literal])* $name:ident = $bit:literal,)*) => {
        impl PipelineFeatureFlags {
            $($(#[doc = $doc])* pub const $name: Self = Self(1 << $bit);)*

            /// All flags, in bit order.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];
        }
    };
}

flags! {
    /// Subgroup operations.
    SUBGROUP = 0,
    /// `f16` arithmetic.
    F16 = 1,
    /// `bf16` in the shader.
    BF16 = 2,
    /// Cooperative matrices.
    TENSOR_CORES = 3,
    /// A compute-only queue.
    ASYNC_COMPUTE = 4,
    /// Parameters in push constants.
    PUSH_CONSTANTS = 5,
    /// Indirect dispatch.
    INDIRECT_DISPATCH = 6,
    /// Compiled ahead of the request.
    SPECULATIVE = 7,
    /// Workgroups that wait for each other.
    PERSISTENT_THREAD = 8,
}

impl PipelineFeatureFlags {
    /// Returns the empty set.
    pub const fn empty() -> Self {
        Self(0)
    }

    /// Returns whether all flags of `other` are set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Returns the union of both sets.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Returns the union with `other` if `on`, otherwise `self`.
    #[must_use]
    pub const fn with(self, other: Self, on: bool) -> Self {
        if on { self.union(other) } else { self }
    }

    /// Returns the bits. Bits without a flag are reserved and zero.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Creates the flags from their bits.
    ///
    /// # Errors
    /// [`UnknownFeatureFlags`] if `bits` contains a bit without a flag in this version.
    pub const fn from_bits(bits: u64) -> Result<Self, UnknownFeatureFlags> {
        // Flags are contiguous from bit 0, as a test checks.
        let known = (1u64 << Self::ALL.len()) - 1;
        match bits & !known {
            0 => Ok(Self(bits)),
            unknown => Err(UnknownFeatureFlags { bits: unknown }),
        }
    }
}

/// Error for bits without a [`PipelineFeatureFlags`] flag in this version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown feature flags {bits:#x}")]
#[non_exhaustive]
pub struct UnknownFeatureFlags {
    /// The unknown bits.
    pub bits: u64,
}

impl TryFrom<u64> for PipelineFeatureFlags {
    type Error = UnknownFeatureFlags;

    fn try_from(bits: u64) -> Result<Self, UnknownFeatureFlags> {
        Self::from_bits(bits)
    }
}

impl From<PipelineFeatureFlags> for u64 {
    fn from(flags: PipelineFeatureFlags) -> Self {
        flags.bits()
    }
}

impl BitOr for PipelineFeatureFlags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        self.union(other)
    }
}

/// The fields of a [`PipelineCacheKey`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PipelineCacheKeyDesc<'a> {
    /// Digest of the shader's code.
    pub shader: Digest,
    /// Digest of the binding layout.
    pub layout: Digest,
    /// Size of the push constants in bytes.
    pub push_constant_bytes: u32,
    /// Workgroup size along x, y and z.
    pub workgroup: [u32; 3],
    /// Device features used.
    pub flags: PipelineFeatureFlags,
    /// Id of the compiling backend.
    pub backend: &'a str,
}

/// Digest of a pipeline's inputs, independent of the device that compiles it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PipelineCacheKey {
    digest: Digest,
}

impl PipelineCacheKey {
    /// Creates the key of `desc`, with version [`KEY_VERSION`].
    pub fn new(desc: &PipelineCacheKeyDesc<'_>) -> Self {
        Self::versioned(KEY_VERSION, desc)
    }

    fn versioned(version: u32, desc: &PipelineCacheKeyDesc<'_>) -> Self {
        let PipelineCacheKeyDesc { shader, layout, push_constant_bytes, workgroup, flags, backend } = desc;
        let key = DigestBuilder::new("fulgurite pipeline key")
            .number(version.into())
            .digest(shader)
            .digest(layout)
            .number((*push_constant_bytes).into());
        let key = workgroup.iter().fold(key, |key, size| key.number((*size).into()));
        Self { digest: key.number(flags.bits()).text(backend).finish() }
    }

    /// Returns the digest.
    pub const fn digest(&self) -> Digest {
        self.digest
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn flags_are_bits_0_to_8() {
        for (bit, flag) in PipelineFeatureFlags::ALL.iter().enumerate() {
            assert_eq!(flag.bits(), 1 << bit);
        }
        assert_eq!(PipelineFeatureFlags::ALL.len(), 9);
        let both = PipelineFeatureFlags::F16 | PipelineFeatureFlags::SUBGROUP;
        assert!(both.contains(PipelineFeatureFlags::F16) && both.contains(PipelineFeatureFlags::empty()));
        assert!(!PipelineFeatureFlags::F16.contains(both));
        assert_eq!(both.with(PipelineFeatureFlags::BF16, false), both);
        assert_eq!(both.with(PipelineFeatureFlags::BF16, true).bits(), 0b111);
    }

    #[test]
    fn unknown_bits_are_an_error() {
        let all =
            PipelineFeatureFlags::ALL.iter().fold(PipelineFeatureFlags::empty(), |all, flag| all | *flag);
        assert_eq!(all.bits(), 0x1ff);
        for flags in PipelineFeatureFlags::ALL.iter().copied().chain([all, PipelineFeatureFlags::empty()]) {
            assert_eq!(PipelineFeatureFlags::from_bits(flags.bits()), Ok(flags));
            let json = serde_json::to_string(&flags).unwrap();
            assert_eq!(json, flags.bits().to_string());
            assert_eq!(serde_json::from_str::<PipelineFeatureFlags>(&json).unwrap(), flags);
        }
        for bit in 9..64 {
            let error = PipelineFeatureFlags::from_bits(1 << bit | 0b101).unwrap_err();
            assert_eq!(error, UnknownFeatureFlags { bits: 1 << bit });
            let error = serde_json::from_str::<PipelineFeatureFlags>(&(1u64 << bit).to_string()).unwrap_err();
            assert!(error.to_string().contains("unknown feature flags"), "{error}");
        }
    }

    fn desc(backend: &str) -> PipelineCacheKeyDesc<'_> {
        PipelineCacheKeyDesc {
            shader: Digest::of(b"shader"),
            layout: Digest::of(b"layout"),
            push_constant_bytes: 8,
            workgroup: [64, 2, 1],
            flags: PipelineFeatureFlags::SUBGROUP,
            backend,
        }
    }

    #[test]
    fn every_field_counts() {
        let base = desc("vulkan");
        let mut keys = vec![
            PipelineCacheKey::new(&base),
            PipelineCacheKey::versioned(KEY_VERSION + 1, &base),
            PipelineCacheKey::new(&PipelineCacheKeyDesc { shader: Digest::of(b"s"), ..base.clone() }),
            PipelineCacheKey::new(&PipelineCacheKeyDesc { layout: Digest::of(b"l"), ..base.clone() }),
            PipelineCacheKey::new(&PipelineCacheKeyDesc {
                shader: base.layout,
                layout: base.shader,
                ..base.clone()
            }),
            PipelineCacheKey::new(&PipelineCacheKeyDesc { push_constant_bytes: 64, ..base.clone() }),
            PipelineCacheKey::new(&PipelineCacheKeyDesc { flags: PipelineFeatureFlags::F16, ..base.clone() }),
            PipelineCacheKey::new(&desc("vulkan2")),
        ];
        for workgroup in [[2, 64, 1], [64, 1, 2], [1, 64, 2], [8, 64, 2]] {
            keys.push(PipelineCacheKey::new(&PipelineCacheKeyDesc { workgroup, ..base.clone() }));
        }
        let distinct: HashSet<_> = keys.iter().map(PipelineCacheKey::digest).collect();
        assert_eq!(distinct.len(), keys.len());
    }

    proptest! {
        /// Backend ids that resemble the preceding field's encoding still give distinct keys.
        #[test]
        fn no_backend_id_collides(a in "\\PC{0,12}", b in "\\PC{0,12}", number in any::<u32>()) {
            let key = |backend: &str, bytes| {
                let desc = PipelineCacheKeyDesc { push_constant_bytes: bytes, ..desc(backend) };
                PipelineCacheKey::new(&desc)
            };
            prop_assert_eq!(key(&a, 8) == key(&b, 8), a == b);
            prop_assert_eq!(key(&a, number) == key(&b, 8), a == b && number == 8);
        }
    }
}
