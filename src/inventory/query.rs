//! The questions that people ask of an inventory.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use rusqlite::types::{ToSqlOutput, Value};
use rusqlite::{Connection, OptionalExtension as _, ToSql};

use crate::time::{NANOS_PER_SECOND, Span, Timestamp};
use crate::x509::{AlternativeName, Certificate, Facts, Sha256};

use super::answer::{Answer, Cell, Columns, Kind, Rows, ask};
use super::owners::{Owned, Owners, Pattern};
use super::{InventoryError, Store, timeline};

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

impl Question {
    /// Columns of its answer that a narrow terminal does without, the first of them first.
    fn spare(self) -> &'static [&'static str] {
        match self {
            Self::Certificates => &["not_before", "first", "count", "key", "last", "places"],
            Self::Expiring(_) => &["last", "places"],
            Self::Issuers => &["first", "count", "keys"],
            Self::Keys | Self::Reused => &["first", "last", "key"],
            Self::Hosts => &["transport", "first", "count", "certificates", "subject", "last"],
            Self::Changes => &["transport", "before_subject", "before_sha256", "subject", "port"],
            Self::Clients => &["first", "count", "not_after", "issuer"],
        }
    }
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
    /// Most rows of an answer; all unless given.
    pub limit: Option<u32>,
}

impl Filter {
    /// Most rows of an answer.
    pub(super) fn rows(&self) -> usize {
        self.limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX)
    }

    /// The end of a SELECT.
    fn limit(&self) -> String {
        self.limit.map(|limit| format!("LIMIT {limit}")).unwrap_or_default()
    }
}

/// Conditions of a WHERE and their values.
pub(super) struct Where {
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

    pub(super) fn text(&self) -> String {
        self.conditions.join(" AND ")
    }

    /// Everything is taken.
    fn is_none(&self) -> bool {
        self.conditions.len() == 1
    }

    pub(super) fn values(&self) -> Vec<&dyn ToSql> {
        self.values.iter().map(|value| value as &dyn ToSql).collect()
    }

    fn ask(&self, connection: &Connection, columns: Columns, sql: &str) -> rusqlite::Result<Answer> {
        ask(connection, (sql, columns), &self.values())
    }
}

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
        let wanted = (filter, select(&connection, filter, &owners)?);
        let mut answer = match question {
            Question::Issuers => issuers(&connection, wanted)?,
            Question::Keys => keys(&connection, wanted, false)?,
            Question::Reused => keys(&connection, wanted, true)?,
            // These name hosts, and whose they are.
            _ => {
                let owned = Owned::of(&connection, &owners, filter.owner.as_deref())?;
                let owned = owned.as_ref();
                match question {
                    Question::Expiring(within) => {
                        with_hosts(&connection, expiring(&connection, wanted, (at, within))?, owned)?
                    }
                    Question::Hosts => timeline::hosts(&connection, (filter, &of_hosts(wanted), owned))?,
                    Question::Changes => timeline::changes(&connection, (filter, &of_hosts(wanted), owned))?,
                    Question::Clients => without_places(with_hosts(&connection, clients(&connection, wanted)?, owned)?),
                    _ => with_hosts(&connection, certificates(&connection, wanted)?, owned)?,
                }
            }
        };
        answer.spare = question.spare();
        Ok(answer)
    }

    /// Everything about the certificates whose SHA-256 begins with these hexadecimal digits: facts, then places; of many
    /// the first 100. Says whether there are more.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn show(&self, digits: &str) -> Result<(Vec<Answer>, bool), InventoryError> {
        let connection = self.connection();
        let Some((from, to)) = digest_range(digits) else { return Ok((Vec::new(), false)) };
        let mut wanted = Where::new();
        wanted.and("c.sha256 BETWEEN ? AND ?", [Value::Blob(from.to_vec()), Value::Blob(to.to_vec())]);
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
                 WHERE {} ORDER BY c.sha256 LIMIT {}",
                wanted.text(),
                SHOWN.saturating_add(1)
            ),
        )?;
        facts.title = "certificates";
        let more = facts.rows.len() > SHOWN;
        if let Rows::Made(rows) = &mut facts.rows {
            rows.truncate(SHOWN);
        }
        for row in made(&mut facts) {
            count_more_names(&connection, row)?;
        }
        if let Some(last) = facts.digests().last() {
            wanted.and("c.sha256 <= ?", [Value::Blob(last.0.to_vec())]);
        }
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
                 WHERE {} ORDER BY c.sha256, s.role, name.name, endpoint.ip, endpoint.port",
                wanted.text()
            ),
        )?;
        places.title = "places";
        // One certificate stands above: every row is about it.
        places.spare = match facts.rows.len() {
            1 => &["sha256", "transport", "first", "clients", "side", "count", "port"],
            _ => &["transport", "first", "clients", "side", "count", "port"],
        };
        Ok((vec![facts, places], more))
    }

    /// The bytes of a certificate.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn der(&self, sha256: &Sha256) -> Result<Option<Vec<u8>>, InventoryError> {
        Ok(der(&self.connection(), sha256)?)
    }
}

