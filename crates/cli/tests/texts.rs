//! Tests `fulgurite check`, `fmt`, `spirv`, `explain` and `completions` as programs.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking and prints what it skips"
)]

mod common;

use std::io::Read as _;
use std::process::Stdio;

use common::{ADD, BAD, Folder, example};
use fulgurite_backend_cpu::Native;
use serde_json::json;

#[test]
fn problems_are_shown_in_the_source() {
    let folder = Folder::new(&[("add.fg", ADD), ("bad.fg", BAD)]);
    std::fs::write(folder.path("latin.fg"), b"\xe9").unwrap();
    folder.run(&["check", "add.fg", &example("softmax.fg")]).expect(0, &["add.fg: kernel `add` is valid"]);
    let ran = folder.run(&["check", "bad.fg", "add.fg"]);
    ran.expect(1, &["error[FG0104]", "bad.fg:3:12", "%a = add %b, 1u32", "^^", "help: ", "`add` is valid"]);
    // A file that cannot be read does not hide the problems of others.
    folder
        .run(&["check", "none.fg", "bad.fg", "latin.fg"])
        .expect(2, &["FG0701", "none.fg", "FG0104", "FG0703"]);
    folder.run(&["check"]).expect(2, &["Usage"]);
}

#[test]
fn problems_are_listed_as_json() {
    let folder = Folder::new(&[("add.fg", ADD), ("bad.fg", BAD)]);
    let json = folder.run(&["check", "--json", "add.fg", "bad.fg"]).expect(1, &[]).json();
    assert_eq!(json["files"][0], json!({ "file": "add.fg", "kernel": "add", "diagnostics": [] }));
    let problem = &json["files"][1]["diagnostics"][0];
    assert_eq!((&problem["code"], &problem["location"]["line"]), (&json!("FG0104"), &json!(3)));
    let ran = folder.run(&["check", "--json", "none.fg"]);
    assert_eq!(ran.expect(2, &[]).json()["files"][0]["diagnostics"][0]["code"], "FG0701");
    assert_eq!(ran.err, "");
}

#[test]
fn warnings_are_shown_and_can_be_denied() {
    let race = "fulgurite 1\nkernel @race workgroup(64, 1, 1) {\n  buffer %y: write u32[]\n  %i = global_id.x\n  \
                store %y[0u32], %i\n}\n";
    let folder = Folder::new(&[("add.fg", ADD), ("race.fg", race)]);
    let ran = folder.run(&["check", "race.fg"]);
    ran.expect(0, &["is valid", "warning[FG1205]", "race.fg:5:3", "store %y[0u32], %i", "^^", "help: "]);
    folder.run(&["check", "--deny-warnings", "add.fg", "race.fg"]).expect(1, &["warning[FG1205]"]);
    let json = folder.run(&["check", "--json", "race.fg"]).expect(0, &[]).json();
    let warning = &json["files"][0]["diagnostics"][0];
    assert_eq!((&warning["code"], &warning["severity"]), (&json!("FG1205"), &json!("warning")));
    assert_eq!(json["files"][0]["kernel"], "race");
}

#[test]
fn our_own_kernels_have_no_warnings() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let folders = ["examples/kernels", "benches/kernels"].map(|folder| format!("{root}/{folder}"));
    let files = folders.iter().flat_map(|folder| std::fs::read_dir(folder).unwrap());
    let files: Vec<String> = files.map(|file| file.unwrap().path().display().to_string()).collect();
    let texts: Vec<&str> = files.iter().map(String::as_str).filter(|file| file.ends_with(".fg")).collect();
    assert!(texts.len() >= 20, "{texts:?}");
    let folder = Folder::new(&[]);
    let ran = folder.run(&[&["check", "--deny-warnings"], &texts[..]].concat());
    assert_eq!(ran.expect(0, &[]).err, "");
}

#[test]
fn control_characters_of_a_file_are_escaped() {
    let folder = Folder::new(&[("bad.fg", "fulgurite 1\nkernel @k \u{1b}[31m\n")]);
    let ran = folder.run(&["check", "bad.fg"]);
    assert!(!ran.expect(1, &["FG0101"]).err.contains('\u{1b}'), "{}", ran.err);
}

