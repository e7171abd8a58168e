//! Printing of kernels, including malformed ones: all indexing is checked, each block is printed at most once, and
//! the stack is explicit.

mod plain;
mod require;

use core::fmt::Write;
use std::collections::HashMap;

use fulgurite_spec::device::Capability;
use fulgurite_spec::limits::MAX_NAME_BYTES;
use fulgurite_spec::{Literal, Op};

use crate::analysis::walk::operands;
use crate::kernel::{
    BlockId, Const, Control, Initial, InstKind, Kernel, Memory, Terminator, ValueDef, ValueId, ViewId,
};
use crate::require::Require;

/// The maximum indentation in blocks, which keeps the length of the text linear in the size of the kernel.
const MAX_INDENT: usize = 64;
/// The length to which a clashing name is truncated, leaving room for a suffix.
const MAX_STEM: usize = MAX_NAME_BYTES - 12;
const BAD: &str = "%<bad>";

/// Prints `kernel`.
pub(super) fn kernel(kernel: &Kernel) -> String {
    let mut printer = Printer::new(kernel);
    printer.header();
    printer.blocks();
    printer.out
}

/// Prints one precondition.
pub(super) fn require(kernel: &Kernel, require: &Require) -> String {
    let mut printer = Printer::new(kernel);
    printer.require(require);
    printer.out
}

/// The continuation after a block.
#[derive(Clone, Copy)]
enum Region {
    /// The end of the kernel.
    Body,
    /// `else`, unless that block is empty and the `if` has no results.
    Then { otherwise: BlockId, has_results: bool },
    /// `do`, in whose block the header's names are visible.
    Header { body: BlockId },
    /// The end of the instruction.
    Last,
}

/// A block that is being printed.
struct Cursor {
    block: BlockId,
    next: usize,
    region: Region,
    /// The number of names taken when it was opened.
    mark: usize,
    /// True if it exists and was not printed before.
    sound: bool,
}

struct Printer<'k> {
    kernel: &'k Kernel,
    out: String,
    /// The printed name of each value whose definition was printed.
    names: Vec<Option<Box<str>>>,
    /// Names in scope, each with the next suffix to try.
    taken: HashMap<Box<str>, u32>,
    /// Names in the order in which they were taken, used to free them at the end of their scope.
    log: Vec<Box<str>>,
    used: Vec<bool>,
    printed: Vec<bool>,
    unnamed: u64,
    buffers: Vec<Box<str>>,
    shared: Vec<Box<str>>,
    locals: Vec<Box<str>>,
    views: Vec<Box<str>>,
    stack: Vec<Cursor>,
}

impl<'k> Printer<'k> {
    fn new(kernel: &'k Kernel) -> Self {
        let mut printer = Self {
            kernel,
            out: String::new(),
            names: vec![None; kernel.values.len()],
            taken: HashMap::new(),
            log: Vec::new(),
            used: used_values(kernel),
            printed: vec![false; kernel.blocks.len()],
            unnamed: 0,
            buffers: Vec::new(),
            shared: Vec::new(),
            locals: Vec::new(),
            views: Vec::new(),
            stack: Vec::new(),
        };
        printer.buffers = kernel.buffers.iter().map(|b| printer.declare(&b.name)).collect();
        for param in &kernel.params {
            let name = printer.declare(&param.name);
            if let Some(slot) = printer.names.get_mut(param.value.index()) {
                *slot = Some(name);
            }
        }
        printer.shared = kernel.shared.iter().map(|a| printer.declare(&a.name)).collect();
        printer.locals = kernel.locals.iter().map(|a| printer.declare(&a.name)).collect();
        printer.views = kernel.views.iter().map(|v| printer.declare(&v.name)).collect();
        printer
    }

    /// Takes a valid, unique name for a declaration, close to `name`.
    fn declare(&mut self, name: &str) -> Box<str> {
        let mut clean = cleaned(name);
        if super::is_number(&clean) {
            clean.insert(0, '_');
        }
        self.take(clean)
    }

    fn take(&mut self, name: String) -> Box<str> {
        let mut unique = name;
        if self.taken.contains_key(unique.as_str()) {
            let stem = unique[..unique.len().min(MAX_STEM)].to_owned();
            let mut suffix = self.taken.get(unique.as_str()).copied().unwrap_or(1);
            let clashing = unique;
            loop {
                unique = format!("{stem}.{suffix}");
                suffix = suffix.saturating_add(1);
                if !self.taken.contains_key(unique.as_str()) {
                    break;
                }
            }
            if let Some(next) = self.taken.get_mut(clashing.as_str()) {
                *next = suffix;
            }
        }
        let unique: Box<str> = unique.into();
        self.taken.insert(unique.clone(), 1);
        self.log.push(unique.clone());
        unique
    }

