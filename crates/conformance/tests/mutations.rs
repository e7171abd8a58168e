//! Mutation tests: the suites must detect each of these bugs, injected into the kernels that the reference runs.
#![expect(clippy::expect_used, reason = "a mutant that does not verify fails the test")]

mod broken;

use std::sync::Arc;

use clap::Parser as _;
use fulgurite_backend_reference::{ReferenceDevice, ReferenceOptions};
use fulgurite_conformance::{Expectations, Level, Options, Suite, command};
use fulgurite_driver_core::Registry;
use fulgurite_hal::{self as hal, AdapterInfo, AdapterKind, SingleDevice};
use fulgurite_ir::{
    ArrayDecl, BlockId, Combine, FloatMode, Initial, Inst, InstKind, Kernel, Memory, MemoryScopes, Operands,
    SharedId, Terminator, ValueDef, ValueId,
};
use fulgurite_spec::{Literal, Location, MatrixLayout, Op, ScalarType, Type};

use broken::{Broken, Mutation, insert_before, instructions};

fn replace(kernel: &mut Kernel, from: Op, to: Op) {
    for inst in &mut kernel.insts {
        match &mut inst.kind {
            InstKind::Scalar { op, .. }
            | InstKind::Atomic { op, .. }
            | InstKind::Subgroup { op, .. }
            | InstKind::Id { op, .. }
                if *op == from =>
            {
                *op = to;
            }
            _ => {}
        }
    }
}

/// Removes instructions that have no results.
fn remove(kernel: &mut Kernel, is_gone: impl Fn(&InstKind) -> bool) {
    let gone: Vec<bool> = kernel.insts.iter().map(|inst| is_gone(&inst.kind)).collect();
    for block in &mut kernel.blocks {
        block.insts.retain(|id| !gone[id.index()]);
    }
}

/// Replaces each `workgroup_broadcast` by stores to a new shared array and a load from it, without the last barrier.
fn broadcast_without_its_last_barrier(kernel: &mut Kernel) {
    for at in instructions(kernel) {
        let InstKind::WorkgroupBroadcast { value, index } = kernel.inst(at.1).kind else { continue };
        let element = kernel.ty(value);
        let memory = Memory::Shared(SharedId::new(kernel.shared.len()));
        kernel.shared.push(ArrayDecl {
            name: format!("scratch{}", kernel.shared.len()),
            element,
            len: kernel.workgroup_invocations(),
            initial: Initial::Zero,
            location: Location::Unknown,
        });
        let id = InstKind::Id { op: Op::LocalIndex, component: 0 };
        let Some(own) = insert_before(kernel, at, id, Some(Type::U32)) else { continue };
        insert_before(kernel, at, InstKind::Store { memory, index: own, value }, None);
        insert_before(kernel, at, InstKind::Barrier { scopes: MemoryScopes::ALL }, None);
        kernel.insts[at.1.index()].kind = InstKind::Load { memory, index };
    }
}

fn other(layout: MatrixLayout) -> MatrixLayout {
    match layout {
        MatrixLayout::RowMajor => MatrixLayout::ColumnMajor,
        MatrixLayout::ColumnMajor => MatrixLayout::RowMajor,
    }
}

