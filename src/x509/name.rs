//! Names: distinguished names as text (RFC 4514) and for comparison (RFC 5280 section 7.1), host names (RFC 9525).

use std::net::IpAddr;

use super::der::{self, Element, Reader};
use super::{AlternativeName, Facts, Name, text};

/// Attributes of one name that are kept: more than any real name has, so that a hostile one costs little.
const MAX_ATTRIBUTES: usize = 512;

/// Attribute types with a name: contents of the OID, name. The first nine are those of RFC 4514 section 3; the others are
/// what OpenSSL calls attributes that certificates often have.
const SHORT_NAMES: [(&[u8], &str); 24] = [
    (&[0x55, 4, 3], "CN"),
    (&[0x55, 4, 7], "L"),
    (&[0x55, 4, 8], "ST"),
    (&[0x55, 4, 10], "O"),
    (&[0x55, 4, 11], "OU"),
    (&[0x55, 4, 6], "C"),
    (&[0x55, 4, 9], "STREET"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 0x01, 0x19], "DC"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 0x01, 0x01], "UID"),
    (EMAIL_ADDRESS, "emailAddress"),
    (&[0x55, 4, 4], "SN"),
    (&[0x55, 4, 5], "serialNumber"),
    (&[0x55, 4, 12], "title"),
    (&[0x55, 4, 15], "businessCategory"),
    (&[0x55, 4, 17], "postalCode"),
    (&[0x55, 4, 41], "name"),
    (&[0x55, 4, 42], "GN"),
    (&[0x55, 4, 43], "initials"),
    (&[0x55, 4, 44], "generationQualifier"),
    (&[0x55, 4, 46], "dnQualifier"),
    (&[0x55, 4, 97], "organizationIdentifier"),
    (&[0x2b, 6, 1, 4, 1, 0x82, 0x37, 60, 2, 1, 1], "jurisdictionL"),
    (&[0x2b, 6, 1, 4, 1, 0x82, 0x37, 60, 2, 1, 2], "jurisdictionST"),
    (&[0x2b, 6, 1, 4, 1, 0x82, 0x37, 60, 2, 1, 3], "jurisdictionC"),
];

/// emailAddress of PKCS #9, which RFC 4514 gives no short name.
const EMAIL_ADDRESS: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x01];

/// The Name that these octets are; `None` when they are something else, or more.
pub(crate) fn name_of(octets: &[u8]) -> Option<Name> {
    let mut outer = Reader::new(octets);
    let name = outer.tagged(der::SEQUENCE)?;
    outer.rest().is_empty().then(|| parse(&name, &mut Vec::new()))
}

/// Reads a Name; what does not parse inside it is left out and told in `oddities`.
pub(crate) fn parse(name: &Element<'_>, oddities: &mut Vec<&'static str>) -> Name {
    let mut parsed = Name { der: name.whole.into(), ..Name::default() };
    let mut attributes = 0;
    let mut rdns: Vec<String> = Vec::new();
    let mut odd = |what| super::note(oddities, what);
    let mut outer = name.reader();
    for rdn in outer.by_ref() {
        let mut shown = String::new();
        let mut folded: Vec<String> = Vec::new();
        if rdn.tag != der::SET {
            odd("malformed_name");
        }
        let mut inner = rdn.reader();
        for pair in inner.by_ref() {
            attributes += 1;
            if attributes > MAX_ATTRIBUTES {
                odd("name_cut");
                break;
            }
            let mut parts = pair.reader();
            let (Some(kind), Some(value)) = (parts.tagged(der::OID), parts.element()) else {
                odd("malformed_name");
                continue;
            };
            let decoded = text::decode(value.tag, value.content);
            if decoded.as_ref().is_some_and(|(_, broken)| *broken) {
                odd("malformed_string");
            }
            let decoded = decoded.map(|(text, _)| text);
            if decoded.as_ref().is_some_and(|text| text.contains('\0')) {
                odd("nul_in_name");
            }
            if !shown.is_empty() {
                shown.push('+');
            }
            push_attribute(&mut shown, kind.content, (decoded.as_deref(), value.whole));
            folded.push(fold_attribute(kind.content, decoded.as_deref().ok_or(value.whole)));
            if let (Some(list), Some(text)) = (parsed.list_of(kind.content), decoded.filter(|text| !text.is_empty())) {
                list.push(text::escaped(&text));
            }
        }
        if !inner.rest().is_empty() && attributes <= MAX_ATTRIBUTES {
            odd("malformed_name");
        }
        if attributes > MAX_ATTRIBUTES && shown.is_empty() {
            break;
        }
        folded.sort_unstable();
        if !parsed.normalized.is_empty() {
            parsed.normalized.push(',');
        }
        parsed.normalized.push_str(&folded.join("+"));
        rdns.push(shown);
    }
    if !outer.rest().is_empty() && attributes <= MAX_ATTRIBUTES {
        odd("malformed_name");
    }
    rdns.reverse();
    parsed.text = rdns.join(",");
    parsed
}

