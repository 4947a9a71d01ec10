//! Recordings by HTTP: what is refused and why, how much may come at once, and that nothing stays behind.
//! Runs in-process servers; the recordings are made here.
//! Invariant: what is checked is shapes and names, never the words of a model.

use std::io::Write;
use std::net::TcpStream;

use api::settings::{ByteSize, Layer};
use serde_json::json;

use crate::client::{Answer, Request};
use crate::service::Service;

pub(crate) const PATH: &str = "/v1/audio/transcriptions";
const BOUNDARY: &str = "a-line-that-stands-in-no-recording";

/// A form under construction.
#[derive(Default)]
pub(crate) struct Form(Vec<u8>);

impl Form {
    pub(crate) fn text(self, name: &str, text: &str) -> Self {
        self.part(&format!("form-data; name=\"{name}\""), None, text.as_bytes())
    }

    pub(crate) fn file(self, file_name: &str, bytes: &[u8]) -> Self {
        let head = format!("form-data; name=\"file\"; filename=\"{file_name}\"");
        self.part(&head, Some("application/octet-stream"), bytes)
    }

    fn part(mut self, disposition: &str, content_type: Option<&str>, bytes: &[u8]) -> Self {
        self.0.extend(format!("--{BOUNDARY}\r\nContent-Disposition: {disposition}\r\n").bytes());
        if let Some(content_type) = content_type {
            self.0.extend(format!("Content-Type: {content_type}\r\n").bytes());
        }
        self.0.extend(b"\r\n");
        self.0.extend(bytes);
        self.0.extend(b"\r\n");
        self
    }

    fn ended(mut self) -> Vec<u8> {
        self.0.extend(format!("--{BOUNDARY}--\r\n").bytes());
        self.0
    }

    pub(crate) fn send(self, service: &Service, path: &str) -> Answer {
        with_type(path, |request| request.send_bytes(service.address, &self.ended()))
    }

    /// Sends the beginning of a form that never ends.
    pub(crate) fn begin(self, service: &Service) -> TcpStream {
        with_type(PATH, |request| request.post_bytes(service.address, &self.0, self.0.len() + 1000))
    }
}

