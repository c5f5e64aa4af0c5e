//! Scenes for alerts: one cause, one alert.

use super::super::catalogue::{
    CHAIN_SIGNATURE_INVALID, EXPIRED, INTERCEPTION_PRODUCT_ISSUER, LEAF_SIGNED_BY_OWN_KEY, NEW_INTERCEPTION_CA, Rule,
    UNTRUSTED_ISSUER,
};
use super::super::finding::Cause;
use super::kept::Before;
use super::*;
use crate::detect::hosts::record::HostRecord;
use crate::detect::sighting::HostKey;
use crate::time::Moment;
use crate::x509::Sha256;

/// A finding about an issuer's key at this second, in a frame of its own.
fn finding(rule: &'static Rule, key: u8, second: i64) -> Finding {
    let timestamp = Timestamp::new(second, 0);
    let order = Order { clock: timestamp, frame: u64::try_from(second).unwrap(), ordinal: 0 };
    let moment = Moment { order, timestamp, time_known: true, ..Moment::default() };
    let mut finding = Finding::new(rule, Cause::IssuerKey(Sha256([key; 32])), moment, format!("{key} {second}"));
    finding.host = format!("h{second}:443").into();
    finding
}

fn take(alerts: &mut Alerts, finding: Finding) -> Option<AlertStatus> {
    let clock = finding.moment.timestamp;
    alerts.take(&finding, || None, clock).map(|(_, status)| status)
}

#[test]
fn a_rule_that_was_taken_back_can_hold_again() {
    let (mut alerts, first) = (Alerts::new(When::AtEnd), finding(&UNTRUSTED_ISSUER, 1, 1));
    take(&mut alerts, first.clone());
    take(&mut alerts, finding(&EXPIRED, 1, 2));
    alerts.retract(first.cause.alert_id(), UNTRUSTED_ISSUER.id);
    take(&mut alerts, first);
    assert!(alerts.iter().all(|alert| alert.rules.contains(UNTRUSTED_ISSUER.id)));
}

#[test]
fn a_handshake_counts_once_however_late_its_findings_come() {
    let mut alerts = Alerts::new(When::AtEnd);
    for second in [1, 2, 3] {
        take(&mut alerts, finding(&LEAF_SIGNED_BY_OWN_KEY, 1, second));
    }
    for second in [2, 1, 4] {
        take(&mut alerts, finding(&UNTRUSTED_ISSUER, 1, second));
    }
    assert_eq!(alerts.iter().next().unwrap().count, 4);
    // One that comes late is not the last.
    let mut late = Alerts::new(When::AtEnd);
    for second in (1..=20).filter(|second| *second != 7).chain([7, 20, 7, 1]) {
        take(&mut late, finding(&UNTRUSTED_ISSUER, 1, second));
    }
    let alert = late.iter().next().unwrap();
    assert_eq!((alert.count, alert.hosts.len()), (20, 20));
    take(&mut alerts, finding(&UNTRUSTED_ISSUER, 2, 4));
    let ids: Vec<AlertId> = [1, 2].map(|key| Cause::IssuerKey(Sha256([key; 32])).alert_id()).into();
    alerts.unite(ids[1], ids[0]);
    assert_eq!(alerts.iter().map(|alert| alert.count).collect::<Vec<_>>(), [4]);
}

/// What earlier runs told; file 7 was read by them.
#[derive(Debug)]
struct Earlier(Vec<(AlertId, ToldBefore)>);

impl Backing for Earlier {
    fn read(&self, _: &HostKey) -> Option<HostRecord> {
        None
    }

    fn write(&self, _: &HostRecord) {}

    fn was_read(&self, _: Option<&Ends>, moment: &Moment) -> bool {
        moment.file == 7
    }

    fn told(&self, id: &AlertId) -> Option<ToldBefore> {
        self.0.iter().find(|(known, _)| known == id).map(|(_, told)| *told)
    }

    fn about(&self, _: &AlertId) -> Before {
        Before { hosts: vec!["h2000:443".into()], rules: vec![EXPIRED.id.to_owned()], ..Before::default() }
    }
}

fn after(when: When, [first, last]: [i64; 2], severity: Severity) -> Alerts {
    let id = Cause::IssuerKey(Sha256([1; 32])).alert_id();
    let told = ToldBefore { first: Timestamp::new(first, 0), last: Timestamp::new(last, 0), count: 5, severity };
    Alerts::new(when).remembering(Some(Arc::new(Earlier(vec![(id, told)]))))
}

