//! Launches: distributes chunks of invocations over the workers of the pool.
//!
//! If the invocations of a workgroup interact, a worker takes whole workgroups, and runs their chunks in turn from
//! barrier to barrier. Otherwise chunks are cut from the sequence of all invocations of the launch, so that small
//! workgroups fill them too. A worker's registers and memory are kept for the next launch.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use fulgurite_hal::{DeviceError, Error, Launch};
use fulgurite_ir::Grid;
use fulgurite_spec::IdOp;

use crate::code::{Code, Fixed};
use crate::lanes::{Lanes, WIDTH, first_lanes};
use crate::machine::{Chunk, Launched, Pause};
use crate::matrix::Components;
use crate::poll::{Poll, Stop, Stopped};
use crate::pool;
use crate::subgroup::Broadcast;

/// Maximum size in bytes of the registers, local memory and matrices of all workers together.
const MAX_SCRATCH_BYTES: u64 = 8 << 30;
/// Number of batches that a worker takes if all workers run at the same speed.
const BATCHES: u64 = 16;
/// Maximum number of scratch memories that are kept for the next launch.
const MAX_KEPT: usize = 256;

/// The memory of one worker.
struct Scratch {
    chunks: Vec<Chunk>,
    shared: Vec<u32>,
}

/// A compiled kernel with the scratch memory of its workers.
pub(crate) struct Engine {
    code: Code,
    /// The local ids of a workgroup's invocations, by axis.
    local_ids: [Vec<u32>; 3],
    kept: Mutex<Vec<Scratch>>,
}

/// The state that all workers of a launch share.
struct Running<'a> {
    engine: &'a Engine,
    launched: Launched<'a>,
    launch: &'a Launch,
    grid: Grid,
    /// The number of workgroups if their invocations interact, else of chunks.
    units: u64,
    /// The number of all invocations, saturating.
    total: u64,
    batch: u64,
    next: AtomicU64,
    stop: &'a Stop,
}

fn internal(what: &str) -> Error {
    Error::Internal(format!("cpu: {what}"))
}

/// Fills lanes with functions of their local indices, which begin at `first`.
fn fill(lanes: &mut [u32], first: usize, value: impl Fn(u32) -> u32) {
    for (to, flat) in lanes.iter_mut().zip(first as u32..) {
        *to = value(flat);
    }
}

/// Copies the value of one invocation of a workgroup to all of them.
fn spread(broadcast: &Broadcast, chunks: &mut [Chunk], invocations: usize) {
    let Some(index) = chunks.first().map(|c| c.registers[broadcast.index as usize].0[0] as usize) else {
        return;
    };
    let from = chunks.get(index / WIDTH).filter(|_| index < invocations);
    let value = from.map_or([0; 4], |chunk| broadcast.get(&chunk.registers, index % WIDTH));
    for chunk in chunks {
        broadcast.set(&mut chunk.registers, value);
    }
}

impl Engine {
    pub(crate) fn new(code: Code) -> Self {
        let [x, y, z] = code.kernel.workgroup;
        let ids = |axis: fn(u32, u32, u32) -> u32| {
            let mut all = Vec::with_capacity(code.invocations);
            for z in 0..z {
                for y in 0..y {
                    all.extend((0..x).map(|x| axis(x, y, z)));
                }
            }
            all
        };
        let local_ids = [ids(|x, _, _| x), ids(|_, y, _| y), ids(|_, _, z| z)];
        Self { code, local_ids, kept: Mutex::new(Vec::new()) }
    }

    /// Runs a launch to its end.
    pub(crate) fn run(&self, launch: &Launch, launched: Launched<'_>, stop: &Stop) -> Result<(), Error> {
        let grid = launch.grid();
        let workgroups = grid.iter().fold(1u64, |product, n| product.saturating_mul(u64::from(*n)));
        let total = workgroups.saturating_mul(self.code.invocations as u64);
        let units = if self.code.meets { workgroups } else { total.div_ceil(WIDTH as u64) };
        if units == 0 {
            return Ok(());
        }
        let threads = (pool::threads() as u64).min(units);
        let batch = (units / (threads * BATCHES)).max(1);
        let next = AtomicU64::new(0);
        let running = Running { engine: self, launched, launch, grid, units, total, batch, next, stop };
        pool::run(units, || running.work())
    }

