//! Agreement of results: the buffers of a kernel whose contents the op table does not fix, and comparison of two
//! contents.

use std::fmt;

use fulgurite_ir::analysis::{Event, Walk, operands};
use fulgurite_ir::{
    BlockId, Combine, Control, FloatMode, Inst, InstKind, Kernel, Memory, Terminator, ValueId,
};
use fulgurite_spec::device::{Capability, DeviceSnapshot};
use fulgurite_spec::eval::float::FloatFormat;
use fulgurite_spec::{AtomicOp, FloatContract, IdOp, Op, ScalarType, Semantics, Type, TypeSet};

/// The reason why results may differ: an op, or the treatment of subnormals.
type Reason = &'static str;

/// Subnormals are not kept by every device, so that an op on floats may take or give a zero of the same sign.
const SUBNORMALS: Reason = "subnormals";

/// Returns the float types whose subnormals a device promises to keep; `bf16` is computed in `f32`.
pub fn kept_subnormals(device: &DeviceSnapshot) -> TypeSet {
    let kept = [
        (Capability::SubnormalsF16, ScalarType::F16),
        (Capability::SubnormalsF32, ScalarType::F32),
        (Capability::SubnormalsF32, ScalarType::BF16),
        (Capability::SubnormalsF64, ScalarType::F64),
    ];
    let types = kept.into_iter().filter(|(capability, _)| device.has(*capability));
    types.fold(TypeSet::EMPTY, |set, (_, ty)| set.union(TypeSet::of(ty)))
}

/// The buffers of a kernel whose contents the op table does not fix: those that depend, by values or by the control
/// flow around a store, on a result that is not fixed to the bit. In all others, results differ at most in the bits
/// of NaNs.
///
/// The order of stores by several invocations to one element is not considered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Freedom {
    buffers: Vec<(Type, Option<Reason>)>,
}

impl Freedom {
    /// Returns the freedom of `kernel` on devices that keep the subnormals of `kept`.
    pub fn of(kernel: &Kernel, kept: TypeSet) -> Self {
        // What an op leaves open is the better reason.
        let [by_ops, by_all] = [TypeSet::FLOAT, kept].map(|kept| {
            let mut flow = Flow::new(kernel, kept);
            while flow.pass() {}
            flow.buffers
        });
        let reasons = kernel.buffers.iter().zip(by_ops.iter().zip(&by_all));
        let buffers = reasons.map(|(declared, (by_ops, by_all))| {
            // Bits of a NaN that the host sees as an integer.
            let nans = by_ops.nans.filter(|_| !declared.element.scalar.is_float());
            (declared.element, by_ops.reason.or(nans).or(by_all.reason))
        });
        Self { buffers: buffers.collect() }
    }

    /// Compares two contents of a buffer. All NaNs are equal. Subnormals that are not kept excuse the differences
    /// they can cause: between floats of which one is subnormal, is not finite, or is so small that a subnormal
    /// addend changes it.
    pub fn compare(&self, buffer: usize, wanted: &[u8], got: &[u8]) -> Agreement {
        let Some((ty, reason)) = self.buffers.get(buffer) else { return Agreement::Equal };
        let size = ty.scalar.size().max(1) as usize;
        let mut apart = Apart { of: wanted.len() / size, ..Apart::default() };
        if wanted.len() != got.len() {
            let first = wanted.len().min(got.len()) / size;
            return Agreement::Wrong(Apart {
                elements: wanted.len().abs_diff(got.len()) / size,
                first,
                ..apart
            });
        }
        let format = FloatFormat::of(ty.scalar);
        let mut excused = true;
        for (at, (wanted, got)) in wanted.chunks_exact(size).zip(got.chunks_exact(size)).enumerate() {
            let (wanted, got) = (bits(wanted), bits(got));
            let nan = |bits: u64| format.is_some_and(|format| format.is_nan(bits));
            if wanted == got || (nan(wanted) && nan(got)) {
                continue;
            }
            if let (Some(format), Some(SUBNORMALS)) = (format, *reason) {
                let counts = |bits: u64| {
                    let magnitude = format.decode(bits).abs();
                    // Zeros at the end of an infinity are the bits of a significand.
                    let reach = f64::from(format.infinity().trailing_zeros() + 2).exp2();
                    !magnitude.is_finite() || magnitude < format.min_normal() * reach
                };
                excused &= counts(wanted) || counts(got);
            }
            apart.first = if apart.elements == 0 { at } else { apart.first };
            apart.elements += 1;
            apart.units = apart.units.max(match format {
                Some(_) if nan(wanted) || nan(got) => u64::MAX,
                Some(format) => ordinal(format, wanted).abs_diff(ordinal(format, got)),
                None => wanted.abs_diff(got),
            });
        }
        match (apart.elements, reason) {
            (0, _) => Agreement::Equal,
            (_, Some(reason)) if excused => Agreement::Allowed(apart, reason),
            _ => Agreement::Wrong(apart),
        }
    }
}

