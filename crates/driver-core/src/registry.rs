//! The registry of backends, and choices of a device with their reasons.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use fulgurite_hal::{self as hal, Adapter, AdapterId, AdapterInfo, Backend, Error, OpenOptions};
use fulgurite_spec::Code;
use fulgurite_spec::device::Capability;

use crate::calibration::Calibrations;
use crate::routing::Requirements;

/// The backends known to a program. Registration is explicit and looks for no devices.
#[derive(Default)]
pub struct Registry {
    /// The highest rank first.
    backends: Vec<Box<dyn Backend>>,
}

/// The choice of a device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Choice {
    /// The device of the highest rank that opens.
    #[default]
    Best,
    /// The device of the highest rank of this backend.
    Backend(String),
    /// The adapter with this id and no other.
    Adapter(AdapterId),
    /// The device of the highest rank whose name contains `part`, ignoring case.
    Device {
        /// A part of the name.
        part: String,
        /// The backend that it is to be of; `None` for any.
        backend: Option<String>,
    },
}

/// The reason why a device was or was not selected.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Verdict {
    /// Selected.
    Chosen,
    /// A device of higher rank opened.
    LowerRank,
    /// Another was named.
    NotNamed,
    /// It failed to open.
    Failed(Error),
    /// It lacks these capabilities.
    Lacks(Vec<Capability>),
    /// A preferred device qualifies.
    NotPreferred,
    /// Selected: its estimated time for the work is the lowest of all calibrated devices.
    Fastest(Duration),
    /// Its estimated time for the work is higher than that of another.
    Slower(Duration),
    /// It is not calibrated and another is.
    NotMeasured,
}

/// A device considered by routing, or a backend that was not asked for devices or has none.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Considered {
    /// The adapter's id, or the backend's.
    pub id: String,
    /// The device's name, if a device is meant.
    pub device: Option<String>,
    /// The declared rank.
    pub rank: u32,
    /// The verdict.
    pub verdict: Verdict,
}

impl Considered {
    pub(crate) fn backend(backend: &dyn Backend, verdict: Verdict) -> Self {
        Self { id: backend.id().to_owned(), device: None, rank: backend.rank(), verdict }
    }

    pub(crate) fn adapter(info: &AdapterInfo, verdict: Verdict) -> Self {
        let device = Some(info.declared.device.clone());
        Self { id: info.id.to_string(), device, rank: info.rank, verdict }
    }
}

/// The devices on this machine.
#[derive(Debug)]
#[non_exhaustive]
pub struct Adapters {
    /// The devices of every backend, the highest rank first.
    pub adapters: Vec<AdapterInfo>,
    /// The ids of backends without devices, each with the reason.
    pub unavailable: Vec<(String, Error)>,
}

/// A routing decision. `Display` prints its reasons.
#[derive(Clone)]
pub struct Route {
    pub(crate) device: Arc<dyn hal::Device>,
    pub(crate) adapter: AdapterInfo,
    pub(crate) considered: Vec<Considered>,
}

impl Choice {
    /// Returns the choice of the backend or the adapter with this id.
    pub fn id(id: &str) -> Self {
        match id.contains(':') {
            true => Self::Adapter(AdapterId::new(id)),
            false => Self::Backend(id.to_owned()),
        }
    }
}

impl Registry {
    /// Returns a registry without backends.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a backend.
    ///
    /// # Errors
    /// `FG0406` if a backend of this id is registered already, `FG0407` for an id that is empty or has a colon, which ids of
    /// adapters have.
    pub fn register(&mut self, backend: impl Backend + 'static) -> Result<(), Error> {
        if backend.id().is_empty() || backend.id().contains(':') {
            let message = format!("the id of a backend is not empty and has no colon: `{}`", backend.id());
            return Err(Error::invalid(Code::BadOption, message));
        }
        if self.get(backend.id()).is_some() {
            return Err(Error::invalid(
                Code::DuplicateBackend,
                format!("a backend `{}` is registered already", backend.id()),
            ));
        }
        self.backends.push(Box::new(backend));
        self.backends.sort_by_key(|backend| std::cmp::Reverse(backend.rank()));
        Ok(())
    }

