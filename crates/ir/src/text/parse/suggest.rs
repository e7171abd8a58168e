//! Suggestions for unknown ops: similarly spelled ops, and equivalents of the names in other languages.

use fulgurite_spec::OPS;

/// Names of ops in other languages, and their equivalents.
const ELSEWHERE: &[(&[&str], &str)] = &[
    (&["mod", "modulo", "remainder", "srem", "urem"], "`rem`"),
    (&["cast", "as", "to", "conv", "cvt"], "`convert`, by value, or `bitcast`, by bits"),
    (&["splat", "vec", "vector", "vec2", "vec3", "vec4"], "`construct %a, %a, …`, with each component"),
    (&["swizzle", "shuffle"], "`vec.shuffle`, of components, or `subgroup.shuffle`, between lanes"),
    (&["rotate_left", "rol"], "`rotl`"),
    (&["rotate_right", "ror"], "`rotr`"),
    (&["lsl", "sll", "shift_left"], "`shl`"),
    (&["lsr", "asr", "srl", "sra", "ashr", "lshr", "shift_right"], "`shr`, arithmetic for signed types"),
    (&["bitand", "bit_and"], "`and`"),
    (&["bitor", "bit_or"], "`or`"),
    (&["bitxor", "bit_xor"], "`xor`"),
    (&["bitnot", "bit_not", "inv"], "`not`"),
    (&["popcnt", "count_ones", "bitcount"], "`popcount`"),
    (&["leading_zeros", "count_leading_zeros", "ctlz"], "`clz`"),
    (&["trailing_zeros", "count_trailing_zeros", "cttz", "ffs"], "`ctz`"),
    (&["wrapping_add"], "`add`, which wraps"),
    (&["wrapping_sub"], "`sub`, which wraps"),
    (&["wrapping_mul"], "`mul`, which wraps"),
    (&["saturating_add", "sat_add"], "`add_sat`"),
    (&["saturating_sub", "sat_sub"], "`sub_sat`"),
    (&["mad", "muladd", "mul_add"], "`fma`, for floats"),
    (&["sqr", "square"], "`sqrt`, or for the square `mul %a, %a`"),
    (&["inverse_sqrt", "inversesqrt", "invsqrt"], "`rsqrt`"),
    (&["ln"], "`log`"),
    (&["pow2"], "`exp2`"),
    (&["saturate", "clip"], "`clamp`"),
    (&["isnan"], "`is_nan`"),
    (&["isinf"], "`is_inf`"),
    (&["ternary", "cond", "choose", "blend"], "`select`"),
    (&["const", "constant", "let", "mov"], "the literal itself: operands may be literals"),
    (&["ld", "read", "get"], "`load %buffer[%index]`"),
    (&["st", "write", "set", "put"], "`store %buffer[%index], %value`"),
    (&["length", "size", "array_length"], "`len %buffer`"),
    (&["tid", "thread_id", "thread_idx", "global_invocation_id"], "`global_id.x`"),
    (&["block_id", "block_idx"], "`workgroup_id.x`"),
    (&["sync", "syncthreads", "workgroup_barrier"], "`barrier`"),
    (&["cas", "atomic_cas", "compare_exchange", "atomic_compare_exchange"], "`atomic.compare_exchange`"),
    (&["atomic_add"], "`atomic.add`"),
    (&["loop"], "`for` or `while`"),
    (&["break", "continue"], "the condition of a `while`, which alone ends a loop"),
    (&["return", "ret", "discard", "exit"], "an `if` round what is not to be run"),
];

/// Returns a fix that suggests an op instead of `name`, if there is one.
pub(super) fn instead_of(name: &str) -> Option<String> {
    if let Some((_, fix)) = ELSEWHERE.iter().find(|(names, _)| names.contains(&name)) {
        return Some(format!("did you mean {fix}"));
    }
    let near = OPS.iter().map(|row| row.mnemonic).filter(|mnemonic| is_near(mnemonic, name)).min()?;
    Some(format!("did you mean `{near}`"))
}

/// Returns whether `a` and `b` are equal or differ by one letter inserted, removed or replaced, or by two adjacent
/// letters swapped.
fn is_near(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let front = a.iter().zip(b).take_while(|(x, y)| x == y).count();
    let back = a[front..].iter().rev().zip(b[front..].iter().rev()).take_while(|(x, y)| x == y).count();
    let (a, b) = (&a[front..a.len() - back], &b[front..b.len() - back]);
    a.len().max(b.len()) <= 1 || matches!((a, b), ([x, y], [z, w]) if (x, y) == (w, z))
}

#[cfg(test)]
mod tests {
    use fulgurite_spec::Op;

    use super::*;

    #[test]
    fn near_names_differ_by_a_letter() {
        assert!(
            is_near("add", "ad") && is_near("add", "addd") && is_near("mul", "mol") && is_near("sub", "sub")
        );
        assert!(is_near("load", "laod") && is_near("add", "dad"));
        assert!(!is_near("add", "sub") && !is_near("add", "a") && !is_near("load", "laof"));
    }

    #[test]
    fn what_is_suggested_is_there() {
        for (names, fix) in ELSEWHERE {
            for name in *names {
                assert!(Op::parse(name).is_none(), "`{name}` is an op");
            }
            let quoted = fix.split('`').skip(1).step_by(2);
            for word in quoted.filter_map(|text| text.split_whitespace().next()) {
                let op = word.trim_end_matches(".x");
                assert!(OPS.iter().any(|row| row.mnemonic == op), "{fix}: `{op}` is no op");
            }
        }
        assert_eq!(instead_of("laod").as_deref(), Some("did you mean `load`"));
        for (name, fix) in [
            ("mod", "`rem`"),
            ("cast", "`convert`, by value, or `bitcast`, by bits"),
            ("splat", "`construct %a, %a, …`, with each component"),
            ("break", "the condition of a `while`, which alone ends a loop"),
            ("rotate_left", "`rotl`"),
            ("sqr", "`sqrt`, or for the square `mul %a, %a`"),
        ] {
            assert_eq!(instead_of(name), Some(format!("did you mean {fix}")));
        }
        assert_eq!(instead_of("frobnicate"), None);
    }
}