#[test]
fn texts_are_formatted_and_comments_are_not_lost() {
    let loose = "// Adds.\nfulgurite  1\nkernel @k workgroup(1,1,1) {\n}\n";
    let inner = "fulgurite 1\nkernel @k workgroup(1, 1, 1) {\n  // inner\n}\n";
    let folder = Folder::new(&[("add.fg", ADD), ("loose.fg", loose), ("inner.fg", inner), ("bad.fg", BAD)]);
    let ran = folder.run(&["fmt", "--check", "add.fg", "loose.fg"]);
    assert_eq!(ran.expect(1, &[]).out, "loose.fg\n");
    assert_eq!(folder.text("loose.fg"), loose, "--check changes nothing");
    folder.run(&["fmt", "add.fg", "loose.fg"]).expect(0, &[]);
    assert_eq!(folder.text("add.fg"), ADD);
    let canonical = "fulgurite 1\nkernel @k workgroup(1, 1, 1) {\n}\n";
    assert_eq!(folder.text("loose.fg"), format!("// Adds.\n{canonical}"));
    folder.run(&["fmt", "--check", "add.fg", "loose.fg"]).expect(0, &[]);
    folder.run(&["fmt", "--check", "inner.fg"]).expect(0, &[]);
    folder.run(&["fmt", "inner.fg"]).expect(0, &[]);
    assert_eq!(folder.text("inner.fg"), inner);
    folder.run(&["fmt", "--drop-comments", "inner.fg"]).expect(0, &["inner.fg"]);
    assert_eq!(folder.text("inner.fg"), canonical);
    folder.run(&["fmt", "bad.fg"]).expect(1, &["FG0104", "bad.fg:3:12"]);
    folder.run(&["fmt", "none.fg"]).expect(2, &["FG0701"]);
    folder.run(&["fmt", "--help"]).expect(0, &["Comments are kept, and literals stay as they are written"]);
}

#[test]
fn formatting_loses_no_comment_and_respells_no_literal() {
    let files = std::fs::read_dir(example("")).unwrap().map(|entry| entry.unwrap().path());
    let files: Vec<_> =
        files.filter(|path| path.extension().is_some_and(|extension| extension == "fg")).collect();
    assert!(files.len() > 5, "{files:?}");
    let literals = |text: &str| {
        let code: String =
            text.lines().map(|line| line.split("//").next().unwrap_or_default().to_owned() + "\n").collect();
        let words = code.split(|c: char| !(c.is_ascii_alphanumeric() || c == '.' || c == '_'));
        let mut all: Vec<_> = words.filter(|word| word.starts_with("0x")).map(str::to_owned).collect();
        all.sort();
        all
    };
    let comments = |text: &str| {
        let mut all: Vec<_> =
            text.lines().filter_map(|line| Some(line.split_once("//")?.1.trim().to_owned())).collect();
        all.sort();
        all
    };
    let mut hexadecimal = 0;
    for path in files {
        // Indentation and blanks that the canonical form does not have.
        let text = std::fs::read_to_string(&path).unwrap().replace("\n  ", "\n\t ").replace(", ", " , ");
        let folder = Folder::new(&[("k.fg", &text)]);
        folder.run(&["fmt", "k.fg"]).expect(0, &["k.fg"]);
        let formatted = folder.text("k.fg");
        folder.run(&["fmt", "--check", "k.fg"]).expect(0, &[]);
        assert_eq!(comments(&formatted), comments(&text), "{}", path.display());
        assert_eq!(literals(&formatted), literals(&text), "{}", path.display());
        hexadecimal += literals(&text).len();
        let digest = |text: &str| fulgurite::parse(text).unwrap().digest().to_string();
        assert_eq!(digest(&formatted), digest(&text), "{}", path.display());
    }
    assert!(hexadecimal > 0, "no example has a hexadecimal literal");
}

