//! Repros: a call with its kernel, its inputs and its outputs as one file, to be run again elsewhere and compared.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fulgurite_hal::{CompileOptions, Error, GridSize, LaunchOptions, LaunchReport};
use fulgurite_ir::Kernel;
use fulgurite_spec::device::DeviceSnapshot;
use fulgurite_spec::eval::Components;
use fulgurite_spec::{Code, ScalarType, TypeSet};
use serde::{Deserialize, Serialize};

use crate::agreement::{Agreement, Apart, Freedom, kept_subnormals};
use crate::call::{Arg, Call};
use crate::device::Device;
use crate::manifest::{MANIFEST_SCHEMA, Manifest};
use crate::program::Program;

/// A captured call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Repro {
    /// The manifest of the program that ran.
    pub manifest: Manifest,
    /// The kernel's text.
    pub text: String,
    /// The contents of each buffer argument.
    args: Vec<CapturedArg>,
    /// The value of each parameter.
    params: Vec<Components>,
    grid: Option<GridSize>,
    /// The timeout in nanoseconds.
    timeout: Option<u64>,
    /// The float types whose subnormals the device promised to keep; all of them if not stated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    keeps: Option<Vec<String>>,
    /// The contents of each output after the call.
    #[serde(with = "many_bytes")]
    outputs: Vec<Vec<u8>>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum CapturedArg {
    In(#[serde(with = "bytes")] Vec<u8>),
    InOut(#[serde(with = "bytes")] Vec<u8>),
    Out(u64),
}

/// The result of replaying a repro.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Replayed {
    /// The report of the launch.
    pub report: LaunchReport,
    /// Differences from the captured outputs that the op table does not allow.
    pub differences: Vec<Difference>,
    /// Differences that the op table allows.
    pub allowed: Vec<Difference>,
}

/// The difference of one output from the captured one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Difference {
    /// The index of the output.
    pub output: usize,
    /// The extent of the difference.
    pub apart: Apart,
    /// The source of allowed differences, if any: an op's mnemonic, or `subnormals`.
    pub reason: Option<&'static str>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { output, apart, reason } = self;
        write!(f, "output {output}: {apart}")?;
        reason.map_or(Ok(()), |reason| write!(f, ", within what the op table leaves to `{reason}`"))
    }
}

impl Program {
    /// Runs a call once and captures its arguments, the contents of resident buffers, and its outputs.
    ///
    /// # Errors
    /// Those of [`call`](Program::call).
    pub fn capture(&self, call: &Call<'_>) -> Result<Repro, Error> {
        let mut args = Vec::with_capacity(call.args().len());
        for (arg, declared) in call.args().iter().zip(&self.kernel().buffers) {
            args.push(match arg {
                Arg::In(data) => CapturedArg::In(data.to_vec()),
                Arg::InOut(data) => CapturedArg::InOut(data.to_vec()),
                Arg::Out(bytes) => CapturedArg::Out(*bytes),
                Arg::Resident(view) if declared.access.can_write() => CapturedArg::InOut(view.to_vec()?),
                Arg::Resident(view) => CapturedArg::In(view.to_vec()?),
            });
        }
        let options = self.merged(call.stated());
        let mut repro = Repro {
            manifest: self.manifest().clone(),
            text: fulgurite_ir::text::print(self.kernel()),
            args,
            params: call.params().to_vec(),
            grid: options.grid,
            timeout: options.timeout.map(|time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)),
            keeps: Some(kept_names(self.device().snapshot())),
            outputs: Vec::new(),
        };
        // Resident buffers stay as they are: the capture runs on copies.
        repro.outputs = self.call(&repro.call(options.timeout))?.outputs;
        Ok(repro)
    }
}

impl Repro {
    /// The longest timeout of a replay, whatever the repro states.
    pub const MOST_TIMEOUT: Duration = Duration::from_secs(600);

    /// Reads a repro.
    ///
    /// # Errors
    /// `FG0703` for data that is not a repro, or one of another version.
    pub fn from_json(json: &str) -> Result<Self, Error> {
        let bad = |message: String| Error::invalid(Code::BadFileFormat, message);
        let repro: Self = serde_json::from_str(json).map_err(|e| bad(format!("this is no repro: {e}")))?;
        match repro.manifest.schema {
            MANIFEST_SCHEMA => Ok(repro),
            other => Err(bad(format!("a repro of schema {other}; this version reads {MANIFEST_SCHEMA}"))),
        }
    }

    /// Returns the repro as the contents of a file.
    ///
    /// # Errors
    /// [`Error::Internal`] if it cannot be serialized.
    pub fn to_json(&self) -> Result<String, Error> {
        serde_json::to_string_pretty(self).map_err(|error| Error::Internal(error.to_string()))
    }

