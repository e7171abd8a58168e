//! Contexts: choice of backend, compilation, counters, and several contexts in one process.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::process::Command;

use common::{BACKENDS, code, is_required, open};
use fulgurite::prelude::*;
use fulgurite::{AdapterId, CacheOutcome, Code, CompileOptions, Graph, GraphRecorder, Outputs, Pending};

fn store(value: u32) -> Kernel<(Write<u32>,)> {
    kernel::<(Write<u32>,)>("store", ["y"], [64, 1, 1], |k, (y,)| y.store(k.global_id().x(), value)).unwrap()
}

#[test]
fn what_is_shared_between_threads_may_be() {
    fn shared<T: Send + Sync>() {}
    fn sent<T: Send>() {}
    shared::<Context>();
    shared::<Buffer<f32>>();
    shared::<BufferView<'_, f32>>();
    shared::<BufferViewMut<'_, f32>>();
    shared::<Kernel<(Read<f32>,)>>();
    shared::<Executable<(Read<f32>,)>>();
    shared::<fulgurite::DynBuffer>();
    shared::<fulgurite::DynExecutable>();
    shared::<Graph>();
    sent::<GraphRecorder>();
    sent::<fulgurite::Call<'_>>();
    sent::<Outputs>();
    shared::<Pending<Outputs>>();
}

#[test]
fn threads_share_a_context() {
    for id in BACKENDS {
        let ctx = open(id);
        std::thread::scope(|scope| {
            for value in 0..4 {
                let ctx = &ctx;
                scope.spawn(move || {
                    let mut y = ctx.zeroed(100).unwrap();
                    ctx.compile(&store(value)).unwrap().launch((&mut y,)).unwrap();
                    assert_eq!(y.read().unwrap(), [value; 100]);
                });
            }
        });
        assert_eq!((ctx.counters().launches, ctx.counters().bytes_out), (4, 1600), "{id}");
    }
}

#[test]
fn several_devices_in_one_process() {
    let contexts = [open("cpu"), open("reference"), open("cpu")];
    let mut buffers: Vec<_> = contexts.iter().map(|ctx| ctx.zeroed::<u32>(3).unwrap()).collect();
    for (n, (ctx, y)) in contexts.iter().zip(&mut buffers).enumerate() {
        let exe = ctx.compile(&store(n as u32)).unwrap();
        assert!(exe.id().starts_with(&format!("{}:", ctx.device().backend)), "{}", exe.id());
        exe.launch((y,)).unwrap();
    }
    for (n, y) in buffers.iter().enumerate() {
        assert_eq!(y.read().unwrap(), [n as u32; 3]);
    }
    let exe = contexts[0].compile(&store(9)).unwrap();
    assert_eq!(code(exe.launch((&mut buffers[2],))), Some(Code::ForeignBuffer), "the same backend twice");
}

#[test]
fn compiled_once_and_ahead() {
    for id in BACKENDS {
        let ctx = open(id);
        let (one, two) = (store(1), store(2));
        let prewarmed = ctx.prewarm([one.verified(), two.verified()], &CompileOptions::default(), &|_| ());
        assert!(prewarmed.iter().all(|one| one.origin.is_ok()), "{prewarmed:?}");
        assert_eq!((ctx.counters().compiles, ctx.counters().launches), (2, 0));
        let (exe, manifest) = ctx.compile_with_report(&one, &CompileOptions::default()).unwrap();
        assert_eq!(manifest.cache, CacheOutcome::Memory);
        assert_eq!((manifest.backend_id.as_str(), manifest.pipeline_id.as_str()), (id, exe.id()));
        assert_eq!((manifest.kernel.as_str(), &manifest), ("store", exe.manifest()));
        assert_eq!(manifest.program_digest, one.verified().digest().to_string());
        let (_, manifest) = ctx.compile_with_report(&store(3), &CompileOptions::default()).unwrap();
        assert_eq!(manifest.cache, CacheOutcome::None);
        assert_eq!((ctx.counters().compiles, ctx.counters().compiles_reused), (3, 1));
    }
}