fn der(connection: &Connection, sha256: &Sha256) -> rusqlite::Result<Option<Vec<u8>>> {
    let mut statement = connection
        .prepare_cached("SELECT der FROM der JOIN certificate ON certificate.id = der.certificate WHERE sha256 = ?")?;
    statement.query_row([sha256.0], |row| row.get(0)).optional()
}

/// Says behind the names of a certificate, of which not all have rows, how many more it has.
fn count_more_names(connection: &Connection, row: &mut [Cell]) -> rusqlite::Result<()> {
    let Some(Cell::Digest(digest)) = row.first() else { return Ok(()) };
    let Ok(sha256) = <[u8; 32]>::try_from(&**digest).map(Sha256) else { return Ok(()) };
    let mut rows = connection.prepare_cached(
        "SELECT count(*) FROM certificate_name JOIN certificate ON certificate.id = certificate WHERE sha256 = ?",
    )?;
    let listed = rows.query_row([sha256.0], |row| row.get::<_, u32>(0))?;
    let listed = usize::try_from(listed).unwrap_or(usize::MAX);
    let Some(der) = der(connection, &sha256)? else { return Ok(()) };
    let all = Certificate::parse(&der).facts.map_or(0, |facts| distinct_names(&facts));
    if let (Some(Cell::Text(names)), true) = (row.get_mut(NAMES_COLUMN), all > listed) {
        *names = format!("{names} (+{})", all.saturating_sub(listed)).into();
    }
    Ok(())
}

fn distinct_names(facts: &Facts) -> usize {
    let names = facts.alternative_names.iter().filter_map(|name| match name {
        AlternativeName::Dns(name) => Some(name.to_lowercase()),
        AlternativeName::Ip(address) => Some(address.to_string()),
        _ => None,
    });
    names.collect::<HashSet<String>>().len()
}

/// The least and the greatest digest that begin with these hexadecimal digits; `None` when they are no digits.
pub(super) fn digest_range(digits: &str) -> Option<([u8; 32], [u8; 32])> {
    let (mut from, mut to) = ([0; 32], [0xff; 32]);
    let fits = digits.len() <= 2 * from.len();
    for (place, digit) in digits.chars().enumerate().filter(|_| fits) {
        let digit = u8::try_from(digit.to_digit(16)?).ok()?;
        for octet in [from.get_mut(place / 2)?, to.get_mut(place / 2)?] {
            *octet = if place % 2 == 0 { digit << 4 | *octet & 0x0f } else { *octet & 0xf0 | digit };
        }
    }
    fits.then_some((from, to))
}

/// Certificates that are shown together.
const SHOWN: usize = 100;
/// Which column of them has the names.
const NAMES_COLUMN: usize = 12;

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
         CREATE TEMP TABLE IF NOT EXISTS wanted_endpoint (id INTEGER PRIMARY KEY, port INTEGER, transport TEXT);
         DELETE FROM wanted_name; DELETE FROM wanted_endpoint; BEGIN",
    )?;
    for (from, into) in [
        ("SELECT name, id FROM name", "INSERT INTO wanted_name VALUES (?)"),
        ("SELECT ip, id, port, transport FROM endpoint", "INSERT INTO wanted_endpoint VALUES (?, ?, ?)"),
    ] {
        let mut insert = connection.prepare(into)?;
        let mut rows = connection.prepare(from)?;
        let mut rows = rows.query([])?;
        while let Some(row) = rows.next()? {
            let name = row.get_ref(0)?.as_str()?;
            if takes(name.strip_prefix("ip:").unwrap_or(name)) {
                for column in 1..=insert.parameter_count() {
                    insert.raw_bind_parameter(column, ToSqlOutput::Borrowed(row.get_ref(column)?))?;
                }
                insert.raw_execute()?;
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
        // There and then: a certificate that others still show may have left the host long ago.
        let since = filter.since.map(|since| Value::Integer(since.0));
        let then = since.as_ref().map_or("", |_| "AND last >= ?");
        conditions.and(
            &format!(
                "c.id IN (SELECT certificate FROM sighting WHERE name IN temp.wanted_name {then}
                 UNION ALL SELECT certificate FROM sighting
                 WHERE endpoint IN (SELECT id FROM temp.wanted_endpoint) {then})"
            ),
            since.clone().into_iter().chain(since),
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
        "SELECT c.sha256, c.subject, issuer.name, c.not_before, c.not_after, {KEY}, c.first, c.last, c.count, c.id
         FROM certificate AS c LEFT JOIN issuer ON issuer.id = c.issuer LEFT JOIN key ON key.id = c.key
         WHERE {} ORDER BY c.id {}",
        conditions.text(),
        wanted.0.limit()
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
        [Value::Integer(at.seconds().saturating_add(within.0 / NANOS_PER_SECOND)), Value::Integer(at.seconds())],
    );
    // Rounded down, as in events: what ended five hours ago has -1 days left, and not 0 as what ends in five hours.
    let left = format!("(c.not_after - {})", at.seconds());
    let sql = format!(
        "SELECT c.not_after, {left} / 86400 - ({left} % 86400 < 0), c.sha256, c.subject, issuer.name, c.last, c.id
         FROM certificate AS c LEFT JOIN issuer ON issuer.id = c.issuer
         WHERE {} ORDER BY c.not_after, c.id {}",
        conditions.text(),
        wanted.0.limit()
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
        ],
        &sql,
    )
}

