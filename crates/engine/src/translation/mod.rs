//! A translation on its way out: a text's passages, several of them translated side by side, joined in their order.
//! The door makes the handle; whoever asked reads it.
//! Invariant: what stands between the passages stays; dropping the handle cancels what is left.

pub mod passages;

use std::collections::VecDeque;
use std::time::Instant;

use tokio::sync::mpsc;

use crate::error::{Error, Result};
use crate::scheduler::parts::Ticket;
use crate::scheduler::translating::{Passage, Rendered, Search};
use crate::tokens::Tokenizer;

/// What a caller wants translated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TranslateRequest {
    /// The model's name.
    pub model: String,
    /// The text.
    pub text: String,
    /// The language that it is in, by a code (`en`, `eng_Latn`, `pt-BR`) or its English name.
    pub source: String,
    /// The language that it shall be in.
    pub target: String,
    /// Texts kept in view by the search; none is the model's own number.
    pub beam_size: Option<u32>,
    /// How long it may take; none is the engine's.
    pub timeout: Option<std::time::Duration>,
}

/// A translated text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Translated {
    /// The text.
    pub text: String,
    /// Tokens that were read.
    pub prompt_tokens: u32,
    /// Tokens that were written.
    pub completion_tokens: u32,
}

/// A piece of the text on its way.
#[derive(Debug)]
pub(crate) enum Piece {
    /// It stays as it is.
    Kept(String),
    /// It is translated; its tokens, as the encoder wants them.
    Passage(Vec<u32>),
}

/// A piece that is to come out next, or soon.
enum Coming {
    Kept(String),
    Passage(mpsc::Receiver<Result<Rendered>>),
}

/// What all passages of a translation share.
pub(crate) struct Shared {
    pub(crate) ticket: Ticket<Passage>,
    /// Passages that may be under way at once.
    pub(crate) together: usize,
    pub(crate) prompt: Vec<u32>,
    pub(crate) search: Search,
    pub(crate) deadline: Option<Instant>,
    pub(crate) tokenizer: Tokenizer,
}

/// A translation under way. Dropping it cancels it.
pub struct Translation {
    pieces: VecDeque<Piece>,
    coming: VecDeque<Coming>,
    /// How many of those that come are passages: what is kept between them takes no place in line.
    passages: usize,
    shared: Shared,
    done: Translated,
}

impl Translation {
    /// One of `pieces`. Nothing is computed before somebody asks for it.
    pub(crate) fn new(pieces: VecDeque<Piece>, shared: Shared) -> Self {
        Self { pieces, coming: VecDeque::new(), passages: 0, shared, done: Translated::default() }
    }

    /// The next piece of the text in its order; none behind the last. A future that is dropped loses nothing.
    ///
    /// # Errors
    /// `Timeout`, `Cancelled` when the model is unloaded, `Internal`. Nothing comes behind an error.
    pub async fn next(&mut self) -> Option<Result<String>> {
        if let Err(error) = self.send() {
            return Some(Err(self.end(error)));
        }
        let text = match self.coming.front_mut()? {
            Coming::Kept(text) => Ok(std::mem::take(text)),
            Coming::Passage(answer) => match answer.recv().await {
                Some(Ok(rendered)) => self.write(&rendered),
                Some(Err(error)) => Err(error),
                None => Err(Error::internal("the engine gave the translation up")),
            },
        };
        if let Some(Coming::Passage(_)) = self.coming.pop_front() {
            self.passages -= 1;
        }
        Some(text.map_err(|error| self.end(error)).inspect(|text| self.done.text.push_str(text)))
    }

    /// The whole text. A future that is dropped loses nothing; the next call goes on.
    ///
    /// # Errors
    /// As for [`Translation::next`].
    pub async fn finish(&mut self) -> Result<Translated> {
        while let Some(piece) = self.next().await {
            piece?;
        }
        Ok(self.done.clone())
    }

    /// Has passages translated side by side, as many as may be.
    fn send(&mut self) -> Result<()> {
        while self.passages < self.shared.together {
            let coming = match self.pieces.pop_front() {
                None => break,
                Some(Piece::Kept(text)) => Coming::Kept(text),
                Some(Piece::Passage(source)) => {
                    let (answer, receiver) = mpsc::channel(1);
                    let Shared { ticket, prompt, search, deadline, .. } = &self.shared;
                    let (prompt, search, deadline) = (prompt.clone(), *search, *deadline);
                    ticket.push(Passage { job: 0, source, prompt, search, deadline, answer })?;
                    self.passages += 1;
                    Coming::Passage(receiver)
                }
            };
            self.coming.push_back(coming);
        }
        Ok(())
    }

    fn write(&mut self, rendered: &Rendered) -> Result<String> {
        self.done.prompt_tokens += rendered.source_tokens as u32;
        self.done.completion_tokens += rendered.tokens.len() as u32;
        self.shared.tokenizer.decode(&rendered.tokens, true).map(|text| text.trim().to_owned())
    }

    fn end(&mut self, error: Error) -> Error {
        self.pieces.clear();
        self.coming.clear();
        error
    }
}
