//! What persons do to baselines while a sensor runs: noted, so that the sensor does not write its own over it.

use rusqlite::{Connection, OptionalExtension as _};

use crate::detect::hosts::backing::Edit;
use crate::detect::sighting::HostKey;

use super::{InventoryError, Store};

/// Edits that are kept. A sensor looks every ten seconds; what it does not find any more it cannot heed.
const KEPT: i64 = 10_000;

/// Beginning of the keys in table `meta`; the number follows in 19 digits, so that they sort.
const KEY: &str = "edit ";

/// Notes an edit, in the transaction that makes it.
pub(super) fn note(connection: &Connection, edit: &Edit) -> rusqlite::Result<()> {
    let number = newest(connection)?.saturating_add(1);
    let (word, key) = match edit {
        Edit::Accept(key) => ("accept", key),
        Edit::Forget(key) => ("forget", key),
    };
    let value = format!("{word} {} {}", key.port, key.name);
    connection.execute("INSERT INTO meta VALUES (?, ?)", [name(number), value])?;
    let old = name(number.saturating_sub(KEPT));
    connection.execute("DELETE FROM meta WHERE key BETWEEN ? AND ?", [KEY, &old])?;
    Ok(())
}

impl Store {
    /// Number of the last edit; 0 without any.
    pub(super) fn newest_edit(&self) -> Result<i64, InventoryError> {
        Ok(newest(&self.connection())?)
    }

    /// Edits after this number, in order.
    pub(super) fn edits(&self, after: i64) -> Result<Vec<(i64, Edit)>, InventoryError> {
        let connection = self.connection();
        let mut statement =
            connection.prepare_cached("SELECT key, value FROM meta WHERE key > ? AND key < ? ORDER BY key")?;
        let rows = statement.query_map([name(after), name(i64::MAX)], |row| {
            let (key, value) = (row.get_ref(0)?.as_str()?, row.get_ref(1)?.as_str()?);
            Ok(number(key).zip(read(value)))
        })?;
        let found: Vec<_> = rows.collect::<rusqlite::Result<_>>()?;
        Ok(found.into_iter().flatten().collect())
    }
}

fn newest(connection: &Connection) -> rusqlite::Result<i64> {
    let sql = "SELECT key FROM meta WHERE key > ? AND key < ? ORDER BY key DESC LIMIT 1";
    let mut statement = connection.prepare_cached(sql)?;
    let key: Option<String> = statement.query_row([name(0), name(i64::MAX)], |row| row.get(0)).optional()?;
    Ok(key.and_then(|key| number(&key)).unwrap_or(0))
}

fn name(number: i64) -> String {
    format!("{KEY}{:019}", number.max(0))
}

fn number(key: &str) -> Option<i64> {
    key.strip_prefix(KEY)?.parse().ok()
}

fn read(value: &str) -> Option<Edit> {
    let mut parts = value.splitn(3, ' ');
    let (word, port, name) = (parts.next()?, parts.next()?.parse().ok()?, parts.next()?);
    let key = HostKey { name: name.to_owned(), port };
    match word {
        "accept" => Some(Edit::Accept(key)),
        "forget" => Some(Edit::Forget(key)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_are_told_in_order_and_once() {
        let store = Store::in_memory().unwrap();
        let key = |name: &str| HostKey { name: name.to_owned(), port: 8443 };
        assert_eq!(store.newest_edit().unwrap(), 0);
        store.accept(&key("a b.example"), &[]).unwrap();
        assert!(!store.forget(&key("b.example")).unwrap());
        let edits = store.edits(0).unwrap();
        assert_eq!(edits, [(1, Edit::Accept(key("a b.example"))), (2, Edit::Forget(key("b.example")))]);
        assert_eq!((store.edits(1).unwrap().len(), store.edits(2).unwrap().len()), (1, 0));
        for number in 0..KEPT {
            note(&store.connection(), &Edit::Forget(key(&number.to_string()))).unwrap();
        }
        let edits = store.edits(0).unwrap();
        assert_eq!((edits.len(), edits[0].0, store.newest_edit().unwrap()), (10_000, 3, 10_002));
        assert_eq!(store.last_packet().unwrap(), None, "nothing else is touched");
        assert_eq!(read("x 1 a"), None);
    }
}
