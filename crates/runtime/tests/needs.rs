//! The engine checks the needs of a kernel once, even if the backend does not check them.
#![allow(clippy::unwrap_used, reason = "these are tests")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use fulgurite_hal::{
    self as hal, CompileOptions, DeviceBuffer, Error, Executable, Launch, LaunchOptions, LaunchReport,
};
use fulgurite_ir::VerifiedKernel;
use fulgurite_runtime::Device;
use fulgurite_spec::device::{Capability, DeviceSnapshot, Matrices, MatrixShapes};
use fulgurite_spec::{Code, MatrixScope, ScalarType};

/// A backend that compiles every kernel without checks, and counts the calls.
struct Careless {
    snapshot: DeviceSnapshot,
    asked: Arc<AtomicUsize>,
}

struct Compiled(Arc<VerifiedKernel>);

impl hal::Device for Careless {
    fn snapshot(&self) -> &DeviceSnapshot {
        &self.snapshot
    }

    fn allocate(&self, _: u64) -> Result<Arc<dyn DeviceBuffer>, Error> {
        Err(Error::Internal("it has no memory".to_owned()))
    }

    fn compile(&self, kernel: Arc<VerifiedKernel>, _: &CompileOptions) -> Result<Arc<dyn Executable>, Error> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        Ok(Arc::new(Compiled(kernel)))
    }

    fn executable_id(&self, _: &Arc<VerifiedKernel>, _: &CompileOptions) -> Result<Option<String>, Error> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        Ok(Some("careless:1".to_owned()))
    }
}

impl Executable for Compiled {
    fn kernel(&self) -> &Arc<VerifiedKernel> {
        &self.0
    }

    fn id(&self) -> &str {
        "careless:1"
    }

    fn launch(&self, _: &Launch) -> Result<LaunchReport, Error> {
        Ok(LaunchReport::default())
    }
}

/// Returns a device of the careless backend, and the number of calls to compile or name a kernel.
fn open(snapshot: DeviceSnapshot) -> (Device, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let backend = Careless { snapshot, asked: Arc::clone(&asked) };
    let device = Device::new(Arc::new(backend), CompileOptions::default(), LaunchOptions::default());
    (device, asked)
}

fn without(capability: Capability) -> DeviceSnapshot {
    let mut snapshot = DeviceSnapshot::complete("careless", "none", "none", 32);
    snapshot.capabilities.retain(|has| *has != capability);
    snapshot
}

fn kernel(workgroup: u32, body: &str) -> Arc<VerifiedKernel> {
    let text = format!(
        "fulgurite 1\nkernel @k workgroup({workgroup}, 1, 1) {{\n  buffer %x: read_write f32[]\n  %i = global_id.x\n{body}}}\n"
    );
    Arc::new(fulgurite_ir::text::parse(&text).and_then(fulgurite_ir::verify).unwrap())
}

/// Checks that both ways to compile refuse `kernel` with an error that names `lacking`, without calling the backend.
fn refuses(snapshot: DeviceSnapshot, kernel: &Arc<VerifiedKernel>, lacking: &str) {
    let (device, asked) = open(snapshot);
    let options = CompileOptions::default();
    for error in [
        device.compile(kernel, &options).map(drop).unwrap_err(),
        device.executable_id(kernel, &options).map(drop).unwrap_err(),
        // A failed compile must not leave a compiled kernel for the next caller.
        device.compile(kernel, &options).map(drop).unwrap_err(),
    ] {
        assert_eq!(error.code(), Code::Unsupported, "{error}");
        assert!(error.to_string().contains(lacking), "{error}");
    }
    assert_eq!(asked.load(Ordering::Relaxed), 0, "the backend was asked for `{lacking}`");
}

fn accepts(snapshot: DeviceSnapshot, kernel: &Arc<VerifiedKernel>) {
    let (device, asked) = open(snapshot);
    let options = CompileOptions::default();
    device.compile(kernel, &options).unwrap();
    assert_eq!(device.executable_id(kernel, &options).unwrap(), "careless:1");
    assert_eq!(asked.load(Ordering::Relaxed), 2);
}

#[test]
fn a_capability_that_is_lacking_is_refused_before_a_careless_backend_is_asked() {
    for (capability, body) in [
        (Capability::Float64, "  %a = convert %i -> f64\n  %b = convert %a -> f32\n  store %x[%i], %b\n"),
        (Capability::Int64, "  %a = convert %i -> u64\n  %b = convert %a -> f32\n  store %x[%i], %b\n"),
        (Capability::ExactFma, "  %a = load %x[%i]\n  %b = fma[exact] %a, %a, %a\n  store %x[%i], %b\n"),
    ] {
        let kernel = kernel(64, body);
        refuses(without(capability), &kernel, capability.name());
        accepts(DeviceSnapshot::complete("careless", "none", "none", 32), &kernel);
    }
}

#[test]
fn a_matrix_shape_that_is_lacking_is_refused_before_a_careless_backend_is_asked() {
    let shapes = |acc| MatrixShapes {
        m: 16,
        n: 16,
        k: 16,
        a: ScalarType::F16,
        b: ScalarType::F16,
        acc,
        scope: MatrixScope::Subgroup,
    };
    let snapshot = |acc| {
        let mut snapshot = DeviceSnapshot::complete("careless", "none", "none", 32);
        snapshot.matrices = Matrices::Listed(vec![shapes(acc)]);
        snapshot
    };
    let body = "  %z = coop.fill 0.0f32 -> coopmat<f32, 16x16, acc, subgroup>\n  coop.store[row_major] %x[0u32], 16u32, %z\n";
    let kernel = kernel(64, body);
    refuses(snapshot(ScalarType::F16), &kernel, "coopmat<f32, 16x16, acc, subgroup>");
    accepts(snapshot(ScalarType::F32), &kernel);
}
