//! What was measured of one problem: a row for each candidate, and how two such records become one.
//!
//! Merging is commutative, associative and idempotent, so that it does not matter who saves first or how often. A row has a
//! generation, and the higher wins; of two rows of one generation that whose digest is greater. A record that was forgotten
//! keeps the generation up to which nothing of it counts.

use std::collections::BTreeMap;

use fulgurite_storage::{Digest, DigestBuilder};
use serde::{Deserialize, Serialize};

/// Most rows of a record: those of the oldest generations go first.
pub const MAX_ROWS: usize = 1024;

/// Most candidates that a record knows to have been passed over: those of the oldest generations go first.
pub const MAX_PASSED_OVER: usize = 8192;

/// The highest generation: a file has no higher numbers. Counting up to it takes longer than there is time, so a record that has
/// it was made by hand or damaged. What is measured then has it, too; of rows that share it the digest decides.
pub(crate) const MAX_GENERATION: u64 = i64::MAX as u64;

/// What was measured of one problem on one device.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AutotuneRecord {
    /// Rows of this generation and older ones don't count; 0 if it was never forgotten.
    forgotten: u64,
    /// Rows by the id of what was run.
    candidates: BTreeMap<String, CandidateRow>,
    /// What searches ended without having tried, by the id of what it would have run: with a generation, as rows have one.
    passed_over: BTreeMap<String, u64>,
}

/// What became of a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum TuneVerdict {
    /// It is right, and was measured to the end.
    Measured,
    /// It is right, and others were so much faster that it was timed no longer.
    Eliminated,
    /// It gave something else than the reference.
    Wrong,
    /// It could not be built or compiled, or its launch failed.
    Invalid,
    /// The process ended while it was tried.
    Crashed,
    /// It did not end in time.
    TimedOut,
    /// There was no memory for it. There may be another time, so this is not recorded.
    OutOfMemory,
}

impl TuneVerdict {
    /// Each.
    pub const ALL: [Self; 7] = [
        Self::Measured,
        Self::Eliminated,
        Self::Wrong,
        Self::Invalid,
        Self::Crashed,
        Self::TimedOut,
        Self::OutOfMemory,
    ];

    /// The name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Measured => "measured",
            Self::Eliminated => "eliminated",
            Self::Wrong => "wrong",
            Self::Invalid => "invalid",
            Self::Crashed => "crashed",
            Self::TimedOut => "timed_out",
            Self::OutOfMemory => "out_of_memory",
        }
    }

    /// Whether it may not be used.
    pub const fn is_rejected(self) -> bool {
        !matches!(self, Self::Measured | Self::Eliminated)
    }
}

/// What was measured of a candidate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CandidateRow {
    /// Higher than that of every row that was known when it was measured.
    pub generation: u64,
    /// What became of it.
    pub verdict: TuneVerdict,
    /// Time on the device, in nanoseconds: see [`MeasurePolicy::key`](crate::MeasurePolicy::key).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_ns: Option<f64>,
    /// Half the distance between the quartiles, as a share of the median.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spread: Option<f64>,
    /// How often it was timed.
    #[serde(default)]
    pub samples: u32,
    /// Why it was rejected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Whether the heuristic named it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub heuristic: bool,
    /// When, for people.
    pub recorded_at: String,
    /// By which version, for people.
    pub recorded_by: String,
    /// Invocations of a workgroup along x, y and z.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workgroup: Option<[u32; 3]>,
    /// How often the innermost loop's body is repeated, or items an invocation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unroll: Option<u32>,
    /// What a workgroup computes together.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tile: Vec<u32>,
    /// The configuration. Last, since it is a table of its own in the file.
    pub config: toml::Table,
}

impl CandidateRow {
    /// A row of `config` with `verdict` and nothing else.
    pub fn new(config: toml::Table, verdict: TuneVerdict) -> Self {
        Self {
            generation: 0,
            verdict,
            time_ns: None,
            spread: None,
            samples: 0,
            reason: None,
            heuristic: false,
            recorded_at: String::new(),
            recorded_by: String::new(),
            workgroup: None,
            unroll: None,
            tile: Vec::new(),
            config,
        }
    }

    /// States the time in nanoseconds, its spread and how many runs it is of.
    #[must_use]
    pub fn timed(mut self, time_ns: f64, spread: f64, samples: u32) -> Self {
        (self.time_ns, self.spread, self.samples) = (Some(time_ns), Some(spread), samples);
        self
    }

    /// Says why it was rejected.
    #[must_use]
    pub fn because(mut self, reason: impl Into<String>) -> Self {
        self.reason = Some(reason.into());
        self
    }

    /// Orders rows of one candidate: the greater one is kept.
    fn rank(&self) -> (u64, Digest) {
        // As TOML has it, which is as it is stored: what cannot be stored has the least.
        let text = toml::to_string(self).unwrap_or_default();
        (self.generation, DigestBuilder::new("fulgurite autotune row 1").text(&text).finish())
    }

    /// Whether its figures can be.
    pub(crate) fn check(&self) -> Result<(), String> {
        let figures = [self.time_ns, self.spread].into_iter().flatten();
        if !figures.clone().all(|figure| figure.is_finite() && figure >= 0.0) {
            return Err(String::from("a time or spread that cannot be"));
        }
        if self.verdict == TuneVerdict::Measured && self.time_ns.is_none() {
            return Err(String::from("measured, but without a time"));
        }
        check_generation(self.generation)
    }
}

