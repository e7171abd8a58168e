//! Assembly of a module by section; types and constants are unique.

use std::collections::BTreeMap;

use fulgurite_spec::{Lanes, Literal, MatrixScope, MatrixShape, ScalarClass, ScalarType, Type};

use crate::spv::{self, addressing_model, capability, decoration, float_encoding, op, scope, storage_class};

/// A result id.
pub(crate) type Id = u32;

/// A module under construction. Sections are joined by [`finish`](Assembler::finish).
pub(crate) struct Assembler {
    next: Id,
    pub(crate) capabilities: Vec<u32>,
    extensions: Vec<u32>,
    pub(crate) modes: Vec<u32>,
    pub(crate) names: Vec<u32>,
    pub(crate) decorations: Vec<u32>,
    pub(crate) globals: Vec<u32>,
    /// Function variables, which SPIR-V requires first.
    pub(crate) variables: Vec<u32>,
    pub(crate) code: Vec<u32>,
    /// Global variables of the entry point.
    pub(crate) interface: Vec<Id>,
    pub(crate) glsl: Id,
    /// The addressing model.
    pub(crate) addressing: u32,
    types: BTreeMap<TypeKey, Id>,
    value_types: [[Id; 5]; ScalarType::ALL.len()],
    /// The same for values in registers.
    register_types: [[Id; 5]; ScalarType::ALL.len()],
    /// Keyed by type id and the bits of every lane.
    constants: BTreeMap<(Id, u64), Id>,
}

/// The first word of a type's declaration, which has its opcode and length, and its operands.
type TypeKey = (u32, [u32; MAX_TYPE_OPERANDS]);

/// The number of operands of a cooperative matrix, the type with the most.
const MAX_TYPE_OPERANDS: usize = 5;

/// The number of words for which a section has room at first. Small kernels need no more.
const FIRST_WORDS: usize = 256;

fn type_key(opcode: u32, operands: &[u32]) -> TypeKey {
    let mut all = [0; MAX_TYPE_OPERANDS];
    all[..operands.len()].copy_from_slice(operands);
    (header(opcode, operands.len() + 1), all)
}

/// Returns the type that a value of type `ty` has in registers. Integers of 8 and 16 bits, and the bits of a `bf16`,
/// are words, sign-extended or zero-extended; narrow types are used in memory only.
pub(crate) fn register(ty: Type) -> Type {
    ty.with_scalar(match ty.scalar {
        ScalarType::I8 | ScalarType::I16 => ScalarType::I32,
        ScalarType::U8 | ScalarType::U16 | ScalarType::BF16 => ScalarType::U32,
        ScalarType::Bool
        | ScalarType::I32
        | ScalarType::I64
        | ScalarType::U32
        | ScalarType::U64
        | ScalarType::F16
        | ScalarType::F32
        | ScalarType::F64 => ty.scalar,
    })
}

/// Returns the first word of an instruction with this many further words.
fn header(opcode: u32, further: usize) -> u32 {
    ((further as u32 + 1) << 16) | opcode
}

/// Appends one instruction to `section`.
pub(crate) fn push(section: &mut Vec<u32>, opcode: u32, operands: &[u32]) {
    section.push(header(opcode, operands.len()));
    section.extend_from_slice(operands);
}

/// Appends one instruction whose first operand is `first`.
fn push_on(section: &mut Vec<u32>, opcode: u32, first: Id, operands: &[u32]) {
    section.extend([header(opcode, operands.len() + 1), first]);
    section.extend_from_slice(operands);
}

/// Returns the bits of a value of type `ty` in registers, with its register type.
fn in_register(ty: Type, bits: u64) -> (Type, u64) {
    let register = register(ty);
    if register == ty || !ty.scalar.is_signed() {
        return (register, bits);
    }
    let unused = 32 - ty.scalar.bits();
    (register, u64::from((((bits as u32) << unused) as i32 >> unused) as u32))
}

