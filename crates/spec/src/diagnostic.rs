//! Stable diagnostic codes, and diagnostics: the problem, its location and a fix.
//!
//! Every problem that a user can cause or encounter has a code. A code's number and meaning are permanent.
//! `docs/diagnostics.md` is generated from [`Code::explanation`].

use core::fmt;
use core::panic;

macro_rules! codes {
    ($($(#[$section:meta])* $number:literal $name:ident $title:literal: $explanation:literal;)*) => {
        /// A stable diagnostic code, printed as `FG0123`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u16)]
        #[non_exhaustive]
        pub enum Code {
            $(
                #[doc = concat!($title, ". ", $explanation)]
                $name = $number,
            )*
        }

        impl Code {
            /// All codes, in ascending order.
            pub const ALL: &'static [Code] = &[$(Code::$name),*];

            /// Returns a short description of the problem.
            pub const fn title(self) -> &'static str {
                match self { $(Code::$name => $title,)* }
            }

            /// Returns the cause of the problem and how to fix it.
            pub const fn explanation(self) -> &'static str {
                match self { $(Code::$name => $explanation,)* }
            }
        }
    };
}

codes! {
    // Text.
    101 Syntax "syntax error": "The kernel text violates the grammar at the location shown. `docs/ir.md` specifies it.";
    102 BadHeader "missing or unknown language version": "A kernel text starts with `fulgurite 1`. A newer language version requires a newer Fulgurite.";
    103 BadLiteral "malformed literal": "A literal consists of digits and a type, such as `4u32`, `-1i32`, `0x1p-3f32`, `1.5f32`, `nan:0x7fc00000`, `true`; its value must fit the type.";
    104 UnknownName "unknown name": "The name is not defined before this use in this scope. A value can be used only after its definition, in the same block or one inside it.";
    105 DuplicateName "name defined twice": "The name is already defined in this scope or an enclosing one. Rename one of them.";
    106 UnknownOp "unknown op": "No op has this name. `docs/ops.md` lists all ops.";
    107 TextTooLarge "kernel too large": "The kernel exceeds a limit of the language: length of the text, number of values, nesting or length of a name.";
    // Verification.
    201 TypeMismatch "operand has the wrong type": "The op does not take an operand of this type. Insert `convert` or `bitcast`, or use another op.";
    202 BadOperandCount "wrong number of operands": "The op takes a different number of operands; see `docs/ops.md`.";
    203 BadResultType "stated result type not allowed": "The op cannot have the type stated after `->` with these operands.";
    204 NotDominated "value used where it is not defined": "A value can be used only after its definition, in the same block or one inside it. Yield it from the region instead.";
    205 NotUniform "barrier in non-uniform control flow": "Every invocation of a workgroup must reach a barrier or `workgroup_broadcast` together, every invocation of a subgroup a `subgroup_barrier` or a subgroup op. Move it out of the divergent `if` or loop, or make the condition uniform.";
    206 NotWritable "write to a read-only buffer": "The buffer is declared `read`. Declare it `write` or `read_write`.";
    207 NotReadable "read from a write-only buffer": "The buffer is declared `write`. Declare it `read` or `read_write`.";
    208 BadWorkgroup "bad workgroup size": "Each dimension must be at least 1 and their product at most 4,096.";
    209 BadStep "bad loop step": "The step of a `for` must be a non-zero literal of the counter's type.";
    210 BadElementType "type cannot be stored in memory": "`bool` and vectors of it have no memory form. Store a `u32` or `i32` instead.";
    211 BadAtomic "op not allowed atomically here": "Atomics require scalar elements of 32 or 64 bits, in buffers declared `read_write` or in shared memory. Floats support only `atomic.add`, `load`, `store` and `exchange`.";
    212 TooMuchMemory "too much shared or local memory": "The declared arrays exceed the limits of the language. Use smaller arrays, or a buffer.";
    213 BadCarry "carried values do not match": "The values that a region yields must match its carried values in number and types.";
    214 BadRequire "bad precondition": "`require` takes a `bool` expression over parameters, lengths and the grid.";
    215 TooManyDeclarations "too many declarations": "A kernel may declare at most 64 each of buffers, parameters, shared arrays, local arrays, views and preconditions.";
    216 TooDeep "control flow nested too deeply": "Blocks may nest at most 400 deep.";
    217 BadName "bad name": "A name consists of 1 to 128 letters, digits, `_` or `.`, and must be unique among memory objects and parameters.";
    218 Malformed "malformed kernel structure": "The kernel's tables are inconsistent, so it was not created by the builder or the parser. Build it again.";
    219 BadOrder "memory order not allowed here": "`atomic.load` may be relaxed or acquire, `atomic.store` relaxed or release, a `fence` anything but relaxed.";
    220 NotUniformOperand "operand must be uniform": "The operand selects the invocation whose value is broadcast, so it must be uniform: across the workgroup for `workgroup_broadcast`, across the subgroup for `subgroup.broadcast`. Use `subgroup.shuffle` for a varying lane.";
    221 BadView "bad view": "The base of a view must be a buffer or a shared array, not a local array or another view, and a shared array must have room for at least one element of the view.";
    222 BadAttribute "attribute not allowed here": "The op does not take this attribute: `fast` applies to float ops, `exact` to `fma`, a combining operation to `subgroup.reduce` and the scans, and `vec.shuffle` takes 2 to 4 valid component indices.";
    223 BadMatrix "bad cooperative matrix": "The components of a matrix must be i8, u8, i32, u32 or floats, and its numbers of rows and columns powers of two from 8 to 256. `coop.mul_add` takes an M x K matrix of role `a`, a K x N one of role `b` and an M x N one of role `acc`, all of one scope. Matrices are loaded from and stored to buffers and shared memory.";
    224 BadMatrixAlignment "matrix not provably aligned": "The offset and the stride of `coop.load` and `coop.store`, in bytes, must be provable multiples of 16 or of the length of a matrix line, whichever is less. Access it through a view of 16-byte elements such as `u32x4`, state `require eq (rem (...), k), 0`, or use literals.";
    // Builder.
    301 ForeignValue "value of another kernel": "The value belongs to another kernel's builder. Use only values of the kernel being built.";
    302 EscapedValue "value escaped its region": "The value was defined in a region that has ended. Return it as the region's result.";
    303 BuilderMisuse "builder used wrongly": "The builder call has no equivalent in the language; the message gives details.";
    // Finding and choosing a backend.
    401 UnknownBackend "unknown backend": "No backend with this id is registered. The message lists the registered ones: name one of them. `fulgurite devices` shows their devices. The backends are fixed when a program is built: in a Rust program, a Cargo feature of the facade enables each.";
    402 BackendUnavailable "backend not available": "The backend is registered but could not be opened on this machine; the message gives the reason.";
    403 Unsupported "not supported by this device": "The kernel or launch exceeds the device's limits or capabilities; the message names both. Choose another device or backend, or change the kernel.";
    404 NoBackend "no backend available": "No registered backend has a device that opens and meets the requirements; the message gives the reason for each. `fulgurite doctor` shows what this machine lacks. The backend `cpu` requires no driver: in a Rust program, the facade's Cargo feature `cpu` enables it.";
    405 GridTooLarge "grid too large": "A grid has at most 2^44 workgroups and, along each axis, at most 2^32 invocations, the range of `global_id`. Grids within these limits that exceed the device's are split. Use a smaller grid, or more work per invocation.";
    406 DuplicateBackend "backend registered twice": "A backend with this id is already registered. Register each backend once, under a unique id.";
    407 BadOption "invalid option value": "An option, or the environment variable that sets it, has an invalid value; the message lists the valid ones.";
    408 ContradictingChoices "contradicting choices": "The options of a context select two different devices; the message names both. State only one.";
    409 UnknownDevice "no such device": "No device of this machine has this id, or a name with this part. The message lists those that there are; `fulgurite devices` shows what each can do.";
    410 DriverLoaderMissing "driver loader missing": "The library that finds the backend's drivers could not be loaded. Install it: for Vulkan on Debian, `libvulkan1`, with a driver.";
    411 DriverLoaderFailed "driver loader failed": "The library that finds the backend's drivers failed before it reached one, usually at a damaged manifest, which the message names. Mend or remove that file, or name the manifests of good drivers in `VK_DRIVER_FILES`.";
    412 NoDriver "no driver found": "No driver of the backend starts. Install one: for Vulkan on Debian, that of the GPU's vendor, or `mesa-vulkan-drivers`, which needs no GPU. If one is installed, `VK_DRIVER_FILES` may name other manifests.";
    413 ValidationMissing "validation layer missing": "Validation was asked for, and the layer that does it is not installed, or too old. Install it (Debian: `vulkan-validationlayers`), or do not set `FULGURITE_VULKAN_VALIDATION`.";
    // Arguments of a launch.
    501 WrongArgumentCount "wrong number of arguments": "The launch must bind every buffer and parameter of the kernel exactly once. Positional arguments are the buffers, then the parameters, in the order of their declaration.";
    502 WrongArgumentType "argument has the wrong type": "The argument's element or parameter type differs from the kernel's declaration.";
    503 BufferSize "buffer has the wrong size": "The size of the data does not match the buffer, or is not a multiple of the element size.";
    504 BufferOverlap "written buffer bound twice": "A buffer that the kernel writes must not be bound to another of its parameters, too. Use another buffer.";
    505 RequireFailed "precondition not met": "The arguments or the grid violate a `require` of the kernel.";
    506 ForeignBuffer "buffer of another context": "The buffer belongs to another context. Upload the data to this one.";
    507 BadGrid "bad grid": "No grid was stated, and the default, one invocation per element of the first buffer that the kernel writes, is not valid for the kernel. State one: `LaunchOptions::linear`, `invocations` or `workgroups`, `--grid`.";
    508 NotLinear "launch is not one-dimensional": "`linear` launches invocations along x only: the kernel's workgroup must have one invocation along y and z, and the count must be at most 2^32.";
    509 BufferFreed "buffer was freed": "The buffer's memory was released by `free`, through this handle or a clone of it. Free a buffer after its last use, or rely on `Drop`.";
    510 OutputTooLarge "outputs exceed the stated limit": "The total size of the call's outputs exceeds its `max_output_bytes`. Raise the limit, or request less.";
    511 BadGraph "graph mismatch": "A graph was recorded or replayed with a step, binding or parameter that it does not have. Use only handles returned by its own recorder.";
    512 WrongAccess "argument for another access": "The call passes input for a buffer that the kernel writes, or requests output from one that it only reads. Match the kernel's declaration.";
    513 ForeignLaunch "launch of another kernel": "A launch checked for one kernel was passed to the executable of another, whose buffers and preconditions were not checked. Check the launch for the executable's kernel.";
    // Devices.
    601 OutOfMemory "out of device memory": "A device allocation failed. Free buffers or use smaller ones.";
    602 Timeout "launch timed out": "The launch did not end within its timeout and was aborted; its outputs are unspecified. Raise the timeout, or do less work per launch.";
    603 LoopLimit "driver cut a loop short": "This driver silently ends loops after a fixed number of iterations. The launch's outputs are unspecified. Use fewer iterations per invocation, or another device.";
    604 DeviceLost "device lost": "The driver reported that the device was lost. Open a new context.";
    605 DeviceFault "driver call failed": "A driver call failed with an error that has no code of its own; the message gives the call and its result.";
    606 Trap "kernel trapped": "The kernel executed `trap`, which reports an error; the message gives the code and the invocation. The launch's outputs are unspecified.";
    607 ReadBack "output could not be read back": "The kernel ran, but copying its output to the host failed; the message names the output and the error. The contents of the outputs are unspecified; run the call again.";
    608 CompileBanned "process ended while the driver compiled this kernel": "Three processes or more ended while the driver compiled this kernel: the driver crashed, or something else ended the processes. The kernel is not compiled again on this driver for an hour, doubled after each further end up to 30 days. The message names the command that lifts the ban. If the driver is at fault, update it or change the kernel.";
    614 CompileTimeout "driver took too long to compile": "The driver did not compile the kernel within the limit, two minutes by default. The compilation cannot be canceled: it continues in the background, and later launches may have to wait for it. Reduce the kernel, above all its local arrays, or raise the limit: in seconds by `FULGURITE_VULKAN_COMPILE_LIMIT`, or by `compile_limit` in the backend's options.";
    // Files.
    701 FileUnreadable "file cannot be read": "Check the path and its permissions.";
    702 FileUnwritable "file cannot be written": "Check the path, its permissions and the free space.";
    703 BadFileFormat "file has an unusable format": "The message states the expected format.";
    704 BadUsage "bad command line": "An argument of a command is not valid; the message names it. `fulgurite help COMMAND` describes the arguments of a command, for example `fulgurite help run`.";
    // Wire format.
    801 NotAKernel "not a kernel in the wire format": "The bytes do not start with the magic number of a kernel. They may be kernel text.";
    802 UnknownWireVersion "unknown version of the wire format": "The kernel was written by a newer Fulgurite. Use that version, or write the kernel again with this one.";
    803 WrongWireLength "kernel truncated or too long": "The number of bytes differs from the kernel's header. Bytes are missing, or were appended.";
    804 WrongWireChecksum "kernel damaged": "The bytes do not match their checksum, so they were changed after they were written. Get them from their source again.";
    805 MalformedWire "malformed kernel bytes": "The checksum is valid, but the contents are not in the format of this version. The program that wrote them is not Fulgurite, or has a bug.";
    806 WireOverLimit "kernel bytes exceed a limit": "A kernel in the wire format has at most 64 MiB and must be within the limits of the language. Split the kernel.";
    // Our own bugs.
    901 Internal "internal error": "This is a bug in Fulgurite. Please report it with the kernel text and the message.";
    // The pipeline cache.
    1001 CacheDegraded "pipeline cache degraded": "Compiled kernels are cached in memory only, and the next process compiles them again. Check the folder named in the message: it must be owned by this user, not writable by others, and have free space. `FULGURITE_CACHE_DIR` selects another folder.";
    1002 CacheEntryTooLarge "compiled kernel too large to cache": "The limit is 64 MiB per entry of the pipeline cache by default. The kernel works, but every process compiles it again. Split the kernel, or raise the limit.";
    1003 CacheSwitchedOff "pipeline cache switched off": "This process found too many damaged entries and stopped using the cache's folder: the disk or another program damages them. Run `fulgurite cache verify`, and check the disk.";
    1004 CacheSelection "mask and digests do not match": "A mask has one element per digest, so both must have the same length.";
    1005 DriverKeepsNothing "driver does not export compiled pipelines": "This driver provides no pipeline data that a later process could load, so every process compiles each kernel once. Fulgurite's lowered kernels are cached nevertheless.";
    1006 CachePoisoned "pipeline cache state inconsistent": "A thread panicked while modifying the cache's state. The process continues without the cache; the files are consistent.";
    1007 CacheNotDurable "cache entries could not be made durable": "The system failed to sync entries to the disk, so they were removed and will be compiled again. Check the disk.";
    1008 DriverRefused "driver rejected a cached pipeline": "The driver rejected a pipeline that it had compiled for the same device and driver version. The kernel was compiled and cached again. If this recurs in every process, the driver cannot restore this kernel: report it to the driver's vendor.";
    1009 CacheAlarm "pipeline cache loses entries": "The hit rate of previously cached entries is below the threshold. The message counts the reasons: `device_or_runtime_changed` is expected after a driver update, until all kernels are compiled again; `evicted` calls for a larger cache, unless the entries were removed on request; `corrupt` and `unreadable` are caused by the disk or another program. `fulgurite cache verify` checks every entry.";
    // The autotuner.
    1101 BadAutotuneSetting "bad autotune setting": "`FULGURITE_AUTOTUNE` must be `off` (no tuned configurations), `cached` (recorded ones only) or `on` (tune others in the background). The invalid value counts as `cached`.";
    1102 TuningNotKept "tuning records cannot be saved": "The measurements are used in this process, and the next process repeats them. Check the folder named in the message: it must be owned by this user, not writable by others, and have free space.";
    1103 TuningFileLeftAlone "tuning file left unchanged": "The file is not a file of tuning records, has an unsupported version, is too large, or cannot be read or locked. It was neither used nor changed: use the version that wrote it, prune it (`fulgurite tune prune`), or remove it.";
    1104 TuningRecordRejected "invalid tuning record": "The record is damaged or was edited incorrectly. The other records of its file are used. The next save moves the invalid record to a file that ends in `.rejected.toml`.";
    1105 NoConfiguration "no configuration fits": "The kernel family has no configuration for this problem within this device's limits; the message names both. Choose another problem or device.";
    1106 BadProblem "invalid problem": "The text is not a problem of this kernel family; the message states the expected form.";
    1107 NothingRight "no correct configuration": "Every configuration tried, including the heuristic's choice, gave wrong results or failed on this device, so none is used. `fulgurite tune` shows the reasons. Please report this: it is a bug of the family, the compiler or the driver.";
    // Warnings about valid kernels.
    1201 UnusedDeclaration "declaration not used": "Remove the declaration, or use it. One that has to be there, for a launch that other kernels share, gets a name that begins with `_`.";
    1202 NeverWritten "memory never written": "Nothing stores in it, so a buffer stays as it is, and an array holds zeros. Store in it, or remove the declaration.";
    1203 UnusedResult "result not used": "The instruction has no effect but its result. Use the result, or remove the instruction; one that has to be there gets a result whose name begins with `_`.";
    1204 NeverRuns "code never runs": "The condition, the number of iterations or the index is the same in every launch. Correct it, or remove the code.";
    1205 RacingStores "invocations race": "Let one invocation store, let each store in an element of its own, or combine the values by an atomic or a reduction.";
    // Import of WGSL.
    1301 BadWgsl "not valid WGSL": "The shader violates the grammar or the rules of WGSL at the location shown. Correct it; a compiler for WebGPU reports the same.";
    1302 WgslResource "resource that kernels cannot bind": "Kernels bind buffers and parameters only. Pass texels and other data in storage buffers.";
    1303 WgslUnsupported "WGSL without an equivalent": "The shader is valid, but the construct has no equivalent in kernels; the message names it, and `docs/wgsl.md` lists all. Write that part of the shader without it.";
    1304 BadWgslEntry "no such entry point": "The source has no compute entry point, or none of the given name. The message lists those that there are.";
    1305 BadWgslOverride "override without a usable value": "An `override` takes its value from the options of the import or from its default. Give each a finite value that fits its type, and give values to declared overrides only.";
    1306 WgslTooLarge "shader too large to import": "Functions are inlined, and arrays that are indexed dynamically become local arrays; the result exceeds the limit in the message. Split the shader, nest fewer calls and early exits, or keep large arrays in buffers.";
}

