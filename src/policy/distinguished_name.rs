//! Patterns of distinguished names.

use std::fmt;

use thiserror::Error;

/// Attributes that a name must have, written as in RFC 4514: `CN=R10,O=Let's Encrypt,C=US`.
///
/// Every attribute given must be in the name; others may be there. Values are compared by RFC 5280 section 7.1: case
/// folded, white space compressed. A star in a value stands for any text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamePattern {
    text: Box<str>,
    attributes: Vec<(Attribute, Vec<Piece>)>,
}

/// An attribute that patterns may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Attribute {
    /// commonName, `CN`.
    CommonName,
    /// organizationName, `O`.
    Organization,
    /// organizationalUnitName, `OU`.
    OrganizationalUnit,
    /// countryName, `C`.
    Country,
    /// localityName, `L`.
    Locality,
    /// stateOrProvinceName, `ST`.
    State,
    /// emailAddress, `E`.
    Email,
}

/// Why a text is no pattern of names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NamePatternError {
    /// No attribute at all.
    #[error("no attribute")]
    Empty,
    /// A part without `=`.
    #[error("an attribute is written TYPE=value (RFC 4514)")]
    NoValue,
    /// A type that patterns do not know.
    #[error("the attribute types are CN, O, OU, C, L, ST and E")]
    Type,
    /// A backslash before nothing or before half of an octet.
    #[error("a backslash escapes a special character or two hexadecimal digits")]
    Escape,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(char),
    Any,
}

impl NamePattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn parse(text: &str) -> Result<Self, NamePatternError> {
        let mut attributes = Vec::new();
        let mut rest = text.chars().peekable();
        while rest.peek().is_some() {
            let mut name = String::new();
            loop {
                match rest.next() {
                    Some('=') => break,
                    Some(character) => name.push(character),
                    None => return Err(NamePatternError::NoValue),
                }
            }
            attributes.push((attribute(name.trim())?, value(&mut rest)?));
        }
        if attributes.is_empty() { Err(NamePatternError::Empty) } else { Ok(Self { text: text.into(), attributes }) }
    }

    /// Whether a name has all attributes; `values` gives the values of one of them.
    pub fn matches<'a>(&self, values: impl Fn(Attribute) -> &'a [String]) -> bool {
        self.attributes.iter().all(|(attribute, pattern)| {
            values(*attribute).iter().any(|value| glob(pattern, &normalized(value.chars()).collect::<Vec<_>>()))
        })
    }

    /// Whether one star is all that some attribute asks for, so that every name with the attribute matches.
    pub fn matches_anything(&self) -> bool {
        self.attributes.iter().all(|(_, pattern)| pattern.iter().all(|piece| *piece == Piece::Any))
    }
}

impl fmt::Display for NamePattern {
    /// As it was given.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn attribute(name: &str) -> Result<Attribute, NamePatternError> {
    Ok(match name.to_ascii_uppercase().as_str() {
        "CN" => Attribute::CommonName,
        "O" => Attribute::Organization,
        "OU" => Attribute::OrganizationalUnit,
        "C" => Attribute::Country,
        "L" => Attribute::Locality,
        "ST" | "S" => Attribute::State,
        "E" | "EMAIL" | "EMAILADDRESS" => Attribute::Email,
        _ => return Err(NamePatternError::Type),
    })
}

