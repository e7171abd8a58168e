//! Support for suites: compiles and launches kernels, counts cases, and records failures.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use fulgurite_hal::{
    self as hal, Binding, CompileOptions, DeviceError, Error, Executable, Launch, LaunchOptions,
};
use fulgurite_ir::VerifiedKernel;
use fulgurite_spec::eval::Components;
use fulgurite_spec::{Op, ScalarType, Type, TypeSet};

use crate::compare;
use crate::expectations::expected_groups;
use crate::report::{Accuracy, Failure, SuiteReport};
use crate::validate::validate;
use crate::values::Random;
use crate::{Level, Options, Suite};

/// Number of failures per group that are recorded in detail.
const KEPT_FAILURES: u64 = 5;

/// Case counts of one op × type, or of one kernel.
#[derive(Clone, Copy, Debug, Default)]
struct Group {
    cases: u64,
    failed: u64,
    /// Every possible input tuple was run.
    exhausted: bool,
    /// The device cannot run the group.
    unsupported: bool,
}

/// Runs the kernels of one suite on one backend.
pub struct Harness<'a> {
    backend: &'a Arc<dyn hal::Device>,
    options: &'a Options,
    groups: BTreeMap<String, Group>,
    /// The largest error of each approximate op on each type.
    worst: BTreeMap<(Op, ScalarType), compare::Error>,
    /// Groups with expected failures.
    expected: Vec<String>,
    /// The name of the first group that the caller did not select.
    unselected: RefCell<Option<String>>,
    report: SuiteReport,
}

impl<'a> Harness<'a> {
    pub(crate) fn new(backend: &'a Arc<dyn hal::Device>, options: &'a Options, suite: Suite) -> Self {
        let expected = expected_groups(&options.expectations, &backend.snapshot().driver, suite.name());
        let report = SuiteReport { name: suite.name().to_owned(), ..SuiteReport::default() };
        Self {
            backend,
            options,
            groups: BTreeMap::new(),
            worst: BTreeMap::new(),
            expected,
            unselected: RefCell::default(),
            report,
        }
    }

    /// Returns the types whose subnormals the device guarantees to keep; `bf16` is computed in `f32`.
    pub(crate) fn kept_subnormals(&self) -> TypeSet {
        fulgurite_runtime::kept_subnormals(self.backend.snapshot())
    }

    /// Records the error of an approximate result of `op` on `ty`.
    pub(crate) fn accuracy(&mut self, op: Op, ty: ScalarType, error: compare::Error) {
        let worst = self.worst.entry((op, ty)).or_insert(error);
        *worst = worst.worst(error);
    }

    /// Returns whether the caller selected `group`.
    pub(crate) fn wants(&self, group: &str) -> bool {
        let is_wanted = self.options.only.as_ref().is_none_or(|only| group.contains(only.as_str()));
        if !is_wanted {
            self.unselected.borrow_mut().get_or_insert_with(|| group.to_owned());
        }
        is_wanted
    }

    /// Returns the name of the first group of the suite that the caller did not select.
    pub(crate) fn unselected(&self) -> Option<String> {
        self.unselected.borrow().clone()
    }

    /// Returns a generator for `group` that is the same in every run with this seed.
    pub(crate) fn random(&self, group: &str) -> Random {
        let salt = group
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
        Random::new(self.options.seed ^ salt)
    }

    /// Adds a note to the report.
    pub(crate) fn note(&mut self, note: String) {
        self.report.notes.push(note);
    }

