//! The tables, their versions, and how an older file becomes a newer one.

use rusqlite::Connection;

use super::InventoryError;

/// `application_id` of an inventory: "TLSW", so that `file` and SQLite tools tell it from other databases.
pub(super) const APPLICATION_ID: i32 = 0x544c_5357;

/// What leads from each version to the next; a file of version n has had the first n. Never change one that was released.
const MIGRATIONS: [&str; 7] = [VERSION_1, VERSION_2, VERSION_3, VERSION_4, VERSION_5, VERSION_6, VERSION_7];

/// What was seen.
const VERSION_1: &str = "
CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;

-- Public keys by the SHA-256 of their SubjectPublicKeyInfo.
CREATE TABLE key (
    id INTEGER PRIMARY KEY,
    spki_sha256 BLOB NOT NULL UNIQUE,
    algorithm TEXT NOT NULL,
    bits INTEGER NOT NULL,
    curve TEXT,
    modulus BLOB
);

-- Issuer names by the SHA-256 of their normal form (RFC 5280 section 7.1).
CREATE TABLE issuer (id INTEGER PRIMARY KEY, sha256 BLOB NOT NULL UNIQUE, name TEXT NOT NULL);

CREATE TABLE certificate (
    id INTEGER PRIMARY KEY,
    sha256 BLOB NOT NULL UNIQUE,
    sha1 BLOB NOT NULL,
    key INTEGER REFERENCES key,
    issuer INTEGER REFERENCES issuer,
    subject TEXT NOT NULL,
    common_name TEXT,
    serial TEXT NOT NULL,
    not_before INTEGER,
    not_after INTEGER,
    signature_algorithm TEXT NOT NULL,
    is_ca INTEGER NOT NULL,
    self_issued INTEGER NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    count INTEGER NOT NULL
);
CREATE INDEX certificate_key ON certificate (key);
CREATE INDEX certificate_issuer ON certificate (issuer);
CREATE INDEX certificate_not_after ON certificate (not_after);
CREATE INDEX certificate_last ON certificate (last);

-- The bytes, apart from the rest so that looking through certificates does not read them.
CREATE TABLE der (certificate INTEGER PRIMARY KEY REFERENCES certificate, der BLOB NOT NULL);

CREATE TABLE certificate_name (
    certificate INTEGER NOT NULL REFERENCES certificate,
    name TEXT NOT NULL,
    PRIMARY KEY (certificate, name)
) WITHOUT ROWID;
CREATE INDEX certificate_name_name ON certificate_name (name);

-- Where servers listen.
CREATE TABLE endpoint (
    id INTEGER PRIMARY KEY,
    ip TEXT NOT NULL,
    port INTEGER NOT NULL,
    transport TEXT NOT NULL,
    virtual_network INTEGER NOT NULL,
    UNIQUE (ip, port, transport, virtual_network)
);

-- What clients asked for: a server name, or ip:ADDRESS when they named none.
CREATE TABLE name (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);

CREATE TABLE role (id INTEGER PRIMARY KEY, side TEXT NOT NULL, role TEXT NOT NULL);
INSERT INTO role VALUES (0, 'server', 'leaf'), (1, 'server', 'intermediate'), (2, 'server', 'root'),
    (3, 'server', 'other'), (4, 'client', 'leaf'), (5, 'client', 'intermediate'), (6, 'client', 'root'),
    (7, 'client', 'other');

-- Who showed which certificate where: times are packet times in nanoseconds since 1970.
CREATE TABLE sighting (
    certificate INTEGER NOT NULL REFERENCES certificate,
    endpoint INTEGER NOT NULL REFERENCES endpoint,
    name INTEGER NOT NULL REFERENCES name,
    role INTEGER NOT NULL REFERENCES role,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    count INTEGER NOT NULL,
    clients INTEGER NOT NULL,
    client_sketch BLOB NOT NULL,
    PRIMARY KEY (certificate, endpoint, name, role)
) WITHOUT ROWID;
CREATE INDEX sighting_endpoint ON sighting (endpoint);
CREATE INDEX sighting_name ON sighting (name);

