//! Passes: kernel to kernel, before any backend sees it.
//!
//! [`optimize`] runs them in a fixed order, the same for every backend. A pass is one file. It either changes the kernel
//! and returns how often, or refuses it; what it changes must mean the same on every input, unless an option asks for
//! another meaning. A changed kernel is verified again. The crate knows no backend and no device: what a pass must know of
//! a device is in [`PassOptions`].
#![forbid(unsafe_code)]

mod common;
mod dead_code;
mod fast_math;
mod float_budget;
mod forward;
mod guards;
mod hoist;
mod if_convert;
mod implied;
mod least_profile;
mod replacement;
mod rewrite;
mod scan;
mod simplify;
mod strength;
mod subgroup_size;
mod unroll;
mod vectorize;
mod workgroup;

use std::fmt;
use std::sync::Arc;

use fulgurite_ir::{Kernel, VerifiedKernel};
use fulgurite_spec::Diagnostics;

/// The passes that find more for each other, in the order in which they run.
const ROUND: [Pass; 7] =
    [simplify::PASS, common::PASS, implied::PASS, if_convert::PASS, unroll::PASS, forward::PASS, hoist::PASS];
/// The number of times that they run at most.
const MOST_ROUNDS: usize = 4;

/// What the passes are to do. The default changes nothing and refuses nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PassOptions {
    /// The workgroup size that replaces the kernel's.
    pub workgroup: Option<[u32; 3]>,
    /// Whether float ops for which the kernel states no precision become `[fast]`.
    pub fast_math: bool,
    /// Whether values are simplified and merged, and instructions without use removed.
    pub optimize: bool,
    /// Whether a kernel that needs a capability is refused.
    pub least_profile: bool,
    /// The largest error of a float op that is accepted, in units in the last place (ULP).
    pub float_budget: Option<u32>,
    /// The subgroup size that the kernel relies on.
    pub subgroup_size: Option<u32>,
    /// The subgroup size of the device, if it is known.
    pub device_subgroup_size: Option<u32>,
    /// Whether the device's compiler optimizes what it is given, so that the pass `strength` leaves divisions to it.
    pub device_optimizes: bool,
}

/// The changes that each pass made, in the order in which the passes ran. `Display` prints one line a pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PassReport {
    /// Each pass that changed the kernel, with the number of changes.
    pub changes: Vec<(&'static str, usize)>,
}

impl fmt::Display for PassReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.changes.is_empty() {
            return f.write_str("no pass changed the kernel");
        }
        for (index, (pass, changes)) in self.changes.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            let noun = if *changes == 1 { "change" } else { "changes" };
            write!(f, "{separator}{pass}: {changes} {noun}")?;
        }
        Ok(())
    }
}

/// The refusal of a kernel.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// The kernel with the options is malformed.
    #[error("{0}")]
    Invalid(#[from] Diagnostics),
    /// The options rule out what the kernel needs.
    #[error("needs {needs}, the device has {have}")]
    Unsupported {
        /// What the kernel needs.
        needs: String,
        /// What there is.
        have: String,
    },
}

impl Refusal {
    fn unsupported(needs: impl Into<String>, have: impl Into<String>) -> Self {
        Self::Unsupported { needs: needs.into(), have: have.into() }
    }
}

/// Runs the passes. Returns the same kernel if none changed it.
///
/// # Errors
/// [`Refusal`] if the options rule the kernel out, or make it malformed.
pub fn optimize(
    kernel: &Arc<VerifiedKernel>,
    options: &PassOptions,
) -> Result<(Arc<VerifiedKernel>, PassReport), Refusal> {
    subgroup_size::check(options)?;
    if options.least_profile {
        least_profile::check(kernel)?;
    }
    let (changed, report) = transform(kernel, options)?;
    if let Some(ulp) = options.float_budget {
        float_budget::check(&changed, ulp)?;
    }
    Ok((changed, report))
}

/// A pass that makes kernels cheaper.
struct Pass {
    name: &'static str,
    /// Returns whether `run` would change the kernel. Most kernels are not changed by most passes, and need no copy then.
    fires: fn(&Kernel) -> bool,
    /// Changes the kernel, and returns the number of changes.
    run: fn(&mut Kernel) -> usize,
}

/// Runs the passes that change kernels.
fn transform(
    kernel: &Arc<VerifiedKernel>,
    options: &PassOptions,
) -> Result<(Arc<VerifiedKernel>, PassReport), Refusal> {
    let mut change = Change { given: kernel, changed: None, report: PassReport::default() };
    if let Some(size) = options.workgroup {
        change.apply("workgroup", |kernel| workgroup::run(kernel, size));
    }
    if options.fast_math {
        change.apply("fast_math", fast_math::run);
    }
    if options.optimize {
        // Merged values become operands that simplify, simpler values merge, and so do those that leave a loop; literal counters
        // and elements simplify more: all run again while they find more, without what the last round left dead.
        for _ in 0..MOST_ROUNDS {
            let fires = ROUND.map(|pass| change.optimize(&pass));
            change.optimize(&dead_code::PASS);
            if !fires.contains(&true) {
                break;
            }
        }
        // Later, so that all passes before it see what is stored and loaded, element by element.
        if change.optimize(&vectorize::PASS) {
            change.optimize(&simplify::PASS);
            change.optimize(&common::PASS);
            change.optimize(&dead_code::PASS);
        }
        if change.optimize(&guards::PASS) {
            change.optimize(&common::PASS);
            change.optimize(&dead_code::PASS);
        }
        if !options.device_optimizes {
            change.optimize(&strength::PASS);
        }
    }
    match change.changed {
        Some(changed) if !change.report.changes.is_empty() => {
            Ok((Arc::new(fulgurite_ir::verify(changed)?), change.report))
        }
        _ => Ok((Arc::clone(kernel), change.report)),
    }
}

