//! `fulgurite explain FILE`: what the compiler finds out about a kernel before a backend gets it. Compiles nothing.

use std::path::Path;

use fulgurite::VerifiedKernel;
use fulgurite::ir::analysis::{BoundsMap, RangeMap, instructions, needs};
use fulgurite::ir::{InstId, InstKind};
use fulgurite::spec::Location;
use fulgurite_passes::{PassOptions, PassReport};
use serde_json::{Value, json};

use crate::output;
use crate::source::{Source, optimize};

/// An access to memory.
struct Access {
    line: Option<u32>,
    text: String,
    /// Whether its index is proven to be in bounds.
    is_proven: bool,
}

/// Prints the passes that change the kernel, what it needs, and its accesses.
///
/// # Errors
/// Those of reading and verifying the file.
pub(super) fn run(path: &Path, options: &PassOptions, as_json: bool) -> anyhow::Result<bool> {
    let source = Source::read(path)?;
    let given = source.kernel()?;
    let (kernel, report) = optimize(&given, options)?;
    let accesses = accesses(&kernel, &source.text);
    if as_json {
        output::json(&json(&kernel, &report, &accesses))?;
    } else {
        output::line(&text(&kernel, &report, &accesses))?;
    }
    Ok(true)
}

/// Returns the loads, stores and atomics in program order.
fn accesses(kernel: &VerifiedKernel, text: &str) -> Vec<Access> {
    let bounds = BoundsMap::of(kernel, &RangeMap::of(kernel));
    let is_access = |id: &InstId| {
        let kind = &kernel.inst(*id).kind;
        kind.memory().is_some() && !matches!(kind, InstKind::Len { .. })
    };
    let access = |id: InstId| {
        let line = match kernel.inst(id).location {
            Location::Text { line, .. } => Some(line),
            _ => None,
        };
        let written = line.and_then(|line| text.lines().nth(line as usize - 1)).unwrap_or_default();
        Access { line, text: written.trim().to_owned(), is_proven: bounds.is_inside(id) }
    };
    instructions(kernel).filter(is_access).map(access).collect()
}

/// Returns the names of the capabilities that the kernel needs.
fn needed(kernel: &VerifiedKernel) -> Vec<&'static str> {
    needs(kernel).into_iter().map(|capability| capability.name()).collect()
}

fn text(kernel: &VerifiedKernel, report: &PassReport, accesses: &[Access]) -> String {
    let needs = match needed(kernel) {
        needs if needs.is_empty() => "nothing that a device may lack".to_owned(),
        needs => needs.join(", "),
    };
    let proven = accesses.iter().filter(|access| access.is_proven).count();
    let [x, y, z] = kernel.workgroup;
    let mut lines = vec![
        format!("kernel `{}`", kernel.name),
        format!("  digest     {}", kernel.digest()),
        format!("  workgroup  {x} x {y} x {z}"),
        format!("  needs      {needs}"),
        format!("  passes     {}", report.to_string().replace('\n', "\n             ")),
        format!("  accesses   {} in bounds by proof, {} guarded", proven, accesses.len() - proven),
    ];
    for access in accesses.iter().filter(|access| !access.is_proven) {
        let place = access.line.map_or_else(String::new, |line| format!("line {line}: "));
        lines.push(format!("    guarded  {place}{}", access.text));
    }
    lines.join("\n")
}

fn json(kernel: &VerifiedKernel, report: &PassReport, accesses: &[Access]) -> Value {
    let changes = report.changes.iter().map(|(pass, changes)| json!({ "pass": pass, "changes": changes }));
    let accesses = accesses.iter().map(
        |access| json!({ "line": access.line, "text": access.text, "in_bounds_by_proof": access.is_proven }),
    );
    json!({
        "kernel": kernel.name,
        "digest": kernel.digest().to_string(),
        "workgroup": kernel.workgroup,
        "needs": needed(kernel),
        "passes": changes.collect::<Value>(),
        "accesses": accesses.collect::<Value>(),
    })
}
