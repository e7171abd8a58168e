//! What blocks of WGSL do, before they are lowered: how they end, which variables they store to, and which variables
//! are indexed dynamically.

use std::collections::HashSet;

use naga::{
    Block, Expression, Function, GlobalVariable, Handle, LocalVariable, Module, Statement, TypeInner,
};

/// How a block may end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// It may reach its end.
    pub(crate) falls: bool,
    pub(crate) breaks: bool,
    pub(crate) continues: bool,
    pub(crate) returns: bool,
}

impl Outcome {
    const FALLS: Self = Self { falls: true, breaks: false, continues: false, returns: false };

    /// Returns whether it may end other than by reaching its end.
    pub(crate) fn exits(self) -> bool {
        self.breaks || self.continues || self.returns
    }

    fn or(self, other: Self) -> Self {
        Self {
            falls: self.falls || other.falls,
            breaks: self.breaks || other.breaks,
            continues: self.continues || other.continues,
            returns: self.returns || other.returns,
        }
    }
}

/// Returns how a sequence of statements may end.
pub(crate) fn outcome<'m>(statements: impl IntoIterator<Item = &'m Statement>) -> Outcome {
    let mut all = Outcome::FALLS;
    for statement in statements {
        let one = of_statement(statement);
        all = Outcome { falls: one.falls, ..all.or(one) };
        if !all.falls {
            break;
        }
    }
    all
}

fn of_statement(statement: &Statement) -> Outcome {
    let none = Outcome::default();
    match statement {
        Statement::Break => Outcome { breaks: true, ..none },
        Statement::Continue => Outcome { continues: true, ..none },
        Statement::Return { .. } | Statement::Kill => Outcome { returns: true, ..none },
        Statement::Block(block) => outcome(block),
        Statement::If { accept, reject, .. } => outcome(accept).or(outcome(reject)),
        Statement::Switch { cases, .. } => {
            let all = cases
                .iter()
                .filter(|case| !case.fall_through)
                .fold(none, |all, case| all.or(outcome(&case.body)));
            Outcome { falls: all.falls || all.breaks, breaks: false, ..all }
        }
        Statement::Loop { body, continuing, break_if } => {
            let all = outcome(body);
            let falls = all.breaks || break_if.is_some();
            Outcome { falls, returns: all.returns || outcome(continuing).returns, ..none }
        }
        Statement::Emit(_)
        | Statement::ControlBarrier(_)
        | Statement::MemoryBarrier(_)
        | Statement::Store { .. }
        | Statement::ImageStore { .. }
        | Statement::Atomic { .. }
        | Statement::ImageAtomic { .. }
        | Statement::WorkGroupUniformLoad { .. }
        | Statement::Call { .. }
        | Statement::RayQuery { .. }
        | Statement::RayPipelineFunction(_)
        | Statement::SubgroupBallot { .. }
        | Statement::SubgroupGather { .. }
        | Statement::SubgroupCollectiveOperation { .. }
        | Statement::CooperativeStore { .. } => Outcome::FALLS,
    }
}

/// The variable that a pointer leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Root {
    Local(Handle<LocalVariable>),
    Global(Handle<GlobalVariable>),
    /// A pointer argument of the function.
    Argument(u32),
}

/// Returns the variable that a pointer expression leads to.
pub(crate) fn root(function: &Function, mut pointer: Handle<Expression>) -> Option<Root> {
    loop {
        match function.expressions[pointer] {
            Expression::Access { base, .. } | Expression::AccessIndex { base, .. } => pointer = base,
            Expression::LocalVariable(handle) => return Some(Root::Local(handle)),
            Expression::GlobalVariable(handle) => return Some(Root::Global(handle)),
            Expression::FunctionArgument(index) => return Some(Root::Argument(index)),
            _ => return None,
        }
    }
}

/// Calls `each` with the statements of a block and of the blocks in it.
pub(crate) fn each_statement<'m>(block: &'m Block, each: &mut impl FnMut(&'m Statement)) {
    block.iter().for_each(|statement| each_in(statement, each));
}

/// Calls `each` with a statement and the statements of the blocks in it.
pub(crate) fn each_in<'m>(statement: &'m Statement, each: &mut impl FnMut(&'m Statement)) {
    let mut open: Vec<&'m Statement> = vec![statement];
    while let Some(statement) = open.pop() {
        each(statement);
        match statement {
            Statement::Block(inner) => open.extend(inner),
            Statement::If { accept, reject, .. } => open.extend(accept.iter().chain(reject)),
            Statement::Switch { cases, .. } => open.extend(cases.iter().flat_map(|case| &case.body)),
            Statement::Loop { body, continuing, .. } => open.extend(body.iter().chain(continuing)),
            Statement::Emit(_)
            | Statement::Break
            | Statement::Continue
            | Statement::Return { .. }
            | Statement::Kill
            | Statement::ControlBarrier(_)
            | Statement::MemoryBarrier(_)
            | Statement::Store { .. }
            | Statement::ImageStore { .. }
            | Statement::Atomic { .. }
            | Statement::ImageAtomic { .. }
            | Statement::WorkGroupUniformLoad { .. }
            | Statement::Call { .. }
            | Statement::RayQuery { .. }
            | Statement::RayPipelineFunction(_)
            | Statement::SubgroupBallot { .. }
            | Statement::SubgroupGather { .. }
            | Statement::SubgroupCollectiveOperation { .. }
            | Statement::CooperativeStore { .. } => {}
        }
    }
}

