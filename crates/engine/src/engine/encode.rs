//! The door for encoders: vectors of texts, scores of pairs, classes.
//! The `api` crate calls it through [`Engine`].
//! Invariant: a request is checked whole before it queues, and every refusal names the field at fault.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::Engine;
use crate::catalog::{EncoderTraits, Loaded};
use crate::embedding::{Classification, Embedding, Encoding, Scoring};
use crate::error::{Error, ErrorKind, Result};
use crate::pipelines::encode::Purpose;
use crate::request::Prompt;
use crate::scheduler::encoding::{ANSWERS_MAX, EncodeSubmission, Encoded};
use crate::tokens::Framed;
use crate::vectors::{Classified, ClassifyRequest, EmbedRequest, Embedded, Label, ScoreRequest, Scored};

impl Engine {
    /// Checks and queues texts to be turned into vectors, which come in the order of the inputs. Tokenizing many takes
    /// milliseconds, so call it where that may block.
    ///
    /// # Errors
    /// `InvalidRequest` naming `model`, `input`, `dimensions`, `pooling` or `prompt_name`; `ContextLengthExceeded` naming
    /// `input`; `ModelNotFound`, `Overloaded`.
    pub fn embed(&self, request: EmbedRequest) -> Result<Embedding> {
        const WHAT: &str = "make embeddings";
        let loaded = self.catalog.get(&request.model)?;
        let (_, traits) = loaded.encoder(WHAT)?;
        if !loaded.info.capabilities.embeddings {
            return Err(loaded.cannot(WHAT));
        }
        let dimensions = request.dimensions.map(|wanted| dimensions(wanted as usize, traits)).transpose()?;
        let pooling = request.pooling.map_or(traits.pooling, Into::into);
        if traits.has_dense && pooling != traits.pooling {
            let message =
                "behind this model's pooling stands a layer that takes what it was trained with, and nothing else";
            return Err(Error::invalid("pooling", message));
        }
        // Another pooling than the model's may give vectors of another length.
        let is_own = request.pooling.is_none() || pooling == traits.pooling;
        if dimensions.is_some() && !is_own && traits.pooling.only().is_none() {
            return Err(Error::invalid("dimensions", "dimensions holds for the model's own pooling alone"));
        }
        let before = text_before(&request, traits)?;
        let tokens_max = loaded.info.input_tokens_max as usize;
        let mut texts = VecDeque::with_capacity(request.inputs.len());
        for (index, input) in request.inputs.iter().enumerate() {
            let framed = match input {
                Prompt::Text { text, .. } if before.is_empty() => framed(&loaded, text, None)?,
                Prompt::Text { text, .. } => framed(&loaded, &format!("{before}{text}"), None)?,
                Prompt::Tokens(tokens) => given(tokens, tokens_max, &loaded)?,
            };
            texts.push_back(checked(framed, index, request.truncate, tokens_max)?);
        }
        let purpose = Purpose::Vector { pooling, dimensions, normalize: traits.normalize || dimensions.is_some() };
        let shape = |Encoded { values: vector, tokens }| Embedded { vector, tokens };
        self.queue_texts(&loaded, texts, purpose, request.timeout, shape)
    }

    /// Checks and queues pairs to be scored by a cross-encoder; the scores come in the order of the pairs.
    ///
    /// # Errors
    /// As [`Engine::embed`].
    pub fn score(&self, request: ScoreRequest) -> Result<Scoring> {
        const WHAT: &str = "score pairs";
        let loaded = self.catalog.get(&request.model)?;
        loaded.encoder(WHAT)?;
        if !loaded.info.capabilities.rerank {
            return Err(loaded.cannot(WHAT));
        }
        let tokens_max = loaded.info.input_tokens_max as usize;
        let pairs = request.pairs.iter().enumerate().map(|(index, (first, second))| {
            checked(framed(&loaded, first, Some(second))?, index, request.truncate, tokens_max)
        });
        let texts = pairs.collect::<Result<VecDeque<_>>>()?;
        let shape = |Encoded { values, tokens }| Scored { score: values.first().copied().unwrap_or(f32::NAN), tokens };
        self.queue_texts(&loaded, texts, Purpose::Classes, request.timeout, shape)
    }

    /// Checks and queues texts to be put into classes, in their order.
    ///
    /// # Errors
    /// As [`Engine::embed`].
    pub fn classify(&self, request: ClassifyRequest) -> Result<Classification> {
        const WHAT: &str = "classify texts";
        let loaded = self.catalog.get(&request.model)?;
        let (_, traits) = loaded.encoder(WHAT)?;
        if !loaded.info.capabilities.classify {
            return Err(loaded.cannot(WHAT));
        }
        let tokens_max = loaded.info.input_tokens_max as usize;
        let inputs = request.inputs.iter().enumerate().map(|(index, (first, second))| {
            checked(framed(&loaded, first, second.as_deref())?, index, request.truncate, tokens_max)
        });
        let texts = inputs.collect::<Result<VecDeque<_>>>()?;
        let (names, exclusive) = (traits.labels.clone(), !traits.multi_label && traits.labels.len() > 1);
        let shape = move |Encoded { values, tokens }| {
            let probabilities = if exclusive { softmax(&values) } else { values.iter().map(|&x| sigmoid(x)).collect() };
            let labels = names.iter().zip(probabilities);
            let labels = labels.map(|(name, probability)| Label { name: name.clone(), probability }).collect();
            Classified { labels, tokens }
        };
        self.queue_texts(&loaded, texts, Purpose::Classes, request.timeout, shape)
    }

