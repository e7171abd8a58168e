//! Launches that do not end: each in a child process with a deadline, because a driver may block the exit of a process
//! whose device hangs. Only with kernels that our compiler emitted.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "this is a test"
)]

mod common;

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{COUNT, Opened, in_child, open, open_with, options, scalar, words};
use fulgurite_hal::{Device as _, DeviceBuffer, DeviceError, Error, Executable, LaunchOptions, LaunchReport};
use fulgurite_spec::Code;

/// Never terminates, in a way that no compiler can detect.
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

/// Never ends, with barriers: an invocation that left alone would block the others at the barrier.
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
            // The driver may end the loop before or after the timeout.
            Some(_) => assert!([Code::Timeout, Code::LoopLimit].contains(&error.code()), "{error}"),
        }
        drop((executable, buffers));
        vulkan.finish();
    });
}

/// Runs for years, although no loop has more than 1,000 iterations.
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

/// Loops with few known iterations, and a barrier: nothing polls the abort word on any device.
const LONG: &str = "fulgurite 1
kernel @long workgroup(2, 1, 1) {
  buffer %x: read_write u32[]

  %g = workgroup_id.x
  %seed = add %g, 1u32
  barrier
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

/// [`LONG`] with a loop that is not proven to end, but does soon: each workgroup polls the abort word at its start.
const LONG_AND_POLLED: &str = "fulgurite 1
kernel @polled workgroup(2, 1, 1) {
  buffer %x: read_write u32[]

  %g = workgroup_id.x
  %seed = add %g, 1u32
  %n = len %x
  %begun = for %i in 0u32 to %n step 1u32 carry(%s = %seed) {
    %0 = add %s, %i
    yield %0
  }
  %last = for %i in 0u32 to 60000u32 step 1u32 carry(%s = %begun) {
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

/// A compiled kernel, and a number of workgroups that takes a while.
struct Slow {
    vulkan: Opened,
    executable: Arc<dyn Executable>,
    buffers: [Arc<dyn DeviceBuffer>; 1],
    grid: [u32; 3],
}

impl Slow {
    /// Compiles `text` and determines how many workgroups take about `wanted`.
    fn new(vulkan: Opened, text: &str, wanted: Duration) -> Self {
        let executable = vulkan.compile(text);
        let buffers = [vulkan.upload(&0u32.to_ne_bytes())];
        let mut slow = Self { vulkan, executable, buffers, grid: [16, 1, 1] };
        let most = 65_535;
        let time = loop {
            let report = slow.run(Duration::from_secs(60)).unwrap();
            let time = report.device_time.expect("the device measures time");
            if time > Duration::from_millis(200) || slow.grid[0] == most {
                break time;
            }
            slow.grid[0] = (slow.grid[0] * 4).min(most);
        };
        let layers = wanted.as_secs_f64() / time.as_secs_f64();
        slow.grid[1] = (layers.ceil() as u32).clamp(1, most);
        slow
    }

    fn run(&self, timeout: Duration) -> Result<LaunchReport, Error> {
        let options = LaunchOptions::workgroups(self.grid).timeout(timeout).timed(true);
        self.vulkan.launch(&*self.executable, &self.buffers, &[], &options)
    }

    /// Checks that the device still works, and closes it.
    fn finish(self) {
        let Self { vulkan, executable, buffers, .. } = self;
        let count = vulkan.compile(COUNT);
        let out = [vulkan.backend.allocate(4).unwrap()];
        vulkan.launch(&*count, &out, &[scalar(1000)], &LaunchOptions::workgroups([1, 1, 1])).unwrap();
        assert_eq!(words(&*out[0]), [1000]);
        drop((executable, count, buffers, out));
        vulkan.finish();
    }
}

const SHORT: Duration = Duration::from_millis(100);

#[test]
fn what_nothing_can_end_is_a_timeout_once_it_has_ended() {
    in_child("what_nothing_can_end_is_a_timeout_once_it_has_ended", &[], || {
        let Some(vulkan) = open() else { return };
        let slow = Slow::new(vulkan, LONG, Duration::from_secs(4));
        let start = Instant::now();
        let error = slow.run(SHORT).unwrap_err();
        let took = start.elapsed();
        assert_eq!(error, Error::Device(DeviceError::Timeout(SHORT)));
        println!("came back after {took:?}");
        assert!(took > Duration::from_millis(500), "{took:?}");
        slow.finish();
    });
}

#[test]
fn workgroups_that_have_not_begun_when_a_launch_times_out_never_do() {
    in_child("workgroups_that_have_not_begun_when_a_launch_times_out_never_do", &[], || {
        let Some(vulkan) = open() else { return };
        let slow = Slow::new(vulkan, LONG_AND_POLLED, Duration::from_secs(8));
        let start = Instant::now();
        let error = slow.run(SHORT).unwrap_err();
        assert_eq!(error, Error::Device(DeviceError::Timeout(SHORT)));
        assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
        slow.finish();
    });
}

#[test]
fn a_device_that_does_not_come_back_is_given_up() {
    in_child("a_device_that_does_not_come_back_is_given_up", &[], || {
        let Some(vulkan) = open_with(options().grace_period(Duration::from_millis(300))) else { return };
        let slow = Slow::new(vulkan, LONG, Duration::from_secs(3));
        let launched = Instant::now();
        let error = slow.run(SHORT).unwrap_err();
        assert!(matches!(error, Error::Device(DeviceError::Lost(_))), "{error}");
        assert!(launched.elapsed() < Duration::from_secs(2), "{:?}", launched.elapsed());

        let lost = |error: Error| assert_eq!(error.code(), Code::DeviceLost, "{error}");
        lost(slow.run(Duration::from_secs(1)).unwrap_err());
        let Slow { vulkan, executable, buffers, .. } = slow;
        lost(vulkan.backend.allocate(4).err().unwrap());
        lost(vulkan.try_compile(COUNT).err().unwrap());
        lost(buffers[0].write(0, &[1]).unwrap_err());
        lost(buffers[0].read(0, &mut [1]).unwrap_err());
        // Nothing waits for the abandoned launch.
        let start = Instant::now();
        drop((executable, buffers, vulkan));
        assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
        // A process that exits while threads of a software driver still run may crash, which is not tested here.
        std::thread::sleep(Duration::from_secs(6).saturating_sub(launched.elapsed()));
    });
}
