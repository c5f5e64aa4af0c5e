//! The summary that `tlswatch read` shows on a terminal: blocks of at most 20 rows, alerts first.
//!
//! Memory is bounded: beyond a number of hosts, certificates and so on, further ones are only counted. What is shown does
//! not depend on the order in which handshakes of the same time are handed in, apart from that bound.

mod table;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;

use crate::detect::observation::Observation;
use crate::event::{cipher_name, version_name};
use crate::stats::Stats;
use crate::text::{folded, printable};
use crate::time::{Moment, NANOS_PER_SECOND, Timestamp};
use crate::tls::Anomaly;
use crate::x509::{Certificate, Name, Sha256};

use table::{Align, Table};

/// Rows of a block.
const ROWS: usize = 20;
/// Hosts, certificates and pairs of version and cipher that are remembered.
const REMEMBERED: usize = 10_000;
/// Hosts and clients of an alert that are named.
pub const NAMED: usize = 5;
/// Bytes of a name that are remembered: what a column could never show need not be kept.
const TEXT: usize = 200;

/// One alert as the summary shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertRow {
    /// Id of the alert.
    pub id: String,
    /// 21 low, 47 medium, 73 high, 99 critical.
    pub severity: u8,
    /// Id of the rule.
    pub rule: String,
    /// One sentence.
    pub message: String,
    /// How often it was found.
    pub count: u64,
    /// Hosts and clients, the first of them, each with how many there are, at least if there are more than are counted.
    pub about: [(Vec<String>, usize, bool); 2],
    /// First and last packet time.
    pub times: [Timestamp; 2],
    /// Shows the first connection in Wireshark; empty when it is about none.
    pub display_filter: String,
}

/// Gathers what the summary shows.
#[derive(Debug)]
pub struct Summary {
    width: usize,
    handshakes: u64,
    hosts: Bounded<HostKey, Host>,
    certificates: Bounded<Sha256, Seen>,
    ciphers: Bounded<(String, String), u64>,
    anomalies: BTreeMap<Anomaly, u64>,
    alerts: BTreeMap<String, AlertRow>,
}

impl Default for Summary {
    fn default() -> Self {
        Self::new(Self::WIDTH)
    }
}

impl Summary {
    /// Columns where the terminal does not tell.
    pub const WIDTH: usize = 100;

    /// A summary for a terminal of `width` columns.
    pub fn new(width: usize) -> Self {
        Self {
            width: width.clamp(60, 400),
            handshakes: 0,
            hosts: Bounded::default(),
            certificates: Bounded::default(),
            ciphers: Bounded::default(),
            anomalies: BTreeMap::new(),
            alerts: BTreeMap::new(),
        }
    }

    /// The alerts to show, in any order; what is said of one again takes the place of what was said before.
    pub fn alert(&mut self, alert: AlertRow) {
        self.alerts.insert(alert.id.clone(), alert);
    }

    /// Takes in one handshake.
    pub fn observe(&mut self, observation: &Observation) {
        let handshake = &*observation.handshake;
        self.handshakes = self.handshakes.saturating_add(1);
        let version = handshake.version();
        let version = version
            .map_or("-", |version| version_name(version, handshake.protocol).map_or("unknown", |(_, version)| version));
        let version = match (version, handshake.protocol, handshake.version()) {
            (number, crate::tls::Protocol::Dtls, Some(_)) => format!("DTLS {number}"),
            (number @ ("2.0" | "3.0"), ..) => format!("SSL {number}"),
            (number, _, Some(_)) => format!("TLS {number}"),
            (_, _, None) => "no answer".to_owned(),
        };
        let cipher = handshake.server_hello.as_deref().and_then(|hello| hello.cipher_suite);
        let cipher = cipher.map_or_else(|| "-".to_owned(), cipher_name);
        if let Some(count) = self.ciphers.entry((version.clone(), cipher)) {
            *count = count.saturating_add(1);
        }
        for anomaly in &handshake.anomalies {
            let count = self.anomalies.entry(*anomaly).or_default();
            *count = count.saturating_add(1);
        }
        let name = handshake.client_hello.as_deref().and_then(|hello| hello.server_name.as_deref());
        let server = observation.ends.server;
        let key = HostKey {
            name: shortened(&String::from_utf8_lossy(name.unwrap_or_default())),
            address: server.address,
            port: server.port,
        };
        if let Some(host) = self.hosts.entry(key) {
            host.handshakes = host.handshakes.saturating_add(1);
            host.see(version, observation.server_chain.first().map(|leaf| &**leaf), handshake.first);
        }
        for certificate in observation.server_chain.iter().chain(&observation.client_chain) {
            if let Some(seen) = self.certificates.entry(certificate.sha256) {
                seen.see(certificate, handshake.first);
            }
        }
    }

