//! y ← a·x + y on a million elements.
#![allow(clippy::print_stdout, reason = "examples print their results")]

mod common;

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use fulgurite::prelude::*;

#[derive(Parser)]
#[command(about = "y = a * x + y, checked against the reference")]
struct Args {
    #[command(flatten)]
    common: common::Common,
    /// Elements
    #[arg(long, default_value_t = 1 << 20)]
    count: usize,
    /// The factor
    #[arg(long, default_value_t = 2.5)]
    factor: f32,
}

type Saxpy = (Read<f32>, ReadWrite<f32>, f32);

fn saxpy() -> Result<Kernel<Saxpy>, Error> {
    kernel::<Saxpy>("saxpy", ["x", "y", "a"], [256, 1, 1], |k, (x, y, a)| {
        let i = k.global_id().x();
        k.if_(i.lt(y.len()), |_| y.store(i, a * x.load(i) + y.load(i)));
    })
}

fn run_on(ctx: &Context, x: &[f32], y: &[f32], a: f32) -> Result<Vec<f32>, Error> {
    let executable = ctx.compile(&saxpy()?)?;
    let (x, mut y) = (ctx.buffer(x)?, ctx.buffer(y)?);
    let started = Instant::now();
    let report = executable.launch((&x, &mut y, a))?;
    common::report_time(ctx, report, started.elapsed());
    y.read()
}

fn run(args: &Args) -> Result<(), Error> {
    let ctx = args.common.open()?;
    let x: Vec<f32> = (0..args.count).map(|i| (i % 1013) as f32 * 0.37 - 150.0).collect();
    let y: Vec<f32> = (0..args.count).map(|i| (i % 911) as f32 * 0.11).collect();
    let result = run_on(&ctx, &x, &y, args.factor)?;
    let wanted = run_on(&common::reference()?, &x, &y, args.factor)?;
    common::check("elements", &result, &wanted)
}

fn main() -> ExitCode {
    common::main(|| run(&Args::parse()))
}
