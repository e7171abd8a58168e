//! SHA3-256 of short messages.

use fulgurite::{DeviceSnapshot, LaunchOptions};
use keccak::Keccak;
use rayon::prelude::*;

use super::PlainOn;
use crate::problems::data::{self, Random};
use crate::problems::{Problem, Step, Work, text};

/// Bytes of a message.
const MESSAGE: usize = 64;
/// Bytes of a block (FIPS 202, table 3).
const BLOCK: usize = 136;
/// Number of rounds of the permutation.
const ROUNDS: usize = 24;

/// Digests of random messages of 64 bytes.
pub(super) fn sha3(count: u32) -> Problem {
    let count = count as usize;
    let messages = data::from_words(&Random::new(19).words(count * MESSAGE / 4));
    let constants = (0..ROUNDS).flat_map(|round| constant(round).to_le_bytes()).collect();
    let buffers = vec![messages.clone(), constants, vec![0; count * 32]];
    let check = move |after: &[Vec<u8>], _: &DeviceSnapshot| {
        let message = |i: usize| &messages[i * MESSAGE..][..MESSAGE];
        let got = |i: usize| &after[2][i * 32..][..32];
        match (0..count).into_par_iter().find_first(|i| got(*i) != sha3_256(message(*i))) {
            None => Ok(()),
            Some(i) => Err(format!("digest {i} is {:02x?}, not {:02x?}", got(i), sha3_256(message(i)))),
        }
    };
    Problem {
        name: "sha3",
        size: format!("{count} messages"),
        buffers,
        reset: Vec::new(),
        steps: vec![Step {
            name: "sha3",
            text: text!("/kernels/", "sha3"),
            buffers: vec![0, 1, 2],
            params: Vec::new(),
            options: LaunchOptions::linear(count as u64),
        }],
        work: Work::Elements(count as u64),
        check: Box::new(check),
    }
}

/// Returns the digest of a message that fits into one block, step by step as FIPS 202 defines it.
fn sha3_256(message: &[u8]) -> [u8; 32] {
    let mut block = [0; BLOCK];
    block[..message.len()].copy_from_slice(message);
    block[message.len()] ^= 0x06;
    block[BLOCK - 1] ^= 0x80;
    let mut a = [[0u64; 5]; 5];
    for (i, word) in block.chunks_exact(8).enumerate() {
        a[i % 5][i / 5] = word.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
    }
    for round in 0..ROUNDS {
        permute(&mut a, constant(round));
    }
    let mut digest = [0; 32];
    for (i, bytes) in digest.chunks_exact_mut(8).enumerate() {
        bytes.copy_from_slice(&a[i][0].to_le_bytes());
    }
    digest
}

/// One round on words at `[x][y]` (FIPS 202, section 3.2).
fn permute(a: &mut [[u64; 5]; 5], constant: u64) {
    let old = *a;
    let parity = |x: usize| old[x % 5].iter().fold(0, |all, word| all ^ word);
    for (x, sheet) in a.iter_mut().enumerate() {
        let change = parity(x + 4) ^ parity(x + 1).rotate_left(1);
        sheet.iter_mut().for_each(|word| *word ^= change);
    }
    // Rho: the offsets are the triangular numbers, along a walk over all words except that at (0, 0).
    let (mut x, mut y) = (1, 0);
    for t in 0..24 {
        a[x][y] = a[x][y].rotate_left((t + 1) * (t + 2) / 2 % 64);
        (x, y) = (y, (2 * x + 3 * y) % 5);
    }
    let old = *a;
    for (x, sheet) in a.iter_mut().enumerate() {
        for (y, word) in sheet.iter_mut().enumerate() {
            *word = old[(x + 3 * y) % 5][x];
        }
    }
    let old = *a;
    for (x, sheet) in a.iter_mut().enumerate() {
        for (y, word) in sheet.iter_mut().enumerate() {
            *word ^= !old[(x + 1) % 5][y] & old[(x + 2) % 5][y];
        }
    }
    a[0][0] ^= constant;
}

/// Returns the constant of a round, from a shift register of eight bits (FIPS 202, algorithms 5 and 6).
fn constant(round: usize) -> u64 {
    let bit = |steps: usize| {
        let mut register = 1u16;
        for _ in 0..steps % 255 {
            register <<= 1;
            if register & 0x100 != 0 {
                register ^= 0x171;
            }
        }
        u64::from(register & 1)
    };
    (0..7).fold(0, |all, j| all | bit(j + 7 * round) << ((1 << j) - 1))
}

pub(super) fn plain_sha3(problem: &Problem) -> PlainOn<[Vec<u8>; 2]> {
    let state = [problem.buffers[0].clone(), problem.buffers[2].clone()];
    let run = |[messages, digests]: &mut [Vec<u8>; 2]| {
        let permutation = Keccak::new();
        let both = digests.par_chunks_mut(32).zip(messages.par_chunks(MESSAGE));
        both.with_min_len(64).for_each(|(digest, message)| {
            let mut state = [0; 25];
            for (word, bytes) in state.iter_mut().zip(message.chunks_exact(8)) {
                *word = bytes.try_into().map_or(0, u64::from_le_bytes);
            }
            state[MESSAGE / 8] = 0x06;
            state[BLOCK / 8 - 1] = 0x80 << 56;
            permutation.with_f1600(|f1600| f1600(&mut state));
            for (bytes, word) in digest.chunks_exact_mut(8).zip(state) {
                bytes.copy_from_slice(&word.to_le_bytes());
            }
        });
    };
    let buffers = |[messages, digests]: &[Vec<u8>; 2]| vec![messages.clone(), Vec::new(), digests.clone()];
    PlainOn { state, run, buffers }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of FIPS 202, and constants of its reference implementation.
    #[test]
    fn known_digests() {
        let hex = |digest: [u8; 32]| digest.map(|byte| format!("{byte:02x}")).concat();
        assert_eq!(hex(sha3_256(b"")), "a7ffc6f8bf1ed76651c14756a061d662f580ff4de43b49fa82d80a4b80f8434a");
        assert_eq!(hex(sha3_256(b"abc")), "3a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532");
        assert_eq!(constant(0), 1);
        assert_eq!(constant(23), 0x8000_0000_8000_8008);
    }
}
