//! Structured control flow with carried values.

use std::panic::Location as RustLocation;

use fulgurite_spec::{Code, Literal, Location, ScalarType, Type};

use super::Builder;
use super::types::{Integer, Scalar, ValueType};
use super::value::{Erased, IntoVal, Val};
use crate::kernel::{BlockId, InstKind, Terminator, ValueId};

/// Values carried through a region: none, a value, a matrix, a `Vec` of them or a tuple of up to six.
pub trait Carry<'k>: Sized {
    /// Appends the values in order.
    fn collect(&self, out: &mut Vec<Erased<'k>>);
    /// Returns a value of the same shape made of `ids`, which have the same types in the same order.
    fn rebuild(&self, builder: &'k Builder, ids: &mut Ids) -> Self;
}

/// The ids consumed by [`Carry::rebuild`].
pub struct Ids {
    left: std::vec::IntoIter<ValueId>,
    missing: bool,
}

impl Ids {
    pub(super) fn next(&mut self) -> ValueId {
        self.left.next().unwrap_or_else(|| {
            self.missing = true;
            // Any id will do: the error is reported.
            ValueId::new(0)
        })
    }
}

impl<'k> Carry<'k> for () {
    fn collect(&self, _: &mut Vec<Erased<'k>>) {}

    fn rebuild(&self, _: &'k Builder, _: &mut Ids) -> Self {}
}

impl<'k, T: ValueType> Carry<'k> for Val<'k, T> {
    fn collect(&self, out: &mut Vec<Erased<'k>>) {
        out.push(self.erase());
    }

    fn rebuild(&self, builder: &'k Builder, ids: &mut Ids) -> Self {
        Val::new(builder, ids.next())
    }
}

/// The number of values must be the same in every iteration. Intended for generated kernels.
impl<'k, C: Carry<'k>> Carry<'k> for Vec<C> {
    fn collect(&self, out: &mut Vec<Erased<'k>>) {
        self.iter().for_each(|each| each.collect(out));
    }

    fn rebuild(&self, builder: &'k Builder, ids: &mut Ids) -> Self {
        self.iter().map(|each| each.rebuild(builder, ids)).collect()
    }
}

macro_rules! carry_tuples {
    ($($name:ident)*) => {
        impl<'k, $($name: Carry<'k>),*> Carry<'k> for ($($name,)*) {
            fn collect(&self, out: &mut Vec<Erased<'k>>) {
                #[allow(non_snake_case, reason = "the macro's type names serve as variables")]
                let ($($name,)*) = self;
                $($name.collect(out);)*
            }

            fn rebuild(&self, builder: &'k Builder, ids: &mut Ids) -> Self {
                #[allow(non_snake_case, reason = "the macro's type names serve as variables")]
                let ($($name,)*) = self;
                ($($name.rebuild(builder, ids),)*)
            }
        }
    };
}

carry_tuples!(A);
carry_tuples!(A B);
carry_tuples!(A B C);
carry_tuples!(A B C D);
carry_tuples!(A B C D E);
carry_tuples!(A B C D E F);

