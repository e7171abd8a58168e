//! Subgroup and workgroup ops, and cooperative matrices.

use fulgurite_spirv::Profile;
use rspirv::dr::Operand;
use rspirv::spirv::GlslStd450Op as GLOp;
use rspirv::spirv::{
    BuiltIn, Capability, CooperativeMatrixOperands, Decoration, ExecutionMode, Op, StorageClass,
};

use crate::support::{Loaded, id, kernel, least, load, result};

const SOURCE: &str = "buffer %x: read f32[]\nbuffer %w: write u32[]";

fn local_size(loaded: &Loaded) -> Vec<Operand> {
    let mode = Operand::ExecutionMode(ExecutionMode::LocalSize);
    let found = loaded.module.execution_modes.iter().find(|i| i.operands[1] == mode).unwrap();
    found.operands[2..].to_vec()
}

/// Returns the built-ins that are loaded.
fn built_ins(loaded: &Loaded) -> Vec<BuiltIn> {
    let decorated = loaded.module.annotations.iter().filter(|a| {
        a.class.opcode == Op::Decorate && a.operands[1] == Operand::Decoration(Decoration::BuiltIn)
    });
    decorated
        .filter_map(|a| match a.operands[2] {
            Operand::BuiltIn(found) => Some(found),
            _ => None,
        })
        .collect()
}

#[test]
fn workgroups_that_see_subgroups_lie_along_x() {
    let text = |op: &str| {
        format!(
            "fulgurite 1\nkernel @k workgroup(7, 5, 3) {{\nbuffer %w: write u32[]\n%y = local_id.y\n%z = global_id.z\n\
             {op}\n%s = add %y, %z\nstore %w[0u32], %s\n}}\n"
        )
    };
    let flat = load(&kernel(&text("%e = subgroup.elect")), &Profile::least());
    assert_eq!(local_size(&flat), [105, 1, 1].map(Operand::LiteralBit32));
    assert_eq!(built_ins(&flat), [BuiltIn::LocalInvocationIndex, BuiltIn::WorkgroupId, BuiltIn::SubgroupId]);
    let divisors: Vec<_> = flat.all(Op::UDiv).iter().map(|i| flat.constant(id(i, 1))).collect();
    assert!(divisors.contains(&Some(7)) && divisors.contains(&Some(35)));
    let plain = load(&kernel(&text("")), &Profile::least());
    assert_eq!(local_size(&plain), [7, 5, 3].map(Operand::LiteralBit32));
    plain.assert_without(&[Op::UDiv]);
}

#[test]
fn lanes_and_numbers_of_subgroups_are_computed() {
    let body = "%l = lane\n%s = subgroup_id\n%n = num_subgroups\n%z = subgroup_size\n%a = add %l, %s\n%b = add %n, %z\n\
        %c = add %a, %b\nstore %w[0u32], %c";
    let loaded = least(SOURCE, body);
    assert_eq!(built_ins(&loaded), [BuiltIn::LocalInvocationIndex, BuiltIn::SubgroupId]);
    assert_eq!(loaded.constant(id(loaded.one(Op::BitwiseAnd), 1)), Some(3));
    let known: Vec<_> =
        loaded.all(Op::IAdd).iter().map(|i| [0, 1].map(|p| loaded.constant(id(i, p)))).collect();
    assert!(known.contains(&[Some(16), Some(4)]), "64 invocations in subgroups of 4: {known:?}");
}

#[test]
fn shuffles_from_lanes_that_are_not_there_are_the_own() {
    let loaded =
        least(SOURCE, "%l = lane\n%f = local_index\n%r = subgroup.shuffle %l, %f\nstore %w[0u32], %r");
    let shuffle = loaded.one(Op::GroupNonUniformShuffle);
    let from = loaded.operand(shuffle, 2);
    assert_eq!(from.class.opcode, Op::Select);
    assert_eq!(loaded.operand(from, 0).class.opcode, Op::ULessThan);
    assert_eq!(loaded.constant(id(loaded.operand(from, 0), 1)), Some(4));
    // The last subgroup of a workgroup of 62 is partial.
    let partial = "fulgurite 1\nkernel @k workgroup(62, 1, 1) {\nbuffer %w: write u32[]\n%l = lane\n\
        %r = subgroup.shuffle_down %l, 1u32\nstore %w[0u32], %r\n}\n";
    let partial = load(&kernel(partial), &Profile::least());
    let from = partial.operand(partial.one(Op::GroupNonUniformShuffle), 2);
    let count = partial.operand(partial.operand(from, 0), 1);
    assert_eq!(count.class.opcode, Op::ExtInst, "the least of the size and of what is left");
}

