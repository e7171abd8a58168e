//! The rule that a test provokes every diagnostic code.

use std::path::Path;

use fulgurite::Code;

/// Folders that contain tests and suites.
const FOLDERS: &[&str] = &["crates", "examples", "xtask"];

/// Returns the codes that no test names.
pub(super) fn untested(root: &Path) -> anyhow::Result<Vec<String>> {
    let mut tests = String::new();
    for path in super::walk(root, FOLDERS, &["target"])? {
        // Files that are not text contain no tests.
        if let Ok(text) = std::fs::read_to_string(&path) {
            tests.push_str(tested(&path, &text));
            tests.push('\n');
        }
    }
    let named = |code: &Code| {
        let name = format!("Code::{code:?}");
        let whole = |(at, _): (usize, &str)| {
            !tests[at + name.len()..].starts_with(|c: char| c.is_alphanumeric() || c == '_')
        };
        tests.contains(&code.to_string()) || tests.match_indices(&name).any(whole)
    };
    let missing = Code::ALL.iter().filter(|code| !named(code));
    Ok(missing.map(|code| format!("no test provokes {code} (`Code::{code:?}`)")).collect())
}

/// Returns the part of a file that is a test, a suite or a test kernel.
fn tested<'t>(path: &Path, text: &'t str) -> &'t str {
    let within = |name: &str| path.components().any(|part| part.as_os_str() == name);
    let extension = path.extension().and_then(|e| e.to_str());
    match extension {
        Some("fg") => text,
        Some("rs") if within("tests") || within("suites") || path.ends_with("tests.rs") => text,
        Some("rs") => text.find("#[cfg(test)]").map_or("", |at| &text[at..]),
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_test_names_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("crates/ir/src/lib.rs");
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        // Assembled from parts, so that this test does not itself name the codes.
        let (trap, graph) = (format!("Code::{}", "Trap"), format!("FG0{}", 511));
        std::fs::write(&file, format!("{trap}\n#[cfg(test)]\nmod tests {{ {graph} }}\n")).unwrap();
        let missing = untested(folder.path()).unwrap();
        assert_eq!(missing.len(), Code::ALL.len() - 1);
        assert!(missing.iter().any(|line| line.contains(&trap)));
    }
}