    /// The text, ending with a line feed; `stats` are those of the whole run.
    pub fn finish(&self, stats: &Stats) -> String {
        let mut text = String::new();
        let _ = writeln!(
            text,
            "{}, {}, {} in {} of {}",
            counted(self.handshakes, "handshake"),
            counted(self.hosts.len(), "host"),
            counted(self.certificates.len(), "certificate"),
            counted(stats.capture_packets, "packet"),
            counted(stats.capture_files, "file")
        );
        self.alert_block(&mut text);
        self.host_block(&mut text);
        self.certificate_block(&mut text);
        self.cipher_block(&mut text);
        self.oddity_block(&mut text);
        self.loss_block(&mut text, stats);
        text
    }

    fn alert_block(&self, text: &mut String) {
        let mut alerts: Vec<_> = self.alerts.values().collect();
        alerts.sort_by(|a, b| {
            (Reverse(a.severity), &a.rule, &a.message).cmp(&(Reverse(b.severity), &b.rule, &b.message))
        });
        if alerts.is_empty() {
            return;
        }
        text.push_str("\nAlerts\n");
        for alert in alerts.iter().take(ROWS) {
            let severity = match alert.severity {
                0..=46 => "low",
                47..=72 => "medium",
                73..=98 => "high",
                _ => "critical",
            };
            let times = if alert.count > 1 { format!(", {} times", alert.count) } else { String::new() };
            let _ = writeln!(text, "  {severity}  {}{times}", printable(&alert.rule));
            // The sentence is what the night shift needs: it is never cut.
            for line in folded(&printable(&alert.message), self.width.saturating_sub(4)) {
                let _ = writeln!(text, "    {line}");
            }
            let [first, last] = alert.times.map(|time| time.rfc3339().to_string().chars().take(19).collect::<String>());
            let _ = writeln!(text, "    from {first}Z to {last}Z");
            for (what, (first, count, more)) in ["hosts", "clients"].iter().zip(&alert.about) {
                // The sentence names the only one.
                if *count > 1 {
                    let least = if *more { "at least " } else { "" };
                    let rest = count.saturating_sub(first.len());
                    let rest = if rest > 0 { format!(" and {rest} more") } else { String::new() };
                    let line = format!("{least}{count} {what}: {}{rest}", first.join(", "));
                    for line in folded(&printable(&line), self.width.saturating_sub(4)) {
                        let _ = writeln!(text, "    {line}");
                    }
                }
            }
            if !alert.display_filter.is_empty() {
                let _ = writeln!(text, "    wireshark {}", printable(&alert.display_filter));
            }
            let _ = writeln!(text, "    id {}", printable(&alert.id));
        }
        if alerts.len() > ROWS {
            let _ = writeln!(text, "  and {} more", alerts.len() - ROWS);
        }
    }

