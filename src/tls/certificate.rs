//! Messages that carry certificates: Certificate, CompressedCertificate, CertificateStatus, CertificateRequest.

use std::io::Read;

use super::client_hello::numbers16;
use super::reader::{Fit, Reader};
use super::{Anomaly, CertificateForm, CertificateList, CertificateRequest};

/// How many authorities of a CertificateRequest are kept.
const AUTHORITIES: usize = 64;

impl CertificateList {
    /// Reads the body of a Certificate message of TLS 1.2 and older (RFC 5246 section 7.4.2); at most `limit` certificates.
    pub fn parse(body: &[u8], limit: usize, odd: &mut Vec<Anomaly>) -> Self {
        let mut list = Self { bytes: body.into(), ..Self::default() };
        if list.read(Reader::new(body), Layout { limit, entry_extensions: false }, odd).is_none() {
            odd.push(Anomaly::MalformedCertificateMessage);
        }
        list
    }

    /// Reads the body of a Certificate message of TLS 1.3 (RFC 8446 section 4.4.2); at most `limit` certificates.
    pub fn parse_tls13(body: &[u8], limit: usize, odd: &mut Vec<Anomaly>) -> Self {
        let mut list = Self { bytes: body.into(), ..Self::default() };
        let mut reader = Reader::new(body);
        let layout = Layout { limit, entry_extensions: true };
        if reader.vector8().is_none() || list.read(reader, layout, odd).is_none() {
            odd.push(Anomaly::MalformedCertificateMessage);
        }
        list
    }

    /// Reads a Certificate message that carries one object instead of a list: a raw public key (RFC 7250) or an OpenPGP key.
    pub fn parse_single(body: &[u8], form: CertificateForm, odd: &mut Vec<Anomaly>) -> Self {
        let mut list = Self { bytes: body.into(), ranges: Vec::new(), form };
        let mut reader = Reader::new(body);
        match reader.u24().and_then(|length| reader.range(length)) {
            Some(range) if range.is_empty() => {}
            Some(range) => list.ranges.push(range),
            None => odd.push(Anomaly::MalformedCertificateMessage),
        }
        list
    }

    /// Unpacks a CompressedCertificate message (RFC 8879 section 4); what it unpacks to is at most `message_limit` bytes.
    pub fn parse_compressed(body: &[u8], limits: CertificateLimits, odd: &mut Vec<Anomaly>) -> Self {
        let Some((algorithm, message)) = decompress(body, limits.message_bytes) else {
            odd.push(Anomaly::CompressedCertificate);
            return Self { form: CertificateForm::Compressed(compression_algorithm(body)), ..Self::default() };
        };
        let mut list = Self::parse_tls13(&message, limits.chain_length, odd);
        list.form = CertificateForm::Compressed(algorithm);
        list
    }

    fn read(&mut self, mut reader: Reader<'_>, layout: Layout, odd: &mut Vec<Anomaly>) -> Option<()> {
        let length = reader.u24()?;
        let (mut list, fit) = reader.lax_part(length);
        while !list.is_empty() {
            let length = list.u24()?;
            let range = list.range(length)?;
            if layout.entry_extensions {
                list.vector16()?;
            }
            if self.ranges.len() >= layout.limit {
                odd.push(Anomaly::ChainTooLong);
                break;
            }
            if range.is_empty() {
                odd.push(Anomaly::MalformedCertificateMessage);
                continue;
            }
            self.ranges.push(range);
        }
        (fit == Fit::Whole).then_some(())
    }
}

/// Bounds of what a certificate message may become.
#[derive(Clone, Copy, Debug, Default)]
pub struct CertificateLimits {
    /// Bytes of an unpacked message.
    pub message_bytes: usize,
    /// Certificates of a chain.
    pub chain_length: usize,
}

#[derive(Clone, Copy)]
struct Layout {
    limit: usize,
    /// Each certificate is followed by extensions (TLS 1.3).
    entry_extensions: bool,
}

fn compression_algorithm(body: &[u8]) -> u16 {
    Reader::new(body).u16().unwrap_or(0)
}

/// Algorithm and content of a CompressedCertificate, if it unpacks to exactly the length that it claims.
fn decompress(body: &[u8], limit: usize) -> Option<(u16, Vec<u8>)> {
    let mut reader = Reader::new(body);
    let algorithm = reader.u16()?;
    let length = reader.u24()?;
    let mut packed = reader.vector24()?;
    if length > limit {
        return None;
    }
    let packed = packed.rest();
    let message = match algorithm {
        1 => unpack(flate2::read::ZlibDecoder::new(packed), length)?,
        2 => unpack(brotli_decompressor::Decompressor::new(packed, 4096), length)?,
        3 => {
            // The window is bounded before the decoder allocates it: the header may ask for gigabytes.
            if zstd_window(packed)? > ZSTD_WINDOW {
                return None;
            }
            unpack(ruzstd::decoding::StreamingDecoder::new(packed).ok()?, length)?
        }
        _ => return None,
    };
    Some((algorithm, message))
}

