//! What a loaded model can do, one pipeline per kind of work.
//! The scheduler runs them; it knows this trait and no tensors.
//! Invariant: a pipeline belongs to one thread, which owns the model and its cache.

pub mod cross;
pub mod embed;
pub mod encode;
pub mod speech;
pub mod text;
pub mod translation;

use crate::batch::{Batch, Logits};
use crate::error::Result;
use cross::CrossRoom;
use encode::EncodeJob;

/// A model that continues text.
pub trait TextModel: Send {
    /// Computes a step and gives the logits of its `logit_rows`.
    fn forward(&mut self, batch: &Batch) -> Result<Logits>;

    /// Takes logits that are no longer needed, so that their memory serves the next step.
    fn take_back(&mut self, _logits: Logits) {}

    /// Blocks of the cache behind it.
    fn blocks(&self) -> usize;
}

/// A model that makes vectors of texts, or classes.
pub trait TextEncoder: Send {
    /// Computes all of them in one go; as many answers as jobs, in their order. Those for [`encode::Purpose::Classes`]
    /// are logits.
    fn encode(&mut self, jobs: &[&EncodeJob]) -> Result<Vec<Vec<f32>>>;
}

/// Rows of one text within a step of a model that writes about a memory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TextRows {
    /// Its place among the texts.
    pub text: usize,
    /// The memory that it is about: a window of sound, a passage to translate.
    pub memory: usize,
    /// Position of the first token; those before it were computed.
    pub start: usize,
    /// The tokens.
    pub tokens: Vec<u32>,
    /// Which of them want logits, ascending.
    pub logits: Vec<usize>,
}

/// What one step of a model that writes about memories computes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CrossStep {
    /// Texts whose first tokens are copied from another before anything is computed: from, to, how many.
    pub copies: Vec<(usize, usize, usize)>,
    /// The rows; texts of one memory side by side.
    pub texts: Vec<TextRows>,
}

/// How much the tokens of a text attended to the rows of their window.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Heard {
    /// `[heads, tokens, rows]`.
    pub weights: Vec<f32>,
    /// Tokens.
    pub tokens: usize,
    /// Rows, those of sound alone.
    pub rows: usize,
}

/// A model that writes texts, each about one of the memories that its encoder made.
pub trait CrossModel: Send {
    /// Computes a step and gives the logits that it asks for.
    fn forward(&mut self, step: &CrossStep) -> Result<Logits>;

    /// Takes logits that are no longer needed, so that their memory serves the next step.
    fn take_back(&mut self, _logits: Logits) {}

    /// How much it holds at once.
    fn room(&self) -> CrossRoom;
}

/// A model that translates.
pub trait TranslationModel: CrossModel {
    /// Reads passages: the tokens of each go to the memory of the place beside them.
    fn encode(&mut self, passages: &[(&[u32], usize)]) -> Result<()>;
}

/// A model that writes down what it hears.
pub trait SpeechModel: CrossModel {
    /// Listens to a window: its log-mel spectrogram `[frames, bins]` goes to the memory of place `window`. With `keep`,
    /// `listen` can be asked afterwards.
    fn encode(&mut self, mel: &[f32], window: usize, keep: bool) -> Result<()>;

    /// How much each of `tokens`, a whole text from its beginning, attends to the first `rows` rows of a window, for the
    /// `heads`, each with its layer. Uses the place `text`, and the window's rows up.
    fn listen(
        &mut self,
        window: usize,
        text: usize,
        tokens: &[u32],
        heads: &[(usize, usize)],
        rows: usize,
    ) -> Result<Heard>;
}
