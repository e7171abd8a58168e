//! Golden modules: emits `filetests/*.fg` and compares the disassembly with the corresponding `.spvasm` file.
//!
//! A line `// profile: least` or `// profile: fullest` selects the device. `BLESS=1` rewrites the `.spvasm` files. A
//! changed output gives kernels another identity and therefore requires a new version of code generation, analyses or
//! op semantics. `golden.version` contains these versions and a digest of all golden modules; without a new version,
//! even `BLESS=1` does not accept a changed digest.
#![expect(clippy::disallowed_methods, reason = "the tests are files")]

use std::path::{Path, PathBuf};
use std::{env, fs, io};

use fulgurite_ir::{ANALYSIS_VERSION, VerifiedKernel, text, verify};
use fulgurite_spec::SPEC_VERSION;
use fulgurite_spirv::{CODEGEN_VERSION, Profile, emit, unsupported};
use libtest_mimic::{Arguments, Failed, Trial};
use rspirv::binary::Disassemble;
use rspirv::dr::load_words;

fn main() -> io::Result<()> {
    let arguments = Arguments::from_args();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("filetests");
    let mut files = Vec::new();
    for entry in fs::read_dir(&folder)? {
        let path = entry?.path();
        match path.extension().and_then(|e| e.to_str()) {
            Some("fg") => files.push(path),
            Some("spvasm") if path.with_extension("fg").exists() => {}
            _ => return Err(io::Error::other(format!("{} belongs to no test", path.display()))),
        }
    }
    files.sort();
    let trial = |path: PathBuf| {
        let name = path.strip_prefix(&folder).unwrap_or(&path).display().to_string();
        Trial::test(name, move || run(&path))
    };
    let all = files.clone();
    let versions = Trial::test("golden.version", move || versions(&all));
    libtest_mimic::run(&arguments, files.into_iter().map(trial).chain([versions]).collect()).exit()
}

/// Checks that changed words come with a changed version. Otherwise a cache would serve the old words.
fn versions(files: &[PathBuf]) -> Result<(), Failed> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden.version");
    let mut hasher = blake3::Hasher::new();
    for file in files {
        let (kernel, profile) = read(file)?;
        emit(&kernel, &profile).words.iter().for_each(|word| {
            hasher.update(&word.to_le_bytes());
        });
    }
    let versions = format!("spec {} analysis {} codegen {}", SPEC_VERSION, ANALYSIS_VERSION, CODEGEN_VERSION);
    let found = format!("{versions}\n{} modules {}\n", files.len(), hasher.finalize().to_hex());
    let expected = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    if expected == found {
        return Ok(());
    }
    let count = |text: &str| text.lines().nth(1).and_then(|l| l.split(' ').next()).map(str::to_owned);
    let is_new = !expected.starts_with(&versions) || count(&expected) != count(&found);
    match env::var_os("BLESS").is_some_and(|v| v == "1") && is_new {
        true => Ok(fs::write(&path, found)?),
        false if is_new => Err("golden.version is of another version; BLESS=1 rewrites it".into()),
        false => Err("emitted words changed: raise CODEGEN_VERSION (or that of the analyses or ops), \
                      then BLESS=1 rewrites golden.version"
            .into()),
    }
}

/// Reads the kernel of a file, and the profile for which it is emitted.
fn read(path: &Path) -> Result<(VerifiedKernel, Profile), Failed> {
    let source = fs::read_to_string(path)?;
    let mut profiles = source.lines().filter_map(|l| l.strip_prefix("// profile: ")).map(str::trim);
    let profile = match (profiles.next(), profiles.next()) {
        (Some("least"), None) => Profile::least(),
        (Some("fullest"), None) => Profile::fullest(),
        _ => return Err("the file needs one line `// profile: least` or `fullest`".into()),
    };
    let kernel = text::parse(&source).and_then(verify).map_err(|e| e.to_string())?;
    Ok((kernel, profile))
}

fn run(path: &Path) -> Result<(), Failed> {
    let (kernel, profile) = read(path)?;
    if let Some(needs) = unsupported(&kernel, &profile) {
        return Err(format!("no module can express {needs}").into());
    }
    let module = load_words(emit(&kernel, &profile).words).map_err(|e| format!("{e:?}"))?;
    let found = module.disassemble().trim_end().to_owned() + "\n";
    let golden = path.with_extension("spvasm");
    if env::var_os("BLESS").is_some_and(|v| v == "1") {
        return Ok(fs::write(golden, found)?);
    }
    let expected = fs::read_to_string(&golden).map_err(|e| format!("{}: {e}", golden.display()))?;
    if expected == found {
        return Ok(());
    }
    let first = expected.lines().zip(found.lines()).position(|(a, b)| a != b);
    let line = first.unwrap_or(expected.lines().count().min(found.lines().count()));
    let show = |text: &str| text.lines().nth(line).unwrap_or("the end").to_owned();
    let message = format!(
        "line {} was `{}`, is `{}`; BLESS=1 rewrites it. All of it:\n{found}",
        line + 1,
        show(&expected),
        show(&found)
    );
    Err(message.into())
}
