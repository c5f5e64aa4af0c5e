//! An open inventory: small reads and edits.

use std::collections::HashSet;
use std::fs::Metadata;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Row, params};

use crate::detect::hosts::backing::{ClientUse, Edit};
use crate::detect::hosts::record::HostRecord;
use crate::detect::hosts::sketch::stable_hash;
use crate::detect::sighting::HostKey;
use crate::policy::registrable_domain;
use crate::time::Timestamp;
use crate::x509::Sha256;

use super::query::digest_range;
use super::replay::stored_name;
use super::untouched::{self, Still};
use super::{Content, InventoryError, Named, StoredAlert, edits, lock, schema};

/// How long another program that writes is waited for.
pub(super) const BUSY: Duration = Duration::from_secs(30);

/// Handshakes of a capture read in part that are held in memory.
const MAX_COUNTED: i64 = 8 << 20;

/// Bytes of a file that is copied to bring it up to date without changing it: some seconds.
pub(super) const MAX_COPIED: i64 = 1 << 30;

/// No lock within SQLite: the one around the connection is enough, and a second one at every cell is a fifth of the time of
/// a long answer.
pub(super) const ALONE: OpenFlags = OpenFlags::SQLITE_OPEN_NO_MUTEX;

/// An open inventory.
#[derive(Debug)]
pub struct Store {
    connection: Mutex<Connection>,
    /// The version of the file, where this is a copy of it.
    older: Option<i32>,
    /// The file as it was found, where nobody had it open.
    still: Option<Still>,
}

impl Store {
    /// Opens a file for reading and writing; it is made if there is none.
    ///
    /// # Errors
    /// When it is no inventory or cannot be opened.
    pub fn open(path: &Path) -> Result<Self, InventoryError> {
        create(path)?;
        is_regular(&path.metadata()?)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | ALONE;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(BUSY)?;
        schema::check(&connection).map_err(no_database)?;
        // Readers beside a writer; a power cut may lose the last batches, never the file.
        connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        schema::migrate(&connection)?;
        Self::with(connection)
    }

    /// Opens a file without ever changing it. Of one that an older version made a copy is brought up to date, which is gone
    /// with the store; nothing can be changed there either.
    ///
    /// # Errors
    /// When it is no inventory, or one of a later version, or of an older one and too large.
    pub fn open_read_only(path: &Path) -> Result<Self, InventoryError> {
        is_regular(&path.metadata()?)?;
        // SQLite too looks for the log beside the file that a link leads to.
        let path = &path.canonicalize()?;
        let still = Still::of(path)?;
        let connection = match &still {
            Some(still) => still.open()?,
            None => untouched::copied_with_log(path)?.map_or_else(|| untouched::open_beside_others(path), Ok)?,
        };
        let connection = match schema::check(&connection) {
            // SQLite would make files and may not.
            Err(InventoryError::Database(error))
                if matches!(
                    error.sqlite_error_code(),
                    Some(rusqlite::ErrorCode::CannotOpen | rusqlite::ErrorCode::ReadOnly)
                ) && untouched::has_empty_log(path) =>
            {
                let connection = untouched::open_as_it_lies(path)?;
                schema::check(&connection).map_err(no_database)?;
                connection
            }
            checked => checked.map_err(no_database).map(|()| connection)?,
        };
        let version = schema::version(&connection)?;
        if version == 0 {
            return Err(InventoryError::Foreign);
        }
        if version < schema::current_version() {
            let mut copy = Self::with(copied(&connection, version, MAX_COPIED)?)?;
            copy.older = Some(version);
            return Ok(copy);
        }
        Ok(Self { still, ..Self::with(connection)? })
    }

