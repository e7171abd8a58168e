//! Run files: kernel text with the buffers to run it on and their expected contents.
//!
//! Comments in a file state how it is run. Literals are those of kernel text; `16 * 0u32` repeats a literal:
//!
//! ```text
//! // test: run
//! // grid: 2 1 1
//! // timeout: 500
//! // param %a = 2.0f32
//! // buffer %x = 1u32 2u32 16 * 0u32
//! // expect %x = 1u32 ? 16 * 7u32
//! // expect error: FG0602
//! ```
//!
//! The grid is in workgroups and defaults to 1 1 1; the timeout is in milliseconds. Parameters and buffers appear in
//! the order of their declaration. The contents of a buffer without an `expect` line are not checked, nor are elements
//! whose expected value is `?`. Floats are compared by bits, except that any NaN matches any NaN.

use std::sync::Arc;
use std::time::Duration;

use fulgurite_hal::{self as hal, CompileOptions, DeviceError, Error, LaunchOptions};
use fulgurite_ir::{VerifiedKernel, text, verify};
use fulgurite_spec::eval::Components;
use fulgurite_spec::eval::float::FloatFormat;
use fulgurite_spec::{Code, Literal};

use crate::harness::{compile_on, launch_on};

/// Limit of a repeat count.
const MOST_ELEMENTS: usize = 1 << 26;

/// A parsed run file.
pub struct RunFile {
    kernel: Arc<VerifiedKernel>,
    options: LaunchOptions,
    params: Vec<Components>,
    buffers: Vec<Vec<Literal>>,
    expected: Vec<(usize, Vec<Option<Literal>>)>,
    error: Option<Code>,
}

/// Outcome of a run that did not fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The results match the file.
    AsExpected,
    /// The backend lacks a feature that the kernel needs; the string is the reason.
    Unsupported(String),
}

impl RunFile {
    /// Parses a run file.
    ///
    /// # Errors
    /// A message for the user that describes the problem.
    pub fn parse(source: &str) -> Result<Self, String> {
        let kernel = text::parse(source).and_then(verify).map_err(|e| e.to_string())?;
        let mut file = Self {
            kernel: Arc::new(kernel),
            options: LaunchOptions::workgroups([1, 1, 1]),
            params: Vec::new(),
            buffers: Vec::new(),
            expected: Vec::new(),
            error: None,
        };
        for (number, line) in source.lines().enumerate() {
            let Some(comment) = line.strip_prefix("//") else { continue };
            file.directive(comment.trim()).map_err(|e| format!("line {}: {e}", number + 1))?;
        }
        if file.expected.is_empty() && file.error.is_none() {
            return Err("the file has no `expect` line".to_owned());
        }
        Ok(file)
    }

    /// Returns the kernel.
    pub fn kernel(&self) -> &Arc<VerifiedKernel> {
        &self.kernel
    }

    /// Returns the names of the buffers that the kernel may write and whose contents the file does not fix, in whole or in
    /// part. If an error is expected, no contents are compared.
    pub fn unchecked(&self) -> impl Iterator<Item = &str> {
        let is_fixed = |binding: usize| {
            let mut all = self.expected.iter().filter(|(expected, _)| *expected == binding);
            self.error.is_none() && all.any(|(_, values)| values.iter().all(Option::is_some))
        };
        let written = self.kernel.buffers.iter().enumerate().filter(|(_, buffer)| buffer.access.can_write());
        written.filter(move |(binding, _)| !is_fixed(*binding)).map(|(_, buffer)| buffer.name.as_str())
    }

    fn directive(&mut self, line: &str) -> Result<(), String> {
        if let Some(grid) = line.strip_prefix("grid:") {
            let number = |word: &str| {
                word.parse().map_err(|_| format!("`grid:` takes three numbers, and `{word}` is none"))
            };
            let numbers: Vec<u32> = grid.split_whitespace().map(number).collect::<Result<_, _>>()?;
            let count = numbers.len();
            let grid = numbers.try_into().map_err(|_| format!("`grid:` takes three numbers, got {count}"))?;
            self.options = self.options.merged(&LaunchOptions::workgroups(grid));
        } else if let Some(count) = line.strip_prefix("linear:") {
            let count = count.trim().parse().map_err(|_| "`linear:` takes a number")?;
            self.options = self.options.merged(&LaunchOptions::linear(count));
        } else if let Some(timeout) = line.strip_prefix("timeout:") {
            let milliseconds = timeout.trim().parse().map_err(|_| "`timeout:` takes a number")?;
            self.options = self.options.clone().timeout(Duration::from_millis(milliseconds));
        } else if let Some(code) = line.strip_prefix("expect error:") {
            self.error = Some(Code::parse(code.trim()).ok_or("unknown diagnostic code")?);
        } else if let Some((target, values)) = line.split_once('=') {
            let mut words = target.split_whitespace();
            let (kind, name) = (words.next(), words.next().and_then(|n| n.strip_prefix('%')));
            match (kind, name, words.next()) {
                (Some(kind @ ("param" | "buffer" | "expect")), Some(name), None) => {
                    self.values(kind, name, values)?;
                }
                // Two words before `=`, of which the second is a name: a misspelled directive.
                (Some(kind), Some(_), None) => {
                    return Err(format!(
                        "unknown directive `{kind}`, expected `param`, `buffer` or `expect`"
                    ));
                }
                _ => {}
            }
        } else if let Some(kind @ ("grid" | "linear" | "timeout")) = line.split_whitespace().next() {
            return Err(format!("`{kind}` is written `{kind}:`"));
        }
        Ok(())
    }

