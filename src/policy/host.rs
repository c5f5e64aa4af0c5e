//! Patterns of hosts.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use thiserror::Error;

use super::network::{Cidr, CidrError};

/// The host of a handshake, as rules and policy see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target<'a> {
    /// Server name (A-labels, lower case, no trailing dot), where the client sent one.
    pub name: Option<&'a str>,
    /// Address of the server.
    pub address: IpAddr,
    /// Port of the server.
    pub port: u16,
}

/// A pattern of hosts with an optional port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostPattern {
    /// What is matched.
    pub host: HostMatch,
    /// Port, where the pattern names one.
    pub port: Option<u16>,
}

/// The part of a pattern before the port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HostMatch {
    /// This name: lower case, without trailing dot.
    Name(String),
    /// One label before this name: `*.x` holds `x` here.
    Wildcard(String),
    /// Server addresses of this network, whatever the name.
    Network(Cidr),
    /// Every host: `*`.
    Any,
}

/// Why a text is no pattern of hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum HostPatternError {
    /// Nothing there.
    #[error("a host pattern is empty")]
    Empty,
    /// The part after the last colon is no port.
    #[error("the port is not a number from 1 to 65535")]
    Port,
    /// A square bracket without the other, or something else than a port behind it.
    #[error("square brackets hold an IPv6 address or network and are followed by nothing or a port")]
    Bracket,
    /// Characters outside of ASCII.
    #[error("write names with A-labels (xn--..), not with characters outside of ASCII")]
    NotAscii,
    /// A star elsewhere than as the whole first label.
    #[error("a star stands for one whole label and only for the first")]
    Star,
    /// Not a host name.
    #[error("not a host name, address or network")]
    Name,
    /// A network that is wrong.
    #[error("{0}")]
    Network(CidrError),
}

/// How specific a pattern is: a greater one wins. Exact names before wildcards before networks, longer before shorter,
/// with a port before without.
pub(super) type Specificity = (u8, usize, bool);

impl HostPattern {
    /// Whether it matches. Names match the server name, networks the server address.
    pub fn matches(&self, target: &Target<'_>) -> bool {
        self.port.is_none_or(|port| port == target.port)
            && match &self.host {
                HostMatch::Network(network) => network.contains(target.address),
                HostMatch::Any => true,
                _ => target.name.is_some_and(|name| self.matches_name(name)),
            }
    }

    /// Whether it matches this name, its port aside.
    pub fn matches_name(&self, name: &str) -> bool {
        let name = name.strip_suffix('.').unwrap_or(name);
        match &self.host {
            HostMatch::Name(wanted) => wanted.eq_ignore_ascii_case(name),
            HostMatch::Wildcard(parent) => {
                name.split_once('.').is_some_and(|(label, rest)| !label.is_empty() && parent.eq_ignore_ascii_case(rest))
            }
            HostMatch::Network(network) => name.parse().is_ok_and(|address| network.contains(address)),
            HostMatch::Any => true,
        }
    }

    pub(super) fn specificity(&self) -> Specificity {
        let (kind, length) = match &self.host {
            HostMatch::Name(name) => (3, name.len()),
            HostMatch::Wildcard(parent) => (2, parent.len()),
            HostMatch::Network(network) => (1, usize::from(network.prefix())),
            HostMatch::Any => (0, 0),
        };
        (kind, length, self.port.is_some())
    }
}

impl FromStr for HostPattern {
    type Err = HostPatternError;

    fn from_str(text: &str) -> Result<Self, HostPatternError> {
        if let Some(rest) = text.strip_prefix('[') {
            let (inner, after) = rest.split_once(']').ok_or(HostPatternError::Bracket)?;
            let network: Cidr = inner.parse().map_err(HostPatternError::Network)?;
            let port = match after.strip_prefix(':') {
                Some(digits) => Some(port(digits)?),
                None if after.is_empty() => None,
                None => return Err(HostPatternError::Bracket),
            };
            return Ok(Self { host: HostMatch::Network(network), port });
        }
        if text.bytes().filter(|byte| *byte == b':').count() > 1 {
            let network = text.parse().map_err(HostPatternError::Network)?;
            return Ok(Self { host: HostMatch::Network(network), port: None });
        }
        let (host, port) = match text.split_once(':') {
            Some((host, digits)) => (host, Some(port(digits)?)),
            None => (text, None),
        };
        Ok(Self { host: host_match(host)?, port })
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.host, self.port) {
            (HostMatch::Name(name), _) => f.write_str(name)?,
            (HostMatch::Wildcard(parent), _) => write!(f, "*.{parent}")?,
            (HostMatch::Network(network), Some(_)) if network.to_string().contains(':') => write!(f, "[{network}]")?,
            (HostMatch::Network(network), _) => network.fmt(f)?,
            (HostMatch::Any, _) => f.write_str("*")?,
        }
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

fn port(digits: &str) -> Result<u16, HostPatternError> {
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(HostPatternError::Port);
    }
    digits.parse().ok().filter(|port| *port != 0).ok_or(HostPatternError::Port)
}

