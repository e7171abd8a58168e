//! A family, a problem and a device put together: candidates whose types are forgotten, as search and records see them.

use std::fmt;
use std::sync::Arc;

use fulgurite_hal::Error;
use fulgurite_spec::Code;
use fulgurite_spec::device::DeviceSnapshot;

use crate::family::{Argument, Family, Numbers, Plan, Summary, Trial, Work};
use crate::key::{AutotuneKey, DeviceKey};

/// A family for one problem on one device.
pub struct Instance {
    /// The family's id.
    pub family: String,
    /// The family's version.
    pub version: u32,
    /// The problem, as text.
    pub problem: String,
    /// The problems that share a record with it.
    pub bucket: String,
    /// The device.
    pub device: DeviceSnapshot,
    /// Every configuration, without doubles; the heuristic's is among them.
    pub candidates: Vec<Candidate>,
    /// Which of them the heuristic names.
    pub heuristic: usize,
    /// The arguments of a launch.
    pub arguments: Vec<Argument>,
    /// What its time is put in proportion to.
    pub work: Work,
    trial: Box<dyn Fn(Numbers, u64) -> Trial + Send + Sync>,
}

/// One configuration of an [`Instance`].
pub struct Candidate {
    /// The configuration, as records keep it.
    pub config: toml::Table,
    /// What people look for first.
    pub summary: Summary,
    /// How promising it is: less is tried first.
    pub prior: f64,
    plan: Box<dyn Fn() -> Result<Plan, Error> + Send + Sync>,
}

impl Candidate {
    /// What it launches.
    ///
    /// # Errors
    /// What is wrong with its kernels.
    pub fn plan(&self) -> Result<Plan, Error> {
        (self.plan)()
    }

    /// The configuration on one line.
    pub fn name(&self) -> String {
        config_name(&self.config)
    }
}

/// A configuration on one line: `tile = 64, padding = 1`.
pub fn config_name(config: &toml::Table) -> String {
    let fields: Vec<_> = config.iter().map(|(name, value)| format!("{name} = {value}")).collect();
    fields.join(", ")
}

impl Instance {
    /// `family` for `problem` on `device`.
    ///
    /// # Errors
    /// `FG1105` if no configuration fits; [`Error::Internal`] for a configuration that no record can keep.
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
                takes => format!("; it takes {takes}"),
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

    /// As [`new`](Self::new), with the problem as text.
    ///
    /// # Errors
    /// `FG1106` for text that states none, and as [`new`](Self::new).
    pub fn parse<F: Family>(family: Arc<F>, device: &DeviceSnapshot, problem: &str) -> Result<Self, Error> {
        let problem = parse_problem(&*family, problem)?;
        Self::new(family, device, &problem)
    }

    /// Arguments to run on, and what must come out.
    pub fn trial(&self, numbers: Numbers, seed: u64) -> Trial {
        (self.trial)(numbers, seed)
    }

    /// The key of its record, with what was measured by `policy`.
    pub fn key(&self, policy: &str) -> AutotuneKey {
        AutotuneKey {
            device: DeviceKey::of(&self.device),
            family: self.family.clone(),
            version: self.version,
            bucket: self.bucket.clone(),
            policy: policy.to_owned(),
        }
    }

    /// The candidate with this configuration.
    pub fn position(&self, config: &toml::Table) -> Option<usize> {
        self.candidates.iter().position(|candidate| candidate.config == *config)
    }
}

/// The problem of `family` that a text states.
///
/// # Errors
/// `FG1106` if it states none.
pub fn parse_problem<F: Family>(family: &F, text: &str) -> Result<F::Problem, Error> {
    text.parse().map_err(|reason| {
        let message = format!("`{text}` is no problem of `{}`: {reason}", family.id());
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
