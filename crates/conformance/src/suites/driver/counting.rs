//! Counters: exact after a known sequence.

use fulgurite_hal::{Error, LaunchOptions, LaunchReport};
use fulgurite_runtime::{Call, Counters, Device, Recorder};
use fulgurite_spec::Code;

use super::{MAP, PATIENCE, STEP, TRAP, compile, word};
use crate::suites::bytes;
use crate::suites::checks::{Checks, Part};

pub(super) const PARTS: &[(&str, Part)] =
    &[("counters", counters), ("counters of separate devices", separate)];

/// Returns the nonzero counters by name. Cache outcomes depend on earlier runs: on a backend with a cache, their sum
/// must equal the number of compiles, and otherwise be zero.
fn non_zero(counters: &Counters) -> Vec<(&'static str, u64)> {
    let (caches, others): (Vec<_>, Vec<_>) =
        counters.each().partition(|(name, _, _)| name.starts_with("cache_"));
    let asked: u64 = caches.iter().map(|(_, _, value)| value).sum();
    let odd = (asked != 0 && asked != counters.compiles).then_some(("cache outcomes", asked));
    let others = others.into_iter().filter(|(_, _, value)| *value != 0).map(|(name, _, value)| (name, value));
    others.chain(odd).collect()
}

/// The expected counters so far.
#[derive(Default)]
struct Expected {
    bytes_in: u64,
    bytes_out: u64,
    launches: u64,
    failed_launches: u64,
    replays: u64,
    output_slots: u64,
    output_slots_reused: u64,
    compiles: u64,
    compiles_reused: u64,
    device_nanoseconds: u64,
}

impl Expected {
    fn launched(&mut self, report: &LaunchReport, launches: u64) {
        self.launches += launches;
        self.device_nanoseconds += report.device_time.map_or(0, |time| time.as_nanos() as u64);
    }

    fn check(&self, checks: &mut Checks<'_, '_>, device: &Device, what: &str) {
        let all = [
            ("launches", self.launches),
            ("failed_launches", self.failed_launches),
            ("replays", self.replays),
            ("bytes_in", self.bytes_in),
            ("bytes_out", self.bytes_out),
            ("output_slots", self.output_slots),
            ("output_slots_reused", self.output_slots_reused),
            ("compiles", self.compiles),
            ("compiles_reused", self.compiles_reused),
            ("device_nanoseconds", self.device_nanoseconds),
        ];
        let expected: Vec<_> = all.into_iter().filter(|(_, value)| *value != 0).collect();
        checks.equal(what, &non_zero(&device.counters()), &expected);
    }
}

fn counters(checks: &mut Checks<'_, '_>) -> Result<(), Error> {
    let device = checks.device();
    let mut expected = Expected::default();
    expected.check(checks, &device, "counters of a new device");

    let (x, y) = (device.upload(&bytes(&[1; 25]))?, device.zeroed(100)?);
    y.view(8..20)?.write(&[3; 12])?;
    y.view(..7)?.to_vec()?;
    // These copies stay on the device and are not counted.
    y.view(50..60)?.copy_from(&x.view(..10)?)?;
    y.view(60..)?.fill(&[1])?;
    (expected.bytes_in, expected.bytes_out) = (112, 7);
    expected.check(checks, &device, "counters after copies");

    let (program, traps) = (compile(&device, STEP)?, compile(&device, TRAP)?);
    compile(&device, STEP)?;
    (expected.compiles, expected.compiles_reused) = (2, 1);
    expected.check(checks, &device, "counters after compiling");

    let options = LaunchOptions::default();
    let views = [(&x).into(), (&y).into()];
    expected.launched(&program.launch(&views, &[word(1)], &options)?, 1);
    expected.launched(&program.submit(&views, &[word(1)], &options)?.wait()?, 1);
    expected.check(checks, &device, "counters after launches");
    let refused = program.launch(&views, &[], &options);
    checks.refused("a launch that does not fit", refused, Code::WrongArgumentCount);
    checks.refused("a launch that traps", traps.launch(&views, &[], &options), Code::Trap);
    expected.failed_launches = 1;
    expected.check(checks, &device, "counters after launches that failed");

    let data = bytes(&[5; 10]);
    let call = Call::new().input(&data).in_out(&data).param(word(2));
    let mut outputs = Vec::new();
    for reused in [0, 1, 1] {
        expected.launched(&program.call_into(&call, &mut outputs)?, 1);
        expected.bytes_in += 80;
        expected.bytes_out += 40;
        expected.output_slots += 1;
        expected.output_slots_reused += reused;
        expected.check(checks, &device, "counters after a call");
    }
    let resident = Call::new().resident(&x).resident(&y).param(word(2));
    let mut batch = vec![outputs, Vec::new()];
    for report in program.call_batched(&[call.clone(), resident, call.clone()], &mut batch)? {
        expected.launched(&report, 1);
    }
    expected.bytes_in += 160;
    expected.bytes_out += 80;
    expected.output_slots += 2;
    expected.output_slots_reused += 1;
    expected.check(checks, &device, "counters after a batch");
    if let Ok(called) = program.call_async(&call)?.wait_for(PATIENCE) {
        expected.launched(&called?.report, 1);
    }
    expected.bytes_in += 80;
    expected.bytes_out += 40;
    expected.output_slots += 1;
    expected.check(checks, &device, "counters after a call that was submitted");

    let mut recorder = Recorder::new(&device);
    let slots = [recorder.slot(&x), recorder.slot(&y)];
    recorder.launch(&program, &slots, &[word(1)], &options)?;
    recorder.copy(slots[0], slots[1])?;
    recorder.launch(&program, &slots, &[word(1)], &options)?;
    recorder.fill(slots[1], &[9])?;
    let graph = recorder.finish();
    expected.check(checks, &device, "counters after recording");
    expected.launched(&graph.replay()?, 2);
    expected.launched(&graph.submit()?.wait()?, 2);
    expected.replays = 2;
    expected.check(checks, &device, "counters after replays");
    Ok(())
}

fn separate(checks: &mut Checks<'_, '_>) -> Result<(), Error> {
    let (one, other) = (checks.device(), checks.device());
    compile(&one, MAP)?;
    one.clone().upload(&[1, 2, 3])?;
    checks.equal("a device's counters", &non_zero(&one.counters()), &vec![("bytes_in", 3), ("compiles", 1)]);
    checks.equal("another's", &non_zero(&other.counters()), &vec![]);
    let text = one.counters().prometheus("device=\"a\"");
    let line = "fulgurite_bytes_in_total{device=\"a\"} 3";
    checks.holds("the counters as text", text.lines().any(|l| l == line), || text.clone());
    Ok(())
}
