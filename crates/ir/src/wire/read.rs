//! Conversion of the flat structs to a kernel. For any input, ids and blocks of the result are consistent. The
//! verifier checks everything else: nesting depth, literals, types, names and dominance.

use fulgurite_spec::limits::{MAX_DECLARATIONS, MAX_REQUIRE_NODES, MAX_VALUES};
use fulgurite_spec::{
    Lanes, Literal, Location, MatrixLayout, MatrixOp, MatrixShape, MemoryOp, Op, OpClass, ScalarType, Type,
};

use super::WireError;
use super::body::{self, Body, END, LEAF, Node, TypeCode, TypedName};
use crate::kernel::{
    Access, ArrayDecl, AtomicOrder, BlockId, BufferDecl, BufferId, Combine, Const, Control, FloatMode,
    Initial, Inst, InstId, InstKind, Kernel, LocalId, Memory, MemoryScopes, Operands, ParamDecl, ParamId,
    SharedId, SyncScope, Terminator, ValueDef, ValueId, ViewDecl, ViewId,
};
use crate::require::{Require, RequireNode};

/// The flag of a large buffer in its access.
const LARGE: u8 = 4;

/// The limit on components of `vec.shuffle` in this module; the verifier checks their exact number.
const MAX_COMPONENTS: usize = 8;

type Read<T> = Result<T, WireError>;

/// Converts `body` to a kernel.
pub(super) fn kernel(body: &Body<'_>) -> Read<Kernel> {
    limits(body)?;
    let mut kernel = Kernel::empty(body.name, body.workgroup);
    for buffer in &body.buffers {
        kernel.buffers.push(BufferDecl {
            name: buffer.name.to_owned(),
            element: ty(buffer.element)?,
            access: Access::ALL
                .into_iter()
                .find(|a| *a as u8 == buffer.access & !LARGE)
                .ok_or_else(|| malformed("there is no such access to a buffer", buffer.access))?,
            large: buffer.access & LARGE != 0,
            location: Location::Unknown,
        });
    }
    kernel.shared = arrays(&body.shared)?;
    kernel.locals = arrays(&body.locals)?;
    for view in &body.views {
        let base = memory(&kernel, view.base);
        let base = base.ok_or_else(|| malformed("a view has no such base", view.base))?;
        let (name, element) = (view.name.to_owned(), ty(view.element)?);
        kernel.views.push(ViewDecl { name, base, element, location: Location::Unknown });
    }
    kernel.needs_progress = match body.needs {
        0 => false,
        1 => true,
        other => return Err(malformed("there are no such needs", other)),
    };
    kernel.values.reserve_exact(body.params.len() + body.constants.len() + body.values.len());
    for (i, param) in body.params.iter().enumerate() {
        let ty = ty(param.ty)?;
        let value = kernel.add_value(ty, ValueDef::Param(ParamId::new(i)), Some(param.name.into()));
        kernel.params.push(ParamDecl { name: param.name.to_owned(), ty, value, location: Location::Unknown });
    }
    for constant in &body.constants {
        let ty = Type::scalar(scalar(constant.scalar)?);
        kernel.add_value(ty, ValueDef::Const(Const(constant.bits)), None);
    }
    let mut reader = Reader {
        body,
        kernel,
        words: &body.words,
        values: &body.values,
        regions: &body.regions,
        open: Vec::new(),
    };
    reader.requires()?;
    reader.blocks()?;
    Ok(reader.kernel)
}