fn with_type<T>(path: &str, ask: impl FnOnce(Request<'_>) -> T) -> T {
    let content_type = format!("multipart/form-data; boundary={BOUNDARY}");
    ask(Request { method: "POST", path, headers: &[("Content-Type", &content_type)], body: "" })
}

/// So many seconds of a tone, as wav: 16 bits, 16 kHz, one channel.
pub(crate) fn tone(seconds: f64) -> Vec<u8> {
    let samples: Vec<u8> = (0..(seconds * 16_000.0) as u32)
        .flat_map(|i| (((f64::from(i) * 0.17).sin() * 8000.0) as i16).to_le_bytes())
        .collect();
    let mut wav = Vec::new();
    wav.extend(b"RIFF");
    wav.extend((36 + samples.len() as u32).to_le_bytes());
    wav.extend(b"WAVEfmt ");
    for (number, bytes) in [(16, 4), (1, 2), (1, 2), (16_000, 4), (32_000, 4), (2, 2), (16, 2_u32)] {
        wav.extend(&u32::to_le_bytes(number)[..bytes as usize]);
    }
    wav.extend(b"data");
    wav.extend((samples.len() as u32).to_le_bytes());
    wav.extend(samples);
    wav
}

#[track_caller]
pub(crate) fn refused(answer: &Answer, status: u16, param: Option<&str>) -> String {
    let error = &answer.json()["error"];
    assert_eq!((answer.status, &error["param"]), (status, &json!(param)), "{error}");
    error["message"].as_str().unwrap().to_owned()
}

#[test]
fn what_is_no_recording_is_told_in_words_that_help() {
    let service = Service::shared();
    for path in [PATH, "/v1/audio/translations", "/audio/transcriptions"] {
        refused(&Form::default().text("model", "whisper-1").send(service, path), 400, Some("file"));
        refused(&Form::default().file("a.wav", b"").send(service, path), 400, Some("file"));
    }
    let json = service.post(PATH, &json!({"file": "a.wav", "model": "whisper-1"}));
    assert!(refused(&json, 400, None).contains("multipart/form-data"));
    let path = Form::default().text("file", "/home/me/a.wav").send(service, PATH);
    assert!(refused(&path, 400, Some("file")).contains("file=@PATH"));
    let twice = Form::default().file("a.wav", &tone(0.1)).file("b.wav", &tone(0.1)).send(service, PATH);
    refused(&twice, 400, Some("file"));
    let headers = [("Content-Type", "multipart/form-data")];
    let lost = Request { method: "POST", path: PATH, headers: &headers, body: "x" }.send(service.address);
    assert!(refused(&lost, 400, None).contains("boundary"));
    let cut = with_type(PATH, |request| request.send_bytes(service.address, &Form::default().file("a.wav", b"RIFF").0));
    assert!(refused(&cut, 400, None).contains("form"));
    assert_eq!(service.get(PATH).status, 405);
}

#[test]
fn the_one_bad_field_is_named_wherever_it_stands() {
    let service = Service::shared();
    for (name, text, param) in [
        ("response_format", "docx", "response_format"),
        ("response_format", "diarized_json", "response_format"),
        ("temperature", "1.5", "temperature"),
        ("temperature", "warm", "temperature"),
        ("timestamp_granularities[]", "word", "timestamp_granularities"),
        ("include[]", "everything", "include[0]"),
        ("stream", "perhaps", "stream"),
        ("chunking_strategy", "{\"type\": \"mine\"}", "chunking_strategy.type"),
        ("chunking_strategy[type]", "mine", "chunking_strategy.type"),
        ("beam_size", "99", "beam_size"),
        ("known_speaker_names[]", "Ada", "known_speaker_names"),
    ] {
        let before = Form::default().text(name, text).file("a.wav", &tone(0.1)).send(service, PATH);
        refused(&before, 400, Some(param));
        let behind = Form::default().file("a.wav", &tone(0.1)).text(name, text).send(service, PATH);
        refused(&behind, 400, Some(param));
    }
    let long = "x".repeat(70_000);
    refused(&Form::default().text("prompt", &long).file("a.wav", &tone(0.1)).send(service, PATH), 400, Some("prompt"));
    let many = (0..80).fold(Form::default(), |form, i| form.text(&format!("field_{i}"), "x"));
    assert!(refused(&many.file("a.wav", &tone(0.1)).send(service, PATH), 400, None).contains("fields"));
}

#[test]
fn names_of_other_models_never_listen() {
    let service = Service::shared();
    for model in ["gpt-4o", "starter/chat", "starter/embed", "text-embedding-3-small", "no/such", "@cf/deepgram/nova-3"]
    {
        let answer = Form::default().file("a.wav", &tone(0.1)).text("model", model).send(service, PATH);
        refused(&answer, 404, Some("model"));
    }
    for model in ["whisper-1", "gpt-4o-transcribe", "@cf/openai/whisper"] {
        let body = json!({"model": model, "messages": [{"role": "user", "content": "hi"}]});
        let message = refused(&service.post("/v1/chat/completions", &body), 404, Some("model"));
        assert!(message.contains("/v1/audio/transcriptions"), "{message}");
        refused(&service.post("/v1/embeddings", &json!({"model": model, "input": "a"})), 404, Some("model"));
    }
}

#[test]
fn a_speech_model_that_is_not_here_is_named_with_its_setting() {
    let model = Some("no/such-whisper".to_owned());
    let service = Service::start_without_model(Layer { transcription_model: model, ..Layer::default() });
    let early = Form::default().file("a.wav", &tone(0.1)).send(&service, PATH);
    assert_eq!((early.status, &early.json()["error"]["code"]), (503, &json!("model_loading")));
    let source = service.state.settings.model_source();
    service.state.load(source, &crate::service::Unwatched).unwrap();
    let message = refused(&Form::default().file("a.wav", &tone(0.1)).send(&service, PATH), 404, Some("model"));
    assert!(message.contains("no/such-whisper") && message.contains("transcription_model"), "{message}");
}

#[test]
fn a_recording_beyond_the_limit_is_refused_whether_announced_or_not() {
    let service = Service::start(Layer { upload_bytes_max: Some(ByteSize(100_000)), ..Layer::default() });
    let answer = Form::default().file("a.wav", &vec![7; 100_001]).send(&service, PATH);
    assert!(refused(&answer, 413, Some("file")).contains("upload_bytes_max"));
    let announced = with_type(PATH, |request| Answer::of(request.post_bytes(service.address, b"--", 10_000_000)));
    refused(&announced, 413, Some("file"));
    // What is small enough comes as far as the question of who listens.
    let small = Form::default().file("a.wav", &vec![7; 100_000]).text("model", "no/such").send(&service, PATH);
    refused(&small, 404, Some("model"));
}

#[test]
fn recordings_beyond_the_bound_are_told_when_to_come_back_and_a_hang_up_gives_its_place_back() {
    let service = Service::start(Layer { uploads_max: Some(1), ..Layer::default() });
    let send = || Form::default().file("a.wav", &tone(0.1)).text("model", "no/such").send(&service, PATH);
    let begin = |service: &Service| Form::default().file("a.wav", &tone(1.0)).begin(service);
    let open = std::cell::RefCell::new(begin(&service));
    // What asks whether the place is taken takes it for a moment, and may have it when the open one comes.
    service.wait_until("the place is taken", |service| {
        let is_taken = send().status == 503;
        if !is_taken {
            *open.borrow_mut() = begin(service);
        }
        is_taken
    });
    let full = send();
    assert_eq!((full.status, full.header("retry-after")), (503, Some("1")));
    assert!(refused(&full, 503, None).contains("uploads_max"));
    let chat = json!({"messages": [{"role": "user", "content": "Hello!"}], "max_tokens": 1});
    assert_eq!(service.post("/v1/chat/completions", &chat).status, 200, "a chat needs no place of theirs");
    drop(open);
    service.wait_until("the place is free", |_| send().status == 404);
}

/// Whether this process has a file open that has lost its name and is larger than any other test's: what a recording waits in.
#[cfg(target_os = "linux")]
fn holds_a_nameless_file() -> bool {
    let is_it = |path: std::path::PathBuf| {
        let target = std::fs::read_link(&path).unwrap_or_default();
        let is_nameless = target.starts_with(std::env::temp_dir()) && target.to_string_lossy().ends_with("(deleted)");
        is_nameless && std::fs::metadata(&path).is_ok_and(|metadata| metadata.len() > 4 << 20)
    };
    std::fs::read_dir("/proc/self/fd").unwrap().flatten().any(|entry| is_it(entry.path()))
}

#[cfg(target_os = "linux")]
#[test]
fn a_large_recording_waits_in_a_file_that_goes_with_its_request() {
    let service = Service::start(Layer::default());
    let mut open = Form::default().file("a.wav", &vec![7; 9 << 20]).begin(&service);
    service.wait_until("the file is there", |_| holds_a_nameless_file());
    open.write_all(b"more").unwrap();
    drop(open);
    service.wait_until("the file is gone", |_| !holds_a_nameless_file());
}

#[test]
fn a_text_is_translated_by_the_chat_model_which_is_named() {
    let service = Service::shared();
    let body = json!({"text": "Where is the station?", "source_lang": "en", "target_lang": "de"});
    for path in ["/v1/translate", "/translate"] {
        let answer = service.post(path, &body);
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert!(answer.json()["translated_text"].is_string());
        assert_eq!(answer.header("x-lampstand-translated-by"), Some("starter/chat"));
    }
    let mut named = body.clone();
    named["model"] = "@cf/meta/m2m100-1.2b".into();
    assert_eq!(service.ask("/v1/translate", &named), service.ask("/v1/translate", &body));
    named["model"] = "starter/embed".into();
    refused(&service.post("/v1/translate", &named), 404, Some("model"));
    refused(&service.post("/v1/translate", &json!({"text": "a"})), 400, Some("target_lang"));
    refused(&service.post("/v1/translate", &json!({"target_lang": "de"})), 400, Some("text"));
}
