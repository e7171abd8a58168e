//! `coop.mul_add`: once per tile, and carried through a loop over many products.

use fulgurite_hal::LaunchOptions;
use fulgurite_spec::device::MatrixShapes;
use fulgurite_spec::eval::float::FloatFormat;
use fulgurite_spec::{MatrixLayout, ScalarType, Type};

use super::{
    bytes, component, components, laid_out, line, show, tile_number, types, values, whole, workgroup,
};
use crate::harness::Harness;
use crate::values::Random;

/// Workgroups per launch.
const GROUPS: usize = 4;
/// Products that a loop adds up.
const STEPS: usize = 5;

/// Contents of the factors and the addend.
#[derive(Clone, Copy, Debug)]
enum Inputs {
    /// One 1 in each row of the left factor, distinct numbers in the right factor.
    Chosen,
    /// −1, 0 and 1.
    Small,
    /// Arbitrary finite values.
    Random,
    /// Like `Random`, with some infinities, NaNs and zeros.
    NonFinite,
}

/// Returns the kinds of contents that components of type `ty` can represent.
fn inputs(ty: ScalarType) -> &'static [Inputs] {
    const ALL: [Inputs; 4] = [Inputs::Chosen, Inputs::Small, Inputs::Random, Inputs::NonFinite];
    if ty.is_float() { &ALL } else { &ALL[..3] }
}

/// The matrices of a product in row-major order.
struct Tiles {
    factors: [Vec<u64>; 2],
    addend: Vec<u64>,
    /// Whether every partial sum of floats is exact in every order.
    exact: bool,
}

/// Returns inputs of a sum over `depth` products.
fn tiles(random: &mut Random, product: MatrixShapes, inputs: Inputs, depth: usize) -> Tiles {
    let MatrixShapes { m, n, a, acc, .. } = product;
    let (rows, cols) = (usize::from(m), usize::from(n));
    let all = |count: usize, value: &mut dyn FnMut(usize) -> u64| (0..count).map(value).collect::<Vec<_>>();
    // The largest whole number up to which all whole numbers are floats of the type.
    let most = FloatFormat::of(acc).map_or(u64::MAX, |format| 1 << format.precision);
    let unsigned = !a.is_signed() && !a.is_float();
    match inputs {
        Inputs::Chosen => Tiles {
            factors: [
                all(rows * depth, &mut |at| whole(a, i64::from(at % depth == (at / depth * 3 + 1) % depth))),
                all(depth * cols, &mut |at| whole(a, ((at * 7) % 123) as i64)),
            ],
            addend: all(rows * cols, &mut |at| whole(acc, (at % 100) as i64)),
            exact: true,
        },
        Inputs::Small => {
            let mut draw = || i64::from(random.below(3)) - i64::from(!unsigned);
            Tiles {
                factors: [rows * depth, depth * cols].map(|count| all(count, &mut |_| whole(a, draw()))),
                addend: all(rows * cols, &mut |at| whole(acc, (at % 5) as i64)),
                exact: depth as u64 + 4 <= most,
            }
        }
        Inputs::Random => Tiles {
            factors: [rows * depth, depth * cols].map(|count| all(count, &mut |_| component(random, a))),
            addend: all(rows * cols, &mut |_| component(random, acc)),
            exact: false,
        },
        Inputs::NonFinite => {
            let mut made = tiles(random, product, Inputs::Random, depth);
            for at in (0..depth * cols).filter(|at| at % 5 == 0) {
                made.factors[1][at] = whole(a, 0);
            }
            // Only in few rows and columns, so that some sums stay finite.
            let [left, right] = &mut made.factors;
            for (matrix, scalar, count) in [(left, a, 3), (right, a, 2), (&mut made.addend, acc, 6)] {
                for _ in 0..count {
                    let at = random.below(matrix.len() as u32) as usize;
                    matrix[at] = non_finite(random, scalar);
                }
            }
            made
        }
    }
}

/// Returns an infinity, or with probability 1/5 a NaN.
fn non_finite(random: &mut Random, ty: ScalarType) -> u64 {
    let value = match random.below(5) {
        0 => f64::NAN,
        1 | 2 => f64::INFINITY,
        _ => f64::NEG_INFINITY,
    };
    FloatFormat::of(ty).map_or(0, |format| format.encode(value))
}

