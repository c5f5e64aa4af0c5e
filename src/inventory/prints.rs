//! Which client used which JA3 and JA4 with which host.
//!
//! A fingerprint stands once, with its uses under its number. Both tables are bounded, for whoever sends hellos chooses what
//! they say: what was last seen longest ago goes first. A client that shuffles its extensions has another JA3 each time, under
//! one JA4: beyond a bound these are one row without a JA3.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use rusqlite::{Connection, OptionalExtension as _, params};

use crate::detect::client_kind::ClientKind;
use crate::time::Timestamp;

use super::gather::{Ordered, Span};
use super::writer::at;

/// How many fingerprints were forgotten for want of room.
pub(super) fn forgotten(connection: &Connection) -> rusqlite::Result<u64> {
    let sql = "SELECT value FROM meta WHERE key = 'fingerprints_forgotten'";
    let forgotten: Option<i64> = connection.prepare_cached(sql)?.query_row([], |row| row.get(0)).optional()?;
    Ok(forgotten.and_then(|many| u64::try_from(many).ok()).unwrap_or(0))
}

/// How much is kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// JA3 of one JA4.
    pub(super) variants: usize,
    /// Clients and hosts of one fingerprint, the last used.
    pub(super) places: usize,
    /// Fingerprints, the last seen.
    pub(super) fingerprints: i64,
    /// Uses of all fingerprints.
    pub(super) uses: i64,
}

/// What a file holds at most: some 60 megabytes.
pub(super) const BOUNDS: Bounds = Bounds { variants: 64, places: 1_024, fingerprints: 100_000, uses: 1_000_000 };

/// A JA4 is so long.
const JA4: usize = 36;

/// What a batch says of fingerprints.
#[derive(Debug, Default)]
pub(super) struct Prints {
    ja4s: Ordered<[u8; JA4], ()>,
    /// By number of the JA4 and JA3.
    pairs: Ordered<(u32, u128), Span>,
    /// By number of the pair, client and number of the host.
    uses: Ordered<(u32, IpAddr, u32), Span>,
}

impl Prints {
    /// Adds the hello of a client, to the host of this number.
    pub(super) fn add(&mut self, kind: &ClientKind, (client, host): (IpAddr, u32), seen: Timestamp) {
        let (Ok(ja4), Ok(ja3)) = (kind.ja4.as_bytes().try_into(), u128::from_str_radix(&kind.ja3, 16)) else { return };
        let (ja4, _) = self.ja4s.entry(ja4, || ());
        let (pair, span) = self.pairs.entry((ja4, ja3), || Span::of(seen));
        if let Some(span) = span {
            span.add(seen);
        }
        if let (_, Some(span)) = self.uses.entry((pair, client, host), || Span::of(seen)) {
            span.add(seen);
        }
    }
}

/// Writes a batch; `hosts` are the rows of its hosts.
pub(super) fn write(connection: &Connection, prints: &Prints, hosts: &[i64]) -> rusqlite::Result<()> {
    write_within(connection, (prints, hosts), BOUNDS)
}

