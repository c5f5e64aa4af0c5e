//! Clients that refuse the certificate of a host (MITM-013).

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::catalogue::{CLIENTS_REJECT_CERTIFICATE, Severity};
use super::finding::{Cause, Finding, Point};
use super::hosts::presented::Presented;
use super::hosts::report::{Place, client_text};
use super::hosts::sketch::address_hash;
use super::memory::Memory;
use super::sighting::{HostKey, Sighting};
use crate::text::counted;
use crate::time::{Span, Timestamp};
use crate::tls::{Handshake, HandshakeEnd};

/// Hosts watched: those that were refused once.
const MAX_HOSTS: usize = 20_000;
/// Handshakes kept of one host with clients that refused.
const MAX_EVENTS: usize = 128;
/// Clients kept until there is enough to tell of.
const MAX_WAITING: usize = 8;
/// Handshakes of one client from which its refusals alone count.
const ONE_CLIENT: usize = 5;
/// How far back the usual rate of a host is known.
const WEEK: Span = Span::seconds(7 * 86_400);

/// The rule and its memory.
#[derive(Debug)]
pub struct Rejections {
    hosts: Memory<HostKey, Refused>,
}

#[derive(Clone, Debug)]
struct Refused {
    /// Handshakes inside the window with clients that refused in it: when, with whom, refused. Others are only counted:
    /// a host with many clients must not push refusals out.
    events: VecDeque<(Timestamp, u64, bool)>,
    /// Other handshakes since this time, and how many of them were refused.
    lately: (Timestamp, u32, u32),
    /// Handshakes before the window, and how many of them were refused.
    before: (u32, u32),
    /// Of these some were forgotten: it is a rate.
    halved: bool,
    since: Timestamp,
    /// Where it was refused, and how, until it was told; each client once.
    waiting: Vec<(Place, &'static str)>,
    /// What a refused certificate was seen to be caused by lately, and when: TLS 1.3 hides it.
    cause: Option<(Timestamp, Cause)>,
}

impl Default for Rejections {
    fn default() -> Self {
        Self { hosts: Memory::new(MAX_HOSTS) }
    }
}

impl Rejections {
    /// How many hosts were forgotten.
    pub fn forgotten(&self) -> u64 {
        self.hosts.forgotten()
    }

