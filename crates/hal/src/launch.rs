//! A launch, and the checks that it passes before a backend receives it.

use std::sync::Arc;
use std::time::Duration;

use fulgurite_ir::analysis::instructions;
use fulgurite_ir::kernel::MATRIX_ALIGNMENT;
use fulgurite_ir::require::LaunchFacts;
use fulgurite_ir::{BufferDecl, BufferId, Digest, Grid, MatrixInst, Memory, VerifiedKernel};
use fulgurite_spec::Code;
use fulgurite_spec::device::Limits;
use fulgurite_spec::eval::Components;
use fulgurite_spec::limits::MAX_WORKGROUPS;

use crate::binding::Binding;
use crate::error::Error;
use crate::options::{GridSize, LaunchOptions};

/// A launch that fits its kernel and its device. Only [`Launch::check`] makes one.
#[derive(Clone, Debug)]
pub struct Launch {
    /// Digest of the kernel that the launch was checked against.
    kernel: Digest,
    grid: Grid,
    buffers: Vec<Binding>,
    lengths: Vec<u64>,
    params: Vec<Components>,
    timeout: Duration,
    label: Arc<str>,
    is_timed: bool,
}

impl Launch {
    /// Checks counts, sizes, overlaps, preconditions and the grid.
    ///
    /// `buffers` and `params` are in the kernel's order of declaration; parameter values have the declared
    /// types' components.
    ///
    /// # Errors
    /// `FG0501`, `FG0503`–`FG0505`, `FG0507` and `FG0508` for arguments that do not fit; `FG0403` and `FG0405` for arguments
    /// over the device's limits.
    pub fn check(
        kernel: &VerifiedKernel,
        limits: &Limits,
        buffers: Vec<Binding>,
        params: &[Components],
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
        let lengths = element_counts(kernel, limits, &buffers)?;
        check_overlaps(kernel, &buffers)?;
        let grid = grid(kernel, &lengths, options)?;
        let facts = LaunchFacts { grid, lengths: &lengths, params };
        if let Some((failed, values)) = kernel.failed_require(&facts) {
            let text = fulgurite_ir::text::print_require(kernel, failed);
            let is = if values.is_empty() { String::new() } else { format!(": {values}") };
            return Err(Error::invalid(
                Code::RequireFailed,
                format!("kernel `{}`: `{text}` does not hold{is}", kernel.name),
            ));
        }
        let timeout = options.timeout.unwrap_or(LaunchOptions::DEFAULT_TIMEOUT);
        let label = options.label.clone().unwrap_or_else(|| kernel.name.as_str().into());
        let is_timed = options.timed.unwrap_or(false);
        let (kernel, params) = (kernel.digest(), params.to_vec());
        Ok(Self { kernel, grid, buffers, lengths, params, timeout, label, is_timed })
    }

    /// Refuses to launch a kernel other than the one that was checked: `kernel` may have no bounds checks
    /// because of conditions that were not checked for it. Each [`Executable`](crate::Executable) calls this before it relies
    /// on the checks.
    ///
    /// # Errors
    /// `FG0513`.
    pub fn check_kernel(&self, kernel: &VerifiedKernel) -> Result<(), Error> {
        if self.kernel == kernel.digest() {
            return Ok(());
        }
        let message =
            format!("the launch `{}` was checked for another kernel than `{}`", self.label, kernel.name);
        Err(Error::invalid(Code::ForeignLaunch, message))
    }

    /// Returns the workgroups along x, y and z. They may exceed the device's largest grid, see [`parts`](Self::parts), and any
    /// of them may be zero.
    pub fn grid(&self) -> Grid {
        self.grid
    }

