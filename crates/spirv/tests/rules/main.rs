//! Checks the rules of `docs/spirv-lowering.md`: one test per row, on modules parsed by `rspirv`.
#![expect(clippy::disallowed_methods, reason = "tests read the document and the file tests")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this is a test")]

mod control;
mod document;
mod folding;
mod interface;
mod memory;
mod module;
mod objects;
mod scalar;
mod subgroup;
mod support;
mod types;
