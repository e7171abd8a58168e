//! Routing: selects a backend by required capabilities, preference and measured cost.

use std::sync::Arc;
use std::time::Duration;

use fulgurite_hal::{Backend, Error, Registration};
use fulgurite_spec::device::Capability;

use crate::calibration::{Calibrations, Workload};
use crate::registry::{Considered, Registry, Route, Verdict, none};

/// The criteria for selecting a backend, applied in this order: required capabilities, preference, measured cost, rank.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Requirements {
    /// The required capabilities.
    pub needs: Vec<Capability>,
    /// Ids of the preferred backends, the most preferred first. Others are selected only with
    /// [`fallback`](Self::fallback).
    pub prefer: Vec<String>,
    /// Whether a backend that is not preferred may be selected.
    pub fallback: bool,
    /// The planned work. Of the calibrated backends, the one with the lowest estimated time is selected.
    pub work: Option<Workload>,
}

impl Requirements {
    /// Returns requirements that every backend meets.
    pub fn new() -> Self {
        Self::default()
    }

    /// Requires `capability`.
    #[must_use]
    pub fn needs(mut self, capability: Capability) -> Self {
        self.needs.push(capability);
        self
    }

    /// Prefers the backend `id` to those added later.
    #[must_use]
    pub fn prefer(mut self, id: impl Into<String>) -> Self {
        self.prefer.push(id.into());
        self
    }

    /// Allows other backends where no preferred one qualifies. The route gives the reasons.
    #[must_use]
    pub fn or_any(mut self) -> Self {
        self.fallback = true;
        self
    }

    /// Prefers the backend with the lowest estimated time for `work`.
    #[must_use]
    pub fn for_work(mut self, work: Workload) -> Self {
        self.work = Some(work);
        self
    }
}

/// A backend that opened and has the required capabilities.
struct Fit {
    backend: Arc<dyn Backend>,
    /// Its index among the candidates considered.
    place: usize,
}

impl Registry {
    /// Selects a backend by `requirements` and opens it. Other candidates may be opened and closed again to read their
    /// capabilities.
    ///
    /// # Errors
    /// `FG0404` with the reason for each candidate if none qualifies; device failures and internal errors unchanged.
    pub fn route_for(
        &self,
        requirements: &Requirements,
        calibrations: &Calibrations,
    ) -> Result<Route, Error> {
        let mut considered = Vec::new();
        for id in &requirements.prefer {
            match self.get(id) {
                Some(registration) => {
                    if let Some(fit) = consider(registration, requirements, &mut considered)? {
                        considered[fit.place].verdict = Verdict::Chosen;
                        let rest = self
                            .list()
                            .filter(|other| !requirements.prefer.iter().any(|id| id == other.id()));
                        let rest: Vec<_> =
                            rest.map(|other| Considered::new(other, Verdict::NotPreferred)).collect();
                        considered.extend(rest);
                        return Ok(Route { backend: fit.backend, considered });
                    }
                }
                None => {
                    let missing = Error::unavailable(id, "it is not registered");
                    considered.push(Considered {
                        id: id.clone(),
                        rank: 0,
                        verdict: Verdict::Failed(missing),
                    });
                }
            }
        }
        if !requirements.prefer.is_empty() && !requirements.fallback {
            return Err(none(&considered));
        }
        let mut fits = Vec::new();
        for registration in self.list().filter(|r| !requirements.prefer.iter().any(|id| id == r.id())) {
            // Without measured cost, the highest rank that qualifies is selected.
            if requirements.work.is_none() && !fits.is_empty() {
                considered.push(Considered::new(registration, Verdict::LowerRank));
                continue;
            }
            fits.extend(consider(registration, requirements, &mut considered)?);
        }
        let estimates: Vec<Option<Duration>> = fits
            .iter()
            .map(|fit| Some(calibrations.get(fit.backend.snapshot())?.estimate(requirements.work.as_ref()?)))
            .collect();
        let least = estimates.iter().flatten().min().copied();
        // The highest rank if none was measured.
        let chosen = estimates.iter().position(|estimate| *estimate == least).filter(|_| !fits.is_empty());
        for (i, (fit, estimate)) in fits.iter().zip(&estimates).enumerate() {
            considered[fit.place].verdict = match (Some(i) == chosen, estimate, least) {
                (true, Some(time), _) => Verdict::Fastest(*time),
                (true, None, _) => Verdict::Chosen,
                (false, Some(time), _) => Verdict::Slower(*time),
                (false, None, Some(_)) => Verdict::NotMeasured,
                (false, None, None) => Verdict::LowerRank,
            };
        }
        match chosen.map(|i| fits.swap_remove(i).backend) {
            Some(backend) => Ok(Route { backend, considered }),
            None => Err(none(&considered)),
        }
    }
}

/// Opens a backend and checks its capabilities; records the verdict.
fn consider(
    registration: &Registration,
    requirements: &Requirements,
    considered: &mut Vec<Considered>,
) -> Result<Option<Fit>, Error> {
    let place = considered.len();
    let (verdict, fit) = match registration.open() {
        Ok(backend) => {
            let lacks = requirements.needs.iter().filter(|need| !backend.snapshot().has(**need));
            let lacks: Vec<Capability> = lacks.copied().collect();
            match lacks.is_empty() {
                true => (Verdict::Chosen, Some(Fit { backend, place })),
                false => (Verdict::Lacks(lacks), None),
            }
        }
        // Device failures and internal errors are not skipped silently.
        Err(error @ (Error::Unavailable { .. } | Error::Unsupported(_))) => (Verdict::Failed(error), None),
        Err(error) => return Err(error),
    };
    considered.push(Considered::new(registration, verdict));
    Ok(fit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibration::Calibration;
    use crate::registry::tests::Idle;
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
            let open =
                move || -> Result<Arc<dyn Backend>, Error> { Ok(Arc::new(Idle(snapshot(id, capabilities)))) };
            registry.register(Registration::new(id, rank, open)).unwrap();
        }
        let gone = || Err(Error::unavailable("gone", "no driver"));
        registry.register(Registration::new("gone", 20, gone)).unwrap();
        registry
    }

    fn chosen(requirements: &Requirements, calibrations: &Calibrations) -> (String, String) {
        let route = registry().route_for(requirements, calibrations).unwrap();
        (route.backend().snapshot().backend.clone(), route.to_string())
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
        let error = registry().route_for(&requirements, &none).err().unwrap();
        assert_eq!(error.code(), Code::NoBackend);
        assert!(error.to_string().contains("absent: not available, it is not registered"), "{error}");
        let (id, why) = chosen(&requirements.or_any(), &none);
        assert_eq!(id, "gpu");
        assert!(why.contains("gone: not available, no driver"), "{why}");
        let requirements = Requirements::new().needs(Capability::CooperativeMatrix);
        let error = registry().route_for(&requirements, &none).err().unwrap();
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