fn issuers(connection: &Connection, wanted: (&Filter, bool)) -> rusqlite::Result<Answer> {
    let conditions = of_certificates(wanted);
    let sql = format!(
        "SELECT issuer.name, count(*), count(DISTINCT c.key), min(c.first), max(c.last), sum(c.count)
         FROM certificate AS c JOIN issuer ON issuer.id = c.issuer WHERE {}
         GROUP BY c.issuer ORDER BY count(*) DESC, issuer.id {}",
        conditions.text(),
        wanted.0.limit()
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
    // The filter says which keys; each is counted over all its certificates, or what shares it would not be seen.
    let taken = match conditions.is_none() {
        true => "1".to_owned(),
        false => format!("c.key IN (SELECT c.key FROM certificate AS c WHERE {})", conditions.text()),
    };
    let sql = format!(
        "SELECT key.spki_sha256, {KEY}, count(*), count(DISTINCT c.subject), min(c.first), max(c.last),
         (SELECT group_concat(subject, '; ') FROM
             (SELECT DISTINCT subject FROM certificate WHERE certificate.key = key.id LIMIT 4))
         FROM certificate AS c JOIN key ON key.id = c.key WHERE {taken}
         GROUP BY c.key {having} ORDER BY count(DISTINCT c.subject) DESC, count(*) DESC, key.id {}",
        wanted.0.limit()
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

/// Conditions on hosts.
fn of_hosts((filter, wanted): (&Filter, bool)) -> Where {
    let mut conditions = Where::new();
    if wanted {
        let since = filter.since.map(|since| Value::Integer(since.0));
        let then = since.as_ref().map_or("", |_| "AND sighting.last >= ?");
        conditions.and(
            // By the places of each host: to gather the hosts of all places takes three times as long where all are wanted.
            &format!(
                "(host.name IN temp.wanted_name OR EXISTS (SELECT 1 FROM sighting
                  CROSS JOIN temp.wanted_endpoint AS wanted ON wanted.id = sighting.endpoint AND wanted.port = host.port
                  AND wanted.transport = host.transport WHERE sighting.name = host.name {then}))"
            ),
            since,
        );
    }
    if let Some(since) = filter.since {
        conditions.and("host.last >= ?", [Value::Integer(since.0)]);
    }
    conditions
}

fn clients(connection: &Connection, wanted: (&Filter, bool)) -> rusqlite::Result<Answer> {
    let mut conditions = of_certificates(wanted);
    // A row is an address, which may have been quiet for longer than the certificate.
    if let Some(since) = wanted.0.since {
        conditions.and("client.last >= ?", [Value::Integer(since.0)]);
    }
    let sql = format!(
        "SELECT c.sha256, c.subject, issuer.name, c.not_after, client.address, client.first, client.last, client.count, c.id
         FROM client JOIN certificate AS c ON c.id = client.certificate
         LEFT JOIN issuer ON issuer.id = c.issuer
         WHERE {} ORDER BY c.id, client.address {}",
        conditions.text(),
        wanted.0.limit()
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
            ("places", Kind::Plain),
        ],
        &sql,
    )
}

/// An answer whose rows are about one place each.
fn without_places(mut answer: Answer) -> Answer {
    if let Some(column) = answer.columns.iter().position(|name| *name == "places") {
        answer.columns.remove(column);
        made(&mut answer).iter_mut().filter(|row| column < row.len()).for_each(|row| drop(row.remove(column)));
    }
    answer
}

/// Certificates of an answer up to which their places are looked up one by one; beyond, all places are read in order.
const FEW: usize = 1_000;
/// Hosts of a certificate that are named.
const NAMED: usize = 4;

