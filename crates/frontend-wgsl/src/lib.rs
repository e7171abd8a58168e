//! Imports WGSL compute shaders as kernels: [`import`] returns a verified kernel for each entry point.
//!
//! ```
//! use fulgurite_frontend_wgsl::{ImportOptions, import};
//!
//! let source = "
//! @group(0) @binding(0) var<storage, read> x: array<f32>;
//! @group(0) @binding(1) var<storage, read_write> y: array<f32>;
//! @group(0) @binding(2) var<uniform> a: f32;
//!
//! @compute @workgroup_size(64)
//! fn saxpy(@builtin(global_invocation_id) id: vec3<u32>) {
//!     if (id.x < arrayLength(&y)) {
//!         y[id.x] = a * x[id.x] + y[id.x];
//!     }
//! }";
//! let imported = import(source, &ImportOptions::default())?;
//! assert_eq!(imported[0].entry, "saxpy");
//! assert_eq!(imported[0].kernel.buffers.len(), 2);
//! assert_eq!(imported[0].kernel.params.len(), 1);
//! # Ok::<(), fulgurite_spec::Diagnostics>(())
//! ```
//!
//! # Buffers
//!
//! Kernels have no structures in buffers. A bound variable becomes a buffer whose *bytes* are those that WGSL lays out, so
//! that data prepared for WebGPU is bound as it is. Its element type follows from the type of the variable:
//!
//! - `array<f32>` becomes `f32[]`, `array<vec4<u32>>` becomes `u32x4[]`: the type of all parts, if there is one;
//! - a structure of `vec3<f32>` and `f32` becomes `f32[]`: the scalar type of all parts;
//! - other structures become `u32[]`, or `u16[]` if all parts have 16 bits.
//!
//! Parts of other types are accessed through views of the same bytes (`view %particles.f32x4 = %particles as f32x4[]`), at
//! the offset that WGSL defines. Views were chosen over conversions of words by `bitcast`, because a vector or a 64-bit
//! number is then one access, a 16-bit one does not have to be merged into its word, and atomics work on their own type;
//! and over a buffer for each member, because that would take the data apart.
//!
//! # Uniforms
//!
//! A `var<uniform>` of up to 16 scalars, vectors and matrix columns without arrays becomes kernel parameters, one for each,
//! named after the path: `params.scale`. Parameters are known to be the same for all invocations, need no buffer, and can
//! be used in preconditions. Others become read-only buffers, and with [`Uniforms::Buffers`] all do. `var<immediate>` is
//! treated in the same way.
//!
//! # Bindings
//!
//! The variables that an entry point uses are declared in order of group and binding, after an immediate, so buffer positions and parameter
//! positions ascend with them. [`Imported::bindings`] lists them with the arguments that they became, and
//! [`Imported::binding`] finds one. `docs/wgsl.md` describes the rest: what maps to what, and what is refused.
#![forbid(unsafe_code)]

mod bindings;
mod compact;
mod decide;
mod directives;
mod emit;
mod front;
mod lower;
mod names;
mod refusal;
mod scan;
mod types;

use fulgurite_ir::VerifiedKernel;
use fulgurite_spec::{Code, Diagnostic, Diagnostics, Location};
use naga::ShaderStage;

pub use bindings::{Binding, Field, ImportOptions, Resource, Slot, Uniforms};

use refusal::{Refusal, Source};

/// The largest number of entry points of one import.
const MAX_ENTRIES: usize = 256;

/// A kernel imported from an entry point.
#[derive(Clone, Debug)]
pub struct Imported {
    /// The kernel. Its name is that of the entry point, with characters outside of ASCII replaced.
    pub kernel: VerifiedKernel,
    /// Name of the entry point.
    pub entry: String,
    /// The bound variables that the entry point uses, by group and binding.
    pub bindings: Vec<Binding>,
}

