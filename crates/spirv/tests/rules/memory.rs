//! Loads, stores, atomics, barriers and their guards.

use fulgurite_spirv::{Field, Profile};
use rspirv::dr::{Instruction, Operand};
use rspirv::spirv::{Decoration, MemoryAccess, MemorySemantics, Op, StorageClass};

use crate::support::{Loaded, fullest, id, kernel, least, load, result, source};

const DECLARATIONS: &str = "buffer %r: read u32[]\nbuffer %w: write u32[]\nbuffer %b: read_write u32[]\n\
    shared %s: u32[100] uninit\nlocal %l: u32[7]\nparam %i: u32";

/// Returns the memory operands of a load or store.
fn access(inst: &Instruction) -> Option<MemoryAccess> {
    inst.operands.iter().find_map(|o| match o {
        Operand::MemoryAccess(access) => Some(*access),
        _ => None,
    })
}

/// Returns the comparison of an index with a length that guards the block `label`.
fn guard(loaded: &Loaded, label: u32) -> &Instruction {
    let before = loaded.predecessors(label);
    assert_eq!(before.len(), 1, "one block leads there");
    let branch = loaded
        .all(Op::BranchConditional)
        .into_iter()
        .find(|b| loaded.block_of(b) == before[0])
        .expect("it ends in a conditional branch");
    assert_eq!(id(branch, 1), label, "entered where the condition holds");
    loaded.operand(branch, 0)
}

/// Checks that `compared` is an unsigned comparison `index < length of binding`.
fn compares_with_length(loaded: &Loaded, compared: &Instruction, index: u32, binding: u32) {
    assert_eq!(compared.class.opcode, Op::ULessThan);
    assert_eq!(id(compared, 0), index);
    let length = loaded.operand(compared, 1);
    assert_eq!(length.class.opcode, Op::Load);
    let word = loaded.operand(length, 0);
    assert_eq!(loaded.class(result(word)), StorageClass::PushConstant);
    assert_eq!(loaded.constant(id(word, 2)), Some(binding), "the length's word of the block");
}

#[test]
fn every_access_not_proven_is_guarded_by_index_and_length() {
    for access in [
        "%v = load %b[%i]\nstore %w[0u32], %v",
        "store %b[%i], 1u32",
        "atomic.store %b[%i], 1u32",
        "%v = atomic.add %b[%i], 1u32\nstore %w[0u32], %v",
        "%v = atomic.compare_exchange %b[%i], 1u32, 2u32\nstore %w[0u32], %v",
    ] {
        let loaded = least(DECLARATIONS, access);
        let touches = |c: &&Instruction| loaded.variable(result(c)) == loaded.binding(2);
        let chains: Vec<&Instruction> = loaded.all(Op::AccessChain).into_iter().filter(touches).collect();
        assert_eq!(chains.len(), 1, "{access}");
        let compared = guard(&loaded, loaded.block_of(chains[0]));
        compares_with_length(&loaded, compared, id(chains[0], 2), 2);
        // The parameter itself, without arithmetic in between that might wrap.
        assert_eq!(loaded.operand(chains[0], 2).class.opcode, Op::Load);
    }
    for (array, length) in [("%s", 100), ("%l", 7)] {
        let loaded = least(DECLARATIONS, &format!("store {array}[%i], 1u32"));
        let store = loaded.all(Op::Store)[0];
        let compared = guard(&loaded, loaded.block_of(store));
        assert_eq!(compared.class.opcode, Op::ULessThan);
        assert_eq!(loaded.constant(id(compared, 1)), Some(length));
    }
}

#[test]
fn a_guarded_load_is_zero_where_its_guard_fails() {
    for element in ["u32", "i32x2", "f32x4"] {
        let declarations =
            format!("buffer %b: read_write {element}[]\nbuffer %w: write {element}[]\nparam %i: u32");
        let loaded = least(&declarations, "%v = load %b[%i]\nstore %w[0u32], %v");
        let phi = loaded.one(Op::Phi);
        let load = loaded.operand(phi, 0);
        assert_eq!(load.class.opcode, Op::Load);
        assert_eq!(loaded.block_of(load), id(phi, 1));
        let zero = loaded.operand(phi, 2);
        let zeros = match zero.class.opcode {
            Op::ConstantComposite => zero.operands.iter().map(|o| o.id_ref_any().unwrap()).collect(),
            _ => vec![result(zero)],
        };
        assert!(zeros.iter().all(|z| loaded.constant(*z) == Some(0)));
    }
}

