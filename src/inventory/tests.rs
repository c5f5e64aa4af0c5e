use std::collections::HashMap;

use proptest::prelude::*;

use super::writer::TOGETHER;
use super::*;
use crate::detect::observation::Observation;
use crate::event::sample;
use crate::sink::{About, Event, Sink as _};
use crate::x509::{Certificate, Sha256};

fn key(number: u16) -> HostKey {
    HostKey { name: format!("h{number}.example.org"), port: 443 }
}

fn give(gather: &mut Gather, observation: &Observation) {
    gather.write(&Event { line: b"{}\n", about: About::Handshake(observation) }).unwrap();
}

/// Handshakes of some clients with one server whose certificate changes.
fn observations() -> Vec<Observation> {
    (0..10_u32)
        .map(|number| {
            let mut observation = sample::observation();
            observation.handshake.first.timestamp.0 += i64::from(number % 7) * 1_000_000_000;
            observation.ends.client.address = std::net::Ipv4Addr::from(0x0a00_0000 + number % 4).into();
            let leaf = Arc::make_mut(&mut observation.server_chain[0]);
            leaf.sha256 = Sha256([u8::try_from(number / 5).unwrap(); 32]);
            observation
        })
        .collect()
}

fn rows(store: &Store, sql: &str) -> Vec<Vec<rusqlite::types::Value>> {
    let connection = store.connection();
    let mut statement = connection.prepare(sql).unwrap();
    let width = statement.column_count();
    let rows = statement.query_map([], |row| (0..width).map(|at| row.get(at)).collect()).unwrap();
    rows.map(Result::unwrap).collect()
}

fn made(answer: &Answer) -> Vec<Vec<Cell>> {
    let mut rows = Vec::new();
    let Ok(()) = answer.rows.each(|row| {
        rows.push(row.to_vec());
        Ok::<_, std::convert::Infallible>(())
    });
    rows
}

fn everything(store: &Store) -> Vec<Vec<rusqlite::types::Value>> {
    [
        "certificate",
        "sighting",
        "host",
        "change",
        "client",
        "name",
        "endpoint",
        "key",
        "issuer",
        "meta",
        "certificate_name",
    ]
    .iter()
    .flat_map(|table| rows(store, &format!("SELECT * FROM {table}")))
    .collect()
}

#[test]
fn batches_leave_no_trace() {
    let contents: Vec<_> = [1, 3, 100]
        .iter()
        .map(|batch| {
            let inventory = Arc::new(Inventory::in_memory().unwrap());
            let mut gather = Gather::new(Arc::clone(&inventory), *batch);
            observations().iter().for_each(|observation| give(&mut gather, observation));
            gather.flush().unwrap();
            everything(inventory.store())
        })
        .collect();
    assert_eq!(contents[0], contents[1]);
    assert_eq!(contents[0], contents[2]);
    assert!(contents[0].len() > 10);
}

#[test]
fn sightings_have_first_last_count_and_clients() {
    let inventory = Arc::new(Inventory::in_memory().unwrap());
    let mut gather = Gather::new(Arc::clone(&inventory), 4);
    observations().iter().for_each(|observation| give(&mut gather, observation));
    gather.flush().unwrap();
    let base = sample::observation().handshake.first.timestamp.0;
    let found =
        rows(inventory.store(), "SELECT first, last, count, clients FROM sighting WHERE role = 0 ORDER BY certificate");
    // 0 to 4, then 5, 6, 0, 1, 2; of four clients each time.
    let expected = [[0, 4, 5, 4], [0, 6, 5, 4]].map(|[first, last, count, clients]| {
        let at = |seconds: i64| rusqlite::types::Value::Integer(base + seconds * 1_000_000_000);
        vec![at(first), at(last), count.into(), clients.into()]
    });
    assert_eq!(found, expected);
    assert_eq!(inventory.store().last_packet().unwrap(), Some(Timestamp(base + 6_000_000_000)));
    let hosts = rows(inventory.store(), "SELECT count FROM host");
    assert_eq!(hosts, [[10_i64.into()]]);
}

#[test]
fn files_read_before_are_left_out() {
    let inventory = Arc::new(Inventory::in_memory().unwrap());
    let mut gather =
        Gather::new(Arc::clone(&inventory), 4).without(Arc::new(Counted { files: [1].into(), ..Counted::default() }));
    for file in [0, 1, 2, 1] {
        let mut observation = sample::observation();
        observation.handshake.first.file = file;
        give(&mut gather, &observation);
    }
    gather.flush().unwrap();
    assert_eq!(rows(inventory.store(), "SELECT count FROM host"), [[2_i64.into()]]);
}

#[test]
fn a_packet_without_time_has_the_time_of_the_capture() {
    let inventory = Arc::new(Inventory::in_memory().unwrap());
    let mut gather = Gather::new(Arc::clone(&inventory), 1);
    let mut observation = sample::observation();
    observation.handshake.first.time_known = false;
    observation.handshake.first.timestamp = Timestamp(1);
    give(&mut gather, &observation);
    gather.flush().unwrap();
    assert_eq!(inventory.store().last_packet().unwrap(), Some(observation.handshake.first.order.clock));
}

