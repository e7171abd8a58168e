//! What can watch a launch. The plain interpreter checks what analyses claim; a sanitizer finds races and reads
//! out of bounds from these calls alone.

use fulgurite_hal::Error;
use fulgurite_ir::analysis::{BoundsMap, DivisibilityMap};
use fulgurite_ir::{AtomicOrder, Grid, InstId, Memory, MemoryScopes, SyncScope, ValueId};

use crate::program::Program;

/// How memory is accessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AccessKind {
    Load,
    Store,
    Atomic,
}

/// One access by one invocation, before it takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Access {
    pub(crate) kind: AccessKind,
    pub(crate) memory: Memory,
    /// Element index, as the kernel gave it.
    pub(crate) index: u64,
    pub(crate) in_bounds: bool,
    pub(crate) workgroup: Grid,
    /// Flattened local index.
    pub(crate) invocation: u32,
    pub(crate) inst: InstId,
}

/// Watches a launch.
pub(crate) trait Monitor {
    /// An invocation accesses memory.
    fn access(&mut self, _access: &Access) {}

    /// An invocation computes a value; of a vector, the first component.
    fn value(&mut self, _value: ValueId, _bits: u64) {}

    /// All invocations of a workgroup have arrived at a barrier.
    fn barrier(&mut self, _workgroup: Grid, _scopes: MemoryScopes) {}

    /// All invocations of a subgroup have arrived at a `subgroup_barrier`.
    fn subgroup_barrier(&mut self, _workgroup: Grid, _subgroup: u32, _scopes: MemoryScopes) {}

    /// An invocation passes a fence.
    fn fence(&mut self, _workgroup: Grid, _invocation: u32, _order: AtomicOrder, _scope: SyncScope) {}
}

/// Holds the analysis by which lowering leaves out guards to what happens: the oracle checks it in every run.
pub(crate) struct Claims<'a> {
    bounds: &'a BoundsMap,
    divisors: &'a DivisibilityMap,
    /// The first access that was claimed to be in bounds and was not.
    broken: Option<Access>,
    /// The first value that was claimed to be a multiple of something and was not.
    uneven: Option<(ValueId, u64)>,
}

impl<'a> Claims<'a> {
    pub(crate) fn new(program: &'a Program) -> Self {
        Self { bounds: program.bounds(), divisors: program.divisors(), broken: None, uneven: None }
    }

    /// An error if a claim was broken.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if let Some((value, bits)) = self.uneven {
            let divisor = self.divisors.divisor(value);
            let message = format!("{value:?} is shown to be a multiple of {divisor}, but was {bits}");
            return Err(Error::Internal(message));
        }
        match &self.broken {
            None => Ok(()),
            Some(Access { inst, index, .. }) => {
                Err(Error::Internal(format!("{inst:?} is shown to be in bounds, but its index was {index}")))
            }
        }
    }
}

impl Monitor for Claims<'_> {
    fn value(&mut self, value: ValueId, bits: u64) {
        // 0 stands for a value that is always 0, of which alone that is a multiple.
        let divisor = self.divisors.divisor(value);
        if divisor != 1 && !bits.is_multiple_of(divisor) && self.uneven.is_none() {
            self.uneven = Some((value, bits));
        }
    }

    fn access(&mut self, access: &Access) {
        if !access.in_bounds && self.broken.is_none() && self.bounds.is_inside(access.inst) {
            self.broken = Some(*access);
        }
    }
}
