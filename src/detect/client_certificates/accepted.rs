//! Whose client certificates a server accepts (CERT-034).

use crate::time::Timestamp;
use crate::x509::Sha256;

/// What a server accepted.
#[derive(Clone, Debug)]
pub(super) struct Accepted {
    pub(super) first: Timestamp,
    /// Handshakes.
    pub(super) count: u32,
    pub(super) issuers: Vec<KnownIssuer>,
}

/// An issuer of client certificates. Clients need not send their CA.
#[derive(Clone, Copy, Debug)]
pub(super) struct KnownIssuer {
    /// Of its name and key identifier.
    pub(super) name: Sha256,
    /// Its key, once it was seen.
    pub(super) key: Option<Sha256>,
    /// The key that signed its certificate, where that was seen.
    pub(super) above: Option<Sha256>,
}

impl Accepted {
    /// Whether it accepted this issuer before. One that was known by its name is known by its key from then on, and where no
    /// key was seen the name is enough.
    pub(super) fn knows(&mut self, issuer: KnownIssuer) -> bool {
        let Some(key) = issuer.key else { return self.issuers.iter().any(|known| known.name == issuer.name) };
        if self.issuers.iter().any(|known| known.key == Some(key)) {
            return true;
        }
        // Whoever accepts a CA accepts what that signs: the next one takes turns with the last.
        let is_sibling = |known: &KnownIssuer| known.key.is_some() && known.above == issuer.above;
        if issuer.above.is_some() && self.issuers.iter().any(is_sibling) {
            return true;
        }
        let named = self.issuers.iter_mut().find(|known| known.name == issuer.name && known.key.is_none());
        named.map(|known| (known.key, known.above) = (Some(key), issuer.above)).is_some()
    }
}
