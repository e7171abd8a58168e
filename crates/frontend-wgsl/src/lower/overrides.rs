//! Values of overrides, and what depends on them: the workgroup size and lengths of arrays.

use fulgurite_spec::{Code, Diagnostic, Literal, Location, Op, ScalarType, eval};
use naga::{EntryPoint, Handle, Override};

use super::{Lower, Value};
use crate::refusal::{Refusal, Res, internal};
use crate::types::Ty;

fn bad(at: Location, message: String, fix: String) -> Refusal {
    Box::new(Diagnostic::new(Code::BadWgslOverride, at, message).with_fix(fix))
}

impl Lower<'_> {
    /// Returns the value of an override: the one given, or its default.
    pub(super) fn override_value(&mut self, handle: Handle<Override>) -> Res<Value> {
        let module = self.module;
        let declared = &module.overrides[handle];
        let at = self.source.place(module.overrides.get_span(handle));
        let name = declared.id.map(|id| id.to_string()).or_else(|| declared.name.clone());
        let given = name.as_ref().and_then(|name| self.overrides.get(name).copied());
        let shown = declared.name.clone().or(name.clone()).unwrap_or_else(|| "expression".to_owned());
        let ty = self.ty(declared.ty)?;
        let Ty::Leaf { ty, .. } = *ty else {
            return Err(internal(at, "override that is no scalar"));
        };
        if let Some(given) = given {
            let Some(literal) = literal(ty.scalar, given) else {
                let message = format!("value {given} of override `{shown}` does not fit {ty}");
                return Err(bad(at, message, format!("Give a finite value in the range of {ty}.")));
            };
            let leaf = self.emit.constant(literal);
            return Ok(self.wrap(leaf));
        }
        match declared.init {
            Some(init) => self.constant_expression(init),
            None => {
                let option = name.unwrap_or_default();
                let fix =
                    format!("Give it one, such as `--override {option}=1`, or a default in the shader.");
                Err(bad(at, format!("override `{shown}` has no value"), fix))
            }
        }
    }

    /// Returns the length of an array that an override states.
    pub(super) fn override_length(&mut self, handle: Handle<Override>) -> Res<u32> {
        let value = self.override_value(handle)?;
        let leaf = self.only(&value)?;
        self.count_of(leaf, "array length")
    }

    /// Sets the size of the workgroup from overrides, if they state it.
    pub(super) fn set_workgroup(&mut self, entry: &EntryPoint) -> Res<()> {
        let Some(sizes) = entry.workgroup_size_overrides else { return Ok(()) };
        for (axis, size) in sizes.into_iter().enumerate() {
            if let Some(size) = size {
                let value = self.constant_expression(size)?;
                let leaf = self.only(&value)?;
                self.emit.kernel.workgroup[axis] = self.count_of(leaf, "workgroup size")?;
            }
        }
        Ok(())
    }

    /// Returns the value of a constant that must be at least 1.
    fn count_of(&mut self, leaf: fulgurite_ir::ValueId, what: &str) -> Res<u32> {
        let at = self.emit.at;
        let Some(literal) = self.emit.kernel.literal(leaf) else {
            return Err(bad(
                at,
                format!("{what} depends on an override in a way that is not evaluated"),
                "State it by integers only.".to_owned(),
            ));
        };
        let value =
            if literal.ty.is_signed() { i64::from(literal.bits as u32 as i32) } else { literal.bits as i64 };
        u32::try_from(value).ok().filter(|count| *count > 0).ok_or_else(|| {
            let message = format!("{what} is {value} with these overrides");
            bad(at, message, "Give overrides for which it is at least 1.".to_owned())
        })
    }
}

/// Returns a number as a literal, if it is finite and in the range of the type. The fraction of an integer is dropped,
/// and `bool` is false for zero only.
fn literal(ty: ScalarType, value: f64) -> Option<Literal> {
    if ty == ScalarType::Bool {
        return Some(Literal::new(ty, u64::from(value != 0.0)));
    }
    let bits = eval::scalar(Op::Convert, ScalarType::F64, ty, &[value.to_bits()])?;
    let back = f64::from_bits(eval::scalar(Op::Convert, ty, ScalarType::F64, &[bits])?);
    // An integer saturates and a float becomes infinite if the value is out of range.
    let fits = value.is_finite() && back.is_finite() && (ty.is_float() || back == value.trunc());
    fits.then(|| Literal::new(ty, bits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_fit_their_type_or_are_refused() {
        let bits = |ty, value| literal(ty, value).map(|l| l.bits);
        assert_eq!(bits(ScalarType::U32, 4294967295.0), Some(0xffff_ffff));
        assert_eq!(bits(ScalarType::U32, 4294967296.0), None);
        assert_eq!(bits(ScalarType::U32, -1.0), None);
        assert_eq!(bits(ScalarType::I32, -7.9), Some(0xffff_fff9));
        assert_eq!(bits(ScalarType::F32, 0.5), Some(0x3f00_0000));
        assert_eq!(bits(ScalarType::F16, 1e6), None);
        assert_eq!(bits(ScalarType::F32, f64::NAN), None);
        assert_eq!((bits(ScalarType::Bool, 0.0), bits(ScalarType::Bool, -2.0)), (Some(0), Some(1)));
    }
}
