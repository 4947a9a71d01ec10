//! Packets to mono samples: symphonia's decoders and that of Opus behind one face.
//! `decode` makes one per track; the channels are mixed here, so that nothing further up knows of them.
//! Invariant: a sample is finite and small whatever a file of floats says.

use symphonia::core::codecs::audio::well_known::CODEC_ID_OPUS;
use symphonia::core::codecs::audio::{AudioCodecParameters, AudioDecoder, AudioDecoderOptions, CODEC_ID_NULL_AUDIO};
use symphonia::core::packet::Packet;

use super::opus::{OPUS_RATE, OpusStream};

/// Samples that one packet may state before it is decoded; plain PCM states a thousand or so.
const PACKET_SAMPLES_MAX: u64 = 1 << 22;
/// Louder than this nothing real is; files of floats can say anything.
const SAMPLE_MAX: f32 = 64.0;

enum Decoder {
    Known(Box<dyn AudioDecoder>),
    Opus(Box<OpusStream>),
}

/// A decoder of one track.
pub(super) struct Codec {
    decoder: Decoder,
    name: String,
    rate: u32,
    channels: usize,
    interleaved: Vec<f32>,
}

impl Codec {
    /// A decoder for what the container says; the error says what is missing.
    pub(super) fn new(parameters: &AudioCodecParameters) -> Result<Self, String> {
        let rate = parameters.sample_rate.unwrap_or(super::SAMPLE_RATE);
        let channels = parameters.channels.as_ref().map_or(1, |channels| channels.count());
        if parameters.max_frames_per_packet.unwrap_or(0).saturating_mul(channels as u64) > PACKET_SAMPLES_MAX {
            return Err("it states packets of absurd length".to_owned());
        }
        if parameters.codec == CODEC_ID_OPUS {
            let stream = OpusStream::new(parameters.extra_data.as_deref(), channels)?;
            let channels = stream.channels();
            let decoder = Decoder::Opus(Box::new(stream));
            return Ok(Self { decoder, name: "opus".to_owned(), rate: OPUS_RATE, channels, interleaved: Vec::new() });
        }
        let codecs = symphonia::default::get_codecs();
        let Some(known) = codecs.get_audio_decoder(parameters.codec) else { return Err(unknown(parameters)) };
        let name = known.codec.info.short_name.to_owned();
        let options = AudioDecoderOptions::default();
        let decoder = codecs.make_audio_decoder(parameters, &options).map_err(|error| format!("{name}: {error}"))?;
        // The decoder knows better than the container, which may have said nothing.
        let of_decoder = decoder.codec_params();
        let rate = of_decoder.sample_rate.unwrap_or(rate);
        let channels = of_decoder.channels.as_ref().map_or(channels, |channels| channels.count());
        Ok(Self { decoder: Decoder::Known(decoder), name, rate, channels, interleaved: Vec::new() })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Frames per second, as far as known before the first packet.
    pub(super) fn rate(&self) -> u32 {
        self.rate
    }

    /// Channels, as far as known before the first packet.
    pub(super) fn channels(&self) -> usize {
        self.channels
    }

    /// Frames at the beginning that are not the recording, beyond those that packets say themselves.
    pub(super) fn delay(&self) -> u32 {
        match &self.decoder {
            Decoder::Known(_) => 0,
            Decoder::Opus(stream) => stream.delay(),
        }
    }

    /// Appends a packet's frames, the mean of their channels each, and says the rate and how many channels there were.
    pub(super) fn decode(&mut self, packet: &Packet, mono: &mut Vec<f32>) -> Result<(u32, usize), String> {
        match &mut self.decoder {
            Decoder::Known(decoder) => {
                let decoded = decoder.decode(packet).map_err(|error| error.to_string())?;
                (self.rate, self.channels) = (decoded.spec().rate(), decoded.spec().channels().count());
                decoded.copy_to_vec_interleaved(&mut self.interleaved);
                mix(&self.interleaved, self.channels, mono);
            }
            Decoder::Opus(stream) => {
                let decoded = stream.decode(&packet.data).ok_or("a broken packet of Opus")?;
                // What lies before the beginning is counted by the head of the stream, in every container alike.
                let padding = usize::try_from(packet.trim_end.get()).unwrap_or(usize::MAX);
                let frames = (decoded.len() / self.channels).saturating_sub(padding);
                mix(&decoded[..frames * self.channels], self.channels, mono);
            }
        }
        Ok((self.rate, self.channels))
    }
}

/// Appends the mean of every frame's channels.
fn mix(interleaved: &[f32], channels: usize, mono: &mut Vec<f32>) {
    let tame = |sample: f32| if sample.is_finite() { sample.clamp(-SAMPLE_MAX, SAMPLE_MAX) } else { 0.0 };
    match channels {
        0 => {}
        1 => mono.extend(interleaved.iter().copied().map(tame)),
        _ => mono.extend(interleaved.chunks_exact(channels).map(|frame| {
            let sum: f32 = frame.iter().copied().map(tame).sum();
            sum / channels as f32
        })),
    }
}

/// What to call a codec that nobody here decodes.
fn unknown(parameters: &AudioCodecParameters) -> String {
    use symphonia::core::codecs::audio::well_known as id;
    let names = [
        (id::CODEC_ID_AC3, "Dolby AC-3"),
        (id::CODEC_ID_EAC3, "Dolby E-AC-3"),
        (id::CODEC_ID_AC4, "Dolby AC-4"),
        (id::CODEC_ID_DCA, "DTS"),
        (id::CODEC_ID_TRUEHD, "Dolby TrueHD"),
        (id::CODEC_ID_MP1, "MPEG audio layer I"),
        (id::CODEC_ID_SPEEX, "Speex"),
        (id::CODEC_ID_WMA, "Windows Media Audio"),
        (id::CODEC_ID_WAVPACK, "WavPack"),
        (id::CODEC_ID_TTA, "True Audio"),
        (id::CODEC_ID_MONKEYS_AUDIO, "Monkey's Audio"),
        (id::CODEC_ID_MUSEPACK, "Musepack"),
        (id::CODEC_ID_ADPCM_G722, "G.722"),
        (id::CODEC_ID_ADPCM_G726, "G.726"),
    ];
    let named = names.iter().find(|(known, _)| *known == parameters.codec);
    match named {
        Some((_, name)) => format!("its codec, {name}, is not supported"),
        None if parameters.codec == CODEC_ID_NULL_AUDIO => "its codec is not known".to_owned(),
        None => format!("its codec ({}) is not supported", parameters.codec),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_are_averaged_and_nonsense_is_tamed() {
        let mut mono = Vec::new();
        mix(&[0.5, -0.5, 1.0, 0.0], 2, &mut mono);
        mix(&[0.25, f32::NAN, f32::INFINITY, 1e30], 1, &mut mono);
        assert_eq!(mono, [0.0, 0.5, 0.25, 0.0, 0.0, 64.0]);
    }
}
