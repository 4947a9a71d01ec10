//! Tests of what names mean, over names alone.
//! Run by `cargo test`; no model is there.
//! Invariant: every rule has a name that only this rule finds, and one that it must not find.
#![allow(clippy::unwrap_used)]

use super::*;
use engine::Capabilities;

/// A world with owned parts.
struct Names {
    loaded: Vec<String>,
    available: Vec<AvailableModel>,
    cached: Vec<&'static str>,
    autoload: bool,
    user: BTreeMap<String, String>,
    purpose: Purpose,
}

fn lying(name: &str) -> AvailableModel {
    AvailableModel {
        name: name.into(),
        path: name.into(),
        bytes: 1,
        modified_s: 1,
        capabilities: Capabilities::TEXT,
        family: "llama".into(),
        quantization: "Q8_0".into(),
        context_tokens: 1,
        parameters: 1,
        problem: None,
    }
}

fn names(loaded: &[&str], available: &[&str]) -> Names {
    Names {
        loaded: loaded.iter().map(|name| name.to_string()).collect(),
        available: available.iter().map(|name| lying(name)).collect(),
        cached: Vec::new(),
        autoload: true,
        user: BTreeMap::new(),
        purpose: Purpose::Text,
    }
}

impl Names {
    fn ask(&self, name: Option<&str>) -> Result<Meaning> {
        let table = Aliases::built_in().unwrap();
        let of_settings = match self.purpose {
            Purpose::Text => None,
            Purpose::Vectors => Some("starter/embed"),
            Purpose::Speech => Some("starter/whisper"),
            Purpose::Translation => None,
        };
        let world = World {
            purpose: self.purpose,
            default_name: of_settings,
            loaded: &self.loaded,
            available: &self.available,
            cached: &|id| self.cached.contains(&id),
            autoload: self.autoload,
            any_name: false,
            has_default: !self.loaded.is_empty() || of_settings.is_some(),
            user: &self.user,
            table: &table,
        };
        world.meaning(name)
    }

    fn target(&self, name: &str) -> Target {
        self.ask(Some(name)).unwrap().target
    }

    fn refusal(&self, name: &str) -> String {
        let error = self.ask(Some(name)).unwrap_err();
        assert_eq!((error.status(), error.param.as_deref()), (404, Some("model")), "{name}: {error}");
        error.message
    }
}

fn loaded(name: &str) -> Target {
    Target::Loaded(name.into())
}

fn available(name: &str) -> Target {
    Target::Available(name.into())
}

#[test]
fn a_loaded_model_is_reached_by_its_name_and_its_parts() {
    let names = names(&["starter/chat", "org/Big-Q4", "@cf/meta/llama"], &[]);
    let cases = [
        ("chat", "starter/chat"),
        ("Starter/Chat", "starter/chat"),
        ("models/starter/chat", "starter/chat"),
        ("starter%2Fchat", "starter/chat"),
        ("big-q4", "org/Big-Q4"),
        ("Big-Q4.gguf", "org/Big-Q4"),
        ("@cf/meta/llama", "@cf/meta/llama"),
        ("%40cf%2Fmeta%2Fllama", "@cf/meta/llama"),
    ];
    for (asked, wanted) in cases {
        assert_eq!(names.target(asked), loaded(wanted), "{asked}");
    }
}

#[test]
fn no_name_and_the_names_that_clients_carry_reach_the_default() {
    let names = names(&["starter/chat"], &[]);
    assert_eq!(names.ask(None).unwrap(), Target::Default.into());
    assert_eq!(names.ask(Some(" ")).unwrap(), Target::Default.into());
    // Those of the seeds' tables, and others that OpenAI has had since.
    for name in [
        "gpt-3.5-turbo",
        "gpt-4",
        "gpt-4-turbo",
        "gpt-4o",
        "gpt-4-vision-preview",
        "gpt-3.5-turbo-16k",
        "gpt-4-32k",
        "gpt-4o-mini",
        "gpt-3.5-turbo-instruct",
        "code-davinci-002",
        "text-davinci-003",
        "chatgpt-4o-latest",
        "o1",
        "o3-mini",
        "gpt-5.4",
        "GPT-4O",
    ] {
        assert_eq!(names.ask(Some(name)).unwrap(), Target::Default.into(), "{name}");
    }
}

#[test]
fn the_most_exact_rule_wins() {
    let mut names = names(&["a/one"], &["two", "deep/three"]);
    assert_eq!(names.target("two"), available("two"));
    assert_eq!(names.target("Three.gguf"), available("deep/three"));
    names.user.insert("gpt-4o".into(), "two".into());
    names.user.insert("a/one".into(), "two".into());
    names.user.insert("mine".into(), "gpt-4o".into());
    assert_eq!(names.target("gpt-4o"), available("two"));
    assert_eq!(names.target("mine"), available("two"));
    assert_eq!(names.target("a/one"), loaded("a/one"), "a loaded model's exact name comes first");
    names.available.push(lying("gpt-5"));
    assert_eq!(names.target("gpt-5"), available("gpt-5"), "what lies here comes before what clients carry");
    names.user.insert("x".into(), "y".into());
    names.user.insert("y".into(), "x".into());
    assert!(names.refusal("x").contains("circle"));
}

