//! The backend and its adapters: what is known of each physical device before it is opened.

use std::sync::Arc;

use ash::vk;
use fulgurite_hal::{self as hal, Adapter, AdapterInfo, AdapterKind, Backend, Error, OpenOptions};
use fulgurite_pipeline_cache::Digest;
use fulgurite_spec::device::DeviceSnapshot;

use crate::VulkanDevice;
use crate::error::BACKEND;
use crate::exit;
use crate::instance::Instance;
use crate::options::Options;
use crate::plan::{self, ChoiceError, DriverQuirks, Queried};
use crate::snapshot::{DeviceKind, PhysicalSnapshot};

/// The highest rank of an adapter, that of a discrete GPU.
const RANK: u32 = 100;

/// Returns the backend: id `vulkan`, opened with [`Options::of`]. A GPU has a rank of 85 or higher, and a driver that runs on
/// the CPU one of 40, below that of a backend made for the CPU.
pub fn backend() -> impl Backend {
    VulkanBackend
}

struct VulkanBackend;

/// A physical device.
struct VulkanAdapter {
    instance: Arc<Instance>,
    physical: vk::PhysicalDevice,
    queried: Queried,
    info: AdapterInfo,
}

impl Backend for VulkanBackend {
    fn id(&self) -> &str {
        BACKEND
    }

    fn rank(&self) -> u32 {
        RANK
    }

    fn adapters(&self, options: &OpenOptions) -> Result<Vec<Box<dyn Adapter>>, Error> {
        let found = list(&Options::of(options))?;
        Ok(found.into_iter().map(|adapter| -> Box<dyn Adapter> { Box::new(adapter) }).collect())
    }
}

/// Creates an instance and lists its physical devices.
fn list(options: &Options) -> Result<Vec<VulkanAdapter>, Error> {
    let _inside = exit::enter();
    let instance = Instance::open(options.validation)?;
    let (physical, queried) = instance.queried()?;
    if queried.is_empty() {
        return Err(crate::refused(ChoiceError::NoDevice));
    }
    let infos = infos(&queried, options.device.as_deref());
    let adapter = |((physical, queried), info)| VulkanAdapter {
        instance: Arc::clone(&instance),
        physical,
        queried,
        info,
    };
    Ok(physical.into_iter().zip(queried).zip(infos).map(adapter).collect())
}

impl Adapter for VulkanAdapter {
    fn info(&self) -> &AdapterInfo {
        &self.info
    }

    fn open(&self, options: &OpenOptions) -> Result<Arc<dyn hal::Device>, Error> {
        let _inside = exit::enter();
        let options = Options::of(options);
        if options.validation != self.instance.validates() {
            // The layer is a matter of the instance.
            let found = list(&options)?.into_iter().find(|other| other.info.id == self.info.id);
            let gone = || Error::unavailable(BACKEND, format!("`{}` is not listed any more", self.info.id));
            return found.ok_or_else(gone)?.start(&options);
        }
        self.start(&options)
    }
}

impl VulkanAdapter {
    /// Opens the device in the adapter's own instance.
    fn start(&self, options: &Options) -> Result<Arc<dyn hal::Device>, Error> {
        match &self.queried {
            Ok(known) => Ok(VulkanDevice::of(Arc::clone(&self.instance), self.physical, known, options)?),
            Err(unknown) => Err(Error::unavailable(BACKEND, unknown.to_string())),
        }
    }
}

/// Returns the facts about each device. Those that `wanted` does not select are used only by name.
fn infos(devices: &[Queried], wanted: Option<&str>) -> Vec<AdapterInfo> {
    let selected = plan::selected(devices, wanted);
    let mut infos: Vec<AdapterInfo> = Vec::with_capacity(devices.len());
    for (at, device) in devices.iter().enumerate() {
        let mut info = info(device);
        match &selected {
            Ok(selected) if selected[at] => {}
            Ok(_) => {
                info = info.deselected(format!(
                    "FULGURITE_VULKAN_DEVICE or `Options::device` selects `{}`",
                    wanted.unwrap_or_default()
                ))
            }
            Err(reason) => info = info.deselected(reason.to_string()),
        }
        let base = info.id.clone();
        // Devices that nothing else tells apart have a number.
        let same = infos.iter().filter(|other| other.id.as_str().starts_with(base.as_str())).count();
        if same > 0 {
            info.id = hal::AdapterId::new(format!("{base}.{same}"));
        }
        infos.push(info);
    }
    infos
}

