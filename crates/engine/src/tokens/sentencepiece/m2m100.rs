//! The tokens of M2M100 that no file lists: one for each language, and some that fill its matrices up.
//! `folder.rs` puts them behind those of vocab.json; whoever translates looks languages up by name.
//! *Invariant*: the order is the models', since it makes the ids.

/// The languages of M2M100, by the codes that its papers and files use; the token of each is its code in two pairs of
/// low lines, such as `__en__`. Fan et al., "Beyond English-Centric Multilingual Machine Translation", arXiv 2010.11125.
pub const M2M100_LANGUAGES: [&str; 100] = [
    "af", "am", "ar", "ast", "az", "ba", "be", "bg", "bn", "br", "bs", "ca", "ceb", "cs", "cy", "da", "de", "el", "en",
    "es", "et", "fa", "ff", "fi", "fr", "fy", "ga", "gd", "gl", "gu", "ha", "he", "hi", "hr", "ht", "hu", "hy", "id",
    "ig", "ilo", "is", "it", "ja", "jv", "ka", "kk", "km", "kn", "ko", "lb", "lg", "ln", "lo", "lt", "lv", "mg", "mk",
    "ml", "mn", "mr", "ms", "my", "ne", "nl", "no", "ns", "oc", "or", "pa", "pl", "ps", "pt", "ro", "ru", "sd", "si",
    "sk", "sl", "so", "sq", "sr", "ss", "su", "sv", "sw", "ta", "th", "tl", "tn", "tr", "uk", "ur", "uz", "vi", "wo",
    "xh", "yi", "yo", "zh", "zu",
];

/// How many words without a meaning there are behind the languages, unless `num_madeup_words` says otherwise.
pub(super) const FILLERS: u64 = 8;

/// The name of a language's token.
pub(super) fn language_token(code: &str) -> String {
    format!("__{code}__")
}

/// The name of a word without a meaning.
pub(super) fn filler(number: u64) -> String {
    format!("madeupword{number:04}")
}