fn write_within(connection: &Connection, (prints, hosts): (&Prints, &[i64]), bounds: Bounds) -> rusqlite::Result<()> {
    if prints.pairs.entries.is_empty() {
        return Ok(());
    }
    let pairs = pairs(connection, prints, bounds)?;
    let mut fingerprints: BTreeMap<i64, (Span, Vec<Used>)> = BTreeMap::new();
    for (number, (_, span)) in pairs.iter().zip(&prints.pairs.entries) {
        let all = fingerprints.entry(*number).or_insert_with(|| (Span { count: 0, ..*span }, Vec::new()));
        all.0 = all.0.with(*span);
    }
    for ((pair, client, host), span) in &prints.uses.entries {
        let uses = at(&pairs, *pair).and_then(|number| fingerprints.get_mut(&number));
        if let (Some((_, uses)), Some(host)) = (uses, at(hosts, *host)) {
            uses.push(Used { client: *client, host, span: *span });
        }
    }
    let mut seen = connection.prepare_cached(SEEN)?;
    let mut again = connection.prepare_cached(AGAIN)?;
    let mut new = connection.prepare_cached(NEW)?;
    for (number, (span, mut uses)) in fingerprints {
        if uses.len() > bounds.places {
            // Those before would not outlast this batch.
            uses.sort_by_key(|one| (std::cmp::Reverse(one.span.last), one.client, one.host));
            uses.truncate(bounds.places);
        }
        uses.sort_by_key(|one| (one.client, one.host));
        let mut added = 0_usize;
        for Used { client, host, span: Span { first, last, count } } in uses {
            let address = client.to_string();
            if again.execute(params![first.0, last.0, count, number, address, host])? == 0 {
                added += new.execute(params![number, address, host, first.0, last.0, count])?;
            }
        }
        let Span { first, last, count } = span;
        let added = i64::try_from(added).unwrap_or(i64::MAX);
        let places: i64 = seen.query_row(params![first.0, last.0, count, added, number], |row| row.get(0))?;
        let places = usize::try_from(places).unwrap_or(0);
        if places > bounds.places {
            forget_uses(connection, number, places - bounds.places)?;
        }
    }
    make_room(connection, bounds)
}

/// A use of a fingerprint.
struct Used {
    client: IpAddr,
    host: i64,
    span: Span,
}

/// Numbers of the fingerprints of all pairs, in their order.
fn pairs(connection: &Connection, prints: &Prints, bounds: Bounds) -> rusqlite::Result<Vec<i64>> {
    let mut variants = connection.prepare_cached(VARIANTS)?;
    let mut insert = connection.prepare_cached(INSERT)?;
    // Of each JA4 what there is, by JA3: asked for once, for there may be as many JA3 as handshakes.
    let mut known: HashMap<u32, HashMap<Option<u128>, i64>> = HashMap::new();
    let mut numbers = Vec::with_capacity(prints.pairs.entries.len());
    for ((ja4, ja3), span) in &prints.pairs.entries {
        let entry = usize::try_from(*ja4).ok().and_then(|at| prints.ja4s.entries.get(at));
        let text = entry.and_then(|(text, ())| std::str::from_utf8(text).ok()).unwrap_or_default();
        let of_ja4 = match known.entry(*ja4) {
            std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::hash_map::Entry::Vacant(new) => {
                let found = variants.query_map([text], |row| {
                    let ja3 = row.get_ref(1)?.as_blob().unwrap_or_default();
                    Ok((ja3.try_into().ok().map(u128::from_be_bytes), row.get(0)?))
                })?;
                new.insert(found.collect::<rusqlite::Result<_>>()?)
            }
        };
        let mut ja3 = Some(*ja3);
        let kept = of_ja4.len() - usize::from(of_ja4.contains_key(&None));
        if !of_ja4.contains_key(&ja3) && kept >= bounds.variants {
            ja3 = None;
        }
        let number = match of_ja4.get(&ja3) {
            Some(number) => *number,
            None => {
                let octets = ja3.map(u128::to_be_bytes);
                let octets = octets.as_ref().map_or(&[][..], |octets| octets);
                insert.insert(params![text, octets, span.first.0, span.last.0])?
            }
        };
        of_ja4.insert(ja3, number);
        numbers.push(number);
    }
    Ok(numbers)
}

/// Forgets uses of a fingerprint, the oldest first.
fn forget_uses(connection: &Connection, number: i64, many: usize) -> rusqlite::Result<()> {
    let many = i64::try_from(many).unwrap_or(i64::MAX);
    let forgotten = connection.prepare_cached(FORGET_OLDEST)?.execute([number, many])?;
    let forgotten = i64::try_from(forgotten).unwrap_or(i64::MAX);
    connection
        .prepare_cached("UPDATE fingerprint SET places = places - ? WHERE id = ?")?
        .execute([forgotten, number])?;
    Ok(())
}

