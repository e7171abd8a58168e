//! Views, addresses, traps and the parameter block.

use fulgurite_spirv::{Field, Layout, Profile};
use rspirv::dr::Operand;
use rspirv::spirv::{AddressingModel, Decoration, MemoryAccess, MemorySemantics, Op, StorageClass};

use crate::support::{Loaded, fullest, id, kernel, least, load, result, source};

/// Returns the variables of a storage class.
fn variables(loaded: &Loaded, class: StorageClass) -> Vec<u32> {
    let all = loaded.module.types_global_values.iter().filter(|i| i.class.opcode == Op::Variable);
    all.filter(|i| i.operands[0] == Operand::StorageClass(class)).map(result).collect()
}

fn addressed(declarations: &str, body: &str) -> Loaded {
    let mut profile = Profile::least();
    profile.addresses = true;
    load(&kernel(&source(declarations, body)), &profile)
}

#[test]
fn views_of_buffers_are_aliased_variables_on_one_binding() {
    let declarations = "buffer %x: read_write u32[]\nview %v = %x as f32x4[]\nview %no = %x as u8[]\n\
        buffer %w: write u32[]";
    let body = "%a = load %v[0u32]\nstore %v[1u32], %a\nstore %x[2u32], 1u32\nstore %w[0u32], 1u32";
    let loaded = least(declarations, body);
    let buffers = variables(&loaded, StorageClass::StorageBuffer);
    let on = |binding: u32| -> Vec<u32> {
        let wanted = vec![vec![Operand::LiteralBit32(binding)]];
        buffers.iter().copied().filter(|v| loaded.decorations(*v, Decoration::Binding) == wanted).collect()
    };
    assert_eq!(on(0).len(), 2, "what nothing reaches has none");
    assert!(on(0).iter().all(|v| loaded.is_decorated(*v, Decoration::Aliased)));
    assert_eq!(on(1).len(), 1);
    assert!(loaded.is_decorated(on(1)[0], Decoration::Restrict));
}

#[test]
fn views_of_shared_memory_are_pieces_without_an_explicit_layout() {
    let declarations = "shared %s: u32[64] uninit\nview %v = %s as u32x4[]\nbuffer %w: write u32x4[]";
    let body = "%a = load %v[0u32]\nstore %w[0u32], %a\nstore %s[1u32], 1u32";
    let pieces = least(declarations, body);
    assert_eq!(variables(&pieces, StorageClass::Workgroup).len(), 1);
    let loads = |loaded: &Loaded| {
        let shared = |i: &&&rspirv::dr::Instruction| loaded.class(id(i, 0)) == StorageClass::Workgroup;
        loaded.all(Op::Load).iter().filter(shared).count()
    };
    assert_eq!(loads(&pieces), 4);
    let explicit = fullest(declarations, body);
    let shared = variables(&explicit, StorageClass::Workgroup);
    assert_eq!((shared.len(), loads(&explicit)), (2, 1));
    assert!(shared.iter().all(|v| explicit.is_decorated(*v, Decoration::Aliased)));
    assert_eq!(explicit.module.extensions.len(), 1);
}

#[test]
fn packed_vectors_of_three_are_their_components() {
    let loaded = least("buffer %x: read_write f32x3[]", "%a = load %x[1u32]\nstore %x[2u32], %a");
    assert_eq!((loaded.all(Op::Load).len() - 1, loaded.all(Op::Store).len()), (3, 3), "and the length");
}

#[test]
fn floats_that_atomics_move_are_words() {
    let declarations = "buffer %x: read_write f32[]\nshared %s: f32[4] uninit";
    for memory in ["%x", "%s"] {
        let loaded =
            least(declarations, &format!("%a = atomic.exchange {memory}[0u32], 1.5f32\nstore %x[1u32], %a"));
        let exchange = loaded.one(Op::AtomicExchange);
        assert_eq!(loaded.def(exchange.result_type.unwrap()).class.opcode, Op::TypeInt, "{memory}");
        assert!(loaded.module.extensions.is_empty());
    }
    let added = least(declarations, "%a = atomic.add %x[0u32], 1.5f32\nstore %x[1u32], %a");
    assert_eq!(added.all(Op::AtomicFAddEXT).len(), 1);
}

#[test]
fn addresses_are_converted_and_their_accesses_aligned() {
    let declarations = "buffer %x: read f32x2[]\nbuffer %w: write f32x2[]";
    let loaded = addressed(declarations, "%a = load %x[1u32]\nstore %w[2u32], %a");
    let model = loaded.module.memory_model.as_ref().unwrap();
    assert_eq!(model.operands[0], Operand::AddressingModel(AddressingModel::PhysicalStorageBuffer64));
    assert!(variables(&loaded, StorageClass::StorageBuffer).is_empty());
    assert!(loaded.layout.bindings().is_empty());
    assert_eq!(loaded.all(Op::ConvertUToPtr).len(), 2);
    let store = loaded.one(Op::Store);
    let access = MemoryAccess::ALIGNED | MemoryAccess::NON_PRIVATE_POINTER;
    assert_eq!(store.operands[2..], [Operand::MemoryAccess(access), Operand::LiteralBit32(8)]);
    let read = loaded.all(Op::Load).into_iter().find(|i| i.operands.len() > 1).unwrap();
    assert_eq!(read.operands[1..], [Operand::MemoryAccess(MemoryAccess::ALIGNED), Operand::LiteralBit32(8)]);
    assert_eq!(loaded.layout.fields[..2], [0, 1].map(|i| Field::Address(fulgurite_ir::BufferId::new(i))));
}

