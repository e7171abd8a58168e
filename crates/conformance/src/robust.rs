//! Properties that hold for arbitrary bytes, shared by the fuzz targets and by a short property test in every test run.
//!
//! The bytes come from the caller, a fuzzer or a test. A violated property is returned as a message; a panic is also a
//! finding.

pub mod random;
mod scramble;

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use fulgurite_hal::{
    self as hal, Binding, CompileOptions, DeviceBuffer, DeviceError, Error, Launch, LaunchOptions,
    OptimizationLevel,
};
use fulgurite_ir::{Kernel, VerifiedKernel, lint, text, verify, wire};
use fulgurite_pipeline_cache::{Digest, Pack, PackWriter};
use fulgurite_runtime::Device;
use fulgurite_spec::Code;
use fulgurite_spec::eval::Components;
use fulgurite_spirv::Profile;

use crate::harness::compile_on;
use crate::validate::validate;
use random::Accuracy;

/// Limit of local memory per workgroup, in bytes, up to which a kernel is run.
const MAX_LOCAL_BYTES: u64 = 1 << 20;

/// Elements of each buffer of a run.
const ELEMENTS: u64 = 9;

/// Parses `bytes` as kernel text. A kernel that parses must survive a round trip through text; one that also verifies
/// must keep its number of warnings, survive a round trip through the wire format and be emitted as SPIR-V. Returns whether the kernel verified.
///
/// # Errors
/// The violated property.
pub fn text(bytes: &[u8]) -> Result<bool, String> {
    let Ok(source) = core::str::from_utf8(bytes) else { return Ok(false) };
    let Ok(kernel) = text::parse(source) else { return Ok(false) };
    let printed = text::print(&kernel);
    let again =
        text::parse(&printed).map_err(|e| format!("the printed text does not parse: {e}\n{printed}"))?;
    let reprinted = text::print(&again);
    if reprinted != printed {
        return Err(format!("printing is not stable:\n{printed}\nthen\n{reprinted}"));
    }
    match (verify(kernel), verify(again)) {
        (Ok(kernel), Ok(again)) => {
            if kernel.digest() != again.digest() {
                return Err(format!("the digest changes when the kernel is printed and parsed:\n{printed}"));
            }
            let decoded = text_from_bytes(&kernel)?;
            if decoded != printed {
                return Err(format!(
                    "the text changes in a round trip through bytes:\n{printed}\nthen\n{decoded}"
                ));
            }
            if lint(&kernel).len() != lint(&again).len() {
                return Err(format!("the warnings change when the kernel is printed and parsed:\n{printed}"));
            }
            emit(&kernel)?;
            Ok(true)
        }
        (Err(_), Err(_)) => Ok(false),
        (Ok(_), Err(e)) => Err(format!("verifies, but not when printed and parsed: {e}\n{printed}")),
        (Err(e), Ok(_)) => Err(format!("verifies only when printed and parsed: {e}\n{printed}")),
    }
}

/// Parses `bytes` as a pack of compiled kernels, and again as the contents of a pack with a valid table. Every entry
/// that is listed must be found by its identity, and a pack written from the entries must read back equal. Returns the
/// number of entries.
///
/// # Errors
/// The violated property.
pub fn cache(bytes: &[u8]) -> Result<usize, String> {
    Ok(pack(bytes)? + pack(&sealed(bytes))?)
}

/// Writes `bytes` over each file of a cache folder, both unchanged and sealed. The folder must stay usable, and the
/// entry in it may be found only if it equals the original byte for byte. Returns whether it was found.
///
/// # Errors
/// The violated property.
pub fn cache_files(bytes: &[u8]) -> Result<bool, String> {
    crate::suites::cache_properties(bytes)
}

/// Builds a pack with a valid header and checksum whose table and entries come from `bytes`: the first byte gives the
/// number of rows.
fn sealed(bytes: &[u8]) -> Vec<u8> {
    let (rows, rest) =
        bytes.split_first().map_or((0, bytes), |(first, rest)| (usize::from(*first) % 4, rest));
    let (table, entries) = rest.split_at((rows * 48).min(rest.len()));
    let mut pack = b"FGPACK\x1a\n".to_vec();
    pack.extend_from_slice(&1u32.to_le_bytes());
    pack.extend_from_slice(&0u32.to_le_bytes());
    pack.extend_from_slice(&(table.len() as u64 / 48).to_le_bytes());
    pack.extend_from_slice(&table[..table.len() / 48 * 48]);
    let seal = Digest::of(&pack);
    pack.extend_from_slice(seal.as_bytes());
    pack.extend_from_slice(entries);
    pack
}

