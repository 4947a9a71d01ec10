//! Recordings of every container and codec that is taken: the sound that went in comes out, at its place, with its length.
//! The files of tests/fixtures/audio/formats are written by tests/fixtures/audio/make_formats.py.
//! Invariant: whatever the bytes are, the answer is samples or an error that names `file`, never a panic.

use engine::ErrorKind;
use engine::audio::{AudioLimits, AudioSource, Recording};

use crate::toy::SplitMix64;

/// 0.2 s at 16 kHz.
const SAMPLES: usize = 3_200;

/// Name, what it is, least correlation with the sound, samples that an untrimmed encoder puts before it, and all it adds.
const FILES: [(&str, &str, f64, usize, usize); 33] = [
    ("u8_8k_mono.wav", "pcm_u8 in wave, 8000 Hz, 1 channel", 0.999, 0, 0),
    ("s16_16k_mono.wav", "pcm_s16le in wave, 16000 Hz, 1 channel", 0.9999, 0, 0),
    ("s16_11k_stereo.wav", "pcm_s16le in wave, 11025 Hz, 2 channels", 0.9999, 0, 0),
    ("s24_8k_mono.wav", "pcm_s24le in wave, 8000 Hz, 1 channel", 0.9999, 0, 0),
    ("s32_8k_mono.wav", "pcm_s32le in wave, 8000 Hz, 1 channel", 0.9999, 0, 0),
    ("f32_8k_mono.wav", "pcm_f32le in wave, 8000 Hz, 1 channel", 0.9999, 0, 0),
    ("alaw_8k_mono.wav", "pcm_alaw in wave, 8000 Hz, 1 channel", 0.999, 0, 0),
    ("mulaw_8k_mono.wav", "pcm_mulaw in wave, 8000 Hz, 1 channel", 0.999, 0, 0),
    // The last block of ADPCM is filled up.
    ("ima_22k_mono.wav", "adpcm_ima_wav in wave, 22050 Hz, 1 channel", 0.999, 0, 1_500),
    ("ms_16k_mono.wav", "adpcm_ms in wave, 16000 Hz, 1 channel", 0.999, 0, 2_000),
    ("s16_8k_mono.aiff", "pcm_s16be in aiff, 8000 Hz, 1 channel", 0.9999, 0, 0),
    ("s16_8k_mono.caf", "pcm_s16be in caf, 8000 Hz, 1 channel", 0.9999, 0, 0),
    ("s16_16k_stereo.flac", "flac, 16000 Hz, 2 channels", 0.9999, 0, 0),
    ("s24_12k_mono.flac", "flac, 12000 Hz, 1 channel", 0.9999, 0, 0),
    ("alac_16k_mono.m4a", "alac in isomp4, 16000 Hz, 1 channel", 0.9999, 0, 0),
    // Its frames are too small for the note that says how much to trim.
    ("mono_16k.mp3", "mp3, 16000 Hz, 1 channel", 0.99, 1_200, 1_800),
    ("stereo_44k.mp3", "mp3, 44100 Hz, 2 channels", 0.99, 0, 0),
    ("variable_48k.mp3", "mp3, 48000 Hz, 2 channels", 0.99, 0, 0),
    ("layer2_48k.mp2", "mp2, 48000 Hz, 1 channel", 0.99, 400, 600),
    ("aac_44k_stereo.m4a", "aac in isomp4, 44100 Hz, 2 channels", 0.97, 0, 0),
    ("aac_16k_mono.aac", "aac, 16000 Hz, 1 channel", 0.97, 1_100, 3_000),
    ("video_aac_44k.mp4", "aac in isomp4, 44100 Hz, 2 channels", 0.97, 0, 0),
    ("fragments_aac_48k.mp4", "aac in isomp4, 48000 Hz, 1 channel", 0.95, 400, 1_000),
    ("video_aac_44k.mkv", "aac in matroska, 44100 Hz, 1 channel", 0.95, 400, 1_000),
    ("vorbis_44k_stereo.ogg", "vorbis in ogg, 44100 Hz, 2 channels", 0.99, 0, 0),
    ("vorbis_48k_mono.webm", "vorbis in matroska, 48000 Hz, 1 channel", 0.99, 100, 500),
    ("opus_48k_stereo.ogg", "opus in ogg, 48000 Hz, 2 channels", 0.95, 0, 0),
    ("opus_speech_16k.opus", "opus in ogg, 48000 Hz, 1 channel", 0.95, 0, 0),
    ("opus_hybrid_24k.opus", "opus in ogg, 48000 Hz, 1 channel", 0.95, 0, 0),
    ("opus_48k_mono.webm", "opus in matroska, 48000 Hz, 1 channel", 0.95, 0, 500),
    ("opus_48k_stereo.mkv", "opus in matroska, 48000 Hz, 2 channels", 0.95, 0, 500),
    ("opus_48k_mono.mp4", "opus in isomp4, 48000 Hz, 1 channel", 0.95, 0, 0),
    ("opus_48k_six.opus", "opus in ogg, 48000 Hz, 6 channels", 0.9, 0, 0),
];

