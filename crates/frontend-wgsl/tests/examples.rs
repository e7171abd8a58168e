//! The shaders in `examples/shaders`, against plain Rust.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::{Case, bytes};

#[test]
fn bodies_attract_one_another() {
    const COUNT: usize = 100;
    let mut bodies: Vec<[f32; 8]> = Vec::new();
    for i in 0..COUNT {
        let x = |k: usize| ((i * k) % 17) as f32 * 0.5 - 4.0;
        let mut body = [x(3), x(5), x(7), 1.0 + (i % 3) as f32, x(2) * 0.1, x(11) * 0.1, 0.0, 0.0];
        body[7] = f32::from_bits(i as u32);
        bodies.push(body);
    }
    let (seconds, softening) = (0.01f32, 0.25f32);
    let mut expected = bodies.clone();
    for (i, body) in expected.iter_mut().enumerate() {
        let mut acceleration = [0f32; 3];
        for other in &bodies {
            let way: Vec<f32> = (0..3).map(|k| other[k] - bodies[i][k]).collect();
            let square = way.iter().map(|w| w * w).sum::<f32>() + softening;
            let factor = other[3] / (square * square * square).sqrt();
            (0..3).for_each(|k| acceleration[k] += way[k] * factor);
        }
        for k in 0..3 {
            body[4 + k] += acceleration[k] * seconds;
            body[k] += body[4 + k] * seconds;
        }
    }
    let mut step = bytes(&[seconds]);
    step.extend(bytes(&[COUNT as u32]));
    step.extend(bytes(&[softening]));
    let source = include_str!("../../../examples/shaders/nbody.wgsl");
    for tile in [64u32, 32] {
        let case = Case::new(source)
            .bind(0, &bodies.concat())
            .bind(1, &vec![0f32; COUNT * 8])
            .bind(2, &step)
            .set("TILE", f64::from(tile))
            .grid([(COUNT as u32).div_ceil(tile), 1, 1]);
        case.close(1, &expected.concat(), 1e-4);
    }
}

#[test]
fn matrices_are_multiplied_by_tiles() {
    let (rows, columns, inner) = (37usize, 21, 50);
    let a: Vec<f32> = (0..rows * inner).map(|i| ((i * 7) % 9) as f32 - 4.0).collect();
    let b: Vec<f32> = (0..inner * columns).map(|i| ((i * 5) % 11) as f32 - 5.0).collect();
    let mut expected = vec![0f32; rows * columns];
    for (at, c) in expected.iter_mut().enumerate() {
        let (row, column) = (at / columns, at % columns);
        // Whole numbers, so that the order of the sum does not matter.
        *c = (0..inner).map(|k| a[row * inner + k] * b[k * columns + column]).sum();
    }
    let source = include_str!("../../../examples/shaders/matmul.wgsl");
    let case = Case::new(source)
        .bind(0, &a)
        .bind(1, &b)
        .bind(2, &vec![0f32; rows * columns])
        .bind(3, &[rows as u32, columns as u32, inner as u32])
        .grid([columns.div_ceil(16) as u32, rows.div_ceil(16) as u32, 1]);
    assert_eq!(case.run::<f32>(2), expected);
    let text = case.text();
    assert!(!text.contains("select") && !text.contains(" min "), "indices are in range\n{text}");
}
