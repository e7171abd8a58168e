//! Attributes written in brackets after an op: the accuracy of float ops, and `vec.shuffle`.

use std::panic::Location as RustLocation;

use fulgurite_spec::{Code, Location, Op};

use super::types::{Float, ValueType, Vector};
use super::value::{IntoVal, Val};
use crate::kernel::{FloatMode, InstKind, ValueDef};
use crate::verify::shuffle_result;

impl<'k, T: ValueType> Val<'k, T> {
    /// Sets the accuracy of the scalar op that defines this value. Reports an error if another op or none defines it.
    fn with_mode(self, mode: FloatMode, place: &'static RustLocation<'static>) -> Self {
        let mut state = self.builder().state();
        let id = state.check(self.erase(), self.builder(), place);
        let def = state.kernel.value(id).def;
        if let ValueDef::Inst(inst, _) = def
            && let InstKind::Scalar { mode: known, .. } = &mut state.kernel.insts[inst.index()].kind
        {
            *known = mode;
        } else {
            let message = format!("only what a float op has just given can be `{}`", mode.name());
            state.report(Code::BuilderMisuse, place, message);
        }
        drop(state);
        self
    }

    /// Allows contraction, reassociation and approximation of the op that defines this value, which must be a float
    /// op.
    #[must_use]
    #[track_caller]
    pub fn fast(self) -> Self {
        self.with_mode(FloatMode::Fast, RustLocation::caller())
    }
}

impl<'k, T: Float> Val<'k, T> {
    /// Returns `self * factor + addend` with a single rounding, on devices that support it.
    #[track_caller]
    pub fn mul_add_exact(self, factor: impl IntoVal<'k, T>, addend: impl IntoVal<'k, T>) -> Self {
        let place = RustLocation::caller();
        let operands =
            [self.erase(), factor.into_val(self.builder()).erase(), addend.into_val(self.builder()).erase()];
        self.builder().apply::<T>(Op::Fma, &operands, place).with_mode(FloatMode::Exact, place)
    }
}

impl<'k, T: Vector> Val<'k, T> {
    /// Returns the components at `positions` of the concatenation of this vector and `other`. Positions out of range
    /// are reported as errors of the kernel.
    #[track_caller]
    pub fn shuffle<U: Vector<Component = T::Component>>(
        self,
        other: impl IntoVal<'k, T>,
        positions: &[u8],
    ) -> Val<'k, U> {
        let place = RustLocation::caller();
        let other = other.into_val(self.builder());
        let mut state = self.builder().state();
        let vectors = [self, other].map(|v| state.check(v.erase(), self.builder(), place));
        match shuffle_result(positions, T::TYPE, T::TYPE) {
            Ok(ty) if ty == U::TYPE => {}
            Ok(ty) => {
                state.report(Code::BadAttribute, place, format!("these positions give {ty}, not {}", U::TYPE))
            }
            Err(problem) => state.report(problem.code, place, problem.to_string()),
        }
        let kind = InstKind::VecShuffle { components: positions.into(), vectors };
        let id = state.single(kind, U::TYPE, Location::Rust(place));
        drop(state);
        Val::new(self.builder(), id)
    }
}
