//! Options of opening a backend, the same for all backends and extensible by each.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use fulgurite_ir::VerifiedKernel;

/// Options of opening backends. Each backend ignores those that do not concern it.
///
/// ```
/// use fulgurite_hal::OpenOptions;
///
/// #[derive(Debug, PartialEq)]
/// struct OfMine(u32);
///
/// let options = OpenOptions::new().cache_directory("/var/cache/example").with(OfMine(7));
/// assert_eq!(options.get::<OfMine>(), Some(&OfMine(7)));
/// assert_eq!(options.get::<String>(), None);
/// ```
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct OpenOptions {
    /// The directory of compiled kernels for later processes. Default: the backend's choice.
    pub cache_directory: Option<PathBuf>,
    /// Kernels that will be compiled as soon as the backend is open: their cache entries may be read while the device is
    /// created.
    pub prefetch: Vec<Arc<VerifiedKernel>>,
    /// Options that only some backends know, by type.
    extras: HashMap<TypeId, Arc<dyn Any + Send + Sync>>,
}

impl OpenOptions {
    /// Returns options that state nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the directory of compiled kernels.
    #[must_use]
    pub fn cache_directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.cache_directory = Some(directory.into());
        self
    }

    /// Adds kernels that will be compiled as soon as the backend is open.
    #[must_use]
    pub fn prefetch(mut self, kernels: impl IntoIterator<Item = Arc<VerifiedKernel>>) -> Self {
        self.prefetch.extend(kernels);
        self
    }

    /// Adds options that only some backends know, replacing those of the same type. A backend's documentation says which types
    /// it looks for.
    #[must_use]
    pub fn with<T: Any + Send + Sync>(mut self, extra: T) -> Self {
        self.extras.insert(TypeId::of::<T>(), Arc::new(extra));
        self
    }

    /// Returns the options of type `T`, if there are any.
    pub fn get<T: Any + Send + Sync>(&self) -> Option<&T> {
        self.extras.get(&TypeId::of::<T>()).and_then(|extra| extra.downcast_ref())
    }
}

impl fmt::Debug for OpenOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let prefetch: Vec<&str> = self.prefetch.iter().map(|kernel| kernel.name.as_str()).collect();
        f.debug_struct("OpenOptions")
            .field("cache_directory", &self.cache_directory)
            .field("prefetch", &prefetch)
            .field("extras", &self.extras.len())
            .finish()
    }
}
