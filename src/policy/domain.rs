//! Domains: where the public part of a name ends (public suffix list).

/// The registrable domain of a name: its public suffix and one label more. Under a top-level domain that is not public
/// (`lab.test`) it is the last two labels. `None` for addresses, single labels and public suffixes themselves.
///
/// The name is an A-label name in any case; one trailing dot is ignored.
pub fn registrable_domain(name: &str) -> Option<&str> {
    let name = name.strip_suffix('.').unwrap_or(name);
    if !is_name(name) {
        return None;
    }
    let lower = name.to_ascii_lowercase();
    let length = psl::domain_str(&lower)?.len();
    name.get(name.len().checked_sub(length)?..)
}

/// Whether the name ends in a suffix under which the public registers names.
pub fn has_public_suffix(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    is_name(name) && psl::suffix(name.to_ascii_lowercase().as_bytes()).is_some_and(|suffix| suffix.is_known())
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.is_ascii()
        && name.parse::<std::net::IpAddr>().is_err()
        && !name.split('.').any(str::is_empty)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domains() {
        for (name, domain, public) in [
            ("www.example.com", Some("example.com"), true),
            ("WWW.Example.COM.", Some("Example.COM"), true),
            ("a.b.example.co.uk", Some("example.co.uk"), true),
            ("co.uk", None, true),
            ("www.lab.test", Some("lab.test"), false),
            ("localhost", None, false),
            ("printer.local", Some("printer.local"), false),
            ("10.0.0.1", None, false),
            ("::1", None, false),
            ("", None, false),
            (".", None, false),
            ("a..com", None, false),
            ("b\u{fc}cher.de", None, false),
        ] {
            assert_eq!(registrable_domain(name), domain, "{name}");
            assert_eq!(has_public_suffix(name), public, "{name}");
        }
    }
}
