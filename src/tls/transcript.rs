//! The handshake messages that the client's CertificateVerify signs (RFC 5246 section 7.4.8), kept only while one may come.

use super::Handshake;

/// Messages after both hellos, per side; the hellos and the server's Certificate message are kept by the handshake itself.
#[derive(Debug, Default)]
pub(super) struct Transcript {
    server: Vec<u8>,
    client: Vec<u8>,
    /// The client has signed: what it sends now is not part of it.
    signed: bool,
    /// The server has said ServerHelloDone: a NewSessionTicket comes after the client has signed.
    done: bool,
    /// Where in `server` the Certificate message belongs.
    certificate_at: Option<usize>,
    dropped: bool,
}

impl Transcript {
    /// Bytes that a transcript may have.
    const LIMIT: usize = 64 << 10;

    /// Keeps a message of the server that follows its ServerHello.
    pub(super) fn server(&mut self, kind: u8, body: &[u8]) {
        if self.done {
            return;
        }
        self.done = kind == 14;
        if kind == 11 {
            self.certificate_at = Some(self.server.len());
        } else if self.has_room(body) {
            append(&mut self.server, kind, body);
        }
    }

    /// Keeps a message of the client that follows its ClientHello. The first is its Certificate, else no CertificateVerify follows.
    pub(super) fn client(&mut self, kind: u8, body: &[u8]) {
        if kind == 15 {
            self.signed = true;
        } else if !self.signed && (kind == 11 || !self.client.is_empty()) && self.has_room(body) {
            append(&mut self.client, kind, body);
        }
    }

    /// Forgets everything: no CertificateVerify will come, or messages are missing.
    pub(super) fn drop_all(&mut self) {
        *self = Self { dropped: true, ..Self::default() };
    }

    /// The transcript up to now; `None` when a part of it is missing.
    pub(super) fn assemble(&mut self, handshake: &Handshake) -> Option<Box<[u8]>> {
        let kept = std::mem::take(self);
        let client_hello = handshake.client_hello.as_ref().filter(|_| kept.signed && !kept.dropped)?;
        let server_hello = handshake.server_hello.as_ref()?;
        let (before, after) = kept.server.split_at_checked(kept.certificate_at.unwrap_or(0))?;
        let mut all = Vec::new();
        append(&mut all, 1, &client_hello.raw);
        append(&mut all, 2, &server_hello.raw);
        all.extend_from_slice(before);
        if kept.certificate_at.is_some() {
            append(&mut all, 11, &handshake.server_certificates.as_ref()?.bytes);
        }
        all.extend_from_slice(after);
        all.extend_from_slice(&kept.client);
        (all.len() <= Self::LIMIT && !kept.client.is_empty()).then(|| all.into())
    }

    /// Bytes of buffers held.
    pub(super) fn memory(&self) -> usize {
        self.server.capacity() + self.client.capacity()
    }

    fn has_room(&mut self, body: &[u8]) -> bool {
        if self.dropped {
            return false;
        }
        if self.server.len() + self.client.len() + body.len() + 8 > Self::LIMIT {
            self.drop_all();
        }
        !self.dropped
    }
}

fn append(to: &mut Vec<u8>, kind: u8, body: &[u8]) {
    let [.., high, middle, low] = body.len().to_be_bytes();
    to.reserve(body.len() + 4);
    to.extend_from_slice(&[kind, high, middle, low]);
    to.extend_from_slice(body);
}
