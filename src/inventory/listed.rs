//! Certificates of the inventory that lists loaded later name.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension as _, params};
use sha2::Digest as _;

use crate::detect::catalogue::INDICATOR_MATCH;
use crate::detect::crl::Crl;
use crate::detect::knowledge::Knowledge;
use crate::detect::sighting::HostKey;
use crate::detect::stored::indicated::Indicated;
use crate::detect::stored::{Digests, Listed, Use, Wanted, hits};
use crate::packet::{Endpoint, Transport};
use crate::time::{NANOS_PER_SECOND, Timestamp, ValidityTime};
use crate::x509::chain::SignatureMemo;
use crate::x509::roots::Pool;
use crate::x509::signature::Verdict;
use crate::x509::{Certificate, KeyKind, PublicKey, Sha256};

use super::answer::{Answer, Cell, Rows};
use super::indicated;
use super::{InventoryError, Store};

/// Listed certificates that are looked at, the last seen.
const MAX_LISTED: usize = 10_000;
/// Places of a certificate, the last used.
const MAX_USES: u32 = 4_096;
/// Clients of a client certificate.
const MAX_OWNERS: u32 = 256;
/// CAs that may have signed a revocation list, the last seen.
const MAX_CAS: u32 = 20_000;
/// `role.id` from which on the side is the client's.
const CLIENT: u8 = 4;
/// Bytes of verdicts on signatures.
const MEMO_BYTES: usize = 1 << 20;

/// Where and when lists were applied to an inventory last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Digest of the lists.
    pub lists: Sha256,
    /// The certificate that came last.
    pub newest: i64,
    /// The last packet.
    pub until: Timestamp,
}

/// What was found, and how many certificates beyond the bound were not looked at.
#[derive(Debug, Default)]
pub struct Found {
    /// Certificates, the last seen first.
    pub listed: Vec<Listed>,
    /// Not looked at.
    pub left_out: u64,
    /// Names, addresses and fingerprints, in the order of the lists.
    pub indicated: Vec<Indicated>,
    /// Places of them that were not looked at; names in certificates, addresses and fingerprints whose places were not count
    /// as one.
    pub left_out_places: u64,
    /// Fingerprints that are stored no more, where there are indicators of some, or of addresses.
    pub forgotten: u64,
}

/// A row of the table of certificates.
struct Stored {
    id: i64,
    last: Timestamp,
}

impl Store {
    /// Certificates, names, addresses and fingerprints that lists name, with where they were used: those that came, or were seen again,
    /// since `applied`.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn listed(&self, knowledge: &Knowledge, applied: Option<&Applied>) -> Result<Found, InventoryError> {
        let connection = self.connection();
        let mut candidates = candidates(&connection, knowledge, applied)?;
        candidates.sort_by_key(|stored| (std::cmp::Reverse(stored.last), stored.id));
        let left_out = u64::try_from(candidates.len().saturating_sub(MAX_LISTED)).unwrap_or(u64::MAX);
        candidates.truncate(MAX_LISTED);
        let cas = Authorities::read(&connection, knowledge)?;
        let mut listed = Vec::new();
        for stored in candidates {
            let Some(certificate) = parsed(&connection, stored.id)? else { continue };
            let issuers = cas.of(&certificate);
            for client in [false, true] {
                let uses = uses(&connection, (stored.id, client), MAX_USES)?;
                if uses.is_empty() {
                    continue;
                }
                // What a CRL says holds from a day on, and a hold up to another.
                let times = uses.iter().flat_map(|place| [place.first, place.last]);
                let times = times.map(|time| ValidityTime(time.nanos().div_euclid(NANOS_PER_SECOND)));
                let times: Vec<ValidityTime> = times.collect();
                let owners = if client { owners(&connection, stored.id)? } else { Vec::new() };
                for hit in hits(knowledge, (&certificate, &issuers), (client, &times)) {
                    let (certificate, owners) = (Arc::clone(&certificate), owners.clone());
                    listed.push(Listed { certificate, hit, client, owners, uses: uses.clone() });
                }
            }
        }
        let search = indicated::search(&connection, knowledge, applied)?;
        let left_out_places = search.left_out;
        let [_, addresses, fingerprints] = knowledge.indicates();
        let forgotten = if addresses || fingerprints { super::prints::forgotten(&connection)? } else { 0 };
        Ok(Found { listed, left_out, indicated: search.into_found(), left_out_places, forgotten })
    }

    /// Which lists were applied last, and up to where.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn applied(&self) -> Result<Option<Applied>, InventoryError> {
        let connection = self.connection();
        let mut statement = connection.prepare_cached("SELECT value FROM meta WHERE key = 'lists'")?;
        let text: Option<String> = statement.query_row([], |row| row.get(0)).optional()?;
        Ok(text.as_deref().and_then(read_applied))
    }

    /// What is in the inventory now was judged by these lists.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn note_applied(&self, lists: Sha256) -> Result<(), InventoryError> {
        let newest = self.newest_certificate()?;
        let until = self.last_packet()?.unwrap_or_default();
        let text = format!("{lists} {newest} {}", until.nanos());
        let connection = self.connection_to_change()?;
        connection.prepare_cached("INSERT OR REPLACE INTO meta VALUES ('lists', ?)")?.execute([text])?;
        Ok(())
    }
}

