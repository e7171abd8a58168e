//! Tests `fulgurite run` and `fulgurite replay` as programs.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking and prints what it skips"
)]

mod common;

use std::collections::BTreeSet;

use common::{ADD, BAD, Folder, Ran, example, ids};
use serde_json::json;

const DOUBLE: &str = "fulgurite 1
kernel @double workgroup(64, 1, 1) {
  buffer %y: read u32[]
  buffer %z: write u32[]
  %i = global_id.x
  %v = load %y[%i]
  %w = add %v, %v
  store %z[%i], %w
}
";

const HALVES: &str = "fulgurite 1
kernel @halves workgroup(64, 1, 1) {
  buffer %x: read f16[]
  buffer %y: write f16[]
  %i = global_id.x
  %v = load %x[%i]
  %w = add %v, %v
  store %y[%i], %w
}
";

#[test]
fn kernel_is_run_checked_and_printed() {
    let folder = Folder::new(&[]);
    let saxpy = example("saxpy.fg");
    let line = ["run", &saxpy, "-b", "x=1,2,3", "-b", "y=10,20,30", "-p", "a=2"];
    let ran = folder.run(&[&line[..], &["--repeat", "5"]].concat());
    ran.expect(
        0,
        &["running on cpu", "saxpy: compiled in", "y: equal to the reference's", "y = 12.0, 24.0, 36.0"],
    );
    ran.expect(0, &["saxpy: 5 runs after 3 to warm up: median", "spread"]);
    let ran = folder.run(&[&line[..], &["--json", "--repeat", "5", "--warm-up", "0"]].concat());
    let json = ran.expect(0, &[]).json();
    assert_eq!((&json["backend"], &json["ok"]), (&json!("cpu"), &json!(true)));
    assert_eq!(json["buffers"][1]["first"], json!([12.0, 24.0, 36.0]));
    let kernel = &json["kernels"][0];
    assert_eq!((&kernel["kernel"], &kernel["repeated"]["runs"]), (&json!("saxpy"), &json!(5)));
    assert!(kernel["compile_seconds"].as_f64().unwrap() > 0.0);
    assert!(kernel["repeated"]["median_seconds"].as_f64().unwrap() > 0.0);
    assert_eq!(kernel["agreement"][0]["agreement"], "equal");
}

#[test]
fn kernel_runs_on_vulkan() {
    let folder = Folder::new(&[("add.fg", ADD)]);
    let line = ["run", "add.fg", "--backend", "vulkan", "-b", "y=1,0xff", "-p", "n=1", "--linear", "2"];
    if let Some(ran) = folder.run_on_vulkan(&line) {
        ran.expect(0, &["running on vulkan", "y: equal to the reference's", "y = 2, 256"]);
    }
}

#[test]
fn several_kernels_share_buffers_by_name() {
    let folder = Folder::new(&[("add.fg", ADD), ("double.fg", DOUBLE)]);
    let line = ["run", "add.fg", "double.fg", "add.fg", "-b", "y=hex:01000000_02000000", "-b", "z=zeros:2"];
    let ran = folder.run(&[&line[..], &["-p", "n=10", "-o", "z=z.npy", "--linear", "double=2"]].concat());
    ran.expect(0, &["y after add#1: equal", "z after double: equal", "y = 21, 22", "wrote z.npy"]);
    let z = std::fs::read(folder.path("z.npy")).unwrap();
    assert!(z.starts_with(b"\x93NUMPY") && z.ends_with(&[22, 0, 0, 0, 24, 0, 0, 0]));
}

