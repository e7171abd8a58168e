//! Launches that do not end: each in a child process with a deadline, because a driver may never let go of a
//! process whose device hangs. Only kernels that our compiler emitted.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "this is a test"
)]

mod common;

use std::time::{Duration, Instant};

use common::{COUNT, in_child, open, scalar, words};
use fulgurite_driver_core::{Backend, DeviceError, Error, LaunchOptions};
use fulgurite_spec::Code;

/// Goes on for ever, and no compiler can tell.
const ENDLESS: &str = "fulgurite 1
kernel @endless workgroup(1, 1, 1) {
  buffer %x: read_write u32[]

  %last = while carry(%i = 1u32) {
    %more = ne %i, 0u32
    condition %more
  } do {
    %double = shl %i, 1u32
    %v = load %x[0u32]
    %or = or %double, %v
    yield %or
  }
  store %x[0u32], %last
}
";

#[test]
fn an_endless_launch_times_out_and_the_device_goes_on() {
    in_child("an_endless_launch_times_out_and_the_device_goes_on", &[], || {
        let Some(vulkan) = open() else { return };
        let executable = vulkan.compile(ENDLESS);
        let buffers = [vulkan.upload(&1u32.to_ne_bytes())];
        let timeout = Duration::from_secs(1);
        let start = Instant::now();
        let error = vulkan
            .launch(&*executable, &buffers, &[], &LaunchOptions::workgroups([3, 1, 1]).timeout(timeout))
            .unwrap_err();
        match (vulkan.backend.snapshot().limits.loop_limit, error) {
            (None, Error::Device(DeviceError::Timeout(given))) => {
                assert_eq!(given, timeout);
                let took = start.elapsed();
                assert!(took >= timeout && took < timeout + Duration::from_secs(3), "{took:?}");
            }
            (Some(limit), Error::Device(DeviceError::LoopLimit { invocation, limit: reported })) => {
                assert!(invocation < 3 && reported == limit, "{invocation} {reported}");
            }
            (_, other) => panic!("{other}"),
        }

        let count = vulkan.compile(COUNT);
        let out = [vulkan.backend.allocate(4).unwrap()];
        vulkan.launch(&*count, &out, &[scalar(1000)], &LaunchOptions::workgroups([1, 1, 1])).unwrap();
        assert_eq!(words(&*out[0]), [1000]);
        drop((executable, count, buffers, out));
        vulkan.finish();
    });
}

/// Goes on for ever in step: whoever left alone would leave the others at the barrier.
const ENDLESS_IN_STEP: &str = "fulgurite 1
kernel @endless_in_step workgroup(64, 1, 1) {
  buffer %x: read_write u32[]
  shared %s: u32[64]

  %l = local_index
  while {
    condition true
  } do {
    %v = load %s[%l]
    %w = add %v, 1u32
    store %s[%l], %w
    barrier
    yield
  }
  store %x[%l], 1u32
}
";

#[test]
fn a_workgroup_that_meets_at_barriers_for_ever_is_stopped_together() {
    in_child("a_workgroup_that_meets_at_barriers_for_ever_is_stopped_together", &[], || {
        let Some(vulkan) = open() else { return };
        let executable = vulkan.compile(ENDLESS_IN_STEP);
        let buffers = [vulkan.upload(&[0; 256])];
        let options = LaunchOptions::workgroups([3, 1, 1]).timeout(Duration::from_secs(1));
        let error = vulkan.launch(&*executable, &buffers, &[], &options).unwrap_err();
        match vulkan.backend.snapshot().limits.loop_limit {
            None => assert_eq!(error.code(), Code::Timeout, "{error}"),
            // The driver's own end may come before the timeout, or after it.
            Some(_) => assert!([Code::Timeout, Code::LoopLimit].contains(&error.code()), "{error}"),
        }
        drop((executable, buffers));
        vulkan.finish();
    });
}

/// Would take years, but no loop runs more than 1,000 iterations at a time.
const NESTED: &str = "fulgurite 1
kernel @nested workgroup(4, 1, 1) {
  buffer %x: read_write u32[]
  param %n: u32

  for %a in 0u32 to %n step 1u32 {
    for %b in 0u32 to %n step 1u32 {
      for %c in 0u32 to %n step 1u32 {
        for %d in 0u32 to %n step 1u32 {
          for %e in 0u32 to %n step 1u32 {
            BARRIER
            store %x[%e], %a
          }
        }
      }
    }
  }
}
";

