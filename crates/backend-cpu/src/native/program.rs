//! The lane program: linear code over virtual registers, between kernels and machine code.
//!
//! A register is a scalar (an integer of the host, equal in all lanes), a vector (32 bits for each lane) or a mask (one
//! bool for each lane). Programs are not in SSA form: results of control flow and carried values are assigned by
//! [`Step::Move`] and [`Step::Blend`]. A vector step computes all lanes; inactive lanes hold arbitrary values, which
//! no active lane and no access to memory depends on.

mod clean;
mod common;
mod fold;
mod hoist;
mod jam;
mod sink;
mod uses;

use std::collections::HashMap;

/// A virtual register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Reg(pub(crate) u32);

impl Reg {
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// The class of a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Class {
    /// An integer in a general-purpose register: 32 bits, zero-extended, unless a step says otherwise.
    Scalar,
    /// 32 bits for each lane.
    Vector,
    /// A bool for each lane.
    Mask,
}

/// A position to jump to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Label(pub(crate) u32);

/// A part of the frame that programs access by index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Area {
    /// The local arrays of the lanes of a vector, or of all vectors of a workgroup.
    Local,
    /// The shared arrays of a workgroup.
    Shared,
    /// Values that are kept across barriers, of all vectors of a workgroup.
    Kept,
}

/// The number of areas.
pub(crate) const AREAS: usize = 3;

/// The initial contents of a register, which the caller of the code stores in the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Input {
    /// The address of the first word of a buffer.
    Pointer(usize),
    /// The address of an area.
    Area(Area),
    /// The number of whole elements of `stride` bytes of a buffer.
    Len { binding: usize, stride: u32 },
    /// The number of words of these elements.
    Whole { binding: usize, stride: u32 },
    /// The low or the high 32 bits of a component of a parameter.
    Param { index: usize, component: usize, is_high: bool },
    /// The first global id along x of the row, and the one after the last, as 64-bit integers.
    Begin,
    /// See [`Input::Begin`].
    End,
    /// The global id along x of the first invocation of the workgroup.
    GroupBegin,
    /// The global id along y or z; of the workgroup's first invocation, in kernels that are run by whole workgroups.
    GlobalId(usize),
    /// The local id along y or z.
    LocalId(usize),
    /// The workgroup's position along an axis.
    WorkgroupId(usize),
    /// The grid's size along an axis.
    NumWorkgroups(usize),
    /// The local index of the first invocation of the row.
    LocalIndex,
    /// Bits known at compile time.
    Constant(u32),
    /// The number of each lane; vectors only.
    LaneNumbers,
}

/// When an input is stored in a frame, in the order in which it happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stored {
    /// When the frame is bound to code and buffers.
    Bound,
    /// When a launch begins.
    Launched,
    /// Before each part of a launch.
    Placed,
}

impl Input {
    /// Returns when the input is stored.
    pub(crate) fn stored(self) -> Stored {
        match self {
            Self::Pointer(_)
            | Self::Area(_)
            | Self::Len { .. }
            | Self::Whole { .. }
            | Self::Constant(_)
            | Self::LaneNumbers => Stored::Bound,
            Self::Param { .. } | Self::NumWorkgroups(_) => Stored::Launched,
            Self::Begin
            | Self::End
            | Self::GroupBegin
            | Self::GlobalId(_)
            | Self::LocalId(_)
            | Self::WorkgroupId(_)
            | Self::LocalIndex => Stored::Placed,
        }
    }
}

/// A comparison. Of floats, all but [`Relation::Ne`] are false if an operand is NaN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Relation {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
}

/// The interpretation of the bits that a comparison or conversion reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Unsigned,
    Signed,
    Float,
}

/// An op on two scalars of 32 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum ScalarOp2 {
    Add,
    /// The sum in 64 bits.
    AddWide,
    Sub,
    Mul,
    And,
    Or,
    Xor,
    /// Shifts and rotations by an amount modulo 32.
    Shl,
    Shr,
    Sar,
    RotateLeft,
    RotateRight,
    MinUnsigned,
    MaxUnsigned,
    MinSigned,
    MaxSigned,
    /// Quotient; the dividend if the divisor is 0.
    DivUnsigned,
    /// Remainder; 0 if the divisor is 0.
    RemUnsigned,
}

