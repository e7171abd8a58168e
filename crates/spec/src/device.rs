//! Facts about a device that compilers, routing and tests read: limits, capabilities, quirks, identity.
//!
//! Pure data. Backends fill it in; nothing here asks a device anything.

use core::fmt;

use crate::matrix::MatrixScope;
use crate::types::ScalarType;

/// An ability that a device may lack. A kernel that needs one it lacks is refused with
/// [`Capability`] in the error, never run wrongly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Capability {
    /// Subnormal `f16` operands and results are kept, not flushed to zero.
    SubnormalsF16,
    /// Subnormal `f32` operands and results are kept, not flushed to zero.
    SubnormalsF32,
    /// Subnormal `f64` operands and results are kept, not flushed to zero.
    SubnormalsF64,
    /// Float to nearest-even rounding can be demanded of the compiler (`RoundingModeRTE`).
    RoundingModeF32,
    /// Out-of-bounds descriptor accesses are contained by the device too.
    Robustness2,
    /// `i8` and `u8`: arithmetic and storage.
    Int8,
    /// `i16` and `u16`: arithmetic and storage.
    Int16,
    /// `i64` and `u64`: arithmetic and storage.
    Int64,
    /// `f16`: arithmetic and storage.
    Float16,
    /// `bf16`: storage, with arithmetic in `f32`.
    BFloat16,
    /// `f64`: arithmetic and storage.
    Float64,
    /// Atomics on 64-bit integers in buffers and shared memory.
    AtomicInt64,
    /// `atomic.add` on `f32` in buffers and shared memory.
    AtomicFloatAdd,
    /// `atomic.add` on `f64` in buffers and shared memory.
    AtomicDoubleAdd,
    /// `fma[exact]`: rounded once.
    ExactFma,
    /// Subgroup ops.
    Subgroups,
    /// Cooperative matrices of some shapes and types.
    CooperativeMatrix,
    /// Buffers of more bytes than one descriptor reaches, through device addresses.
    LargeBuffers,
    /// Workgroups that have begun go on while others wait for them.
    WorkgroupProgress,
}

impl Capability {
    /// Each.
    pub const ALL: &'static [Capability] = &[
        Self::SubnormalsF16,
        Self::SubnormalsF32,
        Self::SubnormalsF64,
        Self::RoundingModeF32,
        Self::Robustness2,
        Self::Int8,
        Self::Int16,
        Self::Int64,
        Self::Float16,
        Self::BFloat16,
        Self::Float64,
        Self::AtomicInt64,
        Self::AtomicFloatAdd,
        Self::AtomicDoubleAdd,
        Self::ExactFma,
        Self::Subgroups,
        Self::CooperativeMatrix,
        Self::LargeBuffers,
        Self::WorkgroupProgress,
    ];

    /// The name in reports and errors.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SubnormalsF16 => "subnormals_f16",
            Self::SubnormalsF32 => "subnormals_f32",
            Self::SubnormalsF64 => "subnormals_f64",
            Self::RoundingModeF32 => "rounding_mode_f32",
            Self::Robustness2 => "robustness2",
            Self::Int8 => "int8",
            Self::Int16 => "int16",
            Self::Int64 => "int64",
            Self::Float16 => "float16",
            Self::BFloat16 => "bfloat16",
            Self::Float64 => "float64",
            Self::AtomicInt64 => "atomic_int64",
            Self::AtomicFloatAdd => "atomic_float_add",
            Self::AtomicDoubleAdd => "atomic_double_add",
            Self::ExactFma => "exact_fma",
            Self::Subgroups => "subgroups",
            Self::CooperativeMatrix => "cooperative_matrix",
            Self::LargeBuffers => "large_buffers",
            Self::WorkgroupProgress => "workgroup_progress",
        }
    }

    /// What a device needs to hold and compute values of `ty`, if not every device can.
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