#[test]
fn kernels_of_a_scan_are_bound_to_buffers() {
    let folder = Folder::new(&[]);
    let [reduce, spine, down] = ["scan_reduce.fg", "scan_spine.fg", "scan_down.fg"].map(example);
    let ones = format!("x={}", vec!["1"; 16_384].join(","));
    let line = ["run", &reduce, &spine, &down, "-b", &ones, "-b", "sums=zeros:4", "-b", "y=zeros:16384"];
    let binds = [
        "--bind",
        "scan_spine:x=sums",
        "--bind",
        "scan_down:offsets=sums",
        "-p",
        "count=4",
        "--grid",
        "4",
        "--grid",
        "scan_spine=1",
    ];
    folder
        .run(&[&line[..], &binds].concat())
        .expect(0, &["sums after scan_spine: equal", "sums = 0, 4096, 8192, 12288", "y = 1, 2, 3, 4, "]);
}

#[test]
fn halves_are_read_and_written_as_numpy_does() {
    let folder = Folder::new(&[("halves.fg", HALVES)]);
    // As written by `np.save("x.npy", np.array([1, 0.5, -2], "float16"))`.
    let mut file = b"\x93NUMPY\x01\0\x76\0".to_vec();
    let header = "{'descr': '<f2', 'fortran_order': False, 'shape': (3,), }";
    file.extend(format!("{header:<117}\n").bytes());
    file.extend([0x00, 0x3c, 0x00, 0x38, 0x00, 0xc0]);
    std::fs::write(folder.path("x.npy"), &file).unwrap();
    folder
        .run(&["run", "halves.fg", "-b", "x=@x.npy", "-b", "y=zeros:3", "-o", "y=y.npy"])
        .expect(0, &["wrote y.npy"]);
    let written = std::fs::read(folder.path("y.npy")).unwrap();
    assert_eq!(written[..128], file[..128]);
    assert_eq!(written[128..], [0x00, 0x40, 0x00, 0x3c, 0x00, 0xc4]);
}

#[test]
fn bad_arguments_and_kernels_are_told() {
    let folder = Folder::new(&[("add.fg", ADD), ("bad.fg", BAD), ("x.npy", "nothing")]);
    let given = ["run", "add.fg", "-b", "y=1", "-p", "n=1"];
    for (line, code, parts) in [
        (&["-b", "y=2"][..], 2, &["FG0704", "buffer `y` is given twice"][..]),
        (&["-b", "z=2"], 2, &["FG0704", "no kernel has a buffer `z`", "help: The only buffer is `y`."]),
        (&["--backend", "none"], 2, &["FG0401", "`cpu`"]),
        (&["--backend", "vulkan"], 2, &["FG041", "mesa-vulkan-drivers"]),
        (&["--capture", "none/c.json", "--backend", "cpu"], 2, &["FG0702", "none/c.json"]),
        (&["--warm-up", "1"], 2, &["--repeat"]),
        (&["-p", "n"], 2, &["FG0704", "`n` is not NAME=…", "help: `fulgurite run --help` describes"]),
        (&["--repeat", "0"], 2, &["1..=1000000"]),
    ] {
        folder.run(&[&given[..], line].concat()).expect(code, parts);
    }
    folder.run(&["run", "add.fg", "-b", "y=1"]).expect(2, &["FG0501", "`--param n=…`"]);
    folder.run(&["run", "add.fg", "-b", "y=@x.npy", "-p", "n=1"]).expect(2, &["FG0703", "x.npy"]);
    folder.run(&["run", "add.fg", "-b", "y=@none.npy", "-p", "n=1"]).expect(2, &["FG0701", "none.npy"]);
    folder.run(&["run", "bad.fg"]).expect(1, &["error[FG0104]", "bad.fg:3:12", "%a = add %b, 1u32"]);
    folder.run(&["run", "none.fg"]).expect(2, &["FG0701", "none.fg"]);
    let json = folder.run(&["run", "bad.fg", "--json"]).expect(1, &[]).json();
    assert_eq!(json["diagnostics"][0]["location"]["line"], 3);
    let json = folder.run(&["run", "add.fg", "--json"]).expect(2, &[]).json();
    assert_eq!(json["diagnostics"][0]["code"], "FG0501");
}

