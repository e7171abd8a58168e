//! Routing: selects a device by required capabilities, preference and measured cost.

use std::sync::Arc;
use std::time::Duration;

use fulgurite_hal::{self as hal, Adapter, AdapterId, AdapterInfo, Backend, Error, OpenOptions};
use fulgurite_spec::device::{Capability, DeviceSnapshot};

use crate::calibration::{Calibrations, Workload};
use crate::registry::{
    Considered, Registry, Route, Verdict, by_rank, deselected, has, none, sort, unsuitable,
};

/// The criteria for selecting a device, applied in this order: required capabilities, preference, measured cost, rank.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Requirements {
    /// The required capabilities.
    pub needs: Vec<Capability>,
    /// Ids of the preferred backends or adapters, the most preferred first. Others are selected only with
    /// [`fallback`](Self::fallback).
    pub prefer: Vec<String>,
    /// Whether a device that is not preferred may be selected.
    pub fallback: bool,
    /// The planned work. Of the calibrated devices, the one with the lowest estimated time is selected.
    pub work: Option<Workload>,
}

impl Requirements {
    /// Returns requirements that every device meets.
    pub fn new() -> Self {
        Self::default()
    }

    /// Requires `capability`.
    #[must_use]
    pub fn needs(mut self, capability: Capability) -> Self {
        self.needs.push(capability);
        self
    }

    /// Prefers the backend or adapter `id` to those added later.
    #[must_use]
    pub fn prefer(mut self, id: impl Into<String>) -> Self {
        self.prefer.push(id.into());
        self
    }

    /// Allows other devices where no preferred one qualifies. The route gives the reasons.
    #[must_use]
    pub fn or_any(mut self) -> Self {
        self.fallback = true;
        self
    }

    /// Prefers the device with the lowest estimated time for `work`.
    #[must_use]
    pub fn for_work(mut self, work: Workload) -> Self {
        self.work = Some(work);
        self
    }

    /// Returns whether the backend `id` is preferred.
    fn prefers(&self, id: &str) -> bool {
        self.prefer.iter().any(|preferred| preferred == id)
    }
}

/// A device that opened and has the required capabilities.
struct Fit {
    device: Arc<dyn hal::Device>,
    adapter: AdapterInfo,
    /// Its index among the candidates considered.
    place: usize,
}

impl Fit {
    fn into_route(self, considered: Vec<Considered>) -> Route {
        Route { device: self.device, adapter: self.adapter, considered }
    }
}

/// A search in progress.
struct Search<'r> {
    requirements: &'r Requirements,
    options: &'r OpenOptions,
    considered: Vec<Considered>,
}

impl Registry {
    /// Selects a device by `requirements` and opens it with `options`. Other candidates may be opened and closed again.
    ///
    /// # Errors
    /// `FG0404` with the reason for each candidate if none qualifies; device failures and internal errors unchanged.
    pub fn route_for(
        &self,
        requirements: &Requirements,
        calibrations: &Calibrations,
        options: &OpenOptions,
    ) -> Result<Route, Error> {
        let mut search = Search { requirements, options, considered: Vec::new() };
        for id in &requirements.prefer {
            if let Some(fit) = search.preferred(self, id)? {
                search.considered[fit.place].verdict = Verdict::Chosen;
                search.skip(self.list(), &Verdict::NotPreferred);
                return Ok(fit.into_route(search.considered));
            }
        }
        if !requirements.prefer.is_empty() && !requirements.fallback {
            return Err(none(&search.considered));
        }
        let mut fits = search.others(self)?;
        let estimates: Vec<Option<Duration>> = fits
            .iter()
            .map(|fit| Some(calibrations.get(fit.device.snapshot())?.estimate(requirements.work.as_ref()?)))
            .collect();
        let least = estimates.iter().flatten().min().copied();
        // The highest rank if none was measured.
        let chosen = estimates.iter().position(|estimate| *estimate == least).filter(|_| !fits.is_empty());
        for (i, (fit, estimate)) in fits.iter().zip(&estimates).enumerate() {
            search.considered[fit.place].verdict = match (Some(i) == chosen, estimate, least) {
                (true, Some(time), _) => Verdict::Fastest(*time),
                (true, None, _) => Verdict::Chosen,
                (false, Some(time), _) => Verdict::Slower(*time),
                (false, None, Some(_)) => Verdict::NotMeasured,
                (false, None, None) => Verdict::LowerRank,
            };
        }
        match chosen.map(|i| fits.swap_remove(i)) {
            Some(fit) => Ok(fit.into_route(search.considered)),
            None => Err(none(&search.considered)),
        }
    }
}

