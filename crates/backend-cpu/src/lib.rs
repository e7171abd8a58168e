//! The CPU backend.

/// Registration.
pub fn registration() -> fulgurite_driver_core::Registration {
    fulgurite_driver_core::Registration::new("cpu", 50, || {
        Err(fulgurite_driver_core::Error::Unavailable {
            backend: "cpu".into(),
            reason: "not written yet".into(),
        })
    })
}