/// Checks the limits that bound the size of the kernel by that of its encoding. The verifier checks them again, and
/// the remaining ones.
fn limits(body: &Body<'_>) -> Read<()> {
    let nodes = body.requires.iter().copied().max().unwrap_or(0);
    for (what, count, limit) in [
        ("buffers", body.buffers.len(), MAX_DECLARATIONS),
        ("parameters", body.params.len(), MAX_DECLARATIONS),
        ("shared arrays", body.shared.len(), MAX_DECLARATIONS),
        ("local arrays", body.locals.len(), MAX_DECLARATIONS),
        ("views", body.views.len(), MAX_DECLARATIONS),
        ("preconditions", body.requires.len(), MAX_DECLARATIONS),
        ("nodes of a precondition", nodes as usize, MAX_REQUIRE_NODES),
        ("values", body.params.len() + body.constants.len() + body.values.len(), MAX_VALUES),
    ] {
        if count > limit {
            return Err(WireError::OverLimit { what, limit });
        }
    }
    Ok(())
}

fn malformed(what: &str, number: impl Into<i64>) -> WireError {
    WireError::malformed(format!("{what}: {}", number.into()))
}

fn scalar(number: u8) -> Read<ScalarType> {
    let found = ScalarType::ALL.into_iter().find(|s| s.number() == number);
    found.ok_or_else(|| malformed("there is no such scalar type", number))
}

fn ty(code: TypeCode) -> Read<Type> {
    let scalar = scalar(code.scalar)?;
    match (Lanes::from_count(u32::from(code.components)), MatrixShape::from_number(code.components)) {
        (Some(lanes), _) => Ok(Type::vector(scalar, lanes)),
        (None, Some(shape)) => Ok(Type::matrix_of(scalar, shape)),
        (None, None) => Err(malformed("there are no vectors of so many components", code.components)),
    }
}

fn arrays(arrays: &[body::Array<'_>]) -> Read<Vec<ArrayDecl>> {
    let array = |a: &body::Array<'_>| {
        let location = Location::Unknown;
        let initial = match a.initial {
            0 => Initial::Zero,
            1 => Initial::Uninit,
            other => return Err(malformed("an array begins as no such thing", other)),
        };
        Ok(ArrayDecl { name: a.name.to_owned(), element: ty(a.element)?, len: a.len, initial, location })
    };
    arrays.iter().map(array).collect()
}

/// A block whose end has not been read.
struct Open {
    block: BlockId,
    next: Next,
}

/// The continuation after a block.
#[derive(Clone, Copy)]
enum Next {
    /// The end of the kernel.
    Nothing,
    /// Another block of the same instruction.
    Block(BlockId, Nested),
    /// The results of the instruction.
    Results(Nested),
}

/// An instruction with nested blocks.
#[derive(Clone, Copy)]
struct Nested {
    inst: InstId,
    results: u32,
}

struct Reader<'b> {
    body: &'b Body<'b>,
    kernel: Kernel,
    /// Words not read yet.
    words: &'b [i32],
    /// Values not defined yet.
    values: &'b [TypedName<'b>],
    /// Names of regions not begun yet.
    regions: &'b [&'b str],
    open: Vec<Open>,
}

