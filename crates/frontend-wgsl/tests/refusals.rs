//! What cannot be imported: code, place, message and advice of each refusal.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use fulgurite_frontend_wgsl::{ImportOptions, import};
use fulgurite_spec::{Code, Diagnostic, Location};

fn problems(source: &str, options: &ImportOptions) -> Vec<Diagnostic> {
    match import(source, options) {
        Ok(_) => panic!("imported\n{source}"),
        Err(all) => all.all().to_vec(),
    }
}

fn place(problem: &Diagnostic) -> (u32, u32) {
    match problem.location {
        Location::Text { line, column, .. } => (line, column),
        _ => (0, 0),
    }
}

/// Checks the only problem of a source: its code and place, and words of its message and of its fix.
#[track_caller]
fn refused(source: &str, code: Code, at: (u32, u32), message: &str, fix: &str) {
    let all = problems(source, &ImportOptions::default());
    let [one] = &all[..] else { panic!("{all:?}") };
    assert_eq!((one.code, place(one)), (code, at), "{one}");
    assert!(one.message.contains(message), "{one}");
    assert!(one.fix_or_explanation().contains(fix), "{one}");
}

/// An entry point whose body is `body`, on line 2.
fn main(declarations: &str, body: &str) -> String {
    format!(
        "{declarations}\n@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3<u32>) {{ {body} }}\n\
         @group(3) @binding(0) var<storage, read_write> out: array<f32>;\n"
    )
}

#[test]
fn resources_that_are_no_buffers() {
    let texture = "@group(0) @binding(0) var image: texture_2d<f32>;";
    let load = "out[0] = textureLoad(image, vec2<i32>(0), 0).x;";
    refused(&main(texture, load), Code::WgslResource, (1, 23), "textures", "storage buffer");
    let storage = "@group(0) @binding(0) var image: texture_storage_2d<rgba8unorm, write>;";
    let write = "textureStore(image, vec2<i32>(0), vec4<f32>(0.0));";
    refused(&main(storage, write), Code::WgslResource, (1, 23), "textures", "storage buffer");
    let sampled = "@group(0) @binding(0) var s: sampler; @group(0) @binding(1) var t: texture_2d<f32>;";
    let sample = "out[0] = textureSampleLevel(t, s, vec2<f32>(0.0), 0.0).x;";
    refused(&main(sampled, sample), Code::WgslResource, (1, 23), "samplers", "storage buffer");
    let arrays = "enable wgpu_binding_array; struct S { a: array<f32> } @group(0) @binding(0) var<storage, read> many: binding_array<S, 4>;";
    refused(
        &main(arrays, "out[0] = many[1].a[0];"),
        Code::WgslResource,
        (1, 77),
        "arrays of bindings",
        "storage buffer",
    );
    let rays = "enable wgpu_ray_query; @group(0) @binding(0) var scene: acceleration_structure;";
    let query = "var q: ray_query; rayQueryInitialize(&q, scene, RayDesc(0u, 0xffu, 0.0, 1.0, vec3(0.0), vec3(1.0)));";
    refused(&main(rays, query), Code::WgslResource, (1, 46), "ray queries", "Traverse");
}

#[test]
fn textures_of_other_entry_points_do_not_matter() {
    let source = "@group(0) @binding(0) var image: texture_2d<f32>;
        @group(0) @binding(1) var<storage, read_write> out: array<f32>;
        @fragment fn shade() -> @location(0) vec4<f32> { return textureLoad(image, vec2<i32>(0), 0); }
        @compute @workgroup_size(1) fn plain() { out[0] = 1.0; }";
    let all = import(source, &ImportOptions::default()).unwrap();
    assert_eq!((all.len(), all[0].bindings.len()), (1, 1));
}

