//! Opus streams, for which symphonia has containers but no decoder.
//! `decode` hands packets over; the head is that of RFC 7845 (Ogg, WebM) or of MP4's `dOps` box.
//! Invariant: what a packet claims never sizes a buffer; 120 ms, the longest packet, does.

use opus_pure::{OpusDecoder, OpusMSDecoder};

/// Every stream is decoded at this rate, in hertz.
pub(super) const OPUS_RATE: u32 = 48_000;
/// 120 ms: no packet is longer (RFC 6716, section 3.4).
const PACKET_FRAMES_MAX: usize = 5_760;

/// What a stream says of itself.
#[derive(Debug, PartialEq)]
struct Head {
    channels: usize,
    /// Frames at 48 kHz before the recording begins.
    delay: u32,
    /// Factor for every sample.
    gain: f32,
    /// How channels are spread over streams: 0 is one stream of one or two channels.
    family: u8,
}

impl Head {
    /// RFC 7845, section 5.1. MP4 stores the same fields as version 0 in the other order of bytes.
    fn read(bytes: &[u8]) -> Result<Self, String> {
        let broken = || "the head of its Opus stream is cut".to_owned();
        let bytes = bytes.strip_prefix(b"OpusHead").unwrap_or(bytes);
        let field = |at: usize| -> Result<u8, String> { bytes.get(at).copied().ok_or_else(broken) };
        let is_big_endian = field(0)? == 0;
        let pair = |at: usize| -> Result<u16, String> {
            let pair = [field(at)?, field(at + 1)?];
            Ok(if is_big_endian { u16::from_be_bytes(pair) } else { u16::from_le_bytes(pair) })
        };
        let (channels, family) = (usize::from(field(1)?), field(10)?);
        // Output gain is in 256ths of a decibel.
        let gain = 10.0_f32.powf(f32::from(pair(8)?.cast_signed()) / (20.0 * 256.0));
        Ok(Self { channels, delay: u32::from(pair(2)?), gain, family })
    }
}

enum Streams {
    One(Box<OpusDecoder>),
    Many(Box<OpusMSDecoder>),
}

/// A decoder of one logical stream.
pub(super) struct OpusStream {
    streams: Streams,
    head: Head,
    frames: Vec<f32>,
}

impl OpusStream {
    /// A decoder from the stream's head; without one (some WebM files) `channels` decides. The error says what is wrong.
    pub(super) fn new(head: Option<&[u8]>, channels: usize) -> Result<Self, String> {
        let plain = || Head { channels: channels.clamp(1, 2), delay: 0, gain: 1.0, family: 0 };
        let head = head.map_or_else(|| Ok(plain()), Head::read)?;
        let refused = |error: opus_pure::Error| format!("its Opus stream cannot be decoded: {error}");
        let rate = OPUS_RATE.cast_signed();
        let streams = match head.family {
            0 => Streams::One(Box::new(OpusDecoder::new(rate, head.channels).map_err(refused)?)),
            family => Streams::Many(Box::new(OpusMSDecoder::new(rate, head.channels, family).map_err(refused)?)),
        };
        let frames = vec![0.0; PACKET_FRAMES_MAX * head.channels];
        Ok(Self { streams, head, frames })
    }

    pub(super) fn channels(&self) -> usize {
        self.head.channels
    }

    /// Frames at 48 kHz to drop before the recording begins.
    pub(super) fn delay(&self) -> u32 {
        self.head.delay
    }

    /// The frames of one packet, channel beside channel; `None` if the packet is broken.
    pub(super) fn decode(&mut self, packet: &[u8]) -> Option<&[f32]> {
        let frames = match &mut self.streams {
            Streams::One(decoder) => decoder.decode(packet, PACKET_FRAMES_MAX, &mut self.frames),
            Streams::Many(decoder) => decoder.decode(packet, PACKET_FRAMES_MAX, &mut self.frames),
        };
        let decoded = self.frames.get_mut(..frames.ok()? * self.head.channels)?;
        if self.head.gain != 1.0 {
            decoded.iter_mut().for_each(|sample| *sample *= self.head.gain);
        }
        Some(decoded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_of_ogg_and_of_mp4_are_read() {
        let ogg = b"OpusHead\x01\x02\x38\x01\x80\xbb\0\0\0\0\0";
        let mp4 = b"OpusHead\x00\x02\x01\x38\0\0\xbb\x80\0\0\0";
        let expected = Head { channels: 2, delay: 312, gain: 1.0, family: 0 };
        assert_eq!(Head::read(ogg), Ok(expected));
        assert_eq!(Head::read(mp4), Head::read(ogg));
        let louder = b"OpusHead\x01\x01\0\0\x80\xbb\0\0\x00\x14\0";
        assert!(Head::read(louder).is_ok_and(|head| (head.gain - 10.0).abs() < 1e-4));
        let surround = b"OpusHead\x01\x03\0\0\x80\xbb\0\0\0\0\x01\x02\x01\0\x02\x01";
        assert!(Head::read(surround).is_ok_and(|head| head.family == 1 && head.channels == 3));
        for length in 0..19 {
            assert!(Head::read(&ogg[..length]).is_err());
        }
        assert!(OpusStream::new(Some(b"OpusHead\x01\x09\0\0\x80\xbb\0\0\0\0\0"), 2).is_err());
    }
}
