//! Kernels of several programs, compiled and run on as many threads as there are processors.

use std::fmt::Write as _;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use fulgurite_hal::{self as hal, CachePolicy, CompileOptions, Error, LaunchOptions};
use fulgurite_ir::{text, verify};
use fulgurite_spec::eval::Components;
use fulgurite_spec::eval::float::FloatFormat;
use fulgurite_spec::{Literal, ScalarType, Type};

use super::data::Data;
use super::evaluate::{Device, evaluate};
use super::program::{Column, INVOCATIONS, Output, Program};
use super::write::{Digests, Stores, Written, digest, write};
use crate::harness::{compile_on, launch_on};
use crate::validate::validate;

/// Stack size of each thread in bytes: evaluation and some drivers' compilers recurse on nested control flow.
const STACK_BYTES: usize = 64 << 20;

/// Timeout of a launch. It takes microseconds, but some drivers compile at launch, which takes long on a busy machine.
/// A launch with wrong loop bounds may never end.
const TIMEOUT: Duration = Duration::from_secs(120);

/// Programs that share a kernel.
pub(super) struct Pack {
    pub(super) programs: Vec<Program>,
    pub(super) data: Data,
    pub(super) stores: Stores,
}

/// Outcome of a pack.
pub(super) enum Outcome {
    /// The pack ran; the results of each program.
    Ran(Vec<Judged>),
    /// The device or a layer above it refused.
    Failed(Error),
    /// The kernel is invalid: a bug in the suite, the verifier or emission.
    Invalid(String),
}

/// Results of one program.
pub(super) struct Judged {
    /// Number of decided results.
    pub(super) cases: u64,
    /// Number of undecided results.
    pub(super) open: u64,
    /// Number of wrong results.
    pub(super) wrong: u64,
    /// The first wrong result.
    pub(super) example: Option<Example>,
}

/// A wrong result.
#[derive(Clone)]
pub(super) struct Example {
    /// Index of the output in the program.
    pub(super) output: usize,
    pub(super) invocation: usize,
    pub(super) ty: Type,
    pub(super) expected: Components,
    pub(super) actual: Components,
}

impl Pack {
    fn written(&self) -> Written {
        let programs: Vec<&Program> = self.programs.iter().collect();
        write(&programs, &self.data, self.stores)
    }

    /// Returns the kernel's text.
    pub(super) fn text(&self) -> String {
        self.written().text
    }

    /// Returns the kernel as a run file, with its initial and expected buffer contents.
    pub(super) fn run_file(&self, device: Device) -> String {
        let written = self.written();
        let results: Vec<Vec<Column>> =
            self.programs.iter().map(|program| evaluate(program, &self.data, device)).collect();
        let sums: Vec<Digests> = match self.stores {
            Stores::Digest(count) => {
                let parts = self.programs.chunks(count).zip(results.chunks(count));
                parts.map(|(programs, results)| digests(programs, results)).collect()
            }
            _ => Vec::new(),
        };
        let (buffers, params) = (&written.buffer_names, &written.param_names);
        let list = |ty: ScalarType, elements: &[Option<u64>]| {
            let literal =
                |bits: &Option<u64>| bits.map_or("?".to_owned(), |bits| Literal::new(ty, bits).to_string());
            elements.iter().map(literal).collect::<Vec<_>>().join(" ")
        };
        let before = written.after(&[], &[]);
        let after = written.after(&results, &sums);
        let mut text = String::from("// test: run\n");
        for ((name, ty), value) in params.iter().zip(&written.params) {
            let _ = writeln!(text, "// param %{name} = {}", Literal::new(*ty, value[0]));
        }
        for ((name, ty), elements) in buffers.iter().zip(&before) {
            let _ = writeln!(text, "// buffer %{name} = {}", list(*ty, elements));
        }
        for (((name, ty), before), after) in buffers.iter().zip(&before).zip(&after) {
            if before != after {
                let _ = writeln!(text, "// expect %{name} = {}", list(*ty, after));
            }
        }
        text + &written.text
    }