#[test]
fn the_same_weights_come_before_a_substitute() {
    let alias = "@cf/meta/llama-3.1-8b-instruct-fp8";
    let substitute = Meaning { target: Target::Default, is_substitute: true };
    assert_eq!(names(&["starter/chat"], &[]).ask(Some(alias)).unwrap(), substitute);
    assert_eq!(
        names(&["starter/chat"], &[]).ask(Some("%40cf%2Fmeta%2Fllama-3.1-8b-instruct-fp8")).unwrap(),
        substitute
    );
    let named = ["Llama-3.1-8B-Instruct", "meta-llama/Llama-3.1-8B-Instruct:Q4_K_M", "Llama-3.1-8B-Instruct-Q4_K_M"];
    for name in named {
        assert_eq!(names(&["starter/chat", name], &[]).ask(Some(alias)).unwrap(), loaded(name).into());
        assert_eq!(names(&["starter/chat"], &[name]).ask(Some(alias)).unwrap(), available(name).into());
    }
    for name in ["Llama-3.1-8B", "Llama-3.1-8B-Instruct-Abliterated", "Llama-3.1-8B-Instruct-q-tuned"] {
        assert_eq!(names(&["starter/chat"], &[name]).ask(Some(alias)).unwrap(), substitute, "{name}");
    }
    let mut names = names(&["starter/chat"], &[]);
    names.cached.push("meta-llama/Llama-3.1-8B-Instruct");
    assert_eq!(names.target(alias), Target::Cached("meta-llama/Llama-3.1-8B-Instruct".into()));
    assert_eq!(names.target("meta-llama/Llama-3.1-8B-Instruct"), names.target(alias));
    names.autoload = false;
    assert_eq!(names.ask(Some(alias)).unwrap(), substitute);
}

#[test]
fn what_nothing_stands_in_for_is_refused_by_name() {
    let mut names = names(&["starter/chat"], &["other"]);
    for (name, word) in [
        ("@cf/baai/bge-base-en-v1.5", "embeddings"),
        ("text-embedding-ada-002", "embeddings"),
        ("whisper-1", "transcription"),
        ("dall-e-3", "images"),
        ("@cf/cloudflare/clef", "nothing here serves it"),
        ("@cf/meta/llama-guard-3-8b", "its own weights"),
    ] {
        let message = names.refusal(name);
        assert!(message.contains(word) && message.contains("nearest is `"), "{message}");
        assert!(message.contains("there is: starter/chat, other"), "{message}");
    }
    names.available.push(lying("Llama-Guard-3-8B-Q8_0"));
    assert_eq!(names.target("@cf/meta/llama-guard-3-8b"), available("Llama-Guard-3-8B-Q8_0"));
}

#[test]
fn an_unknown_name_lists_what_there_is_and_what_is_nearest() {
    let names = names(&["starter/chat", "b"], &[]);
    for name in ["llama", "o1rca", "gpt", "@cf/other/chat", "other/chat", "hat", "é", "%zz", "%4"] {
        assert!(names.refusal(name).contains("starter/chat, b"), "{name}");
    }
    assert!(names.refusal("@cf/meta/lama-3-8b-instruct").contains("nearest is `@cf/meta/llama-3-8b-instruct`"));
    assert!(names.refusal("starter/chats").contains("nearest is `starter/chat`"));
    assert!(names.refusal(&"x".repeat(5000)).len() < 400);
}

#[test]
fn a_model_that_may_not_or_cannot_be_loaded_says_so() {
    let mut names = names(&["a"], &["b", "c"]);
    names.available[1].problem = Some(engine::Error::unreadable("cut off"));
    let error = names.ask(Some("c")).unwrap_err();
    assert_eq!((error.status(), error.message.as_str()), (500, "cut off"));
    names.autoload = false;
    assert!(names.refusal("b").contains("autoload is off"));
}

#[test]
fn no_model_at_all_is_an_error_too() {
    let none = names(&[], &[]);
    for name in [None, Some("gpt-4o"), Some("@cf/meta/llama-3-8b-instruct")] {
        assert_eq!(none.ask(name).unwrap_err().status(), 404);
    }
}