impl Name {
    fn list_of(&mut self, kind: &[u8]) -> Option<&mut Vec<String>> {
        match kind {
            [0x55, 4, 3] => Some(&mut self.common_names),
            [0x55, 4, 6] => Some(&mut self.countries),
            [0x55, 4, 7] => Some(&mut self.localities),
            [0x55, 4, 8] => Some(&mut self.states),
            [0x55, 4, 10] => Some(&mut self.organizations),
            [0x55, 4, 11] => Some(&mut self.organizational_units),
            EMAIL_ADDRESS => Some(&mut self.emails),
            _ => None,
        }
    }
}

/// Appends `TYPE=value` of RFC 4514 section 2.3 and 2.4. A value that is no text, or whose type has no name, comes as its DER.
fn push_attribute(out: &mut String, kind: &[u8], (value, encoded): (Option<&str>, &[u8])) {
    let short = SHORT_NAMES.iter().find(|(oid, _)| *oid == kind).map(|(_, short)| *short);
    match short {
        Some(short) => out.push_str(short),
        None => out.push_str(&der::dotted(kind)),
    }
    out.push('=');
    let Some(text) = value.filter(|_| short.is_some()) else { return out.push_str(&der::hexadecimal(encoded)) };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b' ' | b'.' | b'-' | b'@' | b'(' | b')');
    if text.bytes().all(plain) && !text.starts_with(' ') && !text.ends_with(' ') {
        return out.push_str(text);
    }
    let last = text.chars().count().saturating_sub(1);
    for (at, character) in text.chars().enumerate() {
        match character {
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' => {
                out.push('\\');
                out.push(character);
            }
            ' ' if at == 0 || at == last => out.push_str("\\ "),
            '#' if at == 0 => out.push_str("\\#"),
            _ => text::push_visible(out, character),
        }
    }
}

/// One attribute for comparison: case and string type do not matter, nor does the amount of white space.
fn fold_attribute(kind: &[u8], value: Result<&str, &[u8]>) -> String {
    let mut out = String::with_capacity(kind.len() * 2 + 24);
    der::push_hex(&mut out, kind);
    out.push('=');
    match value {
        Err(encoded) => out.push_str(&der::hexadecimal(encoded)),
        Ok(text) => {
            for (at, word) in text.split(char::is_whitespace).filter(|word| !word.is_empty()).enumerate() {
                if at > 0 {
                    out.push(' ');
                }
                if word.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-')) {
                    out.extend(word.bytes().map(|byte| char::from(byte.to_ascii_lowercase())));
                    continue;
                }
                for character in word.chars().flat_map(char::to_lowercase) {
                    // The separators of the whole string must not be forged by a value.
                    if matches!(character, ',' | '+' | '=' | '\\' | '#') {
                        out.push('\\');
                    }
                    out.push(character);
                }
            }
        }
    }
    out
}

