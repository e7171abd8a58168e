//! Profiles: the capabilities, limits and quirks of a device that emission depends on.

use fulgurite_spec::ScalarType;

use crate::rules::Rules;

/// The facts of a device that change the emitted words. Part of a compiled kernel's identity.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Profile {
    /// The size of push constants in bytes. A larger parameter block becomes a storage buffer.
    pub push_constant_bytes: u32,
    /// The float controls that modules may declare for 16, 32 and 64 bits.
    pub floats: [FloatControls; 3],
    /// Whether the driver silently ends loops after some number of iterations. The module then records that in the
    /// fault word.
    pub driver_ends_loops: bool,
    /// The rules that hide values from the driver's compiler.
    pub rules: Rules,
    /// Whether the driver treats ordered atomics and fences of workgroup scope as barriers, under any control
    /// flow. The module then uses the scope of the device.
    pub driver_waits_at_workgroup_fences: bool,
    /// The number of invocations in a whole subgroup; a power of two.
    pub subgroup_size: u32,
    /// `VK_KHR_shader_subgroup_uniform_control_flow`: the module requires that a subgroup stays together under
    /// uniform control flow.
    pub subgroup_uniform_control_flow: bool,
    /// `VK_KHR_workgroup_memory_explicit_layout`: views of shared memory are aliased variables. Without it, elements
    /// are assembled from pieces.
    pub explicit_shared_layout: bool,
    /// Whether every buffer is accessed by its device address, not only `large` ones.
    pub addresses: bool,
    /// Whether bound ranges may begin at any element, not only where descriptors may: accesses add the offset.
    pub offsets: bool,
    /// Whether to emit `OpName` for named values.
    pub debug_names: bool,
    /// Whether to omit what the analyses prove unnecessary: guards of accesses in bounds, polls of short loops.
    pub optimize: bool,
}

/// The float controls that a module may declare for one width.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FloatControls {
    /// `shaderSignedZeroInfNanPreserveFloat…`. Required for having the type at all.
    pub signed_zero_inf_nan_preserve: bool,
    /// `shaderRoundingModeRTEFloat…`: the module may require rounding to nearest even.
    pub rounding_mode_rte: bool,
    /// `shaderDenormPreserveFloat…`: the module may require that subnormals are preserved.
    pub denorm_preserve: bool,
}

impl FloatControls {
    /// The float controls of the minimal device that has floats of this width.
    pub const LEAST: Self =
        Self { signed_zero_inf_nan_preserve: true, rounding_mode_rte: false, denorm_preserve: false };
}

impl Profile {
    /// Returns the float controls for type `ty`; `bf16` is computed in `f32`.
    pub fn float_controls(&self, ty: ScalarType) -> FloatControls {
        self.floats[match ty {
            ScalarType::F16 => 0,
            ScalarType::F64 => 2,
            ScalarType::F32
            | ScalarType::BF16
            | ScalarType::Bool
            | ScalarType::I8
            | ScalarType::I16
            | ScalarType::I32
            | ScalarType::I64
            | ScalarType::U8
            | ScalarType::U16
            | ScalarType::U32
            | ScalarType::U64 => 1,
        }]
    }

    /// Returns the profile of a device with every optional capability and every quirk, for tests.
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

    /// Profiles of measured drivers, by name, for making packs for other machines. A device is planned with its own
    /// profile; a kernel lowered for another is not found there.
    pub const NAMED: &'static [(&'static str, Self)] = &[
        (
            "lavapipe",
            Self {
                floats: [FloatControls { rounding_mode_rte: true, ..FloatControls::LEAST }; 3],
                driver_ends_loops: true,
                rules: Rules {
                    wide_division: false,
                    narrow_integers: false,
                    signs: false,
                    repeated_loads: false,
                    ..Rules::ALL
                },
                driver_waits_at_workgroup_fences: true,
                subgroup_size: 8,
                ..Self::least()
            },
        ),
        (
            "swiftshader",
            Self { rules: Rules { signs: true, repeated_loads: true, ..Rules::NONE }, ..Self::least() },
        ),
        (
            "nvidia",
            Self {
                floats: [
                    FloatControls { rounding_mode_rte: true, denorm_preserve: true, ..FloatControls::LEAST },
                    FloatControls { rounding_mode_rte: true, ..FloatControls::LEAST },
                    FloatControls { rounding_mode_rte: true, ..FloatControls::LEAST },
                ],
                driver_ends_loops: false,
                rules: Rules { zeros: false, repeated_loads: false, ..Rules::ALL },
                driver_waits_at_workgroup_fences: false,
                debug_names: false,
                ..Self::fullest()
            },
        ),
    ];

    /// Returns the measured profile `name`.
    pub fn named(name: &str) -> Option<Self> {
        Self::NAMED.iter().find(|(known, _)| *known == name).map(|(_, profile)| profile.clone())
    }

    /// Returns the profile of the minimal device: 128 bytes of push constants and no optional capability.
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

    /// Returns the profile without optional capabilities but with the quirks of the driver. Words emitted for it are
    /// the same for all devices whose drivers have the same quirks and subgroup size.
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
