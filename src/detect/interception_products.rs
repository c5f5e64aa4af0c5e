//! Names that interception products, debugging proxies and known adware give to their CAs.
//!
//! A name proves nothing by itself: a vendor's own site has a public certificate with the vendor's name in it. The
//! caller asks only for chains that lead to no public root (TLSW-MITM-006).

use std::sync::LazyLock;

use regex::RegexSet;

use crate::x509::Name;

/// What kind of software signs under such a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProductKind {
    /// A gateway or cloud proxy of an organisation.
    Gateway,
    /// Security software on the client's own computer.
    Endpoint,
    /// A proxy that developers and testers run.
    Debugging,
    /// Software that intercepts against its user's interest.
    Unwanted,
}

impl ProductKind {
    /// `gateway`, `endpoint`, `debugging` or `unwanted`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Endpoint => "endpoint",
            Self::Debugging => "debugging",
            Self::Unwanted => "unwanted",
        }
    }
}

/// A product that intercepts TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Product {
    /// What people call it.
    pub name: &'static str,
    /// What kind it is.
    pub kind: ProductKind,
    /// Pattern over one attribute, written `CN=..`, `O=..` or `OU=..`.
    pattern: &'static str,
}

/// The product whose CA has this name (issuer of a leaf, subject or issuer of a CA), if it is in the table.
pub fn product_of(name: &Name) -> Option<&'static Product> {
    let attributes = name.common_names.iter().map(|value| ("CN", value));
    let attributes = attributes.chain(name.organizations.iter().map(|value| ("O", value)));
    let attributes = attributes.chain(name.organizational_units.iter().map(|value| ("OU", value)));
    attributes
        .map(|(kind, value)| (kind, value.trim()))
        .filter(|(_, value)| may_match(value))
        .filter_map(|(kind, value)| PATTERNS.as_ref()?.matches(&format!("{kind}={value}")).iter().next())
        .min()
        .and_then(|index| PRODUCTS.get(index))
}

/// Whether any pattern may take a value: most names begin otherwise, and no pattern needs to be compiled for them.
fn may_match(value: &str) -> bool {
    match value.as_bytes().first_chunk::<3>() {
        // Letters beyond ASCII may be the same as some of ASCII, whatever their case.
        Some(start) => {
            !start.is_ascii() || STARTS.binary_search(&&start.map(|octet| octet.to_ascii_lowercase())).is_ok()
        }
        None => false,
    }
}

/// Every product in the table.
pub fn products() -> &'static [Product] {
    PRODUCTS
}

/// `None` only if a pattern of the table were wrong, which a test rules out.
static PATTERNS: LazyLock<Option<RegexSet>> =
    LazyLock::new(|| RegexSet::new(PRODUCTS.iter().map(|product| format!("(?i)^(?:{})$", product.pattern))).ok());

/// How all that the patterns take begins, in lower case and in order.
static STARTS: &[&[u8; 3]] = &[
    b"adg", b"ao ", b"ava", b"avg", b"bet", b"bit", b"blu", b"ca.", b"cai", b"cer", b"cha", b"cis", b"con", b"cyb",
    b"dev", b"do_", b"dsd", b"ede", b"ese", b"for", b"gen", b"htt", b"inf", b"iop", b"iws", b"kas", b"mca", b"mit",
    b"net", b"ope", b"owa", b"pal", b"por", b"pro", b"qaz", b"sen", b"sky", b"smo", b"son", b"sop", b"sup", b"tre",
    b"web", b"xk7", b"zap", b"zed", b"zsc",
];

const fn product(name: &'static str, kind: ProductKind, pattern: &'static str) -> Product {
    Product { name, kind, pattern }
}

