//! Whether and how a program tunes: by options and by the environment, field by field.

use std::time::Duration;

use fulgurite_spec::{Code, Diagnostic, Location};

/// What is done where a configuration is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AutotuneMode {
    /// The heuristic's is used. No record is read.
    Off,
    /// A recorded one is used, if there is one.
    Cached,
    /// A recorded one is used; what is not recorded is tuned in the background, and used from then on.
    On,
}

impl AutotuneMode {
    /// The names, as `FULGURITE_AUTOTUNE` takes them.
    pub const NAMES: [(&'static str, Self); 3] =
        [("off", Self::Off), ("cached", Self::Cached), ("on", Self::On)];

    /// The mode called `name`.
    pub fn parse(name: &str) -> Option<Self> {
        Self::NAMES.into_iter().find(|(n, _)| *n == name).map(|(_, mode)| mode)
    }
}

/// Whether and how a program tunes. Fields that are stated win over those of the environment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AutotunePolicy {
    /// Default: [`AutotuneMode::Cached`].
    pub mode: Option<AutotuneMode>,
    /// How long a problem is tuned in the background. Default: half a minute.
    pub budget: Option<Duration>,
    /// Most candidates that are tried of a problem in the background. Default: no limit.
    pub max_candidates: Option<usize>,
    /// What is random comes of it. Default: 1.
    pub seed: Option<u64>,
}

/// The variable that states a mode.
const VARIABLE: &str = "FULGURITE_AUTOTUNE";

impl AutotunePolicy {
    /// A policy of this mode.
    pub fn mode(mode: AutotuneMode) -> Self {
        Self { mode: Some(mode), ..Self::default() }
    }

    /// Tunes a problem so long in the background.
    #[must_use]
    pub fn budget(mut self, budget: Duration) -> Self {
        self.budget = Some(budget);
        self
    }

    /// Tries so many candidates of a problem in the background.
    #[must_use]
    pub fn max_candidates(mut self, most: usize) -> Self {
        self.max_candidates = Some(most);
        self
    }

    /// Draws what is random from `seed`.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// This policy, with each field that `over` states replaced.
    #[must_use]
    pub fn merged(&self, over: &Self) -> Self {
        Self {
            mode: over.mode.or(self.mode),
            budget: over.budget.or(self.budget),
            max_candidates: over.max_candidates.or(self.max_candidates),
            seed: over.seed.or(self.seed),
        }
    }

    /// What `FULGURITE_AUTOTUNE` states. A value that it does not take counts for nothing, and is said.
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
    fn the_environment_states_a_mode_and_a_bad_value_is_said() {
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
