//! The registry of backends, and routing with its reasons.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use fulgurite_hal::{Backend, Error, OpenOptions, Registration};
use fulgurite_spec::Code;
use fulgurite_spec::device::Capability;

use crate::calibration::Calibrations;
use crate::routing::Requirements;

/// The backends known to a program. Registration is explicit; listing opens no device.
#[derive(Default)]
pub struct Registry {
    registrations: Vec<Registration>,
}

/// The choice of a backend.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Choice {
    /// The available backend of the highest rank.
    #[default]
    Best,
    /// The backend with this id and no other.
    Exactly(String),
}

/// The reason why a backend was or was not selected.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Verdict {
    /// Selected.
    Chosen,
    /// A backend of higher rank opened.
    LowerRank,
    /// Another backend was named.
    NotNamed,
    /// It failed to open.
    Failed(Error),
    /// It opened but lacks these capabilities.
    Lacks(Vec<Capability>),
    /// A preferred backend qualifies.
    NotPreferred,
    /// Selected: its estimated time for the work is the lowest of all calibrated backends.
    Fastest(Duration),
    /// Its estimated time for the work is higher than that of another.
    Slower(Duration),
    /// It is not calibrated and another is.
    NotMeasured,
}

/// A backend considered by routing.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Considered {
    /// The backend's id.
    pub id: String,
    /// The backend's declared rank.
    pub rank: u32,
    /// The verdict.
    pub verdict: Verdict,
}

impl Considered {
    pub(crate) fn new(registration: &Registration, verdict: Verdict) -> Self {
        Self { id: registration.id().to_owned(), rank: registration.rank(), verdict }
    }
}

/// A routing decision. `Display` prints its reasons.
#[derive(Clone)]
pub struct Route {
    pub(crate) backend: Arc<dyn Backend>,
    pub(crate) considered: Vec<Considered>,
}

impl Registry {
    /// Returns a registry without backends.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a backend.
    ///
    /// # Errors
    /// `FG0406` if a backend of this id is registered already.
    pub fn register(&mut self, registration: Registration) -> Result<(), Error> {
        if self.get(registration.id()).is_some() {
            return Err(Error::invalid(
                Code::DuplicateBackend,
                format!("a backend `{}` is registered already", registration.id()),
            ));
        }
        self.registrations.push(registration);
        self.registrations.sort_by_key(|r| std::cmp::Reverse(r.rank()));
        Ok(())
    }

    /// Passes `options` to every backend registered so far, for opening.
    pub fn configure(&mut self, options: &OpenOptions) {
        self.registrations.iter_mut().for_each(|registration| registration.configure(options.clone()));
    }

    /// Returns the registered backends, the highest rank first.
    pub fn list(&self) -> impl Iterator<Item = &Registration> {
        self.registrations.iter()
    }

    /// Returns the registration of `id`.
    pub fn get(&self, id: &str) -> Option<&Registration> {
        self.registrations.iter().find(|r| r.id() == id)
    }

    /// Returns the registration of `id`, or an error.
    ///
    /// # Errors
    /// `FG0401` if it is not registered; the message lists those that are.
    pub fn named(&self, id: &str) -> Result<&Registration, Error> {
        self.get(id).ok_or_else(|| {
            let known: Vec<_> = self.list().map(|r| format!("`{}`", r.id())).collect();
            let message = format!("there is no backend `{id}`; registered are {}", known.join(", "));
            Error::invalid(Code::UnknownBackend, message)
        })
    }

    /// Selects and opens a backend.
    ///
    /// # Errors
    /// `FG0401` for an id that is not registered, the reason if the named backend does not open, `FG0404` if none
    /// does.
    pub fn route(&self, choice: &Choice) -> Result<Route, Error> {
        let id = match choice {
            Choice::Best => return self.route_for(&Requirements::new(), &Calibrations::default()),
            Choice::Exactly(id) => id,
        };
        let backend = self.named(id)?.open()?;
        let verdict = |r: &Registration| if r.id() == id { Verdict::Chosen } else { Verdict::NotNamed };
        let considered = self.list().map(|r| Considered::new(r, verdict(r))).collect();
        Ok(Route { backend, considered })
    }
}

/// Returns the error when no backend qualifies.
pub(crate) fn none(considered: &[Considered]) -> Error {
    let reasons: Vec<_> = considered.iter().map(Considered::to_string).collect();
    let reasons = if reasons.is_empty() { "none is registered".to_owned() } else { reasons.join("; ") };
    Error::invalid(Code::NoBackend, reasons)
}

impl Route {
    /// Returns the selected backend.
    pub fn backend(&self) -> &Arc<dyn Backend> {
        &self.backend
    }

    /// Returns every backend considered, the highest rank first.
    pub fn considered(&self) -> &[Considered] {
        &self.considered
    }
}