fn file(name: &str) -> Vec<u8> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/audio/formats");
    std::fs::read(std::path::Path::new(folder).join(name)).unwrap()
}

fn open(bytes: Vec<u8>, hint: Option<&str>) -> engine::Result<Recording> {
    Recording::open(AudioSource::bytes(bytes), hint, AudioLimits::default())
}

/// Everything, pulled in pieces of `piece` samples.
fn read(recording: &mut Recording, piece: usize) -> engine::Result<Vec<f32>> {
    let mut samples = Vec::new();
    while recording.read(&mut samples, piece)? > 0 {}
    Ok(samples)
}

fn decode(bytes: Vec<u8>) -> engine::Result<(Vec<f32>, bool)> {
    let mut recording = open(bytes, None)?;
    let samples = read(&mut recording, 4_096)?;
    Ok((samples, recording.is_truncated()))
}

fn error_of(bytes: Vec<u8>) -> String {
    let error = decode(bytes).unwrap_err();
    assert_eq!((error.kind, error.param), (ErrorKind::InvalidRequest, Some("file")), "{error}");
    error.message
}

/// What make_formats.py put into every file, mixed to one channel.
fn sound() -> Vec<f32> {
    let sample = |index: usize| {
        let at = index as f64 / 16_000.0;
        let fade = (at.min(0.2 - at) / 0.02).clamp(0.0, 1.0);
        let tone = |hertz: f64| (std::f64::consts::TAU * hertz * at).sin();
        (0.4 * fade * (tone(440.0) + tone(1_000.0)) / 2.0) as f32
    };
    (0..SAMPLES).map(sample).collect()
}

/// Correlation of the sound with what stands `lag` samples into `samples`, and how loud that is beside it.
fn likeness(samples: &[f32], lag: usize) -> (f64, f64) {
    let sound = sound();
    let pairs = || sound.iter().zip(&samples[lag.min(samples.len())..]).map(|(a, b)| (f64::from(*a), f64::from(*b)));
    let (mut both, mut own, mut other) = (0.0, 0.0, 0.0);
    for (a, b) in pairs() {
        both += a * b;
        own += a * a;
        other += b * b;
    }
    (both / (own * other).sqrt().max(1e-9), (other / own).sqrt())
}

