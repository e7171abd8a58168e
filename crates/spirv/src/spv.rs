//! The numbers of SPIR-V 1.6 that emission uses, under their names in the specification.
#![allow(non_upper_case_globals, reason = "names of the SPIR-V specification")]

macro_rules! numbers {
    ($($module:ident { $($name:ident = $value:literal),* $(,)? })*) => {
        $(pub(crate) mod $module { $(pub(crate) const $name: u32 = $value;)* })*
    };
}

pub(crate) const MAGIC: u32 = 0x0723_0203;
pub(crate) const VERSION: u32 = 0x0001_0600;

numbers! {
    op {
        Name = 5, Extension = 10, ExtInstImport = 11, ExtInst = 12, MemoryModel = 14, EntryPoint = 15, ExecutionMode = 16,
        Capability = 17, TypeVoid = 19, TypeBool = 20, TypeInt = 21, TypeFloat = 22, TypeVector = 23,
        TypeArray = 28, TypeRuntimeArray = 29, TypeStruct = 30, TypePointer = 32, TypeFunction = 33,
        ConstantTrue = 41, ConstantFalse = 42, Constant = 43, ConstantComposite = 44, ConstantNull = 46,
        Function = 54, FunctionEnd = 56, Variable = 59, Load = 61, Store = 62, AccessChain = 65,
        Decorate = 71, MemberDecorate = 72, VectorExtractDynamic = 77, VectorInsertDynamic = 78, VectorShuffle = 79,
        CompositeConstruct = 80, CompositeExtract = 81, ConvertFToU = 109, ConvertFToS = 110, ConvertSToF = 111,
        ConvertUToF = 112, UConvert = 113, SConvert = 114, FConvert = 115, ConvertUToPtr = 120, Bitcast = 124, SNegate = 126, FNegate = 127, IAdd = 128, FAdd = 129, ISub = 130,
        FSub = 131, IMul = 132, FMul = 133, UDiv = 134, SDiv = 135, FDiv = 136, UMulExtended = 151,
        SMulExtended = 152, IsNan = 156, IsInf = 157, LogicalEqual = 164, LogicalNotEqual = 165, LogicalOr = 166,
        LogicalAnd = 167, LogicalNot = 168, Select = 169, IEqual = 170, INotEqual = 171, UGreaterThan = 172,
        SGreaterThan = 173, UGreaterThanEqual = 174, SGreaterThanEqual = 175, ULessThan = 176, SLessThan = 177,
        ULessThanEqual = 178, SLessThanEqual = 179, FOrdEqual = 180, FOrdNotEqual = 182, FUnordNotEqual = 183, FOrdLessThan = 184,
        FOrdGreaterThan = 186, FOrdLessThanEqual = 188, FOrdGreaterThanEqual = 190, ShiftRightLogical = 194,
        ShiftRightArithmetic = 195, ShiftLeftLogical = 196, BitwiseOr = 197, BitwiseXor = 198, BitwiseAnd = 199,
        Not = 200, BitReverse = 204, BitCount = 205,
        SDot = 4450, UDot = 4451, TypeCooperativeMatrixKHR = 4456, CooperativeMatrixLoadKHR = 4457,
        CooperativeMatrixStoreKHR = 4458, CooperativeMatrixMulAddKHR = 4459,
        ControlBarrier = 224, MemoryBarrier = 225, AtomicLoad = 227, AtomicStore = 228, AtomicExchange = 229,
        AtomicCompareExchange = 230, AtomicIAdd = 234, AtomicSMin = 236, AtomicUMin = 237, AtomicSMax = 238,
        AtomicUMax = 239, AtomicAnd = 240, AtomicOr = 241, AtomicXor = 242, AtomicFAddEXT = 6035, Phi = 245, LoopMerge = 246,
        SelectionMerge = 247, Label = 248, Branch = 249, BranchConditional = 250, Return = 253, GroupNonUniformElect = 333,
        GroupNonUniformAll = 334, GroupNonUniformAny = 335, GroupNonUniformBallot = 339,
        GroupNonUniformBallotBitCount = 342, GroupNonUniformShuffle = 345, GroupNonUniformIAdd = 349,
        GroupNonUniformFAdd = 350, GroupNonUniformIMul = 351, GroupNonUniformFMul = 352,
        GroupNonUniformSMin = 353, GroupNonUniformUMin = 354, GroupNonUniformFMin = 355,
        GroupNonUniformSMax = 356, GroupNonUniformUMax = 357, GroupNonUniformFMax = 358,
        GroupNonUniformBitwiseAnd = 359, GroupNonUniformBitwiseOr = 360, GroupNonUniformBitwiseXor = 361,
    }
    glsl {
        RoundEven = 2, Trunc = 3, FAbs = 4, Floor = 8, Ceil = 9, Sin = 13, Cos = 14, Tan = 15,
        Asin = 16, Acos = 17, Atan = 18, Tanh = 21, Atan2 = 25, Pow = 26, Exp = 27, Log = 28,
        Exp2 = 29, Log2 = 30, Sqrt = 31, InverseSqrt = 32,
        UMin = 38, SMin = 39, UMax = 41, SMax = 42, Fma = 50, FindILsb = 73, FindUMsb = 75, NMin = 79, NMax = 80,
    }
    capability {
        Shader = 1, Float16 = 9, Float64 = 10, Int64 = 11, Int64Atomics = 12, Int16 = 22, Int8 = 39, GroupNonUniform = 61,
        GroupNonUniformVote = 62, GroupNonUniformArithmetic = 63, GroupNonUniformBallot = 64,
        GroupNonUniformShuffle = 65, WorkgroupMemoryExplicitLayoutKHR = 4428,
        WorkgroupMemoryExplicitLayout8BitAccessKHR = 4429, WorkgroupMemoryExplicitLayout16BitAccessKHR = 4430,
        StorageBuffer16BitAccess = 4433, StorageBuffer8BitAccess = 4448, DenormPreserve = 4464, SignedZeroInfNanPreserve = 4466, RoundingModeRTE = 4467,
        VulkanMemoryModel = 5345, PhysicalStorageBufferAddresses = 5347, DotProductInput4x8BitPacked = 6018, DotProduct = 6019,
        CooperativeMatrixKHR = 6022, AtomicFloat32AddEXT = 6033,
        AtomicFloat64AddEXT = 6034, BFloat16TypeKHR = 5116, BFloat16CooperativeMatrixKHR = 5118,
    }
    execution_mode {
        LocalSize = 17, SubgroupUniformControlFlowKHR = 4421, DenormPreserve = 4459, SignedZeroInfNanPreserve = 4461, RoundingModeRTE = 4462,
    }
    decoration {
        Block = 2, ArrayStride = 6, Restrict = 19, Aliased = 20, BuiltIn = 11, NonWritable = 24, NonReadable = 25, Binding = 33,
        DescriptorSet = 34, Offset = 35, NoContraction = 42,
    }
    storage_class {
        Input = 1, Workgroup = 4, Function = 7, PushConstant = 9, StorageBuffer = 12,
        PhysicalStorageBuffer = 5349,
    }
    built_in {
        NumWorkgroups = 24, WorkgroupId = 26, LocalInvocationId = 27, GlobalInvocationId = 28,
        LocalInvocationIndex = 29, SubgroupId = 40,
    }
    scope {
        Workgroup = 2, Subgroup = 3, QueueFamily = 5,
    }
    semantics {
        Relaxed = 0, Acquire = 0x2, Release = 0x4, AcquireRelease = 0x8, UniformMemory = 0x40, WorkgroupMemory = 0x100,
        MakeAvailable = 0x2000, MakeVisible = 0x4000, Volatile = 0x8000,
    }
    memory_access {
        Aligned = 2, NonPrivatePointer = 32,
    }
    cooperative_matrix_operands {
        MatrixASignedComponentsKHR = 1, MatrixBSignedComponentsKHR = 2, MatrixCSignedComponentsKHR = 4,
        MatrixResultSignedComponentsKHR = 8,
    }
    float_encoding {
        BFloat16KHR = 0,
    }
    group_operation {
        Reduce = 0, InclusiveScan = 1, ExclusiveScan = 2,
    }
    addressing_model {
        Logical = 0, PhysicalStorageBuffer64 = 5348,
    }
}

/// The memory model `Vulkan`.
pub(crate) const MEMORY_MODEL: u32 = 3;
/// `GLCompute`.
pub(crate) const GL_COMPUTE: u32 = 5;
