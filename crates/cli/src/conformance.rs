//! `fulgurite conformance`: the command line of the suites, on the backends of this build.

pub(crate) use fulgurite_conformance::command::Args;

pub(crate) fn run(args: &Args) -> anyhow::Result<bool> {
    Ok(fulgurite_conformance::command::run(&fulgurite::registry(), args, &["conformance"])?)
}