    /// Takes note of a handshake. `doubted`: there is evidence against the certificate (MITM-002).
    pub fn observe(
        &mut self,
        sighting: &Sighting<'_>,
        (new, doubted): (Option<&Presented>, bool),
        findings: &mut Vec<Finding>,
    ) {
        let handshake = &sighting.observation.handshake;
        let refusal = sighting.gist.refusal;
        let host = if refusal.is_some() {
            self.hosts.entry(sighting.host, || Refused::since(sighting.clock)).0
        } else {
            self.hosts.get_mut(sighting.host)
        };
        let Some(host) = host.filter(|_| handshake.server_hello.is_some()) else { return };
        let rule = CLIENTS_REJECT_CERTIFICATE.known();
        let window = Span::seconds(sighting.policy.number(&rule, "window"));
        let client = address_hash(sighting.observation.ends.client.address);
        host.note(sighting.clock, (client, refusal.is_some()), window);
        let Some(refusal) = refusal else { return };
        match new {
            Some(new) => host.cause = (!new.is_trusted()).then(|| (sighting.clock, new.cause())),
            None => host.cause = host.cause.take().filter(|(at, _)| sighting.clock.since(*at) <= window),
        }
        let least = usize::try_from(sighting.policy.number(&rule, "clients")).unwrap_or(usize::MAX);
        let place = Place::of(sighting);
        let Some(clients) = host.verdict(client, least) else {
            host.wait((place, refusal), (sighting.clock, window));
            return;
        };
        let address = client_text(place.ends.client.address);
        let fresh = || {
            // One client with an old store refuses many hosts: that is one alert about it.
            let alone = clients < least && !doubted;
            let parts = if alone { vec![address.clone()] } else { Vec::new() };
            let host = if alone { Arc::default() } else { Arc::clone(&place.host) };
            Cause::Subject { rule: rule.id, host, parts: parts.into() }
        };
        let cause = host.cause.as_ref().map_or_else(fresh, |(_, cause)| cause.clone());
        let certificate = new.map(|new| Arc::clone(&new.leaf));
        let earlier = match host.before {
            // Handshakes are counted since the first refusal.
            (_, 0) if !host.halved => "no refusal is known from before".to_owned(),
            (_, 0) => "hardly a refusal is known from before".to_owned(),
            (all, refused) if host.halved => format!("about {refused} of {} before", counted(all.into(), "handshake")),
            (all, refused) => format!("{refused} of {} before", counted(all.into(), "handshake")),
        };
        // The first of more have left.
        let least = if host.events.len() >= MAX_EVENTS { "at least " } else { "" };
        let counted = counted(u64::try_from(clients).unwrap_or(u64::MAX), "client");
        let text = format!("refused by {least}{counted}; {earlier}");
        let mut waiting = std::mem::take(&mut host.waiting);
        waiting.retain(|(earlier, _)| {
            let is_here = earlier.ends.client.address == place.ends.client.address;
            !is_here && sighting.clock.since(earlier.moment.order.clock) <= window
        });
        // The handshake at hand heads the alert.
        waiting.insert(0, (place.clone(), refusal));
        let seconds = window.nanos() / crate::time::NANOS_PER_SECOND;
        let others =
            if clients > 1 { format!(", as {least}{clients} clients did within {seconds} s") } else { String::new() };
        findings.extend(waiting.into_iter().map(|(place, refusal)| {
            let client = client_text(place.ends.client.address);
            let message = format!("Client {client} refused the certificate of {} ({refusal}){others}.", place.host);
            let mut finding = place.plain(&CLIENTS_REJECT_CERTIFICATE, cause.clone(), message);
            finding.certificate.clone_from(&certificate);
            if doubted {
                finding.severity = Severity::High;
            }
            finding.evidence.pro.push(Point {
                id: "refused",
                points: 0,
                text: text.clone(),
                observed: Some(refusal.to_owned()),
                expected: None,
            });
            finding
        }));
    }
}

impl Refused {
    fn since(clock: Timestamp) -> Self {
        Self {
            events: VecDeque::new(),
            lately: (clock, 0, 0),
            before: (0, 0),
            halved: false,
            since: clock,
            waiting: Vec::new(),
            cause: None,
        }
    }

    fn note(&mut self, clock: Timestamp, (client, refused): (u64, bool), window: Span) {
        if clock.since(self.since) > WEEK {
            // Half of what was counted stays: the rate of the last week or two.
            self.halved |= self.before.0 > 0;
            (self.before, self.since) = ((self.before.0 / 2, self.before.1 / 2), clock);
        }
        let (since, all, old) = self.lately;
        if clock.since(since) > window {
            self.before = (self.before.0.saturating_add(all), self.before.1.saturating_add(old));
            self.lately = (clock, 0, 0);
        }
        while let Some((_, _, old)) = self.events.front().copied().filter(|(at, _, _)| clock.since(*at) > window) {
            self.events.pop_front();
            self.before = (self.before.0.saturating_add(1), self.before.1.saturating_add(u32::from(old)));
        }
        if !refused && self.events.iter().all(|(_, known, _)| *known != client) {
            self.lately.1 = self.lately.1.saturating_add(1);
            return;
        }
        if self.events.len() >= MAX_EVENTS {
            let old = self.events.pop_front().is_some_and(|(_, _, old)| old);
            let (since, all, refused) = self.lately;
            self.lately = (since, all.saturating_add(1), refused.saturating_add(u32::from(old)));
        }
        self.events.push_back((clock, client, refused));
    }

