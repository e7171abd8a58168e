//! The check `least_profile`: refuses a kernel that needs a capability which not every device has.

use fulgurite_ir::Kernel;
use fulgurite_ir::analysis::needs;

use crate::Refusal;

pub(crate) fn check(kernel: &Kernel) -> Result<(), Refusal> {
    let needs = needs(kernel);
    let names: Vec<&str> = needs.iter().map(|capability| capability.name()).collect();
    match names[..] {
        [] => Ok(()),
        _ => Err(Refusal::unsupported(
            format!("the capabilities `{}`, and the least profile", names.join("`, `")),
            "them only without that profile",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{KERNEL, kernel};

    #[test]
    fn a_kernel_with_needs_is_refused_and_one_without_is_not() {
        let error = check(&kernel()).unwrap_err();
        assert!(error.to_string().contains("exact_fma"), "{error}");
        let least = KERNEL.replace("fma[exact]", "fma");
        let least = fulgurite_ir::text::parse(&least).and_then(fulgurite_ir::verify).unwrap();
        assert_eq!(check(&least), Ok(()));
    }
}
