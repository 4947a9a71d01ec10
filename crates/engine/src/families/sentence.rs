//! What sentence-transformers' files say about a model: how its rows become a vector, its prompts, how long a text may be.
//! The catalog reads the files and asks here.
//! Invariant: a part that we do not compute is refused by name; what is not there takes the default of that library.

use serde_json::Value;

use crate::error::{Error, Result};
use crate::vectors::Pooling;

/// The files, as JSON, where they are there.
#[derive(Debug, Clone, Default)]
pub struct SentenceFiles {
    /// `modules.json`.
    pub modules: Option<Value>,
    /// `config.json` of the pooling's folder.
    pub pooling: Option<Value>,
    /// `sentence_bert_config.json`.
    pub transformer: Option<Value>,
    /// `config_sentence_transformers.json`.
    pub settings: Option<Value>,
}

/// How a model makes vectors of texts.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sentences {
    /// How rows become a vector; none where nothing is said.
    pub pooling: Option<Pooling>,
    /// Whether vectors are normed; none where nothing is said.
    pub normalize: Option<bool>,
    /// Tokens that one text may have.
    pub tokens_max: Option<usize>,
    /// Texts to put before texts, by name.
    pub prompts: Vec<(String, String)>,
    /// The prompt to use where none is named.
    pub default_prompt: Option<String>,
    /// The length that vectors are cut to.
    pub dimensions: Option<usize>,
}

/// The folder of a module of this type, below the model's folder; `type` ends in the class's name.
pub fn module_folder(modules: &Value, class: &str) -> Option<String> {
    let module = modules.as_array()?.iter().find(|module| class_of(module) == class)?;
    let path = module.get("path")?.as_str()?;
    // It must stay inside.
    let plain =
        !path.is_empty() && path.split('/').all(|part| !matches!(part, "" | "." | "..")) && !path.contains('\\');
    plain.then(|| path.to_owned())
}

fn class_of(module: &Value) -> &str {
    module.get("type").and_then(Value::as_str).and_then(|class| class.rsplit('.').next()).unwrap_or_default()
}

/// Reads all of them.
///
/// # Errors
/// `ModelUnreadable` for modules or poolings that are not supported.
pub fn sentences(files: &SentenceFiles) -> Result<Sentences> {
    let mut found = Sentences::default();
    if let Some(modules) = files.modules.as_ref().and_then(Value::as_array) {
        for class in modules.iter().map(class_of) {
            if !["Transformer", "Pooling", "Normalize"].contains(&class) {
                return Err(Error::unreadable(format!("modules.json: the module {class:?} is not supported")));
            }
        }
        found.normalize = Some(modules.iter().any(|module| class_of(module) == "Normalize"));
    }
    found.pooling = files.pooling.as_ref().map(pooling).transpose()?.flatten();
    if let Some(transformer) = &files.transformer {
        found.tokens_max = transformer.get("max_seq_length").and_then(Value::as_u64).map(|max| max as usize);
    }
    if let Some(settings) = &files.settings {
        let prompts = settings.get("prompts").and_then(Value::as_object);
        let text = |(name, text): (&String, &Value)| Some((name.clone(), text.as_str()?.to_owned()));
        found.prompts = prompts.map(|prompts| prompts.iter().filter_map(text).collect()).unwrap_or_default();
        found.default_prompt = settings.get("default_prompt_name").and_then(Value::as_str).map(str::to_owned);
        found.dimensions = settings.get("truncate_dim").and_then(Value::as_u64).map(|dimensions| dimensions as usize);
    }
    Ok(found)
}

/// The one pooling that is switched on: a flag for each, or, in newer files, its name.
fn pooling(config: &Value) -> Result<Option<Pooling>> {
    let named = |name: &str| match name {
        "cls" | "cls_token" => Ok(Pooling::Cls),
        "mean" | "mean_tokens" => Ok(Pooling::Mean),
        "max" | "max_tokens" => Ok(Pooling::Max),
        "lasttoken" => Ok(Pooling::Last),
        other => Err(Error::unreadable(format!("the pooling {other:?} is not supported"))),
    };
    let on = |(key, value): (&String, &Value)| {
        let name = key.strip_prefix("pooling_mode_")?;
        (value == true).then(|| name.to_owned())
    };
    let mut switched_on: Vec<String> =
        config.as_object().map(|keys| keys.iter().filter_map(on).collect()).unwrap_or_default();
    match config.get("pooling_mode") {
        Some(Value::String(name)) => switched_on.push(name.clone()),
        Some(Value::Array(names)) => {
            switched_on.extend(names.iter().filter_map(Value::as_str).map(str::to_owned));
        }
        _ => {}
    }
    match &switched_on[..] {
        [] => Ok(None),
        [one] => named(one).map(Some),
        several => {
            Err(Error::unreadable(format!("several poolings at once ({}) are not supported", several.join(", "))))
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_repository_of_the_usual_kind_is_read() {
        let files = SentenceFiles {
            modules: Some(json!([
                {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
                {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
                {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"}])),
            pooling: Some(json!({"word_embedding_dimension": 384, "pooling_mode_cls_token": false,
                "pooling_mode_mean_tokens": true, "pooling_mode_max_tokens": false})),
            transformer: Some(json!({"max_seq_length": 256, "do_lower_case": false})),
            settings: Some(json!({"prompts": {"query": "find: ", "document": ""}, "default_prompt_name": "query"})),
        };
        let found = sentences(&files).unwrap();
        assert_eq!((found.pooling, found.normalize, found.tokens_max), (Some(Pooling::Mean), Some(true), Some(256)));
        assert_eq!(found.prompts[0], ("query".to_owned(), "find: ".to_owned()));
        assert_eq!(found.default_prompt.as_deref(), Some("query"));
        assert_eq!(module_folder(files.modules.as_ref().unwrap(), "Pooling").as_deref(), Some("1_Pooling"));
        assert_eq!(module_folder(&json!([{"type": "a.Pooling", "path": "../up"}]), "Pooling"), None);
    }

    #[test]
    fn what_is_not_computed_is_refused() {
        let modules = Some(json!([{"type": "sentence_transformers.models.Dense", "path": "2_Dense"}]));
        let error = sentences(&SentenceFiles { modules, ..SentenceFiles::default() }).unwrap_err();
        assert!(error.message.contains("Dense"));
        let two = json!({"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": true});
        assert!(pooling(&two).is_err());
        assert!(pooling(&json!({"pooling_mode_weightedmean_tokens": true})).is_err());
        assert_eq!(pooling(&json!({"pooling_mode": "lasttoken"})).unwrap(), Some(Pooling::Last));
    }
}
