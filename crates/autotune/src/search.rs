//! The search: which candidates are checked and timed, in which order, and when to stop.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Instant, SystemTime};

use fulgurite_hal::Error;
use fulgurite_runtime::{Buffer, Device};
use fulgurite_spec::Code;

use crate::effects::Effects;
use crate::family::Numbers;
use crate::gate::{Gate, Rejection, resident, views};
use crate::instance::Instance;
use crate::key::AutotuneKey;
use crate::measure::{MeasurePolicy, Samples, Timer};
use crate::prepared::{Prepared, candidate_id, compile_together};
use crate::random::Random;
use crate::record::{AutotuneRecord, CandidateRow, TuneVerdict};
use crate::tune::{CandidateReport, Progress, TuneOptions, TuneReport};

/// Number of candidates checked or compiled between checks of the budget: one per processor, from 2 to 16.
fn together() -> usize {
    std::thread::available_parallelism().map_or(4, usize::from).clamp(2, 16)
}

/// State of a candidate during a search.
#[derive(Default)]
struct Looked {
    id: Option<String>,
    row: Option<CandidateRow>,
    prepared: Option<Prepared>,
    is_new: bool,
    /// Set if an earlier search ended without trying this candidate.
    is_passed_over: bool,
}

impl Looked {
    fn time(&self) -> Option<f64> {
        let row = self.row.as_ref().filter(|row| row.verdict == TuneVerdict::Measured)?;
        row.time_ns
    }
}

/// A search for the fastest candidate of a problem.
pub(crate) struct Search<'a> {
    device: &'a Device,
    instance: &'a Instance,
    options: &'a TuneOptions,
    gate: &'a mut dyn Gate,
    told: &'a mut dyn FnMut(Progress),
    random: Random,
    deadline: Option<Instant>,
    candidates: Vec<Looked>,
    /// Random input on the device, uploaded before the first timing.
    arguments: Vec<Buffer>,
    /// New rows, by id.
    rows: BTreeMap<String, CandidateRow>,
    /// Number of candidates tried by this search.
    tried: usize,
    /// Set if the search of a large space ended for lack of progress.
    has_ended: bool,
    /// The search's choice, before all candidates were timed to compute its regret.
    searched: Option<usize>,
}

impl<'a> Search<'a> {
    /// Creates a search.
    pub(crate) fn new(
        device: &'a Device,
        instance: &'a Instance,
        options: &'a TuneOptions,
        gate: &'a mut dyn Gate,
        told: &'a mut dyn FnMut(Progress),
        deadline: Option<Instant>,
    ) -> Self {
        Self {
            device,
            instance,
            options,
            gate,
            told,
            random: Random::new(options.seed),
            deadline,
            candidates: (0..instance.candidates.len()).map(|_| Looked::default()).collect(),
            arguments: Vec::new(),
            rows: BTreeMap::new(),
            tried: 0,
            has_ended: false,
            searched: None,
        }
    }

    /// Takes the new rows, by executable id.
    pub(crate) fn take_rows(&mut self) -> BTreeMap<String, CandidateRow> {
        std::mem::take(&mut self.rows)
    }

    /// Loads what is recorded about each candidate.
    pub(crate) fn recall(&mut self, known: &AutotuneRecord) {
        if known.is_empty() || self.options.again {
            return;
        }
        for at in 0..self.candidates.len() {
            self.identify(at);
            let looked = &mut self.candidates[at];
            if let Some(id) = &looked.id {
                looked.row = known.candidates().get(id).cloned();
                looked.is_passed_over = known.passed_over().contains_key(id);
            }
        }
    }

    /// Computes the id of a candidate. Errors are reported when the candidate is tried.
    fn identify(&mut self, at: usize) {
        if self.candidates[at].id.is_none() {
            self.candidates[at].id = candidate_id(self.device, &self.instance.candidates[at]).ok();
        }
    }

    fn is_late(&self) -> bool {
        self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }

    /// Returns how many more candidates may be tried.
    fn left(&self) -> usize {
        self.options.max_candidates.map_or(usize::MAX, |most| most.saturating_sub(self.tried))
    }

    /// Returns the candidates without a row.
    fn unknown(&self) -> Vec<usize> {
        (0..self.candidates.len()).filter(|at| self.candidates[*at].row.is_none()).collect()
    }

    /// Returns the candidates that may be tried.
    fn untried(&self) -> Vec<usize> {
        let mut all = self.unknown();
        all.retain(|at| !self.candidates[*at].is_passed_over);
        all
    }

