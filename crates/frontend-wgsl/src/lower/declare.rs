//! Declares buffers, parameters, workgroup variables and variables of an invocation.

use std::collections::HashMap;
use std::rc::Rc;

use fulgurite_ir::{Access, BufferDecl, BufferId, InstKind, Memory, ParamDecl, ParamId, ValueDef, ValueId};
use fulgurite_spec::limits::MAX_DECLARATIONS;
use fulgurite_spec::{Lanes, Location, Op, ScalarType, Type};
use naga::valid::FunctionInfo;
use naga::{
    AddressSpace, Binding as Bound, BuiltIn, Expression, Function, GlobalVariable, Handle, LocalVariable,
};
use naga::{ResourceBinding, StorageAccess};

use super::place::Place;
use super::storage::{Buffer, Field, Store, Variable, count};
use super::{Frame, Item, Lower, Object, Value, used};
use crate::bindings::{self, Binding, Resource, Uniforms};
use crate::names::ascii;
use crate::refusal::{Res, internal, resource, too_large, unsupported};
use crate::types::Ty;

/// The largest number of parameters of one uniform variable.
const MAX_FIELDS: usize = 16;
/// The largest number of values that blocks carry for one variable. Larger ones become arrays.
const MAX_SLOTS: u64 = 64;

impl<'m> Lower<'m> {
    /// Declares the global variables that an entry point uses: bound ones by group and binding.
    pub(super) fn declare_globals(&mut self, info: &FunctionInfo, uniforms: Uniforms) -> Res<()> {
        let mut all: Vec<(Handle<GlobalVariable>, &GlobalVariable)> = used(self.module, info).collect();
        all.sort_by_key(|(handle, variable)| {
            (variable.binding.map(|b| (b.group, b.binding)), handle.index())
        });
        for (handle, variable) in all {
            self.emit.at = self.source.place(self.module.global_variables.get_span(handle));
            let ty = self.ty(variable.ty)?;
            let name = variable.name.as_deref().unwrap_or("global").to_owned();
            let object = match variable.space {
                AddressSpace::Storage { access } => {
                    let access =
                        if access.contains(StorageAccess::STORE) { Access::ReadWrite } else { Access::Read };
                    self.declare_buffer(name, &ty, access, variable.binding)?
                }
                AddressSpace::Uniform | AddressSpace::Immediate => {
                    let room = MAX_DECLARATIONS - self.emit.kernel.params.len();
                    let fits = !ty.has_arrays() && ty.leaves() <= MAX_FIELDS.min(room) as u64;
                    match uniforms {
                        Uniforms::Parameters if fits => {
                            self.declare_parameters(name, &ty, variable.binding)?
                        }
                        Uniforms::Parameters | Uniforms::Buffers => {
                            self.declare_buffer(name, &ty, Access::Read, variable.binding)?
                        }
                    }
                }
                AddressSpace::WorkGroup => self.declare_arrays(&name, &ty, true)?,
                AddressSpace::Private => {
                    let object = self.declare_variable(&name, &ty, self.facts.indexes(handle))?;
                    let init = match variable.init {
                        Some(init) => Some(self.constant_expression(init)?),
                        None => None,
                    };
                    self.initialize(object, &ty, init, true)?;
                    object
                }
                AddressSpace::Handle => {
                    return Err(resource(
                        self.emit.at,
                        format!("`{name}` is not a buffer"),
                        "Pass its data in a storage buffer.",
                    ));
                }
                AddressSpace::Function
                | AddressSpace::TaskPayload
                | AddressSpace::RayPayload
                | AddressSpace::IncomingRayPayload => {
                    return Err(resource(
                        self.emit.at,
                        format!("`{name}` is in an address space that compute shaders do not have"),
                        "Use `storage`, `uniform`, `workgroup` or `private`.",
                    ));
                }
            };
            self.globals.insert(handle, object);
        }
        Ok(())
    }

    fn binding(&mut self, name: String, bound: Option<ResourceBinding>, resource: Resource) {
        let location = self.emit.at;
        let slot = bound.map(|bound| bindings::Slot { group: bound.group, binding: bound.binding });
        self.bindings.push(Binding { slot, name, resource, location });
    }

