//! The encoding of one entry: a header with its identity, and the payload. Decoding checks every byte.
//! `docs/cache-format.md` specifies the format.

use fulgurite_storage::{Digest, DigestBuilder};

use crate::identity::{PayloadKind, PipelineCacheIdentity};

/// Prefix of temporary files.
pub(crate) const TEMPORARY: &str = ".tmp-";
/// The magic number of an entry.
pub(crate) const MAGIC: [u8; 8] = *b"FGCACHE\x1a";
/// Version of the format. Entries of other versions are not read.
pub const FORMAT_VERSION: u32 = 1;
/// Size of the header in bytes.
pub const HEADER_BYTES: usize = 224;
/// Default maximum size of an entry in bytes, header included.
pub const MAX_ENTRY_BYTES: u64 = 64 << 20;

/// A decoded and checked entry.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// The entry's identity.
    pub identity: PipelineCacheIdentity,
    /// For an artifact, the [`artifact_digest`] of its payload; for a driver binary, that of the artifact it was
    /// compiled from, by which [`PipelineCache::invalidate_kernel`](crate::PipelineCache::invalidate_kernel) finds it.
    /// Zero for other kinds.
    pub artifact: Digest,
    /// The BLAKE3 digest of the payload.
    pub payload_digest: Digest,
    /// The payload.
    pub payload: Vec<u8>,
}

impl Entry {
    /// Creates an entry. `artifact` is ignored if the payload is itself an artifact.
    pub fn new(identity: PipelineCacheIdentity, artifact: Digest, payload: Vec<u8>) -> Self {
        let artifact = match identity.kind() {
            PayloadKind::Artifact => artifact_digest(&payload),
            _ => artifact,
        };
        Self { identity, artifact, payload_digest: Digest::of(&payload), payload }
    }
}

/// The reason why bytes are not a valid entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadEntry {
    /// Damaged, or never an entry.
    Corrupt,
    /// An entry in another version of the format.
    OtherFormat,
}

/// Returns the digest by which an artifact's own entry and its driver binaries refer to it. It differs from the digest
/// of the entry's identity.
pub fn artifact_digest(payload: &[u8]) -> Digest {
    DigestBuilder::new("fulgurite artifact 1").bytes(payload).finish()
}

/// Encodes an entry.
pub(crate) fn encode(entry: &Entry) -> Vec<u8> {
    let Entry { identity, artifact, payload_digest, payload } = entry;
    let mut bytes = Vec::with_capacity(HEADER_BYTES + payload.len());
    bytes.extend_from_slice(&MAGIC);
    for number in [FORMAT_VERSION, HEADER_BYTES as u32, identity.kind() as u32, 0] {
        bytes.extend_from_slice(&number.to_le_bytes());
    }
    for digest in [identity.program(), identity.policy(), identity.device(), *artifact] {
        bytes.extend_from_slice(digest.as_bytes());
    }
    bytes.extend_from_slice(&(payload.len() as u64).to_le_bytes());
    bytes.extend_from_slice(payload_digest.as_bytes());
    let header = Digest::of(&bytes);
    bytes.extend_from_slice(header.as_bytes());
    debug_assert_eq!(bytes.len(), HEADER_BYTES);
    bytes.extend_from_slice(payload);
    bytes
}

/// Decodes an entry of any identity.
pub(crate) fn decode(mut bytes: Vec<u8>) -> Result<Entry, BadEntry> {
    let head = header(&bytes)?;
    let payload = bytes.get(HEADER_BYTES..).ok_or(BadEntry::Corrupt)?;
    if payload.len() as u64 != head.payload_bytes || Digest::of(payload) != head.payload {
        return Err(BadEntry::Corrupt);
    }
    if head.identity.kind() == PayloadKind::Artifact && artifact_digest(payload) != head.artifact {
        return Err(BadEntry::Corrupt);
    }
    bytes.drain(..HEADER_BYTES);
    let Header { identity, artifact, payload: payload_digest, .. } = head;
    Ok(Entry { identity, artifact, payload_digest, payload: bytes })
}

/// Decodes the entry of `identity`.
pub(crate) fn decode_for(identity: &PipelineCacheIdentity, bytes: Vec<u8>) -> Result<Entry, BadEntry> {
    decode(bytes).and_then(|entry| match entry.identity == *identity {
        true => Ok(entry),
        false => Err(BadEntry::Corrupt),
    })
}

/// A decoded header.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header {
    pub(crate) identity: PipelineCacheIdentity,
    pub(crate) artifact: Digest,
    pub(crate) payload_bytes: u64,
    payload: Digest,
}

