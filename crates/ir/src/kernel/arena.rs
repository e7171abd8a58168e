//! Typed indices into the arenas, and operand lists.

use core::fmt;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident $prefix:literal;)*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
            pub struct $name(u32);

            impl $name {
                /// Creates the id for position `index` of its arena. `index` must fit in `u32`; the limits of the
                /// language are far lower.
                pub const fn new(index: usize) -> Self {
                    Self(index as u32)
                }

                /// Returns the position in its arena.
                pub const fn index(self) -> usize {
                    self.0 as usize
                }
            }

            impl fmt::Debug for $name {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    write!(f, concat!($prefix, "{}"), self.0)
                }
            }
        )*
    };
}

ids! {
    /// A value of a kernel.
    ValueId "v";
    /// An instruction of a kernel.
    InstId "i";
    /// A block of a kernel.
    BlockId "b";
    /// A buffer of a kernel. The index is also its binding.
    BufferId "buffer";
    /// A parameter of a kernel.
    ParamId "param";
    /// A shared array of a kernel.
    SharedId "shared";
    /// A local array of a kernel.
    LocalId "local";
    /// A view of a kernel.
    ViewId "view";
}

const INLINE: usize = 4;

/// A list of values. Up to four are stored inline.
#[derive(Clone)]
pub struct Operands(Repr);

#[derive(Clone)]
enum Repr {
    Inline(u8, [ValueId; INLINE]),
    Heap(Box<[ValueId]>),
}

impl Operands {
    /// The empty list.
    pub const EMPTY: Operands = Operands(Repr::Inline(0, [ValueId::new(0); INLINE]));

    /// Copies the values of `slice`.
    pub fn new(slice: &[ValueId]) -> Self {
        if slice.len() <= INLINE {
            let mut values = [ValueId::new(0); INLINE];
            values[..slice.len()].copy_from_slice(slice);
            Self(Repr::Inline(slice.len() as u8, values))
        } else {
            Self(Repr::Heap(slice.into()))
        }
    }
}

impl core::ops::Deref for Operands {
    type Target = [ValueId];

    #[inline]
    fn deref(&self) -> &[ValueId] {
        match &self.0 {
            Repr::Inline(len, values) => &values[..usize::from(*len)],
            Repr::Heap(values) => values,
        }
    }
}

impl core::ops::DerefMut for Operands {
    fn deref_mut(&mut self) -> &mut [ValueId] {
        match &mut self.0 {
            Repr::Inline(len, values) => &mut values[..usize::from(*len)],
            Repr::Heap(values) => values,
        }
    }
}

impl FromIterator<ValueId> for Operands {
    fn from_iter<I: IntoIterator<Item = ValueId>>(iter: I) -> Self {
        let mut iter = iter.into_iter();
        let mut values = [ValueId::new(0); INLINE];
        for (len, slot) in values.iter_mut().enumerate() {
            match iter.next() {
                Some(value) => *slot = value,
                None => return Self(Repr::Inline(len as u8, values)),
            }
        }
        match iter.next() {
            Some(next) => Self(Repr::Heap(values.into_iter().chain([next]).chain(iter).collect())),
            None => Self(Repr::Inline(INLINE as u8, values)),
        }
    }
}

impl<'a> IntoIterator for &'a Operands {
    type Item = &'a ValueId;
    type IntoIter = core::slice::Iter<'a, ValueId>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Debug for Operands {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