/// Facts about a function, in terms of its own variables and arguments.
#[derive(Debug, Default)]
pub(crate) struct FunctionFacts {
    /// The variables with an array that is indexed dynamically, here or in a callee.
    pub(crate) indexed: HashSet<Root>,
    /// The variables that may be stored to, here or in a callee.
    pub(crate) stored: HashSet<Root>,
}

/// Facts about all functions of a module.
pub(crate) struct Facts {
    functions: Vec<FunctionFacts>,
    pub(crate) entry: FunctionFacts,
}

impl Facts {
    /// Scans the functions of a module, which precede their callers, and one entry point.
    pub(crate) fn of(module: &Module, entry: &Function) -> Self {
        let mut functions: Vec<FunctionFacts> = Vec::new();
        for (_, function) in module.functions.iter() {
            let facts = scan(module, function, &functions);
            functions.push(facts);
        }
        let entry = scan(module, entry, &functions);
        Self { functions, entry }
    }

    pub(crate) fn function(&self, handle: Handle<Function>) -> Option<&FunctionFacts> {
        self.functions.get(handle.index())
    }

    /// Returns the variables that a block may store to.
    pub(crate) fn stored_in(&self, function: &Function, block: &Block) -> HashSet<Root> {
        let mut stored = HashSet::new();
        stores(function, block, &self.functions, &mut stored);
        stored
    }

    /// Returns the private variables that any function indexes dynamically.
    pub(crate) fn indexes(&self, variable: Handle<GlobalVariable>) -> bool {
        let all = self.functions.iter().chain([&self.entry]);
        all.into_iter().any(|facts| facts.indexed.contains(&Root::Global(variable)))
    }
}

fn scan(module: &Module, function: &Function, callees: &[FunctionFacts]) -> FunctionFacts {
    let mut facts = FunctionFacts::default();
    for (_, expression) in function.expressions.iter() {
        let Expression::Access { base, index } = expression else { continue };
        if matches!(function.expressions[*index], Expression::Literal(_) | Expression::Constant(_)) {
            continue;
        }
        if let Some(root) = root(function, *base)
            && !is_small(module, function, *base)
        {
            facts.indexed.insert(root);
        }
    }
    each_statement(&function.body, &mut |statement| {
        if let Statement::Call { function: callee, arguments, .. } = statement
            && let Some(callee) = callees.get(callee.index())
        {
            for root in callee.indexed.iter().filter_map(|root| through(function, arguments, *root)) {
                facts.indexed.insert(root);
            }
        }
    });
    stores(function, &function.body, callees, &mut facts.stored);
    facts
}

fn stores(function: &Function, block: &Block, callees: &[FunctionFacts], stored: &mut HashSet<Root>) {
    each_statement(block, &mut |statement| match statement {
        Statement::Store { pointer, .. } => stored.extend(root(function, *pointer)),
        Statement::Call { function: callee, arguments, .. } => {
            if let Some(callee) = callees.get(callee.index()) {
                stored.extend(callee.stored.iter().filter_map(|root| through(function, arguments, *root)));
            }
        }
        // Other statements do not store to variables of an invocation.
        _ => {}
    });
}

/// Returns the variable of the caller that is `root` in the callee.
fn through(function: &Function, arguments: &[Handle<Expression>], of_callee: Root) -> Option<Root> {
    match of_callee {
        Root::Local(_) => None,
        Root::Global(_) => Some(of_callee),
        Root::Argument(index) => root(function, *arguments.get(index as usize)?),
    }
}

/// Returns whether a pointer expression points to a vector or a matrix, whose parts are selected by comparison.
fn is_small(module: &Module, function: &Function, pointer: Handle<Expression>) -> bool {
    let is_small = |ty: Handle<naga::Type>| {
        matches!(module.types[ty].inner, TypeInner::Vector { .. } | TypeInner::Matrix { .. })
    };
    pointee(module, function, pointer).is_some_and(is_small) || is_column(module, function, pointer)
}

/// Returns whether a pointer expression points to a column of a matrix.
fn is_column(module: &Module, function: &Function, pointer: Handle<Expression>) -> bool {
    let (Expression::Access { base, .. } | Expression::AccessIndex { base, .. }) =
        function.expressions[pointer]
    else {
        return false;
    };
    pointee(module, function, base)
        .is_some_and(|ty| matches!(module.types[ty].inner, TypeInner::Matrix { .. }))
}

/// Returns the declared type that a pointer expression points to; `None` inside of vectors and matrices.
fn pointee(module: &Module, function: &Function, pointer: Handle<Expression>) -> Option<Handle<naga::Type>> {
    let mut path = Vec::new();
    let mut at = pointer;
    let mut ty = loop {
        match function.expressions[at] {
            Expression::Access { base, .. } => {
                path.push(0);
                at = base;
            }
            Expression::AccessIndex { base, index } => {
                path.push(index as usize);
                at = base;
            }
            Expression::LocalVariable(handle) => break function.local_variables[handle].ty,
            Expression::GlobalVariable(handle) => break module.global_variables[handle].ty,
            Expression::FunctionArgument(index) => {
                let argument = function.arguments.get(index as usize)?;
                match module.types[argument.ty].inner {
                    TypeInner::Pointer { base, .. } => break base,
                    _ => return None,
                }
            }
            _ => return None,
        }
    };
    for index in path.into_iter().rev() {
        ty = match &module.types[ty].inner {
            TypeInner::Array { base, .. } => *base,
            TypeInner::Struct { members, .. } => members.get(index)?.ty,
            _ => return None,
        };
    }
    Some(ty)
}