/// Returns the expected value of component (`row`, `col`) of a sum over `depth` products if it does not match `actual`.
fn misfit(
    harness: &Harness<'_>,
    product: MatrixShapes,
    tiles: &Tiles,
    [row, col, depth]: [usize; 3],
    actual: u64,
) -> Option<String> {
    let cols = usize::from(product.n);
    let pairs = (0..depth).map(|k| (tiles.factors[0][row * depth + k], tiles.factors[1][k * cols + col]));
    let addend = tiles.addend[row * cols + col];
    let acc = product.acc;
    let (Some(factor), Some(sum)) = (FloatFormat::of(product.a), FloatFormat::of(acc)) else {
        let widened = |bits: u64| signed(product.a, bits);
        let total =
            pairs.fold(addend, |s, (a, b)| s.wrapping_add(widened(a).wrapping_mul(widened(b)) as u64));
        let expected = total & acc.mask();
        return (expected != actual).then(|| show(acc, expected));
    };
    let (mut truth, mut magnitude) = (sum.decode(addend), sum.decode(addend).abs());
    for (a, b) in pairs {
        let term = factor.decode(a) * factor.decode(b);
        truth += term;
        magnitude += term.abs();
    }
    let got = sum.decode(actual);
    if tiles.exact {
        return (got != truth).then(|| format!("{truth} exactly"));
    }
    if !truth.is_finite() {
        // Finite terms are too small to matter.
        let same = got == truth || got.is_nan() && truth.is_nan();
        return (!same).then(|| truth.to_string());
    }
    // Each addition and each product may round, in either direction, and subnormals may be flushed.
    let epsilon = (1.0 - f64::from(sum.precision)).exp2();
    let lost = if harness.kept_subnormals().contains(acc) { 0.0 } else { sum.min_normal() };
    let room = (depth + 1) as f64 * (epsilon * magnitude + lost);
    let off = (got - truth).abs();
    (off.is_nan() || off > room).then(|| format!("{truth} within {room:e}"))
}

/// Returns the number that the bits represent.
fn signed(ty: ScalarType, bits: u64) -> i64 {
    let unused = 64 - ty.bits();
    if ty.is_signed() { (bits << unused) as i64 >> unused } else { bits as i64 }
}

/// Compares each tile of the result with the expected values.
fn judge(
    harness: &mut Harness<'_>,
    group: &str,
    product: MatrixShapes,
    (tiles, depth): (&[Tiles], usize),
    (found, layout): (&[u64], MatrixLayout),
    about: &str,
) {
    let ty = types(product)[2];
    let cols = usize::from(product.n);
    for (t, (tile, actual)) in tiles.iter().zip(found.chunks_exact(components(ty))).enumerate() {
        let wrong = (0..components(ty)).find_map(|at| {
            let [row, col] = [at / cols, at % cols];
            let actual = actual[super::place(ty, layout, row, col)];
            misfit(harness, product, tile, [row, col, depth], actual)
                .map(|expected| (row, col, expected, actual))
        });
        harness.case(group, wrong.is_none(), || {
            let (row, col, expected, actual) = wrong.unwrap_or_default();
            [format!("{about}, tile {t}, row {row}, column {col}"), expected, show(product.acc, actual)]
        });
    }
}

/// Returns layouts of the two factors, the addend and the result.
fn layouts() -> [[MatrixLayout; 4]; 4] {
    use MatrixLayout::{ColumnMajor as C, RowMajor as R};
    [[R, R, R, R], [R, C, R, C], [C, R, C, R], [C, C, C, C]]
}

