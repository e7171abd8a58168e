//! What the types of a launch and of the builder accept and refuse at compile time.

mod launch;
mod params;
mod views;

#[test]
fn wrong_launches_and_kernels_do_not_compile() {
    trybuild::TestCases::new().compile_fail("tests/compile-fail/*.rs");
}
