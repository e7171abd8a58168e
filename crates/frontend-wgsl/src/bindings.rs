//! Options of an import, and how the buffers and parameters of a kernel correspond to bindings of WGSL.

use std::collections::BTreeMap;

use fulgurite_ir::Access;
use fulgurite_spec::eval::{self, Components};
use fulgurite_spec::{Location, Type};

/// The form that `var<uniform>` and `var<immediate>` take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Uniforms {
    /// A parameter for each scalar, vector and matrix column, if the variable has at most 16 of them and no array, and
    /// the kernel has no more than 64 parameters altogether. Otherwise a read-only buffer.
    #[default]
    Parameters,
    /// Always a read-only buffer.
    Buffers,
}

/// What to import, and how.
#[derive(Clone, Debug, Default)]
pub struct ImportOptions {
    /// Name of the only entry point to import; `None` for all compute entry points.
    pub entry: Option<String>,
    /// Values of `override` declarations, by name, or by the number in `@id` for those that have one. Others take
    /// their default.
    pub overrides: BTreeMap<String, f64>,
    /// The form of `var<uniform>` and `var<immediate>`.
    pub uniforms: Uniforms,
    /// Declares that workgroups wait for others that have begun: `needs workgroup_progress`. Shaders cannot state it, so
    /// it has to be set for those that spin on another workgroup's result, such as scans with decoupled look-back.
    pub workgroup_progress: bool,
}

/// A bound variable of the shader, and the arguments of the kernel that it becomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The numbers in `@group` and `@binding`; `None` for `var<immediate>`, of which an entry point has at most one.
    pub slot: Option<Slot>,
    /// Name of the variable in the shader.
    pub name: String,
    /// The kernel's arguments.
    pub resource: Resource,
    /// Place of the declaration.
    pub location: Location,
}

/// The place of a variable in the shader's interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Slot {
    /// The number in `@group`.
    pub group: u32,
    /// The number in `@binding`.
    pub binding: u32,
}

/// The arguments of a kernel that a bound variable becomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resource {
    /// A buffer, with the bytes that WGSL lays out.
    Buffer {
        /// Position among the kernel's buffers.
        position: usize,
        /// Element type of the kernel's buffer.
        element: Type,
        /// The kernel's access.
        access: Access,
        /// Size in bytes of the variable's type, with no elements of a runtime-sized array. Bytes that the bound
        /// buffer lacks read as zero.
        least_bytes: u32,
    },
    /// Parameters, one for each scalar, vector or matrix column of the variable.
    Parameters(Vec<Field>),
}

/// A parameter that holds a part of a variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Position among the kernel's parameters.
    pub position: usize,
    /// Name of the parameter: that of the variable, with the path of members, such as `params.scale`.
    pub name: String,
    /// Offset in the variable in bytes.
    pub offset: u32,
    /// Type of the parameter.
    pub ty: Type,
}

impl Field {
    /// Returns the parameter's value in the bytes of the variable, laid out as WGSL does. Bytes beyond the
    /// end read as zero.
    pub fn value(&self, bytes: &[u8]) -> Components {
        eval::read_bytes(bytes.get(self.offset as usize..).unwrap_or_default(), self.ty)
    }
}