#[test]
fn what_does_not_parse_and_what_is_too_long_is_kept() {
    let inventory = Arc::new(Inventory::in_memory().unwrap());
    let mut gather = Gather::new(Arc::clone(&inventory), 1);
    let mut observation = sample::observation();
    let long = Arc::make_mut(&mut observation.server_chain[0]);
    let facts = long.facts.as_mut().unwrap();
    facts.subject.text = "é".repeat(100_000);
    facts.serial = vec![0xff; 100_000].into();
    facts.alternative_names =
        (0..5_000).map(|number| crate::x509::AlternativeName::Dns(format!("{number}.example"))).collect();
    *Arc::make_mut(&mut observation.server_chain[1]) = Certificate::parse(b"no certificate");
    observation.handshake.client_hello.as_mut().unwrap().server_name = Some(vec![0xff; 60_000].into());
    give(&mut gather, &observation);
    gather.flush().unwrap();
    let store = inventory.store();
    assert_eq!(rows(store, "SELECT count(*) FROM certificate WHERE key IS NULL")[0], [1_i64.into()]);
    assert_eq!(
        rows(store, "SELECT max(length(subject)), max(length(serial)) FROM certificate")[0],
        [1_024_i64.into(), 1_024_i64.into()]
    );
    assert_eq!(
        rows(store, "SELECT max(n) FROM (SELECT count(*) AS n FROM certificate_name GROUP BY certificate)")[0],
        [256_i64.into()]
    );
    assert_eq!(rows(store, "SELECT max(length(name)) FROM name")[0], [255_i64.into()]);
    assert_eq!(store.der(&Certificate::parse(b"no certificate").sha256).unwrap().unwrap(), b"no certificate");
}

#[test]
fn a_host_is_readable_before_its_transaction_is_committed() {
    let folder = tempfile::tempdir().unwrap();
    let inventory = Inventory::open(&folder.path().join("i.db")).unwrap();
    // The writer is stopped: another program is writing.
    let other = rusqlite::Connection::open(folder.path().join("i.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    for number in 0..300 {
        inventory.put_baseline(&key(number), b"one", Timestamp(5)).unwrap();
    }
    inventory.put_baseline(&key(7), b"two", Timestamp(6)).unwrap();
    inventory.forget_baseline(&key(8)).unwrap();
    for (number, expected) in [(0, Some(&b"one"[..])), (299, Some(b"one")), (7, Some(b"two")), (8, None), (300, None)] {
        assert_eq!(inventory.baseline(&key(number)).unwrap().as_deref(), expected, "{number}");
        assert_eq!(inventory.store().baseline(&key(number)).unwrap(), None);
    }
    other.execute_batch("COMMIT").unwrap();
    inventory.commit().unwrap();
    assert!(lock(&inventory.unwritten).records.is_empty());
    for (number, expected) in [(0, Some(&b"one"[..])), (299, Some(b"one")), (7, Some(b"two")), (8, None), (300, None)] {
        assert_eq!(inventory.baseline(&key(number)).unwrap().as_deref(), expected, "{number}");
        assert_eq!(inventory.store().baseline(&key(number)).unwrap().as_deref(), expected, "{number}");
    }
}

#[test]
fn another_inventory_is_read_and_never_changed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("base.db");
    let first = Inventory::open(&path).unwrap();
    first.put_baseline(&key(1), b"base", Timestamp(1)).unwrap();
    first.put_baseline(&key(2), b"base", Timestamp(1)).unwrap();
    first.commit().unwrap();
    first.store().accept(&key(1), &[Sha256([1; 32])]).unwrap();
    drop(first);
    let before = std::fs::read(&path).unwrap();
    let inventory = Inventory::in_memory().unwrap().with_base(Store::open_read_only(&path).unwrap());
    assert_eq!(inventory.baseline(&key(1)).unwrap().as_deref(), Some(&b"base"[..]));
    assert_eq!(inventory.accepted(&key(1)).unwrap(), [Sha256([1; 32])]);
    inventory.put_baseline(&key(1), b"mine", Timestamp(2)).unwrap();
    inventory.forget_baseline(&key(2)).unwrap();
    for _ in 0..2 {
        assert_eq!(inventory.baseline(&key(1)).unwrap().as_deref(), Some(&b"mine"[..]));
        assert_eq!(inventory.baseline(&key(2)).unwrap(), None);
        inventory.commit().unwrap();
    }
    drop(inventory);
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[test]
fn only_inventories_are_opened() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("notes.txt");
    std::fs::write(&text, "not a database, although it is long enough to be taken for one".repeat(100)).unwrap();
    for open in [Store::open, Store::open_read_only, Store::open_to_ask] {
        assert!(matches!(open(&text), Err(InventoryError::Foreign)));
    }
    assert!(matches!(Store::open_to_ask(&folder.path().join("none.db")), Err(InventoryError::Missing)));
    for open in [Store::open, Store::open_read_only, Store::open_to_ask] {
        assert!(matches!(open(folder.path()), Err(InventoryError::Folder)));
        let error = open(&folder.path().join("none/i.db")).unwrap_err().to_string();
        assert!(error.to_lowercase().starts_with("no such file"), "{error}");
    }
    assert!(!folder.path().join("none.db").exists());
    let empty = folder.path().join("empty.db");
    std::fs::write(&empty, "").unwrap();
    assert!(matches!(Store::open_read_only(&empty), Err(InventoryError::Foreign)));
    assert!(matches!(Store::open_to_ask(&empty), Err(InventoryError::Foreign)));
    assert_eq!(std::fs::read(&empty).unwrap(), b"", "a question makes no tables");
    drop(Store::open(&empty).unwrap());
    assert!(Store::open_read_only(&empty).is_ok());
}

