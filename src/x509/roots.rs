//! Trust anchors and the certificates of CAs seen so far, both found by subject and key identifier.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use base64::Engine as _;

use super::{Certificate, Facts, Sha256};

/// Certificates of one subject in a [`Pool`]: real CAs have a handful, a forger could send thousands.
const MAX_SAME_SUBJECT: usize = 32;

/// Trust anchors.
#[derive(Clone, Debug, Default)]
pub struct TrustAnchors {
    index: Index,
    fingerprints: HashSet<Sha256>,
    keys: HashSet<(String, Sha256)>,
}

impl TrustAnchors {
    /// Mozilla's roots for servers, built in.
    pub fn mozilla() -> Self {
        let mut anchors = Self::default();
        for root in webpki_root_certs::TLS_SERVER_ROOT_CERTS {
            anchors.add(Arc::new(Certificate::parse(root)));
        }
        anchors
    }

    /// Adds every certificate of a PEM text (or one DER) and returns how many could be read.
    pub fn add_file(&mut self, contents: &[u8]) -> usize {
        certificates(contents).filter(|certificate| self.add(Arc::clone(certificate))).count()
    }

    /// Adds one anchor; `false` when it does not parse. It needs neither a signature nor the CA flag: who names it
    /// vouches for it.
    pub fn add(&mut self, certificate: Arc<Certificate>) -> bool {
        let Some(facts) = certificate.facts.as_deref() else { return false };
        if self.fingerprints.insert(certificate.sha256) {
            self.keys.insert((facts.subject.normalized.clone(), facts.spki_sha256));
            self.index.insert(&certificate);
        }
        true
    }

    /// This very certificate is an anchor, or one with its subject and key is (RFC 5280 section 6.1.1 (d): name and key
    /// make an anchor, so a cross-signed twin of a root counts as the root).
    pub fn is_anchor(&self, certificate: &Certificate) -> bool {
        self.fingerprints.contains(&certificate.sha256)
            || certificate
                .facts
                .as_deref()
                .is_some_and(|facts| self.keys.contains(&(facts.subject.normalized.clone(), facts.spki_sha256)))
    }

    /// Whether one has this key (SHA-256 of its SubjectPublicKeyInfo).
    pub fn has_key(&self, spki: &Sha256) -> bool {
        self.keys.iter().any(|(_, key)| key == spki)
    }

    /// All of them, in order of their subjects.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Certificate>> {
        self.index.subjects.values().flatten()
    }

    /// Those with this subject (RFC 5280 section 7.1), in order of insertion.
    pub fn named(&self, subject: &str) -> &[Arc<Certificate>] {
        self.index.named(subject)
    }

    /// One with this key.
    pub fn with_key(&self, spki: &Sha256) -> Option<&Arc<Certificate>> {
        let has_key = |one: &&Arc<Certificate>| one.facts.as_deref().is_some_and(|facts| facts.spki_sha256 == *spki);
        self.all().find(has_key)
    }

    /// Anchors that may have issued a certificate.
    pub fn issuers_of(&self, child: &Facts) -> Vec<&Arc<Certificate>> {
        self.index.issuers_of(child)
    }

    /// Number of anchors.
    pub fn len(&self) -> usize {
        self.fingerprints.len()
    }

    /// There are none: nothing is trusted.
    pub fn is_empty(&self) -> bool {
        self.fingerprints.is_empty()
    }
}

/// Certificates of CAs seen in the traffic, for chains that were sent without them. Nothing in it is trusted: a path
/// through it is verified like any other. Bounded in bytes; the oldest leaves, those that were never part of a trusted
/// path first: anyone can show certificates of any name, and must not push out what others need. Same insertions, same
/// contents.
#[derive(Clone, Debug)]
pub struct Pool {
    index: Index,
    /// Certificates that nobody vouches for, oldest first.
    strangers: VecDeque<Arc<Certificate>>,
    /// Certificates that were part of a trusted path, in the order in which that was found out.
    proven: VecDeque<Arc<Certificate>>,
    /// Fingerprints of both, and which of them are proven.
    known: HashMap<Sha256, bool>,
    bytes: usize,
    proven_bytes: usize,
    limit: usize,
}

