//! `POST /v1/moderations`: OpenAI's shape; text-generation-webui's is the same with eleven categories.
//! `routes/moderations` reads the request and writes the verdicts.
//! Invariant: `flagged` says whether any category is true, and a category is true where its score reaches the threshold.

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::error::Result;
use crate::wire::identifier;
use crate::wire::inputs::Parts;
use crate::wire::parameters::parameters;
use crate::wire::parse;

parameters! {
    /// What to judge.
    pub struct Request {
        /// A text, a list of texts, or the parts of one text.
        input: Parts;
        /// The name of a classifier, a guard or an embedding model; OpenAI's names mean `--moderation-model`, or `--embedding-model` without one, and those of `text-moderation-` tell eleven categories.
        model: String;
    }
}

/// What a request means.
#[derive(Debug)]
pub struct Asked {
    /// The model's name, if it was given.
    pub model: Option<String>,
    /// At least one.
    pub texts: Vec<String>,
    /// Whether the categories of newer models are told too.
    pub all_categories: bool,
}

impl Request {
    /// Reads and checks a body of at most `inputs_max` texts.
    pub fn read(body: &[u8], inputs_max: usize) -> Result<Asked> {
        let request: Self = parse(body)?;
        request.check()?;
        let texts = Parts::read(request.input, "input", inputs_max)?;
        let is_older = request.model.as_ref().is_some_and(|name| name.starts_with("text-moderation"));
        Ok(Asked { model: request.model, texts, all_categories: !is_older })
    }
}

/// Categories that the models before `omni-moderation` did not know.
const NEWER: [&str; 2] = ["illicit", "illicit/violent"];

/// The answer.
#[derive(Debug, Serialize)]
pub struct Verdicts {
    id: String,
    model: String,
    results: Vec<Verdict>,
}

#[derive(Debug, Serialize)]
struct Verdict {
    flagged: bool,
    categories: Map<String, Value>,
    category_scores: Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    category_applied_input_types: Option<Map<String, Value>>,
}

impl Verdicts {
    /// What `model` says: for each text the score, from 0 to 1, of each of the `names`.
    pub fn new(model: &str, names: &[String], scores: &[Vec<f32>], threshold: f32, all_categories: bool) -> Self {
        let verdict = |scores: &Vec<f32>| {
            let told = names.iter().zip(scores).filter(|(name, _)| all_categories || !NEWER.contains(&name.as_str()));
            let told: Vec<(&String, f32)> = told.map(|(name, &score)| (name, score)).collect();
            let map = |value: &dyn Fn(f32) -> Value| -> Map<String, Value> {
                told.iter().map(|(name, score)| ((*name).clone(), value(*score))).collect()
            };
            Verdict {
                flagged: told.iter().any(|(_, score)| *score >= threshold),
                categories: map(&|score| (score >= threshold).into()),
                category_scores: map(&|score| score.into()),
                category_applied_input_types: all_categories.then(|| map(&|_| json!(["text"]))),
            }
        };
        let results = scores.iter().map(verdict).collect();
        Self { id: identifier::fresh("modr-"), model: model.to_owned(), results }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_score_at_the_threshold_flags() {
        let names = ["violence", "illicit"].map(str::to_owned);
        let verdicts = |all| {
            let scores = [vec![0.5, 0.125], vec![0.25, 0.75]];
            serde_json::to_value(Verdicts::new("m", &names, &scores, 0.5, all)).unwrap()["results"].clone()
        };
        let all = verdicts(true);
        assert_eq!(all[0]["categories"], json!({"violence": true, "illicit": false}));
        assert_eq!(all[0]["category_scores"], json!({"violence": 0.5, "illicit": 0.125}));
        assert_eq!(all[1]["category_applied_input_types"], json!({"violence": ["text"], "illicit": ["text"]}));
        assert_eq!((&all[0]["flagged"], &all[1]["flagged"]), (&json!(true), &json!(true)));
        let older = verdicts(false);
        assert_eq!((&older[1]["flagged"], &older[1]["categories"]), (&json!(false), &json!({"violence": false})));
        assert!(older[1].get("category_applied_input_types").is_none());
    }

    #[test]
    fn errors_name_the_field() {
        for (body, param) in [("{}", "input"), (r#"{"input": ["a", ""]}"#, "input[1]"), (r#"{"input": 3}"#, "input")] {
            assert_eq!(Request::read(body.as_bytes(), 9).unwrap_err().param.as_deref(), Some(param), "{body}");
        }
        let older = Request::read(br#"{"input": "a", "model": "text-moderation-latest"}"#, 9).unwrap();
        assert!(!older.all_categories && Request::read(br#"{"input": "a"}"#, 9).unwrap().all_categories);
    }
}