    fn values(&mut self, kind: &str, name: &str, values: &str) -> Result<(), String> {
        let values = literals(values)?;
        let kernel = &self.kernel;
        if kind == "expect" {
            return self.expect(name, values);
        }
        let values: Vec<Literal> =
            values.into_iter().collect::<Option<_>>().ok_or("`?` is allowed only in `expect`")?;
        if kind == "param" {
            if !kernel.params.iter().any(|p| p.name == name) {
                return Err(format!("the kernel has no parameter `%{name}`"));
            }
            let declared = kernel.params.get(self.params.len()).filter(|p| p.name == name);
            let ty = declared.ok_or("parameters must be in order of declaration, each once")?.ty;
            if values.len() != ty.lanes.count() as usize || values.iter().any(|v| v.ty != ty.scalar) {
                return Err(format!("parameter `%{name}` has type {ty}"));
            }
            let mut components = [0; 4];
            components.iter_mut().zip(&values).for_each(|(c, v)| *c = v.bits);
            self.params.push(components);
            return Ok(());
        }
        let binding =
            kernel.buffers.iter().position(|b| b.name == name).ok_or("the kernel has no such buffer")?;
        if values.iter().any(|v| v.ty != kernel.buffers[binding].element.scalar) {
            return Err(format!("buffer `%{name}` has elements of type {}", kernel.buffers[binding].element));
        }
        if binding != self.buffers.len() {
            return Err("buffers must be in order of declaration, each once".to_owned());
        }
        self.buffers.push(values);
        Ok(())
    }

    fn expect(&mut self, name: &str, values: Vec<Option<Literal>>) -> Result<(), String> {
        let kernel = &self.kernel;
        let binding =
            kernel.buffers.iter().position(|b| b.name == name).ok_or("the kernel has no such buffer")?;
        if values.iter().flatten().any(|v| v.ty != kernel.buffers[binding].element.scalar) {
            return Err(format!("buffer `%{name}` has elements of type {}", kernel.buffers[binding].element));
        }
        self.expected.push((binding, values));
        Ok(())
    }

    /// Runs the file on `backend`.
    ///
    /// # Errors
    /// A message for the user with the difference between expected and actual results.
    pub fn run(&self, backend: &dyn hal::Device) -> Result<Outcome, String> {
        let outcome = self.outputs(backend);
        let outputs = match (outcome, self.error) {
            (Err(error), Some(code)) if error.code() == code => return Ok(Outcome::AsExpected),
            // A feature that the backend says it lacks is not a failure, unless every backend must have it.
            (Err(Error::Unsupported(reason)), _)
                if Error::check_needs(&self.kernel, backend.snapshot()).is_err() =>
            {
                return Ok(Outcome::Unsupported(reason.to_string()));
            }
            // A driver that ends long loops does so before a timeout could expire; the launch was still stopped.
            (Err(Error::Device(DeviceError::LoopLimit { .. })), Some(Code::Timeout))
                if backend.snapshot().limits.loop_limit.is_some() =>
            {
                return Ok(Outcome::AsExpected);
            }
            (Err(error), _) => return Err(error.to_string()),
            (Ok(_), Some(code)) => return Err(format!("expected {code}, but it ran")),
            (Ok(outputs), None) => outputs,
        };
        for (binding, expected) in &self.expected {
            let found = &outputs[*binding];
            let name = &self.kernel.buffers[*binding].name;
            if expected.len() != found.len() {
                return Err(format!(
                    "the length of `%{name}` is {}, expected {}",
                    found.len(),
                    expected.len()
                ));
            }
            let pairs = expected.iter().zip(found).enumerate();
            let mut different =
                pairs.filter_map(|(i, (a, b))| a.filter(|a| !same(*a, *b)).map(|a| (i, a, *b)));
            if let Some((element, expected, found)) = different.next() {
                let more = different.count();
                return Err(format!(
                    "`%{name}[{element}]` is {found}, expected {expected}; {more} more elements differ"
                ));
            }
        }
        Ok(Outcome::AsExpected)
    }

