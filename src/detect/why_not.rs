//! Why there is no alert about a host: what was seen of it, what was found and why it was not told.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

use super::alerts::{Alert, Alerts};
use super::catalogue::Effect;
use super::finding::Finding;
use super::hosts::Hosts;
use super::hosts::backing::Backing;
use super::hosts::case::Case;
use super::hosts::record::{ESTABLISHED_SUPPORT, HostRecord, Phase, Standing};
use super::hosts::sketch::about;
use super::judge::Judge;
use super::knowledge::Knowledge;
use super::observation::Observation;
use super::sighting::HostKey;
use super::watch::Watch;
use crate::text::{counted, printable};
use crate::time::Timestamp;
use crate::x509::Sha256;
use crate::x509::chain::SignatureMemo;

/// Different findings that are kept.
const FINDINGS: usize = 200;

/// Names at one address that are told.
pub const NAMED: usize = 10;

/// Bytes of each memo while one host is judged again.
const REVIEW_BYTES: usize = 4 << 20;

/// Version of TLS 1.3 on the wire (RFC 8446 section 4.1.2).
const TLS_1_3: u16 = 0x0304;

/// Gathers what a run says of one host.
#[derive(Clone, Debug)]
pub struct WhyNot {
    /// Name part of the host, as in [`HostKey`].
    name: String,
    handshakes: u64,
    /// Of these with an encrypted ClientHello, where the name that is seen may be only the outer one.
    outer: u64,
    chains: u64,
    encrypted: u64,
    resumed: u64,
    incomplete: u64,
    findings: BTreeMap<(&'static str, Fate), (u64, String)>,
    left_out: u64,
    /// Hosts that clients asked for by name at this address, if the host is one.
    named: BTreeSet<String>,
    more_named: bool,
}

/// What became of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fate {
    Alert,
    Suppressed(usize),
    Mark,
}