impl Pool {
    /// A pool that holds `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self {
            index: Index::default(),
            strangers: VecDeque::new(),
            proven: VecDeque::new(),
            known: HashMap::new(),
            bytes: 0,
            proven_bytes: 0,
            limit,
        }
    }

    /// Keeps the certificate when it may sign others (cA, or version 1 with its own issuer); `true` when it is new.
    pub fn add(&mut self, certificate: &Arc<Certificate>) -> bool {
        let Some(facts) = certificate.facts.as_deref() else { return false };
        if !may_be_ca(facts) || self.known.contains_key(&certificate.sha256) {
            return false;
        }
        let weight = certificate.weight();
        if weight > self.limit / 16 {
            return false;
        }
        let same = self.index.subjects.get(&facts.subject.normalized);
        if let Some(same) = same.filter(|same| same.len() >= MAX_SAME_SUBJECT) {
            let stranger = same.iter().find(|one| self.known.get(&one.sha256) == Some(&false)).cloned();
            let Some(stranger) = stranger else { return false };
            self.strangers.retain(|other| other.sha256 != stranger.sha256);
            self.forget(&stranger);
        }
        self.known.insert(certificate.sha256, false);
        self.bytes += weight;
        self.index.insert(certificate);
        self.strangers.push_back(Arc::clone(certificate));
        while self.bytes > self.limit {
            let Some(oldest) = self.strangers.pop_front() else { break };
            self.forget(&oldest);
        }
        true
    }

    /// A certificate of the pool is part of a trusted path.
    pub fn prove(&mut self, sha256: &Sha256) {
        let Some(proven) = self.known.get_mut(sha256).filter(|proven| !**proven) else { return };
        *proven = true;
        let place = self.strangers.iter().position(|one| one.sha256 == *sha256);
        let Some(certificate) = place.and_then(|place| self.strangers.remove(place)) else { return };
        self.proven_bytes += certificate.weight();
        self.proven.push_back(certificate);
        // A quarter is left for what is new.
        while self.proven_bytes > self.limit / 4 * 3 {
            let Some(oldest) = self.proven.pop_front() else { break };
            self.proven_bytes = self.proven_bytes.saturating_sub(oldest.weight());
            self.forget(&oldest);
        }
    }

    fn forget(&mut self, certificate: &Certificate) {
        self.bytes = self.bytes.saturating_sub(certificate.weight());
        self.known.remove(&certificate.sha256);
        self.index.remove(certificate);
    }

    /// Those with this subject (RFC 5280 section 7.1), in order of insertion.
    pub fn named(&self, subject: &str) -> &[Arc<Certificate>] {
        self.index.named(subject)
    }

    /// Certificates that are part of a trusted path, in the order in which that was found out.
    pub fn proven(&self) -> impl Iterator<Item = &Arc<Certificate>> {
        self.proven.iter()
    }

    /// Whether a certificate of the pool is part of a trusted path.
    pub fn is_proven(&self, sha256: &Sha256) -> bool {
        self.known.get(sha256) == Some(&true)
    }

    /// Certificates of the pool that may have issued a certificate: those of trusted paths, then strangers.
    pub fn issuers_of(&self, child: &Facts) -> Vec<&Arc<Certificate>> {
        let is_proven = |one: &Certificate| self.is_proven(&one.sha256);
        let same = self.index.subjects.get(&child.issuer.normalized);
        // A stranger with the right key identifier does not rule out what is known to be good.
        let mut issuers: Vec<_> = same.into_iter().flatten().filter(|one| is_proven(one)).collect();
        issuers.sort_by_key(|issuer| key_distance(child, issuer));
        issuers.extend(self.index.issuers_of(child).into_iter().filter(|one| !is_proven(one)));
        issuers
    }

    /// Number of certificates.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// It holds nothing.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }
}

/// The certificates of a PEM text, or of one DER.
pub fn certificates(contents: &[u8]) -> impl Iterator<Item = Arc<Certificate>> {
    let all = if contents.first() == Some(&0x30) { vec![contents.to_vec()] } else { pem(contents) };
    all.into_iter().map(|der| Arc::new(Certificate::parse(&der)))
}

/// The certificate may have signed others: cA, or a version 1 that issued itself, as old roots are.
pub fn may_be_ca(facts: &Facts) -> bool {
    match facts.basic_constraints {
        Some((authority, _)) => authority,
        None => facts.version < 3 && facts.subject.normalized == facts.issuer.normalized,
    }
}