impl fmt::Display for Considered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, rank, verdict } = self;
        match verdict {
            Verdict::Chosen => write!(f, "{id}: chosen (rank {rank})"),
            Verdict::LowerRank => write!(f, "{id}: not tried, lower rank ({rank})"),
            Verdict::Lacks(capabilities) => {
                let names: Vec<&str> = capabilities.iter().map(|c| c.name()).collect();
                write!(f, "{id}: lacks {}", names.join(", "))
            }
            Verdict::NotPreferred => write!(f, "{id}: not tried, another is preferred"),
            Verdict::Fastest(time) => write!(f, "{id}: chosen, estimated to take {time:.1?}"),
            Verdict::Slower(time) => write!(f, "{id}: estimated to take {time:.1?}"),
            Verdict::NotMeasured => write!(f, "{id}: not measured on this machine (`fulgurite calibrate`)"),
            Verdict::NotNamed => write!(f, "{id}: not tried, another was named"),
            Verdict::Failed(Error::Unavailable { reason, .. }) => write!(f, "{id}: not available, {reason}"),
            Verdict::Failed(error) => write!(f, "{id}: not available, {error}"),
        }
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let snapshot = self.backend.snapshot();
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
    use fulgurite_hal::{CompileOptions, DeviceBuffer, Executable};
    use fulgurite_ir::VerifiedKernel;
    use fulgurite_spec::device::DeviceSnapshot;

    /// A backend that only opens.
    pub(crate) struct Idle(pub(crate) DeviceSnapshot);

    impl Backend for Idle {
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

    fn idle(id: &'static str, rank: u32) -> Registration {
        Registration::new(id, rank, move || Ok(Arc::new(Idle(DeviceSnapshot::new(id, "none", "none")))))
    }

    fn broken(id: &'static str, rank: u32) -> Registration {
        Registration::new(id, rank, move || {
            Err(Error::Unavailable { backend: id.to_owned(), reason: "no driver".to_owned() })
        })
    }

    #[test]
    fn the_best_that_opens_is_chosen_and_says_why() {
        let mut registry = Registry::new();
        registry.register(idle("slow", 1)).unwrap();
        registry.register(broken("gone", 9)).unwrap();
        registry.register(idle("fast", 5)).unwrap();
        let route = registry.route(&Choice::Best).unwrap();
        assert_eq!(route.backend().snapshot().backend, "fast");
        let text = route.to_string();
        assert!(text.contains("gone: not available, no driver"), "{text}");
        assert!(text.contains("slow: not tried, lower rank (1)"), "{text}");
    }

    #[test]
    fn backends_are_opened_with_the_options_of_their_registry() {
        let open = |options: &OpenOptions| -> Result<Arc<dyn Backend>, Error> {
            let directory =
                options.cache_directory.as_ref().map_or("none".to_owned(), |d| d.display().to_string());
            let name = format!("{directory} {}", options.get::<u32>().copied().unwrap_or_default());
            Ok(Arc::new(Idle(DeviceSnapshot::new("kept", name, "none"))))
        };
        let mut registry = Registry::new();
        registry.register(Registration::configurable("kept", 1, open)).unwrap();
        registry.register(idle("plain", 0)).unwrap();
        let device = |registry: &Registry, choice| {
            registry.route(&choice).unwrap().backend().snapshot().device.clone()
        };
        assert_eq!(device(&registry, Choice::Best), "none 0");
        registry.configure(&OpenOptions::new().cache_directory("here").with(7u32));
        assert_eq!(device(&registry, Choice::Best), "here 7");
        assert_eq!(device(&registry, Choice::Exactly("kept".into())), "here 7");
        assert_eq!(device(&registry, Choice::Exactly("plain".into())), "none");
    }

    #[test]
    fn a_named_backend_never_falls_back() {
        let mut registry = Registry::new();
        registry.register(idle("slow", 1)).unwrap();
        registry.register(broken("gone", 9)).unwrap();
        let error = registry.route(&Choice::Exactly("gone".into())).unwrap_err();
        assert_eq!(error.code(), Code::BackendUnavailable);
        let error = registry.route(&Choice::Exactly("absent".into())).unwrap_err();
        assert_eq!(error.code(), Code::UnknownBackend);
        assert!(error.to_string().contains("registered are `gone`, `slow`"), "{error}");
        assert_eq!(registry.register(idle("slow", 2)).unwrap_err().code(), Code::DuplicateBackend);
    }

    #[test]
    fn no_backend_at_all_lists_every_reason() {
        let mut registry = Registry::new();
        assert_eq!(registry.route(&Choice::Best).unwrap_err().code(), Code::NoBackend);
        registry.register(broken("gone", 9)).unwrap();
        let error = registry.route(&Choice::Best).unwrap_err();
        assert!(error.to_string().contains("gone: not available, no driver"), "{error}");
    }
}
