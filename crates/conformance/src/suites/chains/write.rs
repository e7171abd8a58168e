//! Kernels of programs: text, buffers, parameters, and the location of each result.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;

use fulgurite_spec::eval::{self, Components};
use fulgurite_spec::{Literal, Op, ScalarType, Type};

use super::data::{Data, SLOTS, bytes_of, component_at};
use super::program::{
    Arm, Column, INVOCATIONS, LOCALS, Node, Output, Program, Source, TABLE, Var, WHILE_END, table_word,
};

/// Time and form of the stores of results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stores {
    /// Stored after each program.
    Early,
    /// Stored after all programs, which keeps the results in registers.
    Late,
    /// The results of this many programs in one word, a [`digest`]: in some drivers' compilers a store takes longer
    /// than a chain.
    Digest(usize),
}

/// Factor of a digest before a word is added, so that faults that swap two words, or change them by opposite amounts,
/// do not cancel out.
const FACTOR: u32 = 31;

/// A kernel with its inputs.
pub(super) struct Written {
    pub(super) text: String,
    /// The contents of each buffer before the launch.
    pub(super) buffers: Vec<Vec<u8>>,
    pub(super) params: Vec<Components>,
    /// Name and type of each buffer.
    pub(super) buffer_names: Vec<(String, ScalarType)>,
    /// Name and type of each parameter.
    pub(super) param_names: Vec<(String, ScalarType)>,
    /// Locations of the components of each output of each program; empty if they are in a digest.
    places: Vec<Vec<Vec<Place>>>,
    /// Locations of the digests, in the order of the programs.
    digests: Vec<Place>,
}

/// Location of one component of a result; that of invocation `i` is `i` elements further.
#[derive(Clone, Copy)]
struct Place {
    buffer: usize,
    ty: ScalarType,
    first: usize,
}

impl Written {
    /// Returns digest `number` of one invocation.
    pub(super) fn digest(&self, after: &[Vec<u8>], number: usize, invocation: usize) -> u64 {
        let place = self.digests[number];
        component_at(&after[place.buffer], place.ty, place.first + invocation)
    }

    /// Returns the expected elements of each buffer after a launch, given the values of each output of each program and
    /// the digests. `None` is an undecided element.
    pub(super) fn after(&self, results: &[Vec<Column>], digests: &[Digests]) -> Vec<Vec<Option<u64>>> {
        let elements = |(bytes, (_, ty)): (&Vec<u8>, &(String, ScalarType))| {
            let count = bytes.len() / ty.size() as usize;
            (0..count).map(|at| Some(component_at(bytes, *ty, at))).collect()
        };
        let mut buffers: Vec<Vec<Option<u64>>> =
            self.buffers.iter().zip(&self.buffer_names).map(elements).collect();
        let mut set = |place: &Place, invocation: usize, bits: u64, decided: u64| {
            let known = decided >> invocation & 1 == 1;
            buffers[place.buffer][place.first + invocation] = known.then_some(bits);
        };
        for invocation in 0..INVOCATIONS {
            for (columns, outputs) in results.iter().zip(&self.places) {
                for (column, places) in columns.iter().zip(outputs) {
                    let lanes = places.iter().zip(column.values[invocation]);
                    lanes.for_each(|(place, bits)| set(place, invocation, bits, column.decided));
                }
            }
            for (place, digest) in self.digests.iter().zip(digests) {
                set(place, invocation, digest.values[invocation], digest.decided);
            }
        }
        buffers
    }

    /// Returns the value found for one output of one program in one invocation.
    pub(super) fn found(
        &self,
        after: &[Vec<u8>],
        program: usize,
        output: usize,
        invocation: usize,
    ) -> Components {
        let mut value = [0; 4];
        for (slot, place) in value.iter_mut().zip(&self.places[program][output]) {
            *slot = component_at(&after[place.buffer], place.ty, place.first + invocation);
        }
        value
    }
}