/// Returns the capability that values of a type require.
fn capability_of(ty: ScalarType) -> Option<u32> {
    match ty {
        ScalarType::I8 | ScalarType::U8 => Some(capability::Int8),
        ScalarType::I16 | ScalarType::U16 | ScalarType::BF16 => Some(capability::Int16),
        ScalarType::I64 | ScalarType::U64 => Some(capability::Int64),
        ScalarType::F16 => Some(capability::Float16),
        ScalarType::F64 => Some(capability::Float64),
        ScalarType::Bool | ScalarType::I32 | ScalarType::U32 | ScalarType::F32 => None,
    }
}

/// Encodes a string as SPIR-V words: little-endian bytes with a terminating zero.
pub(crate) fn string(text: &str) -> Vec<u32> {
    let mut bytes = text.as_bytes().to_vec();
    bytes.resize(bytes.len() / 4 * 4 + 4, 0);
    bytes.chunks_exact(4).map(|c| u32::from_le_bytes([c[0], c[1], c[2], c[3]])).collect()
}

impl Assembler {
    pub(crate) fn new() -> Self {
        Self {
            next: 2,
            capabilities: Vec::new(),
            extensions: Vec::new(),
            modes: Vec::new(),
            names: Vec::new(),
            decorations: Vec::with_capacity(FIRST_WORDS),
            globals: Vec::with_capacity(FIRST_WORDS),
            variables: Vec::new(),
            code: Vec::with_capacity(FIRST_WORDS),
            interface: Vec::new(),
            glsl: 1,
            addressing: addressing_model::Logical,
            types: BTreeMap::new(),
            value_types: [[0; 5]; ScalarType::ALL.len()],
            register_types: [[0; 5]; ScalarType::ALL.len()],
            constants: BTreeMap::new(),
        }
    }

    /// Returns a fresh id.
    #[inline]
    pub(crate) fn id(&mut self) -> Id {
        self.next += 1;
        self.next - 1
    }

    /// Declares a capability unless it is already declared.
    pub(crate) fn capability(&mut self, capability: u32) {
        if !self.capabilities.chunks_exact(2).any(|words| words[1] == capability) {
            push(&mut self.capabilities, op::Capability, &[capability]);
        }
    }

    /// Declares an extension unless it is already declared.
    pub(crate) fn extension(&mut self, name: &str) {
        let words = string(name);
        if !self.extensions.windows(words.len()).any(|w| w == words) {
            push(&mut self.extensions, op::Extension, &words);
        }
    }

    pub(crate) fn decorate(&mut self, id: Id, operands: &[u32]) {
        push_on(&mut self.decorations, op::Decorate, id, operands);
    }

    pub(crate) fn name(&mut self, id: Id, name: &str) {
        push_on(&mut self.names, op::Name, id, &string(name));
    }

    /// Returns the type with this `opcode` and these `operands`, declaring it on first use.
    fn made(&mut self, opcode: u32, operands: &[u32]) -> Id {
        let key = type_key(opcode, operands);
        if let Some(id) = self.types.get(&key) {
            return *id;
        }
        let id = self.id();
        push_on(&mut self.globals, opcode, id, operands);
        self.types.insert(key, id);
        id
    }

    pub(crate) fn void(&mut self) -> Id {
        self.made(op::TypeVoid, &[])
    }

    /// Returns the type of a value in registers.
    #[inline]
    pub(crate) fn ty(&mut self, ty: Type) -> Id {
        if ty.is_matrix() {
            return self.memory_ty(ty);
        }
        let known = self.register_types[usize::from(ty.scalar.number())][ty.lanes.count() as usize];
        if known != 0 { known } else { self.register_ty(ty) }
    }

    fn register_ty(&mut self, ty: Type) -> Id {
        let id = self.memory_ty(register(ty));
        self.register_types[usize::from(ty.scalar.number())][ty.lanes.count() as usize] = id;
        id
    }

