//! Tests of native code of each width that the machine runs: every op against `spec::eval`, and kernels with control flow
//! and memory against the interpreter.

mod group;
mod loops;
mod ops;
pub(super) mod planted;
mod random;

use crate::native::x64::Target;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use fulgurite_hal::{
    Binding, CompileOptions, Device as _, DeviceBuffer, Error, Executable, Launch, LaunchOptions,
};
use fulgurite_ir::VerifiedKernel;

use crate::native::program::{Step, VectorOp2};
use crate::native::{lower, x64};
use crate::tests::{grid, kernel};
use crate::{Compiled, CpuDevice, CpuOptions, Native, machine_code};

/// A sequence of pseudo-random numbers.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (self.0 >> 33) as u32 ^ (self.0 >> 17) as u32
    }
}

/// The options for native code that this machine runs.
fn widths() -> impl Iterator<Item = Native> {
    [Native::Avx2, Native::Avx512].into_iter().filter(|native| native.is_available())
}

/// Runs a kernel in native code, and returns the contents of its buffers.
fn run(
    native: Native,
    kernel: &Arc<VerifiedKernel>,
    contents: &[Vec<u32>],
    params: &[u64],
    options: &LaunchOptions,
) -> Vec<Vec<u32>> {
    let device = CpuDevice::with(CpuOptions { native });
    let executable = device.compile(kernel.clone(), &CompileOptions::default()).unwrap();
    launched(&device, &executable, contents, params, options).unwrap()
}

/// Does what [`run`] does in the interpreter, with subgroups of the same size.
fn interpreted(
    native: Native,
    kernel: &Arc<VerifiedKernel>,
    contents: &[Vec<u32>],
    params: &[u64],
    options: &LaunchOptions,
) -> Vec<Vec<u32>> {
    let (id, engine, subgroup) = (String::new(), OnceLock::new(), native.subgroup_size() as usize);
    let executable: Arc<dyn Executable> =
        Arc::new(Compiled { id, kernel: kernel.clone(), native: None, subgroup, engine });
    launched(&CpuDevice::with(CpuOptions { native }), &executable, contents, params, options).unwrap()
}

fn launched(
    device: &CpuDevice,
    executable: &Arc<dyn Executable>,
    contents: &[Vec<u32>],
    params: &[u64],
    options: &LaunchOptions,
) -> Result<Vec<Vec<u32>>, Error> {
    let mut buffers: Vec<Arc<dyn DeviceBuffer>> = Vec::new();
    for words in contents {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let buffer = device.allocate(bytes.len() as u64).unwrap();
        buffer.write(0, &bytes).unwrap();
        buffers.push(buffer);
    }
    let params: Vec<_> = params.iter().map(|bits| [*bits, 0, 0, 0]).collect();
    let limits = &device.snapshot().limits;
    let kernel = executable.kernel();
    let launch = Launch::check(kernel, limits, Binding::each(&buffers), &params, options).unwrap();
    executable.launch(&launch)?;
    let words = |buffer: &Arc<dyn DeviceBuffer>| {
        let mut bytes = vec![0; buffer.bytes() as usize];
        buffer.read(0, &mut bytes).unwrap();
        bytes.chunks_exact(4).map(|b| u32::from_le_bytes(b.try_into().unwrap())).collect()
    };
    Ok(buffers.iter().map(words).collect())
}

/// Checks that a kernel is compiled to native code and does what the interpreter does.
fn same(kernel: &Arc<VerifiedKernel>, contents: &[Vec<u32>], params: &[u64], options: &LaunchOptions) {
    for native in widths() {
        if let Some(difference) = difference(native, kernel, contents, params, options) {
            panic!("{native:?}: {difference}");
        }
    }
}

/// Describes the first difference of what native code does to what the interpreter does, if there is any.
fn difference(
    native: Native,
    kernel: &Arc<VerifiedKernel>,
    contents: &[Vec<u32>],
    params: &[u64],
    options: &LaunchOptions,
) -> Option<String> {
    let wanted = interpreted(native, kernel, contents, params, options);
    assert!(machine_code(kernel, CpuOptions { native }).is_ok(), "{native:?} does not support it");
    let device = CpuDevice::with(CpuOptions { native });
    let executable = device.compile(kernel.clone(), &CompileOptions::default()).unwrap();
    let found = match launched(&device, &executable, contents, params, options) {
        Ok(found) => found,
        Err(error) => return Some(error.to_string()),
    };
    found.iter().zip(&wanted).enumerate().find_map(|(buffer, (found, wanted))| {
        let at = found.iter().zip(wanted).position(|(found, wanted)| found != wanted)?;
        Some(format!("word {at} of buffer {buffer} is {:#x}, not {:#x}", found[at], wanted[at]))
    })
}

/// Words of which many are small.
fn words(count: usize, seed: u64) -> Vec<u32> {
    let mut numbers = Numbers(seed);
    (0..count).map(|_| numbers.next() >> (numbers.next() % 32)).collect()
}

