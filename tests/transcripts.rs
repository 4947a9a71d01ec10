//! What becomes of a recording, in every form of answer, whole and as a stream, and from the command line.
//! Runs servers with a toy that listens: its words are seeded noise, so shapes and agreements are checked.
//! Invariant: no check hangs on what is heard.

use std::process::Output;

use api::settings::Layer;
use serde_json::{Value, json};

use crate::audio::{Form, PATH, refused, tone};
use crate::client::Answer;
use crate::command::lampstand;
use crate::documents::{document, fits};
use crate::service::Service;
use crate::temp_folder::TempFolder;
use crate::toy::folder::FolderType;
use crate::toy::speech::SpeechToy;

const TRANSLATIONS: &str = "/v1/audio/translations";

/// A folder with a toy, which is called `ears`.
fn toy() -> TempFolder {
    let folder = TempFolder::new("transcripts");
    SpeechToy::new().write_folder(&folder.path().join("ears"), FolderType::F32);
    folder
}

fn serve(folder: &TempFolder, flags: Layer) -> Service {
    let path = folder.path().join("ears").to_str().unwrap().to_owned();
    Service::start(Layer { transcription_model: Some(path), ..flags })
}

/// A recording that is heard whole, so that something is written.
fn heard() -> Form {
    Form::default().file("a.wav", &tone(2.0)).text("vad_filter", "false")
}

#[track_caller]
fn answered(answer: Answer) -> Answer {
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer
}

