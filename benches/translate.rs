//! Milliseconds of a model that translates: its encoder for some passages, and whole translations with one text in view or several.
//! `cargo bench -p engine --bench translate -- [--shape 418m,1.2b | --model PATH] [--type f32|bf16] [--quantize q8_0]
//! [--threads N] [--passages 1,8] [--beams 1,4] [--tokens 32] [--repeat 5]`; with `--lines` it obeys `read PASSAGES TOKENS`
//! and `translate PASSAGES BEAMS TOKENS` from standard input, a line each, and answers each with a line of JSON
//! (benches/peers/translate.py sets it beside CTranslate2 so). Without `--model`, weights are seeded.
//! Invariant: loading and the first run of each kind are not counted; no text ends before it has all its tokens.
#![allow(clippy::unwrap_used)]

#[path = "model/seeded.rs"]
mod seeded;

use std::io::BufRead;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use engine::ops::ggml::GgmlType;
use engine::ops::packed::Tier;
use engine::ops::pool::Pool;
use engine::pipelines::TranslationModel;
use engine::pipelines::cross::CrossRoom;
use engine::pipelines::translation::TranslationPipeline;
use engine::progress::Silent;
use engine::sampling::beam::Ranking;
use engine::scheduler::counters::Counters;
use engine::scheduler::parts::PartQueue;
use engine::scheduler::translating::{Passage, Search, Translating};
use engine::scheduler::writing_loop::WritingLoop;
use engine::seq2seq::config::TranslationConfig;
use engine::weights::{self, Description, ModelFiles, Weights};
use engine::{CpuTier, KvType, Quantization, families};
use seeded::Seeded;
use serde_json::json;
use tokio::sync::mpsc;

/// Width, layers of each half, heads, width of the feed-forward: M2M100's two sizes.
const SHAPES: [(&str, [usize; 4]); 2] = [("418m", [1024, 12, 16, 4096]), ("1.2b", [1024, 24, 16, 8192])];
const VOCABULARY: usize = 128_112;
/// Tokens of a source and of a translation at most.
const TOKENS_MAX: usize = 256;
const PASSAGES_MAX: usize = 8;
const BEAMS_MAX: usize = 5;
/// No token: a text that is waiting for it goes on.
const NEVER: u32 = u32::MAX;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let given = |flag: &str| arguments.iter().skip_while(|argument| *argument != flag).nth(1).map(String::as_str);
    let number = |flag: &str, default: usize| given(flag).map_or(default, |text| text.parse().unwrap());
    let list = |flag: &str, default: &str| -> Vec<usize> {
        given(flag).unwrap_or(default).split(',').map(|number| number.parse().unwrap()).collect()
    };
    let tier: CpuTier = given("--tier").map_or(CpuTier::Auto, |text| text.parse().unwrap());
    let threads = number("--threads", engine::device::cores());
    let pool = Arc::new(Pool::with_tier(threads, Tier::choose(tier).unwrap()).unwrap());
    let quantize: Option<Quantization> = given("--quantize").map(|name| name.parse().unwrap());
    let (tokens, repeat) = (number("--tokens", 32), number("--repeat", 5));
    let report = |bench: &mut Bench, name: &str| {
        println!("{name}, {threads} threads, {}", pool.tier());
        for &passages in &list("--passages", "1,8") {
            println!(
                "  read, {passages} of {tokens} tokens: {:.1} ms",
                median(repeat, || bench.read(passages, tokens))
            );
            for &beams in &list("--beams", "1,4") {
                let ms = median(repeat, || bench.translate(passages, beams, tokens).0);
                println!("  translate, {passages} passages, {beams} beams, {tokens} tokens: {ms:.1} ms");
            }
        }
    };
    if let Some(path) = given("--model") {
        let opened = weights::open(&ModelFiles::locate(Path::new(path), None).unwrap()).unwrap();
        let Description::Safetensors { config, .. } = &opened.description else { panic!("no config.json") };
        let config = families::translation_from_config_json(config).unwrap().expect("a model that translates").config;
        let mut bench = Bench::open(&config, opened.weights.as_ref(), quantize, pool.clone());
        drop(opened);
        return match arguments.iter().any(|argument| argument == "--lines") {
            true => bench.answer_lines(),
            false => report(&mut bench, path),
        };
    }
    let dtype = if given("--type") == Some("bf16") { GgmlType::BF16 } else { GgmlType::F32 };
    for name in given("--shape").unwrap_or("418m").split(',') {
        let (config, weights) = seeded(name, dtype);
        let mut bench = Bench::open(&config, &weights, quantize, pool.clone());
        drop(weights);
        report(&mut bench, name);
    }
}