    /// Chooses the printed name of `value`.
    fn define(&mut self, value: ValueId) {
        let Some(known) = self.kernel.values.get(value.index()) else { return };
        let name = match known.name.as_deref().filter(|n| !n.is_empty() && !super::is_number(n)) {
            Some(name) => self.take(cleaned(name)),
            None => {
                self.unnamed += 1;
                (self.unnamed - 1).to_string().into()
            }
        };
        self.names[value.index()] = Some(name);
    }

    fn free_names(&mut self, mark: usize) {
        for name in self.log.drain(mark..) {
            self.taken.remove(&name);
        }
    }

    fn indent(&mut self) {
        for _ in 0..self.stack.len().min(MAX_INDENT) {
            self.out.push_str("  ");
        }
    }

    fn header(&mut self) {
        let kernel = self.kernel;
        let [x, y, z] = kernel.workgroup;
        let name = cleaned(&kernel.name);
        let _ =
            writeln!(self.out, "fulgurite {}\nkernel @{name} workgroup({x}, {y}, {z}) {{", super::VERSION);
        for (declared, name) in kernel.buffers.iter().zip(&self.buffers) {
            let (access, element) = (declared.access.name(), declared.element);
            let large = if declared.large { " large" } else { "" };
            let _ = writeln!(self.out, "  buffer %{name}: {access} {element}[]{large}");
        }
        for param in &kernel.params {
            let name = self.names.get(param.value.index()).and_then(|n| n.as_deref()).unwrap_or("<bad>");
            let _ = writeln!(self.out, "  param %{name}: {}", param.ty);
        }
        for (word, arrays, names) in
            [("shared", &kernel.shared, &self.shared), ("local", &kernel.locals, &self.locals)]
        {
            for (declared, name) in arrays.iter().zip(names) {
                let initial = if declared.initial == Initial::Uninit { " uninit" } else { "" };
                let _ =
                    writeln!(self.out, "  {word} %{name}: {}[{}]{initial}", declared.element, declared.len);
            }
        }
        for (position, view) in kernel.views.iter().enumerate() {
            self.out.push_str("  view ");
            self.memory(Memory::View(ViewId::new(position)));
            self.out.push_str(" = ");
            self.memory(view.base);
            let _ = writeln!(self.out, " as {}[]", view.element);
        }
        if kernel.needs_progress {
            let _ = writeln!(self.out, "  needs {}", Capability::WorkgroupProgress);
        }
        for require in &kernel.requires {
            self.out.push_str("  ");
            self.require(require);
            self.out.push('\n');
        }
    }

    fn memory(&mut self, memory: Memory) {
        let name = match memory {
            Memory::Buffer(id) => self.buffers.get(id.index()),
            Memory::Shared(id) => self.shared.get(id.index()),
            Memory::Local(id) => self.locals.get(id.index()),
            Memory::View(id) => self.views.get(id.index()),
        };
        match name {
            Some(name) => {
                let _ = write!(self.out, "%{name}");
            }
            None => self.out.push_str(BAD),
        }
    }

    fn value(&mut self, id: ValueId) {
        let Some(value) = self.kernel.values.get(id.index()) else {
            self.out.push_str(BAD);
            return;
        };
        let _ = match (value.def, &self.names[id.index()]) {
            (ValueDef::Const(Const(bits)), _) => {
                write!(self.out, "{}", Literal::new(value.ty.scalar, bits))
            }
            (_, Some(name)) => write!(self.out, "%{name}"),
            (_, None) => write!(self.out, "%<{id:?}>"),
        };
    }

    fn list(&mut self, values: &[ValueId]) {
        for (position, value) in values.iter().enumerate() {
            self.out.push_str(if position == 0 { " " } else { ", " });
            self.value(*value);
        }
    }

    fn element(&mut self, memory: Memory, index: ValueId) {
        self.out.push(' ');
        self.memory(memory);
        self.out.push('[');
        self.value(index);
        self.out.push(']');
    }

