//! The rule that modules of a crate do not use one another in circles, except for the circles listed here.
//!
//! A circle means that none of its modules can be read, tested or moved without the others. A new one is either broken,
//! by moving what both sides need to a third module, or listed with the reason why its modules belong together.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::Context as _;

use super::SourceFile;

/// The circles that stay: crate, modules, reason.
const KNOWN: &[(&str, &[&str], &str)] = &[
    (
        "autotune",
        &["search", "tune"],
        "a search reports its progress in the terms of the run that started it",
    ),
    (
        "backend-cpu",
        &["code", "matrix", "memory"],
        "a step names a place in memory, and memory is reached by steps",
    ),
    (
        "backend-vulkan",
        &["commands", "device", "exit", "instance", "memory", "sync"],
        "a device owns its queue, slots, memory and instance, and each of them destroys its objects through the device",
    ),
    (
        "driver-core",
        &["registry", "routing"],
        "routing ranks what the registry lists, and the registry opens what routing selects",
    ),
    (
        "fulgurite",
        &["args", "call", "context", "dynamic", "executable", "params", "tuned"],
        "typed and dynamic executables accept each other's arguments, and a context makes both",
    ),
    (
        "hal",
        &["binding", "device", "launch", "steps"],
        "the traits of devices, buffers and executables take and return one another",
    ),
    (
        "ir",
        &["kernel", "require"],
        "a kernel contains its preconditions, which name its parameters and buffers",
    ),
    ("runtime", &["buffer", "device", "program"], "a device makes buffers and programs, which keep it alive"),
    (
        "spec",
        &["eval", "matrix", "ops", "types"],
        "a type leads to its float format and matrix shape, whose meaning is defined on types",
    ),
    ("storage", &["folder", "storage"], "a storage opens folders, which keep to it"),
];

/// The modules that each top-level module of a crate uses outside tests.
type Uses = BTreeMap<String, BTreeSet<String>>;

/// Returns the circles that are not listed, and those listed that are not there.
pub(super) fn unlisted(root: &Path) -> anyhow::Result<Vec<String>> {
    let mut problems = Vec::new();
    for entry in std::fs::read_dir(root.join("crates")).context("cannot list `crates`")? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let found = circles(&uses_of(super::sources(root, &name)?));
        let known = |circle: &BTreeSet<String>| {
            KNOWN.iter().any(|(of, modules, _)| *of == name && circle.iter().eq(modules.iter().copied()))
        };
        problems.extend(found.iter().filter(|circle| !known(circle)).map(|circle| {
            let modules: Vec<&str> = circle.iter().map(String::as_str).collect();
            format!(
                "crates/{name}: the modules {} use one another in a circle; move what they share, or list the circle with \
                 its reason in xtask/src/tidy/circles.rs",
                modules.join(", ")
            )
        }));
        let stale = KNOWN.iter().filter(|(of, modules, _)| {
            *of == name && !found.iter().any(|circle| circle.iter().eq(modules.iter().copied()))
        });
        problems.extend(stale.map(|(_, modules, _)| {
            format!(
                "crates/{name}: the circle of {} is gone: remove it from xtask/src/tidy/circles.rs",
                modules.join(", ")
            )
        }));
    }
    Ok(problems)
}

fn uses_of(files: Vec<SourceFile>) -> Uses {
    let mut uses = Uses::new();
    // The root declares all modules.
    for file in files.into_iter().filter(|file| !matches!(file.module.as_str(), "lib" | "main")) {
        uses.entry(file.module).or_default().extend(named(&file.text));
    }
    // Items of the crate's root are named like modules.
    let modules: BTreeSet<String> = uses.keys().cloned().collect();
    for (module, used) in &mut uses {
        used.retain(|name| name != module && modules.contains(name));
    }
    uses
}

/// Returns the names that follow `crate::` before the tests.
fn named(text: &str) -> BTreeSet<String> {
    let text = text.split("\n#[cfg(all(test").next().unwrap_or_default();
    let code: String = super::code_lines(text).flat_map(|(line, _)| [line, "\n"]).collect();
    let mut names = BTreeSet::new();
    for (_, rest) in code.match_indices("crate::").map(|(at, path)| code.split_at(at + path.len())) {
        let group = rest.strip_prefix('{').and_then(|group| group.split_once(';')).map(|(group, _)| group);
        for path in group.map_or(vec![rest], |group| group.split(',').collect()) {
            let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
            names.insert(path.trim_start().chars().take_while(|c| is_part(*c)).collect());
        }
    }
    names
}

/// Returns the sets of modules that reach one another.
fn circles(uses: &Uses) -> Vec<BTreeSet<String>> {
    let reached = |from: &str| {
        let (mut seen, mut open) = (BTreeSet::new(), vec![from.to_owned()]);
        while let Some(module) = open.pop() {
            let next = uses.get(&module).into_iter().flatten();
            open.extend(next.filter(|name| seen.insert((*name).clone())).cloned());
        }
        seen
    };
    let all: BTreeMap<&str, BTreeSet<String>> = uses.keys().map(|m| (m.as_str(), reached(m))).collect();
    let mut circles: Vec<BTreeSet<String>> = Vec::new();
    for (module, reached) in &all {
        if reached.contains(*module) && !circles.iter().any(|circle| circle.contains(*module)) {
            let back = |name: &&String| all.get(name.as_str()).is_some_and(|all| all.contains(*module));
            circles.push(reached.iter().filter(back).cloned().collect());
        }
    }
    circles
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_from_paths_and_groups_and_not_from_comments_or_tests() {
        let text = "//! See crate::a.\nuse crate::b::B;\nuse crate::{c, d::{D, E}};\nfn f() { crate::g::g() }\n\
                    #[cfg(test)]\nmod tests {\n    use crate::h::H;\n}\n";
        let names = named(text);
        assert!(["b", "c", "d", "g"].iter().all(|name| names.contains(*name)), "{names:?}");
        assert!(["a", "h"].iter().all(|name| !names.contains(*name)), "{names:?}");
    }

    #[test]
    fn circles_are_found_whole_and_chains_are_none() {
        let uses = |pairs: &[(&str, &[&str])]| -> Uses {
            pairs
                .iter()
                .map(|(m, all)| ((*m).to_owned(), all.iter().map(|n| (*n).to_owned()).collect()))
                .collect()
        };
        let chain = uses(&[("a", &["b", "c"]), ("b", &["c"]), ("c", &[])]);
        assert!(circles(&chain).is_empty());
        let circle = uses(&[
            ("a", &["b"]),
            ("b", &["c"]),
            ("c", &["b", "d"]),
            ("d", &["b"]),
            ("e", &["f"]),
            ("f", &["e"]),
        ]);
        let found: Vec<Vec<String>> = circles(&circle).into_iter().map(|c| c.into_iter().collect()).collect();
        assert_eq!(found, [vec!["b", "c", "d"], vec!["e", "f"]]);
    }
}
