//! Bytes as the wire format of a kernel: the properties are `fulgurite_conformance::robust::wire`'s.
#![no_main]

use fulgurite_conformance::robust;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Err(problem) = robust::wire(bytes) {
        panic!("{problem}");
    }
});
