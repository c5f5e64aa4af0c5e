//! Paths: found in any order, verified, judged at a time for a name.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, NameConstraints, date_time_ymd,
};
use tlswatch::time::ValidityTime;
use tlswatch::x509::Certificate;
use tlswatch::x509::chain::{
    Budget, ChainReport, Ending, SignatureMemo, Verifier, is_self_signed, is_signed_by_own_key,
};
use tlswatch::x509::judge::{Judgement, ProblemKind, Purpose, Question, judge};
use tlswatch::x509::roots::{Pool, TrustAnchors};
use tlswatch::x509::signature::Verdict;

/// 2024-07-01.
const NOW: ValidityTime = ValidityTime(1_719_792_000);

type Made = Arc<Certificate>;

fn params(common_name: &str, ca: bool) -> CertificateParams {
    let names = if ca { Vec::new() } else { vec![common_name.to_owned()] };
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.not_before = date_time_ymd(2024, 1, 1);
    params.not_after = date_time_ymd(2025, 1, 1);
    params.use_authority_key_identifier_extension = true;
    if ca {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    }
    params
}

fn certificate(made: &rcgen::Certificate) -> Made {
    Arc::new(Certificate::parse(made.der()))
}

/// A CA: its certificate and what signs with it.
struct Authority {
    certificate: Made,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn root(params: CertificateParams) -> Self {
        let key = KeyPair::generate().unwrap();
        let certificate = certificate(&params.self_signed(&key).unwrap());
        Self { certificate, issuer: Issuer::new(params, key) }
    }

    fn below(&self, params: CertificateParams) -> Self {
        let key = KeyPair::generate().unwrap();
        let certificate = certificate(&params.signed_by(&key, &self.issuer).unwrap());
        Self { certificate, issuer: Issuer::new(params, key) }
    }

    fn leaf(&self, params: CertificateParams) -> Made {
        self.below(params).certificate
    }
}

struct World {
    anchors: TrustAnchors,
    pool: Pool,
    memo: SignatureMemo,
    budget: Budget,
}

impl World {
    fn trusting(root: &Authority) -> Self {
        let mut anchors = TrustAnchors::default();
        assert!(anchors.add(Arc::clone(&root.certificate)));
        Self { anchors, pool: Pool::new(1 << 20), memo: SignatureMemo::new(1 << 20), budget: Budget::default() }
    }

    fn report(&self, presented: &[&Made]) -> ChainReport {
        self.report_for(presented, Purpose::Server)
    }

    fn report_for(&self, presented: &[&Made], purpose: Purpose) -> ChainReport {
        let presented: Vec<Made> = presented.iter().map(|made| Arc::clone(made)).collect();
        let Self { anchors, pool, memo, budget } = self;
        let verifier = Verifier { anchors, pool, memo, budget: *budget, purpose };
        verifier.verify_chain(&presented)
    }

    fn judged(&self, presented: &[&Made]) -> Judgement {
        let question = Question { at: Some(NOW), name: Some("host.example"), purpose: Purpose::Server };
        judge(&self.report(presented), question)
    }
}

fn spki(authority: &Authority) -> tlswatch::x509::Sha256 {
    authority.certificate.facts.as_ref().unwrap().spki_sha256
}

fn kinds(judgement: &Judgement) -> Vec<(ProblemKind, usize)> {
    judgement.problems.iter().map(|problem| (problem.kind, problem.depth)).collect()
}

#[test]
fn order_duplicates_and_strangers_do_not_matter() {
    let root = Authority::root(params("Root", true));
    let (a, stranger) = (root.below(params("A", true)), root.below(params("Stranger", true)));
    let b = a.below(params("B", true));
    let leaf = b.leaf(params("host.example", false));
    let world = World::trusting(&root);
    let (a, b, s, r) = (&a.certificate, &b.certificate, &stranger.certificate, &root.certificate);
    for presented in [vec![&leaf, b, a], vec![&leaf, a, b], vec![&leaf, s, r, a, a, &leaf, b, s], vec![&leaf, r, b, a]]
    {
        let judgement = world.judged(&presented);
        assert!(judgement.is_trusted(), "{}", judgement.reason());
        assert_eq!(judgement.path, [leaf.sha256, b.sha256, a.sha256, r.sha256]);
    }
    let report = world.report(&[&leaf, b, s, a]);
    assert_eq!(report.presented, [Some(Verdict::Good), None, None]);
}

#[test]
fn a_missing_intermediate_comes_from_the_pool_and_is_verified() {
    let root = Authority::root(params("Root", true));
    let a = root.below(params("A", true));
    let leaf = a.leaf(params("host.example", false));
    let mut world = World::trusting(&root);
    let report = world.report(&[&leaf]);
    assert_eq!(report.ending(), Ending::Incomplete);
    let missing: Vec<_> = report.missing_issuers().collect();
    assert_eq!(missing, [leaf.facts.as_ref().unwrap().issuer.normalized.as_str()]);
    // A forger's CA of the same name helps nobody, and makes nobody a forger.
    let forged = Authority::root(params("A", true));
    assert!(world.pool.add(&forged.certificate));
    assert_eq!(world.judged(&[&leaf]).ending, Ending::Incomplete);
    assert!(world.pool.add(&a.certificate));
    assert!(world.judged(&[&leaf]).is_trusted());
    assert!(!world.pool.add(&leaf), "a leaf is no CA");
}