#[test]
fn guarded_reads_of_what_nothing_writes_branch_too() {
    for memory in ["%r", "%l"] {
        let loaded = least(DECLARATIONS, &format!("%v = load {memory}[%i]\nstore %w[0u32], %v"));
        // The kernel's selection and the guard of the store.
        assert_eq!(loaded.all(Op::SelectionMerge).len(), 2);
        loaded.assert_without(&[Op::Select]);
    }
}

#[test]
fn an_index_proven_inside_has_no_guard() {
    let guards = |body: &str| least(DECLARATIONS, body).all(Op::ULessThan).len();
    assert_eq!(guards("store %s[99u32], 1u32"), 0);
    assert_eq!(guards("store %s[100u32], 1u32"), 1);
    assert_eq!(guards("store %l[6u32], 1u32"), 0);
    assert_eq!(guards("store %l[7u32], 1u32"), 1);
    assert_eq!(guards("%j = local_index\nstore %s[%j], 1u32"), 0);
    assert_eq!(guards("%j = local_id.x\nstore %s[%j], 1u32"), 0);
    assert_eq!(guards("%j = local_id.x\nstore %l[%j], 1u32"), 1, "64 invocations, 7 elements");
    assert_eq!(guards("%j = global_id.x\nstore %s[%j], 1u32"), 1);
    assert_eq!(guards("%j = global_id.x\n%k = rem %j, 100u32\nstore %s[%k], 1u32"), 0);
    // A buffer may be empty.
    assert_eq!(guards("store %w[0u32], 1u32"), 1);
    // Only the comparison in the kernel is left.
    let guarded = "%n1 = len %w\n%in = lt %i, %n1\nif %in {\nstore %w[%i], 1u32\n}";
    assert_eq!(guards(guarded), 1);
    assert_eq!(guards(&format!("{guarded}\nstore %w[%i], 2u32")), 2);
}

#[test]
fn what_others_may_write_is_accessed_non_private() {
    let body = "%a = load %r[%i]\n%b1 = load %b[%i]\n%c = load %s[%i]\n%d = load %l[%i]\n%e = add %a, %b1\n\
        %f = add %c, %d\nstore %w[%i], %e\nstore %b[%i], %f\nstore %s[%i], %e\nstore %l[%i], %f";
    for loaded in [least(DECLARATIONS, body), fullest(DECLARATIONS, body)] {
        let written: Vec<_> = [1, 2].map(|binding| loaded.binding(binding).clone()).into();
        let mut non_private = 0;
        for inst in loaded.all(Op::Load).into_iter().chain(loaded.all(Op::Store)) {
            let variable = loaded.variable(id(inst, 0));
            let class = loaded.class(id(inst, 0));
            let wanted = class == StorageClass::Workgroup || written.contains(variable);
            assert_eq!(access(inst), wanted.then_some(MemoryAccess::NON_PRIVATE_POINTER), "{inst:?}");
            non_private += u32::from(wanted);
        }
        assert_eq!(non_private, 5, "loads from two, stores to three");
    }
}

#[test]
fn only_blocks_have_strides() {
    // Arrays of the same type in a block, in shared and in local memory.
    let declarations = "buffer %b: read_write u32[]\nshared %s: u32[4]\nlocal %l: u32[4]\nparam %a: u32\n\
        param %c: u32\nparam %d: u32";
    let body = "%i = local_index\n%v = load %l[%i]\nstore %s[%i], %v\n\
        while {\n%w = load %b[0u32]\n%g = lt %w, %a\ncondition %g\n} do {\n}";
    for loaded in [least(declarations, body), fullest(declarations, body)] {
        let mut arrays = 0;
        for variable in loaded.module.all_inst_iter().filter(|i| i.class.opcode == Op::Variable) {
            let class = loaded.class(result(variable));
            let pointee = loaded.operand(loaded.def(variable.result_type.unwrap()), 1);
            if !matches!(class, StorageClass::Workgroup | StorageClass::Function)
                || pointee.class.opcode != Op::TypeArray
            {
                continue;
            }
            arrays += 1;
            assert!(!loaded.is_decorated(result(pointee), Decoration::ArrayStride));
        }
        assert!(arrays >= 2, "{arrays}");
        for array in loaded.module.types_global_values.iter().filter(|i| i.class.opcode == Op::TypeStruct) {
            let member = loaded.operand(array, 0);
            assert!(loaded.is_decorated(result(member), Decoration::ArrayStride));
        }
    }
}

