//! Maintenance of records: counting, pruning, export and import, comparing devices.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::SystemTime;

use fulgurite_storage::Locked;

use super::load::Loaded;
use super::save::printed;
use super::{AutotuneStore, EXTENSION, FileKey, MAX_FILE_BYTES, REJECTED, file_name};
use crate::error::StoreError;
use crate::key::{AutotuneKey, DeviceKey};
use crate::measure::MeasurePolicy;
use crate::record::{AutotuneRecord, CandidateRow};
use crate::text::{self, RecordKey};

/// Options of [`AutotuneStore::prune`].
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct PruneOptions {
    /// Remove rows recorded before this time. The default is none.
    pub older_than: Option<SystemTime>,
    /// Remove records of other versions of these families, by id. The default is none.
    pub versions: BTreeMap<String, u32>,
    /// Remove records of other measurement methods. The default is none.
    pub policy: Option<String>,
    /// Remove records of all other devices and driver versions, unless empty.
    pub devices: Vec<DeviceKey>,
}

impl PruneOptions {
    /// Removes rows recorded before `time`.
    #[must_use]
    pub fn older_than(mut self, time: SystemTime) -> Self {
        self.older_than = Some(time);
        self
    }

    /// Removes records of versions of `family` other than `version`.
    #[must_use]
    pub fn version(mut self, family: impl Into<String>, version: u32) -> Self {
        self.versions.insert(family.into(), version);
        self
    }

    /// Removes records of other measurement methods: see [`MeasurePolicy::key`](crate::MeasurePolicy::key).
    #[must_use]
    pub fn policy(mut self, policy: impl Into<String>) -> Self {
        self.policy = Some(policy.into());
        self
    }

    /// Keeps records of `device` and of the devices given in other calls, and removes those of all others.
    #[must_use]
    pub fn device(mut self, device: DeviceKey) -> Self {
        self.devices.push(device);
        self
    }

    fn keeps(&self, device: &DeviceKey, family: &str, record: &RecordKey) -> bool {
        (self.devices.is_empty() || self.devices.contains(device))
            && self.versions.get(family).is_none_or(|current| *current == record.version)
            && self.policy.as_ref().is_none_or(|policy| *policy == record.policy)
    }

    fn keeps_row(&self, row: &CandidateRow) -> bool {
        let Some(oldest) = self.older_than else { return true };
        // Rows with an unreadable time count as oldest.
        humantime::parse_rfc3339(&row.recorded_at).is_ok_and(|time| time >= oldest)
    }
}

/// Result of pruning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PruneReport {
    /// Number of files rewritten or removed.
    pub files: usize,
    /// Number of records removed.
    pub records: usize,
    /// Number of rows removed, including those of removed records.
    pub rows: usize,
    /// Number of removed markers of forgotten records.
    pub forgotten: usize,
    /// Number of invalid records moved to a separate file.
    pub rejected: usize,
}

/// Result of importing records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ImportReport {
    /// Number of records merged.
    pub records: usize,
    /// Number of invalid records.
    pub rejected: usize,
}

/// The fastest rows of one problem on two devices.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordDifference {
    /// Family id.
    pub family: String,
    /// Bucket of the problem.
    pub bucket: String,
    /// Fastest row on each device, if tuned there.
    pub best: [Option<CandidateRow>; 2],
}

impl AutotuneStore {
    /// Reads all files and returns all non-empty records by key, without those of packs.
    ///
    /// # Errors
    /// `FG1102` if the folder cannot be read.
    pub fn records(&self) -> Result<BTreeMap<AutotuneKey, AutotuneRecord>, StoreError> {
        let mut all = BTreeMap::<AutotuneKey, AutotuneRecord>::new();
        let mut state = self.state();
        let mut keys: BTreeSet<FileKey> = state.files.keys().cloned().collect();
        keys.extend(self.owners()?);
        for key in keys {
            let (file, _) = self.file(&mut state, key.clone());
            let mut records = BTreeMap::new();
            if let Some(loaded) = &file.loaded {
                let (good, bad) = loaded.parse_all();
                for (_, reason) in bad {
                    self.say(&StoreError::Rejected { path: loaded.path.clone(), reason });
                }
                records = good;
            }
            for (own, record) in &file.dirty {
                records.entry(own.clone()).or_default().merge(record);
            }
            for (own, record) in records {
                all.entry(own.of_device(&key.0, &key.1)).or_default().merge(&record);
            }
        }
        all.retain(|_, record| !record.is_empty());
        Ok(all)
    }