#[test]
fn a_forged_issuer_is_named() {
    let root = Authority::root(params("Root", true));
    let leaf = root.leaf(params("host.example", false));
    let world = World::trusting(&root);
    assert!(world.judged(&[&leaf]).is_trusted());
    let mut der = leaf.der.to_vec();
    let tbs = leaf.facts.as_ref().unwrap().tbs.clone();
    // The last octet of the TBSCertificate is of an extension; the key identifier of the issuer stays.
    let place = leaf.der[tbs.clone()].windows(12).position(|window| window == b"host.example").unwrap() + tbs.start;
    der[place] = b'g';
    let forged = Arc::new(Certificate::parse(&der));
    let judgement = world.judged(&[&forged]);
    assert_eq!(judgement.ending, Ending::BadSignature);
    assert_eq!(judgement.broken_at, Some((forged.sha256, Some(root.certificate.sha256))));
    // Same names, another key: nobody who was asked has signed it.
    let other = Authority::root(params("Root", true));
    let by_other = other.leaf(params("host.example", false));
    assert_eq!(world.judged(&[&by_other]).ending, Ending::Incomplete);
    assert_eq!(world.judged(&[&by_other, &other.certificate]).ending, Ending::PrivateRoot);
}

#[test]
fn self_signed_means_signed_by_itself() {
    let root = Authority::root(params("Root", true));
    let world = World::trusting(&root);
    let device = Authority::root(params("host.example", false));
    let judgement = world.judged(&[&device.certificate]);
    assert_eq!((judgement.ending, judgement.reason()), (Ending::SelfSigned, "self_signed"));
    assert!(is_self_signed(&device.certificate, &world.memo));
    // Issuer and subject alike, yet signed by another key.
    let twin = device.leaf(params("host.example", false));
    assert!(!is_self_signed(&twin, &world.memo));
    assert_eq!(world.judged(&[&twin]).ending, Ending::Incomplete);
    assert!(!is_signed_by_own_key(&device.certificate, &world.memo));
    // Another issuer's name over the own key.
    let key = KeyPair::generate().unwrap();
    let mut leaf = params("host.example", false);
    leaf.use_authority_key_identifier_extension = false;
    let claimed = Issuer::new(params("Famous CA", true), &key);
    let liar = certificate(&leaf.signed_by(&key, &claimed).unwrap());
    assert!(is_signed_by_own_key(&liar, &world.memo));
    assert!(!is_self_signed(&liar, &world.memo));
}

#[test]
fn time_name_and_usage_are_judged_apart_from_signatures() {
    let root = Authority::root(params("Root", true));
    let world = World::trusting(&root);
    let judged = |change: &dyn Fn(&mut CertificateParams)| {
        let mut leaf = params("host.example", false);
        change(&mut leaf);
        let judgement = world.judged(&[&root.leaf(leaf)]);
        assert_eq!(judgement.ending, Ending::Anchor);
        kinds(&judgement)
    };
    assert_eq!(judged(&|_| ()), []);
    assert_eq!(judged(&|leaf| leaf.not_after = date_time_ymd(2024, 6, 30)), [(ProblemKind::Expired, 0)]);
    assert_eq!(judged(&|leaf| leaf.not_after = date_time_ymd(2024, 7, 1)), []);
    assert_eq!(judged(&|leaf| leaf.not_before = date_time_ymd(2024, 7, 1)), []);
    assert_eq!(judged(&|leaf| leaf.not_before = date_time_ymd(2024, 7, 2)), [(ProblemKind::NotYetValid, 0)]);
    assert_eq!(judged(&|leaf| leaf.subject_alt_names.clear()), []);
    assert_eq!(
        judged(&|leaf| leaf.distinguished_name.push(DnType::CommonName, "other.example")),
        [],
        "the common name does not count beside alternative names"
    );
    assert_eq!(
        judged(&|leaf| {
            leaf.subject_alt_names = vec![rcgen::SanType::DnsName("www.host.example".try_into().unwrap())];
        }),
        [(ProblemKind::NameMismatch, 0)]
    );
    let client = vec![ExtendedKeyUsagePurpose::ClientAuth];
    assert_eq!(judged(&|leaf| leaf.extended_key_usages.clone_from(&client)), [(ProblemKind::Purpose, 0)]);
    let any = vec![ExtendedKeyUsagePurpose::Any];
    assert_eq!(judged(&|leaf| leaf.extended_key_usages.clone_from(&any)), []);
    let signing = vec![KeyUsagePurpose::KeyCertSign];
    assert_eq!(judged(&|leaf| leaf.key_usages.clone_from(&signing)), [(ProblemKind::KeyUsage, 0)]);
    let critical = |leaf: &mut CertificateParams| {
        let mut unknown = rcgen::CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
        unknown.set_criticality(true);
        leaf.custom_extensions.push(unknown);
    };
    assert_eq!(judged(&critical), [(ProblemKind::UnknownCritical, 0)]);
}