    fn blocks(&mut self) {
        let (kernel, body) = (self.kernel, self.kernel.body);
        let declarations = kernel.buffers.len()
            + kernel.params.len()
            + kernel.shared.len()
            + kernel.locals.len()
            + kernel.views.len()
            + usize::from(kernel.needs_progress)
            + kernel.requires.len();
        if declarations > 0 && kernel.blocks.get(body.index()).is_some_and(|b| !b.insts.is_empty()) {
            self.out.push('\n');
        }
        self.open(body, Region::Body, self.log.len());
        while let Some(cursor) = self.stack.last_mut() {
            let block = kernel.blocks.get(cursor.block.index()).filter(|_| cursor.sound);
            let inst = block.and_then(|b| b.insts.get(cursor.next));
            cursor.next += 1;
            match inst {
                Some(id) => {
                    self.indent();
                    match kernel.insts.get(id.index()) {
                        Some(inst) => self.inst(&inst.kind, &inst.results),
                        None => self.out.push_str("<bad>\n"),
                    }
                }
                None => self.close(),
            }
        }
    }

    /// Opens a block, whose end frees the names taken since `mark`.
    fn open(&mut self, block: BlockId, region: Region, mark: usize) {
        let printed = self.printed.get_mut(block.index()).map(|p| core::mem::replace(p, true));
        let sound = printed == Some(false);
        self.stack.push(Cursor { block, next: 0, region, mark, sound });
        if !sound {
            self.indent();
            self.out.push_str("<bad>\n");
        }
    }

    /// Ends the innermost block: prints its terminator and brace, and opens the next block.
    fn close(&mut self) {
        let Some(cursor) = self.stack.last() else { return };
        let (region, mark) = (cursor.region, cursor.mark);
        let block = self.kernel.blocks.get(cursor.block.index()).filter(|_| cursor.sound);
        if let Some(block) = block {
            self.terminator(&block.terminator, region);
        }
        self.stack.pop();
        self.indent();
        match region {
            Region::Header { body } => {
                self.out.push_str("} do {\n");
                self.open(body, Region::Last, mark);
            }
            Region::Then { otherwise, has_results } if has_results || !self.is_trivial(otherwise) => {
                self.free_names(mark);
                self.out.push_str("} else {\n");
                self.open(otherwise, Region::Last, mark);
            }
            Region::Body | Region::Then { .. } | Region::Last => {
                self.free_names(mark);
                self.out.push_str("}\n");
            }
        }
    }

    /// Returns whether an `else` block is empty.
    fn is_trivial(&self, block: BlockId) -> bool {
        self.kernel.blocks.get(block.index()).is_some_and(|b| {
            b.insts.is_empty() && matches!(&b.terminator, Terminator::Yield(values) if values.is_empty())
        })
    }

    fn terminator(&mut self, terminator: &Terminator, region: Region) {
        let (word, values) = match (terminator, region) {
            (Terminator::Return, Region::Body) => return,
            (Terminator::Return, _) => ("<return>", &[][..]),
            (Terminator::Yield(values), Region::Body | Region::Header { .. }) => ("<yield>", &values[..]),
            (Terminator::Yield(values), _) if values.is_empty() => return,
            (Terminator::Yield(values), _) => ("yield", &values[..]),
            (Terminator::Condition(value), _) => ("condition", core::slice::from_ref(value)),
        };
        self.indent();
        self.out.push_str(word);
        self.list(values);
        self.out.push('\n');
    }

    /// Prints an instruction after its indentation, and opens its first block if it has any.
    fn inst(&mut self, kind: &InstKind, results: &[ValueId]) {
        // Unused results of read-modify-write atomics are omitted.
        let is_silent = matches!(kind, InstKind::Atomic { op, .. } if *op != Op::AtomicLoad)
            && results.iter().all(|r| self.is_dispensable(*r));
        if !is_silent && !results.is_empty() {
            for (position, result) in results.iter().enumerate() {
                self.define(*result);
                self.out.push_str(if position == 0 { "" } else { ", " });
                self.value(*result);
            }
            self.out.push_str(" = ");
        }
        let mark = self.log.len();
        match kind.control() {
            None => {
                self.plain(kind);
                if states_result(kind) {
                    self.types(results);
                }
                self.out.push('\n');
            }
            Some(Control::If { condition, then_block, else_block }) => {
                self.out.push_str("if ");
                self.value(condition);
                self.types(results);
                self.out.push_str(" {\n");
                let has_results = !results.is_empty();
                self.open(then_block, Region::Then { otherwise: else_block, has_results }, mark);
            }
            Some(Control::For { start, end, step, initial, body }) => {
                let params = self.block_params(body);
                self.out.push_str("for ");
                match params.first() {
                    Some(counter) => {
                        self.define(*counter);
                        self.value(*counter);
                    }
                    None => self.out.push_str(BAD),
                }
                for (word, value) in [(" in ", start), (" to ", end), (" step ", step)] {
                    self.out.push_str(word);
                    self.value(value);
                }
                self.carry(params.get(1..).unwrap_or_default(), initial);
                self.open(body, Region::Last, mark);
            }
            Some(Control::Region { name, body }) => {
                let clean =
                    |c: char| if crate::kernel::is_region_name(c.encode_utf8(&mut [0; 4])) { c } else { '_' };
                let mut name: String = name.chars().map(clean).collect();
                while name.len() > MAX_NAME_BYTES {
                    name.pop();
                }
                let _ = write!(self.out, "region \"{name}\"");
                self.types(results);
                self.out.push_str(" {\n");
                self.open(body, Region::Last, mark);
            }
            Some(Control::While { initial, header, body }) => {
                self.out.push_str("while");
                self.carry(self.block_params(header), initial);
                self.open(header, Region::Header { body }, mark);
            }
        }
    }

