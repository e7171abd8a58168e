//! Enumeration, selection and opening of devices.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "this is a test"
)]

mod common;

use std::path::{Path, PathBuf};

use common::{in_child, open, open_with, options, required, unavailable};
use fulgurite_backend_vulkan::{Options, VulkanDevice, backend};
use fulgurite_hal::{Backend as _, Device as _, Error, OpenOptions};
use fulgurite_spec::Code;

/// The codes of errors on machines without Vulkan.
const MISSING: [Code; 4] =
    [Code::BackendUnavailable, Code::DriverLoaderMissing, Code::DriverLoaderFailed, Code::NoDriver];

#[test]
fn adapters_are_listed_and_opened() {
    // Without a usable cache folder, no files are left behind.
    in_child("adapters_are_listed_and_opened", &[("FULGURITE_CACHE_DIR", "")], || {
        let (backend, options) = (backend(), OpenOptions::default());
        assert_eq!((backend.id(), backend.rank()), ("vulkan", 100));
        let adapters = match backend.adapters(&options) {
            Ok(adapters) => adapters,
            Err(error) => {
                assert!(MISSING.contains(&error.code()), "{error}");
                return unavailable(&error);
            }
        };
        let is_suitable = adapters.iter().any(|adapter| adapter.info().unsuitable.is_none());
        assert!(is_suitable || !required(), "no adapter is suitable");
        let again = backend.adapters(&options).unwrap();
        for (adapter, again) in adapters.iter().zip(&again) {
            let info = adapter.info();
            println!("{info:?}");
            assert_eq!(info, again.info(), "it is the same each time");
            assert!(info.rank <= backend.rank());
            if info.unsuitable.is_some() {
                assert_eq!(
                    adapter.open(&options).err().map(|error| error.code()),
                    Some(Code::BackendUnavailable)
                );
                continue;
            }
            let device = adapter.open(&options).unwrap();
            let (opened, declared) = (device.snapshot(), &info.declared);
            assert_eq!((&opened.backend, &opened.device), (&declared.backend, &declared.device));
            assert!(opened.capabilities.iter().all(|capability| declared.has(*capability)), "{opened:?}");
            // Another instance, with the validation layer, finds the same device.
            let validating = options.clone().with(Options::from_env().validation(true));
            match adapter.open(&validating) {
                Ok(device) => {
                    assert_eq!(device.snapshot().device, declared.device);
                    assert!(device.complaints().is_some());
                }
                Err(error) => assert!(error.to_string().contains("VK_LAYER_KHRONOS_validation"), "{error}"),
            }
        }
    });
}

#[test]
fn the_snapshot_describes_the_device() {
    let Some(vulkan) = open() else { return };
    let snapshot = vulkan.backend.snapshot();
    println!("vulkan: {} ({})", snapshot.device, snapshot.driver);
    assert!(!snapshot.device.is_empty() && !snapshot.driver.is_empty());
    let limits = &snapshot.limits;
    // The minimum limits of Vulkan.
    assert!(limits.max_workgroup_invocations >= 128 && limits.max_shared_bytes >= 16 << 10);
    assert!(limits.max_workgroup_count.iter().all(|n| *n >= 65_535));
    assert!(limits.max_buffer_bytes >= 1 << 27);
    assert!(limits.loop_limit.is_none_or(|limit| limit > 0));
    vulkan.finish();
}

#[test]
fn a_device_is_selected_by_name_or_index_or_refused() {
    let Some(vulkan) = open() else { return };
    let name = vulkan.backend.snapshot().device.clone();
    vulkan.finish();
    let by_name = open_with(options().device(name.to_uppercase())).expect("it is there");
    assert_eq!(by_name.backend.snapshot().device, name);
    by_name.finish();
    for selector in ["no such device", "4096"] {
        let error = VulkanDevice::open(&Options::default().device(selector)).err().unwrap();
        let Error::Unavailable { backend, code, reason } = &error else { panic!("{error}") };
        assert_eq!((&backend[..], *code), ("vulkan", Code::BackendUnavailable));
        assert!(reason.contains(selector) && reason.contains(&name), "{reason}");
        assert!(!reason.contains("install"), "{reason}");
    }
}

#[test]
fn a_manifest_that_cannot_be_read_is_named_and_no_lack_of_memory() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = folder.path().join("cut.json");
    std::fs::write(&manifest, "{\"file_format_version\": \"1.0.0\", \"ICD\"").unwrap();
    let files = manifest.to_str().unwrap();
    let test = "a_manifest_that_cannot_be_read_is_named_and_no_lack_of_memory";
    in_child(test, &[("VK_DRIVER_FILES", files), ("VK_ICD_FILENAMES", files)], || {
        let error = VulkanDevice::open(&Options::default()).err().unwrap();
        let Error::Unavailable { code, reason, .. } = &error else { panic!("{error}") };
        // Other loaders skip it, which leaves no driver. Without a loader, nothing reads it.
        match code {
            Code::DriverLoaderFailed => assert!(reason.contains("cut.json"), "{reason}"),
            Code::NoDriver => assert!(reason.contains("no Vulkan"), "{reason}"),
            code => assert_eq!(*code, Code::DriverLoaderMissing, "{reason}"),
        }
    });
}

