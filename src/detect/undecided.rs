//! Pins and allowed issuers (MITM-001, POL-001) where a chain lacks an issuer: what becomes of such findings.

use super::catalogue::{Effect, ISSUER_NOT_ALLOWED, Severity};
use super::finding::{Cause, Doubt, Finding};
use super::hosts::forgery::allows_path;
use super::judge::asked_for;
use super::policy_rules::stands_for;
use super::sighting::JudgedChain;
use crate::policy::{Policy, Target};

/// How sure it is that somebody intercepts where the issuer that is allowed may only not have been sent.
const CONFIDENCE: u8 = 60;

/// The policy allows the chain, now that more of its path is known.
pub(super) fn is_refuted(finding: &Finding, chain: &JudgedChain, policy: &Policy) -> bool {
    let Some(ends) = finding.ends else { return true };
    let target = Target { name: asked_for(&finding.host), address: ends.server.address, port: ends.server.port };
    let Some(entry) = policy.host_entry(&target) else { return true };
    let path = chain.report.paths.first().map(|path| path.certificates.as_slice()).unwrap_or_default();
    let mut issuers = path.iter().skip(1).filter_map(|one| one.facts.as_deref());
    let by_name = finding.rule == &ISSUER_NOT_ALLOWED
        && issuers.any(|issuer| entry.caa.iter().any(|domain| stands_for(domain, &issuer.subject)));
    by_name || allows_path(entry, &chain.report)
}

/// What is told, now that the path is known to its end or will not be.
pub(super) fn told(mut finding: Finding, chain: &JudgedChain) -> Option<Finding> {
    if chain.report.missing_issuer().is_some() {
        return left_open(finding);
    }
    finding.undecided = None;
    if let Some(cause) = chain.cause().filter(|_| matches!(finding.cause, Cause::IssuerKey(_))) {
        // Its issuer has a key now, and not only a name.
        (finding.cause, finding.id) = (cause, None);
    }
    if finding.rule == &ISSUER_NOT_ALLOWED {
        finding.effect = finding.rule.effect;
    }
    Some(finding)
}

