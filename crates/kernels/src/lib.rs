//! The kernel library: families of kernels that `autotune` tunes and that are usable untuned.
//!
//! | module | owns |
//! |---|---|
//! | `elementwise` | z = a·x + y, f32 |
//! | `sum` | the sum of an f32 vector |
//! | `transpose` | the transpose of an f32 matrix |
//! | `matmul` | matrix products, with f32 factors and with f16 factors and f32 sums |
//! | `copy` | the text of the kernel that measures memory |
//! | `problem` | problem sizes and their text form |
//! | `numbers` `build` | test inputs; helpers for building kernels |
//!
//! Invariants: every configuration that a family offers passes verification, computes what its plain Rust reference
//! specifies, and states its assumptions about lengths and grid with `require`.
//!
//! Does not contain search, timing or records (see `autotune`), backends, features that only one backend supports
//! without a capability, or new ops: what the builder lacks belongs in `ir`.
#![forbid(unsafe_code)]

mod build;
mod copy;
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

pub use copy::COPY;
pub use elementwise::{Elementwise, ElementwiseConfig};
pub use matmul::{MatmulF16, MatmulF16Config, MatmulF32, MatmulF32Config};
pub use problem::{Length, Matrix, Product};
pub use sum::{Sum, SumConfig};
pub use transpose::{Transpose, TransposeConfig};

/// A type-erased family, for tools that tune any.
#[derive(Clone, Copy, Debug)]
pub struct Listed {
    /// Family id.
    pub id: &'static str,
    /// Family version.
    pub version: u32,
    /// Small, medium and large problems for measurements.
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

    /// Creates the instance of the family for a problem, as text, on a device.
    ///
    /// # Errors
    /// `FG1106` if the text is not a problem, `FG1105` if no configuration fits.
    pub fn instance(&self, device: &DeviceSnapshot, problem: &str) -> Result<Instance, Error> {
        (self.instance)(device, problem)
    }

    /// Returns the launches of a configuration, as stored in a record, for a problem, as text.
    ///
    /// # Errors
    /// `FG1106` if the text is not a problem, `FG1104` if the configuration is not one of this family.
    pub fn plan(&self, config: &Table, problem: &str) -> Result<Plan, Error> {
        (self.plan)(config, problem)
    }

    /// Returns the bucket of a problem, as text.
    ///
    /// # Errors
    /// `FG1106` if the text is not a problem.
    pub fn bucket(&self, problem: &str) -> Result<String, Error> {
        (self.bucket)(problem)
    }
}

fn plan<F: Family>(family: &F, config: &Table, problem: &str) -> Result<Plan, Error> {
    let problem = parse_problem(family, problem)?;
    let config = config.clone().try_into::<F::Config>().map_err(|error| {
        let message = format!("not a configuration of `{}`: {error}", family.id());
        Error::invalid(Code::TuningRecordRejected, message)
    })?;
    family.plan(&config, &problem)
}

/// Returns all families.
pub fn families() -> Vec<Listed> {
    vec![
        Listed::of::<Elementwise>(["2^16", "2^22", "2^27"]),
        Listed::of::<Sum>(["2^16", "2^22", "2^28"]),
        Listed::of::<Transpose>(["256", "2048", "16384"]),
        Listed::of::<MatmulF32>(["256", "1024", "4096"]),
        Listed::of::<MatmulF16>(["512", "4096", "8192"]),
    ]
}

/// Returns the family with the id `id`.
pub fn family(id: &str) -> Option<Listed> {
    families().into_iter().find(|family| family.id == id)
}
