//! An open device: its compiled kernels, submissions and counters.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fulgurite_hal::{
    self as hal, CacheReport, CompileOptions, DeviceError, Error, Executable, Invalidated, LaunchOptions,
    LaunchReport,
};
use fulgurite_ir::{Digest, VerifiedKernel};
use fulgurite_spec::cache::{CacheAudit, CacheOrigin, CacheOutcome};
use fulgurite_spec::device::DeviceSnapshot;

use crate::buffer::Buffer;
use crate::counters::{Counters, Counting, add};
use crate::manifest::Manifest;
use crate::passes::{adapt, optimize};
use crate::program::Program;
use crate::sync::{Mutex, lock};
use crate::worker::Worker;

/// The key of a compiled kernel: the kernel as submitted, and its compile options.
type Key = (Digest, CompileOptions);

/// The entry of one compiled kernel. It is locked while the kernel is compiled, so that other callers wait.
type Place = Arc<Mutex<Option<Made>>>;

/// A compiled kernel.
struct Made {
    /// The kernel that asked for it.
    kernel: Arc<VerifiedKernel>,
    /// The same kernel after all passes, as the backend got it.
    optimized: Arc<VerifiedKernel>,
    executable: Arc<dyn Executable>,
}

/// Returns whether errors and manifests show two kernels of the same digest alike.
fn has_same_names(a: &VerifiedKernel, b: &VerifiedKernel) -> bool {
    let buffers =
        || a.buffers.iter().map(|buffer| &buffer.name).eq(b.buffers.iter().map(|buffer| &buffer.name));
    let params = || a.params.iter().map(|param| &param.name).eq(b.params.iter().map(|param| &param.name));
    a.name == b.name && buffers() && params()
}

/// An open device: allocates buffers, compiles kernels, counts. Cheap to clone; clones share everything.
///
/// All methods may be called from several threads at once. Work runs in the order of submission; a blocking launch
/// runs after everything submitted before it.
#[derive(Clone)]
pub struct Device {
    shared: Arc<Shared>,
}

/// Limits of the resources that a device retains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Bounds {
    /// The maximum number of submitted launches and replays in progress; further submissions block until one ends.
    /// Default: 1024.
    pub submitted: usize,
    /// The maximum number of compiled kernels retained for reuse. Beyond it the least recently requested ones are
    /// evicted; programs in use keep theirs. Default: 1024.
    pub compiled: usize,
}

impl Bounds {
    /// Sets the maximum number of submissions in progress.
    #[must_use]
    pub fn submitted(mut self, most: usize) -> Self {
        self.submitted = most.max(1);
        self
    }

    /// Sets the maximum number of retained kernels.
    #[must_use]
    pub fn compiled(mut self, most: usize) -> Self {
        self.compiled = most;
        self
    }
}

impl Default for Bounds {
    fn default() -> Self {
        Self { submitted: 1024, compiled: 1024 }
    }
}

/// Compiled kernels, each with the time of its last request.
#[derive(Default)]
struct Compiled {
    places: HashMap<Key, (u64, Place)>,
    asked: u64,
}

impl Compiled {
    /// Returns the entry of a kernel. There are at most `most` entries, besides those being compiled.
    fn place(&mut self, key: Key, most: usize) -> Place {
        self.asked += 1;
        if self.places.len() > most && !self.places.contains_key(&key) {
            self.make_room(most);
        }
        let (asked, place) = self.places.entry(key).or_default();
        *asked = self.asked;
        Arc::clone(place)
    }

    /// Evicts the least recently requested eighth of the entries, except those being compiled.
    fn make_room(&mut self, most: usize) {
        let mut all: Vec<u64> = self.places.values().map(|(asked, _)| *asked).collect();
        let goes = (all.len() - most + most / 8).min(all.len());
        let last = *all.select_nth_unstable(goes - 1).1;
        self.places.retain(|_, (asked, place)| *asked > last || Arc::strong_count(place) > 1);
    }
}

struct Shared {
    raw: Arc<dyn hal::Device>,
    compile: CompileOptions,
    launch: LaunchOptions,
    bounds: Bounds,
    compiled: Mutex<Compiled>,
    worker: Worker,
    counting: Counting,
    /// The number of buffers allocated so far.
    generations: AtomicU64,
}

impl Device {
    /// Returns the engine around `raw` with the given options, which those of a program and then of a launch override
    /// field by field.
    pub fn new(raw: Arc<dyn hal::Device>, compile: CompileOptions, launch: LaunchOptions) -> Self {
        Self::with_bounds(raw, compile, launch, Bounds::default())
    }

