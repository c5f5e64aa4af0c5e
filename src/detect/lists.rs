//! Lists of certificates, keys and indicators that the owner loads. Text and octets in, tables out: files are read
//! elsewhere.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::policy::{CertificateHash, Digest, NamePattern, digest, octets};

use super::named::{Addresses, Names};

/// Entries of a list by what they name, each with the reason that the list gives.
#[derive(Clone, Debug, Default)]
pub struct List {
    /// Certificates.
    pub certificates: HashMap<CertificateHash, Entry>,
    /// Keys: SHA-256 of the SubjectPublicKeyInfo.
    pub keys: HashMap<Digest, Entry>,
    /// Issuers with content octets of serial numbers, without leading zeros.
    pub serials: Vec<(NamePattern, Vec<u8>, Entry)>,
    /// Serial numbers of any issuer (indicators), without leading zeros.
    pub bare_serials: HashMap<Vec<u8>, Entry>,
    /// JA3 and JA4 fingerprints, lower case.
    pub fingerprints: HashMap<String, Entry>,
    /// Server names.
    pub names: Names,
    /// Addresses and networks.
    pub addresses: Addresses,
    /// Lines that could not be read, from 1: told at the start, not fatal.
    pub bad_lines: Vec<usize>,
}

/// What a list says about an entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// Line in the file, from 1.
    pub line: usize,
    /// Date of the entry as the list writes it, empty where it has none.
    pub date: String,
    /// Reason or comment, empty without.
    pub reason: String,
}

impl List {
    /// The CSV of abuse.ch SSLBL: `date,sha1,reason` under a header that is a comment itself.
    pub fn sslbl(text: &str) -> Self {
        let mut list = Self::default();
        for (number, line) in content_lines(text) {
            let mut fields = line.splitn(3, ',').map(|field| field.trim().trim_matches('"'));
            let date = fields.next().unwrap_or_default();
            match fields.next().and_then(CertificateHash::parse) {
                Some(hash) => {
                    let reason = fields.next().unwrap_or_default().to_owned();
                    list.certificates.entry(hash).or_insert_with(|| Entry {
                        line: number,
                        date: date.to_owned(),
                        reason,
                    });
                }
                // A header that is not commented is no bad line.
                None if line.to_ascii_lowercase().contains("sha1") => {}
                None => list.bad_lines.push(number),
            }
        }
        list
    }

    /// SHA-1 or SHA-256 of certificates, one a line, with an optional comment behind white space, comma or `#`.
    pub fn certificates(text: &str) -> Self {
        Self::each_line(text, |list, first, entry| {
            list.certificates.entry(CertificateHash::parse(first)?).or_insert(entry);
            Some(())
        })
    }

    /// SHA-256 of SubjectPublicKeyInfo in any spelling of a pin, one a line, with an optional comment.
    pub fn keys(text: &str) -> Self {
        Self::each_line(text, |list, first, entry| {
            list.keys.entry(digest(first)?).or_insert(entry);
            Some(())
        })
    }

    /// Serial number in hexadecimal, white space, issuer as in the policy file (RFC 4514), one pair a line.
    pub fn serials(text: &str) -> Self {
        let mut list = Self::default();
        for (number, line) in content_lines(text) {
            let pair = line.split_once(char::is_whitespace);
            let read = pair.and_then(|(serial, issuer)| {
                Some((NamePattern::parse(issuer.trim()).ok()?, without_zeros(&octets(serial)?)))
            });
            match read {
                Some((issuer, serial)) => {
                    list.serials.push((issuer, serial, Entry { line: number, ..Entry::default() }));
                }
                None => list.bad_lines.push(number),
            }
        }
        list
    }

    /// Indicators: `kind value comment` with the kinds certificate, key, ja3, ja4, name, serial and address.
    pub fn indicators(text: &str) -> Self {
        let mut list = Self::default();
        for (number, line) in content_lines(text) {
            let (kind, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
            let (value, comment) = first_field(rest.trim_start());
            let entry = Entry { line: number, reason: comment.to_owned(), ..Entry::default() };
            if list.indicator(kind, value, entry).is_none() {
                list.bad_lines.push(number);
            }
        }
        list
    }

    fn indicator(&mut self, kind: &str, value: &str, entry: Entry) -> Option<()> {
        match kind.to_ascii_lowercase().as_str() {
            "certificate" => {
                self.certificates.entry(CertificateHash::parse(value)?).or_insert(entry);
            }
            "key" => {
                self.keys.entry(digest(value)?).or_insert(entry);
            }
            "ja3" => {
                octets(value).filter(|octets| octets.len() == 16)?;
                self.fingerprints.entry(value.to_ascii_lowercase()).or_insert(entry);
            }
            "ja4" => {
                let parts: Vec<usize> = value.split('_').map(str::len).collect();
                (parts == [10, 12, 12] && value.is_ascii()).then_some(())?;
                self.fingerprints.entry(value.to_ascii_lowercase()).or_insert(entry);
            }
            "name" => self.names.push(value.parse().ok()?, entry),
            "serial" => {
                self.bare_serials.entry(without_zeros(&octets(value)?)).or_insert(entry);
            }
            "address" => self.addresses.push(value.parse().ok()?, entry),
            _ => return None,
        }
        Some(())
    }

    /// Nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.certificates.is_empty()
            && self.keys.is_empty()
            && self.serials.is_empty()
            && self.bare_serials.is_empty()
            && self.fingerprints.is_empty()
            && self.names.is_empty()
            && self.addresses.is_empty()
    }

