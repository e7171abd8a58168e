//! Problems of the integer kernels: scans and a pass of a radix sort.

use fulgurite::{DeviceSnapshot, LaunchOptions};

use super::data::{self, Random};
use super::{Problem, Step, Work, text, u32_param};

/// Checks inclusive sums of `input`, with wraparound.
fn check_sums(input: &[u32], out: &[u32]) -> Result<(), String> {
    let mut sum = 0u32;
    for (i, (x, y)) in input.iter().zip(out).enumerate() {
        sum = sum.wrapping_add(*x);
        if sum != *y {
            return Err(format!("element {i} is {y}, not {sum}"));
        }
    }
    Ok(())
}

/// y = inclusive sums of x, u32, with look-back, of random numbers.
pub(super) fn scan_lookback(count: u32) -> Problem {
    scan_lookback_of(Random::new(4).words(count as usize))
}

/// y = inclusive sums of x, u32, with look-back. The count is a multiple of the tile size, 4,096.
pub(super) fn scan_lookback_of(input: Vec<u32>) -> Problem {
    let count = input.len() as u32;
    let tiles = count / 4096;
    let bytes = data::from_words(&input);
    let check = move |after: &[Vec<u8>], _: &DeviceSnapshot| check_sums(&input, &data::to_words(&after[1]));
    Problem {
        name: "scan_lookback",
        size: format!("{count} u32"),
        buffers: vec![bytes, vec![0; count as usize * 4], vec![0; 4], vec![0; tiles as usize * 8]],
        reset: vec![2, 3],
        steps: vec![Step {
            name: "scan_lookback",
            text: text!("scan_lookback"),
            buffers: vec![0, 1, 2, 3],
            params: Vec::new(),
            options: LaunchOptions::workgroups([tiles, 1, 1]),
        }],
        work: Work::Bytes(u64::from(count) * 8),
        check: Box::new(check),
    }
}

/// Computes exclusive sums of the `count` numbers in buffer `sums`.
pub(super) fn spine(count: u32, sums: usize) -> Step {
    Step {
        name: "scan_spine",
        text: text!("scan_spine"),
        buffers: vec![sums],
        params: vec![u32_param(count)],
        options: LaunchOptions::workgroups([1, 1, 1]),
    }
}

/// Returns the three kernels of a scan without look-back, from `from` to `to` through `sums`.
fn scan_steps(tiles: u32, from: usize, sums: usize, to: usize) -> [Step; 3] {
    let options = LaunchOptions::workgroups([tiles, 1, 1]);
    [
        Step {
            name: "scan_reduce",
            text: text!("scan_reduce"),
            buffers: vec![from, sums],
            params: Vec::new(),
            options: options.clone(),
        },
        spine(tiles.next_multiple_of(4), sums),
        Step {
            name: "scan_down",
            text: text!("scan_down"),
            buffers: vec![from, sums, to],
            params: Vec::new(),
            options,
        },
    ]
}

/// Exclusive sums of x in place, u32, by one workgroup: the middle kernel of a scan in passes, on more sums than the
/// test scans have tiles. The count is a multiple of 4.
pub(super) fn scan_spine_of(input: Vec<u32>) -> Problem {
    let count = input.len() as u32;
    let bytes = data::from_words(&input);
    let check = move |after: &[Vec<u8>], _: &DeviceSnapshot| {
        let mut sum = 0u32;
        for (i, (x, y)) in input.iter().zip(data::to_words(&after[0])).enumerate() {
            if y != sum {
                return Err(format!("element {i} is {y}, not {sum}"));
            }
            sum = sum.wrapping_add(*x);
        }
        Ok(())
    };
    Problem {
        name: "scan_spine",
        size: format!("{count} u32"),
        buffers: vec![bytes],
        reset: vec![0],
        steps: vec![spine(count, 0)],
        work: Work::Bytes(u64::from(count) * 8),
        check: Box::new(check),
    }
}

/// y = inclusive sums of x, u32, in passes, of random numbers.
pub(super) fn scan_passes(count: u32) -> Problem {
    scan_passes_of(Random::new(5).words(count as usize))
}

/// y = inclusive sums of x, u32, in passes. The count is a multiple of the tile size, 4,096.
pub(super) fn scan_passes_of(input: Vec<u32>) -> Problem {
    let count = input.len() as u32;
    let tiles = count / 4096;
    let bytes = data::from_words(&input);
    let check = move |after: &[Vec<u8>], _: &DeviceSnapshot| check_sums(&input, &data::to_words(&after[2]));
    Problem {
        name: "scan_passes",
        size: format!("{count} u32"),
        buffers: vec![bytes, vec![0; tiles.next_multiple_of(4) as usize * 4], vec![0; count as usize * 4]],
        reset: Vec::new(),
        steps: scan_steps(tiles, 0, 1, 2).into(),
        work: Work::Bytes(u64::from(count) * 8),
        check: Box::new(check),
    }
}

/// Random keys, sorted by their second 4-bit digit.
pub(super) fn radix_pass(count: u32) -> Problem {
    radix_pass_of(Random::new(6).words(count as usize), 4)
}

/// Keys, stably sorted by the 4-bit digit at bit `shift`. The count is a multiple of the tile size, 2,048.
pub(super) fn radix_pass_of(input: Vec<u32>, shift: u32) -> Problem {
    let count = input.len() as u32;
    let tiles = count / 2048;
    // Counts are scanned in whole tiles of 4,096; the rest stays zero.
    let counts = (tiles * 16).next_multiple_of(4096);
    let bytes = data::from_words(&input);
    let check = move |after: &[Vec<u8>], _: &DeviceSnapshot| {
        let mut sorted = input.clone();
        sorted.sort_by_key(|key| key >> shift & 15);
        let out = data::to_words(&after[4]);
        match sorted.iter().zip(&out).position(|(a, b)| a != b) {
            None => Ok(()),
            Some(i) => Err(format!("element {i} is {:#x}, not {:#x}", out[i], sorted[i])),
        }
    };
    let options = LaunchOptions::workgroups([tiles, 1, 1]);
    let mut steps = vec![Step {
        name: "radix_count",
        text: text!("radix_count"),
        buffers: vec![0, 1],
        params: vec![u32_param(shift)],
        options: options.clone(),
    }];
    steps.extend(scan_steps(counts / 4096, 1, 2, 3));
    steps.push(Step {
        name: "radix_scatter",
        text: text!("radix_scatter"),
        buffers: vec![0, 3, 4],
        params: vec![u32_param(shift)],
        options,
    });
    let words = |count: u32| vec![0; count as usize * 4];
    Problem {
        name: "radix_pass",
        size: format!("{count} keys, 4 bits from {shift}"),
        buffers: vec![
            bytes,
            words(counts),
            words((counts / 4096).next_multiple_of(4)),
            words(counts),
            words(count),
        ],
        reset: Vec::new(),
        steps,
        work: Work::Elements(u64::from(count)),
        check: Box::new(check),
    }
}