#[test]
fn rows_are_accessed_in_bounds_whatever_the_sizes() {
    // A row, rows moved up and down, a gather and a scatter, with and without a guard.
    let lines = "buffer %x: read u32[]\nbuffer %out: write u32[]
  buffer %moved: write u32[]\nbuffer %apart: write u32[]\nparam %d: u32
  %i = global_id.x\n%up = add %i, %d\n%down = sub %i, %d\n%a = load %x[%i]\n%b = load %x[%up]
  %c = load %x[%down]\n%g = load %x[%a]\n%ab = add %a, %b\n%cg = xor %c, %g\n%s = add %ab, %cg
  store %out[%i], %s\n%n = len %x\n%in = lt %up, %n\nif %in {\n  %v = load %x[%up]\n  %w = add %v, 1u32
  %at = sub %i, 5u32\n  store %moved[%at], %w\n}\n%j = mul %i, 3u32\nstore %apart[%j], %g";
    for size in [1, 8, 60, 64] {
        let kernel = kernel(&format!("{size}, 1, 1"), lines);
        for count in [0usize, 1, 7, 8, 15, 16, 17, 31, 64, 100, 257] {
            for distance in [0, 1, 3, 16, 64, 1 << 31, u64::from(u32::MAX)] {
                let contents = [words(count, 3), vec![0; count], vec![0; count], vec![0; count * 2]];
                let groups = (count as u32).div_ceil(size) + 1;
                same(&kernel, &contents, &[distance], &grid(groups));
            }
        }
    }
}

#[test]
fn control_flow_diverges_as_in_the_interpreter() {
    let lines = "buffer %x: read u32[]\nbuffer %out: write u32[]\nparam %p: u32
  %i = global_id.x\n%v = load %x[%i]\n%bit = and %v, 1u32\n%odd = ne %bit, 0u32\n%big = gt %p, 10u32
  %a, %q = if %odd -> u32, bool {
    %up = add %v, 7u32\n    %r = if %big -> u32 {\n      %t = mul %up, 3u32\n      yield %t\n    } else {\n      yield %p\n    }
    yield %r, %big
  } else {\n    %w = shr %v, 2u32\n    yield %w, %odd\n  }
  %end = and %v, 15u32
  %sum, %flip = for %j in %bit to %end step 3u32 carry(%s = %a, %f = %q) {
    %s1 = add %s, %j\n    %s2 = rotl %s1, %j\n    %nf = not %f\n    yield %s2, %nf
  }
  %down = for %j in 5i32 to -4i32 step -2i32 carry(%s = %sum) {
    %ju = bitcast %j -> u32\n    %s1 = xor %s, %ju\n    %in = lt %s1, 1000u32
    %s2 = if %in -> u32 {\n      %x1 = load %x[%s1]\n      yield %x1\n    } else {\n      yield %s1\n    }\n    yield %s2
  }
  %swap, %other = for %j in 0u32 to %p step 1u32 carry(%m = %down, %n = %p) {\n    yield %n, %m\n  }
  %last, %steps = while carry(%n = %end, %k = 0u32) {
    %go = gt %n, 1u32\n    condition %go
  } do {
    %even = and %n, 1u32\n    %is = ne %even, 0u32\n    %h = shr %n, 1u32\n    %th = mul %n, 3u32\n    %u = add %th, 1u32
    %next = select %is, %u, %h\n    %k1 = add %k, 1u32\n    yield %next, %k1
  }
  %fl = select %flip, 1u32, 0u32\n  %e = add %steps, %fl\n  %g = add %e, %swap\n  %h = xor %g, %other\n  %z = add %h, %last
  store %out[%i], %z";
    let kernel = kernel("64, 1, 1", lines);
    for p in [0, 5, 11, 12] {
        same(&kernel, &[words(250, 5), vec![0; 250]], &[p], &grid(4));
    }
}

#[test]
fn ids_are_those_of_the_launch() {
    let lines = "buffer %out: write u32[]
  %gx = global_id.x\n%gy = global_id.y\n%gz = global_id.z\n%l = local_index\n%wx = workgroup_id.x\n%wz = workgroup_id.z
  %lx = local_id.x\n%ly = local_id.y\n%nx = num_workgroups.x\n%ny = num_workgroups.y
  %sx = mul %nx, 5u32\n%sy = mul %ny, 2u32\n%a = mul %gz, %sy\n%b = add %a, %gy\n%c = mul %b, %sx\n%at = add %c, %gx
  %h0 = mul %l, 31u32\n%h1 = add %h0, %wx\n%h2 = mul %h1, 31u32\n%h3 = add %h2, %wz\n%h4 = mul %h3, 31u32
  %h5 = add %h4, %lx\n%h6 = mul %h5, 31u32\n%h7 = add %h6, %ly\nstore %out[%at], %h7";
    let kernel = kernel("5, 2, 3", lines);
    let options = LaunchOptions::workgroups([7, 3, 2]);
    same(&kernel, &[vec![0; 7 * 5 * 3 * 2 * 2 * 3]], &[], &options);
}

