//! What the types of a launch and of the builder refuse at compile time.

#[test]
fn wrong_launches_and_kernels_do_not_compile() {
    let cases = trybuild::TestCases::new();
    cases.pass("tests/compile-pass/*.rs");
    cases.compile_fail("tests/compile-fail/*.rs");
}
