//! `fulgurite spirv`: emits the SPIR-V module of a kernel, as a disassembly or as words.

use std::path::PathBuf;

use anyhow::anyhow;
use fulgurite::{Error, OpenOptions, VerifiedKernel};
use fulgurite_backend_vulkan::{Options, VulkanDevice};
use fulgurite_hal::Device as _;
use fulgurite_passes::PassOptions;
use fulgurite_spirv::Profile;
use rspirv::binary::Disassemble as _;

use crate::output::{self, note};
use crate::source::{kernel, optimize, unknown_name, write};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The kernel text (`.fg`)
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The device that the module is emitted for: `least` (the fewest features), `fullest` (all features), `device` (the
    /// Vulkan device of this machine), or a measured driver
    #[arg(long, value_name = "NAME", default_value = "fullest")]
    profile: String,
    /// Emit the kernel as it is after all optimizations
    #[arg(long)]
    optimize: bool,
    /// Write the module's words to a file instead, as a `.spv` binary
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Print the module's words in hexadecimal, eight in a line
    #[arg(long, conflicts_with = "output")]
    words: bool,
}

/// Emits the module.
///
/// # Errors
/// `FG0704` for a profile that does not exist, `FG0403` for a kernel that it does not support, and those of files.
pub(crate) fn run(args: &Args) -> anyhow::Result<bool> {
    let mut kernel = kernel(&args.file)?;
    if args.optimize {
        let mut options = PassOptions::default();
        options.optimize = true;
        options.device_optimizes = true;
        kernel = optimize(&kernel, &options)?.0;
    }
    let profile = profile(&args.profile, &kernel)?;
    if let Some(reason) = fulgurite_spirv::unsupported(&kernel, &profile) {
        return Err(Error::unsupported(reason, format!("the profile `{}`", args.profile)).into());
    }
    let words = fulgurite_spirv::emit(&kernel, &profile).words;
    if let Some(path) = &args.output {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        write(path, &bytes)?;
        note!("wrote {} ({} words)", path.display(), words.len());
    } else if args.words {
        let lines: Vec<String> = words
            .chunks(8)
            .map(|line| line.iter().map(|word| format!("{word:08x}")).collect::<Vec<_>>().join(" "))
            .collect();
        output::line(&lines.join("\n"))?;
    } else {
        let module = rspirv::dr::load_words(&words).map_err(|error| {
            anyhow!("the module cannot be disassembled ({error}): use --words or --output")
        })?;
        output::line(&module.disassemble())?;
    }
    Ok(true)
}

/// Returns the profile with this name. The device of this machine must have what `kernel` needs.
fn profile(name: &str, kernel: &VerifiedKernel) -> anyhow::Result<Profile> {
    Ok(match name {
        "least" => Profile::least(),
        "fullest" => Profile::fullest(),
        "device" => {
            let device = VulkanDevice::open(&Options::of(&OpenOptions::new()))?;
            Error::check_needs(kernel, device.snapshot())?;
            device.profile().clone()
        }
        name => Profile::named(name).ok_or_else(|| {
            let measured: Vec<_> = Profile::NAMED.iter().map(|(name, _)| *name).collect();
            let known = [&["least", "fullest", "device"], &measured[..]].concat();
            unknown_name(format!("there is no profile `{name}`"), "profile", &known)
        })?,
    })
}