/// One product per tile, in both layouts of every matrix.
pub(super) fn once(harness: &mut Harness<'_>, product: MatrixShapes) {
    let group = format!("coop.mul_add {product}");
    let all = types(product);
    let [a, b, c] = all;
    let (invocations, held) = workgroup(harness, product.scope);
    let count = GROUPS * held as usize;
    let depth = usize::from(product.k);
    let mut random = harness.random(&group);
    for way in layouts() {
        let load = |name: &str, ty: Type, layout: MatrixLayout| {
            format!(
                "  %at_{name} = mul %t, {}u32\n  %m_{name} = coop.load[{}] %{name}[%at_{name}], {}u32 -> {ty}\n",
                components(ty),
                layout.name(),
                line(ty, layout)
            )
        };
        let text = format!(
            "fulgurite 1\nkernel @product workgroup({invocations}, 1, 1) {{\n  buffer %a: read {}[]\n  \
             buffer %b: read {}[]\n  buffer %c: read {}[]\n  buffer %d: write {}[]\n{}{}{}{}  \
             %sum = coop.mul_add %m_a, %m_b, %m_c\n  coop.store[{}] %d[%at_c], {}u32, %sum\n}}\n",
            a.scalar,
            b.scalar,
            c.scalar,
            c.scalar,
            tile_number(product.scope),
            load("a", a, way[0]),
            load("b", b, way[1]),
            load("c", c, way[2]),
            way[3].name(),
            line(c, way[3]),
        );
        let Some(executable) = harness.compile(&group, &text) else { return };
        for &inputs in inputs(a.scalar) {
            for round in 0..harness.random_count(1) {
                let made: Vec<Tiles> =
                    (0..count).map(|_| tiles(&mut random, product, inputs, depth)).collect();
                let contents = |ty: Type, layout: MatrixLayout, part: &dyn Fn(&Tiles) -> Vec<u64>| {
                    let lies: Vec<u64> =
                        made.iter().flat_map(|tile| laid_out(ty, layout, &part(tile))).collect();
                    bytes(ty.scalar, &lies)
                };
                let buffers = [
                    contents(a, way[0], &|tile| tile.factors[0].clone()),
                    contents(b, way[1], &|tile| tile.factors[1].clone()),
                    contents(c, way[2], &|tile| tile.addend.clone()),
                    vec![0xa5; count * components(c) * c.scalar.size() as usize],
                ];
                let options = LaunchOptions::workgroups([GROUPS as u32, 1, 1]);
                let Some(after) = harness.launch(&group, &executable, &buffers, &[], &options) else {
                    return;
                };
                let about = format!("{inputs:?}, round {round}, layouts {way:?}");
                let found = values(c.scalar, &after[3]);
                judge(harness, &group, product, (&made, depth), (&found, way[3]), &about);
            }
        }
    }
}

/// A loop that adds products to an accumulator which it carries. The row length is a parameter.
pub(super) fn carried(harness: &mut Harness<'_>, product: MatrixShapes) {
    let group = format!("coop.mul_add in a loop {product}");
    let [a, b, c] = types(product);
    let (invocations, held) = workgroup(harness, product.scope);
    let count = GROUPS * held as usize;
    let (m, n, k) = (usize::from(product.m), usize::from(product.n), usize::from(product.k));
    let depth = k * STEPS;
    let text = format!(
        "fulgurite 1
kernel @sum workgroup({invocations}, 1, 1) {{
  buffer %a: read {}[]
  buffer %b: read {}[]
  buffer %c: read_write {}[]
  param %length: u32
  require eq (rem %length, {k}u32), 0u32
{}  %size_a = mul %length, {m}u32
  %first_a = mul %t, %size_a
  %size_b = mul %length, {n}u32
  %first_b = mul %t, %size_b
  %at_c = mul %t, {}u32
  %start = coop.load[row_major] %c[%at_c], {n}u32 -> {c}
  %sum = for %k in 0u32 to %length step {k}u32 carry(%acc = %start) {{
    %at_a = add %first_a, %k
    %m_a = coop.load[row_major] %a[%at_a], %length -> {a}
    %down = mul %k, {n}u32
    %at_b = add %first_b, %down
    %m_b = coop.load[row_major] %b[%at_b], {n}u32 -> {b}
    %next = coop.mul_add %m_a, %m_b, %acc
    yield %next
  }}
  coop.store[row_major] %c[%at_c], {n}u32, %sum
}}
",
        a.scalar,
        b.scalar,
        c.scalar,
        tile_number(product.scope),
        components(c),
    );
    let Some(executable) = harness.compile(&group, &text) else { return };
    let mut random = harness.random(&group);
    for &inputs in inputs(a.scalar) {
        let made: Vec<Tiles> = (0..count).map(|_| tiles(&mut random, product, inputs, depth)).collect();
        let contents = |scalar: ScalarType, part: &dyn Fn(&Tiles) -> Vec<u64>| {
            bytes(scalar, &made.iter().flat_map(part).collect::<Vec<_>>())
        };
        let buffers = [
            contents(a.scalar, &|tile| tile.factors[0].clone()),
            contents(b.scalar, &|tile| tile.factors[1].clone()),
            contents(c.scalar, &|tile| tile.addend.clone()),
        ];
        let options = LaunchOptions::workgroups([GROUPS as u32, 1, 1]);
        let params = [[depth as u64, 0, 0, 0]];
        let Some(after) = harness.launch(&group, &executable, &buffers, &params, &options) else { return };
        let found = values(c.scalar, &after[2]);
        let row_major = MatrixLayout::RowMajor;
        judge(harness, &group, product, (&made, depth), (&found, row_major), &format!("{inputs:?}"));
    }
}
