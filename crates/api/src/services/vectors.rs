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

/// The vectors of `request`'s inputs, by the model of `lease`; `place` says where in the body an input stood.
///
/// # Errors
/// 400 that names the input at fault, or that the model makes no vectors.
pub async fn embed(
    engine: &Engine,
    lease: &Lease,
    request: EmbedRequest,
    place: impl Fn(usize) -> String,
) -> Result<Vec<Embedded>> {
    let model = lease.model();
    if !model.capabilities.embeddings {
        return Err(unable(&model.name, "makes no vectors of texts", &model.capabilities.words()));
    }
    check_ids(&request.inputs, &model.name, model.vocabulary, &place)?;
    let request = EmbedRequest { model: model.name.clone(), ..request };
    let (engine, tokens_max) = (engine.clone(), model.input_tokens_max as usize);
    let taken = blocking(move || {
        Ok(engine.embed(request.clone()).map_err(|error| {
            let at = (error.kind == ErrorKind::ContextLengthExceeded).then(|| too_long(&engine, &request, tokens_max));
            (at.flatten(), ApiError::from(error))
        }))
    });
    let vectors = taken.await?.map_err(|(at, error)| match at {
        Some(at) => ApiError { param: Some(place(at)), ..error },
        None => error,
    })?;
    Ok(vectors.collect().await?)
}

/// How well each of `seconds` fits to its first text: the only one of `firsts`, or the one in the same place. `params` are
/// the fields of the body that held the two.
///
/// # Errors
/// 400 that names the model, if it can neither score pairs nor make vectors, or what is too long.
pub async fn relevance(
    engine: &Engine,
    lease: &Lease,
    firsts: Vec<String>,
    seconds: Vec<String>,
    truncate: bool,
    params: [&'static str; 2],
) -> Result<Relevance> {
    let first_of = |i: usize| if firsts.len() == 1 { 0 } else { i };
    if lease.model().capabilities.rerank {
        let pair = |(i, second): (usize, String)| (firsts[first_of(i)].clone(), second);
        let pairs = seconds.into_iter().enumerate().map(pair).collect();
        let request = ScoreRequest { model: lease.model().name.clone(), pairs, truncate, timeout: None };
        let engine = engine.clone();
        let taken = blocking(move || Ok(engine.score(request)?)).await;
        // A pair is too long as a whole; of the two, the second is what there are many of.
        let taken = taken.map_err(|error| match error.param.as_deref() {
            Some("input") => ApiError { param: Some(params[1].into()), ..error },
            _ => error,
        });
        let scores = taken?.collect().await?;
        let tokens = scores.iter().map(|scored| u64::from(scored.tokens)).sum();
        return Ok(Relevance { scores: scores.iter().map(|scored| sigmoid(scored.score)).collect(), tokens });
    }
    let count = firsts.len();
    let texts = firsts.iter().cloned().chain(seconds).map(|text| Prompt::Text { text, add_special: true }).collect();
    let request = EmbedRequest { truncate, ..EmbedRequest::new("", texts) };
    let vectors = embed(engine, lease, request, |at| place(&params, count, at)).await?;
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

/// Where the `at`-th of all texts stood, of which the first `count` were those of the first field.
fn place(params: &[&str; 2], count: usize, at: usize) -> String {
    match at.checked_sub(count) {
        Some(at) => format!("{}[{at}]", params[1]),
        None if count == 1 => params[0].to_owned(),
        None => format!("{}[{at}]", params[0]),
    }
}

/// The first input that is longer than the model takes. Only asked after a refusal.
fn too_long(engine: &Engine, request: &EmbedRequest, tokens_max: usize) -> Option<usize> {
    request.inputs.iter().position(|input| match input {
        Prompt::Text { text, .. } => {
            engine.tokenize(&request.model, text, true).is_ok_and(|tokens| tokens.len() > tokens_max)
        }
        Prompt::Tokens(tokens) => tokens.len() > tokens_max,
    })
}

fn unable(model: &str, what: &str, able: &str) -> ApiError {
    let message = format!("the model `{model}` {what}; it does: {able}");
    ApiError { param: Some("model".into()), ..ApiError::new(Kind::Engine(ErrorKind::InvalidRequest), message) }
}

/// Refuses ids that another tokenizer made: OpenAI's has a hundred thousand and more, and clients such as LangChain send them.
fn check_ids(inputs: &[Prompt], model: &str, vocabulary: u32, place: impl Fn(usize) -> String) -> Result<()> {
    for (i, input) in inputs.iter().enumerate() {
        let Prompt::Tokens(ids) = input else { continue };
        let Some((j, id)) = ids.iter().enumerate().find(|(_, id)| **id >= vocabulary) else { continue };
        let param = format!("{}[{j}]", place(i));
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
        let check = |inputs: &[Prompt]| check_ids(inputs, "m", 100, |at| format!("input[{at}]"));
        assert!(check(&[tokens(&[1, 99])]).is_ok());
        let error = check(&[tokens(&[1]), tokens(&[2, 3, 90_000])]).unwrap_err();
        assert_eq!(error.param.as_deref(), Some("input[1][2]"));
        assert!(error.message.contains("check_embedding_ctx_length=False"));
    }

    #[test]
    fn a_text_is_found_in_its_field() {
        let params = ["query", "documents"];
        assert_eq!((place(&params, 1, 0), place(&params, 1, 3)), ("query".to_owned(), "documents[2]".to_owned()));
        assert_eq!((place(&["a", "b"], 2, 1), place(&["a", "b"], 2, 2)), ("a[1]".to_owned(), "b[0]".to_owned()));
    }
}
