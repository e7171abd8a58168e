//! What a backend says of the cache of compiled kernels that it keeps.

use fulgurite_spec::Diagnostic;
use fulgurite_spec::cache::PipelineCacheMissReason;

/// What a backend's cache did since the backend was opened. The default is that of a backend that keeps none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheReport {
    /// Where compiled kernels are kept for later processes, for people; `None` if they are not.
    pub kept_in: Option<String>,
    /// Whether the driver's own binaries are kept, too: not known before the first compile, and `Some(false)` for a driver
    /// that gives none.
    pub keeps_binaries: Option<bool>,
    /// Kernels that were lowered.
    pub lowered: u64,
    /// Pipelines that the driver compiled.
    pub driver_compiles: u64,
    /// Lookups that found what they looked for, in any tier.
    pub hits: u64,
    /// Lookups that did not, by reason.
    pub misses: Vec<(PipelineCacheMissReason, u64)>,
    /// Lookups of which nobody can say.
    pub unknown: u64,
    /// What the cache had to say without being asked.
    pub notices: Vec<Diagnostic>,
}
