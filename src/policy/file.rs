//! The policy file as it is typed: TOML tables, every value with its place.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;
use toml::value::Datetime;

pub(super) type Text = Spanned<String>;
pub(super) type Texts = Vec<Text>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) version: Spanned<i64>,
    pub(super) profile: Option<Text>,
    pub(super) home_nets: Option<Texts>,
    #[serde(default)]
    pub(super) scanners: Texts,
    #[serde(default)]
    pub(super) trust: Trust,
    #[serde(default)]
    pub(super) internal_ca: Vec<Spanned<InternalCa>>,
    #[serde(default)]
    pub(super) interception: Vec<Spanned<Interception>>,
    #[serde(default)]
    pub(super) host: Vec<Spanned<Host>>,
    #[serde(default)]
    pub(super) client_certificate: Vec<Spanned<ClientCertificate>>,
    #[serde(default)]
    pub(super) compromised: Vec<Spanned<Compromised>>,
    #[serde(default)]
    pub(super) rules: BTreeMap<Text, BTreeMap<Text, Spanned<toml::Value>>>,
    #[serde(default)]
    pub(super) suppress: Vec<Spanned<Suppress>>,
    #[serde(default)]
    pub(super) severity: Vec<Spanned<SeverityOf>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Trust {
    pub(super) builtin_roots: Option<bool>,
    #[serde(default)]
    pub(super) roots: Texts,
    #[serde(default)]
    pub(super) crls: Texts,
    #[serde(default)]
    pub(super) ct_logs: Texts,
    #[serde(default)]
    pub(super) blocklists: Vec<ListFile>,
    #[serde(default)]
    pub(super) compromised_keys: Vec<ListFile>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListFile {
    pub(super) path: Text,
    pub(super) format: Text,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct InternalCa {
    pub(super) name: String,
    pub(super) spki: Spanned<Texts>,
    #[serde(default)]
    pub(super) names: Texts,
    pub(super) owner: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Interception {
    pub(super) name: String,
    pub(super) spki: Option<Spanned<Texts>>,
    #[serde(default)]
    pub(super) ca: Texts,
    #[serde(default)]
    pub(super) clients: Texts,
    pub(super) mode: Text,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Host {
    pub(super) r#match: Spanned<Texts>,
    #[serde(default)]
    pub(super) pins: Texts,
    #[serde(default)]
    pub(super) issuers: Texts,
    #[serde(default)]
    pub(super) issuer_names: Texts,
    #[serde(default)]
    pub(super) caa: Texts,
    #[serde(default)]
    pub(super) certificates: Texts,
    pub(super) certificates_file: Option<Text>,
    #[serde(default)]
    pub(super) places: Texts,
    pub(super) owner: Option<String>,
    pub(super) min_version: Option<Text>,
    #[serde(default)]
    pub(super) alpn: Vec<String>,
    #[serde(default)]
    pub(super) ciphers: Vec<String>,
    #[serde(default)]
    pub(super) key_types: Texts,
    pub(super) min_rsa_bits: Option<Spanned<i64>>,
    pub(super) key_reuse: Option<bool>,
    pub(super) wildcards: Option<bool>,
    pub(super) max_days: Option<Spanned<i64>>,
    pub(super) expires: Option<Spanned<Datetime>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ClientCertificate {
    pub(super) r#match: Spanned<ClientMatch>,
    #[serde(default)]
    pub(super) allowed_from: Texts,
    #[serde(default)]
    pub(super) sensitive: bool,
    pub(super) owner: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ClientMatch {
    pub(super) spki: Option<Text>,
    pub(super) subject: Option<Text>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Compromised {
    #[serde(default)]
    pub(super) certificates: Texts,
    #[serde(default)]
    pub(super) keys: Texts,
    #[serde(default)]
    pub(super) serials: Vec<Serial>,
    pub(super) reason: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Serial {
    pub(super) issuer: Text,
    pub(super) serial: Text,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Suppress {
    pub(super) rule: Text,
    #[serde(default)]
    pub(super) src: Texts,
    #[serde(default)]
    pub(super) dst: Texts,
    pub(super) host: Option<Text>,
    pub(super) client_certificate: Option<Text>,
    pub(super) until: Option<Spanned<Datetime>>,
    #[serde(default)]
    pub(super) permanent: bool,
    pub(super) reason: Text,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SeverityOf {
    pub(super) rule: Text,
    pub(super) host: Option<Text>,
    pub(super) set: Spanned<toml::Value>,
}
