use proptest::prelude::*;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, IsCa, Issuer, KeyIdMethod, KeyPair,
    KeyUsagePurpose, RevocationReason, RevokedCertParams, SerialNumber, date_time_ymd,
};

use super::*;

fn example() -> rcgen::CertificateRevocationList {
    let mut ca = CertificateParams::new(vec![]).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.key_usages = vec![KeyUsagePurpose::CrlSign];
    let issuer = Issuer::new(ca, KeyPair::generate().unwrap());
    let entry = |serial: &[u8], reason| RevokedCertParams {
        serial_number: SerialNumber::from_slice(serial),
        revocation_time: date_time_ymd(2024, 6, 1),
        reason_code: reason,
        invalidity_date: None,
    };
    CertificateRevocationListParams {
        this_update: date_time_ymd(2024, 6, 2),
        next_update: date_time_ymd(2024, 7, 2),
        crl_number: SerialNumber::from_slice(&[1]),
        issuing_distribution_point: None,
        revoked_certs: vec![
            entry(&[0x80, 1], Some(RevocationReason::KeyCompromise)),
            entry(&[2], None),
            entry(&[3], Some(RevocationReason::RemoveFromCrl)),
        ],
        key_identifier_method: KeyIdMethod::Sha256,
    }
    .signed_by(&issuer)
    .unwrap()
}

#[test]
fn der_and_pem_say_the_same() {
    let example = example();
    let june = ValidityTime(1_717_200_000);
    for octets in [example.der().to_vec(), format!("text\n{}", example.pem().unwrap()).into_bytes()] {
        let crls = Crl::read(&octets).unwrap();
        let [crl] = crls.as_slice() else { panic!("one list") };
        assert!(crl.revoked(&leaf(&[0x80, 1]), june).is_some_and(Revoked::is_compromise));
        assert!(crl.revoked(&leaf(&[0, 0x80, 1]), june).is_some());
        assert!(crl.revoked(&leaf(&[2]), june).is_some_and(|entry| !entry.is_compromise()));
        assert_eq!(crl.revoked(&leaf(&[3]), june), None, "removed from the list");
        assert_eq!(crl.revoked(&leaf(&[4]), june), None, "not in the list");
        assert_eq!(crl.revoked(&leaf(&[2]), ValidityTime(june.0 - 1)), None, "not yet revoked");
        assert!(!crl.is_stale(ValidityTime(1_719_878_400)) && crl.is_stale(ValidityTime(1_719_878_401)));
        assert!(crl.is_signed(|signed, oid, signature| {
            !signature.is_empty() && oid == "1.2.840.10045.4.3.2" && octets_hold(example.der(), signed)
        }));
    }
}

fn octets_hold(all: &[u8], part: &[u8]) -> bool {
    all.windows(part.len()).any(|window| window == part)
}

#[test]
fn truncated_everywhere() {
    let example = example();
    for length in 0..example.der().len() {
        assert_eq!(Crl::read(example.der().get(..length).unwrap()).err(), Some(CrlError::NotACrl));
    }
}

proptest! {
    #[test]
    fn any_octets_are_safe(octets: Vec<u8>) {
        let _ = Crl::read(&octets);
    }
}

fn leaf(serial: &[u8]) -> About<'_> {
    About { serial, is_ca: false, urls: &[] }
}

fn ca(serial: &[u8]) -> About<'_> {
    About { is_ca: true, ..leaf(serial) }
}

/// A DER value.
fn value(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let mut octets = vec![tag];
    match u8::try_from(content.len()) {
        Ok(length) if length < 0x80 => octets.push(length),
        _ => octets.extend([vec![0x82], u16::try_from(content.len()).unwrap().to_be_bytes().to_vec()].concat()),
    }
    octets.extend(content);
    octets
}

fn extension(last: &[u8], critical: bool, content: &[u8]) -> Vec<u8> {
    let oid = value(6, &[&[0x55, 0x1d], last]);
    let critical = if critical { vec![1, 1, 0xff] } else { Vec::new() };
    value(0x30, &[&oid, &critical, &value(4, &[content])])
}