    fn host_block(&self, text: &mut String) {
        let mut hosts: Vec<_> = self.hosts.iter().collect();
        hosts.sort_by_key(|(key, host)| (Reverse(host.handshakes), *key));
        let mut table = Table::new(
            "Hosts",
            &[
                ("name", Align::Left),
                ("address", Align::Left),
                ("version", Align::Left),
                ("issuer", Align::Spare),
                ("days left", Align::Right),
                ("seen", Align::Right),
            ],
        );
        for (key, host) in hosts.iter().take(ROWS) {
            let name = if key.name.is_empty() { "-" } else { &key.name };
            let address = match key.address {
                IpAddr::V4(address) => format!("{address}:{}", key.port),
                IpAddr::V6(address) => format!("[{address}]:{}", key.port),
            };
            let (issuer, days) = host.usual_issuer();
            table.row([name, &address, &host.version, &issuer, &days, &host.handshakes.to_string()]);
        }
        table.write(text, self.width, self.hosts.left_out(ROWS));
    }

    fn certificate_block(&self, text: &mut String) {
        let mut certificates: Vec<_> = self.certificates.iter().collect();
        // What runs out first comes first; what has no end of validity is no less odd.
        certificates.sort_by_key(|(sha256, seen)| (seen.days_left, Reverse(seen.count), **sha256));
        let mut table = Table::new(
            "Certificates",
            &[
                ("sha256", Align::Digits),
                ("subject", Align::Left),
                ("issuer", Align::Left),
                ("key", Align::Left),
                ("days left", Align::Right),
                ("seen", Align::Right),
            ],
        );
        for (sha256, seen) in certificates.iter().take(ROWS) {
            let mut hash = sha256.to_string().to_ascii_lowercase();
            hash.truncate(16);
            let days = seen.days_left.map_or_else(|| "-".to_owned(), |days| days.to_string());
            table.row([&hash, &seen.subject, &seen.issuer, &seen.key, &days, &seen.count.to_string()]);
        }
        table.write(text, self.width, self.certificates.left_out(ROWS));
    }

    fn cipher_block(&self, text: &mut String) {
        let mut ciphers: Vec<_> = self.ciphers.iter().collect();
        ciphers.sort_by_key(|(key, count)| (Reverse(**count), *key));
        let columns = [("version", Align::Left), ("cipher", Align::Left), ("handshakes", Align::Right)];
        let mut table = Table::new("Versions and ciphers", &columns);
        for ((version, cipher), count) in ciphers.iter().take(ROWS) {
            table.row([version.as_str(), cipher, &count.to_string()]);
        }
        table.write(text, self.width, self.ciphers.left_out(ROWS));
    }

    fn oddity_block(&self, text: &mut String) {
        let mut anomalies: Vec<_> = self.anomalies.iter().collect();
        anomalies.sort_by_key(|(anomaly, count)| (Reverse(**count), **anomaly));
        let columns = [("oddity", Align::Left), ("handshakes", Align::Right), ("meaning", Align::Left)];
        let mut table = Table::new("Oddities", &columns);
        for (anomaly, count) in anomalies.iter().take(ROWS) {
            table.row([anomaly.name(), &count.to_string(), anomaly.description()]);
        }
        table.write(text, self.width, anomalies.len().saturating_sub(ROWS));
    }

