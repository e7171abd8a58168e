//! Chains: two exact ops in sequence, on every type, with each kind of operand and each kind of use.

use std::collections::HashMap;

use fulgurite_spec::eval::float::FloatFormat;
use fulgurite_spec::{Op, ScalarType, Type, TypeSet};

use super::evaluate::exact_subjects;
use super::program::{Arm, Node, Output, Program, Source, TABLE, Var};
use crate::suites::ops::Subject;
use crate::values::{Random, edges};

/// Every pair of exact ops in which the second takes the first's result.
pub(super) struct Pairs {
    subjects: Vec<Subject>,
    /// First op, second op, and the operand of the second that is the first's result. Links on scalars precede the
    /// others.
    links: Vec<Link>,
    scalars: usize,
    /// The ops that accept each type, with the operand position.
    takers: HashMap<Type, Vec<(usize, usize)>>,
}

/// One pair in every `VECTORS` is on vectors.
const VECTORS: usize = 10;

#[derive(Clone, Copy)]
struct Link {
    first: usize,
    second: usize,
    position: usize,
}

/// A program that is a chain, with the names of its ops.
pub(super) struct Chain {
    pub(super) program: Program,
    /// The op under test and its type.
    pub(super) kind: String,
    /// The op before it and the use of its result.
    pub(super) detail: String,
}

impl Pairs {
    /// Collects the pairs over `types`.
    pub(super) fn new(subjects: Vec<Subject>, types: TypeSet) -> Self {
        let subjects = exact_subjects(subjects, types);
        let mut takers: HashMap<Type, Vec<(usize, usize)>> = HashMap::new();
        for (number, subject) in subjects.iter().enumerate() {
            for (position, ty) in subject.operands.iter().enumerate() {
                takers.entry(*ty).or_default().push((number, position));
            }
        }
        let mut links = Vec::new();
        for (first, subject) in subjects.iter().enumerate() {
            for (second, position) in takers.get(&subject.result).into_iter().flatten() {
                links.push(Link { first, second: *second, position: *position });
            }
        }
        let is_scalar = |link: &Link| {
            [link.first, link.second]
                .iter()
                .all(|s| subjects[*s].main.is_scalar() && subjects[*s].result.is_scalar())
        };
        links.sort_by_key(|link| !is_scalar(link));
        let scalars = links.iter().filter(|link| is_scalar(link)).count();
        Self { subjects, links, scalars, takers }
    }

    /// Returns the number of pairs on scalars, and of all pairs.
    pub(super) fn counts(&self) -> [usize; 2] {
        [self.scalars, self.links.len()]
    }

    /// Returns pair `number` of the sequence, with a use of its result.
    pub(super) fn chain(&self, number: usize, random: &mut Random) -> Chain {
        self.build(self.link(number), random)
    }

    /// Returns pair `number` of a sequence that visits every pair on scalars before repeating one, with a pair on
    /// vectors at every index congruent to `VECTORS - 1` modulo [`VECTORS`].
    fn link(&self, number: usize) -> Link {
        let vectors = self.links.len() - self.scalars;
        // The compile time of CPU drivers is proportional to the number of vector components.
        let (round, place) = (number / VECTORS, number % VECTORS);
        let link = if place == VECTORS - 1 && vectors > 0 {
            self.scalars + scattered(round, vectors)
        } else {
            scattered(round * (VECTORS - 1) + place.min(VECTORS - 2), self.scalars)
        };
        self.links[link]
    }

    /// Returns a walk of `ops` exact ops that begins with link `number` of the sequence. Each op takes the result of
    /// the previous one, so each two adjacent ops form a chain.
    pub(super) fn walk(&self, number: usize, ops: usize, random: &mut Random) -> Chain {
        self.steps(number, ops, random, &Steps { reuse: 3, reuses_results: false, picks: 1 })
    }

    /// Returns a walk whose operands are mostly earlier values: compilers simplify ops that share operands, such as
    /// `min(a, min(a, -x))`.
    pub(super) fn graph(&self, number: usize, ops: usize, random: &mut Random) -> Chain {
        // Ops that keep the type share more operands.
        self.steps(number, ops, random, &Steps { reuse: 11, reuses_results: true, picks: 3 })
    }

    fn steps(&self, number: usize, ops: usize, random: &mut Random, steps: &Steps) -> Chain {
        let link = self.link(number);
        let (mut last, mut next, mut position) =
            (&self.subjects[link.first], &self.subjects[link.second], link.position);
        let mut builder = Builder::new(random, 2, steps.reuse);
        let mut result = builder.begin(last);
        let mut detail = Vec::new();
        for step in 1..ops {
            if steps.reuses_results {
                builder.values.push(result);
            }
            result = builder.apply(next, position, result);
            detail.push(format!("after {}", last.name()));
            last = next;
            let takers = self.takers(last.result);
            if step + 1 == ops || takers.is_empty() {
                break;
            }
            for _ in 0..steps.picks {
                let Some((subject, place)) = builder.pick(takers) else { break };
                (next, position) = (&self.subjects[subject], place);
                if next.result == last.result {
                    break;
                }
            }
        }
        detail.reverse();
        builder.program.outputs.push(Output::Store(result));
        Chain { program: builder.program, kind: last.name(), detail: detail.join(" ") }
    }