impl Builder {
    /// Runs `then` if `condition` is true.
    #[track_caller]
    pub fn if_<'k>(&'k self, condition: Val<'k, bool>, then: impl FnOnce(&'k Builder)) {
        self.branch(condition, || then(self), || (), RustLocation::caller());
    }

    /// Runs `then` if `condition` is true and `otherwise` if not. Returns the values that they yield.
    #[track_caller]
    pub fn if_else<'k, C: Carry<'k>>(
        &'k self,
        condition: Val<'k, bool>,
        then: impl FnOnce(&'k Builder) -> C,
        otherwise: impl FnOnce(&'k Builder) -> C,
    ) -> C {
        self.branch(condition, || then(self), || otherwise(self), RustLocation::caller())
    }

    fn branch<'k, C: Carry<'k>>(
        &'k self,
        condition: Val<'k, bool>,
        then: impl FnOnce() -> C,
        otherwise: impl FnOnce() -> C,
        place: &'static RustLocation<'static>,
    ) -> C {
        let condition = self.state().check(condition.erase(), self, place);
        let (then_block, yielded) = self.block(place, then);
        let (else_block, _) = self.block(place, otherwise);
        let kind = InstKind::If { condition, then_block, else_block };
        let types = self.yielded(then_block);
        self.complete(&yielded, &types, kind, place)
    }

    /// Runs `body` in a region called `name` and returns the values that it yields. The region only records the
    /// origin of its instructions.
    #[track_caller]
    pub fn region<'k, C: Carry<'k>>(&'k self, name: &str, body: impl FnOnce(&'k Builder) -> C) -> C {
        let place = RustLocation::caller();
        let (block, yielded) = self.block(place, || body(self));
        let types = self.yielded(block);
        self.complete(&yielded, &types, InstKind::Region { name: name.into(), body: block }, place)
    }

    /// Runs `body` with a counter that starts at `start` and is incremented by 1 while it is below `end`.
    #[track_caller]
    pub fn for_<'k, T: Integer + Scalar + From<bool>>(
        &'k self,
        start: impl IntoVal<'k, T>,
        end: impl IntoVal<'k, T>,
        body: impl FnOnce(&'k Builder, Val<'k, T>),
    ) {
        let (start, end) = (start.into_val(self), end.into_val(self));
        self.counted(start, end, T::from(true), (), |k, i, ()| body(k, i), RustLocation::caller());
    }

    /// Runs `body` with a counter that starts at `start` and advances by `step` until it reaches or passes `end`.
    /// `body` receives `initial` in the first iteration and the values yielded by the previous one afterwards.
    /// Returns the values after the last iteration. The step must not be 0.
    #[track_caller]
    pub fn for_carry<'k, T: Integer + Scalar, C: Carry<'k>>(
        &'k self,
        start: impl IntoVal<'k, T>,
        end: impl IntoVal<'k, T>,
        step: T,
        initial: C,
        body: impl FnOnce(&'k Builder, Val<'k, T>, C) -> C,
    ) -> C {
        let (start, end) = (start.into_val(self), end.into_val(self));
        self.counted(start, end, step, initial, body, RustLocation::caller())
    }

    fn counted<'k, T: Integer + Scalar, C: Carry<'k>>(
        &'k self,
        start: Val<'k, T>,
        end: Val<'k, T>,
        step: T,
        shape: C,
        body: impl FnOnce(&'k Builder, Val<'k, T>, C) -> C,
        place: &'static RustLocation<'static>,
    ) -> C {
        if step.literal().bits == 0 {
            self.state().report(Code::BadStep, place, "the step of a `for` is 0");
        }
        let mut erased = Vec::new();
        shape.collect(&mut erased);
        let mut state = self.state();
        let start = state.check(start.erase(), self, place);
        let end = state.check(end.erase(), self, place);
        let step = state.constant(step.literal());
        let initial = erased.iter().map(|v| state.check(*v, self, place)).collect();
        let block = state.open();
        let counter = state.block_param(block, T::TYPE);
        let params: Vec<ValueId> = erased.iter().map(|v| state.block_param(block, v.ty)).collect();
        drop(state);
        let carried = self.rebuilt(&shape, params, place);
        let next = body(self, Val::new(self, counter), carried);
        self.close(block, &next, place);
        let types: Vec<Type> = erased.iter().map(|v| v.ty).collect();
        self.complete(&shape, &types, InstKind::For { start, end, step, initial, body: block }, place)
    }

    /// Runs `body` while `condition` is true for the carried values, which start as `shape` and are replaced with the
    /// values that `body` yields. Returns the values for which the condition is false.
    #[track_caller]
    pub fn while_<'k, C: Carry<'k> + Clone>(
        &'k self,
        shape: C,
        condition: impl FnOnce(&'k Builder, C) -> Val<'k, bool>,
        body: impl FnOnce(&'k Builder, C) -> C,
    ) -> C {
        let place = RustLocation::caller();
        let mut erased = Vec::new();
        shape.collect(&mut erased);
        let mut state = self.state();
        let initial = erased.iter().map(|v| state.check(*v, self, place)).collect();
        let header = state.open();
        let params: Vec<ValueId> = erased.iter().map(|v| state.block_param(header, v.ty)).collect();
        drop(state);
        let carried = self.rebuilt(&shape, params, place);
        let go = condition(self, carried.clone());
        let mut state = self.state();
        let go = state.check(go.erase(), self, place);
        state.terminate(header, Terminator::Condition(go), Location::Rust(place));
        drop(state);
        let (block, _) = self.block(place, || body(self, carried));
        self.state().leave();
        let types: Vec<Type> = erased.iter().map(|v| v.ty).collect();
        self.complete(&shape, &types, InstKind::While { initial, header, body: block }, place)
    }

    /// Returns the types of the values that `block` yields.
    fn yielded(&self, block: BlockId) -> Vec<Type> {
        let state = self.state();
        match &state.kernel.block(block).terminator {
            Terminator::Yield(values) => values.iter().map(|v| state.kernel.ty(*v)).collect(),
            Terminator::Return | Terminator::Condition(_) => Vec::new(),
        }
    }

    /// Adds a control instruction with results of `types` and returns them in the shape of `like`. The verifier
    /// reports blocks that yield other types.
    fn complete<'k, C: Carry<'k>>(
        &'k self,
        like: &C,
        types: &[Type],
        kind: InstKind,
        place: &'static RustLocation<'static>,
    ) -> C {
        let results = self.state().inst(kind, types, Location::Rust(place));
        self.rebuilt(like, results, place)
    }

    /// Returns a value of the shape of `like` made of `ids`.
    fn rebuilt<'k, C: Carry<'k>>(
        &'k self,
        like: &C,
        ids: Vec<ValueId>,
        place: &'static RustLocation<'static>,
    ) -> C {
        let mut ids = Ids { left: ids.into_iter(), missing: false };
        let made = like.rebuild(self, &mut ids);
        if ids.missing || ids.left.next().is_some() {
            let message = "a `Carry` is rebuilt from another number of values than it collects";
            let mut state = self.state();
            state.report(Code::BadCarry, place, message);
            // `Ids::next` returns value 0 for a missing id, so a value 0 must exist.
            state.constant(Literal::new(ScalarType::U32, 0));
        }
        made
    }
}
