//! The score of an unexpected certificate: evidence for and against, each with a name and points (docs/DETECTIONS.md).
//!
//! A pure function: alerts, `tlswatch explain` and `tlswatch why-not` run the same. What it does not ask, because nothing
//! below it reads that: whether the path changed (H13: hop limits, options of the SYN-ACK, addresses of the link layer)
//! and what DNS said (H16).

use std::sync::Arc;

use super::case::Case;
use super::key_choice::is_rsa;
use super::presented::{Presented, SctEvidence};
use super::record::{HostRecord, KnownCertificate, NameSet, Phase};
use super::sketch::about;
use crate::detect::finding::Point;
use crate::policy::Severity;
use crate::time::Timestamp;
use crate::x509::Sha256;

/// Digits of a digest by which a person tells two apart.
const KEY_DIGITS: usize = 16;

const DAY: i64 = 86_400;
/// Points from which there is a doubt at all.
pub const LOW: i32 = 25;
/// Clients that get both certificates, so that it is the server that has both.
const BALANCED: u32 = 2;
/// What B10 takes away.
pub const SCANNER: i32 = 100;

/// Everything that is judged.
#[derive(Clone, Debug)]
pub struct Question<'a> {
    /// The host for people.
    pub host: Arc<str>,
    /// What is known of it.
    pub record: &'a HostRecord,
    /// What came.
    pub new: &'a Presented,
    /// When it came first.
    pub at: Timestamp,
    /// The same as far as the packet's time is known: rules about validity use it.
    pub seconds: Option<i64>,
    /// What other clients got.
    pub others: Others,
    /// What is known beyond this host.
    pub network: Network,
    /// What else came with it.
    pub circumstances: Circumstances,
    /// Proofs that hold.
    pub proofs: Vec<Point>,
    /// Captures, not live: one sight is a baseline.
    pub offline: bool,
    /// Scores from which it is medium and high.
    pub thresholds: (i32, i32),
}

/// What other clients got (B4, H5, H6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Others {
    /// Clients that got the new certificate in the first hour.
    pub new_clients: u32,
    /// Their subnets.
    pub new_subnets: u32,
    /// Clients that got the old certificate in the hours around.
    pub old_clients: u32,
    /// Their subnets.
    pub old_subnets: u32,
    /// The old certificate was served again after the new one appeared.
    pub old_again: bool,
    /// By the same server address, to another client.
    pub old_again_same_server: bool,
    /// Clients that got the new certificate, and then the old one from the same server address.
    pub back: u32,
}

impl Others {
    /// A balancer sends the same clients to servers with either: nobody stands between these clients and the server.
    pub fn is_balanced(&self) -> bool {
        self.back >= BALANCED
    }

    /// Some of several clients, or the only one, may turn out to get both.
    pub fn may_be_balanced(&self) -> bool {
        !self.is_balanced() && self.old_again_same_server && (self.new_clients > 1 || self.back > 0)
    }
}

/// What is known beyond the host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Network {
    /// The issuer is known from other hosts.
    pub issuer_known: bool,
    /// The key is in certificates of unrelated names.
    pub key_elsewhere: bool,
    /// The certificate was accepted for other hosts, from three clients or more.
    pub widely_seen: bool,
    /// A client refused it.
    pub refused: bool,
    /// The policy allows the issuer for this host.
    pub issuer_allowed: bool,
}

/// What else was found out when the certificate came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Circumstances {
    /// The server answered this kind of client otherwise than always before.
    pub other_stack: bool,
    /// It took far longer to answer than it does.
    pub slow: bool,
    /// A revocation list has the expected certificate.
    pub old_revoked: bool,
    /// Only scanners and proxies of the owner got it.
    pub scanner: bool,
    /// Only servers in other subnets than those of all accepted certificates presented it.
    pub elsewhere: bool,
    /// All clients that got it take no certificate with a key of another kind (RSA, or ECDSA and EdDSA).
    pub no_choice: bool,
}

