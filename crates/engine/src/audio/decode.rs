//! A recording of any supported format, pulled as 16 kHz mono samples with memory that does not grow with its length.
//! Whoever transcribes opens one and reads until zero; symphonia finds the container and decodes, `opus` what it cannot.
//! Invariant: the content decides what a file is, every stated number is checked before anything is sized by it, and a
//! decoder that panics is a file that cannot be read.

use std::panic::{AssertUnwindSafe, catch_unwind};

use symphonia::core::codecs::CodecParameters;
use symphonia::core::codecs::audio::AudioCodecParameters;
use symphonia::core::errors::Error as MediaError;
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::{FormatOptions, FormatReader, Track, TrackType};
use symphonia::core::io::{MediaSourceStream, MediaSourceStreamOptions};
use symphonia::core::meta::MetadataOptions;
use symphonia::core::packet::Packet;

use super::codec::Codec;
use super::edits::{self, Edit, Movie};
use super::resample::Resampler;
use super::source::AudioSource;
use super::{SAMPLE_RATE, sniff};
use crate::error::{Error, Result};

/// The request's field that holds a recording.
const FIELD: &str = "file";

/// What a recording may be at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AudioLimits {
    /// Length, in seconds.
    pub duration_seconds_max: u32,
    /// Sampling rate at least, in hertz.
    pub rate_hertz_min: u32,
    /// Sampling rate at most, in hertz.
    pub rate_hertz_max: u32,
    /// Channels that are mixed into one.
    pub channels_max: u16,
}

impl Default for AudioLimits {
    fn default() -> Self {
        Self { duration_seconds_max: 6 * 3_600, rate_hertz_min: 2_000, rate_hertz_max: 384_000, channels_max: 64 }
    }
}

/// One recording under way: what [`Recording::read`] gives is mono, 16 kHz, about -1 to 1.
pub struct Recording {
    reader: Box<dyn FormatReader>,
    track: u32,
    codec: Codec,
    limits: AudioLimits,
    description: String,
    duration_seconds: Option<f64>,
    edits: Vec<(u32, Edit)>,
    /// Frames that the track still has before the recording begins, and then at most.
    skipped_frames: u64,
    frames_left: u64,
    /// Frames of the track that its container announced, and that were decoded.
    frames_stated: Option<u64>,
    frames_decoded: u64,
    resampler: Option<Resampler>,
    mono: Vec<f32>,
    ready: Vec<f32>,
    ready_from: usize,
    samples_made: u64,
    is_ended: bool,
    is_truncated: bool,
    fault: Option<String>,
}

impl std::fmt::Debug for Recording {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recording").field("description", &self.description).finish_non_exhaustive()
    }
}

impl Recording {
    /// Finds out what the bytes are. `hint`, a file's name or extension, is for files that do not say it themselves.
    /// An error names the field `file` and says what was found instead of a recording.
    pub fn open(mut source: AudioSource, hint: Option<&str>, limits: AudioLimits) -> Result<Self> {
        let head = source.head(sniff::HEAD_BYTES)?;
        if let Some(stranger) = sniff::known_stranger(&head) {
            return Err(refused(format!("no recording: {stranger}")));
        }
        if let Some((rate, channels)) = sniff::stated_by_wave(&head) {
            check_shape(&limits, rate, usize::from(channels))?;
        }
        let is_mp4 = head.get(4..8) == Some(b"ftyp");
        let movie = if is_mp4 { edits::of_movie(&mut source).unwrap_or_default() } else { Movie::default() };
        let length = source.length();
        // Readers that may seek look for the end of a whole file first, and do not find it in one that was cut.
        let is_cut = movie.is_cut || sniff::is_cut_matroska(&head, length);
        let source = if is_cut { source.streamed() } else { source };
        let reader = guarded(|| probe(source, hint))?.map_err(|error| unopened(&error))?;
        let (track, codec, description) = choose(&*reader, &limits)?;
        let mut recording = Self {
            reader,
            track,
            codec,
            limits,
            description,
            duration_seconds: None,
            edits: movie.edits,
            skipped_frames: 0,
            frames_left: u64::MAX,
            frames_stated: None,
            frames_decoded: 0,
            resampler: None,
            mono: Vec::new(),
            ready: Vec::new(),
            ready_from: 0,
            samples_made: 0,
            is_ended: false,
            is_truncated: is_cut,
            fault: None,
        };
        recording.begin_track(length);
        recording.check_length(recording.duration_seconds.unwrap_or(0.0))?;
        Ok(recording)
    }

