//! Validation of the SPIR-V that kernels of the suites and of `robust` lower to.
//!
//! With the feature `spirv-val`, every kernel is emitted for the least device and for one with every option
//! and quirk, and a current SPIR-V validator judges both. Without it, nothing is checked here and the reports
//! say nothing of it.

/// Emits `kernel` for both profiles and validates.
///
/// # Errors
/// What the validator says, with the profile.
#[cfg(feature = "spirv-val")]
pub(crate) fn validate(kernel: &fulgurite_ir::VerifiedKernel) -> Result<(), String> {
    use fulgurite_spirv::Profile;
    use spirv_tools::val::Validator;

    let validator = spirv_tools::val::create(Some(spirv_tools::TargetEnv::Vulkan_1_3));
    for profile in [Profile::least(), Profile::fullest()] {
        if fulgurite_spirv::unsupported(kernel, &profile).is_some() {
            continue;
        }
        let module = fulgurite_spirv::emit(kernel, &profile);
        validator.validate(&module.words, None).map_err(|e| format!("spirv-val, {profile:?}: {e}"))?;
    }
    Ok(())
}

/// Does nothing: the feature `spirv-val` is off.
#[cfg(not(feature = "spirv-val"))]
pub(crate) fn validate(_: &fulgurite_ir::VerifiedKernel) -> Result<(), String> {
    Ok(())
}
