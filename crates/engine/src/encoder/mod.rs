//! The one encoder stack, for every family that an `EncoderConfig` describes: rows that see all rows of their text.
//! The pipeline of encoders runs it over texts put end to end; nothing is padded.
//! Invariant: everything but attention works row by row, and attention within one text, so a text's rows never depend on
//! its company.

pub mod config;
pub mod dense;
pub(crate) mod layers;
pub(crate) mod load;
pub mod pooling;
pub(crate) mod positions;

use std::sync::Arc;

use crate::config::Quantization;
use crate::decoder::linear::Linear;
use crate::decoder::tensors::{Tensors, Wanted};
use crate::error::{Error, Result};
use crate::ops::activation::{Activated, Activation};
use crate::ops::ggml::GgmlType;
use crate::ops::layer_norm::{LayerNorm, SumNormed};
use crate::ops::packed::Packed;
use crate::ops::pool::Pool;
use crate::ops::tensor::{Lent, values};
use crate::progress::Progress;
use crate::weights::Weights;
use config::{EncoderConfig, Positions};
use layers::Layers;
use load::Loader;
use positions::sinusoids;

/// Classes of a head at most; usual are one to some hundred.
const CLASSES_MAX: usize = 1 << 16;

/// One text's tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Text<'a> {
    /// Ids, the special ones included.
    pub tokens: &'a [u32],
    /// Where tokens of type 1 begin.
    pub second_at: usize,
}

/// Of a text's row to its classes.
struct Head {
    dense: Linear,
    activation: Activation,
    norm: Option<LayerNorm>,
    classes: Linear,
    count: usize,
}

/// An encoder's weights, ready to run.
pub struct Encoder {
    config: EncoderConfig,
    embedding: Arc<Packed>,
    positions: Option<Vec<f32>>,
    token_types: Option<Vec<f32>>,
    layers: Layers,
    head: Option<Head>,
    pool: Arc<Pool>,
    prevailing_type: GgmlType,
}

impl Encoder {
    /// Packs the weights that `config` names; those that are floats become `quantize`, if that says something.
    ///
    /// # Errors
    /// `ModelUnreadable` for a tensor that is missing or of another shape, `OutOfMemory`.
    pub fn load(
        config: EncoderConfig,
        weights: &dyn Weights,
        quantize: Option<Quantization>,
        pool: Arc<Pool>,
        progress: &dyn Progress,
    ) -> Result<Self> {
        let tensors = &Tensors::new(weights, quantize, &pool, progress);
        let loader = Loader::new(tensors, &config)?;
        progress.start("packing weights", tensors.bytes());
        let embedding_name = format!("{}.weight", loader.named(loader.names().embedding));
        let embedding = tensors.matrix(&Wanted::table(&embedding_name, config.vocabulary, config.hidden))?;
        let encoder = Self::with_embedding(&loader, embedding, pool.clone())?;
        progress.finish();
        Ok(encoder)
    }

    /// The rest of what `loader` is for, around an embedding that may serve others too.
    pub(crate) fn with_embedding(loader: &Loader<'_>, embedding: Arc<Packed>, pool: Arc<Pool>) -> Result<Self> {
        let (config, names) = (loader.config.clone(), loader.names());
        let positions = match &config.positions {
            Positions::Learned { rows, .. } => Some(loader.table(names.positions, *rows)?),
            &Positions::Sinusoidal { offset } => Some(sinusoids(offset..offset + config.tokens_max, config.hidden)),
            Positions::Rotary { .. } => None,
        };
        let token_types = match config.token_types {
            0 => None,
            rows => Some(loader.table(names.token_types, rows)?),
        };
        let layers = Layers::load(loader, pool.clone())?;
        let head = config.head.as_ref().map(|names| loader.head(names)).transpose()?.flatten();
        let prevailing_type = loader.tensors.prevailing_type();
        Ok(Self { embedding, positions, token_types, layers, head, pool, prevailing_type, config })
    }

    /// Bytes of packed weights and tables.
    pub fn bytes(&self) -> u64 {
        let head = self.head.iter().flat_map(|head| [&head.dense, &head.classes]);
        let tables = [&self.positions, &self.token_types].into_iter().flatten().map(|table| 4 * table.len() as u64);
        self.embedding.bytes() as u64 + self.layers.bytes() + head.map(Linear::bytes).sum::<u64>() + tables.sum::<u64>()
    }

