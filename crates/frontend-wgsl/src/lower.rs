//! Lowers one entry point of a validated module to a kernel.
//!
//! Functions are inlined. Variables of an invocation become values that blocks carry, except arrays that are indexed
//! dynamically, which become local arrays. `break`, `continue` and `return` become flags where the structure of the
//! code does not already say what follows.

mod atomics;
mod call;
mod declare;
mod expression;
mod flow;
mod loops;
mod math;
mod math_parts;
mod matrix;
mod overrides;
mod place;
mod storage;
mod subgroup;

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use fulgurite_ir::{Kernel, Memory, ValueId};
use fulgurite_spec::{Location, Type};
use naga::valid::{FunctionInfo, ModuleInfo};
use naga::{Expression, Function, GlobalVariable, Handle, LocalVariable, Module, Span};

use crate::bindings::{Binding, ImportOptions};
use crate::emit::Emit;
use crate::names::Names;
use crate::refusal::{Res, Source, too_large};
use crate::scan::Facts;
use crate::types::Ty;

use place::Place;
use storage::{Buffer, Variable};

/// The largest number of values of an imported kernel, before those that nothing uses are removed.
const MAX_VALUES: usize = 1 << 20;
/// The largest number of statements, counting those of an inlined function for each call.
const MAX_STATEMENTS: u32 = 1 << 17;
/// The largest number of slots at a time.
const MAX_SLOTS: usize = 1 << 14;
/// The deepest nesting of blocks and calls. The stack that lowering needs is proportional to it.
const MAX_DEPTH: u32 = 96;

/// The result of lowering: an unverified kernel, and how its arguments correspond to bindings of WGSL.
pub(crate) struct Lowered {
    pub(crate) kernel: Kernel,
    pub(crate) bindings: Vec<Binding>,
}

/// A value of any type: its scalars and vectors in order.
#[derive(Clone, Debug)]
struct Value {
    ty: Rc<Ty>,
    leaves: Rc<[ValueId]>,
}

/// The meaning of an expression.
#[derive(Clone, Debug)]
enum Item {
    Value(Value),
    /// A pointer.
    Place(Place),
}

/// A variable that an expression refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Object {
    /// Index in `variables`.
    Variable(usize),
    /// Index in `buffers`.
    Buffer(usize),
}

/// A construct that `break`, `continue` or `return` leaves. The flags are slots of `bool`.
#[derive(Clone, Copy, Debug)]
enum Scope {
    Loop { broke: usize, continued: usize },
    Switch { broke: usize },
}

/// A function that is being lowered.
struct Frame<'m> {
    function: &'m Function,
    cache: HashMap<Handle<Expression>, Item>,
    arguments: Vec<Item>,
    locals: HashMap<Handle<LocalVariable>, usize>,
    scopes: Vec<Scope>,
    /// The slot of the flag that is set by `return`.
    returned: usize,
    /// The result's type and the first of its slots.
    result: Option<(Rc<Ty>, usize)>,
}

/// The state of lowering an entry point.
struct Lower<'m> {
    source: &'m Source<'m>,
    module: &'m Module,
    facts: Facts,
    emit: Emit,
    names: Names,
    types: HashMap<Handle<naga::Type>, Rc<Ty>>,
    /// The current values of variables and flags.
    slots: Vec<ValueId>,
    variables: Vec<Variable>,
    buffers: Vec<Buffer>,
    globals: HashMap<Handle<GlobalVariable>, Object>,
    frames: Vec<Frame<'m>>,
    /// Local arrays of inlined functions, which their next inlined copy uses again.
    reused: HashMap<(Handle<Function>, Handle<LocalVariable>), usize>,
    /// Local arrays that hold constant tables.
    tables: HashMap<Vec<ValueId>, Memory>,
    /// Local arrays that hold other values while they are indexed, by type and length.
    scratch: HashMap<(Type, usize), Memory>,
    bindings: Vec<Binding>,
    overrides: &'m BTreeMap<String, f64>,
    /// Statements so far.
    statements: u32,
    depth: u32,
}