    /// Returns the ids of the candidates that a finished search did not try.
    pub(crate) fn passed_over(&mut self) -> Vec<String> {
        let untried = if self.has_ended { self.untried() } else { Vec::new() };
        untried.iter().for_each(|at| self.identify(*at));
        untried.iter().filter_map(|at| self.candidates[*at].id.clone()).collect()
    }

    /// Returns the fully timed candidates, fastest first.
    fn ranking(&self) -> Vec<usize> {
        let timed = (0..self.candidates.len()).filter_map(|at| Some((at, self.candidates[at].time()?)));
        let mut timed: Vec<_> = timed.collect();
        timed.sort_by(|a, b| a.1.total_cmp(&b.1));
        timed.into_iter().map(|(at, _)| at).collect()
    }

    fn best(&self) -> Option<usize> {
        self.ranking().first().copied()
    }

    fn best_time(&self) -> Option<f64> {
        self.candidates[self.best()?].time()
    }

    /// Tries and times unknown candidates, in an order that finds fast ones early.
    ///
    /// # Errors
    /// Errors that prevent the device or the process from trying further candidates.
    pub(crate) fn run(&mut self) -> Result<(), Error> {
        let untried = self.untried();
        if !untried.is_empty() {
            if untried.len() <= self.options.exhaustive_up_to {
                let mut batch = self.ordered(untried);
                batch.truncate(self.left());
                self.batch(&batch)?;
            } else {
                self.halve()?;
            }
            self.run_off(None)?;
        }
        self.searched = self.best();
        if self.options.regret { self.exhaust() } else { Ok(()) }
    }

    /// Times all correct candidates without elimination or budget, and then the best of them against the search's
    /// choice.
    fn exhaust(&mut self) -> Result<(), Error> {
        self.deadline = None;
        let unknown = self.unknown();
        self.admit(&unknown)?;
        let rejected = |looked: &Looked| looked.row.as_ref().is_some_and(|row| row.verdict.is_rejected());
        let right: Vec<_> =
            (0..self.candidates.len()).filter(|at| !rejected(&self.candidates[*at])).collect();
        let right = self.prepare(&right);
        let policy = self.options.measure.clone().without_elimination();
        self.time(&right, &policy, None)?;
        self.run_off(self.searched)
    }

    /// Sorts the heuristic's choice first, then by prior.
    fn ordered(&self, mut all: Vec<usize>) -> Vec<usize> {
        let heuristic = self.instance.heuristic;
        let prior = |at: &usize| self.instance.candidates[*at].prior;
        all.sort_by(|a, b| (*a != heuristic).cmp(&(*b != heuristic)).then(prior(a).total_cmp(&prior(b))));
        all
    }

    /// Successive halving with restarts: each batch consists of the candidates predicted fastest and of those most
    /// similar to the best so far, and slow ones are eliminated during timing. Ends after several batches without
    /// progress.
    fn halve(&mut self) -> Result<(), Error> {
        const BATCH: usize = 24;
        const MAX_FRUITLESS: usize = 3;
        let mut fruitless = 0;
        while fruitless < MAX_FRUITLESS && (self.tried == 0 || !self.is_late()) && self.left() > 0 {
            let mut untried = self.untried();
            if untried.is_empty() {
                break;
            }
            // Break ties in predictions randomly.
            self.random.shuffle(&mut untried);
            let mut batch = self.promising(&untried);
            if let Some(best) = self.best() {
                batch.truncate(BATCH / 2);
                let near = self.by_likeness(best, &untried).into_iter();
                batch.extend(near.filter(|at| !batch.contains(at)).collect::<Vec<_>>());
            }
            batch.truncate(BATCH.min(self.left()));
            let before = self.best_time();
            self.batch(&batch)?;
            let better = match (before, self.best_time()) {
                (None, _) => true,
                (Some(before), Some(after)) => after < 0.99 * before,
                (Some(_), None) => false,
            };
            fruitless = if better { 0 } else { fruitless + 1 };
        }
        self.has_ended = fruitless == MAX_FRUITLESS && !self.is_late();
        Ok(())
    }

    /// Sorts `among` by predicted time, or by prior before anything was timed.
    fn promising(&self, among: &[usize]) -> Vec<usize> {
        let timed =
            self.candidates.iter().zip(&self.instance.candidates).filter_map(|(looked, candidate)| {
                let row = looked.row.as_ref().filter(|row| !row.verdict.is_rejected())?;
                Some((&candidate.config, row.time_ns.filter(|time| *time > 0.0)?))
            });
        let Some(effects) = Effects::fit(&timed.collect::<Vec<_>>()) else {
            return self.ordered(among.to_vec());
        };
        let predicted = |at: &usize| (*at, effects.predict(&self.instance.candidates[*at].config));
        let mut all: Vec<_> = among.iter().map(predicted).collect();
        all.sort_by(|a, b| a.1.total_cmp(&b.1));
        all.into_iter().map(|(at, _)| at).collect()
    }