/// RFC 3820: who has a certificate may sign one for a job that acts for him, and such a job another one.
#[test]
fn a_proxy_certificate_is_signed_by_no_ca() {
    let root = Authority::root(params("Root", true));
    let world = World::trusting(&root);
    let named = |names: &[&str], critical: Option<bool>| {
        let mut params = params("host.example", false);
        params.subject_alt_names.clear();
        params.distinguished_name = rcgen::DistinguishedName::new();
        let kinds = [DnType::CommonName, DnType::CustomDnType(vec![2, 5, 4, 3]), DnType::OrganizationName];
        for (kind, name) in kinds.into_iter().zip(names).filter(|(_, name)| !name.is_empty()) {
            params.distinguished_name.push(kind, *name);
        }
        if let Some(critical) = critical {
            // proxyPolicy: id-ppl-inheritAll.
            let content = vec![0x30, 12, 0x30, 10, 6, 8, 0x2b, 6, 1, 5, 5, 7, 21, 1];
            let mut information = rcgen::CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 14], content);
            information.set_criticality(critical);
            params.custom_extensions.push(information);
        }
        params
    };
    let judged = |user: fn(&mut CertificateParams), proxy: CertificateParams| {
        let mut person = named(&["User"], None);
        user(&mut person);
        let person = root.below(person);
        let proxy = person.leaf(proxy);
        let found = kinds(&world.judged(&[&proxy, &person.certificate]));
        found.into_iter().filter(|(_, depth)| *depth > 0).collect::<Vec<_>>()
    };
    let plain = |_: &mut CertificateParams| ();
    let no_ca = [(ProblemKind::NotCa, 1)];
    assert_eq!(judged(plain, named(&["User", "3417"], Some(true))), []);
    assert_eq!(
        judged(|user| user.key_usages = vec![KeyUsagePurpose::DigitalSignature], named(&["User", "3417"], Some(true))),
        []
    );
    assert_eq!(
        judged(|user| user.key_usages = vec![KeyUsagePurpose::KeyEncipherment], named(&["User", "3417"], Some(true))),
        [(ProblemKind::NotCa, 1), (ProblemKind::NotForSigning, 1)]
    );
    assert_eq!(judged(plain, named(&["User", "3417"], None)), no_ca, "it does not say that it is one");
    assert_eq!(judged(plain, named(&["User", "3417"], Some(false))), no_ca, "clients that know none would accept it");
    assert_eq!(judged(plain, named(&["User"], Some(true))), no_ca, "it has its issuer's name");
    assert_eq!(judged(plain, named(&["Other", "3417"], Some(true))), no_ca, "it has another's name");
    assert_eq!(judged(plain, named(&["User", "", "Example"], Some(true))), no_ca, "it has more than a common name");
    assert_eq!(judged(plain, named(&["User", "host.example"], Some(true))), no_ca, "it claims to be the host");
    let mut alternative = named(&["User", "3417"], Some(true));
    alternative.subject_alt_names = vec![rcgen::SanType::DnsName("job.example".try_into().unwrap())];
    assert_eq!(judged(plain, alternative), no_ca, "it has other names");
}

/// Who wants to be on the path of a genuine leaf signs a certificate with the name and key of its CA.
#[test]
fn a_path_over_who_is_no_ca_does_not_hide_the_true_one() {
    let root = Authority::root(params("Root", true));
    let world = World::trusting(&root);
    let upper = root.below(params("A", true));
    let middle = upper.below(params("B", true));
    let issuing = middle.below(params("C", true));
    let stranger = root.below(params("shop.example", false));
    let twin = certificate(&params("C", true).signed_by(issuing.issuer.key(), &stranger.issuer).unwrap());
    let leaf = issuing.leaf(params("host.example", false));
    let (a, b, c, s) = (&upper.certificate, &middle.certificate, &issuing.certificate, &stranger.certificate);
    let report = world.report(&[&leaf, &twin, s, c, b, a]);
    assert_eq!(report.paths.iter().filter(|path| path.ending == Ending::Anchor).count(), 2);
    assert!(report.paths[0].is_vouched());
    assert_eq!(report.paths[0].certificates[1].sha256, c.sha256, "though the other is shorter");
    let forged = world.report(&[&leaf, &twin, s]);
    assert_eq!(forged.paths[0].ending, Ending::Anchor);
    assert_eq!(forged.paths[0].vouched().len(), 3, "the leaf, the twin, and who signed that");
}