    fn declare_buffer(
        &mut self,
        name: String,
        ty: &Rc<Ty>,
        access: Access,
        bound: Option<ResourceBinding>,
    ) -> Res<Object> {
        let (location, element) = (self.emit.at, ty.buffer_element());
        let position = self.emit.kernel.buffers.len();
        if position >= MAX_DECLARATIONS {
            return Err(too_large(location, format!("more than {MAX_DECLARATIONS} buffers")));
        }
        let unique = self.names.unique(&ascii(&name));
        let declared = BufferDecl { name: unique.clone(), element, access, large: false, location };
        self.emit.kernel.buffers.push(declared);
        let memory = Memory::Buffer(BufferId::new(position));
        self.buffers.push(Buffer { memory, name: unique, views: HashMap::from([(element, memory)]) });
        let resource = Resource::Buffer { position, element, access, least_bytes: ty.least_bytes() };
        self.binding(name, bound, resource);
        Ok(Object::Buffer(self.buffers.len() - 1))
    }

    fn declare_parameters(
        &mut self,
        name: String,
        ty: &Rc<Ty>,
        bound: Option<ResourceBinding>,
    ) -> Res<Object> {
        let location = self.emit.at;
        let mut found: Vec<(u32, String, Type, Vec<u32>)> = Vec::new();
        ty.each_field(&mut |offset, path, ty, dims| {
            // The only arrays are matrices, whose columns are parameters each.
            let dims: Vec<u32> = dims.iter().map(|len| len.unwrap_or(0)).collect();
            found.push((offset, path.to_owned(), ty, dims));
        });
        let (mut fields, mut parameters) = (Vec::new(), Vec::new());
        for (offset, path, ty, dims) in found {
            let first = self.slots.len();
            let stride = if ty.lanes == Lanes::Three { 4 } else { ty.lanes.count() } * ty.scalar.size();
            for column in 0..count(&dims) {
                let suffix = if dims.is_empty() { String::new() } else { format!(".{column}") };
                let unique = self.names.unique(&format!("{}{path}{suffix}", ascii(&name)));
                let position = self.emit.kernel.params.len();
                let def = ValueDef::Param(ParamId::new(position));
                let value = self.emit.kernel.add_value(ty, def, Some(unique.as_str().into()));
                self.emit.kernel.params.push(ParamDecl { name: unique.clone(), ty, value, location });
                let offset = offset + column * stride;
                parameters.push(bindings::Field { position, name: unique, offset, ty });
                self.slots.push(value);
            }
            fields.push(Field { store: Store::Slots(first), ty, dims, is_shared: false });
        }
        self.binding(name.clone(), bound, Resource::Parameters(parameters));
        Ok(self.add_variable(Variable { name, ty: Rc::clone(ty), fields }))
    }

    fn add_variable(&mut self, variable: Variable) -> Object {
        self.variables.push(variable);
        Object::Variable(self.variables.len() - 1)
    }

    /// Declares a variable all of whose fields are arrays.
    fn declare_arrays(&mut self, name: &str, ty: &Rc<Ty>, is_shared: bool) -> Res<Object> {
        self.declare_fields(name, ty, is_shared, |_| true)
    }

    /// Declares a variable of an invocation: as slots, or as arrays for what is indexed dynamically or large.
    pub(super) fn declare_variable(&mut self, name: &str, ty: &Rc<Ty>, is_indexed: bool) -> Res<Object> {
        let is_large = ty.leaves() > MAX_SLOTS;
        let has_arrays = ty.has_arrays();
        self.declare_fields(name, ty, false, |dims| {
            !dims.is_empty() && has_arrays && (is_indexed || is_large)
        })
    }

    fn declare_fields(
        &mut self,
        name: &str,
        ty: &Rc<Ty>,
        is_shared: bool,
        is_array: impl Fn(&[u32]) -> bool,
    ) -> Res<Object> {
        self.check_values()?;
        let mut found: Vec<(String, Type, Vec<u32>)> = Vec::new();
        ty.each_field(&mut |_, path, ty, dims| {
            found.push((path.to_owned(), ty, dims.iter().map(|len| len.unwrap_or(0)).collect()));
        });
        let mut fields = Vec::new();
        for (path, ty, dims) in found {
            let store = if is_array(&dims) {
                let name = format!("{}{path}", ascii(name));
                Store::Array(self.array(&name, ty, count(&dims), is_shared)?)
            } else {
                let first = self.slots.len();
                let zero = self.emit.in_prologue(|e| e.zero(ty))?;
                self.slots.resize(first + count(&dims) as usize, zero);
                Store::Slots(first)
            };
            fields.push(Field { store, ty, dims, is_shared });
        }
        Ok(self.add_variable(Variable { name: name.to_owned(), ty: Rc::clone(ty), fields }))
    }

