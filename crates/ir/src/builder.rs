//! The typed Rust builder.
