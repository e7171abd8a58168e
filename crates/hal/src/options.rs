//! Options of compiling and of launching. Every field is optional; the later of two merged options wins
//! field by field.

use std::sync::Arc;
use std::time::Duration;

use fulgurite_ir::Grid;
use serde::{Deserialize, Serialize};

/// The precision of float ops for which the kernel states none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MathMode {
    /// As the op table states.
    Strict,
    /// As if each op were `[fast]`: contraction, reassociation and approximation are allowed.
    Fast,
}

/// The amount of optimization. If none is stated, guards and polls go where they are proven needless, and the driver
/// optimizes, or, on a device that does not optimize by itself, all passes run as for [`Full`](Self::Full).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OptimizationLevel {
    /// None: every guard and poll stays, and a driver is asked not to optimize. For debugging.
    None,
    /// Every optimization: before a backend gets the kernel, values are simplified and merged, and what has no use is
    /// removed as well. The kernel that is compiled may then differ from the given one, and has a digest of its own.
    Full,
}

/// The device that a kernel is lowered for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TargetProfile {
    /// The device that compiles it.
    Device,
    /// Every device: no optional capability is used, and a kernel that needs one is refused. The lowered kernel is the same on
    /// all devices with the same quirks, so that one entry of a cache or pack serves them all. Subnormal results may be
    /// flushed, even on a device that can keep them.
    Least,
}

/// How the cache of compiled kernels is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CachePolicy {
    /// Reads the cache, and adds what is compiled.
    Use,
    /// Reads the cache, and does not change it.
    ReadOnly,
    /// Bypasses the cache.
    Off,
}

/// Names of the values of options, for text files.
macro_rules! names {
    ($($option:ident { $($value:ident $name:literal)* })*) => {
        $(
            impl $option {
                fn name(self) -> &'static str {
                    match self {
                        $(Self::$value => $name,)*
                    }
                }

                fn parse(name: &str) -> Option<Self> {
                    match name {
                        $($name => Some(Self::$value),)*
                        _ => None,
                    }
                }
            }
        )*
    };
}

names! {
    MathMode { Strict "strict" Fast "fast" }
    OptimizationLevel { None "none" Full "full" }
    TargetProfile { Device "device" Least "least" }
    CachePolicy { Use "use" ReadOnly "read_only" Off "off" }
}

/// Options that are fixed when a kernel is compiled.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct CompileOptions {
    /// Whether the compiled form keeps the names of values. Default: no.
    pub debug_names: Option<bool>,
    /// A workgroup size that replaces the kernel's. The kernel must be correct at that size.
    pub workgroup: Option<[u32; 3]>,
    /// The subgroup size that the kernel relies on: a device with another size is refused. Default: any.
    pub subgroup_size: Option<u32>,
    /// The precision of float ops. Default: [`MathMode::Strict`].
    pub math: Option<MathMode>,
    /// The amount of optimization. Default: see [`OptimizationLevel`].
    pub optimization: Option<OptimizationLevel>,
    /// The device that the kernel is lowered for. Default: [`TargetProfile::Device`].
    pub profile: Option<TargetProfile>,
    /// The largest error of any float op that is accepted, in units in the last place (ULP) of the true value: a kernel
    /// with an op whose bound is larger, or is not in ULP, is refused. 0 accepts only correctly rounded ops. Default:
    /// the bounds of the op table.
    pub float_budget: Option<u32>,
    /// How the cache of compiled kernels is used, by backends that keep one. Default: [`CachePolicy::Use`].
    pub cache: Option<CachePolicy>,
}

impl CompileOptions {
    /// Returns these options with each field that `over` states replaced.
    #[must_use]
    pub fn merged(&self, over: &Self) -> Self {
        Self {
            debug_names: over.debug_names.or(self.debug_names),
            workgroup: over.workgroup.or(self.workgroup),
            subgroup_size: over.subgroup_size.or(self.subgroup_size),
            math: over.math.or(self.math),
            optimization: over.optimization.or(self.optimization),
            profile: over.profile.or(self.profile),
            float_budget: over.float_budget.or(self.float_budget),
            cache: over.cache.or(self.cache),
        }
    }

