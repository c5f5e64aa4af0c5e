//! JSON written straight into a buffer: no tree, no allocation, and what is empty leaves no trace.
//!
//! Text from the wire is escaped so that a store, a terminal and a reader all see the same: control characters become
//! visible (`\x00` as four characters), invalid UTF-8 becomes U+FFFD.

use std::borrow::Cow;
use std::fmt::{Display, Write as _};
use std::io::Write as _;

/// Writes the members of JSON objects; every member whose value is empty is left out.
#[derive(Debug)]
pub(super) struct Writer<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> Writer<'a> {
    /// Appends one object and a line feed to `out`.
    pub(super) fn line(out: &'a mut Vec<u8>, fill: impl FnOnce(&mut Self)) {
        let mut writer = Self { out };
        writer.out.push(b'{');
        fill(&mut writer);
        writer.out.extend_from_slice(b"}\n");
    }

    /// The members that `fill` writes, without braces around them, for [`members`](Self::members).
    pub(super) fn fragment(fill: impl FnOnce(&mut Writer<'_>)) -> String {
        let mut out = vec![b'{'];
        fill(&mut Writer { out: &mut out });
        out.remove(0);
        String::from_utf8(out).unwrap_or_default()
    }

    /// An object; left out when `fill` writes nothing.
    #[inline]
    pub(super) fn object(&mut self, key: &str, fill: impl FnOnce(&mut Self)) {
        let start = self.out.len();
        self.key(key);
        self.out.push(b'{');
        let empty = self.out.len();
        fill(self);
        if self.out.len() == empty {
            self.out.truncate(start);
        } else {
            self.out.push(b'}');
        }
    }

    /// A string; left out when empty.
    pub(super) fn text(&mut self, key: &str, value: &str) {
        if !value.is_empty() {
            self.key(key);
            push_text(self.out, value);
        }
    }

    /// A string that needs no escaping, such as a name of ours or hexadecimal; left out when empty.
    #[inline]
    pub(super) fn plain(&mut self, key: &str, value: &str) {
        debug_assert!(!needs_escaping(value), "{key}: {value:?}");
        if !value.is_empty() {
            self.append(key, |out| out.extend_from_slice(value.as_bytes()));
        }
    }

    /// A string from the wire that ought to be UTF-8; left out when empty.
    pub(super) fn wire_text(&mut self, key: &str, value: &[u8]) {
        self.text(key, &String::from_utf8_lossy(value));
    }

    /// A string made by [`Display`], which must need no escaping.
    pub(super) fn display(&mut self, key: &str, value: impl Display) {
        self.key(key);
        self.out.push(b'"');
        push_display(self.out, value);
        self.out.push(b'"');
    }

    /// A string that `append` writes; it must need no escaping.
    #[inline]
    pub(super) fn append(&mut self, key: &str, append: impl FnOnce(&mut Vec<u8>)) {
        self.key(key);
        self.out.push(b'"');
        append(self.out);
        self.out.push(b'"');
    }

    /// A number.
    #[inline]
    pub(super) fn number(&mut self, key: &str, value: impl Into<u64>) {
        self.key(key);
        push_number(self.out, value.into());
    }

    /// A number, left out when it is 0.
    #[inline]
    pub(super) fn count(&mut self, key: &str, value: usize) {
        if let Some(value) = u64::try_from(value).ok().filter(|value| *value > 0) {
            self.number(key, value);
        }
    }

    /// A signed number.
    pub(super) fn signed(&mut self, key: &str, value: i64) {
        self.key(key);
        push_display(self.out, value);
    }

    /// A truth value.
    #[inline]
    pub(super) fn boolean(&mut self, key: &str, value: bool) {
        self.key(key);
        self.out.extend_from_slice(if value { b"true" } else { b"false" });
    }

    /// A truth value that is only worth telling when it is true.
    #[inline]
    pub(super) fn flag(&mut self, key: &str, value: bool) {
        if value {
            self.boolean(key, true);
        }
    }

    /// Bytes in upper-case hexadecimal, as ECS wants hashes of certificates; left out when empty.
    pub(super) fn hex_upper(&mut self, key: &str, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.append(key, |out| push_hex(out, bytes, UPPER));
        }
    }

    /// Bytes in lower-case hexadecimal, as JA3 has them; left out when empty.
    pub(super) fn hex_lower(&mut self, key: &str, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.append(key, |out| push_hex(out, bytes, LOWER));
        }
    }

    /// An array of strings; left out without items.
    pub(super) fn texts<T: AsRef<str>>(&mut self, key: &str, values: impl IntoIterator<Item = T>) {
        self.array(key, values, |writer, value| push_text(writer.out, value.as_ref()));
    }

    /// An array of strings; `append` writes each between its quotes and must write nothing that needs escaping.
    #[inline]
    pub(super) fn appended<T>(
        &mut self,
        key: &str,
        values: impl IntoIterator<Item = T>,
        append: impl Fn(&mut Vec<u8>, T),
    ) {
        self.array(key, values, |writer, value| {
            writer.out.push(b'"');
            append(writer.out, value);
            writer.out.push(b'"');
        });
    }

    /// An array of numbers.
    pub(super) fn numbers(&mut self, key: &str, values: impl IntoIterator<Item = u64>) {
        self.array(key, values, |writer, value| push_number(writer.out, value));
    }

    /// An array of objects that `fill` writes.
    pub(super) fn objects<T>(&mut self, key: &str, items: impl IntoIterator<Item = T>, fill: impl Fn(&mut Self, T)) {
        self.array(key, items, |writer, item| {
            writer.out.push(b'{');
            fill(writer, item);
            writer.out.push(b'}');
        });
    }

    /// A value that is JSON already; left out when empty.
    pub(super) fn raw(&mut self, key: &str, json: &str) {
        if !json.is_empty() {
            self.key(key);
            self.out.extend_from_slice(json.as_bytes());
        }
    }

    /// Members that are JSON already, without the braces around them.
    #[inline]
    pub(super) fn members(&mut self, json: &str) {
        if !json.is_empty() {
            self.separate();
            self.out.extend_from_slice(json.as_bytes());
        }
    }

    #[inline]
    fn array<T>(&mut self, key: &str, items: impl IntoIterator<Item = T>, write: impl Fn(&mut Self, T)) {
        let mut items = items.into_iter();
        let Some(first) = items.next() else { return };
        self.key(key);
        self.out.push(b'[');
        write(self, first);
        for item in items {
            self.out.push(b',');
            write(self, item);
        }
        self.out.push(b']');
    }

    // Always inline: where it is called the key is a literal, and writing that takes a few stores.
    #[inline(always)]
    fn key(&mut self, key: &str) {
        self.separate();
        self.out.push(b'"');
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    /// No value ends with an opening brace, so the last byte tells whether a member comes before.
    #[inline]
    fn separate(&mut self) {
        if self.out.last() != Some(&b'{') {
            self.out.push(b',');
        }
    }
}

