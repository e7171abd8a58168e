//! The registration of a backend: its id, its rank and how it is opened.

use std::sync::Arc;

use crate::backend::Backend;
use crate::error::Error;
use crate::open_options::OpenOptions;

type Open = Box<dyn Fn(&OpenOptions) -> Result<Arc<dyn Backend>, Error> + Send + Sync>;

/// A backend that can be opened.
pub struct Registration {
    id: String,
    rank: u32,
    open: Open,
    options: OpenOptions,
}

impl Registration {
    /// Registers a backend as `id`. Where the caller states no choice, the backend of the highest `rank` that opens is
    /// used. `open` is called only when the backend is wanted.
    pub fn new(
        id: impl Into<String>,
        rank: u32,
        open: impl Fn() -> Result<Arc<dyn Backend>, Error> + Send + Sync + 'static,
    ) -> Self {
        Self::configurable(id, rank, move |_| open())
    }

    /// As [`new`](Self::new), for a backend that takes [`OpenOptions`]: those of [`configure`](Self::configure), or else
    /// the default.
    pub fn configurable(
        id: impl Into<String>,
        rank: u32,
        open: impl Fn(&OpenOptions) -> Result<Arc<dyn Backend>, Error> + Send + Sync + 'static,
    ) -> Self {
        Self { id: id.into(), rank, open: Box::new(open), options: OpenOptions::default() }
    }

    /// Replaces the options that the backend is opened with.
    pub fn configure(&mut self, options: OpenOptions) {
        self.options = options;
    }

    /// Returns the backend's id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns the declared rank.
    pub fn rank(&self) -> u32 {
        self.rank
    }

    /// Opens the backend.
    ///
    /// # Errors
    /// [`Error::Unavailable`], or another error that kept it from starting.
    pub fn open(&self) -> Result<Arc<dyn Backend>, Error> {
        (self.open)(&self.options)
    }
}
