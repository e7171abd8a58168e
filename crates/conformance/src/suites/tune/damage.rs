//! Damaged record files, and the records that survive.

use std::path::{Path, PathBuf};

use fulgurite_autotune::{
    AutotuneKey, AutotuneStore, CandidateRow, DeviceKey, MAX_FILE_BYTES, StoreOptions, Table, TuneVerdict,
};
use fulgurite_hal::Error;
use fulgurite_spec::Code;

use super::unexpected;
use crate::Level;
use crate::suites::checks::{Checks, Part};

pub(super) const PARTS: &[(&str, Part)] =
    &[("damaged files of records", damaged), ("files of records that are left alone", left_alone)];

/// Records of the damaged file.
const RECORDS: usize = 24;

pub(super) fn key(checks: &Checks<'_, '_>, family: &str, bucket: &str) -> AutotuneKey {
    key_of(&DeviceKey::of(checks.harness.backend().snapshot()), family, bucket)
}

pub(super) fn key_of(device: &DeviceKey, family: &str, bucket: &str) -> AutotuneKey {
    AutotuneKey {
        device: device.clone(),
        family: family.to_owned(),
        version: 1,
        bucket: bucket.to_owned(),
        policy: "the suite's".to_owned(),
    }
}

pub(super) fn row(number: u64) -> CandidateRow {
    let mut config = Table::new();
    config.insert("number".to_owned(), (number as i64).into());
    CandidateRow::new(config, TuneVerdict::Measured).timed(1.0 + number as f64, 0.0, 1)
}

/// Returns the only record file in a folder.
fn only_file(root: &Path) -> Result<PathBuf, Error> {
    let files = std::fs::read_dir(root).map_err(unexpected)?;
    let mut paths = files.filter_map(|file| Some(file.ok()?.path()));
    let found = paths.find(|path| path.extension().is_some_and(|extension| extension == "toml"));
    found.ok_or_else(|| unexpected("no file of records"))
}

fn damaged(checks: &mut Checks<'_, '_>) -> Result<(), Error> {
    let folder = tempfile::tempdir().map_err(unexpected)?;
    let root = folder.path();
    let store = AutotuneStore::open(root, StoreOptions::default());
    let keys: Vec<_> = (0..RECORDS).map(|i| key(checks, "damaged", &format!("bucket {i:03}"))).collect();
    for (i, key) in keys.iter().enumerate() {
        store.insert(key, (0..4).map(|c| (format!("any:{c}"), row(i as u64 * 10 + c))));
    }
    store.save()?;
    let path = only_file(root)?;
    let good = std::fs::read(&path).map_err(unexpected)?;
    let mut random = checks.random();
    let rounds = match checks.harness.level() {
        Level::Smoke => 150,
        Level::Full => 4000,
    };
    for _ in 0..rounds {
        let mut bytes = good.clone();
        let at = random.below(bytes.len() as u32) as usize;
        let length = (random.below(40) as usize + 1).min(bytes.len() - at);
        let what = match random.below(5) {
            0 => {
                bytes[at..at + length].iter_mut().for_each(|byte| *byte = random.next() as u8);
                "overwritten"
            }
            1 => {
                bytes[at..at + length].fill(0);
                "zeroed"
            }
            2 => {
                bytes.truncate(at);
                "cut"
            }
            3 => {
                drop(bytes.drain(at..at + length));
                "shortened"
            }
            _ => {
                let more: Vec<u8> = bytes[at..at + length].to_vec();
                bytes.splice(at..at, more);
                "repeated"
            }
        };
        std::fs::write(&path, &bytes).map_err(unexpected)?;
        let store = AutotuneStore::open(root, StoreOptions::default());
        let there = keys.iter().filter(|key| store.get(key).is_some()).count();
        // Unless it truncates the file, the damage affects at most two records, or the header, which may then name
        // another version.
        let whole = good.windows(10).enumerate().filter(|(i, w)| *w == b"[[record]]" && *i < at).count();
        let least = if what == "cut" { whole.saturating_sub(1) } else { RECORDS - 2 };
        let alone = store.notices().iter().any(|notice| notice.code == Code::TuningFileLeftAlone);
        checks.holds(
            &format!("records that are left of a file {what} at {at}"),
            there >= least || alone,
            || format!("{there} of {RECORDS}, {:?}", store.notices()),
        );
        // A save must not lose any of those records.
        let extra = key(checks, "damaged", "one more");
        store.insert(&extra, [("any:0".to_owned(), row(1))]);
        if let Err(error) = store.save() {
            checks.equal("the error of a save", &error.code(), &Code::TuningFileLeftAlone);
            continue;
        }
        let after = AutotuneStore::open(root, StoreOptions::default());
        let left = keys.iter().filter(|key| after.get(key).is_some()).count();
        checks.equal(&format!("records after a save of a file {what} at {at}"), &left, &there);
        checks.holds("the new record is present", after.get(&extra).is_some(), || "missing".to_owned());
    }
    Ok(())
}

fn left_alone(checks: &mut Checks<'_, '_>) -> Result<(), Error> {
    let folder = tempfile::tempdir().map_err(unexpected)?;
    let root = folder.path();
    let (first, second) = (key(checks, "alone", "first"), key(checks, "alone", "second"));
    let store = AutotuneStore::open(root, StoreOptions::default());
    store.insert(&first, [("any:0".to_owned(), row(1))]);
    store.save()?;
    let path = only_file(root)?;
    let good = std::fs::read_to_string(&path).map_err(unexpected)?;
    let huge = vec![b'#'; MAX_FILE_BYTES as usize + 1];
    let newer = good.replace("schema = 1", "schema = 2").into_bytes();
    for (what, bytes, is_alone) in [
        ("of a newer version", newer, true),
        ("over the bound", huge, true),
        ("that is empty", Vec::new(), false),
        ("of a thousand bad records", "[[record]]\nbucket = 1\n".repeat(1000).into_bytes(), false),
    ] {
        std::fs::write(&path, &bytes).map_err(unexpected)?;
        let store = AutotuneStore::open(root, StoreOptions::default());
        checks.equal(&format!("the record of a file {what}"), &store.get(&first), &None);
        store.insert(&second, [("any:0".to_owned(), row(2))]);
        let saved = store.save();
        if is_alone {
            let code = saved.err().map(|error| error.code());
            checks.equal(&format!("saving to a file {what}"), &code, &Some(Code::TuningFileLeftAlone));
            let same = std::fs::read(&path).map_err(unexpected)? == bytes;
            checks.holds(&format!("a file {what} is unchanged"), same, || "changed".to_owned());
        } else {
            checks.equal(&format!("saving to a file {what}"), &saved, &Ok(true));
            let after = AutotuneStore::open(root, StoreOptions::default());
            checks.equal("records afterwards", &after.len()?, &1);
        }
        checks.holds("the record is known in this process", store.get(&second).is_some(), || {
            "missing".to_owned()
        });
    }
    Ok(())
}