    fn queue_texts<T>(
        &self,
        loaded: &Loaded,
        texts: VecDeque<Framed>,
        purpose: Purpose,
        timeout: Option<Duration>,
        shape: impl Fn(Encoded) -> T + Send + Sync + 'static,
    ) -> Result<Encoding<T>> {
        let (queue, _) = loaded.encoder("encode texts")?;
        let (answers, receiver) = mpsc::channel(ANSWERS_MAX);
        let tokens = texts.iter().map(|text| text.tokens.len() as u64).sum();
        let encoding = Encoding::new(receiver, texts.len(), tokens, shape);
        let timeout = timeout.or(self.catalog.config().timeout);
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        queue.push(EncodeSubmission { texts, purpose, deadline, answers })?;
        Ok(encoding)
    }
}

/// A text or a pair with its special tokens.
fn framed(loaded: &Loaded, first: &str, second: Option<&str>) -> Result<Framed> {
    let framed = loaded.tokenizer.frame(first, second, loaded.info.input_tokens_max as usize);
    framed.map_err(|error| Error { param: Some("input"), ..error })
}

/// Ids as they are, all of the vocabulary.
fn given(tokens: &[u32], tokens_max: usize, loaded: &Loaded) -> Result<Framed> {
    let count = loaded.tokenizer.vocabulary_len();
    match tokens.iter().find(|&&id| id as usize >= count) {
        Some(id) => {
            Err(Error::invalid("input", format!("token {id} is not in the model's vocabulary of {count} tokens")))
        }
        None => Ok(Framed::given(tokens, tokens_max)),
    }
}

/// Refuses what is empty, and what was cut without having been told to.
fn checked(framed: Framed, index: usize, truncate: bool, tokens_max: usize) -> Result<Framed> {
    if framed.tokens.is_empty() {
        return Err(Error::invalid("input", format!("input {index} has no tokens")));
    }
    if framed.tokens_before > tokens_max && !truncate {
        let message = format!(
            "input {index} has {} tokens, but the model takes {tokens_max}; shorten it or let it be truncated",
            framed.tokens_before
        );
        return Err(Error { param: Some("input"), ..Error::new(ErrorKind::ContextLengthExceeded, message) });
    }
    Ok(framed)
}

/// The length that vectors are cut to.
fn dimensions(wanted: usize, traits: &EncoderTraits) -> Result<usize> {
    let full = traits.dimensions;
    let refused = |why: String| Err(Error::invalid("dimensions", why));
    if wanted == 0 || wanted > full {
        return refused(format!("dimensions is {wanted}, but the model's vectors have {full}"));
    }
    match &traits.dimensions_trained {
        _ if wanted == full => Ok(wanted),
        None => refused(format!("the model was not trained for vectors of fewer than its {full} dimensions")),
        Some(listed) if listed.is_empty() || listed.contains(&wanted) => Ok(wanted),
        Some(listed) => refused(format!("the model was trained for {listed:?} dimensions, not for {wanted}")),
    }
}

/// What goes before every text: what the request says, a prompt of the model by its name, or the model's default.
fn text_before(request: &EmbedRequest, traits: &EncoderTraits) -> Result<String> {
    let known = |name: &str| traits.prompts.iter().find(|(known, _)| known == name).map(|(_, text)| text.clone());
    let prompt = match (&request.prompt_name, &traits.default_prompt) {
        (Some(name), _) => known(name).ok_or_else(|| {
            let names: Vec<&str> = traits.prompts.iter().map(|(name, _)| name.as_str()).collect();
            let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            Error::invalid("prompt_name", format!("the model has no prompt {name:?}; there is {names}"))
        })?,
        (None, Some(name)) if request.instruction.is_none() => known(name).unwrap_or_default(),
        (None, _) => String::new(),
    };
    Ok(prompt + request.instruction.as_deref().unwrap_or_default())
}

fn sigmoid(x: f32) -> f32 {
    (1.0 / (1.0 + (-f64::from(x)).exp())) as f32
}

fn softmax(logits: &[f32]) -> Vec<f32> {
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let weights: Vec<f64> = logits.iter().map(|&logit| f64::from(logit - most).exp()).collect();
    let sum: f64 = weights.iter().sum();
    weights.into_iter().map(|weight| (weight / sum) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_are_those_of_the_logits() {
        let found = softmax(&[0.0, 2f32.ln(), -1e9]);
        assert!((found[0] - 1.0 / 3.0).abs() < 1e-6 && (found[1] - 2.0 / 3.0).abs() < 1e-6 && found[2] == 0.0);
        assert_eq!((sigmoid(0.0), sigmoid(1e9), sigmoid(-1e9)), (0.5, 1.0, 0.0));
    }
}
