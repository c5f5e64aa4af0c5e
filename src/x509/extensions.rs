//! Extensions (RFC 5280 section 4.2, RFC 6962, RFC 7633), each on its own: a bad one hides nobody.

use std::net::IpAddr;

use x509_parser::extensions::{DistributionPointName, GeneralName, ParsedExtension, X509Extension};
use x509_parser::prelude::FromDer;

use super::der::{self, Element, Reader};
use super::{AlternativeName, Facts, NameConstraints, Sct, Sha256, Subtree, Validation, name, note, text};

/// Entries of one list that are kept. No public CA issues more than about 2,000 names; a hostile list of the longest
/// message would else cost a hundred times its size.
const MAX_ENTRIES: usize = 4_096;
/// Extensions that are kept.
const MAX_EXTENSIONS: usize = 128;

/// Reads `[3] Extensions` of a TBSCertificate into `facts`.
pub(crate) fn parse(wrapper: &Element<'_>, facts: &mut Facts) {
    let Some(list) = wrapper.reader().tagged(der::SEQUENCE) else {
        return note(&mut facts.oddities, "malformed_extensions");
    };
    let mut reader = list.reader();
    for extension in reader.by_ref() {
        if facts.extensions.len() >= MAX_EXTENSIONS {
            return note(&mut facts.oddities, "extensions_cut");
        }
        parse_one(&extension, facts);
    }
    if !reader.rest().is_empty() {
        note(&mut facts.oddities, "malformed_extensions");
    }
}

fn parse_one(extension: &Element<'_>, facts: &mut Facts) {
    let mut fields = extension.reader();
    let Some(oid) = fields.tagged(der::OID) else {
        return note(&mut facts.oddities, "malformed_extensions");
    };
    let critical = fields.tagged(der::BOOLEAN).is_some_and(|flag| flag.content.iter().any(|octet| *octet != 0));
    let dotted = der::dotted(oid.content);
    if facts.extensions.iter().any(|(seen, _)| *seen == dotted) {
        // RFC 5280 section 4.2 forbids a second one; the first is believed, as browsers do.
        note(&mut facts.oddities, "duplicate_extension");
        return facts.extensions.push((dotted, critical));
    }
    let value = fields.tagged(der::OCTET_STRING);
    let understood = match (oid.content, value) {
        (_, None) => false,
        ([0x55, 0x1d, 0x11], Some(value)) => alternative_names(value.content, facts),
        ([0x55, 0x1d, 0x25], Some(value)) => key_purposes(value.content, facts),
        // TLS feature (RFC 7633): x509-parser does not know it.
        ([0x2b, 6, 1, 5, 5, 7, 1, 0x18], Some(value)) => tls_feature(value.content, facts),
        // Poison of a precertificate (RFC 6962 section 3.1).
        ([0x2b, 6, 1, 4, 1, 0xd6, 0x79, 2, 4, 3], Some(_)) => {
            facts.precertificate = true;
            true
        }
        ([0x55, 0x1d, 0x0e | 0x0f | 0x13 | 0x1e | 0x1f | 0x20 | 0x23], Some(_))
        | ([0x2b, 6, 1, 5, 5, 7, 1, 1], Some(_))
        | ([0x2b, 6, 1, 4, 1, 0xd6, 0x79, 2, 4, 2], Some(_)) => match X509Extension::from_der(extension.whole) {
            Ok((_, parsed)) => take_parsed(parsed.parsed_extension(), facts),
            Err(_) => false,
        },
        _ => true,
    };
    if !understood {
        facts.bad_extensions.push(dotted.clone());
    }
    facts.extensions.push((dotted, critical));
}

