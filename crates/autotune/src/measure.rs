//! Timing candidates in turns, so that all run at the same clocks, with early elimination of slow ones.

use std::time::{Duration, Instant};

use fulgurite_hal::{DeviceError, Error, LaunchOptions};
use fulgurite_runtime::{BufferView, Graph};

use crate::prepared::Prepared;
use crate::random::Random;

/// The timing method of candidates. Times of different methods are not comparable.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct MeasurePolicy {
    /// Minimum time without speedup before timing starts; the device is kept busy until then.
    pub warm_up: Duration,
    /// Minimum number of timed runs per candidate. The reported time is the mean of the faster half.
    pub rounds: u32,
    /// Approximate total time for short candidates, which get more rounds to fill it, because noise persists for some
    /// time.
    pub lasts: Duration,
    /// Whether slow candidates are eliminated early.
    pub eliminates: bool,
    /// Time limit of a launch.
    pub timeout: Duration,
}

impl Default for MeasurePolicy {
    fn default() -> Self {
        Self {
            warm_up: Duration::from_millis(300),
            rounds: 15,
            lasts: Duration::from_millis(500),
            eliminates: true,
            timeout: Duration::from_secs(10),
        }
    }
}

impl MeasurePolicy {
    /// Sets the minimum number of timed runs per candidate.
    #[must_use]
    pub fn rounds(mut self, rounds: u32) -> Self {
        self.rounds = rounds.max(1);
        self
    }

    /// Sets the approximate total time for short candidates.
    #[must_use]
    pub fn lasts(mut self, lasts: Duration) -> Self {
        self.lasts = lasts;
        self
    }

    /// Sets the minimum time without speedup before timing starts.
    #[must_use]
    pub fn warm_up(mut self, warm_up: Duration) -> Self {
        self.warm_up = warm_up;
        self
    }

    /// Disables elimination.
    #[must_use]
    pub fn without_elimination(mut self) -> Self {
        self.eliminates = false;
        self
    }

    /// Sets the time limit of a launch.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Returns the measurement method, which is part of the key of records. The number of runs and elimination affect
    /// the precision of a time but not its meaning, so they are not part of it; programs thus find records tuned with
    /// other options.
    pub fn key(&self) -> String {
        String::from("mean of the faster half, device clock")
    }
}

/// Pairs of a share of the rounds and a ratio: after that share, candidates whose fastest run exceeds `ratio` times the
/// best time are eliminated.
const LIMITS: [(f64, f64); 4] = [(1.0 / 16.0, 2.0), (1.0 / 8.0, 1.5), (1.0 / 4.0, 1.15), (1.0 / 2.0, 1.06)];

/// Warm-up submits launches in bursts of about this duration, and at most [`MOST_LAUNCHES`] launches, because a device
/// that idles between launches lowers its clock. An NVIDIA H100 that had dropped to 345 MHz during compilation stayed
/// below 1000 of its 1980 MHz while 10 µs kernels were launched one by one.
const BURST: Duration = Duration::from_millis(10);
const MOST_LAUNCHES: f64 = 64.0;

/// Maximum number of rounds for short candidates.
const MOST_ROUNDS: u32 = 1000;

/// Maximum duration of the warm-up, in multiples of the policy's `warm_up`.
const MOST_WARM_UPS: u32 = 10;

/// The times of one candidate.
#[derive(Clone, Debug, Default)]
pub(crate) struct Samples {
    all: Vec<f64>,
    /// Whether the candidate was timed to the end.
    pub(crate) complete: bool,
    /// The error that ended the timing.
    pub(crate) failed: Option<Error>,
}

impl Samples {
    pub(crate) fn len(&self) -> u32 {
        self.all.len() as u32
    }

    /// Returns the reported time in nanoseconds: the mean of the faster half. Interference only makes runs longer; and
    /// if a kernel takes either 70 or 140 µs, depending on a second thread, any quantile picks one of them by chance.
    pub(crate) fn time(&self) -> Option<f64> {
        let mut sorted = self.all.clone();
        sorted.sort_by(f64::total_cmp);
        let faster = sorted.get(..sorted.len().div_ceil(2)).filter(|faster| !faster.is_empty())?;
        Some(faster.iter().sum::<f64>() / faster.len() as f64)
    }

    fn median(&self) -> Option<f64> {
        quantile(&self.all, 0.5)
    }

    /// Returns half the interquartile range, relative to the median.
    pub(crate) fn spread(&self) -> Option<f64> {
        let median = self.median()?;
        let quartiles = [quantile(&self.all, 0.25)?, quantile(&self.all, 0.75)?];
        Some(if median > 0.0 { (quartiles[1] - quartiles[0]) / 2.0 / median } else { 0.0 })
    }

    /// Returns whether the candidate lost the device, after which no candidate can be timed.
    pub(crate) fn has_lost_the_device(&self) -> bool {
        matches!(self.failed, Some(Error::Device(DeviceError::Lost(_))))
    }

    fn least(&self) -> f64 {
        self.all.iter().copied().fold(f64::INFINITY, f64::min)
    }
}

/// Returns a quantile by the nearest-rank method.
fn quantile(samples: &[f64], share: f64) -> Option<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().checked_sub(1)?;
    sorted.get((share * last as f64).round() as usize).copied()
}

