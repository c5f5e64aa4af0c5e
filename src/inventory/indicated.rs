//! Names, addresses and fingerprints of the inventory that are indicators.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use rusqlite::{Connection, Statement, params};

use crate::detect::knowledge::Knowledge;
use crate::detect::sighting::HostKey;
use crate::detect::stored::Use;
use crate::detect::stored::indicated::{Indicated, Indicator, Place};
use crate::time::Timestamp;
use crate::x509::Sha256;

use super::listed::{Applied, host, uses};

/// Places of all indicators together.
const MAX_PLACES: usize = 10_000;
/// Servers of a name.
const MAX_SERVERS: u32 = 64;
/// Names that were asked for at an address, and places of a certificate.
const MAX_NAMES: u32 = 256;
/// Certificates, then addresses, then fingerprints, whose places are asked for: whoever has none takes no room, and yet time.
const MAX_QUESTIONS: usize = 50_000;

/// What is found, and what there was no room for.
#[derive(Debug)]
pub(super) struct Search {
    found: BTreeMap<Indicator, Indicated>,
    /// Places that there is room for.
    room: usize,
    /// What may still be asked in this walk.
    questions: usize,
    /// Places that were not looked at, and names in certificates and addresses whose places were not.
    pub(super) left_out: u64,
}

/// Every name, address and fingerprint once, each looked up among the indicators: six walks, however many indicators there
/// are. Only what is found is asked for, by an index.
pub(super) fn search(
    connection: &Connection,
    knowledge: &Knowledge,
    applied: Option<&Applied>,
) -> rusqlite::Result<Search> {
    let mut search = Search::new(MAX_PLACES);
    let since = applied.map_or((-1, i64::MIN), |applied| (applied.newest, applied.until.nanos()));
    let [names, addresses, fingerprints] = knowledge.indicates();
    if names || addresses {
        search.hosts(connection, knowledge, since.1)?;
    }
    if names {
        search.questions = MAX_QUESTIONS;
        search.certificates(connection, knowledge, since)?;
    }
    if addresses {
        search.questions = MAX_QUESTIONS;
        search.servers(connection, knowledge, since.1)?;
        search.clients(connection, knowledge, since.1)?;
        search.users(connection, knowledge, since.1)?;
    }
    if fingerprints {
        search.questions = MAX_QUESTIONS;
        search.fingerprints(connection, knowledge, since.1)?;
    }
    Ok(search)
}

impl Search {
    fn new(room: usize) -> Self {
        Self { found: BTreeMap::new(), room, questions: MAX_QUESTIONS, left_out: 0 }
    }

    /// What was found, in the order of the lists.
    pub(super) fn into_found(self) -> Vec<Indicated> {
        let mut found: Vec<Indicated> = self.found.into_values().collect();
        for one in &mut found {
            one.places.sort_by_key(|place| std::cmp::Reverse(place.span.map(|(_, last)| last)));
        }
        found
    }

    /// Whether there is room for a place; else it is counted.
    fn has_room(&mut self) -> bool {
        let has = self.room > 0;
        self.left_out = self.left_out.saturating_add(u64::from(!has));
        has
    }

    /// Whether places may be asked for; else what they are of is counted.
    fn may_ask(&mut self) -> bool {
        let may = self.room > 0 && self.questions > 0;
        self.left_out = self.left_out.saturating_add(u64::from(!may));
        self.questions = self.questions.saturating_sub(usize::from(may));
        may
    }

    fn add(&mut self, (indicator, source): (Indicator, String), place: Place) {
        self.room = self.room.saturating_sub(1);
        let new = || Indicated { indicator: indicator.clone(), source, places: Vec::new(), elsewhere: 0 };
        self.found.entry(indicator.clone()).or_insert_with(new).places.push(place);
    }

