//! Built-in functions, operators, vectors and matrices.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::Case;

const INPUTS: [f32; 16] =
    [0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.25, 10.0, 0.1, -0.25, -0.5, -0.75, -1.0, -2.5, -10.0];

/// Applies an expression of `x` to each input.
fn source(expression: &str, ty: &str) -> String {
    format!(
        "@group(0) @binding(0) var<storage, read> xs: array<{ty}>;
         @group(0) @binding(1) var<storage, read_write> r: array<{ty}>;
         @compute @workgroup_size(16) fn main(@builtin(global_invocation_id) id: vec3<u32>) {{
           let x = xs[id.x]; r[id.x] = {expression}; }}"
    )
}

fn floats(expression: &str, tolerance: f32, expected: impl Fn(f32) -> f32) {
    let wanted = INPUTS.map(expected);
    Case::new(&source(expression, "f32")).bind(0, &INPUTS).bind(1, &[0f32; 16]).close(1, &wanted, tolerance);
}

fn ints(expression: &str, expected: impl Fn(i32) -> i32) {
    let inputs = [
        0,
        1,
        -1,
        2,
        -2,
        3,
        5,
        -7,
        100,
        -100,
        i32::MAX,
        i32::MIN,
        i32::MIN + 1,
        0x1234_5678,
        -0x1234_5678,
        255,
    ];
    let got = Case::new(&source(expression, "i32")).bind(0, &inputs).bind(1, &[0i32; 16]).run::<i32>(1);
    assert_eq!(got, inputs.map(expected), "{expression}");
}

fn words(expression: &str, expected: impl Fn(u32) -> u32) {
    let inputs = [
        0,
        1,
        2,
        3,
        7,
        8,
        255,
        256,
        0xffff,
        0x8000_0000,
        u32::MAX,
        0x1234_5678,
        0xdead_beef,
        31,
        32,
        0x7f80_80ff,
    ];
    let got = Case::new(&source(expression, "u32")).bind(0, &inputs).bind(1, &[0u32; 16]).run::<u32>(1);
    assert_eq!(got, inputs.map(expected), "{expression}");
}

