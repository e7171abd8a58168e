//! Uniformity of values: the invocations for which each value is the same.
//!
//! A value is the same in the whole dispatch, in a workgroup or in a subgroup, or it varies. Levels propagate along
//! data flow, and from conditions to the values that they select, until a fixed point. Most kernels need only a few
//! passes in program order; after these, a work list raises each value at most three times, so that the analysis is
//! linear in the size of the kernel.

use fulgurite_spec::{IdOp, MatrixScope, Op, Semantics, Special, SubgroupOp};

use crate::analysis::walk::{Event, Walk, instructions, operands};
use crate::kernel::{BlockId, Control, Inst, InstId, InstKind, Kernel, Terminator, ValueDef, ValueId};

/// The number of passes in program order before the work list is used.
const MAX_PASSES: usize = 4;

/// The uniformity of a value, from most to least uniform.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Uniformity {
    /// The same for every invocation of the dispatch.
    Dispatch,
    /// The same for every invocation of a workgroup.
    Workgroup,
    /// The same for every invocation of a subgroup.
    Subgroup,
    /// May differ between any two invocations.
    Varying,
}

impl Uniformity {
    /// Returns the word in messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dispatch => "dispatch-uniform",
            Self::Workgroup => "workgroup-uniform",
            Self::Subgroup => "subgroup-uniform",
            Self::Varying => "varying",
        }
    }
}

/// The uniformity of every value, with its cause.
#[derive(Clone, Debug)]
pub struct UniformityMap {
    levels: Vec<Uniformity>,
    /// The value that raised a value's level, unless its level is that of its own op.
    causes: Vec<Option<ValueId>>,
}

impl UniformityMap {
    /// Analyzes `kernel`, whose structure the verifier has checked.
    pub fn of(kernel: &Kernel) -> Self {
        let count = kernel.values.len();
        let mut map = Self { levels: vec![Uniformity::Dispatch; count], causes: vec![None; count] };
        let mut caps = vec![Uniformity::Varying; count];
        for id in instructions(kernel) {
            let inst = kernel.inst(id);
            let (level, cap) = limits(kernel, inst);
            for result in &inst.results {
                (map.levels[result.index()], caps[result.index()]) = (level, cap);
            }
        }
        if !(0..MAX_PASSES).any(|_| !map.pass(kernel, &caps)) {
            map.settle(kernel, &caps);
        }
        map
    }

    /// Propagates levels in program order. Returns whether a value that a loop carries changed after its uses.
    fn pass(&mut self, kernel: &Kernel, caps: &[Uniformity]) -> bool {
        let mut changed = false;
        let mut pairs = Vec::new();
        Walk::new(kernel).for_each(|event| {
            let (Event::Inst(id) | Event::Done(id)) = event else { return };
            let inst = kernel.inst(id);
            if let (InstKind::Scalar { operands, .. }, [result]) = (&inst.kind, &*inst.results) {
                // The common case: handled when the instruction begins.
                if matches!(event, Event::Inst(_)) {
                    operands.iter().for_each(|operand| {
                        self.raise(*operand, *result, caps);
                    });
                }
                return;
            }
            let is_loop = inst.kind.control().is_some_and(Control::is_loop);
            // The blocks nested in a loop use the carried values; other instructions define results only when done.
            if matches!(event, Event::Inst(_)) && !is_loop {
                return;
            }
            collect(kernel, id, &mut pairs);
            for (from, to) in pairs.drain(..) {
                let is_carried = || matches!(kernel.value(to).def, ValueDef::BlockParam(..));
                changed |= self.raise(from, to, caps) && matches!(event, Event::Done(_)) && is_carried();
            }
        });
        changed
    }

    /// Propagates levels with a work list until a fixed point.
    fn settle(&mut self, kernel: &Kernel, caps: &[Uniformity]) {
        let edges = Edges::of(kernel);
        let raised = |value: &ValueId| self.levels[value.index()] > Uniformity::Dispatch;
        let mut work: Vec<ValueId> = (0..kernel.values.len()).map(ValueId::new).filter(raised).collect();
        while let Some(value) = work.pop() {
            for user in edges.users(value) {
                if self.raise(value, user, caps) {
                    work.push(user);
                }
            }
        }
    }

    /// Raises the level of `to` to that of `from`, up to its cap. Returns whether it changed.
    fn raise(&mut self, from: ValueId, to: ValueId, caps: &[Uniformity]) -> bool {
        let level = self.levels[from.index()].min(caps[to.index()]);
        let raised = self.levels[to.index()] < level;
        if raised {
            self.levels[to.index()] = level;
            self.causes[to.index()] = Some(from);
        }
        raised
    }

