//! Loads and stores of matrices: buffers, shared memory and views of both; at an offset, with gaps between lines or
//! overlapping lines, and cut off by the end of the memory.

use std::sync::Arc;

use fulgurite_hal::{Executable, LaunchOptions};
use fulgurite_spec::eval::Components;
use fulgurite_spec::{MatrixLayout, MatrixScope, Type};

use super::{LAYOUTS, WORKGROUP, components, line, shape, show, values};
use crate::compare::moved;
use crate::harness::Harness;

/// Bytes before the matrix, and between its lines.
const GAPS: [(u32, u32); 3] = [(0, 0), (16, 16), (48, 64)];
/// Words of each array that is declared next to a shared one.
const BESIDE: u32 = 32;

/// The memory that a matrix is loaded from or stored to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// A buffer of its components.
    Buffer,
    /// A buffer of 16-byte vectors.
    Vectors,
    /// A view of a buffer of components as 16-byte vectors.
    BufferView,
    /// A view of a buffer of words as components.
    WordView,
    /// A shared array of its components.
    Shared,
    /// A view of a shared array of components as 16-byte vectors.
    SharedView,
}

const PLACES: [Place; 6] =
    [Place::Buffer, Place::Vectors, Place::BufferView, Place::WordView, Place::Shared, Place::SharedView];

/// Places for matrices with unusual offsets and strides.
const UNUSUAL: [Place; 3] = [Place::Buffer, Place::BufferView, Place::Shared];

impl Place {
    fn name(self) -> &'static str {
        match self {
            Self::Buffer => "a buffer",
            Self::Vectors => "a buffer of vectors",
            Self::BufferView => "a wide view of a buffer",
            Self::WordView => "a narrow view of a buffer",
            Self::Shared => "shared memory",
            Self::SharedView => "a wide view of shared memory",
        }
    }

    fn is_shared(self) -> bool {
        matches!(self, Self::Shared | Self::SharedView)
    }

    /// Returns the element type of the memory, and the type through which it is accessed.
    fn elements(self, ty: Type) -> (String, String) {
        let own = ty.scalar.to_string();
        let vector = || if own == "f32" { "f32x4".to_owned() } else { "u32x4".to_owned() };
        match self {
            Self::Buffer | Self::Shared => (own.clone(), own),
            Self::Vectors => (vector(), vector()),
            Self::BufferView | Self::SharedView => (own, "u32x4".to_owned()),
            Self::WordView => ("u32x2".to_owned(), own),
        }
    }

    /// Returns the size in bytes of an element of the memory, and of the type through which it is accessed.
    fn sizes(self, ty: Type) -> (u32, u32) {
        let own = ty.scalar.size();
        match self {
            Self::Buffer | Self::Shared => (own, own),
            Self::Vectors => (16, 16),
            Self::BufferView | Self::SharedView => (own, 16),
            Self::WordView => (8, own),
        }
    }
}

/// The compiler's knowledge about offset and stride.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    /// Their values: they are literals.
    Literals,
    /// Their alignment: they are parameters.
    Alignment,
}

/// Location and layout of a matrix in memory.
#[derive(Clone, Copy, Debug)]
struct Lies {
    place: Place,
    layout: MatrixLayout,
    known: Known,
    /// Elements before the matrix, and between the beginnings of adjacent lines.
    offset: u64,
    stride: u32,
    /// Size of the memory in bytes.
    length: u32,
}

impl Lies {
    /// Returns whether some components share memory.
    fn overlaps(self, ty: Type) -> bool {
        let stride = u64::from(self.stride) * u64::from(self.place.sizes(ty).1);
        stride < u64::from(line(ty, self.layout) * ty.scalar.size())
    }
}

