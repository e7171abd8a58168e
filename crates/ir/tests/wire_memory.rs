//! Memory use of decoding, for the bodies with the highest cost per byte. In a separate process, because the peak of
//! the whole process is measured. Only Linux reports it.
#![cfg(target_os = "linux")]
#![expect(clippy::disallowed_methods, reason = "the system says it in a file")]
#![expect(clippy::unwrap_used, reason = "a failure anywhere fails the test")]

use std::fs;

use fulgurite_ir::wire;

/// Bytes of memory per byte of input, as documented in `docs/ir.md`.
const MOST: usize = 64;

/// Returns the peak memory use of this process in bytes.
fn peak() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<usize>().unwrap() << 10
}

/// Encodes a count of more than 65,535.
fn count(count: usize) -> Vec<u8> {
    [&[252][..], &(count as u32).to_le_bytes()].concat()
}

#[test]
fn decoding_takes_a_small_multiple_of_the_bytes() {
    const N: usize = 500_000;
    // A kernel `k` of one invocation without declarations or needs. It is followed by constants, preconditions, their
    // nodes, values, regions, instructions, words.
    let start = [1, b'k', 1, 1, 1, 0, 0, 0, 0, 0, 0];
    let many = |item: &[u8]| [count(N), item.repeat(N)].concat();
    let with_end = |item: &[u8]| [count(N + 1), item.repeat(N), vec![0; 4]].concat();
    let none = || vec![0];
    let mut nested = count(3 * N + 1);
    nested.extend([251, 128, 1, 0, 0, 1].repeat(N));
    nested.extend(vec![0; 8 * N + 4]);
    let cases = [
        // `add` without operands, with and without a result, which only the verifier rejects.
        ("instructions", vec![none(), none(), none(), none(), none(), with_end(&[1, 0, 0, 0]), none()]),
        ("results", vec![none(), none(), none(), many(&[0, 7, 1]), none(), with_end(&[1, 0, 1, 0]), none()]),
        ("constants", vec![many(&[7, 1]), none(), none(), none(), none(), vec![1, 0, 0, 0, 0], none()]),
        ("nested blocks", vec![vec![1, 0, 1], none(), none(), none(), none(), nested, many(&[1])]),
        ("preconditions", vec![none(), many(&[0]), none(), none(), none(), vec![1, 0, 0, 0, 0], none()]),
        ("a count of 2^62", vec![[&[253][..], &(1u64 << 62).to_le_bytes()].concat()]),
    ];
    for (name, sections) in cases {
        let bytes = wire::seal(&[&start[..], &sections.concat()].concat());
        // If the system cannot reset the peak, only a higher peak is detected.
        let _ = fs::write("/proc/self/clear_refs", "5");
        let before = peak();
        let decoded = wire::decode(&bytes).is_ok();
        let taken = peak().saturating_sub(before);
        println!("{name}: {taken} bytes for {}, decoded: {decoded}", bytes.len());
        assert_eq!(decoded, ["instructions", "results", "nested blocks"].contains(&name), "{name}");
        assert!(taken <= MOST * bytes.len() + (1 << 20), "{name}: {taken} bytes for {}", bytes.len());
    }
}