#[test]
fn whoever_asks_does_not_wait_for_whoever_writes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("i.db");
    let first = Inventory::open(&path).unwrap();
    first.put_baseline(&key(1), b"x", Timestamp(1)).unwrap();
    first.commit().unwrap();
    drop(first);
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE; DELETE FROM baseline").unwrap();
    // As long as the lock is held: whoever wants it gives up after half a minute with an error.
    for open in [Store::open_to_ask, Store::open, Store::open_read_only] {
        let store = open(&path).unwrap();
        assert_eq!(store.baselines(None).unwrap().len(), 1);
        assert!(store.ask(Question::Hosts, &Filter { host: Some("*.a".to_owned()), ..Filter::default() }).is_ok());
    }
    other.execute_batch("COMMIT").unwrap();
}

#[test]
fn a_writer_that_fails_is_heard_and_nobody_waits() {
    let inventory = Arc::new(Inventory::in_memory().unwrap());
    inventory.store().connection().execute_batch("DROP VIEW place; DROP TABLE sighting").unwrap();
    let mut gather = Gather::new(Arc::clone(&inventory), 1);
    let observation = sample::observation();
    let mut failed = None;
    for _ in 0..100 {
        let event = Event { line: b"", about: About::Handshake(&observation) };
        if let Err(error) = gather.write(&event).and_then(|()| gather.flush()) {
            failed = Some(error.to_string());
            break;
        }
    }
    assert!(failed.unwrap().contains("no such table: sighting"));
    assert!(inventory.put_baseline(&key(1), b"x", Timestamp(1)).is_ok());
    assert_eq!(inventory.baseline(&key(1)).unwrap().as_deref(), Some(&b"x"[..]));
    assert!(inventory.commit().unwrap_err().to_string().contains("no such table"));
}

#[test]
fn alerts_and_captures_come_back() {
    let inventory = Inventory::in_memory().unwrap();
    let alert = StoredAlert {
        id: "ab12".to_owned(),
        first: Timestamp(1),
        last: Timestamp(2),
        count: 3,
        severity: 73,
        json: "{}".to_owned(),
    };
    let about = |host: &str| vec![(Named::Host, host.to_owned()), (Named::Client, "10.0.0.1".to_owned())];
    inventory.put_alert(alert.clone(), about("a.example:443")).unwrap();
    inventory.put_alert(alert.clone(), about("b.example:444")).unwrap();
    let capture = Capture { digest: Sha256([9; 32]), path: "a.pcap".to_owned(), bytes: 7, content: None };
    assert!(!inventory.store().has_capture(&capture.digest).unwrap());
    inventory.put_capture(capture.clone()).unwrap();
    inventory.commit().unwrap();
    assert_eq!(inventory.store().alert("ab12").unwrap(), Some(alert.clone()));
    assert_eq!(inventory.store().alert("ab").unwrap(), None);
    // What one run saw is not forgotten for what the next one saw.
    let hosts = ["a.example:443", "b.example:444"].map(str::to_owned).to_vec();
    assert_eq!(inventory.store().about("ab12", Named::Host).unwrap(), (hosts, false));
    assert_eq!(inventory.store().about("ab12", Named::Client).unwrap().0, ["10.0.0.1"]);
    let found = inventory.store().alerts_about("a.example").unwrap();
    assert_eq!(found, [(alert.clone(), vec!["a.example:443".to_owned()])]);
    assert!(inventory.store().alerts_about("example").unwrap().is_empty());
    assert!(inventory.store().alerts_about_many().unwrap().is_empty());
    let many = (0..5_000).map(|number| (Named::Host, format!("h{number}.example:443"))).collect();
    inventory.put_alert(alert.clone(), many).unwrap();
    inventory.commit().unwrap();
    let (hosts, full) = inventory.store().about("ab12", Named::Host).unwrap();
    assert_eq!((hosts.len(), full), (4_096, true));
    assert_eq!(inventory.store().alerts_about_many().unwrap(), ["ab12"]);
    assert!(inventory.store().has_capture(&capture.digest).unwrap());
}