fn common_name(name: &str) -> Vec<u8> {
    let pair = value(0x30, &[&[6, 3, 0x55, 4, 3], &value(12, &[name.as_bytes()])]);
    value(0x30, &[&value(0x31, &[&pair])])
}

/// An entry that stands since 2024-06-01.
fn listed(serial: &[u8], extensions: &[Vec<u8>]) -> Vec<u8> {
    dated("240601000000Z", serial, extensions)
}

fn dated(date: &str, serial: &[u8], extensions: &[Vec<u8>]) -> Vec<u8> {
    let extensions: Vec<&[u8]> = extensions.iter().map(Vec::as_slice).collect();
    let extensions = if extensions.is_empty() { Vec::new() } else { value(0x30, &extensions) };
    value(0x30, &[&value(2, &[serial]), &value(23, &[date.as_bytes()]), &extensions])
}

fn reason(code: u8) -> Vec<u8> {
    extension(&[0x15], false, &[10, 1, code])
}

/// An extension that nobody knows.
pub(crate) fn strange(critical: bool) -> Vec<u8> {
    extension(&[0x7f], critical, &[5, 0])
}

/// A list of "CA" that nobody signed.
pub(crate) fn unsigned(entries: &[Vec<u8>], extensions: &[Vec<u8>]) -> Vec<u8> {
    octets("240602000000Z", entries, extensions)
}

fn list(this_update: &str, entries: &[Vec<u8>], extensions: &[Vec<u8>]) -> Crl {
    let [crl] = Crl::read(&octets(this_update, entries, extensions)).unwrap().try_into().unwrap();
    crl
}

fn octets(this_update: &str, entries: &[Vec<u8>], extensions: &[Vec<u8>]) -> Vec<u8> {
    let algorithm = value(0x30, &[&[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2]]);
    let entries: Vec<&[u8]> = entries.iter().map(Vec::as_slice).collect();
    let extensions: Vec<&[u8]> = extensions.iter().map(Vec::as_slice).collect();
    let entries = if entries.is_empty() { Vec::new() } else { value(0x30, &entries) };
    let time = |text: &str| value(23, &[text.as_bytes()]);
    let extensions = value(0xa0, &[&value(0x30, &extensions)]);
    let times = [time(this_update), time("300101000000Z")].concat();
    let signed = value(0x30, &[&[2, 1, 1], &algorithm, &common_name("CA"), &times, &entries, &extensions]);
    value(0x30, &[&signed, &algorithm, &value(3, &[&[0, 1]])])
}

const NOW: ValidityTime = ValidityTime(1_720_000_000);

fn point(fields: &[&[u8]]) -> Vec<u8> {
    extension(&[0x1c], true, &value(0x30, fields))
}

#[test]
fn a_list_is_about_the_certificates_of_its_scope() {
    let covers = |fields: &[&[u8]]| {
        let crl = list("240602000000Z", &[listed(&[5], &[])], &[point(fields)]);
        assert_eq!(crl.unusable, None);
        (crl.revoked(&leaf(&[5]), NOW).is_some(), crl.revoked(&ca(&[5]), NOW).is_some())
    };
    assert_eq!(covers(&[]), (true, true));
    assert_eq!(covers(&[&[0x81, 1, 0xff]]), (true, false), "user certificates");
    assert_eq!(covers(&[&[0x82, 1, 0xff]]), (false, true), "CA certificates");
    assert_eq!(covers(&[&[0x85, 1, 0xff]]), (false, false), "attribute certificates");
    assert_eq!(covers(&[&[0x81, 1, 0], &[0x83, 2, 1, 0x40]]), (true, true), "some reasons");
    let name = value(0xa0, &[&value(0xa0, &[&value(0x86, &[b"http://crl.example/1"])])]);
    assert_eq!(covers(&[&name]), (true, true), "the certificate names no place");
    let crl = list("240602000000Z", &[listed(&[5], &[])], &[point(&[&name])]);
    for (url, found) in [("http://crl.example/1", true), ("http://crl.example/2", false)] {
        let urls = [url.to_owned()];
        assert_eq!(crl.revoked(&About { urls: &urls, ..leaf(&[5]) }, NOW).is_some(), found, "{url}");
    }
}

