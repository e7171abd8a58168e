//! Rules of declarations: names, sizes, element types, preconditions.

use std::collections::HashMap;

use fulgurite_spec::limits::{
    MAX_DECLARATIONS, MAX_LOCAL_BYTES, MAX_REQUIRE_NODES, MAX_SHARED_BYTES, MAX_VALUES,
    MAX_WORKGROUP_INVOCATIONS,
};
use fulgurite_spec::{Code, Diagnostic, Literal, Location, Type};

use crate::kernel::{ArrayDecl, Initial, Kernel, Memory, ViewId};
use crate::require::{Require, RequireNode};

pub(super) fn check(kernel: &Kernel, found: &mut Vec<Diagnostic>) {
    sizes(kernel, found);
    names(kernel, found);
    elements(kernel, found);
    views(kernel, found);
    requires(kernel, found);
}

fn sizes(kernel: &Kernel, found: &mut Vec<Diagnostic>) {
    if kernel.workgroup.contains(&0) || kernel.workgroup_invocations() > MAX_WORKGROUP_INVOCATIONS {
        let [x, y, z] = kernel.workgroup;
        found.push(Diagnostic::new(
            Code::BadWorkgroup,
            kernel.location,
            format!(
                "a workgroup of {x} × {y} × {z} invocations is not allowed: each dimension is at least 1, their \
                 product at most {MAX_WORKGROUP_INVOCATIONS}"
            ),
        ));
    }
    for (what, count) in [
        ("buffers", kernel.buffers.len()),
        ("parameters", kernel.params.len()),
        ("shared arrays", kernel.shared.len()),
        ("local arrays", kernel.locals.len()),
        ("views", kernel.views.len()),
        ("preconditions", kernel.requires.len()),
    ] {
        if count > MAX_DECLARATIONS {
            found.push(Diagnostic::new(
                Code::TooManyDeclarations,
                kernel.location,
                format!("{count} {what} are declared, {MAX_DECLARATIONS} are allowed"),
            ));
        }
    }
    for (what, arrays, bytes, most) in [
        ("shared", &kernel.shared, kernel.shared_bytes(), MAX_SHARED_BYTES),
        ("local", &kernel.locals, kernel.local_bytes(), MAX_LOCAL_BYTES),
    ] {
        if bytes > most {
            found.push(Diagnostic::new(
                Code::TooMuchMemory,
                arrays.last().map_or(kernel.location, |a| a.location),
                format!("the {what} arrays take {bytes} bytes, {most} are allowed"),
            ));
        }
    }
    if kernel.values.len() > MAX_VALUES {
        found.push(Diagnostic::new(
            Code::TextTooLarge,
            kernel.location,
            format!("the kernel has {} values, {MAX_VALUES} are allowed", kernel.values.len()),
        ));
    }
}

fn names(kernel: &Kernel, found: &mut Vec<Diagnostic>) {
    let arrays =
        |list: &'_ [ArrayDecl]| list.iter().map(|a| (a.name.clone(), a.location)).collect::<Vec<_>>();
    let mut declared: Vec<(String, Location)> =
        kernel.buffers.iter().map(|b| (b.name.clone(), b.location)).collect();
    declared.extend(kernel.params.iter().map(|p| (p.name.clone(), p.location)));
    declared.extend(arrays(&kernel.shared));
    declared.extend(arrays(&kernel.locals));
    declared.extend(kernel.views.iter().map(|v| (v.name.clone(), v.location)));
    let mut seen: HashMap<&str, Location> = HashMap::new();
    for (name, location) in &declared {
        bad_name(name, *location, found);
        if let Some(first) = seen.insert(name, *location) {
            found.push(
                Diagnostic::new(Code::BadName, *location, format!("`%{name}` is declared twice"))
                    .with_note(first, "first declared here"),
            );
        }
    }
    bad_name(&kernel.name, kernel.location, found);
    for name in kernel.values.iter().filter_map(|v| v.name.as_deref()) {
        bad_name(name, kernel.location, found);
    }
}