    /// Appends at most `samples_max` samples and says how many; 0 is the end.
    /// An error if the file holds no sound, its decoder fails on it, or it is longer than allowed.
    pub fn read(&mut self, into: &mut Vec<f32>, samples_max: usize) -> Result<usize> {
        while self.ready_from == self.ready.len() && !self.is_ended {
            self.ready.clear();
            self.ready_from = 0;
            self.step()?;
        }
        let count = samples_max.min(self.ready.len() - self.ready_from);
        into.extend_from_slice(&self.ready[self.ready_from..self.ready_from + count]);
        self.ready_from += count;
        Ok(count)
    }

    /// Seconds, if the container says so; a container can be wrong.
    pub fn duration_if_known(&self) -> Option<f64> {
        self.duration_seconds
    }

    /// What it is, for people: `mp3, 44100 Hz, 2 channels`.
    pub fn describe(&self) -> &str {
        &self.description
    }

    /// Whether the file ended before it should have. Known when everything was read.
    pub fn is_truncated(&self) -> bool {
        self.is_truncated
    }

    /// Takes the numbers of the chosen track; `length` is that of the file in bytes.
    fn begin_track(&mut self, length: u64) {
        let Some(track) = self.reader.tracks().iter().find(|track| track.id == self.track) else { return };
        let rate = f64::from(self.codec.rate());
        let edit = self.edits.iter().find(|(number, _)| *number == track.id).map(|(_, edit)| *edit);
        let frames = |seconds: f64| (seconds * rate).round() as u64;
        self.skipped_frames = edit.map_or(0, |edit| frames(edit.start_seconds)).max(u64::from(self.codec.delay()));
        self.frames_left = edit.and_then(|edit| edit.length_seconds).map_or(u64::MAX, frames);
        let scale = track.time_base;
        let of_track = track.duration.zip(scale).and_then(|(ticks, scale)| scale.calc_duration(ticks));
        let whole = self.reader.media_info();
        let of_whole = whole.duration.zip(whole.time_base).and_then(|(ticks, scale)| scale.calc_duration(ticks));
        // Ogg counts the delay of Opus in.
        let counted = if self.codec.delay() > 0 { track.delay.map_or(0.0, f64::from) / rate } else { 0.0 };
        let seconds = of_track.or(of_whole).map(|time| time.as_secs_f64() - counted);
        // Programs that write into a pipe state the greatest length there is; a file with that many bytes would tell.
        let is_nonsense = |seconds: &f64| *seconds <= 0.0 || *seconds > 60.0 * (length as f64 + 60.0);
        let seconds = seconds.filter(|seconds| !is_nonsense(seconds));
        let is_stated = |frames: &u64| *frames > 0 && (*frames as f64) < rate * 60.0 * (length as f64 + 60.0);
        self.frames_stated = track.num_frames.filter(is_stated);
        self.duration_seconds = edit.and_then(|edit| edit.length_seconds).or(seconds);
    }

    fn check_length(&self, seconds: f64) -> Result<()> {
        let limit = self.limits.duration_seconds_max;
        if seconds > f64::from(limit) {
            return Err(refused(format!(
                "the recording is longer than {limit} seconds, the longest that is taken here"
            )));
        }
        Ok(())
    }

