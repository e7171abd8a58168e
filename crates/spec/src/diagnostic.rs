//! Stable diagnostic codes, and diagnostics: what is wrong, where, and what to do.
//!
//! Every problem that a user can cause or meet has a code here. A code's number and meaning are
//! permanent. The text of [`Code::explanation`] is what `docs/diagnostics.md` prints.

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
            /// Every code, ascending.
            pub const ALL: &'static [Code] = &[$(Code::$name),*];

            /// What the code stands for, in a few words.
            pub const fn title(self) -> &'static str {
                match self { $(Code::$name => $title,)* }
            }

            /// What happened and what to do about it.
            pub const fn explanation(self) -> &'static str {
                match self { $(Code::$name => $explanation,)* }
            }
        }
    };
}

codes! {
    // Text.
    101 Syntax "syntax error": "The kernel text does not follow the grammar at the place shown. `docs/ir.md` describes it.";
    102 BadHeader "missing or unknown language version": "A kernel text begins with `fulgurite 1`. Text of a newer version needs a newer Fulgurite.";
    103 BadLiteral "malformed literal": "A literal is digits with its type, such as `4u32`, `-1i32`, `0x1p-3f32`, `1.5f32`, `nan:0x7fc00000`, `true`; its value must fit the type.";
    104 UnknownName "unknown name": "The name is not defined before this use in this scope. A value can be used only after its definition, in the same block or one inside it.";
    105 DuplicateName "name defined twice": "The name is already defined in this scope or an enclosing one. Give one of them another name.";
    106 UnknownOp "unknown op": "There is no op of this name. `docs/ops.md` lists them.";
    107 TextTooLarge "kernel too large": "The kernel exceeds a limit of the language: text length, number of values, nesting or length of a name.";
    // Verification.
    201 TypeMismatch "operand has the wrong type": "The op does not take an operand of this type. Insert `convert` or `bitcast`, or use another op.";
    202 BadOperandCount "wrong number of operands": "The op takes another number of operands; `docs/ops.md` shows its form.";
    203 BadResultType "stated result type not allowed": "The type stated after `->` cannot come out of this op with these operands.";
    204 NotDominated "value used where it is not defined": "A value can be used only after its definition, in the same block or one inside it. Yield it from the region instead.";
    205 NotUniform "barrier in non-uniform control flow": "Every invocation of a workgroup must reach a barrier or `workgroup_broadcast` together, every invocation of a subgroup a `subgroup_barrier` or an op across the subgroup. Move it out of the varying `if` or loop, or make the condition the same for all of them.";
    206 NotWritable "write to a read-only buffer": "The buffer is declared `read`. Declare it `write` or `read_write`.";
    207 NotReadable "read from a write-only buffer": "The buffer is declared `write`. Declare it `read` or `read_write`.";
    208 BadWorkgroup "bad workgroup size": "Each dimension must be at least 1 and their product at most 4,096.";
    209 BadStep "bad loop step": "The step of a `for` must be a non-zero literal of the counter's type.";
    210 BadElementType "type cannot be kept in memory": "`bool` and vectors of it have no memory form. Store a `u32` or `i32` instead.";
    211 BadAtomic "op not allowed atomically here": "Atomics work on scalar elements of 32 or 64 bits of buffers declared `read_write` and of shared memory: on integers, and on floats `atomic.add`, `load`, `store` and `exchange`.";
    212 TooMuchMemory "too much shared or local memory": "The sizes of the declared arrays exceed what the language allows. Use smaller arrays, or a buffer.";
    213 BadCarry "carried values do not match": "A region must yield as many values as are carried out of it, of the same types.";
    214 BadRequire "bad precondition": "`require` takes a `bool` expression over parameters, lengths and the grid.";
    215 TooManyDeclarations "too many declarations": "A kernel may declare at most 64 each of buffers, parameters, shared arrays, local arrays, views and preconditions.";
    216 TooDeep "control flow nested too deeply": "Blocks may nest at most 400 deep.";
    217 BadName "bad name": "A name is 1 to 128 letters, digits, `_` or `.`, and two memory objects or parameters cannot share one.";
    218 Malformed "malformed kernel structure": "The kernel's tables do not fit together: it was not made by the builder or the parser. Build it again.";
    219 BadOrder "memory order not allowed here": "`atomic.load` may be relaxed or acquire, `atomic.store` relaxed or release, a `fence` anything but relaxed.";
    220 NotUniformOperand "operand must be uniform": "The operand names an invocation whose value all others get, so it must be the same for all of them: for the workgroup in `workgroup_broadcast`, for the subgroup in `subgroup.broadcast`. Use `subgroup.shuffle` for a lane that varies.";
    221 BadView "bad view": "A view is of a buffer or a shared array, not of a local array or another view, and at least one of its elements must fit a shared array.";
    222 BadAttribute "attribute not allowed here": "The op does not take this attribute: `fast` stands on float ops, `exact` on `fma`, a way to combine values on `subgroup.reduce` and the scans, and `vec.shuffle` names 2 to 4 components that its vectors have.";
    223 BadMatrix "bad cooperative matrix": "A matrix has components of i8, u8, i32, u32 or a float type and 8 to 256 rows and columns, powers of two. `coop.mul_add` takes an M x K matrix of role `a`, a K x N one of role `b` and an M x N one of role `acc`, of one scope; matrices lie in buffers and shared memory.";
    224 BadMatrixAlignment "matrix not provably aligned": "The offset and the stride of `coop.load` and `coop.store`, in bytes, must be provable multiples of 16 or of a line of the matrix, whichever is less. Access it through a view of 16-byte elements such as `u32x4`, state `require eq (rem (...), k), 0`, or use literals.";
    // Builder.
    301 ForeignValue "value of another kernel": "The value was made by another kernel's builder. Use only values of the kernel that is being built.";
    302 EscapedValue "value escaped its region": "The value was made inside a region that has ended. Carry it out as the region's result.";
    303 BuilderMisuse "builder used wrongly": "The builder was asked for something that has no meaning in the language; the message says what.";
    // Finding and choosing a backend.
    401 UnknownBackend "unknown backend": "No backend of this id is registered. The message lists those that are; a Cargo feature of the facade wires each in.";
    402 BackendUnavailable "backend not available": "The backend is registered but could not start on this machine; the message says why. For Vulkan, install a driver (Debian: `mesa-vulkan-drivers libvulkan1`).";
    403 Unsupported "not supported by this device": "The kernel or launch needs more than the device has; the message names both. Choose another device or backend, or change the kernel.";
    404 NoBackend "no backend available": "None of the registered backends could start. Enable the facade's `cpu` feature, which needs no device.";
    405 GridTooLarge "grid too large": "A grid has at most 2^44 workgroups and, along each axis, at most 2^32 invocations, which `global_id` counts. A grid below that is split where the device takes less. Use a smaller grid or more work an invocation.";
    406 DuplicateBackend "backend registered twice": "A backend of this id is registered already. Register each once, under an id of its own.";
    407 BadOption "option not understood": "An option, or the environment variable that sets it, has a value that it does not take; the message says which it does.";
    408 ContradictingChoices "choices that exclude each other": "A context was asked for two devices at once, by a backend, a Vulkan device or a wish; the message names both. State one.";
    // Arguments of a launch.
    501 WrongArgumentCount "wrong number of arguments": "The launch must bind every buffer and parameter of the kernel, each once. Without names, buffers come first, then parameters, as the kernel declares them.";
    502 WrongArgumentType "argument has the wrong type": "The argument's element or parameter type is not the one that the kernel declares.";
    503 BufferSize "buffer has the wrong size": "The data does not fit the buffer: sizes must match, and be a whole number of elements.";
    504 BufferOverlap "written buffer bound twice": "A buffer that the kernel writes may not be bound to two of its parameters. Use another buffer.";
    505 RequireFailed "precondition not met": "The kernel states a `require` that these arguments or this grid do not satisfy.";
    506 ForeignBuffer "buffer of another context": "The buffer was made by another context. Upload the data to this one.";
    507 BadGrid "bad grid": "No grid was stated, and the default, one invocation for each element of the first buffer that the kernel writes, does not fit the kernel. State one: `LaunchOptions::linear`, `invocations` or `workgroups`, `--grid`.";
    508 NotLinear "launch is not one-dimensional": "`linear` counts invocations along x alone: the kernel's workgroup must have one invocation along y and z, and the count must be at most 2^32.";
    509 BufferFreed "buffer was freed": "The buffer's memory was given back by `free`, through this handle or a clone of it. Free a buffer after its last use, or leave it to `Drop`.";
    510 OutputTooLarge "outputs over the stated limit": "The call's outputs are larger together than its `max_output_bytes` allows. Raise the limit, or ask for less.";
    511 BadGraph "graph does not fit": "A graph was recorded or replayed with a step, binding or parameter that it does not have. Use the handles that its own recorder returned.";
    512 WrongAccess "argument for another access": "The call passes memory to be read for a buffer that the kernel writes, or asks for output from one that it only reads. Pass it as the kernel declares it.";
    513 ForeignLaunch "launch of another kernel": "A launch was checked for one kernel and given to the executable of another, whose buffers and preconditions were never checked. Check it for the executable's own kernel.";
    // Devices.
    601 OutOfMemory "out of device memory": "The device could not allocate. Free buffers or use smaller ones.";
    602 Timeout "launch timed out": "The launch did not end within its timeout and was stopped; its outputs are unspecified. Raise the timeout or do less in one launch.";
    603 LoopLimit "driver cut a loop short": "This driver silently ends loops after a fixed number of iterations. The launch's outputs are unspecified. Use fewer iterations per invocation, or another device.";
    604 DeviceLost "device lost": "The driver reported that the device was lost. Open a new context.";
    605 DeviceFault "driver call failed": "A driver call failed in a way that has no better name; the message gives the call and its result.";
    606 Trap "kernel trapped": "The kernel executed `trap`, which says that something is wrong; the message gives the code and the invocation. The launch's outputs are unspecified.";
    607 ReadBack "output could not be read back": "The kernel ran, but the device failed while its output was copied to the host; the message says which output and how. What the outputs hold is unspecified; run the call again.";
    608 CompileBanned "process ended while the driver compiled this kernel": "Three processes or more ended while the driver compiled this kernel: it failed, or something else ended them. The kernel is not compiled again on this driver for an hour, and for twice as long after each end that follows, 30 days at most. The message names the command that lifts this at once. If the driver is at fault, update it or change the kernel.";
    614 CompileTimeout "driver took too long to compile": "The driver had not compiled the kernel within the limit, two minutes unless the backend's options say otherwise. It cannot be told to stop: it goes on in the background, and later launches may have to wait for it. Make the kernel smaller, above all its local arrays, or raise the limit.";
    // Files.
    701 FileUnreadable "file cannot be read": "Check the path and its permissions.";
    702 FileUnwritable "file cannot be written": "Check the path, its permissions and the space left.";
    703 BadFileFormat "file has an unusable format": "The message says what was expected.";
    704 BadUsage "bad command line": "See `--help`.";
    // Wire format.
    801 NotAKernel "not a kernel in the wire format": "The bytes do not begin as those of a kernel do. They may be kernel text, or something else.";
    802 UnknownWireVersion "unknown version of the wire format": "The kernel was written by a newer Fulgurite. Use that one, or write the kernel again with this one.";
    803 WrongWireLength "kernel cut short or too long": "The number of bytes is not what the kernel's header says. They were cut, or something was added.";
    804 WrongWireChecksum "kernel damaged": "The bytes do not fit their checksum: they were changed after they were written. Get them again from where they came from.";
    805 MalformedWire "malformed kernel bytes": "The checksum fits, but the bytes are not as this version writes them. What wrote them is not Fulgurite, or has a bug.";
    806 WireOverLimit "kernel bytes over a limit": "A kernel takes at most 64 MiB as bytes, and the limits of the language hold. Split the kernel.";
    // Our own bugs.
    901 Internal "internal error": "This is a bug in Fulgurite. Please report it with the kernel text and the message.";
    // The pipeline cache.
    1001 CacheDegraded "pipeline cache cannot be used as asked": "What is compiled is kept in memory only, and compiled again by the next process. Check the folder that the message names: it must be this user's, writable by nobody else, and have space left. `FULGURITE_CACHE_DIR` names another.";
    1002 CacheEntryTooLarge "compiled kernel too large to keep": "An entry of the pipeline cache has at most 64 MiB. The kernel works; it is compiled again by the next process. Split it.";
    1003 CacheSwitchedOff "pipeline cache switched off": "One process met too many damaged entries and stopped using the cache's folder: the disk or another program damages them. Run `xtask cache verify`, and check the disk.";
    1004 CacheSelection "mask and entries do not match": "A mask selects among entries, so both have the same length.";
    1005 DriverKeepsNothing "driver keeps no compiled pipelines": "This driver gives nothing that a later process could use, so every process has it compile each kernel once. What Fulgurite itself makes of kernels is kept all the same.";
    1006 CachePoisoned "pipeline cache left in the middle of a change": "A thread panicked while it changed the cache's state. The process goes on without the cache; its files are whole.";
    1007 CacheNotDurable "cache entries could not be made durable": "The system failed to write entries to the disk for good, so they were dropped and will be compiled again. Check the disk.";
    1008 DriverRefused "driver refused a kept pipeline": "The driver would not take back what it had compiled for this very device and version; it was compiled again, and kept anew. If it comes back in every process, the driver cannot restore this kernel: report it to the driver's makers.";
    1009 CacheAlarm "the pipeline cache loses what it keeps": "Fewer lookups of what had been kept found it than should. The message counts the reasons: after a new driver `device_or_runtime_changed` is as it must be, and ends when all is compiled again; `evicted` asks for a larger cache, unless the entries were removed on request; `corrupt` and `unreadable` are the disk's or another program's. `xtask cache verify` reads every entry.";
    // The autotuner.
    1101 BadAutotuneSetting "bad autotune setting": "`FULGURITE_AUTOTUNE` is `off`, `cached` or `on`: use no tuned configurations, use those that are kept, or tune what is not, in the background. It is taken for `cached`.";
    1102 TuningNotKept "tuning records cannot be kept as asked": "What was measured counts in this process, and is measured again by the next. Check the folder that the message names: it must be this user's, writable by nobody else, and have space left.";
    1103 TuningFileLeftAlone "tuning file left alone": "The file of tuning records is of a newer version, too large, or none. It was neither used nor changed: use the version that wrote it, prune it (`xtask tune prune`), or remove it.";
    1104 TuningRecordRejected "tuning record of no use": "A record was damaged or edited into something else. The others of its file are used; it is put aside into a file that ends in `.rejected.toml` when the file is written next.";
    1105 NoConfiguration "no configuration fits": "The family of kernels has no configuration for this problem within this device's limits. The message names both; state another problem, or use another device.";
    1106 BadProblem "no problem of this family": "The text does not state a problem of this family of kernels; the message says what was expected.";
    1107 NothingRight "no configuration is right": "Every configuration that was tried gave wrong results or failed on this device, the heuristic's too, so none is used. `xtask tune` shows why; report it, as it is a bug of the family, the compiler or the driver.";
}

