//! `/v1/internal/model/*` on the wire: what is loaded, what can be, and how to load it, by text-generation-webui's names.
//! `routes/loading` reads and writes them.
//! Invariant: an argument that is not followed is told; one that is followed but wrong is a 400 that names it.

use engine::{KvType, Overrides, Quantization};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::{ApiError, Result};
use crate::wire::parse;

/// Arguments without a value that counts here: turned off, they ask for nothing.
const NOTHING: [&str; 3] = ["", "None", "none"];

#[derive(Debug, Deserialize)]
struct Body {
    model_name: Option<String>,
    args: Option<Map<String, Value>>,
    settings: Option<Map<String, Value>>,
    instruction_template: Option<String>,
    instruction_template_str: Option<String>,
}

/// What loading asks for.
#[derive(Debug, Default, PartialEq)]
pub struct Asked {
    /// What to load.
    pub model: String,
    /// Sizes, types, threads.
    pub overrides: Overrides,
    /// A second model that guesses ahead.
    pub draft_model: Option<String>,
    /// The model's prompt format by name.
    pub instruction_template: Option<String>,
    /// The same as Jinja text; goes before the name.
    pub instruction_template_str: Option<String>,
    /// Tokens of prompt and answer together.
    pub truncation_length: Option<u32>,
    /// Texts that end an answer.
    pub stop: Vec<String>,
    /// Arguments that are not followed, by their path.
    pub ignored: Vec<String>,
}

/// Reads and checks a body.
pub fn read(body: &[u8]) -> Result<Asked> {
    let body: Body = parse(body)?;
    let model = body.model_name.filter(|name| !name.trim().is_empty());
    let model = model.ok_or_else(|| ApiError::invalid("model_name", "`model_name` is missing"))?;
    let text = |text: Option<String>| text.filter(|text| !NOTHING.contains(&text.trim()));
    let mut asked = Asked {
        model,
        instruction_template: body.instruction_template.filter(|name| !name.trim().is_empty()),
        instruction_template_str: text(body.instruction_template_str),
        ..Asked::default()
    };
    for (name, value) in body.args.unwrap_or_default() {
        asked.argument(&name, &value)?;
    }
    for (name, value) in body.settings.unwrap_or_default() {
        asked.setting(&name, &value)?;
    }
    Ok(asked)
}

impl Asked {
    /// Each name of today's and of version 1.9's that means something here.
    fn argument(&mut self, name: &str, value: &Value) -> Result<()> {
        let path = format!("args.{name}");
        let overrides = &mut self.overrides;
        match name {
            _ if value.is_null() => {}
            "ctx_size" | "n_ctx" | "max_seq_len" => overrides.context_tokens = count(&path, value)?,
            "threads" | "n_threads" => overrides.threads = count(&path, value)?.map(|threads| threads as usize),
            "parallel" => overrides.parallel = count(&path, value)?.map(|parallel| parallel as usize),
            "cache_type" => overrides.kv_type = Some(cache_type(&path, value)?),
            "cache_8bit" if value == true => overrides.kv_type = Some(KvType::Q8_0),
            "load_in_8bit" if value == true => overrides.quantize = Some(Quantization::Q8_0),
            "load_in_4bit" if value == true => overrides.quantize = Some(Quantization::Q4K),
            "model_draft" => self.draft_model = string(&path, value)?.filter(|name| !NOTHING.contains(&name.trim())),
            // Turned off is what we do anyway.
            _ if value == false => {}
            _ => self.ignored.push(path),
        }
        Ok(())
    }

    fn setting(&mut self, name: &str, value: &Value) -> Result<()> {
        let path = format!("settings.{name}");
        match name {
            _ if value.is_null() => {}
            "truncation_length" => self.truncation_length = count(&path, value)?,
            "instruction_template" => self.instruction_template = string(&path, value)?,
            "instruction_template_str" => {
                self.instruction_template_str =
                    string(&path, value)?.filter(|template| !NOTHING.contains(&template.trim()));
            }
            "custom_stopping_strings" => {
                let text = string(&path, value)?.unwrap_or_default();
                let strings = prompt::model_config::parse_stopping_strings(&text);
                let wrong = || ApiError::invalid(path, "stop strings are written in quotes, with commas between them");
                self.stop = strings.ok_or_else(wrong)?;
            }
            _ => self.ignored.push(path),
        }
        Ok(())
    }
}

