//! Cooperative loads of a factor's tile by a workgroup, vector by vector.

use fulgurite_ir::builder::{Array, Builder, ReadAccess, Storable, Val};

/// One factor, with the share of each tile that an invocation loads: one vector in each of several evenly spaced rows.
pub(super) struct Side<'k, T> {
    memory: Array<'k, T, ReadAccess, u32>,
    /// Row and vector, within the tile, of this invocation's first load.
    place: (Val<'k, u32>, Val<'k, u32>),
    /// Number of loads of an invocation per tile.
    pub(super) loads: u32,
    /// Rows between consecutive loads.
    apart: u32,
    /// Vectors per row of the matrix.
    line: Val<'k, u32>,
    /// Vectors between consecutive tiles.
    step: Val<'k, u32>,
}

/// Rows of a tile, and vectors per row.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub(super) rows: u32,
    pub(super) vectors: u32,
}

impl Shape {
    /// Returns the tile shapes of A and B, with `depth` elements along K and vectors of `numbers` elements.
    pub(super) fn of_factors([tile_m, tile_n, depth]: [u32; 3], numbers: u32) -> [Self; 2] {
        [Self { rows: tile_m, vectors: depth / numbers }, Self { rows: depth, vectors: tile_n / numbers }]
    }

    /// Returns whether this many invocations can load the tile together, in whole rows and equal shares.
    pub(super) fn suits(self, invocations: u32) -> bool {
        invocations.is_multiple_of(self.vectors) && (self.rows * self.vectors).is_multiple_of(invocations)
    }
}

impl<'k, T: Storable> Side<'k, T> {
    /// Creates the loads of tiles of `shape` from `memory` by `invocations`, which [`Shape::suits`] accepts. `line` is
    /// the number of vectors per row of the matrix, `step` that between consecutive tiles.
    pub(super) fn new(
        k: &'k Builder,
        memory: Array<'k, T, ReadAccess, u32>,
        shape: Shape,
        invocations: u32,
        [line, step]: [Val<'k, u32>; 2],
    ) -> Self {
        let place = (k.local_index() / shape.vectors, k.local_index() % shape.vectors);
        let loads = shape.rows * shape.vectors / invocations;
        Self { memory, place, loads, apart: invocations / shape.vectors, line, step }
    }

    /// Returns the index of this invocation's first load in the tile that starts at vector `first`.
    pub(super) fn begin(&self, first: Val<'k, u32>) -> Val<'k, u32> {
        first + self.place.0 * self.line + self.place.1
    }

    /// Returns the same index in the next tile.
    pub(super) fn next(&self, from: Val<'k, u32>) -> Val<'k, u32> {
        from + self.step
    }

    /// Loads a vector. Beyond the end of the matrix the result is unspecified and must not be used. The load needs no
    /// guard if the matrix is known to have a vector.
    pub(super) fn load(&self, from: Val<'k, u32>, load: u32) -> Val<'k, T> {
        let at = from + self.line * (load * self.apart);
        self.memory.load(at.min(self.memory.len() - 1))
    }

    /// Returns the index of a load's vector in shared memory, with a distance of `down` between rows and `right`
    /// between vectors.
    pub(super) fn laid(&self, load: u32, down: u32, right: u32) -> Val<'k, u32> {
        self.place.0 * down + self.place.1 * right + load * self.apart * down
    }
}
