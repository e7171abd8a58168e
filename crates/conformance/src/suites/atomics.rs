//! Atomics under contention, checked against invariants that hold in every order of execution.

mod messages;

use std::sync::Arc;

use fulgurite_hal::{Executable, LaunchOptions};
use fulgurite_spec::eval::float::FloatFormat;
use fulgurite_spec::{Op, ScalarType, Type, eval};

use crate::harness::Harness;
use crate::values::Random;

/// Invocations of each kernel.
const COUNT: usize = 1024;

const PLACES: [Place; 4] = [Place::Buffer, Place::Shared, Place::BufferView, Place::SharedView];

pub(super) fn run(harness: &mut Harness<'_>, progress: &mut dyn FnMut(usize, usize)) {
    let ops = ["add", "min", "max", "and", "or", "xor"];
    let (integers, floats) = ([Type::U32, Type::I32, Type::U64, Type::I64], [Type::F32, Type::F64]);
    let parts: [fn(&mut Harness<'_>, Type, Place); 4] = [tickets, exchanges, compare_exchanges, bounds];
    let float_parts: [fn(&mut Harness<'_>, Type, Place); 2] = [exchanges, bounds];
    let all = PLACES.len() * (4 * (ops.len() + parts.len()) + 2 * (1 + float_parts.len())) + messages::COUNT;
    let mut done = 0;
    let mut step = |done: &mut usize| {
        progress(*done, all);
        *done += 1;
    };
    for place in PLACES {
        for ty in integers {
            for op in ops {
                step(&mut done);
                fold(harness, ty, place, op);
            }
            for part in parts {
                step(&mut done);
                part(harness, ty, place);
            }
        }
        for ty in floats {
            step(&mut done);
            fold(harness, ty, place, "add");
            for part in float_parts {
                step(&mut done);
                part(harness, ty, place);
            }
        }
    }
    messages::run(harness, &mut || step(&mut done));
    progress(all, all);
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// One cell for all workgroups.
    Buffer,
    /// One cell per workgroup.
    Shared,
    /// Like `Buffer`, through a view.
    BufferView,
    /// Like `Shared`, through a view.
    SharedView,
}

impl Place {
    fn name(self) -> &'static str {
        match self {
            Self::Buffer => "buffer",
            Self::Shared => "shared",
            Self::BufferView => "view of buffer",
            Self::SharedView => "view of shared",
        }
    }

    fn is_shared(self) -> bool {
        matches!(self, Self::Shared | Self::SharedView)
    }

    /// Returns the number of invocations that share a cell.
    fn sharers(self) -> usize {
        if self.is_shared() { 64 } else { COUNT }
    }

    /// Returns the attributes for order and scope to cycle through. Workgroups share the cells in buffers, so the scope
    /// must cover the device there.
    fn attributes(self) -> &'static [&'static str] {
        match self {
            Self::Buffer => &["", "[acquire_release]", "[release, device]", "[acquire]"],
            Self::Shared => &["", "[acquire_release]", "[release, workgroup]", "[acquire, device]"],
            Self::BufferView | Self::SharedView => &["", "[acquire_release]"],
        }
    }
}

/// Returns a kernel with `%x`, `%cells` (four for each set of sharers) and `%out`. `body` accesses `%m` at `%c`; `%i`
/// is the invocation and `%v` its element.
fn text(ty: Type, place: Place, body: &str) -> String {
    let cells = match place {
        Place::BufferView => "  buffer %raw: read_write u32x2[]\n  view %cells = %raw as T[]\n",
        _ => "  buffer %cells: read_write T[]\n",
    };
    let declaration = match place {
        Place::Buffer | Place::BufferView => String::new(),
        Place::Shared => "  shared %s: T[4]\n".to_owned(),
        Place::SharedView => {
            format!("  shared %base_of_s: u32x2[{}]\n  view %s = %base_of_s as T[]\n", ty.size() / 2)
        }
    };
    let (before, after) = if place.is_shared() {
        (
            "  %g = workgroup_id.x
  %base = mul %g, 4u32
  %lead = local_index
  %low = lt %lead, 4u32
  if %low {
    %from = add %base, %lead
    %was = load %cells[%from]
    store %s[%lead], %was
  }
  barrier[shared]
",
            "  barrier[shared]
  if %low {
    %to = add %base, %lead
    %is = load %s[%lead]
    store %cells[%to], %is
  }
",
        )
    } else {
        ("", "")
    };
    let cell = if place.is_shared() { "%s" } else { "%cells" };
    format!(
        "fulgurite 1
kernel @atomics workgroup(64, 1, 1) {{
  buffer %x: read T[]
{cells}  buffer %out: write T[]
{declaration}  %i = global_id.x
  %v = load %x[%i]
{before}{body}{after}}}
"
    )
    .replace("CELL", cell)
    .replace(" T[", &format!(" {ty}["))
    .replace("TYPE", &ty.to_string())
}

/// Runs a kernel and returns the cells and the outputs.
fn ran(
    harness: &mut Harness<'_>,
    group: &str,
    executable: &Arc<dyn Executable>,
    ty: Type,
    [input, cells]: [&[u64]; 2],
) -> Option<[Vec<u64>; 2]> {
    let options = LaunchOptions::invocations([COUNT as u32, 1, 1]);
    let contents = [bytes(ty, input), bytes(ty, cells), vec![0xa5; COUNT * ty.size() as usize]];
    let after = harness.launch(group, executable, &contents, &[], &options)?;
    Some([values(ty, &after[1]), values(ty, &after[2])])
}

fn bytes(ty: Type, values: &[u64]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes().into_iter().take(ty.size() as usize)).collect()
}

fn values(ty: Type, bytes: &[u8]) -> Vec<u64> {
    bytes.chunks_exact(ty.size() as usize).map(|c| eval::read_bytes(c, ty)[0]).collect()
}

/// Returns random values; for floats, multiples of 1/8 small enough that the sum of a thousand is exact.
fn randoms(random: &mut Random, ty: Type, count: usize) -> Vec<u64> {
    let mut draw = || match FloatFormat::of(ty.scalar) {
        Some(format) => format.encode((f64::from(random.below(1024)) - 512.0) / 8.0),
        None => random.next() & ty.scalar.mask(),
    };
    (0..count).map(|_| draw()).collect()
}

fn sets(place: Place) -> usize {
    COUNT / place.sharers()
}

/// All sharers fold their elements into one cell; the result does not depend on the order.
fn fold(harness: &mut Harness<'_>, ty: Type, place: Place, op: &str) {
    let group = format!("atomic.{op} {ty}, {}", place.name());
    let mut executables = Vec::new();
    for attributes in place.attributes() {
        let body = format!("  %old = atomic.{op}{attributes} CELL[1u32], %v\n  store %out[%i], %old\n");
        let Some(executable) = harness.compile(&group, &text(ty, place, &body)) else { return };
        executables.push(executable);
    }
    let mut random = harness.random(&group);
    // The cases are the cells of several rounds, each with different inputs.
    for round in 0..harness.random_count(8) {
        let input = randoms(&mut random, ty, COUNT);
        let start = randoms(&mut random, ty, sets(place) * 4);
        let executable = &executables[round % executables.len()];
        let Some([cells, out]) = ran(harness, &group, executable, ty, [&input, &start]) else { return };
        let mut expected = start.clone();
        for (i, v) in input.iter().enumerate() {
            let cell = &mut expected[i / place.sharers() * 4 + 1];
            *cell = folded(op, ty, *cell, *v);
        }
        let about = |i: usize| {
            format!("round {round}, {:?}, cell {i}", place.attributes()[round % executables.len()])
        };
        harness.elements(&group, ty, [&bytes(ty, &expected), &bytes(ty, &cells)], about);
        // In every order, each old value except the first is the result of another invocation's op.
        for (set, (olds, values)) in
            out.chunks(place.sharers()).zip(input.chunks(place.sharers())).enumerate()
        {
            let mut seen = olds.to_vec();
            seen.push(cells[set * 4 + 1]);
            let mut made: Vec<u64> =
                olds.iter().zip(values).map(|(old, v)| folded(op, ty, *old, *v)).collect();
            made.push(start[set * 4 + 1]);
            seen.sort_unstable();
            made.sort_unstable();
            harness.case(&group, seen == made, || {
                let first = seen.iter().zip(&made).find(|(a, b)| a != b);
                let expected = "old values that follow from one another".to_owned();
                [format!("round {round}, set {set}"), expected, format!("in order, {first:x?} differ")]
            });
        }
    }
}

/// Returns the new value of a cell after an op.
fn folded(op: &str, ty: Type, cell: u64, v: u64) -> u64 {
    let op = match op {
        "add" => Op::Add,
        "min" => Op::Min,
        "max" => Op::Max,
        "and" => Op::And,
        "or" => Op::Or,
        _ => Op::Xor,
    };
    eval::scalar(op, ty.scalar, ty.scalar, &[cell, v]).unwrap_or_default()
}

/// Each sharer draws a number; together they must be 0, 1, 2, …, each exactly once.
fn tickets(harness: &mut Harness<'_>, ty: Type, place: Place) {
    let group = format!("tickets {ty}, {}", place.name());
    let body = "  %old = atomic.add CELL[2u32], 1TYPE\n  store %out[%i], %old\n";
    let Some(executable) = harness.compile(&group, &text(ty, place, body)) else { return };
    let start = vec![0; sets(place) * 4];
    let Some([_, out]) = ran(harness, &group, &executable, ty, [&vec![0; COUNT], &start]) else { return };
    for set in out.chunks(place.sharers()) {
        let mut drawn = set.to_vec();
        drawn.sort_unstable();
        let expected: Vec<u64> = (0..place.sharers() as u64).collect();
        harness.elements(&group, ty, [&bytes(ty, &expected), &bytes(ty, &drawn)], |i| format!("ticket {i}"));
    }
}

/// Each sharer exchanges its element with the cell; no value may be lost or duplicated.
fn exchanges(harness: &mut Harness<'_>, ty: Type, place: Place) {
    let group = format!("atomic.exchange {ty}, {}", place.name());
    let body = "  %old = atomic.exchange CELL[3u32], %v\n  store %out[%i], %old\n";
    let Some(executable) = harness.compile(&group, &text(ty, place, body)) else { return };
    let mut random = harness.random(&group);
    let input = randoms(&mut random, ty, COUNT);
    let start = randoms(&mut random, ty, sets(place) * 4);
    let Some([cells, out]) = ran(harness, &group, &executable, ty, [&input, &start]) else { return };
    for (set, (put, taken)) in input.chunks(place.sharers()).zip(out.chunks(place.sharers())).enumerate() {
        let cell = set * 4 + 3;
        let mut expected = put.to_vec();
        expected.push(start[cell]);
        let mut actual = taken.to_vec();
        actual.push(cells[cell]);
        expected.sort_unstable();
        actual.sort_unstable();
        harness.elements(&group, ty, [&bytes(ty, &expected), &bytes(ty, &actual)], |i| {
            format!("set {set}, element {i} in order")
        });
    }
}

/// Each sharer adds its element in a compare-exchange loop.
fn compare_exchanges(harness: &mut Harness<'_>, ty: Type, place: Place) {
    let group = format!("atomic.compare_exchange loop {ty}, {}", place.name());
    let mut executables = Vec::new();
    for attributes in place.attributes() {
        let body = "  %seen = atomic.load CELL[0u32]
  %done, %last = while carry(%ok = false, %guess = %seen) {
    %again = not %ok
    condition %again
  } do {
    %sum = add %guess, %v
    %old = atomic.compare_exchangeORDER CELL[0u32], %guess, %sum
    %same = eq %old, %guess
    yield %same, %old
  }
  store %out[%i], %last
"
        .replace("ORDER", attributes);
        let Some(executable) = harness.compile(&group, &text(ty, place, &body)) else { return };
        executables.push(executable);
    }
    let mut random = harness.random(&group);
    for round in 0..harness.random_count(4) {
        let input = randoms(&mut random, ty, COUNT);
        let start = randoms(&mut random, ty, sets(place) * 4);
        let executable = &executables[round % executables.len()];
        let Some([cells, _]) = ran(harness, &group, executable, ty, [&input, &start]) else { return };
        let mut expected = start.clone();
        for (i, v) in input.iter().enumerate() {
            let cell = &mut expected[i / place.sharers() * 4];
            *cell = folded("add", ty, *cell, *v);
        }
        harness.elements(&group, ty, [&bytes(ty, &expected), &bytes(ty, &cells)], |i| {
            format!("round {round}, cell {i}")
        });
    }
}

/// Read-modify-write ops with an operand; floats have only those of `FLOAT_OPS`.
const INTEGER_OPS: [&str; 8] = ["add", "exchange", "compare_exchange", "min", "max", "and", "or", "xor"];
const FLOAT_OPS: [&str; 2] = ["add", "exchange"];

/// Checks that atomics out of bounds change nothing and return 0, and that `atomic.store` and `atomic.load` work in
/// bounds.
fn bounds(harness: &mut Harness<'_>, ty: Type, place: Place) {
    // Indices beyond the end in 32 bits, and in 64 bits with the low half in bounds.
    let far = [
        ("", "  %n = len CELL\n  %far = add %n, %i\n", "0xffffffffu32"),
        (
            " at u64",
            "  %high = shl 1u64, 32u32\n  %wide = convert %i -> u64\n  %far = add %wide, %high\n",
            "0x8000000000000000u64",
        ),
    ];
    for (which, setup, end) in far {
        let group = format!("atomic bounds{which} {ty}, {}", place.name());
        let is_float = ty.scalar.is_float();
        let ops: &[&str] = if is_float { &FLOAT_OPS } else { &INTEGER_OPS };
        let join = if is_float { "add" } else { "or" };
        let mut body = format!("{setup}  %r0 = atomic.load CELL[%far]\n");
        for (k, op) in ops.iter().enumerate() {
            let index = if k % 2 == 0 { "%far" } else { end };
            let operands = if *op == "compare_exchange" { "%zero, %v" } else { "%v" };
            body += &format!(
                "  %a{k} = atomic.{op} CELL[{index}], {operands}\n  %r{} = {join} %r{k}, %a{k}\n",
                k + 1
            );
        }
        body += &format!(
            "  atomic.store CELL[%far], %v
  %inside = atomic.load CELL[0u32]
  %r = add %r{}, %inside
  %seventy_seven = convert 77u32 -> TYPE
  atomic.store CELL[1u32], %seventy_seven
  store %out[%i], %r
",
            ops.len()
        );
        let body = format!("  %zero = convert 0u32 -> TYPE\n{body}");
        let Some(executable) = harness.compile(&group, &text(ty, place, &body)) else { continue };
        let mut random = harness.random(&group);
        // Nonzero elements, so that an unintended write is detected.
        let one = eval::scalar(Op::Convert, ScalarType::U32, ty.scalar, &[1]).unwrap_or_default();
        let input: Vec<u64> =
            randoms(&mut random, ty, COUNT).into_iter().map(|v| if v == 0 { one } else { v }).collect();
        let start = randoms(&mut random, ty, sets(place) * 4);
        let Some([cells, out]) = ran(harness, &group, &executable, ty, [&input, &start]) else { continue };
        let mut expected = start.clone();
        let stored = eval::scalar(Op::Convert, ScalarType::U32, ty.scalar, &[77]).unwrap_or_default();
        expected.iter_mut().skip(1).step_by(4).for_each(|cell| *cell = stored);
        harness.elements(&group, ty, [&bytes(ty, &expected), &bytes(ty, &cells)], |i| format!("cell {i}"));
        let expected: Vec<u64> = (0..COUNT).map(|i| start[i / place.sharers() * 4]).collect();
        harness
            .elements(&group, ty, [&bytes(ty, &expected), &bytes(ty, &out)], |i| format!("invocation {i}"));
    }
}
