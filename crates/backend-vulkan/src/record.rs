//! Known driver versions: the lowering rules that the suite `chains` showed to be unnecessary, and the nesting of
//! control flow that their compilers support. An unknown driver gets every rule and the smallest nesting.

use fulgurite_spec::limits::MAX_NESTING;
use fulgurite_spirv::Rules;

use crate::snapshot::PhysicalSnapshot;

/// Maximum nesting for a driver not on record. lavapipe fails from 79 on, and one construct of a kernel may become
/// several of a module.
const LEAST_NESTING: usize = 64;

/// A version of a driver.
struct OnRecord {
    /// The driver's name, as the driver reports it.
    name: &'static str,
    /// The driver's version as it reports it for display; empty if it reports none.
    version: &'static str,
    /// Rules that are unnecessary.
    needless: Rules,
    /// The deepest nesting of control flow that gave correct results.
    nesting: usize,
}

/// Each driver passed the suite `chains` without these rules, with unchanged results: NVIDIA and lavapipe on hundreds
/// of thousands of chains, SwiftShader at the smoke level with three seeds.
const RECORD: &[OnRecord] = &[
    OnRecord {
        name: "llvmpipe",
        version: "Mesa 22.3.6 (LLVM 15.0.6)",
        needless: Rules {
            wide_division: true,
            narrow_integers: true,
            signs: true,
            repeated_loads: true,
            ..Rules::NONE
        },
        nesting: LEAST_NESTING,
    },
    OnRecord {
        name: "NVIDIA",
        version: "580.159.04",
        needless: Rules { zeros: true, repeated_loads: true, ..Rules::NONE },
        nesting: MAX_NESTING * 2,
    },
    OnRecord {
        name: "SwiftShader driver",
        version: "",
        needless: Rules { signs: false, repeated_loads: false, ..Rules::ALL },
        nesting: MAX_NESTING * 2,
    },
];

fn find(physical: &PhysicalSnapshot) -> Option<&'static OnRecord> {
    RECORD.iter().find(|known| known.name == physical.driver_name && known.version == physical.driver_info)
}

/// Returns the rules that the record does not show to be unnecessary.
pub(crate) fn rules(physical: &PhysicalSnapshot) -> Rules {
    find(physical).map_or(Rules::ALL, |known| Rules::ALL.without(known.needless))
}

/// Returns the maximum nesting of control flow for the driver.
pub(crate) fn nesting(physical: &PhysicalSnapshot) -> usize {
    find(physical).map_or(LEAST_NESTING, |known| known.nesting)
}

/// Returns whether the driver compiles a pipeline at its first dispatch instead of at its creation, as all versions of
/// lavapipe do so far.
pub(crate) fn compiles_late(physical: &PhysicalSnapshot) -> bool {
    physical.driver_name == "llvmpipe"
}

/// Seconds that lavapipe takes to compile a local array of 1024 scalars on one core of 2026; the time grows with the
/// square of the number. Measured with Mesa 22.3.6 and LLVM 15: 0.9 s for 256, 4.9 s for 512, 22 s for 1024, the same
/// for vectors of as many components, 8.4 s for 512 of 64 bits. Loops and initializers make no difference.
pub(crate) const SECONDS_OF_1024_LOCALS: f64 = 22.0;
/// Factor by which a machine may be slower than the one measured, because it is old or busy.
pub(crate) const SLOWER: f64 = 12.0;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::sample::{discrete, lavapipe};

    #[test]
    fn a_version_on_record_is_spared_what_it_does_not_need_and_others_are_not() {
        let known = lavapipe();
        assert_eq!(
            rules(&known),
            Rules {
                wide_division: false,
                narrow_integers: false,
                signs: false,
                repeated_loads: false,
                ..Rules::ALL
            }
        );
        let newer = PhysicalSnapshot { driver_info: "Mesa 99.0.0 (LLVM 15.0.6)".to_owned(), ..known };
        assert_eq!((rules(&newer), nesting(&newer)), (Rules::ALL, LEAST_NESTING));
        assert_eq!(rules(&discrete()), Rules::ALL);
    }
}
