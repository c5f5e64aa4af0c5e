//! Questions about hosts over time: what each showed last, and what it showed before.
//!
//! Every row takes its words from five tables. Looked up one by one, a million rows take several seconds; each table read
//! once in its order and joined here, they take a fraction of one.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::sync::Arc;

use rusqlite::{Connection, Row, ToSql};

use crate::time::{Timestamp, ValidityTime};

use super::answer::{Answer, Cell, LATER, Rows, prepare};
use super::owners::Owned;
use super::query::{Filter, Where};

/// Rows of a table by their number; read in its order.
#[derive(Debug)]
pub(super) struct Numbered<T> {
    numbers: Vec<i64>,
    rows: Vec<T>,
}

impl<T> Numbered<T> {
    /// No rows.
    pub(super) fn none() -> Self {
        Self { numbers: Vec::new(), rows: Vec::new() }
    }

    /// Reads a query whose first column is the number, in ascending order.
    fn read(
        connection: &Connection,
        (sql, values): (&str, &[&dyn ToSql]),
        mut make: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<Self> {
        let mut all = Self::none();
        let mut statement = prepare(connection, sql)?;
        let mut rows = statement.query(values)?;
        while let Some(row) = rows.next()? {
            all.numbers.push(row.get(0)?);
            all.rows.push(make(row)?);
        }
        Ok(all)
    }

    /// The row of this number.
    pub(super) fn get(&self, number: i64) -> Option<&T> {
        self.rows.get(self.place(number)?)
    }

    /// The row at a [place](place_of).
    fn at(&self, place: u32) -> Option<&T> {
        self.rows.get(usize::try_from(place).ok()?)
    }

    /// Where the row of this number stands.
    fn place(&self, number: i64) -> Option<usize> {
        // Numbers are given in a row from 1, unless somebody else had his hands in the file.
        let likely = usize::try_from(number).ok()?.checked_sub(1)?;
        match self.numbers.get(likely) {
            Some(found) if *found == number => Some(likely),
            _ => self.numbers.binary_search(&number).ok(),
        }
    }
}

/// A place in four octets; one where no row stands for none.
fn place_of(place: Option<usize>) -> u32 {
    place.and_then(|place| u32::try_from(place).ok()).unwrap_or(u32::MAX)
}

/// All names that clients asked for.
pub(super) fn names(connection: &Connection) -> rusqlite::Result<Numbered<Arc<str>>> {
    Numbered::read(connection, ("SELECT id, name FROM name ORDER BY id", &[]), |row| text(row, 1))
}

fn text(row: &Row<'_>, column: usize) -> rusqlite::Result<Arc<str>> {
    Ok(row.get_ref(column)?.as_str().map(Arc::from)?)
}

/// What an answer says of a certificate.
#[derive(Debug)]
struct Shown {
    sha256: Arc<[u8]>,
    subject: Arc<str>,
    issuer: Option<i64>,
    key: Option<i64>,
    not_after: Option<i64>,
}

/// A host.
#[derive(Debug)]
struct Host {
    /// Of its name.
    number: i64,
    name: Arc<str>,
    port: i64,
    transport: Arc<str>,
    first: Timestamp,
    last: Timestamp,
    count: i64,
}

/// The tables that give the words.
#[derive(Debug)]
struct Tables {
    hosts: Numbered<Host>,
    certificates: Numbered<Shown>,
    issuers: Numbered<Arc<str>>,
    /// Issuers that a filter takes; `None`: all, and certificates without one.
    taken: Option<HashSet<i64>>,
}

impl Tables {
    fn read(connection: &Connection, (filter, conditions): (&Filter, &Where)) -> rusqlite::Result<Self> {
        let names = names(connection)?;
        let mut transports: HashMap<String, Arc<str>> = HashMap::new();
        let sql = format!(
            "SELECT id, name, port, transport, first, last, count FROM host WHERE {} ORDER BY id",
            conditions.text()
        );
        let hosts = Numbered::read(connection, (&sql, &conditions.values()), |row| {
            let transport = row.get_ref(3)?.as_str()?;
            let transport = match transports.get(transport) {
                Some(known) => Arc::clone(known),
                None => Arc::clone(transports.entry(transport.to_owned()).or_insert_with(|| transport.into())),
            };
            let number = row.get(1)?;
            Ok(Host {
                number,
                name: names.get(number).cloned().unwrap_or_default(),
                port: row.get(2)?,
                transport,
                first: Timestamp(row.get(4)?),
                last: Timestamp(row.get(5)?),
                count: row.get(6)?,
            })
        })?;
        let sql = "SELECT id, sha256, subject, issuer, key, not_after FROM certificate ORDER BY id";
        let certificates = Numbered::read(connection, (sql, &[]), |row| {
            Ok(Shown {
                sha256: row.get_ref(1)?.as_blob().map(Arc::from)?,
                subject: text(row, 2)?,
                issuer: row.get(3)?,
                key: row.get(4)?,
                not_after: row.get(5)?,
            })
        })?;
        let issuers = Numbered::read(connection, ("SELECT id, name FROM issuer ORDER BY id", &[]), |row| text(row, 1))?;
        let taken = filter.issuer.as_deref().map(|part| {
            let part = part.to_ascii_lowercase();
            let all = issuers.numbers.iter().zip(&issuers.rows);
            all.filter(|(_, name)| name.to_ascii_lowercase().contains(&part)).map(|(number, _)| *number).collect()
        });
        Ok(Self { hosts, certificates, issuers, taken })
    }