impl Found {
    /// What there was no room for, in words.
    pub fn not_looked_at(&self) -> Vec<String> {
        let elsewhere = self.indicated.iter().map(|one| one.elsewhere).fold(0, u64::saturating_add);
        let each = [
            (
                elsewhere,
                "more handshakes with fingerprints of indicators were seen: with which clients and hosts is not kept",
            ),
            (self.left_out, "more certificates may be listed and were not looked at"),
            (self.left_out_places, "more places, names, addresses or fingerprints of indicators were not looked at"),
            (self.forgotten, "fingerprints (JA3, JA4) were forgotten for want of room and not looked at"),
        ];
        each.iter().filter(|(many, _)| *many > 0).map(|(many, what)| format!("{many} {what}")).collect()
    }

    /// A row for each place of each certificate, name, address and fingerprint.
    pub fn answer(&self, limit: Option<u32>) -> Answer {
        let text = |text: &str| Cell::Text(text.into());
        let number = |number: u64| Cell::Number(i64::try_from(number).unwrap_or(i64::MAX));
        let mut rows = Vec::new();
        for Listed { certificate, hit, client, uses, .. } in &self.listed {
            let Some(facts) = certificate.facts.as_deref() else { continue };
            let subject: Arc<str> = facts.subject.text.as_str().into();
            for place in uses {
                rows.push(vec![
                    text(hit.rule.id),
                    text(&hit.source),
                    // The certificate's digests stand below.
                    Cell::Empty,
                    Cell::Text(Arc::clone(&subject)),
                    text(if *client { "client" } else { "server" }),
                    text(&place.host.name),
                    text(&place.server.address.to_string()),
                    Cell::Number(place.server.port.into()),
                    Cell::Time(place.first),
                    Cell::Time(place.last),
                    number(place.count),
                    number(place.clients),
                    Cell::Digest(certificate.sha256.0.as_slice().into()),
                    Cell::Digest(facts.spki_sha256.0.as_slice().into()),
                ]);
            }
        }
        let places = self.indicated.iter().flat_map(|one| one.places.iter().map(move |place| (one, place)));
        for (one, place) in places {
            let (side, ip) = match place.client {
                Some(client) => ("client", client.to_string()),
                None => ("server", place.servers.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(" ")),
            };
            let certificate = place.certificate.as_ref();
            rows.push(vec![
                text(INDICATOR_MATCH.id),
                text(&one.source),
                text(&place.found),
                certificate.map_or(Cell::Empty, |(subject, _)| Cell::Text(Arc::clone(subject))),
                text(side),
                place.host.as_ref().map_or(Cell::Empty, |host| text(&host.name)),
                text(&ip),
                place.host.as_ref().map_or(Cell::Empty, |host| Cell::Number(host.port.into())),
                place.span.map_or(Cell::Empty, |(first, _)| Cell::Time(first)),
                place.span.map_or(Cell::Empty, |(_, last)| Cell::Time(last)),
                place.span.map_or(Cell::Empty, |_| number(place.count)),
                place.clients.map_or(Cell::Empty, number),
                certificate.map_or(Cell::Empty, |(_, sha256)| Cell::Digest(sha256.0.as_slice().into())),
                Cell::Empty,
            ]);
        }
        rows.truncate(limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX));
        let columns = vec![
            "rule",
            "list",
            "found",
            "subject",
            "side",
            "host",
            "ip",
            "port",
            "first",
            "last",
            "count",
            "clients",
            "sha256",
            "spki_sha256",
        ];
        let spare = &["spki_sha256", "clients", "first", "count", "port", "side", "rule", "subject", "ip"];
        Answer { title: "listed", columns, spare, rows: Rows::Made(rows) }
    }
}

