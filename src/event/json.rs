//! JSON written straight into a buffer: no tree, no allocation, and what is empty leaves no trace.
//!
//! Text from the wire is escaped so that a store, a terminal and a reader all see the same: control characters become
//! visible (`\x00` as four characters), invalid UTF-8 becomes U+FFFD. What reorders a line or hides itself is escaped as
//! JSON escapes it, which a program does not notice.

use std::borrow::Cow;
use std::fmt::{Display, Write as _};
use std::io::Write as _;

use crate::text::{is_unsafe, push_unit_escapes};
use crate::time::eight_digits;

/// The name of a member.
pub(super) trait Key {
    /// Writes the comma that every member begins with, the name and the colon.
    fn push(&self, out: &mut Vec<u8>);
}

impl Key for str {
    fn push(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b",\"");
        out.extend_from_slice(self.as_bytes());
        out.extend_from_slice(b"\":");
    }
}

impl<K: Key + ?Sized> Key for &K {
    #[inline(always)]
    fn push(&self, out: &mut Vec<u8>) {
        (**self).push(out);
    }
}

/// A name as it is written, made by [`key!`]: a few stores where it is a literal.
#[derive(Clone, Copy, Debug)]
pub(super) struct Written(pub(super) &'static str);

impl Key for Written {
    #[inline(always)]
    fn push(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.0.as_bytes());
    }
}

/// A [`Key`] of a literal, for what is written for every handshake.
macro_rules! key {
    ($name:literal) => {
        $crate::event::json::Written(concat!(",\"", $name, "\":"))
    };
}
pub(super) use key;

