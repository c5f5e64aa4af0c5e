//! How people name rules: by id, with or without its `TLSW-`, or by slug, in any case.

use super::KnownRule;

/// What every id begins with.
const PREFIX: &str = "TLSW-";
/// Least similarity (Jaro) of a name that is offered instead; clap offers from the same on.
const SIMILAR: f64 = 0.7;

impl KnownRule {
    /// Whether this is its id or its slug, in any case; an id may lack its `TLSW-`.
    pub fn is_named(&self, name: &str) -> bool {
        self.names().into_iter().any(|one| one.eq_ignore_ascii_case(name))
    }

    /// The whole id first, the slug last.
    fn names(&self) -> [&'static str; 3] {
        [self.id, self.id.strip_prefix(PREFIX).unwrap_or(self.id), self.slug]
    }
}

/// The name that somebody may have meant who wrote one that no rule has. Of similar ones it is that of the fewest edits:
/// to Jaro `CERT-10` is nearer to `CERT-001` than to `CERT-010`.
fn nearest_rule(name: &str, known: &[KnownRule]) -> Option<&'static str> {
    let name = name.to_ascii_lowercase();
    let mut best = (0.0, None);
    for one in known.iter().flat_map(KnownRule::names) {
        let other = one.to_ascii_lowercase();
        let alike = strsim::normalized_levenshtein(&name, &other);
        if alike > best.0 && strsim::jaro(&name, &other) > SIMILAR {
            best = (alike, Some(one));
        }
    }
    best.1
}

/// The nearest name as the end of a message, or nothing.
pub fn or_nearest(name: &str, known: &[KnownRule]) -> String {
    nearest_rule(name, known).map_or_else(String::new, |one| format!("; a similar one: {one}"))
}

/// Rules by their names, or by the beginning of one (`TLSW-CERT-*`), in any case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RulePattern {
    /// In lower case: an id, or what ids or slugs begin with.
    text: String,
    prefix: bool,
}

impl RulePattern {
    /// `None` where no rule is named. What slugs begin with is no beginning of ids without `TLSW-`, so `key-*` is
    /// `key-policy` alone.
    pub(super) fn of(text: &str, known: &[KnownRule]) -> Option<Self> {
        let Some(beginning) = text.strip_suffix('*') else {
            let rule = known.iter().find(|rule| rule.is_named(text))?;
            return Some(Self { text: rule.id.to_ascii_lowercase(), prefix: false });
        };
        [beginning.to_ascii_lowercase(), format!("{PREFIX}{beginning}").to_ascii_lowercase()]
            .into_iter()
            .map(|text| Self { text, prefix: true })
            .find(|pattern| known.iter().any(|rule| pattern.matches(rule)))
    }

    /// Whether the rule is among them.
    pub fn matches(&self, rule: &KnownRule) -> bool {
        [rule.id, rule.slug].into_iter().any(|name| {
            let name = name.to_ascii_lowercase();
            if self.prefix { name.starts_with(&self.text) } else { name == self.text }
        })
    }

    /// Whether it is all rules.
    pub fn is_all(&self) -> bool {
        self.prefix && self.text.is_empty()
    }

    /// Whether every rule of the other pattern is one of this one, as far as the texts tell.
    pub(super) fn covers(&self, other: &Self) -> bool {
        self == other || (self.prefix && other.text.starts_with(&self.text))
    }

    pub(super) fn rank(&self) -> (bool, usize) {
        (!self.prefix, self.text.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: [KnownRule; 5] = [
        KnownRule { id: "TLSW-CERT-010", slug: "known-compromised-key", settings: &[] },
        KnownRule { id: "TLSW-KEY-001", slug: "shared-public-key", settings: &[] },
        KnownRule { id: "TLSW-KEY-002", slug: "rsa-shared-factor", settings: &[] },
        KnownRule { id: "TLSW-POL-004", slug: "key-policy", settings: &[] },
        KnownRule { id: "TLSW-CERT-001", slug: "expired", settings: &[] },
    ];

    #[test]
    fn rules_have_three_names() {
        for name in ["TLSW-CERT-010", "tlsw-cert-010", "CERT-010", "cert-010", "Known-Compromised-Key"] {
            assert!(RULES[0].is_named(name) && !RULES[1].is_named(name), "{name}");
        }
        for name in ["", "010", "-010", "CERT-10", "TLSW", "TLSW-", "TLSW-known-compromised-key", "W-CERT-010"] {
            assert!(!RULES[0].is_named(name), "{name}");
        }
    }

    #[test]
    fn beginnings_may_lack_what_all_ids_begin_with() {
        for (text, places) in [
            ("*", vec![0, 1, 2, 3, 4]),
            ("TLSW-*", vec![0, 1, 2, 3, 4]),
            ("tlsw-key-*", vec![1, 2]),
            ("KEY-0*", vec![1, 2]),
            ("Cert-*", vec![0, 4]),
            ("cert-010", vec![0]),
            ("known-*", vec![0]),
            // As it was before ids could be shorter: no silence grows.
            ("key-*", vec![3]),
            ("KEY-002*", vec![2]),
        ] {
            let pattern = RulePattern::of(text, &RULES).unwrap();
            let matched: Vec<usize> = (0..RULES.len()).filter(|place| pattern.matches(&RULES[*place])).collect();
            assert_eq!(matched, places, "{text}");
        }
        for text in ["", "CERT", "other", "other*", "-*", "TLSW-TLSW-*", "010*"] {
            assert_eq!(RulePattern::of(text, &RULES), None, "{text}");
        }
    }

    #[test]
    fn all_names_of_a_rule_make_one_pattern() {
        let [long, short, slug] =
            ["TLSW-CERT-010", "cert-010", "known-compromised-key"].map(|text| RulePattern::of(text, &RULES).unwrap());
        assert_eq!([&long, &long], [&short, &slug]);
        assert!(RulePattern::of("CERT-*", &RULES).unwrap().covers(&slug));
    }

    #[test]
    fn who_mistypes_is_helped() {
        for (name, nearest) in [
            ("cert-10", Some("CERT-010")),
            ("TLSW-CERT-10", Some("TLSW-CERT-010")),
            ("known-compromised-keys", Some("known-compromised-key")),
            ("shared-key", Some("shared-public-key")),
            ("zzz", None),
            ("", None),
        ] {
            assert_eq!(nearest_rule(name, &RULES), nearest, "{name}");
        }
    }
}
