//! What a caller or the environment may ask of the backend before it opens a device.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use fulgurite_hal::OpenOptions;
use fulgurite_ir::VerifiedKernel;
use fulgurite_pipeline_cache::{CacheOptions, Layer, TrustedPack};

/// Options of opening the backend.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// Run under `VK_LAYER_KHRONOS_validation` and keep what it says. It is an error if the layer is missing.
    pub validation: bool,
    /// Which device: its index in the loader's order, or part of its name in any case. Default: the best one.
    pub device: Option<String>,
    /// Keep buffers in the device's own memory and copy through staging buffers, even where the host could map
    /// them. A device that does not share its memory does so anyway.
    pub staging: bool,
    /// Reach every buffer by its device address where the device has 64-bit integers, not only buffers too large for a
    /// descriptor.
    pub addresses: bool,
    /// Lowers by these rules instead of those that the driver needs: names of [`Rules`](fulgurite_spirv::Rules) with commas
    /// between them, or `all` or `none`. Shows what a rule costs, or whether a driver needs it. With a rule left out that the
    /// driver needs, results are wrong.
    pub rules: Option<String>,
    /// Where what probes find out about devices is kept. Default: nowhere, so each opening probes.
    pub probe_directory: Option<PathBuf>,
    /// Where compiled kernels are kept. Default: nowhere, so each process compiles.
    pub cache_directory: Option<PathBuf>,
    /// Packs of compiled kernels that are looked into, too.
    pub packs: Vec<TrustedPack>,
    /// Kernels whose compiled forms are read from the cache while the device is made.
    pub prefetch: Prefetch,
    /// How long a launch that timed out may take to come back before the device is given up as lost; the caller waits
    /// that long. Default: 10 seconds for a kernel that can be told to end (its loops poll), and for any other, which
    /// always ends by itself, ten times its timeout but at least 60 seconds.
    pub grace_period: Option<Duration>,
    /// How long the driver may take to compile a kernel, each of its forms by itself; a compile that takes longer is an error
    /// (`FG0614`). No driver can be told to stop, so it goes on in the background. Default: two minutes.
    pub compile_limit: Option<Duration>,
}

/// Kernels to be read ahead. Two lists are equal if their kernels are, whatever their names.
#[derive(Clone, Default)]
pub struct Prefetch(Vec<Arc<VerifiedKernel>>);

impl Prefetch {
    /// The kernels.
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

impl Options {
    /// Options from the environment: `FULGURITE_VULKAN_VALIDATION` and `FULGURITE_VULKAN_ADDRESSES` (any value but `0`
    /// turns them on), `FULGURITE_VULKAN_DEVICE`, `FULGURITE_VULKAN_RULES`, and the folders `probes` and `pipelines` in the
    /// [root of all that is kept](fulgurite_pipeline_cache::default_root).
    pub fn from_env() -> Self {
        let root = fulgurite_pipeline_cache::default_root();
        Self::from_variables(|name| std::env::var_os(name), root)
    }

    /// Options from those that any backend is opened with: their extras of type `Options`, else [`Options::from_env`]; and
    /// over them their cache directory, their packs (extras of type `Vec<TrustedPack>`) and their kernels to be read ahead.
    pub fn of(open: &OpenOptions) -> Self {
        let own = open.get::<Self>().cloned().unwrap_or_else(Self::from_env);
        let own = open.cache_directory.iter().fold(own, |own, directory| own.cache_directory(directory));
        let packs = open.get::<Vec<TrustedPack>>().into_iter().flatten();
        packs.fold(own, |own, pack| own.pack(pack.clone())).prefetch(open.prefetch.iter().cloned())
    }

    /// [`Options::from_env`] on given variables.
    fn from_variables(variable: impl Fn(&str) -> Option<OsString>, root: Option<PathBuf>) -> Self {
        // What is no text fits no device and no rule; it is refused as such, not ignored.
        let text = |name: &str| {
            variable(name).map(|v| v.to_string_lossy().into_owned()).filter(|v| !v.trim().is_empty())
        };
        Self {
            validation: text("FULGURITE_VULKAN_VALIDATION").is_some_and(|v| v.trim() != "0"),
            device: text("FULGURITE_VULKAN_DEVICE").map(|v| v.trim().to_owned()),
            staging: false,
            addresses: text("FULGURITE_VULKAN_ADDRESSES").is_some_and(|v| v.trim() != "0"),
            rules: text("FULGURITE_VULKAN_RULES").map(|v| v.trim().to_owned()),
            grace_period: None,
            compile_limit: None,
            probe_directory: root.as_ref().map(|path| path.join("probes")),
            cache_directory: root.map(|path| path.join("pipelines")),
            packs: Vec::new(),
            prefetch: Prefetch::default(),
        }
    }

    /// Runs under the validation layer, or not.
    #[must_use]
    pub fn validation(mut self, on: bool) -> Self {
        self.validation = on;
        self
    }

    /// Chooses a device by index or part of its name.
    #[must_use]
    pub fn device(mut self, selector: impl Into<String>) -> Self {
        self.device = Some(selector.into());
        self
    }

    /// Stages all copies, or maps where that is possible.
    #[must_use]
    pub fn staging(mut self, on: bool) -> Self {
        self.staging = on;
        self
    }

    /// Reaches every buffer by its address, or only large ones.
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

    /// Waits no longer than this for a launch that timed out.
    #[must_use]
    pub fn grace_period(mut self, limit: Duration) -> Self {
        self.grace_period = Some(limit);
        self
    }

    /// Waits no longer than this for the driver to compile a kernel.
    #[must_use]
    pub fn compile_limit(mut self, limit: Duration) -> Self {
        self.compile_limit = Some(limit);
        self
    }

    /// Keeps compiled kernels in `directory`.
    #[must_use]
    pub fn cache_directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.cache_directory = Some(directory.into());
        self
    }

    /// Looks into `pack`, too, for lowered kernels and driver binaries.
    #[must_use]
    pub fn pack(mut self, pack: TrustedPack) -> Self {
        self.packs.push(pack);
        self
    }

    /// Reads what is kept of `kernels` while the device is made.
    #[must_use]
    pub fn prefetch(mut self, kernels: impl IntoIterator<Item = Arc<VerifiedKernel>>) -> Self {
        self.prefetch.0.extend(kernels);
        self
    }

    /// The options of the pipeline cache.
    pub(crate) fn cache(&self) -> CacheOptions {
        let options = match &self.cache_directory {
            Some(directory) => CacheOptions::in_folder(directory),
            None => CacheOptions::memory_only(),
        };
        self.packs.iter().fold(options, |options, pack| options.layer(Layer::Pack(pack.clone())))
    }

    /// Keeps what probes find out in `directory`.
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
        ]);
        assert!(all.validation && all.addresses);
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
        // SAFETY: there is nothing in it.
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