/// Limits of a device. Everything is checked before a pipeline is made or a launch submitted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Most invocations in a workgroup.
    pub max_workgroup_invocations: u32,
    /// Most invocations in a workgroup along x, y and z.
    pub max_workgroup_size: [u32; 3],
    /// Most workgroups in a grid along x, y and z.
    pub max_workgroup_count: [u32; 3],
    /// Bytes of shared memory in a workgroup.
    pub max_shared_bytes: u32,
    /// Bytes that one bound buffer may have.
    pub max_buffer_bytes: u64,
    /// Buffers that one kernel may bind.
    pub max_bound_buffers: u32,
    /// Iterations after which the driver silently ends an invocation's loops, if it has such a quirk.
    pub loop_limit: Option<u32>,
    /// Levels of nested control flow: an `if` is one, a loop two, and an access guard in the innermost one more.
    pub max_nesting: u32,
    /// Lanes of a full subgroup: a power of two, at most 128.
    pub subgroup_size: u32,
}

impl Limits {
    /// Limits of a machine that has none but the language's own.
    pub const fn unlimited() -> Self {
        Self {
            max_workgroup_invocations: crate::limits::MAX_WORKGROUP_INVOCATIONS,
            max_workgroup_size: [crate::limits::MAX_WORKGROUP_INVOCATIONS; 3],
            max_workgroup_count: [u32::MAX; 3],
            max_shared_bytes: crate::limits::MAX_SHARED_BYTES as u32,
            // No allocation of a host is larger.
            max_buffer_bytes: i64::MAX as u64,
            max_bound_buffers: crate::limits::MAX_DECLARATIONS as u32,
            loop_limit: None,
            max_nesting: u32::MAX,
            subgroup_size: 32,
        }
    }
}

/// The types and shapes of one `coop.mul_add` that a device does: M × K by K × N, onto M × N.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MatrixShapes {
    /// Rows of the left factor and of the sum.
    pub m: u16,
    /// Columns of the right factor and of the sum.
    pub n: u16,
    /// Columns of the left factor, rows of the right.
    pub k: u16,
    /// Components of the left factor.
    pub a: ScalarType,
    /// Components of the right factor.
    pub b: ScalarType,
    /// Components of what is added to, and of the result.
    pub acc: ScalarType,
    /// Who holds the matrices.
    pub scope: MatrixScope,
}

/// Prints `16x16x16 f16 f16 f32 subgroup`: M × N × K, then components.
impl fmt::Display for MatrixShapes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { m, n, k, a, b, acc, scope } = self;
        write!(f, "{m}x{n}x{k} {a} {b} {acc} {}", scope.name())
    }
}

/// Which cooperative matrices a device has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Matrices {
    /// None.
    #[default]
    None,
    /// All that the language has, in workgroups of any size.
    Any,
    /// Those of these products, in workgroups of whole subgroups.
    Listed(Vec<MatrixShapes>),
}

/// What is known of a device before anything is compiled for it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeviceSnapshot {
    /// The backend's id: `reference`, `cpu`, `vulkan`, or a third party's.
    pub backend: String,
    /// The device's own name.
    pub device: String,
    /// Driver name and version, for people.
    pub driver: String,
    /// What the device can do.
    pub capabilities: Vec<Capability>,
    /// What it cannot exceed.
    pub limits: Limits,
    /// Which cooperative matrices it has; the capability goes with it.
    pub matrices: Matrices,
    /// Faults that probes found in its driver, for people.
    pub quirks: Vec<String>,
    /// The rules by which kernels are lowered so that its driver gets them right, by name.
    pub rules: Vec<String>,
}

impl DeviceSnapshot {
    /// A snapshot with no capabilities and no limits but the language's.
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
        }
    }

    /// A snapshot of a device that is software: every capability, matrices of any shape, subgroups as large as it
    /// likes.
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

    /// Whether the device has `capability`.
    pub fn has(&self, capability: Capability) -> bool {
        self.capabilities.contains(&capability)
    }
}