impl Imported {
    /// Returns the variable at `@group(group) @binding(binding)`, if the entry point uses it.
    pub fn binding(&self, group: u32, binding: u32) -> Option<&Binding> {
        self.bindings.iter().find(|one| one.slot == Some(Slot { group, binding }))
    }
}

/// Imports the compute entry points of a WGSL source, in the order of the source.
///
/// # Errors
/// - `FG1301`: the source is not valid WGSL,
/// - `FG1302`, `FG1303`: it uses a resource or construct without an equivalent,
/// - `FG1304`: it has no compute entry point, or none of the name in the options,
/// - `FG1305`: an override has no usable value, or is not declared,
/// - `FG1306`: it exceeds a limit of the importer or of the language,
/// - `FG02xx`: a kernel breaks a rule of the language, such as `FG0205` for a barrier in non-uniform control flow.
///
/// All entry points are tried, and the problems of all of them are returned. Locations are in the source.
pub fn import(source: &str, options: &ImportOptions) -> Result<Vec<Imported>, Diagnostics> {
    let one = |problem: Refusal| Diagnostics::from(*problem);
    let source = directives::without_subgroups(source);
    let source = Source::new(&source);
    let parsed = front::parse(&source).map_err(one)?;
    front::check_overrides(&parsed, &options.overrides).map_err(one)?;
    let compute = parsed.module.entry_points.iter().filter(|entry| entry.stage == ShaderStage::Compute);
    let names: Vec<&str> = compute.map(|entry| entry.name.as_str()).collect();
    let chosen: Vec<&str> = match &options.entry {
        Some(name) => names.iter().copied().filter(|other| other == name).collect(),
        None => names.clone(),
    };
    if chosen.is_empty() {
        return Err(no_entry(options.entry.as_deref(), &names).into());
    }
    if chosen.len() > MAX_ENTRIES {
        let message = format!("the shader has {} entry points, more than {MAX_ENTRIES}", chosen.len());
        let problem = Diagnostic::new(Code::WgslTooLarge, Location::Unknown, message);
        return Err(problem.with_fix("Name the one to import.").into());
    }
    let (mut imported, mut problems) = (Vec::new(), Vec::new());
    for entry in chosen {
        match import_entry(&source, &parsed, entry, options) {
            Ok(one) => imported.push(one),
            Err(all) => problems.extend(all.all().iter().cloned()),
        }
    }
    Diagnostics::check(problems)?;
    Ok(imported)
}

fn no_entry(wanted: Option<&str>, names: &[&str]) -> Diagnostic {
    let message = match wanted {
        Some(name) => format!("the shader has no compute entry point `{name}`"),
        None => "the shader has no compute entry point".to_owned(),
    };
    let fix = match names {
        [] => "Mark a function with `@compute @workgroup_size(…)`.".to_owned(),
        names => format!("The compute entry points are {}.", names.join(", ")),
    };
    Diagnostic::new(Code::BadWgslEntry, Location::Unknown, message).with_fix(fix)
}

fn import_entry(
    source: &Source<'_>,
    parsed: &front::Parsed,
    entry: &str,
    options: &ImportOptions,
) -> Result<Imported, Diagnostics> {
    let one = |problem: Refusal| Diagnostics::from(*problem);
    let entries = &parsed.module.entry_points;
    let position = entries.iter().position(|e| e.stage == ShaderStage::Compute && e.name == entry);
    let Some(position) = position else {
        return Err(no_entry(Some(entry), &[]).into());
    };
    let lowered = lower::entry_point(source, &parsed.module, &parsed.info, position, options).map_err(one)?;
    let mut kernel = compact::compact(lowered.kernel);
    kernel.needs_progress = options.workgroup_progress;
    let kernel = fulgurite_ir::verify(kernel)?;
    let mut bindings = lowered.bindings;
    for binding in &mut bindings {
        if let Resource::Buffer { position, access, .. } = &mut binding.resource {
            *access = kernel.buffers[*position].access;
        }
    }
    Ok(Imported { kernel, entry: entry.to_owned(), bindings })
}
