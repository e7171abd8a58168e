//! `cargo xtask`: the project's own commands. It also runs as a plain binary.
#![forbid(unsafe_code)]

mod bench;
mod bless;
mod conformance;
mod progress;
mod tidy;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "xtask", about = "Fulgurite's own commands", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measure compiling, launches, copies, kernels, caches and process starts, compared with peers
    Bench(bench::Args),
    /// Play a role of the suite `start` of `bench` in this process
    #[command(hide = true)]
    BenchStart(bench::StartArgs),
    /// Write the docs that are generated from the op table and the diagnostic codes
    Bless(bless::Args),
    /// Run a worker command of a conformance suite
    #[command(hide = true)]
    SuiteWorker {
        /// Worker command and its arguments
        args: Vec<String>,
    },
    /// Test backends against the language: every op on edge values, and kernels against plain Rust
    Conformance(conformance::Args),
    /// Check dependency rules, file headers and sizes, and that generated docs are current
    Tidy(tidy::Args),
}

/// Returns the backend ids that `wanted` selects: `all`, or one id, which need not exist.
fn backend_ids(registry: &fulgurite::Registry, wanted: &str) -> Vec<String> {
    match wanted {
        "all" => registry.list().map(|r| r.id().to_owned()).collect(),
        id => vec![id.to_owned()],
    }
}

/// Exit status 0: success; 1: something failed; 2: the command could not be carried out.
fn main() -> ExitCode {
    // An error here is not fatal; without the handler, an interrupted compile counts once as a suspect.
    #[cfg(unix)]
    let _ = fulgurite::handle_interrupts();
    let result = match Cli::parse().command {
        Command::Bench(args) => bench::run(&args),
        Command::BenchStart(args) => bench::play(&args),
        Command::Bless(args) => bless::run(&args),
        Command::SuiteWorker { args } => {
            fulgurite_conformance::work(&args).map(|()| true).map_err(anyhow::Error::msg)
        }
        Command::Conformance(args) => conformance::run(&args),
        Command::Tidy(args) => tidy::run(&args),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::from(2)
        }
    }
}
