//! Finding and choosing devices, and showing diagnostics.
//!
//! This crate owns the [`Registry`] of backends, routing by [`Requirements`] and [`Calibrations`], and the rendering of
//! diagnostics. The traits of a backend are those of `fulgurite-hal`, and the engine that drives an open device is
//! `fulgurite-runtime`; this crate names no backend and starts no thread.
#![forbid(unsafe_code)]

mod calibration;
mod registry;
mod render;
mod routing;

pub use calibration::{Calibration, Calibrations, Workload};
pub use registry::{Adapters, Choice, Considered, Registry, Route, Verdict};
pub use render::{printable, render};
pub use routing::Requirements;