    /// Returns the registered backends, the highest rank first.
    pub fn list(&self) -> impl Iterator<Item = &dyn Backend> {
        self.backends.iter().map(AsRef::as_ref)
    }

    /// Returns the backend `id`.
    pub fn get(&self, id: &str) -> Option<&dyn Backend> {
        self.list().find(|backend| backend.id() == id)
    }

    /// Returns the backend `id`, or an error.
    ///
    /// # Errors
    /// `FG0401` if it is not registered; the message lists those that are.
    pub fn named(&self, id: &str) -> Result<&dyn Backend, Error> {
        self.get(id).ok_or_else(|| {
            let known: Vec<_> = self.list().map(|backend| format!("`{}`", backend.id())).collect();
            let message = format!("there is no backend `{id}`; registered are {}", known.join(", "));
            Error::invalid(Code::UnknownBackend, message)
        })
    }

    /// Lists the devices of all backends. Opens none.
    pub fn adapters(&self) -> Adapters {
        let (mut adapters, mut unavailable) = (Vec::new(), Vec::new());
        for backend in self.list() {
            match by_rank(backend, &OpenOptions::default()) {
                Ok(found) => adapters.extend(found.iter().map(|adapter| adapter.info().clone())),
                Err(error) => unavailable.push((backend.id().to_owned(), error)),
            }
        }
        adapters.sort_by_key(|info| std::cmp::Reverse(info.rank));
        Adapters { adapters, unavailable }
    }

    /// Selects a device and opens it with `options`.
    ///
    /// # Errors
    /// `FG0401` for a backend that is not registered, `FG0402` or `FG0410` to `FG0413` if it is not available here, `FG0409` if no device has the id or
    /// the name, the reason if the named device does not open, `FG0404` if none does.
    pub fn route(&self, choice: &Choice, options: &OpenOptions) -> Result<Route, Error> {
        match choice {
            Choice::Best => self.route_for(&Requirements::new(), &Calibrations::default(), options),
            Choice::Backend(id) => {
                let found = by_rank(self.named(id)?, options)?;
                let none = || Error::unavailable(id, "it has no device");
                self.first(found, Vec::new(), deselected, options, none)
            }
            Choice::Adapter(id) => {
                let found = by_rank(self.named(id.backend())?, options)?;
                let ids: Vec<_> = found.iter().map(|adapter| format!("`{}`", adapter.info().id)).collect();
                let reason = format!("there is no adapter `{id}`; there are {}", ids.join(", "));
                let none = || Error::invalid(Code::UnknownDevice, reason);
                let other = |info: &AdapterInfo| (info.id != *id).then_some(Verdict::NotNamed);
                self.first(found, Vec::new(), other, options, none)
            }
            Choice::Device { part, backend } => self.route_by_name(part, backend.as_deref(), options),
        }
    }

    /// Opens the device of the backend or adapter `id` with default options.
    ///
    /// # Errors
    /// As for [`route`](Self::route).
    pub fn open(&self, id: &str) -> Result<Arc<dyn hal::Device>, Error> {
        self.route(&Choice::id(id), &OpenOptions::default()).map(|route| route.device)
    }