/// Returns the manifests of the drivers of this machine.
fn drivers() -> Vec<PathBuf> {
    let named = ["VK_DRIVER_FILES", "VK_ICD_FILENAMES"].into_iter().find_map(std::env::var_os);
    if let Some(named) = named {
        return std::env::split_paths(&named).collect();
    }
    let folders = ["/usr/share", "/usr/local/share", "/etc", "/usr/local/etc"].map(Path::new);
    let files = folders.iter().flat_map(|folder| std::fs::read_dir(folder.join("vulkan/icd.d"))).flatten();
    files.map(|file| file.unwrap().path()).collect()
}

#[test]
fn a_damaged_manifest_beside_a_good_one_is_skipped_or_named() {
    let folder = tempfile::tempdir().unwrap();
    let cut = folder.path().join("cut.json");
    std::fs::write(&cut, "{\"file_format_version\": \"1.0.0\", \"ICD\"").unwrap();
    let files = std::env::join_paths([cut].into_iter().chain(drivers())).unwrap();
    let files = files.to_str().unwrap();
    let test = "a_damaged_manifest_beside_a_good_one_is_skipped_or_named";
    in_child(test, &[("VK_DRIVER_FILES", files), ("VK_ICD_FILENAMES", files)], || {
        match VulkanDevice::open(&options()) {
            Ok(_) => {}
            // An older loader gives up.
            Err(error @ Error::Unavailable { .. }) => {
                let error = error.to_string();
                assert!(error.contains("cut.json") || drivers().len() == 1, "{error}");
                assert!(!error.contains("out of device memory"), "{error}");
            }
            Err(error) => panic!("{error}"),
        }
    });
}

#[test]
fn rules_of_lowering_are_named_or_refused() {
    let Some(vulkan) = open() else { return };
    vulkan.finish();
    let signs = open_with(options().rules("signs")).expect("the device is there");
    assert_eq!(signs.backend.snapshot().rules, ["signs"]);
    signs.finish();
    let error = VulkanDevice::open(&Options::default().rules("sings")).err().unwrap();
    assert_eq!(error.code(), Code::BadOption, "{error}");
    assert!(error.to_string().contains("`sings`"), "{error}");
}

#[test]
fn probe_verdicts_are_kept_and_survive_any_damage_to_their_file() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("probes");
    let kept = || options().probe_directory(&directory);
    let Some(first) = open_with(kept()) else { return };
    let snapshot = first.backend.snapshot().clone();
    first.finish();
    let files: Vec<_> = std::fs::read_dir(&directory).unwrap().map(|e| e.unwrap().path()).collect();
    let [file] = &files[..] else { panic!("{files:?}") };
    let text = std::fs::read_to_string(file).unwrap();
    assert!(text.contains("\"loop_limit\""), "{text}");

    for damage in [text.as_str(), "", "{", "[1]"] {
        std::fs::write(file, damage).unwrap();
        let again = open_with(kept()).expect("it opened before");
        assert_eq!(*again.backend.snapshot(), snapshot);
        again.finish();
        assert_eq!(std::fs::read_to_string(file).unwrap(), text);
    }
    let nowhere = open_with(options().probe_directory(file.join("below a file")));
    let nowhere = nowhere.expect("it opened before");
    assert_eq!(*nowhere.backend.snapshot(), snapshot);
    nowhere.finish();
}

/// Returns why opening with `options` fails.
fn refusal(options: &Options) -> (Code, String) {
    match VulkanDevice::open(options).err() {
        Some(Error::Unavailable { backend, code, reason }) if backend == "vulkan" => (code, reason),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_machine_without_a_driver_is_told_what_to_install() {
    let none = "/nonexistent/icd.json";
    let variables = [("VK_DRIVER_FILES", none), ("VK_ICD_FILENAMES", none)];
    in_child("a_machine_without_a_driver_is_told_what_to_install", &variables, || {
        let (code, reason) = refusal(&Options::default());
        println!("{code}: {reason}");
        assert!([Code::DriverLoaderMissing, Code::NoDriver].contains(&code), "{code}: {reason}");
        assert!(reason.contains("install") && reason.contains("mesa-vulkan-drivers"), "{reason}");
    });
}

#[test]
fn validation_that_is_asked_for_and_missing_is_an_error() {
    let variables = [("VK_LAYER_PATH", "/nonexistent"), ("VK_ADD_LAYER_PATH", "")];
    in_child("validation_that_is_asked_for_and_missing_is_an_error", &variables, || {
        if let Err(error) = VulkanDevice::open(&options().validation(false)) {
            return unavailable(&error);
        }
        let (code, reason) = refusal(&options().validation(true));
        assert_eq!(code, Code::ValidationMissing);
        assert!(reason.contains("VK_LAYER_KHRONOS_validation is not installed"), "{reason}");
    });
}
