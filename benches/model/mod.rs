//! A decoder with its pages, taken out of the engine to be measured alone, and the arguments that the benches share.
//! `decode` and `prefill` use it. Without `--model` they make random models at real shapes, as `make_model` does.
//! Invariant: one line of JSON per result, so that a script can set it beside another program's.
// Not every bench asks for everything.
#![allow(dead_code, clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use engine::batch::Batch;
use engine::config::{BLOCK_TOKENS, CpuTier, EngineConfig, KvType};
use engine::decoder::Decoder;
use engine::kv::pages::Pages;
use engine::ops::packed::Tier;
use engine::ops::pool::Pool;
use engine::progress::Silent;
use engine::weights::{self, Description, ModelFiles};

use crate::toy::gguf::Mix;

/// `--model FILE` (any number), `--threads N`, `--repeat N`, `--tokens N`, `--batch A,B,...`, `--depth N`, `--tier NAME`.
pub(crate) struct Arguments {
    pub(crate) models: Vec<PathBuf>,
    pub(crate) threads: usize,
    pub(crate) repeat: usize,
    pub(crate) tokens: usize,
    pub(crate) batches: Vec<usize>,
    pub(crate) depth: usize,
    /// The instructions to use; none takes the best.
    pub(crate) tier: CpuTier,
}

impl Arguments {
    /// Reads the command line; `tokens` and `batches` are the defaults of this bench.
    pub(crate) fn read(tokens: usize, batches: &[usize]) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let mut read = Self {
            models: Vec::new(),
            threads: cores,
            repeat: 3,
            tokens,
            batches: batches.to_vec(),
            depth: 0,
            tier: CpuTier::Auto,
        };
        let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
        while let Some(name) = arguments.next() {
            let value = arguments.next().unwrap_or_else(|| panic!("{name} wants a value"));
            let number = || value.parse().unwrap_or_else(|_| panic!("{name} wants a number, not {value}"));
            match name.as_str() {
                "--model" => read.models.push(value.into()),
                "--threads" => read.threads = number(),
                "--repeat" => read.repeat = number(),
                "--tokens" => read.tokens = number(),
                "--depth" => read.depth = number(),
                "--tier" => read.tier = value.parse().unwrap(),
                "--batch" => read.batches = value.split(',').map(|batch| batch.parse().unwrap()).collect(),
                _ => panic!("unknown argument {name}"),
            }
        }
        if read.models.is_empty() {
            read.models = random_models();
        }
        read
    }

    /// Threads that compute as was asked.
    pub(crate) fn pool(&self) -> Arc<Pool> {
        Arc::new(Pool::with_tier(self.threads, Tier::choose(self.tier).unwrap()).unwrap())
    }
}

/// The standard set, made once below the target folder.
fn random_models() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/random-models");
    std::fs::create_dir_all(&folder).unwrap();
    let mut models = Vec::new();
    for shape in ["135m", "1.2b"] {
        for mix in ["Q4_K_M", "Q4_0", "Q8_0", "BF16"] {
            let path = folder.join(format!("{shape}-{mix}.gguf"));
            if !path.exists() {
                let partial = path.with_extension("partial");
                crate::random_model::write(
                    &crate::random_model::shape(shape).unwrap(),
                    Mix::named(mix).unwrap(),
                    &partial,
                );
                std::fs::rename(partial, &path).unwrap();
            }
            models.push(path);
        }
    }
    models
}

/// A model to be measured.
pub(crate) struct Model {
    pub(crate) decoder: Decoder,
    pub(crate) pages: Pages,
    pub(crate) blocks_each: usize,
    /// Bytes of weights that one step reads whole: all but an embedding that is not the head too.
    pub(crate) weight_bytes: u64,
}

impl Model {
    /// Opens `path` with room for `sequences` of `tokens` tokens.
    pub(crate) fn open(path: &Path, pool: Arc<Pool>, sequences: usize, tokens: usize) -> Self {
        let opened = weights::open(&ModelFiles::locate(path, None).unwrap()).unwrap();
        let family = match &opened.description {
            Description::Gguf(metadata) => {
                let rows = opened.weights.get("token_embd.weight").unwrap().unwrap().shape[0];
                engine::families::from_gguf(metadata, rows).unwrap()
            }
            Description::Safetensors { config, .. } => engine::families::from_config_json(config).unwrap(),
        };
        let size = |name| opened.weights.get(name).unwrap().map_or(0, |tensor| tensor.bytes.len() as u64);
        let head = size("output.weight") + size("lm_head.weight");
        let looked_up = if head > 0 { size("token_embd.weight") + size("model.embed_tokens.weight") } else { 0 };
        let decoder = Decoder::load(family.config, opened.weights.as_ref(), None, pool, &Silent).unwrap();
        let weight_bytes = decoder.bytes().saturating_sub(looked_up);
        let shape = decoder.config();
        let blocks_each = tokens.div_ceil(BLOCK_TOKENS);
        let blocks = sequences * blocks_each;
        let pages = Pages::new(shape.layers, shape.kv_heads, shape.head_dim, blocks, KvType::F16).unwrap();
        Self { decoder, pages, blocks_each, weight_bytes }
    }

    /// Computes `count` rows of each of `sequences` sequences from position `start`, with logits for each's last.
    pub(crate) fn step(&mut self, sequences: usize, start: usize, count: usize) {
        let mut batch = Batch::default();
        let vocabulary = self.decoder.config().vocabulary as u32;
        for sequence in 0..sequences as u32 {
            let tokens: Vec<u32> =
                (start..start + count).map(|p| (p as u32 * 7919 + sequence * 104_729) % vocabulary).collect();
            let first = sequence * self.blocks_each as u32;
            let blocks: Vec<u32> = (first..first + self.blocks_each as u32).collect();
            let rows = batch.push(&tokens, start, &blocks);
            batch.logit_rows.push(rows.end - 1);
        }
        let logits = self.decoder.forward(&batch, &mut self.pages).unwrap();
        self.decoder.take_back(std::hint::black_box(logits));
    }

    /// Fills positions below `depth` of every sequence, in chunks.
    pub(crate) fn fill(&mut self, sequences: usize, depth: usize) {
        self.read(sequences, 0, depth);
    }

    /// Computes positions `start..end` of every sequence in steps as large as the engine's own.
    pub(crate) fn read(&mut self, sequences: usize, start: usize, end: usize) {
        let rows = (EngineConfig::default().step_tokens_max / sequences).max(1);
        for start in (start..end).step_by(rows) {
            self.step(sequences, start, rows.min(end - start));
        }
    }
}

/// The middle one of some measurements.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// One line of result; `more` are further members of its object, each after a comma.
pub(crate) fn report(bench: &str, path: &Path, arguments: &Arguments, batch: usize, tokens_per_s: f64, more: &str) {
    let model = path.file_name().unwrap().to_string_lossy();
    println!(
        "{{\"bench\":\"{bench}\",\"model\":\"{model}\",\"threads\":{},\"batch\":{batch},\"tokens\":{},\"depth\":{},\
         \"tokens_per_s\":{tokens_per_s:.2}{more}}}",
        arguments.threads, arguments.tokens, arguments.depth
    );
}
