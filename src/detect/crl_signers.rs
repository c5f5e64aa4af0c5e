//! Which lists count for the certificates of a CA: those that its key signed, and those that another key of the same CA
//! signed, after the CA changed its key (RFC 5280 section 6.3.3 f).

use std::sync::Arc;

use super::crl::{About, Crl, Standing, revoked_by};
use super::knowledge::Knowledge;
use crate::time::ValidityTime;
use crate::x509::roots::{Pool, may_be_ca};
use crate::x509::signature::{Algorithm, Verdict, verify};
use crate::x509::{Certificate, Facts};

/// Lists that are remembered not to be signed by a key: who invents namesakes of a CA must not fill the memory.
const MAX_UNSIGNED: usize = 65_536;
/// Certificates remembered of those whose key signed a list.
const MAX_SIGNERS: usize = 8;
/// Bit of KeyUsage (RFC 5280 section 4.2.1.3).
const CRL_SIGN: u16 = 1 << 6;

/// The CA that issued a certificate.
#[derive(Clone, Copy, Debug)]
pub struct IssuedBy<'a> {
    /// Its certificate.
    pub issuer: &'a Certificate,
    /// Who issued that, where it is known.
    pub above: Option<&'a Facts>,
}

impl Knowledge {
    /// Lists of this issuer whose signature its key made.
    pub fn crls_of<'a>(&'a self, issuer: &'a Facts) -> impl Iterator<Item = &'a Crl> {
        let named = self.crls.iter().enumerate().filter(move |(_, crl)| *crl.issuer == *issuer.subject.normalized);
        named.filter_map(move |(place, crl)| self.is_signed((place, crl), issuer).then_some(crl))
    }

    /// What the lists of its issuer say of a certificate at a time.
    pub fn revoked<'a>(&'a self, by: IssuedBy<'a>, child: &Facts, at: ValidityTime) -> Option<Standing<'a>> {
        let issuer = by.issuer.facts.as_deref()?;
        let about = About::of(child);
        let own = revoked_by(|| self.crls_of(issuer), &about, at);
        if own.is_some_and(|own| own.entry.is_permanent()) {
            return own;
        }
        // A list of the other key need not be about what this key signed: it revokes what it names, and lifts nothing.
        let others = revoked_by(|| self.crls_of_other_keys(by), &about, at);
        // What it revoked before this certificate was made is another one.
        others.filter(|one| child.not_before.is_none_or(|made| made <= one.entry.date)).or(own)
    }

    /// Takes note of a CA that was seen, where it signed one of the lists.
    pub fn note_ca(&self, ca: &Arc<Certificate>) {
        if self.crls.is_empty() {
            return;
        }
        let Some(facts) = ca.facts.as_deref() else { return };
        let may_sign = || may_be_ca(facts) && facts.key_usage.is_none_or(|usage| usage & CRL_SIGN != 0);
        for (place, crl) in self.crls.iter().enumerate() {
            if *crl.issuer == *facts.subject.normalized && may_sign() && self.is_signed((place, crl), facts) {
                let mut signers = self.crl_signers.entry(place).or_default();
                if signers.len() < MAX_SIGNERS && signers.iter().all(|known| known.sha256 != ca.sha256) {
                    signers.push(Arc::clone(ca));
                }
            }
        }
    }

    /// [`note_ca`](Self::note_ca) of all trust anchors, and of all CAs that were seen before.
    pub fn note_cas(&self, pool: &Pool) {
        for crl in &self.crls {
            let anchors = self.anchors.named(&crl.issuer).iter().chain(self.builtin.named(&crl.issuer));
            anchors.chain(pool.named(&crl.issuer)).for_each(|ca| self.note_ca(ca));
        }
    }

    /// Lists that another key of the same CA signed.
    fn crls_of_other_keys<'a>(&'a self, by: IssuedBy<'a>) -> impl Iterator<Item = &'a Crl> {
        let name = by.issuer.facts.as_deref().map(|facts| facts.subject.normalized.as_str());
        let named = self.crls.iter().enumerate().filter(move |(_, crl)| name == Some(&*crl.issuer));
        let is_by_other = move |place: &usize| {
            let signers = self.crl_signers.get(place);
            signers.is_some_and(|signers| signers.iter().any(|signer| self.is_same_ca(by, signer)))
        };
        named.filter_map(move |(place, crl)| is_by_other(&place).then_some(crl))
    }

