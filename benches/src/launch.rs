//! Launches by a backend of ours, raw Vulkan, threads of rayon and, with the feature `peers`, wgpu.
//!
//! Each runs the kernel [`SMALL`], a workgroup that stores 64 words, in three ways.

mod raw;
#[cfg(feature = "peers")]
mod webgpu;

use anyhow::{Context as _, ensure};
use fulgurite::{CompileOptions, LaunchOptions};
use fulgurite_runtime::{Buffer, Graph, Program, Recorder};

use crate::SMALL;
use crate::target::Target;

/// Launches per chain.
pub const CHAIN: usize = 16;
/// Launches that are submitted before the first is waited for.
pub const MANY: usize = 32;
/// Bytes that a launch writes.
const BYTES: u64 = 256;

/// An implementation of the measured launches.
pub trait Contender {
    /// Records and submits one launch and waits for it.
    ///
    /// # Errors
    /// The device's error.
    fn one(&mut self) -> anyhow::Result<()>;
    /// Submits [`MANY`] launches separately and then waits for all.
    ///
    /// # Errors
    /// The device's error.
    fn many(&mut self) -> anyhow::Result<()>;
    /// Submits [`CHAIN`] ordered launches together, prerecorded if possible, and waits for them.
    ///
    /// # Errors
    /// The device's error.
    fn chain(&mut self) -> anyhow::Result<()>;
    /// Returns the written bytes.
    ///
    /// # Errors
    /// The device's error.
    fn written(&mut self) -> anyhow::Result<Vec<u8>>;
}

/// Checks that a contender runs and writes the expected bytes.
///
/// # Errors
/// An error if it does not.
pub fn check(contender: &mut dyn Contender) -> anyhow::Result<()> {
    let expected: Vec<u8> = (0..64u32).flat_map(u32::to_le_bytes).collect();
    contender
        .one()
        .and_then(|()| contender.many())
        .and_then(|()| contender.chain())
        .context("it does not run")?;
    ensure!(contender.written()? == expected, "it wrote something else");
    Ok(())
}

/// Returns the contender that uses a backend of ours.
///
/// # Errors
/// The device's error.
pub fn ours(target: &Target) -> anyhow::Result<Box<dyn Contender>> {
    let (compile, launch) = (CompileOptions::default(), LaunchOptions::workgroups([1, 1, 1]));
    let program = target.device.compile(&fulgurite::parse(SMALL)?, &compile)?.with_options(&launch);
    let out = target.device.zeroed(BYTES)?;
    let mut recorder = Recorder::new(&target.device);
    let slot = recorder.slot(&out);
    for _ in 0..CHAIN {
        recorder.launch(&program, &[slot], &[], &launch)?;
    }
    Ok(Box::new(Ours { program, out, graph: recorder.finish() }))
}

/// A peer: its name, and the function that opens it on a device by name.
pub type Peer = (&'static str, fn(&str) -> anyhow::Result<Box<dyn Contender>>);

/// Returns the peers of the backend `id`.
pub fn peers(id: &str) -> Vec<Peer> {
    match id {
        "cpu" => vec![("rayon", |_| Ok(Box::new(Rayon::default())))],
        "vulkan" => vec![
            ("ash", |device| Ok(Box::new(raw::Raw::open(device)?))),
            #[cfg(feature = "peers")]
            ("wgpu", |device| Ok(Box::new(webgpu::WebGpu::open(device)?))),
        ],
        _ => Vec::new(),
    }
}

struct Ours {
    program: Program,
    out: Buffer,
    graph: Graph,
}

impl Contender for Ours {
    fn one(&mut self) -> anyhow::Result<()> {
        self.program.launch(&[self.out.whole()], &[], &LaunchOptions::default())?;
        Ok(())
    }

    fn many(&mut self) -> anyhow::Result<()> {
        let submit = |_| self.program.submit(&[self.out.whole()], &[], &LaunchOptions::default());
        let pending = (0..MANY).map(submit).collect::<Result<Vec<_>, _>>()?;
        for one in pending {
            one.wait()?;
        }
        Ok(())
    }

    fn chain(&mut self) -> anyhow::Result<()> {
        self.graph.replay()?;
        Ok(())
    }

    fn written(&mut self) -> anyhow::Result<Vec<u8>> {
        Ok(self.out.whole().to_vec()?)
    }
}

/// Closures run by threads of rayon.
#[derive(Default)]
struct Rayon {
    /// Output of each closure: unlike launches, closures must not write the same memory concurrently.
    out: [Words; MANY],
}

/// Output of one closure.
#[derive(Default)]
#[repr(align(64))]
struct Words([[u32; 16]; BYTES as usize / 64]);

/// Does the work of one launch.
fn fill(out: &mut Words) {
    for (i, word) in out.0.as_flattened_mut().iter_mut().enumerate() {
        *word = std::hint::black_box(i as u32);
    }
}

impl Contender for Rayon {
    fn one(&mut self) -> anyhow::Result<()> {
        rayon::scope(|scope| scope.spawn(|_| fill(&mut self.out[0])));
        Ok(())
    }

    fn many(&mut self) -> anyhow::Result<()> {
        rayon::scope_fifo(|scope| {
            for out in &mut self.out {
                scope.spawn_fifo(|_| fill(out));
            }
        });
        Ok(())
    }

    fn chain(&mut self) -> anyhow::Result<()> {
        (0..CHAIN).try_for_each(|_| self.one())
    }

    fn written(&mut self) -> anyhow::Result<Vec<u8>> {
        Ok(self.out[0].0.as_flattened().iter().flat_map(|word| word.to_le_bytes()).collect())
    }
}