/// Returns the byte offset of each component in row-major order; `None` if it is not entirely in bounds.
fn inside(ty: Type, lies: Lies) -> Vec<Option<usize>> {
    let (_, element) = lies.place.sizes(ty);
    // A view ends with its last whole element.
    let length = lies.length / element * element;
    let (shape, size) = (shape(ty), u128::from(ty.scalar.size()));
    let first = |line: u32| u128::from(lies.offset) + u128::from(line) * u128::from(lies.stride);
    let at = |line: u32, along: u32| first(line) * u128::from(element) + u128::from(along) * size;
    (0..shape.components())
        .map(|i| {
            let (row, col) = (i / u32::from(shape.cols), i % u32::from(shape.cols));
            let byte = match lies.layout {
                MatrixLayout::RowMajor => at(row, col),
                MatrixLayout::ColumnMajor => at(col, row),
            };
            (byte + size <= u128::from(length)).then_some(byte as usize)
        })
        .collect()
}

pub(super) fn run(harness: &mut Harness<'_>, ty: Type) {
    for place in PLACES {
        let [load, store] = ["load", "store"].map(|op| format!("coop.{op} {ty}, {}", place.name()));
        for layout in LAYOUTS {
            for (offset, gap) in GAPS {
                let stride = line(ty, layout) * ty.scalar.size() + gap;
                let tight = line(ty, layout) * ty.scalar.size();
                // Lines of 8 bytes may be 8 bytes apart, but not in a memory of 16-byte vectors.
                let step = place.sizes(ty).1;
                if !stride.is_multiple_of(step) {
                    continue;
                }
                let lines = shape(ty).lines(layout).0;
                let whole = offset + (lines - 1) * stride + tight;
                // All of the matrix and more; exactly all; all but the end; half; none.
                for length in [whole + 32, whole, whole - 8, offset + (lines / 2) * stride + 8, offset] {
                    let length = length.next_multiple_of(place.sizes(ty).0);
                    let known = Known::Literals;
                    let (offset, stride) = (u64::from(offset / step), stride / step);
                    let lies = Lies { place, layout, known, offset, stride, length };
                    loads(harness, &load, ty, lies);
                    stores(harness, &store, ty, lies);
                }
            }
            if !UNUSUAL.contains(&place) {
                continue;
            }
            for lies in unusual(ty, place, layout) {
                loads(harness, &load, ty, lies);
                if !lies.overlaps(ty) {
                    stores(harness, &store, ty, lies);
                }
            }
        }
    }
}

/// Returns the required alignment of offset and stride in elements: 16 bytes, or the length of a shorter line.
fn alignment(ty: Type, place: Place, layout: MatrixLayout) -> u32 {
    let (tight, step) = (line(ty, layout) * ty.scalar.size(), place.sizes(ty).1);
    tight.min(16).max(step) / step
}

/// Returns matrices with overlapping lines, and ones that are out of bounds only in arithmetic of more than 32 or 64
/// bits.
fn unusual(ty: Type, place: Place, layout: MatrixLayout) -> Vec<Lies> {
    let step = place.sizes(ty).1;
    let tight = line(ty, layout) * ty.scalar.size();
    // In elements: the minimum stride, and that of lines which do not overlap.
    let unit = alignment(ty, place, layout);
    let whole = tight.div_ceil(step).next_multiple_of(unit);
    let lines = shape(ty).lines(layout).0;
    let mut found = Vec::new();
    for known in [Known::Literals, Known::Alignment] {
        let lies = |offset: u64, stride: u32, length: u32| {
            let length = length.next_multiple_of(place.sizes(ty).0);
            Lies { place, layout, known, offset, stride, length }
        };
        for stride in [0, unit] {
            let end = (unit + (lines - 1) * stride) * step + tight;
            found.extend([end + 32, end - 8].map(|length| lies(unit.into(), stride, length)));
        }
        // Every other line begins at a multiple of 2³² elements; the first line does; the first line begins just below
        // 2³², and just below 2⁶⁴.
        let below = |end: u128| (end - u128::from(unit)) as u64;
        for (offset, stride) in
            [(0, 1 << 31), (1 << 32, whole), (below(1 << 32), whole), (below(1 << 64), whole)]
        {
            found.push(lies(offset, stride, 4 * tight));
        }
    }
    found
}

/// Declarations of `%x` and the memory through which it is accessed, and copies to and from that memory if it is
/// shared.
struct Memory {
    declarations: String,
    /// The accessed memory with offset and stride: `%x[0u32], 16u32`.
    access: String,
    fill: String,
    empty: String,
    invocations: u32,
    /// Contents of the other declared buffers, without `%x`.
    beside: Vec<Vec<u8>>,
    params: Vec<Components>,
}