/// The bug, the suite that must detect it, a filter for the groups to run, and the mutation.
const MUTATIONS: &[(&str, Suite, &str, Mutation)] = &[
    ("nothing changed", Suite::Ops, "sub ", |_| {}),
    ("sub with its operands swapped", Suite::Ops, "sub ", |k| {
        for inst in &mut k.insts {
            if let InstKind::Scalar { op: Op::Sub, operands, .. } = &mut inst.kind {
                operands.swap(0, 1);
            }
        }
    }),
    ("shl for shr", Suite::Ops, "shr ", |k| replace(k, Op::Shr, Op::Shl)),
    ("le for lt", Suite::Ops, "lt ", |k| {
        // Only if both operands are loaded, which leaves the guard of every kernel intact.
        let loaded: Vec<bool> = k
            .values
            .iter()
            .map(|v| matches!(v.def, ValueDef::Inst(i, _) if matches!(k.insts[i.index()].kind, InstKind::Load { .. })))
            .collect();
        for inst in &mut k.insts {
            if let InstKind::Scalar { op: op @ Op::Lt, operands, .. } = &mut inst.kind
                && operands.iter().all(|v| loaded[v.index()])
            {
                *op = Op::Le;
            }
        }
    }),
    ("truncation for rounding", Suite::Ops, "round ", |k| replace(k, Op::Round, Op::Trunc)),
    ("signed for unsigned high product", Suite::Ops, "mul_hi ", |k| replace(k, Op::MulHi, Op::Mul)),
    ("select with its values swapped", Suite::Ops, "select ", |k| {
        for inst in &mut k.insts {
            if let InstKind::Scalar { op: Op::Select, operands, .. } = &mut inst.kind {
                operands.swap(1, 2);
            }
        }
    }),
    ("loads off by one", Suite::Memory, "load u32", |k| {
        let one = constant(k, 1);
        let body: Vec<_> = (0..k.insts.len()).collect();
        for position in body {
            if let InstKind::Load { index, .. } = &mut k.insts[position].kind
                && k.values[index.index()].name.as_deref() == Some("at")
            {
                *index = one;
            }
        }
    }),
    ("no barrier", Suite::Control, "barrier", |k| {
        remove(k, |kind| matches!(kind, InstKind::Barrier { .. }));
    }),
    ("carried values in the wrong places", Suite::Control, "carried values change places", |k| {
        for block in &mut k.blocks {
            if let Terminator::Yield(values) = &mut block.terminator
                && values.len() > 1
                && values.iter().all(|v| k.values[v.index()].ty == Type::U32)
            {
                values.swap(0, 1);
            }
        }
    }),
    ("add for atomic max", Suite::Atomics, "atomic.max", |k| replace(k, Op::AtomicMax, Op::AtomicAdd)),
    ("atomic or that tells what it made", Suite::Atomics, "atomic.or", |k| {
        // The stored result is combined with the operand, which gives the new value of the cell.
        for block in 0..k.blocks.len() {
            for inst in k.blocks[block].insts.clone() {
                let InstKind::Store { value, .. } = k.insts[inst.index()].kind else { continue };
                let ValueDef::Inst(from, _) = k.values[value.index()].def else { continue };
                let InstKind::Atomic { op: Op::AtomicOr, operands, .. } = &k.insts[from.index()].kind else {
                    continue;
                };
                let (made, ty) = (Operands::new(&[value, operands[0]]), k.values[value.index()].ty);
                let location = k.insts[inst.index()].location;
                let kind = InstKind::Scalar { op: Op::Or, operands: made, mode: FloatMode::Default };
                let or = k.add_inst(BlockId::new(block), kind, &[ty], location);
                // It was added at the end, but must precede the store.
                k.blocks[block].insts.pop();
                let at = k.blocks[block].insts.iter().position(|i| *i == inst).unwrap_or_default();
                k.blocks[block].insts.insert(at, or);
                let result = k.insts[or.index()].results[0];
                if let InstKind::Store { value, .. } = &mut k.insts[inst.index()].kind {
                    *value = result;
                }
            }
        }
    }),
    ("atomic exchange that loses its value", Suite::Atomics, "atomic.exchange u32", |k| {
        replace(k, Op::AtomicExchange, Op::AtomicOr)
    }),
    ("float atomics that replace", Suite::Atomics, "atomic.add f", |k| {
        replace(k, Op::AtomicAdd, Op::AtomicExchange)
    }),
    ("64-bit minima that compare as unsigned", Suite::Atomics, "atomic.min i64", |k| {
        replace(k, Op::AtomicMin, Op::AtomicAnd)
    }),
    ("atomics beyond the end that hit the first", Suite::Atomics, "atomic bounds at u64 i64", |k| {
        let first = constant(k, 0);
        let wide: Vec<bool> = k.values.iter().map(|v| v.ty == Type::U64).collect();
        for inst in &mut k.insts {
            if let InstKind::Atomic { index, .. } = &mut inst.kind
                && wide[index.index()]
            {
                *index = first;
            }
        }
    }),
    ("shuffle_up for shuffle_down", Suite::Subgroup, "subgroup.shuffle_down u32", |k| {
        replace(k, Op::SubgroupShuffleDown, Op::SubgroupShuffleUp)
    }),
    ("exclusive scans that are inclusive", Suite::Subgroup, "subgroup.exclusive_scan", |k| {
        replace(k, Op::SubgroupExclusiveScan, Op::SubgroupInclusiveScan)
    }),
    ("scans off by one lane", Suite::Subgroup, "subgroup.inclusive_scan[add] u32", |k| {
        replace(k, Op::SubgroupInclusiveScan, Op::SubgroupExclusiveScan)
    }),
    ("least for greatest of a subgroup", Suite::Subgroup, "subgroup.reduce[max] f16", |k| {
        for inst in &mut k.insts {
            if let InstKind::Subgroup { combine: Some(combine @ Combine::Max), .. } = &mut inst.kind {
                *combine = Combine::Min;
            }
        }
    }),
    ("lanes counted over the workgroup", Suite::Subgroup, "lane", |k| replace(k, Op::Lane, Op::LocalIndex)),
    ("any for all", Suite::Subgroup, "subgroup.all", |k| replace(k, Op::SubgroupAll, Op::SubgroupAny)),
    ("shuffles that wrap into the subgroup", Suite::Subgroup, "subgroup.shuffle u32", |k| {
        // Like devices that use only the low bits of the lane.
        let mask = constant(k, 31);
        for at in instructions(k) {
            if let InstKind::Subgroup { op: Op::SubgroupShuffle, operands, .. } = &k.inst(at.1).kind {
                let operands = Operands::new(&[operands[1], mask]);
                let kind = InstKind::Scalar { op: Op::And, operands, mode: FloatMode::Default };
                let low = insert_before(k, at, kind, Some(Type::U32));
                if let (InstKind::Subgroup { operands, .. }, Some(low)) =
                    (&mut k.insts[at.1.index()].kind, low)
                {
                    operands[1] = low;
                }
            }
        }
    }),
    ("no subgroup barrier", Suite::Subgroup, "subgroup_barrier", |k| {
        remove(k, |kind| matches!(kind, InstKind::SubgroupBarrier { .. }));
    }),
    ("views off by one", Suite::Memory, "load u8x4 of u32", |k| {
        let one = constant(k, 1);
        for position in 0..k.insts.len() {
            if let InstKind::Load { memory: Memory::View(_), index } = &mut k.insts[position].kind {
                *index = one;
            }
        }
    }),
    ("views with an element in the tail", Suite::Memory, "f32x4 of f32 in shared", |k| {
        // The array is longer, so that the tail becomes half an element.
        k.shared.iter_mut().for_each(|array| array.len += 4);
    }),
    ("indices cut to 32 bits", Suite::Memory, "load u32 at u64", |k| {
        for at in instructions(k) {
            let InstKind::Load { index, .. } = k.inst(at.1).kind else { continue };
            if k.ty(index) == Type::U64 {
                let operands = Operands::new(&[index]);
                let kind = InstKind::Scalar { op: Op::Convert, operands, mode: FloatMode::Default };
                let low = insert_before(k, at, kind, Some(Type::U32));
                if let (InstKind::Load { index, .. }, Some(low)) = (&mut k.insts[at.1.index()].kind, low) {
                    *index = low;
                }
            }
        }
    }),
    ("no barrier after uninit memory is written", Suite::Memory, "uninit shared", |k| {
        remove(k, |kind| matches!(kind, InstKind::Barrier { .. }));
    }),
    ("traps that are dropped", Suite::Control, "trap", |k| {
        remove(k, |kind| matches!(kind, InstKind::Trap { .. }));
    }),
    ("the last code for the first", Suite::Control, "the first of an invocation's traps", |k| {
        let last = constant(k, 12);
        for inst in &mut k.insts {
            if let InstKind::Trap { code } = &mut inst.kind {
                *code = last;
            }
        }
    }),
    ("broadcasts of the first invocation", Suite::Control, "workgroup_broadcast u32", |k| {
        let first = constant(k, 0);
        for inst in &mut k.insts {
            if let InstKind::WorkgroupBroadcast { index, .. } = &mut inst.kind {
                *index = first;
            }
        }
    }),
    ("a barrier missing in broadcasts", Suite::Control, "workgroup_broadcast u32", |k| {
        broadcast_without_its_last_barrier(k);
    }),
    ("loops that count from their end", Suite::Control, "for i8", |k| {
        for Inst { kind, .. } in &mut k.insts {
            if let InstKind::For { start, end, .. } = kind {
                core::mem::swap(start, end);
            }
        }
    }),
    ("workgroups numbered by invocation", Suite::Control, "ids of linear", |k| {
        replace(k, Op::WorkgroupId, Op::GlobalId)
    }),
    ("the addend left out of products", Suite::Coopmat, "coop.mul_add 16x16x16 f16", |k| {
        for at in instructions(k) {
            let InstKind::CoopMulAdd { c, .. } = k.inst(at.1).kind else { continue };
            let ty = k.ty(c);
            let zero = k.add_value(ty.element(), ValueDef::Const(fulgurite_ir::Const(0)), None);
            let zeros = insert_before(k, at, InstKind::CoopFill { value: zero }, Some(ty));
            if let (InstKind::CoopMulAdd { c, .. }, Some(zeros)) = (&mut k.insts[at.1.index()].kind, zeros) {
                *c = zeros;
            }
        }
    }),
    ("products with square factors swapped", Suite::Coopmat, "coop.mul_add 8x8x8 f64", |k| {
        // The factors are transposed by loading them in the other layout.
        for inst in &mut k.insts {
            if let InstKind::CoopLoad { layout, .. } = &mut inst.kind {
                *layout = other(*layout);
            }
        }
    }),
    ("accumulators that a loop forgets", Suite::Coopmat, "coop.mul_add in a loop 16x16x32 i8", |k| {
        let carried: Vec<ValueId> = (0..k.insts.len())
            .filter_map(|i| match k.insts[i].kind {
                InstKind::CoopLoad { .. } => k.insts[i].results.first().copied(),
                _ => None,
            })
            .collect();
        for position in 0..k.insts.len() {
            if let InstKind::CoopMulAdd { c, .. } = k.insts[position].kind
                && let Some(start) = carried.iter().find(|v| k.ty(**v) == k.ty(c)).copied()
                && let InstKind::CoopMulAdd { c, .. } = &mut k.insts[position].kind
            {
                *c = start;
            }
        }
    }),
    ("matrices stored in the other layout", Suite::Coopmat, "coop.store coopmat<f16, 16x16, a, ", |k| {
        for inst in &mut k.insts {
            if let InstKind::CoopStore { layout, .. } = &mut inst.kind {
                *layout = other(*layout);
            }
        }
    }),
    ("lines of matrices too close", Suite::Coopmat, "coop.load coopmat<bf16, 8x8, b, ", |k| {
        // The lines are contiguous.
        for position in 0..k.insts.len() {
            let InstKind::CoopLoad { memory, layout, .. } = k.insts[position].kind else { continue };
            let ty = k.ty(k.insts[position].results[0]);
            let along = ty.matrix.map_or(0, |shape| shape.lines(layout).1) * ty.scalar.size();
            let tight = constant(k, along / k.element(memory).size());
            if let InstKind::CoopLoad { stride, .. } = &mut k.insts[position].kind {
                *stride = tight;
            }
        }
    }),
    ("places of matrices cut to 32 bits", Suite::Coopmat, "coop.load coopmat<f16, 16x16, a, ", |k| {
        for at in instructions(k) {
            let InstKind::CoopLoad { offset: whole, .. } = k.inst(at.1).kind else { continue };
            if k.ty(whole) != Type::scalar(ScalarType::U64) {
                continue;
            }
            let operands = Operands::new(&[whole]);
            let kind = InstKind::Scalar { op: Op::Convert, operands, mode: FloatMode::Default };
            let cut = insert_before(k, at, kind, Some(Type::U32));
            if let (InstKind::CoopLoad { offset, .. }, Some(cut)) = (&mut k.insts[at.1.index()].kind, cut) {
                *offset = cut;
            }
        }
    }),
    (
        "matrices always at the beginning",
        Suite::Coopmat,
        "coop.store coopmat<i32, 16x16, acc, subgroup>, shared",
        |k| {
            let first = constant(k, 0);
            for inst in &mut k.insts {
                if let InstKind::CoopStore { offset, .. } = &mut inst.kind {
                    *offset = first;
                }
            }
        },
    ),
    ("matrices filled with something else", Suite::Coopmat, "coop.fill coopmat<f", |k| {
        for at in instructions(k) {
            let InstKind::CoopFill { value } = k.inst(at.1).kind else { continue };
            let ty = k.ty(value);
            let kind =
                InstKind::Scalar { op: Op::Neg, operands: Operands::new(&[value]), mode: FloatMode::Default };
            let changed = insert_before(k, at, kind, Some(ty));
            if let (InstKind::CoopFill { value }, Some(changed)) = (&mut k.insts[at.1.index()].kind, changed)
            {
                *value = changed;
            }
        }
    }),
    ("sub for add of matrices", Suite::Coopmat, "add coopmat", |k| {
        for inst in 0..k.insts.len() {
            let matrix = k.insts[inst].results.first().is_some_and(|r| k.ty(*r).is_matrix());
            if let (InstKind::Scalar { op: op @ Op::Add, .. }, true) = (&mut k.insts[inst].kind, matrix) {
                *op = Op::Sub;
            }
        }
    }),
    ("choices between matrices swapped", Suite::Coopmat, "select coopmat<f64", |k| {
        for inst in &mut k.insts {
            if let InstKind::Scalar { op: Op::Select, operands, .. } = &mut inst.kind {
                operands.swap(1, 2);
            }
        }
    }),
    ("shuffled vectors in the wrong order", Suite::Ops, "vec.shuffle i16", |k| {
        for inst in &mut k.insts {
            if let InstKind::VecShuffle { vectors, .. } = &mut inst.kind {
                vectors.swap(0, 1);
            }
        }
    }),
];