#[test]
fn of_many_certificates_the_first_are_shown_and_of_many_names_how_many_more_there_are() {
    use crate::detect::testing::{Ca, Plan};
    let inventory = Arc::new(Inventory::in_memory().unwrap());
    let mut gather = Gather::new(Arc::clone(&inventory), 4);
    for number in 0..120 {
        let mut observation = sample::observation();
        Arc::make_mut(&mut observation.server_chain[0]).sha256 = Sha256([number; 32]);
        give(&mut gather, &observation);
    }
    let names: Vec<String> = (0..300).map(|number| format!("h{number}.example")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut observation = sample::observation();
    // One whose digest begins like none of the others.
    let root = Ca::new("Root");
    let mut leaves = std::iter::repeat_with(|| root.leaf(&Plan::of(&names)));
    observation.server_chain = leaves.find(|leaf| (0x80..0xff).contains(&leaf.sha256.0[0])).into_iter().collect();
    give(&mut gather, &observation);
    gather.flush().unwrap();
    let store = inventory.store();
    for (digits, all, many) in [("", 100, true), ("0", 16, false), ("ffff", 0, false)] {
        let (answers, more) = store.show(digits).unwrap();
        assert_eq!((answers[0].rows.len(), more), (all, many), "{digits}");
        // Places are of the certificates that are shown.
        assert_eq!(answers[1].digests(), answers[0].digests());
    }
    let digest = observation.server_chain[0].sha256.to_string().to_ascii_lowercase();
    let facts = made(&store.show(&digest).unwrap().0[0]);
    assert_eq!(facts.len(), 1);
    assert!(facts[0].iter().any(|cell| cell.text().ends_with(" (+44)")), "{facts:?}");
    assert!(!made(&store.show("00").unwrap().0[0])[0].iter().any(|cell| cell.text().contains("(+")));
}

/// Statements check their plans in tests: see `answer::prepare`.
#[test]
fn no_question_grows_with_the_square() {
    let inventory = Arc::new(Inventory::in_memory().unwrap());
    let mut gather = Gather::new(Arc::clone(&inventory), 4);
    observations().iter().for_each(|observation| give(&mut gather, observation));
    gather.flush().unwrap();
    let store = inventory.store();
    store.import_owners(&b"*.example.com,web team\n"[..]).unwrap();
    let filters = [
        Filter::default(),
        Filter { since: Some(Timestamp(1)), issuer: Some("x".to_owned()), limit: Some(1), ..Filter::default() },
        Filter { host: Some("*.example.com".to_owned()), ..Filter::default() },
        Filter { host: Some("0.0.0.0/0".to_owned()), ..Filter::default() },
        Filter { owner: Some("web team".to_owned()), issuer: Some("a".to_owned()), ..Filter::default() },
    ];
    for question in [
        Question::Certificates,
        Question::Expiring(crate::time::Span::seconds(1)),
        Question::Issuers,
        Question::Keys,
        Question::Reused,
        Question::Hosts,
        Question::Changes,
        Question::Clients,
    ] {
        for filter in &filters {
            let answer = store.ask(question, filter).unwrap();
            let all = made(&answer);
            assert_eq!(all.len(), answer.rows.len());
            assert!(all.iter().all(|row| row.len() == answer.columns.len()), "{question:?} {filter:?}");
            // A row that grew beyond what it was made for has moved: with a million rows, half of the time and memory.
            if let Rows::Made(rows) = &answer.rows {
                let tight = |row: &Vec<Cell>| row.capacity() <= answer.columns.len() + answer::LATER;
                assert!(rows.iter().all(tight), "{question:?} {filter:?}");
            }
            assert!(answer.rows.len() <= filter.rows());
        }
    }
    store.shared_factors(10, &mut |_, _| {}).unwrap();
    assert!(store.show("00").unwrap().0.iter().any(|answer| !answer.rows.is_empty()));
    // The server's address finds its hosts.
    let at = |host: &str| Filter { host: Some(host.to_owned()), ..Filter::default() };
    let address = sample::observation().ends.server.address.to_string();
    for question in [Question::Hosts, Question::Changes, Question::Certificates] {
        assert!(!store.ask(question, &at(&address)).unwrap().rows.is_empty(), "{question:?}");
        assert!(store.ask(question, &at("192.0.2.254")).unwrap().rows.is_empty(), "{question:?}");
    }
}

#[test]
fn places_are_counted_alike_for_few_certificates_and_for_many() {
    let inventory = Arc::new(Inventory::in_memory().unwrap());
    let mut gather = Gather::new(Arc::clone(&inventory), 4);
    for number in 0..6_u8 {
        let mut observation = sample::observation();
        observation.ends.server.address = [10, 0, 0, number].into();
        let hello = observation.handshake.client_hello.as_mut().unwrap();
        hello.server_name = Some(format!("h{number}.example.org").into_bytes().into());
        give(&mut gather, &observation);
        // In another role it is the same place.
        observation.client_chain = observation.server_chain.clone();
        give(&mut gather, &observation);
    }
    gather.flush().unwrap();
    let ask = || {
        let answer = inventory.store().ask(Question::Certificates, &Filter::default()).unwrap();
        let rows = made(&answer);
        let hosts = rows[0].last().unwrap().text();
        let places = rows[0][9].text();
        (places, hosts)
    };
    let few = ask();
    let named = "h0.example.org h1.example.org h2.example.org h3.example.org (+2)";
    assert_eq!(few, ("6".to_owned(), named.to_owned()));
    inventory
        .store()
        .connection()
        .execute_batch(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1200)
             INSERT INTO certificate (sha256, sha1, subject, serial, signature_algorithm, is_ca, self_issued, first, last,
                 count) SELECT randomblob(32), x'', 'x', '', '', 0, 0, 1, 1, 1 FROM n",
        )
        .unwrap();
    assert_eq!(ask(), few);
}