#[test]
fn float_functions_have_their_values() {
    let near = 1e-5;
    floats("abs(x) + sign(x)", 0.0, |x| x.abs() + if x == 0.0 { 0.0 } else { x.signum() });
    floats("min(x, 0.3) * max(x, -0.4)", 0.0, |x| x.min(0.3) * x.max(-0.4));
    floats("clamp(x, -0.5, 0.5) + saturate(x)", 0.0, |x| x.clamp(-0.5, 0.5) + x.clamp(0.0, 1.0));
    floats("floor(x) + 10 * ceil(x) + 100 * trunc(x) + 1000 * round(x)", 0.0, |x| {
        x.floor() + 10.0 * x.ceil() + 100.0 * x.trunc() + 1000.0 * x.round_ties_even()
    });
    floats("fract(x)", 0.0, |x| x - x.floor());
    floats("x % 0.7", near, |x| x % 0.7);
    floats("sqrt(abs(x)) + inverseSqrt(abs(x) + 1.0)", near, |x| {
        x.abs().sqrt() + 1.0 / (x.abs() + 1.0).sqrt()
    });
    floats("exp(x * 0.5) + exp2(x * 0.5)", 1e-4, |x| (x * 0.5).exp() + (x * 0.5).exp2());
    floats("log(abs(x) + 0.5) + log2(abs(x) + 3.0)", 1e-4, |x| (x.abs() + 0.5).ln() + (x.abs() + 3.0).log2());
    floats("pow(abs(x) + 0.1, 1.5)", 1e-4, |x| (x.abs() + 0.1).powf(1.5));
    floats("sin(x) + cos(x)", 2e-3, |x| x.sin() + x.cos());
    floats("tan(x * 0.1)", 2e-3, |x| (x * 0.1).tan());
    floats("asin(x * 0.1) + acos(x * 0.1) + atan(x)", 4e-3, |x| {
        (x * 0.1).asin() + (x * 0.1).acos() + x.atan()
    });
    floats("atan2(x, 2.0)", 2e-3, |x| x.atan2(2.0));
    floats("sinh(x * 0.2) + cosh(x * 0.2) + tanh(x)", 1e-4, |x| {
        (x * 0.2).sinh() + (x * 0.2).cosh() + x.tanh()
    });
    floats("asinh(x)", 1e-4, f32::asinh);
    floats("acosh(abs(x) + 1.5)", 1e-4, |x| (x.abs() + 1.5).acosh());
    floats("atanh(x * 0.09)", 1e-4, |x| (x * 0.09).atanh());
    floats("radians(x) + degrees(x) * 0.01", near, |x| x.to_radians() + x.to_degrees() * 0.01);
    floats("mix(x, 5.0, 0.25)", near, |x| x * 0.75 + 1.25);
    floats("step(0.5, x) + smoothstep(-1.0, 2.0, x)", near, |x| {
        let t = ((x + 1.0) / 3.0).clamp(0.0, 1.0);
        f32::from(u8::from(x >= 0.5)) + t * t * (3.0 - 2.0 * t)
    });
    floats("fma(x, 3.0, -1.0)", near, |x| x * 3.0 - 1.0);
    floats("quantizeToF16(x * 0.3)", 0.0, |x| half::f16::from_f32(x * 0.3).to_f32());
    floats("ldexp(x, 3) + ldexp(x, -130) * 0.0", 0.0, |x| x * 8.0);
    floats("modf(x).fract + 100.0 * modf(x).whole", near, |x| x.fract() + 100.0 * x.trunc());
    floats("frexp(x).fract + 100.0 * f32(frexp(x).exp)", 0.0, |x| {
        if x == 0.0 {
            return 0.0;
        }
        let exponent = x.abs().log2().floor() + 1.0;
        x / exponent.exp2() + 100.0 * exponent
    });
    floats("select(1.0, 2.0, x > 0.0) + f32(x == 1.0) + f32(!(x < 0.0 || x > 2.0))", 0.0, |x| {
        f32::from(u8::from(x > 0.0))
            + 1.0
            + f32::from(u8::from(x == 1.0))
            + f32::from(u8::from((0.0..=2.0).contains(&x)))
    });
}

#[test]
fn conversions_truncate_and_saturate() {
    floats("f32(i32(x * 1e9)) + f32(u32(x))", 0.0, |x| ((x * 1e9) as i32) as f32 + (x as u32) as f32);
    floats("bitcast<f32>(bitcast<u32>(x) ^ 0x80000000u)", 0.0, |x| -x);
    floats("f32(bool(x))", 0.0, |x| f32::from(u8::from(x != 0.0)));
}

#[test]
fn integer_operators_are_total() {
    ints("x / 3 + x % 5", |x| x / 3 + x % 5);
    ints("x / (x - x)", |x| x);
    ints("x % (x ^ x)", |_| 0);
    ints("x / bitcast<i32>(0xffffffffu) ", |x| x.wrapping_neg());
    ints("(x << 5u) ^ (x >> 3u)", |x| (x << 5) ^ (x >> 3));
    ints("(x << (bitcast<u32>(x) + 40u)) - -x", |x| {
        (x.wrapping_shl((x as u32).wrapping_add(40))).wrapping_add(x)
    });
    ints("x * x + ~x", |x| x.wrapping_mul(x).wrapping_add(!x));
    ints("abs(x) + sign(x) * 2", |x| x.wrapping_abs().wrapping_add(x.signum() * 2));
    ints("min(x, 4) ^ max(x, -4) ^ clamp(x, -3, 9)", |x| x.min(4) ^ x.max(-4) ^ x.clamp(-3, 9));
    ints("(x & 12) | (x ^ 7)", |x| (x & 12) | (x ^ 7));
}

