//! Buffers that a kernel only tallies in: apart from their length, it uses them for one commutative atomic op on 32-bit integers,
//! and discards its results. In a long launch, each worker updates a copy of its own, without locks, and combines it with the buffer
//! when it has no work left. The results are the same, because nothing reads the buffer before the end of the launch.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use fulgurite_ir::analysis::{instructions, used_values};
use fulgurite_ir::{Combine, InstKind, Memory, VerifiedKernel};
use fulgurite_spec::{AtomicOp, ScalarType, Type, eval};

use crate::memory::NativeBuffer;

/// Maximum number of words of a copy: what the second-level cache of a core holds.
const MOST_WORDS: usize = 1 << 16;

/// A commutative op on words of a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Combination {
    combine: Combine,
    ty: ScalarType,
}

impl Combination {
    fn of(op: AtomicOp, ty: Type) -> Option<Self> {
        if ty != Type::U32 && ty != Type::I32 {
            return None;
        }
        // Only the order of integers depends on their signs.
        let (combine, ty) = match op {
            AtomicOp::Load | AtomicOp::Store | AtomicOp::Exchange | AtomicOp::CompareExchange => return None,
            AtomicOp::Add => (Combine::Add, ScalarType::U32),
            AtomicOp::And => (Combine::And, ScalarType::U32),
            AtomicOp::Or => (Combine::Or, ScalarType::U32),
            AtomicOp::Xor => (Combine::Xor, ScalarType::U32),
            AtomicOp::Min => (Combine::Min, ty.scalar),
            AtomicOp::Max => (Combine::Max, ty.scalar),
        };
        Some(Self { combine, ty })
    }

    fn identity(self) -> u32 {
        self.combine.identity(self.ty) as u32
    }

    fn combined(self, a: u32, b: u32) -> Option<u32> {
        let operands = [u64::from(a), u64::from(b)];
        eval::scalar(self.combine.op(), self.ty, self.ty, &operands).map(|bits| bits as u32)
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
    /// Returns a copy for a worker, if the buffer has few words, and so few beside `invocations` that combining them costs little.
    pub(super) fn copy(self, buffers: &[NativeBuffer<'_>], workers: u64, invocations: u64) -> Option<Copied> {
        let words = buffers.get(self.binding)?.words;
        if words.len() > MOST_WORDS || words.len() as u64 * 4 * workers > invocations {
            return None;
        }
        let identity = self.combination.identity();
        Some(Copied { tally: self, words: words.iter().map(|_| AtomicU32::new(identity)).collect() })
    }
}

/// A worker's copy of a buffer, which begins with words that change nothing.
pub(super) struct Copied {
    tally: Tally,
    words: Vec<AtomicU32>,
}

impl Copied {
    /// Puts the words of the copy in the place of the buffer's.
    pub(super) fn stand_in<'a>(&'a self, buffers: &mut [NativeBuffer<'a>]) {
        if let Some(buffer) = buffers.get_mut(self.tally.binding) {
            buffer.words = &self.words;
        }
    }

    /// Combines the copy with the buffer.
    pub(super) fn finish(&self, buffers: &[NativeBuffer<'_>]) {
        let Some(buffer) = buffers.get(self.tally.binding) else { return };
        let Tally { combination, .. } = self.tally;
        for (to, own) in buffer.words.iter().zip(&self.words) {
            let own = own.load(Relaxed);
            if own != combination.identity() {
                let _ = to.fetch_update(Relaxed, Relaxed, |word| combination.combined(word, own));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::kernel;

    #[test]
    fn one_op_that_commutes_and_whose_results_are_discarded_is_a_tally() {
        let lines = |body: &str| {
            format!(
                "buffer %out: write u32[]\nbuffer %b: read_write u32[]\nview %bi = %b as i32[]\nview %bl = %b as u64[]\n\
                 view %bf = %b as f32[]\n%i = global_id.x\n%j = convert %i -> i32\n{body}\nstore %out[%i], %i"
            )
        };
        for (body, combination) in [
            ("atomic.add %b[%i], 2u32", Some((Combine::Add, ScalarType::U32))),
            (
                "atomic.add %b[%i], 2u32\n%n = len %b\natomic.add[release, device] %bi[%n], %j",
                Some((Combine::Add, ScalarType::U32)),
            ),
            (
                "%odd = lt %i, 9u32\nif %odd {\natomic.min %bi[%i], %j\n}",
                Some((Combine::Min, ScalarType::I32)),
            ),
            ("atomic.min %b[%i], %i", Some((Combine::Min, ScalarType::U32))),
            ("atomic.xor %b[0u32], %i", Some((Combine::Xor, ScalarType::U32))),
            ("%old = atomic.add %b[%i], 2u32\nstore %out[%old], 3u32", None),
            ("atomic.add %b[%i], 2u32\natomic.or %b[0u32], 2u32", None),
            ("atomic.min %b[%i], 2u32\natomic.min %bi[0u32], 2i32", None),
            ("atomic.add %b[%i], 2u32\n%v = load %b[0u32]", None),
            ("atomic.add %b[%i], 2u32\n%v = atomic.load %b[0u32]\nstore %out[%v], 3u32", None),
            ("atomic.add %b[%i], 2u32\nstore %bi[0u32], 1i32", None),
            ("atomic.exchange %b[%i], 2u32", None),
            ("atomic.add %bl[%i], 2u64", None),
            ("atomic.add %bf[%i], 2.0f32", None),
            ("%n = len %b", None),
        ] {
            let kernel = kernel("64, 1, 1", &lines(body));
            let tally = |(combine, ty)| Tally { binding: 1, combination: Combination { combine, ty } };
            let wanted: Vec<_> = combination.map(tally).into_iter().collect();
            assert_eq!(tallies(&kernel), wanted, "{body}");
        }
    }

    #[test]
    fn few_words_of_long_launches_are_copied() {
        let words: Vec<AtomicU32> = (0..256).map(|_| AtomicU32::new(5)).collect();
        let buffers = [NativeBuffer { words: &words, bytes: 1024 }];
        let combination = Combination { combine: Combine::And, ty: ScalarType::U32 };
        let tally = Tally { binding: 0, combination };
        assert!(tally.copy(&buffers, 1, 1023).is_none());
        assert!(tally.copy(&buffers, 2, 2047).is_none());
        let many: Vec<AtomicU32> = (0..=MOST_WORDS).map(|_| AtomicU32::new(0)).collect();
        assert!(tally.copy(&[NativeBuffer { words: &many, bytes: 0 }], 1, u64::MAX).is_none());
        assert!(tally.copy(&[NativeBuffer { words: &many[1..], bytes: 0 }], 1, u64::MAX).is_some());
        let copy = tally.copy(&buffers, 2, 2048).unwrap();
        copy.words[3].store(6, Relaxed);
        copy.finish(&buffers);
        assert_eq!([&words[2], &words[3]].map(|word| word.load(Relaxed)), [5, 4]);
    }
}
