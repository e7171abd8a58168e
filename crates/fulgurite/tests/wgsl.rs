//! Kernels imported from WGSL, on contexts.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::sync::Arc;

use common::{BACKENDS, open};
use fulgurite::wgsl::{ImportOptions, Resource, import};
use fulgurite::{DynArg, DynBuffer, LaunchOptions};

const SHADER: &str = "
struct Params { scale: f32, n: u32 }
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(1) @binding(0) var<uniform> params: Params;
@compute @workgroup_size(64) fn saxpy(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x >= params.n) { return; }
  y[id.x] += params.scale * x[id.x];
}";

#[test]
fn imported_kernels_run_on_contexts() {
    let imported = import(SHADER, &ImportOptions::default()).unwrap().remove(0);
    let position = |group, binding| match &imported.binding(group, binding).unwrap().resource {
        Resource::Buffer { position, .. } => *position,
        Resource::Parameters(fields) => fields[0].position,
    };
    assert_eq!((position(0, 0), position(0, 1), position(1, 0)), (0, 1, 0));
    let kernel = Arc::new(imported.kernel);
    for id in BACKENDS {
        let ctx = open(id);
        let exe = ctx.compile_dynamic(&kernel).unwrap();
        let x = DynBuffer::from(ctx.buffer(&[1.0f32, 2.0, 3.0]).unwrap());
        let y = DynBuffer::from(ctx.buffer(&[10.0f32, 20.0, 30.0]).unwrap());
        let arguments =
            [DynArg::Buffer(&x), DynArg::Buffer(&y), DynArg::param(&0.5f32), DynArg::param(&2u32)];
        exe.launch_with(&LaunchOptions::workgroups([1, 1, 1]), &arguments).unwrap();
        assert_eq!(y.read().unwrap(), [10.5f32, 21.0, 30.0].map(f32::to_le_bytes).concat(), "{id}");
    }
}
