//! Timing candidates against each other: in turns, so that all meet the same clocks, and those that fall far behind no longer
//! than it takes to see that.

use std::time::{Duration, Instant};

use fulgurite_driver_core::{BufferView, Graph};
use fulgurite_hal::{DeviceError, Error, LaunchOptions};

use crate::prepared::Prepared;
use crate::random::Random;

/// How candidates are timed. What was measured in another way is not compared with it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct MeasurePolicy {
    /// Load before candidates are timed: until they have become no faster for so long.
    pub warm_up: Duration,
    /// Timed runs of each that is not eliminated, at least; the mean of the faster half counts.
    pub rounds: u32,
    /// How long candidates take turns, about, if none is eliminated and they are so short that more rounds than that have room:
    /// noise lasts.
    pub lasts: Duration,
    /// Whether those that fall behind are eliminated: not where every time is wanted.
    pub eliminates: bool,
    /// When to stop a launch.
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
    /// Times each so often, at least.
    #[must_use]
    pub fn rounds(mut self, rounds: u32) -> Self {
        self.rounds = rounds.max(1);
        self
    }

    /// Times short candidates for about so long.
    #[must_use]
    pub fn lasts(mut self, lasts: Duration) -> Self {
        self.lasts = lasts;
        self
    }

    /// Loads the device before candidates are timed, until they have become no faster for so long.
    #[must_use]
    pub fn warm_up(mut self, warm_up: Duration) -> Self {
        self.warm_up = warm_up;
        self
    }

    /// Times every candidate to the end.
    #[must_use]
    pub fn without_elimination(mut self) -> Self {
        self.eliminates = false;
        self
    }

    /// Stops launches that take longer.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// What records are kept under: what a time means. How often each is timed and who is eliminated changes how sure a
    /// time is, not what it means, so that programs find what was tuned with other options than theirs.
    pub fn key(&self) -> String {
        String::from("mean of the faster half, device clock")
    }
}

/// After such a share of the rounds, who was never faster than so many times the best one's time is eliminated.
const LIMITS: [(f64, f64); 4] = [(1.0 / 16.0, 2.0), (1.0 / 8.0, 1.5), (1.0 / 4.0, 1.15), (1.0 / 2.0, 1.06)];

/// Before candidates are timed, launches are submitted together that take about so long, and at most so many: a device whose
/// launches are waited for one by one is idle in between, and takes that for a reason to slow down. An NVIDIA H100 that had
/// fallen to 345 MHz while candidates were compiled stayed below 1000 of its 1980 for as long as kernels of 10 µs came one by one.
const BURST: Duration = Duration::from_millis(10);
const MOST_LAUNCHES: f64 = 64.0;

/// Short candidates are timed no more often than this.
const MOST_ROUNDS: u32 = 1000;

/// Warming up ends when it took so many times as long as the policy says.
const MOST_WARM_UPS: u32 = 10;

/// The times of one candidate.
#[derive(Clone, Debug, Default)]
pub(crate) struct Samples {
    all: Vec<f64>,
    /// Whether it was timed to the end.
    pub(crate) complete: bool,
    /// Why it was not.
    pub(crate) failed: Option<Error>,
}

impl Samples {
    pub(crate) fn len(&self) -> u32 {
        self.all.len() as u32
    }

    /// What counts, in nanoseconds: the mean of the faster half. Whatever else runs makes a run longer, never shorter; and where a
    /// kernel takes 70 or 140 µs, as a second thread is in time or is not, any quantile is one or the other by chance.
    pub(crate) fn time(&self) -> Option<f64> {
        let mut sorted = self.all.clone();
        sorted.sort_by(f64::total_cmp);
        let faster = sorted.get(..sorted.len().div_ceil(2)).filter(|faster| !faster.is_empty())?;
        Some(faster.iter().sum::<f64>() / faster.len() as f64)
    }

    fn median(&self) -> Option<f64> {
        quantile(&self.all, 0.5)
    }

    /// Half the distance between the quartiles, as a share of the median.
    pub(crate) fn spread(&self) -> Option<f64> {
        let median = self.median()?;
        let quartiles = [quantile(&self.all, 0.25)?, quantile(&self.all, 0.75)?];
        Some(if median > 0.0 { (quartiles[1] - quartiles[0]) / 2.0 / median } else { 0.0 })
    }

    /// Whether it took the device with it: then nothing else can be timed, and that says nothing of the others.
    pub(crate) fn has_lost_the_device(&self) -> bool {
        matches!(self.failed, Some(Error::Device(DeviceError::Lost(_))))
    }

    fn least(&self) -> f64 {
        self.all.iter().copied().fold(f64::INFINITY, f64::min)
    }
}

/// A quantile, of the nearest rank.
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

    /// Keeps the device busy until it has become no faster for as long as the policy says.
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

    /// Times candidates in turns, on a device that is warm by then. `exempt` are timed to the end whatever the others do. `told`
    /// is told how many runs were made, and how many there are at most.
    pub(crate) fn time(
        &self,
        candidates: &[&Prepared],
        exempt: &[usize],
        random: &mut Random,
        told: &mut dyn FnMut(usize, usize),
    ) -> Vec<Samples> {
        let mut all = vec![Samples::default(); candidates.len()];
        let mut alive: Vec<usize> = (0..candidates.len()).collect();
        // Whatever happens, these are timed.
        alive.sort_by_key(|at| !exempt.contains(at));
        for at in &alive {
            if self.is_late() {
                break;
            }
            // A driver may compile when a kernel is launched for the first time.
            all[*at].failed = self.once(candidates[*at]).err();
            if all[*at].has_lost_the_device() {
                return only_lost(all);
            }
        }
        if let Some(first) = alive.iter().find(|at| all[**at].failed.is_none()) {
            // If it fails now, it says so when it is timed.
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

/// What is known where the device was lost: who took it. Times that were cut short by that count for nothing.
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