    /// Opens a file that exists to ask it; its tables are brought up to date first.
    ///
    /// # Errors
    /// When it is no inventory.
    pub fn open_to_ask(path: &Path) -> Result<Self, InventoryError> {
        match path.metadata() {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(InventoryError::Missing),
            Err(_) => {}
            // Nothing is in it, and to make tables there is not what a question is for.
            Ok(metadata) if metadata.is_file() && metadata.len() == 0 => return Err(InventoryError::Foreign),
            Ok(metadata) => is_regular(&metadata)?,
        }
        // Not for reading only where that can be helped: the last one to close the file tidies up behind a crash.
        let exists = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)
            .is_ok_and(|connection| connection.is_readonly("main") == Ok(false));
        if exists { Self::open(path) } else { Self::open_read_only(path) }
    }

    pub(super) fn in_memory() -> Result<Self, InventoryError> {
        let connection = Connection::open_in_memory()?;
        schema::migrate(&connection)?;
        Self::with(connection)
    }

    fn with(connection: Connection) -> Result<Self, InventoryError> {
        prepare(&connection)?;
        Ok(Self { connection: Mutex::new(connection), older: None, still: None })
    }

    pub(super) fn connection(&self) -> MutexGuard<'_, Connection> {
        let mut connection = lock(&self.connection);
        if let Some(reopened) = self.still.as_ref().and_then(Still::reopened) {
            let reopened = reopened.and_then(|live| prepare(&live).map(|()| live));
            // What cannot be read with those who write is not read as it was: an empty one has no tables and says so.
            if let Ok(live) = reopened.or_else(|_| Connection::open_in_memory()) {
                *connection = live;
            }
        }
        connection
    }

    /// The same, to change something: in a copy it would be lost.
    pub(super) fn connection_to_change(&self) -> Result<MutexGuard<'_, Connection>, InventoryError> {
        self.older.map_or_else(|| Ok(self.connection()), |version| Err(InventoryError::Older { version }))
    }

    /// The record of a host.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn baseline(&self, key: &HostKey) -> Result<Option<Arc<[u8]>>, InventoryError> {
        let connection = self.connection();
        let mut statement = connection.prepare_cached("SELECT record FROM baseline WHERE key = ? AND port = ?")?;
        let record = statement.query_row(params![key.name, key.port], |row| row.get::<_, Vec<u8>>(0)).optional()?;
        Ok(record.map(Arc::from))
    }

    /// Certificates that a person accepted for a host.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn accepted(&self, key: &HostKey) -> Result<Vec<Sha256>, InventoryError> {
        let connection = self.connection();
        let mut statement =
            connection.prepare_cached("SELECT certificate FROM accepted WHERE key = ? AND port = ? ORDER BY 1")?;
        let found = statement.query_map(params![key.name, key.port], |row| row.get(0).map(Sha256))?;
        Ok(found.collect::<Result<_, _>>()?)
    }

    /// Hosts with a record, those of one name or all: key, bytes of the record, last packet time.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn baselines(&self, name: Option<&str>) -> Result<Vec<(HostKey, usize, Timestamp)>, InventoryError> {
        let connection = self.connection();
        let mut statement = connection.prepare(
            "SELECT key, port, length(record), last_seen FROM baseline WHERE coalesce(key = ?, 1) ORDER BY key, port",
        )?;
        let found = statement.query_map([name], |row| {
            let key = HostKey { name: row.get(0)?, port: row.get(1)? };
            Ok((key, usize::try_from(row.get::<_, i64>(2)?).unwrap_or(0), Timestamp(row.get(3)?)))
        })?;
        Ok(found.collect::<Result<_, _>>()?)
    }

    /// Registrable domains, hashed, of hosts with a record that has a certificate of a public CA; at most so many.
    pub(super) fn public_domains(&self, limit: u32) -> Result<Vec<u64>, InventoryError> {
        let connection = self.connection();
        let mut statement = connection.prepare("SELECT key, record FROM baseline ORDER BY last_seen DESC LIMIT ?")?;
        let mut rows = statement.query([limit])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            let name = row.get_ref(0)?.as_str().unwrap_or_default();
            let Some(domain) = registrable_domain(name) else { continue };
            if HostRecord::is_public(row.get_ref(1)?.as_blob().unwrap_or_default()) {
                found.push(stable_hash(domain.as_bytes()));
            }
        }
        Ok(found)
    }

    /// From where the keys of client certificates were used, the last uses first; at most so many.
    pub(super) fn client_uses(&self, limit: u32) -> Result<Vec<ClientUse>, InventoryError> {
        let connection = self.connection();
        let mut statement = connection.prepare(
            "SELECT key.spki_sha256, client.address, min(client.first), max(client.last), sum(client.count)
             FROM client JOIN certificate ON certificate.id = client.certificate JOIN key ON key.id = certificate.key
             GROUP BY key.id, client.address ORDER BY 4 DESC, 1, 2 LIMIT ?",
        )?;
        let rows = statement.query_map([limit], |row| {
            let address = row.get_ref(1)?.as_str()?.parse().ok();
            let count = u32::try_from(row.get::<_, i64>(4)?).unwrap_or(u32::MAX);
            let (key, first, last) = (Sha256(row.get(0)?), Timestamp(row.get(2)?), Timestamp(row.get(3)?));
            Ok(address.map(|address| ClientUse { key, address, first, last, count }))
        })?;
        let found: Vec<_> = rows.collect::<rusqlite::Result<_>>()?;
        Ok(found.into_iter().flatten().collect())
    }

    /// Leaf certificates that a host showed, the latest first.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn leaves(&self, key: &HostKey) -> Result<Vec<Sha256>, InventoryError> {
        let connection = self.connection();
        let mut statement = connection.prepare_cached(
            "SELECT certificate.sha256 FROM change JOIN host ON host.id = change.host JOIN name ON name.id = host.name
             JOIN certificate ON certificate.id = change.certificate
             WHERE name.name = ? AND host.port = ? ORDER BY change.last DESC, certificate.id",
        )?;
        let found = statement.query_map(params![stored_name(key), key.port], |row| row.get(0).map(Sha256))?;
        Ok(found.collect::<Result<_, _>>()?)
    }

    /// Certificates whose SHA-256 begins with these hexadecimal digits.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn certificates_like(&self, digits: &str) -> Result<Vec<Sha256>, InventoryError> {
        let Some((from, to)) = digest_range(digits) else { return Ok(Vec::new()) };
        let connection = self.connection();
        let sql = "SELECT sha256 FROM certificate WHERE sha256 BETWEEN ? AND ? ORDER BY sha256";
        let mut statement = connection.prepare(sql)?;
        let found = statement.query_map([from, to], |row| row.get(0).map(Sha256))?;
        Ok(found.collect::<Result<_, _>>()?)
    }

    /// Notes that a person accepts these certificates of a host.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn accept(&self, key: &HostKey, certificates: &[Sha256]) -> Result<(), InventoryError> {
        let mut connection = self.connection_to_change()?;
        let transaction = connection.transaction()?;
        for certificate in certificates {
            transaction.prepare_cached("INSERT OR IGNORE INTO accepted VALUES (?, ?, ?)")?.execute(params![
                key.name,
                key.port,
                certificate.0
            ])?;
        }
        edits::note(&transaction, &Edit::Accept(key.clone()))?;
        Ok(transaction.commit()?)
    }

    /// Forgets the record of a host and what was accepted for it; whether there was anything.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn forget(&self, key: &HostKey) -> Result<bool, InventoryError> {
        let mut connection = self.connection_to_change()?;
        let transaction = connection.transaction()?;
        let mut rows = 0;
        for table in ["baseline", "accepted"] {
            let sql = format!("DELETE FROM {table} WHERE key = ? AND port = ?");
            rows += transaction.execute(&sql, params![key.name, key.port])?;
        }
        // Also without any: a sensor may have learned of the host and not written it yet.
        edits::note(&transaction, &Edit::Forget(key.clone()))?;
        transaction.commit()?;
        Ok(rows > 0)
    }

    /// Time of the last packet; `None` while nothing was seen.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn last_packet(&self) -> Result<Option<Timestamp>, InventoryError> {
        let connection = self.connection();
        let mut statement = connection.prepare_cached("SELECT value FROM meta WHERE key = 'last_packet'")?;
        Ok(statement.query_row([], |row| row.get(0)).optional()?.map(Timestamp))
    }

    /// Whether a capture of this content was read to its end before.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn has_capture(&self, digest: &Sha256) -> Result<bool, InventoryError> {
        let connection = self.connection();
        let mut statement = connection.prepare_cached("SELECT 1 FROM capture WHERE sha256 = ?")?;
        Ok(statement.exists([digest.0])?)
    }

    /// Captures that begin with these frames and were read to their end.
    ///
    /// # Errors
    /// When SQLite fails.
    pub(super) fn contents(&self, beginning: &Sha256) -> Result<Vec<Content>, InventoryError> {
        let connection = self.connection();
        let mut statement = connection.prepare_cached("SELECT bytes, plain FROM capture_frames WHERE beginning = ?")?;
        let found = statement.query_map([beginning.0], |row| {
            let bytes = u64::try_from(row.get::<_, i64>(0)?).ok();
            Ok(Content { beginning: *beginning, bytes, plain: row.get(1)? })
        })?;
        Ok(found.collect::<Result<_, _>>()?)
    }

    /// The number of the certificate that came last; 0 without any.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn newest_certificate(&self) -> Result<i64, InventoryError> {
        let connection = self.connection();
        let mut statement = connection.prepare_cached("SELECT coalesce(max(id), 0) FROM certificate")?;
        Ok(statement.query_row([], |row| row.get(0))?)
    }

    /// Whether a certificate was seen, and came not after the one with this number.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn has_certificate(&self, sha256: &Sha256, newest: i64) -> Result<bool, InventoryError> {
        let connection = self.connection();
        let mut statement = connection.prepare_cached("SELECT 1 FROM certificate WHERE sha256 = ? AND id <= ?")?;
        Ok(statement.exists(params![sha256.0, newest])?)
    }

    /// Handshakes of a capture that were counted while only a part of it was read; `None` when there are more than are
    /// held in memory.
    ///
    /// # Errors
    /// When SQLite fails.
    pub(super) fn counted(&self, digest: &Sha256) -> Result<Option<HashSet<u64>>, InventoryError> {
        let connection = self.connection();
        let mut statement = connection
            .prepare_cached("SELECT coalesce(sum(length(handshakes)), 0) / 8 FROM capture_part WHERE capture = ?")?;
        if statement.query_row([digest.0], |row| row.get::<_, i64>(0))? > MAX_COUNTED {
            return Ok(None);
        }
        let mut statement = connection.prepare_cached("SELECT handshakes FROM capture_part WHERE capture = ?")?;
        let mut rows = statement.query([digest.0])?;
        let mut counted = HashSet::new();
        while let Some(row) = rows.next()? {
            let octets = row.get_ref(0)?.as_blob().unwrap_or_default();
            counted.extend(octets.as_chunks::<8>().0.iter().map(|number| u64::from_be_bytes(*number)));
        }
        Ok(Some(counted))
    }

    /// Whether a key was seen: that of a certificate, by the SHA-256 of its SubjectPublicKeyInfo.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn has_key(&self, spki: &Sha256) -> Result<bool, InventoryError> {
        let connection = self.connection();
        Ok(connection.prepare_cached("SELECT 1 FROM key WHERE spki_sha256 = ?")?.exists([spki.0])?)
    }

    /// Alternative names in a certificate, of very many the first.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn names_in(&self, certificate: &Sha256) -> Result<Vec<String>, InventoryError> {
        let connection = self.connection();
        let mut statement = connection.prepare_cached(
            "SELECT name FROM certificate_name JOIN certificate ON certificate.id = certificate WHERE sha256 = ?",
        )?;
        let found = statement.query_map([certificate.0], |row| row.get(0))?;
        Ok(found.collect::<Result<_, _>>()?)
    }

    /// Alerts whose id begins with these digits, or all, the gravest and latest first; at most 10,000.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn alerts(&self, digits: Option<&str>) -> Result<Vec<StoredAlert>, InventoryError> {
        let connection = self.connection();
        let mut statement = connection.prepare_cached(
            "SELECT id, first, last, count, severity, json FROM alert WHERE coalesce(substr(id, 1, length(?1)) = ?1, 1)
             ORDER BY severity DESC, last DESC, id LIMIT 10000",
        )?;
        let found = statement.query_map([digits], stored_alert)?;
        Ok(found.collect::<Result<_, _>>()?)
    }

    /// Alerts about a server of this name (as in [`HostKey`]), at whatever port, the gravest and latest first; each with
    /// the servers of that name.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn alerts_about(&self, name: &str) -> Result<Vec<(StoredAlert, Vec<String>)>, InventoryError> {
        let connection = self.connection();
        // A semicolon follows a colon.
        let mut statement = connection.prepare_cached(
            "SELECT id, first, last, count, severity, json, value FROM alert_about JOIN alert ON id = alert
             WHERE kind = 'host' AND value >= ?1 || ':' AND value < ?1 || ';'
             ORDER BY severity DESC, last DESC, id, value",
        )?;
        let mut rows = statement.query([name])?;
        let mut found: Vec<(StoredAlert, Vec<String>)> = Vec::new();
        while let Some(row) = rows.next()? {
            let (alert, value) = (stored_alert(row)?, row.get(6)?);
            match found.last_mut().filter(|(last, _)| last.id == alert.id) {
                Some((_, values)) => values.push(value),
                None => found.push((alert, vec![value])),
            }
        }
        Ok(found)
    }

    /// Ids of alerts about more servers than are kept of one.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn alerts_about_many(&self) -> Result<Vec<String>, InventoryError> {
        let connection = self.connection();
        let sql = "SELECT alert FROM alert_about WHERE kind = ? AND value = ?";
        let mut statement = connection.prepare_cached(sql)?;
        let found = statement.query_map([Named::More.name(), Named::Host.name()], |row| row.get(0))?;
        Ok(found.collect::<Result<_, _>>()?)
    }

    /// What an alert is about, over all runs; and whether there was more than is kept.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn about(&self, id: &str, named: Named) -> Result<(Vec<String>, bool), InventoryError> {
        let connection = self.connection();
        let mut statement =
            connection.prepare_cached("SELECT value FROM alert_about WHERE alert = ? AND kind = ? ORDER BY value")?;
        let found = statement.query_map(params![id, named.name()], |row| row.get(0))?;
        let found = found.collect::<Result<Vec<String>, _>>()?;
        let mut more =
            connection.prepare_cached("SELECT 1 FROM alert_about WHERE alert = ? AND kind = ? AND value = ?")?;
        let full = more.exists(params![id, Named::More.name(), named.name()])?;
        Ok((found, full))
    }

    /// An alert that was told before.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn alert(&self, id: &str) -> Result<Option<StoredAlert>, InventoryError> {
        let connection = self.connection();
        let mut statement =
            connection.prepare_cached("SELECT id, first, last, count, severity, json FROM alert WHERE id = ?")?;
        Ok(statement.query_row([id], stored_alert).optional()?)
    }
}

fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    // What is in the file may come from somebody else: nothing in it is run.
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.set_prepared_statement_cache_capacity(64);
    // 32 MiB in place of 2: most look-ups of a question jump about in a file of hundreds of megabytes.
    connection.pragma_update(None, "cache_size", -32_768)
}

fn stored_alert(row: &Row<'_>) -> rusqlite::Result<StoredAlert> {
    Ok(StoredAlert {
        id: row.get(0)?,
        first: Timestamp(row.get(1)?),
        last: Timestamp(row.get(2)?),
        count: u64::try_from(row.get::<_, i64>(3)?).unwrap_or(0),
        severity: row.get(4)?,
        json: row.get(5)?,
    })
}

/// A copy, brought up to date, of a file of at most so many bytes that an older version made: nobody else's, and gone when it
/// is closed.
fn copied(connection: &Connection, version: i32, most: i64) -> Result<Connection, InventoryError> {
    let number = |sql| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
    if number("PRAGMA page_count")?.saturating_mul(number("PRAGMA page_size")?) > most {
        return Err(InventoryError::Older { version });
    }
    let copy = untouched::nameless_copy(connection)?.ok_or(InventoryError::Older { version })?;
    schema::migrate(&copy)?;
    Ok(copy)
}

/// Makes an empty file for the owner to write, the group to read, nobody else; SQLite keeps its mode. Where it cannot be
/// made, the operating system says why, and SQLite would not.
fn create(path: &Path) -> Result<(), InventoryError> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o640);
    match options.open(path) {
        Err(_) if path.is_dir() => Err(InventoryError::Folder),
        // One that is there may be only for reading: opening says so.
        Err(error) if path.symlink_metadata().is_err() => Err(error.into()),
        _ => Ok(()),
    }
}