    /// What clients asked for, certificate or none.
    fn hosts(&mut self, connection: &Connection, knowledge: &Knowledge, since: i64) -> rusqlite::Result<()> {
        let mut statement = connection.prepare(HOSTS)?;
        let mut servers = connection.prepare(SERVERS_OF_NAME)?;
        let mut rows = statement.query([since])?;
        while let Some(row) = rows.next()? {
            let (name, port) = (row.get_ref(1)?.as_str()?, row.get(2)?);
            let address = name.strip_prefix("ip:").and_then(|address| address.parse::<IpAddr>().ok());
            let hit = match address {
                Some(address) => knowledge.indicated_address(address),
                None => knowledge.indicated_name(name),
            };
            let Some(hit) = hit else { continue };
            if !self.has_room() {
                continue;
            }
            let mut place = Place {
                found: address.map_or_else(|| name.to_owned(), |address| address.to_string()),
                host: Some(host(name, port)),
                servers: address.into_iter().collect(),
                span: Some((Timestamp(row.get(4)?), Timestamp(row.get(5)?))),
                count: number(row.get(6)?),
                ..Place::default()
            };
            if address.is_none() {
                let id: i64 = row.get(0)?;
                let transport = row.get_ref(3)?.as_str()?;
                let mut found = servers.query(params![id, port, transport, MAX_SERVERS])?;
                while let Some(row) = found.next()? {
                    place.servers.extend(row.get_ref(0)?.as_str()?.parse::<IpAddr>());
                    place.clients = place.clients.max(Some(number(row.get(1)?)));
                }
                // One server may stand in several virtual networks.
                place.servers.dedup();
            }
            self.add(hit, place);
        }
        Ok(())
    }

    /// Names in certificates that servers showed.
    fn certificates(
        &mut self,
        connection: &Connection,
        knowledge: &Knowledge,
        (newest, until): (i64, i64),
    ) -> rusqlite::Result<()> {
        let mut statement = connection.prepare(CERTIFICATE_NAMES)?;
        let mut rows = statement.query([newest, until])?;
        // The names of a certificate come one after another.
        let mut asked: Option<(i64, Vec<Use>)> = None;
        while let Some(row) = rows.next()? {
            let name = row.get_ref(1)?.as_str()?;
            let Some(hit) = knowledge.indicated_name(name) else { continue };
            let id: i64 = row.get(0)?;
            let places = match asked.take() {
                Some((of, places)) if of == id && self.room > 0 => places,
                _ if self.may_ask() => uses(connection, (id, false), MAX_NAMES)?,
                _ => continue,
            };
            let (_, places) = asked.insert((id, places));
            let certificate = Some((Arc::from(row.get_ref(2)?.as_str()?), Sha256(row.get(3)?)));
            for place in places {
                // The client asked for it: that is told above.
                if place.host.server_name() == Some(name) || !self.has_room() {
                    continue;
                }
                let place = Place {
                    found: name.to_owned(),
                    host: Some(place.host.clone()),
                    servers: vec![place.server.address],
                    client: None,
                    certificate: certificate.clone(),
                    span: Some((place.first, place.last)),
                    count: place.count,
                    clients: Some(place.clients),
                    told_by_ja3: false,
                };
                self.add(hit.clone(), place);
            }
        }
        Ok(())
    }

