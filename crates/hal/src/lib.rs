//! The interface between the engine and a backend.
//!
//! This crate owns the traits that a backend implements ([`Backend`], [`DeviceBuffer`], [`Executable`], and for devices
//! with a queue [`Work`] and [`Recording`]), the values that cross that interface ([`Launch`], [`Binding`], [`GraphStep`],
//! the options, [`Error`]), and the [`Registration`] that a backend is found by. It names no backend, drives none, and
//! depends on little: it is what the author of a backend compiles against.
#![forbid(unsafe_code)]

mod backend;
mod binding;
mod cache_report;
mod error;
mod json;
mod launch;
mod matrices;
mod open_options;
mod options;
mod process;
mod registration;
mod steps;

pub use backend::{
    Backend, DeviceBuffer, Executable, Interpreter, LaunchReport, Work, check_copy, check_fill,
    check_pattern, fill_by_writing, interpret,
};
pub use binding::Binding;
pub use cache_report::{CacheReport, Invalidated};
pub use error::{DeviceError, Error, Unsupported};
pub use launch::Launch;
pub use open_options::OpenOptions;
pub use options::{
    CachePolicy, CompileOptions, GridSize, LaunchOptions, MathMode, OptimizationLevel, TargetProfile,
};
pub use process::Process;
pub use registration::Registration;
pub use steps::{GraphStep, Recording, StepWork};
