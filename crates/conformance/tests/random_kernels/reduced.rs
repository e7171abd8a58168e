//! Failures of random kernels as small kernels in files, and tests of the reduction.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fulgurite_backend_reference::{ReferenceDevice, ReferenceOptions};
use fulgurite_conformance::filetest::{Outcome, RunFile};
use fulgurite_conformance::reduce::reduce;
use fulgurite_conformance::robust::random::{self, Accuracy, Inputs, Wrong};
use fulgurite_hal as hal;
use fulgurite_ir::analysis::instructions;
use fulgurite_ir::{InstKind, Kernel, VerifiedKernel, text, verify};
use fulgurite_spec::{Code, Op};

use crate::planted::PLANTED;
use crate::{random_kernel, run};

/// Maximum number of kernels to try for one failure.
const TRIES: usize = 2000;

/// What gives a wrong result.
#[derive(Clone, Copy)]
pub(crate) enum Wrongly<'a> {
    /// What passes make of a kernel, on the reference.
    After(&'a dyn Fn(&Arc<VerifiedKernel>) -> Arc<VerifiedKernel>),
    /// A device.
    On(&'a dyn hal::Device),
}

/// A random kernel with a wrong result.
pub(crate) struct Failing<'a> {
    /// What gave the result, for the name of the file.
    pub(crate) what: &'static str,
    pub(crate) seed: u64,
    pub(crate) kernel: &'a VerifiedKernel,
    pub(crate) invocations: u32,
    pub(crate) wrongly: Wrongly<'a>,
}

impl Failing<'_> {
    /// Returns a small kernel that fails in the same way.
    fn shrink(&self) -> Option<Wrong> {
        let lanes = match self.wrongly {
            Wrongly::After(_) => ReferenceOptions::DEFAULT_SUBGROUP_SIZE,
            Wrongly::On(device) => device.snapshot().limits.subgroup_size,
        };
        let inputs = Inputs::of(self.kernel, self.invocations, lanes, self.seed);
        let mut found = |reference: &dyn hal::Device, kernel: &Arc<VerifiedKernel>, inputs: &Inputs| {
            match self.wrongly {
                Wrongly::After(passes) => inputs.run(reference, &passes(kernel)),
                Wrongly::On(device) => inputs.run(device, kernel),
            }
            .map_err(|error| error.code())
        };
        random::shrink(self.kernel, &inputs, lanes, TRIES, &mut found)
    }

    /// Writes a kernel as a run file to the folder for temporary files of tests, and what passes make of it as another one.
    fn write(&self, wrong: &Wrong) -> Vec<PathBuf> {
        let Self { what, seed, .. } = self;
        let write = |name: String, kernel: &Kernel| {
            let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
            let text = wrong.inputs.run_file(kernel, &wrong.expected);
            fs::write(&path, format!("// {what}, seed {seed}\n{text}")).unwrap();
            path
        };
        let given = write(format!("{what}-{seed}.fg"), &wrong.kernel);
        let after = match self.wrongly {
            Wrongly::After(passes) => Some(write(format!("{what}-{seed}.after.fg"), &passes(&wrong.kernel))),
            Wrongly::On(_) => None,
        };
        [given].into_iter().chain(after).collect()
    }

    /// Reduces the kernel and writes it to files. Returns its text, its results, and how to run it again.
    pub(crate) fn report(&self) -> String {
        let Self { what, seed, kernel, .. } = self;
        let Some(wrong) = self.shrink() else {
            let source = text::print(kernel);
            return format!("{what}, seed {seed}, not wrong again, or not on every schedule:\n{source}");
        };
        let mut message = format!("{what}, seed {seed}, reduced in {} tries:\n{wrong}", wrong.tries);
        if let Wrongly::After(passes) = self.wrongly {
            message += &format!("\nafter the passes:\n{}", text::print(&passes(&wrong.kernel)));
        }
        for path in self.write(&wrong) {
            message += &format!("\nfulgurite replay {}", path.display());
        }
        message
    }
}

/// Returns what a faulty pass makes of a kernel, if it verifies.
fn with_fault(kernel: &VerifiedKernel, plant: fn(&mut Kernel)) -> Option<Arc<VerifiedKernel>> {
    let mut changed = Kernel::clone(kernel);
    plant(&mut changed);
    verify(changed).ok().map(Arc::new)
}