#[test]
fn a_restart_does_not_alert_again() {
    let mut alerts = after(When::AtOnce, [10, 1_000], Severity::Critical);
    // Within the hour of the window it only counts.
    assert_eq!(take(&mut alerts, finding(&LEAF_SIGNED_BY_OWN_KEY, 1, 2_000)), None);
    assert_eq!(take(&mut alerts, finding(&LEAF_SIGNED_BY_OWN_KEY, 2, 2_001)), Some(AlertStatus::New));
    assert!(alerts.advance(Timestamp::new(4_599, 0)).is_empty());
    assert_eq!(alerts.advance(Timestamp::new(4_600, 0)).len(), 1);
    let alert = alerts.iter().find(|alert| alert.earlier.is_some()).unwrap();
    assert_eq!((alert.count, alert.first_seen), (6, Timestamp::new(10, 0)));
    let total = alert.total().unwrap();
    assert_eq!((total.first.seconds(), total.last.seconds(), total.count), (10, 2_000, 6));
    // After it, more of the same is told at once.
    let mut alerts = after(When::AtOnce, [10, 1_000], Severity::Critical);
    assert_eq!(take(&mut alerts, finding(&LEAF_SIGNED_BY_OWN_KEY, 1, 9_000)), Some(AlertStatus::Update));
    // Another host of a grave interception is told as it comes, and what was grave stays so.
    let mut alerts = after(When::AtOnce, [10, 1_000], Severity::Critical);
    assert_eq!(take(&mut alerts, finding(&LEAF_SIGNED_BY_OWN_KEY, 1, 2_002)), Some(AlertStatus::Update));
    let alert = alerts.iter().next().unwrap();
    assert_eq!((alert.hosts.len(), alert.rules.len(), alert.severity), (2, 2, Severity::Critical));
    for (severity, second, told) in [
        (Severity::Critical, 4_599, None),
        (Severity::Critical, 4_600, Some(AlertStatus::Update)),
        (Severity::High, 4_600, Some(AlertStatus::Update)),
        (Severity::Medium, 4_600, Some(AlertStatus::Escalated)),
    ] {
        let mut alerts = after(When::AtOnce, [10, 1_000], severity);
        let known = Finding { host: "h2000:443".into(), ..finding(&LEAF_SIGNED_BY_OWN_KEY, 1, second) };
        assert_eq!(take(&mut alerts, known), told, "{severity:?} {second}");
    }
    // Something graver too, whenever it comes.
    let mut alerts = after(When::AtOnce, [10, 1_000], Severity::Low);
    assert_eq!(take(&mut alerts, finding(&LEAF_SIGNED_BY_OWN_KEY, 1, 1_001)), Some(AlertStatus::Escalated));
    // What came before the earlier run is no part of it.
    let mut alerts = after(When::AtOnce, [10, 1_000], Severity::Critical);
    assert_eq!(take(&mut alerts, finding(&LEAF_SIGNED_BY_OWN_KEY, 1, 5)), Some(AlertStatus::New));
}

#[test]
fn a_capture_tells_its_alerts_whatever_was_told_before() {
    let status = |mut alerts: Alerts, finding: Finding| {
        take(&mut alerts, finding);
        let due = alerts.finish();
        let total = alerts.iter().next().unwrap().total().map(|total| total.count);
        (due[0].1, alerts.iter().next().unwrap().count, total)
    };
    let later = || finding(&LEAF_SIGNED_BY_OWN_KEY, 1, 2_000);
    let at_end = |severity| after(When::AtEnd, [10, 1_000], severity);
    assert_eq!(status(at_end(Severity::Critical), later()), (AlertStatus::Update, 1, Some(6)));
    assert_eq!(status(at_end(Severity::Low), later()), (AlertStatus::Escalated, 1, Some(6)));
    // The same capture again: the same line again, and nothing to remember.
    for when in [When::AtEnd, When::AtOnce] {
        let mut again = finding(&LEAF_SIGNED_BY_OWN_KEY, 1, 10);
        again.moment.file = 7;
        let mut alerts = after(when, [10, 10], Severity::Critical);
        let told = take(&mut alerts, again);
        assert_eq!(told, (when == When::AtOnce).then_some(AlertStatus::New));
        let alert = alerts.iter().next().unwrap();
        assert_eq!((alert.count, alert.total()), (1, None));
    }
}

/// What is stored has what earlier runs told in it. Of what is silenced they told nothing.
#[test]
fn what_is_stored_goes_on_from_what_was_told() {
    for (suppressed_by, told) in [(None, (AlertStatus::Update, 9)), (Some(1), (AlertStatus::New, 9))] {
        let mut alerts = after(When::AtOnce, [10, 1_000], Severity::Critical);
        let past = past::Past {
            head: Finding { suppressed_by, ..finding(&LEAF_SIGNED_BY_OWN_KEY, 1, 10) },
            hosts: Vec::new(),
            clients: Vec::new(),
            first: Timestamp::new(10, 0),
            last: Timestamp::new(3_000, 0),
            count: 9,
        };
        let status = alerts.take_past(past, Timestamp::new(4_000, 0)).unwrap().1;
        let alert = alerts.iter().next().unwrap();
        assert_eq!((status, alert.total().unwrap().count), told);
        assert_eq!(alert.earlier.is_some(), suppressed_by.is_none());
    }
}

