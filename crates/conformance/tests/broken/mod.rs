//! A backend that modifies every kernel before compiling it, to test that the suites find bugs.

use std::sync::Arc;

use fulgurite_conformance::BackendReport;
use fulgurite_hal::{
    self as hal, CompileOptions, DeviceBuffer, Error, Executable, Launch, LaunchOptions, LaunchReport,
};
use fulgurite_ir::{BlockId, InstId, InstKind, Kernel, ValueId, VerifiedKernel, verify};
use fulgurite_spec::device::{DeviceSnapshot, Limits};
use fulgurite_spec::{Code, Location, Type};

/// A bug: modifies a kernel before it is compiled.
pub(crate) type Mutation = fn(&mut Kernel);

/// A backend with an injected bug.
pub(crate) struct Broken {
    pub(crate) inner: Arc<dyn hal::Device>,
    pub(crate) mutation: Mutation,
}

struct BrokenExecutable {
    inner: Arc<dyn Executable>,
    original: Arc<VerifiedKernel>,
    limits: Limits,
}

impl hal::Device for Broken {
    fn snapshot(&self) -> &DeviceSnapshot {
        self.inner.snapshot()
    }

    fn allocate(&self, bytes: u64) -> Result<Arc<dyn DeviceBuffer>, Error> {
        self.inner.allocate(bytes)
    }

    fn compile(
        &self,
        kernel: Arc<VerifiedKernel>,
        options: &CompileOptions,
    ) -> Result<Arc<dyn Executable>, Error> {
        let mut changed = (*kernel).clone().into_kernel();
        (self.mutation)(&mut changed);
        // A kernel that does not verify would be detected for the wrong reason.
        let changed = verify(changed).expect("a seeded bug leaves a kernel that verifies");
        let inner = self.inner.compile(Arc::new(changed), options)?;
        let limits = self.snapshot().limits.clone();
        Ok(Arc::new(BrokenExecutable { inner, original: kernel, limits }))
    }
}

impl Executable for BrokenExecutable {
    fn kernel(&self) -> &Arc<VerifiedKernel> {
        &self.original
    }

    fn id(&self) -> &str {
        self.inner.id()
    }

    fn launch(&self, launch: &Launch) -> Result<LaunchReport, Error> {
        launch.check_kernel(&self.original)?;
        // A launch of the original is refused by the changed kernel, and a bug would be detected for the wrong reason.
        let (buffers, params) = (launch.buffers().to_vec(), launch.params());
        let options = LaunchOptions::workgroups(launch.grid()).timeout(launch.timeout());
        self.inner.launch(&Launch::check(self.inner.kernel(), &self.limits, buffers, params, &options)?)
    }
}

/// Returns the number of failures in a report, none of which may be a refusal of the changed kernel's launches.
pub(crate) fn failures(report: &BackendReport) -> u64 {
    for failure in report.suites.iter().flat_map(|suite| &suite.failures) {
        assert!(
            !failure.actual.contains(&Code::ForeignLaunch.to_string()),
            "{}: {}",
            failure.group,
            failure.actual
        );
    }
    report.suites.iter().map(|suite| suite.failed).sum()
}

/// Returns the instructions of `kernel`, with their blocks.
pub(crate) fn instructions(kernel: &Kernel) -> Vec<(BlockId, InstId)> {
    let blocks = kernel.blocks.iter().enumerate();
    blocks.flat_map(|(b, block)| block.insts.iter().map(move |id| (BlockId::new(b), *id))).collect()
}

/// Inserts an instruction before another, and returns its result if it has one of type `ty`.
pub(crate) fn insert_before(
    kernel: &mut Kernel,
    (block, before): (BlockId, InstId),
    kind: InstKind,
    ty: Option<Type>,
) -> Option<ValueId> {
    let new = kernel.add_inst(block, kind, ty.as_slice(), Location::Unknown);
    let insts = &mut kernel.blocks[block.index()].insts;
    insts.pop();
    let at = insts.iter().position(|id| *id == before).unwrap_or_default();
    insts.insert(at, new);
    kernel.insts[new.index()].results.first().copied()
}