impl Search<'_> {
    /// Looks for a device of the preferred backend or adapter `id`.
    fn preferred(&mut self, registry: &Registry, id: &str) -> Result<Option<Fit>, Error> {
        let Some(backend) = registry.get(AdapterId::new(id).backend()) else {
            let verdict = Verdict::Failed(Error::unavailable(id, "it is not registered"));
            self.considered.push(Considered { id: id.to_owned(), device: None, rank: 0, verdict });
            return Ok(None);
        };
        let found = match backend.id() == id {
            true => self.adapters(backend)?,
            false => {
                self.listed(backend)?.into_iter().filter(|adapter| adapter.info().id.as_str() == id).collect()
            }
        };
        if found.is_empty() && !has(&self.considered, backend.id()) {
            let verdict = Verdict::Failed(Error::unavailable(id, "there is no such adapter"));
            self.considered.push(Considered { id: id.to_owned(), device: None, rank: 0, verdict });
        }
        for adapter in found {
            if let Some(fit) = self.consider(&*adapter)? {
                return Ok(Some(fit));
            }
        }
        Ok(None)
    }

    /// Looks among all devices that are not preferred: for each one that qualifies if measured cost decides, else for the one
    /// of the highest rank.
    fn others(&mut self, registry: &Registry) -> Result<Vec<Fit>, Error> {
        let requirements = self.requirements;
        let mut fits = Vec::new();
        let mut found: Vec<Box<dyn Adapter>> = Vec::new();
        let mut backends = registry.list().filter(|other| !requirements.prefers(other.id())).peekable();
        loop {
            if requirements.work.is_none() && !fits.is_empty() {
                break;
            }
            // The next device is of the highest rank unless a backend may have one of a higher rank.
            let highest = found.first().map(|adapter| adapter.info().rank);
            match backends.next_if(|backend| highest.is_none_or(|rank| backend.rank() > rank)) {
                Some(backend) => {
                    let mut all = self.adapters(backend)?;
                    all.retain(|new| !self.considered.iter().any(|one| one.id == new.info().id.as_str()));
                    found.extend(all);
                    sort(&mut found);
                }
                None if found.is_empty() => break,
                None => {
                    let adapter = found.remove(0);
                    fits.extend(self.consider(&*adapter)?);
                }
            }
        }
        for adapter in found {
            self.considered.push(Considered::adapter(adapter.info(), Verdict::LowerRank));
        }
        self.skip(backends, &Verdict::LowerRank);
        Ok(fits)
    }

    /// Lists the devices of a backend, the highest rank first. Records why there are none.
    fn listed(&mut self, backend: &dyn Backend) -> Result<Vec<Box<dyn Adapter>>, Error> {
        match by_rank(backend, self.options) {
            Ok(all) => Ok(all),
            Err(error) => {
                let verdict = Verdict::Failed(skippable(error)?);
                self.considered.push(Considered::backend(backend, verdict));
                Ok(Vec::new())
            }
        }
    }

    /// Lists those devices of a backend that may be chosen without being named.
    fn adapters(&mut self, backend: &dyn Backend) -> Result<Vec<Box<dyn Adapter>>, Error> {
        let mut selected = self.listed(backend)?;
        selected.retain(|adapter| {
            let verdict = deselected(adapter.info());
            self.considered
                .extend(verdict.clone().map(|verdict| Considered::adapter(adapter.info(), verdict)));
            verdict.is_none()
        });
        Ok(selected)
    }

    /// Opens a device and checks its capabilities; records the verdict.
    fn consider(&mut self, adapter: &dyn Adapter) -> Result<Option<Fit>, Error> {
        let (info, place) = (adapter.info(), self.considered.len());
        let needs = &self.requirements.needs;
        let lacking = |snapshot: &DeviceSnapshot| -> Vec<Capability> {
            needs.iter().filter(|need| !snapshot.has(**need)).copied().collect()
        };
        let declared = lacking(&info.declared);
        let (verdict, fit) = match unsuitable(info) {
            Some(error) => (Verdict::Failed(error), None),
            None if !declared.is_empty() => (Verdict::Lacks(declared), None),
            None => match adapter.open(self.options) {
                Ok(device) => match lacking(device.snapshot()) {
                    lacks if lacks.is_empty() => {
                        (Verdict::Chosen, Some(Fit { device, adapter: info.clone(), place }))
                    }
                    lacks => (Verdict::Lacks(lacks), None),
                },
                Err(error) => (Verdict::Failed(skippable(error)?), None),
            },
        };
        self.considered.push(Considered::adapter(info, verdict));
        Ok(fit)
    }

    /// Records `verdict` on the backends of which nothing was considered.
    fn skip<'b>(&mut self, backends: impl Iterator<Item = &'b dyn Backend>, verdict: &Verdict) {
        for backend in backends {
            if !has(&self.considered, backend.id()) {
                self.considered.push(Considered::backend(backend, verdict.clone()));
            }
        }
    }
}

