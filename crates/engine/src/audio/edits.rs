//! The edit lists of MP4 files: which part of a track is the recording, behind the encoder's delay and before its padding.
//! `decode` asks for the track it plays, since symphonia's reader of MP4 passes over edit lists (ISO/IEC 14496-12, 8.6.6).
//! Invariant: only heads of boxes and a few fields are read, and a file that says nonsense has no edits.

use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;

use super::source::AudioSource;

/// Boxes looked at in one place; a real file has fewer than fifty.
const BOXES_MAX: usize = 1_000;

/// The part of a track that is to be heard.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Edit {
    /// Seconds of the track before it begins.
    pub(super) start_seconds: f64,
    /// How long it is, where the file says so.
    pub(super) length_seconds: Option<f64>,
}

/// What a file's boxes say.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Movie {
    /// Tracks by their number with their edits.
    pub(super) edits: Vec<(u32, Edit)>,
    /// Whether the last box goes on behind the end of the file.
    pub(super) is_cut: bool,
}

/// Looks through a file; the source's next read begins at its first byte again.
pub(super) fn of_movie(source: &mut AudioSource) -> io::Result<Movie> {
    let length = source.length();
    let mut found = Vec::new();
    let outermost = boxes(source, 0..length)?;
    let is_cut = outermost.last().is_some_and(|(_, content)| content.end + 8 <= length);
    if let Some(movie) = child(&outermost, b"moov") {
        let inside = boxes(source, movie)?;
        let scale = timescale(source, &inside, b"mvhd")?;
        for (_, track) in inside.into_iter().filter(|(name, _)| name == b"trak") {
            found.extend(of_track(source, track, scale)?);
        }
    }
    source.rewind()?;
    Ok(Movie { edits: found, is_cut })
}

fn of_track(source: &mut AudioSource, track: Range<u64>, movie_scale: Option<f64>) -> io::Result<Option<(u32, Edit)>> {
    let inside = boxes(source, track)?;
    let Some(header) = child(&inside, b"tkhd") else { return Ok(None) };
    let number = field(source, &header, 12, 20)?;
    let (Some(edits), Some(media)) = (child(&inside, b"edts"), child(&inside, b"mdia")) else { return Ok(None) };
    let edits = boxes(source, edits)?;
    let media = boxes(source, media)?;
    let (Some(list), Some(media_scale)) = (child(&edits, b"elst"), timescale(source, &media, b"mdhd")?) else {
        return Ok(None);
    };
    let mut bytes = Vec::new();
    source.seek(SeekFrom::Start(list.start))?;
    source.by_ref().take((list.end - list.start).min(512)).read_to_end(&mut bytes)?;
    let edit = single_edit(&bytes, media_scale, movie_scale);
    Ok(number.zip(edit))
}

/// The one edit that plays something; several mean a cut film, of which the whole track is heard.
fn single_edit(list: &[u8], media_scale: f64, movie_scale: Option<f64>) -> Option<Edit> {
    let is_long = *list.first()? == 1;
    let count = u32::from_be_bytes(list.get(4..8)?.try_into().ok()?);
    let entries = list.get(8..)?.chunks_exact(if is_long { 20 } else { 12 }).take(count as usize);
    let times = entries.filter_map(|entry| {
        let number = |at: usize| Some(u32::from_be_bytes(entry.get(at..at + 4)?.try_into().ok()?));
        if is_long {
            let long = |at: usize| Some(u64::from(number(at)?) << 32 | u64::from(number(at + 4)?));
            Some((long(0)?, long(8)?.cast_signed()))
        } else {
            Some((u64::from(number(0)?), i64::from(number(4)?.cast_signed())))
        }
    });
    // A time below zero is a pause before the track begins.
    let mut played = times.filter(|(_, start)| *start >= 0);
    let (length, start) = played.next()?;
    if played.next().is_some() {
        return None;
    }
    let length_seconds = movie_scale.filter(|_| length > 0).map(|scale| length as f64 / scale);
    Some(Edit { start_seconds: start as f64 / media_scale, length_seconds })
}

type Boxes = Vec<([u8; 4], Range<u64>)>;

