//! Drivers on record: versions for which the suite `chains` showed rules to be needless, and how deeply their compilers may
//! be given nested control flow. A driver that is not here gets every rule and the least depth.

use fulgurite_spec::limits::MAX_NESTING;
use fulgurite_spirv::Rules;

use crate::snapshot::PhysicalSnapshot;

/// The deepest nesting that a driver not on record is given. lavapipe fails from 79 on, and more than one construct of a
/// module may come of one of the kernel.
const LEAST_NESTING: usize = 64;

/// One version of a driver.
struct OnRecord {
    /// Its name, as the driver states it.
    name: &'static str,
    /// Its version, as the driver states it for people; empty where it states none.
    version: &'static str,
    /// Rules that are not needed.
    needless: Rules,
    /// The deepest nesting of control flow that was right.
    nesting: usize,
}

/// Each was held to the suite `chains` with these rules left out, which changed nothing: NVIDIA and lavapipe with hundreds of
/// thousands of chains, SwiftShader at the smoke level with three seeds.
const RECORD: &[OnRecord] = &[
    OnRecord {
        name: "llvmpipe",
        version: "Mesa 22.3.6 (LLVM 15.0.6)",
        needless: Rules { wide_division: true, narrow_integers: true, signs: true, ..Rules::NONE },
        nesting: LEAST_NESTING,
    },
    OnRecord {
        name: "NVIDIA",
        version: "580.159.04",
        needless: Rules { zeros: true, ..Rules::NONE },
        nesting: MAX_NESTING * 2,
    },
    OnRecord {
        name: "SwiftShader driver",
        version: "",
        needless: Rules { signs: false, ..Rules::ALL },
        nesting: MAX_NESTING * 2,
    },
];

fn find(physical: &PhysicalSnapshot) -> Option<&'static OnRecord> {
    RECORD.iter().find(|known| known.name == physical.driver_name && known.version == physical.driver_info)
}

/// The rules that the record does not show to be needless.
pub(crate) fn rules(physical: &PhysicalSnapshot) -> Rules {
    find(physical).map_or(Rules::ALL, |known| Rules::ALL.without(known.needless))
}

/// The deepest nesting of control flow that the driver is given.
pub(crate) fn nesting(physical: &PhysicalSnapshot) -> usize {
    find(physical).map_or(LEAST_NESTING, |known| known.nesting)
}

/// Whether the driver compiles a pipeline when it is first dispatched, and not when it is made: so does lavapipe, of any version
/// so far.
pub(crate) fn compiles_late(physical: &PhysicalSnapshot) -> bool {
    physical.driver_name == "llvmpipe"
}

/// Seconds that lavapipe takes to compile a local array of 1024 scalars on one core of 2026; for others it is as the square. Measured
/// with Mesa 22.3.6 and LLVM 15: 0.9 for 256, 4.9 for 512, 22 for 1024, as much for vectors of as many components, 8.4 for 512
/// of 64 bits. Loops and initializers make no difference.
pub(crate) const SECONDS_OF_1024_LOCALS: f64 = 22.0;
/// How many times slower than where that was measured a machine may be, which may be old or busy.
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
            Rules { wide_division: false, narrow_integers: false, signs: false, ..Rules::ALL }
        );
        let newer = PhysicalSnapshot { driver_info: "Mesa 99.0.0 (LLVM 15.0.6)".to_owned(), ..known };
        assert_eq!((rules(&newer), nesting(&newer)), (Rules::ALL, LEAST_NESTING));
        assert_eq!(rules(&discrete()), Rules::ALL);
    }
}
