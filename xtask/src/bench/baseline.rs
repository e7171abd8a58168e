//! Comparison of results with an earlier run. Defines what a regression is.

use std::fmt;

use anyhow::bail;
use fulgurite_benches::{Measurement, Unit};

use super::print::value;
use super::report::Report;

/// A result that is worse than in the baseline.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Regression {
    /// The result is slower by more than the sum of both spreads.
    Slower {
        /// Name of the suite.
        suite: String,
        /// Name of the result.
        name: String,
        /// Unit of the values.
        unit: Unit,
        /// Value in the baseline.
        old: f64,
        /// Value of this run.
        new: f64,
        /// The sum of the spreads of both runs, as a fraction.
        spread: f64,
    },
    /// The result is in the baseline, but was not measured.
    Missing {
        /// Name of the suite.
        suite: String,
        /// Name of the result.
        name: String,
    },
}

impl Regression {
    /// Returns the suite and the name of the result.
    pub(crate) fn result(&self) -> (&str, &str) {
        match self {
            Self::Slower { suite, name, .. } | Self::Missing { suite, name } => (suite, name),
        }
    }
}

impl fmt::Display for Regression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Slower { suite, name, unit, old, new, spread } => {
                let (before, now) = (value(*unit, *old), value(*unit, *new));
                let longer = 100.0 * (1.0 / unit.ratio(*new, *old) - 1.0);
                write!(
                    f,
                    "regression: {suite}: {name}: {before} before, {now} now: takes {longer:.1} % longer, and the spread is {:.1} %",
                    100.0 * spread
                )
            }
            Self::Missing { suite, name } => {
                write!(f, "regression: {suite}: {name}: is in the baseline and was not measured")
            }
        }
    }
}

/// Refuses a baseline that was measured on other devices, with other drivers, or with other problem sizes than `now`.
pub(crate) fn check(baseline: &Report, now: &Report) -> anyhow::Result<()> {
    let (old, new) = (&baseline.device, &now.device);
    let mut other = Vec::new();
    for (what, old, new) in [
        ("processor", old.cpu.clone(), new.cpu.clone()),
        ("number of threads", old.threads.to_string(), new.threads.to_string()),
        ("platform", old.platform.clone(), new.platform.clone()),
        ("`--quick`", old.quick.to_string(), new.quick.to_string()),
    ] {
        if old != new {
            other.push(format!("{what}: {old} there, {new} here"));
        }
    }
    for backend in &new.backends {
        match old.backends.iter().find(|old| old.id == backend.id) {
            Some(old) if old == backend => {}
            Some(old) => other.push(format!(
                "{}: {}, {} there, {}, {} here",
                backend.id, old.device, old.driver, backend.device, backend.driver
            )),
            None => other.push(format!("{}: not measured there", backend.id)),
        }
    }
    if other.is_empty() {
        return Ok(());
    }
    bail!(
        "the baseline is of another device ({}); make a new one here: run the same command with `--json FILE` in place of `--baseline FILE`",
        other.join("; ")
    )
}

/// Returns the regressions against `baseline`. Results of the baseline for which `is_asked_for` is false are ignored,
/// and so are new results.
pub(crate) fn compare(
    baseline: &[Measurement],
    now: &[Measurement],
    is_asked_for: impl Fn(&Measurement) -> bool,
) -> Vec<Regression> {
    let mut found = Vec::new();
    for old in baseline.iter().filter(|old| is_asked_for(old)) {
        let (suite, name) = (old.suite.clone(), old.name.clone());
        let same = |new: &&Measurement| (&new.suite, &new.name, new.unit) == (&suite, &name, old.unit);
        match now.iter().find(same) {
            None => found.push(Regression::Missing { suite, name }),
            Some(new) => {
                let spread = old.spread + new.spread;
                if is_slower(old.unit, old.value, new.value, spread) {
                    let (unit, old, new) = (old.unit, old.value, new.value);
                    found.push(Regression::Slower { suite, name, unit, old, new, spread });
                }
            }
        }
    }
    found
}

/// Returns whether the time increased by more than the fraction `spread`.
fn is_slower(unit: Unit, old: f64, new: f64, spread: f64) -> bool {
    1.0 / unit.ratio(new, old) > 1.0 + spread
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::{report, result};
    use super::*;

    fn compared(unit: Unit, old: f64, new: f64) -> Vec<Regression> {
        let (old, new) = (result("cpu/a", unit, old, 0.02), result("cpu/a", unit, new, 0.03));
        compare(&[old], &[new], |_| true)
    }

    #[test]
    fn within_the_spread_passes_and_beyond_is_a_regression() {
        assert_eq!(compared(Unit::Nanoseconds, 1000.0, 1049.0), []);
        assert_eq!(compared(Unit::Nanoseconds, 1000.0, 500.0), []);
        let found = compared(Unit::Nanoseconds, 1000.0, 1051.0);
        let wanted = Regression::Slower {
            suite: "launch".to_owned(),
            name: "cpu/a".to_owned(),
            unit: Unit::Nanoseconds,
            old: 1000.0,
            new: 1051.0,
            spread: 0.05,
        };
        assert_eq!(found, [wanted]);
        let text = found[0].to_string();
        for part in ["launch", "cpu/a", "1.00 µs", "1.05 µs", "5.1 %", "5.0 %"] {
            assert!(text.contains(part), "{part} not in {text}");
        }
        // A lower rate is worse.
        assert_eq!(compared(Unit::Gigabytes, 100.0, 100.0 / 1.049), []);
        assert_eq!(compared(Unit::Gigabytes, 100.0, 200.0), []);
        assert_eq!(compared(Unit::Gigabytes, 100.0, 100.0 / 1.051).len(), 1);
    }

    #[test]
    fn what_is_gone_is_reported_and_what_is_new_is_fine() {
        let a = [result("cpu/a", Unit::Nanoseconds, 1.0, 0.0)];
        let b = [result("cpu/b", Unit::Nanoseconds, 1.0, 0.0)];
        let missing = Regression::Missing { suite: "launch".to_owned(), name: "cpu/a".to_owned() };
        assert_eq!(compare(&a, &b, |_| true), [missing]);
        assert_eq!(compare(&[], &b, |_| true), []);
        // The result was not selected this time.
        assert_eq!(compare(&a, &b, |old| old.name != "cpu/a"), []);
    }

    #[test]
    fn a_baseline_of_another_device_is_refused() {
        let now = report(Vec::new());
        check(&now, &now).unwrap();
        // The baseline may have more backends than this run, but not fewer.
        let mut fewer = now.clone();
        fewer.device.backends.truncate(1);
        check(&now, &fewer).unwrap();
        let refused = |old: &Report| check(old, &now).unwrap_err().to_string();
        assert!(refused(&fewer).contains("vulkan: not measured there"));
        let mut other = now.clone();
        other.device.backends[1].driver = "a driver 2".to_owned();
        other.device.threads += 1;
        other.device.quick = false;
        let text = refused(&other);
        for part in ["a driver 2 there", "number of threads", "--quick", "--json FILE"] {
            assert!(text.contains(part), "{part} not in {text}");
        }
    }
}
