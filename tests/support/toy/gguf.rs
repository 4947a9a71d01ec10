//! A toy as one GGUF file: metadata of its architecture, GGUF's tensor names, q and k in GGUF's order, tokenizer.
//! Tests of parity and serving, and the benches' maker of models, call [`Toy::gguf`] with an encoder of weights.
//! Invariant: llama.cpp loads every file that this writes and computes the same model.
//!
//! Sources: llama.cpp's converter (conversion/llama.py, qwen.py) for keys, order and `rope_freqs`; its quantizer
//! (src/llama-quant.cpp) for which tensors get which type.

use engine::ops::ggml::GgmlType;
use serde_json::Value;

use super::gguf_writer::{GgufWriter, Meta};
use super::vocabulary::{CHAT_TEMPLATE, Vocabulary};
use super::{Toy, ToyTensor};

/// Which types the weights get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mix {
    F32,
    F16,
    Bf16,
    Q8Zero,
    Q4Zero,
    Q4KM,
}

/// A tensor of the file.
#[derive(Debug, Clone)]
pub(crate) struct GgufTensor {
    pub(crate) name: String,
    pub(crate) source: ToyTensor,
    /// Heads whose rows are put into GGUF's order, for q and k of the llama architecture.
    permuted_heads: Option<usize>,
}

/// Makes a tensor's bytes in a type, or in another one that it names.
pub(crate) type Encoder<'a> = dyn Fn(&GgufTensor, GgmlType) -> (GgmlType, Vec<u8>) + 'a;

impl Mix {
    /// The mix that llama-quantize calls `name`.
    pub(crate) fn named(name: &str) -> Option<Self> {
        let mixes = [Self::F32, Self::F16, Self::Bf16, Self::Q8Zero, Self::Q4Zero, Self::Q4KM];
        mixes.into_iter().find(|mix| mix.name() == name)
    }

    /// llama-quantize's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::Bf16 => "BF16",
            Self::Q8Zero => "Q8_0",
            Self::Q4Zero => "Q4_0",
            Self::Q4KM => "Q4_K_M",
        }
    }

    /// `general.file_type`.
    fn file_type(self) -> u32 {
        match self {
            Self::F32 => 0,
            Self::F16 => 1,
            Self::Q4Zero => 2,
            Self::Q8Zero => 7,
            Self::Q4KM => 15,
            Self::Bf16 => 32,
        }
    }

    /// The type of a matrix. The head gets more bits, and so do `attn_v` and `ffn_down` in the first and the last
    /// eighth of the layers and in every third between; rows that no block of 256 divides get blocks of 32.
    pub(crate) fn matrix_type(self, toy: &Toy, tensor: &GgufTensor) -> GgmlType {
        let head = tensor.name == "output.weight" || (toy.tied() && tensor.name == "token_embd.weight");
        let favoured = tensor.name.ends_with("attn_v.weight") || tensor.name.ends_with("ffn_down.weight");
        let more_bits = tensor.layer().is_some_and(|layer| {
            let eighth = toy.layers() / 8;
            layer < eighth || layer >= 7 * toy.layers() / 8 || (layer - eighth) % 3 == 2
        });
        let wanted = match self {
            Self::F32 => GgmlType::F32,
            Self::F16 => GgmlType::F16,
            Self::Bf16 => GgmlType::BF16,
            Self::Q8Zero => GgmlType::Q8_0,
            Self::Q4Zero | Self::Q4KM if head => GgmlType::Q6_K,
            Self::Q4KM if favoured && more_bits => GgmlType::Q6_K,
            Self::Q4KM => GgmlType::Q4_K,
            Self::Q4Zero => GgmlType::Q4_0,
        };
        let whole_blocks = tensor.source.shape[1].is_multiple_of(wanted.block_len());
        match wanted {
            GgmlType::Q4_K if !whole_blocks => GgmlType::Q5_0,
            GgmlType::Q6_K if !whole_blocks => GgmlType::Q8_0,
            wanted => wanted,
        }
    }
}

impl Toy {
    /// `general.architecture`; Mistral is a llama there.
    pub(crate) fn architecture(&self) -> &str {
        match self.family() {
            "mistral" => "llama",
            family => family,
        }
    }

