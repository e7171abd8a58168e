//! Parses and validates WGSL.

use std::collections::BTreeMap;

use fulgurite_spec::{Code, Diagnostic, Location};
use naga::front::wgsl::{Frontend, ParseError};
use naga::valid::{
    Capabilities, FunctionError, ModuleInfo, ShaderStages, SubgroupOperationSet, ValidationError,
    ValidationFlags, Validator,
};
use naga::{Module, WithSpan};

use crate::refusal::{Refusal, Res, Source};

/// The largest source in bytes.
const MAX_SOURCE_BYTES: usize = 4 << 20;

/// A validated module.
pub(crate) struct Parsed {
    pub(crate) module: Module,
    pub(crate) info: ModuleInfo,
}

/// Parses and validates a source.
///
/// # Errors
/// `FG1301` for text that is not valid WGSL, `FG1306` for a text that is too long.
pub(crate) fn parse(source: &Source<'_>) -> Res<Parsed> {
    if source.text.len() > MAX_SOURCE_BYTES {
        let message =
            format!("source of {} bytes exceeds the limit of {MAX_SOURCE_BYTES} bytes", source.text.len());
        return Err(crate::refusal::too_large(Location::Unknown, message));
    }
    let module = Frontend::new().parse(source.text).map_err(|error| not_wgsl(source, &error))?;
    // Uniformity is left to the verifier of kernels, which explains what it refuses.
    let flags = ValidationFlags::all() - ValidationFlags::CONTROL_FLOW_UNIFORMITY;
    let info = Validator::new(flags, Capabilities::all())
        .subgroup_stages(ShaderStages::all())
        .subgroup_operations(SubgroupOperationSet::all())
        .validate(&module)
        .map_err(|error| not_valid(source, &error))?;
    Ok(Parsed { module, info })
}

fn not_wgsl(source: &Source<'_>, error: &ParseError) -> Refusal {
    let mut labels = error.labels();
    let at = labels.next().map_or(Location::Unknown, |(span, _)| source.place(span));
    let mut problem = Diagnostic::new(Code::BadWgsl, at, one_line(error.message()));
    for (span, label) in labels {
        problem = problem.with_note(source.place(span), one_line(label));
    }
    for note in error.notes() {
        problem = problem.with_note(Location::Unknown, one_line(note));
    }
    Box::new(problem)
}

fn not_valid(source: &Source<'_>, error: &WithSpan<ValidationError>) -> Refusal {
    let mut spans = error.spans();
    let at = spans.next().map_or(Location::Unknown, |(span, _)| source.place(*span));
    if let ValidationError::Function {
        source: FunctionError::InvalidArgumentPointerSpace { name, .. }, ..
    } = error.as_inner()
    {
        let what = format!("argument `{name}` is a pointer to memory that others share");
        let fix = "Pass an index, and access the buffer or workgroup variable itself in the function.";
        return crate::refusal::unsupported(at, what, fix);
    }
    let mut message = one_line(&error.as_inner().to_string());
    let mut cause = std::error::Error::source(error.as_inner());
    while let Some(inner) = cause {
        message = format!("{message}: {}", one_line(&inner.to_string()));
        cause = inner.source();
    }
    let mut problem = Diagnostic::new(Code::BadWgsl, at, message);
    for (span, label) in spans {
        problem = problem.with_note(source.place(*span), one_line(label));
    }
    Box::new(problem)
}

/// Returns a message of the parser in the form of ours: one line, lower case, without a full stop.
fn one_line(message: &str) -> String {
    let text = message.split_whitespace().collect::<Vec<_>>().join(" ");
    let text = text.trim_end_matches('.');
    let mut chars = text.chars();
    match chars.next() {
        // An acronym stays as it is.
        Some(first) if !chars.clone().next().is_some_and(char::is_uppercase) => {
            first.to_lowercase().chain(chars).collect()
        }
        Some(_) | None => text.to_owned(),
    }
}

/// Checks that every override that has a value is declared.
///
/// # Errors
/// `FG1305`.
pub(crate) fn check_overrides(parsed: &Parsed, values: &BTreeMap<String, f64>) -> Res<()> {
    let names: Vec<String> = parsed
        .module
        .overrides
        .iter()
        .filter_map(|(_, o)| o.id.map(|id| id.to_string()).or_else(|| o.name.clone()))
        .collect();
    let Some(unknown) = values.keys().find(|name| !names.contains(name)) else { return Ok(()) };
    let fix = match &names[..] {
        [] => "The shader declares no overrides: give no values.".to_owned(),
        names => format!("The overrides are {}; one with an `@id` is named by its number.", names.join(", ")),
    };
    let message = format!("the shader declares no override `{unknown}`");
    Err(Box::new(Diagnostic::new(Code::BadWgslOverride, Location::Unknown, message).with_fix(fix)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_one_line_in_lower_case() {
        assert_eq!(one_line("Expected `;`,\n  found `}`."), "expected `;`, found `}`");
        assert_eq!(one_line("WGSL is bad"), "WGSL is bad");
        assert_eq!(one_line(""), "");
    }
}
