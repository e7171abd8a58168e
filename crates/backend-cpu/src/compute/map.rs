//! Typed functions over whole registers: the registers of each type, and the loops over the lanes.

use super::{Args, Register};
use crate::lanes::{Lanes, WIDTH};

/// All registers except those of a result.
#[derive(Clone, Copy)]
pub(super) struct Others<'a> {
    below: &'a [Lanes],
    above: &'a [Lanes],
    /// The number of registers of the result.
    gap: usize,
}

impl<'a> Others<'a> {
    #[inline]
    fn get(&self, register: Register) -> &'a Lanes {
        let position = register as usize;
        match position.checked_sub(self.below.len()) {
            None => &self.below[position],
            Some(position) => &self.above[position - self.gap],
        }
    }
}

/// Bits as stored in registers: a `u32` takes one register, a `u64` two, with the low words in the first.
pub(super) trait Bits: Copy {
    /// Registers to read.
    type Source<'a>: Copy;
    /// Registers to write.
    type Target;
    /// Returns the registers of an operand.
    fn source<'a>(others: &Others<'a>, register: Register) -> Self::Source<'a>;
    /// Splits off the registers of a result from all others. Returns `None` if they are out of bounds.
    fn split(registers: &mut [Lanes], register: Register) -> Option<(&mut Self::Target, Others<'_>)>;
    /// Returns a lane of an operand.
    fn get(source: Self::Source<'_>, lane: usize) -> Self;
    /// Sets a lane of a result.
    fn set(target: &mut Self::Target, lane: usize, bits: Self);
}

impl Bits for u32 {
    type Source<'a> = &'a Lanes;
    type Target = Lanes;

    #[inline]
    fn source<'a>(others: &Others<'a>, register: Register) -> &'a Lanes {
        others.get(register)
    }

    #[inline]
    fn split(registers: &mut [Lanes], register: Register) -> Option<(&mut Lanes, Others<'_>)> {
        let (below, rest) = registers.split_at_mut_checked(register as usize)?;
        let (target, above) = rest.split_first_mut()?;
        Some((target, Others { below, above, gap: 1 }))
    }

    #[inline]
    fn get(source: &Lanes, lane: usize) -> u32 {
        source.0[lane]
    }

    #[inline]
    fn set(target: &mut Lanes, lane: usize, bits: u32) {
        target.0[lane] = bits;
    }
}

impl Bits for u64 {
    type Source<'a> = (&'a Lanes, &'a Lanes);
    type Target = [Lanes; 2];

    #[inline]
    fn source<'a>(others: &Others<'a>, register: Register) -> (&'a Lanes, &'a Lanes) {
        (others.get(register), others.get(register + 1))
    }

    #[inline]
    fn split(registers: &mut [Lanes], register: Register) -> Option<(&mut [Lanes; 2], Others<'_>)> {
        let (below, rest) = registers.split_at_mut_checked(register as usize)?;
        let (target, above) = rest.split_first_chunk_mut()?;
        Some((target, Others { below, above, gap: 2 }))
    }

    #[inline]
    fn get((low, high): (&Lanes, &Lanes), lane: usize) -> u64 {
        u64::from(low.0[lane]) | u64::from(high.0[lane]) << 32
    }

    #[inline]
    fn set([low, high]: &mut [Lanes; 2], lane: usize, bits: u64) {
        low.0[lane] = bits as u32;
        high.0[lane] = (bits >> 32) as u32;
    }
}

/// A value of a scalar type. Registers hold its bits; bits beyond its width are zero.
pub(super) trait Value: Copy {
    /// The type of the bits in registers.
    type Bits: Bits;
    /// Converts bits to a value.
    fn from_bits(bits: Self::Bits) -> Self;
    /// Converts a value to bits.
    fn bits(self) -> Self::Bits;
    /// Rounds to the precision of the type, for a representation that may hold more.
    #[inline]
    fn rounded(self) -> Self {
        Self::from_bits(self.bits())
    }
}

macro_rules! integers {
    ($($t:ty as $unsigned:ty, in $bits:ty);*) => { $(
        impl Value for $t {
            type Bits = $bits;
            #[inline]
            fn from_bits(bits: $bits) -> Self { bits as $t }
            #[inline]
            fn bits(self) -> $bits { self as $unsigned as $bits }
        }
    )* };
}

integers!(i8 as u8, in u32; i16 as u16, in u32; i32 as u32, in u32; i64 as u64, in u64);
integers!(u8 as u8, in u32; u16 as u16, in u32; u32 as u32, in u32; u64 as u64, in u64);

impl Value for bool {
    type Bits = u32;
    #[inline]
    fn from_bits(bits: u32) -> Self {
        bits & 1 != 0
    }
    #[inline]
    fn bits(self) -> u32 {
        u32::from(self)
    }
}

impl Value for f32 {
    type Bits = u32;
    #[inline]
    fn from_bits(bits: u32) -> Self {
        Self::from_bits(bits)
    }
    #[inline]
    fn bits(self) -> u32 {
        self.to_bits()
    }
}

impl Value for f64 {
    type Bits = u64;
    #[inline]
    fn from_bits(bits: u64) -> Self {
        Self::from_bits(bits)
    }
    #[inline]
    fn bits(self) -> u64 {
        self.to_bits()
    }
}

// Separate loops for values of one register: with disjoint operands the compiler knows their alignment.

/// Applies `op` to every lane; all types take one register.
#[inline]
pub(super) fn map1<A: Value<Bits = u32>, R: Value<Bits = u32>>(
    registers: &mut [Lanes],
    args: &Args,
    op: impl Fn(A) -> R,
) {
    let [a, ..] = args.operands;
    if let Ok([to, a]) = registers.get_disjoint_mut([args.result as usize, a as usize]) {
        for lane in 0..WIDTH {
            to.0[lane] = op(A::from_bits(a.0[lane])).bits();
        }
    }
}

