//! JSON written straight into a reused buffer: no tree, no allocation, and what is empty leaves no trace.
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

    /// An object; left out when `fill` writes nothing.
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
    pub(super) fn append(&mut self, key: &str, append: impl FnOnce(&mut Vec<u8>)) {
        self.key(key);
        self.out.push(b'"');
        append(self.out);
        self.out.push(b'"');
    }

    /// A number.
    pub(super) fn number(&mut self, key: &str, value: impl Into<u64>) {
        self.key(key);
        push_number(self.out, value.into());
    }

    /// A number, left out when it is 0.
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
    pub(super) fn boolean(&mut self, key: &str, value: bool) {
        self.key(key);
        self.out.extend_from_slice(if value { b"true" } else { b"false" });
    }

    /// A truth value that is only worth telling when it is true.
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
    pub(super) fn members(&mut self, json: &str) {
        if !json.is_empty() {
            self.separate();
            self.out.extend_from_slice(json.as_bytes());
        }
    }

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

    fn key(&mut self, key: &str) {
        self.separate();
        self.out.push(b'"');
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    /// No value ends with an opening brace, so the last byte tells whether a member comes before.
    fn separate(&mut self) {
        if self.out.last() != Some(&b'{') {
            self.out.push(b',');
        }
    }
}

/// `value` as a JSON string with control characters made visible.
pub(super) fn push_text(out: &mut Vec<u8>, value: &str) {
    out.push(b'"');
    // Without an early end the loop runs over many bytes at a time.
    let special = |byte| !matches!(byte, b' '..=b'~') | (byte == b'"') | (byte == b'\\');
    if !value.bytes().fold(false, |found, byte| found | special(byte)) {
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

/// Digits of upper-case hexadecimal.
pub(super) const UPPER: &[u8; 16] = b"0123456789ABCDEF";
/// Digits of lower-case hexadecimal.
pub(super) const LOWER: &[u8; 16] = b"0123456789abcdef";

/// `bytes` in hexadecimal with these digits.
pub(super) fn push_hex(out: &mut Vec<u8>, bytes: &[u8], digits: &[u8; 16]) {
    let digit = |value: u8| digits.get(usize::from(value & 0x0f)).copied().unwrap_or(b'?');
    // Many bytes at a time: growing the buffer for each pair of digits would take longer than making them.
    for piece in bytes.chunks(32) {
        let mut text = [0; 64];
        for (pair, byte) in text.as_chunks_mut::<2>().0.iter_mut().zip(piece) {
            *pair = [digit(byte >> 4), digit(*byte)];
        }
        out.extend_from_slice(text.get(..2 * piece.len()).unwrap_or_default());
    }
}

/// `value` in decimal.
pub(super) fn push_number(out: &mut Vec<u8>, mut value: u64) {
    let mut digits = [b'0'; 20];
    let mut used = 0;
    for place in digits.iter_mut().rev() {
        *place = b'0' + u8::try_from(value % 10).unwrap_or(0);
        value /= 10;
        used += 1;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(digits.len() - used..).unwrap_or_default());
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
        for value in [0, 9, 10, 99, 12_345, u64::MAX] {
            let mut out = Vec::new();
            push_number(&mut out, value);
            assert_eq!(String::from_utf8(out).unwrap(), value.to_string());
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