    /// Whether two certificates of one name are those of one CA: one key signed the other's certificate, or the same CA
    /// signed both. The name alone says nothing: anybody may take it.
    fn is_same_ca(&self, by: IssuedBy<'_>, other: &Certificate) -> bool {
        let Some((one, two)) = by.issuer.facts.as_deref().zip(other.facts.as_deref()) else { return false };
        if one.spki_sha256 == two.spki_sha256 {
            // Its own lists are asked first.
            return false;
        }
        let signed = |child: &Certificate, facts: &Facts, by: &Facts| {
            facts.issuer.normalized == by.subject.normalized && self.signatures.verify(child, by) == Verdict::Good
        };
        let both = |above: &Facts| signed(by.issuer, one, above) && signed(other, two, above);
        let anchors = || self.anchors.issuers_of(one).into_iter().filter_map(|anchor| anchor.facts.as_deref());
        signed(other, two, one) || signed(by.issuer, one, two) || by.above.is_some_and(both) || anchors().any(both)
    }

    fn is_signed(&self, (place, crl): (usize, &Crl), issuer: &Facts) -> bool {
        let key = (place, issuer.spki_sha256);
        if let Some(known) = self.crl_signatures.get(&key) {
            return *known;
        }
        let signed = crl.is_signed(|octets, oid, signature| {
            let algorithm = Algorithm { oid, parameters: &[] };
            verify(&issuer.key, algorithm, octets, signature) == Verdict::Good
        });
        if signed || self.crl_signatures.len() < MAX_UNSIGNED {
            self.crl_signatures.insert(key, signed);
        }
        signed
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{
        CertificateRevocationListParams, KeyIdMethod, RevocationReason, RevokedCertParams, SerialNumber, date_time_ymd,
    };

    use super::*;
    use crate::detect::judge_tests::Bench;
    use crate::detect::testing::{Ca, DAY, Plan, START, ids, key, parse};
    use crate::time::Timestamp;
    use crate::x509::Sha256;

    const NONE: [&str; 0] = [];

    /// A list of this CA, made by its key on 2026-02-03, that revokes a certificate on the 2nd.
    fn list(signer: &Ca, revoked: &Certificate) -> Vec<Crl> {
        made(signer, 3, Some((&revoked.facts.as_deref().unwrap().serial, None)))
    }

    /// One of this day of February, with this entry.
    fn made(signer: &Ca, day: u8, entry: Option<(&[u8], Option<RevocationReason>)>) -> Vec<Crl> {
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2026, 2, day),
            next_update: date_time_ymd(2026, 9, 1),
            crl_number: SerialNumber::from_slice(&[1]),
            issuing_distribution_point: None,
            revoked_certs: Vec::from_iter(entry.map(|(serial, reason_code)| RevokedCertParams {
                serial_number: SerialNumber::from_slice(serial),
                revocation_time: date_time_ymd(2026, 2, 2),
                reason_code,
                invalidity_date: None,
            })),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        Crl::read(list.signed_by(&signer.issuer).unwrap().der()).unwrap()
    }

    fn host() -> Plan {
        Plan::of(&["www.corp.example"]).dates(START - 60 * DAY, START + 60 * DAY)
    }

