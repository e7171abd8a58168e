//! Conformance suites that any backend can be held to.
#![forbid(unsafe_code)]

pub mod filetest;