    /// Returns the stated options by name, for manifests.
    #[doc(hidden)]
    pub fn stated(&self) -> Vec<(String, String)> {
        let workgroup = self.workgroup.map(|[x, y, z]| format!("{x}, {y}, {z}"));
        [
            ("debug_names", self.debug_names.map(|keep| keep.to_string())),
            ("workgroup", workgroup),
            ("subgroup_size", self.subgroup_size.map(|size| size.to_string())),
            ("math", self.math.map(|mode| mode.name().to_owned())),
            ("optimization", self.optimization.map(|level| level.name().to_owned())),
            ("profile", self.profile.map(|profile| profile.name().to_owned())),
            ("float_budget", self.float_budget.map(|ulp| ulp.to_string())),
            ("cache", self.cache.map(|policy| policy.name().to_owned())),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)))
        .collect()
    }

    /// Parses the options that [`stated`](Self::stated) returned.
    ///
    /// # Errors
    /// The first option that this version does not know.
    #[doc(hidden)]
    pub fn of_stated(stated: &[(String, String)]) -> Result<Self, &(String, String)> {
        let mut options = Self::default();
        for option in stated {
            options.state(&option.0, &option.1).ok_or(option)?;
        }
        Ok(options)
    }

    fn state(&mut self, name: &str, value: &str) -> Option<()> {
        match name {
            "debug_names" => self.debug_names = Some(value.parse().ok()?),
            "workgroup" => {
                let sizes: Vec<u32> =
                    value.split(", ").map(|size| size.parse().ok()).collect::<Option<_>>()?;
                self.workgroup = Some(sizes.try_into().ok()?);
            }
            "subgroup_size" => self.subgroup_size = Some(value.parse().ok()?),
            "math" => self.math = Some(MathMode::parse(value)?),
            "optimization" => self.optimization = Some(OptimizationLevel::parse(value)?),
            "profile" => self.profile = Some(TargetProfile::parse(value)?),
            "float_budget" => self.float_budget = Some(value.parse().ok()?),
            "cache" => self.cache = Some(CachePolicy::parse(value)?),
            _ => return None,
        }
        Some(())
    }

    /// Sets the workgroup's size.
    #[must_use]
    pub fn workgroup(mut self, size: [u32; 3]) -> Self {
        self.workgroup = Some(size);
        self
    }

    /// Refuses devices whose subgroups have another size.
    #[must_use]
    pub fn subgroup_size(mut self, size: u32) -> Self {
        self.subgroup_size = Some(size);
        self
    }

    /// Sets the precision of float ops.
    #[must_use]
    pub fn math(mut self, mode: MathMode) -> Self {
        self.math = Some(mode);
        self
    }

    /// Sets the amount of optimization.
    #[must_use]
    pub fn optimization(mut self, level: OptimizationLevel) -> Self {
        self.optimization = Some(level);
        self
    }

    /// Sets the device that the kernel is lowered for.
    #[must_use]
    pub fn profile(mut self, profile: TargetProfile) -> Self {
        self.profile = Some(profile);
        self
    }

    /// Refuses float ops that may be off by more than `ulp` units in the last place.
    #[must_use]
    pub fn float_budget(mut self, ulp: u32) -> Self {
        self.float_budget = Some(ulp);
        self
    }

    /// Sets how the cache of compiled kernels is used.
    #[must_use]
    pub fn cache(mut self, policy: CachePolicy) -> Self {
        self.cache = Some(policy);
        self
    }

    /// Sets whether the compiled form keeps the names of values.
    #[must_use]
    pub fn debug_names(mut self, keep: bool) -> Self {
        self.debug_names = Some(keep);
        self
    }
}

/// The size of a launch's grid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GridSize {
    /// Workgroups along x, y and z.
    Workgroups(Grid),
    /// At least so many invocations along x, y and z, rounded up to whole workgroups.
    Invocations([u32; 3]),
    /// At least so many invocations along x, at most 2³², rounded up to whole workgroups. Not bounded by the
    /// device's largest grid: a backend splits it and offsets the ids. The kernel's workgroup is one-dimensional.
    Linear(u64),
}

impl GridSize {
    /// Returns the grid in workgroups of size `workgroup`.
    pub fn workgroups(self, workgroup: [u32; 3]) -> Grid {
        match self {
            Self::Workgroups(grid) => grid,
            Self::Invocations(count) => {
                core::array::from_fn(|axis| count[axis].div_ceil(workgroup[axis].max(1)))
            }
            Self::Linear(count) => {
                let workgroups = count.div_ceil(u64::from(workgroup[0].max(1)));
                [u32::try_from(workgroups).unwrap_or(u32::MAX), 1, 1]
            }
        }
    }
}