    /// Returns the level of a value.
    pub fn level(&self, value: ValueId) -> Uniformity {
        self.levels[value.index()]
    }

    /// Returns the chain of values from `value` to the origin of its level: each level was raised by the next value.
    pub fn path(&self, value: ValueId) -> Vec<ValueId> {
        let mut path = vec![value];
        let mut current = value;
        while let Some(cause) = self.causes[current.index()] {
            // Causes form no cycle, because levels only rise; the limit is for a map of another kernel.
            if path.len() > self.levels.len() {
                break;
            }
            path.push(cause);
            current = cause;
        }
        path
    }

    /// Returns the least uniform of the values that decide whether or how often an instruction's nested blocks run.
    pub fn deciding_value(&self, kernel: &Kernel, inst: &Inst) -> Option<ValueId> {
        deciding_values(kernel, &inst.kind).into_iter().flatten().max_by_key(|v| self.level(*v))
    }
}

/// Returns the uniformity of a matrix of this scope: it is the same for all invocations that hold it.
pub fn holders(scope: MatrixScope) -> Uniformity {
    match scope {
        MatrixScope::Subgroup => Uniformity::Subgroup,
        MatrixScope::Workgroup => Uniformity::Workgroup,
    }
}

/// Returns the level of an instruction's results before its operands are considered, and the least uniform level that
/// they can have, regardless of the operands.
fn limits(kernel: &Kernel, inst: &Inst) -> (Uniformity, Uniformity) {
    const AS_OPERANDS: (Uniformity, Uniformity) = (Uniformity::Dispatch, Uniformity::Varying);
    match &inst.kind {
        InstKind::Id { op, component } => (id_level(kernel, *op, *component), Uniformity::Varying),
        InstKind::Load { memory, .. } if !kernel.access(*memory).can_write() => AS_OPERANDS,
        InstKind::Load { .. } | InstKind::Atomic { .. } => (Uniformity::Varying, Uniformity::Varying),
        InstKind::WorkgroupBroadcast { .. } => (Uniformity::Workgroup, Uniformity::Workgroup),
        InstKind::Subgroup { op, operands, .. } => match SubgroupOp::of(*op) {
            Some(
                SubgroupOp::Reduce
                | SubgroupOp::Ballot
                | SubgroupOp::BallotCount
                | SubgroupOp::Any
                | SubgroupOp::All,
            ) => (Uniformity::Subgroup, Uniformity::Subgroup),
            Some(
                SubgroupOp::InclusiveScan | SubgroupOp::ExclusiveScan | SubgroupOp::Match | SubgroupOp::Elect,
            ) => (Uniformity::Varying, Uniformity::Varying),
            // A lane out of range returns each invocation's own value; lane 0 always exists.
            Some(SubgroupOp::Broadcast) if is_zero(kernel, operands.get(1)) => {
                (Uniformity::Dispatch, Uniformity::Subgroup)
            }
            // The value of some lane, as uniform as the operand.
            Some(
                SubgroupOp::Broadcast
                | SubgroupOp::Shuffle
                | SubgroupOp::ShuffleXor
                | SubgroupOp::ShuffleUp
                | SubgroupOp::ShuffleDown,
            )
            | None => AS_OPERANDS,
        },
        // The invocations of the scope load the matrix once, together.
        InstKind::CoopLoad { memory, .. } => {
            match inst.results.first().and_then(|r| kernel.ty(*r).matrix).map(|shape| holders(shape.scope)) {
                Some(held) if kernel.access(*memory).can_write() => (held, held),
                Some(held) => (Uniformity::Dispatch, held),
                None => AS_OPERANDS,
            }
        }
        InstKind::Scalar { .. }
        | InstKind::VecShuffle { .. }
        | InstKind::Store { .. }
        | InstKind::Len { .. }
        | InstKind::Fence { .. }
        | InstKind::Barrier { .. }
        | InstKind::SubgroupBarrier { .. }
        | InstKind::CoopStore { .. }
        | InstKind::CoopFill { .. }
        | InstKind::CoopMulAdd { .. }
        | InstKind::CoopConvert { .. }
        | InstKind::Trap { .. }
        | InstKind::If { .. }
        | InstKind::For { .. }
        | InstKind::Region { .. }
        | InstKind::While { .. } => AS_OPERANDS,
    }
}

