//! Text of certificates: the string types of ASN.1 decoded, and made harmless.

use std::borrow::Cow;

/// Text of a string type, as it was meant; the flag says that the bytes break the rules of their type.
///
/// `None` when `tag` is no string type. Bytes that their type forbids are read as ISO 8859-1, so nothing is lost.
pub(crate) fn decode(tag: u8, content: &[u8]) -> Option<(Cow<'_, str>, bool)> {
    match tag {
        // UTF8String, NumericString, PrintableString, IA5String, VisibleString, GeneralString.
        0x0c | 0x12 | 0x13 | 0x16 | 0x1a | 0x1b => Some(match std::str::from_utf8(content) {
            Ok(text) => (Cow::Borrowed(text), tag != 0x0c && !text.is_ascii()),
            Err(_) => (latin1(content), true),
        }),
        // TeletexString: ISO 8859-1 in practice, as in OpenSSL.
        0x14 => Some((latin1(content), false)),
        // BMPString: UTF-16, although its standard has no surrogates.
        0x1e => {
            let (pairs, rest) = content.as_chunks::<2>();
            if !rest.is_empty() {
                return Some((latin1(content), true));
            }
            let units = pairs.iter().map(|pair| u16::from_be_bytes(*pair));
            let text: Option<String> = char::decode_utf16(units).map(Result::ok).collect();
            Some(text.map_or_else(|| (latin1(content), true), |text| (Cow::Owned(text), false)))
        }
        // UniversalString: UTF-32.
        0x1c => {
            let (quads, rest) = content.as_chunks::<4>();
            let text: Option<String> = quads.iter().map(|quad| char::from_u32(u32::from_be_bytes(*quad))).collect();
            Some(match text {
                Some(text) if rest.is_empty() => (Cow::Owned(text), false),
                _ => (latin1(content), true),
            })
        }
        _ => None,
    }
}

/// Bytes as ISO 8859-1.
pub(crate) fn latin1(content: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(content) {
        Ok(text) if text.is_ascii() => Cow::Borrowed(text),
        _ => Cow::Owned(content.iter().map(|byte| char::from(*byte)).collect()),
    }
}

/// Bytes that should be text without a type of their own (general names): UTF-8, else ISO 8859-1.
pub(crate) fn lenient(content: &[u8]) -> Cow<'_, str> {
    std::str::from_utf8(content).map_or_else(|_| latin1(content), Cow::Borrowed)
}

/// Appends `text` with everything made visible that a terminal or a reader's eye might be fooled by: `\x00` for
/// controls, `\u{202e}` for invisible and direction-changing characters, `\\` for a backslash.
pub(crate) fn push_escaped(out: &mut String, text: &str) {
    if text.bytes().all(|byte| (0x20..0x7f).contains(&byte) && byte != b'\\') {
        out.push_str(text);
        return;
    }
    for character in text.chars() {
        if character == '\\' {
            out.push_str("\\\\");
        } else {
            push_visible(out, character);
        }
    }
}

/// [`push_escaped`] into a new string.
pub(crate) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    push_escaped(&mut out, text);
    out
}

/// Appends one character, escaped when it would not be seen.
pub(crate) fn push_visible(out: &mut String, character: char) {
    if character.is_ascii_control() {
        let code = u32::from(character);
        out.push_str("\\x");
        for nibble in [code >> 4, code & 0x0f] {
            out.push(char::from_digit(nibble, 16).unwrap_or('0'));
        }
    } else if character.is_control() || hidden(character) {
        out.extend(character.escape_unicode());
    } else {
        out.push(character);
    }
}

/// Characters that are not seen or that turn the direction of others (Unicode general category Cf and line ends).
fn hidden(character: char) -> bool {
    matches!(character,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_string_type_is_decoded() {
        for (tag, content, text, broken) in [
            (0x0c, &b"caf\xc3\xa9"[..], "café", false),
            (0x0c, b"caf\xe9", "café", true),
            (0x13, b"plain", "plain", false),
            (0x13, b"caf\xc3\xa9", "café", true),
            (0x14, b"caf\xe9", "café", false),
            // No UTF-8, though it might be.
            (0x14, b"caf\xc3\xa9", "cafÃ©", false),
            (0x1e, b"\x00a\x20\xac", "a€", false),
            (0x1e, b"\xd8\x3d\xde\x00", "😀", false),
            (0x1e, b"\x00a\xd8", "\0aØ", true),
            (0x1e, b"\xd8\x3d", "Ø=", true),
            (0x1c, b"\x00\x01\xf6\x00", "😀", false),
            (0x1c, b"\x00\x11\x00\x00", "\0\u{11}\0\0", true),
        ] {
            assert_eq!(decode(tag, content), Some((Cow::Borrowed(text), broken)), "{tag:x} {content:02x?}");
        }
        assert_eq!(decode(0x03, b"x"), None);
    }

    #[test]
    fn nothing_invisible_remains() {
        assert_eq!(escaped("a\0b\x1b[2J\u{9b}\u{202e}\\x00"), "a\\x00b\\x1b[2J\\u{9b}\\u{202e}\\\\x00");
        assert_eq!(escaped("grün"), "grün");
    }
}