    /// Keeps a place until there is enough to tell of.
    fn wait(&mut self, (place, refusal): (Place, &'static str), (clock, window): (Timestamp, Span)) {
        self.waiting.retain(|(earlier, _)| clock.since(earlier.moment.order.clock) <= window);
        let known = self.waiting.iter().any(|(one, _)| one.ends.client.address == place.ends.client.address);
        if !known && self.waiting.len() < MAX_WAITING {
            self.waiting.push((place, refusal));
        }
    }

    /// How many clients refused, where that is enough and not usual for this host.
    fn verdict(&self, client: u64, least: usize) -> Option<usize> {
        let (all, refused) = self.before;
        if refused >= 3 && refused.saturating_mul(100) >= all.saturating_add(self.lately.1) {
            return None;
        }
        let mut clients: BTreeMap<u64, (usize, usize)> = BTreeMap::new();
        for (_, client, refused) in &self.events {
            let count = clients.entry(*client).or_default();
            *count = (count.0 + 1, count.1 + usize::from(*refused));
        }
        let refusing = clients.values().filter(|(_, refused)| *refused > 0).count();
        let alone = clients.get(&client).is_some_and(|(all, refused)| *all >= ONE_CLIENT && refused * 2 >= *all);
        (refusing >= least || alone).then_some(refusing)
    }
}

/// How the client refused, in clear or as told by the length of its first encrypted record.
pub fn refusal(handshake: &Handshake) -> Option<&'static str> {
    let alert = handshake.alerts.iter().find(|alert| super::hosts::circumstances::is_refusal(alert, handshake.client));
    if let Some(alert) = alert {
        return Some(match alert.description {
            42 => "bad_certificate",
            43 => "unsupported_certificate",
            46 => "certificate_unknown",
            48 => "unknown_ca",
            _ => "bad_certificate_status_response",
        });
    }
    // Finished has 53 or 69 octets. GnuTLS sends its alert in 19, Java in 35.
    let short = matches!(handshake.client_encrypted_lengths.first(), Some(19 | 35));
    let over = matches!(handshake.end, HandshakeEnd::Fin | HandshakeEnd::Reset | HandshakeEnd::Done);
    let one = handshake.client_encrypted_lengths.len() == 1 && handshake.client_progress.application_data <= 1;
    let full = handshake.version() == Some(0x0304) && handshake.resumed != Some(true);
    (short && over && one && full && handshake.established != Some(true)).then_some("an encrypted alert")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::testing::{DAY, Scene, ids};
    use crate::direction::Direction;
    use crate::tls::Alert;

    fn get(scene: &mut Scene, rules: &mut Rejections, client: u8, change: &dyn Fn(&mut Handshake)) -> Vec<Finding> {
        let mut observation = scene.handshake(&format!("10.0.0.{client}"), "203.0.113.10", &[]);
        change(&mut observation.handshake);
        let mut findings = Vec::new();
        scene.with("www.example.com", &observation, |sighting| {
            rules.observe(sighting, (None, false), &mut findings);
        });
        findings
    }

    fn alert(direction: Direction, level: u8, description: u8) -> impl Fn(&mut Handshake) {
        move |handshake| handshake.alerts = vec![Alert { direction, level, description }]
    }

    #[test]
    fn three_clients_within_the_window() {
        let refuse = alert(Direction::LowToHigh, 2, 48);
        for (pause, change, fires) in [
            (1, &refuse as &dyn Fn(&mut Handshake), true),
            (301, &refuse, false),
            (1, &alert(Direction::LowToHigh, 2, 45), false),
            // What clients say of a stapled response; its neighbour is for servers.
            (1, &alert(Direction::LowToHigh, 2, 113), true),
            (1, &alert(Direction::LowToHigh, 2, 114), false),
            (1, &alert(Direction::LowToHigh, 1, 48), false),
            (1, &alert(Direction::HighToLow, 2, 48), false),
        ] {
            let (mut scene, mut rules) = (Scene::new(&[]), Rejections::default());
            let mut last = Vec::new();
            for client in 1..=3 {
                assert!(last.is_empty());
                scene.now += pause;
                last = get(&mut scene, &mut rules, client, change);
            }
            assert_eq!(ids(&last) == ["MITM-013"], fires);
            assert_eq!(last.len(), if fires { 3 } else { 0 }, "the clients before too");
            assert!(last.iter().all(|one| one.message.ends_with("), as 3 clients did within 600 s.")));
            // More of them are more of the same.
            last.extend(get(&mut scene, &mut rules, 4, change));
            assert!(last.iter().all(|one| one.cause == last[0].cause));
        }
        // What was before is told, and that nothing was.
        for (before, days, wanted) in [
            (0, 2, "refused by 3 clients; no refusal is known from before"),
            (1, 2, "refused by 3 clients; 1 of 2 handshakes before"),
            // Half of what was is forgotten each week.
            (5, 9, "refused by 3 clients; about 2 of 6 handshakes before"),
            (1, 9, "refused by 3 clients; hardly a refusal is known from before"),
        ] {
            let (mut scene, mut rules) = (Scene::new(&[]), Rejections::default());
            for _ in 0..before {
                get(&mut scene, &mut rules, 9, &refuse);
                get(&mut scene, &mut rules, 9, &|_| {});
            }
            scene.now += DAY;
            if days > 7 {
                get(&mut scene, &mut rules, 8, &|_| {});
            }
            scene.now += (days - 1) * DAY;
            let mut last = Vec::new();
            for client in 1..=3 {
                last = get(&mut scene, &mut rules, client, &refuse);
            }
            assert_eq!(last[0].evidence.pro[0].text, wanted);
        }
    }

