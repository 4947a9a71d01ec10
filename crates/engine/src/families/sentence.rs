//! What sentence-transformers' files say about a model: how its rows become a vector, its prompts, how long a text may be.
//! The catalog reads the files and asks here.
//! Invariant: a part that we do not compute is refused by name; what is not there takes the default of that library.

use serde_json::Value;

use crate::encoder::dense::DenseShape;
use crate::error::{Error, Result};
use crate::ops::activation::Activation;
use crate::vectors::{Pooling, Poolings};

/// Numbers of a vector that a dense layer takes or gives at most.
const DENSE_MAX: u64 = 1 << 20;

/// The files, as JSON, where they are there.
#[derive(Debug, Clone, Default)]
pub struct SentenceFiles {
    /// `modules.json`.
    pub modules: Option<Value>,
    /// `config.json` of the pooling's folder.
    pub pooling: Option<Value>,
    /// Those of the folders of dense layers, in order.
    pub dense: Vec<Value>,
    /// `sentence_bert_config.json`.
    pub transformer: Option<Value>,
    /// `config_sentence_transformers.json`.
    pub settings: Option<Value>,
}

/// How a model makes vectors of texts.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sentences {
    /// How rows become a vector; none where nothing is said.
    pub pooling: Option<Poolings>,
    /// What comes behind it.
    pub dense: Vec<DenseShape>,
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

impl Sentences {
    /// Numbers in a vector that is made of rows of `hidden`.
    ///
    /// # Errors
    /// `ModelUnreadable` if the first dense layer takes other vectors.
    pub fn dimensions_of(&self, hidden: usize) -> Result<usize> {
        let pooled = hidden * self.pooling.map_or(1, |pooling| pooling.iter().count());
        match (self.dense.first(), self.dense.last()) {
            (Some(first), _) if first.inputs != pooled => Err(Error::unreadable(format!(
                "the dense layer behind the pooling takes {} numbers, but {pooled} come",
                first.inputs
            ))),
            (_, Some(last)) => Ok(last.outputs),
            _ => Ok(pooled),
        }
    }
}

/// The folders of the modules of this type, in order, below the model's folder; `type` ends in the class's name.
pub fn module_folders(modules: &Value, class: &str) -> Vec<String> {
    let own = modules.as_array().into_iter().flatten().filter(|module| class_of(module) == class);
    let paths = own.filter_map(|module| module.get("path")?.as_str());
    // They must stay inside.
    let plain = |path: &&str| {
        !path.is_empty() && path.split('/').all(|part| !matches!(part, "" | "." | "..")) && !path.contains('\\')
    };
    paths.filter(plain).map(str::to_owned).collect()
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
        // Each may follow itself and those before it.
        const ORDER: [&str; 4] = ["Transformer", "Pooling", "Dense", "Normalize"];
        let mut last = 0;
        for class in modules.iter().map(class_of) {
            match ORDER.iter().position(|known| *known == class) {
                Some(place) if place >= last => last = place,
                Some(_) => {
                    return Err(Error::unreadable(format!("modules.json: {class:?} behind {:?}", ORDER[last])));
                }
                None => return Err(Error::unreadable(format!("modules.json: the module {class:?} is not supported"))),
            }
        }
        let count = modules.iter().filter(|module| class_of(module) == "Dense").count();
        if count != files.dense.len() {
            return Err(Error::unreadable("a dense layer of modules.json has no config.json"));
        }
        found.normalize = Some(modules.iter().any(|module| class_of(module) == "Normalize"));
    }
    found.pooling = files.pooling.as_ref().map(pooling).transpose()?.flatten();
    found.dense = files.dense.iter().map(dense).collect::<Result<_>>()?;
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

/// A dense layer, as the library writes it.
fn dense(config: &Value) -> Result<DenseShape> {
    let refused = |what: &str| Err(Error::unreadable(format!("a dense layer with {what} is not supported")));
    let size = |key: &str| match config.get(key).and_then(Value::as_u64) {
        Some(size @ 1..=DENSE_MAX) => Ok(size as usize),
        _ => Err(Error::unreadable(format!("a dense layer's config.json has no sensible {key:?}"))),
    };
    for key in ["module_input_name", "module_output_name"] {
        if config.get(key).and_then(Value::as_str).is_some_and(|name| name != "sentence_embedding") {
            return refused(key);
        }
    }
    if config.get("use_residual") == Some(&Value::Bool(true)) {
        return refused("use_residual");
    }
    let class = config.get("activation_function").and_then(Value::as_str).unwrap_or("Tanh");
    let activation = match class.rsplit('.').next().unwrap_or_default() {
        "Identity" => None,
        "Tanh" => Some(Activation::Tanh),
        "GELU" => Some(Activation::Gelu),
        "ReLU" => Some(Activation::Relu),
        "SiLU" => Some(Activation::Silu),
        _ => return refused(&format!("the activation {class:?}")),
    };
    Ok(DenseShape { inputs: size("in_features")?, outputs: size("out_features")?, activation })
}

