//! What is said of records that cannot be kept or used as asked.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use fulgurite_hal::Error;
use fulgurite_spec::{Code, Diagnostic, Location};

/// What went wrong with a store of records.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The system failed.
    #[error("cannot {what} {}: {reason}", path.display())]
    Io {
        /// What was to be done.
        what: &'static str,
        /// With what.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// A file is left as it is, and nothing is kept of what it is for.
    #[error("{} is left alone: {reason}", path.display())]
    LeftAlone {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A record is of no use.
    #[error("a record of {} is of no use: {reason}", path.display())]
    Rejected {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The folder cannot be trusted or used.
    #[error("{} cannot be used: {reason}", path.display())]
    Refused {
        /// The folder.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The store is open for reading only.
    #[error("the tuning records are open for reading only")]
    ReadOnly,
}

impl StoreError {
    pub(crate) fn io(what: &'static str, path: &Path, error: &std::io::Error) -> Self {
        Self::Io { what, path: path.to_owned(), reason: error.to_string() }
    }

    /// Its code.
    pub fn code(&self) -> Code {
        match self {
            Self::Io { .. } | Self::Refused { .. } | Self::ReadOnly => Code::TuningNotKept,
            Self::LeftAlone { .. } => Code::TuningFileLeftAlone,
            Self::Rejected { .. } => Code::TuningRecordRejected,
        }
    }

    /// It as a diagnostic.
    pub fn diagnostic(&self) -> Diagnostic {
        Diagnostic::new(self.code(), Location::Unknown, self.to_string())
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        Self::Invalid(error.diagnostic().into())
    }
}

/// What is to be said, each once.
#[derive(Clone, Debug, Default)]
pub(crate) struct Notices(Arc<Mutex<Vec<Diagnostic>>>);

impl Notices {
    /// Most that are kept: one bad file can have a thousand bad records.
    const MOST: usize = 100;

    pub(crate) fn say(&self, diagnostic: Diagnostic) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let diagnostic = diagnostic.as_warning();
        if all.len() < Self::MOST && !all.contains(&diagnostic) {
            tracing::warn!("{diagnostic}");
            all.push(diagnostic);
        }
    }

    pub(crate) fn all(&self) -> Vec<Diagnostic> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
