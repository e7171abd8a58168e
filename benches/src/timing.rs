//! Timing of work, alternating with a peer. Defines the time and the spread of samples, independently of the kind of
//! work.

use std::time::{Duration, Instant};

use anyhow::ensure;

/// Parameters of a measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Warm-up time before the measurement: clock rates rise only under load.
    pub warm_up: Duration,
    /// Approximate duration of the measurement of both.
    pub lasts: Duration,
    /// Minimum duration of one turn; short work is repeated.
    pub turn: Duration,
    /// Minimum and maximum number of turns of each.
    pub turns: [usize; 2],
}

impl Policy {
    /// For results that are recorded.
    pub const FULL: Self = Self {
        warm_up: Duration::from_millis(700),
        lasts: Duration::from_millis(1500),
        turn: Duration::from_micros(500),
        turns: [11, 1001],
    };
    /// For a quick look.
    pub const QUICK: Self = Self {
        warm_up: Duration::from_millis(20),
        lasts: Duration::from_millis(150),
        turn: Duration::from_micros(200),
        turns: [5, 301],
    };
}

/// Runs work a given number of times and returns the total time.
pub type Work<'a> = dyn FnMut(u64) -> anyhow::Result<Duration> + 'a;

/// Returns work that is timed by wall clock.
pub fn by_wall(mut once: impl FnMut() -> anyhow::Result<()>) -> impl FnMut(u64) -> anyhow::Result<Duration> {
    move |times| {
        let begun = Instant::now();
        for _ in 0..times {
            once()?;
        }
        Ok(begun.elapsed())
    }
}

/// Returns work that reports its time.
pub fn by_itself(
    mut once: impl FnMut() -> anyhow::Result<Duration>,
) -> impl FnMut(u64) -> anyhow::Result<Duration> {
    move |times| (0..times).map(|_| once()).sum()
}

/// Times of work in seconds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Samples(Vec<f64>);

impl Samples {
    /// Creates samples from times in seconds.
    pub fn new(seconds: Vec<f64>) -> Self {
        Self(seconds)
    }

    /// Returns the number of samples.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns whether there are no samples.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the mean of the faster half, as in the autotuner, because noise only adds time.
    pub fn seconds(&self) -> f64 {
        let sorted = self.sorted();
        let faster = &sorted[..sorted.len().div_ceil(2)];
        faster.iter().sum::<f64>() / faster.len() as f64
    }

    /// Returns half the distance between the quartiles, relative to the median.
    pub fn spread(&self) -> f64 {
        let sorted = self.sorted();
        let quantile = |share: f64| {
            let last = sorted.len().saturating_sub(1) as f64;
            sorted.get((share * last).round() as usize).copied().unwrap_or_default()
        };
        let median = quantile(0.5);
        if median > 0.0 { (quantile(0.75) - quantile(0.25)) / 2.0 / median } else { 0.0 }
    }

    fn sorted(&self) -> Vec<f64> {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted
    }
}

/// Times `ours` alternating with `peer`, so that both see the same clock rates and noise.
///
/// # Errors
/// An error of the work, or if no time was measured.
pub fn in_turns<'w>(
    policy: &Policy,
    ours: &'w mut Work<'w>,
    peer: Option<&'w mut Work<'w>>,
) -> anyhow::Result<(Samples, Option<Samples>)> {
    let mut all = vec![ours];
    all.extend(peer);
    let begun = Instant::now();
    // The first run may compile or cause page faults, and is not representative.
    for work in &mut all {
        work(1)?;
    }
    let mut repeats = Vec::new();
    for work in &mut all {
        repeats.push(enough(policy, *work)?);
    }
    while begun.elapsed() < policy.warm_up {
        for (work, times) in all.iter_mut().zip(&repeats) {
            work(*times)?;
        }
    }
    let mut samples = vec![Vec::new(); all.len()];
    let begun = Instant::now();
    for turn in 0..policy.turns[1] {
        if turn >= policy.turns[0] && begun.elapsed() >= policy.lasts {
            break;
        }
        for ((work, times), samples) in all.iter_mut().zip(&repeats).zip(&mut samples) {
            samples.push(work(*times)?.as_secs_f64() / *times as f64);
        }
    }
    let mut samples = samples.into_iter().map(Samples);
    let ours = samples.next().unwrap_or_default();
    let peer = samples.next();
    for samples in [Some(&ours), peer.as_ref()].into_iter().flatten() {
        ensure!(samples.seconds() > 0.0, "the clock stood still while work was timed");
    }
    Ok((ours, peer))
}

/// Returns the number of repetitions of `work` in one turn.
fn enough(policy: &Policy, work: &mut Work<'_>) -> anyhow::Result<u64> {
    let mut times = 1u64;
    loop {
        let took = work(times)?;
        if took >= policy.turn || times >= 1 << 24 {
            return Ok(times);
        }
        let more = policy.turn.as_secs_f64() / took.as_secs_f64().max(1e-9);
        times = ((times as f64 * more * 1.2) as u64).clamp(times + 1, times * 100);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_of_the_faster_half_and_the_spread() {
        let five = Samples::new(vec![5.0, 1.0, 4.0, 2.0, 3.0]);
        assert_eq!((five.seconds(), five.spread()), (2.0, 1.0 / 3.0));
        let one = Samples::new(vec![3.0]);
        assert_eq!((one.seconds(), one.spread(), one.len()), (3.0, 0.0, 1));
    }

    #[test]
    fn both_take_turns_and_short_work_is_repeated() {
        let policy = Policy { warm_up: Duration::ZERO, lasts: Duration::ZERO, ..Policy::QUICK };
        let order = std::cell::RefCell::new(Vec::new());
        let work = |name: char, nanos: u64| {
            let order = &order;
            move |times: u64| {
                order.borrow_mut().push(name);
                Ok(Duration::from_nanos(nanos * times))
            }
        };
        let (ours, peer) = in_turns(&policy, &mut work('a', 100), Some(&mut work('b', 1_000_000))).unwrap();
        assert!((ours.seconds() - 1e-7).abs() < 1e-12, "{ours:?}");
        assert!((peer.unwrap().seconds() - 1e-3).abs() < 1e-9);
        assert_eq!(ours.len(), policy.turns[0]);
        assert_eq!(order.borrow()[order.borrow().len() - 4..], ['a', 'b', 'a', 'b']);
    }

    #[test]
    fn work_that_fails_has_no_time() {
        let mut failing = |_| Err(anyhow::anyhow!("no"));
        assert!(in_turns(&Policy::QUICK, &mut failing, None).is_err());
    }
}
