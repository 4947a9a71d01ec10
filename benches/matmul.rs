//! How fast packed matrices are multiplied: weights read per second with one row, operations per second with many.
//! The bandwidth of plain reading is measured in the same run, so that the first can be read as a share of it.
//! `cargo bench --bench matmul -p engine -- [TYPE]... [threads=N]`
#![allow(clippy::unwrap_used)]

mod machine;

use std::time::{Duration, Instant};

use engine::ops::ggml::GgmlType;
use engine::ops::packed::{Packed, Tier};
use engine::ops::pool::Pool;
use machine::Memory;

const TYPES: [GgmlType; 12] = [
    GgmlType::Q4_0,
    GgmlType::Q4_K,
    GgmlType::Q5_K,
    GgmlType::Q6_K,
    GgmlType::Q8_0,
    GgmlType::Q5_0,
    GgmlType::Q4_1,
    GgmlType::Q3_K,
    GgmlType::Q2_K,
    GgmlType::BF16,
    GgmlType::F16,
    GgmlType::F32,
];
/// Outputs and inputs.
const SHAPES: [(usize, usize); 4] = [(2048, 8192), (8192, 2048), (576, 1536), (128_256, 2048)];
/// Matrices of one shape are taken in turn until they no longer fit any cache.
const WEIGHT_BYTES: usize = 600 << 20;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let threads = arguments.iter().find_map(|argument| argument.strip_prefix("threads=")?.parse().ok());
    let threads = threads.or_else(|| std::thread::available_parallelism().map(Into::into).ok()).unwrap_or(1);
    let pool = Pool::new(threads).unwrap();
    println!("{:?}, {threads} threads", Tier::detect());
    println!("type  [n, k]            MB    1 row: GB/s  share |   8 rows: GB/s  GOP/s |  32: GOP/s | 512: GOP/s");
    let wanted = |ty: &GgmlType| {
        let mut names =
            arguments.iter().filter(|argument| !argument.contains('=') && !argument.starts_with('-')).peekable();
        names.peek().is_none() || names.any(|name| *name == format!("{ty:?}"))
    };
    let memory = Memory::large();
    for ty in TYPES.iter().copied().filter(wanted) {
        // For each type anew: other work on the machine comes and goes.
        let bandwidth = memory.bandwidth(threads);
        println!("      plain reading           {:8.1}", bandwidth / 1e9);
        for (n, k) in SHAPES {
            measure(ty, n, k, bandwidth, &pool);
        }
    }
}

/// The best of some runs, in seconds.
fn best(mut run: impl FnMut()) -> f64 {
    let (begin, mut best, mut runs) = (Instant::now(), f64::MAX, 0);
    while runs < 3 || begin.elapsed() < Duration::from_millis(400) {
        let start = Instant::now();
        run();
        best = best.min(start.elapsed().as_secs_f64());
        runs += 1;
    }
    best
}

/// Weights whose bits are all over the place but whose scales are sensible.
fn weights(ty: GgmlType, len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = vec![0; ty.bytes(len).unwrap()];
    for eight in bytes.chunks_mut(8) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        // Keeps every 16-bit word, read as a float of any kind, away from infinities and subnormals.
        let word = state & 0xbbff_bbff_bbff_bbff | 0x2000_2000_2000_2000;
        eight.copy_from_slice(&word.to_le_bytes()[..eight.len()]);
    }
    bytes
}

fn measure(ty: GgmlType, n: usize, k: usize, bandwidth: f64, pool: &Pool) {
    let bytes = weights(ty, n * k);
    let first = Packed::pack(ty, n, k, &bytes, pool).unwrap();
    let copies = (WEIGHT_BYTES / first.bytes()).clamp(1, 400);
    let mut matrices = vec![first];
    matrices.resize_with(copies, || Packed::pack(ty, n, k, &bytes, pool).unwrap());
    let total: usize = matrices.iter().map(Packed::bytes).sum();
    let rate = |m: usize, copies: usize| {
        let input: Vec<f32> = (0..m * k).map(|i| ((i * 7919) % 1000) as f32 / 500.0 - 1.0).collect();
        let mut output = vec![0.0; m * n];
        let seconds = best(|| {
            for matrix in &matrices[..copies] {
                matrix.matmul(&input, m, &mut output, pool).unwrap();
            }
        });
        (matrices[0].bytes() as f64 * copies as f64 / seconds, 2.0 * (m * n * k * copies) as f64 / seconds)
    };
    let (one, _) = rate(1, copies);
    let (eight_bytes, eight) = rate(8, copies);
    let few = copies.min(4);
    let (_, thirty_two) = rate(32, few);
    let many = if n > 20_000 { f64::NAN } else { rate(512, few).1 };
    println!(
        "{:5} [{n:6}, {k:5}] {:6.0}   {:8.1}   {:6.0} % |   {:8.1} {:10.0}  | {:9.0}  | {:9.0}",
        format!("{ty:?}"),
        total as f64 / 1e6,
        one / 1e9,
        100.0 * one / bandwidth,
        eight_bytes / 1e9,
        eight / 1e9,
        thirty_two / 1e9,
        many / 1e9
    );
}