/// Puts the number of places in place of the certificate's number at the end of each row, and behind it some hosts and,
/// with a list of owners, whose names and addresses they are.
fn with_hosts(connection: &Connection, mut answer: Answer, owned: Option<&Owned>) -> rusqlite::Result<Answer> {
    let number = |row: &[Cell]| match row.last() {
        Some(Cell::Number(number)) => Some(*number),
        _ => None,
    };
    let mut places: HashMap<i64, [Cell; 3]> = HashMap::new();
    let wanted = made(&mut answer).iter().filter_map(|row| number(row));
    places.extend(wanted.map(|number| (number, [Cell::Number(0), Cell::Empty, Cell::Empty])));
    let owner = |group: &[Place]| {
        let owned = owned?;
        let mut owners: Vec<u32> = Vec::new();
        for (endpoint, name) in group {
            let both = [owned.name(*name), owned.endpoint(*endpoint).map(|endpoint| endpoint.owner)];
            for owner in both.into_iter().flatten() {
                if !owners.contains(&owner) {
                    owners.push(owner);
                }
            }
        }
        Some(owned.cell(owners))
    };
    let make = |row: &rusqlite::Row<'_>, first: usize| Ok((row.get(first)?, row.get(first + 1)?));
    if places.len() > FEW {
        let names = timeline::names(connection)?;
        let sql = "SELECT certificate, endpoint, name FROM sighting ORDER BY certificate, endpoint, name, role";
        let make = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, make(row, 1)?));
        timeline::grouped(connection, sql, make, |certificate: i64, group: &mut Vec<Place>| {
            if let Some(cells) = places.get_mut(&certificate) {
                let [count, hosts] = summary(group, |name| Ok(names.get(name).cloned()))?;
                *cells = [count, hosts, owner(group).unwrap_or(Cell::Empty)];
            }
            Ok(())
        })?;
    } else {
        let mut sightings = connection.prepare_cached(
            "SELECT endpoint, name FROM sighting WHERE certificate = ? ORDER BY endpoint, name, role",
        )?;
        let mut name = connection.prepare_cached("SELECT name FROM name WHERE id = ?")?;
        for (certificate, cells) in &mut places {
            let all = sightings.query_map([certificate], |row| make(row, 0))?;
            let all = all.collect::<rusqlite::Result<Vec<Place>>>()?;
            let [count, hosts] = summary(&all, |number| {
                let found: Option<String> = name.query_row([number], |row| row.get(0)).optional()?;
                Ok(found.map(Arc::from))
            })?;
            *cells = [count, hosts, owner(&all).unwrap_or(Cell::Empty)];
        }
    }
    answer.columns.push("hosts");
    answer.columns.extend(owned.map(|_| "owner"));
    for row in made(&mut answer) {
        let [count, hosts, owner] = number(row).and_then(|number| places.get(&number).cloned()).unwrap_or([
            Cell::Number(0),
            Cell::Empty,
            Cell::Empty,
        ]);
        row.pop();
        row.extend([count, hosts]);
        row.extend(owned.map(|_| owner));
    }
    Ok(answer)
}

/// Numbers of an endpoint and of the name it was asked for.
type Place = (i64, i64);

/// The rows to put columns behind.
fn made(answer: &mut Answer) -> &mut [Vec<Cell>] {
    match &mut answer.rows {
        Rows::Made(rows) => rows,
        Rows::Changes(_) => &mut [],
    }
}

/// Number of places, and the first hosts with how many more there are.
fn summary(
    all: &[Place],
    mut name: impl FnMut(i64) -> rusqlite::Result<Option<Arc<str>>>,
) -> rusqlite::Result<[Cell; 2]> {
    let mut different: Vec<i64> = all.iter().map(|(_, name)| *name).collect();
    different.sort_unstable();
    different.dedup();
    let mut first: Vec<i64> = Vec::with_capacity(NAMED);
    for (_, number) in all {
        if first.len() >= NAMED.min(different.len()) {
            break;
        }
        if !first.contains(number) {
            first.push(*number);
        }
    }
    // In the order of endpoints: each once, by whatever name and in whatever role.
    let mut endpoints: Vec<i64> = all.iter().map(|(endpoint, _)| *endpoint).collect();
    endpoints.dedup();
    let count = Cell::Number(i64::try_from(endpoints.len()).unwrap_or(i64::MAX));
    if let ([one], 1) = (first.as_slice(), different.len()) {
        return Ok([count, name(*one)?.map_or(Cell::Empty, Cell::Text)]);
    }
    let mut hosts = String::new();
    for number in &first {
        let gap = if hosts.is_empty() { "" } else { " " };
        hosts.push_str(gap);
        hosts.push_str(&name(*number)?.unwrap_or_default());
    }
    match different.len().saturating_sub(first.len()) {
        0 => {}
        more => hosts.push_str(&format!(" (+{more})")),
    }
    Ok([count, if hosts.is_empty() { Cell::Empty } else { Cell::Text(hosts.into()) }])
}