/// Forgets fingerprints, the oldest first, where there are too many of them or of their uses: somewhat more than need be, for
/// to look for the oldest takes its time.
fn make_room(connection: &Connection, bounds: Bounds) -> rusqlite::Result<()> {
    let total = "SELECT count(*), coalesce(sum(places), 0) FROM fingerprint";
    let (mut fingerprints, mut uses): (i64, i64) =
        connection.prepare_cached(total)?.query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    if fingerprints <= bounds.fingerprints && uses <= bounds.uses {
        return Ok(());
    }
    let [most, most_uses] = [bounds.fingerprints, bounds.uses].map(|bound| bound - bound / 10);
    let mut oldest = Vec::new();
    {
        let mut statement = connection.prepare_cached("SELECT id, places FROM fingerprint ORDER BY last, id")?;
        let mut rows = statement.query([])?;
        while fingerprints > most || uses > most_uses {
            let Some(row) = rows.next()? else { break };
            oldest.push(row.get::<_, i64>(0)?);
            fingerprints -= 1;
            uses -= row.get::<_, i64>(1)?;
        }
    }
    for number in &oldest {
        connection.prepare_cached("DELETE FROM fingerprint_use WHERE fingerprint = ?")?.execute([number])?;
        connection.prepare_cached("DELETE FROM fingerprint WHERE id = ?")?.execute([number])?;
    }
    connection.prepare_cached(FORGOTTEN)?.execute([i64::try_from(oldest.len()).unwrap_or(i64::MAX)])?;
    Ok(())
}

const VARIANTS: &str = "SELECT id, ja3 FROM fingerprint WHERE ja4 = ?";
const INSERT: &str = "INSERT INTO fingerprint (ja4, ja3, first, last, count, places) VALUES (?, ?, ?, ?, 0, 0)";
const SEEN: &str = "UPDATE fingerprint SET first = min(first, ?), last = max(last, ?), count = count + ?,
    places = places + ? WHERE id = ? RETURNING places";
const AGAIN: &str = "UPDATE fingerprint_use SET first = min(first, ?), last = max(last, ?), count = count + ?
    WHERE fingerprint = ? AND address = ? AND host = ?";
const NEW: &str = "INSERT INTO fingerprint_use VALUES (?, ?, ?, ?, ?, ?)";
const FORGET_OLDEST: &str = "DELETE FROM fingerprint_use WHERE fingerprint = ?1 AND (address, host) IN
    (SELECT address, host FROM fingerprint_use WHERE fingerprint = ?1 ORDER BY last, address DESC, host DESC LIMIT ?2)";
