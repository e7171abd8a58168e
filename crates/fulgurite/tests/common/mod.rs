//! Shared by the tests: the backends that are always available.
#![allow(dead_code, reason = "each test uses its share")]

use fulgurite::{Code, Context, Error};

/// Backends that need no driver.
pub(crate) const BACKENDS: [&str; 2] = ["cpu", "reference"];

/// Opens a new context on a backend.
pub(crate) fn open(id: &str) -> Context {
    Context::builder().backend(id).open().unwrap()
}

/// Returns the code of an error.
pub(crate) fn code<T>(result: Result<T, Error>) -> Option<Code> {
    result.err().map(|error| error.code())
}