#[test]
fn one_cause_is_one_alert_headed_by_the_gravest() {
    let mut alerts = Alerts::new(When::AtEnd);
    for finding in [
        finding(&UNTRUSTED_ISSUER, 1, 9),
        finding(&LEAF_SIGNED_BY_OWN_KEY, 1, 9),
        finding(&NEW_INTERCEPTION_CA, 1, 12),
        finding(&EXPIRED, 2, 5),
    ] {
        assert_eq!(take(&mut alerts, finding), None);
    }
    let due = alerts.finish();
    let told: Vec<&Alert> = due.iter().map(|(key, _)| alerts.get(key).unwrap()).collect();
    assert!(due.iter().all(|(_, status)| *status == AlertStatus::New));
    assert_eq!(told.iter().map(|alert| alert.head.rule.id).collect::<Vec<_>>(), ["TLSW-CERT-001", "TLSW-MITM-007"]);
    let alert = told[1];
    assert_eq!(alert.rules.iter().copied().collect::<Vec<_>>(), ["TLSW-CERT-005", "TLSW-MITM-003", "TLSW-MITM-007"]);
    // Two handshakes, though three findings.
    assert_eq!((alert.count, alert.hosts.len(), alert.severity), (2, 2, Severity::High));
    assert_eq!((alert.first_seen, alert.last_seen), (Timestamp::new(9, 0), Timestamp::new(12, 0)));
}

#[test]
fn told_at_once_then_escalated_then_updated() {
    let mut alerts = Alerts::new(When::AtOnce);
    assert_eq!(take(&mut alerts, finding(&UNTRUSTED_ISSUER, 1, 10)), Some(AlertStatus::New));
    assert_eq!(take(&mut alerts, finding(&UNTRUSTED_ISSUER, 1, 11)), None);
    assert_eq!(take(&mut alerts, finding(&LEAF_SIGNED_BY_OWN_KEY, 1, 12)), Some(AlertStatus::Escalated));
    let same_host = |second| Finding { host: "h12:443".into(), ..finding(&UNTRUSTED_ISSUER, 1, second) };
    assert_eq!(take(&mut alerts, same_host(13)), None);
    // The head is about interception now: one hour.
    let key = (Cause::IssuerKey(Sha256([1; 32])).alert_id(), false);
    assert_eq!(alerts.advance(Timestamp::new(3_611, 0)), []);
    assert_eq!(alerts.advance(Timestamp::new(3_612, 0)), [(key, AlertStatus::Update)]);
    assert_eq!(alerts.advance(Timestamp::new(3_613, 0)), []);
    assert_eq!(alerts.finish(), []);
    take(&mut alerts, same_host(3_614));
    assert_eq!(alerts.finish().iter().map(|(_, status)| *status).collect::<Vec<_>>(), [AlertStatus::Update]);
}

/// Whoever is intercepted next is another victim: nobody should hear of it an hour later.
#[test]
fn new_hosts_of_a_grave_interception_are_told_as_they_come() {
    let told = |rule, hosts: i64| {
        let mut alerts = Alerts::new(When::AtOnce);
        let told = (1..=hosts).filter(|second| take(&mut alerts, finding(rule, 1, *second)).is_some());
        let told: Vec<i64> = told.collect();
        // More handshakes of hosts that were told are more of the same.
        let mut again = finding(rule, 1, hosts + 1);
        again.host = "h1:443".into();
        assert_eq!(take(&mut alerts, again), None);
        assert_eq!(alerts.advance(Timestamp::new(hosts + 86_400, 0)).len(), 1);
        assert_eq!(alerts.finish(), []);
        told
    };
    assert_eq!(told(&LEAF_SIGNED_BY_OWN_KEY, 40), [1, 2, 3, 4, 8, 16, 32]);
    // Neither what is less grave nor what is no interception.
    assert_eq!(told(&INTERCEPTION_PRODUCT_ISSUER, 40), [1]);
    assert_eq!(told(&CHAIN_SIGNATURE_INVALID, 40), [1]);
}

#[test]
fn what_a_line_holds_is_not_told_again() {
    for written in [true, false] {
        let mut alerts = Alerts::new(When::AtOnce);
        take(&mut alerts, finding(&EXPIRED, 1, 10));
        take(&mut alerts, finding(&EXPIRED, 1, 11));
        let late = 90_000;
        let due = alerts.advance(Timestamp::new(late, 0));
        assert_eq!(due.len(), 1);
        // The handshake that moved the clock shows it too, and stands in the line.
        take(&mut alerts, finding(&EXPIRED, 1, late));
        if written {
            alerts.written(&due);
        }
        assert_eq!(alerts.advance(Timestamp::new(2 * late, 0)).is_empty(), written);
        assert_eq!(alerts.finish(), []);
    }
}

/// Another rule that holds for the same handshake is not more of the same.
#[test]
fn nothing_new_is_no_update() {
    let mut alerts = Alerts::new(When::AtOnce);
    assert_eq!(take(&mut alerts, finding(&LEAF_SIGNED_BY_OWN_KEY, 1, 10)), Some(AlertStatus::New));
    assert_eq!(take(&mut alerts, finding(&UNTRUSTED_ISSUER, 1, 10)), None);
    assert_eq!((alerts.advance(Timestamp::new(1 << 30, 0)), alerts.finish()), (vec![], vec![]));
}

