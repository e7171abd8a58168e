//! Bytes as choices of a generator of kernels: the properties are `fulgurite_conformance::robust::compiled`'s.
#![no_main]

use std::sync::{Arc, LazyLock};

use fulgurite_backend_cpu::CpuDevice;
use fulgurite_conformance::robust;
use fulgurite_hal as hal;
use libfuzzer_sys::fuzz_target;

static DEVICES: LazyLock<[Arc<dyn hal::Device>; 1]> = LazyLock::new(|| [Arc::new(CpuDevice::new())]);

fuzz_target!(|bytes: &[u8]| {
    if let Err(problem) = robust::compiled(bytes, &*DEVICES) {
        panic!("{problem}");
    }
});
