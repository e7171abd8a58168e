//! The suite `kernels`: the kernels of `examples/kernels` and the families of the kernel library, compared with the
//! device's own copies.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use fulgurite::autotune::{self, Instance, Numbers, Prepared, Tester};
use fulgurite::kernels::{COPY, families};
use fulgurite::{CompileOptions, LaunchOptions};
use fulgurite_runtime::{Buffer, BufferView, Device, Program};

use super::Session;
use crate::copy;
use crate::measurement::{Amount, Measurement, ROOF, Unit};
use crate::problems::{NAMES, Scale, problem};
use crate::run::Loaded;
use crate::target::Target;
use crate::timing::{by_itself, by_wall};

/// Target share of the copy rate for kernels that are bound by memory.
const SHARE_OF_COPY: f64 = 0.8;
/// Timeout of a launch.
pub(super) const TIMEOUT: Duration = Duration::from_secs(60);
/// Copy rates in bytes per second: below the first, the device is an interpreter; above the second, a GPU.
const RATES: [f64; 2] = [0.5e9, 250e9];

/// A copy kernel with its buffers.
struct Copying {
    program: Program,
    buffers: [Buffer; 2],
}

impl Copying {
    fn new(target: &Target, bytes: u64) -> anyhow::Result<Self> {
        let program = target.device.compile(&fulgurite::parse(COPY)?, &CompileOptions::default())?;
        Ok(Self { program, buffers: [target.device.zeroed(bytes)?, target.device.zeroed(bytes)?] })
    }

    fn once(&self) -> anyhow::Result<Duration> {
        let [from, to] = &self.buffers;
        let options = LaunchOptions::linear(from.bytes() / 16).timed(true);
        let begun = Instant::now();
        let report = self.program.launch(&[from.whole(), to.whole()], &[], &options)?;
        Ok(report.device_time.unwrap_or_else(|| begun.elapsed()))
    }

    fn check(&self) -> anyhow::Result<()> {
        let bytes: Vec<u8> = (0..self.buffers[0].bytes()).map(|i| ((i * 7) >> 3) as u8).collect();
        self.buffers[0].whole().write(&bytes)?;
        self.once()?;
        ensure!(self.buffers[1].whole().to_vec()? == bytes, "the copy kernel copied something else");
        Ok(())
    }
}

/// Returns the scale of problems for `target`, chosen by its copy rate.
pub(super) fn scale(target: &Target) -> anyhow::Result<Scale> {
    let most = target.backend.snapshot().limits.max_buffer_bytes.min(256 << 20);
    let mut bytes = 1 << 16;
    loop {
        let copying = Copying::new(target, bytes)?;
        // The fastest of several runs: with one late thread, a CPU would be mistaken for an interpreter.
        let times = (0..8).map(|_| copying.once()).collect::<Result<Vec<_>, _>>()?;
        let seconds = times.iter().min().map_or(0.0, Duration::as_secs_f64);
        if seconds > 2e-3 || bytes * 4 > most {
            let rate = 2.0 * bytes as f64 / seconds.max(1e-9);
            return Ok(match rate {
                _ if rate < RATES[0] => Scale::Test,
                _ if rate < RATES[1] => Scale::Host,
                _ => Scale::Full,
            });
        }
        bytes *= 4;
    }
}

pub(super) fn run(session: &mut Session<'_>, target: &Target) -> anyhow::Result<()> {
    let scale = session.scale(target)?;
    session.each(ROOF, |session| roof(session, target, scale).map(drop));
    for name in NAMES {
        let Some(problem) = session.may_want(name).then(|| problem(name, scale)).flatten() else { continue };
        let name = format!("{}, {}", problem.name, problem.size);
        session.each(&name, |session| {
            let roof = roof(session, target, scale)?;
            let loaded = Loaded::new(target, problem)?;
            let ours = loaded.ours()?;
            loaded.check(&ours)?;
            let foreign = session.against().map(|folder| loaded.foreign(folder)).transpose()?.flatten();
            if let Some(foreign) = &foreign {
                loaded.check(foreign).context("the other module")?;
            }
            let amount = loaded.problem.work.amount();
            let mut mine = by_itself(|| loaded.once(&ours));
            let result = match &foreign {
                Some(foreign) => {
                    let mut others = by_itself(|| loaded.once(foreign));
                    session.time(&name, amount, &mut mine, Some(("SPIR-V of --against", &mut others)))?
                }
                None => session.time(&name, amount, &mut mine, None)?,
            };
            aim(result, roof);
            Ok(())
        });
    }
    for listed in families() {
        let problem = size(listed.id, listed.problems, scale);
        let name = format!("family {}, {problem}", listed.id);
        session.each(&name, |session| {
            let roof = roof(session, target, scale)?;
            let instance = listed.instance(target.backend.snapshot(), problem)?;
            let result = family(session, target, &name, &instance)?;
            aim(result, roof);
            Ok(())
        });
    }
    Ok(())
}

