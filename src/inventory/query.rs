//! The questions that people ask of an inventory.

use rusqlite::types::Value;
use rusqlite::{Connection, ToSql};

use crate::time::{NANOS_PER_SECOND, Span, Timestamp};
use crate::x509::Sha256;

use super::answer::{Answer, Cell, Columns, Kind, ask};
use super::owners::{Owners, Pattern};
use super::{InventoryError, Store};

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// Every certificate.
    Certificates,
    /// Certificates whose validity ends within this time, or has ended although they were seen later.
    Expiring(Span),
    /// Who issued how many.
    Issuers,
    /// Every public key.
    Keys,
    /// Keys of more than one certificate.
    Reused,
    /// Every host.
    Hosts,
    /// When hosts showed a certificate for the first time.
    Changes,
    /// Client certificates and from where they were used.
    Clients,
}

/// What is wanted of an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// The time that validity is judged at; the last packet's unless given.
    pub at: Option<Timestamp>,
    /// Part of the issuer's name, in any case.
    pub issuer: Option<String>,
    /// An owner of the imported list.
    pub owner: Option<String>,
    /// A host: a name, `*.name`, an address or a network.
    pub host: Option<String>,
    /// Only what was seen at this time or later; for changes, what happened then.
    pub since: Option<Timestamp>,
}

/// Conditions of a WHERE and their values.
struct Where {
    conditions: Vec<String>,
    values: Vec<Value>,
}

impl Where {
    fn new() -> Self {
        Self { conditions: vec!["1".to_owned()], values: Vec::new() }
    }

    fn and(&mut self, condition: &str, values: impl IntoIterator<Item = Value>) {
        self.conditions.push(condition.to_owned());
        self.values.extend(values);
    }

    fn text(&self) -> String {
        self.conditions.join(" AND ")
    }

    fn ask(&self, connection: &Connection, columns: Columns, sql: &str) -> rusqlite::Result<Answer> {
        let values: Vec<&dyn ToSql> = self.values.iter().map(|value| value as &dyn ToSql).collect();
        ask(&mut connection.prepare(sql)?, columns, &values)
    }
}

/// Hosts of a certificate in words, the first few; column `hosts` of most answers.
const HOSTS: &str = "(SELECT group_concat(name, ' ') FROM (SELECT DISTINCT name.name FROM sighting AS s
    JOIN name ON name.id = s.name WHERE s.certificate = c.id LIMIT 4))";
const PLACES: &str = "(SELECT count(*) FROM sighting AS s WHERE s.certificate = c.id)";

