//! The lane program: linear code over virtual registers, between kernels and machine code.
//!
//! A register is a scalar (an integer of the host, equal in all lanes), a vector (32 bits for each lane) or a mask (one
//! bool for each lane). Programs are not in SSA form: results of control flow and carried values are assigned by
//! [`Step::Move`] and [`Step::Blend`]. A vector step computes all lanes; inactive lanes hold arbitrary values, which
//! no active lane and no access to memory depends on.

/// A virtual register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Reg(pub(crate) u32);

impl Reg {
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// The class of a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// An integer in a general-purpose register: 32 bits, zero-extended, unless a step says otherwise.
    Scalar,
    /// 32 bits for each lane.
    Vector,
    /// A bool for each lane.
    Mask,
}

/// A position to jump to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Label(pub(crate) u32);

/// The initial contents of a register, which the caller of the code stores in the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Input {
    /// The address of the first word of a buffer.
    Pointer(usize),
    /// The number of elements of 4 bytes of a buffer.
    Len(usize),
    /// The bits of a parameter.
    Param(usize),
    /// The first global id along x of the row, and the one after the last, as 64-bit integers.
    Begin,
    /// See [`Input::Begin`].
    End,
    /// The global id along x of the first invocation of the workgroup.
    GroupBegin,
    /// The global id along y or z.
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

/// A comparison. Of floats, all but [`Relation::Ne`] are false if an operand is NaN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Relation {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
}

/// The interpretation of the bits that a comparison or conversion reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Unsigned,
    Signed,
    Float,
}

/// An op on two scalars of 32 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ScalarOp2 {
    Add,
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

/// An op on two vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// Shifts and rotations by an amount modulo 32.
    Shl,
    Shr,
    Sar,
    RotateLeft,
    RotateRight,
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

/// An op on one vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
}

/// An op on two masks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MaskOp {
    And,
    /// The first and not the second.
    AndNot,
    Or,
    Xor,
}

/// The words of a buffer that an access reads or writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Words {
    /// [`Input::Pointer`] of the buffer.
    pub(crate) pointer: Reg,
    /// Index of the word: a scalar that is the index of lane 0 for rows, or a vector.
    pub(crate) index: Reg,
}

/// A step of a lane program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    },
    /// Ends the program.
    Return,
}

/// The registers that a step reads and writes, at most four and one.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Uses {
    pub(crate) reads: [Option<Reg>; 4],
    pub(crate) write: Option<Reg>,
    /// True if the step does nothing but write its result.
    pub(crate) is_pure: bool,
}

impl Step {
    /// Returns the registers that the step reads and writes.
    pub(crate) fn uses(&self) -> Uses {
        let pure = |to: Reg, reads: [Option<Reg>; 4]| Uses { reads, write: Some(to), is_pure: true };
        let effect = |reads: [Option<Reg>; 4]| Uses { reads, write: None, is_pure: false };
        match *self {
            Self::Bind(_)
            | Self::Jump(_)
            | Self::Cold
            | Self::EndCold
            | Self::LoopBegin
            | Self::LoopEnd
            | Self::Poll
            | Self::Return => Uses::default(),
            Self::Move { to, from } | Self::Broadcast { to, from } | Self::BroadcastMask { to, from } => {
                pure(to, [Some(from), None, None, None])
            }
            Self::AddWide { to, a, .. } | Self::Vector1 { to, a, .. } => {
                pure(to, [Some(a), None, None, None])
            }
            Self::Scalar { to, a, b, .. }
            | Self::SubWide { to, a, b }
            | Self::MinWide { to, a, b }
            | Self::CompareScalar { to, a, b, .. }
            | Self::Vector2 { to, a, b, .. }
            | Self::Compare { to, a, b, .. }
            | Self::Mask { to, a, b, .. } => pure(to, [Some(a), Some(b), None, None]),
            Self::SelectScalar { to, condition, yes, no } => {
                pure(to, [Some(condition), Some(yes), Some(no), None])
            }
            Self::Blend { to, mask, yes, no } => pure(to, [Some(mask), Some(yes), Some(no), None]),
            Self::Fma { to, a, b, c } => pure(to, [Some(a), Some(b), Some(c), None]),
            Self::LoadScalar { to, words, len } | Self::LoadBroadcast { to, words, len } => {
                pure(to, [Some(words.pointer), Some(words.index), len, None])
            }
            Self::LoadRow { to, words } => pure(to, [Some(words.pointer), Some(words.index), None, None]),
            Self::Gather { to, words, mask } => {
                pure(to, [Some(words.pointer), Some(words.index), Some(mask), None])
            }
            Self::BranchWide { a, b, .. } | Self::Branch { a, b, .. } => {
                effect([Some(a), Some(b), None, None])
            }
            Self::CountDown { left, .. } => {
                Uses { reads: [Some(left), None, None, None], write: Some(left), is_pure: false }
            }
            Self::BranchNone { mask, .. } | Self::BranchAny { mask, .. } => {
                effect([Some(mask), None, None, None])
            }
            Self::StoreRow { from, words, mask } => {
                effect([Some(words.pointer), Some(words.index), Some(from), mask])
            }
            Self::Scatter { from, words, mask } => {
                effect([Some(words.pointer), Some(words.index), Some(from), Some(mask)])
            }
        }
    }

