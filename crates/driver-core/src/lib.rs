//! The engine: finds, chooses and drives backends.
//!
//! This crate owns the [`Registry`] and routing; the check of a kernel's needs against its device, which is made once,
//! before a device is asked to compile; and the engine around an open device, the same for all of them: [`Device`],
//! [`Buffer`], [`Program`], [`Call`], [`Graph`]. The traits of a backend are those of `fulgurite-hal`; this crate names
//! no backend. The only threads are those that run submitted work, behind the feature `threads`; without it submitted
//! work runs at once.
#![forbid(unsafe_code)]

mod agreement;
mod buffer;
mod calibration;
mod call;
mod counters;
mod device;
mod graph;
mod manifest;
mod passes;
mod pending;
mod prewarm;
mod program;
mod registry;
mod render;
mod repro;
mod routing;
mod sync;
mod worker;

pub use agreement::{Agreement, Apart, Freedom, kept_subnormals};
pub use buffer::{Buffer, BufferView, range_within};
pub use calibration::{Calibration, Calibrations, Workload};
pub use call::{Arg, Call, Called, HostMemory};
pub use counters::Counters;
pub use device::{Bounds, Device};
pub use graph::{Graph, Hazard, HazardKind, Recorder, Slot, StepId};
pub use manifest::{MANIFEST_SCHEMA, Manifest};
pub use pending::Pending;
pub use prewarm::Prewarmed;
pub use program::Program;
pub use registry::{Adapters, Choice, Considered, Registry, Route, Verdict};
pub use render::{printable, render};
pub use repro::{Difference, Replayed, Repro};
pub use routing::Requirements;
