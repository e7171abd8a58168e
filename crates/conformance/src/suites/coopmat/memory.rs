//! Where matrices are loaded from and stored to: buffers, shared memory and views of both; at an offset, with lines apart,
//! and cut off by the end of the memory.

use fulgurite_driver_core::LaunchOptions;
use fulgurite_spec::{MatrixLayout, MatrixScope, Type};

use super::{LAYOUTS, WORKGROUP, components, line, shape, show, values};
use crate::compare::moved;
use crate::harness::Harness;

/// Bytes before the matrix, and between its lines.
const GAPS: [(u32, u32); 3] = [(0, 0), (16, 16), (48, 64)];

/// What a matrix is loaded from or stored to.
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
    /// A view of one as 16-byte vectors.
    SharedView,
}

const PLACES: [Place; 6] =
    [Place::Buffer, Place::Vectors, Place::BufferView, Place::WordView, Place::Shared, Place::SharedView];

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

    /// Elements of the memory, and what it is accessed as.
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

    /// Bytes of an element of the memory, and of what it is accessed as.
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

/// A matrix in memory.
#[derive(Clone, Copy, Debug)]
struct Lies {
    place: Place,
    layout: MatrixLayout,
    /// Bytes before it, and from one line to the next.
    offset: u32,
    stride: u32,
    /// Bytes of memory.
    length: u32,
}

/// Where each component begins, in bytes, row after row; `None` where it is not wholly inside.
fn inside(ty: Type, lies: Lies) -> Vec<Option<usize>> {
    let (_, element) = lies.place.sizes(ty);
    // A view ends with its last whole element.
    let length = lies.length / element * element;
    let (shape, size) = (shape(ty), ty.scalar.size());
    let at = |line: u32, along: u32| lies.offset + line * lies.stride + along * size;
    (0..shape.components())
        .map(|i| {
            let (row, col) = (i / u32::from(shape.cols), i % u32::from(shape.cols));
            let byte = match lies.layout {
                MatrixLayout::RowMajor => at(row, col),
                MatrixLayout::ColumnMajor => at(col, row),
            };
            (byte + size <= length).then_some(byte as usize)
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
                // Lines of 8 bytes may lie 8 apart, but vectors of 16 begin where vectors do.
                let step = place.sizes(ty).1;
                if !stride.is_multiple_of(step) {
                    continue;
                }
                let lines = shape(ty).lines(layout).0;
                let whole = offset + (lines - 1) * stride + tight;
                // All of it and a bit; all but its end; half of it; nothing of it.
                for length in [whole + 32, whole, whole - 8, offset + (lines / 2) * stride + 8, offset] {
                    let length = length.next_multiple_of(place.sizes(ty).0);
                    let lies = Lies { place, layout, offset, stride, length };
                    loads(harness, &load, ty, lies);
                    stores(harness, &store, ty, lies);
                }
            }
        }
    }
}

/// Declarations of `%x` and what it is accessed through, and copies to and from it if that is in shared memory.
struct Memory {
    declarations: String,
    access: &'static str,
    fill: String,
    empty: String,
    invocations: u32,
}

