//! Reports of the suites, as data for people and programs.

use fulgurite_hal::Error;
use fulgurite_spec::Code;
use fulgurite_spec::device::DeviceSnapshot;
use serde::{Deserialize, Serialize};

/// The whole report. Its JSON form is versioned by `schema`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// Version of the JSON form.
    pub schema: u32,
    /// Whether nothing failed and every required backend was available.
    pub ok: bool,
    /// One entry per backend that ran.
    pub backends: Vec<BackendReport>,
}

/// Report of the suites on one backend.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BackendReport {
    /// The backend's id.
    pub id: String,
    /// Name of the device.
    pub device: String,
    /// Name and version of the driver.
    pub driver: String,
    /// Driver faults that probes found.
    #[serde(default)]
    pub quirks: Vec<String>,
    /// Lowering rules in force for this driver.
    #[serde(default)]
    pub rules: Vec<String>,
    /// Messages of a checking layer during the run; `None` without one.
    #[serde(default)]
    pub complaints: Option<Vec<String>>,
    /// The suites, in the order in which they ran.
    pub suites: Vec<SuiteReport>,
    /// The name of a group of each suite that has one that the caller did not select.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unselected: Vec<String>,
}

/// Report of one suite on one backend.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct SuiteReport {
    /// Name of the suite.
    pub name: String,
    /// Cases compared with the oracle.
    pub cases: u64,
    /// Unexpected failures, plus expected failures that passed.
    pub failed: u64,
    /// Kernels that the device cannot run.
    pub unsupported: u64,
    /// Expected failures.
    pub expected_failures: u64,
    /// Smallest number of cases of any op × type or kernel. Groups that ran all of their possible input tuples are left
    /// out.
    pub min_per_op_type: u64,
    /// The first failures of each group, in detail.
    pub failures: Vec<Failure>,
    /// Reasons why kernels were unsupported, without duplicates.
    pub unsupported_reasons: Vec<String>,
    /// Further counts and remarks of the suite, for people.
    #[serde(default)]
    pub notes: Vec<String>,
    /// The largest error of each approximate op on each type.
    pub accuracy: Vec<Accuracy>,
}

/// Largest errors of one approximate op on one type.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Accuracy {
    /// Mnemonic of the op.
    pub op: String,
    /// Name of the scalar type.
    #[serde(rename = "type")]
    pub ty: String,
    /// In units in the last place of the true value.
    pub worst_ulp: f64,
    /// Relative to the op's bound; above 1, a case failed. The two maxima may come from different cases.
    pub share_of_bound: f64,
}

/// One failure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The op and type, or the kernel.
    pub group: String,
    /// The input.
    pub input: String,
    /// The result of the oracle.
    pub expected: String,
    /// The result of the device.
    pub actual: String,
}

impl Report {
    /// Creates a report of `backends`; `missing` are the required backends that are not available.
    pub fn new(backends: Vec<BackendReport>, missing: &[String]) -> Self {
        let ok = missing.is_empty() && !backends.is_empty() && backends.iter().all(BackendReport::ok);
        Self { schema: 1, ok, backends }
    }

    /// Returns the report as JSON with a trailing line feed.
    ///
    /// # Errors
    /// [`Error::Internal`] if serialization fails, which is a bug.
    pub fn to_json(&self) -> Result<String, Error> {
        let text = serde_json::to_string_pretty(self).map_err(|error| Error::Internal(error.to_string()))?;
        Ok(text + "\n")
    }

    /// Parses a report from JSON.
    ///
    /// # Errors
    /// `FG0703` if `text` is not a report.
    pub fn from_json(text: &str) -> Result<Self, Error> {
        serde_json::from_str(text).map_err(|error| Error::invalid(Code::BadFileFormat, error.to_string()))
    }
}

impl BackendReport {
    pub(crate) fn new(
        snapshot: &DeviceSnapshot,
        suites: Vec<SuiteReport>,
        complaints: Option<Vec<String>>,
    ) -> Self {
        Self {
            id: snapshot.backend.clone(),
            device: snapshot.device.clone(),
            driver: snapshot.driver.clone(),
            quirks: snapshot.quirks.clone(),
            rules: snapshot.rules.clone(),
            complaints,
            suites,
            unselected: Vec::new(),
        }
    }

    /// Returns whether no case failed, no checking layer complained, and each suite ran a case or counted one as
    /// unsupported.
    pub fn ok(&self) -> bool {
        if self.complaints.as_ref().is_some_and(|complaints| !complaints.is_empty()) {
            return false;
        }
        let good = |s: &SuiteReport| s.failed == 0 && (s.cases > 0 || s.unsupported > 0);
        !self.suites.is_empty() && self.suites.iter().all(good)
    }

    /// Returns the number of cases of all suites.
    pub fn cases(&self) -> u64 {
        self.suites.iter().map(|s| s.cases).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backend(suites: &[(u64, u64, u64)]) -> BackendReport {
        let suites = suites.iter().map(|(cases, failed, unsupported)| SuiteReport {
            cases: *cases,
            failed: *failed,
            unsupported: *unsupported,
            ..SuiteReport::default()
        });
        BackendReport::new(&DeviceSnapshot::new("b", "d", "v"), suites.collect(), None)
    }

    #[test]
    fn a_suite_that_ran_nothing_must_say_why() {
        assert!(backend(&[(10, 0, 0), (0, 0, 3)]).ok());
        assert!(!backend(&[(10, 0, 0), (0, 0, 0)]).ok());
        assert!(!backend(&[(10, 1, 0)]).ok());
        let mut complained = backend(&[(10, 0, 0)]);
        complained.complaints = Some(Vec::new());
        assert!(complained.ok());
        complained.complaints = Some(vec![String::from("something")]);
        assert!(!complained.ok());
        assert!(!backend(&[]).ok());
    }
}
