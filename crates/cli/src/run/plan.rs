//! The plan of a run, from the command line: kernels in order, the buffers that they share by name, their parameters and
//! grids. Opens no device.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use fulgurite::{Code, Error, LaunchOptions, Type, VerifiedKernel};

use super::Args;
use super::values::{assignment, contents, numbers, sizes};
use crate::source::{unknown_name, usage, usage_with};

/// A buffer.
pub(super) struct Named {
    pub(super) name: String,
    pub(super) element: Type,
    pub(super) contents: Vec<u8>,
    /// Whether a kernel may write it.
    pub(super) is_written: bool,
    /// The file that it is written to afterwards.
    pub(super) file: Option<PathBuf>,
}

/// A kernel, and the name by which the command line means this launch of it.
struct Stage {
    label: String,
    kernel: Arc<VerifiedKernel>,
}

/// Names each launch: by the kernel's name, or, if several kernels have that name, `name#1`, `name#2` and so on in the
/// order in which they run. No kernel's name has a `#`.
fn stages(kernels: &[Arc<VerifiedKernel>]) -> Vec<Stage> {
    let named = |name: &str, all: &[Arc<VerifiedKernel>]| all.iter().filter(|k| k.name == name).count();
    let label = |at: usize, name: &str| match named(name, kernels) {
        1 => name.to_owned(),
        _ => format!("{name}#{}", named(name, &kernels[..=at])),
    };
    let all = kernels.iter().enumerate();
    all.map(|(at, kernel)| Stage { label: label(at, &kernel.name), kernel: kernel.clone() }).collect()
}

/// A launch.
pub(super) struct Step {
    /// The name of this launch, unlike that of every other.
    pub(super) label: String,
    pub(super) kernel: Arc<VerifiedKernel>,
    /// Indices of the buffers, in the kernel's order.
    pub(super) buffers: Vec<usize>,
    pub(super) params: Vec<Vec<u8>>,
    pub(super) options: LaunchOptions,
}

/// Launches in order, and their buffers.
pub(super) struct Plan {
    pub(super) steps: Vec<Step>,
    pub(super) buffers: Vec<Named>,
}

impl Plan {
    /// Plans the run of `kernels`.
    ///
    /// # Errors
    /// `FG0501` for a missing buffer or parameter, `FG0502` for a wrong type, `FG0704` for one that no kernel has or that is
    /// given twice, and those of files.
    pub(super) fn new(args: &Args, kernels: &[Arc<VerifiedKernel>]) -> Result<Self, Error> {
        let stages = stages(kernels);
        let kernels = &stages[..];
        let binds = Binds::new(&args.bind, kernels)?;
        let mut buffers = buffers(&args.buffer, kernels, &binds)?;
        for item in &args.out {
            let (name, path) = assignment(item)?;
            let known: Vec<_> = buffers.iter().map(|b| b.name.clone()).collect();
            let buffer = buffers.iter_mut().find(|buffer| buffer.name == name);
            let buffer = buffer.ok_or_else(|| unknown("buffer", name, &known))?;
            if buffer.file.replace(PathBuf::from(path)).is_some() {
                let fix = format!("Give one `--out {name}=…`.");
                return Err(usage_with(format!("buffer `{name}` is written to two files"), fix));
            }
        }
        let timeout = args.timeout.map(timeout).transpose()?;
        let params = Params::new(&args.param, kernels)?;
        let grids = Grids::new(args, kernels)?;
        let step = |stage: &Stage| {
            let Stage { label, kernel } = stage;
            let position = |declared: &str| {
                let name = binds.buffer(label, declared);
                buffers.iter().position(|buffer| buffer.name == name)
            };
            let options = grids.options(label)?;
            Ok(Step {
                buffers: kernel.buffers.iter().filter_map(|declared| position(&declared.name)).collect(),
                params: params.of(stage)?,
                options: timeout.iter().fold(options, |options, limit| options.timeout(*limit)),
                label: label.clone(),
                kernel: kernel.clone(),
            })
        };
        let steps = kernels.iter().map(step).collect::<Result<_, Error>>()?;
        Ok(Self { steps, buffers })
    }
}

fn unknown(kind: &str, name: &str, known: &[String]) -> Error {
    unknown_name(format!("no kernel has a {kind} `{name}`"), kind, known)
}

fn twice(kind: &str, name: &str) -> Error {
    let fix = "Give it once, for all kernels, or `KERNEL:NAME=VALUE` for one of them if it is a parameter.";
    usage_with(format!("{kind} `{name}` is given twice"), fix)
}

fn missing(kind: &str, name: &str) -> Error {
    let message = format!("no value for {kind} `{name}`: add `--{kind} {name}=…`");
    Error::invalid(Code::WrongArgumentCount, message)
}