#[test]
fn reductions_of_floats_to_an_extreme_let_no_nan_in() {
    let loaded = least(
        SOURCE,
        "%a = load %x[0u32]\n%m = subgroup.reduce[min] %a\n%b = bitcast %m -> u32\nstore %w[0u32], %b",
    );
    let reduce = loaded.one(Op::GroupNonUniformFMin);
    let value = loaded.operand(reduce, 2);
    assert_eq!(value.class.opcode, Op::Select);
    assert_eq!(loaded.operand(value, 0).class.opcode, Op::IsNan);
    assert_eq!(loaded.all(Op::GroupNonUniformUMax).len(), 1, "whether anything else was there");
    let sum = least(
        SOURCE,
        "%a = load %x[0u32]\n%m = subgroup.reduce[add] %a\n%b = bitcast %m -> u32\nstore %w[0u32], %b",
    );
    sum.assert_without(&[Op::IsNan]);
}

#[test]
fn a_match_takes_as_many_ballots_as_the_value_has_bits() {
    for (value, ballots) in [("%l = lane", 1 + 6), ("%l = add 0u32, %p", 1 + 32)] {
        let loaded = least(
            &format!("{SOURCE}\nparam %p: u32"),
            &format!("{value}\n%m = subgroup.match %l\n%e = extract %m, 0u32\nstore %w[0u32], %e"),
        );
        assert_eq!(loaded.all(Op::GroupNonUniformBallot).len(), ballots, "{value}");
    }
}

#[test]
fn uniform_control_flow_of_subgroups_is_demanded_where_the_device_has_it() {
    let text = "fulgurite 1\nkernel @k workgroup(64, 1, 1) {\nbuffer %w: write u32[]\n%e = subgroup.ballot_count true\n\
        store %w[0u32], %e\n}\n";
    let mode = |profile: &Profile| {
        let wanted = Operand::ExecutionMode(ExecutionMode::SubgroupUniformControlFlowKHR);
        load(&kernel(text), profile).module.execution_modes.iter().any(|i| i.operands[1] == wanted)
    };
    let mut profile = Profile::least();
    assert!(!mode(&profile));
    profile.subgroup_uniform_control_flow = true;
    assert!(mode(&profile));
}

#[test]
fn a_broadcast_to_the_workgroup_is_between_two_barriers() {
    let loaded = least(SOURCE, "%i = local_index\n%b = workgroup_broadcast %i, 5u32\nstore %w[%i], %b");
    let code = loaded.code();
    let at = |wanted: &dyn Fn(&rspirv::dr::Instruction) -> bool| -> Vec<usize> {
        (0..code.len()).filter(|i| wanted(code[*i])).collect()
    };
    let barriers = at(&|i| i.class.opcode == Op::ControlBarrier);
    let shared = |op: Op| at(&|i| i.class.opcode == op && loaded.class(id(i, 0)) == StorageClass::Workgroup);
    let (stores, loads) = (shared(Op::Store), shared(Op::Load));
    assert_eq!((barriers.len(), stores.len(), loads.len()), (2, 1, 1));
    assert!(stores[0] < barriers[0] && barriers[0] < loads[0] && loads[0] < barriers[1]);
}

/// Emits a kernel of one product, with matrices at `%at` of memory of `length`.
fn product(scalars: [&str; 2], at: &str) -> Loaded {
    let [factor, sum] = scalars;
    let text = format!(
        "fulgurite 1\nkernel @k workgroup(32, 1, 1) {{\nshared %s: {factor}[256] uninit\nbuffer %c: read_write {sum}[]\n\
         param %p: u32\nrequire eq (rem %p, 16u32), 0u32\n\
         %a = coop.load[row_major] %s[0u32], 16u32 -> coopmat<{factor}, 16x16, a, subgroup>\n\
         %b = coop.load[column_major] %s[0u32], 16u32 -> coopmat<{factor}, 16x16, b, subgroup>\n\
         %m = coop.load[row_major] %c[{at}], 16u32 -> coopmat<{sum}, 16x16, acc, subgroup>\n\
         %r = coop.mul_add %a, %b, %m\n%t = add %r, %m\ncoop.store[row_major] %s[0u32], 16u32, %a\n\
         coop.store[row_major] %c[{at}], 16u32, %t\n}}\n"
    );
    let mut profile = Profile::least();
    profile.subgroup_size = 32;
    load(&kernel(&text), &profile)
}

