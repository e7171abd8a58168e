//! Random expressions: ops on results of earlier ops, in straight-line code, under conditions and in loops that carry
//! values, on scalars and vectors of every type, with exchanges within subgroups and workgroups in between.

use std::collections::HashMap;

use fulgurite_ir::Combine;
use fulgurite_spec::{Lanes, Op, ScalarType, Type, TypeSet};

use super::evaluate::exact_subjects;
use super::program::{Arm, INVOCATIONS, LOCALS, Node, Output, Program, Source, TABLE, Var};
use crate::suites::ops::Subject;
use crate::values::{Random, edges};

/// Building blocks of expressions.
pub(super) struct Vocabulary {
    /// Ops by result type.
    makers: HashMap<Type, Vec<Subject>>,
    types: Vec<Type>,
    subgroup_size: u32,
    subgroups: bool,
}

impl Vocabulary {
    /// Collects the exact ops among `subjects` over `types`.
    pub(super) fn new(subjects: Vec<Subject>, types: TypeSet, subgroups: Option<u32>) -> Self {
        let mut makers: HashMap<Type, Vec<Subject>> = HashMap::new();
        for subject in exact_subjects(subjects, types) {
            makers.entry(subject.result).or_default().push(subject);
        }
        // Only types that some op produces; the device supports all of them.
        let types = ScalarType::ALL
            .into_iter()
            .flat_map(|scalar| Lanes::ALL.map(|lanes| Type::vector(scalar, lanes)))
            .filter(|ty| makers.contains_key(ty))
            .collect();
        Self { makers, types, subgroup_size: subgroups.unwrap_or(1), subgroups: subgroups.is_some() }
    }

    /// Returns an expression of depth `depth` with a few results.
    pub(super) fn expression(&self, depth: u32, random: &mut Random) -> Program {
        let mut writer =
            Writer { words: self, program: Program::default(), random, nodes: Vec::new(), scope: Vec::new() };
        let ty = writer.any_type();
        let mut result = writer.value(ty, depth);
        if writer.random.below(2) == 0 {
            result = writer.shared(result, depth);
        }
        let results = [result, writer.any_value(depth / 2)];
        writer.program.body = writer.nodes;
        writer.program.outputs = results.map(Output::Store).to_vec();
        writer.program
    }
}

struct Writer<'a> {
    words: &'a Vocabulary,
    program: Program,
    random: &'a mut Random,
    /// Nodes of the current block.
    nodes: Vec<Node>,
    /// Variables in scope.
    scope: Vec<Var>,
}

