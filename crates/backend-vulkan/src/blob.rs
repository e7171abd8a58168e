//! The stored form of a driver's pipeline data: the data follows a header of this crate, so that a driver only reads
//! bytes that it wrote itself, for the same device. Pure.

use crate::pipeline_binary::StoredBinary;

/// The first bytes of every blob.
const MAGIC: [u8; 4] = *b"FGVK";
/// The version of the format.
const VERSION: u32 = 1;
/// Size of the header in bytes.
const HEADER_BYTES: usize = 88;
/// Size of `VkPipelineCacheHeaderVersionOne` in bytes.
const CACHE_HEADER_BYTES: usize = 32;
/// Maximum size of a binary's key in bytes.
const MAX_KEY_BYTES: usize = 32;

/// The device and driver that wrote a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Writer {
    pub(crate) vendor: u32,
    pub(crate) device: u32,
    pub(crate) driver_version: u32,
    pub(crate) cache_uuid: [u8; 16],
}

/// Pipeline data of a driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Blob {
    /// The data of a `VkPipelineCache` that contains one pipeline.
    CacheData(Vec<u8>),
    /// The binaries of one pipeline.
    Binaries(Vec<StoredBinary>),
}

impl Blob {
    /// Encodes the blob as bytes.
    pub(crate) fn encode(&self, writer: &Writer) -> Vec<u8> {
        let (kind, data) = match self {
            Self::CacheData(data) => (1u32, data.clone()),
            Self::Binaries(all) => (2, encode_binaries(all)),
        };
        let mut bytes = MAGIC.to_vec();
        let pointer = size_of::<usize>() as u32;
        for number in [VERSION, kind, writer.vendor, writer.device, writer.driver_version, pointer] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&writer.cache_uuid);
        bytes.extend_from_slice(&(data.len() as u64).to_le_bytes());
        bytes.extend_from_slice(blake3::hash(&data).as_bytes());
        debug_assert_eq!(bytes.len(), HEADER_BYTES);
        bytes.extend_from_slice(&data);
        bytes
    }

    /// Decodes `bytes`; `None` if another writer wrote them or they are damaged.
    pub(crate) fn decode(bytes: &[u8], writer: &Writer) -> Option<Self> {
        let (header, data) = bytes.split_at_checked(HEADER_BYTES)?;
        let kind = number(header, 8)?;
        // The header must match but for the kind, the length and the hash.
        let expected = Self::CacheData(Vec::new()).encode(writer);
        let is_ours = header[..8] == expected[..8] && header[12..48] == expected[12..48];
        let length = u64::from_le_bytes(header.get(48..56)?.try_into().ok()?);
        let is_whole = length == data.len() as u64 && header[56..] == *blake3::hash(data).as_bytes();
        match kind {
            _ if !is_ours || !is_whole => None,
            1 => is_cache_data(data, writer).then(|| Self::CacheData(data.to_vec())),
            2 => decode_binaries(data).map(Self::Binaries),
            _ => None,
        }
    }
}

/// Returns whether `data` begins with a valid `VkPipelineCacheHeaderVersionOne` of this device.
pub(crate) fn is_cache_data(data: &[u8], writer: &Writer) -> bool {
    data.len() >= CACHE_HEADER_BYTES
        && number(data, 0).is_some_and(|bytes| bytes as usize >= CACHE_HEADER_BYTES)
        && number(data, 4) == Some(1)
        && number(data, 8) == Some(writer.vendor)
        && number(data, 12) == Some(writer.device)
        && data[16..32] == writer.cache_uuid
}

