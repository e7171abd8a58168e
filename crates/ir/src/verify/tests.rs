//! Tests of the verifier on kernels that neither the builder nor the parser can create, and of uniformity. Rules that
//! kernel text can break are tested by filetests.

mod extended;

use fulgurite_spec::{Code, Location, Op, Type};

use super::*;
use crate::analysis::Uniformity;
use crate::builder::{Read, ReadWrite, kernel};
use crate::kernel::{InstKind, Memory, Operands, Terminator, ValueDef, ValueId};
use crate::require::{Require, RequireNode};
use crate::{BlockId, InstId};

fn sample() -> Kernel {
    kernel::<(Read<u32>, ReadWrite<u32>)>("k", ["x", "y"], [64, 1, 1], |k, (x, y)| {
        let i = k.global_id().x();
        let sum = k.for_carry(0u32, x.len(), 1, k.val(0u32), |_, j, sum| sum + x.load(j));
        k.if_(i.lt(y.len()), |_| y.store(i, sum));
    })
    .unwrap()
}

fn codes(kernel: Kernel) -> Vec<Code> {
    verify(kernel).err().map(|d| d.all().iter().map(|d| d.code).collect()).unwrap_or_default()
}

#[test]
fn the_sample_verifies() {
    assert_eq!(codes(sample()), []);
}

#[test]
fn every_way_to_break_the_arenas_is_malformed_and_none_panics() {
    let breakages: Vec<fn(&mut Kernel)> = vec![
        |k| {
            // A block parameter that is a constant. Found by fuzzing.
            let counter = k.blocks.iter().find_map(|b| b.params.first().copied()).unwrap();
            k.values[counter.index()].def = ValueDef::Const(crate::Const(1));
        },
        |k| {
            let value = k.add_value(Type::U32, ValueDef::Const(crate::Const(1)), None);
            let (name, location) = ("p".into(), Location::Unknown);
            k.params.push(crate::ParamDecl { name, ty: Type::U32, value, location });
        },
        |k| k.body = BlockId::new(99),
        |k| k.blocks[0].insts.push(InstId::new(999)),
        |k| k.blocks[0].insts.push(InstId::new(0)),
        |k| k.values[0].def = ValueDef::Param(crate::ParamId::new(7)),
        |k| k.values[0].def = ValueDef::Inst(InstId::new(50), 0),
        |k| {
            for inst in &mut k.insts {
                if let InstKind::If { then_block, else_block, .. } = &mut inst.kind {
                    *then_block = *else_block;
                }
            }
        },
        |k| {
            let body = k.body;
            for inst in &mut k.insts {
                if let InstKind::For { body: nested, .. } = &mut inst.kind {
                    *nested = body;
                }
            }
        },
        |k| {
            for inst in &mut k.insts {
                if let InstKind::Store { value, .. } = &mut inst.kind {
                    *value = ValueId::new(12_345);
                }
            }
        },
        |k| {
            for inst in &mut k.insts {
                if let InstKind::Load { memory, .. } = &mut inst.kind {
                    *memory = Memory::Shared(crate::SharedId::new(0));
                }
            }
        },
        |k| k.blocks[1].terminator = Terminator::Condition(ValueId::new(9_999)),
        |k| k.blocks[1].terminator = Terminator::Return,
        |k| {
            let body = k.body;
            let param = k.add_value(Type::U32, ValueDef::BlockParam(body, 0), None);
            k.blocks[body.index()].params.push(param);
        },
        |k| k.blocks[0].terminator = Terminator::Yield(Operands::EMPTY),
        |k| {
            let twice = k.insts[0].results.clone();
            k.insts[1].results = twice;
        },
    ];
    for (i, breakage) in breakages.into_iter().enumerate() {
        let mut broken = sample();
        breakage(&mut broken);
        let found = codes(broken);
        assert!(found.contains(&Code::Malformed), "breakage {i}: {found:?}");
    }
}

