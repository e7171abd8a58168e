//! Writing record files without losing records of other processes: under a lock, merged with the disk, and atomically.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

use fulgurite_storage::{Locked, Missing, lock_within, replace_durably, unique_name};

use super::load::{Loaded, Records, Text};
use super::{AutotuneStore, EXTENSION, FRAGMENT, FileKey, REJECTED, file_name};
use crate::error::StoreError;
use crate::record::AutotuneRecord;
use crate::text::{self, RecordKey};

/// Prefix of temporary files.
const TEMPORARY: &str = ".tmp-";
/// Maximum size in bytes of a file of invalid records.
const MAX_REJECTED_BYTES: u64 = 8 << 20;

impl AutotuneStore {
    /// Saves changes. Returns false, without touching the disk, if there are none: see [`is_dirty`](Self::is_dirty).
    /// Changes that cannot be saved stay unsaved. A store in memory only clears its changes.
    ///
    /// # Errors
    /// The first of: `FG1102` if the disk fails or the store is read-only, `FG1103` if a file is left unchanged. Other
    /// files are saved nevertheless.
    pub fn save(&self) -> Result<bool, StoreError> {
        let _turn = self.turn();
        let Some(root) = self.root.as_deref() else {
            let mut state = self.state();
            let changed = state.files.values_mut().map(|file| std::mem::take(&mut file.is_changed));
            return Ok(changed.fold(false, |any, changed| any | changed));
        };
        let dirty: Vec<(FileKey, Records)> = {
            let state = self.state();
            let dirty = state.files.iter().filter(|(_, file)| !file.dirty.is_empty());
            dirty.map(|(key, file)| (key.clone(), file.dirty.clone())).collect()
        };
        if dirty.is_empty() {
            return Ok(false);
        }
        if self.options.read_only {
            return Err(StoreError::ReadOnly);
        }
        self.prepare(root)?;
        let (mut saved, mut failed) = (false, None);
        for (key, records) in dirty {
            match self.save_file(root, &key, &records) {
                Ok(loaded) => {
                    let mut state = self.state();
                    let file = state.files.entry(key).or_default();
                    file.loaded = Some(loaded);
                    // Changes made since are still unsaved.
                    file.dirty.retain(|key, record| records.get(key) != Some(record));
                    saved = true;
                }
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        match failed {
            None => Ok(saved),
            Some(error) => Err(error),
        }
    }

    /// Creates the folder and its parents, and checks that it is trusted.
    pub(super) fn prepare(&self, root: &Path) -> Result<(), StoreError> {
        let storage = &self.options.storage;
        let io = |what| move |error: std::io::Error| StoreError::io(what, root, &error);
        storage.create_dir(root).map_err(io("create"))?;
        match storage.distrust(root).map_err(io("inspect"))? {
            None => Ok(()),
            Some(reason) => Err(StoreError::Refused { path: root.to_owned(), reason }),
        }
    }

    fn save_file(&self, root: &Path, key: &FileKey, dirty: &Records) -> Result<Loaded, StoreError> {
        let name = file_name(&key.0, &key.1);
        match self.lock(root, &name) {
            Locked::Held(_held) => {
                self.collect_temporaries(root);
                let loaded = self.load(&name);
                if let Some(reason) = loaded.alone {
                    return Err(StoreError::LeftAlone { path: loaded.path, reason });
                }
                self.rewrite(root, key, loaded, dirty)
            }
            // Without the lock, write a separate file, which the next save with a lock merges.
            Locked::Late | Locked::Unanswered | Locked::Unusable(_) => {
                let stem = name.trim_end_matches(EXTENSION);
                let path = unique_name(root, &format!("{stem}."), &format!("{FRAGMENT}{EXTENSION}"));
                let mut text = text::head(&key.0, &key.1).into_bytes();
                text.push(b'\n');
                for (record, rows) in dirty {
                    text.extend(printed(&path, record, rows)?.into_bytes());
                }
                self.write_whole(root, &path, &text)?;
                Ok(self.load(&name))
            }
        }
    }

    pub(super) fn lock(&self, root: &Path, name: &str) -> Locked {
        let path = root.join(format!("{}.lock", name.trim_end_matches(EXTENSION)));
        lock_within(&self.options.storage, &path, self.options.lock_deadline, Missing::Create)
    }

    /// Rewrites the file with `changed` merged in, and removes its merged fragments. The lock is held.
    fn rewrite(
        &self,
        root: &Path,
        key: &FileKey,
        loaded: Loaded,
        changed: &Records,
    ) -> Result<Loaded, StoreError> {
        let path = loaded.path.clone();
        let mut text = text::head(&key.0, &key.1).into_bytes();
        text.push(b'\n');
        let mut rejected = Vec::new();
        let mut left: BTreeMap<&RecordKey, AutotuneRecord> =
            changed.iter().map(|(key, record)| (key, record.clone())).collect();
        let mut of_fragments = Records::new();
        for fragment in loaded.texts.iter().filter(|text| text.path != path) {
            for chunk in fragment.chunks() {
                match text::parse(chunk) {
                    Ok((key, record)) => of_fragments.entry(key).or_default().merge(&record),
                    Err(reason) => rejected.push((chunk.to_vec(), reason)),
                }
            }
        }
        for (key, record) in &of_fragments {
            left.entry(key).or_default().merge(record);
        }
        for chunk in loaded.texts.iter().filter(|text| text.path == path).flat_map(Text::chunks) {
            // Parsing is slow, so chunks that cannot have changed are copied, even if they are invalid.
            let parsed = match looks_damaged(chunk) || left.keys().any(|key| text::may_be_of(chunk, key)) {
                true => text::parse(chunk).map(Some),
                false => Ok(None),
            };
            match parsed {
                Ok(Some((key, record))) if left.contains_key(&key) => {
                    if let Some(newer) = left.get_mut(&key) {
                        newer.merge(&record);
                    }
                }
                Ok(_) => {
                    text.extend_from_slice(chunk);
                    // A chunk cut after its last letter is complete, but needs a line break.
                    if !chunk.ends_with(b"\n") {
                        text.push(b'\n');
                    }
                }
                Err(reason) => rejected.push((chunk.to_vec(), reason)),
            }
        }
        for (key, record) in left {
            text.extend(printed(&path, key, &record)?.into_bytes());
        }
        self.keep_rejected(root, &path, &rejected, &mut text);
        self.write_whole(root, &path, &text)?;
        for fragment in loaded.texts.iter().filter(|text| text.path != path) {
            // Its contents are durable in the main file; merging them again would change nothing.
            let _ = self.options.storage.remove(&fragment.path);
        }
        Ok(Loaded { texts: vec![Text::new(path.clone(), text)], path, alone: None })
    }

    /// Replaces a file atomically, also across a crash.
    pub(super) fn write_whole(&self, root: &Path, path: &Path, text: &[u8]) -> Result<(), StoreError> {
        let storage = &self.options.storage;
        if text.len() as u64 > super::MAX_FILE_BYTES {
            let reason = format!("it would exceed {} MiB: prune it", super::MAX_FILE_BYTES >> 20);
            return Err(StoreError::LeftAlone { path: path.to_owned(), reason });
        }
        replace_durably(&**storage, &unique_name(root, TEMPORARY, ""), path, text)
            .map_err(|error| StoreError::io("replace", path, &error))
    }

    /// Appends invalid records to a separate file. If that fails, they go back to the end of `text`, so that nothing is
    /// lost.
    pub(super) fn keep_rejected(
        &self,
        root: &Path,
        path: &Path,
        rejected: &[(Vec<u8>, String)],
        text: &mut Vec<u8>,
    ) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let aside = root.join(format!("{}{REJECTED}{EXTENSION}", name.trim_end_matches(EXTENSION)));
        let known = self.options.storage.info(&aside).map_or(0, |info| info.bytes);
        let (mut put, mut stays) = (Vec::new(), Vec::new());
        for (chunk, reason) in rejected {
            self.say(&StoreError::Rejected { path: path.to_owned(), reason: reason.clone() });
            put.extend_from_slice(format!("# {}\n", reason.replace(['\n', '\r'], " ")).as_bytes());
            for to in [&mut put, &mut stays] {
                to.extend_from_slice(chunk);
                if to.last() != Some(&b'\n') {
                    to.push(b'\n');
                }
            }
        }
        let has_room = known + put.len() as u64 <= MAX_REJECTED_BYTES;
        let is_kept = put.is_empty() || (has_room && self.options.storage.append(&aside, &put).is_ok());
        if !is_kept {
            text.extend_from_slice(&stays);
        }
    }

    /// Removes temporary files of dead processes.
    fn collect_temporaries(&self, root: &Path) {
        let storage = &self.options.storage;
        for file in storage.list(root).unwrap_or_default() {
            let path = root.join(&file.name);
            if file.is_file && file.name.starts_with(TEMPORARY) {
                // The writer holds a lock.
                match storage.try_lock(&path, Missing::Refuse) {
                    Ok(Some(_held)) => drop(storage.remove(&path)),
                    Ok(None) => {}
                    Err(error) if error.kind() == ErrorKind::NotFound => {}
                    Err(_) => {}
                }
            }
        }
    }
}

/// Returns whether a record is evidently truncated or overwritten, without parsing it.
fn looks_damaged(chunk: &[u8]) -> bool {
    std::str::from_utf8(chunk).is_err() || !chunk.ends_with(b"\n") || memchr::memchr(0, chunk).is_some()
}

pub(super) fn printed(path: &Path, key: &RecordKey, record: &AutotuneRecord) -> Result<String, StoreError> {
    text::print(key, record).map_err(|reason| StoreError::Rejected { path: path.to_owned(), reason })
}
