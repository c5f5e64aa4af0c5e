//! Answers to questions: rows of cells.

use rusqlite::types::ValueRef;
use rusqlite::{Row, Statement, ToSql};

use crate::time::{Timestamp, ValidityTime};

/// A table of results.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// What it is a table of, when an answer has several.
    pub title: &'static str,
    /// Names of the columns.
    pub columns: Vec<&'static str>,
    /// One cell for each column.
    pub rows: Vec<Vec<Cell>>,
}

/// One value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cell {
    /// Not known, or nothing.
    Empty,
    /// Text, maybe a stranger's: escaped by whoever writes it out.
    Text(String),
    /// A number.
    Number(i64),
    /// A packet time.
    Time(Timestamp),
    /// A moment of certificate validity.
    Day(ValidityTime),
    /// A digest.
    Digest(Vec<u8>),
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

/// Runs a question.
pub(super) fn ask(statement: &mut Statement<'_>, columns: Columns, values: &[&dyn ToSql]) -> rusqlite::Result<Answer> {
    let rows = statement.query_map(values, |row| cells(row, columns))?;
    let names = columns.iter().map(|(name, _)| *name).collect();
    Ok(Answer { title: "", columns: names, rows: rows.collect::<Result<_, _>>()? })
}

fn cells(row: &Row<'_>, columns: Columns) -> rusqlite::Result<Vec<Cell>> {
    let cell = |(index, (_, kind)): (usize, &(&str, Kind))| Ok(Cell::of(row.get_ref(index)?, *kind));
    columns.iter().enumerate().map(cell).collect()
}

impl Cell {
    fn of(value: ValueRef<'_>, kind: Kind) -> Self {
        match (value, kind) {
            (ValueRef::Integer(nanos), Kind::Time) => Self::Time(Timestamp(nanos)),
            (ValueRef::Integer(seconds), Kind::Day) => Self::Day(ValidityTime(seconds)),
            (ValueRef::Integer(number), Kind::Plain) => Self::Number(number),
            (ValueRef::Text(text), _) => Self::Text(String::from_utf8_lossy(text).into_owned()),
            (ValueRef::Blob(bytes), _) => Self::Digest(bytes.to_vec()),
            // Nothing in the tables is a fraction.
            (ValueRef::Null | ValueRef::Real(_), _) => Self::Empty,
        }
    }

    /// The value as plain text; times in RFC 3339 to the second.
    pub fn text(&self) -> String {
        match self {
            Self::Empty => String::new(),
            Self::Text(text) => text.clone(),
            Self::Number(number) => number.to_string(),
            Self::Time(time) => format!("{}Z", crate::time::Civil::of(time.seconds())),
            Self::Day(time) => format!("{}Z", crate::time::Civil::of(time.seconds())),
            Self::Digest(bytes) => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
        }
    }
}
