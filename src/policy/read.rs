//! From the file as typed to the policy as meant: checks every value and tells where a bad one stands.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use thiserror::Error;
use toml::Spanned;
use toml::value::Datetime;

use super::digest::{CertificateHash, Digest, digest, octets};
use super::distinguished_name::NamePattern;
use super::file::{self, File, Text};
use super::tolerant::{self, Tolerated};
use super::{
    ClientCertificate, ClientMatch, Compromised, Day, HostEntry, HostIndex, HostPattern, Interception, InternalCa,
    KnownRule, ListFile, ListFormat, NamedFile, Policy, Profile, RulePattern, Setting, SettingKind, SettingValue,
    Severity, SeverityOverride, Suppression, Trust, or_nearest,
};

/// One thing that is wrong in a policy file.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("line {line}, column {column}: {message}")]
pub struct PolicyError {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// The key and what is wrong with its value.
    pub message: String,
}

/// Everything that is wrong in a policy file: at least one error, in order of the file.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub struct PolicyErrors(pub Vec<PolicyError>);

impl fmt::Display for PolicyErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

pub(super) fn read(text: &str, known: &[KnownRule]) -> (Policy, Vec<PolicyError>) {
    let mut reader = Reader { text, known, errors: Vec::new() };
    let Tolerated { file, mistakes } = tolerant::read(text);
    for (span, message) in mistakes {
        reader.error(&span, message);
    }
    let policy = file.map(|file| reader.policy(file)).unwrap_or_default();
    reader.errors.sort_by_key(|error| (error.line, error.column));
    (policy, reader.errors)
}

struct Reader<'a> {
    text: &'a str,
    known: &'a [KnownRule],
    errors: Vec<PolicyError>,
}

