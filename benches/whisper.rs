//! Milliseconds of a model that listens: its spectrogram, its encoder and a token of its decoder, for one window and for several.
//! `cargo bench -p engine --bench whisper -- [--shape tiny,base,small | --model PATH] [--type f32|bf16] [--quantize q8_0]
//! [--threads N] [--windows 1,8] [--tokens 96] [--repeat 5] [--tier avx2]`; with `--lines` it obeys `encode` (the encoder alone),
//! `listen` (and the decoder's memory of it), `mel` and `decode WINDOWS TOKENS` from standard input, a line each, and answers each
//! with a line of JSON (benches/peers/whisper.py sets it beside other programs so). Without `--model`, weights are seeded.
//! Invariant: loading and the first run of each kind are not counted.
#![allow(clippy::unwrap_used)]

#[path = "model/seeded.rs"]
mod seeded;

use std::io::BufRead;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use engine::audio::LogMel;
use engine::ops::ggml::GgmlType;
use engine::ops::packed::Tier;
use engine::ops::pool::Pool;
use engine::pipelines::cross::CrossRoom;
use engine::pipelines::speech::SpeechPipeline;
use engine::pipelines::{CrossModel, CrossStep, SpeechModel, TextRows};
use engine::progress::Silent;
use engine::seq2seq::config::SpeechConfig;
use engine::weights::{self, Description, ModelFiles, Weights};
use engine::{CpuTier, KvType, Quantization, families};
use seeded::Seeded;
use serde_json::json;

/// Tokens that open a text: start, English, transcribe, no timestamps.
const PROMPT: [u32; 4] = [50258, 50259, 50359, 50363];
/// Tokens that are written before the clock starts, so that no time of the first step is in it.
const WARM_TOKENS: usize = 4;
const SHAPES: [(&str, [usize; 3]); 3] = [("tiny", [384, 4, 6]), ("base", [512, 6, 8]), ("small", [768, 12, 12])];

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let given = |flag: &str| arguments.iter().skip_while(|argument| *argument != flag).nth(1).map(String::as_str);
    let number = |flag: &str, default: usize| given(flag).map_or(default, |text| text.parse().unwrap());
    let tier: CpuTier = given("--tier").map_or(CpuTier::Auto, |text| text.parse().unwrap());
    let threads = number("--threads", engine::device::cores());
    let pool = Arc::new(Pool::with_tier(threads, Tier::choose(tier).unwrap()).unwrap());
    let quantize: Option<Quantization> = given("--quantize").map(|name| name.parse().unwrap());
    let windows: Vec<usize> = given("--windows").unwrap_or("1,8").split(',').map(|n| n.parse().unwrap()).collect();
    let open = |config: &SpeechConfig, weights: &dyn Weights| {
        Bench::open(config, weights, quantize, *windows.iter().max().unwrap(), pool.clone())
    };
    if let Some(path) = given("--model") {
        let opened = weights::open(&ModelFiles::locate(Path::new(path), None).unwrap()).unwrap();
        let mut bench = open(&config_of(&opened.description), opened.weights.as_ref());
        drop(opened);
        return match arguments.iter().any(|argument| argument == "--lines") {
            true => bench.answer_lines(),
            false => bench.report(path, &windows, number("--tokens", 96), number("--repeat", 5)),
        };
    }
    let dtype = if given("--type") == Some("bf16") { GgmlType::BF16 } else { GgmlType::F32 };
    for name in given("--shape").unwrap_or("tiny,base,small").split(',') {
        let (config, weights) = seeded(name, dtype);
        let mut bench = open(&config, &weights);
        drop(weights);
        bench.report(name, &windows, number("--tokens", 96), number("--repeat", 5));
    }
}

fn config_of(description: &Description) -> SpeechConfig {
    let family = match description {
        Description::Gguf(metadata) => families::speech_from_gguf(metadata),
        Description::Safetensors { config, .. } => families::speech_from_config_json(config),
    };
    family.unwrap().expect("a model that listens").config
}

