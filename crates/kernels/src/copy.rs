//! The kernel that measures a device's memory: calibration and the benchmarks time the same copy.

/// Kernel text that copies `%x` to `%y`, 16 bytes per invocation. Both buffers must have at least as many elements as
/// the grid has invocations, for which `LaunchOptions::linear` takes their number; it may exceed the largest grid.
pub const COPY: &str = "fulgurite 1
kernel @copy workgroup(256, 1, 1) {
  buffer %x: read u32x4[]
  buffer %y: write u32x4[]
  %i = global_id.x
  %e = load %x[%i]
  store %y[%i], %e
}
";