static PRODUCTS: &[Product] = &[
    product("mitmproxy", ProductKind::Debugging, "(CN|O)=mitmproxy"),
    product("PortSwigger Burp Suite", ProductKind::Debugging, "(CN|O)=PortSwigger( CA)?"),
    product("Charles Proxy", ProductKind::Debugging, "(CN|O|OU)=(Charles Proxy\\b.*|XK72 Ltd.*)"),
    product("Fiddler", ProductKind::Debugging, "(CN|O)=DO_NOT_TRUST.*"),
    product("OWASP ZAP", ProductKind::Debugging, "(CN|O)=(OWASP )?(Zed Attack Proxy|ZAP)\\b.*"),
    product("HTTP Toolkit", ProductKind::Debugging, "(CN|O)=HTTP Toolkit\\b.*"),
    product("Proxyman", ProductKind::Debugging, "(CN|O)=Proxyman\\b.*"),
    product("Caido", ProductKind::Debugging, "(CN|O)=Caido\\b.*"),
    product("bettercap", ProductKind::Debugging, "(CN|O|OU)=(bettercap\\b.*|devteam@bettercap.*)"),
    product(
        "FortiGate",
        ProductKind::Gateway,
        "(CN|O|OU)=(FortiGate\\b.*|Fortinet\\b.*|Certificate Authority Fortinet.*)",
    ),
    product("Cisco Umbrella", ProductKind::Gateway, "(CN|O)=(Cisco Umbrella|OpenDNS)\\b.*"),
    product("ContentKeeper", ProductKind::Gateway, "(CN|O)=ContentKeeper\\b.*"),
    product("Cyberoam", ProductKind::Gateway, "(CN|O)=Cyberoam\\b.*"),
    product("Forcepoint", ProductKind::Gateway, "(CN|O)=(Forcepoint|Websense)\\b.*"),
    product("McAfee Web Gateway", ProductKind::Gateway, "(CN|O)=(McAfee Web Gateway|Skyhigh Security)\\b.*"),
    product("NetSpark", ProductKind::Gateway, "(CN|O)=NetSpark\\b.*"),
    product("Netskope", ProductKind::Gateway, "(CN|O)=((ca|certadmin)\\.[a-z0-9.-]*goskope\\.com|Netskope\\b.*)"),
    product("Palo Alto Networks", ProductKind::Gateway, "(CN|O)=Palo Alto Networks\\b.*"),
    product("Smoothwall", ProductKind::Gateway, "(CN|O)=Smoothwall\\b.*"),
    product(
        "SonicWall",
        ProductKind::Gateway,
        "(CN|O|OU)=(SonicWall\\b.*|HTTPS Management Certificate for SonicWALL.*)",
    ),
    product("Sophos", ProductKind::Gateway, "(CN|O|OU)=Sophos\\b.*"),
    product("Blue Coat", ProductKind::Gateway, "(CN|O|OU)=(Blue ?Coat\\b.*|ProxySG\\b.*)"),
    product("Trend Micro IWSS", ProductKind::Gateway, "(CN|O|OU)=(IWSS?\\b.*|Trend Micro IWS.*)"),
    product("Zscaler", ProductKind::Gateway, "(CN|O|OU)=Zscaler\\b.*"),
    product(
        "Avast",
        ProductKind::Endpoint,
        "(CN|O|OU)=(avast! .*|(Avast|AVG) (Web|Untrusted|trusted)\\b.*|generated by avast.*)",
    ),
    product("Bitdefender", ProductKind::Endpoint, "(CN|O|OU)=Bitdefender\\b.*"),
    product(
        "Kaspersky",
        ProductKind::Endpoint,
        "(CN|O)=(Kaspersky (Anti-Virus|Web Anti-Virus|Lab)\\b.*|AO Kaspersky Lab)",
    ),
    product("ESET", ProductKind::Endpoint, "(CN|O)=ESET (SSL Filter CA|, spol\\..*)"),
    product("AdGuard", ProductKind::Endpoint, "(CN|O)=AdGuard (Personal )?(CA|Personal CA)\\b.*"),
    product(
        "Qaznet",
        ProductKind::Unwanted,
        "(CN|O)=(Qaznet Trust Network|QAZNET|Information Security Certification Authority)",
    ),
    product("Superfish", ProductKind::Unwanted, "(CN|O)=Superfish\\b.*"),
    product("eDellRoot", ProductKind::Unwanted, "CN=eDellRoot"),
    product("DSDTestProvider", ProductKind::Unwanted, "CN=DSDTestProvider"),
    product("IopFailZeroAccessCreate", ProductKind::Unwanted, "(CN|O)=IopFailZeroAccessCreate"),
    product("Sendori", ProductKind::Unwanted, "(CN|O)=Sendori\\b.*"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn name(common_name: &str, organization: &str) -> Name {
        let some = |text: &str| if text.is_empty() { Vec::new() } else { vec![text.to_owned()] };
        Name { common_names: some(common_name), organizations: some(organization), ..Name::default() }
    }

    #[test]
    fn every_pattern_compiles() {
        assert_eq!(PATTERNS.as_ref().map(RegexSet::len), Some(PRODUCTS.len()));
    }

    /// All that a pattern takes before its first character that is not certain.
    fn heads(pattern: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Vec<String> {
        let (mut all, mut heads) = (Vec::new(), vec![String::new()]);
        loop {
            let mut next = match pattern.next() {
                None | Some(')') => {
                    all.extend(heads);
                    return all;
                }
                Some('|') => {
                    all.append(&mut heads);
                    heads.push(String::new());
                    continue;
                }
                Some('(') => self::heads(pattern),
                // After the name of the attribute a list of characters or any character may come: NUL stands for it.
                Some('[') => {
                    assert!(pattern.any(|one| one == ']'));
                    vec!["\0".to_owned()]
                }
                Some('.') => vec!["\0".to_owned()],
                Some('\\') => match pattern.next().unwrap() {
                    'b' => continue,
                    one => vec![one.to_string()],
                },
                Some('+' | '{' | ']' | '}' | '^' | '$') => panic!("the test does not know this"),
                Some(one) => vec![one.to_string()],
            };
            if pattern.next_if(|one| matches!(one, '?' | '*')).is_some() {
                next.push(String::new());
            }
            heads = heads.iter().flat_map(|head| next.iter().map(move |next| format!("{head}{next}"))).collect();
        }
    }

    #[test]
    fn every_pattern_begins_as_is_listed() {
        let mut starts = std::collections::BTreeSet::new();
        for product in PRODUCTS {
            for head in heads(&mut product.pattern.chars().peekable()) {
                let (_, value) = head.split_once('=').unwrap();
                let start = value.get(..3).unwrap_or_else(|| panic!("{value:?} of {} is short", product.name));
                assert!(!start.contains('\0'), "{start:?} of {}", product.name);
                assert!(may_match(value), "{value:?}");
                starts.insert(start.to_ascii_lowercase().into_bytes());
            }
        }
        assert!(STARTS.iter().map(|start| start.to_vec()).eq(starts), "in order, each once, none too many");
    }

    #[test]
    fn letters_of_any_case_are_found() {
        for (text, product) in [
            ("MITMPROXY", "mitmproxy"),
            ("  mitmproxy ", "mitmproxy"),
            // The Kelvin sign and the long s.
            ("\u{212a}aspersky Lab", "Kaspersky"),
            ("\u{17f}ophos", "Sophos"),
            ("so\u{17f}phos", ""),
            ("zap", "OWASP ZAP"),
            ("za", ""),
        ] {
            let found = product_of(&name(text, "")).map_or("", |product| product.name);
            assert_eq!(found, product, "{text}");
        }
    }

    #[test]
    fn names_of_products() {
        for (common_name, organization, product) in [
            ("mitmproxy", "mitmproxy", Some("mitmproxy")),
            ("PortSwigger CA", "PortSwigger", Some("PortSwigger Burp Suite")),
            ("DO_NOT_TRUST_FiddlerRoot", "DO_NOT_TRUST", Some("Fiddler")),
            ("Charles Proxy CA (1 Jan 2024, host)", "XK72 Ltd", Some("Charles Proxy")),
            ("FGT60E", "Fortinet", Some("FortiGate")),
            ("FortiGate CA", "", Some("FortiGate")),
            ("Zscaler Intermediate Root CA (zscaler.net) (t)", "Zscaler Inc.", Some("Zscaler")),
            ("ca.corp.goskope.com", "Corp", Some("Netskope")),
            ("avast! Web/Mail Shield Root", "avast! Web/Mail Shield", Some("Avast")),
            ("Kaspersky Anti-Virus Personal Root Certificate", "AO Kaspersky Lab", Some("Kaspersky")),
            ("ESET SSL Filter CA", "ESET, spol. s r. o.", Some("ESET")),
            ("AdGuard Personal CA", "", Some("AdGuard")),
            ("Qaznet Trust Network", "ISCA", Some("Qaznet")),
            ("eDellRoot", "", Some("eDellRoot")),
            // Near, and none.
            ("R10", "Let's Encrypt", None),
            ("my mitmproxy", "", None),
            ("mitmproxy2", "", None),
            ("eDellRoot2", "", None),
            ("not ESET SSL Filter CA", "", None),
            ("Zscalers", "", None),
            ("Corp Root CA", "Corp", None),
            ("", "", None),
        ] {
            let found = product_of(&name(common_name, organization)).map(|product| product.name);
            assert_eq!(found, product, "{common_name} / {organization}");
        }
    }

    /// A vendor's public certificate matches as well: that the chain is not public is the caller's condition.
    #[test]
    fn trust_is_not_judged_here() {
        assert_eq!(product_of(&name("www.fortinet.com", "Fortinet, Inc.")).map(|p| p.name), Some("FortiGate"));
    }
}
