//! Reads what the policy names: lists, revocation lists, certificates of owners. The only place of judgement that opens
//! files.

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use sha2::Digest as _;

use crate::cli::judgement::{cannot_read, folder_of};
use crate::cli::tell;
use crate::detect::crl::Crl;
use crate::detect::knowledge::{KeyFile, Knowledge, NamedList};
use crate::detect::lists::{BADKEYS_ENTRY, List};
use crate::policy::{Digest, ListFile, ListFormat, NamedFile, Policy, PolicyError, digest};
use crate::text::printable;
use crate::time::Timestamp;
use crate::x509::roots::{TrustAnchors, certificates as certificates_of, may_be_ca};
use crate::x509::sct::Logs;
use crate::x509::signature::{Algorithm, Verdict, verify, verify_certificate};
use crate::x509::{Certificate, Facts, Sha256};

/// Bad lines of a list that are told.
const TOLD: usize = 10;

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
            let read = crls(&file);
            if read.as_ref().is_ok_and(|crls| crls.iter().any(|crl| is_forged(crl, &knowledge.anchors))) {
                let what = "not signed by the trusted CA of that name: it says nothing of that CA's certificates";
                tell(&about(&file, what));
            }
            note(named, read.map(|crls| knowledge.crls.extend(crls)));
        }
    }
    for file in &trust.ct_logs {
        note(file, add_logs(&mut knowledge.logs, &folder.join(&file.path)));
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
    wrong.extend(read_proxies(knowledge, folder));
    wrong
}

/// Stands for the contents of a policy and of all lists that it names.
pub(crate) fn digest_of(policy: &Policy, files_of: (Option<&Path>, Option<&Path>)) -> Sha256 {
    let (file, indicators) = files_of;
    let folder = file.map_or_else(|| Path::new(""), folder_of);
    let trust = &policy.trust;
    let lists = trust.blocklists.iter().chain(&trust.compromised_keys).map(|list| folder.join(&list.file.path));
    let crls = trust.crls.iter().flat_map(|named| files(&folder.join(&named.path)).unwrap_or_default());
    let mut all = Digester(sha2::Sha256::new());
    for path in file.into_iter().chain(indicators).map(Path::to_owned).chain(lists).chain(crls) {
        let mut one = Digester(sha2::Sha256::new());
        // What cannot be read was told of when the lists were read.
        let _ = fs::File::open(&path).and_then(|mut file| std::io::copy(&mut file, &mut one));
        all.0.update(one.0.finalize());
    }
    Sha256(all.0.finalize().into())
}

/// Takes what is written into a digest.
struct Digester(sha2::Sha256);

