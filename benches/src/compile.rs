//! Kernels from text, bytes and WGSL to SPIR-V, compiled by Fulgurite and, with the feature `peers`, by naga.

use std::fmt::Write as _;
use std::sync::Arc;

use anyhow::ensure;
use fulgurite::ir::{Kernel, VerifiedKernel, text, verify};
use fulgurite_passes::PassOptions;
use fulgurite_spirv::Profile;

use crate::{SAXPY, chained_adds};

/// A kernel in two languages.
#[derive(Clone, Debug)]
pub struct Source {
    /// Name, for people.
    pub name: String,
    /// Kernel text of Fulgurite.
    pub text: String,
    /// The same kernel in WGSL.
    pub wgsl: String,
}

/// [`SAXPY`] in WGSL.
const SAXPY_WGSL: &str = "
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
var<immediate> a: f32;

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let i = id.x;
    if i < arrayLength(&y) {
        y[i] = a * x[i] + y[i];
    }
}
";

/// Returns a small kernel, and chains of the given numbers of additions.
pub fn sources(adds: &[usize]) -> Vec<Source> {
    let saxpy = Source { name: "saxpy".to_owned(), text: SAXPY.to_owned(), wgsl: SAXPY_WGSL.to_owned() };
    let chain = |count: &usize| {
        let name = format!("{count} adds");
        Source { name, text: chained_adds(*count), wgsl: chained_adds_wgsl(*count) }
    };
    std::iter::once(saxpy).chain(adds.iter().map(chain)).collect()
}

/// A shape of large kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Each op uses the result of the one before.
    Chain,
    /// The sum of many values, added up in pairs.
    Join,
    /// `if`s nested 32 deep, tower after tower.
    Nest,
    /// Loops that carry 400 values.
    Carry,
}

impl Shape {
    /// All shapes.
    pub const ALL: [Self; 4] = [Self::Chain, Self::Join, Self::Nest, Self::Carry];

    /// Returns the name in results.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Chain => "chain",
            Self::Join => "join",
            Self::Nest => "nest",
            Self::Carry => "carry",
        }
    }

    /// Returns the text of a kernel of about `ops` instructions.
    pub fn text(self, ops: usize) -> String {
        let body = match self {
            Self::Chain => return chained_adds(ops),
            Self::Join => join(ops),
            Self::Nest => nest(ops),
            Self::Carry => carry(ops),
        };
        format!(
            "fulgurite 1\nkernel @large workgroup(64, 1, 1) {{\n  buffer %x: read_write u32[]\n\n  %i = global_id.x\n{body}}}\n"
        )
    }
}

fn join(ops: usize) -> String {
    let (mut body, leaves) = (String::new(), ops / 2);
    for n in 0..leaves {
        let _ = writeln!(body, "  %v{n} = xor %i, {n}u32");
    }
    // Value `n` of all is the sum of two that no other sum uses.
    for n in leaves..(2 * leaves).saturating_sub(1) {
        let first = 2 * (n - leaves);
        let _ = writeln!(body, "  %v{n} = add %v{first}, %v{}", first + 1);
    }
    let _ = writeln!(body, "  store %x[%i], %v{}", (2 * leaves).saturating_sub(2));
    body
}

/// The levels of a tower of `if`s.
const LEVELS: usize = 32;

fn nest(ops: usize) -> String {
    let mut body = String::new();
    for tower in 0..ops.div_ceil(2 * LEVELS + 1) {
        for level in 0..LEVELS {
            let _ =
                writeln!(body, "  %c{tower}_{level} = lt %i, {}u32\n  if %c{tower}_{level} {{", 1000 - level);
        }
        let _ = writeln!(body, "  store %x[%i], {tower}u32");
        body.push_str(&"  }\n".repeat(LEVELS));
    }
    body
}

/// The values that a loop carries.
const CARRIED: usize = 400;

fn carry(ops: usize) -> String {
    let (mut body, count) = (String::new(), CARRIED);
    // Text is limited in bytes, so names are short.
    let list = |of: &dyn Fn(usize) -> String| (0..count).map(of).collect::<Vec<_>>().join(",");
    for at in 0..ops.div_ceil(count + 2) {
        let (results, carried) =
            (list(&|n| format!("%r{at:x}_{n:x}")), list(&|n| format!("%c{at:x}_{n:x}=%i")));
        let _ = writeln!(body, "{results} = for %k{at:x} in 0u32 to 4u32 step 1u32 carry({carried}) {{");
        for n in 0..count {
            let _ = writeln!(body, "%n{at:x}_{n:x} = add %c{at:x}_{:x},%k{at:x}", (n + 1) % count);
        }
        let _ =
            writeln!(body, "yield {}\n}}\nstore %x[%i], %r{at:x}_0", list(&|n| format!("%n{at:x}_{n:x}")));
    }
    body
}

