//! The engine around an open device, the same for every backend.
//!
//! This crate owns [`Device`], [`Buffer`], [`Program`], [`Call`] and [`Graph`]; submissions and their order; counters,
//! manifests and captured calls. It runs the passes, and checks a kernel's needs against its device once, before the
//! device is asked to compile. It finds no device and names no backend. The only threads are those that run submitted
//! work, behind the feature `threads`; without it submitted work runs at once.
#![forbid(unsafe_code)]

mod agreement;
mod buffer;
mod call;
mod counters;
mod device;
mod graph;
mod manifest;
mod passes;
mod pending;
mod prewarm;
mod program;
mod repro;
mod sync;
mod worker;

pub use agreement::{Agreement, Apart, Freedom, kept_subnormals};
pub use buffer::{Buffer, BufferView, range_within};
pub use call::{Arg, Call, Called, HostMemory};
pub use counters::Counters;
pub use device::{Bounds, Device};
pub use graph::{Graph, Hazard, HazardKind, Recorder, Slot, StepId};
pub use manifest::{MANIFEST_SCHEMA, Manifest};
pub use pending::Pending;
pub use prewarm::Prewarmed;
pub use program::Program;
pub use repro::{Difference, Replayed, Repro};
