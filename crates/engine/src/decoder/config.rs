//! Every knob that a family may turn on the one decoder stack, and the names its tensors have in a file.
//! Families fill it in; the stack reads it.
//! Invariant: plain numbers and names; a family that needs two new branches in the stack gets its own stack.

/// Shape and variants of a decoder.
#[derive(Debug, Clone, PartialEq)]
pub struct DecoderConfig {
    /// Tokens in the vocabulary; width of the logits.
    pub vocabulary: usize,
    /// Width of the residual stream.
    pub hidden: usize,
    /// Layers.
    pub layers: usize,
    /// Query heads.
    pub heads: usize,
    /// Heads of keys and values.
    pub kv_heads: usize,
    /// Numbers per head.
    pub head_dim: usize,
    /// Width of the gated feed-forward.
    pub feed_forward: usize,
    /// Added to the mean square in norms.
    pub norm_eps: f32,
    /// Rotary positions.
    pub rope: RopeConfig,
    /// Positions that a row sees, for layers from `window_from_layer` on; none sees all.
    pub window: Option<usize>,
    /// The first layer with the window.
    pub window_from_layer: usize,
    /// Tokens of context that the model was made for.
    pub context_tokens: usize,
    /// Where the vocabulary head's weights are.
    pub head: HeadWeights,
    /// Where its tensors are.
    pub names: TensorNames,
}

/// Where the vocabulary head's weights are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadWeights {
    /// In a tensor of its own.
    Own,
    /// It shares the embedding's.
    Embedding,
    /// In a tensor of its own if the file has one, else the embedding's.
    OwnIfThere,
}

/// Rotary positions.
#[derive(Debug, Clone, PartialEq)]
pub struct RopeConfig {
    /// Base of the frequencies.
    pub theta: f32,
    /// Dimensions of a head that are rotated.
    pub dims: usize,
    /// How frequencies are stretched for long contexts.
    pub scaling: RopeScaling,
}

/// How rotary frequencies are stretched.
#[derive(Debug, Clone, PartialEq)]
pub enum RopeScaling {
    /// Not at all.
    None,
    /// All divided by one factor.
    Linear {
        /// The factor.
        factor: f32,
    },
    /// Llama 3.1's: low frequencies divided by a factor, high ones kept, a smooth passage between.
    Llama3 {
        /// Divides the low frequencies.
        factor: f32,
        /// Wavelengths above `original_context / low_frequency_factor` are low frequencies.
        low_frequency_factor: f32,
        /// Wavelengths below `original_context / high_frequency_factor` are high frequencies.
        high_frequency_factor: f32,
        /// Context before stretching.
        original_context: f32,
    },
}

/// Names of a decoder's tensors. Within a layer, `layer_prefix` with `{}` replaced by the layer's index precedes
/// each; `.weight` and, where a bias is there, `.bias` follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct TensorNames {
    pub embedding: &'static str,
    pub final_norm: &'static str,
    pub head: &'static str,
    pub layer_prefix: &'static str,
    pub attention_norm: &'static str,
    pub query: &'static str,
    pub key: &'static str,
    pub value: &'static str,
    pub attention_output: &'static str,
    /// Present only where queries and keys are normed per head.
    pub query_norm: &'static str,
    pub key_norm: &'static str,
    pub feed_forward_norm: &'static str,
    pub gate: &'static str,
    pub up: &'static str,
    pub down: &'static str,
    /// A tensor of divisors for the rotary frequencies, if the file has one.
    pub rope_factors: Option<&'static str>,
    /// Rows of query and key come in pairs of neighbours and must be sorted into halves.
    pub rope_neighbours: bool,
}

impl TensorNames {
    /// The full name of `part` in `layer`.
    pub fn in_layer(&self, layer: usize, part: &str) -> String {
        format!("{}{part}", self.layer_prefix.replace("{}", &layer.to_string()))
    }
}