#[test]
fn local_arrays_have_an_initializer() {
    let loaded = least("local %l: f32[5]\nbuffer %w: write f32[]", "%v = load %l[0u32]\nstore %w[0u32], %v");
    let variable = loaded.one(Op::Variable);
    let initializer = loaded.operand(variable, 1);
    assert_eq!(initializer.class.opcode, Op::ConstantNull);
    let pointee = id(loaded.def(variable.result_type.unwrap()), 1);
    assert_eq!(initializer.result_type, Some(pointee));
}

#[test]
fn local_arrays_of_vectors_of_f16_are_their_components() {
    // (element, scalars of the array, stores of one element)
    for (element, scalars, stores) in [("f16x3", Some(12), 3), ("u16x3", None, 1), ("f32x3", None, 1)] {
        let declarations =
            format!("local %l: {element}[4]\nbuffer %r: read {element}[]\nbuffer %w: write {element}[]");
        let loaded = least(&declarations, "%i = local_index\n%v = load %r[%i]\nstore %l[%i], %v");
        let variable = loaded.one(Op::Variable);
        let array = loaded.def(id(loaded.def(variable.result_type.unwrap()), 1));
        let (of, len) = (loaded.def(id(array, 0)), loaded.def(id(array, 1)));
        let is_scalar = of.class.opcode == Op::TypeFloat;
        let found = is_scalar.then(|| len.operands[0].unwrap_literal_bit32());
        assert_eq!((found, loaded.all(Op::Store).len()), (scalars, stores), "{element}");
    }
}

#[test]
fn shared_arrays_are_zeroed_by_stores_and_a_barrier() {
    // Fewer elements than invocations, slightly more, and enough for a loop; vectors, and elements in pieces.
    let declarations = "shared %s: f32x3[3]\nshared %t: u32[100]\nshared %u: u8[5000]\nshared %v: f32x4[64]\n\
        view %v1 = %v as u16[]\nshared %no: u32[8] uninit\nbuffer %w: write f32[]";
    for loaded in
        [least(declarations, "store %w[0u32], 1.0f32"), fullest(declarations, "store %w[0u32], 1.0f32")]
    {
        for inst in loaded.module.types_global_values.iter().filter(|i| i.class.opcode == Op::Variable) {
            assert_eq!(inst.operands.len(), 1, "no initializer: {inst:?}");
        }
        let barrier = loaded.one(Op::ControlBarrier);
        let code = loaded.code();
        let at = code.iter().position(|i| *i == barrier).unwrap();
        let stores = |part: &[&Instruction]| -> Vec<u32> {
            part.iter()
                .filter(|i| i.class.opcode == Op::Store)
                .filter(|i| loaded.class(id(i, 0)) == StorageClass::Workgroup)
                .map(|i| result(loaded.variable(id(i, 0))))
                .collect()
        };
        let (before, after) = (stores(&code[..at]), stores(&code[at..]));
        let distinct: std::collections::BTreeSet<u32> = before.iter().copied().collect();
        assert_eq!(distinct.len(), 4, "each array that begins as zeros");
        assert!(after.is_empty());
        assert!(loaded.all(Op::LoopMerge).len() == 1, "5000 elements take a loop of 64 invocations");
        for store in code[..at].iter().filter(|i| i.class.opcode == Op::Store) {
            let value = loaded.operand(store, 1);
            assert!(matches!(value.class.opcode, Op::Constant | Op::ConstantComposite), "{value:?}");
            assert_eq!(access(store), Some(MemoryAccess::NON_PRIVATE_POINTER));
        }
    }
}

#[test]
fn uninit_arrays_are_not_zeroed() {
    let declarations = "shared %s: u32[64] uninit\nbuffer %w: write u32[]";
    let loaded = least(declarations, "store %w[0u32], 1u32");
    loaded.assert_without(&[Op::ControlBarrier]);
    assert_eq!(loaded.all(Op::Store).len(), 1);
    let variables = loaded.module.types_global_values.iter().filter(|i| i.class.opcode == Op::Variable);
    assert!(variables.into_iter().all(|i| i.operands.len() == 1));
}

