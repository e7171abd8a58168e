//! The execution of a plan: compiling, launching, comparing with the reference, timing.

use std::time::{Duration, Instant};

use fulgurite::{
    Agreement, CacheOutcome, Context, DynArg, DynBuffer, DynExecutable, Error, Freedom, LaunchOptions,
    kept_subnormals,
};

use crate::progress::spinner;

use super::plan::{Plan, Step};

/// The compiled kernels of a plan and its buffers, on a device.
pub(super) struct Sequence<'p> {
    ctx: Context,
    plan: &'p Plan,
    compiled: Vec<(DynExecutable, Duration)>,
    buffers: Vec<DynBuffer>,
}

/// The time of a launch.
#[derive(Clone, Copy)]
pub(super) struct LaunchTime {
    pub(super) time: Duration,
    /// Whether the device measured it; else the host did.
    pub(super) on_device: bool,
}

/// The results of the first run.
pub(super) struct FirstRun {
    /// The contents of each buffer of the plan afterwards.
    pub(super) contents: Vec<Vec<u8>>,
    /// For each step.
    pub(super) times: Vec<LaunchTime>,
    /// For each step, the written buffers and their agreement with the reference; none if unchecked.
    pub(super) agreements: Vec<Vec<(usize, Agreement)>>,
}

/// The times of repeated runs.
pub(super) struct Repeated {
    /// For each step, the times of all runs in seconds.
    pub(super) steps: Vec<Samples>,
    /// The sums over the steps.
    pub(super) all: Samples,
    pub(super) on_device: bool,
}

/// Times in seconds, in ascending order.
pub(super) struct Samples(Vec<f64>);

impl Samples {
    fn new(mut times: Vec<f64>) -> Self {
        times.sort_by(f64::total_cmp);
        Self(times)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns a quantile by the nearest-rank method.
    fn quantile(&self, share: f64) -> f64 {
        let last = self.0.len().saturating_sub(1) as f64;
        self.0.get((share * last).round() as usize).copied().unwrap_or_default()
    }

    pub(super) fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    /// Returns half the interquartile range, relative to the median, as the tuner states it.
    pub(super) fn spread(&self) -> f64 {
        let median = self.median();
        if median > 0.0 { (self.quantile(0.75) - self.quantile(0.25)) / 2.0 / median } else { 0.0 }
    }
}

impl<'p> Sequence<'p> {
    /// Compiles the kernels and copies the buffers to the device.
    ///
    /// # Errors
    /// Those of compiling and allocating.
    pub(super) fn open(ctx: &Context, plan: &'p Plan) -> Result<Self, Error> {
        let compile = |step: &Step| {
            let started = Instant::now();
            Ok((ctx.compile_dynamic(&step.kernel)?, started.elapsed()))
        };
        let compiled = plan.steps.iter().map(compile).collect::<Result<_, Error>>()?;
        let upload = plan.buffers.iter().map(|buffer| ctx.dyn_buffer(buffer.element, &buffer.contents));
        Ok(Self { ctx: ctx.clone(), plan, compiled, buffers: upload.collect::<Result<_, _>>()? })
    }

    pub(super) fn executables(&self) -> impl Iterator<Item = &DynExecutable> {
        self.compiled.iter().map(|(executable, _)| executable)
    }

    /// Returns the time of compiling each step, and what the cache contributed.
    pub(super) fn compile_times(&self) -> Vec<(Duration, CacheOutcome)> {
        self.compiled.iter().map(|(executable, time)| (*time, executable.manifest().cache)).collect()
    }

    /// Runs all steps once. If `is_checked`, the reference runs each step on the inputs that it had here.
    ///
    /// # Errors
    /// Those of launching and copying.
    pub(super) fn run(&self, is_checked: bool) -> Result<FirstRun, Error> {
        let mut contents: Vec<Vec<u8>> = self.plan.buffers.iter().map(|b| b.contents.clone()).collect();
        let (mut times, mut agreements) = (Vec::new(), Vec::new());
        let reference = is_checked.then(|| Context::builder().backend("reference").open()).transpose()?;
        for (at, step) in self.plan.steps.iter().enumerate() {
            let inputs = reference.is_some().then(|| contents.clone());
            times.push(self.launch(at)?);
            let written = written(step);
            for (_, buffer) in &written {
                contents[*buffer] = self.buffers[*buffer].read()?;
            }
            let (Some(reference), Some(inputs)) = (&reference, inputs) else { continue };
            // The interpreter does not say how far it is, so the time shows that it works.
            let spinner = spinner(format!("{}: checking with the reference interpreter", step.label));
            spinner.set_message("`--unchecked` skips it");
            let wanted = reference_results(reference, step, &inputs);
            spinner.finish_and_clear();
            let wanted = wanted?;
            let freedom = Freedom::of(&step.kernel, kept_subnormals(self.ctx.device()));
            let compare = |(position, buffer): &(usize, usize)| {
                (*buffer, freedom.compare(*position, &wanted[*position], &contents[*buffer]))
            };
            agreements.push(written.iter().map(compare).collect());
        }
        Ok(FirstRun { contents, times, agreements })
    }