impl<'b> Reader<'b> {
    fn take(&mut self, count: u32) -> Read<&'b [i32]> {
        let (taken, rest) = (self.words.split_at_checked(count as usize))
            .ok_or_else(|| WireError::malformed("there are too few words"))?;
        self.words = rest;
        Ok(taken)
    }

    fn requires(&mut self) -> Read<()> {
        let mut nodes = &self.body.nodes[..];
        for count in &self.body.requires {
            let (these, rest) = (nodes.split_at_checked(*count as usize))
                .ok_or_else(|| WireError::malformed("there are too few nodes of preconditions"))?;
            nodes = rest;
            let mut require = Require { nodes: Vec::with_capacity(these.len()), location: Location::Unknown };
            for node in these {
                let node = self.node(node, require.nodes.len())?;
                require.nodes.push(node);
            }
            self.kernel.requires.push(require);
        }
        match nodes.len() {
            0 => Ok(()),
            _ => Err(WireError::malformed("there are nodes of no precondition")),
        }
    }

    /// Reads a node of a precondition, at position `index`.
    fn node(&mut self, node: &Node, index: usize) -> Read<RequireNode> {
        let words = self.take(node.words)?;
        if node.op == LEAF {
            let &[word] = words else {
                return Err(malformed("a leaf has no such number of words", node.words));
            };
            let id = self.value(word)?;
            return Ok(match self.kernel.value(id).def {
                ValueDef::Const(bits) => {
                    RequireNode::Literal(Literal { ty: self.kernel.ty(id).scalar, bits: bits.0 })
                }
                // Only parameters and constants are defined yet.
                _ => RequireNode::Param(ParamId::new(id.index())),
            });
        }
        let op = op(node.op)?;
        match (op, words) {
            (Op::Len, [buffer]) => {
                let known = usize::try_from(*buffer).ok().filter(|i| *i < self.kernel.buffers.len());
                let known = known.ok_or_else(|| malformed("a precondition reads no such buffer", *buffer))?;
                Ok(RequireNode::Len(BufferId::new(known)))
            }
            (Op::NumWorkgroups, [axis]) => Ok(RequireNode::NumWorkgroups(component(*axis)?)),
            (Op::Len | Op::NumWorkgroups, _) => {
                Err(malformed("a leaf has no such number of words", node.words))
            }
            _ => {
                let earlier = |word: &i32| {
                    let found = u32::try_from(*word).ok().filter(|i| (*i as usize) < index);
                    found.ok_or_else(|| malformed("a precondition has no such earlier node", *word))
                };
                Ok(RequireNode::Op { op, operands: words.iter().map(earlier).collect::<Read<_>>()? })
            }
        }
    }

    fn blocks(&mut self) -> Read<()> {
        self.open.push(Open { block: self.kernel.body, next: Next::Nothing });
        // Each block has one end; the other items are instructions.
        let ends = self.body.insts.iter().filter(|i| i.op == END).count();
        self.kernel.insts.reserve_exact(self.body.insts.len() - ends);
        self.kernel.blocks.reserve_exact(ends);
        for inst in &self.body.insts {
            let words = self.take(inst.words)?;
            let Some(block) = self.open.last().map(|o| o.block) else {
                return Err(WireError::malformed("something follows the end of the kernel"));
            };
            if inst.op == END {
                if inst.attributes != 0 {
                    return Err(malformed("the end of a block has attributes", inst.attributes));
                }
                self.end(inst.results, words)?;
            } else {
                self.inst(block, inst, words)?;
            }
        }
        if !self.open.is_empty() {
            return Err(WireError::malformed("a block does not end"));
        }
        if !self.words.is_empty() || !self.values.is_empty() || !self.regions.is_empty() {
            return Err(WireError::malformed("there are words, values or names of no instruction"));
        }
        Ok(())
    }

    /// Defines the next `count` values.
    fn define(&mut self, count: u32, define: impl Fn(u32) -> ValueDef) -> Read<Operands> {
        let (these, rest) = (self.values.split_at_checked(count as usize))
            .ok_or_else(|| WireError::malformed("there are too few values"))?;
        self.values = rest;
        let define = |(value, i): (&TypedName<'_>, u32)| {
            let name = Some(value.name).filter(|n| !n.is_empty()).map(Into::into);
            Ok(self.kernel.add_value(ty(value.ty)?, define(i), name))
        };
        these.iter().zip(0..).map(define).collect()
    }

    /// Defines the results of an instruction, after its blocks have ended.
    fn results(&mut self, of: Nested) -> Read<()> {
        self.kernel.insts[of.inst.index()].results =
            self.define(of.results, |i| ValueDef::Inst(of.inst, i))?;
        Ok(())
    }

    /// Begins a block with `params` parameters.
    fn begin(&mut self, block: BlockId, params: usize, next: Next) -> Read<()> {
        let params = self.define(params as u32, |i| ValueDef::BlockParam(block, i))?;
        self.kernel.blocks[block.index()].params = params.to_vec();
        self.open.push(Open { block, next });
        Ok(())
    }

    /// Ends the innermost block and begins its continuation.
    fn end(&mut self, results: u32, words: &[i32]) -> Read<()> {
        let Some(Open { block, next }) = self.open.pop() else { return Ok(()) };
        if results != 0 {
            return Err(malformed("the end of a block has results", results));
        }
        let nested = match next {
            Next::Block(_, of) | Next::Results(of) => Some(of.inst),
            Next::Nothing => None,
        };
        let is_header = nested.is_some_and(
            |id| matches!(self.kernel.inst(id).kind, InstKind::While { header, .. } if header == block),
        );
        let terminator = match (words, next) {
            ([], Next::Nothing) => Terminator::Return,
            (_, Next::Nothing) => return Err(WireError::malformed("the kernel's own block yields")),
            ([go], _) if is_header => Terminator::Condition(self.value(*go)?),
            _ if is_header => {
                return Err(WireError::malformed("the first block of a `while` ends in one condition"));
            }
            _ => Terminator::Yield(self.operands(words)?),
        };
        self.kernel.blocks[block.index()].terminator = terminator;
        match next {
            Next::Nothing => Ok(()),
            Next::Block(block, of) => self.begin(block, 0, Next::Results(of)),
            Next::Results(of) => self.results(of),
        }
    }

    fn inst(&mut self, block: BlockId, inst: &body::Inst, words: &[i32]) -> Read<()> {
        let op = op(inst.op)?;
        let kind = self.kind(op, inst.attributes, words)?.ok_or_else(|| {
            malformed(&format!("`{}` has no such number of words", op.mnemonic()), inst.words)
        })?;
        let id = InstId::new(self.kernel.insts.len());
        let of = Nested { inst: id, results: inst.results };
        let (carried, first) = match kind.control() {
            None => (0, None),
            Some(Control::Region { body, .. }) => (0, Some((body, Next::Results(of)))),
            Some(Control::For { initial, body, .. }) => (initial.len() + 1, Some((body, Next::Results(of)))),
            Some(Control::While { initial, header, body }) => {
                (initial.len(), Some((header, Next::Block(body, of))))
            }
            Some(Control::If { then_block, else_block, .. }) => {
                (0, Some((then_block, Next::Block(else_block, of))))
            }
        };
        self.kernel.insts.push(Inst { kind, results: Operands::EMPTY, location: Location::Unknown });
        self.kernel.blocks[block.index()].insts.push(id);
        match first {
            Some((block, next)) => self.begin(block, carried, next),
            None => self.results(of),
        }
    }

    /// Reads the operation of an instruction. Returns `None` if the op does not allow this number of words.
    fn kind(&mut self, op: Op, attributes: u8, words: &[i32]) -> Read<Option<InstKind>> {
        let bad = || malformed(&format!("`{}` has no such attributes", op.mnemonic()), attributes);
        if attributes != 0 && !takes_attributes(op) {
            return Err(bad());
        }
        let order = || AtomicOrder::from_number(attributes & 3).ok_or_else(bad);
        let scope = || SyncScope::from_number(attributes >> 2).ok_or_else(bad);
        let scopes = || match attributes {
            0..=3 => Ok(MemoryScopes { shared: attributes & 1 != 0, buffers: attributes & 2 != 0 }),
            _ => Err(bad()),
        };
        let kind = match op.class() {
            OpClass::Scalar => {
                let mode = FloatMode::from_number(attributes).ok_or_else(bad)?;
                InstKind::Scalar { op, operands: self.operands(words)?, mode }
            }
            OpClass::Id(_) => {
                let [axis] = words else { return Ok(None) };
                InstKind::Id { op, component: component(*axis)? }
            }
            OpClass::Memory(op) => return self.memory_kind(op, words),
            OpClass::Atomic(_) => {
                let [memory, index, operands @ ..] = words else { return Ok(None) };
                InstKind::Atomic {
                    op,
                    order: order()?,
                    scope: scope()?,
                    memory: self.memory(*memory)?,
                    index: self.value(*index)?,
                    operands: self.operands(operands)?,
                }
            }
            OpClass::Fence | OpClass::Barrier | OpClass::SubgroupBarrier if !words.is_empty() => {
                return Ok(None);
            }
            OpClass::Fence => InstKind::Fence { order: order()?, scope: scope()? },
            OpClass::SubgroupBarrier => InstKind::SubgroupBarrier { scopes: scopes()? },
            OpClass::Barrier => InstKind::Barrier { scopes: scopes()? },
            OpClass::WorkgroupBroadcast => {
                let [value, index] = words else { return Ok(None) };
                InstKind::WorkgroupBroadcast { value: self.value(*value)?, index: self.value(*index)? }
            }
            OpClass::Subgroup(_) => InstKind::Subgroup {
                op,
                combine: match attributes {
                    0 => None,
                    number => Some(Combine::from_number(number).ok_or_else(bad)?),
                },
                operands: self.operands(words)?,
            },
            OpClass::VecShuffle => {
                let [a, b, components @ ..] = words else { return Ok(None) };
                if components.len() > MAX_COMPONENTS {
                    return Ok(None);
                }
                InstKind::VecShuffle {
                    vectors: [self.value(*a)?, self.value(*b)?],
                    components: components.iter().map(|c| component(*c)).collect::<Read<_>>()?,
                }
            }
            OpClass::Matrix(op) => {
                let layout = || MatrixLayout::from_number(attributes).ok_or_else(bad);
                return self.matrix_kind(op, layout, words);
            }
            OpClass::Trap => {
                let [code] = words else { return Ok(None) };
                InstKind::Trap { code: self.value(*code)? }
            }
            OpClass::Region => {
                let [] = words else { return Ok(None) };
                let (name, rest) = (self.regions.split_first())
                    .ok_or_else(|| WireError::malformed("there are too few names of regions"))?;
                self.regions = rest;
                InstKind::Region { name: (*name).into(), body: self.kernel.add_block() }
            }
            OpClass::If => {
                let [condition] = words else { return Ok(None) };
                InstKind::If {
                    condition: self.value(*condition)?,
                    then_block: self.kernel.add_block(),
                    else_block: self.kernel.add_block(),
                }
            }
            OpClass::For => {
                let [start, end, step, initial @ ..] = words else { return Ok(None) };
                InstKind::For {
                    start: self.value(*start)?,
                    end: self.value(*end)?,
                    step: self.value(*step)?,
                    initial: self.operands(initial)?,
                    body: self.kernel.add_block(),
                }
            }
            OpClass::While => InstKind::While {
                initial: self.operands(words)?,
                header: self.kernel.add_block(),
                body: self.kernel.add_block(),
            },
        };
        Ok(Some(kind))
    }

    fn memory_kind(&self, op: MemoryOp, words: &[i32]) -> Read<Option<InstKind>> {
        Ok(match (op, words) {
            (MemoryOp::Load, [memory, index]) => {
                Some(InstKind::Load { memory: self.memory(*memory)?, index: self.value(*index)? })
            }
            (MemoryOp::Store, [memory, index, value]) => Some(InstKind::Store {
                memory: self.memory(*memory)?,
                index: self.value(*index)?,
                value: self.value(*value)?,
            }),
            (MemoryOp::Len, [memory]) => Some(InstKind::Len { memory: self.memory(*memory)? }),
            (MemoryOp::Load | MemoryOp::Store | MemoryOp::Len, _) => None,
        })
    }

    fn matrix_kind(
        &self,
        op: MatrixOp,
        layout: impl Fn() -> Read<MatrixLayout>,
        words: &[i32],
    ) -> Read<Option<InstKind>> {
        Ok(match (op, words) {
            (MatrixOp::Load, [memory, offset, stride]) => Some(InstKind::CoopLoad {
                layout: layout()?,
                memory: self.memory(*memory)?,
                offset: self.value(*offset)?,
                stride: self.value(*stride)?,
            }),
            (MatrixOp::Store, [memory, offset, stride, value]) => Some(InstKind::CoopStore {
                layout: layout()?,
                memory: self.memory(*memory)?,
                offset: self.value(*offset)?,
                stride: self.value(*stride)?,
                value: self.value(*value)?,
            }),
            (MatrixOp::Fill, [value]) => Some(InstKind::CoopFill { value: self.value(*value)? }),
            (MatrixOp::MulAdd, [a, b, c]) => {
                Some(InstKind::CoopMulAdd { a: self.value(*a)?, b: self.value(*b)?, c: self.value(*c)? })
            }
            (MatrixOp::Convert, [value]) => Some(InstKind::CoopConvert { value: self.value(*value)? }),
            (MatrixOp::Load | MatrixOp::Store | MatrixOp::Fill | MatrixOp::MulAdd | MatrixOp::Convert, _) => {
                None
            }
        })
    }
    fn operands(&self, words: &[i32]) -> Read<Operands> {
        words.iter().map(|w| self.value(*w)).collect()
    }

    /// Returns the value with number `word` if it is already defined. The arena holds parameters, then constants,
    /// then all other values.
    fn value(&self, word: i32) -> Read<ValueId> {
        let (params, constants) = (self.body.params.len(), self.body.constants.len());
        let index = if word < 0 {
            // −1 is the first constant.
            let constant = !word as usize;
            (constant < constants).then_some(params + constant)
        } else {
            let number = word as usize;
            let index = if number < params { number } else { number + constants };
            (index < self.kernel.values.len()).then_some(index)
        };
        index.map(ValueId::new).ok_or_else(|| malformed("there is no such value here", word))
    }

    fn memory(&self, word: i32) -> Read<Memory> {
        let found = u32::try_from(word).ok().and_then(|n| memory(&self.kernel, n));
        found.ok_or_else(|| malformed("there is no such memory object", word))
    }
}