    /// What was lost and how much was seen, so that silence is not read as safety.
    fn loss_block(&self, text: &mut String, stats: &Stats) {
        let coverage = ["tls.certificate.", "tls.resumed", "tls.one_sided", "tls.incomplete", "tls.message_too_long"];
        // Ordinary facts of a capture, no loss.
        let ordinary = [
            "capture.files",
            "capture.packets",
            "capture.bytes",
            "capture.filtered",
            "capture.secrets",
            "decode.tcp",
            "decode.udp",
            "decode.other",
            "decode.fragment",
            "decode.tunnelled",
            "fragment.seen",
            "fragment.reassembled",
            "flow.opened",
            "flow.closed",
            "flow.expired",
            "flow.superseded",
            "flow.open",
            "flow.not_tls",
            "tcp.duplicate",
            "tcp.retransmission",
            "tls.handshakes",
            "tls.unselected",
            "tls.certificates",
            "detect.key_exchange.good",
            "detect.client_proof.good",
            "detect.findings",
            "detect.marks",
            "detect.alerts",
        ];
        let descriptions: BTreeMap<_, _> = Stats::descriptions().collect();
        let columns = [("counter", Align::Left), ("value", Align::Right), ("meaning", Align::Left)];
        let mut table = Table::new("Losses and coverage", &columns);
        let shown: Vec<_> = stats
            .entries()
            .filter(|(name, value)| {
                let covered = coverage.iter().any(|prefix| name.starts_with(prefix));
                covered || (*value > 0 && !ordinary.contains(name) && !name.starts_with("tls.version."))
            })
            .collect();
        for (name, value) in shown.iter().take(ROWS) {
            table.row([*name, &value.to_string(), descriptions.get(name).map_or("", String::as_str)]);
        }
        table.write(text, self.width, shown.len().saturating_sub(ROWS));
    }
}

fn counted(count: impl std::fmt::Display, what: &str) -> String {
    let count = count.to_string();
    if count == "1" { format!("1 {what}") } else { format!("{count} {what}s") }
}

/// A server under one name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct HostKey {
    name: String,
    address: IpAddr,
    port: u16,
}

/// What is known of a host.
#[derive(Debug, Default)]
struct Host {
    handshakes: u64,
    /// Of the last handshake that told.
    version: String,
    /// Issuers of its leaves: how often, and days left when last seen; at most [`Host::ISSUERS`].
    issuers: BTreeMap<String, (u64, Option<i64>)>,
}

impl Host {
    /// Issuers of one host that are remembered.
    const ISSUERS: usize = 8;

    fn see(&mut self, version: String, leaf: Option<&Certificate>, at: Moment) {
        if self.version.is_empty() || version != "no answer" {
            self.version = version;
        }
        if let Some(leaf) = leaf {
            let facts = leaf.facts.as_deref();
            let issuer = facts.map_or_else(|| "(does not parse)".to_owned(), |facts| short(&facts.issuer));
            if self.issuers.len() < Self::ISSUERS || self.issuers.contains_key(&issuer) {
                let known = self.issuers.entry(issuer).or_default();
                *known = (known.0.saturating_add(1), days_left(leaf, at));
            }
        }
    }

    /// The issuer seen most, how many others there were, and the days left.
    fn usual_issuer(&self) -> (String, String) {
        let usual = self.issuers.iter().max_by_key(|(name, (count, _))| (*count, Reverse(*name)));
        let Some((name, (_, days))) = usual else { return ("-".to_owned(), "-".to_owned()) };
        let others = self.issuers.len() - 1;
        let name = if others > 0 { format!("{name} (+{others})") } else { name.clone() };
        (name, days.map_or_else(|| "-".to_owned(), |days| days.to_string()))
    }
}

/// A certificate and how often it was seen.
#[derive(Debug, Default)]
struct Seen {
    count: u64,
    subject: String,
    issuer: String,
    key: String,
    days_left: Option<i64>,
}

impl Seen {
    fn see(&mut self, certificate: &Certificate, at: Moment) {
        if self.count == 0 {
            let facts = certificate.facts.as_deref();
            self.subject = facts.map_or_else(|| "(does not parse)".to_owned(), |facts| short(&facts.subject));
            self.issuer = facts.map_or_else(|| "-".to_owned(), |facts| short(&facts.issuer));
            self.key = facts.map_or_else(
                || "-".to_owned(),
                |facts| match &facts.key.curve {
                    Some(curve) => shortened(curve),
                    None => format!("{} {}", facts.key.algorithm_name(), facts.key.bits),
                },
            );
        }
        self.count = self.count.saturating_add(1);
        // The latest sighting leaves the fewest days.
        self.days_left = [self.days_left, days_left(certificate, at)].into_iter().flatten().min();
    }
}

