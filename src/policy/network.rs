//! Networks in CIDR notation.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use thiserror::Error;

/// A network: address and length of the prefix (RFC 4632, RFC 4291 section 2.3). A bare address is a network of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cidr {
    address: IpAddr,
    prefix: u8,
}

/// Why a text is no network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CidrError {
    /// The part before the slash is no address.
    #[error("not an IP address or network")]
    Address,
    /// The part after the slash is no number or too large.
    #[error("the prefix length is not a number up to {0}")]
    Prefix(u8),
    /// Bits beyond the prefix are set: a typing error more often than not.
    #[error("bits beyond the prefix length are set")]
    HostBits,
}

impl Cidr {
    /// The network of `prefix` bits that `address` lies in; a longer prefix than the address has is cut.
    pub fn of(address: IpAddr, prefix: u8) -> Self {
        let address = address.to_canonical();
        let prefix = prefix.min(width(address));
        Self { address: masked(address, prefix), prefix }
    }

    /// Whether the address lies in it. An IPv4-mapped IPv6 address counts as the IPv4 address.
    pub fn contains(self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.address.is_ipv4() && masked(address, self.prefix) == self.address
    }

    /// Whether it is one of IPv4.
    pub fn is_ipv4(self) -> bool {
        self.address.is_ipv4()
    }

    /// Length of the prefix in bits.
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    /// Whether it holds all of `other`.
    pub fn covers(self, other: Self) -> bool {
        self.prefix <= other.prefix && self.contains(other.address)
    }
}

impl FromStr for Cidr {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Self, CidrError> {
        let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
        let address: IpAddr = address.parse().map_err(|_| CidrError::Address)?;
        let most = width(address);
        let prefix = match prefix {
            None => most,
            Some(digits) if digits.len() <= 3 && !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => {
                digits.parse().ok().filter(|prefix| *prefix <= most).ok_or(CidrError::Prefix(most))?
            }
            Some(_) => return Err(CidrError::Prefix(most)),
        };
        if masked(address, prefix) != address {
            return Err(CidrError::HostBits);
        }
        // ::ffff:a.b.c.d/96+n is the IPv4 network; a wider one of that kind stays IPv6 and matches nothing mapped.
        match (address.to_canonical(), prefix.checked_sub(96)) {
            (canonical @ IpAddr::V4(_), Some(rest)) if address.is_ipv6() => {
                Ok(Self { address: canonical, prefix: rest })
            }
            _ => Ok(Self { address, prefix }),
        }
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.prefix == width(self.address) {
            self.address.fmt(f)
        } else {
            write!(f, "{}/{}", self.address, self.prefix)
        }
    }
}

fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn masked(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let host_bits = 32_u32.saturating_sub(u32::from(prefix));
            let mask = u32::MAX.checked_shl(host_bits).unwrap_or(0);
            Ipv4Addr::from(u32::from(v4) & mask).into()
        }
        IpAddr::V6(v6) => {
            let host_bits = 128_u32.saturating_sub(u32::from(prefix));
            let mask = u128::MAX.checked_shl(host_bits).unwrap_or(0);
            Ipv6Addr::from(u128::from(v6) & mask).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn membership() {
        for (network, address, inside) in [
            ("10.0.0.0/8", "10.255.255.255", true),
            ("10.0.0.0/8", "11.0.0.0", false),
            ("10.0.0.0/8", "::ffff:10.1.1.1", true),
            ("0.0.0.0/0", "255.255.255.255", true),
            ("0.0.0.0/0", "::1", false),
            ("::/0", "2001:db8::1", true),
            ("::/0", "10.0.0.1", false),
            ("2001:db8::/33", "2001:db8:7fff::1", true),
            ("2001:db8::/33", "2001:db8:8000::", false),
            ("192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
            ("192.0.2.1/32", "192.0.2.1", true),
            ("2001:db8::1/128", "2001:db8::1", true),
            ("::ffff:192.0.2.0/120", "192.0.2.77", true),
        ] {
            let network: Cidr = network.parse().unwrap();
            assert_eq!(network.contains(address.parse().unwrap()), inside, "{network} {address}");
        }
    }

    #[test]
    fn a_network_covers_itself_and_narrower_ones() {
        for (wide, narrow, covers) in [
            ("10.0.0.0/8", "10.0.0.0/8", true),
            ("10.0.0.0/8", "10.1.0.0/16", true),
            ("10.0.0.0/16", "10.0.0.0/8", false),
            ("10.0.0.0/8", "11.0.0.0/8", false),
            ("0.0.0.0/0", "::/0", false),
        ] {
            let [wide, narrow]: [Cidr; 2] = [wide, narrow].map(|text| text.parse().unwrap());
            assert_eq!(wide.covers(narrow), covers, "{wide} {narrow}");
        }
    }

    #[test]
    fn errors() {
        for (text, error) in [
            ("", CidrError::Address),
            ("10.0.0/8", CidrError::Address),
            ("10.0.0.0/", CidrError::Prefix(32)),
            ("10.0.0.0/33", CidrError::Prefix(32)),
            ("10.0.0.0/+8", CidrError::Prefix(32)),
            ("::/129", CidrError::Prefix(128)),
            ("::/256", CidrError::Prefix(128)),
            ("10.0.0.1/8", CidrError::HostBits),
        ] {
            assert_eq!(text.parse::<Cidr>(), Err(error), "{text}");
        }
    }

    proptest! {
        #[test]
        fn text_leads_back(bits: u128, v4: bool, prefix in 0_u8..=128) {
            let address: IpAddr =
                if v4 { Ipv4Addr::from((bits & 0xffff_ffff) as u32).into() } else { Ipv6Addr::from(bits).into() };
            let network = Cidr::of(address, prefix);
            prop_assert!(network.contains(address));
            prop_assert_eq!(network.to_string().parse::<Cidr>().unwrap(), network);
        }
    }
}
