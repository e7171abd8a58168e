//! Rules for deaths: how many lead to a ban, how long it lasts, and its message.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use fulgurite_storage::Digest;

use super::Event;

const HOUR: u64 = 60 * 60;
/// Seconds after which a death or condemnation no longer counts. No ban lasts longer.
pub(super) const MEMORY: u64 = 30 * 24 * HOUR;
/// Deaths that condemn a binary. Loading takes a moment, so interrupts during it are rare, and a wrong decision costs
/// one compile.
pub(super) const LOADS: u32 = 2;
/// Deaths that ban a program. A compile may take so long that users interrupt it.
pub(super) const COMPILES: u32 = 3;
/// Maximum number of deaths remembered per digest.
const MOST: usize = 16;

/// History of a digest since a driver last survived it.
#[derive(Clone, Debug, Default)]
pub(super) struct History {
    /// Times of deaths.
    deaths: Vec<u64>,
    pub(super) was_skipped: bool,
    /// Set if this process skips the binary, for its lifetime.
    pub(super) is_skipped_here: bool,
    /// Time of condemnation.
    condemned: Option<u64>,
}

/// Returns whether `time` still counts at `now`. The clock may have been set back, so future times count by their
/// distance, too.
fn counts(time: u64, now: u64) -> bool {
    now.abs_diff(time) < MEMORY
}

impl History {
    pub(super) fn note(&mut self, event: Event, time: u64) {
        match event {
            Event::Death => {
                if self.deaths.len() >= MOST {
                    self.deaths.remove(0);
                }
                self.deaths.push(time);
                self.was_skipped = false;
            }
            Event::Skip => self.was_skipped = true,
            Event::Survive => *self = Self { condemned: self.condemned, ..Self::default() },
            Event::Condemn => self.condemned = Some(time),
            Event::Lift => *self = Self::default(),
        }
    }

    /// Returns the minimal log that reproduces this history at `now`.
    pub(super) fn events(&self, now: u64) -> impl Iterator<Item = (Event, u64)> {
        let deaths = self.deaths.iter().filter(move |time| counts(**time, now)).map(|at| (Event::Death, *at));
        let skip = self.was_skipped.then_some((Event::Skip, now));
        let condemned = self.condemned.filter(|time| counts(*time, now));
        deaths.chain(skip).chain(condemned.map(|at| (Event::Condemn, at)))
    }

    /// Returns the number of deaths that still count.
    pub(super) fn recent(&self, now: u64) -> u32 {
        self.deaths.iter().filter(|time| counts(**time, now)).count() as u32
    }

    /// Returns whether there are any deaths, however old.
    pub(super) fn has_deaths(&self) -> bool {
        !self.deaths.is_empty()
    }

    /// Returns whether there is anything to clear.
    pub(super) fn is_of_note(&self) -> bool {
        self.has_deaths() || self.condemned.is_some()
    }

    pub(super) fn is_condemned(&self, now: u64) -> bool {
        self.condemned.is_some_and(|time| counts(time, now))
    }

    /// Returns the end of the ban: an hour after the last of three deaths, doubled with each further death, up to
    /// [`MEMORY`].
    pub(super) fn banned_until(&self, now: u64) -> Option<u64> {
        let more = self.recent(now).checked_sub(COMPILES)?;
        let last = self.deaths.last()?;
        let span = (HOUR << more.min(MOST as u32)).min(MEMORY);
        (now.abs_diff(*last) < span).then(|| now.min(*last) + span)
    }
}

/// A temporary ban on compiling a program, imposed after several processes ended while compiling it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ban {
    /// The banned program, as passed to [`PipelineCache::compile`](crate::PipelineCache::compile).
    pub program: Digest,
    /// Number of processes that ended while compiling it.
    pub deaths: u32,
    /// Remaining duration of the ban.
    pub left: Duration,
    /// The cache's folder.
    pub root: PathBuf,
    /// The crash log that records the deaths.
    pub file: PathBuf,
}

impl Ban {
    /// Returns the command that lifts this ban only.
    pub fn command(&self) -> String {
        let root = self.root.display().to_string();
        let is_plain = |c: char| c.is_alphanumeric() || "/._-+:\\".contains(c);
        let root =
            if root.chars().all(is_plain) { root } else { format!("'{}'", root.replace('\'', "'\\''")) };
        format!("fulgurite cache lift {} --root {root}", self.program)
    }
}

impl fmt::Display for Ban {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let minutes = self.left.as_secs().div_ceil(60);
        let left = match minutes {
            0..=120 => format!("{minutes} minutes"),
            121..=2880 => format!("{} hours", minutes.div_ceil(60)),
            _ => format!("{} days", minutes.div_ceil(60 * 24)),
        };
        write!(
            f,
            "{} processes ended while the driver compiled this kernel, cause unknown; it will not be compiled \
             for {left}. {} records this, and `{}` lifts the ban",
            self.deaths,
            self.file.display(),
            self.command()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 24 * HOUR;

    #[test]
    fn bans_double_and_end() {
        let mut history = History::default();
        let mut now = 1_000_000_000;
        for _ in 0..2 {
            history.note(Event::Death, now);
            assert_eq!(history.banned_until(now), None);
        }
        for hours in [1, 2, 4, 8, 16, 32, 64, 128] {
            history.note(Event::Death, now);
            let until = now + hours * HOUR;
            assert_eq!(history.banned_until(now), Some(until));
            assert_eq!(history.banned_until(until - 1), Some(until));
            assert_eq!(history.banned_until(until), None, "it ends by itself");
            now = until;
        }
        assert_eq!(history.banned_until(now + MEMORY), None);
        history.note(Event::Survive, now);
        history.note(Event::Death, now);
        assert_eq!(history.banned_until(now), None, "what was survived is forgotten");
    }

    #[test]
    fn infrequent_deaths_are_no_ban() {
        let mut history = History::default();
        for time in 0..20 {
            let now = 1_000_000_000 + time * 16 * DAY;
            history.note(Event::Death, now);
            assert_eq!((history.recent(now), history.banned_until(now)), (2.min(time as u32 + 1), None));
        }
    }

    #[test]
    fn setting_the_clock_back_makes_no_permanent_ban() {
        let mut history = History::default();
        (0..3).for_each(|_| history.note(Event::Death, 2_000_000_000));
        assert_eq!(history.banned_until(1_000_000_000), None);
        let now = 2_000_000_000 - 60;
        assert_eq!(history.banned_until(now), Some(now + HOUR));
    }

    #[test]
    fn ban_message_states_the_cause_and_the_command() {
        let ban = |root: &str, minutes: u64| Ban {
            program: Digest::ZERO,
            deaths: 3,
            left: Duration::from_secs(minutes * 60),
            root: PathBuf::from(root),
            file: PathBuf::from(root).join("crashes.log"),
        };
        let said = ban("/kept/pipelines", 59).to_string();
        let command = format!("`fulgurite cache lift {} --root /kept/pipelines`", Digest::ZERO);
        for part in ["3 processes ended", "59 minutes", "/kept/pipelines/crashes.log", &command] {
            assert!(said.contains(part), "{part} not in {said}");
        }
        assert!(!said.contains("crashed"), "{said}");
        assert!(ban("/my kept", 500).to_string().contains("--root '/my kept'"));
        assert!(ban("/", 60 * 24 * 29).to_string().contains("29 days"));
    }
}
