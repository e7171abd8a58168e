//! The checks that every launch passes before a backend sees it.

use std::sync::Arc;
use std::time::Duration;

use fulgurite_ir::require::LaunchFacts;
use fulgurite_ir::{Grid, VerifiedKernel};
use fulgurite_spec::Code;
use fulgurite_spec::device::Limits;
use fulgurite_spec::eval::Components;

use crate::backend::DeviceBuffer;
use crate::error::Error;
use crate::options::LaunchOptions;

/// A launch that fits its kernel and its device: made only by [`Launch::check`].
pub struct Launch<'a> {
    grid: Grid,
    buffers: &'a [Arc<dyn DeviceBuffer>],
    lengths: Vec<u32>,
    params: &'a [Components],
    timeout: Duration,
}

impl<'a> Launch<'a> {
    /// Checks counts, sizes, overlaps, preconditions and the grid.
    ///
    /// `buffers` and `params` are in the kernel's order of declaration; parameter values have the declared
    /// types' components.
    ///
    /// # Errors
    /// `FG0501`, `FG0503`–`FG0505`, `FG0507` for arguments that do not fit, `FG0403` and `FG0405` over the
    /// device's limits.
    pub fn check(
        kernel: &VerifiedKernel,
        limits: &Limits,
        buffers: &'a [Arc<dyn DeviceBuffer>],
        params: &'a [Components],
        options: &LaunchOptions,
    ) -> Result<Self, Error> {
        let (want_buffers, want_params) = (kernel.buffers.len(), kernel.params.len());
        if buffers.len() != want_buffers || params.len() != want_params {
            return Err(Error::invalid(
                Code::WrongArgumentCount,
                format!(
                    "kernel `{}` takes {want_buffers} buffers and {want_params} parameters, got {} and {}",
                    kernel.name,
                    buffers.len(),
                    params.len()
                ),
            ));
        }
        if want_buffers as u64 > u64::from(limits.max_bound_buffers) {
            return Err(Error::unsupported(
                format!("{want_buffers} bound buffers"),
                format!("at most {}", limits.max_bound_buffers),
            ));
        }
        let lengths = element_counts(kernel, limits, buffers)?;
        check_overlaps(kernel, buffers)?;
        let grid = grid(kernel, limits, &lengths, options)?;
        let facts = LaunchFacts { grid, lengths: &lengths, params };
        if let Some(text) = kernel.failed_require(&facts) {
            return Err(Error::invalid(
                Code::RequireFailed,
                format!("kernel `{}`: `{text}` does not hold", kernel.name),
            ));
        }
        let timeout = options.timeout.unwrap_or(LaunchOptions::DEFAULT_TIMEOUT);
        Ok(Self { grid, buffers, lengths, params, timeout })
    }

    /// Workgroups along x, y and z; within the device's limits; none of them need be non-zero.
    pub fn grid(&self) -> Grid {
        self.grid
    }

    /// The buffers, in binding order.
    pub fn buffers(&self) -> &'a [Arc<dyn DeviceBuffer>] {
        self.buffers
    }

    /// The number of whole elements of each buffer.
    pub fn lengths(&self) -> &[u32] {
        &self.lengths
    }

    /// Parameter values, in order.
    pub fn params(&self) -> &'a [Components] {
        self.params
    }

    /// When to stop it.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Whether there is nothing to run.
    pub fn is_empty(&self) -> bool {
        self.grid.contains(&0)
    }
}

fn element_counts(
    kernel: &VerifiedKernel,
    limits: &Limits,
    buffers: &[Arc<dyn DeviceBuffer>],
) -> Result<Vec<u32>, Error> {
    let mut lengths = Vec::with_capacity(buffers.len());
    for (declared, buffer) in kernel.buffers.iter().zip(buffers) {
        let (bytes, size) = (buffer.bytes(), u64::from(declared.element.size()));
        if bytes > limits.max_buffer_bytes {
            return Err(Error::unsupported(
                format!("a buffer `%{}` of {bytes} bytes", declared.name),
                format!("at most {} bytes a bound buffer", limits.max_buffer_bytes),
            ));
        }
        let length = u32::try_from(bytes / size).ok().filter(|_| bytes % size == 0).ok_or_else(|| {
            Error::invalid(
                Code::BufferSize,
                format!(
                    "buffer `%{}` has {bytes} bytes, which is not a whole number (below 2^32) of {} elements",
                    declared.name, declared.element
                ),
            )
        })?;
        lengths.push(length);
    }
    Ok(lengths)
}

fn check_overlaps(kernel: &VerifiedKernel, buffers: &[Arc<dyn DeviceBuffer>]) -> Result<(), Error> {
    for (i, a) in buffers.iter().enumerate() {
        for (j, b) in buffers.iter().enumerate().skip(i + 1) {
            let (one, other) = (&kernel.buffers[i], &kernel.buffers[j]);
            if Arc::ptr_eq(a, b) && (one.access.can_write() || other.access.can_write()) {
                return Err(Error::invalid(
                    Code::BufferOverlap,
                    format!(
                        "`%{}` and `%{}` are the same buffer, and the kernel writes it",
                        one.name, other.name
                    ),
                ));
            }
        }
    }
    Ok(())
}

fn grid(
    kernel: &VerifiedKernel,
    limits: &Limits,
    lengths: &[u32],
    options: &LaunchOptions,
) -> Result<Grid, Error> {
    let grid = match options.grid {
        Some(size) => size.workgroups(kernel.workgroup),
        None => {
            let written =
                kernel.buffers.iter().zip(lengths).find(|(b, _)| b.access.can_write()).map(|(_, n)| *n);
            let Some(count) = written else {
                return Err(Error::invalid(
                    Code::BadGrid,
                    format!("kernel `{}` writes no buffer, so its launch must state a grid", kernel.name),
                ));
            };
            crate::options::GridSize::Invocations([count, 1, 1]).workgroups(kernel.workgroup)
        }
    };
    for (axis, name) in ["x", "y", "z"].into_iter().enumerate() {
        let (count, most) = (grid[axis], limits.max_workgroup_count[axis]);
        if count > most {
            return Err(Error::invalid(
                Code::GridTooLarge,
                format!(
                    "the grid has {count} workgroups along {name}, the device takes at most {most} in one launch"
                ),
            ));
        }
        if u64::from(count) * u64::from(kernel.workgroup[axis]) > 1 << 32 {
            return Err(Error::invalid(
                Code::GridTooLarge,
                format!(
                    "{count} workgroups along {name} are more than 2^32 invocations, which `global_id` cannot count"
                ),
            ));
        }
    }
    Ok(grid)
}