#[test]
fn windows_end_one_by_one_and_what_is_told_waits_no_longer() {
    let mut alerts = Alerts::new(When::AtOnce);
    let keys = |due: Vec<(CauseKey, AlertStatus)>| due.into_iter().map(|((id, _), _)| id).collect::<Vec<_>>();
    let id = |key| Cause::IssuerKey(Sha256([key; 32])).alert_id();
    for (key, second) in [(1, 10), (2, 20), (3, 30), (1, 40), (2, 50)] {
        take(&mut alerts, finding(&EXPIRED, key, second));
    }
    let day = 86_400;
    assert_eq!(keys(alerts.advance(Timestamp::new(day + 9, 999_999_999))), []);
    assert_eq!(keys(alerts.advance(Timestamp::new(day + 10, 0))), [id(1)]);
    // Of the third nothing more came; the second is told by its severity before its window ends.
    assert_eq!(take(&mut alerts, finding(&LEAF_SIGNED_BY_OWN_KEY, 2, day + 11)), Some(AlertStatus::Escalated));
    assert_eq!(keys(alerts.advance(Timestamp::new(day + 100, 0))), []);
    // More of it comes when its window is long over.
    take(&mut alerts, finding(&EXPIRED, 3, 3 * day));
    assert_eq!(keys(alerts.advance(Timestamp::new(3 * day, 0))), [id(3)]);
    assert_eq!(keys(alerts.advance(Timestamp::new(9 * day, 0))), []);
    assert_eq!(alerts.finish(), []);
}

#[test]
fn only_what_heads_its_cause_is_wanted() {
    let mut alerts = Alerts::new(When::AtEnd);
    let mut wants = |rule, suppressed, effect| {
        let mut one = finding(rule, 1, 1);
        one.suppressed_by = suppressed;
        one.effect = effect;
        let wanted = alerts.wants(&mut one);
        take(&mut alerts, one);
        wanted
    };
    assert!(!wants(&UNTRUSTED_ISSUER, None, Effect::Mark));
    assert!(wants(&UNTRUSTED_ISSUER, None, Effect::Alert));
    assert!(!wants(&UNTRUSTED_ISSUER, None, Effect::Alert));
    assert!(wants(&LEAF_SIGNED_BY_OWN_KEY, None, Effect::Alert));
    assert!(!wants(&UNTRUSTED_ISSUER, None, Effect::Alert));
    assert!(wants(&UNTRUSTED_ISSUER, Some(3), Effect::Alert));
    assert!(!wants(&UNTRUSTED_ISSUER, Some(3), Effect::Alert));
}

#[test]
fn the_brake_counts_what_it_holds_back() {
    let mut alerts = Alerts::new(When::AtOnce);
    let told = (0..150).filter(|key| take(&mut alerts, finding(&EXPIRED, *key, 60)).is_some()).count();
    assert_eq!((told, alerts.counts.braked), (100, 50));
    assert_eq!(take(&mut alerts, finding(&EXPIRED, 200, 120)), Some(AlertStatus::New));
}

/// Who has a hundred alerts told may not keep the one behind them quiet.
#[test]
fn what_the_brake_held_is_told_when_it_lets_go() {
    let mut alerts = Alerts::new(When::AtOnce);
    let told = (0..250).filter(|key| take(&mut alerts, finding(&EXPIRED, *key, 60)).is_some()).count();
    assert_eq!((told, alerts.counts.braked), (100, 150));
    // It is one line with what came meanwhile, and the gravest comes first.
    let graver = Finding { severity: Severity::High, ..finding(&EXPIRED, 249, 61) };
    assert_eq!(take(&mut alerts, graver), None);
    assert_eq!(alerts.advance(Timestamp::new(119, 0)), []);
    let second = alerts.advance(Timestamp::new(120, 0));
    let last = Cause::IssuerKey(Sha256([249; 32])).alert_id();
    assert_eq!((second.len(), second[0]), (100, ((last, false), AlertStatus::New)));
    assert_eq!(alerts.get(&second[0].0).unwrap().count, 2);
    assert_eq!(alerts.advance(Timestamp::new(180, 0)).len(), 50);
    assert_eq!((alerts.advance(Timestamp::new(9_999, 0)), alerts.counts.braked), (vec![], 150));
    assert_eq!(alerts.finish(), []);
}

/// The brake of a rule does not hold what another rule finds graver.
#[test]
fn what_turns_out_graver_waits_for_no_brake_but_its_own() {
    let mut alerts = Alerts::new(When::AtOnce);
    let told = (0..120).filter(|key| take(&mut alerts, finding(&UNTRUSTED_ISSUER, *key, 60)).is_some()).count();
    assert_eq!((told, alerts.counts.braked), (100, 20));
    assert_eq!(take(&mut alerts, finding(&UNTRUSTED_ISSUER, 110, 61)), None);
    assert_eq!(take(&mut alerts, finding(&LEAF_SIGNED_BY_OWN_KEY, 110, 62)), Some(AlertStatus::New));
    assert_eq!(alerts.advance(Timestamp::new(120, 0)).len(), 19, "each once");
    assert_eq!(alerts.counts.braked, 20);
}

