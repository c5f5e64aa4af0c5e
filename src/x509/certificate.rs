//! From the DER of a certificate to its facts (RFC 5280 section 4.1): hash first, parse later, never fail.

use md5::Digest as _;

use super::der::{self, Element, Reader};
use super::{Authority, Certificate, Facts, LeafText, Name, Sha256, extensions, json, key, name, note};
use crate::time::{Civil, ValidityTime};

impl Certificate {
    /// Hashes and reads one certificate as it was on the wire. `facts` stays `None` when the bytes have not the frame
    /// of a certificate; everything that is only odd is told in [`Facts::oddities`] and [`Facts::bad_extensions`].
    pub fn parse(der: &[u8]) -> Self {
        let facts = Facts::parse(der).map(Box::new);
        let x509_json = facts.as_deref().map(json::render).unwrap_or_default();
        let mut certificate = Self {
            der: der.into(),
            sha256: Sha256(sha2::Sha256::digest(der).into()),
            sha1: sha1::Sha1::digest(der).into(),
            md5: md5::Md5::digest(der).into(),
            facts,
            x509_json,
            ..Self::default()
        };
        certificate.known_weight = certificate.weigh();
        certificate.known_authority = Some(certificate.authority());
        certificate
    }

    /// Whether it is one of a CA.
    pub fn authority(&self) -> Authority {
        // Asked for each time that the certificate is shown; the facts lie far away.
        if let Some(known) = self.known_authority {
            return known;
        }
        match self.facts.as_deref() {
            Some(facts) if facts.basic_constraints.is_some_and(|(ca, _)| ca) => {
                if facts.subject.normalized == facts.issuer.normalized {
                    Authority::SelfIssued
                } else {
                    Authority::Issued
                }
            }
            _ => Authority::No,
        }
    }

    /// Bytes of memory that this certificate holds, about.
    pub fn weight(&self) -> usize {
        // Asked for each time that the certificate is shown.
        if self.known_weight > 0 { self.known_weight } else { self.weigh() }
    }

    fn weigh(&self) -> usize {
        let facts = self.facts.as_deref().map_or(0, Facts::weight);
        size_of::<Self>() + size_of::<LeafText>() + self.der.len() + 2 * self.x509_json.len() + facts
    }
}

impl Facts {
    fn parse(der: &[u8]) -> Option<Self> {
        let mut facts = Self::default();
        let mut input = Reader::new(der);
        let certificate = input.tagged(der::SEQUENCE)?;
        if !input.rest().is_empty() {
            note(&mut facts.oddities, "trailing_data");
        }
        let mut outer = certificate.reader();
        let tbs = outer.tagged(der::SEQUENCE)?;
        facts.tbs = der::range_in(der, tbs.whole);
        if certificate.padded_length || tbs.padded_length {
            note(&mut facts.oddities, "padded_length");
        }
        let inner_algorithm = facts.read_tbs(&tbs, der)?;
        facts.read_signature(&mut outer, &inner_algorithm);
        Some(facts)
    }

