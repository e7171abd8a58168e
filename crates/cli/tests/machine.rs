//! Tests `fulgurite devices`, `doctor`, `calibrate`, `tune`, `cache` and `conformance` as programs.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking and prints what it skips"
)]

mod common;

use std::collections::BTreeSet;

use common::{ADD, BAD, Folder, Ran, ids};
use fulgurite_backend_cpu::CpuOptions;
use serde_json::{Value, json};

fn check<'j>(json: &'j Value, name: &str) -> &'j Value {
    let checks = json["checks"].as_array().unwrap();
    checks.iter().find(|check| check["name"] == name).unwrap_or_else(|| panic!("no `{name}` in {json}"))
}

#[test]
fn devices_are_listed_with_reasons() {
    let folder = Folder::new(&[]);
    let ran = folder.run(&["devices"]);
    ran.expect(0, &["vulkan: not available: ", "mesa-vulkan-drivers", "cpu: ", "reference: interpreter"]);
    let json = folder.run(&["devices", "--json"]).expect(0, &[]).json();
    let [cpu, reference] = [0, 1].map(|at| &json["devices"][at]);
    let vulkan = &json["unavailable"][0];
    assert_eq!(vulkan["backend"], "vulkan");
    // The loader or a driver is missing.
    assert!(vulkan["code"].as_str().is_some_and(|code| code.starts_with("FG041")), "{vulkan}");
    let lanes = CpuOptions::from_env().unwrap().native.subgroup_size();
    assert_eq!((&cpu["id"], &cpu["limits"]["subgroup_size"]), (&json!("cpu"), &json!(lanes)));
    assert_eq!((&cpu["kind"], &cpu["memory_bytes"]), (&json!("cpu"), &json!(null)));
    assert_eq!((&reference["rank"], &reference["matrices"]), (&json!(1), &json!("any")));
    // The default is the device that a run without a name uses.
    folder.run(&["devices"]).expect(0, &[" (default)\n"]);
    let is_default = |device: &Value| (device["id"].clone(), device["is_default"].clone());
    let flags: Vec<_> = json["devices"].as_array().unwrap().iter().map(is_default).collect();
    assert_eq!(flags, [(json!("cpu"), json!(true)), (json!("reference"), json!(false))]);
    if let Some(ran) = folder.run_on_vulkan(&["devices", "--json", "--open"]) {
        let json = ran.expect(0, &[]).json();
        let all: Vec<_> = json["devices"].as_array().unwrap().iter().collect();
        let defaults: Vec<_> = all.iter().filter(|one| one["is_default"] == true).collect();
        assert_eq!(defaults.len(), 1, "{json}");
        std::fs::write(folder.path("add.fg"), ADD).unwrap();
        let line = ["run", "add.fg", "-b", "y=1", "-p", "n=1", "--json"];
        let ran = folder.run_on_vulkan(&line).unwrap().expect(0, &[]).json();
        assert_eq!(
            ["backend", "device", "driver"].map(|f| &ran[f]),
            ["backend", "device", "driver"].map(|f| &defaults[0][f])
        );
    }
    if let Some(ran) = folder.run_on_vulkan(&["devices", "--open"]) {
        ran.expect(0, &["vulkan:", "subgroup size", "lowering rules"]);
    }
}

#[test]
fn doctor_says_what_is_missing() {
    let folder = Folder::new(&[]);
    let ran = folder.run(&["doctor"]);
    ran.expect(
        1,
        &[
            "missing  backend vulkan: ",
            "mesa-vulkan-drivers",
            "ok       backend cpu",
            "`fulgurite calibrate`",
        ],
    );
    let json = folder.run(&["doctor", "--json", "--backend", "cpu"]).expect(0, &[]).json();
    assert_eq!(json["ok"], true);
    assert_eq!(check(&json, "backend cpu")["status"], "ok");
    assert_eq!(check(&json, "cache folder")["status"], "ok");
    assert_eq!(check(&json, "calibration")["status"], "note");
    folder.run(&["doctor", "--backend", "none"]).expect(2, &["FG0401", "`cpu`"]);
    if let Some(ran) = folder.run_on_vulkan(&["doctor"]) {
        ran.expect(
            0,
            &["ok       backend vulkan", "the default here", "validation layer", "nothing is missing"],
        );
        let json = folder.run_on_vulkan(&["doctor", "--json"]).unwrap().expect(0, &[]).json();
        let names = ids(&json["checks"], "name").into_iter();
        let covered: BTreeSet<_> =
            names.filter_map(|name| Some(name.strip_prefix("backend ")?.to_owned())).collect();
        assert!(covered.is_superset(&folder.suitable_devices()), "{covered:?}");
    }
}

#[test]
fn doctor_finds_an_unusable_cache_folder() {
    let folder = Folder::new(&[("file", "")]);
    for (root, parts) in [
        ("", &["missing  cache folder", "set FULGURITE_CACHE_DIR to an absolute path"][..]),
        ("relative", &["missing  cache folder", "absolute path"]),
        (folder.path("file").to_str().unwrap(), &["missing  cache folder", "FG1001"]),
    ] {
        let mut command = folder.command(&["doctor", "--backend", "cpu"]);
        Ran::of(command.env("FULGURITE_CACHE_DIR", root)).expect(1, parts);
    }
}