    fn takes(&self, certificate: Option<&Shown>) -> bool {
        let issuer = || certificate.and_then(|certificate| certificate.issuer);
        self.taken.as_ref().is_none_or(|taken| issuer().is_some_and(|issuer| taken.contains(&issuer)))
    }

    /// Whose each host is: by its name, and by the addresses that answered to it.
    fn owners(&self, connection: &Connection, owned: &Owned) -> rusqlite::Result<Vec<Cell>> {
        let mut answered: HashMap<(i64, i64, &str), Vec<u32>> = HashMap::new();
        if owned.has_endpoints() {
            let mut statement = prepare(connection, "SELECT name, endpoint FROM sighting")?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                let Some(endpoint) = owned.endpoint(row.get(1)?) else { continue };
                let owners = answered.entry((row.get(0)?, endpoint.port, &endpoint.transport)).or_default();
                if !owners.contains(&endpoint.owner) {
                    owners.push(endpoint.owner);
                }
            }
        }
        let cell = |host: &Host| {
            let others = answered.get(&(host.number, host.port, &*host.transport)).into_iter().flatten().copied();
            owned.cell(owned.name(host.number).into_iter().chain(others))
        };
        Ok(self.hosts.rows.iter().map(cell).collect())
    }

    /// SHA-256, subject and issuer.
    fn words(&self, certificate: Option<&Shown>) -> [Cell; 3] {
        let Some(certificate) = certificate else { return [Cell::Empty, Cell::Empty, Cell::Empty] };
        let issuer = certificate.issuer.and_then(|issuer| self.issuers.get(issuer));
        [
            Cell::Digest(Arc::clone(&certificate.sha256)),
            Cell::Text(Arc::clone(&certificate.subject)),
            issuer.map_or(Cell::Empty, |issuer| Cell::Text(Arc::clone(issuer))),
        ]
    }
}

/// A row with room for what is put behind it.
fn row<const N: usize>(cells: [Cell; N]) -> Vec<Cell> {
    let mut row = Vec::with_capacity(N + LATER);
    row.extend(cells);
    row
}

