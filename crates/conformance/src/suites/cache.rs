//! The cache of compiled kernels, tested through the public types of `pipeline-cache` and the cache report of the
//! backend: no wrong entry is ever served, no durable entry is lost, and any failure costs only a compile and one
//! diagnostic.
//!
//! A case is one lookup of an entry after an operation on it or on the disk. The store is the same for every backend,
//! so its cases run only for a backend with a cache; a backend without one must report that as a case.

mod corruption;
mod crash;
mod environment;
mod files;
mod simulated;
mod storm;
mod worker;

use std::fmt::Display;

use fulgurite_hal::{CompileOptions, Error};
use fulgurite_pipeline_cache::{
    Digest, DigestBuilder, Entry, PayloadKind, PipelineCacheIdentity, PipelineDeviceFingerprint,
};
use fulgurite_spec::cache::CacheOutcome;

use crate::harness::Harness;
use crate::suites::checks::{self, Checks, Part};

pub(crate) use files::properties;
pub(super) use worker::work;

/// Doubles each element.
const KERNEL: &str = "fulgurite 1
kernel @cache_double workgroup(32, 1, 1) {
  buffer %y: read_write u32[]
  %i = global_id.x
  %v = load %y[%i]
  %w = add %v, %v
  store %y[%i], %w
}
";

pub(super) fn run(harness: &mut Harness<'_>, progress: &mut dyn FnMut(usize, usize)) {
    let keeps = harness.backend().cache_report().kept_in.is_some();
    let parts = match keeps {
        true => [KEPT, corruption::PARTS, crash::PARTS, environment::PARTS, storm::PARTS].concat(),
        false => NOT_KEPT.to_vec(),
    };
    checks::run(harness, &parts, progress);
}

const KEPT: &[(&str, Part)] = &[("what a backend says of its cache", kept)];
const NOT_KEPT: &[(&str, Part)] = &[("a backend that keeps nothing", not_kept)];

fn kept(checks: &mut Checks<'_, '_>) -> Result<(), Error> {
    let kernel = super::driver::kernel(KERNEL)?;
    let (_, first) = checks.device().compile_with_report(&kernel, &CompileOptions::default())?;
    let before = checks.device().cache_report();
    let (_, second) = checks.device().compile_with_report(&kernel, &CompileOptions::default())?;
    let after = checks.device().cache_report();
    checks.holds("a kernel compiled on another device is found", is_hit(second.cache), || {
        format!("{} and then {}", first.cache, second.cache)
    });
    checks.equal("kernels lowered for it", &after.lowered, &before.lowered);
    checks.equal("the lowered form of both", &second.artifact_digest, &first.artifact_digest);
    checks.holds("a digest of the lowered form", first.artifact_digest.is_some(), || "none".to_owned());
    if after.keeps_binaries == Some(true) {
        checks.equal("pipelines that the driver compiled", &after.driver_compiles, &before.driver_compiles);
        checks.equal("the origin of the kernel", &second.cache, &CacheOutcome::Binary);
    }
    Ok(())
}

fn is_hit(outcome: CacheOutcome) -> bool {
    matches!(outcome, CacheOutcome::Binary | CacheOutcome::Artifact)
}

fn not_kept(checks: &mut Checks<'_, '_>) -> Result<(), Error> {
    let device = checks.device();
    let kernel = super::driver::kernel(KERNEL)?;
    let (_, manifest) = device.compile_with_report(&kernel, &CompileOptions::default())?;
    checks.equal("the origin of a kernel", &manifest.cache, &CacheOutcome::None);
    checks.equal("the cache report", &device.cache_report(), &Default::default());
    let counted = device.counters();
    checks.equal("counted lookups", &(counted.cache_misses(), counted.cache_artifact_hits), &(0, 0));
    Ok(())
}

/// Wraps an error of the store or the system that no test expects.
fn unexpected(error: impl Display) -> Error {
    Error::Internal(error.to_string())
}

/// Returns the identity of the entry called `name`.
fn identity(kind: PayloadKind, name: &str) -> PipelineCacheIdentity {
    let program = DigestBuilder::new("fulgurite conformance cache").text(name).finish();
    PipelineCacheIdentity::new(kind, program, Digest::ZERO, PipelineDeviceFingerprint::ANY)
}

/// Returns a version of the entry called `name`, with a payload that identifies both.
fn entry(kind: PayloadKind, name: &str, version: u32, bytes: usize) -> Entry {
    Entry::new(identity(kind, name), Digest::ZERO, payload(name, version, bytes))
}

fn payload(name: &str, version: u32, bytes: usize) -> Vec<u8> {
    let seed = DigestBuilder::new("fulgurite conformance payload").text(name).number(version.into()).finish();
    let mut payload = version.to_le_bytes().to_vec();
    payload.extend_from_slice(&(bytes as u32).to_le_bytes());
    payload.extend(seed.as_bytes().iter().cycle().zip(0u32..).map(|(b, i)| b ^ i as u8).take(bytes));
    payload
}

/// Returns the version of a payload of `name`, or `None` if the bytes are not a payload of it.
fn version_of(name: &str, found: &[u8]) -> Option<u32> {
    let word = |at: usize| Some(u32::from_le_bytes(found.get(at..at + 4)?.try_into().ok()?));
    let (version, bytes) = (word(0)?, word(4)? as usize);
    (bytes <= found.len() && payload(name, version, bytes) == found).then_some(version)
}
