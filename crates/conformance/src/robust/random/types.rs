//! The types of random kernels, by their names in kernel text.

use std::sync::LazyLock;

use fulgurite_spec::{ScalarType, Type};

use super::Numbers;

/// The types that every kernel has values of, scalars first.
pub(super) const TYPES: [&str; 7] = ["u32", "i32", "f32", "bool", "u32x2", "f32x4", "i32x4"];
/// The number of scalars at the beginning of [`TYPES`].
pub(super) const SCALARS: usize = 4;

/// Every scalar and vector type, with its name.
static NAMES: LazyLock<Vec<(Type, String)>> =
    LazyLock::new(|| Type::all().map(|ty| (ty, ty.to_string())).collect());

/// Returns the name of a scalar or vector type.
pub(super) fn name_of(ty: Type) -> &'static str {
    NAMES.iter().find(|(of, _)| *of == ty).map_or("u32", |(_, name)| name)
}

/// Returns the scalar or vector type with a name. For those of matrices and `uniform`, returns `u32`.
pub(super) fn plain(name: &str) -> Type {
    NAMES.iter().find(|(_, of)| of == name).map_or(Type::U32, |(ty, _)| *ty)
}

/// Returns the type of a component of a scalar or vector type.
pub(super) fn scalar_of(name: &str) -> &'static str {
    name_of(plain(name).element())
}

/// Returns a literal of a scalar type.
pub(super) fn literal(ty: ScalarType, numbers: &mut Numbers<'_>) -> String {
    let (name, bits) = (ty.name(), ty.bits());
    if ty == ScalarType::Bool {
        return numbers.pick(&["true", "false"]).to_owned();
    }
    if ty.is_float() {
        let subnormal = if ty == ScalarType::F16 { "6e-8" } else { "1e-40" };
        return match numbers.below(6) {
            0 => format!("0.0{name}"),
            1 => format!("-0.0{name}"),
            2 => format!("1.5{name}"),
            3 => format!("-3e4{name}"),
            4 => format!("{subnormal}{name}"),
            _ => format!("inf:{name}"),
        };
    }
    let highest = 1u64 << (bits - 1);
    match (numbers.below(6), ty.is_signed()) {
        (0, _) => format!("0{name}"),
        (1, _) => format!("1{name}"),
        (2, true) => format!("-1{name}"),
        (2, false) => format!("3{name}"),
        (3, _) => format!("{}{name}", bits - 1),
        (4, true) => format!("-{highest:#x}{name}"),
        (4, false) => format!("{highest:#x}{name}"),
        (_, true) => format!("{:#x}{name}", highest - 1),
        (_, false) => format!("{:#x}{name}", ty.mask()),
    }
}

/// Returns up to four types beyond [`TYPES`], for every second kernel.
pub(super) fn more(numbers: &mut Numbers<'_>) -> Vec<&'static str> {
    match numbers.below(2) {
        0 => Vec::new(),
        _ => (0..4).map(|_| NAMES[numbers.below(NAMES.len())].1.as_str()).collect(),
    }
}
