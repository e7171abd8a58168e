//! Times saxpy over 16 Mi elements: native code of each width, the interpreter, and plain Rust on rayon with the same
//! number of threads. With the argument `code`, writes the machine code of saxpy to standard output, for
//! `objdump -D -b binary -m i386:x86-64 /dev/stdin`.
#![forbid(unsafe_code)]

use std::error::Error;
use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fulgurite_backend_cpu::{CpuDevice, CpuOptions, Native, machine_code};
use fulgurite_hal::{Binding, CompileOptions, Device as _, DeviceBuffer, Launch, LaunchOptions};
use fulgurite_ir::{VerifiedKernel, text, verify};
use rayon::prelude::*;

const COUNT: usize = 16 << 20;
const ROUNDS: usize = 9;
const A: f32 = 1.5;

const SAXPY: &str = "fulgurite 1
kernel @saxpy workgroup(256, 1, 1) {
  buffer %x: read f32[]
  buffer %y: read_write f32[]
  param %a: f32
  require eq (len %x), (len %y)

  %i = global_id.x
  %n = len %y
  %in = lt %i, %n
  if %in {
    %0 = load %x[%i]
    %1 = load %y[%i]
    %2 = mul %a, %0
    %3 = add %2, %1
    store %y[%i], %3
  }
}
";

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let kernel = Arc::new(verify(text::parse(SAXPY)?).map_err(|e| e.to_string())?);
    let mut out = std::io::stdout().lock();
    if std::env::args().any(|arg| arg == "code") {
        out.write_all(&machine_code(&kernel, CpuOptions::default())?)?;
        return Ok(());
    }
    let plain = rayon_time();
    writeln!(out, "{:<12} {:>9.3} ms", "rayon", plain.as_secs_f64() * 1e3)?;
    for native in [Native::Avx512, Native::Avx2, Native::Interpreter] {
        if native != Native::Interpreter && !native.is_available() {
            writeln!(out, "{native:<12?} not available")?;
            continue;
        }
        let time = kernel_time(&kernel, native)?;
        let ratio = plain.as_secs_f64() / time.as_secs_f64();
        writeln!(
            out,
            "{:<12} {:>9.3} ms, {ratio:.2} times as fast as rayon",
            format!("{native:?}"),
            time.as_secs_f64() * 1e3
        )?;
    }
    Ok(())
}

fn inputs() -> [Vec<f32>; 2] {
    [(0..COUNT).map(|i| (i % 1000) as f32).collect(), (0..COUNT).map(|i| (i % 77) as f32 - 30.0).collect()]
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn rayon_time() -> Duration {
    let [x, mut y] = inputs();
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let start = Instant::now();
        y.par_iter_mut().zip(&x).for_each(|(y, x)| *y += A * x);
        times.push(start.elapsed());
    }
    median(times)
}

fn kernel_time(kernel: &Arc<VerifiedKernel>, native: Native) -> Outcome<Duration> {
    let device = CpuDevice::with(CpuOptions { native });
    let [x, y] = inputs();
    let mut wanted = y.clone();
    let mut buffers: Vec<Arc<dyn DeviceBuffer>> = Vec::new();
    for values in [&x, &y] {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let buffer = device.allocate(bytes.len() as u64)?;
        buffer.write(0, &bytes)?;
        buffers.push(buffer);
    }
    let executable = device.compile(kernel.clone(), &CompileOptions::default())?;
    let limits = &device.snapshot().limits;
    let params = [[u64::from(A.to_bits()), 0, 0, 0]];
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let options = LaunchOptions::linear(COUNT as u64);
        let launch = Launch::check(kernel, limits, Binding::each(&buffers), &params, &options)?;
        let start = Instant::now();
        executable.launch(&launch)?;
        times.push(start.elapsed());
    }
    for _ in 0..ROUNDS {
        wanted.iter_mut().zip(&x).for_each(|(y, x)| *y += A * x);
    }
    let mut bytes = vec![0; COUNT * 4];
    buffers[1].read(0, &mut bytes)?;
    let found = bytes.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]));
    if let Some(at) = found.zip(&wanted).position(|(found, wanted)| found != wanted.to_bits()) {
        return Err(format!("element {at} is wrong").into());
    }
    Ok(median(times))
}