    /// Compiles and runs the pack on `backend`.
    pub(super) fn run(&self, backend: &dyn hal::Device, device: Device) -> Outcome {
        if self.programs.is_empty() {
            return Outcome::Ran(Vec::new());
        }
        let written = self.written();
        match launch(backend, &written) {
            Ok(after) => match self.stores {
                Stores::Digest(count) => self.judge_digests(&written, &after, count, backend, device),
                _ => Outcome::Ran(self.judge(&written, &after, device)),
            },
            Err(Stop::Invalid(message)) => Outcome::Invalid(message),
            Err(Stop::Device(error)) => Outcome::Failed(error),
        }
    }

    fn judge(&self, written: &Written, after: &[Vec<u8>], device: Device) -> Vec<Judged> {
        let programs = self.programs.iter().enumerate();
        programs
            .map(|(number, program)| {
                let mut judged = Judged { cases: 0, open: 0, wrong: 0, example: None };
                for (output, column) in evaluate(program, &self.data, device).iter().enumerate() {
                    let ty = output_type(program, program.outputs[output]);
                    for invocation in 0..INVOCATIONS {
                        let actual = written.found(after, number, output, invocation);
                        judged.note(output, column, invocation, ty, actual);
                    }
                }
                judged
            })
            .collect()
    }
}

impl Pack {
    /// Judges programs by digests of `count` programs each. Those of a wrong digest are run again with stores, to find
    /// the wrong one.
    fn judge_digests(
        &self,
        written: &Written,
        after: &[Vec<u8>],
        count: usize,
        backend: &dyn hal::Device,
        device: Device,
    ) -> Outcome {
        let mut all = Vec::with_capacity(self.programs.len());
        for (number, programs) in self.programs.chunks(count).enumerate() {
            let first = all.len();
            let results: Vec<Vec<Column>> =
                programs.iter().map(|program| evaluate(program, &self.data, device)).collect();
            for (position, (program, columns)) in programs.iter().zip(&results).enumerate() {
                let mut judged = Judged { cases: 0, open: 0, wrong: 0, example: None };
                for (output, column) in columns.iter().enumerate() {
                    if let Output::Atomic(..) = program.outputs[output] {
                        for invocation in 0..INVOCATIONS {
                            let actual = written.found(after, first + position, output, invocation);
                            judged.note(output, column, invocation, Type::U32, actual);
                        }
                    }
                }
                all.push(judged);
            }
            let Digests { values: sums, decided } = digests(programs, &results);
            let lanes = u64::from(decided.count_ones());
            let wrong = (0..INVOCATIONS).find(|invocation| {
                decided >> invocation & 1 == 1
                    && written.digest(after, number, *invocation) != sums[*invocation]
            });
            for judged in &mut all[first..] {
                judged.open += INVOCATIONS as u64 - lanes;
                judged.cases += if wrong.is_none() { lanes } else { 0 };
            }
            let Some(invocation) = wrong else { continue };
            let again = Pack { programs: programs.to_vec(), data: self.data.clone(), stores: Stores::Late };
            let apart = match again.run(backend, device) {
                Outcome::Ran(apart) => apart,
                _ => Vec::new(),
            };
            let none = apart.iter().all(|judged| judged.wrong == 0);
            for (judged, apart) in all[first..].iter_mut().zip(apart) {
                *judged = apart;
            }
            if none {
                // All results are right when stored, or the second run failed: report the digest itself.
                let actual = written.digest(after, number, invocation);
                let [expected, actual] = [sums[invocation], actual].map(|sum| [sum, 0, 0, 0]);
                let judged = &mut all[first];
                judged.wrong += 1;
                judged.cases += 1;
                judged.example = Some(Example { output: 0, invocation, ty: Type::U32, expected, actual });
            }
        }
        Outcome::Ran(all)
    }
}

/// Computes the digests of the results that `programs` store.
fn digests(programs: &[Program], results: &[Vec<Column>]) -> Digests {
    let mut digests = Digests { values: [0; INVOCATIONS], decided: u64::MAX };
    for (program, columns) in programs.iter().zip(results) {
        for (output, column) in program.outputs.iter().zip(columns) {
            let Output::Store(var) = *output else { continue };
            let ty = program.types[var];
            digests.decided &= decided(ty, column);
            for (sum, value) in digests.values.iter_mut().zip(&column.values) {
                *sum = digest(*sum, ty, value);
            }
        }
    }
    digests
}

