//! The body of `POST /v1/completions`, and what it means.
//! Called by `routes/completions`; hands on prompts and the engine's sampling.
//! Invariant: at least one prompt, at most as many as the settings allow; null counts as absent.

use engine::Prompt;
use serde::Deserialize;
use serde_json::Value;

use crate::error::{ApiError, Result};
use crate::wire::options::{self, LOGPROBS_MAX, Limits};
use crate::wire::parameters::{parameters, shaped};
use crate::wire::parse;

parameters! {
    /// The fields that only completions have.
    pub struct Request {
        /// What to continue: a text, a list of texts, a list of token ids, or a list of such lists.
        prompt: PromptValue;
        /// Begin the answer with the prompt.
        echo: bool = false;
        /// Report log-probabilities, with so many alternatives for each token.
        logprobs: u32, within 0..=LOGPROBS_MAX;
        /// What comes after the text that is to be written: it is filled in between, if the model knows how.
        suffix: String;
        /// So many answers are drawn, and the `n` likeliest are sent; never less than `n`, and not in a stream.
        best_of: u32 = 1, within 1..=u32::MAX;
    }
}

/// Texts or token ids, still as they were sent.
#[derive(Debug, Clone, Deserialize)]
#[serde(transparent)]
struct PromptValue(Value);

shaped! {
    PromptValue: "string, list of strings, list of token ids, or list of such lists",
        r#"{"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1},
            {"type": "array", "items": {"type": "integer"}, "minItems": 1},
            {"type": "array", "items": {"type": "array", "items": {"type": "integer"}, "minItems": 1}, "minItems": 1}]}"#;
}

/// What a completions request means.
#[derive(Debug, Clone)]
pub struct Asked {
    /// What to continue; each one `options.choices` times.
    pub prompts: Vec<Prompt>,
    /// Whether the answer begins with the prompt.
    pub echo: bool,
    /// What stands behind the text that is to be filled in.
    pub suffix: Option<String>,
    /// How many answers to draw for each prompt; the `options.choices` likeliest are handed out.
    pub best_of: u32,
    /// Everything else.
    pub options: options::Asked,
}

impl Request {
    /// Reads and checks a body.
    pub fn read(body: &[u8], limits: Limits<'_>) -> Result<Asked> {
        let mut options = options::Asked::read(body, limits)?;
        let request: Self = parse(body)?;
        request.check()?;
        let best_of = request.draws(&options, limits)?;
        let logprobs = request.logprobs.and_then(|count| u8::try_from(count).ok());
        let echo = request.echo();
        let prompt = request.prompt.map_or(Value::Null, |prompt| prompt.0);
        let prompts = prompts(prompt, options.add_special, limits.prompts_max)?;
        options.request.logprobs = logprobs;
        if echo {
            // Token ids become text only by way of the engine, which tells it with the prompt's logprobs.
            let needs_text = prompts.iter().any(|prompt| matches!(prompt, Prompt::Tokens(_)));
            options.request.prompt_logprobs = logprobs.or(needs_text.then_some(0));
        }
        Ok(Asked { prompts, echo, suffix: request.suffix.filter(|text| !text.is_empty()), best_of, options })
    }

    /// How many answers are drawn: `best_of`, which is `n` if it is not said.
    fn draws(&self, options: &options::Asked, limits: Limits<'_>) -> Result<u32> {
        let Some(best_of) = self.best_of else { return Ok(options.choices) };
        let wrong = |message: String| Err(ApiError::invalid("best_of", message));
        if best_of < options.choices {
            return wrong(format!("`best_of` is {best_of}, less than `n`, {}", options.choices));
        }
        if best_of > limits.choices_max {
            return wrong(format!("`best_of` must lie between 1 and {}, but is {best_of}", limits.choices_max));
        }
        if options.stream && best_of > 1 {
            return wrong("`best_of` cannot be streamed: the best is known only when all are there".to_owned());
        }
        Ok(best_of)
    }
}

fn prompts(value: Value, add_special: bool, prompts_max: usize) -> Result<Vec<Prompt>> {
    let text = |text: String| Prompt::Text { text, add_special };
    let list = match value {
        Value::Null => return Err(ApiError::invalid("prompt", "`prompt` is missing")),
        Value::String(prompt) => return Ok(vec![text(prompt)]),
        Value::Array(list) if !list.is_empty() => list,
        _ => return Err(wrong_shape("prompt".to_owned())),
    };
    if list[0].is_number() {
        return Ok(vec![token_ids(list, "prompt")?]);
    }
    if list.len() > prompts_max {
        return Err(ApiError::invalid("prompt", format!("`prompt` takes at most {prompts_max} prompts at once")));
    }
    let prompt = |(i, value)| match value {
        Value::String(prompt) => Ok(text(prompt)),
        Value::Array(ids) => token_ids(ids, &format!("prompt[{i}]")),
        _ => Err(wrong_shape(format!("prompt[{i}]"))),
    };
    list.into_iter().enumerate().map(prompt).collect()
}

