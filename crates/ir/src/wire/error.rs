//! Errors of encoding and decoding.

use core::fmt;

use fulgurite_spec::Code;

/// The error of encoding or decoding a kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WireError {
    /// Wrong magic number.
    NotAKernel,
    /// Unsupported version.
    UnknownVersion {
        /// The version of the encoded kernel.
        found: u32,
        /// The version that this build reads and writes.
        known: u32,
    },
    /// Truncated input or trailing bytes.
    WrongLength {
        /// The expected number of bytes, or the minimum if the header or the checksum is truncated.
        stated: u64,
        /// The actual number of bytes.
        found: u64,
    },
    /// Checksum mismatch.
    WrongChecksum,
    /// The checksum is correct, but the body is not that of a kernel.
    Malformed(String),
    /// A limit of the language or of the format is exceeded.
    OverLimit {
        /// The items that are limited.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
}

impl WireError {
    /// Returns the diagnostic code.
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
