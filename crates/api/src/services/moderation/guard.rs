//! Moderation by a guard: a chat model such as Llama Guard, whose own template asks whether a message is safe, and which
//! answers `safe`, or `unsafe` and the hazards by their codes.
//! `moderation` asks it where the model continues text.
//! Invariant: what a code means stands in the prompt that the model was given; its own list decides, not its name.

use std::collections::BTreeMap;

use engine::{Engine, Event, GenerateRequest, Generation, ModelInfo, Prompt, Sampling, TokenLogprob, TokenLogprobs};
use prompt::{Conversation, Message};
use serde_json::Map;

use super::labels;
use crate::dialogue::Dialogue;
use crate::error::{ApiError, Result};
use crate::services::renderer::{Renderer, Script};
use crate::services::turn::blocking;

/// Texts that are asked about at the same time.
const TOGETHER_MAX: usize = 8;
/// Tokens of an answer: a word, and some codes.
const ANSWER_TOKENS_MAX: u32 = 48;
/// How many of the likeliest first tokens are looked at.
const FIRST_TOKENS: u8 = 20;
/// Characters of an answer in an error.
const SHOWN_MAX: usize = 40;
/// What makes a model go on with its hazards.
const UNSAFE_LINE: &str = "unsafe\n";

/// The hazards of Llama Guard 3, for a prompt that lists none (Llama Guard 3 model card; MLCommons AI Safety taxonomy).
const HAZARDS: [(&str, &str); 14] = [
    ("S1", "Violent Crimes"),
    ("S2", "Non-Violent Crimes"),
    ("S3", "Sex-Related Crimes"),
    ("S4", "Child Sexual Exploitation"),
    ("S5", "Defamation"),
    ("S6", "Specialized Advice"),
    ("S7", "Privacy"),
    ("S8", "Intellectual Property"),
    ("S9", "Indiscriminate Weapons"),
    ("S10", "Hate"),
    ("S11", "Suicide & Self-Harm"),
    ("S12", "Sexual Content"),
    ("S13", "Elections"),
    ("S14", "Code Interpreter Abuse"),
];

/// What a guard said of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Verdict {
    is_unsafe: bool,
    codes: Vec<String>,
}

/// For each text, its score in each of `names`.
pub(super) async fn scores(
    engine: &Engine,
    renderer: &Renderer,
    model: &ModelInfo,
    texts: &[String],
    names: &[String],
    threshold: f32,
) -> Result<Vec<Vec<f32>>> {
    check(model)?;
    let mut scores = Vec::with_capacity(texts.len());
    for (group, some) in texts.chunks(TOGETHER_MAX).enumerate() {
        let (engine, renderer, model, some) = (engine.clone(), renderer.clone(), model.clone(), some.to_vec());
        let begun = {
            let engine = engine.clone();
            let is_one = texts.len() == 1;
            let place = move |at: usize| if is_one { "input".to_owned() } else { format!("input[{at}]") };
            let begin = move |(i, text)| {
                let blame = |_| place(group * TOGETHER_MAX + i);
                Asked::begin(&engine, &renderer, &model, text)
                    .map_err(|error| ApiError { param: error.param.clone().map(blame), ..error })
            };
            blocking(move || some.into_iter().enumerate().map(begin).collect::<Result<Vec<_>>>()).await?
        };
        for asked in begun {
            scores.push(asked.scores(&engine, names, threshold).await?);
        }
    }
    Ok(scores)
}

/// Refuses a chat model that nobody trained to guard: it would answer anything.
fn check(model: &ModelInfo) -> Result<()> {
    let asks = model.chat_template.as_deref().is_some_and(|template| template.contains("unsafe"));
    if asks {
        return Ok(());
    }
    let name = &model.name;
    let message = format!(
        "the model `{name}` continues text, and its template does not ask whether a message is unsafe, as that of Llama Guard does"
    );
    Err(ApiError::invalid("model", message))
}

/// A question under way.
struct Asked {
    prompt: String,
    request: GenerateRequest,
    answer: Generation,
}

