//! The text format of kernels. [`print()`] and [`parse()`] are inverse.
//!
//! Printed text is canonical: parsing and printing it again gives the same text. Neither direction recurses on the
//! nesting depth of its input or panics on any input.

mod keep;
mod lex;
mod literal;
mod parse;
mod print;

use fulgurite_spec::limits::MAX_NAME_BYTES;
use fulgurite_spec::{Diagnostics, Literal, Location};

pub use keep::Kept;

use crate::kernel::{Kernel, Memory, SyncScope};
use crate::require::Require;

/// The version in the first line of a kernel text.
const VERSION: &str = "1";

/// Prints `kernel` as text.
///
/// A malformed kernel can be printed, too; its invalid parts appear in angle brackets (`%<bad>`), which do not parse.
/// Names that clash or are invalid are changed, and unnamed values are numbered.
pub fn print(kernel: &Kernel) -> String {
    print::kernel(kernel)
}

/// Prints one precondition as in kernel text, without a newline: `require eq (rem (len %x), 4u32), 0u32`.
pub(crate) fn print_require(kernel: &Kernel, require: &Require) -> String {
    print::require(kernel, require)
}

/// Parses the text of one kernel.
///
/// Names and types are resolved; other rules of the language are left to [`verify`](crate::verify). A leading byte
/// order mark is ignored.
///
/// # Errors
/// The problems found (at most 64), each with its location: `FG01xx`, and `FG0201` to `FG0203` and `FG0222` if the
/// type of a result cannot be determined.
pub fn parse(text: &str) -> Result<Kernel, Diagnostics> {
    parse::kernel(text.strip_prefix('\u{feff}').unwrap_or(text))
}

/// Returns `printed`, which must be the result of [`print()`] for the kernel of `text`, with the parts of `text` that `kept`
/// names: spellings of literals, and comments.
///
/// A comment on a line of its own stays above the line that follows it, and a comment behind a line stays behind it.
/// Comments before the first line of `text` are left out.
///
/// # Errors
/// The location in `printed` of the first token that `text` does not have in the same order: a name that printing had to
/// change beyond a suffix.
pub fn keep(text: &str, printed: &str, kept: Kept) -> Result<String, Location> {
    keep::keep(text.strip_prefix('\u{feff}').unwrap_or(text), printed, kept)
}

/// Parses one literal, such as `4u32`, `0x1p-3f32`, `nan:0x7fc00000` or `true`.
///
/// # Errors
/// The problem with the literal.
pub fn parse_literal(text: &str) -> Result<Literal, String> {
    literal::parse(text)
}

/// Returns whether `name` is a valid name after `%` or `@`: 1 to 128 ASCII letters, digits, `_` or `.`.
pub(crate) fn is_name(name: &str) -> bool {
    (1..=MAX_NAME_BYTES).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.'))
}

/// Returns whether `name` is a valid name of a region: up to 128 bytes, without quotes, backslashes or control
/// characters.
pub(crate) fn is_region_name(name: &str) -> bool {
    name.len() <= MAX_NAME_BYTES && !name.contains(|c: char| c.is_control() || matches!(c, '"' | '\\'))
}

/// Returns the default scope of an atomic op on `memory`.
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

/// Returns whether `name` has only digits, and therefore denotes an unnamed value.
fn is_number(name: &str) -> bool {
    name.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests;
