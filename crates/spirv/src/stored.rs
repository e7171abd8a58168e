//! Serialization of modules for caches. Only the parts of the layout that do not follow from kernel and profile are
//! stored.

use fulgurite_ir::VerifiedKernel;

use crate::layout::Layout;
use crate::profile::Profile;
use crate::{Module, SEMANTICS};

/// The version of the format.
const VERSION: u32 = 1;
/// The number of 32-bit words before the module's words.
const HEAD: usize = 5;

/// The bits of the third word.
const HAS_CONTROL: u32 = 1;
const IS_ABORTABLE: u32 = 2;

impl Module {
    /// Serializes the module: version, number of words, flags, bytes of shared memory (two words, the low one first),
    /// then the words, all little-endian.
    pub fn to_bytes(&self) -> Vec<u8> {
        let control = if self.layout.control.is_some() { HAS_CONTROL } else { 0 };
        let abortable = if self.layout.abortable { IS_ABORTABLE } else { 0 };
        let shared = self.layout.shared_bytes;
        let head: [u32; HEAD] =
            [VERSION, self.words.len() as u32, control | abortable, shared as u32, (shared >> 32) as u32];
        head.iter().chain(&self.words).flat_map(|word| word.to_le_bytes()).collect()
    }

    /// Deserializes the bytes that [`to_bytes`](Self::to_bytes) wrote of a module emitted from `kernel` for
    /// `profile`. Returns `None` for malformed bytes; the caller ensures that kernel and profile match.
    pub fn from_bytes(kernel: &VerifiedKernel, profile: &Profile, bytes: &[u8]) -> Option<Self> {
        let (words, rest) = bytes.as_chunks::<4>();
        let mut words = words.iter().map(|word| u32::from_le_bytes(*word));
        let [version, count, flags, low, high] =
            [words.next()?, words.next()?, words.next()?, words.next()?, words.next()?];
        let words: Vec<u32> = words.collect();
        if version != VERSION || words.len() as u64 != u64::from(count) || !rest.is_empty() {
            return None;
        }
        if flags & !(HAS_CONTROL | IS_ABORTABLE) != 0 {
            return None;
        }
        let mut layout = Layout::new(kernel, profile, flags & HAS_CONTROL != 0);
        layout.abortable = flags & IS_ABORTABLE != 0;
        layout.shared_bytes = u64::from(high) << 32 | u64::from(low);
        Some(Self { words, layout })
    }
}