impl Asked {
    fn begin(engine: &Engine, renderer: &Renderer, model: &ModelInfo, text: String) -> Result<Self> {
        let script = Script {
            model: model.clone(),
            conversation: Conversation::new([Message::user(text)]),
            dialogue: Dialogue::default(),
            variables: Map::new(),
        };
        let text = |text: &str| Prompt::Text { text: text.to_owned(), add_special: true };
        let mut request = GenerateRequest {
            sampling: Sampling { temperature: 0.0, ..Sampling::default() },
            max_tokens: Some(ANSWER_TOKENS_MAX),
            logprobs: Some(FIRST_TOKENS),
            ..GenerateRequest::new(&model.name, text(""))
        };
        let prompt = renderer.prepare(engine, &script, &mut request)?.rendered.text;
        request.prompt = text(&prompt);
        let answer = engine.generate(request.clone())?;
        Ok(Self { prompt, request, answer })
    }

    async fn scores(self, engine: &Engine, names: &[String], threshold: f32) -> Result<Vec<f32>> {
        let (said, first) = read(self.answer).await?;
        let Some(mut verdict) = parse(&said) else {
            let shown: String = said.chars().take(SHOWN_MAX).collect();
            let message = format!("the model `{}` says neither safe nor unsafe, but {shown:?}", self.request.model);
            return Err(ApiError::invalid("model", message));
        };
        let score = first.as_deref().and_then(probability).unwrap_or(f32::from(u8::from(verdict.is_unsafe)));
        if !verdict.is_unsafe && score >= threshold {
            // Flagged though it was called safe, since the threshold is low: which hazard it would be is asked for.
            let text = Prompt::Text { text: format!("{}{UNSAFE_LINE}", self.prompt), add_special: true };
            let request = GenerateRequest { prompt: text, logprobs: None, ..self.request };
            let engine = engine.clone();
            let answer = blocking(move || Ok(engine.generate(request)?)).await?;
            let (said, _) = read(answer).await?;
            verdict = parse(&format!("{UNSAFE_LINE}{said}")).unwrap_or(verdict);
        }
        Ok(told(&verdict, score, &hazards(&self.prompt), names))
    }
}

/// The whole answer, and what could have stood in the place of its first word.
async fn read(mut answer: Generation) -> Result<(String, Option<Vec<TokenLogprob>>)> {
    let (mut said, mut first) = (String::new(), None);
    let is_word = |token: &TokenLogprobs| !token.token.bytes.trim_ascii().is_empty();
    while let Some(event) = answer.next().await {
        if let Event::Piece { text, logprobs } = event? {
            said.push_str(&text);
            if first.is_none() {
                first = logprobs.into_iter().find(is_word).map(|token| token.top);
            }
        }
    }
    Ok((said, first))
}

/// What an answer says; none if it is none.
fn parse(said: &str) -> Option<Verdict> {
    let mut words = said.split(|c: char| c.is_whitespace() || c == ',').filter(|word| !word.is_empty());
    let is_unsafe = match words.next()?.to_ascii_lowercase().trim_end_matches(['.', ':']) {
        "safe" => false,
        "unsafe" => true,
        _ => return None,
    };
    let is_code = |word: &&str| {
        let digits = word.strip_prefix(|c: char| c.is_ascii_uppercase()).unwrap_or_default();
        (1..=3).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit())
    };
    Some(Verdict { is_unsafe, codes: words.filter(is_code).map(str::to_owned).collect() })
}

/// How likely `unsafe` is before `safe`, of the likeliest first tokens. A token may be a part of the word, or more than it.
fn probability(top: &[TokenLogprob]) -> Option<f32> {
    let likely = |word: &str| -> f64 {
        let begins = |token: &&TokenLogprob| {
            let text = String::from_utf8_lossy(token.bytes.trim_ascii()).to_ascii_lowercase();
            !text.is_empty() && (word.starts_with(&text) || text.starts_with(word))
        };
        top.iter().filter(begins).map(|token| f64::from(token.logprob).exp()).sum()
    };
    let (bad, good) = (likely("unsafe"), likely("safe"));
    (bad + good > 0.0).then(|| (bad / (bad + good)) as f32)
}

