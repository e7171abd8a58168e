//! Buffers that a kernel only tallies in: all that it does with them is one op of atomics that commutes, whose old values it
//! does not use. Each worker of a long launch then changes words of its own, without locks, which are combined with those of the
//! buffer at its end. Nothing can tell the difference, because nothing looks at the buffer before the end of the launch.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use fulgurite_ir::analysis::{instructions, used_values};
use fulgurite_ir::{InstKind, Memory, VerifiedKernel};
use fulgurite_spec::{AtomicOp, Type};

use crate::memory::NativeBuffer;

/// Maximum number of words of a worker's own for a buffer: what the second-level cache of a core holds.
const MOST_WORDS: usize = 1 << 16;

/// An op that combines words in any order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Combination {
    Add,
    And,
    Or,
    Xor,
    MinSigned,
    MinUnsigned,
    MaxSigned,
    MaxUnsigned,
}

impl Combination {
    fn of(op: AtomicOp, ty: Type) -> Option<Self> {
        let is_signed = match ty {
            Type::I32 => true,
            Type::U32 => false,
            _ => return None,
        };
        Some(match op {
            AtomicOp::Load | AtomicOp::Store | AtomicOp::Exchange | AtomicOp::CompareExchange => return None,
            AtomicOp::Add => Self::Add,
            AtomicOp::And => Self::And,
            AtomicOp::Or => Self::Or,
            AtomicOp::Xor => Self::Xor,
            AtomicOp::Min if is_signed => Self::MinSigned,
            AtomicOp::Min => Self::MinUnsigned,
            AtomicOp::Max if is_signed => Self::MaxSigned,
            AtomicOp::Max => Self::MaxUnsigned,
        })
    }

    /// Returns the word that changes no other.
    fn neutral(self) -> u32 {
        match self {
            Self::Add | Self::Or | Self::Xor | Self::MaxUnsigned => 0,
            Self::And | Self::MinUnsigned => u32::MAX,
            Self::MinSigned => i32::MAX as u32,
            Self::MaxSigned => i32::MIN as u32,
        }
    }

    fn combine(self, a: u32, b: u32) -> u32 {
        match self {
            Self::Add => a.wrapping_add(b),
            Self::And => a & b,
            Self::Or => a | b,
            Self::Xor => a ^ b,
            Self::MinSigned => (a as i32).min(b as i32) as u32,
            Self::MinUnsigned => a.min(b),
            Self::MaxSigned => (a as i32).max(b as i32) as u32,
            Self::MaxUnsigned => a.max(b),
        }
    }
}

/// A buffer that a kernel only tallies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tally {
    /// Position of the buffer among the kernel's.
    binding: usize,
    combination: Combination,
}

/// Returns the buffers that `kernel` only tallies in.
pub(super) fn tallies(kernel: &VerifiedKernel) -> Vec<Tally> {
    let used = used_values(kernel);
    // For each buffer, the op if there is only one so far, and whether it is accessed in another way.
    let mut found: Vec<(Option<Combination>, bool)> = vec![(None, false); kernel.buffers.len()];
    for inst in instructions(kernel).map(|id| kernel.inst(id)) {
        let Some((memory, Some(_))) = inst.kind.access() else { continue };
        let Memory::Buffer(buffer) = kernel.base(memory) else { continue };
        let is_used = inst.results.iter().any(|result| used[result.index()]);
        let combination = if let InstKind::Atomic { op, .. } = &inst.kind
            && !is_used
        {
            AtomicOp::of(*op).and_then(|op| Combination::of(op, kernel.element(memory)))
        } else {
            None
        };
        let (known, is_accessed) = &mut found[buffer.index()];
        match combination {
            Some(combination) if known.is_none_or(|known| known == combination) => *known = Some(combination),
            _ => *is_accessed = true,
        }
    }
    let only = |(binding, (combination, is_accessed)): (usize, (Option<Combination>, bool))| {
        combination.filter(|_| !is_accessed).map(|combination| Tally { binding, combination })
    };
    found.into_iter().enumerate().filter_map(only).collect()
}

/// Returns the positions of the buffers.
pub(super) fn buffers(tallies: &[Tally]) -> Vec<usize> {
    tallies.iter().map(|tally| tally.binding).collect()
}

