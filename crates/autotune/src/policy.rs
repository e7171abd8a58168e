//! Whether and how a program tunes, by options and by the environment.

use std::time::Duration;

use fulgurite_spec::{Code, Diagnostic, Location};

/// The action when a configuration is requested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AutotuneMode {
    /// Use the heuristic's choice; do not read records.
    Off,
    /// Use a recorded configuration, if there is one.
    Cached,
    /// Use a recorded configuration; otherwise tune in the background and use the result once available.
    On,
}

impl AutotuneMode {
    /// Names of the modes, as accepted by `FULGURITE_AUTOTUNE`.
    pub const NAMES: [(&'static str, Self); 3] =
        [("off", Self::Off), ("cached", Self::Cached), ("on", Self::On)];

    /// Returns the mode named `name`.
    pub fn parse(name: &str) -> Option<Self> {
        Self::NAMES.into_iter().find(|(n, _)| *n == name).map(|(_, mode)| mode)
    }
}

/// Whether and how a program tunes. Fields that are set override the environment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AutotunePolicy {
    /// The default is [`AutotuneMode::Cached`].
    pub mode: Option<AutotuneMode>,
    /// Time limit for tuning a problem in the background. The default is 30 s.
    pub budget: Option<Duration>,
    /// Maximum number of candidates tried per problem in the background. The default is no limit.
    pub max_candidates: Option<usize>,
    /// Seed for inputs, timing order and sampling. The default is 1.
    pub seed: Option<u64>,
}

/// The environment variable for the mode.
const VARIABLE: &str = "FULGURITE_AUTOTUNE";

impl AutotunePolicy {
    /// Creates a policy with this mode.
    pub fn mode(mode: AutotuneMode) -> Self {
        Self { mode: Some(mode), ..Self::default() }
    }

    /// Sets the time limit for tuning a problem in the background.
    #[must_use]
    pub fn budget(mut self, budget: Duration) -> Self {
        self.budget = Some(budget);
        self
    }

    /// Sets the maximum number of candidates tried per problem in the background.
    #[must_use]
    pub fn max_candidates(mut self, most: usize) -> Self {
        self.max_candidates = Some(most);
        self
    }

    /// Sets the seed.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Returns this policy with the fields that are set in `over` replaced.
    #[must_use]
    pub fn merged(&self, over: &Self) -> Self {
        Self {
            mode: over.mode.or(self.mode),
            budget: over.budget.or(self.budget),
            max_candidates: over.max_candidates.or(self.max_candidates),
            seed: over.seed.or(self.seed),
        }
    }

    /// Reads the policy from `FULGURITE_AUTOTUNE`. An invalid value is ignored, with a warning.
    pub fn from_env() -> (Self, Option<Diagnostic>) {
        Self::of_variable(
            std::env::var_os(VARIABLE).map(|value| value.to_string_lossy().into_owned()).as_deref(),
        )
    }

    fn of_variable(value: Option<&str>) -> (Self, Option<Diagnostic>) {
        let Some(value) = value else { return (Self::default(), None) };
        let mode = AutotuneMode::parse(value);
        let bad = mode.is_none().then(|| {
            let message = format!("{VARIABLE} is `{value}`");
            Diagnostic::new(Code::BadAutotuneSetting, Location::Unknown, message).as_warning()
        });
        (Self { mode, ..Self::default() }, bad)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn environment_sets_the_mode_and_invalid_values_are_reported() {
        for (name, mode) in AutotuneMode::NAMES {
            assert_eq!(AutotunePolicy::of_variable(Some(name)), (AutotunePolicy::mode(mode), None));
        }
        assert_eq!(AutotunePolicy::of_variable(None), (AutotunePolicy::default(), None));
        for bad in ["", "ON", "1", "cached "] {
            let (policy, said) = AutotunePolicy::of_variable(Some(bad));
            assert_eq!(policy, AutotunePolicy::default());
            assert_eq!(said.map(|diagnostic| diagnostic.code), Some(Code::BadAutotuneSetting), "{bad}");
        }
    }

    #[test]
    fn policies_merge_field_by_field() {
        let base = AutotunePolicy::mode(AutotuneMode::On).budget(Duration::from_secs(1)).seed(3);
        let over = AutotunePolicy::mode(AutotuneMode::Off).max_candidates(4);
        let merged = base.merged(&over);
        assert_eq!(merged.mode, Some(AutotuneMode::Off));
        assert_eq!((merged.budget, merged.max_candidates, merged.seed), (base.budget, Some(4), Some(3)));
    }
}