/// A kernel that passes change, which is copied for the first of them.
struct Change<'k> {
    given: &'k Kernel,
    changed: Option<Kernel>,
    report: PassReport,
}

impl Change<'_> {
    /// Runs a pass.
    fn apply(&mut self, name: &'static str, pass: impl FnOnce(&mut Kernel) -> usize) {
        let changes = pass(self.changed.get_or_insert_with(|| self.given.clone()));
        if changes > 0 {
            self.report.changes.push((name, changes));
        }
    }

    /// Runs a pass if it fires, and returns whether it did.
    fn optimize(&mut self, pass: &Pass) -> bool {
        let kernel = self.changed.as_ref().unwrap_or(self.given);
        let fires = (pass.fires)(kernel);
        debug_assert_eq!(fires, (pass.run)(&mut kernel.clone()) > 0, "`fires` of `{}` is wrong", pass.name);
        if fires {
            self.apply(pass.name, pass.run);
        }
        fires
    }
}

#[cfg(test)]
mod tests {
    use fulgurite_spec::Code;

    use super::*;

    pub(crate) const KERNEL: &str = "fulgurite 1
kernel @k workgroup(64, 1, 1) {
  buffer %y: read_write f32[]
  %i = global_id.x
  %a = load %y[%i]
  %b = mul %a, %a
  %c = fma[exact] %b, %b, %a
  %s = select true, %c, %b
  %n = add %i, 1u32
  store %y[%n], %s
}
";

    pub(crate) fn kernel() -> Arc<VerifiedKernel> {
        Arc::new(fulgurite_ir::text::parse(KERNEL).and_then(fulgurite_ir::verify).unwrap())
    }

    fn parsed(text: &str) -> Kernel {
        fulgurite_ir::text::parse(text).unwrap()
    }

    /// Returns a kernel that stores `%r`, computed from a loaded `%x` of type `ty`.
    pub(crate) fn stored(ty: &str, body: &str) -> String {
        format!(
            "fulgurite 1\nkernel @k workgroup(1, 1, 1) {{\n  buffer %b: read_write {ty}[]\n  %x = load %b[0u32]\n  \
             {body}\n  store %b[0u32], %r\n}}\n"
        )
    }

    /// Returns the text of a kernel after a pass, which must change it.
    pub(crate) fn after(text: &str, pass: &Pass) -> String {
        fulgurite_ir::verify(parsed(text)).expect("it is valid before");
        let mut kernel = parsed(text);
        assert!((pass.fires)(&kernel) && (pass.run)(&mut kernel) > 0, "{text}");
        let kernel = fulgurite_ir::verify(kernel).expect("it is valid after");
        fulgurite_ir::text::print(&kernel)
    }

    /// Checks that a pass leaves a kernel as it is.
    pub(crate) fn unchanged(text: &str, pass: &Pass) {
        let mut kernel = parsed(text);
        let before = fulgurite_ir::text::print(&kernel);
        fulgurite_ir::verify(kernel.clone()).expect("it is valid");
        assert!(!(pass.fires)(&kernel) && (pass.run)(&mut kernel) == 0, "{text}");
        assert_eq!(fulgurite_ir::text::print(&kernel), before);
    }

    /// Runs the passes and returns the text of the kernel and the names of the passes that changed it.
    fn run(options: &PassOptions) -> Result<(String, Vec<&'static str>), Refusal> {
        let kernel = kernel();
        let (changed, report) = optimize(&kernel, options)?;
        let [before, after] = [&kernel, &changed].map(|kernel| fulgurite_ir::text::print(kernel));
        assert_eq!(before == after, report.changes.is_empty(), "{report}");
        assert_eq!(before == after, Arc::ptr_eq(&kernel, &changed));
        Ok((after, report.changes.iter().map(|(pass, _)| *pass).collect()))
    }

    #[test]
    fn passes_run_in_order_and_report_what_they_changed() {
        let options = PassOptions {
            workgroup: Some([128, 2, 1]),
            fast_math: true,
            float_budget: None,
            ..PassOptions::default()
        };
        let (text, passes) = run(&options).unwrap();
        assert_eq!(passes, ["workgroup", "fast_math"]);
        let expected = KERNEL.replace("(64, 1, 1)", "(128, 2, 1)").replace("mul %a", "mul[fast] %a");
        assert_eq!(text, fulgurite_ir::text::print(&fulgurite_ir::text::parse(&expected).unwrap()));
        assert!(run(&PassOptions::default()).unwrap().1.is_empty());
    }

    #[test]
    fn a_changed_kernel_is_verified() {
        let options = PassOptions { workgroup: Some([0, 1, 1]), ..PassOptions::default() };
        let Err(Refusal::Invalid(problems)) = run(&options) else { panic!("it is malformed") };
        assert_eq!(problems.all()[0].code, Code::BadWorkgroup);
    }

    #[test]
    fn the_float_budget_holds_for_the_changed_kernel() {
        let strict = PassOptions { float_budget: Some(0), ..PassOptions::default() };
        assert!(run(&strict).is_ok());
        let fast = PassOptions { fast_math: true, ..strict };
        assert!(matches!(run(&fast), Err(Refusal::Unsupported { .. })), "a fast op has no bound");
    }
}
