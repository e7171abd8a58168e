//! Buffers, parameters and entry points: shaders run, with results computed independently.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::Case;

const SAXPY: &str = "
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
struct Params { a: f32, n: u32 }
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(64)
fn saxpy(@builtin(global_invocation_id) id: vec3<u32>) {
    let i = id.x;
    if (i >= params.n) { return; }
    y[i] = params.a * x[i] + y[i];
}";

#[test]
fn saxpy_runs() {
    let x: Vec<f32> = (0..100).map(|i| i as f32).collect();
    let y = vec![1.0f32; 100];
    let mut params = common::bytes(&[2.5f32]);
    params.extend(90u32.to_le_bytes());
    let case = Case::new(SAXPY).bind(0, &x).bind(1, &y).bind(2, &params).grid([2, 1, 1]);
    let expected: Vec<f32> = (0..100).map(|i| if i < 90 { 2.5 * i as f32 + 1.0 } else { 1.0 }).collect();
    assert_eq!(case.run::<f32>(1), expected);
    println!("{}", case.text());
}
