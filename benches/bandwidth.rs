//! What this machine can do at most: bytes read per second from memory and caches, operations per second of each kind.
//! `cargo bench -p engine --bench bandwidth -- [--threads N]`; one thread is measured beside all of them.
//! Invariant: nothing of the engine runs here, so these figures bound it and do not change with it.
#![allow(clippy::unwrap_used)]

mod machine;

use machine::{Memory, cached_bandwidth, peaks};

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let given = arguments.iter().position(|argument| argument == "--threads").map(|at| arguments[at + 1].parse());
    let threads = given.map_or_else(|| std::thread::available_parallelism().map_or(1, usize::from), Result::unwrap);
    let columns: Vec<usize> = if threads > 1 { vec![1, threads] } else { vec![1] };
    let print = |name: &str, unit: &str, measure: &dyn Fn(usize) -> f64| {
        let figures = columns.iter().map(|&threads| format!("{:9.1}", measure(threads) / 1e9));
        println!("{name:32} {}  {unit}", figures.collect::<Vec<_>>().join(" "));
    };
    println!(
        "threads                          {}",
        columns.iter().map(|n| format!("{n:9}")).collect::<Vec<_>>().join(" ")
    );
    let memory = Memory::large();
    print("reading memory", "GB/s", &|threads| memory.bandwidth(threads));
    drop(memory);
    for (name, bytes) in
        [("reading 16 KiB each", 16 << 10), ("reading 512 KiB each", 512 << 10), ("reading 6 MiB each", 6 << 20)]
    {
        print(name, "GB/s", &|threads| cached_bandwidth(threads, bytes));
    }
    for peak in peaks::peaks() {
        print(peak.name, "GOP/s", &|threads| peak.operations_per_s(threads));
    }
}