    fn take_scratch(&self) -> Result<Scratch, Error> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).pop();
        kept.map_or_else(|| self.new_scratch(), Ok)
    }

    fn keep_scratch(&self, scratch: Scratch) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < MAX_KEPT {
            kept.push(scratch);
        }
    }

    fn new_scratch(&self) -> Result<Scratch, Error> {
        let code = &self.code;
        let count = if code.meets { code.invocations.div_ceil(WIDTH) } else { 1 };
        let bytes = (count as u64)
            .saturating_mul((code.registers + code.local_words) as u64)
            .saturating_mul(size_of::<Lanes>() as u64);
        // An upper bound: registers may share a matrix.
        let matrix_bytes = (code.matrices as u64)
            .saturating_mul((count * (WIDTH / code.subgroup) * Components::MAX_BYTES) as u64)
            .saturating_mul(code.matrix_components as u64);
        let bytes = bytes.saturating_add(matrix_bytes);
        if bytes.saturating_mul(pool::threads() as u64) > MAX_SCRATCH_BYTES {
            return Err(DeviceError::OutOfMemory { bytes }.into());
        }
        let zeros = |length: usize| {
            let mut lanes = Vec::new();
            lanes.try_reserve_exact(length).map_err(|_| DeviceError::OutOfMemory { bytes })?;
            lanes.resize(length, Lanes::splat(0));
            Ok::<_, DeviceError>(lanes)
        };
        let chunks = (0..count)
            .map(|_| Ok(Chunk::new(zeros(code.registers)?, zeros(code.local_words)?, code.matrices)))
            .collect::<Result<_, DeviceError>>()?;
        Ok(Scratch { chunks, shared: vec![0; code.shared_words] })
    }
}

