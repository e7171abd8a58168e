//! `fulgurite explain`: prints the explanation of a diagnostic code, from the table that `docs/diagnostics.md` is made of.

use fulgurite::Code;
use serde_json::{Value, json};

use crate::output;
use crate::source::usage_with;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The code, such as `FG0205`. Default: a list of all codes
    code: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Prints one explanation, or the titles of all codes.
///
/// # Errors
/// `FG0704` for a code that does not exist.
pub(crate) fn run(args: &Args) -> anyhow::Result<bool> {
    let Some(text) = &args.code else {
        if args.json {
            output::json(&Code::ALL.iter().map(|code| entry(*code)).collect::<Value>())?;
        } else {
            let lines: Vec<_> = Code::ALL.iter().map(|code| format!("{code}  {}", code.title())).collect();
            output::line(&lines.join("\n"))?;
        }
        return Ok(true);
    };
    let name = text.to_ascii_uppercase();
    let code = Code::parse(&name).ok_or_else(|| {
        let fix = format!("`fulgurite explain` lists all codes, such as {}.", Code::BadUsage);
        usage_with(format!("there is no diagnostic code `{text}`"), fix)
    })?;
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