/// Makes the buffers that the kernels declare, one for each name, with the contents that `given` assigns.
fn buffers(given: &[String], kernels: &[Stage], binds: &Binds<'_>) -> Result<Vec<Named>, Error> {
    let mut buffers: Vec<Named> = Vec::new();
    let all =
        kernels.iter().flat_map(|stage| stage.kernel.buffers.iter().map(move |declared| (stage, declared)));
    for (stage, declared) in all {
        let is_written = declared.access.can_write();
        let name = binds.buffer(&stage.label, &declared.name);
        if let Some(known) = buffers.iter_mut().find(|buffer| buffer.name == name) {
            if known.element != declared.element {
                let message = format!(
                    "kernels share buffer `{}`, but declare it as {} and as {}",
                    known.name, known.element, declared.element
                );
                return Err(Error::invalid(Code::WrongArgumentType, message));
            }
            known.is_written |= is_written;
            continue;
        }
        let (name, element) = (name.to_owned(), declared.element);
        buffers.push(Named { name, element, contents: Vec::new(), is_written, file: None });
    }
    let names: Vec<_> = buffers.iter().map(|buffer| buffer.name.clone()).collect();
    let mut texts: Vec<Option<&str>> = vec![None; buffers.len()];
    for item in given {
        let (name, text) = assignment(item)?;
        let position = names.iter().position(|known| known == name);
        let position = position.ok_or_else(|| unknown("buffer", name, &names))?;
        if texts[position].replace(text).is_some() {
            return Err(twice("buffer", name));
        }
    }
    for (buffer, text) in buffers.iter_mut().zip(texts) {
        let text = text.ok_or_else(|| missing("buffer", &buffer.name))?;
        let contents = contents(text, buffer.element);
        buffer.contents = contents.map_err(|error| in_argument("buffer", &buffer.name, error))?;
    }
    Ok(buffers)
}

/// Buffers that kernels use under names of their own: kernel, its name for the buffer, and the buffer's name.
struct Binds<'a>(Vec<(&'a str, &'a str, &'a str)>);

impl<'a> Binds<'a> {
    fn new(given: &'a [String], kernels: &[Stage]) -> Result<Self, Error> {
        let mut all: Vec<(&str, &str, &str)> = Vec::new();
        for item in given {
            let (key, buffer) = assignment(item)?;
            let (kernel, name) =
                key.split_once(':').ok_or_else(|| usage(format!("`{item}` is not KERNEL:NAME=BUFFER")))?;
            check_kernel(Some(kernel), kernels)?;
            let declared =
                kernels.iter().filter(|stage| stage.label == kernel).flat_map(|stage| &stage.kernel.buffers);
            let names: Vec<_> = declared.map(|buffer| buffer.name.clone()).collect();
            if !names.iter().any(|known| known == name) {
                return Err(unknown("buffer", name, &names));
            }
            if all.iter().any(|(k, n, _)| (*k, *n) == (kernel, name)) {
                let fix = format!("Give one `--bind {key}=…`.");
                return Err(usage_with(format!("buffer `{key}` is bound twice"), fix));
            }
            all.push((kernel, name, buffer));
        }
        Ok(Self(all))
    }

    /// Returns the name of the buffer that the kernel of the launch `label` declares as `declared`.
    fn buffer<'n>(&self, label: &str, declared: &'n str) -> &'n str
    where
        'a: 'n,
    {
        let bound = self.0.iter().find(|(k, name, _)| *k == label && *name == declared);
        bound.map_or(declared, |(_, _, buffer)| *buffer)
    }
}

/// A value for one kernel, or for all.
struct Assigned<'a> {
    kernel: Option<&'a str>,
    value: &'a str,
}

/// Returns the value for the launch `label`: its own, or else that for all.
fn of<'a>(label: &str, mut all: impl Iterator<Item = &'a Assigned<'a>> + Clone) -> Option<&'a str> {
    let own = all.clone().find(|assigned| assigned.kernel == Some(label));
    own.or_else(|| all.find(|assigned| assigned.kernel.is_none())).map(|assigned| assigned.value)
}

/// Returns an error unless a launch has the name `name`.
fn check_kernel(name: Option<&str>, kernels: &[Stage]) -> Result<(), Error> {
    let names: Vec<_> = kernels.iter().map(|stage| stage.label.as_str()).collect();
    match name {
        Some(name) if kernels.iter().any(|stage| stage.kernel.name == name) && !names.contains(&name) => {
            Err(unknown_name(format!("several kernels have the name `{name}`"), "kernel", &names))
        }
        Some(name) if !names.contains(&name) => {
            Err(unknown_name(format!("there is no kernel `{name}`"), "kernel", &names))
        }
        _ => Ok(()),
    }
}

/// Values of parameters: `NAME=VALUE` for all kernels, `KERNEL:NAME=VALUE` for one.
struct Params<'a>(Vec<(&'a str, Assigned<'a>)>);