fn constant(kernel: &mut Kernel, value: u32) -> fulgurite_ir::ValueId {
    let bits = Literal::from(value).bits;
    kernel.add_value(Type::scalar(ScalarType::U32), ValueDef::Const(fulgurite_ir::Const(bits)), None)
}

fn failures(suite: Suite, only: &str, mutation: Mutation, expectations: Vec<Expectations>) -> u64 {
    let inner: Arc<dyn hal::Device> = Arc::new(ReferenceDevice::new(ReferenceOptions::default()));
    let backend: Arc<dyn hal::Device> = Arc::new(Broken { inner, mutation });
    let mut options = Options::new(Level::Smoke, 1);
    options.suites = vec![suite];
    options.only = Some(only.to_owned());
    options.expectations = expectations;
    broken::failures(&fulgurite_conformance::run(&backend, &options, &mut |_, _, _| {}))
}

#[test]
fn every_seeded_bug_is_caught_and_no_bug_is_not() {
    let mut caught = 0;
    for (name, suite, only, mutation) in MUTATIONS {
        let failed = failures(*suite, only, *mutation, Vec::new());
        let wanted = *name != "nothing changed";
        assert_eq!(failed > 0, wanted, "{name}: {failed} failures in {}", suite.name());
        caught += u32::from(wanted);
    }
    println!("{caught} of {} seeded bugs caught", MUTATIONS.len() - 1);
}