/// What is silenced takes no line from what is not.
#[test]
fn suppressed_alerts_brake_only_each_other() {
    let mut alerts = Alerts::new(When::AtOnce);
    for key in 0..150 {
        let silenced = Finding { suppressed_by: Some(1), ..finding(&EXPIRED, key, 60) };
        take(&mut alerts, silenced);
    }
    assert_eq!(take(&mut alerts, finding(&EXPIRED, 200, 61)), Some(AlertStatus::New));
}

/// A flood that goes on keeps nothing waiting that came before it.
#[test]
fn what_waits_is_told_in_order_of_first_sight() {
    let mut alerts = Alerts::new(When::AtOnce);
    for key in 0..250 {
        take(&mut alerts, finding(&EXPIRED, key, 60 + i64::from(key) / 10));
    }
    let told = alerts.advance(Timestamp::new(120, 0));
    let id = |key: u8| (Cause::IssuerKey(Sha256([key; 32])).alert_id(), false);
    let first: BTreeSet<CauseKey> = (100..200).map(id).collect();
    assert!(told.into_iter().map(|(key, _)| key).collect::<BTreeSet<_>>() == first);
}

/// What the brake holds is told as what it is: when it lets go, or when the input is over before.
#[test]
fn an_escalation_that_waits_is_told_as_one() {
    let key = (Cause::IssuerKey(Sha256([7; 32])).alert_id(), false);
    for is_over in [false, true] {
        let mut alerts = Alerts::new(When::AtOnce);
        for key in 0..100 {
            take(&mut alerts, finding(&EXPIRED, key, 60));
        }
        let graver = Finding { severity: Severity::High, ..finding(&EXPIRED, 7, 61) };
        assert_eq!(take(&mut alerts, graver), None);
        let told = if is_over { alerts.finish() } else { alerts.advance(Timestamp::new(120, 0)) };
        assert_eq!(told, [(key, AlertStatus::Escalated)]);
    }
}

/// Of a host that breaks several rules an alert names all of them, also where it is one host in memory.
#[test]
fn all_rules_of_one_host_are_named() {
    let mut alerts = Alerts::new(When::AtEnd);
    let head = finding(&LEAF_SIGNED_BY_OWN_KEY, 1, 1);
    for rule in [head.rule, &UNTRUSTED_ISSUER, &EXPIRED, &UNTRUSTED_ISSUER] {
        take(&mut alerts, Finding { host: Arc::clone(&head.host), ..finding(rule, 1, 1) });
    }
    let alert = alerts.iter().next().unwrap();
    assert!(alert.rules.iter().copied().eq(["TLSW-CERT-001", "TLSW-CERT-005", "TLSW-MITM-003"]), "{:?}", alert.rules);
    assert_eq!((alert.count, alert.hosts.len()), (1, 1));
}

/// A full memory takes what is graver than something in it.
#[test]
fn small_matters_keep_no_grave_one_out() {
    for when in [When::AtEnd, When::AtOnce] {
        let mut alerts = Alerts { capacity: 32, ..Alerts::new(when) };
        for key in 0..40 {
            take(&mut alerts, finding(&UNTRUSTED_ISSUER, key, i64::from(key)));
        }
        assert_eq!((alerts.causes.len(), alerts.counts.overflow), (32, 8));
        let status = take(&mut alerts, finding(&LEAF_SIGNED_BY_OWN_KEY, 99, 50));
        assert_eq!(status, (when == When::AtOnce).then_some(AlertStatus::New));
        assert!(alerts.get(&(Cause::IssuerKey(Sha256([99; 32])).alert_id(), false)).is_some());
        assert!(alerts.get(&(Cause::IssuerKey(Sha256([0; 32])).alert_id(), false)).is_some(), "the latest left");
        // What was told is counted though it left.
        assert_eq!(alerts.counts.overflow, if when == When::AtOnce { 8 } else { 10 });
        assert_eq!(alerts.number(), if when == When::AtOnce { 33 } else { 31 });
        for key in 100..200 {
            take(&mut alerts, finding(&LEAF_SIGNED_BY_OWN_KEY, key, 60));
        }
        assert!(alerts.causes.len() == 32 && alerts.causes.values().all(|alert| alert.severity == Severity::High));
        assert_eq!(alerts.gravest(), Some(Severity::High));
    }
}

