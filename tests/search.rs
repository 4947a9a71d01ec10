//! Search in files, and ids of OpenAI's tokenizer: what lies beside the models and is found by name.
//! Runs against a server of its own with the encoder that comes along.
//! Invariant: no name leads out of the folder, and nothing of it is told where the setting is off.

use api::settings::Layer;
use serde_json::{Value, json};

use crate::embeddings::refused;
use crate::service::Service;
use crate::temp_folder::TempFolder;

fn service(name: &str) -> (TempFolder, Service) {
    let folder = TempFolder::new(name);
    let write = |name: &str, lines: &[Value]| {
        let text: Vec<String> = lines.iter().map(Value::to_string).collect();
        std::fs::write(folder.path().join(name), text.join("\n")).unwrap();
    };
    let texts = ["the price of a bicycle", "recipe for gateau", "the weather in Paris tomorrow"];
    let with_page = |(page, text): (usize, &&str)| json!({"text": text, "metadata": format!("page {page}")});
    write("pages.jsonl", &texts.iter().enumerate().map(with_page).collect::<Vec<_>>());
    let many: Vec<Value> = (0..3000).map(|i| json!({"text": format!("nothing of note, number {i}")})).collect();
    write("many.jsonl", &[&many[..], &[json!({"text": "recipe for gateau"})]].concat());
    write("bad.jsonl", &[json!({"text": "a"}), json!({"title": "b"})]);
    let service = Service::start(Layer { search_dir: Some(folder.path().to_owned()), ..Layer::default() });
    (folder, service)
}

#[test]
fn a_file_is_searched_as_documents_are() {
    let (_folder, service) = service("search");
    let query = "how do I bake a cake in the oven?";
    let texts = ["the price of a bicycle", "recipe for gateau", "the weather in Paris tomorrow"];
    let documents = service.ask("/v1/search", &json!({"query": query, "documents": texts}));
    for (path, file) in [("/v1/search", "pages"), ("/v1/engines/starter/embed/search", "pages.jsonl")] {
        let found = service.ask(path, &json!({"query": query, "file": file, "return_metadata": true}));
        for (index, result) in found["data"].as_array().unwrap().iter().enumerate() {
            assert_eq!((&result["document"], &result["text"]), (&json!(index), &json!(texts[index])));
            assert_eq!(result["metadata"], format!("page {index}"));
            assert_eq!(result["score"], documents["data"][index]["score"]);
        }
    }
    // Of many lines those are compared that share words with the query, so the last is found among thousands.
    let found = service.ask("/v1/search", &json!({"query": "a recipe for cake", "file": "many", "max_rerank": 5}));
    let results = found["data"].as_array().unwrap();
    let best = results.iter().max_by(|a, b| a["score"].as_f64().unwrap().total_cmp(&b["score"].as_f64().unwrap()));
    assert_eq!((results.len(), &best.unwrap()["document"]), (5, &json!(3000)));
    assert!(results[0].get("metadata").is_none());
}

#[test]
fn a_file_that_cannot_be_searched_is_told() {
    let (folder, service) = service("search-refused");
    let post = |service: &Service, file: &str| service.post("/v1/search", &json!({"query": "q", "file": file}));
    let message = refused(&post(&service, "no such"), 400, "file");
    assert!(message.contains("bad.jsonl, many.jsonl, pages.jsonl"), "{message}");
    assert!(refused(&post(&service, "bad"), 400, "file").contains("line 2"));
    let name = folder.path().file_name().unwrap().to_str().unwrap();
    for file in ["../pages", "./pages", "/etc/passwd", &format!("../{name}/pages"), "..", ""] {
        refused(&post(&service, file), 400, "file");
    }
    let off = refused(&post(Service::shared(), "pages"), 400, "file");
    assert!(off.contains("search_dir") && !off.contains("pages.jsonl"), "{off}");
}
