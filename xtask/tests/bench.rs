//! `xtask bench` as a separate program, in a folder outside of the source tree.
#![forbid(unsafe_code)]

use std::path::Path;
use std::process::{Command, Output};

fn bench(folder: &Path, args: &[&str]) -> std::io::Result<Output> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.arg("bench").args(args).current_dir(folder).env("FULGURITE_CACHE_DIR", folder.join("cache"));
    command.output()
}

#[test]
fn processes_are_started_and_nothing_is_drawn_where_nobody_looks() {
    let folder = tempfile::tempdir().unwrap();
    let output =
        bench(folder.path(), &["--quick", "--suite", "start", "--backend", "cpu", "--json", "out.json"])
            .unwrap();
    let [said, told] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    assert!(output.status.success() && told.is_empty(), "{said}{told}");
    let text = std::fs::read_to_string(folder.path().join("out.json")).unwrap();
    let report: serde_json::Value = serde_json::from_str(&text).unwrap();
    let results = report["results"].as_array().unwrap();
    assert_eq!(results.len(), 2, "{text}");
    for result in results {
        assert_eq!(result["peer"], "empty process");
        let [value, peer, ratio] = ["value", "peer_value", "ratio"].map(|key| result[key].as_f64().unwrap());
        assert!((ratio - peer / value).abs() < 1e-9 * ratio, "{result}");
    }
}

#[test]
fn a_backend_that_is_named_must_be_there() {
    let folder = tempfile::tempdir().unwrap();
    let output = bench(folder.path(), &["--quick", "--suite", "launch", "--backend", "nothing"]).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("FG0401"));
}
