//! Detected quirks on disk: one small JSON file per device and driver version. A lost or damaged file only costs
//! another probe. A checksum detects files that parse but were not written by this module.

use std::io;
use std::path::{Path, PathBuf};

use fulgurite_spirv::{CODEGEN_VERSION, Rules};
use fulgurite_storage::{FileSystem, read_whole, replace_whole};
use serde::{Deserialize, Serialize};

use crate::plan::DriverQuirks;
use crate::snapshot::PhysicalSnapshot;

/// Version of the format and of the probes; files of another version are ignored, and their devices probed again.
const SCHEMA: u32 = 8;
/// Maximum size of a file in bytes.
const MAX_BYTES: u64 = 16 << 10;

/// The contents of a file.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sealed {
    record: Record,
    /// The BLAKE3 hash of the record as compact JSON, in hexadecimal.
    blake3: String,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    schema: u32,
    subject: Subject,
    loop_limit: Option<u32>,
    /// The names of rules.
    misfolds: Vec<String>,
    scrambles_lanes: bool,
    waits_at_fences: bool,
}

/// The subject of a probe.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Subject {
    device: String,
    vendor_id: u32,
    device_id: u32,
    driver: String,
    driver_version: u32,
    /// The version of code generation: a quirk may affect some emitted words and not others.
    codegen: u32,
}

impl Subject {
    fn of(snapshot: &PhysicalSnapshot) -> Self {
        Self {
            device: snapshot.name.clone(),
            vendor_id: snapshot.vendor_id,
            device_id: snapshot.device_id,
            driver: snapshot.driver(),
            driver_version: snapshot.driver_version,
            codegen: CODEGEN_VERSION,
        }
    }
}

impl Record {
    fn checksum(&self) -> serde_json::Result<String> {
        Ok(blake3::hash(&serde_json::to_vec(self)?).to_hex().to_string())
    }
}

/// Loads the quirks of `snapshot`, if there is a valid file for it.
pub(super) fn load(directory: &Path, snapshot: &PhysicalSnapshot) -> Option<DriverQuirks> {
    let subject = Subject::of(snapshot);
    // A file that others may have written is ignored.
    let bytes = read_whole(&FileSystem::shared(), &path(directory, &subject)?, MAX_BYTES).ok()??;
    let Sealed { record, blake3 } = serde_json::from_slice(&bytes).ok()?;
    let whole = record.checksum().is_ok_and(|checksum| checksum == blake3);
    let good = whole && record.schema == SCHEMA && record.subject == subject && record.loop_limit != Some(0);
    let Record { loop_limit, misfolds, scrambles_lanes, waits_at_fences, .. } = record;
    let misfolds = Rules::named(misfolds.iter().map(String::as_str)).ok()?;
    good.then_some(DriverQuirks { loop_limit, misfolds, scrambles_lanes, waits_at_fences })
}

/// Stores `quirks`, atomically.
pub(super) fn save(directory: &Path, snapshot: &PhysicalSnapshot, quirks: DriverQuirks) -> io::Result<()> {
    let subject = Subject::of(snapshot);
    let path = path(directory, &subject).ok_or(io::ErrorKind::InvalidInput)?;
    let DriverQuirks { loop_limit, misfolds, scrambles_lanes, waits_at_fences } = quirks;
    let misfolds = misfolds.names().map(str::to_owned).collect();
    let record = Record { schema: SCHEMA, subject, loop_limit, misfolds, scrambles_lanes, waits_at_fences };
    let blake3 = record.checksum()?;
    let text = serde_json::to_vec_pretty(&Sealed { record, blake3 })?;
    replace_whole(&FileSystem::shared(), &path, &text)
}

