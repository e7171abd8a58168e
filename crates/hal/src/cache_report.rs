//! What a backend says of the cache of compiled kernels that it keeps, and what was removed from it.

use fulgurite_spec::cache::{CacheAudit, PipelineCacheMissReason};
use fulgurite_spec::{Code, Diagnostic, Location};

/// What a backend's cache did since the backend was opened. The default is that of a backend that keeps none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheReport {
    /// Where compiled kernels are kept for later processes, for people; `None` if they are not.
    pub kept_in: Option<String>,
    /// Whether the driver's own binaries are kept, too: not known before the first compile, and `Some(false)` for a driver
    /// that gives none.
    pub keeps_binaries: Option<bool>,
    /// Kernels that were lowered.
    pub lowered: u64,
    /// Pipelines that the driver compiled.
    pub driver_compiles: u64,
    /// Lookups that found what they looked for, in any tier.
    pub hits: u64,
    /// Lookups that did not, by reason.
    pub misses: Vec<(PipelineCacheMissReason, u64)>,
    /// Lookups of which nobody can say.
    pub unknown: u64,
    /// How well it served. Added by the engine.
    pub audit: CacheAudit,
    /// What the cache had to say without being asked; `FG1009` if the audit is alarming.
    pub notices: Vec<Diagnostic>,
}

impl CacheReport {
    /// How well the cache served, by a threshold in basis points: see [`CacheAudit::new`].
    pub fn audit(&self, threshold: u32) -> CacheAudit {
        CacheAudit::new(self.hits, self.misses.iter().copied(), self.unknown, threshold)
    }

    /// The report with its audit, and with the alarm among the notices if there is one.
    #[must_use]
    pub fn audited(mut self, threshold: u32) -> Self {
        self.audit = self.audit(threshold);
        self.notices.retain(|notice| notice.code != Code::CacheAlarm);
        if self.audit.is_alarming {
            self.notices.push(self.alarm(threshold));
        }
        self
    }

    fn alarm(&self, threshold: u32) -> Diagnostic {
        let CacheAudit { hits, lost, .. } = self.audit;
        let reasons = self.misses.iter().filter(|(reason, count)| reason.is_loss() && *count > 0);
        let reasons: Vec<String> = reasons.map(|(reason, count)| format!("{count} {reason}")).collect();
        let percent = f64::from(threshold) / 100.0;
        let message = format!(
            "of {} lookups of what had been kept, {lost} missed ({}); at least {percent} % should hit",
            hits.saturating_add(lost),
            reasons.join(", "),
        );
        Diagnostic::new(Code::CacheAlarm, Location::Unknown, message).as_warning()
    }
}

/// What invalidating a kernel removed. What is in use stays with whoever has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Invalidated {
    /// Executables that the device does not give any more, one for each set of options.
    pub executables: usize,
    /// Entries that are no longer kept for later processes.
    pub removed: usize,
    /// Entries that this process no longer has in memory.
    pub forgotten: usize,
    /// Entries that a read-only layer, as a pack, has and so may serve again.
    pub layered: usize,
    /// What could not be removed, and why.
    pub failed: Vec<Diagnostic>,
}

impl Invalidated {
    /// Adds the counts and failures of `other`.
    #[doc(hidden)]
    pub fn add(&mut self, other: Self) {
        self.executables += other.executables;
        self.removed += other.removed;
        self.forgotten += other.forgotten;
        self.layered += other.layered;
        self.failed.extend(other.failed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alarm_is_a_notice_that_names_the_losses() {
        use PipelineCacheMissReason as Reason;
        let misses = vec![(Reason::Corrupt, 1), (Reason::EmptyCache, 7), (Reason::DeviceOrRuntimeChanged, 2)];
        let report = CacheReport { hits: 5, misses, ..Default::default() };
        let calm = report.clone().audited(6_250);
        assert_eq!((calm.audit.kept_rate_basis_points, calm.audit.is_alarming), (Some(6_250), false));
        assert!(calm.notices.is_empty());
        let alarmed = report.audited(CacheAudit::DEFAULT_THRESHOLD).audited(9_950);
        assert!(alarmed.audit.is_alarming);
        let [notice] = &alarmed.notices[..] else { panic!("{:?}", alarmed.notices) };
        assert_eq!(notice.code, Code::CacheAlarm);
        let expected = "of 8 lookups of what had been kept, 3 missed (1 corrupt, 2 device_or_runtime_changed); \
                        at least 99.5 % should hit";
        assert_eq!(notice.message, expected);
        assert_eq!(alarmed.audited(0).notices, []);
        assert_eq!(CacheReport::default().audited(10_000), CacheReport::default(), "no lookups, no alarm");
    }
}