/// Adds up the evidence.
pub fn judge(question: &Question<'_>) -> Case {
    let mut tally = Tally { question, pro: Vec::new(), contra: Vec::new(), pending: 0 };
    let old = question.record.expected(question.new, question.seconds);
    let pair = old.is_some_and(|old| is_pair(old, question.new));
    if let Some(old) = old {
        tally.trust(old);
        tally.issuer(old);
        tally.time(old);
        tally.population(old, pair);
        tally.certificate(old);
        tally.circumstances(pair);
        tally.in_favour(old, pair);
    }
    tally.into_case(old)
}

/// The same names, the same trust, another kind of key.
fn is_pair(old: &KnownCertificate, new: &Presented) -> bool {
    use crate::x509::KeyKind::{Ec, Ed448, Ed25519, Rsa, RsaPss};
    let other_kind = if old.rsa { matches!(new.kind, Ec | Ed25519 | Ed448) } else { matches!(new.kind, Rsa | RsaPss) };
    let same_trust = (old.public && new.public) || (old.trusted && new.internal);
    other_kind && same_trust && old.names == NameSet::of(&new.name_hashes())
}

struct Tally<'a> {
    question: &'a Question<'a>,
    pro: Vec<Point>,
    contra: Vec<Point>,
    pending: i32,
}