fn bad_name(name: &str, location: Location, found: &mut Vec<Diagnostic>) {
    if !crate::kernel::is_name(name) {
        let shown: String = name.chars().take(40).collect();
        found.push(Diagnostic::new(
            Code::BadName,
            location,
            format!("`{}` is not a name", shown.escape_debug()),
        ));
    }
}

fn elements(kernel: &Kernel, found: &mut Vec<Diagnostic>) {
    let mut check = |name: &str, ty: Type, location: Location| {
        if !ty.is_storable() {
            found.push(Diagnostic::new(
                Code::BadElementType,
                location,
                format!("`%{name}` cannot be of {ty}, which has no memory form; use u32 or i32"),
            ));
        }
    };
    kernel.buffers.iter().for_each(|b| check(&b.name, b.element, b.location));
    kernel.params.iter().for_each(|p| check(&p.name, p.ty, p.location));
    kernel.shared.iter().chain(&kernel.locals).for_each(|a| check(&a.name, a.element, a.location));
    kernel.views.iter().for_each(|v| check(&v.name, v.element, v.location));
    for array in kernel.shared.iter().chain(&kernel.locals).filter(|a| a.len == 0) {
        found.push(Diagnostic::new(
            Code::TooMuchMemory,
            array.location,
            format!("`%{}` has no elements; an array has at least one", array.name),
        ));
    }
}

fn views(kernel: &Kernel, found: &mut Vec<Diagnostic>) {
    for (i, view) in kernel.views.iter().enumerate() {
        let message = match view.base {
            Memory::Local(_) => "it is of a local array, which only its own elements reach",
            Memory::View(_) => "it is of another view: make it of that view's buffer or array",
            Memory::Shared(id) if id.index() < kernel.shared.len() => {
                match kernel.array_len(Memory::View(ViewId::new(i))) {
                    Some(0) => "the array is shorter than one of its elements",
                    _ => continue,
                }
            }
            Memory::Buffer(_) | Memory::Shared(_) => continue,
        };
        let message = format!("view `%{}`: {message}", view.name);
        found.push(Diagnostic::new(Code::BadView, view.location, message));
    }
    for array in kernel.locals.iter().filter(|a| a.initial == Initial::Uninit) {
        let message = format!("`%{}` is local, and only shared arrays can be `uninit`", array.name);
        found.push(Diagnostic::new(Code::Malformed, array.location, message));
    }
}

fn requires(kernel: &Kernel, found: &mut Vec<Diagnostic>) {
    for require in &kernel.requires {
        let types = require.types(kernel);
        let whole = |literal: &Literal| Literal::new(literal.ty, literal.bits) == *literal;
        let message = if let Some(bad) = types.iter().position(Option::is_none) {
            match &require.nodes[bad] {
                RequireNode::Op { op, .. } => {
                    format!("`{}` does not take these operands here", op.mnemonic())
                }
                _ => "it refers to what the kernel does not declare".to_owned(),
            }
        } else if require.nodes.iter().any(|n| matches!(n, RequireNode::Literal(l) if !whole(l))) {
            "a literal has bits that its type does not".to_owned()
        } else if written_size(require) > MAX_REQUIRE_NODES {
            format!("it is longer than {MAX_REQUIRE_NODES} operands and ops when it is written out")
        } else {
            match types.last().copied().flatten() {
                Some(Type::BOOL) => continue,
                Some(other) if other.element() == Type::BOOL => {
                    format!("it must be a bool, it is {other}; `extract` a component")
                }
                Some(other) => format!("it must be a bool, it is {other}; compare it with something"),
                None => "it is empty".to_owned(),
            }
        };
        found.push(Diagnostic::new(Code::BadRequire, require.location, format!("precondition: {message}")));
    }
}

/// Returns the size of a precondition as an expression in text, where shared nodes are repeated.
fn written_size(require: &Require) -> usize {
    let mut sizes: Vec<usize> = Vec::with_capacity(require.nodes.len());
    for node in &require.nodes {
        let size = match node {
            RequireNode::Op { operands, .. } => operands
                .iter()
                .filter_map(|i| sizes.get(*i as usize))
                .fold(1usize, |sum, size| sum.saturating_add(*size)),
            _ => 1,
        };
        sizes.push(size);
    }
    sizes.last().copied().unwrap_or(0)
}