#[test]
fn matrices_proven_inside_are_loaded_whole_and_others_through_shared_memory() {
    let loaded = product(["f16", "f32"], "%p");
    let has = |capability| {
        loaded.module.capabilities.iter().any(|i| i.operands[0] == Operand::Capability(capability))
    };
    assert!(has(Capability::CooperativeMatrixKHR));
    // Two loads from the shared array, without a test; one each from the buffer and from the module's own memory.
    assert_eq!(loaded.all(Op::CooperativeMatrixLoadKHR).len(), 4);
    assert_eq!(loaded.all(Op::CooperativeMatrixStoreKHR).len(), 3);
    let variables = loaded.module.types_global_values.iter().filter(|i| i.class.opcode == Op::Variable);
    let shared =
        variables.filter(|i| i.operands[0] == Operand::StorageClass(StorageClass::Workgroup)).count();
    assert_eq!(shared, 2, "the kernel's and the scratch for what is cut off");
    // Each path through it waits for all lanes, before and after.
    assert_eq!(loaded.all(Op::ControlBarrier).len(), 4);
    for barrier in loaded.all(Op::ControlBarrier) {
        assert_eq!(loaded.constant(id(barrier, 0)), Some(3), "of the subgroup");
    }
}

#[test]
fn products_say_which_components_have_signs() {
    use CooperativeMatrixOperands as Signed;
    let factors = Signed::MATRIX_A_SIGNED_COMPONENTS_KHR | Signed::MATRIX_B_SIGNED_COMPONENTS_KHR;
    let sums = Signed::MATRIX_C_SIGNED_COMPONENTS_KHR | Signed::MATRIX_RESULT_SIGNED_COMPONENTS_KHR;
    for (scalars, wanted) in [
        (["i8", "i32"], Some(factors | sums)),
        (["u8", "i32"], Some(sums)),
        (["u8", "u32"], None),
        (["f16", "f32"], None),
    ] {
        let loaded = product(scalars, "%p");
        let found = loaded.one(Op::CooperativeMatrixMulAddKHR).operands.iter().find_map(|o| match o {
            Operand::CooperativeMatrixOperands(found) => Some(*found),
            _ => None,
        });
        assert_eq!(found, wanted, "{scalars:?}");
    }
}

#[test]
fn components_of_float_matrices_are_not_contracted() {
    let loaded = product(["f16", "f32"], "%p");
    assert!(loaded.is_decorated(result(loaded.one(Op::FAdd)), Decoration::NoContraction));
    assert!(loaded.extended(GLOp::Fma as u32).is_empty());
}

/// Emits a kernel that fills a matrix with `one` and runs `body` on it.
fn filled(ty: &str, one: &str, body: &str) -> Loaded {
    let text = format!(
        "fulgurite 1\nkernel @k workgroup(32, 1, 1) {{\nbuffer %z: write f32[]\n%m = coop.fill {one} -> \
         coopmat<{ty}, 16x16, acc, subgroup>\n{body}\n}}\n"
    );
    load(&kernel(&text), &Profile::fullest())
}

#[test]
fn components_of_bf16_matrices_are_of_its_own_type_and_computed_one_by_one() {
    let loaded = filled("bf16", "1.0bf16", "%s = add %m, %m");
    let matrix = loaded.def(loaded.one(Op::CompositeConstruct).result_type.unwrap());
    let component = loaded.operand(matrix, 0);
    // The operands are width and encoding.
    assert_eq!((component.class.opcode, component.operands.len()), (Op::TypeFloat, 2));
    // The matrix is filled with the bits, stored twice and loaded once, with `f32` arithmetic in between.
    assert_eq!(loaded.operand(loaded.one(Op::CompositeConstruct), 0).class.opcode, Op::Bitcast);
    assert_eq!(loaded.all(Op::CooperativeMatrixStoreKHR).len(), 2);
    let sum = loaded.def(loaded.one(Op::FAdd).result_type.unwrap());
    assert_eq!((sum.class.opcode, &sum.operands[..]), (Op::TypeFloat, &[Operand::LiteralBit32(32)][..]));
    let half = filled("f16", "1.0f16", "%s = add %m, %m");
    half.assert_without(&[Op::CooperativeMatrixStoreKHR]);
}

#[test]
fn matrices_change_role_and_saturate_component_by_component() {
    for (to, by_component) in [
        ("coopmat<f32, 16x16, acc, subgroup>", false),
        ("coopmat<f16, 16x16, a, subgroup>", true),
        ("coopmat<i32, 16x16, acc, subgroup>", true),
        ("coopmat<bf16, 16x16, acc, subgroup>", true),
    ] {
        let loaded = filled("f16", "1.0f16", &format!("%s = coop.convert %m -> {to}"));
        let stores = loaded.all(Op::CooperativeMatrixStoreKHR).len();
        assert_eq!(
            (stores, loaded.all(Op::CooperativeMatrixLoadKHR).len()),
            if by_component { (1, 1) } else { (0, 0) }
        );
    }
}