/// Takes over what x509-parser read; `false` when it did not understand.
fn take_parsed(parsed: &ParsedExtension<'_>, facts: &mut Facts) -> bool {
    match parsed {
        ParsedExtension::SubjectKeyIdentifier(id) => facts.subject_key_identifier = Some(id.0.into()),
        ParsedExtension::AuthorityKeyIdentifier(id) => {
            facts.authority_key_identifier = id.key_identifier.as_ref().map(|id| id.0.into());
            facts.authority_serial = id.authority_cert_serial.map(Into::into);
        }
        ParsedExtension::KeyUsage(usage) => facts.key_usage = Some(usage.flags),
        ParsedExtension::BasicConstraints(basic) => {
            facts.basic_constraints = Some((basic.ca, basic.path_len_constraint));
        }
        ParsedExtension::NameConstraints(constraints) => {
            let subtrees = |list: &Option<Vec<x509_parser::extensions::GeneralSubtree<'_>>>| {
                let list = list.as_deref().unwrap_or_default().iter().take(MAX_ENTRIES);
                list.map(|subtree| subtree_of(&subtree.base)).collect()
            };
            facts.name_constraints = Some(NameConstraints {
                permitted: subtrees(&constraints.permitted_subtrees),
                excluded: subtrees(&constraints.excluded_subtrees),
            });
        }
        ParsedExtension::CertificatePolicies(policies) => {
            for policy in policies.iter().take(MAX_ENTRIES) {
                facts.policies.push(der::dotted(policy.policy_id.as_bytes()));
            }
            facts.validation = facts.policies.iter().find_map(|policy| validation_of(policy));
        }
        ParsedExtension::AuthorityInfoAccess(access) => {
            for description in access.iter().take(MAX_ENTRIES) {
                let GeneralName::URI(uri) = &description.access_location else { continue };
                match description.access_method.as_bytes() {
                    [0x2b, 6, 1, 5, 5, 7, 0x30, 1] => facts.ocsp_urls.push(text::escaped(uri)),
                    [0x2b, 6, 1, 5, 5, 7, 0x30, 2] => facts.ca_issuer_urls.push(text::escaped(uri)),
                    _ => {}
                }
            }
        }
        ParsedExtension::CRLDistributionPoints(points) => {
            for point in points.iter().take(MAX_ENTRIES) {
                let Some(DistributionPointName::FullName(names)) = &point.distribution_point else { continue };
                let uris = names.iter().filter_map(|name| match name {
                    GeneralName::URI(uri) => Some(text::escaped(uri)),
                    _ => None,
                });
                let room = MAX_ENTRIES.saturating_sub(facts.crl_urls.len());
                facts.crl_urls.extend(uris.take(room));
            }
        }
        ParsedExtension::SCT(list) => {
            let scts = list.iter().take(MAX_ENTRIES);
            facts.scts.extend(scts.map(|sct| Sct { log_id: Sha256(*sct.id.key_id), timestamp_ms: sct.timestamp }));
        }
        _ => return false,
    }
    true
}

fn subtree_of(base: &GeneralName<'_>) -> Subtree {
    match base {
        GeneralName::DNSName(suffix) => Subtree::Dns(text::escaped(suffix)),
        GeneralName::RFC822Name(mailbox) => Subtree::Email(text::escaped(mailbox)),
        GeneralName::IPAddress(octets) => {
            let halves = octets.split_at(octets.len() / 2);
            match (name::address(halves.0), name::address(halves.1)) {
                (Some(address @ IpAddr::V4(_)), Some(mask @ IpAddr::V4(_)))
                | (Some(address @ IpAddr::V6(_)), Some(mask @ IpAddr::V6(_))) => Subtree::Ip(address, mask),
                _ => Subtree::Other,
            }
        }
        GeneralName::DirectoryName(directory) => match Reader::new(directory.as_raw()).tagged(der::SEQUENCE) {
            Some(element) => Subtree::Directory(name::parse(&element, &mut Vec::new()).normalized),
            None => Subtree::Other,
        },
        _ => Subtree::Other,
    }
}

/// The policies of the CA/Browser Forum, and the extended validation policy every CA declares beside its own.
fn validation_of(policy: &str) -> Option<Validation> {
    match policy {
        "2.23.140.1.1" => Some(Validation::ExtendedValidation),
        "2.23.140.1.2.1" => Some(Validation::DomainValidated),
        "2.23.140.1.2.2" => Some(Validation::OrganizationValidated),
        "2.23.140.1.2.3" => Some(Validation::IndividualValidated),
        _ => None,
    }
}

fn alternative_names(value: &[u8], facts: &mut Facts) -> bool {
    let mut outer = Reader::new(value);
    let Some(list) = outer.tagged(der::SEQUENCE) else { return false };
    let mut names = list.reader();
    for element in names.by_ref() {
        if facts.alternative_names.len() >= MAX_ENTRIES {
            note(&mut facts.oddities, "names_cut");
            return true;
        }
        let name = name::general_name(&element, &mut facts.oddities);
        if matches!(name, AlternativeName::Directory(_)) {
            let directory = Reader::new(element.content).tagged(der::SEQUENCE);
            let directory = directory.map(|name| name::parse(&name, &mut Vec::new()).normalized);
            facts.alternative_directories.extend(directory);
        }
        facts.alternative_names.push(name);
    }
    names.rest().is_empty() && outer.rest().is_empty()
}

fn key_purposes(value: &[u8], facts: &mut Facts) -> bool {
    let mut outer = Reader::new(value);
    let Some(list) = outer.tagged(der::SEQUENCE) else { return false };
    let mut purposes = Vec::new();
    let mut reader = list.reader();
    while let Some(purpose) = reader.tagged(der::OID) {
        if purposes.len() >= MAX_ENTRIES {
            note(&mut facts.oddities, "purposes_cut");
            break;
        }
        purposes.push(der::dotted(purpose.content));
    }
    let whole = purposes.len() >= MAX_ENTRIES || (reader.rest().is_empty() && outer.rest().is_empty());
    facts.extended_key_usage = Some(purposes);
    whole
}

/// `status_request` (5) among the features makes a staple a must; `status_request_v2` (17) likewise.
fn tls_feature(value: &[u8], facts: &mut Facts) -> bool {
    let Some(list) = Reader::new(value).tagged(der::SEQUENCE) else { return false };
    facts.must_staple = list.reader().any(|feature| feature.tag == der::INTEGER && matches!(feature.content, [5 | 17]));
    true
}
