//! Vectors and what is made of them: embeddings, rerank, score, search, moderation, classes.
//! Runs against the shared in-process server with the encoder that comes along.
//! Invariant: what is checked is shape, order and bits; of meanings only such as no encoder worth the name confuses.

use api::settings::Layer;
use serde_json::{Value, json};

use crate::client::{Answer, Request};
use crate::command::Running;
use crate::service::Service;
use crate::temp_folder::TempFolder;
use crate::toy::Toy;
use crate::toy::encoder::EncoderToy;
use crate::toy::folder::FolderType;

const PATH: &str = "/v1/embeddings";

/// The vectors of an answer, in order.
fn vectors(answer: &Value) -> Vec<Vec<f32>> {
    let numbers = |item: &Value| serde_json::from_value(item["embedding"].clone()).unwrap();
    answer["data"].as_array().unwrap().iter().map(numbers).collect()
}

/// The numbers in a text of bytes, by RFC 4648.
fn from_base64(text: &str) -> Vec<f32> {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits: Vec<u32> = text.trim_end_matches('=').chars().map(|c| ALPHABET.find(c).unwrap() as u32).collect();
    let mut bytes = Vec::new();
    for group in digits.chunks(4) {
        let value = group.iter().enumerate().fold(0, |value, (i, digit)| value | digit << (18 - 6 * i));
        bytes.extend(&value.to_be_bytes()[1..group.len()]);
    }
    assert_eq!(bytes.len() % 4, 0);
    bytes.chunks(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect()
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

#[track_caller]
pub(crate) fn refused(answer: &Answer, status: u16, param: &str) -> String {
    let error = &answer.json()["error"];
    assert_eq!((answer.status, &error["param"]), (status, &json!(param)), "{error}");
    error["message"].as_str().unwrap().to_owned()
}

#[test]
fn an_answer_has_openais_shape() {
    let service = Service::shared();
    let texts = json!(["the doctor is tired", "an exhausted physician", "recipe for pancakes"]);
    let answer = service.ask(PATH, &json!({"input": texts, "model": "text-embedding-3-small"}));
    assert_eq!((&answer["object"], &answer["model"]), (&json!("list"), &json!("starter/embed")));
    for (index, item) in answer["data"].as_array().unwrap().iter().enumerate() {
        assert_eq!((&item["object"], &item["index"]), (&json!("embedding"), &json!(index)));
    }
    let vectors = vectors(&answer);
    assert_eq!((vectors.len(), vectors[0].len()), (3, 256));
    assert!(vectors.iter().all(|vector| (cosine(vector, vector) - 1.0).abs() < 1e-3));
    assert!(cosine(&vectors[0], &vectors[1]) > cosine(&vectors[0], &vectors[2]) + 0.1);
    assert_eq!(service.ask("/embeddings", &json!({"input": texts}))["data"], answer["data"]);
}

#[test]
fn usage_adds_up_and_order_and_company_change_no_bit() {
    let service = Service::shared();
    let texts = ["a", "the second text is a little longer", "x y z"];
    let alone: Vec<Value> = texts.iter().map(|text| service.ask(PATH, &json!({"input": text}))).collect();
    let together = service.ask(PATH, &json!({"input": [texts[2], texts[0], texts[1], texts[0]]}));
    let of = |i: usize| vectors(&alone[i]).remove(0);
    assert_eq!(vectors(&together), [of(2), of(0), of(1), of(0)]);
    let tokens = |answer: &Value| answer["usage"]["prompt_tokens"].as_u64().unwrap();
    assert_eq!(tokens(&together), tokens(&alone[2]) + 2 * tokens(&alone[0]) + tokens(&alone[1]));
    assert_eq!(together["usage"]["total_tokens"], together["usage"]["prompt_tokens"]);
    // One character between the two marks.
    assert_eq!(tokens(&alone[0]), 3);
}

#[test]
fn bytes_and_numbers_have_the_same_bits() {
    let service = Service::shared();
    let ask = |format: &str| service.ask(PATH, &json!({"input": ["one", "two"], "encoding_format": format}));
    let (numbers, bytes) = (ask("float"), ask("base64"));
    let read: Vec<Vec<f32>> =
        bytes["data"].as_array().unwrap().iter().map(|item| from_base64(item["embedding"].as_str().unwrap())).collect();
    assert_eq!(read, vectors(&numbers));
    assert_eq!(numbers["usage"], bytes["usage"]);
}

#[test]
fn the_one_bad_input_is_named() {
    let service = Service::shared();
    let long = "word ".repeat(600);
    for (input, param) in [
        (json!(null), "input"),
        (json!(""), "input"),
        (json!([]), "input"),
        (json!(["a", "", "b"]), "input[1]"),
        (json!(["a", null]), "input[1]"),
        (json!(["a", 3]), "input[1]"),
        (json!([["a"]]), "input[0][0]"),
        (json!(long), "input"),
        (json!(["a", long]), "input[1]"),
        (json!([5, 99_999]), "input[1]"),
        (json!([[5], [6, 100_256]]), "input[1][1]"),
        (json!(vec!["a"; 2049]), "input"),
    ] {
        refused(&service.post(PATH, &json!({"input": input})), 400, param);
    }
    refused(&service.post(PATH, &json!({})), 400, "input");
    let foreign = refused(&service.post(PATH, &json!({"input": [100_256]})), 400, "input[0]");
    assert!(foreign.contains("check_embedding_ctx_length=False"), "{foreign}");
    refused(&service.post(PATH, &json!({"input": "a", "dimensions": 64})), 400, "dimensions");
    refused(&service.post(PATH, &json!({"input": "a", "encoding_format": "hex"})), 400, "encoding_format");
    refused(&service.post(PATH, &json!({"input": "a", "pooling": "sum"})), 400, "pooling");
    let exceeded = service.post(PATH, &json!({"input": long})).json();
    assert_eq!(exceeded["error"]["code"], "context_length_exceeded");
    // Cut where that is asked for.
    assert_eq!(service.ask(PATH, &json!({"input": long, "truncate": true}))["usage"]["prompt_tokens"], 256);
}

#[test]
fn tokens_older_names_and_pooling_are_taken() {
    let service = Service::shared();
    let text = service.ask(PATH, &json!({"text": "hello there"}));
    assert_eq!(service.ask(PATH, &json!({"input": "hello there"}))["data"], text["data"]);
    assert_eq!(service.ask("/v1/engines/text-embedding-ada-002/embeddings", &json!({"input": "hello there"})), text);
    let several = service.ask(PATH, &json!({"input": [[5, 6, 7], [8]]}));
    assert_eq!((several["data"].as_array().unwrap().len(), &several["usage"]["prompt_tokens"]), (2, &json!(4)));
    assert_eq!(vectors(&service.ask(PATH, &json!({"input": [5, 6, 7]})))[0], vectors(&several)[0]);
    // Under OpenAI's name, ids are of OpenAI's tokenizer, however small they are.
    let message =
        refused(&service.post(PATH, &json!({"input": [5, 6], "model": "text-embedding-3-small"})), 400, "input");
    assert!(message.contains("check_embedding_ctx_length=False"), "{message}");
    refused(
        &service.post("/v1/engines/text-embedding-ada-002/embeddings", &json!({"input": [[5], [6]]})),
        400,
        "input[0]",
    );
    let cls = service.ask(PATH, &json!({"input": "hello there", "pooling": "cls", "user": "me", "dimensions": null}));
    assert_ne!(cls["data"], text["data"]);
    assert_eq!(service.ask(PATH, &json!({"input": "hello there", "pooling": "mean"}))["data"], text["data"]);
}

#[test]
fn names_never_reach_a_model_of_the_other_kind() {
    let service = Service::shared();
    for model in ["gpt-4o", "starter/chat", "no/such", "whisper-1"] {
        refused(&service.post(PATH, &json!({"input": "a", "model": model})), 404, "model");
    }
    for model in ["starter/embed", "text-embedding-3-small", "@cf/baai/bge-base-en-v1.5"] {
        let body = json!({"model": model, "messages": [{"role": "user", "content": "hi"}]});
        refused(&service.post("/v1/chat/completions", &body), 404, "model");
    }
    let answer = service.post(PATH, &json!({"input": "a", "model": "@cf/baai/bge-base-en-v1.5"}));
    assert_eq!((answer.status, answer.header("x-lampstand-substitute")), (200, Some("starter/embed")));
    // It is loaded beside the one model that `models_max` allows.
    service.ask(PATH, &json!({"input": "a", "model": "starter/embed"}));
    let listed = service.get("/v1/models").json();
    let status = |id: &str| {
        let of = |model: &&Value| model["id"] == id;
        listed["data"].as_array().unwrap().iter().find(of).map(|model| model["status"].clone())
    };
    assert_eq!((status("starter/chat"), status("starter/embed")), (Some(json!("loaded")), Some(json!("loaded"))));
    assert_eq!(status("text-embedding-3-small"), Some(json!("alias")));
}

#[test]
fn documents_are_ranked_by_the_query() {
    let service = Service::shared();
    let documents = json!(["the price of a bicycle", {"text": "recipe for gateau"}, "the weather in Paris tomorrow"]);
    let body = json!({"query": "how do I bake a cake in the oven?", "documents": documents, "return_documents": true});
    let answer = service.ask("/v1/rerank", &body);
    let results = answer["results"].as_array().unwrap();
    assert_eq!((results.len(), &results[0]["index"]), (3, &json!(1)), "{results:?}");
    assert_eq!(results[0]["document"], json!({"text": "recipe for gateau"}));
    let scores: Vec<f64> = results.iter().map(|result| result["relevance_score"].as_f64().unwrap()).collect();
    assert!(scores.is_sorted_by(|a, b| a >= b) && answer["usage"]["total_tokens"].as_u64().unwrap() > 10);
    let two = service.ask("/rerank", &json!({"query": "q", "documents": documents, "top_n": 2}));
    assert_eq!((two["results"].as_array().unwrap().len(), &two["results"][0]["document"]), (2, &json!(null)));
    let long = json!({"query": "q", "documents": ["a", "word ".repeat(600)]});
    refused(&service.post("/v1/rerank", &long), 400, "documents[1]");

    // The same numbers by the two older dialects.
    let texts = ["the price of a bicycle", "recipe for gateau", "the weather in Paris tomorrow"];
    let found = service.ask("/v1/search", &json!({"query": body["query"], "documents": texts}));
    let score = service.ask("/v1/score", &json!({"text_1": body["query"], "text_2": texts}));
    for (index, result) in found["data"].as_array().unwrap().iter().enumerate() {
        assert_eq!((&result["object"], &result["document"]), (&json!("search_result"), &json!(index)));
        assert_eq!((&score["data"][index]["score"], &score["data"][index]["index"]), (&result["score"], &json!(index)));
        let ranked = results.iter().find(|ranked| ranked["index"] == index).unwrap();
        assert_eq!(ranked["relevance_score"], result["score"]);
    }
    let of_engine =
        service.ask("/v1/engines/starter/embed/search", &json!({"query": body["query"], "documents": texts}));
    assert_eq!(of_engine["data"], found["data"]);
    let pairs = service.ask("/v1/score", &json!({"text_1": ["a", "b"], "text_2": ["a", "c"]}));
    assert!((pairs["data"][0]["score"].as_f64().unwrap() - 1.0).abs() < 1e-3);
}

#[test]
fn a_model_that_does_not_classify_says_so() {
    let message = refused(&Service::shared().post("/v1/classify", &json!({"input": "a"})), 400, "model");
    assert!(message.contains("embeddings"), "{message}");
}

#[test]
fn moderation_tells_threats_from_talk() {
    let service = Service::shared();
    let texts = ["I will kill you with a knife.", "Which museum in Oslo should I visit?"];
    let answer = service.ask("/v1/moderations", &json!({"input": texts}));
    assert!(answer["id"].as_str().unwrap().starts_with("modr-"));
    let results = answer["results"].as_array().unwrap();
    assert_eq!((results.len(), results[0]["categories"].as_object().unwrap().len()), (2, 13));
    assert_eq!((&results[0]["flagged"], &results[1]["flagged"]), (&json!(true), &json!(false)), "{results:?}");
    assert!(results[0]["category_scores"]["violence"].as_f64() > results[1]["category_scores"]["violence"].as_f64());
    // Nothing hides behind length.
    let hidden = format!("{} {} {}", "The weather is nice. ".repeat(60), texts[0], "We had dinner. ".repeat(60));
    assert_eq!(service.ask("/v1/moderations", &json!({"input": hidden}))["results"][0]["flagged"], true);
    let older = json!({"input": texts[1], "model": "text-moderation-latest"});
    let older = service.ask("/v1/moderations", &older)["results"][0].clone();
    assert_eq!((older["categories"].as_object().unwrap().len(), &older["flagged"]), (11, &json!(false)));
    assert!(older.get("category_applied_input_types").is_none());
}

#[test]
fn the_threshold_and_the_bound_come_from_the_settings() {
    let layer = Layer { moderation_threshold: Some(0.0), inputs_max: Some(2), ..Layer::default() };
    let service = Service::start(layer);
    assert_eq!(service.ask("/v1/moderations", &json!({"input": "hello"}))["results"][0]["flagged"], true);
    assert_eq!(service.post(PATH, &json!({"input": ["a", "b"]})).status, 200);
    refused(&service.post(PATH, &json!({"input": ["a", "b", "c"]})), 400, "input");
    refused(&service.post("/v1/rerank", &json!({"query": "q", "documents": ["a", "b", "c"]})), 400, "documents");
}

#[test]
fn an_embedding_model_that_is_not_here_is_told_and_spoils_nothing_else() {
    let service = Service::start(Layer { embedding_model: Some("no/such-encoder".into()), ..Layer::default() });
    let message = refused(&service.post(PATH, &json!({"input": "a"})), 404, "model");
    assert!(message.contains("no/such-encoder") && message.contains("embedding_model"), "{message}");
    assert_eq!(service.post("/v1/completions", &json!({"prompt": "a", "max_tokens": 1})).status, 200);
    // What lies here can still be named.
    assert_eq!(service.post(PATH, &json!({"input": "a", "model": "starter/embed"})).status, 200);
}

/// A server whose model folder holds a chat model and three encoders: for vectors, pairs and classes.
fn toys(name: &str) -> (TempFolder, Service) {
    let folder = TempFolder::new(name);
    let at = |toy: &str| {
        let path = folder.path().join(toy);
        std::fs::create_dir_all(&path).unwrap();
        path
    };
    Toy::named("llama").write_folder(&at("chat"), FolderType::F32);
    for toy in ["bert", "bert_rerank", "distilbert_classes"] {
        EncoderToy::named(toy).write_folder(&at(toy), FolderType::F32);
    }
    EncoderToy::write_sentences(&folder.path().join("bert"), "mean", true, 32);
    let service = Service::start(Layer {
        model_dir: Some(folder.path().to_owned()),
        model: Some("chat".into()),
        embedding_model: Some("bert".into()),
        ..Layer::default()
    });
    (folder, service)
}

#[test]
fn a_cross_encoder_judges_pairs_and_a_classifier_tells_classes() {
    let (_folder, service) = toys("encoders");
    let documents = ["abc", "xyz", "hello", "q"];
    let body = json!({"model": "bert_rerank", "query": "ab", "documents": documents});
    let answer = service.ask("/v1/rerank", &body);
    let results = answer["results"].as_array().unwrap();
    assert_eq!((results.len(), &answer["model"]), (4, &json!("bert_rerank")));
    let score = service.ask("/v1/score", &json!({"model": "bert_rerank", "text_1": "ab", "text_2": documents}));
    for result in results {
        let probability = result["relevance_score"].as_f64().unwrap();
        assert!(probability > 0.0 && probability < 1.0);
        let index = result["index"].as_u64().unwrap() as usize;
        assert_eq!(score["data"][index]["score"], result["relevance_score"]);
    }
    // Vectors would give other numbers.
    assert_ne!(service.ask("/v1/score", &json!({"text_1": "ab", "text_2": documents}))["data"], score["data"]);
    let long = json!({"model": "bert_rerank", "query": "ab", "documents": ["a ".repeat(400)]});
    refused(&service.post("/v1/rerank", &long), 400, "documents");
    refused(&service.post(PATH, &json!({"model": "bert_rerank", "input": "ab"})), 400, "model");

    let classes = service.ask("/v1/classify", &json!({"model": "distilbert_classes", "input": ["ab", "xyz"]}));
    for (index, item) in classes["data"].as_array().unwrap().iter().enumerate() {
        assert_eq!((&item["index"], &item["labels"]), (&json!(index), &json!(["NO", "YES"])));
        let probs: Vec<f64> = serde_json::from_value(item["probs"].clone()).unwrap();
        assert!((probs.iter().sum::<f64>() - 1.0).abs() < 1e-5);
        assert_eq!(item["label"], if probs[1] > probs[0] { "YES" } else { "NO" });
    }
    let document = service.get("/openapi.json").json();
    assert!(document["components"]["schemas"]["ClassifyResponse"].is_object());
}

#[test]
fn encoders_take_no_place_of_chat_models_and_make_room_among_themselves() {
    let (_folder, service) = toys("encoders-room");
    let complete = || service.ask("/v1/completions", &json!({"prompt": "a", "max_tokens": 1}))["model"].clone();
    assert_eq!(complete(), "chat");
    for model in ["bert", "bert_rerank", "distilbert_classes"] {
        let path = if model == "distilbert_classes" { "/v1/classify" } else { "/v1/rerank" };
        let body = json!({"model": model, "query": "a", "documents": ["b"], "input": "a"});
        assert_eq!(service.ask(path, &body)["model"], model);
        assert_eq!(complete(), "chat");
    }
    let listed = service.get("/v1/models").json();
    let capabilities = |id: &str| {
        let of = |model: &&Value| model["id"] == id;
        listed["data"].as_array().unwrap().iter().find(of).map(|model| model["capabilities"].clone())
    };
    assert_eq!(capabilities("bert"), Some(json!(["embeddings"])));
    assert_eq!(capabilities("chat"), Some(json!(["chat", "completions"])));
    assert!(capabilities("bert_rerank").unwrap().as_array().unwrap().contains(&json!("rerank")));
    refused(&service.post("/v1/completions", &json!({"model": "bert", "prompt": "a"})), 404, "model");
    refused(&service.post(PATH, &json!({"model": "chat", "input": "a"})), 404, "model");
}

#[test]
fn the_program_starts_without_an_embedding_model_that_cannot_be_fetched() {
    let running = Running::start(&["--embedding-model", "no-such-encoder"]);
    let post = |path, body: Value| {
        Request { method: "POST", path, headers: &[], body: &body.to_string() }.send(running.address)
    };
    let message = refused(&post(PATH, json!({"input": "a"})), 404, "model");
    assert!(message.contains("sentence-transformers/no-such-encoder"), "{message}");
    assert_eq!(post("/v1/completions", json!({"prompt": "a", "max_tokens": 1})).status, 200);
}
