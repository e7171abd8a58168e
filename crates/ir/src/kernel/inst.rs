//! Instructions.

use fulgurite_spec::{Location, MatrixLayout, Op};

use super::arena::{BlockId, Operands, ValueId};
use super::attributes::{AtomicOrder, Combine, FloatMode, MemoryScopes, SyncScope};
use super::declared::Memory;

/// An instruction: what it does, its results, and where it was written.
#[derive(Clone, Debug)]
pub struct Inst {
    /// What it does.
    pub kind: InstKind,
    /// Its results; one for most ops, any number for control flow.
    pub results: Operands,
    /// Where it was written.
    pub location: Location,
}

/// What an instruction does.
#[derive(Clone, Debug)]
pub enum InstKind {
    /// A pure op of the table's `Scalar` semantics, or `construct`.
    Scalar {
        /// The op.
        op: Op,
        /// Operands in the table's order.
        operands: Operands,
        /// How exact a float result must be.
        mode: FloatMode,
    },
    /// `vec.shuffle`: a vector of some components of two.
    VecShuffle {
        /// Which, counted over the first vector's and then the second's; 2 to 4.
        components: Box<[u8]>,
        /// The two vectors, of one type.
        vectors: [ValueId; 2],
    },
    /// `global_id` and its kin. `component` is 0 for the scalar ids.
    Id {
        /// The op.
        op: Op,
        /// 0, 1 or 2: x, y or z.
        component: u8,
    },
    /// `load`: one result of the element type.
    Load {
        /// From where.
        memory: Memory,
        /// Element index, `u32` or `u64`.
        index: ValueId,
    },
    /// `store`.
    Store {
        /// To where.
        memory: Memory,
        /// Element index, `u32` or `u64`.
        index: ValueId,
        /// What.
        value: ValueId,
    },
    /// `len`: one `u32`, of a `large` buffer `u64`.
    Len {
        /// Of what.
        memory: Memory,
    },
    /// An atomic op.
    Atomic {
        /// Which.
        op: Op,
        /// What it orders.
        order: AtomicOrder,
        /// Among whom.
        scope: SyncScope,
        /// Where.
        memory: Memory,
        /// Element index, `u32` or `u64`.
        index: ValueId,
        /// What follows: none for `load`, comparator and value for `compare_exchange`, else one.
        operands: Operands,
    },
    /// `fence`: orders memory, waits for nobody.
    Fence {
        /// How; not relaxed.
        order: AtomicOrder,
        /// Among whom.
        scope: SyncScope,
    },
    /// `barrier`.
    Barrier {
        /// Which memory it orders.
        scopes: MemoryScopes,
    },
    /// `subgroup_barrier`.
    SubgroupBarrier {
        /// Which memory it orders.
        scopes: MemoryScopes,
    },
    /// `workgroup_broadcast`: one invocation's value, to all of the workgroup.
    WorkgroupBroadcast {
        /// The value; any type.
        value: ValueId,
        /// Whose, by local index: `u32`, workgroup-uniform.
        index: ValueId,
    },
    /// An op that works across a subgroup.
    Subgroup {
        /// Which.
        op: Op,
        /// How values are combined: `reduce` and the scans.
        combine: Option<Combine>,
        /// In order: the value, then a lane, mask or distance; none for `elect`.
        operands: Operands,
    },
    /// `coop.load`: a matrix, held by all invocations of its scope together. What a matrix is made of and who holds
    /// it is in its type.
    CoopLoad {
        /// How its components lie in memory.
        layout: MatrixLayout,
        /// From where: a buffer, a shared array or a view of one.
        memory: Memory,
        /// The element where it begins: `u32` or `u64`, uniform in the matrix's scope.
        offset: ValueId,
        /// Elements from one row (or column) to the next: `u32`, uniform in the matrix's scope.
        stride: ValueId,
    },
    /// `coop.store`.
    CoopStore {
        /// How its components lie in memory.
        layout: MatrixLayout,
        /// To where.
        memory: Memory,
        /// The element where it begins, as for `coop.load`.
        offset: ValueId,
        /// Elements from one row (or column) to the next.
        stride: ValueId,
        /// The matrix.
        value: ValueId,
    },
    /// `coop.fill`: all components are this.
    CoopFill {
        /// A scalar of the component type, uniform in the matrix's scope.
        value: ValueId,
    },
    /// `coop.mul_add`: `a × b + c`, of c's type.
    CoopMulAdd {
        /// M × K, of role a.
        a: ValueId,
        /// K × N, of role b.
        b: ValueId,
        /// M × N, of role acc.
        c: ValueId,
    },
    /// `coop.convert`: to the same shape with other components or another role.
    CoopConvert {
        /// The matrix.
        value: ValueId,
    },
    /// `trap`: the launch fails with this code, and goes on.
    Trap {
        /// `u32`.
        code: ValueId,
    },
    /// `if`: results are what the taken block yields.
    If {
        /// `bool`.
        condition: ValueId,
        /// Taken when true.
        then_block: BlockId,
        /// Taken when false; empty if the text has none.
        else_block: BlockId,
    },
    /// `for`: results are the carried values after the last iteration.
    For {
        /// First counter value.
        start: ValueId,
        /// The counter stops before this.
        end: ValueId,
        /// A non-zero literal.
        step: ValueId,
        /// What the carried values begin with.
        initial: Operands,
        /// Parameters: the counter, then the carried values; yields the next carried values.
        body: BlockId,
    },
    /// `region`: a block with a name, for people. Results are what it yields.
    Region {
        /// Provenance only.
        name: Box<str>,
        /// Its only block.
        body: BlockId,
    },
    /// `while`: results are the carried values when the condition fails.
    While {
        /// What the carried values begin with.
        initial: Operands,
        /// Parameters: the carried values; ends in `condition`.
        header: BlockId,
        /// Sees the header's values and parameters; yields the next carried values.
        body: BlockId,
    },
}