fn pack(bytes: &[u8]) -> Result<usize, String> {
    let Ok(pack) = Pack::from_bytes(bytes.to_vec()) else { return Ok(0) };
    let mut writer = PackWriter::new();
    let entries: Vec<_> = pack.entries().collect();
    for entry in &entries {
        if pack.get(&entry.identity).as_ref() != Some(entry) {
            return Err(format!("a listed entry is not found: {:?}", entry.identity));
        }
        writer.add(entry);
    }
    let again = Pack::from_bytes(writer.finish())
        .map_err(|error| format!("a rewritten pack does not read: {error}"))?;
    match again.entries().eq(entries.iter().cloned()) {
        true => Ok(entries.len()),
        false => Err("a rewritten pack reads differently".to_owned()),
    }
}

/// Scrambles the arenas of a kernel as directed by `bytes`. A kernel that the verifier accepts must print and encode as
/// a kernel of the same digest, be emitted as SPIR-V, and run on `backends`. Returns whether it was accepted.
///
/// # Errors
/// The violated property.
pub fn scrambled(bytes: &[u8], backends: &[Arc<dyn hal::Device>]) -> Result<bool, String> {
    let kernel = scramble::kernel(bytes)?;
    // Printing must work for malformed kernels as well.
    let printed = text::print(&kernel);
    let Ok(verified) = verify(kernel) else { return Ok(false) };
    let again = text::parse(&printed)
        .and_then(verify)
        .map_err(|e| format!("verifies, but not when printed and parsed: {e}\n{printed}"))?;
    if again.digest() != verified.digest() {
        return Err(format!("the digest changes when the kernel is printed and parsed:\n{printed}"));
    }
    text_from_bytes(&verified)?;
    emit(&verified)?;
    let verified = Arc::new(verified);
    for backend in backends {
        let name = &backend.snapshot().backend;
        run(&verified, backend).map_err(|e| format!("{name}: {e}\n{printed}"))?;
    }
    Ok(true)
}

/// Generates a random kernel as directed by `bytes`, and runs it as it is and after all passes on a reference with subgroups
/// as large as those of each of `devices`, and, unless ops differ between backends, on the device. All results must be equal.
///
/// # Errors
/// The violated property.
pub fn compiled(bytes: &[u8], devices: &[Arc<dyn hal::Device>]) -> Result<(), String> {
    let seed = u64::from(bytes.first().copied().unwrap_or_default());
    let accuracy = if seed % 4 == 0 { Accuracy::Any } else { Accuracy::Equal };
    let random::RandomKernel { text: source, invocations } =
        random::kernel(random::Numbers::of(bytes), accuracy);
    let about = |what: &str, error: &dyn std::fmt::Display| format!("{what}: {error}\n{source}");
    let given = text::parse(&source).and_then(verify).map_err(|error| about("invalid", &error))?;
    let given = Arc::new(given);
    let full = CompileOptions::default().optimization(OptimizationLevel::Full);
    for device in devices {
        let reference = random::reference_like(device.as_ref());
        // Traps are results as well.
        let of = |device: &dyn hal::Device, kernel| {
            let name = &device.snapshot().backend;
            match random::run(device, kernel, invocations, seed) {
                Ok(buffers) => Ok(Some(buffers)),
                Err(error) if error.code() == Code::Trap => Ok(None),
                Err(error) => Err(about(name, &error)),
            }
        };
        let through_passes = Device::new(Arc::clone(device), full.clone(), LaunchOptions::default());
        let optimized = through_passes
            .optimized(&given, &CompileOptions::default())
            .map_err(|error| about("invalid after the passes", &error))?;
        let wanted = of(&reference, &given)?;
        let mut found = vec![(of(&reference, &optimized)?, "the reference after the passes")];
        if accuracy == Accuracy::Equal {
            found.push((of(device.as_ref(), &given)?, "the device"));
            found.push((of(device.as_ref(), &optimized)?, "the device after the passes"));
        }
        for (found, what) in found {
            if found != wanted {
                let after = text::print(&optimized);
                return Err(format!("{what} differs:\n{source}\nafter the passes:\n{after}"));
            }
        }
    }
    Ok(())
}

/// Decodes `bytes` as the wire format of a kernel, and then the part between header and checksum, or all of it, as the
/// body of one. A kernel that decodes must print; one that also verifies must survive round trips through bytes and
/// text and be emitted as SPIR-V. Returns whether the body was a kernel that verifies.
///
/// # Errors
/// The violated property.
pub fn wire(bytes: &[u8]) -> Result<bool, String> {
    decoded(bytes)?;
    let body = match bytes {
        [0x8f, b'F', b'G', b'K', rest @ ..] if rest.len() >= 28 => &rest[12..rest.len() - 16],
        _ => bytes,
    };
    decoded(&wire::seal(body))
}

