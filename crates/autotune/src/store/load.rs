//! Reading record files. Nothing is parsed until requested.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::ops::Range;
use std::path::{Path, PathBuf};

use fulgurite_storage::Listed;

use super::{AutotuneStore, EXTENSION, FRAGMENT, MAX_FILE_BYTES};
use crate::error::StoreError;
use crate::record::AutotuneRecord;
use crate::text::{self, RecordKey};

/// Records by the part of their key in the file.
pub(super) type Records = BTreeMap<RecordKey, AutotuneRecord>;

/// The texts of a file and of its fragments.
#[derive(Default)]
pub(super) struct Loaded {
    /// Path of the main file.
    pub(super) path: PathBuf,
    /// Text of the main file, then of the fragments.
    pub(super) texts: Vec<Text>,
    /// The reason why the file must not be written, if there is one.
    pub(super) alone: Option<String>,
}

/// The text of one file.
pub(super) struct Text {
    pub(super) path: PathBuf,
    pub(super) bytes: Vec<u8>,
    pub(super) records: Vec<Range<usize>>,
}

impl Text {
    pub(super) fn new(path: PathBuf, bytes: Vec<u8>) -> Self {
        let records = text::records(&bytes);
        Self { path, bytes, records }
    }

    /// Iterates over the texts of the records.
    pub(super) fn chunks(&self) -> impl Iterator<Item = &[u8]> {
        self.records.iter().map(|range| &self.bytes[range.clone()])
    }
}

impl Loaded {
    pub(super) fn of_layer(bytes: Vec<u8>) -> Self {
        let path = PathBuf::from("a pack");
        Self { path: path.clone(), texts: vec![Text::new(path, bytes)], alone: None }
    }

    /// Parses all records. Returns valid ones, merged by key, and invalid ones with the reason.
    pub(super) fn parse_all(&self) -> (Records, Vec<(&[u8], String)>) {
        let (mut good, mut bad) = (Records::new(), Vec::new());
        for chunk in self.texts.iter().flat_map(Text::chunks) {
            match text::parse(chunk) {
                Ok((key, record)) => good.entry(key).or_default().merge(&record),
                Err(reason) => bad.push((chunk, reason)),
            }
        }
        (good, bad)
    }
}

impl AutotuneStore {
    /// Reads the file `name` and its fragments.
    pub(super) fn load(&self, name: &str) -> Loaded {
        let Some(root) = &self.root else { return Loaded::default() };
        let path = root.join(name);
        let mut loaded = Loaded { path: path.clone(), texts: Vec::new(), alone: None };
        match self.read(&path) {
            Ok(Some(bytes)) => {
                match text::schema(&bytes) {
                    Some(text::SCHEMA) => {}
                    Some(other) => {
                        loaded.alone = Some(format!(
                            "unsupported schema {other}; this version supports {}",
                            text::SCHEMA
                        ));
                    }
                    // A damaged head is harmless, because its contents are known.
                    None if bytes.is_empty() || !text::records(&bytes).is_empty() => {}
                    None => self.say(&StoreError::Rejected {
                        path: path.clone(),
                        reason: String::from("the file has no records"),
                    }),
                }
                if loaded.alone.is_none() {
                    loaded.texts.push(Text::new(path.clone(), bytes));
                }
            }
            Ok(None) => {}
            Err(error) if error.kind() == ErrorKind::FileTooLarge => {
                loaded.alone = Some(format!("larger than {} MiB", MAX_FILE_BYTES >> 20));
            }
            Err(error) => loaded.alone = Some(format!("cannot be read: {error}")),
        }
        if let Some(reason) = &loaded.alone {
            self.say(&StoreError::LeftAlone { path, reason: reason.clone() });
            return loaded;
        }
        for listed in self.fragments(root, name) {
            let path = root.join(&listed.name);
            if let Ok(Some(bytes)) = self.read(&path)
                && text::schema(&bytes) == Some(text::SCHEMA)
            {
                loaded.texts.push(Text::new(path, bytes));
            }
        }
        loaded
    }

    fn read(&self, path: &Path) -> std::io::Result<Option<Vec<u8>>> {
        match self.options.storage.read(path, 0, MAX_FILE_BYTES) {
            Ok((bytes, _)) => Ok(Some(bytes)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Returns the fragments of the file `name`.
    pub(super) fn fragments(&self, root: &Path, name: &str) -> Vec<Listed> {
        let stem = name.trim_end_matches(EXTENSION);
        let (before, after) = (format!("{stem}."), format!("{FRAGMENT}{EXTENSION}"));
        let mut all = self.options.storage.list(root).unwrap_or_default();
        all.retain(|file| file.is_file && file.name.starts_with(&before) && file.name.ends_with(&after));
        all
    }

    /// Merges the records of `key` in `loaded` into `all`.
    pub(super) fn find(&self, loaded: &Loaded, key: &RecordKey, all: &mut AutotuneRecord) {
        for text in &loaded.texts {
            for chunk in text.chunks().filter(|chunk| text::may_be_of(chunk, key)) {
                match text::parse(chunk) {
                    Ok((found, record)) if found == *key => all.merge(&record),
                    Ok(_) => {}
                    Err(reason) => self.say(&StoreError::Rejected { path: text.path.clone(), reason }),
                }
            }
        }
    }

    pub(super) fn say(&self, error: &StoreError) {
        self.notices.say(error.diagnostic());
    }
}
