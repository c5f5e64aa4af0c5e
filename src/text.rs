//! Text from outside made safe for a terminal.

use std::borrow::Cow;
use std::fmt::Write;

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

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

/// JSON with the characters that [`printable`] would write out as `\uXXXX`: for a program the same text, on a terminal
/// harmless.
pub fn printable_json(json: String) -> String {
    // Most is ASCII, which is looked through many bytes at a time.
    let is_plain = json.bytes().fold(true, |plain, byte| plain & matches!(byte, b' '..=b'~'));
    if is_plain || !json.contains(is_unsafe) {
        return json;
    }
    let mut safe = String::with_capacity(json.len().saturating_add(32));
    for character in json.chars() {
        if is_unsafe(character) {
            push_unit_escapes(character, |escape| safe.push_str(escape));
        } else {
            safe.push(character);
        }
    }
    safe
}

/// Gives a character as it stands escaped in a JSON string (RFC 8259 section 7): one `\uXXXX` for each unit of UTF-16.
pub(crate) fn push_unit_escapes(character: char, mut push: impl FnMut(&str)) {
    for unit in character.encode_utf16(&mut [0; 2]) {
        push(&format!("\\u{unit:04x}"));
    }
}

/// A number of things: `1 client`, `2 clients`.
pub fn counted(count: u64, thing: &str) -> String {
    format!("{count} {thing}{}", if count == 1 { "" } else { "s" })
}

/// Columns of a terminal that `text` takes: two for a wide character (CJK, emoji), none for a mark on the one before it.
/// Where terminals differ the larger number: a line may become too short, never too long.
pub fn columns(text: &str) -> usize {
    if text.is_ascii() {
        return text.len();
    }
    Pieces { rest: text }.fold(0, |sum: usize, (_, columns)| sum.saturating_add(columns))
}

/// `text` in at most `width` columns, the last one a mark where something is missing. Neither a character with its marks
/// nor what [`printable`] has written out is cut in two.
pub fn cut(text: &str, width: usize) -> Cow<'_, str> {
    // Nothing takes more columns than octets.
    if text.len() <= width {
        return Cow::Borrowed(text);
    }
    let (mut taken, mut place, mut end) = (0_usize, 0_usize, 0);
    for (piece, columns) in (Pieces { rest: text }) {
        taken = taken.saturating_add(columns);
        place = place.saturating_add(piece.len());
        if taken > width {
            return Cow::Owned(format!("{}…", text.get(..end).unwrap_or_default()));
        }
        if taken < width {
            end = place;
        }
    }
    Cow::Borrowed(text)
}

/// `text` in lines of at most `width` columns, broken between words. A word that is longer begins a line and is broken
/// where that is full, so that no terminal does it and shows a stranger's words where a line begins.
pub fn folded(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    // Of the last line.
    let mut taken = 0_usize;
    for word in text.split_whitespace() {
        let wide = columns(word);
        if let Some(line) = lines.last_mut().filter(|_| taken.saturating_add(wide) < width) {
            line.push(' ');
            line.push_str(word);
            taken = taken.saturating_add(wide).saturating_add(1);
            continue;
        }
        let mut line = String::new();
        taken = 0;
        for (piece, columns) in (Pieces { rest: word }) {
            if taken.saturating_add(columns) > width && !line.is_empty() {
                lines.push(std::mem::take(&mut line));
                taken = 0;
            }
            line.push_str(piece);
            taken = taken.saturating_add(columns);
        }
        lines.push(line);
    }
    lines
}