#[test]
fn only_cas_may_issue_and_only_so_deep() {
    let root = Authority::root(params("Root", true));
    let world = World::trusting(&root);
    let judged = |change: &dyn Fn(&mut CertificateParams)| {
        let mut upper = params("A", true);
        change(&mut upper);
        let a = root.below(upper);
        let b = a.below(params("B", true));
        let leaf = b.leaf(params("host.example", false));
        kinds(&world.judged(&[&leaf, &b.certificate, &a.certificate]))
    };
    assert_eq!(judged(&|_| ()), []);
    assert_eq!(judged(&|upper| upper.is_ca = IsCa::Ca(BasicConstraints::Constrained(1))), []);
    assert_eq!(
        judged(&|upper| upper.is_ca = IsCa::Ca(BasicConstraints::Constrained(0))),
        [(ProblemKind::PathLength, 2)]
    );
    assert_eq!(judged(&|upper| upper.is_ca = IsCa::ExplicitNoCa), [(ProblemKind::NotCa, 2)]);
    assert_eq!(judged(&|upper| upper.key_usages = vec![KeyUsagePurpose::CrlSign]), [(ProblemKind::NotForSigning, 2)]);
    assert_eq!(judged(&|upper| upper.not_after = date_time_ymd(2024, 6, 1)), [(ProblemKind::Expired, 2)]);
    let dns = |name: &str| GeneralSubtree::DnsName(name.to_owned());
    let constrain = |permitted: Vec<GeneralSubtree>, excluded: Vec<GeneralSubtree>| {
        judged(&|upper| {
            let (permitted_subtrees, excluded_subtrees) = (permitted.clone(), excluded.clone());
            upper.name_constraints = Some(NameConstraints { permitted_subtrees, excluded_subtrees });
        })
    };
    let outside = [(ProblemKind::NameConstraint, 2)];
    assert_eq!(constrain(vec![dns("example")], vec![]), []);
    assert_eq!(constrain(vec![dns("host.example")], vec![]), []);
    assert_eq!(constrain(vec![dns("st.example")], vec![]), outside);
    assert_eq!(constrain(vec![dns("other"), dns("example")], vec![]), []);
    assert_eq!(constrain(vec![], vec![dns("example")]), outside);
    assert_eq!(constrain(vec![], vec![dns("other.example")]), []);
    let network = GeneralSubtree::IpAddress(CidrSubnet::from_v4_prefix([192, 0, 2, 0], 24));
    assert_eq!(constrain(vec![network], vec![]), [], "no address to be outside");
}