    /// Returns the register that the step writes, for replacing it.
    pub(crate) fn write_mut(&mut self) -> Option<&mut Reg> {
        match self {
            Self::Move { to, .. }
            | Self::Broadcast { to, .. }
            | Self::BroadcastMask { to, .. }
            | Self::AddWide { to, .. }
            | Self::Vector1 { to, .. }
            | Self::Scalar { to, .. }
            | Self::SubWide { to, .. }
            | Self::MinWide { to, .. }
            | Self::CompareScalar { to, .. }
            | Self::Vector2 { to, .. }
            | Self::Compare { to, .. }
            | Self::Mask { to, .. }
            | Self::SelectScalar { to, .. }
            | Self::Blend { to, .. }
            | Self::Fma { to, .. }
            | Self::LoadScalar { to, .. }
            | Self::LoadBroadcast { to, .. }
            | Self::LoadRow { to, .. }
            | Self::Gather { to, .. } => Some(to),
            Self::CountDown { left, .. } => Some(left),
            Self::Bind(_)
            | Self::Jump(_)
            | Self::Cold
            | Self::EndCold
            | Self::LoopBegin
            | Self::LoopEnd
            | Self::BranchWide { .. }
            | Self::Branch { .. }
            | Self::BranchNone { .. }
            | Self::BranchAny { .. }
            | Self::Poll
            | Self::StoreRow { .. }
            | Self::Scatter { .. }
            | Self::Return => None,
        }
    }
}

/// A lane program.
#[derive(Debug, Default)]
pub(crate) struct Program {
    pub(crate) classes: Vec<Class>,
    /// Registers with initial contents. No step writes them.
    pub(crate) inputs: Vec<(Reg, Input)>,
    pub(crate) steps: Vec<Step>,
    pub(crate) labels: u32,
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
        let known = self.inputs.iter().find(|(reg, i)| *i == input && self.class(*reg) == class);
        if let Some((reg, _)) = known {
            return *reg;
        }
        let reg = self.reg(class);
        self.inputs.push((reg, input));
        reg
    }

    /// Returns whether code between two labels may be skipped or repeated at this step.
    fn is_boundary(step: &Step) -> bool {
        match step {
            Step::Bind(_)
            | Step::Jump(_)
            | Step::Cold
            | Step::EndCold
            | Step::LoopBegin
            | Step::LoopEnd
            | Step::BranchWide { .. }
            | Step::Branch { .. }
            | Step::CountDown { .. }
            | Step::BranchNone { .. }
            | Step::BranchAny { .. }
            | Step::Poll
            | Step::Return => true,
            Step::Move { .. }
            | Step::Scalar { .. }
            | Step::AddWide { .. }
            | Step::SubWide { .. }
            | Step::MinWide { .. }
            | Step::CompareScalar { .. }
            | Step::SelectScalar { .. }
            | Step::Vector1 { .. }
            | Step::Vector2 { .. }
            | Step::Fma { .. }
            | Step::Compare { .. }
            | Step::Blend { .. }
            | Step::Mask { .. }
            | Step::Broadcast { .. }
            | Step::BroadcastMask { .. }
            | Step::LoadScalar { .. }
            | Step::LoadBroadcast { .. }
            | Step::LoadRow { .. }
            | Step::StoreRow { .. }
            | Step::Gather { .. }
            | Step::Scatter { .. } => false,
        }
    }

    /// Removes steps whose results nothing reads, and then inputs that nothing reads.
    pub(crate) fn remove_dead(&mut self) {
        loop {
            let mut read = vec![false; self.classes.len()];
            for step in &self.steps {
                let uses = step.uses();
                // A register that is only read to compute itself is dead as well.
                for reg in uses.reads.into_iter().flatten() {
                    read[reg.index()] |= !uses.is_pure || uses.write != Some(reg);
                }
            }
            let before = self.steps.len();
            self.steps.retain(|step| {
                let uses = step.uses();
                !uses.is_pure || uses.write.is_none_or(|to| read[to.index()])
            });
            if self.steps.len() == before {
                self.inputs.retain(|(reg, _)| read[reg.index()]);
                return;
            }
        }
    }

    /// Computes into the target of a move where the moved value has no other use, and the target is not used between
    /// its computation and the move.
    pub(crate) fn coalesce_moves(&mut self) {
        let mut counts = vec![[0u32; 2]; self.classes.len()];
        for step in &self.steps {
            let uses = step.uses();
            uses.reads.into_iter().flatten().for_each(|reg| counts[reg.index()][0] += 1);
            uses.write.into_iter().for_each(|reg| counts[reg.index()][1] += 1);
        }
        for at in 0..self.steps.len() {
            let Step::Move { to, from } = self.steps[at] else { continue };
            if counts[from.index()] != [1, 1] {
                continue;
            }
            let mut origin = None;
            for (position, step) in self.steps[..at].iter().enumerate().rev() {
                let uses = step.uses();
                if uses.write == Some(from) {
                    origin = Some(position);
                    break;
                }
                if Self::is_boundary(step) || uses.write == Some(to) || uses.reads.contains(&Some(to)) {
                    break;
                }
            }
            if let Some(write) = origin.and_then(|position| self.steps[position].write_mut()) {
                *write = to;
                // A move to itself, which is removed below.
                self.steps[at] = Step::Move { to, from: to };
            }
        }
        self.steps.retain(|step| !matches!(step, Step::Move { to, from } if to == from));
    }
}