#[test]
fn large_buffers_are_always_reached_by_address() {
    let loaded = least(
        "buffer %x: read_write u32[] large\nbuffer %y: read u32[]",
        "%a = load %y[0u32]\nstore %x[0u64], %a",
    );
    assert_eq!((loaded.layout.by_address.clone(), loaded.layout.bindings()), (vec![true, false], vec![1]));
}

#[test]
fn guards_compare_in_the_wider_of_both_widths() {
    for (index, wanted) in [("u32", 32), ("u64", 64)] {
        let loaded = least(&format!("buffer %x: read_write u32[]\nparam %i: {index}"), "store %x[%i], 1u32");
        let compared = loaded.one(Op::ULessThan);
        let ty = loaded.operand(compared, 0).result_type.unwrap();
        assert_eq!(loaded.def(ty).operands[0], Operand::LiteralBit32(wanted));
    }
}

#[test]
fn the_parameter_block_has_lengths_of_views_and_the_grid() {
    let declarations = "buffer %x: read_write u32[]\nview %v = %x as u32x4[]";
    let loaded =
        least(declarations, "%n = num_workgroups.y\n%m = len %v\n%k = add %n, %m\nstore %x[0u32], %k");
    let kinds: Vec<&str> = loaded
        .layout
        .fields
        .iter()
        .map(|f| match f {
            Field::Length(_) => "length",
            Field::Grid => "grid",
            _ => "other",
        })
        .collect();
    assert_eq!(kinds, ["length", "length", "grid"]);
    assert_eq!(loaded.layout.block_words, 5);
    // A launch may be split, in which case the built-in would have the size of the part.
    assert!(variables(&loaded, StorageClass::Input).is_empty());
}

#[test]
fn a_trap_records_the_first_fault_and_its_code() {
    let loaded = least("buffer %x: write u32[]", "%i = global_id.x\n%c = lt %i, 3u32\nif %c {\ntrap 7u32\n}");
    assert!(loaded.layout.control.is_some());
    let exchange = loaded.one(Op::AtomicCompareExchange);
    assert_eq!(loaded.constant(id(exchange, 4)), Some(Layout::FAULT_TRAP));
    assert_eq!(loaded.constant(id(exchange, 5)), Some(0));
    let stored: Vec<_> = loaded
        .all(Op::AtomicStore)
        .iter()
        .chain(&loaded.all(Op::Store))
        .map(|i| {
            let last = i.operands.iter().filter_map(Operand::id_ref_any).next_back().unwrap();
            loaded.constant(last)
        })
        .collect();
    assert!(stored.contains(&Some(7)), "{stored:?}");
}

#[test]
fn atomics_and_fences_order_as_they_say_at_the_scope_they_say() {
    let memory = MemorySemantics::UNIFORM_MEMORY | MemorySemantics::WORKGROUP_MEMORY;
    let acquire = memory | MemorySemantics::ACQUIRE | MemorySemantics::MAKE_VISIBLE;
    let release = memory | MemorySemantics::RELEASE | MemorySemantics::MAKE_AVAILABLE;
    let both = memory
        | MemorySemantics::ACQUIRE_RELEASE
        | MemorySemantics::MAKE_VISIBLE
        | MemorySemantics::MAKE_AVAILABLE;
    for (order, semantics) in [("acquire", acquire), ("release", release), ("acquire_release", both)] {
        for (scope, number) in [("workgroup", 2), ("device", 5)] {
            let text = format!("%a = atomic.add[{order}, {scope}] %x[0u32], 1u32\nfence[{order}, {scope}]");
            let loaded = least("buffer %x: read_write u32[]", &text);
            let (add, fence) = (loaded.one(Op::AtomicIAdd), loaded.one(Op::MemoryBarrier));
            assert_eq!(
                (loaded.constant(id(add, 1)), loaded.constant(id(fence, 0))),
                (Some(number), Some(number))
            );
            assert_eq!((loaded.semantics(add, 2), loaded.semantics(fence, 1)), (semantics, semantics));
        }
    }
}

#[test]
fn ordered_scopes_widen_where_the_driver_waits_at_workgroup_fences() {
    let text = "%a = atomic.add[release, workgroup] %x[0u32], 1u32\nfence[acquire, workgroup]\n\
        %b = atomic.or[workgroup] %x[0u32], 1u32";
    let mut profile = Profile::least();
    profile.driver_waits_at_workgroup_fences = true;
    let loaded = load(&kernel(&source("buffer %x: read_write u32[]", text)), &profile);
    let scope = |op: Op, position: usize| loaded.constant(id(loaded.one(op), position));
    assert_eq!(
        (scope(Op::AtomicIAdd, 1), scope(Op::MemoryBarrier, 0), scope(Op::AtomicOr, 1)),
        (Some(5), Some(5), Some(2))
    );
}
