//! The suite `launch`: the overhead of launches.

use super::Session;
use crate::launch::{CHAIN, Contender, MANY, check, ours, peers};
use crate::measurement::Amount;
use crate::target::Target;
use crate::timing::by_wall;

/// A way to launch, and its number of launches.
type Way = (&'static str, u64, fn(&mut dyn Contender) -> anyhow::Result<()>);

const WAYS: [Way; 3] = [
    ("launch and wait", 1, |contender| contender.one()),
    ("submitted launch, of 32", MANY as u64, |contender| contender.many()),
    ("replayed launch, of 16 in a graph", CHAIN as u64, |contender| contender.chain()),
];

pub(super) fn run(session: &mut Session<'_>, target: &Target) -> anyhow::Result<()> {
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