/// Returns the first seed whose kernel's results a fault changes, with the kernel and the invocations of its workgroups.
fn first_wrong(plant: fn(&mut Kernel)) -> (u64, Arc<VerifiedKernel>, u32) {
    let reference = ReferenceDevice::new(ReferenceOptions::default());
    (0..)
        .find_map(|seed| {
            let (source, invocations) = random_kernel(seed, Accuracy::Any);
            let kernel = Arc::new(text::parse(&source).and_then(verify).unwrap());
            let changed = with_fault(&kernel, plant)?;
            let [expected, found] =
                [&kernel, &changed].map(|kernel| run(&reference, kernel, invocations, seed));
            (expected != found).then_some((seed, kernel, invocations))
        })
        .unwrap()
}

#[test]
fn planted_miscompilations_become_small_kernels() {
    // With the most instructions that may be left.
    let chosen = [
        ("operands of a subtraction swapped", 4),
        ("carried values taken for their initial values", 8),
        ("the else arm yields what the then arm does", 8),
        ("last store of a block removed", 4),
    ];
    let reference = ReferenceDevice::new(ReferenceOptions::default());
    for (name, most) in chosen {
        let (_, plant) = PLANTED.iter().find(|(planted, _)| *planted == name).unwrap();
        let (seed, kernel, invocations) = first_wrong(*plant);
        // A kernel that does not verify any more is no wrong result here.
        let passes =
            |kernel: &Arc<VerifiedKernel>| with_fault(kernel, *plant).unwrap_or_else(|| Arc::clone(kernel));
        let wrongly = Wrongly::After(&passes);
        let failing = Failing { what: "planted", seed, kernel: &kernel, invocations, wrongly };
        let wrong = failing.shrink().unwrap();
        let (before, after) = (instructions(&kernel).count(), instructions(&wrong.kernel).count());
        println!("{name}: {before} instructions, {after} after {} tries: {wrong}", wrong.tries);
        assert!(after <= most && before > 20 * after, "{name}: {before}, {wrong}");
        assert!(wrong.tries < TRIES && wrong.expected != wrong.found, "{name}");

        let paths = failing.write(&wrong);
        let [given, changed] =
            [0, 1].map(|file: usize| RunFile::parse(&fs::read_to_string(&paths[file]).unwrap()).unwrap());
        assert_eq!(given.kernel().digest(), wrong.kernel.digest(), "{name}");
        assert_eq!(given.run(&reference), Ok(Outcome::AsExpected), "{name}");
        let difference = changed.run(&reference).unwrap_err();
        assert!(difference.contains("expected") && difference.contains("0 more elements"), "{difference}");
        paths.iter().for_each(|path| fs::remove_file(path).unwrap());
    }
}

#[test]
fn reports_hold_the_kernel_and_the_command_that_runs_it() {
    let source = "fulgurite 1\nkernel @k workgroup(8, 1, 1) {\n  buffer %in: read u32[]\n  buffer %out: read_write u32[]\n  \
        param %n: u32\n  %i = global_id.x\n  %a = load %in[%i]\n  %b = sub %a, %n\n  store %out[%i], %b\n}\n";
    let kernel = text::parse(source).and_then(verify).unwrap();
    let (_, plant) =
        PLANTED.iter().find(|(planted, _)| *planted == "operands of a subtraction swapped").unwrap();
    let passes = |kernel: &Arc<VerifiedKernel>| with_fault(kernel, *plant).unwrap();
    let wrongly = Wrongly::After(&passes);
    let failing = Failing { what: "reported", seed: 77, kernel: &kernel, invocations: 8, wrongly };
    let report = failing.report();
    println!("{report}");
    let folder = env!("CARGO_TARGET_TMPDIR");
    for part in [
        "reported, seed 77",
        "expected 4294967295u32, found 1u32",
        "sub 0u32, 1u32",
        "after the passes:",
        "sub 1u32, 0u32",
    ] {
        assert!(report.contains(part), "{part}: {report}");
    }
    for file in ["reported-77.fg", "reported-77.after.fg"] {
        let path = Path::new(folder).join(file);
        assert!(report.contains(&format!("fulgurite replay {}", path.display())), "{report}");
        fs::remove_file(path).unwrap();
    }
    let right = |kernel: &Arc<VerifiedKernel>| Arc::clone(kernel);
    let report = Failing { wrongly: Wrongly::After(&right), ..failing }.report();
    assert!(report.contains("not wrong again") && report.contains("load %in[%i]"), "{report}");
}

