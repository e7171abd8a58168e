//! Submissions and graphs on the device's queue. The suite `driver` tests their semantics; these tests cover the
//! specifics of this backend: resubmitted command buffers, and their state after a fault.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "this is a test")]

mod common;

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{kernel, open};
use fulgurite_hal::{self as hal, CompileOptions, LaunchOptions};
use fulgurite_runtime::{Call, Device, Program, Recorder};
use fulgurite_spec::Code;

const SCALE: &str = "fulgurite 1
kernel @scale workgroup(64, 1, 1) {
  buffer %x: read u32[]
  buffer %y: write u32[]
  param %a: u32
  %i = global_id.x
  %e = load %x[%i]
  %z = eq %a, 0u32
  if %z {
    trap 7u32
  }
  %r = mul %e, %a
  store %y[%i], %r
}
";

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

fn scale(device: &Device) -> Program {
    device.compile(&Arc::new(kernel(SCALE)), &CompileOptions::default()).unwrap()
}

#[test]
fn a_process_may_end_with_work_under_way() {
    for _ in 0..20 {
        common::in_child("a_process_may_end_with_work_under_way", &[], || {
            let Some(opened) = open() else { return };
            let device = Device::new(opened.backend, CompileOptions::default(), LaunchOptions::default());
            let program =
                device.compile(&Arc::new(kernel(common::COUNT)), &CompileOptions::default()).unwrap();
            let out = device.zeroed(4).unwrap();
            for _ in 0..4 {
                let count = [common::scalar(60_000)];
                drop(program.submit(&[out.whole()], &count, &LaunchOptions::default()).unwrap());
            }
            // The engine's thread now owns the device, and drops it after the launches.
        });
    }
}

#[test]
fn many_launches_are_under_way_at_once_and_end_in_order() {
    let Some(opened) = open() else { return };
    {
        let backend: Arc<dyn hal::Device> = opened.backend.clone();
        let device = Device::new(backend, CompileOptions::default(), LaunchOptions::default());
        let program = scale(&device);
        let buffers: Vec<_> = (0..9).map(|_| device.upload(&words(&[1, 2, 3])).unwrap()).collect();
        // Each launch reads the output of the previous one.
        let pending: Vec<_> = buffers
            .windows(2)
            .map(|pair| {
                let views = [pair[0].whole(), pair[1].whole()];
                program.submit(&views, &[[3, 0, 0, 0]], &LaunchOptions::default()).unwrap()
            })
            .collect();
        let power = 3u32.pow(8);
        assert_eq!(buffers[8].whole().to_vec().unwrap(), words(&[power, 2 * power, 3 * power]));
        for launch in pending {
            launch.wait().unwrap();
        }
        // A dropped launch still runs.
        let views = [buffers[8].whole(), buffers[0].whole()];
        drop(program.submit(&views, &[[2, 0, 0, 0]], &LaunchOptions::default()).unwrap());
        assert_eq!(buffers[0].whole().to_vec().unwrap(), words(&[2 * power, 4 * power, 6 * power]));
    }
    // The thread that waited for the last launch releases the device a little later.
    let deadline = Instant::now() + Duration::from_secs(60);
    while Arc::strong_count(&opened.backend) > 1 && Instant::now() < deadline {
        std::thread::yield_now();
    }
    opened.finish();
}

#[test]
fn a_graph_is_submitted_again_and_recorded_again_after_a_fault() {
    let Some(opened) = open() else { return };
    {
        let backend: Arc<dyn hal::Device> = opened.backend.clone();
        let device = Device::new(backend, CompileOptions::default(), LaunchOptions::default());
        let program = scale(&device);
        let (x, y) = (device.zeroed(64).unwrap(), device.zeroed(64).unwrap());
        let mut recorder = Recorder::new(&device);
        let [head, tail] = [0..29, 29..64].map(|bytes| recorder.slot(x.view(bytes).unwrap()));
        let (from, to) = (recorder.slot(&x), recorder.slot(&y));
        recorder.fill(head, &[1]).unwrap();
        recorder.fill(tail, &[1, 2, 3, 4, 5]).unwrap();
        let step = recorder
            .launch(&program, &[from, to], &[[2, 0, 0, 0]], &LaunchOptions::default().label("double"))
            .unwrap();
        let mut graph = recorder.finish();
        assert_eq!(graph.hazards().len(), 2, "{graph}");
        let host: Vec<u8> = [vec![1; 29], [1, 2, 3, 4, 5].repeat(7)].concat();
        let scaled = |by: u32| -> Vec<u8> {
            let word = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().unwrap()).wrapping_mul(by);
            host.chunks(4).flat_map(|bytes| word(bytes).to_le_bytes()).collect()
        };
        for _ in 0..3 {
            graph.replay().unwrap();
            assert_eq!(y.whole().to_vec().unwrap(), scaled(2));
            y.whole().fill(&[0]).unwrap();
        }
        graph.update(&[], &[(step, vec![[0; 4]])]).unwrap();
        for _ in 0..2 {
            assert_eq!(graph.replay().unwrap_err().code(), Code::Trap);
        }
        graph.update(&[], &[(step, vec![[5, 0, 0, 0]])]).unwrap();
        graph.replay().unwrap();
        assert_eq!(y.whole().to_vec().unwrap(), scaled(5));
        assert!(graph.submit().unwrap().wait_for(Duration::from_secs(60)).unwrap().is_ok());
        assert_eq!(device.counters().replays, 5);
        let call = Call::new().input(&host[..]).output(64).param([3, 0, 0, 0]);
        assert_eq!(program.call(&call).unwrap().outputs, [scaled(3)]);
    }
    opened.finish();
}
