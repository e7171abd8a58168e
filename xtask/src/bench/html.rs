//! The report of `cargo xtask bench` as an HTML page: bars of ratios, rooflines of kernels that are bound by memory,
//! and tables. A single file without external resources.

use std::fmt::Write as _;

use fulgurite_benches::{Measurement, Unit};

use super::print::{beside, value};
use super::report::{Machine, Report};

const STYLE: &str = "
:root { color-scheme: light dark; --line: #8888; --ours: #2a7de1; --slow: #d9822b; --roof: #c0392b; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .6rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th:first-child, td:first-child, .peer { text-align: left; white-space: normal; }
svg { width: 100%; height: auto; font: 12px system-ui, sans-serif; }
svg text { fill: currentColor; }
.ours { fill: var(--ours); } .slow { fill: var(--slow); }
.one { stroke: currentColor; stroke-dasharray: 3 3; } .roof { stroke: var(--roof); stroke-width: 2; }
.target { stroke: var(--roof); stroke-dasharray: 3 3; }
";

/// Width of the longest bar, and of a character of a wide font.
const WIDTH: f64 = 520.0;
const CHARACTER: f64 = 7.2;
/// Height of a bar, including the space below it.
const ROW: f64 = 20.0;

/// Returns the page.
pub(super) fn page(report: &Report) -> String {
    let mut page = String::from("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n");
    let _ = write!(page, "<title>Fulgurite: benchmarks</title>\n<style>{STYLE}</style></head>\n<body>\n");
    page.push_str("<h1>Fulgurite: benchmarks</h1>\n");
    machine(&mut page, &report.device);
    ratios(&mut page, &report.results);
    for roof in &report.results {
        if let Some(rate) = roof.roof() {
            roofline(&mut page, roof, rate, &report.results);
        }
    }
    tables(&mut page, &report.results);
    page.push_str("</body></html>\n");
    page
}

/// Escapes text for HTML.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

fn machine(page: &mut String, machine: &Machine) {
    let quick = if machine.quick { ", small problems and few runs (<code>--quick</code>)" } else { "" };
    let (cpu, platform) = (escaped(&machine.cpu), escaped(&machine.platform));
    let _ = writeln!(page, "<p>{cpu}, {} threads, {platform}{quick}</p>\n<ul>", machine.threads);
    for backend in &machine.backends {
        let [id, device, driver] = [&backend.id, &backend.device, &backend.driver].map(|text| escaped(text));
        let _ = writeln!(page, "<li><code>{id}</code>: {device}, {driver}</li>");
    }
    page.push_str("</ul>\n<p>A value is the mean of the faster half of the runs; the spread is half the distance between their quartiles, as a share of the median. Ratios say how many times as fast ours is as the peer, which took turns with it.</p>\n");
}

/// Adds bars of all ratios, on a logarithmic scale with 1 in the middle.
fn ratios(page: &mut String, results: &[Measurement]) {
    let with: Vec<(&Measurement, f64)> =
        results.iter().filter_map(|result| Some((result, result.ratio?))).collect();
    if with.is_empty() {
        return;
    }
    let most = with.iter().map(|(_, ratio)| ratio.ln().abs()).fold(2.0f64.ln(), f64::max);
    let label = |result: &Measurement| format!("{}: {}", result.suite, result.name);
    let left = space(with.iter().map(|(result, _)| label(result)));
    let at = |ratio: f64| left + WIDTH / 2.0 * (1.0 + ratio.ln() / most);
    let note = |result: &Measurement, ratio: f64| {
        format!("{ratio:.2} × {}", result.peer.as_deref().unwrap_or_default())
    };
    page.push_str(
        "<h2>Beside peers</h2>\n<p>To the right of the line ours is faster. The scale is logarithmic.</p>\n",
    );
    let notes = space(with.iter().map(|(result, ratio)| note(result, *ratio)));
    open(page, with.len(), left + WIDTH + notes);
    for (row, (result, ratio)) in with.iter().enumerate() {
        let (from, to) = (at(ratio.min(1.0)), at(ratio.max(1.0)));
        let class = if *ratio < 1.0 { "slow" } else { "ours" };
        bar(page, row, [&label(result), &note(result, *ratio)], class, [left, from, to]);
    }
    line(page, "one", at(1.0), with.len());
    page.push_str("</svg>\n");
}

/// Adds bars of the rates of kernels that are bound by memory, relative to the measured copy rate of the device.
fn roofline(page: &mut String, roof: &Measurement, rate: f64, results: &[Measurement]) {
    let is_bound = |result: &&Measurement| {
        let same = (&result.suite, result.backend()) == (&roof.suite, roof.backend());
        same && result.unit == Unit::Gigabytes
    };
    let bound: Vec<&Measurement> = results.iter().filter(is_bound).collect();
    let most = bound.iter().map(|result| result.value).fold(rate, f64::max);
    let left = space(bound.iter().map(|result| result.name.clone()));
    let at = |value: f64| left + WIDTH * value / most;
    let id = escaped(roof.backend().unwrap_or_default());
    let (text, share) = (value(Unit::Gigabytes, rate), |value: f64| 100.0 * value / rate);
    let _ = writeln!(
        page,
        "<h2>Roofline of <code>{id}</code></h2>\n<p>Bytes that kernels must read and write, below the roof: the device copies {text}, read and written. The dashed line is what is aimed at.</p>"
    );
    let note =
        |result: &Measurement| format!("{}, {:.0} %", value(result.unit, result.value), share(result.value));
    let notes = space(bound.iter().map(|result| note(result)));
    open(page, bound.len(), left + WIDTH + notes);
    for (row, result) in bound.iter().enumerate() {
        let class = if result.target.is_some_and(|target| result.value < target) { "slow" } else { "ours" };
        bar(page, row, [&result.name, &note(result)], class, [left, left, at(result.value)]);
    }
    line(page, "roof", at(rate), bound.len());
    if let Some(target) = bound.iter().find_map(|result| result.target) {
        line(page, "target", at(target), bound.len());
    }
    page.push_str("</svg>\n");
}

/// Returns the width that the longest of some texts takes.
fn space(texts: impl Iterator<Item = String>) -> f64 {
    CHARACTER * texts.map(|text| text.chars().count()).max().unwrap_or(0) as f64 + 12.0
}

fn open(page: &mut String, rows: usize, width: f64) {
    let height = ROW * rows as f64 + 4.0;
    let _ = writeln!(page, "<svg viewBox=\"0 0 {width:.1} {height}\" role=\"img\">");
}

/// Adds a bar between two places, with a label to the left of the chart and a note behind the bar.
fn bar(page: &mut String, row: usize, [label, note]: [&str; 2], class: &str, [left, from, to]: [f64; 3]) {
    let (top, width) = (ROW * row as f64, (to - from).max(1.0));
    let (text, note_at) = (top + 14.0, to + 5.0);
    let (label, note) = (escaped(label), escaped(note));
    let _ = writeln!(
        page,
        "<text x=\"{}\" y=\"{text}\" text-anchor=\"end\">{label}</text><rect class=\"{class}\" x=\"{from:.1}\" y=\"{}\" width=\"{width:.1}\" height=\"{}\"/><text x=\"{note_at:.1}\" y=\"{text}\">{note}</text>",
        left - 8.0,
        top + 3.0,
        ROW - 6.0
    );
}

fn line(page: &mut String, class: &str, at: f64, rows: usize) {
    let bottom = ROW * rows as f64 + 4.0;
    let _ =
        writeln!(page, "<line class=\"{class}\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"0\" y2=\"{bottom}\"/>");
}

/// Adds tables of all results, by suite.
fn tables(page: &mut String, results: &[Measurement]) {
    for suite in results.chunk_by(|a, b| a.suite == b.suite) {
        let name = suite.first().map(|result| escaped(&result.suite)).unwrap_or_default();
        let _ = writeln!(
            page,
            "<h2><code>{name}</code></h2>\n<table><tr><th>result</th><th>value</th><th>spread</th><th class=\"peer\">peer</th><th>its value</th><th>ratio</th><th>target</th></tr>"
        );
        for result in suite {
            let [peer, other, ratio] = beside(result).map(|text| escaped(&text));
            let name = escaped(&result.name);
            let own = value(result.unit, result.value);
            let spread = 100.0 * result.spread;
            let target = result.target.map_or_else(|| "-".to_owned(), |target| value(result.unit, target));
            let _ = writeln!(
                page,
                "<tr><td>{name}</td><td>{own}</td><td>{spread:.1} %</td><td class=\"peer\">{peer}</td><td>{other}</td><td>{ratio}</td><td>{target}</td></tr>"
            );
        }
        page.push_str("</table>\n");
    }
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::{report, result};
    use super::*;

    fn sample() -> Report {
        let mut roof = result("cpu/copy kernel", Unit::Gigabytes, 8.0, 0.0);
        (roof.peer, roof.peer_value, roof.ratio) = (Some("memcpy".to_owned()), Some(10.0), Some(0.8));
        let mut bound = result("cpu/saxpy", Unit::Gigabytes, 5.0, 0.0);
        bound.target = Some(8.0);
        let mut all = vec![roof, bound, result("cpu/matmul", Unit::Gigaflops, 99.0, 0.0)];
        all.iter_mut().for_each(|result| result.suite = "kernels".to_owned());
        all.push(result("cpu/<launch> & \"wait\"", Unit::Nanoseconds, 1.0, 0.0));
        report(all)
    }

    #[test]
    fn text_is_escaped_everywhere() {
        assert_eq!(escaped("<a href='x'>\"&\"</a>"), "&lt;a href=&#39;x&#39;&gt;&quot;&amp;&quot;&lt;/a&gt;");
        let mut hostile = sample();
        let evil = "<script>alert(1)</script>".to_owned();
        hostile.device.cpu.clone_from(&evil);
        hostile.device.platform.clone_from(&evil);
        for backend in &mut hostile.device.backends {
            (backend.id, backend.device, backend.driver) = (evil.clone(), evil.clone(), evil.clone());
        }
        for result in &mut hostile.results {
            (result.ratio, result.peer_value, result.peer) = (Some(2.0), Some(1.0), Some(evil.clone()));
            result.name = format!("{evil}/{}", result.name.rsplit('/').next().unwrap_or_default());
        }
        hostile.results[3].suite = evil;
        let page = page(&hostile);
        assert!(page.contains("&lt;script&gt;") && !page.contains("<script"), "{page}");
    }

    #[test]
    fn labels_have_room() {
        let mut long = sample();
        long.results[1].name = format!("cpu/{}", "saxpy ".repeat(20));
        let widths: Vec<f64> = [page(&sample()), page(&long)]
            .iter()
            .map(|page| {
                let last = page.rsplit("viewBox=\"0 0 ").next().and_then(|rest| rest.split(' ').next());
                last.and_then(|width| width.parse().ok()).expect("the roofline has a width")
            })
            .collect();
        let more = long.results[1].name.len() - "cpu/copy kernel".len();
        assert!((widths[1] - widths[0] - CHARACTER * more as f64).abs() < 0.2, "{widths:?}");
    }

    #[test]
    fn the_page_has_bars_roofs_and_needs_no_network() {
        let page = page(&sample());
        for part in ["0.80 × memcpy", "Roofline of <code>cpu</code>", "5.00 GB/s, 50 %", "99.00 GFLOP/s"] {
            assert!(page.contains(part), "{part} not in {page}");
        }
        for part in ["http:", "https:", "src=", "href=", "@import", "url("] {
            assert!(!page.contains(part), "{part} in {page}");
        }
        // Every opened element is closed.
        for tag in ["html", "body", "svg", "table", "tr", "td", "h2", "p", "ul", "li"] {
            let opened =
                page.matches(&format!("<{tag}>")).count() + page.matches(&format!("<{tag} ")).count();
            assert_eq!(opened, page.matches(&format!("</{tag}>")).count(), "{tag}");
        }
    }
}