fn encode_binaries(all: &[StoredBinary]) -> Vec<u8> {
    let mut bytes = (all.len() as u32).to_le_bytes().to_vec();
    for binary in all {
        bytes.extend_from_slice(&(binary.key.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&binary.key);
        bytes.extend_from_slice(&(binary.data.len() as u64).to_le_bytes());
        bytes.extend_from_slice(&binary.data);
    }
    bytes
}

fn decode_binaries(mut bytes: &[u8]) -> Option<Vec<StoredBinary>> {
    let mut take = |count: usize| {
        let (taken, rest) = bytes.split_at_checked(count)?;
        bytes = rest;
        Some(taken)
    };
    let count = number(take(4)?, 0)?;
    let mut all = Vec::new();
    for _ in 0..count {
        let key_bytes = number(take(4)?, 0)? as usize;
        let key = take(key_bytes).filter(|_| key_bytes <= MAX_KEY_BYTES)?.to_vec();
        let length = u64::from_le_bytes(take(8)?.try_into().ok()?);
        all.push(StoredBinary { key, data: take(usize::try_from(length).ok()?)?.to_vec() });
    }
    (bytes.is_empty() && !all.is_empty()).then_some(all)
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) const WRITER: Writer =
        Writer { vendor: 0x10de, device: 0x2335, driver_version: 580, cache_uuid: [9; 16] };

    /// Returns pipeline cache data as a driver of `writer` produces it.
    pub(crate) fn cache_data(writer: &Writer, rest: &[u8]) -> Vec<u8> {
        let mut data = Vec::new();
        for number in [CACHE_HEADER_BYTES as u32, 1, writer.vendor, writer.device] {
            data.extend_from_slice(&number.to_le_bytes());
        }
        data.extend_from_slice(&writer.cache_uuid);
        data.extend_from_slice(rest);
        data
    }

    fn blobs() -> [Blob; 2] {
        let binary = |key: &[u8], data: &[u8]| StoredBinary { key: key.to_vec(), data: data.to_vec() };
        [
            Blob::CacheData(cache_data(&WRITER, b"code")),
            Blob::Binaries(vec![binary(b"key", b"code"), binary(&[1; 32], b"")]),
        ]
    }

    #[test]
    fn blobs_read_back_on_their_device_alone() {
        let others = [
            Writer { vendor: 1, ..WRITER },
            Writer { device: 1, ..WRITER },
            Writer { driver_version: 581, ..WRITER },
            Writer { cache_uuid: [8; 16], ..WRITER },
        ];
        for blob in blobs() {
            let bytes = blob.encode(&WRITER);
            assert_eq!(Blob::decode(&bytes, &WRITER), Some(blob));
            for other in &others {
                assert_eq!(Blob::decode(&bytes, other), None, "{other:?}");
            }
        }
    }

    #[test]
    fn no_byte_may_change() {
        for blob in blobs() {
            let bytes = blob.encode(&WRITER);
            for at in 0..bytes.len() {
                let mut changed = bytes.clone();
                changed[at] ^= 4;
                assert_eq!(Blob::decode(&changed, &WRITER), None, "byte {at}");
                assert_eq!(Blob::decode(&bytes[..at], &WRITER), None, "cut at {at}");
            }
        }
    }

    #[test]
    fn data_with_the_drivers_own_header_of_another_device_is_none_of_its() {
        let foreign = Blob::CacheData(cache_data(&Writer { device: 7, ..WRITER }, b"code"));
        assert_eq!(Blob::decode(&foreign.encode(&WRITER), &WRITER), None);
        let short = Blob::CacheData(b"short".to_vec());
        assert_eq!(Blob::decode(&short.encode(&WRITER), &WRITER), None);
    }

    #[test]
    fn binaries_are_bounded_by_their_bytes() {
        assert_eq!(decode_binaries(&[]), None);
        assert_eq!(decode_binaries(&[0; 4]), None);
        assert_eq!(decode_binaries(&u32::MAX.to_le_bytes()), None);
        let mut huge = 1u32.to_le_bytes().to_vec();
        huge.extend_from_slice(&0u32.to_le_bytes());
        huge.extend_from_slice(&u64::MAX.to_le_bytes());
        assert_eq!(decode_binaries(&huge), None);
    }
}
