//! What is measured: a value in a unit, beside that of a peer. Owns what better is.

use serde::{Deserialize, Serialize};

use crate::timing::Samples;

/// The name, behind the backend's, of the result that is the roof of kernels that are bound by memory.
pub const ROOF: &str = "copy kernel";

/// What a value is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unit {
    /// Nanoseconds that something takes.
    #[serde(rename = "ns")]
    Nanoseconds,
    /// 10⁹ bytes read or written in a second.
    #[serde(rename = "GB/s")]
    Gigabytes,
    /// 10⁹ operations on floats in a second.
    #[serde(rename = "GFLOP/s")]
    Gigaflops,
    /// 10⁹ elements in a second.
    #[serde(rename = "G/s")]
    Elements,
}

impl Unit {
    /// As reports have it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nanoseconds => "ns",
            Self::Gigabytes => "GB/s",
            Self::Gigaflops => "GFLOP/s",
            Self::Elements => "G/s",
        }
    }

    /// How many times as fast something with `value` is as something with `other`.
    pub fn ratio(self, value: f64, other: f64) -> f64 {
        match self {
            Self::Nanoseconds => other / value,
            Self::Gigabytes | Self::Gigaflops | Self::Elements => value / other,
        }
    }
}

/// How much is done each time: what a rate is computed from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Amount {
    /// Things, each of which takes a time.
    Times(u64),
    /// Bytes.
    Bytes(u64),
    /// Operations on floats.
    Operations(f64),
    /// Elements.
    Elements(u64),
}

impl Amount {
    /// What its value is in.
    pub const fn unit(self) -> Unit {
        match self {
            Self::Times(_) => Unit::Nanoseconds,
            Self::Bytes(_) => Unit::Gigabytes,
            Self::Operations(_) => Unit::Gigaflops,
            Self::Elements(_) => Unit::Elements,
        }
    }

    /// Its value if it takes so long.
    pub fn value(self, seconds: f64) -> f64 {
        match self {
            Self::Times(count) => seconds * 1e9 / count as f64,
            Self::Bytes(count) | Self::Elements(count) => count as f64 / seconds / 1e9,
            Self::Operations(count) => count / seconds / 1e9,
        }
    }
}

/// One result, as a report has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measurement {
    /// The suite.
    pub suite: String,
    /// What was measured; begins with the backend's id and a slash, where one ran it.
    pub name: String,
    /// What the values are in.
    pub unit: Unit,
    /// The mean of the faster half of the runs.
    pub value: f64,
    /// Half the distance between the quartiles of the runs, as a share of their median.
    pub spread: f64,
    /// What it is compared with.
    pub peer: Option<String>,
    /// The peer's value.
    pub peer_value: Option<f64>,
    /// How many times as fast as the peer.
    pub ratio: Option<f64>,
    /// The value that is aimed at.
    pub target: Option<f64>,
}

impl Measurement {
    /// A result of runs.
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

    /// Beside the runs of a peer that did the same amount.
    #[must_use]
    pub fn beside(mut self, peer: &str, amount: Amount, samples: &Samples) -> Self {
        let value = amount.value(samples.seconds());
        self.ratio = Some(self.unit.ratio(self.value, value));
        (self.peer, self.peer_value) = (Some(peer.to_owned()), Some(value));
        self
    }

    /// The roof of kernels that are bound by memory, if this is the result that it comes from: bytes copied by a kernel or by the peer,
    /// whichever is faster.
    pub fn roof(&self) -> Option<f64> {
        let (_, name) = self.name.split_once('/')?;
        (self.suite == "kernels" && name == ROOF)
            .then(|| self.value.max(self.peer_value.unwrap_or(self.value)))
    }

    /// The backend that ran it.
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
