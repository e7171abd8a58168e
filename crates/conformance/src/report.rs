//! What a run of the suites found, as data for people and programs.

use fulgurite_hal::Error;
use fulgurite_spec::Code;
use fulgurite_spec::device::DeviceSnapshot;
use serde::{Deserialize, Serialize};

/// The whole report; its JSON form is stable under `schema`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// Version of this form.
    pub schema: u32,
    /// Whether nothing failed and every required backend was there.
    pub ok: bool,
    /// One entry for each backend that ran.
    pub backends: Vec<BackendReport>,
}

/// One backend's suites.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BackendReport {
    /// The backend's id.
    pub id: String,
    /// The device.
    pub device: String,
    /// The driver and its version.
    pub driver: String,
    /// Faults that probes found in the driver.
    #[serde(default)]
    pub quirks: Vec<String>,
    /// The rules by which kernels are lowered for it.
    #[serde(default)]
    pub rules: Vec<String>,
    /// What a checking layer complained of meanwhile; `None` without one.
    #[serde(default)]
    pub complaints: Option<Vec<String>>,
    /// The suites in the order run.
    pub suites: Vec<SuiteReport>,
}

/// One suite on one backend.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct SuiteReport {
    /// The suite.
    pub name: String,
    /// Cases compared with the oracle.
    pub cases: u64,
    /// Cases that differ, less the expected ones; and expected ones that do not.
    pub failed: u64,
    /// Kernels that the device cannot run.
    pub unsupported: u64,
    /// Cases that differ and are known to.
    pub expected_failures: u64,
    /// The fewest cases that any op × type, or any kernel, got. A group that has fewer input tuples than the
    /// suite wants, and got all of them, does not count.
    pub min_per_op_type: u64,
    /// The failures in detail, the first ones of each group.
    pub failures: Vec<Failure>,
    /// Why kernels were unsupported: each reason once.
    pub unsupported_reasons: Vec<String>,
    /// What a suite counted besides its cases, for people.
    #[serde(default)]
    pub notes: Vec<String>,
    /// The largest error of each approximate op on each type.
    pub accuracy: Vec<Accuracy>,
}

/// How far an approximate op was from the true value, at worst.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Accuracy {
    /// The op.
    pub op: String,
    /// The scalar type.
    #[serde(rename = "type")]
    pub ty: String,
    /// In units in the last place of the true value.
    pub worst_ulp: f64,
    /// As a share of the op's bound; above 1 something failed. The two worst cases need not be the same one.
    pub share_of_bound: f64,
}

/// One failure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The op and type, or the kernel.
    pub group: String,
    /// What went in.
    pub input: String,
    /// What the oracle says.
    pub expected: String,
    /// What came out.
    pub actual: String,
}

impl Report {
    /// A report over `backends`; `missing` are the required backends that are not there.
    pub fn new(backends: Vec<BackendReport>, missing: &[String]) -> Self {
        let ok = missing.is_empty() && !backends.is_empty() && backends.iter().all(BackendReport::ok);
        Self { schema: 1, ok, backends }
    }

    /// As JSON, with a line feed at its end.
    ///
    /// # Errors
    /// [`Error::Internal`]: a bug.
    pub fn to_json(&self) -> Result<String, Error> {
        let text = serde_json::to_string_pretty(self).map_err(|error| Error::Internal(error.to_string()))?;
        Ok(text + "\n")
    }

    /// The report that `text` is.
    ///
    /// # Errors
    /// `FG0703`.
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
        }
    }

    /// Whether none failed, nothing was complained of, and a suite without cases says what the device lacks.
    pub fn ok(&self) -> bool {
        if self.complaints.as_ref().is_some_and(|complaints| !complaints.is_empty()) {
            return false;
        }
        let good = |s: &SuiteReport| s.failed == 0 && (s.cases > 0 || s.unsupported > 0);
        !self.suites.is_empty() && self.suites.iter().all(good)
    }

    /// Cases of all suites.
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
