//! What a long piece of work says about how far it is. The door hands it down while a model loads.
//! The `api` crate draws a bar or writes lines from it.
//! Invariant: calls are cheap and never fail.

/// Somebody who wants to know how far a load is.
pub trait Progress: Send + Sync {
    /// A new stage begins; `text` says which.
    fn stage(&self, text: &str);
    /// Work of a known size begins.
    fn start(&self, what: &str, bytes_total: u64);
    /// So many more bytes are done.
    fn advance(&self, bytes: u64);
    /// The work begun last is done.
    fn finish(&self);
}
