//! Limits of the language, the same on every backend. Limits of devices are in [`crate::device::Limits`].

/// Maximum size of a kernel text in bytes.
pub const MAX_TEXT_BYTES: usize = 64 << 20;
/// Maximum size of a kernel in the wire format in bytes, header and checksum included.
pub const MAX_WIRE_BYTES: usize = 64 << 20;
/// Maximum number of values in a kernel.
pub const MAX_VALUES: usize = 1 << 24;
/// Maximum nesting of control flow. SPIR-V allows 1,023 nested constructs, and a loop takes up to two.
pub const MAX_NESTING: usize = 400;
/// Maximum length of a name in bytes.
pub const MAX_NAME_BYTES: usize = 128;
/// Maximum number of invocations in a workgroup.
pub const MAX_WORKGROUP_INVOCATIONS: u32 = 4096;
/// Maximum number of workgroups in a launch.
pub const MAX_WORKGROUPS: u64 = 1 << 44;
/// Maximum subgroup size.
pub const MAX_SUBGROUP_SIZE: u32 = 128;
/// Maximum number each of buffers, parameters, shared arrays, local arrays, views and preconditions in a kernel.
pub const MAX_DECLARATIONS: usize = 64;
/// Maximum number of operands of a scalar op: `insert_bits`, and `construct` of the widest vector.
pub const MAX_SCALAR_OPERANDS: usize = 4;
/// Maximum number of nodes of a precondition, with shared subexpressions counted at each use.
pub const MAX_REQUIRE_NODES: usize = 1 << 16;
/// Maximum size of a kernel's shared memory in bytes.
pub const MAX_SHARED_BYTES: u64 = 1 << 20;
/// Maximum size of an invocation's local memory in bytes.
pub const MAX_LOCAL_BYTES: u64 = 16 << 10;
/// Maximum total number of back edges for which a `for` may omit polling the abort word.
pub const MAX_UNPOLLED_TRIPS: u64 = 1 << 30;
/// Number of back edges between polls of the abort word; a power of two.
pub const POLL_INTERVAL: u32 = 4096;
/// Minimum number of rows and columns of a cooperative matrix. No known device supports fewer, and lines have at least
/// eight bytes, which aligns components of any type.
pub const MIN_MATRIX_SIDE: u16 = 8;
/// Maximum number of rows and columns of a cooperative matrix; one of this size fills a workgroup's registers. Both are
/// powers of two, so that lines are aligned to their length or to 16 bytes, and the shape fits one byte of the wire
/// format.
pub const MAX_MATRIX_SIDE: u16 = 256;
