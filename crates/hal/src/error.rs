//! The errors of compiling and running, in kinds that are never mixed: invalid input, unsupported, unavailable, device,
//! and bugs of Fulgurite.

use std::fmt;
use std::time::Duration;

use fulgurite_ir::wire::WireError;
use fulgurite_spec::device::DeviceSnapshot;
use fulgurite_spec::{Code, Diagnostic, Diagnostics, Location};

/// An error of compiling or running. `Debug` prints what `Display` does, so that `fn main() -> Result<(), Error>` shows code, place and help.
#[derive(Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The caller's kernel, arguments or choice is invalid; holds every problem found.
    #[error("{0}")]
    Invalid(Diagnostics),
    /// The device lacks a feature or a limit. Routing may try another device.
    #[error("error[{code}]: {0}\n  help: {help}", code = Code::Unsupported, help = Code::Unsupported.explanation())]
    Unsupported(Unsupported),
    /// A backend could not start. Routing may try another one.
    #[error("error[{code}]: backend `{backend}` is not available: {reason}\n  help: {help}", help = .code.explanation())]
    Unavailable {
        /// The backend's id.
        backend: String,
        /// [`Code::BackendUnavailable`], or a more specific code, such as [`Code::NoDriver`].
        code: Code,
        /// The reason.
        reason: String,
    },
    /// The device failed while compiling or running.
    #[error("error[{code}]: {0}\n  help: {help}", code = .0.code(), help = .0.code().explanation())]
    Device(DeviceError),
    /// A bug of Fulgurite.
    #[error("error[{code}]: internal error: {0}\n  help: {help}", code = Code::Internal, help = Code::Internal.explanation())]
    Internal(String),
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A need of a kernel or launch that the device does not meet.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("needs {needs}, the device has {have}")]
pub struct Unsupported {
    /// The need: a capability, or a limit with its value.
    pub needs: String,
    /// The corresponding facts of the device.
    pub have: String,
}

/// A failure of a device.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// An allocation failed.
    #[error("out of device memory: {bytes} bytes")]
    OutOfMemory {
        /// The size asked for.
        bytes: u64,
    },
    /// A launch did not end in time and was stopped.
    #[error("the launch did not end within {0:?}")]
    Timeout(Duration),
    /// The driver ended a loop whose condition still held.
    #[error(
        "the driver ended a loop of invocation {invocation} after {limit} iterations, although its condition still held"
    )]
    LoopLimit {
        /// Flattened global invocation index, modulo 2³².
        invocation: u32,
        /// The driver's limit.
        limit: u32,
    },
    /// The kernel executed `trap`.
    #[error("invocation {invocation} trapped with code {code}")]
    Trap {
        /// The code of the first trap.
        code: u32,
        /// Flattened global invocation index, modulo 2³².
        invocation: u32,
    },
    /// The launch ended, but an output of it could not be copied to the host.
    #[error("output {output} could not be read back: {source}")]
    ReadBack {
        /// Index of the output among the call's outputs.
        output: usize,
        /// The error of the read.
        source: Box<Error>,
    },
    /// The device was lost.
    #[error("the device was lost during {0}")]
    Lost(&'static str),
    /// Earlier processes ended while the driver compiled this kernel, so the driver is not asked to.
    #[error("{0}")]
    Banned(String),
    /// The driver took too long to compile a kernel. Its thread was abandoned.
    #[error("the driver had not compiled the kernel after {0:?}")]
    CompileTimeout(Duration),
    /// A driver call failed for another reason.
    #[error("{call} failed: {result}")]
    Call {
        /// The name of the call.
        call: &'static str,
        /// Its result, as the driver's API names it.
        result: String,
    },
}

impl DeviceError {
    /// Returns the diagnostic code.
    pub const fn code(&self) -> Code {
        match self {
            Self::OutOfMemory { .. } => Code::OutOfMemory,
            Self::Timeout(_) => Code::Timeout,
            Self::LoopLimit { .. } => Code::LoopLimit,
            Self::Trap { .. } => Code::Trap,
            Self::Lost(_) => Code::DeviceLost,
            Self::ReadBack { .. } => Code::ReadBack,
            Self::Banned(_) => Code::CompileBanned,
            Self::CompileTimeout(_) => Code::CompileTimeout,
            Self::Call { .. } => Code::DeviceFault,
        }
    }
}

impl Error {
    /// Returns an invalid-input error with one diagnostic that has no location in a source.
    pub fn invalid(code: Code, message: impl Into<String>) -> Self {
        Self::Invalid(Diagnostic::new(code, Location::Unknown, message).into())
    }

    /// Returns an unsupported error.
    pub fn unsupported(needs: impl Into<String>, have: impl Into<String>) -> Self {
        Self::Unsupported(Unsupported { needs: needs.into(), have: have.into() })
    }

    /// Returns the error of a backend that could not start.
    pub fn unavailable(backend: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Unavailable { backend: backend.into(), code: Code::BackendUnavailable, reason: reason.into() }
    }

    /// Refuses a buffer larger than the limit of `device`: the first step of every [`Device::allocate`].
    ///
    /// # Errors
    /// [`Error::Unsupported`], naming the limit.
    ///
    /// [`Device::allocate`]: crate::Device::allocate
    pub fn check_allocation(bytes: u64, device: &DeviceSnapshot) -> Result<(), Self> {
        let most = device.limits.max_buffer_bytes;
        if bytes > most {
            return Err(Self::unsupported(
                format!("a buffer of {bytes} bytes"),
                format!("at most {most} bytes"),
            ));
        }
        Ok(())
    }

    /// Returns the diagnostic code; of several diagnostics, the first one's.
    pub fn code(&self) -> Code {
        match self {
            Self::Invalid(all) => all.all().first().map_or(Code::Internal, |d| d.code),
            Self::Unsupported(_) => Code::Unsupported,
            Self::Unavailable { code, .. } => *code,
            Self::Device(error) => error.code(),
            Self::Internal(_) => Code::Internal,
        }
    }
}

impl From<Diagnostics> for Error {
    fn from(all: Diagnostics) -> Self {
        Self::Invalid(all)
    }
}

impl From<WireError> for Error {
    fn from(error: WireError) -> Self {
        Self::invalid(error.code(), error.to_string())
    }
}

impl From<DeviceError> for Error {
    fn from(error: DeviceError) -> Self {
        Self::Device(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn main_shows_all_there_is_to_say() {
        let error = Error::invalid(Code::BadGrid, "no grid");
        let shown = format!("{error:?}");
        assert_eq!(shown, error.to_string());
        assert!(shown.contains("FG0507") && shown.contains("no grid") && shown.contains("help:"), "{shown}");
    }
}
