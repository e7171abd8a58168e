//! The backends of this build, by Cargo feature: the only place that names one.

use fulgurite_driver_core::Registry;

/// Returns a registry of the backends in this build, by Cargo feature. Opens no device.
///
/// ```
/// for backend in fulgurite::registry().list() {
///     println!("{} of rank {}", backend.id(), backend.rank());
/// }
/// for adapter in fulgurite::registry().adapters().adapters {
///     println!("{}: {} ({})", adapter.id, adapter.declared.device, adapter.kind);
/// }
/// ```
pub fn registry() -> Registry {
    #[allow(unused_mut, reason = "with no backend feature there is nothing to register")]
    let mut registry = Registry::new();
    // Ids are distinct, so registration cannot fail.
    #[cfg(feature = "vulkan")]
    let _ = registry.register(fulgurite_backend_vulkan::backend());
    #[cfg(feature = "cpu")]
    let _ = registry.register(fulgurite_backend_cpu::backend());
    #[cfg(feature = "reference")]
    let _ = registry.register(fulgurite_backend_reference::backend());
    registry
}