#[test]
fn a_loop_without_end_times_out() {
    let lines = "buffer %out: write u32[]\n%i = global_id.x\n%one = eq %i, 5000u32
        while {\ncondition %one\n} do {\n}";
    let kernel = kernel("64, 1, 1", lines);
    for native in widths() {
        let device = CpuDevice::with(CpuOptions { native });
        let buffers = [device.allocate(4).unwrap()];
        let executable = device.compile(kernel.clone(), &CompileOptions::default()).unwrap();
        let options = grid(100).timeout(Duration::from_millis(40));
        let limits = &device.snapshot().limits;
        let launch = Launch::check(&kernel, limits, Binding::each(&buffers), &[], &options).unwrap();
        let error = executable.launch(&launch).unwrap_err();
        assert_eq!(error.code(), fulgurite_spec::Code::Timeout);
    }
}

#[test]
fn long_bodies_count_more_than_short_ones() {
    let weights = |divisions: usize| {
        let mut lines =
            String::from("buffer %x: read_write u64[]\nparam %n: u32\n%i = global_id.x\n%v0 = load %x[%i]\n");
        lines += "%r = for %k in 0u32 to %n step 1u32 carry(%a0 = %v0) {\n";
        for k in 0..divisions {
            lines += &format!("%b{k} = or %a{k}, 1u64\n%a{} = div %v0, %b{k}\n", k + 1);
        }
        lines += &format!("yield %a{divisions}\n}}\nstore %x[%i], %r");
        let program = lower::lower(&kernel("64, 1, 1", &lines), Target::Avx2).unwrap();
        x64::weights(&program).into_values().max()
    };
    assert_eq!([1, 1000].map(weights), [Some(1), Some(x64::POLLS)]);
}

#[test]
fn registers_that_do_not_fit_live_in_the_frame() {
    use core::fmt::Write as _;

    // Many values of every class, all used at the end, across a loop with a divergent branch.
    let mut lines =
        String::from("buffer %x: read u32[]\nbuffer %out: write u32[]\nparam %p: u32\n%i = global_id.x\n");
    for k in 0..60 {
        let _ = writeln!(lines, "%i{k} = add %i, {k}u32\n%v{k} = load %x[%i{k}]\n%c{k} = gt %v{k}, {k}u32");
        let _ = writeln!(lines, "%p{k} = mul %p, {}u32\n%q{k} = rotr %p{k}, {k}u32", k * 7 + 3);
    }
    lines += "%s = for %j in 0u32 to %p step 1u32 carry(%s0 = %i) {\n%o = and %s0, 1u32\n%od = ne %o, 0u32
      %t = if %od -> u32 {\n%m = mul %s0, 5u32\nyield %m\n} else {\n%m = add %s0, %j\nyield %m\n}\nyield %t\n}\n";
    let mut last = String::from("%s");
    for k in 0..60 {
        let _ = writeln!(
            lines,
            "%a{k} = add {last}, %v{k}\n%b{k} = xor %a{k}, %q{k}\n%d{k} = select %c{k}, %b{k}, %a{k}"
        );
        last = format!("%d{k}");
    }
    let _ = writeln!(lines, "store %out[%i], {last}");
    same(&kernel("64, 1, 1", &lines), &[words(200, 9), vec![0; 200]], &[9], &grid(3));
}

#[test]
fn vectors_are_their_components() {
    let lines = "buffer %x: read u32[]\nbuffer %out: write u32[]\nbuffer %wide: write u32x3[]\nparam %q0: u32
  view %x4 = %x as f32x4[]\nview %x3 = %x as i32x3[]\nview %x2 = %x as u32x2[]
  %i = global_id.x\n%p = construct %q0, 7u32\n%w = workgroup_id.x\n%a = load %x2[%i]\n%b = load %x2[%w]\n%s = add %a, %b\n%t = mul %s, %p
  %far = add %w, 2147483648u32\n%z = load %x2[%far]\n%u = xor %t, %z\n%n = load %x3[%i]\n%n0 = extract %n, 0u32
  %n7 = extract %n, 7u32\n%u0 = extract %u, 0u32\n%u1 = extract %u, 1u32\n%lt = lt %a, %b\n%v = select %lt, %u, %p
  %mix = vec.shuffle[0, 3, 1] %u, %v\n%ins = insert %mix, 1u32, %i\n%d = dot %mix, %ins
  %r = for %j in 0u32 to 5u32 step 1u32 carry(%c = %mix) {\n  %c1 = add %c, %ins\n  %q = vec.shuffle[1, 2, 0] %c, %c1\n  yield %q\n  }
  %odd = and %d, 1u32\n%is = ne %odd, 0u32\n%e = if %is -> u32x3 {\n  yield %r\n  } else {\n  %h = shr %r, %mix\n  yield %h\n  }
  store %wide[%i], %e\n%g = load %x4[%u0]\n%g3 = extract %g, 3u32\n%gb = bitcast %g3 -> u32\n%nb = bitcast %n0 -> u32
  %nz = bitcast %n7 -> u32\n%y0 = add %gb, %nb\n%y1 = add %y0, %nz\n%y2 = xor %y1, %u1\n%y3 = add %y2, %d\nstore %out[%i], %y3";
    let kernel = kernel("64, 1, 1", lines);
    for count in [0, 4, 61, 64, 100, 250, 384] {
        same(&kernel, &[words(count, 4), vec![0; 128], vec![0; 3 * 120]], &[5], &grid(2));
    }
}