#[test]
fn module_is_disassembled_or_written() {
    let twice = ADD.replace("  store", "  %unused = add %i, %i\n  store");
    let folder = Folder::new(&[("add.fg", ADD), ("bad.fg", BAD), ("twice.fg", &twice)]);
    for profile in ["least", "fullest", "lavapipe"] {
        let parts = ["OpEntryPoint GLCompute", "OpIAdd", "OpExecutionMode"];
        folder.run(&["spirv", "add.fg", "--profile", profile]).expect(0, &parts);
    }
    let words = folder.run(&["spirv", "add.fg", "--words"]);
    assert!(words.expect(0, &[]).out.starts_with("07230203 00010600 "), "{}", words.out);
    folder.run(&["spirv", "add.fg", "-o", "add.spv"]).expect(0, &["add.spv"]);
    let bytes = std::fs::read(folder.path("add.spv")).unwrap();
    assert_eq!(bytes[..4], 0x0723_0203u32.to_le_bytes());
    assert_eq!(bytes.len() / 4, words.out.split_whitespace().count());
    let adds = |args: &[&str]| folder.run(args).expect(0, &[]).out.matches("OpIAdd").count();
    let given = adds(&["spirv", "add.fg"]);
    assert_eq!(adds(&["spirv", "twice.fg"]), given + 1);
    assert_eq!(adds(&["spirv", "twice.fg", "--optimize"]), given);
    folder
        .run(&["spirv", "add.fg", "--profile", "none"])
        .expect(2, &["FG0704", "help: Name one of `least`, `fullest`, `device`"]);
    folder.run(&["spirv", "add.fg", "--profile", "device"]).expect(2, &["FG041"]);
    folder.run(&["spirv", "bad.fg"]).expect(1, &["FG0104", "bad.fg:3:12"]);
    if let Some(ran) = folder.run_on_vulkan(&["spirv", "add.fg", "--profile", "device"]) {
        ran.expect(0, &["OpEntryPoint GLCompute"]);
    }
}

#[test]
fn machine_code_is_disassembled_or_written() {
    const EXP: &str = "fulgurite 1\nkernel @e workgroup(64, 1, 1) {\n  buffer %y: read_write f64[]\n  %i = global_id.x\n  \
                       %a = load %y[%i]\n  store %y[%i], %a\n}\n";
    let folder = Folder::new(&[("add.fg", ADD), ("exp.fg", EXP), ("bad.fg", BAD)]);
    folder
        .run(&["asm", "add.fg", "--native", "sse"])
        .expect(2, &["FG0704", "help: Name one of `auto`, `avx2`, `avx512`"]);
    folder.run(&["asm", "bad.fg"]).expect(1, &["FG0104", "bad.fg:3:12"]);
    for (native, register) in [("avx2", "ymm"), ("avx512", "zmm")] {
        if !Native::named(native).unwrap().is_available() {
            folder.run(&["asm", "add.fg", "--native", native]).expect(2, &["FG0403", "does not run it"]);
            continue;
        }
        let text = folder.run(&["asm", "add.fg", "--native", native]);
        text.expect(0, &["vpaddd", register, "L0:", "jmp L", "ret"]);
        folder.run(&["asm", "add.fg", "--native", native, "-o", "add.bin"]).expect(0, &["add.bin"]);
        assert!(std::fs::read(folder.path("add.bin")).unwrap().len() > 100);
        folder.run(&["asm", "exp.fg", "--native", native]).expect(2, &["FG0403", "`load` with f64, u32"]);
    }
}

