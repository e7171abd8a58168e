//! Progress of what takes long: the suites' bar.

pub(crate) use fulgurite_conformance::command::bar;
