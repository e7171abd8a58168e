//! Checks the kernels in `docs/ir.md`: each parses, verifies, and is formatted as the printer does except for comments.
//! The documented limits are those of the language.
#![expect(clippy::disallowed_methods, reason = "the page is a file")]
#![expect(clippy::unwrap_used, reason = "a failure anywhere fails the test")]

use std::fs;
use std::path::Path;

use fulgurite_ir::{text, verify, wire};
use fulgurite_spec::{OPS, limits};

fn page() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/ir.md");
    fs::read_to_string(path).unwrap().replace("\r\n", "\n")
}

/// Returns the text of each code block of language `fulgurite`.
fn kernels(page: &str) -> Vec<&str> {
    page.split("```fulgurite\n").skip(1).map(|rest| rest.split("```").next().unwrap_or(rest)).collect()
}

#[test]
fn every_kernel_of_the_page_is_one() {
    let page = page();
    let kernels = kernels(&page);
    assert_eq!(kernels.len(), page.matches("\nkernel @").count(), "a kernel is not marked as one");
    assert!(kernels.len() >= 8);
    for source in kernels {
        let kernel = text::parse(source).unwrap_or_else(|e| panic!("{source}\n{e}"));
        let printed = text::print(&kernel);
        let without_comments: Vec<&str> =
            source.lines().filter(|l| !l.trim_start().starts_with("//")).collect();
        assert_eq!(printed.lines().collect::<Vec<_>>(), without_comments);
        verify(kernel).unwrap_or_else(|e| panic!("{source}\n{e}"));
    }
}

/// Checks the example of the wire format: the kernel, and its bytes as annotated hex digits.
#[test]
fn the_bytes_of_the_page_are_the_kernels() {
    let page = page();
    let source = kernels(&page).into_iter().find(|k| k.contains("kernel @inc ")).unwrap();
    let (_, block) = page.split_once("```text\n8f 46 47 4b").unwrap();
    let block = ["8f 46 47 4b", block.split_once("```").unwrap().0].concat();
    let byte = |word: &str| u8::from_str_radix(word, 16).ok().filter(|_| word.len() == 2);
    let bytes: Vec<u8> = block.lines().flat_map(|line| line.split_whitespace().map_while(byte)).collect();
    let encoded = wire::encode(&text::parse(source).and_then(verify).unwrap()).unwrap();
    assert_eq!(encoded[..encoded.len() - 16], bytes);
}

#[test]
fn the_limits_of_the_page_are_the_languages() {
    let page = page();
    for (what, limit) in [
        ("kernel text", format!("{} MiB", limits::MAX_TEXT_BYTES >> 20)),
        ("kernel in the wire format", format!("{} MiB", limits::MAX_WIRE_BYTES >> 20)),
        ("values", grouped(limits::MAX_VALUES)),
        ("nesting of blocks", grouped(limits::MAX_NESTING)),
        ("name", format!("{} bytes", limits::MAX_NAME_BYTES)),
        ("invocations in a workgroup", grouped(limits::MAX_WORKGROUP_INVOCATIONS as usize)),
        ("lanes of a subgroup", limits::MAX_SUBGROUP_SIZE.to_string()),
        (
            "buffers, parameters, shared arrays, local arrays, views, preconditions, each",
            grouped(limits::MAX_DECLARATIONS),
        ),
        ("rows and columns of a matrix, each", limits::MAX_MATRIX_SIDE.to_string()),
        ("operands and ops of one precondition", grouped(limits::MAX_REQUIRE_NODES)),
        ("shared memory", format!("{} MiB", limits::MAX_SHARED_BYTES >> 20)),
        ("local memory of one invocation", format!("{} KiB", limits::MAX_LOCAL_BYTES >> 10)),
    ] {
        let row = format!("\n| {what} | {limit} |\n");
        assert!(page.contains(&row), "{row}");
    }
    assert!(
        page.contains(&format!(
            "looks at least every {} iterations",
            grouped(limits::POLL_INTERVAL as usize)
        ))
    );
    assert_eq!(limits::MAX_UNPOLLED_TRIPS, 1 << 30);
}

/// Formats a number with digits in groups of three.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().map(|g| std::str::from_utf8(g).unwrap()).collect();
    groups.join(",")
}

#[test]
fn every_op_keeps_to_the_range_of_its_family() {
    let starts = [1, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384];
    for row in OPS {
        let start = starts[row.family as usize];
        let end = starts.get(row.family as usize + 1).map_or(u16::MAX, |next| next - 1);
        assert!((start..=end).contains(&row.number), "{row:?}");
    }
}
