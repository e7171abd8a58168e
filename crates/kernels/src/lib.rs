//! The kernel library: families of kernels, each tuned through `autotune` and of use untuned.
//!
//! | module | owns |
//! |---|---|
//! | `elementwise` | z = a·x + y, f32 |
//! | `sum` | the sum of a vector of f32 |
//! | `transpose` | the transpose of a matrix of f32 |
//! | `matmul` | products of matrices, f32 and f16 into f32 |
//! | `problem` | sizes, and their text |
//! | `numbers` `build` | numbers to run on; what kernels are built with |
//!
//! What must hold: every configuration that a family offers is verified, computes what its plain Rust says, and states by
//! `require` what it assumes of lengths and grid.
//!
//! What must not be here: search, timing and records (`autotune`), backends or anything that only one of them can do without
//! a capability that says so, and ops of the language's own: what the builder cannot say belongs in `ir`.
#![forbid(unsafe_code)]

mod build;
mod elementwise;
mod matmul;
mod numbers;
mod problem;
mod sum;
mod transpose;

use std::sync::Arc;

use fulgurite_autotune::{Family, Instance, Plan, Table, parse_problem};
use fulgurite_hal::Error;
use fulgurite_spec::Code;
use fulgurite_spec::device::DeviceSnapshot;

pub use elementwise::{Elementwise, ElementwiseConfig};
pub use matmul::{MatmulF16, MatmulF16Config, MatmulF32, MatmulF32Config};
pub use problem::{Length, Matrix, Product};
pub use sum::{Sum, SumConfig};
pub use transpose::{Transpose, TransposeConfig};

/// A family whose types are forgotten: for tools that tune any.
#[derive(Clone, Copy, Debug)]
pub struct Listed {
    /// Its id.
    pub id: &'static str,
    /// Its version.
    pub version: u32,
    /// Problems that it is measured on: small, middling and large.
    pub problems: [&'static str; 3],
    instance: fn(&DeviceSnapshot, &str) -> Result<Instance, Error>,
    plan: fn(&Table, &str) -> Result<Plan, Error>,
    bucket: fn(&str) -> Result<String, Error>,
}

impl Listed {
    fn of<F: Family + Default>(problems: [&'static str; 3]) -> Self {
        let family = F::default();
        let instance = |device: &_, problem: &_| Instance::parse(Arc::new(F::default()), device, problem);
        let plan = |config: &Table, problem: &str| plan(&F::default(), config, problem);
        let bucket = |problem: &str| Ok(F::default().bucket(&parse_problem(&F::default(), problem)?));
        Self { id: family.id(), version: family.version(), problems, instance, plan, bucket }
    }

    /// The family for a problem, as text, on a device.
    ///
    /// # Errors
    /// `FG1106` for text that states none, `FG1105` if no configuration fits.
    pub fn instance(&self, device: &DeviceSnapshot, problem: &str) -> Result<Instance, Error> {
        (self.instance)(device, problem)
    }

    /// What a configuration launches, as a record keeps it, for a problem, as text.
    ///
    /// # Errors
    /// `FG1106` for text that states no problem, `FG1104` for a configuration that is none of this family's.
    pub fn plan(&self, config: &Table, problem: &str) -> Result<Plan, Error> {
        (self.plan)(config, problem)
    }

    /// What records of a problem, as text, are found by.
    ///
    /// # Errors
    /// `FG1106` for text that states no problem.
    pub fn bucket(&self, problem: &str) -> Result<String, Error> {
        (self.bucket)(problem)
    }
}

fn plan<F: Family>(family: &F, config: &Table, problem: &str) -> Result<Plan, Error> {
    let problem = parse_problem(family, problem)?;
    let config = config.clone().try_into::<F::Config>().map_err(|error| {
        let message = format!("no configuration of `{}`: {error}", family.id());
        Error::invalid(Code::TuningRecordRejected, message)
    })?;
    family.plan(&config, &problem)
}

/// Every family.
pub fn families() -> Vec<Listed> {
    vec![
        Listed::of::<Elementwise>(["2^16", "2^22", "2^27"]),
        Listed::of::<Sum>(["2^16", "2^22", "2^28"]),
        Listed::of::<Transpose>(["256", "2048", "16384"]),
        Listed::of::<MatmulF32>(["256", "1024", "4096"]),
        Listed::of::<MatmulF16>(["512", "4096", "8192"]),
    ]
}

/// The family called `id`.
pub fn family(id: &str) -> Option<Listed> {
    families().into_iter().find(|family| family.id == id)
}
