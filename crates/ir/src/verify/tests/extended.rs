//! Tests with views, regions, attributes and subgroup ops that neither the builder nor the parser can create.

use super::*;
use crate::kernel::{AtomicOrder, Combine, FloatMode, Initial, SharedId, SyncScope, ViewDecl, ViewId};

fn changed(change: impl FnOnce(&mut Kernel)) -> Vec<Code> {
    let mut kernel = kernel::<(ReadWrite<u32>,)>("k", ["x"], [64, 1, 1], |k, (x,)| {
        let tile = k.shared::<u32>("t", 64);
        let pairs = tile.view::<[u32; 2]>("pairs");
        let l = k.local_index();
        let v = k.region("r", |_| pairs.load(l).shuffle::<[u32; 2]>(pairs.load(0), &[0, 3]));
        let sum = (l + v.extract(0)).subgroup_reduce(Combine::Add);
        x.atomic_add(l, k.workgroup_broadcast(sum, 3));
        k.trap(sum);
        k.fence(AtomicOrder::Acquire, SyncScope::Device);
    })
    .unwrap();
    change(&mut kernel);
    codes(kernel)
}

/// Returns the first instruction that satisfies `find`.
fn inst(kernel: &mut Kernel, find: impl Fn(&InstKind) -> bool) -> &mut InstKind {
    &mut kernel.insts.iter_mut().find(|i| find(&i.kind)).unwrap().kind
}

#[test]
fn nothing_changed_verifies() {
    assert_eq!(changed(|_| ()), []);
}

#[test]
fn views_refer_to_what_is_declared() {
    assert_eq!(changed(|k| k.views[0].base = Memory::Shared(SharedId::new(9))), [Code::Malformed]);
    assert_eq!(changed(|k| k.views[0].base = Memory::View(ViewId::new(1))), [Code::Malformed, Code::BadView]);
    assert_eq!(changed(|k| k.views[0].base = Memory::View(ViewId::new(0))), [Code::BadView]);
    assert_eq!(changed(|k| k.views.clear()), [Code::Malformed]);
    assert_eq!(changed(|k| k.views[0].element = Type::BOOL).first(), Some(&Code::BadElementType));
    assert_eq!(changed(|k| k.shared[0].len = 1).first(), Some(&Code::BadView));
    assert_eq!(changed(|k| k.views[0].name = "t".to_owned()), [Code::BadName]);
    let view = |k: &Kernel| ViewDecl { name: "v".to_owned(), ..k.views[0].clone() };
    assert_eq!(
        changed(|k| k
            .views
            .extend((0..64).map(|i| ViewDecl { name: format!("v{i}"), ..view(k) }).collect::<Vec<_>>())),
        [Code::TooManyDeclarations]
    );
    assert_eq!(
        changed(|k| k
            .views
            .extend((0..63).map(|i| ViewDecl { name: format!("v{i}"), ..view(k) }).collect::<Vec<_>>())),
        []
    );
}

#[test]
fn only_shared_arrays_are_uninit() {
    let local = |k: &Kernel| crate::ArrayDecl {
        name: "l".to_owned(),
        initial: Initial::Uninit,
        ..k.shared[0].clone()
    };
    assert_eq!(changed(|k| k.locals.push(local(k))), [Code::Malformed]);
    assert_eq!(changed(|k| k.shared[0].initial = Initial::Uninit), []);
}