/// Whisper's shape of that name, with the names of transformers' files.
fn seeded(name: &str, dtype: GgmlType) -> (SpeechConfig, Seeded) {
    let found = SHAPES.into_iter().find(|(known, _)| *known == name);
    let (_, [hidden, layers, heads]) =
        found.unwrap_or_else(|| panic!("no shape {name}; there are tiny, base and small"));
    let config = json!({"model_type": "whisper", "vocab_size": 51_865, "d_model": hidden, "num_mel_bins": 80,
        "encoder_layers": layers, "decoder_layers": layers, "encoder_attention_heads": heads,
        "decoder_attention_heads": heads, "encoder_ffn_dim": 4 * hidden, "decoder_ffn_dim": 4 * hidden});
    let config = families::speech_from_config_json(&config).unwrap().unwrap().config;
    let mut weights = Seeded::new(dtype);
    for (part, inputs) in [("conv1", config.mel_bins), ("conv2", hidden)] {
        weights.add(format!("model.encoder.{part}.weight"), &[hidden, inputs, 3], 0.0);
        weights.add(format!("model.encoder.{part}.bias"), &[hidden], 0.0);
    }
    weights.add("model.encoder.embed_positions.weight", &[config.positions, hidden], 0.0);
    weights.add("model.decoder.embed_tokens.weight", &[config.decoder.vocabulary, hidden], 0.0);
    weights.add("model.decoder.embed_positions.weight", &[config.decoder.tokens_max, hidden], 0.0);
    for (side, attentions) in [("encoder", &["self_attn"][..]), ("decoder", &["self_attn", "encoder_attn"][..])] {
        for layer in 0..layers {
            let prefix = format!("model.{side}.layers.{layer}.");
            for attention in attentions {
                for part in ["q_proj", "v_proj", "out_proj"] {
                    weights.linear(&format!("{prefix}{attention}.{part}"), hidden, hidden);
                }
                weights.add(format!("{prefix}{attention}.k_proj.weight"), &[hidden, hidden], 0.0);
                weights.norm(&format!("{prefix}{attention}_layer_norm"), hidden);
            }
            weights.linear(&format!("{prefix}fc1"), 4 * hidden, hidden);
            weights.linear(&format!("{prefix}fc2"), hidden, 4 * hidden);
            weights.norm(&format!("{prefix}final_layer_norm"), hidden);
        }
        weights.norm(&format!("model.{side}.layer_norm"), hidden);
    }
    (config, weights)
}

struct Bench {
    model: SpeechPipeline,
    log_mel: LogMel,
    samples: Vec<f32>,
    mel: Vec<f32>,
    threads: usize,
    tier: String,
}

impl Bench {
    /// A model with memory for `windows`, all of which have listened to the same sound.
    fn open(
        config: &SpeechConfig,
        weights: &dyn Weights,
        quantize: Option<Quantization>,
        windows: usize,
        pool: Arc<Pool>,
    ) -> Self {
        let (threads, tier) = (pool.threads(), pool.tier().to_string());
        let (memory_rows_max, text_tokens_max) = (config.positions, config.decoder.tokens_max);
        let room = CrossRoom { memories: windows, texts: windows, memory_rows_max, text_tokens_max };
        let mut model = SpeechPipeline::load(config, weights, quantize, (room, KvType::F16), pool, &Silent).unwrap();
        let log_mel = LogMel::new(config.mel_bins, config.frames()).unwrap();
        // Two voices' worth of tones that come and go.
        let tone = |at: usize| (at as f32 * 0.09).sin() * (at as f32 * 0.0007).sin() + 0.3 * (at as f32 * 0.31).cos();
        let samples: Vec<f32> = (0..log_mel.window_samples()).map(|at| 0.3 * tone(at)).collect();
        let mut mel = Vec::new();
        log_mel.compute(&samples, &mut mel).unwrap();
        for window in 0..windows {
            model.encode(&mel, window, false).unwrap();
        }
        Self { model, log_mel, samples, mel, threads, tier }
    }