    /// Reads the TBSCertificate and returns its `signature` field.
    fn read_tbs<'a>(&mut self, tbs: &Element<'a>, der: &[u8]) -> Option<Element<'a>> {
        let mut fields = tbs.reader();
        self.version = match fields.tagged(0xa0) {
            None => 1,
            Some(wrapper) => match wrapper.reader().tagged(der::INTEGER).map(|number| number.content) {
                Some([version @ 0..=9]) => u32::from(*version) + 1,
                _ => 0,
            },
        };
        if !(1..=3).contains(&self.version) {
            note(&mut self.oddities, "unknown_version");
        }
        match fields.tagged(der::INTEGER) {
            Some(serial) => self.read_serial(serial.content),
            None => note(&mut self.oddities, "absent_serial"),
        }
        let algorithm = fields.tagged(der::SEQUENCE)?;
        let issuer = fields.tagged(der::SEQUENCE)?;
        let validity = fields.tagged(der::SEQUENCE)?;
        let subject = fields.tagged(der::SEQUENCE)?;
        let spki = fields.tagged(der::SEQUENCE)?;
        self.issuer = name::parse(&issuer, &mut self.oddities);
        self.subject = name::parse(&subject, &mut self.oddities);
        self.read_validity(&validity);
        self.spki = der::range_in(der, spki.whole);
        self.spki_sha256 = Sha256(sha2::Sha256::digest(spki.whole).into());
        self.key = key::parse(&spki, &mut self.oddities);
        self.key_sha1 = sha1::Sha1::digest(&self.key.bytes).into();
        for field in fields.by_ref() {
            match field.tag {
                0xa3 => {
                    if self.version != 3 {
                        note(&mut self.oddities, "extensions_without_version_3");
                    }
                    extensions::parse(&field, self);
                }
                // issuerUniqueID and subjectUniqueID, in either encoding.
                0x81 | 0x82 | 0xa1 | 0xa2 => {}
                _ => note(&mut self.oddities, "unknown_field"),
            }
        }
        if !fields.rest().is_empty() {
            note(&mut self.oddities, "malformed_tbs");
        }
        Some(algorithm)
    }

    fn read_serial(&mut self, content: &[u8]) {
        self.serial = content.into();
        let oddity = match content {
            [] => "empty_serial",
            [0] => "zero_serial",
            [0, next, ..] if *next < 0x80 => "padded_serial",
            [first, ..] if *first >= 0x80 => "negative_serial",
            _ if content.len() > 20 => "long_serial",
            _ => return,
        };
        note(&mut self.oddities, oddity);
        if content.len() > 20 {
            note(&mut self.oddities, "long_serial");
        }
    }

    fn read_validity(&mut self, validity: &Element<'_>) {
        let mut times = validity.reader();
        let mut read = || times.element().and_then(|time| parse_time(&time, &mut self.oddities));
        (self.not_before, self.not_after) = (read(), read());
        if self.not_before.is_none() || self.not_after.is_none() {
            note(&mut self.oddities, "malformed_time");
        }
        if let (Some(first), Some(last)) = (self.not_before, self.not_after)
            && last < first
        {
            note(&mut self.oddities, "reversed_validity");
        }
    }

    fn read_signature(&mut self, outer: &mut Reader<'_>, inner: &Element<'_>) {
        let algorithm = outer.tagged(der::SEQUENCE);
        match &algorithm {
            None => note(&mut self.oddities, "malformed_signature"),
            // RFC 5280 section 4.1.1.2: both fields are the same.
            Some(algorithm) if algorithm.content != inner.content => {
                note(&mut self.oddities, "signature_algorithm_mismatch");
            }
            Some(_) => {}
        }
        let mut fields = algorithm.as_ref().unwrap_or(inner).reader();
        if let Some(oid) = fields.tagged(der::OID) {
            self.signature_oid = der::dotted(oid.content);
        }
        let parameters = fields.element();
        self.signature_parameters = parameters.map(|parameters| parameters.whole.into()).unwrap_or_default();
        self.signature_algorithm = algorithm_name(&self.signature_oid, &self.signature_parameters);
        match outer.element().and_then(|bits| bits.bits()) {
            Some(bits) => self.signature = bits.into(),
            None => note(&mut self.oddities, "malformed_signature"),
        }
        if !outer.rest().is_empty() {
            note(&mut self.oddities, "trailing_data");
        }
    }

    fn weight(&self) -> usize {
        let strings = |list: &[String]| list.iter().map(|text| size_of::<String>() + 16 + text.len()).sum::<usize>();
        let name = |name: &Name| {
            name.der.len()
                + name.text.len()
                + name.normalized.len()
                + [
                    &name.common_names,
                    &name.organizations,
                    &name.organizational_units,
                    &name.countries,
                    &name.localities,
                    &name.states,
                    &name.emails,
                ]
                .into_iter()
                .map(|list| strings(list))
                .sum::<usize>()
        };
        let alternative: usize = self
            .alternative_names
            .iter()
            .map(|name| match name {
                super::AlternativeName::Ip(_) => 32,
                super::AlternativeName::Dns(text)
                | super::AlternativeName::Email(text)
                | super::AlternativeName::Uri(text)
                | super::AlternativeName::Directory(text)
                | super::AlternativeName::Other(text) => 48 + text.len(),
            })
            .sum();
        let constraints = self
            .name_constraints
            .as_ref()
            .map_or(0, |constraints| (constraints.permitted.len() + constraints.excluded.len()).saturating_mul(64));
        let lists = [&self.ocsp_urls, &self.ca_issuer_urls, &self.crl_urls, &self.policies, &self.bad_extensions];
        size_of::<Self>()
            + name(&self.subject)
            + name(&self.issuer)
            + alternative
            + constraints
            + lists.into_iter().map(|list| strings(list)).sum::<usize>()
            + strings(&self.alternative_directories)
            + self.extended_key_usage.as_deref().map_or(0, strings)
            + self.extensions.len() * 64
            + self.scts.len() * size_of::<super::Sct>()
            + self.serial.len()
            + self.signature.len()
            + self.signature_parameters.len()
            + self.key.bytes.len() * 2
    }
}

