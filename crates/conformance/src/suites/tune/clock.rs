//! A backend with an artificial clock: kernels run normally, but the reported time of a launch is given by the kernel's
//! name. The fastest candidate is therefore known, even on a busy machine.

use std::sync::Arc;
use std::time::Duration;

use fulgurite_hal::{self as hal, CompileOptions, DeviceBuffer, Error, Executable, Launch, LaunchReport};
use fulgurite_ir::VerifiedKernel;
use fulgurite_spec::device::DeviceSnapshot;

/// A wrapper that gives a backend an artificial clock.
pub(super) struct Clock(pub(super) Arc<dyn hal::Device>);

struct Clocked {
    inner: Arc<dyn Executable>,
    takes: Duration,
}

/// Returns the reported time of a launch: the number of nanoseconds at the end of the kernel's name.
fn takes(name: &str) -> Duration {
    let nanoseconds = name.rsplit('_').next().and_then(|number| number.parse().ok());
    Duration::from_nanos(nanoseconds.unwrap_or_default())
}

impl hal::Device for Clock {
    fn snapshot(&self) -> &DeviceSnapshot {
        self.0.snapshot()
    }

    fn allocate(&self, bytes: u64) -> Result<Arc<dyn DeviceBuffer>, Error> {
        self.0.allocate(bytes)
    }

    fn compile(
        &self,
        kernel: Arc<VerifiedKernel>,
        options: &CompileOptions,
    ) -> Result<Arc<dyn Executable>, Error> {
        let takes = takes(&kernel.name);
        Ok(Arc::new(Clocked { inner: self.0.compile(kernel, options)?, takes }))
    }

    fn executable_id(
        &self,
        kernel: &Arc<VerifiedKernel>,
        options: &CompileOptions,
    ) -> Result<Option<String>, Error> {
        self.0.executable_id(kernel, options)
    }
}

impl Executable for Clocked {
    fn kernel(&self) -> &Arc<VerifiedKernel> {
        self.inner.kernel()
    }

    fn id(&self) -> &str {
        self.inner.id()
    }

    fn launch(&self, launch: &Launch) -> Result<LaunchReport, Error> {
        self.inner.launch(launch).map(|_| LaunchReport::timed(self.takes))
    }
}