    /// Returns the options of the run.
    pub(crate) fn options(&self) -> &'a Options {
        self.options
    }

    /// Returns the level of the run.
    pub(crate) fn level(&self) -> Level {
        self.options.level
    }

    /// Returns the number of random inputs: `smoke` at the smoke level, and a multiple of it at the full level.
    pub(crate) fn random_count(&self, smoke: usize) -> usize {
        match self.options.level {
            Level::Smoke => smoke,
            Level::Full => smoke * 20,
        }
    }

    /// Returns the operand width in bits up to which ops are run on every possible input.
    pub(crate) fn exhaustive_bits(&self) -> u32 {
        match self.options.level {
            Level::Smoke => 8,
            Level::Full => 16,
        }
    }

    /// Parses, verifies, validates and compiles a kernel of the suite. Returns `None` if the group is not selected, is
    /// unsupported by the device, or fails; the latter two are counted.
    pub(crate) fn compile(&mut self, group: &str, text: &str) -> Option<Arc<dyn Executable>> {
        if !self.begin(group) {
            return None;
        }
        let verified = fulgurite_ir::text::parse(text).and_then(fulgurite_ir::verify);
        let kernel = match verified {
            Ok(kernel) => Arc::new(kernel),
            Err(error) => {
                self.fail(group, text, "a kernel that verifies", &error.to_string());
                return None;
            }
        };
        self.compile_kernel(group, &kernel)
    }

    /// Begins a group without compiling a kernel, and returns whether the caller selected it. From here on the group
    /// counts, even if it gets no cases.
    pub(crate) fn begin(&mut self, group: &str) -> bool {
        let wanted = self.wants(group);
        if wanted {
            self.groups.entry(group.to_owned()).or_default();
        }
        wanted
    }

    /// Like [`compile`](Self::compile), for a kernel whose results belong to several groups.
    pub(crate) fn compile_groups(&mut self, groups: &[String], text: &str) -> Option<Arc<dyn Executable>> {
        let wanted: Vec<&String> = groups.iter().filter(|g| self.wants(g)).collect();
        let first = *wanted.first()?;
        for group in &wanted {
            self.groups.entry((*group).clone()).or_default();
        }
        let executable = self.compile(first, text);
        if self.groups.get(first).is_some_and(|g| g.unsupported) {
            for group in wanted {
                self.groups.entry(group.clone()).or_default().unsupported = true;
            }
        }
        executable
    }

    pub(crate) fn compile_kernel(
        &mut self,
        group: &str,
        kernel: &Arc<VerifiedKernel>,
    ) -> Option<Arc<dyn Executable>> {
        if let Err(message) = validate(kernel) {
            self.fail(group, &format!("{kernel:?}"), "valid SPIR-V", &message);
        }
        match compile_on(self.backend.as_ref(), Arc::clone(kernel), &CompileOptions::default()) {
            Ok(executable) => Some(executable),
            Err(error) => {
                self.error(group, &format!("{kernel:?}"), error);
                None
            }
        }
    }

    /// Counts an error: as unsupported if the device lacks a feature or the driver ended a loop, otherwise as failed.
    pub(crate) fn error(&mut self, group: &str, input: &str, error: Error) {
        match error {
            Error::Unsupported(reason) => self.unsupported(group, &reason.to_string()),
            Error::Device(DeviceError::LoopLimit { limit, .. }) => {
                self.unsupported(group, &format!("the driver ends loops after {limit} iterations"));
            }
            error => self.fail(group, input, "no error", &error.to_string()),
        }
    }

    /// Counts a kernel that the device cannot run.
    pub(crate) fn unsupported(&mut self, group: &str, reason: &str) {
        self.report.unsupported += 1;
        self.groups.entry(group.to_owned()).or_default().unsupported = true;
        let reason = format!("{group}: {reason}");
        if !self.report.unsupported_reasons.contains(&reason) {
            self.report.unsupported_reasons.push(reason);
        }
    }

    /// Launches on buffers with the given contents and returns their contents afterwards. Returns `None` on an error,
    /// which is counted.
    pub(crate) fn launch(
        &mut self,
        group: &str,
        executable: &Arc<dyn Executable>,
        buffers: &[Vec<u8>],
        params: &[Components],
        options: &LaunchOptions,
    ) -> Option<Vec<Vec<u8>>> {
        match self.try_launch(executable, buffers, params, options) {
            Ok(contents) => Some(contents),
            Err(error) => {
                self.error(group, &format!("{:?}", executable.kernel()), error);
                None
            }
        }
    }

    /// Like [`launch`](Self::launch), but returns an error without counting it, for callers that expect one.
    pub(crate) fn try_launch(
        &self,
        executable: &Arc<dyn Executable>,
        contents: &[Vec<u8>],
        params: &[Components],
        options: &LaunchOptions,
    ) -> Result<Vec<Vec<u8>>, Error> {
        launch_on(self.backend.as_ref(), executable, contents, params, options)
    }

    pub(crate) fn backend(&self) -> &Arc<dyn hal::Device> {
        self.backend
    }

    /// Counts each element of `actual` as a case of `group`; `input` describes the input of the element at an index.
    pub(crate) fn elements(
        &mut self,
        group: &str,
        ty: Type,
        [expected, actual]: [&[u8]; 2],
        input: impl Fn(usize) -> String,
    ) {
        let size = ty.size().max(1) as usize;
        debug_assert_eq!(expected.len(), actual.len());
        for (i, (wanted, got)) in expected.chunks(size).zip(actual.chunks(size)).enumerate() {
            let show = |bytes: &[u8]| crate::values::show(&fulgurite_spec::eval::read_bytes(bytes, ty), ty);
            self.case(group, wanted == got, || [input(i), show(wanted), show(got)]);
        }
    }

    /// Counts a case of `group`; `detail` returns input, expected and actual value of a failed case.
    pub(crate) fn case(&mut self, group: &str, passed: bool, detail: impl FnOnce() -> [String; 3]) {
        let entry = self.groups.entry(group.to_owned()).or_default();
        entry.cases += 1;
        self.report.cases += 1;
        if passed {
            return;
        }
        entry.failed += 1;
        if self.expected.iter().any(|e| e == group) {
            self.report.expected_failures += 1;
            return;
        }
        self.report.failed += 1;
        if entry.failed <= KEPT_FAILURES {
            let [input, expected, actual] = detail();
            self.report.failures.push(Failure { group: group.to_owned(), input, expected, actual });
        }
    }

    /// Counts passed cases of `group`.
    pub(crate) fn passed(&mut self, group: &str, cases: u64) {
        self.groups.entry(group.to_owned()).or_default().cases += cases;
        self.report.cases += cases;
    }

    /// Counts failed cases of `group`; [`detail`](Self::detail) describes one of them.
    pub(crate) fn failed(&mut self, group: &str, cases: u64) {
        let entry = self.groups.entry(group.to_owned()).or_default();
        entry.cases += cases;
        entry.failed += cases;
        self.report.cases += cases;
        if self.expected.iter().any(|e| e == group) {
            self.report.expected_failures += cases;
        } else {
            self.report.failed += cases;
        }
    }

    /// Adds the description of a failure that was already counted.
    pub(crate) fn detail(&mut self, group: &str, input: String, expected: String, actual: String) {
        self.report.failures.push(Failure { group: group.to_owned(), input, expected, actual });
    }

    /// Counts a failed case.
    pub(crate) fn fail(&mut self, group: &str, input: &str, expected: &str, actual: &str) {
        self.case(group, false, || [input.to_owned(), expected.to_owned(), actual.to_owned()]);
    }

    /// Records that every possible input tuple of `group` was run.
    pub(crate) fn exhausted(&mut self, group: &str) {
        self.groups.entry(group.to_owned()).or_default().exhausted = true;
    }

    /// Returns the report, or `None` if the caller selected no group of the suite.
    pub(crate) fn finish(mut self) -> Option<SuiteReport> {
        if self.options.only.is_some() && self.groups.is_empty() {
            return None;
        }
        let passed =
            |group: &&String| self.groups.get(*group).is_none_or(|g| g.failed == 0 && !g.unsupported);
        let stale: Vec<String> =
            self.expected.iter().filter(|g| self.wants(g)).filter(passed).cloned().collect();
        for group in stale {
            self.report.failed += 1;
            self.report.failures.push(Failure {
                group,
                input: "list of expected failures".to_owned(),
                expected: "a failure".to_owned(),
                actual: "none: remove the group from the list".to_owned(),
            });
        }
        let counted = self.groups.values().filter(|g| !g.exhausted && !g.unsupported).map(|g| g.cases);
        self.report.min_per_op_type = counted.min().unwrap_or(self.report.cases);
        self.report.accuracy = self
            .worst
            .into_iter()
            .map(|((op, ty), error)| Accuracy {
                op: op.mnemonic().to_owned(),
                ty: ty.name().to_owned(),
                worst_ulp: error.ulp,
                share_of_bound: error.share,
            })
            .collect();
        Some(self.report)
    }
}