/// A flood of one rule keeps no other rule out that is as grave, and takes no more room than its share of it.
#[test]
fn no_rule_keeps_an_equally_grave_one_out() {
    let number =
        |alerts: &Alerts, rule: &Rule| alerts.causes.values().filter(|one| one.head.rule.id == rule.id).count();
    let (flood, other) = (&LEAF_SIGNED_BY_OWN_KEY, &NEW_INTERCEPTION_CA);
    for when in [When::AtEnd, When::AtOnce] {
        let mut alerts = Alerts { capacity: 96, ..Alerts::new(when) };
        // Each at a place of its own: 40,000 keys.
        let mut taken = 0_u64;
        let mut take = |alerts: &mut Alerts, rule: &'static Rule, severity: Severity, second: i64| {
            let key = u16::try_from(taken).unwrap().to_be_bytes();
            taken += 1;
            let mut one = Finding { severity, ..finding(rule, 0, second) };
            let mut sha256 = [7; 32];
            sha256[..2].copy_from_slice(&key);
            one.cause = Cause::IssuerKey(Sha256(sha256));
            let clock = one.moment.timestamp;
            alerts.take(&one, || None, clock);
        };
        for _ in 0..10 {
            take(&mut alerts, flood, Severity::Critical, 60);
        }
        for _ in 0..300 {
            take(&mut alerts, flood, Severity::High, 60);
        }
        assert_eq!(alerts.causes.len(), 96);
        // One that comes late gets in, and the flood goes on.
        take(&mut alerts, other, Severity::High, 61);
        assert_eq!(number(&alerts, other), 1);
        for second in 62..400 {
            take(&mut alerts, flood, Severity::High, second);
        }
        assert_eq!((number(&alerts, other), alerts.causes.len()), (1, 96));
        for second in 400..700 {
            take(&mut alerts, other, Severity::High, second);
            take(&mut alerts, flood, Severity::High, second);
        }
        // Neither far above the other, and nothing graver left for them.
        let shares = [flood, other].map(|rule| number(&alerts, rule));
        assert!(alerts.causes.len() == 96 && shares[1] >= 28 && shares[0] >= 10 + 28, "{shares:?}");
        assert_eq!(alerts.causes.values().filter(|one| one.severity == Severity::Critical).count(), 10);
        // A third finds its place, less grave ones do not.
        take(&mut alerts, &EXPIRED, Severity::Medium, 700);
        assert_eq!(number(&alerts, &EXPIRED), 0);
        take(&mut alerts, &EXPIRED, Severity::High, 700);
        assert_eq!(number(&alerts, &EXPIRED), 1);
        let left = alerts.number() - alerts.causes.len() as u64;
        assert!(left > 0 || when == When::AtEnd, "told, and gone");
        assert_eq!(alerts.number() + alerts.counts.overflow, alerts.counts.findings, "each is told or counted");
    }
}

/// At most one look at all for each share that leaves: what is denied is denied at once from then on.
#[test]
fn what_found_no_room_is_remembered() {
    let mut alerts = Alerts { capacity: 32, ..Alerts::new(When::AtEnd) };
    for key in 0..100 {
        take(&mut alerts, finding(if key % 2 == 0 { &LEAF_SIGNED_BY_OWN_KEY } else { &NEW_INTERCEPTION_CA }, key, 60));
    }
    let full = alerts.full.as_ref().unwrap();
    assert_eq!(format!("{full:?}").matches("TLSW-").count(), 2);
    take(&mut alerts, finding(&LEAF_SIGNED_BY_OWN_KEY, 200, 61));
    assert!(alerts.full.is_some() && alerts.causes.len() == 32);
}

/// What nobody is told of keeps nothing out, and takes the place of nothing.
#[test]
fn suppressed_alerts_leave_for_others() {
    for when in [When::AtEnd, When::AtOnce] {
        let silenced = |key| Finding { suppressed_by: Some(1), ..finding(&LEAF_SIGNED_BY_OWN_KEY, key, 10) };
        let mut alerts = Alerts { capacity: 32, ..Alerts::new(when) };
        for key in 0..40 {
            take(&mut alerts, silenced(key));
        }
        for key in 100..132 {
            take(&mut alerts, finding(&EXPIRED, key, 20));
        }
        assert_eq!((alerts.number(), alerts.causes.len()), (32, 32));
        take(&mut alerts, silenced(99));
        assert_eq!((alerts.number(), alerts.causes.len()), (32, 32));
        assert!(alerts.causes.values().all(|alert| !alert.suppressed));
    }
}

/// As it happens, a cause that was told and is over makes room for any.
#[test]
fn what_is_over_makes_room() {
    let mut alerts = Alerts { capacity: 32, ..Alerts::new(When::AtOnce) };
    let told = (0..200_u8).filter(|key| take(&mut alerts, finding(&EXPIRED, *key, i64::from(*key) * 10_000)).is_some());
    // 86,400 seconds hold nine of them.
    assert_eq!(told.count(), 200);
    assert_eq!((alerts.counts.overflow, alerts.number()), (0, 200));
    // More of one that left is told anew; of one that is there it is only counted.
    assert_eq!(take(&mut alerts, finding(&EXPIRED, 0, 1_990_001)), Some(AlertStatus::New));
    assert_eq!(take(&mut alerts, finding(&EXPIRED, 199, 1_990_002)), None);
}

