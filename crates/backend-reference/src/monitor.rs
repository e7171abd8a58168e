//! Observers of a launch. The interpreter itself checks the claims of analyses; a sanitizer can find races and
//! out-of-bounds reads from these calls alone.

use fulgurite_hal::Error;
use fulgurite_ir::analysis::{BoundsMap, DivisibilityMap};
use fulgurite_ir::{AtomicOrder, Grid, InstId, Memory, MemoryScopes, SyncScope, ValueId};

use crate::prepared::PreparedKernel;

/// The kind of a memory access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AccessKind {
    Load,
    Store,
    Atomic,
}

/// A memory access by one invocation, reported before it takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Access {
    pub(crate) kind: AccessKind,
    pub(crate) memory: Memory,
    /// Element index computed by the kernel.
    pub(crate) index: u64,
    pub(crate) in_bounds: bool,
    pub(crate) workgroup: Grid,
    /// Local index of the invocation.
    pub(crate) invocation: u32,
    pub(crate) inst: InstId,
}

/// Observes a launch.
pub(crate) trait Monitor {
    /// Called for each memory access.
    fn access(&mut self, _access: &Access) {}

    /// Called for each computed value, with the first component of a vector.
    fn value(&mut self, _value: ValueId, _bits: u64) {}

    /// Called when all invocations of a workgroup have arrived at a barrier.
    fn barrier(&mut self, _workgroup: Grid, _scopes: MemoryScopes) {}

    /// Called when all invocations of a subgroup have arrived at a `subgroup_barrier`.
    fn subgroup_barrier(&mut self, _workgroup: Grid, _subgroup: u32, _scopes: MemoryScopes) {}

    /// Called for each fence.
    fn fence(&mut self, _workgroup: Grid, _invocation: u32, _order: AtomicOrder, _scope: SyncScope) {}
}

/// Checks the analyses by which lowering omits guards against the actual execution.
pub(crate) struct Claims<'a> {
    bounds: &'a BoundsMap,
    divisors: &'a DivisibilityMap,
    /// The first out-of-bounds access that the analysis proved in bounds.
    broken: Option<Access>,
    /// The first value that is not a multiple of its proven divisor.
    uneven: Option<(ValueId, u64)>,
}

impl<'a> Claims<'a> {
    pub(crate) fn new(program: &'a PreparedKernel) -> Self {
        Self { bounds: program.bounds(), divisors: program.divisors(), broken: None, uneven: None }
    }

    /// Returns an error if a claim was violated.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if let Some((value, bits)) = self.uneven {
            let divisor = self.divisors.divisor(value);
            let message = format!("{value:?} was proven to be a multiple of {divisor}, but was {bits}");
            return Err(Error::Internal(message));
        }
        match &self.broken {
            None => Ok(()),
            Some(Access { inst, index, .. }) => {
                Err(Error::Internal(format!("{inst:?} was proven in bounds, but its index was {index}")))
            }
        }
    }
}

impl Monitor for Claims<'_> {
    fn value(&mut self, value: ValueId, bits: u64) {
        // A divisor of 0 means that the value is always 0, the only multiple of 0.
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