#[test]
fn short_loops_in_short_loops_are_stopped() {
    in_child("short_loops_in_short_loops_are_stopped", &[], || {
        let Some(vulkan) = open() else { return };
        for barrier in ["", "barrier"] {
            let executable = vulkan.compile(&NESTED.replace("BARRIER", barrier));
            let buffers = [vulkan.upload(&[0; 4000])];
            let timeout = Duration::from_secs(1);
            let options = LaunchOptions::workgroups([1, 1, 1]).timeout(timeout);
            let start = Instant::now();
            let error = vulkan.launch(&*executable, &buffers, &[scalar(1000)], &options).unwrap_err();
            match vulkan.backend.snapshot().limits.loop_limit {
                None => assert_eq!(error.code(), Code::Timeout, "{error}"),
                Some(_) => assert!([Code::Timeout, Code::LoopLimit].contains(&error.code()), "{error}"),
            }
            assert!(start.elapsed() < timeout + Duration::from_secs(1), "{:?}", start.elapsed());
        }
        vulkan.finish();
    });
}

#[test]
fn one_launch_timing_out_is_not_another_ones_timeout() {
    in_child("one_launch_timing_out_is_not_another_ones_timeout", &[], || {
        let Some(vulkan) = open() else { return };
        let (endless, count) = (vulkan.compile(ENDLESS), vulkan.compile(COUNT));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let buffers = [vulkan.upload(&1u32.to_ne_bytes())];
                let options = LaunchOptions::workgroups([1, 1, 1]).timeout(Duration::from_secs(2));
                let error = vulkan.launch(&*endless, &buffers, &[], &options).unwrap_err();
                assert!([Code::Timeout, Code::LoopLimit].contains(&error.code()), "{error}");
            });
            std::thread::sleep(Duration::from_millis(200));
            let out = [vulkan.backend.allocate(4).unwrap()];
            let options = LaunchOptions::workgroups([1, 1, 1]).timeout(Duration::from_millis(500));
            vulkan.launch(&*count, &out, &[scalar(1000)], &options).unwrap();
            assert_eq!(words(&*out[0]), [1000]);
        });
        drop((endless, count));
        vulkan.finish();
    });
}

/// Loops whose trips are known to be few, so that they do not look at the abort word.
const LONG: &str = "fulgurite 1
kernel @long workgroup(1, 1, 1) {
  buffer %x: read_write u32[]

  %g = workgroup_id.x
  %seed = add %g, 1u32
  %last = for %i in 0u32 to 60000u32 step 1u32 carry(%s = %seed) {
    %0 = shl %s, 13u32
    %1 = xor %s, %0
    %2 = shr %1, 17u32
    %3 = xor %1, %2
    %4 = shl %3, 5u32
    %5 = xor %3, %4
    yield %5
  }
  %unlikely = eq %last, 0u32
  if %unlikely {
    store %x[0u32], %g
  }
}
";

#[test]
fn a_device_that_does_not_come_back_is_given_up() {
    in_child("a_device_that_does_not_come_back_is_given_up", &[], || {
        let Some(vulkan) = open() else { return };
        let backend = &vulkan.backend;
        let executable = vulkan.compile(LONG);
        let buffers = [vulkan.upload(&0u32.to_ne_bytes())];
        let run = |workgroups: [u32; 3], timeout| {
            let options = LaunchOptions::workgroups(workgroups).timeout(timeout);
            vulkan.launch(&*executable, &buffers, &[], &options)
        };
        // How many workgroups take long enough for timeout and grace to pass, with a margin?
        let (mut groups, most) = (16u32, 65_535);
        let time = loop {
            let report = run([groups, 1, 1], Duration::from_secs(60)).unwrap();
            let time = report.device_time.expect("the device measures time");
            if time > Duration::from_millis(200) || groups == most {
                break time;
            }
            groups = (groups * 4).min(most);
        };
        let wanted = Duration::from_secs(8).as_secs_f64() / time.as_secs_f64();
        let layers = (wanted.ceil() as u32).clamp(1, most);

        let start = Instant::now();
        let error = run([groups, layers, 1], Duration::from_millis(100)).unwrap_err();
        assert!(matches!(error, Error::Device(DeviceError::Lost(_))), "{error}");
        assert!(start.elapsed() < Duration::from_secs(6), "{:?}", start.elapsed());

        let lost = |error: Error| assert_eq!(error.code(), Code::DeviceLost, "{error}");
        lost(run([1, 1, 1], Duration::from_secs(1)).unwrap_err());
        lost(backend.allocate(4).err().unwrap());
        lost(vulkan.try_compile(COUNT).err().unwrap());
        lost(buffers[0].write(0, &[1]).unwrap_err());
        lost(buffers[0].read(0, &mut [1]).unwrap_err());
        // Nothing waits for what was given up.
        let start = Instant::now();
        drop((executable, buffers, vulkan));
        assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    });
}
