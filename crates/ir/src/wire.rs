//! The binary format of kernels. [`encode`] and [`decode`] are inverse.
//!
//! An encoded kernel is a header, a body and a checksum; `docs/ir.md` specifies them byte by byte. The encoding is
//! canonical: each kernel has exactly one, and [`decode`] rejects all other forms. Decoding does not recurse on the
//! input, does not panic, and allocates at most a small multiple of its size. The byte layout is private to this
//! module, and the serializer to this crate.

mod body;
mod error;
mod read;
mod write;

pub use error::WireError;

use fulgurite_spec::limits::MAX_WIRE_BYTES;

use crate::kernel::Kernel;
use crate::verify::VerifiedKernel;

/// The first bytes of every encoded kernel. The first byte is not ASCII, so no kernel text begins with them.
const MAGIC: [u8; 4] = [0x8f, b'F', b'G', b'K'];

/// The version of the format after the magic number.
const VERSION: u32 = 1;

/// The size of the magic number, the version and the length of the body.
const HEADER_BYTES: usize = 4 + 4 + 8;

/// The size of the checksum, a truncated BLAKE3 hash of header and body.
const CHECKSUM_BYTES: usize = 16;

/// Encodes a kernel. Source locations and unreachable values, instructions and blocks are not encoded.
///
/// # Errors
/// [`WireError::OverLimit`] if the encoding exceeds 64 MiB.
pub fn encode(kernel: &VerifiedKernel) -> Result<Vec<u8>, WireError> {
    let body = write::body(kernel);
    let mut bytes = header(0).to_vec();
    body::append(&body, &mut bytes, MAX_WIRE_BYTES - CHECKSUM_BYTES).map_err(|_| too_long())?;
    let length = bytes.len() - HEADER_BYTES;
    bytes[..HEADER_BYTES].copy_from_slice(&header(length));
    bytes.extend_from_slice(&checksum(&bytes));
    Ok(bytes)
}

/// Decodes a kernel, which is not yet [verified](crate::verify).
///
/// # Errors
/// An error if [`encode`] cannot have written `bytes`. Rules of the language are left to [`verify`](crate::verify).
pub fn decode(bytes: &[u8]) -> Result<Kernel, WireError> {
    let encoded = open(bytes)?;
    let kernel = {
        let body = body::parse(encoded)?;
        read::kernel(&body)?
    };
    // Only the canonical encoding is accepted: other orders of constants, overlong numbers or unused precondition
    // nodes are rejected.
    if body::is_same(&write::body(&kernel), encoded) {
        Ok(kernel)
    } else {
        Err(WireError::malformed("the body is not in its canonical form"))
    }
}

/// Adds a header and a checksum to `body`, which may be invalid. For tests of the code behind the checksum.
#[doc(hidden)]
pub fn seal(body: &[u8]) -> Vec<u8> {
    let mut bytes = [&header(body.len())[..], body].concat();
    bytes.extend_from_slice(&checksum(&bytes));
    bytes
}

fn too_long() -> WireError {
    WireError::OverLimit { what: "bytes", limit: MAX_WIRE_BYTES }
}

fn header(length: usize) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..4].copy_from_slice(&MAGIC);
    header[4..8].copy_from_slice(&VERSION.to_le_bytes());
    header[8..].copy_from_slice(&(length as u64).to_le_bytes());
    header
}

fn checksum(header_and_body: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let mut checksum = [0; CHECKSUM_BYTES];
    checksum.copy_from_slice(&blake3::hash(header_and_body).as_bytes()[..CHECKSUM_BYTES]);
    checksum
}

/// Checks header and checksum and returns the body.
fn open(bytes: &[u8]) -> Result<&[u8], WireError> {
    let Some((magic, rest)) = bytes.split_first_chunk::<4>() else { return Err(WireError::NotAKernel) };
    if *magic != MAGIC {
        return Err(WireError::NotAKernel);
    }
    let found = bytes.len() as u64;
    let least = (HEADER_BYTES + CHECKSUM_BYTES) as u64;
    let short = WireError::WrongLength { stated: least, found };
    // The version comes first, because a later version may have another header.
    let (version, rest) = rest.split_first_chunk::<4>().ok_or(short.clone())?;
    let version = u32::from_le_bytes(*version);
    if version != VERSION {
        return Err(WireError::UnknownVersion { found: version, known: VERSION });
    }
    let (length, rest) = rest.split_first_chunk::<8>().ok_or(short.clone())?;
    let length = u64::from_le_bytes(*length);
    if bytes.len() > MAX_WIRE_BYTES || length > MAX_WIRE_BYTES as u64 {
        return Err(too_long());
    }
    let (body, stated) = rest.split_last_chunk::<CHECKSUM_BYTES>().ok_or(short)?;
    if body.len() as u64 != length {
        return Err(WireError::WrongLength { stated: length + least, found });
    }
    if *stated != checksum(&bytes[..HEADER_BYTES + body.len()]) {
        return Err(WireError::WrongChecksum);
    }
    Ok(body)
}

#[cfg(test)]
mod tests;
