//! What suites run kernels with: compiles, launches, counts cases and keeps failures.

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

/// How many failures of one group are kept in detail.
const KEPT_FAILURES: u64 = 5;

/// Cases of one op × type, or of one kernel.
#[derive(Clone, Copy, Debug, Default)]
struct Group {
    cases: u64,
    failed: u64,
    /// Every input tuple there is was run.
    exhausted: bool,
    /// The device cannot run it.
    unsupported: bool,
}

/// Runs the kernels of one suite on one backend.
pub struct Harness<'a> {
    backend: &'a Arc<dyn hal::Device>,
    options: &'a Options,
    groups: BTreeMap<String, Group>,
    /// The largest errors of approximate ops.
    worst: BTreeMap<(Op, ScalarType), compare::Error>,
    /// Groups that are known to fail.
    expected: Vec<String>,
    report: SuiteReport,
}

impl<'a> Harness<'a> {
    pub(crate) fn new(backend: &'a Arc<dyn hal::Device>, options: &'a Options, suite: Suite) -> Self {
        let expected = expected_groups(&options.expectations, &backend.snapshot().driver, suite.name());
        let report = SuiteReport { name: suite.name().to_owned(), ..SuiteReport::default() };
        Self { backend, options, groups: BTreeMap::new(), worst: BTreeMap::new(), expected, report }
    }

    /// The types whose subnormals the device promises to keep; `bf16` is computed in `f32`.
    pub(crate) fn kept_subnormals(&self) -> TypeSet {
        fulgurite_runtime::kept_subnormals(self.backend.snapshot())
    }

    /// Notes how far an approximate result of `op` on `ty` was off.
    pub(crate) fn accuracy(&mut self, op: Op, ty: ScalarType, error: compare::Error) {
        let worst = self.worst.entry((op, ty)).or_insert(error);
        *worst = worst.worst(error);
    }

    /// Whether the caller wants `group` run.
    pub(crate) fn wants(&self, group: &str) -> bool {
        self.options.only.as_ref().is_none_or(|only| group.contains(only.as_str()))
    }

    /// Random numbers for `group`, the same in every run with this seed.
    pub(crate) fn random(&self, group: &str) -> Random {
        let salt = group
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
        Random::new(self.options.seed ^ salt)
    }

    /// Tells people something besides the cases.
    pub(crate) fn note(&mut self, note: String) {
        self.report.notes.push(note);
    }

    /// What to run, and how.
    pub(crate) fn options(&self) -> &'a Options {
        self.options
    }

    /// How much to run.
    pub(crate) fn level(&self) -> Level {
        self.options.level
    }

    /// `smoke` random inputs at the smoke level, more at higher ones.
    pub(crate) fn random_count(&self, smoke: usize) -> usize {
        match self.options.level {
            Level::Smoke => smoke,
            Level::Full => smoke * 20,
        }
    }

    /// Ops whose operands have no more bits than this are run on every input.
    pub(crate) fn exhaustive_bits(&self) -> u32 {
        match self.options.level {
            Level::Smoke => 8,
            Level::Full => 16,
        }
    }

    /// Parses, verifies, validates and compiles a kernel of the suite. `None` if the group is not wanted, or if
    /// the device does not support it or anything fails, which is counted.
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

    /// Begins a group whose cases need no kernel of their own. False if the caller does not want it; from here on it
    /// counts, also if nothing comes of it.
    pub(crate) fn begin(&mut self, group: &str) -> bool {
        let wanted = self.wants(group);
        if wanted {
            self.groups.entry(group.to_owned()).or_default();
        }
        wanted
    }

    /// As [`compile`](Self::compile), for a kernel whose results belong to several groups.
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

    /// Counts an error: what is unsupported, and a loop that the driver cut, as unsupported; all else failed.
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

    /// Launches on buffers of these contents and gives what is in them afterwards. `None` if it did not run,
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

    /// As [`launch`](Self::launch), where an error may be what is wanted: nothing is counted.
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

    /// Counts each element of `actual` as a case of `group`; `input` says what led to the element.
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
            let show = |bytes: &[u8]| crate::suites::show(&fulgurite_spec::eval::read_bytes(bytes, ty), ty);
            self.case(group, wanted == got, || [input(i), show(wanted), show(got)]);
        }
    }

    /// Counts a case of `group`; `detail` gives input, expected and actual if it failed.
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

    /// Counts cases of `group` that passed.
    pub(crate) fn passed(&mut self, group: &str, cases: u64) {
        self.groups.entry(group.to_owned()).or_default().cases += cases;
        self.report.cases += cases;
    }

    /// Counts cases of `group` that failed; [`detail`](Self::detail) describes one of them.
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

    /// Describes a failure that was counted.
    pub(crate) fn detail(&mut self, group: &str, input: String, expected: String, actual: String) {
        self.report.failures.push(Failure { group: group.to_owned(), input, expected, actual });
    }

    /// Counts a failed case.
    pub(crate) fn fail(&mut self, group: &str, input: &str, expected: &str, actual: &str) {
        self.case(group, false, || [input.to_owned(), expected.to_owned(), actual.to_owned()]);
    }

    /// Says that every input tuple of `group` that there is was run.
    pub(crate) fn exhausted(&mut self, group: &str) {
        self.groups.entry(group.to_owned()).or_default().exhausted = true;
    }

    /// The report; `None` if the suite has no group that the caller wants.
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
                input: "the list of expected failures".to_owned(),
                expected: "a failure".to_owned(),
                actual: "none: take it off the list".to_owned(),
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

/// Compiles on a backend without the engine, after the check that the engine makes.
pub(crate) fn compile_on(
    backend: &dyn hal::Device,
    kernel: Arc<VerifiedKernel>,
    options: &CompileOptions,
) -> Result<Arc<dyn Executable>, Error> {
    Error::check_needs(&kernel, backend.snapshot())?;
    backend.compile(kernel, options)
}

/// Launches on buffers of these contents and gives what is in them afterwards.
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
