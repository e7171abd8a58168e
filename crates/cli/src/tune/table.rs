//! The results of tuning a problem, as a table and as JSON.

use fulgurite::autotune::{CandidateReport, TuneReport, TuneVerdict};
use serde_json::{Value, json};

use crate::output::say;

/// Candidates with a time, the fastest first, and then the others.
fn ordered(report: &TuneReport) -> Vec<(usize, &CandidateReport)> {
    let mut all: Vec<_> = report.candidates.iter().enumerate().filter(|(_, c)| c.row.is_some()).collect();
    let rank = |candidate: &CandidateReport| {
        let row = candidate.row.as_ref();
        let time = row.and_then(|row| row.time_ns).unwrap_or(f64::INFINITY);
        (row.is_none_or(|row| row.verdict != TuneVerdict::Measured), time)
    };
    all.sort_by(|(_, a), (_, b)| {
        let (a, b) = (rank(a), rank(b));
        a.0.cmp(&b.0).then(a.1.total_cmp(&b.1))
    });
    all
}

fn best_time(report: &TuneReport) -> Option<f64> {
    report.candidates[report.best].row.as_ref()?.time_ns
}

pub(super) fn print(report: &TuneReport, top: Option<usize>) -> anyhow::Result<()> {
    let best = best_time(report).unwrap_or(f64::NAN);
    let (rate, unit) = report.work.rate(best / 1e9);
    let tried = report.candidates.iter().filter(|candidate| candidate.row.is_some()).count();
    say!(
        "\n{} {}: {} candidates, {tried} known, {} measured now, {:.1} s{}",
        report.key.family,
        report.problem,
        report.candidates.len(),
        report.measured,
        report.elapsed.as_secs_f64(),
        if report.out_of_budget { ", out of budget" } else { "" },
    )?;
    say!("  {:>12} {:>7} {:>7} {:>6}  {:<13} candidate", "time", "spread", "runs", "share", "verdict")?;
    for (at, candidate) in ordered(report).into_iter().take(top.unwrap_or(usize::MAX)) {
        let Some(row) = &candidate.row else { continue };
        let time = row.time_ns.map_or_else(|| "-".to_owned(), |time| format!("{:.2} µs", time / 1e3));
        let spread = row.spread.map_or_else(|| "-".to_owned(), |spread| format!("{:.1} %", spread * 100.0));
        let share =
            row.time_ns.map_or_else(|| "-".to_owned(), |time| format!("{:.0} %", 100.0 * best / time));
        let mark = if at == report.heuristic { " (heuristic)" } else { "" };
        let reason = row.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        let (verdict, name) = (row.verdict.name(), &candidate.name);
        say!("  {time:>12} {spread:>7} {:>7} {share:>6}  {verdict:<13} {name}{mark}{reason}", row.samples)?;
    }
    say!("  best: {}, {rate:.1} {unit}", report.candidates[report.best].name)?;
    if let Some(speedup) = report.speedup {
        say!("  chosen candidate against the heuristic: {speedup:.2} × as fast")?;
    }
    if let Some(regret) = report.regret {
        say!("  and against the best of all, each timed in full: {:.1} % regret", regret * 100.0)?;
    }
    Ok(())
}

pub(super) fn json(report: &TuneReport) -> Value {
    let best = best_time(report);
    let rate = best.map(|best| report.work.rate(best / 1e9));
    let candidates: Vec<_> = report
        .candidates
        .iter()
        .map(|candidate| {
            json!({
                "candidate": candidate.name,
                "executable": candidate.id,
                "is_new": candidate.is_new,
                "row": candidate.row,
                "share_of_best": candidate.row.as_ref().and_then(|row| Some(best? / row.time_ns?)),
            })
        })
        .collect();
    json!({
        "family": report.key.family,
        "version": report.key.version,
        "problem": report.problem,
        "backend": report.key.device.backend,
        "device": report.key.device.device,
        "driver": report.key.device.driver,
        "policy": report.key.policy,
        "best": report.candidates[report.best].name,
        "heuristic": report.candidates[report.heuristic].name,
        "best_time_ns": best,
        "rate": rate.map(|(rate, unit)| json!({ "value": rate, "unit": unit })),
        "measured": report.measured,
        "speedup_over_heuristic": report.speedup,
        "regret": report.regret,
        "seconds": report.elapsed.as_secs_f64(),
        "out_of_budget": report.out_of_budget,
        "candidates": candidates,
    })
}
