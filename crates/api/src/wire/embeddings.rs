//! `POST /v1/embeddings`, also as OpenAI's first API and Cloudflare's have it.
//! `routes/embeddings` reads the request and writes the vectors.
//! Invariant: both encodings hold the same bits; vectors come in the order of their inputs.

use engine::{EmbedRequest, Embedded, Pooling};
use serde::Serialize;

use crate::error::Result;
use crate::wire::base64;
use crate::wire::inputs::Inputs;
use crate::wire::parameters::parameters;
use crate::wire::parse;

parameters! {
    /// What to turn into vectors, and how.
    pub struct Request {
        /// What to turn into vectors: a text, a list of texts, a list of token ids of the model, or a list of such lists.
        input | "text": Inputs;
        /// The embedding model's name, or an alias of it; without one `--embedding-model` answers.
        model: String;
        /// `float` (as without it) sends numbers, `base64` each vector's bytes: 32-bit floats, the lowest byte first.
        encoding_format: String, one_of &["float", "base64"];
        /// So many numbers of each vector are kept, and it is normed again; only of models that were trained for that.
        dimensions: u32, within 1..=1_000_000;
        /// How a text's tokens become one vector, in place of the model's own way.
        pooling: String, one_of &["mean", "cls", "last", "max"];
        /// Cuts texts that are too long for the model, which are refused otherwise.
        truncate: bool = false;
        /// Taken and ignored: this server tells nobody about its users.
        user: String;
    }
}

/// What a request means.
#[derive(Debug)]
pub struct Asked {
    /// The model's name, if it was given.
    pub model: Option<String>,
    /// For the engine, still without a model.
    pub request: EmbedRequest,
    /// Whether vectors are sent as bytes.
    pub as_base64: bool,
    /// Whether the inputs stood in a list.
    pub is_list: bool,
}

impl Asked {
    /// Where in the body an input stood.
    pub fn place(is_list: bool, at: usize) -> String {
        if is_list { format!("input[{at}]") } else { "input".to_owned() }
    }
}

impl Request {
    /// Reads and checks a body of at most `inputs_max` inputs.
    pub fn read(body: &[u8], inputs_max: usize) -> Result<Asked> {
        let request: Self = parse(body)?;
        request.check()?;
        let pooling = request.pooling.as_deref().map(|name| match name {
            "cls" => Pooling::Cls,
            "last" => Pooling::Last,
            "max" => Pooling::Max,
            _ => Pooling::Mean,
        });
        let as_base64 = request.encoding_format.as_deref() == Some("base64");
        let (truncate, dimensions) = (request.truncate(), request.dimensions);
        let is_list = request.input.as_ref().is_some_and(Inputs::is_list);
        let inputs = Inputs::read(request.input, "input", inputs_max)?;
        let wanted = EmbedRequest { pooling, dimensions, truncate, ..EmbedRequest::new("", inputs) };
        Ok(Asked { model: request.model, request: wanted, as_base64, is_list })
    }
}

/// Tokens that were read; encoders write none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Usage {
    prompt_tokens: u64,
    total_tokens: u64,
}

impl From<u64> for Usage {
    fn from(tokens: u64) -> Self {
        Self { prompt_tokens: tokens, total_tokens: tokens }
    }
}

/// The answer.
#[derive(Debug, Serialize)]
pub struct Embeddings {
    object: &'static str,
    data: Vec<Item>,
    model: String,
    usage: Usage,
}

#[derive(Debug, Serialize)]
struct Item {
    object: &'static str,
    index: usize,
    embedding: Vector,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Vector {
    Numbers(Vec<f32>),
    Base64(String),
}

impl Embeddings {
    /// Vectors of `model`, in order.
    pub fn new(model: &str, vectors: Vec<Embedded>, as_base64: bool) -> Self {
        let usage = vectors.iter().map(|embedded| u64::from(embedded.tokens)).sum::<u64>().into();
        let item = |(index, embedded): (usize, Embedded)| {
            let embedding = match as_base64 {
                true => Vector::Base64(base64::encode(embedded.vector.iter().flat_map(|number| number.to_le_bytes()))),
                false => Vector::Numbers(embedded.vector),
            };
            Item { object: "embedding", index, embedding }
        };
        let data = vectors.into_iter().enumerate().map(item).collect();
        Self { object: "list", data, model: model.to_owned(), usage }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use engine::Prompt;
    use serde_json::json;

    fn read(body: &str) -> Result<Asked> {
        Request::read(body.as_bytes(), 4)
    }

    #[test]
    fn fields_mean_what_they_say() {
        let asked =
            read(r#"{"text": [5, 6], "pooling": "cls", "dimensions": 8, "encoding_format": "base64"}"#).unwrap();
        let request = asked.request;
        assert_eq!((request.pooling, request.dimensions, request.truncate), (Some(Pooling::Cls), Some(8), false));
        assert_eq!((request.inputs, asked.as_base64, asked.model), (vec![Prompt::Tokens(vec![5, 6])], true, None));
        let plain = read(r#"{"input": "a", "model": "m", "pooling": null, "truncate": true, "user": "me"}"#).unwrap();
        assert_eq!((plain.model.as_deref(), plain.request.pooling, plain.as_base64), (Some("m"), None, false));
        assert!(plain.request.truncate);
    }

    #[test]
    fn errors_name_the_field() {
        for (body, param) in [
            ("{}", "input"),
            (r#"{"input": null}"#, "input"),
            (r#"{"input": "a", "text": "b"}"#, "input"),
            (r#"{"input": ["a", ""]}"#, "input[1]"),
            (r#"{"input": "a", "encoding_format": "hex"}"#, "encoding_format"),
            (r#"{"input": "a", "dimensions": 0}"#, "dimensions"),
            (r#"{"input": "a", "dimensions": "x"}"#, "dimensions"),
            (r#"{"input": "a", "pooling": "sum"}"#, "pooling"),
            (r#"{"input": "a", "model": 3}"#, "model"),
        ] {
            assert_eq!(read(body).unwrap_err().param.as_deref(), Some(param), "{body}");
        }
    }

    #[test]
    fn bytes_hold_the_same_bits_as_numbers() {
        let vector = vec![0.1, -2.5e-8, f32::MIN_POSITIVE, 1.0];
        let of = |as_base64| {
            let embedded = Embedded { vector: vector.clone(), tokens: 3 };
            serde_json::to_value(Embeddings::new("m", vec![embedded.clone(), embedded], as_base64)).unwrap()
        };
        let (numbers, bytes) = (of(false), of(true));
        assert_eq!(numbers["usage"], json!({"prompt_tokens": 6, "total_tokens": 6}));
        assert_eq!((&numbers["data"][1]["index"], &numbers["object"]), (&json!(1), &json!("list")));
        let text = serde_json::to_string(&numbers["data"][0]["embedding"]).unwrap();
        let read: Vec<f32> = serde_json::from_str(&text).unwrap();
        let wanted: Vec<u8> = read.iter().flat_map(|number| number.to_le_bytes()).collect();
        assert_eq!(bytes["data"][0]["embedding"], base64::encode(wanted));
        assert_eq!(read, vector);
    }
}
