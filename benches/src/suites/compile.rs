//! The suite `compile`: from text or bytes to a verified kernel, and from there to SPIR-V, compared with naga.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use anyhow::ensure;
use fulgurite::ir::{text, verify};

use super::Session;
use crate::compile::{Shape, Source, check, from_text, from_wire, optimized, sources, to_spirv};
use crate::measurement::Amount;
use crate::timing::{Policy, by_itself, by_wall};

pub(super) fn run(session: &mut Session<'_>) -> anyhow::Result<()> {
    let adds: &[usize] = if session.options.quick { &[1_000] } else { &[1_000, 10_000] };
    let longest: &[usize] = if session.options.quick { &[] } else { &[100, 1_000, 10_000, 100_000] };
    for source in sources(longest) {
        for (what, optimizes) in [("parsed to SPIR-V", false), ("parsed to SPIR-V, optimized", true)] {
            let name = format!("{what}, {}", source.name);
            session.each(&name, |s| parsed_to_spirv(s, &name, &source, optimizes));
        }
    }
    let ops: &[usize] = if session.options.quick { &[1_000] } else { &[1_000, 10_000, 100_000, 1_000_000] };
    for (shape, ops) in Shape::ALL.into_iter().flat_map(|shape| ops.iter().map(move |ops| (shape, *ops))) {
        let name = format!("text to SPIR-V, optimized, {} of {ops} ops", shape.name());
        session.each(&name, |s| large(s, &name, &shape.text(ops)));
    }
    for source in sources(adds) {
        let name = |what: &str| format!("{what}, {}", source.name);
        session.each(&name("text to verified"), |s| text_to_verified(s, &name("text to verified"), &source));
        session.each(&name("wire to verified"), |s| wire_to_verified(s, &name("wire to verified"), &source));
        let to_words = name("verified to SPIR-V");
        session.each(&to_words, |s| verified_to_spirv(s, &to_words, &source));
    }
    Ok(())
}

fn text_to_verified(session: &mut Session<'_>, name: &str, source: &Source) -> anyhow::Result<()> {
    let mut ours = by_wall(|| {
        black_box(from_text(black_box(&source.text))?);
        Ok(())
    });
    #[cfg(feature = "peers")]
    let mut naga = by_wall(|| {
        black_box(crate::compile::by_naga::from_wgsl(black_box(&source.wgsl))?);
        Ok(())
    });
    #[cfg(feature = "peers")]
    session.time(name, Amount::Times(1), &mut ours, Some(("naga", &mut naga)))?;
    #[cfg(not(feature = "peers"))]
    session.time(name, Amount::Times(1), &mut ours, None)?;
    Ok(())
}

/// Measures verification, all passes if asked for, and emission, without the time to copy the kernel.
fn parsed_to_spirv(
    session: &mut Session<'_>,
    name: &str,
    source: &Source,
    optimizes: bool,
) -> anyhow::Result<()> {
    let kernel = text::parse(&source.text)?;
    check(&to_spirv(&verify(kernel.clone())?))?;
    let mut ours = by_itself(|| {
        let kernel = kernel.clone();
        let begun = Instant::now();
        let verified = verify(black_box(kernel))?;
        let verified = Arc::new(verified);
        let verified = if optimizes { optimized(&verified)? } else { verified };
        let words = black_box(to_spirv(&verified));
        let took = begun.elapsed();
        drop((verified, words));
        Ok(took)
    });
    #[cfg(feature = "peers")]
    {
        use crate::compile::by_naga;
        let module = by_naga::parse(&source.wgsl)?;
        let mut naga = by_itself(|| {
            let begun = Instant::now();
            let info = by_naga::validate(black_box(&module))?;
            let words = black_box(by_naga::to_spirv(&module, &info)?);
            let took = begun.elapsed();
            drop((info, words));
            Ok(took)
        });
        session.time(name, Amount::Times(1), &mut ours, Some(("naga", &mut naga)))?;
    }
    #[cfg(not(feature = "peers"))]
    session.time(name, Amount::Times(1), &mut ours, None)?;
    Ok(())
}

/// Measures all steps on a large kernel, in ops a second: the same at every size if they are linear.
fn large(session: &mut Session<'_>, name: &str, text: &str) -> anyhow::Result<()> {
    let kernel = from_text(text)?;
    let ops = Amount::Elements(kernel.insts.len() as u64);
    check(&to_spirv(&*optimized(&Arc::new(kernel))?))?;
    let mut ours = by_wall(|| {
        black_box(to_spirv(&*optimized(&Arc::new(from_text(black_box(text))?))?));
        Ok(())
    });
    // The largest take seconds.
    let turns = [session.policy.turns[0].min(3), session.policy.turns[1]];
    session.time_by(Policy { turns, ..session.policy }, name, ops, &mut ours, None)?;
    Ok(())
}

fn wire_to_verified(session: &mut Session<'_>, name: &str, source: &Source) -> anyhow::Result<()> {
    let kernel = from_text(&source.text)?;
    let bytes = fulgurite::ir::wire::encode(&kernel)?;
    ensure!(from_wire(&bytes)?.digest() == kernel.digest(), "another kernel comes of its bytes");
    let mut ours = by_wall(|| {
        black_box(from_wire(black_box(&bytes))?);
        Ok(())
    });
    session.time(name, Amount::Times(1), &mut ours, None)?;
    Ok(())
}

fn verified_to_spirv(session: &mut Session<'_>, name: &str, source: &Source) -> anyhow::Result<()> {
    let kernel = from_text(&source.text)?;
    check(&to_spirv(&kernel))?;
    let mut ours = by_wall(|| {
        black_box(to_spirv(black_box(&kernel)));
        Ok(())
    });
    #[cfg(feature = "peers")]
    {
        use crate::compile::by_naga;
        let module = by_naga::from_wgsl(&source.wgsl)?;
        check(&by_naga::to_spirv(&module.0, &module.1)?)?;
        let mut naga = by_wall(|| {
            black_box(by_naga::to_spirv(black_box(&module.0), &module.1)?);
            Ok(())
        });
        session.time(name, Amount::Times(1), &mut ours, Some(("naga", &mut naga)))?;
    }
    #[cfg(not(feature = "peers"))]
    session.time(name, Amount::Times(1), &mut ours, None)?;
    Ok(())
}
