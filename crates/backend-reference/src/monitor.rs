//! What can watch a launch. The plain interpreter watches nothing; a sanitizer finds races and reads out of
//! bounds from these calls alone.

use fulgurite_ir::{Grid, InstId, Memory, MemoryScopes};

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
    pub(crate) index: u32,
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
}

/// Watches nothing.
pub(crate) struct Quiet;

impl Monitor for Quiet {}
