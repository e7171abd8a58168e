//! Bytes as each file of a cache's folder: the properties are `fulgurite_conformance::robust::cache_files`'s.
#![no_main]

use fulgurite_conformance::robust;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Err(problem) = robust::cache_files(bytes) {
        panic!("{problem}");
    }
});