/// A shift or rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum ShiftOp {
    Left,
    Right,
    /// To the right, with copies of the sign.
    RightSigned,
    RotateLeft,
    RotateRight,
}

/// An op on two vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum VectorOp2 {
    Add,
    Sub,
    Mul,
    And,
    Or,
    Xor,
    MinUnsigned,
    MaxUnsigned,
    MinSigned,
    MaxSigned,
    /// The high half of the product of 64 bits.
    MulHighUnsigned,
    MulHighSigned,
    /// Shifts and rotations; amounts count modulo 32.
    Shift(ShiftOp),
    /// Quotients and remainders as the language defines them for all operands.
    DivUnsigned,
    RemUnsigned,
    DivSigned,
    RemSigned,
    FloatAdd,
    FloatSub,
    FloatMul,
    FloatDiv,
    /// The smaller operand; the other one if one is NaN.
    FloatMin,
    /// The larger operand; the other one if one is NaN.
    FloatMax,
}

impl Update {
    /// Returns the op on vectors that makes the change, if it is one that instructions make in memory, too.
    pub(crate) fn direct(self) -> Option<VectorOp2> {
        match self {
            Self::Add => Some(VectorOp2::Add),
            Self::And => Some(VectorOp2::And),
            Self::Or => Some(VectorOp2::Or),
            Self::Xor => Some(VectorOp2::Xor),
            Self::MinUnsigned
            | Self::MaxUnsigned
            | Self::MinSigned
            | Self::MaxSigned
            | Self::FloatAdd
            | Self::Exchange
            | Self::CompareExchange => None,
        }
    }
}

impl VectorOp2 {
    /// Returns whether the op is one instruction, whose second operand may be in memory.
    pub(crate) fn takes_memory(self) -> bool {
        match self {
            Self::Add
            | Self::Sub
            | Self::Mul
            | Self::And
            | Self::Or
            | Self::Xor
            | Self::MinUnsigned
            | Self::MaxUnsigned
            | Self::MinSigned
            | Self::MaxSigned
            | Self::FloatAdd
            | Self::FloatSub
            | Self::FloatMul
            | Self::FloatDiv => true,
            Self::MulHighUnsigned
            | Self::MulHighSigned
            | Self::Shift(_)
            | Self::DivUnsigned
            | Self::RemUnsigned
            | Self::DivSigned
            | Self::RemSigned
            | Self::FloatMin
            | Self::FloatMax => false,
        }
    }
}

/// An op on one vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum VectorOp1 {
    /// Magnitude of signed integers.
    Abs,
    Sqrt,
    Floor,
    Ceil,
    Trunc,
    /// Rounds to nearest, ties to even.
    Round,
    /// Conversions between integers and floats, saturating; NaN is 0.
    FloatOfSigned,
    FloatOfUnsigned,
    SignedOfFloat,
    UnsignedOfFloat,
    /// Conversions between `f16`, in the low halves of words, and `f32`.
    FloatOfHalf,
    HalfOfFloat,
}

/// A choice of lanes of two vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum MergeOp {
    /// The even lanes of the first vector, then those of the second one.
    Even,
    Odd,
    /// The lanes of the low halves, in turn.
    Low,
    High,
}

/// An op on two masks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum MaskOp {
    And,
    /// The first and not the second.
    AndNot,
    Or,
    Xor,
}

/// A change of a word that is indivisible.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Update {
    Add,
    And,
    Or,
    Xor,
    MinUnsigned,
    MaxUnsigned,
    MinSigned,
    MaxSigned,
    FloatAdd,
    Exchange,
    /// Stores the second operand if the word equals the first one.
    CompareExchange,
}

/// The words of a buffer that an access reads or writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Words {
    /// [`Input::Pointer`] of the buffer.
    pub(crate) pointer: Reg,
    /// Index of the word: a scalar that is the index of lane 0 for rows, or a vector. In steps on values of 8 or 16 bits it
    /// counts bytes.
    pub(crate) index: Reg,
    /// Bytes from that word to the accessed one.
    pub(crate) offset: i32,
}

