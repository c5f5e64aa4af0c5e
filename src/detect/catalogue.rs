//! The catalogue: every rule, what it means, where it errs and what to do about it.
//!
//! `tlswatch rules`, `tlswatch rules show` and docs/RULES.md are made from it, and nothing else holds a rule's text.

mod certificate;
mod client_certificate;
mod crypto;
mod key_reuse;
mod mitm;
mod policy;
mod technique;
mod text;

pub use self::certificate::*;
pub use self::client_certificate::*;
pub use self::crypto::*;
pub use self::key_reuse::*;
pub use self::mitm::*;
pub use self::policy::*;
pub use crate::policy::{KnownRule, Setting, SettingKind, Severity};
pub use technique::{ATTACK_VERSION, Technique};
pub use text::{rule_text, rules_markdown, rules_table};

/// The version of the ruleset as a whole (`rule.ruleset` is [`RULESET`]).
pub const RULESET: &str = "tlswatch";

/// One rule of the catalogue.
#[derive(Debug, Eq)]
pub struct Rule {
    /// `TLSW-MITM-003`: never reused, never renumbered.
    pub id: &'static str,
    /// Short name in lower case with hyphens, usable wherever the id is.
    pub slug: &'static str,
    /// One English sentence: what is the case when the rule fires (`rule.name`).
    pub name: &'static str,
    /// What it is about.
    pub category: Category,
    /// Severity unless the condition or the policy says otherwise.
    pub severity: Severity,
    /// 0 to 100: how sure it is that the condition is hostile or wrong, not how bad it would be.
    pub confidence: u8,
    /// Whether it alerts or only marks events.
    pub effect: Effect,
    /// Changes when the condition changes (`rule.version`).
    pub version: &'static str,
    /// ATT&CK techniques it tells of.
    pub techniques: &'static [Technique],
    /// The exact condition, with the steps of severity.
    pub description: &'static str,
    /// Innocent causes, and what holds them down.
    pub false_positives: &'static str,
    /// What to do when it fires.
    pub remedy: &'static str,
    /// Standards and studies.
    pub references: &'static [&'static str],
    /// Settings in the policy file beside `enabled`.
    pub settings: &'static [Setting],
}

impl PartialEq for Rule {
    /// Ids are unique.
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Rule {
    /// Where the rule's section stands in docs/RULES.md (`rule.reference`).
    pub fn reference(&self) -> String {
        format!("docs/RULES.md#{}", self.id.to_ascii_lowercase())
    }

    /// What the policy file must know of this rule.
    pub fn known(&self) -> KnownRule {
        KnownRule { id: self.id, slug: self.slug, settings: self.settings }
    }
}

/// What a rule is about (`tlswatch.alert.category`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Category {
    /// Interception.
    Mitm,
    /// Keys in more places than one, or known to others.
    KeyReuse,
    /// Certificates of servers and clients.
    Certificate,
    /// Versions, ciphers, keys and signatures.
    Crypto,
    /// What the owner of the network decided.
    Policy,
}

impl Category {
    /// All categories in order of the catalogue.
    pub const ALL: [Self; 5] = [Self::Mitm, Self::KeyReuse, Self::Certificate, Self::Crypto, Self::Policy];

    /// `mitm`, `key_reuse`, `certificate`, `crypto` or `policy`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mitm => "mitm",
            Self::KeyReuse => "key_reuse",
            Self::Certificate => "certificate",
            Self::Crypto => "crypto",
            Self::Policy => "policy",
        }
    }

    /// The middle part of ids: `MITM`, `KEY`, `CERT`, `CRYP` or `POL`.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Mitm => "MITM",
            Self::KeyReuse => "KEY",
            Self::Certificate => "CERT",
            Self::Crypto => "CRYP",
            Self::Policy => "POL",
        }
    }
}

/// What a rule that holds leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Effect {
    /// A mark on the event of the certificate or handshake, and a line in the inventory; no alert.
    Mark,
    /// An alert.
    Alert,
}

impl Effect {
    /// `mark` or `alert`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mark => "mark",
            Self::Alert => "alert",
        }
    }
}