impl WhyNot {
    /// About the host of this name, whatever the port.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            handshakes: 0,
            outer: 0,
            chains: 0,
            encrypted: 0,
            resumed: 0,
            incomplete: 0,
            findings: BTreeMap::new(),
            left_out: 0,
            named: BTreeSet::new(),
            more_named: false,
        }
    }

    /// Takes note of a handshake.
    pub fn observe(&mut self, observation: &Observation) {
        let key = HostKey::of(observation);
        if !self.is_about(&key.name) {
            self.also_at(&key, observation);
            return;
        }
        self.handshakes += 1;
        self.outer += u64::from(key.name != self.name);
        let handshake = &observation.handshake;
        if !observation.server_chain.is_empty() {
            self.chains += 1;
        } else if handshake.version() == Some(TLS_1_3) {
            self.encrypted += 1;
        } else if handshake.resumed == Some(true) {
            self.resumed += 1;
        } else {
            self.incomplete += 1;
        }
    }

    /// Whether a host of this name is the one asked about: who asks for a name means it with an encrypted ClientHello, too.
    fn is_about(&self, name: &str) -> bool {
        name == self.name || name.strip_prefix("ech:") == Some(&self.name)
    }

    /// Takes note of another name at the address that is asked about.
    fn also_at(&mut self, key: &HostKey, observation: &Observation) {
        if !self.name.starts_with("ip:") || HostKey::name_of(observation.ends.server.address) != self.name {
            return;
        }
        if self.named.len() < NAMED {
            self.named.insert(key.to_string());
        } else {
            self.more_named |= !self.named.contains(&key.to_string());
        }
    }

    /// Takes note of a finding.
    pub fn found(&mut self, finding: &Finding) {
        let host = finding.host.rsplit_once(':').map_or(&*finding.host, |(name, _)| name);
        if !self.is_about(host) {
            return;
        }
        let fate = match (finding.effect, finding.suppressed_by) {
            (Effect::Mark, _) => Fate::Mark,
            (Effect::Alert, Some(line)) => Fate::Suppressed(line),
            (Effect::Alert, None) => Fate::Alert,
        };
        let key = (finding.rule.id, fate);
        if self.findings.len() >= FINDINGS && !self.findings.contains_key(&key) {
            self.left_out += 1;
            return;
        }
        self.findings.entry(key).or_insert_with(|| (0, finding.message.clone())).0 += 1;
    }

    /// The answer at the end of a run; `alerts` are all that were made, if that is known.
    pub fn text(&self, hosts: Option<&Hosts>, alerts: Option<&Alerts>) -> String {
        let mut out = String::new();
        let mut line = |text: &str| {
            // Writing to a String cannot fail.
            let _ = writeln!(out, "{}", printable(text));
        };
        line(&format!(
            "{}: {}, {} with a certificate of the server",
            self.name,
            counted(self.handshakes, "handshake"),
            self.chains
        ));
        if self.handshakes == 0 {
            line("  no handshake asked for this host: another name, or ip:ADDRESS without one?");
        }
        if !self.named.is_empty() {
            line(&format!("  {}", at_this_address((&self.named, self.more_named))));
        }
        let reasons = [
            (self.outer, "with an encrypted ClientHello, whose name may be only the outer one"),
            (self.encrypted, "in TLS 1.3, which hides the certificate: only what is in clear was judged"),
            (self.resumed, "resumed a session: no certificate is sent"),
            (self.incomplete, "ended before the certificate, or it was not in the capture"),
        ];
        for (count, reason) in reasons.into_iter().filter(|(count, _)| *count > 0) {
            line(&format!("  {count} {reason}"));
        }
        out.push_str(&self.findings_text(alerts));
        if let Some(hosts) = hosts {
            for record in hosts.table().iter().filter(|record| self.is_about(&record.name)) {
                out.push_str(&describe(record));
            }
            out.push_str(&self.cases_text(hosts));
        }
        out.push_str(&alerts.map(|alerts| self.alerts_text(alerts)).unwrap_or_default());
        out
    }

    /// Alerts about the host.
    fn told<'a>(&'a self, alerts: &'a Alerts) -> impl Iterator<Item = &'a Alert> {
        let about = |host: &Arc<str>| host.rsplit_once(':').is_some_and(|(name, _)| self.is_about(name));
        alerts.iter().filter(move |alert| !alert.suppressed && alert.hosts.iter().any(about))
    }

    fn alerts_text(&self, alerts: &Alerts) -> String {
        let told: String = self
            .told(alerts)
            .map(|alert| alert_line(&alert.id.to_string(), (alert.head.rule.id, &alert.head.message)))
            .collect();
        let full = alerts.iter().any(|alert| !alert.suppressed && alert.hosts.is_full());
        match (told.is_empty(), full) {
            (false, _) => told,
            (true, true) => "no alert is known to name it; one is about more hosts than are kept\n".to_owned(),
            (true, false) => "no alert names it\n".to_owned(),
        }
    }

    fn findings_text(&self, alerts: Option<&Alerts>) -> String {
        let mut out = String::new();
        let mut line = |text: &str| {
            // Writing to a String cannot fail.
            let _ = writeln!(out, "{}", printable(text));
        };
        line("findings");
        for ((rule, fate), (count, message)) in &self.findings {
            let told = |alerts| self.told(alerts).any(|alert| alert.rules.contains(rule));
            let fate = match fate {
                Fate::Alert if alerts.is_some_and(|alerts| !told(alerts)) => {
                    "no alert at the end: what came later explains it, or there was no room".to_owned()
                }
                Fate::Alert => "alerts".to_owned(),
                Fate::Suppressed(at) => format!("suppressed by line {at} of the policy"),
                Fate::Mark => "only marks: no alert by itself, or for this host".to_owned(),
            };
            line(&format!("  {rule} ({}, {fate}): {message}", times(*count)));
        }
        if self.findings.is_empty() {
            line("  none");
        }
        if self.left_out > 0 {
            line(&format!("  and {} more", self.left_out));
        }
        out
    }

    fn cases_text(&self, hosts: &Hosts) -> String {
        let outer = format!("ech:{}", self.name);
        let cases: String = hosts.cases(&self.name).chain(hosts.cases(&outer)).map(Case::text).collect();
        match cases.as_str() {
            "" => "no certificate of it was unexpected\n".to_owned(),
            cases => format!("last unexpected certificate\n{cases}"),
        }
    }
}

