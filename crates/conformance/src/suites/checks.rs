//! Groups of contracts, each a function that counts its cases, for the suites `driver`, `cache` and `tune`.

use std::fmt::Debug;
use std::sync::Arc;

use fulgurite_hal::{self as hal, CompileOptions, Error, LaunchOptions};
use fulgurite_runtime::Device;
use fulgurite_spec::Code;

use crate::harness::Harness;
use crate::suites::worker::Worker;
use crate::values::Random;

/// The contracts of one group. An unexpected error ends the group and counts as a failed case.
pub(super) type Part = fn(&mut Checks<'_, '_>) -> Result<(), Error>;

/// Runs the selected groups, in order.
pub(super) fn run(
    harness: &mut Harness<'_>,
    parts: &[(&'static str, Part)],
    progress: &mut dyn FnMut(usize, usize),
) {
    for (done, (group, part)) in parts.iter().enumerate() {
        progress(done, parts.len());
        if harness.begin(group) {
            let mut checks = Checks { harness, group };
            if let Err(error) = part(&mut checks) {
                checks.harness.error(group, "the group", error);
            }
        }
    }
    progress(parts.len(), parts.len());
}

/// Counts the cases of one group.
pub(super) struct Checks<'h, 'a> {
    pub(super) harness: &'h mut Harness<'a>,
    pub(super) group: &'static str,
}

impl Checks<'_, '_> {
    /// Returns a device of the backend with the given options.
    pub(super) fn device_with(&self, compile: CompileOptions, launch: LaunchOptions) -> Device {
        Device::new(Arc::clone(self.harness.backend()), compile, launch)
    }

    /// Returns the backend without the engine around it.
    pub(super) fn backend(&self) -> &Arc<dyn hal::Device> {
        self.harness.backend()
    }

    /// Returns a device of the backend.
    pub(super) fn device(&self) -> Device {
        self.device_with(CompileOptions::default(), LaunchOptions::default())
    }

    /// Returns the command that starts worker processes. Without one, counts the group as unsupported and returns
    /// `None`.
    pub(super) fn worker(&mut self) -> Option<Worker> {
        let worker = self.harness.options().worker.clone();
        if worker.is_none() {
            let needs = "worker processes, but `Options::worker` is not set";
            self.harness.unsupported(self.group, needs);
        }
        worker
    }

    pub(super) fn random(&self) -> Random {
        self.harness.random(self.group)
    }

    /// Counts a case that passes if both values are equal.
    pub(super) fn equal<T: PartialEq + Debug>(&mut self, what: &str, actual: &T, expected: &T) {
        self.harness.case(self.group, actual == expected, || {
            [what.to_owned(), format!("{expected:?}"), format!("{actual:?}")]
        });
    }

    /// Counts a case that passes if `holds`; otherwise `actual` describes the result.
    pub(super) fn holds(&mut self, what: &str, holds: bool, actual: impl FnOnce() -> String) {
        self.harness.case(self.group, holds, || [what.to_owned(), "true".to_owned(), actual()]);
    }

    /// Counts a case that passes if `result` is an error with the given code.
    pub(super) fn refused<T>(&mut self, what: &str, result: Result<T, Error>, code: Code) {
        let found = result.err().map(|error| (error.code(), error.to_string()));
        self.harness.case(self.group, found.as_ref().is_some_and(|(c, _)| *c == code), || {
            [what.to_owned(), code.to_string(), found.map_or("no error".to_owned(), |(_, text)| text)]
        });
    }
}