impl Store {
    /// Answers a question.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn ask(&self, question: Question, filter: &Filter) -> Result<Answer, InventoryError> {
        let at = match filter.at {
            Some(at) => at,
            None => self.last_packet()?.unwrap_or_default(),
        };
        let owners = self.owners()?;
        let connection = self.connection();
        let wanted = select(&connection, filter, &owners)?;
        let mut answer = match question {
            Question::Certificates => certificates(&connection, (filter, wanted))?,
            Question::Expiring(within) => expiring(&connection, (filter, wanted), (at, within))?,
            Question::Issuers => issuers(&connection, (filter, wanted))?,
            Question::Keys => keys(&connection, (filter, wanted), false)?,
            Question::Reused => keys(&connection, (filter, wanted), true)?,
            Question::Hosts => hosts(&connection, (filter, wanted))?,
            Question::Changes => changes(&connection, (filter, wanted))?,
            Question::Clients => clients(&connection, (filter, wanted))?,
        };
        if !owners.is_empty() {
            name_owners(&mut answer, &owners);
        }
        Ok(answer)
    }

    /// Everything about the certificates whose SHA-256 begins with these hexadecimal digits: facts, then places.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn show(&self, digits: &str) -> Result<Vec<Answer>, InventoryError> {
        let connection = self.connection();
        let mut wanted = Where::new();
        wanted.and("hex(c.sha256) LIKE ? || '%'", [Value::Text(digits.to_uppercase())]);
        let mut facts = wanted.ask(
            &connection,
            &[
                ("sha256", Kind::Plain),
                ("sha1", Kind::Plain),
                ("subject", Kind::Plain),
                ("issuer", Kind::Plain),
                ("serial", Kind::Plain),
                ("not_before", Kind::Day),
                ("not_after", Kind::Day),
                ("key", Kind::Plain),
                ("spki_sha256", Kind::Plain),
                ("signature_algorithm", Kind::Plain),
                ("is_ca", Kind::Plain),
                ("self_issued", Kind::Plain),
                ("names", Kind::Plain),
                ("first", Kind::Time),
                ("last", Kind::Time),
                ("count", Kind::Plain),
            ],
            &format!(
                "SELECT c.sha256, c.sha1, c.subject, issuer.name, c.serial, c.not_before, c.not_after, {KEY},
                 key.spki_sha256, c.signature_algorithm, c.is_ca, c.self_issued,
                 (SELECT group_concat(name, ' ') FROM certificate_name WHERE certificate = c.id),
                 c.first, c.last, c.count
                 FROM certificate AS c LEFT JOIN issuer ON issuer.id = c.issuer LEFT JOIN key ON key.id = c.key
                 WHERE {} ORDER BY c.id LIMIT 100",
                wanted.text()
            ),
        )?;
        facts.title = "certificates";
        let mut places = wanted.ask(
            &connection,
            &[
                ("sha256", Kind::Plain),
                ("side", Kind::Plain),
                ("role", Kind::Plain),
                ("host", Kind::Plain),
                ("ip", Kind::Plain),
                ("port", Kind::Plain),
                ("transport", Kind::Plain),
                ("first", Kind::Time),
                ("last", Kind::Time),
                ("count", Kind::Plain),
                ("clients", Kind::Plain),
            ],
            &format!(
                "SELECT c.sha256, role.side, role.role, name.name, endpoint.ip, endpoint.port, endpoint.transport,
                 s.first, s.last, s.count, s.clients
                 FROM certificate AS c JOIN sighting AS s ON s.certificate = c.id JOIN role ON role.id = s.role
                 JOIN name ON name.id = s.name JOIN endpoint ON endpoint.id = s.endpoint
                 WHERE {} ORDER BY c.id, s.role, name.name, endpoint.ip, endpoint.port",
                wanted.text()
            ),
        )?;
        places.title = "places";
        Ok(vec![facts, places])
    }

    /// Pairs of RSA keys that share a prime factor, with a certificate of each; and the number of keys that were left out
    /// because there are more than `limit`: the most recently seen ones are looked at.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn shared_factors(&self, limit: u32) -> Result<(Answer, u64), InventoryError> {
        let connection = self.connection();
        let mut statement = connection.prepare(
            "SELECT modulus, spki_sha256, (SELECT subject FROM certificate WHERE key = key.id ORDER BY id LIMIT 1)
             FROM key WHERE modulus IS NOT NULL
             ORDER BY (SELECT max(last) FROM certificate WHERE key = key.id) DESC, id LIMIT ?",
        )?;
        let rows = statement.query_map([limit], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        let keys: Vec<(Vec<u8>, Vec<u8>, Option<String>)> = rows.collect::<Result<_, _>>()?;
        let all: i64 =
            connection.query_row("SELECT count(*) FROM key WHERE modulus IS NOT NULL", [], |row| row.get(0))?;
        let left_out = u64::try_from(all).unwrap_or(0).saturating_sub(u64::try_from(keys.len()).unwrap_or(0));
        let moduli: Vec<&[u8]> = keys.iter().map(|(modulus, ..)| modulus.as_slice()).collect();
        let mut rows = Vec::new();
        for (one, other) in crate::x509::batch_gcd::shared_factors(&moduli) {
            let (Some(one), Some(other)) = (keys.get(one), keys.get(other)) else { continue };
            let cells = [one, other].into_iter().flat_map(|(_, spki, subject)| {
                [Cell::Digest(spki.clone()), subject.clone().map_or(Cell::Empty, Cell::Text)]
            });
            rows.push(cells.collect());
        }
        let columns = vec!["spki_sha256", "subject", "other_spki_sha256", "other_subject"];
        Ok((Answer { title: "", columns, rows }, left_out))
    }

    /// The bytes of a certificate.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn der(&self, sha256: &Sha256) -> Result<Option<Vec<u8>>, InventoryError> {
        let connection = self.connection();
        let mut statement = connection.prepare_cached(
            "SELECT der FROM der JOIN certificate ON certificate.id = der.certificate WHERE sha256 = ?",
        )?;
        Ok(rusqlite::OptionalExtension::optional(statement.query_row([sha256.0], |row| row.get(0)))?)
    }
}

