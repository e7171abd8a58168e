//! Measured speeds of devices, and estimates of the time of work from them. Measures nothing itself.

use std::fmt;
use std::time::Duration;

use fulgurite_hal::Error;
use fulgurite_spec::Code;
use fulgurite_spec::device::DeviceSnapshot;
use serde::{Deserialize, Serialize};

/// The version of the stored form of [`Calibrations`].
const SCHEMA: u32 = 1;

/// The measured speed of a device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Calibration {
    /// The backend's id.
    pub backend: String,
    /// The device's name.
    pub device: String,
    /// The driver and its version. Another driver counts as another device.
    pub driver: String,
    /// The overhead of a blocking launch, in seconds.
    pub launch_seconds: f64,
    /// The memory throughput of a kernel that reads and writes much, in bytes per second.
    pub memory_bytes_per_second: f64,
    /// The throughput of copies from the host to the device, in bytes per second.
    pub upload_bytes_per_second: f64,
    /// The throughput of copies from the device to the host, in bytes per second.
    pub download_bytes_per_second: f64,
}

/// An amount of work, for the cost model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Workload {
    /// The number of blocking launches.
    pub launches: u64,
    /// The bytes that kernels read and write.
    pub memory_bytes: u64,
    /// The bytes copied to the device.
    pub upload_bytes: u64,
    /// The bytes copied from the device.
    pub download_bytes: u64,
}

/// The calibrations of several devices.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Calibrations {
    all: Vec<Calibration>,
}

/// The stored form.
#[derive(Serialize, Deserialize)]
struct Stored {
    schema: u32,
    #[serde(default)]
    device: Vec<Calibration>,
}

impl Calibration {
    /// Returns the calibration of `device`, with figures in the order of the fields.
    ///
    /// # Errors
    /// `FG0703` if a figure is not finite and positive.
    pub fn new(device: &DeviceSnapshot, [launch, memory, upload, download]: [f64; 4]) -> Result<Self, Error> {
        let calibration = Self {
            backend: device.backend.clone(),
            device: device.device.clone(),
            driver: device.driver.clone(),
            launch_seconds: launch,
            memory_bytes_per_second: memory,
            upload_bytes_per_second: upload,
            download_bytes_per_second: download,
        };
        calibration.check()?;
        Ok(calibration)
    }

    fn check(&self) -> Result<(), Error> {
        let figures = [
            self.launch_seconds,
            self.memory_bytes_per_second,
            self.upload_bytes_per_second,
            self.download_bytes_per_second,
        ];
        if figures.iter().all(|figure| figure.is_finite() && *figure > 0.0) {
            return Ok(());
        }
        let message =
            format!("a calibration of `{}` has figures {figures:?}, of which one cannot be", self.device);
        Err(Error::invalid(Code::BadFileFormat, message))
    }

    fn is_of(&self, device: &DeviceSnapshot) -> bool {
        (&self.backend, &self.device, &self.driver) == (&device.backend, &device.device, &device.driver)
    }

    /// Returns the estimated time of `work`: its launches, memory traffic and transfers, one after the other.
    pub(crate) fn estimate(&self, work: &Workload) -> Duration {
        let seconds = work.launches as f64 * self.launch_seconds
            + work.memory_bytes as f64 / self.memory_bytes_per_second
            + work.upload_bytes as f64 / self.upload_bytes_per_second
            + work.download_bytes as f64 / self.download_bytes_per_second;
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
    }
}

impl fmt::Display for Calibration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rates =
            [self.memory_bytes_per_second, self.upload_bytes_per_second, self.download_bytes_per_second];
        let [memory, upload, download] = rates.map(|rate| rate / 1e9);
        write!(
            f,
            "{} on {}: {:.1} µs a launch, memory {memory:.2} GB/s, upload {upload:.2} GB/s, download {download:.2} GB/s",
            self.backend,
            self.device,
            self.launch_seconds * 1e6
        )
    }
}

