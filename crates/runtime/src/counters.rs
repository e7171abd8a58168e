//! Counters of the work of a device.

#[cfg(feature = "prometheus")]
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use fulgurite_hal::LaunchReport;
use fulgurite_spec::cache::{CacheOrigin, CacheOutcome, PipelineCacheMissReason};

macro_rules! counters {
    ($($(#[doc = $doc:literal])* $name:ident,)*) => {
        /// Counts since the device was opened.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Counters {
            $($(#[doc = $doc])* pub $name: u64,)*
        }

        #[derive(Debug, Default)]
        pub(crate) struct Counting {
            $(pub(crate) $name: AtomicU64,)*
        }

        impl Counting {
            /// Returns the current values.
            pub(crate) fn read(&self) -> Counters {
                Counters { $($name: self.$name.load(Relaxed),)* }
            }
        }

        impl Counters {
            /// Returns each counter with its name and description.
            pub fn each(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
                [$((stringify!($name), concat!($($doc),*), self.$name),)*].into_iter()
            }
        }
    };
}

counters! {
    /// Successful launches.
    launches,
    /// Launches that failed on the device.
    failed_launches,
    /// Successful replays of graphs; their launches count as well.
    replays,
    /// Bytes copied from the host.
    bytes_in,
    /// Bytes copied to the host.
    bytes_out,
    /// Outputs of calls.
    output_slots,
    /// Outputs written to memory that the caller provided.
    output_slots_reused,
    /// Kernels compiled.
    compiles,
    /// Requests for kernels that had been compiled before.
    compiles_reused,
    /// Kernels whose driver binary came from a cache.
    cache_binary_hits,
    /// Kernels whose lowered form alone came from a cache; the counters `cache_binary_missed_…` give the reasons.
    cache_artifact_hits,
    /// Kernels with a damaged cache entry.
    cache_missed_corrupt,
    /// Kernels with an unreadable cache entry.
    cache_missed_unreadable,
    /// Kernels with a cache entry of another format.
    cache_missed_format_changed,
    /// Kernels whose binary was skipped because it may have crashed a process.
    cache_missed_suspect,
    /// Kernels whose cache entry had been removed.
    cache_missed_evicted,
    /// Kernels requested from an empty cache.
    cache_missed_empty_cache,
    /// Kernels without any entry in a cache.
    cache_missed_program_changed,
    /// Kernels cached with other options only.
    cache_missed_dispatch_policy_changed,
    /// Kernels cached for another device or driver only.
    cache_missed_device_or_runtime_changed,
    /// Kernels missing from a cache for an unknown reason.
    cache_missed_key_absent,
    /// Kernels with a damaged driver binary.
    cache_binary_missed_corrupt,
    /// Kernels with an unreadable driver binary.
    cache_binary_missed_unreadable,
    /// Kernels with a driver binary of another format.
    cache_binary_missed_format_changed,
    /// Kernels whose driver binary was skipped because it may have crashed a process.
    cache_binary_missed_suspect,
    /// Kernels whose driver binary had been removed.
    cache_binary_missed_evicted,
    /// Kernels whose driver binary was requested from a cache without binaries.
    cache_binary_missed_empty_cache,
    /// Kernels whose driver binary was never stored.
    cache_binary_missed_program_changed,
    /// Kernels whose driver binary was stored for other pipeline options.
    cache_binary_missed_dispatch_policy_changed,
    /// Kernels whose driver binary was stored for another device or driver.
    cache_binary_missed_device_or_runtime_changed,
    /// Kernels whose driver binary is missing for an unknown reason.
    cache_binary_missed_key_absent,
    /// Nanoseconds on the device, of timed launches.
    device_nanoseconds,
}

impl Counting {
    /// Counts a compiled kernel by its origin.
    pub(crate) fn compiled(&self, origin: CacheOrigin) {
        use PipelineCacheMissReason as Reason;
        add(&self.compiles, 1);
        if let Some(reason) = origin.binary_miss {
            add(self.binary_missed(reason), 1);
        }
        let counter = match origin.outcome {
            CacheOutcome::Binary => &self.cache_binary_hits,
            CacheOutcome::Artifact => &self.cache_artifact_hits,
            CacheOutcome::Missed(reason) => match reason {
                Reason::Corrupt => &self.cache_missed_corrupt,
                Reason::Unreadable => &self.cache_missed_unreadable,
                Reason::FormatChanged => &self.cache_missed_format_changed,
                Reason::Suspect => &self.cache_missed_suspect,
                Reason::Evicted => &self.cache_missed_evicted,
                Reason::EmptyCache => &self.cache_missed_empty_cache,
                Reason::ProgramChanged => &self.cache_missed_program_changed,
                Reason::DispatchPolicyChanged => &self.cache_missed_dispatch_policy_changed,
                Reason::DeviceOrRuntimeChanged => &self.cache_missed_device_or_runtime_changed,
                _ => &self.cache_missed_key_absent,
            },
            _ => return,
        };
        add(counter, 1);
    }

    fn binary_missed(&self, reason: PipelineCacheMissReason) -> &AtomicU64 {
        use PipelineCacheMissReason as Reason;
        match reason {
            Reason::Corrupt => &self.cache_binary_missed_corrupt,
            Reason::Unreadable => &self.cache_binary_missed_unreadable,
            Reason::FormatChanged => &self.cache_binary_missed_format_changed,
            Reason::Suspect => &self.cache_binary_missed_suspect,
            Reason::Evicted => &self.cache_binary_missed_evicted,
            Reason::EmptyCache => &self.cache_binary_missed_empty_cache,
            Reason::ProgramChanged => &self.cache_binary_missed_program_changed,
            Reason::DispatchPolicyChanged => &self.cache_binary_missed_dispatch_policy_changed,
            Reason::DeviceOrRuntimeChanged => &self.cache_binary_missed_device_or_runtime_changed,
            _ => &self.cache_binary_missed_key_absent,
        }
    }

    /// Counts the time of successful work.
    pub(crate) fn time(&self, report: &LaunchReport) {
        let nanoseconds = report.device_time.map_or(0, |time| time.as_nanos());
        add(&self.device_nanoseconds, u64::try_from(nanoseconds).unwrap_or(u64::MAX));
    }
}

pub(crate) fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Relaxed);
}

impl Counters {
    /// Returns the number of kernels requested from a cache that had no form of them.
    pub fn cache_misses(&self) -> u64 {
        let missed = self.each().filter(|(name, _, _)| name.starts_with("cache_missed_"));
        missed.map(|(_, _, count)| count).sum()
    }

    /// Returns the time on the device, of timed launches.
    pub fn device_time(&self) -> Duration {
        Duration::from_nanos(self.device_nanoseconds)
    }

    /// Returns the counters in Prometheus' text format, with `labels` for the device: `backend="cpu"`.
    #[cfg(feature = "prometheus")]
    pub fn prometheus(&self, labels: &str) -> String {
        let mut text = String::new();
        for (name, help, value) in self.each() {
            let name = format!("fulgurite_{name}_total");
            let labels = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "# HELP {name} {}\n# TYPE {name} counter\n{name}{labels} {value}",
                help.trim()
            );
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_read_and_printed_by_name() {
        let counting = Counting::default();
        add(&counting.launches, 2);
        add(&counting.device_nanoseconds, 1_500);
        let counters = counting.read();
        assert_eq!((counters.launches, counters.device_time()), (2, Duration::from_nanos(1500)));
        #[cfg(feature = "prometheus")]
        prometheus(&counters);
    }

    #[test]
    fn each_outcome_has_a_counter_of_its_own() {
        let reasons = PipelineCacheMissReason::ALL;
        for reason in reasons {
            let counting = Counting::default();
            counting.compiled(CacheOrigin::new(CacheOutcome::Missed(*reason)));
            let counters = counting.read();
            let counted: Vec<_> = counters.each().filter(|(_, _, count)| *count > 0).collect();
            let name = format!("cache_missed_{reason}");
            assert_eq!(counted.iter().map(|(n, _, _)| *n).collect::<Vec<_>>(), ["compiles", &name]);
            assert_eq!(counters.cache_misses(), 1);

            let counting = Counting::default();
            counting.compiled(CacheOrigin::new(CacheOutcome::Artifact).binary_miss(Some(*reason)));
            let counters = counting.read();
            let counted: Vec<_> = counters.each().filter(|(_, _, count)| *count > 0).collect();
            let names: Vec<_> = counted.iter().map(|(n, _, _)| *n).collect();
            assert_eq!(names, ["compiles", "cache_artifact_hits", &format!("cache_binary_missed_{reason}")]);
            assert_eq!(counters.cache_misses(), 0, "the kernel was found");
        }
        let counting = Counting::default();
        for outcome in [CacheOutcome::None, CacheOutcome::Binary, CacheOutcome::Artifact] {
            counting.compiled(CacheOrigin::new(outcome));
        }
        let counters = counting.read();
        assert_eq!((counters.compiles, counters.cache_binary_hits, counters.cache_artifact_hits), (3, 1, 1));
        assert_eq!(counters.cache_misses(), 0);
    }

    #[cfg(feature = "prometheus")]
    fn prometheus(counters: &Counters) {
        let text = counters.prometheus("backend=\"cpu\"");
        assert!(text.starts_with("# HELP fulgurite_launches_total Successful launches.\n"), "{text}");
        let line = "# TYPE fulgurite_launches_total counter\nfulgurite_launches_total{backend=\"cpu\"} 2\n";
        assert!(text.contains(line), "{text}");
        assert_eq!(text.lines().count(), 3 * counters.each().count());
        assert!(counters.prometheus("").contains("\nfulgurite_launches_total 2\n"));
    }
}
