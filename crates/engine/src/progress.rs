//! How long work (a download, a load) tells whoever waits where it stands.
//! The weights and the loader report; the `api` crate draws a bar or logs lines from it.
//! Invariant: a report never fails and never decides anything; silence is always allowed.

/// Receives reports of long work. Calls may come from any thread, one piece of work at a time.
pub trait Progress: Send + Sync {
    /// A new stage begins, in words for a person: "downloading org/name".
    fn stage(&self, text: &str);
    /// A countable piece begins: `what` (a file's name) of `bytes_total` bytes.
    fn start(&self, what: &str, bytes_total: u64);
    /// `bytes` more of the piece are done.
    fn advance(&self, bytes: u64);
    /// The piece is over, complete or not.
    fn finish(&self);
}

/// Reports nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn stage(&self, _text: &str) {}
    fn start(&self, _what: &str, _bytes_total: u64) {}
    fn advance(&self, _bytes: u64) {}
    fn finish(&self) {}
}
