//! TLS messages written by hand (RFC 8446, RFC 5246), so that any of their bytes can be wrong.

/// Content types of records.
pub const CHANGE_CIPHER_SPEC: u8 = 20;
/// Alert records.
pub const ALERT: u8 = 21;
/// Handshake records.
pub const HANDSHAKE: u8 = 22;
/// Application data records.
pub const APPLICATION_DATA: u8 = 23;

/// `random` of a HelloRetryRequest (RFC 8446 section 4.1.3).
pub const RETRY_RANDOM: [u8; 32] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91, 0xc2, 0xa2, 0x11,
    0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];

/// A vector with a length of one byte.
pub fn vector8(bytes: &[u8]) -> Vec<u8> {
    [&[bytes.len() as u8], bytes].concat()
}

/// A vector with a length of two bytes.
pub fn vector16(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u16).to_be_bytes(), bytes].concat()
}

/// A vector with a length of three bytes.
pub fn vector24(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u32).to_be_bytes()[1..], bytes].concat()
}

/// Numbers of two bytes, one after the other.
pub fn numbers(numbers: &[u16]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_be_bytes()).collect()
}

/// A record of version 1.2.
pub fn record(kind: u8, payload: &[u8]) -> Vec<u8> {
    record_of(kind, 0x0303, payload)
}

/// A record of any version.
pub fn record_of(kind: u8, version: u16, payload: &[u8]) -> Vec<u8> {
    [&[kind], &version.to_be_bytes()[..], &vector16(payload)].concat()
}

/// A handshake message.
pub fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind], &vector24(body)[..]].concat()
}

/// Handshake messages in one record.
pub fn handshake(messages: &[Vec<u8>]) -> Vec<u8> {
    record(HANDSHAKE, &messages.concat())
}

/// An extension.
pub fn extension(kind: u16, body: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &vector16(body)].concat()
}

/// The `server_name` extension with these entries.
pub fn server_names(entries: &[(u8, &[u8])]) -> Vec<u8> {
    let list: Vec<u8> = entries.iter().flat_map(|(kind, name)| [&[*kind], &vector16(name)[..]].concat()).collect();
    extension(0, &vector16(&list))
}

/// What a ClientHello says.
#[derive(Clone, Debug)]
pub struct ClientHello {
    pub version: u16,
    pub random: u8,
    pub session_id: Vec<u8>,
    pub cipher_suites: Vec<u8>,
    pub extensions: Vec<Vec<u8>>,
}

impl Default for ClientHello {
    /// Offers TLS 1.2 with ECDHE for `example.org`.
    fn default() -> Self {
        Self {
            version: 0x0303,
            random: 1,
            session_id: Vec::new(),
            cipher_suites: numbers(&[0xc02f, 0xc02b, 0x009c]),
            extensions: vec![
                server_names(&[(0, b"example.org")]),
                extension(10, &vector16(&numbers(&[29, 23]))),
                extension(11, &vector8(&[0])),
                extension(13, &vector16(&numbers(&[0x0403, 0x0804]))),
            ],
        }
    }
}

impl ClientHello {
    /// Offers TLS 1.3.
    pub fn tls13() -> Self {
        let mut hello = Self { session_id: vec![9; 32], cipher_suites: numbers(&[0x1301, 0xc02f]), ..Self::default() };
        hello.extensions.push(extension(43, &vector8(&numbers(&[0x0304, 0x0303]))));
        hello.extensions.push(extension(51, &vector16(&[&numbers(&[29])[..], &vector16(&[7; 32])].concat())));
        hello
    }

    /// The same with another `server_name` extension in front.
    pub fn named(mut self, extension: Vec<u8>) -> Self {
        self.extensions[0] = extension;
        self
    }

    /// The same with an extension more.
    pub fn with(mut self, kind: u16, body: &[u8]) -> Self {
        self.extensions.push(extension(kind, body));
        self
    }

