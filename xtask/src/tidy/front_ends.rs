//! The rule that the core of the IR does not know its front ends.
//!
//! A front end creates or prints kernels: the builder, the kernel text. The data structure, the verifier, the analyses,
//! the digest and the wire format must not use one, so that a new front end changes none of them.

use std::path::Path;

/// Front ends: modules of `crates/ir/src`.
const FRONT_ENDS: &[&str] = &["builder", "text"];

/// Returns the places outside tests where a core module of the IR names a front end.
pub(super) fn seen_from_the_core(root: &Path) -> anyhow::Result<Vec<String>> {
    let mut problems = Vec::new();
    for file in super::sources(root, "ir")? {
        // The root declares all modules.
        if FRONT_ENDS.contains(&file.module.as_str()) || file.module == "lib" {
            continue;
        }
        let shown = &file.shown;
        problems.extend(uses(&file.text).map(|(line, name)| {
            format!("{shown}:{line}: uses the front end `{name}`; move what both need to `kernel`")
        }));
    }
    Ok(problems)
}

/// Returns the lines before the tests that name a front end, and its name.
fn uses(text: &str) -> impl Iterator<Item = (usize, &'static str)> + '_ {
    super::code_lines(text).flat_map(|(line, number)| {
        let is_named = move |name: &&&str| line.contains(&format!("crate::{name}"));
        FRONT_ENDS.iter().filter(is_named).map(move |name| (number, *name))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn front_ends_are_found_in_code_and_not_in_comments_or_tests() {
        let text = "//! As crate::text does.\nuse crate::kernel::Kernel;\nuse crate::text::print;\n\
                    fn f() { crate::builder::build() }\n#[cfg(test)]\nmod tests {\n    use crate::text::parse;\n}\n";
        assert_eq!(uses(text).collect::<Vec<_>>(), [(3, "text"), (4, "builder")]);
    }
}