#[test]
fn every_form_of_answer_tells_the_same_text() {
    let folder = toy();
    let (service, document) = (serve(&folder, Layer::default()), document());
    let plain = answered(heard().text("model", "whisper-1").send(&service, PATH));
    assert_eq!(plain.header("content-type"), Some("application/json"));
    fits(&document, "CreateTranscriptionResponseJson", &plain.json());
    assert_eq!(plain.json()["usage"]["input_token_details"]["audio_tokens"], 100);
    // Times cost tokens, so what is written beside them may differ: those with times agree among themselves.
    let text = answered(heard().text("response_format", "text").send(&service, PATH));
    assert_eq!(text.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(text.body, format!("{}\n", plain.json()["text"].as_str().unwrap()));
    let verbose = answered(heard().text("response_format", "verbose_json").send(&service, PATH)).json();
    fits(&document, "CreateTranscriptionResponseVerboseJson", &verbose);
    assert_eq!((&verbose["duration"], &verbose["usage"]), (&json!(2.0), &json!({"type": "duration", "seconds": 2})));
    let segments = verbose["segments"].as_array().unwrap();
    let joined: String = segments.iter().map(|segment| segment["text"].as_str().unwrap()).collect();
    assert_eq!(verbose["text"], joined.trim());
    assert!(verbose.get("words").is_none() && ["english", "german"].contains(&verbose["language"].as_str().unwrap()));
    let shown = segments.iter().filter(|segment| !segment["text"].as_str().unwrap().trim().is_empty()).count();
    let srt = answered(heard().text("response_format", "srt").send(&service, PATH));
    assert_eq!(srt.header("content-type"), Some("application/x-subrip; charset=utf-8"));
    assert_eq!(srt.body.matches(" --> ").count(), shown, "{}", srt.body);
    let vtt = answered(heard().text("response_format", "vtt").send(&service, PATH));
    assert_eq!(vtt.header("content-type"), Some("text/vtt; charset=utf-8"));
    assert!(vtt.body.starts_with("WEBVTT\n\n") && vtt.body.matches(" --> ").count() == shown);
}

#[test]
fn words_logprobs_and_languages_are_told_where_they_are_asked_for() {
    let folder = toy();
    let (service, document) = (serve(&folder, Layer::default()), document());
    let verbose = heard().text("response_format", "verbose_json").text("timestamp_granularities[]", "word");
    let words = answered(verbose.text("language", "German").send(&service, "/audio/transcriptions")).json();
    fits(&document, "CreateTranscriptionResponseVerboseJson", &words);
    assert!(words.get("segments").is_none() && words["words"].is_array());
    assert_eq!((&words["language"], &words["task"]), (&json!("german"), &json!("transcribe")));
    let told = answered(heard().text("include[]", "logprobs").send(&service, PATH)).json();
    fits(&document, "CreateTranscriptionResponseJson", &told);
    assert!(told["logprobs"].is_array());
    let english = answered(heard().text("response_format", "verbose_json").send(&service, TRANSLATIONS)).json();
    assert_eq!((&english["task"], &english["language"]), (&json!("translate"), &json!("english")));
    let message = refused(&heard().text("language", "klingon").send(&service, PATH), 400, Some("language"));
    assert!(message.contains("klingon"), "{message}");
}

#[test]
fn the_deltas_of_a_stream_joined_are_its_text() {
    let folder = toy();
    let (service, document) = (serve(&folder, Layer::default()), document());
    let whole = answered(heard().send(&service, PATH)).json();
    let streamed = heard().text("stream", "true").text("include[]", "logprobs").text("model", "gpt-4o-transcribe");
    let events = streamed.send(&service, PATH).chunks();
    let (done, deltas) = events.split_last().unwrap();
    fits(&document, "TranscriptTextDoneEvent", done);
    deltas.iter().for_each(|delta| fits(&document, "TranscriptTextDeltaEvent", delta));
    let joined: String = deltas.iter().map(|delta| delta["delta"].as_str().unwrap()).collect();
    assert_eq!((&done["text"], &done["text"]), (&json!(joined), &whole["text"]));
    let tokens = |event: &Value| event["logprobs"].as_array().unwrap().len();
    assert_eq!(tokens(done), deltas.iter().map(tokens).sum::<usize>());
}

#[test]
fn what_cannot_be_heard_names_the_file() {
    let folder = toy();
    let service = serve(&folder, Layer::default());
    let text = b"This is a text, whatever its name says.\n".repeat(50);
    refused(&Form::default().file("a.mp3", &text).send(&service, PATH), 400, Some("file"));
    refused(&Form::default().file("a.wav", &tone(1.0)[..30]).send(&service, PATH), 400, Some("file"));
    let silence = Form::default().file("a.wav", &tone(0.0)).send(&service, PATH);
    assert!(silence.status == 400 || silence.json()["text"] == "", "{}", silence.body);
    // A browser's name and type for something else do no harm.
    answered(Form::default().file("recording.webm", &tone(0.5)).send(&service, PATH));
}

#[test]
fn a_large_recording_and_many_small_ones_are_heard() {
    let folder = toy();
    let service = serve(&folder, Layer::default());
    // More than what stays in memory; silence but for its end.
    let mut long = tone(70.0);
    let end = long.len() - 64_000;
    long[44..end].fill(0);
    let verbose =
        answered(Form::default().file("a.wav", &long).text("response_format", "verbose_json").send(&service, PATH));
    assert_eq!(verbose.json()["duration"], 70.0);
    let alone = answered(heard().send(&service, PATH)).json();
    let together = std::thread::scope(|scope| {
        let asks: Vec<_> = (0..6).map(|_| scope.spawn(|| heard().send(&service, PATH))).collect();
        asks.into_iter().map(|ask| ask.join().unwrap()).collect::<Vec<_>>()
    });
    together.into_iter().for_each(|answer| assert_eq!(answered(answer).json(), alone));
}

#[test]
fn what_a_model_cannot_translate_a_chat_model_does() {
    let folder = toy();
    // As the models for English alone say it.
    folder.write("ears/generation_config.json", r#"{"is_multilingual": false}"#);
    let service = serve(&folder, Layer { autoload: Some(false), ..Layer::default() });
    let answer = answered(heard().send(&service, TRANSLATIONS));
    assert_eq!(answer.header("x-lampstand-translated-by"), Some("starter/chat"));
    let streamed = heard().text("stream", "true").send(&service, TRANSLATIONS);
    let events = streamed.chunks();
    assert_eq!(events.last().unwrap()["text"], answer.json()["text"]);
    assert_eq!(answered(heard().send(&service, PATH)).header("x-lampstand-translated-by"), None);
    service.state.engine.unload("starter/chat").unwrap();
    let message = refused(&heard().send(&service, TRANSLATIONS), 400, Some("model"));
    assert!(message.contains("ears") && message.contains("cannot translate"), "{message}");
}

#[test]
fn models_that_listen_are_listed() {
    let folder = toy();
    let service = serve(&folder, Layer::default());
    answered(heard().send(&service, PATH));
    let listed = service.get("/v1/models").json();
    let of = |id: &str| listed["data"].as_array().unwrap().iter().find(|model| model["id"] == id).cloned();
    let own = of("ears").unwrap();
    assert_eq!((&own["status"], &own["capabilities"]), (&json!("loaded"), &json!(["transcription", "translation"])));
    assert_eq!(of("whisper-1").unwrap()["root"], "ears");
    assert_eq!(service.get("/v1/models/whisper-1").json()["root"], "ears");
    let body = json!({"model": "ears", "messages": [{"role": "user", "content": "hi"}]});
    assert_eq!(service.post("/v1/chat/completions", &body).status, 404);
}

#[test]
fn a_recording_is_written_down_from_the_command_line() {
    let folder = toy();
    std::fs::write(folder.path().join("a.wav"), tone(2.0)).unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (model, recording) = (path("ears"), path("a.wav"));
    let run = |more: &[&str]| -> Output {
        let said = [&["transcribe", recording.as_str(), "--model", model.as_str(), "--offline"], more].concat();
        lampstand(&said).output().unwrap()
    };
    let told = |output: Output| {
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let vtt = told(run(&["--format", "vtt", "--language", "de"]));
    assert!(vtt.starts_with("WEBVTT\n\n"), "{vtt}");
    let json: Value = serde_json::from_str(&told(run(&["--format", "json", "--translate"]))).unwrap();
    assert_eq!((&json["task"], &json["duration"]), (&json!("translate"), &json!(2.0)));
    assert!(json["words"].is_array() && json["segments"].is_array());
    let written = path("a.srt");
    assert_eq!(told(run(&["--format", "srt", "--language", "de", "--output", &written])), "");
    let cues = std::fs::read_to_string(written).unwrap().matches(" --> ").count();
    assert_eq!(cues, vtt.matches(" --> ").count());
    for (arguments, word) in
        [(&["--language", "klingon"][..], "klingon"), (&["--settings", "/no/such.yaml"], "no/such")]
    {
        let output = run(arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), said.lines().count()), (Some(1), 1), "{said}");
        assert!(said.starts_with("lampstand: ") && said.contains(word), "{said}");
    }
    let missing = lampstand(&["transcribe", "/no/such.mp3", "--model", &model]).output().unwrap();
    assert!(String::from_utf8(missing.stderr).unwrap().contains("/no/such.mp3"));
}
