//! What instructions say in brackets after their op.

use fulgurite_spec::{Op, ScalarType, TypeSet};

/// Which memory a barrier orders, besides execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MemoryScopes {
    /// Shared memory.
    pub shared: bool,
    /// Buffers.
    pub buffers: bool,
}

impl MemoryScopes {
    /// Shared memory and buffers: what a bare `barrier` orders.
    pub const ALL: MemoryScopes = MemoryScopes { shared: true, buffers: true };
}

fulgurite_spec::numbered_words! {
    /// What an atomic op or a fence orders besides its own access, as in the Vulkan memory model.
    AtomicOrder {
        /// Nothing.
        Relaxed 0 "relaxed",
        /// What follows sees what was released to it.
        Acquire 1 "acquire",
        /// What came before is seen by who acquires it.
        Release 2 "release",
        /// Both.
        AcquireRelease 3 "acquire_release",
    }
    /// Among which invocations.
    SyncScope {
        /// Those of one workgroup.
        Workgroup 0 "workgroup",
        /// Those of the launch.
        Device 1 "device",
    }
    /// How `subgroup.reduce` and the scans combine values.
    Combine {
        /// Sum.
        Add 1 "add",
        /// Product.
        Mul 2 "mul",
        /// The smallest.
        Min 3 "min",
        /// The largest.
        Max 4 "max",
        /// Bitwise and; integers only.
        And 5 "and",
        /// Bitwise or; integers only.
        Or 6 "or",
        /// Bitwise exclusive or; integers only.
        Xor 7 "xor",
    }
    /// How exact a float op must be.
    FloatMode {
        /// As the op table says.
        Default 0 "default",
        /// Contraction, reassociation and approximation are allowed.
        Fast 1 "fast",
        /// `fma` only: rounded once.
        Exact 2 "exact",
    }
}

impl AtomicOrder {
    /// Whether it acquires.
    pub const fn acquires(self) -> bool {
        matches!(self, Self::Acquire | Self::AcquireRelease)
    }

    /// Whether it releases.
    pub const fn releases(self) -> bool {
        matches!(self, Self::Release | Self::AcquireRelease)
    }

    /// Whether atomic `op` may have this order.
    pub fn fits(self, op: Op) -> bool {
        match op {
            Op::AtomicLoad => !self.releases(),
            Op::AtomicStore => !self.acquires(),
            _ => true,
        }
    }
}

impl Combine {
    /// The op of the table that combines two values.
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

    /// The types that it combines.
    pub const fn domain(self) -> TypeSet {
        match self {
            Self::Add | Self::Mul | Self::Min | Self::Max => TypeSet::NUMERIC,
            Self::And | Self::Or | Self::Xor => TypeSet::INTEGER,
        }
    }

    /// The bits of the value that combined with another gives that other: what an exclusive scan begins with.
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
