//! An open backend as one program uses it: what was compiled, submitted and counted.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fulgurite_hal::{
    Backend, CacheReport, CompileOptions, DeviceError, Error, Executable, Invalidated, LaunchOptions,
    LaunchReport,
};
use fulgurite_ir::{Digest, VerifiedKernel};
use fulgurite_spec::cache::{CacheAudit, CacheOrigin, CacheOutcome};
use fulgurite_spec::device::DeviceSnapshot;

use crate::buffer::Buffer;
use crate::counters::{Counters, Counting, add};
use crate::manifest::Manifest;
use crate::program::Program;
use crate::specialize::specialize;
use crate::sync::{Mutex, lock};
use crate::worker::Worker;

/// What compiled kernels are found again by: the kernel as it was given, and how it is compiled.
type Key = (Digest, CompileOptions);

/// The place of one compiled kernel: locked by whoever compiles it, so that others who want it wait.
type Place = Arc<Mutex<Option<Arc<dyn Executable>>>>;

/// An open backend: makes buffers, compiles kernels, counts. Cheap to clone; clones share everything.
///
/// Everything may be used from several threads at once. Work is done in the order in which it was submitted; a launch
/// that waits comes behind all that was submitted before it.
#[derive(Clone)]
pub struct Device {
    shared: Arc<Shared>,
}

/// How much a device holds on to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Bounds {
    /// Submitted launches and replays that have not ended: whoever submits more waits for one to end. Default: 1024.
    pub submitted: usize,
    /// Compiled kernels that are found again without a compile. Of more, those that were not asked for the longest are forgotten;
    /// programs that use one keep it. Default: 1024.
    pub compiled: usize,
}

impl Bounds {
    /// Holds this many submissions.
    #[must_use]
    pub fn submitted(mut self, most: usize) -> Self {
        self.submitted = most.max(1);
        self
    }

    /// Holds this many compiled kernels.
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

/// Compiled kernels, and when each was asked for last.
#[derive(Default)]
struct Compiled {
    places: HashMap<Key, (u64, Place)>,
    asked: u64,
}

impl Compiled {
    /// The place of a kernel, of at most `most` and as many as are made at this time.
    fn place(&mut self, key: Key, most: usize) -> Place {
        self.asked += 1;
        if self.places.len() > most && !self.places.contains_key(&key) {
            self.make_room(most);
        }
        let (asked, place) = self.places.entry(key).or_default();
        *asked = self.asked;
        Arc::clone(place)
    }

    /// Forgets the eighth that was not asked for the longest. What somebody makes at this time stays.
    fn make_room(&mut self, most: usize) {
        let mut all: Vec<u64> = self.places.values().map(|(asked, _)| *asked).collect();
        let goes = (all.len() - most + most / 8).min(all.len());
        let last = *all.select_nth_unstable(goes - 1).1;
        self.places.retain(|_, (asked, place)| *asked > last || Arc::strong_count(place) > 1);
    }
}

struct Shared {
    backend: Arc<dyn Backend>,
    compile: CompileOptions,
    launch: LaunchOptions,
    bounds: Bounds,
    compiled: Mutex<Compiled>,
    worker: Worker,
    counting: Counting,
    /// Buffers made so far.
    generations: AtomicU64,
}

impl Device {
    /// A device of `backend` with options of its own, over which those of a program and then of a launch win, field by
    /// field.
    pub fn new(backend: Arc<dyn Backend>, compile: CompileOptions, launch: LaunchOptions) -> Self {
        Self::with_bounds(backend, compile, launch, Bounds::default())
    }

