//! The wire format on the kernels of the filetests: they survive a round trip, modified bytes give an error or another
//! kernel, and the files in `corpus/` stay decodable forever.
//!
//! - `FULGURITE_WIRE_MUTATIONS=1000000` sets the number of mutations.
//! - `BLESS=1` adds kernels that the corpus lacks, and rewrites none; `BLESS=force` writes all.
#![expect(clippy::disallowed_methods, reason = "the tests are files")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "a failure anywhere fails the test")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{env, fs};

use fulgurite_ir::wire::{self, WireError};
use fulgurite_ir::{VerifiedKernel, text, verify};
use fulgurite_spec::Code;
use proptest::prelude::*;

/// Default number of mutations.
const MUTATIONS: u64 = 20_000;

/// The filetests whose kernels are in the corpus.
const CORPUS: [&str; 16] = [
    "print/coop",
    "print/empty",
    "print/extended",
    "print/literals",
    "print/memory",
    "print/names",
    "print/regions",
    "print/requires",
    "run/atomics",
    "run/collatz",
    "run/coop_f16",
    "run/ids",
    "run/matmul",
    "run/reduce",
    "run/scalar_edges",
    "run/vectors",
];

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// Returns the kernels of the filetests that verify.
fn kernels() -> Vec<VerifiedKernel> {
    let mut folders = vec![folder("filetests")];
    let mut texts = BTreeMap::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "fg") {
                texts.insert(path.clone(), fs::read_to_string(path).unwrap());
            }
        }
    }
    let kernels: Vec<VerifiedKernel> =
        texts.values().filter_map(|text| text::parse(text).and_then(verify).ok()).collect();
    assert!(kernels.len() >= 25, "only {} of {} texts are kernels", kernels.len(), texts.len());
    kernels
}

fn body(bytes: &[u8]) -> &[u8] {
    &bytes[16..bytes.len() - 16]
}

/// Checks the properties of arbitrary bytes. Returns whether they decode, and whether the kernel verifies.
fn check(bytes: &[u8]) -> (bool, bool) {
    let kernel = match wire::decode(bytes) {
        Ok(kernel) => kernel,
        Err(error) => {
            assert!((801..=806).contains(&error.code().number()), "{error:?}");
            assert!(!error.to_string().is_empty());
            return (false, false);
        }
    };
    // Kernels that do not verify must print as well.
    let printed = text::print(&kernel);
    let Ok(verified) = verify(kernel) else { return (true, false) };
    assert_eq!(wire::encode(&verified).unwrap(), bytes, "{printed}");
    let again = text::parse(&printed).and_then(verify).unwrap_or_else(|e| panic!("{e}\n{printed}"));
    assert_eq!(again.digest(), verified.digest(), "{printed}");
    (true, true)
}

#[test]
fn kernels_survive() {
    for kernel in kernels() {
        let bytes = wire::encode(&kernel).unwrap();
        let again = verify(wire::decode(&bytes).unwrap()).unwrap();
        assert_eq!(text::print(&again), text::print(&kernel));
        assert_eq!(again.digest(), kernel.digest());
        assert_eq!(wire::encode(&again).unwrap(), bytes);
        let parsed = text::parse(&text::print(&kernel)).and_then(verify).unwrap();
        assert_eq!(wire::encode(&parsed).unwrap(), bytes, "{kernel:?}");
    }
}

#[test]
fn every_damaged_bit_is_found() {
    for kernel in kernels() {
        let bytes = wire::encode(&kernel).unwrap();
        for bit in 0..bytes.len() * 8 {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let error = wire::decode(&bytes).unwrap_err();
            // The fields of the header have separate errors.
            let wanted = match bit / 8 {
                0..4 => Code::NotAKernel,
                4..8 => Code::UnknownWireVersion,
                8..16 if error.code() == Code::WireOverLimit => Code::WireOverLimit,
                8..16 => Code::WrongWireLength,
                _ => Code::WrongWireChecksum,
            };
            assert_eq!(error.code(), wanted, "bit {bit}");
        }
        for end in 0..bytes.len() {
            let error = wire::decode(&bytes[..end]).unwrap_err();
            assert!(matches!(error, WireError::NotAKernel | WireError::WrongLength { .. }), "{end}: {error}");
        }
    }
}

/// Checks every bit flip of a small body and every truncation, each with a matching checksum.
#[test]
fn every_changed_bit_is_an_error_or_another_kernel() {
    let mut kernels_found = 0;
    for bytes in kernels().iter().map(|k| wire::encode(k).unwrap()).filter(|b| b.len() < 350) {
        let body = body(&bytes);
        for bit in 0..body.len() * 8 {
            let mut body = body.to_vec();
            body[bit / 8] ^= 1 << (bit % 8);
            kernels_found += usize::from(check(&wire::seal(&body)).1);
        }
        for end in 0..body.len() {
            assert_eq!(check(&wire::seal(&body[..end])), (false, false), "no kernel begins another");
        }
    }
    assert!(kernels_found >= 1000, "{kernels_found}");
}