/// Every rule, in order of category and number.
pub fn rules() -> impl Iterator<Item = &'static Rule> {
    TABLES.iter().flat_map(|table| table.iter().copied())
}

/// The rule of this name: its id, with or without `TLSW-`, or its slug, in any case.
pub fn rule(name: &str) -> Option<&'static Rule> {
    rules().find(|rule| rule.known().is_named(name))
}

/// What the policy file must know of all rules.
pub fn known_rules() -> Vec<KnownRule> {
    rules().map(Rule::known).collect()
}

static TABLES: [&[&Rule]; 6] =
    [MITM_RULES, KEY_REUSE_RULES, CERTIFICATE_RULES, CLIENT_CERTIFICATE_RULES, CRYPTO_RULES, POLICY_RULES];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Every rule that the catalogue promises, by category and number.
    const PROMISED: [(&str, &[u16]); 5] = [
        ("MITM", &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 13, 14, 15, 31]),
        ("KEY", &[1, 2, 3, 5, 6, 7]),
        ("CERT", &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 14, 17, 18, 30, 31, 32, 33, 34, 40]),
        ("CRYP", &[1, 2, 3, 4, 5, 6, 7, 8, 9, 11]),
        ("POL", &[1, 2, 3, 4, 5, 6, 7]),
    ];

    #[test]
    fn the_promised_rules_are_there_and_no_others() {
        let promised: BTreeSet<String> = PROMISED
            .iter()
            .flat_map(|(code, numbers)| numbers.iter().map(move |number| format!("TLSW-{code}-{number:03}")))
            .collect();
        let present: BTreeSet<String> = rules().map(|rule| rule.id.to_owned()).collect();
        assert_eq!(present, promised);
        assert_eq!(rules().count(), promised.len(), "an id occurs twice");
    }

    #[test]
    fn entries_are_complete() {
        let mut slugs = BTreeSet::new();
        for rule in rules() {
            let id = rule.id;
            assert!(slugs.insert(rule.slug), "{id}: slug occurs twice");
            assert!(rule.slug.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'), "{id}");
            assert_eq!(id.split('-').nth(1), Some(rule.category.code()), "{id}");
            assert!(rule.confidence > 0 && rule.confidence <= 99, "{id}");
            for text in [rule.description, rule.false_positives, rule.remedy] {
                assert!(text.ends_with(['.', '?']) && !text.contains("  "), "{id}: {text}");
            }
            assert!(rule.description.len() > 80, "{id}: the condition is not told");
            assert!(!rule.name.ends_with('.') && !rule.references.is_empty(), "{id}");
            assert!(rule.settings.iter().all(|setting| setting.name != "enabled"), "{id}");
        }
    }

    #[test]
    fn look_up_takes_ids_and_slug_in_any_case() {
        for rule in rules() {
            let short = rule.id.trim_start_matches("TLSW-").to_ascii_lowercase();
            let found = [rule.id, short.as_str(), rule.slug].map(super::rule);
            assert_eq!(found, [Some(rule); 3], "{short}");
        }
        assert_eq!(rule("tlsw-mitm-003"), Some(&LEAF_SIGNED_BY_OWN_KEY));
        assert_eq!(rule("Leaf-Signed-By-Own-Key"), Some(&LEAF_SIGNED_BY_OWN_KEY));
        for other in ["", "MITM-3", "003", "TLSW-MITM-3", "TLSW-MITM-012", "leaf"] {
            assert_eq!(rule(other), None, "{other:?}");
        }
    }

    #[test]
    fn the_example_of_the_policy_document_is_good() {
        let document = include_str!("../../docs/POLICY.md");
        let example = document.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
        let policy = crate::policy::Policy::parse(example, &known_rules()).unwrap();
        assert_eq!(crate::policy::warnings(&policy, None), []);
        assert_eq!(policy.number(&UNEXPECTED_CERTIFICATE.known(), "hold"), 900);
        assert!(!policy.is_enabled(&PQ_STATUS.known()) && policy.is_enabled(&EXPIRING.known()));
    }
}