    #[test]
    fn doubt_about_the_certificate_makes_it_graver() {
        for (doubted, severity) in [(true, Severity::High), (false, Severity::Medium)] {
            let (mut scene, mut rules) = (Scene::new(&[]), Rejections::default());
            let mut findings = Vec::new();
            for client in 1..=3 {
                let mut observation = scene.handshake(&format!("10.0.0.{client}"), "203.0.113.10", &[]);
                alert(Direction::LowToHigh, 2, 48)(&mut observation.handshake);
                scene.with("www.example.com", &observation, |sighting| {
                    rules.observe(sighting, (None, doubted), &mut findings);
                });
            }
            assert_eq!(findings.iter().map(|one| one.severity).collect::<Vec<_>>(), [severity; 3]);
        }
    }

    #[test]
    fn a_busy_host_pushes_no_refusal_out() {
        let refuse = alert(Direction::LowToHigh, 2, 48);
        for (usual, fires) in [(false, true), (true, false)] {
            let (mut scene, mut rules) = (Scene::new(&[]), Rejections::default());
            let mut last = Vec::new();
            for handshake in 0..600_u16 {
                scene.now += 1;
                // Where it is usual, clients refused an hour ago as well.
                if usual && handshake < 8 {
                    get(&mut scene, &mut rules, 200 + u8::try_from(handshake).unwrap(), &refuse);
                    scene.now += if handshake == 7 { 3_600 } else { 0 };
                }
                let client = u8::try_from(handshake % 100).unwrap() + 10;
                get(&mut scene, &mut rules, client, &|_| {});
                if handshake >= 300 && handshake % 90 == 0 && last.is_empty() {
                    last = get(&mut scene, &mut rules, u8::try_from(handshake / 90).unwrap(), &refuse);
                }
            }
            assert_eq!(last.len(), if fires { 3 } else { 0 });
        }
    }

    #[test]
    fn one_client_that_refuses_many_hosts_is_one_cause() {
        for (doubted, causes) in [(false, 1), (true, 10)] {
            let (mut scene, mut rules) = (Scene::new(&[]), Rejections::default());
            let mut found = Vec::new();
            for host in 0..10 {
                for _ in 0..5 {
                    let mut observation = scene.handshake("10.0.0.1", "203.0.113.10", &[]);
                    alert(Direction::LowToHigh, 2, 48)(&mut observation.handshake);
                    scene.with(&format!("www.example{host}.com"), &observation, |sighting| {
                        rules.observe(sighting, (None, doubted), &mut found);
                    });
                }
            }
            let different: std::collections::BTreeSet<_> = found.iter().map(|one| one.cause.alert_id()).collect();
            assert_eq!((found.len(), different.len()), (10, causes));
        }
    }

    #[test]
    fn each_client_alone_is_a_cause() {
        let (mut scene, mut rules) = (Scene::new(&[]), Rejections::default());
        let mut found = Vec::new();
        for client in [1, 2] {
            for _ in 0..5 {
                let mut observation = scene.handshake(&format!("10.0.0.{client}"), "203.0.113.10", &[]);
                alert(Direction::LowToHigh, 2, 48)(&mut observation.handshake);
                scene.with(&format!("www{client}.example.com"), &observation, |sighting| {
                    rules.observe(sighting, (None, false), &mut found);
                });
            }
        }
        assert!(found.len() == 2 && found[0].cause != found[1].cause);
        assert!(found.iter().all(|one| one.message.ends_with(" (unknown_ca).")), "{}", found[0].message);
    }

    #[test]
    fn handshakes_of_before_are_counted_however_many_came_at_once() {
        let refuse = alert(Direction::LowToHigh, 2, 48);
        let (mut scene, mut rules) = (Scene::new(&[]), Rejections::default());
        get(&mut scene, &mut rules, 9, &refuse);
        (0..MAX_EVENTS + 2).for_each(|_| drop(get(&mut scene, &mut rules, 9, &|_| {})));
        scene.now += 4_000;
        let found = (1..=3).map(|client| get(&mut scene, &mut rules, client, &refuse)).last().unwrap();
        assert_eq!(found[0].evidence.pro[0].text, "refused by 3 clients; 1 of 131 handshakes before");
    }

