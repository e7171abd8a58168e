//! Reports of a backend's cache of compiled kernels: its state, and the result of an invalidation.

use fulgurite_spec::cache::{CacheAudit, PipelineCacheMissReason};
use fulgurite_spec::{Code, Diagnostic, Location};

/// Activity of a backend's cache since the backend was opened. The default is the report of a backend without a cache.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheReport {
    /// Where compiled kernels are kept for later processes, for people; `None` if they are not.
    pub kept_in: Option<String>,
    /// Whether the driver's own binaries are kept as well: not known before the first compile, and `Some(false)` for a driver
    /// that provides none.
    pub keeps_binaries: Option<bool>,
    /// Kernels that were lowered.
    pub lowered: u64,
    /// Pipelines that the driver compiled.
    pub driver_compiles: u64,
    /// Lookups that hit, in any tier.
    pub hits: u64,
    /// Lookups that missed, by reason.
    pub misses: Vec<(PipelineCacheMissReason, u64)>,
    /// Lookups whose outcome is unknown.
    pub unknown: u64,
    /// The audit, which the engine adds.
    pub audit: CacheAudit,
    /// Notices of the cache; among them `FG1009` if the audit is alarming.
    pub notices: Vec<Diagnostic>,
}

impl CacheReport {
    /// Audits the lookups against a threshold in basis points: see [`CacheAudit::new`].
    pub fn audit(&self, threshold: u32) -> CacheAudit {
        CacheAudit::new(self.hits, self.misses.iter().copied(), self.unknown, threshold)
    }

    /// Returns the report with its audit, and with an alarm among the notices if the audit is alarming.
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

/// The result of invalidating a kernel. Executables in use stay valid.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Invalidated {
    /// Executables that the device forgot, one for each set of options.
    pub executables: usize,
    /// Entries removed from storage.
    pub removed: usize,
    /// Entries removed from this process's memory.
    pub forgotten: usize,
    /// Entries of read-only layers, such as packs, which may serve them again.
    pub layered: usize,
    /// Entries that could not be removed, and why.
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