impl Calibrations {
    /// Parses the output of [`to_toml`](Self::to_toml).
    ///
    /// # Errors
    /// `FG0703` for anything else, another version, or a non-finite or non-positive figure.
    pub fn from_toml(text: &str) -> Result<Self, Error> {
        let bad = |message: String| Error::invalid(Code::BadFileFormat, message);
        let stored: Stored =
            toml::from_str(text).map_err(|e| bad(format!("these are no calibrations: {e}")))?;
        if stored.schema != SCHEMA {
            let message = format!("calibrations of schema {}; this version reads {SCHEMA}", stored.schema);
            return Err(bad(message));
        }
        stored.device.iter().try_for_each(Calibration::check)?;
        Ok(Self { all: stored.device })
    }

    /// Returns the calibrations as TOML.
    ///
    /// # Errors
    /// [`Error::Internal`] if they cannot be serialized.
    pub fn to_toml(&self) -> Result<String, Error> {
        let stored = Stored { schema: SCHEMA, device: self.all.clone() };
        toml::to_string_pretty(&stored).map_err(|error| Error::Internal(error.to_string()))
    }

    /// Adds a calibration and replaces an earlier one of the same device.
    pub fn insert(&mut self, calibration: Calibration) {
        self.all.retain(|old| {
            (&old.backend, &old.device, &old.driver)
                != (&calibration.backend, &calibration.device, &calibration.driver)
        });
        self.all.push(calibration);
    }

    /// Returns the calibration of `device` with its current driver.
    pub fn get(&self, device: &DeviceSnapshot) -> Option<&Calibration> {
        self.all.iter().find(|calibration| calibration.is_of(device))
    }

    /// Returns all calibrations.
    pub fn iter(&self) -> impl Iterator<Item = &Calibration> {
        self.all.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calibration(driver: &str, launch: f64) -> Calibration {
        let device = DeviceSnapshot::new("gpu", "a device", driver);
        Calibration::new(&device, [launch, 1e9, 2e9, 4e9]).unwrap()
    }

    #[test]
    fn estimates_add_up() {
        let work =
            Workload { launches: 2, memory_bytes: 1 << 30, upload_bytes: 2_000_000_000, download_bytes: 4 };
        let seconds = calibration("1", 0.25).estimate(&work).as_secs_f64();
        assert!((seconds - (0.5 + 1.073_741_824 + 1.0 + 1e-9)).abs() < 1e-9, "{seconds}");
        assert_eq!(calibration("1", 0.25).estimate(&Workload::default()), Duration::ZERO);
        let endless = Workload { launches: u64::MAX, ..Workload::default() };
        assert_eq!(calibration("1", 1e300).estimate(&endless), Duration::MAX);
    }

    #[test]
    fn files_read_back_and_a_device_has_one_entry() {
        let mut all = Calibrations::default();
        for entry in [calibration("1", 0.5), calibration("2", 0.25), calibration("1", 0.125)] {
            all.insert(entry);
        }
        assert_eq!(all.iter().count(), 2);
        let read = Calibrations::from_toml(&all.to_toml().unwrap()).unwrap();
        assert_eq!(read, all);
        let device = DeviceSnapshot::new("gpu", "a device", "1");
        assert_eq!(read.get(&device), Some(&calibration("1", 0.125)));
        assert_eq!(read.get(&DeviceSnapshot::new("gpu", "a device", "3")), None);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let good = {
            let mut all = Calibrations::default();
            all.insert(calibration("1", 0.5));
            all.to_toml().unwrap()
        };
        for text in [
            "schema = 2".to_owned(),
            "[[device]]".to_owned(),
            "?".to_owned(),
            good.replace("0.5", "0.0"),
            good.replace("0.5", "nan"),
            good.replace("0.5", "-1.0"),
        ] {
            assert_eq!(Calibrations::from_toml(&text).unwrap_err().code(), Code::BadFileFormat, "{text}");
        }
        assert_eq!(Calibrations::from_toml("schema = 1").unwrap(), Calibrations::default());
    }
}