    /// The whole file, its weights made by `encode`.
    pub(crate) fn gguf(&self, mix: Mix, encode: &Encoder) -> GgufWriter {
        let mut file = self.tokenizer_metadata(self.metadata(mix));
        if let Some(factors) = self.rope_factors() {
            file = file.tensor_f32("rope_freqs.weight", &[factors.len()], &factors);
        }
        for tensor in self.gguf_tensors() {
            let matrix = tensor.source.shape.len() > 1;
            let (stored, bytes) =
                if matrix { encode(&tensor, mix.matrix_type(self, &tensor)) } else { plain(&tensor, GgmlType::F32) };
            let id = (0..64).find(|&id| GgmlType::from_id(id) == Some(stored)).unwrap();
            file = file.tensor(&tensor.name, id, &tensor.source.shape, bytes);
        }
        file
    }

    /// The file's tensors in their order, all but `rope_freqs`.
    pub(crate) fn gguf_tensors(&self) -> impl Iterator<Item = GgufTensor> + '_ {
        let (heads, kv_heads) = (self.size("num_attention_heads"), self.size("num_key_value_heads"));
        self.tensors().into_iter().map(move |source| {
            let permuted_heads = match source.name.split('.').nth(4) {
                Some("q_proj") if self.architecture() == "llama" => Some(heads),
                Some("k_proj") if self.architecture() == "llama" => Some(kv_heads),
                _ => None,
            };
            GgufTensor { name: gguf_name(&source.name), source, permuted_heads }
        })
    }

    fn metadata(&self, mix: Mix) -> GgufWriter {
        let architecture = self.architecture();
        let number = |key: &str| Meta::U32(self.size(key) as u32);
        let float = |value: &Value| Meta::F32(value.as_f64().unwrap() as f32);
        let scaling = &self.config["rope_scaling"];
        let mut keys = vec![
            ("block_count", number("num_hidden_layers")),
            ("context_length", number("max_position_embeddings")),
            ("embedding_length", number("hidden_size")),
            ("feed_forward_length", number("intermediate_size")),
            ("attention.head_count", number("num_attention_heads")),
            ("attention.head_count_kv", number("num_key_value_heads")),
            ("attention.layer_norm_rms_epsilon", float(&self.config["rms_norm_eps"])),
            ("rope.freq_base", float(&self.config["rope_theta"])),
        ];
        if self.number("head_dim").is_some() {
            keys.push(("attention.key_length", number("head_dim")));
            keys.push(("attention.value_length", number("head_dim")));
        }
        if architecture == "llama" {
            keys.push(("rope.dimension_count", Meta::U32(self.head_dim() as u32)));
            keys.push(("vocab_size", number("vocab_size")));
        }
        if scaling["type"] == "linear" {
            keys.push(("rope.scaling.type", Meta::text("linear")));
            keys.push(("rope.scaling.factor", float(&scaling["factor"])));
        }
        let file = GgufWriter::new()
            .meta("general.architecture", Meta::text(architecture))
            .meta("general.name", Meta::text(&self.name))
            .meta("general.file_type", Meta::U32(mix.file_type()))
            .meta("general.quantization_version", Meta::U32(2));
        keys.into_iter().fold(file, |file, (key, value)| file.meta(&format!("{architecture}.{key}"), value))
    }

    fn tokenizer_metadata(&self, file: GgufWriter) -> GgufWriter {
        let vocabulary = Vocabulary::new(self.size("vocab_size"));
        let kinds = (0..vocabulary.tokens.len()).map(|id| if vocabulary.is_special(id) { 3 } else { 1 }).collect();
        let merges = vocabulary.merges.iter().map(|(left, right)| format!("{left} {right}"));
        file.meta("tokenizer.ggml.model", Meta::text("gpt2"))
            .meta("tokenizer.ggml.pre", Meta::text("gpt-2"))
            .meta("tokenizer.ggml.tokens", Meta::texts(vocabulary.tokens.clone()))
            .meta("tokenizer.ggml.token_type", Meta::I32s(kinds))
            .meta("tokenizer.ggml.merges", Meta::texts(merges))
            .meta("tokenizer.ggml.bos_token_id", Meta::U32(self.size("bos_token_id") as u32))
            .meta("tokenizer.ggml.eos_token_id", Meta::U32(self.size("eos_token_id") as u32))
            .meta("tokenizer.ggml.padding_token_id", Meta::U32(vocabulary.special("<|pad|>") as u32))
            .meta("tokenizer.ggml.add_bos_token", Meta::Bool(self.has_begin()))
            .meta("tokenizer.chat_template", Meta::text(CHAT_TEMPLATE))
    }

    /// What llama3 scaling divides each frequency by; the file carries it as a tensor.
    fn rope_factors(&self) -> Option<Vec<f32>> {
        let scaling = &self.config["rope_scaling"];
        if scaling["rope_type"] != "llama3" {
            return None;
        }
        let number = |key: &str| scaling[key].as_f64().unwrap();
        let (factor, low, high) = (number("factor"), number("low_freq_factor"), number("high_freq_factor"));
        let (original, theta) =
            (number("original_max_position_embeddings"), self.config["rope_theta"].as_f64().unwrap());
        let pairs = self.head_dim() / 2;
        let factor_of = |pair: usize| {
            let wavelength = std::f64::consts::TAU * theta.powf(pair as f64 / pairs as f64);
            let turns = original / wavelength;
            let smooth = ((turns - low) / (high - low)).clamp(0.0, 1.0);
            (1.0 / ((1.0 - smooth) / factor + smooth)) as f32
        };
        Some((0..pairs).map(factor_of).collect())
    }
}