const FORGOTTEN: &str = "INSERT INTO meta VALUES ('fingerprints_forgotten', ?)
    ON CONFLICT DO UPDATE SET value = value + excluded.value";

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::detect::gist::{Gist, HostMemo};
    use crate::event::sample;
    use crate::inventory::{Gather, Inventory, Store};
    use crate::sink::{About, Event, Sink as _};

    const SMALL: Bounds = Bounds { variants: 3, places: 4, fingerprints: 20, uses: 1_000 };

    fn kind((ja3, ja4): (u32, u32)) -> ClientKind {
        let ja4 = format!("t13d1516h2_{ja4:012x}_e5627efa2ab1");
        ClientKind { hash: 0, ja4, ja3: format!("{ja3:032x}") }
    }

    fn client(number: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, number])
    }

    /// One hello after another, so many of them in a batch, to hosts 0 to 255 with rows from 1 on.
    fn store(hellos: &[((u32, u32), u8, u32)], batch: usize, bounds: Bounds) -> Store {
        let store = Store::in_memory().unwrap();
        let hosts = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 256)
            INSERT INTO host SELECT i, 1, i, 'tcp', 0, 0, 0 FROM n";
        store.connection().execute_batch(&format!("INSERT INTO name VALUES (1, 'a.example.org'); {hosts}")).unwrap();
        let rows: Vec<i64> = (1..=256).collect();
        let mut seconds = 0;
        for hellos in hellos.chunks(batch) {
            let mut prints = Prints::default();
            for (pair, number, host) in hellos {
                seconds += 1;
                prints.add(&kind(*pair), (client(*number), *host), Timestamp::new(seconds, 0));
            }
            write_within(&store.connection(), (&prints, &rows), bounds).unwrap();
        }
        store
    }

    fn rows(store: &Store, sql: &str) -> Vec<String> {
        let connection = store.connection();
        let mut statement = connection.prepare(sql).unwrap();
        let found = statement.query_map([], |row| row.get(0)).unwrap();
        found.map(Result::unwrap).collect()
    }

    fn everything(store: &Store) -> Vec<String> {
        let fingerprints = "SELECT concat_ws(' ', id, ja4, hex(ja3), first, last, count, places) FROM fingerprint
            ORDER BY id";
        let uses = "SELECT concat_ws(' ', fingerprint, address, host, first, last, count) FROM fingerprint_use
            ORDER BY fingerprint, address, host";
        [rows(store, fingerprints), rows(store, uses)].concat()
    }

    #[test]
    fn a_fingerprint_stands_once_and_its_uses_refer_to_it() {
        let hellos = [((1, 1), 1, 0), ((1, 1), 2, 0), ((1, 1), 1, 0), ((2, 1), 1, 0), ((1, 2), 1, 9)];
        let at = |seconds: i64| seconds * 1_000_000_000;
        let ja4 = |number: u32| kind((0, number)).ja4;
        let expected = [
            format!("1 {} {:032X} {} {} 3 2", ja4(1), 1, at(1), at(3)),
            format!("2 {} {:032X} {} {} 1 1", ja4(1), 2, at(4), at(4)),
            format!("3 {} {:032X} {} {} 1 1", ja4(2), 1, at(5), at(5)),
            format!("1 10.0.0.1 1 {} {} 2", at(1), at(3)),
            format!("1 10.0.0.2 1 {} {} 1", at(2), at(2)),
            format!("2 10.0.0.1 1 {} {} 1", at(4), at(4)),
            format!("3 10.0.0.1 10 {} {} 1", at(5), at(5)),
        ];
        for batch in [1, 2, 100] {
            assert_eq!(everything(&store(&hellos, batch, SMALL)), expected, "{batch}");
        }
    }

    #[test]
    fn the_ja3_of_a_client_that_shuffles_its_extensions_are_one_row() {
        let hellos: Vec<_> = (0..10).map(|number| ((number, 1), 1, 0)).chain([((1, 1), 1, 0)]).collect();
        for batch in [1, 4, 100] {
            let store = store(&hellos, batch, SMALL);
            // Those kept are known again; all others count as one.
            let found = rows(&store, "SELECT concat_ws(' ', hex(ja3), count, places) FROM fingerprint ORDER BY id");
            let kept = [(0, 1), (1, 2), (2, 1)].map(|(ja3, count)| format!("{ja3:032X} {count} 1"));
            assert_eq!(found, [&kept[..], &[" 7 1".to_owned()]].concat(), "{batch}");
        }
    }

    #[test]
    fn the_last_uses_of_a_fingerprint_are_kept_and_all_are_counted() {
        let hellos: Vec<_> = (1..=10).map(|number| ((1, 1), number, 0)).chain([((1, 1), 8, 0)]).collect();
        for batch in [1, 3, 7, 100] {
            let store = store(&hellos, batch, SMALL);
            let uses = rows(&store, "SELECT address || ' ' || count FROM fingerprint_use ORDER BY last");
            assert_eq!(uses, ["10.0.0.7 1", "10.0.0.9 1", "10.0.0.10 1", "10.0.0.8 2"], "{batch}");
            assert_eq!(rows(&store, "SELECT count || ' ' || places FROM fingerprint"), ["11 4"], "{batch}");
        }
        // One that is at the bound forgets none.
        let store = store(&hellos[..4], 1, SMALL);
        assert_eq!(rows(&store, "SELECT count || ' ' || places FROM fingerprint"), ["4 4"]);
    }

    #[test]
    fn fingerprints_last_seen_longest_ago_go_first_and_are_counted() {
        let distinct = |many: u32| (0..many).map(|number| ((number, number), 1, 0)).collect::<Vec<_>>();
        let count = |store: &Store| forgotten(&store.connection()).unwrap();
        let full = store(&distinct(20), 1, SMALL);
        assert_eq!((rows(&full, "SELECT ja4 FROM fingerprint").len(), count(&full)), (20, 0));
        // One more, and one that was seen again.
        let mut hellos = distinct(20);
        hellos.extend([((0, 0), 1, 0), ((99, 99), 1, 0)]);
        let over = store(&hellos, 1, SMALL);
        let left = rows(&over, "SELECT ja4 FROM fingerprint ORDER BY id");
        assert_eq!((left.len(), count(&over)), (18, 3));
        let has = |number: u32| left.contains(&kind((0, number)).ja4);
        assert!(has(0) && has(99) && !has(1) && !has(3) && has(4));
        let uses = "SELECT address FROM fingerprint_use WHERE fingerprint NOT IN (SELECT id FROM fingerprint)";
        assert!(rows(&over, uses).is_empty());
        // Their uses are bounded too: 4 and 3 of two fingerprints, with room for 6.
        let hellos: Vec<_> = (0..4).map(|host| ((1, 1), 1, host)).chain((0..3).map(|host| ((2, 2), 1, host))).collect();
        let over = store(&hellos, 1, Bounds { uses: 6, ..SMALL });
        assert_eq!((rows(&over, "SELECT ja4 FROM fingerprint"), count(&over)), (vec![kind((2, 2)).ja4], 1));
        assert_eq!(rows(&over, "SELECT address FROM fingerprint_use").len(), 3);
    }

    /// A flood in one batch stays within the bounds.
    #[test]
    fn a_batch_cannot_exceed_the_bounds() {
        let hello = |number: u32| ((number % 7, number % 100), u8::try_from(number % 251).unwrap(), number % 256);
        let hellos: Vec<_> = (0..3_000).map(hello).collect();
        let store = store(&hellos, 10_000, SMALL);
        assert_eq!(rows(&store, "SELECT ja4 FROM fingerprint").len(), 18);
        let most = "SELECT 'x' FROM fingerprint_use GROUP BY fingerprint HAVING count(*) > 4";
        assert!(rows(&store, most).is_empty());
        let wrong = "SELECT ja4 FROM fingerprint WHERE places <>
            (SELECT count(*) FROM fingerprint_use WHERE fingerprint = id)";
        assert!(rows(&store, wrong).is_empty());
    }

    #[test]
    fn an_inventory_that_ends_with_the_process_keeps_none() {
        let folder = tempfile::tempdir().unwrap();
        let mut observation = sample::observation();
        let hello = observation.handshake.client_hello.as_deref().unwrap();
        let kind = ClientKind::of(hello, observation.handshake.protocol);
        let fingerprint = format!("{} {} 2", kind.ja4, kind.ja3.to_uppercase());
        let file = Inventory::open(&folder.path().join("i")).unwrap();
        for (inventory, expected) in [(Inventory::in_memory().unwrap(), vec![]), (file, vec![fingerprint])] {
            let inventory = Arc::new(inventory);
            let mut gather = Gather::new(Arc::clone(&inventory), 1);
            // Whether judgement made the kind of client out or not.
            let ends = observation.ends;
            let gist = Gist::of(&observation.handshake, &ends, (None, &mut HostMemo::default()));
            for gist in [None, Some(gist)] {
                observation.gist = gist;
                gather.write(&Event { line: b"{}\n", about: About::Handshake(&observation) }).unwrap();
            }
            gather.flush().unwrap();
            let sql = "SELECT concat_ws(' ', ja4, hex(ja3), count) FROM fingerprint";
            assert_eq!(rows(inventory.store(), sql), expected);
            let sql = "SELECT address || ' ' || name.name FROM fingerprint_use JOIN host ON host.id = host
                JOIN name ON name.id = host.name";
            assert_eq!(rows(inventory.store(), sql).len(), expected.len());
        }
    }

    #[test]
    fn what_is_no_fingerprint_is_left_out() {
        let mut prints = Prints::default();
        for (ja3, ja4) in [("", "t13"), ("x", "t13d1516h2_8daaf6152771_e5627efa2ab1")] {
            let kind = ClientKind { hash: 0, ja4: ja4.to_owned(), ja3: ja3.to_owned() };
            prints.add(&kind, (client(1), 0), Timestamp(1));
        }
        assert!(prints.pairs.entries.is_empty() && prints.uses.entries.is_empty());
    }
}