/// Gives the rows of `sql` in groups of equal first columns, which it puts side by side.
pub(super) fn grouped<K: Copy + Eq + Hash, T>(
    connection: &Connection,
    sql: &str,
    make: impl Fn(&Row<'_>) -> rusqlite::Result<(K, T)>,
    mut take: impl FnMut(K, &mut Vec<T>) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    let mut statement = prepare(connection, sql)?;
    let mut rows = statement.query([])?;
    let mut group = Vec::new();
    let mut current = None;
    while let Some(row) = rows.next()? {
        let (key, value) = make(row)?;
        if let Some(before) = current.filter(|current| *current != key) {
            take(before, &mut group)?;
            group.clear();
        }
        current = Some(key);
        group.push(value);
    }
    current.map_or(Ok(()), |key| take(key, &mut group))
}

/// Changes in the order of the table, which is that of its key.
const CHANGES: &str = "SELECT host, certificate, first, last FROM change ORDER BY host, certificate";

/// Every host with the certificate that it showed last.
pub(super) fn hosts(
    connection: &Connection,
    (filter, conditions, owned): (&Filter, &Where, Option<&Owned>),
) -> rusqlite::Result<Answer> {
    let tables = Tables::read(connection, (filter, conditions))?;
    let owners = owned.map(|owned| tables.owners(connection, owned)).transpose()?;
    let mut shown: HashMap<i64, (usize, i64)> = HashMap::new();
    let make = |row: &Row<'_>| Ok((row.get(0)?, (row.get::<_, i64>(3)?, row.get::<_, i64>(2)?, row.get::<_, i64>(1)?)));
    grouped(connection, CHANGES, make, |host: i64, group| {
        // Shown last; of those the one that is newer there, and of those any, always the same one.
        let latest = group.iter().min_by_key(|(last, first, certificate)| (-last, -first, *certificate));
        if let (Some((_, _, certificate)), Some(_)) = (latest, tables.hosts.get(host)) {
            shown.insert(host, (group.len(), *certificate));
        }
        Ok(())
    })?;
    let mut found = Vec::new();
    for (place, (number, host)) in tables.hosts.numbers.iter().zip(&tables.hosts.rows).enumerate() {
        let (count, certificate) = shown.get(number).copied().map_or((0, None), |(count, one)| (count, Some(one)));
        let certificate = certificate.and_then(|certificate| tables.certificates.get(certificate));
        if tables.takes(certificate) {
            found.push((host, count, certificate, place));
        }
    }
    found.sort_by(|(one, ..), (other, ..)| {
        (&one.name, one.port, &one.transport).cmp(&(&other.name, other.port, &other.transport))
    });
    found.truncate(filter.rows());
    let rows = found.into_iter().map(|(host, count, certificate, place)| {
        let [sha256, subject, issuer] = tables.words(certificate);
        let not_after = certificate.and_then(|certificate| certificate.not_after);
        let mut row = row([
            Cell::Text(Arc::clone(&host.name)),
            Cell::Number(host.port),
            Cell::Text(Arc::clone(&host.transport)),
            Cell::Time(host.first),
            Cell::Time(host.last),
            Cell::Number(host.count),
            Cell::Number(i64::try_from(count).unwrap_or(i64::MAX)),
            sha256,
            subject,
            issuer,
            not_after.map_or(Cell::Empty, |seconds| Cell::Day(ValidityTime(seconds))),
        ]);
        row.extend(owners.as_ref().and_then(|owners| owners.get(place)).cloned());
        row
    });
    let mut columns = vec![
        "host",
        "port",
        "transport",
        "first",
        "last",
        "count",
        "certificates",
        "sha256",
        "subject",
        "issuer",
        "not_after",
    ];
    columns.extend(owners.as_ref().map(|_| "owner"));
    Ok(Answer { columns, rows: Rows::Made(rows.collect()), ..Answer::default() })
}

/// When hosts showed a certificate for the first time, and which they had shown before.
pub(super) fn changes(
    connection: &Connection,
    (filter, conditions, owned): (&Filter, &Where, Option<&Owned>),
) -> rusqlite::Result<Answer> {
    let tables = Tables::read(connection, (filter, conditions))?;
    let since = filter.since.unwrap_or(Timestamp::MIN);
    let mut found = Vec::new();
    let make = |row: &Row<'_>| Ok((row.get(0)?, (Timestamp(row.get(2)?), row.get::<_, i64>(1)?)));
    grouped(connection, CHANGES, make, |host: i64, group| {
        let Some(host) = tables.hosts.place(host) else { return Ok(()) };
        group.sort_unstable();
        // Those that came at the same moment were not before one another.
        let (mut old, mut together) = (u32::MAX, None);
        for (first, number) in group.iter().copied() {
            let new = place_of(tables.certificates.place(number));
            match together {
                Some((moment, _)) if moment == first => {}
                _ => {
                    old = together.map_or(u32::MAX, |(_, before)| before);
                    together = Some((first, new));
                }
            }
            if first >= since && tables.takes(tables.certificates.at(new)) {
                found.push(Change { at: first, host: place_of(Some(host)), new, old });
            }
        }
        Ok(())
    })?;
    let host = |change: &Change| tables.hosts.at(change.host).map(|host| (&host.name, host.port));
    found.sort_unstable_by(|one, other| {
        let ends = || (host(one), one.new).cmp(&(host(other), other.new));
        one.at.cmp(&other.at).then_with(ends)
    });
    found.truncate(filter.rows());
    found.shrink_to_fit();
    let mut columns = vec![
        "at",
        "host",
        "port",
        "transport",
        "change",
        "sha256",
        "subject",
        "issuer",
        "before_sha256",
        "before_subject",
        "before_issuer",
    ];
    let owners = owned.map(|owned| tables.owners(connection, owned)).transpose()?;
    columns.extend(owners.as_ref().map(|_| "owner"));
    let owners = owners.unwrap_or_default();
    Ok(Answer { columns, rows: Rows::Changes(Box::new(Changes { tables, found, owners })), ..Answer::default() })
}

/// The rows of [`changes`].
#[derive(Debug)]
pub struct Changes {
    tables: Tables,
    found: Vec<Change>,
    /// Owner of each host; none without a list of owners.
    owners: Vec<Cell>,
}

/// A host showed a certificate for the first time: places in the tables.
#[derive(Clone, Copy, Debug)]
struct Change {
    at: Timestamp,
    host: u32,
    new: u32,
    /// What it showed before.
    old: u32,
}

impl Changes {
    pub(super) fn len(&self) -> usize {
        self.found.len()
    }

    pub(super) fn each<E>(&self, mut take: impl FnMut(&[Cell]) -> Result<(), E>) -> Result<(), E> {
        let words = ["first certificate", "same key", "same issuer", "other issuer"];
        let words = words.map(|word| Cell::Text(word.into()));
        let [first_one, same_key, same_issuer, other_issuer] = &words;
        let mut row = Vec::new();
        for change in &self.found {
            let Some(host) = self.tables.hosts.at(change.host) else { continue };
            let certificate = self.tables.certificates.at(change.new);
            let old = self.tables.certificates.at(change.old);
            let same = |of: fn(&Shown) -> Option<i64>| {
                let (now, before) = (certificate.and_then(of), old.and_then(of));
                now.is_some() && now == before
            };
            let kind = match old {
                None => first_one,
                Some(_) if same(|certificate| certificate.key) => same_key,
                Some(_) if same(|certificate| certificate.issuer) => same_issuer,
                Some(_) => other_issuer,
            };
            row.clear();
            row.extend([
                Cell::Time(change.at),
                Cell::Text(Arc::clone(&host.name)),
                Cell::Number(host.port),
                Cell::Text(Arc::clone(&host.transport)),
                kind.clone(),
            ]);
            row.extend(self.tables.words(certificate));
            row.extend(self.tables.words(old));
            row.extend(usize::try_from(change.host).ok().and_then(|host| self.owners.get(host)).cloned());
            take(&row)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_found_by_numbers_with_gaps_too() {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT)").unwrap();
        for number in [1, 2, 4, 9, i64::MAX] {
            connection.execute("INSERT INTO t VALUES (?1, 'n' || ?1)", [number]).unwrap();
        }
        let rows =
            Numbered::read(&connection, ("SELECT id, name FROM t ORDER BY id", &[]), |row| text(row, 1)).unwrap();
        for (number, expected) in [(1, "n1"), (4, "n4"), (9, "n9"), (i64::MAX, "n9223372036854775807")] {
            assert_eq!(rows.get(number).map(|name| &**name), Some(expected));
        }
        for missing in [0, -1, 3, 5, 10, i64::MIN] {
            assert_eq!(rows.get(missing), None);
        }
    }

    #[test]
    fn groups_are_whole() {
        let connection = Connection::open_in_memory().unwrap();
        let groups = |sql: &str| {
            let mut groups = Vec::new();
            let make = |row: &Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?));
            grouped(&connection, sql, make, |key, group| {
                groups.push((key, group.clone()));
                Ok(())
            })
            .unwrap();
            groups
        };
        assert_eq!(groups("VALUES (1, 2), (1, 3), (4, 5)"), [(1, vec![2, 3]), (4, vec![5])]);
        assert_eq!(groups("SELECT 1, 1 WHERE 0"), []);
    }
}
