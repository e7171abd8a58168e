//! Validation of the SPIR-V of all kernels of the suites and of `robust`.
//!
//! With the feature `spirv-val`, every kernel is emitted for the minimal device and for one with every option and
//! quirk, and a current SPIR-V validator checks both modules. Without it, nothing is validated, and reports do not
//! mention validation.

/// Emits `kernel` for both profiles and validates the modules.
///
/// # Errors
/// The validator's message and the profile.
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

/// Does nothing because the feature `spirv-val` is disabled.
#[cfg(not(feature = "spirv-val"))]
pub(crate) fn validate(_: &fulgurite_ir::VerifiedKernel) -> Result<(), String> {
    Ok(())
}