/// Options of one launch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LaunchOptions {
    /// The grid. Default: [linear](GridSize::Linear), one invocation for each element of the first buffer that the kernel writes.
    /// A kernel whose workgroup is not one-dimensional, or that reads a buffer with more elements than that and has no `require`
    /// of its length, has no default.
    pub grid: Option<GridSize>,
    /// The time after which the launch is stopped. Default: [`LaunchOptions::DEFAULT_TIMEOUT`].
    pub timeout: Option<Duration>,
    /// The label in traces and in the driver's debugging tools. Default: the kernel's name.
    pub label: Option<Arc<str>>,
    /// Whether to measure the time on the device, which is not free on some devices. Default: no; backends for which it is
    /// free measure it anyway.
    pub timed: Option<bool>,
    /// The limit on the total size of one call's outputs, in bytes. Default: none.
    pub max_output_bytes: Option<u64>,
}

impl LaunchOptions {
    /// The timeout of a launch that states none.
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);

    /// Returns options with a grid of `grid` workgroups.
    pub fn workgroups(grid: Grid) -> Self {
        Self { grid: Some(GridSize::Workgroups(grid)), ..Self::default() }
    }

    /// Returns options with a grid of at least `count` invocations along each axis, rounded up to whole workgroups.
    pub fn invocations(count: [u32; 3]) -> Self {
        Self { grid: Some(GridSize::Invocations(count)), ..Self::default() }
    }

    /// Returns options with at least `count` invocations along x, at most 2³², regardless of the device's largest grid.
    pub fn linear(count: u64) -> Self {
        Self { grid: Some(GridSize::Linear(count)), ..Self::default() }
    }

    /// Sets the time after which the launch is stopped.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Sets the label.
    #[must_use]
    pub fn label(mut self, label: impl Into<Arc<str>>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// Sets whether to measure the time on the device.
    #[must_use]
    pub fn timed(mut self, timed: bool) -> Self {
        self.timed = Some(timed);
        self
    }

    /// Sets the limit on the total size of one call's outputs, in bytes.
    #[must_use]
    pub fn max_output_bytes(mut self, bytes: u64) -> Self {
        self.max_output_bytes = Some(bytes);
        self
    }

    /// These options, with each field that `over` sets replaced.
    #[must_use]
    pub fn merged(&self, over: &Self) -> Self {
        Self {
            grid: over.grid.or(self.grid),
            timeout: over.timeout.or(self.timeout),
            label: over.label.as_ref().or(self.label.as_ref()).cloned(),
            timed: over.timed.or(self.timed),
            max_output_bytes: over.max_output_bytes.or(self.max_output_bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_merge_field_by_field() {
        let base = LaunchOptions::invocations([1000, 1, 1]).timeout(Duration::from_secs(1));
        let merged = base.merged(&LaunchOptions::workgroups([2, 2, 2]));
        assert_eq!(merged.grid, Some(GridSize::Workgroups([2, 2, 2])));
        assert_eq!(merged.timeout, Some(Duration::from_secs(1)));
        let names = CompileOptions::default().debug_names(true).merged(&CompileOptions::default());
        assert_eq!(names.debug_names, Some(true));
    }

    #[test]
    fn stated_options_read_back() {
        let none = CompileOptions::default;
        let mut all = vec![none()];
        all.extend([MathMode::Strict, MathMode::Fast].map(|mode| none().math(mode)));
        all.extend(
            [OptimizationLevel::None, OptimizationLevel::Full].map(|level| none().optimization(level)),
        );
        all.extend([TargetProfile::Device, TargetProfile::Least].map(|profile| none().profile(profile)));
        all.extend([CachePolicy::Use, CachePolicy::ReadOnly, CachePolicy::Off].map(|p| none().cache(p)));
        all.push(none().debug_names(false).workgroup([1, 2, 3]).subgroup_size(8).float_budget(0));
        all.push(all.iter().fold(none(), |merged, options| merged.merged(options)));
        for options in all {
            assert_eq!(CompileOptions::of_stated(&options.stated()), Ok(options));
        }
        for (name, value) in
            [("math", "odd"), ("workgroup", "1, 2"), ("newer", "true"), ("float_budget", "-1")]
        {
            let stated = [(name.to_owned(), value.to_owned())];
            assert_eq!(CompileOptions::of_stated(&stated), Err(&stated[0]));
        }
    }

    #[test]
    fn invocations_round_up_to_workgroups() {
        assert_eq!(GridSize::Invocations([257, 1, 0]).workgroups([256, 1, 1]), [2, 1, 0]);
        assert_eq!(GridSize::Linear(1 << 32).workgroups([256, 1, 1]), [1 << 24, 1, 1]);
        assert_eq!(GridSize::Linear(0).workgroups([256, 1, 1]), [0, 1, 1]);
    }
}
