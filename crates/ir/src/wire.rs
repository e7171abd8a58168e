//! Kernels as bytes: [`encode`] and [`decode`] are inverse.
//!
//! A header, a body and a checksum; `docs/ir.md` specifies them byte by byte. There is one form for each kernel:
//! what [`decode`] accepts is what [`encode`] writes. Nothing here recurses on the input, panics, or allocates
//! more than a small multiple of it. No other module knows how bytes are laid out, and no other crate sees the
//! serializer.

mod body;
mod error;
mod read;
mod write;

pub use error::WireError;

use fulgurite_spec::limits::MAX_WIRE_BYTES;

use crate::kernel::Kernel;
use crate::verify::VerifiedKernel;

/// What the bytes of every kernel begin with. The first is no ASCII, so that no text does.
const MAGIC: [u8; 4] = [0x8f, b'F', b'G', b'K'];

/// The version of what follows the magic number.
const VERSION: u32 = 1;

/// Magic number, version, and length of the body.
const HEADER_BYTES: usize = 4 + 4 + 8;

/// The first bytes of blake3 over header and body.
const CHECKSUM_BYTES: usize = 16;

/// The bytes of a kernel. They hold everything but places in its source and what no instruction reaches.
///
/// # Errors
/// [`WireError::OverLimit`] beyond 64 MiB, and no other.
pub fn encode(kernel: &VerifiedKernel) -> Result<Vec<u8>, WireError> {
    let body = write::body(kernel);
    let mut bytes = header(0).to_vec();
    body::append(&body, &mut bytes, MAX_WIRE_BYTES - CHECKSUM_BYTES).map_err(|_| too_long())?;
    let length = bytes.len() - HEADER_BYTES;
    bytes[..HEADER_BYTES].copy_from_slice(&header(length));
    bytes.extend_from_slice(&checksum(&bytes));
    Ok(bytes)
}

/// The kernel that `bytes` are. It is yet to be [verified](crate::verify).
///
/// # Errors
/// Any bytes that [`encode`] cannot have written are an error, but for rules of the language, which are
/// [`verify`](crate::verify)'s.
pub fn decode(bytes: &[u8]) -> Result<Kernel, WireError> {
    let encoded = open(bytes)?;
    let kernel = {
        let body = body::parse(encoded)?;
        read::kernel(&body)?
    };
    // Constants in another order, a number in more bytes than it takes, nodes of preconditions that nothing
    // needs: there are many ways to say the same, of which one is right.
    if body::is_same(&write::body(&kernel), encoded) {
        Ok(kernel)
    } else {
        Err(WireError::malformed("the body is not in its canonical form"))
    }
}

/// Puts header and checksum around `body`, whatever it is: for tests that are to reach beyond the checksum.
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

/// The body, if header and checksum are right.
fn open(bytes: &[u8]) -> Result<&[u8], WireError> {
    let Some((magic, rest)) = bytes.split_first_chunk::<4>() else { return Err(WireError::NotAKernel) };
    if *magic != MAGIC {
        return Err(WireError::NotAKernel);
    }
    let found = bytes.len() as u64;
    let least = (HEADER_BYTES + CHECKSUM_BYTES) as u64;
    let short = WireError::WrongLength { stated: least, found };
    // The version comes before all else: a later one may have another header.
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