    /// One packet further, or to the end.
    fn step(&mut self) -> Result<()> {
        let reader = &mut self.reader;
        match guarded(|| reader.next_packet()) {
            Ok(Ok(Some(packet))) if packet.track_id == self.track => self.take(&packet),
            Ok(Ok(Some(_))) => Ok(()),
            Ok(Ok(None)) => self.finish(None),
            Ok(Err(MediaError::ResetRequired)) => self.next_in_chain(),
            Ok(Err(MediaError::IoError(_))) if self.is_open_ended() && self.samples_made > 0 => self.finish(None),
            Ok(Err(error)) => self.finish(Some(error.to_string())),
            Err(error) => self.failed(error),
        }
    }

    /// Decodes a packet, mixes its channels, drops what is not the recording, and hands the rest to the resampler.
    fn take(&mut self, packet: &Packet) -> Result<()> {
        let (codec, mono) = (&mut self.codec, &mut self.mono);
        mono.clear();
        let (rate, channels) = match guarded(|| codec.decode(packet, mono)) {
            Ok(Ok(shape)) => shape,
            // A broken packet is a gap; the next ones may be whole.
            Ok(Err(fault)) => {
                self.fault = Some(fault);
                return Ok(());
            }
            Err(error) => return self.failed(error),
        };
        check_shape(&self.limits, rate, channels)?;
        self.frames_decoded += self.mono.len() as u64;
        let skipped = self.skipped_frames.min(self.mono.len() as u64);
        self.skipped_frames -= skipped;
        let kept = self.frames_left.min(self.mono.len() as u64 - skipped);
        self.frames_left = self.frames_left.saturating_sub(kept);
        let (first, last) = (skipped as usize, (skipped + kept) as usize);
        let resampler = match &mut self.resampler {
            Some(resampler) if resampler.rate() == rate => resampler,
            other => {
                if let Some(mut before) = other.take() {
                    before.finish(&mut self.ready)?;
                }
                other.insert(Resampler::new(rate)?)
            }
        };
        resampler.push(&self.mono[first..last], &mut self.ready)?;
        self.samples_made += self.ready.len() as u64;
        self.check_length(self.samples_made as f64 / f64::from(SAMPLE_RATE))
    }

    /// Ogg files may hold one stream after another; each has its own codec and delay.
    fn next_in_chain(&mut self) -> Result<()> {
        let chosen = choose(&*self.reader, &self.limits);
        let Ok((track, codec, _)) = chosen else { return self.finish(chosen.err().map(|error| error.message)) };
        (self.track, self.codec) = (track, codec);
        self.edits.clear();
        let duration = self.duration_seconds;
        self.begin_track(u64::MAX);
        // One link says nothing of the chain.
        self.duration_seconds = duration;
        (self.frames_stated, self.frames_left) = (None, u64::MAX);
        Ok(())
    }

    /// The end of the packets, with what went wrong, if anything did.
    fn finish(&mut self, fault: Option<String>) -> Result<()> {
        self.is_ended = true;
        let before = self.ready.len();
        if let Some(mut resampler) = self.resampler.take() {
            resampler.finish(&mut self.ready)?;
        }
        self.samples_made += (self.ready.len() - before) as u64;
        let is_cut = fault.is_some();
        if self.samples_made == 0 {
            let reason = fault
                .or(self.fault.take())
                .map_or_else(|| "it is empty".to_owned(), |fault| format!("it is broken or cut ({fault})"));
            return Err(refused(format!(
                "no sound could be decoded from the recording ({}): {reason}",
                self.description
            )));
        }
        // Encoders count their padding in or out; a tenth of a second is not missed.
        let tolerance = u64::from(self.codec.rate() / 10).max(4_096);
        let is_short = self.frames_stated.is_some_and(|stated| self.frames_decoded + tolerance < stated);
        self.is_truncated |= is_short || is_cut;
        Ok(())
    }