    /// Splits the grid into parts of at most `most` workgroups along each axis and `total` in all. Each item is the first
    /// workgroup of a part and the part's size along each axis.
    pub fn parts(&self, most: Grid, total: u32) -> impl Iterator<Item = (Grid, Grid)> + use<> {
        let mut left = total.max(1);
        let mut size = [1; 3];
        for (axis, size) in size.iter_mut().enumerate() {
            *size = self.grid[axis].min(most[axis]).clamp(1, left);
            left /= *size;
        }
        let all = self.grid;
        let starts = move |axis: usize| (0..all[axis]).step_by(size[axis] as usize);
        let firsts =
            starts(2).flat_map(move |z| starts(1).flat_map(move |y| starts(0).map(move |x| [x, y, z])));
        firsts.map(move |first: Grid| {
            (first, core::array::from_fn(|axis| size[axis].min(all[axis] - first[axis])))
        })
    }

    /// Returns the buffers, in binding order.
    pub fn buffers(&self) -> &[Binding] {
        &self.buffers
    }

    /// Returns the number of elements of each buffer.
    pub fn lengths(&self) -> &[u64] {
        &self.lengths
    }

    /// Returns the parameter values, in order of declaration.
    pub fn params(&self) -> &[Components] {
        &self.params
    }

    /// Returns the time after which the launch is stopped.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Returns whether the time on the device is to be measured.
    pub fn is_timed(&self) -> bool {
        self.is_timed
    }

    /// Returns the label for traces and debugging tools.
    pub fn label(&self) -> &Arc<str> {
        &self.label
    }

    /// Returns whether there is nothing to run.
    pub fn is_empty(&self) -> bool {
        self.grid.contains(&0)
    }
}

fn element_counts(kernel: &VerifiedKernel, limits: &Limits, buffers: &[Binding]) -> Result<Vec<u64>, Error> {
    let mut lengths = Vec::with_capacity(buffers.len());
    for (i, (declared, buffer)) in kernel.buffers.iter().zip(buffers).enumerate() {
        let (bytes, size) = (buffer.bytes(), u64::from(declared.element.size()));
        if bytes > limits.max_buffer_bytes {
            return Err(Error::unsupported(
                format!("a buffer `%{}` of {bytes} bytes", declared.name),
                format!("at most {} bytes a bound buffer", limits.max_buffer_bytes),
            ));
        }
        let most = if declared.large { u64::MAX } else { u64::from(u32::MAX) };
        let length = Some(bytes / size).filter(|n| bytes % size == 0 && *n <= most).ok_or_else(|| {
            let bound = if declared.large { "" } else { " (below 2^32)" };
            Error::invalid(
                Code::BufferSize,
                format!(
                    "buffer `%{}` has {bytes} bytes, which is not a whole number{bound} of {} elements",
                    declared.name, declared.element
                ),
            )
        })?;
        check_alignment(kernel, declared, BufferId::new(i), buffer)?;
        lengths.push(length);
    }
    for view in &kernel.views {
        let Memory::Buffer(id) = view.base else { continue };
        let length = buffers[id.index()].bytes() / u64::from(view.element.size());
        if !kernel.buffers[id.index()].large && length > u64::from(u32::MAX) {
            let message = format!(
                "view `%{}` would have {length} elements of {}; declare its buffer `large`",
                view.name, view.element
            );
            return Err(Error::invalid(Code::BufferSize, message));
        }
    }
    Ok(lengths)
}

/// Checks that a range begins at a multiple of the size of every type that the kernel accesses it as.
fn check_alignment(
    kernel: &VerifiedKernel,
    declared: &BufferDecl,
    id: BufferId,
    bound: &Binding,
) -> Result<(), Error> {
    let base = Memory::Buffer(id);
    let elements = kernel.aliases(base).map(|memory| u64::from(kernel.element(memory).size()));
    let matrices = instructions(kernel).filter_map(|id| match kernel.inst(id).kind.matrix()? {
        MatrixInst::Load { memory, .. } | MatrixInst::Store { memory, .. } => Some(memory),
        MatrixInst::Fill { .. } | MatrixInst::MulAdd { .. } | MatrixInst::Convert { .. } => None,
    });
    let matrices =
        matrices.filter(|memory| kernel.base(*memory) == base).map(|_| u64::from(MATRIX_ALIGNMENT));
    let misaligned = |size: &u64| !bound.offset().is_multiple_of(*size);
    match elements.chain(matrices).find(misaligned) {
        Some(size) => Err(Error::invalid(
            Code::BufferSize,
            format!(
                "`%{}` would begin at byte {} of its buffer, which is no multiple of the {size} bytes that the kernel \
                 accesses at once",
                declared.name,
                bound.offset()
            ),
        )),
        None => Ok(()),
    }
}

