//! Wrong wiring does not compile, and the compiler says what to type next.

#[test]
fn wrong_wiring_does_not_compile() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