#[test]
fn bit_functions_have_their_values() {
    words("countOneBits(x) + 100u * countLeadingZeros(x) + 10000u * countTrailingZeros(x)", |x| {
        x.count_ones() + 100 * x.leading_zeros() + 10000 * x.trailing_zeros()
    });
    words("reverseBits(x)", u32::reverse_bits);
    words("firstLeadingBit(x)", |x| if x == 0 { u32::MAX } else { 31 - x.leading_zeros() });
    words("firstTrailingBit(x)", |x| if x == 0 { u32::MAX } else { x.trailing_zeros() });
    words("extractBits(x, 4u, 9u) + extractBits(x, 30u, 9u)", |x| ((x >> 4) & 0x1ff) + (x >> 30));
    words("insertBits(x, 0x2au, 3u, 5u)", |x| x & !0xf8 | (0x2a & 0x1f) << 3);
    ints("firstLeadingBit(x)", |x| {
        let bits = if x < 0 { !x } else { x };
        31 - bits.leading_zeros() as i32
    });
    ints("extractBits(x, 2u, 6u)", |x| x << 24 >> 26);
}

#[test]
fn packing_and_unpacking() {
    let bytes = |x: u32| x.to_le_bytes();
    words("pack4xU8(unpack4xU8(x).wzyx)", u32::swap_bytes);
    words("bitcast<u32>(dot(unpack4xI8(x), vec4<i32>(1, 10, 100, 1000)))", |x| {
        bytes(x).iter().zip([1, 10, 100, 1000]).map(|(b, k)| i32::from(*b as i8) * k).sum::<i32>() as u32
    });
    words("dot4U8Packed(x, 0x01020304u)", |x| {
        bytes(x).iter().zip([4, 3, 2, 1]).map(|(b, k)| u32::from(*b) * k).sum()
    });
    words("bitcast<u32>(dot4I8Packed(x, 0x01020304u))", |x| {
        bytes(x).iter().zip([4, 3, 2, 1]).map(|(b, k)| i32::from(*b as i8) * k).sum::<i32>() as u32
    });
    words("pack4xI8Clamp(vec4<i32>(unpack4xI8(x)) * 2)", |x| {
        u32::from_le_bytes(bytes(x).map(|b| (i32::from(b as i8) * 2).clamp(-128, 127) as i8 as u8))
    });
    words("pack4x8unorm(unpack4x8unorm(x)) ^ pack2x16unorm(unpack2x16unorm(x))", |_| 0);
    words("pack4x8snorm(unpack4x8snorm(x & 0x7f7f7f7fu))", |x| x & 0x7f7f_7f7f);
    words("pack2x16float(unpack2x16float(x & 0x3fff3fffu))", |x| x & 0x3fff_3fff);
}

fn vectors(body: &str, expected: &[f32]) {
    let source = format!(
        "@group(0) @binding(0) var<storage, read> xs: array<f32>;
         @group(0) @binding(1) var<storage, read_write> r: array<f32>;
         @compute @workgroup_size(1) fn main() {{
           let a = vec3<f32>(xs[0], xs[1], xs[2]); let b = vec3<f32>(xs[3], xs[4], xs[5]); {body} }}"
    );
    let case =
        Case::new(&source).bind(0, &[1f32, 2.0, 3.0, 4.0, -5.0, 6.0]).bind(1, &vec![0f32; expected.len()]);
    case.close(1, expected, 1e-5);
}

