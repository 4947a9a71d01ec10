//! Long recordings cut at pauses: what must be in a chunk, what must not, and where the borders lie.
//! The voices are buzzing tones with syllables, noise comes from SplitMix64; both are made here.
//! Invariant: chunks are in order, apart, at most a window long, and the same however the samples were pushed.

use engine::audio::{Chunk, Chunker, VadOptions};

use crate::toy::SplitMix64;

const RATE: usize = 16_000;
const WINDOW: usize = 10 * RATE;

fn seconds(seconds: f64) -> usize {
    (seconds * RATE as f64) as usize
}

fn noise(samples: usize, level: f32, seed: u64) -> Vec<f32> {
    let draws = SplitMix64::new(seed).take(samples);
    draws.map(|draw| level * ((draw >> 40) as f32 / (1 << 23) as f32 - 1.0)).collect()
}

/// A buzz of 120 Hz with twenty harmonics, in syllables of a quarter of a second.
fn voice(samples: usize, level: f32) -> Vec<f32> {
    let sample = |index: usize| {
        let at = index as f32 / RATE as f32;
        let buzz: f32 = (1..=20)
            .map(|harmonic| (std::f32::consts::TAU * 120.0 * harmonic as f32 * at).sin() / harmonic as f32)
            .sum();
        let syllable = (std::f32::consts::PI * at * 4.0).sin().abs();
        level * buzz * syllable * 0.6
    };
    (0..samples).map(sample).collect()
}

/// Parts one after another over a faint noise.
fn recording(parts: &[(bool, f64)]) -> Vec<f32> {
    let mut samples: Vec<f32> = Vec::new();
    for (speaks, length) in parts {
        let length = seconds(*length);
        samples.extend(if *speaks { voice(length, 0.3) } else { vec![0.0; length] });
    }
    let floor = noise(samples.len(), 0.001, 1);
    samples.iter().zip(floor).map(|(sample, noise)| sample + noise).collect()
}

fn chunks_of(samples: &[f32], piece: usize) -> Vec<Chunk> {
    let mut chunker = Chunker::new(VadOptions::default(), WINDOW);
    let mut chunks: Vec<Chunk> = samples.chunks(piece).flat_map(|piece| chunker.push(piece)).collect();
    chunks.extend(chunker.finish());
    check(samples, &chunks);
    chunks
}

/// What holds for every recording.
fn check(samples: &[f32], chunks: &[Chunk]) {
    let mut before = 0;
    for chunk in chunks {
        let start = chunk.start_sample as usize;
        assert!(start >= before, "{start} lies before {before}");
        assert!((1..=WINDOW).contains(&chunk.samples.len()), "{} samples", chunk.samples.len());
        before = start + chunk.samples.len();
        assert_eq!(chunk.samples, samples[start..before]);
        assert!(!chunk.speech.is_empty());
        let mut spoken = chunk.start_sample;
        for speech in &chunk.speech {
            assert!(speech.start >= spoken && speech.end > speech.start && speech.end as usize <= before);
            spoken = speech.end;
        }
    }
}

fn is_covered(chunks: &[Chunk], from: usize, to: usize) -> bool {
    let mut at = from;
    for chunk in chunks {
        let start = chunk.start_sample as usize;
        if (start..start + chunk.samples.len()).contains(&at) {
            at = start + chunk.samples.len();
        }
    }
    at >= to
}

#[test]
fn silence_and_steady_noise_give_nothing() {
    let mut brown = noise(seconds(60.0), 0.02, 3);
    for at in 1..brown.len() {
        brown[at] += 0.98 * brown[at - 1];
    }
    let hum = |at: usize| 0.2 * (std::f32::consts::TAU * 50.0 * at as f32 / RATE as f32).sin();
    let cases = [
        vec![0.0; seconds(60.0)],
        noise(seconds(60.0), 0.002, 1),
        noise(seconds(60.0), 0.5, 2),
        brown,
        // A fan that starts and stops.
        [vec![0.0; seconds(20.0)], noise(seconds(20.0), 0.1, 4), vec![0.0; seconds(20.0)]].concat(),
        noise(seconds(30.0), 0.0005, 5).iter().enumerate().map(|(at, noise)| noise + hum(at)).collect(),
        Vec::new(),
    ];
    for (index, samples) in cases.iter().enumerate() {
        let chunks = chunks_of(samples, 4_096);
        assert_eq!(chunks.len(), 0, "case {index}: at {:?}", chunks.first().map(|chunk| &chunk.speech));
    }
}