/// An alert in a line: its id, rule and message.
pub fn alert_line(id: &str, (rule, message): (&str, &str)) -> String {
    let mut line = printable(&format!("alert {id} {rule}: {message}")).into_owned();
    line.push('\n');
    line
}

/// Says by which names clients asked at an address, and whether there are more.
pub fn at_this_address((named, more): (&BTreeSet<String>, bool)) -> String {
    let named = named.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    let more = if more { " and more" } else { "" };
    format!("clients that named a host asked there for {named}{more}: ask about these")
}

/// A baseline as it was before the certificate that is looked at, and what a person accepted.
#[derive(Debug)]
struct Before(Option<HostRecord>, Vec<Sha256>);

impl Backing for Before {
    fn read(&self, key: &HostKey) -> Option<HostRecord> {
        let mut record = self.0.clone().filter(|record| record.key() == *key)?;
        record.accept_all(&self.1);
        Some(record)
    }

    fn accepted(&self, _: &HostKey) -> Vec<Sha256> {
        self.1.clone()
    }

    fn write(&self, _: &HostRecord) {}

    fn is_old(&self, _: &Observation) -> bool {
        true
    }
}

/// Judges again, by what is known now, the certificate that a host presented last: against its baseline as that was before
/// or, without one, against what the host presented earlier. `presented`: a handshake for each certificate, the last one
/// at the end. `accepted`: the certificates that a person accepted for it.
pub fn review(
    knowledge: &Arc<Knowledge>,
    (record, accepted): (Option<HostRecord>, Vec<Sha256>),
    presented: &[Observation],
) -> String {
    let Some((last, earlier)) = presented.split_last() else { return String::new() };
    let host = HostKey::of(last);
    let before = record.zip(last.server_chain.first()).map(|(mut record, leaf)| {
        record.forget(&leaf.sha256);
        record
    });
    let known = before.as_ref().is_some_and(|record| record.accepted().next().is_some());
    let memo = Arc::new(SignatureMemo::new(REVIEW_BYTES));
    let mut judge = Judge::new(Arc::clone(knowledge), memo, (REVIEW_BYTES, true));
    let mut watch = Watch::new(Arc::clone(&knowledge.anchors), 16);
    let by_hand = last.server_chain.first().is_some_and(|leaf| accepted.contains(&leaf.sha256));
    watch.hosts_mut().set_backing(Arc::new(Before(before.filter(|_| known), accepted)));
    judge.add(Box::new(watch));
    let mut why_not = WhyNot::new(&host.name);
    let mut found = Vec::new();
    for observation in earlier.iter().filter(|_| !known) {
        judge.observe(observation, observation.handshake.first.order.clock);
    }
    found.extend(judge.observe(last, last.handshake.first.order.clock));
    found.extend(judge.finish());
    for mut finding in found {
        // Which one it was is not stored.
        finding.message = finding.message.replace("client 0.0.0.0 ", "a client ");
        why_not.found(&finding);
    }
    let mut out = String::new();
    let first = last.handshake.first.timestamp.rfc3339();
    let leaf = last.server_chain.first().map(|leaf| leaf.sha256.to_string()).unwrap_or_default();
    let against = match (known, earlier.len()) {
        (true, _) => "against the baseline without it".to_owned(),
        (false, 0) => "it is the only one: there is nothing to compare it with".to_owned(),
        (false, count) => format!("against the {count} presented before it"),
    };
    // Writing to a String cannot fail.
    let _ = writeln!(out, "judged again: {leaf}, presented last, first at {first}; {against}");
    if by_hand {
        out.push_str("a person accepted it (tlswatch baseline accept): it is no unexpected certificate\n");
    }
    out.push_str(&why_not.findings_text(None));
    out.push_str(&judge.known_hosts().map(|hosts| why_not.cases_text(hosts)).unwrap_or_default());
    out
}

