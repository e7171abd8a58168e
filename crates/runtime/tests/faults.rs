//! The engine's handling of faults, queues and recordings of a backend, tested with a fake backend.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this is a test")]

mod fake;

use std::time::Duration;

use fake::{broken, called, open, open_with};
use fulgurite_hal::{CompileOptions, DeviceError, Error};
use fulgurite_runtime::{Bounds, BufferView, Call, Device, Recorder};
use fulgurite_spec::Code;

fn views(device: &Device) -> Vec<BufferView> {
    (0..3).map(|_| device.zeroed(4).unwrap().whole()).collect()
}

fn call(label: &str) -> Call<'static> {
    Call::new().input(vec![0; 4]).output(4).output(4).options(&called(label))
}

#[test]
fn a_read_back_that_fails_names_the_output() {
    let (device, program, script) = open();
    // The third buffer of each call is the second output.
    script.set(|state| state.unreadable.extend([3, 6, 12]));
    let expected = Error::Device(DeviceError::ReadBack { output: 1, source: Box::new(broken()) });
    assert_eq!(expected.code(), Code::ReadBack);
    assert_eq!(program.call(&call("a")).unwrap_err(), expected);
    assert_eq!(program.call_async(&call("b")).unwrap().wait().unwrap_err(), expected);
    let batched = program.call_batched(&[call("c"), call("d")], &mut Vec::new());
    assert_eq!(batched.unwrap_err(), expected);
    // The launches themselves had succeeded.
    let counters = device.counters();
    assert_eq!((counters.launches, counters.failed_launches), (4, 0));
    // The first outputs, and both outputs of the batch's first call, had been read.
    assert_eq!((counters.output_slots, counters.bytes_out), (5, 20));
    assert_eq!(program.call(&call("e")).unwrap().outputs, [[0; 4], [0; 4]]);
}

#[test]
fn a_launch_that_cannot_be_submitted_is_an_error_at_once_and_counts() {
    let (device, program, script) = open();
    script.set(|state| {
        state.has_queue = true;
        state.refused.insert("bad".to_owned());
    });
    let views = views(&device);
    assert_eq!(program.submit(&views, &[], &called("bad")).unwrap_err(), broken());
    assert_eq!(program.call_async(&call("bad")).unwrap_err(), broken());
    assert_eq!(device.counters().failed_launches, 2);
    program.submit(&views, &[], &called("good")).unwrap().wait().unwrap();
    assert_eq!(script.log(), ["submit good", "finish good", "good ended"]);
}

#[test]
fn a_batch_that_cannot_go_on_waits_for_what_it_began_and_writes_nothing() {
    let (_, program, script) = open();
    script.set(|state| {
        state.has_queue = true;
        state.refused.insert("c".to_owned());
    });
    let mut outputs = vec![vec![vec![7; 9]]];
    let calls = ["a", "b", "c", "d"].map(call);
    assert_eq!(program.call_batched(&calls, &mut outputs).unwrap_err(), broken());
    let log = script.log();
    for line in ["a ended", "b ended"] {
        assert!(log.iter().any(|l| l == line), "{line} not in {log:?}");
    }
    assert!(!log.iter().any(|line| line == "submit d"), "{log:?}");
    assert_eq!(outputs, [[[7; 9]]]);
}