/// Compiles directly on a backend, after the same check that the engine makes.
pub(crate) fn compile_on(
    backend: &dyn hal::Device,
    kernel: Arc<VerifiedKernel>,
    options: &CompileOptions,
) -> Result<Arc<dyn Executable>, Error> {
    Error::check_needs(&kernel, backend.snapshot())?;
    backend.compile(kernel, options)
}

/// Launches on buffers with the given contents and returns their contents afterwards.
pub(crate) fn launch_on(
    backend: &dyn hal::Device,
    executable: &Arc<dyn Executable>,
    contents: &[Vec<u8>],
    params: &[Components],
    options: &LaunchOptions,
) -> Result<Vec<Vec<u8>>, Error> {
    let mut buffers = Vec::with_capacity(contents.len());
    for bytes in contents {
        let buffer = backend.allocate(bytes.len() as u64)?;
        buffer.write(0, bytes)?;
        buffers.push(buffer);
    }
    let limits = &backend.snapshot().limits;
    let launch = Launch::check(executable.kernel(), limits, Binding::each(&buffers), params, options)?;
    executable.launch(&launch)?;
    let mut after = Vec::with_capacity(contents.len());
    for (buffer, bytes) in buffers.iter().zip(contents) {
        let mut read = vec![0; bytes.len()];
        buffer.read(0, &mut read)?;
        after.push(read);
    }
    Ok(after)
}