impl Code {
    /// Returns the permanent number.
    pub const fn number(self) -> u16 {
        self as u16
    }

    /// Parses a printed code, such as `FG0205`, with upper- or lower-case `FG`.
    pub fn parse(text: &str) -> Option<Code> {
        let digits = text.strip_prefix("FG").or_else(|| text.strip_prefix("fg"))?;
        let number: u16 = digits.parse().ok()?;
        Code::ALL.iter().copied().find(|c| c.number() == number)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FG{:04}", *self as u16)
    }
}

/// A source location.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Location {
    /// Unknown.
    #[default]
    Unknown,
    /// In kernel text.
    Text {
        /// Offset of the first byte.
        start: u32,
        /// Offset after the last byte.
        end: u32,
        /// Line, starting at 1.
        line: u32,
        /// Column in characters, starting at 1.
        column: u32,
    },
    /// In the Rust program that built the kernel.
    Rust(&'static panic::Location<'static>),
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("unknown place"),
            Self::Text { line, column, .. } => write!(f, "{line}:{column}"),
            Self::Rust(location) => write!(f, "{location}"),
        }
    }
}

/// The severity of a diagnostic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The operation succeeded, with a limitation.
    Warning,
    /// The operation failed.
    #[default]
    Error,
}

impl Severity {
    /// Returns the name used in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// A problem, its location and its fix.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Diagnostic {
    /// Stable code.
    pub code: Code,
    /// Severity.
    pub severity: Severity,
    /// Description of this instance of the problem, in lower case without a full stop.
    pub message: String,
    /// Location.
    pub location: Location,
    /// Additional facts with their locations.
    pub notes: Vec<(Location, String)>,
    /// A specific fix; `None` if the code's explanation suffices.
    pub fix: Option<String>,
}

