//! The autotuner: search over families of kernels, and what it found. Nothing is here yet.
//!
//! What will live here: the trait of a kernel family (its configurations for a device and a problem, a heuristic
//! that is always valid, the kernel of a configuration), measurement on the device's own clock with warm-up,
//! interleaved rounds and early elimination, the gate that compares every candidate's output with the reference
//! before its time counts, and the records: text files that people can read and compare, kept for each device and
//! family, whose merging is commutative, associative and idempotent.
//!
//! What must hold: a wrong or crashing candidate never wins; tuning never blocks a caller who did not ask for it,
//! since the heuristic runs at once; a tuned choice is never slower than the heuristic on the problem measured.
//!
//! What must not be here: particular kernels (those are `kernels`), particular backends (it sees `driver-core`
//! alone), and compiled artefacts (those are `pipeline-cache`).
#![forbid(unsafe_code)]