fn host_match(host: &str) -> Result<HostMatch, HostPatternError> {
    if host.is_empty() {
        return Err(HostPatternError::Empty);
    }
    if host == "*" {
        return Ok(HostMatch::Any);
    }
    if host.contains('/') {
        return host.parse().map(HostMatch::Network).map_err(HostPatternError::Network);
    }
    if let Ok(address) = host.parse::<Cidr>() {
        return Ok(HostMatch::Network(address));
    }
    if let Some(parent) = host.strip_prefix("*.") {
        return Ok(HostMatch::Wildcard(host_name(parent)?));
    }
    Ok(HostMatch::Name(host_name(host)?))
}

/// Checks a name by the letters of RFC 1123 with the underscore that practice adds; gives lower case.
fn host_name(name: &str) -> Result<String, HostPatternError> {
    if !name.is_ascii() {
        return Err(HostPatternError::NotAscii);
    }
    if name.contains('*') {
        return Err(HostPatternError::Star);
    }
    let name = name.strip_suffix('.').unwrap_or(name);
    let label_is_good = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    // A last label of digits is an address that is wrong (RFC 3696 section 2).
    let last_is_number = name.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
    if name.len() > 253 || !name.split('.').all(label_is_good) || last_is_number {
        return Err(HostPatternError::Name);
    }
    Ok(name.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn target<'a>(name: &'a str, address: &str, port: u16) -> Target<'a> {
        Target { name: (!name.is_empty()).then_some(name), address: address.parse().unwrap(), port }
    }

    #[test]
    fn matching() {
        for (pattern, name, address, port, expected) in [
            ("login.example.com", "login.example.com", "192.0.2.1", 443, true),
            ("LOGIN.example.com.", "login.example.com", "192.0.2.1", 8443, true),
            ("login.example.com:443", "login.example.com", "192.0.2.1", 8443, false),
            ("*.example.com", "a.example.com", "192.0.2.1", 443, true),
            ("*.example.com", "a.b.example.com", "192.0.2.1", 443, false),
            ("*.example.com", "example.com", "192.0.2.1", 443, false),
            ("*.example.com", "", "192.0.2.1", 443, false),
            ("*.example.com:443", "a.example.com", "192.0.2.1", 443, true),
            ("192.0.2.0/24", "a.example.com", "192.0.2.1", 443, true),
            ("192.0.2.0/24:25", "", "192.0.2.1", 443, false),
            ("192.0.2.1:443", "", "192.0.2.1", 443, true),
            ("[2001:db8::1]:443", "", "2001:db8::1", 443, true),
            ("[2001:db8::/32]:443", "", "2001:db8::7", 25, false),
            ("2001:db8::1", "", "2001:db8::1", 1, true),
            ("fd00::/8", "", "fd12::1", 1, true),
            ("*", "", "192.0.2.1", 1, true),
            ("*:25", "", "192.0.2.1", 1, false),
        ] {
            let pattern: HostPattern = pattern.parse().unwrap();
            assert_eq!(pattern.matches(&target(name, address, port)), expected, "{pattern} {name} {address} {port}");
            assert_eq!(pattern.to_string().parse::<HostPattern>(), Ok(pattern));
        }
    }

    #[test]
    fn errors() {
        use HostPatternError as E;
        for (text, error) in [
            ("", E::Empty),
            (":443", E::Empty),
            ("a.example:", E::Port),
            ("a.example:0", E::Port),
            ("a.example:65536", E::Port),
            ("a.example:+1", E::Port),
            ("[::1", E::Bracket),
            ("[::1]443", E::Bracket),
            ("[x]:443", E::Network(CidrError::Address)),
            ("b\u{fc}cher.example", E::NotAscii),
            ("a.*.example", E::Star),
            ("w*.example", E::Star),
            ("*.*.example", E::Star),
            ("10.0.0", E::Name),
            ("10.0.0.256", E::Name),
            ("a..example", E::Name),
            ("a b", E::Name),
            ("10.0.0.1/8", E::Network(CidrError::HostBits)),
            ("::1::2", E::Network(CidrError::Address)),
        ] {
            assert_eq!(text.parse::<HostPattern>(), Err(error), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_safe(text in ".{0,40}") {
            if let Ok(pattern) = text.parse::<HostPattern>() {
                prop_assert_eq!(pattern.to_string().parse::<HostPattern>(), Ok(pattern));
            }
        }
    }
}
