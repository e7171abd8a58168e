//! `fulgurite import`: prints the kernel of a WGSL compute shader.

use std::path::PathBuf;

use fulgurite::ir::text;
use fulgurite::wgsl::{Binding, ImportOptions, Imported, Resource, Uniforms};
use fulgurite::{Error, wgsl};
use serde_json::{Value, json};

use crate::output::{self, note};
use crate::source::{Source, usage_with};

#[derive(clap::Args)]
#[command(
    after_help = "The kernel's text is printed to standard output, and a line for each binding to standard error.\n\n\
                  Exit status: 0 if the shader was imported, 1 if it is not valid or has no equivalent, 2 if a file \
                  cannot be read."
)]
pub(crate) struct Args {
    /// The shader (`.wgsl`)
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The entry point; needed if the shader has several, except with --json
    #[arg(long, value_name = "NAME")]
    entry: Option<String>,
    /// The value of an `override`, by its name, or by its number if it has an `@id`
    #[arg(long = "override", value_name = "NAME=VALUE", value_parser = assignment)]
    overrides: Vec<(String, f64)>,
    /// Make every uniform variable a read-only buffer instead of kernel parameters
    #[arg(long)]
    uniform_buffers: bool,
    /// Declare that workgroups wait for others that have begun, as in scans with decoupled look-back
    #[arg(long)]
    workgroup_progress: bool,
    /// Print all kernels and their bindings as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

fn assignment(text: &str) -> Result<(String, f64), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE, such as `size=64`")?;
    let value = match value {
        "true" => 1.0,
        "false" => 0.0,
        number => number.parse().map_err(|_| format!("`{number}` is not a number"))?,
    };
    Ok((name.to_owned(), value))
}

/// Imports the shader.
///
/// # Errors
/// Those of reading the file, `FG0704` if several entry points could be meant, and the problems of the shader.
pub(crate) fn run(args: &Args) -> anyhow::Result<bool> {
    let source = Source::read(&args.file)?;
    let mut options = ImportOptions::default();
    options.entry.clone_from(&args.entry);
    options.overrides.extend(args.overrides.iter().cloned());
    options.workgroup_progress = args.workgroup_progress;
    if args.uniform_buffers {
        options.uniforms = Uniforms::Buffers;
    }
    let all = wgsl::import(&source.text, &options).map_err(|all| source.invalid(Error::from(all)))?;
    if args.json {
        output::json(&json!({ "kernels": all.iter().map(of_kernel).collect::<Vec<_>>() }))?;
        return Ok(true);
    }
    let [one] = &all[..] else {
        let names: Vec<&str> = all.iter().map(|one| one.entry.as_str()).collect();
        let message = format!("{} has several entry points, and a text holds one kernel", source.name);
        let fix = format!("Name one with `--entry`: {}.", names.join(", "));
        return Err(usage_with(message, fix).into());
    };
    output::raw(text::print(&one.kernel).as_bytes())?;
    for binding in &one.bindings {
        note!("{}", shown(binding, one));
    }
    Ok(true)
}

/// Returns the line that describes a binding.
fn shown(binding: &Binding, imported: &Imported) -> String {
    let arguments = match &binding.resource {
        Resource::Buffer { position, element, access, .. } => {
            let name = &imported.kernel.buffers[*position].name;
            format!("buffer {position}, %{name}: {} {element}[]", access.name())
        }
        Resource::Parameters(fields) => {
            let one = |field: &wgsl::Field| {
                format!("{}, %{}: {} from byte {}", field.position, field.name, field.ty, field.offset)
            };
            format!("parameter {}", fields.iter().map(one).collect::<Vec<_>>().join("; "))
        }
    };
    match binding.slot {
        Some(slot) => format!("group {}, binding {}: {arguments}", slot.group, slot.binding),
        None => format!("immediate: {arguments}"),
    }
}

fn of_kernel(imported: &Imported) -> Value {
    json!({
        "entry": imported.entry,
        "text": text::print(&imported.kernel),
        "bindings": imported.bindings.iter().map(of_binding).collect::<Vec<_>>(),
    })
}

fn of_binding(binding: &Binding) -> Value {
    let (buffer, parameters) = match &binding.resource {
        Resource::Buffer { position, element, access, least_bytes } => (
            json!({ "position": position, "element": element.to_string(), "access": access.name(), "least_bytes": least_bytes }),
            Value::Null,
        ),
        Resource::Parameters(fields) => {
            let one = |field: &wgsl::Field| json!({ "position": field.position, "name": field.name, "offset": field.offset, "type": field.ty.to_string() });
            (Value::Null, fields.iter().map(one).collect())
        }
    };
    json!({
        "group": binding.slot.map(|slot| slot.group),
        "binding": binding.slot.map(|slot| slot.binding),
        "name": binding.name,
        "buffer": buffer,
        "parameters": parameters,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overrides_are_names_with_numbers() {
        assert_eq!(assignment("n=-2.5"), Ok(("n".to_owned(), -2.5)));
        assert_eq!(assignment("7=true"), Ok(("7".to_owned(), 1.0)));
        assert!(assignment("n").is_err() && assignment("n=x").is_err());
    }
}