/// Applies `op` to every lane; all types take one register.
#[inline]
pub(super) fn map2<A: Value<Bits = u32>, B: Value<Bits = u32>, R: Value<Bits = u32>>(
    registers: &mut [Lanes],
    args: &Args,
    op: impl Fn(A, B) -> R,
) {
    let [a, b, ..] = args.operands;
    if a == b {
        return map1(registers, args, |x: u32| op(A::from_bits(x), B::from_bits(x)));
    }
    let positions = [args.result as usize, a as usize, b as usize];
    if let Ok([to, a, b]) = registers.get_disjoint_mut(positions) {
        for lane in 0..WIDTH {
            to.0[lane] = op(A::from_bits(a.0[lane]), B::from_bits(b.0[lane])).bits();
        }
    }
}

/// Applies `op` to every lane; all types take one register.
#[inline]
pub(super) fn map3<A, B, C, R>(registers: &mut [Lanes], args: &Args, op: impl Fn(A, B, C) -> R)
where
    A: Value<Bits = u32>,
    B: Value<Bits = u32>,
    C: Value<Bits = u32>,
    R: Value<Bits = u32>,
{
    let [a, b, c, _] = args.operands;
    let positions = [args.result as usize, a as usize, b as usize, c as usize];
    if let Ok([to, a, b, c]) = registers.get_disjoint_mut(positions) {
        for lane in 0..WIDTH {
            let c = C::from_bits(c.0[lane]);
            to.0[lane] = op(A::from_bits(a.0[lane]), B::from_bits(b.0[lane]), c).bits();
        }
    } else {
        wide3(registers, args, op);
    }
}

/// Returns a lane of an operand as a typed value.
#[inline]
fn get<T: Value>(source: <T::Bits as Bits>::Source<'_>, lane: usize) -> T {
    T::from_bits(T::Bits::get(source, lane))
}

/// Applies `op` to every lane; all types take one register. Copies the operands, because ops with four are rare.
#[inline]
pub(super) fn map4<A, B, C, D, R>(registers: &mut [Lanes], args: &Args, op: impl Fn(A, B, C, D) -> R)
where
    A: Value<Bits = u32>,
    B: Value<Bits = u32>,
    C: Value<Bits = u32>,
    D: Value<Bits = u32>,
    R: Value<Bits = u32>,
{
    let [a, b, c, d] = args.operands.map(|register| registers[register as usize]);
    let to = &mut registers[args.result as usize];
    for lane in 0..WIDTH {
        let (c, d) = (C::from_bits(c.0[lane]), D::from_bits(d.0[lane]));
        to.0[lane] = op(A::from_bits(a.0[lane]), B::from_bits(b.0[lane]), c, d).bits();
    }
}

// For any types. The loops are separate functions so that the compiler knows that operands and results are disjoint.

/// Applies `op` to every lane, for any types.
#[inline]
pub(super) fn wide1<A: Value, R: Value>(registers: &mut [Lanes], args: &Args, op: impl Fn(A) -> R) {
    #[inline]
    fn each<A: Value, R: Value>(
        to: &mut <R::Bits as Bits>::Target,
        a: <A::Bits as Bits>::Source<'_>,
        op: impl Fn(A) -> R,
    ) {
        for lane in 0..WIDTH {
            R::Bits::set(to, lane, op(get(a, lane)).bits());
        }
    }
    let [a, ..] = args.operands;
    if let Some((to, others)) = R::Bits::split(registers, args.result) {
        each(to, A::Bits::source(&others, a), op);
    }
}

/// Applies `op` to every lane, for any types.
#[inline]
pub(super) fn wide2<A: Value, B: Value, R: Value>(
    registers: &mut [Lanes],
    args: &Args,
    op: impl Fn(A, B) -> R,
) {
    #[inline]
    fn each<A: Value, B: Value, R: Value>(
        to: &mut <R::Bits as Bits>::Target,
        a: <A::Bits as Bits>::Source<'_>,
        b: <B::Bits as Bits>::Source<'_>,
        op: impl Fn(A, B) -> R,
    ) {
        for lane in 0..WIDTH {
            R::Bits::set(to, lane, op(get(a, lane), get(b, lane)).bits());
        }
    }
    let [a, b, ..] = args.operands;
    if let Some((to, others)) = R::Bits::split(registers, args.result) {
        each(to, A::Bits::source(&others, a), B::Bits::source(&others, b), op);
    }
}

/// Applies `op` to every lane, for any types.
#[inline]
pub(super) fn wide3<A: Value, B: Value, C: Value, R: Value>(
    registers: &mut [Lanes],
    args: &Args,
    op: impl Fn(A, B, C) -> R,
) {
    #[inline]
    fn each<A: Value, B: Value, C: Value, R: Value>(
        to: &mut <R::Bits as Bits>::Target,
        a: <A::Bits as Bits>::Source<'_>,
        b: <B::Bits as Bits>::Source<'_>,
        c: <C::Bits as Bits>::Source<'_>,
        op: impl Fn(A, B, C) -> R,
    ) {
        for lane in 0..WIDTH {
            R::Bits::set(to, lane, op(get(a, lane), get(b, lane), get(c, lane)).bits());
        }
    }
    let [a, b, c, _] = args.operands;
    if let Some((to, others)) = R::Bits::split(registers, args.result) {
        each(to, A::Bits::source(&others, a), B::Bits::source(&others, b), C::Bits::source(&others, c), op);
    }
}