impl Profile {
    /// Returns the numbers that identify the emitted words for this profile: every field, and the versions of
    /// lowering. Equal numbers mean equal words for equal kernels, in every build.
    pub fn identity(&self) -> Vec<u32> {
        // By name, so that a new field cannot be left out.
        let Self {
            push_constant_bytes,
            floats,
            driver_ends_loops,
            rules,
            driver_waits_at_workgroup_fences,
            subgroup_size,
            subgroup_uniform_control_flow,
            explicit_shared_layout,
            addresses,
            offsets,
            debug_names,
            optimize,
        } = self;
        let floats = floats.iter().flat_map(|f| {
            [f.signed_zero_inf_nan_preserve, f.rounding_mode_rte, f.denorm_preserve].map(u32::from)
        });
        let bits = [
            driver_ends_loops,
            driver_waits_at_workgroup_fences,
            subgroup_uniform_control_flow,
            explicit_shared_layout,
            addresses,
            offsets,
            debug_names,
            optimize,
        ];
        let numbers = [*push_constant_bytes, *subgroup_size].into_iter();
        let bits = bits.into_iter().copied().chain(rules.bits());
        SEMANTICS.into_iter().chain(numbers).chain(floats).chain(bits.map(u32::from)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::{Rules, emit};

    const KERNELS: &[&str] = &[
        "fulgurite 1\nkernel @k workgroup(64, 1, 1) {\n  buffer %y: write u32[]\n  %i = global_id.x\n  store %y[%i], 7u32\n}\n",
        "fulgurite 1\nkernel @k workgroup(64, 1, 1) {\n  buffer %y: write u32[]\n  param %n: u32\n  shared %s: u32[64]\n  %i = local_index\n  store %s[%i], %n\n  barrier\n  %v = load %s[0u32]\n  %r = while carry(%a = %v) {\n    %g = gt %a, 3u32\n    condition %g\n  } do {\n    %b = shr %a, 1u32\n    yield %b\n  }\n  store %y[%i], %r\n}\n",
    ];

    #[test]
    fn modules_read_back() {
        for text in KERNELS {
            let kernel = fulgurite_ir::text::parse(text).and_then(fulgurite_ir::verify).unwrap();
            for profile in [Profile::least(), Profile::fullest()] {
                let module = emit(&kernel, &profile);
                let bytes = module.to_bytes();
                assert_eq!(Module::from_bytes(&kernel, &profile, &bytes), Some(module));
                for at in 0..bytes.len() {
                    assert_eq!(Module::from_bytes(&kernel, &profile, &bytes[..at]), None, "cut at {at}");
                }
                for at in [0, 4, 9] {
                    let mut changed = bytes.clone();
                    changed[at] ^= 0x10;
                    assert_eq!(Module::from_bytes(&kernel, &profile, &changed), None, "byte {at}");
                }
            }
        }
    }

    #[test]
    fn a_portable_profile_gives_the_same_words_wherever_the_quirks_are_the_same() {
        let (nvidia, other) =
            (Profile::named("nvidia").unwrap(), Profile { subgroup_size: 32, ..Profile::least() });
        let other = Profile { rules: nvidia.rules, ..other };
        assert_ne!(nvidia, other);
        assert_eq!(nvidia.portable(), other.portable());
        assert_ne!(nvidia.portable(), Profile::named("lavapipe").unwrap().portable());
        assert_eq!(Profile::least().portable(), Profile::least());
    }

    #[test]
    fn without_optimization_every_guard_and_poll_stays() {
        let text = "fulgurite 1\nkernel @k workgroup(64, 1, 1) {\n  buffer %y: write u32[]\n  local %a: u32[4]\n  store %a[1u32], 5u32\n  %r = for %i in 0u32 to 9u32 step 1u32 carry(%s = 0u32) {\n    %v = load %a[1u32]\n    %t = add %s, %v\n    yield %t\n  }\n  store %y[0u32], %r\n}\n";
        let kernel = fulgurite_ir::text::parse(text).and_then(fulgurite_ir::verify).unwrap();
        let full = emit(&kernel, &Profile::least());
        let none = emit(&kernel, &Profile { optimize: false, ..Profile::least() });
        assert!(none.words.len() > full.words.len(), "{} {}", none.words.len(), full.words.len());
        assert_eq!((full.layout.abortable, none.layout.abortable), (false, true));
    }

    #[test]
    fn every_field_of_a_profile_counts() {
        let least = Profile::least;
        let mut all = vec![least(), Profile::fullest()];
        for width in 0..3 {
            for bit in 0..3 {
                let mut profile = least();
                let floats = &mut profile.floats[width];
                let bits = [
                    &mut floats.signed_zero_inf_nan_preserve,
                    &mut floats.rounding_mode_rte,
                    &mut floats.denorm_preserve,
                ];
                bits.into_iter().skip(bit).take(1).for_each(|bit| *bit = !*bit);
                all.push(profile);
            }
        }
        all.extend([
            Profile { push_constant_bytes: 4, subgroup_size: 128, ..least() },
            Profile { push_constant_bytes: 132, ..least() },
            Profile { subgroup_size: 8, ..least() },
            Profile { driver_ends_loops: true, ..least() },
            Profile { driver_waits_at_workgroup_fences: true, ..least() },
            Profile { subgroup_uniform_control_flow: true, ..least() },
            Profile { explicit_shared_layout: true, ..least() },
            Profile { addresses: true, ..least() },
            Profile { offsets: true, ..least() },
            Profile { debug_names: true, ..least() },
            Profile { optimize: false, ..least() },
        ]);
        for rule in 0..Rules::NAMES.len() {
            let rules = Rules::from_bits(core::array::from_fn(|i| i == rule));
            all.push(Profile { rules, ..least() });
        }
        let distinct: HashSet<_> = all.iter().map(Profile::identity).collect();
        assert_eq!(distinct.len(), all.len());
    }
}
