//! Prints the results of a run as text.

use std::collections::BTreeMap;
use std::io::Write as _;

use fulgurite_hal::CacheReport;

use crate::report::BackendReport;

pub(super) fn failed(report: &BackendReport) -> u64 {
    report.suites.iter().map(|s| s.failed).sum()
}

/// Prints compile counts and cache statistics. Suites that run in separate processes are not included.
pub(super) fn print_cache(report: &CacheReport) {
    let Some(kept_in) = &report.kept_in else { return };
    let missed: Vec<_> = report.misses.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    print_line(&format!(
        "  cache: {} kernels lowered, {} compiled by the driver; {} found in {kept_in}, not found: {}",
        report.lowered,
        report.driver_compiles,
        report.hits,
        if missed.is_empty() { "none".to_owned() } else { missed.join(", ") }
    ));
    for notice in &report.notices {
        print_line(&format!("  cache: {}: {}", notice.code, notice.message));
    }
}

pub(super) fn print_backend(report: &BackendReport, seconds: f64) {
    print_line(&format!("{}: {}, {} ({seconds:.1} s)", report.id, report.device, report.driver));
    if !report.quirks.is_empty() {
        print_line(&format!("  quirks found: {}", report.quirks.join(", ")));
    }
    if !(report.quirks.is_empty() && report.rules.is_empty()) {
        let rules = if report.rules.is_empty() { "none".to_owned() } else { report.rules.join(", ") };
        print_line(&format!("  rules of lowering in force: {rules}"));
    }
    print_line("  suite       cases   failed  unsupported  expected  fewest per op and type");
    for suite in &report.suites {
        print_line(&format!(
            "  {:<8} {:>8} {:>8} {:>12} {:>9} {:>8}",
            suite.name,
            suite.cases,
            suite.failed,
            suite.unsupported,
            suite.expected_failures,
            suite.min_per_op_type
        ));
        for (reason, groups) in by_reason(&suite.unsupported_reasons) {
            match groups.as_slice() {
                [one] => print_line(&format!("    unsupported: {one}: {reason}")),
                many => {
                    print_line(&format!(
                        "    unsupported: {} kernels, such as {}: {reason}",
                        many.len(),
                        many[0]
                    ));
                }
            }
        }
        for note in &suite.notes {
            print_line(&format!("    {note}"));
        }
        for failure in suite.failures.iter().take(20) {
            print_line(&format!("    FAILED {}", failure.group));
            print_line(&format!("      input    {}", failure.input));
            print_line(&format!("      expected {}", failure.expected));
            print_line(&format!("      actual   {}", failure.actual));
        }
        if suite.failures.len() > 20 {
            print_line(&format!("    and {} more kinds of failure", suite.failures.len() - 20));
        }
    }
}

/// Prints the largest error of each approximate op on each type.
pub(super) fn print_accuracy(report: &BackendReport) {
    let rows: Vec<_> = report.suites.iter().flat_map(|s| &s.accuracy).collect();
    if rows.is_empty() {
        print_line("  accuracy: no approximate op was run");
        return;
    }
    print_line("  op       type  worst ULP  share of bound");
    for row in rows {
        let (ulp, share) = (row.worst_ulp, row.share_of_bound * 100.0);
        print_line(&format!("  {:<8} {:<5} {ulp:>9.3} {share:>14.1}%", row.op, row.ty));
    }
}

/// Prints the complaints of a checking layer under the backend.
pub(super) fn print_complaints(complaints: Option<&[String]>) {
    let Some(complaints) = complaints else { return };
    print_line(&format!("  checking layer: {} complaints", complaints.len()));
    for complaint in complaints.iter().take(10) {
        print_line(&format!("    {complaint}"));
    }
}

/// Prints a line to standard output and ignores write errors, such as those of a closed pipe.
pub(super) fn print_line(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Groups the kernels that the device does not support by reason. Each line has the form `kernel: reason`.
fn by_reason(reasons: &[String]) -> BTreeMap<&str, Vec<&str>> {
    let mut groups: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for line in reasons {
        let (group, reason) = line.rsplit_once(": ").unwrap_or(("", line));
        groups.entry(reason).or_default().push(group);
    }
    groups
}