    #[test]
    fn one_client_needs_half_of_five() {
        let refuse = alert(Direction::LowToHigh, 2, 42);
        let (mut scene, mut rules) = (Scene::new(&[]), Rejections::default());
        let fired: Vec<bool> = (0..5).map(|_| !get(&mut scene, &mut rules, 1, &refuse).is_empty()).collect();
        assert_eq!(fired, [false, false, false, false, true]);
        let (mut scene, mut rules) = (Scene::new(&[]), Rejections::default());
        get(&mut scene, &mut rules, 1, &refuse);
        for _ in 0..4 {
            get(&mut scene, &mut rules, 1, &|_| {});
        }
        assert!(get(&mut scene, &mut rules, 1, &refuse).is_empty(), "two of six");
        for accepts in [&[false, true, false, true, false][..], &[false, true, true, false, true, false]] {
            let (mut scene, mut rules) = (Scene::new(&[]), Rejections::default());
            let mut last = Vec::new();
            for accepts in accepts {
                assert!(last.is_empty());
                last = get(&mut scene, &mut rules, 1, if *accepts { &|_| {} } else { &refuse });
            }
            assert_eq!(last.len(), 1, "three of {}", accepts.len());
        }
    }

    #[test]
    fn devices_that_always_refuse_are_known() {
        let refuse = alert(Direction::LowToHigh, 2, 46);
        let (mut scene, mut rules) = (Scene::new(&[]), Rejections::default());
        for client in 1..=4 {
            get(&mut scene, &mut rules, client, &refuse);
        }
        scene.now += 4_000;
        let again: Vec<bool> = (1..=3).map(|client| get(&mut scene, &mut rules, client, &refuse).is_empty()).collect();
        assert_eq!(again, [true; 3]);
    }

    #[test]
    fn three_refusals_before_are_usual() {
        let refuse = alert(Direction::LowToHigh, 2, 46);
        for (before, fires) in [(2, true), (3, false)] {
            let (mut scene, mut rules) = (Scene::new(&[]), Rejections::default());
            (0..before).for_each(|_| drop(get(&mut scene, &mut rules, 9, &refuse)));
            scene.now += 4_000;
            let found = (1..=3).map(|client| get(&mut scene, &mut rules, client, &refuse)).last().unwrap();
            assert_eq!(!found.is_empty(), fires, "{before}");
        }
    }

    /// Who refused too long ago and goes on since does not refuse.
    #[test]
    fn clients_that_go_on_are_none_that_refuse() {
        let refuse = alert(Direction::LowToHigh, 2, 46);
        for (goes_on, fires) in [(true, false), (false, true)] {
            let (mut scene, mut rules) = (Scene::new(&[]), Rejections::default());
            get(&mut scene, &mut rules, 1, &refuse);
            scene.now += 500;
            get(&mut scene, &mut rules, 1, if goes_on { &|_| {} } else { &refuse });
            scene.now += 150;
            let found = [2, 3].map(|client| get(&mut scene, &mut rules, client, &refuse));
            assert_eq!(!found[1].is_empty(), fires, "goes on: {goes_on}");
        }
    }

    #[test]
    fn encrypted_refusals_by_length() {
        let encrypted = |length: u16, end: HandshakeEnd| {
            move |handshake: &mut Handshake| {
                handshake.server_hello.as_mut().unwrap().selected_version = Some(0x0304);
                handshake.client_encrypted_lengths = vec![length].into();
                (handshake.end, handshake.established) = (end, None);
            }
        };
        for (length, end, refused) in [
            (19, HandshakeEnd::Fin, true),
            (35, HandshakeEnd::Reset, true),
            (53, HandshakeEnd::Fin, false),
            (19, HandshakeEnd::EndOfCapture, false),
        ] {
            let mut observation = Scene::new(&[]).handshake("10.0.0.1", "203.0.113.10", &[]);
            encrypted(length, end)(&mut observation.handshake);
            assert_eq!(refusal(&observation.handshake).is_some(), refused, "{length}");
        }
    }
}