    /// Returns the type of a value in memory, or of a matrix.
    pub(crate) fn memory_ty(&mut self, ty: Type) -> Id {
        if let Some(shape) = ty.matrix {
            return self.matrix(ty.scalar, shape);
        }
        let (scalar, lanes) = (usize::from(ty.scalar.number()), ty.lanes.count() as usize);
        let known = self.value_types[scalar][lanes];
        if known != 0 {
            return known;
        }
        let id = if ty.is_scalar() {
            if let Some(capability) = capability_of(ty.scalar) {
                self.capability(capability);
            }
            match ty.scalar {
                ScalarType::Bool => self.made(op::TypeBool, &[]),
                ScalarType::F16 | ScalarType::F32 | ScalarType::F64 => {
                    self.made(op::TypeFloat, &[ty.scalar.bits()])
                }
                // `bf16` is represented by its bits; arithmetic on it is done in `f32`.
                ScalarType::BF16
                | ScalarType::I8
                | ScalarType::I16
                | ScalarType::I32
                | ScalarType::I64
                | ScalarType::U8
                | ScalarType::U16
                | ScalarType::U32
                | ScalarType::U64 => {
                    self.made(op::TypeInt, &[ty.scalar.bits(), u32::from(ty.scalar.is_signed())])
                }
            }
        } else {
            let element = self.memory_ty(ty.element());
            self.made(op::TypeVector, &[element, ty.lanes.count()])
        };
        self.value_types[scalar][lanes] = id;
        id
    }

    fn matrix(&mut self, component: ScalarType, shape: MatrixShape) -> Id {
        self.capability(capability::CooperativeMatrixKHR);
        self.extension("SPV_KHR_cooperative_matrix");
        let component = if component == ScalarType::BF16 {
            self.bfloat16()
        } else {
            self.memory_ty(Type::scalar(component))
        };
        let scope = match shape.scope {
            MatrixScope::Subgroup => scope::Subgroup,
            MatrixScope::Workgroup => scope::Workgroup,
        };
        // The role numbers are those of SPIR-V's matrix uses.
        let [scope, rows, columns, role] =
            [scope, shape.rows.into(), shape.cols.into(), shape.role as u32].map(|n| self.u32(n));
        self.made(op::TypeCooperativeMatrixKHR, &[component, scope, rows, columns, role])
    }

    /// Returns the component type of matrices of `bf16`. Elsewhere, `bf16` is represented by its bits.
    pub(crate) fn bfloat16(&mut self) -> Id {
        self.capability(capability::BFloat16TypeKHR);
        self.capability(capability::BFloat16CooperativeMatrixKHR);
        self.extension("SPV_KHR_bfloat16");
        self.made(op::TypeFloat, &[16, float_encoding::BFloat16KHR])
    }

    /// Returns the type `uvec3`, which only built-in ids have.
    pub(crate) fn uvec3(&mut self) -> Id {
        let u32_type = self.ty(Type::U32);
        self.made(op::TypeVector, &[u32_type, 3])
    }

    /// Returns the result type of extended multiplication, a pair.
    pub(crate) fn pair(&mut self, ty: Type) -> Id {
        let id = self.ty(ty);
        self.made(op::TypeStruct, &[id, id])
    }

    pub(crate) fn pointer(&mut self, class: u32, pointee: Id) -> Id {
        self.made(op::TypePointer, &[class, pointee])
    }

    pub(crate) fn function_type(&mut self, result: Id) -> Id {
        self.made(op::TypeFunction, &[result])
    }

    /// Returns an array type without a stride and with elements of type `element`.
    pub(crate) fn array(&mut self, element: Id, len: u32) -> Id {
        let len = self.u32(len);
        self.made(op::TypeArray, &[element, len])
    }

    /// Returns a block type whose single member is a run-time array of `element`.
    pub(crate) fn buffer_block(&mut self, element: Type) -> Id {
        let element_id = self.memory_ty(element);
        // Three components would be aligned like four.
        debug_assert!(element.lanes != Lanes::Three);
        if let Some(array) = self.types.get(&type_key(op::TypeRuntimeArray, &[element_id])).copied() {
            return self.made(op::TypeStruct, &[array]);
        }
        let array = self.made(op::TypeRuntimeArray, &[element_id]);
        self.decorate(array, &[decoration::ArrayStride, element.size()]);
        self.block(array)
    }

