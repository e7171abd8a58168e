//! Subgroup ops on every type they accept: full and partial subgroups, inactive lanes, and control flow, which must not
//! affect them.
//!
//! The expectations are computed here from the values of each subgroup's lanes, at the subgroup size that the device
//! reports. A kernel for one type and workgroup shape holds several ops, each of which is a separate group.

mod control;
mod oracle;
mod shuffles;
mod votes;

use fulgurite_hal::LaunchOptions;
use fulgurite_ir::Combine;
use fulgurite_spec::eval::float::FloatFormat;
use fulgurite_spec::eval::{self, Components};
use fulgurite_spec::{Lanes, Op, ScalarType, Type};

use crate::Level;
use crate::harness::Harness;
use crate::values::{Random, edges, encode, show};

use oracle::Expected;

/// Workgroup shapes: less than a subgroup, several full ones, with a partial one at the end, and two- and
/// three-dimensional.
const SHAPES: [[u32; 3]; 10] = [
    [40, 1, 1],
    [12, 1, 1],
    [128, 1, 1],
    [1, 1, 1],
    [8, 4, 1],
    [64, 1, 1],
    [7, 7, 1],
    [32, 1, 1],
    [5, 3, 2],
    [96, 1, 1],
];

/// Workgroups per launch; each gets a different kind of values.
const GROUPS: usize = 4;

/// Division of a launch into workgroups and subgroups.
#[derive(Clone, Copy, Debug)]
struct Layout {
    workgroup: [u32; 3],
    groups: usize,
    /// Lanes of a full subgroup.
    size: usize,
}

impl Layout {
    fn new(harness: &Harness<'_>, workgroup: [u32; 3], groups: usize) -> Self {
        let size = harness.backend().snapshot().limits.subgroup_size.max(1) as usize;
        Self { workgroup, groups, size }
    }

    /// Returns the number of invocations of a workgroup.
    fn count(&self) -> usize {
        self.workgroup.iter().product::<u32>() as usize
    }

    /// Returns the number of invocations of the launch.
    fn all(&self) -> usize {
        self.count() * self.groups
    }

    fn local(&self, i: usize) -> usize {
        i % self.count()
    }

    fn lane(&self, i: usize) -> usize {
        self.local(i) % self.size
    }

    fn subgroup(&self, i: usize) -> usize {
        self.local(i) / self.size
    }

    fn subgroups(&self) -> usize {
        self.count().div_ceil(self.size)
    }

    /// Returns the invocations of `i`'s subgroup, starting with lane 0.
    fn lanes(&self, i: usize) -> core::ops::Range<usize> {
        let first = i - self.lane(i);
        let end = (i - self.local(i)) + self.count();
        first..(first + self.size).min(end)
    }

    fn options(&self) -> LaunchOptions {
        LaunchOptions::workgroups([self.groups as u32, 1, 1])
    }

    /// Returns the kernel's text, with the lines that compute `%i`, the index over all workgroups, before `body`.
    fn text(&self, declarations: &str, body: &str) -> String {
        let [x, y, z] = self.workgroup;
        format!(
            "fulgurite 1
kernel @subgroup workgroup({x}, {y}, {z}) {{
{declarations}  %l = local_index
  %g = workgroup_id.x
  %base = mul %g, {}u32
  %i = add %base, %l
{body}}}
",
            self.count()
        )
    }

    fn name(&self, i: usize) -> String {
        format!(
            "workgroup {} of {:?}, subgroup {} of {} lanes, lane {}",
            i / self.count(),
            self.workgroup,
            self.subgroup(i),
            self.lanes(i).len(),
            self.lane(i)
        )
    }
}

/// Returns the shapes to run `ty` on. At the smoke level most types get only some, selected by `salt`.
fn shapes(harness: &Harness<'_>, ty: Type, salt: usize) -> Vec<[u32; 3]> {
    let common = matches!(ty.scalar, ScalarType::U32 | ScalarType::F32);
    let count = match (harness.level(), ty.is_scalar(), common) {
        (Level::Full, ..) | (_, true, true) => SHAPES.len(),
        (_, true, false) => 4,
        (_, false, _) => 2,
    };
    // The first shape always has full subgroups and a partial one.
    let start = if count == SHAPES.len() { 0 } else { salt };
    (0..count).map(|k| SHAPES[if k == 0 { 0 } else { (start + k) % SHAPES.len() }]).collect()
}

