//! Small programs with defined semantics: lists of nodes that can be written as kernel text and evaluated for a whole
//! workgroup through [`fulgurite_spec::eval`].
//!
//! Evaluation is in lockstep, with a column of values for each variable. A value that the language leaves unspecified
//! (the bits of a NaN, a flushed subnormal, the sign of a zero from `min`) is *undecided*, and so is every value
//! computed from it.

use fulgurite_ir::Combine;
use fulgurite_spec::eval::Components;
use fulgurite_spec::{Op, Type};

/// Invocations of the single workgroup that runs a program.
pub(super) const INVOCATIONS: usize = 64;

/// A variable of a program: an index into [`Program::types`].
pub(super) type Var = usize;

/// The origin of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Source {
    /// A value loaded from a buffer, different in each invocation. Component `n` of a vector is slot `slot + n`.
    Slot(usize),
    /// A constant, equal in all components.
    Literal(u64),
    /// A parameter of the launch, in every component.
    Param,
    /// The index of the invocation, converted.
    Id,
}

/// One step of a program.
#[derive(Clone, Debug)]
pub(super) enum Node {
    /// `to` is an input.
    Input { to: Var, source: Source },
    /// `to` is a scalar or vector op of `args`.
    Op { to: Var, op: Op, args: Vec<Var> },
    /// `to` are the yields of one of two arms.
    If { condition: Var, arms: [Arm; 2], to: Vec<Var> },
    /// `to` are the final carried values of a `for` from `from` up to `end`.
    For {
        counter: Var,
        from: Var,
        end: Var,
        step: u64,
        initial: Vec<Var>,
        carried: Vec<Var>,
        body: Arm,
        to: Vec<Var>,
    },
    /// `to` are the final carried values of a `while`, which runs as long as `header` yields true and fewer than three
    /// iterations, counted from `from`, are done.
    While {
        counter: Var,
        from: Var,
        initial: Vec<Var>,
        carried: Vec<Var>,
        header: Arm,
        body: Arm,
        to: Vec<Var>,
    },
    /// `to` is element `index` of a local array of `values`; zero beyond its end.
    Local { to: Var, values: Vec<Var>, index: Var },
    /// `to` is element `index` of a table of [`TABLE`] words.
    Table { to: Var, index: Var },
    /// `to` is the value of the invocation whose index differs in the bits `mask`, through shared memory.
    Exchange { to: Var, value: Var, mask: usize },
    /// `to` is a reduction or scan over the subgroup.
    Combined { to: Var, op: Op, combine: Combine, value: Var },
    /// `to` is the value of the lane whose number differs in the bits `mask`.
    Shuffle { to: Var, value: Var, mask: u32 },
}

/// A block of nodes that yields values.
#[derive(Clone, Debug, Default)]
pub(super) struct Arm {
    pub(super) nodes: Vec<Node>,
    pub(super) yields: Vec<Var>,
}

/// Form in which a result is output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Output {
    /// Stored to a buffer of its type; `bool` as a word.
    Store(Var),
    /// Combined with a buffer word that is initially zero, by `atomic.add` or `atomic.xor`.
    Atomic(Op, Var),
}

/// A program and its results.
#[derive(Clone, Debug, Default)]
pub(super) struct Program {
    /// The type of each variable.
    pub(super) types: Vec<Type>,
    pub(super) body: Vec<Node>,
    pub(super) outputs: Vec<Output>,
}

/// Exclusive upper bound of the counter of a [`Node::While`].
pub(super) const WHILE_END: u64 = 3;

/// Elements of a [`Node::Local`].
pub(super) const LOCALS: usize = 4;

/// Words of the table that [`Node::Table`] reads.
pub(super) const TABLE: u32 = 16;

/// Returns word `index` of the table, or 0 beyond its end.
pub(super) fn table_word(index: u64) -> u64 {
    if index < u64::from(TABLE) { ((index + 1) * 0x0123_4567) & 0xffff_ffff } else { 0 }
}

impl Output {
    /// Returns the variable that is output.
    pub(super) fn var(self) -> Var {
        match self {
            Self::Store(var) | Self::Atomic(_, var) => var,
        }
    }
}

impl Program {
    /// Adds a variable of type `ty`.
    pub(super) fn var(&mut self, ty: Type) -> Var {
        self.types.push(ty);
        self.types.len() - 1
    }

    /// Appends an op and returns its result.
    pub(super) fn op(&mut self, op: Op, args: Vec<Var>, result: Type) -> Var {
        let to = self.var(result);
        self.body.push(Node::Op { to, op, args });
        to
    }

    /// Appends an input and returns it.
    pub(super) fn input(&mut self, ty: Type, source: Source) -> Var {
        let to = self.var(ty);
        self.body.push(Node::Input { to, source });
        to
    }
}

/// The values of one variable in every invocation, and a bit mask of the invocations in which the value is decided.
#[derive(Clone, Debug)]
pub(super) struct Column {
    pub(super) values: [Components; INVOCATIONS],
    pub(super) decided: u64,
}

impl Column {
    /// Zero in every invocation.
    pub(super) const ZERO: Self = Self { values: [[0; 4]; INVOCATIONS], decided: u64::MAX };
}