    /// Returns the number of records, without forgotten ones.
    ///
    /// # Errors
    /// As for [`records`](Self::records).
    pub fn len(&self) -> Result<usize, StoreError> {
        Ok(self.records()?.len())
    }

    /// Returns whether there are no records.
    ///
    /// # Errors
    /// As for [`records`](Self::records).
    pub fn is_empty(&self) -> Result<bool, StoreError> {
        Ok(self.len()? == 0)
    }

    /// Returns the devices and families of the files in the folder.
    fn owners(&self) -> Result<Vec<FileKey>, StoreError> {
        let Some(root) = &self.root else { return Ok(Vec::new()) };
        let storage = &self.options.storage;
        let listed = match storage.list(root) {
            Ok(listed) => listed,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(StoreError::io("list", root, &error)),
        };
        let mut owners = Vec::new();
        for file in listed {
            let is_ours = file.is_file
                && file.name.ends_with(EXTENSION)
                && !file.name.ends_with(&format!("{REJECTED}{EXTENSION}"));
            if !is_ours {
                continue;
            }
            let path = root.join(&file.name);
            let alone = |reason: String| StoreError::LeftAlone { path: path.clone(), reason };
            match storage.read(&path, 0, MAX_FILE_BYTES) {
                Ok((bytes, _)) => match text::owner(&bytes) {
                    Some(owner) => owners.push(owner),
                    None if bytes.is_empty() => {}
                    None => self.say(&alone(String::from("no device and family stated"))),
                },
                Err(error) => self.say(&alone(format!("cannot be read: {error}"))),
            }
        }
        Ok(owners)
    }