    /// Whether the file is one that was written while nobody knew how long it would be, so that its end is its length.
    fn is_open_ended(&self) -> bool {
        let container = self.reader.format_info().short_name;
        self.duration_seconds.is_none() && ["wave", "matroska"].contains(&container)
    }

    fn failed(&mut self, error: Error) -> Result<()> {
        self.is_ended = true;
        Err(error)
    }
}

fn refused(message: String) -> Error {
    Error::invalid(FIELD, message)
}

/// Runs what reads a stranger's bytes; a panic in it is a fault of theirs.
fn guarded<T>(work: impl FnOnce() -> T) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work))
        .map_err(|_| refused("the recording is broken: its decoder gave up on it".into()))
}

fn probe(source: AudioSource, hint: Option<&str>) -> Result<Box<dyn FormatReader>, MediaError> {
    let mut told = Hint::new();
    if let Some(hint) = hint {
        told.with_extension(hint.rsplit('.').next().unwrap_or(hint));
    }
    let stream = MediaSourceStream::new(Box::new(source), MediaSourceStreamOptions::default());
    symphonia::default::get_probe().probe(&told, stream, FormatOptions::default(), MetadataOptions::default())
}

fn unopened(error: &MediaError) -> Error {
    let known = "wav, aiff, caf, mp3, m4a, mp4, aac, flac, ogg, opus, webm and mkv can be read";
    match error {
        MediaError::Unsupported(detail) if detail.contains("probe") => {
            refused(format!("no recording: nothing in the file looks like one; {known}"))
        }
        MediaError::IoError(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            refused("the recording is cut: the file ends within its header".into())
        }
        error => refused(format!("the recording cannot be read: {error}")),
    }
}

/// The track to hear, its decoder, and what to call both.
fn choose(reader: &dyn FormatReader, limits: &AudioLimits) -> Result<(u32, Codec, String)> {
    let container = reader.format_info().short_name;
    let mut tracks: Vec<&Track> = reader.default_track(TrackType::Audio).into_iter().collect();
    tracks.extend(reader.tracks());
    let mut refusal = None;
    for track in tracks {
        let Some(CodecParameters::Audio(parameters)) = &track.codec_params else { continue };
        match open_codec(parameters, limits) {
            Ok(codec) => {
                let description = describe(container, codec.name(), codec.rate(), codec.channels());
                return Ok((track.id, codec, description));
            }
            Err(error) => _ = refusal.get_or_insert(error),
        }
    }
    let count = reader.tracks().len();
    Err(refusal.unwrap_or_else(|| {
        refused(format!("the file ({container}) holds no sound: none of its {count} tracks is audio"))
    }))
}

fn open_codec(parameters: &AudioCodecParameters, limits: &AudioLimits) -> Result<Codec> {
    let channels = parameters.channels.as_ref().map(|channels| channels.count());
    check_shape(limits, parameters.sample_rate.unwrap_or(SAMPLE_RATE), channels.unwrap_or(1))?;
    guarded(|| Codec::new(parameters))?.map_err(|fault| refused(format!("the recording cannot be decoded: {fault}")))
}

fn check_shape(limits: &AudioLimits, rate: u32, channels: usize) -> Result<()> {
    let (least, most) = (limits.rate_hertz_min, limits.rate_hertz_max);
    if !(least..=most).contains(&rate) {
        return Err(refused(format!("the recording states {rate} Hz; {least} to {most} Hz are taken")));
    }
    let most = limits.channels_max;
    if !(1..=usize::from(most)).contains(&channels) {
        return Err(refused(format!("the recording states {channels} channels; 1 to {most} are taken")));
    }
    Ok(())
}

fn describe(container: &str, codec: &str, rate: u32, channels: usize) -> String {
    let kind = if container == codec { codec.to_owned() } else { format!("{codec} in {container}") };
    let plural = if channels == 1 { "" } else { "s" };
    format!("{kind}, {rate} Hz, {channels} channel{plural}")
}