    /// Bytes of the embedding alone.
    pub(crate) fn embedding_bytes(&self) -> u64 {
        self.embedding.bytes() as u64
    }

    /// Bytes that a row takes while a text is computed: what is there of it at once, in all forms.
    pub fn row_bytes(&self) -> usize {
        4 * (6 * self.config.hidden + 3 * self.config.feed_forward)
    }

    /// The type that most weights have, after quantizing.
    pub fn prevailing_type(&self) -> GgmlType {
        self.prevailing_type
    }

    /// The shape.
    pub fn config(&self) -> &EncoderConfig {
        &self.config
    }

    /// Classes of its head, if it has one.
    pub fn classes(&self) -> Option<usize> {
        self.head.as_ref().map(|head| head.count)
    }

    /// The last layer's rows of all texts, one text after the other, `[tokens, hidden]`.
    ///
    /// # Errors
    /// `InvalidRequest` for an id beyond the vocabulary or a text beyond the positions, `Internal` for a fault.
    pub fn forward(&self, texts: &[Text<'_>]) -> Result<Lent<'_>> {
        let lengths: Vec<usize> = texts.iter().map(|text| text.tokens.len()).collect();
        self.layers.forward(self.embed(texts)?, &lengths)
    }

    /// The sum of each token's own row, its place's and its type's.
    fn embed(&self, texts: &[Text<'_>]) -> Result<Lent<'_>> {
        let hidden = self.config.hidden;
        let offset = if let Positions::Learned { offset, .. } = self.config.positions { offset } else { 0 };
        let tokens = texts.iter().flat_map(|text| {
            text.tokens.iter().enumerate().map(|(at, &token)| (token, at, usize::from(at >= text.second_at)))
        });
        let rows = texts.iter().map(|text| text.tokens.len()).sum();
        let add = |row: &mut [f32], table: &Option<Vec<f32>>, index: usize| -> Result<()> {
            let Some(table) = table else { return Ok(()) };
            let found = table.get(index * hidden..(index + 1) * hidden);
            let found = found.ok_or_else(|| Error::invalid("input", "a text is longer than the model's positions"))?;
            row.iter_mut().zip(found).for_each(|(x, y)| *x += y);
            Ok(())
        };
        Lent::filled(rows, hidden, &self.pool, |x| {
            for ((token, at, kind), row) in tokens.zip(x.chunks_exact_mut(hidden)) {
                if token as usize >= self.config.vocabulary {
                    return Err(Error::invalid("input", format!("token {token} is not in the vocabulary")));
                }
                self.embedding.row(token as usize, row)?;
                if let Some(scale) = self.config.variants.embedding_scale {
                    row.iter_mut().for_each(|x| *x *= scale);
                }
                add(row, &self.positions, at + offset)?;
                add(row, &self.token_types, kind.min(self.config.token_types.saturating_sub(1)))?;
            }
            Ok(())
        })
    }

    /// Logits of the classes for rows `[texts, hidden]`, each a text's first row or its mean; `[texts, classes]`.
    ///
    /// # Errors
    /// `Internal` for a model without a head.
    pub fn classify(&self, rows: &[f32]) -> Result<Lent<'_>> {
        let (pool, columns) = (&*self.pool, self.config.hidden);
        let head = self.head.as_ref().ok_or_else(|| Error::internal("the model has no classification head"))?;
        let given = SumNormed::new(rows, None, None, columns, pool.tier())?;
        let [dense] = Linear::forward_together([&head.dense], &given, pool)?;
        let dense = values(&dense)?;
        let activated = Activated::new(head.activation, &dense, None, columns, pool.tier())?;
        let Some(norm) = &head.norm else {
            let [classes] = Linear::forward_together([&head.classes], &activated, pool)?;
            return Ok(classes);
        };
        let mut rows = vec![0.0; dense.len()];
        crate::ops::activation::activate(pool.tier(), head.activation, &dense, &mut rows);
        let normed = SumNormed::new(&rows, None, Some(norm), columns, pool.tier())?;
        let [classes] = Linear::forward_together([&head.classes], &normed, pool)?;
        Ok(classes)
    }
}