#[test]
fn deep_nesting_is_refused_without_recursion() {
    let nested = |depth: usize| {
        let mut kernel = Kernel::empty("deep", [1, 1, 1]);
        let yes = kernel.add_value(Type::BOOL, ValueDef::Const(crate::Const(1)), None);
        let mut block = kernel.body;
        for _ in 0..depth {
            let (then_block, else_block) = (kernel.add_block(), kernel.add_block());
            kernel.blocks[then_block.index()].terminator = Terminator::Yield(Operands::EMPTY);
            kernel.blocks[else_block.index()].terminator = Terminator::Yield(Operands::EMPTY);
            kernel.add_inst(
                block,
                InstKind::If { condition: yes, then_block, else_block },
                &[],
                Location::Unknown,
            );
            block = then_block;
        }
        codes(kernel)
    };
    assert_eq!(nested(fulgurite_spec::limits::MAX_NESTING), []);
    assert_eq!(nested(fulgurite_spec::limits::MAX_NESTING + 1), [Code::TooDeep]);
    assert_eq!(nested(100_000), [Code::TooDeep]);
}

#[test]
fn levels_follow_data_and_control() {
    let built =
        kernel::<(Read<u32>, ReadWrite<u32>, u32)>("k", ["x", "y", "n"], [64, 1, 1], |k, (x, y, n)| {
            let lane = k.local_id().x().named("lane");
            let group = (k.workgroup_id().x() * n).named("group");
            let _flat = k.global_id().y().named("flat");
            let _table = x.load(group).named("table");
            let _looked_up = x.load(lane).named("looked_up");
            let _own = y.load(n).named("own");
            let _trips = k.for_carry(0u32, lane, 1, n, |_, _, c| c + 1).named("trips");
            let _steady = k.for_carry(0u32, n, 1, group, |_, _, c| c + 1).named("steady");
            let _chosen = k.if_else(lane.eq(0), |k| k.val(1u32), |k| k.val(2u32)).named("chosen");
        })
        .unwrap();
    let verified = verify(built).unwrap();
    let level = |name: &str| {
        let position = verified.values.iter().position(|v| v.name.as_deref() == Some(name)).unwrap();
        verified.uniformity().level(ValueId::new(position))
    };
    assert_eq!(level("lane"), Uniformity::Varying);
    assert_eq!(level("group"), Uniformity::Workgroup);
    assert_eq!(level("flat"), Uniformity::Workgroup);
    assert_eq!(level("table"), Uniformity::Workgroup);
    assert_eq!(level("looked_up"), Uniformity::Varying);
    assert_eq!(level("own"), Uniformity::Varying);
    assert_eq!(level("trips"), Uniformity::Varying);
    assert_eq!(level("steady"), Uniformity::Workgroup);
    assert_eq!(level("chosen"), Uniformity::Varying);
}

#[test]
fn a_divergent_barrier_names_the_condition_and_the_path_to_it() {
    let built = kernel::<(Read<u32>,)>("k", ["x"], [64, 1, 1], |k, (x,)| {
        let i = k.global_id().x().named("i");
        let in_range = (i + 1).lt(x.len()).named("in_range");
        k.if_(in_range, |k| k.barrier());
        k.if_(x.load(0).eq(0), |k| k.barrier());
    })
    .unwrap();
    let error = verify(built).unwrap_err();
    assert_eq!(error.all().len(), 1);
    let text = error.to_string();
    for part in
        ["FG0205", "`%in_range`, which is varying", "it comes from `lt`", "it comes from `global_id.x`"]
    {
        assert!(text.contains(part), "{part} is missing in {text}");
    }
}

#[test]
fn the_digest_ignores_names_and_sees_everything_else() {
    let variant = |op: Op, name: &str, bits: u32, to: Type| {
        let mut kernel = Kernel::empty(name, [1, 1, 1]);
        let a = kernel.add_value(Type::U32, ValueDef::Const(crate::Const(u64::from(bits))), None);
        let body = kernel.body;
        let inst = kernel.add_inst(
            body,
            InstKind::Scalar { op, operands: Operands::new(&[a]), mode: crate::FloatMode::Default },
            &[to],
            Location::Unknown,
        );
        let result = kernel.inst(inst).results[0];
        kernel.values[result.index()].name = Some(name.into());
        verify(kernel).unwrap().digest()
    };
    let base = variant(Op::Convert, "a", 1, Type::F32);
    assert_eq!(base, variant(Op::Convert, "b", 1, Type::F32));
    assert_ne!(base, variant(Op::Convert, "a", 2, Type::F32));
    assert_ne!(base, variant(Op::Convert, "a", 1, Type::I32));
    assert_ne!(base, variant(Op::Bitcast, "a", 1, Type::F32));
    assert_eq!(base.to_string().len(), 64);
}