fn read_applied(text: &str) -> Option<Applied> {
    let mut parts = text.split(' ');
    let lists = crate::policy::digest(parts.next()?)?;
    let (newest, until) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    Some(Applied { lists: Sha256(lists), newest, until: Timestamp(until) })
}

/// Certificates that a list may name.
fn candidates(
    connection: &Connection,
    knowledge: &Knowledge,
    applied: Option<&Applied>,
) -> Result<Vec<Stored>, InventoryError> {
    let wanted = Wanted::new(knowledge);
    // Revocation lists by the digest that issuers have in the inventory.
    let mut crls: HashMap<[u8; 32], Vec<&Crl>> = HashMap::new();
    for crl in &knowledge.crls {
        crls.entry(sha2::Sha256::digest(crl.issuer.as_bytes()).into()).or_default().push(crl);
    }
    let mut statement = connection.prepare(
        "SELECT certificate.id, certificate.sha256, certificate.sha1, certificate.serial, certificate.last,
             key.spki_sha256, key.modulus, key.id, issuer.sha256
         FROM certificate LEFT JOIN key ON key.id = certificate.key LEFT JOIN issuer ON issuer.id = certificate.issuer
         WHERE certificate.id > ?1 OR certificate.last > ?2",
    )?;
    let (newest, until) = applied.map_or((-1, i64::MIN), |applied| (applied.newest, applied.until.nanos()));
    let mut rows = statement.query(params![newest, until])?;
    let mut found = Vec::new();
    // badkeys' list is searched once for each key.
    let (mut known, mut bad) = (HashSet::new(), HashSet::new());
    while let Some(row) = rows.next()? {
        let stored = Stored { id: row.get(0)?, last: Timestamp(row.get(4)?) };
        let serial = octets(row.get_ref(3)?.as_str().unwrap_or_default());
        let digests = Digests {
            sha256: Sha256(row.get(1)?),
            sha1: row.get(2)?,
            spki: row.get::<_, Option<[u8; 32]>>(5)?.map(Sha256),
            serial: &serial,
        };
        let key: Option<i64> = row.get(7)?;
        if let Some(key) = key.filter(|key| !knowledge.badkeys.is_empty() && known.insert(*key)) {
            let modulus = row.get_ref(6)?.as_blob_or_null().unwrap_or_default();
            if is_bad(connection, knowledge, (stored.id, modulus))? {
                bad.insert(key);
            }
        }
        let issuer: Option<[u8; 32]> = row.get(8)?;
        let lists = issuer.and_then(|issuer| crls.get(&issuer)).map(Vec::as_slice).unwrap_or_default();
        let is_revoked = lists.iter().any(|crl| crl.lists(&serial));
        if is_revoked || key.is_some_and(|key| bad.contains(&key)) || wanted.has(&digests) {
            found.push(stored);
        }
    }
    Ok(found)
}

/// Whether a key stands in badkeys' list; that of a certificate where there is no modulus.
fn is_bad(
    connection: &Connection,
    knowledge: &Knowledge,
    (certificate, modulus): (i64, Option<&[u8]>),
) -> Result<bool, InventoryError> {
    let is_in = |key: &PublicKey| knowledge.badkeys.iter().any(|file| file.find(key).is_some());
    Ok(match modulus {
        Some(modulus) => is_in(&PublicKey { kind: KeyKind::Rsa, modulus: modulus.into(), ..PublicKey::default() }),
        None => {
            parsed(connection, certificate)?.is_some_and(|one| one.facts.as_deref().is_some_and(|one| is_in(&one.key)))
        }
    })
}

/// Octets of hexadecimal digits.
fn octets(digits: &str) -> Vec<u8> {
    let pairs = digits.as_bytes().as_chunks::<2>().0.iter();
    pairs.filter_map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

fn parsed(connection: &Connection, certificate: i64) -> rusqlite::Result<Option<Arc<Certificate>>> {
    let mut statement = connection.prepare_cached("SELECT der FROM der WHERE certificate = ?")?;
    let der: Option<Vec<u8>> = statement.query_row([certificate], |row| row.get(0)).optional()?;
    Ok(der.map(|der| Arc::new(Certificate::parse(&der))))
}

/// CAs of the inventory, and trust anchors, that issued a revocation list.
struct Authorities<'a> {
    knowledge: &'a Knowledge,
    by_name: HashMap<String, Vec<Arc<Certificate>>>,
    memo: SignatureMemo,
}

