//! The thread that writes: one transaction for what has come.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use crossbeam_channel::{Receiver, Sender};
use rusqlite::{Connection, OptionalExtension as _, ToSql, params};
use sha2::Digest as _;

use crate::detect::sighting::HostKey;
use crate::time::Timestamp;
use crate::x509::{AlternativeName, Certificate, Facts, KeyKind, Sha256};

use super::gather::{Batch, Span};
use super::patience::{self, Patience, Taken};
use super::prints;
use super::sketch::Sketch;
use super::store::BUSY;
use super::{Capture, Content, CountedAlert, InventoryError, Named, Store, StoredAlert, Unwritten, lock};

/// Orders of one transaction.
pub(super) const TOGETHER: usize = 16;

/// Longest text of one column, characters: names may be as long as their sender likes, the DER has all of it.
const TEXT: usize = 1_024;

/// Names of a certificate that are kept as rows; the DER has all.
const NAMES: usize = 256;

/// Certificates whose number is remembered.
const KNOWN: usize = 100_000;

/// What the writer is to do.
#[derive(Debug)]
pub(super) enum Order {
    /// Sightings.
    Batch(Box<Batch>),
    /// Host records.
    Records(Vec<Remembered>),
    /// An alert.
    Alert(Box<(StoredAlert, Vec<(Named, String)>)>),
    /// What was counted of an alert that is there: its id, its numbers, and what it is about if that is more.
    Counted(Box<CountedAlert>),
    /// A capture that was read.
    Capture(Box<Capture>),
    /// Handshakes that were counted of a capture that was read in part.
    Part(Sha256, Vec<u64>),
    /// Hosts last seen before this are forgotten.
    Expire(Timestamp),
    /// All that comes until the next commit is one transaction.
    Begin,
    /// Commit and say so.
    Commit(Sender<()>),
}

/// A host record to write.
#[derive(Debug)]
pub(super) struct Remembered {
    pub(super) key: HostKey,
    pub(super) record: Option<Arc<[u8]>>,
    pub(super) last_seen: Timestamp,
    pub(super) version: u64,
}

#[derive(Debug)]
pub(super) struct Writer {
    store: Arc<Store>,
    unwritten: Arc<Mutex<Unwritten>>,
    patience: Arc<Patience>,
    known: HashMap<Sha256, i64>,
}

/// What was done with a transaction, to be told when it is committed.
#[derive(Debug, Default)]
struct Done {
    committed: Vec<(HostKey, u64)>,
    /// Captures that were there already.
    known: Vec<Sha256>,
    waiting: Vec<Sender<()>>,
}

impl Writer {
    pub(super) fn new(store: Arc<Store>, unwritten: Arc<Mutex<Unwritten>>, patience: Arc<Patience>) -> Self {
        Self { store, unwritten, patience, known: HashMap::new() }
    }

    /// Writes until nobody can order any more.
    pub(super) fn run(mut self, orders: &Receiver<Order>) -> Result<(), InventoryError> {
        while let Ok(first) = orders.recv() {
            let mut taken = Taken::new(first, self.patience.is_patient());
            let mut tries = 0;
            let mut done = loop {
                match self.transact(orders, &mut taken) {
                    Ok(done) => break done,
                    Err(error) => {
                        // Rows that were new are gone again.
                        self.known.clear();
                        let (patience, unwritten) = (&self.patience, &self.unwritten);
                        if !patience.wait((orders, &mut taken, unwritten), tries, &error) {
                            return Err(error);
                        }
                        tries += 1;
                    }
                }
            };
            self.patience.over(tries);
            let mut unwritten = lock(&self.unwritten);
            for (key, version) in done.committed {
                unwritten.wrote(&key, version);
            }
            unwritten.known.append(&mut done.known);
            drop(unwritten);
            for tell in done.waiting {
                // Whoever asked may have given up.
                let _ = tell.send(());
            }
        }
        Ok(())
    }

