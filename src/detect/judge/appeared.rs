//! CAs that appeared after chains that may lack them. Which chains are judged again is what a stranger's handshake
//! asks for, so each handshake pays for a few; what is left goes on at the next ones.

use std::collections::VecDeque;
use std::sync::Arc;

use super::{ChainOf, Judge};
use crate::detect::finding::{AlertId, Finding};
use crate::detect::open_chains;
use crate::time::{NANOS_PER_SECOND, Timestamp};
use crate::x509::chain::Ending;
use crate::x509::judge::Purpose;
use crate::x509::signature::Verdict;
use crate::x509::{Certificate, Facts};

/// CAs that wait, of known ones and of others each.
const MAX_CAS: usize = 1_024;
/// Bytes of them, of known ones and of others each.
const MAX_BYTES: usize = 8 << 20;
/// Certificates of one chain that are compared with a CA.
const MAX_TOPS: usize = 4;

/// CAs that wait.
#[derive(Debug, Default)]
pub(super) struct Appeared {
    /// Those that lead to an anchor or that the policy names: nobody makes many of them.
    known: Line,
    others: Line,
    left: u64,
    /// Second of the capture's clock in which work was last done for the passing of time.
    second: i64,
}

/// CAs that wait, the oldest first.
#[derive(Debug, Default)]
struct Line {
    cas: VecDeque<Newcomer>,
    bytes: usize,
}

/// A CA, and up to where the chains that may lack it were compared with it.
#[derive(Debug)]
struct Newcomer {
    certificate: Arc<Certificate>,
    is_known: bool,
    list: List,
}

/// A list of chains that wait, and the last one that was compared.
#[derive(Clone, Copy, Debug)]
enum List {
    Open(Option<AlertId>),
    Undecided(Option<AlertId>),
    Detector(usize, Option<u64>),
}

/// Work that may be done.
#[derive(Clone, Copy, Debug)]
struct Work {
    /// Signatures checked and chains judged again. The last chain may exceed it, by [`MAX_TOPS`] at most.
    dear: usize,
    /// Chains looked at.
    looks: usize,
}

impl Work {
    /// For each handshake.
    const HANDSHAKE: Self = Self { dear: 8, looks: 128 };
    /// For each second of the capture's clock.
    const SECOND: Self = Self { dear: 64, looks: 1_024 };
    /// At the end.
    const END: Self = Self { dear: 8_192, looks: 1 << 18 };
}

impl Appeared {
    /// How many were not compared with all chains.
    pub(super) fn left(&self) -> u64 {
        self.left
    }

    fn is_empty(&self) -> bool {
        self.known.cas.is_empty() && self.others.cas.is_empty()
    }

    fn line(&mut self, is_known: bool) -> &mut Line {
        if is_known { &mut self.known } else { &mut self.others }
    }

    fn push(&mut self, ca: Newcomer) {
        let line = self.line(ca.is_known);
        let bytes = line.bytes.saturating_add(ca.certificate.weight());
        if line.cas.len() >= MAX_CAS || bytes > MAX_BYTES {
            self.left = self.left.saturating_add(1);
            return;
        }
        line.bytes = bytes;
        line.cas.push_back(ca);
    }

    fn pop(&mut self) -> Option<Newcomer> {
        let line = self.line(!self.known.cas.is_empty());
        let ca = line.cas.pop_front()?;
        line.bytes = line.bytes.saturating_sub(ca.certificate.weight());
        Some(ca)
    }

    fn put_back(&mut self, ca: Newcomer) {
        let line = self.line(ca.is_known);
        line.bytes = line.bytes.saturating_add(ca.certificate.weight());
        line.cas.push_front(ca);
    }
}

impl Judge {
    /// Findings about chains that CAs of this handshake, or of those before, completed.
    pub(super) fn completed_by_fresh(&mut self) -> Vec<Finding> {
        if self.fresh.is_empty() && self.appeared.is_empty() {
            return Vec::new();
        }
        for certificate in std::mem::take(&mut self.fresh) {
            let Some(facts) = certificate.facts.as_deref() else { continue };
            let name = facts.subject.normalized.as_str();
            let waits = self.open.as_ref().is_some_and(|open| open.next_waiting(name, None).is_some())
                || self.undecided.next_waiting(name, None).is_some()
                || self.detectors.iter().any(|detector| detector.next_waiting(name, None).is_some());
            if waits {
                let is_known = self.pool.is_proven(&certificate.sha256) || self.is_in_policy(facts);
                self.appeared.push(Newcomer { certificate, is_known, list: List::Open(None) });
            }
        }
        self.complete(Work::HANDSHAKE)
    }

