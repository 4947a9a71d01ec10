//! What a served model takes of memory, by the kernel's accounting of the real program: after loading, and after a
//! prompt and an answer.
//! Invariant: at most 1.15 times the file, the cache of keys and values, and what the program takes with a model of next
//! to no size. The mapped file counts too, so it is let go piece by piece as it is packed.

use std::path::Path;

use serde_json::{Value, json};

use crate::client::Request;
use crate::command::Running;
use crate::random_model;
use crate::temp_folder::TempFolder;
use crate::toy::Toy;
use crate::toy::gguf::Mix;

const CONTEXT_TOKENS: usize = 512;
const HEAD_DIM: usize = 64;
const KV_HEADS: usize = 2;

/// Kilobytes: after loading, after an answer, and the most at any time.
#[derive(Debug)]
struct Resident {
    loaded: usize,
    answered: usize,
    most: usize,
}

impl Resident {
    /// Serves the model at `path` and asks it something.
    fn of(path: &Path) -> Self {
        let context = CONTEXT_TOKENS.to_string();
        let flags = ["--model", path.to_str().unwrap(), "--ctx-size", &context, "--parallel", "1", "--threads", "2"];
        let running = Running::start(&flags);
        let id = running.child.id();
        let loaded = kilobytes(id, "VmRSS:");
        let prompt: Vec<usize> = (0..200).map(|place| place % 250).collect();
        let body = json!({"prompt": prompt, "max_tokens": 40, "ignore_eos": true, "temperature": 0}).to_string();
        let ask = Request { method: "POST", path: "/v1/completions", headers: &[], body: &body };
        let answer = ask.send(running.address);
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert_eq!(answer.json()["usage"]["completion_tokens"], 40);
        Self { loaded, answered: kilobytes(id, "VmRSS:"), most: kilobytes(id, "VmHWM:") }
    }
}

/// A line of /proc/ID/status.
fn kilobytes(id: u32, name: &str) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn model(folder: &TempFolder, mix: Mix, hidden: usize, layers: usize) -> std::path::PathBuf {
    let vocabulary = 4096;
    let config = json!({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": hidden,
        "intermediate_size": 4 * hidden, "num_hidden_layers": layers, "num_attention_heads": hidden / HEAD_DIM,
        "num_key_value_heads": KV_HEADS, "head_dim": HEAD_DIM, "vocab_size": vocabulary,
        "max_position_embeddings": CONTEXT_TOKENS, "rms_norm_eps": 1e-5, "rope_theta": 10_000.0, "rope_scaling": null,
        "tie_word_embeddings": true, "hidden_act": "silu", "bos_token_id": vocabulary - 8,
        "eos_token_id": vocabulary - 5, "torch_dtype": "bfloat16",
    });
    let name = format!("{}-{hidden}", mix.name());
    let path = folder.path().join(format!("{name}.gguf"));
    random_model::write(&Toy { name, config }, mix, &path);
    path
}

#[test]
fn a_model_takes_little_more_than_its_file() {
    let folder = TempFolder::new("memory");
    let empty = Resident::of(&model(&folder, Mix::Q4KM, 256, 1));
    for (mix, layers) in [(Mix::Q4KM, 20), (Mix::Bf16, 8)] {
        let path = model(&folder, mix, 512, layers);
        // Keys and values, two bytes each.
        let cache = (2 * 2 * layers * KV_HEADS * HEAD_DIM * CONTEXT_TOKENS) >> 10;
        let file = std::fs::metadata(&path).unwrap().len() as usize >> 10;
        let found = Resident::of(&path);
        let at_most = |empty: usize| file * 115 / 100 + cache + empty;
        let told =
            format!("{}: {found:?} for a file of {file} and a cache of {cache}; the program {empty:?}", mix.name());
        assert!(found.loaded <= at_most(empty.loaded), "{told}");
        assert!(found.answered <= at_most(empty.answered), "{told}");
        // While it loads, a few tensors are there twice; never the whole file.
        assert!(found.most <= at_most(empty.most) + file / 4, "{told}");
        assert!(found.loaded > file / 2, "the accounting is off: {told}");
    }
}

#[test]
fn switching_and_loading_anew_give_memory_back() {
    const ROUNDS: usize = 20;
    let folder = TempFolder::new("switching");
    let names = [(Mix::Q4KM, 512), (Mix::Bf16, 256)].map(|(mix, hidden)| {
        let path = model(&folder, mix, hidden, 8);
        path.file_stem().unwrap().to_str().unwrap().to_owned()
    });
    let (model_dir, context) = (folder.path().to_str().unwrap(), CONTEXT_TOKENS.to_string());
    let running = Running::start(&[
        "--model",
        &names[0],
        "--model-dir",
        model_dir,
        "--ctx-size",
        &context,
        "--parallel",
        "1",
        "--threads",
        "2",
    ]);
    let ask = |name: &str| {
        let body = json!({"model": name, "prompt": [1, 2, 3, 4], "max_tokens": 4, "temperature": 0}).to_string();
        let answer =
            Request { method: "POST", path: "/v1/completions", headers: &[], body: &body }.send(running.address);
        assert_eq!((answer.status, &answer.json()["model"]), (200, &json!(name)), "{}", answer.body);
    };
    let change = |path: &str, body: Value| {
        let path = &format!("/v1/internal/model/{path}");
        let answer = Request { method: "POST", path, headers: &[], body: &body.to_string() }.send(running.address);
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
    };
    // Every round unloads and loads both, one of them three times over. The first rounds fill what stays: threads, the allocator's own tables.
    let mut resident = Vec::new();
    for _ in 0..ROUNDS {
        names.iter().rev().for_each(|name| ask(name));
        change("load", json!({"model_name": names[0], "args": {"n_ctx": 64}}));
        change("unload", json!({}));
        change("load", json!({"model_name": names[0], "args": {"n_ctx": CONTEXT_TOKENS}}));
        resident.push(kilobytes(running.child.id(), "VmRSS:"));
    }
    println!("resident kilobytes by round: {resident:?}");
    // What a thread of a moment's work leaves with the allocator comes and goes by some megabytes, so medians are compared.
    let median = |rounds: &[usize]| {
        let mut rounds = rounds.to_vec();
        rounds.sort_unstable();
        rounds[rounds.len() / 2]
    };
    let (early, late) = (median(&resident[2..9]), median(&resident[ROUNDS - 7..]));
    assert!(late * 100 <= early * 105, "resident kilobytes by round: {resident:?}");
}
