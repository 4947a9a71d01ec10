//! Texts and recordings translated by a model made for that, beside a chat model that could.
//! Runs servers with toys: their words are seeded noise, so shapes, names and agreements are checked.
//! Invariant: who translated is named in a header, and never guessed.

use api::settings::Layer;
use serde_json::json;

use crate::audio::{Form, refused, tone};
use crate::command::lampstand;
use crate::service::Service;
use crate::temp_folder::TempFolder;
use crate::toy::folder::FolderType;
use crate::toy::speech::SpeechToy;
use crate::toy::translation::TranslationToy;

const PATH: &str = "/v1/translate";
const BY: &str = "x-lampstand-translated-by";

/// A folder with a toy that translates, `tongues`, and one that listens, `ears`.
fn toys() -> TempFolder {
    let folder = TempFolder::new("translation");
    TranslationToy::new().write_folder(&folder.path().join("tongues"), FolderType::F16);
    SpeechToy::new().write_folder(&folder.path().join("ears"), FolderType::F32);
    folder
}

/// The path of a toy that listens and cannot translate. As in turbo: a decoder far smaller than the encoder knows the
/// token of translation and was not trained for it.
fn distilled(folder: &TempFolder) -> String {
    let mut toy = SpeechToy::new();
    toy.fixture["config"]["decoder_layers"] = json!(1);
    toy.write_folder(&folder.path().join("small"), FolderType::F32);
    folder.path().join("small").to_str().unwrap().to_owned()
}

fn serve(folder: &TempFolder, name: &str, flags: Layer) -> Service {
    let path = folder.path().join(name).to_str().unwrap().to_owned();
    Service::start(Layer { translation_model: Some(path), ..flags })
}

#[test]
fn the_translation_model_answers_and_a_chat_model_where_it_is_named() {
    let folder = toys();
    let service = serve(&folder, "tongues", Layer::default());
    let text = "Hello you. How are you?\nGo.";
    let body = json!({"text": text, "source_lang": "english", "target_lang": "de"});
    let answer = service.post(PATH, &body);
    assert_eq!(answer.status, 200, "{}", answer.body);
    let translated = answer.json()["translated_text"].as_str().unwrap().to_owned();
    assert!(translated.contains('\n') && translated != text, "{translated:?}");
    assert!(answer.header(BY).unwrap().ends_with("tongues"));
    // Without a language it is English, and the names of Workers AI and of NLLB mean the same.
    for other in [
        json!({"text": text, "target_lang": "German"}),
        json!({"text": text, "source_lang": "eng_Latn", "target_lang": "deu_Latn"}),
        json!({"text": text, "source_lang": "en-US", "target_lang": "de", "model": "@cf/meta/m2m100-1.2b"}),
        json!({"text": text, "source_lang": "en", "target_lang": "de", "model": "tongues"}),
    ] {
        assert_eq!(service.ask(PATH, &other)["translated_text"], translated.as_str(), "{other}");
    }
    let chat = service.post(PATH, &json!({"text": "Hi", "target_lang": "de", "model": "starter/chat"}));
    assert_eq!((chat.status, chat.header(BY)), (200, Some("starter/chat")));
    refused(&service.post(PATH, &json!({"text": "a", "target_lang": "klingon"})), 400, Some("target_lang"));
    refused(
        &service.post(PATH, &json!({"text": "a", "source_lang": "xx", "target_lang": "de"})),
        400,
        Some("source_lang"),
    );
    refused(&service.post(PATH, &json!({"text": "a", "target_lang": "de", "model": "nobody"})), 404, Some("model"));
    let messages = json!([{"role": "user", "content": "Hi"}]);
    let misplaced = service.post("/v1/chat/completions", &json!({"model": "tongues", "messages": messages}));
    refused(&misplaced, 404, Some("model"));
    let listed = service.get("/v1/models").json();
    let entry =
        listed["data"].as_array().unwrap().iter().find(|entry| entry["id"].as_str().unwrap().ends_with("tongues"));
    assert!(entry.unwrap().to_string().contains("text-translation"), "{listed}");
}

#[test]
fn texts_asked_at_once_are_translated_as_alone() {
    let folder = toys();
    let service = serve(&folder, "tongues", Layer { parallel: Some(2), ..Layer::default() });
    let texts: Vec<String> = (0..12).map(|index| format!("Here is number {index}. Be good. And call.")).collect();
    let ask = |text: &String| {
        let answer = service.ask(PATH, &json!({"text": text, "target_lang": "fr"}));
        answer["translated_text"].as_str().unwrap().to_owned()
    };
    let alone: Vec<String> = texts.iter().map(ask).collect();
    let together: Vec<String> = std::thread::scope(|scope| {
        let threads: Vec<_> = texts.iter().map(|text| scope.spawn(|| ask(text))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(alone, together);
}

#[test]
fn a_recording_whose_model_cannot_translate_is_translated_by_the_one_that_can() {
    let folder = toys();
    let ears = distilled(&folder);
    let service = serve(&folder, "tongues", Layer { transcription_model: Some(ears), ..Layer::default() });
    let heard = || Form::default().file("a.wav", &tone(2.0)).text("vad_filter", "false").text("language", "de");
    let answer = heard().send(&service, "/v1/audio/translations");
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert!(answer.header(BY).unwrap().ends_with("tongues"), "{answer:?}");
    let said = heard().send(&service, "/v1/audio/transcriptions");
    assert_eq!((said.status, said.header(BY)), (200, None));
    assert_ne!(answer.json()["text"], said.json()["text"]);
}

#[test]
fn the_command_line_translates_with_it_too() {
    let folder = toys();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("a.wav"), tone(2.0)).unwrap();
    let (ears, recording, tongues) = (distilled(&folder), path("a.wav"), path("tongues"));
    let run = |more: &[&str]| {
        let said = ["transcribe", &recording, "--model", &ears, "--offline", "--language", "de"];
        lampstand(&[&said, more].concat()).output().unwrap()
    };
    let (heard, translated) = (run(&[]), run(&["--translate", "--translation-model", &tongues]));
    assert!(heard.status.success() && translated.status.success(), "{translated:?}");
    let lines = |output: &[u8]| output.iter().filter(|&&byte| byte == b'\n').count();
    assert_eq!(lines(&heard.stdout), lines(&translated.stdout));
    assert_ne!(heard.stdout, translated.stdout);
    let refused = run(&["--translate"]);
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(refused.status.code() == Some(1) && said.contains("--translation-model"), "{said}");
}

#[test]
fn a_translation_model_that_is_not_here_is_told_and_chat_goes_on() {
    let model = Some("no/such-model".to_owned());
    let service = Service::start(Layer { translation_model: model, offline: Some(true), ..Layer::default() });
    let body = json!({"text": "Hi", "target_lang": "de", "model": "starter/chat"});
    assert_eq!(service.post(PATH, &body).status, 200);
    let answer = service.post(PATH, &json!({"text": "Hi", "target_lang": "de"}));
    assert_eq!((answer.status, answer.header(BY)), (200, Some("starter/chat")), "{}", answer.body);
}
