//! From a model's own description to the encoder's: one row per family, one reader per file format.
//! The catalog asks at load, before it asks for a decoder.
//! Invariant: no arithmetic on weights here; what a family cannot express on the stack is refused by name.

use serde_json::Value;

use super::config_json::{flag, number, optional_size, size};
use super::{encoder_names as names, gemma_embedding};
use crate::decoder::config::{RopeConfig, RopeScaling};
use crate::encoder::config::{EncoderConfig, EncoderNames, GroupedHeads, HeadNames, LocalLayers, Positions, Variants};
use crate::error::{Error, Result};
use crate::ops::activation::Activation;
use crate::vectors::Pooling;
use crate::weights::gguf::Metadata;

/// A family of encoders with the encoder that it asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct EncoderFamily {
    /// Its name, as the listings show it.
    pub name: &'static str,
    /// The encoder.
    pub config: EncoderConfig,
    /// Names of the classes, by place; empty where the description has none.
    pub labels: Vec<String>,
    /// Classes do not exclude each other.
    pub multi_label: bool,
    /// Lengths to which vectors may be cut: nothing, `Some([])` for any, or these.
    pub dimensions: Option<Vec<usize>>,
}

/// How a family knows places.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Learned positions from 0.
    Bert,
    /// Learned positions from the padding's id and one on.
    Roberta,
    /// The same, and numbers that are added to scores by distance.
    Mpnet,
    /// The same names of keys as DistilBERT's.
    Distil,
    Modern,
    Nomic,
    /// Gemma 3's layers, looking both ways.
    Gemma,
}

struct Row {
    name: &'static str,
    model_type: &'static str,
    kind: Kind,
    names: EncoderNames,
    head: HeadNames,
}

const FAMILIES: [Row; 9] = [
    Row { name: "bert", model_type: "bert", kind: Kind::Bert, names: names::BERT, head: names::BERT_HEAD },
    Row { name: "roberta", model_type: "roberta", kind: Kind::Roberta, names: names::BERT, head: names::ROBERTA_HEAD },
    Row {
        name: "xlm-roberta",
        model_type: "xlm-roberta",
        kind: Kind::Roberta,
        names: names::BERT,
        head: names::ROBERTA_HEAD,
    },
    Row {
        name: "camembert",
        model_type: "camembert",
        kind: Kind::Roberta,
        names: names::BERT,
        head: names::ROBERTA_HEAD,
    },
    Row { name: "mpnet", model_type: "mpnet", kind: Kind::Mpnet, names: names::MPNET, head: names::ROBERTA_HEAD },
    Row {
        name: "distilbert",
        model_type: "distilbert",
        kind: Kind::Distil,
        names: names::DISTILBERT,
        head: names::DISTILBERT_HEAD,
    },
    Row {
        name: "modernbert",
        model_type: "modernbert",
        kind: Kind::Modern,
        names: names::MODERNBERT,
        head: names::MODERNBERT_HEAD,
    },
    Row {
        name: "nomic-bert",
        model_type: "nomic_bert",
        kind: Kind::Nomic,
        names: names::NOMIC,
        head: names::BERT_HEAD,
    },
    Row {
        name: "embedding-gemma",
        model_type: "gemma3_text",
        kind: Kind::Gemma,
        names: names::GEMMA,
        head: names::BERT_HEAD,
    },
];

/// Names of all families, for messages.
pub(super) fn known() -> impl Iterator<Item = &'static str> {
    FAMILIES.iter().map(|row| row.name)
}

