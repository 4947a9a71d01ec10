//! Moderation by nearness: a text is compared with short texts of each category, and with harmless ones.
//! `routes/moderations` calls it with a lease on an embedding model.
//! Invariant: a long text is judged piece by piece, and its score is that of its worst piece, so nothing hides behind length.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use engine::{EmbedRequest, Embedded, Engine, Prompt};
use serde::Deserialize;

use crate::error::Result;
use crate::services::models::Lease;
use crate::services::vectors::{cosine, embed};

/// The texts to compare with, as they stand in the repository.
const PROTOTYPES: &str = include_str!("prototypes.yaml");
/// Bytes of a piece of a long text; a sentence or two, which is what the prototypes are.
const PIECE_BYTES_MAX: usize = 240;
/// Models whose vectors of the prototypes are remembered; then all are forgotten.
const MODELS_MAX: usize = 8;

/// The file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Texts {
    margin: f32,
    softness: f32,
    categories: BTreeMap<String, Vec<String>>,
    harmless: Vec<String>,
}

/// Their vectors by one model.
struct Prototypes {
    categories: Vec<Vec<Vec<f32>>>,
    harmless: Vec<Vec<f32>>,
}

/// A model's name and when it was loaded.
type Key = (String, u64);

/// Judges texts.
pub struct Moderation {
    texts: Texts,
    names: Vec<String>,
    of_models: Mutex<Vec<(Key, Arc<Prototypes>)>>,
}

impl Default for Moderation {
    fn default() -> Self {
        let texts: Texts = serde_yaml_ng::from_str(PROTOTYPES).unwrap_or_else(|error| {
            tracing::error!("prototypes.yaml: {error}");
            Texts { margin: 0.0, softness: 1.0, categories: BTreeMap::new(), harmless: Vec::new() }
        });
        let names = texts.categories.keys().cloned().collect();
        Self { texts, names, of_models: Mutex::default() }
    }
}

impl Moderation {
    /// The categories, in the order of the scores.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// For each text, its score from 0 to 1 in each category.
    ///
    /// # Errors
    /// 400 if the model makes no vectors.
    pub async fn scores(&self, engine: &Engine, lease: &Lease, texts: &[String]) -> Result<Vec<Vec<f32>>> {
        let prototypes = self.prototypes(engine, lease).await?;
        let pieces: Vec<(usize, String)> = texts
            .iter()
            .enumerate()
            .flat_map(|(i, text)| pieces(text).map(move |piece| (i, piece.to_owned())))
            .collect();
        let vectors = vectors(engine, lease, pieces.iter().map(|(_, piece)| piece.clone())).await?;
        let mut scores = vec![vec![0.0_f32; self.names.len()]; texts.len()];
        for ((i, _), embedded) in pieces.iter().zip(&vectors) {
            let of_piece = prototypes.scores(&embedded.vector, self.texts.margin, self.texts.softness);
            scores[*i].iter_mut().zip(of_piece).for_each(|(worst, score)| *worst = worst.max(score));
        }
        Ok(scores)
    }

    /// The prototypes' vectors by the model of `lease`, computed once while it is loaded.
    async fn prototypes(&self, engine: &Engine, lease: &Lease) -> Result<Arc<Prototypes>> {
        let key = (lease.model().name.clone(), lease.model().loaded_at_s);
        let lock = || self.of_models.lock().unwrap_or_else(PoisonError::into_inner);
        let known = lock().iter().find(|(own, _)| *own == key).map(|(_, prototypes)| Arc::clone(prototypes));
        if let Some(known) = known {
            return Ok(known);
        }
        let categories = self.texts.categories.values();
        let all = categories.clone().flatten().chain(&self.texts.harmless).cloned();
        let mut vectors = vectors(engine, lease, all).await?.into_iter().map(|embedded| embedded.vector);
        let categories = categories.map(|texts| vectors.by_ref().take(texts.len()).collect()).collect();
        let prototypes = Arc::new(Prototypes { categories, harmless: vectors.collect() });
        let mut of_models = lock();
        if of_models.len() >= MODELS_MAX {
            of_models.clear();
        }
        of_models.push((key, Arc::clone(&prototypes)));
        Ok(prototypes)
    }
}

