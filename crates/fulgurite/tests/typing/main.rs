//! Launches and builder code that must compile or fail to compile.

mod launch;
mod params;
mod views;

#[test]
fn wrong_launches_and_kernels_do_not_compile() {
    trybuild::TestCases::new().compile_fail("tests/compile-fail/*.rs");
}