/// Writes the members of JSON objects; every member whose value is empty is left out.
///
/// Every member begins with a comma, the first too: what closes an object puts the brace in its place. So no member needs
/// to ask what stands before it.
#[derive(Debug)]
pub(super) struct Writer<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> Writer<'a> {
    /// Appends one object and a line feed to `out`.
    pub(super) fn line(out: &'a mut Vec<u8>, fill: impl FnOnce(&mut Self)) {
        let mut writer = Self { out };
        writer.braced(fill);
        writer.out.push(b'\n');
    }

    /// The members that `fill` writes, without braces around them and each with its comma, for [`members`](Self::members).
    pub(super) fn fragment(fill: impl FnOnce(&mut Writer<'_>)) -> String {
        let mut out = Vec::new();
        fill(&mut Writer { out: &mut out });
        String::from_utf8(out).unwrap_or_default()
    }

    /// An object; left out when `fill` writes nothing.
    #[inline]
    pub(super) fn object(&mut self, key: impl Key, fill: impl FnOnce(&mut Self)) {
        let start = self.out.len();
        key.push(self.out);
        let inside = self.out.len();
        fill(self);
        if self.out.len() == inside {
            self.out.truncate(start);
        } else {
            self.close(inside, [b'{', b'}']);
        }
    }

    /// An object that may be empty.
    fn braced(&mut self, fill: impl FnOnce(&mut Self)) {
        let inside = self.out.len();
        fill(self);
        if self.out.len() == inside {
            self.out.push(b'{');
        }
        self.close(inside, [b'{', b'}']);
    }

    /// Puts the opening bracket in the place of the first comma, which is at `inside`, and the other at the end.
    #[inline]
    fn close(&mut self, inside: usize, [open, close]: [u8; 2]) {
        if let Some(first) = self.out.get_mut(inside) {
            *first = open;
        }
        self.out.push(close);
    }

    /// A string; left out when empty.
    pub(super) fn text(&mut self, key: impl Key, value: &str) {
        if !value.is_empty() {
            key.push(self.out);
            push_text(self.out, value);
        }
    }

    /// A string that needs no escaping, such as a name of ours or hexadecimal; left out when empty.
    #[inline]
    pub(super) fn plain(&mut self, key: impl Key, value: &str) {
        debug_assert!(!needs_escaping(value), "{value:?}");
        if !value.is_empty() {
            self.append(key, |out| out.extend_from_slice(value.as_bytes()));
        }
    }

    /// A string from the wire that ought to be UTF-8; left out when empty.
    pub(super) fn wire_text(&mut self, key: impl Key, value: &[u8]) {
        self.text(key, &String::from_utf8_lossy(value));
    }

    /// A string made by [`Display`], which must need no escaping.
    pub(super) fn display(&mut self, key: impl Key, value: impl Display) {
        self.append(key, |out| push_display(out, value));
    }

    /// A string that `append` writes; it must need no escaping.
    #[inline]
    pub(super) fn append(&mut self, key: impl Key, append: impl FnOnce(&mut Vec<u8>)) {
        key.push(self.out);
        self.out.push(b'"');
        append(self.out);
        self.out.push(b'"');
    }

    /// A number.
    #[inline]
    pub(super) fn number(&mut self, key: impl Key, value: impl Into<u64>) {
        key.push(self.out);
        push_number(self.out, value.into());
    }

    /// A number, left out when it is 0.
    #[inline]
    pub(super) fn count(&mut self, key: impl Key, value: usize) {
        if let Some(value) = u64::try_from(value).ok().filter(|value| *value > 0) {
            self.number(key, value);
        }
    }

    /// A signed number.
    pub(super) fn signed(&mut self, key: impl Key, value: i64) {
        key.push(self.out);
        push_display(self.out, value);
    }

    /// A truth value.
    #[inline]
    pub(super) fn boolean(&mut self, key: impl Key, value: bool) {
        key.push(self.out);
        if value {
            self.out.extend_from_slice(b"true");
        } else {
            self.out.extend_from_slice(b"false");
        }
    }

    /// A truth value that is only worth telling when it is true.
    #[inline]
    pub(super) fn flag(&mut self, key: impl Key, value: bool) {
        if value {
            self.boolean(key, true);
        }
    }

    /// Bytes in upper-case hexadecimal, as ECS wants hashes of certificates; left out when empty.
    pub(super) fn hex_upper(&mut self, key: impl Key, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.append(key, |out| push_hex(out, bytes, UPPER));
        }
    }

    /// Bytes in lower-case hexadecimal, as JA3 has them; left out when empty.
    pub(super) fn hex_lower(&mut self, key: impl Key, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.append(key, |out| push_hex(out, bytes, LOWER));
        }
    }

    /// An array of strings, without empty ones; left out without items.
    pub(super) fn texts<T: AsRef<str>>(&mut self, key: impl Key, values: impl IntoIterator<Item = T>) {
        let values = values.into_iter().filter(|value| !value.as_ref().is_empty());
        self.array(key, values, |writer, value| push_text(writer.out, value.as_ref()));
    }

    /// An array of strings that are not empty; `append` writes each between its quotes and must write nothing that needs escaping.
    #[inline]
    pub(super) fn appended<T>(
        &mut self,
        key: impl Key,
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
    pub(super) fn numbers(&mut self, key: impl Key, values: impl IntoIterator<Item = u64>) {
        self.array(key, values, |writer, value| push_number(writer.out, value));
    }

    /// An array of objects that `fill` writes.
    pub(super) fn objects<T>(
        &mut self,
        key: impl Key,
        items: impl IntoIterator<Item = T>,
        fill: impl Fn(&mut Self, T),
    ) {
        self.array(key, items, |writer, item| writer.braced(|writer| fill(writer, item)));
    }

    /// A value that is JSON already; left out when empty.
    pub(super) fn raw(&mut self, key: impl Key, json: &str) {
        if !json.is_empty() {
            key.push(self.out);
            self.out.extend_from_slice(json.as_bytes());
        }
    }

    /// Members that are JSON already, without the braces around them, each with its comma.
    #[inline(always)]
    pub(super) fn members(&mut self, json: &str) {
        self.out.extend_from_slice(json.as_bytes());
    }

    /// An array whose items, JSON already, `append` writes, each with a comma before it; left out without items.
    #[inline]
    pub(super) fn items(&mut self, key: impl Key, append: impl FnOnce(&mut Vec<u8>)) {
        let start = self.out.len();
        key.push(self.out);
        let inside = self.out.len();
        append(self.out);
        if self.out.len() == inside {
            self.out.truncate(start);
        } else {
            self.close(inside, [b'[', b']']);
        }
    }

    /// Any part of the line; for literals, which take a few stores.
    #[inline(always)]
    pub(super) fn piece(&mut self, json: &str) {
        self.out.extend_from_slice(json.as_bytes());
    }

    /// Any part of the line.
    #[inline(always)]
    pub(super) fn bytes(&mut self, json: &[u8]) {
        self.out.extend_from_slice(json);
    }

    /// Any part of the line, which `append` writes.
    #[inline]
    pub(super) fn with(&mut self, append: impl FnOnce(&mut Vec<u8>)) {
        append(self.out);
    }

    #[inline]
    fn array<T>(&mut self, key: impl Key, items: impl IntoIterator<Item = T>, write: impl Fn(&mut Self, T)) {
        let mut items = items.into_iter();
        // Most lists are empty: then nothing is written that would have to go again.
        let Some(first) = items.next() else { return };
        key.push(self.out);
        self.out.push(b'[');
        write(self, first);
        for item in items {
            self.out.push(b',');
            write(self, item);
        }
        self.out.push(b']');
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
                unsafe_one if !unsafe_one.is_ascii() && is_unsafe(unsafe_one) => {
                    push_unit_escapes(unsafe_one, |escape| out.extend_from_slice(escape.as_bytes()));
                }
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
    let (pieces, rest) = bytes.as_chunks::<16>();
    for piece in pieces {
        out.extend_from_slice(&hex(piece, letters));
    }
    for byte in rest {
        out.extend_from_slice(&hex_pair(*byte, letters));
    }
}

/// Sixteen bytes in hexadecimal with these letters.
#[inline]
pub(super) fn hex(bytes: &[u8; 16], letters: u8) -> [u8; 32] {
    // Pieces of one length: the compiler makes vector code of it.
    let mut text = [0; 32];
    for (place, byte) in text.as_chunks_mut().0.iter_mut().zip(bytes) {
        *place = hex_pair(*byte, letters);
    }
    text
}

// Arithmetic instead of a table, for vectors.
#[inline]
pub(super) fn hex_pair(byte: u8, letters: u8) -> [u8; 2] {
    let digit = |nibble: u8| nibble.wrapping_add(b'0').wrapping_add(if nibble > 9 { letters } else { 0 });
    [digit(byte >> 4), digit(byte & 0x0f)]
}

/// `value` in decimal.
#[inline]
pub(super) fn push_number(out: &mut Vec<u8>, value: u64) {
    match value {
        0..10_000 => push_short_number(out, u32::try_from(value).unwrap_or(0)),
        10_000..100_000_000 => {
            let digits = u64::from_le_bytes(eight_digits(value));
            // The first digit lies in the lowest byte. The eighth stays, whatever it is.
            let zeros = ((digits & 0x000f_0f0f_0f0f_0f0f) | (1 << 56)).trailing_zeros() & !7;
            push_first(out, (digits >> zeros).to_le_bytes(), 8 - zeros / 8);
        }
        _ => push_long_number(out, value),
    }
}

/// Below 10,000: as [`eight_digits`] has it, in half of a word.
#[inline]
fn push_short_number(out: &mut Vec<u8>, value: u32) {
    let hundreds = value / 100;
    let pairs = hundreds | ((value - hundreds * 100) << 16);
    let tens = (pairs.wrapping_mul(103) >> 10) & 0x000f_000f;
    let digits = tens | (pairs.wrapping_sub(tens.wrapping_mul(10)) << 8);
    let zeros = (digits | (1 << 24)).trailing_zeros() & !7;
    push_first(out, ((digits | 0x3030_3030) >> zeros).to_le_bytes(), 4 - zeros / 8);
}

/// Nine digits and more.
#[inline(never)]
fn push_long_number(out: &mut Vec<u8>, value: u64) {
    push_number(out, value / 100_000_000);
    out.extend_from_slice(&eight_digits(value));
}

/// The first `length` of `bytes`. All are written, which is one store, and those that are too many leave again.
#[inline]
pub(super) fn push_first<const N: usize>(out: &mut Vec<u8>, bytes: [u8; N], length: u32) {
    let end = out.len().saturating_add(usize::try_from(length).unwrap_or(N));
    out.extend_from_slice(&bytes);
    out.truncate(end);
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
            w.texts("d", ["", ""]);
            w.count("e", 0);
            w.flag("f", false);
            w.number("g", 0_u64);
            w.object("h", |w| w.boolean("i", false));
        });
        assert_eq!(text, "{\"g\":0,\"h\":{\"i\":false}}\n");
    }

    #[test]
    fn what_is_inside_has_its_brackets() {
        let text = line(|w| {
            w.object(key!("a"), |w| w.object("b", |w| w.flag(key!("c"), true)));
            w.objects("d", [1_u64, 0, 2], |w, number| w.count("e", usize::try_from(number).unwrap()));
            w.items(key!("f"), |_| {});
            w.items(key!("g"), |out| out.extend_from_slice(b",1,2"));
            w.members(&Writer::fragment(|w| w.plain("h", "i")));
        });
        assert_eq!(text, "{\"a\":{\"b\":{\"c\":true}},\"d\":[{\"e\":1},{},{\"e\":2}],\"g\":[1,2],\"h\":\"i\"}\n");
        assert_eq!(line(|_| {}), "{}\n");
        assert_eq!(Writer::fragment(|_| {}), "");
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
    fn what_reorders_or_hides_is_escaped() {
        let hostile = "x\u{202e}fdp.exe\u{feff}\u{2028}\u{e0041}é";
        let text = line(|w| w.text("k", hostile));
        assert_eq!(text, "{\"k\":\"x\\u202efdp.exe\\ufeff\\u2028\\udb40\\udc41é\"}\n");
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["k"], hostile);
    }

    #[test]
    fn numbers_of_every_length() {
        let powers = (0..20).map(|power| 10_u64.pow(power));
        for value in powers.flat_map(|power| [power - 1, power, power + 1]).chain([u64::MAX]) {
            let mut out = Vec::new();
            push_number(&mut out, value);
            assert_eq!(String::from_utf8(out).unwrap(), value.to_string());
        }
    }

    #[test]
    fn every_short_number() {
        for value in 0..11_000 {
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
        fn any_number_is_as_usual(value: u64, shift in 0_u32..64) {
            let mut out = b"x".to_vec();
            push_number(&mut out, value >> shift);
            proptest::prop_assert_eq!(String::from_utf8(out).unwrap(), format!("x{}", value >> shift));
        }

        #[test]
        fn any_text_is_valid_json_without_controls(value: String) {
            let mut out = Vec::new();
            push_text(&mut out, &value);
            proptest::prop_assert!(!std::str::from_utf8(&out).unwrap().contains(is_unsafe));
            let parsed: String = serde_json::from_slice(&out).unwrap();
            proptest::prop_assert_eq!(parsed, visible(&value).into_owned());
        }
    }
}
