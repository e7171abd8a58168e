//! Errors and notices of the store.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use fulgurite_hal::Error;
use fulgurite_spec::{Code, Diagnostic, Location};

/// An error of the store.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// An I/O operation failed.
    #[error("cannot {what} {}: {reason}", path.display())]
    Io {
        /// The operation, as a verb.
        what: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's error message.
        reason: String,
    },
    /// A file was left unchanged, and its records are not saved.
    #[error("{} was left unchanged: {reason}", path.display())]
    LeftAlone {
        /// The file.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
    /// A record is invalid.
    #[error("invalid record in {}: {reason}", path.display())]
    Rejected {
        /// The file.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
    /// The folder is not usable or not trusted.
    #[error("{} cannot be used: {reason}", path.display())]
    Refused {
        /// The folder.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
    /// The store is read-only.
    #[error("the tuning records are read-only")]
    ReadOnly,
}

impl StoreError {
    pub(crate) fn io(what: &'static str, path: &Path, error: &std::io::Error) -> Self {
        Self::Io { what, path: path.to_owned(), reason: error.to_string() }
    }

    /// Returns the diagnostic code.
    pub fn code(&self) -> Code {
        match self {
            Self::Io { .. } | Self::Refused { .. } | Self::ReadOnly => Code::TuningNotKept,
            Self::LeftAlone { .. } => Code::TuningFileLeftAlone,
            Self::Rejected { .. } => Code::TuningRecordRejected,
        }
    }

    /// Returns the error as a diagnostic.
    pub fn diagnostic(&self) -> Diagnostic {
        Diagnostic::new(self.code(), Location::Unknown, self.to_string())
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        Self::Invalid(error.diagnostic().into())
    }
}

/// Distinct warnings.
#[derive(Clone, Debug, Default)]
pub(crate) struct Notices(Arc<Mutex<Vec<Diagnostic>>>);

impl Notices {
    /// Maximum number of warnings; one bad file can have a thousand bad records.
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