#[test]
fn entries_of_an_indirect_list_belong_to_their_issuer() {
    let named = |name: &str| extension(&[0x1d], true, &value(0x30, &[&value(0xa4, &[&common_name(name)])]));
    let entries = [
        listed(&[1], &[]),
        listed(&[2], &[named("Other CA")]),
        listed(&[3], &[reason(1)]),
        listed(&[4], &[named("ca")]),
        listed(&[5], &[]),
    ];
    let own = |extensions: &[Vec<u8>]| {
        let crl = list("240602000000Z", &entries, extensions);
        (1..=5_u8).filter(|serial| crl.revoked(&leaf(&[*serial]), NOW).is_some()).collect::<Vec<_>>()
    };
    assert_eq!(own(&[point(&[&[0x84, 1, 0xff]])]), [1, 4, 5], "names are compared without regard to case");
    assert_eq!(own(&[]), [1, 4, 5], "a list that names issuers and does not say that it is indirect");
    // Names that are no directory name are none of ours, and of several names each counts.
    let names = |names: &[&[u8]]| extension(&[0x1d], true, &value(0x30, names));
    let other = value(0xa4, &[&common_name("Other CA")]);
    let ours = value(0xa4, &[&common_name("CA")]);
    for (named, expected) in
        [(names(&[&value(0x82, &[b"CA"])]), vec![1]), (names(&[&other, &ours]), vec![1, 2, 3]), (names(&[]), vec![1])]
    {
        let entries = [listed(&[1], &[]), listed(&[2], &[named]), listed(&[3], &[])];
        let crl = list("240602000000Z", &entries, &[point(&[&[0x84, 1, 0xff]])]);
        let found: Vec<u8> = (1..=3_u8).filter(|serial| crl.revoked(&leaf(&[*serial]), NOW).is_some()).collect();
        assert_eq!(found, expected);
    }
}

#[test]
fn a_list_with_something_critical_and_unknown_is_not_used() {
    let unusable = |entry: &[Vec<u8>], extensions: &[Vec<u8>]| {
        let crl = list("240602000000Z", &[listed(&[5], entry)], extensions);
        assert_eq!(crl.revoked(&leaf(&[5]), NOW).is_some(), crl.unusable.is_none());
        crl.unusable.map(|why| why.to_string())
    };
    assert_eq!(unusable(&[strange(false)], &[strange(false)]), None);
    assert_eq!(unusable(&[reason(1)], &[extension(&[0x14], true, &[2, 1, 9])]), None);
    let told = unusable(&[], &[strange(true)]).unwrap();
    assert!(told.contains("critical") && told.contains("2.5.29.127"), "{told}");
    assert!(unusable(&[strange(true)], &[]).unwrap().contains("of an entry"));
    for broken in [&[0x81, 1][..], &[0x81, 2, 0, 0], &[0x99, 0], &[0xa0, 2, 0x86, 0]] {
        assert!(unusable(&[], &[point(&[broken])]).unwrap().contains("2.5.29.28"), "{broken:?}");
    }
    assert!(unusable(&[], &[extension(&[0x1b], true, &[2])]).unwrap().contains("2.5.29.27"));
}