    fn route_by_name(
        &self,
        part: &str,
        backend: Option<&str>,
        options: &OpenOptions,
    ) -> Result<Route, Error> {
        let backends = match backend {
            Some(id) => vec![self.named(id)?],
            None => self.list().collect(),
        };
        let (mut found, mut failed) = (Vec::new(), Vec::new());
        for of in backends {
            match by_rank(of, options) {
                Ok(all) => found.extend(all),
                Err(error) if backend.is_some() => return Err(error),
                Err(error) => failed.push(Considered::backend(of, Verdict::Failed(error))),
            }
        }
        sort(&mut found);
        let names: Vec<_> =
            found.iter().map(|adapter| format!("`{}`", adapter.info().declared.device)).collect();
        let mut reason = format!("no device's name contains `{part}`; the devices are {}", names.join(", "));
        failed.iter().for_each(|considered| reason.push_str(&format!("; {considered}")));
        let part = part.to_lowercase();
        let other = |info: &AdapterInfo| {
            (!info.declared.device.to_lowercase().contains(&part)).then_some(Verdict::NotNamed)
        };
        let none = || Error::invalid(Code::UnknownDevice, reason);
        self.first(found, failed, other, options, none)
    }

    /// Opens the first device of `found` for which `other` has no verdict and which is suitable. An error of opening it is
    /// returned: no other device takes its place. `none` is the error if there is no such device.
    fn first(
        &self,
        found: Vec<Box<dyn Adapter>>,
        mut considered: Vec<Considered>,
        other: impl Fn(&AdapterInfo) -> Option<Verdict>,
        options: &OpenOptions,
        none: impl FnOnce() -> Error,
    ) -> Result<Route, Error> {
        let mut chosen = None;
        let mut reason = None;
        for adapter in found {
            let info = adapter.info();
            let verdict = match (other(info), unsuitable(info)) {
                (Some(verdict), _) => verdict,
                (None, _) if chosen.is_some() => Verdict::LowerRank,
                (None, Some(error)) => Verdict::Failed(error),
                (None, None) => {
                    chosen = Some((adapter.open(options)?, info.clone()));
                    Verdict::Chosen
                }
            };
            if let (Verdict::Failed(error), None) = (&verdict, &reason) {
                reason = Some(error.clone());
            }
            considered.push(Considered::adapter(info, verdict));
        }
        let Some((device, adapter)) = chosen else { return Err(reason.unwrap_or_else(none)) };
        let rest: Vec<_> = self.list().filter(|backend| !has(&considered, backend.id())).collect();
        considered.extend(rest.into_iter().map(|backend| Considered::backend(backend, Verdict::NotNamed)));
        Ok(Route { device, adapter, considered })
    }
}

/// Returns whether the backend, or a device of it, was considered.
pub(crate) fn has(considered: &[Considered], backend: &str) -> bool {
    considered.iter().any(|one| AdapterId::new(&one.id).backend() == backend)
}

/// Returns the verdict on a device that is used only if it is named.
pub(crate) fn deselected(info: &AdapterInfo) -> Option<Verdict> {
    let reason = info.deselected.as_ref()?;
    Some(Verdict::Failed(Error::unavailable(info.id.backend(), reason)))
}

/// Returns the adapters of a backend, the highest rank first.
///
/// # Errors
/// The backend's, and [`Error::Internal`] if it breaks the rules of ids and ranks.
pub(crate) fn by_rank(backend: &dyn Backend, options: &OpenOptions) -> Result<Vec<Box<dyn Adapter>>, Error> {
    let mut all = backend.adapters(options)?;
    sort(&mut all);
    let mut ids = BTreeSet::new();
    for info in all.iter().map(|adapter| adapter.info()) {
        if info.id.backend() != backend.id() || info.rank > backend.rank() || !ids.insert(info.id.clone()) {
            let message = format!(
                "backend `{}` of rank {} lists the adapter `{}` of rank {}: its id must be the backend's or begin with it and a \
                 colon, must be its own, and its rank must not be higher",
                backend.id(),
                backend.rank(),
                info.id,
                info.rank
            );
            return Err(Error::Internal(message));
        }
    }
    Ok(all)
}

/// Sorts adapters by rank, the highest first.
pub(crate) fn sort(adapters: &mut [Box<dyn Adapter>]) {
    adapters.sort_by_key(|adapter| std::cmp::Reverse(adapter.info().rank));
}

