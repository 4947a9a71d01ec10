//! A byte-level BPE vocabulary of any size from 384 up: 256 bytes, some merges of common English, filler, specials.
//! The toys' folders and GGUF files carry it, and so do the random models of the benches.
//! Invariant: ids of bytes and merges are the same at every size; the eight specials are the last ids.

use serde_json::{Value, json};

/// The special tokens, in the order of their ids.
const SPECIALS: [&str; 8] = [
    "<|begin_of_text|>",
    "<|end_of_text|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
    "<|pad|>",
];

/// Merges at most.
const MERGES: usize = 120;

/// Words whose left-to-right build-up gives the merges.
const WORDS: &str = " the and ing er tion to of in is it that for you on with as be at this have or are not an from by \
    was we can will all your has more hello world answer question what how name number";

/// A ChatML template, short enough to read.
pub(crate) const CHAT_TEMPLATE: &str = "{% for message in messages %}<|im_start|>{{ message.role }}\n\
    {{ message.content }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

/// Tokens and merges.
#[derive(Debug, Clone)]
pub(crate) struct Vocabulary {
    /// By id.
    pub(crate) tokens: Vec<String>,
    /// By rank.
    pub(crate) merges: Vec<(String, String)>,
}

impl Vocabulary {
    pub(crate) fn new(size: usize) -> Self {
        let mut tokens: Vec<String> = byte_letters().map(String::from).collect();
        let mut merges = Vec::new();
        for word in WORDS.split_whitespace().flat_map(|word| [format!("\u{120}{word}"), word.to_owned()]) {
            let mut letters = word.chars();
            let mut left: String = letters.next().into_iter().collect();
            for letter in letters {
                let joined = format!("{left}{letter}");
                if !tokens.contains(&joined) && merges.len() < MERGES {
                    merges.push((left.clone(), letter.to_string()));
                    tokens.push(joined.clone());
                }
                left = joined;
            }
        }
        let filler = size.checked_sub(tokens.len() + SPECIALS.len()).expect("the vocabulary is too small");
        tokens.extend((0..filler).map(|number| format!("t{number}")));
        tokens.extend(SPECIALS.map(String::from));
        Self { tokens, merges }
    }

    /// The id of a special token.
    pub(crate) fn special(&self, name: &str) -> usize {
        let place = SPECIALS.iter().position(|special| *special == name).expect("a special of that name");
        self.tokens.len() - SPECIALS.len() + place
    }

    /// Whether `id` is one of the specials.
    pub(crate) fn is_special(&self, id: usize) -> bool {
        id >= self.tokens.len() - SPECIALS.len()
    }

    /// tokenizer.json, cut as GPT-2 cuts; with `begin` the begin token goes before every text.
    pub(crate) fn tokenizer_json(&self, begin: bool) -> Value {
        let first_special = self.tokens.len() - SPECIALS.len();
        let vocab: serde_json::Map<String, Value> =
            self.tokens[..first_special].iter().enumerate().map(|(id, token)| (token.clone(), json!(id))).collect();
        let added: Vec<Value> = (first_special..self.tokens.len())
            .map(|id| {
                json!({"id": id, "content": self.tokens[id], "single_word": false, "lstrip": false, "rstrip": false,
                    "normalized": false, "special": true})
            })
            .collect();
        let byte_level =
            json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true});
        let post = if begin {
            let name = SPECIALS[0];
            json!({"type": "TemplateProcessing",
                "single": [{"SpecialToken": {"id": name, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
                "pair": [{"SpecialToken": {"id": name, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
                    {"Sequence": {"id": "B", "type_id": 0}}],
                "special_tokens": {name: {"id": name, "ids": [first_special], "tokens": [name]}}})
        } else {
            byte_level.clone()
        };
        json!({"version": "1.0", "truncation": null, "padding": null, "added_tokens": added, "normalizer": null,
            "pre_tokenizer": byte_level, "post_processor": post, "decoder": byte_level,
            "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
                "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
                "vocab": vocab, "merges": self.merges.iter().map(|(a, b)| format!("{a} {b}")).collect::<Vec<_>>()}})
    }
}

/// The letter that stands for each byte: printable ones for themselves, the others from U+0100 on (GPT-2's encoder).
fn byte_letters() -> impl Iterator<Item = char> {
    let printable = |byte: u32| matches!(byte, 33..=126 | 161..=172 | 174..=255);
    let mut next = 0x100;
    (0..256u32).map(move |byte| {
        let letter = if printable(byte) {
            byte
        } else {
            next += 1;
            next - 1
        };
        char::from_u32(letter).expect("a letter below the surrogates")
    })
}
