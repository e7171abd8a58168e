//! The rule that lowerings, evaluators and analyses match the enums of the language exhaustively.
//!
//! With a catch-all arm, the compiler would not report a new variant.

use std::path::Path;

use anyhow::Context as _;
use proc_macro2::{Delimiter, TokenStream, TokenTree};
use syn::spanned::Spanned as _;
use syn::visit::{self, Visit};
use syn::{Arm, Attribute, ExprMatch, ItemImpl, ItemMacro, ItemMod, Macro, Pat, Type};

use super::SourceFile;

/// Crates that the rule applies to.
const CRATES: &[&str] =
    &["ir", "passes", "spirv", "hal", "runtime", "backend-cpu", "backend-reference", "backend-vulkan"];

/// Enums of the language, and classes of their variants.
const ENUMS: &[&str] = &[
    "Op",
    "InstKind",
    "ScalarType",
    "Capability",
    "AtomicOp",
    "BoolOp",
    "CompareOp",
    "Control",
    "ElementwiseOp",
    "FloatOp",
    "IdOp",
    "IntegerOp",
    "MatrixInst",
    "MatrixOp",
    "MemoryOp",
    "OpClass",
    "PureInst",
    "ScalarClass",
    "ScalarOp",
    "SubgroupOp",
    "TranscendentalOp",
];

/// Returns the catch-all arms in matches on an enum of the language, in all files of [`CRATES`] except tests.
pub(super) fn hidden_variants(root: &Path) -> anyhow::Result<Vec<String>> {
    let mut problems = Vec::new();
    for name in CRATES {
        for SourceFile { shown, text, .. } in super::sources(root, name)? {
            let found = catch_alls(&text).with_context(|| format!("cannot parse {shown}"))?;
            problems.extend(found.into_iter().map(|CatchAll { line, name }| {
                format!("{shown}:{line}: a catch-all arm hides variants of {name}; list them")
            }));
        }
    }
    Ok(problems)
}

/// A catch-all arm in a match on an enum of the language.
#[derive(Debug, PartialEq, Eq)]
struct CatchAll {
    /// Line number, starting at 1.
    line: usize,
    /// Name of the enum.
    name: &'static str,
}

fn catch_alls(source: &str) -> syn::Result<Vec<CatchAll>> {
    let mut finder = Finder { of: None, found: Vec::new() };
    finder.visit_file(&syn::parse_file(source)?);
    Ok(finder.found)
}

struct Finder {
    /// The enum of the language that `Self` refers to.
    of: Option<&'static str>,
    found: Vec<CatchAll>,
}

impl<'ast> Visit<'ast> for Finder {
    fn visit_expr_match(&mut self, node: &'ast ExprMatch) {
        self.arms(&node.arms);
        visit::visit_expr_match(self, node);
    }

    fn visit_item_impl(&mut self, node: &'ast ItemImpl) {
        let outer = self.of;
        self.of = match &*node.self_ty {
            Type::Path(path) => path.path.get_ident().and_then(|ident| known(&ident.to_string())),
            _ => None,
        };
        visit::visit_item_impl(self, node);
        self.of = outer;
    }

    fn visit_item_mod(&mut self, node: &'ast ItemMod) {
        if !node.attrs.iter().any(is_test) {
            visit::visit_item_mod(self, node);
        }
    }

    fn visit_item_macro(&mut self, node: &'ast ItemMacro) {
        self.tokens(node.mac.tokens.clone());
    }

    fn visit_macro(&mut self, node: &'ast Macro) {
        self.tokens(node.tokens.clone());
    }
}

impl Finder {
    fn arms(&mut self, arms: &[Arm]) {
        let Some(name) = arms.iter().find_map(|arm| self.named(&arm.pat)) else { return };
        for arm in arms.iter().filter(|arm| arm.guard.is_none() && is_catch_all(&arm.pat)) {
            self.found.push(CatchAll { line: arm.pat.span().start().line, name });
        }
    }

