//! Which loaded model a name means: its own name, a part of it, or a name that OpenAI's clients carry in their code.
//! Every route that takes a `model` asks here.
//! Invariant: a name that fits nothing is an error that lists what there is; it never silently reaches some model.

use engine::{ErrorKind, ModelInfo};

use crate::error::{ApiError, Kind, Result};

/// Beginnings of the names that OpenAI's clients have built in; they reach the loaded chat model.
const BUILT_IN: [&str; 12] = [
    "gpt-",
    "chatgpt-",
    "o1",
    "o3",
    "o4",
    "codex-",
    "ft:gpt-",
    "text-davinci-",
    "code-davinci-",
    "davinci-002",
    "babbage-002",
    "text-curie-",
];

/// The model that `name` means; no name means the first one.
pub fn resolve(name: Option<&str>, models: Vec<ModelInfo>) -> Result<ModelInfo> {
    let position = match name.map(str::trim) {
        None | Some("") => 0,
        Some(name) => find(name, &models).ok_or_else(|| not_found(name, &models))?,
    };
    let nothing = || ApiError::new(Kind::Engine(ErrorKind::ModelNotFound), "no model is loaded");
    models.into_iter().nth(position).ok_or_else(nothing)
}

/// The most exact match wins: the name, then the name without letter case, then one as the path tail of the other, then
/// the built-in names.
fn find(name: &str, models: &[ModelInfo]) -> Option<usize> {
    let stem = name.strip_suffix(".gguf").unwrap_or(name).to_ascii_lowercase();
    let at = |matches: &dyn Fn(&str) -> bool| models.iter().position(|model| matches(&model.name));
    at(&|own| own == name)
        .or_else(|| at(&|own| own.eq_ignore_ascii_case(&stem)))
        .or_else(|| at(&|own| is_path_tail(&stem, own) || is_path_tail(own, &stem)))
        .or_else(|| is_built_in(name).then_some(0).filter(|_| !models.is_empty()))
}

/// Whether `path` ends with `/tail`, letter case aside.
fn is_path_tail(tail: &str, path: &str) -> bool {
    let path = path.to_ascii_lowercase();
    path.strip_suffix(&tail.to_ascii_lowercase()).is_some_and(|rest| rest.ends_with('/'))
}

fn is_built_in(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    BUILT_IN.iter().any(|beginning| {
        name.strip_prefix(beginning).is_some_and(|rest| {
            // `o1` and `o1-mini`, but not `o1rca`.
            beginning.ends_with('-') || rest.is_empty() || rest.starts_with('-')
        })
    })
}

fn not_found(name: &str, models: &[ModelInfo]) -> ApiError {
    let names: Vec<&str> = models.iter().map(|model| model.name.as_str()).collect();
    let message = format!("there is no model `{}`; there is: {}", shorten(name), names.join(", "));
    ApiError { param: Some("model".into()), ..ApiError::new(Kind::Engine(ErrorKind::ModelNotFound), message) }
}

/// A client's text in an error, bounded.
fn shorten(name: &str) -> String {
    name.chars().take(100).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn model(name: &str) -> ModelInfo {
        ModelInfo {
            name: name.into(),
            family: "llama".into(),
            quantization: "Q8_0".into(),
            context_tokens: 1,
            parameters: 1,
            vocabulary: 1,
            weight_bytes: 1,
            kv_bytes: 1,
            device: "cpu".into(),
            chat_template: None,
            bos_token: None,
            eos_token: None,
            loaded_at_s: 1,
        }
    }

    #[test]
    fn the_name_its_parts_and_the_built_in_names_reach_the_model() {
        let models = || vec![model("starter/chat"), model("org/Big-Q4"), model("@cf/meta/llama")];
        let cases = [
            (None, "starter/chat"),
            (Some(""), "starter/chat"),
            (Some("chat"), "starter/chat"),
            (Some("Starter/Chat"), "starter/chat"),
            (Some("models/starter/chat"), "starter/chat"),
            (Some("big-q4"), "org/Big-Q4"),
            (Some("Big-Q4.gguf"), "org/Big-Q4"),
            (Some("@cf/meta/llama"), "@cf/meta/llama"),
            (Some("gpt-4o"), "starter/chat"),
            (Some("gpt-3.5-turbo-instruct"), "starter/chat"),
            (Some("chatgpt-4o-latest"), "starter/chat"),
            (Some("o1"), "starter/chat"),
            (Some("o3-mini"), "starter/chat"),
            (Some("text-davinci-003"), "starter/chat"),
        ];
        for (asked, wanted) in cases {
            assert_eq!(resolve(asked, models()).unwrap().name, wanted, "{asked:?}");
        }
    }

    #[test]
    fn an_unknown_name_lists_what_there_is() {
        for name in ["llama", "o1rca", "gpt", "@cf/other/chat", "other/chat", "hat"] {
            let error = resolve(Some(name), vec![model("starter/chat"), model("b")]).unwrap_err();
            assert_eq!((error.status(), error.param.as_deref()), (404, Some("model")), "{name}");
            assert!(error.message.contains("starter/chat, b"), "{error}");
        }
    }

    #[test]
    fn no_model_at_all_is_an_error_too() {
        assert_eq!(resolve(None, vec![]).unwrap_err().status(), 404);
        assert_eq!(resolve(Some("gpt-4o"), vec![]).unwrap_err().status(), 404);
    }
}
