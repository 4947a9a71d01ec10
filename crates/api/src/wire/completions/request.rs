//! The body of `POST /v1/completions`, and what it means.
//! Called by `routes/completions`; hands on prompts and the engine's sampling.
//! Invariant: at least one prompt, at most as many as the settings allow; null counts as absent.

use engine::Prompt;
use serde::Deserialize;
use serde_json::Value;

use crate::error::{ApiError, Result};
use crate::wire::options::{self, Limits, Options};
use crate::wire::parse;

/// The fields that only completions have; the others are [`Options`].
#[derive(Debug, Deserialize)]
pub struct Request {
    prompt: Option<Value>,
    echo: Option<bool>,
    logprobs: Option<u8>,
    suffix: Option<String>,
    best_of: Option<u32>,
}

/// What a completions request means.
#[derive(Debug, Clone)]
pub struct Asked {
    /// What to continue; each one `options.choices` times.
    pub prompts: Vec<Prompt>,
    /// Whether the answer begins with the prompt.
    pub echo: bool,
    /// Everything else.
    pub options: options::Asked,
}

impl Request {
    /// Reads and checks a body.
    pub fn read(body: &[u8], limits: Limits) -> Result<Asked> {
        let mut options = parse::<Options>(body)?.into_asked(limits)?;
        let request: Self = parse(body)?;
        if request.suffix.is_some_and(|text| !text.is_empty()) {
            return Err(ApiError::unsupported(
                "suffix",
                "`suffix` is not supported: text can be continued, not filled in",
            ));
        }
        if request.best_of.is_some_and(|count| count != options.choices) {
            return Err(ApiError::unsupported("best_of", "`best_of` must equal `n`: every draw is handed out"));
        }
        let logprobs = request.logprobs.map(|count| options::alternatives("logprobs", count)).transpose()?;
        let prompts = prompts(request.prompt.unwrap_or(Value::Null), limits.prompts_max)?;
        let echo = request.echo.unwrap_or(false);
        options.request.logprobs = logprobs;
        if echo {
            // Token ids become text only by way of the engine, which tells it with the prompt's logprobs.
            let needs_text = prompts.iter().any(|prompt| matches!(prompt, Prompt::Tokens(_)));
            options.request.prompt_logprobs = logprobs.or(needs_text.then_some(0));
        }
        Ok(Asked { prompts, echo, options })
    }
}

fn prompts(value: Value, prompts_max: usize) -> Result<Vec<Prompt>> {
    let text = |text: String| Prompt::Text { text, add_special: true };
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

    fn read(body: &str) -> Result<Asked> {
        Request::read(body.as_bytes(), Limits { choices_max: 4, prompts_max: 2 })
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
            (r#"{"prompt": "a", "suffix": "b"}"#, "suffix"),
            (r#"{"prompt": "a", "best_of": 2}"#, "best_of"),
            (r#"{"prompt": "a", "logprobs": 21}"#, "logprobs"),
            (r#"{"prompt": "a", "logprobs": true}"#, "logprobs"),
        ];
        for (body, param) in cases {
            let error = read(body).unwrap_err();
            assert_eq!((error.status(), error.param.as_deref()), (400, Some(param)), "{body}: {error}");
        }
        assert!(read(r#"{"prompt": "a", "best_of": 2, "n": 2, "suffix": ""}"#).is_ok());
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
