//! Tuned kernels for programs: available immediately with a recorded or heuristic configuration, and improved by tuning
//! in the background.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use fulgurite_hal::{Error, LaunchOptions};
use fulgurite_runtime::{BufferView, Device};
use fulgurite_spec::Diagnostic;

use crate::error::Notices;
use crate::family::Family;
use crate::instance::Instance;
use crate::key::AutotuneKey;
use crate::policy::{AutotuneMode, AutotunePolicy};
use crate::prepared::{Prepared, candidate_id};
use crate::record::AutotuneRecord;
use crate::store::AutotuneStore;
use crate::tune::{TuneOptions, TuneReport, tune};

/// Provides a program with the fastest known configurations for its device. Clones share all state.
#[derive(Clone)]
pub struct Tuner {
    shared: Arc<Shared>,
}

struct Shared {
    device: Device,
    store: AutotuneStore,
    policy: AutotunePolicy,
    given: Mutex<HashMap<AutotuneKey, Tuned>>,
    notices: Notices,
    /// Serializes tuning.
    turn: Mutex<()>,
}

/// The origin of a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Source {
    /// The family's heuristic.
    Heuristic,
    /// A record.
    Record,
    /// Tuned by this process.
    Tuned,
}

/// The kernels of a problem in the best known configuration. Clones share all state.
#[derive(Clone)]
pub struct Tuned {
    cell: Arc<Cell>,
}

struct Cell {
    current: RwLock<Current>,
    background: Mutex<Background>,
    ended: Condvar,
}

#[derive(Clone)]
struct Current {
    prepared: Arc<Prepared>,
    name: String,
    source: Source,
}

/// State of the tuning thread.
enum Background {
    None,
    Running,
    Ended(Option<Error>),
}

impl Tuner {
    /// Creates a tuner for `device` with the records of `store`. Fields not set in `policy` come from the environment;
    /// invalid values there cause a warning.
    pub fn new(device: Device, store: AutotuneStore, policy: &AutotunePolicy) -> Self {
        let (environment, bad) = AutotunePolicy::from_env();
        let notices = Notices::default();
        if let Some(bad) = bad {
            notices.say(bad);
        }
        let policy = environment.merged(policy);
        Self {
            shared: Arc::new(Shared {
                device,
                store,
                policy,
                given: Mutex::default(),
                notices,
                turn: Mutex::default(),
            }),
        }
    }

    /// Returns the device.
    pub fn device(&self) -> &Device {
        &self.shared.device
    }

    /// Returns the records.
    pub fn store(&self) -> &AutotuneStore {
        &self.shared.store
    }

    /// Returns the distinct warnings of the tuner and its store.
    pub fn notices(&self) -> Vec<Diagnostic> {
        let mut all = self.shared.notices.all();
        all.extend(self.shared.store.notices());
        all
    }

    fn mode(&self) -> AutotuneMode {
        self.shared.policy.mode.unwrap_or(AutotuneMode::Cached)
    }

    fn options(&self) -> TuneOptions {
        let policy = &self.shared.policy;
        let defaults = TuneOptions::default();
        TuneOptions {
            budget: policy.budget.or(defaults.budget),
            max_candidates: policy.max_candidates,
            seed: policy.seed.unwrap_or(defaults.seed),
            ..defaults
        }
    }

    /// Returns the kernels of `family` for `problem`, ready to launch, with the best recorded or else the heuristic
    /// configuration. Nothing is measured before the return. In mode [`AutotuneMode::On`], a thread then tunes problems
    /// that are not fully recorded, and later launches use the result.
    ///
    /// # Errors
    /// `FG1105` if no configuration fits; errors of compilation.
    pub fn get<F: Family>(&self, family: F, problem: &F::Problem) -> Result<Tuned, Error> {
        let instance = Instance::new(Arc::new(family), self.shared.device.snapshot(), problem)?;
        self.get_instance(instance)
    }

