//! Bytes as kernel text: the properties are `fulgurite_conformance::robust::text`'s.
#![no_main]

use fulgurite_conformance::robust;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Err(problem) = robust::text(bytes) {
        panic!("{problem}");
    }
});
