//! The suite `cpu`: various workloads on a compiling backend, compared with plain Rust on all threads of the host. Rows
//! have the same size on each backend, so that values of two backends can be compared, too.

use std::time::Duration;

use anyhow::{Context as _, anyhow};

use super::Session;
use crate::problems::{Rival, Scale, rivals};
use crate::run::Loaded;
use crate::target::Target;
use crate::timing::{Policy, Work, by_itself, by_wall};

/// For a quick look at many rows.
const QUICK: Policy = Policy { lasts: Duration::from_millis(40), ..Policy::QUICK };

pub(super) fn run(session: &mut Session<'_>, target: &Target) -> anyhow::Result<()> {
    let scale = if session.options.quick { Scale::Quick } else { Scale::Host };
    for rival in rivals() {
        let name = rival.name(scale);
        session.each(&name, |session| measure(session, target, &rival, scale));
    }
    Ok(())
}

fn measure(session: &mut Session<'_>, target: &Target, rival: &Rival, scale: Scale) -> anyhow::Result<()> {
    let (mut problem, mut plain) = rival.make(scale);
    rival.choose(&mut problem, scale, target.backend.snapshot())?;
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
    let policy = if session.options.quick { QUICK } else { session.policy };
    let peer = Some((rival.peer, amount, &mut others as &mut Work<'_>));
    session.time_by(policy, &rival.name(scale), amount, &mut mine, peer)?;
    Ok(())
}
