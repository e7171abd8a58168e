//! Runs `filetests/**/*.fg`, one test per file.
//!
//! The comments at the top of a file select the test:
//! - `// test: print`: the text parses, and its printed form is the lines after `// print:` at the end of the file, or,
//!   without such lines, the text itself.
//! - `// test: verify`: the text parses and has exactly the problems of the `// error: FG0205 5:3 …` lines, in order;
//!   the text after the location must be part of the message. Without such lines, the text verifies.
//! - `// test: run`: the text parses and verifies; the tests of the conformance crate run it on backends.
//!
//! `BLESS=1` rewrites the expectations.
#![expect(clippy::disallowed_methods, reason = "the tests are files")]

use std::path::{Path, PathBuf};
use std::{env, fs, io};

use fulgurite_ir::{text, verify};
use fulgurite_spec::Diagnostic;
use libtest_mimic::{Arguments, Failed, Trial};

fn main() -> io::Result<()> {
    let arguments = Arguments::from_args();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("filetests");
    let mut files = Vec::new();
    collect(&root, &mut files)?;
    files.sort();
    let trials = files
        .into_iter()
        .map(|path| {
            let name = path.strip_prefix(&root).unwrap_or(&path).display().to_string();
            Trial::test(name, move || run(&path))
        })
        .collect();
    libtest_mimic::run(&arguments, trials).exit()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "fg") {
                files.push(path);
            }
        }
    }
    Ok(())
}

fn run(path: &Path) -> Result<(), Failed> {
    let source = fs::read_to_string(path)?;
    let bless = env::var_os("BLESS").is_some_and(|v| v == "1");
    let mut kinds = source.lines().filter_map(|l| l.strip_prefix("// test: ")).map(str::trim);
    let wanted = match (kinds.next(), kinds.next()) {
        (Some("print"), None) => print(&source)?,
        (Some("verify"), None) => problems(&source),
        (Some("run"), None) => match diagnostics(&source).first() {
            Some(problem) => return Err(problem.to_string().into()),
            None => return Ok(()),
        },
        _ => return Err("the file needs one line `// test: print`, `verify` or `run`".into()),
    };
    if wanted == source {
        Ok(())
    } else if bless {
        Ok(fs::write(path, wanted)?)
    } else {
        Err(format!("with BLESS=1 the file would be\n{wanted}\ninstead of\n{source}").into())
    }
}

/// Returns the expected file, with the printed form of its text.
fn print(source: &str) -> Result<String, Failed> {
    const MARK: &str = "// print:\n";
    let kernel = text::parse(source).map_err(|e| e.to_string())?;
    let printed = text::print(&kernel);
    let again = text::parse(&printed).map(|k| text::print(&k)).map_err(|e| format!("{printed}\n{e}"))?;
    if again != printed {
        return Err(format!("printing is not stable:\n{printed}\n{again}").into());
    }
    let input = source.split(MARK).next().unwrap_or(source);
    let body = input.find("fulgurite 1").map_or("", |at| &input[at..]);
    if body.trim_end() == printed.trim_end() {
        return Ok(input.to_owned());
    }
    let expectation: String =
        printed.lines().map(|l| format!("// {l}").trim_end().to_owned() + "\n").collect();
    Ok(format!("{}\n\n{MARK}{expectation}", input.trim_end()))
}

/// Returns the expected file, with the problems of its text.
fn problems(source: &str) -> String {
    let is_error = |line: &&str| line.starts_with("// error: ");
    let expected: Vec<&str> = source.lines().filter(is_error).collect();
    let rest: Vec<&str> = source.lines().filter(|l| !is_error(l)).collect();
    // The locations depend on the number of problem lines above the text.
    let found = diagnostics(source);
    let shift = found.len() as i64 - expected.len() as i64;
    let lines = found.iter().enumerate().map(|(i, problem)| {
        let place = problem.location.to_string();
        let place = match place.split_once(':') {
            Some((line, column)) => {
                line.parse::<i64>().map_or(place.clone(), |l| format!("{}:{column}", l + shift))
            }
            None => place,
        };
        let start = format!("// error: {} {place}", problem.code);
        // A shorter expectation is kept if it matches.
        match expected.get(i).and_then(|e| e.strip_prefix(start.as_str())) {
            Some(part) if !part.trim().is_empty() && problem.message.contains(part.trim()) => {
                format!("{start}{part}\n")
            }
            _ => format!("{start} {}\n", problem.message),
        }
    });
    let (directive, text) = rest.split_first().map_or(("", &[][..]), |(d, t)| (*d, t));
    let text: String = text.iter().map(|l| format!("{l}\n")).collect();
    format!("{directive}\n{}{text}", lines.collect::<String>())
}

fn diagnostics(source: &str) -> Vec<Diagnostic> {
    let kernel = match text::parse(source) {
        Ok(kernel) => kernel,
        Err(problems) => return problems.all().to_vec(),
    };
    match verify(kernel) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.all().to_vec(),
    }
}
