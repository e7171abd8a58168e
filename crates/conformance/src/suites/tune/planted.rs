//! A family of artificial candidates: each hashes its elements, correctly or not, with a time set through the
//! artificial clock, or fails.

use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, ThreadId};

use fulgurite_autotune::{Argument, Family, Mismatch, Numbers, Plan, Slot, Summary, Trial, Work};
use fulgurite_backend_reference::{ReferenceDevice, ReferenceOptions};
use fulgurite_hal::{CompileOptions, Error, LaunchOptions};
use fulgurite_ir::VerifiedKernel;
use fulgurite_ir::builder::{Read, Write};
use fulgurite_runtime::Device;
use fulgurite_spec::Literal;
use fulgurite_spec::device::DeviceSnapshot;
use fulgurite_spec::eval::{self, Components};
use serde::{Deserialize, Serialize};

use crate::values::Random;

/// Number of elements to hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size(pub(super) u32);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse().map(Self).map_err(|_| "not a number".to_owned())
    }
}

/// Behavior of an artificial candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Kind {
    /// Correct, and much slower than [`Kind::Fast`].
    Slow,
    /// Correct, with a time between the two.
    Middling,
    /// Correct and fast.
    Fast,
    /// Faster than all others, and wrong.
    Wrong,
    /// Wrong in its last element.
    WrongAtTheEnd,
    /// Writes nothing; the output may contain correct values from an earlier run.
    Unwritten,
    /// Adds the contents of scratch memory, and is correct only while that is zero.
    Expecting,
    /// Traps.
    Trapping,
    /// Never ends.
    Endless,
    /// Has more invocations than any device supports.
    TooLarge,
    /// Crashes the process that tries it.
    Crashing,
}

impl Kind {
    const ALL: [Self; 11] = [
        Self::Slow,
        Self::Middling,
        Self::Fast,
        Self::Wrong,
        Self::WrongAtTheEnd,
        Self::Unwritten,
        Self::Expecting,
        Self::Trapping,
        Self::Endless,
        Self::TooLarge,
        Self::Crashing,
    ];

    pub(super) fn name(self) -> String {
        format!("{self:?}")
    }

    pub(super) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// Steps of the hash.
const STEPS: u32 = 16;

/// Candidates of the given kinds; the first is the heuristic's choice.
pub(super) struct Planted {
    kinds: Vec<Kind>,
    /// Kernels of different editions differ but compute the same.
    pub(super) edition: u32,
    /// While this lock is held, threads other than the one that created the family wait for a plan.
    turn: Arc<Mutex<()>>,
    maker: ThreadId,
}

impl Planted {
    pub(super) fn new(kinds: &[Kind]) -> Self {
        Self { kinds: kinds.to_vec(), edition: 0, turn: Arc::default(), maker: thread::current().id() }
    }

    /// Makes other threads wait for plans while `turn` is held.
    pub(super) fn after(mut self, turn: &Arc<Mutex<()>>) -> Self {
        self.turn = Arc::clone(turn);
        self
    }
}

/// An artificial candidate; `number` distinguishes two of one kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct PlantedConfig {
    kind: Kind,
    number: u32,
}