/// Certificates by normalised subject, in order of insertion.
#[derive(Clone, Debug, Default)]
struct Index {
    subjects: BTreeMap<String, Vec<Arc<Certificate>>>,
}

impl Index {
    fn insert(&mut self, certificate: &Arc<Certificate>) {
        if let Some(facts) = certificate.facts.as_deref() {
            self.subjects.entry(facts.subject.normalized.clone()).or_default().push(Arc::clone(certificate));
        }
    }

    fn named(&self, subject: &str) -> &[Arc<Certificate>] {
        self.subjects.get(subject).map_or(&[], Vec::as_slice)
    }

    fn remove(&mut self, certificate: &Certificate) {
        let Some(facts) = certificate.facts.as_deref() else { return };
        if let Some(same) = self.subjects.get_mut(&facts.subject.normalized) {
            same.retain(|other| other.sha256 != certificate.sha256);
            if same.is_empty() {
                self.subjects.remove(&facts.subject.normalized);
            }
        }
    }

    /// Those whose key identifier is the one asked for come first; those without one follow; others are left out only
    /// where some fit, since identifiers are hints (RFC 4158 section 3.5.12).
    fn issuers_of(&self, child: &Facts) -> Vec<&Arc<Certificate>> {
        let Some(same) = self.subjects.get(&child.issuer.normalized) else { return Vec::new() };
        let mut candidates: Vec<_> = same.iter().collect();
        candidates.sort_by_key(|candidate| key_distance(child, candidate));
        if candidates.first().is_some_and(|best| key_distance(child, best) == 0) {
            candidates.retain(|candidate| key_distance(child, candidate) < 2);
        }
        candidates
    }
}

/// How badly an issuer's key identifier fits a child: 0 equal, 1 unknown, 2 another.
pub(crate) fn key_distance(child: &Facts, issuer: &Certificate) -> u8 {
    let identifier = issuer.facts.as_deref().and_then(|facts| facts.subject_key_identifier.as_deref());
    match (child.authority_key_identifier.as_deref(), identifier) {
        (Some(wanted), Some(has)) if wanted == has => 0,
        (Some(_), Some(_)) => 2,
        _ => 1,
    }
}