/// Names and contents of the boxes that stand beside each other in `within`.
fn boxes(source: &mut AudioSource, within: Range<u64>) -> io::Result<Boxes> {
    let mut found = Vec::new();
    let mut at = within.start;
    while found.len() < BOXES_MAX && within.end.saturating_sub(at) >= 8 {
        let mut head = [0; 16];
        source.seek(SeekFrom::Start(at))?;
        let has_long = within.end - at >= 16;
        source.read_exact(&mut head[..if has_long { 16 } else { 8 }])?;
        let [a, b, c, d, name @ ..] = head;
        let (size, content) = match u32::from_be_bytes([a, b, c, d]) {
            0 => (within.end - at, 8),
            1 if has_long => (u64::from_be_bytes(std::array::from_fn(|place| head[8 + place])), 16),
            size => (u64::from(size), 8),
        };
        if size < content || size > within.end - at {
            break;
        }
        found.push(([name[0], name[1], name[2], name[3]], at + content..at + size));
        at += size;
    }
    Ok(found)
}

fn child(boxes: &Boxes, name: &[u8; 4]) -> Option<Range<u64>> {
    boxes.iter().find(|(found, _)| found == name).map(|(_, content)| content.clone())
}

/// A number of 32 bits, which stands in another place in version 1 of a box.
fn field(source: &mut AudioSource, content: &Range<u64>, place: usize, place_long: usize) -> io::Result<Option<u32>> {
    let mut bytes = Vec::new();
    source.seek(SeekFrom::Start(content.start))?;
    source.by_ref().take((content.end - content.start).min(32)).read_to_end(&mut bytes)?;
    let place = if bytes.first() == Some(&1) { place_long } else { place };
    let number = bytes.get(place..place + 4).and_then(|bytes| bytes.try_into().ok());
    Ok(number.map(u32::from_be_bytes))
}

/// Ticks per second, of the box that stands for a whole movie or a track's media.
fn timescale(source: &mut AudioSource, boxes: &Boxes, name: &[u8; 4]) -> io::Result<Option<f64>> {
    let Some(content) = child(boxes, name) else { return Ok(None) };
    Ok(field(source, &content, 12, 20)?.filter(|scale| *scale > 0).map(f64::from))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn boxed(name: &str, content: &[u8]) -> Vec<u8> {
        let mut bytes = (content.len() as u32 + 8).to_be_bytes().to_vec();
        bytes.extend(name.as_bytes());
        bytes.extend(content);
        bytes
    }

    fn words(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    fn movie(edits: &[u32]) -> AudioSource {
        let list = boxed("edts", &boxed("elst", &words(edits)));
        let media = boxed("mdia", &boxed("mdhd", &words(&[0, 0, 0, 44_100, 0])));
        let track = boxed("trak", &[boxed("tkhd", &words(&[0, 0, 0, 7, 0])), list, media].concat());
        let whole = boxed("moov", &[boxed("mvhd", &words(&[0, 0, 0, 1_000, 0])), track].concat());
        AudioSource::bytes([boxed("ftyp", b"M4A \0\0\0\0"), boxed("mdat", &[1; 99]), whole].concat())
    }

    fn edits(mut source: AudioSource) -> Vec<(u32, Edit)> {
        of_movie(&mut source).unwrap().edits
    }

    #[test]
    fn a_box_that_goes_on_behind_the_end_is_told() {
        let whole = [boxed("ftyp", b"M4A \0\0\0\0"), boxed("mdat", &[1; 99])].concat();
        let is_cut = |length: usize| of_movie(&mut AudioSource::bytes(whole[..length].to_vec())).unwrap().is_cut;
        assert!(!is_cut(whole.len()) && is_cut(whole.len() - 1) && !is_cut(17));
    }

    #[test]
    fn one_edit_is_found_and_several_are_none() {
        let edit = Edit { start_seconds: 1_024.0 / 44_100.0, length_seconds: Some(0.4) };
        assert_eq!(edits(movie(&[0, 1, 400, 1_024, 1 << 16])), [(7, edit)]);
        let behind_a_pause = [0, 2, 50, u32::MAX, 1 << 16, 400, 1_024, 1 << 16];
        assert_eq!(edits(movie(&behind_a_pause)), [(7, edit)]);
        let cut = [0, 2, 50, 0, 1 << 16, 400, 1_024, 1 << 16];
        assert_eq!(edits(movie(&cut)), []);
        let long = [1 << 24, 1, 0, 400, 0, 1_024, 1 << 16];
        assert_eq!(edits(movie(&long)), [(7, edit)]);
    }

    #[test]
    fn nonsense_has_no_edits() {
        for bytes in
            [vec![], vec![0; 100], boxed("moov", &[255; 50]), words(&[1, 0x6d6f_6f76, 0xffff_ffff, 0xffff_ffff])]
        {
            assert_eq!(edits(AudioSource::bytes(bytes)), []);
        }
    }
}