/// Computes the hash of each element in plain Rust.
pub(super) fn expected(input: &[u32]) -> Vec<u32> {
    let hash = |x: &u32| (0..STEPS).fold(*x, |x, _| x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
    input.iter().map(hash).collect()
}

pub(super) fn input(seed: u64) -> Vec<u32> {
    let mut random = Random::new(seed);
    (0..super::SIZE).map(|_| random.next() as u32).collect()
}

/// Returns the reference backend as a device.
pub(super) fn reference() -> Device {
    let backend = Arc::new(ReferenceDevice::new(ReferenceOptions::default()));
    Device::new(backend, CompileOptions::default(), LaunchOptions::default())
}

/// Returns the text of a kernel that hashes `steps` times and takes the given time by the artificial clock.
fn text(steps: u32, nanoseconds: u32, edition: u32, at_the_end: &str) -> String {
    format!(
        "fulgurite 1
kernel @planted_{edition}_{nanoseconds} workgroup(32, 1, 1) {{
  buffer %x: read u32[]
  buffer %y: write u32[]
  param %zero: u32
  %i = global_id.x
  %x0 = load %x[%i]
  %hash = for %s in 0u32 to {steps}u32 step 1u32 carry(%h = %x0) {{
    %m = mul %h, 1664525u32
    %n = add %m, 1013904223u32
    yield %n
  }}
  // Its name does not tell a kernel from another.
  %ns = mul %zero, {nanoseconds}u32
  %nothing = mul %ns, {edition}u32
  %v = add %hash, %nothing
{at_the_end}
}}
"
    )
}

impl Planted {
    fn text(&self, kind: Kind) -> String {
        let store = "  store %y[%i], %v";
        let last = super::SIZE - 1;
        let hash = |nanoseconds, end: &str| text(STEPS, nanoseconds, self.edition, end);
        match kind {
            Kind::Slow => hash(9000, store),
            Kind::Middling => hash(3000, store),
            Kind::Fast | Kind::Crashing => hash(1000, store),
            Kind::Wrong => text(1, 100, self.edition, store),
            Kind::WrongAtTheEnd => hash(
                100,
                &format!(
                    "  %last = eq %i, {last}u32\n  %w = add %v, 1u32\n  %u = select %last, %w, %v\n  store %y[%i], %u"
                ),
            ),
            Kind::Unwritten => hash(100, "  %no = ne %zero, 0u32\n  if %no {\n    store %y[%i], %v\n  }"),
            Kind::Expecting => hash(100, "  %s = load %scratch[%i]\n  %w = add %v, %s\n  store %y[%i], %w")
                .replace("  param %zero", "  buffer %scratch: read u32[]\n  param %zero"),
            Kind::Trapping => {
                hash(100, "  store %y[%i], %v\n  %z = eq %i, 5u32\n  if %z {\n    trap 7u32\n  }")
            }
            Kind::Endless => hash(
                100,
                "  store %y[%i], %v\n  %end = while carry(%k = %zero) {\n    %go = eq %k, 0u32\n    condition %go\n  } do {\n    %same = mul %k, 3u32\n    yield %same\n  }\n  store %y[%i], %end",
            ),
            Kind::TooLarge => hash(100, store).replace("workgroup(32,", "workgroup(1000000,"),
        }
    }
}

fn kernel(text: &str) -> Result<Arc<VerifiedKernel>, Error> {
    let kernel = fulgurite_ir::text::parse(text).and_then(fulgurite_ir::verify);
    kernel.map(Arc::new).map_err(Error::Invalid)
}

/// Returns a kernel that hashes `steps` times.
pub(super) fn hash(steps: u32) -> Result<Arc<VerifiedKernel>, Error> {
    kernel(&text(steps, 0, 0, "  store %y[%i], %v"))
}

/// Returns the parameter `%zero` of every artificial kernel.
pub(super) fn zero() -> Components {
    eval::splat_low(Literal::from(0u32).bits)
}

fn plan(text: &str, size: &Size) -> Result<Plan, Error> {
    Ok(Plan::of(kernel(text)?, vec![zero()], LaunchOptions::invocations([size.0, 1, 1])))
}

fn arguments(size: &Size) -> Vec<Argument> {
    let bytes = u64::from(size.0) * 4;
    vec![Argument::input(bytes), Argument::output(bytes)]
}

fn trial(seed: u64) -> Trial {
    let input = input(seed);
    let expected = expected(&input);
    let bytes = input.iter().flat_map(|x| x.to_le_bytes()).collect();
    let check = move |outputs: &[Vec<u8>]| {
        let found = outputs[0].as_chunks().0.iter().map(|bytes| u32::from_le_bytes(*bytes));
        match found.zip(&expected).position(|(found, expected)| found != *expected) {
            None => Ok(()),
            Some(at) => Err(Mismatch::at(at as u64, expected[at], "another number")),
        }
    };
    Trial { arguments: vec![bytes, Vec::new()], check: Box::new(check) }
}

impl Family for Planted {
    type Config = PlantedConfig;
    type Problem = Size;
    type Arguments = (Read<u32>, Write<u32>);

    fn id(&self) -> &'static str {
        "planted"
    }

    fn version(&self) -> u32 {
        1
    }

    fn space(&self, _: &DeviceSnapshot, _: &Size) -> Vec<PlantedConfig> {
        self.kinds.iter().zip(0..).map(|(kind, number)| PlantedConfig { kind: *kind, number }).collect()
    }

    fn heuristic(&self, _: &DeviceSnapshot, _: &Size) -> PlantedConfig {
        PlantedConfig { kind: self.kinds[0], number: 0 }
    }

    fn plan(&self, config: &PlantedConfig, size: &Size) -> Result<Plan, Error> {
        if thread::current().id() != self.maker {
            drop(self.turn.lock().unwrap_or_else(PoisonError::into_inner));
        }
        let mut plan = plan(&self.text(config.kind), size)?;
        if config.kind == Kind::Expecting {
            plan.scratch = vec![u64::from(size.0) * 4];
            plan.steps[0].buffers[2] = Slot::scratch(0);
        }
        Ok(plan)
    }

    fn summary(&self, _: &PlantedConfig) -> Summary {
        Summary::default()
    }

    fn arguments(&self, size: &Size) -> Vec<Argument> {
        arguments(size)
    }

    fn trial(&self, _: &Size, _: Numbers, seed: u64) -> Trial {
        trial(seed)
    }

    fn work(&self, size: &Size) -> Work {
        Work::Bytes(u64::from(size.0) * 8)
    }
}

