//! Facts about a device used by compilers, routing and tests: limits, capabilities, quirks, identity.
//!
//! Pure data, filled in by backends.

use core::fmt;

use crate::matrix::MatrixScope;
use crate::types::ScalarType;

macro_rules! capabilities {
    ($($(#[$doc:meta])* $variant:ident $name:literal,)*) => {
        /// An optional capability of a device. A kernel that needs a missing one is rejected with an error that names it.
        ///
        /// Exhaustive: a match that misses a capability must not compile, so a new one is a breaking change.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Capability {
            $($(#[$doc])* $variant,)*
        }

        impl Capability {
            /// All capabilities.
            pub const ALL: &'static [Capability] = &[$(Self::$variant),*];

            /// Returns the name used in reports and errors.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

capabilities! {
    /// Preserves subnormal `f16` operands and results.
    SubnormalsF16 "subnormals_f16",
    /// Preserves subnormal `f32` operands and results.
    SubnormalsF32 "subnormals_f32",
    /// Preserves subnormal `f64` operands and results.
    SubnormalsF64 "subnormals_f64",
    /// Guarantees rounding to nearest even on request (`RoundingModeRTE`).
    RoundingModeF32 "rounding_mode_f32",
    /// Contains out-of-bounds descriptor accesses in hardware or driver.
    Robustness2 "robustness2",
    /// `i8` and `u8` arithmetic and storage.
    Int8 "int8",
    /// `i16` and `u16` arithmetic and storage.
    Int16 "int16",
    /// `i64` and `u64` arithmetic and storage.
    Int64 "int64",
    /// `f16` arithmetic and storage.
    Float16 "float16",
    /// `bf16` storage, with arithmetic in `f32`.
    BFloat16 "bfloat16",
    /// `f64` arithmetic and storage.
    Float64 "float64",
    /// 64-bit integer atomics in buffers and shared memory.
    AtomicInt64 "atomic_int64",
    /// `atomic.add` on `f32` in buffers and shared memory.
    AtomicFloatAdd "atomic_float_add",
    /// `atomic.add` on `f64` in buffers and shared memory.
    AtomicDoubleAdd "atomic_double_add",
    /// `fma[exact]`, rounded once.
    ExactFma "exact_fma",
    /// Subgroup ops.
    Subgroups "subgroups",
    /// Cooperative matrices of some shapes and types.
    CooperativeMatrix "cooperative_matrix",
    /// Buffers larger than a descriptor's range, through device addresses.
    LargeBuffers "large_buffers",
    /// Forward progress of started workgroups while others wait for them.
    WorkgroupProgress "workgroup_progress",
}

impl Capability {
    /// Returns the capability needed to store and compute values of `ty`; `None` if every device can.
    pub const fn of_type(ty: ScalarType) -> Option<Self> {
        match ty {
            ScalarType::I8 | ScalarType::U8 => Some(Self::Int8),
            ScalarType::I16 | ScalarType::U16 => Some(Self::Int16),
            ScalarType::I64 | ScalarType::U64 => Some(Self::Int64),
            ScalarType::F16 => Some(Self::Float16),
            ScalarType::BF16 => Some(Self::BFloat16),
            ScalarType::F64 => Some(Self::Float64),
            ScalarType::Bool | ScalarType::I32 | ScalarType::U32 | ScalarType::F32 => None,
        }
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Limits of a device, checked before pipeline creation and submission.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Maximum number of invocations in a workgroup.
    pub max_workgroup_invocations: u32,
    /// Maximum workgroup size along x, y and z.
    pub max_workgroup_size: [u32; 3],
    /// Maximum number of workgroups in a grid along x, y and z.
    pub max_workgroup_count: [u32; 3],
    /// Maximum shared memory of a workgroup in bytes.
    pub max_shared_bytes: u32,
    /// Maximum size of a bound buffer in bytes.
    pub max_buffer_bytes: u64,
    /// Maximum number of buffers bound by a kernel.
    pub max_bound_buffers: u32,
    /// Number of iterations after which the driver silently ends an invocation's loops, if it has this quirk.
    pub loop_limit: Option<u32>,
    /// Maximum nesting of control flow: an `if` is one level, a loop two, and the guard of an access in the innermost
    /// one more.
    pub max_nesting: u32,
    /// Subgroup size: a power of two, at most 128.
    pub subgroup_size: u32,
}

impl Limits {
    /// Returns limits equal to those of the language.
    pub const fn unlimited() -> Self {
        Self {
            max_workgroup_invocations: crate::limits::MAX_WORKGROUP_INVOCATIONS,
            max_workgroup_size: [crate::limits::MAX_WORKGROUP_INVOCATIONS; 3],
            max_workgroup_count: [u32::MAX; 3],
            max_shared_bytes: crate::limits::MAX_SHARED_BYTES as u32,
            // The largest possible allocation on a host.
            max_buffer_bytes: i64::MAX as u64,
            max_bound_buffers: crate::limits::MAX_DECLARATIONS as u32,
            loop_limit: None,
            max_nesting: u32::MAX,
            subgroup_size: 32,
        }
    }
}

/// Types and shape of a supported `coop.mul_add`: M × K by K × N, added to M × N.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MatrixShapes {
    /// Rows of the left factor and of the sum.
    pub m: u16,
    /// Columns of the right factor and of the sum.
    pub n: u16,
    /// Columns of the left factor, rows of the right.
    pub k: u16,
    /// Component type of the left factor.
    pub a: ScalarType,
    /// Component type of the right factor.
    pub b: ScalarType,
    /// Component type of the addend and the result.
    pub acc: ScalarType,
    /// Scope of the matrices.
    pub scope: MatrixScope,
}

/// Prints, for example, `16x16x16 f16 f16 f32 subgroup`: M × N × K, component types, scope.
impl fmt::Display for MatrixShapes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { m, n, k, a, b, acc, scope } = self;
        write!(f, "{m}x{n}x{k} {a} {b} {acc} {}", scope.name())
    }
}

/// The cooperative matrices that a device supports.
///
/// Exhaustive: a check that misses a variant must not compile.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Matrices {
    /// None.
    #[default]
    None,
    /// All of the language, in workgroups of any size.
    Any,
    /// Those of the listed products, in workgroups of whole subgroups.
    Listed(Vec<MatrixShapes>),
}

/// The known facts about a device before compilation.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeviceSnapshot {
    /// Backend id: `reference`, `cpu`, `vulkan`, or that of a third party.
    pub backend: String,
    /// Device name.
    pub device: String,
    /// Driver name and version, for display.
    pub driver: String,
    /// Capabilities.
    pub capabilities: Vec<Capability>,
    /// Limits.
    pub limits: Limits,
    /// Supported cooperative matrices, in addition to the capability.
    pub matrices: Matrices,
    /// Driver faults found by probes, for display.
    pub quirks: Vec<String>,
    /// Names of the lowering rules that work around driver faults.
    pub rules: Vec<String>,
    /// Whether the device's compiler optimizes what it is given. Where it does not, all passes run before it by default.
    pub optimizes: bool,
}

impl DeviceSnapshot {
    /// Creates a snapshot without capabilities, with the language's limits.
    pub fn new(backend: impl Into<String>, device: impl Into<String>, driver: impl Into<String>) -> Self {
        Self {
            backend: backend.into(),
            device: device.into(),
            driver: driver.into(),
            capabilities: Vec::new(),
            limits: Limits::unlimited(),
            matrices: Matrices::None,
            quirks: Vec::new(),
            rules: Vec::new(),
            optimizes: true,
        }
    }

    /// Creates the snapshot of a software device, with all capabilities, matrices of any shape, and the given subgroup
    /// size.
    pub fn complete(
        backend: impl Into<String>,
        device: impl Into<String>,
        driver: impl Into<String>,
        subgroup_size: u32,
    ) -> Self {
        let mut snapshot = Self::new(backend, device, driver);
        snapshot.capabilities = Capability::ALL.to_vec();
        snapshot.matrices = Matrices::Any;
        snapshot.limits.subgroup_size = subgroup_size;
        snapshot
    }

    /// Returns whether the device has `capability`.
    pub fn has(&self, capability: Capability) -> bool {
        self.capabilities.contains(&capability)
    }
}