/// A step of a lane program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Step {
    Bind(Label),
    Jump(Label),
    /// Begins and ends code that rarely runs; it is placed after all other code.
    Cold,
    EndCold,
    /// Marks the start and the end of a loop.
    LoopBegin,
    LoopEnd,
    /// Copies a register of any class.
    Move {
        to: Reg,
        from: Reg,
    },
    Scalar {
        op: ScalarOp2,
        to: Reg,
        a: Reg,
        b: Reg,
    },
    /// The sum of a scalar and a literal, in 64 bits.
    AddWide {
        to: Reg,
        a: Reg,
        b: i32,
    },
    /// The difference of two scalars, in 64 bits.
    SubWide {
        to: Reg,
        a: Reg,
        b: Reg,
    },
    /// The smaller of two unsigned 64-bit scalars.
    MinWide {
        to: Reg,
        a: Reg,
        b: Reg,
    },
    /// A bool scalar, 0 or 1.
    CompareScalar {
        relation: Relation,
        kind: Kind,
        to: Reg,
        a: Reg,
        b: Reg,
    },
    SelectScalar {
        to: Reg,
        condition: Reg,
        yes: Reg,
        no: Reg,
    },
    /// Jumps if a relation of two scalars holds; 64 bits, signed.
    BranchWide {
        relation: Relation,
        a: Reg,
        b: Reg,
        to: Label,
    },
    /// Jumps if a relation of two scalars of 32 bits holds.
    Branch {
        relation: Relation,
        kind: Kind,
        a: Reg,
        b: Reg,
        to: Label,
    },
    /// Subtracts `by`, and jumps if the value was larger.
    CountDown {
        left: Reg,
        by: u32,
        to: Label,
    },
    /// Jumps unless the mask has an active lane.
    BranchNone {
        mask: Reg,
        to: Label,
    },
    /// Jumps if the mask has an active lane.
    BranchAny {
        mask: Reg,
        to: Label,
    },
    /// Jumps unless the mask has all lanes.
    BranchNotAll {
        mask: Reg,
        to: Label,
    },
    /// Counts a back edge; ends the program if the launch was stopped.
    Poll,
    Vector1 {
        op: VectorOp1,
        to: Reg,
        a: Reg,
    },
    Vector2 {
        op: VectorOp2,
        to: Reg,
        a: Reg,
        b: Reg,
    },
    /// A shift or rotation of all lanes by the same amount, which is less than 32.
    ShiftBy {
        op: ShiftOp,
        to: Reg,
        a: Reg,
        by: u32,
    },
    /// An op on a vector and consecutive words, which the caller has checked.
    Vector2Row {
        op: VectorOp2,
        to: Reg,
        a: Reg,
        words: Words,
    },
    /// `a * b + c`, rounded once.
    Fma {
        to: Reg,
        a: Reg,
        b: Reg,
        c: Reg,
    },
    Compare {
        relation: Relation,
        kind: Kind,
        to: Reg,
        a: Reg,
        b: Reg,
    },
    /// `yes` where the mask is true, else `no`; vectors.
    Blend {
        to: Reg,
        mask: Reg,
        yes: Reg,
        no: Reg,
    },
    Mask {
        op: MaskOp,
        to: Reg,
        a: Reg,
        b: Reg,
    },
    /// A scalar in all lanes.
    Broadcast {
        to: Reg,
        from: Reg,
    },
    Merge {
        op: MergeOp,
        to: Reg,
        a: Reg,
        b: Reg,
    },
    /// The word of another lane in each lane; the numbers of lanes count modulo their number.
    Permute {
        to: Reg,
        a: Reg,
        lanes: Reg,
    },
    /// A scalar with a bit for each lane of a mask.
    MaskBits {
        to: Reg,
        mask: Reg,
    },
    /// A bool scalar in all lanes of a mask.
    BroadcastMask {
        to: Reg,
        from: Reg,
    },
    /// The word at a scalar index; 0 if the index is not below `len`.
    LoadScalar {
        to: Reg,
        words: Words,
        len: Option<Reg>,
    },
    /// The same word for all lanes of a vector; zeros if the index is not below `len`.
    LoadBroadcast {
        to: Reg,
        words: Words,
        len: Option<Reg>,
    },
    /// Consecutive words, which the caller has checked.
    LoadRow {
        to: Reg,
        words: Words,
    },
    /// Stores a word at a scalar index.
    StoreScalar {
        from: Reg,
        words: Words,
    },
    /// Stores the word of one lane of a mask, whichever it is, at a scalar index; nothing if there is none.
    StoreOne {
        from: Reg,
        words: Words,
        mask: Option<Reg>,
    },
    /// Stores consecutive words, in the lanes of a mask.
    StoreRow {
        from: Reg,
        words: Words,
        mask: Option<Reg>,
    },
    /// Words at the indices of the lanes of a mask, which are in bounds; zeros in other lanes.
    Gather {
        to: Reg,
        words: Words,
        mask: Reg,
    },
    /// Stores words at the indices of the lanes of a mask, which are in bounds.
    Scatter {
        from: Reg,
        words: Words,
        mask: Reg,
        /// The numbers of the lanes, if it is worth looking whether these indices are consecutive.
        numbers: Option<Reg>,
    },
    /// Consecutive values of 8 or 16 bits, which the caller has checked, extended to words. The index counts bytes, as in
    /// all steps on such values.
    LoadRowNarrow {
        to: Reg,
        words: Words,
        width: u32,
        is_signed: bool,
    },
    /// Stores the low bits of words as consecutive values, in the lanes of a mask.
    StoreRowNarrow {
        from: Reg,
        words: Words,
        width: u32,
        mask: Option<Reg>,
    },
    /// Stores the low bits of words at the indices of the lanes of a mask, which are in bounds.
    ScatterNarrow {
        from: Reg,
        words: Words,
        width: u32,
        mask: Reg,
    },
    /// Updates words at the indices of the lanes of a mask, which are in bounds, in order of the lanes; the result has
    /// the old words, and zeros in other lanes.
    Atomic {
        update: Update,
        to: Reg,
        words: Words,
        mask: Option<Reg>,
        a: Reg,
        b: Reg,
        /// Whether other threads may access the words.
        is_locked: bool,
    },
    /// Updates consecutive words, which are in bounds and whose old values nothing needs.
    UpdateRow {
        update: Update,
        words: Words,
        a: Reg,
        /// Whether other threads may access the words.
        is_locked: bool,
    },
    /// Ends the program.
    Return,
}

