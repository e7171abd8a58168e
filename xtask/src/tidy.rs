//! `cargo xtask tidy`: checks the machine-checkable rules of `ARCHITECTURE.md`, and that generated docs are current.

mod circles;
mod codes;
mod front_ends;
mod lengths;
mod wildcards;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package};

/// Maximum number of lines per file.
const MAX_LINES: usize = 800;

/// The workspace crates that each crate may depend on. `ARCHITECTURE.md` describes the same table.
const MAY_DEPEND_ON: &[(&str, &[&str])] = &[
    ("fulgurite-spec", &[]),
    ("fulgurite-ir", &["spec"]),
    ("fulgurite-passes", &["spec", "ir"]),
    ("fulgurite-spirv", &["spec", "ir"]),
    ("fulgurite-frontend-wgsl", &["spec", "ir"]),
    ("fulgurite-derive", &[]),
    ("fulgurite-hal", &["spec", "ir"]),
    ("fulgurite-driver-core", &["spec", "ir", "hal"]),
    ("fulgurite-runtime", &["spec", "ir", "passes", "hal"]),
    ("fulgurite-storage", &[]),
    ("fulgurite-pipeline-cache", &["spec", "storage"]),
    ("fulgurite-autotune", &["spec", "ir", "hal", "runtime", "storage"]),
    ("fulgurite-backend-reference", &["spec", "ir", "hal"]),
    ("fulgurite-backend-cpu", &["spec", "ir", "hal"]),
    ("fulgurite-backend-vulkan", &["spec", "ir", "spirv", "hal", "storage", "pipeline-cache"]),
    ("fulgurite-kernels", &["spec", "ir", "hal", "autotune"]),
    (
        "fulgurite-conformance",
        &[
            "spec",
            "ir",
            "spirv",
            "hal",
            "driver-core",
            "runtime",
            "storage",
            "pipeline-cache",
            "autotune",
            "backend-reference",
        ],
    ),
    (
        "fulgurite",
        &[
            "spec",
            "ir",
            "spirv",
            "frontend-wgsl",
            "derive",
            "hal",
            "driver-core",
            "runtime",
            "storage",
            "pipeline-cache",
            "autotune",
            "backend-reference",
            "backend-cpu",
            "backend-vulkan",
            "kernels",
        ],
    ),
    (
        "fulgurite-benches",
        &[
            "fulgurite",
            "passes",
            "spirv",
            "hal",
            "driver-core",
            "runtime",
            "pipeline-cache",
            "backend-vulkan",
            "conformance",
        ],
    ),
];

/// Crates that use no clock, threads or files. Clippy checks this through a `clippy.toml` in each.
const PURE: &[&str] =
    &["spec", "ir", "frontend-wgsl", "passes", "spirv", "hal", "driver-core", "runtime", "backend-reference"];
/// Crates that must not name a backend.
const NEUTRAL: &[&str] = &["hal", "driver-core", "runtime"];
/// Third-party crates that `hal` may depend on: authors of backends have to compile them.
const HAL_MAY_USE: &[&str] = &["serde", "thiserror", "tracing"];
/// Packages that may depend on any workspace crate.
const FREE: &[&str] = &["fulgurite-cli", "xtask"];
/// Packages that may call Vulkan and contain unsafe code.
const UNSAFE: &[&str] = &["fulgurite-backend-vulkan", "fulgurite-benches"];

/// Crates that deny unsafe code instead of forbidding it, because one module calls generated code, or because they call
/// unsafe functions to trust a pack: each call states why that is sound.
const DENYING: &[&str] = &["fulgurite-backend-cpu", "fulgurite-pipeline-cache", "fulgurite-cli"];

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The workspace to check
    #[arg(long, value_name = "DIR", default_value = ".")]
    root: PathBuf,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<bool> {
    let problems = check(&args.root)?;
    for problem in &problems {
        eprintln!("tidy: {problem}");
    }
    if problems.is_empty() {
        eprintln!("tidy: all rules hold");
    }
    Ok(problems.is_empty())
}

/// Returns all violations.
fn check(root: &Path) -> anyhow::Result<Vec<String>> {
    let metadata = MetadataCommand::new()
        .manifest_path(root.join("Cargo.toml"))
        .no_deps()
        .exec()
        .context("cannot read the workspace's metadata")?;
    let mut problems = Vec::new();
    let packages: Vec<&Package> = metadata.workspace_packages();
    let examples = metadata.workspace_root.join("examples");
    for package in &packages {
        // The packages in `examples/` are written like user code.
        let is_free = FREE.contains(&package.name.as_str()) || package.manifest_path.starts_with(&examples);
        dependencies(package, is_free, &mut problems);
        unsafe_code(package, &mut problems);
    }
    for (name, _) in MAY_DEPEND_ON {
        if !packages.iter().any(|p| p.name.as_str() == *name) {
            problems.push(format!("crate {name} is missing"));
        }
    }
    files(&metadata, &mut problems)?;
    neutral_crates(&metadata, &mut problems)?;
    pure_crates(&metadata, &mut problems);
    problems.extend(crate::bless::stale(metadata.workspace_root.as_std_path())?);
    problems.extend(codes::untested(root)?);
    problems.extend(wildcards::hidden_variants(root)?);
    problems.extend(front_ends::seen_from_the_core(root)?);
    problems.extend(circles::unlisted(root)?);
    Ok(problems)
}

