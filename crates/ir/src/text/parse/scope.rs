//! What names mean, scope by scope.

use std::collections::HashMap;

use fulgurite_spec::Location;

use crate::kernel::{Memory, ValueId};

/// What a name stands for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Meaning {
    /// A value.
    Value(ValueId),
    /// A buffer or array.
    Memory(Memory),
    /// Something whose definition has a problem that was reported.
    Poison,
}

/// A point to which names go back when a block ends.
#[derive(Clone, Copy)]
pub(super) struct Mark(usize);

/// The names in scope.
#[derive(Default)]
pub(super) struct Scopes<'t> {
    names: HashMap<&'t str, (Meaning, Location)>,
    /// What each definition replaced, to be put back.
    log: Vec<(&'t str, Option<(Meaning, Location)>)>,
    /// Where names were defined whose scope has ended.
    ended: HashMap<&'t str, Location>,
}

impl<'t> Scopes<'t> {
    pub(super) fn mark(&self) -> Mark {
        Mark(self.log.len())
    }

    /// Forgets what was defined since `mark`.
    pub(super) fn back_to(&mut self, mark: Mark) {
        for (name, earlier) in self.log.drain(mark.0..).rev() {
            if let Some((Meaning::Value(_), place)) = self.names.get(name) {
                self.ended.insert(name, *place);
            }
            match earlier {
                Some(earlier) => self.names.insert(name, earlier),
                None => self.names.remove(name),
            };
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<Meaning> {
        self.names.get(name).map(|(meaning, _)| *meaning)
    }

    /// Where `name` was defined, in a scope that has ended.
    pub(super) fn ended(&self, name: &str) -> Option<Location> {
        self.ended.get(name).copied()
    }

    /// Gives `name` a meaning. If it has one already it becomes poison, and the place of the first definition
    /// is the error.
    pub(super) fn define(
        &mut self,
        name: &'t str,
        meaning: Meaning,
        place: Location,
    ) -> Result<(), Location> {
        match self.names.get(name) {
            Some((Meaning::Value(_) | Meaning::Memory(_), earlier)) => {
                let earlier = *earlier;
                self.set(name, Meaning::Poison, earlier);
                Err(earlier)
            }
            _ => {
                self.set(name, meaning, place);
                Ok(())
            }
        }
    }

    /// Makes `name` known without a meaning, unless it has one.
    pub(super) fn poison(&mut self, name: &'t str, place: Location) {
        if !self.names.contains_key(name) {
            self.set(name, Meaning::Poison, place);
        }
    }

    fn set(&mut self, name: &'t str, meaning: Meaning, place: Location) {
        let earlier = self.names.insert(name, (meaning, place));
        self.log.push((name, earlier));
    }
}