#[test]
fn a_value_is_not_used_outside_the_block_that_defines_it() {
    let mut kernel = sample();
    let inner = kernel.insts.iter().position(|i| matches!(i.kind, InstKind::Load { .. })).unwrap();
    let escaped = kernel.insts[inner].results[0];
    for inst in &mut kernel.insts {
        if let InstKind::Store { value, .. } = &mut inst.kind {
            *value = escaped;
        }
    }
    assert_eq!(codes(kernel), [Code::NotDominated]);

    let mut kernel = sample();
    let body = kernel.body;
    kernel.blocks[body.index()].insts.reverse();
    assert!(codes(kernel).contains(&Code::NotDominated), "after its use in the same block");
}

#[test]
fn names_are_checked_however_a_kernel_was_made() {
    for name in ["", "a b", "%a", "ä", &"n".repeat(129)] {
        let mut kernel = sample();
        kernel.buffers[0].name = name.to_owned();
        assert_eq!(codes(kernel), [Code::BadName], "{name:?}");
        let mut kernel = sample();
        kernel.name = name.to_owned();
        assert_eq!(codes(kernel), [Code::BadName], "{name:?}");
        let mut kernel = sample();
        kernel.values[0].name = Some(name.into());
        assert_eq!(codes(kernel), [Code::BadName], "{name:?}");
    }
    let mut kernel = sample();
    kernel.buffers[1].name = kernel.buffers[0].name.clone();
    assert_eq!(codes(kernel), [Code::BadName]);
    let mut kernel = sample();
    kernel.buffers[0].name = "n".repeat(128);
    assert_eq!(codes(kernel), []);
}

#[test]
fn a_loop_begins_with_as_many_values_as_it_carries() {
    let mut kernel = sample();
    for inst in &mut kernel.insts {
        if let InstKind::For { initial, .. } = &mut inst.kind {
            *initial = Operands::EMPTY;
        }
    }
    assert_eq!(codes(kernel), [Code::BadCarry]);
}

#[test]
fn the_digest_sees_what_a_precondition_says_and_not_how_it_is_kept() {
    let built = kernel::<(Read<u32>, u32)>("k", ["x", "n"], [64, 1, 1], |k, (x, n)| {
        k.require(|_| {
            let len = x.len();
            (len % 4).eq(0) & n.le(len)
        });
    })
    .unwrap();
    let digest = |text: &str| verify(crate::text::parse(text).unwrap()).unwrap().digest();
    let printed = crate::text::print(&built);
    assert!(
        printed.contains("require and (eq (rem (len %x), 4u32), 0u32), (le %n, (len %x))\n"),
        "{printed}"
    );
    let mut padded = built.clone();
    padded.requires[0].nodes.insert(0, RequireNode::NumWorkgroups(1));
    for node in &mut padded.requires[0].nodes {
        if let RequireNode::Op { operands, .. } = node {
            operands.iter_mut().for_each(|i| *i += 1);
        }
    }
    let base = verify(built).unwrap().digest();
    assert_eq!(digest(&printed), base);
    assert_eq!(verify(padded).unwrap().digest(), base);
    for (from, to) in [("4u32", "8u32"), ("and", "or"), ("le %n, (len %x)", "le (len %x), %n")] {
        assert_ne!(digest(&printed.replace(from, to)), base);
    }
}

#[test]
fn a_precondition_that_cannot_be_written_is_refused() {
    let with_nodes = |nodes: Vec<RequireNode>| {
        let mut kernel = Kernel::empty("k", [1, 1, 1]);
        kernel.requires.push(Require { nodes, location: Location::Unknown });
        codes(kernel)
    };
    let doubled = |times: u32| {
        let mut nodes = vec![RequireNode::Literal(true.into())];
        nodes.extend((0..times).map(|i| RequireNode::Op { op: Op::And, operands: vec![i, i] }));
        nodes
    };
    // 2^16 - 1 and 2^17 - 1 nodes.
    assert_eq!(with_nodes(doubled(15)), []);
    assert_eq!(with_nodes(doubled(16)), [Code::BadRequire]);
    assert_eq!(with_nodes(doubled(200)), [Code::BadRequire]);
    let literal = fulgurite_spec::Literal { ty: fulgurite_spec::ScalarType::Bool, bits: 2 };
    assert_eq!(with_nodes(vec![RequireNode::Literal(literal)]), [Code::BadRequire]);
}
