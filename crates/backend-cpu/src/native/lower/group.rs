//! Kernels that are run by whole workgroups: loops over the vectors of a workgroup, from barrier to barrier.
//!
//! Integers and bools that are equal in the whole workgroup stay in scalar registers, which each vector writes alike. Any
//! other value that is read behind a barrier has a place in the frame for each vector of the workgroup.

use fulgurite_ir::analysis::Uniformity;
use fulgurite_ir::{Control, InstId, PureInst, ValueId};

use super::local::local_words;
use super::plan::{Item, Node, Segment, divide};
use super::row::Row;
use super::{Lowering, Part, Value};
use crate::native::program::{Area, Class, Input, Kind, Reg, Relation, ScalarOp2, Step, Words};

/// The maximum size in bytes of the values that are kept across barriers, and of the local arrays.
const MAX_BYTES: u64 = 1 << 26;
/// A vector holds invocations of one row along x only. The interpreter is faster if fewer than one lane in this many is used.
const MOST_LANES_PER_INVOCATION: u64 = 2;

/// The position of the current vector in its workgroup.
#[derive(Clone, Copy, Debug)]
pub(super) struct Position {
    /// The local id of lane 0.
    pub(super) local: [Reg; 3],
    /// The number of lanes of the vectors before this one.
    lanes: Reg,
    /// The number of words in the local arrays of the vectors before this one.
    pub(super) local_words: Reg,
}

/// The place of a component between segments.
#[derive(Clone, Copy, Debug)]
pub(super) enum Home {
    /// A scalar register, whose value is equal in the workgroup.
    Group(Reg),
    /// A word for each vector, by the offset of the first one in bytes.
    Scalar(i32),
    Vector(i32),
    Mask(i32),
    /// The first value of a row. With a condition: that, and the vector.
    Row(i32, Option<[i32; 2]>),
}

