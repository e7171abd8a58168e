//! The report of `cargo xtask bench` as JSON: results and their origin. Defines the schema of the file.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, bail, ensure};
use fulgurite_benches::Measurement;
use fulgurite_hal as hal;
use serde::{Deserialize, Serialize};

/// Version of the schema.
pub(crate) const SCHEMA: u32 = 1;
/// Maximum size of a report in bytes.
const MOST_BYTES: u64 = 16 << 20;

/// Results and their origin.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Report {
    /// [`SCHEMA`].
    pub(crate) schema: u32,
    /// The machine on which the results were measured.
    pub(crate) device: Machine,
    /// The results.
    pub(crate) results: Vec<Measurement>,
}

/// The machine and the kind of run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Machine {
    /// The processor.
    pub(crate) cpu: String,
    /// Number of hardware threads.
    pub(crate) threads: usize,
    /// The operating system and the instruction set.
    pub(crate) platform: String,
    /// Whether the run used small problems and few runs.
    pub(crate) quick: bool,
    /// The measured backends.
    pub(crate) backends: Vec<BackendName>,
}

/// A backend and its device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BackendName {
    /// The backend's id.
    pub(crate) id: String,
    /// Name of the device.
    pub(crate) device: String,
    /// Name and version of the driver.
    pub(crate) driver: String,
}

impl BackendName {
    pub(crate) fn of(backend: &dyn hal::Device) -> Self {
        let snapshot = backend.snapshot();
        let [id, device, driver] =
            [&snapshot.backend, &snapshot.device, &snapshot.driver].map(|text| text.to_owned());
        Self { id, device, driver }
    }
}

impl Machine {
    /// Returns the description of this machine, without backends.
    pub(crate) fn here(quick: bool) -> Self {
        let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
        Self {
            cpu: model.map_or_else(|| "unknown".to_owned(), |(_, name)| name.trim().to_owned()),
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            platform: format!("{}, {}", std::env::consts::OS, std::env::consts::ARCH),
            quick,
            backends: Vec::new(),
        }
    }
}

impl Report {
    /// Reads a file written by [`to_json`](Self::to_json).
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let unreadable = || format!("error[FG0701]: cannot read {}", path.display());
        let mut text = String::new();
        let file = File::open(path).with_context(unreadable)?;
        file.take(MOST_BYTES + 1).read_to_string(&mut text).with_context(unreadable)?;
        ensure!(
            text.len() as u64 <= MOST_BYTES,
            "error[FG0703]: {} has more than {MOST_BYTES} bytes, which no report has",
            path.display()
        );
        Self::parse(&text).with_context(|| format!("error[FG0703]: {}", path.display()))
    }

    /// Parses the output of [`to_json`](Self::to_json).
    pub(crate) fn parse(text: &str) -> anyhow::Result<Self> {
        let value: serde_json::Value = serde_json::from_str(text).context("no report of `xtask bench`")?;
        match value.get("schema").and_then(serde_json::Value::as_u64) {
            Some(schema) if schema == u64::from(SCHEMA) => {}
            Some(schema) => bail!("a report of schema {schema}; this program reads {SCHEMA}"),
            None => bail!("no report of `xtask bench`: it has no `schema`"),
        }
        let report: Self = serde_json::from_value(value).context("no report of `xtask bench`")?;
        for result in &report.results {
            let figures = [Some(result.value), result.peer_value, result.ratio, result.target];
            let cannot_be = figures.into_iter().flatten().any(|figure| !figure.is_finite() || figure <= 0.0);
            ensure!(
                !cannot_be && result.spread.is_finite() && result.spread >= 0.0,
                "`{}` has figures that cannot be",
                result.name
            );
        }
        Ok(report)
    }

    /// Returns the contents of a report file.
    pub(crate) fn to_json(&self) -> anyhow::Result<String> {
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        Ok(text)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use fulgurite_benches::Unit;

    pub(crate) fn result(name: &str, unit: Unit, value: f64, spread: f64) -> Measurement {
        Measurement {
            suite: "launch".to_owned(),
            name: name.to_owned(),
            unit,
            value,
            spread,
            peer: None,
            peer_value: None,
            ratio: None,
            target: None,
        }
    }

    pub(crate) fn report(results: Vec<Measurement>) -> Report {
        let mut device = Machine::here(true);
        let name = |id: &str| BackendName {
            id: id.to_owned(),
            device: "a device".to_owned(),
            driver: "a driver 1".to_owned(),
        };
        device.backends = vec![name("cpu"), name("vulkan")];
        Report { schema: SCHEMA, device, results }
    }

    #[test]
    fn json_reads_back_and_has_the_fields_that_are_documented() {
        let mut with_peer = result("cpu/one", Unit::Gigabytes, 2.5, 0.125);
        with_peer.peer = Some("memcpy".to_owned());
        (with_peer.peer_value, with_peer.ratio, with_peer.target) = (Some(5.0), Some(0.5), Some(4.0));
        let all = report(vec![result("plain", Unit::Nanoseconds, 12.5, 0.0), with_peer]);
        let text = all.to_json().unwrap();
        assert_eq!(Report::parse(&text).unwrap(), all);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        let keys = |value: &serde_json::Value| -> Vec<String> {
            value.as_object().unwrap().keys().cloned().collect()
        };
        let mut fields = keys(&value["results"][0]);
        fields.sort();
        let mut wanted =
            ["suite", "name", "unit", "value", "spread", "peer", "peer_value", "ratio", "target"];
        wanted.sort_unstable();
        assert_eq!(fields, wanted);
        assert!(value["results"][0]["peer"].is_null() && value["results"][0]["target"].is_null());
        assert_eq!((&value["results"][1]["unit"], &value["schema"]), (&"GB/s".into(), &1.into()));
    }

    #[test]
    fn what_is_no_report_is_refused() {
        let good = report(vec![result("plain", Unit::Nanoseconds, 12.5, 0.25)]).to_json().unwrap();
        for (from, to, wanted) in [
            ("\"schema\": 1", "\"schema\": 2", "schema 2; this program reads 1"),
            ("\"schema\"", "\"scheme\"", "no `schema`"),
            ("12.5", "0.0", "cannot be"),
            ("12.5", "-1.0", "cannot be"),
            ("0.25", "-0.25", "cannot be"),
            ("\"ns\"", "\"furlongs\"", "no report"),
            ("{", "", "no report"),
        ] {
            let error = format!("{:#}", Report::parse(&good.replacen(from, to, 1)).unwrap_err());
            assert!(error.contains(wanted), "{from} -> {to}: {error}");
        }
        let missing = Report::read(Path::new("/nothing/here")).unwrap_err().to_string();
        assert!(missing.contains("FG0701"), "{missing}");
    }
}
