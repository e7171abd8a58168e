//! What can be wrong with bytes that should be a kernel.

use core::fmt;

use fulgurite_spec::Code;

/// Why bytes are no kernel, or a kernel has no bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WireError {
    /// They do not begin as a kernel's bytes do.
    NotAKernel,
    /// They are of a version that this build does not know.
    UnknownVersion {
        /// The version of the bytes.
        found: u32,
        /// The version that this build reads and writes.
        known: u32,
    },
    /// Bytes are missing, or there are too many.
    WrongLength {
        /// How many there should be, the least possible if not even the header is whole.
        stated: u64,
        /// How many there are.
        found: u64,
    },
    /// The checksum does not fit the bytes.
    WrongChecksum,
    /// The checksum fits, but this is not the body of a kernel.
    Malformed(String),
    /// There is more of something than the language or the format allows.
    OverLimit {
        /// Of what.
        what: &'static str,
        /// How much is allowed.
        limit: usize,
    },
}

impl WireError {
    /// The diagnostic code.
    pub const fn code(&self) -> Code {
        match self {
            Self::NotAKernel => Code::NotAKernel,
            Self::UnknownVersion { .. } => Code::UnknownWireVersion,
            Self::WrongLength { .. } => Code::WrongWireLength,
            Self::WrongChecksum => Code::WrongWireChecksum,
            Self::Malformed(_) => Code::MalformedWire,
            Self::OverLimit { .. } => Code::WireOverLimit,
        }
    }

    pub(super) fn malformed(reason: impl Into<String>) -> Self {
        Self::Malformed(reason.into())
    }
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAKernel => f.write_str("the bytes do not begin as a kernel's do"),
            Self::UnknownVersion { found, known } => {
                write!(f, "the kernel is of wire version {found}, known is version {known}")
            }
            Self::WrongLength { stated, found } => {
                write!(f, "the kernel has {found} bytes where {stated} belong")
            }
            Self::WrongChecksum => f.write_str("the kernel's bytes do not fit their checksum"),
            Self::Malformed(reason) => f.write_str(reason),
            Self::OverLimit { what, limit } => write!(f, "the kernel has more than {limit} {what}"),
        }
    }
}

impl std::error::Error for WireError {}
