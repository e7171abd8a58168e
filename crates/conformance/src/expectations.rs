//! Known failures: the groups that fail on a given driver, with the reason.
//!
//! A file names a driver and lists groups, which the suites still run. An expected failure that passes is reported as a
//! failure, because the list is out of date.

use serde::Deserialize;

use crate::Suite;

/// The built-in lists, one per driver that needs one. Currently there are none.
const SHIPPED: &[&str] = &[];

/// A list of expected failures.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expectations {
    /// Substring that identifies the driver's name.
    driver: String,
    #[serde(default, rename = "expected")]
    groups: Vec<Expected>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    suite: String,
    group: String,
    /// Explanation for readers of the file; required and not empty.
    reason: String,
}

/// An invalid list of expected failures.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExpectationsError {
    /// The text is not TOML of the expected form.
    #[error("error[FG0703]: not a list of expected failures: {0}")]
    Format(#[from] toml::de::Error),
    /// The list names no driver, so it would apply to all of them.
    #[error("error[FG0703]: the list of expected failures names no driver")]
    NoDriver,
    /// An entry names an unknown suite.
    #[error("error[FG0703]: expected failures of `{0}`, which is no suite")]
    UnknownSuite(String),
    /// An entry has no reason.
    #[error("error[FG0703]: the expected failure `{0}` states no reason")]
    NoReason(String),
}

impl Expectations {
    /// Parses a list: `driver = "part of its name"`, followed by `[[expected]]` tables with `suite`, `group` and
    /// `reason`.
    ///
    /// # Errors
    /// The first problem in the list.
    pub fn parse(text: &str) -> Result<Self, ExpectationsError> {
        let list: Self = toml::from_str(text)?;
        if list.driver.trim().is_empty() {
            return Err(ExpectationsError::NoDriver);
        }
        if let Some(unknown) = list.groups.iter().find(|g| Suite::parse(&g.suite).is_none()) {
            return Err(ExpectationsError::UnknownSuite(unknown.suite.clone()));
        }
        if let Some(silent) = list.groups.iter().find(|g| g.reason.trim().is_empty()) {
            return Err(ExpectationsError::NoReason(silent.group.clone()));
        }
        Ok(list)
    }

    /// Returns the built-in lists.
    pub fn shipped() -> Vec<Self> {
        SHIPPED.iter().filter_map(|text| Self::parse(text).ok()).collect()
    }

    fn groups_for<'a>(&'a self, driver: &str, suite: &'a str) -> impl Iterator<Item = &'a str> {
        let ours = driver.contains(&self.driver);
        self.groups.iter().filter(move |g| ours && g.suite == suite).map(|g| g.group.as_str())
    }
}

/// Returns the groups of `suite` that are expected to fail on `driver`.
pub(crate) fn expected_groups(lists: &[Expectations], driver: &str, suite: &str) -> Vec<String> {
    lists.iter().flat_map(|l| l.groups_for(driver, suite)).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_and_matched_by_driver_and_suite() {
        let text = "driver = \"llvmpipe\"\n[[expected]]\nsuite = \"ops\"\ngroup = \"mul f32\"\nreason = \"rounds twice\"\n";
        let lists = [Expectations::parse(text).unwrap()];
        assert_eq!(expected_groups(&lists, "llvmpipe (Mesa 22.3.6)", "ops"), ["mul f32"]);
        assert!(expected_groups(&lists, "llvmpipe (Mesa 22.3.6)", "memory").is_empty());
        assert!(expected_groups(&lists, "NVIDIA", "ops").is_empty());
        assert!(Expectations::parse(&text.replace("rounds twice", " ")).is_err());
        assert!(Expectations::parse("driver = 3").is_err());
        assert!(Expectations::parse(&text.replace("\"ops\"", "\"opps\"")).is_err());
        assert!(Expectations::parse(&text.replace("llvmpipe", "")).is_err());
    }

    #[test]
    fn the_shipped_lists_are_well_formed() {
        assert_eq!(Expectations::shipped().len(), SHIPPED.len());
    }
}