/// The poolings that are switched on: a flag for each, or, in newer files, their names.
fn pooling(config: &Value) -> Result<Option<Poolings>> {
    // The flags' order is that in which the library puts vectors behind one another.
    const FLAGS: [&str; 6] =
        ["cls_token", "max_tokens", "mean_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens", "lasttoken"];
    let named = |name: &str| match name {
        "cls" | "cls_token" => Ok(Pooling::Cls),
        "mean" | "mean_tokens" => Ok(Pooling::Mean),
        "max" | "max_tokens" => Ok(Pooling::Max),
        "mean_sqrt_len_tokens" => Ok(Pooling::MeanSqrtLength),
        "weightedmean" | "weightedmean_tokens" => Ok(Pooling::WeightedMean),
        "lasttoken" => Ok(Pooling::Last),
        other => Err(Error::unreadable(format!("the pooling {other:?} is not supported"))),
    };
    let mut switched_on: Vec<&str> = match config.get("pooling_mode") {
        Some(Value::String(name)) => vec![name],
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        _ => {
            FLAGS.into_iter().filter(|flag| config.get(format!("pooling_mode_{flag}")) == Some(&true.into())).collect()
        }
    };
    let on = |(key, value): (&'_ String, &Value)| {
        (value == true && key.starts_with("pooling_mode_")).then(|| key[13..].to_owned())
    };
    let unknown = config.as_object().and_then(|keys| keys.iter().filter_map(on).find(|flag| !FLAGS.contains(&&**flag)));
    switched_on.extend(unknown.as_deref());
    let all = switched_on.into_iter().map(named).collect::<Result<Vec<_>>>()?;
    if all.len() > Poolings::MAX {
        return Err(Error::unreadable("too many poolings at once"));
    }
    Ok(Poolings::of(&all))
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
            dense: Vec::new(),
            transformer: Some(json!({"max_seq_length": 256, "do_lower_case": false})),
            settings: Some(json!({"prompts": {"query": "find: ", "document": ""}, "default_prompt_name": "query"})),
        };
        let found = sentences(&files).unwrap();
        assert_eq!(
            (found.pooling, found.normalize, found.tokens_max),
            (Some(Pooling::Mean.into()), Some(true), Some(256))
        );
        assert_eq!(found.prompts[0], ("query".to_owned(), "find: ".to_owned()));
        assert_eq!(found.default_prompt.as_deref(), Some("query"));
        assert_eq!(module_folders(files.modules.as_ref().unwrap(), "Pooling"), ["1_Pooling"]);
        assert!(module_folders(&json!([{"type": "a.Pooling", "path": "../up"}]), "Pooling").is_empty());
        assert_eq!(found.dimensions_of(384).unwrap(), 384);
    }

    #[test]
    fn poolings_stand_in_the_librarys_order() {
        let of = |config: Value| pooling(&config).unwrap().map(|all| all.iter().collect::<Vec<_>>());
        let flags = json!({"pooling_mode_mean_tokens": true, "pooling_mode_cls_token": true, "pooling_mode_max_tokens": false,
            "pooling_mode_weightedmean_tokens": true, "pooling_mode_mean_sqrt_len_tokens": true});
        let all = [Pooling::Cls, Pooling::Mean, Pooling::MeanSqrtLength, Pooling::WeightedMean];
        assert_eq!(of(flags), Some(all.to_vec()));
        // Names keep the order in which they are written.
        let names = json!({"pooling_mode": ["weightedmean", "cls"]});
        assert_eq!(of(names), Some(vec![Pooling::WeightedMean, Pooling::Cls]));
        assert_eq!(of(json!({"pooling_mode": "lasttoken"})), Some(vec![Pooling::Last]));
        assert_eq!(of(json!({"embedding_dimension": 8})), None);
    }

    #[test]
    fn dense_layers_follow_one_another() {
        let layer = |inputs: u32, outputs: u32, class: &str| {
            json!({"in_features": inputs, "out_features": outputs, "bias": true,
                "activation_function": format!("torch.nn.modules.{class}")})
        };
        let module = |class: &str| json!({"type": format!("sentence_transformers.models.{class}"), "path": "x"});
        let files = |classes: &[&str], dense| SentenceFiles {
            modules: Some(classes.iter().map(|class| module(class)).collect()),
            dense,
            ..SentenceFiles::default()
        };
        let two = vec![layer(8, 32, "linear.Identity"), layer(32, 4, "activation.Tanh")];
        let found = sentences(&files(&["Transformer", "Pooling", "Dense", "Dense", "Normalize"], two.clone())).unwrap();
        assert_eq!((found.dense[0].activation, found.dense[1].activation), (None, Some(Activation::Tanh)));
        assert_eq!(found.dimensions_of(8).unwrap(), 4);
        assert!(found.dimensions_of(16).is_err());
        for bad in [
            files(&["Transformer", "Pooling", "Normalize", "Dense"], vec![layer(8, 4, "linear.Identity")]),
            files(&["Transformer", "Pooling", "Dense"], Vec::new()),
            files(&["Transformer", "Pooling", "Dense"], vec![layer(8, 0, "linear.Identity")]),
            files(&["Transformer", "Pooling", "Dense"], vec![layer(8, 4, "activation.Softsign")]),
            files(&["Transformer", "Pooling", "LayerNorm"], Vec::new()),
        ] {
            assert!(sentences(&bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_is_not_computed_is_refused() {
        let modules = Some(json!([{"type": "sentence_transformers.models.WordWeights", "path": "2_Words"}]));
        let error = sentences(&SentenceFiles { modules, ..SentenceFiles::default() }).unwrap_err();
        assert!(error.message.contains("WordWeights"));
        assert!(pooling(&json!({"pooling_mode_attention_tokens": true})).is_err());
        assert!(pooling(&json!({"pooling_mode": "attention"})).is_err());
        let residual = json!({"in_features": 8, "out_features": 8, "use_residual": true});
        assert!(dense(&residual).is_err());
    }
}
