//! Facts about kernels that verifier, lowering and backends read. Analyses never change a kernel.

pub mod uniformity;
pub mod walk;

pub use uniformity::{Uniformity, UniformityMap};
pub use walk::{Event, Walk};
