//! Runs the built command in a temporary folder.
#![allow(dead_code, reason = "each test uses its share")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

/// A kernel that adds a parameter to every element of `y`.
pub(crate) const ADD: &str = "fulgurite 1
kernel @add workgroup(64, 1, 1) {
  buffer %y: read_write u32[]
  param %n: u32

  %i = global_id.x
  %v = load %y[%i]
  %w = add %v, %n
  store %y[%i], %w
}
";

/// A kernel text that uses an undefined name.
pub(crate) const BAD: &str = "fulgurite 1\nkernel @k workgroup(1, 1, 1) {\n  %a = add %b, 1u32\n}\n";

/// A folder with files, in which commands run. Its cache is separate.
pub(crate) struct Folder(TempDir);

/// The outcome of a command.
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Folder {
    pub(crate) fn new(files: &[(&str, &str)]) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        files.iter().for_each(|(name, text)| std::fs::write(folder.path(name), text).unwrap());
        folder
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    /// Returns a command without a Vulkan driver.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = self.command_with_drivers(args);
        // Older loaders know only the older name of the variable.
        command.env("VK_DRIVER_FILES", "/nonexistent").env("VK_ICD_FILENAMES", "/nonexistent");
        command
    }

    /// Returns a command with the Vulkan drivers of this machine.
    pub(crate) fn command_with_drivers(&self, args: &[&str]) -> Command {
        self.command_of(env!("CARGO_BIN_EXE_fulgurite"), args)
    }

    /// Returns a command of another program, which starts this one.
    pub(crate) fn command_of(&self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(args).current_dir(self.0.path()).env("FULGURITE_CACHE_DIR", self.path("cache"));
        command.env_remove("FULGURITE_VULKAN_VALIDATION").env_remove("FULGURITE_REQUIRE_BACKENDS");
        command
    }

    /// Runs a command without a Vulkan driver.
    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        Ran::of(&mut self.command(args))
    }

    /// Returns the ids of the devices of this machine, with its Vulkan drivers, that may be used without being named.
    pub(crate) fn suitable_devices(&self) -> BTreeSet<String> {
        let listed = Ran::of(&mut self.command_with_drivers(&["devices", "--json"])).json();
        let all = listed["devices"].as_array().unwrap().iter();
        let suitable = all.filter(|one| one["unsuitable"].is_null() && one["deselected"].is_null());
        ids(&suitable.cloned().collect(), "id")
    }

    /// Runs a command on the Vulkan drivers of this machine. Returns `None` if none works, unless one is required.
    pub(crate) fn run_on_vulkan(&self, args: &[&str]) -> Option<Ran> {
        let devices = Ran::of(&mut self.command_with_drivers(&["devices", "--json"])).json();
        let all = devices["devices"].as_array().unwrap();
        if all.iter().any(|device| device["backend"] == "vulkan" && device["unsuitable"].is_null()) {
            return Some(Ran::of(&mut self.command_with_drivers(args)));
        }
        let required = std::env::var("FULGURITE_REQUIRE_BACKENDS").unwrap_or_default();
        assert!(!required.contains("vulkan"), "{devices}");
        println!("unavailable: {}", devices["unavailable"]);
        None
    }
}

impl Ran {
    pub(crate) fn of(command: &mut Command) -> Self {
        let output = command.output().unwrap();
        let [out, err] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
        Self { code: output.status.code(), out, err }
    }

    /// Checks the exit status, and that standard output or error contains each of `parts`.
    #[track_caller]
    pub(crate) fn expect(&self, code: i32, parts: &[&str]) -> &Self {
        let Self { out, err, .. } = self;
        assert_eq!(self.code, Some(code), "{out}{err}");
        for part in parts {
            assert!(out.contains(part) || err.contains(part), "no `{part}` in:\n{out}{err}");
        }
        self
    }

    /// Parses standard output as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}{}", self.out, self.err))
    }
}

/// Returns the texts of a field of the objects in a list.
pub(crate) fn ids(list: &Value, field: &str) -> BTreeSet<String> {
    list.as_array().unwrap().iter().map(|one| one[field].as_str().unwrap().to_owned()).collect()
}

/// Returns the path of a kernel text of this repository.
pub(crate) fn example(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/kernels").join(name);
    path.display().to_string()
}
