//! The properties of `robust` on random bytes, and on inputs that once violated one: a short version of the fuzz
//! targets, in every test run.
#![expect(clippy::unwrap_used, reason = "a failure anywhere fails the test")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fulgurite_backend_cpu::CpuDevice;
use fulgurite_backend_reference::{ReferenceDevice, ReferenceOptions};
use fulgurite_conformance::robust;
use fulgurite_hal as hal;
use fulgurite_ir::{text, verify, wire};
use fulgurite_pipeline_cache::{
    Digest, Entry, PackWriter, PayloadKind, PipelineCacheIdentity, PipelineDeviceFingerprint,
};
use proptest::prelude::*;

fn backends() -> Vec<Arc<dyn hal::Device>> {
    let options = ReferenceOptions::default().step_budget(4_000);
    vec![Arc::new(ReferenceDevice::new(options)), Arc::new(CpuDevice::new())]
}

/// Returns the kernels of all filetests.
fn texts() -> Vec<String> {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut folders: Vec<PathBuf> = ["ir", "spirv"].map(|name| crates.join(name).join("filetests")).into();
    let mut texts = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "fg") {
                texts.push(fs::read_to_string(path).unwrap());
            }
        }
    }
    texts.sort();
    texts
}

/// Returns the bodies of these kernels in the wire format.
fn bodies() -> Vec<Vec<u8>> {
    let kernels = texts().into_iter().filter_map(|t| text::parse(&t).and_then(verify).ok());
    kernels.map(|k| wire::encode(&k).unwrap()).map(|b| b[16..b.len() - 16].to_vec()).collect()
}

#[test]
fn every_body_of_the_filetests_keeps_the_properties() {
    for body in bodies() {
        assert_eq!(robust::wire(&body), Ok(true));
        assert_eq!(robust::wire(&wire::seal(&body)), Ok(true), "header and checksum are taken off");
        assert_eq!(robust::wire(&body[1..]), Ok(false));
    }
    assert_eq!(robust::wire(b""), Ok(false));
}

#[test]
fn packs_and_what_is_left_of_them_keep_the_properties() {
    let mut writer = PackWriter::new();
    for (name, payload) in [("a", &b"some words"[..]), ("b", b""), ("c", &[7; 300])] {
        let (program, any) = (Digest::of(name.as_bytes()), PipelineDeviceFingerprint::ANY);
        let identity = PipelineCacheIdentity::new(PayloadKind::Artifact, program, Digest::ZERO, any);
        writer.add(&Entry::new(identity, Digest::ZERO, payload.to_vec()));
    }
    let good = writer.finish();
    assert_eq!(robust::cache(&good), Ok(3));
    // The table of the pack, to be sealed again.
    let table = [&[3][..], &good[24..24 + 3 * 48], &good[24 + 3 * 48 + 32..]].concat();
    assert_eq!(robust::cache(&table), Ok(3));
    for at in 0..good.len().max(table.len()) {
        for bytes in [&good, &table] {
            let mut changed = bytes.clone();
            if let Some(byte) = changed.get_mut(at) {
                *byte ^= 1;
            }
            let found = robust::cache(&changed).unwrap();
            assert!(found < 3 || changed == *bytes, "byte {at}");
            robust::cache(&bytes[..at.min(bytes.len())]).unwrap();
        }
    }
}

#[test]
fn no_byte_of_a_cached_entry_may_change_whatever_is_made_to_fit() {
    assert_eq!(robust::cache_files(&[]), Ok(true));
    for at in 0..240 {
        let mut change = vec![0; at + 1];
        assert_eq!(robust::cache_files(&change), Ok(true), "nothing is changed");
        change[at] = 1;
        assert_eq!(robust::cache_files(&change), Ok(false), "byte {at}");
    }
}

proptest! {
    #[test]
    fn any_bytes_as_a_pack_keep_the_properties(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        prop_assert_eq!(robust::cache(&bytes), Ok(0));
    }

    #[test]
    fn any_bytes_as_files_of_a_cache_keep_the_properties(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        prop_assert_eq!(robust::cache_files(&bytes), Ok(bytes.iter().all(|byte| *byte == 0)));
    }
}

#[test]
fn every_text_of_the_filetests_keeps_the_properties() {
    let texts = texts();
    let mut kernels = 0;
    for text in &texts {
        kernels += usize::from(robust::text(text.as_bytes()).unwrap_or_else(|e| panic!("{e}\nof\n{text}")));
    }
    assert!(kernels >= 20, "only {kernels} of {} texts are kernels", texts.len());
}

#[test]
fn kernels_that_are_not_scrambled_are_accepted() {
    for seed in 0..3 {
        assert_eq!(robust::scrambled(&[seed], &backends()), Ok(true));
    }
}

/// Checks that some scrambled kernels verify, because otherwise running them would test nothing.
#[test]
fn some_scrambled_kernels_are_accepted() {
    let backends = backends();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut accepted = 0;
    for _ in 0..2000 {
        let bytes: Vec<u8> = (0..24)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                (state >> 32) as u8
            })
            .collect();
        accepted += usize::from(robust::scrambled(&bytes, &backends).unwrap());
    }
    assert!(accepted >= 20, "{accepted} of 2000");
}

proptest! {
    #[test]
    fn a_piece_of_another_text_in_a_text(
        a in any::<prop::sample::Index>(),
        b in any::<prop::sample::Index>(),
        cuts in [any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<prop::sample::Index>()],
        length in 0usize..60,
    ) {
        thread_local!(static TEXTS: Vec<String> = texts());
        let bytes = TEXTS.with(|texts| {
            let (a, b) = (a.get(texts).as_bytes(), b.get(texts).as_bytes());
            let (at, from) = (cuts[0].index(a.len()), cuts[1].index(b.len()));
            let skipped = cuts[2].index(20);
            let piece = &b[from..(from + length).min(b.len())];
            [&a[..at], piece, &a[(at + skipped).min(a.len())..]].concat()
        });
        prop_assert_eq!(robust::text(&bytes).err(), None);
    }

    #[test]
    fn any_bytes_in_the_wire_format(
        a in any::<prop::sample::Index>(),
        b in any::<prop::sample::Index>(),
        cuts in [any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<prop::sample::Index>()],
        length in 0usize..12,
    ) {
        thread_local!(static BODIES: Vec<Vec<u8>> = bodies());
        let bytes = BODIES.with(|bodies| {
            let (a, b) = (a.get(bodies), b.get(bodies));
            let (at, from) = (cuts[0].index(a.len()), cuts[1].index(b.len()));
            let skipped = cuts[2].index(12);
            let piece = &b[from..(from + length).min(b.len())];
            [&a[..at], piece, &a[(at + skipped).min(a.len())..]].concat()
        });
        prop_assert_eq!(robust::wire(&bytes).err(), None);
    }

    #[test]
    fn any_bytes_scramble(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert_eq!(robust::scrambled(&bytes, &backends()).err(), None);
    }
}

#[test]
fn random_kernels_of_bytes_give_one_result() {
    let devices: [Arc<dyn hal::Device>; 1] = [Arc::new(CpuDevice::new())];
    for number in 0..40u8 {
        let length = usize::from(number) * 16;
        let bytes: Vec<u8> = (0..length).map(|at| (at * 89 + usize::from(number) * 31) as u8).collect();
        robust::compiled(&bytes, &devices).unwrap_or_else(|problem| panic!("{number}: {problem}"));
    }
}
