//! How fast attention runs by itself, at the shapes of two models: operations per second, bytes of keys and values read.
//! The bandwidth of plain reading is measured in the same run, so that decoding can be read as a share of it.
//! `cargo bench --bench attention -p engine -- [f16] [f32] [q8_0] [1.2b] [135m] [at=POSITION] [threads=N]`
#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use candle_core::{Device, Tensor};
use engine::batch::Batch;
use engine::config::{BLOCK_TOKENS, KvType};
use engine::kv::pages::Pages;
use engine::ops::attention::{AttentionExtras, AttentionShape, KeyValues, Keys, QuerySpan, attend};
use engine::ops::pool::Pool;

/// Name, layers, heads, heads of keys and values, numbers per head.
const MODELS: [(&str, usize, usize, usize, usize); 2] = [("1.2b", 16, 32, 8, 64), ("135m", 30, 9, 3, 64)];
/// Sequences, rows of each, position of the first.
const WORK: [(usize, usize, usize); 8] =
    [(1, 1, 512), (1, 1, 2048), (1, 1, 8191), (8, 1, 512), (8, 1, 2048), (8, 1, 8191), (1, 512, 0), (1, 512, 7680)];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let threads = arguments.iter().find_map(|argument| argument.strip_prefix("threads=")?.parse().ok());
    let threads = threads.or_else(|| std::thread::available_parallelism().map(Into::into).ok()).unwrap_or(1);
    let pool = Pool::new(threads).unwrap();
    println!("{threads} threads, all layers of a model in turn");
    let types = [("f16", KvType::F16), ("f32", KvType::F32), ("q8_0", KvType::Q8_0)];
    let asked: Vec<_> =
        types.into_iter().filter(|(name, _)| arguments.iter().any(|argument| argument == name)).collect();
    for &(type_name, kv_type) in if asked.is_empty() { &types[..1] } else { &asked } {
        run(type_name, kv_type, &arguments, &pool);
    }
}

fn run(type_name: &str, kv_type: KvType, arguments: &[String], pool: &Pool) {
    let at: Option<usize> = arguments.iter().find_map(|argument| argument.strip_prefix("at=")?.parse().ok());
    let all = !MODELS.iter().any(|model| arguments.iter().any(|argument| argument == model.0));
    for (name, layers, heads, kv_heads, head_dim) in MODELS {
        if !all && !arguments.iter().any(|argument| argument == name) {
            continue;
        }
        let scale = 1.0 / (head_dim as f32).sqrt();
        let shape = AttentionShape { heads, kv_heads, head_dim, scale, causal: true, window: None, softcap: None };
        for (sequences, rows, start) in WORK.into_iter().filter(|work| at.is_none_or(|at| at == work.2)) {
            let bandwidth = bandwidth(pool);
            let seconds = measure(&shape, layers, kv_type, sequences, rows, start, pool);
            // A row at position p sees p + 1 keys; every key costs a product and a weighted sum.
            let seen: usize = (start..start + rows).map(|position| position + 1).sum::<usize>() * sequences;
            let operations = (seen * heads * head_dim * 4 * layers) as f64;
            let bytes = (sequences * (start + rows) * kv_heads * layers) as f64 * kv_bytes(kv_type, head_dim);
            println!(
                "{name} {type_name}: {sequences} x {rows:3} rows at {start:4}: {:9.3} ms {:7.1} GFLOP/s {:6.1} GB/s, {:3.0} % of plain reading",
                seconds * 1e3,
                operations / seconds / 1e9,
                bytes / seconds / 1e9,
                100.0 * bytes / seconds / bandwidth
            );
        }
    }
}

/// The best of some runs, in seconds.
fn best(mut run: impl FnMut()) -> f64 {
    let (begin, mut best, mut runs) = (Instant::now(), f64::MAX, 0);
    while runs < 3 || begin.elapsed() < Duration::from_millis(500) {
        let start = Instant::now();
        run();
        best = best.min(start.elapsed().as_secs_f64());
        runs += 1;
    }
    best
}

/// Bytes per second when all threads read a large buffer.
fn bandwidth(pool: &Pool) -> f64 {
    let (rows, columns) = (1 << 11, 1 << 14);
    let map = vec![1_u64; rows * columns];
    let sums = std::sync::atomic::AtomicU64::new(0);
    let seconds = best(|| {
        pool.run(rows, |range| {
            let mut lanes = [0_u64; 32];
            for chunk in map[range.start * columns..range.end * columns].as_chunks::<32>().0 {
                for (lane, number) in lanes.iter_mut().zip(chunk) {
                    *lane = lane.wrapping_add(*number);
                }
            }
            sums.fetch_add(lanes.iter().sum(), std::sync::atomic::Ordering::Relaxed);
        })
        .unwrap();
    });
    assert!(sums.into_inner() > 0);
    (rows * columns * 8) as f64 / seconds
}

/// Bytes of a key and a value of one head.
fn kv_bytes(kv_type: KvType, head_dim: usize) -> f64 {
    Pages::block_bytes(1, 1, head_dim, kv_type) as f64 / BLOCK_TOKENS as f64
}

#[allow(clippy::too_many_arguments)]
fn measure(
    shape: &AttentionShape,
    layers: usize,
    kv_type: KvType,
    sequences: usize,
    rows: usize,
    start: usize,
    pool: &Pool,
) -> f64 {
    let number = |i: usize| ((i * 7919) % 1000) as f32 / 500.0 - 1.0;
    let blocks_each = (start + rows).div_ceil(BLOCK_TOKENS);
    let blocks: Vec<u32> = (0..(sequences * blocks_each) as u32).collect();
    let mut pages = Pages::new(layers, shape.kv_heads, shape.head_dim, blocks.len(), kv_type).unwrap();
    let kv_width = shape.kv_heads * shape.head_dim;
    let numbers: Vec<f32> = (0..(start + rows) * kv_width + layers).map(number).collect();
    for blocks in blocks.chunks(blocks_each) {
        let mut batch = Batch::default();
        batch.push(&vec![0; start + rows], 0, blocks);
        for layer in 0..layers {
            let numbers = &numbers[layer..][..(start + rows) * kv_width];
            pages.write(layer, &batch, numbers, numbers, None, pool).unwrap();
        }
    }
    let width = shape.heads * shape.head_dim;
    let query: Vec<f32> = (0..sequences * rows * width).map(|i| number(i + 77)).collect();
    let query = Tensor::from_vec(query, (sequences * rows, width), &Device::Cpu).unwrap();
    let spans: Vec<QuerySpan<'_>> = blocks
        .chunks(blocks_each)
        .enumerate()
        .map(|(index, blocks)| {
            let keys = Keys::Blocks { blocks, count: start + rows };
            QuerySpan { first_row: index * rows, rows, start, keys }
        })
        .collect();
    best(|| {
        for layer in 0..layers {
            let cache = KeyValues::Paged(pages.layer(layer).unwrap());
            let extras = AttentionExtras::default();
            std::hint::black_box(attend(&query, &cache, shape, &extras, &spans, pool).unwrap());
        }
    })
}