/// M2M100's shape of that name, with the names of transformers' files.
fn seeded(name: &str, dtype: GgmlType) -> (TranslationConfig, Seeded) {
    let found = SHAPES.into_iter().find(|(known, _)| *known == name);
    let (_, [hidden, layers, heads, feed_forward]) =
        found.unwrap_or_else(|| panic!("no shape {name}; there are 418m and 1.2b"));
    let config = json!({"model_type": "m2m_100", "vocab_size": VOCABULARY, "d_model": hidden,
        "encoder_layers": layers, "decoder_layers": layers, "encoder_attention_heads": heads,
        "decoder_attention_heads": heads, "encoder_ffn_dim": feed_forward, "decoder_ffn_dim": feed_forward});
    let config = families::translation_from_config_json(&config).unwrap().unwrap().config;
    let mut weights = Seeded::new(dtype);
    weights.add("model.shared.weight", &[VOCABULARY, hidden], 0.0);
    for (side, attentions) in [("encoder", &["self_attn"][..]), ("decoder", &["self_attn", "encoder_attn"][..])] {
        for layer in 0..layers {
            let prefix = format!("model.{side}.layers.{layer}.");
            for attention in attentions {
                for part in ["q_proj", "k_proj", "v_proj", "out_proj"] {
                    weights.linear(&format!("{prefix}{attention}.{part}"), hidden, hidden);
                }
                weights.norm(&format!("{prefix}{attention}_layer_norm"), hidden);
            }
            weights.linear(&format!("{prefix}fc1"), feed_forward, hidden);
            weights.linear(&format!("{prefix}fc2"), hidden, feed_forward);
            weights.norm(&format!("{prefix}final_layer_norm"), hidden);
        }
        weights.norm(&format!("model.{side}.layer_norm"), hidden);
    }
    (config, weights)
}

/// A model that reads, and the same behind its line.
struct Bench {
    reader: TranslationPipeline,
    queue: Arc<PartQueue<Passage>>,
    thread: Option<JoinHandle<()>>,
}

impl Bench {
    fn open(
        config: &TranslationConfig,
        weights: &dyn Weights,
        quantize: Option<Quantization>,
        pool: Arc<Pool>,
    ) -> Self {
        let load = |texts: usize| {
            let (memory_rows_max, text_tokens_max) = (TOKENS_MAX, TOKENS_MAX);
            let room = CrossRoom { memories: PASSAGES_MAX, texts, memory_rows_max, text_tokens_max };
            let kv = (room, KvType::F16);
            TranslationPipeline::load(config, weights, quantize, kv, pool.clone(), &Silent).unwrap()
        };
        let queue = Arc::new(PartQueue::new(1));
        let model: Box<dyn TranslationModel> = Box::new(load(PASSAGES_MAX * BEAMS_MAX));
        let run = WritingLoop::new(model, Translating, queue.clone(), Arc::new(Counters::new(0)));
        let thread = Some(std::thread::spawn(move || run.run()));
        Self { reader: load(1), queue, thread }
    }

    /// Milliseconds of the encoder, the decoder's keys and values of its rows included.
    fn read(&mut self, passages: usize, tokens: usize) -> f64 {
        let sources: Vec<Vec<u32>> = (0..passages).map(|index| source(index, tokens)).collect();
        let given: Vec<(&[u32], usize)> = sources.iter().map(Vec::as_slice).zip(0..).collect();
        let began = Instant::now();
        self.reader.encode(&given).unwrap();
        began.elapsed().as_secs_f64() * 1e3
    }

    /// Milliseconds from the first passage in line to the last answer, and the last token of the first.
    fn translate(&mut self, passages: usize, beam_size: usize, tokens: usize) -> (f64, u32) {
        let ticket = self.queue.enter().unwrap();
        let search = Search { beam_size, ranking: Ranking::TRANSFORMERS, end_of_text: NEVER, tokens_max: tokens };
        let began = Instant::now();
        let send = |index: usize| {
            let (answer, receiver) = mpsc::channel(1);
            let (source, prompt) = (source(index, tokens), vec![2, 128_022]);
            ticket.push(Passage { job: 0, source, prompt, search, deadline: None, answer }).unwrap();
            receiver
        };
        let answers: Vec<_> = (0..passages).map(send).collect();
        let texts: Vec<Vec<u32>> =
            answers.into_iter().map(|mut answer| answer.blocking_recv().unwrap().unwrap().tokens).collect();
        let ms = began.elapsed().as_secs_f64() * 1e3;
        assert!(texts.iter().all(|text| text.len() == tokens), "a text ended early");
        (ms, *texts[0].last().unwrap())
    }

    fn answer_lines(&mut self) {
        for line in std::io::stdin().lock().lines() {
            let line = line.unwrap();
            let words: Vec<&str> = line.split_whitespace().collect();
            let number = |place: usize| words[place].parse().unwrap();
            let answer = match words[0] {
                "read" => json!({"ms": self.read(number(1), number(2))}),
                "translate" => json!({"ms": self.translate(number(1), number(2), number(3)).0}),
                _ => panic!("no such work: {line}"),
            };
            println!("{answer}");
        }
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.queue.close();
        self.thread.take().unwrap().join().unwrap();
    }
}

/// A language, tokens that hang on the place, the end.
fn source(index: usize, tokens: usize) -> Vec<u32> {
    let words = (0..tokens.max(3) - 2).map(|place| (1000 + (place * 7919 + index * 104_729) % 100_000) as u32);
    std::iter::once(128_022).chain(words).chain([2]).collect()
}

fn median(repeat: usize, mut work: impl FnMut() -> f64) -> f64 {
    work();
    let mut all: Vec<f64> = (0..repeat).map(|_| work()).collect();
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}
