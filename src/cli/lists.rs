//! Reads what the policy names: lists, revocation lists, certificates of owners. The only place of judgement that opens
//! files.

use std::collections::HashSet;
use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::cli::judgement::cannot_read;
use crate::cli::tell;
use crate::detect::crl::Crl;
use crate::detect::knowledge::{KeyFile, Knowledge, NamedList};
use crate::detect::lists::{BADKEYS_ENTRY, List};
use crate::policy::{Digest, ListFile, ListFormat, NamedFile, PolicyError, digest};
use crate::text::printable;
use crate::x509::roots::TrustAnchors;

/// Reads every file that the policy of `knowledge` names. Paths are relative to `folder`, the policy file's.
///
/// Gives what is wrong with them, each with its place in the policy; lines that make no sense are only told.
pub(crate) fn read_all(knowledge: &mut Knowledge, folder: &Path) -> Vec<PolicyError> {
    let mut wrong = Vec::new();
    let mut note = |file: &NamedFile, read: Result<(), String>| wrong.extend(read.err().map(|what| file.wrong(&what)));
    let trust = knowledge.policy.trust.clone();
    for file in &trust.roots {
        note(file, add_roots(Arc::make_mut(&mut knowledge.anchors), &folder.join(&file.path)));
    }
    for named in &trust.crls {
        let each = files(&folder.join(&named.path)).unwrap_or_else(|error| {
            note(named, Err(error));
            Vec::new()
        });
        for file in each {
            note(named, crls(&file).map(|crls| knowledge.crls.extend(crls)));
        }
    }
    for ListFile { file, format } in &trust.blocklists {
        note(file, list(&folder.join(&file.path), *format).map(|list| knowledge.blocklists.push(list)));
    }
    for ListFile { file, format } in &trust.compromised_keys {
        let path = folder.join(&file.path);
        let read = match format {
            ListFormat::Badkeys => key_file(&path).map(|keys| knowledge.badkeys.push(keys)),
            format => list(&path, *format).map(|list| knowledge.compromised.push(list)),
        };
        note(file, read);
    }
    for entry in &knowledge.policy.hosts {
        if let Some(file) = &entry.certificates_file {
            let read = certificates(&folder.join(&file.path));
            note(file, read.map(|found| drop(knowledge.certificates.insert(entry.line, found))));
        }
    }
    wrong
}

/// Reads a file of indicators.
pub(crate) fn indicators(path: &Path) -> Result<NamedList, String> {
    Ok(named(path, List::indicators(&text(path)?)))
}

/// Adds the certificates of a file to the anchors.
pub(crate) fn add_roots(anchors: &mut TrustAnchors, path: &Path) -> Result<(), String> {
    let contents = fs::read(path).map_err(|error| cannot_read(path, &error))?;
    match anchors.add_file(&contents) {
        0 => Err(about(path, "no certificate in PEM or DER")),
        _ => Ok(()),
    }
}

fn list(path: &Path, format: ListFormat) -> Result<NamedList, String> {
    let text = text(path)?;
    let list = match format {
        ListFormat::Sslbl => List::sslbl(&text),
        ListFormat::Text => List::certificates(&text),
        ListFormat::Spki => List::keys(&text),
        ListFormat::Serials => List::serials(&text),
        ListFormat::Badkeys => return Err(about(path, "badkeys' list holds keys, not certificates")),
    };
    Ok(named(path, list))
}

fn named(path: &Path, list: List) -> NamedList {
    if let Some(first) = list.bad_lines.first() {
        let many = list.bad_lines.len();
        tell(&about(path, &format!("{many} lines are not understood and left out, the first is line {first}")));
    }
    let name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    NamedList { name, list }
}

/// Opens badkeys' list; entries are read when a key is looked up.
fn key_file(path: &Path) -> Result<KeyFile, String> {
    let file = fs::File::open(path).map_err(|error| cannot_read(path, &error))?;
    let octets = file.metadata().map_err(|error| cannot_read(path, &error))?.len();
    let size = u64::try_from(BADKEYS_ENTRY).unwrap_or(1);
    if octets == 0 || octets % size != 0 {
        return Err(about(path, "not a list of badkeys: its size is no multiple of 16"));
    }
    let file = Mutex::new(file);
    let read = move |index: u64| {
        let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
        let mut entry = [0; BADKEYS_ENTRY];
        file.seek(SeekFrom::Start(index.checked_mul(size)?)).ok()?;
        file.read_exact(&mut entry).ok()?;
        Some(entry)
    };
    let name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    Ok(KeyFile { name, entries: octets / size, read: Box::new(read) })
}

fn crls(path: &Path) -> Result<Vec<Crl>, String> {
    let octets = fs::read(path).map_err(|error| cannot_read(path, &error))?;
    Crl::read(&octets).map_err(|error| about(path, &error.to_string()))
}

/// The file itself, or the files of a folder in order of their names.
fn files(path: &Path) -> Result<Vec<PathBuf>, String> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = fs::read_dir(path).map_err(|error| cannot_read(path, &error))?;
    let mut files: Vec<PathBuf> =
        entries.filter_map(Result::ok).map(|entry| entry.path()).filter(|path| path.is_file()).collect();
    files.sort();
    Ok(files)
}

/// SHA-256 of certificates anywhere in a file: one a line, or as strings of any JSON.
fn certificates(path: &Path) -> Result<HashSet<Digest>, String> {
    let text = text(path)?;
    let words = text.split(|one: char| !(one.is_ascii_alphanumeric() || matches!(one, ':' | '/' | '+' | '=')));
    let found: HashSet<Digest> = words.filter_map(digest).collect();
    if found.is_empty() { Err(about(path, "no SHA-256 of a certificate in it")) } else { Ok(found) }
}

fn text(path: &Path) -> Result<String, String> {
    let octets = fs::read(path).map_err(|error| cannot_read(path, &error))?;
    Ok(String::from_utf8_lossy(&octets).into_owned())
}

fn about(path: &Path, what: &str) -> String {
    printable(&format!("{}: {what}", path.display())).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::x509::{KeyKind, PublicKey};
    use sha2::Digest as _;

    #[test]
    fn keys_are_found_in_a_file_of_badkeys() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("blocklist.dat");
        let entry = |modulus: &[u8], list: u8| {
            let mut entry: Vec<u8> = sha2::Sha256::digest(modulus)[..15].to_vec();
            entry.push(list);
            entry
        };
        let mut entries: Vec<Vec<u8>> = (0..100_u8).map(|number| entry(&[1, number], number)).collect();
        entries.sort();
        fs::write(&path, entries.concat()).unwrap();
        let file = key_file(&path).unwrap();
        let key = |modulus: &[u8]| PublicKey { kind: KeyKind::Rsa, modulus: modulus.into(), ..PublicKey::default() };
        for number in 0..100 {
            assert_eq!(file.find(&key(&[1, number])), Some(number));
        }
        assert_eq!(file.find(&key(&[2, 1])), None);
        fs::write(&path, [0; 17]).unwrap();
        assert!(key_file(&path).is_err());
    }

    #[test]
    fn certificates_of_any_json() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.json");
        let hash = "ab".repeat(32);
        fs::write(&path, format!("[{{\"sha256\": \"{hash}\", \"id\": 5}}]")).unwrap();
        assert_eq!(certificates(&path).unwrap(), HashSet::from([[0xab; 32]]));
        fs::write(&path, "[]").unwrap();
        assert!(certificates(&path).is_err());
    }
}
