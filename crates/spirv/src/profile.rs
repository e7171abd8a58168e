//! What emission reads of a device: capabilities, limits and quirks.

use fulgurite_spec::ScalarType;

use crate::rules::Rules;

/// The facts of a device that change the emitted words. Part of a compiled kernel's identity.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Profile {
    /// Bytes of push constants; a parameter block that does not fit becomes a storage buffer.
    pub push_constant_bytes: u32,
    /// What modules may demand of floats of 16, 32 and 64 bits.
    pub floats: [FloatControls; 3],
    /// Whether the driver silently ends loops after some number of iterations: then the module records it in
    /// the fault word.
    pub driver_ends_loops: bool,
    /// What is hidden from the driver's compiler.
    pub rules: Rules,
    /// Whether the driver makes invocations wait at ordered atomics and fences of workgroup scope as at a barrier, wherever
    /// control flow has taken them: then the module orders at the scope of the device.
    pub driver_waits_at_workgroup_fences: bool,
    /// Invocations in a whole subgroup; a power of two.
    pub subgroup_size: u32,
    /// `VK_KHR_shader_subgroup_uniform_control_flow`: the module demands that a subgroup stays together where its control
    /// flow is uniform.
    pub subgroup_uniform_control_flow: bool,
    /// `VK_KHR_workgroup_memory_explicit_layout`: views of shared memory are variables of their own on the same bytes.
    /// Without it elements are put together from pieces.
    pub explicit_shared_layout: bool,
    /// Reach every buffer by its device address, not only `large` ones.
    pub addresses: bool,
    /// Bind parts of buffers that begin at any element, not only where descriptors may: every access adds where.
    pub offsets: bool,
    /// Emit `OpName` for values that have names.
    pub debug_names: bool,
    /// Leave out what analyses show to be needless: guards of accesses that are surely inside, polls of loops that end
    /// soon.
    pub optimize: bool,
}

/// What a module may demand of floats of one width.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FloatControls {
    /// `shaderSignedZeroInfNanPreserveFloat…`. Needed to have the type at all.
    pub signed_zero_inf_nan_preserve: bool,
    /// `shaderRoundingModeRTEFloat…`: the module may demand rounding to nearest even.
    pub rounding_mode_rte: bool,
    /// `shaderDenormPreserveFloat…`: the module may demand that subnormals are kept.
    pub denorm_preserve: bool,
}

impl FloatControls {
    /// Of the least device that has floats of this width.
    pub const LEAST: Self =
        Self { signed_zero_inf_nan_preserve: true, rounding_mode_rte: false, denorm_preserve: false };
}

impl Profile {
    /// What modules may demand of floats of type `ty`; `bf16` is computed in `f32`.
    pub fn float_controls(&self, ty: ScalarType) -> FloatControls {
        self.floats[match ty {
            ScalarType::F16 => 0,
            ScalarType::F64 => 2,
            _ => 1,
        }]
    }

    /// A device with every optional capability and every quirk: what tests emit for, besides the least.
    pub const fn fullest() -> Self {
        Self {
            push_constant_bytes: 256,
            floats: [FloatControls {
                signed_zero_inf_nan_preserve: true,
                rounding_mode_rte: true,
                denorm_preserve: true,
            }; 3],
            driver_ends_loops: true,
            rules: Rules::ALL,
            driver_waits_at_workgroup_fences: true,
            subgroup_size: 32,
            subgroup_uniform_control_flow: true,
            explicit_shared_layout: true,
            addresses: false,
            offsets: false,
            debug_names: true,
            optimize: true,
        }
    }

    /// Profiles of drivers that were measured, by name: what a pack is made for on another machine. A driver's own profile
    /// is what its device is planned with; a kernel lowered for another is not found there.
    pub const NAMED: &'static [(&'static str, Self)] = &[
        (
            "lavapipe",
            Self {
                floats: [FloatControls { rounding_mode_rte: true, ..FloatControls::LEAST }; 3],
                driver_ends_loops: true,
                rules: Rules { wide_division: false, narrow_integers: false, signs: false, ..Rules::ALL },
                driver_waits_at_workgroup_fences: true,
                subgroup_size: 8,
                ..Self::least()
            },
        ),
        ("swiftshader", Self { rules: Rules { signs: true, ..Rules::NONE }, ..Self::least() }),
        (
            "nvidia",
            Self {
                floats: [
                    FloatControls { rounding_mode_rte: true, denorm_preserve: true, ..FloatControls::LEAST },
                    FloatControls { rounding_mode_rte: true, ..FloatControls::LEAST },
                    FloatControls { rounding_mode_rte: true, ..FloatControls::LEAST },
                ],
                driver_ends_loops: false,
                rules: Rules { zeros: false, ..Rules::ALL },
                driver_waits_at_workgroup_fences: false,
                debug_names: false,
                ..Self::fullest()
            },
        ),
    ];

    /// The measured profile called `name`.
    pub fn named(name: &str) -> Option<Self> {
        Self::NAMED.iter().find(|(known, _)| *known == name).map(|(_, profile)| profile.clone())
    }

    /// The least device: 128 bytes of push constants and no optional capability.
    pub const fn least() -> Self {
        Self {
            push_constant_bytes: 128,
            floats: [FloatControls::LEAST; 3],
            driver_ends_loops: false,
            rules: Rules::NONE,
            driver_waits_at_workgroup_fences: false,
            subgroup_size: 4,
            subgroup_uniform_control_flow: false,
            explicit_shared_layout: false,
            addresses: false,
            offsets: false,
            debug_names: false,
            optimize: true,
        }
    }

    /// What every device has of this one: its optional capabilities are left alone, and what its driver gets wrong is kept.
    /// Words emitted for it are the same for every device whose driver has the same quirks and subgroups.
    #[must_use]
    pub fn portable(&self) -> Self {
        Self {
            driver_ends_loops: self.driver_ends_loops,
            rules: self.rules,
            driver_waits_at_workgroup_fences: self.driver_waits_at_workgroup_fences,
            subgroup_size: self.subgroup_size,
            addresses: self.addresses,
            offsets: self.offsets,
            debug_names: self.debug_names,
            optimize: self.optimize,
            ..Self::least()
        }
    }
}
