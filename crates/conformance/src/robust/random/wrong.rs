//! Random kernels with wrong results: their reduction to a small kernel on small inputs.

use std::fmt;
use std::sync::Arc;

use fulgurite_backend_reference::{ReferenceDevice, ReferenceOptions};
use fulgurite_hal as hal;
use fulgurite_ir::{VerifiedKernel, text};
use fulgurite_spec::Code;

use super::run::{Inputs, Results, elements};
use crate::reduce::{Reduced, reduce};

/// Limit of the steps of an invocation, on average over a launch: more than random kernels take.
const STEPS: u64 = 1 << 16;
/// The quanta of the schedules on which results must be wrong.
const QUANTA: [u32; 3] = [ReferenceOptions::DEFAULT_QUANTUM, 1, 1 << 20];

/// Returns the results to compare with the reference's, given a reference device, a kernel and its inputs.
pub type Find<'f> = dyn FnMut(&dyn hal::Device, &Arc<VerifiedKernel>, &Inputs) -> Results + 'f;

/// A kernel with a wrong result.
#[derive(Clone, Debug)]
pub struct Wrong {
    /// The kernel.
    pub kernel: Arc<VerifiedKernel>,
    /// The arguments of its launch.
    pub inputs: Inputs,
    /// The reference's results.
    pub expected: Results,
    /// The wrong results.
    pub found: Results,
    /// The number of kernels and inputs tried.
    pub tries: usize,
}

impl Wrong {
    /// Returns the kernel as a run file with its inputs and the expected results.
    pub fn run_file(&self) -> String {
        self.inputs.run_file(&self.kernel, &self.expected)
    }

    /// Returns the first different element, or the errors.
    fn difference(&self) -> String {
        let shown = |results: &Results| match results {
            Ok(_) => "results".to_owned(),
            Err(code) => format!("error {code}"),
        };
        let (Ok(expected), Ok(found)) = (&self.expected, &self.found) else {
            return format!("expected {}, found {}", shown(&self.expected), shown(&self.found));
        };
        let mut all = Vec::new();
        for ((declared, expected), found) in self.kernel.buffers.iter().zip(expected).zip(found) {
            let pairs = elements(declared, expected).zip(elements(declared, found)).enumerate();
            all.extend(pairs.filter(|(_, (expected, found))| expected != found).map(
                |(at, (expected, found))| {
                    format!("%{}[{at}]: expected {expected}, found {found}", declared.name)
                },
            ));
        }
        let shown = &all[..all.len().min(4)];
        format!("{} of {} different components: {}", shown.len(), all.len(), shown.join("; "))
    }
}

impl fmt::Display for Wrong {
    /// Writes the kernel and what is different.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n{}", self.difference(), text::print(&self.kernel))
    }
}

/// Reduces a kernel that has wrong results on `inputs`, trying at most so many kernels and inputs. `found` returns the results to
/// compare with the reference's: of a device, or of the kernel after passes on the reference that it is given, which has subgroups
/// of `lanes`.
///
/// Returns `None` if the results are not wrong, or depend on the schedule. A smaller kernel must fail in the same way: with wrong
/// contents or with the same code.
pub fn shrink(
    kernel: &VerifiedKernel,
    inputs: &Inputs,
    lanes: u32,
    tries: usize,
    found: &mut Find<'_>,
) -> Option<Wrong> {
    let mut judge = Judge { lanes, found, way: None };
    let Reduced { kernel, tries: mut made } =
        reduce(kernel, tries, &mut |kernel| judge.wrong(&Arc::new(kernel.clone()), inputs).is_some())?;
    let kernel = Arc::new(kernel);
    let mut wrong = judge.wrong(&kernel, inputs)?;
    let mut offer = |wrong: &mut Wrong, change: &dyn Fn(&mut Inputs)| {
        if made >= tries {
            return false;
        }
        made += 1;
        let mut smaller = wrong.inputs.clone();
        change(&mut smaller);
        let still = judge.wrong(&kernel, &smaller);
        let is_wrong = still.is_some();
        *wrong = still.unwrap_or_else(|| wrong.clone());
        is_wrong
    };
    offer(&mut wrong, &|inputs| inputs.workgroups = 1);
    for at in 0..inputs.buffers.len() {
        let name = inputs.buffers[at].0;
        if !kernel.buffers.iter().any(|declared| declared.name == name) {
            continue;
        }
        // Multiples of the largest vector.
        while wrong.inputs.buffers[at].1.len() >= 32
            && offer(&mut wrong, &|inputs| {
                let bytes = &mut inputs.buffers[at].1;
                bytes.truncate((bytes.len() / 2).next_multiple_of(16));
            })
        {}
        if wrong.inputs.buffers[at].1.iter().any(|byte| *byte != 0) {
            offer(&mut wrong, &|inputs| inputs.buffers[at].1.fill(0));
        }
    }
    wrong.tries = made;
    Some(wrong)
}

/// The codes of the errors in place of expected and wrong results.
type Way = (Option<Code>, Option<Code>);

/// What decides whether results are wrong.
struct Judge<'a> {
    lanes: u32,
    found: &'a mut Find<'a>,
    /// The way in which the given kernel fails.
    way: Option<Way>,
}

impl Judge<'_> {
    /// Returns the kernel with its results if they are wrong on every schedule, and the expected ones the same on each.
    fn wrong(&mut self, kernel: &Arc<VerifiedKernel>, inputs: &Inputs) -> Option<Wrong> {
        let mut first: Option<Wrong> = None;
        let invocations = u64::from(kernel.workgroup_invocations()) * u64::from(inputs.workgroups);
        for (quantum, seed) in QUANTA.into_iter().zip(1..) {
            let options =
                ReferenceOptions::default().subgroup_size(self.lanes).step_budget(STEPS * invocations);
            let device = ReferenceDevice::new(options.quantum(quantum).uninit_seed(seed));
            let expected = inputs.run(&device, kernel).map_err(|error| error.code());
            if !matches!(expected, Ok(_) | Err(Code::Trap)) {
                return None;
            }
            if first.as_ref().is_some_and(|first| first.expected != expected) {
                return None;
            }
            let found = (self.found)(&device, kernel, inputs);
            let way = (expected.as_ref().err().copied(), found.as_ref().err().copied());
            if expected == found || *self.way.get_or_insert(way) != way {
                return None;
            }
            let (kernel, inputs) = (Arc::clone(kernel), inputs.clone());
            first.get_or_insert(Wrong { kernel, inputs, expected, found, tries: 0 });
        }
        first
    }
}