#[test]
fn rows_of_vectors_are_accessed_in_bounds() {
    let lines = "buffer %x: read u32[]\nbuffer %out: write u32x4[]\nbuffer %four: write u32x4[]\nbuffer %two: write u64[]\nview %x4 = %x as u32x4[]\nview %x2 = %x as u32x2[]\nparam %d: u32
  shared %s: u32x4[64]\n%l = local_index\n%i = global_id.x\n%up = add %i, %d\n%a = load %x4[%up]\n%b = load %x2[%up]\n%c = min %up, 20u32
  %e = load %x4[%c]\n%b1 = vec.shuffle[1, 0, 1, 1] %b, %b\n%t = mul %a, %e\n%v = sub %t, %b1\nstore %s[%l], %v\nbarrier
  %k = add %l, 2u32\n%w = load %s[%k]\n%z = vec.shuffle[3, 0, 2, 1] %w, %w\n%y = add %z, %a\nstore %four[%up], %y
  %h0 = extract %y, 0u32\n%h1 = extract %y, 1u32\n%h2 = convert %h0 -> u64\n%h3 = convert %h1 -> u64\n%h4 = shl %h3, 32u32\n%h = or %h2, %h4
  store %two[%up], %h\n%odd0 = and %l, 1u32\n%odd = ne %odd0, 0u32
  if %odd {\n  %q = load %x4[%i]\n  %q1 = xor %q, %y\n  store %out[%i], %q1\n} else {\n  store %out[%i], %y\n}";
    for size in [64, 20] {
        let kernel = kernel(&format!("{size}, 1, 1"), lines);
        for count in [0, 3, 64, 100, 255, 256, 600] {
            for distance in [0, 1, 5, 1 << 30, 1 << 31, u32::MAX - 3] {
                let after = [4 * 128, count / 4 * 4, count / 2 * 2].map(|count| vec![0; count]);
                let [out, four, two] = after;
                same(&kernel, &[words(count, 4), out, four, two], &[distance.into()], &grid(2));
            }
        }
    }
}

#[test]
fn narrow_elements_are_accessed_in_bounds() {
    // Rows, rows moved up and down, one element for all, gathers and scatters, whole words of components and others.
    for (one, two, three) in
        [("u8", "u8x4", "u8x3"), ("i8", "i8x2", "i8x3"), ("i16", "i16x2", "i16x3"), ("u16", "u16x4", "u16x3")]
    {
        let lines = format!(
            "buffer %x: read {one}[]\nbuffer %two: read {two}[]\nbuffer %three: read {three}[]\nbuffer %out: write {one}[]
  buffer %moved: write {one}[]\nbuffer %apart: write {two}[]\nbuffer %odd: write {three}[]\nbuffer %all: write u32[]
  param %d: u32\nparam %p: {one}\nshared %sh: {one}[70]\n%i = global_id.x\n%l = local_index
  %up = add %i, %d\n%down = sub %i, %d\n%a = load %x[%i]\n%b = load %x[%up]\n%c = load %x[%down]\n%g = load %x[%d]
  %v = load %two[%up]\n%v0 = extract %v, 0u32\n%v1 = extract %v, 1u32\n%w = load %three[%i]\n%w2 = extract %w, 2u32
  %far = mul %i, 3u32\n%f = load %x[%far]\nstore %sh[%l], %f\nbarrier\n%back = sub 63u32, %l\n%h = load %sh[%back]
  %s0 = add %a, %b\n%s1 = sub %c, %g\n%s2 = mul %v0, %v1\n%s3 = xor %s0, %s1\n%s4 = add %s2, %w2\n%s5 = add %s3, %s4
  %s6 = min %s5, %h\n%s7 = add %s6, %p\nstore %out[%i], %s7\nstore %moved[%down], %s5\nstore %apart[%up], %v
  store %odd[%i], %w\n%wide = convert %s7 -> u32\nstore %all[%i], %wide\n%bit = and %i, 1u32\n%is = ne %bit, 0u32
  if %is {{\n  %k = load %x[%down]\n  store %out[%i], %k\n}}"
        );
        for size in [64, 24] {
            let kernel = kernel(&format!("{size}, 1, 1"), &lines);
            for bytes in [0usize, 48, 96, 192, 768] {
                for distance in [0, 1, 3, 17, 1 << 30, 1 << 31, u64::from(u32::MAX)] {
                    let contents: Vec<Vec<u32>> = (0..8)
                        .map(|k| if k < 3 { words(bytes / 4, 3 + k) } else { vec![0; bytes / 4] })
                        .collect();
                    let groups = (bytes as u32).div_ceil(size) + 1;
                    same(&kernel, &contents, &[distance, 0x7f], &grid(groups));
                }
            }
        }
    }
}

