//! How often each byte occurs in a file: atomics on shared memory, then on a buffer.
#![allow(clippy::print_stdout, reason = "examples print their results")]

mod common;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use fulgurite::prelude::*;

#[derive(Parser)]
#[command(about = "Counts the bytes of a file, checked against the reference")]
struct Args {
    #[command(flatten)]
    common: common::Common,
    /// The file
    file: PathBuf,
}

/// Words that each invocation counts.
const WORDS_EACH: u32 = 16;
/// Invocations of a workgroup, as many as there are bins.
const BINS: u32 = 256;

type Histogram = (Read<u32>, ReadWrite<u32>, u32);

/// Each workgroup counts its share in shared memory and then adds it to the whole.
fn histogram() -> Result<Kernel<Histogram>, Error> {
    kernel::<Histogram>(
        "byte_histogram",
        ["words", "bins", "bytes"],
        [BINS, 1, 1],
        |k, (words, bins, bytes)| {
            let counts = k.shared::<u32>("counts", BINS);
            let lane = k.local_index();
            let first = k.workgroup_id().x() * (BINS * WORDS_EACH) + lane;
            k.for_(0u32, WORDS_EACH, |k, round| {
                let index = first + round * BINS;
                let word = words.load(index);
                for byte in 0..4 {
                    // The last word may hold fewer bytes.
                    k.if_((index * 4 + byte).lt(bytes), |_| {
                        counts.atomic_add(word.extract_bits(byte * 8, 8), 1);
                    });
                }
            });
            k.barrier_shared();
            bins.atomic_add(lane, counts.load(lane));
        },
    )
}

fn run_on(ctx: &Context, data: &[u8]) -> Result<Vec<u32>, Error> {
    let executable = ctx.compile(&histogram()?)?;
    let words: Vec<u32> =
        data.chunks(4).map(|c| c.iter().rev().fold(0, |word, byte| word << 8 | u32::from(*byte))).collect();
    let mut bins = ctx.zeroed(BINS as usize)?;
    let groups = (words.len() as u32).div_ceil(BINS * WORDS_EACH);
    let words = ctx.buffer(&words)?;
    let started = Instant::now();
    let grid = LaunchOptions::workgroups([groups, 1, 1]);
    let report = executable.launch_with(&grid, (&words, &mut bins, data.len() as u32))?;
    common::report_time(ctx, report, started.elapsed());
    bins.read()
}

fn run(args: &Args) -> Result<(), Error> {
    let data = common::read_file(&args.file)?;
    if data.len() > u32::MAX as usize {
        let message = format!("{} has 4 GiB or more", args.file.display());
        return Err(Error::invalid(fulgurite::Code::BadFileFormat, message));
    }
    let ctx = args.common.open()?;
    let bins = run_on(&ctx, &data)?;
    let wanted = run_on(&common::reference()?, &data)?;
    common::check("bins", &bins, &wanted)?;
    println!("{} bytes in {}", bins.iter().map(|n| u64::from(*n)).sum::<u64>(), args.file.display());
    let mut order: Vec<usize> = (0..bins.len()).filter(|b| bins[*b] > 0).collect();
    order.sort_by_key(|b| std::cmp::Reverse(bins[*b]));
    for byte in order.iter().take(8) {
        let shown = char::from(*byte as u8).escape_default();
        println!("  {byte:#04x} {shown:<8} {:>10}", bins[*byte]);
    }
    Ok(())
}

fn main() -> ExitCode {
    common::main(|| run(&Args::parse()))
}
