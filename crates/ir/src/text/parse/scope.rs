//! The meanings of names, by scope.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use fulgurite_spec::Location;

use crate::kernel::{Memory, ValueId};

/// The meaning of a name.
#[derive(Clone, Copy, Debug)]
pub(super) enum Meaning {
    /// A value.
    Value(ValueId),
    /// A buffer or array.
    Memory(Memory),
    /// A definition with a problem that was reported.
    Poison,
}

/// A point to which names are restored at the end of a block.
#[derive(Clone, Copy)]
pub(super) struct Mark(usize);

/// The names in scope.
#[derive(Default)]
pub(super) struct Scopes<'t> {
    names: HashMap<&'t str, (Meaning, Location)>,
    /// The previous meaning of each name defined, to be restored.
    log: Vec<(&'t str, Option<(Meaning, Location)>)>,
    /// Values whose scope has ended, with the locations of their definitions. Searched for error messages only.
    ended: Vec<(&'t str, Location)>,
}

impl<'t> Scopes<'t> {
    /// Creates an empty scope with the given capacity.
    pub(super) fn with_capacity(names: usize) -> Self {
        Self { names: HashMap::with_capacity(names), ..Self::default() }
    }

    pub(super) fn mark(&self) -> Mark {
        Mark(self.log.len())
    }

    /// Removes the definitions made since `mark`.
    pub(super) fn back_to(&mut self, mark: Mark) {
        for (name, earlier) in self.log.drain(mark.0..).rev() {
            let last = match earlier {
                Some(earlier) => self.names.insert(name, earlier),
                None => self.names.remove(name),
            };
            if let Some((Meaning::Value(_), place)) = last {
                self.ended.push((name, place));
            }
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<Meaning> {
        self.names.get(name).map(|(meaning, _)| *meaning)
    }

    /// Returns the location where `name` was defined in a scope that has ended.
    pub(super) fn ended(&self, name: &str) -> Option<Location> {
        self.ended.iter().rev().find(|(ended, _)| *ended == name).map(|(_, place)| *place)
    }

    /// Defines `name`. If it is already defined, poisons it and returns the location of the first definition as the
    /// error.
    pub(super) fn define(
        &mut self,
        name: &'t str,
        meaning: Meaning,
        place: Location,
    ) -> Result<(), Location> {
        match self.names.entry(name) {
            Entry::Vacant(entry) => {
                entry.insert((meaning, place));
                self.log.push((name, None));
                Ok(())
            }
            Entry::Occupied(mut entry) => {
                let earlier = *entry.get();
                self.log.push((name, Some(earlier)));
                match earlier {
                    (Meaning::Poison, _) => {
                        entry.insert((meaning, place));
                        Ok(())
                    }
                    (Meaning::Value(_) | Meaning::Memory(_), first) => {
                        entry.insert((Meaning::Poison, first));
                        Err(first)
                    }
                }
            }
        }
    }

    /// Poisons `name`, unless it is already defined.
    pub(super) fn poison(&mut self, name: &'t str, place: Location) {
        if let Entry::Vacant(entry) = self.names.entry(name) {
            entry.insert((Meaning::Poison, place));
            self.log.push((name, None));
        }
    }
}