/// Sets the target of kernels that are bound by memory.
fn aim(result: &mut Measurement, roof: f64) {
    if result.unit == Unit::Gigabytes {
        result.target = Some(SHARE_OF_COPY * roof);
    }
}

/// Returns the device's measured copy rate, by a kernel or by its peer, as the bound for kernels that are bound by
/// memory. It is measured with the first such kernel.
fn roof(session: &mut Session<'_>, target: &Target, scale: Scale) -> anyhow::Result<f64> {
    let known = session.full_name(ROOF);
    let known = session.results.iter().find(|result| result.suite == "kernels" && result.name == known);
    if let Some(roof) = known.and_then(Measurement::roof) {
        return Ok(roof);
    }
    let copying = Copying::new(target, scale.copied_bytes() as u64)?;
    copying.check()?;
    let amount = Amount::Bytes(2 * scale.copied_bytes() as u64);
    let opened = copy::peer(target, scale.copied_bytes());
    let mut ours = by_itself(|| copying.once());
    let result = match session.peer("for copies", opened) {
        Some(([_, name], mut other)) => {
            let mut others = by_wall(|| other.copy());
            session.time(ROOF, amount, &mut ours, Some((name, &mut others)))?
        }
        None => session.time(ROOF, amount, &mut ours, None)?,
    };
    result.roof().context("it is a roof by its name")
}

/// Returns the problem size for a family.
pub(super) fn size(family: &str, [small, middling, large]: [&'static str; 3], scale: Scale) -> &'static str {
    match (scale, family) {
        (Scale::Test, "elementwise" | "sum") => "2^12",
        (Scale::Test, _) => "64",
        (Scale::Quick, "matmul_f16") => "256",
        (Scale::Quick, _) => small,
        (Scale::Host, "matmul_f16") => "1024",
        (Scale::Host, _) => middling,
        (Scale::Full, _) => large,
    }
}

/// Measures a family's heuristic choice, without records, because those would make results of two machines differ.
fn family<'s>(
    session: &'s mut Session<'_>,
    target: &Target,
    name: &str,
    instance: &Instance,
) -> anyhow::Result<&'s mut Measurement> {
    let candidate = &instance.candidates[instance.heuristic];
    let tester = Tester::new(&target.device, instance, 1, TIMEOUT)?;
    tester.check(candidate).map_err(|rejection| anyhow::anyhow!("wrong: {}", rejection.reason))?;
    drop(tester);
    let prepared = Prepared::new(&target.device, candidate.plan()?)?;
    let buffers = inputs(&target.device, instance)?;
    let options = LaunchOptions::default().timeout(TIMEOUT);
    let mut ours = by_itself(|| Ok(prepared.timed(&buffers, &options)?));
    session.time(name, work(instance), &mut ours, None)
}

/// Returns the amount that a family's rate is computed from.
pub(super) fn work(instance: &Instance) -> Amount {
    match instance.work {
        autotune::Work::Bytes(bytes) => Amount::Bytes(bytes),
        autotune::Work::Operations(count) => Amount::Operations(count),
        _ => Amount::Times(1),
    }
}

/// Returns the buffers of a family's arguments, with random numbers in its inputs.
pub(super) fn inputs(device: &Device, instance: &Instance) -> anyhow::Result<Vec<BufferView>> {
    let numbers = instance.trial(Numbers::Random, 1).arguments;
    let buffers = instance.arguments.iter().zip(&numbers).map(|(argument, bytes)| {
        Ok(match bytes.is_empty() {
            true => device.zeroed(argument.bytes)?.whole(),
            false => device.upload(bytes)?.whole(),
        })
    });
    buffers.collect()
}
