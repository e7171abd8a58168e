//! The results of a run, as text and as JSON.

use std::time::Duration;

use fulgurite::spec::eval;
use fulgurite::{Agreement, CacheOutcome, Literal, Route, ScalarType, Type};
use serde_json::{Value, json};

use super::Args;
use super::plan::{Named, Plan};
use super::sequence::{FirstRun, LaunchTime, Repeated, Samples};
use crate::output::{self, say};

/// Maximum number of elements of a buffer that are printed.
const SHOWN: usize = 32;

/// All results of a run.
pub(super) struct Results {
    pub(super) route: Route,
    /// The time of compiling each step, and what the cache contributed.
    pub(super) compile: Vec<(Duration, CacheOutcome)>,
    pub(super) first: FirstRun,
    pub(super) repeated: Option<Repeated>,
    pub(super) plan: Plan,
}

impl Results {
    /// Returns whether every buffer agrees with the reference's.
    pub(super) fn is_right(&self) -> bool {
        let mut all = self.first.agreements.iter().flatten();
        all.all(|(_, agreement)| !matches!(agreement, Agreement::Wrong(_)))
    }

    /// Prints the results. `args` has the files that were written.
    pub(super) fn print(&self, args: &Args) -> anyhow::Result<()> {
        say!("running on {}", self.route)?;
        if let Some(path) = &args.capture {
            say!("captured in {}", path.display())?;
        }
        for (at, step) in self.plan.steps.iter().enumerate() {
            let kernel = &step.label;
            say!(
                "{kernel}: compiled in {}, launched in {}",
                compile_time(self.compile[at]),
                launch_time(self.first.times[at])
            )?;
            for (buffer, agreement) in self.first.agreements.get(at).into_iter().flatten() {
                // A buffer may have another content after each kernel.
                let of = if self.plan.steps.len() > 1 { format!(" after {kernel}") } else { String::new() };
                say!("{}{of}: {}", self.plan.buffers[*buffer].name, compared(*agreement))?;
            }
        }
        if let Some(repeated) = &self.repeated {
            let by = if repeated.on_device { " on the device" } else { "" };
            let mut rows: Vec<_> =
                self.plan.steps.iter().map(|step| step.label.as_str()).zip(&repeated.steps).collect();
            if rows.len() > 1 {
                rows.push(("all kernels", &repeated.all));
            }
            for (name, samples) in rows {
                say!(
                    "{name}: {} runs after {} to warm up: median {}{by}, spread {:.1} %",
                    samples.len(),
                    args.warm_up,
                    duration(samples.median()),
                    samples.spread() * 100.0
                )?;
            }
        }
        for (buffer, bytes) in self.plan.buffers.iter().zip(&self.first.contents) {
            match &buffer.file {
                Some(path) => say!("wrote {}", path.display())?,
                None if buffer.is_written => output::line(&shown(buffer, bytes))?,
                None => {}
            }
        }
        Ok(())
    }

    /// Returns the results as JSON.
    pub(super) fn entry(&self, args: &Args) -> Value {
        let snapshot = self.route.device().snapshot();
        let steps = self.plan.steps.iter().zip(&args.files).enumerate().map(|(at, (step, file))| {
            let agreements = self.first.agreements.get(at).map(|all| {
                all.iter()
                    .map(|(b, agreement)| agreement_entry(&self.plan.buffers[*b].name, *agreement))
                    .collect()
            });
            let LaunchTime { time, on_device } = self.first.times[at];
            json!({
                "file": file.display().to_string(),
                "kernel": step.kernel.name,
                "label": step.label,
                "compile_seconds": self.compile[at].0.as_secs_f64(),
                "compile_cache": self.compile[at].1.name(),
                "launch_seconds": time.as_secs_f64(),
                "measured_by": if on_device { "device" } else { "host" },
                "repeated": self.repeated.as_ref().map(|repeated| samples_entry(&repeated.steps[at])),
                // `null` if unchecked.
                "agreement": agreements.map_or(Value::Null, Value::Array),
            })
        });
        let buffers = self.plan.buffers.iter().zip(&self.first.contents);
        json!({
            "backend": snapshot.backend,
            "device": snapshot.device,
            "driver": snapshot.driver,
            "ok": self.is_right(),
            "kernels": steps.collect::<Value>(),
            "repeated": self.repeated.as_ref().map(|repeated| samples_entry(&repeated.all)),
            "captured_in": args.capture.as_ref().map(|path| path.display().to_string()),
            "buffers": buffers.map(|(buffer, bytes)| buffer_entry(buffer, bytes)).collect::<Value>(),
        })
    }
}