impl Running<'_> {
    /// Runs one worker: takes batches of units until none are left. An error stops the launch.
    fn work(&self) -> Result<(), Error> {
        let outcome = self.work_units();
        if outcome.is_err() {
            self.stop.stop();
        }
        outcome
    }

    fn work_units(&self) -> Result<(), Error> {
        let mut scratch = self.engine.take_scratch()?;
        for chunk in &mut scratch.chunks {
            self.fill_launch(&mut chunk.registers);
        }
        let mut poll = Poll::new(self.stop);
        loop {
            let first = self.next.fetch_add(self.batch, Relaxed);
            if first >= self.units {
                break;
            }
            for unit in first..first.saturating_add(self.batch).min(self.units) {
                let outcome = poll.count().and_then(|()| self.unit(unit, &mut scratch, &mut poll));
                match outcome {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => return Err(error),
                    Err(Stopped) => return Ok(()),
                }
            }
        }
        self.engine.keep_scratch(scratch);
        Ok(())
    }

    fn unit(
        &self,
        unit: u64,
        scratch: &mut Scratch,
        poll: &mut Poll<'_>,
    ) -> Result<Result<(), Error>, Stopped> {
        if self.engine.code.meets {
            self.workgroup(unit, scratch, poll)
        } else {
            let Some(chunk) = scratch.chunks.first_mut() else {
                return Ok(Err(internal("no chunk to run")));
            };
            let first = unit * WIDTH as u64;
            let count = (self.total - first).min(WIDTH as u64) as usize;
            let size = self.engine.code.invocations as u64;
            self.fill_ids(&mut chunk.registers, first / size, (first % size) as usize, count);
            chunk.begin(first_lanes(count));
            let pause = chunk.run(&self.engine.code, &self.launched, &mut [], poll)?;
            Ok(if pause == Pause::End { Ok(()) } else { Err(internal("a barrier between workgroups")) })
        }
    }

    /// Runs a workgroup's chunks; all reach a barrier before any continues.
    fn workgroup(
        &self,
        workgroup: u64,
        scratch: &mut Scratch,
        poll: &mut Poll<'_>,
    ) -> Result<Result<(), Error>, Stopped> {
        let code = &self.engine.code;
        for words in &code.zeroed {
            scratch.shared[words.clone()].fill(0);
        }
        for (number, chunk) in scratch.chunks.iter_mut().enumerate() {
            let first = number * WIDTH;
            let count = (code.invocations - first).min(WIDTH);
            self.fill_ids(&mut chunk.registers, workgroup, first, count);
            chunk.begin(first_lanes(count));
        }
        loop {
            let mut all = None;
            for chunk in &mut scratch.chunks {
                let pause = chunk.run(code, &self.launched, &mut scratch.shared, poll)?;
                if *all.get_or_insert(pause) != pause {
                    return Ok(Err(internal("not all invocations of a workgroup arrived at a barrier")));
                }
            }
            match all {
                Some(Pause::Barrier(_)) => {}
                Some(Pause::Broadcast(broadcast)) => {
                    spread(&broadcast, &mut scratch.chunks, code.invocations)
                }
                Some(Pause::End) | None => return Ok(Ok(())),
            }
            poll.count()?;
        }
    }

    /// Fills the registers that are constant during the launch.
    fn fill_launch(&self, registers: &mut [Lanes]) {
        for (register, fixed) in registers.iter_mut().zip(&self.engine.code.fixed) {
            let bits = match *fixed {
                Fixed::Constant(bits) => bits,
                Fixed::Param { index, component, word } => {
                    (self.launch.params()[index][component] >> (32 * word)) as u32
                }
                Fixed::Len { binding, stride, word } => {
                    let elements = self.launched.buffers[binding].elements(stride as usize);
                    (elements >> (32 * word)) as u32
                }
                Fixed::Id(IdOp::NumWorkgroups, axis) => self.grid[usize::from(axis).min(2)],
                Fixed::Id(..) => continue,
            };
            *register = Lanes::splat(bits);
        }
    }

    /// Fills the ids of `count` lanes, of which the first is invocation `first` of `workgroup`. They may continue into
    /// the following workgroups.
    fn fill_ids(&self, registers: &mut [Lanes], workgroup: u64, first: usize, count: usize) {
        let code = &self.engine.code;
        for (register, fixed) in registers.iter_mut().zip(&code.fixed) {
            let Fixed::Id(op, axis) = *fixed else { continue };
            let axis = usize::from(axis).min(2);
            let (mut workgroup, mut first, mut lane) = (workgroup, first, 0);
            while lane < count && op != IdOp::NumWorkgroups {
                let part = (count - lane).min(code.invocations - first);
                let lanes = &mut register.0[lane..lane + part];
                let position = self.position(workgroup)[axis];
                let local = &self.engine.local_ids[axis][first..first + part];
                let subgroup = code.subgroup as u32;
                match op {
                    IdOp::LocalIndex => fill(lanes, first, |flat| flat),
                    IdOp::Lane => fill(lanes, first, |flat| flat % subgroup),
                    IdOp::SubgroupId => fill(lanes, first, |flat| flat / subgroup),
                    IdOp::LaneMaskLt => fill(lanes, first, |flat| (1 << (flat % subgroup)) - 1),
                    IdOp::LocalId => lanes.copy_from_slice(local),
                    IdOp::WorkgroupId => lanes.fill(position),
                    IdOp::GlobalId => {
                        let base = position.wrapping_mul(code.kernel.workgroup[axis]);
                        lanes.iter_mut().zip(local).for_each(|(to, local)| *to = base.wrapping_add(*local));
                    }
                    // The same for all invocations: filled or constant before.
                    IdOp::NumWorkgroups | IdOp::SubgroupSize | IdOp::NumSubgroups => {}
                }
                (workgroup, first, lane) = (workgroup + 1, 0, lane + part);
            }
        }
    }

    /// Returns the position of a workgroup in the grid; x varies fastest.
    fn position(&self, workgroup: u64) -> Grid {
        let [x, y, _] = self.grid.map(u64::from);
        [(workgroup % x) as u32, (workgroup / x % y) as u32, (workgroup / x / y) as u32]
    }
}