#[test]
fn the_sound_that_went_in_comes_out() {
    for (name, description, correlation_min, lag_max, excess_max) in FILES {
        let mut recording = open(file(name), Some(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(recording.describe(), description, "{name}");
        let samples = read(&mut recording, 1_000).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!((SAMPLES..=SAMPLES + excess_max).contains(&samples.len()), "{name}: {} samples", samples.len());
        assert!(!recording.is_truncated(), "{name}");
        let likenesses = (0..=lag_max).map(|lag| likeness(&samples, lag));
        let (correlation, level) = likenesses.max_by(|a, b| a.0.total_cmp(&b.0)).unwrap();
        assert!(correlation >= correlation_min, "{name}: correlation {correlation}");
        assert!((0.85..1.15).contains(&level), "{name}: level {level}");
        if let Some(seconds) = recording.duration_if_known() {
            let decoded = samples.len() as f64 / 16_000.0;
            assert!((seconds - decoded).abs() < 0.05, "{name}: {seconds} s stated, {decoded} s decoded");
        }
        assert_eq!(recording.read(&mut Vec::new(), 100).unwrap(), 0, "{name}");
    }
}

#[test]
fn every_fixture_is_tried_and_any_piece_gives_the_same() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/audio/formats");
    let stored = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    for name in stored.filter(|name| !name.starts_with("refused")) {
        assert!(FILES.iter().any(|(known, ..)| *known == name), "{name} is not tried");
    }
    for name in ["s16_11k_stereo.wav", "stereo_44k.mp3", "opus_48k_stereo.ogg"] {
        let whole = read(&mut open(file(name), None).unwrap(), usize::MAX).unwrap();
        assert_eq!(read(&mut open(file(name), None).unwrap(), 7).unwrap(), whole, "{name}");
    }
}

#[test]
fn sixteen_bits_at_16_khz_pass_bit_for_bit() {
    let bytes = file("s16_16k_mono.wav");
    let data = bytes.windows(4).position(|four| four == b"data").unwrap() + 8;
    let stored = bytes[data..].chunks_exact(2).map(|pair| f32::from(i16::from_le_bytes([pair[0], pair[1]])) / 32_768.0);
    let expected: Vec<f32> = stored.collect();
    assert_eq!(decode(bytes).unwrap().0, expected);
}

#[test]
fn the_content_decides_and_not_the_name() {
    let mut recording = open(file("opus_48k_mono.webm"), Some("speech.mp3")).unwrap();
    assert!(read(&mut recording, 4_096).unwrap().len() >= SAMPLES);
    // A tag before the sound, as players write it.
    let tag = b"ID3\x04\0\0\0\0\0\x0aTIT2\0\0\0\0\0\0".to_vec();
    assert!(decode([tag, file("stereo_44k.mp3")].concat()).unwrap().0.len() >= SAMPLES);
}

#[test]
fn streams_one_after_another_are_heard_one_after_another() {
    let chained = [file("opus_48k_stereo.ogg"), file("vorbis_44k_stereo.ogg")].concat();
    let (samples, _) = decode(chained).unwrap();
    assert_eq!(samples.len(), 2 * SAMPLES);
    for lag in [0, SAMPLES] {
        let (correlation, _) = likeness(&samples, lag);
        assert!(correlation > 0.98, "{lag}: {correlation}");
    }
}

/// A wav file of 16 bits with this rate and these channels in its head.
fn wav(rate: u32, channels: u16, data: &[u8], stated: u32) -> Vec<u8> {
    let mut bytes = b"RIFF".to_vec();
    bytes.extend(stated.saturating_add(36).to_le_bytes());
    bytes.extend(b"WAVEfmt \x10\0\0\0\x01\0");
    bytes.extend(channels.to_le_bytes());
    bytes.extend(rate.to_le_bytes());
    bytes.extend(rate.wrapping_mul(2 * u32::from(channels)).to_le_bytes());
    bytes.extend(channels.wrapping_mul(2).to_le_bytes());
    bytes.extend(b"\x10\0data");
    bytes.extend(stated.to_le_bytes());
    bytes.extend(data);
    bytes
}

#[test]
fn an_error_says_what_was_found() {
    let cases = [
        (Vec::new(), "0 bytes"),
        (b"This is not a recording, but a letter.".to_vec(), "text"),
        (b"%PDF-1.7\n\x01\x02".to_vec(), "PDF"),
        ([b"\x89PNG\r\n\x1a\n".to_vec(), vec![7; 99]].concat(), "PNG"),
        (vec![0; 5_000], "zero bytes"),
        (
            (0..40_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 25) as u8 & 0x7f).collect(),
            "nothing in the file",
        ),
        (file("refused_ac3.mkv"), "AC-3"),
        (file("refused_video.mp4"), "no sound"),
        (wav(1_000_000_000, 1, &[0; 64], 64), "1000000000 Hz"),
        (wav(16_000, 65_535, &[0; 64], 64), "65535 channels"),
        (wav(0, 1, &[0; 64], 64), "0 Hz"),
        (wav(16_000, 1, &[], 0), "no sound"),
        (file("s16_16k_mono.wav")[..30].to_vec(), "cut"),
    ];
    for (bytes, word) in cases {
        let message = error_of(bytes);
        assert!(message.contains(word), "{message:?} does not say {word:?}");
    }
}

