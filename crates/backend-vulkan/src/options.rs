//! Options of the backend, from a caller or the environment, before it opens a device.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use fulgurite_hal::OpenOptions;
use fulgurite_ir::VerifiedKernel;
use fulgurite_pipeline_cache::{CacheOptions, Layer, TrustedPack};

/// Options for opening the backend.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// Run under `VK_LAYER_KHRONOS_validation` and keep its messages. It is an error if the layer is missing.
    pub validation: bool,
    /// The device: its index in the loader's order, or part of its name in any case. Default: the best device.
    pub device: Option<String>,
    /// Keep buffers in device memory and copy through staging buffers, even where the host could map device memory.
    /// Always the case on a device that does not share its memory with the host.
    pub staging: bool,
    /// Access every buffer by its device address, not only buffers too large for a descriptor. Requires a device
    /// with 64-bit integers, and has no effect on others.
    pub addresses: bool,
    /// Lower by these rules instead of those that the driver needs: names of [`Rules`](fulgurite_spirv::Rules)
    /// separated by commas, or `all` or `none`. Serves to measure the cost of a rule, or to find out whether a
    /// driver needs it. Results are wrong if a rule is missing that the driver needs.
    pub rules: Option<String>,
    /// Folder for the results of probes. Default: none, so that each opening probes.
    pub probe_directory: Option<PathBuf>,
    /// Folder for compiled kernels. Default: none, so that each process compiles.
    pub cache_directory: Option<PathBuf>,
    /// Packs of compiled kernels to search as well.
    pub packs: Vec<TrustedPack>,
    /// Kernels whose compiled forms are read from the cache while the device is created.
    pub prefetch: Prefetch,
    /// Time that a launch may run past its timeout before the device counts as lost; the caller waits that long.
    /// Default: 10 seconds for a kernel that can be aborted because its loops poll. Any other kernel terminates by
    /// itself and gets ten times its timeout, but at least 60 seconds.
    pub grace_period: Option<Duration>,
    /// Time limit for the driver to compile a kernel, for each of its forms separately; exceeding it is an error
    /// (`FG0614`). The driver cannot be interrupted, so the compile continues in the background. Default: two minutes.
    pub compile_limit: Option<Duration>,
    /// The value of `FULGURITE_VULKAN_COMPILE_LIMIT`, if it is no limit. Opening a device reports it.
    pub(crate) no_limit: Option<String>,
}

/// Kernels to prefetch. Two lists are equal if their kernels are, regardless of the kernels' names.
#[derive(Clone, Default)]
pub struct Prefetch(Vec<Arc<VerifiedKernel>>);

impl Prefetch {
    /// Returns the kernels.
    pub fn kernels(&self) -> &[Arc<VerifiedKernel>] {
        &self.0
    }
}

impl PartialEq for Prefetch {
    fn eq(&self, other: &Self) -> bool {
        self.0.iter().map(|kernel| kernel.digest()).eq(other.0.iter().map(|kernel| kernel.digest()))
    }
}

impl Eq for Prefetch {}

impl fmt::Debug for Prefetch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|kernel| &kernel.name)).finish()
    }
}

/// Parses a number of seconds above 0.
fn seconds(text: &str) -> Option<Duration> {
    let seconds = text.trim().parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds.filter(|limit| !limit.is_zero())
}

impl Options {
    /// Reads options from the environment: `FULGURITE_VULKAN_VALIDATION` and `FULGURITE_VULKAN_ADDRESSES` (on for
    /// any value but `0`), `FULGURITE_VULKAN_DEVICE`, `FULGURITE_VULKAN_RULES`, `FULGURITE_VULKAN_COMPILE_LIMIT` (in
    /// seconds), and the folders `probes` and `pipelines` in the
    /// [default root](fulgurite_pipeline_cache::default_root).
    pub fn from_env() -> Self {
        let root = fulgurite_pipeline_cache::default_root();
        Self::from_variables(|name| std::env::var_os(name), root)
    }

