//! How each family of byte-level vocabularies cuts a text into words before pairs are joined, by the name that GGUF
//! files give it in `tokenizer.ggml.pre`. `vocabulary.rs` looks names up here.
//! The patterns are those of the families' own published tokenizer.json files, which is what the ids must agree with.
//! *Invariant*: a name that is not in the table is an error that lists the table, never a guess.

use tokenizers::PreTokenizerWrapper;
use tokenizers::SplitDelimiterBehavior::Isolated;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};

use crate::error::{Error, Result};

/// What a name in `tokenizer.ggml.pre` stands for.
#[derive(Debug)]
pub(super) struct Family {
    names: &'static [&'static str],
    /// Applied one after the other; each cuts what the one before left, matches and the text between them alike.
    patterns: &'static [&'static str],
    /// A word that is a token whole is that token, even where joining pairs would not arrive there.
    pub(super) ignore_merges: bool,
    /// Whether a text begins with the begin-of-text token when the file does not say.
    pub(super) add_bos: bool,
}

/// GPT-2.
const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

/// Llama 3 and others after cl100k: numbers in groups of three, any case of the English endings.
const LLAMA3: &str = concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|",
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
);

/// Qwen 2: as Llama 3, but each digit alone.
const QWEN2: &str = concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|",
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
);

/// Qwen 3.5: as Qwen 2, but combining marks belong to the letters.
const QWEN35: &str = concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}|",
    r" ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
);

/// GPT-4o (o200k) and Llama 4: words break where lower case turns to upper.
const GPT4O: &str = concat!(
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|",
    r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
);

/// Mistral's Tekken: as GPT-4o without the English endings, each digit alone.
const TEKKEN: &str = concat!(
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|",
    r"\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
);

/// DeepSeek LLM's letters: most of those that come in upper and lower case. By number, since an editor that puts
/// accents together would change the ranges.
const DEEPSEEK_LETTERS: &str = concat!(
    r"\s?[",
    r"\x{41}-\x{5A}\x{61}-\x{7A}\x{B5}\x{C0}-\x{D6}\x{D8}-\x{F6}\x{F8}-\x{1BA}\x{1BC}-\x{1BF}\x{1C4}-\x{293}",
    r"\x{295}-\x{2AF}\x{370}-\x{373}\x{376}\x{377}\x{37B}-\x{37D}\x{37F}\x{386}\x{388}-\x{38A}\x{38C}",
    r"\x{38E}-\x{3A1}\x{3A3}-\x{3F5}\x{3F7}-\x{481}\x{48A}-\x{52F}\x{531}-\x{556}\x{10A0}-\x{10C5}",
    r"\x{13A0}-\x{13F5}\x{13F8}-\x{13FD}\x{1C90}-\x{1CBA}\x{1CBD}-\x{1CBF}\x{1D00}-\x{1D2B}\x{1D6B}-\x{1D77}",
    r"\x{1D79}-\x{1D9A}\x{1E00}-\x{1F15}\x{1F18}-\x{1F1D}\x{1F20}-\x{1F45}\x{1F48}-\x{1F4D}\x{1F50}-\x{1F57}",
    r"\x{1F59}\x{1F5B}\x{1F5D}\x{1F5F}-\x{1F7D}\x{1F80}-\x{1FB4}\x{1FB6}-\x{1FBC}\x{1FBE}\x{1FC2}-\x{1FC4}",
    r"\x{1FC6}-\x{1FCC}\x{1FD0}-\x{1FD3}\x{1FD6}-\x{1FDB}\x{1FE0}-\x{1FEC}\x{1FF2}-\x{1FF4}\x{1FF6}-\x{1FFC}",
    r"\x{2102}\x{2107}\x{210A}-\x{2113}\x{2115}\x{2119}-\x{211D}\x{2124}\x{2126}\x{2128}\x{212A}-\x{212D}",
    r"\x{212F}-\x{2134}\x{2139}\x{213C}-\x{213F}\x{2145}-\x{2149}\x{214E}\x{2183}\x{2184}\x{2C00}-\x{2C7B}",
    r"\x{2C7E}-\x{2CE4}\x{2CEB}-\x{2CEE}\x{2CF2}\x{2CF3}\x{A640}-\x{A66D}\x{A680}-\x{A69B}\x{A722}-\x{A76F}",
    r"\x{A771}-\x{A787}\x{A78B}-\x{A78E}\x{AB70}-\x{ABBF}\x{FB00}-\x{FB06}\x{FB13}-\x{FB17}\x{FF21}-\x{FF3A}",
    r"\x{FF41}-\x{FF5A}\x{10400}-\x{1044F}\x{104B0}-\x{104D3}\x{104D8}-\x{104FB}\x{10C80}-\x{10CB2}",
    r"\x{10CC0}-\x{10CF2}\x{118A0}-\x{118DF}\x{1E900}-\x{1E943}",
    r"]+"
);