fn token_ids(list: Vec<Value>, path: &str) -> Result<Prompt> {
    let id = |(i, value): (usize, Value)| {
        let id = value.as_u64().and_then(|id| u32::try_from(id).ok());
        id.ok_or_else(|| ApiError::invalid(format!("{path}[{i}]"), "a token id must be a whole number from 0 up"))
    };
    list.into_iter().enumerate().map(id).collect::<Result<_>>().map(Prompt::Tokens)
}

fn wrong_shape(param: String) -> ApiError {
    ApiError::invalid(
        param,
        "`prompt` must be a string, a list of strings, a list of token ids, or a list of such lists",
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::wire::options::tests::LIMITS;

    fn read(body: &str) -> Result<Asked> {
        Request::read(body.as_bytes(), Limits { choices_max: 4, prompts_max: 2, ..LIMITS })
    }

    #[test]
    fn all_four_forms_of_a_prompt_are_read() {
        let text = |text: &str| Prompt::Text { text: text.into(), add_special: true };
        let cases = [
            (r#""a""#, vec![text("a")]),
            (r#"["a", "b"]"#, vec![text("a"), text("b")]),
            ("[1, 2]", vec![Prompt::Tokens(vec![1, 2])]),
            ("[[1], [2, 3]]", vec![Prompt::Tokens(vec![1]), Prompt::Tokens(vec![2, 3])]),
        ];
        for (prompt, wanted) in cases {
            assert_eq!(read(&format!(r#"{{"prompt": {prompt}}}"#)).unwrap().prompts, wanted);
        }
    }

    #[test]
    fn errors_name_the_field() {
        let cases = [
            ("{}", "prompt"),
            (r#"{"prompt": []}"#, "prompt"),
            (r#"{"prompt": 3}"#, "prompt"),
            (r#"{"prompt": [1, -2]}"#, "prompt[1]"),
            (r#"{"prompt": [[1], ["a"]]}"#, "prompt[1][0]"),
            (r#"{"prompt": ["a", 1]}"#, "prompt[1]"),
            (r#"{"prompt": ["a", "b", "c"]}"#, "prompt"),
            (r#"{"prompt": "a", "suffix": 3}"#, "suffix"),
            (r#"{"prompt": "a", "best_of": 2, "n": 3}"#, "best_of"),
            (r#"{"prompt": "a", "best_of": 5}"#, "best_of"),
            (r#"{"prompt": "a", "best_of": 2, "stream": true}"#, "best_of"),
            (r#"{"prompt": "a", "best_of": 0}"#, "best_of"),
            (r#"{"prompt": "a", "logprobs": 21}"#, "logprobs"),
            (r#"{"prompt": "a", "logprobs": true}"#, "logprobs"),
        ];
        for (body, param) in cases {
            let error = read(body).unwrap_err();
            assert_eq!((error.status(), error.param.as_deref()), (400, Some(param)), "{body}: {error}");
        }
        let asked = read(r#"{"prompt": "a", "best_of": 3, "n": 2, "suffix": "", "add_bos_token": false}"#).unwrap();
        assert_eq!((asked.best_of, asked.options.choices, asked.suffix), (3, 2, None));
        assert_eq!(asked.prompts, [Prompt::Text { text: "a".into(), add_special: false }]);
        assert_eq!(read(r#"{"prompt": "a", "best_of": 1, "stream": true}"#).unwrap().best_of, 1);
        assert_eq!(read(r#"{"prompt": "a", "n": 2, "stream": true}"#).unwrap().best_of, 2);
    }

    #[test]
    fn an_echo_asks_for_the_prompts_text_only_where_it_must() {
        let logprobs = |body: &str| read(body).unwrap().options.request.prompt_logprobs;
        assert_eq!(logprobs(r#"{"prompt": "a", "echo": true}"#), None);
        assert_eq!(logprobs(r#"{"prompt": [1], "echo": true}"#), Some(0));
        assert_eq!(logprobs(r#"{"prompt": "a", "echo": true, "logprobs": 3}"#), Some(3));
        assert_eq!(logprobs(r#"{"prompt": "a", "logprobs": 3}"#), None);
    }
}
