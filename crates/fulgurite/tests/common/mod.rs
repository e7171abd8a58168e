//! Shared by the tests: the backends that are always available.
#![allow(
    dead_code,
    clippy::panic,
    clippy::print_stdout,
    reason = "each test uses its share, and fails by panicking"
)]

use fulgurite::{Code, Context, Error};

/// Backends that need no driver.
pub(crate) const BACKENDS: [&str; 2] = ["cpu", "reference"];

/// Opens a new context on a backend.
pub(crate) fn open(id: &str) -> Context {
    Context::builder().backend(id).open().unwrap()
}

/// Returns whether it is a failure if a backend is not available.
pub(crate) fn is_required(id: &str) -> bool {
    let required = std::env::var("FULGURITE_REQUIRE_BACKENDS").unwrap_or_default();
    required.split(',').any(|required| required.trim() == id)
}

/// Returns an opened context, or `None` if its backend `id` is not available and not required. Panics on other errors.
pub(crate) fn if_available(id: &str, opened: Result<Context, Error>) -> Option<Context> {
    match opened {
        Ok(ctx) => Some(ctx),
        Err(error @ Error::Unavailable { .. }) => {
            assert!(!is_required(id), "{id} is required, but: {error}");
            println!("{id}: unavailable ({error})");
            None
        }
        Err(error) => panic!("{id}: {error}"),
    }
}

/// Returns the code of an error.
pub(crate) fn code<T>(result: Result<T, Error>) -> Option<Code> {
    result.err().map(|error| error.code())
}