/// RFC 5280 section 4.2.1.10: each kind of name under the constraints of its kind.
#[test]
fn every_kind_of_name_may_be_constrained() {
    use GeneralSubtree::{DirectoryName, DnsName, IpAddress, Rfc822Name};
    use rcgen::SanType;
    let root = Authority::root(params("Root", true));
    let world = World::trusting(&root);
    // A leaf is under the permitted subtree, and then not under it as an excluded one; or the reverse.
    let inside = |subtree: &GeneralSubtree, change: &dyn Fn(&mut CertificateParams)| {
        let fits = |permitted_subtrees, excluded_subtrees| {
            let mut upper = params("A", true);
            upper.name_constraints = Some(NameConstraints { permitted_subtrees, excluded_subtrees });
            let a = root.below(upper);
            let mut leaf = params("host.example", false);
            change(&mut leaf);
            let leaf = a.leaf(leaf);
            let mut found = kinds(&world.judged(&[&leaf, &a.certificate]));
            found.retain(|(kind, _)| *kind == ProblemKind::NameConstraint);
            found.is_empty()
        };
        [fits(vec![subtree.clone()], vec![]), fits(vec![], vec![subtree.clone()])]
    };
    const INSIDE: [bool; 2] = [true, false];
    const OUTSIDE: [bool; 2] = [false, true];
    const NEITHER: [bool; 2] = [true, true];
    let with = |name: SanType| move |leaf: &mut CertificateParams| leaf.subject_alt_names.push(name.clone());
    let address = |text: &str| with(SanType::IpAddress(text.parse().unwrap()));
    let four = IpAddress(CidrSubnet::from_v4_prefix([192, 0, 2, 0], 24));
    let six = IpAddress(CidrSubnet::from_v6_prefix("2001:db8::".parse::<std::net::Ipv6Addr>().unwrap().octets(), 32));
    for (subtree, name, expected) in [
        (&four, "192.0.2.7", INSIDE),
        (&four, "192.0.3.7", OUTSIDE),
        (&four, "2001:db8::1", OUTSIDE),
        (&six, "2001:db8:ffff::1", INSIDE),
        (&six, "2001:db9::1", OUTSIDE),
    ] {
        assert_eq!(inside(subtree, &address(name)), expected, "{name}");
    }
    for (subtree, expected) in [
        ("mail.example", INSIDE),
        ("MAIL.example", INSIDE),
        (".example", INSIDE),
        ("me@mail.example", INSIDE),
        ("you@mail.example", OUTSIDE),
        ("example", OUTSIDE),
        (".mail.example", OUTSIDE),
        (".other", OUTSIDE),
    ] {
        let leaf = with(SanType::Rfc822Name("me@mail.example".try_into().unwrap()));
        assert_eq!(inside(&Rfc822Name(subtree.to_owned()), &leaf), expected, "{subtree}");
        assert_eq!(inside(&Rfc822Name(subtree.to_owned()), &|_| ()), NEITHER, "{subtree}");
    }
    let of = |parts: &[(DnType, &str)]| {
        let mut name = rcgen::DistinguishedName::new();
        parts.iter().for_each(|(kind, value)| name.push(kind.clone(), *value));
        name
    };
    let house = |name: &str| (DnType::OrganizationName, name.to_owned());
    for (organization, common_name, expected) in [
        ("House", Some("host.example"), INSIDE),
        ("HOUSE", None, INSIDE),
        ("Hou", None, OUTSIDE),
        ("House 2", None, OUTSIDE),
        ("House", Some("other.example"), OUTSIDE),
    ] {
        let (kind, name) = house(organization);
        let mut parts = vec![(kind, name.as_str())];
        parts.extend(common_name.map(|name| (DnType::CommonName, name)));
        let leaf = |leaf: &mut CertificateParams| {
            leaf.distinguished_name = of(&[(DnType::OrganizationName, "House"), (DnType::CommonName, "host.example")]);
        };
        assert_eq!(inside(&DirectoryName(of(&parts)), &leaf), expected, "{parts:?}");
    }
    let nameless = |leaf: &mut CertificateParams| leaf.distinguished_name = of(&[]);
    assert_eq!(inside(&DirectoryName(of(&[(DnType::OrganizationName, "House")])), &nameless), NEITHER);
    // The name of a directory counts beside the subject too.
    let string = |tag: u8, parts: &[&[u8]]| -> Vec<u8> {
        let content = parts.concat();
        [&[tag, u8::try_from(content.len()).unwrap()], &content[..]].concat()
    };
    let attribute = |last: u8, value: &str| {
        let pair = string(0x30, &[&[6, 3, 0x55, 4, last], &string(0x0c, &[value.as_bytes()])]);
        string(0x31, &[&pair])
    };
    let beside = |house: &str| {
        let name = string(0x30, &[&attribute(10, house), &attribute(3, "Room 1")]);
        let names = string(0x30, &[&string(0x82, &[b"host.example"]), &string(0xa4, &[&name])]);
        move |leaf: &mut CertificateParams| {
            leaf.distinguished_name = rcgen::DistinguishedName::new();
            leaf.subject_alt_names.clear();
            leaf.custom_extensions.push(rcgen::CustomExtension::from_oid_content(&[2, 5, 29, 17], names.clone()));
        }
    };
    let house_only = DirectoryName(of(&[(DnType::OrganizationName, "House")]));
    for (name, expected) in [("House", INSIDE), ("house", INSIDE), ("House 2", OUTSIDE), ("Other", OUTSIDE)] {
        assert_eq!(inside(&house_only, &beside(name)), expected, "{name}");
    }
    // A common name is the name of a host only where there is no other.
    let other = |leaf: &mut CertificateParams| {
        leaf.subject_alt_names = vec![SanType::DnsName("host.other".try_into().unwrap())];
    };
    let none = |leaf: &mut CertificateParams| leaf.subject_alt_names.clear();
    let example = DnsName("example".to_owned());
    assert_eq!([inside(&example, &other), inside(&example, &none)], [OUTSIDE, INSIDE]);
}

/// What a CA is called is no name of a host, and a CA with a new key keeps its name whatever its constraints.
#[test]
fn constraints_and_the_names_of_cas() {
    let root = Authority::root(params("Root", true));
    let world = World::trusting(&root);
    let mut house = params("host.example", false);
    house.distinguished_name = rcgen::DistinguishedName::new();
    house.distinguished_name.push(DnType::OrganizationName, "House");
    let name = house.distinguished_name.clone();
    let constrained = |permitted_subtrees, excluded_subtrees| {
        let mut upper = params("ca.example", true);
        upper.name_constraints = Some(NameConstraints { permitted_subtrees, excluded_subtrees });
        root.below(upper)
    };
    let found = |chain: &[&Made]| kinds(&world.judged(chain));
    let upper = constrained(vec![GeneralSubtree::DirectoryName(name)], vec![]);
    let (twin, other) = (upper.below(params("ca.example", true)), upper.below(params("B", true)));
    let leaf = twin.leaf(house.clone());
    assert_eq!(found(&[&leaf, &twin.certificate, &upper.certificate]), []);
    let leaf = other.leaf(house);
    assert_eq!(found(&[&leaf, &other.certificate, &upper.certificate]), [(ProblemKind::NameConstraint, 2)]);
    // A leaf of its issuer's name is no CA with a new key.
    let mut leaf = params("ca.example", false);
    leaf.subject_alt_names = vec![rcgen::SanType::DnsName("host.example".try_into().unwrap())];
    let leaf = upper.leaf(leaf);
    assert_eq!(found(&[&leaf, &upper.certificate]), [(ProblemKind::NameConstraint, 1)]);
    let upper = constrained(vec![], vec![GeneralSubtree::DnsName("b.example".to_owned())]);
    let lower = upper.below(params("b.example", true));
    let leaf = lower.leaf(params("host.example", false));
    assert_eq!(found(&[&leaf, &lower.certificate, &upper.certificate]), []);
}