-- What is asked for at a port, certificate or none.
CREATE TABLE host (
    id INTEGER PRIMARY KEY,
    name INTEGER NOT NULL REFERENCES name,
    port INTEGER NOT NULL,
    transport TEXT NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    count INTEGER NOT NULL,
    UNIQUE (name, port, transport)
);

-- When a host first and last showed a leaf certificate.
CREATE TABLE change (
    host INTEGER NOT NULL REFERENCES host,
    certificate INTEGER NOT NULL REFERENCES certificate,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    PRIMARY KEY (host, certificate)
) WITHOUT ROWID;
CREATE INDEX change_host_first ON change (host, first);
CREATE INDEX change_first ON change (first);

-- From where client certificates were used.
CREATE TABLE client (
    certificate INTEGER NOT NULL REFERENCES certificate,
    address TEXT NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (certificate, address)
) WITHOUT ROWID;

CREATE TABLE owner (pattern TEXT PRIMARY KEY, owner TEXT NOT NULL) WITHOUT ROWID;

-- Sightings in words, for questions by hand.
CREATE VIEW place AS
SELECT lower(hex(certificate.sha256)) AS sha256, certificate.subject, issuer.name AS issuer,
    datetime(certificate.not_after, 'unixepoch') AS not_after, endpoint.ip, endpoint.port, endpoint.transport,
    name.name AS host, role.side, role.role, datetime(sighting.first / 1000000000, 'unixepoch') AS first,
    datetime(sighting.last / 1000000000, 'unixepoch') AS last, sighting.count, sighting.clients
FROM sighting
JOIN certificate ON certificate.id = sighting.certificate
JOIN endpoint ON endpoint.id = sighting.endpoint
JOIN name ON name.id = sighting.name
JOIN role ON role.id = sighting.role
LEFT JOIN issuer ON issuer.id = certificate.issuer;
";

/// What is remembered for judgement.
const VERSION_2: &str = "
-- Host records of detection, and what a person accepted for a host.
CREATE TABLE baseline (
    key TEXT NOT NULL,
    port INTEGER NOT NULL,
    record BLOB NOT NULL,
    last_seen INTEGER NOT NULL,
    PRIMARY KEY (key, port)
) WITHOUT ROWID;
CREATE INDEX baseline_last_seen ON baseline (last_seen);
CREATE TABLE accepted (
    key TEXT NOT NULL,
    port INTEGER NOT NULL,
    certificate BLOB NOT NULL,
    PRIMARY KEY (key, port, certificate)
) WITHOUT ROWID;

-- Alerts told, so that a cause is told once.
CREATE TABLE alert (
    id TEXT PRIMARY KEY,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    count INTEGER NOT NULL,
    severity INTEGER NOT NULL,
    json TEXT NOT NULL
) WITHOUT ROWID;

-- Captures read to their end, by content.
CREATE TABLE capture (sha256 BLOB PRIMARY KEY, path TEXT NOT NULL, bytes INTEGER NOT NULL) WITHOUT ROWID;
";

/// Captures of which only a part was read.
const VERSION_3: &str = "
-- Handshakes that are counted, until the capture is read to its end: 8 octets for each (src/inventory/parts.rs).
CREATE TABLE capture_part (id INTEGER PRIMARY KEY, capture BLOB NOT NULL, handshakes BLOB NOT NULL);
CREATE INDEX capture_part_capture ON capture_part (capture);
";

/// Which client used which software.
const VERSION_4: &str = "
-- Fingerprints of ClientHellos, by pairs: ja3 is empty where a JA4 has too many to keep them apart (src/inventory/prints.rs).
CREATE TABLE fingerprint (
    id INTEGER PRIMARY KEY,
    ja4 TEXT NOT NULL,
    ja3 BLOB NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    count INTEGER NOT NULL,
    places INTEGER NOT NULL,
    UNIQUE (ja4, ja3)
);

-- By which client and with which host; of each fingerprint the last used.
CREATE TABLE fingerprint_use (
    fingerprint INTEGER NOT NULL REFERENCES fingerprint,
    address TEXT NOT NULL,
    host INTEGER NOT NULL REFERENCES host,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (fingerprint, address, host)
) WITHOUT ROWID;
";

