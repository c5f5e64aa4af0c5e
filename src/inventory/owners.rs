//! Whose host it is: patterns and their owners, imported from a list.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rusqlite::Connection;

use super::answer::Cell;
use super::{InventoryError, Store};

/// What a pattern takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Pattern {
    /// `*.example.org`: every name below, and not the name itself.
    Below(String),
    /// One name.
    Name(String),
    /// An address or a network: the leading bits that count.
    Network(IpAddr, u32),
}

impl Pattern {
    /// Reads a pattern; anything is a name.
    pub(super) fn of(text: &str) -> Self {
        let text = text.trim().trim_end_matches('.').to_lowercase();
        let text = text.strip_prefix("ip:").unwrap_or(&text);
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        if let Ok(address) = address.parse::<IpAddr>() {
            let most = if address.is_ipv4() { 32 } else { 128 };
            match bits.map(str::parse::<u32>) {
                None => return Self::Network(address, most),
                Some(Ok(bits)) if bits <= most => return Self::Network(address, bits),
                Some(_) => {}
            }
        }
        match text.strip_prefix("*.") {
            Some(parent) => Self::Below(format!(".{parent}")),
            None => Self::Name(text.to_owned()),
        }
    }

    /// Whether it takes this name or address, which is in lower case.
    pub(super) fn matches(&self, host: &str) -> bool {
        match self {
            Self::Name(name) => name == host,
            Self::Below(parent) => host.len() > parent.len() && host.ends_with(parent.as_str()),
            Self::Network(network, bits) => host.parse().is_ok_and(|address| within(address, *network, *bits)),
        }
    }
}

impl Store {
    /// Whether the imported list names this owner.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn has_owner(&self, owner: &str) -> Result<bool, InventoryError> {
        Ok(self.connection().prepare_cached("SELECT 1 FROM owner WHERE owner = ? LIMIT 1")?.exists([owner])?)
    }
}

impl fmt::Display for Pattern {
    /// As [`of`](Pattern::of) reads it, the same for all ways to write it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Below(parent) => write!(f, "*{parent}"),
            Self::Name(name) => f.write_str(name),
            Self::Network(address, bits) => {
                // A shift by the whole width leaves nothing.
                let first = match address {
                    IpAddr::V4(v4) => {
                        let mask = u32::MAX.checked_shl(32_u32.saturating_sub(*bits)).unwrap_or(0);
                        IpAddr::from(Ipv4Addr::from(u32::from(*v4) & mask))
                    }
                    IpAddr::V6(v6) => {
                        let mask = u128::MAX.checked_shl(128_u32.saturating_sub(*bits)).unwrap_or(0);
                        IpAddr::from(Ipv6Addr::from(u128::from(*v6) & mask))
                    }
                };
                write!(f, "{first}/{bits}")
            }
        }
    }
}

fn within(address: IpAddr, network: IpAddr, bits: u32) -> bool {
    let (difference, width) = match (address, network) {
        (IpAddr::V4(one), IpAddr::V4(other)) => (u128::from(u32::from(one) ^ u32::from(other)), 32),
        (IpAddr::V6(one), IpAddr::V6(other)) => (u128::from(one) ^ u128::from(other), 128),
        _ => return false,
    };
    // A shift by the whole width leaves nothing to compare.
    difference.checked_shr(width - bits).unwrap_or(0) == 0
}

/// The imported list.
#[derive(Debug, Default)]
pub(super) struct Owners {
    names: HashMap<String, String>,
    below: HashMap<String, String>,
    networks: Vec<(IpAddr, u32, String)>,
}

impl Owners {
    pub(super) fn is_empty(&self) -> bool {
        self.names.is_empty() && self.below.is_empty() && self.networks.is_empty()
    }

    /// All owners, some of them several times.
    fn all(&self) -> impl Iterator<Item = &str> {
        let networks = self.networks.iter().map(|(.., owner)| owner);
        self.names.values().chain(self.below.values()).chain(networks).map(String::as_str)
    }

    fn add(&mut self, pattern: &str, owner: String) {
        match Pattern::of(pattern) {
            Pattern::Name(name) => drop(self.names.insert(name, owner)),
            Pattern::Below(parent) => drop(self.below.insert(parent, owner)),
            Pattern::Network(network, bits) => self.networks.push((network, bits, owner)),
        }
    }

    /// Owner of a name or address: the most precise pattern counts.
    pub(super) fn of(&self, host: &str) -> Option<&str> {
        if let Some(owner) = self.names.get(host) {
            return Some(owner);
        }
        let parents = host.match_indices('.').filter(|(at, _)| *at > 0).filter_map(|(at, _)| host.get(at..));
        let found = parents.map(|parent| self.below.get(parent)).find_map(|owner| owner);
        if found.is_some() || self.networks.is_empty() {
            return found.map(String::as_str);
        }
        let address: IpAddr = host.parse().ok()?;
        let fitting = self.networks.iter().filter(|(network, bits, _)| within(address, *network, *bits));
        fitting.max_by_key(|(_, bits, _)| *bits).map(|(_, _, owner)| owner.as_str())
    }
}

