//! The kernel library: reduce, scan, sort, transpose, matrix product, softmax and their like. Nothing is here yet.
//!
//! What will live here: one module for each family, with its configurations, its heuristic and a function that
//! builds the kernel of a configuration with the typed builder; launch plans where one operation takes several
//! dispatches; and for each family a plain Rust statement of what it computes, which tests hold it to.
//!
//! What must hold: every configuration that a family offers is verified, computes the same as the plain Rust within
//! the stated bound, and states by `require` what it assumes of lengths and grid. A family is tuned through
//! `autotune` and works untuned.
//!
//! What must not be here: search, timing and records (`autotune`), backends or anything that only one of them can
//! do without a capability that says so, and ops of the language's own: what the builder cannot say belongs in `ir`.
#![forbid(unsafe_code)]