/// The family and encoder that a config.json describes; none if it describes no encoder.
///
/// # Errors
/// `ModelUnreadable` for a missing or impossible key, or a variant that the stack lacks.
pub fn encoder_from_config_json(config: &Value) -> Result<Option<EncoderFamily>> {
    let model_type = config.get("model_type").and_then(Value::as_str).unwrap_or_default();
    let Some(row) = FAMILIES.iter().find(|row| row.model_type == model_type) else { return Ok(None) };
    let encoder = match row.kind {
        Kind::Bert | Kind::Roberta | Kind::Mpnet => bert(config, row)?,
        Kind::Distil => distilbert(config, row)?,
        Kind::Modern => modernbert(config, row)?,
        Kind::Nomic => nomic(config, row)?,
        // With a direction it is a decoder.
        Kind::Gemma if !flag(config, "use_bidirectional_attention") => return Ok(None),
        Kind::Gemma => gemma_embedding::encoder(config)?,
    };
    let (labels, multi_label) = labels(config);
    let own = (row.kind == Kind::Gemma).then(|| gemma_embedding::DIMENSIONS.to_vec());
    let dimensions = dimensions(config).or(own);
    let config = checked(encoder)?;
    Ok(Some(EncoderFamily { name: row.name, config, labels, multi_label, dimensions }))
}

pub(super) fn activation(config: &Value, key: &str, default: Activation) -> Result<Activation> {
    match config.get(key).and_then(Value::as_str) {
        None => Ok(default),
        Some(name) => Activation::named(name)
            .ok_or_else(|| Error::unreadable(format!("config.json: the activation {name:?} is not supported"))),
    }
}

pub(super) fn refuse(condition: bool, what: &str) -> Result<()> {
    if condition { Err(Error::unreadable(format!("config.json: {what} is not supported"))) } else { Ok(()) }
}

fn bert(config: &Value, row: &Row) -> Result<EncoderConfig> {
    let positions = config.get("position_embedding_type").and_then(Value::as_str).unwrap_or("absolute");
    refuse(positions != "absolute", &format!("position_embedding_type {positions:?}"))?;
    refuse(flag(config, "is_decoder"), "a BERT that continues text (is_decoder)")?;
    let rows = optional_size(config, "max_position_embeddings")?.unwrap_or(512);
    let mpnet = row.kind == Kind::Mpnet;
    let offset = match row.kind {
        Kind::Roberta | Kind::Mpnet => optional_size(config, "pad_token_id")?.unwrap_or(1) + 1,
        _ => 0,
    };
    Ok(EncoderConfig {
        vocabulary: size(config, "vocab_size")?,
        hidden: size(config, "hidden_size")?,
        layers: size(config, "num_hidden_layers")?,
        heads: size(config, "num_attention_heads")?,
        feed_forward: size(config, "intermediate_size")?,
        norm_eps: number(config, "layer_norm_eps")?.unwrap_or(1e-12),
        norm_first: false,
        activation: activation(config, "hidden_act", Activation::Gelu)?,
        positions: Positions::Learned { offset, rows },
        token_types: if mpnet { 0 } else { optional_size(config, "type_vocab_size")?.unwrap_or(2) },
        distances: match mpnet {
            // The library has no key for the largest distance.
            true => Some((optional_size(config, "relative_attention_num_buckets")?.unwrap_or(32), 128)),
            false => None,
        },
        tokens_max: rows.saturating_sub(offset),
        names: row.names,
        head: Some(row.head),
        head_takes_mean: false,
        variants: Variants::default(),
    })
}

fn distilbert(config: &Value, row: &Row) -> Result<EncoderConfig> {
    let rows = optional_size(config, "max_position_embeddings")?.unwrap_or(512);
    Ok(EncoderConfig {
        vocabulary: size(config, "vocab_size")?,
        hidden: size(config, "dim")?,
        layers: size(config, "n_layers")?,
        heads: size(config, "n_heads")?,
        feed_forward: size(config, "hidden_dim")?,
        norm_eps: 1e-12,
        norm_first: false,
        activation: activation(config, "activation", Activation::Gelu)?,
        positions: Positions::Learned { offset: 0, rows },
        token_types: 0,
        distances: None,
        tokens_max: rows,
        names: row.names,
        head: Some(row.head),
        head_takes_mean: false,
        variants: Variants::default(),
    })
}

