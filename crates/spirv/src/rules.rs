//! Lowering rules that work around wrong constant folding in driver compilers.
//!
//! Drivers fold one op into the next, and get some of it wrong although each op alone is right. A rule in force combines
//! what would be folded with a zero that only the launch knows. Which drivers need which rule and why is in
//! `docs/spirv-lowering.md`, what each costs in `docs/benchmarks`.

/// A set of rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rules {
    /// Float arithmetic hides operands that may be known zeros, for compilers that take `x + 0` for `x` and `x · 0` for 0
    /// although NaN, infinities and the sign of zero are to be kept.
    pub zeros: bool,
    /// Conversions to `f16` hide their result, for compilers that leave out the rounding where another conversion follows.
    pub f16_rounding: bool,
    /// 64-bit integers that were widened or converted from floats are hidden, and the amounts that they are shifted by, for
    /// compilers that compare, narrow or shift them as if they were words.
    pub wide_integers: bool,
    /// 64-bit integers are divided by divisions of words, for compilers whose own division, a call, loses values that are alive
    /// across it.
    pub wide_division: bool,
    /// Integers of 8 and 16 bits are wrapped by shifts whose amounts are hidden, for compilers that take what was loaded or
    /// computed for the narrow type already.
    pub narrow_integers: bool,
    /// Integers are negated by subtracting them from a hidden zero, and literals that floats are compared with are hidden, for
    /// compilers that take the magnitude of the least integer for positive, and that of a NaN for a number.
    pub signs: bool,
}

impl Rules {
    /// None of them.
    pub const NONE: Self = Self {
        zeros: false,
        f16_rounding: false,
        wide_integers: false,
        wide_division: false,
        narrow_integers: false,
        signs: false,
    };
    /// Every one: what a driver gets of which nothing is known.
    pub const ALL: Self = Self {
        zeros: true,
        f16_rounding: true,
        wide_integers: true,
        wide_division: true,
        narrow_integers: true,
        signs: true,
    };
    /// The name of each rule, in the order of [`bits`](Self::bits).
    pub const NAMES: [&'static str; 6] =
        ["zeros", "f16_rounding", "wide_integers", "wide_division", "narrow_integers", "signs"];

    /// Whether each is in the set.
    pub const fn bits(self) -> [bool; 6] {
        // By name, so that a new rule cannot be left out.
        let Self { zeros, f16_rounding, wide_integers, wide_division, narrow_integers, signs } = self;
        [zeros, f16_rounding, wide_integers, wide_division, narrow_integers, signs]
    }

    /// The set with these [`bits`](Self::bits).
    pub const fn from_bits(
        [zeros, f16_rounding, wide_integers, wide_division, narrow_integers, signs]: [bool; 6],
    ) -> Self {
        Self { zeros, f16_rounding, wide_integers, wide_division, narrow_integers, signs }
    }

    /// The rules of these names, or the first name that no rule has.
    pub fn named<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, &'a str> {
        let mut bits = [false; 6];
        for name in names {
            let place = Self::NAMES.iter().position(|known| *known == name).ok_or(name)?;
            bits[place] = true;
        }
        Ok(Self::from_bits(bits))
    }

    /// The names of the rules in the set.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES.into_iter().zip(self.bits()).filter(|(_, is_there)| *is_there).map(|(name, _)| name)
    }

    /// The rules that are in this set or in `other`.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        let (mine, other) = (self.bits(), other.bits());
        Self::from_bits(core::array::from_fn(|i| mine[i] || other[i]))
    }

    /// The rules of this set that are not in `other`.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        let (mine, other) = (self.bits(), other.bits());
        Self::from_bits(core::array::from_fn(|i| mine[i] && !other[i]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_their_bits() {
        for mask in 0..64u32 {
            let set = Rules::from_bits(core::array::from_fn(|i| mask >> i & 1 == 1));
            assert_eq!(Rules::from_bits(set.bits()), set);
            assert_eq!(set.names().count(), mask.count_ones() as usize);
            assert_eq!(Rules::named(set.names()), Ok(set));
            assert_eq!(set.or(Rules::ALL.without(set)), Rules::ALL);
            assert_eq!(set.without(Rules::ALL), Rules::NONE);
        }
        assert_eq!(Rules::named(["zeros", "ones"]), Err("ones"));
    }
}