    /// Returns a device like [`new`](Self::new), with the given limits.
    pub fn with_bounds(
        raw: Arc<dyn hal::Device>,
        compile: CompileOptions,
        launch: LaunchOptions,
        bounds: Bounds,
    ) -> Self {
        let shared = Shared {
            raw,
            compile,
            launch,
            bounds,
            compiled: Mutex::default(),
            worker: Worker::new(bounds.submitted),
            counting: Counting::default(),
            generations: AtomicU64::new(0),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Returns the backend's device, which this one drives.
    pub fn raw(&self) -> &Arc<dyn hal::Device> {
        &self.shared.raw
    }

    /// Returns the facts of the device.
    pub fn snapshot(&self) -> &DeviceSnapshot {
        self.shared.raw.snapshot()
    }

    /// Returns the default launch options.
    pub(crate) fn launch_options(&self) -> &LaunchOptions {
        &self.shared.launch
    }

    /// Returns the current values of the counters.
    pub fn counters(&self) -> Counters {
        self.shared.counting.read()
    }

    /// Allocates a buffer of `bytes` bytes, all zero.
    ///
    /// # Errors
    /// `FG0601`, or `FG0403` over the device's limit.
    pub fn zeroed(&self, bytes: u64) -> Result<Buffer, Error> {
        self.worker().check_process()?;
        let raw = self.shared.raw.allocate(bytes)?;
        let generation = self.shared.generations.fetch_add(1, Ordering::Relaxed) + 1;
        Ok(Buffer::new(self.clone(), raw, generation))
    }

    /// Allocates a buffer with a copy of `data`.
    ///
    /// # Errors
    /// Those of [`zeroed`](Self::zeroed) and of the copy.
    pub fn upload(&self, data: &[u8]) -> Result<Buffer, Error> {
        let buffer = self.zeroed(data.len() as u64)?;
        // Nothing that was submitted before can know of it.
        buffer.raw()?.write(0, data)?;
        add(&self.counting().bytes_in, data.len() as u64);
        Ok(buffer)
    }

    /// Compiles `kernel`, or returns the program compiled earlier.
    ///
    /// # Errors
    /// `FG0403` if the device lacks what the kernel needs, or a device error.
    pub fn compile(&self, kernel: &Arc<VerifiedKernel>, options: &CompileOptions) -> Result<Program, Error> {
        Ok(self.compile_with_report(kernel, options)?.0)
    }

    /// Returns `kernel` as the backend gets it from [`compile`](Self::compile): after the passes that `options`, merged with the
    /// device's own, ask for. It is the same kernel if these change nothing.
    ///
    /// # Errors
    /// The kernel does not meet an option: `FG0403`, or why another workgroup size is not possible.
    pub fn optimized(
        &self,
        kernel: &Arc<VerifiedKernel>,
        options: &CompileOptions,
    ) -> Result<Arc<VerifiedKernel>, Error> {
        optimize(kernel, &self.shared.compile.merged(options), self.snapshot())
    }

    /// Returns the id of the program of `kernel`. The driver compiles it only if the backend cannot tell the id
    /// beforehand.
    ///
    /// # Errors
    /// Those of [`compile`](Self::compile).
    pub fn executable_id(
        &self,
        kernel: &Arc<VerifiedKernel>,
        options: &CompileOptions,
    ) -> Result<String, Error> {
        let merged = self.shared.compile.merged(options);
        let optimized = optimize(kernel, &merged, self.snapshot())?;
        Error::check_needs(&optimized, self.snapshot())?;
        match self.shared.raw.executable_id(&optimized, &merged)? {
            Some(id) => Ok(id),
            None => Ok(self.compile(kernel, options)?.id().to_owned()),
        }
    }

    /// Returns the report of the backend's cache of compiled kernels, audited with [`CacheAudit::DEFAULT_THRESHOLD`].
    pub fn cache_report(&self) -> CacheReport {
        self.shared.raw.cache_report().audited(CacheAudit::DEFAULT_THRESHOLD)
    }

    /// Makes the backend's cache entries for later processes durable.
    ///
    /// # Errors
    /// `FG1007` if some entries cannot be made durable; those kernels will be compiled again.
    pub fn flush(&self) -> Result<(), Error> {
        self.shared.raw.flush()
    }

    /// Evicts the programs of `kernel` for all options and removes its entries from the backend's cache. The next
    /// compile starts anew; existing programs remain usable. A variant of the kernel that options changed (workgroup,
    /// math mode) and that only earlier processes compiled is a kernel of its own and stays.
    ///
    /// # Errors
    /// `FG1001` or `FG1003` if the cache may not be written. A failure of one entry is part of the result.
    pub fn invalidate(&self, kernel: &Arc<VerifiedKernel>) -> Result<Invalidated, Error> {
        let digest = kernel.digest();
        let places: Vec<Place> = {
            let mut compiled = lock(&self.shared.compiled);
            compiled.places.extract_if(|(of, _), _| *of == digest).map(|(_, (_, place))| place).collect()
        };
        let mut all = Invalidated::default();
        let mut forms = BTreeMap::from([(digest, Arc::clone(kernel))]);
        for place in places {
            // Waits for whoever compiles it.
            if let Some(Made { optimized, .. }) = &*lock(&place) {
                all.executables += 1;
                forms.insert(optimized.digest(), Arc::clone(optimized));
            }
        }
        for form in forms.values() {
            all.add(self.shared.raw.invalidate(form)?);
        }
        Ok(all)
    }

    /// Compiles like [`compile`](Self::compile) and returns the manifest of the program.
    ///
    /// # Errors
    /// Those of [`compile`](Self::compile).
    pub fn compile_with_report(
        &self,
        kernel: &Arc<VerifiedKernel>,
        options: &CompileOptions,
    ) -> Result<(Program, Manifest), Error> {
        self.compile_tracing(kernel, options).map(|(program, manifest, _)| (program, manifest))
    }

    /// Compiles like [`compile_with_report`](Self::compile_with_report) and returns everything known of the program's
    /// origin.
    pub(crate) fn compile_tracing(
        &self,
        kernel: &Arc<VerifiedKernel>,
        options: &CompileOptions,
    ) -> Result<(Program, Manifest, CacheOrigin), Error> {
        self.worker().check_process()?;
        let span = tracing::debug_span!("compile", kernel = %kernel.name, cache = tracing::field::Empty);
        let _in = span.enter();
        let options = self.shared.compile.merged(options);
        let key = (kernel.digest(), options.clone());
        let (given, kernel) = (kernel, &adapt(kernel, &options, self.snapshot())?);
        // Without the lock of all: other kernels are compiled meanwhile. If the one who compiles this kernel fails or panics,
        // the next of those who wait tries.
        let place = lock(&self.shared.compiled).place(key, self.shared.bounds.compiled);
        let mut here = lock(&place);
        let (executable, optimized, origin) = match &*here {
            Some(made) => {
                add(&self.counting().compiles_reused, 1);
                let optimized = if has_same_names(&made.kernel, given) {
                    Arc::clone(&made.optimized)
                } else {
                    optimize(given, &options, self.snapshot())?
                };
                (Arc::clone(&made.executable), optimized, CacheOrigin::new(CacheOutcome::Memory))
            }
            None => {
                let optimized = optimize(given, &options, self.snapshot())?;
                // The one check of what the kernel needs: backends rely on it.
                Error::check_needs(&optimized, self.snapshot())?;
                let executable = self.shared.raw.compile(Arc::clone(&optimized), &options)?;
                *here = Some(Made {
                    kernel: Arc::clone(given),
                    optimized: Arc::clone(&optimized),
                    executable: Arc::clone(&executable),
                });
                let origin = executable.cache_origin();
                self.counting().compiled(origin);
                (executable, optimized, origin)
            }
        };
        drop(here);
        span.record("cache", tracing::field::display(origin));
        let manifest = Manifest {
            artifact_digest: executable.artifact_digest(),
            ..Manifest::new(self.snapshot(), kernel, executable.id(), &options, origin)
        };
        let program = Program::new(self.clone(), Arc::clone(kernel), optimized, executable, manifest.clone());
        Ok((program, manifest, origin))
    }

    /// Returns whether `other` is a handle of the same device.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }

    pub(crate) fn worker(&self) -> &Worker {
        &self.shared.worker
    }

    pub(crate) fn counting(&self) -> &Counting {
        &self.shared.counting
    }

    /// Counts a finished launch.
    pub(crate) fn count(&self, result: &Result<LaunchReport, Error>) {
        let counting = self.counting();
        match result {
            Ok(report) => {
                add(&counting.launches, 1);
                counting.time(report);
            }
            Err(Error::Device(DeviceError::ReadBack { .. })) => add(&counting.launches, 1),
            Err(_) => add(&counting.failed_launches, 1),
        }
    }
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let snapshot = self.snapshot();
        write!(f, "Device({} on {})", snapshot.backend, snapshot.device)
    }
}