/// Lowers an entry point.
///
/// # Errors
/// `FG1302`, `FG1303`, `FG1305` and `FG1306`, for the first problem found.
pub(crate) fn entry_point(
    source: &Source<'_>,
    module: &Module,
    info: &ModuleInfo,
    index: usize,
    options: &ImportOptions,
) -> Res<Lowered> {
    let entry = &module.entry_points[index];
    let mut kernel = Kernel::empty(crate::names::ascii(&entry.name), entry.workgroup_size);
    kernel.location = entry_place(source, &entry.name);
    let mut lower = Lower {
        source,
        module,
        facts: Facts::of(module, &entry.function),
        emit: Emit::new(kernel),
        names: Names::default(),
        types: HashMap::new(),
        slots: Vec::new(),
        variables: Vec::new(),
        buffers: Vec::new(),
        globals: HashMap::new(),
        frames: Vec::new(),
        reused: HashMap::new(),
        tables: HashMap::new(),
        scratch: HashMap::new(),
        bindings: Vec::new(),
        overrides: &options.overrides,
        statements: 0,
        depth: 0,
    };
    lower.set_workgroup(entry)?;
    lower.declare_globals(info.get_entry_point(index), options.uniforms)?;
    lower.entry(&entry.function)?;
    Ok(Lowered { kernel: lower.emit.finish(), bindings: lower.bindings })
}

/// Returns the place of the declaration of a function, which the module does not record.
pub(crate) fn entry_place(source: &Source<'_>, name: &str) -> Location {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let found = source.text.match_indices(name).find(|(at, _)| {
        let before = source.text.get(..*at).unwrap_or_default();
        let after = source.text.get(at + name.len()..).unwrap_or_default();
        let head = before.trim_end();
        head.len() < before.len() && head.ends_with("fn") && !after.starts_with(is_word)
    });
    found.map_or(Location::Unknown, |(at, _)| source.place(Span::new(at as u32, (at + name.len()) as u32)))
}

impl<'m> Lower<'m> {
    fn frame(&self) -> &Frame<'m> {
        &self.frames[self.frames.len() - 1]
    }

    fn frame_mut(&mut self) -> &mut Frame<'m> {
        let last = self.frames.len() - 1;
        &mut self.frames[last]
    }

    /// Makes diagnostics and instructions point to `span`, if it is defined.
    fn at(&mut self, span: Span) {
        if span.is_defined() {
            self.emit.at = self.source.place(span);
        }
    }

    /// Returns the tree of a type.
    fn ty(&mut self, handle: Handle<naga::Type>) -> Res<Rc<Ty>> {
        if let Some(ty) = self.types.get(&handle) {
            return Ok(Rc::clone(ty));
        }
        let (module, at) = (self.module, self.emit.at);
        let ty = crate::types::convert(module, handle, at, &mut |size| self.override_length(size))?;
        self.types.insert(handle, Rc::clone(&ty));
        Ok(ty)
    }

    /// Counts a statement, and checks the size of the kernel, which inlining may multiply.
    fn count_statement(&mut self) -> Res<()> {
        self.statements += 1;
        if self.statements > MAX_STATEMENTS {
            let message = format!("the inlined shader has more than {MAX_STATEMENTS} statements");
            return Err(too_large(self.emit.at, message));
        }
        self.check_values()
    }

    /// Checks the number of values and of slots.
    fn check_values(&self) -> Res<()> {
        if self.emit.kernel.values.len() > MAX_VALUES {
            let message = format!("the inlined shader has more than {MAX_VALUES} values");
            return Err(too_large(self.emit.at, message));
        }
        if self.slots.len() > MAX_SLOTS {
            let message = format!("variables of more than {MAX_SLOTS} scalars and vectors exist at once");
            return Err(too_large(self.emit.at, message));
        }
        Ok(())
    }

    /// Runs `inner` one level deeper.
    fn nested<R>(&mut self, inner: impl FnOnce(&mut Self) -> Res<R>) -> Res<R> {
        if self.depth >= MAX_DEPTH {
            let message = format!("blocks, early exits and calls nest more than {MAX_DEPTH} deep");
            return Err(too_large(self.emit.at, message));
        }
        self.depth += 1;
        let result = inner(self);
        self.depth -= 1;
        result
    }
}

/// Returns the global variables that a function and its callees use.
fn used<'a>(
    module: &'a Module,
    info: &'a FunctionInfo,
) -> impl Iterator<Item = (Handle<GlobalVariable>, &'a GlobalVariable)> {
    module.global_variables.iter().filter(|(handle, _)| !info[*handle].is_empty())
}