#[test]
fn outputs_that_cannot_be_written_are_refused_before_the_run() {
    let folder = Folder::new(&[("add.fg", ADD), ("old.npy", "old")]);
    // The backend does not exist, so that nothing can run.
    let given = ["run", "add.fg", "-b", "y=1", "-p", "n=1", "--backend", "none"];
    for (line, parts) in [
        (
            ["-o", "y=missing/folder/y.npy"],
            &["cannot write missing/folder/y.npy", "`mkdir -p missing/folder`"][..],
        ),
        (["-o", "y=add.fg/y.npy"], &["add.fg is not a folder"]),
        (["-o", "y=."], &["it is a folder"]),
        (["--capture", "missing/c.json"], &["cannot write missing/c.json", "`mkdir -p missing`"]),
    ] {
        folder.run(&[&given[..], &line].concat()).expect(2, &[&["FG0702"], parts].concat());
    }
    // Checking changes nothing.
    folder.run(&[&given[..], &["-o", "y=old.npy"]].concat()).expect(2, &["FG0401"]);
    folder.run(&[&given[..], &["-o", "y=new.npy"]].concat()).expect(2, &["FG0401"]);
    assert_eq!(folder.text("old.npy"), "old");
    let mut names: Vec<_> =
        std::fs::read_dir(folder.path(".")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["add.fg", "old.npy"]);
}

#[test]
fn kernels_of_one_name_are_told_apart() {
    let folder = Folder::new(&[("add.fg", ADD)]);
    let line = ["run", "add.fg", "add.fg", "-b", "y=1", "-p", "add#1:n=1", "-p", "add#2:n=20"];
    folder.run(&line).expect(0, &["add#1: compiled in", "y after add#2: equal", "y = 22"]);
    let json = folder.run(&[&line[..], &["--json"]].concat()).expect(0, &[]).json();
    let labels: Vec<_> = [0, 1].map(|at| json["kernels"][at]["label"].clone()).into();
    assert_eq!(labels, ["add#1", "add#2"]);
}

/// A kernel that counts to `n` and stores the sum, which takes the interpreter a while.
const LONG: &str = "fulgurite 1
kernel @long workgroup(1, 1, 1) {
  buffer %y: write u32[]
  param %n: u32
  %s = for %i in 0u32 to %n step 1u32 carry(%sum = 0u32) {
    %next = add %sum, %i
    yield %next
  }
  store %y[0u32], %s
}
";

/// `script` runs the command on a terminal.
#[cfg(target_os = "linux")]
#[test]
fn long_check_shows_progress_on_a_terminal_only() {
    let folder = Folder::new(&[("long.fg", LONG)]);
    let line = ["run", "long.fg", "-b", "y=0", "-p", "n=300000"];
    let piped = folder.run(&line);
    assert_eq!(piped.expect(0, &["y: equal to the reference's"]).err, "");
    let program = env!("CARGO_BIN_EXE_fulgurite");
    let mut on_terminal =
        folder.command_of("script", &["-qec", &format!("{program} {}", line.join(" ")), "/dev/null"]);
    // The terminal shows both streams.
    Ran::of(&mut on_terminal).expect(
        0,
        &[
            "long: checking with the reference interpreter for",
            "`--unchecked` skips it",
            "y: equal to the reference's",
        ],
    );
}

