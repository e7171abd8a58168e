//! Kernel text: [`print()`] and [`parse()`] are inverse.
//!
//! What is printed is canonical: printing what was parsed from it gives the same text again. Neither direction
//! recurses on the depth of the input, and neither panics whatever it is given.

mod lex;
mod literal;
mod parse;
mod print;

use fulgurite_spec::limits::MAX_NAME_BYTES;
use fulgurite_spec::{Diagnostics, Literal};

use crate::kernel::{Kernel, Memory, SyncScope};
use crate::require::Require;

/// The version in the first line of every kernel text.
const VERSION: &str = "1";

/// Prints `kernel` as text.
///
/// A malformed kernel prints too; what makes no sense in it prints in angle brackets (`%<bad>`), which does not
/// parse. Names that clash or are no names are changed, values without one are numbered.
pub fn print(kernel: &Kernel) -> String {
    print::kernel(kernel)
}

/// Prints one precondition as it stands in text, without a newline: `require eq (rem (len %x), 4u32), 0u32`.
pub(crate) fn print_require(kernel: &Kernel, require: &Require) -> String {
    print::require(kernel, require)
}

/// Parses the text of one kernel.
///
/// Names and types are resolved; the other rules of the language are [`verify`](crate::verify)'s. A byte order mark, as some
/// editors write, is passed over.
///
/// # Errors
/// The problems found (at most 64), each with its place: `FG01xx`, and `FG0201` to `FG0203` where the type of
/// a result cannot be told.
pub fn parse(text: &str) -> Result<Kernel, Diagnostics> {
    parse::kernel(text.strip_prefix('\u{feff}').unwrap_or(text))
}

/// Parses one literal, such as `4u32`, `0x1p-3f32`, `nan:0x7fc00000` or `true`.
///
/// # Errors
/// What is wrong with it.
pub fn parse_literal(text: &str) -> Result<Literal, String> {
    literal::parse(text)
}

/// Whether `name` can stand after `%` or `@`: 1 to 128 ASCII letters, digits, `_` or `.`.
pub(crate) fn is_name(name: &str) -> bool {
    (1..=MAX_NAME_BYTES).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.'))
}

/// Whether `name` can be a region's: up to 128 bytes, no quote, backslash or control character.
pub(crate) fn is_region_name(name: &str) -> bool {
    name.len() <= MAX_NAME_BYTES && !name.contains(|c: char| c.is_control() || matches!(c, '"' | '\\'))
}

/// The scope of an atomic op on `memory` that states none.
pub(crate) fn default_scope(kernel: &Kernel, memory: Memory) -> SyncScope {
    match memory {
        Memory::View(id)
            if kernel.views.get(id.index()).is_some_and(|v| matches!(v.base, Memory::Shared(_))) =>
        {
            SyncScope::Workgroup
        }
        Memory::Shared(_) => SyncScope::Workgroup,
        _ => SyncScope::Device,
    }
}

/// Whether `name` is a number, which stands for no name at all.
fn is_number(name: &str) -> bool {
    name.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests;
