//! The directive `enable subgroups;`, which naga does not know although it has the builtins.

/// Returns the source without `subgroups` in `enable` directives: spaces take its place, so that all places stay.
pub(crate) fn without_subgroups(source: &str) -> String {
    let mut bytes = source.as_bytes().to_vec();
    let mut at = 0;
    loop {
        at += blank(&source[at..]);
        let rest = &source[at..];
        // Directives come first; others are left to the parser.
        let Some(end) = ["enable", "requires", "diagnostic"]
            .iter()
            .any(|word| rest.strip_prefix(word).is_some_and(|after| !after.starts_with(is_word)))
            .then(|| rest.find(';'))
            .flatten()
        else {
            break;
        };
        if rest.starts_with("enable") {
            clear(&mut bytes[at..at + end + 1]);
        }
        at += end + 1;
    }
    // Only whole ASCII words and commas were replaced.
    String::from_utf8(bytes).unwrap_or_else(|_| source.to_owned())
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Returns the length of the blanks and comments at the start of a text.
fn blank(text: &str) -> usize {
    let mut at = 0;
    loop {
        let rest = &text[at..];
        let length = if rest.starts_with(char::is_whitespace) {
            rest.len() - rest.trim_start().len()
        } else if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            comment(rest)
        } else {
            return at;
        };
        at += length;
    }
}

/// Returns the length of a comment in `/*` and `*/`, which nests.
fn comment(text: &str) -> usize {
    let (mut depth, bytes) = (0u32, text.as_bytes());
    let mut at = 0;
    while at < bytes.len() {
        match &bytes[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    // An end in the middle of a character is past the last comment sign.
    if text.is_char_boundary(at) { at } else { text.len() }
}

/// Replaces `subgroups` in an `enable` directive, and all of it if nothing else is enabled.
fn clear(directive: &mut [u8]) {
    let Ok(text) = core::str::from_utf8(directive) else { return };
    let inner = text.trim_start_matches("enable").trim_end_matches(';');
    let names: Vec<&str> = inner.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    if !names.contains(&"subgroups") {
        return;
    }
    if names.iter().all(|name| *name == "subgroups") {
        directive.fill(b' ');
        return;
    }
    let kept: Vec<&str> = names.into_iter().filter(|name| *name != "subgroups").collect();
    // Shorter than what it replaces, which had one name more.
    let list = format!("enable {};", kept.join(","));
    if list.len() <= directive.len() {
        directive.fill(b' ');
        directive[..list.len()].copy_from_slice(list.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subgroups_are_cleared_in_place() {
        let check = |source: &str, expected: &str| {
            let cleared = without_subgroups(source);
            assert_eq!(cleared.len(), source.len());
            assert_eq!(cleared.split_whitespace().collect::<Vec<_>>().join(" "), expected);
        };
        check("enable subgroups;\nfn f() { }", "fn f() { }");
        check("/* ä /* x */ */ // y\nenable f16, subgroups;", "/* ä /* x */ */ // y enable f16;");
        check("enable subgroups , f16,;fn", "enable f16; fn");
        check("requires a; diagnostic(off, b);\nenable subgroups;", "requires a; diagnostic(off, b);");
        check("enable f16;", "enable f16;");
        check("fn f() { } enable subgroups;", "fn f() { } enable subgroups;");
        for odd in ["", "enable", "/*", "enable subgroups", "/* ä", "enabled;", "//"] {
            assert_eq!(without_subgroups(odd), odd);
        }
    }
}
