//! `fulgurite asm`: the machine code that the CPU backend generates for a kernel, as a disassembly or as bytes.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use fulgurite::{Code, CompileOptions, Error, LaunchOptions};
use fulgurite_backend_cpu::{CpuDevice, CpuOptions, Native, machine_code};
use fulgurite_runtime::Device;
use iced_x86::{Decoder, DecoderOptions, FlowControl, Formatter as _, Instruction, NasmFormatter};

use crate::output::{self, note};
use crate::source::{kernel, unknown_name, write};

/// The size of a general register in bits, which is the mode of the code.
const BITNESS: u32 = 64;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The kernel text (`.fg`)
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The instructions to generate: `auto` (the widest of this machine), `avx2` or `avx512`
    #[arg(long, value_name = "NAME", default_value = "auto")]
    native: String,
    /// Without the passes that run by default before the CPU backend
    #[arg(long)]
    as_given: bool,
    /// Write the code to a file instead, as bytes
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Generates the code.
///
/// # Errors
/// `FG0704` for instructions that do not exist, `FG0403` for a kernel that is interpreted, and those of files.
pub(crate) fn run(args: &Args) -> anyhow::Result<bool> {
    let mut kernel = kernel(&args.file)?;
    let native = native(&args.native)?;
    if !args.as_given {
        let device = CpuDevice::with(CpuOptions { native });
        let device = Device::new(Arc::new(device), CompileOptions::default(), LaunchOptions::default());
        kernel = device.optimized(&kernel, &CompileOptions::default())?;
    }
    let code = machine_code(&kernel, CpuOptions { native })
        .map_err(|reason| Error::invalid(Code::Unsupported, format!("it is interpreted: {reason}")))?;
    if let Some(path) = &args.output {
        write(path, &code)?;
        note!("wrote {} ({} bytes)", path.display(), code.len());
    } else {
        output::line(&disassembled(&code))?;
    }
    Ok(true)
}

/// Returns the option with this name.
fn native(name: &str) -> anyhow::Result<Native> {
    let known = Native::NAMES.into_iter().filter(|(_, native)| *native != Native::Interpreter);
    let known: Vec<&str> = known.map(|(name, _)| name).collect();
    let native = Native::named(name).filter(|_| known.contains(&name));
    Ok(native.ok_or_else(|| unknown_name(format!("there are no instructions `{name}`"), "name", &known))?)
}

/// Returns the lines of code: labels, and instructions after their offsets.
fn disassembled(code: &[u8]) -> String {
    let instructions: Vec<Instruction> =
        Decoder::new(BITNESS, code, DecoderOptions::NONE).into_iter().collect();
    let targets = instructions.iter().filter(|i| is_jump(i)).map(Instruction::near_branch_target);
    let mut labels: BTreeMap<u64, usize> = targets.map(|target| (target, 0)).collect();
    labels.values_mut().zip(0..).for_each(|(label, number)| *label = number);
    let (mut formatter, mut text) = (NasmFormatter::new(), String::new());
    formatter.options_mut().set_hex_prefix("0x");
    formatter.options_mut().set_hex_suffix("");
    for instruction in &instructions {
        if let Some(label) = labels.get(&instruction.ip()) {
            let _ = writeln!(text, "L{label}:");
        }
        let mut line = String::new();
        match labels.get(&instruction.near_branch_target()) {
            Some(label) if is_jump(instruction) => {
                let mnemonic = format!("{:?}", instruction.mnemonic()).to_ascii_lowercase();
                let _ = write!(line, "{mnemonic} L{label}");
            }
            _ => formatter.format(instruction, &mut line),
        }
        let _ = writeln!(text, "{:6x}    {line}", instruction.ip());
    }
    text.truncate(text.trim_end().len());
    text
}

/// Returns whether an instruction jumps to, or calls, a place in the code.
fn is_jump(instruction: &Instruction) -> bool {
    match instruction.flow_control() {
        FlowControl::UnconditionalBranch | FlowControl::ConditionalBranch | FlowControl::Call => true,
        FlowControl::Next
        | FlowControl::IndirectBranch
        | FlowControl::Return
        | FlowControl::IndirectCall
        | FlowControl::Interrupt
        | FlowControl::XbeginXabortXend
        | FlowControl::Exception => false,
    }
}