    /// Returns a block type whose single member is an array of `len` words.
    pub(crate) fn words_block(&mut self, len: u32) -> Id {
        let array = self.id();
        let (word, len) = (self.ty(Type::U32), self.u32(len));
        // Not shared with other arrays, because this one has a stride.
        push(&mut self.globals, op::TypeArray, &[array, word, len]);
        self.decorate(array, &[decoration::ArrayStride, 4]);
        self.block(array)
    }

    /// Returns a block type of shared memory with an explicit layout: `len` elements starting at `offset`.
    pub(crate) fn shared_block(&mut self, element: Type, len: u32, offset: u32) -> Id {
        let array = self.id();
        let (element_id, len) = (self.memory_ty(element), self.u32(len));
        push(&mut self.globals, op::TypeArray, &[array, element_id, len]);
        self.decorate(array, &[decoration::ArrayStride, element.size()]);
        let block = self.id();
        push(&mut self.globals, op::TypeStruct, &[block, array]);
        self.decorate(block, &[decoration::Block]);
        push(&mut self.decorations, op::MemberDecorate, &[block, 0, decoration::Offset, offset]);
        block
    }

    fn block(&mut self, array: Id) -> Id {
        let block = self.made(op::TypeStruct, &[array]);
        self.decorate(block, &[decoration::Block]);
        push(&mut self.decorations, op::MemberDecorate, &[block, 0, decoration::Offset, 0]);
        block
    }

    /// Declares a global variable, which is listed in the entry point's interface.
    pub(crate) fn global(&mut self, class: u32, pointee: Id, initializer: Option<Id>) -> Id {
        let pointer = self.pointer(class, pointee);
        let id = self.id();
        let mut words = vec![pointer, id, class];
        words.extend(initializer);
        push(&mut self.globals, op::Variable, &words);
        self.interface.push(id);
        id
    }

    /// Declares a function variable.
    pub(crate) fn local(&mut self, pointee: Id, initializer: Option<Id>) -> Id {
        let pointer = self.pointer(storage_class::Function, pointee);
        let id = self.id();
        let mut words = vec![pointer, id, storage_class::Function];
        words.extend(initializer);
        push(&mut self.variables, op::Variable, &words);
        id
    }

    /// Returns the zero of a type.
    pub(crate) fn null(&mut self, ty: Id) -> Id {
        let key = type_key(op::ConstantNull, &[ty]);
        if let Some(id) = self.types.get(&key) {
            return *id;
        }
        let id = self.id();
        push(&mut self.globals, op::ConstantNull, &[ty, id]);
        self.types.insert(key, id);
        id
    }

    pub(crate) fn literal(&mut self, literal: Literal) -> Id {
        self.splat(Type::scalar(literal.ty), literal.bits)
    }

    pub(crate) fn u32(&mut self, value: u32) -> Id {
        self.splat(Type::U32, u64::from(value))
    }

    /// Returns a constant of `ty` whose lanes are all `bits`.
    pub(crate) fn splat(&mut self, ty: Type, bits: u64) -> Id {
        let (ty, bits) = in_register(ty, bits);
        self.constant(ty, bits)
    }

    /// Returns a constant of the memory type of `ty` whose lanes are all `bits`.
    pub(crate) fn memory_constant(&mut self, ty: Type, bits: u64) -> Id {
        self.constant(ty, bits)
    }

    /// Returns a constant vector or scalar with these lanes.
    pub(crate) fn lanes(&mut self, ty: Type, lanes: &[u64]) -> Id {
        if lanes.iter().all(|bits| *bits == lanes[0]) {
            return self.splat(ty, lanes[0]);
        }
        let mut words = vec![self.ty(ty), 0];
        words.extend(lanes.iter().map(|bits| self.splat(ty.element(), *bits)));
        words[1] = self.id();
        push(&mut self.globals, op::ConstantComposite, &words);
        words[1]
    }

