//! How the invocations of a workgroup load a factor's tile together, vector by vector.

use fulgurite_ir::builder::{Array, Builder, ReadAccess, Storable, Val};

/// One factor, as an invocation loads its part of each tile.
pub(super) struct Side<'k, T> {
    memory: Array<'k, T, ReadAccess, u32>,
    /// Row and vector within the tile of each of this invocation's loads.
    pub(super) places: Vec<(Val<'k, u32>, Val<'k, u32>)>,
    /// From a tile to the next, in vectors.
    step: Val<'k, u32>,
}

/// A tile: its rows, and vectors in a row.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub(super) rows: u32,
    pub(super) vectors: u32,
}

impl<'k, T: Storable> Side<'k, T> {
    /// Tiles of `shape` in `memory`, loaded by `invocations`, `step` vectors apart.
    pub(super) fn new(
        k: &'k Builder,
        memory: Array<'k, T, ReadAccess, u32>,
        shape: Shape,
        invocations: u32,
        step: Val<'k, u32>,
    ) -> Self {
        let loads = shape.rows * shape.vectors / invocations;
        let place = |load| {
            let at = k.local_index() + load * invocations;
            (at / shape.vectors, at % shape.vectors)
        };
        Self { memory, places: (0..loads).map(place).collect(), step }
    }

    /// Where the loads of the tile are that begins at vector `first`, in a matrix whose rows have `line` vectors.
    pub(super) fn begin(&self, first: Val<'k, u32>, line: Val<'k, u32>) -> Vec<Val<'k, u32>> {
        self.places.iter().map(|(row, vector)| first + *row * line + *vector).collect()
    }

    /// What lies there, or whatever if that is behind the end: for what is never used then. No load needs a guard, if the
    /// matrix is known to have an element.
    pub(super) fn load_ahead(&self, from: &[Val<'k, u32>]) -> Vec<Val<'k, T>> {
        let last = self.memory.len() - 1;
        from.iter().map(|at| self.memory.load((*at).min(last))).collect()
    }

    /// What lies there: zeros behind the end.
    pub(super) fn load(&self, from: &[Val<'k, u32>]) -> Vec<Val<'k, T>> {
        from.iter().map(|at| self.memory.load(*at)).collect()
    }

    /// The same of the next tile.
    pub(super) fn next(&self, from: &[Val<'k, u32>]) -> Vec<Val<'k, u32>> {
        from.iter().map(|at| *at + self.step).collect()
    }
}
