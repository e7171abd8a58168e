//! What a backend is, and how one is found, chosen and driven.
//!
//! This crate owns the [`Backend`] and [`Executable`] traits; the checks that every launch passes before a backend sees
//! it; the [`Registry`] and routing; and the engine round an open backend, which is the same for all: [`Device`],
//! [`Buffer`], [`Program`], [`Call`], [`Graph`]. It names no backend. Threads only do submitted work, behind the feature
//! `threads`; without it that is done at once.
#![forbid(unsafe_code)]

mod agreement;
mod backend;
mod binding;
mod budget;
mod buffer;
mod cache_report;
mod calibration;
mod call;
mod counters;
mod device;
mod error;
mod graph;
mod json;
mod launch;
mod manifest;
mod matrices;
mod open_options;
mod options;
mod pending;
mod prewarm;
mod process;
mod program;
mod registry;
mod render;
mod repro;
mod routing;
mod specialise;
mod sync;
mod worker;

pub use agreement::{Agreement, Apart, Freedom, kept_subnormals};
pub use backend::{
    Backend, DeviceBuffer, Executable, Interpreter, LaunchReport, Work, check_copy, check_fill,
    fill_by_writing, interpret,
};
pub use binding::Binding;
pub use buffer::{Buffer, BufferView, range_within};
pub use cache_report::{CacheReport, Invalidated};
pub use calibration::{Calibration, Calibrations, Workload};
pub use call::{Arg, Call, Called, HostMemory};
pub use counters::Counters;
pub use device::{Bounds, Device};
pub use error::{DeviceError, Error, Unsupported};
pub use fulgurite_spec::cache::{CacheAudit, CacheOrigin, CacheOutcome, CacheTier, PipelineCacheMissReason};
pub use graph::{Graph, GraphStep, Hazard, HazardKind, Recorder, Recording, Slot, StepId, StepWork};
pub use launch::Launch;
pub use manifest::{MANIFEST_SCHEMA, Manifest};
pub use open_options::OpenOptions;
pub use options::{
    CachePolicy, CompileOptions, GridSize, LaunchOptions, MathMode, OptimizationLevel, TargetProfile,
};
pub use pending::Pending;
pub use prewarm::Prewarmed;
pub use process::Process;
pub use program::Program;
pub use registry::{Choice, Considered, Registration, Registry, Route, Verdict};
pub use render::{printable, render};
pub use repro::{Difference, Replayed, Repro};
pub use routing::Wish;
