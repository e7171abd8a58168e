//! Content-addressed store of compiled kernels.
