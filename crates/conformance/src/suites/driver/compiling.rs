//! Compiling: all ways to compile lead to the same executable, and its identification.

use std::collections::BTreeSet;

use fulgurite_hal::{CompileOptions, Error, LaunchOptions};
use fulgurite_runtime::{MANIFEST_SCHEMA, Prewarmed};
use fulgurite_spec::cache::CacheOutcome;

use super::{JOIN, MAP, STEP, TRAP, compile, kernel, map, to_words, word};
use crate::suites::bytes;
use crate::suites::checks::{Checks, Part};

pub(super) const PARTS: &[(&str, Part)] =
    &[("compiling reaches one executable", same), ("ids of executables", ids), ("manifests", manifests)];

fn same(checks: &mut Checks<'_, '_>) -> Result<(), Error> {
    let options = CompileOptions::default();
    // Each of the three ways first, followed by the others.
    for first in 0..3 {
        let device = checks.device();
        let parsed = kernel(MAP)?;
        let mut found = Vec::new();
        for way in 0..6 {
            match (first + way) % 3 {
                0 => found.push(device.compile(&parsed, &options)?.id().to_owned()),
                1 => {
                    let (program, manifest) = device.compile_with_report(&parsed, &options)?;
                    found.push(program.id().to_owned());
                    let is_found = manifest.cache == CacheOutcome::Memory;
                    checks.equal("reuse of a compiled kernel", &is_found, &(way > 0));
                    checks.equal("the id that is reported", &manifest.pipeline_id, &program.id().to_owned());
                }
                _ => {
                    let prewarmed = device.prewarm([&parsed], &options, &|_| ());
                    checks.equal("errors of a prewarm", &errors(&prewarmed), &Vec::new());
                }
            }
        }
        let different: BTreeSet<&String> = found.iter().collect();
        checks.equal("number of ids of one kernel", &different.len(), &1);
        let counters = device.counters();
        checks.equal("compiles and reuses", &(counters.compiles, counters.compiles_reused), &(1, 5));
        checks.equal("launches by compiling", &(counters.launches, counters.failed_launches), &(0, 0));
    }
    // The same kernel, parsed again, is found; a precompiled program runs.
    let device = checks.device();
    let all = [kernel(STEP)?, kernel(MAP)?, kernel(STEP)?];
    let prewarmed = device.prewarm(&all, &options, &|_| ());
    checks.equal("errors of a prewarm", &errors(&prewarmed), &Vec::new());
    let program = compile(&device, MAP)?;
    checks.equal("compiles of two kernels", &device.counters().compiles, &2);
    let (x, out) = (device.upload(&bytes(&[1, 2, 3]))?, device.zeroed(12)?);
    program.launch(&[(&x).into(), (&out).into()], &[word(4)], &LaunchOptions::default())?;
    let expected: Vec<u32> = [1, 2, 3].map(|x| map(x, 4)).into();
    checks.equal("the result", &to_words(&out.whole().to_vec()?), &expected);
    Ok(())
}

/// Returns the errors of the kernels that failed.
fn errors(prewarmed: &[Prewarmed]) -> Vec<Error> {
    prewarmed.iter().filter_map(|one| one.origin.clone().err()).collect()
}

fn ids(checks: &mut Checks<'_, '_>) -> Result<(), Error> {
    let device = checks.device();
    let prefix = format!("{}:", device.snapshot().backend);
    let mut ids = BTreeSet::new();
    let constant = MAP.replace("3u32", "5u32");
    let wider = MAP.replace("workgroup(32, 1, 1)", "workgroup(64, 1, 1)");
    let texts = [STEP, MAP, JOIN, TRAP, &constant, &wider];
    for text in texts {
        let program = compile(&device, text)?;
        checks.holds("the prefix of an id", program.id().starts_with(&prefix), || program.id().to_owned());
        ids.insert(program.id().to_owned());
    }
    checks.equal("number of ids of different kernels", &ids.len(), &texts.len());
    Ok(())
}

fn manifests(checks: &mut Checks<'_, '_>) -> Result<(), Error> {
    let device = checks.device();
    let parsed = kernel(JOIN)?;
    let (_, manifest) = device.compile_with_report(&parsed, &CompileOptions::default())?;
    let snapshot = device.snapshot();
    checks.equal("the schema", &manifest.schema, &MANIFEST_SCHEMA);
    let actual = [
        &manifest.backend_id,
        &manifest.kernel,
        &manifest.program_digest,
        &manifest.device,
        &manifest.driver,
    ];
    let digest = parsed.digest().to_string();
    let expected = [&snapshot.backend, &"join".to_owned(), &digest, &snapshot.device, &snapshot.driver];
    checks.equal("backend, kernel, digest, device and driver", &actual, &expected);
    Ok(())
}
