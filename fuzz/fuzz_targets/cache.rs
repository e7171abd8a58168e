//! Bytes as a pack and as an entry of the pipeline cache: the properties are `fulgurite_conformance::robust::cache`'s.
#![no_main]

use fulgurite_conformance::robust;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Err(problem) = robust::cache(bytes) {
        panic!("{problem}");
    }
});