    fn get_instance(&self, instance: Instance) -> Result<Tuned, Error> {
        let options = self.options();
        // Problems that share a bucket have different plans.
        let key = AutotuneKey { bucket: instance.problem.clone(), ..instance.key(&options.measure.key()) };
        if let Some(known) = lock(&self.shared.given).get(&key) {
            return Ok(known.clone());
        }
        let (first, complete) = self.first(&instance, &options)?;
        let tuned = Tuned::new(first);
        // If another thread was faster, drop this one before it tunes anything.
        let mut given = lock(&self.shared.given);
        let known = given.entry(key).or_insert_with(|| tuned.clone()).clone();
        drop(given);
        if Arc::ptr_eq(&known.cell, &tuned.cell) && self.mode() == AutotuneMode::On && !complete {
            self.tune_in_background(&tuned, instance, options);
        }
        Ok(known)
    }

    /// Returns the configuration to use immediately, and whether nothing is left to tune.
    fn first(&self, instance: &Instance, options: &TuneOptions) -> Result<(Current, bool), Error> {
        let of = |at: usize, prepared: Prepared, source| Current {
            prepared: Arc::new(prepared),
            name: instance.candidates[at].name(),
            source,
        };
        if self.mode() != AutotuneMode::Off
            && let Some(record) = self.shared.store.get(&instance.key(&options.measure.key()))
            && let Some((at, prepared, has_changed)) = recorded_best(&self.shared.device, instance, &record)
        {
            let known = |config: &toml::Table| record.candidates().values().any(|row| row.config == *config);
            let all_known = || instance.candidates.iter().all(|candidate| known(&candidate.config));
            let is_large = instance.candidates.len() > options.exhaustive_up_to;
            let complete = !has_changed && (is_large || all_known());
            return Ok((of(at, prepared, Source::Record), complete));
        }
        let plan = instance.candidates[instance.heuristic].plan()?;
        let prepared = Prepared::new(&self.shared.device, plan)?;
        Ok((of(instance.heuristic, prepared, Source::Heuristic), false))
    }

    fn tune_in_background(&self, tuned: &Tuned, instance: Instance, options: TuneOptions) {
        *lock(&tuned.cell.background) = Background::Running;
        let (tuner, cell) = (self.clone(), Arc::clone(&tuned.cell));
        let work = move || {
            // Notify waiting threads even after a panic.
            let _told = Ending(&cell);
            let result = tuner.tune_and_swap(&cell, &instance, &options);
            if let Err(error) = &result {
                tracing::warn!("{} {}: {error}", instance.family, instance.problem);
            }
            *lock(&cell.background) = Background::Ended(result.err());
        };
        let started = std::thread::Builder::new().name("fulgurite autotune".to_owned()).spawn(work);
        if let Err(error) = started {
            *lock(&tuned.cell.background) = Background::Ended(Some(Error::Internal(error.to_string())));
        }
    }

    fn tune_and_swap(&self, cell: &Cell, instance: &Instance, options: &TuneOptions) -> Result<(), Error> {
        let report = self.tune_alone(instance, options)?;
        cell.swap(self.save_and_prepare(instance, &report)?);
        Ok(())
    }

    /// Tunes exclusively, because concurrent measurements would disturb each other.
    fn tune_alone(&self, instance: &Instance, options: &TuneOptions) -> Result<TuneReport, Error> {
        let _turn = lock(&self.shared.turn);
        tune(&self.shared.device, instance, &self.shared.store, options)
    }

    /// Saves the results and prepares the best configuration.
    fn save_and_prepare(&self, instance: &Instance, report: &TuneReport) -> Result<Current, Error> {
        if let Err(error) = self.shared.store.save() {
            self.shared.notices.say(error.diagnostic());
        }
        let best = &instance.candidates[report.best];
        Ok(Current {
            prepared: Arc::new(Prepared::new(&self.shared.device, best.plan()?)?),
            name: best.name(),
            source: Source::Tuned,
        })
    }

