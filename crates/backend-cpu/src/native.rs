//! Native code: verified kernels as machine code of the host.
//!
//! [`lower`] turns a kernel into a lane program, [`registers`] assigns machine registers, [`x64`] emits the code,
//! [`memory_map`] maps and calls it, and [`run`] spreads a launch over threads. A kernel that [`supports`] does not
//! list runs in the interpreter.

mod lower;
#[expect(unsafe_code, reason = "maps executable memory and calls generated code")]
mod memory_map;
mod program;
mod registers;
mod run;
mod shape;
mod supports;
mod tally;
mod x64;

use std::sync::Arc;

use fulgurite_ir::VerifiedKernel;

use crate::{Interpreted, Native};
use program::Program;
pub(crate) use run::NativeKernel;
use supports::unsupported;
use x64::Target;

/// Returns the target that `native` selects on this machine, or `None` for the interpreter.
fn target(native: Native) -> Option<Target> {
    let has_avx2 = || {
        is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c")
            && is_x86_feature_detected!("bmi1")
            && is_x86_feature_detected!("bmi2")
    };
    let has_avx512 = || {
        has_avx2()
            && is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
    };
    match native {
        Native::Interpreter => None,
        Native::Avx2 => has_avx2().then_some(Target::Avx2),
        Native::Avx512 => has_avx512().then_some(Target::Avx512),
        Native::Auto => target(Native::Avx512).or_else(|| target(Native::Avx2)),
    }
}

/// Returns the code that `native` selects on this machine.
pub(crate) fn selected(native: Native) -> Native {
    match target(native) {
        None => Native::Interpreter,
        Some(Target::Avx2) => Native::Avx2,
        Some(Target::Avx512) => Native::Avx512,
    }
}

/// Returns the number of lanes of a vector of the code that `native` selects on this machine, if that is native code.
pub(crate) fn lanes(native: Native) -> Option<u32> {
    target(native).map(Target::lanes)
}

/// Generates the code of a kernel.
pub(crate) fn machine_code(kernel: &VerifiedKernel, native: Native) -> Result<Vec<u8>, Interpreted> {
    let (program, target) = program(kernel, native)?;
    x64::emit(&program, target).map(|machine| machine.code).ok_or(Interpreted::Unprofitable)
}

fn program(kernel: &VerifiedKernel, native: Native) -> Result<(Program, Target), Interpreted> {
    let target = target(native).ok_or(Interpreted::Machine)?;
    if let Some(what) = unsupported(kernel, target.lanes()) {
        return Err(Interpreted::Unsupported(what));
    }
    let program = lower::lower(kernel, target).ok_or(Interpreted::Unprofitable)?;
    Ok((program, target))
}

/// Compiles a kernel to native code. Returns `None` if it runs in the interpreter.
pub(crate) fn compile(kernel: &Arc<VerifiedKernel>, native: Native) -> Option<NativeKernel> {
    let (mut program, target) = program(kernel, native).ok()?;
    let machine = x64::emit(&program, target)?;
    // A process that may not map executable memory interprets.
    let mut compiled = NativeKernel::new(kernel.clone(), machine).ok()?;
    let tallies = tally::tallies(kernel);
    if !tallies.is_empty() {
        program.unlock(&tally::buffers(&tallies));
        // Without this code, all launches take the other.
        let _ = x64::emit(&program, target).map(|machine| compiled.tally(tallies, machine));
    }
    Some(compiled)
}

#[cfg(test)]
mod tests;