/// What alerts are about, over all runs: an event has a part of what its own run saw.
const VERSION_5: &str = "
-- Hosts and clients of an alert, and rules that hold for it: kind is host, client or rule; or more, with the kind of which
-- there are more than are kept.
CREATE TABLE alert_about (
    alert TEXT NOT NULL REFERENCES alert,
    kind TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (alert, kind, value)
) WITHOUT ROWID;
CREATE INDEX alert_about_value ON alert_about (kind, value);
INSERT OR IGNORE INTO alert_about SELECT alert.id, 'host', one.value
    FROM alert, json_each(CASE WHEN json_valid(alert.json) THEN alert.json END, '$.tlswatch.alert.hosts.names') AS one;
INSERT OR IGNORE INTO alert_about SELECT alert.id, 'client', one.value
    FROM alert, json_each(CASE WHEN json_valid(alert.json) THEN alert.json END, '$.tlswatch.alert.clients.ip') AS one;
INSERT OR IGNORE INTO alert_about SELECT id, 'more', 'host' FROM alert WHERE json_valid(json)
    AND json_extract(json, '$.tlswatch.alert.hosts.count') > json_array_length(json, '$.tlswatch.alert.hosts.names');
INSERT OR IGNORE INTO alert_about SELECT id, 'more', 'client' FROM alert WHERE json_valid(json)
    AND json_extract(json, '$.tlswatch.alert.clients.count') > json_array_length(json, '$.tlswatch.alert.clients.ip');
INSERT OR IGNORE INTO alert_about SELECT alert.id, 'rule', one.value
    FROM alert, json_each(CASE WHEN json_valid(alert.json) THEN alert.json END, '$.tlswatch.alert.rules') AS one;
";

