//! Launches of native code: rows of invocations, or whole workgroups, spread over the workers of the pool.

use std::borrow::Cow;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use fulgurite_hal::{DeviceError, Error, Launch};
use fulgurite_ir::{Inst, InstKind, VerifiedKernel};

use super::lower::Rows;
use super::memory_map::{Frame, Function};
use super::program::{Input, Stored};
use super::tally::{Copied, Tally};
use super::x64::Machine;
use crate::memory::NativeBuffer;
use crate::poll::{Poll, Stop};
use crate::pool;

/// The largest number of invocations in a row that spans workgroups.
const MOST_PER_ROW: u64 = 1 << 16;
/// The number of instructions, those of loops counted once, that a row should have at least, so that it takes longer than
/// to hand it to a thread; and at most, because a worker looks between rows whether to stop.
const INSTRUCTIONS_PER_ROW: [u64; 2] = [1 << 16, 1 << 22];
/// The number of instructions that a loop counts as at least.
const INSTRUCTIONS_PER_LOOP: u64 = 1 << 10;
/// The number of invocations in a row is a multiple of this, but for the last row.
const PIECE: u64 = 64;
/// Number of batches that a worker takes if all workers run at the same speed.
const BATCHES: u64 = 16;
/// Maximum size in bytes of all frames that are kept for the next launch.
const MAX_KEPT_BYTES: u64 = 1 << 26;
/// The number of invocations that count as one back edge.
const INVOCATIONS_PER_POLL: u64 = 64;

/// A kernel as native code.
pub(crate) struct NativeKernel {
    kernel: Arc<VerifiedKernel>,
    function: Function,
    rows: Rows,
    /// The estimated number of instructions that an invocation runs.
    instructions: u64,
    most_words: usize,
    /// The code for workers that have copies of the buffers that are only tallied in, and these buffers.
    tallied: Option<(Function, Vec<Tally>)>,
    kept: Mutex<Vec<Frame>>,
}

/// The division of a launch into units: rows of invocations, or workgroups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Division {
    /// The number of invocations, or of workgroups, along each axis.
    size: [u64; 3],
    /// The number of these in a unit; the last unit along x may be shorter.
    row: u64,
    /// The number of units along x.
    pieces: u64,
    /// The number of all units, saturating.
    units: u64,
}

impl Division {
    fn of(rows: Rows, instructions: u64, grid: [u32; 3], workgroup: [u32; 3], threads: u64) -> Self {
        let size = match rows {
            Rows::WholeWorkgroups => grid.map(u64::from),
            Rows::Grid | Rows::Workgroup => {
                [0, 1, 2].map(|axis| u64::from(grid[axis]) * u64::from(workgroup[axis]))
            }
        };
        let others = size[1].saturating_mul(size[2]);
        let row = match rows {
            Rows::WholeWorkgroups => 1,
            Rows::Workgroup => u64::from(workgroup[0]),
            Rows::Grid => {
                let total = size[0].saturating_mul(others);
                let [least, most] = INSTRUCTIONS_PER_ROW
                    .map(|bound| (bound / instructions.max(1) / PIECE * PIECE).clamp(PIECE, MOST_PER_ROW));
                (total / (threads * BATCHES)).next_multiple_of(PIECE).clamp(least, most)
            }
        };
        let pieces = size[0].div_ceil(row.max(1));
        Self { size, row, pieces, units: pieces.saturating_mul(others) }
    }
}

/// Estimates the number of instructions that an invocation runs.
fn instructions_of(kernel: &VerifiedKernel) -> u64 {
    let is_loop = |inst: &&Inst| matches!(inst.kind, InstKind::For { .. } | InstKind::While { .. });
    let loops = kernel.insts.iter().filter(is_loop).count() as u64;
    kernel.insts.len() as u64 + loops * INSTRUCTIONS_PER_LOOP
}

/// Returns the largest number of words of a buffer that the code of a kernel accesses: indices of words are signed in gathers,
/// and those of bytes have 32 bits.
fn most_words_of(kernel: &VerifiedKernel) -> usize {
    let accesses_bytes = kernel.insts.iter().any(|inst| {
        let accessed = if let InstKind::Load { memory, .. } | InstKind::Store { memory, .. } = inst.kind {
            Some(memory)
        } else {
            None
        };
        accessed.is_some_and(|memory| kernel.element(memory).scalar.size() < 4)
    });
    if accesses_bytes { (1 << 30) - 1 } else { i32::MAX as usize }
}