    /// Returns whether a result can be omitted, because it has neither a name nor a use.
    fn is_dispensable(&self, result: ValueId) -> bool {
        self.used.get(result.index()) == Some(&false)
            && self.kernel.values.get(result.index()).is_some_and(|v| v.name.is_none())
    }

    fn types(&mut self, results: &[ValueId]) {
        for (position, result) in results.iter().enumerate() {
            self.out.push_str(if position == 0 { " -> " } else { ", " });
            let _ = match self.kernel.values.get(result.index()) {
                Some(value) => write!(self.out, "{}", value.ty),
                None => self.out.write_str("<bad>"),
            };
        }
    }

    fn block_params(&self, block: BlockId) -> &'k [ValueId] {
        let kernel = self.kernel;
        kernel.blocks.get(block.index()).map_or(&[], |b| b.params.as_slice())
    }

    /// Prints the carried values, and the opening brace.
    fn carry(&mut self, params: &[ValueId], initial: &[ValueId]) {
        let count = params.len().max(initial.len());
        for position in 0..count {
            self.out.push_str(if position == 0 { " carry(" } else { ", " });
            match params.get(position) {
                Some(param) => {
                    self.define(*param);
                    self.value(*param);
                }
                None => self.out.push_str(BAD),
            }
            self.out.push_str(" = ");
            match initial.get(position) {
                Some(value) => self.value(*value),
                None => self.out.push_str(BAD),
            }
        }
        self.out.push_str(if count == 0 { " {\n" } else { ") {\n" });
    }
}

/// Returns whether the text of an instruction without blocks states its result type.
fn states_result(kind: &InstKind) -> bool {
    match kind {
        InstKind::Scalar { op, .. } => op.states_result(),
        InstKind::CoopLoad { .. } | InstKind::CoopFill { .. } | InstKind::CoopConvert { .. } => true,
        InstKind::VecShuffle { .. }
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
        | InstKind::CoopStore { .. }
        | InstKind::CoopMulAdd { .. }
        | InstKind::Trap { .. }
        | InstKind::If { .. }
        | InstKind::For { .. }
        | InstKind::Region { .. }
        | InstKind::While { .. } => false,
    }
}

fn axis_name(component: u8) -> &'static str {
    ["x", "y", "z"].get(usize::from(component)).copied().unwrap_or("<bad>")
}

/// Returns the closest valid name to `name`.
fn cleaned(name: &str) -> String {
    if crate::kernel::is_name(name) {
        return name.to_owned();
    }
    let clean = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '_' | '.') { c } else { '_' };
    let name: String = name.chars().map(clean).take(MAX_NAME_BYTES).collect();
    if name.is_empty() { "_".to_owned() } else { name }
}

/// Returns which values are used by an instruction or terminator.
fn used_values(kernel: &Kernel) -> Vec<bool> {
    let mut used = vec![false; kernel.values.len()];
    let terminators = kernel.blocks.iter().flat_map(|block| match &block.terminator {
        Terminator::Return => &[],
        Terminator::Yield(values) => &values[..],
        Terminator::Condition(value) => core::slice::from_ref(value),
    });
    for value in kernel.insts.iter().flat_map(|inst| operands(&inst.kind)).chain(terminators.copied()) {
        if let Some(slot) = used.get_mut(value.index()) {
            *slot = true;
        }
    }
    used
}
