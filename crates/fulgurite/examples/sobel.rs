//! Edges of a photograph: the Sobel operator with integer gradients, |gx| + |gy|, on brightness.
#![allow(clippy::print_stdout, reason = "examples print their results")]

mod common;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use common::Picture;
use fulgurite::ir::builder::{Array, CanLoad};
use fulgurite::prelude::*;

#[derive(Parser)]
#[command(about = "Finds the edges of a picture, checked against the reference")]
struct Args {
    #[command(flatten)]
    common: common::Common,
    /// The picture, a PNG; the repository's photograph by default
    input: Option<PathBuf>,
    /// Where the edges go, as a gray PNG
    #[arg(short, long, default_value = "out/edges.png")]
    output: PathBuf,
}

type Sobel = (Read<u32>, Write<u32>, u32, u32);

fn sobel() -> Result<Kernel<Sobel>, Error> {
    kernel::<Sobel>(
        "sobel",
        ["pixels", "edges", "width", "height"],
        [16, 16, 1],
        |k, (pixels, edges, width, height)| {
            let (x, y) = (k.global_id().x(), k.global_id().y());
            k.if_(x.lt(width) & y.lt(height), |k| {
                // The border repeats outwards.
                let at = |dx: i32, dy: i32| {
                    let column = (x.convert::<i32>() + dx).clamp(0, width.convert::<i32>() - 1);
                    let row = (y.convert::<i32>() + dy).clamp(0, height.convert::<i32>() - 1);
                    brightness(pixels, row.convert::<u32>() * width + column.convert::<u32>())
                };
                let gx = at(1, -1) - at(-1, -1) + 2 * (at(1, 0) - at(-1, 0)) + at(1, 1) - at(-1, 1);
                let gy = at(-1, 1) - at(-1, -1) + 2 * (at(0, 1) - at(0, -1)) + at(1, 1) - at(1, -1);
                let edge = (gx.abs() + gy.abs()).min(k.val(255));
                edges.store(y * width + x, edge.convert::<u32>());
            });
        },
    )
}

/// Brightness of a pixel from 0 to 255, with the integer weights 77, 150 and 29 of 256 (Rec. 601 luma).
fn brightness<'k, A: CanLoad>(pixels: Array<'k, u32, A>, index: Val<'k, u32>) -> Val<'k, i32> {
    let pixel = pixels.load(index);
    let channel = |offset: u32| pixel.extract_bits(offset, 8);
    ((channel(0) * 77 + channel(8) * 150 + channel(16) * 29) >> 8u32).convert()
}

fn run_on(ctx: &Context, picture: &Picture) -> Result<Vec<u8>, Error> {
    let executable = ctx.compile(&sobel()?)?;
    let pixels = ctx.buffer(&picture.pixels)?;
    let mut edges = ctx.zeroed(picture.pixels.len())?;
    let grid = LaunchOptions::invocations([picture.width, picture.height, 1]);
    let started = Instant::now();
    let report = executable.launch_with(&grid, (&pixels, &mut edges, picture.width, picture.height))?;
    common::report_time(ctx, report, started.elapsed());
    Ok(edges.read()?.into_iter().map(|v| v as u8).collect())
}

fn run(args: &Args) -> Result<(), Error> {
    let input = args.input.clone().unwrap_or_else(|| common::asset("chelsea.png"));
    let picture = common::read_png(&input)?;
    println!("{}: {} x {} pixels", input.display(), picture.width, picture.height);
    let ctx = args.common.open()?;
    let edges = run_on(&ctx, &picture)?;
    let wanted = run_on(&common::reference()?, &picture)?;
    common::check("pixels", &edges, &wanted)?;
    common::write_png(&args.output, picture.width, picture.height, 1, &edges)
}

fn main() -> ExitCode {
    common::main(|| run(&Args::parse()))
}
