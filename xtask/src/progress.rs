//! Progress of long commands: the bar of the conformance suites.

pub(crate) use fulgurite_conformance::command::bar;