    /// As time passes more can be done.
    pub(super) fn completed_by_time(&mut self, clock: Timestamp) -> Vec<Finding> {
        let second = clock.nanos().div_euclid(NANOS_PER_SECOND);
        if self.appeared.is_empty() || second <= self.appeared.second {
            return Vec::new();
        }
        self.appeared.second = second;
        self.complete(Work::SECOND)
    }

    /// Chains of the detectors before they decide for the last time. The others are all judged again then.
    pub(super) fn complete_at_end(&mut self) {
        let mut work = Work::END;
        while let Some(mut ca) = self.appeared.pop() {
            if !matches!(ca.list, List::Detector(..)) {
                ca.list = List::Detector(0, None);
            }
            if !self.compare(&mut ca, &mut work, &mut Vec::new()) {
                self.appeared.left = self.appeared.left.saturating_add(1);
            }
        }
    }

    fn is_in_policy(&self, facts: &Facts) -> bool {
        let policy = &self.knowledge.policy;
        policy.internal_ca_for(&facts.spki_sha256.0).is_some()
            || policy.interceptions.iter().any(|entry| entry.spki.contains(&facts.spki_sha256.0))
    }

    fn complete(&mut self, mut work: Work) -> Vec<Finding> {
        let mut told = Vec::new();
        while let Some(mut ca) = self.appeared.pop() {
            if !self.compare(&mut ca, &mut work, &mut told) {
                self.appeared.put_back(ca);
                break;
            }
        }
        told.sort_by_cached_key(open_chains::order);
        told
    }

    /// Compares a CA with the chains that may lack it; whether that is done.
    fn compare(&mut self, ca: &mut Newcomer, work: &mut Work, told: &mut Vec<Finding>) -> bool {
        let certificate = Arc::clone(&ca.certificate);
        let Some(facts) = certificate.facts.as_deref() else { return true };
        let name = facts.subject.normalized.as_str();
        loop {
            if work.dear == 0 || work.looks == 0 {
                return false;
            }
            work.looks -= 1;
            match ca.list {
                List::Open(after) => {
                    let Some(one) = self.open.as_ref().and_then(|open| open.next_waiting(name, after)) else {
                        ca.list = List::Undecided(None);
                        continue;
                    };
                    ca.list = List::Open(Some(one.0));
                    if self.is_signer(&certificate, &one.1, work) {
                        told.extend(self.judge_again(vec![one], false).into_iter().map(|kept| *kept));
                    }
                }
                List::Undecided(after) => {
                    let Some(one) = self.undecided.next_waiting(name, after) else {
                        ca.list = List::Detector(0, None);
                        continue;
                    };
                    ca.list = List::Undecided(Some(one.0));
                    if self.is_signer(&certificate, &one.1, work) {
                        told.extend(self.decide_again(vec![one], false));
                    }
                }
                List::Detector(place, after) => {
                    let Some(detector) = self.detectors.get(place) else { return true };
                    let Some(one) = detector.next_waiting(name, after) else {
                        ca.list = List::Detector(place.saturating_add(1), None);
                        continue;
                    };
                    ca.list = List::Detector(place, Some(one.number));
                    if !self.is_signer(&certificate, &one.observation.server_chain, work) {
                        continue;
                    }
                    let question = (one.name.as_deref(), one.at);
                    let judged = self.judged(&one.observation.server_chain, question, Purpose::Server);
                    if let (Some(judged), Some(detector)) = (judged, self.detectors.get_mut(place)) {
                        detector.judged_again(&one, &judged.chain, &self.knowledge);
                    }
                }
            }
        }
    }