/// Folders are none, and neither are pipes and devices, which SQLite would wait for.
fn is_regular(metadata: &Metadata) -> Result<(), InventoryError> {
    match metadata {
        _ if metadata.is_dir() => Err(InventoryError::Folder),
        _ if metadata.is_file() => Ok(()),
        _ => Err(InventoryError::Foreign),
    }
}

fn no_database(error: InventoryError) -> InventoryError {
    match error {
        InventoryError::Database(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::NotADatabase) => {
            InventoryError::Foreign
        }
        error => error,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Filter, Question};
    use super::*;

    /// An inventory of this version with one host, last written by a connection that is still open: what it wrote stands
    /// beside the file (WAL).
    fn older(path: &Path, version: i32) -> Connection {
        let connection = Connection::open(path).unwrap();
        connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(())).unwrap();
        schema::migrate_to(&connection, version).unwrap();
        connection.execute_batch("INSERT INTO owner VALUES ('a.example', 'them')").unwrap();
        if version >= 2 {
            connection.execute_batch("INSERT INTO baseline VALUES ('a.example', 443, x'01', 7)").unwrap();
        }
        connection
    }

    #[test]
    fn an_older_file_is_read_and_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let key = HostKey { name: "a.example".to_owned(), port: 443 };
        for version in 1..schema::current_version() {
            let path = folder.path().join(format!("{version}.db"));
            let writer = older(&path, version);
            let all = |end: &str| std::fs::read(format!("{}{end}", path.display())).unwrap();
            let before = (all(""), all("-wal"));
            let store = Store::open_read_only(&path).unwrap();
            assert_eq!(store.baseline(&key).unwrap().is_some(), version >= 2);
            assert!(store.has_owner("them").unwrap());
            for question in [Question::Hosts, Question::Changes, Question::Certificates] {
                let filter = Filter { owner: Some("them".to_owned()), ..Filter::default() };
                assert!(store.ask(question, &filter).unwrap().rows.is_empty());
            }
            assert!(store.alerts_about_many().unwrap().is_empty());
            // What is changed in a copy would be lost.
            let changes = [
                store.accept(&key, &[Sha256([1; 32])]),
                store.forget(&key).map(|_| ()),
                store.note_applied(Sha256([1; 32])),
            ];
            assert!(changes.iter().all(|done| matches!(done, Err(InventoryError::Older { .. }))), "{changes:?}");
            assert!(store.import_owners("b.example,us\n".as_bytes()).is_err());
            drop(store);
            assert_eq!((all(""), all("-wal")), before);
            assert_eq!(schema::version(&writer).unwrap(), version);
            writer.execute_batch("INSERT INTO owner VALUES ('c.example', 'us')").unwrap();
            drop(writer);
            // The folder cannot be written to: then the file is read as if nobody else knew of it.
            let frozen = untouched::open_as_it_lies(&path).unwrap();
            assert!(copied(&frozen, version, MAX_COPIED).is_ok());
            assert!(matches!(copied(&frozen, version, 4_096), Err(InventoryError::Older { .. })));
            // Who may write brings it up to date.
            assert_eq!(
                schema::version(&Store::open_to_ask(&path).unwrap().connection()).unwrap(),
                schema::current_version()
            );
        }
    }

    #[test]
    fn a_copy_has_what_is_committed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("i.db");
        let writer = older(&path, 2);
        writer.execute_batch("BEGIN IMMEDIATE; DELETE FROM baseline").unwrap();
        let store = Store::open_read_only(&path).unwrap();
        assert_eq!(store.baselines(None).unwrap().len(), 1);
        writer.execute_batch("COMMIT").unwrap();
        assert_eq!(store.baselines(None).unwrap().len(), 1);
        assert_eq!(Store::open_read_only(&path).unwrap().baselines(None).unwrap(), []);
    }
}