/// Which layers see their neighbours alone: as the config lists them, or as the family has it where it does not.
pub(super) fn local_layers(config: &Value, usual: impl Iterator<Item = bool>) -> Vec<bool> {
    match config.get("layer_types").and_then(Value::as_array) {
        Some(types) => types.iter().map(|kind| kind.as_str() == Some("sliding_attention")).collect(),
        None => usual.collect(),
    }
}

/// How layers of one kind rotate: by newer files' `rope_parameters`, by the older key, or with its default.
pub(super) fn rope_of_kind(config: &Value, dims: usize, kind: &str, older: (&str, f32)) -> Result<RopeConfig> {
    let newer = config.get("rope_parameters").and_then(|all| all.get(kind));
    let stretched = newer.and_then(|of_kind| of_kind.get("rope_type")).and_then(Value::as_str);
    refuse(stretched.is_some_and(|kind| kind != "default"), "rope_type")?;
    let newer = newer.map(|of_kind| number(of_kind, "rope_theta")).transpose()?.flatten();
    let (key, default) = older;
    let theta = newer.or(number(config, key)?).unwrap_or(default);
    Ok(RopeConfig { theta, dims, scaling: RopeScaling::None })
}

/// ModernBERT (Warner et al. 2024): rotary positions, two thirds of the layers with a window, gated feed-forward.
fn modernbert(config: &Value, row: &Row) -> Result<EncoderConfig> {
    let (hidden, layers, heads) =
        (size(config, "hidden_size")?, size(config, "num_hidden_layers")?, size(config, "num_attention_heads")?);
    let every = optional_size(config, "global_attn_every_n_layers")?.unwrap_or(3).max(1);
    let is_local = local_layers(config, (0..layers.min(4096)).map(|layer| !layer.is_multiple_of(every)));
    let head_dim = hidden / heads.max(1);
    let local = rope_of_kind(config, head_dim, "sliding_attention", ("local_rope_theta", 10_000.0))?;
    let reach = optional_size(config, "local_attention")?.unwrap_or(128) / 2;
    Ok(EncoderConfig {
        vocabulary: size(config, "vocab_size")?,
        hidden,
        layers,
        heads,
        feed_forward: size(config, "intermediate_size")?,
        norm_eps: number(config, "norm_eps")?.unwrap_or(1e-5),
        norm_first: true,
        activation: activation(config, "hidden_activation", Activation::Gelu)?,
        positions: Positions::Rotary {
            global: rope_of_kind(config, head_dim, "full_attention", ("global_rope_theta", 160_000.0))?,
            local: Some(LocalLayers { is_local, reach, rope: local }),
        },
        token_types: 0,
        distances: None,
        tokens_max: optional_size(config, "max_position_embeddings")?.unwrap_or(8192),
        names: row.names,
        head: Some(HeadNames {
            activation: activation(config, "classifier_activation", Activation::Gelu)?,
            ..row.head
        }),
        head_takes_mean: config.get("classifier_pooling").and_then(Value::as_str) == Some("mean"),
        variants: Variants::default(),
    })
}

