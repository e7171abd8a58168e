//! Runs a kernel from a text file: buffers and parameters from the command line or `.npy` files, results to
//! `.npy` files or standard output.
#![allow(clippy::print_stdout, reason = "examples print their results")]

mod common;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser;
use fulgurite::spec::eval;
use fulgurite::{
    Code, Context, DynArg, Element, Error, LaunchOptions, Literal, ScalarType, Type, VerifiedKernel,
};
use ndarray::{ArrayD, IxDyn};
use ndarray_npy::{ReadNpyExt, ReadableElement, WritableElement, WriteNpyExt};

#[derive(Parser)]
#[command(about = "Runs a kernel text, checked against the reference")]
struct Args {
    #[command(flatten)]
    common: common::Common,
    /// The kernel
    file: PathBuf,
    /// A buffer's contents: `x=1,2,3`, `x=@file.npy`, or `x=zeros:1000` (so many elements)
    #[arg(short, long, value_name = "NAME=CONTENTS")]
    buffer: Vec<String>,
    /// A parameter: `a=2.5`, or `v=1,2,3,4` for a vector
    #[arg(short, long, value_name = "NAME=VALUE")]
    param: Vec<String>,
    /// Workgroups along x, y and z: `8`, `8,8` or `8,8,1`
    #[arg(long, value_name = "X,Y,Z", conflicts_with = "invocations")]
    grid: Option<String>,
    /// Invocations along x, y and z, rounded up to workgroups
    #[arg(long, value_name = "X,Y,Z")]
    invocations: Option<String>,
    /// Seconds after which the launch is stopped
    #[arg(long)]
    timeout: Option<f64>,
    /// Write a buffer to a file afterwards: `y=out.npy`. Other written buffers are printed.
    #[arg(short, long, value_name = "NAME=FILE")]
    out: Vec<String>,
    /// Write the launch with its inputs and outputs to a file, for `cargo xtask replay`
    #[arg(long, value_name = "FILE")]
    capture: Option<PathBuf>,
    /// Do not compare with the reference
    #[arg(long)]
    unchecked: bool,
}

fn usage(message: impl Into<String>) -> Error {
    Error::invalid(Code::BadUsage, message)
}

/// Splits `name=rest`.
fn assignment(text: &str) -> Result<(&str, &str), Error> {
    text.split_once('=').ok_or_else(|| usage(format!("`{text}` is not NAME=…")))
}

/// What `list` assigns to each of `names`, in their order; all names must be there and no others.
fn assigned<'a>(what: &str, list: &'a [String], names: &[&str]) -> Result<Vec<&'a str>, Error> {
    let mut values: Vec<Option<&str>> = vec![None; names.len()];
    for item in list {
        let (name, value) = assignment(item)?;
        let Some(position) = names.iter().position(|n| *n == name) else {
            return Err(usage(format!("the kernel has no {what} `{name}`; it has {}", names.join(", "))));
        };
        values[position] = Some(value);
    }
    let missing = names.iter().zip(&values).find(|(_, v)| v.is_none());
    if let Some((name, _)) = missing {
        return Err(Error::invalid(
            Code::WrongArgumentCount,
            format!("nothing is given for {what} `{name}`: add `--{what} {name}=…`"),
        ));
    }
    Ok(values.into_iter().flatten().collect())
}

/// Calls a function of `T` for the Rust type of a scalar type that `.npy` files have; `$other` is for the rest.
macro_rules! for_npy_type {
    ($ty:expr, $function:ident $arguments:tt, $other:expr) => {
        match $ty {
            ScalarType::I8 => $function::<i8> $arguments,
            ScalarType::I16 => $function::<i16> $arguments,
            ScalarType::I32 => $function::<i32> $arguments,
            ScalarType::I64 => $function::<i64> $arguments,
            ScalarType::U8 => $function::<u8> $arguments,
            ScalarType::U16 => $function::<u16> $arguments,
            ScalarType::U32 => $function::<u32> $arguments,
            ScalarType::U64 => $function::<u64> $arguments,
            ScalarType::F32 => $function::<f32> $arguments,
            ScalarType::F64 => $function::<f64> $arguments,
            _ => $other,
        }
    };
}

/// The number that `text` is, as little-endian bytes.
fn number<T: FromStr + Element>(text: &str) -> Result<Vec<u8>, Error> {
    let value = text.trim().parse::<T>().map_err(|_| {
        let message = format!("`{text}` is no number of type {}", T::TYPE);
        Error::invalid(Code::WrongArgumentType, message)
    })?;
    Ok(bytemuck::bytes_of(&value).to_vec())
}

