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
    Agreement, Code, Context, DynArg, Element, Error, Freedom, LaunchOptions, Literal, ScalarType, Type,
    VerifiedKernel, kept_subnormals,
};

use common::npy;

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
        if values[position].replace(value).is_some() {
            return Err(usage(format!("{what} `{name}` is given twice")));
        }
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
            ScalarType::I8 => number::<i8>(part)?,
            ScalarType::I16 => number::<i16>(part)?,
            ScalarType::I32 => number::<i32>(part)?,
            ScalarType::I64 => number::<i64>(part)?,
            ScalarType::U8 => number::<u8>(part)?,
            ScalarType::U16 => number::<u16>(part)?,
            ScalarType::U32 => number::<u32>(part)?,
            ScalarType::U64 => number::<u64>(part)?,
            ScalarType::F16 => number::<half::f16>(part)?,
            ScalarType::BF16 => number::<half::bf16>(part)?,
            ScalarType::F32 => number::<f32>(part)?,
            ScalarType::F64 => number::<f64>(part)?,
            _ => return Err(usage(format!("no number is of type {ty}"))),
        });
    }
    Ok(bytes)
}

fn contents(text: &str, ty: Type) -> Result<Vec<u8>, Error> {
    if let Some(path) = text.strip_prefix('@') {
        return npy::read(Path::new(path), ty.scalar);
    }
    if let Some(count) = text.strip_prefix("zeros:") {
        let elements: usize =
            count.parse().map_err(|_| usage(format!("`{count}` is no number of elements")))?;
        let bytes = elements.checked_mul(ty.size() as usize);
        // Memory that is not there is an error here; `vec!` would abort.
        let there = |bytes: &usize| Vec::<u8>::new().try_reserve_exact(*bytes).is_ok();
        return bytes.filter(there).map(|bytes| vec![0; bytes]).ok_or_else(|| {
            Error::invalid(Code::BufferSize, format!("there is no memory for {count} elements of {ty}"))
        });
    }
    numbers(text, ty)
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

/// Says how a buffer compares with the reference's; an error if it differs where the op table leaves no room.
fn compared(name: &str, agreement: Agreement) -> Result<(), Error> {
    match agreement {
        Agreement::Equal => println!("{name}: equal to the reference's"),
        Agreement::Allowed(apart, reason) => {
            println!("{name}: within what the op table leaves to `{reason}`, {apart} from the reference's");
        }
        Agreement::Wrong(apart) => {
            return Err(Error::Internal(format!("{name}: {apart} from the reference's")));
        }
    }
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
        let freedom = Freedom::of(kernel, kept_subnormals(ctx.device()));
        let both = results.iter().zip(&wanted);
        for (position, (declared, (actual, wanted))) in kernel.buffers.iter().zip(both).enumerate() {
            if declared.access.can_write() {
                compared(&declared.name, freedom.compare(position, wanted, actual))?;
            }
        }
    }
    for (position, (declared, bytes)) in kernel.buffers.iter().zip(&results).enumerate() {
        let ty = declared.element;
        let files: Vec<_> = outputs.iter().filter(|(p, _)| *p == position).collect();
        for (_, path) in &files {
            npy::write(path, ty, bytes)?;
            println!("wrote {}", path.display());
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn code<T>(result: Result<T, Error>) -> Option<Code> {
        result.err().map(|e| e.code())
    }

    /// Runs `text` with these buffers and parameters on the CPU backend, checked.
    fn ran(body: &str, buffers: &[&str], params: &[&str]) -> Result<(), Error> {
        let kernel =
            fulgurite::parse(&format!("fulgurite 1\nkernel @k workgroup(64, 1, 1) {{\n{body}\n}}\n"))
                .unwrap();
        let mut line = vec!["run", "k.fg", "--backend", "cpu"];
        buffers.iter().for_each(|b| line.extend(["-b", b]));
        params.iter().for_each(|p| line.extend(["-p", p]));
        run(&Args::try_parse_from(line).unwrap(), &kernel)
    }

    const FLOATS: &str =
        "  buffer %x: read f32[]\n  buffer %o: write f32[]\n  %i = global_id.x\n  %v = load %x[%i]\n";

    #[test]
    fn what_the_op_table_allows_is_accepted() {
        let narrowed = "%h = convert %v -> f16\n  %k = convert %h -> f32\n  store %o[%i], %k";
        let chain = "%h = exp %v\n  %k = sin %h\n  store %o[%i], %k";
        for (body, x) in [(narrowed, "x=nan,-nan,1"), (chain, "x=0.1,0.2,0.3,1.7,3.3")] {
            assert_eq!(ran(&format!("{FLOATS}{body}"), &[x, "o=zeros:5"], &[]), Ok(()));
        }
        let apart = |wanted: &[u8], got: &[u8]| {
            let kernel = fulgurite::parse(&format!(
                "fulgurite 1\nkernel @k workgroup(64, 1, 1) {{\n{FLOATS}store %o[%i], %v\n}}\n"
            ));
            Freedom::of(&kernel.unwrap(), fulgurite::spec::TypeSet::FLOAT).compare(1, wanted, got)
        };
        assert_eq!(code(compared("o", apart(&[0; 4], &[1, 0, 0, 0]))), Some(Code::Internal));
        assert_eq!(code(compared("o", apart(&[0; 4], &[0; 4]))), None);
    }

    #[test]
    fn sizes_that_overflow_are_errors() {
        for count in
            ["18446744073709551615", "4611686018427387904", "2305843009213693951", "1152921504606846976"]
        {
            assert_eq!(
                code(contents(&format!("zeros:{count}"), Type::F32)),
                Some(Code::BufferSize),
                "{count}"
            );
        }
        for count in ["-1", "18446744073709551616", "1e3", ""] {
            assert_eq!(code(contents(&format!("zeros:{count}"), Type::F32)), Some(Code::BadUsage), "{count}");
        }
        assert_eq!(contents("zeros:3", Type::F32), Ok(vec![0; 12]));
        assert_eq!(code(numbers("4294967296", Type::U32)), Some(Code::WrongArgumentType));
        assert_eq!(code(grid("1,4294967296")), Some(Code::BadUsage));
    }

    #[test]
    fn what_is_given_twice_is_an_error() {
        let twice = ["x=1".to_owned(), "x=2".to_owned()];
        assert_eq!(code(assigned("buffer", &twice, &["x"])), Some(Code::BadUsage));
        assert_eq!(code(assigned("buffer", &[], &["x"])), Some(Code::WrongArgumentCount));
    }

    #[test]
    fn preconditions_that_overflow_are_false_or_true_and_no_panic() {
        // The product wraps to 0, which the buffer has room for.
        let body = "  buffer %y: read_write u32[]\n  param %n: u32\n  require le (mul %n, %n), (len %y)\n  \
                    require eq (div %n, 0u32), %n\n  %i = global_id.x\n  %k = mul %n, %i\n  store %y[%k], 7u32";
        assert_eq!(ran(body, &["y=0,0"], &["n=65536"]), Ok(()));
        assert_eq!(code(ran(body, &["y=0,0"], &["n=65535"])), Some(Code::RequireFailed));
        let both = "  buffer %y: read_write u32[]\n  param %n: u32\n  require ge %n, 1u32\n  require le %n, 0u32\n  \
                    %i = global_id.x\n  %q = div %i, %n\n  store %y[%i], %q";
        assert_eq!(code(ran(both, &["y=1"], &["n=0"])), Some(Code::RequireFailed));
    }
}
