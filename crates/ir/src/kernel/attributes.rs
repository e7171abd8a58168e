//! Attributes of instructions, written in brackets after the op.

use fulgurite_spec::{AtomicOp, Op, ScalarType, TypeSet};

/// The memory that a barrier orders in addition to execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MemoryScopes {
    /// Shared memory.
    pub shared: bool,
    /// Buffers.
    pub buffers: bool,
}

impl MemoryScopes {
    /// Shared memory and buffers, the default of `barrier`.
    pub const ALL: MemoryScopes = MemoryScopes { shared: true, buffers: true };
}

fulgurite_spec::numbered_words! {
    /// The memory order of an atomic op or fence, as in the Vulkan memory model.
    AtomicOrder {
        /// No ordering of other accesses.
        Relaxed 0 "relaxed",
        /// Later accesses observe writes released to this operation.
        Acquire 1 "acquire",
        /// Earlier writes are visible to an operation that acquires from this one.
        Release 2 "release",
        /// Acquire and release.
        AcquireRelease 3 "acquire_release",
    }
    /// The set of invocations that an atomic op or fence synchronizes.
    SyncScope {
        /// Invocations of the workgroup.
        Workgroup 0 "workgroup",
        /// Invocations of the launch.
        Device 1 "device",
    }
    /// The operation of `subgroup.reduce` and the scans.
    Combine {
        /// Sum.
        Add 1 "add",
        /// Product.
        Mul 2 "mul",
        /// Minimum.
        Min 3 "min",
        /// Maximum.
        Max 4 "max",
        /// Bitwise and, for integers only.
        And 5 "and",
        /// Bitwise or, for integers only.
        Or 6 "or",
        /// Bitwise exclusive or, for integers only.
        Xor 7 "xor",
    }
    /// The accuracy of a float op.
    FloatMode {
        /// The accuracy in the op table.
        Default 0 "default",
        /// Contraction, reassociation and approximation are allowed.
        Fast 1 "fast",
        /// A single rounding, for `fma` only.
        Exact 2 "exact",
    }
}

impl AtomicOrder {
    /// Returns whether the order includes acquire.
    pub const fn acquires(self) -> bool {
        matches!(self, Self::Acquire | Self::AcquireRelease)
    }

    /// Returns whether the order includes release.
    pub const fn releases(self) -> bool {
        matches!(self, Self::Release | Self::AcquireRelease)
    }

    /// Returns whether atomic op `op` allows this order.
    pub fn fits(self, op: Op) -> bool {
        match AtomicOp::of(op) {
            Some(AtomicOp::Load) => !self.releases(),
            Some(AtomicOp::Store) => !self.acquires(),
            Some(
                AtomicOp::Add
                | AtomicOp::Min
                | AtomicOp::Max
                | AtomicOp::And
                | AtomicOp::Or
                | AtomicOp::Xor
                | AtomicOp::Exchange
                | AtomicOp::CompareExchange,
            )
            | None => true,
        }
    }
}

impl Combine {
    /// Returns the op of the op table that combines two values.
    pub const fn op(self) -> Op {
        match self {
            Self::Add => Op::Add,
            Self::Mul => Op::Mul,
            Self::Min => Op::Min,
            Self::Max => Op::Max,
            Self::And => Op::And,
            Self::Or => Op::Or,
            Self::Xor => Op::Xor,
        }
    }

    /// Returns the scalar types that it combines.
    pub const fn domain(self) -> TypeSet {
        match self {
            Self::Add | Self::Mul | Self::Min | Self::Max => TypeSet::NUMERIC,
            Self::And | Self::Or | Self::Xor => TypeSet::INTEGER,
        }
    }

    /// Returns the bits of the identity element, which is the first value of an exclusive scan.
    pub fn identity(self, ty: ScalarType) -> u64 {
        let ones = fulgurite_spec::Literal::new(ty, u64::MAX).bits;
        let scalar = |op: Op, from: ScalarType, args: &[u64]| {
            fulgurite_spec::eval::scalar(op, from, ty, args).unwrap_or(0)
        };
        let one = scalar(Op::Convert, ScalarType::U32, &[1]);
        // 1 / 0 is infinity for floats.
        let infinity = || scalar(Op::Div, ty, &[one, 0]);
        let signed = TypeSet::SIGNED.contains(ty);
        match self {
            Self::Add | Self::Or | Self::Xor => 0,
            Self::And => ones,
            Self::Mul => one,
            Self::Min if ty.is_float() => infinity(),
            Self::Max if ty.is_float() => scalar(Op::Neg, ty, &[infinity()]),
            Self::Min => ones >> u32::from(signed),
            Self::Max => {
                if signed {
                    (ones >> 1) + 1
                } else {
                    0
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_change_nothing() {
        for combine in Combine::ALL {
            for ty in combine.domain().iter() {
                let apply = |a, b| fulgurite_spec::eval::scalar(combine.op(), ty, ty, &[a, b]);
                let identity = combine.identity(ty);
                let one = fulgurite_spec::eval::scalar(Op::Convert, ScalarType::U32, ty, &[1]).unwrap_or(0);
                for value in
                    [0, one, Combine::And.identity(ty), Combine::Min.identity(ty), Combine::Max.identity(ty)]
                {
                    if ty.is_float()
                        && fulgurite_spec::eval::scalar(Op::Ne, ty, ScalarType::Bool, &[value, value])
                            == Some(1)
                    {
                        continue;
                    }
                    assert_eq!(apply(identity, value), Some(value), "{combine:?} {ty} {value:#x}");
                }
            }
        }
    }
}