fn info(device: &Queried) -> AdapterInfo {
    let known = match device {
        Ok(known) => known,
        Err(unknown) => {
            let (kind, rank) = kind(unknown.kind);
            let declared = DeviceSnapshot::new(BACKEND, &unknown.device, "unknown");
            return AdapterInfo::new(kind, rank, declared)
                .distinct("unknown")
                .unsuitable(unknown.to_string());
        }
    };
    let (kind, rank) = kind(known.kind);
    let planned = plan::plan(known, DriverQuirks::default(), &Options::default());
    let declared = match &planned {
        // Quirks are found by opening it.
        Ok(plan) => {
            let mut snapshot = plan.snapshot.clone();
            snapshot.quirks.clear();
            snapshot.rules.clear();
            snapshot
        }
        Err(_) => DeviceSnapshot::new(BACKEND, &known.name, &known.driver_name),
    };
    let info = AdapterInfo::new(kind, rank, declared).distinct(suffix(known));
    let info = if kind == AdapterKind::Discrete { info.memory_bytes(known.memory_bytes) } else { info };
    match planned {
        Ok(_) => info,
        Err(reason) => info.unsuitable(reason.to_string()),
    }
}

/// Returns what tells a device apart: vendor, model, and the start of a digest of its UUID, in hexadecimal. Any byte of the UUID
/// may be the one that differs.
fn suffix(known: &PhysicalSnapshot) -> String {
    let uuid = Digest::of(&known.device_uuid).to_string();
    format!("{:04x}-{:04x}-{}", known.vendor_id, known.device_id, &uuid[..8])
}

/// Returns the kind and the rank of an adapter.
fn kind(kind: DeviceKind) -> (AdapterKind, u32) {
    match kind {
        DeviceKind::Discrete => (AdapterKind::Discrete, RANK),
        DeviceKind::Integrated => (AdapterKind::Integrated, 95),
        DeviceKind::Virtual => (AdapterKind::Virtual, 90),
        DeviceKind::Other => (AdapterKind::Other, 85),
        DeviceKind::Cpu => (AdapterKind::Cpu, 40),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::sample::{discrete, lavapipe};
    use crate::snapshot::{ApiVersion, QueryError};

    #[test]
    fn adapters_say_what_is_known_before_they_are_opened() {
        let mut old = discrete();
        (old.name, old.api_version) = ("Old GPU".to_owned(), ApiVersion(1, 1));
        let broken = QueryError {
            device: "Broken GPU".to_owned(),
            kind: DeviceKind::Integrated,
            error: hal::DeviceError::OutOfMemory { bytes: 0 },
        };
        let infos = infos(&[Ok(lavapipe()), Ok(discrete()), Ok(old), Err(broken)], None);
        let facts: Vec<_> =
            infos.iter().map(|info| (info.kind, info.rank, info.unsuitable.is_some())).collect();
        assert_eq!(
            facts,
            [
                (AdapterKind::Cpu, 40, false),
                (AdapterKind::Discrete, 100, false),
                (AdapterKind::Discrete, 100, true),
                (AdapterKind::Integrated, 95, true),
            ]
        );
        assert!(infos.iter().all(|info| info.deselected.is_none()));
        assert_eq!(infos[0].memory_bytes, None, "it uses the host's");
        assert_eq!(infos[1].memory_bytes, Some(discrete().memory_bytes));
        assert_eq!(infos[0].declared.capabilities, plan_of(&lavapipe()).capabilities);
        assert!(infos[2].unsuitable.as_ref().unwrap().contains("lacks Vulkan 1.3"));
    }

    fn plan_of(known: &PhysicalSnapshot) -> DeviceSnapshot {
        plan::plan(known, DriverQuirks::default(), &Options::default()).unwrap().snapshot
    }

    #[test]
    fn ids_tell_devices_apart() {
        let mut other = discrete();
        other.device_uuid[15] ^= 1;
        let devices = [Ok(discrete()), Ok(other), Ok(discrete()), Ok(discrete())];
        let ids: Vec<_> = infos(&devices, None).into_iter().map(|info| info.id).collect();
        let distinct: std::collections::HashSet<_> = ids.iter().collect();
        assert_eq!(distinct.len(), 4, "{ids:?}");
        assert!(ids.iter().all(|id| id.backend() == BACKEND));
        assert_eq!(ids[2].as_str(), format!("{}.1", ids[0]));
        assert_eq!(ids[3].as_str(), format!("{}.2", ids[0]));
    }

    #[test]
    fn a_selector_leaves_the_others_to_those_who_name_them() {
        let devices = [Ok(lavapipe()), Ok(discrete())];
        let deselected = |wanted| -> Vec<bool> {
            infos(&devices, Some(wanted)).iter().map(|info| info.deselected.is_some()).collect()
        };
        assert_eq!(deselected("LLVM"), [false, true]);
        assert_eq!(deselected("1"), [true, false]);
        assert_eq!(deselected("7"), [true, true], "those who name a device are not concerned");
        let reason = infos(&devices, Some("7"))[0].deselected.clone().unwrap();
        assert!(reason.contains("no device matches `7`"), "{reason}");
    }
}