/// [`chained_adds`] in WGSL.
fn chained_adds_wgsl(count: usize) -> String {
    let mut source = String::from(
        "@group(0) @binding(0) var<storage, read_write> x: array<u32>;\n\n@compute @workgroup_size(64)\nfn main(@builtin(global_invocation_id) id: vec3<u32>) {\n    let i = id.x;\n    let v0 = x[i];\n",
    );
    for n in 0..count {
        let _ = writeln!(source, "    let v{} = v{n} + i;", n + 1);
    }
    let _ = writeln!(source, "    x[i] = v{count};\n}}");
    source
}

/// Parses and verifies a kernel's text.
///
/// # Errors
/// The diagnostics, if the text does not parse or verify.
pub fn from_text(source: &str) -> anyhow::Result<VerifiedKernel> {
    Ok(text::parse(source).and_then(verify)?)
}

/// Decodes and verifies a kernel.
///
/// # Errors
/// An error if the bytes are not a kernel, or the kernel does not verify.
pub fn from_wire(bytes: &[u8]) -> anyhow::Result<VerifiedKernel> {
    let kernel: Kernel = fulgurite::ir::wire::decode(bytes)?;
    Ok(verify(kernel)?)
}

/// Returns a kernel after all passes, also those that a compiler that optimizes does not need.
///
/// # Errors
/// An error if a pass made it invalid.
pub fn optimized(kernel: &Arc<VerifiedKernel>) -> anyhow::Result<Arc<VerifiedKernel>> {
    let mut options = PassOptions::default();
    options.optimize = true;
    Ok(fulgurite_passes::optimize(kernel, &options)?.0)
}

/// Emits a kernel as SPIR-V for the minimal device.
pub fn to_spirv(kernel: &VerifiedKernel) -> Vec<u32> {
    fulgurite_spirv::emit(kernel, &Profile::least()).words
}

/// Checks that `words` begin with SPIR-V's magic number and contain more than a header.
///
/// # Errors
/// An error if they do not.
pub fn check(words: &[u32]) -> anyhow::Result<()> {
    ensure!(words.first() == Some(&0x0723_0203) && words.len() > 5, "this is no module of SPIR-V");
    Ok(())
}

/// The same steps in naga.
#[cfg(feature = "peers")]
pub mod by_naga {
    use naga::back::spv;
    use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};

    /// Parses WGSL.
    ///
    /// # Errors
    /// naga's error, if the source does not parse.
    pub fn parse(source: &str) -> anyhow::Result<naga::Module> {
        Ok(naga::front::wgsl::parse_str(source)?)
    }

    /// Validates a module.
    ///
    /// # Errors
    /// naga's error, if the module does not validate.
    pub fn validate(module: &naga::Module) -> anyhow::Result<ModuleInfo> {
        Ok(Validator::new(ValidationFlags::all(), Capabilities::all()).validate(module)?)
    }

    /// Parses and validates WGSL.
    ///
    /// # Errors
    /// naga's error, if the source does not parse or validate.
    pub fn from_wgsl(source: &str) -> anyhow::Result<(naga::Module, ModuleInfo)> {
        let module = parse(source)?;
        let info = validate(&module)?;
        Ok((module, info))
    }

    /// Emits a module as SPIR-V.
    ///
    /// # Errors
    /// naga's error, if its backend does not support the module.
    pub fn to_spirv(module: &naga::Module, info: &ModuleInfo) -> anyhow::Result<Vec<u32>> {
        Ok(spv::write_vec(module, info, &spv::Options::default(), None)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_source_compiles_in_every_language() {
        for source in sources(&[0, 100]) {
            let verified = from_text(&source.text).unwrap();
            check(&to_spirv(&verified)).unwrap();
            let again = from_wire(&fulgurite::ir::wire::encode(&verified).unwrap()).unwrap();
            assert_eq!(again.digest(), verified.digest());
            #[cfg(feature = "peers")]
            {
                let (module, info) = by_naga::from_wgsl(&source.wgsl).unwrap();
                check(&by_naga::to_spirv(&module, &info).unwrap()).unwrap();
            }
        }
        assert!(check(&[]).is_err() && check(&[1; 10]).is_err());
    }

    #[test]
    fn large_kernels_have_about_the_ops_that_are_asked_for() {
        for shape in Shape::ALL {
            let kernel = from_text(&shape.text(2_000)).unwrap();
            assert!((2_000..2_500).contains(&(kernel.insts.len() + 5)), "{shape:?}: {}", kernel.insts.len());
            check(&to_spirv(&optimized(&Arc::new(kernel)).unwrap())).unwrap();
        }
    }
}