#[test]
fn work_of_a_queue_is_waited_for_in_order_and_holds_up_no_launch() {
    let (device, program, script) = open();
    script.set(|state| {
        state.has_queue = true;
        state.held.insert("a".to_owned());
    });
    let views = views(&device);
    let pending: Vec<_> = ["a", "b", "c"]
        .map(|label| program.submit(&views, &[], &called(label)).unwrap())
        .into_iter()
        .collect();
    script.wait_for("finish a");
    // They are all in the device's queue; the launch is queued after them without waiting here.
    program.launch(&views, &[], &called("after")).unwrap();
    device.zeroed(4).unwrap().whole().to_vec().unwrap();
    assert!(pending.iter().all(|pending| !pending.is_ended()));
    script.release("a");
    for pending in pending {
        pending.wait().unwrap();
    }
    let log = script.log();
    let order = |how: &str| -> Vec<String> {
        log.iter().filter_map(|line| line.strip_prefix(how)).map(str::to_owned).collect()
    };
    assert_eq!(order("submit "), ["a", "b", "c"]);
    assert_eq!(order("finish "), ["a", "b", "c"]);
    assert_eq!(order("launch "), ["after"]);
    assert_eq!(device.counters().launches, 4);
}

#[test]
fn nothing_overtakes_a_graph_by_the_queue() {
    let (device, program, script) = open();
    script.set(|state| {
        state.has_queue = true;
        state.held.insert("graph".to_owned());
    });
    let views = views(&device);
    let mut recorder = Recorder::new(&device);
    let slots: Vec<_> = views.iter().map(|view| recorder.slot(view.clone())).collect();
    recorder.launch(&program, &slots, &[], &called("graph")).unwrap();
    let graph = recorder.finish();
    let replay = graph.submit().unwrap();
    // Submission does not wait, although the graph is not on the device yet.
    let behind = program.submit(&views, &[], &called("behind")).unwrap();
    script.wait_for("launch graph");
    assert_eq!(script.log(), ["launch graph"]);
    script.release("graph");
    behind.wait().unwrap();
    replay.wait().unwrap();
    // A result arrives shortly before the worker has counted the job as done; reading waits for that as well.
    views[0].to_vec().unwrap();
    program.submit(&views, &[], &called("later")).unwrap().wait().unwrap();
    let expected = [
        "launch graph",
        "graph ended",
        "launch behind",
        "behind ended",
        "submit later",
        "finish later",
        "later ended",
    ];
    assert_eq!(script.log(), expected);
}

#[test]
fn graphs_are_recorded_once_and_again_after_each_change() {
    let (device, program, script) = open();
    script.set(|state| (state.records, state.record_fails) = (true, true));
    let buffer = device.zeroed(64).unwrap();
    let view = |at: u64| buffer.view(at..at + 4).unwrap();
    let mut recorder = Recorder::new(&device);
    let (x, y, z) = (recorder.slot(view(0)), recorder.slot(view(4)), recorder.slot(view(8)));
    recorder.fill(x, &[1]).unwrap();
    recorder.launch(&program, &[x, y, z], &[], &called("launch")).unwrap();
    let mut graph = recorder.finish();
    assert_eq!(graph.replay().unwrap_err(), broken());
    assert_eq!(device.counters().replays, 0);
    script.set(|state| state.record_fails = false);
    graph.replay().unwrap();
    graph.submit().unwrap().wait().unwrap();
    graph.update(&[(x, view(12))], &[]).unwrap();
    graph.replay().unwrap();
    assert!(graph.update(&[(x, view(4))], &[]).is_err());
    graph.replay().unwrap();
    let [first, second] =
        ["fill 0..4 after [], launch after [0]", "fill 12..16 after [], launch after [0]"].map(str::to_owned);
    let (record, replay) =
        (|name: &String| format!("record {name}"), |name: &String| format!("replay {name}"));
    let expected = [
        record(&first),
        record(&first),
        replay(&first),
        replay(&first),
        record(&second),
        replay(&second),
        replay(&second),
    ];
    assert_eq!(script.log(), expected);
    assert_eq!((device.counters().replays, device.counters().launches), (4, 4));
}

#[test]
fn a_panic_breaks_its_own_promise_only() {
    let (device, program, script) = open();
    script.set(|state| {
        state.panicking.insert("bad".to_owned());
        state.held.insert("first".to_owned());
    });
    let views = views(&device);
    let [first, bad, last] =
        ["first", "bad", "last"].map(|label| program.submit(&views, &[], &called(label)).unwrap());
    script.release("first");
    assert!(first.wait().is_ok());
    assert_eq!(bad.wait().unwrap_err().code(), Code::Internal);
    assert!(last.wait().is_ok());
    program.launch(&views, &[], &called("again")).unwrap();
    views[0].to_vec().unwrap();
}