impl Diagnostic {
    /// Creates an error with `code` at `location`.
    pub fn new(code: Code, location: Location, message: impl Into<String>) -> Self {
        let severity = Severity::Error;
        Self { code, severity, message: message.into(), location, notes: Vec::new(), fix: None }
    }

    /// Changes the severity to a warning.
    #[must_use]
    pub fn as_warning(mut self) -> Self {
        self.severity = Severity::Warning;
        self
    }

    /// Adds a note.
    #[must_use]
    pub fn with_note(mut self, location: Location, note: impl Into<String>) -> Self {
        self.notes.push((location, note.into()));
        self
    }

    /// Sets the fix.
    #[must_use]
    pub fn with_fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into());
        self
    }

    /// Returns the fix, or else the code's explanation.
    pub fn fix_or_explanation(&self) -> &str {
        self.fix.as_deref().unwrap_or_else(|| self.code.explanation())
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.location != Location::Unknown {
            write!(f, "{}: ", self.location)?;
        }
        write!(f, "{}[{}]: {}", self.severity.name(), self.code, self.message)?;
        for (location, note) in &self.notes {
            write!(f, "\n  note: {note}")?;
            if *location != Location::Unknown {
                write!(f, " ({location})")?;
            }
        }
        write!(f, "\n  help: {}", self.fix_or_explanation())
    }
}