impl Reader<'_> {
    fn policy(&mut self, file: File) -> Policy {
        let mut policy = Policy::default();
        if *file.version.get_ref() != 1 {
            self.error(&file.version.span(), "version: this release reads version 1".to_owned());
        }
        if let Some(profile) = &file.profile {
            let names = "profile: expected \"quiet\", \"balanced\" or \"verbose\"";
            policy.profile = self.or_error(profile, Profile::of_name(profile.get_ref()), names).unwrap_or_default();
        }
        if let Some(networks) = &file.home_nets {
            policy.home_nets = self.parsed("home_nets", networks);
        }
        policy.scanners = self.parsed("scanners", &file.scanners);
        policy.trust = self.trust(file.trust);
        policy.internal_cas = file.internal_ca.into_iter().map(|entry| self.internal_ca(entry)).collect();
        policy.interceptions = file.interception.into_iter().map(|entry| self.interception(entry)).collect();
        policy.hosts = file.host.into_iter().map(|entry| self.host(entry)).collect();
        policy.client_certificates =
            file.client_certificate.into_iter().map(|entry| self.client_certificate(entry)).collect();
        policy.compromised = file.compromised.into_iter().map(|entry| self.compromised(entry)).collect();
        policy.settings = self.settings(file.rules);
        policy.suppressions = file.suppress.into_iter().filter_map(|entry| self.suppression(entry)).collect();
        policy.severities = file.severity.into_iter().filter_map(|entry| self.severity(entry)).collect();
        policy.index = self.index(&policy.hosts);
        policy
    }

    fn trust(&mut self, trust: file::Trust) -> Trust {
        Trust {
            builtin_roots: trust.builtin_roots.unwrap_or(true),
            roots: trust.roots.into_iter().map(|path| self.named_file("trust.roots", path)).collect(),
            crls: trust.crls.into_iter().map(|path| self.named_file("trust.crls", path)).collect(),
            ct_logs: trust.ct_logs.into_iter().map(|path| self.named_file("trust.ct_logs", path)).collect(),
            blocklists: self.list_files("trust.blocklists", trust.blocklists, &ListFormat::BLOCKLISTS),
            compromised_keys: self.list_files("trust.compromised_keys", trust.compromised_keys, &ListFormat::KEYS),
        }
    }

    fn named_file(&self, key: &'static str, path: Text) -> NamedFile {
        let (line, column) = self.position(path.span().start);
        NamedFile { key, path: path.into_inner(), line, column }
    }

    fn list_files(&mut self, key: &'static str, files: Vec<file::ListFile>, formats: &[ListFormat]) -> Vec<ListFile> {
        let names: Vec<&str> = formats.iter().map(|format| format.name()).collect();
        let expected = format!("{key}: the format is one of {}", names.join(", "));
        let mut out = Vec::new();
        for file in files {
            let format = formats.iter().copied().find(|format| format.name() == file.format.get_ref());
            if let Some(format) = self.or_error(&file.format, format, &expected) {
                out.push(ListFile { file: self.named_file(key, file.path), format });
            }
        }
        out
    }

    fn internal_ca(&mut self, entry: Spanned<file::InternalCa>) -> InternalCa {
        let line = self.line(&entry);
        let entry = entry.into_inner();
        self.not_empty("internal_ca.spki", &entry.spki);
        let names: Vec<HostPattern> = self.parsed("internal_ca.names", &entry.names);
        for (pattern, text) in names.iter().zip(&entry.names) {
            if pattern.port.is_some() {
                self.error(&text.span(), "internal_ca.names: a certificate has no port".to_owned());
            }
        }
        InternalCa {
            name: entry.name,
            spki: self.digests("internal_ca.spki", entry.spki.get_ref()),
            names,
            owner: entry.owner,
            line,
        }
    }

    fn interception(&mut self, entry: Spanned<file::Interception>) -> Interception {
        let (line, span) = (self.line(&entry), entry.span());
        let entry = entry.into_inner();
        match &entry.spki {
            Some(spki) => self.not_empty("interception.spki", spki),
            None if entry.ca.is_empty() => {
                self.error(&span, "interception: spki or ca says which keys are the proxy's".to_owned());
            }
            None => {}
        }
        if entry.mode.get_ref() != "authorised" {
            self.error(&entry.mode.span(), "interception.mode: expected \"authorised\"".to_owned());
        }
        let spki = entry.spki.map(Spanned::into_inner).unwrap_or_default();
        Interception {
            name: entry.name,
            spki: self.digests("interception.spki", &spki),
            ca: entry.ca.into_iter().map(|path| self.named_file("interception.ca", path)).collect(),
            clients: self.parsed("interception.clients", &entry.clients),
            line,
        }
    }

    fn host(&mut self, entry: Spanned<file::Host>) -> HostEntry {
        let line = self.line(&entry);
        let entry = entry.into_inner();
        self.not_empty("host.match", &entry.r#match);
        let versions = "host.min_version: expected \"1.0\", \"1.1\", \"1.2\" or \"1.3\"";
        let min_version = entry.min_version.as_ref().and_then(|text| self.or_error(text, version(text), versions));
        for kind in &entry.key_types {
            if !["rsa", "ec", "ed25519", "ed448"].contains(&kind.get_ref().as_str()) {
                let message = "host.key_types: expected \"rsa\", \"ec\", \"ed25519\" or \"ed448\"";
                self.error(&kind.span(), message.to_owned());
            }
        }
        HostEntry {
            patterns: self.parsed("host.match", entry.r#match.get_ref()),
            pins: self.digests("host.pins", &entry.pins),
            issuers: self.digests("host.issuers", &entry.issuers),
            issuer_names: self.names("host.issuer_names", &entry.issuer_names),
            caa: self.parsed::<HostPattern>("host.caa", &entry.caa).iter().map(ToString::to_string).collect(),
            certificates: self.digests("host.certificates", &entry.certificates),
            certificates_file: entry.certificates_file.map(|path| self.named_file("host.certificates_file", path)),
            places: self.parsed("host.places", &entry.places),
            owner: entry.owner,
            min_version,
            alpn: entry.alpn,
            ciphers: entry.ciphers,
            key_types: entry.key_types.into_iter().map(Spanned::into_inner).collect(),
            min_rsa_bits: self.number("host.min_rsa_bits", entry.min_rsa_bits, 65_536),
            key_reuse: entry.key_reuse.unwrap_or(true),
            wildcards: entry.wildcards.unwrap_or(true),
            max_days: self.number("host.max_days", entry.max_days, 36_500),
            expires: self.day("host.expires", entry.expires.as_ref()),
            line,
        }
    }

    fn client_certificate(&mut self, entry: Spanned<file::ClientCertificate>) -> ClientCertificate {
        let line = self.line(&entry);
        let entry = entry.into_inner();
        let span = entry.r#match.span();
        let wanted = match (&entry.r#match.get_ref().spki, &entry.r#match.get_ref().subject) {
            (Some(spki), None) => {
                self.digests("client_certificate.match.spki", std::slice::from_ref(spki)).pop().map(ClientMatch::Key)
            }
            (None, Some(subject)) => self
                .names("client_certificate.match.subject", std::slice::from_ref(subject))
                .pop()
                .map(ClientMatch::Subject),
            _ => {
                self.error(&span, "client_certificate.match: expected either spki or subject".to_owned());
                None
            }
        };
        ClientCertificate {
            // A match that was an error is never used: the whole file is refused.
            matches: wanted.unwrap_or_else(|| ClientMatch::Key(Digest::default())),
            allowed_from: self.parsed("client_certificate.allowed_from", &entry.allowed_from),
            sensitive: entry.sensitive,
            owner: entry.owner,
            line,
        }
    }

    fn compromised(&mut self, entry: Spanned<file::Compromised>) -> Compromised {
        let line = self.line(&entry);
        let entry = entry.into_inner();
        let mut certificates = Vec::new();
        for text in &entry.certificates {
            let expected = "compromised.certificates: expected 40 or 64 hexadecimal digits";
            certificates.extend(self.or_error(text, CertificateHash::parse(text.get_ref()), expected));
        }
        let mut serials = Vec::new();
        for item in &entry.serials {
            let issuer = self.names("compromised.serials.issuer", std::slice::from_ref(&item.issuer)).pop();
            let expected = "compromised.serials.serial: expected hexadecimal octets";
            let serial = self.or_error(&item.serial, octets(item.serial.get_ref()), expected);
            serials.extend(issuer.zip(serial));
        }
        Compromised {
            certificates,
            keys: self.digests("compromised.keys", &entry.keys),
            serials,
            reason: entry.reason,
            line,
        }
    }

    fn suppression(&mut self, entry: Spanned<file::Suppress>) -> Option<Suppression> {
        let (line, span) = (self.line(&entry), entry.span());
        let entry = entry.into_inner();
        if entry.until.is_some() == entry.permanent {
            self.error(&span, "suppress: give either until = DATE or permanent = true".to_owned());
        }
        if entry.reason.get_ref().trim().is_empty() {
            self.error(&entry.reason.span(), "suppress.reason: is empty".to_owned());
        }
        let key = entry.client_certificate.as_ref().map(std::slice::from_ref);
        let rule = self.rule_pattern("suppress.rule", &entry.rule);
        let (src, dst) = (self.parsed("suppress.src", &entry.src), self.parsed("suppress.dst", &entry.dst));
        let host = self.parsed("suppress.host", entry.host.as_slice()).pop();
        let client_certificate = key.and_then(|key| self.digests("suppress.client_certificate", key).pop());
        let until = self.day("suppress.until", entry.until.as_ref());
        let reason = entry.reason.into_inner();
        Some(Suppression { rule: rule?, src, dst, host, client_certificate, until, reason, line })
    }

    fn severity(&mut self, entry: Spanned<file::SeverityOf>) -> Option<SeverityOverride> {
        let line = self.line(&entry);
        let entry = entry.into_inner();
        let set = match entry.set.get_ref() {
            toml::Value::Integer(number) => Severity::of_number(*number),
            toml::Value::String(name) => Severity::of_name(name),
            _ => None,
        };
        if set.is_none() {
            let message = "severity.set: expected 21, 47, 73 or 99, or \"low\", \"medium\", \"high\" or \"critical\"";
            self.error(&entry.set.span(), message.to_owned());
        }
        let rule = self.rule_pattern("severity.rule", &entry.rule);
        Some(SeverityOverride {
            rule: rule?,
            host: self.parsed("severity.host", entry.host.as_slice()).pop(),
            set: set?,
            line,
        })
    }

    fn settings(
        &mut self,
        rules: BTreeMap<Text, BTreeMap<Text, Spanned<toml::Value>>>,
    ) -> BTreeMap<(&'static str, &'static str), SettingValue> {
        const ENABLED: Setting =
            Setting { name: "enabled", kind: SettingKind::Flag { default: true }, meaning: "whether the rule runs" };
        let mut settings = BTreeMap::new();
        for (rule, values) in rules {
            let Some(known) = self.known.iter().copied().find(|known| known.is_named(rule.get_ref())) else {
                let near = or_nearest(rule.get_ref(), self.known);
                self.error(&rule.span(), format!("rules.{:?}: there is no such rule{near}", rule.get_ref()));
                continue;
            };
            for (key, value) in values {
                let found = known.settings.iter().chain([&ENABLED]).find(|setting| setting.name == key.get_ref());
                let Some(setting) = found else {
                    let names: Vec<&str> =
                        known.settings.iter().chain([&ENABLED]).map(|setting| setting.name).collect();
                    let message =
                        format!("rules.{}: no setting {:?}, only {}", known.id, key.get_ref(), names.join(", "));
                    self.error(&key.span(), message);
                    continue;
                };
                let Some(read) = setting_value(setting.kind, value.get_ref()) else {
                    let expected = setting.kind.expectation();
                    self.error(&value.span(), format!("rules.{}.{}: expected {expected}", known.id, setting.name));
                    continue;
                };
                if settings.insert((known.id, setting.name), read).is_some() {
                    let message =
                        format!("rules.{}.{}: set twice, under two names of the rule", known.id, setting.name);
                    self.error(&key.span(), message);
                }
            }
        }
        settings
    }

    fn index(&mut self, hosts: &[HostEntry]) -> HostIndex {
        let mut index = HostIndex::default();
        for (place, entry) in hosts.iter().enumerate() {
            for pattern in &entry.patterns {
                if let Some(earlier) = index.insert(pattern, place).and_then(|earlier| hosts.get(earlier)) {
                    let message = format!("host.match: {pattern} stands in the entry of line {} already", earlier.line);
                    self.errors.push(PolicyError { line: entry.line, column: 1, message });
                }
            }
        }
        index.sort();
        index
    }

    fn rule_pattern(&mut self, key: &str, text: &Text) -> Option<RulePattern> {
        let pattern = RulePattern::of(text.get_ref(), self.known);
        if pattern.is_none() {
            let near = or_nearest(text.get_ref(), self.known);
            self.error(&text.span(), format!("{key}: no rule is called {:?}{near}", text.get_ref()));
        }
        pattern
    }

    fn parsed<T: FromStr>(&mut self, key: &str, texts: &[Text]) -> Vec<T>
    where
        T::Err: fmt::Display,
    {
        let mut out = Vec::with_capacity(texts.len());
        for text in texts {
            match text.get_ref().parse() {
                Ok(value) => out.push(value),
                Err(error) => self.error(&text.span(), format!("{key}: {:?}: {error}", text.get_ref())),
            }
        }
        out
    }

    fn digests(&mut self, key: &str, texts: &[Text]) -> Vec<Digest> {
        let expected = format!("{key}: expected a SHA-256 as sha256/BASE64, sha256//BASE64 or 64 hexadecimal digits");
        texts.iter().filter_map(|text| self.or_error(text, digest(text.get_ref()), &expected)).collect()
    }

    fn names(&mut self, key: &str, texts: &[Text]) -> Vec<NamePattern> {
        let mut out = Vec::with_capacity(texts.len());
        for text in texts {
            match NamePattern::parse(text.get_ref()) {
                Ok(pattern) => out.push(pattern),
                Err(error) => self.error(&text.span(), format!("{key}: {:?}: {error}", text.get_ref())),
            }
        }
        out
    }

    fn number(&mut self, key: &str, value: Option<Spanned<i64>>, most: u32) -> Option<u32> {
        let value = value?;
        let number = u32::try_from(*value.get_ref()).ok().filter(|number| (1..=most).contains(number));
        if number.is_none() {
            self.error(&value.span(), format!("{key}: expected an integer from 1 to {most}"));
        }
        number
    }

    fn day(&mut self, key: &str, value: Option<&Spanned<Datetime>>) -> Option<Day> {
        let value = value?;
        match value.get_ref() {
            Datetime { date: Some(date), time: None, offset: None } => {
                Some(Day::of_date(date.year, date.month, date.day))
            }
            _ => {
                self.error(&value.span(), format!("{key}: expected a date such as 2027-03-01"));
                None
            }
        }
    }

    fn not_empty<T>(&mut self, key: &str, list: &Spanned<Vec<T>>) {
        if list.get_ref().is_empty() {
            self.error(&list.span(), format!("{key}: is empty"));
        }
    }

    fn or_error<T>(&mut self, text: &Text, value: Option<T>, expected: &str) -> Option<T> {
        if value.is_none() {
            self.error(&text.span(), format!("{expected}, not {:?}", text.get_ref()));
        }
        value
    }

    fn line<T>(&self, entry: &Spanned<T>) -> usize {
        self.position(entry.span().start).0
    }

    fn error(&mut self, span: &Range<usize>, message: String) {
        let (line, column) = self.position(span.start);
        self.errors.push(PolicyError { line, column, message });
    }

    fn position(&self, offset: usize) -> (usize, usize) {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let last = before.rsplit('\n').next().unwrap_or(before);
        (before.matches('\n').count() + 1, last.chars().count() + 1)
    }
}

fn setting_value(kind: SettingKind, value: &toml::Value) -> Option<SettingValue> {
    match (kind, value) {
        (SettingKind::Number { least, most, .. }, toml::Value::Integer(number)) => {
            (least..=most).contains(number).then_some(SettingValue::Number(*number))
        }
        (SettingKind::Numbers { least, most, .. }, toml::Value::Array(values)) => {
            let numbers: Vec<i64> = values.iter().map(toml::Value::as_integer).collect::<Option<_>>()?;
            let good = (1..=8).contains(&numbers.len())
                && numbers.iter().all(|number| (least..=most).contains(number))
                && numbers.is_sorted_by(|a, b| a > b);
            good.then_some(SettingValue::Numbers(numbers))
        }
        (SettingKind::Duration { .. }, toml::Value::String(text)) => duration(text).map(SettingValue::Duration),
        (SettingKind::Flag { .. }, toml::Value::Boolean(flag)) => Some(SettingValue::Flag(*flag)),
        _ => None,
    }
}

/// Seconds of `90s`, `15m`, `24h` or `7d`; at most ten years.
fn duration(text: &str) -> Option<i64> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let unit = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return None,
    };
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse::<i64>().ok()?.checked_mul(unit).filter(|seconds| *seconds <= 3_650 * 86_400)
}

fn version(text: &Text) -> Option<u16> {
    match text.get_ref().as_str() {
        "1.0" => Some(0x0301),
        "1.1" => Some(0x0302),
        "1.2" => Some(0x0303),
        "1.3" => Some(0x0304),
        _ => None,
    }
}
