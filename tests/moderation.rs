//! Moderation by a model that was made for it: a classifier's labels, and a guard's answers.
//! Runs against servers of its own with seeded toys.
//! Invariant: what is checked is which categories get a score and whose it is; toys know no meanings.

use api::settings::Layer;
use serde_json::{Value, json};

use crate::embeddings::refused;
use crate::service::Service;
use crate::temp_folder::TempFolder;
use crate::toy::Toy;
use crate::toy::encoder::EncoderToy;
use crate::toy::folder::FolderType;

const PATH: &str = "/v1/moderations";

/// A server whose model folder holds a chat model, an encoder, a classifier with these labels, and a guard.
fn service(name: &str, moderation_model: Option<&str>, labels: &Value) -> (TempFolder, Service) {
    let folder = TempFolder::new(name);
    let at = |toy: &str| folder.path().join(toy);
    for toy in ["chat", "guard"] {
        std::fs::create_dir_all(at(toy)).unwrap();
        Toy::named("llama").write_folder(&at(toy), FolderType::F32);
    }
    let template =
        "{{ bos_token }}Is there unsafe content in this message?\nS1: Violent Crimes.\n{{ messages[0].content }}\n";
    std::fs::write(at("guard").join("chat_template.jinja"), template).unwrap();
    EncoderToy::named("bert").write_folder(&at("bert"), FolderType::F32);
    let mut classifier = EncoderToy::named("roberta_classes");
    classifier.config["id2label"] = labels.clone();
    classifier.config["problem_type"] = json!("multi_label_classification");
    classifier.write_folder(&at("classifier"), FolderType::F32);
    let service = Service::start(Layer {
        model_dir: Some(folder.path().to_owned()),
        model: Some("chat".into()),
        embedding_model: Some("bert".into()),
        moderation_model: moderation_model.map(str::to_owned),
        ..Layer::default()
    });
    (folder, service)
}

#[test]
fn a_classifiers_probabilities_are_the_scores() {
    let labels = json!({"0": "toxic", "1": "S3", "2": "safe"});
    let (_folder, service) = service("moderation-classes", Some("classifier"), &labels);
    let texts = ["ab", "hello there"];
    let classes = service.ask("/v1/classify", &json!({"model": "classifier", "input": texts}));
    for model in [Value::Null, json!("omni-moderation-latest"), json!("classifier")] {
        let answer = service.ask(PATH, &json!({"input": texts, "model": model}));
        assert_eq!(answer["model"], "classifier");
        for (index, result) in answer["results"].as_array().unwrap().iter().enumerate() {
            let probs: Vec<f32> = serde_json::from_value(classes["data"][index]["probs"].clone()).unwrap();
            let score = |category: &str| result["category_scores"][category].as_f64().unwrap() as f32;
            assert_eq!(result["category_scores"].as_object().unwrap().len(), 13);
            assert_eq!((score("harassment"), score("sexual"), score("sexual/minors")), (probs[0], probs[1], probs[1]));
            assert_eq!((score("violence"), score("hate")), (0.0, 0.0));
            assert_eq!(result["flagged"], probs[0].max(probs[1]) >= 0.5);
        }
    }
    // What is longer than the model takes is judged in pieces, and the worst counts.
    let long = "ab cd ".repeat(300);
    let answer = service.ask(PATH, &json!({"input": long}));
    let short = service.ask(PATH, &json!({"input": "ab cd ".repeat(3)}));
    assert!(answer["results"][0]["category_scores"]["harassment"].as_f64().unwrap() > 0.0);
    assert_eq!(short["model"], "classifier");
    // Without a name the embedding model would have been asked; it still can be.
    assert_eq!(service.ask(PATH, &json!({"input": "ab", "model": "bert"}))["model"], "bert");
}

#[test]
fn a_guard_is_a_chat_model_that_asks_and_nothing_else() {
    let labels = json!({"0": "a", "1": "b", "2": "c"});
    let (_folder, service) = service("moderation-guard", Some("guard"), &labels);
    // A toy says anything; that it is no verdict must not pass for one.
    let message = refused(&service.post(PATH, &json!({"input": "hello"})), 400, "model");
    assert!(message.contains("neither safe nor unsafe"), "{message}");
    let message = refused(&service.post(PATH, &json!({"input": "hello", "model": "chat"})), 400, "model");
    assert!(message.contains("template"), "{message}");
    let message = refused(&service.post(PATH, &json!({"input": "hello", "model": "classifier"})), 400, "model");
    assert!(message.contains("(a, b, c)"), "{message}");
    refused(&service.post(PATH, &json!({"input": "hello", "model": "gpt-4o"})), 404, "model");
}

#[test]
fn a_moderation_model_that_is_not_here_is_told() {
    let service = Service::start(Layer { moderation_model: Some("no/such".into()), ..Layer::default() });
    let message = refused(&service.post(PATH, &json!({"input": "hello"})), 404, "model");
    assert!(message.contains("no/such") && message.contains("moderation_model"), "{message}");
    assert_eq!(service.post(PATH, &json!({"input": "hello", "model": "starter/embed"})).status, 200);
}