/// An anchor is trusted as it is (RFC 5280 section 6.1.1); where it is what a server presents it is judged as such, and
/// a root that nobody trusts is judged as any other.
#[test]
fn the_validity_of_an_anchor_matters_to_its_own_server_only() {
    let expired = || {
        let mut params = params("host.example", true);
        (params.not_after, params.key_usages) = (date_time_ymd(2024, 6, 1), vec![]);
        params
    };
    let (root, stranger) = (Authority::root(expired()), Authority::root(params("Root", true)));
    let leaf = root.leaf(params("host.example", false));
    let (trusted, private) = (World::trusting(&root), World::trusting(&stranger));
    let presented = [&leaf, &root.certificate];
    assert!(trusted.judged(&presented).is_trusted());
    let judged = private.judged(&presented);
    assert_eq!((judged.ending, kinds(&judged)), (Ending::PrivateRoot, vec![(ProblemKind::Expired, 1)]));
    let judged = trusted.judged(&[&root.certificate]);
    assert_eq!((judged.ending, kinds(&judged)), (Ending::Anchor, vec![(ProblemKind::Expired, 0)]));
    assert!(!judged.is_trusted());
}

#[test]
fn a_longer_trusted_path_beats_a_shorter_private_one() {
    let root = Authority::root(params("Root", true));
    let old = Authority::root(params("New Root", true));
    // The same key, cross-signed by the trusted root.
    let key = KeyPair::from_pem(&old.issuer.key().serialize_pem()).unwrap();
    let crossed = certificate(&params("New Root", true).signed_by(&key, &root.issuer).unwrap());
    let leaf = old.leaf(params("host.example", false));
    let world = World::trusting(&root);
    let judgement = world.judged(&[&leaf, &old.certificate, &crossed]);
    assert!(judgement.is_trusted(), "{}", judgement.reason());
    assert_eq!(judgement.path, [leaf.sha256, crossed.sha256, root.certificate.sha256]);
    assert_eq!(world.judged(&[&leaf, &old.certificate]).ending, Ending::PrivateRoot);
}

#[test]
fn depth_and_budget_end_in_named_verdicts() {
    let root = Authority::root(params("Root", true));
    let mut cas = vec![root.below(params("CA 0", true))];
    for number in 1..9 {
        let next = cas.last().unwrap().below(params(&format!("CA {number}"), true));
        cas.push(next);
    }
    let leaf = cas.last().unwrap().leaf(params("host.example", false));
    let mut presented = vec![&leaf];
    presented.extend(cas.iter().map(|ca| &ca.certificate));
    let mut world = World::trusting(&root);
    assert_eq!(world.judged(&presented).ending, Ending::TooLong);
    world.budget = Budget { signatures: 3, steps: 1_000 };
    let report = world.report(&presented);
    assert!(report.budget_exceeded);
    assert_eq!(report.ending(), Ending::Budget);
    // The memo knows every answer now, and the budget is spent all the same.
    assert_eq!(world.report(&presented).ending(), Ending::Budget);
    assert_eq!(world.report(&[]).ending(), Ending::Unparsable);
}

#[test]
fn a_thicket_of_twins_ends() {
    let root = Authority::root(params("Root", true));
    // Every layer has twins of one name and key with other serials: paths multiply.
    let mut presented = Vec::new();
    let mut issuer = Authority::root(params("Layer 0", true));
    for layer in 1..6 {
        let key = KeyPair::generate().unwrap();
        let parameters = params(&format!("Layer {layer}"), true);
        for serial in 1_u8..8 {
            let mut twin = parameters.clone();
            twin.serial_number = Some(rcgen::SerialNumber::from_slice(&[serial]));
            presented.push(certificate(&twin.signed_by(&key, &issuer.issuer).unwrap()));
        }
        issuer = Authority { certificate: Arc::clone(&presented[0]), issuer: Issuer::new(parameters, key) };
    }
    let leaf = issuer.leaf(params("host.example", false));
    let mut all = vec![&leaf];
    all.extend(presented.iter());
    let world = World::trusting(&root);
    let report = world.report(&all);
    assert!(report.paths.len() <= 17);
    assert!(report.budget_exceeded);
    assert_eq!(report.ending(), Ending::Budget);
}