/// What is known of a host, for a terminal.
pub fn describe(record: &HostRecord) -> String {
    let mut out = String::new();
    let mut line = |text: &str| {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{}", printable(text));
    };
    let last = Timestamp(record.last);
    let known = record.known_host(last);
    line(&format!("{} port {}", record.name, record.port));
    line(&format!("  phase        {}: {}", known.phase, phase_text(record.phase(last), record)));
    let (clients, words) = record.accepted_clients();
    let of = if clients == 1 { "client" } else { "clients" };
    line(&format!("  handshakes   {} with a certificate, {} {of}", record.support, about(clients, words)));
    line(&format!("  seen         {} to {}", Timestamp(record.first).rfc3339(), last.rfc3339()));
    let mut names: Vec<(&str, usize)> = Vec::new();
    for issuer in &record.issuers {
        match names.iter_mut().find(|(name, _)| *name == &*issuer.text) {
            Some((_, number)) => *number = number.saturating_add(1),
            None => names.push((&issuer.text, 1)),
        }
    }
    for (name, number) in names {
        let more = if number == 1 { String::new() } else { format!(" ({number} of this name)") };
        line(&format!("  issuer       {name}{more}"));
    }
    for known in &record.certificates {
        let standing = match known.standing {
            Standing::Accepted => "accepted",
            Standing::Held => "held",
            Standing::Suspect => "suspect",
        };
        let path = match (known.trusted, known.public, known.self_signed) {
            (_, true, _) => "public",
            (true, ..) => "internal",
            (.., true) => "self-signed",
            _ => "not trusted",
        };
        let until = Timestamp::new(known.not_after, 0).rfc3339().to_string();
        line(&format!(
            "  certificate  {} {standing}, {path}, {}, until {}",
            Sha256(known.sha256),
            times(known.count.into()),
            until.get(..10).unwrap_or(&until)
        ));
    }
    out
}

/// How often, in words.
fn times(count: u64) -> String {
    if count == 1 { "once".to_owned() } else { format!("{count} times") }
}

