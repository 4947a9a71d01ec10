//! Which tokens end an answer: the union of everything that a model's files say about it.
//! Both ways to build a tokenizer fill it.
//! *Invariant*: no id twice, and the first is the one that the model's files name first.

/// Names that end an answer wherever a vocabulary has them as special tokens.
const NAMES: [&str; 5] = ["<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<end_of_turn>", "<|end|>"];

/// Names that end a text, for a vocabulary whose files say nothing else.
const NAMES_LAST: [&str; 4] = ["</s>", "<|endoftext|>", "<|end_of_text|>", "<eos>"];

/// In this format `<|end|>` ends one of several messages of an answer, and `<|return|>` the answer.
const RETURN: &str = "<|return|>";

/// Ids that end an answer, in the order in which they were found.
#[derive(Debug, Default, Clone)]
pub(super) struct Ends(Vec<u32>);

impl Ends {
    pub(super) fn add(&mut self, id: u32) {
        if !self.0.contains(&id) {
            self.0.push(id);
        }
    }

    /// Adds those known by name; `special` gives the id of a special token.
    pub(super) fn add_by_name(&mut self, special: impl Fn(&str) -> Option<u32>) {
        let returns = special(RETURN);
        for id in NAMES.iter().filter(|name| returns.is_none() || **name != "<|end|>").filter_map(|name| special(name))
        {
            self.add(id);
        }
        if self.0.is_empty() {
            returns.into_iter().chain(NAMES_LAST.iter().find_map(|name| special(name))).for_each(|id| self.add(id));
        }
    }

    pub(super) fn ids(&self) -> &[u32] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by_name(names: &[&str]) -> Vec<u32> {
        let mut ends = Ends::default();
        ends.add_by_name(|name| names.iter().position(|known| *known == name).map(|index| index as u32));
        ends.ids().to_vec()
    }

    #[test]
    fn names_end_an_answer() {
        assert_eq!(by_name(&["<|endoftext|>", "<|im_end|>"]), [1]);
        assert_eq!(by_name(&["a", "</s>"]), [1], "nothing better is there");
        assert_eq!(by_name(&["<|end|>", "<|return|>"]), [1], "`<|end|>` only ends a message there");
    }
}
