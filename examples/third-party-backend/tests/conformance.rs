//! The suites on this backend, unchanged, reached as any program reaches it: through a registry.
#![allow(clippy::unwrap_used, reason = "this is a test")]

use fulgurite_conformance::{Level, Options, Suite};
use fulgurite_driver_core::{Choice, Registry};

fn run(suite: Suite) {
    let mut registry = Registry::new();
    registry.register(third_party_backend::registration()).unwrap();
    let route = registry.route(&Choice::Exactly(third_party_backend::ID.to_owned())).unwrap();
    let mut options = Options::new(Level::Smoke, 1);
    options.suites = vec![suite];
    let report = fulgurite_conformance::run(route.backend(), &options, &mut |_, _, _| {});
    assert_eq!(report.id, third_party_backend::ID);
    let failures: Vec<_> = report.suites.iter().flat_map(|suite| &suite.failures).collect();
    assert!(report.ok(), "{failures:#?}");
    assert_eq!(report.suites.iter().map(|suite| suite.unsupported).sum::<u64>(), 0);
    assert!(report.cases() > 1000, "{} cases", report.cases());
}

#[test]
fn driver() {
    run(Suite::Driver);
}

#[test]
fn memory() {
    run(Suite::Memory);
}

#[test]
fn ops() {
    run(Suite::Ops);
}