#[test]
fn loops_from_a_row_make_all_rounds() {
    // Strides shorter and longer than a vector; rows that wrap, or begin at or beyond the end; under a mask and without.
    for step in [1u32, 3, 64, 250, 1 << 30, 3 << 30] {
        let lines = format!(
            "buffer %x: read u32[]\nbuffer %out: write u32[]\nparam %d: u32\nparam %end: u32\n%i = global_id.x\n%start = add %i, %d
  %bit = and %i, 1u32\n%odd = ne %bit, 0u32
  %a, %n = for %at in %start to %end step {step}u32 carry(%s = 7u32, %c = 0u32) {{
    %v = load %x[%at]\n    %t = rotl %s, 3u32\n    %u = add %t, %v\n    %w = xor %u, %at\n    %c1 = add %c, 1u32\n    yield %w, %c1
  }}
  %e = if %odd -> u32 {{
    %f = for %at in %i to 90u32 step {step}u32 carry(%s = %a) {{\n      %v = load %x[%at]\n      %t = mul %s, 5u32\n      %u = add %t, %v\n      yield %u\n    }}
    yield %f
  }} else {{\n    yield %n\n  }}
  %r0 = add %a, %e\n%r = add %r0, %n\nstore %out[%i], %r"
        );
        let kernel = kernel("64, 1, 1", &lines);
        let top = u64::from(u32::MAX);
        for (distance, end) in [
            (0, 100),
            (0, 15),
            (0, 16),
            (5, 200),
            (90, 90),
            (200, 100),
            (top - 70, top),
            (top - 5, top),
            (top - 30, 50),
        ] {
            // A short stride over a row that wraps takes too many rounds.
            if step < 1 << 30 && distance > 1 << 20 {
                continue;
            }
            same(&kernel, &[words(230, 31), vec![0; 128]], &[distance, end], &grid(2));
        }
    }
}

#[test]
fn code_grows_with_the_depth_of_loops_only() {
    let nest = |depth: usize| {
        let mut lines = String::from("buffer %x: read_write u32[]\n%i = global_id.x\n");
        for level in 0..depth {
            lines += &format!("for %j{level} in %i to 90u32 step 7u32 {{\n");
        }
        lines += &format!("%v = load %x[%j0]\n%w = add %v, %j{}\nstore %x[%i], %w\n", depth - 1);
        lines += &"}\n".repeat(depth);
        kernel("64, 1, 1", &lines)
    };
    for native in widths() {
        let [few, many] =
            [10, 40].map(|depth| machine_code(&nest(depth), CpuOptions { native }).unwrap().len());
        assert!(many < 6 * few, "{native}: {few} bytes of code, then {many}");
    }
}

#[test]
fn vectors_are_built_and_taken_apart() {
    // Packed and unpacked in all ways, with components at indices that vary, some out of range.
    let packs = [
        ("u32", "u8x4"),
        ("u32", "i16x2"),
        ("u32", "f16x2"),
        ("u16", "i8x2"),
        ("u64", "u16x4"),
        ("u64", "i32x2"),
        ("u64", "bf16x4"),
    ];
    for (whole, parts) in packs {
        let count = parts.as_bytes()[parts.len() - 1] - b'0';
        let lines = format!(
            "buffer %x: read u64[]\nbuffer %out: write u64[]\n%i = global_id.x\n%a = load %x[%i]\n%j = xor %i, 1u32
  %b = load %x[%j]\n%wa = convert %a -> {whole}\n%wb = convert %b -> {whole}\n%va = unpack %wa -> {parts}
  %vb = unpack %wb -> {parts}\n%at = rem %i, 7u32\n%e = extract %vb, %at\n%last = extract %va, {}u32
  %v1 = insert %va, %at, %last\n%v2 = insert %v1, 1u32, %e\n%first = eq %at, 0u32
  %pairs = construct %first, %first\n%is = extract %pairs, %at\n%w = pack %v2\n%w64 = convert %w -> u64
  %more = select %is, 5u64, 9u64\n%r = xor %w64, %more\nstore %out[%i], %r",
            count - 1
        );
        let kernel = kernel("64, 1, 1", &lines);
        same(&kernel, &[words(2 * 128, 21), vec![0; 2 * 128]], &[], &grid(2));
    }
    // Sums of products, of each class of types.
    for ty in ["u8", "i16", "u32", "i64", "f32"] {
        let lines = format!(
            "buffer %x: read u32[]\nbuffer %out: write {ty}[]\n%i = global_id.x\n%a = load %x[%i]\n%j = xor %i, 5u32
  %b = load %x[%j]\n%sa = and %a, 63u32\n%sb = and %b, 31u32\n%ca = convert %sa -> {ty}\n%cb = convert %sb -> {ty}
  %va = construct %ca, %cb, %ca\n%vb = construct %cb, %cb, %ca\n%r = dot %va, %vb\nstore %out[%i], %r"
        );
        let kernel = kernel("64, 1, 1", &lines);
        same(&kernel, &[words(64, 22), vec![0; 2 * 64]], &[], &grid(1));
    }
}