    /// The entry of an address.
    pub fn address(&self, address: IpAddr) -> Option<&Entry> {
        self.addresses.find(address).map(|(_, entry)| entry)
    }

    /// The entry of a server name.
    pub fn name(&self, name: &str) -> Option<&Entry> {
        self.names.find(name).map(|(_, entry)| entry)
    }

    /// The entry of a JA3 or JA4 fingerprint, and how the list spells it. A JA4 may have capital letters, from ALPN.
    pub fn fingerprint(&self, value: &str) -> Option<(&str, &Entry)> {
        if self.fingerprints.is_empty() {
            return None;
        }
        self.fingerprints.get_key_value(&value.to_ascii_lowercase()).map(|(value, entry)| (value.as_str(), entry))
    }

    /// The entry of a serial number alone (content octets, as in the certificate).
    pub fn serial(&self, serial: &[u8]) -> Option<&Entry> {
        self.bare_serials.get(&without_zeros(serial))
    }

    fn each_line(text: &str, mut read: impl FnMut(&mut Self, &str, Entry) -> Option<()>) -> Self {
        let mut list = Self::default();
        for (number, line) in content_lines(text) {
            let (first, comment) = first_field(line);
            let entry = Entry { line: number, date: String::new(), reason: comment.to_owned() };
            if read(&mut list, first, entry).is_none() {
                list.bad_lines.push(number);
            }
        }
        list
    }
}

/// Octets of one entry of badkeys' block list: the first 15 of SHA-256 and the number of the list it comes from.
pub const BADKEYS_ENTRY: usize = 16;

/// Looks a key up in badkeys' block list: entries sorted by hash, found by binary search, so that of a file of many
/// megabytes some twenty entries are read. `entry` reads the entry at an index; `None` (an error) ends the search.
///
/// Gives the number of the list in which `hash` (SHA-256 of the modulus or the point, as badkeys makes it) stands.
pub fn badkeys_list(
    hash: &Digest,
    entries: u64,
    mut entry: impl FnMut(u64) -> Option<[u8; BADKEYS_ENTRY]>,
) -> Option<u8> {
    let wanted = hash.get(..BADKEYS_ENTRY - 1)?;
    let (mut low, mut high) = (0, entries);
    while low < high {
        let middle = low + (high - low) / 2;
        let found = entry(middle)?;
        let (list, prefix) = found.split_last()?;
        match prefix.cmp(wanted) {
            std::cmp::Ordering::Less => low = middle + 1,
            std::cmp::Ordering::Greater => high = middle,
            std::cmp::Ordering::Equal => return Some(*list),
        }
    }
    None
}

/// Lines that say something, with their numbers from 1: comments, blank lines and a byte order mark aside.
fn content_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    (1..)
        .zip(text.lines())
        .map(|(number, line)| (number, line.trim()))
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

/// The first field of a line and the comment behind it.
fn first_field(line: &str) -> (&str, &str) {
    let is_separator = |character: char| character.is_whitespace() || character == ',' || character == '#';
    let end = line.find(is_separator).unwrap_or(line.len());
    let (first, rest) = line.split_at_checked(end).unwrap_or((line, ""));
    (first, rest.trim_start_matches(is_separator).trim_end())
}