    /// Commits what was taken, and what else has come.
    fn transact(&mut self, orders: &Receiver<Order>, taken: &mut Taken) -> Result<Done, InventoryError> {
        let mut done = Done::default();
        let store = Arc::clone(&self.store);
        let mut connection = store.connection();
        if self.patience.is_patient() {
            connection.busy_timeout(if taken.is_last() { BUSY } else { patience::BUSY })?;
        }
        let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        let mut whole = false;
        taken.rewind();
        while let Some(order) = taken.next() {
            match order {
                Order::Batch(batch) => self.batch(&transaction, batch)?,
                Order::Records(records) => {
                    for record in records {
                        write_record(&transaction, record)?;
                        done.committed.push((record.key.clone(), record.version));
                    }
                }
                Order::Alert(alert) => write_alert(&transaction, alert)?,
                Order::Counted(counted) => write_counted(&transaction, counted)?,
                Order::Capture(capture) => {
                    if !write_capture(&transaction, capture)? {
                        done.known.push(capture.digest);
                    }
                }
                Order::Part(capture, handshakes) => write_part(&transaction, capture, handshakes)?,
                Order::Expire(before) => {
                    let mut forget = transaction.prepare_cached("DELETE FROM baseline WHERE last_seen < ?")?;
                    forget.execute([before.0])?;
                }
                Order::Begin => whole = true,
                Order::Commit(tell) => {
                    whole = false;
                    done.waiting.push(tell.clone());
                }
            }
            if taken.is_through() {
                let next = match (whole, taken.number() < TOGETHER) {
                    (true, _) => orders.recv().ok(),
                    (false, true) => orders.try_recv().ok(),
                    (false, false) => None,
                };
                next.into_iter().for_each(|order| taken.go_on(order));
            }
        }
        transaction.commit()?;
        Ok(done)
    }

    fn batch(&mut self, connection: &Connection, batch: &Batch) -> Result<(), InventoryError> {
        if self.known.len() > KNOWN {
            self.known.clear();
        }
        let mut certificates = Vec::with_capacity(batch.certificates.entries.len());
        for (_, (certificate, span)) in &batch.certificates.entries {
            let Some(span) = span else { continue };
            certificates.push(self.certificate(connection, certificate, *span)?);
        }
        let places = numbers(&batch.places.entries, |(place, ())| {
            let ip = place.server.address.to_string();
            let columns = params![ip, place.server.port, place.transport.name(), place.virtual_network];
            find_or_insert(connection, PLACE, columns)
        })?;
        let names = numbers(&batch.names.entries, |(name, ())| find_or_insert(connection, NAME, params![&**name]))?;
        let hosts = numbers(&batch.hosts.entries, |((name, port, transport), span)| {
            let Some(name) = at(&names, *name) else { return Ok(0) };
            let Span { first, last, count } = *span;
            let mut statement = connection.prepare_cached(HOST)?;
            statement.query_row(params![name, port, transport.name(), first.0, last.0, count], |row| row.get(0))
        })?;
        let mut sightings = Sightings::new(connection)?;
        for ((certificate, place, name, role), (span, clients)) in &batch.sightings.entries {
            let key = (at(&certificates, *certificate), at(&places, *place), at(&names, *name));
            if let (Some(certificate), Some(place), Some(name)) = key {
                sightings.write((certificate, place, name, *role), *span, clients)?;
            }
        }
        let mut change = connection.prepare_cached(CHANGE)?;
        for ((host, certificate), span) in &batch.changes.entries {
            change.execute(params![at(&hosts, *host), at(&certificates, *certificate), span.first.0, span.last.0])?;
        }
        let mut client = connection.prepare_cached(CLIENT)?;
        for ((certificate, address), Span { first, last, count }) in &batch.clients.entries {
            let columns = params![at(&certificates, *certificate), address.to_string(), first.0, last.0, count];
            client.execute(columns)?;
        }
        prints::write(connection, &batch.prints, &hosts)?;
        if let Some(span) = batch.span {
            let mut meta = connection.prepare_cached(FIRST_PACKET)?;
            meta.execute([span.first.0])?;
            connection.prepare_cached(LAST_PACKET)?.execute([span.last.0])?;
        }
        Ok(())
    }

    /// Number of a certificate, with its times brought up to date.
    fn certificate(&mut self, connection: &Connection, certificate: &Certificate, span: Span) -> rusqlite::Result<i64> {
        let known = match self.known.get(&certificate.sha256) {
            Some(number) => Some(*number),
            None => {
                let mut statement = connection.prepare_cached("SELECT id FROM certificate WHERE sha256 = ?")?;
                statement.query_row([certificate.sha256.0], |row| row.get(0)).optional()?
            }
        };
        let number = match known {
            Some(number) => {
                let mut update = connection.prepare_cached(
                    "UPDATE certificate SET first = min(first, ?), last = max(last, ?), count = count + ? WHERE id = ?",
                )?;
                update.execute(params![span.first.0, span.last.0, span.count, number])?;
                number
            }
            None => insert_certificate(connection, certificate, span)?,
        };
        self.known.insert(certificate.sha256, number);
        Ok(number)
    }
}