#[test]
fn codes_are_explained() {
    let folder = Folder::new(&[]);
    let ran = folder.run(&["explain", "fg0205"]);
    assert_eq!(ran.expect(0, &[]).out.trim_end(), fulgurite::explain("FG0205").unwrap());
    let json = folder.run(&["explain", "FG0205", "--json"]).expect(0, &[]).json();
    assert_eq!(json["title"], "barrier in non-uniform control flow");
    folder
        .run(&["explain"])
        .expect(0, &["FG0205  barrier in non-uniform control flow", "FG0704  bad command line"]);
    let all = folder.run(&["explain", "--json"]).expect(0, &[]).json();
    assert_eq!(all.as_array().unwrap().len(), fulgurite::Code::ALL.len());
    folder
        .run(&["explain", "FG9999"])
        .expect(2, &["FG0704", "`FG9999`", "help: `fulgurite explain` lists all"]);
    let json = folder.run(&["explain", "FG9999", "--json"]).expect(2, &[]).json();
    assert_eq!(json["diagnostics"][0]["code"], "FG0704");
}

#[test]
fn kernels_are_explained() {
    let kernel = "fulgurite 1
kernel @k workgroup(64, 1, 1) {
  buffer %x: read f64[]
  buffer %y: write f64[]
  %i = global_id.x
  %n = len %x
  %in = lt %i, %n
  if %in {
    %a = load %x[%i]
    %b = mul %a, %a
    store %y[%i], %b
  }
}
";
    let folder = Folder::new(&[("k.fg", kernel)]);
    folder.run(&["explain", "k.fg"]).expect(
        0,
        &[
            "kernel `k`",
            "needs      float64",
            "passes     no pass changed the kernel",
            "accesses   1 in bounds by proof, 1 guarded",
            "guarded  line 11: store %y[%i], %b",
        ],
    );
    folder.run(&["explain", "--fast-math", "k.fg"]).expect(0, &["passes     fast_math: 1 change"]);
    let twice = Folder::new(&[("k.fg", &kernel.replace("mul %a, %a", "mul %a, 1.0f64"))]);
    let passes = ["simplify: 1 change", "dead_code: 1 change"];
    twice.run(&["explain", "--optimize", "k.fg"]).expect(0, &passes);
    let json = folder.run(&["explain", "--fast-math", "--json", "k.fg"]).expect(0, &[]).json();
    assert_eq!(json["passes"][0]["pass"], "fast_math");
    assert_eq!(json["accesses"][1]["in_bounds_by_proof"], false);
    assert_eq!(json["accesses"][0]["line"], 9);
    folder.run(&["explain", "none.fg"]).expect(2, &["FG0701", "none.fg"]);
    let invalid = Folder::new(&[("bad.fg", &kernel.replace("mul %a, %a", "mul %a, %i"))]);
    invalid.run(&["explain", "bad.fg"]).expect(1, &["FG0201", "bad.fg:10"]);
}

#[test]
fn missing_backends_are_explained_to_both_kinds_of_reader() {
    let folder = Folder::new(&[]);
    for (code, command) in [("FG0401", "`fulgurite devices`"), ("FG0404", "`fulgurite doctor`")] {
        folder.run(&["explain", code]).expect(0, &[command, "in a Rust program", "Cargo feature"]);
    }
    folder.run(&["explain", "FG0704"]).expect(0, &["`fulgurite help run`"]);
    folder.run(&["help", "run"]).expect(0, &["--backend"]);
}

#[test]
fn completions_name_the_commands() {
    let folder = Folder::new(&[]);
    for shell in ["bash", "zsh", "fish"] {
        let ran = folder.run(&["completions", shell]);
        ran.expect(0, &["doctor", "completions"]);
        assert!(!ran.out.contains("tune-worker"), "{shell} completes a hidden command");
    }
    folder.run(&["completions", "tcsh"]).expect(2, &["bash", "zsh", "fish"]);
}