/// Nomic's BERT (Nussbaum et al. 2024): rotary positions and a gated feed-forward. Its files keep GPT-2's names of keys;
/// later ones have BERT's.
fn nomic(config: &Value, row: &Row) -> Result<EncoderConfig> {
    let either = |old: &str, new: &str| match optional_size(config, old)? {
        Some(found) => Ok(found),
        None => size(config, new),
    };
    refuse(flag(config, "prenorm"), "prenorm")?;
    refuse(flag(config, "rotary_emb_interleaved"), "rotary_emb_interleaved")?;
    refuse(number(config, "rotary_emb_scale_base")?.is_some(), "rotary_emb_scale_base")?;
    let hidden = either("n_embd", "hidden_size")?;
    let heads = either("n_head", "num_attention_heads")?;
    let head_dim = hidden / heads.max(1);
    let activation = match config.get("activation_function").and_then(Value::as_str) {
        None | Some("swiglu") => Activation::Silu,
        Some("geglu") => Activation::Gelu,
        Some(other) => {
            return Err(Error::unreadable(format!("config.json: the activation {other:?} is not supported")));
        }
    };
    let fraction = number(config, "rotary_emb_fraction")?.unwrap_or(1.0);
    let newer = config.get("rope_parameters").map(|rope| number(rope, "rope_theta")).transpose()?.flatten();
    // Each of the two kinds of files has a default of its own.
    let default = if config.get("n_embd").is_some() { 10_000.0 } else { 1000.0 };
    let theta = number(config, "rotary_emb_base")?.or(newer).unwrap_or(default);
    let dims = (head_dim as f32 * fraction) as usize;
    let eps = number(config, "layer_norm_epsilon")?.or(number(config, "layer_norm_eps")?);
    Ok(EncoderConfig {
        vocabulary: size(config, "vocab_size")?,
        hidden,
        layers: either("n_layer", "num_hidden_layers")?,
        heads,
        feed_forward: match optional_size(config, "n_inner")? {
            Some(inner) => inner,
            None => optional_size(config, "intermediate_size")?.unwrap_or(4 * hidden),
        },
        norm_eps: eps.unwrap_or(1e-12),
        norm_first: false,
        activation,
        positions: Positions::Rotary { global: RopeConfig { theta, dims, scaling: RopeScaling::None }, local: None },
        token_types: optional_size(config, "type_vocab_size")?.unwrap_or(2),
        distances: None,
        tokens_max: either("n_positions", "max_position_embeddings")?,
        names: row.names,
        head: Some(row.head),
        head_takes_mean: false,
        variants: Variants::default(),
    })
}

/// Names of the classes by place, and whether several may hold at once.
fn labels(config: &Value) -> (Vec<String>, bool) {
    let multi_label = config.get("problem_type").and_then(Value::as_str) == Some("multi_label_classification");
    let Some(named) = config.get("id2label").and_then(Value::as_object) else { return (Vec::new(), multi_label) };
    let by_place = |place: usize| named.get(&place.to_string()).and_then(Value::as_str).map(str::to_owned);
    ((0..named.len()).map_while(by_place).collect(), multi_label)
}

/// What vLLM's users write into config.json of models whose vectors may be cut (Kusupati et al. 2022).
fn dimensions(config: &Value) -> Option<Vec<usize>> {
    match config.get("matryoshka_dimensions").and_then(Value::as_array) {
        Some(listed) => Some(listed.iter().filter_map(Value::as_u64).map(|dimensions| dimensions as usize).collect()),
        None => flag(config, "is_matryoshka").then(Vec::new),
    }
}

/// The family and encoder that a GGUF file describes; none if it describes no encoder. `vocabulary` is the number of
/// rows of its embedding.
///
/// # Errors
/// As [`encoder_from_config_json`].
pub fn encoder_from_gguf(metadata: &Metadata, vocabulary: usize) -> Result<Option<EncoderFamily>> {
    let architecture = metadata.required::<&str>("general.architecture")?;
    let (name, names) = match architecture {
        "bert" => ("bert", names::GGUF),
        "nomic-bert" => ("nomic-bert", names::GGUF_NOMIC),
        _ => return Ok(None),
    };
    let key = |name: &str| format!("{architecture}.{name}");
    let size = |name: &str| metadata.required::<usize>(&key(name));
    let (hidden, heads, tokens_max) =
        (size("embedding_length")?, size("attention.head_count")?, size("context_length")?);
    let nomic = name == "nomic-bert";
    let theta = metadata.optional::<f32>(&key("rope.freq_base"))?.unwrap_or(1000.0);
    let rope = RopeConfig { theta, dims: hidden / heads.max(1), scaling: RopeScaling::None };
    let config = checked(EncoderConfig {
        vocabulary,
        hidden,
        layers: size("block_count")?,
        heads,
        feed_forward: size("feed_forward_length")?,
        norm_eps: metadata.optional::<f32>(&key("attention.layer_norm_epsilon"))?.unwrap_or(1e-12),
        norm_first: false,
        activation: if nomic { Activation::Silu } else { Activation::Gelu },
        positions: if nomic {
            Positions::Rotary { global: rope, local: None }
        } else {
            Positions::Learned { offset: 0, rows: tokens_max }
        },
        token_types: metadata.optional::<usize>("tokenizer.ggml.token_type_count")?.unwrap_or(2),
        distances: None,
        tokens_max,
        names,
        head: Some(names::GGUF_HEAD),
        head_takes_mean: false,
        variants: Variants::default(),
    })?;
    let labels = metadata.optional::<&[String]>(&key("classifier.output_labels"))?.unwrap_or_default().to_vec();
    Ok(Some(EncoderFamily { name, config, labels, multi_label: false, dimensions: None }))
}

