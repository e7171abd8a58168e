//! Progress of what takes long: a bar on a terminal, nothing elsewhere.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar for `length` steps, with `prefix` before it and the bar's message behind that.
pub(crate) fn bar(length: u64, prefix: impl Into<String>) -> ProgressBar {
    // Draws on a terminal only.
    let bar = ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("{prefix} {msg:<8} {wide_bar} {pos}/{len}") {
        bar.set_style(style);
    }
    bar.set_prefix(prefix.into());
    bar
}
