//! Progress bars, drawn on a terminal only.

pub(crate) use fulgurite_conformance::command::bar;
