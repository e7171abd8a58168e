//! The Mandelbrot set as a picture: divergent loops and floats that every backend rounds alike.
#![allow(clippy::print_stdout, reason = "examples print their results")]

mod common;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use fulgurite::prelude::*;

#[derive(Parser)]
#[command(about = "Draws the Mandelbrot set, checked against the reference")]
struct Args {
    #[command(flatten)]
    common: common::Common,
    /// Pixels across; the height is three quarters of it
    #[arg(long, default_value_t = 640)]
    width: u32,
    /// Steps after which a point counts as inside
    #[arg(long, default_value_t = 200)]
    steps: u32,
    /// Where the picture goes, as a PNG
    #[arg(short, long, default_value = "out/mandelbrot.png")]
    output: PathBuf,
}

type Mandelbrot = (Write<u32>, u32, u32, u32, f32);

/// Steps until |z| > 2 for each pixel, at most `steps`. `scale` is the width of a pixel: the kernel only adds and
/// multiplies, which every backend rounds alike, so counts are equal bit for bit.
fn mandelbrot() -> Result<Kernel<Mandelbrot>, Error> {
    let names = ["counts", "width", "height", "steps", "scale"];
    kernel::<Mandelbrot>("mandelbrot", names, [16, 16, 1], |k, (counts, width, height, steps, scale)| {
        let (x, y) = (k.global_id().x(), k.global_id().y());
        k.if_(x.lt(width) & y.lt(height), |k| {
            let re = x.convert::<f32>() * scale - 2.25;
            let im = (y.convert::<f32>() - height.convert::<f32>() * 0.5) * scale;
            let zero = k.val(0.0);
            let (_, _, count) = k.while_(
                (zero, zero, k.val(0u32)),
                |_, (a, b, n)| n.lt(steps) & (a * a + b * b).le(4.0),
                |_, (a, b, n)| (a * a - b * b + re, 2.0 * (a * b) + im, n + 1),
            );
            counts.store(y * width + x, count);
        });
    })
}

fn run_on(ctx: &Context, [width, height, steps]: [u32; 3]) -> Result<Vec<u32>, Error> {
    let executable = ctx.compile(&mandelbrot()?)?;
    let mut counts = ctx.zeroed(width as usize * height as usize)?;
    let grid = LaunchOptions::invocations([width, height, 1]);
    let started = Instant::now();
    let report = executable.launch_with(&grid, (&mut counts, width, height, steps, 3.0 / width as f32))?;
    common::report_time(ctx, report, started.elapsed());
    counts.read()
}

/// Dark blue over white to brown, black inside.
fn color(count: u32, steps: u32) -> [u8; 3] {
    if count >= steps {
        return [0, 0, 0];
    }
    let wave = |phase: f32| ((count as f32 * 0.13 + phase).sin() * 110.0 + 128.0) as u8;
    [wave(-1.6), wave(-1.0), wave(-0.2)]
}

fn run(args: &Args) -> Result<(), Error> {
    let size = [args.width, args.width / 4 * 3, args.steps];
    let ctx = args.common.open()?;
    let counts = run_on(&ctx, size)?;
    let wanted = run_on(&common::reference()?, size)?;
    common::check("counts", &counts, &wanted)?;
    let pixels: Vec<u8> = counts.iter().flat_map(|n| color(*n, args.steps)).collect();
    common::write_png(&args.output, size[0], size[1], 3, &pixels)
}

fn main() -> ExitCode {
    common::main(|| run(&Args::parse()))
}