    /// Returns the enum of the language whose variant a pattern names.
    fn named(&self, pat: &Pat) -> Option<&'static str> {
        let path = match pat {
            Pat::Or(or) => return or.cases.iter().find_map(|case| self.named(case)),
            Pat::Paren(paren) => return self.named(&paren.pat),
            Pat::Reference(reference) => return self.named(&reference.pat),
            Pat::Ident(ident) => return ident.subpat.as_ref().and_then(|(_, pat)| self.named(pat)),
            Pat::TupleStruct(some) if some.path.is_ident("Some") => {
                return some.elems.iter().find_map(|pat| self.named(pat));
            }
            Pat::TupleStruct(variant) => &variant.path,
            Pat::Struct(variant) => &variant.path,
            Pat::Path(variant) => &variant.path,
            _ => return None,
        };
        let of = path.segments.iter().rev().nth(1)?;
        if of.ident == "Self" { self.of } else { known(&of.ident.to_string()) }
    }

    /// Looks for matches in the tokens of a macro, which need not be Rust.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut after_match = false;
        for token in tokens {
            match token {
                TokenTree::Ident(word) if word == "match" => after_match = true,
                TokenTree::Group(group) => {
                    if after_match && group.delimiter() == Delimiter::Brace {
                        after_match = false;
                        self.unparsed_arms(group.stream());
                    }
                    self.tokens(group.stream());
                }
                TokenTree::Ident(_) | TokenTree::Punct(_) | TokenTree::Literal(_) => {}
            }
        }
    }

    /// Does the same as [`Self::arms`] for tokens: a variant begins an arm or follows `|`, and `_` stands before `=>`.
    fn unparsed_arms(&mut self, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let is = |i: usize, c: char| matches!(tokens.get(i), Some(TokenTree::Punct(p)) if p.as_char() == c);
        let begins = |i: usize| {
            i == 0 || is(i - 1, ',') || is(i - 1, '|') || matches!(tokens[i - 1], TokenTree::Group(_))
        };
        let words = || {
            tokens.iter().enumerate().filter_map(|(i, token)| match token {
                TokenTree::Ident(word) => Some((i, word)),
                TokenTree::Group(_) | TokenTree::Punct(_) | TokenTree::Literal(_) => None,
            })
        };
        let variant = words().find_map(|(i, word)| {
            let is_path = is(i + 1, ':') && is(i + 2, ':');
            known(&word.to_string()).filter(|_| is_path && begins(i))
        });
        let Some(name) = variant else { return };
        for (_, word) in words().filter(|(i, word)| *word == "_" && is(i + 1, '=') && is(i + 2, '>')) {
            self.found.push(CatchAll { line: word.span().start().line, name });
        }
    }
}

fn known(name: &str) -> Option<&'static str> {
    ENUMS.iter().find(|known| **known == name).copied()
}

/// Returns whether a pattern matches every value, or every `Some`.
fn is_catch_all(pat: &Pat) -> bool {
    match pat {
        Pat::Wild(_) => true,
        // Names of constants and variants begin with capital letters.
        Pat::Ident(ident) => {
            ident.subpat.is_none()
                && ident.ident.to_string().starts_with(|c: char| c.is_lowercase() || c == '_')
        }
        Pat::Paren(paren) => is_catch_all(&paren.pat),
        Pat::Or(or) => or.cases.iter().any(is_catch_all),
        Pat::TupleStruct(some) => some.path.is_ident("Some") && some.elems.iter().all(is_catch_all),
        _ => false,
    }
}

fn is_test(attribute: &Attribute) -> bool {
    attribute.path().is_ident("cfg")
        && attribute.parse_args::<syn::Path>().is_ok_and(|condition| condition.is_ident("test"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(source: &str) -> Vec<usize> {
        catch_alls(source).unwrap().into_iter().map(|found| found.line).collect()
    }

    fn in_function(body: &str) -> usize {
        lines(&format!("fn f() {{ {body} }}")).len()
    }

    #[test]
    fn catch_all_arms_are_refused() {
        for body in [
            "match op { Op::Add => 1, _ => 2 }",
            "match op { Op::Add | Op::Sub => 1, other => g(other) }",
            "match &kind { InstKind::Load { .. } => 1, InstKind::Id { op, .. } if g(op) => 2, _ => 3 }",
            "match ty { ScalarType::F16 => 1, spec::ScalarType::F32 | _ => 2 }",
            "match AtomicOp::of(op) { Some(AtomicOp::Load) => 1, Some(_) => 2, None => 3 }",
            "match op { op @ (Op::Add | Op::Sub) => g(op), _ => 1 }",
            "match x { 1 => match op { Op::Add => 1, _ => 2 }, _ => 3 }",
            "g!(match op { Op::Add => 1, _ => 2 })",
        ] {
            assert_eq!(in_function(body), 1, "{body}");
        }
        let in_impl =
            "impl InstKind {\n fn f(&self) -> u8 {\n match self {\n Self::Len { .. } => 1,\n _ => 2 } } }";
        assert_eq!(lines(in_impl), [5]);
        let in_macro = "macro_rules! ops { ($t:ident) => { fn $t(op: Op) -> u8 {\n match op { Op::Add => 1,\n _ => 2 } } } }";
        assert_eq!(lines(in_macro), [3]);
    }

    #[test]
    fn other_matches_are_accepted() {
        for body in [
            "match op { Op::Add => 1, Op::Sub => 2 }",
            "match op { _ if g() => 1, Op::Add => 2 }",
            "match (from, to) { (ScalarType::F16, ScalarType::F32) => 1, _ => 2 }",
            "match x { 1 => Op::Add, _ => Op::Sub }",
            "match x { Some(1) => g(Op::Add), Some(_) => 2, None => 3 }",
            "match opcode { op::FAdd => 1, _ => 2 }",
            "match x { X::Op => 1, _ => 2 }",
            "if let InstKind::Len { .. } = kind { 1 } else { 2 }",
            "g!(match x { 1 => g(Op::Add), _ => 2 })",
        ] {
            assert_eq!(in_function(body), 0, "{body}");
        }
        assert!(lines("impl X { fn f(&self) -> u8 { match self { Self::A => 1, _ => 2 } } }").is_empty());
        assert!(lines("#[cfg(test)] mod t { fn f() { match op { Op::Add => 1, _ => 2 } } }").is_empty());
    }
}
