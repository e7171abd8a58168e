//! Integers counted and summed: sum, histograms, scan, compaction.

use std::array::from_fn;

use fulgurite::{DeviceSnapshot, LaunchOptions};
use rayon::prelude::*;

use super::{PART, PlainOn};
use crate::problems::data::{self, Random};
use crate::problems::integers::spine;
use crate::problems::{Problem, Step, Work, text};

/// Returns the sum of numbers, with wraparound.
fn total(x: &[u32]) -> u32 {
    x.iter().fold(0, |sum, x| sum.wrapping_add(*x))
}

/// The sum of random numbers, with wraparound. The count is a multiple of 4.
pub(super) fn sum(count: u32) -> Problem {
    let input = Random::new(16).words(count as usize);
    let bytes = data::from_words(&input);
    let check = move |after: &[Vec<u8>], _: &DeviceSnapshot| {
        let wanted = input.iter().map(|x| u64::from(*x)).sum::<u64>() as u32;
        match data::to_words(&after[1])[..] {
            [got] if got == wanted => Ok(()),
            ref got => Err(format!("the sum is {got:?}, not {wanted}")),
        }
    };
    Problem {
        name: "sum",
        size: format!("{count} u32"),
        buffers: vec![bytes, vec![0; 4]],
        reset: vec![1],
        steps: vec![Step {
            name: "sum",
            text: text!("/kernels/", "sum"),
            buffers: vec![0, 1],
            params: Vec::new(),
            options: LaunchOptions::workgroups([count.div_ceil(16_384), 1, 1]),
        }],
        work: Work::Bytes(u64::from(count) * 4),
        check: Box::new(check),
    }
}

pub(super) fn plain_sum(problem: &Problem) -> PlainOn<(Vec<u32>, u32)> {
    let state = (data::to_words(&problem.buffers[0]), 0);
    let run = |(x, sum): &mut (Vec<u32>, u32)| {
        *sum = x.par_chunks(PART).map(total).reduce(|| 0, u32::wrapping_add);
    };
    PlainOn { state, run, buffers: |(x, sum)| vec![data::from_words(x), data::from_words(&[*sum])] }
}

/// Number of values of a byte.
const BINS: usize = 256;

/// Frequency of each value of the lowest byte of random keys. The count is a multiple of the tile size, 4,096.
pub(super) fn histogram(count: u32) -> Problem {
    let keys = Random::new(11).words(count as usize);
    let bytes = data::from_words(&keys);
    let check = move |after: &[Vec<u8>], _: &DeviceSnapshot| {
        let mut wanted = [0; BINS];
        keys.iter().for_each(|key| wanted[(key & 255) as usize] += 1);
        let out = data::to_words(&after[1]);
        match (0..BINS).find(|bin| out[*bin] != wanted[*bin]) {
            None => Ok(()),
            Some(bin) => Err(format!("bin {bin} is {}, not {}", out[bin], wanted[bin])),
        }
    };
    Problem {
        name: "histogram",
        size: format!("{count} u32"),
        buffers: vec![bytes, vec![0; BINS * 4]],
        reset: vec![1],
        steps: vec![Step {
            name: "histogram",
            text: text!("/kernels/", "histogram"),
            buffers: vec![0, 1],
            params: Vec::new(),
            options: LaunchOptions::workgroups([count / 4096, 1, 1]),
        }],
        work: Work::Elements(u64::from(count)),
        check: Box::new(check),
    }
}

pub(super) fn plain_histogram(problem: &Problem) -> PlainOn<[Vec<u32>; 2]> {
    let state = from_fn(|i| data::to_words(&problem.buffers[i]));
    let run = |[keys, bins]: &mut [Vec<u32>; 2]| {
        let count = |keys: &[u32]| {
            let mut bins = [0u32; BINS];
            keys.iter().for_each(|key| bins[(key & 255) as usize] += 1);
            bins
        };
        let add = |a: [u32; BINS], b: [u32; BINS]| from_fn(|bin| a[bin] + b[bin]);
        let all = keys.par_chunks(1 << 16).map(count).reduce(|| [0; BINS], add);
        bins.copy_from_slice(&all);
    };
    PlainOn { state, run, buffers: |state| state.iter().map(|v| data::from_words(v)).collect() }
}

/// Frequency of each value of random bytes. The count is a multiple of 4.
pub(super) fn byte_histogram(count: u32) -> Problem {
    let bytes = data::from_words(&Random::new(17).words(count as usize / 4));
    let mut wanted = [0u32; BINS];
    bytes.iter().for_each(|byte| wanted[usize::from(*byte)] += 1);
    let check = move |after: &[Vec<u8>], _: &DeviceSnapshot| {
        let out = data::to_words(&after[1]);
        match (0..BINS).find(|bin| out[*bin] != wanted[*bin]) {
            None => Ok(()),
            Some(bin) => Err(format!("bin {bin} is {}, not {}", out[bin], wanted[bin])),
        }
    };
    Problem {
        name: "byte_histogram",
        size: format!("{count} bytes"),
        buffers: vec![bytes, vec![0; BINS * 4]],
        reset: vec![1],
        steps: vec![Step {
            name: "byte_histogram",
            text: text!("/kernels/", "byte_histogram"),
            buffers: vec![0, 1],
            params: Vec::new(),
            options: LaunchOptions::workgroups([count.div_ceil(65_536), 1, 1]),
        }],
        work: Work::Bytes(u64::from(count)),
        check: Box::new(check),
    }
}