#[test]
fn regions_are_blocks_like_others() {
    let region = |k: &InstKind| matches!(k, InstKind::Region { .. });
    for name in ["a\"b", "a\\b", "a\nb", &"n".repeat(129)] {
        let codes = changed(|k| match inst(k, region) {
            InstKind::Region { name: known, .. } => *known = name.into(),
            _ => unreachable!(),
        });
        assert_eq!(codes, [Code::BadName], "{name:?}");
    }
    for (block, code) in [(BlockId::new(77), Code::Malformed), (BlockId::new(0), Code::Malformed)] {
        let codes = changed(|k| match inst(k, region) {
            InstKind::Region { body, .. } => *body = block,
            _ => unreachable!(),
        });
        assert_eq!(codes, [code]);
    }
    let terminator = |terminator: Terminator| changed(|k| k.blocks[1].terminator = terminator);
    assert_eq!(terminator(Terminator::Yield(Operands::EMPTY)), [Code::BadCarry]);
    assert!(terminator(Terminator::Return).contains(&Code::Malformed));
    let codes = changed(|k| {
        let value = k.add_value(Type::U32, ValueDef::BlockParam(BlockId::new(1), 0), None);
        k.blocks[1].params.push(value);
    });
    assert_eq!(codes, [Code::Malformed]);
}

#[test]
fn attributes_fit_their_ops() {
    let subgroup = |k: &InstKind| matches!(k, InstKind::Subgroup { .. });
    let with = |op: Op, combine: Option<Combine>| {
        changed(|k| match inst(k, subgroup) {
            InstKind::Subgroup { op: known, combine: way, .. } => (*known, *way) = (op, combine),
            _ => unreachable!(),
        })
    };
    assert_eq!(with(Op::SubgroupReduce, Some(Combine::Xor)), []);
    assert_eq!(with(Op::SubgroupReduce, None), [Code::BadAttribute]);
    assert_eq!(with(Op::SubgroupMatch, Some(Combine::Add)), [Code::BadAttribute]);
    assert_eq!(with(Op::SubgroupMatch, None), [Code::BadResultType]);
    assert_eq!(with(Op::SubgroupShuffle, None), [Code::BadOperandCount]);
    assert_eq!(with(Op::SubgroupBallot, None), [Code::TypeMismatch]);
    assert_eq!(with(Op::Add, None), [Code::Malformed]);
    let shuffle = |positions: Vec<u8>| {
        changed(|k| match inst(k, |k| matches!(k, InstKind::VecShuffle { .. })) {
            InstKind::VecShuffle { components, .. } => *components = positions.into(),
            _ => unreachable!(),
        })
    };
    assert_eq!(shuffle(vec![3, 3]), []);
    assert_eq!(shuffle(vec![4, 0]), [Code::BadAttribute]);
    assert_eq!(shuffle(vec![0; 300]), [Code::BadAttribute]);
    assert_eq!(shuffle(vec![0, 1, 2]), [Code::BadResultType]);
    let fence = |order| {
        changed(|k| match inst(k, |k| matches!(k, InstKind::Fence { .. })) {
            InstKind::Fence { order: known, .. } => *known = order,
            _ => unreachable!(),
        })
    };
    assert_eq!(fence(AtomicOrder::Relaxed), [Code::BadOrder]);
    assert_eq!(fence(AtomicOrder::AcquireRelease), []);
    for mode in [FloatMode::Fast, FloatMode::Exact] {
        let codes = changed(|k| match inst(k, |k| matches!(k, InstKind::Scalar { op: Op::Add, .. })) {
            InstKind::Scalar { mode: known, .. } => *known = mode,
            _ => unreachable!(),
        });
        assert_eq!(codes, [Code::BadAttribute]);
    }
}

#[test]
fn shared_arrays_lie_as_their_views_want() {
    let source = "fulgurite 1\nkernel @k workgroup(1, 1, 1) {\n  shared %a: u8[3]\n  shared %b: u16[3]\n  \
                  shared %c: u8x3[5]\n  shared %d: u32[8]\n  shared %e: u8[1]\n  view %d4 = %d as f64x4[]\n}\n";
    let kernel = crate::text::parse(source).unwrap();
    // 3 bytes; alignment 2; alignment 1 for a vector of three bytes; alignment 16 for the view; alignment 1.
    assert_eq!(kernel.shared_layout(), (vec![0, 4, 10, 32, 64], 65));
    assert_eq!(kernel.array_len(Memory::View(ViewId::new(0))), Some(1));
    assert_eq!(crate::kernel::alignment(Type::BOOL), 1);
}