fn check_overlaps(kernel: &VerifiedKernel, buffers: &[Binding]) -> Result<(), Error> {
    for (i, a) in buffers.iter().enumerate() {
        for (j, b) in buffers.iter().enumerate().skip(i + 1) {
            let (one, other) = (&kernel.buffers[i], &kernel.buffers[j]);
            if a.overlaps(b) && (one.access.can_write() || other.access.can_write()) {
                return Err(Error::invalid(
                    Code::BufferOverlap,
                    format!(
                        "`%{}` and `%{}` are the same memory, at least in part, and the kernel writes it",
                        one.name, other.name
                    ),
                ));
            }
        }
    }
    Ok(())
}

fn grid(kernel: &VerifiedKernel, lengths: &[u64], options: &LaunchOptions) -> Result<Grid, Error> {
    if let Some(GridSize::Linear(count)) = options.grid {
        return linear(kernel, count);
    }
    let Some(size) = options.grid else {
        return linear(kernel, default_count(kernel, lengths)?);
    };
    let grid = size.workgroups(kernel.workgroup);
    let workgroups = grid.iter().map(|count| u64::from(*count)).fold(1, u64::saturating_mul);
    if workgroups > MAX_WORKGROUPS {
        let [x, y, z] = grid;
        let message = format!("a grid of {x} × {y} × {z} workgroups has more than 2^44");
        return Err(Error::invalid(Code::GridTooLarge, message));
    }
    for (axis, name) in ["x", "y", "z"].into_iter().enumerate() {
        let count = grid[axis];
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

/// The invocations along x of a launch that states no grid: one for each element of the first buffer that is written. That is
/// right for element-wise kernels; the launch of any other kernel must state a grid.
fn default_count(kernel: &VerifiedKernel, lengths: &[u64]) -> Result<u64, Error> {
    let bad = |message: String| Error::invalid(Code::BadGrid, format!("kernel `{}` {message}", kernel.name));
    let [x, y, z] = kernel.workgroup;
    if (y, z) != (1, 1) {
        return Err(bad(format!("has workgroups of {x} × {y} × {z}, so its launch must state a grid")));
    }
    let mut buffers = kernel.buffers.iter().zip(lengths).enumerate();
    let Some((_, (written, count))) = buffers.clone().find(|(_, (buffer, _))| buffer.access.can_write())
    else {
        return Err(bad("writes no buffer, so its launch must state a grid".to_owned()));
    };
    let says = |at: usize| kernel.requires.iter().any(|require| require.speaks_of_len(BufferId::new(at)));
    let longer = buffers.find(|(at, (buffer, length))| {
        buffer.access.can_read() && length > &count && buffer.name != written.name && !says(*at)
    });
    if let Some((_, (buffer, length))) = longer {
        return Err(bad(format!(
            "reads `%{}`, which has {length} elements, and a launch that states no grid has one invocation for each \
             of the {count} elements of `%{}`: state a grid, or in the kernel a `require` of `len %{}`",
            buffer.name, written.name, buffer.name
        )));
    }
    Ok(*count)
}

/// The grid of a one-dimensional launch, whatever the device's largest.
fn linear(kernel: &VerifiedKernel, count: u64) -> Result<Grid, Error> {
    let [x, y, z] = kernel.workgroup;
    let grid = GridSize::Linear(count).workgroups(kernel.workgroup);
    let message = if (y, z) != (1, 1) {
        format!("the workgroup of kernel `{}` is {x} × {y} × {z}", kernel.name)
    } else if count > 1 << 32 || u64::from(grid[0]) * u64::from(x) > 1 << 32 {
        format!("{count} invocations in workgroups of {x} are more than 2^32, which `global_id` cannot count")
    } else {
        return Ok(grid);
    };
    Err(Error::invalid(Code::NotLinear, message))
}