/// A lane program.
#[derive(Debug, Default)]
pub(crate) struct Program {
    pub(crate) classes: Vec<Class>,
    /// Registers with initial contents. No step writes them.
    pub(crate) inputs: Vec<(Reg, Input)>,
    /// The register of each input, by whether it is a scalar.
    known: HashMap<(Input, bool), Reg>,
    /// The bits of registers that are constants.
    constants: HashMap<Reg, u32>,
    pub(crate) steps: Vec<Step>,
    pub(crate) labels: u32,
    /// The sizes of the areas in bytes, by [`Area`].
    pub(crate) areas: [usize; AREAS],
}

impl Program {
    /// Creates a register.
    pub(crate) fn reg(&mut self, class: Class) -> Reg {
        self.classes.push(class);
        Reg(self.classes.len() as u32 - 1)
    }

    /// Creates a label.
    pub(crate) fn label(&mut self) -> Label {
        self.labels += 1;
        Label(self.labels - 1)
    }

    pub(crate) fn class(&self, reg: Reg) -> Class {
        self.classes[reg.index()]
    }

    /// Returns the register of an input, which is created on first use.
    pub(crate) fn input(&mut self, class: Class, input: Input) -> Reg {
        let key = (input, class == Class::Scalar);
        if let Some(reg) = self.known.get(&key) {
            return *reg;
        }
        let reg = self.reg(class);
        self.inputs.push((reg, input));
        self.known.insert(key, reg);
        if let Input::Constant(bits) = input {
            self.constants.insert(reg, bits);
        }
        reg
    }

    /// Has atomics on buffers, given by position, access their words as if no other thread did.
    pub(crate) fn unlock(&mut self, buffers: &[usize]) {
        let is_theirs = |input: Input| matches!(input, Input::Pointer(buffer) if buffers.contains(&buffer));
        let pointers: Vec<Reg> =
            self.inputs.iter().filter(|(_, input)| is_theirs(*input)).map(|(reg, _)| *reg).collect();
        for step in &mut self.steps {
            if let Step::Atomic { words, is_locked, .. } | Step::UpdateRow { words, is_locked, .. } = step
                && pointers.contains(&words.pointer)
            {
                *is_locked = false;
            }
        }
    }

    /// Returns the bits of a register that is a constant, in each lane if it is a vector.
    pub(crate) fn constant(&self, reg: Reg) -> Option<u32> {
        self.constants.get(&reg).copied()
    }
}
