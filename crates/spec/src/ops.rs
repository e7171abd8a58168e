//! The op table: a row of data for every op of the language.
//!
//! The text format, builder, verifier, interpreters, lowering, test generators and docs are driven by this table. An
//! op's number is permanent, because it is part of digests and of the wire format: numbers are never reused and rows
//! never renumbered. [`crate::eval`] defines the semantics of scalar ops.

mod class;

pub use class::{
    AtomicOp, BoolOp, CompareOp, ElementwiseOp, FloatOp, IdOp, IntegerOp, MatrixOp, MemoryOp, OpClass,
    ScalarOp, SubgroupOp, TranscendentalOp,
};

use crate::types::TypeSet;

/// The type of an operand of a scalar op, in terms of the op's main type `T`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operand {
    /// The main type, with its lanes.
    Same,
    /// `u32`, with the main type's lanes.
    U32Lanes,
    /// `bool`, with the main type's lanes.
    BoolLanes,
    /// A scalar `u32`, for any number of lanes.
    U32,
    /// One component of the main type.
    Element,
}

/// The result type of a scalar op, in terms of the op's main type `T`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The main type, with its lanes.
    Same,
    /// `bool`, with the main type's lanes.
    BoolLanes,
    /// `u32`, with the main type's lanes.
    U32Lanes,
    /// One component of the main type.
    Element,
    /// A type stated in the program, with the main type's lanes (`convert`, `bitcast`).
    Stated,
    /// The unsigned integer with the width of the whole vector (`pack`).
    Packed,
    /// A vector type stated in the program, with the width of the integer (`unpack`).
    Unpacked,
}

/// The kind of an op that is not applied lane by lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Special {
    /// Builds a vector from two to four scalars of one type.
    Construct,
    /// Accesses buffers, shared or local memory.
    Memory,
    /// Accesses a scalar in memory atomically.
    Atomic,
    /// Selects literal components of two vectors (`vec.shuffle`).
    Shuffle,
    /// Synchronizes the invocations of a workgroup or subgroup.
    Barrier,
    /// Orders memory accesses without waiting.
    Fence,
    /// Broadcasts one invocation's value to the workgroup.
    Broadcast,
    /// Operates across the lanes of a subgroup.
    Subgroup,
    /// Operates on cooperative matrices.
    Matrix,
    /// Reports an error (`trap`).
    Trap,
    /// A component of a three-component id, named by the program.
    Id,
    /// A scalar id.
    ScalarId,
    /// Structured control flow.
    Control,
}

/// The typing and execution of an op.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Semantics {
    /// A pure function of its operands, defined by [`crate::eval`]. The main type `T` is the type of the first
    /// [`Operand::Same`] operand.
    Scalar {
        /// Permitted component types of `T`.
        domain: TypeSet,
        /// Permitted lanes of `T`.
        lanes: LaneRule,
        /// Operands, in order.
        operands: &'static [Operand],
        /// Whether every operand and the result are of type `T`.
        alike: bool,
        /// Result type.
        outcome: Outcome,
        /// Guarantee for a float result.
        float: FloatContract,
    },
    /// Any other op, with its own rule in the verifier.
    Special(Special),
}

/// The permitted lane counts of a scalar op's main type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LaneRule {
    /// Scalars and vectors; the op is applied to each lane.
    Any,
    /// Vectors only (`extract`, `insert`, `dot`).
    VectorOnly,
    /// Scalars only (`unpack`).
    ScalarOnly,
}

/// The guarantee for an op's float result on every backend.
///
/// In all cases, any NaN may replace another. On devices that do not preserve subnormals, a subnormal operand or result
/// may be replaced by a zero of the same sign.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum FloatContract {
    /// No float result, or one that is selected or built from the operands' bits without rounding.
    Exact,
    /// Exact, except that −0 and +0 are interchangeable (`min`, `max`).
    ExactEitherZero,
    /// Correctly rounded to nearest, ties to even.
    Rounded,
    /// `a × b + c` rounded once, or after each step.
    FusedOrUnfused,
    /// A sum of products from left to right, rounded after each step.
    RoundedDot,
    /// Within [`accuracy::tolerance`](crate::accuracy::tolerance) of the true value.
    Approximate,
}

