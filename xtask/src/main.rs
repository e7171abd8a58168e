//! `cargo xtask`: the project's own commands. It runs as a plain binary too.
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
    /// Measure compiling, launches, copies, kernels, caches and starts, beside what others take for the same
    Bench(bench::Args),
    /// What a process of the suite `start` of `bench` does
    #[command(hide = true)]
    BenchStart(bench::StartArgs),
    /// Write the docs that are generated from the op table and the diagnostic codes
    Bless(bless::Args),
    /// What a process of a suite does
    #[command(hide = true)]
    SuiteWorker {
        /// What, and with what
        args: Vec<String>,
    },
    /// Hold backends to the language: every op on edge values, and kernels against plain Rust
    Conformance(conformance::Args),
    /// Check dependency rules, file headers and sizes, and that generated docs are fresh
    Tidy(tidy::Args),
}

/// The ids that `wanted` stands for: `all`, or one that may not be there.
fn backend_ids(registry: &fulgurite::Registry, wanted: &str) -> Vec<String> {
    match wanted {
        "all" => registry.list().map(|r| r.id().to_owned()).collect(),
        id => vec![id.to_owned()],
    }
}

/// 0: all is well; 1: something failed; 2: the command could not be carried out.
fn main() -> ExitCode {
    // Without it the command works as well; an interrupted compile is suspected once.
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