fn bits(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |bits, byte| bits << 8 | u64::from(*byte))
}

/// Returns the ordinal of a number within its format: neighbors differ by one, and both zeros are equal.
fn ordinal(format: FloatFormat, bits: u64) -> i64 {
    let magnitude = (bits & !format.sign_bit()).cast_signed();
    if bits & format.sign_bit() == 0 { magnitude } else { -magnitude }
}

/// The result of comparing two contents of a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Agreement {
    /// All elements are equal or both NaN.
    Equal,
    /// Some elements differ, which the op table allows for the given reason: an op's mnemonic, or `subnormals`.
    Allowed(Apart, &'static str),
    /// Some elements differ that must not.
    Wrong(Apart),
}

/// The extent of the difference between two contents of a buffer, in components.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Apart {
    /// The number of components that differ.
    pub elements: usize,
    /// The total number of components.
    pub of: usize,
    /// The index of the first component that differs.
    pub first: usize,
    /// The largest difference. For floats it is the distance in representable numbers, [`u64::MAX`] if one of them is
    /// NaN.
    pub units: u64,
}

impl fmt::Display for Apart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { elements, of, first, units } = self;
        write!(f, "{elements} of {of} differ, the first at {first}")?;
        match units {
            0 => Ok(()),
            &u64::MAX => write!(f, ", some of them NaN in one only"),
            units => write!(f, ", by {units} units in the last place at most"),
        }
    }
}

/// The facts about a buffer or array.
#[derive(Clone, Copy, Default)]
struct Place {
    reason: Option<Reason>,
    /// The op that stored floats, whose NaNs may have any bits.
    nans: Option<Reason>,
    /// The atomic op that changes it; two different kinds do not commute.
    atomic: Option<Op>,
}

struct Flow<'a> {
    kernel: &'a Kernel,
    kept: TypeSet,
    values: Vec<Option<Reason>>,
    buffers: Vec<Place>,
    shared: Vec<Place>,
    locals: Vec<Place>,
    changed: bool,
}

impl<'a> Flow<'a> {
    fn new(kernel: &'a Kernel, kept: TypeSet) -> Self {
        Self {
            kernel,
            kept,
            values: vec![None; kernel.values.len()],
            buffers: vec![Place::default(); kernel.buffers.len()],
            shared: vec![Place::default(); kernel.shared.len()],
            locals: vec![Place::default(); kernel.locals.len()],
            changed: false,
        }
    }

    fn place(&mut self, memory: Memory) -> Option<&mut Place> {
        match self.kernel.base(memory) {
            Memory::Buffer(id) => self.buffers.get_mut(id.index()),
            Memory::Shared(id) => self.shared.get_mut(id.index()),
            Memory::Local(id) => self.locals.get_mut(id.index()),
            Memory::View(_) => None,
        }
    }

    fn value(&self, id: ValueId) -> Option<Reason> {
        self.values.get(id.index()).copied().flatten()
    }

    fn any(&self, ids: &[ValueId]) -> Option<Reason> {
        ids.iter().find_map(|id| self.value(*id))
    }

    fn taint(&mut self, id: ValueId, reason: Option<Reason>) {
        if let (Some(slot @ None), Some(_)) = (self.values.get_mut(id.index()), reason) {
            *slot = reason;
            self.changed = true;
        }
    }

