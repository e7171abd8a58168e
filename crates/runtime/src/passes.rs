//! The passes that compile options ask for on a device.

use std::sync::Arc;

use fulgurite_hal::{CompileOptions, Error, MathMode, OptimizationLevel, TargetProfile};
use fulgurite_ir::VerifiedKernel;
use fulgurite_passes::{PassOptions, Refusal};
use fulgurite_spec::device::DeviceSnapshot;

/// Returns `kernel` as the backend gets it. It is the same kernel if the passes change nothing.
pub(crate) fn optimize(
    kernel: &Arc<VerifiedKernel>,
    options: &CompileOptions,
    device: &DeviceSnapshot,
) -> Result<Arc<VerifiedKernel>, Error> {
    let is_optimized = match options.optimization {
        Some(OptimizationLevel::Full) => true,
        Some(_) => false,
        None => !device.optimizes,
    };
    run(kernel, options, device, is_optimized)
}

/// Returns `kernel` with what the options change in its meaning, but not optimized.
pub(crate) fn adapt(
    kernel: &Arc<VerifiedKernel>,
    options: &CompileOptions,
    device: &DeviceSnapshot,
) -> Result<Arc<VerifiedKernel>, Error> {
    run(kernel, options, device, false)
}

fn run(
    kernel: &Arc<VerifiedKernel>,
    options: &CompileOptions,
    device: &DeviceSnapshot,
    is_optimized: bool,
) -> Result<Arc<VerifiedKernel>, Error> {
    let mut passes = PassOptions::default();
    passes.workgroup = options.workgroup;
    passes.optimize = is_optimized;
    passes.fast_math = options.math == Some(MathMode::Fast);
    passes.least_profile = options.profile == Some(TargetProfile::Least);
    passes.float_budget = options.float_budget;
    passes.subgroup_size = options.subgroup_size;
    passes.device_subgroup_size = Some(device.limits.subgroup_size);
    passes.device_optimizes = device.optimizes;
    match fulgurite_passes::optimize(kernel, &passes) {
        Ok((optimized, report)) => {
            tracing::debug!(%report, "passes");
            Ok(optimized)
        }
        Err(Refusal::Invalid(problems)) => Err(Error::Invalid(problems)),
        Err(Refusal::Unsupported { needs, have }) => Err(Error::unsupported(needs, have)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fulgurite_spec::Code;

    const KERNEL: &str = "fulgurite 1
kernel @k workgroup(64, 1, 1) {
  buffer %y: read_write f32[]
  %i = global_id.x
  %a = load %y[%i]
  %b = mul %a, %a
  %c = fma[exact] %b, %b, %a
  store %y[%i], %c
}
";

    fn text(options: &CompileOptions) -> Result<String, Error> {
        let kernel = Arc::new(fulgurite_ir::verify(fulgurite_ir::text::parse(KERNEL)?)?);
        let device = DeviceSnapshot::complete("test", "none", "none", 32);
        Ok(fulgurite_ir::text::print(&*optimize(&kernel, options, &device)?))
    }

    #[test]
    fn each_option_reaches_its_pass() {
        let none = CompileOptions::default();
        let same = text(&none).unwrap();
        assert_eq!(text(&none.clone().subgroup_size(32).workgroup([64, 1, 1])).unwrap(), same);
        let wider = text(&none.clone().workgroup([128, 2, 1])).unwrap();
        assert_eq!(wider, same.replace("workgroup(64, 1, 1)", "workgroup(128, 2, 1)"));
        let fast = text(&none.clone().math(MathMode::Fast)).unwrap();
        assert_eq!(fast, same.replace("mul %a, %a", "mul[fast] %a, %a"));
        let doubled = KERNEL.replace("store %y[%i], %c", "%d = mul %a, %a\n  store %y[%i], %d");
        let kernel = Arc::new(fulgurite_ir::text::parse(&doubled).and_then(fulgurite_ir::verify).unwrap());
        let device = DeviceSnapshot::complete("test", "none", "none", 32);
        let full = none.clone().optimization(OptimizationLevel::Full);
        let optimized = fulgurite_ir::text::print(&optimize(&kernel, &full, &device).unwrap());
        assert!(optimized.contains("store %y[%i], %b") && !optimized.contains("fma"), "{optimized}");
        // Without a level, if the device does not optimize.
        let mut simple = device.clone();
        simple.optimizes = false;
        let by_default = fulgurite_ir::text::print(&optimize(&kernel, &none, &simple).unwrap());
        assert_eq!(by_default, optimized);
        let divides = KERNEL.replace("store %y[%i]", "%j = div %i, 8u32\n  store %y[%j]");
        let kernel = Arc::new(fulgurite_ir::text::parse(&divides).and_then(fulgurite_ir::verify).unwrap());
        for (device, op) in [(&device, "div %i, 8u32"), (&simple, "shr %i, 3u32")] {
            let text = fulgurite_ir::text::print(&optimize(&kernel, &full, device).unwrap());
            assert!(text.contains(op), "{text}");
        }
        let kernel = Arc::new(fulgurite_ir::text::parse(&doubled).and_then(fulgurite_ir::verify).unwrap());
        let given = optimize(&kernel, &none.clone().optimization(OptimizationLevel::None), &simple).unwrap();
        assert!(Arc::ptr_eq(&given, &kernel));
        assert_eq!(text(&none.clone().subgroup_size(64)).unwrap_err().code(), Code::Unsupported);
        assert_eq!(text(&none.clone().workgroup([0, 1, 1])).unwrap_err().code(), Code::BadWorkgroup);
        let least = text(&none.clone().profile(TargetProfile::Least)).unwrap_err();
        assert_eq!(least.code(), Code::Unsupported);
        assert_eq!(text(&none.clone().profile(TargetProfile::Device)).unwrap(), same);
        assert_eq!(text(&none.clone().float_budget(0)).unwrap(), same);
        let fast = none.float_budget(0).math(MathMode::Fast);
        assert_eq!(text(&fast).unwrap_err().code(), Code::Unsupported, "a fast op has no bound");
    }
}
