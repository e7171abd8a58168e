//! Suite.
pub(super) fn run(_: &mut crate::harness::Harness<'_>, _: &mut dyn FnMut(usize, usize)) {}
