//! The languages that Whisper's vocabularies have a token for, by code and by English name.
//! The door asks it what a request's `language` means, `tokens` which tokens to look for, and the API how one is called.
//! Invariant: the order is that of the tokens `<|en|>`, `<|zh|>`, ... in every multilingual vocabulary.

/// Code and English name, in the order of the vocabulary; the last one came with the third large model. Codes are of
/// ISO 639-1 where it has one, but Javanese is `jw`, as the tokens are written.
pub const LANGUAGES: [(&str, &str); 100] = [
    ("en", "english"),
    ("zh", "chinese"),
    ("de", "german"),
    ("es", "spanish"),
    ("ru", "russian"),
    ("ko", "korean"),
    ("fr", "french"),
    ("ja", "japanese"),
    ("pt", "portuguese"),
    ("tr", "turkish"),
    ("pl", "polish"),
    ("ca", "catalan"),
    ("nl", "dutch"),
    ("ar", "arabic"),
    ("sv", "swedish"),
    ("it", "italian"),
    ("id", "indonesian"),
    ("hi", "hindi"),
    ("fi", "finnish"),
    ("vi", "vietnamese"),
    ("he", "hebrew"),
    ("uk", "ukrainian"),
    ("el", "greek"),
    ("ms", "malay"),
    ("cs", "czech"),
    ("ro", "romanian"),
    ("da", "danish"),
    ("hu", "hungarian"),
    ("ta", "tamil"),
    ("no", "norwegian"),
    ("th", "thai"),
    ("ur", "urdu"),
    ("hr", "croatian"),
    ("bg", "bulgarian"),
    ("lt", "lithuanian"),
    ("la", "latin"),
    ("mi", "maori"),
    ("ml", "malayalam"),
    ("cy", "welsh"),
    ("sk", "slovak"),
    ("te", "telugu"),
    ("fa", "persian"),
    ("lv", "latvian"),
    ("bn", "bengali"),
    ("sr", "serbian"),
    ("az", "azerbaijani"),
    ("sl", "slovenian"),
    ("kn", "kannada"),
    ("et", "estonian"),
    ("mk", "macedonian"),
    ("br", "breton"),
    ("eu", "basque"),
    ("is", "icelandic"),
    ("hy", "armenian"),
    ("ne", "nepali"),
    ("mn", "mongolian"),
    ("bs", "bosnian"),
    ("kk", "kazakh"),
    ("sq", "albanian"),
    ("sw", "swahili"),
    ("gl", "galician"),
    ("mr", "marathi"),
    ("pa", "punjabi"),
    ("si", "sinhala"),
    ("km", "khmer"),
    ("sn", "shona"),
    ("yo", "yoruba"),
    ("so", "somali"),
    ("af", "afrikaans"),
    ("oc", "occitan"),
    ("ka", "georgian"),
    ("be", "belarusian"),
    ("tg", "tajik"),
    ("sd", "sindhi"),
    ("gu", "gujarati"),
    ("am", "amharic"),
    ("yi", "yiddish"),
    ("lo", "lao"),
    ("uz", "uzbek"),
    ("fo", "faroese"),
    ("ht", "haitian creole"),
    ("ps", "pashto"),
    ("tk", "turkmen"),
    ("nn", "nynorsk"),
    ("mt", "maltese"),
    ("sa", "sanskrit"),
    ("lb", "luxembourgish"),
    ("my", "myanmar"),
    ("bo", "tibetan"),
    ("tl", "tagalog"),
    ("mg", "malagasy"),
    ("as", "assamese"),
    ("tt", "tatar"),
    ("haw", "hawaiian"),
    ("ln", "lingala"),
    ("ha", "hausa"),
    ("ba", "bashkir"),
    ("jw", "javanese"),
    ("su", "sundanese"),
    ("yue", "cantonese"),
];

/// Other names, and other codes, of the languages above.
const ALIASES: [(&str, &str); 24] = [
    ("burmese", "my"),
    ("castilian", "es"),
    ("farsi", "fa"),
    ("flemish", "nl"),
    ("haitian", "ht"),
    ("letzeburgesch", "lb"),
    ("mandarin", "zh"),
    ("moldavian", "ro"),
    ("moldovan", "ro"),
    ("panjabi", "pa"),
    ("pushto", "ps"),
    ("sinhalese", "si"),
    ("valencian", "ca"),
    ("bokmål", "no"),
    ("norwegian bokmål", "no"),
    ("norwegian nynorsk", "nn"),
    ("filipino", "tl"),
    ("nb", "no"),
    ("fil", "tl"),
    ("iw", "he"),
    ("ji", "yi"),
    ("jv", "jw"),
    ("cmn", "zh"),
    ("mo", "ro"),
];

/// The code of a language given by code, English name or tag (`de`, `German`, `de-DE`, `de_DE`), in any case; none if
/// it is not one of Whisper's.
pub fn code_of(language: &str) -> Option<&'static str> {
    // A name is short; what is longer is none, and is not copied.
    let language = language.trim();
    if language.len() > 64 {
        return None;
    }
    let language = language.to_lowercase();
    let tag = language.split(['-', '_']).next().unwrap_or_default();
    exact(&language).or_else(|| (tag.len() <= 3).then(|| exact(tag)).flatten())
}

/// The English name of the language of a code, in small letters.
pub fn name_of(code: &str) -> Option<&'static str> {
    LANGUAGES.iter().find(|(known, _)| *known == code).map(|(_, name)| *name)
}

fn exact(language: &str) -> Option<&'static str> {
    let known = LANGUAGES.iter().find(|(code, name)| *code == language || *name == language);
    known.map(|(code, _)| *code).or_else(|| ALIASES.iter().find(|(alias, _)| *alias == language).map(|(_, code)| *code))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn codes_names_aliases_and_tags_mean_the_same() {
        for spelling in ["de", "DE", "german", "German", " german ", "de-DE", "de_AT", "de-Latn-DE"] {
            assert_eq!(code_of(spelling), Some("de"), "{spelling}");
        }
        for (alias, code) in
            [("Mandarin", "zh"), ("burmese", "my"), ("castilian", "es"), ("zh-Hant-TW", "zh"), ("jv", "jw")]
        {
            assert_eq!(code_of(alias), Some(code), "{alias}");
        }
        assert_eq!(code_of("haitian creole"), Some("ht"));
        assert_eq!(code_of("yue"), Some("yue"));
        for nonsense in ["", "-", "klingon", "d", "english-ish\u{0}", &"de".repeat(1000)] {
            assert_eq!(code_of(nonsense), None, "{nonsense}");
        }
        assert_eq!(name_of("haw"), Some("hawaiian"));
        assert_eq!(name_of("german"), None);
    }

    #[test]
    fn no_spelling_means_two_languages() {
        let mut spellings: Vec<&str> = LANGUAGES.iter().flat_map(|(code, name)| [*code, *name]).collect();
        spellings.extend(ALIASES.iter().map(|(alias, _)| *alias));
        let count = spellings.len();
        spellings.sort_unstable();
        spellings.dedup();
        assert_eq!(spellings.len(), count);
        for (code, name) in LANGUAGES {
            assert_eq!((code_of(name), name_of(code)), (Some(code), Some(name)));
        }
        assert!(ALIASES.iter().all(|(_, code)| name_of(code).is_some()));
    }
}