    /// Findings about a chain, after another one was seen.
    fn found(
        roots: &[&Ca],
        crls: Vec<Crl>,
        (before, chain): (&[Arc<Certificate>], &[Arc<Certificate>]),
    ) -> Vec<&'static str> {
        let mut bench = Bench::new(roots);
        bench.knowledge.crls = crls;
        let other = bench.handshake(("other.corp.example", "203.0.113.11"), before);
        let this = bench.handshake(("www.corp.example", "203.0.113.10"), chain);
        let mut judge = bench.judge();
        judge.observe(&other, Timestamp(0));
        let found = judge.observe(&this, Timestamp(1));
        ids(&found).into_iter().filter(|id| *id == "CERT-013").collect()
    }

    #[test]
    fn a_ca_with_a_new_key_signs_the_lists_for_the_old_one() {
        let (root, stranger) = (Ca::new("Root"), Ca::new("Other Root"));
        let (old, new) = (root.intermediate("Issuing CA"), root.intermediate("Issuing CA"));
        let namesake = stranger.intermediate("Issuing CA");
        let chain = old.chain(&host());
        let roots = [&root, &stranger];
        for (signer, seen, fires) in [
            (&old, false, true),
            (&new, true, true),
            // Nobody knows whose key made it.
            (&new, false, false),
            // A CA of the same name below another root.
            (&namesake, true, false),
        ] {
            let plan = Plan::of(&["other.corp.example"]);
            let before = if seen { signer.chain(&plan) } else { root.chain(&plan) };
            let told = found(&roots, list(signer, &chain[0]), (&before, &chain));
            assert_eq!(told.len(), usize::from(fires), "{seen} {fires}");
        }
        // A certificate that was made after the list said so is another one.
        let later = old.chain(&host().dates(START - 5 * DAY, START + 60 * DAY));
        let before = new.chain(&Plan::of(&["other.corp.example"]));
        assert_eq!(found(&roots, list(&new, &later[0]), (&before, &later)), NONE);
    }

    /// The key of a CA that may not sign lists (RFC 5280 section 4.2.1.3) speaks for no other key.
    #[test]
    fn a_ca_that_may_sign_no_lists_signs_none_for_others() {
        use rcgen::KeyUsagePurpose::{CrlSign, KeyCertSign};
        let root = Ca::new("Root");
        let old = root.intermediate("Issuing CA");
        let chain = old.chain(&host());
        for (usages, told) in [(vec![KeyCertSign, CrlSign], &["CERT-013"][..]), (vec![KeyCertSign], &NONE)] {
            let new = root.intermediate_with("Issuing CA", |params| params.key_usages = usages);
            let before = new.chain(&Plan::of(&["other.corp.example"]));
            // Whoever has the key can sign a list all the same.
            let mut unlimited = rcgen::CertificateParams::default();
            unlimited.distinguished_name.push(rcgen::DnType::CommonName, "Issuing CA");
            let key = rcgen::KeyPair::try_from(new.issuer.key().serialize_der()).unwrap();
            let signer = Ca { issuer: rcgen::Issuer::new(unlimited, key), certificate: new.certificate };
            assert_eq!(found(&[&root], list(&signer, &chain[0]), (&before, &chain)), told);
        }
    }

    #[test]
    fn roots_of_one_name_are_one_ca_where_one_signed_the_other() {
        let (old, new) = (Ca::new("Corp Root"), Ca::new("Corp Root"));
        let chain = old.chain(&host());
        let crls = list(&new, &chain[0]);
        let plan = Plan::of(&["other.corp.example"]);
        // Both are trusted, and the one may be the other's namesake in another laboratory.
        assert_eq!(found(&[&old, &new], crls.clone(), (&new.chain(&plan), &chain)), NONE);
        // The old key signed the new one's certificate (RFC 4210 section 4.4), or the reverse.
        for (signer, subject, roots) in [(&old, &new, [&old]), (&new, &old, [&new])] {
            let linked = link(signer, subject);
            let (before, chain) = if std::ptr::eq(subject, &new) {
                (vec![new.leaf(&plan), linked], chain.clone())
            } else {
                (new.chain(&plan), vec![Arc::clone(&chain[0]), linked])
            };
            assert_eq!(found(&roots, crls.clone(), (&before, &chain)), ["CERT-013"]);
        }
    }

    /// Each key may have lists of its own, about what it signed alone.
    #[test]
    fn a_list_of_another_key_lifts_no_hold() {
        let root = Ca::new("Root");
        let (old, new) = (root.intermediate("Issuing CA"), root.intermediate("Issuing CA"));
        let (chain, before) = (old.chain(&host()), new.chain(&Plan::of(&["other.corp.example"])));
        let serial = &chain[0].facts.as_deref().unwrap().serial;
        let hold = made(&old, 3, Some((serial, Some(RevocationReason::CertificateHold))));
        for (later, fires) in [(made(&old, 9, None), false), (made(&new, 9, None), true)] {
            let crls = [hold.clone(), later].concat();
            assert_eq!(found(&[&root], crls, (&before, &chain)).len(), usize::from(fires));
        }
    }

    /// The certificate of a CA's key under the key of another one.
    fn link(signer: &Ca, subject: &Ca) -> Arc<Certificate> {
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name.push(rcgen::DnType::CommonName, "Corp Root");
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.not_before = date_time_ymd(2025, 1, 1);
        params.not_after = date_time_ymd(2030, 1, 1);
        parse(params.signed_by(subject.issuer.key(), &signer.issuer).unwrap().der())
    }

    #[test]
    fn namesakes_of_a_ca_fill_no_memory() {
        let ca = Ca::new("Issuing CA");
        let bench = Bench::new(&[&ca]);
        let mut knowledge = bench.knowledge;
        knowledge.crls = list(&ca, &ca.leaf(&host()));
        knowledge.note_ca(&ca.certificate);
        let mut facts = Ca::with_key("Issuing CA", key()).certificate.facts.as_deref().unwrap().clone();
        for number in 0..MAX_UNSIGNED + 10 {
            facts.spki_sha256 = Sha256([0; 32]);
            facts.spki_sha256.0[..8].copy_from_slice(&number.to_be_bytes());
            assert_eq!(knowledge.crls_of(&facts).count(), 0);
        }
        assert_eq!(knowledge.crl_signatures.len(), MAX_UNSIGNED);
        assert_eq!(knowledge.crls_of(ca.certificate.facts.as_deref().unwrap()).count(), 1);
        assert_eq!(knowledge.crl_signers.get(&0).unwrap().len(), 1);
    }
}