    /// Compiles the kernel on `device` with the options that it was captured with, runs it with the captured inputs, and
    /// compares, for at most [`MOST_TIMEOUT`](Self::MOST_TIMEOUT).
    ///
    /// # Errors
    /// The diagnostics of the kernel's text, `FG0703` for options unknown to this version, and those of
    /// [`Device::compile`] and [`Program::call`]: `FG0403` if the kernel requires another subgroup size.
    pub fn replay(&self, device: &Device) -> Result<Replayed, Error> {
        let kernel = fulgurite_ir::text::parse(&self.text).and_then(fulgurite_ir::verify)?;
        let options = self.compile_options()?;
        let kernel = Arc::new(kernel);
        let program = device.compile(&kernel, &options)?;
        let called = program.call(&self.call(self.replay_timeout()))?;
        if called.outputs.len() != self.outputs.len() {
            let message =
                format!("{} outputs were captured, there are {}", self.outputs.len(), called.outputs.len());
            return Err(Error::invalid(Code::BadFileFormat, message));
        }
        let (allowed, differences) = self
            .compare(&kernel, &called.outputs, device.snapshot())
            .partition(|difference| difference.reason.is_some());
        Ok(Replayed { report: called.report, differences, allowed })
    }

    fn replay_timeout(&self) -> Option<Duration> {
        self.timeout.map(|time| Duration::from_nanos(time).min(Self::MOST_TIMEOUT))
    }

    /// Compares the outputs of `device` with the captured ones.
    fn compare<'a>(
        &'a self,
        kernel: &Kernel,
        outputs: &'a [Vec<u8>],
        device: &DeviceSnapshot,
    ) -> impl Iterator<Item = Difference> + 'a {
        let kept = self.keeps.iter().fold(kept_subnormals(device), |kept, names| {
            let named = |ty: &ScalarType| kept.contains(*ty) && names.iter().any(|name| name == ty.name());
            FLOATS.into_iter().filter(named).fold(TypeSet::EMPTY, |set, ty| set.union(TypeSet::of(ty)))
        });
        let freedom = Freedom::of(kernel, kept);
        let written = self.args.iter().enumerate().filter(|(_, arg)| !matches!(arg, CapturedArg::In(_)));
        let pairs = written.map(|(buffer, _)| buffer).zip(self.outputs.iter().zip(outputs)).enumerate();
        pairs.filter_map(move |(output, (buffer, (wanted, got)))| {
            match freedom.compare(buffer, wanted, got) {
                Agreement::Equal => None,
                Agreement::Allowed(apart, reason) => Some(Difference { output, apart, reason: Some(reason) }),
                Agreement::Wrong(apart) => Some(Difference { output, apart, reason: None }),
            }
        })
    }

    /// Returns the options that the kernel was compiled with. The text already contains its workgroup size and math
    /// mode; caching is up to the device.
    fn compile_options(&self) -> Result<CompileOptions, Error> {
        let mut stated = CompileOptions::of_stated(&self.manifest.options).map_err(|(name, value)| {
            let message = format!("a repro compiled with `{name}` {value}, which this version does not know");
            Error::invalid(Code::BadFileFormat, message)
        })?;
        stated.cache = None;
        Ok(stated)
    }

    /// Returns the captured call.
    fn call(&self, timeout: Option<Duration>) -> Call<'_> {
        let mut options =
            timeout.map_or_else(LaunchOptions::default, |limit| LaunchOptions::default().timeout(limit));
        options.grid = self.grid;
        let call = self.args.iter().fold(Call::new(), |call, arg| {
            call.arg(match arg {
                CapturedArg::In(data) => Arg::In(Cow::Borrowed(data)),
                CapturedArg::InOut(data) => Arg::InOut(Cow::Borrowed(data)),
                CapturedArg::Out(bytes) => Arg::Out(*bytes),
            })
        });
        self.params.iter().fold(call, |call, param| call.param(*param)).options(&options)
    }
}

const FLOATS: [ScalarType; 4] = [ScalarType::F16, ScalarType::BF16, ScalarType::F32, ScalarType::F64];

fn kept_names(device: &DeviceSnapshot) -> Vec<String> {
    let kept = kept_subnormals(device);
    FLOATS.into_iter().filter(|ty| kept.contains(*ty)).map(|ty| ty.name().to_owned()).collect()
}

/// Serializes bytes as base64.
mod bytes {
    use serde::{Deserialize as _, Deserializer, Serializer, de};

    use super::{Cow, Engine, STANDARD};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        STANDARD.decode(text.as_bytes()).map_err(de::Error::custom)
    }
}

/// Serializes lists of bytes, each as base64.
mod many_bytes {
    use serde::{Deserialize as _, Deserializer, Serializer, de};

    use super::{Engine, STANDARD};

