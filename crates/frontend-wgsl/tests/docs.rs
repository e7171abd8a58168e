//! The example of `docs/wgsl.md`: the shader is imported as the kernel that the page shows.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use fulgurite_frontend_wgsl::{ImportOptions, import};
use fulgurite_ir::text;

fn block(page: &str, language: &str) -> String {
    let start = page.find(&format!("```{language}\n")).unwrap() + language.len() + 4;
    page[start..start + page[start..].find("```").unwrap()].to_owned()
}

#[test]
fn example_is_imported_as_shown() {
    let page = include_str!("../../../docs/wgsl.md");
    let imported = import(&block(page, "wgsl"), &ImportOptions::default()).unwrap();
    assert_eq!(text::print(&imported[0].kernel), block(page, "fulgurite"));
}