impl<'a> Params<'a> {
    fn new(given: &'a [String], kernels: &[Stage]) -> Result<Self, Error> {
        let mut all: Vec<(&str, Assigned<'_>)> = Vec::new();
        for item in given {
            let (key, value) = assignment(item)?;
            let (kernel, name) = match key.split_once(':') {
                Some((kernel, name)) => (Some(kernel), name),
                None => (None, key),
            };
            check_kernel(kernel, kernels)?;
            let declared = kernels.iter().filter(|stage| kernel.is_none_or(|name| stage.label == name));
            let params = declared.flat_map(|stage| &stage.kernel.params);
            let names: Vec<_> = params.map(|param| param.name.clone()).collect();
            if !names.iter().any(|known| known == name) {
                return Err(unknown("param", name, &names));
            }
            if all.iter().any(|(known, assigned)| *known == name && assigned.kernel == kernel) {
                return Err(twice("param", key));
            }
            all.push((name, Assigned { kernel, value }));
        }
        Ok(Self(all))
    }

    fn of(&self, stage: &Stage) -> Result<Vec<Vec<u8>>, Error> {
        let value = |name: &str| {
            of(&stage.label, self.0.iter().filter(|(known, _)| *known == name).map(|(_, assigned)| assigned))
        };
        let params = &stage.kernel.params;
        params
            .iter()
            .map(|param| {
                let text = value(&param.name).ok_or_else(|| missing("param", &param.name))?;
                let bytes = numbers(text, param.ty);
                let bytes = bytes.map_err(|error| in_argument("param", &param.name, error))?;
                if bytes.len() != param.ty.size() as usize {
                    let each = param.ty.scalar.size().max(1);
                    let (takes, given) = (param.ty.size() / each, bytes.len() / each as usize);
                    let message =
                        format!("param `{}` of {} takes {takes} numbers, got {given}", param.name, param.ty);
                    return Err(Error::invalid(Code::WrongArgumentType, message));
                }
                Ok(bytes)
            })
            .collect()
    }
}

/// Returns an error that names the argument that it is of.
fn in_argument(kind: &str, name: &str, error: Error) -> Error {
    match error {
        Error::Invalid(problems) => {
            let mut first = problems.all()[0].clone();
            first.message = format!("{kind} `{name}`: {}", first.message);
            Error::Invalid(first.into())
        }
        error => error,
    }
}

/// Grids: `SIZE` for all kernels, `KERNEL=SIZE` for one.
struct Grids<'a> {
    all: [(&'static str, Vec<Assigned<'a>>); 3],
}

impl<'a> Grids<'a> {
    fn new(args: &'a Args, kernels: &[Stage]) -> Result<Self, Error> {
        let read = |option: &str, given: &'a [String]| {
            let mut all: Vec<Assigned<'_>> = Vec::new();
            for item in given {
                let (kernel, value) = match item.split_once('=') {
                    Some((kernel, value)) => (Some(kernel), value),
                    None => (None, item.as_str()),
                };
                check_kernel(kernel, kernels)?;
                if all.iter().any(|assigned| assigned.kernel == kernel) {
                    let fix = format!("Give `--{option}` once for all kernels, and once for each of them.");
                    return Err(usage_with(format!("`--{option} {item}` is the second of its kind"), fix));
                }
                all.push(Assigned { kernel, value });
            }
            Ok(all)
        };
        let [grid, invocations, linear] = [
            ("grid", read("grid", &args.grid)?),
            ("invocations", read("invocations", &args.invocations)?),
            ("linear", read("linear", &args.linear)?),
        ];
        Ok(Self { all: [grid, invocations, linear] })
    }

    /// Returns the options of the launch `label`, with its grid.
    fn options(&self, label: &str) -> Result<LaunchOptions, Error> {
        let own = |assigned: &&Assigned<'_>| assigned.kernel == Some(label);
        let has_own = self.all.iter().any(|(_, all)| all.iter().any(|assigned| own(&assigned)));
        let stated: Vec<(&str, &str)> = self
            .all
            .iter()
            .filter_map(|(option, all)| {
                let all = all.iter().filter(|assigned| !has_own || own(assigned));
                Some((*option, of(label, all)?))
            })
            .collect();
        match stated[..] {
            [] => Ok(LaunchOptions::default()),
            [("grid", text)] => Ok(LaunchOptions::workgroups(sizes(text)?)),
            [("invocations", text)] => Ok(LaunchOptions::invocations(sizes(text)?)),
            [(_, text)] => {
                let count = text.trim().parse();
                let count = count.map_err(|_| usage(format!("`{text}` is not a number of invocations")))?;
                Ok(LaunchOptions::linear(count))
            }
            [(first, _), (second, _), ..] => {
                let fix = format!("Give one of `--{first}` and `--{second}`.");
                Err(usage_with(format!("kernel `{label}` has two grids"), fix))
            }
        }
    }
}

fn timeout(seconds: f64) -> Result<Duration, Error> {
    Duration::try_from_secs_f64(seconds).map_err(|_| usage(format!("`{seconds}` is not a number of seconds")))
}