/// A Name as RFC 4514 text; `None` where it does not parse.
pub fn distinguished_name(der: &[u8]) -> Option<String> {
    let mut reader = Reader::new(der);
    let name = reader.tagged(der::SEQUENCE).filter(|_| reader.rest().is_empty())?;
    let mut oddities = Vec::new();
    let parsed = parse(&name, &mut oddities);
    let whole = !oddities.iter().any(|odd| matches!(*odd, "malformed_name" | "name_cut"));
    whole.then_some(parsed.text)
}

/// Reads one GeneralName (RFC 5280 section 4.2.1.6).
pub(crate) fn general_name(element: &Element<'_>, oddities: &mut Vec<&'static str>) -> AlternativeName {
    let plain = |content: &[u8], oddities: &mut Vec<&'static str>| {
        if content.contains(&0) {
            super::note(oddities, "nul_in_name");
        }
        // All three are IA5Strings.
        if !content.is_ascii() {
            super::note(oddities, "malformed_string");
        }
        text::escaped(&text::lenient(content))
    };
    match element.tag & 0x9f {
        0x81 => AlternativeName::Email(plain(element.content, oddities)),
        0x82 => AlternativeName::Dns(plain(element.content, oddities)),
        0x86 => AlternativeName::Uri(plain(element.content, oddities)),
        0x87 => match address(element.content) {
            Some(ip) => AlternativeName::Ip(ip),
            None => {
                super::note(oddities, "malformed_ip_address");
                AlternativeName::Other(format!("iPAddress:{}", der::hexadecimal(element.content)))
            }
        },
        0x84 => match Reader::new(element.content).tagged(der::SEQUENCE) {
            Some(name) => AlternativeName::Directory(parse(&name, oddities).text),
            None => AlternativeName::Other(format!("directoryName:{}", der::hexadecimal(element.content))),
        },
        0x88 => AlternativeName::Other(format!("registeredID:{}", der::dotted(element.content))),
        0x80 => {
            let kind = Reader::new(element.content).tagged(der::OID);
            let kind = kind.map_or_else(|| der::hexadecimal(element.content), |oid| der::dotted(oid.content));
            AlternativeName::Other(format!("otherName:{kind}"))
        }
        0x83 => AlternativeName::Other("x400Address".to_owned()),
        0x85 => AlternativeName::Other("ediPartyName".to_owned()),
        _ => AlternativeName::Other(der::hexadecimal(element.whole)),
    }
}

/// An address of 4 or 16 octets.
pub(crate) fn address(octets: &[u8]) -> Option<IpAddr> {
    if let Ok(four) = <[u8; 4]>::try_from(octets) {
        return Some(IpAddr::from(four));
    }
    <[u8; 16]>::try_from(octets).ok().map(IpAddr::from)
}

/// The certificate is for this host (RFC 9525): an address by iPAddress, a name by dNSName with a wildcard as the whole
/// leftmost label; commonName counts only where there is no subjectAltName at all.
pub fn matches_host(facts: &Facts, host: &str) -> bool {
    let only_common_name =
        facts.alternative_names.is_empty() && !facts.extensions.iter().any(|(oid, _)| oid == "2.5.29.17");
    let bare = host.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(host);
    if let Ok(wanted) = bare.parse::<IpAddr>() {
        return if only_common_name {
            facts.subject.common_names.iter().any(|name| name.parse() == Ok(wanted))
        } else {
            facts.alternative_names.contains(&AlternativeName::Ip(wanted))
        };
    }
    if only_common_name {
        return facts.subject.common_names.iter().any(|name| matches_pattern(name, host));
    }
    facts
        .alternative_names
        .iter()
        .any(|name| matches!(name, AlternativeName::Dns(pattern) if matches_pattern(pattern, host)))
}