/// Returns the type in which memory stores a component.
pub(super) fn stored(ty: ScalarType) -> ScalarType {
    if ty == ScalarType::Bool { ScalarType::U32 } else { ty }
}

/// Declarations of a kernel, collected before its text is written.
#[derive(Default)]
struct Declared {
    loaded: BTreeSet<ScalarType>,
    params: BTreeSet<ScalarType>,
    shared: BTreeSet<Type>,
    locals: BTreeSet<Type>,
    table: bool,
    /// Number of stored components of each type.
    stored: BTreeMap<ScalarType, usize>,
    /// Number of words combined by atomics.
    atomics: usize,
    /// Number of digest words.
    digests: usize,
}

/// Writes one kernel that contains all `programs`.
pub(super) fn write(programs: &[&Program], data: &Data, stores: Stores) -> Written {
    let declared = declare(programs, stores);
    let mut text = String::from("fulgurite 1\nkernel @chains workgroup(64, 1, 1) {\n");
    let (mut buffers, mut names) = (Vec::new(), HashMap::new());
    let mut buffer_names = Vec::new();
    let mut requires = String::new();
    for ty in &declared.loaded {
        let _ = writeln!(text, "  buffer %in_{ty}: read {ty}[]");
        let _ = writeln!(requires, "  require eq (len %in_{ty}), {}u32", SLOTS * INVOCATIONS);
        buffers.push(bytes_of(*ty, data.slots(*ty).iter().copied()));
        buffer_names.push((format!("in_{ty}"), *ty));
    }
    if declared.table {
        text += "  buffer %table: read u32[]\n";
        buffers.push(bytes_of(ScalarType::U32, (0..u64::from(TABLE)).map(table_word)));
        buffer_names.push(("table".to_owned(), ScalarType::U32));
    }
    for (ty, count) in &declared.stored {
        let _ = writeln!(text, "  buffer %out_{ty}: write {ty}[]");
        let _ = writeln!(requires, "  require eq (len %out_{ty}), {}u32", count * INVOCATIONS);
        names.insert(*ty, buffers.len());
        // Fill the output with a pattern, so that a missing store is detected.
        buffers.push(vec![0xa5; count * INVOCATIONS * ty.size() as usize]);
        buffer_names.push((format!("out_{ty}"), *ty));
    }
    let atomics = buffers.len();
    if declared.atomics > 0 {
        text += "  buffer %sums: read_write u32[]\n";
        let _ = writeln!(requires, "  require eq (len %sums), {}u32", declared.atomics * INVOCATIONS);
        buffers.push(vec![0; declared.atomics * INVOCATIONS * 4]);
        buffer_names.push(("sums".to_owned(), ScalarType::U32));
    }
    if declared.digests > 0 {
        text += "  buffer %digests: write u32[]\n";
        let _ = writeln!(requires, "  require eq (len %digests), {}u32", declared.digests * INVOCATIONS);
    }
    for ty in &declared.params {
        let _ = writeln!(text, "  param %param_{ty}: {ty}");
    }
    for ty in &declared.shared {
        let _ = writeln!(text, "  shared %shared_{ty}: {ty}[{INVOCATIONS}] uninit");
    }
    for ty in &declared.locals {
        let _ = writeln!(text, "  local %local_{ty}: {ty}[{LOCALS}]");
    }
    text += &requires;
    text += "  %i = local_index\n";
    let params = declared.params.iter().map(|ty| eval::splat_low(data.param(*ty))).collect();
    let mut writer = Writer {
        text,
        program: programs.first().copied(),
        number: 0,
        inputs: HashMap::new(),
        operands: HashMap::new(),
        fresh: 0,
        depth: 1,
    };
    let (mut places, mut stored_so_far, mut atomics_so_far) = (Vec::new(), BTreeMap::new(), 0);
    let (mut late, mut digests, mut digest) = (String::new(), Vec::new(), None);
    for (number, program) in programs.iter().enumerate() {
        writer.program = Some(program);
        writer.number = number;
        writer.operands.clear();
        writer.nodes(&program.body);
        let before = writer.text.len();
        let mut own = Vec::new();
        for output in &program.outputs {
            own.push(match output {
                Output::Store(var) if matches!(stores, Stores::Digest(_)) => {
                    digest = Some(writer.add_to_digest(digest, *var));
                    Vec::new()
                }
                Output::Store(var) => writer.store(*var, &names, &mut stored_so_far),
                Output::Atomic(op, var) => {
                    let first = atomics_so_far * INVOCATIONS;
                    atomics_so_far += 1;
                    let at = writer.at(first);
                    let value = writer.name(*var);
                    writer.line(&format!("{} %sums[{at}], {value}", op.mnemonic()));
                    vec![Place { buffer: atomics, ty: ScalarType::U32, first }]
                }
            });
        }
        if stores == Stores::Late {
            late += &writer.text.split_off(before);
        }
        places.push(own);
        let last = number + 1 == programs.len();
        if let Stores::Digest(count) = stores
            && (last || (number + 1) % count == 0)
        {
            let first = digests.len() * INVOCATIONS;
            let at = writer.at(first);
            let value = digest.take().unwrap_or_else(|| "0u32".to_owned());
            writer.line(&format!("store %digests[{at}], {value}"));
            digests.push(Place { buffer: buffers.len(), ty: ScalarType::U32, first });
        }
    }
    if !digests.is_empty() {
        buffers.push(vec![0xa5; digests.len() * INVOCATIONS * 4]);
        buffer_names.push(("digests".to_owned(), ScalarType::U32));
    }
    let text = writer.text + &late + "}\n";
    let param_names = declared.params.iter().map(|ty| (format!("param_{ty}"), *ty)).collect();
    Written { text, buffers, params, buffer_names, param_names, places, digests }
}