/// A group of ops in docs, code and tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// `add`, `mul`, `div`, …
    Arithmetic,
    /// `and`, `shl`, `popcount`, …
    Bits,
    /// `eq`, `lt`, `select`, …
    Compare,
    /// `floor`, `sqrt`, `is_nan`, …
    Float,
    /// `convert`, `bitcast`, `pack`, …
    Conversion,
    /// `construct`, `extract`, `insert`, `dot`.
    Vector,
    /// `load`, `store`, `len`.
    Memory,
    /// `atomic.add`, …
    Atomic,
    /// `barrier`, `fence`, …
    Synchronization,
    /// `global_id`, `local_index`, …
    Id,
    /// `subgroup.reduce`, `subgroup.ballot`, …
    Subgroup,
    /// `coop.load`, `coop.mul_add`, …
    Matrix,
    /// `if`, `for`, `while`, `region`, `trap`.
    Control,
}

/// A row of the op table.
#[derive(Clone, Copy, Debug)]
pub struct OpInfo {
    /// The op.
    pub op: Op,
    /// Permanent number.
    pub number: u16,
    /// Name in kernel text.
    pub mnemonic: &'static str,
    /// Group.
    pub family: Family,
    /// Typing and execution.
    pub semantics: Semantics,
    /// One-line description of the result for every input.
    pub summary: &'static str,
}

macro_rules! semantics {
    ($domain:ident $lanes:ident ($($operand:ident),*) -> $outcome:ident $float:expr) => {
        Semantics::Scalar {
            domain: TypeSet::$domain,
            lanes: LaneRule::$lanes,
            operands: &[$(Operand::$operand),*],
            alike: matches!(Outcome::$outcome, Outcome::Same) $(&& matches!(Operand::$operand, Operand::Same))*,
            outcome: Outcome::$outcome,
            float: $float,
        }
    };
    ($special:ident) => { Semantics::Special(Special::$special) };
}

macro_rules! op_table {
    ($($family:ident { $($number:literal $variant:ident $mnemonic:literal [$($semantics:tt)*] $summary:literal;)* })*) => {
        /// An op of the language. [`Op::info`] returns its row of the table.
        ///
        /// Exhaustive: a lowering that misses an op must not compile, so a new op is a breaking change.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u16)]
        pub enum Op {
            $($(
                #[doc = concat!("`", $mnemonic, "`: ", $summary)]
                $variant = $number,
            )*)*
        }

        /// The op table, in ascending order of number.
        pub static OPS: &[OpInfo] = &[
            $($(
                OpInfo {
                    op: Op::$variant,
                    number: $number,
                    mnemonic: $mnemonic,
                    family: Family::$family,
                    semantics: semantics!($($semantics)*),
                    summary: $summary,
                },
            )*)*
        ];
    };
}

use FloatContract::{Approximate, Exact, ExactEitherZero, FusedOrUnfused, Rounded, RoundedDot};