    fn taint_place(&mut self, memory: Memory, reason: Option<Reason>) {
        if let Some(place) = self.place(memory)
            && place.reason.is_none()
            && reason.is_some()
        {
            place.reason = reason;
            self.changed = true;
        }
    }

    /// Makes one pass over the kernel. Returns whether facts changed.
    fn pass(&mut self) -> bool {
        self.changed = false;
        // What decides whether the blocks that are entered are run, each with the instruction that it belongs to.
        let mut control: Vec<Option<Reason>> = vec![None];
        let kernel = self.kernel;
        for event in Walk::new(kernel) {
            match event {
                Event::Enter(_) | Event::Exit(_) => {}
                Event::Inst(id) => {
                    let inst = kernel.inst(id);
                    let outer = control.last().copied().flatten();
                    let inner = self.inst(inst, outer);
                    control.push(inner);
                }
                Event::Done(id) => {
                    control.pop();
                    self.done(kernel.inst(id));
                }
            }
        }
        self.changed
    }

    fn block_yields(&self, block: BlockId) -> &'a [ValueId] {
        match &self.kernel.block(block).terminator {
            Terminator::Yield(values) => values,
            Terminator::Return | Terminator::Condition(_) => &[],
        }
    }

    /// Enters an instruction under the control of `outer` and returns the control of its blocks.
    fn inst(&mut self, inst: &Inst, outer: Option<Reason>) -> Option<Reason> {
        let read = operands(&inst.kind).find_map(|id| self.value(id));
        match &inst.kind {
            InstKind::Scalar { .. } => {
                let reason = read.or_else(|| self.scalar(inst));
                self.results(inst, reason);
            }
            InstKind::Load { memory, .. } | InstKind::CoopLoad { memory, .. } => {
                let element = self.kernel.element(*memory).scalar;
                let (reason, nans) = self.place(*memory).map_or((None, None), |p| (p.reason, p.nans));
                let nans = nans.filter(|_| !element.is_float());
                let reason = read.or(reason).or(nans).or_else(|| self.flushed(element));
                self.results(inst, reason);
            }
            InstKind::Store { memory, .. } | InstKind::CoopStore { memory, .. } => {
                let element = self.kernel.element(*memory).scalar;
                let reason = read.or(outer).or_else(|| self.flushed(element));
                self.taint_place(*memory, reason);
                if element.is_float()
                    && let Some(place) = self.place(*memory)
                    && place.nans.is_none()
                {
                    place.nans = Some(Op::Store.info().mnemonic);
                    self.changed = true;
                }
            }
            InstKind::Atomic { op, memory, .. } => self.atomic(inst, *op, *memory, read.or(outer)),
            InstKind::Subgroup { op, combine, .. } => {
                let float = inst.results.first().is_some_and(|id| self.kernel.ty(*id).scalar.is_float());
                let free = float && matches!(combine, Some(Combine::Add | Combine::Mul));
                // How many lanes a subgroup has is the device's choice.
                let reason = if free { Some(op.info().mnemonic) } else { read.or(Some(op.info().mnemonic)) };
                self.results(inst, reason);
            }
            InstKind::Id { op, .. } => {
                let sees_subgroups = IdOp::of(*op).is_some_and(IdOp::sees_subgroups);
                self.results(inst, sees_subgroups.then_some(op.info().mnemonic));
            }
            InstKind::CoopMulAdd { c, .. } => {
                let float = self.kernel.ty(*c).scalar.is_float();
                self.results(inst, read.or(float.then_some(Op::CoopMulAdd.info().mnemonic)));
            }
            InstKind::If { condition, .. } => return outer.or_else(|| self.value(*condition)),
            InstKind::For { start, end, step, initial, body } => {
                let trips = self.any(&[*start, *end, *step]);
                self.carry(*body, 1, initial, trips);
                if let Some(counter) = self.kernel.block(*body).params.first() {
                    self.taint(*counter, trips);
                }
                return outer.or(trips);
            }
            InstKind::While { initial, header, body } => {
                let condition = match self.kernel.block(*header).terminator {
                    Terminator::Condition(id) => self.value(id),
                    _ => None,
                };
                self.carry(*header, 0, initial, condition);
                for (param, next) in
                    self.kernel.block(*header).params.clone().iter().zip(self.block_yields(*body))
                {
                    let reason = self.value(*next);
                    self.taint(*param, reason);
                }
                return outer.or(condition);
            }
            InstKind::Region { .. } => return outer,
            InstKind::VecShuffle { .. }
            | InstKind::Len { .. }
            | InstKind::Fence { .. }
            | InstKind::Barrier { .. }
            | InstKind::SubgroupBarrier { .. }
            | InstKind::WorkgroupBroadcast { .. }
            | InstKind::CoopFill { .. }
            | InstKind::CoopConvert { .. }
            | InstKind::Trap { .. } => self.results(inst, read),
        }
        outer
    }

    /// Updates the carried values of a loop whose trip count depends on `trips`: the parameters of `block` after the
    /// first `skip`.
    fn carry(&mut self, block: BlockId, skip: usize, initial: &[ValueId], trips: Option<Reason>) {
        let params = self.kernel.block(block).params.clone();
        let yields = self.block_yields(block);
        for (position, param) in params.iter().skip(skip).enumerate() {
            let first = initial.get(position).and_then(|id| self.value(*id));
            let next = yields.get(position).and_then(|id| self.value(*id));
            self.taint(*param, first.or(next).or(trips));
        }
    }

    /// Leaves an instruction with blocks and updates its results.
    fn done(&mut self, inst: &Inst) {
        let Some(control) = inst.kind.control() else { return };
        for (position, result) in inst.results.iter().enumerate() {
            let of = |values: &[ValueId]| values.get(position).and_then(|id| self.value(*id));
            let reason = match control {
                Control::If { condition, then_block, else_block } => self
                    .value(condition)
                    .or_else(|| of(self.block_yields(then_block)))
                    .or_else(|| of(self.block_yields(else_block))),
                // The parameters have what is yielded, and the trips.
                Control::For { body, .. } => {
                    self.kernel.block(body).params.get(position + 1).and_then(|id| self.value(*id))
                }
                Control::While { header, .. } => {
                    self.kernel.block(header).params.get(position).and_then(|id| self.value(*id))
                }
                Control::Region { body, .. } => of(self.block_yields(body)),
            };
            self.taint(*result, reason);
        }
    }

    fn results(&mut self, inst: &Inst, reason: Option<Reason>) {
        for result in &inst.results {
            self.taint(*result, reason);
        }
    }

    /// Returns the reason if the subnormals of a type are not kept.
    fn flushed(&self, ty: ScalarType) -> Option<Reason> {
        (ty.is_float() && !self.kept.contains(ty)).then_some(SUBNORMALS)
    }

    /// Returns the reason that an op adds where its operands are the same everywhere.
    fn scalar(&self, inst: &Inst) -> Option<Reason> {
        let InstKind::Scalar { op, operands, mode } = &inst.kind else { return None };
        let result = self.kernel.ty(*inst.results.first()?).scalar;
        let read = operands.iter().map(|id| self.kernel.ty(*id).scalar);
        let mnemonic = op.info().mnemonic;
        let float = match op.info().semantics {
            Semantics::Scalar { float, .. } => float,
            Semantics::Special(_) => FloatContract::Exact,
        };
        let free = result.is_float()
            && match (float, mode) {
                (FloatContract::Exact, _) => false,
                (FloatContract::Approximate | FloatContract::ExactEitherZero, _) | (_, FloatMode::Fast) => {
                    true
                }
                (FloatContract::FusedOrUnfused, mode) => *mode != FloatMode::Exact,
                (FloatContract::Rounded | FloatContract::RoundedDot, _) => false,
            };
        // A NaN's bits, taken for an integer.
        let nan_bits = matches!(op, Op::Bitcast | Op::Pack)
            && !result.is_float()
            && read.clone().any(ScalarType::is_float);
        if free || nan_bits {
            return Some(mnemonic);
        }
        read.chain([result]).find_map(|ty| self.flushed(ty))
    }

    fn atomic(&mut self, inst: &Inst, op: Op, memory: Memory, read: Option<Reason>) {
        let mnemonic = op.info().mnemonic;
        // What was there before depends on who was first.
        self.results(inst, Some(mnemonic));
        let float = self.kernel.element(memory).scalar.is_float();
        let commutes = match AtomicOp::of(op) {
            Some(AtomicOp::Load) => return,
            Some(AtomicOp::Add) => !float,
            Some(AtomicOp::Min | AtomicOp::Max | AtomicOp::And | AtomicOp::Or | AtomicOp::Xor) => true,
            Some(AtomicOp::Store | AtomicOp::Exchange | AtomicOp::CompareExchange) | None => false,
        };
        let mixed = match self.place(memory) {
            Some(place) => *place.atomic.get_or_insert(op) != op,
            None => false,
        };
        self.taint_place(memory, read.or((!commutes || mixed).then_some(mnemonic)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn freedom(body: &str, kept: TypeSet) -> Option<Reason> {
        let text = format!(
            "fulgurite 1\nkernel @k workgroup(64, 1, 1) {{\n  buffer %x: read f32[]\n  buffer %y: read_write f32[]\n  buffer \
             %z: read_write u32[]\n  param %n: u32\n  shared %s: f32[64]\n  view %w = %y as u32[]\n  %i = global_id.x\n  \
             %a = load %x[%i]\n  %b = load %z[%i]\n{body}\n}}\n"
        );
        let kernel = fulgurite_ir::text::parse(&text).and_then(fulgurite_ir::verify).unwrap();
        let all = Freedom::of(&kernel, kept).buffers;
        all[1].1.or(all[2].1)
    }

    #[test]
    fn only_what_flows_into_a_buffer_leaves_it_room() {
        let cases: &[(&str, Option<Reason>)] = &[
            ("store %y[%i], %a", None),
            ("%c = add %a, %a\nstore %y[%i], %c", None),
            ("%c = exp %a", None),
            ("%c = exp %a\nstore %y[%i], 1.0f32", None),
            ("%c = exp %a\nstore %y[%i], %c", Some("exp")),
            ("%c = add[fast] %a, %a\nstore %y[%i], %c", Some("add")),
            ("%c = fma %a, %a, %a\nstore %y[%i], %c", Some("fma")),
            ("%c = fma[exact] %a, %a, %a\nstore %y[%i], %c", None),
            ("%c = min %a, 0.0f32\nstore %y[%i], %c", Some("min")),
            ("%c = div %b, %n\nstore %z[%i], %c", None),
            // Through a condition, a selection, an index, shared memory, loops.
            ("%c = exp %a\n%d = lt %c, 1.0f32\nif %d {\n store %z[%i], 1u32\n}", Some("exp")),
            ("%c = exp %a\n%d = lt %c, 1.0f32\n%e = select %d, 1u32, 2u32\nstore %z[%i], %e", Some("exp")),
            ("%c = exp %a\n%d = convert %c -> u32\nstore %z[%d], 1u32", Some("exp")),
            ("%c = exp %a\nstore %s[%i], %c\n%d = load %s[%i]\nstore %y[%i], %d", Some("exp")),
            ("%d = load %s[%i]\nstore %y[%i], %d\n%c = exp %a\nstore %s[%i], %c", Some("exp")),
            (
                "%r = for %k in 0u32 to %n step 1u32 carry(%c = %a) {\n %d = exp %c\n yield %d\n}\nstore %y[%i], %r",
                Some("exp"),
            ),
            (
                "%r = for %k in 0u32 to %n step 1u32 carry(%c = %b) {\n %d = add %c, %k\n yield %d\n}\nstore %z[%i], %r",
                None,
            ),
            (
                "%c = exp %a\n%e = convert %c -> u32\n%r = for %k in 0u32 to %e step 1u32 carry(%f = %b) {\n yield %k\n}\n\
                 store %z[%i], %r",
                Some("exp"),
            ),
            (
                "%r = while carry(%c = %a) {\n %d = exp %c\n %e = lt %d, 3.0f32\n condition %e\n} do {\n yield %d\n}\n\
                 store %y[%i], %r",
                Some("exp"),
            ),
            (
                "%d = lt %a, 1.0f32\n%r = if %d -> f32 {\n %c = exp %a\n yield %c\n} else {\n yield %a\n}\nstore %y[%i], %r",
                Some("exp"),
            ),
            ("%r = region \"r\" -> f32 {\n %c = exp %a\n yield %c\n}\nstore %y[%i], %r", Some("exp")),
            // Bits of NaNs.
            ("%c = bitcast %a -> u32\nstore %z[%i], %c", Some("bitcast")),
            ("store %y[%i], %a\n%c = load %w[%i]\nstore %z[%i], %c", Some("store")),
            // Order.
            ("atomic.add %z[0u32], %b", None),
            ("atomic.add %z[0u32], %b\natomic.max %z[1u32], %b", Some("atomic.max")),
            ("%c = atomic.exchange %z[0u32], %b", Some("atomic.exchange")),
            ("%c = atomic.add %z[0u32], 1u32\n%d = convert %c -> f32\nstore %y[%i], %d", Some("atomic.add")),
            ("%c = lane\nstore %z[%i], %c", Some("lane")),
            ("%c = subgroup.reduce[add] %b\nstore %z[%i], %c", Some("subgroup.reduce")),
        ];
        for (body, expected) in cases {
            assert_eq!(freedom(body, TypeSet::FLOAT), *expected, "{body}");
        }
        assert_eq!(freedom("%c = add %a, %a\nstore %y[%i], %c", TypeSet::EMPTY), Some(SUBNORMALS));
        assert_eq!(freedom("%c = exp %a\nstore %y[%i], %c", TypeSet::EMPTY), Some("exp"));
        assert_eq!(freedom("%c = add %b, %b\nstore %z[%i], %c", TypeSet::EMPTY), None);
    }

    #[test]
    fn contents_are_compared_by_element() {
        let free = |reason| Freedom { buffers: vec![(Type::F32, reason)] };
        let bytes = |all: &[f32]| all.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
        let wanted = bytes(&[1.0, f32::NAN, -0.0]);
        let nan = bytes(&[1.0, f32::from_bits(0xffc0_0001), -0.0]);
        assert_eq!(free(None).compare(0, &wanted, &nan), Agreement::Equal);
        let near = bytes(&[1.0 + 2.0 * f32::EPSILON, f32::NAN, 0.0]);
        let apart = Apart { elements: 2, of: 3, first: 0, units: 2 };
        assert_eq!(free(None).compare(0, &wanted, &near), Agreement::Wrong(apart));
        assert_eq!(free(Some("exp")).compare(0, &wanted, &near), Agreement::Allowed(apart, "exp"));
        assert_eq!(apart.to_string(), "2 of 3 differ, the first at 0, by 2 units in the last place at most");
        let number = bytes(&[1.0, 3.0, -0.0]);
        let Agreement::Wrong(apart) = free(None).compare(0, &wanted, &number) else { panic!("they agree") };
        assert_eq!((apart.first, apart.units), (1, u64::MAX));
        assert_eq!(apart.to_string(), "1 of 3 differ, the first at 1, some of them NaN in one only");
        // Subnormals that are not kept do not excuse any difference.
        let flushed =
            |wanted: f32, got: f32| free(Some(SUBNORMALS)).compare(0, &bytes(&[wanted]), &bytes(&[got]));
        for (wanted, got) in
            [(1e-40, 0.0), (1.0, 0.0), (1.0, f32::INFINITY), (1.2e-38, 1.3e-38), (f32::NAN, 1.0)]
        {
            assert!(matches!(flushed(wanted, got), Agreement::Allowed(_, SUBNORMALS)), "{wanted} {got}");
        }
        for (wanted, got) in [(1.0, 2.0), (3.0, 3.0000002)] {
            assert!(matches!(flushed(wanted, got), Agreement::Wrong(_)), "{wanted} {got}");
        }
        // Another length is never allowed.
        let Agreement::Wrong(apart) = free(Some("exp")).compare(0, &wanted, &wanted[..8]) else {
            panic!("they agree")
        };
        assert_eq!((apart.elements, apart.of, apart.first), (1, 3, 2));
    }
}