/// A seeded stream of numbers (xorshift64*).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, count: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) as usize % count.max(1)
    }

    /// Returns a random range in `bytes`, usually a short one.
    fn range(&mut self, bytes: &[u8]) -> core::ops::Range<usize> {
        let start = self.below(bytes.len());
        start..(start + 1 + self.below(12)).min(bytes.len())
    }

    /// Mutates `bytes` in one way.
    fn mutate(&mut self, bytes: &mut Vec<u8>, others: &[Vec<u8>]) {
        let at = self.below(bytes.len());
        let range = self.range(bytes);
        match self.below(8) {
            _ if bytes.is_empty() => bytes.push(self.below(256) as u8),
            0 => bytes[at] ^= 1 << self.below(8),
            1 => bytes[at] = [0, 1, 2, 127, 128, 250, 251, 252, 253, 254, 255][self.below(11)],
            2 => bytes[at] = bytes[at].wrapping_add(self.below(7) as u8).wrapping_sub(3),
            3 => bytes.insert(at, self.below(256) as u8),
            4 => drop(bytes.drain(range)),
            5 => {
                let piece = bytes[range].to_vec();
                bytes.splice(at..at, piece);
            }
            6 => {
                let other = &others[self.below(others.len())];
                let piece = other[self.range(other)].to_vec();
                let end = if self.below(2) == 0 { at } else { (at + piece.len()).min(bytes.len()) };
                bytes.splice(at..end, piece);
            }
            _ => {
                // A number encoded in nine bytes.
                let number = (self.below(usize::MAX) as u64) << self.below(33);
                let end = (at + 1).min(bytes.len());
                bytes.splice(at..end, [&[253][..], &number.to_le_bytes()].concat());
            }
        }
    }
}

/// Returns the peak memory use of this process in bytes, if the system reports it.
fn peak_memory() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? << 10)
}

#[test]
fn mutations() {
    let count = match env::var("FULGURITE_WIRE_MUTATIONS") {
        Ok(count) => count.parse().unwrap(),
        Err(_) => MUTATIONS,
    };
    let bodies: Vec<Vec<u8>> = kernels().iter().map(|k| body(&wire::encode(k).unwrap()).to_vec()).collect();
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    let (mut decoded, mut verified, mut bytes_seen) = (0u64, 0u64, 0usize);
    let before = peak_memory();
    for _ in 0..count {
        let mut body = bodies[numbers.below(bodies.len())].clone();
        for _ in 0..1 + numbers.below(4) {
            numbers.mutate(&mut body, &bodies);
        }
        bytes_seen = bytes_seen.max(body.len());
        let (is_kernel, verifies) = check(&wire::seal(&body));
        decoded += u64::from(is_kernel);
        verified += u64::from(verifies);
    }
    println!(
        "{count} mutations of at most {bytes_seen} bytes: {decoded} decode, {verified} verify; peak memory before \
         {before:?}, after {:?}",
        peak_memory()
    );
    // Some inputs must reach every stage, otherwise the test shows nothing.
    assert!(verified >= count / 100 && decoded > verified && decoded < count, "{decoded} {verified}");
}

proptest! {
    #[test]
    fn any_bytes_are_an_error_or_a_kernel(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        check(&bytes);
        check(&wire::seal(&bytes));
    }

    /// Short inputs of small numbers, which more often are complete lists.
    #[test]
    fn small_numbers_are_an_error_or_a_kernel(bytes in prop::collection::vec(0u8..9, 0..80)) {
        let start = [1, b'k', 1, 1, 1];
        check(&wire::seal(&[&start[..], &bytes].concat()));
    }
}

#[test]
fn the_corpus_decodes() {
    let folder = folder("corpus");
    let bless = env::var("BLESS").unwrap_or_default();
    let list = folder.join("digests.txt");
    let mut digests: BTreeMap<String, String> = fs::read_to_string(&list)
        .unwrap_or_default()
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(digest, name)| (name.to_owned(), digest.to_owned()))
        .collect();
    if bless == "1" || bless == "force" {
        add(&folder, &mut digests, bless == "force");
        let lines: String = digests.iter().map(|(name, digest)| format!("{digest} {name}\n")).collect();
        fs::write(&list, lines).unwrap();
    }
    for name in CORPUS.map(file_name) {
        assert!(digests.contains_key(&name), "{name} is not in the corpus: BLESS=1 adds it");
    }
    let mut files = 0;
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "fgb") {
            let name = path.file_name().unwrap().to_str().unwrap();
            assert!(digests.contains_key(name), "{name} has no digest");
            files += 1;
        }
    }
    assert_eq!(files, digests.len(), "a kernel of the list is missing");
    for (name, digest) in digests {
        let bytes = fs::read(folder.join(&name)).unwrap();
        let kernel = wire::decode(&bytes).unwrap_or_else(|e| panic!("{name}: {e}"));
        let kernel = verify(kernel).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(kernel.digest().to_string(), digest, "{name}");
        assert_eq!(wire::encode(&kernel).unwrap(), bytes, "{name}: it is written in another way now");
    }
}

fn file_name(source: &str) -> String {
    source.replace('/', "_") + ".fgb"
}

/// Writes the kernels of [`CORPUS`] that are missing, or all of them.
fn add(folder: &Path, digests: &mut BTreeMap<String, String>, all: bool) {
    fs::create_dir_all(folder).unwrap();
    for source in CORPUS {
        let name = file_name(source);
        let path = folder.join(&name);
        if path.exists() && !all {
            continue;
        }
        let text = fs::read_to_string(self::folder("filetests").join(source).with_extension("fg")).unwrap();
        let kernel = text::parse(&text).and_then(verify).unwrap();
        fs::write(path, wire::encode(&kernel).unwrap()).unwrap();
        digests.insert(name, kernel.digest().to_string());
    }
}