/// The hazards that a prompt lists, one a line: `S1: Violent Crimes.`
fn hazards(prompt: &str) -> BTreeMap<String, String> {
    let hazard = |line: &str| {
        let (code, name) = line.trim().split_once([':', '.'])?;
        let verdict = parse(&format!("{UNSAFE_LINE}{code}"))?;
        (verdict.codes == [code] && !name.trim().is_empty()).then(|| (code.to_owned(), name.trim().to_owned()))
    };
    let found: BTreeMap<String, String> = prompt.lines().filter_map(hazard).collect();
    if found.is_empty() { HAZARDS.map(|(code, name)| (code.to_owned(), name.to_owned())).into() } else { found }
}

/// The scores: of each category that a hazard of the verdict belongs to. What OpenAI has no category for is illicit, so that
/// nothing which a guard calls unsafe goes by in silence.
fn told(verdict: &Verdict, score: f32, hazards: &BTreeMap<String, String>, names: &[String]) -> Vec<f32> {
    let mut scores = vec![0.0; names.len()];
    if !verdict.is_unsafe {
        return scores;
    }
    let of_code = |code: &String| hazards.get(code).and_then(|name| labels::categories(name, names));
    let mut places: Vec<usize> = verdict.codes.iter().filter_map(of_code).flatten().collect();
    if places.is_empty() {
        places.extend(names.iter().position(|name| name == "illicit"));
    }
    places.into_iter().for_each(|place| scores[place] = score);
    scores
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::services::moderation::Moderation;

    fn of(said: &str, prompt: &str) -> Vec<String> {
        let moderation = Moderation::default();
        let scores = told(&parse(said).unwrap(), 0.75, &hazards(prompt), moderation.names());
        let named = moderation.names().iter().zip(scores).filter(|(_, score)| *score > 0.0);
        named.map(|(name, score)| format!("{name} {score}")).collect()
    }

    #[test]
    fn answers_are_read() {
        let read = |said: &str| parse(said).map(|verdict| (verdict.is_unsafe, verdict.codes.join(" ")));
        assert_eq!(read("\n\nsafe"), Some((false, String::new())));
        assert_eq!(read(" unsafe\nS1,S10"), Some((true, "S1 S10".into())));
        assert_eq!(read("Unsafe\nO3 , O4\n"), Some((true, "O3 O4".into())));
        assert_eq!(read("unsafe"), Some((true, String::new())));
        for other in ["", "\n", "Sure, here is", "unsafely", "S1"] {
            assert_eq!(read(other), None, "{other}");
        }
    }

    #[test]
    fn codes_mean_what_the_prompt_says() {
        assert_eq!(of("unsafe\nS10", ""), ["hate 0.75"]);
        // Llama Guard 2 counts otherwise.
        let second = "<BEGIN UNSAFE CONTENT CATEGORIES>\nS1: Violent Crimes.\nS9: Hate.\nS10: Self-Harm.\n";
        assert_eq!(of("unsafe\nS10", second), ["self-harm 0.75"]);
        let first = "O1: Violence and Hate.\nShould not\n- Help people.\nO3: Criminal Planning.\n";
        assert_eq!(of("unsafe\nO1,O3", first), ["hate 0.75", "illicit 0.75", "violence 0.75"]);
        // What OpenAI has no name for, what the prompt does not list, and no code at all.
        for said in ["unsafe\nS8", "unsafe\nS99", "unsafe"] {
            assert_eq!(of(said, ""), ["illicit 0.75"], "{said}");
        }
        assert!(of("safe", "").is_empty());
    }

    #[test]
    fn the_first_word_tells_how_sure_it_is() {
        let token = |text: &str, p: f32| TokenLogprob { id: 0, bytes: text.into(), logprob: p.ln() };
        let top = [token("safe", 0.6), token("un", 0.15), token(" unsafe", 0.05), token("\n", 0.1), token("x", 0.1)];
        assert!((probability(&top).unwrap() - 0.25).abs() < 1e-6);
        assert_eq!(probability(&[token("x", 1.0)]), None);
    }
}
