//! Processes that end while a driver compiles: by external signals, by their own exit, and by faults.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "this is a test")]

use std::io::Read as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use fulgurite_pipeline_cache::{
    CacheError, CacheOptions, Digest, PipelineCache, forget_marks, handle_interrupts,
};
use rustix::process::{Pid, Signal, kill_process};

/// Environment variable that tells a process running the test [`child`] what to do.
const CHILD: &str = "FULGURITE_TEST_ENDS";

fn open(root: &Path) -> PipelineCache {
    PipelineCache::open(CacheOptions::in_folder(root))
}

fn program() -> Digest {
    Digest::of(b"program")
}

/// Runs the behavior of a child process; does nothing in any other.
#[test]
fn child() {
    let Ok(told) = std::env::var(CHILD) else { return };
    let (what, root) = told.split_once('\n').unwrap();
    if what == "handles" {
        handle_interrupts().unwrap();
        handle_interrupts().unwrap();
    }
    let cache = open(Path::new(root));
    let compiled = cache.compile(program(), || {
        // The parent waits for this file.
        std::fs::write(Path::new(root).join("ready"), "").unwrap();
        match what {
            "aborts" => std::process::abort(),
            "forgets" => {
                forget_marks();
                std::process::exit(7);
            }
            _ => std::thread::sleep(Duration::from_secs(60)),
        }
    });
    compiled.unwrap();
}

/// Starts a child process and waits until its driver compiles.
#[expect(clippy::zombie_processes, reason = "a child without a wait fails the test")]
fn start(what: &str, root: &Path) -> Child {
    let executable = std::env::current_exe().unwrap();
    let mut command = match what {
        "ignores" => {
            let mut shell = Command::new("sh");
            shell.args(["-c", "trap '' INT; exec \"$0\" \"$@\""]).arg(executable);
            shell
        }
        _ => Command::new(executable),
    };
    let ready = root.join("ready");
    let _ = std::fs::remove_file(&ready);
    let what = if what == "ignores" { "handles" } else { what };
    let child = command
        .args(["--exact", "child", "--nocapture", "--test-threads", "1"])
        .env(CHILD, format!("{what}\n{}", root.display()))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn();
    let child = child.unwrap();
    for _ in 0..30_000 {
        if ready.exists() {
            return child;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    panic!("the child did not start compiling");
}

fn end(mut child: Child, signal: Option<Signal>) -> ExitStatus {
    if let Some(signal) = signal {
        kill_process(Pid::from_child(&child), signal).unwrap();
    }
    let status = child.wait().unwrap();
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    let expected = signal.map_or([Some(6), None], |signal| [Some(signal.as_raw()), None]);
    assert!(expected.contains(&status.signal()), "{status}: {said}");
    status
}

#[test]
fn two_interrupts_cause_no_ban() {
    let folder = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        end(start("waits", folder.path()), Some(Signal::INT));
    }
    assert_eq!(open(folder.path()).compile(program(), || 7), Ok(7));
    assert_eq!(open(folder.path()).suspects(), (0, 0), "the program survived");
}

#[test]
fn kills_cannot_be_told_from_faults_and_the_third_is_a_ban() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    for _ in 0..2 {
        end(start("handles", root), Some(Signal::KILL));
    }
    assert_eq!(open(root).compile(Digest::of(b"other"), || 7), Ok(7));
    assert_ne!(open(root).suspects(), (0, 0), "nobody can take a mark back after SIGKILL");
    end(start("handles", root), Some(Signal::KILL));
    let Err(CacheError::Banned(ban)) = open(root).compile(program(), || ()) else {
        panic!("compiled despite the ban")
    };
    assert!(ban.to_string().contains(&format!("cache lift {}", program())), "{ban}");
    assert!(open(root).lift(program()));
    assert_eq!(open(root).compile(program(), || 7), Ok(7));
}

/// Returns whether this process ignores `signal`, as its children then do, such as SIGHUP under `nohup`.
fn is_ignored(signal: Signal) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.map_or(0, |mask| u64::from_str_radix(mask.trim(), 16).unwrap());
    mask & 1 << (signal.as_raw() - 1) != 0
}

#[test]
fn handled_signals_leave_no_mark() {
    let folder = tempfile::tempdir().unwrap();
    for signal in [Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT] {
        if signal != Signal::TERM && is_ignored(signal) {
            println!("{signal:?} is ignored here");
            continue;
        }
        let status = end(start("handles", folder.path()), Some(signal));
        assert_eq!(status.signal(), Some(signal.as_raw()), "the signal still ends the process");
        assert_eq!(open(folder.path()).suspects(), (0, 0), "{signal:?}");
    }
}

#[test]
fn ignored_signal_stays_ignored() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = start("ignores", folder.path());
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(child.try_wait().unwrap(), None);
    // The signal that is not ignored ends the process.
    assert_eq!(end(child, Some(Signal::TERM)).signal(), Some(Signal::TERM.as_raw()));
    assert_eq!(open(folder.path()).suspects(), (0, 0));
}

#[test]
fn exit_after_forget_marks_leaves_no_mark() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(end(start("forgets", folder.path()), None).code(), Some(7));
    assert_eq!(open(folder.path()).suspects(), (0, 0));
}

#[test]
fn three_faults_cause_a_ban_with_file_and_command() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    end(start("aborts", root), None);
    end(start("waits", root), Some(Signal::ILL));
    assert_eq!(open(root).compile(Digest::of(b"other"), || 7), Ok(7));
    end(start("waits", root), Some(Signal::FPE));
    let Err(CacheError::Banned(ban)) = open(root).compile(program(), || ()) else {
        panic!("compiled despite the ban")
    };
    let said = ban.to_string();
    let file = root.join("crashes.log");
    assert!(file.exists() && said.contains(&file.display().to_string()), "{said}");
    assert!(said.contains(&format!("cache lift {} --root {}", program(), root.display())), "{said}");
    assert_eq!(open(root).compile(Digest::of(b"other"), || 7), Ok(7), "nothing else is banned");
    assert!(open(root).lift(program()));
    assert_eq!(open(root).compile(program(), || 7), Ok(7));
}