#[test]
fn options_merge_from_context_to_launch() {
    let builder = Context::builder().backend("cpu");
    let ctx = builder.launch_options(LaunchOptions::invocations([1, 1, 1])).open().unwrap();
    let exe = ctx.compile(&store(1)).unwrap();
    let written = |exe: &Executable<(Write<u32>,)>, options: &LaunchOptions| {
        let mut y = ctx.zeroed(200).unwrap();
        exe.launch_with(options, (&mut y,)).unwrap();
        y.read().unwrap().iter().sum::<u32>()
    };
    let (none, two) = (LaunchOptions::default(), LaunchOptions::workgroups([2, 1, 1]));
    assert_eq!(written(&exe, &none), 64);
    assert_eq!(written(&exe, &two), 128);
    assert_eq!(written(&exe.with_options(&two), &none), 128);
    assert_eq!(written(&exe.with_options(&two), &LaunchOptions::linear(200)), 200);
}

/// Opens a context in a process that finds no Vulkan driver.
#[test]
fn without_a_gpu_the_cpu_is_chosen_and_says_why() {
    const WITHIN: &str = "FULGURITE_TEST_WITHOUT_A_GPU";
    if std::env::var_os(WITHIN).is_some() {
        let ctx = Context::open().unwrap();
        println!("{}", ctx.route());
        assert_eq!(ctx.device().backend, "cpu");
        let mut y = ctx.zeroed(3).unwrap();
        ctx.compile(&store(5)).unwrap().launch((&mut y,)).unwrap();
        assert_eq!(y.read().unwrap(), [5; 3]);
        return;
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "without_a_gpu_the_cpu_is_chosen_and_says_why", "--nocapture"]);
    command.env(WITHIN, "1").env("VK_DRIVER_FILES", "/nonexistent").env("FULGURITE_VULKAN_VALIDATION", "0");
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("cpu on "), "{text}");
    assert!(text.contains("\n  vulkan: not available, "), "{text}");
    assert!(text.contains("\n  cpu: chosen (rank "), "{text}");
    assert!(text.contains("\n  reference: not tried, lower rank"), "{text}");
}

/// Opens a context in a process that finds a damaged manifest of a driver, beside those of this machine.
#[test]
fn a_damaged_manifest_leaves_a_backend_and_its_reason_is_said() {
    const WITHIN: &str = "FULGURITE_TEST_DAMAGED_MANIFEST";
    if std::env::var_os(WITHIN).is_some() {
        let ctx = Context::open().unwrap();
        let route = ctx.route().to_string();
        // An older loader gives up, a newer one skips the manifest; without a driver, there is nothing to say of it.
        assert!(["vulkan", "cpu"].contains(&ctx.device().backend.as_str()), "{route}");
        if ctx.device().backend == "cpu" {
            assert!(route.contains("\n  vulkan: not available, "), "{route}");
            assert!(route.contains("cut.json") || route.contains("no Vulkan"), "{route}");
        }
        let mut y = ctx.zeroed(3).unwrap();
        ctx.compile(&store(5)).unwrap().launch((&mut y,)).unwrap();
        assert_eq!(y.read().unwrap(), [5; 3]);
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let cut = folder.path().join("cut.json");
    std::fs::write(&cut, "{\"file_format_version\": \"1.0.0\", \"ICD\"").unwrap();
    let here = std::env::var_os("VK_DRIVER_FILES").unwrap_or_default();
    let files = std::env::join_paths([cut].into_iter().chain(std::env::split_paths(&here))).unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "a_damaged_manifest_leaves_a_backend_and_its_reason_is_said", "--nocapture"]);
    command.env(WITHIN, "1").env("FULGURITE_VULKAN_VALIDATION", "0");
    command.env("VK_DRIVER_FILES", &files).env("VK_ICD_FILENAMES", &files);
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert!(output.status.success(), "{}{}", text[0], text[1]);
}