    /// Where servers listen.
    fn servers(&mut self, connection: &Connection, knowledge: &Knowledge, since: i64) -> rusqlite::Result<()> {
        let mut statement = connection.prepare(ENDPOINTS)?;
        let mut names = connection.prepare(NAMES_OF_SERVER)?;
        // Without a name the host is the address: that is told above.
        let told: HashSet<(String, u16)> = self
            .found
            .values()
            .flat_map(|one| &one.places)
            .filter_map(|place| Some((place.found.clone(), place.host.as_ref()?.port)))
            .collect();
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let (ip, port): (_, u16) = (row.get_ref(1)?.as_str()?, row.get(2)?);
            let Ok(address) = ip.parse::<IpAddr>() else { continue };
            let Some(hit) = knowledge.indicated_address(address) else { continue };
            if !self.may_ask() {
                continue;
            }
            let id: i64 = row.get(0)?;
            let mut found = names.query(params![id, MAX_NAMES])?;
            let mut is_empty = true;
            while let Some(row) = found.next()? {
                is_empty = false;
                let (name, last): (_, i64) = (row.get_ref(0)?.as_str()?, row.get(2)?);
                if name.starts_with("ip:") || last <= since || !self.has_room() {
                    continue;
                }
                let place = Place {
                    found: ip.to_owned(),
                    host: Some(host(name, port)),
                    servers: vec![address],
                    span: Some((Timestamp(row.get(1)?), Timestamp(last))),
                    count: number(row.get(3)?),
                    clients: Some(number(row.get(4)?)),
                    ..Place::default()
                };
                self.add(hit.clone(), place);
            }
            if is_empty && !told.contains(&(ip.to_owned(), port)) && self.has_room() {
                let host = Some(host(&format!("ip:{ip}"), port));
                self.add(hit, Place { found: ip.to_owned(), host, servers: vec![address], ..Place::default() });
            }
        }
        Ok(())
    }

    /// From where client certificates were used.
    fn clients(&mut self, connection: &Connection, knowledge: &Knowledge, since: i64) -> rusqlite::Result<()> {
        let mut statement = connection.prepare(CLIENTS)?;
        let mut rows = statement.query([since])?;
        while let Some(row) = rows.next()? {
            let ip = row.get_ref(0)?.as_str()?;
            let Ok(address) = ip.parse::<IpAddr>() else { continue };
            let Some(hit) = knowledge.indicated_address(address) else { continue };
            if !self.has_room() {
                continue;
            }
            let place = Place {
                found: ip.to_owned(),
                client: Some(address),
                certificate: Some((Arc::from(row.get_ref(4)?.as_str()?), Sha256(row.get(5)?))),
                span: Some((Timestamp(row.get(1)?), Timestamp(row.get(2)?))),
                count: number(row.get(3)?),
                ..Place::default()
            };
            self.add(hit, place);
        }
        Ok(())
    }

    /// Clients of which fingerprints are kept: with which hosts they spoke.
    fn users(&mut self, connection: &Connection, knowledge: &Knowledge, since: i64) -> rusqlite::Result<()> {
        let mut statement = connection.prepare(USERS)?;
        let mut host_of = connection.prepare(HOST)?;
        // A client with several fingerprints is one; its hosts are asked for once.
        let mut known: BTreeMap<(IpAddr, i64), ((Indicator, String), Place)> = BTreeMap::new();
        let mut rows = statement.query([since])?;
        while let Some(row) = rows.next()? {
            let ip = row.get_ref(0)?.as_str()?;
            let Ok(address) = ip.parse::<IpAddr>() else { continue };
            let Some(hit) = knowledge.indicated_address(address) else { continue };
            let (id, count) = (row.get(1)?, number(row.get(4)?));
            let (first, last) = (Timestamp(row.get(2)?), Timestamp(row.get(3)?));
            if let Some((_, place)) = known.get_mut(&(address, id)) {
                let span = place.span.unwrap_or((first, last));
                place.span = Some((span.0.min(first), span.1.max(last)));
                place.count = place.count.saturating_add(count);
                continue;
            }
            if known.len() >= self.room {
                self.left_out = self.left_out.saturating_add(1);
                continue;
            }
            let (name, port): (String, u16) = host_of.query_row([id], |row| Ok((row.get(0)?, row.get(1)?)))?;
            let server = name.strip_prefix("ip:").and_then(|address| address.parse().ok());
            let place = Place {
                found: ip.to_owned(),
                host: Some(host(&name, port)),
                servers: server.into_iter().collect(),
                client: Some(address),
                span: Some((first, last)),
                count,
                ..Place::default()
            };
            known.insert((address, id), (hit, place));
        }
        known.into_values().for_each(|(hit, place)| self.add(hit, place));
        Ok(())
    }

    /// What clients said of their software.
    fn fingerprints(&mut self, connection: &Connection, knowledge: &Knowledge, since: i64) -> rusqlite::Result<()> {
        let mut hits: BTreeMap<Indicator, (String, Vec<Print>)> = BTreeMap::new();
        let mut statement = connection.prepare(FINGERPRINTS)?;
        let mut rows = statement.query([since])?;
        while let Some(row) = rows.next()? {
            let values = [hexadecimal(row.get_ref(2)?.as_blob()?), row.get(1)?];
            let [ja3, ja4] = &values;
            let ja3 = knowledge.indicated_fingerprint("ja3", ja3);
            let ja4 = knowledge.indicated_fingerprint("ja4", ja4);
            let (id, count) = (row.get(0)?, number(row.get(3)?));
            // One alert for each hello, as on the wire.
            let both = ja3.is_some() && ja4.is_some();
            for ((hit, told_by_ja3), value) in [(ja3, false), (ja4, both)].into_iter().zip(values) {
                if let Some((indicator, source)) = hit {
                    let (_, prints) = hits.entry(indicator).or_insert_with(|| (source, Vec::new()));
                    prints.push(Print { id, value, count, told_by_ja3 });
                }
            }
        }
        let mut uses = connection.prepare(USES)?;
        for (indicator, (source, prints)) in hits {
            self.uses(&mut uses, (indicator, source, prints), since)?;
        }
        Ok(())
    }

    /// Which clients used the fingerprints of an indicator with which hosts: each pair of them is a place.
    fn uses(
        &mut self,
        statement: &mut Statement<'_>,
        (indicator, source, prints): (Indicator, String, Vec<Print>),
        since: i64,
    ) -> rusqlite::Result<()> {
        let mut found: Vec<Place> = Vec::new();
        let mut known: HashMap<(IpAddr, HostKey), usize> = HashMap::new();
        let mut elsewhere = 0_u64;
        for print in prints {
            if !self.may_ask() {
                continue;
            }
            let mut unknown = print.count;
            let mut rows = statement.query([print.id])?;
            while let Some(row) = rows.next()? {
                let (last, count): (i64, _) = (row.get(4)?, number(row.get(5)?));
                unknown = unknown.saturating_sub(count);
                let Ok(client) = row.get_ref(0)?.as_str()?.parse::<IpAddr>() else { continue };
                if last <= since {
                    continue;
                }
                let name = row.get_ref(1)?.as_str()?;
                let server = name.strip_prefix("ip:").and_then(|address| address.parse::<IpAddr>().ok());
                let (host, first, last) = (host(name, row.get(2)?), Timestamp(row.get(3)?), Timestamp(last));
                let before = known.get(&(client, host.clone())).and_then(|at| found.get_mut(*at));
                if let Some(place) = before {
                    let span = place.span.unwrap_or((first, last));
                    place.span = Some((span.0.min(first), span.1.max(last)));
                    place.count = place.count.saturating_add(count);
                    place.told_by_ja3 &= print.told_by_ja3;
                } else if self.has_room() {
                    self.room -= 1;
                    known.insert((client, host.clone()), found.len());
                    found.push(Place {
                        found: print.value.clone(),
                        host: Some(host),
                        servers: server.into_iter().collect(),
                        client: Some(client),
                        span: Some((first, last)),
                        count,
                        told_by_ja3: print.told_by_ja3,
                        ..Place::default()
                    });
                }
            }
            if !print.told_by_ja3 {
                elsewhere = elsewhere.saturating_add(unknown);
            }
        }
        // Of those that came since the lists were applied last it is not known how many they are.
        let elsewhere = if since == i64::MIN { elsewhere } else { 0 };
        if !found.is_empty() {
            self.found.insert(indicator.clone(), Indicated { indicator, source, places: found, elsewhere });
        }
        Ok(())
    }
}

