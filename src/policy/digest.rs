//! Pins and fingerprints in all the spellings that tools print.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};

/// A SHA-256 digest of a SubjectPublicKeyInfo or of a certificate's DER.
pub type Digest = [u8; 32];

/// A fingerprint of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CertificateHash {
    /// SHA-1 of the DER.
    Sha1([u8; 20]),
    /// SHA-256 of the DER.
    Sha256(Digest),
}

impl CertificateHash {
    /// Reads 40 or 64 hexadecimal digits, with or without colons, or base64 after `sha256/`.
    pub fn parse(text: &str) -> Option<Self> {
        digest(text).map(Self::Sha256).or_else(|| hexadecimal(text).map(Self::Sha1))
    }
}

/// Reads `sha256/BASE64`, `sha256//BASE64` (curl's spelling), 64 hexadecimal digits, with or without colons, also after
/// `sha256:` or `sha256/`.
pub fn digest(text: &str) -> Option<Digest> {
    let prefix = text.get(..6).filter(|prefix| prefix.eq_ignore_ascii_case("sha256"));
    let rest = match prefix {
        Some(_) => text.get(6..)?,
        None => return hexadecimal(text),
    };
    if let Some(rest) = rest.strip_prefix(':') {
        return hexadecimal(rest);
    }
    // 64 digits are valid base64 of 48 octets, so that the two encodings cannot be confused.
    let read = |encoded: &str| {
        hexadecimal(encoded).or_else(|| {
            let bytes = STANDARD.decode(encoded).or_else(|_| STANDARD_NO_PAD.decode(encoded)).ok()?;
            bytes.try_into().ok()
        })
    };
    // Base64 may begin with a slash itself: only the length tells whether the second one belongs to it.
    rest.strip_prefix("//").and_then(read).or_else(|| rest.strip_prefix('/').and_then(read))
}

/// Reads exactly `N` octets of hexadecimal digits in any case, with a colon between all octets or none.
pub fn hexadecimal<const N: usize>(text: &str) -> Option<[u8; N]> {
    octets(text)?.try_into().ok()
}

/// Reads any number of octets (at least one) of hexadecimal digits, with a colon between all octets or none.
pub fn octets(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|value| u8::try_from(value).ok());
    let pair = |pair: &[u8]| match pair {
        [high, low] => Some(digit(*high)? * 16 + digit(*low)?),
        _ => None,
    };
    if text.contains(':') {
        text.split(':').map(|part| pair(part.as_bytes())).collect()
    } else if text.is_empty() {
        None
    } else {
        text.as_bytes().chunks(2).map(pair).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_gives_the_same() {
        let wanted: Digest = std::array::from_fn(|index| u8::try_from(index * 7 % 256).unwrap());
        let hex: String = wanted.iter().map(|byte| format!("{byte:02x}")).collect();
        let colons = wanted.iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":");
        let base64 = STANDARD.encode(wanted);
        let unpadded = STANDARD_NO_PAD.encode(wanted);
        for text in [
            hex.clone(),
            hex.to_uppercase(),
            colons.clone(),
            format!("sha256:{hex}"),
            format!("SHA256:{colons}"),
            format!("sha256/{hex}"),
            format!("sha256/{base64}"),
            format!("sha256//{base64}"),
            format!("sha256/{unpadded}"),
        ] {
            assert_eq!(digest(&text), Some(wanted), "{text}");
            assert_eq!(CertificateHash::parse(&text), Some(CertificateHash::Sha256(wanted)), "{text}");
        }
        for first in [[0xff, 0xff], [0xfc, 0x10]] {
            let mut wanted = wanted;
            wanted[..2].copy_from_slice(&first);
            let (base64, unpadded) = (STANDARD.encode(wanted), STANDARD_NO_PAD.encode(wanted));
            assert!(base64.starts_with('/'));
            for text in [format!("sha256/{base64}"), format!("sha256//{base64}"), format!("sha256/{unpadded}")] {
                assert_eq!(digest(&text), Some(wanted), "{text}");
            }
        }
        for text in [
            String::new(),
            "sha256".to_owned(),
            "sha256/".to_owned(),
            base64.clone(),
            hex.chars().skip(1).collect(),
            format!("{hex}00"),
            format!("{colons}:"),
            colons.replacen(':', "", 1),
            format!("sha256///{base64}"),
            "sha25\u{e9}/".to_owned(),
        ] {
            assert_eq!(digest(&text), None, "{text}");
        }
        assert_eq!(CertificateHash::parse(&"0a".repeat(20)), Some(CertificateHash::Sha1([10; 20])));
        assert_eq!(CertificateHash::parse(&"0a".repeat(19)), None);
    }
}
