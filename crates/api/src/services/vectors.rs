//! Vectors of texts, how well texts fit together, and their classes: what every route that judges texts asks of a model.
//! Routes call it with a lease on the model.
//! Invariant: answers stand in the order of what was asked; a model is never asked for what it cannot do.

use engine::{Classified, ClassifyRequest, EmbedRequest, Embedded, Engine, ErrorKind, Prompt, ScoreRequest};

use crate::error::{ApiError, Kind, Result};
use crate::services::models::Lease;
use crate::services::turn::blocking;

/// How well texts fit together.
#[derive(Debug, Clone, PartialEq)]
pub struct Relevance {
    /// One for each pair: of a cross-encoder the probability that the pair fits, of vectors their cosine, from -1 to 1.
    pub scores: Vec<f32>,
    /// Tokens that were read for that.
    pub tokens: u64,
}

/// The vectors of `request`'s inputs, by the model of `lease`.
///
/// # Errors
/// 400 that names the input at fault, or that the model makes no vectors.
pub async fn embed(engine: &Engine, lease: &Lease, request: EmbedRequest) -> Result<Vec<Embedded>> {
    let model = lease.model();
    if !model.capabilities.embeddings {
        return Err(unable(&model.name, "makes no vectors of texts", &model.capabilities.words()));
    }
    check_ids(&request.inputs, &model.name, model.vocabulary)?;
    let request = EmbedRequest { model: model.name.clone(), ..request };
    let engine = engine.clone();
    let vectors = blocking(move || Ok(engine.embed(request)?)).await?;
    Ok(vectors.collect().await?)
}

/// How well each of `seconds` fits to its first text: the only one of `firsts`, or the one in the same place.
///
/// # Errors
/// 400 that names the model, if it can neither score pairs nor make vectors, or what is too long.
pub async fn relevance(
    engine: &Engine,
    lease: &Lease,
    firsts: Vec<String>,
    seconds: Vec<String>,
    truncate: bool,
) -> Result<Relevance> {
    let first_of = |i: usize| if firsts.len() == 1 { 0 } else { i };
    if lease.model().capabilities.rerank {
        let pair = |(i, second): (usize, String)| (firsts[first_of(i)].clone(), second);
        let pairs = seconds.into_iter().enumerate().map(pair).collect();
        let request = ScoreRequest { model: lease.model().name.clone(), pairs, truncate, timeout: None };
        let engine = engine.clone();
        let scores = blocking(move || Ok(engine.score(request)?)).await?.collect().await?;
        let tokens = scores.iter().map(|scored| u64::from(scored.tokens)).sum();
        return Ok(Relevance { scores: scores.iter().map(|scored| sigmoid(scored.score)).collect(), tokens });
    }
    let count = firsts.len();
    let texts = firsts.iter().cloned().chain(seconds).map(|text| Prompt::Text { text, add_special: true }).collect();
    let vectors = embed(engine, lease, EmbedRequest { truncate, ..EmbedRequest::new("", texts) }).await?;
    let tokens = vectors.iter().map(|embedded| u64::from(embedded.tokens)).sum();
    let (firsts_seen, seconds_seen) = vectors.split_at(count);
    let cosine_of = |(i, second): (usize, &Embedded)| cosine(&firsts_seen[first_of(i)].vector, &second.vector);
    Ok(Relevance { scores: seconds_seen.iter().enumerate().map(cosine_of).collect(), tokens })
}

/// The classes of texts.
///
/// # Errors
/// 400 that names the model, if it does not classify, or what is too long.
pub async fn classify(engine: &Engine, lease: &Lease, texts: Vec<String>, truncate: bool) -> Result<Vec<Classified>> {
    let model = lease.model();
    if !model.capabilities.classify {
        return Err(unable(&model.name, "does not classify", &model.capabilities.words()));
    }
    let inputs = texts.into_iter().map(|text| (text, None)).collect();
    let request = ClassifyRequest { model: model.name.clone(), inputs, truncate, timeout: None };
    let engine = engine.clone();
    let classes = blocking(move || Ok(engine.classify(request)?)).await?;
    Ok(classes.collect().await?)
}

fn unable(model: &str, what: &str, able: &str) -> ApiError {
    let message = format!("the model `{model}` {what}; it does: {able}");
    ApiError { param: Some("model".into()), ..ApiError::new(Kind::Engine(ErrorKind::InvalidRequest), message) }
}

/// Refuses ids that another tokenizer made: OpenAI's has a hundred thousand and more, and clients such as LangChain send them.
fn check_ids(inputs: &[Prompt], model: &str, vocabulary: u32) -> Result<()> {
    for (i, input) in inputs.iter().enumerate() {
        let Prompt::Tokens(ids) = input else { continue };
        let Some((j, id)) = ids.iter().enumerate().find(|(_, id)| **id >= vocabulary) else { continue };
        let param = if inputs.len() == 1 { format!("input[{j}]") } else { format!("input[{i}][{j}]") };
        let message = format!(
            "`{param}` is the token {id}, but `{model}` has {vocabulary} tokens of its own, and ids of another tokenizer mean \
             other words to it; send the text itself (in LangChain: check_embedding_ctx_length=False)"
        );
        return Err(ApiError::invalid(param, message));
    }
    Ok(())
}

fn sigmoid(logit: f32) -> f32 {
    1.0 / (1.0 + (-logit).exp())
}

/// The cosine of the angle between two vectors of one length; 0 where one of them is 0.
pub fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum::<f64>();
    let lengths = (dot(a, a) * dot(b, b)).sqrt();
    if lengths > 0.0 { (dot(a, b) / lengths) as f32 } else { 0.0 }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn cosines_know_no_lengths() {
        assert_eq!(cosine(&[3.0, 0.0], &[0.5, 0.0]), 1.0);
        assert_eq!(cosine(&[1.0, 0.0], &[0.0, 2.0]), 0.0);
        assert_eq!(cosine(&[0.0, 0.0], &[1.0, 2.0]), 0.0);
        assert!((sigmoid(0.0) - 0.5).abs() < 1e-6 && sigmoid(-200.0) == 0.0 && sigmoid(200.0) == 1.0);
    }

    #[test]
    fn foreign_ids_are_told_from_ours() {
        let tokens = |ids: &[u32]| Prompt::Tokens(ids.to_vec());
        assert!(check_ids(&[tokens(&[1, 99])], "m", 100).is_ok());
        let error = check_ids(&[tokens(&[1, 100])], "m", 100).unwrap_err();
        assert_eq!(error.param.as_deref(), Some("input[1]"));
        assert!(error.message.contains("check_embedding_ctx_length=False"));
        let error = check_ids(&[tokens(&[1]), tokens(&[2, 3, 90_000])], "m", 100).unwrap_err();
        assert_eq!(error.param.as_deref(), Some("input[1][2]"));
    }
}
