//! Contracts in groups, each a function that counts its cases: how the suites `driver`, `cache` and `tune` are written.

use std::fmt::Debug;
use std::sync::Arc;

use fulgurite_hal::{self as hal, CompileOptions, Error, LaunchOptions};
use fulgurite_runtime::Device;
use fulgurite_spec::Code;

use crate::harness::Harness;
use crate::suites::worker::Worker;
use crate::values::Random;

/// The contracts of one group: an error that they don't expect ends them and is a failed case.
pub(super) type Part = fn(&mut Checks<'_, '_>) -> Result<(), Error>;

/// Runs the groups that the caller wants, in order.
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
                checks.harness.error(group, "what no error is expected of", error);
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
    /// A device of the backend with options of its own.
    pub(super) fn device_with(&self, compile: CompileOptions, launch: LaunchOptions) -> Device {
        Device::new(Arc::clone(self.harness.backend()), compile, launch)
    }

    /// The backend without the engine round it.
    pub(super) fn backend(&self) -> &Arc<dyn hal::Device> {
        self.harness.backend()
    }

    /// A device of the backend.
    pub(super) fn device(&self) -> Device {
        self.device_with(CompileOptions::default(), LaunchOptions::default())
    }

    /// How processes are started, if they can be.
    pub(super) fn worker(&mut self) -> Option<Worker> {
        let worker = self.harness.options().worker.clone();
        if worker.is_none() {
            let needs = "processes of its own: `Options::worker` says how to start one";
            self.harness.unsupported(self.group, needs);
        }
        worker
    }

    pub(super) fn random(&self) -> Random {
        self.harness.random(self.group)
    }

    /// A case: two values are equal.
    pub(super) fn equal<T: PartialEq + Debug>(&mut self, what: &str, actual: &T, expected: &T) {
        self.harness.case(self.group, actual == expected, || {
            [what.to_owned(), format!("{expected:?}"), format!("{actual:?}")]
        });
    }

    /// A case: something holds; `actual` says what did if it does not.
    pub(super) fn holds(&mut self, what: &str, holds: bool, actual: impl FnOnce() -> String) {
        self.harness.case(self.group, holds, || [what.to_owned(), "that it holds".to_owned(), actual()]);
    }

    /// A case: the code of an error.
    pub(super) fn refused<T>(&mut self, what: &str, result: Result<T, Error>, code: Code) {
        let found = result.err().map(|error| (error.code(), error.to_string()));
        self.harness.case(self.group, found.as_ref().is_some_and(|(c, _)| *c == code), || {
            [what.to_owned(), code.to_string(), found.map_or("no error".to_owned(), |(_, text)| text)]
        });
    }
}
