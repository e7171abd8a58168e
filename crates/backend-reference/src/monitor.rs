//! What can watch a launch. The plain interpreter checks what analyses claim; a sanitizer finds races and reads
//! out of bounds from these calls alone.

use fulgurite_driver_core::Error;
use fulgurite_ir::analysis::BoundsMap;
use fulgurite_ir::{AtomicOrder, Grid, InstId, Memory, MemoryScopes, SyncScope};

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
    /// The first access that was claimed to be in bounds and was not.
    broken: Option<Access>,
}

impl<'a> Claims<'a> {
    pub(crate) fn new(bounds: &'a BoundsMap) -> Self {
        Self { bounds, broken: None }
    }

    /// An error if a claim was broken.
    pub(crate) fn check(&self) -> Result<(), Error> {
        match &self.broken {
            None => Ok(()),
            Some(Access { inst, index, .. }) => {
                Err(Error::Internal(format!("{inst:?} is shown to be in bounds, but its index was {index}")))
            }
        }
    }
}

impl Monitor for Claims<'_> {
    fn access(&mut self, access: &Access) {
        if !access.in_bounds && self.broken.is_none() && self.bounds.is_inside(access.inst) {
            self.broken = Some(*access);
        }
    }
}