/// Returns the memory object with a number if it is already declared.
fn memory(kernel: &Kernel, number: u32) -> Option<Memory> {
    let mut rest = number as usize;
    let counts = [kernel.buffers.len(), kernel.shared.len(), kernel.locals.len(), kernel.views.len()];
    let kind = counts.iter().position(|count| {
        let found = rest < *count;
        rest -= if found { 0 } else { *count };
        found
    })?;
    Some(match kind {
        0 => Memory::Buffer(BufferId::new(rest)),
        1 => Memory::Shared(SharedId::new(rest)),
        2 => Memory::Local(LocalId::new(rest)),
        _ => Memory::View(ViewId::new(rest)),
    })
}

/// Returns whether an instruction with this op may have attributes.
fn takes_attributes(op: Op) -> bool {
    match op.class() {
        OpClass::Scalar
        | OpClass::Atomic(_)
        | OpClass::Fence
        | OpClass::Barrier
        | OpClass::SubgroupBarrier
        | OpClass::Subgroup(_)
        | OpClass::Matrix(MatrixOp::Load | MatrixOp::Store) => true,
        OpClass::Matrix(MatrixOp::Fill | MatrixOp::MulAdd | MatrixOp::Convert)
        | OpClass::Memory(_)
        | OpClass::Id(_)
        | OpClass::VecShuffle
        | OpClass::WorkgroupBroadcast
        | OpClass::If
        | OpClass::For
        | OpClass::While
        | OpClass::Region
        | OpClass::Trap => false,
    }
}

fn op(number: u16) -> Read<Op> {
    Op::from_number(number).ok_or_else(|| malformed("there is no such op", number))
}

fn component(word: i32) -> Read<u8> {
    u8::try_from(word).map_err(|_| malformed("there is no such component", word))
}