#[test]
fn names_of_the_one_kind_never_reach_a_model_of_the_other() {
    let encoder = |name: &str| {
        let capabilities = Capabilities { embeddings: true, ..Capabilities::default() };
        AvailableModel { capabilities, ..lying(name) }
    };
    let mut chat = names(&["starter/chat"], &["other"]);
    chat.available.extend([encoder("starter/embed"), encoder("bge-base-en-v1.5"), encoder("all-MiniLM-L6-v2")]);
    for name in ["starter/embed", "embed", "bge-base-en-v1.5", "text-embedding-3-small", "rerank-001"] {
        assert!(chat.refusal(name).contains("/v1/embeddings"), "{}", chat.refusal(name));
    }
    let vectors = Names { loaded: vec![], purpose: Purpose::Vectors, ..chat };
    for name in ["starter/chat", "other", "gpt-4o", "@cf/meta/llama-3-8b-instruct"] {
        assert_eq!(vectors.ask(Some(name)).unwrap_err().status(), 404, "{name}");
    }
    assert!(vectors.refusal("other").contains("/v1/chat/completions"));
    let default =
        ["starter/embed", "embed", "text-embedding-ada-002", "text-embedding-4-tiny", "omni-moderation-latest"];
    for name in default {
        assert_eq!(vectors.target(name), Target::Default, "{name}");
    }
    assert_eq!(vectors.ask(None).unwrap().target, Target::Default);
    assert_eq!(vectors.target("@cf/baai/bge-base-en-v1.5"), available("bge-base-en-v1.5"));
    assert_eq!(vectors.target("sentence-transformers/all-MiniLM-L6-v2"), available("all-MiniLM-L6-v2"));
    let substitute = Meaning { target: Target::Default, is_substitute: true };
    assert_eq!(vectors.ask(Some("@cf/baai/bge-m3")).unwrap(), substitute);
    assert!(vectors.refusal("whisper-1").contains("transcription"));
    // A short name finds what was downloaded under its organisation.
    let cached = Names { available: vec![], cached: vec!["sentence-transformers/all-MiniLM-L6-v2"], ..vectors };
    assert_eq!(cached.target("all-MiniLM-L6-v2"), Target::Cached("sentence-transformers/all-MiniLM-L6-v2".into()));
}

#[test]
fn models_that_listen_are_found_by_their_sizes_and_by_openais_names() {
    let mut listening = lying("whisper-base");
    listening.capabilities = Capabilities { transcription: true, ..Capabilities::default() };
    let chat = Names { available: vec![listening, lying("other")], ..names(&["starter/chat"], &[]) };
    for name in ["whisper-base", "whisper-1", "tiny", "@cf/openai/whisper"] {
        assert!(chat.refusal(name).contains("/v1/audio/transcriptions"), "{}", chat.refusal(name));
    }
    let speech = Names { loaded: vec![], purpose: Purpose::Speech, ..chat };
    for name in ["starter/whisper", "whisper", "whisper-1", "gpt-4o-transcribe", "whisper-large-v2"] {
        assert_eq!(speech.target(name), Target::Default, "{name}");
    }
    for name in ["base", "whisper-base", "openai/whisper-base"] {
        assert_eq!(speech.target(name), available("whisper-base"), "{name}");
    }
    let substitute = Meaning { target: Target::Default, is_substitute: true };
    for name in ["large-v3-turbo", "@cf/openai/whisper-large-v3-turbo", "@cf/openai/whisper"] {
        assert_eq!(speech.ask(Some(name)).unwrap(), substitute, "{name}");
    }
    assert!(speech.refusal("other").contains("/v1/chat/completions"));
    assert!(speech.refusal("text-embedding-3-small").contains("/v1/embeddings"));
    assert!(speech.refusal("gpt-4o-transcribe-diarize").contains("nothing here serves it"));
}

#[test]
fn models_that_translate_are_no_default_unless_one_is_there() {
    let mut translating = lying("m2m100_418M");
    translating.capabilities = Capabilities { text_translation: true, ..Capabilities::default() };
    let chat = Names { available: vec![translating, lying("other")], ..names(&["starter/chat"], &[]) };
    for name in ["m2m100_418M", "@cf/meta/m2m100-1.2b"] {
        assert!(chat.refusal(name).contains("/v1/translate"), "{}", chat.refusal(name));
    }
    let translation = Names { loaded: vec![], purpose: Purpose::Translation, ..chat };
    assert_eq!(translation.target("facebook/m2m100_418M"), available("m2m100_418M"));
    assert!(translation.ask(None).is_err(), "nobody named a default");
    for name in ["@cf/meta/m2m100-1.2b", "other", "gpt-4o"] {
        translation.refusal(name);
    }
    let loaded = Names { loaded: vec!["nllb".into()], ..translation };
    assert_eq!(loaded.ask(None).unwrap().target, Target::Default);
    let substitute = Meaning { target: Target::Default, is_substitute: true };
    assert_eq!(loaded.ask(Some("@cf/meta/m2m100-1.2b")).unwrap(), substitute);
}
