//! Outputs of calls, as the caller's vectors or new ones.

use std::any::Any;
use std::fmt;

use fulgurite_hal::{Error, LaunchReport};
use fulgurite_runtime::{Called, HostMemory};
use fulgurite_spec::{Code, Type};

use crate::buffer::{Element, resize};

/// A vector that an output can be copied to: `Vec<T>` of any [`Element`].
pub trait OutputVec: memory::Memory {}

impl<T: Element> OutputVec for Vec<T> {}

mod memory {
    use super::*;

    /// Operations on a vector whose element type is not known.
    pub trait Memory: Send {
        fn element(&self) -> Type;
        fn capacity(&self) -> u64;
        fn resize(&mut self, bytes: u64) -> Result<&mut [u8], Error>;
        fn into_any(self: Box<Self>) -> Box<dyn Any>;
    }

    impl<T: Element> Memory for Vec<T> {
        fn element(&self) -> Type {
            T::TYPE
        }

        fn capacity(&self) -> u64 {
            (self.capacity() as u64).saturating_mul(size_of::<T>() as u64)
        }

        fn resize(&mut self, bytes: u64) -> Result<&mut [u8], Error> {
            resize(self, bytes)?;
            Ok(bytemuck::cast_slice_mut(self))
        }

        fn into_any(self: Box<Self>) -> Box<dyn Any> {
            self
        }
    }
}

/// A vector of the caller.
pub(super) struct Lent<'v>(pub(super) &'v mut dyn OutputVec);

impl HostMemory for Lent<'_> {
    fn capacity(&self) -> u64 {
        self.0.capacity()
    }

    fn resize(&mut self, bytes: u64) -> Result<&mut [u8], Error> {
        self.0.resize(bytes)
    }
}

/// A vector created for an output.
pub(super) struct Output(Box<dyn OutputVec>);

impl Output {
    pub(super) fn new<T: Element>() -> Self {
        Self(Box::new(Vec::<T>::new()))
    }

    pub(super) fn element(&self) -> Type {
        self.0.element()
    }
}

impl HostMemory for Output {
    fn capacity(&self) -> u64 {
        self.0.capacity()
    }

    fn resize(&mut self, bytes: u64) -> Result<&mut [u8], Error> {
        self.0.resize(bytes)
    }
}

pub(super) fn given_for(output: usize, stated: Type, given: Type) -> Result<(), Error> {
    if stated == given {
        return Ok(());
    }
    let message = format!("output {output} is of {stated}, got a vector of {given}");
    Err(Error::invalid(Code::WrongArgumentType, message))
}

/// The outputs of a call: one for each [`output`](super::Call::output) and [`in_out`](super::Call::in_out), numbered
/// from 0.
#[derive(Debug)]
pub struct Outputs {
    outputs: Vec<Option<Output>>,
    report: LaunchReport,
}

impl Outputs {
    pub(super) fn new(called: Called<Output>, timed: bool) -> Result<Self, Error> {
        if timed {
            called.report.measured()?;
        }
        Ok(Self { outputs: called.outputs.into_iter().map(Some).collect(), report: called.report })
    }

    /// Takes output `index`, of elements `T`: `u8` for bytes.
    ///
    /// # Errors
    /// `FG0502` if its elements are of another type, `FG0501` if it does not exist or was taken.
    pub fn take<T: Element>(&mut self, index: usize) -> Result<Vec<T>, Error> {
        let count = self.outputs.len();
        let slot = self.outputs.get_mut(index);
        let Some((slot, element)) =
            slot.and_then(|slot| slot.as_ref().map(Output::element).map(|e| (slot, e)))
        else {
            let message = format!("output {index} of {count} is not there, or was taken");
            return Err(Error::invalid(Code::WrongArgumentCount, message));
        };
        given_for(index, element, T::TYPE)?;
        let taken = slot.take().and_then(|output| output.0.into_any().downcast::<Vec<T>>().ok());
        taken.map(|vec| *vec).ok_or_else(|| Error::Internal(format!("output {index} is no {}", T::TYPE)))
    }

    /// Returns the number of outputs, including those taken.
    pub fn len(&self) -> usize {
        self.outputs.len()
    }

    /// Returns whether there are no outputs.
    pub fn is_empty(&self) -> bool {
        self.outputs.is_empty()
    }

    /// Returns the report of the launch.
    pub fn report(&self) -> LaunchReport {
        self.report
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "output of {}", self.element())
    }
}