/// Kind and size of a key.
const KEY: &str = "key.algorithm || ' ' || coalesce(key.curve, key.bits)";

/// Which names and endpoints a filter takes, as temporary tables; whether it takes only these.
fn select(connection: &Connection, filter: &Filter, owners: &Owners) -> rusqlite::Result<bool> {
    let host = filter.host.as_deref().map(Pattern::of);
    if host.is_none() && filter.owner.is_none() {
        return Ok(false);
    }
    let takes = |name: &str| {
        host.as_ref().is_none_or(|host| host.matches(name))
            && filter.owner.as_ref().is_none_or(|owner| owners.of(name) == Some(owner.as_str()))
    };
    connection.execute_batch(
        "CREATE TEMP TABLE IF NOT EXISTS wanted_name (id INTEGER PRIMARY KEY);
         CREATE TEMP TABLE IF NOT EXISTS wanted_endpoint (id INTEGER PRIMARY KEY);
         DELETE FROM wanted_name; DELETE FROM wanted_endpoint; BEGIN",
    )?;
    for (from, into) in [("SELECT id, name FROM name", "name"), ("SELECT id, ip FROM endpoint", "endpoint")] {
        let mut insert = connection.prepare(&format!("INSERT INTO wanted_{into} VALUES (?)"))?;
        let mut rows = connection.prepare(from)?;
        let mut rows = rows.query([])?;
        while let Some(row) = rows.next()? {
            let name = row.get_ref(1)?.as_str()?;
            if takes(name.strip_prefix("ip:").unwrap_or(name)) {
                insert.execute([row.get::<_, i64>(0)?])?;
            }
        }
    }
    connection.execute_batch("COMMIT")?;
    Ok(true)
}

/// Conditions on certificates `c`.
fn of_certificates((filter, wanted): (&Filter, bool)) -> Where {
    let mut conditions = Where::new();
    if wanted {
        conditions.and(
            "c.id IN (SELECT certificate FROM sighting WHERE name IN temp.wanted_name
             UNION SELECT certificate FROM sighting WHERE endpoint IN temp.wanted_endpoint)",
            [],
        );
    }
    if let Some(issuer) = &filter.issuer {
        let condition = "c.issuer IN (SELECT id FROM issuer WHERE instr(lower(name), lower(?)) > 0)";
        conditions.and(condition, [Value::Text(issuer.clone())]);
    }
    if let Some(since) = filter.since {
        conditions.and("c.last >= ?", [Value::Integer(since.0)]);
    }
    conditions
}

fn certificates(connection: &Connection, wanted: (&Filter, bool)) -> rusqlite::Result<Answer> {
    let conditions = of_certificates(wanted);
    let sql = format!(
        "SELECT c.sha256, c.subject, issuer.name, c.not_before, c.not_after, {KEY}, c.first, c.last, c.count, {PLACES},
         {HOSTS} FROM certificate AS c LEFT JOIN issuer ON issuer.id = c.issuer LEFT JOIN key ON key.id = c.key
         WHERE {} ORDER BY c.id",
        conditions.text()
    );
    conditions.ask(
        connection,
        &[
            ("sha256", Kind::Plain),
            ("subject", Kind::Plain),
            ("issuer", Kind::Plain),
            ("not_before", Kind::Day),
            ("not_after", Kind::Day),
            ("key", Kind::Plain),
            ("first", Kind::Time),
            ("last", Kind::Time),
            ("count", Kind::Plain),
            ("places", Kind::Plain),
            ("hosts", Kind::Plain),
        ],
        &sql,
    )
}

