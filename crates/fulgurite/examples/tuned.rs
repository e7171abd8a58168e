//! A product of matrices by the kernel library: tuned if this device is recorded, here or in a pack, and if it is asked for.
#![allow(clippy::print_stdout, reason = "examples print their results")]

mod common;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use fulgurite::autotune::TuneOptions;
use fulgurite::kernels::{MatmulF32, Product};
use fulgurite::prelude::*;
use fulgurite::spec::Location;
use fulgurite::{Code, Diagnostic, Pack};

#[derive(Parser)]
#[command(about = "C = A * B of the kernel library, checked against plain Rust")]
struct Args {
    #[command(flatten)]
    common: common::Common,
    /// Rows and columns of each matrix: a multiple of 16
    #[arg(long, default_value_t = 256)]
    size: u32,
    /// A pack of tuning records and compiled kernels
    #[arg(long, value_name = "FILE")]
    pack: Option<PathBuf>,
    /// Run also what the pack has of lowered kernels and driver binaries, which nothing checks
    #[arg(long, requires = "pack")]
    trust: bool,
    /// Look for the fastest configuration first
    #[arg(long)]
    tune: bool,
}

fn run(args: &Args) -> Result<(), Error> {
    let mut builder = Context::builder();
    if let Some(id) = &args.common.backend {
        builder = builder.backend(id);
    }
    if let Some(path) = &args.pack {
        let unusable = |error: &dyn std::fmt::Display| {
            Error::Invalid(Diagnostic::new(Code::FileUnreadable, Location::Unknown, error.to_string()).into())
        };
        let pack = Pack::open(path).map_err(|error| unusable(&error))?;
        builder = if args.trust {
            // SAFETY: whoever ran this says that the pack is to be trusted.
            builder.trusted_pack(unsafe { pack.trust() })
        } else {
            builder.pack(pack)
        };
    }
    let ctx = builder.open()?;
    println!("running on {}", ctx.route());
    let problem = Product { m: args.size, n: args.size, k: args.size };
    if args.tune {
        let report = ctx.tune(MatmulF32, &problem, &TuneOptions::default())?;
        println!("{} of {} candidates measured", report.measured, report.candidates.len());
    }
    let product = ctx.tuned(MatmulF32, &problem)?;
    let n = args.size as usize;
    // Whole numbers, so that every order of additions gives the same.
    let number = |i: usize| ((i * 7919) % 17) as f32 - 8.0;
    let (a, b): (Vec<f32>, Vec<f32>) = (0..n * n).map(|i| (number(i), number(i + 5))).unzip();
    let (left, right, mut c) = (ctx.buffer(&a)?, ctx.buffer(&b)?, ctx.zeroed(n * n)?);
    let time = product.timed((&left, &right, &mut c))?;
    println!("{:?}: {}", product.source(), product.config());
    println!("{time:?}, {:.1} GFLOP/s", 2.0 * (n as f64).powi(3) / time.as_secs_f64() / 1e9);
    let report = ctx.cache_report();
    println!("{} kernels lowered, {} compiled by the driver", report.lowered, report.driver_compiles);
    let mut expected = vec![0.0f32; n * n];
    for (row, line) in expected.chunks_mut(n).enumerate() {
        for k in 0..n {
            let factor = a[row * n + k];
            line.iter_mut().zip(&b[k * n..]).for_each(|(c, b)| *c += factor * b);
        }
    }
    common::check("elements", &c.read()?, &expected)
}

fn main() -> ExitCode {
    common::main(|| run(&Args::parse()))
}