pub(super) fn plain_byte_histogram(problem: &Problem) -> PlainOn<(Vec<u8>, [u32; BINS])> {
    let state = (problem.buffers[0].clone(), [0; BINS]);
    let run = |(bytes, bins): &mut (Vec<u8>, [u32; BINS])| {
        let count = |bytes: &[u8]| {
            // Four tables, so that an increment seldom waits for the one before.
            let mut tables = [[0u32; BINS]; 4];
            let mut fours = bytes.chunks_exact(4);
            for four in &mut fours {
                (0..4).for_each(|k| tables[k][usize::from(four[k])] += 1);
            }
            fours.remainder().iter().for_each(|byte| tables[0][usize::from(*byte)] += 1);
            from_fn(|bin| tables.iter().map(|table| table[bin]).sum())
        };
        let add = |a: [u32; BINS], b: [u32; BINS]| from_fn(|bin| a[bin] + b[bin]);
        *bins = bytes.par_chunks(1 << 18).map(count).reduce(|| [0; BINS], add);
    };
    PlainOn { state, run, buffers: |(bytes, bins)| vec![bytes.clone(), data::from_words(bins)] }
}

/// Inclusive sums in two passes: the sums of parts, then each part with the sum of those before.
fn scan(x: &[u32], y: &mut [u32]) {
    let mut sums: Vec<u32> = x.par_chunks(PART).map(total).collect();
    let mut before = 0u32;
    for sum in &mut sums {
        before = before.wrapping_add(std::mem::replace(sum, before));
    }
    y.par_chunks_mut(PART).zip(x.par_chunks(PART)).zip(sums).for_each(|((y, x), mut sum)| {
        for (y, x) in y.iter_mut().zip(x) {
            sum = sum.wrapping_add(*x);
            *y = sum;
        }
    });
}

pub(super) fn plain_scan_passes(problem: &Problem) -> PlainOn<[Vec<u32>; 2]> {
    let state = [0, 2].map(|i| data::to_words(&problem.buffers[i]));
    let buffers = |[x, y]: &[Vec<u32>; 2]| vec![data::from_words(x), Vec::new(), data::from_words(y)];
    PlainOn { state, run: |[x, y]| scan(x, y), buffers }
}

pub(super) fn plain_scan_lookback(problem: &Problem) -> PlainOn<[Vec<u32>; 2]> {
    let state = [0, 1].map(|i| data::to_words(&problem.buffers[i]));
    let buffers =
        |[x, y]: &[Vec<u32>; 2]| vec![data::from_words(x), data::from_words(y), Vec::new(), Vec::new()];
    PlainOn { state, run: |[x, y]| scan(x, y), buffers }
}

/// The odd ones of random numbers, in their order. The count is a multiple of the tile size, 1,024.
pub(super) fn compaction(count: u32) -> Problem {
    let tiles = count / 1024;
    let input = Random::new(18).words(count as usize);
    let bytes = data::from_words(&input);
    let check = move |after: &[Vec<u8>], _: &DeviceSnapshot| {
        let mut wanted: Vec<u32> = input.iter().copied().filter(|x| x % 2 == 1).collect();
        let kept = wanted.len();
        // The rest of the buffer stays zero.
        wanted.resize(input.len(), 0);
        let [out, total] = [2, 3].map(|at: usize| data::to_words(&after[at]));
        if total != [kept as u32] {
            return Err(format!("{total:?} numbers are kept, not {kept}"));
        }
        if out.len() != wanted.len() {
            return Err(format!("{} numbers, not {}", out.len(), wanted.len()));
        }
        match wanted.iter().zip(&out).position(|(a, b)| a != b) {
            None => Ok(()),
            Some(i) => Err(format!("element {i} is {}, not {}", out[i], wanted[i])),
        }
    };
    let options = LaunchOptions::workgroups([tiles, 1, 1]);
    let counts = tiles.next_multiple_of(4);
    let words = |count: u32| vec![0; count as usize * 4];
    Problem {
        name: "compaction",
        size: format!("{count} u32"),
        buffers: vec![bytes, words(counts), words(count), words(1)],
        reset: Vec::new(),
        steps: vec![
            Step {
                name: "compact_count",
                text: text!("/kernels/", "compact_count"),
                buffers: vec![0, 1],
                params: Vec::new(),
                options: options.clone(),
            },
            spine(counts, 1),
            Step {
                name: "compact_move",
                text: text!("/kernels/", "compact_move"),
                buffers: vec![0, 1, 2, 3],
                params: Vec::new(),
                options,
            },
        ],
        // Read twice, and about half of it written.
        work: Work::Elements(u64::from(count)),
        check: Box::new(check),
    }
}

/// Numbers, the odd ones of them, and how many these are.
type Compacted = (Vec<u32>, Vec<u32>, usize);

pub(super) fn plain_compaction(problem: &Problem) -> PlainOn<Compacted> {
    let state = (data::to_words(&problem.buffers[0]), data::to_words(&problem.buffers[2]), 0);
    let run = |(x, y, kept): &mut Compacted| {
        let count = |x: &[u32]| x.iter().map(|x| x % 2).sum::<u32>() as usize;
        let counts: Vec<usize> = x.par_chunks(PART).map(count).collect();
        *kept = counts.iter().sum();
        let mut rest = &mut y[..];
        let parts: Vec<&mut [u32]> = counts.iter().filter_map(|count| rest.split_off_mut(..*count)).collect();
        parts.into_par_iter().zip(x.par_chunks(PART)).for_each(|(part, x)| {
            let mut at = 0;
            for x in x {
                // A number that is not kept is overwritten by the next: no branch depends on the numbers.
                let Some(to) = part.get_mut(at) else { break };
                *to = *x;
                at += (x % 2) as usize;
            }
        });
    };
    let buffers = |(x, y, kept): &Compacted| {
        vec![data::from_words(x), Vec::new(), data::from_words(y), data::from_words(&[*kept as u32])]
    };
    PlainOn { state, run, buffers }
}
