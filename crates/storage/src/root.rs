//! The default cache folder, one per user. Its contents may be lost at any time.

use std::ffi::OsString;
use std::path::PathBuf;

use etcetera::BaseStrategy;

/// Returns the default cache folder: `FULGURITE_CACHE_DIR`, else `fulgurite` in `XDG_CACHE_HOME` on every platform,
/// else `fulgurite` in the platform's cache folder. Returns `None`, which disables persistence, if the variable in
/// effect is empty or relative or the platform has no cache folder. The path is always absolute.
pub fn default_root() -> Option<PathBuf> {
    let user_cache = etcetera::base_strategy::choose_native_strategy().ok().map(|s| s.cache_dir());
    root(|name| std::env::var_os(name), user_cache)
}

/// Implements [`default_root`] for given variables.
fn root(variable: impl Fn(&str) -> Option<OsString>, user_cache: Option<PathBuf>) -> Option<PathBuf> {
    // A set but unusable variable disables persistence; there is no fallback to another folder.
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
    fn root_is_never_relative() {
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
