//! Text from outside made safe for a terminal.

use std::borrow::Cow;
use std::fmt::Write;

/// `text` with everything that could move the cursor, reorder the line or hide itself written as `\u{..}`: control
/// characters (C0, DEL, C1), line and paragraph separators, bidirectional controls and invisible characters.
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if is_unsafe(character) {
            // Writing to a String cannot fail.
            let _ = write!(safe, "\\u{{{:x}}}", u32::from(character));
        } else {
            safe.push(character);
        }
    }
    Cow::Owned(safe)
}

fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_is_borrowed() {
        for text in ["", "bulk.pcap", "Zertifikat für Büro ✓", "a\\b"] {
            assert!(matches!(printable(text), Cow::Borrowed(same) if same == text));
        }
    }

    #[test]
    fn controls_are_written_out() {
        for (text, safe) in [
            ("a\x1b[2Jb", "a\\u{1b}[2Jb"),
            ("\r\n\t\0", "\\u{d}\\u{a}\\u{9}\\u{0}"),
            ("\u{7f}\u{9b}", "\\u{7f}\\u{9b}"),
            ("x\u{202e}fdp.exe", "x\\u{202e}fdp.exe"),
            ("\u{2066}\u{feff}", "\\u{2066}\\u{feff}"),
        ] {
            assert_eq!(printable(text), safe);
        }
    }
}