/// Runs candidates on arguments that stay on the device.
pub(crate) struct Timer<'a> {
    pub(crate) arguments: &'a [BufferView],
    pub(crate) policy: &'a MeasurePolicy,
    pub(crate) deadline: Option<Instant>,
}

impl Timer<'_> {
    fn once(&self, candidate: &Prepared) -> Result<f64, Error> {
        let options = LaunchOptions::default().timeout(self.policy.timeout);
        Ok(candidate.timed(self.arguments, &options)?.as_secs_f64() * 1e9)
    }

    pub(crate) fn is_late(&self) -> bool {
        self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }

    /// Keeps the device busy until it has not become faster for the time that the policy states.
    fn warm_up(&self, candidate: &Prepared) -> Result<(), Error> {
        let options = LaunchOptions::default().timeout(self.policy.timeout);
        let seconds = |graph: &Graph| {
            let begun = Instant::now();
            graph.replay().map(|_| begun.elapsed().as_secs_f64())
        };
        let one = seconds(&candidate.repeated(self.arguments, &options, 1)?)?;
        let launches = (BURST.as_secs_f64() / one).clamp(1.0, MOST_LAUNCHES);
        let burst = candidate.repeated(self.arguments, &options, launches as usize)?;
        let begun = Instant::now();
        let (mut fastest, mut since) = (f64::INFINITY, begun);
        let most = self.policy.warm_up.saturating_mul(MOST_WARM_UPS);
        while begun.elapsed() < most && !self.is_late() {
            let time = seconds(&burst)?;
            if time < 0.98 * fastest {
                (fastest, since) = (time, Instant::now());
            } else if since.elapsed() >= self.policy.warm_up {
                break;
            }
        }
        Ok(())
    }

    /// Times candidates in turns, after a warm-up. Candidates in `exempt` are never eliminated. `told` receives the
    /// number of runs made and the maximum number.
    pub(crate) fn time(
        &self,
        candidates: &[&Prepared],
        exempt: &[usize],
        random: &mut Random,
        told: &mut dyn FnMut(usize, usize),
    ) -> Vec<Samples> {
        let mut all = vec![Samples::default(); candidates.len()];
        let mut alive: Vec<usize> = (0..candidates.len()).collect();
        // Time exempt candidates first, so that they are timed even if the time runs out.
        alive.sort_by_key(|at| !exempt.contains(at));
        for at in &alive {
            if self.is_late() {
                break;
            }
            // The first launch may include driver compilation.
            all[*at].failed = self.once(candidates[*at]).err();
            if all[*at].has_lost_the_device() {
                return only_lost(all);
            }
        }
        if let Some(first) = alive.iter().find(|at| all[**at].failed.is_none()) {
            // An error here recurs during timing.
            let _ = self.warm_up(candidates[*first]);
        }
        let begun = Instant::now();
        let (mut rounds, mut round, mut done) = (self.policy.rounds, 0, 0);
        loop {
            alive.retain(|at| all[*at].failed.is_none());
            if round > 0 {
                random.shuffle(&mut alive);
            }
            for at in &alive {
                if self.is_late() && done > 0 {
                    break;
                }
                match self.once(candidates[*at]) {
                    Ok(time) => all[*at].all.push(time),
                    Err(error) => all[*at].failed = Some(error),
                }
                if all[*at].has_lost_the_device() {
                    return only_lost(all);
                }
                done += 1;
                told(done, candidates.len() * rounds as usize);
            }
            round += 1;
            if round == 1 {
                let turns = self.policy.lasts.as_secs_f64() / begun.elapsed().as_secs_f64();
                rounds = rounds.max((turns as u32).min(MOST_ROUNDS));
            }
            if round >= rounds || self.is_late() {
                break;
            }
            let after = |share: f64| (share * f64::from(rounds)).ceil() as u32;
            let limit = LIMITS.iter().find(|(share, _)| after(*share) == round);
            if let Some((_, ratio)) = limit.filter(|_| self.policy.eliminates) {
                let best = alive.iter().filter_map(|at| all[*at].time()).fold(f64::INFINITY, f64::min);
                alive.retain(|at| exempt.contains(at) || all[*at].least() <= ratio * best);
            }
        }
        for at in alive {
            all[at].complete = all[at].failed.is_none() && !all[at].all.is_empty();
        }
        all
    }
}

/// Keeps only the failures after a lost device; incomplete times are discarded.
fn only_lost(mut all: Vec<Samples>) -> Vec<Samples> {
    all.iter_mut().filter(|samples| samples.failed.is_none()).for_each(|samples| samples.all.clear());
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_medians_and_spreads() {
        let samples = |all: &[f64]| Samples { all: all.to_vec(), ..Samples::default() };
        assert_eq!((samples(&[]).time(), samples(&[]).median()), (None, None));
        assert_eq!(samples(&[4.0, 9.0, 2.0, 70.0]).time(), Some(3.0));
        assert_eq!(samples(&[3.0]).median(), Some(3.0));
        assert_eq!(samples(&[3.0]).spread(), Some(0.0));
        let five = samples(&[5.0, 1.0, 4.0, 2.0, 3.0]);
        assert_eq!((five.time(), five.median(), five.spread()), (Some(2.0), Some(3.0), Some(1.0 / 3.0)));
        assert_eq!(five.least(), 1.0);
        assert_eq!(samples(&[0.0, 0.0]).spread(), Some(0.0));
    }
}
