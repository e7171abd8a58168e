//! Limits of the language itself, the same on every backend. A device's own limits are in
//! [`crate::device::Limits`].

/// Longest kernel text that the parser reads, in bytes.
pub const MAX_TEXT_BYTES: usize = 64 << 20;
/// Most bytes of a kernel in the wire format, header and checksum included.
pub const MAX_WIRE_BYTES: usize = 64 << 20;
/// Most values in one kernel.
pub const MAX_VALUES: usize = 1 << 24;
/// Deepest nesting of control flow (SPIR-V allows 1,023 nested constructs; a loop of ours takes up to two).
pub const MAX_NESTING: usize = 400;
/// Longest name of a kernel, a value or a memory object, in bytes.
pub const MAX_NAME_BYTES: usize = 128;
/// Most invocations in a workgroup.
pub const MAX_WORKGROUP_INVOCATIONS: u32 = 4096;
/// Most workgroups of one launch.
pub const MAX_WORKGROUPS: u64 = 1 << 44;
/// Most lanes of a subgroup.
pub const MAX_SUBGROUP_SIZE: u32 = 128;
/// Most buffers, parameters, shared arrays, local arrays, views and preconditions of one kernel, each.
pub const MAX_DECLARATIONS: usize = 64;
/// Most nodes of one precondition as it is written, where what is used twice is written twice.
pub const MAX_REQUIRE_NODES: usize = 1 << 16;
/// Most bytes of shared memory in one kernel.
pub const MAX_SHARED_BYTES: u64 = 1 << 20;
/// Most bytes of local memory in one invocation.
pub const MAX_LOCAL_BYTES: u64 = 16 << 10;
/// Most back edges that a `for` may be shown to take, in all, without polling the abort word.
pub const MAX_UNPOLLED_TRIPS: u64 = 1 << 30;
/// How many back edges lie between two polls of the abort word; a power of two.
pub const POLL_INTERVAL: u32 = 4096;
/// Fewest rows and columns of a cooperative matrix: no device is known to have fewer, and a line of eight bytes, the
/// shortest there is, is aligned for its components whatever they are.
pub const MIN_MATRIX_SIDE: u16 = 8;
/// Most rows and columns of a cooperative matrix: the components of one already fill a workgroup's registers. Both
/// sides are powers of two: lines are then aligned to their length or to 16 bytes, and shapes are few enough for one
/// byte of the wire format.
pub const MAX_MATRIX_SIDE: u16 = 256;