impl Prototypes {
    /// The score of one vector in each category: the logistic of how much nearer it lies than to what is harmless.
    fn scores(&self, vector: &[f32], margin: f32, softness: f32) -> Vec<f32> {
        let nearest = |to: &Vec<Vec<f32>>| to.iter().map(|own| cosine(own, vector)).fold(-1.0, f32::max);
        let least = nearest(&self.harmless) + margin;
        let score = |category| 1.0 / (1.0 + ((least - nearest(category)) / softness).exp());
        self.categories.iter().map(score).collect()
    }
}

async fn vectors(engine: &Engine, lease: &Lease, texts: impl Iterator<Item = String>) -> Result<Vec<Embedded>> {
    let inputs = texts.map(|text| Prompt::Text { text, add_special: true }).collect();
    // A piece that is still too long for the model is one without any place to part it.
    let request = EmbedRequest { truncate: true, ..EmbedRequest::new("", inputs) };
    embed(engine, lease, request, |_| "input".to_owned()).await
}

/// A text in pieces: sentences, and of long ones runs of words. A text without blanks is parted between characters.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text.trim();
    // An empty text is one piece, so that every text has a score.
    let mut is_first = true;
    std::iter::from_fn(move || {
        if rest.is_empty() && !is_first {
            return None;
        }
        is_first = false;
        let end = piece_end(rest);
        let (piece, more) = rest.split_at(end);
        rest = more.trim_start();
        Some(piece.trim_end())
    })
}

/// Where the first piece of `text` ends.
fn piece_end(text: &str) -> usize {
    let sentence = text.match_indices(['.', '!', '?', '\n']).find(|(at, mark)| {
        let behind = *at + mark.len();
        text[behind..].chars().next().is_none_or(char::is_whitespace) || *mark == "\n"
    });
    let end = sentence.map_or(text.len(), |(at, mark)| at + mark.len());
    if end <= PIECE_BYTES_MAX {
        return end;
    }
    let mut most = PIECE_BYTES_MAX;
    while !text.is_char_boundary(most) {
        most -= 1;
    }
    text[..most].rfind(char::is_whitespace).filter(|at| *at > 0).unwrap_or(most)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_file_has_openais_categories() {
        let moderation = Moderation::default();
        assert_eq!(moderation.names().len(), 13);
        for name in
            ["sexual/minors", "hate/threatening", "self-harm/instructions", "violence/graphic", "illicit/violent"]
        {
            assert!(moderation.names().iter().any(|own| own == name), "{name}");
        }
        assert!(moderation.texts.categories.values().all(|texts| texts.len() >= 3) && moderation.texts.softness > 0.0);
    }

    #[test]
    fn the_nearer_the_higher() {
        let prototypes = Prototypes { categories: vec![vec![vec![1.0, 0.0]]], harmless: vec![vec![0.0, 1.0]] };
        let score = |vector: &[f32], margin| prototypes.scores(vector, margin, 0.1)[0];
        assert!(score(&[1.0, 0.0], 0.0) > 0.99 && score(&[0.0, 1.0], 0.0) < 0.01);
        assert!((score(&[1.0, 1.0], 0.0) - 0.5).abs() < 1e-5 && score(&[1.0, 1.0], 0.1) < 0.3);
    }

    #[test]
    fn pieces_are_sentences_and_never_too_long() {
        let of = |text: &str| pieces(text).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(of("One. Two?  Three\nFour 4.5 e.g.x"), ["One.", "Two?", "Three", "Four 4.5 e.g.x"]);
        assert_eq!(of(""), [""]);
        assert_eq!(of("  \n "), [""]);
        for long in ["word ".repeat(500), "ä".repeat(900), "x".repeat(1000)] {
            let parts = of(&long);
            assert!(parts.len() > 3 && parts.iter().all(|part| part.len() <= PIECE_BYTES_MAX && !part.is_empty()));
            let letters = |text: &str| text.chars().filter(|c| !c.is_whitespace()).count();
            assert_eq!(parts.iter().map(|part| letters(part)).sum::<usize>(), letters(&long));
        }
    }
}
