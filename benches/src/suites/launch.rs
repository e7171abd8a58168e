//! The suite `launch`: the overhead of launches.

use std::time::Instant;

use anyhow::ensure;
use fulgurite::{CompileOptions, LaunchOptions};

use super::Session;
use crate::chained_adds;
use crate::launch::{CHAIN, Contender, MANY, check, ours, peers};
use crate::measurement::Amount;
use crate::target::Target;
use crate::timing::{by_itself, by_wall};

/// The name of the result for a kernel's first launch.
const FIRST: &str = "first launch of 200 ops";

/// A way to launch, and its number of launches.
type Way = (&'static str, u64, fn(&mut dyn Contender) -> anyhow::Result<()>);

const WAYS: [Way; 3] = [
    ("launch and wait", 1, |contender| contender.one()),
    ("submitted launch, of 32", MANY as u64, |contender| contender.many()),
    ("replayed launch, of 16 in a graph", CHAIN as u64, |contender| contender.chain()),
];

/// Number of ops of the kernel whose first launch is measured, but for the ids, the bound and the accesses.
const OPS: usize = 200;

/// Measures the time from a verified kernel that the device has not seen to the end of its first launch.
fn first_launch(session: &mut Session<'_>, target: &Target) -> anyhow::Result<()> {
    let text = chained_adds(OPS);
    let words = target.device.zeroed(256)?;
    let mut number = 0u32;
    let once = || {
        // Another constant makes another kernel.
        number += 1;
        let own = text.replace("add %0, %i\n", &format!("add %0, {number}u32\n"));
        ensure!(own != text, "the kernels are the same");
        let kernel = fulgurite::parse(&own)?;
        let start = Instant::now();
        let program = target.device.compile(&kernel, &CompileOptions::default())?;
        program.launch(&[words.whole()], &[], &LaunchOptions::workgroups([1, 1, 1]))?;
        Ok(start.elapsed())
    };
    session.time(FIRST, Amount::Times(1), &mut by_itself(once), None)?;
    Ok(())
}

pub(super) fn run(session: &mut Session<'_>, target: &Target) -> anyhow::Result<()> {
    session.each(FIRST, |session| first_launch(session, target));
    let mut ours = ours(target)?;
    check(ours.as_mut())?;
    let mut rivals: Vec<(&str, Option<Box<dyn Contender>>)> = Vec::new();
    for (name, open) in peers(&target.id) {
        let opened = open(&target.backend.snapshot().device).and_then(|mut contender| {
            check(contender.as_mut())?;
            Ok(contender)
        });
        rivals.extend(session.peer(name, opened).map(|contender| (name, Some(contender))));
    }
    if rivals.is_empty() {
        rivals.push(("", None));
    }
    for (at, (rival, contender)) in rivals.iter_mut().enumerate() {
        for (name, count, way) in WAYS {
            // The first peer belongs to the result without a suffix.
            let name = if at == 0 { name.to_owned() } else { format!("{name}, beside {rival}") };
            session.each(&name, |session| {
                let mut mine = by_wall(|| way(ours.as_mut()));
                let amount = Amount::Times(count);
                match contender {
                    Some(contender) => {
                        let mut others = by_wall(|| way(contender.as_mut()));
                        session.time(&name, amount, &mut mine, Some((rival, &mut others)))?;
                    }
                    None => drop(session.time(&name, amount, &mut mine, None)?),
                }
                Ok(())
            });
        }
    }
    Ok(())
}