    /// Returns the ops that accept a value of type `ty`, with the operand position.
    fn takers(&self, ty: Type) -> &[(usize, usize)] {
        self.takers.get(&ty).map_or(&[], Vec::as_slice)
    }

    fn build(&self, link: Link, random: &mut Random) -> Chain {
        let (first, second) = (&self.subjects[link.first], &self.subjects[link.second]);
        let mut builder = Builder::new(random, 4, 3);
        let made = builder.begin(first);
        let mut result = builder.apply(second, link.position, made);
        let mut detail = format!("after {}", first.name());
        let mut kind = second.name();
        let use_ = builder.random.below(20);
        if use_ < 5
            && let Some((third, position)) = builder.pick(self.takers(second.result))
        {
            let third = &self.subjects[third];
            result = builder.apply(third, position, result);
            detail = format!("after {} {detail}", second.name());
            kind = third.name();
        }
        let output = match use_ {
            5..=9 if builder.program.types[result].is_scalar() => {
                let (output, way) = builder.consumed(result, use_);
                detail += &format!(", {way}");
                output
            }
            _ => Output::Store(result),
        };
        builder.program.outputs.push(output);
        Chain { program: builder.program, kind, detail }
    }
}

/// Selection of the ops of a walk.
struct Steps {
    /// Share, in twentieths, of operands that reuse earlier values.
    reuse: u32,
    /// Whether the reused values include results, in addition to inputs.
    reuses_results: bool,
    /// Number of picks of another op if the result would have a different type.
    picks: u32,
}

/// Returns element `number` of a permutation of `count` numbers in which neighbors differ in their first op.
fn scattered(number: usize, count: usize) -> usize {
    // A prime that divides no occurring count of pairs; any such prime would do.
    const STEP: usize = 1_000_003;
    number % count * STEP % count
}

struct Builder<'a> {
    program: Program,
    random: &'a mut Random,
    /// Values that operands are drawn from: inputs and, in a graph, results.
    values: Vec<Var>,
    /// Number of loaded values of each type.
    slots: u32,
    /// Share, in twentieths, of operands that are drawn from `values`.
    reuse: u32,
}

impl<'a> Builder<'a> {
    fn new(random: &'a mut Random, slots: u32, reuse: u32) -> Self {
        Self { program: Program::default(), random, values: Vec::new(), slots, reuse }
    }

    /// Appends the first op, with new operands.
    fn begin(&mut self, subject: &Subject) -> Var {
        let args = subject.operands.iter().map(|ty| self.operand(*ty)).collect();
        self.program.op(subject.op, args, subject.result)
    }

    /// Returns an operand of type `ty`: loaded, a literal, a parameter, derived from an id, or an earlier value.
    fn operand(&mut self, ty: Type) -> Var {
        let fitting: Vec<Var> =
            self.values.iter().copied().filter(|var| self.program.types[*var] == ty).collect();
        let choice = self.random.below(20);
        if choice < self.reuse && !fitting.is_empty() {
            return fitting[self.random.below(fitting.len() as u32) as usize];
        }
        // Draw again if many operands are reused, because `choice` is then never small.
        let choice = if self.reuse > 3 { self.random.below(20) } else { choice };
        let source = match choice {
            0..=5 => self.literal(ty.scalar),
            6..=7 if ty.scalar != ScalarType::Bool => Source::Param,
            8 if ty.scalar != ScalarType::Bool => Source::Id,
            _ => Source::Slot(self.random.below(self.slots) as usize),
        };
        let var = self.program.input(ty, source);
        self.values.push(var);
        var
    }

    fn pick(&mut self, all: &[(usize, usize)]) -> Option<(usize, usize)> {
        if all.is_empty() { None } else { Some(all[self.random.below(all.len() as u32) as usize]) }
    }

    fn literal(&mut self, ty: ScalarType) -> Source {
        if ty == ScalarType::Bool {
            return Source::Literal(u64::from(self.random.below(2)));
        }
        // Small amounts, including halves of widths, as often as edge values.
        if self.random.below(2) == 0 && !ty.is_float() {
            let small = [0u64, 1, 3, 4, 7, 8, 15, 16, 31, 32, 63];
            let value = small[self.random.below(small.len() as u32) as usize];
            let is_negative = ty.is_signed() && self.random.below(2) == 0;
            return Source::Literal(if is_negative { value.wrapping_neg() } else { value } & ty.mask());
        }
        if self.random.below(2) == 0
            && let Some(format) = FloatFormat::of(ty)
        {
            let plain = [0.0, -0.0, 1.0, -1.0];
            return Source::Literal(format.encode(plain[self.random.below(4) as usize]));
        }
        let edges = edges(ty);
        Source::Literal(edges[self.random.below(edges.len() as u32) as usize])
    }