    /// Runs all steps on the original contents, first `warm_up` times and then `runs` times, which are timed.
    ///
    /// # Errors
    /// Those of launching and copying.
    pub(super) fn repeat(&self, warm_up: u32, runs: u32) -> Result<Repeated, Error> {
        let mut steps = vec![Vec::new(); self.compiled.len()];
        let (mut all, mut on_device) = (Vec::new(), true);
        for run in 0..u64::from(warm_up) + u64::from(runs) {
            let mut changed =
                self.plan.buffers.iter().zip(&self.buffers).filter(|(named, _)| named.is_written);
            changed.try_for_each(|(named, buffer)| buffer.write(&named.contents))?;
            let mut sum = 0.0;
            for (at, times) in steps.iter_mut().enumerate() {
                let launch = self.launch(at)?;
                let seconds = launch.time.as_secs_f64();
                if run >= u64::from(warm_up) {
                    times.push(seconds);
                }
                sum += seconds;
                on_device &= launch.on_device;
            }
            if run >= u64::from(warm_up) {
                all.push(sum);
            }
        }
        let steps = steps.into_iter().map(Samples::new).collect();
        Ok(Repeated { steps, all: Samples::new(all), on_device })
    }

    fn launch(&self, at: usize) -> Result<LaunchTime, Error> {
        let step = &self.plan.steps[at];
        let buffers: Vec<_> = step.buffers.iter().map(|buffer| &self.buffers[*buffer]).collect();
        launch(&self.compiled[at].0, step, &step.options, &buffers)
    }
}

/// Returns the buffers that a step may write: their positions in the kernel and their indices in the plan.
fn written(step: &Step) -> Vec<(usize, usize)> {
    let declared = step.kernel.buffers.iter().zip(&step.buffers).enumerate();
    declared
        .filter(|(_, (declared, _))| declared.access.can_write())
        .map(|(at, (_, index))| (at, *index))
        .collect()
}

/// Time limit of the reference for a step. It is slow, and what it runs has ended on the device.
const REFERENCE_TIMEOUT: Duration = Duration::from_secs(24 * 3600);

/// Runs a step on the reference, and returns the contents of all buffers of the kernel afterwards.
fn reference_results(ctx: &Context, step: &Step, contents: &[Vec<u8>]) -> Result<Vec<Vec<u8>>, Error> {
    let declared = step.kernel.buffers.iter().zip(&step.buffers);
    let buffers: Vec<DynBuffer> = declared
        .map(|(declared, index)| ctx.dyn_buffer(declared.element, &contents[*index]))
        .collect::<Result<_, _>>()?;
    let options = step.options.clone().timeout(REFERENCE_TIMEOUT);
    launch(&ctx.compile_dynamic(&step.kernel)?, step, &options, &buffers.iter().collect::<Vec<_>>())?;
    buffers.iter().map(DynBuffer::read).collect()
}

fn launch(
    executable: &DynExecutable,
    step: &Step,
    options: &LaunchOptions,
    buffers: &[&DynBuffer],
) -> Result<LaunchTime, Error> {
    let mut args: Vec<DynArg<'_>> = buffers.iter().map(|buffer| DynArg::Buffer(buffer)).collect();
    args.extend(step.kernel.params.iter().zip(&step.params).map(|(p, bytes)| DynArg::Param(p.ty, bytes)));
    let started = Instant::now();
    let report = executable.launch_with(options, &args)?;
    let on_host = started.elapsed();
    Ok(LaunchTime { time: report.device_time.unwrap_or(on_host), on_device: report.device_time.is_some() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_spreads_are_the_tuners() {
        let five = Samples::new(vec![5.0, 1.0, 3.0, 2.0, 4.0]);
        assert_eq!((five.median(), five.spread()), (3.0, 1.0 / 3.0));
        assert_eq!(Samples::new(vec![0.0, 0.0]).spread(), 0.0);
    }
}
