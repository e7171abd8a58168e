//! The interface between the engine and a backend.
//!
//! This crate owns the traits that a backend implements: a [`Backend`] lists each [`Adapter`] that it finds, which opens a
//! [`Device`], which makes [`DeviceBuffer`]s and [`Executable`]s, and if it has a queue [`Work`] and [`Recording`]s. It owns
//! the values that cross that interface, too: [`Launch`], [`Binding`], [`GraphStep`], the options, [`Error`]. It names no
//! backend, drives none, and depends on little: it is what the author of a backend compiles against.
#![forbid(unsafe_code)]

mod adapter;
mod binding;
mod cache_report;
mod device;
mod error;
mod json;
mod launch;
mod needs;
mod open_options;
mod options;
mod process;
mod steps;

pub use adapter::{Adapter, AdapterId, AdapterInfo, AdapterKind, Backend, SingleDevice};
pub use binding::Binding;
pub use cache_report::{CacheReport, Invalidated};
pub use device::{
    Device, DeviceBuffer, Executable, Interpreter, LaunchReport, Work, check_copy, check_fill, check_pattern,
    fill_by_writing, interpret,
};
pub use error::{DeviceError, Error, Unsupported};
pub use launch::Launch;
pub use open_options::OpenOptions;
pub use options::{
    CachePolicy, CompileOptions, GridSize, LaunchOptions, MathMode, OptimizationLevel, TargetProfile,
};
pub use process::Process;
pub use steps::{GraphStep, Recording, StepWork};
