//! What emission reads of a device: capabilities, limits and quirks.

/// The facts of a device that change the emitted words. Part of a compiled kernel's identity.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Profile {
    /// Bytes of push constants; a parameter block that does not fit becomes a storage buffer.
    pub push_constant_bytes: u32,
    /// `shaderRoundingModeRTEFloat32`: the module may demand rounding to nearest even.
    pub rounding_mode_rte_f32: bool,
    /// `shaderDenormPreserveFloat32`: the module may demand that subnormals are kept.
    pub denorm_preserve_f32: bool,
    /// Whether the driver silently ends loops after some number of iterations: then the module records it in
    /// the fault word.
    pub driver_ends_loops: bool,
    /// Whether the driver's compiler takes `x + 0` for `x` and `x · 0` for 0 where it knows the zero, although NaN,
    /// infinities and the sign of zero are to be kept: then the module hides what may be a known zero.
    pub driver_folds_zeros: bool,
    /// Emit `OpName` for values that have names.
    pub debug_names: bool,
}

impl Profile {
    /// A device with every optional capability and every quirk: what tests emit for, besides the least.
    pub const fn fullest() -> Self {
        Self {
            push_constant_bytes: 256,
            rounding_mode_rte_f32: true,
            denorm_preserve_f32: true,
            driver_ends_loops: true,
            driver_folds_zeros: true,
            debug_names: true,
        }
    }

    /// The least device: 128 bytes of push constants and no optional capability.
    pub const fn least() -> Self {
        Self {
            push_constant_bytes: 128,
            rounding_mode_rte_f32: false,
            denorm_preserve_f32: false,
            driver_ends_loops: false,
            driver_folds_zeros: false,
            debug_names: false,
        }
    }
}