/// Zero leaves it to the server.
fn count(path: &str, value: &Value) -> Result<Option<u32>> {
    let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
    let wrong = || ApiError::invalid(path, format!("`{path}` must be a whole number from 0 up"));
    Ok(Some(number.ok_or_else(wrong)?).filter(|number| *number > 0))
}

fn string(path: &str, value: &Value) -> Result<Option<String>> {
    let wrong = || ApiError::invalid(path, format!("`{path}` must be a text"));
    Ok(Some(value.as_str().ok_or_else(wrong)?.to_owned()))
}

fn cache_type(path: &str, value: &Value) -> Result<KvType> {
    let name = string(path, value)?.unwrap_or_default();
    // What text-generation-webui calls half precision.
    let name = if name == "fp16" { "f16" } else { &name };
    name.parse().map_err(|error| ApiError::invalid(path, format!("`{path}`: {error}")))
}

/// `GET /v1/internal/model/info`.
#[derive(Debug, Serialize)]
pub struct Info {
    model_name: String,
    lora_names: [&'static str; 0],
    loader: &'static str,
}

impl Info {
    /// What is loaded; no model is called `None`, as that API has it.
    pub fn new(model: Option<String>) -> Self {
        Self { model_name: model.unwrap_or_else(|| "None".to_owned()), lora_names: [], loader: "lampstand" }
    }
}

/// `GET /v1/internal/model/list`.
#[derive(Debug, Serialize)]
pub struct Names {
    /// What can be loaded.
    pub model_names: Vec<String>,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::json;

    fn asked(body: Value) -> Result<Asked> {
        read(body.to_string().as_bytes())
    }

    #[test]
    fn arguments_of_both_generations_are_followed() {
        let new = json!({"ctx_size": 512, "threads": 2, "cache_type": "fp16", "parallel": 3, "model_draft": "small"});
        let new = asked(json!({"model_name": "m", "args": new})).unwrap();
        let wanted = Overrides {
            context_tokens: Some(512),
            kv_type: Some(KvType::F16),
            threads: Some(2),
            parallel: Some(3),
            quantize: None,
        };
        assert_eq!((new.overrides, new.draft_model.as_deref()), (wanted, Some("small")));
        assert!(new.ignored.is_empty());
        let old = json!({"n_ctx": 512, "cache_8bit": true, "load_in_4bit": true, "load_in_8bit": false, "threads": 0});
        let old = asked(json!({"model_name": "m", "args": old,
            "settings": {"truncation_length": 4096, "instruction_template": "Alpaca", "custom_stopping_strings": "\"a\", \"b\""}}));
        let old = old.unwrap();
        assert_eq!(old.overrides.kv_type, Some(KvType::Q8_0));
        assert_eq!((old.overrides.quantize, old.overrides.threads), (Some(Quantization::Q4K), None));
        assert_eq!((old.truncation_length, old.instruction_template.as_deref()), (Some(4096), Some("Alpaca")));
        assert_eq!(old.stop, ["a", "b"]);
    }

    #[test]
    fn what_is_not_followed_is_told_unless_it_asks_for_nothing() {
        let args = json!({"gpu_layers": 99, "no_mmap": false, "mlock": true, "cpu": null});
        let asked = asked(json!({"model_name": "m", "args": args, "settings": {"preset": "x"}})).unwrap();
        assert_eq!(asked.ignored, ["args.gpu_layers", "args.mlock", "settings.preset"]);
    }

    #[test]
    fn errors_name_the_argument() {
        let cases = [
            (json!({}), "model_name"),
            (json!({"model_name": ""}), "model_name"),
            (json!({"model_name": "m", "args": 3}), "args"),
            (json!({"model_name": "m", "args": {"n_ctx": "much"}}), "args.n_ctx"),
            (json!({"model_name": "m", "args": {"cache_type": "q3"}}), "args.cache_type"),
            (json!({"model_name": "m", "args": {"model_draft": 3}}), "args.model_draft"),
            (json!({"model_name": "m", "settings": {"truncation_length": -1}}), "settings.truncation_length"),
        ];
        for (body, param) in cases {
            assert_eq!(asked(body.clone()).unwrap_err().param.as_deref(), Some(param), "{body}");
        }
    }
}