fn id_level(kernel: &Kernel, op: Op, component: u8) -> Uniformity {
    let alone = kernel.workgroup[usize::from(component).min(2)] == 1;
    let single = kernel.workgroup_invocations() == 1;
    let Some(op) = IdOp::of(op) else { return Uniformity::Varying };
    match op {
        IdOp::NumWorkgroups | IdOp::SubgroupSize | IdOp::NumSubgroups => Uniformity::Dispatch,
        IdOp::WorkgroupId => Uniformity::Workgroup,
        IdOp::GlobalId if alone => Uniformity::Workgroup,
        IdOp::LocalId if alone => Uniformity::Dispatch,
        IdOp::LocalIndex | IdOp::Lane | IdOp::SubgroupId | IdOp::LaneMaskLt if single => Uniformity::Dispatch,
        IdOp::SubgroupId => Uniformity::Subgroup,
        IdOp::GlobalId | IdOp::LocalId | IdOp::LocalIndex | IdOp::Lane | IdOp::LaneMaskLt => {
            Uniformity::Varying
        }
    }
}

fn is_zero(kernel: &Kernel, value: Option<&ValueId>) -> bool {
    value.and_then(|v| kernel.literal(*v)).is_some_and(|l| l.bits == 0)
}

/// Returns the values that decide whether or how often the nested blocks of `kind` run.
fn deciding_values(kernel: &Kernel, kind: &InstKind) -> [Option<ValueId>; 3] {
    match kind.control() {
        Some(Control::If { condition, .. }) => [Some(condition), None, None],
        Some(Control::For { start, end, step, .. }) => [Some(start), Some(end), Some(step)],
        Some(Control::While { header, .. }) => match kernel.block(header).terminator {
            Terminator::Condition(go) => [Some(go), None, None],
            Terminator::Return | Terminator::Yield(_) => [None; 3],
        },
        Some(Control::Region { .. }) | None => [None; 3],
    }
}

/// For each value, the values whose level it raises, as one array indexed by offsets.
struct Edges {
    offsets: Vec<u32>,
    targets: Vec<ValueId>,
}

impl Edges {
    fn of(kernel: &Kernel) -> Self {
        let mut pairs: Vec<(ValueId, ValueId)> = Vec::new();
        instructions(kernel).for_each(|id| collect(kernel, id, &mut pairs));
        let mut offsets = vec![0u32; kernel.values.len() + 1];
        for (from, _) in &pairs {
            offsets[from.index() + 1] += 1;
        }
        for i in 1..offsets.len() {
            offsets[i] += offsets[i - 1];
        }
        let mut next = offsets.clone();
        let mut targets = vec![ValueId::new(0); pairs.len()];
        for (from, to) in pairs {
            let slot = &mut next[from.index()];
            targets[*slot as usize] = to;
            *slot += 1;
        }
        Self { offsets, targets }
    }

    fn users(&self, value: ValueId) -> impl Iterator<Item = ValueId> + '_ {
        let range = self.offsets[value.index()] as usize..self.offsets[value.index() + 1] as usize;
        self.targets[range].iter().copied()
    }
}

