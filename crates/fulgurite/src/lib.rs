//! Fulgurite: GPU compute kernels in Rust, verified, compiled and run with the same results on every backend.
//!
//! A kernel is built once, from typed Rust or from text, and runs on any backend in this build: Vulkan, a CPU
//! backend, or the reference interpreter. Every op is defined on every input.
//!
//! ```
//! use fulgurite::prelude::*;
//!
//! // y ← a·x + y
//! let saxpy = kernel::<(Read<f32>, ReadWrite<f32>, f32)>("saxpy", ["x", "y", "a"], [256, 1, 1], |k, (x, y, a)| {
//!     let i = k.global_id().x();
//!     k.if_(i.lt(y.len()), |_| y.store(i, a * x.load(i) + y.load(i)));
//! })?;
//!
//! let ctx = Context::open()?;
//! let x = ctx.buffer(&[1.0f32, 2.0, 3.0])?;
//! let mut y = ctx.buffer(&[10.0f32, 20.0, 30.0])?;
//! ctx.compile(&saxpy)?.launch((&x, &mut y, 2.0))?;
//! assert_eq!(y.read()?, [12.0, 24.0, 36.0]);
//! # Ok::<(), fulgurite::Error>(())
//! ```
//!
//! This crate is the interface for users. It owns the typed API and the wiring of backends by Cargo feature
//! (`vulkan`, `cpu`, `reference`), and nothing else.
#![forbid(unsafe_code)]

mod args;
#[cfg(feature = "ndarray")]
mod array;
mod backends;
mod buffer;
mod calibrate;
mod call;
mod context;
mod dynamic;
mod executable;
mod graph;
mod kernel;
mod packs;
mod params;
mod tuned;

pub use args::{Dynamic, LaunchArg, LaunchArgs};
pub use backends::registry;
pub use buffer::{Buffer, BufferView, BufferViewMut, Element};
pub use calibrate::{calibrate, calibrations, keep_calibrations};
pub use call::{Call, OutputVec, Outputs, Resident};
pub use context::{Context, ContextBuilder};
pub use dynamic::{DynArg, DynBuffer, DynExecutable};
pub use executable::Executable;
pub use graph::{Graph, GraphRecorder, GraphUpdate, LaunchStep};
pub use kernel::{Kernel, decode, kernel, parse};
pub use packs::{packed_kernels, tuned_entry};
pub use params::KernelParams;
pub use tuned::TunedExecutable;

pub use fulgurite_autotune as autotune;
pub use fulgurite_derive::KernelParams;
#[cfg(feature = "wgsl")]
pub use fulgurite_frontend_wgsl as wgsl;
pub use fulgurite_kernels as kernels;

pub use fulgurite_driver_core::{
    Adapters, Calibration, Calibrations, Choice, Considered, Registry, Requirements, Route, Verdict,
    Workload, printable, render,
};
pub use fulgurite_hal::{
    Adapter, AdapterId, AdapterInfo, AdapterKind, Backend, CachePolicy, CacheReport, CompileOptions,
    DeviceError, Error, GridSize, Invalidated, LaunchOptions, LaunchReport, MathMode, OpenOptions,
    OptimizationLevel, SingleDevice, TargetProfile, Unsupported,
};
pub use fulgurite_ir::builder::{AtomicOrder, Combine, Large, Matrix, Read, ReadWrite, SyncScope, Write};
pub use fulgurite_ir::{self as ir, VerifiedKernel};
#[cfg(all(feature = "interrupts", unix))]
pub use fulgurite_pipeline_cache::handle_interrupts;
pub use fulgurite_pipeline_cache::{
    Pack, PipelineFeatureFlags, TrustedPack, UnknownFeatureFlags, forget_marks,
};
pub use fulgurite_runtime::{
    Agreement, Apart, Bounds, Counters, Difference, Freedom, Hazard, HazardKind, MANIFEST_SCHEMA, Manifest,
    Pending, Prewarmed, Replayed, Repro, kept_subnormals,
};
pub use fulgurite_spec::cache::{CacheAudit, CacheOrigin, CacheOutcome, CacheTier, PipelineCacheMissReason};
pub use fulgurite_spec::device::DeviceSnapshot;
pub use fulgurite_spec::{
    self as spec, Code, Diagnostic, Diagnostics, Literal, MatrixLayout, MatrixRole, MatrixScope, MatrixShape,
    ScalarType, Severity, Type,
};

/// The items that most programs use.
pub mod prelude {
    pub use crate::{
        AtomicOrder, Buffer, BufferView, BufferViewMut, Combine, Context, Error, Executable, Kernel,
        KernelParams, Large, LaunchOptions, Read, ReadWrite, SyncScope, Write, kernel,
    };
    pub use fulgurite_ir::builder::{Builder, Val};
}

/// Items that the expansion of `#[derive(KernelParams)]` uses; not part of the public API.
#[doc(hidden)]
pub mod private {
    pub use crate::args::Bound;
    pub use crate::params::{ParamField, ParamList};
    pub use fulgurite_ir::builder::{Arg, Builder, Val};
    pub use fulgurite_spec::Location;
}

/// Returns the explanation of a diagnostic code, with its remedy; `None` if there is no such code.
///
/// ```
/// assert!(fulgurite::explain("FG0205").unwrap().contains("barrier"));
/// assert_eq!(fulgurite::explain("FG9999"), None);
/// ```
pub fn explain(code: &str) -> Option<String> {
    Code::parse(code).map(|c| format!("{c}: {}\n\n{}", c.title(), c.explanation()))
}

/// The README's example, as a test.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;

/// The examples of the page on tuning, as tests.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/tuning.md")]
struct Tuning;
