//! Large and linear launches: more workgroups than a device accepts at once appear to the kernel as one grid.

use fulgurite_hal::{Binding, Error, Launch, LaunchOptions};
use fulgurite_spec::{Code, Lanes, Type};

use crate::harness::Harness;
use crate::suites::bytes;

/// Progress steps of `run`.
pub(super) const COUNT: usize = 3;

const TEXT: &str = "fulgurite 1
kernel @linear workgroup(3, 1, 1) {
  buffer %out: write u32x4[]
  buffer %sum: read_write u32[]
  %i = global_id.x
  %g = workgroup_id.x
  %n = num_workgroups.x
  %l = local_index
  %y = global_id.y
  %z = num_workgroups.y
  %m = mul %l, 16u32
  %a = add %m, %y
  %b = mul %a, 16u32
  %c = add %b, %z
  %r = construct %i, %g, %n, %c
  store %out[%i], %r
  atomic.add %sum[0u32], 1u32
}
";

pub(super) fn run(harness: &mut Harness<'_>, step: &mut dyn FnMut()) {
    step();
    ids(harness);
    step();
    axes(harness);
    step();
    refused(harness);
}

const COUNTED: &str = "fulgurite 1
kernel @counted workgroup(1, 1, 1) {
  buffer %out: read_write u32[]
  %x = workgroup_id.x
  %y = workgroup_id.y
  %z = workgroup_id.z
  %nx = num_workgroups.x
  %ny = num_workgroups.y
  %nz = num_workgroups.z
  %a = mul %z, %ny
  %b = add %a, %y
  %c = mul %b, %nx
  %i = add %c, %x
  %j = add %i, 1u32
  atomic.add %out[0u32], 1u32
  store %out[%j], %i
}
";

/// Grids that exceed the device's limit along each axis.
fn axes(harness: &mut Harness<'_>) {
    let group = "grids beyond the largest";
    let Some(executable) = harness.compile(group, COUNTED) else { return };
    let most = harness.backend().snapshot().limits.max_workgroup_count;
    for axis in 0..3 {
        let beyond = if most[axis] <= 65_535 { most[axis] + 1 } else { 65_536 };
        for (count, others) in [(beyond - 1, 1), (beyond, 1), (beyond, 2)] {
            let mut grid = [others; 3];
            grid[axis] = count;
            let all = grid.iter().product::<u32>();
            // An extra element that no invocation writes.
            let contents = [[[0; 4].as_slice(), &vec![0xa5; (all as usize + 1) * 4]].concat()];
            let options = LaunchOptions::workgroups(grid);
            let Some(after) = harness.launch(group, &executable, &contents, &[], &options) else { return };
            let expected: Vec<u32> = [all].into_iter().chain(0..all).chain([0xa5a5_a5a5]).collect();
            harness.elements(group, Type::U32, [&bytes(&expected), &after[0]], |i| {
                format!("a grid of {grid:?}: how many ran, then each one's number; element {i}")
            });
        }
    }
}

fn ids(harness: &mut Harness<'_>) {
    let group = "ids of linear launches";
    let Some(executable) = harness.compile(group, TEXT) else { return };
    let most = harness.backend().snapshot().limits.max_workgroup_count[0];
    // Beyond the device's limit if that is small enough to test: by one workgroup, and by a factor of more than two.
    let beyond = if most <= 65_535 { [most + 1, 2 * most + 17] } else { [65_536, 131_087] };
    let mut counts = vec![0, 1, 2, 3, 4, 1000];
    counts.extend(beyond.map(|workgroups| u64::from(workgroups) * 3 - 1));
    for count in counts {
        let workgroups = count.div_ceil(3) as u32;
        let all = workgroups as usize * 3;
        // An extra element that no invocation writes.
        let contents = [vec![0xa5; (all + 1) * 16], vec![0; 4]];
        let options = LaunchOptions::linear(count);
        let Some(after) = harness.launch(group, &executable, &contents, &[], &options) else { return };
        let mut expected: Vec<u32> =
            (0..all as u32).flat_map(|i| [i, i / 3, workgroups, i % 3 * 256 + 1]).collect();
        expected.extend([0xa5a5_a5a5; 4]);
        let ty = Type::U32.with_lanes(Lanes::Four);
        harness.elements(group, ty, [&bytes(&expected), &after[0]], |i| {
            format!("{count} invocations, invocation {i}: global_id, workgroup_id, num_workgroups, others")
        });
        harness.elements(group, Type::U32, [&bytes(&[all as u32]), &after[1]], |_| {
            format!("{count} invocations, how many ran")
        });
    }
}

/// Linear launches that must be refused.
fn refused(harness: &mut Harness<'_>) {
    let group = "refused linear launches";
    let cases = [
        ("workgroup(3, 1, 1)", (1u64 << 32) + 1, Some(Code::NotLinear)),
        ("workgroup(4, 1, 1)", u64::MAX, Some(Code::NotLinear)),
        ("workgroup(3, 1, 1)", 1 << 32, Some(Code::NotLinear)),
        ("workgroup(2, 2, 1)", 8, Some(Code::NotLinear)),
        ("workgroup(2, 1, 2)", 8, Some(Code::NotLinear)),
        ("workgroup(4, 1, 1)", 8, None),
    ];
    for (workgroup, count, wanted) in cases {
        let text = format!(
            "fulgurite 1\nkernel @k {workgroup} {{\n  buffer %x: write u32[]\n  %i = global_id.x\n  store %x[%i], %i\n}}\n"
        );
        let Some(executable) = harness.compile(group, &text) else { return };
        let backend = std::sync::Arc::clone(harness.backend());
        let result = backend.allocate(64).and_then(|buffer| {
            let (limits, buffers) = (&backend.snapshot().limits, [buffer]);
            Launch::check(
                executable.kernel(),
                limits,
                Binding::each(&buffers),
                &[],
                &LaunchOptions::linear(count),
            )
            .map(|_| ())
        });
        let actual = result.err().as_ref().map(Error::code);
        harness.case(group, actual == wanted, || {
            [format!("{workgroup}, {count} invocations"), format!("{wanted:?}"), format!("{actual:?}")]
        });
    }
}