/// Upserts of sightings; the sketch of clients is merged here.
struct Sightings<'c> {
    find: rusqlite::CachedStatement<'c>,
    insert: rusqlite::CachedStatement<'c>,
    update: rusqlite::CachedStatement<'c>,
}

impl<'c> Sightings<'c> {
    fn new(connection: &'c Connection) -> rusqlite::Result<Self> {
        Ok(Self {
            find: connection.prepare_cached(
                "SELECT client_sketch FROM sighting WHERE certificate = ? AND endpoint = ? AND name = ? AND role = ?",
            )?,
            insert: connection.prepare_cached("INSERT INTO sighting VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)")?,
            update: connection.prepare_cached(
                "UPDATE sighting SET first = min(first, ?), last = max(last, ?), count = count + ?, clients = ?,
                 client_sketch = ? WHERE certificate = ? AND endpoint = ? AND name = ? AND role = ?",
            )?,
        })
    }

    fn write(
        &mut self,
        (certificate, place, name, role): (i64, i64, i64, u8),
        Span { first, last, count }: Span,
        clients: &Sketch,
    ) -> rusqlite::Result<()> {
        let key = params![certificate, place, name, role];
        let known: Option<Vec<u8>> = self.find.query_row(key, |row| row.get(0)).optional()?;
        match known {
            None => self.insert.execute(params![
                certificate,
                place,
                name,
                role,
                first.0,
                last.0,
                count,
                clients.count(),
                clients.to_bytes()
            ])?,
            Some(bytes) => {
                let mut all = Sketch::from_bytes(&bytes);
                all.merge(clients);
                self.update.execute(params![
                    first.0,
                    last.0,
                    count,
                    all.count(),
                    all.to_bytes(),
                    certificate,
                    place,
                    name,
                    role
                ])?
            }
        };
        Ok(())
    }
}

const PLACE: [&str; 2] = [
    "SELECT id FROM endpoint WHERE ip = ? AND port = ? AND transport = ? AND virtual_network = ?",
    "INSERT INTO endpoint (ip, port, transport, virtual_network) VALUES (?, ?, ?, ?)",
];
const NAME: [&str; 2] = ["SELECT id FROM name WHERE name = ?", "INSERT INTO name (name) VALUES (?)"];
const HOST: &str = "INSERT INTO host (name, port, transport, first, last, count) VALUES (?, ?, ?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET first = min(first, excluded.first), last = max(last, excluded.last),
    count = count + excluded.count RETURNING id";
const CHANGE: &str = "INSERT INTO change VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET
    first = min(first, excluded.first), last = max(last, excluded.last)";
const CLIENT: &str = "INSERT INTO client VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET
    first = min(first, excluded.first), last = max(last, excluded.last), count = count + excluded.count";
const FIRST_PACKET: &str = "INSERT INTO meta VALUES ('first_packet', ?)
    ON CONFLICT DO UPDATE SET value = min(value, excluded.value)";
const LAST_PACKET: &str = "INSERT INTO meta VALUES ('last_packet', ?)
    ON CONFLICT DO UPDATE SET value = max(value, excluded.value)";

/// Row numbers of all entries, in their order.
fn numbers<T>(entries: &[T], row: impl FnMut(&T) -> rusqlite::Result<i64>) -> rusqlite::Result<Vec<i64>> {
    entries.iter().map(row).collect()
}

pub(super) fn at(numbers: &[i64], number: u32) -> Option<i64> {
    usize::try_from(number).ok().and_then(|number| numbers.get(number)).copied()
}

/// Row number of what these columns identify.
fn find_or_insert(connection: &Connection, [find, insert]: [&str; 2], columns: &[&dyn ToSql]) -> rusqlite::Result<i64> {
    let found = connection.prepare_cached(find)?.query_row(columns, |row| row.get(0)).optional()?;
    match found {
        Some(number) => Ok(number),
        None => connection.prepare_cached(insert)?.insert(columns),
    }
}

