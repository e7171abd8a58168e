//! What a backend is, and how one is found, chosen and driven.
//!
//! This crate owns the [`Backend`] and [`Executable`] traits, the checks that every launch passes before a
//! backend sees it, the [`Registry`], routing, and errors. It names no backend and touches no device.
#![forbid(unsafe_code)]

mod backend;
mod binding;
mod error;
mod launch;
mod matrices;
mod options;
mod registry;
mod render;

pub use backend::{Backend, DeviceBuffer, Executable, LaunchReport};
pub use binding::Binding;
pub use error::{DeviceError, Error, Unsupported};
pub use launch::Launch;
pub use options::{CompileOptions, GridSize, LaunchOptions};
pub use registry::{Choice, Considered, Registration, Registry, Route, Verdict};
pub use render::render;