    pub(super) fn serialize<S: Serializer>(all: &[Vec<u8>], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(all.iter().map(|bytes| STANDARD.encode(bytes)))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Vec<u8>>, D::Error> {
        let texts = Vec::<String>::deserialize(deserializer)?;
        texts.iter().map(|text| STANDARD.decode(text).map_err(de::Error::custom)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fulgurite_hal::{CachePolicy, OptimizationLevel};

    fn repro() -> Repro {
        let text = "fulgurite 1\nkernel @k workgroup(1, 1, 1) {\n  buffer %y: write u32[]\n  store %y[0u32], 1u32\n}\n";
        let kernel = fulgurite_ir::text::parse(text).and_then(fulgurite_ir::verify).unwrap();
        let device = fulgurite_spec::device::DeviceSnapshot::new("test", "none", "none");
        let origin = fulgurite_spec::cache::CacheOrigin::default();
        Repro {
            manifest: Manifest::new(&device, &kernel, "test:1", &CompileOptions::default(), origin),
            text: text.to_owned(),
            args: vec![CapturedArg::In(vec![1, 2, 255]), CapturedArg::InOut(Vec::new()), CapturedArg::Out(4)],
            params: vec![[1, 2, 3, u64::MAX]],
            grid: Some(GridSize::Linear(1 << 32)),
            timeout: Some(5),
            keeps: Some(vec!["f16".to_owned()]),
            outputs: vec![vec![0; 5], Vec::new()],
        }
    }

    #[test]
    fn repros_read_back() {
        let repro = repro();
        assert_eq!(Repro::from_json(&repro.to_json().unwrap()), Ok(repro));
    }

    #[test]
    fn a_file_does_not_say_how_long_it_runs_at_most() {
        for (stated, wanted) in [
            (None, None),
            (Some(5), Some(Duration::from_nanos(5))),
            (Some(600_000_000_000), Some(Repro::MOST_TIMEOUT)),
            (Some(u64::MAX), Some(Repro::MOST_TIMEOUT)),
        ] {
            assert_eq!(Repro { timeout: stated, ..repro() }.replay_timeout(), wanted);
        }
    }

    #[test]
    fn what_is_no_repro_says_so() {
        let mut newer = repro();
        newer.manifest.schema += 1;
        let newer = newer.to_json().unwrap();
        let cut = &newer[..newer.len() / 2];
        let odd = repro().to_json().unwrap().replace("AQL/", "AQL");
        for json in ["", "{}", &newer, cut, &odd] {
            let error = Repro::from_json(json).unwrap_err();
            assert_eq!(error.code(), Code::BadFileFormat, "{error}");
        }
        assert!(Repro::from_json(&newer).unwrap_err().to_string().contains("schema 2"));
    }

    #[test]
    fn options_come_with_a_repro() {
        let mut repro = repro();
        let options = CompileOptions::default().subgroup_size(8).optimization(OptimizationLevel::None);
        repro.manifest.options = options.clone().cache(CachePolicy::Off).stated();
        assert_eq!(repro.compile_options(), Ok(options));
        repro.manifest.options.push(("newer".to_owned(), "7".to_owned()));
        assert_eq!(repro.compile_options().unwrap_err().code(), Code::BadFileFormat);
    }

    #[test]
    fn differences_are_those_that_the_op_table_does_not_allow() {
        let text = |op: &str| {
            format!(
                "fulgurite 1\nkernel @k workgroup(1, 1, 1) {{\n  buffer %x: read f32[]\n  buffer %y: write f32[]\n  buffer %z: \
                 write u32[]\n  %a = load %x[0u32]\n  %b = {op}\n  store %y[0u32], %b\n  store %z[0u32], 1u32\n}}\n"
            )
        };
        let mut repro = repro();
        repro.keeps = Some(vec!["f32".to_owned()]);
        repro.args = vec![CapturedArg::In(vec![0; 4]), CapturedArg::Out(4), CapturedArg::Out(4)];
        repro.outputs = vec![vec![0; 4], vec![1, 0, 0, 0]];
        let mut device = DeviceSnapshot::new("test", "none", "none");
        let compare = |repro: &Repro, device: &DeviceSnapshot, op: &str, outputs: [[u8; 4]; 2]| {
            let kernel = fulgurite_ir::text::parse(&text(op)).unwrap();
            let outputs = outputs.map(|output| output.to_vec());
            repro.compare(&kernel, &outputs, device).map(|d| (d.output, d.reason)).collect::<Vec<_>>()
        };
        device.capabilities.push(fulgurite_spec::device::Capability::SubnormalsF32);
        let (exact, near) = ("add %a, %a", "exp %a");
        assert_eq!(compare(&repro, &device, near, [[0; 4], [1, 0, 0, 0]]), []);
        assert_eq!(
            compare(&repro, &device, near, [[1, 0, 0, 0], [2, 0, 0, 0]]),
            [(0, Some("exp")), (1, None)]
        );
        assert_eq!(compare(&repro, &device, exact, [[1, 0, 0, 0], [1, 0, 0, 0]]), [(0, None)]);
        // Either device may flush.
        repro.keeps = Some(Vec::new());
        assert_eq!(compare(&repro, &device, exact, [[1, 0, 0, 0], [1, 0, 0, 0]]), [(0, Some("subnormals"))]);
        repro.keeps = None;
        assert_eq!(compare(&repro, &device, exact, [[1, 0, 0, 0], [1, 0, 0, 0]]), [(0, None)]);
        device.capabilities.clear();
        assert_eq!(compare(&repro, &device, exact, [[1, 0, 0, 0], [1, 0, 0, 0]]), [(0, Some("subnormals"))]);
    }
}