fn without_zeros(serial: &[u8]) -> Vec<u8> {
    serial.iter().copied().skip_while(|octet| *octet == 0).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SHA1: &str = "4da1421400000000000000000000000000000082";

    #[test]
    fn sslbl_with_carriage_returns_and_comments() {
        let text = format!(
            "\u{feff}# SSLBL\r\n# Listingdate,SHA1,Listingreason\r\n2024-09-02 06:17:52,{SHA1},Some, C&C\r\n\r\nx,y,z\r\n"
        );
        let list = List::sslbl(&text);
        let entry = &list.certificates[&CertificateHash::parse(SHA1).unwrap()];
        assert_eq!((entry.line, entry.date.as_str(), entry.reason.as_str()), (3, "2024-09-02 06:17:52", "Some, C&C"));
        assert_eq!(list.bad_lines, [5]);
        assert_eq!(List::sslbl("Listingdate,SHA1,Listingreason").bad_lines, [0_usize; 0]);
    }

    #[test]
    fn text_lists() {
        let sha256 = "ab".repeat(32);
        let list = List::certificates(&format!("# c\n{SHA1} stolen\n{sha256}\nxyz\n"));
        assert_eq!((list.certificates.len(), list.bad_lines.as_slice()), (2, [4].as_slice()));
        let list = List::keys(&format!("sha256/{sha256},why\n{SHA1}"));
        assert_eq!(list.keys[&[0xab; 32]].reason, "why");
        assert_eq!(list.bad_lines, [2]);
        let list = List::serials("00:0a:1b CN=Corp CA, O=Corp\n0a\n0a CN\nzz CN=a");
        assert_eq!((list.serials.len(), list.serials[0].1.as_slice()), (1, [0x0a, 0x1b].as_slice()));
        assert_eq!(list.bad_lines, [2, 3, 4]);
    }

    #[test]
    fn one_entry_of_any_kind_is_no_empty_list() {
        let key = "cd".repeat(32);
        assert!(List::default().is_empty() && List::indicators("# nothing\nwrong x\n").is_empty());
        assert!(!List::serials("0a CN=Root").is_empty());
        for (kind, value) in [
            ("certificate", key.as_str()),
            ("key", &key),
            ("ja3", "e7d705a3286e19ea42f587b344ee6865"),
            ("name", "bad.example"),
            ("serial", "0a"),
            ("address", "192.0.2.0/24"),
        ] {
            assert!(!List::indicators(&format!("{kind} {value}\n")).is_empty(), "{kind}");
        }
    }

    #[test]
    fn indicators_of_every_kind() {
        let key = "cd".repeat(32);
        let text = format!(
            "certificate {SHA1} one\nkey sha256:{key}\nja3 e7d705a3286e19ea42f587b344ee6865 # tool\n\
             ja4 t13d1516h2_8daaf6152771_02713d6af862\nname *.bad.example\nserial 00:0A:1B\naddress 192.0.2.0/24 net\n\
             ja3 e7\nja4 x_y_z\nname a..b\naddress 1\nother x\nkey\n"
        );
        let list = List::indicators(&text);
        assert_eq!(list.bad_lines, [8, 9, 10, 11, 12, 13]);
        assert_eq!(list.certificates[&CertificateHash::parse(SHA1).unwrap()].reason, "one");
        assert_eq!(list.fingerprints["e7d705a3286e19ea42f587b344ee6865"].reason, "tool");
        assert!(list.keys.contains_key(&[0xcd; 32]) && list.fingerprints.len() == 2);
        let ja4 = "t13d1516h2_8daaf6152771_02713d6af862";
        for spelling in [ja4, "t13d1516H2_8daaf6152771_02713d6af862"] {
            assert_eq!(list.fingerprint(spelling).map(|(value, entry)| (value, entry.line)), Some((ja4, 4)));
        }
        assert!(list.fingerprint(&ja4.replace("h2", "h1")).is_none());
        assert!(list.name("x.bad.example").is_some() && list.name("bad.example").is_none());
        assert!(list.serial(&[0x0a, 0x1b]).is_some() && list.serial(&[0x0a]).is_none());
        assert!(list.address([192, 0, 2, 9].into()).is_some() && list.address([192, 0, 3, 9].into()).is_none());
    }

    proptest! {
        #[test]
        fn badkeys_finds_what_is_there_and_nothing_else(mut present: Vec<[u8; 15]>, absent: [u8; 15]) {
            present.sort_unstable();
            present.dedup();
            let read = |index: u64| {
                let mut entry = [7; BADKEYS_ENTRY];
                entry[..15].copy_from_slice(present.get(usize::try_from(index).ok()?)?);
                Some(entry)
            };
            let count = u64::try_from(present.len()).unwrap();
            let full = |prefix: &[u8; 15]| { let mut hash = [1; 32]; hash[..15].copy_from_slice(prefix); hash };
            for prefix in &present {
                prop_assert_eq!(badkeys_list(&full(prefix), count, read), Some(7));
            }
            prop_assert_eq!(badkeys_list(&full(&absent), count, read).is_some(), present.contains(&absent));
            prop_assert_eq!(badkeys_list(&full(&absent), u64::MAX, |_| None), None);
        }

        #[test]
        fn any_text_is_safe(text in "(\\PC|\n){0,80}") {
            for list in [List::sslbl, List::certificates, List::keys, List::serials, List::indicators] {
                list(&text);
            }
        }
    }
}