/// Owners of a cell that are named.
const NAMED: usize = 4;

/// Where a server listens, and whose it is.
#[derive(Debug)]
pub(super) struct OwnedEndpoint {
    /// Its owner.
    pub(super) owner: u32,
    /// Its port.
    pub(super) port: i64,
    /// Its transport.
    pub(super) transport: String,
}

/// The owners of the names and endpoints of an inventory, by their numbers there.
#[derive(Debug)]
pub(super) struct Owned {
    /// In the order of the alphabet.
    owners: Vec<String>,
    names: HashMap<i64, u32>,
    endpoints: HashMap<i64, OwnedEndpoint>,
    /// The owner that is asked for.
    asked: Option<u32>,
}

impl Owned {
    /// Looks whose everything is; `None` without a list of owners.
    pub(super) fn of(connection: &Connection, owners: &Owners, asked: Option<&str>) -> rusqlite::Result<Option<Self>> {
        if owners.is_empty() {
            return Ok(None);
        }
        let words: BTreeSet<&str> = owners.all().collect();
        let words: Vec<String> = words.into_iter().map(str::to_owned).collect();
        let number = |owner: &str| {
            let place = words.binary_search_by(|word| word.as_str().cmp(owner)).ok()?;
            u32::try_from(place).ok()
        };
        let owner = |name: &str| number(owners.of(name.strip_prefix("ip:").unwrap_or(name))?);
        let (mut names, mut endpoints) = (HashMap::new(), HashMap::new());
        let mut statement = connection.prepare("SELECT id, name FROM name")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            if let Some(owner) = owner(row.get_ref(1)?.as_str()?) {
                names.insert(row.get(0)?, owner);
            }
        }
        let mut statement = connection.prepare("SELECT id, ip, port, transport FROM endpoint")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            if let Some(owner) = owner(row.get_ref(1)?.as_str()?) {
                let endpoint = OwnedEndpoint { owner, port: row.get(2)?, transport: row.get(3)? };
                endpoints.insert(row.get(0)?, endpoint);
            }
        }
        let asked = asked.and_then(number);
        Ok(Some(Self { owners: words, names, endpoints, asked }))
    }

    /// The owner of a name.
    pub(super) fn name(&self, name: i64) -> Option<u32> {
        self.names.get(&name).copied()
    }

    /// An endpoint that somebody owns.
    pub(super) fn endpoint(&self, endpoint: i64) -> Option<&OwnedEndpoint> {
        self.endpoints.get(&endpoint)
    }

    /// Somebody owns an endpoint.
    pub(super) fn has_endpoints(&self) -> bool {
        !self.endpoints.is_empty()
    }

    /// These owners in words, the one that is asked for first.
    pub(super) fn cell(&self, owners: impl IntoIterator<Item = u32>) -> Cell {
        let mut found: Vec<u32> = owners.into_iter().collect();
        found.sort_unstable_by_key(|owner| (Some(*owner) != self.asked, *owner));
        found.dedup();
        let named = found.iter().take(NAMED).filter_map(|owner| self.owners.get(usize::try_from(*owner).ok()?));
        let mut text = named.map(String::as_str).collect::<Vec<_>>().join("; ");
        match found.len().saturating_sub(NAMED) {
            0 => {}
            more => text.push_str(&format!(" (+{more})")),
        }
        if text.is_empty() { Cell::Empty } else { Cell::Text(text.into()) }
    }
}

