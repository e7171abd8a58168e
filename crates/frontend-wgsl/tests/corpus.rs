//! Imports the compute shaders that the sources of `wgpu` and `naga` contain, as cargo downloaded them, and those of
//! the folder that `FULGURITE_WGSL_CORPUS` names, whose files must be valid or be refused with a code.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking and prints counts"
)]
#![expect(clippy::disallowed_methods, reason = "the shaders are files")]

mod common;

use std::path::{Path, PathBuf};

use cargo_metadata::MetadataCommand;
use fulgurite_frontend_wgsl::{ImportOptions, import};
use fulgurite_spec::{Code, Diagnostics, Location};

/// Returns the folders of the packages `naga` and `wgpu…` that the workspace depends on, also by features that are off.
/// `None` if cargo has not downloaded all of them, which is a failure if `FULGURITE_REQUIRE_WGSL_CORPUS` is set.
fn packages() -> Option<Vec<PathBuf>> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    let options = ["--offline", "--locked", "--all-features"].map(str::to_owned);
    let read = MetadataCommand::new().manifest_path(manifest).other_options(options.to_vec()).exec();
    let metadata = match read {
        Ok(metadata) => metadata,
        Err(error) => {
            assert!(std::env::var_os("FULGURITE_REQUIRE_WGSL_CORPUS").is_none(), "{error}");
            println!("NOT TESTED: the sources of wgpu are not downloaded; `cargo fetch` does it ({error})");
            return None;
        }
    };
    let ours = metadata.packages.iter().filter(|p| p.name.as_str() == "naga" || p.name.starts_with("wgpu"));
    Some(ours.map(|p| p.manifest_path.parent().unwrap().as_std_path().to_owned()).collect())
}

fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let (mut folders, mut found) = (vec![folder.to_owned()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// A shader and how its import ended: the number of kernels, or the problems.
struct Tried {
    name: String,
    outcome: Result<usize, Diagnostics>,
}

/// Imports a shader, with 1 for each override without a default.
fn attempt(name: String, source: &str) -> Tried {
    let mut options = ImportOptions::default();
    loop {
        let outcome = import(source, &options);
        if let Err(all) = &outcome
            && let [one, ..] = all.all()
            && one.code == Code::BadWgslOverride
            && let Some(missing) =
                one.message.strip_prefix("override `").and_then(|m| m.strip_suffix("` has no value"))
        {
            // An override with an `@id` is named by it; the fix states the option.
            let option =
                one.fix_or_explanation().split("--override ").nth(1).and_then(|rest| rest.split('=').next());
            let option = option.unwrap_or(missing).to_owned();
            assert!(options.overrides.insert(option, 1.0).is_none(), "{name}: {all}");
            continue;
        }
        if let Ok(kernels) = &outcome {
            kernels.iter().for_each(|one| common::prints_and_parses(&one.kernel));
        }
        return Tried { name, outcome: outcome.map(|kernels| kernels.len()) };
    }
}

fn report(all: &[Tried]) -> usize {
    let imported = all.iter().filter(|one| one.outcome.is_ok()).count();
    println!("{imported} of {} shaders are imported", all.len());
    for one in all {
        match &one.outcome {
            Ok(kernels) => println!("  {}: {kernels} kernels", one.name),
            Err(problems) => println!("  {}: {}", one.name, problems.all()[0].to_string().replace('\n', " ")),
        }
    }
    imported
}

#[test]
fn shaders_of_wgpu_are_imported() {
    let Some(packages) = packages() else { return };
    let named = |name: &str| {
        let found = packages.iter().find(|p| p.file_name().unwrap().to_string_lossy().starts_with(name));
        found.unwrap_or_else(|| panic!("no package {name}…: {packages:?}"))
    };
    println!("{} packages, among them {}", packages.len(), named("naga-").display());
    let core = named("wgpu-core-3");
    let mut tried = Vec::new();
    for package in &packages {
        for path in files(package, "wgsl") {
            let text = std::fs::read_to_string(&path).unwrap();
            if text.contains("@compute") && !text.starts_with("// Must have") {
                tried.push(attempt(path.strip_prefix(package).unwrap().display().to_string(), &text));
            }
        }
    }
    // Two files that `wgpu-core` concatenates.
    let folder = core.join("src/timestamp_normalization");
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    let normalization = [read("common.wgsl"), read("timestamp_normalization.wgsl")].concat();
    tried.push(attempt("timestamp_normalization".to_owned(), &normalization));
    // One that it formats: the text between the quotes after `format!(`, with its only argument.
    let dispatch = std::fs::read_to_string(core.join("src/indirect_validation/dispatch.rs")).unwrap();
    let text = dispatch.split("format!(").nth(1).and_then(|rest| rest.split('"').nth(1)).unwrap();
    let text =
        text.replace("{max_compute_workgroups_per_dimension}", "65535").replace("{{", "{").replace("}}", "}");
    tried.push(attempt("dispatch".to_owned(), &text));
    let imported = report(&tried);
    for known in ["validate_draw.wgsl", "timestamp_normalization", "dispatch"] {
        let one = tried.iter().find(|one| one.name.ends_with(known));
        let one = one.unwrap_or_else(|| panic!("{known} was not found"));
        assert!(one.outcome.is_ok(), "{known}: {}", one.outcome.as_ref().unwrap_err());
    }
    assert!(imported >= 3);
    // Ray queries have no equivalent.
    let rays = tried.iter().find(|one| one.name.ends_with("ray-traced-triangle/shader.wgsl"));
    let problems = rays.map(|one| one.outcome.as_ref().unwrap_err().all()[0].code);
    assert_eq!(problems, Some(Code::WgslResource));
}

#[test]
fn shaders_of_a_folder_are_imported_or_refused_with_a_place() {
    let Ok(folder) = std::env::var("FULGURITE_WGSL_CORPUS") else {
        println!("FULGURITE_WGSL_CORPUS names no folder: nothing to import");
        return;
    };
    let mut tried = Vec::new();
    for path in files(Path::new(&folder), "wgsl") {
        let text = std::fs::read_to_string(&path).unwrap();
        if text.contains("@compute") {
            tried.push(attempt(path.strip_prefix(&folder).unwrap().display().to_string(), &text));
        }
    }
    assert!(!tried.is_empty(), "{folder} has no compute shader");
    report(&tried);
    for one in &tried {
        for problem in one.outcome.as_ref().err().into_iter().flat_map(|all| all.all()) {
            assert_ne!(problem.code, Code::Internal, "{}: {problem}", one.name);
            let is_global =
                matches!(problem.code, Code::BadWgslOverride | Code::BadWgslEntry | Code::BadWgsl);
            assert!(problem.location != Location::Unknown || is_global, "{}: {problem}", one.name);
        }
    }
}