    /// Milliseconds of one window's spectrogram.
    fn mel(&mut self) -> f64 {
        milliseconds(|| self.log_mel.compute(&self.samples, &mut self.mel).unwrap())
    }

    /// Milliseconds of the encoder for one window.
    fn encode(&mut self) -> f64 {
        milliseconds(|| drop(self.model.rows(&self.mel).unwrap()))
    }

    /// The same, the decoder's keys and values of its rows included.
    fn listen(&mut self) -> f64 {
        milliseconds(|| self.model.encode(&self.mel, 0, false).unwrap())
    }

    /// Milliseconds of `tokens` steps, each of which writes the likeliest token of every window, and the last tokens.
    fn decode(&mut self, windows: usize, tokens: usize) -> (f64, Vec<u32>) {
        let mut last = self.step(windows, 0, &vec![PROMPT.to_vec(); windows]);
        let mut start = PROMPT.len();
        let mut steps = |bench: &mut Self, count: usize| {
            for _ in 0..count {
                let next: Vec<Vec<u32>> = last.iter().map(|&token| vec![token]).collect();
                last = bench.step(windows, start, &next);
                start += 1;
            }
        };
        steps(self, WARM_TOKENS);
        let taken = milliseconds(|| steps(self, tokens));
        (taken, last)
    }

    fn step(&mut self, windows: usize, start: usize, tokens: &[Vec<u32>]) -> Vec<u32> {
        let rows = |window: usize| TextRows {
            text: window,
            memory: window,
            start,
            tokens: tokens[window].clone(),
            logits: vec![tokens[window].len() - 1],
        };
        let step = CrossStep { copies: Vec::new(), texts: (0..windows).map(rows).collect() };
        let logits = self.model.forward(&step).unwrap();
        let likeliest = logits.values.chunks_exact(logits.vocabulary).map(likeliest).collect();
        self.model.take_back(logits);
        likeliest
    }

    fn answer_lines(&mut self) {
        for line in std::io::stdin().lock().lines() {
            let line = line.unwrap();
            let words: Vec<&str> = line.split_whitespace().collect();
            let answer = match words[..] {
                ["mel"] => json!({"ms": self.mel()}),
                ["encode"] => json!({"ms": self.encode()}),
                ["listen"] => json!({"ms": self.listen()}),
                ["decode", windows, tokens] => {
                    let (ms, last) = self.decode(windows.parse().unwrap(), tokens.parse().unwrap());
                    json!({"ms": ms, "last": last[0]})
                }
                _ => panic!("no such work: {line}"),
            };
            println!("{answer}");
        }
    }

    fn report(&mut self, name: &str, windows: &[usize], tokens: usize, repeat: usize) {
        let (threads, tier) = (self.threads, self.tier.clone());
        let show = |work: &str, windows: usize, ms: f64| {
            let shown = json!({"bench": "whisper", "model": name, "threads": threads, "tier": tier, "work": work,
                "windows": windows, "ms": (ms * 1000.0).round() / 1000.0});
            println!("{shown}");
        };
        show("mel", 1, median(repeat, || self.mel()));
        show("encode", 1, median(repeat, || self.encode()));
        show("listen", 1, median(repeat, || self.listen()));
        for &windows in windows {
            self.decode(windows, 1);
            let ms = median(repeat, || self.decode(windows, tokens).0);
            show("token", windows, ms / (tokens * windows) as f64);
        }
    }
}

fn likeliest(logits: &[f32]) -> u32 {
    let better = |best: usize, at: usize| if logits[at] > logits[best] { at } else { best };
    (1..logits.len()).fold(0, better) as u32
}

fn milliseconds(work: impl FnOnce()) -> f64 {
    let started = Instant::now();
    work();
    started.elapsed().as_secs_f64() * 1e3
}

fn median(repeat: usize, mut measure: impl FnMut() -> f64) -> f64 {
    let mut taken: Vec<f64> = (0..repeat).map(|_| measure()).collect();
    taken.sort_by(f64::total_cmp);
    taken[taken.len() / 2]
}