fn insert_certificate(connection: &Connection, certificate: &Certificate, span: Span) -> rusqlite::Result<i64> {
    let unparsed = Facts::default();
    let parsed = certificate.facts.as_deref();
    let facts = parsed.unwrap_or(&unparsed);
    let (key, issuer) = match parsed {
        Some(facts) => (Some(insert_key(connection, facts)?), Some(insert_issuer(connection, facts)?)),
        None => (None, None),
    };
    let serial: String = facts.serial.iter().take(TEXT / 2).map(|byte| format!("{byte:02x}")).collect();
    let is_ca = facts.basic_constraints.is_some_and(|(is_ca, _)| is_ca);
    let self_issued = parsed.is_some() && facts.subject.normalized == facts.issuer.normalized;
    let mut insert = connection.prepare_cached(
        "INSERT INTO certificate (sha256, sha1, key, issuer, subject, common_name, serial, not_before, not_after,
         signature_algorithm, is_ca, self_issued, first, last, count)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )?;
    let number = insert.insert(params![
        certificate.sha256.0,
        certificate.sha1,
        key,
        issuer,
        short(&facts.subject.text),
        facts.subject.common_names.first().map(|name| short(name)),
        serial,
        facts.not_before.map(|time| time.0),
        facts.not_after.map(|time| time.0),
        short(&facts.signature_algorithm),
        is_ca,
        self_issued,
        span.first.0,
        span.last.0,
        span.count,
    ])?;
    connection.prepare_cached("INSERT INTO der VALUES (?, ?)")?.execute(params![number, certificate.der])?;
    let mut name = connection.prepare_cached("INSERT OR IGNORE INTO certificate_name VALUES (?, ?)")?;
    for alternative in facts.alternative_names.iter().take(NAMES) {
        match alternative {
            AlternativeName::Dns(dns) => name.execute(params![number, short(&dns.to_lowercase())])?,
            AlternativeName::Ip(address) => name.execute(params![number, address.to_string()])?,
            _ => 0,
        };
    }
    Ok(number)
}

fn insert_key(connection: &Connection, facts: &Facts) -> rusqlite::Result<i64> {
    let find = "SELECT id FROM key WHERE spki_sha256 = ?";
    let known = connection.prepare_cached(find)?.query_row([facts.spki_sha256.0], |row| row.get(0)).optional()?;
    if let Some(number) = known {
        return Ok(number);
    }
    let key = &facts.key;
    let modulus = matches!(key.kind, KeyKind::Rsa | KeyKind::RsaPss).then_some(&key.modulus);
    connection
        .prepare_cached("INSERT INTO key (spki_sha256, algorithm, bits, curve, modulus) VALUES (?, ?, ?, ?, ?)")?
        .insert(params![facts.spki_sha256.0, algorithm(facts), key.bits, key.curve.as_deref().map(short), modulus])
}

/// Name of the kind of key, or its OID.
fn algorithm(facts: &Facts) -> &str {
    match facts.key.kind {
        KeyKind::Rsa => "RSA",
        KeyKind::RsaPss => "RSASSA-PSS",
        KeyKind::Ec => "EC",
        KeyKind::Ed25519 => "Ed25519",
        KeyKind::Ed448 => "Ed448",
        KeyKind::Dsa => "DSA",
        KeyKind::Other => short(&facts.key.oid),
    }
}

fn insert_issuer(connection: &Connection, facts: &Facts) -> rusqlite::Result<i64> {
    let digest: [u8; 32] = sha2::Sha256::digest(facts.issuer.normalized.as_bytes()).into();
    let find = "SELECT id FROM issuer WHERE sha256 = ?";
    let known = connection.prepare_cached(find)?.query_row([digest], |row| row.get(0)).optional()?;
    match known {
        Some(number) => Ok(number),
        None => connection
            .prepare_cached("INSERT INTO issuer (sha256, name) VALUES (?, ?)")?
            .insert(params![digest, short(&facts.issuer.text)]),
    }
}

/// The beginning of a text.
fn short(text: &str) -> &str {
    text.char_indices().nth(TEXT).and_then(|(end, _)| text.get(..end)).unwrap_or(text)
}