#[test]
fn clamped_indices_are_rows_where_nothing_is_clamped() {
    let lines = "buffer %x: read u32[]\nbuffer %out: write u32[]\nparam %least: u32\nparam %most: u32\nparam %d: u32
  %i = global_id.x\n%far = add %i, %d\n%a = max %far, %least\n%b = min %a, %most\n%v = load %x[%b]\n%c = min %most, %far
  %e = sub %c, %least\n%f = max %e, 1u32\n%g = add %f, %d\n%w = load %x[%g]\n%s = mul %v, 3u32\n%t = add %s, %w
  store %out[%i], %t\n%o = max %b, 3u32\n%n = len %x\n%in = lt %o, %n\nif %in {\n  %z = load %x[%o]\n  %z1 = add %z, %t
  store %out[%i], %z1\n}";
    let kernel = kernel("64, 1, 1", lines);
    let edges = [0, 1, 5, 17, 40, 200, 1 << 31, u32::MAX - 20, u32::MAX];
    for least in edges {
        for most in edges {
            for distance in [0, 8, u32::MAX - 7, u32::MAX - 40] {
                same(
                    &kernel,
                    &[words(130, 8), vec![0; 128]],
                    &[least, most, distance].map(u64::from),
                    &grid(2),
                );
            }
        }
    }
}

#[test]
fn deep_and_long_kernels_compile() {
    use core::fmt::Write as _;

    let mut deep = String::from("buffer %x: read_write u32[]\n%i = global_id.x\n");
    for k in 0..390 {
        let _ = writeln!(deep, "%v{k} = load %x[%i]\n%c{k} = gt %v{k}, {k}u32\nif %c{k} {{");
    }
    deep += "store %x[%i], 7u32\n";
    deep += &"}\n".repeat(390);
    same(&kernel("64, 1, 1", &deep), &[words(100, 2)], &[], &grid(2));

    let mut long = String::from("buffer %x: read_write u32[]\n%i = global_id.x\n%v0 = load %x[%i]\n");
    for k in 0..12_000 {
        let _ = writeln!(long, "%v{} = mul %v{k}, {}u32", k + 1, 2 * k + 5);
    }
    long += "store %x[%i], %v12000";
    let kernel = kernel("64, 1, 1", &long);
    same(&kernel, &[words(100, 2)], &[], &grid(2));
}

#[test]
fn launches_that_native_code_cannot_run_are_interpreted() {
    // A buffer that the kernel does not access may begin within a word.
    let lines = "buffer %unused: read u8[]\nbuffer %out: write u32[]\n%i = global_id.x\nstore %out[%i], %i";
    let kernel = kernel("64, 1, 1", lines);
    for native in widths() {
        assert!(machine_code(&kernel, CpuOptions { native }).is_ok());
        let device = CpuDevice::with(CpuOptions { native });
        let executable = device.compile(kernel.clone(), &CompileOptions::default()).unwrap();
        let buffers = [device.allocate(64).unwrap(), device.allocate(256).unwrap()];
        for offset in [0, 3, 0, 1] {
            buffers[1].write(0, &[0; 256]).unwrap();
            let mut bindings = Binding::each(&buffers);
            bindings[0] = bindings[0].part(offset, 7).unwrap();
            let limits = &device.snapshot().limits;
            let launch = Launch::check(&kernel, limits, bindings, &[], &grid(1)).unwrap();
            executable.launch(&launch).unwrap();
            let mut bytes = [0; 256];
            buffers[1].read(0, &mut bytes).unwrap();
            assert!((0..64u32).flat_map(u32::to_le_bytes).eq(bytes));
        }
    }
}

#[test]
fn local_arrays_belong_to_their_invocation() {
    // Indices that are literals, uniform and varying, in and out of bounds, of elements of one and three words.
    let lines = "buffer %x: read u32[]\nbuffer %out: write u32[]\nparam %p: u32\nlocal %a: u32[5]\nlocal %b: i32x3[12]
  local %c: f32[3]\n%i = global_id.x\n%v = load %x[%i]\n%s0 = load %a[2u32]\n%d = load %a[9u32]\n%e = load %b[%v]\n%e0 = extract %e, 1u32
  store %a[%v], %i\nstore %a[4u32], %v\nstore %a[5u32], %v\nstore %a[%p], 77u32\n%f = load %a[%p]\n%q = construct 1i32, 2i32, 3i32
  store %b[%p], %q\n%w = add %v, 1u32\n%wi = bitcast %w -> i32\n%r = construct %wi, %wi, 5i32\nstore %b[%v], %r
  %h = load %b[%p]\n%hs = dot %h, %q\n%k = load %b[%w]\n%ks = dot %k, %r\n%odd = and %v, 1u32\n%is = ne %odd, 0u32
  if %is {\n  store %a[0u32], 9u32\n  store %a[%p], 8u32\n  store %a[%odd], 3u32\n  store %c[1u32], 2.5f32\n  }
  %sum = for %j in 0u32 to 6u32 step 1u32 carry(%t = %d) {\n  %l = load %a[%j]\n  %t3 = mul %t, 31u32\n  %t1 = add %t3, %l\n  yield %t1\n  }
  %cv = load %c[%odd]\n%cb = bitcast %cv -> u32\n%y0 = xor %sum, %cb\n%y1 = add %y0, %f\n%u = add %hs, %ks\n%u1 = add %u, %e0
  %ub = bitcast %u1 -> u32\n%y2 = xor %y1, %ub\n%y3 = add %y2, %s0\nstore %out[%i], %y3";
    for size in [64, 8, 5] {
        let kernel = kernel(&format!("{size}, 1, 1"), lines);
        for p in [0, 1, 4, 5, 11, 12, 1 << 28, u32::MAX] {
            let small = words(130, 4).iter().map(|word| word % 14).collect();
            same(&kernel, &[small, vec![0; 128]], &[p.into()], &grid(3));
            same(&kernel, &[words(130, 4), vec![0; 128]], &[p.into()], &grid(3));
        }
    }
}