/// Whole days of validity left at the time of the packet.
fn days_left(certificate: &Certificate, at: Moment) -> Option<i64> {
    let not_after = certificate.facts.as_deref()?.not_after?.seconds();
    let now = at.timestamp.nanos().div_euclid(NANOS_PER_SECOND);
    at.time_known.then(|| not_after.saturating_sub(now).div_euclid(86_400))
}

/// The common name, else the whole name.
fn short(name: &Name) -> String {
    match name.common_names.first() {
        Some(common_name) => shortened(common_name),
        None if name.text.is_empty() => "(no name)".to_owned(),
        None => shortened(&name.text),
    }
}

/// Safe to show, and hardly longer than any column; what is left out leaves a mark.
fn shortened(text: &str) -> String {
    match text.char_indices().map(|(at, _)| at).find(|at| *at >= TEXT) {
        Some(end) => printable(text.get(..end).unwrap_or_default()).into_owned() + "…",
        None => printable(text).into_owned(),
    }
}

/// A map that takes no more than [`REMEMBERED`] keys; further ones are only counted (each time they are met).
#[derive(Debug)]
struct Bounded<K, V> {
    map: BTreeMap<K, V>,
    beyond: u64,
}

impl<K: Ord, V> Default for Bounded<K, V> {
    fn default() -> Self {
        Self { map: BTreeMap::new(), beyond: 0 }
    }
}

impl<K: Ord, V: Default> Bounded<K, V> {
    fn entry(&mut self, key: K) -> Option<&mut V> {
        if self.map.len() >= REMEMBERED && !self.map.contains_key(&key) {
            self.beyond = self.beyond.saturating_add(1);
            return None;
        }
        Some(self.map.entry(key).or_default())
    }

    fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.map.iter()
    }

    /// How many there are, with a mark where some were not remembered.
    fn len(&self) -> String {
        if self.beyond == 0 { self.map.len().to_string() } else { format!("more than {}", self.map.len()) }
    }

    /// How many remembered ones `shown` rows leave out.
    fn left_out(&self, shown: usize) -> usize {
        self.map.len().saturating_sub(shown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::sample;
    use crate::text::columns;

    fn filled() -> Summary {
        let mut summary = Summary::new(110);
        let mut observation = sample::observation();
        for number in 0..25_u8 {
            let hello = observation.handshake.client_hello.as_mut().unwrap();
            hello.server_name = Some(format!("host{number}.example.com").into_bytes().into());
            for _ in 0..=number % 3 {
                summary.observe(&observation);
            }
        }
        summary.alert(AlertRow {
            id: "2".into(),
            severity: 47,
            rule: "B".into(),
            message: "late\u{1b}[2J".into(),
            count: 1,
            about: [(vec!["late.example:443".into()], 1, false), (vec!["10.0.0.1".into()], 1, false)],
            times: [Timestamp::new(1_717_243_200, 5); 2],
            display_filter: String::new(),
        });
        summary.alert(AlertRow {
            id: "1".into(),
            severity: 99,
            rule: "A".into(),
            message: "first".into(),
            count: 2,
            about: [
                (["a", "b", "c", "d", "e"].map(|name| format!("{name}\u{1b}.example:443")).to_vec(), 4_096, true),
                (vec!["10.0.0.1".into(), "10.0.0.2".into()], 2, false),
            ],
            times: [Timestamp::new(1_717_243_200, 5), Timestamp::new(1_717_243_299, 0)],
            display_filter: "ip.addr == 192.0.2.1".into(),
        });
        summary
    }

    #[test]
    fn golden() {
        let stats = Stats { capture_packets: 500, capture_files: 1, tcp_gap: 3, ..Stats::default() };
        insta::assert_snapshot!(filled().finish(&stats));
    }

    #[test]
    fn nothing_escapes_to_the_terminal() {
        let mut summary = filled();
        let mut observation = sample::observation();
        let hello = observation.handshake.client_hello.as_mut().unwrap();
        hello.server_name = Some("\u{1b}]0;x\u{7}\u{202e}\0\u{9b}31m".as_bytes().into());
        for _ in 0..9 {
            summary.observe(&observation);
        }
        let text = summary.finish(&Stats::default());
        assert!(text.contains("\\u{202e}"));
        assert!(!text.chars().any(|c| (c.is_control() && c != '\n') || c == '\u{202e}'), "{text:?}");
    }

    #[test]
    fn memory_is_bounded_and_says_so() {
        let mut bounded: Bounded<usize, u64> = Bounded::default();
        for key in 0..REMEMBERED + 5 {
            if let Some(count) = bounded.entry(key) {
                *count += 1;
            }
        }
        assert_eq!(bounded.len(), format!("more than {REMEMBERED}"));
        assert_eq!(bounded.beyond, 5);
        assert!(bounded.entry(0).is_some());
        let shown = shortened(&"é".repeat(10_000));
        assert!(shown.len() <= TEXT + "é…".len() && shown.ends_with('…'), "what is left out leaves a mark");
        assert_eq!(shortened(&"x".repeat(TEXT)), "x".repeat(TEXT));
    }

    #[test]
    fn lines_fit() {
        for width in [0, 60, 80, 200] {
            let text = Summary { width: Summary::new(width).width, ..filled() }.finish(&Stats::default());
            assert!(text.lines().skip(1).all(|line| columns(line) <= width.max(60)), "{width}\n{text}");
        }
    }

    #[test]
    fn wide_characters_and_marks_keep_columns_in_line() {
        let mut summary = Summary::new(80);
        let mut observation = sample::observation();
        for name in
            ["a.example", "株式会社日本認証局.example", "u\u{308}\u{323}.example", "🔒🔒.example", &"証".repeat(60)]
        {
            observation.handshake.client_hello.as_mut().unwrap().server_name = Some(name.as_bytes().into());
            summary.observe(&observation);
        }
        // Counted by hand: what is tested counts otherwise.
        let columns = |text: &str| -> usize {
            let of = |one| usize::from(!('\u{300}'..='\u{36f}').contains(&one)) + usize::from(one >= '\u{2e80}');
            text.chars().map(of).sum()
        };
        let text = summary.finish(&Stats::default());
        let block = text.split("\nHosts\n").nth(1).unwrap().split("\n\n").next().unwrap();
        let heads: Vec<&str> = block.lines().take(1).collect();
        let place = columns(heads[0].split("address").next().unwrap());
        assert_eq!(block.lines().count(), 6, "{text}");
        for line in block.lines().skip(1) {
            assert!(columns(line) == columns(heads[0]) && columns(line) <= 80, "{text}");
            let address = observation.ends.server.address.to_string();
            assert_eq!(columns(line.split(&address).next().unwrap()), place, "{text}");
        }
    }

    #[test]
    fn digests_are_shortened_before_names() {
        let sha256 = filled().certificates.iter().next().unwrap().0.to_string().to_ascii_lowercase();
        let row = |width| {
            let text = Summary { width, ..filled() }.finish(&Stats::default());
            let block = text.split("\nCertificates\n").nth(1).unwrap();
            block.lines().nth(1).unwrap().split_whitespace().map(str::to_owned).collect::<Vec<_>>()
        };
        for (width, digits, is_whole) in [(80, 16, true), (74, 16, true), (73, 15, true), (66, 8, true), (60, 8, false)]
        {
            let row = row(width);
            assert!(sha256.starts_with(&row[0]) && row[0].len() == digits, "{width} {row:?}");
            assert_eq!(row[1] == "www.example.com", is_whole, "{width} {row:?}");
        }
    }

    #[test]
    fn an_empty_run_has_a_summary() {
        let text = Summary::default().finish(&Stats::default());
        assert!(text.starts_with("0 handshakes"));
        assert!(!text.contains("Hosts\n"));
    }
}