impl GgufTensor {
    fn layer(&self) -> Option<usize> {
        self.name.strip_prefix("blk.")?.split('.').next()?.parse().ok()
    }

    /// The weights in the file's order. GGUF's llama turns pairs of neighbouring rows, a model folder rows that are
    /// half a head apart: row (half, place) of a head becomes row (place, half).
    pub(crate) fn values(&self) -> Vec<f32> {
        let values = self.source.values();
        let Some(heads) = self.permuted_heads else { return values };
        let half = self.source.shape[0] / heads / 2;
        let width = values.len() / self.source.shape[0];
        let mut out = Vec::with_capacity(values.len());
        for head in 0..heads {
            for (place, side) in (0..half).flat_map(|place| [(place, 0), (place, 1)]) {
                let row = (head * 2 + side) * half + place;
                out.extend_from_slice(&values[row * width..(row + 1) * width]);
            }
        }
        out
    }
}

/// GGUF's name of a folder's tensor.
fn gguf_name(name: &str) -> String {
    let parts: Vec<&str> = name.split('.').collect();
    match parts[..] {
        ["model", "embed_tokens", kind] => format!("token_embd.{kind}"),
        ["model", "norm", kind] => format!("output_norm.{kind}"),
        ["lm_head", kind] => format!("output.{kind}"),
        ["model", "layers", layer, ref inner @ .., kind] => {
            let inner = match inner.last().copied().unwrap() {
                "input_layernorm" => "attn_norm",
                "post_attention_layernorm" => "ffn_norm",
                "q_proj" => "attn_q",
                "k_proj" => "attn_k",
                "v_proj" => "attn_v",
                "o_proj" => "attn_output",
                "q_norm" => "attn_q_norm",
                "k_norm" => "attn_k_norm",
                "gate_proj" => "ffn_gate",
                "up_proj" => "ffn_up",
                "down_proj" => "ffn_down",
                other => panic!("no GGUF name for {other}"),
            };
            format!("blk.{layer}.{inner}.{kind}")
        }
        _ => panic!("no GGUF name for {name}"),
    }
}

/// The encoder of types that need no search: floats, and Q8_0 (blocks of 32, scale = largest magnitude / 127).
pub(crate) fn plain(tensor: &GgufTensor, wanted: GgmlType) -> (GgmlType, Vec<u8>) {
    let values = tensor.values();
    let bytes = match wanted {
        GgmlType::F32 => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        GgmlType::F16 => values.iter().flat_map(|&value| half::f16::from_f32(value).to_le_bytes()).collect(),
        GgmlType::BF16 => values.iter().flat_map(|&value| half::bf16::from_f32(value).to_le_bytes()).collect(),
        GgmlType::Q8_0 => values.chunks(32).flat_map(q8_0_block).collect(),
        other => panic!("{}: {other:?} needs an encoder that searches", tensor.name),
    };
    (wanted, bytes)
}

fn q8_0_block(values: &[f32]) -> Vec<u8> {
    let scale = values.iter().fold(0f32, |largest, value| largest.max(value.abs())) / 127.0;
    let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
    let whole = values.iter().map(|value| (value * inverse).round() as i8 as u8);
    half::f16::from_f32(scale).to_le_bytes().into_iter().chain(whole).collect()
}