    /// Sorts `among` by the number of fields that differ from candidate `at`.
    fn by_likeness(&self, at: usize, among: &[usize]) -> Vec<usize> {
        let own = &self.instance.candidates[at].config;
        let differing = |other: &usize| {
            let other = &self.instance.candidates[*other].config;
            let names: BTreeSet<_> = own.keys().chain(other.keys()).collect();
            names.into_iter().filter(|name| own.get(*name) != other.get(*name)).count()
        };
        let mut all = among.to_vec();
        all.sort_by_cached_key(differing);
        all
    }

    /// Checks candidates, times the correct ones, and records the results.
    fn batch(&mut self, batch: &[usize]) -> Result<(), Error> {
        let right = self.admit(batch)?;
        let right = self.prepare(&right);
        let policy = self.options.measure.clone();
        self.time(&right, &policy, self.deadline)
    }

    /// Times prepared candidates.
    fn time(
        &mut self,
        right: &[usize],
        policy: &MeasurePolicy,
        deadline: Option<Instant>,
    ) -> Result<(), Error> {
        if right.is_empty() {
            return Ok(());
        }
        self.upload()?;
        let views = views(&self.arguments);
        let timer = Timer { arguments: &views, policy, deadline };
        let prepared: Vec<&Prepared> =
            right.iter().filter_map(|at| self.candidates[*at].prepared.as_ref()).collect();
        let exempt: Vec<usize> =
            right.iter().position(|at| *at == self.instance.heuristic).into_iter().collect();
        let told = &mut *self.told;
        let mut told = |done, all| told(Progress::Timed(done, all));
        let samples = timer.time(&prepared, &exempt, &mut self.random, &mut told);
        let lost = samples.iter().find(|samples| samples.has_lost_the_device());
        let lost = lost.and_then(|samples| samples.failed.clone());
        for (at, samples) in right.iter().zip(samples) {
            self.note_samples(*at, &samples);
        }
        lost.map_or(Ok(()), Err)
    }

    /// Checks candidates and returns the correct ones.
    fn admit(&mut self, batch: &[usize]) -> Result<Vec<usize>, Error> {
        batch.iter().for_each(|at| self.identify(*at));
        let (mut right, mut rejected, mut done, mut result) = (Vec::new(), Vec::new(), 0, Ok(()));
        // Use at most half of the remaining budget; the other half is for compiling and timing.
        let now = Instant::now();
        let late = self.deadline.map(|deadline| now + deadline.saturating_duration_since(now) / 2);
        let told = &mut *self.told;
        for part in batch.chunks(together()) {
            if done > 0 && late.is_some_and(|deadline| Instant::now() >= deadline) {
                break;
            }
            result = self.gate.check(self.instance, part, &mut |at, result| {
                done += 1;
                told(Progress::Tried(done, batch.len()));
                match result {
                    Ok(()) => right.push(at),
                    Err(rejection) => rejected.push((at, rejection)),
                }
            });
            if result.is_err() {
                break;
            }
        }
        self.tried += done;
        for (at, rejection) in rejected {
            self.reject(at, rejection);
        }
        result.map(|()| right)
    }

    /// Compiles candidates in this process and returns those that succeed.
    fn prepare(&mut self, right: &[usize]) -> Vec<usize> {
        let mut all = Vec::new();
        for part in right.chunks(together()) {
            if !all.is_empty() && self.is_late() {
                break;
            }
            compile_together(self.device, self.instance, part);
            for at in part {
                let plan = self.instance.candidates[*at].plan();
                match plan.and_then(|plan| Prepared::new(self.device, plan)) {
                    Ok(prepared) => {
                        self.candidates[*at].prepared = Some(prepared);
                        all.push(*at);
                    }
                    Err(error) => self.reject(*at, Rejection::of(&error)),
                }
            }
        }
        all
    }

    fn upload(&mut self) -> Result<(), Error> {
        if self.arguments.is_empty() {
            let trial = self.instance.trial(Numbers::Random, self.options.seed);
            self.arguments = resident(self.device, &self.instance.arguments, &trial)?;
        }
        Ok(())
    }

    fn note_samples(&mut self, at: usize, samples: &Samples) {
        if let Some(error) = &samples.failed {
            return self.reject(at, Rejection::of(error));
        }
        let (Some(time), Some(spread)) = (samples.time(), samples.spread()) else { return };
        let verdict = if samples.complete { TuneVerdict::Measured } else { TuneVerdict::Eliminated };
        self.candidates[at].is_new = true;
        let row = self.row(at, verdict).timed(time, spread, samples.len());
        self.note(at, row);
    }

