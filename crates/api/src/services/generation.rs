//! One or many generations as one stream: started together, told apart by index, cancelled together.
//! The turn of a chat and the completions route read from it.
//! Invariant: dropping the stream drops every generation, and with them their places in the engine.

use std::pin::Pin;

use engine::{Engine, Event, GenerateRequest, Generation};
use futures_util::stream::{SelectAll, Stream, StreamExt, select_all, unfold};

use crate::error::Result;

type Indexed = Pin<Box<dyn Stream<Item = (u32, Result<Event>)> + Send>>;

/// The events of several generations, as they come.
pub struct Events {
    streams: SelectAll<Indexed>,
    first: Option<(u32, Result<Event>)>,
}

impl Events {
    /// Queues all `requests`, whose positions become the indices. Tokenizes, so call it where blocking is allowed.
    /// Takes them one by one, so that a prompt which is too long is refused before it is copied for the next draw.
    pub fn start(engine: &Engine, requests: impl Iterator<Item = GenerateRequest>) -> Result<Self> {
        let mut streams = Vec::new();
        for (index, request) in requests.enumerate() {
            // A refusal drops those that were queued before it.
            streams.push(indexed(index as u32, engine.generate(request)?));
        }
        Ok(Self { streams: select_all(streams), first: None })
    }

    /// The next event and the index of its generation; none when all have ended. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<(u32, Result<Event>)> {
        match self.first.take() {
            Some(event) => Some(event),
            None => self.streams.next().await,
        }
    }

    /// Waits for the first event without taking it, for whoever must know whether the answer begins at all.
    ///
    /// # Errors
    /// The failure, if that comes first.
    pub async fn begun(&mut self) -> Result<()> {
        if self.first.is_none() {
            self.first = self.streams.next().await;
        }
        match &self.first {
            Some((_, Err(error))) => Err(error.clone()),
            _ => Ok(()),
        }
    }
}

fn indexed(index: u32, generation: Generation) -> Indexed {
    Box::pin(unfold(generation, move |mut generation| async move {
        let event = generation.next().await?;
        Some(((index, event.map_err(Into::into)), generation))
    }))
}

/// `count` times the same request, each with a seed of its own when a seed was asked for.
pub fn draws(request: GenerateRequest, count: u32) -> impl Iterator<Item = GenerateRequest> {
    (0..count).map(move |index| {
        let mut request = request.clone();
        request.sampling.seed = request.sampling.seed.map(|seed| seed.wrapping_add(index.into()));
        request
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::Prompt;

    #[test]
    fn draws_differ_by_seed_alone_and_only_if_one_was_asked_for() {
        let mut request = GenerateRequest::new("m", Prompt::Tokens(vec![1]));
        assert!(draws(request.clone(), 2).all(|draw| draw.sampling.seed.is_none()));
        request.sampling.seed = Some(u64::MAX);
        let seeds: Vec<_> = draws(request, 3).map(|draw| draw.sampling.seed).collect();
        assert_eq!(seeds, [Some(u64::MAX), Some(0), Some(1)]);
    }
}
