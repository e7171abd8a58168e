//! The interface of a module: buffers, the parameter block, the control buffer.

use std::collections::HashSet;

use fulgurite_spirv::{BlockPlacement, Layout};
use rspirv::dr::Operand;
use rspirv::spirv::{Decoration, Op, StorageClass};

use crate::support::{fullest, id, least, result};

const ENDLESS: &str = "while {\ncondition true\n} do {\n}";

#[test]
fn the_interface_lists_every_global_variable() {
    let loaded = fullest(
        "buffer %x: read u32[]\nbuffer %y: write u32[]\nshared %s: u32[4]\nparam %p: u32",
        "%i = global_id.x\n%j = local_id.y\n%k = local_index\n%v = load %x[%i]\nstore %y[%j], %v\n\
         for %l in 0u32 to %p step 1u32 {\nstore %s[%k], %l\n}",
    );
    let entry = &loaded.module.entry_points[0];
    let listed: HashSet<u32> = entry.operands[3..].iter().filter_map(Operand::id_ref_any).collect();
    let globals = loaded.module.types_global_values.iter().filter(|i| i.class.opcode == Op::Variable);
    let globals: HashSet<u32> = globals.map(result).collect();
    assert_eq!(listed, globals);
    // Two buffers, the control buffer, the parameter block, the shared array and four built-ins.
    assert_eq!(globals.len(), 9);
    assert_eq!(entry.operands[2], Operand::LiteralString("main".to_owned()));
}

#[test]
fn buffers_are_blocks_in_binding_order() {
    let loaded = least(
        "buffer %a: read f32x4[]\nbuffer %b: write f32x2[]\nbuffer %c: read_write u32[]\nbuffer %d: read u32[]",
        "%v = load %c[0u32]\nstore %c[1u32], %v\n%f = load %a[0u32]\n%g = vec.shuffle[0, 1] %f, %f\n\
            store %b[0u32], %g\n%u = load %d[0u32]\nstore %c[2u32], %u",
    );
    assert_eq!((loaded.layout.buffers, loaded.layout.bindings().len()), (4, 4));
    let strides = [16, 8, 4, 4];
    let access = [(true, false), (false, true), (false, false), (true, false)];
    for (binding, (stride, access)) in (0..).zip(strides.into_iter().zip(access)) {
        let variable = loaded.binding(binding);
        assert_eq!(loaded.class(result(variable)), StorageClass::StorageBuffer);
        let set = loaded.decorations(result(variable), Decoration::DescriptorSet);
        assert_eq!(set, [[Operand::LiteralBit32(0)]]);
        let decorated = |d| loaded.is_decorated(result(variable), d);
        assert_eq!((decorated(Decoration::NonWritable), decorated(Decoration::NonReadable)), access);
        assert!(decorated(Decoration::Restrict) && !decorated(Decoration::Aliased));
        let block = loaded.operand(loaded.def(variable.result_type.unwrap()), 1);
        assert!(loaded.is_decorated(result(block), Decoration::Block));
        assert_eq!(block.operands.len(), 1, "one member");
        let array = loaded.operand(block, 0);
        assert_eq!(array.class.opcode, Op::TypeRuntimeArray);
        let found = loaded.decorations(result(array), Decoration::ArrayStride);
        assert_eq!(found, [[Operand::LiteralBit32(stride)]], "exactly once");
        let offset = loaded.module.annotations.iter().filter(|a| {
            a.class.opcode == Op::MemberDecorate && a.operands[0] == Operand::IdRef(result(block))
        });
        let zero =
            [Operand::LiteralBit32(0), Operand::Decoration(Decoration::Offset), Operand::LiteralBit32(0)];
        assert!(offset.map(|a| &a.operands[1..]).eq([&zero[..]]));
    }
}

#[test]
fn the_parameter_block_is_pushed_where_it_fits() {
    let params = |count: usize| {
        let lines: Vec<String> = (0..count).map(|i| format!("param %p{i}: f32x4")).collect();
        let sum = "%s = add %p0, %p1\nstore %y[0u32], %s";
        least(&format!("buffer %y: write f32x4[]\n{}", lines.join("\n")), sum)
    };
    // One length and 31 components are 128 bytes; one more vector exceeds that.
    let fits = least(
        &format!(
            "buffer %y: write f32[]\n{}",
            (0..31).map(|i| format!("param %p{i}: f32\n")).collect::<String>()
        ),
        "store %y[0u32], %p30",
    );
    assert_eq!((fits.layout.placement, fits.layout.block_words), (BlockPlacement::PushConstants, 32));
    let last =
        fits.all(Op::AccessChain).into_iter().filter(|c| fits.class(result(c)) == StorageClass::PushConstant);
    assert_eq!(last.map(|c| fits.constant(id(c, 2)).unwrap()).max(), Some(31));

    let over = params(8);
    assert_eq!(over.layout.placement, BlockPlacement::StorageBuffer { binding: 1 });
    let block = over.binding(1);
    assert!(over.is_decorated(result(block), Decoration::NonWritable));
    let pushed = |i: &&rspirv::dr::Instruction| {
        i.operands.contains(&Operand::StorageClass(StorageClass::PushConstant))
    };
    assert_eq!(over.module.types_global_values.iter().filter(pushed).count(), 0);

    let control = least(
        &format!(
            "buffer %y: write f32[]\n{}",
            "param %a: f32x4\nparam %b: f32x4\nparam %c: f32x4\nparam %d: f32x4\n\
            param %e: f32x4\nparam %f: f32x4\nparam %g: f32x4\nparam %h: f32x4"
        ),
        ENDLESS,
    );
    assert_eq!(control.layout.control, Some(1));
    assert_eq!(control.layout.placement, BlockPlacement::StorageBuffer { binding: 2 });
    assert_eq!(control.layout.bindings(), [0, 1, 2]);
}

#[test]
fn a_kernel_without_buffers_or_parameters_has_no_block() {
    let loaded = least("", "barrier");
    assert_eq!((loaded.layout.block_words, loaded.layout.bindings().len()), (0, 0));
    assert!(loaded.module.types_global_values.iter().all(|i| i.class.opcode != Op::Variable));
}

#[test]
fn the_control_buffer_is_bound_only_where_needed() {
    let short = "for %i in 0u32 to 100u32 step 1u32 {\nstore %y[%i], %i\n}";
    let straight = "store %y[0u32], 1u32";
    let declared = "buffer %y: write u32[]";
    assert_eq!(least(declared, straight).layout.control, None);
    assert_eq!(fullest(declared, straight).layout.control, None);
    assert_eq!(least(declared, short).layout.control, None);
    // A driver that ends loops may end this one.
    assert_eq!(fullest(declared, short).layout.control, Some(1));
    for loaded in [least(declared, ENDLESS), fullest(declared, ENDLESS)] {
        assert_eq!(loaded.layout.control, Some(1));
        let block = loaded.operand(loaded.def(loaded.binding(1).result_type.unwrap()), 1);
        let array = loaded.operand(block, 0);
        let words = loaded.constant(id(array, 1)).unwrap();
        assert_eq!(u64::from(words) * 4, Layout::CONTROL_BYTES);
    }
}