/// Returns a bit mask of the invocations whose value is decided exactly; NaNs are not, because their bits may differ.
fn decided(ty: Type, column: &Column) -> u64 {
    let nans = (0..INVOCATIONS).filter(|invocation| has_nan(ty, &column.values[*invocation]));
    nans.fold(column.decided, |decided, invocation| decided & !(1 << invocation))
}

/// Returns the number of invocations in which a stored result is not decided exactly.
pub(super) fn undecided(program: &Program, data: &Data, device: Device) -> u32 {
    let results = [evaluate(program, data, device)];
    digests(std::slice::from_ref(program), &results).decided.count_zeros()
}

fn has_nan(ty: Type, value: &Components) -> bool {
    let format = FloatFormat::of(ty.scalar);
    format.is_some_and(|format| value[..ty.lanes.count() as usize].iter().any(|bits| format.is_nan(*bits)))
}

impl Judged {
    fn note(&mut self, output: usize, column: &Column, invocation: usize, ty: Type, actual: Components) {
        if column.decided >> invocation & 1 == 0 {
            self.open += 1;
            return;
        }
        self.cases += 1;
        let expected = column.values[invocation];
        let lanes = ty.lanes.count() as usize;
        if (0..lanes).all(|lane| is_same(ty.scalar, expected[lane], actual[lane])) {
            return;
        }
        self.wrong += 1;
        self.example.get_or_insert(Example { output, invocation, ty, expected, actual });
    }
}

/// Returns whether two results are equal, with all NaNs equal.
fn is_same(ty: ScalarType, expected: u64, actual: u64) -> bool {
    let nan = |bits| FloatFormat::of(ty).is_some_and(|format| format.is_nan(bits));
    expected == actual || nan(expected) && nan(actual)
}

fn output_type(program: &Program, output: Output) -> Type {
    match output {
        Output::Store(var) => program.types[var],
        Output::Atomic(..) => Type::U32,
    }
}

enum Stop {
    Invalid(String),
    Device(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Device(error)
    }
}

fn launch(backend: &dyn hal::Device, written: &Written) -> Result<Vec<Vec<u8>>, Stop> {
    let kernel =
        text::parse(&written.text).and_then(verify).map_err(|error| Stop::Invalid(error.to_string()))?;
    validate(&kernel).map_err(Stop::Invalid)?;
    // Tens of thousands of kernels, none of which is run again.
    let options = CompileOptions::default().cache(CachePolicy::Off);
    let executable = compile_on(backend, Arc::new(kernel), &options)?;
    let options = LaunchOptions::workgroups([1, 1, 1]).timeout(TIMEOUT);
    Ok(launch_on(backend, &executable, &written.buffers, &written.params, &options)?)
}

/// Makes packs 0 to `count` by `make`, runs each on a thread of a pool, and passes the outcomes to `each`, in no
/// particular order, until it breaks. The threads share `backends`, which are openings of one device.
pub(super) fn run_all(
    backends: &[Arc<dyn hal::Device>],
    device: Device,
    count: usize,
    make: &(dyn Fn(usize) -> Pack + Sync),
    each: &mut dyn FnMut(usize, Outcome) -> ControlFlow<()>,
) {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(count.max(1));
    let next = AtomicUsize::new(0);
    let (sender, receiver) = mpsc::channel();
    std::thread::scope(|scope| {
        for backend in backends.iter().cycle().take(threads) {
            let (sender, next, backend) = (sender.clone(), &next, backend.as_ref());
            let work = move || {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count || sender.send((number, make(number).run(backend, device))).is_err() {
                        return;
                    }
                }
            };
            let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
            if thread.spawn_scoped(scope, work.clone()).is_err() {
                // No thread could be started; run the work on this one.
                work();
            }
        }
        drop(sender);
        for (number, outcome) in receiver {
            if each(number, outcome).is_break() {
                // Packs in progress finish, and their outcomes are discarded.
                next.store(count, Ordering::Relaxed);
                break;
            }
        }
    });
}