/// A row of the table of fingerprints.
struct Print {
    id: i64,
    value: String,
    count: u64,
    told_by_ja3: bool,
}

fn hexadecimal(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

fn number(count: i64) -> u64 {
    u64::try_from(count).unwrap_or(0)
}

const HOSTS: &str = "SELECT host.name, name.name, host.port, host.transport, host.first, host.last, host.count
    FROM host CROSS JOIN name ON name.id = host.name WHERE host.last > ?1 ORDER BY host.id";

/// By `sighting_name`.
const SERVERS_OF_NAME: &str = "SELECT endpoint.ip, max(sighting.clients)
    FROM sighting CROSS JOIN endpoint ON endpoint.id = sighting.endpoint
    WHERE sighting.name = ?1 AND sighting.role = 0 AND endpoint.port = ?2 AND endpoint.transport = ?3
    GROUP BY endpoint.id ORDER BY max(sighting.last) DESC, endpoint.ip LIMIT ?4";

const CERTIFICATE_NAMES: &str = "SELECT certificate.id, certificate_name.name, certificate.subject, certificate.sha256
    FROM certificate CROSS JOIN certificate_name ON certificate_name.certificate = certificate.id
    WHERE certificate.id > ?1 OR certificate.last > ?2";

const ENDPOINTS: &str = "SELECT id, ip, port FROM endpoint ORDER BY id";

/// By `sighting_endpoint`.
const NAMES_OF_SERVER: &str = "SELECT name.name, min(sighting.first), max(sighting.last), sum(sighting.count),
        max(sighting.clients)
    FROM sighting CROSS JOIN name ON name.id = sighting.name WHERE sighting.endpoint = ?1 AND sighting.role = 0
    GROUP BY name.id ORDER BY 3 DESC, 1 LIMIT ?2";

const CLIENTS: &str = "SELECT client.address, client.first, client.last, client.count, certificate.subject,
        certificate.sha256
    FROM client CROSS JOIN certificate ON certificate.id = client.certificate WHERE client.last > ?1
    ORDER BY client.certificate, client.address";

/// A table of bounded length.
const USERS: &str = "SELECT address, host, first, last, count FROM fingerprint_use WHERE last > ?1
    ORDER BY fingerprint, address, host";

const HOST: &str = "SELECT name.name, host.port FROM host CROSS JOIN name ON name.id = host.name WHERE host.id = ?1";

/// A table of bounded length.
const FINGERPRINTS: &str = "SELECT id, ja4, ja3, count FROM fingerprint WHERE last > ?1 ORDER BY id";

/// By the primary key.
const USES: &str = "SELECT use.address, name.name, host.port, use.first, use.last, use.count
    FROM fingerprint_use AS use CROSS JOIN host ON host.id = use.host CROSS JOIN name ON name.id = host.name
    WHERE use.fingerprint = ?1 ORDER BY use.last DESC, use.address, name.name, host.port, host.transport";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::knowledge::NamedList;
    use crate::detect::lists::List;
    use crate::inventory::Store;

    /// Certificates with ten names each, each shown at an address of its own, to clients that asked for another name.
    fn store(certificates: i64) -> Store {
        let store = Store::in_memory().unwrap();
        let connection = store.connection();
        connection.execute_batch("BEGIN; INSERT INTO name VALUES (1, 'other.example.net')").unwrap();
        for id in 1..=certificates {
            let digest = format!("{id:032}");
            let certificate = "INSERT INTO certificate (id, sha256, sha1, subject, serial, signature_algorithm, is_ca,
                self_issued, first, last, count) VALUES (?1, CAST(?2 AS BLOB), x'', 'CN=x', '01', '', 0, 0, 1, 9, 1)";
            connection.execute(certificate, params![id, digest]).unwrap();
            let endpoint = "INSERT INTO endpoint VALUES (?1, ?2, 443, 'tcp', 0)";
            connection.execute(endpoint, params![id, format!("192.0.2.{id}")]).unwrap();
            let sighting = "INSERT INTO sighting VALUES (?1, ?1, 1, 0, 1, 9, 1, 1, x'')";
            connection.execute(sighting, [id]).unwrap();
            for name in 0..10 {
                let name = format!("n{id}-{name}.example.org");
                connection.execute("INSERT INTO certificate_name VALUES (?1, ?2)", params![id, name]).unwrap();
            }
        }
        connection.execute_batch("COMMIT").unwrap();
        drop(connection);
        store
    }

    fn knowledge() -> Knowledge {
        let list = List::indicators("name *.example.org\naddress 192.0.2.0/24\n");
        Knowledge { indicators: vec![NamedList { name: "list".to_owned(), list }], ..Knowledge::default() }
    }

    /// Places that were found, questions that were asked for them, and what was left out.
    fn found(search: &Search, questions: usize) -> (usize, usize, u64) {
        let places = search.found.values().map(|one| one.places.len()).sum();
        (places, questions - search.questions, search.left_out)
    }

    #[test]
    fn a_certificate_is_asked_about_once() {
        let store = store(3);
        // With room for all; until there is no more; with none.
        for (room, wanted) in [(1_000, (30, 3, 0)), (15, (15, 2, 15)), (0, (0, 0, 30))] {
            let mut search = Search::new(room);
            search.certificates(&store.connection(), &knowledge(), (-1, i64::MIN)).unwrap();
            assert_eq!(found(&search, MAX_QUESTIONS), wanted, "room for {room}");
        }
    }

    #[test]
    fn an_address_is_asked_about_while_there_is_room() {
        for (room, wanted) in [(1_000, (3, 3, 0)), (2, (2, 2, 1)), (0, (0, 0, 3))] {
            let mut search = Search::new(room);
            search.servers(&store(3).connection(), &knowledge(), i64::MIN).unwrap();
            assert_eq!(found(&search, MAX_QUESTIONS), wanted, "room for {room}");
        }
    }

    /// What has no places takes no room.
    #[test]
    fn questions_are_bounded() {
        let store = store(5);
        store.connection().execute_batch("DELETE FROM sighting WHERE certificate < 3").unwrap();
        let mut search = Search { questions: 3, ..Search::new(1_000) };
        search.certificates(&store.connection(), &knowledge(), (-1, i64::MIN)).unwrap();
        assert_eq!(found(&search, 3), (10, 3, 20));
        // Nothing new at the first four.
        let mut search = Search { questions: 3, ..Search::new(1_000) };
        search.servers(&store.connection(), &knowledge(), 9).unwrap();
        assert_eq!((search.questions, search.left_out), (0, 2));
    }

    /// So many fingerprints, JA3 and JA4 of the same number, of each of which three uses are stored and one is counted.
    fn fingerprints(many: i64) -> Store {
        let store = Store::in_memory().unwrap();
        let connection = store.connection();
        connection
            .execute_batch(
                "INSERT INTO name VALUES (1, 'a.example.org'); INSERT INTO host VALUES (1, 1, 443, 'tcp', 0, 9, 9)",
            )
            .unwrap();
        for id in 1..=many {
            let fingerprint = "INSERT INTO fingerprint VALUES (?1, ?2, ?3, 1, 9, 4, 3)";
            let ja3 = i128::from(id).to_be_bytes();
            connection.execute(fingerprint, params![id, format!("t13d1516h2_8daaf6152771_{id:012x}"), ja3]).unwrap();
            for last in 7..=9 {
                let used = "INSERT INTO fingerprint_use VALUES (?1, ?2, 1, 1, ?3, 1)";
                connection.execute(used, params![id, format!("10.0.0.{last}"), last]).unwrap();
            }
        }
        drop(connection);
        store
    }

    fn prints(lines: impl Iterator<Item = String>) -> Knowledge {
        let list = List::indicators(&lines.collect::<String>());
        assert!(list.bad_lines.is_empty());
        Knowledge { indicators: vec![NamedList { name: "list".to_owned(), list }], ..Knowledge::default() }
    }

    #[test]
    fn fingerprints_are_asked_about_while_there_is_room() {
        let store = fingerprints(5);
        let listed = prints((3..9).map(|id| format!("ja4 t13d1516h2_8daaf6152771_{id:012x}\n")));
        for (room, wanted) in [(1_000, (9, 3, 0)), (4, (4, 2, 3)), (0, (0, 0, 3))] {
            let mut search = Search::new(room);
            search.fingerprints(&store.connection(), &listed, i64::MIN).unwrap();
            assert_eq!(found(&search, MAX_QUESTIONS), wanted, "room for {room}");
        }
        let mut search = Search { questions: 1, ..Search::new(1_000) };
        search.fingerprints(&store.connection(), &listed, i64::MIN).unwrap();
        assert_eq!(found(&search, 1), (3, 1, 2));
        let one = search.into_found().remove(0);
        assert_eq!((one.elsewhere, one.places[0].client), (1, Some([10, 0, 0, 9].into())), "the last use first");
        // Only what came since, and of that it is not known how often it was elsewhere.
        for (since, wanted) in [(8, (3, 3, 0)), (9, (0, 0, 0))] {
            let mut search = Search::new(1_000);
            search.fingerprints(&store.connection(), &listed, since).unwrap();
            assert_eq!(found(&search, MAX_QUESTIONS), wanted, "since {since}");
            assert!(search.into_found().iter().all(|one| one.elsewhere == 0));
        }
    }

    /// A client that has an indicator's address stands once for each host, whatever it said of its software.
    #[test]
    fn clients_of_fingerprints_are_found_by_address() {
        let store = fingerprints(5);
        let extra = "INSERT INTO name VALUES (2, 'ip:192.0.2.9');
            INSERT INTO host VALUES (2, 2, 853, 'tcp', 0, 9, 9);
            INSERT INTO fingerprint_use VALUES (2, '10.0.0.8', 2, 4, 5, 7)";
        store.connection().execute_batch(extra).unwrap();
        let listed = prints(["address 10.0.0.8/31\n".to_owned()].into_iter());
        for (room, wanted) in [(1_000, (3, 0)), (2, (2, 1)), (0, (0, 11))] {
            let mut search = Search::new(room);
            search.users(&store.connection(), &listed, i64::MIN).unwrap();
            let (places, _, left_out) = found(&search, MAX_QUESTIONS);
            assert_eq!((places, left_out), wanted, "room for {room}");
        }
        let mut search = Search::new(1_000);
        search.users(&store.connection(), &listed, 4).unwrap();
        let one = search.into_found().remove(0);
        let places: Vec<_> = one
            .places
            .iter()
            .map(|place| {
                let (first, last) = place.span.unwrap();
                (place.found.as_str(), place.host.as_ref().unwrap().text(), [first.0, last.0], place.count)
            })
            .collect();
        let name = "a.example.org:443".to_owned();
        assert_eq!(
            places,
            [
                ("10.0.0.9", name.clone(), [1, 9], 5),
                ("10.0.0.8", name, [1, 8], 5),
                ("10.0.0.8", "ip:192.0.2.9:853".to_owned(), [4, 5], 7)
            ]
        );
        assert_eq!(one.places[2].servers, ["192.0.2.9".parse::<IpAddr>().unwrap()]);
        // Only what came since, and only who has the address.
        for (since, address, wanted) in [(8, "10.0.0.8/31", 1), (9, "10.0.0.8/31", 0), (0, "10.0.0.1", 0)] {
            let mut search = Search::new(1_000);
            let listed = prints([format!("address {address}\n")].into_iter());
            search.users(&store.connection(), &listed, since).unwrap();
            assert_eq!(found(&search, MAX_QUESTIONS).0, wanted, "{since} {address}");
        }
    }

    #[test]
    fn a_place_of_several_fingerprints_is_one_place() {
        let store = fingerprints(3);
        store
            .connection()
            .execute("UPDATE fingerprint SET ja4 = 't13d1516h2_8daaf6152771_x' || id WHERE id = 3", [])
            .unwrap();
        store
            .connection()
            .execute("UPDATE fingerprint SET ja4 = 't13d1516h2_8daaf6152771_000000000001'  WHERE id = 2", [])
            .unwrap();
        let ja4 = "ja4 t13d1516h2_8daaf6152771_000000000001\n".to_owned();
        let of = |knowledge: &Knowledge| {
            let mut search = Search::new(1_000);
            search.fingerprints(&store.connection(), knowledge, i64::MIN).unwrap();
            let found = search.into_found().into_iter();
            let each = found.map(|one| {
                let told = one.places.iter().filter(|place| place.told_by_ja3).count();
                (one.indicator.kind, one.places.len(), one.places[0].count, one.elsewhere, told)
            });
            each.collect::<Vec<_>>()
        };
        assert_eq!(of(&prints([ja4.clone()].into_iter())), [("ja4", 3, 2, 2, 0)]);
        // The JA3 of one of them tells nothing of the other.
        let ja3 = |id: u32| format!("ja3 {id:032x}\n");
        assert_eq!(of(&prints([ja4.clone(), ja3(2)].into_iter())), [("ja3", 3, 1, 1, 0), ("ja4", 3, 2, 1, 0)]);
        store.connection().execute("UPDATE fingerprint SET ja4 = replace(ja4, 'h2', 'H2') WHERE id = 2", []).unwrap();
        let all = [("ja3", 3, 1, 1, 0), ("ja3", 3, 1, 1, 0), ("ja4", 3, 2, 0, 3)];
        assert_eq!(of(&prints([ja4, ja3(1), ja3(2)].into_iter())), all);
    }

    /// What is done for each row of the walks, and what for each hit.
    #[test]
    fn sightings_are_found_by_an_index() {
        let store = Store::in_memory().unwrap();
        let connection = store.connection();
        let plan = |sql: &str| -> Vec<String> {
            let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
            let unbound = vec![rusqlite::types::Null; statement.parameter_count()];
            let rows = statement.query_map(rusqlite::params_from_iter(unbound), |row| row.get(3)).unwrap();
            rows.collect::<Result<_, _>>().unwrap()
        };
        for (sql, index) in [
            (SERVERS_OF_NAME, "sighting USING INDEX sighting_name (name=?)"),
            (NAMES_OF_SERVER, "sighting USING INDEX sighting_endpoint (endpoint=?)"),
            (USES, "use USING PRIMARY KEY (fingerprint=?)"),
            (HOST, "host USING INTEGER PRIMARY KEY (rowid=?)"),
        ] {
            let plan = plan(sql);
            assert!(plan.iter().any(|step| step.starts_with("SEARCH ") && step.contains(index)), "{plan:?}");
            assert!(plan.iter().all(|step| !step.contains("SCAN")), "{plan:?}");
        }
        for (sql, walked) in [
            (HOSTS, Some("host")),
            (CERTIFICATE_NAMES, None),
            (ENDPOINTS, Some("endpoint")),
            (CLIENTS, Some("client")),
            (USERS, Some("fingerprint_use")),
            (FINGERPRINTS, Some("fingerprint")),
        ] {
            let plan = plan(sql);
            let scans: Vec<_> = plan.iter().filter_map(|step| step.strip_prefix("SCAN ")).collect();
            assert_eq!(
                scans.iter().map(|step| step.split(' ').next()).collect::<Vec<_>>(),
                Vec::from_iter(walked.map(Some))
            );
            assert!(plan.iter().all(|step| !step.contains("TEMP B-TREE") && !step.contains("sighting")), "{plan:?}");
        }
    }
}