#[test]
fn speech_is_found_with_a_pad_and_long_silence_is_left_out() {
    let samples =
        recording(&[(false, 3.0), (true, 2.0), (false, 5.0), (true, 1.5), (false, 0.8), (true, 1.0), (false, 4.0)]);
    let chunks = chunks_of(&samples, 4_096);
    assert_eq!(chunks.len(), 2);
    // (from, to) of what is spoken, with pads of 0.2 s and frames of 32 ms around it.
    for (chunk, (from, to)) in chunks.iter().zip([(3.0, 5.0), (10.0, 13.3)]) {
        let (start, end) = (chunk.start_sample as usize, chunk.start_sample as usize + chunk.samples.len());
        assert!(start <= seconds(from - 0.1) && start >= seconds(from - 0.35), "{start}");
        assert!(end >= seconds(to + 0.1) && end <= seconds(to + 0.35), "{end}");
    }
    assert_eq!((chunks[0].speech.len(), chunks[1].speech.len()), (1, 2));
}

#[test]
fn a_window_is_cut_at_the_longest_pause() {
    let samples = recording(&[
        (true, 3.0),
        (false, 0.4),
        (true, 3.0),
        (false, 1.0),
        (true, 1.0),
        (false, 0.3),
        (true, 4.0),
        (false, 0.5),
        (true, 3.0),
    ]);
    let chunks = chunks_of(&samples, 1_000);
    assert_eq!(chunks.len(), 2);
    let border = chunks[1].start_sample as usize;
    assert!((seconds(6.4)..seconds(7.4)).contains(&border), "{border}");
    for (from, to) in [(0.05, 2.95), (3.45, 6.35), (7.45, 8.35), (8.75, 12.65), (13.25, 16.15)] {
        assert!(is_covered(&chunks, seconds(from), seconds(to)), "{from}");
    }
}

#[test]
fn sound_without_a_pause_is_cut_at_the_window_and_nothing_is_lost() {
    // Chords over a noise that is never silent.
    let chord = |at: usize| {
        let at = at as f32 / RATE as f32;
        let root = [220.0, 247.0, 262.0, 330.0][(at * 2.0) as usize % 4];
        [1.0, 1.25, 1.5].iter().map(|factor| 0.1 * (std::f32::consts::TAU * root * factor * at).sin()).sum::<f32>()
    };
    let length = seconds(45.0);
    let music: Vec<f32> = noise(length, 0.01, 9).iter().enumerate().map(|(at, noise)| noise + chord(at)).collect();
    for samples in [music, voice(length, 0.3)] {
        let chunks = chunks_of(&samples, 4_096);
        assert!((5..=7).contains(&chunks.len()), "{} chunks", chunks.len());
        assert!(is_covered(&chunks, seconds(0.5), length - seconds(0.5)));
    }
}

#[test]
fn any_pieces_give_the_same_chunks() {
    let mut draws = SplitMix64::new(11);
    for round in 0..4 {
        let mut parts = Vec::new();
        for _ in 0..12 {
            parts.push((draws.next().unwrap().is_multiple_of(2), (draws.next().unwrap() % 4_000) as f64 / 1_000.0));
        }
        let samples = recording(&parts);
        let whole = chunks_of(&samples, usize::MAX);
        for piece in [313, 512, 16_000] {
            assert_eq!(chunks_of(&samples, piece), whole, "round {round}, pieces of {piece}");
        }
        // Whatever was spoken is in some chunk; the first and last moments of a syllable are silent.
        let mut at = 0.0;
        for (speaks, length) in parts {
            if speaks && length > 0.3 {
                assert!(is_covered(&whole, seconds(at + 0.05), seconds(at + length - 0.05)), "round {round} at {at}");
            }
            at += length;
        }
    }
}

#[test]
fn a_higher_threshold_and_other_pads_are_obeyed() {
    let mut samples = recording(&[(false, 2.0), (true, 1.0), (false, 2.0)]);
    let found = |options: VadOptions, samples: &[f32]| {
        let mut chunker = Chunker::new(options, WINDOW);
        let mut chunks = chunker.push(samples);
        chunks.extend(chunker.finish());
        chunks
    };
    let padded = found(VadOptions { pad_ms: 600, ..VadOptions::default() }, &samples);
    let bare = found(VadOptions { pad_ms: 0, ..VadOptions::default() }, &samples);
    assert!(padded[0].samples.len() > bare[0].samples.len() + seconds(1.0));
    // A voice little louder than the noise beneath it.
    for (sample, noise) in samples.iter_mut().zip(noise(seconds(5.0), 0.05, 8)) {
        *sample = *sample * 0.8 + noise;
    }
    let lengths = [0.0, 0.5, 1.0].map(|threshold| {
        let chunks = found(VadOptions { threshold, pad_ms: 0, ..VadOptions::default() }, &samples);
        chunks.iter().map(|chunk| chunk.samples.len()).sum::<usize>()
    });
    assert!(lengths[0] > lengths[2] && lengths[0] >= lengths[1] && lengths[1] >= lengths[2], "{lengths:?}");
}
