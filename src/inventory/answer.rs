//! Answers to questions: rows of cells.

use std::fmt::Write as _;
use std::sync::Arc;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row, Statement, ToSql};

use super::timeline::Changes;
use crate::time::{Timestamp, ValidityTime};

/// A table of results.
#[derive(Debug, Default)]
pub struct Answer {
    /// What it is a table of, when an answer has several.
    pub title: &'static str,
    /// Names of the columns.
    pub columns: Vec<&'static str>,
    /// Those that a narrow terminal does without, the first of them first.
    pub spare: &'static [&'static str],
    /// One cell for each column.
    pub rows: Rows,
}

/// The rows of an answer.
#[derive(Debug)]
pub enum Rows {
    /// As they are.
    Made(Vec<Vec<Cell>>),
    /// Made one by one from the tables that hold their words: a million of them would take hundreds of megabytes.
    Changes(Box<Changes>),
}

impl Default for Rows {
    fn default() -> Self {
        Self::Made(Vec::new())
    }
}

impl Rows {
    /// Number of rows.
    pub fn len(&self) -> usize {
        match self {
            Self::Made(rows) => rows.len(),
            Self::Changes(changes) => changes.len(),
        }
    }

    /// There are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Gives one row after the other, until `take` fails.
    ///
    /// # Errors
    /// What `take` fails with.
    pub fn each<E>(&self, mut take: impl FnMut(&[Cell]) -> Result<(), E>) -> Result<(), E> {
        match self {
            Self::Made(rows) => rows.iter().try_for_each(|row| take(row)),
            Self::Changes(changes) => changes.each(take),
        }
    }
}

/// One value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cell {
    /// Not known, or nothing.
    Empty,
    /// Text, maybe a stranger's: escaped by whoever writes it out. Shared, for the same names stand in many rows.
    Text(Arc<str>),
    /// A number.
    Number(i64),
    /// A packet time.
    Time(Timestamp),
    /// A moment of certificate validity.
    Day(ValidityTime),
    /// A digest.
    Digest(Arc<[u8]>),
}

/// How a column is to be read.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// Text or a number.
    Plain,
    /// Nanoseconds.
    Time,
    /// Seconds.
    Day,
}

/// Columns of a question in the order of its SELECT.
pub(super) type Columns = &'static [(&'static str, Kind)];

/// A statement of a question. In tests: one whose work does not grow with the square of the rows.
pub(super) fn prepare<'c>(connection: &'c Connection, sql: &str) -> rusqlite::Result<Statement<'c>> {
    #[cfg(test)]
    tests::assert_linear(connection, sql);
    connection.prepare(sql)
}

/// Runs a question.
pub(super) fn ask(
    connection: &Connection,
    (sql, columns): (&str, Columns),
    values: &[&dyn ToSql],
) -> rusqlite::Result<Answer> {
    let mut statement = prepare(connection, sql)?;
    let rows = statement.query_map(values, |row| cells(row, columns))?;
    let names = columns.iter().map(|(name, _)| *name).collect();
    Ok(Answer { columns: names, rows: Rows::Made(rows.collect::<Result<_, _>>()?), ..Answer::default() })
}

/// Columns that may be put behind those of a question: hosts and owner. A row that has no room for them moves and takes
/// twice the memory, which with a million rows is half of the time.
pub(super) const LATER: usize = 2;

fn cells(row: &Row<'_>, columns: Columns) -> rusqlite::Result<Vec<Cell>> {
    let mut cells = Vec::with_capacity(columns.len() + LATER);
    for (index, (_, kind)) in columns.iter().enumerate() {
        cells.push(Cell::of(row.get_ref(index)?, *kind));
    }
    Ok(cells)
}

impl Cell {
    fn of(value: ValueRef<'_>, kind: Kind) -> Self {
        match (value, kind) {
            (ValueRef::Integer(nanos), Kind::Time) => Self::Time(Timestamp(nanos)),
            (ValueRef::Integer(seconds), Kind::Day) => Self::Day(ValidityTime(seconds)),
            (ValueRef::Integer(number), Kind::Plain) => Self::Number(number),
            (ValueRef::Text(text), _) => Self::Text(String::from_utf8_lossy(text).into()),
            (ValueRef::Blob(bytes), _) => Self::Digest(bytes.into()),
            // Nothing in the tables is a fraction.
            (ValueRef::Null | ValueRef::Real(_), _) => Self::Empty,
        }
    }

    /// The value as plain text; times in RFC 3339 to the second.
    pub fn text(&self) -> String {
        let mut text = String::new();
        self.append_to(&mut text);
        text
    }

    /// Appends [`text`](Self::text).
    pub(super) fn append_to(&self, out: &mut String) {
        // Writing to a String cannot fail.
        let _ = match self {
            Self::Empty => Ok(()),
            Self::Text(text) => out.write_str(text),
            Self::Number(number) => write!(out, "{number}"),
            Self::Time(time) => write!(out, "{}Z", crate::time::Civil::of(time.seconds())),
            Self::Day(time) => write!(out, "{}Z", crate::time::Civil::of(time.seconds())),
            Self::Digest(bytes) => {
                // Most of a long answer is digests: no formatter for each octet.
                let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 0x0f]);
                out.extend(digits.filter_map(|digit| char::from_digit(u32::from(digit), 16)));
                Ok(())
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks at the plan: a table may be read in full once in the outermost loop, never for each row of another one.
    pub(super) fn assert_linear(connection: &Connection, sql: &str) {
        let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let unbound = vec![rusqlite::types::Null; statement.parameter_count()];
        let nodes = statement
            .query_map(rusqlite::params_from_iter(unbound), |row| Ok((row.get(0)?, row.get(1)?, row.get(3)?)))
            .unwrap()
            .collect::<rusqlite::Result<Vec<(i64, i64, String)>>>()
            .unwrap();
        let is_inner = |mut node: i64| {
            while let Some((_, parent, text)) = nodes.iter().find(|(id, ..)| *id == node) {
                if text.starts_with("CORRELATED") {
                    return true;
                }
                node = *parent;
            }
            false
        };
        for (at, (id, parent, text)) in nodes.iter().enumerate() {
            // What a subquery gives was made by nodes that are looked at themselves.
            if !text.starts_with("SCAN ") || text.starts_with("SCAN (subquery") {
                continue;
            }
            let loops_before = nodes[..at].iter().filter(|(_, other, text)| {
                other == parent && (text.starts_with("SCAN ") || text.starts_with("SEARCH "))
            });
            let quadratic = is_inner(*id) || loops_before.count() > 0;
            assert!(!quadratic, "{text} for each row of another table: {sql}\n{nodes:#?}");
        }
    }

    #[test]
    fn plans_are_told_apart() {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("CREATE TABLE a (x, y); CREATE TABLE b (x PRIMARY KEY, y)").unwrap();
        let is_linear = |sql: &str| {
            let connection = std::panic::AssertUnwindSafe(&connection);
            std::panic::catch_unwind(move || assert_linear(*connection, sql)).is_ok()
        };
        assert!(is_linear("SELECT * FROM a JOIN b ON b.x = a.x WHERE a.y = ?"));
        assert!(is_linear("SELECT (SELECT count(*) FROM b WHERE b.x = a.x) FROM a ORDER BY 1"));
        assert!(is_linear("SELECT * FROM b WHERE x IN (SELECT y FROM a)"));
        assert!(!is_linear("SELECT * FROM a JOIN b ON b.y > a.y"));
        assert!(!is_linear("SELECT (SELECT count(*) FROM a WHERE a.x < b.x) FROM b"));
    }
}