fn expiring(
    connection: &Connection,
    wanted: (&Filter, bool),
    (at, within): (Timestamp, Span),
) -> rusqlite::Result<Answer> {
    let mut conditions = of_certificates(wanted);
    // A certificate that was shown after its end is the most urgent of all.
    conditions.and(
        "c.not_after <= ? AND (c.not_after >= ? OR c.last / 1000000000 > c.not_after)",
        [Value::Integer(at.plus(within).seconds()), Value::Integer(at.seconds())],
    );
    let sql = format!(
        "SELECT c.not_after, (c.not_after - {}) / 86400, c.sha256, c.subject, issuer.name, c.last, {PLACES}, {HOSTS}
         FROM certificate AS c LEFT JOIN issuer ON issuer.id = c.issuer
         WHERE {} ORDER BY c.not_after, c.id",
        at.0.div_euclid(NANOS_PER_SECOND),
        conditions.text()
    );
    conditions.ask(
        connection,
        &[
            ("not_after", Kind::Day),
            ("days_left", Kind::Plain),
            ("sha256", Kind::Plain),
            ("subject", Kind::Plain),
            ("issuer", Kind::Plain),
            ("last", Kind::Time),
            ("places", Kind::Plain),
            ("hosts", Kind::Plain),
        ],
        &sql,
    )
}

fn issuers(connection: &Connection, wanted: (&Filter, bool)) -> rusqlite::Result<Answer> {
    let conditions = of_certificates(wanted);
    let sql = format!(
        "SELECT issuer.name, count(*), count(DISTINCT c.key), min(c.first), max(c.last), sum(c.count)
         FROM certificate AS c JOIN issuer ON issuer.id = c.issuer WHERE {}
         GROUP BY c.issuer ORDER BY count(*) DESC, issuer.id",
        conditions.text()
    );
    conditions.ask(
        connection,
        &[
            ("issuer", Kind::Plain),
            ("certificates", Kind::Plain),
            ("keys", Kind::Plain),
            ("first", Kind::Time),
            ("last", Kind::Time),
            ("count", Kind::Plain),
        ],
        &sql,
    )
}

fn keys(connection: &Connection, wanted: (&Filter, bool), reused: bool) -> rusqlite::Result<Answer> {
    let conditions = of_certificates(wanted);
    let having = if reused { "HAVING count(*) > 1" } else { "" };
    let sql = format!(
        "SELECT key.spki_sha256, {KEY}, count(*), count(DISTINCT c.subject), min(c.first), max(c.last),
         (SELECT group_concat(subject, '; ') FROM
             (SELECT DISTINCT subject FROM certificate WHERE certificate.key = key.id LIMIT 4))
         FROM certificate AS c JOIN key ON key.id = c.key WHERE {}
         GROUP BY c.key {having} ORDER BY count(DISTINCT c.subject) DESC, count(*) DESC, key.id",
        conditions.text()
    );
    conditions.ask(
        connection,
        &[
            ("spki_sha256", Kind::Plain),
            ("key", Kind::Plain),
            ("certificates", Kind::Plain),
            ("subjects", Kind::Plain),
            ("first", Kind::Time),
            ("last", Kind::Time),
            ("examples", Kind::Plain),
        ],
        &sql,
    )
}

/// Conditions on hosts and on the certificate that one shows.
fn of_hosts((filter, wanted): (&Filter, bool), seen: &str) -> Where {
    let mut conditions = Where::new();
    if wanted {
        conditions.and("host.name IN temp.wanted_name", []);
    }
    if let Some(issuer) = &filter.issuer {
        conditions.and("instr(lower(issuer.name), lower(?)) > 0", [Value::Text(issuer.clone())]);
    }
    if let Some(since) = filter.since {
        conditions.and(&format!("{seen} >= ?"), [Value::Integer(since.0)]);
    }
    conditions
}