/// How a GGUF file of any architecture says that texts are pooled; none if it says nothing of the kind.
///
/// # Errors
/// `ModelUnreadable` for a mistyped key.
pub fn pooling_from_gguf(metadata: &Metadata) -> Result<Option<Pooling>> {
    let architecture = metadata.required::<&str>("general.architecture")?;
    Ok(match metadata.optional::<usize>(&format!("{architecture}.pooling_type"))? {
        Some(1) => Some(Pooling::Mean),
        Some(2) => Some(Pooling::Cls),
        Some(3) => Some(Pooling::Last),
        _ => None,
    })
}

/// Checks that an encoder can be built so at all, whatever file said it.
fn checked(config: EncoderConfig) -> Result<EncoderConfig> {
    let sizes = [
        ("vocabulary", config.vocabulary, 1 << 24),
        ("hidden size", config.hidden, 1 << 20),
        ("number of layers", config.layers, 4096),
        ("number of heads", config.heads, 4096),
        ("feed-forward size", config.feed_forward, 1 << 22),
        ("length of a text", config.tokens_max, 1 << 24),
    ];
    for (what, value, most) in sizes {
        if value == 0 || value > most {
            return Err(Error::unreadable(format!("the model's config claims a {what} of {value}")));
        }
    }
    if config.distances.is_some_and(|(buckets, _)| buckets > 1 << 16) {
        return Err(Error::unreadable("the model's config claims too many buckets of distances"));
    }
    if config.token_types > 1 << 16 {
        return Err(Error::unreadable(format!("the model's config claims {} token types", config.token_types)));
    }
    let GroupedHeads { kv_heads, head_dim, .. } = config.head_shape();
    let is_grouped = config.variants.grouped.is_some();
    if is_grouped && (kv_heads == 0 || !config.heads.is_multiple_of(kv_heads) || head_dim == 0 || head_dim > 4096) {
        let heads = config.heads;
        return Err(Error::unreadable(format!("{heads} heads of {head_dim} cannot share {kv_heads} of keys")));
    }
    if !is_grouped && !config.hidden.is_multiple_of(config.heads) {
        return Err(Error::unreadable(format!("{} columns cannot be {} heads", config.hidden, config.heads)));
    }
    if !(config.norm_eps > 0.0 && config.norm_eps < 1.0) {
        return Err(Error::unreadable("the model's config claims an impossible norm epsilon"));
    }
    if let Positions::Rotary { global, local } = &config.positions {
        for rope in std::iter::once(global).chain(local.as_ref().map(|local| &local.rope)) {
            if rope.dims == 0
                || !rope.dims.is_multiple_of(2)
                || rope.dims > head_dim
                || rope.theta.is_nan()
                || rope.theta <= 1.0
            {
                return Err(Error::unreadable(format!("rotary positions over {} of {head_dim} dimensions", rope.dims)));
            }
        }
    }
    Ok(config)
}