/// What is told without a path that is known to its end. Nothing where POL-001 knows no issuer at all.
///
/// No pin is in what was presented or built: the alert stands, though not quite as sure, since just so looks a proxy whose CA
/// is in the clients' stores. Above issuers that were sent, what is missing may be a root that no server sends, and the pin may
/// be its: a level less.
pub(super) fn left_open(mut finding: Finding) -> Option<Finding> {
    let doubt = finding.undecided.take();
    if finding.rule == &ISSUER_NOT_ALLOWED && finding.effect == Effect::Mark {
        return None;
    }
    finding.confidence = CONFIDENCE;
    if doubt == Some(Doubt::Above) {
        finding.severity = finding.severity.min(Severity::High);
    }
    finding.message.truncate(finding.message.trim_end_matches('.').len());
    finding.message.push_str("; an issuer above it was not seen, so this is not certain.");
    let step = "Add the CA that the server does not send to trust.roots: then it is certain whether it is allowed.";
    finding.evidence.next_steps.insert(0, step.to_owned());
    Some(finding)
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::detect::alerts::When;
    use crate::detect::finding::AlertId;
    use crate::detect::judge::Afterthought;
    use crate::detect::judge_tests::Bench;
    use crate::detect::observation::Observation;
    use crate::detect::testing::{Ca, Plan};
    use crate::detect::watch::Watch;
    use crate::x509::Certificate;

    const HOST: &str = "www.example.com";

    /// A judge with all rules about hosts that reads a capture, and what it says of these handshakes.
    pub(in crate::detect) fn judged(bench: Bench, shown: &[(&str, &str, Vec<Arc<Certificate>>)]) -> Vec<Finding> {
        judged_and_united(bench, shown).0
    }

    /// The same, and which alerts are parts of others in the end.
    fn judged_and_united(
        mut bench: Bench,
        shown: &[(&str, &str, Vec<Arc<Certificate>>)],
    ) -> (Vec<Finding>, Vec<(AlertId, AlertId)>) {
        let mut observations = Vec::new();
        for (host, client, chain) in shown {
            bench.scene.now += 20;
            let mut observation = bench.handshake((host, "203.0.113.10"), chain);
            observation.ends.client.address = client.parse().unwrap();
            observations.push(observation);
        }
        let anchors = Arc::clone(&bench.knowledge.anchors);
        let mut judge = bench.judge();
        judge.hold_open_chains(When::AtEnd);
        judge.add(Box::new(Watch::new(anchors, 100)));
        let clock = |observation: &Observation| observation.handshake.first.order.clock;
        let mut found: Vec<Finding> = observations.iter().flat_map(|one| judge.observe(one, clock(one))).collect();
        found.extend(judge.finish());
        found.retain(|finding| finding.effect == Effect::Alert);
        let united = judge.completed().into_iter().filter_map(|(id, afterthought)| match afterthought {
            Afterthought::Unite(to) => Some((id, to)),
            Afterthought::Retract(_) => None,
        });
        (found, united.collect())
    }

    #[test]
    fn pins_wait_for_an_issuer_that_was_not_sent() {
        let (pinned, other) = (Ca::new("Pinned CA"), Ca::new("Other CA"));
        let spki = pinned.certificate.facts.as_ref().unwrap().spki_sha256;
        for entry in ["pins", "issuers"] {
            let policy = format!("[[host]]\nmatch = [\"{HOST}\"]\n{entry} = [\"{spki}\"]\n");
            let by_issuer = |severity: Severity| if entry == "issuers" { vec![severity] } else { vec![] };
            for (ca, sent, seen, pin, issuer) in [
                (&pinned, true, false, None, vec![]),
                (&pinned, false, true, None, vec![]),
                (&pinned, false, false, Some(Severity::Critical), vec![]),
                (&other, false, false, Some(Severity::Critical), vec![]),
                (&other, false, true, Some(Severity::Critical), by_issuer(Severity::High)),
                (&other, true, false, Some(Severity::Critical), by_issuer(Severity::High)),
            ] {
                let mut chain = ca.chain(&Plan::of(&[HOST]));
                chain.truncate(if sent { 2 } else { 1 });
                let mut shown = vec![(HOST, "10.1.0.1", chain)];
                if seen {
                    shown.push(("www.example.org", "10.1.0.1", ca.chain(&Plan::of(&["www.example.org"]))));
                }
                let found = judged(Bench::new(&[]).policy(&policy), &shown);
                let severities = |rule: &str| -> Vec<Severity> {
                    found.iter().filter(|one| one.rule.id.ends_with(rule)).map(|one| one.severity).collect()
                };
                let case = (entry, ca.certificate.facts.as_ref().unwrap().subject.text.clone(), sent, seen);
                assert_eq!(severities("MITM-001"), Vec::from_iter(pin), "{case:?}");
                assert_eq!(severities("POL-001"), issuer, "{case:?}");
                let doubtful = found.iter().filter(|one| one.message.contains("was not seen"));
                assert!(doubtful.clone().all(|one| one.confidence == CONFIDENCE), "{case:?}");
                assert_eq!(doubtful.count(), usize::from(!sent && !seen));
            }
        }
    }

    /// A proxy that no policy allows is one cause at all hosts, by whatever rule, and also where its CA is sent once only.
    #[test]
    fn an_issuer_that_is_not_allowed_is_one_cause() {
        let (genuine, proxy) = (Ca::new("Genuine CA"), Ca::new("Proxy CA"));
        let spki = genuine.certificate.facts.as_ref().unwrap().spki_sha256;
        let hosts = ["www.example.com", "mail.example.net", "wiki.example.org"];
        let entry = |(number, host): (usize, &&str)| {
            let rule = ["issuers", "pins", "certificates"][number];
            format!("[[host]]\nmatch = [\"{host}\"]\n{rule} = [\"{spki}\"]\n")
        };
        let policy: String = hosts.iter().enumerate().map(entry).collect();
        for sent in [true, false] {
            let mut shown = Vec::new();
            for (number, host) in hosts.into_iter().enumerate() {
                let mut chain = proxy.chain(&Plan::of(&[host]));
                chain.truncate(if sent || number == 2 { 2 } else { 1 });
                shown.push((host, "10.1.0.1", chain));
            }
            let (found, united) = judged_and_united(Bench::new(&[&genuine]).policy(&policy), &shown);
            let key = proxy.certificate.facts.as_ref().unwrap().spki_sha256;
            let told = |one: &&Finding| ["MITM-001", "POL-001", "POL-002"].iter().any(|id| one.rule.id.ends_with(id));
            let told: Vec<_> = found.iter().filter(told).collect();
            assert_eq!(told.len(), 5, "{:?}", crate::detect::testing::ids(&found));
            // What was told when only the name of the issuer was known is of one cause with the rest in the end.
            let id = |cause: &Cause| {
                united
                    .iter()
                    .find(|(from, _)| *from == cause.alert_id())
                    .map_or_else(|| cause.alert_id(), |(_, to)| *to)
            };
            for one in told {
                assert_eq!(id(&one.cause), Cause::IssuerKey(key).alert_id(), "{sent} {} {}", one.rule.id, one.message);
            }
        }
    }

    /// Servers need not send their root: it may be what the pin speaks of.
    #[test]
    fn pins_of_a_root_that_no_server_sends_are_told_as_doubtful() {
        let (pinned, other) = (Ca::new("Pinned Root"), Ca::new("Other Root"));
        let spki = pinned.certificate.facts.as_ref().unwrap().spki_sha256;
        let policy = format!("[[host]]\nmatch = [\"{HOST}\"]\npins = [\"{spki}\"]\n");
        for (root, seen, expected) in [
            (&pinned, false, Some(Severity::High)),
            (&pinned, true, None),
            (&other, false, Some(Severity::High)),
            (&other, true, Some(Severity::Critical)),
        ] {
            let mut shown = vec![(HOST, "10.1.0.1", root.intermediate("Some CA").chain(&Plan::of(&[HOST])))];
            if seen {
                shown.push(("www.example.org", "10.1.0.1", root.chain(&Plan::of(&["www.example.org"]))));
            }
            let found = judged(Bench::new(&[]).policy(&policy), &shown);
            let found: Vec<&Finding> = found.iter().filter(|one| one.rule.id.ends_with("MITM-001")).collect();
            let severities: Vec<Severity> = found.iter().map(|one| one.severity).collect();
            assert_eq!(severities, Vec::from_iter(expected));
            assert!(found.iter().all(|one| (one.confidence == CONFIDENCE) == (one.severity == Severity::High)));
        }
    }

    /// Where it is known whose key is pinned, it is not that of an issuer that was not sent.
    #[test]
    fn pins_of_known_keys_leave_no_doubt() {
        let (other, anchor) = (Ca::new("Other Root"), Ca::new("Anchor"));
        let genuine = anchor.chain(&Plan::of(&[HOST]));
        let key = |certificate: &Certificate| certificate.facts.as_ref().unwrap().spki_sha256;
        for (pin, seen, expected) in [
            (key(&anchor.certificate), false, Severity::Critical),
            (key(&genuine[0]), true, Severity::Critical),
            (key(&genuine[0]), false, Severity::High),
        ] {
            let policy = format!("[[host]]\nmatch = [\"{HOST}\"]\npins = [\"{pin}\"]\n");
            let mut shown = if seen { vec![(HOST, "10.1.0.2", genuine.clone())] } else { Vec::new() };
            shown.push((HOST, "10.1.0.1", other.intermediate("Gateway").chain(&Plan::of(&[HOST]))));
            let found = judged(Bench::new(&[&anchor]).policy(&policy), &shown);
            let found = found.iter().filter(|one| one.rule.id.ends_with("MITM-001"));
            assert_eq!(found.map(|one| one.severity).collect::<Vec<_>>(), [expected], "{seen}");
        }
    }

    /// As it happens: what its issuer decides is told when that appears.
    #[test]
    fn an_issuer_that_appears_decides_at_once() {
        let (allowed, other) = (Ca::new("Allowed CA"), Ca::new("Other CA"));
        let spki = allowed.certificate.facts.as_ref().unwrap().spki_sha256;
        let policy = format!("[[host]]\nmatch = [\"{HOST}\"]\nissuers = [\"{spki}\"]\n");
        for (ca, told) in [(&allowed, 0), (&other, 1)] {
            let mut bench = Bench::new(&[]).policy(&policy);
            let shown = [
                bench.handshake((HOST, "203.0.113.10"), &[ca.leaf(&Plan::of(&[HOST]))]),
                bench.handshake(("www.example.net", "203.0.113.11"), &Ca::new("Other CA").chain(&Plan::of(&[HOST]))),
                bench.handshake(("www.example.org", "203.0.113.11"), &ca.chain(&Plan::of(&["www.example.org"]))),
            ];
            let mut judge = bench.judge();
            judge.hold_open_chains(When::AtOnce);
            let found = shown.map(|one| {
                let found = judge.observe(&one, one.handshake.first.order.clock);
                found.iter().filter(|one| one.rule == &ISSUER_NOT_ALLOWED).count()
            });
            assert_eq!(found, [0, 0, told]);
            let later = judge.finish();
            assert_eq!(later.iter().filter(|one| one.rule == &ISSUER_NOT_ALLOWED).count(), 0);
        }
    }

    #[test]
    fn what_may_not_wait_is_told_as_doubtful_at_once() {
        let (allowed, other) = (Ca::new("Allowed CA"), Ca::new("Other CA").intermediate("Lower CA"));
        let spki = allowed.certificate.facts.as_ref().unwrap().spki_sha256;
        let policy = format!("[[host]]\nmatch = [\"{HOST}\"]\nissuers = [\"{spki}\"]\n");
        for (hold, told) in [("0s", [1, 0]), ("1s", [0, 1])] {
            let hold = format!("[rules.untrusted-issuer]\nhold = \"{hold}\"\n");
            let mut bench = Bench::new(&[]).policy(&format!("{policy}{hold}"));
            let shown = bench.handshake((HOST, "203.0.113.10"), &other.chain(&Plan::of(&[HOST])));
            let mut judge = bench.judge();
            judge.hold_open_chains(When::AtOnce);
            let clock = shown.handshake.first.order.clock;
            let number = |found: &[Finding]| found.iter().filter(|one| one.rule == &ISSUER_NOT_ALLOWED).count();
            let at_once = number(&judge.observe(&shown, clock));
            let found = [at_once, number(&judge.advance(clock.plus(crate::time::Span::seconds(1))))];
            assert_eq!(found, told, "{hold}");
        }
    }

    /// What is told where no issuer decides: POL-001 nothing by the leaf alone, and what only marks goes on marking.
    #[test]
    fn what_is_left_open_is_told_as_far_as_it_is_known() {
        let (allowed, other) = (Ca::new("Allowed CA"), Ca::new("Other CA"));
        let spki = allowed.certificate.facts.as_ref().unwrap().spki_sha256;
        let lower = other.intermediate("Lower CA");
        for (entry, sent, rule, told) in [
            ("issuers", 1, "POL-001", None),
            ("issuers", 2, "POL-001", Some((Effect::Alert, Severity::High))),
            ("pins", 1, "MITM-001", Some((Effect::Alert, Severity::Critical))),
            ("expires = 2020-01-01\npins", 1, "MITM-001", Some((Effect::Mark, Severity::Critical))),
        ] {
            let mut bench =
                Bench::new(&[]).policy(&format!("[[host]]\nmatch = [\"{HOST}\"]\n{entry} = [\"{spki}\"]\n"));
            let shown = bench.handshake((HOST, "203.0.113.10"), &lower.chain(&Plan::of(&[HOST]))[..sent]);
            let anchors = Arc::clone(&bench.knowledge.anchors);
            let mut judge = bench.judge();
            judge.hold_open_chains(When::AtEnd);
            judge.add(Box::new(Watch::new(anchors, 100)));
            let mut found = judge.observe(&shown, shown.handshake.first.order.clock);
            assert!(!found.iter().any(|one| one.rule.id.ends_with(rule)), "{entry}");
            found.extend(judge.finish());
            let found = found.iter().find(|one| one.rule.id.ends_with(rule));
            assert_eq!(found.map(|one| (one.effect, one.severity)), told, "{entry} {sent}");
            assert!(found.is_none_or(|one| one.confidence == CONFIDENCE), "{entry} {sent}");
        }
    }
}