/// `value` as a JSON string with control characters made visible.
pub(super) fn push_text(out: &mut Vec<u8>, value: &str) {
    out.push(b'"');
    if !needs_escaping(value) {
        out.extend_from_slice(value.as_bytes());
    } else {
        for character in visible(value).chars() {
            match character {
                '"' => out.extend_from_slice(b"\\\""),
                '\\' => out.extend_from_slice(b"\\\\"),
                _ => out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
    }
    out.push(b'"');
}

/// Whether anything in `value` is more than printable ASCII, or has a meaning in JSON.
fn needs_escaping(value: &str) -> bool {
    let special = |byte| !matches!(byte, b' '..=b'~') | (byte == b'"') | (byte == b'\\');
    // Without an early end the loop runs over many bytes at a time.
    value.bytes().fold(false, |found, byte| found | special(byte))
}

/// `value` with control characters (C0, DEL, C1) written as `\x00`: PostgreSQL cannot store a NUL, a terminal must not
/// obey an escape sequence, and a name with a NUL inside is an attack that nobody may overlook.
pub(super) fn visible(value: &str) -> Cow<'_, str> {
    if !value.chars().any(char::is_control) {
        return Cow::Borrowed(value);
    }
    let mut text = String::with_capacity(value.len() + 8);
    for character in value.chars() {
        if character.is_control() {
            // Writing to a String cannot fail.
            let _ = write!(text, "\\x{:02x}", u32::from(character));
        } else {
            text.push(character);
        }
    }
    Cow::Owned(text)
}

/// Upper-case hexadecimal: the distance of its letters from where its digits would go on.
pub(super) const UPPER: u8 = b'A' - b'9' - 1;
/// Lower-case hexadecimal.
pub(super) const LOWER: u8 = b'a' - b'9' - 1;

/// `bytes` in hexadecimal with these letters.
#[inline]
pub(super) fn push_hex(out: &mut Vec<u8>, bytes: &[u8], letters: u8) {
    // Arithmetic instead of a table, and pieces of one length: the compiler makes vector code of it.
    let digit = |nibble: u8| nibble.wrapping_add(b'0').wrapping_add(if nibble > 9 { letters } else { 0 });
    let pair = |byte: u8| [digit(byte >> 4), digit(byte & 0x0f)];
    let (pieces, rest) = bytes.as_chunks::<16>();
    for piece in pieces {
        out.extend_from_slice(piece.map(pair).as_flattened());
    }
    for byte in rest {
        out.extend_from_slice(&pair(*byte));
    }
}

/// `value` in decimal.
#[inline]
pub(super) fn push_number(out: &mut Vec<u8>, value: u64) {
    // Four digits at a time, each time a copy of fixed length: this runs a dozen times per event.
    let (rest, last) = (value / 10_000, four_digits(value % 10_000));
    if rest > 0 {
        push_number_above(out, rest);
        out.extend_from_slice(&last);
        return;
    }
    let [thousands, hundreds, tens, ones] = last;
    match value {
        0..10 => out.push(ones),
        10..100 => out.extend_from_slice(&[tens, ones]),
        100..1_000 => out.extend_from_slice(&[hundreds, tens, ones]),
        _ => out.extend_from_slice(&[thousands, hundreds, tens, ones]),
    }
}

/// The digits before the last four.
fn push_number_above(out: &mut Vec<u8>, value: u64) {
    push_number(out, value);
}

/// The last four decimal digits of `value`.
fn four_digits(value: u64) -> [u8; 4] {
    let digit = |value: u64| b'0' + u8::try_from(value % 10).unwrap_or(0);
    [digit(value / 1_000), digit(value / 100), digit(value / 10), digit(value)]
}

fn push_display(out: &mut Vec<u8>, value: impl Display) {
    // Writing to a Vec cannot fail.
    let _ = write!(out, "{value}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(fill: impl FnOnce(&mut Writer<'_>)) -> String {
        let mut out = Vec::new();
        Writer::line(&mut out, fill);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn empty_members_leave_no_trace() {
        let text = line(|w| {
            w.object("a", |w| w.object("b", |w| w.text("c", "")));
            w.texts("d", [] as [&str; 0]);
            w.count("e", 0);
            w.flag("f", false);
            w.number("g", 0_u64);
            w.object("h", |w| w.boolean("i", false));
        });
        assert_eq!(text, "{\"g\":0,\"h\":{\"i\":false}}\n");
    }

    #[test]
    fn control_characters_are_visible_and_json_stays_valid() {
        let hostile = "a\0b\u{1b}[2J\"\\\u{9b}\u{7f}é\n";
        let text = line(|w| w.text("k", hostile));
        assert!(!text.trim_end().chars().any(char::is_control));
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["k"], "a\\x00b\\x1b[2J\"\\\\x9b\\x7fé\\x0a");
    }

    #[test]
    fn numbers_of_every_length() {
        for value in [0, 9, 10, 99, 100, 999, 1_000, 12_345, 9_999_999_999_999_999_999, u64::MAX] {
            let mut out = Vec::new();
            push_number(&mut out, value);
            assert_eq!(String::from_utf8(out).unwrap(), value.to_string());
        }
    }

    #[test]
    fn hexadecimal_of_every_byte_and_length() {
        let bytes: Vec<u8> = (0..=255).collect();
        for length in [0, 1, 15, 16, 17, 32, 256] {
            let (mut upper, mut lower) = (Vec::new(), Vec::new());
            push_hex(&mut upper, &bytes[256 - length..], UPPER);
            push_hex(&mut lower, &bytes[256 - length..], LOWER);
            let text = |format: fn(&u8) -> String| bytes[256 - length..].iter().map(format).collect::<String>();
            assert_eq!(String::from_utf8(upper).unwrap(), text(|byte| format!("{byte:02X}")));
            assert_eq!(String::from_utf8(lower).unwrap(), text(|byte| format!("{byte:02x}")));
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_valid_json_without_controls(value: String) {
            let mut out = Vec::new();
            push_text(&mut out, &value);
            let parsed: String = serde_json::from_slice(&out).unwrap();
            proptest::prop_assert_eq!(parsed, visible(&value).into_owned());
        }
    }
}
