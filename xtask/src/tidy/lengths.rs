//! The rule that functions are short enough to be read at once.

use std::path::Path;

use anyhow::Context as _;
use syn::spanned::Spanned as _;
use syn::visit::{self, Visit};
use syn::{ImplItemFn, ItemFn, Signature, TraitItemFn};

/// Maximum number of lines from `fn` to the closing brace.
const MAX_LINES: usize = 120;

/// Returns the functions of a file that are too long. Functions inside macro invocations are not seen.
pub(super) fn long_functions(root: &Path, path: &Path, source: &str) -> anyhow::Result<Vec<String>> {
    let shown = path.strip_prefix(root).unwrap_or(path).display();
    let file = syn::parse_file(source).with_context(|| format!("cannot parse {shown}"))?;
    let mut finder = Finder { found: Vec::new() };
    finder.visit_file(&file);
    let problem = |Long { line, name, lines }| {
        format!("{shown}:{line}: `{name}` has {lines} lines, more than {MAX_LINES}; split it")
    };
    Ok(finder.found.into_iter().map(problem).collect())
}

/// A function that is too long.
struct Long {
    /// Line number of `fn`, starting at 1.
    line: usize,
    name: String,
    lines: usize,
}

struct Finder {
    found: Vec<Long>,
}

impl Finder {
    fn check(&mut self, signature: &Signature, end: usize) {
        let line = signature.span().start().line;
        let lines = end + 1 - line;
        if lines > MAX_LINES {
            self.found.push(Long { line, name: signature.ident.to_string(), lines });
        }
    }
}

impl<'ast> Visit<'ast> for Finder {
    fn visit_item_fn(&mut self, item: &'ast ItemFn) {
        self.check(&item.sig, item.block.span().end().line);
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast ImplItemFn) {
        self.check(&item.sig, item.block.span().end().line);
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast TraitItemFn) {
        if let Some(block) = &item.default {
            self.check(&item.sig, block.span().end().line);
        }
        visit::visit_trait_item_fn(self, item);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(source: &str) -> Vec<String> {
        long_functions(Path::new("/r"), Path::new("/r/a.rs"), source).unwrap()
    }

    #[test]
    fn only_functions_over_the_limit_are_found() {
        let body = |lines: usize| format!("() {{\n{}}}", "    f();\n".repeat(lines));
        let whole = |lines: usize| {
            let body = body(lines);
            format!(
                "fn a{body}\nimpl S {{\n    pub fn b{body}\n}}\ntrait T {{\n    fn c{body}\n    fn d();\n}}\n"
            )
        };
        assert_eq!(found(&whole(MAX_LINES - 2)), Vec::<String>::new());
        let problems = found(&whole(MAX_LINES - 1));
        assert_eq!(problems.len(), 3, "{problems:?}");
        assert_eq!(problems[0], "a.rs:1: `a` has 121 lines, more than 120; split it");
        assert!(problems[1].contains("`b`") && problems[2].contains("`c`"), "{problems:?}");
    }

    #[test]
    fn what_does_not_parse_is_an_error_that_names_the_file() {
        let error = long_functions(Path::new("/r"), Path::new("/r/a.rs"), "fn {").unwrap_err();
        assert!(error.to_string().contains("a.rs"), "{error}");
    }
}