fn numbers(text: &str, ty: Type) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    if text.trim().is_empty() {
        return Ok(bytes);
    }
    for part in text.split(',') {
        bytes.extend(match ty.scalar {
            ScalarType::F16 => number::<half::f16>(part)?,
            ScalarType::BF16 => number::<half::bf16>(part)?,
            scalar => for_npy_type!(scalar, number(part), Err(usage(format!("no number is of type {ty}"))))?,
        });
    }
    Ok(bytes)
}

fn contents(text: &str, ty: Type) -> Result<Vec<u8>, Error> {
    if let Some(path) = text.strip_prefix('@') {
        return for_npy_type!(ty.scalar, read_npy(Path::new(path)), Err(no_npy(ty)));
    }
    if let Some(count) = text.strip_prefix("zeros:") {
        let count: usize = count.parse().map_err(|_| usage(format!("`{count}` is no number of elements")))?;
        return Ok(vec![0; count * ty.size() as usize]);
    }
    numbers(text, ty)
}

fn no_npy(ty: Type) -> Error {
    Error::invalid(Code::BadFileFormat, format!(".npy files have no elements of {ty}"))
}

fn read_npy<T: ReadableElement + Element>(path: &Path) -> Result<Vec<u8>, Error> {
    let file = common::read_file(path)?;
    let array = ArrayD::<T>::read_npy(file.as_slice()).map_err(|e| {
        let wanted = T::TYPE;
        Error::invalid(Code::BadFileFormat, format!("{} is no .npy array of {wanted}: {e}", path.display()))
    })?;
    Ok(array.iter().flat_map(bytemuck::bytes_of).copied().collect())
}

fn write_npy<T: WritableElement + Element>(path: &Path, ty: Type, bytes: &[u8]) -> Result<(), Error> {
    let bad =
        |e: String| Error::invalid(Code::FileUnwritable, format!("cannot write {}: {e}", path.display()));
    let values: Vec<T> = bytes.chunks_exact(size_of::<T>()).map(bytemuck::pod_read_unaligned).collect();
    let lanes = ty.lanes.count() as usize;
    let shape = if lanes == 1 { IxDyn(&[values.len()]) } else { IxDyn(&[values.len() / lanes, lanes]) };
    let array = ArrayD::from_shape_vec(shape, values).map_err(|e| bad(e.to_string()))?;
    let file = std::fs::File::create(path).map_err(|e| bad(e.to_string()))?;
    array.write_npy(std::io::BufWriter::new(file)).map_err(|e| bad(e.to_string()))?;
    println!("wrote {}", path.display());
    Ok(())
}

fn grid(text: &str) -> Result<[u32; 3], Error> {
    let mut grid = [1; 3];
    let parts: Vec<&str> = text.split(',').collect();
    if parts.len() > 3 {
        return Err(usage(format!("`{text}` has more than three dimensions")));
    }
    for (slot, part) in grid.iter_mut().zip(parts) {
        *slot = part.trim().parse().map_err(|_| usage(format!("`{part}` is no number of workgroups")))?;
    }
    Ok(grid)
}

fn options(args: &Args) -> Result<LaunchOptions, Error> {
    let mut options = match (&args.grid, &args.invocations) {
        (Some(text), _) => LaunchOptions::workgroups(grid(text)?),
        (None, Some(text)) => LaunchOptions::invocations(grid(text)?),
        (None, None) => LaunchOptions::default(),
    };
    if let Some(seconds) = args.timeout {
        let timeout = Duration::try_from_secs_f64(seconds)
            .map_err(|_| usage(format!("`{seconds}` is no number of seconds")))?;
        options = options.timeout(timeout);
    }
    Ok(options)
}

/// Runs the kernel and gives all buffers' contents.
fn run_on(
    ctx: &Context,
    kernel: &Arc<VerifiedKernel>,
    buffers: &[Vec<u8>],
    params: &[Vec<u8>],
    options: &LaunchOptions,
) -> Result<Vec<Vec<u8>>, Error> {
    let executable = ctx.compile_dynamic(kernel)?;
    let device: Vec<_> = kernel
        .buffers
        .iter()
        .zip(buffers)
        .map(|(declared, bytes)| ctx.dyn_buffer(declared.element, bytes))
        .collect::<Result<_, _>>()?;
    let mut args: Vec<DynArg<'_>> = device.iter().map(DynArg::Buffer).collect();
    args.extend(kernel.params.iter().zip(params).map(|(p, bytes)| DynArg::Param(p.ty, bytes)));
    let started = Instant::now();
    let report = executable.launch_with(options, &args)?;
    common::report_time(ctx, report, started.elapsed());
    device.iter().map(fulgurite::DynBuffer::read).collect()
}

