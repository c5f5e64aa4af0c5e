//! Handshakes as they must have been, made of what is stored, so that they can be judged again.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension as _, params};

use crate::detect::hosts::sketch::{address_hash, is_marked};
use crate::detect::observation::{Ends, Observation};
use crate::detect::sighting::HostKey;
use crate::packet::{Endpoint, Transport};
use crate::time::{Moment, Order, Timestamp};
use crate::x509::Certificate;

use super::{InventoryError, Store};

/// Leaves of a host that are looked at, the latest.
const LEAVES: u32 = 16;
/// Certificates of CAs among which the chain of a leaf is looked for.
const CANDIDATES: u32 = 64;
/// Certificates of a chain.
const CHAIN: usize = 8;

/// `role.id` of a server's leaf.
const LEAF: u8 = 0;

/// Where and when a leaf came first.
struct Came {
    certificate: i64,
    at: Timestamp,
    server: IpAddr,
    transport: Transport,
}

impl Store {
    /// For each leaf that a host presented a handshake at its first sight, the one presented last at the end. What the
    /// inventory does not have is as in the plainest handshake: the hellos are of TLS 1.2, and `client` stands for
    /// whoever it was.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn presented(&self, key: &HostKey, client: IpAddr) -> Result<Vec<Observation>, InventoryError> {
        let connection = self.connection();
        let mut statement = connection.prepare(
            "SELECT change.certificate, change.first, endpoint.ip, host.transport
             FROM name JOIN host ON host.name = name.id JOIN change ON change.host = host.id
             JOIN sighting ON sighting.certificate = change.certificate AND sighting.name = name.id
             JOIN endpoint ON endpoint.id = sighting.endpoint AND endpoint.port = host.port
                 AND endpoint.transport = host.transport
             WHERE name.name = ? AND host.port = ? AND sighting.role = ?
             GROUP BY change.certificate, host.id ORDER BY change.last DESC, change.first DESC LIMIT ?",
        )?;
        let rows = statement.query_map(params![stored_name(key), key.port, LEAF, LEAVES], |row| {
            let transport =
                if row.get_ref(3)?.as_str()? == Transport::Udp.name() { Transport::Udp } else { Transport::Tcp };
            let server = row.get_ref(2)?.as_str()?.parse().unwrap_or_else(|_| IpAddr::from([0; 4]));
            Ok(Came { certificate: row.get(0)?, at: Timestamp(row.get(1)?), server, transport })
        })?;
        let mut came = rows.collect::<rusqlite::Result<Vec<_>>>()?;
        came.reverse();
        let mut observations = Vec::new();
        for (frame, came) in (1..).zip(&came) {
            if let Some(chain) = chain(&connection, (key, came.certificate))? {
                observations.push(observation(key, (frame, came, client), chain));
            }
        }
        Ok(observations)
    }

    /// Hosts of this name, at whatever port.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn hosts_named(&self, name: &str) -> Result<Vec<HostKey>, InventoryError> {
        let key = |port| HostKey { name: name.to_owned(), port };
        let connection = self.connection();
        let mut statement = connection.prepare(
            "SELECT port FROM baseline WHERE key = ?1
             UNION SELECT host.port FROM name JOIN host ON host.name = name.id WHERE name.name = ?2 ORDER BY 1",
        )?;
        let ports = statement.query_map(params![name, stored_name(&key(0))], |row| row.get(0))?;
        Ok(ports.map(|port| port.map(key)).collect::<rusqlite::Result<_>>()?)
    }
}

impl Store {
    /// Hosts that clients asked for by name and that showed a certificate at this address.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn names_at(&self, address: &str) -> Result<Vec<HostKey>, InventoryError> {
        let connection = self.connection();
        let mut statement = connection.prepare(
            "SELECT DISTINCT name.name, endpoint.port FROM endpoint JOIN sighting ON sighting.endpoint = endpoint.id
             JOIN name ON name.id = sighting.name
             WHERE endpoint.ip = ? AND name.name NOT LIKE 'ip:%' ORDER BY 1, 2 LIMIT 1000",
        )?;
        let found = statement.query_map([address], |row| Ok(HostKey { name: row.get(0)?, port: row.get(1)? }))?;
        Ok(found.collect::<rusqlite::Result<_>>()?)
    }
}

