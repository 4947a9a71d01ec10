//! The languages that a model translates between: its own tokens for them, found by whatever a person calls a language.
//! Made at load from the tokenizer; the door asks for each request.
//! Invariant: a name means one token, or none.

use std::collections::BTreeMap;

use isolang::Language;

use crate::speech::languages;

/// The individual language that stands for a group of them, in NLLB's list, by the codes of ISO 639-3.
const FOR_GROUPS: [(&str, &str); 20] = [
    ("ara", "arb"),
    ("aym", "ayr"),
    ("aze", "azj"),
    ("din", "dik"),
    ("fas", "pes"),
    ("ful", "fuv"),
    ("kur", "kmr"),
    ("lav", "lvs"),
    ("mlg", "plt"),
    ("mon", "khk"),
    ("msa", "zsm"),
    ("nep", "npi"),
    ("nor", "nob"),
    ("ori", "ory"),
    ("orm", "gaz"),
    ("pus", "pbt"),
    ("que", "quy"),
    ("sqi", "als"),
    ("swa", "swh"),
    ("uzb", "uzn"),
];

/// Codes that others use, or once used, and that of the language which is taken where a model does not know the first.
const ALSO_CALLED: [(&str, &str); 9] = [
    ("nb", "no"),
    ("nn", "no"),
    ("fil", "tl"),
    ("iw", "he"),
    ("jw", "jv"),
    ("in", "id"),
    ("ji", "yi"),
    ("cmn", "zh"),
    ("nso", "ns"),
];

/// How it is said that Chinese is written in its traditional script, for which NLLB has a token of its own.
const TRADITIONAL: [&str; 4] = ["zh-tw", "zh-hk", "zh-mo", "zh-hant"];

/// A model's tokens of languages.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Languages {
    /// By code in lower case: `en` of M2M100's `__en__`, `eng_latn` of NLLB's `eng_Latn`.
    by_code: BTreeMap<String, (String, u32)>,
}

impl Languages {
    /// Those among a vocabulary's special tokens.
    pub fn new<'a>(specials: impl Iterator<Item = (&'a str, u32)>) -> Self {
        let named = specials.filter_map(|(name, id)| {
            let code = code_of(name)?;
            Some((code.to_ascii_lowercase(), (code.to_owned(), id)))
        });
        Self { by_code: named.collect() }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_code.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_code.is_empty()
    }

    /// Their codes, as the model has them.
    pub fn codes(&self) -> impl Iterator<Item = &str> {
        self.by_code.values().map(|(code, _)| code.as_str())
    }

    /// The code and the token of the language that a person calls `name`: the model's own code, one of ISO 639-1 or
    /// 639-3, with a region or not, or the English name.
    pub fn find(&self, name: &str) -> Option<(&str, u32)> {
        let name = name.trim().trim_matches('_').to_lowercase().replace('_', "-");
        let exact = self.get(&name.replace('-', "_"));
        if exact.is_some() {
            return exact;
        }
        if TRADITIONAL.iter().any(|traditional| name.starts_with(traditional))
            && let Some(found) = self.get("zho_hant")
        {
            return Some(found);
        }
        let base = if name.contains(' ') { &name } else { name.split('-').next()? };
        self.named(base).or_else(|| {
            let (_, other) = ALSO_CALLED.iter().find(|(called, _)| *called == base)?;
            self.named(other)
        })
    }

    /// The language of a code without a region, or of an English name.
    fn named(&self, name: &str) -> Option<(&str, u32)> {
        self.get(name).or_else(|| {
            let of_code = |code: &str| Language::from_639_1(code).or_else(|| Language::from_639_3(code));
            let language = of_code(name)
                .or_else(|| of_code(languages::code_of(name)?))
                .or_else(|| Language::from_name_lowercase(name))?;
            language.to_639_1().and_then(|code| self.get(code)).or_else(|| self.with_script(language.to_639_3()))
        })
    }

    fn get(&self, code: &str) -> Option<(&str, u32)> {
        self.by_code.get(code).map(|(code, id)| (code.as_str(), *id))
    }

    /// The first code that begins with this language's.
    fn with_script(&self, language: &str) -> Option<(&str, u32)> {
        let own = FOR_GROUPS.iter().find(|(group, _)| *group == language).map_or(language, |(_, own)| own);
        [own, language].into_iter().find_map(|code| {
            let prefix = format!("{code}_");
            let found = self.by_code.range(prefix.clone()..).next().filter(|(found, _)| found.starts_with(&prefix));
            found.map(|(_, (code, id))| (code.as_str(), *id)).or_else(|| self.get(code))
        })
    }
}

/// The code in the name of a token of a language: `__en__`, `eng_Latn`.
fn code_of(name: &str) -> Option<&str> {
    let is_code = |code: &str| (2..=3).contains(&code.len()) && code.bytes().all(|byte| byte.is_ascii_lowercase());
    if let Some(code) = name.strip_prefix("__").and_then(|name| name.strip_suffix("__")) {
        return is_code(code).then_some(code);
    }
    let (code, script) = name.split_once('_')?;
    let is_script = script.len() == 4 && script.bytes().all(|byte| byte.is_ascii_alphabetic());
    (is_code(code) && code.len() == 3 && is_script).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(names: &[&str]) -> Languages {
        Languages::new(names.iter().copied().zip(10..))
    }

    #[test]
    fn languages_are_found_by_codes_regions_and_names() {
        let m2m =
            of(&["<s>", "__en__", "__de__", "__zh__", "__no__", "__tl__", "__ceb__", "__ns__", "__el__", "__jv__"]);
        assert_eq!(m2m.codes().count(), 9);
        for (name, id) in [
            ("en", 11),
            ("EN-us", 11),
            ("English", 11),
            ("eng", 11),
            ("__en__", 11),
            ("german", 12),
            ("de_CH", 12),
            ("zh-TW", 13),
            ("chinese", 13),
            ("nb", 14),
            ("norwegian", 14),
            ("fil", 15),
            ("Cebuano", 16),
            ("nso", 17),
            ("greek", 18),
            ("jw", 19),
            ("javanese", 19),
        ] {
            assert_eq!(m2m.find(name).map(|(_, id)| id), Some(id), "{name}");
        }
        for name in ["", "fr", "klingon", "<s>", "e"] {
            assert_eq!(m2m.find(name), None, "{name}");
        }
        let nllb = of(&[
            "eng_Latn", "arb_Arab", "zho_Hans", "zho_Hant", "zsm_Latn", "nob_Latn", "pes_Arab", "swh_Latn", "kaz_Cyrl",
            "yue_Hant", "jav_Latn", "tgl_Latn",
        ]);
        for (name, code) in [
            ("en", "eng_Latn"),
            ("eng_latn", "eng_Latn"),
            ("arabic", "arb_Arab"),
            ("zh", "zho_Hans"),
            ("zh-Hant", "zho_Hant"),
            ("zh_TW", "zho_Hant"),
            ("Malay", "zsm_Latn"),
            ("no", "nob_Latn"),
            ("nb", "nob_Latn"),
            ("fa", "pes_Arab"),
            ("Swahili", "swh_Latn"),
            ("Kazakh", "kaz_Cyrl"),
            ("cantonese", "yue_Hant"),
            ("jw", "jav_Latn"),
            ("fil", "tgl_Latn"),
            ("cmn", "zho_Hans"),
        ] {
            assert_eq!(nllb.find(name).map(|(code, _)| code), Some(code), "{name}");
        }
        assert_eq!(nllb.find("de"), None);
    }
}