fn memory(harness: &Harness<'_>, ty: Type, lies: Lies, access: &str) -> Memory {
    let (element, seen) = lies.place.elements(ty);
    let invocations = match shape(ty).scope {
        MatrixScope::Subgroup => harness.backend().snapshot().limits.subgroup_size.max(1),
        MatrixScope::Workgroup => WORKGROUP,
    };
    let mut declarations = format!("  buffer %x: {access} {element}[]\n");
    let count = lies.length / lies.place.sizes(ty).0;
    let copy = |to: &str, from: &str, count: u32| {
        format!(
            "  for %{to}_i in %l to {count}u32 step {invocations}u32 {{\n    %v = load %{from}[%{to}_i]\n    \
             store %{to}[%{to}_i], %v\n  }}\n"
        )
    };
    let (mut fill, mut empty, mut beside) = (String::new(), String::new(), Vec::new());
    if lies.place.is_shared() {
        // Declare arrays that must not be accessed on both sides of the array.
        for side in ["low", "high"] {
            declarations += &format!("  buffer %{side}: read_write u32[]\n");
            fill += &copy(&format!("{side}_s"), side, BESIDE);
            empty += &copy(side, &format!("{side}_s"), BESIDE);
            beside.push(vec![0x5a; BESIDE as usize * 4]);
        }
        declarations += &format!("  shared %low_s: u32[{BESIDE}] uninit\n");
        // An array must not be empty.
        declarations += &format!("  shared %s: {element}[{}] uninit\n", count.max(1));
        declarations += &format!("  shared %high_s: u32[{BESIDE}] uninit\n");
        fill = format!("  %l = local_index\n{fill}{}  barrier[shared]\n", copy("s", "x", count));
        empty = format!("  barrier[shared]\n{empty}");
        if access != "read" {
            empty += &copy("x", "s", count);
        }
    }
    let name = match lies.place {
        Place::Buffer | Place::Vectors => "x",
        Place::Shared => "s",
        Place::BufferView | Place::WordView => {
            declarations += &format!("  view %w = %x as {seen}[]\n");
            "w"
        }
        Place::SharedView => {
            declarations += &format!("  view %w = %s as {seen}[]\n");
            "w"
        }
    };
    let (access, params) = match lies.known {
        Known::Literals if lies.offset <= u64::from(u32::MAX) => {
            (format!("%{name}[{}u32], {}u32", lies.offset, lies.stride), Vec::new())
        }
        Known::Literals => (format!("%{name}[{}u64], {}u32", lies.offset, lies.stride), Vec::new()),
        Known::Alignment => {
            let unit = alignment(ty, lies.place, lies.layout);
            declarations += &format!(
                "  param %offset: u64\n  param %stride: u32\n  require eq (rem %offset, {unit}u64), 0u64\n  \
                 require eq (rem %stride, {unit}u32), 0u32\n"
            );
            let params = [lies.offset, lies.stride.into()].map(|value| [value, 0, 0, 0]);
            (format!("%{name}[%offset], %stride"), params.to_vec())
        }
    };
    Memory { declarations, access, fill, empty, invocations, beside, params }
}

/// Returns whether the memory is shared and too small for one element, which cannot be declared.
fn is_impossible(ty: Type, lies: Lies) -> bool {
    let least = if lies.place == Place::SharedView { 16 } else { ty.scalar.size() };
    lies.place.is_shared() && lies.length < least
}