/// DeepSeek LLM's punctuation, in ASCII, at full width and of books.
const DEEPSEEK_PUNCTUATION: &str = r"\s?[!-/:-~\x{FF01}-\x{FF0F}\x{FF1A}-\x{FF5E}\x{2018}-\x{201F}\x{3000}-\x{3002}]+";

/// DeepSeek LLM's `\s+$`. That a match begins where the white space begins is said here in so many words, or looking for
/// one would take time by the square of a long run of it.
const DEEPSEEK_LAST_SPACE: &str = r"(?<!\s)\s+$";

/// DeepSeek's Chinese, Japanese and Korean, as its range has it.
const DEEPSEEK_CJK: &str = r"[\x{4E00}-\x{9FA5}\x{800}-\x{4E00}\x{AC00}-\x{D7FF}]+";

/// DeepSeek V3, third of three.
const DEEPSEEK3: &str = concat!(
    r"[!-/:-@\[-`{-~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+|",
    r" ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
);

/// Words between punctuation, of BLOOM and its heirs.
const BLOOM: &str = r" ?[^(\s|.,!?…。，、।۔،)]+";

/// Runs of punctuation, as Falcon cuts them out first.
const FALCON_PUNCTUATION: &str = r"[\p{P}\$\+<=>\^~\|`]+";

/// A family with neither of the two traits.
const fn plain(names: &'static [&'static str], patterns: &'static [&'static str]) -> Family {
    Family { names, patterns, ignore_merges: false, add_bos: false }
}

