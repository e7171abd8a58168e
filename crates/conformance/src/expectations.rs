//! Failures that are known: which groups fail on which driver, and why.
//!
//! A file names a driver and lists groups; the suites still run them. An expected failure that passes is a
//! failure: then the list is out of date.

use serde::Deserialize;

use crate::Suite;

/// The lists that come with the suites, one for each driver that needs one: none does so far.
const SHIPPED: &[&str] = &[];

/// A list of expected failures.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expectations {
    /// Part of the driver's name that the list is for.
    driver: String,
    #[serde(default, rename = "expected")]
    groups: Vec<Expected>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    suite: String,
    group: String,
    /// For readers of the file; required, and not empty.
    reason: String,
}

/// A list of expected failures that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExpectationsError {
    /// It is not the TOML that is expected.
    #[error("error[FG0703]: not a list of expected failures: {0}")]
    Format(#[from] toml::de::Error),
    /// It names no driver, so it would be for all of them.
    #[error("error[FG0703]: the list of expected failures names no driver")]
    NoDriver,
    /// There is no such suite.
    #[error("error[FG0703]: expected failures of `{0}`, which is no suite")]
    UnknownSuite(String),
    /// An entry says nothing of why.
    #[error("error[FG0703]: the expected failure `{0}` states no reason")]
    NoReason(String),
}

impl Expectations {
    /// Reads a list: `driver = "part of its name"`, then `[[expected]]` with `suite`, `group` and `reason`.
    ///
    /// # Errors
    /// What is wrong with it.
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

    /// The lists that come with the suites.
    pub fn shipped() -> Vec<Self> {
        SHIPPED.iter().filter_map(|text| Self::parse(text).ok()).collect()
    }

    fn groups_for<'a>(&'a self, driver: &str, suite: &'a str) -> impl Iterator<Item = &'a str> {
        let ours = driver.contains(&self.driver);
        self.groups.iter().filter(move |g| ours && g.suite == suite).map(|g| g.group.as_str())
    }
}

/// The groups of `suite` that are expected to fail on `driver`.
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