    /// Gives a variable its initial value, or zeros. `is_fresh` says that its arrays hold zeros already.
    pub(super) fn initialize(
        &mut self,
        object: Object,
        ty: &Rc<Ty>,
        init: Option<Value>,
        is_fresh: bool,
    ) -> Res<()> {
        // Arrays that hold zeros need no stores of zeros.
        let init =
            init.filter(|value| !is_fresh || !value.leaves.iter().all(|leaf| self.emit.is_zero(*leaf)));
        if let Some(value) = init {
            return self.store(&Place::of(object, Rc::clone(ty)), &value);
        }
        let Object::Variable(index) = object else { return Ok(()) };
        for field in self.variables[index].fields.clone() {
            match field.store {
                Store::Slots(first) => {
                    let zero = self.emit.zero(field.ty)?;
                    let end = first + count(&field.dims) as usize;
                    self.slots[first..end].fill(zero);
                }
                Store::Array(_) if is_fresh => {}
                Store::Array(memory) => self.fill_with_zeros(memory, count(&field.dims))?,
            }
        }
        Ok(())
    }

    /// Stores zeros in all elements of an array.
    pub(super) fn fill_with_zeros(&mut self, memory: Memory, len: u32) -> Res<()> {
        let ty = self.emit.kernel.element(memory);
        let [start, end, step] = [0, len, 1].map(|n| self.emit.u32(n));
        let (body, before) = self.emit.open();
        let index = self.emit.block_param(body, Type::U32);
        let value = self.emit.zero(ty)?;
        self.emit.inst(InstKind::Store { memory, index, value }, &[]);
        self.emit.close(body, before, fulgurite_ir::Terminator::Yield(fulgurite_ir::Operands::EMPTY));
        let initial = fulgurite_ir::Operands::EMPTY;
        self.emit.inst(InstKind::For { start, end, step, initial, body }, &[]);
        Ok(())
    }

    /// Lowers the entry point's function.
    pub(super) fn entry(&mut self, function: &'m Function) -> Res<()> {
        self.emit.at = Location::Unknown;
        let mut arguments = Vec::new();
        for argument in &function.arguments {
            let ty = self.ty(argument.ty)?;
            let leaves = match (&*ty, &argument.binding) {
                (_, Some(binding)) => vec![self.named_builtin(binding, argument.name.as_deref())?],
                (Ty::Struct { .. }, None) => match &self.module.types[argument.ty].inner {
                    naga::TypeInner::Struct { members, .. } => {
                        let bound =
                            members.iter().filter_map(|m| Some((m.binding.as_ref()?, m.name.as_deref())));
                        bound
                            .map(|(binding, name)| self.named_builtin(binding, name))
                            .collect::<Res<Vec<_>>>()?
                    }
                    _ => Vec::new(),
                },
                (_, None) => Vec::new(),
            };
            if leaves.len() as u64 != ty.leaves() {
                return Err(internal(self.emit.at, "entry point argument without a builtin"));
            }
            arguments.push(Item::Value(Value { ty, leaves: leaves.into() }));
        }
        let returned = self.flag()?;
        self.push_frame(function, arguments, returned, None, None)?;
        self.block(&function.body)?;
        self.frames.pop();
        Ok(())
    }

    /// Returns a new slot that holds false.
    pub(super) fn flag(&mut self) -> Res<usize> {
        let off = self.emit.bool(false);
        self.slots.push(off);
        Ok(self.slots.len() - 1)
    }

    /// Enters a function and declares its variables. `callee` is `None` for the entry point.
    pub(super) fn push_frame(
        &mut self,
        function: &'m Function,
        arguments: Vec<Item>,
        returned: usize,
        result: Option<(Rc<Ty>, usize)>,
        callee: Option<Handle<Function>>,
    ) -> Res<()> {
        self.frames.push(Frame {
            function,
            cache: HashMap::new(),
            arguments,
            locals: HashMap::new(),
            scopes: Vec::new(),
            returned,
            result,
        });
        for (handle, variable) in function.local_variables.iter() {
            self.at(function.local_variables.get_span(handle));
            self.declare_local(handle, variable, callee)?;
        }
        Ok(())
    }