fn loads(harness: &mut Harness<'_>, group: &str, ty: Type, lies: Lies) {
    if is_impossible(ty, lies) {
        return;
    }
    let memory = memory(harness, ty, lies, "read");
    let text = format!(
        "fulgurite 1\nkernel @load workgroup({}, 1, 1) {{\n  buffer %y: write {}[]\n{}{}  \
         %m = coop.load[{}] {} -> {ty}\n  coop.store[row_major] %y[0u32], {}u32, %m\n{}}}\n",
        memory.invocations,
        ty.scalar,
        memory.declarations,
        memory.fill,
        lies.layout.name(),
        memory.access,
        shape(ty).cols,
        memory.empty,
    );
    let Some(executable) = harness.compile(group, &text) else { return };
    let mut random = harness.random(&format!("{group} {lies:?}"));
    let input: Vec<u8> = (0..lies.length / ty.scalar.size())
        .flat_map(|_| super::bytes(ty.scalar, &[random.value(ty.scalar)]))
        .collect();
    let poison = vec![0xa5; components(ty) * ty.scalar.size() as usize];
    let Some(after) = launch(harness, group, &executable, &memory, [poison, input.clone()]) else { return };
    let expected: Vec<u64> = inside(ty, lies)
        .into_iter()
        .map(|byte| {
            byte.map_or(0, |byte| values(ty.scalar, &input[byte..byte + ty.scalar.size() as usize])[0])
        })
        .collect();
    same(harness, group, ty, lies, [&expected, &values(ty.scalar, &after[0])]);
}

fn stores(harness: &mut Harness<'_>, group: &str, ty: Type, lies: Lies) {
    if is_impossible(ty, lies) {
        return;
    }
    let memory = memory(harness, ty, lies, "read_write");
    let text = format!(
        "fulgurite 1\nkernel @store workgroup({}, 1, 1) {{\n  buffer %y: read {}[]\n{}{}  \
         %m = coop.load[row_major] %y[0u32], {}u32 -> {ty}\n  coop.store[{}] {}, %m\n{}}}\n",
        memory.invocations,
        ty.scalar,
        memory.declarations,
        memory.fill,
        shape(ty).cols,
        lies.layout.name(),
        memory.access,
        memory.empty,
    );
    let Some(executable) = harness.compile(group, &text) else { return };
    let mut random = harness.random(&format!("{group} {lies:?}"));
    let matrix: Vec<u64> = (0..components(ty)).map(|_| random.value(ty.scalar)).collect();
    // A pattern that is neither a NaN nor a subnormal in any type.
    let before = vec![0x35; lies.length as usize];
    let mut expected = before.clone();
    for (bits, byte) in matrix.iter().zip(inside(ty, lies)) {
        if let Some(byte) = byte {
            let component = super::bytes(ty.scalar, &[*bits]);
            expected[byte..byte + component.len()].copy_from_slice(&component);
        }
    }
    let matrix = super::bytes(ty.scalar, &matrix);
    let Some(after) = launch(harness, group, &executable, &memory, [matrix, before]) else { return };
    let read = |bytes: &[u8]| values(ty.scalar, bytes);
    same(harness, group, ty, lies, [&read(&expected), &read(&after[1])]);
}

/// Runs a kernel on `%y` and `%x` and returns their contents. The arrays next to a shared array are checked as a
/// separate case.
fn launch(
    harness: &mut Harness<'_>,
    group: &str,
    executable: &Arc<dyn Executable>,
    memory: &Memory,
    contents: [Vec<u8>; 2],
) -> Option<Vec<Vec<u8>>> {
    let contents = [&contents[..], &memory.beside].concat();
    let options = LaunchOptions::workgroups([1, 1, 1]);
    let after = harness.launch(group, executable, &contents, &memory.params, &options)?;
    if !memory.beside.is_empty() {
        harness.case(group, after[2..] == memory.beside, || {
            let show = |all: &[Vec<u8>]| format!("{all:x?}");
            [format!("{:?}", executable.kernel()), show(&memory.beside), show(&after[2..])]
        });
    }
    Some(after)
}

/// Counts a case that passes if all values match.
fn same(harness: &mut Harness<'_>, group: &str, ty: Type, lies: Lies, [expected, actual]: [&[u64]; 2]) {
    let kept = harness.kept_subnormals();
    let wrong = expected.iter().zip(actual).position(|(e, a)| !moved(ty.scalar, *e, *a, kept));
    harness.case(group, wrong.is_none() && expected.len() == actual.len(), || {
        let at = wrong.unwrap_or_default();
        [format!("{lies:?}, component {at}"), show(ty.scalar, expected[at]), show(ty.scalar, actual[at])]
    });
}
