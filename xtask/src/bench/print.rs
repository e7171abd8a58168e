//! Results as a table for a terminal, and values with readable units.

use std::io::Write as _;

use fulgurite_benches::{Measurement, Suite, Unit};

/// Formats a value with a unit of suitable size.
pub(crate) fn value(unit: Unit, value: f64) -> String {
    match unit {
        Unit::Nanoseconds if value >= 1e9 => format!("{:.2} s", value / 1e9),
        Unit::Nanoseconds if value >= 1e6 => format!("{:.2} ms", value / 1e6),
        Unit::Nanoseconds if value >= 1e3 => format!("{:.2} µs", value / 1e3),
        Unit::Nanoseconds => format!("{value:.1} ns"),
        Unit::Gigaflops if value >= 1e3 => format!("{:.2} TFLOP/s", value / 1e3),
        _ if value < 0.1 => format!("{:.2} {}", value * 1e3, milli(unit)),
        _ => format!("{value:.2} {}", unit.name()),
    }
}

/// Returns the unit for a thousandth.
const fn milli(unit: Unit) -> &'static str {
    match unit {
        Unit::Nanoseconds => "ps",
        Unit::Gigabytes => "MB/s",
        Unit::Gigaflops => "MFLOP/s",
        Unit::Elements => "M/s",
    }
}

/// Returns a result's peer, its value and the ratio, each a dash if absent.
pub(crate) fn beside(result: &Measurement) -> [String; 3] {
    let dash = || String::from("-");
    [
        result.peer.clone().unwrap_or_else(dash),
        result.peer_value.map_or_else(dash, |peer| value(result.unit, peer)),
        result.ratio.map_or_else(dash, |ratio| format!("{ratio:.2}")),
    ]
}

/// Prints all results, by suite.
pub(crate) fn table(results: &[Measurement]) {
    let width = results.iter().map(|result| result.name.chars().count()).max().unwrap_or_default();
    let mut suite = "";
    for result in results {
        if suite != result.suite {
            suite = &result.suite;
            let head = format!(
                "{:>14} {:>7}  {:<16} {:>14} {:>7} {:>14}",
                "value", "spread", "peer", "its value", "ratio", "target"
            );
            line(&format!("{suite:<width$} {head}"));
        }
        let [peer, other, ratio] = beside(result);
        let own = value(result.unit, result.value);
        let spread = format!("{:.1} %", 100.0 * result.spread);
        let target = result.target.map_or_else(|| "-".to_owned(), |target| value(result.unit, target));
        let name = &result.name;
        line(&format!(
            "{name:<width$} {own:>14} {spread:>7}  {peer:<16} {other:>14} {ratio:>7} {target:>14}"
        ));
    }
}

/// Prints for each workload of the suite `cpu` how many times as fast the CPU backend is as every other backend that was
/// measured in the same run.
pub(crate) fn across(results: &[Measurement]) {
    let rows = faster_on_cpu(results);
    if let Some(width) = rows.iter().map(|(name, ..)| name.chars().count()).max() {
        line(&format!("{:<width$} {:>10}", "the backend cpu", "ratio"));
        for (name, other, ratio) in rows {
            line(&format!("{name:<width$} {ratio:>10.2} beside {other}"));
        }
    }
}

/// Returns workloads of the suite `cpu`, each with another backend and the speed of the CPU backend relative to it.
fn faster_on_cpu(results: &[Measurement]) -> Vec<(&str, &str, f64)> {
    let workloads = || {
        let of_suite = results.iter().filter(|result| result.suite == Suite::Cpu.name());
        of_suite.filter_map(|result| result.name.split_once('/').map(|(id, name)| (id, name, result)))
    };
    let own = workloads().filter(|(id, ..)| *id == "cpu");
    own.flat_map(|(_, name, own)| {
        let others = workloads().filter(move |(id, other, _)| *id != "cpu" && *other == name);
        others.map(move |(id, _, other)| (name, id, own.unit.ratio(own.value, other.value)))
    })
    .collect()
}

/// Prints a line and ignores write errors, such as those of a closed pipe.
pub(crate) fn line(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_units_of_fitting_size() {
        for (unit, number, wanted) in [
            (Unit::Nanoseconds, 12.34, "12.3 ns"),
            (Unit::Nanoseconds, 12_345.0, "12.35 µs"),
            (Unit::Nanoseconds, 1.5e6, "1.50 ms"),
            (Unit::Nanoseconds, 2e9, "2.00 s"),
            (Unit::Gigabytes, 12.0, "12.00 GB/s"),
            (Unit::Gigabytes, 0.012, "12.00 MB/s"),
            (Unit::Gigaflops, 1500.0, "1.50 TFLOP/s"),
            (Unit::Elements, 0.25, "0.25 G/s"),
        ] {
            assert_eq!(value(unit, number), wanted);
        }
    }

    #[test]
    fn the_same_workload_on_two_backends_is_compared() {
        let result = |suite: &str, name: &str, value: f64| Measurement {
            suite: suite.to_owned(),
            name: name.to_owned(),
            unit: Unit::Gigabytes,
            value,
            spread: 0.0,
            peer: None,
            peer_value: None,
            ratio: None,
            target: None,
        };
        let results = [
            result("cpu", "cpu/a, 4", 6.0),
            result("cpu", "cpu/only here, 4", 6.0),
            result("cpu", "vulkan/a, 4", 2.0),
            result("cpu", "vulkan/a, 8", 1.0),
            result("kernels", "vulkan/a, 4", 1.0),
        ];
        assert_eq!(faster_on_cpu(&results), [("a, 4", "vulkan", 3.0)]);
    }
}