fn collect(kernel: &Kernel, id: InstId, pairs: &mut Vec<(ValueId, ValueId)>) {
    let inst = kernel.inst(id);
    let yields = |block: BlockId| match &kernel.block(block).terminator {
        Terminator::Yield(values) => values.clone(),
        Terminator::Return | Terminator::Condition(_) => crate::Operands::EMPTY,
    };
    match &inst.kind {
        InstKind::If { condition, then_block, else_block } => {
            for block in [then_block, else_block] {
                pairs.extend(yields(*block).iter().copied().zip(inst.results.iter().copied()));
            }
            pairs.extend(inst.results.iter().map(|r| (*condition, *r)));
        }
        InstKind::For { initial, body, .. } => {
            // The counter comes first; carried values follow.
            let params = &kernel.block(*body).params;
            for decider in deciding_values(kernel, &inst.kind).into_iter().flatten() {
                pairs.extend(params.iter().chain(&inst.results).map(|to| (decider, *to)));
            }
            carry(params.get(1..).unwrap_or_default(), initial, &yields(*body), &inst.results, pairs);
        }
        InstKind::While { initial, header, body } => {
            let params = &kernel.block(*header).params;
            for decider in deciding_values(kernel, &inst.kind).into_iter().flatten() {
                pairs.extend(params.iter().chain(&inst.results).map(|to| (decider, *to)));
            }
            carry(params, initial, &yields(*body), &inst.results, pairs);
        }
        InstKind::Region { body, .. } => {
            pairs.extend(yields(*body).iter().copied().zip(inst.results.iter().copied()));
        }
        // The lane operand is ignored: a uniform value is the same in every lane, and a varying value has a varying
        // result.
        InstKind::Subgroup { op, operands, .. } if SubgroupOp::of(*op).is_some_and(SubgroupOp::moves) => {
            pairs.extend(operands.first().copied().into_iter().zip(inst.results.iter().copied()))
        }
        InstKind::Scalar { .. }
        | InstKind::VecShuffle { .. }
        | InstKind::Id { .. }
        | InstKind::Load { .. }
        | InstKind::Store { .. }
        | InstKind::Len { .. }
        | InstKind::Atomic { .. }
        | InstKind::Fence { .. }
        | InstKind::Barrier { .. }
        | InstKind::SubgroupBarrier { .. }
        | InstKind::WorkgroupBroadcast { .. }
        | InstKind::Subgroup { .. }
        | InstKind::CoopLoad { .. }
        | InstKind::CoopStore { .. }
        | InstKind::CoopFill { .. }
        | InstKind::CoopMulAdd { .. }
        | InstKind::CoopConvert { .. }
        | InstKind::Trap { .. } => {
            for operand in operands(&inst.kind) {
                pairs.extend(inst.results.iter().map(|r| (operand, *r)));
            }
        }
    }
}

fn carry(
    params: &[ValueId],
    initial: &[ValueId],
    yielded: &[ValueId],
    results: &[ValueId],
    pairs: &mut Vec<(ValueId, ValueId)>,
) {
    for (i, param) in params.iter().enumerate() {
        for source in [initial.get(i), yielded.get(i)].into_iter().flatten() {
            pairs.push((*source, *param));
        }
        if let Some(result) = results.get(i) {
            pairs.push((*param, *result));
        }
    }
}

/// Describes a value in messages: its name or literal, or its definition.
pub(crate) fn describe(kernel: &Kernel, value: ValueId) -> String {
    let data = kernel.value(value);
    if let Some(name) = &data.name {
        return format!("`%{name}`");
    }
    match data.def {
        ValueDef::Const(_) => kernel.literal(value).map_or_else(String::new, |l| format!("`{l}`")),
        ValueDef::Param(id) => format!("`%{}`", kernel.params[id.index()].name),
        ValueDef::Inst(id, _) => format!("the result of `{}`", mnemonic(&kernel.inst(id).kind)),
        ValueDef::BlockParam(..) => "a carried value".to_owned(),
    }
}

/// Returns the name of an instruction in kernel text, with the component of an id.
pub(crate) fn mnemonic(kind: &InstKind) -> String {
    let name = op(kind).mnemonic();
    if let InstKind::Id { op, component } = kind
        && op.info().semantics == Semantics::Special(Special::Id)
    {
        return format!("{name}.{}", ["x", "y", "z"][usize::from(*component).min(2)]);
    }
    name.to_owned()
}

/// Returns the op of an instruction.
pub fn op(kind: &InstKind) -> Op {
    match kind {
        InstKind::Scalar { op, .. }
        | InstKind::Atomic { op, .. }
        | InstKind::Id { op, .. }
        | InstKind::Subgroup { op, .. } => *op,
        InstKind::VecShuffle { .. } => Op::VecShuffle,
        InstKind::Fence { .. } => Op::Fence,
        InstKind::SubgroupBarrier { .. } => Op::SubgroupBarrier,
        InstKind::WorkgroupBroadcast { .. } => Op::WorkgroupBroadcast,
        InstKind::CoopLoad { .. } => Op::CoopLoad,
        InstKind::CoopStore { .. } => Op::CoopStore,
        InstKind::CoopFill { .. } => Op::CoopFill,
        InstKind::CoopMulAdd { .. } => Op::CoopMulAdd,
        InstKind::CoopConvert { .. } => Op::CoopConvert,
        InstKind::Trap { .. } => Op::Trap,
        InstKind::Region { .. } => Op::Region,
        InstKind::Load { .. } => Op::Load,
        InstKind::Store { .. } => Op::Store,
        InstKind::Len { .. } => Op::Len,
        InstKind::Barrier { .. } => Op::Barrier,
        InstKind::If { .. } => Op::If,
        InstKind::For { .. } => Op::For,
        InstKind::While { .. } => Op::While,
    }
}