#[test]
fn constructs_without_an_equivalent() {
    refused(
        &main("fn f(p: ptr<storage, array<f32>, read_write>) { (*p)[0] = 1.0; }", "f(&out);"),
        Code::WgslUnsupported,
        (1, 1),
        "pointer to memory that others share",
        "index",
    );
    let double = "out[0] = f32(sin(f64(id.x)));";
    refused(&main("", double), Code::WgslUnsupported, (2, 99), "`Sin` does not exist for `f64`", "f32");
    let matrix =
        "enable wgpu_cooperative_matrix; @group(0) @binding(0) var<storage, read_write> m: array<f32>;";
    let load = "let a = coopLoad<coop_mat8x8<f32, A>>(&m[0], 8u); coopStore(a, &m[0], 8u);";
    let all = problems(&main(matrix, load), &ImportOptions::default());
    assert_eq!((all[0].code, place(&all[0]).0), (Code::WgslUnsupported, 2), "{}", all[0]);
}

#[test]
fn text_that_is_not_wgsl() {
    refused("fn f( {", Code::BadWgsl, (1, 7), "expected", "grammar");
    let undefined = main("", "\n  out[0] = nothing;");
    refused(&undefined, Code::BadWgsl, (3, 12), "no definition in scope for identifier: `nothing`", "WebGPU");
    let types = main("", "out[0] = 1u + 1.5f;");
    let all = problems(&types, &ImportOptions::default());
    assert_eq!((all[0].code, place(&all[0]).0), (Code::BadWgsl, 2), "{}", all[0]);
    // Columns count characters, not bytes.
    refused("/* äöü */ fn f( {", Code::BadWgsl, (1, 17), "expected", "grammar");
    let cycle = "fn a() { b(); } fn b() { a(); }";
    assert_eq!(problems(cycle, &ImportOptions::default())[0].code, Code::BadWgsl);
}

#[test]
fn barriers_in_non_uniform_control_flow() {
    let all = problems(&main("", "if (id.x < 5u) {\n workgroupBarrier(); }"), &ImportOptions::default());
    assert_eq!((all[0].code, place(&all[0])), (Code::NotUniform, (3, 2)), "{}", all[0]);
    // The path leads to the condition.
    assert!(!all[0].notes.is_empty(), "{}", all[0]);
    let early = "if (id.x < 5u) { return; }\n workgroupBarrier();";
    let all = problems(&main("", early), &ImportOptions::default());
    assert_eq!((all[0].code, place(&all[0])), (Code::NotUniform, (3, 2)), "{}", all[0]);
}

#[test]
fn entry_points_that_are_not_there() {
    let fragment = "@fragment fn f() { }";
    refused(fragment, Code::BadWgslEntry, (0, 0), "no compute entry point", "@compute");
    let source = "@compute @workgroup_size(1) fn a() { } @compute @workgroup_size(1) fn b() { }";
    let options = ImportOptions { entry: Some("c".to_owned()), ..ImportOptions::default() };
    let all = problems(source, &options);
    assert_eq!(all[0].code, Code::BadWgslEntry);
    assert!(all[0].message.contains("`c`") && all[0].fix_or_explanation().contains("a, b"), "{}", all[0]);
    let options = ImportOptions { entry: Some("b".to_owned()), ..ImportOptions::default() };
    assert_eq!(import(source, &options).unwrap()[0].entry, "b");
    assert_eq!(import(source, &ImportOptions::default()).unwrap().len(), 2);
}

#[test]
fn overrides_without_a_usable_value() {
    let source = main("override size: u32; override scale = 2.0;", "out[size] = scale;");
    refused(&source, Code::BadWgslOverride, (1, 1), "`size` has no value", "--override size=1");
    let with = |name: &str, value: f64| {
        let mut options = ImportOptions::default();
        options.overrides.insert(name.to_owned(), value);
        options
    };
    let one = |options: &ImportOptions| problems(&source, options).remove(0);
    let unknown = one(&with("sise", 1.0));
    assert_eq!(unknown.code, Code::BadWgslOverride);
    assert!(unknown.fix_or_explanation().contains("size, scale"), "{unknown}");
    for value in [-1.0, 5e9, f64::NAN, f64::INFINITY] {
        let problem = one(&with("size", value));
        assert_eq!((problem.code, place(&problem)), (Code::BadWgslOverride, (1, 1)), "{problem}");
    }
    assert!(import(&source, &with("size", 3.0)).is_ok());
    let zero = "override n = 4u; var<workgroup> w: array<f32, n>;
        @compute @workgroup_size(n) fn main() { w[0] = 1.0; }";
    assert_eq!(problems(zero, &with("n", 0.0))[0].code, Code::BadWgslOverride);
    assert_eq!(problems(zero, &with("n", 5000.0))[0].code, Code::BadWorkgroup);
}