impl std::error::Error for Diagnostic {}

/// A non-empty list of diagnostics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostics(Vec<Diagnostic>);

impl Diagnostics {
    /// Returns `Ok(())` if `all` is empty, otherwise the diagnostics as an error.
    pub fn check(all: Vec<Diagnostic>) -> Result<(), Diagnostics> {
        if all.is_empty() { Ok(()) } else { Err(Self(all)) }
    }

    /// Returns the diagnostics in the order found; never empty.
    pub fn all(&self) -> &[Diagnostic] {
        &self.0
    }
}

impl From<Diagnostic> for Diagnostics {
    fn from(one: Diagnostic) -> Self {
        Self(vec![one])
    }
}

impl Extend<Diagnostic> for Diagnostics {
    fn extend<I: IntoIterator<Item = Diagnostic>>(&mut self, more: I) {
        self.0.extend(more);
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, diagnostic) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            fmt::Display::fmt(diagnostic, f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_round_trip() {
        for code in Code::ALL {
            assert_eq!(Code::parse(&code.to_string()), Some(*code));
            assert!(!code.explanation().is_empty() && !code.title().ends_with('.'));
        }
        assert!(Code::ALL.windows(2).all(|w| w[0] < w[1]));
        assert_eq!(Code::parse("FG9999"), None);
        assert_eq!(Code::parse("E0308"), None);
    }

    #[test]
    fn warnings_are_printed_as_such() {
        let warning =
            Diagnostic::new(Code::DriverKeepsNothing, Location::Unknown, "nothing is kept").as_warning();
        assert!(warning.to_string().starts_with("warning[FG1005]: nothing is kept\n"), "{warning}");
    }

    #[test]
    fn diagnostics_print_location_message_and_help() {
        let location = Location::Text { start: 4, end: 6, line: 2, column: 3 };
        let text = Diagnostic::new(Code::TypeMismatch, location, "`add` takes two equal types")
            .with_note(Location::Unknown, "this is f32")
            .to_string();
        assert!(
            text.starts_with(
                "2:3: error[FG0201]: `add` takes two equal types\n  note: this is f32\n  help: "
            )
        );
    }
}