#[test]
fn the_newest_list_decides_unless_the_reason_is_permanent() {
    let hold = || listed(&[5], &[reason(6)]);
    let gone = || listed(&[5], &[reason(8)]);
    let stolen = || listed(&[5], &[reason(1)]);
    let users = || point(&[&[0x81, 1, 0xff]]);
    let delta = |base: u8| extension(&[0x1b], true, &[2, 1, base]);
    let number = |number: u8| extension(&[0x14], false, &[2, 1, number]);
    let told = |lists: &[Crl]| {
        let told = |lists: &[&Crl]| {
            let found = revoked_by(|| lists.iter().copied(), &leaf(&[5]), NOW);
            found.map(|found| (found.entry.reason, found.list.this_update))
        };
        let (there, back): (Vec<_>, Vec<_>) = (lists.iter().collect(), lists.iter().rev().collect());
        assert_eq!(told(&there), told(&back), "the order of files does not matter");
        told(&there).map(|(reason, _)| reason)
    };
    let (old, new, newer) = ("240602000000Z", "240603000000Z", "240604000000Z");
    assert_eq!(told(&[list(old, &[hold()], &[])]), Some(6));
    assert_eq!(told(&[list(old, &[hold()], &[]), list(new, &[], &[])]), None, "the hold ended");
    assert_eq!(told(&[list(old, &[], &[]), list(new, &[hold()], &[])]), Some(6), "it began");
    assert_eq!(told(&[list(old, &[hold()], &[]), list(new, &[stolen()], &[])]), Some(1));
    assert_eq!(told(&[list(old, &[stolen()], &[]), list(new, &[], &[])]), Some(1), "expired since, perhaps");
    let numbered =
        |first: u8, second: u8| told(&[list(old, &[hold()], &[number(first)]), list(old, &[], &[number(second)])]);
    assert_eq!((numbered(1, 2), numbered(2, 1), numbered(2, 2)), (None, Some(6), Some(6)), "made at one time");
    // Another scope says nothing of it, a list of everything does.
    assert_eq!(told(&[list(old, &[hold()], &[]), list(new, &[], &[users()])]), Some(6));
    assert_eq!(told(&[list(old, &[hold()], &[users()]), list(new, &[], &[users()])]), None);
    assert_eq!(told(&[list(old, &[hold()], &[users()]), list(new, &[], &[])]), None);
    // Deltas add and take away.
    assert_eq!(told(&[list(old, &[], &[number(1)]), list(new, &[hold()], &[delta(1)])]), Some(6));
    assert_eq!(told(&[list(old, &[hold()], &[number(1)]), list(new, &[], &[delta(1)])]), Some(6), "nothing new");
    assert_eq!(told(&[list(old, &[hold()], &[number(1)]), list(new, &[gone()], &[delta(1)])]), None);
    assert_eq!(told(&[list(new, &[hold()], &[]), list(old, &[gone()], &[delta(1)])]), Some(6), "an older one");
    assert_eq!(told(&[list(old, &[hold()], &[delta(1)]), list(new, &[], &[delta(1)])]), None, "of the same list");
    assert_eq!(told(&[list(old, &[hold()], &[delta(1)]), list(new, &[], &[delta(2)])]), Some(6), "of a later list");
    assert_eq!(told(&[list(new, &[hold()], &[delta(1)]), list(newer, &[], &[])]), None, "the next complete one");
}

/// 2024-06-`day`.
fn june(day: i64) -> ValidityTime {
    ValidityTime(1_717_200_000 + (day - 1) * 86_400)
}

