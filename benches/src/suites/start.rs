//! The suite `start`: from the start of a process to its first result, compared with the minimum for any process.
//!
//! Includes the driver's own caches; disable them with `__GL_SHADER_DISK_CACHE=0 MESA_SHADER_CACHE_DISABLE=true`.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

use super::{Session, Starter};
use crate::measurement::Amount;
use crate::target::Target;
use crate::timing::{Policy, by_itself};

/// Folders of the started processes: their cache of pipelines, and what is known of drivers.
const CACHE: &str = "cache";
const PROBES: &str = "probes";

pub(super) fn run(session: &mut Session<'_>, target: &Target) -> anyhow::Result<()> {
    let starter = session.options.starter.as_ref().context("there is no program to start")?;
    // With Vulkan, creating an instance and a device is the driver's share.
    let (peer, role) = match target.id.as_str() {
        "vulkan" => ("bare device", "bare"),
        _ => ("empty process", "empty"),
    };
    let turns = if session.options.quick { 5 } else { 15 };
    let policy =
        Policy { turns: [turns, turns], turn: Duration::ZERO, warm_up: Duration::ZERO, ..session.policy };
    let known = [("first result, warm cache", &[][..]), ("first result, cold cache", &[CACHE])];
    // Only the Vulkan backend probes drivers.
    let probing = ("first result, new driver", &[CACHE, PROBES][..]);
    for (name, removed) in known.into_iter().chain((target.id == "vulkan").then_some(probing)) {
        session.each(name, |session| {
            let folder = tempfile::tempdir()?;
            let root = folder.path();
            play(starter, "first", &target.id, root)?;
            let mut ours = by_itself(|| {
                for part in removed {
                    let _ = std::fs::remove_dir_all(root.join(part));
                }
                play(starter, "first", &target.id, root)
            });
            let mut least = by_itself(|| play(starter, role, &target.id, root));
            let amount = Amount::Times(1);
            session.time_by(policy, name, amount, &mut ours, Some((peer, amount, &mut least)))?;
            Ok(())
        });
    }
    Ok(())
}

/// Starts a process and returns the time until it reported that it was done.
fn play(starter: &Starter, role: &str, backend: &str, root: &Path) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    let mut child = Command::new(&starter.program)
        .args(&starter.args)
        .args([role, backend])
        .arg(root.join(CACHE))
        .env("FULGURITE_CACHE_DIR", root.join(PROBES))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {}", starter.program.display()))?;
    let mut line = String::new();
    if let Some(out) = child.stdout.take() {
        BufReader::new(out).read_line(&mut line)?;
    }
    let took = begun.elapsed();
    let mut said = String::new();
    if let Some(mut err) = child.stderr.take() {
        err.read_to_string(&mut said)?;
    }
    ensure!(child.wait()?.success() && !line.is_empty(), "a process that was to be `{role}` failed: {said}");
    Ok(took)
}
