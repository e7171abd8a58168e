//! Where Fulgurite keeps what it may lose: one folder for each user.

use std::ffi::OsString;
use std::path::PathBuf;

use etcetera::BaseStrategy;

/// The folder: `FULGURITE_CACHE_DIR`, else `fulgurite` in `XDG_CACHE_HOME` on every system, else `fulgurite` in the
/// platform's cache folder. `None` if what is set is empty or relative, or if there is no such folder: then nothing is
/// kept. Never below the working directory.
pub fn default_root() -> Option<PathBuf> {
    let user_cache = etcetera::base_strategy::choose_native_strategy().ok().map(|s| s.cache_dir());
    root(|name| std::env::var_os(name), user_cache)
}

/// [`default_root`] on given variables.
fn root(variable: impl Fn(&str) -> Option<OsString>, user_cache: Option<PathBuf>) -> Option<PathBuf> {
    // A variable that is set but unusable turns keeping off: it never falls through to another folder.
    let root = match variable("FULGURITE_CACHE_DIR") {
        Some(path) => Some(PathBuf::from(path)),
        None => match variable("XDG_CACHE_HOME") {
            Some(path) => Some(PathBuf::from(path)).filter(|p| p.is_absolute()).map(|p| p.join("fulgurite")),
            None => user_cache.map(|path| path.join("fulgurite")),
        },
    };
    root.filter(|path| path.is_absolute())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(unix)]
    fn the_root_is_never_relative() {
        let found = |variables: &[(&str, &str)]| {
            let variable = |name: &str| {
                variables.iter().find(|(n, _)| *n == name).map(|(_, value)| OsString::from(value))
            };
            root(variable, Some(PathBuf::from("/home/someone/.cache")))
        };
        assert_eq!(found(&[]), Some("/home/someone/.cache/fulgurite".into()));
        assert_eq!(found(&[("XDG_CACHE_HOME", "/x")]), Some("/x/fulgurite".into()));
        let both = [("FULGURITE_CACHE_DIR", "/f"), ("XDG_CACHE_HOME", "/x")];
        assert_eq!(found(&both), Some("/f".into()));
        for unusable in ["", "here", "../there"] {
            assert_eq!(found(&[("FULGURITE_CACHE_DIR", unusable), ("XDG_CACHE_HOME", "/x")]), None);
            assert_eq!(found(&[("XDG_CACHE_HOME", unusable)]), None);
        }
    }
}