impl<'a> Authorities<'a> {
    fn read(connection: &Connection, knowledge: &'a Knowledge) -> Result<Self, InventoryError> {
        let mut by_name: HashMap<String, Vec<Arc<Certificate>>> =
            knowledge.crls.iter().map(|crl| (crl.issuer.to_string(), Vec::new())).collect();
        let memo = SignatureMemo::new(MEMO_BYTES);
        if by_name.is_empty() {
            return Ok(Self { knowledge, by_name, memo });
        }
        knowledge.note_cas(&Pool::new(0));
        let mut statement = connection.prepare(
            "SELECT der.der FROM certificate JOIN der ON der.certificate = certificate.id WHERE certificate.is_ca = 1
             ORDER BY certificate.last DESC, certificate.id LIMIT ?",
        )?;
        let ders = statement.query_map([MAX_CAS], |row| row.get::<_, Vec<u8>>(0))?;
        for der in ders {
            let ca = Certificate::parse(&der?);
            let name = ca.facts.as_deref().and_then(|facts| by_name.get_mut(&facts.subject.normalized));
            if let Some(cas) = name {
                let ca = Arc::new(ca);
                knowledge.note_ca(&ca);
                cas.push(ca);
            }
        }
        Ok(Self { knowledge, by_name, memo })
    }

    /// Those that signed a certificate.
    fn of(&self, child: &Certificate) -> Vec<Arc<Certificate>> {
        let Some(facts) = child.facts.as_deref() else { return Vec::new() };
        let Some(seen) = self.by_name.get(&facts.issuer.normalized) else { return Vec::new() };
        let anchors = self.knowledge.anchors.issuers_of(facts);
        let signed =
            |ca: &&Arc<Certificate>| ca.facts.as_deref().is_some_and(|ca| self.memo.verify(child, ca) == Verdict::Good);
        seen.iter().chain(anchors).filter(signed).cloned().collect()
    }
}

/// Where one side used a certificate, the last use first.
pub(super) fn uses(
    connection: &Connection,
    (certificate, client): (i64, bool),
    limit: u32,
) -> rusqlite::Result<Vec<Use>> {
    let mut statement = connection.prepare_cached(
        "SELECT name.name, endpoint.ip, endpoint.port, endpoint.transport, min(sighting.first), max(sighting.last),
             sum(sighting.count), max(sighting.clients)
         FROM sighting JOIN name ON name.id = sighting.name JOIN endpoint ON endpoint.id = sighting.endpoint
         WHERE sighting.certificate = ?1 AND (sighting.role >= ?2) = ?3
         GROUP BY name.id, endpoint.id ORDER BY 6 DESC, 1, 2, 3, 4 LIMIT ?4",
    )?;
    let rows = statement.query_map(params![certificate, CLIENT, client, limit], |row| {
        let port: u16 = row.get(2)?;
        let number = |column| -> rusqlite::Result<u64> { Ok(u64::try_from(row.get::<_, i64>(column)?).unwrap_or(0)) };
        let transport =
            if row.get_ref(3)?.as_str()? == Transport::Udp.name() { Transport::Udp } else { Transport::Tcp };
        Ok(Use {
            host: host(row.get_ref(0)?.as_str()?, port),
            server: Endpoint {
                address: row.get_ref(1)?.as_str()?.parse().unwrap_or_else(|_| IpAddr::from([0; 4])),
                port,
            },
            transport,
            first: Timestamp(row.get(4)?),
            last: Timestamp(row.get(5)?),
            count: number(6)?,
            clients: number(7)?,
        })
    })?;
    rows.collect()
}

/// The clients that used a certificate as their own, wherever that was.
fn owners(connection: &Connection, certificate: i64) -> rusqlite::Result<Vec<IpAddr>> {
    let mut statement = connection
        .prepare_cached("SELECT address FROM client WHERE certificate = ? ORDER BY last DESC, address LIMIT ?")?;
    let rows = statement.query_map(params![certificate, MAX_OWNERS], |row| row.get::<_, String>(0))?;
    let addresses = rows.collect::<rusqlite::Result<Vec<String>>>()?;
    Ok(addresses.iter().filter_map(|address| address.parse().ok()).collect())
}

/// The host that a stored name stands for.
pub(super) fn host(name: &str, port: u16) -> HostKey {
    let address = name.strip_prefix("ip:").and_then(|address| address.parse::<IpAddr>().ok());
    let name = match address {
        Some(IpAddr::V6(address)) => format!("ip:[{address}]"),
        _ => name.to_owned(),
    };
    HostKey { name, port }
}
