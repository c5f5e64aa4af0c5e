//! Questions to an inventory of a million sightings: each is to be answered within a second, by a release build.

#![expect(clippy::expect_used, clippy::print_stdout, reason = "a bench says what it measured, or fails")]

use std::convert::Infallible;
use std::hint::black_box;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tlswatch::detect::knowledge::{Knowledge, NamedList};
use tlswatch::detect::lists::List;
use tlswatch::inventory::{Answer, Filter, Question, Store};
use tlswatch::time::{Span, Timestamp};

/// Longest time that a question may take.
const LIMIT: Duration = Duration::from_secs(1);

/// 100,000 certificates of 300 issuers with 90,000 keys, at 200,000 hosts on 100,000 addresses; a fifth of the chains' places
/// are those of their intermediates, most of them of one. 100,000 fingerprints with a million uses.
const GENERATE: &str = "
PRAGMA synchronous = OFF;
BEGIN;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300)
INSERT INTO issuer SELECT i, randomblob(32), 'CN=Issuing CA ' || i || ',O=Authority ' || (i % 40) FROM n;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 90000)
INSERT INTO key SELECT i, randomblob(32), iif(i % 3, 'RSA', 'EC'), iif(i % 3, 2048, 256), iif(i % 3, NULL, 'secp256r1'),
    iif(i % 3, randomblob(256), NULL) FROM n;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000)
INSERT INTO certificate SELECT i, randomblob(32), randomblob(20), 1 + i % 90000, 1 + i * 7 % 300,
    'CN=host-' || i || '.example.org', 'host-' || i || '.example.org', hex(randomblob(16)), 1700000000 + i * 300,
    1710000000 + i * 300, 'SHA256-RSA', i <= 500, 0, 1700000000000000000 + i * 300000000000,
    1705000000000000000 + i * 300000000000, 10 FROM n;
INSERT INTO der SELECT id, randomblob(1200) FROM certificate;
INSERT INTO certificate_name SELECT id, common_name FROM certificate;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000)
INSERT INTO endpoint SELECT i, '10.' || (i >> 16) || '.' || (i >> 8 & 255) || '.' || (i & 255), 443, 'tcp', 0 FROM n;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200000)
INSERT INTO name SELECT i, 'host-' || i || '.example.' || iif(i % 5, 'org', 'net') FROM n;
WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 999999)
INSERT INTO sighting SELECT iif(i % 5, 501 + i % 99500, iif(i % 3, 1, 1 + i % 500)), 1 + i % 100000, 1 + i * 3 % 200000,
    iif(i % 5, 0, 1), 1700000000000000000 + i * 30000000000, 1705000000000000000 + i * 30000000000, 5, 3, x'00010002'
    FROM n WHERE true ON CONFLICT DO NOTHING;
INSERT INTO host SELECT id, id, 443, 'tcp', 1700000000000000000 + id * 1000, 1731000000000000000 - id * 1000, 50 FROM name;
INSERT INTO change SELECT name, certificate, min(first), max(last) FROM sighting WHERE role = 0 GROUP BY 1, 2;
INSERT INTO client SELECT certificate, '10.9.' || (endpoint & 255) || '.7', first, last, 2
    FROM sighting WHERE certificate BETWEEN 1000 AND 1500 AND true ON CONFLICT DO NOTHING;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000)
INSERT INTO fingerprint SELECT i, printf('t13d1516h2_%012x_e5627efa2ab1', i / 2), randomblob(16), 1700000000000000000 + i,
    1731000000000000000 - i, 40, 10 FROM n;
WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 999999)
INSERT INTO fingerprint_use SELECT 1 + i / 10, '10.9.' || (i % 10) || '.' || (i * 7 % 251), 1 + i * 13 % 200000,
    1700000000000000000 + i, 1731000000000000000 - i, 4 FROM n;
INSERT INTO meta VALUES ('first_packet', 1700000000000000000), ('last_packet', 1731000000000000000);
INSERT INTO owner VALUES ('*.example.net', 'network team'), ('host-7.example.org', 'web team');
COMMIT;
ANALYZE;
";

