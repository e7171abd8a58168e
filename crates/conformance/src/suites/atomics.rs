//! Atomics under contention, held to invariants that every order of execution keeps.

use fulgurite_driver_core::LaunchOptions;
use fulgurite_spec::Type;

use crate::harness::Harness;
use crate::suites::bytes;

/// Invocations of each kernel.
const COUNT: usize = 1024;

pub(super) fn run(harness: &mut Harness<'_>, progress: &mut dyn FnMut(usize, usize)) {
    let places = [Place::Buffer, Place::Shared];
    let ops = ["add", "min", "max", "and", "or", "xor"];
    let all = 2 * places.len() * (ops.len() + 4);
    let mut done = 0;
    for ty in [Type::U32, Type::I32] {
        for place in places {
            for op in ops {
                progress(done, all);
                fold(harness, ty, place, op);
                done += 1;
            }
            for part in [tickets, exchanges, compare_exchanges, bounds] {
                progress(done, all);
                part(harness, ty, place);
                done += 1;
            }
        }
    }
    progress(done, all);
}

#[derive(Clone, Copy)]
enum Place {
    /// One cell for all workgroups.
    Buffer,
    /// One cell for each workgroup.
    Shared,
}

impl Place {
    fn name(self) -> &'static str {
        match self {
            Self::Buffer => "buffer",
            Self::Shared => "shared",
        }
    }

    /// How many invocations share a cell.
    fn sharers(self) -> usize {
        match self {
            Self::Buffer => COUNT,
            Self::Shared => 64,
        }
    }
}

/// A kernel with `%x`, `%cells` (four for each set of sharers) and `%out`. `body` works on `%m` at `%c` and
/// sees `%i` and `%v`, the invocation's own element.
fn text(ty: Type, place: Place, body: &str) -> String {
    let (declaration, before, after) = match place {
        Place::Buffer => ("", "", ""),
        Place::Shared => (
            "  shared %s: T[4]\n",
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
        ),
    };
    let cell = match place {
        Place::Buffer => "%cells",
        Place::Shared => "%s",
    };
    format!(
        "fulgurite 1
kernel @atomics workgroup(64, 1, 1) {{
  buffer %x: read T[]
  buffer %cells: read_write T[]
  buffer %out: write T[]
{declaration}  %i = global_id.x
  %v = load %x[%i]
{before}{body}{after}}}
"
    )
    .replace("CELL", cell)
    .replace(" T[", &format!(" {ty}["))
    .replace(": T[", &format!(": {ty}["))
    .replace("TYPE", &ty.to_string())
}

/// Runs `body` and gives the cells and the outputs.
fn ran(
    harness: &mut Harness<'_>,
    group: &str,
    text: &str,
    input: &[u32],
    cells: &[u32],
) -> Option<[Vec<u32>; 2]> {
    let executable = harness.compile(group, text)?;
    let options = LaunchOptions::invocations([COUNT as u32, 1, 1]);
    let contents = [bytes(input), bytes(cells), bytes(&vec![0xa5a5_a5a5; COUNT])];
    let after = harness.launch(group, &executable, &contents, &[], &options)?;
    Some([words(&after[1]), words(&after[2])])
}

fn words(bytes: &[u8]) -> Vec<u32> {
    bytes.chunks_exact(4).map(|c| u32::from_le_bytes([c[0], c[1], c[2], c[3]])).collect()
}

fn sets(place: Place) -> usize {
    COUNT / place.sharers()
}

/// All sharers fold their element into one cell: the result does not depend on the order.
fn fold(harness: &mut Harness<'_>, ty: Type, place: Place, op: &str) {
    let group = format!("atomic.{op} {ty}, {}", place.name());
    let body = format!("  %old = atomic.{op} CELL[1u32], %v\n  store %out[%i], %old\n");
    let mut random = harness.random(&group);
    // Several rounds, each with its own inputs, are the cases: one for each cell.
    for round in 0..harness.random_count(8) {
        let input: Vec<u32> = (0..COUNT).map(|_| random.word()).collect();
        let start: Vec<u32> = (0..sets(place) * 4).map(|_| random.word()).collect();
        let Some([cells, out]) = ran(harness, &group, &text(ty, place, &body), &input, &start) else {
            return;
        };
        let mut expected = start.clone();
        for (i, v) in input.iter().enumerate() {
            let cell = &mut expected[i / place.sharers() * 4 + 1];
            *cell = folded(op, ty, *cell, *v);
        }
        harness.elements(&group, ty, [&bytes(&expected), &bytes(&cells)], |i| {
            format!("round {round}, cell {i}")
        });
        // In whatever order: each old value but the first is what another invocation made of its own.
        for (set, (olds, values)) in
            out.chunks(place.sharers()).zip(input.chunks(place.sharers())).enumerate()
        {
            let mut seen = olds.to_vec();
            seen.push(cells[set * 4 + 1]);
            let mut made: Vec<u32> =
                olds.iter().zip(values).map(|(old, v)| folded(op, ty, *old, *v)).collect();
            made.push(start[set * 4 + 1]);
            seen.sort_unstable();
            made.sort_unstable();
            harness.case(&group, seen == made, || {
                let first = seen.iter().zip(&made).find(|(a, b)| a != b);
                let expected = "old values that follow from one another".to_owned();
                [format!("round {round}, set {set}"), expected, format!("in order, {first:?} differ")]
            });
        }
    }
}

