//! Candidate search, measurement and records.
