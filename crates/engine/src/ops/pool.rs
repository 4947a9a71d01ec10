//! The one pool of threads that all arithmetic on the CPU runs on.
//! Whoever loads a model makes it; every op borrows it.
//! Invariant: a panic in a piece of work comes back as an error to the caller and harms nobody after it.