impl Writer<'_> {
    fn below(&mut self, count: usize) -> usize {
        self.random.below(count as u32) as usize
    }

    /// Returns a type, more often a scalar than a vector.
    fn any_type(&mut self) -> Type {
        let ty = self.words.types[self.random.below(self.words.types.len() as u32) as usize];
        let element = ty.element();
        if self.random.below(3) == 0 || !self.words.makers.contains_key(&element) { ty } else { element }
    }

    fn any_value(&mut self, depth: u32) -> Var {
        let ty = self.any_type();
        self.value(ty, depth)
    }

    fn push(&mut self, ty: Type, node: impl FnOnce(Var) -> Node) -> Var {
        let to = self.program.var(ty);
        self.nodes.push(node(to));
        self.scope.push(to);
        to
    }

    /// Returns a value of type `ty`, computed by `depth` nested ops.
    fn value(&mut self, ty: Type, depth: u32) -> Var {
        if depth == 0 {
            return self.leaf(ty);
        }
        if self.random.below(8) == 0 {
            let fitting: Vec<Var> =
                self.scope.iter().copied().filter(|var| self.program.types[*var] == ty).collect();
            if !fitting.is_empty() {
                return fitting[self.below(fitting.len())];
            }
        }
        match self.random.below(48) {
            0..=2 => return self.choice(ty, depth),
            3 | 4 => return self.repetition(ty, depth),
            5 => return self.repetition_while(ty, depth),
            6 if ty.scalar != ScalarType::Bool => return self.local(ty, depth),
            _ => {}
        }
        let words = self.words;
        let Some(makers) = words.makers.get(&ty) else { return self.leaf(ty) };
        let subject = &makers[self.random.below(makers.len() as u32) as usize];
        let args: Vec<Var> = subject
            .operands
            .iter()
            .map(|operand| {
                // Operands have different depths, at least one below this one.
                let less = 1 + self.random.below(2);
                self.value(*operand, depth.saturating_sub(less))
            })
            .collect();
        self.push(subject.result, |to| Node::Op { to, op: subject.op, args })
    }

    fn leaf(&mut self, ty: Type) -> Var {
        let bool = ty.scalar == ScalarType::Bool;
        let source = match self.random.below(8) {
            0 | 1 => {
                let edges = edges(ty.scalar);
                let bits = edges[self.below(edges.len())];
                Source::Literal(if bool { bits & 1 } else { bits })
            }
            2 if !bool => Source::Param,
            3 if !bool => Source::Id,
            _ => Source::Slot(self.below(8)),
        };
        self.push(ty, |to| Node::Input { to, source })
    }

    /// Calls `write` in a new block and returns the block.
    fn arm(&mut self, write: impl FnOnce(&mut Self) -> Vec<Var>) -> Arm {
        let (outer, scope) = (std::mem::take(&mut self.nodes), self.scope.len());
        let yields = write(self);
        self.scope.truncate(scope);
        Arm { nodes: std::mem::replace(&mut self.nodes, outer), yields }
    }

    fn choice(&mut self, ty: Type, depth: u32) -> Var {
        let condition = self.value(Type::BOOL, depth - 1);
        let arms = [(); 2].map(|()| self.arm(|w| vec![w.value(ty, depth - 1)]));
        self.push(ty, |to| Node::If { condition, arms, to: vec![to] })
    }

    /// Returns the result of a `for` of up to three iterations that carries a value of type `ty`. It may begin past its
    /// end.
    fn repetition(&mut self, ty: Type, depth: u32) -> Var {
        let counted = [ScalarType::U32, ScalarType::I32, ScalarType::I64, ScalarType::U64];
        let here: Vec<ScalarType> =
            counted.into_iter().filter(|s| self.words.makers.contains_key(&Type::scalar(*s))).collect();
        let scalar = here[self.below(here.len())];
        let index = Type::scalar(scalar);
        let constant =
            |w: &mut Self, bits: u64| w.push(index, |to| Node::Input { to, source: Source::Literal(bits) });
        let begin = self.value(index, depth / 2);
        let highest = if scalar.is_signed() { 0 } else { 1 << (scalar.bits() - 1) };
        let mask = [3, 3 | highest][self.below(2)];
        let mask = constant(self, mask);
        let from = self.push(index, |to| Node::Op { to, op: Op::And, args: vec![begin, mask] });
        let end = [1, 2, 3, 3][self.below(4)];
        let end = constant(self, end);
        let step = [1, 1, 1, 2][self.below(4)];
        let initial = self.value(ty, depth - 1);
        let counter = self.program.var(index);
        let carried = self.program.var(ty);
        let body = self.arm(|w| {
            w.scope.extend([counter, carried]);
            vec![w.value(ty, (depth - 1).min(3))]
        });
        self.push(ty, |to| Node::For {
            counter,
            from,
            end,
            step,
            initial: vec![initial],
            carried: vec![carried],
            body,
            to: vec![to],
        })
    }

    /// Returns the result of a `while` of up to three iterations that carries a value of type `ty`.
    fn repetition_while(&mut self, ty: Type, depth: u32) -> Var {
        let from = self.value(Type::U32, depth / 2);
        let initial = self.value(ty, depth - 1);
        let (counter, carried) = (self.program.var(Type::U32), self.program.var(ty));
        let header = self.arm(|w| {
            w.scope.extend([counter, carried]);
            vec![w.value(Type::BOOL, (depth - 1).min(2))]
        });
        let body = self.arm(|w| {
            w.scope.extend([counter, carried]);
            vec![w.value(ty, (depth - 1).min(3))]
        });
        self.push(ty, |to| Node::While {
            counter,
            from,
            initial: vec![initial],
            carried: vec![carried],
            header,
            body,
            to: vec![to],
        })
    }

    /// Returns an element of a local array of values, possibly out of bounds.
    fn local(&mut self, ty: Type, depth: u32) -> Var {
        let values = [(); LOCALS].map(|()| self.value(ty, depth / 3)).to_vec();
        let index = self.value(Type::U32, depth - 1);
        let bits = LOCALS as u64 * 2 - 1;
        let mask = self.push(Type::U32, |to| Node::Input { to, source: Source::Literal(bits) });
        let index = self.push(Type::U32, |to| Node::Op { to, op: Op::And, args: vec![index, mask] });
        self.push(ty, |to| Node::Local { to, values, index })
    }

    /// Passes `value` through other invocations or memory, and applies an op to the result.
    fn shared(&mut self, value: Var, depth: u32) -> Var {
        let ty = self.program.types[value];
        let integer = ty.scalar.is_integer();
        let below = self.words.subgroup_size.min(INVOCATIONS as u32);
        let result = match self.random.below(4) {
            0 if self.words.subgroups && integer => {
                let combines =
                    [Combine::Add, Combine::Min, Combine::Max, Combine::And, Combine::Or, Combine::Xor];
                let combine = combines[self.below(combines.len())];
                let ops = [Op::SubgroupReduce, Op::SubgroupInclusiveScan, Op::SubgroupExclusiveScan];
                let op = ops[self.below(ops.len())];
                self.push(ty, |to| Node::Combined { to, op, combine, value })
            }
            1 if self.words.subgroups && below > 1 => {
                let mask = 1 << self.random.below(below.ilog2());
                self.push(ty, |to| Node::Shuffle { to, value, mask })
            }
            2 if ty == Type::U32 => {
                let last = self
                    .push(Type::U32, |to| Node::Input { to, source: Source::Literal(u64::from(TABLE + 3)) });
                let index = self.push(Type::U32, |to| Node::Op { to, op: Op::And, args: vec![value, last] });
                self.push(Type::U32, |to| Node::Table { to, index })
            }
            _ if ty.scalar != ScalarType::Bool => {
                let mask = 1 << self.random.below(6);
                self.push(ty, |to| Node::Exchange { to, value, mask })
            }
            _ => value,
        };
        let takers: Vec<Type> = vec![ty, ty.with_scalar(ScalarType::Bool)];
        let wanted = takers[self.below(2)];
        let words = self.words;
        let Some(makers) = words.makers.get(&wanted) else { return result };
        let fitting: Vec<&Subject> = makers.iter().filter(|s| s.operands.contains(&ty)).collect();
        if fitting.is_empty() {
            return result;
        }
        let subject = fitting[self.random.below(fitting.len() as u32) as usize];
        let mut taken = false;
        let args = subject
            .operands
            .iter()
            .map(|operand| {
                if *operand == ty && !taken {
                    taken = true;
                    result
                } else {
                    self.value(*operand, depth / 3)
                }
            })
            .collect();
        self.push(subject.result, |to| Node::Op { to, op: subject.op, args })
    }
}