/// Decodes and checks only the header.
pub(crate) fn header(bytes: &[u8]) -> Result<Header, BadEntry> {
    if !bytes.starts_with(&MAGIC) {
        return Err(BadEntry::Corrupt);
    }
    let version = number(bytes, 8)?;
    if version != FORMAT_VERSION {
        return Err(BadEntry::OtherFormat);
    }
    let sealed = digest(bytes, 192)?;
    if Digest::of(bytes.get(..192).ok_or(BadEntry::Corrupt)?) != sealed {
        return Err(BadEntry::Corrupt);
    }
    let kind = PayloadKind::from_number(number(bytes, 16)?).ok_or(BadEntry::Corrupt)?;
    if number(bytes, 12)? != HEADER_BYTES as u32 || number(bytes, 20)? != 0 {
        return Err(BadEntry::Corrupt);
    }
    let [program, policy, device, artifact] =
        [digest(bytes, 24)?, digest(bytes, 56)?, digest(bytes, 88)?, digest(bytes, 120)?];
    let length = bytes.get(152..160).and_then(|b| b.try_into().ok()).ok_or(BadEntry::Corrupt)?;
    Ok(Header {
        identity: PipelineCacheIdentity::of_digests(kind, program, policy, device),
        artifact,
        payload_bytes: u64::from_le_bytes(length),
        payload: digest(bytes, 160)?,
    })
}

fn number(bytes: &[u8], at: usize) -> Result<u32, BadEntry> {
    let four = bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).ok_or(BadEntry::Corrupt)?;
    Ok(u32::from_le_bytes(four))
}

fn digest(bytes: &[u8], at: usize) -> Result<Digest, BadEntry> {
    let all = bytes.get(at..at + 32).and_then(|b| b.try_into().ok()).ok_or(BadEntry::Corrupt)?;
    Ok(Digest::from_bytes(all))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn identity(kind: PayloadKind, name: &str) -> PipelineCacheIdentity {
        let digest = |part: &str| Digest::of(format!("{name} {part}").as_bytes());
        PipelineCacheIdentity::of_digests(kind, digest("program"), digest("policy"), digest("device"))
    }

    fn encode(identity: &PipelineCacheIdentity, artifact: Digest, payload: &[u8]) -> Vec<u8> {
        super::encode(&Entry::new(*identity, artifact, payload.to_vec()))
    }

    #[test]
    fn entries_read_back() {
        for (kind, payload) in
            [(PayloadKind::Artifact, &b"words"[..]), (PayloadKind::Binary, b""), (PayloadKind::Tuned, b"x")]
        {
            let identity = identity(kind, "a");
            let bytes = encode(&identity, Digest::of(b"artifact"), payload);
            assert_eq!(bytes.len(), HEADER_BYTES + payload.len());
            let entry = decode_for(&identity, bytes).unwrap();
            assert_eq!((entry.identity, &entry.payload[..]), (identity, payload));
            match kind {
                PayloadKind::Artifact => assert_eq!(entry.artifact, artifact_digest(payload)),
                _ => assert_eq!(entry.artifact, Digest::of(b"artifact")),
            }
        }
    }

    #[test]
    fn no_byte_may_change() {
        let id = identity(PayloadKind::Artifact, "a");
        let bytes = encode(&id, Digest::ZERO, b"some words");
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 0x40;
            let expected = if (8..12).contains(&at) { BadEntry::OtherFormat } else { BadEntry::Corrupt };
            assert_eq!(decode_for(&id, changed), Err(expected), "byte {at}");
            assert!(decode_for(&id, bytes[..at].to_vec()).is_err(), "cut at {at}");
        }
        let longer = [&bytes[..], b"."].concat();
        assert_eq!(decode_for(&id, longer), Err(BadEntry::Corrupt));
        assert_eq!(decode_for(&identity(PayloadKind::Artifact, "b"), bytes), Err(BadEntry::Corrupt));
    }

    /// Recomputes the header's checksum after a change.
    fn reseal(bytes: &mut [u8]) {
        let seal = Digest::of(&bytes[..192]);
        bytes[192..224].copy_from_slice(seal.as_bytes());
    }

    #[test]
    fn no_byte_of_a_header_may_change_even_with_its_checksum() {
        let id = identity(PayloadKind::Artifact, "a");
        let good = encode(&id, Digest::ZERO, b"some words");
        for at in 0..192 {
            let mut changed = good.clone();
            changed[at] ^= 1;
            reseal(&mut changed);
            assert!(decode_for(&id, changed).is_err(), "byte {at}");
        }
        // A payload with both checksums recomputed is no longer the artifact that the header names.
        let mut changed = good;
        changed[HEADER_BYTES] ^= 1;
        let payload = Digest::of(&changed[HEADER_BYTES..]);
        changed[160..192].copy_from_slice(payload.as_bytes());
        reseal(&mut changed);
        assert_eq!(decode_for(&id, changed), Err(BadEntry::Corrupt));
    }

    proptest! {
        #[test]
        fn any_bytes_are_no_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400), seal in any::<bool>()) {
            let mut bytes = bytes;
            if seal && bytes.len() >= HEADER_BYTES {
                bytes[..8].copy_from_slice(&MAGIC);
                bytes[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
                reseal(&mut bytes);
            }
            prop_assert!(decode(bytes).is_err());
        }
    }
}