op_table! {
    Arithmetic {
        1 Add "add" [NUMERIC Any (Same, Same) -> Same Rounded] "sum; integers wrap";
        2 Sub "sub" [NUMERIC Any (Same, Same) -> Same Rounded] "difference; integers wrap";
        3 Mul "mul" [NUMERIC Any (Same, Same) -> Same Rounded] "product; integers wrap";
        4 MulHi "mul_hi" [INTEGER Any (Same, Same) -> Same Exact] "the high half of the double-width product";
        5 Div "div" [NUMERIC Any (Same, Same) -> Same Approximate] "quotient; integers truncate, `x / 0` is `x` and `MIN / -1` is `MIN`; floats: approximate for a normal divisor up to half the largest power of two; `x / ±0` is an infinity or NaN and `x / ±inf` a zero or NaN, with the product of the signs";
        6 Rem "rem" [INTEGER Any (Same, Same) -> Same Exact] "remainder with the dividend's sign; `x % 0` and `MIN % -1` are 0";
        7 Neg "neg" [NUMERIC Any (Same) -> Same Exact] "negation; integers wrap";
        8 Abs "abs" [NUMERIC Any (Same) -> Same Exact] "magnitude; `abs(MIN)` is `MIN`";
        9 Sign "sign" [NUMERIC Any (Same) -> Same Exact] "-1, 0 or 1; NaN for NaN";
        10 Min "min" [NUMERIC Any (Same, Same) -> Same ExactEitherZero] "the smaller; the non-NaN operand if one is NaN; either of -0 and +0";
        11 Max "max" [NUMERIC Any (Same, Same) -> Same ExactEitherZero] "the larger; the non-NaN operand if one is NaN; either of -0 and +0";
        12 Clamp "clamp" [NUMERIC Any (Same, Same, Same) -> Same ExactEitherZero] "`min(max(x, lo), hi)`, also when lo > hi";
        13 Fma "fma" [FLOAT Any (Same, Same, Same) -> Same FusedOrUnfused] "`a * b + c`, fused or unfused";
        14 AddSat "add_sat" [INTEGER Any (Same, Same) -> Same Exact] "saturating sum";
        15 SubSat "sub_sat" [INTEGER Any (Same, Same) -> Same Exact] "saturating difference";
    }
    Bits {
        32 And "and" [BOOL_OR_INTEGER Any (Same, Same) -> Same Exact] "bitwise and; on `bool`, logical";
        33 Or "or" [BOOL_OR_INTEGER Any (Same, Same) -> Same Exact] "bitwise or; on `bool`, logical";
        34 Xor "xor" [BOOL_OR_INTEGER Any (Same, Same) -> Same Exact] "bitwise exclusive or; on `bool`, logical";
        35 Not "not" [BOOL_OR_INTEGER Any (Same) -> Same Exact] "bitwise complement; on `bool`, logical";
        36 Shl "shl" [INTEGER Any (Same, U32Lanes) -> Same Exact] "shift left by the amount modulo the width";
        37 Shr "shr" [INTEGER Any (Same, U32Lanes) -> Same Exact] "shift right by the amount modulo the width; arithmetic for signed types";
        38 RotateLeft "rotl" [INTEGER Any (Same, U32Lanes) -> Same Exact] "rotate left by the amount modulo the width";
        39 RotateRight "rotr" [INTEGER Any (Same, U32Lanes) -> Same Exact] "rotate right by the amount modulo the width";
        40 PopCount "popcount" [INTEGER Any (Same) -> Same Exact] "the number of one bits";
        41 LeadingZeros "clz" [INTEGER Any (Same) -> Same Exact] "the number of zero bits above the highest one bit; the width for 0";
        42 TrailingZeros "ctz" [INTEGER Any (Same) -> Same Exact] "the number of zero bits below the lowest one bit; the width for 0";
        43 ReverseBits "reverse_bits" [INTEGER Any (Same) -> Same Exact] "the bits in reverse order";
        44 ExtractBits "extract_bits" [INTEGER Any (Same, U32, U32) -> Same Exact] "`count` bits from `offset`, sign-extended for signed types; offset clamped to the width, count to the remaining bits; 0 if `count` is 0";
        45 InsertBits "insert_bits" [INTEGER Any (Same, Same, U32, U32) -> Same Exact] "the first operand with `count` bits from `offset` taken from the low bits of the second; clamped like `extract_bits`";
    }
    Compare {
        64 Eq "eq" [ALL Any (Same, Same) -> BoolLanes Exact] "equal; false if either is NaN";
        65 Ne "ne" [ALL Any (Same, Same) -> BoolLanes Exact] "not equal; true if either is NaN";
        66 Lt "lt" [NUMERIC Any (Same, Same) -> BoolLanes Exact] "less; false if either is NaN";
        67 Le "le" [NUMERIC Any (Same, Same) -> BoolLanes Exact] "less or equal; false if either is NaN";
        68 Gt "gt" [NUMERIC Any (Same, Same) -> BoolLanes Exact] "greater; false if either is NaN";
        69 Ge "ge" [NUMERIC Any (Same, Same) -> BoolLanes Exact] "greater or equal; false if either is NaN";
        70 Select "select" [ALL Any (BoolLanes, Same, Same) -> Same Exact] "the second operand where the first is true, otherwise the third";
    }
    Float {
        96 Floor "floor" [FLOAT Any (Same) -> Same Exact] "rounds towards negative infinity";
        97 Ceil "ceil" [FLOAT Any (Same) -> Same Exact] "rounds towards positive infinity";
        98 Trunc "trunc" [FLOAT Any (Same) -> Same Exact] "rounds towards zero";
        99 Round "round" [FLOAT Any (Same) -> Same Exact] "rounds to nearest, ties to even";
        100 Fract "fract" [FLOAT Any (Same) -> Same Rounded] "`x - floor(x)`; may round up to 1; NaN for infinities";
        101 Sqrt "sqrt" [FLOAT Any (Same) -> Same Approximate] "square root; the same zero for zeros, NaN below zero, infinity for infinity";
        102 Rsqrt "rsqrt" [FLOAT Any (Same) -> Same Approximate] "reciprocal square root; an infinity for zeros, NaN below zero, 0 for infinity";
        103 Exp "exp" [TRANSCENDENTAL Any (Same) -> Same Approximate] "e raised to the operand; infinity for infinity, 0 for -infinity";
        104 Exp2 "exp2" [TRANSCENDENTAL Any (Same) -> Same Approximate] "2 raised to the operand; infinity for infinity, 0 for -infinity";
        105 Log "log" [TRANSCENDENTAL Any (Same) -> Same Approximate] "natural logarithm; -infinity for zeros, NaN below zero, infinity for infinity";
        106 Log2 "log2" [TRANSCENDENTAL Any (Same) -> Same Approximate] "logarithm to base 2; -infinity for zeros, NaN below zero, infinity for infinity";
        107 Pow "pow" [TRANSCENDENTAL Any (Same, Same) -> Same Approximate] "the first operand raised to the second; NaN if the first is below zero; any value if either is not finite, the first is zero, or the magnitude of the second is above 2^20";
        108 Sin "sin" [TRANSCENDENTAL Any (Same) -> Same Approximate] "sine, for magnitudes up to 32768; any value from -1 to 1 or NaN beyond; NaN for infinities";
        109 Cos "cos" [TRANSCENDENTAL Any (Same) -> Same Approximate] "cosine, for magnitudes up to 32768; any value from -1 to 1 or NaN beyond; NaN for infinities";
        110 Tan "tan" [TRANSCENDENTAL Any (Same) -> Same Approximate] "tangent, for magnitudes up to 32768; any value beyond; NaN for infinities";
        111 Asin "asin" [TRANSCENDENTAL Any (Same) -> Same Approximate] "arcsine; NaN for magnitudes above 1";
        112 Acos "acos" [TRANSCENDENTAL Any (Same) -> Same Approximate] "arccosine; NaN for magnitudes above 1";
        113 Atan "atan" [TRANSCENDENTAL Any (Same) -> Same Approximate] "arctangent";
        114 Atan2 "atan2" [TRANSCENDENTAL Any (Same, Same) -> Same Approximate] "the angle of the point (second, first), from -pi to pi; any angle if both are zero or infinite, or if the quotient or its reciprocal is subnormal";
        115 Sinh "sinh" [TRANSCENDENTAL Any (Same) -> Same Approximate] "hyperbolic sine";
        116 Cosh "cosh" [TRANSCENDENTAL Any (Same) -> Same Approximate] "hyperbolic cosine";
        117 Tanh "tanh" [TRANSCENDENTAL Any (Same) -> Same Approximate] "hyperbolic tangent; 1 and -1 for large magnitudes";
        120 IsNan "is_nan" [FLOAT Any (Same) -> BoolLanes Exact] "whether the operand is NaN";
        121 IsInf "is_inf" [FLOAT Any (Same) -> BoolLanes Exact] "whether the operand is an infinity";
    }
    Conversion {
        128 Convert "convert" [ALL Any (Same) -> Stated Rounded] "converts the value: to floats, rounding to nearest even; from floats to integers, truncating and saturating (NaN is 0); between integers, keeping the low bits; from `bool`, 0 or 1; to `bool`, true unless zero";
        129 Bitcast "bitcast" [NUMERIC Any (Same) -> Stated Exact] "reinterprets the bits as another type of the same width";
        130 Pack "pack" [NUMERIC VectorOnly (Same) -> Packed Exact] "concatenates the components' bits, the first lowest, into an unsigned integer of 16, 32 or 64 bits";
        131 Unpack "unpack" [UNSIGNED ScalarOnly (Same) -> Unpacked Exact] "splits the operand into a stated vector of its width, the first component from the lowest bits";
    }
    Vector {
        160 Construct "construct" [Construct] "a vector of the operands, in order";
        161 Extract "extract" [ALL VectorOnly (Same, U32) -> Element Exact] "the component at an index; zero if out of range";
        162 Insert "insert" [ALL VectorOnly (Same, U32, Element) -> Same Exact] "the vector with one component replaced; unchanged if the index is out of range";
        163 VecShuffle "vec.shuffle" [Shuffle] "selects components from the concatenation of two vectors by literal indices";
        164 Dot "dot" [NUMERIC VectorOnly (Same, Same) -> Element RoundedDot] "products summed left to right; integers wrap";
        165 DotPacked "dot_packed" [INTEGER32 Any (Same, Same) -> Same Exact] "the sum of the products of the operands' four bytes, which are signed for `i32`";
    }
    Memory {
        192 Load "load" [Memory] "reads an element; 0 if the index is out of bounds";
        193 Store "store" [Memory] "writes an element; no effect if the index is out of bounds";
        194 Len "len" [Memory] "the number of whole elements in a buffer, shared or local array";
    }
    Atomic {
        224 AtomicLoad "atomic.load" [Atomic] "reads; 0 if out of bounds";
        225 AtomicStore "atomic.store" [Atomic] "writes; no effect if out of bounds";
        226 AtomicAdd "atomic.add" [Atomic] "adds; integers wrap; yields the old value, 0 if out of bounds";
        227 AtomicMin "atomic.min" [Atomic] "stores the smaller; yields the old value, 0 if out of bounds";
        228 AtomicMax "atomic.max" [Atomic] "stores the larger; yields the old value, 0 if out of bounds";
        229 AtomicAnd "atomic.and" [Atomic] "bitwise and; yields the old value, 0 if out of bounds";
        230 AtomicOr "atomic.or" [Atomic] "bitwise or; yields the old value, 0 if out of bounds";
        231 AtomicXor "atomic.xor" [Atomic] "bitwise exclusive or; yields the old value, 0 if out of bounds";
        232 AtomicExchange "atomic.exchange" [Atomic] "replaces; yields the old value, 0 if out of bounds";
        233 AtomicCompareExchange "atomic.compare_exchange" [Atomic] "replaces with the second operand if equal to the first; yields the old value, 0 if out of bounds";
    }
    Synchronization {
        256 Barrier "barrier" [Barrier] "waits for all invocations of the workgroup, and makes their writes to memory visible to all of them";
        257 SubgroupBarrier "subgroup_barrier" [Barrier] "waits for all invocations of the subgroup, and makes their writes to memory visible to all of them";
        258 Fence "fence" [Fence] "orders this invocation's accesses to shared memory and buffers before and after it, without waiting";
        259 WorkgroupBroadcast "workgroup_broadcast" [Broadcast] "the value of the invocation whose local index is the second operand, for the whole workgroup; 0 if there is none; waits like a barrier";
    }
    Id {
        288 GlobalId "global_id" [Id] "workgroup_id * workgroup size + local_id";
        289 LocalId "local_id" [Id] "the invocation's position in the workgroup";
        290 WorkgroupId "workgroup_id" [Id] "the workgroup's position in the grid";
        291 NumWorkgroups "num_workgroups" [Id] "the grid's size in workgroups";
        292 LocalIndex "local_index" [ScalarId] "local_id flattened, x fastest";
        293 Lane "lane" [ScalarId] "the invocation's position in the subgroup: local_index modulo subgroup_size";
        294 SubgroupId "subgroup_id" [ScalarId] "the subgroup's position in the workgroup: local_index / subgroup_size";
        295 SubgroupSize "subgroup_size" [ScalarId] "the number of lanes of a full subgroup; the last of a workgroup may have fewer";
        296 NumSubgroups "num_subgroups" [ScalarId] "the number of subgroups in the workgroup, including a partial last one";
        297 LaneMaskLt "lane_mask_lt" [ScalarId] "128 bits, low first, with the bits of all lower lanes set";
    }
    Subgroup {
        320 SubgroupReduce "subgroup.reduce" [Subgroup] "the combined values of all lanes; floats in any order";
        321 SubgroupInclusiveScan "subgroup.inclusive_scan" [Subgroup] "the combined values of this lane and all lower ones; floats in any order";
        322 SubgroupExclusiveScan "subgroup.exclusive_scan" [Subgroup] "the combined values of all lower lanes, or the identity for the first lane; floats in any order";
        323 SubgroupBroadcast "subgroup.broadcast" [Subgroup] "the value of one lane, the same for all; a lane's own value if there is no such lane";
        324 SubgroupShuffle "subgroup.shuffle" [Subgroup] "the value of the lane with the given number; the lane's own value if there is no such lane";
        325 SubgroupShuffleXor "subgroup.shuffle_xor" [Subgroup] "the value of the lane whose number is this lane's number exclusive-or the operand; the lane's own value if there is no such lane";
        326 SubgroupShuffleUp "subgroup.shuffle_up" [Subgroup] "the value of the lane whose number is lower by the operand; the lane's own value if there is no such lane";
        327 SubgroupShuffleDown "subgroup.shuffle_down" [Subgroup] "the value of the lane whose number is higher by the operand; the lane's own value if there is no such lane";
        328 SubgroupBallot "subgroup.ballot" [Subgroup] "128 bits, low first, with the bits of the lanes set where the operand is true";
        329 SubgroupBallotCount "subgroup.ballot_count" [Subgroup] "the number of lanes where the operand is true";
        330 SubgroupMatch "subgroup.match" [Subgroup] "128 bits, low first, with the bits of the lanes set whose value has the same bits as this lane's";
        331 SubgroupAny "subgroup.any" [Subgroup] "whether the operand is true in any lane";
        332 SubgroupAll "subgroup.all" [Subgroup] "whether the operand is true in all lanes";
        333 SubgroupElect "subgroup.elect" [Subgroup] "true in the first lane only";
    }
    Matrix {
        352 CoopLoad "coop.load" [Matrix] "reads a matrix with a stride between its lines; components out of bounds are 0";
        353 CoopStore "coop.store" [Matrix] "writes a matrix; no effect where its components are out of bounds";
        354 CoopFill "coop.fill" [Matrix] "a matrix whose components are all the operand";
        355 CoopMulAdd "coop.mul_add" [Matrix] "the matrix product of the first two plus the third; integers wrap, floats are summed in any order";
        356 CoopConvert "coop.convert" [Matrix] "the matrix with another role or another component type, as by `convert`";
    }
    Control {
        384 If "if" [Control] "one of two blocks; yields values";
        385 For "for" [Control] "a counted loop: the trip count is computed first, so it always terminates";
        386 While "while" [Control] "a loop that runs while its condition is true";
        387 Region "region" [Control] "a named block that records its origin and has no other effect; yields values";
        388 Trap "trap" [Trap] "makes the launch fail with this code; the invocation continues";
    }
}