#[test]
fn loads_stay_before_stores_that_follow_them() {
    let lines = "buffer %x: read_write u32[]\nbuffer %out: write u32[]
  %i = global_id.x\n%n = len %x\n%in = lt %i, %n\nif %in {\n  %a = load %x[%i]\n  store %x[%i], 7u32
  %b = add %i, %a\n  store %x[%i], %b\n  %c = mul %b, %a\n  %d = load %x[%i]\n  %e = xor %c, %d\n  store %x[%i], %e\n}
  %v = load %x[%i]\nstore %x[%i], 3u32\n%w = sub %i, %v\nstore %x[%i], %w";
    same(&kernel("64, 1, 1", lines), &[words(100, 6), Vec::new()], &[], &grid(2));
    let once = "buffer %x: read_write u32[]\n%i = global_id.x\n%n = len %x\n%in = lt %i, %n\nif %in {
  %a = load %x[%i]\n  store %x[%i], 7u32\n  %b = add %i, %a\n  store %x[%i], %b\n}";
    same(&kernel("64, 1, 1", once), &[words(128, 6)], &[], &grid(2));
}

#[test]
fn stores_of_consecutive_words_are_rows() {
    let stores = |base: &str, values: [&str; 4]| -> String {
        let stores = (0..4).zip(values).map(|(offset, value)| {
            format!("%at{offset} = add {base}, {offset}u32\nstore %y[%at{offset}], {value}\n")
        });
        stores.collect()
    };
    let values = ["%a", "%b", "%a", "%i"];
    let head = "buffer %x: read u32[]\nbuffer %y: read_write u32[]\nparam %n: u32\n%i = global_id.x\n%a = load %x[%i]\n%b = xor %a, %n\n\
                %four = mul %i, 4u32\n%base = add %four, %n\n";
    for (body, is_together) in [
        (stores("%base", values), true),
        (format!("%early = sub %base, 3u32\n{}", stores("%early", values)), true),
        (format!("%other = shl %i, 2u32\n{}", stores("%other", values)), true),
        // Another distance, another order, a load in between, and the end of a block; an `if` has a form for all lanes.
        (format!("%five = mul %i, 5u32\n{}", stores("%five", values)), false),
        (
            format!(
                "%at9 = add %base, 1u32\nstore %y[%at9], %a\n{}",
                stores("%base", values).replace("%at1 = add %base, 1u32", "%at1 = add %base, 2u32")
            ),
            false,
        ),
        (stores("%base", values).replace("store %y[%at2]", "%old = load %y[%at1]\nstore %y[%at2]"), false),
        (format!("%c = lt %a, %i\nif %c {{\n{}}}\n", stores("%base", values)), true),
        (
            format!(
                "%c = lt %n, 9u32\nif %c {{\nstore %y[%base], %a\n}}\n{}",
                stores("%base", values).split_once("store %y[%at0], %a\n").unwrap().1
            ),
            false,
        ),
    ] {
        let kernel = kernel("64, 1, 1", &format!("{head}{body}"));
        let program = lower::lower(&kernel, Target::Avx512).unwrap();
        let merges = program.steps.iter().any(|step| matches!(step, Step::Merge { .. }));
        assert_eq!(merges, is_together, "{body}");
        for (n, len) in [(0, 512), (0, 511), (0, 300), (5, 512), (2, 3), (0xffff_fffe, 512), (0, 1)] {
            same(&kernel, &[words(128, 4), words(len, 5)], &[n], &grid(2));
        }
    }
}