impl Tally {
    /// Returns words of a worker's own for the buffer, if they are few, and so few beside `invocations` that combining them
    /// costs little.
    pub(super) fn own(self, buffers: &[NativeBuffer<'_>], workers: u64, invocations: u64) -> Option<Own> {
        let words = buffers.get(self.binding)?.words;
        let is_worth = words.len() <= MOST_WORDS && words.len() as u64 * 4 * workers <= invocations;
        if !is_worth {
            return None;
        }
        let neutral = self.combination.neutral();
        Some(Own { tally: self, words: words.iter().map(|_| AtomicU32::new(neutral)).collect() })
    }
}

/// Words of a worker's own.
pub(super) struct Own {
    tally: Tally,
    words: Vec<AtomicU32>,
}

impl Own {
    /// Puts the words in the place of the buffer's.
    pub(super) fn stand_in<'a>(&'a self, buffers: &mut [NativeBuffer<'a>]) {
        if let Some(buffer) = buffers.get_mut(self.tally.binding) {
            buffer.words = &self.words;
        }
    }

    /// Combines the words with those of the buffer.
    pub(super) fn finish(&self, buffers: &[NativeBuffer<'_>]) {
        let Some(buffer) = buffers.get(self.tally.binding) else { return };
        let Tally { combination, .. } = self.tally;
        for (to, own) in buffer.words.iter().zip(&self.words) {
            let own = own.load(Relaxed);
            if own != combination.neutral() {
                let combined = |word| Some(combination.combine(word, own));
                let _ = to.fetch_update(Relaxed, Relaxed, combined);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::kernel;

    #[test]
    fn one_op_that_commutes_and_whose_results_are_not_used_is_a_tally() {
        let lines = |body: &str| {
            format!(
                "buffer %b: read_write u32[]\nbuffer %out: write u32[]\nview %bi = %b as i32[]\nview %bl = %b as u64[]\n\
                 view %bf = %b as f32[]\n%i = global_id.x\n%j = convert %i -> i32\n{body}\nstore %out[%i], %i"
            )
        };
        for (body, combination) in [
            ("atomic.add %b[%i], 2u32", Some(Combination::Add)),
            (
                "atomic.add %b[%i], 2u32\n%n = len %b\natomic.add[release, device] %bi[%n], %j",
                Some(Combination::Add),
            ),
            ("%odd = lt %i, 9u32\nif %odd {\natomic.min %bi[%i], %j\n}", Some(Combination::MinSigned)),
            ("atomic.min %b[%i], %i", Some(Combination::MinUnsigned)),
            ("atomic.max %b[0u32], %i", Some(Combination::MaxUnsigned)),
            ("atomic.xor %b[0u32], %i", Some(Combination::Xor)),
            ("%old = atomic.add %b[%i], 2u32\nstore %out[%old], 3u32", None),
            ("atomic.add %b[%i], 2u32\natomic.or %b[0u32], 2u32", None),
            ("atomic.min %b[%i], 2u32\natomic.min %bi[0u32], 2i32", None),
            ("atomic.add %b[%i], 2u32\n%v = load %b[0u32]", None),
            ("atomic.add %b[%i], 2u32\n%v = atomic.load %b[0u32]\nstore %out[%v], 3u32", None),
            ("atomic.add %b[%i], 2u32\nstore %bi[0u32], 1i32", None),
            ("atomic.exchange %b[%i], 2u32", None),
            ("atomic.add %bl[%i], 2u64", None),
            ("%n = len %b", None),
        ] {
            let kernel = kernel("64, 1, 1", &lines(body));
            let wanted: Vec<_> =
                combination.map(|combination| Tally { binding: 0, combination }).into_iter().collect();
            assert_eq!(tallies(&kernel), wanted, "{body}");
        }
    }

    #[test]
    fn neutral_words_change_no_other() {
        use Combination as C;
        for combination in
            [C::Add, C::And, C::Or, C::Xor, C::MinSigned, C::MinUnsigned, C::MaxSigned, C::MaxUnsigned]
        {
            for word in [0, 1, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff] {
                assert_eq!(combination.combine(word, combination.neutral()), word, "{combination:?}");
            }
        }
    }

    #[test]
    fn few_words_of_long_launches_are_copied() {
        let words: Vec<AtomicU32> = (0..256).map(|_| AtomicU32::new(5)).collect();
        let buffers = [NativeBuffer { words: &words, bytes: 1024 }];
        let tally = Tally { binding: 0, combination: Combination::And };
        assert!(tally.own(&buffers, 1, 1023).is_none());
        let many: Vec<AtomicU32> = (0..=MOST_WORDS).map(|_| AtomicU32::new(0)).collect();
        assert!(tally.own(&[NativeBuffer { words: &many, bytes: 0 }], 1, u64::MAX).is_none());
        assert!(tally.own(&[NativeBuffer { words: &many[1..], bytes: 0 }], 1, u64::MAX).is_some());
        assert!(tally.own(&buffers, 2, 2047).is_none());
        let own = tally.own(&buffers, 2, 2048).unwrap();
        own.words[3].store(6, Relaxed);
        own.finish(&buffers);
        assert_eq!([&words[2], &words[3]].map(|word| word.load(Relaxed)), [5, 4]);
    }
}