fn dependencies(package: &Package, is_free: bool, problems: &mut Vec<String>) {
    let name = package.name.as_str();
    for dependency in &package.dependencies {
        let on = dependency.name.as_str();
        if on == "ash" && !UNSAFE.contains(&name) {
            problems.push(format!("{name} depends on ash: only the Vulkan backend calls Vulkan"));
        }
        if on == "bincode" && name != "fulgurite-ir" {
            problems.push(format!("{name} depends on bincode: only the wire format of kernels uses it"));
        }
        let ours = on == "fulgurite" || on.starts_with("fulgurite-");
        let is_normal = dependency.kind == DependencyKind::Normal;
        if name == "fulgurite-hal" && is_normal && !ours && !HAL_MAY_USE.contains(&on) {
            problems.push(format!("{name} depends on {on}: authors of backends would have to compile it"));
        }
        if !ours || is_free {
            continue;
        }
        let Some((_, allowed)) = MAY_DEPEND_ON.iter().find(|(n, _)| *n == name) else {
            problems.push(format!("{name} has no line in tidy's table of dependencies"));
            return;
        };
        let short = on.trim_start_matches("fulgurite-");
        let between_backends = name.starts_with("fulgurite-backend-") && on.starts_with("fulgurite-backend-");
        // Tests may use more crates, but a backend must not use another backend, and only the facade itself may use the
        // facade.
        let facade = on == "fulgurite" && name != on;
        let test_only = dependency.kind == DependencyKind::Development && !between_backends && !facade;
        if !allowed.contains(&short) && !test_only {
            problems.push(format!("{name} must not depend on {on}"));
        }
    }
}

/// Checks that every target except those of the Vulkan backend and the benchmarks forbids unsafe code, or denies it
/// in [`DENYING`].
fn unsafe_code(package: &Package, problems: &mut Vec<String>) {
    if UNSAFE.contains(&package.name.as_str()) {
        return;
    }
    let roots = package.targets.iter().filter(|t| t.is_lib() || t.is_bin());
    for root in roots {
        let source = std::fs::read_to_string(&root.src_path).unwrap_or_default();
        let level = if DENYING.contains(&package.name.as_str()) { "deny" } else { "forbid" };
        let attribute = format!("#![{level}(unsafe_code)]");
        if !source.contains(&attribute) {
            problems.push(format!("{}: add `{attribute}`", root.src_path));
        }
    }
}

/// Checks headers and sizes of all Rust files.
fn files(metadata: &Metadata, problems: &mut Vec<String>) -> anyhow::Result<()> {
    let root = metadata.workspace_root.as_std_path();
    // Inputs of compile-fail tests have no header, because their lines are written like user code.
    let skipped = ["target", "compile-fail"];
    for path in walk(root, &["crates", "xtask", "benches", "fuzz", "examples"], &skipped)? {
        if path.extension().is_some_and(|e| e == "rs") {
            file(root, &path, problems)?;
        }
    }
    Ok(())
}

/// Returns all files in some folders of `root`, except those in folders named in `skipped`. Missing folders count as
/// empty.
fn walk(root: &Path, folders: &[&str], skipped: &[&str]) -> anyhow::Result<Vec<PathBuf>> {
    let mut folders: Vec<PathBuf> = folders.iter().map(|folder| root.join(folder)).collect();
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for entry in entries {
            let path = entry?.path();
            if !path.is_dir() {
                files.push(path);
            } else if !skipped.iter().any(|name| path.ends_with(name)) {
                folders.push(path);
            }
        }
    }
    Ok(files)
}

/// A file of a crate that is not a test.
struct SourceFile {
    /// The path from the repository's root.
    shown: String,
    /// The module of the crate's root that the file is or belongs to: `lib` or `main` for the root itself.
    module: String,
    text: String,
}

/// Reads the Rust files below `crates/<name>/src` that are not tests.
fn sources(root: &Path, name: &str) -> anyhow::Result<Vec<SourceFile>> {
    let folder = root.join("crates").join(name).join("src");
    let files = walk(&folder, &[""], &["tests"])?.into_iter();
    let code =
        files.filter(|path| path.extension().is_some_and(|e| e == "rs") && !path.ends_with("tests.rs"));
    code.map(|path| {
        let shown = path.strip_prefix(root).unwrap_or(&path).display().to_string();
        let inner = path.strip_prefix(&folder).unwrap_or(&path).with_extension("");
        let module = inner.iter().next().map(|part| part.to_string_lossy().into_owned()).unwrap_or_default();
        let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {shown}"))?;
        Ok(SourceFile { shown, module, text })
    })
    .collect()
}

/// Returns the lines before the tests that are not comments, with their numbers.
fn code_lines(text: &str) -> impl Iterator<Item = (&str, usize)> {
    let code = text.lines().take_while(|line| !line.starts_with("#[cfg(test)]"));
    code.zip(1..).filter(|(line, _)| !line.trim_start().starts_with("//"))
}