fn types() -> impl Iterator<Item = Type> {
    ScalarType::ALL.into_iter().flat_map(|s| Lanes::ALL.map(|l| Type::vector(s, l)))
}

pub(super) fn run(harness: &mut Harness<'_>, progress: &mut dyn FnMut(usize, usize)) {
    let types: Vec<Type> = types().collect();
    let all = types.len() + SHAPES.len() + control::SUBJECTS.len();
    let mut done = 0;
    for (salt, ty) in types.iter().enumerate() {
        progress(done, all);
        for shape in shapes(harness, *ty, salt * 3) {
            let layout = Layout::new(harness, shape, GROUPS);
            if ty.scalar != ScalarType::Bool {
                scans(harness, &layout, *ty);
            }
            shuffles::run(harness, &layout, *ty);
            if ty.is_scalar() && ty.scalar != ScalarType::Bool {
                votes::matches(harness, &layout, ty.scalar);
            }
        }
        done += 1;
    }
    for shape in SHAPES {
        progress(done, all);
        votes::run(harness, &Layout::new(harness, shape, 6));
        done += 1;
    }
    for subject in control::SUBJECTS {
        progress(done, all);
        control::check(harness, subject);
        done += 1;
    }
    progress(all, all);
}

/// Reductions and scans, in the order of the kernel's outputs.
const SCANS: [Op; 3] = [Op::SubgroupReduce, Op::SubgroupInclusiveScan, Op::SubgroupExclusiveScan];

fn scan_group(op: Op, combine: Combine, ty: Type) -> String {
    format!("{}[{}] {ty}", op.mnemonic(), combine.name())
}

/// Runs reductions and scans of `ty` of every kind.
fn scans(harness: &mut Harness<'_>, layout: &Layout, ty: Type) {
    let combines: Vec<Combine> =
        Combine::ALL.iter().copied().filter(|c| c.domain().contains(ty.scalar)).collect();
    let pairs: Vec<(Combine, Op)> = combines.iter().flat_map(|c| SCANS.map(|op| (*c, op))).collect();
    let groups: Vec<String> = pairs.iter().map(|(c, op)| scan_group(*op, *c, ty)).collect();
    let (ins, outs) = (combines.len(), pairs.len());
    let mut body = format!("  %row = mul %i, {ins}u32\n  %to = mul %i, {outs}u32\n");
    for (k, combine) in combines.iter().enumerate() {
        body += &format!("  %a{k} = add %row, {k}u32\n  %v{k} = load %x[%a{k}]\n");
        for (j, op) in SCANS.iter().enumerate() {
            let (number, kind) = (k * SCANS.len() + j, combine.name());
            body += &format!(
                "  %r{number} = {}[{kind}] %v{k}\n  %o{number} = add %to, {number}u32\n  store %out[%o{number}], %r{number}\n",
                op.mnemonic()
            );
        }
    }
    let text = layout.text(&format!("  buffer %x: read {ty}[]\n  buffer %out: write {ty}[]\n"), &body);
    let Some(executable) = harness.compile_groups(&groups, &text) else { return };
    let mut random = harness.random(&format!("subgroup scans {ty} {:?}", layout.workgroup));
    // One value per invocation and way to combine.
    let values: Vec<Components> = (0..layout.all())
        .flat_map(|i| combines.iter().map(move |c| (i, *c)))
        .map(|(i, combine)| value(&mut random, layout, i, combine, ty))
        .collect();
    let size = ty.size() as usize;
    let contents = [encode(ty, values.iter()), vec![0xa5; layout.all() * outs * size]];
    let Some(after) = harness.launch(&groups[0], &executable, &contents, &[], &layout.options()) else {
        return;
    };
    for i in 0..layout.all() {
        for (number, (combine, op)) in pairs.iter().enumerate() {
            let group = &groups[number];
            if !harness.wants(group) {
                continue;
            }
            let lanes = layout.lanes(i);
            let taken = match op {
                Op::SubgroupReduce => lanes.clone(),
                Op::SubgroupInclusiveScan => lanes.start..i + 1,
                _ => lanes.start..i,
            };
            let start = (i * outs + number) * size;
            let actual = eval::read_bytes(&after[1][start..start + size], ty);
            let of = |lane: usize| values[lane * ins + number / SCANS.len()];
            let is_exact = is_exact(i / layout.count(), *combine, ty.scalar);
            let expected: Vec<Expected> = (0..ty.lanes.count() as usize)
                .map(|c| {
                    let bits: Vec<u64> = taken.clone().map(|lane| of(lane)[c]).collect();
                    oracle::combined(*combine, ty.scalar, &bits, is_exact)
                })
                .collect();
            let passed = expected.iter().zip(actual).all(|(e, a)| e.accepts(ty.scalar, a));
            harness.case(group, passed, || {
                let shown: Vec<String> = lanes.map(|lane| show(&of(lane), ty)).collect();
                let wanted: Vec<String> = expected.iter().map(|e| e.show(ty.scalar)).collect();
                let input = format!("{}: {}", layout.name(i), shown.join(", "));
                [input, wanted.join(" "), show(&actual, ty)]
            });
        }
    }
}