    fn declare_local(
        &mut self,
        handle: Handle<LocalVariable>,
        variable: &'m LocalVariable,
        callee: Option<Handle<Function>>,
    ) -> Res<()> {
        let ty = self.ty(variable.ty)?;
        let name = variable.name.as_deref().unwrap_or("local").to_owned();
        let facts = match callee {
            Some(callee) => self.facts.function(callee),
            None => Some(&self.facts.entry),
        };
        let is_indexed = facts.is_some_and(|facts| facts.indexed.contains(&crate::scan::Root::Local(handle)));
        let key = callee.map(|callee| (callee, handle));
        let reused = key.and_then(|key| self.reused.get(&key).copied());
        let object = match reused {
            // The arrays of the copy that was inlined before are free again; slots are new.
            Some(earlier) => {
                let mut copy = self.variables[earlier].clone();
                for field in &mut copy.fields {
                    if let Store::Slots(first) = &mut field.store {
                        *first = self.slots.len();
                        let zero = self.emit.zero(field.ty)?;
                        self.slots.resize(*first + count(&field.dims) as usize, zero);
                    }
                }
                self.add_variable(copy)
            }
            None => self.declare_variable(&name, &ty, is_indexed)?,
        };
        let Object::Variable(index) = object else { return Ok(()) };
        if let Some(key) = key {
            self.reused.entry(key).or_insert(index);
        }
        self.frame_mut().locals.insert(handle, index);
        let init = match variable.init {
            Some(init) => Some(self.value(init)?),
            None => None,
        };
        // The entry point runs once, when its arrays hold zeros.
        self.initialize(object, &ty, init, callee.is_none())
    }

    /// Returns the value of a builtin argument of the entry point, whose components are named after the argument.
    fn named_builtin(&mut self, binding: &Bound, name: Option<&str>) -> Res<ValueId> {
        let value = self.builtin(binding)?;
        let Some(name) = name else { return Ok(value) };
        if self.emit.ty(value).is_scalar() {
            self.emit.name(value, name);
        } else {
            for (component, axis) in self.emit.components(value)?.into_iter().zip(["x", "y", "z"]) {
                self.emit.name(component, &format!("{name}.{axis}"));
            }
        }
        Ok(value)
    }

    /// Returns the value of a builtin argument of the entry point.
    fn builtin(&mut self, binding: &Bound) -> Res<ValueId> {
        let Bound::BuiltIn(builtin) = binding else {
            return Err(unsupported(
                self.emit.at,
                "compute shaders have no `@location` arguments",
                "Read it from a buffer.",
            ));
        };
        let vector = |lower: &mut Self, op: Op| {
            let parts = [0, 1, 2].map(|component| lower.emit.id(op, component));
            lower.emit.in_prologue(|e| e.construct(&parts))
        };
        match builtin {
            BuiltIn::GlobalInvocationId => vector(self, Op::GlobalId),
            BuiltIn::LocalInvocationId => vector(self, Op::LocalId),
            BuiltIn::WorkGroupId => vector(self, Op::WorkgroupId),
            BuiltIn::NumWorkGroups => vector(self, Op::NumWorkgroups),
            BuiltIn::LocalInvocationIndex => Ok(self.emit.id(Op::LocalIndex, 0)),
            BuiltIn::NumSubgroups => Ok(self.emit.id(Op::NumSubgroups, 0)),
            BuiltIn::SubgroupId => Ok(self.emit.id(Op::SubgroupId, 0)),
            BuiltIn::SubgroupSize => Ok(self.emit.id(Op::SubgroupSize, 0)),
            BuiltIn::SubgroupInvocationId => Ok(self.emit.id(Op::Lane, 0)),
            BuiltIn::WorkGroupSize => {
                let parts = self.emit.kernel.workgroup.map(|n| self.emit.u32(n));
                self.emit.in_prologue(|e| e.construct(&parts))
            }
            other => Err(unsupported(
                self.emit.at,
                format!("builtin {other:?} does not exist in kernels"),
                "Use the builtins of compute shaders only.",
            )),
        }
    }

    /// Returns the value of a constant expression of the module.
    pub(super) fn constant_expression(&mut self, handle: Handle<Expression>) -> Res<Value> {
        self.nested(|lower| {
            let module = lower.module;
            let get = |lower: &mut Self, operand| lower.constant_expression(operand).map(Item::Value);
            match lower.pure(&module.global_expressions[handle], &get)? {
                Some(Item::Value(value)) => Ok(value),
                Some(Item::Place(_)) | None => {
                    Err(internal(lower.emit.at, "constant expression of a variable"))
                }
            }
        })
    }
}

/// Returns whether a scalar type can be in memory that atomics access.
pub(super) fn is_word(ty: Type) -> bool {
    ty.is_scalar() && !matches!(ty.scalar, ScalarType::Bool) && matches!(ty.size(), 4 | 8)
}