/// A presented dNSName matches a host name (RFC 9525 section 6.3): A-labels, case folded, one trailing dot allowed.
pub fn matches_pattern(pattern: &str, host: &str) -> bool {
    let pattern = pattern.strip_suffix('.').unwrap_or(pattern);
    let host = host.strip_suffix('.').unwrap_or(host);
    if host.is_empty() || pattern.is_empty() || host.starts_with('.') {
        return false;
    }
    match pattern.strip_prefix("*.") {
        // `*.com` may be presented; whether it should be is a matter of rules, not of the match. An empty or
        // wildcard-bearing rest matches nothing.
        Some(rest) => host.split_once('.').is_some_and(|(label, parent)| {
            !label.is_empty() && !rest.is_empty() && !rest.contains('*') && parent.eq_ignore_ascii_case(rest)
        }),
        None => !pattern.contains('*') && pattern.eq_ignore_ascii_case(host),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_stand_for_one_whole_label() {
        for (pattern, host, matches) in [
            ("example.com", "example.com", true),
            ("example.com", "EXAMPLE.com.", true),
            ("example.com.", "example.com", true),
            ("*.example.com", "www.example.com", true),
            ("*.Example.com", "WWW.example.com.", true),
            ("*.example.com", "example.com", false),
            ("*.example.com", "a.b.example.com", false),
            ("*.example.com", ".example.com", false),
            ("*.*.example.com", "a.b.example.com", false),
            ("www.*.com", "www.example.com", false),
            ("w*.example.com", "www.example.com", false),
            ("*w.example.com", "www.example.com", false),
            ("*", "example", false),
            ("*.", "example.", false),
            ("*.com", "example.com", true),
            ("xn--bcher-kva.example", "XN--BCHER-KVA.example", true),
            ("*.example.com", "xn--bcher-kva.example.com", true),
            ("", "", false),
            ("example.com", "", false),
            ("example.com\\x00.evil.org", "example.com", false),
        ] {
            assert_eq!(matches_pattern(pattern, host), matches, "{pattern} {host}");
        }
    }

    #[test]
    fn alternative_names_push_the_common_name_out() {
        let mut facts = Facts::default();
        facts.subject.common_names = vec!["host.example".to_owned(), "192.0.2.1".to_owned()];
        assert!(matches_host(&facts, "host.example"));
        assert!(matches_host(&facts, "192.0.2.1") && !matches_host(&facts, "192.0.2.2"));
        facts.alternative_names = vec![AlternativeName::Email("a@b".to_owned())];
        assert!(!matches_host(&facts, "host.example"));
        assert!(!matches_host(&facts, "192.0.2.1"));
        facts.alternative_names = vec![
            AlternativeName::Dns("other.example".to_owned()),
            AlternativeName::Dns("192.0.2.7".to_owned()),
            AlternativeName::Ip("2001:db8::1".parse().unwrap()),
        ];
        assert!(matches_host(&facts, "other.example"));
        assert!(matches_host(&facts, "[2001:DB8::1]"));
        assert!(!matches_host(&facts, "192.0.2.7"), "a dNSName is no address");
        assert!(!matches_host(&facts, "host.example"));
    }

    fn value(tag: u8, content: &[u8]) -> Vec<u8> {
        let length = u16::try_from(content.len()).unwrap().to_be_bytes();
        [&[tag, 0x82][..], &length, content].concat()
    }

    fn pair(kind: u8, text: &str) -> Vec<u8> {
        value(der::SEQUENCE, &[value(der::OID, &[0x55, 4, kind]), value(0x0c, text.as_bytes())].concat())
    }

    /// A name of these relative distinguished names, and behind them these octets; and what is odd about it.
    fn named(rdns: &[Vec<Vec<u8>>], behind: &[u8]) -> (Name, Vec<&'static str>) {
        let rdns: Vec<u8> = rdns.iter().flat_map(|pairs| value(der::SET, &pairs.concat())).collect();
        let octets = value(der::SEQUENCE, &[&rdns[..], behind].concat());
        let mut oddities = Vec::new();
        let name = parse(&Reader::new(&octets).element().unwrap(), &mut oddities);
        let whole = !oddities.iter().any(|odd| ["malformed_name", "name_cut"].contains(odd));
        assert_eq!(distinguished_name(&octets), whole.then(|| name.text.clone()));
        (name, oddities)
    }

    #[test]
    fn no_value_looks_like_more_of_the_name() {
        const COMMON: u8 = 3;
        const ORGANIZATION: u8 = 10;
        let one = |text: &str| named(&[vec![pair(COMMON, text)]], &[]).0;
        for (text, shown) in [
            ("a b", "CN=a b"),
            (" a", "CN=\\ a"),
            ("a ", "CN=a\\ "),
            (" ", "CN=\\ "),
            ("#a#", "CN=\\#a#"),
            ("a,O=b", "CN=a\\,O=b"),
            ("a+b", "CN=a\\+b"),
        ] {
            assert_eq!(one(text).text, shown);
        }
        let two = named(&[vec![pair(COMMON, "a")], vec![pair(ORGANIZATION, "b")]], &[]).0;
        let house = named(&[vec![pair(ORGANIZATION, "b")]], &[]).0.normalized;
        assert_eq!(two.normalized, format!("{},{house}", one("a").normalized));
        let pairs = [pair(COMMON, "a"), pair(ORGANIZATION, "b")];
        let both = named(&[pairs.to_vec()], &[]).0;
        assert_eq!((two.text.as_str(), both.text.as_str()), ("O=b,CN=a", "CN=a+O=b"));
        let back = named(&[pairs.iter().rev().cloned().collect()], &[]).0;
        assert_eq!(back.normalized, both.normalized, "a set has no order");
        let normal = [&two.normalized, &both.normalized, &one("a").normalized];
        for (forged, known) in [(",", normal[0]), ("+", normal[1])] {
            let value = known.split_once(forged).unwrap().1;
            assert_ne!(&one(&format!("a{forged}{value}")).normalized, known);
            assert_ne!(normal[2], known);
        }
        for (text, same, other) in
            [("Some  House", " some house ", "somehouse"), ("GRÖE", "gröe", "groe"), ("a.b-c", "A.B-C", "a.b c")]
        {
            assert_eq!(one(text).normalized, one(same).normalized, "{text}");
            assert_ne!(one(text).normalized, one(other).normalized, "{text}");
        }
    }

    #[test]
    fn what_is_left_out_of_a_name_is_told() {
        let many = |count: usize| vec![pair(3, "a"); count];
        let apart = |count: usize| many(count).into_iter().map(|one| vec![one]).collect::<Vec<_>>();
        assert_eq!(named(&apart(2), &[]).1, [""; 0]);
        assert_eq!(named(&apart(2), &[0x31]).1, ["malformed_name"], "less than an element");
        assert_eq!(named(&apart(1), &value(der::SEQUENCE, &pair(3, "a"))).1, ["malformed_name"], "not a set");
        assert_eq!(named(&[vec![pair(3, "a"), vec![0x30]]], &[]).1, ["malformed_name"], "less than a pair");
        assert_eq!(named(&[vec![value(der::SEQUENCE, &[5, 0])]], &[]).1, ["malformed_name"], "no pair");
        for rdns in [apart(600), vec![many(600)], vec![many(500), many(500)]] {
            let (name, oddities) = named(&rdns, &[]);
            assert_eq!((name.common_names.len(), oddities), (MAX_ATTRIBUTES, vec!["name_cut"]));
            assert_eq!(name.text.matches("CN=").count(), MAX_ATTRIBUTES);
            assert_eq!(name.text.len(), MAX_ATTRIBUTES * 5 - 1, "nothing empty in it");
        }
        assert_eq!(named(&apart(MAX_ATTRIBUTES), &[]).1, [""; 0]);
    }
}