/// Lines of at most `width` columns, as far as their words allow it: one with a longer word stays as it is, so that a digest can
/// be taken from a terminal in one piece. What goes on in another line stands below where it began:
/// behind two blanks or more if there are such, as in a table of names and texts, else two columns further in.
pub fn hung(text: &str, width: usize) -> String {
    let mut out = String::with_capacity(text.len());
    for line in text.lines() {
        let body = line.trim_start();
        let indent = line.len().saturating_sub(body.len());
        let tail = body.split_once("  ").map(|(_, tail)| tail.trim_start()).filter(|tail| !tail.is_empty());
        let tail = tail.unwrap_or(body);
        let head = body.strip_suffix(tail).unwrap_or_default();
        let hang = indent.saturating_add(if head.is_empty() { 2 } else { columns(head) });
        let room = width.saturating_sub(hang);
        let is_whole = tail.split_whitespace().all(|word| columns(word) <= room);
        if columns(line) <= width || !is_whole || body.is_empty() {
            out.push_str(line);
            out.push('\n');
            continue;
        }
        let mut begin = format!("{:indent$}{head}", "");
        for part in folded(tail, room) {
            out.push_str(&begin);
            out.push_str(&part);
            out.push('\n');
            begin = format!("{:hang$}", "");
        }
    }
    out
}

/// What is shown or left out as one, and its columns: a character with its marks, or one that is written out.
struct Pieces<'a> {
    rest: &'a str,
}

impl<'a> Iterator for Pieces<'a> {
    type Item = (&'a str, usize);

    fn next(&mut self) -> Option<Self::Item> {
        let mut characters = self.rest.char_indices();
        let (_, first) = characters.next()?;
        let end = match written_out(self.rest) {
            Some(length) => length,
            None => characters.find(|(_, next)| next.width() != Some(0)).map_or(self.rest.len(), |(at, _)| at),
        };
        let (piece, rest) = self.rest.split_at_checked(end)?;
        self.rest = rest;
        // The sequence as a whole (U+263A U+FE0F is wide), or character by character, as older terminals count.
        let columns = if piece.is_ascii() { piece.len() } else { piece.width().max(first.width().unwrap_or(1)) };
        Some((piece, columns))
    }
}

/// Octets of a `\u{..}` that `text` begins with.
fn written_out(text: &str) -> Option<usize> {
    let inside = text.strip_prefix("\\u{")?;
    let digits = inside.bytes().take_while(u8::is_ascii_hexdigit).count();
    let is_one = (1..=6).contains(&digits) && inside.as_bytes().get(digits) == Some(&b'}');
    is_one.then(|| "\\u{}".len().saturating_add(digits))
}

/// Makes the widest columns narrower until all together have `room`; none gets narrower than `least`.
pub fn fit<'a>(widths: impl IntoIterator<Item = &'a mut usize>, room: usize, least: usize) {
    let mut widths: Vec<&mut usize> = widths.into_iter().collect();
    loop {
        let sum = widths.iter().fold(0, |sum: usize, width| sum.saturating_add(**width));
        let Some(widest) = widths.iter().map(|width| **width).max() else { break };
        if sum <= room || widest <= least {
            break;
        }
        // At once down to the next narrower ones: strangers' names may be long.
        let next = widths.iter().map(|width| **width).filter(|width| *width < widest).max().unwrap_or(0).max(least);
        let among = widths.iter().filter(|width| ***width == widest).count();
        let step = (sum - room).div_ceil(among).min(widest - next);
        widths.iter_mut().filter(|width| ***width == widest).for_each(|width| **width -= step);
    }
}

