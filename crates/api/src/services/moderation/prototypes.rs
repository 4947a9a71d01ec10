//! Moderation by nearness: a text is compared with short texts of each category, and with harmless ones.
//! `moderation` asks it where the model is one that makes vectors.
//! Invariant: a long text is judged piece by piece, and its score is that of its worst piece, so nothing hides behind length.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use engine::{EmbedRequest, Embedded, Engine, Prompt};
use serde::Deserialize;

use super::pieces;
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
struct Vectors {
    categories: Vec<Vec<Vec<f32>>>,
    harmless: Vec<Vec<f32>>,
}

/// A model's name and when it was loaded.
type Key = (String, u64);

/// Judges texts by what they are near to.
pub(super) struct Prototypes {
    texts: Texts,
    names: Vec<String>,
    of_models: Mutex<Vec<(Key, Arc<Vectors>)>>,
}

impl Default for Prototypes {
    fn default() -> Self {
        let texts: Texts = serde_yaml_ng::from_str(PROTOTYPES).unwrap_or_else(|error| {
            tracing::error!("prototypes.yaml: {error}");
            Texts { margin: 0.0, softness: 1.0, categories: BTreeMap::new(), harmless: Vec::new() }
        });
        let names = texts.categories.keys().cloned().collect();
        Self { texts, names, of_models: Mutex::default() }
    }
}

impl Prototypes {
    /// The categories, in the order of the scores.
    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    /// For each text, its score from 0 to 1 in each category.
    ///
    /// # Errors
    /// 400 if the model makes no vectors.
    pub(super) async fn scores(&self, engine: &Engine, lease: &Lease, texts: &[String]) -> Result<Vec<Vec<f32>>> {
        let own = self.vectors(engine, lease).await?;
        let pieces: Vec<(usize, String)> = texts
            .iter()
            .enumerate()
            .flat_map(|(i, text)| pieces(text, PIECE_BYTES_MAX).map(move |piece| (i, piece.to_owned())))
            .collect();
        let vectors = vectors(engine, lease, pieces.iter().map(|(_, piece)| piece.clone())).await?;
        let mut scores = vec![vec![0.0_f32; self.names.len()]; texts.len()];
        for ((i, _), embedded) in pieces.iter().zip(&vectors) {
            let of_piece = own.scores(&embedded.vector, self.texts.margin, self.texts.softness);
            scores[*i].iter_mut().zip(of_piece).for_each(|(worst, score)| *worst = worst.max(score));
        }
        Ok(scores)
    }

    /// The prototypes' vectors by the model of `lease`, computed once while it is loaded.
    async fn vectors(&self, engine: &Engine, lease: &Lease) -> Result<Arc<Vectors>> {
        let key = (lease.model().name.clone(), lease.model().loaded_at_s);
        let lock = || self.of_models.lock().unwrap_or_else(PoisonError::into_inner);
        let known = lock().iter().find(|(own, _)| *own == key).map(|(_, vectors)| Arc::clone(vectors));
        if let Some(known) = known {
            return Ok(known);
        }
        let categories = self.texts.categories.values();
        let all = categories.clone().flatten().chain(&self.texts.harmless).cloned();
        let mut vectors = vectors(engine, lease, all).await?.into_iter().map(|embedded| embedded.vector);
        let categories = categories.map(|texts| vectors.by_ref().take(texts.len()).collect()).collect();
        let found = Arc::new(Vectors { categories, harmless: vectors.collect() });
        let mut of_models = lock();
        if of_models.len() >= MODELS_MAX {
            of_models.clear();
        }
        of_models.push((key, Arc::clone(&found)));
        Ok(found)
    }
}

impl Vectors {
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_file_has_openais_categories() {
        let moderation = Prototypes::default();
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
        let prototypes = Vectors { categories: vec![vec![vec![1.0, 0.0]]], harmless: vec![vec![0.0, 1.0]] };
        let score = |vector: &[f32], margin| prototypes.scores(vector, margin, 0.1)[0];
        assert!(score(&[1.0, 0.0], 0.0) > 0.99 && score(&[0.0, 1.0], 0.0) < 0.01);
        assert!((score(&[1.0, 1.0], 0.0) - 0.5).abs() < 1e-5 && score(&[1.0, 1.0], 0.1) < 0.3);
    }
}
