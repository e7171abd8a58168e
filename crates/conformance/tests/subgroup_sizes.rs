//! The suite `subgroup` on the reference at every supported subgroup size; a device has only one.

use std::sync::Arc;

use fulgurite_backend_reference::{ReferenceDevice, ReferenceOptions};
use fulgurite_conformance::{Level, Options, Suite};
use fulgurite_hal as hal;

#[test]
fn the_reference_passes_at_every_size() {
    for size in [1, 2, 4, 8, 16, 64, 128] {
        let options = ReferenceOptions::default().subgroup_size(size);
        let backend: Arc<dyn hal::Device> = Arc::new(ReferenceDevice::new(options));
        let mut options = Options::new(Level::Smoke, u64::from(size));
        options.suites = vec![Suite::Subgroup];
        let report = fulgurite_conformance::run(&backend, &options, &mut |_, _, _| {});
        let suite = &report.suites[0];
        assert_eq!(suite.failures, [], "subgroups of {size}");
        assert!(suite.unsupported == 0 && suite.min_per_op_type >= 100, "{} cases", suite.min_per_op_type);
    }
}