/// Whether a character could move the cursor, reorder the line or hide itself: controls, separators of lines and
/// paragraphs, Default_Ignorable_Code_Point (DerivedCoreProperties.txt of Unicode), which has the bidirectional controls, and
/// what is drawn as nothing without being a space: annotations, an empty cell of braille, an empty head of a note.
pub(crate) fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
            | '\u{1bca0}'..='\u{1bca3}' | '\u{1d159}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_fitted() {
        let fitted = |widths: &[usize], room: usize| {
            let mut widths = widths.to_vec();
            fit(&mut widths, room, 6);
            widths
        };
        assert_eq!(fitted(&[10, 20, 30], 60), [10, 20, 30]);
        assert_eq!(fitted(&[10, 20, 30], 50), [10, 20, 20]);
        assert_eq!(fitted(&[10, 20, 30], 49), [10, 19, 19], "equal columns stay equal");
        assert_eq!(fitted(&[10, 20, 30], 21), [7, 7, 7]);
        assert_eq!(fitted(&[10, 2, usize::MAX], 0), [6, 2, 6]);
        assert_eq!(fitted(&[], 0), [0_usize; 0]);
    }

    #[test]
    fn what_is_cut_says_so() {
        for (text, width, shown) in
            [("abc", 3, "abc"), ("abcd", 3, "ab…"), ("äöü", 2, "ä…"), ("abc", 1, "…"), ("", 0, "")]
        {
            assert_eq!(cut(text, width), shown);
        }
    }

    #[test]
    fn columns_are_those_of_a_terminal() {
        for (text, wide) in [
            ("", 0),
            ("abc", 3),
            ("äöü", 3),
            ("a\u{308}o\u{308}\u{323}", 2),
            ("日本語", 6),
            ("ﾆﾎﾝ", 3),
            ("\u{1112}\u{1161}\u{11ab}", 2),
            ("🔒ok", 4),
            // With the selector some terminals draw it wide, others not.
            ("\u{263a}", 1),
            ("\u{263a}\u{fe0f}", 2),
            // One sign in some terminals, two in others.
            ("👍🏽", 4),
            ("🇨🇭", 2),
            ("لا", 2),
            (r"\u{202e}日", 10),
        ] {
            assert_eq!(columns(text), wide, "{text}");
        }
    }

    #[test]
    fn no_character_is_cut_in_two() {
        for (text, width, shown) in [
            ("日本語", 6, "日本語"),
            ("日本語", 5, "日本…"),
            ("日本語", 4, "日…"),
            ("日本語", 3, "日…"),
            ("日本語", 2, "…"),
            ("日本語", 1, "…"),
            ("xe\u{301}\u{323}y", 3, "xe\u{301}\u{323}y"),
            ("xe\u{301}\u{323}yz", 3, "xe\u{301}\u{323}…"),
            ("xe\u{301}\u{323}yz", 2, "x…"),
            (r"a\u{1b}bc", 9, r"a\u{1b}bc"),
            (r"a\u{1b}bc", 8, r"a\u{1b}…"),
            (r"a\u{1b}bc", 7, "a…"),
            // No escape: cut anywhere.
            (r"a\u{no}bc", 6, r"a\u{n…"),
            (r"a\u{}bcde", 5, r"a\u{…"),
        ] {
            assert_eq!(cut(text, width), shown, "{text} {width}");
            assert!(columns(&cut(text, width)) <= width);
        }
        // Any number of marks: nobody waits, and nothing is lost.
        let marked = format!("e{}", "\u{301}".repeat(1_000_000));
        assert_eq!((columns(&marked), cut(&marked, 1).len()), (1, marked.len()));
    }

    #[test]
    fn nothing_takes_more_columns_than_octets() {
        for number in 0..=u32::from(char::MAX) {
            let Some(character) = char::from_u32(number) else { continue };
            for text in [character.to_string(), format!("{character}\u{fe0f}"), format!("{character}\u{20e3}")] {
                assert!(columns(&printable(&text)) <= printable(&text).len(), "{number:x}");
            }
        }
    }

    #[test]
    fn sentences_are_folded_at_any_width() {
        let text = "one three five  seven";
        for (width, expected) in [
            (0, "onethreefiveseven".split("").filter(|letter| !letter.is_empty()).collect()),
            (3, vec!["one", "thr", "ee", "fiv", "e", "sev", "en"]),
            (4, vec!["one", "thre", "e", "five", "seve", "n"]),
            (7, vec!["one", "three", "five", "seven"]),
            (8, vec!["one", "three", "five", "seven"]),
            (9, vec!["one three", "five", "seven"]),
            (10, vec!["one three", "five seven"]),
            (21, vec!["one three five seven"]),
            (usize::MAX, vec!["one three five seven"]),
        ] {
            assert_eq!(folded(text, width), expected, "{width}");
        }
        for (text, width, expected) in [
            ("日本 日本 x", 7, vec!["日本", "日本 x"]),
            ("日本 日本 x", 9, vec!["日本 日本", "x"]),
            ("a 日本語 b", 5, vec!["a", "日本", "語 b"]),
            ("日本", 1, vec!["日", "本"]),
            (r"ab\u{202e}c d", 9, vec!["ab", r"\u{202e}c", "d"]),
        ] {
            assert_eq!(folded(text, width), expected, "{width}");
        }
        assert!(folded("", 9).is_empty());
    }

    /// The tables of Unicode are those of the regex crate.
    #[test]
    fn what_hides_itself_is_what_unicode_calls_so() {
        let hidden = regex::Regex::new(
            r"^[\p{Cc}\p{Default_Ignorable_Code_Point}\p{Bidi_Control}\p{Zl}\p{Zp}\x{2800}\x{fff9}-\x{fffb}\x{1d159}]$",
        )
        .unwrap();
        for character in char::MIN..=char::MAX {
            let expected = hidden.is_match(character.encode_utf8(&mut [0; 4]));
            assert_eq!(is_unsafe(character), expected, "{:x}", u32::from(character));
        }
    }

    #[test]
    fn what_goes_on_stands_below_where_it_began() {
        let text = "name port 443\n  issuer       one two three four\n  one two three four five six\n  12345678901234567890  x y\n";
        let narrow = [
            "name port 443",
            "  issuer       one two",
            "               three four",
            "  one two three four",
            "    five six",
            "  12345678901234567890  x",
            "                        y",
            "",
        ]
        .join("\n");
        let narrow = narrow.as_str();
        for (width, expected) in [(1_000, text), (40, text), (26, narrow), (0, text)] {
            assert_eq!(hung(text, width), expected, "{width}");
        }
        assert_eq!(hung("日本日本 日本日本 日\n", 12), "日本日本\n  日本日本\n  日\n");
        for odd in ["", "                  \n", "\n\n"] {
            assert_eq!(hung(odd, 12), odd);
        }
        assert_eq!(hung("one two three four  \n", 12), "one two\n  three four\n");
        let long = format!("  a  b c {} d\n", "e".repeat(36));
        assert_eq!(hung(&long, 40), long);
        assert_eq!(hung(&long, 41), format!("  a  b c\n     {}\n     d\n", "e".repeat(36)));
    }

    #[test]
    fn plain_text_is_borrowed() {
        for text in ["", "bulk.pcap", "Zertifikat für Büro ✓", "a\\b"] {
            assert!(matches!(printable(text), Cow::Borrowed(same) if same == text));
        }
    }

    #[test]
    fn json_stays_what_it_was_and_is_harmless() {
        let plain = "{\"a\":\"é日 b\"}".to_owned();
        assert_eq!(printable_json(plain.clone()), plain);
        let hostile = "\u{7f}\u{9b}31m\u{202e}\u{feff}\u{e0041}\u{2028}é";
        let json = printable_json(serde_json::to_string(hostile).unwrap());
        assert_eq!(json, "\"\\u007f\\u009b31m\\u202e\\ufeff\\udb40\\udc41\\u2028é\"");
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), hostile);
    }

    #[test]
    fn controls_are_written_out() {
        for (text, safe) in [
            ("a\x1b[2Jb", "a\\u{1b}[2Jb"),
            ("\r\n\t\0", "\\u{d}\\u{a}\\u{9}\\u{0}"),
            ("\u{7f}\u{9b}", "\\u{7f}\\u{9b}"),
            ("x\u{202e}fdp.exe", "x\\u{202e}fdp.exe"),
            ("\u{2066}\u{feff}", "\\u{2066}\\u{feff}"),
            ("a\u{34f}\u{3164}\u{2800}b\u{fe0f}", "a\\u{34f}\\u{3164}\\u{2800}b\\u{fe0f}"),
        ] {
            assert_eq!(printable(text), safe);
        }
    }
}
