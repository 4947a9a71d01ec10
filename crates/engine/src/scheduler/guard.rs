//! Runs a step of a model so that a panic in it is an error like any other.
//! The loops call it around everything that computes.
//! Invariant: what the panic says is logged and never told to a caller.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::error::{Error, Result};

/// Runs `work`; a panic in it comes back as an error.
pub(super) fn guarded<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let words = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
        let words = words.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
        tracing::error!(panic = %words, "the model panicked");
        Err(Error::internal("the model failed on this request"))
    })
}