impl Code {
    /// The permanent number.
    pub const fn number(self) -> u16 {
        self as u16
    }

    /// The code printed as `text` (`FG0205`), upper or lower case.
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

/// Where something was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Location {
    /// Nowhere that is known.
    #[default]
    Unknown,
    /// In kernel text.
    Text {
        /// First byte.
        start: u32,
        /// One past the last byte.
        end: u32,
        /// Line, from 1.
        line: u32,
        /// Column in characters, from 1.
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

/// How much a problem matters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// What was asked for is done; something about it is not as it could be.
    Warning,
    /// What was asked for is not done.
    #[default]
    Error,
}

impl Severity {
    /// The name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// One problem: what, where, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Diagnostic {
    /// The stable code.
    pub code: Code,
    /// How much it matters.
    pub severity: Severity,
    /// What is wrong here, lower case, no full stop.
    pub message: String,
    /// Where.
    pub location: Location,
    /// Further places and facts, each with its own location.
    pub notes: Vec<(Location, String)>,
    /// What to do, if more can be said than the code's explanation does.
    pub fix: Option<String>,
}

impl Diagnostic {
    /// A diagnostic of `code` at `location`.
    pub fn new(code: Code, location: Location, message: impl Into<String>) -> Self {
        let severity = Severity::Error;
        Self { code, severity, message: message.into(), location, notes: Vec::new(), fix: None }
    }

