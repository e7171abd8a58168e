//! The measurements of one problem: a row per candidate, and merging of records.
//!
//! Merging is commutative, associative and idempotent, so the order and number of saves do not matter. Each row has a
//! generation, and the higher one wins; within a generation, the greater digest wins. A forgotten record stores the
//! generation up to which its rows are ignored.

use std::collections::BTreeMap;

use fulgurite_storage::{Digest, DigestBuilder};
use serde::{Deserialize, Serialize};

/// Maximum number of rows of a record; rows of the oldest generations are dropped first.
pub const MAX_ROWS: usize = 1024;

/// Maximum number of passed-over candidates of a record; those of the oldest generations are dropped first.
pub const MAX_PASSED_OVER: usize = 8192;

/// The highest generation, which is also the largest value in a file. It is reached only in edited or damaged records.
/// New rows then share it, and the digest decides between rows.
pub(crate) const MAX_GENERATION: u64 = i64::MAX as u64;

/// The measurements of one problem on one device.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AutotuneRecord {
    /// Rows up to this generation are ignored; 0 if the record was never forgotten.
    forgotten: u64,
    /// Rows by executable id.
    candidates: BTreeMap<String, CandidateRow>,
    /// Executable ids of candidates that searches ended without trying, with a generation like that of rows.
    passed_over: BTreeMap<String, u64>,
}

/// The outcome of a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum TuneVerdict {
    /// Correct and fully timed.
    Measured,
    /// Correct, but too slow to be timed to the end.
    Eliminated,
    /// The result differs from the reference.
    Wrong,
    /// Could not be built, compiled or launched.
    Invalid,
    /// The process ended, or the device was lost, during the attempt.
    Crashed,
    /// Did not finish in time.
    TimedOut,
    /// Out of memory. This may change, so it is not recorded.
    OutOfMemory,
}

impl TuneVerdict {
    /// All verdicts.
    pub const ALL: [Self; 7] = [
        Self::Measured,
        Self::Eliminated,
        Self::Wrong,
        Self::Invalid,
        Self::Crashed,
        Self::TimedOut,
        Self::OutOfMemory,
    ];

    /// Returns the name used in reports.
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

    /// Returns whether the candidate must not be used.
    pub const fn is_rejected(self) -> bool {
        !matches!(self, Self::Measured | Self::Eliminated)
    }
}

/// The measurements of one candidate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CandidateRow {
    /// Generation; higher than that of every row known when this one was measured.
    pub generation: u64,
    /// Outcome of the candidate.
    pub verdict: TuneVerdict,
    /// Device time in nanoseconds: see [`MeasurePolicy::key`](crate::MeasurePolicy::key).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_ns: Option<f64>,
    /// Half the interquartile range, relative to the median.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spread: Option<f64>,
    /// Number of timed runs.
    #[serde(default)]
    pub samples: u32,
    /// Reason for the rejection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Whether this was the heuristic's choice.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub heuristic: bool,
    /// Time of recording, for readers only.
    pub recorded_at: String,
    /// Recording version, for readers only.
    pub recorded_by: String,
    /// Workgroup size along x, y and z.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workgroup: Option<[u32; 3]>,
    /// Unroll factor of the innermost loop, or items per invocation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unroll: Option<u32>,
    /// Tile computed by a workgroup.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tile: Vec<u32>,
    /// Configuration. Must be last, because it is a TOML table.
    pub config: toml::Table,
}

impl CandidateRow {
    /// Creates a row with only a configuration and a verdict.
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

    /// Sets the time in nanoseconds, its spread and the number of runs.
    #[must_use]
    pub fn timed(mut self, time_ns: f64, spread: f64, samples: u32) -> Self {
        (self.time_ns, self.spread, self.samples) = (Some(time_ns), Some(spread), samples);
        self
    }

    /// Sets the reason for the rejection.
    #[must_use]
    pub fn because(mut self, reason: impl Into<String>) -> Self {
        self.reason = Some(reason.into());
        self
    }

    /// Orders rows of one candidate; merging keeps the greatest.
    fn rank(&self) -> (u64, Digest) {
        // Rank by the stored form; a row that cannot be stored ranks as empty text.
        let text = toml::to_string(self).unwrap_or_default();
        (self.generation, DigestBuilder::new("fulgurite autotune row 1").text(&text).finish())
    }

    /// Checks the numbers of the row.
    pub(crate) fn check(&self) -> Result<(), String> {
        let figures = [self.time_ns, self.spread].into_iter().flatten();
        if !figures.clone().all(|figure| figure.is_finite() && figure >= 0.0) {
            return Err(String::from("time or spread is negative or not finite"));
        }
        if self.verdict == TuneVerdict::Measured && self.time_ns.is_none() {
            return Err(String::from("verdict `measured` without a time"));
        }
        check_generation(self.generation)
    }
}

/// Checks a generation.
pub(crate) fn check_generation(generation: u64) -> Result<(), String> {
    if (1..=MAX_GENERATION).contains(&generation) {
        return Ok(());
    }
    Err(format!("generation {generation} is not between 1 and {MAX_GENERATION}"))
}

impl AutotuneRecord {
    /// Creates a record from rows by executable id.
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

    /// Returns the generation up to which rows are ignored; 0 if the record was never forgotten.
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Returns the rows by executable id.
    pub fn candidates(&self) -> &BTreeMap<String, CandidateRow> {
        &self.candidates
    }

    /// Returns the executable ids of candidates that searches ended without trying, with their generation. Later
    /// searches do not try them.
    pub fn passed_over(&self) -> &BTreeMap<String, u64> {
        &self.passed_over
    }

    /// Returns whether the record has no rows.
    pub fn is_empty(&self) -> bool {
        self.candidates.is_empty()
    }

    /// Returns the highest generation in the record.
    pub fn generation(&self) -> u64 {
        let rows = self.candidates.values().map(|row| row.generation);
        rows.chain(self.passed_over.values().copied()).fold(self.forgotten, u64::max)
    }

    /// Returns the generation for new rows.
    pub(crate) fn next_generation(&self) -> u64 {
        self.generation().saturating_add(1).min(MAX_GENERATION)
    }

    /// Returns the fully timed rows, fastest first.
    pub fn ranking(&self) -> Vec<(&String, &CandidateRow)> {
        let mut rows: Vec<_> =
            self.candidates.iter().filter(|(_, row)| row.verdict == TuneVerdict::Measured).collect();
        let time = |row: &CandidateRow| row.time_ns.unwrap_or(f64::INFINITY);
        rows.sort_by(|(a_id, a), (b_id, b)| time(a).total_cmp(&time(b)).then_with(|| a_id.cmp(b_id)));
        rows
    }

    /// Returns the fastest fully timed row.
    pub fn best(&self) -> Option<(&String, &CandidateRow)> {
        self.ranking().first().copied()
    }

    /// Merges `other` into this record.
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

    /// Adds rows of `other` for candidates without a row, unless this record was forgotten.
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

    /// Removes all rows permanently: merging with a record that still has them does not restore them.
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

/// Drops entries beyond `most`, lowest rank first. The rank of a newer entry of the same candidate is never lower, so
/// this commutes with merging.
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
