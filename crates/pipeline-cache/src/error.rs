//! Errors of explicit operations, and notices for everything else.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use fulgurite_spec::{Code, Diagnostic, Location};

use crate::marks::Ban;

/// An error of the pipeline cache.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CacheError {
    /// The entry exceeds the size limit.
    #[error("entry of {bytes} bytes exceeds the limit of {most} bytes")]
    TooLarge {
        /// Size of the entry, header included.
        bytes: u64,
        /// The limit.
        most: u64,
    },
    /// The folder is not usable or not trusted.
    #[error("{} cannot be used: {reason}", path.display())]
    Refused {
        /// The folder.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
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
    /// Entries could not be made durable and were dropped.
    #[error("{dropped} entries could not be made durable and were dropped: {first}")]
    NotDurable {
        /// Number of entries dropped.
        dropped: usize,
        /// The first error message.
        first: String,
    },
    /// The cache is read-only.
    #[error("the cache is read-only")]
    ReadOnly,
    /// The disk tier was switched off after too many damaged entries.
    #[error("the disk tier is switched off after too many damaged entries")]
    SwitchedOff,
    /// The driver rejected its own binary for the same device and driver version.
    #[error("the driver rejected its own compiled pipeline: {0}")]
    DriverRefused(String),
    /// The driver does not export compiled pipelines.
    #[error("the driver does not export compiled pipelines")]
    DriverKeepsNothing,
    /// A thread panicked while modifying the cache's state.
    #[error("a thread panicked while holding the cache lock")]
    Poisoned,
    /// The mask and the digests differ in length.
    #[error("mask of length {mask} for {digests} digests")]
    Selection {
        /// Length of the mask.
        mask: usize,
        /// Number of digests.
        digests: usize,
    },
    /// The bytes are not a valid pack.
    #[error("invalid pack: {0}")]
    BadPack(&'static str),
    /// Several processes ended while a driver compiled this program.
    #[error("{0}")]
    Banned(Box<Ban>),
}

impl CacheError {
    pub(crate) fn io(what: &'static str, path: &Path, error: &io::Error) -> Self {
        Self::Io { what, path: path.to_owned(), reason: error.to_string() }
    }

    /// Returns the diagnostic code.
    pub const fn code(&self) -> Code {
        match self {
            Self::TooLarge { .. } => Code::CacheEntryTooLarge,
            Self::Refused { .. } | Self::Io { .. } | Self::ReadOnly => Code::CacheDegraded,
            Self::NotDurable { .. } => Code::CacheNotDurable,
            Self::SwitchedOff => Code::CacheSwitchedOff,
            Self::DriverRefused(_) => Code::DriverRefused,
            Self::DriverKeepsNothing => Code::DriverKeepsNothing,
            Self::Poisoned => Code::CachePoisoned,
            Self::Selection { .. } => Code::CacheSelection,
            Self::BadPack(_) => Code::BadFileFormat,
            Self::Banned(_) => Code::CompileBanned,
        }
    }

    /// Returns the error as a diagnostic, with its code and fix.
    pub fn diagnostic(&self) -> Diagnostic {
        Diagnostic::new(self.code(), Location::Unknown, self.to_string())
    }
}

/// Locks a mutex whose state may be inconsistent after a panic, which is therefore an error.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> Result<MutexGuard<'_, T>, CacheError> {
    mutex.lock().map_err(|_| CacheError::Poisoned)
}

/// Warnings of a cache, at most one per code.
#[derive(Debug, Default)]
pub(crate) struct Notices(Mutex<Vec<Diagnostic>>);

impl Notices {
    /// Reports `error`, unless its code was reported before.
    pub(crate) fn say(&self, error: &CacheError) {
        let mut all = self.all();
        if all.iter().all(|said| said.code != error.code()) {
            let diagnostic = error.diagnostic().as_warning();
            tracing::warn!(code = %diagnostic.code, "{}", diagnostic.message);
            all.push(diagnostic);
        }
    }

    /// Returns the warnings reported so far.
    pub(crate) fn read(&self) -> Vec<Diagnostic> {
        self.all().clone()
    }

    fn all(&self) -> MutexGuard<'_, Vec<Diagnostic>> {
        // Consistent between statements, so poisoning is harmless.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_have_codes_and_are_reported_once() {
        let notices = Notices::default();
        let ban = Ban {
            program: fulgurite_storage::Digest::ZERO,
            deaths: 3,
            left: std::time::Duration::ZERO,
            root: PathBuf::new(),
            file: PathBuf::new(),
        };
        let all = [
            (CacheError::TooLarge { bytes: 2, most: 1 }, Code::CacheEntryTooLarge),
            (CacheError::ReadOnly, Code::CacheDegraded),
            (CacheError::NotDurable { dropped: 1, first: "no".to_owned() }, Code::CacheNotDurable),
            (CacheError::SwitchedOff, Code::CacheSwitchedOff),
            (CacheError::DriverRefused("no".to_owned()), Code::DriverRefused),
            (CacheError::DriverKeepsNothing, Code::DriverKeepsNothing),
            (CacheError::Poisoned, Code::CachePoisoned),
            (CacheError::Selection { mask: 1, digests: 2 }, Code::CacheSelection),
            (CacheError::BadPack("cut"), Code::BadFileFormat),
            (CacheError::Banned(Box::new(ban)), Code::CompileBanned),
        ];
        for (error, code) in &all {
            assert_eq!(error.code(), *code);
            notices.say(error);
            notices.say(error);
        }
        assert_eq!(notices.read().len(), all.len());
    }
}