    /// Applies `subject` with `made` as operand `position` and other operands drawn at random.
    fn apply(&mut self, subject: &Subject, position: usize, made: Var) -> Var {
        let args = subject.operands.iter().enumerate();
        let args: Vec<(usize, Type)> = args.map(|(place, ty)| (place, *ty)).collect();
        let args = args
            .into_iter()
            .map(|(place, ty)| {
                let again = self.program.types[made] == ty && self.random.below(12) == 0;
                if place == position || again { made } else { self.operand(ty) }
            })
            .collect();
        self.program.op(subject.op, args, subject.result)
    }

    fn constant(&mut self, ty: ScalarType, value: u64) -> Var {
        self.program.input(Type::scalar(ty), Source::Literal(value))
    }

    fn convert(&mut self, value: Var, ty: ScalarType) -> Var {
        if self.program.types[value].scalar == ty {
            return value;
        }
        self.program.op(Op::Convert, vec![value], Type::scalar(ty))
    }

    /// Uses a scalar result in another way than a store.
    fn consumed(&mut self, result: Var, way: u32) -> (Output, &'static str) {
        let ty = self.program.types[result].scalar;
        match way {
            5 => (self.branch(result), "deciding an if"),
            6 if ty.is_integer() => (self.bounds(result), "bounding a for"),
            6 => {
                let index = self.convert(result, ScalarType::U32);
                (self.table(index), "as an index")
            }
            7 => {
                let index = self.convert(result, ScalarType::U32);
                (self.table(index), "as an index")
            }
            8 if ty != ScalarType::Bool => {
                let to = self.program.var(Type::scalar(ty));
                let mask = 1 << self.random.below(6);
                self.program.body.push(Node::Exchange { to, value: result, mask });
                (Output::Store(to), "through shared memory")
            }
            _ => {
                let word = self.convert(result, ScalarType::U32);
                let op = if self.random.below(2) == 0 { Op::AtomicAdd } else { Op::AtomicXor };
                (Output::Atomic(op, word), "added by an atomic")
            }
        }
    }

    fn branch(&mut self, result: Var) -> Output {
        let ty = self.program.types[result].scalar;
        let condition = if ty == ScalarType::Bool {
            result
        } else {
            let Source::Literal(bits) = self.literal(ty) else { return Output::Store(result) };
            let limit = self.constant(ty, bits);
            let ops = [Op::Lt, Op::Le, Op::Gt, Op::Ge, Op::Eq, Op::Ne];
            let op = ops[self.random.below(6) as usize];
            self.program.op(op, vec![result, limit], Type::BOOL)
        };
        let values = [self.constant(ScalarType::U32, 11), self.constant(ScalarType::U32, 22)];
        let arms = values.map(|value| Arm { nodes: Vec::new(), yields: vec![value] });
        let to = self.program.var(Type::U32);
        self.program.body.push(Node::If { condition, arms, to: vec![to] });
        Output::Store(to)
    }

    /// Counts from the low bits of the result to seven, so that even a wrong result gives a short loop.
    fn bounds(&mut self, result: Var) -> Output {
        let ty = self.program.types[result].scalar;
        let (mask, end) = (self.constant(ty, 7), self.constant(ty, 7));
        let from = self.program.op(Op::And, vec![result, mask], Type::scalar(ty));
        let zero = self.constant(ScalarType::U32, 0);
        let one = self.constant(ScalarType::U32, 1);
        let counter = self.program.var(Type::scalar(ty));
        let [carried, next, to] = [0; 3].map(|_| self.program.var(Type::U32));
        let add = Node::Op { to: next, op: Op::Add, args: vec![carried, one] };
        let body = Arm { nodes: vec![add], yields: vec![next] };
        self.program.body.push(Node::For {
            counter,
            from,
            end,
            step: 1,
            initial: vec![zero],
            carried: vec![carried],
            body,
            to: vec![to],
        });
        Output::Store(to)
    }

    fn table(&mut self, word: Var) -> Output {
        let last = self.constant(ScalarType::U32, u64::from(TABLE - 1));
        let index = match self.random.below(2) {
            0 => word,
            _ => self.program.op(Op::And, vec![word, last], Type::U32),
        };
        let to = self.program.var(Type::U32);
        self.program.body.push(Node::Table { to, index });
        Output::Store(to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_sequence_visits_every_pair_of_scalars_once_before_any_twice() {
        for count in [1usize, 7, 1000, 29_641] {
            let seen: BTreeSet<usize> = (0..count).map(|n| scattered(n, count)).collect();
            assert_eq!(seen.len(), count);
        }
    }
}
