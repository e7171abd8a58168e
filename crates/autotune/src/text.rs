//! The text format of record files: human-readable TOML, one file per device and family.
//!
//! A file consists of a head and records, each starting at a line `[[record]]`. Records are parsed on demand, and
//! unchanged ones are written back byte for byte.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::key::{AutotuneKey, DeviceKey};
use crate::record::{AutotuneRecord, CandidateRow, check_generation};

/// Version of the format.
pub(crate) const SCHEMA: u64 = 1;
/// The line that starts a record.
const RECORD: &str = "[[record]]";

/// The head of a file.
#[derive(Debug, Deserialize)]
struct Head {
    schema: u64,
}

/// A record in its stored form.
#[derive(Serialize, Deserialize)]
struct StoredRecord {
    bucket: String,
    version: u32,
    policy: String,
    #[serde(default, skip_serializing_if = "is_zero")]
    forgotten: u64,
    /// The fastest candidate, for readers only. It follows from the rows and is ignored when parsed.
    #[serde(default, skip_serializing_if = "Option::is_none", skip_deserializing)]
    best: Option<Best>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    candidate: Vec<StoredRow>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    passed_over: Vec<PassedOver>,
}

/// Candidates passed over by searches of one generation.
#[derive(Serialize, Deserialize)]
struct PassedOver {
    generation: u64,
    executables: Vec<String>,
}

#[derive(Serialize)]
struct Best {
    recorded_at: String,
    recorded_by: String,
    executable: String,
    microseconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    workgroup: Option<[u32; 3]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unroll: Option<u32>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tile: Vec<u32>,
    config: toml::Table,
}

#[derive(Serialize, Deserialize)]
struct StoredRow {
    executable: String,
    #[serde(flatten)]
    row: CandidateRow,
}

#[derive(Serialize, Deserialize)]
struct Chunk {
    record: Vec<StoredRecord>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// The parts of a key stored in a record; the others are stored in the file's head.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RecordKey {
    pub(crate) bucket: String,
    pub(crate) version: u32,
    pub(crate) policy: String,
}

impl RecordKey {
    pub(crate) fn of(key: &AutotuneKey) -> Self {
        Self { bucket: key.bucket.clone(), version: key.version, policy: key.policy.clone() }
    }

    pub(crate) fn of_device(&self, device: &DeviceKey, family: &str) -> AutotuneKey {
        AutotuneKey {
            device: device.clone(),
            family: family.to_owned(),
            version: self.version,
            bucket: self.bucket.clone(),
            policy: self.policy.clone(),
        }
    }
}

/// Returns the head of a file for this device and family.
pub(crate) fn head(device: &DeviceKey, family: &str) -> String {
    let mut head = toml::Table::new();
    let mut set = |name: &str, value: toml::Value| {
        head.insert(name.to_owned(), value);
    };
    set("schema", (SCHEMA as i64).into());
    set("family", family.into());
    set("backend", device.backend.as_str().into());
    set("device", device.device.as_str().into());
    set("driver", device.driver.as_str().into());
    set("fingerprint", device.fingerprint.to_string().into());
    format!("# What Fulgurite's autotuner measured. Times are of the device's clock.\n{head}")
}

/// Returns the format version stated by a file, if there is one.
pub(crate) fn schema(text: &[u8]) -> Option<u64> {
    let head = &text[..records(text).first().map_or(text.len(), |range| range.start)];
    let head = std::str::from_utf8(head).ok()?;
    toml::from_str::<Head>(head).ok().map(|head| head.schema)
}

/// Returns the device and family stated by a file.
pub(crate) fn owner(text: &[u8]) -> Option<(DeviceKey, String)> {
    #[derive(Deserialize)]
    struct Owner {
        family: String,
        backend: String,
        device: String,
        driver: String,
        fingerprint: String,
    }
    let head = &text[..records(text).first().map_or(text.len(), |range| range.start)];
    let owner: Owner = toml::from_str(std::str::from_utf8(head).ok()?).ok()?;
    let fingerprint = fulgurite_storage::Digest::parse(&owner.fingerprint)?;
    let device =
        DeviceKey { backend: owner.backend, device: owner.device, driver: owner.driver, fingerprint };
    Some((device, owner.family))
}