fn main() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("million.db");
    drop(Store::open(&path).expect("an inventory"));
    let connection = Connection::open(&path).expect("the same");
    connection.execute_batch(GENERATE).expect("rows");
    let count: i64 = connection.query_row("SELECT count(*) FROM sighting", [], |row| row.get(0)).expect("a number");
    drop(connection);
    let bytes = path.metadata().map_or(0, |metadata| metadata.len());
    println!("{count} sightings, {} MB", bytes / 1_000_000);
    let store = Store::open_read_only(&path).expect("an inventory");
    let filters = [
        ("", Filter::default()),
        ("--since", Filter { since: Some(Timestamp::new(1_729_000_000, 0)), ..Filter::default() }),
        ("--issuer", Filter { issuer: Some("authority 7".to_owned()), ..Filter::default() }),
        ("--host NAME", Filter { host: Some("host-77.example.org".to_owned()), ..Filter::default() }),
        ("--host *.NAME", Filter { host: Some("*.example.org".to_owned()), ..Filter::default() }),
        ("--host ADDRESS", Filter { host: Some("10.1.2.3".to_owned()), ..Filter::default() }),
        ("--host NETWORK", Filter { host: Some("10.0.0.0/8".to_owned()), ..Filter::default() }),
        ("--owner", Filter { owner: Some("network team".to_owned()), ..Filter::default() }),
        ("--limit", Filter { limit: Some(20), ..Filter::default() }),
    ];
    let month = Span::seconds(30 * 86_400);
    let mut slow = Vec::new();
    for (name, question) in [
        ("list", Question::Certificates),
        ("expiring", Question::Expiring(month)),
        ("issuers", Question::Issuers),
        ("keys", Question::Keys),
        ("reused", Question::Reused),
        ("hosts", Question::Hosts),
        ("changes", Question::Changes),
        ("clients", Question::Clients),
    ] {
        for (with, filter) in &filters {
            let name = format!("{name} {with}");
            let rows = measured(&name, &mut slow, || gone_through(&store.ask(question, filter).expect("an answer")));
            assert!(rows > 0 || !with.is_empty(), "{name}: no rows");
        }
    }
    let everything = store.ask(Question::Certificates, &Filter::default()).expect("an answer");
    let digests = everything.digests();
    for (name, place) in [("show, the busiest", 0), ("show", 77_777)] {
        let digest = digests.get(place).expect("a certificate").to_string();
        measured(name, &mut slow, || store.show(&digest).expect("an answer").0.iter().map(gone_through).sum());
    }
    measured("list as table", &mut slow, || {
        everything.write_table(&mut std::io::sink(), Some(120)).expect("a table");
        everything.rows.len()
    });
    let ja4 = |many: std::ops::Range<u32>| -> String {
        many.map(|number| format!("ja4 t13d1516h2_{number:012x}_e5627efa2ab1\n")).collect()
    };
    for (name, lines) in [
        ("a JA4", ja4(500..501)),
        ("1,000 JA4", ja4(500..1_500)),
        ("100,000 JA4", ja4(0..100_000)),
        ("an address", "address 10.9.3.17\n".to_owned()),
        ("a network", "address 10.9.0.0/16\n".to_owned()),
    ] {
        let list = List::indicators(&lines);
        let indicators = vec![NamedList { name: "list".to_owned(), list }];
        let knowledge = Knowledge { indicators, ..Knowledge::default() };
        measured(&format!("audit-lists, {name}"), &mut slow, || {
            let found = store.listed(&knowledge, None).expect("an answer");
            found.indicated.iter().map(|one| one.places.len()).sum()
        });
    }
    assert!(cfg!(debug_assertions) || slow.is_empty(), "slower than a second: {slow:?}");
}

/// Number of the rows, each of which is made.
fn gone_through(answer: &Answer) -> usize {
    let mut rows = 0;
    let Ok(()) = answer.rows.each(|row| {
        rows += usize::from(!black_box(row).is_empty());
        Ok::<_, Infallible>(())
    });
    assert_eq!(rows, answer.rows.len(), "each row once");
    rows
}

/// Time of the faster of two runs to the last row, on the CPU where the system says so: others may be at work on this
/// machine, and a question waits for nobody.
fn measured(name: &str, slow: &mut Vec<String>, ask: impl Fn() -> usize) -> usize {
    let run = || {
        #[expect(clippy::disallowed_methods, reason = "a bench measures time")]
        let (began, used) = (Instant::now(), on_cpu());
        let rows = ask();
        let elapsed = began.elapsed();
        (on_cpu().zip(used).map_or(elapsed, |(now, before)| now.saturating_sub(before).min(elapsed)), rows)
    };
    let ((first, rows), (second, _)) = (run(), run());
    let took = first.min(second);
    println!("{name:24} {rows:7} rows {:6} ms", took.as_millis());
    if took > LIMIT {
        slow.push(name.to_owned());
    }
    rows
}

/// Time that this thread was on a CPU (Linux).
fn on_cpu() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split(' ').next()?.parse().ok().map(Duration::from_nanos)
}
