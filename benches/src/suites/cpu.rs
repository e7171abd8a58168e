//! The suite `cpu`: various workloads on the CPU backend, compared with plain Rust on all threads.

use anyhow::{Context as _, anyhow};

use super::Session;
use crate::problems::{Rival, Scale, rivals};
use crate::run::Loaded;
use crate::target::Target;
use crate::timing::{by_itself, by_wall};

pub(super) fn run(session: &mut Session<'_>, target: &Target) -> anyhow::Result<()> {
    let scale = if session.options.quick { Scale::Quick } else { Scale::Host };
    for rival in rivals() {
        let name = rival.name(scale);
        session.each(&name, |session| measure(session, target, &rival, scale));
    }
    Ok(())
}

fn measure(session: &mut Session<'_>, target: &Target, rival: &Rival, scale: Scale) -> anyhow::Result<()> {
    let (problem, mut plain) = rival.make(scale);
    plain.run();
    (problem.check)(&plain.buffers(), target.backend.snapshot())
        .map_err(|wrong| anyhow!("wrong: {wrong}"))
        .context("plain Rust")?;
    let loaded = Loaded::new(target, problem)?;
    let ours = loaded.ours()?;
    loaded.check(&ours)?;
    let mut mine = by_itself(|| loaded.once(&ours));
    let mut others = by_wall(|| {
        plain.run();
        Ok(())
    });
    let amount = loaded.problem.work.amount();
    session.time(&rival.name(scale), amount, &mut mine, Some((rival.peer, &mut others)))?;
    Ok(())
}