/// The digest of each invocation, and a bit mask of the invocations in which it is decided.
pub(super) struct Digests {
    pub(super) values: [u64; INVOCATIONS],
    pub(super) decided: u64,
}

/// Returns the digest extended by a value: its words in order, the low one of two first.
pub(super) fn digest(so_far: u64, ty: Type, value: &Components) -> u64 {
    let words = if ty.scalar.bits() == 64 { 2 } else { 1 };
    let lanes = &value[..ty.lanes.count() as usize];
    let words = lanes.iter().flat_map(|bits| [bits & 0xffff_ffff, bits >> 32].into_iter().take(words));
    words.fold(so_far, |sum, word| (sum * u64::from(FACTOR) + word) & 0xffff_ffff)
}

fn declare(programs: &[&Program], stores: Stores) -> Declared {
    let mut declared = Declared::default();
    if let Stores::Digest(count) = stores {
        declared.digests = programs.len().div_ceil(count);
    }
    for program in programs {
        declare_nodes(program, &program.body, &mut declared);
        for output in &program.outputs {
            match output {
                Output::Store(_) if declared.digests > 0 => {}
                Output::Store(var) => {
                    let ty = program.types[*var];
                    *declared.stored.entry(stored(ty.scalar)).or_default() += ty.lanes.count() as usize;
                }
                Output::Atomic(..) => declared.atomics += 1,
            }
        }
    }
    declared
}

fn declare_nodes(program: &Program, nodes: &[Node], declared: &mut Declared) {
    for node in nodes {
        match node {
            Node::Input { to, source: Source::Slot(_) } => {
                declared.loaded.insert(stored(program.types[*to].scalar));
            }
            Node::Input { to, source: Source::Param } => {
                declared.params.insert(program.types[*to].scalar);
            }
            Node::Exchange { value, .. } => {
                declared.shared.insert(program.types[*value]);
            }
            Node::Local { to, .. } => {
                declared.locals.insert(program.types[*to]);
            }
            Node::Table { .. } => declared.table = true,
            Node::If { arms, .. } => arms.iter().for_each(|arm| declare_nodes(program, &arm.nodes, declared)),
            Node::For { body, .. } => declare_nodes(program, &body.nodes, declared),
            Node::While { header, body, .. } => {
                [header, body].into_iter().for_each(|arm| declare_nodes(program, &arm.nodes, declared));
            }
            Node::Input { source: Source::Literal(_) | Source::Id, .. }
            | Node::Op { .. }
            | Node::Combined { .. }
            | Node::Shuffle { .. } => {}
        }
    }
}