fn file(root: &Path, path: &Path, problems: &mut Vec<String>) -> anyhow::Result<()> {
    let shown = path.strip_prefix(root).unwrap_or(path).display();
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {shown}"))?;
    if !text.starts_with("//!") {
        problems.push(format!("{shown}: begins with no `//!` that says what it owns"));
    }
    let lines = text.lines().count();
    if lines > MAX_LINES {
        problems.push(format!("{shown}: {lines} lines, more than {MAX_LINES}; split it"));
    }
    problems.extend(lengths::long_functions(root, path, &text)?);
    Ok(())
}

/// Checks that every pure crate has the same `clippy.toml`.
fn pure_crates(metadata: &Metadata, problems: &mut Vec<String>) {
    let read = |name: &str| {
        let path = metadata.workspace_root.as_std_path().join("crates").join(name).join("clippy.toml");
        std::fs::read_to_string(path).unwrap_or_default()
    };
    let first = read(PURE[0]);
    for name in PURE {
        if !read(name).contains("disallowed-methods") || read(name) != first {
            problems.push(format!("crates/{name}/clippy.toml is not the list that crates/{} has", PURE[0]));
        }
    }
}

/// Checks that the backend interface and the engine name no backend.
fn neutral_crates(metadata: &Metadata, problems: &mut Vec<String>) -> anyhow::Result<()> {
    let mut named: BTreeMap<String, usize> = BTreeMap::new();
    for name in NEUTRAL {
        let folder = metadata.workspace_root.as_std_path().join("crates").join(name);
        for path in walk(&folder, &["src"], &[])? {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            let code = text.lines().filter(|l| !l.trim_start().starts_with("//"));
            for word in code.flat_map(|l| l.split(|c: char| !c.is_alphanumeric())) {
                if matches!(word.to_ascii_lowercase().as_str(), "vulkan" | "rayon" | "cuda" | "metal") {
                    *named
                        .entry(format!("{name} names a backend: {}: {word}", path.display()))
                        .or_default() += 1;
                }
            }
        }
    }
    problems.extend(named.into_keys());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_workspace_is_tidy() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        assert_eq!(check(&root).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn broken_rules_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let package = |name: &str, dependencies: &str| {
            format!(
                "[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[dependencies]\n{dependencies}\n"
            )
        };
        write("Cargo.toml", "[workspace]\nresolver = \"3\"\nmembers = [\"crates/*\", \"examples/*\"]\n");
        write("examples/own/Cargo.toml", &package("own", "fulgurite-ir = { path = \"../../crates/ir\" }"));
        write("examples/own/src/lib.rs", "//! Unsafe.\n");
        write(
            "crates/ir/Cargo.toml",
            &package("fulgurite-ir", "ash = \"0.38\"\nfulgurite-spirv = { path = \"../spirv\" }"),
        );
        write("crates/ir/src/lib.rs", "fn no_header() {}\n");
        write(
            "crates/ir/src/walk.rs",
            "//! Walk.\nfn f(op: Op) -> bool {\n    match op {\n        Op::Add => true,\n        _ => false,\n    }\n}\n",
        );
        write("crates/spirv/Cargo.toml", &package("fulgurite-spirv", ""));
        write(
            "crates/spirv/src/lib.rs",
            &format!("//! Long.\n#![forbid(unsafe_code)]\n{}", "//\n".repeat(801)),
        );
        write("crates/driver-core/Cargo.toml", &package("fulgurite-driver-core", ""));
        write(
            "crates/driver-core/src/lib.rs",
            "//! Core.\n#![forbid(unsafe_code)]\nconst ID: &str = \"vulkan\";\n",
        );
        write("crates/hal/Cargo.toml", &package("fulgurite-hal", "rayon = \"1\""));
        write("crates/hal/src/lib.rs", "//! Traits.\n#![forbid(unsafe_code)]\nmod inner;\n");
        write("crates/hal/src/inner/deep.rs", "//! Deep.\nconst API: &str = \"cuda\";\n");
        let problems = check(folder.path()).unwrap().join("\n");
        for part in [
            "fulgurite-ir must not depend on fulgurite-spirv",
            "fulgurite-ir depends on ash",
            "add `#![forbid(unsafe_code)]`",
            "ir/src/lib.rs: begins with no `//!`",
            "spirv/src/lib.rs: 803 lines",
            "driver-core names a backend",
            "hal names a backend",
            "fulgurite-hal depends on rayon",
            "crate fulgurite-spec is missing",
            "docs/ops.md is stale",
            "crates/ir/clippy.toml is not the list",
            "no test provokes",
            "crates/ir/src/walk.rs:5: a catch-all arm hides variants of Op",
        ] {
            assert!(problems.contains(part), "{part} not in:\n{problems}");
        }
        // Examples may depend on any crate, but the other rules apply to them.
        assert!(!problems.contains("own has no line") && !problems.contains("own must not"), "{problems}");
        assert!(problems.contains("own/src/lib.rs: add `#![forbid(unsafe_code)]`"), "{problems}");
    }
}
