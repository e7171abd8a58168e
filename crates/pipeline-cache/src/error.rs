//! What can go wrong with a cache: errors to those who asked for something, notices to everyone else.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use fulgurite_spec::{Code, Diagnostic, Location};

use crate::marks::Ban;

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CacheError {
    /// An entry that is larger than entries may be was to be written.
    #[error("an entry of {bytes} bytes, at most {most} can be kept")]
    TooLarge {
        /// Its size, header included.
        bytes: u64,
        /// The largest.
        most: u64,
    },
    /// The folder cannot be trusted or used.
    #[error("{} cannot be used: {reason}", path.display())]
    Refused {
        /// The folder.
        path: PathBuf,
        /// Why.
        reason: String,
    },
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
    /// Entries could not be made durable, and were dropped.
    #[error("{dropped} entries could not be made durable and were dropped: {first}")]
    NotDurable {
        /// How many.
        dropped: usize,
        /// What the system says of the first.
        first: String,
    },
    /// The cache is not to be written.
    #[error("the cache is open for reading only")]
    ReadOnly,
    /// The disk tier was switched off: too many entries were damaged.
    #[error("the disk tier is switched off")]
    SwitchedOff,
    /// A driver did not take what it had given to be kept, for this device and version.
    #[error("the driver refused a pipeline that it had compiled itself: {0}")]
    DriverRefused(String),
    /// A driver gives nothing that could be kept.
    #[error("the driver gives nothing of the pipelines that it compiles")]
    DriverKeepsNothing,
    /// A thread panicked while it changed the cache's state.
    #[error("a thread panicked while it held the cache's lock")]
    Poisoned,
    /// A mask selects among another number of entries.
    #[error("a mask of {mask} selects among {digests} entries")]
    Selection {
        /// How long the mask is.
        mask: usize,
        /// How many entries there are.
        digests: usize,
    },
    /// A pack is damaged or none.
    #[error("this is no usable pack: {0}")]
    BadPack(&'static str),
    /// Several processes ended while a driver compiled this.
    #[error("{0}")]
    Banned(Box<Ban>),
}

impl CacheError {
    pub(crate) fn io(what: &'static str, path: &Path, error: &io::Error) -> Self {
        Self::Io { what, path: path.to_owned(), reason: error.to_string() }
    }

    /// The diagnostic code.
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

    /// The error with its code and what to do.
    pub fn diagnostic(&self) -> Diagnostic {
        Diagnostic::new(self.code(), Location::Unknown, self.to_string())
    }
}

/// Locks what a panic elsewhere may have left half changed: then it is an error.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> Result<MutexGuard<'_, T>, CacheError> {
    mutex.lock().map_err(|_| CacheError::Poisoned)
}

/// What a cache had to say without being asked: each kind once.
#[derive(Debug, Default)]
pub(crate) struct Notices(Mutex<Vec<Diagnostic>>);

impl Notices {
    /// Says `error`, unless its kind was said before.
    pub(crate) fn say(&self, error: &CacheError) {
        let mut all = self.all();
        if all.iter().all(|said| said.code != error.code()) {
            let diagnostic = error.diagnostic().as_warning();
            tracing::warn!(code = %diagnostic.code, "{}", diagnostic.message);
            all.push(diagnostic);
        }
    }

    /// What was said so far.
    pub(crate) fn read(&self) -> Vec<Diagnostic> {
        self.all().clone()
    }

    fn all(&self) -> MutexGuard<'_, Vec<Diagnostic>> {
        // Whole between any two statements.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_has_its_code_and_is_said_once() {
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
