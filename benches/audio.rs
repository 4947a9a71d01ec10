//! Seconds of audio decoded per second, milliseconds of log-mel per 30 s, and seconds cut into chunks per second, one thread.
//! `cargo bench --bench audio -- [FILE...] [--repeat 5]`; without files, the fixtures of mp3, Opus, AAC and FLAC are read.
//! Invariant: files lie in memory before the clock runs; the figure is the median of the repeats.
#![allow(clippy::unwrap_used)]

use std::hint::black_box;
use std::time::Instant;

use engine::audio::{AudioLimits, AudioSource, Chunker, LogMel, Recording, SAMPLE_RATE, VadOptions};

const FIXTURES: [&str; 6] = [
    "stereo_44k.mp3",
    "opus_48k_stereo.ogg",
    "opus_speech_16k.opus",
    "aac_44k_stereo.m4a",
    "vorbis_44k_stereo.ogg",
    "s16_16k_stereo.flac",
];

fn main() {
    let (mut files, mut repeat) = (Vec::new(), 5);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--repeat" => repeat = arguments.next().unwrap().parse().unwrap(),
            "--bench" => {}
            file => files.push(file.to_owned()),
        }
    }
    if files.is_empty() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/audio/formats");
        files = FIXTURES.map(|name| format!("{folder}/{name}")).to_vec();
    }
    for file in files {
        let bytes: &'static [u8] = std::fs::read(&file).unwrap().leak();
        let mut seconds = 0.0;
        let time = median(repeat, || seconds = decode(bytes));
        let name = file.rsplit('/').next().unwrap_or(&file);
        println!("decode {name}: {seconds:.1} s of audio, {:.0} s per second", seconds / time);
    }
    let samples = noise(30 * SAMPLE_RATE as usize);
    for bins in [80, 128] {
        let (mel, mut rows) = (LogMel::new(bins, 3_000).unwrap(), Vec::new());
        let time = median(repeat, || mel.compute(black_box(&samples), &mut rows).unwrap());
        println!("log-mel of 30 s, {bins} bins: {:.2} ms", time * 1e3);
    }
    let time = median(repeat, || {
        let mut chunker = Chunker::new(VadOptions::default(), samples.len());
        black_box((chunker.push(black_box(&samples)), chunker.finish()));
    });
    println!("chunks: {:.0} s per second", 30.0 / time);
}

fn decode(bytes: &'static [u8]) -> f64 {
    let mut recording = Recording::open(AudioSource::bytes(bytes), None, AudioLimits::default()).unwrap();
    let (mut samples, mut count) = (Vec::new(), 0);
    loop {
        samples.clear();
        match recording.read(&mut samples, 16_384).unwrap() {
            0 => return count as f64 / f64::from(SAMPLE_RATE),
            read => count += read,
        }
    }
}

/// Seconds of the middle repeat; one before them warms up.
fn median(repeat: usize, mut work: impl FnMut()) -> f64 {
    work();
    let time = |()| {
        let start = Instant::now();
        work();
        start.elapsed().as_secs_f64()
    };
    let mut times: Vec<f64> = std::iter::repeat_n((), repeat.max(1)).map(time).collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn noise(count: usize) -> Vec<f32> {
    let mut state = 1_u32;
    let draw = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count).map(draw).map(|sample: f32| sample * 0.1).collect()
}