    /// Derives options from those that any backend is opened with. The base is their extra of type `Options`, else
    /// [`Options::from_env`]; their cache directory overrides it, and their packs (an extra of type
    /// `Vec<TrustedPack>`) and kernels to prefetch are added.
    pub fn of(open: &OpenOptions) -> Self {
        let own = open.get::<Self>().cloned().unwrap_or_else(Self::from_env);
        let own = open.cache_directory.iter().fold(own, |own, directory| own.cache_directory(directory));
        let packs = open.get::<Vec<TrustedPack>>().into_iter().flatten();
        packs.fold(own, |own, pack| own.pack(pack.clone())).prefetch(open.prefetch.iter().cloned())
    }

    /// Implements [`Options::from_env`] for given variables.
    fn from_variables(variable: impl Fn(&str) -> Option<OsString>, root: Option<PathBuf>) -> Self {
        // Text that is not UTF-8 matches no device and no rule, so it is refused rather than ignored.
        let text = |name: &str| {
            variable(name).map(|v| v.to_string_lossy().into_owned()).filter(|v| !v.trim().is_empty())
        };
        let limit = text("FULGURITE_VULKAN_COMPILE_LIMIT");
        let compile_limit = limit.as_deref().and_then(seconds);
        Self {
            validation: text("FULGURITE_VULKAN_VALIDATION").is_some_and(|v| v.trim() != "0"),
            device: text("FULGURITE_VULKAN_DEVICE").map(|v| v.trim().to_owned()),
            staging: false,
            addresses: text("FULGURITE_VULKAN_ADDRESSES").is_some_and(|v| v.trim() != "0"),
            rules: text("FULGURITE_VULKAN_RULES").map(|v| v.trim().to_owned()),
            grace_period: None,
            compile_limit,
            no_limit: limit.filter(|_| compile_limit.is_none()),
            probe_directory: root.as_ref().map(|path| path.join("probes")),
            cache_directory: root.map(|path| path.join("pipelines")),
            packs: Vec::new(),
            prefetch: Prefetch::default(),
        }
    }

    /// Sets whether to run under the validation layer.
    #[must_use]
    pub fn validation(mut self, on: bool) -> Self {
        self.validation = on;
        self
    }

    /// Selects a device by index or part of its name.
    #[must_use]
    pub fn device(mut self, selector: impl Into<String>) -> Self {
        self.device = Some(selector.into());
        self
    }

    /// Sets whether to stage all copies, even where the host could map buffers.
    #[must_use]
    pub fn staging(mut self, on: bool) -> Self {
        self.staging = on;
        self
    }

    /// Sets whether to access every buffer by its address, or only large ones.
    #[must_use]
    pub fn addresses(mut self, on: bool) -> Self {
        self.addresses = on;
        self
    }

    /// Lowers by these [`rules`](Self::rules) instead of those that the driver needs.
    #[must_use]
    pub fn rules(mut self, names: impl Into<String>) -> Self {
        self.rules = Some(names.into());
        self
    }

    /// Limits how long a launch may run past its timeout.
    #[must_use]
    pub fn grace_period(mut self, limit: Duration) -> Self {
        self.grace_period = Some(limit);
        self
    }

    /// Limits the time for the driver to compile a kernel.
    #[must_use]
    pub fn compile_limit(mut self, limit: Duration) -> Self {
        self.compile_limit = Some(limit);
        self
    }