/// An address of nobody (RFC 1122 section 3.2.1.3: network 0) that stands for the clients of a host judged again: one that
/// the sketch of its clients has already, so that it does not make them one more.
pub fn stand_in(clients: &[u64]) -> IpAddr {
    let network = (0_u32..1 << 16).map(|host| IpAddr::from(Ipv4Addr::from(host)));
    let mut known = network.filter(|address| is_marked(clients, address_hash(*address)));
    known.next().unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
}

/// The name of a host in table `name`.
pub(super) fn stored_name(key: &HostKey) -> String {
    let name = key.name.strip_prefix("ech:").unwrap_or(&key.name);
    // Addresses are there as they are written everywhere else.
    match name.strip_prefix("ip:[").and_then(|name| name.strip_suffix(']')) {
        Some(address) => format!("ip:{address}"),
        None => name.to_owned(),
    }
}

/// A leaf and the CAs above it that were sent for the same host; `None` when its bytes are not there.
fn chain(connection: &Connection, (key, leaf): (&HostKey, i64)) -> rusqlite::Result<Option<Vec<Arc<Certificate>>>> {
    let der = |number: i64| -> rusqlite::Result<Option<Certificate>> {
        let mut statement = connection.prepare_cached("SELECT der FROM der WHERE certificate = ?")?;
        let found: Option<Vec<u8>> = statement.query_row([number], |row| row.get(0)).optional()?;
        Ok(found.map(|der| Certificate::parse(&der)))
    };
    let Some(leaf) = der(leaf)? else { return Ok(None) };
    let mut statement = connection.prepare_cached(
        "SELECT DISTINCT sighting.certificate FROM name JOIN sighting ON sighting.name = name.id
         WHERE name.name = ? AND sighting.role BETWEEN 1 AND 3 ORDER BY 1 DESC LIMIT ?",
    )?;
    let numbers = statement.query_map(params![stored_name(key), CANDIDATES], |row| row.get(0))?;
    let mut candidates = Vec::new();
    for number in numbers {
        candidates.extend(der(number?)?);
    }
    let mut chain = vec![Arc::new(leaf)];
    while let Some(facts) = chain.last().and_then(|last| last.facts.clone()).filter(|_| chain.len() < CHAIN) {
        let above = candidates.iter().position(|candidate| {
            let subject = candidate.facts.as_ref().map(|facts| &facts.subject.normalized);
            subject == Some(&facts.issuer.normalized)
        });
        let Some(above) = above else { break };
        chain.push(Arc::new(candidates.swap_remove(above)));
    }
    Ok(Some(chain))
}

fn observation(
    key: &HostKey,
    (frame, came, client): (u64, &Came, IpAddr),
    server_chain: Vec<Arc<Certificate>>,
) -> Observation {
    let order = Order { clock: came.at, frame, ordinal: 0 };
    let moment = Moment { order, timestamp: came.at, time_known: true, frame, ..Moment::default() };
    // No two hellos have the same random: that would be a finding of its own.
    let random = |side: u8| {
        let mut random = server_chain.first().map_or([0; 32], |leaf| leaf.sha256.0);
        random[0] ^= side;
        random
    };
    let ends = Ends {
        client: Endpoint { address: client, port: 0 },
        server: Endpoint { address: came.server, port: key.port },
        transport: came.transport,
        virtual_network: 0,
    };
    let mut observation = Observation::plain(ends, moment, [random(1), random(2)]);
    if let Some(hello) = &mut observation.handshake.client_hello {
        hello.server_name = key.server_name().map(|name| name.as_bytes().into());
        hello.encrypted_client_hello = key.name.starts_with("ech:");
    }
    if let Some(hello) = observation.handshake.server_hello.as_mut().filter(|_| key.name.starts_with("ech:")) {
        // Else it could hide no name.
        hello.selected_version = Some(0x0304);
    }
    observation.server_chain = server_chain;
    observation
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::hosts::sketch::{estimate, mark};

    #[test]
    fn a_stand_in_is_no_client_more() {
        for clients in 1..40_u32 {
            let mut sketch = [0; 8];
            for number in 0..clients {
                mark(&mut sketch, address_hash(Ipv4Addr::from(0x0a00_0000 + number * 77).into()));
            }
            let before = estimate(&sketch);
            let address = stand_in(&sketch);
            mark(&mut sketch, address_hash(address));
            assert_eq!(estimate(&sketch), before, "{address}");
            assert!(matches!(address, IpAddr::V4(v4) if v4.octets()[0] == 0));
        }
        assert!(stand_in(&[0; 8]).is_unspecified());
    }
}
