//! Checks `docs/spirv-lowering.md` against this crate: each row names existing code and an existing test, and each rule
//! test is named in a row.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// A row of the document's tables of rules.
struct Row {
    rule: String,
    code: String,
    test: String,
}

fn rows() -> Vec<Row> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/spirv-lowering.md");
    let text = fs::read_to_string(path).unwrap();
    let mut rows = Vec::new();
    // Other tables have different headings.
    let mut of_rules = false;
    for line in text.lines() {
        of_rules = line.starts_with('|') && (of_rules || line.starts_with("| rule |"));
        if !of_rules {
            continue;
        }
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [rule, why, code, test] = cells.as_slice() else { panic!("four columns: {line}") };
        if *rule == "rule" || rule.starts_with('-') {
            continue;
        }
        assert!(!why.is_empty(), "{rule}");
        let quoted = |cell: &str| cell.trim_matches('`').to_owned();
        rows.push(Row { rule: quoted(rule), code: quoted(code), test: quoted(test) });
    }
    rows
}

/// Returns the names of all tests of this program except those in this file.
fn tests() -> BTreeSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rules");
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.ends_with("document.rs") {
            continue;
        }
        let text = fs::read_to_string(path).unwrap();
        let mut lines = text.lines().peekable();
        while let Some(line) = lines.next() {
            if line == "#[test]"
                && let Some(name) =
                    lines.peek().and_then(|l| l.strip_prefix("fn ")).and_then(|l| l.split_once('('))
            {
                names.insert(name.0.to_owned());
            }
        }
    }
    names
}

#[test]
fn every_row_names_a_test_and_every_test_of_a_rule_has_a_row() {
    let named: BTreeSet<String> = rows().into_iter().map(|row| row.test).collect();
    assert!(named.len() >= 40, "{}", named.len());
    let tests = tests();
    let missing: Vec<&String> = named.difference(&tests).collect();
    let unnamed: Vec<&String> = tests.difference(&named).collect();
    assert!(missing.is_empty() && unnamed.is_empty(), "no such tests: {missing:?}; no row: {unnamed:?}");
}

#[test]
fn every_row_names_code_that_exists() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for row in rows() {
        let (file, function) =
            row.code.split_once(": ").unwrap_or_else(|| panic!("{}: {}", row.rule, row.code));
        let text = fs::read_to_string(source.join(file)).unwrap_or_else(|e| panic!("{file}: {e}"));
        let is_there = text.contains(&format!("fn {function}(")) || text.contains(&format!("fn {function}<"));
        assert!(is_there, "{}: no function `{function}` in {file}", row.rule);
    }
}
