//! The landscape of a problem, as SVG: for each field of the configurations, how fast candidates with each of its values are.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context as _, anyhow};
use fulgurite::autotune::TuneReport;
use plotters::prelude::*;

/// Pixels of one field's panel.
const PANEL: (u32, u32) = (420, 300);
/// Panels side by side.
const ACROSS: usize = 3;

/// A candidate with a time.
struct Point<'r> {
    config: &'r fulgurite::autotune::Table,
    /// The best's time as a share of its own.
    share: f64,
    is_heuristic: bool,
}

pub(super) fn write(folder: &Path, report: &TuneReport) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder)
        .with_context(|| format!("error[FG0702]: cannot make {}", folder.display()))?;
    let name = format!("{}-{}-{}.svg", report.key.device.backend, report.key.family, report.problem);
    draw(&folder.join(name), report).map_err(|error| anyhow!("error[FG0702]: the plot: {error}"))
}

fn draw(path: &Path, report: &TuneReport) -> Result<(), Box<dyn std::error::Error>> {
    let rows = report.candidates.iter().enumerate().filter_map(|(at, c)| Some((at, c.row.as_ref()?)));
    let timed = rows.filter_map(|(at, row)| Some((at, row, row.time_ns?)));
    let best = timed.clone().map(|(_, _, time)| time).fold(f64::INFINITY, f64::min);
    let points: Vec<Point<'_>> = timed
        .map(|(at, row, time)| Point {
            config: &row.config,
            share: best / time,
            is_heuristic: at == report.heuristic,
        })
        .collect();
    let values = |field: &str| -> Vec<String> {
        let mut all: Vec<_> = points.iter().filter_map(|point| point.config.get(field)).collect();
        all.sort_by(|a, b| {
            a.as_integer().cmp(&b.as_integer()).then_with(|| a.to_string().cmp(&b.to_string()))
        });
        all.dedup();
        all.into_iter().map(ToString::to_string).collect()
    };
    let fields: BTreeSet<&String> = points.iter().flat_map(|point| point.config.keys()).collect();
    let fields: Vec<(&String, Vec<String>)> = fields
        .into_iter()
        .map(|field| (field, values(field)))
        .filter(|(_, values)| values.len() > 1)
        .collect();
    let down = fields.len().div_ceil(ACROSS).max(1);
    let size = (PANEL.0 * ACROSS as u32, PANEL.1 * down as u32 + 40);
    let root = SVGBackend::new(path, size).into_drawing_area();
    root.fill(&WHITE)?;
    let (rate, unit) = report.work.rate(best / 1e9);
    let title = format!(
        "{} {} on {}: {} of {} candidates, the best {rate:.1} {unit} (red: the heuristic)",
        report.key.family,
        report.problem,
        report.key.device.device,
        points.len(),
        report.candidates.len(),
    );
    let root = root.titled(&title, ("sans-serif", 18))?;
    for (area, (field, values)) in root.split_evenly((down, ACROSS)).iter().zip(&fields) {
        let mut chart = ChartBuilder::on(area)
            .caption(field, ("sans-serif", 15))
            .margin(8)
            .x_label_area_size(24)
            .y_label_area_size(40)
            .build_cartesian_2d(-0.5..values.len() as f64 - 0.5, 0.0..1.05)?;
        let label = |x: &f64| {
            let at = x.round();
            let is_near = (x - at).abs() < 0.01 && at >= 0.0;
            if is_near { values.get(at as usize).cloned().unwrap_or_default() } else { String::new() }
        };
        chart
            .configure_mesh()
            .disable_x_mesh()
            .x_labels(values.len() * 2 + 1)
            .x_label_formatter(&label)
            .y_desc("share of the best")
            .draw()?;
        let place = |point: &Point<'_>| {
            let value = point.config.get(field.as_str())?.to_string();
            values.iter().position(|known| *known == value)
        };
        let mut most = vec![0.0f64; values.len()];
        for (number, point) in points.iter().enumerate() {
            let Some(at) = place(point) else { continue };
            most[at] = most[at].max(point.share);
            // Side by side, so that they can be told apart.
            let x = at as f64 + 0.5 * (number as f64 / points.len() as f64 - 0.5);
            let style = if point.is_heuristic { RED.filled() } else { BLUE.mix(0.4).filled() };
            let radius = if point.is_heuristic { 4 } else { 2 };
            chart.draw_series([Circle::new((x, point.share), radius, style)])?;
        }
        let line = most.iter().enumerate().map(|(at, share)| (at as f64, *share));
        chart.draw_series(LineSeries::new(line, BLACK.mix(0.6)))?;
    }
    root.present()?;
    Ok(())
}