fn duration(seconds: f64) -> String {
    if seconds < 1e-3 { format!("{:.2} µs", seconds * 1e6) } else { format!("{:.3} ms", seconds * 1e3) }
}

fn compile_time((time, cache): (Duration, CacheOutcome)) -> String {
    let from = match cache {
        CacheOutcome::Memory => " (compiled before in this run)",
        CacheOutcome::Binary => " (driver binary from the cache)",
        CacheOutcome::Artifact => " (lowered form from the cache)",
        _ => "",
    };
    format!("{}{from}", duration(time.as_secs_f64()))
}

fn launch_time(launch: LaunchTime) -> String {
    let by = if launch.on_device { " on the device" } else { "" };
    format!("{}{by}", duration(launch.time.as_secs_f64()))
}

fn compared(agreement: Agreement) -> String {
    match agreement {
        Agreement::Equal => "equal to the reference's".to_owned(),
        Agreement::Allowed(apart, reason) => {
            format!("within what the op table leaves to `{reason}`, {apart} from the reference's")
        }
        Agreement::Wrong(apart) => format!("wrong, {apart} from the reference's"),
    }
}

/// Returns the first elements of a buffer, as in kernel text without types.
fn elements(ty: Type, bytes: &[u8]) -> Vec<Vec<String>> {
    let lanes = |chunk: &[u8]| {
        let value = eval::read_bytes(chunk, ty);
        value[..ty.lanes.count() as usize]
            .iter()
            .map(|bits| {
                let literal = Literal::new(ty.scalar, *bits).to_string();
                literal.trim_end_matches(ty.scalar.name()).trim_end_matches(':').to_owned()
            })
            .collect()
    };
    bytes.chunks_exact(ty.size() as usize).take(SHOWN).map(lanes).collect()
}

fn shown(buffer: &Named, bytes: &[u8]) -> String {
    let count = bytes.len() / buffer.element.size() as usize;
    let shown: Vec<String> = elements(buffer.element, bytes)
        .into_iter()
        .map(|lanes| if lanes.len() == 1 { lanes.concat() } else { format!("({})", lanes.join(", ")) })
        .collect();
    let rest = if count > SHOWN { format!(", … {} more", count - SHOWN) } else { String::new() };
    format!("{} = {}{rest}", buffer.name, shown.join(", "))
}

fn samples_entry(samples: &Samples) -> Value {
    json!({ "runs": samples.len(), "median_seconds": samples.median(), "spread": samples.spread() })
}

fn agreement_entry(buffer: &str, agreement: Agreement) -> Value {
    let (name, reason) = match agreement {
        Agreement::Equal => ("equal", None),
        Agreement::Allowed(_, reason) => ("allowed", Some(reason)),
        Agreement::Wrong(_) => ("wrong", None),
    };
    json!({ "buffer": buffer, "agreement": name, "reason": reason, "message": compared(agreement) })
}

/// Returns a buffer's name, type and size, and what it holds: the file, or the first elements of one that is written.
fn buffer_entry(buffer: &Named, bytes: &[u8]) -> Value {
    let mut entry = json!({
        "name": buffer.name,
        "type": buffer.element.to_string(),
        "elements": bytes.len() / buffer.element.size() as usize,
    });
    if let Some(path) = &buffer.file {
        entry["file"] = json!(path.display().to_string());
    } else if buffer.is_written {
        let first = elements(buffer.element, bytes).into_iter().map(|mut lanes| match lanes.len() {
            1 => number(buffer.element.scalar, &lanes.remove(0)),
            _ => lanes.iter().map(|lane| number(buffer.element.scalar, lane)).collect(),
        });
        entry["first"] = first.collect();
    }
    entry
}

/// Returns a number as JSON: a string if JSON has no such number.
fn number(ty: ScalarType, text: &str) -> Value {
    if ty.is_float() {
        text.parse::<f64>()
            .ok()
            .filter(|value| value.is_finite())
            .map_or_else(|| json!(text), |value| json!(value))
    } else {
        let unsigned = text.parse::<u64>().map(|value| json!(value));
        unsigned.or_else(|_| text.parse::<i64>().map(|value| json!(value))).unwrap_or_else(|_| json!(text))
    }
}