    /// Stores compiled kernels in `directory`.
    #[must_use]
    pub fn cache_directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.cache_directory = Some(directory.into());
        self
    }

    /// Also searches `pack` for lowered kernels and driver binaries.
    #[must_use]
    pub fn pack(mut self, pack: TrustedPack) -> Self {
        self.packs.push(pack);
        self
    }

    /// Reads the compiled forms of `kernels` from the cache while the device is created.
    #[must_use]
    pub fn prefetch(mut self, kernels: impl IntoIterator<Item = Arc<VerifiedKernel>>) -> Self {
        self.prefetch.0.extend(kernels);
        self
    }

    /// Returns the options of the pipeline cache.
    pub(crate) fn cache(&self) -> CacheOptions {
        let options = match &self.cache_directory {
            Some(directory) => CacheOptions::in_folder(directory),
            None => CacheOptions::memory_only(),
        };
        self.packs.iter().fold(options, |options, pack| options.layer(Layer::Pack(pack.clone())))
    }

    /// Stores the results of probes in `directory`.
    #[must_use]
    pub fn probe_directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.probe_directory = Some(directory.into());
        self
    }
}

#[cfg(test)]
mod tests {
    use fulgurite_pipeline_cache::{Pack, PackWriter};

    use super::*;

    fn read(variables: &[(&str, &str)]) -> Options {
        Options::from_variables(
            |name| variables.iter().find(|(n, _)| *n == name).map(|(_, v)| OsString::from(v)),
            Some(PathBuf::from("/kept")),
        )
    }

    #[test]
    fn the_environment_sets_each_option() {
        let all = read(&[
            ("FULGURITE_VULKAN_VALIDATION", "1"),
            ("FULGURITE_VULKAN_ADDRESSES", "1"),
            ("FULGURITE_VULKAN_DEVICE", " llvm "),
            ("FULGURITE_VULKAN_RULES", "zeros, signs "),
            ("FULGURITE_VULKAN_COMPILE_LIMIT", " 1.5"),
        ]);
        assert!(all.validation && all.addresses);
        assert_eq!((all.compile_limit, all.no_limit), (Some(Duration::from_millis(1500)), None));
        for bad in ["0", "-1", "inf", "long", "1e30"] {
            let options = read(&[("FULGURITE_VULKAN_COMPILE_LIMIT", bad)]);
            assert_eq!((options.compile_limit, options.no_limit.as_deref()), (None, Some(bad)));
        }
        assert_eq!(all.device.as_deref(), Some("llvm"));
        assert_eq!(all.rules.as_deref(), Some("zeros, signs"));
        #[cfg(unix)]
        {
            use std::os::unix::ffi::OsStringExt as _;
            let odd = |name: &str| {
                (name == "FULGURITE_VULKAN_DEVICE").then(|| OsString::from_vec(vec![b'l', 0xff]))
            };
            assert_eq!(Options::from_variables(odd, None).device.as_deref(), Some("l\u{fffd}"));
        }
        let none = read(&[("FULGURITE_VULKAN_VALIDATION", "0"), ("FULGURITE_VULKAN_DEVICE", "")]);
        assert!(!none.validation && !none.addresses);
        assert_eq!((none.device, none.rules), (None, None));
        assert_eq!(none.probe_directory, Some("/kept/probes".into()));
        assert_eq!(none.cache_directory, Some("/kept/pipelines".into()));
    }
    #[test]
    fn what_any_backend_is_opened_with_wins_over_what_this_one_was_told() {
        let text = "fulgurite 1\nkernel @k workgroup(1, 1, 1) {\n}\n";
        let kernel = Arc::new(fulgurite_ir::text::parse(text).and_then(fulgurite_ir::verify).unwrap());
        let pack = Pack::from_bytes(PackWriter::new().finish()).unwrap();
        // SAFETY: the pack is empty.
        let pack = unsafe { pack.trust() };
        let own = Options::default().device("llvm").cache_directory("/own").pack(pack.clone());
        let open = OpenOptions::new().with(own.clone());
        assert_eq!(Options::of(&open), own);
        let open = open.cache_directory("/theirs").with(vec![pack.clone()]).prefetch([Arc::clone(&kernel)]);
        let expected = own.cache_directory("/theirs").pack(pack).prefetch([kernel]);
        assert_eq!(Options::of(&open), expected);
        assert_eq!(Options::of(&OpenOptions::new()), Options::from_env());
    }
}
