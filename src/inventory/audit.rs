//! Keys that can be computed because they share a prime factor with another.

use super::answer::{Answer, Cell, Rows, prepare};
use super::{InventoryError, Store};
use crate::x509::batch_gcd::{self, Shared};
use crate::x509::coprime::{are_coprime, is_quick};

/// What it takes to look for shared factors, about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effort {
    /// Keys that are looked at.
    pub keys: u64,
    /// Bytes of memory, at most.
    pub memory: u64,
    /// Minutes of one core, rounded up.
    pub minutes: u64,
}

/// Bytes of memory for each byte of the keys, at most.
const MEMORY: u64 = 100;
/// Bytes of keys that take a minute.
const MINUTE: u64 = 20_000 * 256;

impl Store {
    /// What [`shared_factors`](Self::shared_factors) will take.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn effort_of_shared_factors(&self, limit: u32) -> Result<Effort, InventoryError> {
        let sql = "SELECT count(*), coalesce(sum(length), 0) FROM (SELECT length(modulus) AS length FROM key
            WHERE modulus IS NOT NULL ORDER BY (SELECT max(last) FROM certificate WHERE key = key.id) DESC, id LIMIT ?)";
        let counts: (i64, i64) = self.connection().query_row(sql, [limit], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let [keys, bytes] = [counts.0, counts.1].map(|count| u64::try_from(count).unwrap_or(0));
        Ok(Effort { keys, memory: bytes.saturating_mul(MEMORY), minutes: bytes.div_ceil(MINUTE) })
    }

    /// Pairs of RSA keys that share a prime factor, with a certificate of each; the number of keys that were left out
    /// because there are more than `limit` (the most recently seen ones are looked at); and the number of keys that share a
    /// factor too and of which no pairs are given, because there are too many.
    ///
    /// `tell` hears how much of a long run is done, and how much there is.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn shared_factors(
        &self,
        limit: u32,
        tell: &mut dyn FnMut(u64, u64),
    ) -> Result<(Answer, [u64; 2]), InventoryError> {
        let connection = self.connection();
        let mut statement = prepare(
            &connection,
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
        let quick = is_quick(&moduli) && are_coprime(&moduli) == Some(true);
        let shared = if quick { Shared::default() } else { batch_gcd::shared_factors(&moduli, tell) };
        for (one, other) in shared.pairs {
            let (Some(one), Some(other)) = (keys.get(one), keys.get(other)) else { continue };
            let cells = [one, other].into_iter().flat_map(|(_, spki, subject)| {
                [
                    Cell::Digest(spki.as_slice().into()),
                    subject.as_deref().map_or(Cell::Empty, |name| Cell::Text(name.into())),
                ]
            });
            rows.push(cells.collect());
        }
        let columns = vec!["spki_sha256", "subject", "other_spki_sha256", "other_subject"];
        let more = u64::try_from(shared.left_out).unwrap_or(u64::MAX);
        Ok((Answer { columns, rows: Rows::Made(rows), ..Answer::default() }, [left_out, more]))
    }
}
