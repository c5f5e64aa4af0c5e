//! The ECS `x509` object of a certificate, rendered once.

use serde::Serialize;

use super::{AlternativeName, Facts, Name, der};

#[derive(Serialize)]
struct X509<'a> {
    version_number: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    serial_number: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    issuer: Option<Dn<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<Dn<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    not_before: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    not_after: Option<String>,
    #[serde(skip_serializing_if = "str::is_empty")]
    signature_algorithm: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    public_key_algorithm: &'a str,
    #[serde(skip_serializing_if = "is_zero")]
    public_key_size: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    public_key_curve: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    public_key_exponent: Option<i64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    alternative_names: Vec<std::borrow::Cow<'a, str>>,
}

#[derive(Serialize)]
struct Dn<'a> {
    distinguished_name: &'a str,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    common_name: &'a [String],
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    country: &'a [String],
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    locality: &'a [String],
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    organization: &'a [String],
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    organizational_unit: &'a [String],
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    state_or_province: &'a [String],
}

impl<'a> Dn<'a> {
    /// `None` for the empty name, which is allowed where there are alternative names (RFC 5280 section 4.1.2.6).
    fn of(name: &'a Name) -> Option<Self> {
        (!name.text.is_empty()).then(|| Self {
            distinguished_name: &name.text,
            common_name: &name.common_names,
            country: &name.countries,
            locality: &name.localities,
            organization: &name.organizations,
            organizational_unit: &name.organizational_units,
            state_or_province: &name.states,
        })
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands out references")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// The object as JSON.
pub(crate) fn render(facts: &Facts) -> Box<str> {
    let names = facts.alternative_names.iter().map(AlternativeName::text);
    let object = X509 {
        version_number: facts.version.to_string(),
        serial_number: serial(&facts.serial),
        issuer: Dn::of(&facts.issuer),
        subject: Dn::of(&facts.subject),
        not_before: facts.not_before.map(|time| time.to_string()),
        not_after: facts.not_after.map(|time| time.to_string()),
        signature_algorithm: &facts.signature_algorithm,
        public_key_algorithm: facts.key.algorithm_name(),
        public_key_size: facts.key.bits,
        public_key_curve: facts.key.curve.as_deref(),
        public_key_exponent: facts.key.exponent_number(),
        alternative_names: names.filter(|name| !name.is_empty()).collect(),
    };
    // Strings and numbers only: there is nothing that JSON could not hold.
    crate::text::printable_json(serde_json::to_string(&object).unwrap_or_default()).into_boxed_str()
}

/// A serial number in upper-case hexadecimal as OpenSSL shows it: the sign octet left out, `-` before a negative one.
/// `None` when there are no octets.
pub(crate) fn serial(content: &[u8]) -> Option<String> {
    let mut text = String::with_capacity(content.len() * 2 + 1);
    match content {
        [] => return None,
        [0, rest @ ..] if !rest.is_empty() => der::push_hex(&mut text, rest),
        [first, ..] if *first >= 0x80 => {
            text.push('-');
            der::push_hex(&mut text, &negated(content));
        }
        _ => der::push_hex(&mut text, content),
    }
    Some(text)
}

/// The magnitude of a negative number in two's complement, without leading zeros.
fn negated(content: &[u8]) -> Vec<u8> {
    let mut magnitude: Vec<u8> = content.iter().map(|octet| !octet).collect();
    for octet in magnitude.iter_mut().rev() {
        let (sum, carry) = octet.overflowing_add(1);
        *octet = sum;
        if !carry {
            break;
        }
    }
    super::key::unsigned(&magnitude).to_vec()
}

impl AlternativeName {
    /// The name without its kind, as ECS lists it.
    pub fn text(&self) -> std::borrow::Cow<'_, str> {
        match self {
            Self::Ip(address) => address.to_string().into(),
            Self::Dns(text) | Self::Email(text) | Self::Uri(text) | Self::Directory(text) | Self::Other(text) => {
                text.as_str().into()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_reorder_a_line() {
        let mut facts = Facts::default();
        facts.subject.text = "CN=a\u{202e}fdp.exe".to_owned();
        facts.alternative_names = vec![AlternativeName::Dns("\u{2066}x\u{feff}".to_owned())];
        let json = render(&facts);
        assert!(!json.contains(crate::text::is_unsafe), "{json}");
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(value["subject"]["distinguished_name"], "CN=a\u{202e}fdp.exe");
        assert_eq!(value["alternative_names"][0], "\u{2066}x\u{feff}");
    }

    #[test]
    fn serials_are_shown_as_openssl_shows_them() {
        for (content, shown) in [
            (&[0x4a, 0x96][..], "4A96"),
            (&[0x01], "01"),
            (&[0x00], "00"),
            (&[0x00, 0x80], "80"),
            (&[0x00, 0x00, 0x01], "0001"),
            (&[0xff], "-01"),
            (&[0x80], "-80"),
            (&[0xff, 0x00], "-0100"),
            (&[0xff, 0x80], "-80"),
        ] {
            assert_eq!(serial(content).as_deref(), Some(shown));
        }
        assert_eq!(serial(&[]), None);
    }
}
