//! A reader of DER that forgives what OpenSSL forgives: it never copies and never looks past its bytes.
//!
//! x509-parser refuses a whole certificate over one odd field; a sensor has to describe it. So the frame of a
//! certificate is walked here, and only the contents of extensions are left to x509-parser.

use std::ops::Range;

/// BOOLEAN.
pub(crate) const BOOLEAN: u8 = 0x01;
/// INTEGER.
pub(crate) const INTEGER: u8 = 0x02;
/// BIT STRING.
pub(crate) const BIT_STRING: u8 = 0x03;
/// OCTET STRING.
pub(crate) const OCTET_STRING: u8 = 0x04;
/// OBJECT IDENTIFIER.
pub(crate) const OID: u8 = 0x06;
/// SEQUENCE, constructed.
pub(crate) const SEQUENCE: u8 = 0x30;
/// SET, constructed.
pub(crate) const SET: u8 = 0x31;
/// UTCTime.
pub(crate) const UTC_TIME: u8 = 0x17;
/// GeneralizedTime.
pub(crate) const GENERALIZED_TIME: u8 = 0x18;

/// One value: identifier octet, contents and the whole encoding.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Element<'a> {
    /// Identifier octet; of a multi-octet tag only the first, which equals no tag that is asked for.
    pub(crate) tag: u8,
    /// Contents octets.
    pub(crate) content: &'a [u8],
    /// Identifier, length and contents octets.
    pub(crate) whole: &'a [u8],
    /// The length has more octets than it needs: BER, but not DER.
    pub(crate) padded_length: bool,
}

impl<'a> Element<'a> {
    /// A reader of the contents.
    pub(crate) fn reader(&self) -> Reader<'a> {
        Reader { rest: self.content }
    }

    /// Contents of a BIT STRING without the count of unused bits.
    pub(crate) fn bits(&self) -> Option<&'a [u8]> {
        if self.tag != BIT_STRING {
            return None;
        }
        self.content.split_first().filter(|(unused, _)| **unused < 8).map(|(_, bits)| bits)
    }
}

/// Reads one element after the other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// A reader of `bytes`.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What has not been read.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Identifier octet of the next element.
    pub(crate) fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    /// The next element, whatever it is. `None` at the end or when it does not fit.
    pub(crate) fn element(&mut self) -> Option<Element<'a>> {
        let input = self.rest;
        let (&tag, mut after) = input.split_first()?;
        if tag & 0x1f == 0x1f {
            loop {
                let (&octet, rest) = after.split_first()?;
                after = rest;
                if octet & 0x80 == 0 {
                    break;
                }
            }
        }
        let (&first, after) = after.split_first()?;
        let (length, after, padded_length) = if first < 0x80 {
            (usize::from(first), after, false)
        } else {
            let count = usize::from(first & 0x7f);
            // 0x80 is the indefinite form, which DER has not; more than eight octets count more than memory holds.
            if count == 0 || count > 8 {
                return None;
            }
            let (octets, rest) = after.split_at_checked(count)?;
            let length = octets.iter().fold(0_u64, |sum, octet| (sum << 8) | u64::from(*octet));
            (usize::try_from(length).ok()?, rest, length < 0x80 || octets.first() == Some(&0))
        };
        let (content, rest) = after.split_at_checked(length)?;
        let whole = input.get(..input.len() - rest.len())?;
        self.rest = rest;
        Some(Element { tag, content, whole, padded_length })
    }

    /// The next element when it has this tag; otherwise nothing is read.
    pub(crate) fn tagged(&mut self, tag: u8) -> Option<Element<'a>> {
        if self.peek() == Some(tag) { self.element() } else { None }
    }
}

impl<'a> Iterator for Reader<'a> {
    type Item = Element<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        self.element()
    }
}

/// Where `part` lies inside `whole`; empty when it does not.
pub(crate) fn range_in(whole: &[u8], part: &[u8]) -> Range<usize> {
    let start = part.as_ptr().addr().checked_sub(whole.as_ptr().addr());
    match start {
        Some(start) if start.saturating_add(part.len()) <= whole.len() => start..start + part.len(),
        _ => 0..0,
    }
}