fn decoded(bytes: &[u8]) -> Result<bool, String> {
    let Ok(kernel) = wire::decode(bytes) else { return Ok(false) };
    // Printing must work for malformed kernels as well.
    let printed = text::print(&kernel);
    let Ok(verified) = verify(kernel) else { return Ok(false) };
    if wire::encode(&verified).as_deref() != Ok(bytes) {
        return Err(format!("decodes, but is not encoded as the same bytes:\n{printed}"));
    }
    let again = text::parse(&printed)
        .and_then(verify)
        .map_err(|e| format!("verifies, but not when printed and parsed: {e}\n{printed}"))?;
    if again.digest() != verified.digest() {
        return Err(format!("the digest changes when the kernel is printed and parsed:\n{printed}"));
    }
    emit(&verified)?;
    Ok(true)
}

/// Encodes and decodes `kernel` and returns the text of the result.
fn text_from_bytes(kernel: &VerifiedKernel) -> Result<String, String> {
    let printed = text::print(kernel);
    let bytes = wire::encode(kernel).map_err(|e| format!("does not encode: {e}\n{printed}"))?;
    let decoded = wire::decode(&bytes).map_err(|e| format!("does not decode: {e}\n{printed}"))?;
    let again = verify(decoded).map_err(|e| format!("verifies, but not when decoded: {e}\n{printed}"))?;
    if again.digest() != kernel.digest() {
        return Err(format!("the digest changes when the kernel is encoded and decoded:\n{printed}"));
    }
    if wire::encode(&again) != Ok(bytes) {
        return Err(format!("encoding is not stable:\n{printed}"));
    }
    Ok(text::print(&again))
}

fn emit(kernel: &VerifiedKernel) -> Result<(), String> {
    for profile in [Profile::least(), Profile::fullest()] {
        if fulgurite_spirv::unsupported(kernel, &profile).is_some() {
            continue;
        }
        // A SPIR-V header has five words and begins with the magic number.
        let words = fulgurite_spirv::emit(kernel, &profile).words;
        if words.len() <= 5 || words[0] != 0x0723_0203 {
            return Err(format!("no SPIR-V module for {profile:?}:\n{}", text::print(kernel)));
        }
    }
    validate(kernel).map_err(|e| format!("{e}\n{}", text::print(kernel)))
}

/// Runs `kernel`. Invalid use, unsupported features and timeouts are not failures.
fn run(kernel: &Arc<VerifiedKernel>, backend: &Arc<dyn hal::Device>) -> Result<(), Error> {
    if kernel.local_bytes() * u64::from(kernel.workgroup_invocations()) > MAX_LOCAL_BYTES {
        return Ok(());
    }
    match launch(kernel, backend) {
        Err(Error::Invalid(_) | Error::Unsupported(_))
        | Err(Error::Device(
            DeviceError::Timeout(_) | DeviceError::LoopLimit { .. } | DeviceError::Trap { .. },
        )) => Ok(()),
        outcome => outcome,
    }
}

fn launch(kernel: &Arc<VerifiedKernel>, backend: &Arc<dyn hal::Device>) -> Result<(), Error> {
    let executable = compile_on(backend.as_ref(), Arc::clone(kernel), &CompileOptions::default())?;
    let buffers: Vec<Arc<dyn DeviceBuffer>> = kernel
        .buffers
        .iter()
        .map(|declared| {
            let bytes = u64::from(declared.element.size()) * ELEMENTS;
            let buffer = backend.allocate(bytes)?;
            let data: Vec<u8> = (0..bytes).map(|i| (i * 37) as u8).collect();
            buffer.write(0, &data)?;
            Ok(buffer)
        })
        .collect::<Result<_, Error>>()?;
    let params: Vec<Components> = kernel.params.iter().map(|_| [5, 0x8000_0000, 0x7f80_0001, 1]).collect();
    let options = LaunchOptions::workgroups([2, 1, 2]).timeout(Duration::from_millis(5));
    let launch =
        Launch::check(kernel, &backend.snapshot().limits, Binding::each(&buffers), &params, &options)?;
    executable.launch(&launch)?;
    Ok(())
}

/// The kernels to scramble.
static SEEDS: LazyLock<Result<Vec<Kernel>, String>> = LazyLock::new(|| {
    [include_str!("robust/control.fg"), include_str!("robust/ops.fg"), include_str!("robust/matrices.fg")]
        .into_iter()
        .map(|source| text::parse(source).map_err(|e| e.to_string()))
        .collect()
});
