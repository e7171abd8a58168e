//! The suite `passes`: run times of kernels after the passes, compared with those of the kernels as they are given.

use std::sync::Arc;

use anyhow::Context as _;
use fulgurite::autotune::Prepared;
use fulgurite::kernels::families;
use fulgurite::{CompileOptions, LaunchOptions, OptimizationLevel};
use fulgurite_runtime::Device;

use super::Session;
use super::kernels::{TIMEOUT, inputs, size, work};
use crate::measurement::Amount;
use crate::problems::{NAMES, Problem, Scale, problem, rivals, saxpy_implicit};
use crate::run::Loaded;
use crate::target::Target;
use crate::timing::{Work, by_itself};

/// The name of the peer.
const AS_GIVEN: &str = "as given";

pub(super) fn run(session: &mut Session<'_>, target: &Target) -> anyhow::Result<()> {
    let scale = session.scale(target)?;
    for name in NAMES {
        if session.may_want(name) {
            named(session, target, problem(name, scale));
        }
    }
    if session.may_want("saxpy") {
        named(session, target, saxpy_implicit(scale));
    }
    for rival in rivals() {
        // An interpreter takes minutes for the larger ones.
        let scale = scale.min(Scale::Quick);
        let name = rival.name(scale);
        session.each(&name, |session| measure(session, target, &name, rival.make(scale).0));
    }
    let full = CompileOptions::default().optimization(OptimizationLevel::Full);
    // Compiles both forms without running passes, which is not the default on devices that do not optimize.
    let mut unchanged = CompileOptions::default();
    if !target.backend.snapshot().optimizes {
        unchanged = unchanged.optimization(OptimizationLevel::None);
    }
    let device = Device::new(target.backend.clone(), unchanged, LaunchOptions::default());
    for listed in families() {
        let problem = size(listed.id, listed.problems, scale);
        let name = format!("family {}, {problem}", listed.id);
        session.each(&name, |session| {
            let instance = listed.instance(target.backend.snapshot(), problem)?;
            let plan = instance.candidates[instance.heuristic].plan()?;
            let given = Prepared::new(&device, plan.clone())?;
            let mut optimized = plan.clone();
            for step in &mut optimized.steps {
                step.kernel = target.device.optimized(&step.kernel, &full)?;
            }
            let is_changed =
                optimized.steps.iter().zip(&plan.steps).any(|(a, b)| !Arc::ptr_eq(&a.kernel, &b.kernel));
            if !is_changed {
                session.notes.push(format!("passes: {name}: no pass changes it"));
                return Ok(());
            }
            let after = Prepared::new(&device, optimized)?;
            // The same for both, because where buffers lie in memory may matter.
            let buffers = inputs(&device, &instance)?;
            let options = LaunchOptions::default().timeout(TIMEOUT);
            let mut ours = by_itself(|| Ok(after.timed(&buffers, &options)?));
            let mut others = by_itself(|| Ok(given.timed(&buffers, &options)?));
            compare(session, &name, work(&instance), &mut ours, &mut others)
        });
    }
    Ok(())
}

/// Measures a problem, if there is one of this name, under its name and size.
fn named(session: &mut Session<'_>, target: &Target, problem: Option<Problem>) {
    let Some(problem) = problem else { return };
    let name = format!("{}, {}", problem.name, problem.size);
    session.each(&name, |session| measure(session, target, &name, problem));
}

/// Measures a problem whose kernels the passes change.
fn measure(session: &mut Session<'_>, target: &Target, name: &str, problem: Problem) -> anyhow::Result<()> {
    let loaded = Loaded::new(target, problem)?;
    let Some(after) = loaded.optimized()? else {
        session.notes.push(format!("passes: {name}: no pass changes it"));
        return Ok(());
    };
    let given = loaded.given()?;
    loaded.check(&given)?;
    loaded.check(&after).context("after the passes")?;
    let amount = loaded.problem.work.amount();
    let mut ours = by_itself(|| loaded.once(&after));
    let mut others = by_itself(|| loaded.once(&given));
    compare(session, name, amount, &mut ours, &mut others)
}

fn compare<'w>(
    session: &mut Session<'_>,
    name: &str,
    amount: Amount,
    ours: &'w mut Work<'w>,
    others: &'w mut Work<'w>,
) -> anyhow::Result<()> {
    session.time(name, amount, ours, Some((AS_GIVEN, others)))?;
    Ok(())
}