    /// The message.
    pub fn message(&self) -> Vec<u8> {
        let mut body = self.version.to_be_bytes().to_vec();
        body.extend([self.random; 32]);
        body.extend(vector8(&self.session_id));
        body.extend(vector16(&self.cipher_suites));
        body.extend([1, 0]);
        body.extend(vector16(&self.extensions.concat()));
        message(1, &body)
    }

    /// The message in a record.
    pub fn record(&self) -> Vec<u8> {
        record_of(HANDSHAKE, 0x0301, &self.message())
    }
}

/// What a ServerHello says.
#[derive(Clone, Debug)]
pub struct ServerHello {
    pub version: u16,
    pub random: [u8; 32],
    pub session_id: Vec<u8>,
    pub cipher_suite: u16,
    pub extensions: Vec<Vec<u8>>,
}

impl Default for ServerHello {
    /// Chooses TLS 1.2 with ECDHE.
    fn default() -> Self {
        Self {
            version: 0x0303,
            random: [2; 32],
            session_id: vec![5; 32],
            cipher_suite: 0xc02f,
            extensions: vec![extension(0xff01, &[0])],
        }
    }
}

impl ServerHello {
    /// Chooses TLS 1.3.
    pub fn tls13() -> Self {
        Self {
            session_id: vec![9; 32],
            cipher_suite: 0x1301,
            extensions: vec![
                extension(43, &numbers(&[0x0304])),
                extension(51, &[&numbers(&[29])[..], &vector16(&[8; 32])].concat()),
            ],
            ..Self::default()
        }
    }

    /// A HelloRetryRequest for a group.
    pub fn retry(group: u16) -> Self {
        let extensions = vec![extension(43, &numbers(&[0x0304])), extension(51, &numbers(&[group]))];
        Self { random: RETRY_RANDOM, extensions, ..Self::tls13() }
    }

    /// The message.
    pub fn message(&self) -> Vec<u8> {
        let mut body = self.version.to_be_bytes().to_vec();
        body.extend(self.random);
        body.extend(vector8(&self.session_id));
        body.extend(self.cipher_suite.to_be_bytes());
        body.push(0);
        body.extend(vector16(&self.extensions.concat()));
        message(2, &body)
    }
}

/// A Certificate message of TLS 1.2.
pub fn certificates(chain: &[&[u8]]) -> Vec<u8> {
    let list: Vec<u8> = chain.iter().flat_map(|der| vector24(der)).collect();
    message(11, &vector24(&list))
}

/// ServerKeyExchange with X25519, signed with rsa_pkcs1_sha256.
pub fn server_key_exchange() -> Vec<u8> {
    message(12, &[&[3, 0, 29][..], &vector8(&[4; 32]), &[4, 1], &vector16(&[6; 256])].concat())
}

/// ServerHelloDone.
pub fn server_hello_done() -> Vec<u8> {
    message(14, &[])
}

/// The server's first flight of TLS 1.2, one record a message.
pub fn server_flight(chain: &[&[u8]]) -> Vec<u8> {
    let messages = [ServerHello::default().message(), certificates(chain), server_key_exchange(), server_hello_done()];
    messages.iter().flat_map(|message| record(HANDSHAKE, message)).collect()
}

/// ChangeCipherSpec and an encrypted Finished.
pub fn finish() -> Vec<u8> {
    [record(CHANGE_CIPHER_SPEC, &[1]), record(HANDSHAKE, &[0xee; 40])].concat()
}

/// The client's second flight of TLS 1.2.
pub fn client_finish() -> Vec<u8> {
    [handshake(&[message(16, &vector8(&[3; 32]))]), finish()].concat()
}

/// An alert in clear.
pub fn alert(level: u8, description: u8) -> Vec<u8> {
    record(ALERT, &[level, description])
}

/// Encrypted application data.
pub fn application_data(length: usize) -> Vec<u8> {
    record(APPLICATION_DATA, &vec![0xdd; length])
}