    fn reject(&mut self, at: usize, rejection: Rejection) {
        let row = self.row(at, rejection.verdict).because(rejection.reason);
        self.note(at, row);
    }

    fn row(&self, at: usize, verdict: TuneVerdict) -> CandidateRow {
        let candidate = &self.instance.candidates[at];
        CandidateRow {
            heuristic: at == self.instance.heuristic,
            recorded_at: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
            recorded_by: format!("fulgurite {}", env!("CARGO_PKG_VERSION")),
            workgroup: self.candidates[at].prepared.as_ref().and_then(Prepared::workgroup),
            unroll: candidate.summary.unroll,
            tile: candidate.summary.tile.clone(),
            ..CandidateRow::new(candidate.config.clone(), verdict)
        }
    }

    fn note(&mut self, at: usize, row: CandidateRow) {
        if let Some(id) = &self.candidates[at].id
            && row.verdict != TuneVerdict::OutOfMemory
        {
            self.rows.insert(id.clone(), row.clone());
        }
        self.candidates[at].row = Some(row);
    }

    /// Times the fastest candidates once more against each other, together with the heuristic's choice and `also`, and
    /// eliminates the others: their times are short partly by chance, or were taken while the machine was faster.
    /// Leaves candidates without a new timing unchanged, and does nothing if time is short.
    fn run_off(&mut self, also: Option<usize>) -> Result<(), Error> {
        const FEW: usize = 8;
        let is_ready = |at: &usize| self.candidates[*at].is_new && self.candidates[*at].prepared.is_some();
        let ranking = self.ranking();
        if self.is_late() || !ranking.first().is_some_and(is_ready) {
            return Ok(());
        }
        let wanted = [Some(self.instance.heuristic), also];
        let mut ranks = 0..;
        let (those, others): (Vec<_>, Vec<_>) = ranking
            .into_iter()
            .filter(is_ready)
            .partition(|at| ranks.next() < Some(FEW) || wanted.contains(&Some(*at)));
        if those.len() == 1 {
            return Ok(());
        }
        let policy = self.options.measure.clone().without_elimination();
        let turn: f64 = those.iter().filter_map(|at| self.candidates[*at].time()).sum();
        let whole = turn * 1e-9 * f64::from(policy.rounds);
        let is_too_long =
            |deadline: Instant| whole > deadline.saturating_duration_since(Instant::now()).as_secs_f64();
        if self.deadline.is_some_and(is_too_long) {
            return Ok(());
        }
        self.time(&those, &policy, None)?;
        for at in others {
            if let Some(row) = self.candidates[at].row.clone() {
                self.note(at, CandidateRow { verdict: TuneVerdict::Eliminated, ..row });
            }
        }
        Ok(())
    }

    /// Returns the report.
    ///
    /// # Errors
    /// `FG1107` if no candidate is correct.
    pub(crate) fn report(&self, key: AutotuneKey, begun: Instant) -> Result<TuneReport, Error> {
        let Some(best) = self.best() else {
            let reasons: Vec<_> =
                self.candidates.iter().filter_map(|c| c.row.as_ref()?.reason.as_deref()).collect();
            let message = format!(
                "no correct candidate among {} for {key}: {}",
                self.candidates.len(),
                reasons.first().unwrap_or(&"none tried within the budget")
            );
            return Err(Error::invalid(Code::NothingRight, message));
        };
        let heuristic = self.instance.heuristic;
        let time = |at: usize| self.candidates[at].time();
        let chosen = self.searched.and_then(time);
        let speedup = time(heuristic).zip(chosen).map(|(slow, fast)| slow / fast);
        let regret = chosen.zip(time(best)).map(|(chosen, best)| chosen / best - 1.0);
        let regret = regret.filter(|_| self.options.regret);
        let candidates = self.candidates.iter().zip(&self.instance.candidates);
        let candidates = candidates.map(|(looked, candidate)| CandidateReport {
            name: candidate.name(),
            id: looked.id.clone(),
            row: looked.row.clone(),
            is_new: looked.is_new,
        });
        let candidates: Vec<_> = candidates.collect();
        Ok(TuneReport {
            key,
            problem: self.instance.problem.clone(),
            best,
            heuristic,
            measured: candidates.iter().filter(|candidate| candidate.is_new).count(),
            candidates,
            regret,
            speedup,
            work: self.instance.work,
            elapsed: begun.elapsed(),
            out_of_budget: self.is_late(),
        })
    }
}