    /// Says that work goes on all the same.
    #[must_use]
    pub fn as_warning(mut self) -> Self {
        self.severity = Severity::Warning;
        self
    }

    /// Adds a further place or fact.
    #[must_use]
    pub fn with_note(mut self, location: Location, note: impl Into<String>) -> Self {
        self.notes.push((location, note.into()));
        self
    }

    /// Says what to do.
    #[must_use]
    pub fn with_fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into());
        self
    }

    /// What to do: the specific fix, else the code's explanation.
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

/// Every problem that was found, at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostics(Vec<Diagnostic>);

impl Diagnostics {
    /// `Ok(())` if there are none, else all of them as an error.
    pub fn check(all: Vec<Diagnostic>) -> Result<(), Diagnostics> {
        if all.is_empty() { Ok(()) } else { Err(Self(all)) }
    }

    /// All of them, in the order found; never empty.
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
    fn codes_print_and_read_back() {
        for code in Code::ALL {
            assert_eq!(Code::parse(&code.to_string()), Some(*code));
            assert!(!code.explanation().is_empty() && !code.title().ends_with('.'));
        }
        assert!(Code::ALL.windows(2).all(|w| w[0] < w[1]));
        assert_eq!(Code::parse("FG9999"), None);
        assert_eq!(Code::parse("E0308"), None);
    }

    #[test]
    fn a_warning_says_that_it_is_one() {
        let warning =
            Diagnostic::new(Code::DriverKeepsNothing, Location::Unknown, "nothing is kept").as_warning();
        assert!(warning.to_string().starts_with("warning[FG1005]: nothing is kept\n"), "{warning}");
    }

    #[test]
    fn a_diagnostic_says_where_what_and_what_to_do() {
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
