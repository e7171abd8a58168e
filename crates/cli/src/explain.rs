//! `fulgurite explain`: prints the explanation of a diagnostic code, from the table that `docs/diagnostics.md` is made of,
//! or what the compiler finds out about a kernel.

mod kernel;

use std::path::Path;

use fulgurite::Code;
use fulgurite_passes::PassOptions;
use serde_json::{Value, json};

use crate::output;
use crate::source::usage_with;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// A code, such as `FG0205`, or a kernel text (`.fg`). Default: a list of all codes
    #[arg(value_name = "CODE|FILE")]
    subject: Option<String>,
    /// Explain the kernel as it is after all optimizations
    #[arg(long)]
    optimize: bool,
    /// Explain the kernel as it is with fast math: float ops of which it states no precision are `[fast]`
    #[arg(long)]
    fast_math: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Prints one explanation, or the titles of all codes.
///
/// # Errors
/// `FG0704` for a code that does not exist, and those of reading and verifying a file.
pub(crate) fn run(args: &Args) -> anyhow::Result<bool> {
    let Some(text) = &args.subject else {
        if args.json {
            output::json(&Code::ALL.iter().map(|code| entry(*code)).collect::<Value>())?;
        } else {
            let lines: Vec<_> = Code::ALL.iter().map(|code| format!("{code}  {}", code.title())).collect();
            output::line(&lines.join("\n"))?;
        }
        return Ok(true);
    };
    let name = text.to_ascii_uppercase();
    let Some(code) = Code::parse(&name) else {
        let path = Path::new(text);
        if path.exists() || path.extension().is_some_and(|extension| extension == "fg") {
            let mut options = PassOptions::default();
            options.optimize = args.optimize;
            options.fast_math = args.fast_math;
            return kernel::run(path, &options, args.json);
        }
        let fix = format!(
            "`fulgurite explain` lists all codes, such as {}; `fulgurite explain FILE.fg` is about a kernel.",
            Code::BadUsage
        );
        return Err(usage_with(format!("there is no diagnostic code `{text}`, and no such file"), fix).into());
    };
    if args.json {
        output::json(&entry(code))?;
    } else {
        output::line(&fulgurite::explain(&name).unwrap_or_default())?;
    }
    Ok(true)
}

fn entry(code: Code) -> Value {
    json!({ "code": code.to_string(), "title": code.title(), "explanation": code.explanation() })
}
