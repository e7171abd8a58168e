//! The manifests by which the loader finds drivers and layers. A manifest that cannot be parsed makes every driver
//! fail, and the loader does not say which one it was.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// Maximum number of bytes read from a manifest; a longer manifest counts as damaged.
const MOST: u64 = 1 << 20;

/// Returns the manifests that are not valid JSON, among those that the loader finds with these environment variables.
/// Like the loader, looks into each folder but not its subfolders.
pub(crate) fn damaged(variable: impl Fn(&str) -> Option<OsString>) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let named = ["VK_DRIVER_FILES", "VK_ICD_FILENAMES"].into_iter().find_map(&variable);
    let drivers_are_named = named.is_some();
    for path in named.iter().flat_map(std::env::split_paths) {
        if path.is_dir() { files.extend(manifests_in(&path)) } else { files.push(path) }
    }
    let folders = [("XDG_CONFIG_HOME", ".config"), ("XDG_DATA_HOME", ".local/share")];
    let home = variable("HOME").map(PathBuf::from);
    let own = folders.into_iter().filter_map(|(name, below)| {
        variable(name).map(PathBuf::from).or_else(|| home.as_ref().map(|home| home.join(below)))
    });
    let shared = ["/usr/local/etc", "/etc", "/usr/local/share", "/usr/share"].map(PathBuf::from);
    for folder in own.chain(shared) {
        let kinds = ["icd.d", "implicit_layer.d", "explicit_layer.d"];
        for kind in kinds.into_iter().filter(|kind| *kind != "icd.d" || !drivers_are_named) {
            files.extend(manifests_in(&folder.join("vulkan").join(kind)));
        }
    }
    files.retain(|file| is_damaged(file));
    files
}

/// Returns the manifests of a folder, sorted by name.
fn manifests_in(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    files
}

/// Returns whether a file exists and is not valid JSON. False if it cannot be opened, because the loader skips such
/// files.
fn is_damaged(file: &Path) -> bool {
    if !file.is_file() {
        return false;
    }
    let mut text = Vec::new();
    match File::open(file).and_then(|file| file.take(MOST).read_to_end(&mut text)) {
        Ok(_) => serde_json::from_slice::<serde_json::Value>(&text).is_err(),
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_json_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("good.json"), "{\"file_format_version\": \"1.0.0\"}").unwrap();
        fs::write(path("cut.json"), "{\"file_format_version\": \"1.").unwrap();
        fs::write(path("empty.json"), "").unwrap();
        fs::write(path("notes.txt"), "not looked at").unwrap();
        let named = |files: &[&str]| {
            let joined = std::env::join_paths(files.iter().map(|file| path(file))).unwrap();
            damaged(|name| (name == "VK_DRIVER_FILES").then(|| joined.clone()))
                .into_iter()
                .filter(|file| file.starts_with(folder.path()))
                .collect::<Vec<_>>()
        };
        assert_eq!(named(&["good.json", "cut.json", "missing.json"]), [path("cut.json")]);
        assert_eq!(named(&[""]), [path("cut.json"), path("empty.json")]);
        let home = folder.path().to_owned();
        fs::create_dir_all(home.join(".local/share/vulkan/icd.d")).unwrap();
        fs::write(home.join(".local/share/vulkan/icd.d/cut.json"), "{").unwrap();
        let found = damaged(|name| (name == "HOME").then(|| home.clone().into_os_string()));
        assert!(found.contains(&home.join(".local/share/vulkan/icd.d/cut.json")), "{found:?}");
    }
}