#[test]
fn reader_that_leaves_early_is_no_error() {
    let folder = Folder::new(&[]);
    let file = example("matmul_f16.fg");
    let mut command = folder.command(&["spirv", &file]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let status = child.wait().unwrap();
    let mut told = String::new();
    child.stderr.unwrap().read_to_string(&mut told).unwrap();
    assert!(status.success() && told.is_empty(), "{status}: {told}");
}

#[test]
fn help_states_the_exit_status() {
    let folder = Folder::new(&[]);
    folder.run(&["--help"]).expect(0, &["Exit status: 0 if all is well"]);
    folder.run(&["--version"]).expect(0, &["fulgurite "]);
    folder.run(&["nothing"]).expect(2, &["unrecognized subcommand"]);
}

/// A shader with two entry points, an override and a uniform variable.
#[cfg(feature = "wgsl")]
const SHADER: &str = "override scale = 2.0;
struct Params { n: u32, add: f32 }
@group(0) @binding(0) var<storage, read_write> y: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;
@compute @workgroup_size(64) fn grow(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x < params.n) { y[id.x] = y[id.x] * scale + params.add; }
}
@compute @workgroup_size(1) fn clear() { y[0] = 0.0; }
";

#[test]
#[cfg(feature = "wgsl")]
fn shaders_are_imported_and_run() {
    let folder = Folder::new(&[("grow.wgsl", SHADER)]);
    let ran = folder.run(&["import", "grow.wgsl", "--entry", "grow", "--override", "scale=3"]);
    let ran = ran.expect(
        0,
        &[
            "kernel @grow workgroup(64, 1, 1)",
            "group 0, binding 0: buffer 0, %y: read_write f32[]",
            "group 0, binding 3: parameter 0, %params.n: u32 from byte 0; 1, %params.add: f32 from byte 4",
        ],
    );
    assert!(ran.out.starts_with("fulgurite 1\n") && !ran.out.contains("binding"), "{}", ran.out);
    std::fs::write(folder.path("grow.fg"), &ran.out).unwrap();
    let run =
        ["run", "grow.fg", "-b", "y=1,2,3", "-p", "params.n=2", "-p", "params.add=0.5", "--backend", "cpu"];
    folder.run(&run).expect(0, &["3.5", "6.5"]);
    folder.run(&["import", "grow.wgsl"]).expect(2, &["FG0704", "several entry points", "grow, clear"]);
    let json = folder.run(&["import", "grow.wgsl", "--json"]).expect(0, &[]).json();
    assert_eq!(json["kernels"][1]["entry"], "clear");
    let expected = json!({ "position": 0, "element": "f32", "access": "read_write", "least_bytes": 0 });
    assert_eq!(json["kernels"][0]["bindings"][0]["buffer"], expected);
    assert_eq!(json["kernels"][0]["bindings"][1]["parameters"][1]["name"], "params.add");
    let buffers = folder.run(&["import", "grow.wgsl", "--entry", "grow", "--uniform-buffers"]);
    buffers.expect(0, &["buffer %params: read u32[]"]);
    let waits = folder.run(&["import", "grow.wgsl", "--entry", "clear", "--workgroup-progress"]);
    waits.expect(0, &["needs workgroup_progress"]);
}

#[test]
#[cfg(feature = "wgsl")]
fn problems_of_shaders_are_shown_in_the_source() {
    let folder = Folder::new(&[("grow.wgsl", SHADER), ("bad.wgsl", "fn f( {")]);
    folder.run(&["import", "bad.wgsl"]).expect(1, &["error[FG1301]", "bad.wgsl:1:7", "fn f( {", "^"]);
    let none = ["import", "grow.wgsl", "--entry", "none"];
    folder.run(&none).expect(1, &["FG1304", "`none`", "grow, clear"]);
    let unknown = ["import", "grow.wgsl", "--override", "size=1"];
    folder.run(&unknown).expect(1, &["FG1305", "`size`", "scale"]);
    folder.run(&["import", "grow.wgsl", "--override", "size"]).expect(2, &["NAME=VALUE"]);
    folder.run(&["import", "none.wgsl"]).expect(2, &["FG0701"]);
    let read = "@group(0) @binding(0) var t: texture_1d<f32>;
@compute @workgroup_size(1) fn f() { _ = textureLoad(t, 0, 0); }
";
    std::fs::write(folder.path("read.wgsl"), read).unwrap();
    let shown = ["error[FG1302]", "read.wgsl:1:23", "var t: texture_1d<f32>", "help: Pass the texels"];
    folder.run(&["import", "read.wgsl"]).expect(1, &shown);
}
