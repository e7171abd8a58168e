//! Measurements: a value in a unit, and that of a peer. Defines which of two values is better.

use serde::{Deserialize, Serialize};

use crate::timing::Samples;

/// Name, after that of the backend, of the result that bounds kernels that are bound by memory.
pub const ROOF: &str = "copy kernel";

/// Unit of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unit {
    /// Nanoseconds per execution.
    #[serde(rename = "ns")]
    Nanoseconds,
    /// 10⁹ bytes read or written per second.
    #[serde(rename = "GB/s")]
    Gigabytes,
    /// 10⁹ float operations per second.
    #[serde(rename = "GFLOP/s")]
    Gigaflops,
    /// 10⁹ elements per second.
    #[serde(rename = "G/s")]
    Elements,
}

impl Unit {
    /// Returns the name used in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nanoseconds => "ns",
            Self::Gigabytes => "GB/s",
            Self::Gigaflops => "GFLOP/s",
            Self::Elements => "G/s",
        }
    }

    /// Returns the ratio of the speeds for `value` and `other`.
    pub fn ratio(self, value: f64, other: f64) -> f64 {
        match self {
            Self::Nanoseconds => other / value,
            Self::Gigabytes | Self::Gigaflops | Self::Elements => value / other,
        }
    }
}

/// Amount of work per execution, from which a rate is computed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Amount {
    /// A number of executions, to be timed.
    Times(u64),
    /// Bytes.
    Bytes(u64),
    /// Float operations.
    Operations(f64),
    /// Elements.
    Elements(u64),
}

impl Amount {
    /// Returns the unit of its values.
    pub const fn unit(self) -> Unit {
        match self {
            Self::Times(_) => Unit::Nanoseconds,
            Self::Bytes(_) => Unit::Gigabytes,
            Self::Operations(_) => Unit::Gigaflops,
            Self::Elements(_) => Unit::Elements,
        }
    }

    /// Returns its value for a time in seconds.
    pub fn value(self, seconds: f64) -> f64 {
        match self {
            Self::Times(count) => seconds * 1e9 / count as f64,
            Self::Bytes(count) | Self::Elements(count) => count as f64 / seconds / 1e9,
            Self::Operations(count) => count / seconds / 1e9,
        }
    }
}

/// One result of a report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measurement {
    /// Name of the suite.
    pub suite: String,
    /// Name of the result; begins with the backend's id and a slash if it ran on a backend.
    pub name: String,
    /// Unit of the values.
    pub unit: Unit,
    /// Mean of the faster half of the runs.
    pub value: f64,
    /// Half the distance between the quartiles of the runs, relative to their median.
    pub spread: f64,
    /// Name of the peer.
    pub peer: Option<String>,
    /// The peer's value.
    pub peer_value: Option<f64>,
    /// Speed relative to the peer.
    pub ratio: Option<f64>,
    /// Target value.
    pub target: Option<f64>,
}

impl Measurement {
    /// Creates a result from the times of runs.
    pub fn new(suite: &str, name: String, amount: Amount, samples: &Samples) -> Self {
        let value = amount.value(samples.seconds());
        let (peer, peer_value, ratio, target) = (None, None, None, None);
        let spread = samples.spread();
        Self {
            suite: suite.to_owned(),
            name,
            unit: amount.unit(),
            value,
            spread,
            peer,
            peer_value,
            ratio,
            target,
        }
    }

    /// Adds the times of a peer.
    #[must_use]
    pub fn beside(mut self, peer: &str, amount: Amount, samples: &Samples) -> Self {
        let value = amount.value(samples.seconds());
        self.ratio = Some(self.unit.ratio(self.value, value));
        (self.peer, self.peer_value) = (Some(peer.to_owned()), Some(value));
        self
    }

    /// Returns the bound for kernels that are bound by memory, if this is the result that provides it: the copy rate of
    /// the kernel or of the peer, whichever is higher.
    pub fn roof(&self) -> Option<f64> {
        let (_, name) = self.name.split_once('/')?;
        (self.suite == "kernels" && name == ROOF)
            .then(|| self.value.max(self.peer_value.unwrap_or(self.value)))
    }

    /// Returns the id of the backend that ran it.
    pub fn backend(&self) -> Option<&str> {
        self.name.split_once('/').map(|(id, _)| id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_above_one_is_faster_in_every_unit() {
        assert_eq!(Unit::Nanoseconds.ratio(50.0, 100.0), 2.0);
        for unit in [Unit::Gigabytes, Unit::Gigaflops, Unit::Elements] {
            assert_eq!(unit.ratio(50.0, 100.0), 0.5);
        }
        let (fast, slow) = (Samples::new(vec![1e-6]), Samples::new(vec![4e-6]));
        for amount in
            [Amount::Times(10), Amount::Bytes(1000), Amount::Operations(1e3), Amount::Elements(1000)]
        {
            let result = Measurement::new("s", "n".to_owned(), amount, &fast).beside("p", amount, &slow);
            assert!((result.ratio.unwrap() - 4.0).abs() < 1e-12, "{result:?}");
        }
        assert!((Amount::Times(10).value(1e-6) - 100.0).abs() < 1e-9);
        assert!((Amount::Bytes(1000).value(1e-6) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn the_backend_is_before_the_slash() {
        let result =
            |name: &str| Measurement::new("s", name.to_owned(), Amount::Times(1), &Samples::new(vec![1.0]));
        assert_eq!(result("cpu/one launch").backend(), Some("cpu"));
        assert_eq!(result("one launch").backend(), None);
    }
}