#[test]
fn shaders_that_are_too_large() {
    // Each function calls the one before twice.
    let mut functions = "fn g0(x: f32) -> f32 { return x * 2.0; }\n".to_owned();
    for i in 1..40 {
        functions.push_str(&format!("fn g{i}(x: f32) -> f32 {{ return g{0}(x) + g{0}(x + 1.0); }}\n", i - 1));
    }
    let all = problems(&main(&functions, "out[0] = g39(1.0);"), &ImportOptions::default());
    assert_eq!(all[0].code, Code::WgslTooLarge, "{}", all[0]);
    let mut deep = "fn g0(x: f32) -> f32 { return x * 2.0; }\n".to_owned();
    for i in 1..200 {
        deep.push_str(&format!("fn g{i}(x: f32) -> f32 {{ return g{}(x); }}\n", i - 1));
    }
    let all = problems(&main(&deep, "out[0] = g199(1.0);"), &ImportOptions::default());
    assert_eq!(all[0].code, Code::WgslTooLarge, "{}", all[0]);
    let exits = "if (id.x == 7u) { return; } ".repeat(300);
    let all = problems(&main("", &exits), &ImportOptions::default());
    assert_eq!(all[0].code, Code::WgslTooLarge, "{}", all[0]);
    let whole =
        "struct S { a: array<f32, 100000> } @group(0) @binding(0) var<storage, read_write> s: array<S>;";
    let all = problems(&main(whole, "s[0] = s[1];"), &ImportOptions::default());
    assert_eq!(all[0].code, Code::WgslTooLarge, "{}", all[0]);
    let local = main("", "var a: array<f32, 20000>; a[id.x] = 1.0; out[0] = a[id.y];");
    assert_eq!(problems(&local, &ImportOptions::default())[0].code, Code::TooMuchMemory);
    let mut types = "struct S0 { a: f32 }\n".to_owned();
    for i in 1..60 {
        types.push_str(&format!("struct S{i} {{ a: S{} }}\n", i - 1));
    }
    types.push_str("@group(0) @binding(0) var<storage, read_write> s: S59;");
    let all = problems(&main(&types, "out[0] = 1.0; _ = &s;"), &ImportOptions::default());
    assert_eq!(all[0].code, Code::WgslTooLarge, "{}", all[0]);
    let mut wide = "struct S0 { a: f32 }\n".to_owned();
    for i in 1..25 {
        wide.push_str(&format!("struct S{i} {{ a: S{0}, b: S{0} }}\n", i - 1));
    }
    wide.push_str("@group(0) @binding(0) var<storage, read_write> s: S24;");
    let all = problems(&main(&wide, "out[0] = 1.0; _ = &s;"), &ImportOptions::default());
    assert_eq!(all[0].code, Code::WgslTooLarge, "{}", all[0]);
    let entries: String =
        (0..300).map(|i| format!("@compute @workgroup_size(1) fn e{i}() {{ }}\n")).collect();
    let all = problems(&entries, &ImportOptions::default());
    assert_eq!((all.len(), all[0].code), (1, Code::WgslTooLarge));
    let options = ImportOptions { entry: Some("e299".to_owned()), ..ImportOptions::default() };
    assert_eq!(import(&entries, &options).unwrap().len(), 1);
    let text = " ".repeat(5 << 20);
    assert_eq!(problems(&text, &ImportOptions::default())[0].code, Code::WgslTooLarge);
}

#[test]
fn problems_of_all_entry_points_are_reported() {
    let source = "@group(0) @binding(0) var image: texture_2d<f32>;
        @compute @workgroup_size(1) fn a() { _ = textureLoad(image, vec2<i32>(0), 0); }
        @compute @workgroup_size(1) fn b() { }
        @compute @workgroup_size(1) fn c() { _ = textureDimensions(image); }";
    assert_eq!(problems(source, &ImportOptions::default()).len(), 2);
}