/// What found no room finds it when the window of one that was told is over, and of several the oldest leaves.
#[test]
fn a_cause_that_was_denied_finds_room_later() {
    const DAY: i64 = 86_400;
    let mut alerts = Alerts { capacity: 32, ..Alerts::new(When::AtOnce) };
    for key in 0..32 {
        // However grave it was.
        let severity = if key == 1 { Severity::High } else { Severity::Medium };
        let one = Finding { severity, ..finding(&EXPIRED, key, 10 * i64::from(key)) };
        assert!(take(&mut alerts, one).is_some());
    }
    for second in [400, DAY - 1] {
        assert_eq!(take(&mut alerts, finding(&EXPIRED, 100, second)), None);
    }
    assert_eq!(alerts.counts.overflow, 2);
    assert_eq!(take(&mut alerts, finding(&EXPIRED, 100, DAY)), Some(AlertStatus::New));
    // Thirty are over by then; two leave for each that comes.
    assert_eq!(take(&mut alerts, finding(&EXPIRED, 101, DAY + 300)), Some(AlertStatus::New));
    let left = |key| !alerts.causes.contains_key(&(Cause::IssuerKey(Sha256([key; 32])).alert_id(), false));
    assert_eq!((0..32).filter(|key| left(*key)).collect::<Vec<_>>(), [0, 1, 2]);
}

#[test]
fn suppressed_findings_stay_apart_and_marks_only_count() {
    let mut alerts = Alerts::new(When::AtEnd);
    let mut silenced = finding(&EXPIRED, 1, 1);
    silenced.suppressed_by = Some(7);
    take(&mut alerts, silenced);
    take(&mut alerts, finding(&EXPIRED, 1, 2));
    let mut mark = finding(&EXPIRED, 1, 3);
    mark.effect = Effect::Mark;
    take(&mut alerts, mark);
    assert_eq!(alerts.iter().map(|alert| (alert.suppressed, alert.count)).collect::<Vec<_>>(), [(false, 1), (true, 1)]);
    assert_eq!((alerts.counts.findings, alerts.counts.marks, alerts.counts.suppressed), (3, 1, 1));
}

#[test]
fn causes_unite_and_rules_are_taken_back() {
    let mut alerts = Alerts::new(When::AtEnd);
    take(&mut alerts, finding(&UNTRUSTED_ISSUER, 1, 5));
    take(&mut alerts, finding(&UNTRUSTED_ISSUER, 2, 3));
    take(&mut alerts, finding(&EXPIRED, 3, 4));
    take(&mut alerts, finding(&UNTRUSTED_ISSUER, 3, 4));
    let id = |key| Cause::IssuerKey(Sha256([key; 32])).alert_id();
    alerts.unite(id(1), id(2));
    alerts.retract(id(3), UNTRUSTED_ISSUER.id);
    let united = alerts.get(&(id(2), false)).unwrap();
    assert_eq!((united.count, united.first_seen, &*united.head.message), (2, Timestamp::new(3, 0), "2 3"));
    assert_eq!(alerts.get(&(id(3), false)).unwrap().rules.len(), 1);
    alerts.retract(id(2), UNTRUSTED_ISSUER.id);
    assert_eq!(alerts.iter().count(), 1);
}

/// Whoever fills certificates with words does not fill the memory of alerts with them.
#[test]
fn handshakes_of_alerts_are_bounded_in_bytes() {
    use crate::detect::testing::{Ca, Plan, Scene};
    let (ca, mut scene) = (Ca::new("CA"), Scene::new(&[]));
    let mut made = |long: usize| {
        let plan = Plan { common_name: "x".repeat(long), ..Plan::of(&["www.example.com"]) };
        scene.handshake("10.0.0.1", "203.0.113.10", &ca.chain(&plan))
    };
    for long in [10, 20_000] {
        let observation = Arc::new(made(long));
        // Besides, each holds its message.
        let weight = observation.weight() + finding(&UNTRUSTED_ISSUER, 10, 10).message.len();
        let mut alerts = Alerts { held: (0, 5 * weight + 1), ..Alerts::new(When::AtEnd) };
        for (rule, key) in [(&UNTRUSTED_ISSUER, 0..20), (&LEAF_SIGNED_BY_OWN_KEY, 10..30)] {
            for key in key {
                let certificate = observation.server_chain.first().cloned();
                let finding = Finding { certificate, ..finding(rule, key, key.into()) };
                alerts.take(&finding, || Some(Arc::clone(&observation)), Timestamp::new(key.into(), 0));
            }
        }
        let held = alerts.iter().filter(|alert| alert.observation.is_some()).count();
        assert_eq!(held, 5, "{long}");
        // Usual ones are told with their certificate all the same, as long as these are not too much themselves.
        let told = alerts.iter().filter(|alert| alert.head.certificate.is_some()).count();
        let leaf = observation.server_chain[0].weight();
        let more = (5 * weight + 2) / leaf;
        assert!((1..25).contains(&more) && (leaf > room::USUAL) == (long != 10));
        assert_eq!(told, if long == 10 { 5 + more } else { 5 });
        let sum: usize = alerts.iter().map(|alert| alert.held).sum();
        assert_eq!(sum, alerts.held.0);
        for key in 0..30 {
            let id = Cause::IssuerKey(Sha256([key; 32])).alert_id();
            alerts.retract(id, UNTRUSTED_ISSUER.id);
            alerts.retract(id, LEAF_SIGNED_BY_OWN_KEY.id);
        }
        assert_eq!((alerts.iter().count(), alerts.held.0), (0, 0));
    }
}

