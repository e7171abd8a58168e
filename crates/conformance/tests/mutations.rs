//! The suites must catch a backend that is wrong: the reference, with each of these bugs seeded into the kernels
//! that it runs.

use std::sync::Arc;

use fulgurite_backend_reference::{ReferenceBackend, ReferenceOptions};
use fulgurite_conformance::{Expectations, Level, Options, Suite};
use fulgurite_driver_core::{Backend, CompileOptions, DeviceBuffer, Error, Executable, Launch, LaunchReport};
use fulgurite_ir::{
    BlockId, FloatMode, InstKind, Kernel, Operands, Terminator, ValueDef, VerifiedKernel, verify,
};
use fulgurite_spec::device::DeviceSnapshot;
use fulgurite_spec::{Literal, Op, ScalarType, Type};

/// A bug: changes a kernel before it is compiled.
type Mutation = fn(&mut Kernel);

struct Broken {
    inner: Arc<dyn Backend>,
    mutation: Mutation,
}

struct BrokenExecutable {
    inner: Arc<dyn Executable>,
    original: Arc<VerifiedKernel>,
}

impl Backend for Broken {
    fn snapshot(&self) -> &DeviceSnapshot {
        self.inner.snapshot()
    }

    fn allocate(&self, bytes: u64) -> Result<Arc<dyn DeviceBuffer>, Error> {
        self.inner.allocate(bytes)
    }

    fn compile(
        &self,
        kernel: Arc<VerifiedKernel>,
        options: &CompileOptions,
    ) -> Result<Arc<dyn Executable>, Error> {
        let mut changed = (*kernel).clone().into_kernel();
        (self.mutation)(&mut changed);
        let inner = self.inner.compile(Arc::new(verify(changed)?), options)?;
        Ok(Arc::new(BrokenExecutable { inner, original: kernel }))
    }
}

impl Executable for BrokenExecutable {
    fn kernel(&self) -> &Arc<VerifiedKernel> {
        &self.original
    }

    fn id(&self) -> &str {
        self.inner.id()
    }

    fn launch(&self, launch: &Launch<'_>) -> Result<LaunchReport, Error> {
        self.inner.launch(launch)
    }
}

fn replace(kernel: &mut Kernel, from: Op, to: Op) {
    for inst in &mut kernel.insts {
        match &mut inst.kind {
            InstKind::Scalar { op, .. } | InstKind::Atomic { op, .. } if *op == from => *op = to,
            _ => {}
        }
    }
}

/// The bug, the suite that must catch it, and the groups of the suite that are run.
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
        // Not in the guard of every kernel: only where both operands are loaded.
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
        for block in 0..k.blocks.len() {
            let kept = k.blocks[block]
                .insts
                .iter()
                .copied()
                .filter(|i| !matches!(k.insts[i.index()].kind, InstKind::Barrier { .. }))
                .collect();
            k.blocks[block].insts = kept;
        }
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
    ("add for atomic max", Suite::Atomics, "", |k| replace(k, Op::AtomicMax, Op::AtomicAdd)),
    ("atomic or that tells what it made", Suite::Atomics, "atomic.or", |k| {
        // The stored result is or-ed with the operand: what the cell holds afterwards.
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
                // It was added at the end and belongs before the store.
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
    ("atomic exchange that loses its value", Suite::Atomics, "", |k| {
        replace(k, Op::AtomicExchange, Op::AtomicOr)
    }),
];

fn constant(kernel: &mut Kernel, value: u32) -> fulgurite_ir::ValueId {
    let bits = Literal::from(value).bits;
    kernel.add_value(Type::scalar(ScalarType::U32), ValueDef::Const(fulgurite_ir::Const(bits)), None)
}

fn failures(suite: Suite, only: &str, mutation: Mutation, expectations: Vec<Expectations>) -> u64 {
    let inner: Arc<dyn Backend> = Arc::new(ReferenceBackend::new(ReferenceOptions::default()));
    let backend: Arc<dyn Backend> = Arc::new(Broken { inner, mutation });
    let mut options = Options::new(Level::Smoke, 1);
    options.suites = vec![suite];
    options.only = Some(only.to_owned());
    options.expectations = expectations;
    let report = fulgurite_conformance::run(&backend, &options, &mut |_, _, _| {});
    report.suites.iter().map(|s| s.failed).sum()
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
    // The same lists on a backend without the bug: four expected failures that did not fail.
    assert_eq!(failures(Suite::Atomics, "", |_| {}, lists), 4);
}