/// Returns whether the values of workgroup `group` combine to the same result in every order.
fn is_exact(group: usize, combine: Combine, ty: ScalarType) -> bool {
    !ty.is_float() || matches!(combine, Combine::Min | Combine::Max) || group.is_multiple_of(2)
}

/// Returns the value of invocation `i`. Floats are normal or zero; only `min` and `max` also get infinities and NaNs.
fn value(random: &mut Random, layout: &Layout, i: usize, combine: Combine, ty: Type) -> Components {
    let (scalar, kind) = (ty.scalar, i / layout.count() % GROUPS);
    let mut value = [0; 4];
    for component in value.iter_mut().take(ty.lanes.count() as usize) {
        *component = match FloatFormat::of(scalar) {
            None => match kind {
                0 => pick(random, &edges(scalar)),
                3 => u64::from(random.below(4)),
                _ => random.value(scalar),
            },
            Some(format) => float(random, format, scalar, kind, combine, layout.local(i)),
        };
    }
    value
}

fn pick<T: Copy>(random: &mut Random, from: &[T]) -> T {
    from[random.below(from.len() as u32) as usize]
}

fn float(
    random: &mut Random,
    format: FloatFormat,
    ty: ScalarType,
    kind: usize,
    combine: Combine,
    local: usize,
) -> u64 {
    let sign = if random.next() & 1 == 0 { 1.0 } else { -1.0 };
    let unit = f64::from(random.word()) / f64::from(u32::MAX);
    match (combine, kind) {
        // Sums of up to 128 of these have at most eight significant bits.
        (Combine::Add, 0) => format.encode(f64::from(random.below(4)) - 1.0),
        (Combine::Add, 1) => format.encode(sign * unit * 8.0),
        (Combine::Add, 2) => format.encode(0.0 * sign),
        (Combine::Add, _) => {
            format.encode(sign * (unit + 0.5) * f64::from(random.below(17) as i32 - 8).exp2())
        }
        // Few factors differ from one, so that no product leaves the range of the narrowest format.
        (Combine::Mul, 0) if local % 11 == 3 => format.encode(sign * 2.0),
        (Combine::Mul, 0) if local % 11 == 7 => format.encode(sign * 0.5),
        (Combine::Mul, 2) if local % 37 == 20 => format.encode(sign * 0.0),
        (Combine::Mul, 0 | 2) => format.encode(sign),
        (Combine::Mul, _) => format.encode(sign * (0.96 + unit * 0.08)),
        (_, 1) => normal(format, pick(random, &edges(ty))),
        (_, 2) if random.below(5) != 0 => format.nan(),
        (_, 3) => format.nan(),
        _ => normal(format, random.value(ty)),
    }
}

/// Returns `bits`, or one in place of a subnormal, which a device may flush.
fn normal(format: FloatFormat, bits: u64) -> u64 {
    if format.is_subnormal(bits) { format.encode(1.0) } else { bits }
}