/// What captures have in common with their compressed copies.
const VERSION_6: &str = "
-- SHA-256 of the first bytes of a capture, and how many there are, both without compression.
CREATE TABLE capture_content (
    capture BLOB PRIMARY KEY REFERENCES capture,
    beginning BLOB NOT NULL,
    bytes INTEGER NOT NULL,
    compressed INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX capture_content_beginning ON capture_content (beginning);
";

/// What captures have in common with their copies in other formats. What was noted before of compressed copies alone is not
/// compared with it: such a copy of a capture read before counts once more.
const VERSION_7: &str = "
DROP TABLE capture_content;
-- SHA-256 of the first frames of a capture, in a form that no format has; bytes of all frames in this form; whether the file
-- is a pcap file without compression.
CREATE TABLE capture_frames (
    capture BLOB PRIMARY KEY REFERENCES capture,
    beginning BLOB NOT NULL,
    bytes INTEGER NOT NULL,
    plain INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX capture_frames_beginning ON capture_frames (beginning);
";

/// Version that this program writes.
pub(super) fn current_version() -> i32 {
    i32::try_from(MIGRATIONS.len()).unwrap_or(i32::MAX)
}

/// Makes the tables of a new file, or brings an older one up to date, each version in a transaction of its own.
pub(super) fn migrate(connection: &Connection) -> Result<(), InventoryError> {
    migrate_to(connection, current_version())
}

/// The same up to a version.
pub(super) fn migrate_to(connection: &Connection, target: i32) -> Result<(), InventoryError> {
    check(connection)?;
    for (number, statements) in (1..).zip(MIGRATIONS) {
        if number > target {
            break;
        }
        // Without the lock first: a question to a file that is up to date must not wait for whoever writes.
        if version(connection)? >= number {
            continue;
        }
        // Two programs may open an old file at once: the version is looked at once more under the lock.
        connection.execute_batch("BEGIN IMMEDIATE")?;
        let step = version(connection).and_then(|version| {
            if version >= number {
                return Ok(());
            }
            connection.execute_batch(statements)?;
            connection.pragma_update(None, "application_id", APPLICATION_ID)?;
            Ok(connection.pragma_update(None, "user_version", number)?)
        });
        match step {
            Ok(()) => connection.execute_batch("COMMIT")?,
            Err(error) => {
                connection.execute_batch("ROLLBACK")?;
                return Err(error);
            }
        }
    }
    Ok(())
}

/// Refuses databases of others and of later versions.
pub(super) fn check(connection: &Connection) -> Result<(), InventoryError> {
    let application: i32 = connection.query_row("PRAGMA application_id", [], |row| row.get(0))?;
    let version = version(connection)?;
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if application != APPLICATION_ID && (application != 0 || version != 0 || tables > 0) {
        return Err(InventoryError::Foreign);
    }
    if version > current_version() {
        return Err(InventoryError::Newer { version, known: current_version() });
    }
    Ok(())
}

/// Version of the schema of a file; 0 for an empty one.
pub(super) fn version(connection: &Connection) -> Result<i32, InventoryError> {
    Ok(connection.query_row("PRAGMA user_version", [], |row| row.get(0))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tables(connection: &Connection) -> Vec<String> {
        let mut statement = connection
            .prepare("SELECT name || ' ' || sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY 1")
            .unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    }

    #[test]
    fn an_older_file_keeps_its_rows_and_gets_the_new_tables() {
        let new = Connection::open_in_memory().unwrap();
        migrate(&new).unwrap();
        for old in 0..current_version() {
            let connection = Connection::open_in_memory().unwrap();
            migrate_to(&connection, old).unwrap();
            assert_eq!(version(&connection).unwrap(), old);
            if old >= 1 {
                assert_ne!(tables(&connection), tables(&new));
                connection.execute("INSERT INTO owner VALUES ('*.example.org', 'web team')", []).unwrap();
            }
            migrate(&connection).unwrap();
            migrate(&connection).unwrap();
            assert_eq!(version(&connection).unwrap(), current_version());
            assert_eq!(tables(&connection), tables(&new));
            let owners: i64 = connection.query_row("SELECT count(*) FROM owner", [], |row| row.get(0)).unwrap();
            assert_eq!(owners, i64::from(old >= 1));
        }
    }

    #[test]
    fn what_older_alerts_were_about_is_taken_over() {
        let connection = Connection::open_in_memory().unwrap();
        migrate_to(&connection, 4).unwrap();
        let event = r#"{"tlswatch":{"alert":{"rules":["TLSW-MITM-007"],"hosts":{"count":3,"names":["a:443","b:443"]},
            "clients":{"count":1,"ip":["10.0.0.1"]}}}}"#;
        let alert = "INSERT INTO alert VALUES (?, 1, 2, 3, 73, ?)";
        connection.execute(alert, ["ab", event]).unwrap();
        connection.execute(alert, ["cd", "{}"]).unwrap();
        connection.execute(alert, ["ef", "no JSON"]).unwrap();
        migrate(&connection).unwrap();
        let about: String = connection
            .query_row("SELECT group_concat(alert || ' ' || kind || ' ' || value, ', ') FROM alert_about", [], |row| {
                row.get(0)
            })
            .unwrap();
        assert_eq!(about, "ab client 10.0.0.1, ab host a:443, ab host b:443, ab more host, ab rule TLSW-MITM-007");
    }

    #[test]
    fn files_of_others_and_of_the_future_are_left_alone() {
        let other = Connection::open_in_memory().unwrap();
        other.execute_batch("CREATE TABLE mine (x)").unwrap();
        assert!(matches!(migrate(&other), Err(InventoryError::Foreign)));
        let named = Connection::open_in_memory().unwrap();
        named.pragma_update(None, "application_id", 1).unwrap();
        assert!(matches!(migrate(&named), Err(InventoryError::Foreign)));
        let newer = Connection::open_in_memory().unwrap();
        migrate(&newer).unwrap();
        newer.pragma_update(None, "user_version", current_version() + 1).unwrap();
        assert!(matches!(migrate(&newer), Err(InventoryError::Newer { .. })));
        assert!(tables(&other).len() == 1 && tables(&named).is_empty());
    }

    #[test]
    fn a_migration_that_fails_changes_nothing() {
        let connection = Connection::open_in_memory().unwrap();
        migrate_to(&connection, 1).unwrap();
        // A name that the next version needs is taken.
        connection.execute_batch("CREATE TABLE capture (x)").unwrap();
        let before = tables(&connection);
        assert!(migrate(&connection).is_err());
        assert_eq!((version(&connection).unwrap(), tables(&connection)), (1, before));
    }
}
