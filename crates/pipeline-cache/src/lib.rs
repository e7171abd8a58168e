//! The pipeline cache: a content-addressed store of compiled kernels. So far there is only the folder that it will keep
//! them in, which others use already.
//!
//! What will live here: the identity of a compiled artefact (digests of the kernel, of the options that decide
//! how it is lowered, of the layout and of the device), three tiers (memory, in which threads that ask for one key
//! compile it once; SPIR-V on disk; the driver's own binary on disk), the files' format, bounds and eviction, locks
//! between processes, marks that find compiles which crashed, and the reason of every miss.
//!
//! What must hold: a file is data from outside. Whatever is wrong with one is a miss with a reason, never an error
//! to the user, a panic or a wrong kernel; a full or read-only disk degrades to the memory tier and says so.
//!
//! What must not be here: how anything is compiled, kernels, Vulkan, a device. The crate stores bytes under keys
//! that others make, and depends on `spec` alone.
#![forbid(unsafe_code)]

mod root;

pub use root::default_root;