#[test]
#[expect(clippy::disallowed_methods, reason = "somebody must wait while another lets it go on")]
fn whoever_submits_more_than_the_bound_waits_for_one_to_end() {
    for has_queue in [false, true] {
        let (device, program, script) = open_with(Bounds::default().submitted(3));
        script.set(|state| {
            state.has_queue = has_queue;
            state.held.insert("first".to_owned());
        });
        let views = views(&device);
        let first = program.submit(&views, &[], &called("first")).unwrap();
        for _ in 0..2 {
            drop(program.submit(&views, &[], &called("more")).unwrap());
        }
        std::thread::scope(|scope| {
            let over = scope.spawn(|| {
                let over = program.submit(&views, &[], &called("over")).unwrap();
                let is_after_the_first = first.is_ended();
                over.wait().unwrap();
                is_after_the_first
            });
            script.wait_for(if has_queue { "finish first" } else { "launch first" });
            // Time for a submission that does not wait; one that waits, waits for the release.
            std::thread::sleep(Duration::from_millis(100));
            script.release("first");
            assert!(over.join().unwrap(), "it was accepted while the first was in progress");
        });
        first.wait().unwrap();
        // A continuation submits as well; on the device's own thread, it cannot wait for that thread.
        let (again, all) = (program.clone(), views.clone());
        let then = program.submit(&views, &[], &called("then")).unwrap().and_then(move |_| {
            let submit = |_| again.submit(&all, &[], &called("from within")).map(drop);
            (0..10).try_for_each(submit)
        });
        then.wait().unwrap();
        assert_eq!(device.counters().failed_launches, 0);
    }
}

#[test]
fn who_has_a_result_is_the_last_owner() {
    for has_queue in [false, true] {
        let (device, program, script) = open();
        script.set(|state| {
            state.has_queue = has_queue;
            state.drop_takes = Duration::from_millis(20);
            state.held.insert("slow".to_owned());
        });
        let views: Vec<_> = (0..3).map(|_| device.zeroed(4).unwrap().whole()).collect();
        let pending = program.submit(&views, &[], &called("slow")).unwrap();
        drop((device, program, views));
        script.release("slow");
        pending.wait().unwrap();
        assert_eq!(script.alive(), 0, "the engine's thread still has the kernel, and with it the device");
    }
}

#[test]
fn compiled_kernels_are_forgotten_over_the_bound_and_those_in_use_stay() {
    let (device, program, script) = open_with(Bounds::default().compiled(16));
    let kernel = |number: u32| {
        let text = format!(
            "fulgurite 1\nkernel @k workgroup(1, 1, 1) {{\n  buffer %y: write u32[]\n  store %y[0u32], {number}u32\n}}\n"
        );
        std::sync::Arc::new(fulgurite_ir::text::parse(&text).and_then(fulgurite_ir::verify).unwrap())
    };
    let options = CompileOptions::default();
    for number in 0..1000 {
        let kernel = kernel(number);
        device.compile(&kernel, &options).unwrap();
        // A program that is compiled repeatedly stays cached.
        device.compile(program.kernel(), &options).unwrap();
        assert!(script.alive() <= 18, "{} after {number}", script.alive());
    }
    let counters = device.counters();
    assert_eq!((counters.compiles, counters.compiles_reused), (1001, 1000));
    device.compile(&kernel(999), &options).unwrap();
    assert_eq!(device.counters().compiles_reused, 1001, "the last one is there");
    device.compile(&kernel(0), &options).unwrap();
    assert_eq!(device.counters().compiles, 1002, "the first one is not");
}