struct Writer<'a> {
    text: String,
    program: Option<&'a Program>,
    number: usize,
    /// Names of the components loaded so far: all programs of the kernel share a load.
    inputs: HashMap<(ScalarType, usize), String>,
    /// Operands of the current program that are not named after their variable.
    operands: HashMap<Var, String>,
    /// Number of names made by [`fresh`](Self::fresh).
    fresh: usize,
    depth: usize,
}

impl Writer<'_> {
    fn line(&mut self, line: &str) {
        self.text.extend(std::iter::repeat_n("  ", self.depth));
        self.text += line;
        self.text += "\n";
    }

    fn ty(&self, var: Var) -> Type {
        self.program.map_or(Type::U32, |program| program.types[var])
    }

    fn name(&self, var: Var) -> String {
        self.operands.get(&var).cloned().unwrap_or_else(|| format!("%v{}_{var}", self.number))
    }

    fn names(&self, vars: &[Var]) -> String {
        vars.iter().map(|var| self.name(*var)).collect::<Vec<_>>().join(", ")
    }

    /// Returns a unique name.
    fn fresh(&mut self, what: &str) -> String {
        self.fresh += 1;
        format!("%{what}{}", self.fresh)
    }

    /// Returns the index `first` elements after that of the invocation.
    fn at(&mut self, first: usize) -> String {
        if first == 0 {
            return "%i".to_owned();
        }
        let name = self.fresh("at");
        self.line(&format!("{name} = add %i, {first}u32"));
        name
    }

    /// Returns the name of a loaded component.
    fn loaded(&mut self, ty: ScalarType, slot: usize) -> String {
        let slot = slot % SLOTS;
        if let Some(name) = self.inputs.get(&(ty, slot)) {
            return name.clone();
        }
        let name = format!("%in_{ty}_{slot}");
        let at = self.at(slot * INVOCATIONS);
        if ty == ScalarType::Bool {
            self.line(&format!("{name}_w = load %in_u32[{at}]"));
            self.line(&format!("{name}_b = and {name}_w, 1u32"));
            self.line(&format!("{name} = convert {name}_b -> bool"));
        } else {
            self.line(&format!("{name} = load %in_{ty}[{at}]"));
        }
        self.inputs.insert((ty, slot), name.clone());
        name
    }

    fn input(&mut self, to: Var, source: Source) {
        let ty = self.ty(to);
        let lanes = ty.lanes.count() as usize;
        let name = self.name(to);
        let scalar = ty.scalar;
        let components: Vec<String> = match source {
            Source::Slot(slot) => (0..lanes).map(|lane| self.loaded(scalar, slot + lane)).collect(),
            Source::Literal(bits) => vec![Literal::new(scalar, bits).to_string(); lanes],
            Source::Param => vec![format!("%param_{scalar}"); lanes],
            Source::Id => {
                let id = if scalar == ScalarType::U32 {
                    "%i".to_owned()
                } else {
                    let id = format!("{name}_id");
                    self.line(&format!("{id} = convert %i -> {scalar}"));
                    id
                };
                vec![id; lanes]
            }
        };
        if lanes > 1 {
            self.line(&format!("{name} = construct {}", components.join(", ")));
        } else {
            self.operands.insert(to, components[0].clone());
        }
    }

    fn nodes(&mut self, nodes: &[Node]) {
        for node in nodes {
            self.node(node);
        }
    }

    fn repeat_while(&mut self, node: &Node) {
        let Node::While { counter, from, initial, carried, header, body, to } = node else { return };
        let carries = self.carries(carried.iter().zip(initial).chain([(counter, from)]));
        let count = self.fresh("count");
        self.line(&format!("{}, {count} = while carry({carries}) {{", self.names(to)));
        // For loaded values, header and body are one block: the body sees those of the header.
        self.nested(|writer| {
            writer.nodes(&header.nodes);
            let [less, go] = ["less", "go"].map(|what| writer.fresh(what));
            writer.line(&format!("{less} = lt {}, {WHILE_END}u32", writer.name(*counter)));
            writer.line(&format!("{go} = and {less}, {}", writer.name(header.yields[0])));
            writer.line(&format!("condition {go}"));
            writer.depth -= 1;
            writer.line("} do {");
            writer.depth += 1;
            writer.nodes(&body.nodes);
            let next = writer.fresh("next");
            writer.line(&format!("{next} = add {}, 1u32", writer.name(*counter)));
            writer.line(&format!("yield {}, {next}", writer.names(&body.yields)));
        });
        self.line("}");
    }

    /// Returns the list in `carry(…)`.
    fn carries<'v>(&self, pairs: impl Iterator<Item = (&'v Var, &'v Var)>) -> String {
        let pairs = pairs.map(|(param, value)| format!("{} = {}", self.name(*param), self.name(*value)));
        pairs.collect::<Vec<_>>().join(", ")
    }

    fn node(&mut self, node: &Node) {
        match node {
            Node::Input { to, source } => self.input(*to, *source),
            Node::Op { to, op, args } => {
                let stated = matches!(op, Op::Convert | Op::Bitcast | Op::Unpack);
                let result = if stated { format!(" -> {}", self.ty(*to)) } else { String::new() };
                let line = format!("{} = {} {}{result}", self.name(*to), op.mnemonic(), self.names(args));
                self.line(&line);
            }
            Node::If { condition, arms, to } => {
                let types: Vec<String> = to.iter().map(|var| self.ty(*var).to_string()).collect();
                let results = if to.is_empty() { String::new() } else { format!("{} = ", self.names(to)) };
                let types = if to.is_empty() { String::new() } else { format!(" -> {}", types.join(", ")) };
                self.line(&format!("{results}if {}{types} {{", self.name(*condition)));
                self.arm(&arms[0]);
                self.line("} else {");
                self.arm(&arms[1]);
                self.line("}");
            }
            Node::While { .. } => self.repeat_while(node),
            Node::Local { to, values, index } => {
                let array = format!("%local_{}", self.ty(*to));
                for (at, value) in values.iter().enumerate() {
                    self.line(&format!("store {array}[{at}u32], {}", self.name(*value)));
                }
                self.line(&format!("{} = load {array}[{}]", self.name(*to), self.name(*index)));
            }
            Node::For { counter, from, end, step, initial, carried, body, to } => {
                let ty = self.ty(*from);
                let carries = self.carries(carried.iter().zip(initial));
                let [counter, from, end] = [*counter, *from, *end].map(|var| self.name(var));
                let to = self.names(to);
                self.line(&format!(
                    "{to} = for {counter} in {from} to {end} step {step}{ty} carry({carries}) {{"
                ));
                self.arm(body);
                self.line("}");
            }
            Node::Table { to, index } => {
                let line = format!("{} = load %table[{}]", self.name(*to), self.name(*index));
                self.line(&line);
            }
            Node::Exchange { to, value, mask } => {
                let (to, ty, value) = (self.name(*to), self.ty(*value), self.name(*value));
                self.line("barrier[shared]");
                self.line(&format!("store %shared_{ty}[%i], {value}"));
                self.line("barrier[shared]");
                self.line(&format!("{to}_at = xor %i, {mask}u32"));
                self.line(&format!("{to} = load %shared_{ty}[{to}_at]"));
            }
            Node::Combined { to, op, combine, value } => {
                let line = format!(
                    "{} = {}[{}] {}",
                    self.name(*to),
                    op.mnemonic(),
                    combine.op().mnemonic(),
                    self.name(*value)
                );
                self.line(&line);
            }
            Node::Shuffle { to, value, mask } => {
                let line =
                    format!("{} = subgroup.shuffle_xor {}, {mask}u32", self.name(*to), self.name(*value));
                self.line(&line);
            }
        }
    }

    fn arm(&mut self, arm: &Arm) {
        self.nested(|writer| {
            writer.nodes(&arm.nodes);
            if !arm.yields.is_empty() {
                let line = format!("yield {}", writer.names(&arm.yields));
                writer.line(&line);
            }
        });
    }

    /// Writes a block. Values loaded in it are not visible after it.
    fn nested(&mut self, write: impl FnOnce(&mut Self)) {
        self.depth += 1;
        let inputs = self.inputs.clone();
        write(self);
        self.inputs = inputs;
        self.depth -= 1;
    }

    /// Adds the words of a result to a digest.
    fn add_to_digest(&mut self, mut sum: Option<String>, var: Var) -> String {
        let (ty, name) = (self.ty(var), self.name(var));
        for lane in 0..ty.lanes.count() {
            let mut value = name.clone();
            if ty.lanes.count() > 1 {
                value = self.fresh("part");
                self.line(&format!("{value} = extract {name}, {lane}u32"));
            }
            for word in self.words_of(ty.scalar, value) {
                sum = Some(match sum {
                    None => word,
                    Some(sum) => {
                        let (moved, next) = (self.fresh("moved"), self.fresh("sum"));
                        self.line(&format!("{moved} = mul {sum}, {FACTOR}u32"));
                        self.line(&format!("{next} = add {moved}, {word}"));
                        next
                    }
                });
            }
        }
        sum.unwrap_or_else(|| "0u32".to_owned())
    }

    /// Returns the names of the words of a scalar.
    fn words_of(&mut self, ty: ScalarType, value: String) -> Vec<String> {
        let mut made = |line: String| {
            let name = self.fresh("word");
            self.line(&format!("{name} = {line}"));
            name
        };
        match ty {
            ScalarType::U32 => vec![value],
            ScalarType::I32 | ScalarType::F32 => vec![made(format!("bitcast {value} -> u32"))],
            ScalarType::Bool | ScalarType::U8 | ScalarType::U16 => {
                vec![made(format!("convert {value} -> u32"))]
            }
            ScalarType::I64 | ScalarType::F64 | ScalarType::U64 => {
                let bits =
                    if ty == ScalarType::U64 { value } else { made(format!("bitcast {value} -> u64")) };
                let high = made(format!("shr {bits}, 32u32"));
                [bits, high].into_iter().map(|half| made(format!("convert {half} -> u32"))).collect()
            }
            narrow => {
                let unsigned = if narrow.bits() == 8 { "u8" } else { "u16" };
                let bits = made(format!("bitcast {value} -> {unsigned}"));
                vec![made(format!("convert {bits} -> u32"))]
            }
        }
    }

    /// Stores a result component by component, after the stored results of the same type.
    fn store(
        &mut self,
        var: Var,
        buffers: &HashMap<ScalarType, usize>,
        so_far: &mut BTreeMap<ScalarType, usize>,
    ) -> Vec<Place> {
        let (ty, name) = (self.ty(var), self.name(var));
        let kept = stored(ty.scalar);
        let mut places = Vec::new();
        for lane in 0..ty.lanes.count() {
            let count = so_far.entry(kept).or_default();
            let first = *count * INVOCATIONS;
            *count += 1;
            let mut value = name.clone();
            if ty.lanes.count() > 1 {
                value = self.fresh("part");
                self.line(&format!("{value} = extract {name}, {lane}u32"));
            }
            if ty.scalar == ScalarType::Bool {
                let word = self.fresh("word");
                self.line(&format!("{word} = convert {value} -> u32"));
                value = word;
            }
            let at = self.at(first);
            self.line(&format!("store %out_{kept}[{at}], {value}"));
            places.push(Place { buffer: buffers[&kept], ty: kept, first });
        }
        places
    }
}