#[test]
fn dead_ends_do_not_hide_the_trusted_path() {
    let root = Authority::root(params("Root", true));
    let a = root.below(params("A", true));
    let leaf = a.leaf(params("host.example", false));
    let evil = Authority::root(params("Evil", true));
    let mut world = World::trusting(&root);
    // Twins of A: its name and its public key, issued by somebody else.
    let twin = |serial: u8| {
        let mut twin = params("A", true);
        twin.serial_number = Some(rcgen::SerialNumber::from_slice(&[serial]));
        certificate(&twin.signed_by(a.issuer.key(), &evil.issuer).unwrap())
    };
    world.pool.add(&evil.certificate);
    for serial in 1..25 {
        assert!(world.pool.add(&twin(serial)));
    }
    let report = world.report(&[&leaf]);
    assert_eq!(report.ending(), Ending::Incomplete, "what strangers' twins lead to says nothing");
    assert_eq!(
        report.paths[0].certificates[1].facts.as_ref().unwrap().spki_sha256,
        spki(&a),
        "but who signed is known"
    );
    assert_eq!(world.judged(&[&leaf]).ending, Ending::Incomplete);
    world.pool.add(&a.certificate);
    assert!(world.judged(&[&leaf]).is_trusted());
    assert!(world.judged(&[&leaf, &a.certificate]).is_trusted());
}

#[test]
fn a_signature_that_cannot_be_checked_is_not_called_bad() {
    let path = format!("{}/tests/data/x509/ec-secp256k1.der", env!("CARGO_MANIFEST_DIR"));
    let certificate = Arc::new(Certificate::parse(&std::fs::read(path).unwrap()));
    let root = Authority::root(params("Root", true));
    let mut world = World::trusting(&root);
    assert_eq!(world.report(&[&certificate]).ending(), Ending::SelfSigned);
    world.anchors.add(Arc::clone(&certificate));
    assert_eq!(world.report(&[&certificate]).ending(), Ending::Anchor);
}

/// CAs of A's name that an enemy would like others' chains to lead through.
fn enemies(a: &Authority, root: &Authority) -> Vec<Made> {
    let evil = Authority::root(params("Evil", true));
    let namesake = Authority::root(params("Root", true));
    let mut all = vec![Arc::clone(&evil.certificate), Arc::clone(&namesake.certificate)];
    for serial in 1..20 {
        let mut twin = params("A", true);
        twin.serial_number = Some(rcgen::SerialNumber::from_slice(&[serial]));
        // A's name and key below a private root, and below a root of the true one's name.
        all.push(certificate(&twin.signed_by(a.issuer.key(), &evil.issuer).unwrap()));
        all.push(certificate(&twin.signed_by(a.issuer.key(), &namesake.issuer).unwrap()));
        // A's name, and the identifier of A's key, with another key.
        let mut forged = params("A", true);
        forged.key_identifier_method = rcgen::KeyIdMethod::PreSpecified(
            a.certificate.facts.as_ref().unwrap().subject_key_identifier.as_deref().unwrap().to_vec(),
        );
        all.push(certificate(&forged.self_signed(&KeyPair::generate().unwrap()).unwrap()));
    }
    // A long row above A's key.
    let mut above = evil;
    for step in 0..8 {
        let next = above.below(params(&format!("Step {step}"), true));
        all.push(Arc::clone(&next.certificate));
        above = next;
    }
    all.push(certificate(&params("A", true).signed_by(a.issuer.key(), &above.issuer).unwrap()));
    // The root's name and key, issued by somebody else.
    all.push(certificate(&params("Root", true).signed_by(root.issuer.key(), &above.issuer).unwrap()));
    all
}

#[test]
fn strangers_in_the_pool_change_no_verdict_of_others() {
    let root = Authority::root(params("Root", true));
    let a = root.below(params("A", true));
    let private = Authority::root(params("Private", true));
    let leaf = a.leaf(params("host.example", false));
    let own = Authority::root(params("host.example", false)).certificate;
    let of_private = private.leaf(params("host.example", false));
    let mut broken = leaf.der.to_vec();
    *broken.last_mut().unwrap() ^= 1;
    let broken: Made = Arc::new(Certificate::parse(&broken));
    let chains: [&[&Made]; 7] = [
        &[&leaf],
        &[&leaf, &a.certificate],
        &[&leaf, &a.certificate, &root.certificate],
        &[&own],
        &[&of_private],
        &[&of_private, &private.certificate],
        &[&broken, &a.certificate],
    ];
    let mut world = World::trusting(&root);
    let verdicts = |world: &World| chains.map(|chain| (world.judged(chain).reason(), world.judged(chain).problems));
    let before = verdicts(&world);
    let reasons = ["incomplete", "trusted", "trusted", "self_signed", "incomplete", "private_root", "bad_signature"];
    assert_eq!(before.clone().map(|(reason, _)| reason), reasons);
    for enemy in enemies(&a, &root) {
        world.pool.add(&enemy);
        assert_eq!(verdicts(&world), before);
    }
    // With the true intermediate the short chain is trusted, whoever came before it.
    world.pool.add(&a.certificate);
    world.pool.prove(&a.certificate.sha256);
    assert_eq!(verdicts(&world)[0].0, "trusted");
}