    /// Whether a CA signed what is at the end of a chain as far as it is known; then it is worth to judge it again. A
    /// namesake costs one signature at most, and none where key identifiers tell it apart.
    fn is_signer(&mut self, ca: &Arc<Certificate>, presented: &[Arc<Certificate>], work: &mut Work) -> bool {
        let Some(facts) = ca.facts.as_deref() else { return false };
        let known = self.chains.get(&ChainOf(presented, true)).map(|chain| &chain.report);
        let paths = known.into_iter().flat_map(|report| &report.paths);
        let ends = paths.filter(|path| path.ending == Ending::Incomplete).filter_map(|path| path.certificates.last());
        // What was forgotten is taken as it was presented.
        let mut tops: Vec<&Arc<Certificate>> = Vec::new();
        for top in ends.chain(presented.iter().filter(|_| known.is_none())) {
            let fits = top.facts.as_deref().is_some_and(|child| may_have_signed(facts, child));
            if fits && tops.len() < MAX_TOPS && tops.iter().all(|other| other.sha256 != top.sha256) {
                tops.push(top);
            }
        }
        let mut found = false;
        for top in tops {
            work.dear = work.dear.saturating_sub(1);
            if self.memo.verify(top, facts) != Verdict::Bad {
                found = true;
                break;
            }
        }
        if found {
            work.dear = work.dear.saturating_sub(1);
            // Namesakes may have pushed it out meanwhile.
            self.generation += u64::from(self.pool.add(ca));
        }
        found
    }
}