/// One more than the largest number of an op.
const NUMBERS: usize = OPS[OPS.len() - 1].number as usize + 1;

/// The position in [`OPS`] of each op, by number.
const ROWS: [u8; NUMBERS] = {
    assert!(OPS.len() <= u8::MAX as usize, "positions fit a byte");
    let mut rows = [0; NUMBERS];
    let mut row = 0;
    while row < OPS.len() {
        assert!(row == 0 || OPS[row - 1].number < OPS[row].number, "the table is sorted by number");
        rows[OPS[row].number as usize] = row as u8;
        row += 1;
    }
    rows
};

impl Op {
    /// Returns the op's row of the table.
    #[inline]
    pub fn info(self) -> &'static OpInfo {
        &OPS[usize::from(ROWS[self as usize])]
    }

    /// Returns whether this is a transcendental function: exponential, logarithmic, trigonometric or hyperbolic.
    pub const fn is_transcendental(self) -> bool {
        matches!(FloatOp::of(self), Some(FloatOp::Transcendental(_)))
    }

    /// Returns whether the program states the result type of this scalar op.
    pub fn states_result(self) -> bool {
        match self.info().semantics {
            Semantics::Scalar { outcome, .. } => match outcome {
                Outcome::Stated | Outcome::Unpacked => true,
                Outcome::Same
                | Outcome::BoolLanes
                | Outcome::U32Lanes
                | Outcome::Element
                | Outcome::Packed => false,
            },
            Semantics::Special(_) => false,
        }
    }

    /// Returns the permanent number.
    pub const fn number(self) -> u16 {
        self as u16
    }

    /// Returns the name in kernel text.
    pub fn mnemonic(self) -> &'static str {
        self.info().mnemonic
    }

    /// Returns the op with this name in kernel text.
    pub fn parse(mnemonic: &str) -> Option<Op> {
        OPS.iter().find(|row| row.mnemonic == mnemonic).map(|row| row.op)
    }

    /// Returns the op with this number.
    pub fn from_number(number: u16) -> Option<Op> {
        OPS.binary_search_by_key(&number, |row| row.number).ok().map(|i| OPS[i].op)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::MAX_SCALAR_OPERANDS;
    use crate::types::Lanes;
    use std::collections::BTreeSet;

    #[test]
    fn numbers_ascend_and_names_are_unique() {
        assert!(OPS.windows(2).all(|w| w[0].number < w[1].number));
        let names: BTreeSet<_> = OPS.iter().map(|row| row.mnemonic).collect();
        assert_eq!(names.len(), OPS.len());
        for row in OPS {
            assert_eq!(row.op.info().mnemonic, row.mnemonic);
            assert_eq!(Op::parse(row.mnemonic), Some(row.op));
            assert_eq!(Op::from_number(row.number), Some(row.op));
        }
        assert_eq!(Op::from_number(0), None);
    }

    #[test]
    fn scalar_ops_have_at_most_four_operands() {
        let counts = OPS.iter().filter_map(|row| match row.op.info().semantics {
            Semantics::Scalar { operands, .. } => Some(operands.len()),
            Semantics::Special(_) => None,
        });
        assert_eq!(counts.max(), Some(MAX_SCALAR_OPERANDS));
        // `construct` has one for each component.
        assert_eq!(Lanes::ALL.map(Lanes::count).into_iter().max(), Some(MAX_SCALAR_OPERANDS as u32));
    }

    /// Numbers are permanent. Changing one changes every digest: add rows, never edit one.
    #[test]
    fn numbers_are_permanent() {
        let expected = "1 add,2 sub,3 mul,4 mul_hi,5 div,6 rem,7 neg,8 abs,9 sign,10 min,11 max,12 clamp,13 fma,\
            14 add_sat,15 sub_sat,32 and,33 or,34 xor,35 not,36 shl,37 shr,38 rotl,39 rotr,40 popcount,41 clz,42 ctz,43 reverse_bits,\
            44 extract_bits,45 insert_bits,64 eq,65 ne,66 lt,67 le,68 gt,69 ge,70 select,96 floor,97 ceil,98 trunc,\
            99 round,100 fract,101 sqrt,102 rsqrt,103 exp,104 exp2,105 log,106 log2,107 pow,\
            108 sin,109 cos,110 tan,111 asin,112 acos,113 atan,114 atan2,115 sinh,116 cosh,117 tanh,120 is_nan,121 is_inf,128 convert,129 bitcast,130 pack,131 unpack,160 construct,\
            161 extract,162 insert,163 vec.shuffle,164 dot,165 dot_packed,192 load,193 store,194 len,224 atomic.load,225 atomic.store,\
            226 atomic.add,227 atomic.min,228 atomic.max,229 atomic.and,230 atomic.or,231 atomic.xor,\
            232 atomic.exchange,233 atomic.compare_exchange,256 barrier,257 subgroup_barrier,258 fence,\
            259 workgroup_broadcast,288 global_id,289 local_id,290 workgroup_id,291 num_workgroups,292 local_index,\
            293 lane,294 subgroup_id,295 subgroup_size,296 num_subgroups,297 lane_mask_lt,320 subgroup.reduce,\
            321 subgroup.inclusive_scan,322 subgroup.exclusive_scan,323 subgroup.broadcast,324 subgroup.shuffle,\
            325 subgroup.shuffle_xor,326 subgroup.shuffle_up,327 subgroup.shuffle_down,328 subgroup.ballot,\
            329 subgroup.ballot_count,330 subgroup.match,331 subgroup.any,332 subgroup.all,333 subgroup.elect,\
            352 coop.load,353 coop.store,354 coop.fill,355 coop.mul_add,356 coop.convert,\
            384 if,385 for,386 while,387 region,388 trap";
        let actual: Vec<_> = OPS.iter().map(|row| format!("{} {}", row.number, row.mnemonic)).collect();
        assert_eq!(actual.join(","), expected);
    }
}