#[test]
fn the_command_says_whether_a_backend_passes() {
    for (mutation, passes) in [(MUTATIONS[0].3, true), (MUTATIONS[1].3, false)] {
        let open = move || -> Arc<dyn hal::Device> {
            let inner = Arc::new(ReferenceDevice::new(ReferenceOptions::default()));
            Arc::new(Broken { inner, mutation })
        };
        let info = AdapterInfo::new(AdapterKind::Interpreter, 1, open().snapshot().clone());
        let mut registry = Registry::new();
        registry.register(SingleDevice::new(info, move |_| Ok(open()))).unwrap();
        let line = Line::parse_from([
            "conformance",
            "--backend",
            "reference",
            "--suite",
            "ops",
            "--only",
            "sub u32",
        ]);
        assert_eq!(command::run(&registry, &line.args, &[]).unwrap(), passes);
    }
}

/// The command line of a user's own binary.
#[derive(clap::Parser)]
struct Line {
    #[command(flatten)]
    args: command::Args,
}

#[test]
fn expected_failures_are_counted_apart_and_must_fail() {
    let list = |group: &str| {
        let text = format!(
            "driver = \"fulgurite\"\n[[expected]]\nsuite = \"atomics\"\ngroup = \"{group}\"\nreason = \"seeded\"\n"
        );
        Expectations::parse(&text).unwrap()
    };
    let bug: Mutation = |k| replace(k, Op::AtomicMax, Op::AtomicAdd);
    let places = ["buffer", "shared", "view of buffer", "view of shared"];
    let groups = places.map(|place| format!("atomic.max u32, {place}"));
    let lists: Vec<_> = groups.iter().map(|g| list(g)).collect();
    assert_eq!(failures(Suite::Atomics, "atomic.max u32", bug, lists.clone()), 0);
    // The same lists on a backend without the bug: four expected failures that did not occur.
    assert_eq!(failures(Suite::Atomics, "", |_| {}, lists), 4);
}