    /// Saves, then removes what `options` select and the markers of forgotten records, and moves invalid records to a
    /// separate file.
    ///
    /// # Errors
    /// As for [`save`](Self::save), and `FG1103` if a file cannot be locked.
    pub fn prune(&self, options: &PruneOptions) -> Result<PruneReport, StoreError> {
        self.save()?;
        let Some(root) = self.root.as_deref() else { return Ok(PruneReport::default()) };
        if self.options.read_only {
            return Err(StoreError::ReadOnly);
        }
        let _turn = self.turn();
        let (mut report, mut failed) = (PruneReport::default(), None);
        for key in self.owners()?.into_iter().collect::<BTreeSet<_>>() {
            match self.prune_file(root, &key, options, &mut report) {
                // Reread the file on next use; changes since the save are kept.
                Ok(()) => drop(self.state().files.get_mut(&key).and_then(|file| file.loaded.take())),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        failed.map_or(Ok(report), Err)
    }

    fn prune_file(
        &self,
        root: &Path,
        key: &FileKey,
        options: &PruneOptions,
        report: &mut PruneReport,
    ) -> Result<(), StoreError> {
        let name = file_name(&key.0, &key.1);
        let Locked::Held(_held) = self.lock(root, &name) else {
            let reason = String::from("cannot be locked");
            return Err(StoreError::LeftAlone { path: root.join(&name), reason });
        };
        let loaded = self.load(&name);
        if let Some(reason) = loaded.alone {
            return Err(StoreError::LeftAlone { path: loaded.path, reason });
        }
        let (good, bad) = loaded.parse_all();
        let before = *report;
        let mut kept = String::new();
        for (record_key, record) in good {
            let rows = record.candidates();
            let keeps = options.keeps(&key.0, &key.1, &record_key);
            let left: BTreeMap<_, _> = rows
                .iter()
                .filter(|(_, row)| keeps && options.keeps_row(row))
                .map(|(id, row)| (id.clone(), row.clone()))
                .collect();
            report.rows += rows.len() - left.len();
            report.records += usize::from(!rows.is_empty() && left.is_empty());
            report.forgotten += usize::from(record.forgotten() > 0);
            if !left.is_empty() {
                let passed_over = record.passed_over().clone();
                let left = AutotuneRecord::new(left).with_passed_over(passed_over);
                kept += &printed(&loaded.path, &record_key, &left)?;
            }
        }
        report.rejected += bad.len();
        if *report == before && loaded.texts.len() == 1 {
            return Ok(());
        }
        report.files += 1;
        let rejected: Vec<_> = bad.into_iter().map(|(chunk, reason)| (chunk.to_vec(), reason)).collect();
        let mut text = format!("{}\n{kept}", text::head(&key.0, &key.1)).into_bytes();
        let bare = text.len();
        self.keep_rejected(root, &loaded.path, &rejected, &mut text);
        if kept.is_empty() && text.len() == bare {
            let gone = self.options.storage.remove(&loaded.path);
            gone.map_err(|error| StoreError::io("remove", &loaded.path, &error))?;
        } else {
            self.write_whole(root, &loaded.path, &text)?;
        }
        for fragment in loaded.texts.iter().filter(|text| text.path != loaded.path) {
            let _ = self.options.storage.remove(&fragment.path);
        }
        Ok(())
    }

    /// Returns the name and text of every file, including unsaved changes, for import elsewhere or for a pack.
    ///
    /// # Errors
    /// As for [`records`](Self::records).
    pub fn export(&self) -> Result<Vec<(String, String)>, StoreError> {
        let mut files = BTreeMap::<FileKey, String>::new();
        for (key, record) in self.records()? {
            let file = files
                .entry((key.device.clone(), key.family.clone()))
                .or_insert_with(|| format!("{}\n", text::head(&key.device, &key.family)));
            *file += &printed(Path::new("an export"), &RecordKey::of(&key), &record)?;
        }
        Ok(files.into_iter().map(|(key, text)| (file_name(&key.0, &key.1), text)).collect())
    }

    /// Merges the records in the text of an exported file. [`save`](Self::save) makes them persistent.
    ///
    /// # Errors
    /// `FG1103` if the text is of another version or is not a record file.
    pub fn import(&self, text: &[u8]) -> Result<ImportReport, StoreError> {
        let from = Path::new("the imported file");
        let alone = |reason: &str| StoreError::LeftAlone { path: from.to_owned(), reason: reason.to_owned() };
        if text::schema(text) != Some(text::SCHEMA) {
            return Err(alone("not a record file of this version"));
        }
        let (device, family) = text::owner(text).ok_or_else(|| alone("no device and family stated"))?;
        let loaded = Loaded::of_layer(text.to_vec());
        let (good, bad) = loaded.parse_all();
        for (_, reason) in &bad {
            self.say(&StoreError::Rejected { path: from.to_owned(), reason: reason.clone() });
        }
        let report = ImportReport { records: good.len(), rejected: bad.len() };
        let mut state = self.state();
        for (own, record) in good {
            let key = own.of_device(&device, &family);
            let mut all = self.own(&mut state, &key);
            all.merge(&record);
            self.replace(&mut state, &key, all);
        }
        Ok(report)
    }

    /// Compares the fastest rows of two devices for each problem tuned on either, with the current measurement method.
    ///
    /// # Errors
    /// As for [`records`](Self::records).
    pub fn diff(&self, left: &DeviceKey, right: &DeviceKey) -> Result<Vec<RecordDifference>, StoreError> {
        let mut found = BTreeMap::<(String, String), [Option<CandidateRow>; 2]>::new();
        let policy = MeasurePolicy::default().key();
        for (key, record) in self.records()?.into_iter().filter(|(key, _)| key.policy == policy) {
            for (side, device) in [left, right].into_iter().enumerate() {
                if key.device == *device
                    && let Some((_, best)) = record.best()
                {
                    let sides = found.entry((key.family.clone(), key.bucket.clone())).or_default();
                    sides[side] = Some(best.clone());
                }
            }
        }
        let all = found.into_iter();
        Ok(all.map(|((family, bucket), best)| RecordDifference { family, bucket, best }).collect())
    }

    /// Returns the devices with records.
    ///
    /// # Errors
    /// As for [`records`](Self::records).
    pub fn devices(&self) -> Result<Vec<DeviceKey>, StoreError> {
        let devices: BTreeSet<_> = self.records()?.into_keys().map(|key| key.device).collect();
        Ok(devices.into_iter().collect())
    }
}
