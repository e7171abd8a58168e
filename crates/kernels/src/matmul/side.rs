//! How the invocations of a workgroup load a factor's tile together, vector by vector.

use fulgurite_ir::builder::{Array, Builder, ReadAccess, Storable, Val};

/// One factor, as an invocation loads its part of each tile: a vector of each of some rows, all as far apart.
pub(super) struct Side<'k, T> {
    memory: Array<'k, T, ReadAccess, u32>,
    /// Row and vector within the tile of this invocation's first load.
    place: (Val<'k, u32>, Val<'k, u32>),
    /// How many loads an invocation makes of a tile.
    pub(super) loads: u32,
    /// Rows from a load to the next.
    apart: u32,
    /// Vectors in a row of the matrix.
    line: Val<'k, u32>,
    /// From a tile to the next, in vectors.
    step: Val<'k, u32>,
}

/// A tile: its rows, and vectors in a row.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub(super) rows: u32,
    pub(super) vectors: u32,
}

impl Shape {
    /// Those of A's tiles and of B's: of `depth` numbers along K, in vectors of `numbers`.
    pub(super) fn of_factors([tile_m, tile_n, depth]: [u32; 3], numbers: u32) -> [Self; 2] {
        [Self { rows: tile_m, vectors: depth / numbers }, Self { rows: depth, vectors: tile_n / numbers }]
    }

    /// Whether so many invocations load it together: whole rows at a time, and all of them as much.
    pub(super) fn suits(self, invocations: u32) -> bool {
        invocations.is_multiple_of(self.vectors) && (self.rows * self.vectors).is_multiple_of(invocations)
    }
}

impl<'k, T: Storable> Side<'k, T> {
    /// Tiles of `shape` in `memory`, loaded by `invocations` that it suits. `line` is how many vectors there are in a row of
    /// the matrix, and `step` how many from a tile to the next.
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

    /// Where this invocation's first load is of the tile that begins at vector `first`.
    pub(super) fn begin(&self, first: Val<'k, u32>) -> Val<'k, u32> {
        first + self.place.0 * self.line + self.place.1
    }

    /// The same of the next tile.
    pub(super) fn next(&self, from: Val<'k, u32>) -> Val<'k, u32> {
        from + self.step
    }

    /// What lies there, or whatever if that is behind the end: for what is never used then. No load needs a guard, if the
    /// matrix is known to have a vector.
    pub(super) fn load(&self, from: Val<'k, u32>, load: u32) -> Val<'k, T> {
        let at = from + self.line * (load * self.apart);
        self.memory.load(at.min(self.memory.len() - 1))
    }

    /// Where a load belongs in shared memory, if rows are `down` apart there, and vectors `right`.
    pub(super) fn laid(&self, load: u32, down: u32, right: u32) -> Val<'k, u32> {
        self.place.0 * down + self.place.1 * right + load * self.apart * down
    }
}