/// Largest window of a zstd frame that is accepted: 8 MiB, what RFC 8878 section 3.1.1.1.2 recommends to support.
const ZSTD_WINDOW: u64 = 8 << 20;

/// Window size that the header of a zstd frame asks for (RFC 8878 section 3.1.1.1).
fn zstd_window(frame: &[u8]) -> Option<u64> {
    let mut reader = Reader::new(frame);
    if reader.array()? != [0x28, 0xb5, 0x2f, 0xfd] {
        return None;
    }
    let descriptor = reader.u8()?;
    let single_segment = descriptor & 0x20 != 0;
    if !single_segment {
        let window = reader.u8()?;
        let base = 1_u64 << (10 + u32::from(window >> 3));
        return Some(base + base / 8 * u64::from(window & 7));
    }
    let dictionary = match descriptor & 3 {
        0 => 0,
        1 => 1,
        2 => 2,
        _ => 4,
    };
    reader.take(dictionary)?;
    match descriptor >> 6 {
        0 => reader.u8().map(u64::from),
        1 => reader.array().map(|bytes| u64::from(u16::from_le_bytes(bytes)) + 256),
        2 => reader.array().map(|bytes| u64::from(u32::from_le_bytes(bytes))),
        _ => reader.array().map(u64::from_le_bytes),
    }
}

/// Reads exactly `length` bytes from a decoder that must then be at its end.
fn unpack(mut decoder: impl Read, length: usize) -> Option<Vec<u8>> {
    let mut message = Vec::new();
    let most = u64::try_from(length).ok()?.checked_add(1)?;
    decoder.by_ref().take(most).read_to_end(&mut message).ok()?;
    (message.len() == length).then_some(message)
}

/// The first OCSP response of a CertificateStatus message (RFC 6066 section 8, RFC 6961 section 2.2), DER.
pub(super) fn ocsp_response(body: &[u8]) -> Option<Box<[u8]>> {
    let mut reader = Reader::new(body);
    let mut responses = match reader.u8()? {
        1 => reader,
        2 => reader.vector24()?,
        _ => return None,
    };
    while !responses.is_empty() {
        let mut response = responses.vector24()?;
        if !response.is_empty() {
            return Some(response.rest().into());
        }
    }
    None
}

impl CertificateRequest {
    /// Reads the body of a CertificateRequest of TLS 1.2 or older; `version` decides whether signature algorithms are in it.
    pub fn parse(body: &[u8], version: u16, odd: &mut Vec<Anomaly>) -> Self {
        let mut request = Self::default();
        if request.read(Reader::new(body), version).is_none() {
            odd.push(Anomaly::MalformedMessage);
        }
        request
    }

    fn read(&mut self, mut reader: Reader<'_>, version: u16) -> Option<()> {
        self.certificate_types = reader.vector8()?.rest().into();
        if version >= 0x0303 {
            self.signature_algorithms = numbers16::<[u16; 32]>(&mut reader)?.into_vec();
        }
        let mut authorities = reader.vector16()?;
        while !authorities.is_empty() {
            let mut name = authorities.vector16()?;
            if self.authorities.len() < AUTHORITIES {
                self.authorities.push(name.rest().into());
            }
            self.authority_count += 1;
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8878 section 3.1.1.1: by a descriptor, or the size of the content where there is one segment.
    #[test]
    fn the_window_of_a_zstd_frame_is_known_before_anything_is_made() {
        let frame = |rest: &[u8]| [&[0x28, 0xb5, 0x2f, 0xfd], rest].concat();
        for (rest, window) in [
            (&[0x00, 0x00][..], Some(1 << 10)),
            (&[0x00, 0x68], Some(ZSTD_WINDOW)),
            (&[0x00, 0x69], Some(ZSTD_WINDOW + (1 << 20))),
            (&[0x00, 0xff], Some((1 << 41) + 7 * (1 << 38))),
            (&[0x20, 200], Some(200)),
            (&[0x21, 9, 200], Some(200)),
            (&[0x22, 9, 9, 200], Some(200)),
            (&[0x23, 9, 9, 9, 9, 200], Some(200)),
            (&[0x60, 1, 1], Some(513)),
            (&[0xa0, 1, 0, 0, 1], Some((1 << 24) + 1)),
            (&[0xe0, 0, 0, 0, 0, 0, 0, 0, 1], Some(1 << 56)),
            (&[0xe0, 0, 0, 0, 0, 0, 0, 0], None),
            (&[0x23, 9, 9, 9], None),
            (&[0x00], None),
            (&[], None),
        ] {
            assert_eq!(zstd_window(&frame(rest)), window, "{rest:x?}");
        }
        assert_eq!(zstd_window(&[0x28, 0xb5, 0x2f, 0xfe, 0, 0]), None, "a frame to skip");
    }
}