/// The state that all workers of a launch share.
struct Running<'a> {
    native: &'a NativeKernel,
    launch: &'a Launch,
    buffers: &'a [NativeBuffer<'a>],
    division: Division,
    batch: u64,
    /// The number of workers, at most.
    workers: u64,
    next: AtomicU64,
    stop: &'a Stop,
}

impl NativeKernel {
    /// Maps the code of a kernel.
    ///
    /// # Errors
    /// The operating system's error.
    pub(crate) fn new(kernel: Arc<VerifiedKernel>, machine: Machine) -> io::Result<Self> {
        let rows = Rows::of(&kernel);
        let instructions = instructions_of(&kernel);
        let most_words = most_words_of(&kernel);
        Ok(Self {
            kernel,
            function: Function::new(machine)?,
            rows,
            instructions,
            most_words,
            tallied: None,
            kept: Mutex::new(Vec::new()),
        })
    }

    /// Maps code for workers that have copies of some buffers.
    ///
    /// # Errors
    /// The operating system's error.
    pub(super) fn tally(&mut self, tallies: Vec<Tally>, machine: Machine) -> io::Result<()> {
        self.tallied = Some((Function::new(machine)?, tallies));
        Ok(())
    }

    /// Returns the largest number of words of a buffer that the code accesses.
    pub(crate) fn most_words(&self) -> usize {
        self.most_words
    }

    /// Runs a launch to its end on its buffers, each of at most [`NativeKernel::most_words`].
    pub(crate) fn run(
        &self,
        launch: &Launch,
        buffers: &[NativeBuffer<'_>],
        stop: &Stop,
    ) -> Result<(), Error> {
        let threads = pool::threads() as u64;
        let division =
            Division::of(self.rows, self.instructions, launch.grid(), self.kernel.workgroup, threads);
        if division.units == 0 {
            return Ok(());
        }
        let batch = (division.units / (threads * BATCHES)).max(1);
        let next = AtomicU64::new(0);
        let workers = threads.min(division.units);
        let running = Running { native: self, launch, buffers, division, batch, workers, next, stop };
        pool::run(division.units, || running.work())
    }

    fn take_frame(&self) -> Result<Frame, Error> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let frame = kept.or_else(|| self.function.frame());
        frame.ok_or_else(|| DeviceError::OutOfMemory { bytes: self.function.frame_bytes() }.into())
    }

    fn keep_frame(&self, frame: Frame) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if (kept.len() as u64 + 1) * self.function.frame_bytes() <= MAX_KEPT_BYTES {
            kept.push(frame);
        }
    }
}

