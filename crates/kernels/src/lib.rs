//! The tuned kernel library.
