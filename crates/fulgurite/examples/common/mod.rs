//! What the examples share: opening a context, running on two backends, pictures, and errors with exit codes.
#![allow(dead_code, reason = "each example uses its share")]
#![allow(clippy::print_stdout, reason = "examples print their results")]

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use fulgurite::{Code, Context, Error, LaunchOptions};

/// Options that every example takes.
#[derive(clap::Args)]
pub(crate) struct Common {
    /// Which backend: `vulkan`, `cpu` or `reference`; the best one by default
    #[arg(long)]
    pub(crate) backend: Option<String>,
}

impl Common {
    /// Opens the backend and says which it is and why.
    pub(crate) fn open(&self) -> Result<Context, Error> {
        let builder = Context::builder().launch_options(LaunchOptions::default().timed(true));
        let ctx = match &self.backend {
            Some(id) => builder.backend(id),
            None => builder,
        }
        .open()?;
        println!("running on {}", ctx.route());
        Ok(ctx)
    }
}

/// The reference interpreter, which results are checked against.
pub(crate) fn reference() -> Result<Context, Error> {
    Context::builder().backend("reference").open()
}

/// Says whether the results are the reference's; an error if they are not.
pub(crate) fn check<T: PartialEq>(what: &str, actual: &[T], reference: &[T]) -> Result<(), Error> {
    if actual == reference {
        println!("{what}: all {} equal to the reference's", actual.len());
        return Ok(());
    }
    let differing = actual.iter().zip(reference).filter(|(a, b)| a != b).count();
    Err(Error::Internal(format!("{what}: {differing} of {} differ from the reference's", reference.len())))
}

/// Runs an example: prints its error and exits with 1 if it has one.
pub(crate) fn main<E: std::fmt::Display>(run: impl FnOnce() -> Result<(), E>) -> ExitCode {
    // An interrupt while a driver compiles is not held against the kernel.
    #[cfg(unix)]
    if let Err(error) = fulgurite::handle_interrupts() {
        eprintln!("interrupts are not handled: {error}");
    }
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", fulgurite::printable(&error.to_string()));
            ExitCode::FAILURE
        }
    }
}

/// Bytes of the largest file that is read.
const MOST_BYTES: u64 = 1 << 30;

/// Reads a whole file.
pub(crate) fn read_file(path: &Path) -> Result<Vec<u8>, Error> {
    use std::io::Read as _;
    let unreadable =
        |e: String| Error::invalid(Code::FileUnreadable, format!("cannot read {}: {e}", path.display()));
    let file = std::fs::File::open(path).map_err(|e| unreadable(e.to_string()))?;
    let mut bytes = Vec::new();
    file.take(MOST_BYTES + 1).read_to_end(&mut bytes).map_err(|e| unreadable(e.to_string()))?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(unreadable(format!("it has more than {MOST_BYTES} bytes")));
    }
    Ok(bytes)
}

/// A picture of 8-bit RGB or gray pixels.
pub(crate) struct Picture {
    pub(crate) width: u32,
    pub(crate) height: u32,
    /// One word for each pixel: red in the low byte, then green and blue.
    pub(crate) pixels: Vec<u32>,
}

/// Reads a PNG of any color type.
pub(crate) fn read_png(path: &Path) -> Result<Picture, Error> {
    let bad = |e: png::DecodingError| {
        Error::invalid(Code::BadFileFormat, format!("{} is no PNG that can be read: {e}", path.display()))
    };
    let mut decoder = png::Decoder::new(std::io::Cursor::new(read_file(path)?));
    decoder.set_transformations(png::Transformations::normalize_to_color8());
    let mut reader = decoder.read_info().map_err(bad)?;
    let size = reader.output_buffer_size().ok_or_else(|| {
        Error::invalid(Code::BadFileFormat, format!("{} is too large a picture", path.display()))
    })?;
    let mut bytes = vec![0; size];
    let info = reader.next_frame(&mut bytes).map_err(bad)?;
    let samples = info.color_type.samples();
    let pixels = bytes[..info.buffer_size()]
        .chunks_exact(samples)
        .map(|p| {
            let [r, g, b] = if samples < 3 { [p[0]; 3] } else { [p[0], p[1], p[2]] };
            u32::from(r) | u32::from(g) << 8 | u32::from(b) << 16
        })
        .collect();
    Ok(Picture { width: info.width, height: info.height, pixels })
}

/// Writes a PNG of `samples` bytes a pixel: 1 for gray, 3 for RGB.
pub(crate) fn write_png(
    path: &Path,
    width: u32,
    height: u32,
    samples: usize,
    bytes: &[u8],
) -> Result<(), Error> {
    let bad =
        |e: String| Error::invalid(Code::FileUnwritable, format!("cannot write {}: {e}", path.display()));
    if let Some(folder) = path.parent().filter(|f| !f.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(|e| bad(e.to_string()))?;
    }
    let file = std::fs::File::create(path).map_err(|e| bad(e.to_string()))?;
    let mut encoder = png::Encoder::new(std::io::BufWriter::new(file), width, height);
    encoder.set_color(if samples == 1 { png::ColorType::Grayscale } else { png::ColorType::Rgb });
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header().map_err(|e| bad(e.to_string()))?;
    writer.write_image_data(bytes).map_err(|e| bad(e.to_string()))?;
    writer.finish().map_err(|e| bad(e.to_string()))?;
    println!("wrote {}", path.display());
    Ok(())
}

/// A picture of the repository's `assets`, found from the working directory or the source tree.
pub(crate) fn asset(name: &str) -> PathBuf {
    let here = Path::new("assets").join(name);
    if here.exists() { here } else { Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets").join(name) }
}

/// The time of a launch in milliseconds: the device's if it measures, else the host's.
pub(crate) fn report_time(ctx: &Context, report: fulgurite::LaunchReport, host: std::time::Duration) {
    match report.device_time {
        Some(time) => println!("{}: {:.3} ms on the device", ctx.device().device, time.as_secs_f64() * 1e3),
        None => println!("{}: {:.3} ms", ctx.device().device, host.as_secs_f64() * 1e3),
    }
}