    /// Returns the contents of the buffers after a launch.
    fn outputs(&self, backend: &dyn hal::Device) -> Result<Vec<Vec<Literal>>, Error> {
        let bytes_of = |values: &Vec<Literal>| -> Vec<u8> {
            values.iter().flat_map(|v| v.bits.to_le_bytes().into_iter().take(v.ty.size() as usize)).collect()
        };
        let contents: Vec<Vec<u8>> = self.buffers.iter().map(bytes_of).collect();
        let executable = compile_on(backend, self.kernel.clone(), &CompileOptions::default())?;
        let after = launch_on(backend, &executable, &contents, &self.params, &self.options)?;
        let outputs = after.iter().zip(&self.kernel.buffers).map(|(bytes, declared)| {
            let size = declared.element.scalar.size() as usize;
            let literal = |word: &[u8]| {
                let mut bits = [0; 8];
                bits[..size].copy_from_slice(word);
                Literal::new(declared.element.scalar, u64::from_le_bytes(bits))
            };
            bytes.chunks_exact(size).map(literal).collect()
        });
        Ok(outputs.collect())
    }
}

/// Parses literals or `?`, separated by blanks, each with an optional repeat count.
fn literals(text: &str) -> Result<Vec<Option<Literal>>, String> {
    let mut all = Vec::new();
    let mut words = text.split_whitespace().peekable();
    while let Some(word) = words.next() {
        let mut count = 1;
        let mut literal = word;
        if words.peek() == Some(&"*") {
            words.next();
            count = word.parse::<usize>().map_err(|_| format!("`{word}` is not a count"))?;
            if count > MOST_ELEMENTS {
                return Err(format!("{count} elements exceed the limit of {MOST_ELEMENTS}"));
            }
            literal = words.next().ok_or("a literal is missing")?;
        }
        let literal = if literal == "?" { None } else { Some(text::parse_literal(literal)?) };
        all.extend(std::iter::repeat_n(literal, count));
    }
    Ok(all)
}

fn same(a: Literal, b: Literal) -> bool {
    let is_nan = |v: Literal| FloatFormat::of(v.ty).is_some_and(|format| format.is_nan(v.bits));
    a == b || is_nan(a) && is_nan(b)
}

#[cfg(test)]
mod tests {
    use fulgurite_backend_reference::{ReferenceDevice, ReferenceOptions};

    use super::*;

    const FILE: &str = "// test: run\n// grid: 2 1 1\n// param %a = 3u32\n// buffer %x = 2 * 0u32 7u32\n\
        // expect %x = 3u32 3u32 7u32\nfulgurite 1\nkernel @k workgroup(1, 1, 1) {\n  buffer %x: write u32[]\n  \
        param %a: u32\n\n  %i = global_id.x\n  store %x[%i], %a\n}\n";

    fn outcome(source: &str) -> Result<(), String> {
        let device = ReferenceDevice::new(ReferenceOptions::default());
        RunFile::parse(source)?.run(&device).map(|_| ())
    }

    #[test]
    fn a_file_passes_only_if_everything_is_as_expected() {
        outcome(FILE).unwrap();
        outcome(&FILE.replace("3u32 3u32 7u32", "? 3u32 ?")).unwrap();
        let unchecked = |text: &str| -> Vec<String> {
            RunFile::parse(text).unwrap().unchecked().map(str::to_owned).collect()
        };
        assert!(unchecked(FILE).is_empty());
        assert_eq!(unchecked(&FILE.replace("3u32 3u32 7u32", "? 3u32 ?")), ["x"]);
        assert_eq!(unchecked(&FILE.replace("expect %x = 3u32 3u32 7u32", "expect error: FG0602")), ["x"]);
        let wrong = [
            ("3u32 3u32 7u32", "3u32 4u32 ?", "`%x[1]` is 3u32, expected 4u32; 0 more"),
            ("3u32 3u32 7u32", "3u32 3u32", "the length of `%x` is 3, expected 2"),
            ("// expect %x", "// expct %x", "line 5: unknown directive `expct`"),
            ("// grid: 2 1 1", "// grid 2 1 1", "line 2: `grid` is written `grid:`"),
            ("// grid: 2 1 1", "// grid: 2 x 1 1", "line 2: `grid:` takes three numbers, and `x` is none"),
            ("// grid: 2 1 1", "// grid: 2,1,1", "line 2: `grid:` takes three numbers, and `2,1,1` is none"),
            ("// grid: 2 1 1", "// grid: 2 1", "line 2: `grid:` takes three numbers, got 2"),
            ("2 * 0u32", "99999999999 * 0u32", "exceed the limit"),
            ("buffer %x = 2 * 0u32 7u32", "buffer %x = 2 * 0u32 ?", "only in `expect`"),
            ("expect %x = 3u32 3u32 7u32", "expect error: FG0602", "but it ran"),
            ("// expect %x = 3u32 3u32 7u32", "", "no `expect` line"),
            ("param %a = 3u32", "param %a = 3i32", "has type u32"),
            ("param %a = 3u32", "param %b = 3u32", "no parameter `%b`"),
            ("// param %a = 3u32", "// param %a = 3u32\n// param %a = 3u32", "each once"),
            ("// param %a = 3u32", "", "FG0501"),
            ("store %x", "stoer %x", "FG0106"),
        ];
        for (from, to, message) in wrong {
            let error = outcome(&FILE.replace(from, to)).unwrap_err();
            assert!(error.contains(message), "{error}");
        }
    }
}