fn hosts(connection: &Connection, wanted: (&Filter, bool)) -> rusqlite::Result<Answer> {
    let conditions = of_hosts(wanted, "host.last");
    let sql = format!(
        "SELECT name.name, host.port, host.transport, host.first, host.last, host.count,
         (SELECT count(*) FROM change WHERE change.host = host.id), c.sha256, c.subject, issuer.name, c.not_after
         FROM host JOIN name ON name.id = host.name
         LEFT JOIN certificate AS c ON c.id =
             (SELECT certificate FROM change WHERE change.host = host.id ORDER BY last DESC, first DESC, 1 LIMIT 1)
         LEFT JOIN issuer ON issuer.id = c.issuer
         WHERE {} ORDER BY name.name, host.port, host.transport",
        conditions.text()
    );
    conditions.ask(
        connection,
        &[
            ("host", Kind::Plain),
            ("port", Kind::Plain),
            ("transport", Kind::Plain),
            ("first", Kind::Time),
            ("last", Kind::Time),
            ("count", Kind::Plain),
            ("certificates", Kind::Plain),
            ("sha256", Kind::Plain),
            ("subject", Kind::Plain),
            ("issuer", Kind::Plain),
            ("not_after", Kind::Day),
        ],
        &sql,
    )
}

fn changes(connection: &Connection, wanted: (&Filter, bool)) -> rusqlite::Result<Answer> {
    let conditions = of_hosts(wanted, "change.first");
    let sql = format!(
        "SELECT change.first, name.name, host.port, host.transport,
         CASE WHEN old.id IS NULL THEN 'first certificate' WHEN old.key = c.key THEN 'same key'
             WHEN old.issuer = c.issuer THEN 'same issuer' ELSE 'other issuer' END,
         c.sha256, c.subject, issuer.name, old.sha256, old.subject, old_issuer.name
         FROM change JOIN host ON host.id = change.host JOIN name ON name.id = host.name
         JOIN certificate AS c ON c.id = change.certificate
         LEFT JOIN issuer ON issuer.id = c.issuer
         LEFT JOIN certificate AS old ON old.id = (SELECT before.certificate FROM change AS before
             WHERE before.host = change.host AND before.first < change.first
             ORDER BY before.first DESC, before.certificate LIMIT 1)
         LEFT JOIN issuer AS old_issuer ON old_issuer.id = old.issuer
         WHERE {} ORDER BY change.first, name.name, host.port, c.id",
        conditions.text()
    );
    conditions.ask(
        connection,
        &[
            ("at", Kind::Time),
            ("host", Kind::Plain),
            ("port", Kind::Plain),
            ("transport", Kind::Plain),
            ("change", Kind::Plain),
            ("sha256", Kind::Plain),
            ("subject", Kind::Plain),
            ("issuer", Kind::Plain),
            ("before_sha256", Kind::Plain),
            ("before_subject", Kind::Plain),
            ("before_issuer", Kind::Plain),
        ],
        &sql,
    )
}

fn clients(connection: &Connection, wanted: (&Filter, bool)) -> rusqlite::Result<Answer> {
    let conditions = of_certificates(wanted);
    let sql = format!(
        "SELECT c.sha256, c.subject, issuer.name, c.not_after, client.address, client.first, client.last, client.count,
         {HOSTS} FROM client JOIN certificate AS c ON c.id = client.certificate
         LEFT JOIN issuer ON issuer.id = c.issuer
         WHERE {} ORDER BY c.id, client.address",
        conditions.text()
    );
    conditions.ask(
        connection,
        &[
            ("sha256", Kind::Plain),
            ("subject", Kind::Plain),
            ("issuer", Kind::Plain),
            ("not_after", Kind::Day),
            ("address", Kind::Plain),
            ("first", Kind::Time),
            ("last", Kind::Time),
            ("count", Kind::Plain),
            ("hosts", Kind::Plain),
        ],
        &sql,
    )
}

/// Adds the owner of the hosts of each row.
fn name_owners(answer: &mut Answer, owners: &Owners) {
    let Some(column) = answer.columns.iter().position(|column| matches!(*column, "host" | "hosts")) else { return };
    answer.columns.push("owner");
    for row in &mut answer.rows {
        let owner = match row.get(column) {
            Some(Cell::Text(hosts)) => {
                hosts.split(' ').find_map(|host| owners.of(host.strip_prefix("ip:").unwrap_or(host)))
            }
            _ => None,
        };
        row.push(owner.map_or(Cell::Empty, |owner| Cell::Text(owner.to_owned())));
    }
}
