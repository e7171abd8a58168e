//! Conformance suites that any backend can be held to.
