//! The suites on this backend, unchanged, by the command line that a user's CI runs.
#![allow(clippy::unwrap_used, reason = "this is a test")]

use std::process::Command;

use fulgurite_conformance::Report;

fn run(suite: &str) {
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("report.json");
    let mut command = Command::new(env!("CARGO_BIN_EXE_third-party-backend"));
    command.args(["--backend", third_party_backend::ID, "--suite", suite, "--json"]).arg(&json);
    let output = command.env_remove("FULGURITE_REQUIRE_BACKENDS").output().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{printed}{}", String::from_utf8_lossy(&output.stderr));
    assert!(printed.contains(" passed, 0 failed"), "{printed}");
    let report = Report::from_json(&std::fs::read_to_string(&json).unwrap()).unwrap();
    assert_eq!(report.backends.len(), 1);
    let backend = &report.backends[0];
    assert_eq!(backend.id, third_party_backend::ID);
    assert_eq!(backend.suites.iter().map(|suite| suite.name.as_str()).collect::<Vec<_>>(), [suite]);
    assert_eq!(backend.suites.iter().map(|suite| suite.unsupported).sum::<u64>(), 0);
    assert!(backend.cases() > 500, "{} cases", backend.cases());
}

#[test]
fn driver() {
    run("driver");
}

#[test]
fn memory() {
    run("memory");
}

#[test]
fn ops() {
    run("ops");
}

#[test]
fn tune() {
    run("tune");
}

#[test]
fn a_suite_that_there_is_not() {
    let output = Command::new(env!("CARGO_BIN_EXE_third-party-backend"))
        .args(["--suite", "nothing"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("error[FG0704]"));
}
