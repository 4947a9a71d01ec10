//! Random models at the shapes of real ones, for measuring speed: the blocks themselves are drawn, nothing is rounded.
//! The benches' maker of models and the tests of the toys include it by `#[path]` beside the toys.
//! Invariant: the same shape and mix give the same file; weights lie around 0 with a standard deviation near 0.02.
//!
//! Block layouts: ggml's specification of its types (ggml/src/ggml-common.h and the dequantizers beside it).
#![allow(dead_code, clippy::unwrap_used)]

use engine::ops::ggml::GgmlType;
use half::{bf16, f16};
use serde_json::json;

use crate::toy::gguf::{GgufTensor, Mix, plain};
use crate::toy::{SplitMix64, Toy, fnv1a64_of};

/// The shape that the benches call `name`: `135m` is SmolLM's smallest, `1.2b` is Llama 3.2's smallest.
pub(crate) fn shape(name: &str) -> Option<Toy> {
    let (hidden, layers, heads, kv_heads, ffn, vocabulary, theta) = match name {
        "135m" => (576, 30, 9, 3, 1536, 49_152, 10_000.0),
        "1.2b" => (2048, 16, 32, 8, 8192, 128_256, 500_000.0),
        _ => return None,
    };
    let config = json!({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": hidden,
        "intermediate_size": ffn, "num_hidden_layers": layers, "num_attention_heads": heads,
        "num_key_value_heads": kv_heads, "head_dim": 64, "vocab_size": vocabulary, "max_position_embeddings": 8192,
        "rms_norm_eps": 1e-5, "rope_theta": theta, "rope_scaling": null, "tie_word_embeddings": true,
        "hidden_act": "silu", "bos_token_id": vocabulary - 8, "eos_token_id": vocabulary - 5,
        "torch_dtype": "bfloat16",
    });
    Some(Toy { name: format!("random-{name}"), config })
}

/// Writes `toy` as GGUF in `mix` with random weights. Takes about the file's size of memory.
pub(crate) fn write(toy: &Toy, mix: Mix, path: &std::path::Path) {
    toy.gguf(mix, &random).write(path);
}

/// An encoder that draws a tensor's blocks from a seed made of its name.
pub(crate) fn random(tensor: &GgufTensor, wanted: GgmlType) -> (GgmlType, Vec<u8>) {
    let blocks = tensor.source.elements() / wanted.block_len();
    let mut draw = SplitMix64::new(fnv1a64_of(tensor.name.as_bytes()));
    let mut out = Vec::with_capacity(blocks * wanted.block_bytes());
    let append: fn(&mut SplitMix64, &mut Vec<u8>) = match wanted {
        GgmlType::F16 => |draw, out| out.extend(f16::from_f32(small_float(draw)).to_le_bytes()),
        GgmlType::BF16 => |draw, out| out.extend(bf16::from_f32(small_float(draw)).to_le_bytes()),
        GgmlType::Q8_0 => |draw, out| signed_block(draw, out, 73.9, 32),
        GgmlType::Q5_0 => |draw, out| signed_block(draw, out, 9.2, 20),
        GgmlType::Q4_0 => |draw, out| signed_block(draw, out, 4.6, 16),
        GgmlType::Q4_K => q4_k_block,
        GgmlType::Q6_K => q6_k_block,
        _ => return plain(tensor, wanted),
    };
    (0..blocks).for_each(|_| append(&mut draw, &mut out));
    (wanted, out)
}

const DEVIATION: f32 = 0.02;

fn one(draw: &mut SplitMix64) -> u64 {
    draw.next().expect("the stream has no end")
}

/// A whole number of 8 bits times 2^-12.
fn small_float(draw: &mut SplitMix64) -> f32 {
    (((one(draw) >> 33) % 255) as f32 - 127.0) / 4096.0
}

fn random_bytes(draw: &mut SplitMix64, out: &mut Vec<u8>, count: usize) {
    let end = out.len() + count;
    while out.len() + 8 <= end {
        out.extend(one(draw).to_le_bytes());
    }
    let rest = end - out.len();
    out.extend(&one(draw).to_le_bytes()[..rest]);
}

/// A scale and `count` random bytes. The whole numbers deviate by `spread`; a random sign of the scale takes away
/// that they are centred half a step below 0.
fn signed_block(draw: &mut SplitMix64, out: &mut Vec<u8>, spread: f32, count: usize) {
    let sign = if one(draw) >> 63 == 0 { 1.0 } else { -1.0 };
    out.extend(f16::from_f32(sign * DEVIATION / spread).to_le_bytes());
    random_bytes(draw, out, count);
}

/// Weight = d sc q - dmin m with q in 0..16: with m = sc and dmin = 7.5 d it is centred.
fn q4_k_block(draw: &mut SplitMix64, out: &mut Vec<u8>) {
    let step = DEVIATION / 4.6 / 48.0;
    out.extend(f16::from_f32(step).to_le_bytes());
    out.extend(f16::from_f32(7.5 * step).to_le_bytes());
    // Eight scales of six bits from 32 to 63, packed twice, once as scales and once as minima.
    let scale = one(draw).to_le_bytes().map(|byte| 32 + byte % 32);
    let first: [u8; 4] = std::array::from_fn(|place| scale[place] | (scale[place + 4] >> 4) << 6);
    out.extend(first);
    out.extend(first);
    out.extend(scale[4..].iter().map(|scale| (scale & 15) | (scale & 15) << 4));
    random_bytes(draw, out, 128);
}

/// Weight = d sc (q - 32) with q in 0..64 and signed scales of 8 bits.
fn q6_k_block(draw: &mut SplitMix64, out: &mut Vec<u8>) {
    random_bytes(draw, out, 128 + 64);
    for byte in [one(draw), one(draw)].iter().flat_map(|word| word.to_le_bytes()) {
        let magnitude = (48 + byte % 32) as i8;
        out.push(if byte & 128 == 0 { magnitude } else { -magnitude } as u8);
    }
    out.extend(f16::from_f32(DEVIATION / 18.5 / 64.0).to_le_bytes());
}
