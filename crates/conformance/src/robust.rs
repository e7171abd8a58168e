//! Properties that hold for any bytes: what fuzz targets run, and a short property test in every test run.
//!
//! Owns no source of bytes: a fuzzer or a test gives them. A property that fails is an error in words; what may
//! also happen is a panic, which is what the caller is looking for.

mod scramble;

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use fulgurite_hal::{
    self as hal, Binding, CompileOptions, DeviceBuffer, DeviceError, Error, Launch, LaunchOptions,
};
use fulgurite_ir::{Kernel, VerifiedKernel, text, verify, wire};
use fulgurite_pipeline_cache::{Digest, Pack, PackWriter};
use fulgurite_spec::eval::Components;
use fulgurite_spirv::Profile;

use crate::harness::compile_on;
use crate::validate::validate;

/// Most bytes of one workgroup's local memory that a kernel is run with.
const MAX_LOCAL_BYTES: u64 = 1 << 20;

/// Elements of each buffer that a kernel is run with.
const ELEMENTS: u64 = 9;

/// Takes `bytes` as kernel text. Whatever parses makes the round trip through text, and whatever also verifies that
/// through the wire format, and is emitted as SPIR-V. Whether it was a kernel that verifies.
///
/// # Errors
/// The property that does not hold.
pub fn text(bytes: &[u8]) -> Result<bool, String> {
    let Ok(source) = core::str::from_utf8(bytes) else { return Ok(false) };
    let Ok(kernel) = text::parse(source) else { return Ok(false) };
    let printed = text::print(&kernel);
    let again =
        text::parse(&printed).map_err(|e| format!("what is printed does not parse: {e}\n{printed}"))?;
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
                return Err(format!("another text comes back from bytes:\n{printed}\nthen\n{decoded}"));
            }
            emit(&kernel)?;
            Ok(true)
        }
        (Err(_), Err(_)) => Ok(false),
        (Ok(_), Err(e)) => Err(format!("verifies, but not when printed and parsed: {e}\n{printed}")),
        (Err(e), Ok(_)) => Err(format!("verifies only when printed and parsed: {e}\n{printed}")),
    }
}

/// Takes `bytes` as a pack of compiled kernels, and once more with a table that is sealed around them. Whatever is read of
/// one is found by its identity, and makes a pack that reads back. How many entries there were.
///
/// # Errors
/// The property that does not hold.
pub fn cache(bytes: &[u8]) -> Result<usize, String> {
    Ok(pack(bytes)? + pack(&sealed(bytes))?)
}

/// Puts `bytes` in the place of each file of a cache's folder, as they are and sealed. The folder can be used, and the entry
/// in it is found only if it is the one that belongs there, byte for byte. Whether it was.
///
/// # Errors
/// The property that does not hold.
pub fn cache_files(bytes: &[u8]) -> Result<bool, String> {
    crate::suites::cache_properties(bytes)
}

/// A pack whose table is `bytes`: their first says how many rows it has, and what follows those is the entries.
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
            return Err(format!("an entry is listed and not found: {:?}", entry.identity));
        }
        writer.add(entry);
    }
    let again = Pack::from_bytes(writer.finish()).map_err(|error| format!("what was read: {error}"))?;
    match again.entries().eq(entries.iter().cloned()) {
        true => Ok(entries.len()),
        false => Err("a pack of what was read reads otherwise".to_owned()),
    }
}

/// Takes a kernel and scrambles its arenas as `bytes` say. Whatever the verifier accepts prints and encodes as a
/// kernel of the same digest, is emitted as SPIR-V, and runs on `backends`. Whether it was accepted.
///
/// # Errors
/// The property that does not hold.
pub fn scrambled(bytes: &[u8], backends: &[Arc<dyn hal::Device>]) -> Result<bool, String> {
    let kernel = scramble::kernel(bytes)?;
    // Printing is for malformed kernels too.
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

/// Takes `bytes` as the wire format of a kernel, and what lies between header and checksum, or all of them, as the
/// body of one. Whatever decodes prints; whatever also verifies makes the round trip through bytes and text and is
/// emitted as SPIR-V. Whether the body was a kernel that verifies.
///
/// # Errors
/// The property that does not hold.
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
    // Printing is for malformed kernels too.
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

/// The text of what comes back when `kernel` is encoded and decoded.
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
        // Five words are a module's header; the magic number is the first.
        let words = fulgurite_spirv::emit(kernel, &profile).words;
        if words.len() <= 5 || words[0] != 0x0723_0203 {
            return Err(format!("no SPIR-V module for {profile:?}:\n{}", text::print(kernel)));
        }
    }
    validate(kernel).map_err(|e| format!("{e}\n{}", text::print(kernel)))
}

/// Runs `kernel`. What a caller may do wrongly, what the device may lack and not ending in time are no failures.
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

/// The kernels that are scrambled.
static SEEDS: LazyLock<Result<Vec<Kernel>, String>> = LazyLock::new(|| {
    [include_str!("robust/control.fg"), include_str!("robust/ops.fg"), include_str!("robust/matrices.fg")]
        .into_iter()
        .map(|source| text::parse(source).map_err(|e| e.to_string()))
        .collect()
});