    /// Tunes `problem` now, regardless of the mode, saves the result and uses it from then on.
    ///
    /// # Errors
    /// As for [`tune`](crate::tune()).
    pub fn tune<F: Family>(
        &self,
        family: F,
        problem: &F::Problem,
        options: &TuneOptions,
    ) -> Result<TuneReport, Error> {
        let instance = Instance::new(Arc::new(family), self.shared.device.snapshot(), problem)?;
        let report = self.tune_alone(&instance, options)?;
        let key = AutotuneKey { bucket: instance.problem.clone(), ..report.key.clone() };
        let current = self.save_and_prepare(&instance, &report)?;
        let mut given = lock(&self.shared.given);
        given.entry(key).or_insert_with(|| Tuned::new(current.clone())).cell.swap(current);
        Ok(report)
    }
}

/// Returns the fastest recorded candidate that this instance still has: its index, its compiled plan, and whether the
/// record has a faster one whose executable has changed since, so that its measurement is void.
fn recorded_best(
    device: &Device,
    instance: &Instance,
    record: &AutotuneRecord,
) -> Option<(usize, Prepared, bool)> {
    let mut has_changed = false;
    record.ranking().into_iter().find_map(|(id, row)| {
        let at = instance.position(&row.config)?;
        let candidate = &instance.candidates[at];
        if candidate_id(device, candidate).ok()? != *id {
            has_changed = true;
            return None;
        }
        Some((at, Prepared::new(device, candidate.plan().ok()?).ok()?, has_changed))
    })
}

impl fmt::Debug for Tuner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tuner({:?}, {:?})", self.shared.device, self.mode())
    }
}

impl Cell {
    /// Makes later launches use `current`.
    fn swap(&self, current: Current) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = current;
    }
}

impl Tuned {
    fn new(current: Current) -> Self {
        let (background, ended) = (Mutex::new(Background::None), Condvar::new());
        Self { cell: Arc::new(Cell { current: RwLock::new(current), background, ended }) }
    }

    fn current(&self) -> Current {
        self.cell.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Launches the kernels and waits.
    ///
    /// # Errors
    /// As for [`Prepared::launch`].
    pub fn launch(&self, arguments: &[BufferView], options: &LaunchOptions) -> Result<(), Error> {
        self.current().prepared.launch(arguments, options)
    }

    /// Launches the kernels, waits, and returns the device time.
    ///
    /// # Errors
    /// As for [`Prepared::launch`].
    pub fn timed(&self, arguments: &[BufferView], options: &LaunchOptions) -> Result<Duration, Error> {
        self.current().prepared.timed(arguments, options)
    }

    /// Returns the configuration in use, on one line.
    pub fn config(&self) -> String {
        self.current().name
    }

    /// Returns the origin of the configuration in use.
    pub fn source(&self) -> Source {
        self.current().source
    }

    /// Waits for background tuning, for at most `timeout`. Returns whether it has finished.
    ///
    /// # Errors
    /// The error of the tuning.
    pub fn wait(&self, timeout: Duration) -> Result<bool, Error> {
        let until = Instant::now().checked_add(timeout);
        let mut background = lock(&self.cell.background);
        loop {
            match &*background {
                Background::None | Background::Ended(None) => return Ok(true),
                Background::Ended(Some(error)) => return Err(error.clone()),
                Background::Running => {}
            }
            let left = until.map_or(timeout, |until| until.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return Ok(false);
            }
            let waited = self.cell.ended.wait_timeout(background, left);
            background = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl fmt::Debug for Tuned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let current = self.current();
        write!(f, "Tuned({}, {:?})", current.name, current.source)
    }
}

/// Notifies waiting threads on drop that tuning has ended.
struct Ending<'c>(&'c Cell);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        let mut background = lock(&self.0.background);
        if matches!(*background, Background::Running) {
            let message = String::from("background tuning ended without a result");
            *background = Background::Ended(Some(Error::Internal(message)));
        }
        self.0.ended.notify_all();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Locked values are replaced as a whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