/// `a` and `b` have one key, `b` and `c` one issuer; all are seen an hour apart, by clients of their own.
fn three_hosts() -> Arc<Inventory> {
    let inventory = Arc::new(Inventory::in_memory().unwrap());
    let mut gather = Gather::new(Arc::clone(&inventory), 4);
    for (number, name, key, issuer) in [(0_u8, "a", 1, "One"), (1, "b", 1, "Two"), (2, "c", 2, "Two")] {
        let mut observation = sample::observation();
        observation.handshake.first.timestamp.0 += i64::from(number) * 3_600_000_000_000;
        observation.ends.server.address = [10, 9, number, 1].into();
        observation.ends.client.address = [10, 0, 0, number].into();
        let hello = observation.handshake.client_hello.as_mut().unwrap();
        hello.server_name = Some(format!("{name}.example").into_bytes().into());
        observation.server_chain.truncate(1);
        let leaf = Arc::make_mut(&mut observation.server_chain[0]);
        leaf.sha256 = Sha256([number; 32]);
        let facts = leaf.facts.as_mut().unwrap();
        facts.spki_sha256 = Sha256([key; 32]);
        facts.issuer.text = issuer.to_owned();
        facts.issuer.normalized = issuer.to_owned();
        facts.subject.text = format!("CN={name}");
        observation.client_chain = vec![sample::observation().server_chain[0].clone()];
        give(&mut gather, &observation);
    }
    gather.flush().unwrap();
    inventory
}

/// Columns of an answer, each row in one line.
fn lines(store: &Store, (question, filter): (Question, &Filter), columns: &[&str]) -> Vec<String> {
    let answer = store.ask(question, filter).unwrap();
    let at: Vec<usize> =
        columns.iter().map(|name| answer.columns.iter().position(|column| column == name).unwrap()).collect();
    made(&answer).iter().map(|row| at.iter().map(|at| row[*at].text()).collect::<Vec<_>>().join(" | ")).collect()
}

#[test]
fn a_filter_says_which_keys_and_all_their_certificates_count() {
    let inventory = three_hosts();
    let store = inventory.store();
    let last = store.last_packet().unwrap().unwrap();
    let of = |filter: &Filter| {
        let shown = ["spki_sha256", "certificates", "subjects", "examples"];
        lines(store, (Question::Reused, filter), &shown)
    };
    let host = |host: &str| Filter { host: Some(host.to_owned()), ..Filter::default() };
    let shared = [format!("{} | 2 | 2 | CN=a; CN=b", "01".repeat(32))];
    assert_eq!(of(&Filter::default()), shared);
    assert_eq!(of(&host("a.example")), shared);
    assert_eq!(of(&host("10.9.1.0/24")), shared);
    assert_eq!(of(&host("c.example")), [""; 0]);
    assert_eq!(of(&Filter { issuer: Some("one".to_owned()), ..Filter::default() }), shared);
    assert_eq!(of(&Filter { since: Some(last), ..Filter::default() }), [""; 0]);
    let keys = lines(store, (Question::Keys, &host("b.example")), &["certificates", "examples"]);
    assert!(keys.contains(&"2 | CN=a; CN=b".to_owned()), "{keys:?}");
}

#[test]
fn clients_that_were_quiet_since_are_left_out() {
    let inventory = three_hosts();
    let store = inventory.store();
    let last = store.last_packet().unwrap().unwrap();
    let since = |since: i64| {
        let filter = Filter { since: Some(Timestamp(last.0 - since)), ..Filter::default() };
        lines(store, (Question::Clients, &filter), &["address"])
    };
    assert_eq!(since(7_200_000_000_000), ["10.0.0.0", "10.0.0.1", "10.0.0.2"]);
    assert_eq!(since(3_600_000_000_000), ["10.0.0.1", "10.0.0.2"]);
    assert_eq!(since(0), ["10.0.0.2"]);
}