#[test]
fn local_arrays_are_zeroed_once_and_not_in_each_iteration() {
    let loaded = least("local %l: u32[5]", "for %i in 0u32 to 9u32 step 1u32 {\nstore %l[%i], %i\n}");
    let first = loaded.module.functions[0].blocks[0].label_id().unwrap();
    let variable = loaded.one(Op::Variable);
    assert_eq!(
        loaded.block_of(variable),
        first,
        "SPIR-V runs its initializer once, when the function begins"
    );
    assert!(loaded.predecessors(first).is_empty());
}

#[test]
fn atomics_are_relaxed_at_the_scope_of_their_memory() {
    let ops = "%a = atomic.load MEM[%i]\natomic.store MEM[%i], %a\n%c = atomic.add MEM[%i], 3u32\n\
        %d = atomic.exchange MEM[%i], 4u32\n%e = atomic.max MEM[%i], 5u32\nstore %w[%c], %d\nstore %w[%c], %e";
    // Workgroup is scope 2, queue family is scope 5.
    for (memory, scope) in [("%b", 5), ("%s", 2)] {
        let loaded = least(DECLARATIONS, &ops.replace("MEM", memory));
        let atomics = [Op::AtomicLoad, Op::AtomicStore, Op::AtomicIAdd, Op::AtomicExchange, Op::AtomicUMax]
            .map(|op| loaded.one(op));
        for atomic in atomics {
            assert_eq!(loaded.constant(id(atomic, 1)), Some(scope), "{atomic:?}");
            assert_eq!(loaded.semantics(atomic, 2), MemorySemantics::RELAXED);
        }
    }
}

#[test]
fn compare_exchange_gives_spirv_the_value_before_the_comparator() {
    let loaded =
        least(DECLARATIONS, "%v = atomic.compare_exchange %s[0u32], 11u32, 22u32\nstore %w[0u32], %v");
    let atomic = loaded.one(Op::AtomicCompareExchange);
    assert_eq!(loaded.constant(id(atomic, 4)), Some(22));
    assert_eq!(loaded.constant(id(atomic, 5)), Some(11));
    assert_eq!(loaded.semantics(atomic, 3), MemorySemantics::RELAXED, "on failure");
}

#[test]
fn barriers_order_the_memory_they_name() {
    let acquire_release =
        MemorySemantics::ACQUIRE_RELEASE | MemorySemantics::MAKE_AVAILABLE | MemorySemantics::MAKE_VISIBLE;
    let (shared, buffers) = (MemorySemantics::WORKGROUP_MEMORY, MemorySemantics::UNIFORM_MEMORY);
    for (barrier, semantics) in [
        ("barrier", acquire_release | shared | buffers),
        ("barrier[shared]", acquire_release | shared),
        ("barrier[buffers]", acquire_release | buffers),
        ("barrier[]", MemorySemantics::RELAXED),
    ] {
        let loaded = least(DECLARATIONS, barrier);
        let found = loaded.one(Op::ControlBarrier);
        assert_eq!([0, 1].map(|i| loaded.constant(id(found, i))), [Some(2); 2], "workgroup scope");
        assert_eq!(loaded.semantics(found, 2), semantics, "{barrier}");
    }
}

#[test]
fn parts_that_begin_within_a_descriptor_add_where() {
    let declarations = "buffer %r: read u8[]\nview %v = %r as u32[]\nbuffer %w: write u32[]\nparam %i: u32";
    let kernel = kernel(&source(declarations, "%a = load %v[%i]\nstore %w[%i], %a"));
    let mut profile = Profile::least();
    assert!(load(&kernel, &profile).all(Op::UDiv).is_empty());
    profile.offsets = true;
    let loaded = load(&kernel, &profile);
    let offsets = loaded.layout.fields.iter().filter(|field| matches!(field, Field::Offset(_))).count();
    assert_eq!(offsets, 2);
    for binding in [0, 1] {
        let touches = |c: &&Instruction| loaded.variable(result(c)) == loaded.binding(binding);
        let chain = loaded.all(Op::AccessChain).into_iter().find(touches).expect("it is accessed");
        let sum = loaded.operand(chain, 2);
        assert_eq!(sum.class.opcode, Op::IAdd);
        // The byte offset in the parameter block, as words.
        let before = loaded.operand(sum, 1);
        assert_eq!((before.class.opcode, loaded.constant(id(before, 1))), (Op::UDiv, Some(4)));
    }
    // The guard compares the index without the offset.
    let compared = loaded.all(Op::ULessThan);
    assert!(compared.iter().all(|c| loaded.operand(c, 0).class.opcode == Op::Load), "{compared:?}");
}
