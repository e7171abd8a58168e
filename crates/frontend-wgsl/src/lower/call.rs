//! Calls, which are inlined.

use naga::{Expression, Function, Handle};

use super::{Item, Lower, Value};
use crate::refusal::Res;

impl<'m> Lower<'m> {
    /// Lowers a call: the body of the callee, with its result as the value of `result`.
    pub(super) fn call(
        &mut self,
        handle: Handle<Function>,
        arguments: &'m [Handle<Expression>],
        result: Option<Handle<Expression>>,
    ) -> Res<()> {
        let at = self.emit.at;
        let module = self.module;
        let callee = &module.functions[handle];
        let arguments: Vec<Item> =
            arguments.iter().map(|argument| self.item(*argument)).collect::<Res<_>>()?;
        let base = self.slots.len();
        let returned = self.flag()?;
        let slots = match &callee.result {
            Some(result) => {
                let ty = self.ty(result.ty)?;
                let zero = self.zero_value(&ty)?;
                let first = self.slots.len();
                self.slots.extend(zero.leaves.iter());
                Some((ty, first))
            }
            None => None,
        };
        self.push_frame(callee, arguments, returned, slots.clone(), Some(handle))?;
        self.nested(|lower| lower.block(&callee.body))?;
        self.frames.pop();
        self.emit.at = at;
        if let (Some(result), Some((ty, first))) = (result, slots) {
            let leaves = self.slots[first..first + ty.leaves() as usize].into();
            self.frame_mut().cache.insert(result, Item::Value(Value { ty, leaves }));
        }
        self.slots.truncate(base);
        Ok(())
    }
}
