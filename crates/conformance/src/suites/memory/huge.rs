//! Buffers of more than 4 GiB, on devices that support them: only at the full level, because they take that much
//! memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fulgurite_hal::{Binding, DeviceBuffer, DeviceError, Error, Launch, LaunchOptions};
use fulgurite_spec::Type;

use super::elements;
use crate::harness::Harness;
use crate::values::Random;

/// Size of the buffer in bytes.
const BYTES: u64 = (1 << 32) + (1 << 16);
/// Number of stored elements, and of loaded elements.
const ACCESSES: usize = 192;

/// The declaration of the buffer, the name through which it is accessed, and the accessed type.
pub(super) struct Place {
    declaration: &'static str,
    name: &'static str,
    ty: Type,
}

pub(super) fn places(harness: &Harness<'_>) -> Vec<Place> {
    if harness.level() == crate::Level::Smoke {
        return Vec::new();
    }
    let place = |declaration, name, ty: &str| Type::parse(ty).map(|ty| Place { declaration, name, ty });
    [
        place("buffer %x: read_write u8[] large", "%x", "u8"),
        place("buffer %x: read_write u32[]", "%x", "u32"),
        place("buffer %x: read_write u64x4[]", "%x", "u64x4"),
        place("buffer %x: read_write u8[] large\n  view %v = %x as f32[]", "%v", "f32"),
    ]
    .into_iter()
    .flatten()
    .collect()
}

pub(super) fn run(harness: &mut Harness<'_>, place: &Place) {
    let (name, ty) = (place.name, place.ty);
    let group = format!("{ty} of a buffer of more than 4 GiB, {}", place.declaration.replace("\n ", ","));
    let kernel = |access: &str, list: &str| {
        format!(
            "fulgurite 1
kernel @huge workgroup(64, 1, 1) {{
  {}
  buffer %index: read u64[]
  buffer %list: {list} {ty}[]
  %i = global_id.x
  %at = load %index[%i]
{access}}}
",
            place.declaration
        )
    };
    let store = kernel(&format!("  %e = load %list[%i]\n  store {name}[%at], %e\n"), "read");
    let load = kernel(&format!("  %e = load {name}[%at]\n  store %list[%i], %e\n"), "write");
    let (Some(store), Some(load)) = (harness.compile(&group, &store), harness.compile(&group, &load)) else {
        return;
    };

    let mut random = harness.random(&group);
    let size = u64::from(ty.size());
    let stored = indices(&mut random, size);
    let values = elements(&mut random, ty, ACCESSES);
    let inside = |index: &u64| *index < BYTES / size;
    let written: BTreeMap<u64, &[u8]> = stored
        .iter()
        .zip(values.chunks_exact(size as usize))
        .filter(|(index, _)| inside(index))
        .map(|(index, value)| (*index, value))
        .collect();
    // Where a store would go if its byte offset were truncated to 32 bits.
    let cut = stored.iter().map(|index| index.wrapping_mul(size) % (1 << 32) / size);
    let mut loaded: Vec<u64> =
        stored.iter().copied().chain(cut).collect::<BTreeSet<u64>>().into_iter().collect();
    loaded.resize(loaded.len().next_multiple_of(64), 0);
    let zero = vec![0; size as usize];
    let expected: Vec<u8> =
        loaded.iter().flat_map(|index| written.get(index).map_or(&zero[..], |v| v).to_vec()).collect();

    let result = (|| {
        let backend = Arc::clone(harness.backend());
        let filled = |contents: &[u8]| -> Result<Arc<dyn DeviceBuffer>, Error> {
            let buffer = backend.allocate(contents.len() as u64)?;
            buffer.write(0, contents)?;
            Ok(buffer)
        };
        let huge = backend.allocate(BYTES)?;
        let lists = [filled(&values)?, filled(&vec![0xa5; expected.len()])?];
        for ((executable, index), list) in [(&store, &stored), (&load, &loaded)].into_iter().zip(&lists) {
            let bytes: Vec<u8> = index.iter().flat_map(|i| i.to_le_bytes()).collect();
            let buffers = [Arc::clone(&huge), filled(&bytes)?, Arc::clone(list)];
            let options = LaunchOptions::invocations([index.len() as u32, 1, 1]);
            let limits = &backend.snapshot().limits;
            executable.launch(&Launch::check(
                executable.kernel(),
                limits,
                Binding::each(&buffers),
                &[],
                &options,
            )?)?;
        }
        let mut by_kernel = vec![0; expected.len()];
        lists[1].read(0, &mut by_kernel)?;
        let mut by_host = by_kernel.clone();
        for (index, out) in loaded.iter().zip(by_host.chunks_exact_mut(size as usize)) {
            out.fill(0);
            if inside(index) {
                huge.read(index * size, out)?;
            }
        }
        Ok([by_kernel, by_host])
    })();
    match result {
        Ok(found) => {
            for (reader, found) in ["load", "read"].into_iter().zip(&found) {
                harness.elements(&group, ty, [&expected, found], |i| format!("{reader} of {:#x}", loaded[i]));
            }
        }
        // There may be less memory than the device can address.
        Err(Error::Device(DeviceError::OutOfMemory { bytes })) => {
            harness.unsupported(&group, &format!("there is no memory for {bytes} bytes"));
        }
        Err(error) => harness.error(&group, place.declaration, error),
    }
}

/// Returns distinct indices around each boundary of byte offsets and past the end, then random ones, half of them
/// beyond 4 GiB.
fn indices(random: &mut Random, size: u64) -> Vec<u64> {
    let (wrap, length) = (1u64 << 32, BYTES / size);
    let around = [wrap / 2, wrap, wrap * 3 / 4].map(|offset| offset / size);
    let mut all: BTreeSet<u64> = around.into_iter().flat_map(|i| [i - 1, i, i + 1]).collect();
    all.extend([0, 1, length - 1, length, length + 1, 2 * length, wrap * 2, u64::MAX / size + 1, u64::MAX]);
    while all.len() < ACCESSES {
        let start = if random.next() & 1 == 0 { wrap / size } else { 0 };
        all.insert(start + random.next() % (length - start));
    }
    all.into_iter().collect()
}