/// Reads a value up to an unescaped comma or plus sign.
fn value(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<Vec<Piece>, NamePatternError> {
    // Octets are gathered, because an escaped pair of digits is an octet of UTF-8; 0xFF, which UTF-8 never holds,
    // marks the star.
    const STAR: u8 = 0xff;
    let mut octets = Vec::new();
    while let Some(character) = rest.next() {
        match character {
            ',' | '+' => break,
            '*' => octets.push(STAR),
            '\\' => {
                let first = rest.next().ok_or(NamePatternError::Escape)?;
                match first.to_digit(16) {
                    Some(high) => {
                        let low = rest.next().and_then(|low| low.to_digit(16)).ok_or(NamePatternError::Escape)?;
                        octets.push(u8::try_from(high * 16 + low).unwrap_or(STAR));
                    }
                    None => push(&mut octets, first),
                }
            }
            other => push(&mut octets, other),
        }
    }
    let mut pieces = Vec::new();
    for (index, text) in octets.split(|octet| *octet == STAR).enumerate() {
        if index > 0 {
            pieces.push(Piece::Any);
        }
        let text = String::from_utf8_lossy(text);
        let text = if octets.contains(&STAR) {
            folded(text.chars()).collect()
        } else {
            normalized(text.chars()).collect::<Vec<_>>()
        };
        pieces.extend(text.into_iter().map(Piece::Text));
    }
    Ok(pieces)
}

fn push(octets: &mut Vec<u8>, character: char) {
    octets.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
}

fn folded(text: impl Iterator<Item = char>) -> impl Iterator<Item = char> {
    text.flat_map(char::to_lowercase)
}

/// Case folded, runs of white space as one space, none at the ends.
fn normalized(text: impl Iterator<Item = char>) -> impl Iterator<Item = char> {
    let folded: String = folded(text).collect();
    let words: Vec<&str> = folded.split_whitespace().collect();
    words.join(" ").chars().collect::<Vec<_>>().into_iter()
}

/// Matches in time of pattern times text: the last star is the only place to go back to.
fn glob(pattern: &[Piece], text: &[char]) -> bool {
    let (mut at, mut in_text, mut back) = (0, 0, None);
    while let Some(character) = text.get(in_text) {
        match pattern.get(at) {
            Some(Piece::Any) => {
                back = Some((at, in_text));
                at += 1;
            }
            Some(Piece::Text(wanted)) if wanted == character => {
                at += 1;
                in_text += 1;
            }
            _ => {
                let Some((star, from)) = back else { return false };
                back = Some((star, from + 1));
                at = star + 1;
                in_text = from + 1;
            }
        }
    }
    pattern.iter().skip(at).all(|piece| *piece == Piece::Any)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(pattern: &str, name: &[(Attribute, &str)]) -> bool {
        let pattern = NamePattern::parse(pattern).unwrap();
        let owned: Vec<(Attribute, Vec<String>)> = name.iter().map(|(a, v)| (*a, vec![(*v).to_owned()])).collect();
        pattern.matches(|wanted| owned.iter().find(|(a, _)| *a == wanted).map_or(&[], |(_, v)| v.as_slice()))
    }

    #[test]
    fn attributes_given_must_be_equal() {
        use Attribute::{CommonName as CN, Country as C, Organization as O};
        let name = [(CN, "R10"), (O, "Let's  ENCRYPT "), (C, "US")];
        for (pattern, expected) in [
            ("CN=R10,O=Let's Encrypt,C=US", true),
            ("C=us, O=let's encrypt", true),
            ("CN=R10", true),
            ("CN=R1", false),
            ("CN=R1*", true),
            ("CN=*0", true),
            ("CN=*1*0*", true),
            ("CN=*2*", false),
            ("CN=R10+C=US", true),
            ("CN=R10,OU=x", false),
            ("CN=\\5210", true),
            ("CN=R1\\30", true),
            ("CN=R10\\2A", false),
        ] {
            assert_eq!(matches(pattern, &name), expected, "{pattern}");
        }
        assert!(matches("O=A\\, B", &[(O, "a, b")]));
    }

    #[test]
    fn errors() {
        use NamePatternError as E;
        for (text, error) in [
            ("", E::Empty),
            ("R10", E::NoValue),
            ("CN=a,b", E::NoValue),
            ("X=a", E::Type),
            ("CN=a\\", E::Escape),
            ("CN=a\\4", E::Escape),
        ] {
            assert_eq!(NamePattern::parse(text), Err(error), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_safe(pattern in "(CN=)?.{0,40}", text in ".{0,40}") {
            if let Ok(pattern) = NamePattern::parse(&pattern) {
                let values = [text];
                pattern.matches(|_| &values);
            }
        }
    }
}