fn phase_text(phase: Phase, record: &HostRecord) -> String {
    match phase {
        Phase::Learning => format!(
            "live, only proofs alert until {ESTABLISHED_SUPPORT} handshakes (now {}) over a day, of three clients or a \
             hundred handshakes",
            record.support
        ),
        Phase::Established => "a certificate that does not fit alerts".to_owned(),
        Phase::Volatile => "it makes new certificates all the time, so new ones weigh less".to_owned(),
        Phase::Multi => "it has several certificates at once, so another one weighs less".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::detect::catalogue::{EXPIRED, UNEXPECTED_CERTIFICATE};
    use crate::detect::finding::Cause;
    use crate::detect::testing::{Ca, Plan, Scene};
    use crate::detect::watch::Watch;
    use crate::time::Moment;

    #[test]
    fn it_says_what_was_seen_and_what_became_of_findings() {
        let mut why = WhyNot::new("www.example.com");
        let mut finding =
            Finding::new(&EXPIRED, Cause::LeafKey(Sha256([1; 32])), Moment::default(), "gone\u{1b}[2J".to_owned());
        finding.host = "www.example.com:443".into();
        why.found(&finding);
        finding.suppressed_by = Some(7);
        why.found(&finding);
        why.found(&finding);
        finding.rule = &UNEXPECTED_CERTIFICATE;
        finding.effect = Effect::Mark;
        why.found(&finding);
        finding.host = "other.example.com:443".into();
        why.found(&finding);
        let text = why.text(None, None);
        assert!(text.contains("TLSW-CERT-001 (once, alerts): gone\\u{1b}[2J"), "{text}");
        assert!(text.contains("TLSW-CERT-001 (2 times, suppressed by line 7 of the policy)"), "{text}");
        assert!(text.contains("TLSW-MITM-002 (once, only marks"), "{text}");
        assert!(text.contains("no handshake asked for this host"), "{text}");
    }

    #[test]
    fn an_encrypted_hello_is_about_the_name_that_shows() {
        let public = Ca::new("Public Root");
        let mut scene = Scene::new(&[&public]);
        let chain = public.chain(&Plan::of(&["www.example.com"]));
        let mut observation = scene.handshake("10.1.0.1", "192.0.2.1", &chain);
        let handshake = &mut observation.handshake;
        let hello = handshake.client_hello.as_mut().unwrap();
        hello.server_name = Some(b"www.example.com".as_slice().into());
        hello.encrypted_client_hello = true;
        handshake.server_hello = None;
        let mut why = WhyNot::new("www.example.com");
        why.observe(&observation);
        let text = why.text(None, None);
        assert!(text.contains("1 handshake,") && text.contains("1 with an encrypted ClientHello"), "{text}");
        let mut why = WhyNot::new("ech:www.example.com");
        why.observe(&observation);
        assert!(!why.text(None, None).contains("may be only the outer one"));
    }

    #[test]
    fn what_was_taken_back_does_not_alert() {
        let finding = |rule| {
            let mut finding = Finding::new(rule, Cause::LeafKey(Sha256([1; 32])), Moment::default(), "odd".to_owned());
            finding.host = "www.example.com:443".into();
            finding
        };
        let mut why = WhyNot::new("www.example.com");
        let mut alerts = Alerts::default();
        for rule in [&EXPIRED, &UNEXPECTED_CERTIFICATE] {
            why.found(&finding(rule));
            alerts.take(&finding(rule), || None, Timestamp(0));
        }
        let id = finding(&EXPIRED).cause.alert_id();
        let text = why.text(None, Some(&alerts));
        assert!(text.contains("TLSW-CERT-001 (once, alerts)") && text.contains(&format!("alert {id} ")), "{text}");
        alerts.retract(id, EXPIRED.id);
        let text = why.text(None, Some(&alerts));
        assert!(text.contains("TLSW-CERT-001 (once, no alert at the end"), "{text}");
        alerts.retract(id, UNEXPECTED_CERTIFICATE.id);
        assert!(why.text(None, Some(&alerts)).ends_with("no alert names it\n"));
    }

    #[test]
    fn it_shows_the_case_and_what_is_known() {
        let public = Ca::new("Public Root");
        let mut scene = Scene::new(&[&public]);
        let mut watch = Watch::new(Arc::clone(&scene.anchors), 10);
        let site = "www.example.com";
        scene.serve(&mut watch, (site, "10.1.0.1"), &public.chain(&Plan::of(&[site])));
        let why = WhyNot::new(site);
        let text = why.text(Some(watch.hosts()), None);
        assert!(
            text.contains("no certificate of it was unexpected") && text.contains("phase        learning"),
            "{text}"
        );
        scene.serve(&mut watch, (site, "10.2.0.22"), &Ca::new("Gate").chain(&Plan::of(&[site])));
        scene.finish(&mut watch);
        let text = why.text(Some(watch.hosts()), None);
        assert!(text.contains("last unexpected certificate") && text.contains("Gate"), "{text}");
        assert!(text.contains("suspect") && text.contains("accepted"), "{text}");
    }

    #[test]
    fn handshakes_without_a_certificate_say_why() {
        let mut scene = Scene::new(&[]);
        let mut why = WhyNot::new("www.example.com");
        for kind in ["1.3", "resumed", "resumed", "1.3", "1.3", "neither"] {
            let mut observation = scene.handshake("10.1.0.1", "192.0.2.1", &[]);
            let handshake = &mut observation.handshake;
            handshake.client_hello.as_mut().unwrap().server_name = Some(b"www.example.com".as_slice().into());
            handshake.server_hello.as_mut().unwrap().selected_version = (kind == "1.3").then_some(TLS_1_3);
            handshake.resumed = (kind == "resumed").then_some(true);
            why.observe(&observation);
        }
        let text = why.text(None, None);
        for line in [": 6 handshakes, 0 with", "  3 in TLS 1.3,", "  2 resumed a session", "  1 ended before"] {
            assert!(text.contains(line), "{line}: {text}");
        }
        assert!(text.contains("findings\n  none\n") && !text.contains("named a host asked there"), "{text}");
    }

    #[test]
    fn names_at_the_address_are_told_each_once() {
        let mut scene = Scene::new(&[]);
        let mut why = [WhyNot::new("ip:192.0.2.1"), WhyNot::new("www0.example.com")];
        let mut told = Vec::new();
        for (number, server) in (0..=NAMED).chain([0]).map(|number| (number, "192.0.2.1")).chain([(99, "192.0.2.2")]) {
            let mut observation = scene.handshake("10.1.0.1", server, &[]);
            let name = format!("www{number}.example.com");
            observation.handshake.client_hello.as_mut().unwrap().server_name = Some(name.as_bytes().into());
            why.iter_mut().for_each(|one| one.observe(&observation));
            told.push(why[0].text(None, None));
        }
        let names = |text: &str| text.matches(".example.com:443").count();
        assert_eq!(
            told.iter().map(|text| names(text)).collect::<Vec<_>>(),
            [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 10, 10, 10]
        );
        assert_eq!(told.iter().position(|text| text.contains(" and more: ask about these")), Some(NAMED));
        assert!(told.iter().all(|text| !text.contains("www99")));
        assert_eq!(names(&why[1].text(None, None)), 0, "who asks for a name gets no other");
        let mut again = WhyNot::new("ip:192.0.2.1");
        let mut observation = scene.handshake("10.1.0.1", "192.0.2.1", &[]);
        for number in (0..NAMED).chain([0]) {
            let name = format!("www{number}.example.com");
            observation.handshake.client_hello.as_mut().unwrap().server_name = Some(name.as_bytes().into());
            again.observe(&observation);
        }
        assert!(!again.text(None, None).contains("and more"));
    }

    #[test]
    fn findings_are_told_up_to_so_many() {
        let mut finding = Finding::new(&EXPIRED, Cause::LeafKey(Sha256([1; 32])), Moment::default(), "odd".to_owned());
        finding.host = "www.example.com:443".into();
        let mut why = WhyNot::new("www.example.com");
        for line in (1..=FINDINGS).chain([1, FINDINGS + 1]) {
            assert!(!why.text(None, None).contains(" more\n"));
            finding.suppressed_by = Some(line);
            why.found(&finding);
        }
        let text = why.text(None, None);
        assert!(text.contains("\n  and 1 more\n") && text.contains("(2 times, suppressed by line 1 of"), "{text}");
    }

    /// Of the hosts of an alert not all may be kept.
    #[test]
    fn an_alert_about_very_many_hosts_may_be_about_this_one() {
        for (hosts, suppressed_by, told) in [
            (5_000, None, "one is about more hosts than are kept\n"),
            (5_000, Some(1), "no alert names it\n"),
            (50, None, "no alert names it\n"),
        ] {
            let mut alerts = Alerts::default();
            for host in 0..hosts {
                let cause = Cause::LeafKey(Sha256([1; 32]));
                let mut finding = Finding::new(&EXPIRED, cause, Moment::default(), "odd".to_owned());
                finding.host = format!("other{host}.example.com:443").into();
                finding.suppressed_by = suppressed_by;
                alerts.take(&finding, || None, Timestamp(0));
            }
            let text = WhyNot::new("www.example.com").text(None, Some(&alerts));
            assert!(text.ends_with(told), "{text}");
        }
    }
}
