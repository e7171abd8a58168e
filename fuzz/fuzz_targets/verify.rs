//! Bytes as changes to a kernel's arenas: the properties are `fulgurite_conformance::robust::scrambled`'s.
#![no_main]

use std::sync::{Arc, LazyLock};

use fulgurite_backend_cpu::CpuDevice;
use fulgurite_backend_reference::{ReferenceDevice, ReferenceOptions};
use fulgurite_conformance::robust;
use fulgurite_hal as hal;
use libfuzzer_sys::fuzz_target;

static BACKENDS: LazyLock<Vec<Arc<dyn hal::Device>>> = LazyLock::new(|| {
    let options = ReferenceOptions::default().step_budget(4_000);
    vec![Arc::new(ReferenceDevice::new(options)), Arc::new(CpuDevice::new())]
});

fuzz_target!(|bytes: &[u8]| {
    if let Err(problem) = robust::scrambled(bytes, &BACKENDS) {
        panic!("{problem}");
    }
});
