//! Moderation: how much of each of OpenAI's categories a text has, by whatever kind of model there is to tell.
//! `routes/moderations` calls it with a lease on that model.
//! Invariant: there is a score from 0 to 1 for every text in every category, and nothing hides behind length: a text that is too
//! long for one look is judged piece by piece, and its worst piece counts.

mod guard;
mod labels;
mod prototypes;

use engine::Engine;

use crate::error::Result;
use crate::services::models::Lease;
use crate::services::renderer::Renderer;
use prototypes::Prototypes;

/// Judges texts.
#[derive(Default)]
pub struct Moderation {
    prototypes: Prototypes,
}

impl Moderation {
    /// The categories, in the order of the scores.
    pub fn names(&self) -> &[String] {
        self.prototypes.names()
    }

    /// For each text, its score from 0 to 1 in each category: from a guard's answer, a classifier's classes, or by nearness to
    /// what stands in `prototypes.yaml`. From `threshold` on a text is flagged.
    ///
    /// # Errors
    /// 400 if the model can tell nothing of these categories, or a text is too long for a guard.
    pub async fn scores(
        &self,
        engine: &Engine,
        renderer: &Renderer,
        lease: &Lease,
        texts: &[String],
        threshold: f32,
    ) -> Result<Vec<Vec<f32>>> {
        let can = lease.model().capabilities;
        if can.text_generation {
            return guard::scores(engine, renderer, lease.model(), texts, self.names(), threshold).await;
        }
        if can.classify {
            return labels::scores(engine, lease, texts, self.names()).await;
        }
        self.prototypes.scores(engine, lease, texts).await
    }
}

/// A text in pieces: sentences, and of long ones runs of words. A text without blanks is parted between characters.
fn pieces(text: &str, bytes_max: usize) -> impl Iterator<Item = &str> {
    let mut rest = text.trim();
    // An empty text is one piece, so that every text has a score.
    let mut is_first = true;
    std::iter::from_fn(move || {
        if rest.is_empty() && !is_first {
            return None;
        }
        is_first = false;
        let end = piece_end(rest, bytes_max);
        let (piece, more) = rest.split_at(end);
        rest = more.trim_start();
        Some(piece.trim_end())
    })
}

/// Where the first piece of `text` ends.
fn piece_end(text: &str, bytes_max: usize) -> usize {
    let sentence = text.match_indices(['.', '!', '?', '\n']).find(|(at, mark)| {
        let behind = *at + mark.len();
        text[behind..].chars().next().is_none_or(char::is_whitespace) || *mark == "\n"
    });
    let end = sentence.map_or(text.len(), |(at, mark)| at + mark.len());
    if end <= bytes_max {
        return end;
    }
    run_end(text, bytes_max)
}

/// A text in as few pieces as there may be, parted between words where there are any.
fn windows(text: &str, bytes_max: usize) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let (window, more) = rest?.split_at(run_end(rest?, bytes_max));
        rest = Some(more.trim_start()).filter(|more| !more.is_empty());
        Some(window)
    })
}

/// Where a run of whole words of `text` ends that has so many bytes at most.
fn run_end(text: &str, bytes_max: usize) -> usize {
    if text.len() <= bytes_max {
        return text.len();
    }
    // A character has four bytes at most.
    let mut most = bytes_max.max(4);
    while !text.is_char_boundary(most) {
        most -= 1;
    }
    text[..most].rfind(char::is_whitespace).filter(|at| *at > 0).unwrap_or(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_sentences_and_never_too_long() {
        let of = |text: &str| pieces(text, 240).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(of("One. Two?  Three\nFour 4.5 e.g.x"), ["One.", "Two?", "Three", "Four 4.5 e.g.x"]);
        assert_eq!(of(""), [""]);
        assert_eq!(of("  \n "), [""]);
        for long in ["word ".repeat(500), "ä".repeat(900), "x".repeat(1000)] {
            let parts = of(&long);
            assert!(parts.len() > 3 && parts.iter().all(|part| part.len() <= 240 && !part.is_empty()));
            let letters = |text: &str| text.chars().filter(|c| !c.is_whitespace()).count();
            assert_eq!(parts.iter().map(|part| letters(part)).sum::<usize>(), letters(&long));
        }
    }

    #[test]
    fn windows_are_as_few_as_may_be() {
        let of = |text: &str, bytes_max| windows(text, bytes_max).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(of("One. Two? Three", 15), ["One. Two? Three"]);
        assert_eq!(of("One. Two? Three", 10), ["One. Two?", "Three"]);
        assert_eq!((of("", 9), of("ääää", 3)), (vec![String::new()], vec!["ää".to_owned(), "ää".to_owned()]));
    }
}
