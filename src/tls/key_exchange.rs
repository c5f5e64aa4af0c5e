//! ServerKeyExchange and CertificateVerify of TLS 1.2 and older (RFC 5246 section 7.4.3 and 7.4.8, RFC 8422 section 5.4).

use tls_parser::{ECParametersContent, TlsCipherAu, TlsCipherKx, TlsCipherSuite, parse_dh_params, parse_ecdh_params};

use super::reader::Reader;
use super::{Anomaly, CertificateVerify, KeyExchange, ServerKeyExchange};

impl ServerKeyExchange {
    /// Reads the body of a ServerKeyExchange message. What it holds is decided by the cipher suite, and whether the signature names its
    /// algorithm by `version`; without a known cipher suite the body is kept but not interpreted.
    pub fn parse(body: &[u8], cipher_suite: Option<u16>, version: u16, odd: &mut Vec<Anomaly>) -> Self {
        let method = Method::of(cipher_suite);
        let mut exchange = Self::default();
        let Some(after) = exchange.read_params(body, method) else {
            exchange.params = body.into();
            if method != Method::Other {
                odd.push(Anomaly::MalformedMessage);
            }
            return exchange;
        };
        exchange.params = body.get(..after).unwrap_or_default().into();
        let signed = body.get(after..).unwrap_or_default();
        if signed.is_empty() {
            return exchange;
        }
        match signature(signed, version) {
            Some((algorithm, signature)) => {
                exchange.signature_algorithm = algorithm;
                exchange.signature = signature;
            }
            None => odd.push(Anomaly::MalformedMessage),
        }
        exchange
    }

    /// Fills `kind`; says how many bytes the parameters take.
    fn read_params(&mut self, body: &[u8], method: Method) -> Option<usize> {
        let mut reader = Reader::new(body);
        let hint = match method {
            Method::Psk | Method::PskDhe | Method::PskEcdhe => {
                reader.vector16()?;
                reader.position()
            }
            _ => 0,
        };
        let parameters = body.get(hint..)?;
        match method {
            Method::Psk => Some(hint),
            Method::Ecdhe | Method::PskEcdhe => {
                let (rest, ecdh) = parse_ecdh_params(parameters).ok()?;
                let end = body.len().checked_sub(rest.len())?;
                if let ECParametersContent::NamedGroup(group) = ecdh.curve_params.params_content {
                    let start = end.checked_sub(ecdh.public.point.len())?;
                    self.kind = KeyExchange::Ecdhe { group: group.0, public: start..end };
                }
                Some(end)
            }
            Method::Dhe | Method::PskDhe => {
                let (rest, dh) = parse_dh_params(parameters).ok()?;
                let prime = hint + 2;
                let generator = prime + dh.dh_p.len() + 2;
                let public = generator + dh.dh_g.len() + 2;
                let end = body.len().checked_sub(rest.len())?;
                self.kind = KeyExchange::Dhe {
                    prime: prime..prime + dh.dh_p.len(),
                    generator: generator..generator + dh.dh_g.len(),
                    public: public..end,
                };
                Some(end)
            }
            Method::Rsa => {
                let length = reader.u16()?;
                let modulus = reader.range(length.into())?;
                let length = reader.u16()?;
                let exponent = reader.range(length.into())?;
                self.kind = KeyExchange::Rsa { modulus, exponent };
                Some(reader.position())
            }
            Method::Other => None,
        }
    }
}

impl CertificateVerify {
    /// Reads the body of a CertificateVerify message.
    pub fn parse(body: &[u8], version: u16, odd: &mut Vec<Anomaly>) -> Self {
        match signature(body, version) {
            Some((signature_algorithm, signature)) => Self { signature_algorithm, signature },
            None => {
                odd.push(Anomaly::MalformedMessage);
                Self::default()
            }
        }
    }
}

/// A digitally-signed struct: the algorithm (TLS 1.2) and the signature.
fn signature(bytes: &[u8], version: u16) -> Option<(Option<u16>, Box<[u8]>)> {
    let mut reader = Reader::new(bytes);
    let algorithm = if version >= 0x0303 { Some(reader.u16()?) } else { None };
    let signature = reader.vector16()?.rest().into();
    Some((algorithm, signature))
}

/// What a ServerKeyExchange holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Method {
    Ecdhe,
    Dhe,
    Rsa,
    Psk,
    PskDhe,
    PskEcdhe,
    Other,
}

impl Method {
    fn of(cipher_suite: Option<u16>) -> Self {
        let Some(suite) = cipher_suite.and_then(TlsCipherSuite::from_id) else { return Self::Other };
        match (suite.kx, suite.au) {
            (TlsCipherKx::Dhe, TlsCipherAu::Psk) | (TlsCipherKx::Psk, TlsCipherAu::Dhe) => Self::PskDhe,
            (TlsCipherKx::Psk, _) | (TlsCipherKx::Rsa, TlsCipherAu::Psk) => Self::Psk,
            (TlsCipherKx::Ecdhe, TlsCipherAu::Psk) => Self::PskEcdhe,
            (TlsCipherKx::Ecdhe | TlsCipherKx::Aecdh | TlsCipherKx::Ecdh, _) => Self::Ecdhe,
            (TlsCipherKx::Dhe | TlsCipherKx::Dh, _) => Self::Dhe,
            (TlsCipherKx::Rsa, _) => Self::Rsa,
            _ => Self::Other,
        }
    }
}