#[test]
fn a_recording_that_is_too_long_is_refused() {
    let limits = AudioLimits { duration_seconds_max: 1, ..AudioLimits::default() };
    let refused = |bytes: Vec<u8>| {
        let mut recording = Recording::open(AudioSource::bytes(bytes), None, limits)?;
        read(&mut recording, 4_096)
    };
    // One says so itself; the other, as if it came through a pipe, has to be counted.
    for stated in [64_000, u32::MAX] {
        let error = refused(wav(16_000, 1, &[1; 64_000], stated)).unwrap_err();
        assert!(error.message.contains("longer than 1 second"), "{error}");
    }
    assert_eq!(refused(wav(16_000, 1, &[1; 30_000], u32::MAX)).unwrap().len(), 15_000);
}

#[test]
fn what_is_cut_in_the_middle_is_given_and_said() {
    for name in
        ["s16_16k_mono.wav", "s16_16k_stereo.flac", "stereo_44k.mp3", "opus_48k_stereo.mkv", "opus_48k_mono.webm"]
    {
        let bytes = file(name);
        let whole = decode(bytes.clone()).unwrap().0.len();
        let (samples, is_truncated) =
            decode(bytes[..bytes.len() * 3 / 4].to_vec()).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(samples.len() < whole && !samples.is_empty(), "{name}: {} of {whole}", samples.len());
        // A short file that lacks a tenth of a second is not told from a padded one.
        assert!(is_truncated || name.ends_with("mp3") || name.ends_with("wav"), "{name}");
    }
    // As a browser writes it, which does not know yet how long it will be: whole, although it has no end.
    let mut live = file("opus_48k_mono.webm");
    let at = live.windows(4).position(|four| four == b"\x18\x53\x80\x67").unwrap() + 4;
    assert_eq!(live[at], 1, "a size of eight bytes");
    live[at + 1..at + 8].fill(0xff);
    let (samples, _) = decode(live).unwrap();
    assert!(samples.len() >= SAMPLES);
    let long = wav(16_000, 1, &[3; 20_000], 64_000);
    let (samples, is_truncated) = decode(long).unwrap();
    assert_eq!((samples.len(), is_truncated), (10_000, true));
    // The list of what lies where stands at the end of this one.
    let bytes = file("aac_44k_stereo.m4a");
    assert!(error_of(bytes[..bytes.len() / 2].to_vec()).contains("recording"));
}

#[test]
fn damaged_files_end_in_samples_or_in_an_error() {
    let mut draws = SplitMix64::new(6);
    let mut draw = |below: usize| (draws.next().unwrap() % below.max(1) as u64) as usize;
    for (name, ..) in FILES {
        for round in 0..12 {
            let mut bytes = file(name);
            // Half of the damage hits the head, where the lengths stand.
            for _ in 0..1 + draw(8) {
                let within = if round % 2 == 0 { bytes.len().min(200) } else { bytes.len() };
                let at = draw(within);
                bytes[at] = [draw(256) as u8, 0, 0xff, bytes[at] ^ 1 << draw(8)][draw(4)];
            }
            if round % 3 == 0 {
                bytes.truncate(draw(bytes.len()));
            }
            match decode(bytes) {
                Ok((samples, _)) => assert!(samples.iter().all(|sample| sample.is_finite()), "{name}"),
                Err(error) => {
                    assert_eq!((error.kind, error.param), (ErrorKind::InvalidRequest, Some("file")), "{name}: {error}")
                }
            }
        }
    }
}
