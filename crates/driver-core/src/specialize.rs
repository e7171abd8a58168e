//! Changes to a kernel that compile options ask for, before a backend sees it.

use std::sync::Arc;

use fulgurite_hal::{CompileOptions, Error, MathMode, TargetProfile};
use fulgurite_ir::{FloatMode, InstKind, VerifiedKernel};
use fulgurite_spec::device::DeviceSnapshot;
use fulgurite_spec::{FloatContract, Op, Semantics};

/// Returns `kernel` with the changes that `options` ask for on `device`, or the same kernel if there are none.
pub(crate) fn specialize(
    kernel: &Arc<VerifiedKernel>,
    options: &CompileOptions,
    device: &DeviceSnapshot,
) -> Result<Arc<VerifiedKernel>, Error> {
    let lanes = device.limits.subgroup_size;
    if let Some(size) = options.subgroup_size.filter(|size| *size != lanes) {
        return Err(Error::unsupported(format!("subgroups of {size}"), format!("subgroups of {lanes}")));
    }
    if options.profile == Some(TargetProfile::Least) {
        refuse_needs(kernel)?;
    }
    let workgroup = options.workgroup.filter(|size| *size != kernel.workgroup);
    let fast = options.math == Some(MathMode::Fast);
    let special =
        if workgroup.is_some() || fast { changed(kernel, workgroup, fast)? } else { Arc::clone(kernel) };
    if let Some(ulp) = options.float_budget {
        crate::budget::check(&special, ulp)?;
    }
    Ok(special)
}

/// Refuses a kernel that needs capabilities beyond the least device.
fn refuse_needs(kernel: &VerifiedKernel) -> Result<(), Error> {
    let needs = fulgurite_ir::analysis::needs(kernel);
    let names: Vec<&str> = needs.iter().map(|capability| capability.name()).collect();
    match names[..] {
        [] => Ok(()),
        _ => Err(Error::unsupported(
            format!("the capabilities `{}`, and the least profile", names.join("`, `")),
            "them only without that profile",
        )),
    }
}

/// Returns `kernel` with another workgroup size, and with fast math.
fn changed(
    kernel: &Arc<VerifiedKernel>,
    workgroup: Option<[u32; 3]>,
    fast: bool,
) -> Result<Arc<VerifiedKernel>, Error> {
    let mut changed = (***kernel).clone();
    if let Some(size) = workgroup {
        changed.workgroup = size;
    }
    for i in 0..changed.insts.len() {
        let inst = &changed.insts[i];
        let float = inst.results.iter().any(|result| changed.values[result.index()].ty.scalar.is_float());
        if let InstKind::Scalar { op, mode: mode @ FloatMode::Default, .. } = &mut changed.insts[i].kind
            && fast
            && float
            && rounds(*op)
        {
            *mode = FloatMode::Fast;
        }
    }
    Ok(Arc::new(fulgurite_ir::verify(changed)?))
}

/// Returns whether a float result of `op` may be inexact.
fn rounds(op: Op) -> bool {
    match op.info().semantics {
        Semantics::Scalar { float, .. } => {
            !matches!(float, FloatContract::Exact | FloatContract::ExactEitherZero)
        }
        Semantics::Special(_) => false,
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
  %s = select true, %c, %b
  %n = add %i, 1u32
  store %y[%n], %s
}
";

    fn text(options: &CompileOptions) -> Result<String, Error> {
        let kernel = Arc::new(fulgurite_ir::verify(fulgurite_ir::text::parse(KERNEL)?)?);
        let device = DeviceSnapshot::complete("test", "none", "none", 32);
        let special = specialize(&kernel, options, &device)?;
        let [before, after] = [&kernel, &special].map(|kernel| fulgurite_ir::text::print(kernel));
        assert_eq!(Arc::ptr_eq(&kernel, &special), before == after);
        Ok(after)
    }

    #[test]
    fn options_change_what_they_name_and_nothing_else() {
        let none = CompileOptions::default();
        let same = text(&none).unwrap();
        assert_eq!(text(&none.clone().subgroup_size(32).workgroup([64, 1, 1])).unwrap(), same);
        let wider = text(&none.clone().workgroup([128, 2, 1])).unwrap();
        assert_eq!(wider, same.replace("workgroup(64, 1, 1)", "workgroup(128, 2, 1)"));
        let fast = text(&none.clone().math(MathMode::Fast)).unwrap();
        // What is to be rounded once stays so, and integers have no mode.
        assert_eq!(fast, same.replace("mul %a, %a", "mul[fast] %a, %a"));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let none = CompileOptions::default();
        assert_eq!(text(&none.clone().subgroup_size(64)).unwrap_err().code(), Code::Unsupported);
        assert_eq!(text(&none.clone().workgroup([0, 1, 1])).unwrap_err().code(), Code::BadWorkgroup);
        let least = text(&none.clone().profile(TargetProfile::Least)).unwrap_err();
        assert!(least.to_string().contains("exact_fma"), "{least}");
        assert!(text(&none.clone().profile(TargetProfile::Device)).is_ok());
        assert!(text(&none.clone().float_budget(0)).is_ok());
        let fast = none.float_budget(0).math(MathMode::Fast);
        assert_eq!(text(&fast).unwrap_err().code(), Code::Unsupported, "what is made fast has no bound");
    }
}