#[test]
fn a_device_that_is_not_there() {
    let builder = || Context::builder().device("no device has this name");
    assert_eq!(code(builder().open()), Some(Code::UnknownDevice), "and nothing else is chosen instead");
    assert_eq!(code(builder().backend("cpu").open()), Some(Code::UnknownDevice));
    let adapter = |id: &str| Context::builder().adapter(AdapterId::new(id));
    assert_eq!(code(adapter("cpu:7").open()), Some(Code::UnknownDevice));
    assert_eq!(code(adapter("nothing:7").open()), Some(Code::UnknownBackend));
}

#[test]
fn every_adapter_is_opened_by_id_and_they_work_side_by_side() {
    let adapters = fulgurite::registry().adapters().adapters;
    assert!(adapters.iter().any(|adapter| adapter.id.as_str() == "cpu"), "{adapters:?}");
    let is_there =
        |id: &str| adapters.iter().any(|adapter| adapter.id.backend() == id && adapter.unsuitable.is_none());
    assert!(!is_required("vulkan") || is_there("vulkan"), "{adapters:?}");
    let ranks: Vec<u32> = adapters.iter().map(|adapter| adapter.rank).collect();
    assert!(ranks.is_sorted_by(|one, next| one >= next), "{ranks:?}");
    let mut opened = Vec::new();
    for adapter in adapters.iter().filter(|adapter| adapter.unsuitable.is_none()) {
        println!("{}: {}, {}", adapter.id, adapter.declared.device, adapter.kind);
        let ctx = Context::builder().adapter(adapter.id.clone()).open().unwrap();
        assert_eq!(
            (&ctx.route().adapter().id, &ctx.device().device),
            (&adapter.id, &adapter.declared.device)
        );
        let exe = ctx.compile(&store(7)).unwrap();
        let y = ctx.zeroed::<u32>(3).unwrap();
        opened.push((ctx, exe, y));
    }
    for at in 0..opened.len() {
        for other in 0..opened.len() {
            if at == other {
                let (_, exe, y) = &mut opened[at];
                exe.launch((y,)).unwrap();
            } else {
                let exe = opened[at].1.clone();
                let refused = exe.launch((&mut opened[other].2,));
                assert_eq!(code(refused), Some(Code::ForeignBuffer), "{at} with a buffer of {other}");
            }
        }
    }
    for (ctx, _, y) in &opened {
        assert_eq!(y.read().unwrap(), [7; 3], "{}", ctx.route());
    }
}

#[test]
fn the_order_of_choices_does_not_matter() {
    use fulgurite::{ContextBuilder, Requirements};
    type Step = fn(ContextBuilder) -> ContextBuilder;
    let cpu: Step = |builder| builder.backend("cpu");
    let reference: Step = |builder| builder.backend("reference");
    let requirements: Step = |builder| builder.requirements(Requirements::new().prefer("cpu"));
    let absent: Step = |builder| builder.device("no device has this name");
    let threads: Step = |builder| builder.device("THREADS");
    let other: Step = |builder| builder.device("another name");
    let adapter: Step = |builder| builder.adapter(AdapterId::new("cpu"));
    let opened = |steps: [Step; 2]| {
        let context = steps.into_iter().fold(Context::builder(), |builder, step| step(builder)).open();
        context.map(|ctx| ctx.device().backend.clone()).map_err(|error| error.code())
    };
    for (steps, expected) in [
        ([cpu, cpu], Ok("cpu".to_owned())),
        ([requirements, requirements], Ok("cpu".to_owned())),
        ([cpu, reference], Err(Code::ContradictingChoices)),
        ([cpu, requirements], Err(Code::ContradictingChoices)),
        ([cpu, adapter], Ok("cpu".to_owned())),
        ([cpu, threads], Ok("cpu".to_owned())),
        ([adapter, reference], Err(Code::ContradictingChoices)),
        ([adapter, absent], Err(Code::ContradictingChoices)),
        ([requirements, adapter], Err(Code::ContradictingChoices)),
        ([requirements, absent], Err(Code::ContradictingChoices)),
        ([other, absent], Err(Code::ContradictingChoices)),
        ([cpu, absent], Err(Code::UnknownDevice)),
        ([reference, absent], Err(Code::UnknownDevice)),
    ] {
        assert_eq!(opened(steps), expected);
        assert_eq!(opened([steps[1], steps[0]]), expected);
    }
}
