//! Chains of ops that drivers were found to fold wrongly: one kernel per lowering rule, emitted without any rule.
//!
//! A wrong result shows that a driver needs the rule. A correct one shows nothing, because most faults appear only in
//! larger kernels. The battery therefore adds rules to those of the record and removes none.

use fulgurite_spec::device::Capability;
use fulgurite_spirv::Rules;

/// One kernel. A single workgroup reads the words of `%x` and writes those of `%out`.
pub(super) struct Chain {
    /// The rule that a wrong result requires.
    pub(super) rule: Rules,
    pub(super) needs: &'static [Capability],
    pub(super) text: &'static str,
    pub(super) input: &'static [u32],
    pub(super) expected: &'static [u32],
}

/// All chains.
pub(super) const BATTERY: &[Chain] = &[
    Chain {
        rule: Rules { zeros: true, ..Rules::NONE },
        needs: &[],
        text: include_str!("zeros.fg"),
        // A NaN, −0, 0, and a false condition.
        input: &[0x7fc0_0000, 0x8000_0000, 0, 0],
        expected: &[1, 0, 0, 1, 0, 0],
    },
    Chain {
        rule: Rules { rounding: true, ..Rules::NONE },
        needs: &[Capability::Float16],
        text: include_str!("rounding.fg"),
        // 65520, 2049, and 2, which is shifted left.
        input: &[0x477f_f000, 2049, 2],
        expected: &[0x7f80_0000, 0x4500_0000, 0x7f80_0000],
    },
    Chain {
        rule: Rules { wide_integers: true, ..Rules::NONE },
        needs: &[Capability::Int64],
        text: include_str!("wide_integers.fg"),
        // −1, 3e15 as an `f32`, and a shift of 32.
        input: &[0xffff_ffff, 0x592a_87bf, 32],
        expected: &[1, 0xf000_0000, 0xffff_ffff],
    },
    Chain {
        rule: Rules { wide_division: true, ..Rules::NONE },
        needs: &[Capability::Int64],
        text: include_str!("wide_division.fg"),
        // The dividends 7 and 100 and the divisors −7 and 50, each followed by its high word.
        input: &[7, 0, 100, 0, 0xffff_fff9, 0xffff_ffff, 50, 0],
        expected: &[2, 5],
    },
    Chain {
        rule: Rules { narrow_integers: true, ..Rules::NONE },
        needs: &[Capability::Int8, Capability::Int16, Capability::Int64],
        text: include_str!("narrow_integers.fg"),
        // Four bytes of −128, two halves of −1 and of 0x1234, and a divisor.
        input: &[0x8080_8080, 0xffff_ffff, 0x1234_1234, 7],
        expected: &[0xffff_ff80, 16, 0x3412, 3],
    },
    Chain {
        rule: Rules { signs: true, ..Rules::NONE },
        needs: &[],
        text: include_str!("signs.fg"),
        // The smallest integer, and a NaN.
        input: &[0x8000_0000, 0x7fc0_0000],
        expected: &[0, 0],
    },
    Chain {
        rule: Rules { repeated_loads: true, ..Rules::NONE },
        needs: &[],
        text: include_str!("repeated_loads.fg"),
        // Invocation n goes through the loop 3 − n times.
        input: &[10, 20, 30, 40],
        expected: &[10, 21, 32, 40],
    },
];