/// What an op makes of a cell's value.
fn folded(op: &str, ty: Type, cell: u32, v: u32) -> u32 {
    match (op, ty == Type::I32) {
        ("add", _) => cell.wrapping_add(v),
        ("min", true) => (cell as i32).min(v as i32) as u32,
        ("max", true) => (cell as i32).max(v as i32) as u32,
        ("min", false) => cell.min(v),
        ("max", false) => cell.max(v),
        ("and", _) => cell & v,
        ("or", _) => cell | v,
        _ => cell ^ v,
    }
}

/// Each sharer draws a number: together they are 0, 1, 2, …, each once.
fn tickets(harness: &mut Harness<'_>, ty: Type, place: Place) {
    let group = format!("tickets {ty}, {}", place.name());
    let body = "  %old = atomic.add CELL[2u32], 1TYPE\n  store %out[%i], %old\n";
    let start = vec![0; sets(place) * 4];
    let Some([_, out]) = ran(harness, &group, &text(ty, place, body), &vec![0; COUNT], &start) else {
        return;
    };
    for set in out.chunks(place.sharers()) {
        let mut drawn = set.to_vec();
        drawn.sort_unstable();
        let expected: Vec<u32> = (0..place.sharers() as u32).collect();
        harness.elements(&group, ty, [&bytes(&expected), &bytes(&drawn)], |i| format!("ticket {i}"));
    }
}

/// Each sharer puts its element in and takes one out: nothing is lost and nothing comes twice.
fn exchanges(harness: &mut Harness<'_>, ty: Type, place: Place) {
    let group = format!("atomic.exchange {ty}, {}", place.name());
    let body = "  %old = atomic.exchange CELL[3u32], %v\n  store %out[%i], %old\n";
    let mut random = harness.random(&group);
    let input: Vec<u32> = (0..COUNT).map(|_| random.word()).collect();
    let start: Vec<u32> = (0..sets(place) * 4).map(|_| random.word()).collect();
    let Some([cells, out]) = ran(harness, &group, &text(ty, place, body), &input, &start) else { return };
    for (set, (put, taken)) in input.chunks(place.sharers()).zip(out.chunks(place.sharers())).enumerate() {
        let cell = set * 4 + 3;
        let mut expected = put.to_vec();
        expected.push(start[cell]);
        let mut actual = taken.to_vec();
        actual.push(cells[cell]);
        expected.sort_unstable();
        actual.sort_unstable();
        harness.elements(&group, ty, [&bytes(&expected), &bytes(&actual)], |i| {
            format!("set {set}, element {i} in order")
        });
    }
}

/// Each sharer adds its element by compare-exchange, trying again until it succeeds.
fn compare_exchanges(harness: &mut Harness<'_>, ty: Type, place: Place) {
    let group = format!("atomic.compare_exchange loop {ty}, {}", place.name());
    let body = "  %seen = atomic.load CELL[0u32]
  %done, %last = while carry(%ok = false, %guess = %seen) {
    %again = not %ok
    condition %again
  } do {
    %sum = add %guess, %v
    %old = atomic.compare_exchange CELL[0u32], %guess, %sum
    %same = eq %old, %guess
    yield %same, %old
  }
  store %out[%i], %last
";
    let mut random = harness.random(&group);
    for round in 0..harness.random_count(4) {
        let input: Vec<u32> = (0..COUNT).map(|_| random.word()).collect();
        let start: Vec<u32> = (0..sets(place) * 4).map(|_| random.word()).collect();
        let Some([cells, _]) = ran(harness, &group, &text(ty, place, body), &input, &start) else { return };
        let mut expected = start.clone();
        for (i, v) in input.iter().enumerate() {
            let cell = &mut expected[i / place.sharers() * 4];
            *cell = cell.wrapping_add(*v);
        }
        harness.elements(&group, ty, [&bytes(&expected), &bytes(&cells)], |i| {
            format!("round {round}, cell {i}")
        });
    }
}

/// Out of bounds, atomics touch nothing and give 0; `atomic.store` and `atomic.load` work inside.
fn bounds(harness: &mut Harness<'_>, ty: Type, place: Place) {
    let group = format!("atomic bounds {ty}, {}", place.name());
    let body = "  %n = len CELL
  %far = add %n, %i
  %a = atomic.add CELL[%far], %v
  %b = atomic.exchange CELL[0xffffffffu32], %v
  %c = atomic.compare_exchange CELL[%far], 0TYPE, %v
  %d = atomic.load CELL[%far]
  atomic.store CELL[%far], %v
  %ab = or %a, %b
  %cd = or %c, %d
  %all = or %ab, %cd
  %inside = atomic.load CELL[0u32]
  %r = add %all, %inside
  atomic.store CELL[1u32], 77TYPE
  store %out[%i], %r
";
    let mut random = harness.random(&group);
    let input: Vec<u32> = (0..COUNT).map(|_| random.word() | 1).collect();
    let start: Vec<u32> = (0..sets(place) * 4).map(|_| random.word()).collect();
    let Some([cells, out]) = ran(harness, &group, &text(ty, place, body), &input, &start) else { return };
    let mut expected = start.clone();
    expected.iter_mut().skip(1).step_by(4).for_each(|cell| *cell = 77);
    harness.elements(&group, ty, [&bytes(&expected), &bytes(&cells)], |i| format!("cell {i}"));
    let expected: Vec<u32> = (0..COUNT).map(|i| start[i / place.sharers() * 4]).collect();
    harness.elements(&group, ty, [&bytes(&expected), &bytes(&out)], |i| format!("invocation {i}"));
}