fn path(directory: &Path, subject: &Subject) -> Option<PathBuf> {
    let digest = blake3::hash(&serde_json::to_vec(subject).ok()?).to_hex();
    Some(directory.join(format!("vulkan-{}.json", &digest[..16])))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::snapshot::sample::{discrete, lavapipe};

    const LIMITED: DriverQuirks = DriverQuirks {
        loop_limit: Some(65_535),
        misfolds: Rules { zeros: true, ..Rules::NONE },
        scrambles_lanes: false,
        waits_at_fences: true,
    };

    fn files(directory: &Path) -> Vec<PathBuf> {
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect()
    }

    #[test]
    fn quirks_are_kept_by_device_and_driver_version() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().join("a").join("probes");
        assert_eq!(load(&directory, &lavapipe()), None);
        save(&directory, &lavapipe(), LIMITED).unwrap();
        save(&directory, &discrete(), DriverQuirks::default()).unwrap();
        assert_eq!(load(&directory, &lavapipe()), Some(LIMITED));
        assert_eq!(load(&directory, &discrete()), Some(DriverQuirks::default()));
        let mut newer = lavapipe();
        newer.driver_version += 1;
        assert_eq!(load(&directory, &newer), None);
        save(&directory, &lavapipe(), DriverQuirks::default()).unwrap();
        assert_eq!(load(&directory, &lavapipe()), Some(DriverQuirks::default()));
        assert_eq!(files(&directory).len(), 2, "no temporary file is left");
    }

    #[test]
    fn a_bad_file_is_as_good_as_none() {
        let folder = tempfile::tempdir().unwrap();
        save(folder.path(), &lavapipe(), LIMITED).unwrap();
        let path = files(folder.path()).remove(0);
        let good = fs::read_to_string(&path).unwrap();
        let bad = [
            String::new(),
            good[..good.len() / 2].to_owned(),
            good.replace(&format!("\"schema\": {SCHEMA}"), "\"schema\": 5"),
            good.replace("65535", "0"),
            good.replace("65535", "-1"),
            // These parse and are plausible, but were never written.
            good.replace("65535", "65534"),
            good.replace("65535", "null"),
            good.replace("\"zeros\"", "\"signs\""),
            good.replace("\"zeros\"", "\"nothing\""),
            good.replace("\"blake3\": \"", "\"blake3\": \"0"),
            good.replace("llvmpipe (LLVM", "llvmpipe (LLVN"),
            good.replace("\"schema\"", "\"more\": 1, \"schema\""),
            format!("{good}{}", " ".repeat(MAX_BYTES as usize)),
        ];
        for text in bad {
            assert_ne!(text, good);
            fs::write(&path, &text).unwrap();
            assert_eq!(load(folder.path(), &lavapipe()), None, "{text}");
        }
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert_eq!(load(folder.path(), &lavapipe()), None);
        assert!(save(folder.path(), &lavapipe(), LIMITED).is_err());
        assert_eq!(files(folder.path()), [path], "no temporary file is left");
    }

    #[test]
    fn a_record_of_another_schema_subject_or_limit_is_no_good_however_well_sealed() {
        let folder = tempfile::tempdir().unwrap();
        let subject = || Subject::of(&lavapipe());
        let path = path(folder.path(), &subject()).unwrap();
        let put = |record: Record| {
            let blake3 = record.checksum().unwrap();
            fs::write(&path, serde_json::to_vec(&Sealed { record, blake3 }).unwrap()).unwrap();
            load(folder.path(), &lavapipe())
        };
        let good = || Record {
            schema: SCHEMA,
            subject: subject(),
            loop_limit: Some(65_535),
            misfolds: vec!["zeros".to_owned()],
            scrambles_lanes: false,
            waits_at_fences: true,
        };
        assert_eq!(put(good()), Some(LIMITED));
        assert_eq!(put(Record { schema: SCHEMA - 1, ..good() }), None);
        assert_eq!(put(Record { loop_limit: Some(0), ..good() }), None);
        assert_eq!(put(Record { misfolds: vec!["nothing".to_owned()], ..good() }), None);
        assert_eq!(put(Record { subject: Subject { driver_version: 0, ..subject() }, ..good() }), None);
        assert_eq!(
            put(Record { subject: Subject { codegen: CODEGEN_VERSION + 1, ..subject() }, ..good() }),
            None
        );
        let other = Subject { codegen: CODEGEN_VERSION + 1, ..subject() };
        assert_ne!(super::path(folder.path(), &other), Some(path), "each version has a file of its own");
    }

    /// A file of verdicts that another user could have planted, however well sealed, is ignored.
    #[cfg(unix)]
    #[test]
    fn files_that_others_can_plant_are_ignored() {
        use std::os::unix::fs::{PermissionsExt as _, symlink};

        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().join("probes");
        save(&directory, &lavapipe(), LIMITED).unwrap();
        let path = files(&directory).remove(0);
        let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        let is = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((is(&directory), is(&path)), (0o700, 0o600));
        let kept = || load(&directory, &lavapipe());
        for (what, own, shared) in [
            (&path, 0o600, 0o620),
            (&path, 0o600, 0o602),
            (&directory, 0o700, 0o720),
            (&directory, 0o700, 0o702),
        ] {
            mode(what, shared);
            assert_eq!(kept(), None, "{} with mode {shared:o}", what.display());
            let saved = save(&directory, &lavapipe(), DriverQuirks::default());
            assert_eq!(saved.unwrap_err().kind(), io::ErrorKind::PermissionDenied);
            mode(what, own);
            assert_eq!(kept(), Some(LIMITED));
        }
        // The same contents, reached by a link in place of the file, and in place of the folder.
        let moved = folder.path().join("moved");
        fs::rename(&path, &moved).unwrap();
        symlink(&moved, &path).unwrap();
        assert_eq!(kept(), None);
        fs::remove_file(&path).unwrap();
        fs::rename(&moved, &path).unwrap();
        fs::rename(&directory, &moved).unwrap();
        symlink(&moved, &directory).unwrap();
        assert_eq!(kept(), None);
        assert!(save(&directory, &lavapipe(), LIMITED).is_err());
        assert_eq!(load(&moved, &lavapipe()), Some(LIMITED));
        // A pipe without a writer must not block.
        fs::remove_file(&directory).unwrap();
        fs::rename(&moved, &directory).unwrap();
        fs::remove_file(&path).unwrap();
        let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
        assert!(made.success());
        assert_eq!(kept(), None);
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_an_error_of_saving_only() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(save(&file.join("probes"), &lavapipe(), LIMITED).is_err());
        assert_eq!(load(&file.join("probes"), &lavapipe()), None);
    }
}