/// Runs the kernel and writes what went in and came out.
fn capture(
    ctx: &Context,
    kernel: &Arc<VerifiedKernel>,
    buffers: &[Vec<u8>],
    params: &[Vec<u8>],
    options: &LaunchOptions,
    path: &Path,
) -> Result<(), Error> {
    let executable = ctx.compile_dynamic(kernel)?;
    let call = kernel.buffers.iter().zip(buffers).fold(executable.call(), |call, (declared, bytes)| {
        if declared.access.can_write() {
            call.in_out_bytes(bytes.as_slice())
        } else {
            call.input_bytes(bytes.as_slice())
        }
    });
    let call = params.iter().fold(call, |call, bytes| call.param_bytes(bytes));
    let json = call.options(options).capture()?.to_json()?;
    std::fs::write(path, json)
        .map_err(|e| Error::invalid(Code::FileUnwritable, format!("{}: {e}", path.display())))?;
    println!("captured in {}", path.display());
    Ok(())
}

fn print_buffer(name: &str, ty: Type, bytes: &[u8]) {
    const SHOWN: usize = 32;
    let size = ty.size() as usize;
    let elements = bytes.len() / size;
    let shown: Vec<String> = bytes
        .chunks_exact(size)
        .take(SHOWN)
        .map(|chunk| {
            let value = eval::read_bytes(chunk, ty);
            let lanes: Vec<String> = value[..ty.lanes.count() as usize]
                .iter()
                .map(|bits| {
                    let literal = Literal::new(ty.scalar, *bits).to_string();
                    literal.trim_end_matches(ty.scalar.name()).trim_end_matches(':').to_owned()
                })
                .collect();
            if lanes.len() == 1 { lanes.join("") } else { format!("({})", lanes.join(", ")) }
        })
        .collect();
    let rest = if elements > SHOWN { format!(", … {} more", elements - SHOWN) } else { String::new() };
    println!("{name} = {}{rest}", shown.join(", "));
}

/// The file's kernel, or every problem with it, each shown in the source.
fn load(path: &Path) -> Result<Arc<VerifiedKernel>, String> {
    let bytes = common::read_file(path).map_err(|e| e.to_string())?;
    let source = String::from_utf8(bytes).map_err(|_| {
        Error::invalid(Code::BadFileFormat, format!("{} is not UTF-8 text", path.display())).to_string()
    })?;
    fulgurite::parse(&source).map_err(|error| match error {
        Error::Invalid(all) => {
            let name = path.display().to_string();
            let shown: Vec<String> = all.all().iter().map(|d| fulgurite::render(d, &source, &name)).collect();
            shown.join("\n\n")
        }
        error => error.to_string(),
    })
}

fn run(args: &Args, kernel: &Arc<VerifiedKernel>) -> Result<(), Error> {
    let buffer_names: Vec<&str> = kernel.buffers.iter().map(|b| b.name.as_str()).collect();
    let param_names: Vec<&str> = kernel.params.iter().map(|p| p.name.as_str()).collect();
    let buffers: Vec<Vec<u8>> = assigned("buffer", &args.buffer, &buffer_names)?
        .into_iter()
        .zip(&kernel.buffers)
        .map(|(text, declared)| contents(text, declared.element))
        .collect::<Result<_, _>>()?;
    let params: Vec<Vec<u8>> = assigned("param", &args.param, &param_names)?
        .into_iter()
        .zip(&kernel.params)
        .map(|(text, declared)| numbers(text, declared.ty))
        .collect::<Result<_, _>>()?;
    let mut outputs = Vec::new();
    for item in &args.out {
        let (name, path) = assignment(item)?;
        let Some(position) = buffer_names.iter().position(|n| *n == name) else {
            return Err(usage(format!("the kernel has no buffer `{name}`")));
        };
        outputs.push((position, PathBuf::from(path)));
    }
    let options = options(args)?;
    let ctx = args.common.open()?;
    if let Some(path) = &args.capture {
        capture(&ctx, kernel, &buffers, &params, &options, path)?;
    }
    let results = run_on(&ctx, kernel, &buffers, &params, &options)?;
    if !args.unchecked {
        let wanted = run_on(&common::reference()?, kernel, &buffers, &params, &options)?;
        for ((declared, actual), wanted) in kernel.buffers.iter().zip(&results).zip(&wanted) {
            if declared.access.can_write() {
                common::check(&format!("bytes of {}", declared.name), actual, wanted)?;
            }
        }
    }
    for (position, (declared, bytes)) in kernel.buffers.iter().zip(&results).enumerate() {
        let ty = declared.element;
        let files: Vec<_> = outputs.iter().filter(|(p, _)| *p == position).collect();
        for (_, path) in &files {
            for_npy_type!(ty.scalar, write_npy(path, ty, bytes), Err(no_npy(ty)))?;
        }
        if files.is_empty() && declared.access.can_write() {
            print_buffer(&declared.name, ty, bytes);
        }
    }
    Ok(())
}

fn main() -> ExitCode {
    let args = Args::parse();
    common::main(|| {
        let kernel = load(&args.file)?;
        run(&args, &kernel).map_err(|e| e.to_string())
    })
}