/// Why a list of owners cannot be imported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OwnersError {
    /// It is no CSV.
    #[error(transparent)]
    Csv(#[from] csv::Error),
    /// A row lacks a pattern or an owner.
    #[error("line {0}: a row is pattern,owner")]
    Row(u64),
    /// A pattern has another owner than in an earlier row, maybe written in another way.
    #[error("line {0}: {1} has another owner above")]
    Twice(u64, String),
    /// It cannot be stored.
    #[error(transparent)]
    Inventory(#[from] InventoryError),
}

impl Store {
    /// Replaces the list of owners by rows of `pattern,owner` (a first row that says so is no row); gives the number of
    /// patterns.
    ///
    /// # Errors
    /// When the list is not of this form, or gives a pattern to two; then the old one stays.
    pub fn import_owners(&self, list: impl Read) -> Result<usize, OwnersError> {
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .comment(Some(b'#'))
            .trim(csv::Trim::All)
            .from_reader(list);
        let mut rows = BTreeMap::new();
        for record in reader.records() {
            let record = record?;
            let line = record.position().map_or(0, csv::Position::line);
            match (record.get(0), record.get(1)) {
                (Some("pattern"), Some("owner")) if rows.is_empty() => {}
                (Some(pattern), Some(owner)) if !pattern.is_empty() && !owner.is_empty() => {
                    let before = rows.insert(Pattern::of(pattern).to_string(), owner.to_owned());
                    if before.is_some_and(|before| before != owner) {
                        return Err(OwnersError::Twice(line, pattern.to_owned()));
                    }
                }
                _ => return Err(OwnersError::Row(line)),
            }
        }
        self.set_owners(&rows)?;
        Ok(rows.len())
    }

    fn set_owners(&self, rows: &BTreeMap<String, String>) -> Result<(), InventoryError> {
        let mut connection = self.connection_to_change()?;
        let transaction = connection.transaction()?;
        transaction.execute("DELETE FROM owner", [])?;
        for (pattern, owner) in rows {
            transaction.prepare_cached("INSERT OR REPLACE INTO owner VALUES (?, ?)")?.execute([pattern, owner])?;
        }
        Ok(transaction.commit()?)
    }

    pub(super) fn owners(&self) -> Result<Owners, InventoryError> {
        let connection = self.connection();
        let mut statement = connection.prepare_cached("SELECT pattern, owner FROM owner")?;
        let mut owners = Owners::default();
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            owners.add(row.get_ref(0)?.as_str().unwrap_or_default(), row.get(1)?);
        }
        Ok(owners)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_precise_pattern_counts() {
        let mut owners = Owners::default();
        for (pattern, owner) in [
            ("*.Example.org", "web"),
            ("*.lab.example.org", "lab"),
            ("www.lab.example.org.", "one"),
            ("10.0.0.0/8", "net"),
            ("10.1.0.0/16", "site"),
            ("2001:db8::/32", "six"),
            ("0.0.0.0/0", "anybody"),
        ] {
            owners.add(pattern, owner.to_owned());
        }
        for (host, owner) in [
            ("example.org", None),
            ("a.example.org", Some("web")),
            ("a.b.example.org", Some("web")),
            ("notexample.org", None),
            ("x.lab.example.org", Some("lab")),
            ("www.lab.example.org", Some("one")),
            ("10.2.3.4", Some("net")),
            ("10.1.3.4", Some("site")),
            ("192.0.2.1", Some("anybody")),
            ("2001:db8::7", Some("six")),
            ("2001:db9::7", None),
            ("", None),
            (".", None),
        ] {
            assert_eq!(owners.of(host), owner, "{host}");
        }
    }

    #[test]
    fn anything_is_a_pattern() {
        assert_eq!(Pattern::of("10.0.0.1"), Pattern::Network("10.0.0.1".parse().unwrap(), 32));
        assert_eq!(Pattern::of("10.0.0.1/33"), Pattern::Name("10.0.0.1/33".to_owned()));
        assert_eq!(Pattern::of("10.0.0.1/x"), Pattern::Name("10.0.0.1/x".to_owned()));
        assert_eq!(Pattern::of("ip:10.0.0.1"), Pattern::of("10.0.0.1/32"));
        assert!(Pattern::of("*.a").matches("b.a") && !Pattern::of("*.a").matches(".a"));
        assert!(Pattern::of("::/0").matches("::1") && !Pattern::of("::/0").matches("1.1.1.1"));
    }

    #[test]
    fn a_pattern_has_one_owner_however_it_is_written() {
        let store = Store::in_memory().unwrap();
        for (one, other) in [
            ("a.example", "A.Example."),
            ("*.a.example", "*.A.EXAMPLE"),
            ("10.0.0.0/8", "10.1.2.3/8"),
            ("10.0.0.1", "ip:10.0.0.1/32"),
            ("0.0.0.0/0", "1.2.3.4/0"),
            ("2001:db8::/32", "2001:DB8:1::/32"),
            ("::/0", "::1/0"),
        ] {
            assert_eq!(Pattern::of(one).to_string(), Pattern::of(other).to_string());
            assert_eq!(Pattern::of(&Pattern::of(other).to_string()), Pattern::of(one));
            let list = |[first, second]: [&str; 2]| format!("{one},{first}\n{other},{second}\n");
            assert_eq!(store.import_owners(list(["x", "x"]).as_bytes()).unwrap(), 1);
            let twice = store.import_owners(list(["y", "z"]).as_bytes()).unwrap_err();
            assert!(matches!(twice, OwnersError::Twice(2, _)), "{twice}");
            let connection = store.connection();
            let kept: String = connection.query_row("SELECT owner FROM owner", [], |row| row.get(0)).unwrap();
            assert_eq!(kept, "x");
        }
    }

    #[test]
    fn a_bad_list_leaves_the_old_one() {
        let store = Store::in_memory().unwrap();
        let good = "pattern,owner\n# ours\n*.example.org, web team\n\"10.0.0.0/8\",\"net, core\"\n";
        assert_eq!(store.import_owners(good.as_bytes()).unwrap(), 2);
        for bad in ["a\n", "a,\n", ",b\n", "a,b\n\"x"] {
            let _ = store.import_owners(bad.as_bytes());
        }
        assert!(matches!(store.import_owners(&b"a,b\nx\n"[..]), Err(OwnersError::Row(2))));
        let owners = store.owners().unwrap();
        assert_eq!(owners.of("10.9.9.9"), Some("net, core"));
    }
}