#[test]
fn strangers_do_not_push_out_what_leads_to_an_anchor() {
    let root = Authority::root(params("Root", true));
    let a = root.below(params("A", true));
    let leaf = a.leaf(params("host.example", false));
    for proven in [true, false] {
        let mut world = World::trusting(&root);
        world.pool.add(&a.certificate);
        if proven {
            world.pool.prove(&a.certificate.sha256);
        }
        for _ in 0..2 {
            enemies(&a, &root).iter().for_each(|enemy| {
                world.pool.add(enemy);
            });
        }
        assert_eq!(world.judged(&[&leaf]).is_trusted(), proven);
    }
}

/// What a CA is for holds for what it signs (CA/Browser Forum Baseline Requirements 7.1.2, RFC 5280 section 4.2.1.12).
#[test]
fn a_ca_signs_only_for_the_purposes_it_is_for() {
    use ExtendedKeyUsagePurpose::{Any, ClientAuth, CodeSigning, EmailProtection, Other, ServerAuth};
    let gated = |oid: &[u64]| vec![Other(oid.to_vec())];
    let root = Authority::root(params("Root", true));
    let world = World::trusting(&root);
    // How many answer for the leaf of four, to servers and to clients.
    for (purposes, server, client) in [
        (vec![], 4, 4),
        (vec![ServerAuth], 4, 4),
        (vec![ServerAuth, ClientAuth], 4, 4),
        (vec![Any], 4, 4),
        (vec![EmailProtection, Any], 4, 4),
        (vec![ClientAuth], 3, 4),
        (vec![EmailProtection, CodeSigning], 3, 3),
        (gated(&[2, 16, 840, 1, 113_730, 4, 1]), 4, 4),
        (gated(&[1, 3, 6, 1, 4, 1, 311, 10, 3, 3]), 4, 4),
        (gated(&[1, 3, 6, 1, 4, 1, 311, 10, 3, 4]), 3, 3),
    ] {
        let mut upper = params("A", true);
        upper.extended_key_usages.clone_from(&purposes);
        let upper = root.below(upper);
        let issuing = upper.below(params("B", true));
        let leaf = issuing.leaf(params("host.example", false));
        for (purpose, expected) in [(Purpose::Server, server), (Purpose::Client, client)] {
            let report = world.report_for(&[&leaf, &issuing.certificate, &upper.certificate], purpose);
            assert_eq!(report.ending(), Ending::Anchor);
            assert_eq!(report.paths[0].vouched().len(), expected, "{purposes:?} {purpose:?}");
            let judgement = judge(&report, Question { at: Some(NOW), name: None, purpose });
            let told = purpose == Purpose::Server && expected < 4;
            assert!(
                purpose == Purpose::Client || kinds(&judgement) == vec![(ProblemKind::Purpose, 2); usize::from(told)]
            );
        }
    }
    // What browsers took for servers is nothing for clients, though it breaks no path.
    let mut gated_ca = params("A", true);
    gated_ca.extended_key_usages = gated(&[2, 16, 840, 1, 113_730, 4, 1]);
    let gated_ca = root.below(gated_ca);
    let leaf = gated_ca.leaf(params("host.example", false));
    for (purpose, problems) in [(Purpose::Server, vec![]), (Purpose::Client, vec![(ProblemKind::Purpose, 1)])] {
        let report = world.report_for(&[&leaf, &gated_ca.certificate], purpose);
        assert_eq!(kinds(&judge(&report, Question { at: Some(NOW), name: None, purpose })), problems);
    }
    // Of an anchor only trust counts, at the top as at the bottom of a path.
    let mut mail = params("Root", true);
    mail.extended_key_usages = vec![EmailProtection];
    let mail = Authority::root(mail);
    let leaf = mail.leaf(params("host.example", false));
    let report = World::trusting(&mail).report(&[&leaf]);
    assert!(report.paths[0].is_vouched());
    assert_eq!(World::trusting(&mail).judged(&[&leaf]).reason(), "trusted");
}

/// The key of a CA for mail signs for a server: the same CA has another certificate that allows it.
#[test]
fn a_twin_that_is_for_servers_comes_first() {
    let root = Authority::root(params("Root", true));
    let mut mail = params("A", true);
    mail.extended_key_usages = vec![ExtendedKeyUsagePurpose::EmailProtection];
    let mail = root.below(mail);
    let twin = certificate(&params("A", true).signed_by(mail.issuer.key(), &root.issuer).unwrap());
    let leaf = mail.leaf(params("host.example", false));
    for presented in [[&leaf, &mail.certificate, &twin], [&leaf, &twin, &mail.certificate]] {
        let world = World::trusting(&root);
        let report = world.report(&presented);
        assert_eq!(report.paths.iter().filter(|path| path.ending == Ending::Anchor).count(), 2);
        assert_eq!(report.paths[0].certificates[1].sha256, twin.sha256);
        assert!(world.judged(&presented).is_trusted());
    }
}
