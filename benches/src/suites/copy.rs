//! The suite `copy`: copies to, from and on the device.

use super::Session;
use crate::copy::{Copier, check, ours, peer};
use crate::measurement::Amount;
use crate::target::Target;
use crate::timing::by_wall;

type Copy = fn(&mut dyn Copier) -> anyhow::Result<()>;

pub(super) fn run(session: &mut Session<'_>, target: &Target) -> anyhow::Result<()> {
    let bytes = session.scale(target)?.copied_bytes();
    let amount = |times: u64| Amount::Bytes(times * bytes as u64);
    let ways: [(&str, Amount, usize, Copy); 3] = [
        ("upload", amount(1), 0, |copier| copier.upload()),
        // Every byte is both read and written.
        ("copy on the device", amount(2), 1, |copier| copier.copy()),
        ("download", amount(1), 0, |copier| copier.download()),
    ];
    let mut ours = ours(target, bytes)?;
    check(ours.as_mut())?;
    let opened = peer(target, bytes).and_then(|(names, mut other)| {
        check(other.as_mut())?;
        Ok((names, other))
    });
    let mut rival = session.peer("for copies", opened);
    for (name, amount, of, way) in ways {
        session.each(&format!("{name}, {} MiB", bytes >> 20), |session| {
            let name = format!("{name}, {} MiB", bytes >> 20);
            let mut mine = by_wall(|| way(ours.as_mut()));
            match &mut rival {
                Some((names, other)) => {
                    let mut others = by_wall(|| way(other.as_mut()));
                    session.time(&name, amount, &mut mine, Some((names[of], &mut others)))?;
                }
                None => drop(session.time(&name, amount, &mut mine, None)?),
            }
            Ok(())
        });
    }
    Ok(())
}