#[test]
fn no_name_is_taken_for_another_host() {
    let inventory = Arc::new(Inventory::in_memory().unwrap());
    let mut gather = Gather::new(Arc::clone(&inventory), 100);
    let long = [&b" "[..]; 300].concat();
    let cases: [(&[u8], &str); 16] = [
        (b"WWW.Example.org.", "www.example.org"),
        (b"_x.a-b.example", "_x.a-b.example"),
        (b"ip:10.9.4.1", "ip%3a10.9.4.1"),
        (b"IP:10.9.4.1", "ip%3a10.9.4.1"),
        (b"ech:a.example", "ech%3aa.example"),
        (b"a.example b.example", "a.example%20b.example"),
        (b"a.example (+9)", "a.example%20%28%2b9%29"),
        (b"\x1b[2J\0\xff", "%1b%5b2j%00%ff"),
        ("\u{202e}é".as_bytes(), "%e2%80%ae%c3%a9"),
        (b"a%20b", "a%2520b"),
        (b"*.example.org", "%2a.example.org"),
        (b"10.9.4.1", "ip:192.0.2.7"),
        (b"2001:db8::1", "ip:192.0.2.7"),
        (b"", "ip:192.0.2.7"),
        (b"..", "ip:192.0.2.7"),
        (&long, &"%20".repeat(85)),
    ];
    for (asked, _) in cases {
        let mut observation = sample::observation();
        observation.ends.server.address = [192, 0, 2, 7].into();
        observation.handshake.client_hello.as_mut().unwrap().server_name = Some(asked.into());
        give(&mut gather, &observation);
    }
    gather.flush().unwrap();
    let stored = rows(inventory.store(), "SELECT name FROM name ORDER BY id");
    let mut expected: Vec<&str> = Vec::new();
    for (_, name) in cases {
        if !expected.contains(&name) {
            expected.push(name);
        }
    }
    assert_eq!(stored, expected.iter().map(|name| vec![(*name).to_owned().into()]).collect::<Vec<_>>());
    // The one of the address is its own.
    let key = HostKey { name: "ip:10.9.4.1".to_owned(), port: sample::observation().ends.server.port };
    assert!(inventory.store().leaves(&key).unwrap().is_empty());
}

#[test]
fn days_left_are_rounded_down_as_in_events() {
    let inventory = three_hosts();
    let store = inventory.store();
    store.connection().execute("UPDATE certificate SET not_after = 1000000000, last = ?", [i64::MAX]).unwrap();
    for (hours, days) in [(-49, -3), (-48, -2), (-25, -2), (-24, -1), (-5, -1), (0, 0), (4, 0), (24, 1), (47, 1)] {
        let at = Some(Timestamp::new(1_000_000_000 - hours * 3_600, 0));
        let filter = Filter { at, limit: Some(1), ..Filter::default() };
        let within = crate::time::Span::seconds(i64::MAX);
        assert_eq!(lines(store, (Question::Expiring(within), &filter), &["days_left"]), [days.to_string()], "{hours}");
    }
}

#[test]
fn the_owner_asked_for_is_the_owner_named() {
    let inventory = three_hosts();
    let store = inventory.store();
    store.import_owners(&b"a.example,team A\nb.example,team B\n10.9.1.0/24,net\n10.9.2.0/24,net\n"[..]).unwrap();
    let of = |question: Question, owner: Option<&str>| {
        let filter = Filter { owner: owner.map(str::to_owned), ..Filter::default() };
        lines(store, (question, &filter), &["owner"])
    };
    assert_eq!(of(Question::Hosts, None), ["team A", "net; team B", "net"]);
    for question in [Question::Hosts, Question::Changes] {
        assert_eq!(of(question, Some("net")), ["net; team B", "net"]);
        assert_eq!(of(question, Some("team B")), ["team B; net"]);
        assert_eq!(of(question, Some("team A")), ["team A"]);
        assert_eq!(of(question, Some("team C")), [""; 0]);
    }
    // The client's certificate was shown to all three.
    assert_eq!(of(Question::Certificates, Some("team B")), ["team B; net; team A", "team B; net"]);
    assert_eq!(of(Question::Certificates, Some("net")), ["net; team A; team B", "net; team B", "net"]);
    assert_eq!(of(Question::Clients, Some("team B")), ["team B; net; team A"; 3]);
    // More owners than are named: the one asked for is among them.
    let many: String = (0..6).map(|number| format!("10.9.0.0/{},o{number}\n", 24 + number)).collect();
    store
        .import_owners(format!("{many}c.example,x\nb.example,y\na.example,z\n10.9.1.1,u\n10.9.2.1,v\n").as_bytes())
        .unwrap();
    let named = of(Question::Certificates, Some("z"));
    assert_eq!(named, ["z; o5", "z; o5; u; v (+2)"]);
}