/// Reads UTCTime or GeneralizedTime (RFC 5280 section 4.1.2.5), also with an offset, without seconds, with a fraction.
fn parse_time(time: &Element<'_>, oddities: &mut Vec<&'static str>) -> Option<ValidityTime> {
    let mut digits = time.content.iter().copied().peekable();
    let mut pair = |required: bool| -> Option<Option<i64>> {
        match digits.peek() {
            Some(b'0'..=b'9') => {}
            _ => return if required { None } else { Some(None) },
        }
        let tens = digits.next()?;
        let ones = digits.next().filter(u8::is_ascii_digit)?;
        Some(Some(i64::from(tens - b'0') * 10 + i64::from(ones - b'0')))
    };
    let year = match time.tag {
        der::UTC_TIME => {
            let short = pair(true)??;
            // Two digits mean 1950 to 2049.
            if short < 50 { 2_000 + short } else { 1_900 + short }
        }
        der::GENERALIZED_TIME => pair(true)?? * 100 + pair(true)??,
        _ => return None,
    };
    let (month, day, hour) = (pair(true)??, pair(true)??, pair(true)??);
    let minute = pair(time.tag == der::UTC_TIME)?;
    let second = if minute.is_some() { pair(false)? } else { None };
    if second.is_none() {
        note(oddities, "time_without_seconds");
    }
    let rest: Vec<u8> = digits.collect();
    let fraction = match rest.split_first() {
        Some((b'.' | b',', after)) => 1 + after.iter().take_while(|digit| digit.is_ascii_digit()).count(),
        _ => 0,
    };
    if fraction > 0 {
        note(oddities, "time_with_fraction");
    }
    let offset = match rest.get(fraction..)? {
        b"Z" => 0,
        [] => {
            note(oddities, "time_without_zone");
            0
        }
        [sign @ (b'+' | b'-'), h1, h2, m1, m2] if [h1, h2, m1, m2].iter().all(|digit| digit.is_ascii_digit()) => {
            note(oddities, if time.tag == der::UTC_TIME { "utc_time_offset" } else { "generalized_time_offset" });
            let number = |tens: u8, ones: u8| i64::from(tens - b'0') * 10 + i64::from(ones - b'0');
            let seconds = number(*h1, *h2) * 3_600 + number(*m1, *m2) * 60;
            if *sign == b'+' { seconds } else { -seconds }
        }
        _ => return None,
    };
    let civil = Civil {
        year,
        month: small(month, 1..=12)?,
        day: small(day, 1..=31)?,
        hour: small(hour, 0..=23)?,
        minute: small(minute.unwrap_or(0), 0..=59)?,
        second: small(second.unwrap_or(0), 0..=60)?,
    };
    let at_midnight = Civil { hour: 0, minute: 0, second: 0, ..civil };
    if Civil::of(at_midnight.seconds()) != at_midnight {
        // 31 April and its like.
        return None;
    }
    Some(ValidityTime(civil.seconds() - offset))
}

fn small(value: i64, range: std::ops::RangeInclusive<i64>) -> Option<u8> {
    if range.contains(&value) { u8::try_from(value).ok() } else { None }
}