#[test]
fn right_kernels_are_not_reduced() {
    let (source, invocations) = random_kernel(1, Accuracy::Any);
    let kernel = text::parse(&source).and_then(verify).unwrap();
    assert!(reduce(&kernel, TRIES, &mut |_| false).is_none());
    let lanes = ReferenceOptions::DEFAULT_SUBGROUP_SIZE;
    let inputs = Inputs::of(&kernel, invocations, lanes, 1);
    let mut runs = 0;
    let mut found = |device: &dyn hal::Device, kernel: &Arc<VerifiedKernel>, inputs: &Inputs| {
        runs += 1;
        inputs.run(device, kernel).map_err(|error| error.code())
    };
    assert!(random::shrink(&kernel, &inputs, lanes, TRIES, &mut found).is_none());
    assert_eq!(runs, 1);
}

#[test]
fn reductions_end_at_their_limit_and_are_the_same_each_time() {
    let (source, _) = random_kernel(2, Accuracy::Any);
    let kernel = text::parse(&source).and_then(verify).unwrap();
    let holds_shift = |kernel: &Kernel| {
        instructions(kernel).any(|id| matches!(kernel.inst(id).kind, InstKind::Scalar { op: Op::Shl, .. }))
    };
    assert!(holds_shift(&kernel));
    assert!(reduce(&kernel, 0, &mut |_| true).is_none());
    let sizes = [1, 10, 40, TRIES].map(|tries| {
        let mut calls = 0;
        let mut test = |kernel: &VerifiedKernel| {
            calls += 1;
            // Every kernel tried is one that a file can hold.
            let again = text::parse(&text::print(kernel)).and_then(verify).unwrap();
            assert_eq!(again.digest(), kernel.digest());
            holds_shift(kernel)
        };
        let reduced = reduce(&kernel, tries, &mut test).unwrap();
        assert_eq!(calls, reduced.tries);
        assert!(calls <= tries && (calls == tries || tries == TRIES), "{calls} of {tries}");
        assert!(holds_shift(&reduced.kernel));
        let again = reduce(&kernel, tries, &mut |kernel| holds_shift(kernel)).unwrap();
        assert_eq!(text::print(&again.kernel), text::print(&reduced.kernel));
        instructions(&reduced.kernel).count()
    });
    assert!(sizes.is_sorted_by(|a, b| a >= b) && sizes[0] > 100, "{sizes:?}");
    // The shift alone.
    assert_eq!(sizes[3], 1, "{sizes:?}");
}

#[test]
fn loops_that_are_left_run_no_longer_than_before() {
    let source = "fulgurite 1
kernel @k workgroup(4, 1, 1) {
  buffer %x: read_write u32[]
  param %n: u32
  %i = global_id.x
  %few = and %n, 3u32
  %last = add %few, 1000000000u32
  %a = for %j in 1000000000u32 to %last step 1u32 carry(%s = 0u32) {
    %t = add %s, %j
    store %x[%i], %t
    yield %t
  }
  %b, %left = while carry(%s = %a, %left = %few) {
    %go = gt %left, 0u32
    condition %go
  } do {
    %less = sub %left, 1u32
    %u = mul %s, 3u32
    store %x[%i], %u
    yield %u, %less
  }
  store %x[0u32], %b
}
";
    let kernel = text::parse(source).and_then(verify).unwrap();
    let device = ReferenceDevice::new(ReferenceOptions::default().step_budget(2_000));
    // The loop and the store, and what counts the iterations.
    for (wanted, most) in [("for %", 2), ("while ", 4)] {
        let mut slow = Vec::new();
        let reduced = reduce(&kernel, TRIES, &mut |kernel| {
            let printed = text::print(kernel);
            let param = if kernel.params.is_empty() { "" } else { "// param %n = 7u32\n" };
            let buffer = if kernel.buffers.is_empty() { "" } else { "// buffer %x = 4 * 0u32\n" };
            let file = format!("{param}{buffer}// expect error: {}\n{printed}", Code::Timeout);
            if RunFile::parse(&file).unwrap().run(&device).is_ok() {
                slow.push(printed.clone());
            }
            printed.contains(wanted) && printed.contains("store")
        });
        assert!(slow.is_empty(), "{}", slow[0]);
        assert_eq!(instructions(&reduced.unwrap().kernel).count(), most);
    }
}
