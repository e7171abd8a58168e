//! Facts about kernels, used by the verifier, lowering and backends. Analyses do not change a kernel.

pub mod bounds;
pub mod divisibility;
mod needs;
mod numbering;
pub mod ranges;
pub mod uniformity;
pub mod walk;

pub use bounds::BoundsMap;
pub use divisibility::DivisibilityMap;
pub use needs::needs;
pub use numbering::equal_lengths;
pub use ranges::{Range, RangeMap};
pub use uniformity::{Uniformity, UniformityMap};
pub use walk::{Assumptions, Event, Instructions, Walk, instructions, operands, used_values};
