//! Lowering rules that work around incorrect optimization in driver compilers.
//!
//! Drivers fold sequences of ops, and get some wrong although each op alone is right. Most rules in force combine the
//! affected values with a zero that only the launch knows. `docs/spirv-lowering.md` gives the drivers that need each
//! rule and the reasons, `docs/benchmarks` the costs.

/// A set of rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rules {
    /// Hides float operands that may be known zeros, for compilers that fold `x + 0` to `x` and `x · 0` to 0 although
    /// NaN, infinities and the sign of zero must be preserved.
    pub zeros: bool,
    /// Hides results of conversions to `f16` and doubles rounded to integral values, for compilers that combine the
    /// rounding with a conversion that follows, and lose it or the value.
    pub rounding: bool,
    /// Hides 64-bit integers that were widened or converted from floats, and their shift amounts, for compilers that
    /// compare, narrow or shift them as words.
    pub wide_integers: bool,
    /// Divides 64-bit integers by means of word divisions, for compilers whose own division, a call, clobbers live
    /// values.
    pub wide_division: bool,
    /// Wraps integers of 8 and 16 bits by shifts with hidden amounts, for compilers that assume loaded or computed
    /// values to be in range of the narrow type.
    pub narrow_integers: bool,
    /// Negates integers by subtracting them from a hidden zero and hides literals that floats are compared with, for
    /// compilers that assume the magnitude of the minimum integer to be positive, and that of a NaN to be a number.
    pub signs: bool,
    /// Does not declare that nothing writes to a buffer, for compilers that then take the value of a load after a loop from
    /// one in it, also in invocations that have left the loop.
    pub repeated_loads: bool,
}

impl Rules {
    /// No rules.
    pub const NONE: Self = Self {
        zeros: false,
        rounding: false,
        wide_integers: false,
        wide_division: false,
        narrow_integers: false,
        signs: false,
        repeated_loads: false,
    };
    /// All rules: the default for unknown drivers.
    pub const ALL: Self = Self {
        zeros: true,
        rounding: true,
        wide_integers: true,
        wide_division: true,
        narrow_integers: true,
        signs: true,
        repeated_loads: true,
    };
    /// The names of the rules, in the order of [`bits`](Self::bits).
    pub const NAMES: [&'static str; 7] =
        ["zeros", "rounding", "wide_integers", "wide_division", "narrow_integers", "signs", "repeated_loads"];

    /// Returns for each rule whether it is in the set.
    pub const fn bits(self) -> [bool; 7] {
        // By name, so that a new rule cannot be left out.
        let Self { zeros, rounding, wide_integers, wide_division, narrow_integers, signs, repeated_loads } =
            self;
        [zeros, rounding, wide_integers, wide_division, narrow_integers, signs, repeated_loads]
    }

    /// Returns the set with these [`bits`](Self::bits).
    pub const fn from_bits(
        [zeros, rounding, wide_integers, wide_division, narrow_integers, signs, repeated_loads]: [bool; 7],
    ) -> Self {
        Self { zeros, rounding, wide_integers, wide_division, narrow_integers, signs, repeated_loads }
    }

    /// Returns the set of the named rules, or the first unknown name.
    pub fn named<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, &'a str> {
        let mut bits = [false; 7];
        for name in names {
            let place = Self::NAMES.iter().position(|known| *known == name).ok_or(name)?;
            bits[place] = true;
        }
        Ok(Self::from_bits(bits))
    }

    /// Returns the names of the rules in the set.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES.into_iter().zip(self.bits()).filter(|(_, is_there)| *is_there).map(|(name, _)| name)
    }

    /// Returns the union with `other`.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        let (mine, other) = (self.bits(), other.bits());
        Self::from_bits(core::array::from_fn(|i| mine[i] || other[i]))
    }

    /// Returns the rules of this set that are not in `other`.
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
        for mask in 0..128u32 {
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