/// Returns the byte ranges of a file's records.
pub(crate) fn records(text: &[u8]) -> Vec<Range<usize>> {
    let mut starts: Vec<usize> = memchr::memmem::find_iter(text, RECORD.as_bytes())
        .filter(|at| *at == 0 || text[at - 1] == b'\n')
        .collect();
    // A file truncated within a record's first line ends before that line.
    let last = memchr::memrchr(b'\n', text).map_or(0, |at| at + 1);
    let is_cut = last < text.len() && RECORD.as_bytes().starts_with(&text[last..]);
    starts.push(if is_cut { last } else { text.len() });
    starts.windows(2).map(|pair| pair[0]..pair[1]).collect()
}

/// Returns whether a record may have this key: a quick filter before parsing.
pub(crate) fn may_be_of(text: &[u8], key: &RecordKey) -> bool {
    // The key precedes the first candidate.
    let end = memchr::memmem::find(text, b"\n[").unwrap_or(text.len());
    memchr::memmem::find(&text[..end], key.bucket.as_bytes()).is_some()
}

/// Parses a record.
///
/// # Errors
/// The reason why the text is not a valid record.
pub(crate) fn parse(text: &[u8]) -> Result<(RecordKey, AutotuneRecord), String> {
    let text = std::str::from_utf8(text).map_err(|_| String::from("not UTF-8"))?;
    let chunk: Chunk = toml::from_str(text).map_err(|error| error.message().to_owned())?;
    let [stored] = <[StoredRecord; 1]>::try_from(chunk.record).map_err(|_| String::from("not one record"))?;
    let mut rows = BTreeMap::new();
    for candidate in stored.candidate {
        candidate.row.check().map_err(|reason| format!("candidate `{}`: {reason}", candidate.executable))?;
        if rows.insert(candidate.executable.clone(), candidate.row).is_some() {
            return Err(format!("duplicate candidate `{}`", candidate.executable));
        }
    }
    stored.passed_over.iter().try_for_each(|passed| check_generation(passed.generation))?;
    if stored.forgotten != 0 {
        check_generation(stored.forgotten)?;
    }
    let passed_over = stored.passed_over.into_iter().flat_map(|passed| {
        passed.executables.into_iter().map(move |executable| (executable, passed.generation))
    });
    let key = RecordKey { bucket: stored.bucket, version: stored.version, policy: stored.policy };
    let record = AutotuneRecord::new(rows).with_passed_over(passed_over).with_forgotten(stored.forgotten);
    Ok((key, record))
}

/// Formats a record.
///
/// # Errors
/// The TOML serialization error.
pub(crate) fn print(key: &RecordKey, record: &AutotuneRecord) -> Result<String, String> {
    let best = record.best().map(|(executable, row)| Best {
        recorded_at: row.recorded_at.clone(),
        recorded_by: row.recorded_by.clone(),
        executable: executable.clone(),
        microseconds: (row.time_ns.unwrap_or_default() / 10.0).round() / 100.0,
        workgroup: row.workgroup,
        unroll: row.unroll,
        tile: row.tile.clone(),
        config: row.config.clone(),
    });
    let candidate = record
        .candidates()
        .iter()
        .map(|(executable, row)| StoredRow { executable: executable.clone(), row: row.clone() })
        .collect();
    let mut generations = BTreeMap::<u64, Vec<String>>::new();
    for (executable, generation) in record.passed_over() {
        generations.entry(*generation).or_default().push(executable.clone());
    }
    let passed_over = generations.into_iter();
    let passed_over = passed_over.map(|(generation, executables)| PassedOver { generation, executables });
    let stored = StoredRecord {
        bucket: key.bucket.clone(),
        version: key.version,
        policy: key.policy.clone(),
        forgotten: record.forgotten(),
        best,
        candidate,
        passed_over: passed_over.collect(),
    };
    let text = toml::to_string(&Chunk { record: vec![stored] }).map_err(|error| error.to_string())?;
    Ok(format!("{}\n\n", text.trim_end()))
}
