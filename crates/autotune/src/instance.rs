//! A family applied to a problem and a device, with type-erased candidates for search and records.

use std::fmt;
use std::sync::Arc;

use fulgurite_hal::Error;
use fulgurite_spec::Code;
use fulgurite_spec::device::DeviceSnapshot;

use crate::family::{Argument, Family, Numbers, Plan, Summary, Trial, Work};
use crate::key::{AutotuneKey, DeviceKey};

/// A family for one problem on one device.
pub struct Instance {
    /// Family id.
    pub family: String,
    /// Family version.
    pub version: u32,
    /// Problem, as text.
    pub problem: String,
    /// Bucket of the problem.
    pub bucket: String,
    /// Device.
    pub device: DeviceSnapshot,
    /// Distinct configurations, including the heuristic's choice.
    pub candidates: Vec<Candidate>,
    /// Index of the heuristic's choice.
    pub heuristic: usize,
    /// Arguments of a launch.
    pub arguments: Vec<Argument>,
    /// Amount of work, for rates.
    pub work: Work,
    trial: Box<dyn Fn(Numbers, u64) -> Trial + Send + Sync>,
}

/// A configuration of an [`Instance`].
pub struct Candidate {
    /// Configuration, as stored in records.
    pub config: toml::Table,
    /// Main characteristics.
    pub summary: Summary,
    /// Priority; lower ones are tried first.
    pub prior: f64,
    plan: Box<dyn Fn() -> Result<Plan, Error> + Send + Sync>,
}

impl Candidate {
    /// Returns the launches.
    ///
    /// # Errors
    /// Errors of building the kernels.
    pub fn plan(&self) -> Result<Plan, Error> {
        (self.plan)()
    }

    /// Returns the configuration on one line.
    pub fn name(&self) -> String {
        config_name(&self.config)
    }
}

/// Formats a configuration on one line: `tile = 64, padding = 1`.
pub fn config_name(config: &toml::Table) -> String {
    let fields: Vec<_> = config.iter().map(|(name, value)| format!("{name} = {value}")).collect();
    fields.join(", ")
}

impl Instance {
    /// Creates the instance of `family` for `problem` on `device`.
    ///
    /// # Errors
    /// `FG1105` if no configuration fits; [`Error::Internal`] if a configuration cannot be stored in a record.
    pub fn new<F: Family>(
        family: Arc<F>,
        device: &DeviceSnapshot,
        problem: &F::Problem,
    ) -> Result<Self, Error> {
        let mut configs: Vec<F::Config> = Vec::new();
        for config in family.space(device, problem) {
            if !configs.contains(&config) {
                configs.push(config);
            }
        }
        if configs.is_empty() {
            let takes = match family.takes() {
                "" => String::new(),
                takes => format!("; supported: {takes}"),
            };
            let message =
                format!("no configuration of `{}` fits {problem} on {}{takes}", family.id(), device.device);
            return Err(Error::invalid(Code::NoConfiguration, message));
        }
        let first = family.heuristic(device, problem);
        let heuristic = configs.iter().position(|config| *config == first).unwrap_or_else(|| {
            configs.push(first);
            configs.len() - 1
        });
        let candidates = configs.into_iter().map(|config| {
            let table = toml::Table::try_from(&config)
                .map_err(|error| Error::Internal(format!("a configuration of `{}`: {error}", family.id())))?;
            let (family, problem) = (Arc::clone(&family), problem.clone());
            Ok(Candidate {
                config: table,
                summary: family.summary(&config),
                prior: family.prior(device, &problem, &config),
                plan: Box::new(move || family.plan(&config, &problem)),
            })
        });
        Ok(Self {
            family: family.id().to_owned(),
            version: family.version(),
            problem: problem.to_string(),
            bucket: family.bucket(problem),
            device: device.clone(),
            candidates: candidates.collect::<Result<_, Error>>()?,
            heuristic,
            arguments: family.arguments(problem),
            work: family.work(problem),
            trial: {
                let (family, problem) = (Arc::clone(&family), problem.clone());
                Box::new(move |numbers, seed| family.trial(&problem, numbers, seed))
            },
        })
    }

    /// Like [`new`](Self::new), with the problem as text.
    ///
    /// # Errors
    /// `FG1106` if the text is not a problem; otherwise as for [`new`](Self::new).
    pub fn parse<F: Family>(family: Arc<F>, device: &DeviceSnapshot, problem: &str) -> Result<Self, Error> {
        let problem = parse_problem(&*family, problem)?;
        Self::new(family, device, &problem)
    }

    /// Returns input for a run, and the check of its outputs.
    pub fn trial(&self, numbers: Numbers, seed: u64) -> Trial {
        (self.trial)(numbers, seed)
    }

    /// Returns the key of the record for measurements by `policy`.
    pub fn key(&self, policy: &str) -> AutotuneKey {
        AutotuneKey {
            device: DeviceKey::of(&self.device),
            family: self.family.clone(),
            version: self.version,
            bucket: self.bucket.clone(),
            policy: policy.to_owned(),
        }
    }

    /// Returns the index of the candidate with this configuration.
    pub fn position(&self, config: &toml::Table) -> Option<usize> {
        self.candidates.iter().position(|candidate| candidate.config == *config)
    }
}

/// Parses a problem of `family`.
///
/// # Errors
/// `FG1106` if the text is not a problem.
pub fn parse_problem<F: Family>(family: &F, text: &str) -> Result<F::Problem, Error> {
    text.parse().map_err(|reason| {
        let message = format!("`{text}` is not a problem of `{}`: {reason}", family.id());
        Error::invalid(Code::BadProblem, message)
    })
}

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Instance({} {} on {}, {} candidates)",
            self.family,
            self.problem,
            self.device.device,
            self.candidates.len()
        )
    }
}
