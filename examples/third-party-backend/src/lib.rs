//! A backend of one's own, as a crate outside of Fulgurite would have it.
//!
//! It borrows the reference interpreter to run kernels, so that what is left is what every backend needs: a snapshot,
//! memory, a dispatch, an adapter. `tests/conformance.rs` holds it to the suites unchanged;
//! `docs/adding-a-backend.md` goes through it step by step.
#![forbid(unsafe_code)]

use std::sync::Arc;

use fulgurite_backend_reference::{ReferenceDevice, ReferenceOptions};
use fulgurite_hal::{
    self as hal, AdapterInfo, AdapterKind, Backend, CompileOptions, Device as _, DeviceBuffer, Error,
    Interpreter, Launch, LaunchReport, SingleDevice, interpret,
};
use fulgurite_ir::VerifiedKernel;
use fulgurite_spec::device::DeviceSnapshot;

/// The backend's id: what callers name, and what ids of its executables begin with.
pub const ID: &str = "third-party";

/// Its rank: any other backend that opens is preferred.
pub const RANK: u32 = 0;

/// Returns the backend, for `Registry::register`.
pub fn backend() -> impl Backend {
    let info = AdapterInfo::new(AdapterKind::Interpreter, RANK, Borrowed::new().snapshot);
    SingleDevice::new(info, |_| Ok(open()))
}

/// Opens its device.
pub fn open() -> Arc<dyn hal::Device> {
    interpret(Borrowed::new())
}

/// Runs kernels with an interpreter, as they are.
struct Borrowed {
    snapshot: DeviceSnapshot,
    interpreter: ReferenceDevice,
}

impl Borrowed {
    fn new() -> Self {
        let interpreter = ReferenceDevice::new(ReferenceOptions::default());
        let mut snapshot = interpreter.snapshot().clone();
        snapshot.backend = ID.to_owned();
        Self { snapshot, interpreter }
    }
}

impl Interpreter for Borrowed {
    fn snapshot(&self) -> &DeviceSnapshot {
        &self.snapshot
    }

    fn allocate(&self, bytes: u64) -> Result<Arc<dyn DeviceBuffer>, Error> {
        self.interpreter.allocate(bytes)
    }

    fn dispatch(&self, kernel: &Arc<VerifiedKernel>, launch: &Launch) -> Result<LaunchReport, Error> {
        self.interpreter.compile(Arc::clone(kernel), &CompileOptions::default())?.launch(launch)
    }
}

/// The guide, whose code is compiled and run with the tests.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/adding-a-backend.md")]
pub struct Guide;