/// Three fields, each with one best value. Every candidate is correct, and slower the farther it is from the best.
pub(super) struct Landscape {
    /// Whether it contains a candidate that other landscapes lack.
    pub(super) has_another: bool,
}

/// A candidate of the landscape.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Place {
    a: u32,
    b: u32,
    c: u32,
}

impl Place {
    fn away(&self) -> u32 {
        self.a.abs_diff(2) + self.b.abs_diff(5) + self.c.abs_diff(1)
    }
}

impl Landscape {
    /// Returns the distance in steps of the named candidate from the best one. That of the heuristic's is 13.
    pub(super) fn away(name: &str) -> Option<u32> {
        toml::from_str::<Place>(&name.replace(", ", "\n")).ok().map(|place| place.away())
    }
}

impl Family for Landscape {
    type Config = Place;
    type Problem = Size;
    type Arguments = (Read<u32>, Write<u32>);

    fn id(&self) -> &'static str {
        "landscape"
    }

    fn version(&self) -> u32 {
        1
    }

    fn space(&self, _: &DeviceSnapshot, _: &Size) -> Vec<Place> {
        let all = (0..8).flat_map(|a| (0..8).flat_map(move |b| (0..5).map(move |c| Place { a, b, c })));
        all.chain(self.has_another.then_some(Place { a: 0, b: 0, c: 5 })).collect()
    }

    fn heuristic(&self, _: &DeviceSnapshot, _: &Size) -> Place {
        Place { a: 7, b: 0, c: 4 }
    }

    fn plan(&self, place: &Place, size: &Size) -> Result<Plan, Error> {
        let away = place.away();
        // A different kernel for each candidate.
        let edition = 1 + place.a + 8 * place.b + 64 * place.c;
        plan(&text(STEPS, 1000 + 200 * away, edition, "  store %y[%i], %v"), size)
    }

    fn summary(&self, _: &Place) -> Summary {
        Summary::default()
    }

    fn arguments(&self, size: &Size) -> Vec<Argument> {
        arguments(size)
    }

    fn trial(&self, _: &Size, _: Numbers, seed: u64) -> Trial {
        trial(seed)
    }

    fn work(&self, size: &Size) -> Work {
        Work::Bytes(u64::from(size.0) * 8)
    }
}