#[test]
fn quotients_by_literals_are_exact() {
    let mut numbers = Numbers(0x30d1);
    for ty in ["u8", "i8", "u16", "i16", "u32", "i32", "u64", "i64"] {
        let (bits, is_signed) = (ty[1..].parse::<u32>().unwrap(), ty.starts_with('i'));
        let top = 1_u64 << (bits - 1);
        let mut divisors =
            vec![0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 25, 28, 100, 125, top, top - 1, top + 1, top / 2];
        divisors.extend(
            (0..12).map(|_| {
                (u64::from(numbers.next()) << 32 | 1) >> (64 - bits) >> (numbers.next() % (bits - 1))
            }),
        );
        let opposites: Vec<u64> = divisors.iter().map(|divisor| divisor.wrapping_neg()).collect();
        divisors.extend(opposites);
        divisors.iter_mut().for_each(|divisor| *divisor &= top | (top - 1));
        let mut dividends: Vec<u64> =
            (0..64).map(|_| u64::from(numbers.next()) << 32 | u64::from(numbers.next())).collect();
        let shifted: Vec<u64> = dividends.iter().map(|number| number >> (numbers.next() % 64)).collect();
        dividends.extend(shifted);
        for divisor in &divisors {
            let factor = u64::from(numbers.next() >> (numbers.next() % 32));
            let near = divisor.wrapping_mul(factor);
            dividends.extend([
                near.wrapping_sub(1),
                near,
                *divisor,
                divisor.wrapping_sub(1),
                top.wrapping_sub(*divisor),
            ]);
        }
        let count = divisors.len() as u32;
        let mut body = format!(
            "buffer %x: read u64[]\nbuffer %y: read_write u64[]\n%i = global_id.x\n%w = load %x[%i]\n%v = convert %w -> {ty}\n\
             %base = mul %i, {}u32\n",
            2 * count
        );
        for (divisor, place) in divisors.iter().zip(0..) {
            let literal = if is_signed {
                ((divisor << (64 - bits)).cast_signed() >> (64 - bits)).to_string()
            } else {
                divisor.to_string()
            };
            for (op, at) in [("div", 2 * place), ("rem", 2 * place + 1)] {
                body += &format!(
                    "%r{at} = {op} %v, {literal}{ty}\n%u{at} = convert %r{at} -> u64\n%a{at} = add %base, {at}u32\nstore %y[%a{at}], %u{at}\n"
                );
            }
        }
        let kernel = kernel("64, 1, 1", &body);
        let program = lower::lower(&kernel, Target::Avx512).unwrap();
        let divides = |step: &Step| {
            use VectorOp2::{DivSigned, DivUnsigned, RemSigned, RemUnsigned};
            matches!(step, Step::Vector2 { op: DivSigned | DivUnsigned | RemSigned | RemUnsigned, .. })
        };
        assert!(!program.steps.iter().any(divides), "{ty}");
        let groups = dividends.len().div_ceil(64) as u32;
        let results = vec![0; dividends.len() * count as usize * 4];
        let words = dividends.iter().flat_map(|number| [*number as u32, (*number >> 32) as u32]).collect();
        same(&kernel, &[words, results], &[], &grid(groups));
    }
}

#[test]
fn control_of_floats_in_the_caller_changes_nothing() {
    // One workgroup runs on the calling thread.
    let halved = kernel(
        "32, 1, 1",
        "buffer %x: read_write f32[]\n%i = global_id.x\n%v = load %x[%i]\n%w = mul %v, 0.5f32\nstore %x[%i], %w",
    );
    let divided = kernel(
        "32, 1, 1",
        "buffer %x: read_write u32[]\n%i = global_id.x\n%v = load %x[%i]\n%w = div 7u32, %v\nstore %x[%i], %w",
    );
    for native in widths() {
        let device = CpuDevice::with(CpuOptions { native });
        let outcome = |kernel: &Arc<VerifiedKernel>, word: u32, control: u32| {
            let buffer = device.allocate(32 * 4).unwrap();
            buffer.write(0, &word.to_le_bytes().repeat(32)).unwrap();
            let executable = device.compile(kernel.clone(), &CompileOptions::default()).unwrap();
            let buffers = [Arc::clone(&buffer)];
            let limits = &device.snapshot().limits;
            let kernel = executable.kernel();
            let launch = Launch::check(kernel, limits, Binding::each(&buffers), &[], &grid(1)).unwrap();
            super::memory_map::with_control(control, || executable.launch(&launch)).unwrap();
            let mut first = [0; 4];
            buffer.read(0, &mut first).unwrap();
            u32::from_le_bytes(first)
        };
        // Subnormals are flushed, and invalid operations and divisions by zero trap.
        assert_eq!(outcome(&halved, 0x0080_0001, 0x9fc0), 0x0040_0000, "{native:?}");
        assert_eq!(outcome(&divided, 0, 0x1f80 & !0x0280), 7, "{native:?}");
    }
}

#[test]
fn kernels_that_would_take_long_to_compile_are_interpreted() {
    let carrying = |count: usize| {
        let list = |name: &str| (0..count).map(|n| format!("%{name}{n}")).collect::<Vec<_>>().join(", ");
        let initial = (0..count).map(|n| format!("%a{n} = %i")).collect::<Vec<_>>().join(", ");
        kernel(
            "64, 1, 1",
            &format!(
                "buffer %x: read_write u32[]\n%i = global_id.x\n{} = for %j in 0u32 to 7u32 step 1u32 carry({initial}) \
                 {{\nyield {}\n}}\nstore %x[%i], %r0",
                list("r"),
                list("a")
            ),
        )
    };
    let chain = |count: usize| {
        let adds: String = (0..count).map(|n| format!("%v{} = add %v{n}, %i\n", n + 1)).collect();
        let body = format!(
            "buffer %x: read_write u32[]\n%i = global_id.x\n%v0 = load %x[%i]\n{adds}store %x[%i], %v{count}"
        );
        kernel("64, 1, 1", &body)
    };
    for native in widths() {
        let is_native = |kernel: &VerifiedKernel| machine_code(kernel, CpuOptions { native }).is_ok();
        assert!(is_native(&carrying(500)) && !is_native(&carrying(513)));
        assert!(is_native(&chain(10_000)) && !is_native(&chain(17_000)));
    }
}
