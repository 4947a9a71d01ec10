//! For whose clients a stream is written: OpenAI's, or those of text-generation-webui's API, which expect other chunks.
//! Routes decide it once per request; the writers of chunks obey.
//! Invariant: every client of OpenAI's API that names a model gets OpenAI's stream, byte for byte, unless the settings say otherwise.

use crate::settings::Compat;

/// Whose habits a stream keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// `delta` alone, usage when asked for, `data: [DONE]` at the end.
    OpenAi,
    /// `message` beside `delta`, usage in each choice's last chunk, and an end that is a comment: loops written for
    /// text-generation-webui 1.9 read `choices[0].message` of every event and parse every event as JSON.
    Oobabooga,
}

impl Dialect {
    /// The dialect of a request. OpenAI's API requires `model`, and its clients always send it; the examples of
    /// text-generation-webui never do, as that API ignores it. So its absence tells whose client asks.
    pub fn of(compat: Compat, names_a_model: bool) -> Self {
        match (compat, names_a_model) {
            (Compat::OpenAi, _) | (Compat::Auto, true) => Self::OpenAi,
            (Compat::Oobabooga, _) | (Compat::Auto, false) => Self::Oobabooga,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_wins_over_what_the_request_looks_like() {
        for named in [true, false] {
            assert_eq!(Dialect::of(Compat::OpenAi, named), Dialect::OpenAi);
            assert_eq!(Dialect::of(Compat::Oobabooga, named), Dialect::Oobabooga);
        }
        assert_eq!(Dialect::of(Compat::Auto, true), Dialect::OpenAi);
        assert_eq!(Dialect::of(Compat::Auto, false), Dialect::Oobabooga);
    }
}
