//! Calibration: measures devices for routing and stores the results.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fulgurite_driver_core::{Calibration, Calibrations};
use fulgurite_hal::{self as hal, CompileOptions, Error, LaunchOptions};
use fulgurite_kernels::COPY;
use fulgurite_pipeline_cache::Digest;
use fulgurite_runtime::{Buffer, Device, Program};
use fulgurite_spec::Code;
use fulgurite_storage::{FileSystem, read_whole, replace_whole};

use crate::kernel::parse;

/// A kernel of one workgroup whose invocations store one word each.
const LAUNCH: &str = "fulgurite 1
kernel @launch workgroup(64, 1, 1) {
  buffer %y: write u32[]
  %i = local_index
  store %y[%i], %i
}
";

/// The minimum time for which a figure is measured once copies are large enough.
const MEASURED: Duration = Duration::from_millis(300);
/// The duration of a copy that is large enough.
const ENOUGH: Duration = Duration::from_millis(20);
/// The sizes of the first and the largest copy, in bytes.
const LEAST: u64 = 64 << 10;
const MOST: u64 = 256 << 20;
/// The size of the largest file that is read, in bytes.
const MOST_BYTES: u64 = 1 << 20;
/// Begins the last line of the file, before the checksum of the text above.
const SEAL: &str = "# blake3 ";

/// Measures `device` for about two seconds: launches of a small kernel, kernels that copy memory, and
/// copies to and from the host.
///
/// # Errors
/// A device error.
pub fn calibrate(device: &Arc<dyn hal::Device>) -> Result<Calibration, Error> {
    let device = Device::new(Arc::clone(device), CompileOptions::default(), LaunchOptions::default());
    let compile = |text| device.compile(&parse(text)?, &CompileOptions::default());

    let (launch, words) = (compile(LAUNCH)?, device.zeroed(256)?);
    let once = || launch.launch(&[words.whole()], &[], &LaunchOptions::default()).map(drop);
    let launch_seconds = median(once)?;

    let (copy, largest) = (compile(COPY)?, MOST.min(device.snapshot().limits.max_buffer_bytes / 16 * 16));
    let mut bytes = LEAST.min(largest);
    loop {
        let buffers = [device.zeroed(bytes)?, device.zeroed(bytes)?];
        let time = copied(&copy, &buffers)?;
        if time >= ENOUGH || bytes == largest {
            let mut host = vec![0u8; bytes as usize];
            let memory = median(|| copied(&copy, &buffers).map(drop))? - launch_seconds;
            let upload = median(|| buffers[0].whole().write(&host))?;
            let download = median(|| buffers[1].whole().read(&mut host))?;
            let rate = |bytes: u64, seconds: f64| bytes as f64 / seconds.max(f64::MIN_POSITIVE);
            let rates = [rate(2 * bytes, memory), rate(bytes, upload), rate(bytes, download)];
            return Calibration::new(device.snapshot(), [launch_seconds, rates[0], rates[1], rates[2]]);
        }
        bytes = (bytes * 4).min(largest);
    }
}

fn copied(copy: &Program, buffers: &[Buffer; 2]) -> Result<Duration, Error> {
    let start = Instant::now();
    let views = [buffers[0].whole(), buffers[1].whole()];
    // A grid may be larger than the device's.
    copy.launch(&views, &[], &LaunchOptions::linear(buffers[0].bytes() / 16))?;
    Ok(start.elapsed())
}

/// Returns the median time of `once` in seconds, after some warm-up.
fn median(mut once: impl FnMut() -> Result<(), Error>) -> Result<f64, Error> {
    let begun = Instant::now();
    let mut times = Vec::new();
    while times.len() < 5 || begun.elapsed() < MEASURED {
        let start = Instant::now();
        once()?;
        times.push(start.elapsed());
    }
    // The first third warms up.
    let mut measured = times.split_off(times.len() / 3);
    measured.sort_unstable();
    Ok(measured[measured.len() / 2].as_secs_f64())
}

/// Returns the file of this machine's calibrations, or `None` if storing is turned off.
fn calibrations_path() -> Option<PathBuf> {
    fulgurite_pipeline_cache::default_root().map(|root| root.join("calibrations.toml"))
}

/// Returns the stored calibrations of this machine; none if there is no file.
///
/// # Errors
/// `FG0701` for a file that cannot be read, `FG0703` for invalid contents.
pub fn calibrations() -> Result<Calibrations, Error> {
    calibrations_path().map_or_else(|| Ok(Calibrations::default()), |path| read(&path))
}

