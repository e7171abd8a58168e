//! Classes of ops, as one enum for each, so that a lowering or evaluator matches the ops of a class without a remainder.
//!
//! One table assigns every op to a class. A new op does not compile until it has one, and then not until every match on
//! that class handles it.

use super::{OPS, Op};
use crate::types::ScalarClass;

macro_rules! op_classes {
    (
        equality [$($equality:ident)*]
        order [$($order:ident)*]
        number [$($number:ident)*]
        logic [$($logic:ident)*]
        integer [$($integer:ident)*]
        float [$($float:ident)*]
        transcendental [$($transcendental:ident)*]
        untyped [$($untyped:ident)*]
        special { $($(#[$doc:meta])* $group:ident $class:ident [$($name:ident = $member:ident,)*])* }
        alone [$($alone:ident)*]
    ) => {
        /// A comparison of two values of one type.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum CompareOp {
            $(#[doc = concat!("[`Op::", stringify!($equality), "`].")] $equality,)*
            $(#[doc = concat!("[`Op::", stringify!($order), "`].")] $order,)*
        }

        /// A transcendental function: exponential, logarithmic, trigonometric or hyperbolic.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum TranscendentalOp {
            $(#[doc = concat!("[`Op::", stringify!($transcendental), "`].")] $transcendental,)*
        }

        /// An op on `bool`s.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum BoolOp {
            $(#[doc = concat!("[`Op::", stringify!($logic), "`].")] $logic,)*
            $(#[doc = concat!("[`Op::", stringify!($equality), "`].")] $equality,)*
        }

        /// An op on integers.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum IntegerOp {
            /// A comparison.
            Compare(CompareOp),
            $(#[doc = concat!("[`Op::", stringify!($number), "`].")] $number,)*
            $(#[doc = concat!("[`Op::", stringify!($logic), "`].")] $logic,)*
            $(#[doc = concat!("[`Op::", stringify!($integer), "`].")] $integer,)*
        }

        /// An op on floats.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum FloatOp {
            /// A comparison.
            Compare(CompareOp),
            /// A transcendental function.
            Transcendental(TranscendentalOp),
            $(#[doc = concat!("[`Op::", stringify!($number), "`].")] $number,)*
            $(#[doc = concat!("[`Op::", stringify!($float), "`].")] $float,)*
        }

        /// A pure op, and the class of the components that it is applied to.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum ScalarOp {
            /// An op on `bool`s, lane by lane.
            Bool(BoolOp),
            /// An op on integers, lane by lane.
            Integer(IntegerOp),
            /// An op on floats, lane by lane.
            Float(FloatOp),
            $(
                #[doc = concat!("[`Op::", stringify!($untyped), "`], for any class of components.")]
                $untyped,
            )*
        }

        $(
            $(#[$doc])*
            #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
            pub enum $class {
                $(#[doc = concat!("[`Op::", stringify!($member), "`].")] $name,)*
            }

            impl $class {
                /// Returns `op` as a member of this class.
                pub const fn of(op: Op) -> Option<Self> {
                    if let OpClass::$group(member) = op.class() { Some(member) } else { None }
                }
            }

            impl From<$class> for Op {
                fn from(op: $class) -> Self {
                    match op {
                        $($class::$name => Op::$member,)*
                    }
                }
            }
        )*

        /// The class of an op. Exhaustive, as the classes are: a lowering that misses an op must not compile, so a new op
        /// is a breaking change.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum OpClass {
            /// A pure op; [`Op::on`] returns its meaning on a class of components.
            Scalar,
            $(
                $(#[$doc])*
                $group($class),
            )*
            $(#[doc = concat!("[`Op::", stringify!($alone), "`].")] $alone,)*
        }

        impl Op {
            /// Returns the class of the op.
            pub const fn class(self) -> OpClass {
                match self {
                    $(Op::$equality)|* | $(Op::$order)|* | $(Op::$number)|* | $(Op::$logic)|* | $(Op::$integer)|*
                    | $(Op::$float)|* | $(Op::$transcendental)|* | $(Op::$untyped)|* => OpClass::Scalar,
                    $($(Op::$member => OpClass::$group($class::$name),)*)*
                    $(Op::$alone => OpClass::$alone,)*
                }
            }

            /// Returns the pure op on components of class `class`, or `None` if it is not pure or has no meaning there.
            ///
            /// The op table may restrict an op to some types of the class.
            #[inline]
            pub const fn on(self, class: ScalarClass) -> Option<ScalarOp> {
                ON[self as usize][match class {
                    ScalarClass::Bool => 0,
                    ScalarClass::Signed => 1,
                    ScalarClass::Unsigned => 2,
                    ScalarClass::Float => 3,
                }]
            }

            const fn find_on(self, class: ScalarClass) -> Option<ScalarOp> {
                use ScalarClass::{Bool, Float, Signed, Unsigned};
                Some(match (self, class) {
                    $(
                        (Op::$equality, Bool) => ScalarOp::Bool(BoolOp::$equality),
                        (Op::$equality, Signed | Unsigned) => {
                            ScalarOp::Integer(IntegerOp::Compare(CompareOp::$equality))
                        }
                        (Op::$equality, Float) => ScalarOp::Float(FloatOp::Compare(CompareOp::$equality)),
                    )*
                    $(
                        (Op::$order, Signed | Unsigned) => {
                            ScalarOp::Integer(IntegerOp::Compare(CompareOp::$order))
                        }
                        (Op::$order, Float) => ScalarOp::Float(FloatOp::Compare(CompareOp::$order)),
                        (Op::$order, Bool) => return None,
                    )*
                    $(
                        (Op::$number, Signed | Unsigned) => ScalarOp::Integer(IntegerOp::$number),
                        (Op::$number, Float) => ScalarOp::Float(FloatOp::$number),
                        (Op::$number, Bool) => return None,
                    )*
                    $(
                        (Op::$logic, Bool) => ScalarOp::Bool(BoolOp::$logic),
                        (Op::$logic, Signed | Unsigned) => ScalarOp::Integer(IntegerOp::$logic),
                        (Op::$logic, Float) => return None,
                    )*
                    $(
                        (Op::$integer, Signed | Unsigned) => ScalarOp::Integer(IntegerOp::$integer),
                        (Op::$integer, Bool | Float) => return None,
                    )*
                    $(
                        (Op::$float, Float) => ScalarOp::Float(FloatOp::$float),
                        (Op::$float, Bool | Signed | Unsigned) => return None,
                    )*
                    $(
                        (Op::$transcendental, Float) => {
                            ScalarOp::Float(FloatOp::Transcendental(TranscendentalOp::$transcendental))
                        }
                        (Op::$transcendental, Bool | Signed | Unsigned) => return None,
                    )*
                    $((Op::$untyped, _) => ScalarOp::$untyped,)*
                    $($((Op::$member, _) => return None,)*)*
                    $((Op::$alone, _) => return None,)*
                })
            }
        }

        /// The results of [`Op::on`], indexed by op number and class: compilers call it several times for each instruction.
        static ON: [[Option<ScalarOp>; 4]; MOST_NUMBERS] = {
            use ScalarClass::{Bool, Float, Signed, Unsigned};
            let mut on = [[None; 4]; MOST_NUMBERS];
            let mut row = 0;
            while row < OPS.len() {
                let op = OPS[row].op;
                let of = [op.find_on(Bool), op.find_on(Signed), op.find_on(Unsigned), op.find_on(Float)];
                on[op as usize] = of;
                row += 1;
            }
            on
        };

        #[cfg(test)]
        const LANE_BY_LANE: &[Op] = &[
            $(Op::$equality,)* $(Op::$order,)* $(Op::$number,)* $(Op::$logic,)* $(Op::$integer,)* $(Op::$float,)*
            $(Op::$transcendental,)*
        ];
    };
}

/// More than the largest number of an op, which the compiler checks.
const MOST_NUMBERS: usize = 512;

op_classes! {
    equality [Eq Ne]
    order [Lt Le Gt Ge]
    number [Add Sub Mul Div Neg Abs Sign Min Max Clamp]
    logic [And Or Xor Not]
    integer [
        MulHi Rem AddSat SubSat Shl Shr RotateLeft RotateRight PopCount LeadingZeros TrailingZeros ReverseBits
        ExtractBits InsertBits DotPacked
    ]
    float [Fma Floor Ceil Trunc Round Fract Sqrt Rsqrt IsNan IsInf]
    transcendental [Exp Exp2 Log Log2 Pow Sin Cos Tan Asin Acos Atan Atan2 Sinh Cosh Tanh]
    untyped [Select Convert Bitcast Pack Unpack Construct Extract Insert Dot]
    special {
        /// An access to memory, or a length.
        Memory MemoryOp [Load = Load, Store = Store, Len = Len,]
        /// An atomic access.
        Atomic AtomicOp [
            Load = AtomicLoad,
            Store = AtomicStore,
            Add = AtomicAdd,
            Min = AtomicMin,
            Max = AtomicMax,
            And = AtomicAnd,
            Or = AtomicOr,
            Xor = AtomicXor,
            Exchange = AtomicExchange,
            CompareExchange = AtomicCompareExchange,
        ]
        /// An id of an invocation, or a size that is the same for all.
        Id IdOp [
            GlobalId = GlobalId,
            LocalId = LocalId,
            WorkgroupId = WorkgroupId,
            NumWorkgroups = NumWorkgroups,
            LocalIndex = LocalIndex,
            Lane = Lane,
            SubgroupId = SubgroupId,
            SubgroupSize = SubgroupSize,
            NumSubgroups = NumSubgroups,
            LaneMaskLt = LaneMaskLt,
        ]
        /// An op across the lanes of a subgroup.
        Subgroup SubgroupOp [
            Reduce = SubgroupReduce,
            InclusiveScan = SubgroupInclusiveScan,
            ExclusiveScan = SubgroupExclusiveScan,
            Broadcast = SubgroupBroadcast,
            Shuffle = SubgroupShuffle,
            ShuffleXor = SubgroupShuffleXor,
            ShuffleUp = SubgroupShuffleUp,
            ShuffleDown = SubgroupShuffleDown,
            Ballot = SubgroupBallot,
            BallotCount = SubgroupBallotCount,
            Match = SubgroupMatch,
            Any = SubgroupAny,
            All = SubgroupAll,
            Elect = SubgroupElect,
        ]
        /// An op on cooperative matrices.
        Matrix MatrixOp [
            Load = CoopLoad,
            Store = CoopStore,
            Fill = CoopFill,
            MulAdd = CoopMulAdd,
            Convert = CoopConvert,
        ]
    }
    alone [VecShuffle Barrier SubgroupBarrier Fence WorkgroupBroadcast If For While Region Trap]
}

impl BoolOp {
    /// Returns `op` as an op on `bool`s.
    pub const fn of(op: Op) -> Option<Self> {
        if let Some(ScalarOp::Bool(op)) = op.on(ScalarClass::Bool) { Some(op) } else { None }
    }
}

impl IntegerOp {
    /// Returns `op` as an op on integers.
    pub const fn of(op: Op) -> Option<Self> {
        if let Some(ScalarOp::Integer(op)) = op.on(ScalarClass::Unsigned) { Some(op) } else { None }
    }
}

impl FloatOp {
    /// Returns `op` as an op on floats.
    pub const fn of(op: Op) -> Option<Self> {
        if let Some(ScalarOp::Float(op)) = op.on(ScalarClass::Float) { Some(op) } else { None }
    }
}

impl CompareOp {
    /// Returns `op` as a comparison.
    pub const fn of(op: Op) -> Option<Self> {
        if let Some(IntegerOp::Compare(op)) = IntegerOp::of(op) { Some(op) } else { None }
    }

    /// Returns the comparison that is true of `b`, `a` where this one is true of `a`, `b`.
    pub const fn mirrored(self) -> Self {
        match self {
            Self::Eq => Self::Eq,
            Self::Ne => Self::Ne,
            Self::Lt => Self::Gt,
            Self::Le => Self::Ge,
            Self::Gt => Self::Lt,
            Self::Ge => Self::Le,
        }
    }

    /// Returns the comparison of integers that is true where this one is false.
    pub const fn negated(self) -> Self {
        match self {
            Self::Eq => Self::Ne,
            Self::Ne => Self::Eq,
            Self::Lt => Self::Ge,
            Self::Le => Self::Gt,
            Self::Gt => Self::Le,
            Self::Ge => Self::Lt,
        }
    }
}

impl AtomicOp {
    /// Returns the number of operands after the element.
    pub const fn operands(self) -> usize {
        match self {
            Self::Load => 0,
            Self::Store | Self::Exchange => 1,
            Self::Add | Self::Min | Self::Max | Self::And | Self::Or | Self::Xor => 1,
            Self::CompareExchange => 2,
        }
    }

    /// Returns whether the element may be a float.
    pub const fn takes_floats(self) -> bool {
        match self {
            Self::Load | Self::Store | Self::Exchange | Self::Add => true,
            Self::Min | Self::Max | Self::And | Self::Or | Self::Xor | Self::CompareExchange => false,
        }
    }
}

impl IdOp {
    /// Returns whether the id depends on the division of a workgroup into subgroups.
    pub const fn sees_subgroups(self) -> bool {
        match self {
            Self::Lane | Self::SubgroupId | Self::SubgroupSize | Self::NumSubgroups | Self::LaneMaskLt => {
                true
            }
            Self::GlobalId | Self::LocalId | Self::WorkgroupId | Self::NumWorkgroups | Self::LocalIndex => {
                false
            }
        }
    }
}

impl SubgroupOp {
    /// Returns whether the op combines values and states how.
    pub const fn combines(self) -> bool {
        match self {
            Self::Reduce | Self::InclusiveScan | Self::ExclusiveScan => true,
            Self::Broadcast | Self::Shuffle | Self::ShuffleXor | Self::ShuffleUp | Self::ShuffleDown => false,
            Self::Ballot | Self::BallotCount | Self::Match | Self::Any | Self::All | Self::Elect => false,
        }
    }

    /// Returns whether the op gives each lane the value of some lane, chosen by a second operand.
    pub const fn moves(self) -> bool {
        match self {
            Self::Broadcast | Self::Shuffle | Self::ShuffleXor | Self::ShuffleUp | Self::ShuffleDown => true,
            Self::Reduce | Self::InclusiveScan | Self::ExclusiveScan => false,
            Self::Ballot | Self::BallotCount | Self::Match | Self::Any | Self::All | Self::Elect => false,
        }
    }
}

/// An op of the op table that also works on cooperative matrices, component by component.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ElementwiseOp {
    /// [`Op::Add`].
    Add,
    /// [`Op::Sub`].
    Sub,
    /// [`Op::Mul`].
    Mul,
    /// [`Op::Div`], of floats.
    Div,
    /// [`Op::Neg`].
    Neg,
    /// [`Op::Select`], by one condition.
    Select,
}

impl ElementwiseOp {
    /// Returns `op` as an op on matrices.
    pub const fn of(op: Op) -> Option<Self> {
        let Some(op) = op.on(ScalarClass::Float) else { return None };
        match op {
            ScalarOp::Float(FloatOp::Add) => Some(Self::Add),
            ScalarOp::Float(FloatOp::Sub) => Some(Self::Sub),
            ScalarOp::Float(FloatOp::Mul) => Some(Self::Mul),
            ScalarOp::Float(FloatOp::Div) => Some(Self::Div),
            ScalarOp::Float(FloatOp::Neg) => Some(Self::Neg),
            ScalarOp::Select => Some(Self::Select),
            ScalarOp::Float(
                FloatOp::Compare(_)
                | FloatOp::Transcendental(_)
                | FloatOp::Abs
                | FloatOp::Sign
                | FloatOp::Min
                | FloatOp::Max
                | FloatOp::Clamp
                | FloatOp::Fma
                | FloatOp::Floor
                | FloatOp::Ceil
                | FloatOp::Trunc
                | FloatOp::Round
                | FloatOp::Fract
                | FloatOp::Sqrt
                | FloatOp::Rsqrt
                | FloatOp::IsNan
                | FloatOp::IsInf,
            )
            | ScalarOp::Bool(_)
            | ScalarOp::Integer(_)
            | ScalarOp::Convert
            | ScalarOp::Bitcast
            | ScalarOp::Pack
            | ScalarOp::Unpack
            | ScalarOp::Construct
            | ScalarOp::Extract
            | ScalarOp::Insert
            | ScalarOp::Dot => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::{OPS, Semantics, Special};
    use crate::types::ScalarType;

    /// Every type that the op table permits must have a meaning, and a class without permitted types none.
    #[test]
    fn classes_agree_with_the_op_table() {
        for row in OPS {
            let Semantics::Scalar { domain, .. } = row.semantics else {
                let pure = row.semantics == Semantics::Special(Special::Construct);
                assert_eq!(row.op.class() == OpClass::Scalar, pure, "{}", row.mnemonic);
                continue;
            };
            assert_eq!(row.op.class(), OpClass::Scalar, "{}", row.mnemonic);
            for ty in ScalarType::ALL {
                let permitted =
                    ScalarType::ALL.into_iter().any(|t| t.class() == ty.class() && domain.contains(t));
                let is_untyped = !LANE_BY_LANE.contains(&row.op);
                assert_eq!(row.op.on(ty.class()).is_some(), permitted || is_untyped, "{} {ty}", row.mnemonic);
            }
        }
    }

    #[test]
    fn members_convert_back_to_their_op() {
        for row in OPS {
            let op = match row.op.class() {
                OpClass::Memory(op) => Op::from(op),
                OpClass::Atomic(op) => op.into(),
                OpClass::Id(op) => op.into(),
                OpClass::Subgroup(op) => op.into(),
                OpClass::Matrix(op) => op.into(),
                _ => continue,
            };
            assert_eq!(op, row.op);
        }
    }
}