impl Tally<'_> {
    fn against(&mut self, id: &'static str, points: i32, text: &str) {
        self.pro.push(Point { id, points, text: text.to_owned(), ..Point::default() });
    }

    fn compared(&mut self, (id, points): (&'static str, i32), text: &str, values: [String; 2]) {
        let [observed, expected] = values;
        let point = Point { id, points, text: text.to_owned(), observed: Some(observed), expected: Some(expected) };
        self.pro.push(point);
    }

    fn favour(&mut self, id: &'static str, points: i32, text: &str) {
        self.contra.push(Point { id, points, text: text.to_owned(), ..Point::default() });
    }

    fn new_issuer(&self) -> bool {
        !self.question.record.knows_issuer(self.question.new)
    }

    fn old_issuer_text(&self, old: &KnownCertificate) -> String {
        let known = self.question.record.issuers.iter().find(|issuer| issuer.key == old.issuer);
        known.map_or_else(String::new, |issuer| issuer.text.as_ref().to_owned())
    }

    fn trust(&mut self, old: &KnownCertificate) {
        let new = self.question.new;
        if old.trusted && !new.is_trusted() {
            let expected = if old.public { "public" } else { "internal_ca" };
            let values = [new.status.to_owned(), expected.to_owned()];
            self.compared(("H1", 50), "the expected certificate is trusted, this one is not", values);
        }
        if old.name_matches && new.name_matches == Some(false) {
            self.against("H17", 20, "it is not for this name, the expected one is");
        }
    }

    fn issuer(&mut self, old: &KnownCertificate) {
        let new = self.question.new;
        if self.new_issuer() {
            let mut values = [new.issuer.text.to_string(), self.old_issuer_text(old)];
            // Two issuers of one name are told apart by their keys.
            if values[0] == values[1] {
                let keys = [new.issuer.key, Sha256(old.issuer)].map(|key| key.to_string());
                for (value, key) in values.iter_mut().zip(keys) {
                    let key = key.get(..KEY_DIGITS).unwrap_or_default();
                    *value = format!("{value} (identified by {key}..)");
                }
            }
            self.compared(("H2a", 15), "the issuer's key was never seen for this host", values);
            // Who is in the list of roots, or named by the owner, is known, whether or not it was seen here.
            match self.question.network.issuer_known {
                true => {}
                false if new.is_trusted() => self.pending += 10,
                false => self.against("H2b", 10, "nor for any other host"),
            }
            if new.strength < old.strength {
                let strength = |bits| format!("about {bits} bits of strength");
                let values = [format!("{}, {}", new.key_text, strength(new.strength)), strength(old.strength)];
                self.compared(("H9", 10), "its key is weaker than that of the expected one", values);
            }
        }
        if new.self_signed && !old.self_signed {
            self.against("H3", 10, "it is self-signed, the expected one is not");
        }
    }

    fn time(&mut self, old: &KnownCertificate) {
        let Some(now) = self.question.seconds else { return };
        let lifetime = old.not_after.saturating_sub(old.not_before);
        let left = old.not_after.saturating_sub(now);
        let new_issuer = self.new_issuer();
        if left > (lifetime / 3).max(30 * DAY) {
            let points = if new_issuer { 15 } else { 5 };
            self.against("H4", points, &format!("the expected certificate is valid for {} more days", left / DAY));
        }
        let age = now.saturating_sub(self.question.new.not_before);
        let whole_day = [DAY, 2 * DAY].iter().any(|days| age.abs_diff(*days) <= 120);
        if new_issuer && (age.unsigned_abs() <= 600 || whole_day) {
            self.against("H7", 10, "it looks made for this moment: the beginning of its validity fits the clock");
        }
    }

    fn population(&mut self, old: &KnownCertificate, pair: bool) {
        let (new, circumstances) = (self.question.new, self.question.circumstances);
        let others = &self.question.others;
        let lost = old.trusted && !new.is_trusted();
        // Who could not have got the expected one tells nothing of who got it.
        let unfit = circumstances.no_choice && old.rsa != is_rsa(new.kind) && !lost;
        if pair || unfit {
            return;
        }
        // A forgery of an own CA beside the genuine one is told though it is not always shown.
        let balanced = old.trusted && new.is_trusted() && others.is_balanced();
        if others.old_again_same_server && !balanced {
            self.against("H5", 20, "the same server goes on to serve the expected one to others");
        }
        let few = others.new_clients == 1 || others.new_subnets == 1;
        if !few || others.old_clients < 5 || others.old_subnets < 2 {
            return;
        }
        // Whoever comes first after a change is the only one. A server of its own is for some before it is for all.
        let moves = new.public && circumstances.elsewhere;
        if lost || (others.old_again && !moves) {
            let many = about(others.old_clients, 2);
            let text = format!("only one client or subnet got it, {many} clients got the expected one");
            self.against("H6", 20, &text);
        } else {
            self.pending += 20;
        }
    }

    fn certificate(&mut self, old: &KnownCertificate) {
        let question = self.question;
        if old.sct && question.new.public && question.new.sct == SctEvidence::Absent {
            self.against("H8", 20, "it has no signed certificate timestamps, the expected one has");
        }
        if question.network.key_elsewhere {
            self.against("H10", 30, "its key is in certificates of unrelated names");
        }
        if let Some(product) = question.new.product.filter(|_| question.new.authorised.is_none()) {
            self.against("H11", 40, &format!("its issuer is an interception product ({})", product.name));
        }
        if question.network.refused {
            self.against("H15", 15, "a client refused it");
        }
    }

    fn circumstances(&mut self, pair: bool) {
        let circumstances = self.question.circumstances;
        if circumstances.scanner {
            self.favour("B10", -SCANNER, "only our own scanners and proxies got it");
        }
        // Another kind of key brings another cipher suite along.
        let other_stack = circumstances.other_stack && !pair;
        // Who goes to another public CA often goes to another software or further away, too: it adds to what others get.
        let alone = !self.pro.iter().any(|point| ["H5", "H6"].contains(&point.id));
        if self.question.new.public && alone {
            self.pending += if other_stack { 10 } else { 0 } + if circumstances.slow { 10 } else { 0 };
            return;
        }
        if other_stack {
            self.against("H12", 10, "the server answered this kind of client in another way than always before");
        }
        if circumstances.slow {
            self.against("H14", 10, "the answer took at least five times as long as usual");
        }
    }

    fn in_favour(&mut self, old: &KnownCertificate, pair: bool) {
        let question = self.question;
        let (record, new) = (question.record, question.new);
        if record.accepted().any(|known| known.spki == new.spki.0) {
            self.favour("B1", -60, "the key is known: a renewal");
        }
        let names = NameSet::of(&new.name_hashes());
        let known_issuer = !self.new_issuer();
        let covered = record.accepted().any(|known| known.issuer == new.issuer.key.0 && known.names.overlaps(&names));
        if known_issuer && new.valid && covered {
            self.favour("B2", -30, "the same issuer, a valid path and the same names");
        }
        let lifetime = old.not_after.saturating_sub(old.not_before);
        if question.circumstances.old_revoked {
            self.favour("B3", -15, "the expected certificate is revoked");
        } else if question.seconds.is_some_and(|now| old.not_after.saturating_sub(now) <= lifetime / 3) {
            self.favour("B3", -15, "the expected certificate is near its end");
        }
        let others = &question.others;
        if others.new_clients >= 3 && others.new_subnets >= 2 && !others.old_again {
            self.favour("B4", -25, "several clients got it, and the expected one was not seen again");
        }
        let phase = record.phase(question.at);
        if phase == Phase::Multi && (known_issuer || new.public) {
            self.favour("B5", -15, "the host has several certificates, and the issuer is known or public");
        }
        if question.network.widely_seen && new.valid {
            self.favour("B6", -20, "the certificate is known from other hosts and clients");
        }
        match new.sct {
            SctEvidence::Verified if new.public => {
                self.favour("B7", -20, "a public root and a verified certificate timestamp");
            }
            SctEvidence::Present if new.public => {
                self.favour("B7", -10, "a public root and a certificate timestamp");
            }
            _ => {}
        }
        if phase == Phase::Volatile {
            self.favour("B8", -30, "the host makes new certificates all the time");
        }
        if new.is_trusted() && !old.trusted {
            // No points: what many clients get may be the server's own all the same.
            self.favour(
                "B12",
                0,
                "it leads to a trust anchor, the expected one to none: it need not be the strange one",
            );
        }
        if old.trusted && new.is_trusted() && others.is_balanced() {
            // No points: H5 does not count.
            let text = format!("{} clients got the expected one from the same server later: it has both", others.back);
            self.favour("B13", 0, &text);
        }
        if question.network.issuer_allowed {
            self.favour("B9", -40, "the policy allows this issuer");
        }
        if pair {
            self.favour("B11", -30, "a pair: same names, same trust, another kind of key");
        }
    }

    fn into_case(self, old: Option<&KnownCertificate>) -> Case {
        let question = self.question;
        let score: i32 = self.pro.iter().chain(&self.contra).map(|point| point.points).sum();
        let (medium, high) = question.thresholds;
        let weighty = question.proofs.iter().any(|proof| proof.id != "P2");
        let severity = if !question.proofs.is_empty() {
            Some(if weighty || score >= 40 { Severity::Critical } else { Severity::High })
        } else if old.is_none() {
            None
        } else if score >= high {
            Some(Severity::High)
        } else if score >= medium {
            Some(Severity::Medium)
        } else if score >= LOW {
            Some(Severity::Low)
        } else {
            None
        };
        let mut confidence = (40 + score / 2).clamp(0, 95);
        let known = question.record.known_host(question.at);
        if question.offline && known.support <= 1 {
            confidence = (confidence - 20).max(0);
        }
        let learning = !question.offline && question.record.phase(question.at) == Phase::Learning;
        Case {
            host: question.host.clone(),
            at: question.at,
            score,
            pending: self.pending,
            severity,
            confidence: u8::try_from(confidence).unwrap_or(0),
            learning,
            has_baseline: old.is_some(),
            proofs: question.proofs.clone(),
            pro: self.pro,
            contra: self.contra,
            baseline: known,
            observed: question.new.seen(),
            expected_until: old.map(|old| old.not_after),
            others: question.others,
        }
    }
}
