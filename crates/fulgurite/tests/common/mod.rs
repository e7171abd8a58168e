//! What the tests share: the backends that are always there.
#![allow(dead_code, reason = "each test uses its share")]

use fulgurite::{Code, Context, Error};

/// Backends that need no driver.
pub(crate) const BACKENDS: [&str; 2] = ["cpu", "reference"];

/// A context of its own on a backend.
pub(crate) fn open(id: &str) -> Context {
    Context::builder().backend(id).open().unwrap()
}

/// The code of an error.
pub(crate) fn code<T>(result: Result<T, Error>) -> Option<Code> {
    result.err().map(|error| error.code())
}
