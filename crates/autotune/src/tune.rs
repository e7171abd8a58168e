//! Tuning one problem: options, report, store updates.

use std::time::{Duration, Instant};

use fulgurite_hal::Error;
use fulgurite_runtime::Device;

use crate::family::Work;
use crate::gate::{Gate, InProcess};
use crate::instance::Instance;
use crate::key::AutotuneKey;
use crate::measure::MeasurePolicy;
use crate::record::CandidateRow;
use crate::search::Search;
use crate::store::AutotuneStore;

/// Options of tuning a problem.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct TuneOptions {
    /// The timing method of candidates.
    pub measure: MeasurePolicy,
    /// Time limit, measured from the start; candidates not tried by then are left for the next search. The default is
    /// 30 s.
    pub budget: Option<Duration>,
    /// Maximum number of candidates tried. The default is no limit.
    pub max_candidates: Option<usize>,
    /// Number of untried candidates up to which all are tried; more are searched in batches. The default is 96.
    pub exhaustive_up_to: usize,
    /// Seed for inputs, timing order and sampling.
    pub seed: u64,
    /// Whether to time all candidates after the search, regardless of the budget, and report by how much the search's
    /// choice is slower than the best.
    pub regret: bool,
    /// Whether to measure recorded candidates again. The old record is then forgotten.
    pub again: bool,
}

impl TuneOptions {
    /// Sets how candidates are timed.
    #[must_use]
    pub fn measure(mut self, policy: MeasurePolicy) -> Self {
        self.measure = policy;
        self
    }

    /// Sets the time limit.
    #[must_use]
    pub fn budget(mut self, budget: Duration) -> Self {
        self.budget = Some(budget);
        self
    }

    /// Sets the maximum number of candidates tried.
    #[must_use]
    pub fn max_candidates(mut self, most: usize) -> Self {
        self.max_candidates = Some(most);
        self
    }

    /// Sets the number of untried candidates up to which all are tried.
    #[must_use]
    pub fn exhaustive_up_to(mut self, most: usize) -> Self {
        self.exhaustive_up_to = most;
        self
    }

    /// Sets the seed.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Times all candidates after the search and reports the regret.
    #[must_use]
    pub fn with_regret(mut self) -> Self {
        self.regret = true;
        self
    }

    /// Measures recorded candidates again.
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

/// Progress of tuning a problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress {
    /// Number of candidates tried, and the number in the current batch.
    Tried(usize, usize),
    /// Number of runs timed, and the maximum number in the current batch.
    Timed(usize, usize),
}

/// Result of tuning a problem.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TuneReport {
    /// Key of the record.
    pub key: AutotuneKey,
    /// Problem.
    pub problem: String,
    /// All candidates, in the order of the space.
    pub candidates: Vec<CandidateReport>,
    /// Index of the fastest candidate, which is used from now on.
    pub best: usize,
    /// Index of the heuristic's choice.
    pub heuristic: usize,
    /// Number of candidates timed by this search.
    pub measured: usize,
    /// Relative slowdown of the search's choice against the best of all candidates, if all were timed after the search.
    pub regret: Option<f64>,
    /// Time of the heuristic's choice divided by that of the search's choice; 1 if they are the same.
    pub speedup: Option<f64>,
    /// Amount of work, for rates.
    pub work: Work,
    /// Duration of the search.
    pub elapsed: Duration,
    /// Whether the time limit was reached.
    pub out_of_budget: bool,
}

/// State of one candidate.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CandidateReport {
    /// Configuration on one line.
    pub name: String,
    /// Executable id; `None` if unknown.
    pub id: Option<String>,
    /// Recorded row; `None` if the candidate was not tried.
    pub row: Option<CandidateRow>,
    /// Whether this search timed the candidate.
    pub is_new: bool,
}

/// Tunes in this process.
///
/// # Errors
/// As for [`tune_with`].
pub fn tune(
    device: &Device,
    instance: &Instance,
    store: &AutotuneStore,
    options: &TuneOptions,
) -> Result<TuneReport, Error> {
    let mut gate = InProcess::new(device, options.seed, options.measure.timeout);
    tune_with(device, instance, store, options, &mut gate, &mut |_| ())
}

/// Searches for the fastest candidate of `instance` on `device`. Recorded candidates are not measured again, and new
/// rows are added to `store`, which the caller saves. `gate` checks candidates before they are timed.
///
/// # Errors
/// `FG1107` if no candidate is correct; errors that prevent the device or the process from trying further candidates.
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
    // Rejections are stored even if no candidate is correct or the device was lost.
    let rows = search.take_rows();
    if !rows.is_empty() {
        if options.again {
            // Otherwise, rows that were not measured again would still count.
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
