//! Token counts in OpenAI's shape.
//! Chat and completions put it into answers and into the last chunk of a stream.
//! Invariant: `total_tokens` is the sum of the other two.

use serde::Serialize;

/// `usage` of a response: one prompt's tokens once, however many choices were drawn from it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Usage {
    prompt_tokens: u32,
    completion_tokens: u32,
    total_tokens: u32,
    prompt_tokens_details: PromptDetails,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
struct PromptDetails {
    cached_tokens: u32,
}

impl Usage {
    /// Adds one choice. `first` says that it is the first of its prompt, so that the prompt counts once.
    pub fn add(&mut self, usage: engine::Usage, first: bool) {
        if first {
            self.prompt_tokens = self.prompt_tokens.saturating_add(usage.prompt_tokens);
            let cached = &mut self.prompt_tokens_details.cached_tokens;
            *cached = cached.saturating_add(usage.cached_tokens);
        }
        self.completion_tokens = self.completion_tokens.saturating_add(usage.completion_tokens);
        self.total_tokens = self.prompt_tokens.saturating_add(self.completion_tokens);
    }
}

/// OpenAI's word for why a text ended.
pub fn finish_reason(reason: engine::FinishReason) -> &'static str {
    match reason {
        engine::FinishReason::Stop => "stop",
        engine::FinishReason::Length => "length",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_counts_once() {
        let one = engine::Usage { prompt_tokens: 10, cached_tokens: 8, completion_tokens: 3 };
        let mut usage = Usage::default();
        usage.add(one, true);
        usage.add(one, false);
        assert_eq!((usage.prompt_tokens, usage.completion_tokens, usage.total_tokens), (10, 6, 16));
        assert_eq!(usage.prompt_tokens_details.cached_tokens, 8);
    }
}
