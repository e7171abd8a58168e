//! The rule that the core of the IR does not know its front ends.
//!
//! A front end creates or prints kernels: the builder, the kernel text. The data structure, the verifier, the analyses,
//! the digest and the wire format must not use one, so that a new front end changes none of them.

use std::path::Path;

use anyhow::Context as _;

/// Front ends: modules of `crates/ir/src`.
const FRONT_ENDS: &[&str] = &["builder", "text"];

/// Returns the places outside tests where a core module of the IR names a front end.
pub(super) fn seen_from_the_core(root: &Path) -> anyhow::Result<Vec<String>> {
    let folder = root.join("crates/ir/src");
    let mut problems = Vec::new();
    for path in super::walk(&folder, &[""], &["tests"])? {
        let inner = path.strip_prefix(&folder).unwrap_or(&path).with_extension("");
        let module = inner.iter().next().and_then(|part| part.to_str()).unwrap_or_default();
        // The root declares all modules.
        if FRONT_ENDS.contains(&module) || module == "lib" || path.ends_with("tests.rs") {
            continue;
        }
        let shown = path.strip_prefix(root).unwrap_or(&path).display();
        let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {shown}"))?;
        problems.extend(uses(&text).map(|(line, name)| {
            format!("{shown}:{line}: uses the front end `{name}`; move what both need to `kernel`")
        }));
    }
    Ok(problems)
}

/// Returns the lines before the tests that name a front end, and its name.
fn uses(text: &str) -> impl Iterator<Item = (usize, &'static str)> + '_ {
    let code = text.lines().take_while(|line| !line.starts_with("#[cfg(test)]"));
    let code = code.zip(1..).filter(|(line, _)| !line.trim_start().starts_with("//"));
    code.flat_map(|(line, number)| {
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
