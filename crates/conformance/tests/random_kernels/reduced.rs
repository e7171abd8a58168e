//! Failures of random kernels as small kernels in files, and tests of the reduction.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fulgurite_backend_reference::{ReferenceDevice, ReferenceOptions};
use fulgurite_conformance::filetest::{Outcome, RunFile};
use fulgurite_conformance::reduce::reduce;
use fulgurite_conformance::robust::random::{self, Accuracy, Inputs, Results, Wrong};
use fulgurite_hal as hal;
use fulgurite_ir::analysis::instructions;
use fulgurite_ir::{InstKind, Kernel, VerifiedKernel, text, verify};
use fulgurite_spec::{Code, Op};

use crate::planted::PLANTED;
use crate::random_kernel;

/// The subgroup size of the reference.
pub(crate) const LANES: u32 = ReferenceOptions::DEFAULT_SUBGROUP_SIZE;
/// Maximum number of kernels to try for one failure.
const TRIES: usize = 2000;

/// A kernel with a wrong result.
pub(crate) struct Failing<'k> {
    /// What gave the result, in the name of the file.
    pub(crate) what: &'static str,
    pub(crate) seed: u64,
    pub(crate) kernel: &'k VerifiedKernel,
    pub(crate) invocations: u32,
    /// Subgroup size.
    pub(crate) lanes: u32,
}

impl Failing<'_> {
    /// Reduces the kernel and writes it to a file. Returns its text, its results, and the path for a message.
    pub(crate) fn report(
        &self,
        found: &mut dyn FnMut(&dyn hal::Device, &Arc<VerifiedKernel>, &Inputs) -> Results,
    ) -> String {
        let Self { what, seed, kernel, .. } = *self;
        let inputs = Inputs::of(kernel, self.invocations, self.lanes, seed);
        match random::shrink(kernel, &inputs, self.lanes, TRIES, found) {
            Some(wrong) => {
                let path = write(what, seed, &wrong);
                format!("{what}, seed {seed}, as `fulgurite replay {}`: {wrong}", path.display())
            }
            None => format!(
                "{what}, seed {seed}, not wrong when run again, or not on every schedule:\n{}",
                text::print(kernel)
            ),
        }
    }
}

/// Writes a run file to the folder for temporary files of tests, and returns its path.
fn write(what: &str, seed: u64, wrong: &Wrong) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{what}-{seed}.fg"));
    fs::write(&path, format!("// {what}, seed {seed}\n{}", wrong.run_file())).unwrap();
    path
}

/// Returns what a faulty pass makes of a kernel, if it verifies.
fn with_fault(kernel: &VerifiedKernel, plant: fn(&mut Kernel)) -> Option<Arc<VerifiedKernel>> {
    let mut changed = Kernel::clone(kernel);
    plant(&mut changed);
    verify(changed).ok().map(Arc::new)
}

/// Runs what a faulty pass makes of a kernel. A kernel that does not verify is no wrong result here.
fn run_with_fault(
    device: &dyn hal::Device,
    kernel: &Arc<VerifiedKernel>,
    inputs: &Inputs,
    plant: fn(&mut Kernel),
) -> Results {
    let changed = with_fault(kernel, plant).unwrap_or_else(|| Arc::clone(kernel));
    inputs.run(device, &changed).map_err(|error| error.code())
}

/// Returns the first kernel whose results a fault changes, with its seed and inputs.
fn first_wrong(plant: fn(&mut Kernel)) -> (u64, Arc<VerifiedKernel>, Inputs) {
    let reference = ReferenceDevice::new(ReferenceOptions::default());
    (0..)
        .find_map(|seed| {
            let (source, invocations) = random_kernel(seed, Accuracy::Any);
            let kernel = Arc::new(text::parse(&source).and_then(verify).unwrap());
            let inputs = Inputs::of(&kernel, invocations, LANES, seed);
            let changed = with_fault(&kernel, plant)?;
            let run = |kernel| inputs.run(&reference, kernel).map_err(|error| error.code());
            (run(&kernel) != run(&changed)).then_some((seed, kernel, inputs))
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
        let (seed, kernel, inputs) = first_wrong(*plant);
        let mut found = |device: &dyn hal::Device, kernel: &Arc<VerifiedKernel>, inputs: &Inputs| {
            run_with_fault(device, kernel, inputs, *plant)
        };
        let wrong = random::shrink(&kernel, &inputs, LANES, TRIES, &mut found).unwrap();
        let (before, after) = (instructions(&kernel).count(), instructions(&wrong.kernel).count());
        println!("{name}: {before} instructions, {after} after {} tries: {wrong}", wrong.tries);
        assert!(after <= most && before > 20 * after, "{name}: {before}, {wrong}");
        assert!(wrong.tries < TRIES);

        let path = write("planted", seed, &wrong);
        let file = RunFile::parse(&fs::read_to_string(&path).unwrap()).unwrap();
        assert_eq!(file.kernel().digest(), wrong.kernel.digest());
        assert_eq!(file.run(&reference), Ok(Outcome::AsExpected), "{name}");
        assert!(wrong.expected != wrong.found);
        assert_eq!(found(&reference, file.kernel(), &wrong.inputs), wrong.found, "{name}");
        // The same file with the fault.
        let faulty = wrong.inputs.run_file(&with_fault(&wrong.kernel, *plant).unwrap(), &wrong.expected);
        let difference = RunFile::parse(&faulty).unwrap().run(&reference).unwrap_err();
        assert!(difference.contains("expected"), "{difference}");
        fs::remove_file(path).unwrap();
    }
}

#[test]
fn right_kernels_are_not_reduced() {
    let (source, invocations) = random_kernel(1, Accuracy::Any);
    let kernel = text::parse(&source).and_then(verify).unwrap();
    assert!(reduce(&kernel, TRIES, &mut |_| false).is_none());
    let inputs = Inputs::of(&kernel, invocations, LANES, 1);
    let mut runs = 0;
    let mut found = |device: &dyn hal::Device, kernel: &Arc<VerifiedKernel>, inputs: &Inputs| {
        runs += 1;
        inputs.run(device, kernel).map_err(|error| error.code())
    };
    assert!(random::shrink(&kernel, &inputs, LANES, TRIES, &mut found).is_none());
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