/// The certificates of a PEM text (RFC 7468); what is not base64 is skipped.
pub fn pem(text: &[u8]) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    let mut body: Option<Vec<u8>> = None;
    for line in text.split(|byte| *byte == b'\n') {
        let line = line.trim_ascii();
        if matches!(line, b"-----BEGIN CERTIFICATE-----" | b"-----BEGIN TRUSTED CERTIFICATE-----") {
            body = Some(Vec::new());
        } else if line.starts_with(b"-----END ") {
            let decoded = body.take().and_then(|body| base64::engine::general_purpose::STANDARD.decode(body).ok());
            found.extend(decoded);
        } else if let Some(body) = &mut body {
            body.extend_from_slice(line);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::x509::signature::{Verdict, verify_certificate};

    #[test]
    fn every_mozilla_root_parses_and_is_found() {
        let anchors = TrustAnchors::mozilla();
        assert_eq!(anchors.len(), webpki_root_certs::TLS_SERVER_ROOT_CERTS.len());
        for root in webpki_root_certs::TLS_SERVER_ROOT_CERTS {
            let root = Certificate::parse(root);
            let facts = root.facts.as_deref().unwrap();
            assert!(facts.bad_extensions.is_empty(), "{}: {:?}", facts.subject.text, facts.bad_extensions);
            assert!(anchors.is_anchor(&root));
            assert!(anchors.issuers_of(facts).iter().any(|anchor| anchor.sha256 == root.sha256));
            assert_eq!(verify_certificate(&root, &facts.key), Verdict::Good, "{}", facts.subject.text);
        }
    }

    #[test]
    fn pem_is_read_with_noise_around() {
        let der = webpki_root_certs::TLS_SERVER_ROOT_CERTS[0].as_ref();
        let body = base64::engine::general_purpose::STANDARD.encode(der);
        let lines: Vec<_> = body.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
        let text = format!(
            "# comment\r\n-----BEGIN CERTIFICATE-----\r\n{}\r\n-----END CERTIFICATE-----\nx\n\
             -----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n\
             -----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n",
            lines.join("\r\n")
        );
        let mut anchors = TrustAnchors::default();
        assert_eq!(anchors.add_file(text.as_bytes()), 1);
        assert_eq!(anchors.add_file(der), 1);
        assert_eq!(anchors.len(), 1);
    }

    #[test]
    fn the_pool_forgets_the_oldest() {
        let roots: Vec<_> =
            webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().map(|der| Arc::new(Certificate::parse(der))).collect();
        let mut pool = Pool::new(160 << 10);
        for root in &roots {
            assert!(pool.add(root));
            assert!(!pool.add(root));
            assert!(pool.bytes <= pool.limit);
        }
        assert!(pool.len() > 5 && pool.len() < roots.len());
        assert!(pool.issuers_of(roots[0].facts.as_deref().unwrap()).is_empty());
        assert!(!pool.issuers_of(roots[roots.len() - 1].facts.as_deref().unwrap()).is_empty());
        let indexed: usize = pool.index.subjects.values().map(Vec::len).sum();
        assert_eq!(indexed, pool.len());
    }

    #[test]
    fn what_is_proven_stays_while_strangers_leave() {
        let roots: Vec<_> =
            webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().map(|der| Arc::new(Certificate::parse(der))).collect();
        let mut pool = Pool::new(128 << 10);
        for (place, root) in roots.iter().enumerate() {
            pool.add(root);
            if place < 2 {
                pool.prove(&root.sha256);
            }
            pool.prove(&Sha256([7; 32]));
        }
        let has = |pool: &Pool, place: usize| !pool.issuers_of(roots[place].facts.as_deref().unwrap()).is_empty();
        assert!(has(&pool, 0) && has(&pool, 1) && !has(&pool, 2));
        assert_eq!(pool.strangers.len() + pool.proven.len(), pool.len());
        // When all are proven, the oldest leaves after all.
        for root in &roots {
            pool.add(root);
            pool.prove(&root.sha256);
            assert!(pool.bytes <= pool.limit);
        }
        assert!(!has(&pool, 0) && has(&pool, roots.len() - 1));
    }

    /// Mozilla's roots under one name.
    fn namesakes() -> impl Iterator<Item = Certificate> {
        webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().map(|der| {
            let mut one = Certificate::parse(der);
            one.facts.as_mut().unwrap().subject.normalized = "namesake".to_owned();
            one
        })
    }

    #[test]
    fn namesakes_take_the_places_of_namesakes_only() {
        let mut pool = Pool::new(1 << 20);
        for der in webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().rev().take(3) {
            assert!(pool.add(&Arc::new(Certificate::parse(der))));
        }
        for one in namesakes().take(MAX_SAME_SUBJECT + 9) {
            assert!(pool.add(&Arc::new(one)));
        }
        assert_eq!((pool.len(), pool.strangers.len()), (3 + MAX_SAME_SUBJECT, 3 + MAX_SAME_SUBJECT));
        assert_eq!(pool.named("namesake").len(), MAX_SAME_SUBJECT);
    }

    #[test]
    fn key_identifiers_tell_namesakes_apart_where_one_fits() {
        let mut anchors = TrustAnchors::default();
        let identifiers = [Some(&[1][..]), None, Some(&[2])];
        let made: Vec<Sha256> = namesakes()
            .zip(identifiers)
            .map(|(mut one, identifier)| {
                one.facts.as_mut().unwrap().subject_key_identifier = identifier.map(Into::into);
                let sha256 = one.sha256;
                assert!(anchors.add(Arc::new(one)));
                sha256
            })
            .collect();
        let mut child = Facts::default();
        child.issuer.normalized = "namesake".to_owned();
        for (wanted, found) in [
            (Some(&[1][..]), &[0, 1][..]),
            (Some(&[2]), &[2, 1]),
            // Identifiers are hints (RFC 4158 section 3.5.12).
            (Some(&[3]), &[1, 0, 2]),
            (None, &[0, 1, 2]),
        ] {
            child.authority_key_identifier = wanted.map(Into::into);
            let issuers: Vec<Sha256> = anchors.issuers_of(&child).iter().map(|one| one.sha256).collect();
            assert_eq!(issuers, found.iter().map(|place| made[*place]).collect::<Vec<_>>(), "{wanted:?}");
        }
    }
}
