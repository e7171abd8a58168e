//! The conformance suites' command line on this backend: `cargo run -p third-party-backend -- --suite memory`.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use fulgurite_conformance::Registry;

fn main() -> ExitCode {
    let mut registry = Registry::new();
    match registry.register(third_party_backend::backend()) {
        Ok(()) => fulgurite_conformance::main(&registry),
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}
