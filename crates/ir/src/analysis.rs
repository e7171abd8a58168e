//! Analyses of kernels: facts that verifier and lowering read.
