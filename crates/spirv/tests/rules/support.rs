//! Emits kernels from text, and parses the modules.

use std::collections::HashMap;

use fulgurite_ir::{VerifiedKernel, text, verify};
use fulgurite_spirv::{Layout, Profile, emit};
use rspirv::dr::{Instruction, Module, Operand, load_words};
use rspirv::spirv::{Decoration, MemorySemantics, Op, StorageClass, Word};

/// A module parsed by rspirv.
pub(crate) struct Loaded {
    pub(crate) words: Vec<u32>,
    pub(crate) layout: Layout,
    pub(crate) module: Module,
    /// The defining instruction of each id.
    definitions: HashMap<Word, Instruction>,
}

pub(crate) fn kernel(source: &str) -> VerifiedKernel {
    text::parse(source).and_then(verify).unwrap_or_else(|e| panic!("{e}"))
}

/// Returns the text of a kernel of 64 invocations.
pub(crate) fn source(declarations: &str, body: &str) -> String {
    format!("fulgurite 1\nkernel @k workgroup(64, 1, 1) {{\n{declarations}\n{body}\n}}\n")
}

pub(crate) fn load(kernel: &VerifiedKernel, profile: &Profile) -> Loaded {
    let emitted = emit(kernel, profile);
    let module = load_words(&emitted.words).unwrap_or_else(|e| panic!("{e:?}"));
    let definitions = module.all_inst_iter().filter_map(|i| i.result_id.map(|id| (id, i.clone()))).collect();
    Loaded { words: emitted.words, layout: emitted.layout, module, definitions }
}

/// Lowers a body with these declarations for the minimal device.
pub(crate) fn least(declarations: &str, body: &str) -> Loaded {
    load(&kernel(&source(declarations, body)), &Profile::least())
}

/// Lowers it for the device with every capability and quirk.
pub(crate) fn fullest(declarations: &str, body: &str) -> Loaded {
    load(&kernel(&source(declarations, body)), &Profile::fullest())
}

impl Loaded {
    /// Returns the function's instructions, including labels.
    pub(crate) fn code(&self) -> Vec<&Instruction> {
        self.module.functions[0].blocks.iter().flat_map(|b| b.label.iter().chain(&b.instructions)).collect()
    }

    /// Returns the instructions with an opcode.
    pub(crate) fn all(&self, op: Op) -> Vec<&Instruction> {
        self.code().into_iter().filter(|i| i.class.opcode == op).collect()
    }

    /// Returns the only instruction with an opcode.
    pub(crate) fn one(&self, op: Op) -> &Instruction {
        let all = self.all(op);
        assert_eq!(all.len(), 1, "{op:?}: {all:?}");
        all[0]
    }

    /// Returns the uses of an instruction of `GLSL.std.450`.
    pub(crate) fn extended(&self, number: u32) -> Vec<&Instruction> {
        let is = |i: &&Instruction| i.operands[1] == Operand::LiteralExtInstInteger(number);
        self.all(Op::ExtInst).into_iter().filter(is).collect()
    }

    /// Returns the instruction that defines an id.
    pub(crate) fn def(&self, id: Word) -> &Instruction {
        &self.definitions[&id]
    }

    /// Returns the instruction that defines an operand.
    pub(crate) fn operand(&self, inst: &Instruction, position: usize) -> &Instruction {
        self.def(id(inst, position))
    }

    /// Returns the value of a 32-bit constant.
    pub(crate) fn constant(&self, id: Word) -> Option<u32> {
        match self.def(id) {
            Instruction { class, operands, .. } if class.opcode == Op::Constant => match operands[0] {
                Operand::LiteralBit32(bits) => Some(bits),
                _ => None,
            },
            _ => None,
        }
    }

    /// Returns the variable that a pointer points into.
    pub(crate) fn variable(&self, pointer: Word) -> &Instruction {
        let mut inst = self.def(pointer);
        while inst.class.opcode == Op::AccessChain {
            inst = self.operand(inst, 0);
        }
        assert_eq!(inst.class.opcode, Op::Variable);
        inst
    }

    /// Returns the storage class that a pointer points into.
    pub(crate) fn class(&self, pointer: Word) -> StorageClass {
        match self.variable(pointer).operands[0] {
            Operand::StorageClass(class) => class,
            ref other => panic!("{other:?}"),
        }
    }

    /// Returns the literal operands of each decoration of this kind on `id`.
    pub(crate) fn decorations(&self, id: Word, decoration: Decoration) -> Vec<Vec<Operand>> {
        self.module
            .annotations
            .iter()
            .filter(|a| a.class.opcode == Op::Decorate && a.operands[0] == Operand::IdRef(id))
            .filter(|a| a.operands[1] == Operand::Decoration(decoration))
            .map(|a| a.operands[2..].to_vec())
            .collect()
    }

    pub(crate) fn is_decorated(&self, id: Word, decoration: Decoration) -> bool {
        !self.decorations(id, decoration).is_empty()
    }

    /// Returns the storage buffer of a binding.
    pub(crate) fn binding(&self, binding: u32) -> &Instruction {
        let wanted = vec![vec![Operand::LiteralBit32(binding)]];
        let found = self
            .module
            .types_global_values
            .iter()
            .find(|i| i.result_id.is_some_and(|id| self.decorations(id, Decoration::Binding) == wanted));
        found.unwrap_or_else(|| panic!("no binding {binding}"))
    }

    /// Returns the label of the block that contains an instruction of the function.
    pub(crate) fn block_of(&self, inst: &Instruction) -> Word {
        let blocks = &self.module.functions[0].blocks;
        let block = blocks.iter().find(|b| b.instructions.contains(inst)).expect("it is in the function");
        block.label_id().expect("blocks have labels")
    }

    /// Returns the targets of a block's branches, without merge declarations.
    pub(crate) fn successors(&self, label: Word) -> Vec<Word> {
        let blocks = &self.module.functions[0].blocks;
        let block = blocks.iter().find(|b| b.label_id() == Some(label)).expect("there is such a block");
        let last = block.instructions.last().expect("blocks end");
        match last.class.opcode {
            Op::Branch => vec![id(last, 0)],
            Op::BranchConditional => vec![id(last, 1), id(last, 2)],
            _ => vec![],
        }
    }

    /// Returns the label of every block that branches to `label`, in ascending order.
    pub(crate) fn predecessors(&self, label: Word) -> Vec<Word> {
        let labels = self.module.functions[0].blocks.iter().filter_map(|b| b.label_id());
        let mut found: Vec<Word> = labels.filter(|l| self.successors(*l).contains(&label)).collect();
        found.sort_unstable();
        found
    }

    /// Returns the memory semantics that a constant operand encodes.
    pub(crate) fn semantics(&self, inst: &Instruction, position: usize) -> MemorySemantics {
        MemorySemantics::from_bits_truncate(self.constant(id(inst, position)).expect("a constant"))
    }

    /// Checks that the module contains none of these opcodes anywhere.
    pub(crate) fn assert_without(&self, ops: &[Op]) {
        for inst in self.module.all_inst_iter() {
            assert!(!ops.contains(&inst.class.opcode), "{inst:?}");
        }
    }
}

/// Returns the id that an operand refers to.
pub(crate) fn id(inst: &Instruction, position: usize) -> Word {
    inst.operands[position].id_ref_any().unwrap_or_else(|| panic!("operand {position} of {inst:?}"))
}

/// Returns the id that an instruction defines.
pub(crate) fn result(inst: &Instruction) -> Word {
    inst.result_id.expect("it has a result")
}