#[test]
fn lists_made_later_do_not_lift_a_hold_of_before() {
    let hold = || listed(&[5], &[reason(6)]);
    let (first, second) = (list("240604000000Z", &[hold()], &[]), list("240610000000Z", &[], &[]));
    let number = |number: u8| extension(&[0x14], false, &[2, 1, number]);
    let delta = [
        list("240604000000Z", &[hold()], &[number(1)]),
        list("240610000000Z", &[listed(&[5], &[reason(8)])], &[extension(&[0x1b], true, &[2, 1, 1])]),
    ];
    for lists in [&[first.clone(), second.clone()][..], &[second, first.clone()], &delta] {
        let told = |day: i64| {
            let found = revoked_by(|| lists.iter(), &leaf(&[5]), june(day))?;
            assert_eq!((found.entry.reason, found.lifted), (6, Some(june(10))), "{day}");
            Some(found.is_uncertain(june(day)))
        };
        // On hold since the first, listed on the 4th, not any more on the 10th.
        assert_eq!(
            [0, 1, 4, 5, 9, 10, 11].map(told),
            [None, Some(false), Some(false), Some(true), Some(true), None, None]
        );
    }
    // A list in between still had it.
    let lists = [first.clone(), list("240607000000Z", &[hold()], &[]), list("240610000000Z", &[], &[])];
    let told = |day| revoked_by(|| lists.iter(), &leaf(&[5]), june(day)).map(|found| found.is_uncertain(june(day)));
    assert_eq!([3, 6, 8, 10].map(told), [Some(false), Some(false), Some(true), None]);
    // Then it was revoked for good.
    let lists = [first, list("240610000000Z", &[listed(&[5], &[reason(1)])], &[])];
    let told =
        |day| revoked_by(|| lists.iter(), &leaf(&[5]), june(day)).map(|found| (found.entry.reason, found.lifted));
    assert_eq!([0, 2, 20].map(told), [None, Some((1, None)), Some((1, None))], "X.509 keeps the date of the hold");
}

#[test]
fn a_list_that_still_has_the_certificate_lifts_no_hold() {
    let number = |number: u8| extension(&[0x14], false, &[2, 1, number]);
    let delta = || extension(&[0x1b], true, &[2, 1, 1]);
    let first = list("240604000000Z", &[listed(&[5], &[reason(6)])], &[number(1)]);
    for (code, extensions) in [(1, vec![]), (6, vec![]), (0, vec![]), (1, vec![delta()]), (6, vec![delta()])] {
        // The date of the entry is that of the new reason, or of the new hold.
        let second = list("240610000000Z", &[dated("240608000000Z", &[5], &[reason(code)])], &extensions);
        let lists = [first.clone(), second];
        let told = |day| {
            let found = revoked_by(|| lists.iter(), &leaf(&[5]), june(day))?;
            Some((found.entry.reason, found.lifted, found.is_uncertain(june(day))))
        };
        let (hold, then) = (Some((6, None, false)), Some((code, None, false)));
        assert_eq!([0, 2, 6, 9, 11].map(told), [None, hold, hold, then, then], "{code}");
    }
    // The later hold is gone, too: both had ended by then at the latest.
    let lists = [
        first,
        list("240610000000Z", &[dated("240608000000Z", &[5], &[reason(6)])], &[]),
        list("240620000000Z", &[], &[]),
    ];
    let told = |day| revoked_by(|| lists.iter(), &leaf(&[5]), june(day)).map(|found| found.lifted);
    assert_eq!([6, 9, 21].map(told), [Some(Some(june(20))), Some(Some(june(20))), None]);
}

#[test]
fn what_was_invalid_before_it_was_revoked() {
    let invalid = |text: &str| extension(&[0x18], false, &value(24, &[text.as_bytes()]));
    let told = |extensions: &[Vec<u8>], day: i64| {
        let crl = list("240602000000Z", &[listed(&[5], extensions)], &[]);
        crl.revoked(&leaf(&[5]), ValidityTime(june(1).0 + day * 86_400)).map(|entry| entry.since())
    };
    assert_eq!(told(&[reason(1)], -1), None);
    assert_eq!(told(&[reason(1), invalid("20240525000000Z")], -1), Some(ValidityTime(june(1).0 - 7 * 86_400)));
    assert_eq!(told(&[reason(1), invalid("20240525000000Z")], -8), None);
    assert_eq!(told(&[reason(1), invalid("20240603000000Z")], 0), Some(june(1)), "never later than the revocation");
    assert_eq!(told(&[reason(6), invalid("20240525000000Z")], -1), None, "a hold proves nothing yet");
    for broken in ["2024052500000Z", "", "x"] {
        assert_eq!(told(&[reason(1), invalid(broken)], -1), None, "{broken}");
        assert_eq!(told(&[reason(1), invalid(broken)], 0), Some(june(1)), "{broken}");
    }
}