#[test]
fn a_batch_is_written_when_the_clock_moves_on_without_events() {
    let inventory = Arc::new(Inventory::in_memory().unwrap());
    let every = crate::time::Span::seconds(10);
    let mut gather = Gather::new(Arc::clone(&inventory), 100).at_leisure(every);
    let hosts = || rows(inventory.store(), "SELECT count FROM host");
    gather.tick(Timestamp::new(5, 0)).unwrap();
    give(&mut gather, &sample::observation());
    for (second, written) in [(100, false), (109, false), (110, true)] {
        gather.tick(Timestamp::new(second, 0)).unwrap();
        gather.flush().unwrap();
        inventory.commit().unwrap();
        assert_eq!(!hosts().is_empty(), written, "{second}");
    }
    // The next batch has a time of its own.
    give(&mut gather, &sample::observation());
    gather.tick(Timestamp::new(111, 0)).unwrap();
    inventory.commit().unwrap();
    assert_eq!(hosts(), [[1_i64.into()]]);
    gather.tick(Timestamp::new(121, 0)).unwrap();
    inventory.commit().unwrap();
    assert_eq!(hosts(), [[2_i64.into()]]);
}

#[test]
fn parts_of_a_capture_are_counted_once() {
    let inventory = Arc::new(Inventory::in_memory().unwrap());
    let capture = Capture { digest: Sha256([9; 32]), path: "a.pcap".to_owned(), bytes: 7, content: None };
    let all = observations();
    let read = |part: &[Observation], whole: bool| {
        let handshakes = inventory.counted(&capture.digest, true).unwrap().unwrap();
        let counted = Counted { handshakes: [(0, handshakes)].into(), ..Counted::default() };
        let gather = Gather::new(Arc::clone(&inventory), 2).without(Arc::new(counted));
        let mut gather = if whole { gather } else { gather.of_parts([(0, capture.digest)].into()) };
        part.iter().for_each(|observation| give(&mut gather, observation));
        gather.flush().unwrap();
        if whole {
            inventory.put_capture(capture.clone()).unwrap();
            inventory.commit().unwrap();
        }
        match rows(inventory.store(), "SELECT count FROM host").as_slice() {
            [row] => row[0].clone(),
            _ => panic!("one host"),
        }
    };
    // Handshakes 0 and 7 begin at the same second, with different clients; 0 and 4 differ in time.
    assert_eq!(read(&all[..4], false), 4.into());
    assert_eq!(read(&all[2..6], false), 6.into());
    assert_eq!(read(&all[..6], false), 6.into());
    assert_eq!(rows(inventory.store(), "SELECT sum(length(handshakes)) FROM capture_part"), [[48.into()]]);
    assert_eq!(read(&all, true), 10.into());
    assert!(inventory.counted(&capture.digest, true).unwrap().unwrap().is_empty());
    // More than is held in memory.
    let other = Sha256([8; 32]);
    let insert = "INSERT INTO capture_part (capture, handshakes) VALUES (?, zeroblob(?))";
    inventory.store().connection().execute(insert, rusqlite::params![other.0, (8 << 20) * 8 + 8]).unwrap();
    assert!(inventory.counted(&other, true).unwrap().is_none());
}

#[test]
fn what_belongs_together_is_written_together() {
    let folder = tempfile::tempdir().unwrap();
    let inventory = Inventory::open(&folder.path().join("i.db")).unwrap();
    inventory.begin().unwrap();
    for number in 0..600 {
        inventory.put_baseline(&key(number), b"x", Timestamp(1)).unwrap();
    }
    let capture = Capture { digest: Sha256([9; 32]), path: "a.pcap".to_owned(), bytes: 7, content: None };
    inventory.put_capture(capture.clone()).unwrap();
    // More orders than the queue holds: the writer has taken some of them.
    for _ in 0..4 * TOGETHER {
        inventory.hand_over().unwrap();
        inventory.put_baseline(&key(0), b"x", Timestamp(1)).unwrap();
    }
    assert!(inventory.store().baselines(None).unwrap().is_empty());
    assert_eq!(inventory.baseline(&key(0)).unwrap().as_deref(), Some(&b"x"[..]));
    inventory.commit().unwrap();
    assert_eq!(inventory.store().baselines(None).unwrap().len(), 600);
    assert!(inventory.store().has_capture(&capture.digest).unwrap());
    // One that nobody commits is committed by its end.
    inventory.begin().unwrap();
    inventory.put_baseline(&key(700), b"x", Timestamp(1)).unwrap();
    drop(inventory);
    assert_eq!(Store::open(&folder.path().join("i.db")).unwrap().baselines(None).unwrap().len(), 601);
}

#[test]
fn old_baselines_are_taken_out() {
    let inventory = Arc::new(Inventory::in_memory().unwrap());
    for number in 0..4 {
        inventory.put_baseline(&key(number), b"x", Timestamp(i64::from(number))).unwrap();
    }
    inventory.hand_over().unwrap();
    inventory.expire(Timestamp(2)).unwrap();
    inventory.commit().unwrap();
    let left: Vec<u16> = (0..4).filter(|number| inventory.baseline(&key(*number)).unwrap().is_some()).collect();
    assert_eq!(left, [2, 3]);
}