impl Write for Digester {
    fn write(&mut self, octets: &[u8]) -> std::io::Result<usize> {
        self.0.update(octets);
        Ok(octets.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
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

/// The CA certificates of a file.
fn cas(path: &Path) -> Result<Vec<Arc<Certificate>>, String> {
    let contents = fs::read(path).map_err(|error| cannot_read(path, &error))?;
    let is_ca = |one: &Arc<Certificate>| one.facts.as_deref().is_some_and(may_be_ca);
    let found: Vec<Arc<Certificate>> = certificates_of(&contents).filter(is_ca).collect();
    if found.is_empty() { Err(about(path, "no CA certificate in PEM or DER")) } else { Ok(found) }
}

/// Reads the CAs of each proxy, and asks whose keys the policy authorises. All files of one proxy are one list of CAs.
fn read_proxies(knowledge: &mut Knowledge, folder: &Path) -> Vec<PolicyError> {
    let mut wrong = Vec::new();
    let mut proxies = std::mem::take(&mut knowledge.policy.interceptions);
    for proxy in &mut proxies {
        let mut found: Vec<Arc<Certificate>> = Vec::new();
        for file in &proxy.ca {
            let path = folder.join(&file.path);
            let read = cas(&path).and_then(|cas| {
                no_root_is_a_proxy(&cas, knowledge).map_err(|error| about(&path, &error))?;
                found.extend(cas);
                Ok(())
            });
            wrong.extend(read.err().map(|what| file.wrong(&what)));
        }
        let public = proxy.spki.iter().find_map(|key| knowledge.builtin.with_key(&Sha256(*key)));
        if let Some(root) = public.and_then(|root| root.facts.as_deref()) {
            let message = format!(
                "interception.spki: this is the key of {}, a root that browsers trust, not of a proxy's CA",
                root.subject.text
            );
            wrong.push(PolicyError { line: proxy.line, column: 1, message });
        }
        match keys_of_proxy(&found) {
            Ok(keys) => proxy.spki.extend(keys),
            Err(error) => wrong.extend(proxy.ca.first().map(|file| file.wrong(&error))),
        }
        knowledge.proxies.extend(found);
    }
    knowledge.policy.interceptions = proxies;
    wrong
}

/// Refuses trusted roots, and what one that browsers trust signed, as CAs of a proxy.
fn no_root_is_a_proxy(cas: &[Arc<Certificate>], knowledge: &Knowledge) -> Result<(), String> {
    for (ca, facts) in cas.iter().filter_map(|ca| Some((ca, ca.facts.as_deref()?))) {
        if knowledge.anchors.has_key(&facts.spki_sha256) || knowledge.builtin.has_key(&facts.spki_sha256) {
            return Err(format!("{} is a trusted root, not a proxy's CA", facts.subject.text));
        }
        let roots = knowledge.builtin.issuers_of(facts).into_iter().filter_map(|root| root.facts.as_deref());
        if let Some(root) = roots.into_iter().find(|root| verify_certificate(ca, &root.key) == Verdict::Good) {
            let (ca, root) = (&facts.subject.text, &root.subject.text);
            return Err(format!("{ca} is a public CA, for {root} signed it: no proxy's"));
        }
    }
    Ok(())
}

/// The keys that make a proxy of these CAs: of those that issued no other one of them. What is above them is there to build
/// paths: to authorise it would authorise all that it ever signed.
fn keys_of_proxy(cas: &[Arc<Certificate>]) -> Result<Vec<Digest>, String> {
    let facts = || cas.iter().filter_map(|ca| Some((ca, ca.facts.as_deref()?)));
    let is_above = |issuer: &Facts| {
        facts().any(|(child, below)| {
            below.issuer.normalized == issuer.subject.normalized
                && below.spki_sha256 != issuer.spki_sha256
                && verify_certificate(child, &issuer.key) == Verdict::Good
        })
    };
    let above: HashSet<Sha256> =
        facts().filter(|(_, issuer)| is_above(issuer)).map(|(_, issuer)| issuer.spki_sha256).collect();
    let keys = facts().map(|(_, one)| one.spki_sha256).filter(|key| !above.contains(key));
    let keys: BTreeSet<Digest> = keys.map(|key| key.0).collect();
    if keys.is_empty() && !cas.is_empty() {
        return Err("every CA of the proxy issued another one: which is the proxy's is not clear".to_owned());
    }
    Ok(keys.into_iter().collect())
}

/// Whom the files of `ca` authorise, for each proxy that has any: the line of the entry, and the names.
pub(crate) fn proxies(knowledge: &Knowledge) -> Vec<(usize, String)> {
    let entries = knowledge.policy.interceptions.iter().filter(|proxy| !proxy.ca.is_empty());
    let told = entries.map(|proxy| {
        let facts = knowledge.proxies.iter().filter_map(|ca| ca.facts.as_deref());
        let taken = facts.filter(|facts| proxy.spki.contains(&facts.spki_sha256.0));
        let taken: BTreeSet<(&str, Sha256)> = taken.map(|facts| (&*facts.subject.text, facts.spki_sha256)).collect();
        // Of one name, the key tells which.
        let named = taken.iter().map(|(name, key)| match taken.iter().filter(|(other, _)| other == name).count() {
            1 => (*name).to_owned(),
            _ => format!("{name} (key {key})"),
        });
        (proxy.line, Vec::from_iter(named).join("; "))
    });
    told.collect()
}

/// Adds the logs of a list (version 3 of the format that browsers publish) whose timestamps count for something.
fn add_logs(logs: &mut Logs, path: &Path) -> Result<(), String> {
    let list: Value = serde_json::from_str(&text(path)?).map_err(|error| about(path, &error.to_string()))?;
    let each = |value: &Value, key: &str| value.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
    let before = logs.len();
    for operator in each(&list, "operators") {
        for log in each(&operator, "logs").iter().chain(&each(&operator, "tiled_logs")) {
            let Some(until) = counts_until(log.get("state")) else { continue };
            let key = log.get("key").and_then(Value::as_str).and_then(|key| STANDARD.decode(key).ok());
            if !key.is_some_and(|key| logs.add(&key, until)) {
                return Err(about(path, "the key of a log is none"));
            }
        }
    }
    if logs.len() == before { Err(about(path, "no log in it whose timestamps count")) } else { Ok(()) }
}

/// Up to when the timestamps of a log in this state count (milliseconds since the epoch; `None` inside: for ever); `None`
/// when they never did.
fn counts_until(state: Option<&Value>) -> Option<Option<u64>> {
    let state = state?;
    if ["usable", "qualified", "readonly"].iter().any(|good| state.get(good).is_some()) {
        return Some(None);
    }
    let retired = Timestamp::parse(state.get("retired")?.get("timestamp")?.as_str()?)?;
    Some(Some(u64::try_from(retired.seconds().checked_mul(1_000)?).ok()?))
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
    // One of indicators may begin so; one that was fetched from others did not come.
    if list.is_empty() {
        tell(&about(path, "there is nothing in this list"));
    }
    Ok(named(path, list))
}

fn named(path: &Path, list: List) -> NamedList {
    if !list.bad_lines.is_empty() {
        let first: Vec<String> = list.bad_lines.iter().take(TOLD).map(usize::to_string).collect();
        let more = list.bad_lines.len().saturating_sub(first.len());
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        tell(&about(path, &format!("lines are not understood and left out: {}{more}", first.join(", "))));
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
    let mut crls = Crl::read(&octets).map_err(|error| about(path, &error.to_string()))?;
    // One that must not be used is no reason to do without all others.
    crls.retain(|crl| {
        if let Some(why) = &crl.unusable {
            tell(&about(path, &why.to_string()));
        }
        crl.unusable.is_none()
    });
    Ok(crls)
}

/// Whether a list names a trusted CA that did not sign it. Who signed in the name of others is not known here.
fn is_forged(crl: &Crl, anchors: &TrustAnchors) -> bool {
    let named = anchors.named(&crl.issuer);
    let signed = |ca: &Arc<Certificate>| {
        ca.facts.as_deref().is_some_and(|facts| {
            crl.is_signed(|octets, oid, signature| {
                // What cannot be verified is not known to be forged.
                verify(&facts.key, Algorithm { oid, parameters: &[] }, octets, signature) != Verdict::Bad
            })
        })
    };
    !named.is_empty() && !named.iter().any(signed)
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
    fn a_list_that_its_ca_did_not_sign_is_known() {
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let list = |params: &rcgen::CertificateParams, key: &rcgen::KeyPair| {
            let issuer = rcgen::Issuer::from_params(params, key);
            let crl = rcgen::CertificateRevocationListParams {
                this_update: rcgen::date_time_ymd(2026, 1, 1),
                next_update: rcgen::date_time_ymd(2026, 2, 1),
                crl_number: 1.into(),
                issuing_distribution_point: None,
                revoked_certs: Vec::new(),
                key_identifier_method: rcgen::KeyIdMethod::Sha256,
            };
            Crl::read(crl.signed_by(&issuer).unwrap().der()).unwrap().remove(0)
        };
        let keys = [rcgen::KeyPair::generate().unwrap(), rcgen::KeyPair::generate().unwrap()];
        let root = params.self_signed(&keys[0]).unwrap();
        let mut anchors = TrustAnchors::default();
        // Of a CA that is not trusted nobody knows who signed.
        assert!(!is_forged(&list(&params, &keys[1]), &anchors));
        anchors.add(Arc::new(Certificate::parse(root.der())));
        assert!(!is_forged(&list(&params, &keys[0]), &anchors));
        assert!(is_forged(&list(&params, &keys[1]), &anchors));
    }

    #[test]
    fn logs_count_by_their_state() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log_list.json");
        let key =
            || STANDARD.encode(rcgen::PublicKeyData::subject_public_key_info(&rcgen::KeyPair::generate().unwrap()));
        let log = |state: &str| format!(r#"{{"description":"x","key":"{}","state":{{{state}}}}}"#, key());
        let at = |state: &str| format!(r#""{state}":{{"timestamp":"2023-11-14T22:13:20Z"}}"#);
        let read = |logs: &[String], tiled: &[String]| {
            let text =
                format!(r#"{{"operators":[{{"logs":[{}],"tiled_logs":[{}]}}]}}"#, logs.join(","), tiled.join(","));
            fs::write(&path, text).unwrap();
            let mut logs = Logs::default();
            add_logs(&mut logs, &path).map(|()| logs.len())
        };
        let states = ["usable", "qualified", "readonly", "retired", "rejected", "pending"].map(|state| log(&at(state)));
        assert_eq!(read(&states, &[log(&at("usable"))]), Ok(5));
        assert!(read(&states[4..], &[]).is_err(), "none that counts");
        assert!(read(&[r#"{"key":"AAAA","state":{"usable":{}}}"#.to_owned()], &[]).is_err());
        for text in ["", "[]", "{}", "{\"operators\":5}"] {
            fs::write(&path, text).unwrap();
            assert!(add_logs(&mut Logs::default(), &path).is_err());
        }
        let state = |text: &str| counts_until(Some(&serde_json::from_str(&format!("{{{text}}}")).unwrap()));
        assert_eq!(state(&at("retired")), Some(Some(1_700_000_000_000)));
        assert_eq!(
            (state(&at("usable")), state(&at("rejected")), state(""), counts_until(None)),
            (Some(None), None, None, None)
        );
    }

    #[test]
    fn a_revocation_list_that_must_not_be_used_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.crl");
        let strange = |critical| {
            fs::write(&path, crate::detect::crl::tests::unsigned(&[], &[crate::detect::crl::tests::strange(critical)]))
                .unwrap();
            crls(&path).unwrap().len()
        };
        assert_eq!((strange(false), strange(true)), (1, 0));
    }

    #[test]
    fn the_ca_of_a_proxy_is_known_and_not_trusted() {
        let folder = tempfile::tempdir().unwrap();
        let roots = concat!(env!("CARGO_MANIFEST_DIR"), "/pcaps/ca/private-roots.pem");
        fs::copy(roots, folder.path().join("proxy.pem")).unwrap();
        fs::write(folder.path().join("leaf.pem"), "no certificate").unwrap();
        let read = |file: &str| {
            let text =
                format!("version = 1\n[[interception]]\nname = \"p\"\nca = [\"{file}\"]\nmode = \"authorised\"\n");
            let (policy, wrong) = Policy::parse_partly(&text, &[]);
            assert!(wrong.is_empty(), "{wrong:?}");
            let mut knowledge = Knowledge { policy, ..Knowledge::default() };
            let wrong = read_all(&mut knowledge, folder.path());
            (knowledge, wrong)
        };
        let (knowledge, wrong) = read("proxy.pem");
        assert!(wrong.is_empty() && !knowledge.proxies.is_empty());
        let key = knowledge.proxies[0].facts.as_deref().unwrap().spki_sha256;
        assert!(knowledge.policy.interception_for(&key.0, [10, 0, 0, 1].into()).is_some());
        assert!(!knowledge.anchors.is_anchor(&knowledge.proxies[0]));
        for file in ["leaf.pem", "none.pem"] {
            let (_, wrong) = read(file);
            assert_eq!((wrong.len(), wrong[0].line, wrong[0].column), (1, 4, 7), "{wrong:?}");
        }
        let (_, wrong) =
            Policy::parse_partly("version = 1\n[[interception]]\nname = \"p\"\nmode = \"authorised\"\n", &[]);
        assert!(wrong[0].message.contains("spki or ca"), "{wrong:?}");
    }

    #[test]
    fn of_a_proxys_chain_only_the_lowest_ca_is_the_proxy() {
        let authority = |name: &str, above: Option<&rcgen::Issuer<'_, rcgen::KeyPair>>| {
            let mut params = rcgen::CertificateParams::default();
            params.distinguished_name.push(rcgen::DnType::CommonName, name);
            params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
            let key = rcgen::KeyPair::generate().unwrap();
            let signed = above.map_or_else(|| params.self_signed(&key), |above| params.signed_by(&key, above)).unwrap();
            let certificate = Arc::new(Certificate::parse(signed.der()));
            (certificate, rcgen::Issuer::new(params, key))
        };
        let (root, issuer) = authority("Corporate Root", None);
        let (proxy, _) = authority("Proxy CA", Some(&issuer));
        let (second, _) = authority("Second Proxy CA", Some(&issuer));
        let (namesake, _) = authority("Corporate Root", None);
        let key = |one: &Arc<Certificate>| one.facts.as_deref().unwrap().spki_sha256.0;
        let mut knowledge = Knowledge::default();
        let keys = |cas: &[&Arc<Certificate>], knowledge: &Knowledge| {
            let cas = cas.iter().map(|ca| Arc::clone(ca)).collect::<Vec<_>>();
            no_root_is_a_proxy(&cas, knowledge).and_then(|()| keys_of_proxy(&cas))
        };
        let sorted =
            |cas: &[&Arc<Certificate>]| Ok(BTreeSet::from_iter(cas.iter().map(|ca| key(ca))).into_iter().collect());
        assert_eq!(keys(&[&proxy, &root], &knowledge), sorted(&[&proxy]));
        assert_eq!(keys(&[&root, &second, &proxy], &knowledge), sorted(&[&proxy, &second]));
        assert_eq!(keys(&[&root, &root], &knowledge), sorted(&[&root]), "it issued only itself");
        assert_eq!(keys(&[&proxy, &namesake], &knowledge), sorted(&[&proxy, &namesake]), "names sign nothing");
        // One that everybody is trusted under is no proxy's.
        Arc::make_mut(&mut knowledge.anchors).add(Arc::clone(&root));
        assert_eq!(
            keys(&[&proxy, &root], &knowledge),
            Err("CN=Corporate Root is a trusted root, not a proxy's CA".to_owned())
        );
        assert_eq!(keys(&[&proxy], &knowledge), sorted(&[&proxy]));
        let mozilla = Arc::new(Certificate::parse(webpki_root_certs::TLS_SERVER_ROOT_CERTS[0].as_ref()));
        knowledge = Knowledge { builtin: TrustAnchors::mozilla(), ..Knowledge::default() };
        assert!(keys(&[&proxy, &mozilla], &knowledge).is_err(), "also where --no-builtin-roots leaves it out");
        knowledge.builtin = TrustAnchors::default();
        knowledge.builtin.add(Arc::clone(&root));
        let told = keys(&[&second], &knowledge).unwrap_err();
        assert_eq!(told, "CN=Second Proxy CA is a public CA, for CN=Corporate Root signed it: no proxy's");
        assert_eq!(keys(&[&namesake], &knowledge), sorted(&[&namesake]), "names are not signatures");

        // Each CA in a file of its own; and the same name under two keys.
        let folder = tempfile::tempdir().unwrap();
        for (file, ca) in [("root.pem", &root), ("proxy.pem", &proxy), ("namesake.pem", &namesake)] {
            fs::write(folder.path().join(file), &ca.der).unwrap();
        }
        let read = |files: &str| {
            let text = format!("version = 1\n[[interception]]\nname = \"p\"\nca = [{files}]\nmode = \"authorised\"\n");
            let mut knowledge = Knowledge { policy: Policy::parse(&text, &[]).unwrap(), ..Knowledge::default() };
            assert_eq!(read_all(&mut knowledge, folder.path()), []);
            (knowledge.policy.interceptions[0].spki.clone(), proxies(&knowledge).remove(0).1)
        };
        let (taken, told) = read("\"root.pem\", \"proxy.pem\"");
        assert_eq!((taken, told.as_str()), (vec![key(&proxy)], "CN=Proxy CA"));
        let (taken, told) = read("\"root.pem\", \"namesake.pem\"");
        assert_eq!((taken.len(), told.matches("CN=Corporate Root (key ").count()), (2, 2), "{told}");
    }

    #[test]
    fn a_root_that_browsers_trust_is_no_proxys_key() {
        let public = Certificate::parse(webpki_root_certs::TLS_SERVER_ROOT_CERTS[0].as_ref());
        let public = public.facts.as_deref().unwrap();
        for (key, mistakes) in [(public.spki_sha256, 1), (Sha256([7; 32]), 0)] {
            let text =
                format!("version = 1\n[[interception]]\nname = \"p\"\nspki = [\"{key}\"]\nmode = \"authorised\"\n");
            let policy = Policy::parse(&text, &[]).unwrap();
            let mut knowledge = Knowledge { policy, builtin: TrustAnchors::mozilla(), ..Knowledge::default() };
            let wrong = read_all(&mut knowledge, Path::new(""));
            assert_eq!(wrong.len(), mistakes, "{wrong:?}");
            assert!(wrong.iter().all(|one| one.line == 2 && one.message.contains(&public.subject.text)), "{wrong:?}");
        }
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