fn read(path: &Path) -> Result<Calibrations, Error> {
    let unreadable = |error: &dyn fmt::Display| {
        Error::invalid(Code::FileUnreadable, format!("{}: {error}", path.display()))
    };
    let Some(bytes) =
        read_whole(&FileSystem::shared(), path, MOST_BYTES).map_err(|error| unreadable(&error))?
    else {
        return Ok(Calibrations::default());
    };
    let text = String::from_utf8(bytes).map_err(|error| unreadable(&error))?;
    let body = unsealed(&text).ok_or_else(|| {
        let message = "its contents are not those of its checksum: measure again with `fulgurite calibrate`";
        Error::invalid(Code::BadFileFormat, format!("{}: {message}", path.display()))
    })?;
    Calibrations::from_toml(body)
}

/// Appends the checksum of `text`, as a comment in its last line.
fn sealed(text: &str) -> String {
    format!("{text}{SEAL}{}\n", Digest::of(text.as_bytes()))
}

/// Returns the text before the checksum, if it has that checksum.
fn unsealed(text: &str) -> Option<&str> {
    let (body, checksum) = text.trim_end().rsplit_once(SEAL)?;
    (Digest::of(body.as_bytes()).to_string() == checksum).then_some(body)
}

/// Stores `calibrations` for this machine, replacing the file atomically.
///
/// # Errors
/// `FG0702` if the file cannot be written or storing is turned off.
pub fn keep_calibrations(calibrations: &Calibrations) -> Result<PathBuf, Error> {
    let path = calibrations_path().ok_or_else(|| {
        let message = "there is no cache folder: set FULGURITE_CACHE_DIR to an absolute path";
        Error::invalid(Code::FileUnwritable, message)
    })?;
    write(&path, calibrations)?;
    Ok(path)
}

fn write(path: &Path, calibrations: &Calibrations) -> Result<(), Error> {
    let text = calibrations.to_toml()?;
    replace_whole(&FileSystem::shared(), path, sealed(&text).as_bytes())
        .map_err(|error| Error::invalid(Code::FileUnwritable, format!("{}: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_measured_kept_and_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new").join("calibrations.toml");
        assert_eq!(read(&path).unwrap(), Calibrations::default());
        let registry = crate::registry();
        let device = registry.open("cpu").unwrap();
        let mut all = Calibrations::default();
        all.insert(calibrate(&device).unwrap());
        write(&path, &all).unwrap();
        assert_eq!(read(&path).unwrap(), all);
        assert!(all.get(device.snapshot()).is_some());
        // Nothing else is left there.
        assert_eq!(std::fs::read_dir(folder.path().join("new")).unwrap().count(), 1);
    }

    #[test]
    fn files_of_no_use_say_so() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        let good = Calibrations::default().to_toml().unwrap();
        let cut = sealed(&good)[..good.len()].to_owned();
        for bad in ["neither = 1".to_owned(), sealed("neither = 1"), cut, sealed(&good).replace('1', "2")] {
            std::fs::write(&file, &bad).unwrap();
            assert_eq!(read(&file).unwrap_err().code(), Code::BadFileFormat, "{bad}");
        }
        std::fs::write(&file, sealed(&good)).unwrap();
        assert_eq!(read(&file).unwrap(), Calibrations::default());
        assert_eq!(read(folder.path()).unwrap_err().code(), Code::FileUnreadable);
        let below = file.join("calibrations.toml");
        assert_eq!(write(&below, &Calibrations::default()).unwrap_err().code(), Code::FileUnwritable);
    }

    #[cfg(unix)]
    #[test]
    fn files_that_others_can_plant_are_refused() {
        use std::fs;
        use std::os::unix::fs::{PermissionsExt as _, symlink};

        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().join("cache");
        let path = directory.join("calibrations.toml");
        write(&path, &Calibrations::default()).unwrap();
        let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        let is_refused = || {
            assert_eq!(read(&path).unwrap_err().code(), Code::FileUnreadable);
            assert_eq!(write(&path, &Calibrations::default()).unwrap_err().code(), Code::FileUnwritable);
        };
        for (what, own, shared) in [(&path, 0o600, 0o620), (&directory, 0o700, 0o702)] {
            mode(what, shared);
            is_refused();
            mode(what, own);
            assert_eq!(read(&path).unwrap(), Calibrations::default());
        }
        // The same contents, reached by a link.
        let moved = folder.path().join("moved");
        fs::rename(&directory, &moved).unwrap();
        symlink(&moved, &directory).unwrap();
        is_refused();
        fs::remove_file(&directory).unwrap();
        fs::rename(&moved, &directory).unwrap();
        fs::rename(&path, &moved).unwrap();
        symlink(&moved, &path).unwrap();
        is_refused();
        // A pipe without a writer must not block.
        fs::remove_file(&path).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        assert_eq!(read(&path).unwrap_err().code(), Code::FileUnreadable);
    }
}
