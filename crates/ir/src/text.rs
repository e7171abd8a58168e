//! The text format of kernels. [`print()`] and [`parse()`] are inverse.
//!
//! Printed text is canonical: parsing and printing it again gives the same text. Neither direction recurses on the
//! nesting depth of its input or panics on any input.

mod keep;
mod lex;
mod literal;
mod parse;
mod print;

use fulgurite_spec::{Diagnostics, Literal, Location};

pub use keep::Kept;

use crate::kernel::Kernel;
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
pub fn print_require(kernel: &Kernel, require: &Require) -> String {
    print::require(kernel, require)
}

/// Prints the kernel's text.
impl core::fmt::Debug for Kernel {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(&print(self))
    }
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

/// Returns whether `name` has only digits, and therefore denotes an unnamed value.
fn is_number(name: &str) -> bool {
    name.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests;
