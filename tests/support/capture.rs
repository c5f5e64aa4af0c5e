//! Capture files made and taken apart by hand, so that tests do not trust the reader they test.

/// A frame of a capture.
#[derive(Clone, Debug)]
pub struct Captured {
    /// Nanoseconds since 1970.
    pub time: i64,
    /// Link type of its interface.
    pub link_type: u16,
    /// Bytes captured.
    pub data: Vec<u8>,
    /// Bytes on the wire.
    pub original_len: u32,
}

const MICROSECONDS: u32 = 0xa1b2_c3d4;
const NANOSECONDS: u32 = 0xa1b2_3c4d;

/// Takes a classic pcap file of either byte order and resolution apart.
pub fn parse_pcap(bytes: &[u8]) -> Vec<Captured> {
    let little = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    let (swapped, unit) = match (little(0), little(0).swap_bytes()) {
        (MICROSECONDS, _) => (false, 1_000),
        (NANOSECONDS, _) => (false, 1),
        (_, MICROSECONDS) => (true, 1_000),
        (_, NANOSECONDS) => (true, 1),
        (magic, _) => panic!("no pcap: {magic:08x}"),
    };
    let word = |at: usize| if swapped { little(at).swap_bytes() } else { little(at) };
    let link_type = (word(20) & 0xffff) as u16;
    let mut frames = Vec::new();
    let mut at = 24;
    while at + 16 <= bytes.len() {
        let length = word(at + 8) as usize;
        frames.push(Captured {
            time: i64::from(word(at)) * 1_000_000_000 + i64::from(word(at + 4)) * unit,
            link_type,
            data: bytes[at + 16..at + 16 + length].to_vec(),
            original_len: word(at + 12),
        });
        at += 16 + length;
    }
    frames
}

/// A little-endian pcap file with nanoseconds. All frames have the link type of the first.
pub fn to_pcap(frames: &[Captured]) -> Vec<u8> {
    let link_type = frames.first().map_or(1, |frame| frame.link_type);
    let mut out = Vec::new();
    for word in [NANOSECONDS, 0x0004_0002, 0, 0, 262_144, u32::from(link_type)] {
        out.extend(word.to_le_bytes());
    }
    for frame in frames {
        assert_eq!(frame.link_type, link_type);
        let (seconds, nanos) = (frame.time.div_euclid(1_000_000_000), frame.time.rem_euclid(1_000_000_000));
        for word in [seconds as u32, nanos as u32, frame.data.len() as u32, frame.original_len] {
            out.extend(word.to_le_bytes());
        }
        out.extend(&frame.data);
    }
    out
}

/// A big-endian pcapng file with nanoseconds and one named interface per link type.
pub fn to_pcapng(frames: &[Captured]) -> Vec<u8> {
    let mut out = Vec::new();
    block(&mut out, 0x0a0d_0d0a, &[&0x1a2b_3c4d_u32.to_be_bytes()[..], &[0, 1, 0, 0], &[0xff; 8]].concat());
    let mut interfaces: Vec<u16> = Vec::new();
    for frame in frames {
        let interface = interfaces.iter().position(|link| *link == frame.link_type).unwrap_or_else(|| {
            let mut body = frame.link_type.to_be_bytes().to_vec();
            // Reserved, snap length; if_name "port"; if_tsresol 9; end of options.
            body.extend([0, 0, 0, 4, 0, 0, 0, 2, 0, 4]);
            body.extend(b"port");
            body.extend([0, 9, 0, 1, 9, 0, 0, 0, 0, 0, 0, 0]);
            block(&mut out, 1, &body);
            interfaces.push(frame.link_type);
            interfaces.len() - 1
        });
        let time = frame.time as u64;
        let mut body = Vec::new();
        let words = [interface as u32, (time >> 32) as u32, time as u32, frame.data.len() as u32, frame.original_len];
        for word in words {
            body.extend(word.to_be_bytes());
        }
        body.extend(&frame.data);
        body.resize(body.len().next_multiple_of(4), 0);
        block(&mut out, 6, &body);
    }
    out
}

/// The same bytes as a gzip file.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn block(out: &mut Vec<u8>, kind: u32, body: &[u8]) {
    let length = (body.len() + 12) as u32;
    out.extend(kind.to_be_bytes());
    out.extend(length.to_be_bytes());
    out.extend(body);
    out.extend(length.to_be_bytes());
}