#[test]
fn captured_call_is_replayed() {
    let folder = Folder::new(&[("add.fg", ADD), ("bad.json", "{}")]);
    let line = ["run", "add.fg", "-b", "y=1,2", "-p", "n=1", "--backend", "reference", "--capture", "c.json"];
    let changed = "while the file states";
    folder.run(&line).expect(0, &["captured in c.json"]);
    folder
        .run(&["replay", "c.json"])
        .expect(0, &["captured on `reference`", "reference: every output is as expected"]);
    assert!(!folder.run(&["replay", "c.json"]).err.contains(changed));
    std::fs::write(folder.path("other.json"), folder.text("c.json").replace("add %v, %n", "add %n, %v"))
        .unwrap();
    folder.run(&["replay", "other.json"]).expect(0, &[changed, "it was changed after the capture"]);
    // Control characters in the name of the device are escaped.
    let colored = folder.text("c.json").replace("interpreter", "inter\\u001b[31mpreter");
    std::fs::write(folder.path("colored.json"), colored).unwrap();
    let ran = folder.run(&["replay", "colored.json"]);
    ran.expect(0, &["inter\\u{1b}[31mpreter"]);
    assert!(!(ran.out + &ran.err).contains('\u{1b}'));
    let json = folder.run(&["replay", "c.json", "--backend", "all", "--json"]).expect(0, &[]).json();
    let outcomes: Vec<_> =
        json["files"][0]["backends"].as_array().unwrap().iter().map(|one| one["outcome"].clone()).collect();
    assert_eq!(outcomes, ["not_run", "as_expected", "as_expected"]);
    folder
        .run(&["replay", "c.json", "--backend", "vulkan"])
        .expect(2, &["FG041", "no backend could run c.json"]);
    folder.run(&["replay", "c.json", "--backend", "none"]).expect(2, &["FG0401"]);
    folder.run(&["replay", "bad.json"]).expect(2, &["FG0703", "bad.json"]);
    folder.run(&["replay", "none.json"]).expect(2, &["FG0701", "none.json"]);
    folder.run(&["replay", "c.json", "none.json"]).expect(1, &["1 of 2 files as expected"]);
}

#[test]
fn run_file_is_replayed() {
    let text = |expected: &str| {
        format!("// test: run\n// param %n = 1u32\n// buffer %y = 1u32\n// expect %y = {expected}\n{ADD}")
    };
    let folder = Folder::new(&[("right.fg", &text("2u32")), ("wrong.fg", &text("3u32"))]);
    folder.run(&["replay", "right.fg"]).expect(0, &["cpu: every output is as expected", "vulkan:", "FG041"]);
    let ran = folder.run(&["replay", "right.fg", "wrong.fg"]);
    ran.expect(1, &["1 of 2 files as expected"]);
    let partly = text("2u32 ?").replace("%y = 1u32", "%y = 1u32 1u32");
    std::fs::write(folder.path("partly.fg"), partly).unwrap();
    let ran = folder.run(&["replay", "partly.fg"]);
    ran.expect(0, &["cpu: every checked output is as expected; not checked, or only in part: `%y`"]);
    let json = folder.run(&["replay", "partly.fg", "right.fg", "--json"]).expect(0, &[]).json();
    let unchecked = |file: usize| &json["files"][file]["backends"][1]["unchecked"];
    assert_eq!((unchecked(0), unchecked(1)), (&json!(["`%y`"]), &json!([])));
    // Every suitable device runs it, by the id that `devices` gives.
    if let Some(ran) = folder.run_on_vulkan(&["replay", "right.fg", "--backend", "all", "--json"]) {
        let ran: BTreeSet<String> = ids(&ran.expect(0, &[]).json()["files"][0]["backends"], "backend");
        assert_eq!(ran, folder.suitable_devices());
    }
}

#[test]
fn an_unusable_cache_folder_is_noted() {
    let folder = Folder::new(&[(
        "k.fg",
        "fulgurite 1\nkernel @k workgroup(1, 1, 1) {\n  buffer %y: write u32[]\n  store %y[0u32], 7u32\n}\n",
    )]);
    let mut command = folder.command(&["run", "k.fg", "-b", "y=0", "--backend", "cpu"]);
    Ran::of(command.env("FULGURITE_CACHE_DIR", "relative"))
        .expect(0, &["FULGURITE_CACHE_DIR is not an absolute path", "y = 7"]);
}