    fn constant(&mut self, ty: Type, bits: u64) -> Id {
        let ty_id = self.memory_ty(ty);
        if let Some(id) = self.constants.get(&(ty_id, bits)) {
            return *id;
        }
        let id = if ty.lanes != Lanes::One {
            let element = self.constant(ty.element(), bits);
            let id = self.id();
            let mut words = vec![ty_id, id];
            words.extend(core::iter::repeat_n(element, ty.lanes.count() as usize));
            push(&mut self.globals, op::ConstantComposite, &words);
            id
        } else {
            let id = self.id();
            let scalar = ty.scalar;
            match (scalar.class(), scalar.bits()) {
                (ScalarClass::Bool, _) => {
                    let opcode = if bits != 0 { op::ConstantTrue } else { op::ConstantFalse };
                    push(&mut self.globals, opcode, &[ty_id, id]);
                }
                (ScalarClass::Signed | ScalarClass::Unsigned | ScalarClass::Float, 64) => {
                    push(&mut self.globals, op::Constant, &[ty_id, id, bits as u32, (bits >> 32) as u32]);
                }
                (ScalarClass::Signed | ScalarClass::Unsigned | ScalarClass::Float, width) => {
                    // Narrow signed constants are sign-extended to a word.
                    let unused = 32 - width;
                    let word = bits as u32;
                    let word =
                        if scalar.is_signed() { ((word << unused) as i32 >> unused) as u32 } else { word };
                    push(&mut self.globals, op::Constant, &[ty_id, id, word]);
                }
            }
            id
        };
        self.constants.insert((ty_id, bits), id);
        id
    }

    /// Appends an instruction with a result to the code.
    #[inline]
    pub(crate) fn value(&mut self, opcode: u32, ty: Id, operands: &[u32]) -> Id {
        let id = self.id();
        match *operands {
            // The usual numbers of operands are appended with a single check for room.
            [a] => self.code.extend([header(opcode, 3), ty, id, a]),
            [a, b] => self.code.extend([header(opcode, 4), ty, id, a, b]),
            _ => {
                self.code.extend([header(opcode, operands.len() + 2), ty, id]);
                self.code.extend_from_slice(operands);
            }
        }
        id
    }

    /// Appends an instruction without a result to the code.
    pub(crate) fn effect(&mut self, opcode: u32, operands: &[u32]) {
        push(&mut self.code, opcode, operands);
    }

    /// Joins the sections. `main` is the entry point's function.
    pub(crate) fn finish(mut self, main: Id) -> Vec<u32> {
        let void = self.void();
        let function = self.function_type(void);
        let entry_label = self.id();
        let mut prologue = Vec::new();
        push(&mut prologue, op::Function, &[void, main, 0, function]);
        push(&mut prologue, op::Label, &[entry_label]);
        let sections = [
            &self.capabilities,
            &self.extensions,
            &self.modes,
            &self.names,
            &self.decorations,
            &self.globals,
        ];
        let length: usize = sections.iter().map(|section| section.len()).sum();
        let rest = self.variables.len() + self.code.len() + self.interface.len() + FIRST_WORDS;
        let mut words = Vec::with_capacity(length + rest);
        words.extend([spv::MAGIC, spv::VERSION, 0, self.next, 0]);
        words.extend(self.capabilities);
        words.extend(self.extensions);
        let mut import = vec![self.glsl];
        import.extend(string("GLSL.std.450"));
        push(&mut words, op::ExtInstImport, &import);
        push(&mut words, op::MemoryModel, &[self.addressing, spv::MEMORY_MODEL]);
        let mut entry = vec![spv::GL_COMPUTE, main];
        entry.extend(string("main"));
        entry.extend(self.interface);
        push(&mut words, op::EntryPoint, &entry);
        words.extend(self.modes);
        words.extend(self.names);
        words.extend(self.decorations);
        words.extend(self.globals);
        words.extend(prologue);
        words.extend(self.variables);
        words.extend(self.code);
        push(&mut words, op::FunctionEnd, &[]);
        words
    }
}