fn memory(harness: &Harness<'_>, ty: Type, lies: Lies, access: &str) -> Memory {
    let (element, seen) = lies.place.elements(ty);
    let invocations = match shape(ty).scope {
        MatrixScope::Subgroup => harness.backend().snapshot().limits.subgroup_size.max(1),
        MatrixScope::Workgroup => WORKGROUP,
    };
    let mut declarations = format!("  buffer %x: {access} {element}[]\n");
    let count = lies.length / lies.place.sizes(ty).0;
    let copy = |to: &str, from: &str| {
        format!(
            "  for %{to}_i in %l to {count}u32 step {invocations}u32 {{\n    %v = load %{from}[%{to}_i]\n    \
             store %{to}[%{to}_i], %v\n  }}\n"
        )
    };
    let (mut fill, mut empty) = (String::new(), String::new());
    if lies.place.is_shared() {
        // No array is empty.
        declarations += &format!("  shared %s: {element}[{}] uninit\n", count.max(1));
        fill = format!("  %l = local_index\n{}  barrier[shared]\n", copy("s", "x"));
        empty = format!("  barrier[shared]\n{}", copy("x", "s"));
    }
    let access = match lies.place {
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
    Memory { declarations, access, fill, empty, invocations }
}

/// Whether the memory has no element where a shared array must have one.
fn is_impossible(ty: Type, lies: Lies) -> bool {
    let least = if lies.place == Place::SharedView { 16 } else { ty.scalar.size() };
    lies.place.is_shared() && lies.length < least
}

fn loads(harness: &mut Harness<'_>, group: &str, ty: Type, lies: Lies) {
    if is_impossible(ty, lies) {
        return;
    }
    let memory = memory(harness, ty, lies, "read");
    let (_, step) = lies.place.sizes(ty);
    let text = format!(
        "fulgurite 1\nkernel @load workgroup({}, 1, 1) {{\n{}  buffer %y: write {}[]\n{}  \
         %m = coop.load[{}] %{}[{}u32], {}u32 -> {ty}\n  coop.store[row_major] %y[0u32], {}u32, %m\n}}\n",
        memory.invocations,
        memory.declarations,
        ty.scalar,
        memory.fill,
        lies.layout.name(),
        memory.access,
        lies.offset / step,
        lies.stride / step,
        shape(ty).cols,
    );
    let Some(executable) = harness.compile(group, &text) else { return };
    let mut random = harness.random(&format!("{group} {lies:?}"));
    let input: Vec<u8> = (0..lies.length / ty.scalar.size())
        .flat_map(|_| super::bytes(ty.scalar, &[random.value(ty.scalar)]))
        .collect();
    let poison = vec![0xa5; components(ty) * ty.scalar.size() as usize];
    let options = LaunchOptions::workgroups([1, 1, 1]);
    let Some(after) = harness.launch(group, &executable, &[input.clone(), poison], &[], &options) else {
        return;
    };
    let expected: Vec<u64> = inside(ty, lies)
        .into_iter()
        .map(|byte| {
            byte.map_or(0, |byte| values(ty.scalar, &input[byte..byte + ty.scalar.size() as usize])[0])
        })
        .collect();
    same(harness, group, ty, lies, [&expected, &values(ty.scalar, &after[1])]);
}

fn stores(harness: &mut Harness<'_>, group: &str, ty: Type, lies: Lies) {
    if is_impossible(ty, lies) {
        return;
    }
    let memory = memory(harness, ty, lies, "read_write");
    let (_, step) = lies.place.sizes(ty);
    let text = format!(
        "fulgurite 1\nkernel @store workgroup({}, 1, 1) {{\n{}  buffer %y: read {}[]\n{}  \
         %m = coop.load[row_major] %y[0u32], {}u32 -> {ty}\n  coop.store[{}] %{}[{}u32], {}u32, %m\n{}}}\n",
        memory.invocations,
        memory.declarations,
        ty.scalar,
        memory.fill,
        shape(ty).cols,
        lies.layout.name(),
        memory.access,
        lies.offset / step,
        lies.stride / step,
        memory.empty,
    );
    let Some(executable) = harness.compile(group, &text) else { return };
    let mut random = harness.random(&format!("{group} {lies:?}"));
    let matrix: Vec<u64> = (0..components(ty)).map(|_| random.value(ty.scalar)).collect();
    // A pattern that is no NaN and no subnormal of any type.
    let before = vec![0x35; lies.length as usize];
    let mut expected = before.clone();
    for (bits, byte) in matrix.iter().zip(inside(ty, lies)) {
        if let Some(byte) = byte {
            let component = super::bytes(ty.scalar, &[*bits]);
            expected[byte..byte + component.len()].copy_from_slice(&component);
        }
    }
    let options = LaunchOptions::workgroups([1, 1, 1]);
    let contents = [before, super::bytes(ty.scalar, &matrix)];
    let Some(after) = harness.launch(group, &executable, &contents, &[], &options) else { return };
    let read = |bytes: &[u8]| values(ty.scalar, bytes);
    same(harness, group, ty, lies, [&read(&expected), &read(&after[0])]);
}

/// Counts a case: all values are what they should be.
fn same(harness: &mut Harness<'_>, group: &str, ty: Type, lies: Lies, [expected, actual]: [&[u64]; 2]) {
    let kept = harness.kept_subnormals();
    let wrong = expected.iter().zip(actual).position(|(e, a)| !moved(ty.scalar, *e, *a, kept));
    harness.case(group, wrong.is_none() && expected.len() == actual.len(), || {
        let at = wrong.unwrap_or_default();
        [format!("{lies:?}, component {at}"), show(ty.scalar, expected[at]), show(ty.scalar, actual[at])]
    });
}