/// The dotted form of the contents of an OBJECT IDENTIFIER; `#` and hexadecimal when they are not one.
pub(crate) fn dotted(content: &[u8]) -> String {
    let mut text = String::with_capacity(content.len() * 3 + 2);
    let mut arc = 0_u128;
    let mut first = true;
    let mut inside = false;
    for octet in content {
        let Some(shifted) = arc.checked_mul(128) else {
            return hexadecimal(content);
        };
        arc = shifted | u128::from(octet & 0x7f);
        inside = octet & 0x80 != 0;
        if inside {
            continue;
        }
        if first {
            let root = (arc / 40).min(2);
            push_number(&mut text, root);
            arc -= root * 40;
        }
        text.push('.');
        push_number(&mut text, arc);
        first = false;
        arc = 0;
    }
    if first || inside { hexadecimal(content) } else { text }
}

/// Appends a decimal number: a certificate has some twenty OIDs of eight arcs, too many for the formatting machinery.
fn push_number(text: &mut String, number: u128) {
    let Ok(small) = u32::try_from(number) else {
        return text.push_str(&number.to_string());
    };
    let mut scale = 1_u32;
    while small / scale >= 10 {
        scale *= 10;
    }
    while scale > 0 {
        text.push(char::from_digit(small / scale % 10, 10).unwrap_or('0'));
        scale /= 10;
    }
}

/// `#` and upper-case hexadecimal, the RFC 4514 form of a value that is no text.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2 + 1);
    text.push('#');
    push_hex(&mut text, bytes);
    text
}

/// Appends upper-case hexadecimal.
pub(crate) fn push_hex(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        for nibble in [byte >> 4, byte & 0x0f] {
            text.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0').to_ascii_uppercase());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_every_form_are_read() {
        for (bytes, content, padded) in [
            (&[0x04, 0x01, 0xaa][..], &[0xaa][..], false),
            (&[0x04, 0x81, 0x01, 0xaa], &[0xaa], true),
            (&[0x04, 0x84, 0, 0, 0, 1, 0xaa], &[0xaa], true),
            (&[0x04, 0x00], &[], false),
            // A number of the tag that needs more octets.
            (&[0x1f, 0x1f, 0x01, 0xaa], &[0xaa], false),
            (&[0xbf, 0x81, 0xff, 0x01, 0x01, 0xaa], &[0xaa], false),
        ] {
            let element = Reader::new(bytes).element().unwrap();
            assert_eq!((element.content, element.padded_length), (content, padded));
            assert_eq!(element.whole, bytes);
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        for bytes in [
            &[][..],
            &[0x30],
            &[0x30, 0x02, 0x00],
            &[0x30, 0x80, 0x00, 0x00],
            &[0x30, 0xff],
            &[0x30, 0x88, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            &[0x1f, 0x80, 0x80],
        ] {
            assert!(Reader::new(bytes).element().is_none(), "{bytes:02x?}");
        }
    }

    #[test]
    fn object_identifiers_become_dotted() {
        assert_eq!(dotted(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b]), "1.2.840.113549.1.1.11");
        assert_eq!(dotted(&[0x55, 0x04, 0x03]), "2.5.4.3");
        assert_eq!(dotted(&[0x88, 0x37, 0x03]), "2.999.3");
        assert_eq!(dotted(&[0x2a, 0x8f, 0xff, 0xff, 0xff, 0x7f, 0x0a]), "1.2.4294967295.10");
        assert_eq!(dotted(&[0x2a, 0x90, 0x80, 0x80, 0x80, 0x00]), "1.2.4294967296");
        assert_eq!(dotted(&[]), "#");
        assert_eq!(dotted(&[0x2a, 0x86]), "#2A86");
        assert_eq!(dotted(&[0xff; 40]).len(), 81);
    }

    #[test]
    fn ranges_are_places_in_the_whole() {
        let whole = [0x30, 0x03, 0x02, 0x01, 0x05];
        let inner = Reader::new(&whole).element().unwrap().reader().element().unwrap();
        assert_eq!(range_in(&whole, inner.whole), 2..5);
        assert_eq!(range_in(&whole, &[9, 9]), 0..0);
    }
}
