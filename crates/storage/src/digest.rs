//! Digests of cache keys: BLAKE3 in key-derivation mode, with every variable-length field prefixed by its length.

use std::fmt;

/// A 256-bit digest.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

impl Digest {
    /// All bits zero: stands for an absent digest.
    pub const ZERO: Self = Self([0; 32]);

    /// Creates a digest from its bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Returns the plain BLAKE3 hash of `bytes`, without a domain.
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }

    /// Returns the bytes of the digest.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Parses 64 lower-case hex digits.
    pub fn parse(hex: &str) -> Option<Self> {
        let lower = hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let hash = blake3::Hash::from_hex(hex).ok().filter(|_| lower)?;
        Some(Self(*hash.as_bytes()))
    }
}

impl From<blake3::Hash> for Digest {
    fn from(hash: blake3::Hash) -> Self {
        Self(*hash.as_bytes())
    }
}

/// Formats the digest as 64 lower-case hex digits.
impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&blake3::Hash::from_bytes(self.0).to_hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Hashes a sequence of fields. Within a domain, two sequences have equal digests only if they are equal, because byte
/// strings are prefixed by their length and all other fields have a fixed size.
#[derive(Clone, Debug)]
pub struct DigestBuilder(blake3::Hasher);

impl DigestBuilder {
    /// Starts a digest in `domain`, a versioned constant that no other digest uses and that determines what the fields
    /// mean.
    pub fn new(domain: &'static str) -> Self {
        Self(blake3::Hasher::new_derive_key(domain))
    }

    /// Adds a byte string.
    #[must_use]
    pub fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.update(&(bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
        self
    }

    /// Adds a string.
    #[must_use]
    pub fn text(self, text: &str) -> Self {
        self.bytes(text.as_bytes())
    }

    /// Adds a number.
    #[must_use]
    pub fn number(mut self, number: u64) -> Self {
        self.0.update(&number.to_le_bytes());
        self
    }

    /// Adds a digest.
    #[must_use]
    pub fn digest(mut self, digest: &Digest) -> Self {
        self.0.update(&digest.0);
        self
    }

    /// Returns the digest of all fields.
    pub fn finish(self) -> Digest {
        self.0.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn digests_print_and_parse() {
        let digest = DigestBuilder::new("test").number(7).finish();
        let hex = digest.to_string();
        assert_eq!(hex.len(), 64);
        assert_eq!(Digest::parse(&hex), Some(digest));
        for bad in ["", &hex[1..], &hex.to_uppercase(), &format!("{hex}0")] {
            assert_eq!(Digest::parse(bad), None, "{bad}");
        }
    }

    proptest! {
        /// Moving bytes from one field to the next changes the digest.
        #[test]
        fn fields_cannot_be_shifted_into_each_other(
            all in proptest::collection::vec(any::<u8>(), 0..48),
            (a, b) in (0usize..48, 0usize..48),
        ) {
            let (a, b) = (a.min(all.len()), b.min(all.len()));
            let split = |at: usize| DigestBuilder::new("test").bytes(&all[..at]).bytes(&all[at..]).finish();
            prop_assert_eq!(split(a) == split(b), a == b);
            let one = DigestBuilder::new("test").bytes(&all).finish();
            prop_assert_ne!(one, split(a));
        }
    }
}