/// Nor with evidence, of which some rules write much: what is left of it says why.
#[test]
fn evidence_of_alerts_is_bounded_in_bytes() {
    use crate::detect::finding::{Evidence, KnownHost, Point};
    let point = |id| Point::new(id, "p".repeat(900)).observed("o".repeat(900)).expected("e".repeat(900));
    let evidence = |proofs: usize| Evidence {
        verdict: "v".to_owned(),
        score: Some(70),
        proofs: vec![point("P3"); proofs],
        pro: vec![point("H1"); 10],
        contra: vec![point("B1"); 10],
        baseline: Some(KnownHost { issuers: vec!["i".repeat(900); 8], ..KnownHost::default() }),
        next_steps: vec!["s".repeat(900); 3],
        ..Evidence::default()
    };
    const MOST: usize = 1 << 20;
    for proofs in [0, 2] {
        let mut alerts = Alerts { held: (0, MOST), ..Alerts::new(When::AtEnd) };
        for key in 0..200 {
            let flood = Finding { evidence: evidence(proofs).into(), ..finding(&UNTRUSTED_ISSUER, key, key.into()) };
            take(&mut alerts, flood);
        }
        let texts = |alert: &Alert| {
            let evidence = &alert.head.evidence;
            let points = [&evidence.proofs, &evidence.pro, &evidence.contra].into_iter().flatten();
            let texts =
                points.flat_map(|one| [Some(&one.text), one.observed.as_ref(), one.expected.as_ref()]).flatten();
            let others = evidence.baseline.iter().flat_map(|known| &known.issuers).chain(&evidence.next_steps);
            texts.chain(others).map(String::len).sum::<usize>()
        };
        let sum: usize = alerts.iter().map(texts).sum();
        // Twice what is held of handshakes, and the little that is always left.
        assert!((MOST..2 * MOST + 200 * 1_000).contains(&sum), "{sum}");
        assert!(alerts.held.0 >= sum && alerts.held.0 == alerts.iter().map(|alert| alert.held).sum::<usize>());
        let (whole, cut): (Vec<&Alert>, Vec<&Alert>) = alerts.iter().partition(|one| one.head.evidence.pro.len() == 10);
        assert!(whole.len() > 10 && cut.len() > 10 && whole.len() + cut.len() == 200);
        for one in cut {
            let evidence = &one.head.evidence;
            let told = if proofs > 0 { &evidence.proofs } else { &evidence.pro };
            assert_eq!((told[0].id, evidence.score), (if proofs > 0 { "P3" } else { "H1" }, Some(70)));
            assert!(told[0].observed.as_ref().is_some_and(|text| text.starts_with('o') && text.len() <= 256));
            assert_eq!(evidence.proofs.len() + evidence.pro.len() + evidence.contra.len(), 1);
        }
    }
}

/// What alerts tell apart is bounded over all of them; their counts stay exact, and an alert says that there were more.
#[test]
fn lists_of_all_alerts_have_one_bound() {
    let mut alerts = Alerts { listed: (0, 500), capacity: 40, ..Alerts::new(When::AtEnd) };
    let sum = |alerts: &Alerts| alerts.causes.values().map(|alert| alert.listed()).sum::<usize>();
    for second in 1..=100 {
        for key in 0..30 {
            take(&mut alerts, finding(&LEAF_SIGNED_BY_OWN_KEY, key, second));
            assert_eq!(alerts.listed.0, sum(&alerts));
        }
    }
    assert!(alerts.listed.0 <= 500 + 30 * 3 * FEW, "{}", alerts.listed.0);
    assert!(alerts.iter().all(|alert| alert.count == 100 && alert.hosts.len() >= FEW && alert.hosts.is_full()));
    // Whatever leaves gives its room back.
    let id = |key| Cause::IssuerKey(Sha256([key; 32])).alert_id();
    alerts.unite(id(1), id(0));
    alerts.retract(id(2), LEAF_SIGNED_BY_OWN_KEY.id);
    assert_eq!((alerts.listed.0, alerts.causes.len()), (sum(&alerts), 28));
    for key in 100..160 {
        take(&mut alerts, finding(&NEW_INTERCEPTION_CA, key, 200));
    }
    assert_eq!((alerts.listed.0, alerts.causes.len()), (sum(&alerts), 40));
    assert_eq!(alerts.causes.values().map(|alert| alert.listed()).min(), Some(2), "of those that came last");
}