impl Lowering<'_> {
    /// Compiles the kernel.
    pub(super) fn group(&mut self) -> Option<()> {
        let kernel = self.kernel;
        let (vectors, lanes) = (self.group_vectors(), u64::from(self.lanes));
        let invocations = u64::from(kernel.workgroup_invocations());
        let is_narrow = vectors > 1 && vectors * lanes > invocations * MOST_LANES_PER_INVOCATION;
        if is_narrow || local_words(kernel).saturating_mul(vectors * lanes * 4) > MAX_BYTES {
            return None;
        }
        self.define_inputs();
        let nodes = divide(kernel, &self.scalars)?;
        self.zero_shared();
        if local_words(kernel) > 0 {
            self.each_vector(|lowering| {
                lowering.zero_locals();
                Some(())
            })?;
        }
        self.nodes(&nodes)?;
        self.push(Step::Return);
        Some(())
    }

    /// Returns the number of vectors of a workgroup.
    pub(super) fn group_vectors(&self) -> u64 {
        let [x, y, z] = self.kernel.workgroup.map(u64::from);
        x.div_ceil(self.lanes.into()) * y * z
    }

    /// Adds a loop over the vectors of the workgroup.
    pub(super) fn each_vector(&mut self, body: impl FnOnce(&mut Self) -> Option<()>) -> Option<()> {
        let size = self.kernel.workgroup;
        let zero = self.input(Input::Constant(0));
        let [x, y, z, lanes, words] = [0; 5].map(|_| {
            let reg = self.reg(Class::Scalar);
            self.push(Step::Move { to: reg, from: zero });
            reg
        });
        let width = self.lanes as i32;
        let top = self.label();
        self.push(Step::LoopBegin);
        self.push(Step::Bind(top));
        self.position = Some(Position { local: [x, y, z], lanes, local_words: words });
        let begin = self.input(Input::GroupBegin);
        self.x = self.scalar2(ScalarOp2::Add, begin, x);
        if !size[0].is_multiple_of(self.lanes) {
            let end = self.input(Input::Constant(size[0]));
            let left = self.scalar2(ScalarOp2::Sub, end, x);
            let counts = self.reg(Class::Vector);
            self.push(Step::Broadcast { to: counts, from: left });
            let numbers = self.program.input(Class::Vector, Input::LaneNumbers);
            self.mask = Some(self.compare(Relation::Lt, Kind::Unsigned, numbers, counts));
        }
        body(self)?;
        self.mask = None;
        self.position = None;
        self.push(Step::Poll);
        self.push(Step::AddWide { to: lanes, a: lanes, b: width });
        let count = local_words(self.kernel) as i32 * width;
        self.push(Step::AddWide { to: words, a: words, b: count });
        self.push(Step::AddWide { to: x, a: x, b: width });
        for (axis, id) in [x, y, z].into_iter().enumerate() {
            if axis > 0 {
                self.push(Step::AddWide { to: id, a: id, b: 1 });
            }
            let end = self.input(Input::Constant(size[axis]));
            let (relation, kind) = (Relation::Lt, Kind::Unsigned);
            self.push(Step::Branch { relation, kind, a: id, b: end, to: top });
            if size[axis + 1..].iter().all(|size| *size == 1) {
                break;
            }
            self.push(Step::Move { to: id, from: zero });
        }
        self.push(Step::LoopEnd);
        Some(())
    }

    fn nodes(&mut self, nodes: &[Node]) -> Option<()> {
        for node in nodes {
            match node {
                Node::Segment(segment) => self.segment(segment)?,
                Node::For(id, body) => self.group_for(*id, body)?,
                Node::Rounds(id, segment) => self.rounds(*id, segment)?,
                Node::If(id, blocks) => self.group_if(*id, blocks)?,
            }
        }
        Some(())
    }

    fn segment(&mut self, segment: &Segment) -> Option<()> {
        let (group, others): (Vec<_>, Vec<_>) =
            segment.assigned.iter().copied().partition(|(variable, _)| self.is_group(*variable));
        for (variable, _) in &segment.assigned {
            for part in self.parts(&[*variable]) {
                self.declare(part)?;
            }
        }
        self.each_vector(|lowering| {
            for part in lowering.parts(&segment.reads) {
                lowering.recall(part)?;
            }
            lowering.items(segment)?;
            for part in lowering.parts(&segment.kept) {
                lowering.keep(part)?;
            }
            for (variable, value) in others {
                for (to, from) in lowering.parts(&[variable]).into_iter().zip(lowering.parts(&[value])) {
                    let home = lowering.homes[to.0]?;
                    lowering.save(home, from)?;
                }
            }
            Some(())
        })?;
        let (variables, values): (Vec<ValueId>, Vec<ValueId>) = group.into_iter().unzip();
        let mut registers = Vec::new();
        for part in self.parts(&variables) {
            let Home::Group(register) = self.homes[part.0]? else { return None };
            registers.push(register);
        }
        self.assign(&registers, &values)
    }

    /// Compiles the instructions of a segment for the current vector.
    pub(super) fn items(&mut self, segment: &Segment) -> Option<()> {
        for item in &segment.items {
            match item {
                Item::Inst(id) => self.inst(*id, self.kernel.inst(*id))?,
                Item::Publish(id, value) => self.publish(*id, *value)?,
                Item::Results(results, values) => {
                    for (to, from) in self.parts(results).into_iter().zip(self.parts(values)) {
                        self.values[to.0] = self.values[from.0];
                    }
                }
            }
        }
        Some(())
    }

    /// Returns whether a value is a scalar that is equal in the workgroup.
    fn is_group(&self, value: ValueId) -> bool {
        let is_equal = match self.uniformity.level(value) {
            Uniformity::Dispatch | Uniformity::Workgroup => true,
            Uniformity::Subgroup | Uniformity::Varying => false,
        };
        is_equal && self.scalars.is_scalar(value)
    }

    // Places.

    /// Returns a new place for a vector, or a word, of each vector of the workgroup.
    fn place(&mut self) -> Option<i32> {
        let at = self.kept_bytes;
        self.kept_bytes += self.group_vectors() * 4 * u64::from(self.lanes);
        if self.kept_bytes > MAX_BYTES {
            return None;
        }
        i32::try_from(at).ok()
    }

    /// Returns the words of a place for the current vector.
    fn kept(&mut self, offset: i32) -> Option<Words> {
        let pointer = self.input(Input::Area(Area::Kept));
        Some(Words { pointer, index: self.position?.lanes, offset })
    }

    /// Creates the place of a variable, unless it has one.
    fn declare(&mut self, part: Part) -> Option<()> {
        if self.homes[part.0].is_some() {
            return Some(());
        }
        let home = if self.is_group(self.owners[part.0]) {
            Home::Group(self.reg(Class::Scalar))
        } else {
            let (variable, at) = (self.variable(part), self.place()?);
            match self.program.class(variable) {
                Class::Scalar => Home::Scalar(at),
                Class::Vector => Home::Vector(at),
                Class::Mask => Home::Mask(at),
            }
        };
        self.homes[part.0] = Some(home);
        Some(())
    }

    /// Stores a component that later segments read.
    fn keep(&mut self, part: Part) -> Option<()> {
        let owner = self.owners[part.0];
        if let Some(PureInst::Id { .. }) = self.definition(owner) {
            return Some(());
        }
        let value = self.values[part.0];
        let home = match value {
            Value { scalar: Some(scalar), .. } if self.is_group(owner) => Home::Group(scalar),
            Value { scalar: Some(_), .. } => Home::Scalar(self.place()?),
            Value { mask: Some(_), .. } => Home::Mask(self.place()?),
            Value { row: Some(Row { when: None, .. }), .. } => Home::Row(self.place()?, None),
            Value { row: Some(Row { when: Some(_), .. }), .. } => {
                Home::Row(self.place()?, Some([self.place()?, self.place()?]))
            }
            Value { .. } => Home::Vector(self.place()?),
        };
        self.homes[part.0] = Some(home);
        self.save(home, part)
    }

    /// Stores a component in a place.
    fn save(&mut self, home: Home, part: Part) -> Option<()> {
        let value = self.values[part.0];
        match home {
            Home::Group(_) => {}
            Home::Scalar(at) => self.save_scalar(at, value.scalar?)?,
            Home::Vector(at) => self.save_vector(at, value.vector?)?,
            Home::Mask(at) => {
                let word = self.word_of_mask(value.mask?);
                self.save_vector(at, word)?;
            }
            Home::Row(at, condition) => {
                let row = value.row?;
                self.save_scalar(at, row.first)?;
                if let Some([when_at, vector_at]) = condition {
                    self.save_scalar(when_at, row.when?)?;
                    self.save_vector(vector_at, value.vector?)?;
                }
            }
        }
        Some(())
    }

    /// Stores the value of a broadcast for each invocation.
    fn publish(&mut self, id: InstId, value: ValueId) -> Option<()> {
        let mut places = Vec::new();
        for part in self.parts(&[value]) {
            let place = self.place()?;
            let vector = match self.mask(part) {
                Some(mask) => self.word_of_mask(mask),
                None => self.vector(part)?,
            };
            self.save_vector(place, vector)?;
            places.push(place);
        }
        self.published.insert(id, places);
        Some(())
    }

    /// Compiles a broadcast of what an invocation has stored; zeros if there is none with this index. Subgroups are vectors, so
    /// the words are in the order of the local indices.
    pub(super) fn workgroup_broadcast(&mut self, id: InstId, index: ValueId, result: ValueId) -> Option<()> {
        let (index, pointer) = (self.decisive(index)?, self.input(Input::Area(Area::Kept)));
        let invocations = self.input(Input::Constant(self.kernel.workgroup_invocations()));
        let places = self.published.get(&id)?.clone();
        for (part, offset) in self.parts(&[result]).into_iter().zip(places) {
            let (words, len) = (Words { pointer, index, offset }, Some(invocations));
            let class = self.class_of(part);
            if class == Class::Scalar {
                let to = self.reg(class);
                self.push(Step::LoadScalar { to, words, len });
                self.define_scalar(part, to);
                continue;
            }
            let to = self.reg(Class::Vector);
            self.push(Step::LoadBroadcast { to, words, len });
            if class == Class::Mask {
                let mask = self.mask_of_word(to);
                self.define_mask(part, mask);
            } else {
                self.define_vector(part, to);
            }
        }
        Some(())
    }

    fn save_scalar(&mut self, at: i32, from: Reg) -> Option<()> {
        let words = self.kept(at)?;
        self.push(Step::StoreScalar { from, words });
        Some(())
    }

    fn save_vector(&mut self, at: i32, from: Reg) -> Option<()> {
        let words = self.kept(at)?;
        self.push(Step::StoreRow { from, words, mask: None });
        Some(())
    }

    fn recall_scalar(&mut self, at: i32) -> Option<Reg> {
        let (to, words) = (self.reg(Class::Scalar), self.kept(at)?);
        self.push(Step::LoadScalar { to, words, len: None });
        Some(to)
    }

    fn recall_vector(&mut self, at: i32) -> Option<Reg> {
        let (to, words) = (self.reg(Class::Vector), self.kept(at)?);
        self.push(Step::LoadRow { to, words });
        Some(to)
    }

    /// Defines a component of another segment.
    pub(super) fn recall(&mut self, part: Part) -> Option<()> {
        if let Some(PureInst::Id { op, component }) = self.definition(self.owners[part.0]) {
            // This defines all words of the value, though only one was asked for.
            return self.id(op, component.into(), self.owners[part.0]);
        }
        match self.homes[part.0]? {
            Home::Group(register) => self.define_scalar(part, register),
            Home::Scalar(at) => {
                let scalar = self.recall_scalar(at)?;
                self.define_scalar(part, scalar);
            }
            Home::Vector(at) => {
                let vector = self.recall_vector(at)?;
                self.define_vector(part, vector);
            }
            Home::Mask(at) => {
                let word = self.recall_vector(at)?;
                let mask = self.mask_of_word(word);
                self.define_mask(part, mask);
            }
            Home::Row(at, None) => {
                let first = self.recall_scalar(at)?;
                self.define_row(part, first);
            }
            Home::Row(at, Some([when_at, vector_at])) => {
                let (first, when) = (self.recall_scalar(at)?, self.recall_scalar(when_at)?);
                let vector = self.recall_vector(vector_at)?;
                self.define_vector(part, vector);
                self.values[part.0].row = Some(Row { first, when: Some(when) });
            }
        }
        Some(())
    }

    // Control flow around barriers.

    /// Returns the scalar register of a value that decides about barriers.
    pub(super) fn decisive(&self, value: ValueId) -> Option<Reg> {
        self.scalar(self.first(value))
    }

    /// Adds a `for` that is compiled for the workgroup. The segment before it has assigned the initial values.
    fn group_for(&mut self, id: InstId, body: &[Node]) -> Option<()> {
        let kernel = self.kernel;
        let inst = kernel.inst(id);
        let Some(Control::For { start, end, step, body: block, .. }) = inst.kind.control() else {
            return None;
        };
        let (counter, carried) = kernel.block(block).params.split_first()?;
        let counting = self.counting(start, end, step)?;
        let (start, end) = (self.decisive(start)?, self.decisive(end)?);
        let count = self.reg(Class::Scalar);
        self.push(Step::Move { to: count, from: start });
        let (top, done) = (self.label(), self.label());
        let [low, high] = counting.ascending(start, end);
        self.push(Step::Branch { relation: Relation::Ge, kind: counting.kind, a: low, b: high, to: done });
        let left = self.scalar2(ScalarOp2::Sub, high, low);
        let counter = self.first(*counter);
        self.homes[counter.0] = Some(Home::Group(count));
        self.push(Step::LoopBegin);
        self.push(Step::Bind(top));
        self.nodes(body)?;
        let step = self.input(Input::Constant(counting.step));
        self.push(Step::Scalar { op: ScalarOp2::Add, to: count, a: count, b: step });
        self.push(Step::Poll);
        self.push(Step::CountDown { left, by: counting.stride(), to: top });
        self.push(Step::LoopEnd);
        self.push(Step::Bind(done));
        for (result, variable) in self.parts(&inst.results).into_iter().zip(self.parts(carried)) {
            self.homes[result.0] = self.homes[variable.0];
        }
        Some(())
    }

    fn group_if(&mut self, id: InstId, blocks: &[Vec<Node>; 2]) -> Option<()> {
        let kernel = self.kernel;
        let inst = kernel.inst(id);
        let Some(Control::If { condition, .. }) = inst.kind.control() else { return None };
        let (otherwise, done) = (self.label(), self.label());
        let (a, b) = (self.decisive(condition)?, self.input(Input::Constant(0)));
        self.push(Step::Branch { relation: Relation::Eq, kind: Kind::Unsigned, a, b, to: otherwise });
        self.nodes(&blocks[0])?;
        self.push(Step::Jump(done));
        self.push(Step::Bind(otherwise));
        self.nodes(&blocks[1])?;
        self.push(Step::Bind(done));
        Some(())
    }
}
