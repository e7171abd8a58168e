//! Tuning a problem: how, what came of it, and what the store is told.

use std::time::{Duration, Instant};

use fulgurite_driver_core::Device;
use fulgurite_hal::Error;

use crate::family::Work;
use crate::gate::{Gate, InProcess};
use crate::instance::Instance;
use crate::key::AutotuneKey;
use crate::measure::MeasurePolicy;
use crate::record::CandidateRow;
use crate::search::Search;
use crate::store::AutotuneStore;

/// How a problem is tuned.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct TuneOptions {
    /// How candidates are timed.
    pub measure: MeasurePolicy,
    /// When to stop, from the beginning; what was not tried by then is left for next time. Default: half a minute.
    pub budget: Option<Duration>,
    /// Most candidates that are tried. Default: no limit.
    pub max_candidates: Option<usize>,
    /// Where no more candidates are to be tried, all are; of more, some at a time. Default: 96.
    pub exhaustive_up_to: usize,
    /// What is random comes of it: numbers, turns, which candidates.
    pub seed: u64,
    /// When the search has ended, times every candidate to the end, whatever the budget, and says how much worse the one is
    /// that the search chose.
    pub regret: bool,
    /// Measures also what is recorded, which is forgotten.
    pub again: bool,
}

impl TuneOptions {
    /// Times candidates in this way.
    #[must_use]
    pub fn measure(mut self, policy: MeasurePolicy) -> Self {
        self.measure = policy;
        self
    }

    /// Stops after so long.
    #[must_use]
    pub fn budget(mut self, budget: Duration) -> Self {
        self.budget = Some(budget);
        self
    }

    /// Tries no more candidates than this.
    #[must_use]
    pub fn max_candidates(mut self, most: usize) -> Self {
        self.max_candidates = Some(most);
        self
    }

    /// Tries all candidates where there are no more to be tried.
    #[must_use]
    pub fn exhaustive_up_to(mut self, most: usize) -> Self {
        self.exhaustive_up_to = most;
        self
    }

    /// Draws what is random from `seed`.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Then times every candidate to the end, and tells the regret.
    #[must_use]
    pub fn with_regret(mut self) -> Self {
        self.regret = true;
        self
    }

    /// Measures also what is recorded.
    #[must_use]
    pub fn again(mut self) -> Self {
        self.again = true;
        self
    }
}

impl Default for TuneOptions {
    fn default() -> Self {
        Self {
            measure: MeasurePolicy::default(),
            budget: Some(Duration::from_secs(30)),
            max_candidates: None,
            exhaustive_up_to: 96,
            seed: 1,
            regret: false,
            again: false,
        }
    }
}

/// What is told while a problem is tuned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress {
    /// So many of the candidates that are looked at now were tried.
    Tried(usize, usize),
    /// So many of the runs that are made now, at most, were timed.
    Timed(usize, usize),
}

/// What came of tuning a problem.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TuneReport {
    /// The record's key.
    pub key: AutotuneKey,
    /// The problem.
    pub problem: String,
    /// Every candidate, in the order of the space.
    pub candidates: Vec<CandidateReport>,
    /// Which is used from now on.
    pub best: usize,
    /// Which the heuristic names.
    pub heuristic: usize,
    /// How many were timed now.
    pub measured: usize,
    /// How much slower what the search chose is than the best of all, as a share of the latter: where every candidate was
    /// then timed to the end.
    pub regret: Option<f64>,
    /// How much longer the heuristic's takes than what the search chose, in the same turns: 1 if that is it.
    pub speedup: Option<f64>,
    /// What times are put in proportion to.
    pub work: Work,
    /// How long it took.
    pub elapsed: Duration,
    /// Whether the budget ended it.
    pub out_of_budget: bool,
}

/// What is known of one candidate.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CandidateReport {
    /// The configuration, on one line.
    pub name: String,
    /// The id of what it runs; `None` if that is not known.
    pub id: Option<String>,
    /// What is recorded of it; `None` if it was not tried.
    pub row: Option<CandidateRow>,
    /// Whether it was timed now.
    pub is_new: bool,
}

/// Tunes in this process.
///
/// # Errors
/// As [`tune_with`].
pub fn tune(
    device: &Device,
    instance: &Instance,
    store: &AutotuneStore,
    options: &TuneOptions,
) -> Result<TuneReport, Error> {
    let mut gate = InProcess::new(device, options.seed, options.measure.timeout);
    tune_with(device, instance, store, options, &mut gate, &mut |_| ())
}

/// Looks for the fastest candidate of `instance` on `device`. What the store knows is not measured again; what is found out
/// is added to it, and to be saved by the caller. `gate` tries candidates before they are timed.
///
/// # Errors
/// `FG1107` if no candidate is right, and what keeps the device or a process from trying any more of them.
pub fn tune_with(
    device: &Device,
    instance: &Instance,
    store: &AutotuneStore,
    options: &TuneOptions,
    gate: &mut dyn Gate,
    told: &mut dyn FnMut(Progress),
) -> Result<TuneReport, Error> {
    let begun = Instant::now();
    let key = instance.key(&options.measure.key());
    let known = store.get(&key).unwrap_or_default();
    let deadline = options.budget.and_then(|budget| begun.checked_add(budget));
    let mut search = Search::new(device, instance, options, gate, told, deadline);
    search.recall(&known);
    let result = search.run();
    // What was rejected is kept also where nothing was right, or the device was lost.
    let rows = search.take_rows();
    if !rows.is_empty() {
        if options.again {
            // Or else what was timed before, and not now, would still count.
            store.forget(&key);
        }
        store.insert(&key, rows);
    }
    result?;
    let passed_over = search.passed_over();
    if !passed_over.is_empty() {
        store.pass_over(&key, passed_over);
    }
    search.report(key, begun)
}
