//! Bytes as text, by RFC 4648's usual alphabet with padding.
//! `embeddings` sends vectors so.
//! Invariant: four characters for every three bytes that were begun.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// The text of `bytes`.
pub fn encode(bytes: impl IntoIterator<Item = u8>) -> String {
    let mut bytes = bytes.into_iter();
    let mut text = String::with_capacity(bytes.size_hint().0.div_ceil(3) * 4);
    while let Some(first) = bytes.next() {
        let (second, third) = (bytes.next(), bytes.next());
        let group = u32::from_be_bytes([0, first, second.unwrap_or(0), third.unwrap_or(0)]);
        let digit = |shift: u32| char::from(ALPHABET[(group >> shift) as usize & 63]);
        text.extend([digit(18), digit(12)]);
        text.push(if second.is_some() { digit(6) } else { '=' });
        text.push(if third.is_some() { digit(0) } else { '=' });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rfcs_examples_come_out() {
        for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")] {
            assert_eq!(encode(bytes.bytes()), text);
        }
        assert_eq!(encode([0xff, 0xef, 0xbe]), "/+++");
    }
}