/// By name and, where both have one, by key identifier.
fn may_have_signed(ca: &Facts, child: &Facts) -> bool {
    let authority = child.authority_key_identifier.as_deref();
    child.issuer.normalized == ca.subject.normalized
        && authority.is_none_or(|wanted| {
            wanted == ca.key_sha1 || ca.subject_key_identifier.as_deref().is_none_or(|has| has == wanted)
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::alerts::When;
    use crate::detect::catalogue::UNTRUSTED_ISSUER;
    use crate::detect::finding::Cause;
    use crate::detect::judge_tests::Bench;
    use crate::detect::testing::{Ca, Plan, key};
    use crate::detect::watch::Watch;

    fn judge(bench: Bench) -> Judge {
        let anchors = Arc::clone(&bench.knowledge.anchors);
        let mut judge = bench.judge();
        judge.hold_open_chains(When::AtEnd);
        judge.add(Box::new(Watch::new(anchors, 1_000)));
        judge
    }

    /// Leaves alone that claim the issuers of these names; no key identifier tells these from others.
    fn waiting(judge: &mut Judge, bench: &mut Bench, (cas, count): (&[Ca], usize)) {
        let leaf_key = Arc::new(key());
        for ca in cas {
            for number in 0..count {
                let host = format!("www.host{number}.example");
                let mut plan = Plan::of(&[&host]).keyed(&leaf_key);
                plan.authority = false;
                show(judge, bench, (&host, &[ca.leaf(&plan)]));
            }
        }
    }

    fn show(judge: &mut Judge, bench: &mut Bench, (host, chain): (&str, &[Arc<Certificate>])) -> Vec<Finding> {
        bench.scene.now += 1;
        let observation = bench.handshake((host, "203.0.113.10"), chain);
        judge.observe(&observation, observation.handshake.first.order.clock)
    }

    #[test]
    fn cas_of_names_that_many_wait_for_cost_little_each() {
        let lost: Vec<Ca> = (0..3).map(|name| Ca::new(&format!("Lost {name}"))).collect();
        let mut bench = Bench::new(&[]);
        let mut judge = judge(Bench::new(&[]));
        waiting(&mut judge, &mut bench, (&lost, 30));
        for round in 0..3 {
            let mut chain = Ca::new("Other").chain(&Plan::of(&["other.example"]));
            chain.extend((0..3).flat_map(|_| (0..3).map(|name| Ca::new(&format!("Lost {name}")).certificate)));
            let before = judge.memo.len();
            show(&mut judge, &mut bench, ("other.example", &chain));
            // Its own chain costs three: the leaf under its key and the CA's, the CA under its own.
            let spent = judge.memo.len() - before;
            assert!((4..=3 + 8 + MAX_TOPS).contains(&spent), "{round}: {spent}");
        }
        assert!(!judge.appeared.is_empty());
        judge.finish();
        assert!(judge.appeared.is_empty());
        assert_eq!((judge.forgotten(), judge.appeared.others.bytes), (0, 0));
    }

    #[test]
    fn all_chains_of_an_issuer_are_completed() {
        let count = 150;
        for completed_by in ["handshakes", "time", "the end"] {
            let ca = [Ca::new("Lost")];
            let internal = ca[0].certificate.facts.as_ref().unwrap().spki_sha256;
            let policy = format!("[[internal_ca]]\nname = \"P\"\nspki = [\"{internal}\"]\n");
            let mut bench = Bench::new(&[]);
            let mut judge = judge(Bench::new(&[]).policy(&policy));
            waiting(&mut judge, &mut bench, (&ca, count));
            let name = &ca[0].certificate.facts.as_ref().unwrap().subject.normalized;
            let waits = |judge: &Judge| {
                let next = |after: Option<u64>| judge.detectors[0].next_waiting(name, after).map(|one| one.number);
                std::iter::successors(next(None), |after| next(Some(*after))).count()
            };
            assert_eq!(waits(&judge), count);
            show(&mut judge, &mut bench, ("other.example", &ca[0].chain(&Plan::of(&["other.example"]))));
            assert!(waits(&judge) >= count - 8);
            match completed_by {
                "handshakes" => {
                    let stranger = Ca::new("Other").chain(&Plan::of(&["www.example.org"]));
                    (0..60).for_each(|_| drop(show(&mut judge, &mut bench, ("www.example.org", &stranger))));
                }
                "time" => {
                    // So much in a second, however often it is asked.
                    let mut left = vec![waits(&judge)];
                    for second in [1, 1, 2, 2, 3, 4, 5, 6] {
                        judge.advance(Timestamp::new(bench.scene.now + second, 0));
                        left.push(waits(&judge));
                    }
                    assert!(left[1] < left[0] && left[2] == left[1] && left[3] < left[2] && left[4] == left[3]);
                }
                _ => drop(judge.finish()),
            }
            assert_eq!((waits(&judge), judge.forgotten()), (0, 0), "{completed_by}");
        }
    }

    /// What a CA completes whose turn did not come before the end is told.
    #[test]
    fn the_end_tells_what_no_turn_came_for() {
        let (lost, late, proxy) = ([Ca::new("Lost")], Ca::new("Late"), Ca::new("Proxy"));
        let key = |ca: &Ca| ca.certificate.facts.as_ref().unwrap().spki_sha256;
        let policy = format!(
            "[[interception]]\nname = \"P\"\nspki = [\"{}\"]\nclients = [\"10.0.0.0/8\"]\nmode = \"authorised\"\n",
            key(&proxy)
        );
        let mut bench = Bench::new(&[]);
        let mut judge = judge(Bench::new(&[]).policy(&policy));
        waiting(&mut judge, &mut bench, (&lost, 150));
        for (host, ca) in [("late.example", &late), ("proxy.example", &proxy)] {
            let alone = bench.handshake((host, "10.9.0.9"), &[ca.leaf(&Plan::of(&[host]))]);
            let found = judge.observe(&alone, alone.handshake.first.order.clock);
            assert_eq!(found.iter().filter(|one| one.rule == &UNTRUSTED_ISSUER).count(), 0);
        }
        let mut chain = Ca::new("Other").chain(&Plan::of(&["other.example"]));
        chain.extend([&lost[0], &late, &proxy].map(|ca| Arc::clone(&ca.certificate)));
        show(&mut judge, &mut bench, ("other.example", &chain));
        // The CA of a proxy of the policy has had its turn before the others.
        let lines = [&judge.appeared.known, &judge.appeared.others].map(|line| line.cas.len());
        assert_eq!(lines, [0, 2]);
        let found = judge.finish();
        let causes: Vec<_> = found.iter().filter(|one| one.rule == &UNTRUSTED_ISSUER).map(|one| &one.cause).collect();
        assert!(causes.contains(&&Cause::IssuerKey(key(&late))), "{causes:?}");
    }

    #[test]
    fn more_than_fits_is_counted() {
        let (mut appeared, certificate) = (Appeared::default(), Ca::new("CA").certificate);
        for is_known in [false, true] {
            for _ in 0..=MAX_CAS {
                appeared.push(Newcomer { certificate: Arc::clone(&certificate), is_known, list: List::Open(None) });
            }
        }
        assert_eq!(appeared.left(), 2);
        assert!(appeared.others.bytes <= MAX_BYTES && appeared.pop().unwrap().is_known);
    }
}