/// Whether there can be such a generation.
pub(crate) fn check_generation(generation: u64) -> Result<(), String> {
    if (1..=MAX_GENERATION).contains(&generation) {
        return Ok(());
    }
    Err(format!("a generation that cannot be: {generation}"))
}

impl AutotuneRecord {
    /// A record of rows by the id of what was run.
    pub fn new(rows: impl IntoIterator<Item = (String, CandidateRow)>) -> Self {
        let mut record = Self { candidates: rows.into_iter().collect(), ..Self::default() };
        record.normalize();
        record
    }

    pub(crate) fn with_passed_over(mut self, all: impl IntoIterator<Item = (String, u64)>) -> Self {
        self.pass_over(all);
        self.normalize();
        self
    }

    pub(crate) fn with_forgotten(mut self, generation: u64) -> Self {
        self.forgotten = generation;
        self.normalize();
        self
    }

    /// The generation up to which nothing of it counts; 0 if it was never forgotten.
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// The rows, by the id of what was run.
    pub fn candidates(&self) -> &BTreeMap<String, CandidateRow> {
        &self.candidates
    }

    /// What searches ended without having tried, by the id of what it would have run, and the generation of that: it is
    /// not tried by searches that come later.
    pub fn passed_over(&self) -> &BTreeMap<String, u64> {
        &self.passed_over
    }

    /// Whether nothing was tried.
    pub fn is_empty(&self) -> bool {
        self.candidates.is_empty()
    }

    /// The highest generation that it has seen.
    pub fn generation(&self) -> u64 {
        let rows = self.candidates.values().map(|row| row.generation);
        rows.chain(self.passed_over.values().copied()).fold(self.forgotten, u64::max)
    }

    /// The generation of what is measured next.
    pub(crate) fn next_generation(&self) -> u64 {
        self.generation().saturating_add(1).min(MAX_GENERATION)
    }

    /// The rows that were measured to the end, the fastest first.
    pub fn ranking(&self) -> Vec<(&String, &CandidateRow)> {
        let mut rows: Vec<_> =
            self.candidates.iter().filter(|(_, row)| row.verdict == TuneVerdict::Measured).collect();
        let time = |row: &CandidateRow| row.time_ns.unwrap_or(f64::INFINITY);
        rows.sort_by(|(a_id, a), (b_id, b)| time(a).total_cmp(&time(b)).then_with(|| a_id.cmp(b_id)));
        rows
    }

    /// The fastest row that was measured to the end.
    pub fn best(&self) -> Option<(&String, &CandidateRow)> {
        self.ranking().first().copied()
    }

    /// Adds what `other` has.
    pub fn merge(&mut self, other: &Self) {
        self.forgotten = self.forgotten.max(other.forgotten);
        for (id, row) in &other.candidates {
            match self.candidates.get_mut(id) {
                Some(known) if known.rank() < row.rank() => *known = row.clone(),
                Some(_) => {}
                None => {
                    self.candidates.insert(id.clone(), row.clone());
                }
            }
        }
        self.pass_over(other.passed_over.iter().map(|(id, generation)| (id.clone(), *generation)));
        self.normalize();
    }

    /// Adds what `other` has of candidates that nothing is known of here, unless this was forgotten.
    pub(crate) fn complete(&mut self, other: &Self) {
        if self.forgotten == 0 {
            for (id, row) in &other.candidates {
                self.candidates.entry(id.clone()).or_insert_with(|| row.clone());
            }
            self.pass_over(other.passed_over.iter().map(|(id, generation)| (id.clone(), *generation)));
            self.normalize();
        }
    }

    fn pass_over(&mut self, all: impl IntoIterator<Item = (String, u64)>) {
        for (id, generation) in all {
            let known = self.passed_over.entry(id).or_default();
            *known = generation.max(*known);
        }
    }

    /// Removes all rows, so that they do not come back by merging with what has them still.
    pub(crate) fn forget(&mut self) {
        self.forgotten = self.next_generation();
        self.candidates.clear();
        self.passed_over.clear();
    }

    fn normalize(&mut self) {
        let forgotten = self.forgotten;
        self.candidates.retain(|_, row| row.generation > forgotten);
        self.passed_over.retain(|_, generation| *generation > forgotten);
        bound(&mut self.candidates, MAX_ROWS, CandidateRow::rank);
        bound(&mut self.passed_over, MAX_PASSED_OVER, |generation| *generation);
    }
}

/// Removes what is over `most`, the lowest ranks first. By an order in which what is newer of one candidate is never behind what
/// is older: so it does not matter whether this is done before or after merging.
fn bound<T, R: Ord>(all: &mut BTreeMap<String, T>, most: usize, rank: impl Fn(&T) -> R) {
    if all.len() > most {
        let mut ranks: Vec<_> = all.iter().map(|(id, of)| (rank(of), id.clone())).collect();
        ranks.sort_unstable();
        for (_, id) in ranks.iter().rev().skip(most) {
            all.remove(id);
        }
    }
}

#[cfg(test)]
mod tests;