#[derive(Clone, Debug)]
enum Act {
    Put(u16, u8),
    Forget(u16),
    Commit,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => (0..20_u16, 1..255_u8).prop_map(|(host, value)| Act::Put(host, value)),
        2 => (0..20_u16).prop_map(Act::Forget),
        1 => Just(Act::Commit),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a_host_has_the_last_record_put(acts in prop::collection::vec(act(), 0..800)) {
        let inventory = Inventory::in_memory().unwrap();
        let mut model = HashMap::new();
        for act in acts {
            match act {
                Act::Put(host, value) => {
                    inventory.put_baseline(&key(host), &[value], Timestamp(1)).unwrap();
                    model.insert(host, value);
                }
                Act::Forget(host) => {
                    inventory.forget_baseline(&key(host)).unwrap();
                    model.remove(&host);
                }
                Act::Commit => inventory.commit().unwrap(),
            }
            let host = model.keys().next().copied().unwrap_or(3);
            let found = inventory.baseline(&key(host)).unwrap();
            prop_assert_eq!(found.as_deref(), model.get(&host).map(std::slice::from_ref));
        }
        inventory.commit().unwrap();
        for host in 0..20 {
            let stored = inventory.store().baseline(&key(host)).unwrap();
            prop_assert_eq!(stored.as_deref(), model.get(&host).map(std::slice::from_ref));
        }
    }
}

#[test]
fn what_a_person_does_is_heeded_while_a_sensor_runs() {
    use crate::detect::catalogue::UNEXPECTED_CERTIFICATE;
    use crate::detect::hosts::Hosts;
    use crate::detect::hosts::record::HostRecord;
    use crate::detect::sighting::Detector as _;
    use crate::detect::testing::{Ca, Plan, START, Scene};
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("i.db");
    let inventory = Arc::new(Inventory::open(&path).unwrap());
    let person = Store::open(&path).unwrap();
    let host = HostKey { name: "www.example.com".to_owned(), port: 443 };
    let public = Ca::new("Public Root");
    let mut scene = Scene::new(&[&public]);
    scene.offline = false;
    let mut hosts = Hosts::new(Arc::clone(&scene.anchors), 100);
    hosts.set_backing(Arc::new(Baselines::new(Arc::clone(&inventory), Arc::default())));
    let chain = public.chain(&Plan::of(&["www.example.com"]));
    let at = |second: i64| Timestamp::new(START + second, 0);
    let support = || {
        inventory.commit().unwrap();
        let record = person.baseline(&host).unwrap();
        record.map(|record| HostRecord::from_bytes(&record).unwrap().support)
    };
    hosts.save(at(0));
    for client in 1..=3 {
        scene.serve(&mut hosts, (&host.name, &format!("10.{client}.0.1")), &chain);
    }
    hosts.save(at(10));
    assert_eq!(support(), Some(3));
    // Forgotten, although what the sensor wrote is still on its way, and learned anew.
    scene.serve(&mut hosts, (&host.name, "10.4.0.1"), &chain);
    assert!(person.forget(&host).unwrap());
    hosts.save(at(19));
    assert_eq!(support(), None, "it is not time yet");
    hosts.save(at(20));
    assert_eq!(support(), None, "not written over");
    assert!(!hosts.knows(&host));
    scene.now = START + 21;
    scene.serve(&mut hosts, (&host.name, "10.5.0.1"), &chain);
    hosts.save(at(31));
    assert_eq!(support(), Some(1));
    // Accepted while it is held and doubted; a signal makes the sensor look at once.
    for second in 0..40 {
        scene.now = START + 32 + second * 4_000;
        scene.serve(&mut hosts, (&host.name, &format!("10.6.{}.1", second % 5)), &chain);
    }
    // For another name: that waits for more of the same.
    let other = Ca::new("Proxy").chain(&Plan::of(&["www.example.net"]));
    let alerts = |accept: bool, scene: &mut Scene, hosts: &mut Hosts| {
        let told = scene.serve(hosts, (&host.name, "10.7.0.1"), &other);
        assert!(told.iter().all(|one| one.rule != &UNEXPECTED_CERTIFICATE));
        if accept {
            person.accept(&host, &[other[0].sha256]).unwrap();
            let anchors = Arc::clone(&scene.anchors);
            hosts.renew(&anchors);
        }
        scene.now += 3_600;
        let mut found = Vec::new();
        hosts.advance(Timestamp::new(scene.now, 0), &scene.policy, &mut found);
        found.extend(scene.finish(hosts));
        found.iter().filter(|one| one.rule == &UNEXPECTED_CERTIFICATE).count()
    };
    let mut doubtful = Hosts::new(Arc::clone(&scene.anchors), 100);
    doubtful.restore(hosts.table().get(&host).unwrap().clone());
    assert_eq!(alerts(false, &mut scene, &mut doubtful), 1);
    assert_eq!(alerts(true, &mut scene, &mut hosts), 0);
    assert_eq!(support(), Some(42));
}