const FAMILIES: &[Family] = &[
    plain(
        &["gpt-2", "phi-2", "mpt", "olmo", "jais", "trillion", "granite-docling", "gigachat", "roberta-bpe"],
        &[GPT2],
    ),
    Family {
        names: &["llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2"],
        patterns: &[LLAMA3],
        ignore_merges: true,
        add_bos: true,
    },
    plain(&["dbrx", "smaug-bpe", "glm4", "chatglm-bpe"], &[LLAMA3]),
    plain(&["qwen2", "deepseek-r1-qwen", "stablelm2", "hunyuan", "megrez", "kormo", "grok-2"], &[QWEN2]),
    plain(&["qwen35"], &[QWEN35]),
    plain(&["gpt-4o", "llama4", "minimax-m2"], &[GPT4O]),
    Family { names: &["tekken"], patterns: &[TEKKEN], ignore_merges: true, add_bos: true },
    plain(
        &["deepseek-llm"],
        &[r"[\r\n]", DEEPSEEK_LETTERS, DEEPSEEK_PUNCTUATION, DEEPSEEK_LAST_SPACE, DEEPSEEK_CJK, r"\p{N}"],
    ),
    plain(&["deepseek-coder"], &[r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", DEEPSEEK_CJK, r"\p{N}"]),
    plain(
        &["deepseek-v3", "hunyuan-dense"],
        &[r"\p{N}{1,3}", r"[\x{4E00}-\x{9FA5}\x{3040}-\x{309F}\x{30A0}-\x{30FF}]+", DEEPSEEK3],
    ),
    plain(&["starcoder", "refact", "command-r", "smollm", "codeshell", "exaone", "minerva-7b"], &[r"\p{N}", GPT2]),
    plain(&["falcon"], &[FALCON_PUNCTUATION, GPT2, "[0-9][0-9][0-9]"]),
    plain(&["bloom", "poro-chat", "gpt3-finnish"], &[BLOOM]),
    plain(&["viking"], &[BLOOM, r"\p{N}"]),
    plain(&["default"], &[r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]"]),
];

/// The family that `name` stands for. A file without a name, from before there were names, gets `default`.
pub(super) fn family(name: Option<&str>) -> Result<&'static Family> {
    let name = name.filter(|name| !name.is_empty()).unwrap_or("default");
    if name == "default" {
        tracing::warn!("the model's file does not say how to cut text into words; its answers may suffer");
    }
    FAMILIES.iter().find(|family| family.names.contains(&name)).ok_or_else(|| {
        let known: Vec<&str> = FAMILIES.iter().flat_map(|family| family.names.iter().copied()).collect();
        Error::unreadable(format!("unknown pre-tokenizer `{name}`; known are {}", known.join(", ")))
    })
}

impl Family {
    /// The words of this family, each written in GPT-2's alphabet of bytes.
    pub(super) fn pre_tokenizer(&self, add_space_prefix: bool) -> Result<Sequence> {
        let mut steps = Vec::with_capacity(self.patterns.len() + 1);
        for pattern in self.patterns {
            let split = Split::new(SplitPattern::Regex((*pattern).to_owned()), Isolated, false)
                .map_err(|error| Error::internal(format!("pattern of pre-tokenizer {}: {error}", self.names[0])))?;
            steps.push(PreTokenizerWrapper::Split(split));
        }
        steps.push(PreTokenizerWrapper::ByteLevel(ByteLevel::new(add_space_prefix, true, false)));
        Ok(Sequence::new(steps))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use tokenizers::tokenizer::pre_tokenizer::PreTokenizedString;
    use tokenizers::{OffsetReferential, OffsetType, PreTokenizer};

    fn words(name: &str, text: &str) -> Vec<String> {
        let mut pretokenized = PreTokenizedString::from(text);
        family(Some(name)).unwrap().pre_tokenizer(false).unwrap().pre_tokenize(&mut pretokenized).unwrap();
        let splits = pretokenized.get_splits(OffsetReferential::Original, OffsetType::Byte);
        splits.into_iter().map(|(_, (begin, end), _)| text[begin..end].to_owned()).collect()
    }

    #[test]
    fn every_pattern_compiles_and_loses_nothing() {
        let text = "It's 12345 wörds,\n\n  ABCdef!?  日本語 текст  x2\t(ok)\r\n it'LL ";
        for family in FAMILIES {
            for name in family.names {
                assert_eq!(words(name, text).concat(), text, "{name}");
            }
        }
    }

    #[test]
    fn families_differ_where_they_should() {
        assert_eq!(words("gpt-2", "I'LL pay 1234"), ["I", "'", "LL", " pay", " 1234"]);
        assert_eq!(words("llama-bpe", "I'LL pay 1234"), ["I", "'LL", " pay", " ", "123", "4"]);
        assert_eq!(words("qwen2", "I'LL pay 12"), ["I", "'LL", " pay", " ", "1", "2"]);
        assert_eq!(words("starcoder", "pay 12"), ["pay", " ", "1", "2"]);
        assert_eq!(words("gpt-4o", "camelCase 1234"), ["camel", "Case", " ", "123", "4"]);
        assert_eq!(words("tekken", "camelCase 12"), ["camel", "Case", " ", "1", "2"]);
        assert_eq!(words("deepseek-v3", "a.b 1234"), ["a", ".b", " ", "123", "4"]);
        assert_eq!(words("falcon", "a-- 12345"), ["a", "--", " ", "123", "45"]);
    }

    #[test]
    fn an_unknown_name_is_an_error_that_lists_the_known() {
        let message = family(Some("klingon")).unwrap_err().message;
        assert!(message.contains("klingon") && message.contains("qwen2") && message.contains("tekken"), "{message}");
    }
}
