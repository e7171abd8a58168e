//! Progress bars and spinners, drawn on a terminal only.

pub(crate) use fulgurite_conformance::command::{bar, spinner};