/// The name that Go's crypto/x509 gives a signature algorithm, formed alike where Go has none, else the OID.
pub(crate) fn algorithm_name(oid: &str, parameters: &[u8]) -> String {
    let known = match oid {
        "1.2.840.113549.1.1.2" => "MD2-RSA",
        "1.2.840.113549.1.1.3" => "MD4-RSA",
        "1.2.840.113549.1.1.4" | "1.3.14.3.2.3" | "1.3.14.3.2.25" => "MD5-RSA",
        "1.2.840.113549.1.1.5" | "1.3.14.3.2.29" | "1.3.14.3.2.15" => "SHA1-RSA",
        "1.2.840.113549.1.1.14" => "SHA224-RSA",
        "1.2.840.113549.1.1.11" => "SHA256-RSA",
        "1.2.840.113549.1.1.12" => "SHA384-RSA",
        "1.2.840.113549.1.1.13" => "SHA512-RSA",
        "1.2.840.113549.1.1.15" => "SHA512/224-RSA",
        "1.2.840.113549.1.1.16" => "SHA512/256-RSA",
        "1.2.840.113549.1.1.10" => match pss_hash(parameters) {
            Some("1.3.14.3.2.26") => "SHA1-RSAPSS",
            Some("2.16.840.1.101.3.4.2.4") => "SHA224-RSAPSS",
            Some("2.16.840.1.101.3.4.2.1") => "SHA256-RSAPSS",
            Some("2.16.840.1.101.3.4.2.2") => "SHA384-RSAPSS",
            Some("2.16.840.1.101.3.4.2.3") => "SHA512-RSAPSS",
            _ => "RSAPSS",
        },
        "1.2.840.10040.4.3" => "DSA-SHA1",
        "2.16.840.1.101.3.4.3.1" => "DSA-SHA224",
        "2.16.840.1.101.3.4.3.2" => "DSA-SHA256",
        "1.2.840.10045.4.1" => "ECDSA-SHA1",
        "1.2.840.10045.4.3.1" => "ECDSA-SHA224",
        "1.2.840.10045.4.3.2" => "ECDSA-SHA256",
        "1.2.840.10045.4.3.3" => "ECDSA-SHA384",
        "1.2.840.10045.4.3.4" => "ECDSA-SHA512",
        "1.3.101.112" => "Ed25519",
        "1.3.101.113" => "Ed448",
        "1.2.156.10197.1.501" => "SM2-SM3",
        "2.16.840.1.101.3.4.3.17" => "ML-DSA-44",
        "2.16.840.1.101.3.4.3.18" => "ML-DSA-65",
        "2.16.840.1.101.3.4.3.19" => "ML-DSA-87",
        other => other,
    };
    known.to_owned()
}

/// The hash of RSASSA-PSS-params (RFC 4055 section 3.1), one of those known; SHA-1 where the field is left out.
fn pss_hash(parameters: &[u8]) -> Option<&'static str> {
    const HASHES: [&str; 5] = [
        "1.3.14.3.2.26",
        "2.16.840.1.101.3.4.2.1",
        "2.16.840.1.101.3.4.2.2",
        "2.16.840.1.101.3.4.2.3",
        "2.16.840.1.101.3.4.2.4",
    ];
    let Some(hash) = Reader::new(parameters).tagged(der::SEQUENCE)?.reader().tagged(0xa0) else {
        return Some("1.3.14.3.2.26");
    };
    let oid = hash.reader().tagged(der::SEQUENCE)?.reader().tagged(der::OID)?;
    let dotted = der::dotted(oid.content);
    HASHES.into_iter().find(|known| *known == dotted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_is_what_would_be_found() {
        let roots = webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().map(|root| root.as_ref());
        for der in roots.chain([&b"not a certificate"[..]]) {
            let parsed = Certificate::parse(der);
            let unknown = Certificate { known_weight: 0, known_authority: None, ..parsed.clone() };
            assert!(parsed.known_weight > der.len());
            assert_eq!(parsed.weight(), unknown.weight());
            assert_eq!(parsed.authority(), unknown.authority());
            let expected = if parsed.facts.is_some() { Authority::SelfIssued } else { Authority::No };
            assert_eq!(parsed.known_authority, Some(expected));
        }
    }
}