/// Returns the reason to go on with other devices. Device failures and internal errors are not skipped silently.
fn skippable(error: Error) -> Result<Error, Error> {
    match error {
        Error::Unavailable { .. } | Error::Unsupported(_) => Ok(error),
        error => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibration::Calibration;
    use crate::registry::tests::{device, gone};
    use fulgurite_spec::Code;
    use fulgurite_spec::device::DeviceSnapshot;

    fn snapshot(id: &str, capabilities: &[Capability]) -> DeviceSnapshot {
        let mut snapshot = DeviceSnapshot::new(id, id, "1");
        snapshot.capabilities = capabilities.to_vec();
        snapshot
    }

    /// `gpu` before `cpu` before `slow`; `gone` does not open.
    fn registry() -> Registry {
        let mut registry = Registry::new();
        for (id, rank, capabilities) in [
            ("gpu", 9, &[Capability::Int64][..]),
            ("cpu", 5, &[Capability::Int64, Capability::Float64]),
            ("slow", 1, &[Capability::Float64]),
        ] {
            registry.register(device(rank, snapshot(id, capabilities))).unwrap();
        }
        registry.register(gone("gone", 20)).unwrap();
        registry
    }

    fn chosen(requirements: &Requirements, calibrations: &Calibrations) -> (String, String) {
        let route = registry().route_for(requirements, calibrations, &OpenOptions::default()).unwrap();
        (route.device().snapshot().backend.clone(), route.to_string())
    }

    #[test]
    fn needs_come_before_rank_and_preference_before_both() {
        let none = Calibrations::default();
        let (id, why) = chosen(&Requirements::new(), &none);
        assert_eq!(id, "gpu");
        assert!(
            why.contains("gone: not available, no driver") && why.contains("cpu: not tried, lower rank"),
            "{why}"
        );
        let (id, why) = chosen(&Requirements::new().needs(Capability::Float64), &none);
        assert_eq!(id, "cpu");
        assert!(why.contains("gpu: lacks float64"), "{why}");
        let (id, why) = chosen(&Requirements::new().prefer("slow"), &none);
        assert_eq!(id, "slow");
        assert!(why.contains("gpu: not tried, another is preferred"), "{why}");
    }

    #[test]
    fn nothing_falls_back_unless_it_may() {
        let none = Calibrations::default();
        let requirements = Requirements::new().prefer("gone").prefer("absent");
        let error = registry().route_for(&requirements, &none, &OpenOptions::default()).err().unwrap();
        assert_eq!(error.code(), Code::NoBackend);
        assert!(error.to_string().contains("absent: not available, it is not registered"), "{error}");
        let (id, why) = chosen(&requirements.or_any(), &none);
        assert_eq!(id, "gpu");
        assert!(why.contains("gone: not available, no driver"), "{why}");
        let requirements = Requirements::new().needs(Capability::CooperativeMatrix);
        let error = registry().route_for(&requirements, &none, &OpenOptions::default()).err().unwrap();
        assert!(error.to_string().contains("slow: lacks cooperative_matrix"), "{error}");
    }

    #[test]
    fn the_measured_one_that_takes_least_is_chosen() {
        let mut calibrations = Calibrations::default();
        for (id, launch, rate) in [("gpu", 1e-4, 1e12), ("cpu", 1e-7, 1e10)] {
            let measured = Calibration::new(&snapshot(id, &[]), [launch, rate, rate, rate]);
            calibrations.insert(measured.unwrap());
        }
        let small = Workload { launches: 1, memory_bytes: 4096, ..Workload::default() };
        let (id, why) = chosen(&Requirements::new().for_work(small), &calibrations);
        assert_eq!(id, "cpu");
        assert!(why.contains("cpu: chosen, estimated to take 510.0ns"), "{why}");
        assert!(
            why.contains("gpu: estimated to take 100.0µs") && why.contains("slow: not measured"),
            "{why}"
        );
        let large = Workload { memory_bytes: 1 << 30, ..small };
        assert_eq!(chosen(&Requirements::new().for_work(large), &calibrations).0, "gpu");
        assert_eq!(chosen(&Requirements::new().for_work(small), &Calibrations::default()).0, "gpu");
    }
}
