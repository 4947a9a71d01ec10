//! `POST /v1/classify` as vLLM has it: which of a classifier's labels fits a text.
//! `routes/rerank` reads the request and writes the labels.
//! Invariant: the label is that of the largest probability; probabilities stand in the model's order.

use engine::Classified;
use serde::Serialize;

use crate::error::Result;
use crate::wire::embeddings::Usage;
use crate::wire::identifier;
use crate::wire::inputs::Texts;
use crate::wire::parameters::parameters;
use crate::wire::parse;

parameters! {
    /// What to classify.
    pub struct Request {
        /// A text, or a list of texts.
        input: Texts;
        /// The name of a model that classifies.
        model: String;
        /// Cuts texts that are too long for the model, which are refused otherwise.
        truncate: bool = false;
    }
}

/// What a request means.
#[derive(Debug)]
pub struct Asked {
    /// The model's name, if it was given.
    pub model: Option<String>,
    /// At least one.
    pub texts: Vec<String>,
    /// Whether texts are cut.
    pub truncate: bool,
}

impl Request {
    /// Reads and checks a body of at most `inputs_max` texts.
    pub fn read(body: &[u8], inputs_max: usize) -> Result<Asked> {
        let request: Self = parse(body)?;
        request.check()?;
        let truncate = request.truncate();
        let texts = Texts::read(request.input, "input", inputs_max)?;
        Ok(Asked { model: request.model, texts, truncate })
    }
}

/// The answer.
#[derive(Debug, Serialize)]
pub struct Classes {
    id: String,
    object: &'static str,
    created: u64,
    model: String,
    data: Vec<Item>,
    usage: Usage,
}

#[derive(Debug, Serialize)]
struct Item {
    index: usize,
    label: String,
    probs: Vec<f32>,
    labels: Vec<String>,
    num_classes: usize,
}

impl Classes {
    /// The classes of texts, in order.
    pub fn new(model: &str, texts: Vec<Classified>) -> Self {
        let usage = texts.iter().map(|text| u64::from(text.tokens)).sum::<u64>().into();
        let item = |(index, text): (usize, Classified)| {
            let best = text.labels.iter().max_by(|a, b| a.probability.total_cmp(&b.probability));
            Item {
                index,
                label: best.map(|label| label.name.clone()).unwrap_or_default(),
                probs: text.labels.iter().map(|label| label.probability).collect(),
                num_classes: text.labels.len(),
                labels: text.labels.into_iter().map(|label| label.name).collect(),
            }
        };
        let data = texts.into_iter().enumerate().map(item).collect();
        let (id, created) = (identifier::fresh("classify-"), identifier::now_s());
        Self { id, object: "list", created, model: model.to_owned(), data, usage }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use engine::Label;
    use serde_json::json;

    #[test]
    fn the_likeliest_label_is_told() {
        let label = |name: &str, probability| Label { name: name.into(), probability };
        let text = Classified { labels: vec![label("bad", 0.25), label("good", 0.75)], tokens: 4 };
        let answer = serde_json::to_value(Classes::new("m", vec![text])).unwrap();
        let wanted =
            json!({"index": 0, "label": "good", "probs": [0.25, 0.75], "labels": ["bad", "good"], "num_classes": 2});
        assert_eq!((&answer["data"][0], &answer["usage"]["total_tokens"]), (&wanted, &json!(4)));
    }

    #[test]
    fn errors_name_the_field() {
        for (body, param) in [("{}", "input"), (r#"{"input": ["a", ""]}"#, "input[1]"), (r#"{"input": 3}"#, "input")] {
            assert_eq!(Request::read(body.as_bytes(), 9).unwrap_err().param.as_deref(), Some(param), "{body}");
        }
    }
}