#[cfg(unix)]
#[test]
fn doctor_finds_a_cache_folder_that_others_may_write() {
    use std::os::unix::fs::PermissionsExt as _;

    let folder = Folder::new(&[]);
    let mode = |name: &str, mode: u32| {
        std::fs::set_permissions(folder.path(name), std::fs::Permissions::from_mode(mode)).unwrap();
    };
    std::fs::create_dir_all(folder.path("cache/autotune")).unwrap();
    ["cache", "cache/autotune"].into_iter().for_each(|name| mode(name, 0o700));
    let doctor = ["doctor", "--backend", "cpu"];
    folder.run(&doctor).expect(0, &["ok       cache folder"]);
    for name in ["cache", "cache/autotune", "cache/pipelines"] {
        mode(name, 0o777);
        let path = folder.path(name).display().to_string();
        let fix = format!("`chmod 700 {path}`");
        folder.run(&doctor).expect(1, &["missing  cache folder", "FG1001", "writable by others", &fix]);
        mode(name, 0o700);
        folder.run(&doctor).expect(0, &["ok       cache folder"]);
    }
    mode("cache", 0o777);
    folder.run(&["calibrate", "--backend", "cpu"]).expect(2, &["FG0702", "writable by others"]);
}

#[test]
fn calibrations_are_measured_and_kept() {
    let folder = Folder::new(&[]);
    let json = folder.run(&["calibrate", "--backend", "cpu", "--json"]).expect(0, &[]).json();
    let measured = &json["calibrations"][0];
    assert!(measured["backend"] == "cpu" && measured["launch_seconds"].as_f64().unwrap() > 0.0, "{json}");
    assert!(folder.path("cache/calibrations.toml").exists());
    let json = folder.run(&["doctor", "--backend", "cpu", "--json"]).expect(0, &[]).json();
    assert_eq!(check(&json, "calibration")["status"], "ok");
    folder.run(&["calibrate", "--backend", "vulkan"]).expect(1, &["vulkan: ", "FG041"]);
    folder.run(&["calibrate", "--backend", "none"]).expect(1, &["FG0401"]);
}

#[test]
fn problem_is_tuned_in_processes_of_the_command() {
    let folder = Folder::new(&[]);
    let line = ["tune", "--backend", "cpu", "--family", "sum", "--problem", "1000", "--max-candidates", "2"];
    let fast = ["--rounds", "1", "--warm-up", "0ms", "--budget", "60s", "--json"];
    let json = folder.run(&[&line[..], &fast].concat()).expect(0, &[]).json();
    // If the worker process could not start, every candidate would be recorded as crashed.
    let rows = json[0]["candidates"].as_array().unwrap().iter().filter(|one| !one["row"].is_null());
    let verdicts: Vec<_> = rows.map(|one| one["row"]["verdict"].clone()).collect();
    assert!(verdicts.len() == 2 && verdicts.iter().all(|verdict| verdict == "measured"), "{verdicts:?}");
    folder.run(&["tune", "list"]).expect(0, &["sum", "1000", "2 candidates"]);
    folder.run(&["tune", "forget", "sum"]).expect(0, &["records"]);
    folder
        .run(&["tune", "--family", "none", "--backend", "cpu"])
        .expect(2, &["FG0704", "no family `none`", "help: Name one of `"]);
    folder
        .run(&["tune", "--budget", "0s", "--backend", "cpu"])
        .expect(2, &["--budget", "no candidate can be tried"]);
    let json = folder.run(&["tune", "--backend", "vulkan", "--json"]).expect(2, &[]).json();
    let code = json["diagnostics"][0]["code"].as_str();
    assert!(code.is_some_and(|code| code.starts_with("FG041")), "{json}");
}

#[test]
fn cache_is_maintained() {
    let folder = Folder::new(&[("add.fg", ADD), ("bad.fg", BAD)]);
    folder.run(&["cache", "stats"]).expect(2, &["FG0701", "nothing was kept yet"]);
    let json = folder.run(&["cache", "pack", "add.fg", "-o", "add.pack", "--json"]).expect(0, &[]).json();
    assert_eq!(json["kernels"], 1);
    folder.run(&["cache", "import", "add.pack"]).expect(0, &["added", "--trust takes them"]);
    let json = folder.run(&["cache", "stats", "--json"]).expect(0, &[]).json();
    assert_eq!(json["entries"]["entries"], 1);
    let json = folder.run(&["cache", "import", "add.pack", "--trust", "--json"]).expect(0, &[]).json();
    let of = |name: &str| json[name].as_u64().unwrap();
    assert!(of("added") > 0 && of("untrusted") == 0, "{json}");
    let json = folder.run(&["cache", "stats", "--json"]).expect(0, &[]).json();
    assert_eq!(json["entries"]["entries"], 1 + of("added"));
    folder.run(&["cache", "verify"]).expect(0, &["good"]);
    folder.run(&["cache", "pack", "bad.fg", "-o", "bad.pack"]).expect(1, &["FG0104", "bad.fg:3:12"]);
    folder.run(&["cache", "lift", "none"]).expect(2, &["FG0704", "64 hex digits"]);
    if let Some(ran) = folder.run_on_vulkan(&["cache", "prewarm", "add.fg"]) {
        ran.expect(0, &["kernels", "add.fg: "]);
    }
}

#[test]
fn conformance_runs_in_processes_of_the_command() {
    let folder = Folder::new(&[]);
    // The suite `driver` runs in another process of this command.
    folder
        .run(&["conformance", "--backend", "reference", "--suite", "driver"])
        .expect(0, &["driver", " 0 failed"]);
    folder.run(&["conformance", "--suite", "none"]).expect(2, &["FG0704", "help: Name one of `ops`, "]);
    let line = ["conformance", "--backend", "reference", "--suite", "driver", "--only", "nosuch"];
    let ran = folder.run(&line);
    ran.expect(2, &["FG0704", "`nosuch`", "help: Give a part of a name, for example of `"]);
    assert_eq!((ran.err.matches("FG0704").count(), &ran.out[..]), (1, ""), "{}", ran.err);
    folder.run(&["conformance", "--backend", "none"]).expect(2, &["FG0401"]);
    folder.run(&["suite-worker", "none"]).expect(2, &[]);
}