impl Running<'_> {
    /// Runs one worker: takes batches of units until none are left. An error stops the launch.
    fn work(&self) -> Result<(), Error> {
        let frame = self.native.take_frame();
        if frame.is_err() {
            self.stop.stop();
        }
        let mut frame = frame?;
        let mut poll = Poll::new(self.stop);
        let (function, copies) = self.code();
        // Launches without copies allocate nothing here.
        let mut buffers = Cow::Borrowed(self.buffers);
        for copy in &copies {
            copy.stand_in(buffers.to_mut());
        }
        let mut callable = function.bind(&mut frame, &buffers);
        callable.set_inputs(Stored::Launched, |input| self.fixed(input));
        let row = match self.native.rows {
            Rows::WholeWorkgroups => self.native.kernel.workgroup_invocations().into(),
            Rows::Grid | Rows::Workgroup => self.division.row,
        };
        let polls = (row / INVOCATIONS_PER_POLL + 1) as u32;
        loop {
            let first = self.next.fetch_add(self.batch, Relaxed);
            if first >= self.division.units {
                break;
            }
            for unit in first..first.saturating_add(self.batch).min(self.division.units) {
                if poll.count_many(polls).is_err() {
                    return Ok(());
                }
                self.place(unit, |value| callable.set_inputs(Stored::Placed, value));
                if callable.call(&mut poll).is_err() {
                    return Ok(());
                }
            }
        }
        copies.iter().for_each(|copy| copy.finish(self.buffers));
        self.native.keep_frame(frame);
        Ok(())
    }

    /// Returns the code for a worker, and the copies that this code needs: of all buffers that are only tallied in, or of none.
    fn code(&self) -> (&Function, Vec<Copied>) {
        let common = (&self.native.function, Vec::new());
        let Some((function, tallies)) = &self.native.tallied else { return common };
        let grid = self.launch.grid().into_iter().map(u64::from);
        let invocations =
            grid.fold(u64::from(self.native.kernel.workgroup_invocations()), u64::saturating_mul);
        let copies = tallies.iter().map(|tally| tally.copy(self.buffers, self.workers, invocations));
        copies.collect::<Option<_>>().map_or(common, |copies| (function, copies))
    }

    /// Returns the value of an input that is the same for the whole launch.
    fn fixed(&self, input: Input) -> Option<u64> {
        match input {
            Input::Param { index, component, is_high } => {
                let bits = self.launch.params()[index][component];
                Some(if is_high { bits >> 32 } else { bits & u64::from(u32::MAX) })
            }
            Input::NumWorkgroups(axis) => Some(self.launch.grid()[axis].into()),
            Input::Constant(_)
            | Input::LaneNumbers
            | Input::Pointer(_)
            | Input::Area(_)
            | Input::Len { .. }
            | Input::Whole { .. }
            | Input::Begin
            | Input::End
            | Input::GroupBegin
            | Input::GlobalId(_)
            | Input::LocalId(_)
            | Input::WorkgroupId(_)
            | Input::LocalIndex => None,
        }
    }

    /// Passes the inputs of a unit to `set`.
    fn place(&self, unit: u64, set: impl FnOnce(&dyn Fn(Input) -> Option<u64>)) {
        let Division { size, row, pieces, .. } = self.division;
        let begin = unit % pieces * row;
        let others = unit / pieces;
        let mut global = [begin, others % size[1], others / size[1]];
        let workgroup = self.native.kernel.workgroup.map(u64::from);
        if self.native.rows == Rows::WholeWorkgroups {
            global = [0, 1, 2].map(|axis| global[axis] * workgroup[axis]);
        }
        let local = |axis: usize| global[axis] % workgroup[axis];
        set(&|input| {
            Some(match input {
                Input::Begin => begin,
                Input::End => (begin + row).min(size[0]),
                Input::GroupBegin => global[0] - local(0),
                Input::GlobalId(axis) => global[axis],
                Input::LocalId(axis) => local(axis),
                Input::WorkgroupId(axis) => global[axis] / workgroup[axis],
                Input::LocalIndex => (local(2) * workgroup[1] + local(1)) * workgroup[0],
                Input::Constant(_)
                | Input::LaneNumbers
                | Input::Param { .. }
                | Input::NumWorkgroups(_)
                | Input::Pointer(_)
                | Input::Area(_)
                | Input::Len { .. }
                | Input::Whole { .. } => return None,
            })
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_cover_a_launch_once() {
        for rows in [Rows::Grid, Rows::Workgroup] {
            for (grid, workgroup) in
                [([1, 1, 1], [1, 1, 1]), ([5, 3, 2], [7, 2, 3]), ([9000, 2, 1], [64, 1, 1])]
            {
                let division = Division::of(rows, 12, grid, workgroup, 4);
                let all: u64 = division.size.iter().product();
                let last = division.size[0] - (division.pieces - 1) * division.row;
                assert!(last > 0 && last <= division.row);
                let others = division.units / division.pieces;
                assert_eq!(((division.pieces - 1) * division.row + last) * others, all);
            }
        }
        assert_eq!(Division::of(Rows::Grid, 12, [0, 1, 1], [64, 1, 1], 4).units, 0);
        assert_eq!(Division::of(Rows::Workgroup, 12, [4, 0, 1], [64, 1, 1], 4).units, 0);
        // A short launch of a long kernel is spread over the threads, one of a short kernel is not.
        assert_eq!(Division::of(Rows::Grid, 1100, [64, 1, 1], [64, 1, 1], 16).units, 64);
        assert_eq!(Division::of(Rows::Grid, 12, [64, 1, 1], [64, 1, 1], 16).units, 1);
        // A worker looks whether to stop after a while, however long the kernel is.
        assert_eq!(Division::of(Rows::Grid, 16_000, [1 << 24, 1, 1], [64, 1, 1], 4).row, 256);
        assert_eq!(Division::of(Rows::Grid, 1 << 30, [1 << 24, 1, 1], [64, 1, 1], 4).row, 64);
    }
}
