//! Instructions.

use fulgurite_spec::{Location, MatrixLayout, Op};

use super::arena::{BlockId, Operands, ValueId};
use super::attributes::{AtomicOrder, Combine, FloatMode, MemoryScopes, SyncScope};
use super::declared::Memory;

/// An instruction: its operation, its results and its source location.
#[derive(Clone, Debug)]
pub struct Inst {
    /// Operation and operands.
    pub kind: InstKind,
    /// Results: one for most ops, any number for control flow.
    pub results: Operands,
    /// Source location.
    pub location: Location,
}

/// The operation of an instruction, with its operands.
///
/// Exhaustive: a lowering or analysis that misses a kind must not compile, so a new kind is a breaking change.
#[derive(Clone, Debug)]
pub enum InstKind {
    /// A pure op with `Scalar` semantics in the op table, or `construct`.
    Scalar {
        /// The op.
        op: Op,
        /// Operands, in the order of the op table.
        operands: Operands,
        /// Accuracy of a float result.
        mode: FloatMode,
    },
    /// `vec.shuffle`: selects components of two vectors.
    VecShuffle {
        /// Positions of the 2 to 4 components in the concatenation of both vectors.
        components: Box<[u8]>,
        /// The two vectors, of the same type.
        vectors: [ValueId; 2],
    },
    /// An op that reads an id, such as `global_id`. `component` is 0 for scalar ids.
    Id {
        /// The op.
        op: Op,
        /// 0, 1 or 2 for x, y or z.
        component: u8,
    },
    /// `load`, with one result of the element type.
    Load {
        /// The memory object that is read.
        memory: Memory,
        /// Element index, `u32` or `u64`.
        index: ValueId,
    },
    /// `store`.
    Store {
        /// The memory object that is written.
        memory: Memory,
        /// Element index, `u32` or `u64`.
        index: ValueId,
        /// The stored value.
        value: ValueId,
    },
    /// `len`, with one result: `u64` for a `large` buffer, `u32` otherwise.
    Len {
        /// The memory object.
        memory: Memory,
    },
    /// An atomic op.
    Atomic {
        /// The op.
        op: Op,
        /// Memory order.
        order: AtomicOrder,
        /// Scope of the synchronization.
        scope: SyncScope,
        /// The memory object.
        memory: Memory,
        /// Element index, `u32` or `u64`.
        index: ValueId,
        /// Remaining operands: none for `load`, comparator and value for `compare_exchange`, otherwise one value.
        operands: Operands,
    },
    /// `fence`: orders memory accesses without waiting.
    Fence {
        /// Memory order; not relaxed.
        order: AtomicOrder,
        /// Scope of the synchronization.
        scope: SyncScope,
    },
    /// `barrier`.
    Barrier {
        /// The memory that it orders.
        scopes: MemoryScopes,
    },
    /// `subgroup_barrier`.
    SubgroupBarrier {
        /// The memory that it orders.
        scopes: MemoryScopes,
    },
    /// `workgroup_broadcast`: passes one invocation's value to the whole workgroup.
    WorkgroupBroadcast {
        /// The value, of any type except a matrix.
        value: ValueId,
        /// Local index of the source invocation: `u32`, workgroup-uniform.
        index: ValueId,
    },
    /// A subgroup op.
    Subgroup {
        /// The op.
        op: Op,
        /// The operation of `reduce` and the scans.
        combine: Option<Combine>,
        /// The value, then a lane, mask or distance if the op takes one; none for `elect`.
        operands: Operands,
    },
    /// `coop.load`, with one result: a matrix held by all invocations of its scope together. The type of the result
    /// gives the component type, the shape, the role and the scope.
    CoopLoad {
        /// Order of the components in memory.
        layout: MatrixLayout,
        /// The memory object that is read: a buffer, a shared array or a view of one.
        memory: Memory,
        /// Index of the first element: `u32` or `u64`, uniform in the matrix's scope.
        offset: ValueId,
        /// Number of elements from one row (or column) to the next: `u32`, uniform in the matrix's scope.
        stride: ValueId,
    },
    /// `coop.store`.
    CoopStore {
        /// Order of the components in memory.
        layout: MatrixLayout,
        /// The memory object that is written.
        memory: Memory,
        /// Index of the first element, as for `coop.load`.
        offset: ValueId,
        /// Number of elements from one row (or column) to the next.
        stride: ValueId,
        /// The matrix.
        value: ValueId,
    },
    /// `coop.fill`: a matrix with all components equal.
    CoopFill {
        /// A scalar of the component type, uniform in the matrix's scope.
        value: ValueId,
    },
    /// `coop.mul_add`: `a × b + c`, of the type of `c`.
    CoopMulAdd {
        /// M × K matrix of role a.
        a: ValueId,
        /// K × N matrix of role b.
        b: ValueId,
        /// M × N matrix of role acc.
        c: ValueId,
    },
    /// `coop.convert`: converts a matrix to another component type or role, keeping shape and scope.
    CoopConvert {
        /// The matrix.
        value: ValueId,
    },
    /// `trap`: makes the launch fail with this code. The invocation continues.
    Trap {
        /// The code, a `u32`.
        code: ValueId,
    },
    /// `if`: results are the values that the taken block yields.
    If {
        /// The condition, a `bool`.
        condition: ValueId,
        /// The block executed when the condition is true.
        then_block: BlockId,
        /// The block executed when the condition is false; empty if the text has no `else`.
        else_block: BlockId,
    },
    /// `for`: results are the carried values after the last iteration.
    For {
        /// The first value of the counter.
        start: ValueId,
        /// The bound of the counter, exclusive.
        end: ValueId,
        /// The step, a non-zero literal.
        step: ValueId,
        /// Initial values of the carried values.
        initial: Operands,
        /// The body. Its parameters are the counter, then the carried values; it yields the next carried values.
        body: BlockId,
    },
    /// `region`: a named block, for diagnostics and text only. Results are the values that it yields.
    Region {
        /// Name.
        name: Box<str>,
        /// The block.
        body: BlockId,
    },
    /// `while`: results are the carried values for which the condition is false.
    While {
        /// Initial values of the carried values.
        initial: Operands,
        /// The header. Its parameters are the carried values; it ends in `condition`.
        header: BlockId,
        /// The body. The header's values are visible in it; it yields the next carried values.
        body: BlockId,
    },
}
