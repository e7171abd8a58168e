//! What a device did so far, counted.

#[cfg(feature = "prometheus")]
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::backend::LaunchReport;

macro_rules! counters {
    ($($(#[doc = $doc:literal])* $name:ident,)*) => {
        /// What was done through one device since it was opened.
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
            /// Each as it is now.
            pub(crate) fn read(&self) -> Counters {
                Counters { $($name: self.$name.load(Relaxed),)* }
            }
        }

        impl Counters {
            /// Each with its name and what it counts.
            pub fn each(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
                [$((stringify!($name), concat!($($doc),*), self.$name),)*].into_iter()
            }
        }
    };
}

counters! {
    /// Launches that ended well.
    launches,
    /// Launches that ended in an error of the device.
    failed_launches,
    /// Graphs that were replayed to a good end; their launches count, too.
    replays,
    /// Bytes copied from the host.
    bytes_in,
    /// Bytes copied to the host.
    bytes_out,
    /// Outputs of calls.
    output_slots,
    /// Those written to memory that the caller had already.
    output_slots_reused,
    /// Kernels compiled.
    compiles,
    /// Kernels that had been compiled before and were found.
    compiles_reused,
    /// Nanoseconds on the device, of launches that were timed.
    device_nanoseconds,
}

impl Counting {
    /// Counts the time of what ended well.
    pub(crate) fn time(&self, report: &LaunchReport) {
        let nanoseconds = report.device_time.map_or(0, |time| time.as_nanos());
        add(&self.device_nanoseconds, u64::try_from(nanoseconds).unwrap_or(u64::MAX));
    }
}

pub(crate) fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Relaxed);
}

impl Counters {
    /// Time on the device, of launches that were timed.
    pub fn device_time(&self) -> Duration {
        Duration::from_nanos(self.device_nanoseconds)
    }

    /// The counters in Prometheus' text format, with what `labels` says of the device: `backend="cpu"`.
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

    #[cfg(feature = "prometheus")]
    fn prometheus(counters: &Counters) {
        let text = counters.prometheus("backend=\"cpu\"");
        assert!(text.starts_with("# HELP fulgurite_launches_total Launches that ended well.\n"), "{text}");
        let line = "# TYPE fulgurite_launches_total counter\nfulgurite_launches_total{backend=\"cpu\"} 2\n";
        assert!(text.contains(line), "{text}");
        assert_eq!(text.lines().count(), 3 * counters.each().count());
        assert!(counters.prometheus("").contains("\nfulgurite_launches_total 2\n"));
    }
}
