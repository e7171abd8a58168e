//! Processes that save records to one folder while one of them is killed.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use fulgurite_autotune::{AutotuneStore, DeviceKey, StoreOptions};
use fulgurite_hal::Error;
use fulgurite_spec::Code;

use super::damage::{key_of, row};
use super::{planted, unexpected};
use crate::Level;
use crate::suites::checks::{Checks, Part};

pub(super) const PARTS: &[(&str, Part)] = &[("two processes save, and one is killed", killed)];

/// The family of all their records, which therefore share a file.
const FAMILY: &str = "saved";

/// Saves `count` records one by one, and logs each after it was saved.
pub(super) fn save(root: &Path, journal: &Path, name: &str, count: &str) -> Result<(), String> {
    let count: u64 = count.parse().map_err(|_| "not a count".to_owned())?;
    let journal = OpenOptions::new().append(true).create(true).open(journal);
    let mut journal = journal.map_err(|error| format!("journal: {error}"))?;
    let device = DeviceKey::of(planted::reference().snapshot());
    let store = AutotuneStore::open(root, StoreOptions::default());
    for number in 0..count {
        let bucket = format!("{name} {number}");
        store.insert(&key_of(&device, FAMILY, &bucket), [(format!("any:{name}"), row(number))]);
        store.save().map_err(|error| error.to_string())?;
        writeln!(journal, "{bucket}").map_err(|error| format!("journal: {error}"))?;
    }
    Ok(())
}

fn killed(checks: &mut Checks<'_, '_>) -> Result<(), Error> {
    let Some(worker) = checks.worker() else { return Ok(()) };
    let (rounds, count) = match checks.harness.level() {
        Level::Smoke => (2, 40),
        Level::Full => (20, 500),
    };
    let device = DeviceKey::of(planted::reference().snapshot());
    let mut random = checks.random();
    let (mut kills, mut looks, mut all_saved) = (0, 0, 0);
    for round in 0..rounds {
        let folder = tempfile::tempdir().map_err(unexpected)?;
        let root = folder.path().join("autotune");
        let start = |name: &str| {
            let (root, journal) =
                (root.display().to_string(), folder.path().join(name).display().to_string());
            worker.start(&["tune-save", &root, &journal, name, &count.to_string()]).map_err(unexpected)
        };
        let (mut doomed, mut other) = (start("doomed")?, start("other")?);
        // The process is killed once it has logged this many records.
        let enough = random.below(count as u32 * 3 / 4) as usize;
        let noted =
            || std::fs::read_to_string(folder.path().join("doomed")).map_or(0, |all| all.lines().count());
        let begun = std::time::Instant::now();
        let mut is_dead = false;
        let status = loop {
            // A concurrent reader finds complete files only.
            let store = AutotuneStore::open(&root, StoreOptions::default().read_only());
            store.records()?;
            let bad = store.notices();
            looks += 1;
            checks
                .holds("a file parses at every moment", bad.is_empty(), || format!("round {round}: {bad:?}"));
            if !is_dead && noted() >= enough {
                is_dead = true;
                kills += u32::from(matches!(doomed.try_wait(), Ok(None)));
                doomed.kill().map_err(unexpected)?;
                doomed.wait().map_err(unexpected)?;
            }
            if let Some(status) = other.try_wait().map_err(unexpected)? {
                break status;
            }
            if begun.elapsed() > Duration::from_secs(120) {
                other.kill().map_err(unexpected)?;
                break other.wait().map_err(unexpected)?;
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        let _ = doomed.kill();
        let _ = doomed.wait();
        checks.holds("the process that was not killed succeeds", status.success(), || format!("{status}"));
        let store = AutotuneStore::open(&root, StoreOptions::default());
        let mut saved = 0;
        for name in ["doomed", "other"] {
            let text = std::fs::read_to_string(folder.path().join(name)).unwrap_or_default();
            // The last line may be truncated.
            let whole = text.rfind('\n').map_or("", |end| &text[..end]);
            for bucket in whole.lines() {
                saved += 1;
                let found = store.get(&key_of(&device, FAMILY, bucket)).is_some();
                checks.holds("a saved record is present", found, || format!("round {round}: {bucket}"));
            }
        }
        all_saved += saved;
        let bad = store.notices().iter().filter(|notice| notice.code == Code::TuningRecordRejected).count();
        checks.equal("unusable records", &bad, &0);
    }
    checks.harness.note(format!(
        "{rounds} rounds of 2 processes x {count} records: {kills} killed, {all_saved} records saved and found, the file read {looks} times meanwhile"
    ));
    Ok(())
}
