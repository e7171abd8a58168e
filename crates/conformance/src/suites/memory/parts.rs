//! Parts of buffers: bound at any multiple of the element size, with neighbors that must not change.

use std::sync::Arc;

use fulgurite_hal::{Binding, Error, Launch, LaunchOptions};
use fulgurite_spec::{Code, Type};

use super::{element, elements};
use crate::harness::Harness;

/// Elements per part.
const LENGTH: usize = 21;

/// Copies one part of a buffer to another part of the same buffer, reversed.
pub(super) fn run(harness: &mut Harness<'_>, ty: Type) {
    let group = format!("parts of a buffer of {ty}");
    let text = format!(
        "fulgurite 1
kernel @parts workgroup(32, 1, 1) {{
  buffer %x: read {ty}[]
  buffer %y: write {ty}[]
  buffer %lens: write u32[]
  %i = global_id.x
  %n = len %x
  %last = sub %n, 1u32
  %at = sub %last, %i
  %e = load %x[%at]
  store %y[%i], %e
  %ny = len %y
  store %lens[0u32], %n
  store %lens[1u32], %ny
}}
"
    );
    let Some(executable) = harness.compile(&group, &text) else { return };
    let size = ty.size() as usize;
    let mut random = harness.random(&group);
    // Start of the parts in elements: adjacent in either order, and far apart.
    for [from, to] in
        [[0, LENGTH], [LENGTH, 0], [1, LENGTH + 1], [LENGTH + 6, 5], [3, 64], [64, 7], [131, 33]]
    {
        let before = elements(&mut random, ty, 160);
        let mut expected = before.clone();
        for i in 0..LENGTH {
            let at = (to + i) * size;
            let from = (from + LENGTH - 1 - i) as u32;
            expected[at..at + size].copy_from_slice(&element(&before, ty, from));
        }
        let result = (|| -> Result<[Vec<u8>; 2], Error> {
            let backend = Arc::clone(harness.backend());
            let (buffer, lens) = (backend.allocate(before.len() as u64)?, backend.allocate(16)?);
            buffer.write(0, &before)?;
            let (all, lens) = (Binding::whole(&buffer), Binding::whole(&lens));
            let part = |first: usize| all.part((first * size) as u64, (LENGTH * size) as u64);
            // The lengths are written to a part as well.
            let parts = vec![part(from)?, part(to)?, lens.part(4, 8)?];
            let options = LaunchOptions::invocations([LENGTH as u32, 1, 1]);
            let limits = &backend.snapshot().limits;
            executable.launch(&Launch::check(executable.kernel(), limits, parts, &[], &options)?)?;
            let (mut after, mut counts) = (vec![0; before.len()], vec![0; 16]);
            buffer.read(0, &mut after)?;
            lens.buffer().read(0, &mut counts)?;
            Ok([after, counts])
        })();
        match result {
            Ok([after, counts]) => {
                let input = |i| format!("element {i} with {from} copied to {to}");
                harness.elements(&group, ty, [&expected, &after], input);
                let lens = super::bytes(&[0, LENGTH as u32, LENGTH as u32, 0]);
                harness.elements(&group, Type::U32, [&lens, &counts], |i| format!("word {i} of the lengths"));
            }
            Err(error) => harness.error(&group, &text, error),
        }
    }
    refused(harness, &group, ty, &executable);
}

/// Overlapping parts, and a part that begins within an element.
fn refused(
    harness: &mut Harness<'_>,
    group: &str,
    ty: Type,
    executable: &Arc<dyn fulgurite_hal::Executable>,
) {
    let size = u64::from(ty.size());
    let mut refusals = vec![([0, 2 * size], Code::BufferOverlap), ([size, 0], Code::BufferOverlap)];
    if size > 1 {
        refusals.push(([0, 8 * size + 1], Code::BufferSize));
    }
    for ([from, to], wanted) in refusals {
        let result = (|| -> Result<(), Error> {
            let backend = harness.backend();
            let (buffer, lens) = (backend.allocate(32 * size)?, backend.allocate(8)?);
            let all = Binding::whole(&buffer);
            let parts = vec![all.part(from, 4 * size)?, all.part(to, 4 * size)?, Binding::whole(&lens)];
            let limits = &backend.snapshot().limits;
            Launch::check(executable.kernel(), limits, parts, &[], &LaunchOptions::default()).map(|_| ())
        })();
        let code = result.err().map(|e| e.code());
        harness.case(group, code == Some(wanted), || {
            [format!("parts at bytes {from} and {to}"), format!("{wanted}"), format!("{code:?}")]
        });
    }
}