#[test]
fn vector_functions_have_their_values() {
    let r = |value: &str| format!("let v = {value}; r[0] = v.x; r[1] = v.y; r[2] = v.z;");
    vectors(
        "r[0] = dot(a, b); r[1] = length(a); r[2] = distance(a, b);",
        &[12.0, 14f32.sqrt(), 67f32.sqrt()],
    );
    vectors(&r("cross(a, b)"), &[27.0, 6.0, -13.0]);
    let length = 14f32.sqrt();
    vectors(&r("normalize(a)"), &[1.0 / length, 2.0 / length, 3.0 / length]);
    vectors(&r("reflect(a, vec3<f32>(0.0, 1.0, 0.0))"), &[1.0, -2.0, 3.0]);
    vectors(&r("faceForward(a, b, vec3<f32>(1.0, 0.0, 0.0))"), &[-1.0, -2.0, -3.0]);
    vectors(
        &r("refract(vec3<f32>(0.6, -0.8, 0.0), vec3<f32>(0.0, 1.0, 0.0), 0.5)"),
        &[0.3, -(1.0 - 0.25 * 0.36f32).sqrt(), 0.0],
    );
    vectors(&r("refract(vec3<f32>(0.8, -0.6, 0.0), vec3<f32>(0.0, 1.0, 0.0), 2.0)"), &[0.0, 0.0, 0.0]);
    vectors(&r("mix(a, b, 0.5) * 2.0 + 1.0 / a"), &[6.0, -2.5, 9.0 + 1.0 / 3.0]);
    vectors(&r("select(a, b, a < abs(b)).zxy"), &[6.0, 4.0, -5.0]);
    vectors(
        "r[0] = f32(all(a > vec3<f32>(0.0))); r[1] = f32(any(b > vec3<f32>(7.0))); r[2] = f32(any(a == vec3(0., 2., 0.)));",
        &[1.0, 0.0, 1.0],
    );
    vectors(
        "var v = a; v.y = 9.0; v[2] += v.x; let i = u32(a.x); v[i] *= 2.0; r[0] = v.x; r[1] = v.y; r[2] = v.z;",
        &[1.0, 18.0, 4.0],
    );
}

#[test]
fn matrices_multiply_and_invert() {
    let m = "let m = mat3x3<f32>(a, b, vec3<f32>(0.0, 1.0, 2.0));";
    // Columns (1, 2, 3), (4, -5, 6), (0, 1, 2).
    vectors(
        &format!("{m} let v = m * vec3<f32>(1.0, 2.0, 3.0); r[0] = v.x; r[1] = v.y; r[2] = v.z;"),
        &[9.0, -5.0, 21.0],
    );
    vectors(
        &format!("{m} let v = vec3<f32>(1.0, 2.0, 3.0) * m; r[0] = v.x; r[1] = v.y; r[2] = v.z;"),
        &[14.0, 12.0, 8.0],
    );
    vectors(
        &format!("{m} r[0] = determinant(m); let t = transpose(m); r[1] = t[0].y; r[2] = t[2].x;"),
        &[-20.0, 4.0, 3.0],
    );
    vectors(
        &format!("{m} let p = m * m; r[0] = p[0][0]; r[1] = p[1].y; r[2] = (m + m * 2.0 - m)[2].z;"),
        &[9.0, 39.0, 4.0],
    );
    // The inverse times the matrix is the identity.
    let source = "
        @group(0) @binding(0) var<storage, read> ms: array<mat4x4<f32>>;
        @group(0) @binding(1) var<storage, read_write> r: array<mat4x4<f32>>;
        fn inverse(m: mat4x4<f32>) -> mat4x4<f32> {
          // By Gauss and Jordan, with dynamic rows and columns.
          var a = m; var b = mat4x4<f32>(vec4(1., 0., 0., 0.), vec4(0., 1., 0., 0.), vec4(0., 0., 1., 0.), vec4(0., 0., 0., 1.));
          for (var c = 0; c < 4; c++) {
            let pivot = 1.0 / a[c][c];
            for (var k = 0; k < 4; k++) { a[k][c] *= pivot; b[k][c] *= pivot; }
            for (var row = 0; row < 4; row++) {
              if (row == c) { continue; }
              let factor = a[c][row];
              for (var k = 0; k < 4; k++) { a[k][row] -= factor * a[k][c]; b[k][row] -= factor * b[k][c]; }
            }
          }
          return b;
        }
        @compute @workgroup_size(2) fn main(@builtin(local_invocation_index) i: u32) {
          r[i] = inverse(ms[i]) * ms[i];
        }";
    let ms: Vec<f32> =
        (0..32).map(|n| ((n * 7) % 11) as f32 + if n % 16 % 5 == 0 { 20.0 } else { 0.0 }).collect();
    let identity: Vec<f32> = (0..32).map(|n| f32::from(u8::from(n % 16 % 5 == 0))).collect();
    Case::new(source).bind(0, &ms).bind(1, &[0f32; 32]).close(1, &identity, 1e-4);
}
