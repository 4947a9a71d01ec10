//! What a file that is no recording looks like, so that a refusal can say what was sent.
//! `decode` asks before symphonia searches, because a search through a document's bytes can end at something like sound.
//! Invariant: a format that symphonia reads is never refused here.

/// Bytes of a file's beginning that tell what it is.
pub(super) const HEAD_BYTES: u64 = 4096;

/// (offset, bytes at it, what such a file is).
const SIGNATURES: &[(usize, &[u8], &str)] = &[
    (0, b"%PDF", "a PDF document"),
    (0, b"PK\x03\x04", "a ZIP archive or an office document"),
    (0, b"\x1f\x8b", "a gzip archive"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (0, b"Rar!\x1a\x07", "a RAR archive"),
    (0, b"\x28\xb5\x2f\xfd", "a Zstandard archive"),
    (0, b"\x89PNG", "a PNG image"),
    (0, b"\xff\xd8\xff", "a JPEG image"),
    (0, b"GIF8", "a GIF image"),
    (0, b"BM", "a BMP image"),
    (0, b"II*\0", "a TIFF image"),
    (0, b"MM\0*", "a TIFF image"),
    (8, b"WEBP", "a WebP image"),
    (4, b"ftypheic", "a HEIC image"),
    (4, b"ftypavif", "an AVIF image"),
    (0, b"\x7fELF", "a program"),
    (0, b"MZ", "a program"),
    (0, b"GGUF", "a GGUF model"),
    (0, b"MThd", "a MIDI file, which holds notes and no sound"),
    (8, b"AVI ", "an AVI video, which is not supported"),
    (0, b"FLV\x01", "a Flash video, which is not supported"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "a Windows Media file (WMA, WMV), which is not supported"),
    (0, b"#!AMR", "an AMR recording, which is not supported"),
    (0, b"wvpk", "a WavPack recording, which is not supported"),
    (0, b"MAC ", "a Monkey's Audio recording, which is not supported"),
    (0, b"TTA1", "a True Audio recording, which is not supported"),
    (0, b"DSD ", "a DSD recording, which is not supported"),
    (0, b".snd", "a Sun AU recording, which is not supported"),
    (0, b"\x0b\x77", "a Dolby AC-3 recording, which is not supported"),
    (0, b"\0\0\x01\xba", "an MPEG program stream, which is not supported"),
];

/// What the file is, if its first bytes are known not to be a supported recording.
pub(super) fn known_stranger(head: &[u8]) -> Option<String> {
    if head.is_empty() {
        return Some("the file is empty (0 bytes)".to_owned());
    }
    let signature =
        SIGNATURES.iter().find(|(offset, bytes, _)| head.get(*offset..).is_some_and(|at| at.starts_with(bytes)));
    if let Some((_, _, what)) = signature {
        return Some(format!("this looks like {what}"));
    }
    if head.iter().all(|byte| *byte == 0) {
        return Some("the file begins with nothing but zero bytes".to_owned());
    }
    is_text(head).then(|| "this looks like text".to_owned())
}

/// Sampling rate and channels that the head of a WAVE file states, which nothing may be sized by before they are checked.
pub(super) fn stated_by_wave(head: &[u8]) -> Option<(u32, u16)> {
    if !head.starts_with(b"RIFF") || head.get(8..12) != Some(b"WAVE") {
        return None;
    }
    let format = head.windows(4).position(|name| name == b"fmt ")? + 8;
    let channels = head.get(format + 2..format + 4)?.try_into().ok().map(u16::from_le_bytes)?;
    let rate = head.get(format + 4..format + 8)?.try_into().ok().map(u32::from_le_bytes)?;
    Some((rate, channels))
}

/// Whether a Matroska or WebM file of `length` bytes states a segment that goes on behind its end (RFC 8794, RFC 9559).
pub(super) fn is_cut_matroska(head: &[u8], length: u64) -> bool {
    let end_of = |at: usize, name: [u8; 4]| -> Option<(u64, u64)> {
        let rest = head.get(at..)?.strip_prefix(&name)?;
        // As many bytes as the first one has zeros before its first one, and that one; all ones mean that nobody knows.
        let bytes = rest.first()?.leading_zeros() as usize + 1;
        let number = rest.get(..bytes)?.iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
        let unknown = 1_u64.checked_shl(7 * bytes as u32)? - 1;
        let content = at as u64 + 4 + bytes as u64;
        let size = number & unknown;
        (bytes <= 8 && size != unknown).then(|| (content, content.saturating_add(size)))
    };
    let segment = end_of(0, [0x1a, 0x45, 0xdf, 0xa3]).and_then(|(_, end)| usize::try_from(end).ok());
    segment.and_then(|at| end_of(at, [0x18, 0x53, 0x80, 0x67])).is_some_and(|(_, end)| end > length)
}

/// Whether it is UTF-8 without control characters, or UTF-16 that says so; the last character may be cut.
fn is_text(head: &[u8]) -> bool {
    if head.starts_with(b"\xff\xfe") || head.starts_with(b"\xfe\xff") {
        // Layer I of MPEG audio may begin like this too; text of the Latin alphabet has a zero in every second byte.
        let zeros = head.iter().filter(|byte| **byte == 0).count();
        return zeros * 3 > head.len();
    }
    let valid = match std::str::from_utf8(head) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() => std::str::from_utf8(&head[..error.valid_up_to()]).unwrap_or(""),
        Err(_) => return false,
    };
    !valid.is_empty() && valid.chars().all(|c| !c.is_control() || matches!(c, '\n' | '\r' | '\t' | '\x0c'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_are_told_by_name() {
        let cases: [(&[u8], &str); 9] = [
            (b"", "0 bytes"),
            (b"%PDF-1.7\n%\xe2\xe3", "PDF"),
            (b"\x89PNG\r\n\x1a\n", "PNG"),
            (b"PK\x03\x04\x14\0", "ZIP"),
            (b"RIFF\x10\0\0\0WEBPVP8 ", "WebP"),
            (b"RIFF\x10\0\0\0AVI LIST", "AVI"),
            ("Guten Tag, wie geht es? \u{fc}".as_bytes(), "text"),
            (b"\xff\xfeH\0e\0l\0l\0o\0", "text"),
            (&[0; 64], "zero bytes"),
        ];
        for (head, word) in cases {
            let told = known_stranger(head).unwrap_or_default();
            assert!(told.contains(word), "{told:?} for {word}");
        }
        // A character cut by the end of what was read.
        assert!(is_text(&"aaa\u{20ac}".as_bytes()[..5]));
    }

    #[test]
    fn a_segment_that_goes_on_behind_the_end_is_cut() {
        let head = b"\x1a\x45\xdf\xa3\x82ab\x18\x53\x80\x67\x40\x64";
        assert!(is_cut_matroska(head, 112));
        assert!(!is_cut_matroska(head, 113));
        assert!(!is_cut_matroska(b"\x1a\x45\xdf\xa3\x82ab\x18\x53\x80\x67\x01\xff\xff\xff\xff\xff\xff\xff", 9));
        assert!(!is_cut_matroska(b"\x1a\x45\xdf\xa3\x00", 5) && !is_cut_matroska(b"RIFF", 4));
    }

    #[test]
    fn recordings_are_not_strangers() {
        let heads: [&[u8]; 8] = [
            b"RIFF\x24\0\0\0WAVEfmt ",
            b"ID3\x04\0\0\0\0\0\x23TSSE",
            b"\xff\xfb\x90\x64\0\0",
            b"OggS\0\x02\0\0",
            b"fLaC\0\0\0\x22",
            b"\x1a\x45\xdf\xa3\x9f\x42",
            b"\0\0\0\x1cftypM4A ",
            b"FORM\0\0\x10\0AIFF",
        ];
        for head in heads {
            assert_eq!(known_stranger(head), None);
        }
    }
}