    /// As [`new`](Self::new), with bounds of one's own.
    pub fn with_bounds(
        backend: Arc<dyn Backend>,
        compile: CompileOptions,
        launch: LaunchOptions,
        bounds: Bounds,
    ) -> Self {
        let shared = Shared {
            backend,
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

    /// The backend.
    pub fn backend(&self) -> &Arc<dyn Backend> {
        &self.shared.backend
    }

    /// What is known of it.
    pub fn snapshot(&self) -> &DeviceSnapshot {
        self.shared.backend.snapshot()
    }

    /// The options of launches that state none.
    pub(crate) fn launch_options(&self) -> &LaunchOptions {
        &self.shared.launch
    }

    /// What was done so far.
    pub fn counters(&self) -> Counters {
        self.shared.counting.read()
    }

    /// A buffer of `bytes` bytes, all zero.
    ///
    /// # Errors
    /// `FG0601`, or `FG0403` over the device's limit.
    pub fn zeroed(&self, bytes: u64) -> Result<Buffer, Error> {
        self.worker().check_process()?;
        let raw = self.shared.backend.allocate(bytes)?;
        let generation = self.shared.generations.fetch_add(1, Ordering::Relaxed) + 1;
        Ok(Buffer::new(self.clone(), raw, generation))
    }

    /// A buffer with a copy of `data`.
    ///
    /// # Errors
    /// As [`zeroed`](Self::zeroed), and what copying meets.
    pub fn upload(&self, data: &[u8]) -> Result<Buffer, Error> {
        let buffer = self.zeroed(data.len() as u64)?;
        // Nothing that was submitted before can know of it.
        buffer.raw()?.write(0, data)?;
        add(&self.counting().bytes_in, data.len() as u64);
        Ok(buffer)
    }

    /// Compiles `kernel`, or finds what was compiled of it before.
    ///
    /// # Errors
    /// `FG0403` if the device lacks what the kernel needs, or what the driver says.
    pub fn compile(&self, kernel: &Arc<VerifiedKernel>, options: &CompileOptions) -> Result<Program, Error> {
        Ok(self.compile_with_report(kernel, options)?.0)
    }

    /// The id that the program of `kernel` has or will have. A driver is asked to compile it only where the backend does not
    /// know its ids before.
    ///
    /// # Errors
    /// As [`compile`](Self::compile).
    pub fn executable_id(
        &self,
        kernel: &Arc<VerifiedKernel>,
        options: &CompileOptions,
    ) -> Result<String, Error> {
        let merged = self.shared.compile.merged(options);
        let special = specialize(kernel, &merged, self.snapshot())?;
        Error::check_needs(&special, self.snapshot())?;
        match self.shared.backend.executable_id(&special, &merged)? {
            Some(id) => Ok(id),
            None => Ok(self.compile(kernel, options)?.id().to_owned()),
        }
    }

    /// What the backend's cache of compiled kernels did so far, audited by [`CacheAudit::DEFAULT_THRESHOLD`].
    pub fn cache_report(&self) -> CacheReport {
        self.shared.backend.cache_report().audited(CacheAudit::DEFAULT_THRESHOLD)
    }

    /// Makes durable what the backend keeps of compiled kernels for later processes.
    ///
    /// # Errors
    /// `FG1007` if some of it cannot be made durable: that will be compiled again.
    pub fn flush(&self) -> Result<(), Error> {
        self.shared.backend.flush()
    }

    /// Forgets what was compiled of `kernel`, with whatever options, and removes what the backend's cache keeps of it. The
    /// next compile makes it anew; programs that were made before go on as they are. A form of the kernel that options
    /// changed (its workgroup, its math) and that only earlier processes compiled is a kernel of its own, and stays.
    ///
    /// # Errors
    /// `FG1001` or `FG1003` if the cache may not be written. What is wrong with one entry is in the answer.
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
            if let Some(executable) = &*lock(&place) {
                all.executables += 1;
                forms.insert(executable.kernel().digest(), Arc::clone(executable.kernel()));
            }
        }
        for form in forms.values() {
            all.add(self.shared.backend.invalidate(form)?);
        }
        Ok(all)
    }

    /// As [`compile`](Self::compile), with what identifies the result.
    ///
    /// # Errors
    /// As [`compile`](Self::compile).
    pub fn compile_with_report(
        &self,
        kernel: &Arc<VerifiedKernel>,
        options: &CompileOptions,
    ) -> Result<(Program, Manifest), Error> {
        self.compile_tracing(kernel, options).map(|(program, manifest, _)| (program, manifest))
    }

    /// As [`compile_with_report`](Self::compile_with_report), with all that is known of where the program came from.
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
        let kernel = &specialize(kernel, &options, self.snapshot())?;
        // Without the lock of all: other kernels are compiled meanwhile. If the one who compiles this kernel fails or panics,
        // the next of those who wait tries.
        let place = lock(&self.shared.compiled).place(key, self.shared.bounds.compiled);
        let mut here = lock(&place);
        let (executable, origin) = match &*here {
            Some(executable) => {
                add(&self.counting().compiles_reused, 1);
                (Arc::clone(executable), CacheOrigin::new(CacheOutcome::Memory))
            }
            None => {
                // The one check of what the kernel needs: backends rely on it.
                Error::check_needs(kernel, self.snapshot())?;
                let made = self.shared.backend.compile(Arc::clone(kernel), &options)?;
                *here = Some(Arc::clone(&made));
                let origin = made.cache_origin();
                self.counting().compiled(origin);
                (made, origin)
            }
        };
        drop(here);
        span.record("cache", tracing::field::display(origin));
        let manifest = Manifest {
            artifact_digest: executable.artifact_digest(),
            ..Manifest::new(self.snapshot(), kernel, executable.id(), &options, origin)
        };
        let program = Program::new(self.clone(), Arc::clone(kernel), executable, manifest.clone());
        Ok((program, manifest, origin))
    }

    /// Whether `other` is a handle of the same device.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }

    pub(crate) fn worker(&self) -> &Worker {
        &self.shared.worker
    }

    pub(crate) fn counting(&self) -> &Counting {
        &self.shared.counting
    }

    /// Counts a launch that ended.
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