fn write_record(connection: &Connection, remembered: &Remembered) -> rusqlite::Result<()> {
    let Remembered { key, record, last_seen, .. } = remembered;
    match record {
        Some(record) => connection
            .prepare_cached("INSERT OR REPLACE INTO baseline VALUES (?, ?, ?, ?)")?
            .execute(params![key.name, key.port, &**record, last_seen.0])?,
        None => connection
            .prepare_cached("DELETE FROM baseline WHERE key = ? AND port = ?")?
            .execute(params![key.name, key.port])?,
    };
    Ok(())
}

/// Hosts, and clients, of one alert that are kept.
const ABOUT: i64 = 4_096;

fn write_alert(connection: &Connection, (alert, about): &(StoredAlert, Vec<(Named, String)>)) -> rusqlite::Result<()> {
    let count = i64::try_from(alert.count).unwrap_or(i64::MAX);
    connection.prepare_cached("INSERT OR REPLACE INTO alert VALUES (?, ?, ?, ?, ?, ?)")?.execute(params![
        alert.id,
        alert.first.0,
        alert.last.0,
        count,
        alert.severity,
        alert.json
    ])?;
    write_about(connection, &alert.id, about)
}

/// What was counted of an alert that was told; one that is not there was never told.
fn write_counted(connection: &Connection, CountedAlert { id, total, about }: &CountedAlert) -> rusqlite::Result<()> {
    let count = i64::try_from(total.count).unwrap_or(i64::MAX);
    let sql = "UPDATE alert SET first = ?, last = ?, count = ?, severity = ? WHERE id = ?";
    let columns = params![total.first.0, total.last.0, count, total.severity.number(), id];
    if connection.prepare_cached(sql)?.execute(columns)? == 0 { Ok(()) } else { write_about(connection, id, about) }
}

fn write_about(connection: &Connection, id: &str, about: &[(Named, String)]) -> rusqlite::Result<()> {
    let mut known = connection.prepare_cached("SELECT count(*) FROM alert_about WHERE alert = ? AND kind = ?")?;
    let mut there =
        connection.prepare_cached("SELECT 1 FROM alert_about WHERE alert = ? AND kind = ? AND value = ?")?;
    let mut insert = connection.prepare_cached("INSERT OR IGNORE INTO alert_about VALUES (?, ?, ?)")?;
    for of_kind in about.chunk_by(|(one, _), (other, _)| one == other) {
        let Some((kind, _)) = of_kind.first() else { continue };
        let mut count: i64 = known.query_row(params![id, kind.name()], |row| row.get(0))?;
        for (_, value) in of_kind {
            if count < ABOUT {
                count = count.saturating_add(i64::from(insert.execute(params![id, kind.name(), value])? > 0));
            } else if !there.exists(params![id, kind.name(), value])? {
                insert.execute(params![id, Named::More.name(), kind.name()])?;
                break;
            }
        }
    }
    Ok(())
}

/// Whether it was not there yet.
fn write_capture(connection: &Connection, capture: &Capture) -> rusqlite::Result<bool> {
    let bytes = i64::try_from(capture.bytes).unwrap_or(i64::MAX);
    connection.prepare_cached("DELETE FROM capture_part WHERE capture = ?")?.execute([capture.digest.0])?;
    let mut insert = connection.prepare_cached("INSERT OR IGNORE INTO capture VALUES (?, ?, ?)")?;
    let is_new = insert.execute(params![capture.digest.0, capture.path, bytes])? > 0;
    // Also of one that an older version noted.
    if let Some(Content { beginning, bytes: Some(bytes), plain }) = capture.content {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        let mut insert = connection.prepare_cached("INSERT OR IGNORE INTO capture_frames VALUES (?, ?, ?, ?)")?;
        insert.execute(params![capture.digest.0, beginning.0, bytes, plain])?;
    }
    Ok(is_new)
}

/// Handshakes of one row of `capture_part`.
const PART: usize = 65_536;

fn write_part(connection: &Connection, capture: &Sha256, handshakes: &[u64]) -> rusqlite::Result<()> {
    let mut insert = connection.prepare_cached("INSERT INTO capture_part (capture, handshakes) VALUES (?, ?)")?;
    for part in handshakes.chunks(PART) {
        let octets: Vec<u8> = part.iter().flat_map(|number| number.to_be_bytes()).collect();
        insert.execute(params![capture.0, octets])?;
    }
    Ok(())
}