/// Returns the error of a device that is known not to be suitable.
pub(crate) fn unsuitable(info: &AdapterInfo) -> Option<Error> {
    let reason = info.unsuitable.as_ref()?;
    Some(Error::unavailable(info.id.backend(), reason))
}

/// Returns the error when no device qualifies.
pub(crate) fn none(considered: &[Considered]) -> Error {
    let reasons: Vec<_> = considered.iter().map(Considered::to_string).collect();
    let reasons = if reasons.is_empty() { "none is registered".to_owned() } else { reasons.join("; ") };
    Error::invalid(Code::NoBackend, reasons)
}

impl Route {
    /// Returns the selected device.
    pub fn device(&self) -> &Arc<dyn hal::Device> {
        &self.device
    }

    /// Returns what was known of the selected device before it was opened.
    pub fn adapter(&self) -> &AdapterInfo {
        &self.adapter
    }

    /// Returns every device considered, and every backend whose devices were not, in the order considered.
    pub fn considered(&self) -> &[Considered] {
        &self.considered
    }
}

impl fmt::Display for Considered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, device, rank, verdict } = self;
        f.write_str(id)?;
        // The only device of a backend needs no name.
        if let (Some(name), true) = (device, id.contains(':')) {
            write!(f, " ({name})")?;
        }
        match verdict {
            Verdict::Chosen => write!(f, ": chosen (rank {rank})"),
            Verdict::LowerRank => write!(f, ": not tried, lower rank ({rank})"),
            Verdict::Lacks(capabilities) => {
                let names: Vec<&str> = capabilities.iter().map(|c| c.name()).collect();
                write!(f, ": lacks {}", names.join(", "))
            }
            Verdict::NotPreferred => write!(f, ": not tried, another is preferred"),
            Verdict::Fastest(time) => write!(f, ": chosen, estimated to take {time:.1?}"),
            Verdict::Slower(time) => write!(f, ": estimated to take {time:.1?}"),
            Verdict::NotMeasured => write!(f, ": not measured on this machine (`fulgurite calibrate`)"),
            Verdict::NotNamed => write!(f, ": not tried, another was named"),
            Verdict::Failed(Error::Unavailable { reason, .. }) => write!(f, ": not available, {reason}"),
            Verdict::Failed(error) => write!(f, ": not available, {error}"),
        }
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let snapshot = self.device.snapshot();
        write!(f, "{} on {} ({})", snapshot.backend, snapshot.device, snapshot.driver)?;
        for considered in &self.considered {
            write!(f, "\n  {considered}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use fulgurite_hal::{AdapterKind, CompileOptions, DeviceBuffer, Executable, SingleDevice};
    use fulgurite_ir::VerifiedKernel;
    use fulgurite_spec::device::DeviceSnapshot;

    /// A device that only opens.
    struct Idle(DeviceSnapshot);

    impl hal::Device for Idle {
        fn snapshot(&self) -> &DeviceSnapshot {
            &self.0
        }
        fn allocate(&self, _: u64) -> Result<Arc<dyn DeviceBuffer>, Error> {
            Err(Error::Internal("idle".into()))
        }
        fn compile(&self, _: Arc<VerifiedKernel>, _: &CompileOptions) -> Result<Arc<dyn Executable>, Error> {
            Err(Error::Internal("idle".into()))
        }
    }

    /// A backend of one device, which opens.
    pub(crate) fn device(rank: u32, snapshot: DeviceSnapshot) -> SingleDevice {
        let info = AdapterInfo::new(AdapterKind::Other, rank, snapshot.clone());
        SingleDevice::new(info, move |_| Ok(Arc::new(Idle(snapshot.clone()))))
    }

    /// A backend of one device, which does not open.
    pub(crate) fn gone(id: &str, rank: u32) -> SingleDevice {
        let snapshot = DeviceSnapshot::complete(id, "none", "none", 32);
        let id = id.to_owned();
        let open = move |_: &OpenOptions| Err(Error::unavailable(&id, "no driver"));
        SingleDevice::new(AdapterInfo::new(AdapterKind::Other, rank, snapshot), open)
    }

    fn idle(id: &str, rank: u32) -> SingleDevice {
        device(rank, DeviceSnapshot::new(id, "none", "none"))
    }

    /// A backend of several devices: their infos.
    struct Several(Vec<AdapterInfo>);

    impl Backend for Several {
        fn id(&self) -> &str {
            "gpu"
        }
        fn rank(&self) -> u32 {
            100
        }
        fn adapters(&self, _: &OpenOptions) -> Result<Vec<Box<dyn Adapter>>, Error> {
            let single = |info: &AdapterInfo| -> Box<dyn Adapter> {
                let snapshot = info.declared.clone();
                Box::new(SingleDevice::new(info.clone(), move |_| Ok(Arc::new(Idle(snapshot.clone())))))
            };
            Ok(self.0.iter().map(single).collect())
        }
    }

    /// `gpu:0` is software, `gpu:1` and `gpu:2` are not, and the last is better; `cpu` is between.
    fn several(change: impl Fn(AdapterInfo) -> AdapterInfo) -> Registry {
        let info = |number: u32, name: &str, kind, rank| {
            change(AdapterInfo::new(kind, rank, DeviceSnapshot::new("gpu", name, "1")).distinct(number))
        };
        let mut registry = Registry::new();
        let all = vec![
            info(0, "Software", AdapterKind::Cpu, 40),
            info(1, "Small GPU", AdapterKind::Integrated, 90),
            info(2, "Large GPU", AdapterKind::Discrete, 100),
        ];
        registry.register(Several(all)).unwrap();
        registry.register(idle("cpu", 50)).unwrap();
        registry
    }

    fn route(registry: &Registry, choice: &Choice) -> Result<Route, Error> {
        registry.route(choice, &OpenOptions::default())
    }

    #[test]
    fn the_best_that_opens_is_chosen_and_says_why() {
        let mut registry = Registry::new();
        registry.register(idle("slow", 1)).unwrap();
        registry.register(gone("gone", 9)).unwrap();
        registry.register(idle("fast", 5)).unwrap();
        let route = route(&registry, &Choice::Best).unwrap();
        assert_eq!(route.device().snapshot().backend, "fast");
        assert_eq!(route.adapter().id.as_str(), "fast");
        let text = route.to_string();
        assert!(text.contains("gone: not available, no driver"), "{text}");
        assert!(text.contains("slow: not tried, lower rank (1)"), "{text}");
    }

    #[test]
    fn devices_of_all_backends_are_in_one_order() {
        let registry = several(|info| info);
        let listed = registry.adapters();
        let ids: Vec<_> = listed.adapters.iter().map(|info| info.id.as_str()).collect();
        assert_eq!(ids, ["gpu:2", "gpu:1", "cpu", "gpu:0"]);
        let best = route(&registry, &Choice::Best).unwrap();
        assert_eq!(
            best.to_string(),
            "gpu on Large GPU (1)\n  gpu:2 (Large GPU): chosen (rank 100)\n  gpu:1 (Small GPU): not tried, \
             lower rank (90)\n  gpu:0 (Software): not tried, lower rank (40)\n  cpu: not tried, lower rank (50)"
        );
        // What cannot be opened is passed over, and the software device is after the CPU.
        let registry = several(|info| match info.kind {
            AdapterKind::Cpu => info,
            _ => info.unsuitable("it is too old"),
        });
        let best = route(&registry, &Choice::Best).unwrap();
        assert_eq!(best.adapter().id.as_str(), "cpu");
        let text = best.to_string();
        assert!(text.contains("gpu:2 (Large GPU): not available, it is too old"), "{text}");
        assert!(text.contains("gpu:0 (Software): not tried, lower rank (40)"), "{text}");
        let of_gpu = route(&registry, &Choice::Backend("gpu".into())).unwrap();
        assert_eq!(of_gpu.adapter().id.as_str(), "gpu:0", "a software device, if its backend is named");
    }

    #[test]
    fn a_device_is_found_by_id_and_by_name() {
        let registry = several(|info| info);
        let id = |choice: Choice| route(&registry, &choice).map(|route| route.adapter().id.to_string());
        let named = |part: &str, backend: Option<&str>| {
            id(Choice::Device { part: part.to_owned(), backend: backend.map(str::to_owned) })
        };
        assert_eq!(id(Choice::id("gpu:1")).unwrap(), "gpu:1");
        assert_eq!(id(Choice::id("gpu")).unwrap(), "gpu:2");
        assert_eq!(named("gpu", None).unwrap(), "gpu:2");
        assert_eq!(named("SMALL", Some("gpu")).unwrap(), "gpu:1");
        let error = id(Choice::id("gpu:7")).unwrap_err();
        assert_eq!(error.code(), Code::UnknownDevice);
        assert!(error.to_string().contains("there are `gpu:2`, `gpu:1`, `gpu:0`"), "{error}");
        assert_eq!(id(Choice::id("other:7")).unwrap_err().code(), Code::UnknownBackend);
        let error = named("huge", None).unwrap_err();
        assert_eq!(error.code(), Code::UnknownDevice);
        assert!(error.to_string().contains("the devices are `Large GPU`, `Small GPU`, `none`"), "{error}");
        assert_eq!(named("small", Some("other")).unwrap_err().code(), Code::UnknownBackend);
        assert_eq!(named("small", Some("cpu")).unwrap_err().code(), Code::UnknownDevice);
    }

    #[test]
    fn what_is_not_selected_is_used_only_by_name() {
        let registry = several(|info| match info.declared.device.as_str() {
            "Small GPU" => info,
            _ => info.deselected("`small` selects another"),
        });
        let id = |choice: Choice| route(&registry, &choice).map(|route| route.adapter().id.to_string());
        assert_eq!(id(Choice::Best).unwrap(), "gpu:1");
        assert_eq!(id(Choice::id("gpu")).unwrap(), "gpu:1");
        assert_eq!(id(Choice::id("gpu:2")).unwrap(), "gpu:2");
    }

    #[test]
    fn a_device_that_fails_is_not_replaced_by_another_of_its_backend() {
        struct Failing;
        impl Backend for Failing {
            fn id(&self) -> &str {
                "gpu"
            }
            fn rank(&self) -> u32 {
                100
            }
            fn adapters(&self, _: &OpenOptions) -> Result<Vec<Box<dyn Adapter>>, Error> {
                let info = |rank| {
                    AdapterInfo::new(AdapterKind::Other, rank, DeviceSnapshot::new("gpu", "GPU", "1"))
                        .distinct(rank)
                };
                let broken = |_: &OpenOptions| Err(hal::DeviceError::Lost("opening").into());
                let other = Several(vec![info(40)]).adapters(&OpenOptions::default())?;
                let broken: Box<dyn Adapter> = Box::new(SingleDevice::new(info(100), broken));
                Ok(std::iter::once(broken).chain(other).collect())
            }
        }
        let mut registry = Registry::new();
        registry.register(Failing).unwrap();
        for choice in [
            Choice::Best,
            Choice::id("gpu"),
            Choice::id("gpu:100"),
            Choice::Device { part: "gpu".to_owned(), backend: None },
        ] {
            assert_eq!(route(&registry, &choice).unwrap_err().code(), Code::DeviceLost, "{choice:?}");
        }
        assert_eq!(route(&registry, &Choice::id("gpu:40")).unwrap().adapter().rank, 40);
    }

    #[test]
    fn every_device_is_considered_once() {
        let registry = several(|info| info);
        for choice in [
            Choice::Best,
            Choice::id("gpu:1"),
            Choice::Device { part: "none".to_owned(), backend: None },
            Choice::Device { part: "gpu".to_owned(), backend: Some("gpu".to_owned()) },
        ] {
            let route = route(&registry, &choice).unwrap();
            let ids: Vec<_> = route.considered().iter().map(|one| one.id.as_str()).collect();
            let distinct: std::collections::BTreeSet<_> = ids.iter().collect();
            assert_eq!((ids.len(), distinct.len()), (4, 4), "{choice:?}: {ids:?}");
        }
    }

    #[test]
    fn ids_and_ranks_follow_their_rules() {
        let refused = |id: &str| Registry::new().register(idle(id, 1)).err().map(|error| error.code());
        assert_eq!(refused("a:b"), Some(Code::BadOption));
        assert_eq!(refused(""), Some(Code::BadOption));
        let listed = |change: fn(AdapterInfo) -> AdapterInfo| {
            let registry = several(change);
            registry.adapters().unavailable.into_iter().map(|(_, error)| error.code()).next()
        };
        assert_eq!(listed(|info| info), None);
        assert_eq!(listed(|info| info.distinct("same")), Some(Code::Internal));
        let above = |mut info: AdapterInfo| {
            info.rank += 1;
            info
        };
        assert_eq!(listed(above), Some(Code::Internal));
    }

    #[test]
    fn devices_are_opened_with_the_options() {
        let open = |options: &OpenOptions| -> Result<Arc<dyn hal::Device>, Error> {
            let directory =
                options.cache_directory.as_ref().map_or("none".to_owned(), |d| d.display().to_string());
            let name = format!("{directory} {}", options.get::<u32>().copied().unwrap_or_default());
            Ok(Arc::new(Idle(DeviceSnapshot::new("kept", name, "none"))))
        };
        let mut registry = Registry::new();
        let info = AdapterInfo::new(AdapterKind::Other, 1, DeviceSnapshot::new("kept", "none", "none"));
        registry.register(SingleDevice::new(info, open)).unwrap();
        registry.register(idle("plain", 0)).unwrap();
        let device = |choice, options: &OpenOptions| {
            registry.route(&choice, options).unwrap().device().snapshot().device.clone()
        };
        assert_eq!(device(Choice::Best, &OpenOptions::new()), "none 0");
        let options = OpenOptions::new().cache_directory("here").with(7u32);
        assert_eq!(device(Choice::Best, &options), "here 7");
        assert_eq!(device(Choice::id("kept"), &options), "here 7");
        assert_eq!(device(Choice::id("plain"), &options), "none");
    }

    #[test]
    fn a_named_backend_never_falls_back() {
        let mut registry = Registry::new();
        registry.register(idle("slow", 1)).unwrap();
        registry.register(gone("gone", 9)).unwrap();
        let error = route(&registry, &Choice::id("gone")).unwrap_err();
        assert_eq!(error.code(), Code::BackendUnavailable);
        let error = route(&registry, &Choice::id("absent")).unwrap_err();
        assert_eq!(error.code(), Code::UnknownBackend);
        assert!(error.to_string().contains("registered are `gone`, `slow`"), "{error}");
        assert_eq!(registry.register(idle("slow", 2)).unwrap_err().code(), Code::DuplicateBackend);
    }

    #[test]
    fn no_backend_at_all_lists_every_reason() {
        let mut registry = Registry::new();
        assert_eq!(route(&registry, &Choice::Best).unwrap_err().code(), Code::NoBackend);
        registry.register(gone("gone", 9)).unwrap();
        let error = route(&registry, &Choice::Best).unwrap_err();
        assert!(error.to_string().contains("gone: not available, no driver"), "{error}");
    }
}
